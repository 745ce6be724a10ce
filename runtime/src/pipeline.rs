//! A pipeline of a module, called from the host: planned once for each kind of call, then its steps run one after another
//! over buffers that live no longer than they are used.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pantile_compiler::{Bindings, BufferKind, Plan, PlanArg, PlanBindings, Role, Signature, Step};
use pantile_ir::Order;

use crate::executable::Executable;
use crate::kernel::{Constant, fix};
use crate::launch::{Operand, Output, check, sizes, verify, writes_nothing};
use crate::module::Loaded;
use crate::{Arg, Args, Device, Error, Mask, Outputs, Result, Tensor};

/// Plans that a pipeline remembers; past that it starts afresh.
const PLANS: usize = 64;

/// A pipeline of a module.
#[derive(Clone)]
pub struct Pipeline {
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) signature: Arc<Signature>,
    pub(crate) fixed: Bindings,
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("name", &self.signature.name).finish_non_exhaustive()
    }
}

impl Pipeline {
    /// What it takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Fixes a constant: `.with("P", 64)`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Constant>) -> Self {
        fix(&self.signature, &mut self.fixed, name, value.into());
        self
    }

    /// The pipeline on a device. It is planned and compiled at the first call of each kind; keep the result, it remembers.
    pub fn on(&self, device: &Device) -> PipelineOn {
        PipelineOn { pipeline: self.clone(), device: device.clone(), plans: Arc::default() }
    }
}

/// How long the parts of a call took.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Planning, compiling and filling tables, as far as this call had to.
    pub prepare: Duration,
    /// Each step: its kernel or copy, and its time.
    pub steps: Vec<(String, Duration)>,
}

/// A plan and what is needed to run it.
pub(crate) struct Ready {
    plan: Plan,
    /// One a step; `None` for a copy.
    executables: Vec<Option<Arc<Executable>>>,
    /// One a step: the table of a copy.
    tables: Vec<Option<Arc<Vec<i32>>>>,
}

/// Plans by the text of what they were made for: there -0.0 is not 0.0, and a NaN is itself.
type Plans = HashMap<String, Arc<Ready>>;

/// A pipeline on a device.
#[derive(Clone)]
pub struct PipelineOn {
    pipeline: Pipeline,
    device: Device,
    plans: Arc<Mutex<Plans>>,
}

impl PipelineOn {
    /// What it takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.pipeline.signature
    }

    /// Runs it.
    ///
    /// # Errors
    /// If the arguments do not fit, a kernel cannot be compiled for them, or one stops.
    pub fn call(&self, args: impl Args) -> Result<Outputs> {
        self.call_traced(args).map(|(outputs, _)| outputs)
    }

    /// Runs it and says how long each step took.
    ///
    /// # Errors
    /// As [`PipelineOn::call`].
    pub fn call_traced(&self, args: impl Args) -> Result<(Outputs, Trace)> {
        let args = args.to_args();
        let start = Instant::now();
        let ready = self.ready(&args)?;
        let mut trace = Trace { prepare: start.elapsed(), steps: Vec::new() };
        let outputs = self.run(&ready, &args, &mut trace)?;
        Ok((outputs, trace))
    }

    /// The plan for these arguments.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn plan(&self, args: impl Args) -> Result<Plan> {
        Ok(self.ready(&args.to_args())?.plan.clone())
    }

    fn ready(&self, args: &[Arg<'_>]) -> Result<Arc<Ready>> {
        let Pipeline { loaded, signature, fixed } = &self.pipeline;
        let shapes = check(signature, args, fixed)?.shapes;
        let bindings = PlanBindings { args: shapes, fixed: fixed.clone() };
        let key = format!("{bindings:?}");
        let plans = || self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = plans().get(&key) {
            return Ok(ready.clone());
        }
        let plan = loaded.module.plan(&signature.name, &bindings).map_err(|d| Error::source(d, &loaded.sources))?;
        let ready = Arc::new(self.prepare(plan)?);
        let mut plans = plans();
        if plans.len() >= PLANS {
            plans.clear();
        }
        plans.insert(key, ready.clone());
        Ok(ready)
    }

    fn prepare(&self, plan: Plan) -> Result<Ready> {
        let sources = &self.pipeline.loaded.sources;
        let (mut executables, mut tables) = (Vec::new(), Vec::new());
        for step in &plan.steps {
            let (executable, table) = match step {
                Step::Launch { func, .. } => (Some(self.device.prepare(func, sources)?), None),
                Step::Permute { order, .. } => (None, Some(self.device.table(order, sources)?)),
            };
            executables.push(executable);
            tables.push(table);
        }
        Ok(Ready { plan, executables, tables })
    }

    fn run(&self, ready: &Ready, args: &[Arg<'_>], trace: &mut Trace) -> Result<Outputs> {
        let plan = &ready.plan;
        let mut memory = Memory { plan, args, own: plan.buffers.iter().map(|_| None).collect() };
        for (n, step) in plan.steps.iter().enumerate() {
            let start = Instant::now();
            let label = match step {
                Step::Launch { func, extents, args, label } => {
                    if let Some(executable) = &ready.executables[n] {
                        memory.launch(func, extents, args, executable, self)?;
                    }
                    label
                }
                Step::Permute { from, to, axis, order, inverse, label } => {
                    if let Some(table) = &ready.tables[n] {
                        memory.permute(*from, *to, *axis, order, table, *inverse)?;
                    }
                    label
                }
            };
            trace.steps.push((label.clone(), start.elapsed()));
            memory.drop_after(n);
        }
        memory.outputs(&self.pipeline.signature)
    }
}

/// The buffers of one call.
struct Memory<'a> {
    plan: &'a Plan,
    args: &'a [Arg<'a>],
    /// What the call allocated; inputs stay with the caller.
    own: Vec<Option<Output>>,
}

impl Memory<'_> {
    fn allocate(&mut self, buffer: usize) -> Result<()> {
        if self.own[buffer].is_some() || matches!(self.plan.buffers[buffer].role, Role::Input(_)) {
            return Ok(());
        }
        self.own[buffer] = Some(match &self.plan.buffers[buffer].what {
            BufferKind::Tensor { dtype, shape } => Output::Tensor(Tensor::zeros(*dtype, &sizes(shape)?)?),
            BufferKind::Mask { shape } => Output::Mask(Mask::empty(&sizes(shape)?)?),
        });
        Ok(())
    }

    fn missing(&self, buffer: usize) -> Error {
        let name = &self.plan.buffers[buffer].name;
        Error::launch(&self.plan.name, format!("buffer `{name}` is used before it is written"))
    }

    /// A buffer to be read.
    fn read(&self, buffer: usize) -> Result<Operand<'_>> {
        match (self.plan.buffers[buffer].role, &self.own[buffer]) {
            (_, Some(Output::Tensor(tensor))) => Ok(Operand::In(tensor)),
            (_, Some(Output::Mask(mask))) => Ok(Operand::Mask(mask)),
            (Role::Input(n), None) => match self.args.get(n) {
                Some(Arg::Tensor(tensor)) => Ok(Operand::In(tensor)),
                Some(Arg::Mask(mask)) => Ok(Operand::Mask(mask)),
                Some(Arg::Scalar(_) | Arg::Order(_)) | None => Err(self.missing(buffer)),
            },
            (Role::Output(_) | Role::Temp, None) => Err(self.missing(buffer)),
        }
    }

    fn launch(
        &mut self,
        func: &pantile_ir::Func,
        extents: &[i64],
        args: &[PlanArg],
        executable: &Executable,
        on: &PipelineOn,
    ) -> Result<()> {
        // What the launch writes is taken out of the table, so that the rest can be borrowed for reading.
        let mut written = Vec::new();
        for (param, arg) in func.params.iter().zip(args) {
            if let (true, PlanArg::Buffer(buffer)) = (param.out, arg) {
                self.allocate(*buffer)?;
                written.push((*buffer, self.own[*buffer].take().ok_or_else(|| self.missing(*buffer))?));
            }
        }
        let result = self.launch_taken(func, extents, args, executable, on, &mut written);
        written.into_iter().for_each(|(buffer, output)| self.own[buffer] = Some(output));
        result
    }

    fn launch_taken(
        &self,
        func: &pantile_ir::Func,
        extents: &[i64],
        args: &[PlanArg],
        executable: &Executable,
        on: &PipelineOn,
        written: &mut [(usize, Output)],
    ) -> Result<()> {
        let mut outs = written.iter_mut();
        let mut operands = Vec::with_capacity(args.len());
        for (param, arg) in func.params.iter().zip(args) {
            operands.push(match arg {
                PlanArg::Scalar(dtype, value) => Operand::Scalar(*dtype, *value),
                PlanArg::Buffer(buffer) if !param.out => self.read(*buffer)?,
                PlanArg::Buffer(buffer) => match outs.next() {
                    Some((_, Output::Tensor(tensor))) => Operand::Out(tensor),
                    Some((_, Output::Mask(mask))) => Operand::MaskOut(mask),
                    None => return Err(self.missing(*buffer)),
                },
            });
        }
        verify(func, extents, &operands)?;
        if writes_nothing(&operands) && !on.device.checks {
            return Ok(());
        }
        executable.run(&on.device, extents, &mut operands, &on.pipeline.loaded.sources)
    }

    fn permute(
        &mut self,
        from: usize,
        to: usize,
        axis: usize,
        order: &Order,
        table: &[i32],
        inverse: bool,
    ) -> Result<()> {
        self.allocate(to)?;
        let mut target = self.own[to].take();
        let result = match (self.read(from)?, &mut target) {
            (Operand::In(source), Some(Output::Tensor(target))) => {
                let walked = if inverse { target.shape()[axis] } else { source.shape()[axis] };
                if let Some(element) = table.iter().find(|e| usize::try_from(**e).is_ok_and(|e| e >= walked)) {
                    let message = format!("gives element {element}, but the axis has only {walked}");
                    return Err(Error::Order { order: order.name.clone(), message });
                }
                target.permute_from(source, axis, table, inverse)
            }
            _ => Err(self.missing(from)),
        };
        self.own[to] = target;
        result
    }

    /// Frees the plan's own buffers that no later step touches.
    fn drop_after(&mut self, step: usize) {
        for (buffer, own) in self.plan.buffers.iter().zip(&mut self.own) {
            if buffer.role == Role::Temp && buffer.last_use == Some(step) {
                *own = None;
            }
        }
    }

    fn outputs(mut self, signature: &Signature) -> Result<Outputs> {
        let mut list = Vec::with_capacity(signature.outs.len());
        for (n, out) in signature.outs.iter().enumerate() {
            let buffer = self.plan.buffers.iter().position(|b| b.role == Role::Output(n));
            let missing = || Error::launch(&signature.name, format!("output `{}` is never written", out.name));
            let buffer = buffer.ok_or_else(missing)?;
            self.allocate(buffer)?;
            list.push(self.own[buffer].take().ok_or_else(missing)?);
        }
        let names = signature.outs.iter().map(|o| o.name.clone()).collect();
        Ok(Outputs { item: signature.name.clone(), names, list })
    }
}
