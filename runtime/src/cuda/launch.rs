//! Kernels on a GPU: code is loaded when a launch first needs it, launches are queued, and what they say about faults is
//! read when their results are wanted. Arguments have been checked against the function by `launch.rs` above.

#![allow(unsafe_code, reason = "the launch of compiled code stands here")]

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use pantile_diag::{SourceMap, Span};
use pantile_gpu::{Arg, Kernel, Launch, Options, PRINT_BYTES, Packed, TensorMap, Variant, llvm};
use pantile_ir::{Dim, Func, instance};

use super::driver::DriverError;
use super::driver::code::{Function, Module, assemble};
use super::driver::maps::{self, MAP_WORDS};
use super::faults::Slot;
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
    name: Arc<str>,
    /// Code that has been loaded, by the variant that a launch asked for.
    loaded: Mutex<Vec<(Arc<Variant>, Code)>>,
    /// Where the elements of each order lie, and the elements, positions and lengths of each dim's blocks.
    orders: Vec<u64>,
    tables: Vec<Option<[u64; 3]>>,
    /// What lies there.
    _memory: Vec<Buffer>,
}

/// Code that is ready to run.
#[derive(Clone)]
struct Code {
    /// Usually the variant that was asked for; without LLVM, one that a bundle has.
    variant: Arc<Variant>,
    function: Arc<Function>,
}

/// A launch under way.
pub(crate) struct Started {
    gpu: Arc<Gpu>,
    kernel: Arc<str>,
    calls: Vec<StartedCall>,
    done: bool,
}

/// A call of it.
struct StartedCall {
    variant: Arc<Variant>,
    /// Where it says what went wrong.
    fault: Slot,
    /// Where it prints, if it does.
    print: Option<Buffer>,
    /// Instances along each axis of the grid.
    grid: Vec<u64>,
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
        let mut memory = Vec::new();
        let mut upload = |list: &[i32]| {
            let buffer = Buffer::of(gpu, crate::storage::bytes_of(list))?;
            let address = buffer.address();
            memory.push(buffer);
            Ok::<u64, Error>(address)
        };
        // The passes for fixed tiles make dims of their own.
        let mut table = |dim: &Dim| match block_table(kernel.func(), dim, orders)? {
            Some(t) => Ok(Some([upload(&t.elem)?, upload(&t.pos)?, upload(&t.len)?])),
            None => Ok(None),
        };
        let tables = kernel.func().dims.iter().map(&mut table).collect::<Result<_>>()?;
        let orders = orders.iter().map(|order| upload(order)).collect::<Result<_>>()?;
        let name = kernel.func().name.as_str().into();
        Ok(Self { gpu: gpu.clone(), kernel, name, loaded: Mutex::default(), orders, tables, _memory: memory })
    }

    /// Queues calls.
    ///
    /// # Errors
    /// If one is too large for the GPU, its code does not load, or the GPU is lost.
    pub(crate) fn start(&self, calls: &mut [Call<'_>], sources: &SourceMap) -> Result<Started> {
        let room = Vec::with_capacity(calls.len());
        let mut started = Started { gpu: self.gpu.clone(), kernel: self.name.clone(), calls: room, done: false };
        for call in calls {
            started.calls.extend(self.call(call, sources)?);
        }
        Ok(started)
    }

    /// Queues a call, unless its grid is empty.
    fn call(&self, call: &mut Call<'_>, sources: &SourceMap) -> Result<Option<StartedCall>> {
        // Held until the work is queued: the GPU frees memory behind it.
        let mut held = Vec::with_capacity(call.operands.len());
        let args = call.operands.iter_mut().map(|o| self.argument(o, &mut held)).collect::<Result<Vec<_>>>()?;
        let failed = |e: &DriverError| self.gpu.failed(&format!("the launch of `{}`", self.name), e);
        let fault = self.gpu.faults.slot(&self.gpu.context).map_err(|e| failed(&e))?;
        let (tables, orders) = (&self.tables[..], &self.orders[..]);
        let print = if self.kernel.prints() { Some(self.print_buffer()?) } else { None };
        let at = print.as_ref().map_or(0, Buffer::address);
        let launch = Launch { args: &args, extents: call.extents, tables, orders, fault: fault.address(), print: at };
        let packed = self.kernel.pack(&launch).map_err(|l| self.limited(l, sources))?;
        let Packed { variant: wanted, words, grid, blocks } = packed;
        let blocks = self.blocks(blocks)?;
        if blocks == 0 {
            self.gpu.faults.give_back(fault);
            return Ok(None);
        }
        let Code { variant, function } = self.code(&wanted, &launch, sources)?;
        let maps = self.maps(&variant, &launch)?;
        // SAFETY: the words were packed by this kernel for operands that were checked against its parameters; their memory is
        // held by `held` until this is queued, and freed behind it; tables come from the function's own orders, whose
        // elements were checked against the extents.
        let queued = unsafe { self.gpu.stream.launch(&function, blocks, words, maps) };
        queued.map_err(|e| failed(&e))?;
        Ok(Some(StartedCall { variant, fault, print, grid }))
    }

    fn print_buffer(&self) -> Result<Buffer> {
        let buffer = Buffer::to_be_written(&self.gpu, PRINT_BYTES as usize)?;
        buffer.fill(0, 16)?;
        Ok(buffer)
    }

    fn limited(&self, limit: pantile_gpu::Limit, sources: &SourceMap) -> Error {
        limited(&self.name, limit.message, limit.span, sources)
    }

    /// The tensor maps of a launch, as the hardware reads them.
    fn maps(&self, variant: &Variant, launch: &Launch<'_>) -> Result<Vec<[u64; MAP_WORDS]>> {
        let maps = self.kernel.maps(variant, launch).map_err(|l| self.limit(l.message))?;
        let encoded = maps.into_iter().map(|map| {
            let doing = |map: &TensorMap| format!("the description of a tensor of `{}` ({map:?})", self.name);
            let known = || self.gpu.maps.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(encoded) = known().get(&map) {
                return Ok(encoded);
            }
            let encoded = maps::encode(&self.gpu.context, &map).map_err(|e| self.gpu.failed(&doing(&map), &e))?;
            known().insert(map, encoded);
            Ok(encoded)
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

    /// The code of a variant, loaded; without LLVM, that of one which serves the launch too and a bundle has.
    fn code(&self, wanted: &Arc<Variant>, launch: &Launch<'_>, sources: &SourceMap) -> Result<Code> {
        let loaded = || self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, code)) = loaded().iter().find(|(variant, _)| Arc::ptr_eq(variant, wanted)) {
            return Ok(code.clone());
        }
        let mut variant = wanted.clone();
        if llvm::library().is_err() && self.gpu.bundled(&wanted.program).is_none() {
            let others = self.kernel.substitutes(launch).map_err(|l| self.limited(l, sources))?;
            variant = others.into_iter().find(|v| self.gpu.bundled(&v.program).is_some()).unwrap_or(variant);
        }
        let code = Code { function: Arc::new(self.load(&variant)?), variant };
        loaded().push((wanted.clone(), code.clone()));
        Ok(code)
    }

    fn load(&self, variant: &Variant) -> Result<Function> {
        let (program, gpu, name) = (&variant.program, &self.gpu, &self.kernel.func().name);
        if program.shared > gpu.facts.shared {
            let (need, most, gpu) = (program.shared, gpu.facts.shared, gpu.name());
            let way = "use smaller blocks";
            return Err(self.limit(format!("a block needs {need} bytes of shared memory, and {gpu} has {most}; {way}")));
        }
        let ptx = gpu.ptx(program).map_err(|e| match e {
            llvm::Error::Missing(_) | llvm::Error::Named(..) => {
                Error::Device(format!("`{name}` is in no bundle that was loaded, and {e}"))
            }
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

impl StartedCall {
    /// Prints what it printed.
    fn say(&self) -> Result<()> {
        let Some(buffer) = &self.print else { return Ok(()) };
        let mut bytes = vec![0; PRINT_BYTES as usize];
        buffer.read(&mut bytes)?;
        let mut out = std::io::stdout().lock();
        // Where nobody listens, nothing is said.
        self.variant.printed(&bytes).iter().for_each(|line| drop(writeln!(out, "{line}")));
        Ok(())
    }
}

impl Started {
    /// Waits for it, and says what went wrong.
    ///
    /// # Errors
    /// If a program instance stopped, or the GPU is lost.
    pub(crate) fn finish(mut self, sources: &SourceMap) -> Result<()> {
        self.done = true;
        self.gpu.stream.wait().map_err(|e| self.gpu.failed(&format!("`{}`", self.kernel), &e))?;
        for call in &self.calls {
            call.say()?;
        }
        let found = self.calls.iter().find_map(|call| Some((call, call.fault.take()?)));
        let Some((call, (code, number))) = found else { return Ok(()) };
        let (message, span) = call.variant.fault(code);
        let instance = instance(u64::from(number), &call.grid);
        Err(Error::Fault { kernel: self.kernel.to_string(), instance, message, line: line(sources, span) })
    }

    /// Lets it run on: the kernel is known not to stop, so its words are free at once.
    pub(crate) fn detach(mut self) {
        self.done = true;
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.done && self.gpu.stream.wait().is_err() {
            // Whether the GPU still writes there nobody knows.
            return;
        }
        // Backwards, so that the next launches find their words in the same order.
        for StartedCall { fault, .. } in self.calls.drain(..).rev() {
            fault.take();
            self.gpu.faults.give_back(fault);
        }
    }
}
