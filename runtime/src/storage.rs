//! Raw memory behind tensors: allocation at 64-byte alignment and typed views of its bytes. The only file of the runtime
//! that turns bytes into slices. Shapes and strides are `tensor.rs`'s business.

#![allow(unsafe_code, reason = "raw views of tensor memory live here and nowhere else")]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use crate::Element;

/// Every allocation starts at a multiple of this many bytes.
pub(crate) const ALIGNMENT: usize = 64;

/// A block of memory, zero at first.
#[derive(Debug)]
pub(crate) struct Storage {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a `Storage` owns its memory alone and hands it out by the usual borrowing rules.
unsafe impl Send for Storage {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Storage {}

impl Storage {
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

impl Drop for Storage {
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
