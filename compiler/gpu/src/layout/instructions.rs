//! What tensor-core instructions fix: the layouts of their operands in registers. PTX ISA, "Matrix multiply-accumulate
//! operation using mma instruction" and "Asynchronous warpgroup level matrix instructions". Operands of wgmma in shared
//! memory are [`super::shared`]'s; which instruction to use is not decided here.
//!
//! All follow one pattern. A warp holds 8 rows across its lanes, four lanes a row; a lane holds one 32-bit word of a row, so
//! `e` = 4 ÷ bytes elements, and registers repeat that 8 rows down and 4 words across.

use Place::{Lane, Register, Warp};

use super::{Distributed, Layout, LayoutError, Name, Place};

/// Elements in one 32-bit word of an operand.
fn per_word(bytes: u32) -> Result<u64, LayoutError> {
    if matches!(bytes, 1 | 2 | 4) {
        return Ok(u64::from(4 / bytes));
    }
    let what = format!("tensor cores take operands of 1, 2 or 4 bytes, not {bytes}; use FMA for this dtype");
    Err(LayoutError::Instruction { what })
}

/// `count` coordinates along `d` that double from `start`.
fn doubling<D: Name>(d: D, start: u64, count: u32) -> Vec<(D, u64)> {
    (0..count).map(|b| (d, start << b)).collect()
}

/// One warp over `8 rows × 4 words` of `word` elements along `across`, `down` and `over` registers repeating it.
fn fragment<D: Name>(row: D, across: D, word: u64, down: u64, over: u64) -> Result<Distributed<D>, LayoutError> {
    let in_word = doubling(across, 1, word.ilog2());
    let lanes: Vec<(D, u64)> = doubling(across, word, 2).into_iter().chain(doubling(row, 1, 3)).collect();
    let (down_bits, over_bits) = (down.ilog2(), over.ilog2());
    let registers: Vec<(D, u64)> =
        in_word.into_iter().chain(doubling(row, 8, down_bits)).chain(doubling(across, 4 * word, over_bits)).collect();
    Layout::new(&[(row, 8 * down), (across, 4 * word * over)], &[(Register, &registers), (Lane, &lanes)])
}

/// The elements along k of one instruction: 32 bytes of them.
///
/// # Errors
/// Operands of other than 1, 2 or 4 bytes.
pub fn k_of(bytes: u32) -> Result<u64, LayoutError> {
    Ok(8 * per_word(bytes)?)
}

/// The accumulator, or C, of `mma.sync.m16n8`: 16 × 8.
///
/// # Errors
/// `m` and `n` the same dim.
pub fn mma_c<D: Name>(m: D, n: D) -> Result<Distributed<D>, LayoutError> {
    fragment(m, n, 2, 2, 1)
}

/// The A operand of `mma.sync`, 16 × k: m16n8k16 for 2 bytes, m16n8k8 (tf32) for 4, m16n8k32 for 1.
///
/// # Errors
/// Operands of other than 1, 2 or 4 bytes; `m` and `k` the same dim.
pub fn mma_a<D: Name>(m: D, k: D, bytes: u32) -> Result<Distributed<D>, LayoutError> {
    fragment(m, k, per_word(bytes)?, 2, 2)
}

/// The B operand of `mma.sync`, k × 8: m16n8k16 for 2 bytes, m16n8k8 (tf32) for 4, m16n8k32 for 1.
///
/// # Errors
/// Operands of other than 1, 2 or 4 bytes; `k` and `n` the same dim.
pub fn mma_b<D: Name>(k: D, n: D, bytes: u32) -> Result<Distributed<D>, LayoutError> {
    fragment(n, k, per_word(bytes)?, 1, 2)
}

/// Four warps, 16 rows each.
fn warpgroup<D: Name>(warp: Distributed<D>, m: D) -> Result<Distributed<D>, LayoutError> {
    warp.product(&Layout::line(Warp, m, 4)?)
}

/// The accumulator of `wgmma.m64nN`, f32 or, with two to a word, f16: 64 × `columns`.
///
/// # Errors
/// Columns other than 8, 16, 32, 64, 128 or 256; `m` and `n` the same dim.
pub fn wgmma_accumulator<D: Name>(m: D, n: D, columns: u64) -> Result<Distributed<D>, LayoutError> {
    if !columns.is_power_of_two() || !(8..=256).contains(&columns) {
        let what = format!("wgmma computes 8 to 256 columns, a power of two in a tile, not {columns}; split the tile");
        return Err(LayoutError::Instruction { what });
    }
    warpgroup(fragment(m, n, 2, 2, columns / 8)?, m)
}

/// The A operand of wgmma in registers, 64 × k: m64k16 for 2 bytes, m64k8 (tf32) for 4, m64k32 for 1. For 2 bytes it is the
/// accumulator of 16 columns, so a packed accumulator is an operand as it stands.
///
/// # Errors
/// Operands of other than 1, 2 or 4 bytes; `m` and `k` the same dim.
pub fn wgmma_a<D: Name>(m: D, k: D, bytes: u32) -> Result<Distributed<D>, LayoutError> {
    warpgroup(mma_a(m, k, bytes)?, m)
}

/// One 8 × 8 matrix of 16-bit elements as `ldmatrix` leaves it and `stmatrix` takes it; transposed, a thread's two elements
/// lie below each other. What the other matrices of x2 and x4 are is free: they are further register bits.
///
/// # Errors
/// `row` and `column` the same dim.
pub fn ldmatrix<D: Name>(row: D, column: D, transposed: bool) -> Result<Distributed<D>, LayoutError> {
    if transposed { fragment(column, row, 2, 1, 1) } else { fragment(row, column, 2, 1, 1) }
}
