//! What producer and consumers do with rings of shared memory: barriers, copies into stages, reads from them, and when a
//! stage is given back. Which loads these are is the schedule's business.

use pantile_ir::{Index, Inst, Op as TileOp, Value};

use super::{Lower, Spread};
use crate::Limit;
use crate::element;
use crate::schedule::{Fill, RingId};
use crate::simt::{Binary, Compare, Op, Special, Value as Reg};

/// Who runs the code that is being emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// All threads of the block, which has no rings.
    All,
    /// The warps that compute.
    Consumer,
    /// The thread that starts copies.
    Producer,
}

/// Where a ring stands: the stage that comes next, and the parity of its phase. I32 both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingState {
    pub stage: Reg,
    pub phase: Reg,
}

/// A stage that holds a tile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    /// Which stage, I32.
    pub stage: Reg,
}

/// The named barrier at which consumers meet.
const CONSUMERS: u32 = 1;

impl<'f> Lower<'f> {
    /// Both roles, each with the code that it runs.
    pub(crate) fn roles(&mut self) -> Result<(), Limit> {
        if !self.schedule.specialised() {
            return self.kernel();
        }
        self.scratch_base = self.schedule.shared().next_multiple_of(1024);
        self.shared = self.scratch_base;
        self.make_barriers();
        // All lanes of a warp know that they have the same number.
        let zero = self.b.i32(0);
        self.warp = self.b.shuffle(crate::simt::Shuffle::Index, self.warp, Some(zero));
        let consumers = self.b.i32(self.schedule.consumers as i32);
        let computes = self.b.compare(Compare::Lt, self.warp, consumers);
        let (down, up) = self.schedule.registers;
        let mut arms = Vec::new();
        for (role, registers) in [(Role::Consumer, (true, up)), (Role::Producer, (false, down))] {
            self.b.open(Vec::new());
            if registers.1 > 0 {
                self.b.emit(Op::SetRegisters(registers.0, registers.1), &[], &[]);
            }
            self.start_role(role);
            if role == Role::Producer {
                let first = self.b.compare(Compare::Eq, self.warp, consumers);
                let one = self.b.compare(Compare::Eq, self.lane, zero);
                let leads = self.b.and(first, one);
                self.b.open(Vec::new());
                self.kernel()?;
                let then = self.b.close(Vec::new());
                self.b.open(Vec::new());
                let other = self.b.close(Vec::new());
                self.b.choose(leads, then, other);
            } else {
                self.kernel()?;
            }
            arms.push(self.b.close(Vec::new()));
        }
        let producer = arms.pop().unwrap_or_default();
        let consumer = arms.pop().unwrap_or_default();
        self.b.choose(computes, consumer, producer);
        Ok(())
    }

    fn start_role(&mut self, role: Role) {
        let zero = self.b.i32(0);
        self.role = role;
        self.scope = super::Scope::default();
        self.rings = vec![RingState { stage: zero, phase: zero }; self.schedule.rings.len()];
        (self.shared_in_use, self.stored) = (false, false);
    }

    /// One thread makes all barriers, and all meet.
    fn make_barriers(&mut self) {
        let thread = self.b.special(Special::Thread);
        let zero = self.b.i32(0);
        let first = self.b.compare(Compare::Eq, thread, zero);
        self.b.open(Vec::new());
        for (n, ring) in self.schedule.rings.clone().into_iter().enumerate() {
            let base = self.schedule.barriers(RingId(n as u32));
            let arrivals = if ring.by_warp { self.schedule.consumers } else { 32 * self.schedule.consumers };
            for stage in 0..ring.stages {
                for (at, count) in [(base + 8 * stage, 1), (base + 8 * (ring.stages + stage), arrivals)] {
                    let (at, count) = (self.b.i32(at as i32), self.b.i32(count as i32));
                    self.b.emit(Op::MbarrierInit, &[at, count], &[]);
                }
            }
        }
        self.b.emit(Op::MbarrierFence, &[], &[]);
        let then = self.b.close(Vec::new());
        self.b.open(Vec::new());
        let other = self.b.close(Vec::new());
        self.b.choose(first, then, other);
        self.b.barrier();
    }

    /// All threads that run this code come here before any goes on.
    pub(crate) fn wait_for_all(&mut self) {
        match self.role {
            Role::All | Role::Producer => self.b.barrier(),
            Role::Consumer => {
                let threads = Some(32 * self.schedule.consumers);
                self.b.emit(Op::Barrier { id: CONSUMERS, threads }, &[], &[]);
            }
        }
    }

    /// The barriers of a stage: full, and empty.
    fn barriers_of(&mut self, ring: RingId, stage: Reg) -> (Reg, Reg) {
        let base = i64::from(self.schedule.barriers(ring));
        let stages = i64::from(self.schedule.rings[ring.index()].stages);
        let offset = self.b.mul_const(stage, 8);
        (self.b.add_const(offset, base), self.b.add_const(offset, base + 8 * stages))
    }

    /// Where a stage starts, I32.
    pub(crate) fn stage_base(&mut self, ring: RingId, stage: Reg) -> Reg {
        let base = i64::from(self.schedule.base(ring));
        let offset = self.b.mul_const(stage, i64::from(self.schedule.rings[ring.index()].bytes));
        self.b.add_const(offset, base)
    }

    /// Goes on to the next stage; gives the one that it was.
    fn advance(&mut self, ring: RingId) -> RingState {
        let state = self.rings[ring.index()];
        let stages = self.schedule.rings[ring.index()].stages;
        let one = self.b.i32(1);
        let turned = self.b.binary(Binary::Xor, state.phase, one);
        self.rings[ring.index()] = if stages == 1 {
            RingState { phase: turned, ..state }
        } else {
            let next = self.b.add(state.stage, one);
            let (end, zero) = (self.b.i32(stages as i32), self.b.i32(0));
            let wraps = self.b.compare(Compare::Eq, next, end);
            RingState { stage: self.b.select(wraps, zero, next), phase: self.b.select(wraps, turned, state.phase) }
        };
        state
    }

    /// A load of the schedule's: a copy of the producer, a view of the consumers.
    pub(crate) fn ring_load(&mut self, inst: &'f Inst, fill: &Fill) -> Result<(), Limit> {
        let state = self.advance(fill.ring);
        let (full, empty) = self.barriers_of(fill.ring, state.stage);
        if self.role == Role::Consumer {
            self.b.emit(Op::MbarrierWait, &[full, state.phase], &[]);
            self.scope.views.insert(inst.results[0], View { stage: state.stage });
            return Ok(());
        }
        let (one, yes) = (self.b.i32(1), self.b.bool(true));
        let before = self.b.binary(Binary::Xor, state.phase, one);
        self.b.emit(Op::MbarrierWait, &[empty, before], &[]);
        let bytes = self.b.i32(fill.staged.bytes as i32);
        self.b.emit(Op::MbarrierExpect, &[full, bytes, yes], &[]);
        let corner = self.corner(inst)?;
        let base = self.stage_base(fill.ring, state.stage);
        let map = self.b.map(fill.map);
        for (start, offset) in &fill.boxes {
            let to = self.b.add_const(base, i64::from(*offset));
            let mut at = corner.clone();
            at[0] = self.b.add_const(at[0], i64::from(*start));
            let args: Vec<Reg> = [to, map, full, yes].into_iter().chain(at).collect();
            self.b.emit(Op::TensorLoad { rank: corner.len() as u32 }, &args, &[]);
        }
        Ok(())
    }

    /// Where a block starts in its tensor, the fastest axis first.
    #[allow(clippy::wildcard_enum_match_arm, reason = "fills are loads")]
    fn corner(&mut self, inst: &'f Inst) -> Result<Vec<Reg>, Limit> {
        let TileOp::Load(param, index) = &inst.op else { return Err(self.bug("a fill that is no load")) };
        let mut values = inst.index_args().iter();
        let mut corner = Vec::new();
        for (axis, one) in self.func.axes(*param).iter().zip(index) {
            corner.push(match one {
                Index::Dim(dim) => self.block(*dim)?.start,
                Index::Value => {
                    let Some(value) = values.next() else { return Err(self.bug("an index is missing")) };
                    let at = self.scalar(*value)?;
                    self.check_index(at, *axis, inst.span, &self.func.param(*param).name);
                    self.b.convert(crate::simt::Convert::Truncate, at)
                }
            });
        }
        corner.reverse();
        Ok(corner)
    }

    /// Gives back the stage of a tile that nobody reads any more.
    pub(crate) fn release(&mut self, value: Value) {
        let Some(view) = self.scope.views.get(&value).copied() else { return };
        let Some(fill) = self.schedule.fills.get(&value) else { return };
        self.free(fill.ring, view.stage, None);
    }

    /// Gives back a stage, where a predicate holds.
    pub(crate) fn free(&mut self, ring: RingId, stage: Reg, holds: Option<Reg>) {
        let row = &self.schedule.rings[ring.index()];
        if !row.refilled {
            return;
        }
        let by_warp = row.by_warp;
        let (_, empty) = self.barriers_of(ring, stage);
        let speaks = if by_warp {
            let zero = self.b.i32(0);
            self.b.compare(Compare::Eq, self.lane, zero)
        } else {
            self.b.bool(true)
        };
        let speaks = holds.map_or(speaks, |holds| self.b.and(speaks, holds));
        self.b.emit(Op::MbarrierArrive, &[empty, speaks], &[]);
    }

    /// A tile's registers, read from its stage.
    pub(crate) fn read_view(&mut self, value: Value, view: View, spread: &Spread) -> Vec<Reg> {
        let Some(fill) = self.schedule.fills.get(&value).cloned() else { return Vec::new() };
        let (base, dtype) = (self.stage_base(fill.ring, view.stage), self.dtype(value));
        let thread = self.thread_offset(&fill.staged, spread);
        let mut registers: Vec<Option<Reg>> = vec![None; spread.len()];
        for group in fill.staged.groups(spread) {
            let (bits, count, each) = super::access::units(dtype, group.len());
            let at = self.place(thread, fill.staged.offset(spread, group[0]), 0);
            let at = self.b.add(at, base);
            let raw = self.b.load(crate::simt::Space::Shared, bits, count, at, None);
            for (n, register) in group.iter().enumerate() {
                let element = element::from_unit(&mut self.b, dtype, raw[n / each], (n % each) as u32);
                registers[*register] = Some(element);
            }
        }
        registers.into_iter().flatten().collect()
    }

    /// The states of rings as registers.
    pub(crate) fn ring_registers(&self, rings: &[RingId]) -> Vec<Reg> {
        let both = |r: &RingId| {
            let state = self.rings[r.index()];
            let stage = (self.schedule.rings[r.index()].stages > 1).then_some(state.stage);
            stage.into_iter().chain([state.phase])
        };
        rings.iter().flat_map(both).collect()
    }

    /// The states that such registers are.
    pub(crate) fn set_rings(&mut self, rings: &[RingId], registers: &[Reg]) {
        let mut registers = registers.iter();
        for ring in rings {
            let state = &mut self.rings[ring.index()];
            if self.schedule.rings[ring.index()].stages > 1
                && let Some(stage) = registers.next()
            {
                state.stage = *stage;
            }
            if let Some(phase) = registers.next() {
                state.phase = *phase;
            }
        }
    }
}
