//! Padding: for targets whose tiles have more lanes than a block may have positions. Afterwards no result at a valid lane
//! depends on what stands in padding, and full blocks do nothing for it.
//!
//! ```text
//! for j in M by 16 carry (…) {                 for j'1 in M by 16 bounds 0..⌊M ÷ 16⌋ carry (…) { … }     (j'1 is full)
//!   %24: tile<f32>{i, j} = mul %21, %23        for j in M by 16 bounds ⌊M ÷ 16⌋..⌊M ÷ 16⌋ + 1 carry (…) {
//!   %25: tile<f32>{i} = reduce max over {j} %24      %24: tile<f32>{i, j} = mul %21, %23
//!   %28: tile<f32>{i, j} = exp2 %24 - %25  →         %61: tile<bool>{j} = valid j
//!   %32: tile<f32>{i} = reduce sum over {j} %28      %62: tile<f32>{i, j} = select %61, %24, -inf
//!   …                                                %25: tile<f32>{i} = reduce max over {j} %62
//! }                                                  …
//! ```
//! Needs: `analysis/fill.rs`, which says what stands in padding and which uses see it. Where one does, the code is split in
//! full blocks and the rest: a loop is peeled; a block of the grid, or of an order with missing positions, becomes a branch
//! on `block_len d == size`. In the rest, selects are placed where they cost least. A dim whose size is no number of lanes of
//! the target is padded in every block, and is not split.
//!
//! Leaves: no use that sees padding, on the same target, and code that means the same to whoever has none. Does not touch
//! what only stores see. Cost: an analysis for each value and constant that a select might stand at; code doubles where it
//! is split.

mod place;
mod split;

use std::collections::HashSet;

use pantile_ir::{DimId, Func, Value};

use super::{Changed, PassCx};
use crate::analysis::fill::Lanes;

/// Runs the pass.
pub fn run(func: &mut Func, cx: &PassCx) -> Changed {
    if cx.lanes == Lanes::Valid {
        return Changed::No;
    }
    let mut pad = Pad { func, lanes: cx.lanes, settled: HashSet::new(), full: Vec::new() };
    let mut changed = false;
    while pad.split() {
        changed = true;
    }
    while pad.place() {
        changed = true;
    }
    changed.into()
}

struct Pad<'f> {
    func: &'f mut Func,
    lanes: Lanes,
    /// Sites in code that runs for partial blocks only, or whose dim has no full ones.
    settled: HashSet<(Value, DimId)>,
    /// The dims of full blocks made so far, each beside the dim it is for.
    full: Vec<(DimId, DimId)>,
}
