//! Conversions through shared memory, and the swizzle that keeps both sides free of bank conflicts. Where in shared memory
//! the tile goes, and which barrier separates the two sides, are decided elsewhere.
//!
//! # How the swizzle is found
//!
//! Offsets have three parts: within a vector, within the banks' 128 bytes, and beyond (arXiv 2505.23819, section 5.4). Choosing
//! a memory layout is choosing a basis of the tile for each part. Vectors are directions that both sides hold in registers,
//! or only one does if that is better. Two lanes conflict if they differ by a direction *beyond*, up to bytes of one word. So with
//! P and Q the spans of what the lanes of one phase hold at once, storing and loading, the directions beyond have to meet
//! neither. Such a common complement exists up to the larger of the two dimensions: with `p_i` and `q_i` extending a basis of
//! P ∩ Q to P and to Q, it is spanned by the sums `p_i + q_i` and a complement of P + Q. The sums are the swizzle.

use super::access::{Access, BANKS, WIDEST, WORD, log2_bytes};
use super::bits::{Span, intersection};
use super::convert::check;
use super::{Distributed, Layout, LayoutError, Memory, Name, Offset, Place};

/// A conversion through shared memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange<D> {
    /// Where elements lie in between.
    pub memory: Memory<D>,
    /// The source's stores.
    pub store: Access,
    /// The target's loads.
    pub load: Access,
    /// The widest place across which elements move: the barrier between has to cover it. `Lane`: one warp.
    pub across: Place,
}

impl<D: Name> Exchange<D> {
    /// The exchange with the fewest wavefronts.
    ///
    /// # Errors
    /// Layouts of different tiles or over different threads; a layout that does not hold every element.
    pub fn plan(from: &Distributed<D>, to: &Distributed<D>, bytes: u32) -> Result<Exchange<D>, LayoutError> {
        check(from, to)?;
        let (mine, theirs) = (from.columns(Place::Register), to.columns(Place::Register));
        let most = (WIDEST / bytes.max(1)).max(1).ilog2() as usize;
        let mut apart = Span::of(&[threads(from), threads(to)].concat());
        let both = apart.extend(intersection(mine, theirs));
        let extended = |side: &Distributed<D>, registers: &[u64]| {
            let mut apart = Span::of(&[both.clone(), threads(side)].concat());
            let more = apart.extend(registers.iter().copied());
            both.iter().copied().chain(more).take(most).collect::<Vec<u64>>()
        };
        let common = both.iter().copied().take(most).collect();
        let across = across(from, to)?;
        let mut best: Option<Exchange<D>> = None;
        for vector in [common, extended(from, mine), extended(to, theirs)] {
            let memory = memory(from, to, &vector, bytes)?;
            let store = Access::plan(from, &memory, bytes, WIDEST)?;
            let load = Access::plan(to, &memory, bytes, WIDEST)?;
            let made = Exchange { memory, store, load, across };
            best = best.filter(|b| b.wavefronts() <= made.wavefronts()).or(Some(made));
        }
        best.ok_or(LayoutError::TooLarge { bits: from.outs().total() })
    }

    /// Wavefronts of shared memory for one warp, stores and loads.
    pub fn wavefronts(&self) -> u32 {
        self.store.wavefronts() + self.load.wavefronts()
    }

    /// Shared memory that it takes, in bytes.
    pub fn size(&self) -> u64 {
        u64::from(self.store.bytes) << self.memory.outs().total()
    }
}

/// The widest place across which a reader and those who write for it differ.
fn across<D: Name>(from: &Distributed<D>, to: &Distributed<D>) -> Result<Place, LayoutError> {
    let writer = to.then(&from.right_inverse()?)?;
    let own = |p: Place| {
        let at = |c: &u64| writer.outs().part(*c, p);
        let others = writer.ins().names().filter(|q| *q != p).flat_map(|q| writer.columns(q)).all(|c| at(c) == 0);
        others && writer.columns(p).iter().zip(0..).all(|(c, b)| at(c) == 1 << b)
    };
    let moved = [Place::Warpgroup, Place::Warp].into_iter().find(|p| !own(*p));
    Ok(moved.unwrap_or(Place::Lane))
}

/// The directions in which threads differ, lanes first.
fn threads<D: Name>(held: &Distributed<D>) -> Vec<u64> {
    Place::THREAD.into_iter().flat_map(|p| held.columns(p)).copied().collect()
}

/// What the lanes of one phase hold at once, if the lowest offsets are those of `low`, `wide` of which are in registers.
fn phase<D: Name>(held: &Distributed<D>, low: &[u64], wide: usize, bytes: u32) -> Vec<u64> {
    let lanes = 5 - (bytes << wide).div_ceil(4).min(4).ilog2() as usize;
    let together = held.columns(Place::Lane).iter().take(lanes).chain(low.iter().take(wide.max(in_word(bytes))));
    together.copied().collect()
}

/// log2 of the elements in a bank's word.
fn in_word(bytes: u32) -> usize {
    WORD.saturating_sub(log2_bytes(bytes)) as usize
}

/// The memory layout with the given vector directions that has the fewest conflicts. Threads' own directions come before
/// others, so that no thread has a part in the offset within a vector.
fn memory<D: Name>(
    from: &Distributed<D>,
    to: &Distributed<D>,
    vector: &[u64],
    bytes: u32,
) -> Result<Memory<D>, LayoutError> {
    let total = from.outs().total();
    let order: Vec<u64> = threads(from).into_iter().chain(threads(to)).chain((0..total).map(|b| 1 << b)).collect();
    let rest_of_word = Span::of(vector).extend(order.iter().copied());
    let missing = in_word(bytes).saturating_sub(vector.len());
    let low: Vec<u64> = vector.iter().copied().chain(rest_of_word.into_iter().take(missing)).collect();
    let side = |held: &Distributed<D>| {
        let registers = Span::of(held.columns(Place::Register));
        let wide = vector.iter().take_while(|v| registers.contains(**v)).count();
        phase(held, &low, wide, bytes)
    };
    let (stored, loaded) = (side(from), side(to));
    let count = total.saturating_sub(BANKS - log2_bytes(bytes).min(BANKS));
    let beyond = beyond(&stored, &loaded, &low, &order, count);
    let mut taken = Span::of(&low);
    taken.extend(beyond.iter().copied());
    let banks = taken.extend(stored.iter().chain(&loaded).chain(&order).copied());
    let columns = low.iter().copied().chain(banks).chain(beyond).collect();
    Layout::of_columns(from.outs().clone(), vec![(Offset, columns)])
}

/// `count` directions that meet neither `stored` nor `loaded`, as far as there are such.
fn beyond(stored: &[u64], loaded: &[u64], low: &[u64], order: &[u64], count: u32) -> Vec<u64> {
    let mut span = Span::of(&intersection(stored, loaded));
    let common = span.clone();
    let only_stored = span.extend(stored.iter().copied());
    let only_loaded = common.clone().extend(loaded.iter().copied());
    span.extend(only_loaded.iter().copied());
    let outside = span.extend(order.iter().copied());
    let sums = only_stored.iter().zip(&only_loaded).map(|(p, q)| p ^ q);
    let mut free = Span::of(low);
    let chosen = free.extend(outside.into_iter().chain(sums).chain(order.iter().copied()));
    chosen.into_iter().take(count as usize).collect()
}
