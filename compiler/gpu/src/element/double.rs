//! Transcendental functions of f64, within 1e-14 of the value: series after a reduction of the argument, without tables.
//! They are there to be right; speed is the business of f32.

use pantile_ir::UnaryOp;

use super::{add_const, angle, below, float, fma_const, from_bits, math, mul_const, polynomial, to_bits, with_sign};
use crate::simt::{Binary, Builder, Compare, Convert, Ty, Unary, Value};

/// `op x` of an F64; what is not transcendental stays as it is.
pub(super) fn transcendental(b: &mut Builder, op: UnaryOp, x: Value) -> Value {
    match op {
        UnaryOp::Exp => exp(b, x),
        UnaryOp::Exp2 => exp2(b, x),
        UnaryOp::Log => log(b, x, false),
        UnaryOp::Log2 => log(b, x, true),
        UnaryOp::Sqrt => b.unary(Unary::Sqrt, x),
        UnaryOp::Rsqrt => {
            let root = b.unary(Unary::Sqrt, x);
            over(b, 1.0, root)
        }
        UnaryOp::Sin => angle::wave(b, false, pantile_ir::DType::F64, x),
        UnaryOp::Cos => angle::wave(b, true, pantile_ir::DType::F64, x),
        UnaryOp::Tanh => tanh(b, x),
        UnaryOp::Erf => erf(b, x),
        UnaryOp::Sigmoid => {
            let minus = b.unary(Unary::Neg, x);
            let power = exp(b, minus);
            let sum = add_const(b, power, 1.0);
            over(b, 1.0, sum)
        }
        UnaryOp::Neg | UnaryOp::Not | UnaryOp::Abs | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round => x,
    }
}

/// Where f64s lose their fraction when added: 1.5 · 2^52. The sum's low bits are the rounded number.
pub(super) const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// ln 2 in two parts.
const LN_2: [f64; 2] = [std::f64::consts::LN_2, 2.319_046_813_846_299_6e-17];

/// `1/n!, …, 1/2, 1`: (e^r - 1) / r.
fn exp_series() -> Vec<f64> {
    let mut terms: Vec<f64> = vec![1.0];
    for n in 2..=13 {
        terms.push(terms[n - 2] / n as f64);
    }
    terms.reverse();
    terms
}

fn over(b: &mut Builder, k: f64, x: Value) -> Value {
    let k = float(b, Ty::F64, k);
    b.binary(Binary::Div, k, x)
}

/// `x · 2^n` for an I32 n within ±2044.
pub(super) fn scale(b: &mut Builder, x: Value, n: Value) -> Value {
    let one = b.i32(1);
    let half = b.binary(Binary::Shr, n, one);
    let rest = b.sub(n, half);
    [half, rest].into_iter().fold(x, |x, n| {
        let field = b.add_const(n, 1023);
        let field = b.sign_extend(field);
        let bits = b.mul_const(field, 1 << 52);
        let power = from_bits(b, bits);
        b.mul(x, power)
    })
}

fn clamp(b: &mut Builder, x: Value, low: f64, high: f64) -> Value {
    let (low, high) = (float(b, Ty::F64, low), float(b, Ty::F64, high));
    let x = b.binary(Binary::Max, x, low);
    b.binary(Binary::Min, x, high)
}

/// `e^r · 2^n`, where `rounded` is n + [`ROUNDER`].
fn power(b: &mut Builder, r: Value, rounded: Value) -> Value {
    let part = polynomial(b, r, &exp_series());
    let one = float(b, Ty::F64, 1.0);
    let part = b.fma(part, r, one);
    let bits = to_bits(b, rounded);
    let n = b.convert(Convert::Truncate, bits);
    scale(b, part, n)
}

fn exp(b: &mut Builder, x: Value) -> Value {
    let x = clamp(b, x, -746.0, 710.0);
    let rounder = float(b, Ty::F64, ROUNDER);
    let rounded = fma_const(b, x, std::f64::consts::LOG2_E, rounder);
    let n = b.sub(rounded, rounder);
    let r = fma_const(b, n, -LN_2[0], x);
    let r = fma_const(b, n, -LN_2[1], r);
    power(b, r, rounded)
}

fn exp2(b: &mut Builder, x: Value) -> Value {
    let x = clamp(b, x, -1077.0, 1025.0);
    let rounded = add_const(b, x, ROUNDER);
    let n = add_const(b, rounded, -ROUNDER);
    let r = b.sub(x, n);
    let r = mul_const(b, r, LN_2[0]);
    power(b, r, rounded)
}

/// Natural, or to base 2. With s = (m-1)/(m+1), log m = 2·(s + s³/3 + s⁵/5 + …).
fn log(b: &mut Builder, x: Value, binary: bool) -> Value {
    let (n, m) = math::split(b, x);
    let (above, sum) = (add_const(b, m, -1.0), add_const(b, m, 1.0));
    let s = b.binary(Binary::Div, above, sum);
    let square = b.mul(s, s);
    let series: Vec<f64> = (1..=11).rev().map(|k| 2.0 / f64::from(2 * k + 1)).collect();
    let p = polynomial(b, square, &series);
    let p = b.mul(p, square);
    let p = b.mul(p, s);
    let part = fma_const(b, s, 2.0, p);
    let y = if binary {
        fma_const(b, part, std::f64::consts::LOG2_E, n)
    } else {
        let low = fma_const(b, n, LN_2[1], part);
        fma_const(b, n, LN_2[0], low)
    };
    math::log_edges(b, x, y)
}

fn tanh(b: &mut Builder, x: Value) -> Value {
    let twice = b.add(x, x);
    let part = polynomial(b, twice, &exp_series());
    let part = b.mul(part, twice);
    let sum = add_const(b, part, 2.0);
    let near = b.binary(Binary::Div, part, sum);
    let size = b.unary(Unary::Abs, x);
    let twice = b.add(size, size);
    let power = exp(b, twice);
    let sum = add_const(b, power, 1.0);
    let part = over(b, -2.0, sum);
    let far = add_const(b, part, 1.0);
    let far = with_sign(b, far, x);
    // Up to here the series is good, and beyond it the difference loses three bits at most.
    let is_near = below(b, size, 0.17);
    b.select(is_near, near, far)
}

/// `2/√π · e^(-x²) · (x + 2x³/3 + 4x⁵/15 + …)`: all terms have one sign. From 6 on it is 1.
fn erf(b: &mut Builder, x: Value) -> Value {
    let size = b.unary(Unary::Abs, x);
    let six = float(b, Ty::F64, 6.0);
    let size = b.binary(Binary::Min, size, six);
    let square = b.mul(size, size);
    let minus = b.unary(Unary::Neg, square);
    let lost = b.fma(size, size, minus);
    let twice = b.add(square, square);
    let one = float(b, Ty::F64, 1.0);
    let ends = b.repeat(
        &[size, size, one],
        |b, carried| {
            let least = mul_const(b, carried[1], 1e-17);
            b.compare(Compare::Gt, carried[0], least)
        },
        |b, carried| {
            let odd = add_const(b, carried[2], 2.0);
            let factor = b.binary(Binary::Div, twice, odd);
            let term = b.mul(carried[0], factor);
            vec![term, b.add(carried[1], term), odd]
        },
    );
    let power = exp(b, minus);
    let minus = b.unary(Unary::Neg, power);
    let power = b.fma(minus, lost, power);
    let power = mul_const(b, power, std::f64::consts::FRAC_2_SQRT_PI);
    let y = b.mul(power, ends[1]);
    let y = b.binary(Binary::Min, y, one);
    with_sign(b, y, x)
}
