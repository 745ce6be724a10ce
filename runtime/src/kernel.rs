//! A kernel of a module, called from the host: constants fixed, arguments checked, specialised at the first call of each
//! kind, launched. Pipelines are `pipeline.rs`'s business.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use pantile_compiler::{ArgShape, Bindings, ParamInfo, Signature, covers};
use pantile_ir::{DType, ParamId, Scalar};

use crate::cuda::Started;
use crate::executable::Executable;
use crate::key::Key;
use crate::launch::{Call, Out, Output, bind_outputs, check, extents_of, fits, operands, verify, writes_nothing};
use crate::module::Loaded;
use crate::recent::Recent;
use crate::{Arg, Args, Device, Error, Mask, Result, Tensor};

/// A constant of a kernel or pipeline, to be fixed by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constant {
    /// For an `int`.
    Int(i64),
    /// For a dtype.
    DType(DType),
}

impl From<i64> for Constant {
    fn from(value: i64) -> Self {
        Constant::Int(value)
    }
}

impl From<DType> for Constant {
    fn from(value: DType) -> Self {
        Constant::DType(value)
    }
}

/// Adds a constant, or the size of an extent, to what the caller fixes.
pub(crate) fn fix(signature: &Signature, fixed: &mut Bindings, name: &str, value: Constant) {
    match value {
        Constant::Int(n) if signature.extents().contains(&name) => drop(fixed.extents.insert(name.into(), n)),
        Constant::Int(n) => drop(fixed.ints.insert(name.into(), n)),
        Constant::DType(dtype) => drop(fixed.dtypes.insert(name.into(), dtype)),
    }
}

/// A kernel of a module.
#[derive(Clone)]
pub struct Kernel {
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) signature: Arc<Signature>,
    pub(crate) fixed: Bindings,
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").field("name", &self.signature.name).field("fixed", &self.fixed).finish_non_exhaustive()
    }
}

impl Kernel {
    /// What it takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Fixes a constant: `.with("BQ", 64)`, `.with("T", DType::F16)`; or the size of an extent that no input has. Whether
    /// there is one of that name is said at the call.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Constant>) -> Self {
        fix(&self.signature, &mut self.fixed, name, value.into());
        self
    }

    /// The kernel on a device. It compiles at the first call of each kind; keep the result, it remembers.
    pub fn on(&self, device: &Device) -> KernelOn {
        let calls = Arc::new(Mutex::new(Recent::new(CALLS)));
        KernelOn { kernel: self.clone(), device: device.clone(), known: Arc::default(), calls }
    }
}

/// The dtypes and constants of a specialisation; known extents are compared with the function itself.
type Special = (BTreeMap<String, DType>, BTreeMap<String, i64>);

/// Kinds of calls that a kernel on a device remembers; past that it forgets the one that was not used longest.
const CALLS: usize = 64;

/// A kernel on a device.
#[derive(Clone)]
pub struct KernelOn {
    kernel: Kernel,
    device: Device,
    known: Arc<Mutex<HashMap<Special, Vec<Arc<Executable>>>>>,
    calls: Arc<Mutex<Recent<Key, Arc<Fitted>>>>,
}

/// What follows from the kinds of arguments.
struct Fitted {
    executable: Arc<Executable>,
    extents: Vec<i64>,
    /// The scalar arguments, one a parameter, in the parameter's dtype.
    scalars: Vec<Option<(DType, Scalar)>>,
    /// The outputs' shapes where the caller gives none, and whether a launch writes all of each.
    outs: Vec<(ArgShape, bool)>,
}

/// A launch that the device may still be at. What it writes may be used at once: later work on the device comes later, and
/// reading waits.
#[must_use = "whether it stopped is known when it is finished"]
pub struct Running {
    started: Option<Started>,
    loaded: Arc<Loaded>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("on_device", &self.started.is_some()).finish_non_exhaustive()
    }
}

impl Running {
    /// Waits for it. Dropping waits too, and says nothing.
    ///
    /// # Errors
    /// If the kernel stopped.
    pub fn finish(self) -> Result<()> {
        self.started.map_or(Ok(()), |started| started.finish(&self.loaded.sources))
    }

    /// Does not wait for it: it is known not to stop.
    pub(crate) fn detach(self) {
        if let Some(started) = self.started {
            started.detach();
        }
    }
}

impl KernelOn {
    /// Launches it with outputs that it allocates.
    ///
    /// # Errors
    /// If the arguments do not fit, the kernel cannot be compiled for them, or it stops.
    pub fn call(&self, args: impl Args) -> Result<Outputs> {
        let args = args.to_args();
        let signature = &self.kernel.signature;
        let fitted = self.fitted(&args, None)?;
        let allocate = |(shape, whole): &(ArgShape, bool)| Output::allocate(self.device.home(), shape, *whole);
        let mut list = fitted.outs.iter().map(allocate).collect::<Result<Vec<_>>>()?;
        self.start(&args, &fitted, list.iter_mut().map(Output::as_out).collect())?.finish()?;
        let names = signature.outs.iter().map(|o| o.name.clone()).collect();
        Ok(Outputs { item: signature.name.clone(), names, list })
    }

    /// Launches it with outputs that the caller gives; each must be the only owner of its memory.
    ///
    /// # Errors
    /// As [`KernelOn::call`], or if an output does not fit.
    pub fn call_into(&self, args: impl Args, outs: Vec<Out<'_>>) -> Result<()> {
        self.start_into(args, outs)?.finish()
    }

    /// The same, but does not wait for a GPU: launches queue up there.
    ///
    /// # Errors
    /// As [`KernelOn::call_into`]; whether the kernel stopped, [`Running::finish`] says.
    pub fn start_into(&self, args: impl Args, outs: Vec<Out<'_>>) -> Result<Running> {
        let args = args.to_args();
        let fitted = self.fitted(&args, Some(&outs))?;
        self.start(&args, &fitted, outs)
    }

    fn start(&self, args: &[Arg<'_>], fitted: &Fitted, outs: Vec<Out<'_>>) -> Result<Running> {
        let (loaded, Fitted { executable, extents, scalars, .. }) = (&self.kernel.loaded, fitted);
        let operands = operands(&executable.func, &self.kernel.signature, args, scalars, outs)?;
        verify(&executable.func, extents, &operands)?;
        let nothing = writes_nothing(&operands) && !self.device.checks;
        let mut calls = [Call { extents, operands }];
        let started = if nothing { None } else { executable.start(&self.device, &mut calls, &loaded.sources)? };
        Ok(Running { started, loaded: loaded.clone() })
    }

    /// What follows from these arguments, and from the caller's outputs if there are any.
    fn fitted(&self, args: &[Arg<'_>], outs: Option<&[Out<'_>]>) -> Result<Arc<Fitted>> {
        let key = Key::of(args);
        let key = if let Some(outs) = outs { key.with_outs(outs) } else { key };
        let calls = || self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        // Arguments of one key have been found to fit.
        if let Some(fitted) = calls().get(&key) {
            return Ok(fitted);
        }
        let fitted = Arc::new(self.fit(args, outs)?);
        calls().insert(key, fitted.clone());
        Ok(fitted)
    }

    fn fit(&self, args: &[Arg<'_>], given: Option<&[Out<'_>]>) -> Result<Fitted> {
        let signature = &self.kernel.signature;
        let mut checked = check(signature, args, &self.kernel.fixed)?;
        let mut shapes = Vec::new();
        match given {
            Some(outs) if outs.len() != signature.outs.len() => {
                let (want, got) = (signature.outs.len(), outs.len());
                return Err(Error::launch(&signature.name, format!("it has {want} outputs, but {got} are given")));
            }
            Some(outs) => bind_outputs(signature, outs, &mut checked.inferred.bindings),
            None => {
                for (out, shape) in signature.outs.iter().zip(checked.inferred.outs) {
                    shapes.push(shape.ok_or_else(|| unknown_size(signature, out, &checked.inferred.bindings))?);
                }
            }
        }
        let executable = self.executable(&checked.inferred.bindings)?;
        let extents = extents_of(&executable.func, &checked.inferred.bindings)?;
        let func = &executable.func;
        let written = (0..func.params.len()).filter(|n| func.params[*n].out);
        let whole = written.map(|n| covers(func, &extents, ParamId(n as u32)));
        let outs = shapes.into_iter().zip(whole).collect();
        Ok(Fitted { executable, extents, scalars: checked.scalars, outs })
    }

    fn executable(&self, bindings: &Bindings) -> Result<Arc<Executable>> {
        let key = (bindings.dtypes.clone(), bindings.ints.clone());
        let found = |known: &HashMap<Special, Vec<Arc<Executable>>>| {
            known.get(&key).and_then(|list| list.iter().find(|e| fits(&e.func, bindings)).cloned())
        };
        if let Some(executable) = found(&self.known.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(executable);
        }
        let Loaded { module, sources, .. } = &*self.kernel.loaded;
        let func = module
            .specialise(&self.kernel.signature.name, bindings)
            .map_err(|diagnostics| Error::source(diagnostics, sources))?;
        let executable = self.device.prepare(&Arc::new(func), sources)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(key).or_default().push(executable.clone());
        Ok(executable)
    }
}

/// Why the arguments do not say how large an output is.
fn unknown_size(signature: &Signature, out: &ParamInfo, bindings: &Bindings) -> Error {
    let sizes = out.ty.axes().iter().filter_map(|axis| axis.by.as_ref());
    let wrong = sizes.filter_map(|by| by.resolve(bindings).map(|n| (by, n))).find(|(_, n)| *n < 1);
    let message = match wrong {
        Some((by, n)) => format!("`{by}` must be at least 1, not {n}"),
        None => format!(
            "the size of output `{}` does not follow from the arguments; fix it as a constant (`{}`), or give the output \
             to `call_into`",
            out.name,
            signature
                .extents()
                .into_iter()
                .filter(|e| !bindings.extents.contains_key(*e))
                .collect::<Vec<_>>()
                .join("`, `")
        ),
    };
    Error::launch(&signature.name, message)
}

/// The results of a kernel or pipeline, in order.
#[derive(Clone, Debug)]
pub struct Outputs {
    pub(crate) item: String,
    pub(crate) names: Vec<String>,
    pub(crate) list: Vec<Output>,
}

impl Outputs {
    /// The names of the outputs.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Names and outputs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Output)> {
        self.names().zip(&self.list)
    }

    fn output(&self, name: &str) -> Result<&Output> {
        let known = || format!("no output `{name}`; it has {}", self.names.join(", "));
        self.iter().find(|(n, _)| *n == name).map(|(_, o)| o).ok_or_else(|| Error::launch(&self.item, known()))
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// If there is none.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        match self.output(name)? {
            Output::Tensor(tensor) => Ok(tensor.clone()),
            Output::Mask(_) => Err(Error::launch(&self.item, format!("output `{name}` is a mask"))),
        }
    }

    /// The mask of that name.
    ///
    /// # Errors
    /// If there is none.
    pub fn mask(&self, name: &str) -> Result<Mask> {
        match self.output(name)? {
            Output::Mask(mask) => Ok(mask.clone()),
            Output::Tensor(_) => Err(Error::launch(&self.item, format!("output `{name}` is a tensor"))),
        }
    }

    /// The only output, a tensor.
    ///
    /// # Errors
    /// If there are more, or it is a mask.
    pub fn single(&self) -> Result<Tensor> {
        match &self.list[..] {
            [Output::Tensor(tensor)] => Ok(tensor.clone()),
            [Output::Mask(_)] => Err(Error::launch(&self.item, "its output is a mask")),
            several => Err(Error::launch(&self.item, format!("it has {} outputs; ask for one by name", several.len()))),
        }
    }
}
