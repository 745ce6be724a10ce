//! A warp: its registers, where it is, which lanes run, what it knows and what it has under way. What instructions do is
//! said elsewhere.

use super::arith::Lanes;
use super::clock::Knowledge;
use super::code::{CONSTANT, Code, Slot};
use super::error::{ErrorKind, Outcome};
use super::products::Products;

/// What keeps a warp from going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    /// A barrier with a number.
    Barrier(u32),
    /// A barrier in shared memory, and the parity of its phase.
    Mbarrier(u32, u32),
    /// Registers for each thread.
    Registers(u32),
    Done,
}

/// Lanes set aside.
#[derive(Debug)]
enum Frame {
    Branch { saved: u32, pending: Option<(u32, u32)>, end: u32 },
    Loop { saved: u32 },
}

/// A warp.
#[derive(Debug)]
pub(super) struct Warp {
    pub(super) id: usize,
    pub(super) at: u32,
    /// Lanes that run.
    pub(super) lanes: u32,
    pub(super) full: u32,
    frames: Vec<Frame>,
    pub(super) state: State,
    registers: Vec<Lanes>,
    /// The product that each register waits for, 0 for none.
    pending: Vec<u32>,
    /// The step at which each register was written.
    written: Vec<u32>,
    pub(super) steps: u32,
    pub(super) known: Knowledge,
    pub(super) products: Products,
    /// Groups of `cp.async` copies closed so far.
    pub(super) copy_groups: u32,
    /// Whether copies were made since.
    pub(super) copies_open: bool,
    /// Groups of tensor stores closed so far.
    pub(super) store_groups: u32,
    /// The last group of tensor stores that was waited for.
    pub(super) stores_read: u32,
    /// The lane that makes tensor stores.
    pub(super) storer: Option<u32>,
    /// Whether it made some since.
    pub(super) stores_open: bool,
    /// Lanes that wrote to shared memory since a proxy fence.
    pub(super) unfenced: u32,
    /// Registers that each thread may use.
    pub(super) allowance: u32,
}

impl Warp {
    pub(super) fn new(id: usize, slots: u32, allowance: u32) -> Self {
        let slots = slots as usize;
        Self {
            id,
            at: 0,
            lanes: u32::MAX,
            full: u32::MAX,
            frames: Vec::new(),
            state: State::Ready,
            registers: vec![[0; 32]; slots],
            pending: vec![0; slots],
            written: vec![0; slots],
            steps: 0,
            known: Knowledge::new(id as u16, u32::MAX),
            products: Products::default(),
            copy_groups: 0,
            copies_open: false,
            store_groups: 0,
            stores_read: 0,
            storer: None,
            stores_open: false,
            unfenced: 0,
            allowance,
        }
    }

    /// An operand.
    pub(super) fn read<'a>(&'a self, code: &'a Code, slot: Slot) -> Outcome<&'a Lanes> {
        if slot & CONSTANT != 0 {
            return Ok(&code.constants[(slot ^ CONSTANT) as usize]);
        }
        if self.pending[slot as usize] != 0 {
            return Err(ErrorKind::PendingAccumulator.into());
        }
        Ok(&self.registers[slot as usize])
    }

    /// The product that an operand waits for, and which of its accumulators it is.
    pub(super) fn awaited(&self, slot: Slot) -> Option<(u32, usize)> {
        if slot & CONSTANT != 0 || self.pending[slot as usize] == 0 {
            return None;
        }
        Some((self.pending[slot as usize], self.registers[slot as usize][0] as usize))
    }

    /// When an operand was written.
    pub(super) fn written(&self, slot: Slot) -> u32 {
        if slot & CONSTANT != 0 { 0 } else { self.written[slot as usize] }
    }

    /// Writes running lanes of a register.
    pub(super) fn write(&mut self, slot: Slot, value: &Lanes) {
        let slot = slot as usize;
        let register = &mut self.registers[slot];
        if self.lanes == u32::MAX {
            *register = *value;
        } else {
            for lane in 0..32 {
                if self.lanes >> lane & 1 == 1 {
                    register[lane] = value[lane];
                }
            }
        }
        self.pending[slot] = 0;
        self.written[slot] = self.steps;
    }

    /// Makes a register wait for an accumulator of a product.
    pub(super) fn write_awaited(&mut self, slot: Slot, product: u32, accumulator: usize) {
        self.registers[slot as usize] = [accumulator as u64; 32];
        self.pending[slot as usize] = product;
        self.written[slot as usize] = self.steps;
    }

    /// Copies registers, pending ones as such.
    pub(super) fn moves(&mut self, code: &Code, pairs: &[(Slot, Slot)], parallel: bool) -> Outcome<()> {
        if parallel {
            let values: Vec<(Lanes, u32)> = pairs.iter().map(|(from, _)| self.raw(code, *from)).collect();
            for ((_, to), (value, pending)) in pairs.iter().zip(values) {
                self.place(*to, &value, pending)?;
            }
            return Ok(());
        }
        for (from, to) in pairs {
            let (value, pending) = self.raw(code, *from);
            self.place(*to, &value, pending)?;
        }
        Ok(())
    }

    fn raw(&self, code: &Code, slot: Slot) -> (Lanes, u32) {
        if slot & CONSTANT != 0 {
            (code.constants[(slot ^ CONSTANT) as usize], 0)
        } else {
            (self.registers[slot as usize], self.pending[slot as usize])
        }
    }

    fn place(&mut self, to: Slot, value: &Lanes, pending: u32) -> Outcome<()> {
        if pending != 0 && self.lanes != self.full {
            return Err(ErrorKind::PendingAccumulator.into());
        }
        self.write(to, value);
        self.pending[to as usize] = pending;
        Ok(())
    }

    /// Lanes where a predicate holds, of those that run.
    pub(super) fn holding(&self, predicate: &Lanes) -> u32 {
        let mut holding = 0;
        for (lane, value) in predicate.iter().enumerate() {
            holding |= ((value & 1) as u32) << lane;
        }
        holding & self.lanes
    }

    fn set_lanes(&mut self, lanes: u32) {
        if lanes != self.lanes {
            self.lanes = lanes;
            self.known.set_lanes(lanes);
        }
    }

    /// Parts the lanes; `swap` runs the second arm first.
    pub(super) fn branch(&mut self, holding: u32, other: u32, end: u32, swap: bool) {
        let (saved, failing) = (self.lanes, self.lanes & !holding);
        let then = (self.at, holding);
        let (first, pending) = match (holding != 0, failing != 0) {
            (true, true) if swap => ((other, failing), Some(then)),
            (true, true) => (then, Some((other, failing))),
            (true, false) => (then, None),
            (false, _) => ((other, failing), None),
        };
        self.frames.push(Frame::Branch { saved, pending, end });
        self.at = first.0;
        self.set_lanes(first.1);
    }

    /// The other arm, or all lanes together again.
    pub(super) fn arm_end(&mut self) {
        let Some(Frame::Branch { saved, pending, end }) = self.frames.last_mut() else { return };
        let (saved, end) = (*saved, *end);
        match pending.take() {
            Some((at, lanes)) => {
                self.at = at;
                self.set_lanes(lanes);
            }
            None => {
                self.frames.pop();
                self.at = end;
                self.set_lanes(saved);
            }
        }
    }

    pub(super) fn enter(&mut self) {
        self.frames.push(Frame::Loop { saved: self.lanes });
    }

    /// Lanes leave a loop; with none left all go on behind it.
    pub(super) fn test(&mut self, holding: u32, exit: u32) {
        if holding != 0 {
            self.set_lanes(holding);
        } else if let Some(Frame::Loop { saved }) = self.frames.pop() {
            self.at = exit;
            self.set_lanes(saved);
        }
    }

    /// Whether all lanes are here.
    pub(super) fn whole(&self) -> Outcome<()> {
        if self.lanes == self.full { Ok(()) } else { Err(ErrorKind::Divergent { lanes: self.lanes }.into()) }
    }
}

/// Lanes of a set, ascending.
pub(super) fn lanes_of(mut set: u32) -> impl Iterator<Item = u32> + use<> {
    std::iter::from_fn(move || {
        let lane = set.trailing_zeros();
        set &= set.wrapping_sub(1);
        (lane < 32).then_some(lane)
    })
}
