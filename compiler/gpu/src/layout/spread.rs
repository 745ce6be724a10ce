//! Blocked layouts: vectors in registers, lanes and warps side by side, in an order of the dims. They are the free choice
//! where no instruction fixes a layout. Which order is best for an access is the caller's knowledge.

use super::{Axes, Distributed, LANES, Layout, LayoutError, Name, Place};

/// An input that runs over dims, the first listed fastest.
fn run<D: Name>(place: Place, over: &[(D, u64)]) -> Result<Distributed<D>, LayoutError> {
    over.iter()
        .try_fold(Layout::copies(place, 1)?, |layout, (d, size)| layout.product(&Layout::line(place, *d, *size)?))
}

impl<D: Name> Distributed<D> {
    /// A vector in registers, lanes that run over vectors, warps that run over those: each over dims with sizes, the first
    /// listed fastest. [`cover`](Distributed::cover) brings it to a tile.
    ///
    /// # Errors
    /// A size that is no power of two.
    pub fn blocked(
        registers: &[(D, u64)],
        lanes: &[(D, u64)],
        warps: &[(D, u64)],
    ) -> Result<Distributed<D>, LayoutError> {
        run(Place::Register, registers)?.product(&run(Place::Lane, lanes)?)?.product(&run(Place::Warp, warps)?)
    }

    /// A blocked layout of a whole tile, its dims listed fastest first: vectors of `vector` elements along the first, then
    /// 32 lanes over dims in order, then warps, the rest in registers. Lanes and warps beyond the tile hold copies.
    ///
    /// # Errors
    /// A size that is no power of two.
    pub fn spread(tile: &[(D, u64)], vector: u64, warps: u64) -> Result<Distributed<D>, LayoutError> {
        Axes::new(tile.iter().copied())?;
        Axes::new([(Place::Register, vector), (Place::Warp, warps)])?;
        let mut left = tile.to_vec();
        let first = left.get(..1).unwrap_or(&[]).to_vec();
        let mut layout = run(Place::Register, &take(&mut left, &first, vector).0)?;
        for (place, count) in [(Place::Lane, LANES), (Place::Warp, warps)] {
            let all = left.clone();
            let (over, copies) = take(&mut left, &all, count);
            layout = layout.product(&run(place, &over)?)?.product(&Layout::copies(place, copies)?)?;
        }
        layout.cover(tile)
    }
}

/// Takes up to `count` places of the listed dims out of `left`; what it took, and how many times `count` is larger.
fn take<D: Name>(left: &mut [(D, u64)], from: &[(D, u64)], count: u64) -> (Vec<(D, u64)>, u64) {
    let mut missing = count;
    let mut taken = Vec::new();
    for ((d, size), rest) in from.iter().zip(left.iter_mut()) {
        let part = missing.min(*size).max(1);
        taken.push((*d, part));
        rest.1 /= part;
        missing /= part;
    }
    (taken, missing)
}
