//! Transcendental functions on f32 lane groups of both widths, within about 4 units in the last place; f64 goes through
//! the Rust functions that define it, lane by lane. Rounding to smaller floats is `convert.rs`'s business.
//!
//! Special values are exact: `exp2(-inf) = 0`, `exp2(inf) = inf`, `log(0) = -inf`, `log(x < 0)` is NaN, `sin(inf)` is NaN,
//! and a NaN gives a NaN. `exp2` below -125.5 and `exp` below -86.99 give 0, up to half a binade before results become
//! denormal.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, Value, types};
use pantile_ir::{DType, UnaryOp};

use crate::arith::{any_true, bare_extreme, choose};
use crate::vector::{Carrier, Lanes, Width, bits_as, carrier, constant, lanewise, shuffle32};
use crate::{Emit, convert, host};

/// `op x`, not rounded to a small dtype yet; ops that are not transcendental are `arith.rs`'s and leave it as it is.
pub(crate) fn transcendental(e: &mut Emit<'_>, op: UnaryOp, x: Lanes) -> Lanes {
    if carrier(x.dtype) == Carrier::Float64 {
        return lanewise(e, &[x], |e, x| host::unary(e, op, x[0]));
    }
    if matches!(op, UnaryOp::Sin | UnaryOp::Cos) {
        return wave(e, op, x);
    }
    x.map(x.dtype, |v| {
        let mut f = F32 { e, width: x.width };
        match op {
            UnaryOp::Exp => f.exp(v),
            UnaryOp::Exp2 => f.exp2(v),
            UnaryOp::Log => f.log(v),
            UnaryOp::Log2 => f.log2(v),
            UnaryOp::Rsqrt => f.rsqrt(v),
            UnaryOp::Tanh => f.tanh(v),
            UnaryOp::Erf => f.erf(v),
            UnaryOp::Sigmoid => f.sigmoid(v),
            UnaryOp::Neg
            | UnaryOp::Not
            | UnaryOp::Abs
            | UnaryOp::Sqrt
            | UnaryOp::Sin
            | UnaryOp::Cos
            | UnaryOp::Floor
            | UnaryOp::Ceil
            | UnaryOp::Round => v,
        }
    })
}

/// Where f32s lose their fraction when added: 1.5 · 2^23. The sum's low bits are the rounded number.
const ROUNDER: f32 = 12_582_912.0;

/// `2 · 2^f` for |f| ≤ 1/2, highest power first.
const EXP2: [f32; 6] = [2.652_945_4e-3, 1.934_302_5e-2, 0.111_014_68, 0.480_444_84, 1.386_294, 2.0];

/// `2 · e^f` for |f| ≤ ln 2 / 2, highest power first.
const EXP: [f32; 7] = [2.768_730_7e-3, 1.674_831_1e-2, 8.333_6e-2, 0.333_328_62, 0.999_999_9, 2.0, 2.0];

/// `(log(1 + t) - t + t²/2) / t³` (Cephes).
const LOG: [f32; 9] = [
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
const TANH: [f32; 5] = [-5.704_988_7e-3, 2.063_908_8e-2, -5.373_971_6e-2, 0.133_314_43, -0.333_332_8];

/// `(erf x - x) / x` in x², for |x| < 0.927 (Juffa).
const ERF_NEAR: [f32; 6] = [-5.967_617e-4, 4.991_194e-3, -2.676_813_5e-2, 0.112_819_925, -0.376_125_34, 0.128_379_17];

/// `(log(1 - erf x) + x) / x` in x, for larger x (Juffa).
const ERF_FAR: [f32; 7] =
    [-1.728_534_7e-5, 3.831_97e-4, -3.883_964_4e-3, 2.425_462_2e-2, -0.106_777_88, -0.634_846_7, -0.128_717_51];

/// `(sin r - r) / r³` and `(cos r - 1 + r²/2) / r⁴` in r², for |r| ≤ π/4 (Cephes).
const SIN: [f32; 3] = [-1.951_529_6e-4, 8.332_161e-3, -0.166_666_55];
const COS: [f32; 3] = [2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2];

/// Emits f32 arithmetic of one width.
struct F32<'e, 'a> {
    e: &'e mut Emit<'a>,
    width: Width,
}

impl F32<'_, '_> {
    fn k(&mut self, x: f32) -> Value {
        convert::float(self.e, self.width, x)
    }

    fn bits(&mut self, bits: u32) -> Value {
        convert::int_bits(self.e, self.width, bits)
    }

    fn int(&mut self, x: Value) -> Value {
        convert::to_bits(self.e, self.width, x)
    }

    fn float(&mut self, x: Value) -> Value {
        convert::from_bits(self.e, self.width, x)
    }

    fn mul(&mut self, a: Value, b: Value) -> Value {
        self.e.ins().fmul(a, b)
    }

    fn add(&mut self, a: Value, b: Value) -> Value {
        self.e.ins().fadd(a, b)
    }

    fn sub(&mut self, a: Value, b: Value) -> Value {
        self.e.ins().fsub(a, b)
    }

    fn fma(&mut self, a: Value, b: Value, c: Value) -> Value {
        self.e.ins().fma(a, b, c)
    }

    /// `a · k + c`.
    fn fma_k(&mut self, a: Value, k: f32, c: Value) -> Value {
        let k = self.k(k);
        self.e.ins().fma(a, k, c)
    }

    fn less(&mut self, a: Value, b: Value) -> Value {
        self.e.ins().fcmp(FloatCC::LessThan, a, b)
    }

    fn pick(&mut self, cond: Value, a: Value, b: Value) -> Value {
        choose(self.e, cond, a, b)
    }

    /// Horner's rule, highest power first.
    fn poly(&mut self, x: Value, coefficients: &[f32]) -> Value {
        let first = self.k(coefficients[0]);
        coefficients[1..].iter().fold(first, |sum, c| {
            let c = self.k(*c);
            self.fma(sum, x, c)
        })
    }

    /// `x` between two numbers; a NaN stays.
    fn clamp(&mut self, x: Value, low: f32, high: f32) -> Value {
        let (low, high) = (self.k(low), self.k(high));
        let x = bare_extreme(self.e, false, low, x);
        bare_extreme(self.e, true, high, x)
    }

    /// `size` with the sign of `x`, where `size` is not negative.
    fn with_sign(&mut self, size: Value, x: Value) -> Value {
        let sign = self.bits(0x8000_0000);
        let x = self.int(x);
        let sign = self.e.ins().band(x, sign);
        let size = self.int(size);
        let both = self.e.ins().bor(size, sign);
        self.float(both)
    }

    /// `p · 2^(n-1)`, where `rounded` is `n + ROUNDER + 126`. The exponent is set by a shift that drops all else: at
    /// n = -126 the factor is exactly 0, at n = 128 it is 2^127, and `p` carries the missing 2. A NaN in `p` stays.
    fn scale(&mut self, p: Value, rounded: Value) -> Value {
        let bits = self.int(rounded);
        let power = self.e.ins().ishl_imm_u(bits, 23);
        let power = self.float(power);
        self.mul(p, power)
    }

    fn exp2(&mut self, x: Value) -> Value {
        let x = self.clamp(x, -126.0, 128.0);
        let rounder = self.k(ROUNDER + 126.0);
        let rounded = self.add(x, rounder);
        let whole = self.sub(rounded, rounder);
        let rest = self.sub(x, whole);
        let p = self.poly(rest, &EXP2);
        self.scale(p, rounded)
    }

    fn exp(&mut self, x: Value) -> Value {
        // Past these ends n is -126 and 128: the results are 0 and infinity.
        let x = self.clamp(x, -87.34, 88.73);
        let rounder = self.k(ROUNDER + 126.0);
        let rounded = self.fma_k(x, std::f32::consts::LOG2_E, rounder);
        let whole = self.sub(rounded, rounder);
        let rest = self.fma_k(whole, -0.693_145_75, x);
        let rest = self.fma_k(whole, -1.428_606_8e-6, rest);
        let p = self.poly(rest, &EXP);
        self.scale(p, rounded)
    }

    /// A positive number as `2^n · (1 + t)` with 1 + t between √½ and √2: `(n, t, t³ · poly - t²/2)`.
    fn log_parts(&mut self, x: Value) -> (Value, Value, Value) {
        let (least, lift) = (self.k(f32::MIN_POSITIVE), self.k(8_388_608.0));
        let denormal = self.less(x, least);
        let lifted = self.mul(x, lift);
        let x = self.pick(denormal, lifted, x);
        let (lower, zero) = (self.k(-23.0), self.k(0.0));
        let n0 = self.pick(denormal, lower, zero);
        let bits = self.int(x);
        let half_root = self.bits(0x3f35_04f3);
        let over = self.e.ins().isub(bits, half_root);
        let n = self.e.ins().sshr_imm_u(over, 23);
        let exponent = self.e.ins().ishl_imm_u(n, 23);
        let mantissa = self.e.ins().isub(bits, exponent);
        let mantissa = self.float(mantissa);
        let ty = self.e.ty(x);
        let n = self.e.ins().fcvt_from_sint(ty, n);
        let n = self.add(n, n0);
        let one = self.k(1.0);
        let t = self.sub(mantissa, one);
        let p = self.poly(t, &LOG);
        let p = self.mul(p, t);
        let square = self.mul(t, t);
        let p = self.mul(p, square);
        let p = self.fma_k(square, -0.5, p);
        (n, t, p)
    }

    fn log(&mut self, x: Value) -> Value {
        let (n, t, p) = self.log_parts(x);
        let p = self.fma_k(n, -2.121_944_4e-4, p);
        let y = self.add(t, p);
        let y = self.fma_k(n, 0.693_359_4, y);
        self.log_edges(x, y)
    }

    fn log2(&mut self, x: Value) -> Value {
        let (n, t, p) = self.log_parts(x);
        // log2 e = 1 + 0.4427: the 1 is added last, to lose nothing of it.
        let part = std::f32::consts::LOG2_E - 1.0;
        let y = self.k(part);
        let y = self.mul(p, y);
        let y = self.fma_k(t, part, y);
        let y = self.add(y, p);
        let y = self.add(y, t);
        let y = self.add(y, n);
        self.log_edges(x, y)
    }

    fn log_edges(&mut self, x: Value, y: Value) -> Value {
        let (zero, infinity) = (self.k(0.0), self.k(f32::INFINITY));
        let minus = self.k(f32::NEG_INFINITY);
        let nan = self.k(f32::NAN);
        let finite = self.less(x, infinity);
        // Infinity stays, and so does a NaN.
        let y = self.pick(finite, y, x);
        let is_zero = self.e.ins().fcmp(FloatCC::Equal, x, zero);
        let y = self.pick(is_zero, minus, y);
        let negative = self.less(x, zero);
        self.pick(negative, nan, y)
    }

    fn rsqrt(&mut self, x: Value) -> Value {
        let root = self.e.ins().sqrt(x);
        let one = self.k(1.0);
        self.e.ins().fdiv(one, root)
    }

    fn sigmoid(&mut self, x: Value) -> Value {
        let minus = self.e.ins().fneg(x);
        let power = self.exp(minus);
        let one = self.k(1.0);
        let below = self.add(power, one);
        self.e.ins().fdiv(one, below)
    }

    fn tanh(&mut self, x: Value) -> Value {
        let square = self.mul(x, x);
        let p = self.poly(square, &TANH);
        let p = self.mul(p, square);
        let near = self.fma(p, x, x);
        let size = self.e.ins().fabs(x);
        let twice = self.add(size, size);
        let power = self.exp(twice);
        let one = self.k(1.0);
        let below = self.add(power, one);
        let two = self.k(-2.0);
        let part = self.e.ins().fdiv(two, below);
        let far = self.add(part, one);
        let far = self.with_sign(far, x);
        let limit = self.k(0.625);
        let is_near = self.less(size, limit);
        self.pick(is_near, near, far)
    }

    fn erf(&mut self, x: Value) -> Value {
        let square = self.mul(x, x);
        let p = self.poly(square, &ERF_NEAR);
        let near = self.fma(p, x, x);
        let size = self.e.ins().fabs(x);
        let ten = self.k(10.0);
        let bounded = bare_extreme(self.e, true, ten, size);
        let p = self.poly(bounded, &ERF_FAR);
        let minus = self.e.ins().fneg(bounded);
        let p = self.fma(p, bounded, minus);
        let power = self.exp(p);
        let one = self.k(1.0);
        let far = self.sub(one, power);
        let far = self.with_sign(far, x);
        let limit = self.k(0.927_734_4);
        let is_near = self.less(size, limit);
        self.pick(is_near, near, far)
    }

    /// Sine or cosine of `r + quadrant · π/2` for |r| ≤ π/4.
    fn quarter(&mut self, cosine: bool, r: Value, quadrant: Value) -> Value {
        let square = self.mul(r, r);
        let sin = self.poly(square, &SIN);
        let sin = self.mul(sin, square);
        let sin = self.fma(sin, r, r);
        let cos = self.poly(square, &COS);
        let fourth = self.mul(square, square);
        let one = self.k(1.0);
        let half = self.fma_k(square, -0.5, one);
        let cos = self.fma(cos, fourth, half);
        let shift = self.bits(u32::from(cosine));
        let quadrant = self.e.ins().iadd(quadrant, shift);
        let (one, two) = (self.bits(1), self.bits(2));
        let odd = self.e.ins().band(quadrant, one);
        let odd = self.e.ins().icmp(IntCC::Equal, odd, one);
        let y = self.pick(odd, cos, sin);
        let flip = self.e.ins().band(quadrant, two);
        let flip = self.e.ins().ishl_imm_u(flip, 30);
        let y = self.int(y);
        let y = self.e.ins().bxor(y, flip);
        self.float(y)
    }
}

/// Sine or cosine. Quadrants are counted in f64, which is exact enough up to 2^30; a group with a larger number in it
/// takes the slow path, lane by lane.
fn wave(e: &mut Emit<'_>, op: UnaryOp, x: Lanes) -> Lanes {
    let size = x.map(x.dtype, |v| e.ins().fabs(v));
    let limit = convert::float(e, x.width, (1u32 << 30) as f32);
    let fits = e.ins().fcmp(FloatCC::UnorderedOrGreaterThanOrEqual, size.value(), limit);
    let large = any_true(e, Lanes::from_values(DType::Bool, x.width, &[fits]));
    let (slow, fast, done) = (e.block(&[]), e.block(&[]), e.block(&[e.ty(x.value())]));
    e.branch(large, slow, &[], fast, &[]);
    e.enter(slow);
    let y = lanewise(e, &[x], |e, x| host::unary(e, op, x[0].retag(DType::F32)));
    e.jump(done, &[y.value()]);
    e.enter(fast);
    let (rest, quadrant) = reduce_angle(e, x.retag(DType::F32));
    let y = F32 { e, width: x.width }.quarter(op == UnaryOp::Cos, rest, quadrant);
    e.jump(done, &[y]);
    let y = e.enter(done);
    Lanes::from_values(x.dtype, x.width, &y)
}

/// `x = rest + quadrant · π/2`, rest as f32 and quadrant as i32 registers.
fn reduce_angle(e: &mut Emit<'_>, x: Lanes) -> (Value, Value) {
    let wide = convert::cast(e, x, DType::F64);
    let mut k = |x: f64| constant(e, DType::F64, pantile_ir::Scalar::Float(x), wide.width).value();
    let (per_quadrant, rounder) = (k(std::f64::consts::FRAC_2_PI), k(6_755_399_441_055_744.0));
    let (high, low) = (k(-std::f64::consts::FRAC_PI_2), k(-6.123_233_995_736_766e-17));
    let rounded = wide.map(DType::F64, |v| e.ins().fma(v, per_quadrant, rounder));
    let whole = rounded.map(DType::F64, |v| e.ins().fsub(v, rounder));
    let rest = whole.zip(wide, DType::F64, |n, v| e.ins().fma(n, high, v));
    let rest = whole.zip(rest, DType::F64, |n, v| e.ins().fma(n, low, v));
    let rest = convert::cast(e, rest, DType::F32).value();
    let quadrant = match x.width {
        Width::One => {
            let bits = bits_as(e, rounded.value(), types::I64);
            e.ins().ireduce(types::I32, bits)
        }
        Width::Four => {
            let (low, high) = rounded.halves();
            let (low, high) = (bits_as(e, low, types::I32X4), bits_as(e, high, types::I32X4));
            shuffle32(e, low, high, [0, 2, 4, 6])
        }
    };
    (rest, quadrant)
}
