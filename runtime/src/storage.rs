//! Raw memory behind tensors: on the host, allocated at 64-byte alignment, on a GPU, or both; and typed views of its bytes.
//! The only file of the runtime that turns bytes into slices. Shapes and strides are `tensor.rs`'s business.

#![allow(unsafe_code, reason = "raw views of tensor memory live here and nowhere else")]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

use crate::cuda::{Buffer, Gpu};
use crate::{Element, Error, Result};

/// Every allocation starts at a multiple of this many bytes.
pub(crate) const ALIGNMENT: usize = 64;

/// Where memory is allocated: on a GPU, or on the host.
pub(crate) type Home<'a> = Option<&'a Arc<Gpu>>;

/// A block of memory, zero at first. It lies on the host or on a GPU; where one reads what the other has written, a copy
/// is made, and both are kept until one is written.
#[derive(Debug)]
pub(crate) struct Storage {
    bytes: usize,
    // At least one of the two is there. If both are, they hold the same.
    host: OnceLock<Host>,
    device: OnceLock<Arc<Buffer>>,
}

impl Storage {
    /// Zeroed memory.
    ///
    /// # Errors
    /// If there is not that much.
    pub(crate) fn zeroed(home: Home<'_>, bytes: usize, what: impl Fn() -> String) -> Result<Self> {
        Self::allocate(home, bytes, Buffer::zeroed, what)
    }

    /// Memory all of which will be written before it is read.
    ///
    /// # Errors
    /// If there is not that much.
    pub(crate) fn to_be_written(home: Home<'_>, bytes: usize, what: impl Fn() -> String) -> Result<Self> {
        // On the host zeros cost nothing before they are touched.
        let mut storage = Self::allocate(home, bytes, Buffer::to_be_written, what)?;
        if cfg!(debug_assertions) {
            // Whoever reads what was not written shall see it.
            storage.fill(0xA5, bytes)?;
        }
        Ok(storage)
    }

    fn allocate(
        home: Home<'_>,
        bytes: usize,
        make: fn(&Arc<Gpu>, usize) -> Result<Buffer>,
        what: impl Fn() -> String,
    ) -> Result<Self> {
        let (host, device) = (OnceLock::new(), OnceLock::new());
        match home {
            Some(gpu) => drop(device.set(Arc::new(make(gpu, bytes).map_err(|e| e.about(&what()))?))),
            None => drop(host.set(Host::zeroed(bytes).ok_or_else(|| Error::Memory { what: what(), bytes })?)),
        }
        Ok(Self { bytes, host, device })
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// The GPU where it lies, if it lies there alone.
    pub(crate) fn home(&self) -> Home<'_> {
        self.device.get().filter(|_| self.host.get().is_none()).map(|buffer| buffer.gpu())
    }

    /// The bytes as the host sees them.
    ///
    /// # Errors
    /// If they must be brought from a GPU, and cannot.
    pub(crate) fn bytes(&self) -> Result<&[u8]> {
        if let Some(host) = self.host.get() {
            return Ok(host.bytes());
        }
        let memory = || Error::Memory { what: "a copy on the host".into(), bytes: self.bytes };
        let mut host = Host::zeroed(self.bytes).ok_or_else(memory)?;
        if let Some(buffer) = self.device.get() {
            buffer.read(host.bytes_mut())?;
        }
        Ok(self.host.get_or_init(|| host).bytes())
    }

    /// The bytes, to be written by the host. What lies on a GPU is out of date then, and goes.
    ///
    /// # Errors
    /// As [`Storage::bytes`].
    pub(crate) fn bytes_mut(&mut self) -> Result<&mut [u8]> {
        self.bytes()?;
        self.device.take();
        Ok(self.host.get_mut().map_or(&mut [], Host::bytes_mut))
    }

    /// Fills the first bytes, where they are.
    ///
    /// # Errors
    /// If there are not as many, or the GPU is lost.
    pub(crate) fn fill(&mut self, byte: u8, bytes: usize) -> Result<()> {
        let small = || Error::Tensor("memory is too small".into());
        match self.home().cloned() {
            Some(gpu) => self.on_mut(&gpu)?.fill(byte, bytes),
            None => {
                self.bytes_mut()?.get_mut(..bytes).ok_or_else(small)?.fill(byte);
                Ok(())
            }
        }
    }

    /// The start on the host, for code that the compiler made. It may be written through only while the storage is borrowed
    /// mutably, after [`Storage::bytes_mut`].
    ///
    /// # Errors
    /// As [`Storage::bytes`].
    pub(crate) fn pointer(&self) -> Result<*mut u8> {
        self.bytes()?;
        Ok(self.host.get().map_or(std::ptr::null_mut(), Host::pointer))
    }

    /// The memory on a GPU, to be read there. The host's copy stays.
    ///
    /// # Errors
    /// If the GPU has not that much, or is lost.
    pub(crate) fn on(&self, gpu: &Arc<Gpu>) -> Result<Arc<Buffer>> {
        match self.device.get() {
            Some(buffer) if Arc::ptr_eq(buffer.gpu(), gpu) => Ok(buffer.clone()),
            // It lies on another GPU: this copy is for the caller alone.
            Some(_) => Ok(Arc::new(Buffer::of(gpu, self.bytes()?)?)),
            None => {
                let buffer = Arc::new(Buffer::of(gpu, self.bytes()?)?);
                Ok(self.device.get_or_init(|| buffer).clone())
            }
        }
    }

    /// The memory on a GPU, to be written there. What the host has is out of date then, and goes.
    ///
    /// # Errors
    /// As [`Storage::on`].
    pub(crate) fn on_mut(&mut self, gpu: &Arc<Gpu>) -> Result<Arc<Buffer>> {
        let buffer = self.on(gpu)?;
        self.host.take();
        self.device = OnceLock::from(buffer.clone());
        Ok(buffer)
    }
}

/// A block of memory of the host, zero at first.
#[derive(Debug)]
pub(crate) struct Host {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a `Host` owns its memory alone and hands it out by the usual borrowing rules.
unsafe impl Send for Host {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Host {}

impl Host {
    /// Zeroed memory; `None` if the system has not that much.
    pub(crate) fn zeroed(bytes: usize) -> Option<Self> {
        let layout = Self::layout(bytes)?;
        // SAFETY: `layout` has a non-zero size.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Self { start, bytes })
    }

    fn layout(bytes: usize) -> Option<Layout> {
        Layout::from_size_align(bytes.max(1), ALIGNMENT).ok()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `start` is valid for `bytes` initialised bytes as long as `self` lives; shared access only reads.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` is the only way to this memory.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }

    /// The start, for code that the compiler made. It may be written through only while the storage is borrowed mutably.
    pub(crate) fn pointer(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.bytes) {
            // SAFETY: `start` came from `alloc_zeroed` with this layout.
            unsafe { dealloc(self.start.as_ptr(), layout) }
        }
    }
}

/// The bytes as elements. `None` where length or alignment do not fit.
pub(crate) fn elements<T: Element>(bytes: &[u8]) -> Option<&[T]> {
    let fits = bytes.len().is_multiple_of(size_of::<T>()) && bytes.as_ptr().align_offset(align_of::<T>()) == 0;
    // SAFETY: length and alignment fit, and an `Element` is plain data: every byte pattern that a tensor of its dtype may
    // hold is a value (bools are checked to be 0 or 1 where bytes enter a tensor).
    fits.then(|| unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / size_of::<T>()) })
}

/// The bytes as elements that can be written.
pub(crate) fn elements_mut<T: Element>(bytes: &mut [u8]) -> Option<&mut [T]> {
    let fits = bytes.len().is_multiple_of(size_of::<T>()) && bytes.as_ptr().align_offset(align_of::<T>()) == 0;
    // SAFETY: as in `elements`; the exclusive borrow is passed on.
    fits.then(|| unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len() / size_of::<T>()) })
}

/// The bytes of elements.
pub(crate) fn bytes_of<T: Element>(elements: &[T]) -> &[u8] {
    // SAFETY: an `Element` has no padding, so all its bytes are initialised.
    unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), size_of_val(elements)) }
}
