//! Loads, stores and atomics of a warp, and what is read with whole warps: `ldmatrix` and `mma.sync`.

use super::arith::Lanes;
use super::block::Block;
use super::error::{ErrorKind, InLane, Outcome};
use super::exec::At;
use super::shared::{ALL_LANES, Access};
use super::warp::lanes_of;
use super::{fragments, report};
use crate::simt::{Mma, Space, Ty};

/// Bytes of an access, at most 16.
type Bytes = [u8; 16];

fn aligned(address: u64, bytes: u32) -> Result<(), ErrorKind> {
    if address.is_multiple_of(u64::from(bytes)) {
        return Ok(());
    }
    Err(ErrorKind::Misaligned { address, multiple: bytes })
}

impl Block<'_> {
    /// An access by a lane itself.
    pub(super) fn by_lane(&self, at: At, lane: u8) -> Access<'_> {
        let known = &self.warps[at.warp].known;
        Access { known, warp: at.warp, lane, agent: at.warp as u16, time: known.now(), at: at.at }
    }

    /// The running lanes where the predicate, operand `guard`, holds.
    pub(super) fn guarded(&self, at: At, guard: Option<usize>) -> Outcome<u32> {
        let warp = &self.warps[at.warp];
        guard.map_or(Ok(warp.lanes), |n| Ok(warp.holding(self.read(at, n)?)))
    }

    /// Lanes with their addresses.
    fn addresses(&self, at: At, lanes: u32) -> Outcome<Vec<(u32, u64)>> {
        let address = self.read(at, 0)?;
        Ok(lanes_of(lanes).map(|lane| (lane, address[lane as usize])).collect())
    }

    fn count_access(&mut self, at: At, space: Space, addresses: &[(u32, u64)], bytes: u32) {
        let counts = &mut self.counts[at.at as usize];
        if space == Space::Shared {
            let short: Vec<(u32, u32)> = addresses.iter().map(|(lane, a)| (*lane, *a as u32)).collect();
            report::shared_access(counts, &short, bytes);
        } else {
            report::global_access(counts, addresses, bytes);
        }
    }

    pub(super) fn load(&mut self, at: At, space: Space, bits: u8, count: u8, guarded: bool) -> Outcome<()> {
        let lanes = self.guarded(at, guarded.then_some(1))?;
        let (unit, bytes) = (usize::from(bits) / 8, u32::from(bits) / 8 * u32::from(count));
        let addresses = self.addresses(at, lanes)?;
        let mut values = vec![[0u64; 32]; usize::from(count)];
        for &(lane, address) in &addresses {
            let got = self.load_lane(at, space, lane, address, bytes).lane(lane)?;
            for (n, value) in values.iter_mut().enumerate() {
                let mut word = [0; 8];
                word[..unit].copy_from_slice(&got[n * unit..][..unit]);
                value[lane as usize] = u64::from_le_bytes(word);
            }
        }
        self.count_access(at, space, &addresses, bytes);
        for (n, value) in values.iter().enumerate() {
            self.write(at, n, value)?;
        }
        Ok(())
    }

    fn load_lane(&mut self, at: At, space: Space, lane: u32, address: u64, bytes: u32) -> Result<Bytes, ErrorKind> {
        let mut got = [0; 16];
        let to = &mut got[..bytes as usize];
        if space == Space::Shared {
            let range = self.shared.range(address as u32, bytes, bytes)?;
            let known = &self.warps[at.warp].known;
            let time = known.now();
            let access = Access { known, warp: at.warp, lane: lane as u8, agent: at.warp as u16, time, at: at.at };
            self.shared.note_read(&range, &access)?;
            to.copy_from_slice(&self.shared.bytes[range]);
        } else {
            aligned(address, bytes)?;
            to.copy_from_slice(self.memory.load(address, bytes as usize, space == Space::Constant)?);
        }
        Ok(got)
    }

    pub(super) fn store(&mut self, at: At, space: Space, bits: u8, count: u8, guarded: bool) -> Outcome<()> {
        let count = usize::from(count);
        let lanes = self.guarded(at, guarded.then_some(1 + count))?;
        let (unit, bytes) = (usize::from(bits) / 8, u32::from(bits) / 8 * count as u32);
        let addresses = self.addresses(at, lanes)?;
        for &(lane, address) in &addresses {
            let mut value = [0; 16];
            for n in 0..count {
                let word = self.read(at, 1 + n)?[lane as usize].to_le_bytes();
                value[n * unit..][..unit].copy_from_slice(&word[..unit]);
            }
            self.store_lane(at, space, lane, address, &value[..bytes as usize]).lane(lane)?;
        }
        self.count_access(at, space, &addresses, bytes);
        Ok(())
    }

    fn store_lane(&mut self, at: At, space: Space, lane: u32, address: u64, value: &[u8]) -> Result<(), ErrorKind> {
        let bytes = value.len() as u32;
        match space {
            Space::Shared => {
                let range = self.shared.range(address as u32, bytes, bytes)?;
                let known = &self.warps[at.warp].known;
                let time = known.now();
                let access = Access { known, warp: at.warp, lane: lane as u8, agent: at.warp as u16, time, at: at.at };
                self.shared.note_write(&range, &access)?;
                self.warps[at.warp].unfenced |= 1 << lane;
                self.shared.bytes[range].copy_from_slice(value);
                Ok(())
            }
            Space::Global => {
                aligned(address, bytes)?;
                self.memory.store(address, value)
            }
            Space::Constant => Err(ErrorKind::Program("a store to constant memory".into())),
        }
    }

    pub(super) fn atomic_add(&mut self, at: At) -> Outcome<()> {
        let lanes = self.guarded(at, Some(2))?;
        let ty = self.code.second_types[at.at as usize];
        let bytes = if matches!(ty, Ty::I64 | Ty::F64) { 8 } else { 4 };
        let addresses = self.addresses(at, lanes)?;
        for &(lane, address) in &addresses {
            let value = self.read(at, 1)?[lane as usize];
            aligned(address, bytes).lane(lane)?;
            let old = self.memory.load(address, bytes as usize, false).lane(lane)?;
            let mut word = [0; 8];
            word[..bytes as usize].copy_from_slice(old);
            let old = u64::from_le_bytes(word);
            let new = match ty {
                Ty::F32 => u64::from((f32::from_bits(old as u32) + f32::from_bits(value as u32)).to_bits()),
                Ty::F64 => (f64::from_bits(old) + f64::from_bits(value)).to_bits(),
                Ty::Bool | Ty::I32 | Ty::I64 => old.wrapping_add(value),
            };
            self.memory.store(address, &new.to_le_bytes()[..bytes as usize]).lane(lane)?;
        }
        self.count_access(at, Space::Global, &addresses, bytes);
        Ok(())
    }

    pub(super) fn atomic_cas(&mut self, at: At) -> Outcome<()> {
        let addresses = self.addresses(at, self.warps[at.warp].lanes)?;
        let mut olds = [0; 32];
        for &(lane, address) in &addresses {
            let n = lane as usize;
            let (expected, new) = (self.read(at, 1)?[n] as u32, self.read(at, 2)?[n] as u32);
            olds[n] = u64::from(self.swap(address, expected, new).lane(lane)?);
        }
        self.write(at, 0, &olds)
    }

    pub(super) fn atomic_fetch_add(&mut self, at: At) -> Outcome<()> {
        let addresses = self.addresses(at, self.warps[at.warp].lanes)?;
        let mut olds = [0; 32];
        for &(lane, address) in &addresses {
            aligned(address, 4).lane(lane)?;
            let old = self.memory.load(address, 4, false).lane(lane)?;
            let old = u32::from_le_bytes([old[0], old[1], old[2], old[3]]);
            let sum = old.wrapping_add(self.read(at, 1)?[lane as usize] as u32);
            self.memory.store(address, &sum.to_le_bytes()).lane(lane)?;
            olds[lane as usize] = u64::from(old);
        }
        self.write(at, 0, &olds)
    }

    fn swap(&mut self, address: u64, expected: u32, new: u32) -> Result<u32, ErrorKind> {
        aligned(address, 4)?;
        let old = self.memory.load(address, 4, false)?;
        let old = u32::from_le_bytes([old[0], old[1], old[2], old[3]]);
        if old == expected {
            self.memory.store(address, &new.to_le_bytes())?;
        }
        Ok(old)
    }

    pub(super) fn fault(&mut self, at: At) -> Outcome<()> {
        let address = self.words.get(self.program.fault_word as usize).copied().unwrap_or(0);
        for lane in lanes_of(self.guarded(at, Some(0))?) {
            let [code, instance] = [1, 2].map(|n| self.read(at, n).map(|lanes| lanes[lane as usize] & 0xffff_ffff));
            let fault = code? | instance? << 32;
            aligned(address, 8).lane(lane)?;
            if self.memory.load(address, 8, false).lane(lane)?.iter().all(|byte| *byte == 0) {
                self.memory.store(address, &fault.to_le_bytes()).lane(lane)?;
            }
        }
        Ok(())
    }

    pub(super) fn mma(&mut self, at: At, mma: Mma) -> Outcome<()> {
        self.warps[at.warp].whole()?;
        let registers: Vec<Lanes> = (0..10).map(|n| self.read(at, n).copied()).collect::<Outcome<_>>()?;
        let sums = fragments::product(mma, &registers[..4], &registers[4..6], &registers[6..]);
        for (n, sum) in sums.iter().enumerate() {
            self.write(at, n, sum)?;
        }
        Ok(())
    }

    pub(super) fn load_matrix(&mut self, at: At, count: u8, transpose: bool) -> Outcome<()> {
        self.warps[at.warp].whole()?;
        let rows = *self.read(at, 0)?;
        for matrix in 0..usize::from(count) {
            let mut elements = [[0u16; 8]; 8];
            let mut addresses = Vec::with_capacity(8);
            for (row, elements) in elements.iter_mut().enumerate() {
                let lane = 8 * matrix + row;
                let got = self.load_lane(at, Space::Shared, lane as u32, rows[lane], 16).lane(lane as u32)?;
                *elements = std::array::from_fn(|n| u16::from_le_bytes([got[2 * n], got[2 * n + 1]]));
                addresses.push((row as u32, rows[lane] as u32));
            }
            report::shared_access(&mut self.counts[at.at as usize], &addresses, 16);
            let value: Lanes = std::array::from_fn(|lane| fragments::matrix_element(&elements, lane, transpose));
            self.write(at, matrix, &value)?;
        }
        Ok(())
    }

    /// Notes that a warp's products read 16 bytes.
    pub(super) fn product_reads(&mut self, at: At, agent: u16, time: u32, address: u32) -> Outcome<()> {
        let range = self.shared.range(address, 16, 16)?;
        let known = &self.warps[at.warp].known;
        let access = Access { known, warp: at.warp, lane: ALL_LANES, agent, time, at: at.at };
        self.shared.note_read(&range, &access).map_err(Box::from)
    }
}
