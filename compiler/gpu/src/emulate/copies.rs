//! Copies in the background: `cp.async`, boxes of tensors in and out. What they do to shared memory is noted when they are
//! issued, their bytes move at any time until somebody has a right to see them.

use super::block::Block;
use super::clock::{self, Role};
use super::error::{ErrorKind, InLane, Outcome};
use super::exec::At;
use super::report;
use super::shared::Access;
use super::warp::lanes_of;
use crate::TensorMap;

/// A copy under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) warp: usize,
    /// The instruction.
    pub(super) at: u32,
    lane: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// 16 bytes, zeros without a source.
    Async { group: u32, to: u32, from: Option<u64> },
    /// A box into shared memory.
    Load { to: u32, map: u64, corner: Vec<i32>, mbarrier: usize },
    /// A box of shared memory.
    Store { group: u32, from: u32, map: u64, corner: Vec<i32> },
}

/// 16 bytes of a box.
struct Unit {
    shared: u32,
    /// Where the bytes that lie in the tensor are in memory; `None` if none does.
    global: Option<u64>,
    /// Which of the 16 those are.
    first: usize,
    last: usize,
}

/// The units of a box whose first element has these coordinates.
fn units(map: &TensorMap, corner: &[i32], shared: u32, mut found: impl FnMut(Unit) -> Outcome<()>) -> Outcome<()> {
    let inner = map.extents[0] * map.element;
    let rows: u32 = map.extents[1..].iter().product();
    let limit = (map.dims[0] * u64::from(map.element)) as i64;
    for row in 0..rows {
        let mut rest = row;
        let mut address = Some(map.base as i64);
        for (n, extent) in map.extents.iter().enumerate().skip(1) {
            let place = i64::from(corner[n]) + i64::from(rest % extent);
            rest /= extent;
            let inside = place >= 0 && (place as u64) < map.dims[n];
            address = address.filter(|_| inside).map(|a| a + place * map.strides[n - 1] as i64);
        }
        for unit in 0..inner / 16 {
            let start = i64::from(corner[0]) * i64::from(map.element) + i64::from(unit * 16);
            let first = (-start).clamp(0, 16);
            let last = (limit - start).clamp(0, 16);
            let global = address.filter(|_| first < last).map(|a| (a + start + first) as u64);
            let shared = map.swizzle.apply(shared + row * inner + unit * 16);
            found(Unit { shared, global, first: first as usize, last: last as usize })?;
        }
    }
    Ok(())
}

impl Block<'_> {
    pub(super) fn copy_async(&mut self, at: At) -> Outcome<()> {
        let agent = clock::agent(Role::Copy, at.warp, self.warps.len());
        let copies = self.guarded(at, Some(2))?;
        let mut sources = Vec::new();
        for lane in lanes_of(self.warps[at.warp].lanes) {
            let to = self.read(at, 0)?[lane as usize] as u32;
            let from = self.read(at, 1)?[lane as usize];
            let range = self.shared.range(to, 16, 16).lane(lane)?;
            let copied = copies >> lane & 1 == 1;
            if copied && !from.is_multiple_of(16) {
                return Err(ErrorKind::Misaligned { address: from, multiple: 16 }).lane(lane);
            }
            let warp = &self.warps[at.warp];
            let time = warp.copy_groups + 1;
            let access = Access { known: &warp.known, warp: at.warp, lane: lane as u8, agent, time, at: at.at };
            self.shared.note_write(&range, &access).lane(lane)?;
            sources.extend(copied.then_some((lane, from)));
            let kind = Kind::Async { group: time, to, from: copied.then_some(from) };
            self.flights.push(Flight { warp: at.warp, at: at.at, lane, kind });
        }
        let warp = &mut self.warps[at.warp];
        warp.copies_open = true;
        warp.unfenced |= warp.lanes;
        report::global_access(&mut self.counts[at.at as usize], &sources, 16);
        Ok(())
    }

    pub(super) fn copy_commit(&mut self, at: At) -> Outcome<()> {
        let warp = &mut self.warps[at.warp];
        if warp.lanes != warp.full {
            let told = "groups of async copies are closed by whole warps; give copies predicates instead";
            return Err(ErrorKind::Copy(told.into()).into());
        }
        warp.copy_groups += 1;
        warp.copies_open = false;
        Ok(())
    }

    pub(super) fn copy_wait(&mut self, at: At, left: u32) -> Outcome<()> {
        let warp = &self.warps[at.warp];
        let (done, lanes) = (warp.copy_groups.saturating_sub(left), warp.lanes);
        let agent = clock::agent(Role::Copy, at.warp, self.warps.len());
        self.land_all(|f| f.warp == at.warp && matches!(f.kind, Kind::Async { group, .. } if group <= done))?;
        self.warps[at.warp].known.learn(lanes, agent, done);
        Ok(())
    }

    /// The coordinates, from operand `from` on.
    fn corner(&self, at: At, from: usize, rank: usize, lane: u32) -> Outcome<Vec<i32>> {
        (from..from + rank).map(|n| Ok(self.read(at, n)?[lane as usize] as i32)).collect()
    }

    /// The map at an address, of this rank, whose box lies well at a shared address.
    fn map_of(&self, address: u64, rank: usize, shared: u32, lane: u32) -> Outcome<std::ops::Range<usize>> {
        let map = self.memory.map(address).lane(lane)?;
        map.check().map_err(|told| ErrorKind::Copy(format!("the tensor map is wrong: {told}"))).lane(lane)?;
        if map.dims.len() != rank {
            let told = format!("a copy with {rank} coordinates, and a tensor map of {} dimensions", map.dims.len());
            return Err(ErrorKind::Copy(told)).lane(lane);
        }
        self.shared.range(shared, map.box_bytes(), 128).lane(lane)
    }

    pub(super) fn tensor_load(&mut self, at: At, rank: usize) -> Outcome<()> {
        for lane in lanes_of(self.guarded(at, Some(3))?) {
            let n = lane as usize;
            let (to, map) = (self.read(at, 0)?[n] as u32, self.read(at, 1)?[n]);
            let mbarrier = self.find_mbarrier(at, lane, self.read(at, 2)?[n] as u32)?;
            let corner = self.corner(at, 4, rank, lane)?;
            let range = self.map_of(map, rank, to, lane)?;
            let barrier = &mut self.mbarriers[mbarrier];
            if !barrier.fenced {
                return Err(ErrorKind::MissingBarrierFence { address: barrier.address }).lane(lane);
            }
            barrier.flying += 1;
            let (agent, time) = (barrier.agent, barrier.phase + 1);
            let known = &self.warps[at.warp].known;
            let access = Access { known, warp: at.warp, lane: lane as u8, agent, time, at: at.at };
            self.shared.note_write(&range, &access).lane(lane)?;
            let kind = Kind::Load { to, map, corner, mbarrier };
            self.flights.push(Flight { warp: at.warp, at: at.at, lane, kind });
        }
        Ok(())
    }

    pub(super) fn tensor_store(&mut self, at: At, rank: usize) -> Outcome<()> {
        let agent = clock::agent(Role::Store, at.warp, self.warps.len());
        for lane in lanes_of(self.guarded(at, Some(2))?) {
            let n = lane as usize;
            let (map, from) = (self.read(at, 0)?[n], self.read(at, 1)?[n] as u32);
            let corner = self.corner(at, 3, rank, lane)?;
            let range = self.map_of(map, rank, from, lane)?;
            let warp = &mut self.warps[at.warp];
            if *warp.storer.get_or_insert(lane) != lane {
                return Err(ErrorKind::Copy("two lanes of a warp make tensor stores".into())).lane(lane);
            }
            warp.stores_open = true;
            let (known, time) = (&self.warps[at.warp].known, self.warps[at.warp].store_groups + 1);
            let access = Access { known, warp: at.warp, lane: lane as u8, agent, time, at: at.at };
            self.shared.note_read(&range, &access).lane(lane)?;
            let kind = Kind::Store { group: time, from, map, corner };
            self.flights.push(Flight { warp: at.warp, at: at.at, lane, kind });
        }
        Ok(())
    }

    /// Whether the lane that makes tensor stores runs.
    fn storer_runs(&self, at: At) -> bool {
        let warp = &self.warps[at.warp];
        warp.storer.is_some_and(|lane| warp.lanes >> lane & 1 == 1)
    }

    #[allow(clippy::unnecessary_wraps, reason = "as all ops")]
    pub(super) fn tensor_store_commit(&mut self, at: At) -> Outcome<()> {
        if self.storer_runs(at) {
            self.warps[at.warp].store_groups += 1;
            self.warps[at.warp].stores_open = false;
        }
        Ok(())
    }

    pub(super) fn tensor_store_wait(&mut self, at: At, left: u32) -> Outcome<()> {
        if !self.storer_runs(at) {
            return Ok(());
        }
        let warp = &self.warps[at.warp];
        let (done, lanes) = (warp.store_groups.saturating_sub(left), warp.lanes);
        let agent = clock::agent(Role::Store, at.warp, self.warps.len());
        self.land_all(|f| f.warp == at.warp && matches!(f.kind, Kind::Store { group, .. } if group <= done))?;
        let warp = &mut self.warps[at.warp];
        warp.stores_read = warp.stores_read.max(done);
        warp.known.learn(lanes, agent, done);
        Ok(())
    }

    fn land_all(&mut self, which: impl Fn(&Flight) -> bool) -> Outcome<()> {
        let mut n = 0;
        while n < self.flights.len() {
            if which(&self.flights[n]) {
                self.land(n)?;
            } else {
                n += 1;
            }
        }
        Ok(())
    }

    /// Makes a copy happen.
    pub(super) fn land(&mut self, n: usize) -> Outcome<()> {
        let flight = self.flights.swap_remove(n);
        match flight.kind {
            Kind::Async { to, from, .. } => {
                let to = to as usize..to as usize + 16;
                match from {
                    Some(from) => {
                        let bytes = self.memory.load(from, 16, false).lane(flight.lane)?;
                        self.shared.bytes[to].copy_from_slice(bytes);
                    }
                    None => self.shared.bytes[to].fill(0),
                }
                Ok(())
            }
            Kind::Load { to, map, corner, mbarrier } => {
                let map = self.memory.map(map).lane(flight.lane)?.clone();
                let (memory, bytes) = (&mut *self.memory, &mut self.shared.bytes);
                let fill = |unit: Unit| {
                    let to = &mut bytes[unit.shared as usize..][..16];
                    to.fill(0);
                    if let Some(global) = unit.global {
                        let got = memory.load(global, unit.last - unit.first, false)?;
                        to[unit.first..unit.last].copy_from_slice(got);
                    }
                    Ok(())
                };
                units(&map, &corner, to, fill).lane(flight.lane)?;
                let barrier = &mut self.mbarriers[mbarrier];
                let address = barrier.address;
                if barrier.landed(map.box_bytes()).lane(flight.lane)? {
                    self.wake(address);
                }
                Ok(())
            }
            Kind::Store { from, map, corner, .. } => {
                let map = self.memory.map(map).lane(flight.lane)?.clone();
                let (memory, bytes) = (&mut *self.memory, &self.shared.bytes);
                let empty = |unit: Unit| {
                    let Some(global) = unit.global else { return Ok(()) };
                    let from = &bytes[unit.shared as usize..][..16];
                    Ok(memory.store(global, &from[unit.first..unit.last])?)
                };
                units(&map, &corner, from, empty).lane(flight.lane)
            }
        }
    }
}
