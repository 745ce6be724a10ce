//! Sine and cosine of f32 (4 units in the last place) and f64 (1e-14), for arguments of any size. The angle is reduced
//! to a quarter turn: by π/2 in three parts up to a limit, beyond it by as many bits of 2/π as the argument asks for
//! (Payne and Hanek), in a branch of its own.

use pantile_ir::DType;

use super::{below, double, float, fma_const, mul_const, polynomial, to_bits};
use crate::simt::{Binary, Builder, Compare, Convert, Ty, Unary, Value};

/// `(sin r - r) / r³` and `(cos r - 1 + r²/2) / r⁴` in r², for |r| ≤ π/4, in f32 (Cephes).
const SIN: [f64; 3] = [-1.951_529_6e-4, 8.332_161e-3, -0.166_666_55];
const COS: [f64; 3] = [2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2];

/// 2/π, 64 bits a word, the first of weight 1/2.
const TWO_OVER_PI: [u64; 19] = [
    0xa2f9_836e_4e44_1529,
    0xfc27_57d1_f534_ddc0,
    0xdb62_9599_3c43_9041,
    0xfe51_63ab_debb_c561,
    0xb724_6e3a_424d_d2e0,
    0x0649_2eea_09d1_921c,
    0xfe1d_eb1c_b129_a73e,
    0xe882_35f5_2ebb_4484,
    0xe99c_7026_b45f_7e41,
    0x3991_d639_8353_39f4,
    0x9c84_5f8b_bdf9_283b,
    0x1ff8_97ff_de05_980f,
    0xef2f_118b_5a0a_6d1f,
    0x6d36_7ecf_27cb_09b7,
    0x4f46_3f66_9e5f_ea2d,
    0x7527_bac7_ebe5_f17b,
    0x3d07_39f7_8a52_92ea,
    0x6bfb_5fb1_1f8d_5d08,
    0x5603_3046_fc7b_6bab,
];

/// An angle as `rest + quadrant · π/2`, |rest| ≤ π/4 or a little more.
#[derive(Clone, Copy)]
struct Angle {
    /// A float of the argument's type.
    rest: Value,
    /// I32; its two lowest bits count.
    quadrant: Value,
}

/// Sine, or cosine, of an F32 or F64 that holds a value of `dtype`.
pub(super) fn wave(b: &mut Builder, cosine: bool, dtype: DType, x: Value) -> Value {
    let limit = if b.ty(x) == Ty::F64 { f64::from(1u32 << 30) } else { 65536.0 };
    let angle = if matches!(dtype, DType::F64 | DType::F32 | DType::BF16) {
        let size = b.unary(Unary::Abs, x);
        let fits = below(b, size, limit);
        let ends = b.branch(
            fits,
            |b| {
                let near = reduce(b, x);
                vec![near.rest, near.quadrant]
            },
            |b| {
                let far = reduce_far(b, x);
                vec![far.rest, far.quadrant]
            },
        );
        Angle { rest: ends[0], quadrant: ends[1] }
    } else {
        reduce(b, x)
    };
    quarter(b, cosine, angle)
}

/// Up to 2^16 in f32, 2^30 in f64. An infinity leaves a NaN.
fn reduce(b: &mut Builder, x: Value) -> Angle {
    let ty = b.ty(x);
    let (rounder, parts) = if ty == Ty::F64 {
        (double::ROUNDER, [std::f64::consts::FRAC_PI_2, 6.123_233_995_736_766e-17, -1.497_384_904_859_17e-33])
    } else {
        (12_582_912.0, [f64::from(std::f32::consts::FRAC_PI_2), -4.371_138_8e-8, -1.715_124_5e-15])
    };
    let rounder = float(b, ty, rounder);
    let rounded = fma_const(b, x, std::f64::consts::FRAC_2_PI, rounder);
    let n = b.sub(rounded, rounder);
    let rest = parts.iter().fold(x, |rest, part| fma_const(b, n, -part, rest));
    let bits = to_bits(b, rounded);
    let quadrant = if ty == Ty::F64 { b.convert(Convert::Truncate, bits) } else { bits };
    Angle { rest, quadrant }
}

/// From 2^16 on. With `x = m · 2^e`, m an integer of 53 bits, bits of 2/π that give multiples of four quadrants are left
/// out, and the next 192 multiplied by m: the product's two highest bits count quadrants, the others are a fraction.
fn reduce_far(b: &mut Builder, x: Value) -> Angle {
    let ty = b.ty(x);
    let size = b.unary(Unary::Abs, x);
    let wide = if ty == Ty::F64 { size } else { b.convert(Convert::Float(Ty::F64), size) };
    let bits = to_bits(b, wide);
    let field = b.shr_const(bits, 52);
    let fraction = b.and_const(bits, (1 << 52) - 1);
    let one = b.i64(1 << 52);
    let m = b.binary(Binary::Or, fraction, one);
    // The string of bits starts with a word of zeros, so that no position is negative.
    let position = b.add_const(field, 10 - 1023);
    let greatest = if ty == Ty::F64 { 1023 + 10 } else { 127 + 10 };
    let window = window(b, position, greatest);
    let product = multiply(b, m, window);
    let turn = angle_of(b, product);
    let rest = if ty == Ty::F64 { turn.rest } else { b.convert(Convert::Float(ty), turn.rest) };
    let finite = below(b, size, f64::INFINITY);
    let nan = float(b, ty, f64::NAN);
    let rest = b.select(finite, rest, nan);
    let negative = below(b, x, 0.0);
    let (mirrored, zero) = (b.unary(Unary::Neg, rest), b.i32(0));
    let back = b.sub(zero, turn.quadrant);
    Angle { rest: b.select(negative, mirrored, rest), quadrant: b.select(negative, back, turn.quadrant) }
}

/// 192 bits of 64 zeros and 2/π from a bit on, highest word first. The position (I64) is at most `greatest`.
fn window(b: &mut Builder, position: Value, greatest: usize) -> [Value; 3] {
    let word = b.shr_const(position, 6);
    let hits: Vec<Value> = (1..=greatest / 64)
        .map(|n| {
            let n = b.i64(n as i64);
            b.compare(Compare::Eq, word, n)
        })
        .collect();
    let table = |n: usize| if n == 0 { 0 } else { TWO_OVER_PI[n - 1] };
    let words: Vec<Value> = (0..4)
        .map(|nth| {
            let first = b.i64(table(nth) as i64);
            hits.iter().enumerate().fold(first, |found, (n, hit)| {
                let word = b.i64(table(n + 1 + nth) as i64);
                b.select(*hit, word, found)
            })
        })
        .collect();
    let by = b.and_const(position, 63);
    let whole = b.i64(63);
    let back = b.sub(whole, by);
    [0, 1, 2].map(|n| {
        let high = b.binary(Binary::Shl, words[n], by);
        let low = b.shr_const(words[n + 1], 1);
        let low = b.binary(Binary::UShr, low, back);
        b.binary(Binary::Or, high, low)
    })
}

/// The low 192 bits of a product, highest word first.
fn multiply(b: &mut Builder, m: Value, words: [Value; 3]) -> [Value; 3] {
    let low = b.mul(m, words[2]);
    let carry = b.binary(Binary::MulHigh, m, words[2]);
    let part = b.mul(m, words[1]);
    let middle = b.add(part, carry);
    let wraps = b.compare(Compare::ULt, middle, part);
    let carry = b.binary(Binary::MulHigh, m, words[1]);
    let high = b.mul(m, words[0]);
    let high = b.add(high, carry);
    let one = b.zero_extend(Ty::I64, wraps);
    [b.add(high, one), middle, low]
}

/// A number of quadrants, 2 bits before the point and 190 behind it, to the nearest whole one; the rest as F64.
fn angle_of(b: &mut Builder, words: [Value; 3]) -> Angle {
    let mut shifted = |n: usize| {
        let by = b.i64(2);
        let high = b.binary(Binary::Shl, words[n], by);
        let low = b.shr_const(words[n + 1], 62);
        b.binary(Binary::Or, high, low)
    };
    let (high, low) = (shifted(0), shifted(1));
    let quadrant = b.shr_const(words[0], 62);
    let up = b.shr_const(high, 63);
    let quadrant = b.add(quadrant, up);
    let quadrant = b.convert(Convert::Truncate, quadrant);
    let high = b.convert(Convert::FromSigned(Ty::F64), high);
    let low = b.convert(Convert::FromUnsigned(Ty::F64), low);
    let unit = (-64f64).exp2();
    let rest = fma_const(b, low, unit, high);
    let rest = mul_const(b, rest, std::f64::consts::FRAC_PI_2 * unit);
    Angle { rest, quadrant }
}

/// `±1/n!` for n = 17, 15, …, 3 or 16, 14, …, 4: the series of sine and cosine in r².
fn series(cosine: bool) -> Vec<f64> {
    let first = if cosine { 4 } else { 3 };
    let term = |n: usize| {
        let sign = if (n / 2).is_multiple_of(2) { 1.0 } else { -1.0 };
        (2..=n).fold(sign, |term, k| term / k as f64)
    };
    let mut terms: Vec<f64> = (first..18).step_by(2).map(term).collect();
    terms.reverse();
    terms
}

/// Sine or cosine of an angle.
fn quarter(b: &mut Builder, cosine: bool, angle: Angle) -> Value {
    let r = angle.rest;
    let ty = b.ty(r);
    let (sines, cosines) = if ty == Ty::F64 { (series(false), series(true)) } else { (SIN.to_vec(), COS.to_vec()) };
    let square = b.mul(r, r);
    let sin = polynomial(b, square, &sines);
    let sin = b.mul(sin, square);
    let sin = b.fma(sin, r, r);
    let cos = polynomial(b, square, &cosines);
    let fourth = b.mul(square, square);
    let one = float(b, ty, 1.0);
    let half = fma_const(b, square, -0.5, one);
    let cos = b.fma(cos, fourth, half);
    let quadrant = b.add_const(angle.quadrant, i64::from(cosine));
    let (odd, flip) = (b.and_const(quadrant, 1), b.and_const(quadrant, 2));
    let odd = is_set(b, odd);
    let y = b.select(odd, cos, sin);
    let flip = is_set(b, flip);
    let minus = b.unary(Unary::Neg, y);
    b.select(flip, minus, y)
}

fn is_set(b: &mut Builder, bits: Value) -> Value {
    let zero = b.i32(0);
    b.compare(Compare::Ne, bits, zero)
}
