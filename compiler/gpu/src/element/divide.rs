//! Division of integers, which traps nowhere and overflows as two's complement does, and exact remainders of floats,
//! which GPUs have no instruction for. The quotient of floats is an instruction.

use pantile_ir::{DType, Kind};

use super::{double, float, integer, is_zero, to_bits, with_sign};
use crate::simt::{Binary, Builder, Compare, Convert, Ty, Unary, Value};

/// The quotient, not normalised, or the remainder. Instead of by zero, it divides by one.
pub(super) fn integers(b: &mut Builder, remainder: bool, dtype: DType, x: Value, y: Value) -> Value {
    let signed = dtype.kind() == Kind::Signed;
    let op = match (remainder, signed) {
        (false, true) => Binary::Div,
        (false, false) => Binary::UDiv,
        (true, true) => Binary::Rem,
        (true, false) => Binary::URem,
    };
    let one = integer(b, dtype, 1);
    let zero = is_zero(b, dtype, y);
    let by = b.select(zero, one, y);
    if !signed || dtype.bytes() < 4 {
        return b.binary(op, x, by);
    }
    // The least integer over -1 is no instruction's business.
    let minus = integer(b, dtype, -1);
    let flips = b.compare(Compare::Eq, y, minus);
    let by = b.select(flips, one, by);
    let z = b.binary(op, x, by);
    if remainder {
        return z;
    }
    let zero = integer(b, dtype, 0);
    let negative = b.sub(zero, z);
    b.select(flips, negative, z)
}

/// A positive float as `mantissa · 2^(exponent + LEAST)`, the least exponent of its type being 2^LEAST for 1.
struct Parts {
    /// I64.
    mantissa: Value,
    /// I32, at least 1.
    exponent: Value,
}

/// Bits of a mantissa, with the implied one.
fn precision(ty: Ty) -> u32 {
    if ty == Ty::F64 { 53 } else { 24 }
}

fn parts(b: &mut Builder, size: Value) -> Parts {
    let stored = precision(b.ty(size)) - 1;
    let bits = to_bits(b, size);
    let bits = if b.ty(bits) == Ty::I64 { bits } else { b.zero_extend(Ty::I64, bits) };
    let field = b.shr_const(bits, stored);
    let field = b.convert(Convert::Truncate, field);
    let fraction = b.and_const(bits, (1 << stored) - 1);
    let whole = b.i64(1 << stored);
    let with_one = b.binary(Binary::Or, fraction, whole);
    let (zero, one) = (b.i32(0), b.i32(1));
    let denormal = b.compare(Compare::Eq, field, zero);
    let mantissa = b.select(denormal, fraction, with_one);
    let exponent = b.select(denormal, one, field);
    Parts { mantissa, exponent }
}

/// `x % y` with the sign of `x`, exactly: the long division of the mantissas, as many bits a step as 64 have room for.
pub(super) fn floats(b: &mut Builder, x: Value, y: Value) -> Value {
    let ty = b.ty(x);
    let (whole, part) = (b.unary(Unary::Abs, x), b.unary(Unary::Abs, y));
    let smaller = b.compare(Compare::Lt, whole, part);
    let (p, q) = (parts(b, whole), parts(b, part));
    let (zero, one) = (b.i64(0), b.i64(1));
    let none = b.compare(Compare::Eq, q.mantissa, zero);
    let by = b.select(none, one, q.mantissa);
    let rest = b.binary(Binary::URem, p.mantissa, by);
    let distance = b.sub(p.exponent, q.exponent);
    let step = b.i32(64 - precision(ty) as i32);
    let end = b.repeat(
        &[rest, distance],
        |b, carried| {
            let zero = b.i32(0);
            b.compare(Compare::Gt, carried[1], zero)
        },
        |b, carried| {
            let now = b.binary(Binary::Min, carried[1], step);
            let wide = b.zero_extend(Ty::I64, now);
            let rest = b.binary(Binary::Shl, carried[0], wide);
            let rest = b.binary(Binary::URem, rest, by);
            vec![rest, b.sub(carried[1], now)]
        },
    );
    let rest = b.convert(Convert::FromUnsigned(Ty::F64), end[0]);
    let least = if ty == Ty::F64 { -1075 } else { -150 };
    let exponent = b.add_const(q.exponent, least);
    let size = double::scale(b, rest, exponent);
    let size = if ty == Ty::F64 { size } else { b.convert(Convert::Float(Ty::F32), size) };
    let size = b.select(smaller, whole, size);
    let y = with_sign(b, size, x);
    let (zero, infinity, nan) = (float(b, ty, 0.0), float(b, ty, f64::INFINITY), float(b, ty, f64::NAN));
    let divides = b.compare(Compare::Gt, part, zero);
    let finite = b.compare(Compare::Lt, whole, infinity);
    let defined = b.and(divides, finite);
    b.select(defined, y, nan)
}
