//! Kernels on a GPU: code is loaded when a launch first needs it, launches are queued, and what they say about faults is
//! read when their results are wanted. Arguments have been checked against the function by `launch.rs` above.

#![allow(unsafe_code, reason = "the launch of compiled code stands here")]

use std::sync::{Arc, Mutex, PoisonError};

use pantile_diag::{SourceMap, Span};
use pantile_gpu::{Arg, Kernel, Launch, Options, Packed, Variant, llvm};
use pantile_ir::{Dim, Func};

use super::driver::code::{Function, Module, assemble};
use super::driver::maps::{self, MAP_WORDS};
use super::{Buffer, Gpu, cubins};
use crate::executable::{block_table, limited, line};
use crate::launch::{Call, Operand};
use crate::{Error, Mask, Result, Tensor};
use pantile_compiler::passes::{Lanes, Options as PassOptions};
use pantile_compiler::pipeline::fix_tiles;

/// The most blocks of a grid.
const MOST_BLOCKS: u64 = (1 << 31) - 1;

/// Makes a function ready for a target.
///
/// # Errors
/// What is too large for the target, with numbers.
pub(crate) fn compile(func: &Func, options: &Options, sources: &SourceMap) -> Result<Kernel> {
    let limit = |message, span| limited(&func.name, message, span, sources);
    let mut fixed = func.clone();
    let passes = PassOptions { lanes: Lanes::PowersOfTwo, ..PassOptions::default() };
    if let Some(bug) = fix_tiles(&mut fixed, &passes).bug {
        return Err(limit(format!("the pass `{}` left {}", bug.pass, bug.rules.join("; ")), Span::default()));
    }
    pantile_gpu::compile(&fixed, options).map_err(|l| limit(l.message, l.span))
}

/// A kernel on one GPU, with the tables of its orders.
pub(crate) struct Launcher {
    gpu: Arc<Gpu>,
    kernel: Kernel,
    /// Code that has been loaded, by variant.
    loaded: Mutex<Vec<(Arc<Variant>, Arc<Function>)>>,
    orders: Vec<Buffer>,
    /// Elements, positions and lengths of a dim's blocks, one after another.
    tables: Vec<Option<[Buffer; 3]>>,
}

/// A launch under way.
pub(crate) struct Started {
    gpu: Arc<Gpu>,
    kernel: String,
    /// One i32 a call: 0, or what went wrong.
    faults: Buffer,
    variants: Vec<Arc<Variant>>,
}

impl Launcher {
    /// Compiles a function for a GPU and puts the tables of its orders there.
    ///
    /// # Errors
    /// What is too large for the GPU, with numbers; if its memory does not hold the tables.
    pub(crate) fn new(
        gpu: &Arc<Gpu>,
        func: &Func,
        options: &Options,
        orders: &[Arc<Vec<i32>>],
        sources: &SourceMap,
    ) -> Result<Self> {
        let kernel = compile(func, options, sources)?;
        let upload = |list: &[i32]| Buffer::of(gpu, crate::storage::bytes_of(list));
        // The passes for fixed tiles make dims of their own.
        let table = |dim: &Dim| match block_table(kernel.func(), dim, orders)? {
            Some(t) => Ok(Some([upload(&t.elem)?, upload(&t.pos)?, upload(&t.len)?])),
            None => Ok(None),
        };
        let tables = kernel.func().dims.iter().map(table).collect::<Result<_>>()?;
        Ok(Self {
            gpu: gpu.clone(),
            tables,
            kernel,
            loaded: Mutex::default(),
            orders: orders.iter().map(|order| upload(order)).collect::<Result<_>>()?,
        })
    }

    /// Queues calls.
    ///
    /// # Errors
    /// If one is too large for the GPU, its code does not load, or the GPU is lost.
    pub(crate) fn start(&self, calls: &mut [Call<'_>], sources: &SourceMap) -> Result<Started> {
        let func = self.kernel.func();
        let faults = Buffer::zeroed(&self.gpu, 4 * calls.len().max(1))?;
        let orders: Vec<u64> = self.orders.iter().map(Buffer::address).collect();
        let tables: Vec<Option<[u64; 3]>> =
            self.tables.iter().map(|t| t.as_ref().map(|t| t.each_ref().map(Buffer::address))).collect();
        let mut variants = Vec::with_capacity(calls.len());
        for (n, call) in calls.iter_mut().enumerate() {
            // Held until the work is queued: the GPU frees memory behind it.
            let mut held = Vec::new();
            let args = call.operands.iter_mut().map(|o| self.argument(o, &mut held)).collect::<Result<Vec<_>>>()?;
            let fault = faults.address() + 4 * n as u64;
            let launch = Launch { args: &args, extents: call.extents, tables: &tables, orders: &orders, fault };
            let packed = self.kernel.pack(&launch).map_err(|l| limited(&func.name, l.message, l.span, sources))?;
            let Packed { variant, words, blocks } = packed;
            let variant = self.available(variant, &launch, sources)?;
            let blocks = self.blocks(blocks)?;
            if blocks > 0 {
                let function = self.function(&variant)?;
                let maps = self.maps(&variant, &launch)?;
                // SAFETY: the words were packed by this kernel for operands that were checked against its parameters; their
                // memory is held by `held` until this is queued, and freed behind it; tables come from the function's own
                // orders, whose elements were checked against the extents.
                let queued = unsafe { self.gpu.stream.launch(&function, blocks, &words, &maps) };
                queued.map_err(|e| self.gpu.failed(&format!("the launch of `{}`", func.name), &e))?;
            }
            variants.push(variant);
        }
        Ok(Started { gpu: self.gpu.clone(), kernel: func.name.clone(), faults, variants })
    }

    /// The tensor maps of a launch, as the hardware reads them.
    fn maps(&self, variant: &Variant, launch: &Launch<'_>) -> Result<Vec<[u64; MAP_WORDS]>> {
        let maps = self.kernel.maps(variant, launch).map_err(|l| self.limit(l.message))?;
        let encoded = maps.iter().map(|map| {
            let doing = || format!("the description of a tensor of `{}` ({map:?})", self.kernel.func().name);
            maps::encode(&self.gpu.context, map).map_err(|e| self.gpu.failed(&doing(), &e))
        });
        encoded.collect()
    }

    fn limit(&self, message: String) -> Error {
        Error::Limit { kernel: self.kernel.func().name.clone(), message, line: None }
    }

    fn blocks(&self, blocks: u64) -> Result<u32> {
        let many =
            || self.limit(format!("its grid has {blocks} blocks, and {MOST_BLOCKS} are the most; use larger blocks"));
        u32::try_from(blocks).ok().filter(|n| u64::from(*n) <= MOST_BLOCKS).ok_or_else(many)
    }

    /// A variant whose code can be had: without LLVM, one that a bundle has.
    fn available(&self, variant: Arc<Variant>, launch: &Launch<'_>, sources: &SourceMap) -> Result<Arc<Variant>> {
        let known =
            self.loaded.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|(v, _)| Arc::ptr_eq(v, &variant));
        if known || llvm::library().is_ok() || self.gpu.bundled(&variant.program).is_some() {
            return Ok(variant);
        }
        let func = self.kernel.func();
        let others = self.kernel.substitutes(launch).map_err(|l| limited(&func.name, l.message, l.span, sources))?;
        Ok(others.into_iter().find(|other| self.gpu.bundled(&other.program).is_some()).unwrap_or(variant))
    }

    /// The code of a variant, loaded.
    fn function(&self, variant: &Arc<Variant>) -> Result<Arc<Function>> {
        let loaded = || self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, function)) = loaded().iter().find(|(v, _)| Arc::ptr_eq(v, variant)) {
            return Ok(function.clone());
        }
        let function = Arc::new(self.load(variant)?);
        loaded().push((variant.clone(), function.clone()));
        Ok(function)
    }

    fn load(&self, variant: &Variant) -> Result<Function> {
        let (program, gpu, name) = (&variant.program, &self.gpu, &self.kernel.func().name);
        if program.shared > gpu.facts.shared {
            let (need, most, gpu) = (program.shared, gpu.facts.shared, gpu.name());
            let way = "use smaller blocks";
            return Err(self.limit(format!("a block needs {need} bytes of shared memory, and {gpu} has {most}; {way}")));
        }
        let ptx = gpu.ptx(program).map_err(|e| match e {
            llvm::Error::Missing(_) => Error::Device(format!("`{name}` is in no bundle that was loaded, and {e}")),
            llvm::Error::Program(_) | llvm::Error::Refused(..) => self.limit(e.to_string()),
        })?;
        let version = gpu.version.0;
        let failed = |doing: &str, e| gpu.failed(&format!("{doing} of `{name}`"), &e);
        let key = cubins::Key::of(&ptx, &gpu.target, version);
        let module = match key.find().map(|cubin| Module::load(&gpu.context, &cubin)) {
            Some(Ok(module)) => module,
            // What is damaged or stale is made again.
            Some(Err(_)) | None => {
                let text = std::ffi::CString::new(ptx).map_err(|_| self.limit("its PTX has a zero byte".into()))?;
                let cubin = assemble(&gpu.context, &text).map_err(|e| failed("the assembly", e))?;
                key.keep(&cubin);
                Module::load(&gpu.context, &cubin).map_err(|e| failed("the loading", e))?
            }
        };
        let (threads, shared) = (program.threads, program.shared);
        let function = module.function(&program.name, threads, shared).map_err(|e| failed("the loading", e))?;
        if threads > function.most_threads {
            let (most, registers) = (function.most_threads, function.registers);
            return Err(self.limit(format!(
                "a block has {threads} threads, and with {registers} registers each the GPU runs {most} at most; use \
                 smaller blocks"
            )));
        }
        Ok(function)
    }

    /// Where an operand lies on the GPU; copied there if it must be. Outputs must be the only owners of their memory.
    fn argument(&self, operand: &mut Operand<'_>, held: &mut Vec<Arc<Buffer>>) -> Result<Arg> {
        match operand {
            Operand::Scalar(dtype, value) => {
                let mut bytes = [0; 8];
                pantile_ir::eval::encode(*dtype, *value, &mut bytes[..dtype.bytes()]);
                Ok(Arg::Scalar(u64::from_le_bytes(bytes)))
            }
            Operand::In(tensor) => {
                Ok(Arg::Tensor { data: self.read(tensor, held)?, strides: tensor.strides().to_vec() })
            }
            Operand::Out(tensor) => {
                Ok(Arg::Tensor { data: self.written(tensor, "an output", held)?, strides: tensor.strides().to_vec() })
            }
            Operand::Mask(mask) => {
                let Mask { bits, count, list, .. } = mask;
                let (bits, count) = (self.read(bits, held)?, self.read(count, held)?);
                Ok(Arg::Mask { bits, count, list: self.read(list, held)? })
            }
            Operand::MaskOut(mask) => {
                let Mask { bits, count, list, .. } = &mut **mask;
                let mut written = |part| self.written(part, "an output mask", held);
                Ok(Arg::Mask { bits: written(bits)?, count: written(count)?, list: written(list)? })
            }
        }
    }

    fn read(&self, tensor: &Tensor, held: &mut Vec<Arc<Buffer>>) -> Result<u64> {
        let (storage, offset) = tensor.storage();
        held.push(storage.on(&self.gpu)?);
        Ok(held.last().map_or(0, |buffer| buffer.address()) + offset as u64)
    }

    fn written(&self, tensor: &mut Tensor, what: &str, held: &mut Vec<Arc<Buffer>>) -> Result<u64> {
        let offset = tensor.storage().1;
        held.push(tensor.storage_mut(what)?.on_mut(&self.gpu)?);
        Ok(held.last().map_or(0, |buffer| buffer.address()) + offset as u64)
    }
}

impl Started {
    /// Waits for it, and says what went wrong.
    ///
    /// # Errors
    /// If a program instance stopped, or the GPU is lost.
    pub(crate) fn finish(self, sources: &SourceMap) -> Result<()> {
        let Self { gpu, kernel, faults, variants } = self;
        gpu.stream.wait().map_err(|e| gpu.failed(&format!("`{kernel}`"), &e))?;
        let mut codes = vec![0; 4 * variants.len()];
        faults.read(&mut codes)?;
        let codes = codes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
        match codes.zip(&variants).find(|(code, _)| *code != 0) {
            None => Ok(()),
            Some((code, variant)) => {
                let (message, span) = variant.fault(code);
                Err(Error::Fault { kernel, instance: Vec::new(), message, line: line(sources, span) })
            }
        }
    }
}
