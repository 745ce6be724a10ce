//! Transcendental functions.
use crate::Emit;
use crate::vector::{Lanes, lanewise};
use pantile_ir::UnaryOp;
/// `op x`, not rounded to a small dtype yet.
pub fn transcendental(e: &mut Emit<'_>, op: UnaryOp, x: Lanes) -> Lanes {
    lanewise(e, &[x], |e, x| crate::host::unary(e, op, x[0]))
}
