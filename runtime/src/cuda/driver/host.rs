//! Memory of the host that a GPU reads and writes through the bus: for few words, which the host then looks at without a
//! copy. What they mean is the caller's business.

use std::ffi::c_void;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cudarc::driver::sys;

use super::{Context, Driven, call, check};

/// Words that host and GPU see, zero at first.
#[derive(Debug)]
pub(crate) struct SharedWords {
    context: Arc<Context>,
    start: NonNull<u64>,
    address: u64,
    count: usize,
}

// SAFETY: the words are accessed atomically, and freed by their owner alone.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// So many words.
    pub(crate) fn new(context: &Arc<Context>, count: usize) -> Driven<Self> {
        context.bind()?;
        let (mut start, mut address): (*mut c_void, u64) = (null_mut(), 0);
        let flags = sys::CU_MEMHOSTALLOC_PORTABLE | sys::CU_MEMHOSTALLOC_DEVICEMAP;
        // SAFETY: `start` is valid for writing.
        unsafe { call!(cuMemHostAlloc(&raw mut start, count * size_of::<u64>(), flags)) }?;
        let start = NonNull::new(start.cast::<u64>()).unwrap_or(NonNull::dangling());
        // Owned from here on, so that it is freed if the rest fails.
        let mut words = Self { context: context.clone(), start, address: 0, count };
        // SAFETY: `address` is valid for writing; the words were allocated just above, at an address aligned to pages, and
        // nobody else knows of them.
        unsafe {
            call!(cuMemHostGetDevicePointer_v2(&raw mut address, start.as_ptr().cast(), 0))?;
            start.as_ptr().write_bytes(0, count);
        }
        words.address = address;
        Ok(words)
    }

    /// Where the GPU sees a word.
    pub(crate) fn address(&self, n: usize) -> u64 {
        self.address + (n * size_of::<u64>()) as u64
    }

    /// What a word holds; it is 0 then. Work that writes it is done.
    pub(crate) fn take(&self, n: usize) -> u64 {
        assert!(n < self.count, "a word that is there");
        // SAFETY: the word lies in memory that `self` owns, is aligned, and is accessed by the host through here alone.
        unsafe { AtomicU64::from_ptr(self.start.as_ptr().add(n)) }.swap(0, Ordering::Acquire)
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        if self.context.bind().is_ok() {
            // SAFETY: the words came from `cuMemHostAlloc`; whoever hands out their addresses keeps this object.
            let _ = unsafe { call!(cuMemFreeHost(self.start.as_ptr().cast())) };
        }
    }
}
