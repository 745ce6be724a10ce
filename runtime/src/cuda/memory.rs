//! Memory on a GPU: allocated in the order of its stream, freed when nobody holds it. Which tensor lies there is
//! `storage.rs`'s business.

#![allow(unsafe_code, reason = "addresses on a GPU are vouched for here, by the object that owns them")]

use std::sync::Arc;

use super::Gpu;
use super::driver::DriverError;
use crate::{Error, Result};

/// A block of memory on a GPU. Who writes it holds the storage that it belongs to alone.
#[derive(Debug)]
pub(crate) struct Buffer {
    gpu: Arc<Gpu>,
    address: u64,
    bytes: usize,
}

impl Buffer {
    /// Zeros.
    ///
    /// # Errors
    /// If the GPU has not that much free, or is lost.
    pub(crate) fn zeroed(gpu: &Arc<Gpu>, bytes: usize) -> Result<Self> {
        let buffer = Self::allocate(gpu, bytes)?;
        buffer.fill(0, bytes)?;
        Ok(buffer)
    }

    /// A copy of bytes.
    ///
    /// # Errors
    /// As [`Buffer::zeroed`].
    pub(crate) fn of(gpu: &Arc<Gpu>, bytes: &[u8]) -> Result<Self> {
        let buffer = Self::allocate(gpu, bytes.len())?;
        // SAFETY: the buffer has as many bytes, and nobody else knows of it.
        let done = unsafe { gpu.stream.upload(buffer.address, bytes) };
        done.map_err(|e| gpu.failed("a copy to the device", &e))?;
        Ok(buffer)
    }

    /// Memory all of which will be written before it is read.
    ///
    /// # Errors
    /// As [`Buffer::zeroed`].
    pub(crate) fn to_be_written(gpu: &Arc<Gpu>, bytes: usize) -> Result<Self> {
        Self::allocate(gpu, bytes)
    }

    fn allocate(gpu: &Arc<Gpu>, bytes: usize) -> Result<Self> {
        let failed = |e: DriverError| match e.is_memory() {
            true => gpu.no_memory("a tensor", bytes),
            false => gpu.failed("an allocation", &e),
        };
        let address = gpu.stream.allocate(bytes).map_err(failed)?;
        Ok(Self { gpu: gpu.clone(), address, bytes })
    }

    /// Where it is.
    pub(crate) fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// The address of its first byte, a multiple of 256.
    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    /// Fills its first bytes.
    ///
    /// # Errors
    /// If it is smaller, or the GPU is lost.
    pub(crate) fn fill(&self, byte: u8, bytes: usize) -> Result<()> {
        self.fits(bytes)?;
        // SAFETY: the bytes are the buffer's, which its storage's owner writes; later work on the stream comes later.
        unsafe { self.gpu.stream.fill(self.address, byte, bytes) }.map_err(|e| self.gpu.failed("a fill", &e))
    }

    /// Copies its first bytes to the host, once all work before is done.
    ///
    /// # Errors
    /// If it is smaller, or the GPU is lost.
    pub(crate) fn read(&self, to: &mut [u8]) -> Result<()> {
        self.fits(to.len())?;
        // SAFETY: the bytes are the buffer's.
        unsafe { self.gpu.stream.download(self.address, to) }.map_err(|e| self.gpu.failed("a copy to the host", &e))
    }

    /// Copies bytes of another buffer on the same GPU: where to, whence, how many.
    ///
    /// # Errors
    /// If either is too small, or the GPU is lost.
    pub(crate) fn copy_from(&self, at: usize, from: &Buffer, start: usize, bytes: usize) -> Result<()> {
        self.fits(at.saturating_add(bytes))?;
        from.fits(start.saturating_add(bytes))?;
        if !Arc::ptr_eq(&self.gpu, &from.gpu) {
            return Err(Error::Tensor("a copy between two GPUs goes through the host".into()));
        }
        let (to, start) = (self.address + at as u64, from.address + start as u64);
        // SAFETY: the bytes are the buffers'; a buffer is freed behind the work that uses it.
        unsafe { self.gpu.stream.copy(to, start, bytes) }.map_err(|e| self.gpu.failed("a copy on the device", &e))
    }

    fn fits(&self, bytes: usize) -> Result<()> {
        if bytes <= self.bytes { Ok(()) } else { Err(Error::Tensor("memory on a GPU is too small".into())) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the buffer owns this memory alone, and later work on the stream knows nothing of it. On a lost GPU there
        // is nothing to be freed.
        let _ = unsafe { self.gpu.stream.free(self.address, self.bytes) };
    }
}
