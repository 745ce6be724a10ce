//! The matrix product as an outlined function: f32, over operands that `pack.rs` and the lowering have prepared. Batch
//! dims, other dtypes and operands of rank 1 are loops around it or instead of it.
//!
//! There are two emitters behind one interface: `portable.rs` in Cranelift's 128-bit vectors, and `wide.rs`, which writes
//! 256- and 512-bit instructions where the host has them. Both read and write the same layouts.
//!
//! `C[m, n] = init + Σ_k A[m, k] · B[k, n]` with
//! - A: rows of f32 with unit stride along k, any distance between rows;
//! - B: panels `[⌈N/16⌉][K][16]`, a little apart, as `pack.rs` writes them;
//! - C: rows with room for N rounded up to 16; what lies past N is garbage afterwards.
//!
//! M, N and K are exact lengths, known only when called.

mod portable;
#[cfg(test)]
mod tests;
mod wide;

use cranelift_codegen::ir::{FuncRef, InstBuilder, Type, Value, types};
use cranelift_module::FuncId;

use crate::{Emit, Jit, Limit};

/// What the sum starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Init {
    /// 0.
    Zero,
    /// What C holds.
    Accumulate,
    /// What C holds, each row times its own number: an online softmax's correction.
    Scaled,
}

/// Operands of one call: addresses and byte distances as i64 values.
#[derive(Clone, Copy, Debug)]
pub struct Dot {
    /// First element of A.
    pub a: Value,
    /// Bytes from one row of A to the next.
    pub a_row: Value,
    /// The packed panels of B.
    pub b: Value,
    /// First element of C.
    pub c: Value,
    /// Bytes from one row of C to the next.
    pub c_row: Value,
    /// One f32 a row, for [`Init::Scaled`]; else anything.
    pub scale: Value,
    /// Rows of A and C.
    pub m: Value,
    /// Columns of B and C.
    pub n: Value,
    /// Columns of A, rows of B.
    pub k: Value,
}

/// Columns of a panel of B.
pub const PANEL: i64 = 16;

/// A line of the cache.
const GAP: i64 = 64;
const PARAMS: [Type; 9] = [types::I64; 9];

/// Bytes of one panel and of the gap after it. Without the gap the panels of most K start in one set of the cache, and
/// packing a row into them, or reading a column of them, evicts its own lines.
pub fn panel_bytes(k: i64) -> i64 {
    k.saturating_mul(PANEL * 4).saturating_add(GAP)
}

/// Bytes that the packed panels of a `k` × `n` operand take.
pub fn packed_bytes(k: i64, n: i64) -> i64 {
    (n.saturating_add(PANEL - 1) / PANEL).saturating_mul(panel_bytes(k))
}

/// The same as [`panel_bytes`] for a length known only when called.
pub(crate) fn panel_step(e: &mut Emit<'_>, k: Value) -> Value {
    let panel = e.ins().imul_imm_s(k, PANEL * 4);
    e.ins().iadd_imm_s(panel, GAP)
}

/// The function for one kind of start, in `jit`.
///
/// # Errors
/// What Cranelift or the assembler refuses.
pub fn piece(jit: &mut Jit, init: Init) -> Result<FuncId, Limit> {
    let signature = jit.signature(&PARAMS, &[]);
    let name = format!("dot {init:?}");
    match wide::Shape::of(jit.features()) {
        Some(shape) => jit.assembled(&name, signature, || wide::assemble(shape, init)),
        None => jit.piece(&name, signature, |e| portable::emit(e, init)),
    }
}

/// The code of the wide function for one kind of start, for tests that look at it on machines that cannot run it.
#[cfg(test)]
pub(crate) fn assembled(features: crate::Features, init: Init) -> Option<Result<Vec<u8>, Limit>> {
    wide::Shape::of(features).map(|shape| wide::assemble(shape, init))
}

/// Calls it.
pub fn call(e: &mut Emit<'_>, function: FuncRef, dot: &Dot) {
    let args = [dot.a, dot.a_row, dot.b, dot.c, dot.c_row, dot.scale, dot.m, dot.n, dot.k];
    e.ins().call(function, &args);
}
