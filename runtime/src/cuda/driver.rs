//! The CUDA driver, opened at run time: it is called here and in `driver/` alone. Each object frees what it holds; each call
//! makes its context the thread's own first. It knows nothing of tensors and kernels.

#![allow(unsafe_code, reason = "calls into the CUDA driver stand here and nowhere else")]

pub(crate) mod code;
pub(crate) mod graph;
pub(crate) mod host;
pub(crate) mod maps;

use std::ffi::{CStr, c_int};
use std::fmt;
use std::ptr::null_mut;
use std::sync::Arc;

use cudarc::driver::sys::{self, CUresult};

/// What a call to the driver came to.
pub(crate) type Driven<T> = Result<T, DriverError>;

/// A call to the driver that failed.
#[derive(Clone, Debug)]
pub(crate) struct DriverError {
    call: &'static str,
    code: CUresult,
    /// What the driver's assembler had to say.
    log: String,
}

impl DriverError {
    /// Whether there was not enough memory.
    pub(crate) fn is_memory(&self) -> bool {
        self.code == CUresult::CUDA_ERROR_OUT_OF_MEMORY
    }
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, about) = (text_of(self.code, sys::cuGetErrorName), text_of(self.code, sys::cuGetErrorString));
        write!(f, "{name} ({}) from {}: {about}", self.code as u32, self.call)?;
        if self.log.is_empty() { Ok(()) } else { write!(f, "\n{}", self.log) }
    }
}

/// A text that the driver has for a code.
fn text_of(code: CUresult, ask: unsafe fn(CUresult, *mut *const std::ffi::c_char) -> CUresult) -> String {
    let mut text = std::ptr::null();
    // SAFETY: `text` is valid for writing; what the driver stores there is a static string or null.
    let found = unsafe { ask(code, &raw mut text) };
    if found != CUresult::CUDA_SUCCESS || text.is_null() {
        return format!("{code:?}");
    }
    // SAFETY: the driver's strings end with a zero and live as long as the process.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

fn check(call: &'static str, code: CUresult) -> Driven<()> {
    if code == CUresult::CUDA_SUCCESS { Ok(()) } else { Err(DriverError { call, code, log: String::new() }) }
}

/// Calls a function of the driver by its name; its arguments are checked where it stands.
macro_rules! call {
    ($name:ident($($arg:expr),* $(,)?)) => {
        check(stringify!($name), sys::$name($($arg),*))
    };
}

use call;

/// Whether the driver's library can be opened.
pub(crate) fn is_present() -> bool {
    // SAFETY: opening the library runs its initialisers, which is what it is installed for.
    unsafe { sys::is_culib_present() }
}

/// Starts the driver and gives the CUDA version that it supports: 12080 for 12.8. The library is there.
pub(crate) fn start() -> Driven<i32> {
    let mut version = 0;
    // SAFETY: `version` is valid for writing.
    unsafe {
        call!(cuInit(0))?;
        call!(cuDriverGetVersion(&raw mut version))?;
    }
    Ok(version)
}

/// The number of GPUs that the driver shows.
pub(crate) fn device_count() -> Driven<usize> {
    let mut count = 0;
    // SAFETY: `count` is valid for writing.
    unsafe { call!(cuDeviceGetCount(&raw mut count)) }?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// What a GPU is.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) name: String,
    /// Compute capability.
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) multiprocessors: u32,
    /// Bytes of memory.
    pub(crate) memory: usize,
    /// The most bytes of shared memory that a block may ask for.
    pub(crate) shared: u32,
    /// Whether memory can be allocated in the order of a stream.
    pub(crate) pools: bool,
}

/// What the `index`-th GPU is.
pub(crate) fn facts(index: usize) -> Driven<Facts> {
    use sys::CUdevice_attribute as Attribute;
    let device = device(index)?;
    let mut name = [0; 256];
    let mut memory = 0;
    // SAFETY: `name` has 256 places and `memory` one.
    unsafe {
        call!(cuDeviceGetName(name.as_mut_ptr(), 256, device))?;
        call!(cuDeviceTotalMem_v2(&raw mut memory, device))?;
    }
    // SAFETY: the driver ends the name with a zero within its 256 places.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned();
    let ask = |attribute| {
        let mut value: c_int = 0;
        // SAFETY: `value` is valid for writing.
        unsafe { call!(cuDeviceGetAttribute(&raw mut value, attribute, device)) }?;
        Ok(u32::try_from(value).unwrap_or(0))
    };
    Ok(Facts {
        name,
        major: ask(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
        minor: ask(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        multiprocessors: ask(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        memory,
        shared: ask(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
        pools: ask(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED)? != 0,
    })
}

fn device(index: usize) -> Driven<sys::CUdevice> {
    let mut device = 0;
    let ordinal = c_int::try_from(index).unwrap_or(c_int::MAX);
    // SAFETY: `device` is valid for writing.
    unsafe { call!(cuDeviceGet(&raw mut device, ordinal)) }?;
    Ok(device)
}

/// The primary context of a GPU, held as long as the object lives.
#[derive(Debug)]
pub(crate) struct Context {
    raw: sys::CUcontext,
    device: sys::CUdevice,
}

// SAFETY: the driver's handles may be used from any thread; calls on one context are ordered by the driver.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// Opens the `index`-th GPU. Freed memory stays with the process, so that the next allocation is quick.
    pub(crate) fn open(index: usize, pools: bool) -> Driven<Arc<Self>> {
        let device = device(index)?;
        let mut raw = null_mut();
        // SAFETY: `raw` is valid for writing.
        unsafe { call!(cuDevicePrimaryCtxRetain(&raw mut raw, device)) }?;
        let context = Arc::new(Self { raw, device });
        context.bind()?;
        if pools {
            let (mut pool, mut keep) = (null_mut(), u64::MAX);
            let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            // SAFETY: `pool` is valid for writing; the attribute is a 64-bit number, read during the call.
            unsafe {
                call!(cuDeviceGetDefaultMemPool(&raw mut pool, device))?;
                call!(cuMemPoolSetAttribute(pool, threshold, (&raw mut keep).cast()))?;
            }
        }
        Ok(context)
    }

    fn bind(&self) -> Driven<()> {
        // SAFETY: the context is held by `self`.
        unsafe { call!(cuCtxSetCurrent(self.raw)) }
    }

    /// Free and total bytes of memory.
    pub(crate) fn memory(&self) -> Driven<(usize, usize)> {
        self.bind()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: both are valid for writing.
        unsafe { call!(cuMemGetInfo_v2(&raw mut free, &raw mut total)) }?;
        Ok((free, total))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the context was retained once and is released once. A failure leaves nothing to be done.
        let _ = unsafe { call!(cuDevicePrimaryCtxRelease_v2(self.device)) };
    }
}

/// A queue of work, done in order.
#[derive(Debug)]
pub(crate) struct Stream {
    context: Arc<Context>,
    raw: sys::CUstream,
    pools: bool,
}

// SAFETY: as for `Context`.
unsafe impl Send for Stream {}
// SAFETY: as for `Context`.
unsafe impl Sync for Stream {}

impl Stream {
    /// A queue of its own.
    pub(crate) fn new(context: &Arc<Context>, pools: bool) -> Driven<Self> {
        context.bind()?;
        let mut raw = null_mut();
        let flags = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: `raw` is valid for writing.
        unsafe { call!(cuStreamCreate(&raw mut raw, flags)) }?;
        Ok(Self { context: context.clone(), raw, pools })
    }

    /// The context that it is of.
    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Waits until all is done, and says what went wrong on the way.
    pub(crate) fn wait(&self) -> Driven<()> {
        self.context.bind()?;
        // SAFETY: the stream is held by `self`.
        unsafe { call!(cuStreamSynchronize(self.raw)) }
    }

    /// The address of memory that is there once earlier work is done; what lies there is not said. At least one byte.
    pub(crate) fn allocate(&self, bytes: usize) -> Driven<u64> {
        self.context.bind()?;
        let mut address = 0;
        // SAFETY: `address` is valid for writing.
        unsafe {
            match self.pools {
                true => call!(cuMemAllocAsync(&raw mut address, bytes.max(1), self.raw)),
                false => call!(cuMemAlloc_v2(&raw mut address, bytes.max(1))),
            }
        }?;
        Ok(address)
    }

    /// Gives memory back once earlier work is done.
    ///
    /// # Safety
    /// `address` came from [`Stream::allocate`] of this stream, and nobody uses it any more.
    pub(crate) unsafe fn free(&self, address: u64) -> Driven<()> {
        self.context.bind()?;
        // SAFETY: the caller's promise. The older call waits for work that is under way.
        unsafe {
            match self.pools {
                true => call!(cuMemFreeAsync(address, self.raw)),
                false => call!(cuMemFree_v2(address)),
            }
        }
    }

    /// Fills memory with a byte.
    ///
    /// # Safety
    /// `bytes` bytes at `address` belong to the caller, who lets nobody else use them until this is done.
    pub(crate) unsafe fn fill(&self, address: u64, byte: u8, bytes: usize) -> Driven<()> {
        self.context.bind()?;
        // SAFETY: the caller's promise.
        if bytes == 0 { Ok(()) } else { unsafe { call!(cuMemsetD8Async(address, byte, bytes, self.raw)) } }
    }

    /// Copies to the device, and waits for it.
    ///
    /// # Safety
    /// As [`Stream::fill`] for as many bytes as `from` has.
    pub(crate) unsafe fn upload(&self, address: u64, from: &[u8]) -> Driven<()> {
        if from.is_empty() {
            return Ok(());
        }
        self.context.bind()?;
        // SAFETY: the caller's promise; `from` is borrowed until the copy is done.
        unsafe { call!(cuMemcpyHtoDAsync_v2(address, from.as_ptr().cast(), from.len(), self.raw)) }?;
        self.wait()
    }

    /// Copies to the host, and waits for it and all work before it.
    ///
    /// # Safety
    /// As many bytes as `to` has lie at `address`.
    pub(crate) unsafe fn download(&self, address: u64, to: &mut [u8]) -> Driven<()> {
        if to.is_empty() {
            return Ok(());
        }
        self.context.bind()?;
        // SAFETY: the caller's promise; `to` is borrowed until the copy is done.
        unsafe { call!(cuMemcpyDtoHAsync_v2(to.as_mut_ptr().cast(), address, to.len(), self.raw)) }?;
        self.wait()
    }

    /// Copies on the device.
    ///
    /// # Safety
    /// As [`Stream::fill`] for `to`; as many bytes lie at `from` and stay until this is done.
    pub(crate) unsafe fn copy(&self, to: u64, from: u64, bytes: usize) -> Driven<()> {
        self.context.bind()?;
        // SAFETY: the caller's promise.
        if bytes == 0 { Ok(()) } else { unsafe { call!(cuMemcpyDtoDAsync_v2(to, from, bytes, self.raw)) } }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.context.bind().is_ok() {
            // SAFETY: the stream was made by `new` and is used by nobody any more.
            let _ = unsafe { call!(cuStreamDestroy_v2(self.raw)) };
        }
    }
}
