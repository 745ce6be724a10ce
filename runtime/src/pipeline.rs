//! A pipeline of a module, called from the host: planned once for each kind of call, then its steps run one after another.
//! The memory that they run on is `buffers.rs`'s business.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pantile_compiler::{Bindings, Call, Plan, PlanArg, PlanBindings, Signature, Step};
use pantile_ir::Func;

use crate::buffers::{Buffers, Ends, Usage};
use crate::clock::Clock;
use crate::cuda::{Graphs, Started};
use crate::executable::Executable;
use crate::kernel::{Constant, fix};
use crate::key::Key;
use crate::launch::{self, Operand, Output, check, verify, writes_nothing};
use crate::module::Loaded;
use crate::recent::Recent;
use crate::{Arg, Args, Device, Error, Outputs, Result, Tensor};

/// Plans that a pipeline remembers; past that it forgets the one that was not used longest.
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
        PipelineOn { pipeline: self.clone(), device: device.clone(), plans: Arc::new(Mutex::new(Recent::new(PLANS))) }
    }
}

/// How long the parts of a call took.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Planning, compiling and filling tables, as far as this call had to.
    pub prepare: Duration,
    /// Each step: its kernel or copy, and its time.
    pub steps: Vec<(String, Duration)>,
    /// The memory that was allocated for outputs and temporaries.
    pub memory: Usage,
}

/// A plan and what is needed to run it.
pub(crate) struct Ready {
    plan: Plan,
    /// One a step.
    steps: Vec<ReadyStep>,
    ends: Ends,
    /// The names of the outputs.
    names: Vec<String>,
    /// The work as a GPU takes it.
    graphs: Arc<Graphs>,
}

/// What a step needs.
enum ReadyStep {
    /// Code.
    Launch(Arc<Executable>),
    /// Nothing.
    Copy,
    /// Where each position along the axis is copied from.
    Permute(Tensor),
}

/// A pipeline on a device.
#[derive(Clone)]
pub struct PipelineOn {
    pipeline: Pipeline,
    device: Device,
    plans: Arc<Mutex<Recent<Key, Arc<Ready>>>>,
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
        let args = args.to_args();
        let ready = self.ready(&args)?;
        match self.device.home() {
            Some(gpu) => gpu.gathered(&ready.graphs, || self.run(&ready, &args, None)),
            None => self.run(&ready, &args, None),
        }
    }

    /// Runs it and says how long each step took.
    ///
    /// # Errors
    /// As [`PipelineOn::call`].
    pub fn call_traced(&self, args: impl Args) -> Result<(Outputs, Trace)> {
        let args = args.to_args();
        let start = Instant::now();
        let ready = self.ready(&args)?;
        let mut trace = Trace { prepare: start.elapsed(), ..Trace::default() };
        let outputs = self.run(&ready, &args, Some(&mut trace))?;
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
        let key = Key::of(args);
        let plans = || self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        // Arguments of one key have been found to fit.
        if let Some(ready) = plans().get(&key) {
            return Ok(ready);
        }
        let shapes = check(signature, args, fixed)?.shapes;
        let bindings = PlanBindings { args: shapes, fixed: fixed.clone() };
        let plan = loaded.module.plan(&signature.name, &bindings).map_err(|d| Error::source(d, &loaded.sources))?;
        let ready = Arc::new(self.prepare(plan)?);
        plans().insert(key, ready.clone());
        Ok(ready)
    }

    /// How many plans are remembered.
    #[cfg(test)]
    fn remembered(&self) -> usize {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn prepare(&self, plan: Plan) -> Result<Ready> {
        let sources = &self.pipeline.loaded.sources;
        let one = |step: &Step| match step {
            Step::Launch { func, .. } => Ok(ReadyStep::Launch(self.device.prepare(func, sources)?)),
            Step::Permute { from, to, axis, order, inverse, .. } => {
                let shape = plan.buffers[if *inverse { *to } else { *from }].what.shape();
                let elements = usize::try_from(shape[*axis]).unwrap_or(0);
                let table = self.device.table(order, sources)?;
                let sources = crate::gather::sources(&table, elements, *inverse);
                let wrong = |message| Error::Order { order: order.name.clone(), message };
                let sources = sources.map_err(wrong)?;
                Ok(ReadyStep::Permute(Tensor::from_slice(&[sources.len()], &sources)?))
            }
            Step::Copy { .. } => Ok(ReadyStep::Copy),
        };
        let steps = plan.steps.iter().map(one).collect::<Result<_>>()?;
        Ok(Ready {
            ends: Ends::of(&plan),
            steps,
            names: self.pipeline.signature.outs.iter().map(|o| o.name.clone()).collect(),
            plan,
            graphs: Arc::default(),
        })
    }

    fn run(&self, ready: &Ready, args: &[Arg<'_>], mut trace: Option<&mut Trace>) -> Result<Outputs> {
        let (plan, sources) = (&ready.plan, &self.pipeline.loaded.sources);
        let mut buffers = Buffers::new(plan, &ready.ends, args, self.device.home());
        // On a GPU launches are queued one behind the other, and asked for faults at the end.
        let mut started = Vec::new();
        for (n, (step, prepared)) in plan.steps.iter().zip(&ready.steps).enumerate() {
            let clock = trace.is_some().then(|| Clock::start(&self.device)).transpose()?;
            match (step, prepared) {
                (Step::Launch { func, calls, .. }, ReadyStep::Launch(executable)) => {
                    started.extend(self.launch(&mut buffers, func, calls, executable)?);
                }
                (Step::Copy { from, to, .. }, ReadyStep::Copy) => buffers.copy(*from, *to)?,
                (Step::Permute { from, to, axis, .. }, ReadyStep::Permute(sources)) => {
                    buffers.permute(*from, *to, *axis, sources)?;
                }
                (Step::Launch { .. } | Step::Copy { .. } | Step::Permute { .. }, _) => {
                    return Err(Error::launch(&plan.name, format!("step `{}` was not prepared", step.label())));
                }
            }
            if let (Some(trace), Some(clock)) = (&mut trace, clock) {
                trace.steps.push((step.label().to_owned(), clock.stop(&self.device)?));
            }
            buffers.end(n);
        }
        started.into_iter().try_for_each(|launch| launch.finish(sources))?;
        let (list, usage) = buffers.outputs(&ready.names)?;
        if let Some(trace) = trace {
            trace.memory = usage;
        }
        Ok(Outputs { item: self.pipeline.signature.name.clone(), names: ready.names.clone(), list })
    }

    fn launch(
        &self,
        buffers: &mut Buffers<'_>,
        func: &Func,
        calls: &[Call],
        executable: &Executable,
    ) -> Result<Option<Started>> {
        let mut written = buffers.take_written(func, calls)?;
        let result = self.launch_taken(buffers, func, calls, executable, &mut written);
        buffers.put_written(written);
        result
    }

    fn launch_taken(
        &self,
        buffers: &Buffers<'_>,
        func: &Func,
        calls: &[Call],
        executable: &Executable,
        written: &mut [(usize, Output)],
    ) -> Result<Option<Started>> {
        let mut outs = written.iter_mut();
        let mut ready = Vec::with_capacity(calls.len());
        for call in calls {
            let mut operands = Vec::with_capacity(call.args.len());
            for (param, arg) in func.params.iter().zip(&call.args) {
                operands.push(match arg {
                    PlanArg::Scalar(dtype, value) => Operand::Scalar(*dtype, *value),
                    PlanArg::Buffer(buffer) if !param.out => buffers.read(*buffer)?,
                    PlanArg::Buffer(buffer) => match outs.next() {
                        Some((_, Output::Tensor(tensor))) => Operand::Out(tensor),
                        Some((_, Output::Mask(mask))) => Operand::MaskOut(mask),
                        None => return Err(buffers.missing(*buffer)),
                    },
                });
            }
            verify(func, &call.extents, &operands)?;
            if !writes_nothing(&operands) || self.device.checks {
                ready.push(launch::Call { extents: &call.extents, operands });
            }
        }
        if ready.is_empty() {
            return Ok(None);
        }
        executable.start(&self.device, &mut ready, &self.pipeline.loaded.sources)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{PLANS, ReadyStep};
    use crate::{Arg, Device, Module, Tensor};
    use pantile_ir::DType;

    const TEXT: &str = "kernel twice<P: int = 4>(x: tensor<f32>[N], s: f32) -> (y: tensor<f32>[N]) grid (i in N by P) {
    y[i] = x[i] * s;
}
pipeline p(x: tensor<f32>[N], s: f32 = 2.0) -> (y: tensor<f32>[N]) { y = twice(x, s); }";

    #[test]
    fn plans_are_remembered_up_to_a_bound_the_latest_longest() {
        let module = Module::from_text("p.tile", TEXT).unwrap();
        let pipeline = module.pipeline("p").unwrap().on(&Device::interp());
        let x = |n: usize| Tensor::zeros(DType::F32, &[n]).unwrap();
        let favourite = x(7);
        let first = pipeline.ready(&[Arg::Tensor(&favourite)]).unwrap();
        for n in 8..8 + 2 * PLANS {
            pipeline.call((x(n),)).unwrap();
            assert!(Arc::ptr_eq(&first, &pipeline.ready(&[Arg::Tensor(&favourite)]).unwrap()), "forgotten at {n}");
        }
        assert_eq!(pipeline.remembered(), PLANS);
        let other = x(8);
        let ready = || pipeline.ready(&[Arg::Tensor(&other)]).unwrap();
        assert!(Arc::ptr_eq(&ready(), &ready()));
    }

    #[test]
    fn the_table_of_an_order_is_filled_once_for_all_kernels_and_plans() {
        let text = "kernel twice<P: int = 4>(x: tensor<f32>[H, N]) -> (y: tensor<f32>[H, N]) grid (i in N by P, h in H) {
    y[h, i] = x[h, i] * 2.0;
}
kernel plus<P: int = 8>(x: tensor<f32>[H, N]) -> (y: tensor<f32>[H, N]) grid (i in N by P, h in H) { y[h, i] = x[h, i] + 1.0; }
order back(p in N, N: int) -> int { N - 1 - p }
pipeline p(x: tensor<f32>[H, N]) -> (y: tensor<f32>[H, N]) {
    let walk = back(N);
    y = unpermute(plus(twice(permute(x, N via walk))), N via walk);
}";
        let module = Module::from_text("p.tile", text).unwrap();
        let device = Device::cpu();
        let tables: Vec<_> = [1, 3]
            .iter()
            .flat_map(|heads| {
                let x = Tensor::zeros(DType::F32, &[*heads, 9]).unwrap();
                let pipeline = module.pipeline("p").unwrap().on(&device);
                let ready = pipeline.ready(&[Arg::Tensor(&x)]).unwrap();
                let table = |step: &ReadyStep| match step {
                    ReadyStep::Launch(executable) => executable.orders[0].clone(),
                    ReadyStep::Copy | ReadyStep::Permute(_) => panic!("nothing is copied"),
                };
                ready.steps.iter().map(table).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(tables.len(), 4);
        assert!(tables.iter().all(|table| Arc::ptr_eq(table, &tables[0])));
    }
}
