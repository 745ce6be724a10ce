//! Reductions along dims: which pieces a thread combines by itself, which by shuffles, which through shared memory. The
//! operation, and what it starts from, are not known here; it has to be associative and commutative.
//!
//! # How
//!
//! Two places hold elements of one result just if they differ by a vector that maps to zero once the dims are dropped. Among the
//! vectors without copies those are spanned by one for each bit of the dims, and each has a highest bit of its own: in a register
//! (combine two registers), a lane (exchange with the lane at that XOR distance), or a warp (through shared memory). Copies
//! are never combined with each other, and hold the result as well as the others, since the map is linear.

use super::access::Access;
use super::bits::{Matrix, combine};
use super::exchange::Exchange;
use super::{Axes, Distributed, Layout, LayoutError, Name, Offset, Place};

/// One exchange of partial results between lanes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Butterfly {
    /// The partner is the lane at this XOR distance.
    pub lanes: u64,
    /// Its register for mine is at this XOR distance: 0, unless rows are skewed over lanes.
    pub registers: u64,
}

/// The last step of a reduction across warps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Across {
    /// Stores of each warp's partial results, in its slot.
    pub store: Access,
    /// Loads of slot 0; slot `s` is `s * stride` elements further.
    pub load: Access,
    /// How many slots there are to combine.
    pub slots: u64,
    /// Elements of a slot.
    pub stride: u64,
    /// The widest place across which results combine: what the barrier between has to cover.
    pub across: Place,
}

/// A reduction of a tile along some dims. Afterwards every thread holds full results, laid out as `result`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reduction<D> {
    /// Where the results are.
    pub result: Distributed<D>,
    /// For each register of the result those of the tile to combine.
    pub own: Vec<Vec<u64>>,
    /// Then, in turn: combine with the partner's. All lanes get the same bits.
    pub lanes: Vec<Butterfly>,
    /// Then, if several warps hold pieces.
    pub warps: Option<Across>,
}

/// A tile split for a reduction.
struct Split {
    /// The columns without the dims, packed for the result.
    columns: Vec<u64>,
    /// Bits that tell results apart within a thread: the registers of the result.
    kept: Vec<u64>,
    /// The directions of one result: each with a highest bit that no other has.
    along: Vec<u64>,
}

impl Split {
    /// Splits the inputs of `tile`; `less` is the same without the dims.
    fn of<D: Name>(tile: &Distributed<D>, less: &Distributed<D>) -> Split {
        let pivots = tile.matrix().pivots();
        let columns = less.matrix().columns.clone();
        let used = |j: usize| pivots >> j & 1 == 1;
        let masked = columns.iter().enumerate().map(|(j, c)| if used(j) { *c } else { 0 }).collect();
        let masked = Matrix { columns: masked };
        let along = masked.kernel().into_iter().filter(|k| used(k.ilog2() as usize)).collect();
        let registers = tile.columns(Place::Register).len();
        let apart = masked.pivots();
        let kept = (0..registers).filter(|j| apart >> j & 1 == 1).map(|j| 1 << j).collect();
        Split { columns, kept, along }
    }

    /// The directions whose highest bit lies in `mask`.
    fn within(&self, mask: u64) -> impl Iterator<Item = u64> + '_ {
        self.along.iter().copied().filter(move |k| 1 << k.ilog2() & mask != 0)
    }

    /// A register of the tile, all of whose bits tell results apart, among those of the result.
    fn register(&self, tile: u64) -> u64 {
        self.kept.iter().zip(0..).fold(0, |sum, (bit, j)| sum ^ u64::from(tile & bit != 0) << j)
    }
}

fn mask<D: Name>(tile: &Distributed<D>, place: Place) -> u64 {
    (tile.size(place) - 1) << tile.ins().shift(place)
}

impl<D: Name> Reduction<D> {
    /// Plans the reduction of `tile` along `dims`, of elements that take `bytes` bytes in shared memory.
    ///
    /// # Errors
    /// A dim that the tile does not have; a layout that does not hold every element.
    pub fn plan(tile: &Distributed<D>, dims: &[D], bytes: u32) -> Result<Reduction<D>, LayoutError> {
        if let Some(dim) = dims.iter().find(|d| !tile.outs().has(**d)) {
            return Err(LayoutError::Unknown { axis: format!("{dim:?}") });
        }
        tile.require_surjective()?;
        let less = dims.iter().fold(tile.clone(), |less, dim| less.drop(*dim));
        let split = Split::of(tile, &less);
        let result = result(&less, &split)?;
        let own: Vec<u64> = split.within(mask(tile, Place::Register)).collect();
        let pieces = |r: u64| (0..1 << own.len()).map(|a| combine(&split.kept, r) ^ combine(&own, a)).collect();
        let butterfly = |k: u64| Butterfly {
            lanes: tile.ins().part(k, Place::Lane),
            registers: split.register(tile.ins().part(k, Place::Register)),
        };
        Ok(Reduction {
            own: (0..1 << split.kept.len()).map(pieces).collect(),
            lanes: split.within(mask(tile, Place::Lane)).map(butterfly).collect(),
            warps: across(tile, &result, &split, bytes)?,
            result,
        })
    }
}

/// The layout of the results: the registers that tell results apart, all threads.
fn result<D: Name>(less: &Distributed<D>, split: &Split) -> Result<Distributed<D>, LayoutError> {
    let registers = split.kept.iter().map(|bit| split.columns[bit.ilog2() as usize]).collect();
    let threads = less.ins().names().filter(|p| *p != Place::Register);
    let threads = threads.map(|p| (p, less.columns(p).to_vec()));
    Layout::of_columns(less.outs().clone(), [(Place::Register, registers)].into_iter().chain(threads).collect())
}

/// The step across warps. A direction's highest bit is a bit of the slot in which a warp writes; it is no other direction's, so
/// those who share a result write different slots. Warps that hold copies write where their originals do. In a slot results
/// lie as an exchange would lay them.
fn across<D: Name>(
    tile: &Distributed<D>,
    result: &Distributed<D>,
    split: &Split,
    bytes: u32,
) -> Result<Option<Across>, LayoutError> {
    let beyond = mask(tile, Place::Warp) | mask(tile, Place::Warpgroup);
    let slots: Vec<u64> = split.within(beyond).map(|k| 1 << k.ilog2()).collect();
    let Some(highest) = slots.last() else { return Ok(None) };
    let group = highest & mask(tile, Place::Warpgroup) != 0;
    let (stride, bits) = (result.outs().total(), slots.len() as u32);
    let place = result.then(&Exchange::plan(result, result, bytes)?.memory.inverse()?)?;
    let beside = |c: &u64| {
        let original = tile.matrix().solve(*c).unwrap_or(0);
        slots.iter().zip(stride..).fold(0, |sum, (bit, at)| sum ^ u64::from(original & bit != 0) << at)
    };
    let offsets = |own_slot: bool| {
        let outs = Axes::new([(Offset, 1 << (stride + bits))])?;
        let slot = |p: Place, b: usize| if own_slot && p != Place::Register { beside(&tile.columns(p)[b]) } else { 0 };
        let columns = |p: Place| (p, place.columns(p).iter().enumerate().map(|(b, c)| c ^ slot(p, b)).collect());
        Layout::of_columns(outs, place.ins().names().map(columns).collect())
    };
    Ok(Some(Across {
        store: Access::of_offsets(&offsets(true)?, bytes, super::access::WIDEST),
        load: Access::of_offsets(&offsets(false)?, bytes, super::access::WIDEST),
        slots: 1 << bits,
        stride: 1 << stride,
        across: if group { Place::Warpgroup } else { Place::Warp },
    }))
}
