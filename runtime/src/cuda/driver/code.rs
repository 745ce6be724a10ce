//! Code on a GPU: the driver's assembler, modules, their entries, launches, and marks between them. Where code comes from
//! is not known here.

use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr::null_mut;
use std::sync::Arc;

use cudarc::driver::sys;

use super::graph::parameters;
use super::maps::MAP_WORDS;
use super::{Context, Driven, DriverError, Stream, call, check};

impl Stream {
    /// Starts a kernel: its parameters are the words, then the tensor maps. They are not given as one buffer: where a parameter
    /// is aligned to 64 bytes, assemblers let them begin elsewhere than the driver copies a buffer to.
    ///
    /// # Safety
    /// The function takes these words and maps, and the addresses among them hold what it reads and writes until it is done.
    pub(crate) unsafe fn launch(
        &self,
        function: &Function,
        blocks: u32,
        words: &[u64],
        maps: &[[u64; MAP_WORDS]],
    ) -> Driven<()> {
        self.context.bind()?;
        let mut parameters = parameters(words, maps);
        let Function { raw, threads, shared, .. } = function;
        let (all, none) = (parameters.as_mut_ptr(), null_mut());
        // SAFETY: the caller's promise; the driver copies the parameters during the call.
        unsafe { call!(cuLaunchKernel(*raw, blocks, 1, 1, *threads, 1, 1, *shared, self.raw, all, none)) }
    }

    /// A mark behind the work so far.
    pub(crate) fn mark(&self) -> Driven<Event> {
        self.context.bind()?;
        let mut raw = null_mut();
        // SAFETY: `raw` is valid for writing.
        unsafe { call!(cuEventCreate(&raw mut raw, sys::CUevent_flags::CU_EVENT_DEFAULT as u32)) }?;
        let event = Event { context: self.context.clone(), raw };
        // SAFETY: event and stream are held by their objects.
        unsafe { call!(cuEventRecord(event.raw, self.raw)) }?;
        Ok(event)
    }
}

/// A mark in a stream.
#[derive(Debug)]
pub(crate) struct Event {
    context: Arc<Context>,
    raw: sys::CUevent,
}

impl Event {
    /// Seconds from an earlier mark; waits for both.
    pub(crate) fn seconds_since(&self, earlier: &Event) -> Driven<f64> {
        self.context.bind()?;
        let mut milliseconds = 0.0f32;
        // SAFETY: both events are held by their objects, and `milliseconds` is valid for writing.
        unsafe {
            call!(cuEventSynchronize(self.raw))?;
            call!(cuEventElapsedTime(&raw mut milliseconds, earlier.raw, self.raw))?;
        }
        Ok(f64::from(milliseconds) * 1e-3)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if self.context.bind().is_ok() {
            // SAFETY: the event was made by `mark` and is used by nobody any more.
            let _ = unsafe { call!(cuEventDestroy_v2(self.raw)) };
        }
    }
}

/// Bytes that the assembler may write about what it is given.
const LOG: usize = 16 << 10;

/// Buffers for what the assembler says, as options of the calls that run it.
struct Log {
    error: Vec<u8>,
}

impl Log {
    fn new() -> Self {
        Self { error: vec![0; LOG] }
    }

    fn options(&mut self) -> ([sys::CUjit_option; 2], [*mut c_void; 2]) {
        use sys::CUjit_option as Option;
        let options = [Option::CU_JIT_ERROR_LOG_BUFFER, Option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
        (options, [self.error.as_mut_ptr().cast(), std::ptr::without_provenance_mut(LOG)])
    }

    /// A failure with what was written.
    fn explain(&self, error: DriverError) -> DriverError {
        let end = self.error.iter().position(|b| *b == 0).unwrap_or(LOG);
        DriverError { log: String::from_utf8_lossy(&self.error[..end]).trim().to_owned(), ..error }
    }
}

/// Machine code of a PTX text for the GPU of a context, by the driver's assembler.
pub(crate) fn assemble(context: &Context, ptx: &CStr) -> Driven<Vec<u8>> {
    context.bind()?;
    let mut log = Log::new();
    let (mut options, mut values) = log.options();
    let (mut state, mut cubin, mut size) = (null_mut(), null_mut(), 0);
    let text = ptx.to_bytes_with_nul();
    // SAFETY: the two options are a buffer and its size, which live until the state is destroyed; the text is read during
    // the call and ends with a zero; the machine code belongs to the state and is copied before that is destroyed.
    let made = unsafe {
        call!(cuLinkCreate_v2(2, options.as_mut_ptr(), values.as_mut_ptr(), &raw mut state))?;
        let (kind, name) = (sys::CUjitInputType::CU_JIT_INPUT_PTX, c"kernel.ptx".as_ptr());
        let data = text.as_ptr().cast_mut().cast();
        let added = call!(cuLinkAddData_v2(state, kind, data, text.len(), name, 0, null_mut(), null_mut()));
        let made = added.and_then(|()| call!(cuLinkComplete(state, &raw mut cubin, &raw mut size)));
        let made = made.map(|()| std::slice::from_raw_parts(cubin.cast::<u8>().cast_const(), size).to_vec());
        let _ = call!(cuLinkDestroy(state));
        made
    };
    made.map_err(|e| log.explain(e))
}

/// Code on a GPU.
#[derive(Debug)]
pub(crate) struct Module {
    context: Arc<Context>,
    raw: sys::CUmodule,
}

// SAFETY: as for `Context`.
unsafe impl Send for Module {}
// SAFETY: as for `Context`.
unsafe impl Sync for Module {}

impl Module {
    /// Loads machine code.
    pub(crate) fn load(context: &Arc<Context>, cubin: &[u8]) -> Driven<Arc<Self>> {
        context.bind()?;
        let mut log = Log::new();
        let (mut options, mut values) = log.options();
        let mut raw = null_mut();
        // SAFETY: as in `assemble`; the driver reads the image, whose header says how long it is, during the call.
        let loaded = unsafe {
            call!(cuModuleLoadDataEx(&raw mut raw, cubin.as_ptr().cast(), 2, options.as_mut_ptr(), values.as_mut_ptr()))
        };
        loaded.map_err(|e| log.explain(e))?;
        Ok(Arc::new(Self { context: context.clone(), raw }))
    }

    /// An entry, to be launched in blocks of so many threads with so much shared memory.
    pub(crate) fn function(self: &Arc<Self>, name: &str, threads: u32, shared: u32) -> Driven<Function> {
        use sys::CUfunction_attribute as Attribute;
        self.context.bind()?;
        let mut raw = null_mut();
        let name = CString::new(name).unwrap_or_default();
        let most = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        let bytes = c_int::try_from(shared).unwrap_or(c_int::MAX);
        // SAFETY: `raw` is valid for writing, the name ends with a zero, the module is held by `self`.
        unsafe {
            call!(cuModuleGetFunction(&raw mut raw, self.raw, name.as_ptr()))?;
            call!(cuFuncSetAttribute(raw, most, bytes))?;
        }
        let ask = |attribute| {
            let mut value: c_int = 0;
            // SAFETY: `value` is valid for writing, and the function belongs to this module.
            unsafe { call!(cuFuncGetAttribute(&raw mut value, attribute, raw)) }?;
            Ok(u32::try_from(value).unwrap_or(0))
        };
        Ok(Function {
            _module: self.clone(),
            raw,
            threads,
            shared,
            most_threads: ask(Attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK)?,
            registers: ask(Attribute::CU_FUNC_ATTRIBUTE_NUM_REGS)?,
        })
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if self.context.bind().is_ok() {
            // SAFETY: the module was loaded by `load`, and functions keep it alive.
            let _ = unsafe { call!(cuModuleUnload(self.raw)) };
        }
    }
}

/// An entry of a module.
#[derive(Debug)]
pub(crate) struct Function {
    _module: Arc<Module>,
    pub(super) raw: sys::CUfunction,
    pub(super) threads: u32,
    pub(super) shared: u32,
    /// Threads that a block of it can have.
    pub(crate) most_threads: u32,
    /// Registers of a thread.
    pub(crate) registers: u32,
}

// SAFETY: as for `Context`.
unsafe impl Send for Function {}
// SAFETY: as for `Context`.
unsafe impl Sync for Function {}
