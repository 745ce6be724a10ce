//! How a kernel's work is laid out in time and over the warps of a block: a table beside the Tile IR function, which says
//! which loads a producer brings into rings of shared memory, which unit computes each product, and which loops are taken
//! apart so that one round's products run under the last round's arithmetic. Registers and addresses are lowering's.
//!
//! # How to read it
//!
//! - A **ring** is a piece of shared memory for several blocks of one shape, its *stages*. A load that feeds it is a *fill*
//!   of the producer and a *view* of the consumers. Each stage has two barriers: *full* is completed by the copy, *empty* by
//!   the consumers behind their last use.
//! - The **producer** is one thread that runs the slice (`slice.rs`) of the function which fills need: loops, branches and scalars.
//!   The **consumers** run everything, as if each fill was a load.
//! - A loop is **rotated** if its body falls into two parts of which the second needs the first, and the first nothing of
//!   the second: the first part of round n+1 then runs beside the second part of round n.
//!
//! There is no second program to keep right: both roles walk the same function, and order is what the function's data flow
//! says (`docs/decisions/0017`).

mod added;
mod chain;
mod rings;
mod rotate;
mod slice;
#[cfg(test)]
mod tests;
mod text;
mod verify;

use std::collections::{BTreeSet, HashMap, HashSet};

use pantile_ir::{Func, Inst, Region, Value};

use crate::kernel::Options;
use crate::lower::{Facts, Spreads, Unit, Warps, unit};

pub(crate) use added::AddedTo;
pub(crate) use chain::Chain;
pub(crate) use rings::Fill;
pub use rings::{Map, MapAxis, Ring};
pub(crate) use rotate::Rotation;

/// A row of [`Schedule::rings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RingId(pub u32);

impl RingId {
    /// As an index into [`Schedule::rings`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The table.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    /// Pieces of shared memory that the producer fills; without any there is no producer.
    pub rings: Vec<Ring>,
    /// What launches tell the copies about their tensors.
    pub maps: Vec<Map>,
    /// The loads that are fills, by their results.
    pub(crate) fills: HashMap<Value, Fill>,
    /// The loops around each ring's fills: the innermost, and all.
    users: Vec<Vec<(Option<Place>, Vec<Place>)>>,
    /// What the producer runs, and the values that it needs.
    pub(crate) slice: HashSet<Place>,
    pub(crate) known: HashSet<Value>,
    /// Loops that are rotated.
    pub(crate) rotations: HashMap<Place, Rotation>,
    /// Loops whose products go on with the sums of the round before.
    pub(crate) chains: HashMap<Place, Chain>,
    /// Products of warpgroups, by their results; and what they begin with where that is not zero.
    products: HashSet<Value>,
    pub(crate) added: HashMap<Value, AddedTo>,
    /// Registers of a thread, of the producer's warps and the consumers'; 0 where the assembler decides.
    pub registers: (u32, u32),
    /// The consumers' warps.
    pub consumers: u32,
}

/// An instruction of a function, by its address: a schedule serves as long as the function stays where it is.
pub(crate) type Place = usize;

/// The place of an instruction.
pub(crate) fn place(inst: &Inst) -> Place {
    std::ptr::from_ref(inst).addr()
}

/// Warps of the producer: a whole warpgroup, since registers are given away by warpgroups.
pub const PRODUCER_WARPS: u32 = 4;

impl Schedule {
    /// The schedule of a function for launches of which something is known.
    pub(crate) fn new(func: &Func, facts: &Facts, options: &Options, warps: Warps, spreads: &Spreads) -> Self {
        let mut schedule = Schedule { consumers: warps.threads() / 32, ..Schedule::default() };
        let is_product = |inst: &Inst| unit(func, options, warps, inst) == Some(Unit::Warpgroup);
        each(&func.body, &mut |inst| {
            if is_product(inst) {
                schedule.products.insert(inst.results[0]);
            }
        });
        schedule.added = added::find(func, is_product);
        rings::choose(&mut schedule, func, facts, options, warps);
        if !schedule.rings.is_empty() {
            schedule.registers = registers(schedule.consumers, options);
        }
        rotate::choose(&mut schedule, func, options, spreads);
        if options.choices.rotate {
            chain::choose(&mut schedule, func, spreads);
        }
        schedule
    }

    /// Whether it is a product of warpgroups.
    fn is_product(&self, inst: &Inst) -> bool {
        inst.results.first().is_some_and(|r| self.products.contains(r))
    }

    /// The rings that are filled within a loop or branch, in order.
    pub(crate) fn rings_within(&self, inst: &Inst) -> Vec<RingId> {
        let mut rings = BTreeSet::new();
        let mut found = |i: &Inst| rings.extend(i.results.first().and_then(|r| self.fills.get(r)).map(|f| f.ring));
        inst.regions.iter().for_each(|r| each(r, &mut found));
        rings.into_iter().collect()
    }

    /// Whether there is a producer beside the consumers.
    pub fn specialised(&self) -> bool {
        !self.rings.is_empty()
    }

    /// Threads of a block.
    pub fn threads(&self) -> u32 {
        32 * (self.consumers + if self.specialised() { PRODUCER_WARPS } else { 0 })
    }

    /// Where a ring's first stage starts in shared memory.
    pub(crate) fn base(&self, ring: RingId) -> u32 {
        self.rings[..ring.index()].iter().map(|r| r.stages * r.bytes).sum()
    }

    /// Where a ring's barriers stand: those that are full, then those that are empty, 8 bytes each.
    pub(crate) fn barriers(&self, ring: RingId) -> u32 {
        let rings: u32 = self.rings.iter().map(|r| r.stages * r.bytes).sum();
        rings + self.rings[..ring.index()].iter().map(|r| 16 * r.stages).sum::<u32>()
    }

    /// Bytes of all rings, barriers included.
    pub fn shared(&self) -> u32 {
        let stages: u32 = self.rings.iter().map(|r| r.stages).sum();
        self.rings.iter().map(|r| r.stages * r.bytes).sum::<u32>() + 16 * stages
    }
}

/// What the producer gives away, and the consumers get, of the registers of a multiprocessor.
fn registers(consumers: u32, options: &Options) -> (u32, u32) {
    if !options.target.has_wgmma() {
        return (0, 0);
    }
    match consumers.div_ceil(PRODUCER_WARPS) {
        0 | 1 => (0, 0),
        2 => (24, 240),
        _ => (32, 160),
    }
}

/// Calls for each instruction, nested ones too.
pub(crate) fn each<'f>(region: &'f Region, found: &mut impl FnMut(&'f Inst)) {
    for inst in &region.insts {
        found(inst);
        inst.regions.iter().for_each(|r| each(r, found));
    }
}
