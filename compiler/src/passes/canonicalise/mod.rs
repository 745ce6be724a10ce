//! Canonicalisation: each computation in its simplest form.
//!
//! ```text
//! %3: tile<f32>{i} = mul %2, %1        (%1 = 1.0)      →   %2
//! %5: tile<f32>{i} = exp %4            (%4 = x · c)    →   exp2 (x · (c · log2 e))
//! %7: i64 = div %6, %1                 (%6 ≥ 0, 8)     →   shr %6, 3
//! %9: f32 = if %8 { … } else { … }     (%8 = true)     →   the first region
//! ```
//! Needs: nothing. Leaves: rules of `algebra`, `shape` and `control` apply nowhere. All are exact (the same bits, NaNs
//! aside) except `exp`, whose argument is rounded once where it was rounded before. Cost: linear, a few rounds.

mod algebra;
mod control;
mod shape;

use pantile_ir::{Func, Inst, Value};

use super::rewrite::{Rewriter, rewrite};
use super::{Changed, PassCx};

/// Rules may open the way for others; each round takes at least one thing away.
const MAX_ROUNDS: usize = 8;

/// Runs the pass.
pub fn run(func: &mut Func, _cx: &PassCx) -> Changed {
    let rounds = (0..MAX_ROUNDS).take_while(|_| rewrite(func, rule, control::simplify)).count();
    (rounds > 0).into()
}

fn rule(rw: &mut Rewriter, inst: &Inst) -> Option<Value> {
    if inst.results.len() != 1 {
        return None;
    }
    algebra::simplify(rw, inst).or_else(|| shape::simplify(rw, inst))
}
