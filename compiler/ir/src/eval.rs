//! What each scalar operation means, stated once: the interpreter and the constant folder both ask here.
//!
//! Floats are held as f64 and rounded to their dtype after every operation (f8, f16 and bf16 compute in f32 first,
//! as hardware does); integers wrap at their width. Nothing here knows tiles.

use crate::{BinaryOp, DType, UnaryOp};

/// One element. A float is kept as an f64 that its dtype can hold exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// A bool.
    Bool(bool),
    /// Any integer dtype; u64 is kept as its bits.
    Int(i64),
    /// Any float dtype.
    Float(f64),
}

/// Rounds to the nearest value of `dtype`, ties to even; out of range becomes infinity (NaN in f8e4m3).
pub fn round(_dtype: DType, _x: f64) -> f64 {
    todo!()
}

/// Wraps to the width of an integer dtype.
pub fn wrap(_dtype: DType, _x: i64) -> i64 {
    todo!()
}

/// `op x`, where `x` has `dtype`.
pub fn unary(_op: UnaryOp, _dtype: DType, _x: Scalar) -> Scalar {
    todo!()
}

/// `a op b`, where both have `dtype`; comparisons give a bool. `None`: division of an integer by zero.
pub fn binary(_op: BinaryOp, _dtype: DType, _a: Scalar, _b: Scalar) -> Option<Scalar> {
    todo!()
}

/// `x as to`: floats round to nearest even; float to integer truncates and saturates, NaN to 0.
pub fn cast(_from: DType, _to: DType, _x: Scalar) -> Scalar {
    todo!()
}

/// Reads one element from its little-endian bytes.
pub fn decode(_dtype: DType, _bytes: &[u8]) -> Scalar {
    todo!()
}

/// Writes one element as its little-endian bytes.
pub fn encode(_dtype: DType, _x: Scalar, _bytes: &mut [u8]) {
    todo!()
}
