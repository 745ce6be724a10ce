//! Global memory: allocations at addresses far apart, each byte with what is known of it. It is filled and read from outside
//! between launches. It does not order what different blocks do.

use super::error::ErrorKind;
use crate::{MAP_BYTES, TensorMap};

/// Something was written to the byte.
const WRITTEN: u8 = 1;
/// This launch read it as constant.
const CONSTANT: u8 = 2;
/// This launch wrote it.
const CHANGED: u8 = 4;

/// Between allocations.
const GAP: u64 = 1 << 16;
/// Above what 32 bits hold, so that cut addresses are found.
const FIRST: u64 = 0x7_0000_0000;

#[derive(Debug)]
struct Allocation {
    base: u64,
    bytes: Vec<u8>,
    state: Vec<u8>,
}

/// Global memory.
#[derive(Debug, Default)]
pub struct Memory {
    /// In ascending order of their addresses.
    allocations: Vec<Allocation>,
    maps: Vec<(u64, TensorMap)>,
    /// The allocation met last.
    last: usize,
}

impl Memory {
    /// Memory that holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    fn next_base(&self) -> u64 {
        let allocated = self.allocations.last().map_or(FIRST, |a| a.base + a.bytes.len() as u64);
        let maps = self.maps.last().map_or(FIRST, |(address, _)| address + MAP_BYTES as u64);
        (allocated.max(maps) + GAP).next_multiple_of(256)
    }

    /// So many bytes that a kernel must write before it reads them; their address, a multiple of 256.
    pub fn alloc(&mut self, bytes: usize) -> u64 {
        let base = self.next_base();
        // What nothing wrote looks like no number that a test would expect.
        self.allocations.push(Allocation { base, bytes: vec![0xcd; bytes], state: vec![0; bytes] });
        base
    }

    /// A copy of these bytes; its address, a multiple of 256.
    pub fn alloc_with(&mut self, bytes: &[u8]) -> u64 {
        let base = self.alloc(bytes.len());
        if let Some(new) = self.allocations.last_mut() {
            new.bytes.copy_from_slice(bytes);
            new.state.fill(WRITTEN);
        }
        base
    }

    /// Makes tensor maps known, at addresses 128 bytes apart; the first one's address.
    pub fn tensor_maps(&mut self, maps: &[TensorMap]) -> u64 {
        let base = self.next_base();
        let placed = maps.iter().enumerate().map(|(n, map)| (base + (n * MAP_BYTES) as u64, map.clone()));
        self.maps.extend(placed);
        base
    }

    /// Bytes from an address on; `None` where they are not allocated. Bytes that nothing wrote are 0xcd.
    pub fn read(&self, address: u64, bytes: usize) -> Option<&[u8]> {
        let (n, offset) = self.find(address, bytes)?;
        Some(&self.allocations[n].bytes[offset..offset + bytes])
    }

    /// Whether something was written to all these bytes.
    pub fn is_written(&self, address: u64, bytes: usize) -> bool {
        let all = |(n, at): (usize, usize)| self.allocations[n].state[at..at + bytes].iter().all(|s| s & WRITTEN != 0);
        self.find(address, bytes).is_some_and(all)
    }

    /// Writes bytes from outside; `false` where they are not allocated.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> bool {
        let Some((n, offset)) = self.find(address, bytes.len()) else { return false };
        let allocation = &mut self.allocations[n];
        allocation.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        allocation.state[offset..offset + bytes.len()].fill(WRITTEN);
        true
    }

    /// Forgets what the launch before did.
    pub(super) fn begin_launch(&mut self) {
        for allocation in &mut self.allocations {
            allocation.state.iter_mut().for_each(|s| *s &= WRITTEN);
        }
    }

    fn holds(&self, n: usize, address: u64, bytes: usize) -> Option<(usize, usize)> {
        let allocation = self.allocations.get(n)?;
        let offset = usize::try_from(address.checked_sub(allocation.base)?).ok()?;
        (offset.checked_add(bytes)? <= allocation.bytes.len()).then_some((n, offset))
    }

    fn find(&self, address: u64, bytes: usize) -> Option<(usize, usize)> {
        if let Some(found) = self.holds(self.last, address, bytes) {
            return Some(found);
        }
        let n = self.allocations.partition_point(|a| a.base <= address);
        self.holds(n.checked_sub(1)?, address, bytes)
    }

    fn locate(&mut self, address: u64, bytes: usize) -> Result<(usize, usize), ErrorKind> {
        let out = ErrorKind::OutOfBounds { address, bytes: bytes as u32, shared: false };
        let found = self.find(address, bytes).ok_or(out)?;
        self.last = found.0;
        Ok(found)
    }

    /// Bytes as a kernel reads them.
    pub(super) fn load(&mut self, address: u64, bytes: usize, constant: bool) -> Result<&[u8], ErrorKind> {
        let (n, offset) = self.locate(address, bytes)?;
        let allocation = &mut self.allocations[n];
        let state = &mut allocation.state[offset..offset + bytes];
        if let Some(at) = state.iter().position(|s| s & WRITTEN == 0) {
            return Err(ErrorKind::Uninitialised { address: address + at as u64, shared: false });
        }
        if constant {
            if let Some(at) = state.iter().position(|s| s & CHANGED != 0) {
                return Err(ErrorKind::ConstantWritten { address: address + at as u64 });
            }
            state.iter_mut().for_each(|s| *s |= CONSTANT);
        }
        Ok(&allocation.bytes[offset..offset + bytes])
    }

    /// Bytes as a kernel writes them.
    pub(super) fn store(&mut self, address: u64, bytes: &[u8]) -> Result<(), ErrorKind> {
        let (n, offset) = self.locate(address, bytes.len())?;
        let allocation = &mut self.allocations[n];
        let state = &mut allocation.state[offset..offset + bytes.len()];
        if let Some(at) = state.iter().position(|s| s & CONSTANT != 0) {
            return Err(ErrorKind::ConstantWritten { address: address + at as u64 });
        }
        state.fill(WRITTEN | CHANGED);
        allocation.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    /// The tensor map at an address.
    pub(super) fn map(&self, address: u64) -> Result<&TensorMap, ErrorKind> {
        let n = self.maps.binary_search_by_key(&address, |(a, _)| *a);
        n.map(|n| &self.maps[n].1)
            .map_err(|_| ErrorKind::Copy(format!("there is no tensor map at address {address:#x}")))
    }
}
