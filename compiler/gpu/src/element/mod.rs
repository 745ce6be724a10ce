//! Arithmetic on one element of each thread, as instructions: what `pantile_ir::eval` defines, for registers. It knows no
//! tiles, no threads and no addresses.
//!
//! A register holds an element as its *carrier*:
//!
//! | dtype | carrier | holds |
//! |---|---|---|
//! | bool | `Bool` | |
//! | 8-, 16-, 32-bit integers | `I32` | the number, filled up with its sign or with zeros |
//! | i64, u64 | `I64` | |
//! | f8, f16, bf16 | `F32` | exactly a value of that dtype |
//! | f32, f64 | `F32`, `F64` | |
//!
//! Every function takes and gives carriers in this form.

mod angle;
mod arith;
mod convert;
mod divide;
mod double;
mod math;
mod random;

#[cfg(test)]
mod tests;

use pantile_ir::{DType, Kind, Scalar, eval};

use crate::simt::{Builder, Ty, Value};

pub(crate) use arith::{binary, combine, is_zero, select, unary};
pub(crate) use convert::{cast, from_unit, to_units, unit_bits};
pub(crate) use random::random;

/// The register type that holds an element.
pub(crate) fn carrier(dtype: DType) -> Ty {
    match (dtype.kind(), dtype.bytes()) {
        (Kind::Bool, _) => Ty::Bool,
        (Kind::Signed | Kind::Unsigned, 8) => Ty::I64,
        (Kind::Signed | Kind::Unsigned, _) => Ty::I32,
        (Kind::Float, 8) => Ty::F64,
        (Kind::Float, _) => Ty::F32,
    }
}

/// A constant of a dtype.
pub(crate) fn constant(b: &mut Builder, dtype: DType, x: Scalar) -> Value {
    let ty = carrier(dtype);
    let bits = match ty {
        Ty::Bool => u64::from(x.as_bool()),
        Ty::I32 => u64::from(eval::wrap(dtype, x.as_i64()) as u32),
        Ty::I64 => x.as_i64() as u64,
        Ty::F32 => u64::from((x.as_f64() as f32).to_bits()),
        Ty::F64 => x.as_f64().to_bits(),
    };
    b.constant(ty, bits)
}

/// A constant of a dtype, from an integer that it holds.
fn integer(b: &mut Builder, dtype: DType, n: i64) -> Value {
    constant(b, dtype, Scalar::Int(n))
}

/// A constant of a float type.
fn float(b: &mut Builder, ty: Ty, x: f64) -> Value {
    let bits = if ty == Ty::F64 { x.to_bits() } else { u64::from((x as f32).to_bits()) };
    b.constant(ty, bits)
}

/// The integer type as wide as a float type.
fn bits_of(ty: Ty) -> Ty {
    match ty {
        Ty::F64 | Ty::I64 => Ty::I64,
        Ty::F32 | Ty::I32 | Ty::Bool => Ty::I32,
    }
}

/// A float's bits as an integer of its width.
fn to_bits(b: &mut Builder, x: Value) -> Value {
    let ty = bits_of(b.ty(x));
    b.convert(crate::simt::Convert::Bits(ty), x)
}

/// The float whose bits an integer of its width holds.
fn from_bits(b: &mut Builder, x: Value) -> Value {
    let ty = if b.ty(x) == Ty::I64 { Ty::F64 } else { Ty::F32 };
    b.convert(crate::simt::Convert::Bits(ty), x)
}

/// Horner's rule, highest power first.
fn polynomial(b: &mut Builder, x: Value, coefficients: &[f64]) -> Value {
    let ty = b.ty(x);
    let mut sum = float(b, ty, coefficients[0]);
    for c in &coefficients[1..] {
        let c = float(b, ty, *c);
        sum = b.fma(sum, x, c);
    }
    sum
}

/// `a · k + c` of floats.
fn fma_const(b: &mut Builder, a: Value, k: f64, c: Value) -> Value {
    let k = float(b, b.ty(a), k);
    b.fma(a, k, c)
}

/// `a · k` of floats.
fn mul_const(b: &mut Builder, a: Value, k: f64) -> Value {
    let k = float(b, b.ty(a), k);
    b.mul(a, k)
}

/// `a + k` of floats.
fn add_const(b: &mut Builder, a: Value, k: f64) -> Value {
    let k = float(b, b.ty(a), k);
    b.add(a, k)
}

/// `x < k` of floats.
fn below(b: &mut Builder, x: Value, k: f64) -> Value {
    let k = float(b, b.ty(x), k);
    b.compare(crate::simt::Compare::Lt, x, k)
}

/// `size` with the sign of `x`, where `size` is not negative.
fn with_sign(b: &mut Builder, size: Value, x: Value) -> Value {
    let sign = if b.ty(x) == Ty::F64 { i64::MIN } else { i64::from(i32::MIN) };
    let (size, x) = (to_bits(b, size), to_bits(b, x));
    let sign = b.and_const(x, sign);
    let both = b.binary(crate::simt::Binary::Or, size, sign);
    from_bits(b, both)
}
