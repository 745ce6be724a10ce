//! Transcendental functions of f32 and what is smaller, on the machine's approximations where those are good enough:
//! within about 4 units in the last place of f32, and for a small float within its own rounding. Rounding to it is
//! the caller's business.
//!
//! Special values are exact: `exp2(-inf) = 0`, `exp2(inf) = inf`, `log(0) = -inf`, `log(x < 0)` is NaN, `sin(inf)` is NaN,
//! and a NaN gives a NaN. Denormal results of `exp`, `exp2` and `sigmoid` are 0.

use pantile_ir::{DType, UnaryOp};

use super::{add_const, angle, below, float, fma_const, from_bits, mul_const, polynomial, to_bits, with_sign};
use crate::simt::{Binary, Builder, Compare, Convert, Ty, Unary, Value};

/// `op x` of an F32; what is not transcendental stays as it is.
pub(super) fn transcendental(b: &mut Builder, op: UnaryOp, dtype: DType, x: Value) -> Value {
    let small = dtype.bytes() < 4;
    match op {
        UnaryOp::Exp => exp(b, small, x),
        UnaryOp::Exp2 => b.unary(Unary::Ex2, x),
        UnaryOp::Log if small => {
            let y = b.unary(Unary::Lg2, x);
            mul_const(b, y, std::f64::consts::LN_2)
        }
        UnaryOp::Log => log(b, x),
        UnaryOp::Log2 if small => b.unary(Unary::Lg2, x),
        UnaryOp::Log2 => log2(b, x),
        UnaryOp::Sqrt => b.unary(Unary::Sqrt, x),
        UnaryOp::Rsqrt => rsqrt(b, dtype, x),
        UnaryOp::Sin => angle::wave(b, false, dtype, x),
        UnaryOp::Cos => angle::wave(b, true, dtype, x),
        // Its relative error of 2^-11 is below half a step of these.
        UnaryOp::Tanh if small && dtype != DType::F16 => b.unary(Unary::TanhApprox, x),
        UnaryOp::Tanh => tanh(b, x),
        UnaryOp::Erf => erf(b, x),
        UnaryOp::Sigmoid => {
            let minus = b.unary(Unary::Neg, x);
            let power = exp(b, small, minus);
            let sum = add_const(b, power, 1.0);
            b.unary(Unary::Rcp, sum)
        }
        UnaryOp::Neg | UnaryOp::Not | UnaryOp::Abs | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round => x,
    }
}

/// log2 e in two parts.
const LOG2_E: [f64; 2] = [1.442_695_021_629_333_5, 1.925_963_033_500_947e-8];

/// `(log(1 + t) - t + t²/2) / t³` (Cephes).
const LOG: [f64; 9] = [
    7.037_683_6e-2,
    -0.115_146_1,
    0.116_769_99,
    -0.124_201_41,
    0.142_493_22,
    -0.166_680_58,
    0.200_007_15,
    -0.249_999_94,
    0.333_333_3,
];

/// `(tanh x - x) / x³` in x², for |x| < 0.625 (Cephes).
const TANH: [f64; 5] = [-5.704_988_7e-3, 2.063_908_8e-2, -5.373_971_6e-2, 0.133_314_43, -0.333_332_8];

/// `(erf x - x) / x` in x², for |x| < 0.927 (Juffa).
const ERF_NEAR: [f64; 6] = [-5.967_617e-4, 4.991_194e-3, -2.676_813_5e-2, 0.112_819_925, -0.376_125_34, 0.128_379_17];

/// `(log(1 - erf x) + x) / x` in x, for larger x (Juffa).
const ERF_FAR: [f64; 7] =
    [-1.728_534_7e-5, 3.831_97e-4, -3.883_964_4e-3, 2.425_462_2e-2, -0.106_777_88, -0.634_846_7, -0.128_717_51];

/// The power of two of `x · log2 e`: rounded to one f32 for a small float; else the product's rest, to first order,
/// corrects the power.
fn exp(b: &mut Builder, small: bool, x: Value) -> Value {
    if small {
        let power = mul_const(b, x, LOG2_E[0]);
        return b.unary(Unary::Ex2, power);
    }
    // The ends are where results are 0 and infinite. At the upper one the rest is positive: infinity stays infinity.
    let (least, greatest) = (float(b, Ty::F32, -104.0), float(b, Ty::F32, f64::from(f32::from_bits(0x42b1_7218))));
    let x = b.binary(Binary::Max, x, least);
    let x = b.binary(Binary::Min, x, greatest);
    let high = mul_const(b, x, LOG2_E[0]);
    let minus = b.unary(Unary::Neg, high);
    let low = fma_const(b, x, LOG2_E[0], minus);
    let low = fma_const(b, x, LOG2_E[1], low);
    let power = b.unary(Unary::Ex2, high);
    let low = mul_const(b, low, std::f64::consts::LN_2);
    b.fma(power, low, power)
}

/// A positive float as `(n, m)`, `2^n · m` with m between √½ and √2. Both are floats of its type.
pub(super) fn split(b: &mut Builder, x: Value) -> (Value, Value) {
    let ty = b.ty(x);
    // The least normal number, bits of a mantissa, a power of two that makes a denormal normal, and √½.
    let (least, stored, lift, root) = match ty {
        Ty::F64 => (f64::MIN_POSITIVE, 52, 54, std::f64::consts::FRAC_1_SQRT_2.to_bits() as i64),
        Ty::F32 | Ty::Bool | Ty::I32 | Ty::I64 => {
            (f64::from(f32::MIN_POSITIVE), 23, 24, i64::from(std::f32::consts::FRAC_1_SQRT_2.to_bits()))
        }
    };
    let denormal = below(b, x, least);
    let lifted = mul_const(b, x, f64::from(lift as f32).exp2());
    let x = b.select(denormal, lifted, x);
    let (lower, zero) = (float(b, ty, -f64::from(lift)), float(b, ty, 0.0));
    let shift = b.select(denormal, lower, zero);
    let bits = to_bits(b, x);
    let over = b.add_const(bits, -root);
    let by = b.constant(b.ty(bits), stored);
    let n = b.binary(Binary::Shr, over, by);
    let exponent = b.binary(Binary::Shl, n, by);
    let m = b.sub(bits, exponent);
    let m = from_bits(b, m);
    let n = b.convert(Convert::FromSigned(ty), n);
    (b.add(n, shift), m)
}

/// The logarithm `y` of `x`, put right where x is no positive finite number.
pub(super) fn log_edges(b: &mut Builder, x: Value, y: Value) -> Value {
    let ty = b.ty(x);
    let (zero, nan, minus) = (float(b, ty, 0.0), float(b, ty, f64::NAN), float(b, ty, f64::NEG_INFINITY));
    let finite = below(b, x, f64::INFINITY);
    // Infinity stays, and so does a NaN.
    let y = b.select(finite, y, x);
    let none = b.compare(Compare::Eq, x, zero);
    let y = b.select(none, minus, y);
    let negative = b.compare(Compare::Lt, x, zero);
    b.select(negative, nan, y)
}

/// `(n, t, log(1 + t) - t)` of `x = 2^n · (1 + t)`.
fn log_parts(b: &mut Builder, x: Value) -> (Value, Value, Value) {
    let (n, m) = split(b, x);
    let t = add_const(b, m, -1.0);
    let p = polynomial(b, t, &LOG);
    let p = b.mul(p, t);
    let square = b.mul(t, t);
    let p = b.mul(p, square);
    (n, t, fma_const(b, square, -0.5, p))
}

fn log(b: &mut Builder, x: Value) -> Value {
    let (n, t, p) = log_parts(b, x);
    let p = fma_const(b, n, -2.121_944_4e-4, p);
    let y = b.add(t, p);
    let y = fma_const(b, n, 0.693_359_375, y);
    log_edges(b, x, y)
}

fn log2(b: &mut Builder, x: Value) -> Value {
    let (n, t, p) = log_parts(b, x);
    // log2 e = 1 + 0.4427: the 1 is added last, to lose nothing of it.
    let part = std::f64::consts::LOG2_E - 1.0;
    let y = mul_const(b, p, part);
    let y = fma_const(b, t, part, y);
    let y = b.add(y, p);
    let y = b.add(y, t);
    let y = b.add(y, n);
    log_edges(b, x, y)
}

fn rsqrt(b: &mut Builder, dtype: DType, x: Value) -> Value {
    // The instruction takes denormals for 0; only these dtypes have any.
    if !matches!(dtype, DType::F32 | DType::BF16) {
        return b.unary(Unary::Rsqrt, x);
    }
    let denormal = below(b, x, f64::from(f32::MIN_POSITIVE));
    let lifted = mul_const(b, x, 16_777_216.0);
    let x = b.select(denormal, lifted, x);
    let y = b.unary(Unary::Rsqrt, x);
    let lifted = mul_const(b, y, 4096.0);
    b.select(denormal, lifted, y)
}

fn tanh(b: &mut Builder, x: Value) -> Value {
    let square = b.mul(x, x);
    let p = polynomial(b, square, &TANH);
    let p = b.mul(p, square);
    let near = b.fma(p, x, x);
    let size = b.unary(Unary::Abs, x);
    let twice = b.add(size, size);
    let power = exp(b, false, twice);
    let sum = add_const(b, power, 1.0);
    let part = b.unary(Unary::Rcp, sum);
    let one = float(b, Ty::F32, 1.0);
    let far = fma_const(b, part, -2.0, one);
    let far = with_sign(b, far, x);
    let is_near = below(b, size, 0.625);
    b.select(is_near, near, far)
}

fn erf(b: &mut Builder, x: Value) -> Value {
    let square = b.mul(x, x);
    let p = polynomial(b, square, &ERF_NEAR);
    let near = b.fma(p, x, x);
    let size = b.unary(Unary::Abs, x);
    let ten = float(b, Ty::F32, 10.0);
    let bounded = b.binary(Binary::Min, size, ten);
    let p = polynomial(b, bounded, &ERF_FAR);
    let minus = b.unary(Unary::Neg, bounded);
    let p = b.fma(p, bounded, minus);
    let power = exp(b, false, p);
    let one = float(b, Ty::F32, 1.0);
    let far = b.sub(one, power);
    let far = with_sign(b, far, x);
    let is_near = below(b, size, 0.927_734_4);
    b.select(is_near, near, far)
}
