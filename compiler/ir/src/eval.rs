//! What each scalar operation means, stated once: the interpreter and the constant folder both ask here.
//!
//! Floats are held as f64 and rounded to their dtype after every operation; f8, f16 and bf16 compute in f32 first, as
//! hardware does, so whatever becomes one of them is rounded to f32 and then to it. Integers wrap at their width, and
//! u64 is held as its bits. Nothing here knows tiles.

use crate::{BinaryOp, DType, Kind, ReduceOp, UnaryOp};

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

impl Scalar {
    /// Any number or bool as an f64: what a float operation sees.
    pub fn as_f64(self) -> f64 {
        match self {
            Scalar::Bool(b) => f64::from(u8::from(b)),
            Scalar::Int(i) => i as f64,
            Scalar::Float(x) => x,
        }
    }

    /// Any number or bool as an i64; floats truncate and saturate.
    pub fn as_i64(self) -> i64 {
        match self {
            Scalar::Bool(b) => i64::from(b),
            Scalar::Int(i) => i,
            Scalar::Float(x) => x as i64,
        }
    }

    /// Whether it is not zero.
    pub fn as_bool(self) -> bool {
        match self {
            Scalar::Bool(b) => b,
            Scalar::Int(i) => i != 0,
            Scalar::Float(x) => x != 0.0,
        }
    }

    /// Zero of a dtype, `false` for bool.
    pub fn zero(dtype: DType) -> Scalar {
        match dtype.kind() {
            Kind::Bool => Scalar::Bool(false),
            Kind::Signed | Kind::Unsigned => Scalar::Int(0),
            Kind::Float => Scalar::Float(0.0),
        }
    }
}

/// The layout of a float of at most 16 bits.
struct Format {
    exponent: u32,
    mantissa: u32,
    /// Without infinities (OCP "fn"), only the all-ones pattern is a NaN, and overflow becomes it.
    infinities: bool,
}

impl Format {
    fn of(dtype: DType) -> Option<Format> {
        let format = |exponent, mantissa, infinities| Some(Format { exponent, mantissa, infinities });
        match dtype {
            DType::F16 => format(5, 10, true),
            DType::BF16 => format(8, 7, true),
            DType::F8E4M3 => format(4, 3, false),
            DType::F8E5M2 => format(5, 2, true),
            DType::Bool
            | DType::I8
            | DType::I16
            | DType::I32
            | DType::I64
            | DType::U8
            | DType::U16
            | DType::U32
            | DType::U64
            | DType::F32
            | DType::F64 => None,
        }
    }

    fn bias(&self) -> i32 {
        (1 << (self.exponent - 1)) - 1
    }

    fn max(&self) -> f64 {
        let (scale, steps) = (power_of_two(self.bias() + i32::from(!self.infinities)), f64::from(1 << self.mantissa));
        scale * (2.0 - if self.infinities { 1.0 } else { 2.0 } / steps)
    }

    fn round(&self, x: f64) -> f64 {
        if x == 0.0 || !x.is_finite() && (self.infinities || x.is_nan()) {
            return x;
        }
        let exponent = exponent_of(x).max(1 - self.bias());
        let step = power_of_two(exponent - self.mantissa as i32);
        let near = (x / step).round_ties_even() * step;
        if near.abs() <= self.max() {
            near
        } else if self.infinities {
            f64::INFINITY.copysign(x)
        } else {
            f64::NAN
        }
    }

    fn decode(&self, bits: u16) -> f64 {
        let mantissa = bits & ((1 << self.mantissa) - 1);
        let exponent = (bits >> self.mantissa) & ((1 << self.exponent) - 1);
        let top = exponent == (1 << self.exponent) - 1;
        let size = if top && self.infinities && mantissa == 0 {
            f64::INFINITY
        } else if top && (self.infinities || mantissa == (1 << self.mantissa) - 1) {
            f64::NAN
        } else {
            let step = power_of_two(i32::from(exponent.max(1)) - self.bias() - self.mantissa as i32);
            let implied = if exponent == 0 { 0.0 } else { f64::from(1 << self.mantissa) };
            (implied + f64::from(mantissa)) * step
        };
        let negative = bits >> (self.mantissa + self.exponent) & 1 == 1;
        if negative { -size } else { size }
    }

    /// The bits of a value that the format holds exactly.
    fn encode(&self, x: f64) -> u16 {
        let sign = u16::from(x.is_sign_negative()) << (self.mantissa + self.exponent);
        let top = ((1 << self.exponent) - 1) << self.mantissa;
        if x.is_nan() {
            let payload = if self.infinities { 1 << (self.mantissa - 1) } else { (1 << self.mantissa) - 1 };
            return sign | top | payload;
        }
        if x.is_infinite() {
            return sign | top;
        }
        let exponent = if x == 0.0 { 1 - self.bias() } else { exponent_of(x).max(1 - self.bias()) };
        let steps = (x.abs() / power_of_two(exponent - self.mantissa as i32)) as u16;
        // A normal number's steps carry the implied bit, which adds the last 1 to the exponent field.
        sign | ((((exponent + self.bias() - 1) as u16) << self.mantissa) + steps)
    }
}

/// 2^n for an n whose power is a normal f64.
fn power_of_two(n: i32) -> f64 {
    f64::from_bits(((n + 1023) as u64) << 52)
}

/// ⌊log2 |x|⌋ of a finite number; subnormal f64s count as their largest, which no smaller format tells apart.
fn exponent_of(x: f64) -> i32 {
    ((x.to_bits() >> 52) & 0x7ff) as i32 - 1023
}

/// Rounds to the nearest value of `dtype`, ties to even; out of range becomes infinity (NaN in f8e4m3).
pub fn round(dtype: DType, x: f64) -> f64 {
    match Format::of(dtype) {
        Some(format) => format.round(x),
        None if dtype == DType::F32 => f64::from(x as f32),
        None => x,
    }
}

/// The value of `dtype` that an operation computed as `x` gives: through f32 where the dtype is narrower.
pub fn round_result(dtype: DType, x: f64) -> f64 {
    if dtype.bytes() < 4 { round(dtype, f64::from(x as f32)) } else { round(dtype, x) }
}

/// Wraps to the width of an integer dtype.
pub fn wrap(dtype: DType, x: i64) -> i64 {
    match dtype {
        DType::I8 => i64::from(x as i8),
        DType::I16 => i64::from(x as i16),
        DType::I32 => i64::from(x as i32),
        DType::U8 => i64::from(x as u8),
        DType::U16 => i64::from(x as u16),
        DType::U32 => i64::from(x as u32),
        DType::Bool
        | DType::I64
        | DType::U64
        | DType::F16
        | DType::BF16
        | DType::F32
        | DType::F64
        | DType::F8E4M3
        | DType::F8E5M2 => x,
    }
}

/// The least value of a number dtype; -inf where there is one.
pub fn lowest(dtype: DType) -> Scalar {
    match (dtype, dtype.kind()) {
        (DType::F8E4M3, _) => Scalar::Float(-448.0),
        (_, Kind::Float) => Scalar::Float(f64::NEG_INFINITY),
        (_, Kind::Signed) => Scalar::Int(i64::MIN >> (64 - 8 * dtype.bytes())),
        (_, Kind::Unsigned) => Scalar::Int(0),
        (_, Kind::Bool) => Scalar::Bool(false),
    }
}

/// The greatest value of a number dtype; inf where there is one.
pub fn highest(dtype: DType) -> Scalar {
    match (dtype, dtype.kind()) {
        (DType::F8E4M3, _) => Scalar::Float(448.0),
        (_, Kind::Float) => Scalar::Float(f64::INFINITY),
        (_, Kind::Signed) => Scalar::Int(i64::MAX >> (64 - 8 * dtype.bytes())),
        (_, Kind::Unsigned) => Scalar::Int((u64::MAX >> (64 - 8 * dtype.bytes())) as i64),
        (_, Kind::Bool) => Scalar::Bool(true),
    }
}

/// What a reduction over nothing gives.
pub fn neutral(op: ReduceOp, dtype: DType) -> Scalar {
    match op {
        ReduceOp::Sum => Scalar::zero(dtype),
        ReduceOp::Prod => cast(DType::I64, dtype, Scalar::Int(1)),
        ReduceOp::Max => lowest(dtype),
        ReduceOp::Min => highest(dtype),
        ReduceOp::Any => Scalar::Bool(false),
        ReduceOp::All => Scalar::Bool(true),
    }
}

/// `op x`, where `x` has `dtype`.
pub fn unary(op: UnaryOp, dtype: DType, x: Scalar) -> Scalar {
    match x {
        Scalar::Bool(b) => Scalar::Bool(if op == UnaryOp::Not { !b } else { b }),
        Scalar::Int(i) => Scalar::Int(wrap(dtype, int_unary(op, dtype, i))),
        Scalar::Float(f) => Scalar::Float(round_result(dtype, float_unary(op, f))),
    }
}

/// Not wrapped yet. Ops that take no integers leave it as it is.
pub fn int_unary(op: UnaryOp, dtype: DType, x: i64) -> i64 {
    match op {
        UnaryOp::Neg => x.wrapping_neg(),
        UnaryOp::Not => !x,
        UnaryOp::Abs if dtype.kind() == Kind::Signed => x.wrapping_abs(),
        UnaryOp::Abs
        | UnaryOp::Exp
        | UnaryOp::Exp2
        | UnaryOp::Log
        | UnaryOp::Log2
        | UnaryOp::Sqrt
        | UnaryOp::Rsqrt
        | UnaryOp::Sin
        | UnaryOp::Cos
        | UnaryOp::Tanh
        | UnaryOp::Erf
        | UnaryOp::Sigmoid
        | UnaryOp::Floor
        | UnaryOp::Ceil
        | UnaryOp::Round => x,
    }
}

/// In f64, not rounded yet. `not` takes no floats and leaves it as it is.
pub fn float_unary(op: UnaryOp, x: f64) -> f64 {
    match op {
        UnaryOp::Neg => -x,
        UnaryOp::Not => x,
        UnaryOp::Abs => x.abs(),
        UnaryOp::Exp => x.exp(),
        UnaryOp::Exp2 => x.exp2(),
        UnaryOp::Log => x.ln(),
        UnaryOp::Log2 => x.log2(),
        UnaryOp::Sqrt => x.sqrt(),
        UnaryOp::Rsqrt => 1.0 / x.sqrt(),
        UnaryOp::Sin => x.sin(),
        UnaryOp::Cos => x.cos(),
        UnaryOp::Tanh => x.tanh(),
        UnaryOp::Erf => libm::erf(x),
        UnaryOp::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        UnaryOp::Floor => x.floor(),
        UnaryOp::Ceil => x.ceil(),
        UnaryOp::Round => x.round_ties_even(),
    }
}

/// `a op b`, where both have `dtype`; comparisons give a bool. `None`: division of an integer by zero.
pub fn binary(op: BinaryOp, dtype: DType, a: Scalar, b: Scalar) -> Option<Scalar> {
    if op.is_comparison() {
        return Some(Scalar::Bool(compare(op, dtype, a, b)));
    }
    match dtype.kind() {
        Kind::Bool => Some(Scalar::Bool(bool_binary(op, a.as_bool(), b.as_bool()))),
        Kind::Float => Some(Scalar::Float(round_result(dtype, float_binary(op, a.as_f64(), b.as_f64())))),
        Kind::Signed | Kind::Unsigned => int_binary(op, dtype, a.as_i64(), b.as_i64()).map(Scalar::Int),
    }
}

/// A comparison of two elements of one dtype; every one but `ne` is false of a NaN.
pub fn compare(op: BinaryOp, dtype: DType, a: Scalar, b: Scalar) -> bool {
    match dtype.kind() {
        Kind::Float => holds(op, a.as_f64(), b.as_f64()),
        Kind::Unsigned => holds(op, a.as_i64() as u64, b.as_i64() as u64),
        Kind::Signed | Kind::Bool => holds(op, a.as_i64(), b.as_i64()),
    }
}

/// `a op b` for a comparison; false for any other op.
pub fn holds<T: PartialOrd>(op: BinaryOp, a: T, b: T) -> bool {
    use BinaryOp::{Add, And, Div, Eq, Ge, Gt, Le, Lt, Max, Min, Mul, Ne, Or, Rem, Shl, Shr, Sub, Xor};
    match op {
        Eq => a == b,
        Ne => a != b,
        Lt => a < b,
        Le => a <= b,
        Gt => a > b,
        Ge => a >= b,
        Add | Sub | Mul | Div | Rem | Min | Max | And | Or | Xor | Shl | Shr => false,
    }
}

/// `a op b` of two bools; ops that take none give `a`.
pub fn bool_binary(op: BinaryOp, a: bool, b: bool) -> bool {
    use BinaryOp::{Add, And, Div, Eq, Ge, Gt, Le, Lt, Max, Min, Mul, Ne, Or, Rem, Shl, Shr, Sub, Xor};
    match op {
        And => a & b,
        Or => a | b,
        Xor => a ^ b,
        Add | Sub | Mul | Div | Rem | Min | Max | Shl | Shr | Eq | Ne | Lt | Le | Gt | Ge => a,
    }
}

/// In f64, not rounded yet; the f32 sum, difference, product and quotient come out right after one rounding, because
/// f64 has more than twice its bits. Ops that take no floats give `a`.
pub fn float_binary(op: BinaryOp, a: f64, b: f64) -> f64 {
    use BinaryOp::{Add, And, Div, Eq, Ge, Gt, Le, Lt, Max, Min, Mul, Ne, Or, Rem, Shl, Shr, Sub, Xor};
    match op {
        Add => a + b,
        Sub => a - b,
        Mul => a * b,
        Div => a / b,
        Rem => a % b,
        Min | Max if a.is_nan() || b.is_nan() => f64::NAN,
        Min => a.min(b),
        Max => a.max(b),
        And | Or | Xor | Shl | Shr | Eq | Ne | Lt | Le | Gt | Ge => a,
    }
}

/// Wrapped. `None`: division by zero.
pub fn int_binary(op: BinaryOp, dtype: DType, a: i64, b: i64) -> Option<i64> {
    use BinaryOp::{Add, And, Div, Eq, Ge, Gt, Le, Lt, Max, Min, Mul, Ne, Or, Rem, Shl, Shr, Sub, Xor};
    let signed = dtype.kind() == Kind::Signed;
    let less = if signed { a < b } else { (a as u64) < (b as u64) };
    let count = (b as u64 % (8 * dtype.bytes() as u64)) as u32;
    let x = match op {
        Add => a.wrapping_add(b),
        Sub => a.wrapping_sub(b),
        Mul => a.wrapping_mul(b),
        Div | Rem if b == 0 => return None,
        Div if signed => a.wrapping_div(b),
        Div => (a as u64 / b as u64) as i64,
        Rem if signed => a.wrapping_rem(b),
        Rem => (a as u64 % b as u64) as i64,
        Min => [b, a][usize::from(less)],
        Max => [a, b][usize::from(less)],
        And => a & b,
        Or => a | b,
        Xor => a ^ b,
        Shl => a << count,
        Shr if signed => a >> count,
        Shr => (a as u64 >> count) as i64,
        Eq | Ne | Lt | Le | Gt | Ge => a,
    };
    Some(wrap(dtype, x))
}

/// `x as to`: floats round to nearest even, through f32 to what is narrower; float to integer truncates and saturates,
/// NaN to 0; integer to integer wraps; anything but zero is `true`.
pub fn cast(from: DType, to: DType, x: Scalar) -> Scalar {
    match (to.kind(), x) {
        (Kind::Bool, _) => Scalar::Bool(x.as_bool()),
        (Kind::Float, Scalar::Int(i)) => Scalar::Float(int_to_float(from, to, i)),
        (Kind::Float, Scalar::Bool(_) | Scalar::Float(_)) => Scalar::Float(round_result(to, x.as_f64())),
        (Kind::Signed | Kind::Unsigned, Scalar::Float(f)) => Scalar::Int(float_to_int(to, f)),
        (Kind::Signed | Kind::Unsigned, Scalar::Bool(_) | Scalar::Int(_)) => Scalar::Int(wrap(to, x.as_i64())),
    }
}

/// Rounded once to f32 or f64, and then to what is narrower.
pub fn int_to_float(from: DType, to: DType, x: i64) -> f64 {
    match (from == DType::U64, to == DType::F64) {
        (false, true) => x as f64,
        (true, true) => x as u64 as f64,
        (false, false) => round(to, f64::from(x as f32)),
        (true, false) => round(to, f64::from(x as u64 as f32)),
    }
}

/// Truncates and saturates; NaN gives 0.
pub fn float_to_int(to: DType, x: f64) -> i64 {
    match to {
        DType::I8 => i64::from(x as i8),
        DType::I16 => i64::from(x as i16),
        DType::I32 => i64::from(x as i32),
        DType::U8 => i64::from(x as u8),
        DType::U16 => i64::from(x as u16),
        DType::U32 => i64::from(x as u32),
        DType::U64 => x as u64 as i64,
        DType::I64
        | DType::Bool
        | DType::F16
        | DType::BF16
        | DType::F32
        | DType::F64
        | DType::F8E4M3
        | DType::F8E5M2 => x as i64,
    }
}

/// Reads one element from its little-endian bytes; `bytes` has the dtype's size, and bytes beyond it count for nothing.
pub fn decode(dtype: DType, bytes: &[u8]) -> Scalar {
    let mut word = [0; 8];
    word[..dtype.bytes()].copy_from_slice(&bytes[..dtype.bytes()]);
    from_bits(dtype, u64::from_le_bytes(word))
}

/// Writes one element as its little-endian bytes.
pub fn encode(dtype: DType, x: Scalar, bytes: &mut [u8]) {
    bytes[..dtype.bytes()].copy_from_slice(&to_bits(dtype, x).to_le_bytes()[..dtype.bytes()]);
}

/// The element whose memory holds `bits`; bits beyond its width count for nothing, and any byte but 0 is `true`.
pub fn from_bits(dtype: DType, bits: u64) -> Scalar {
    match dtype.kind() {
        Kind::Bool => Scalar::Bool(bits as u8 != 0),
        Kind::Signed | Kind::Unsigned => Scalar::Int(wrap(dtype, bits as i64)),
        Kind::Float => Scalar::Float(match Format::of(dtype) {
            Some(format) => format.decode(bits as u16),
            None if dtype == DType::F32 => f64::from(f32::from_bits(bits as u32)),
            None => f64::from_bits(bits),
        }),
    }
}

/// The bits of an element in memory, zero beyond its width.
pub fn to_bits(dtype: DType, x: Scalar) -> u64 {
    match dtype.kind() {
        Kind::Bool | Kind::Signed | Kind::Unsigned => x.as_i64() as u64 & (u64::MAX >> (64 - 8 * dtype.bytes())),
        Kind::Float => match Format::of(dtype) {
            Some(format) => u64::from(format.encode(x.as_f64())),
            None if dtype == DType::F32 => u64::from((x.as_f64() as f32).to_bits()),
            None => x.as_f64().to_bits(),
        },
    }
}

/// Philox 4×32-10 (Salmon et al., SC 2011), word 0: key = (seed's low half, high half), counter = (counter's low half,
/// high half, 0, 0).
pub fn philox(seed: i64, counter: i64) -> u32 {
    let mut key = [seed as u32, (seed >> 32) as u32];
    let mut x = [counter as u32, (counter >> 32) as u32, 0, 0];
    for _ in 0..10 {
        let (a, b) = (u64::from(x[0]) * 0xD251_1F53, u64::from(x[2]) * 0xCD9E_8D57);
        x = [(b >> 32) as u32 ^ x[1] ^ key[0], b as u32, (a >> 32) as u32 ^ x[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    x[0]
}

/// Uniform in [0, 1), exact in f32: the upper 24 bits of [`philox`] times 2^-24.
pub fn uniform(seed: i64, counter: i64) -> f64 {
    f64::from(philox(seed, counter) >> 8) * power_of_two(-24)
}

#[cfg(test)]
mod tests;
