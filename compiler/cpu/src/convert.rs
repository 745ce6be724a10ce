//! Conversions between dtypes on lane groups: rounding to small floats, wrapping of integers, casts, and the formats in
//! memory. Exactly what `pantile_ir::eval` states; no function here reads or writes memory.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, Value, types};
use pantile_ir::{DType, Kind, Scalar};

use crate::Emit;
use crate::arith::{choose, int_range};
use crate::emit::Half;
use crate::vector::{Carrier, Lanes, Width, bits_as, carrier, constant, lanewise, register, shuffle32};

/// A float format of at most 16 bits, by the numbers that turn f32 into it. All patterns are of f32's magnitude bits.
struct Small {
    /// Mantissa bits that f32 has more.
    drop: i64,
    /// Difference of the exponents' biases.
    rebias: u32,
    /// The smallest normal number.
    normal: u32,
    /// A power of two whose unit in the last place is the format's smallest step.
    magic: u32,
    /// The largest finite number.
    max: u32,
    /// What is beyond it: infinity, or NaN in the format that has none.
    beyond: u32,
    /// How far right the sign bit moves.
    sign: i64,
    /// The format's infinity (or NaN where it has none), and its NaN.
    top: [u32; 2],
}

static HALF: Small = Small {
    drop: 13,
    rebias: 112,
    normal: 0x3880_0000,
    magic: 0x3f00_0000,
    max: 0x477f_e000,
    beyond: INFINITY,
    sign: 16,
    top: [0x7c00, 0x7e00],
};
static E5M2: Small = Small {
    drop: 21,
    rebias: 112,
    normal: 0x3880_0000,
    magic: 0x4300_0000,
    max: 0x4760_0000,
    beyond: INFINITY,
    sign: 24,
    top: [0x7c, 0x7e],
};
static E4M3: Small = Small {
    drop: 20,
    rebias: 120,
    normal: 0x3c80_0000,
    magic: 0x4680_0000,
    max: 0x43e0_0000,
    beyond: NAN,
    sign: 24,
    top: [0x7f, 0x7f],
};

const INFINITY: u32 = 0x7f80_0000;
const NAN: u32 = 0x7fc0_0000;
const MAGNITUDE: u32 = 0x7fff_ffff;

fn small(dtype: DType) -> Option<&'static Small> {
    match dtype {
        DType::F16 => Some(&HALF),
        DType::F8E5M2 => Some(&E5M2),
        DType::F8E4M3 => Some(&E4M3),
        DType::Bool
        | DType::I8
        | DType::I16
        | DType::I32
        | DType::I64
        | DType::U8
        | DType::U16
        | DType::U32
        | DType::U64
        | DType::BF16
        | DType::F32
        | DType::F64 => None,
    }
}

/// A 32-bit pattern as an integer register.
pub(crate) fn int_bits(e: &mut Emit<'_>, width: Width, bits: u32) -> Value {
    constant(e, DType::U32, Scalar::Int(i64::from(bits)), width).value()
}

/// A float as an f32 register.
pub(crate) fn float(e: &mut Emit<'_>, width: Width, x: f32) -> Value {
    constant(e, DType::F32, Scalar::Float(f64::from(x)), width).value()
}

/// An f32 register's bits.
pub(crate) fn to_bits(e: &mut Emit<'_>, width: Width, x: Value) -> Value {
    bits_as(e, x, register(DType::I32, width))
}

/// The f32 register that has these bits.
pub(crate) fn from_bits(e: &mut Emit<'_>, width: Width, x: Value) -> Value {
    bits_as(e, x, register(DType::F32, width))
}

/// The nearest values of the group's dtype, ties to even. The group holds f32 values of any kind.
pub fn round(e: &mut Emit<'_>, x: Lanes) -> Lanes {
    let width = x.width;
    if x.dtype == DType::BF16 {
        return x.map(x.dtype, |v| round_bf16(e, width, v));
    }
    match small(x.dtype) {
        Some(format) => x.map(x.dtype, |v| round_small(e, format, width, v)),
        None => x,
    }
}

fn round_bf16(e: &mut Emit<'_>, width: Width, x: Value) -> Value {
    let bits = to_bits(e, width, x);
    let rounded = round_bits(e, width, bits, 16);
    let rounded = from_bits(e, width, rounded);
    keep_nan(e, width, x, rounded)
}

/// Drops the lowest bits of a number, to nearest, ties to even.
fn round_bits(e: &mut Emit<'_>, width: Width, bits: Value, drop: i64) -> Value {
    let half = int_bits(e, width, (1 << (drop - 1)) - 1);
    let one = int_bits(e, width, 1);
    let mask = int_bits(e, width, !((1 << drop) - 1));
    let odd = e.ins().ushr_imm_u(bits, drop);
    let odd = e.ins().band(odd, one);
    let up = e.ins().iadd(bits, half);
    let up = e.ins().iadd(up, odd);
    e.ins().band(up, mask)
}

fn keep_nan(e: &mut Emit<'_>, width: Width, x: Value, rounded: Value) -> Value {
    let nan = float(e, width, f32::from_bits(NAN));
    let lost = e.ins().fcmp(FloatCC::Unordered, x, x);
    choose(e, lost, nan, rounded)
}

fn round_small(e: &mut Emit<'_>, format: &Small, width: Width, x: Value) -> Value {
    let bits = to_bits(e, width, x);
    let mask = int_bits(e, width, MAGNITUDE);
    let size = e.ins().band(bits, mask);
    let sign = e.ins().bxor(bits, size);
    let normal = round_bits(e, width, size, format.drop);
    // Adding a number whose last place is the smallest step leaves the rounding to the adder.
    let magic = float(e, width, f32::from_bits(format.magic));
    let tiny = from_bits(e, width, size);
    let tiny = e.ins().fadd(tiny, magic);
    let tiny = e.ins().fsub(tiny, magic);
    let tiny = to_bits(e, width, tiny);
    let least = int_bits(e, width, format.normal);
    let is_tiny = e.ins().icmp(IntCC::SignedLessThan, size, least);
    let rounded = choose(e, is_tiny, tiny, normal);
    let (max, beyond) = (int_bits(e, width, format.max), int_bits(e, width, format.beyond));
    let over = e.ins().icmp(IntCC::SignedGreaterThan, rounded, max);
    let rounded = choose(e, over, beyond, rounded);
    let rounded = e.ins().bor(rounded, sign);
    let rounded = from_bits(e, width, rounded);
    note(e, format, rounded, Half::Rounded(x));
    keep_nan(e, width, x, rounded)
}

/// The lanes whose memory holds `raw`: small integers extended to 32 bits, all else as it is.
pub(crate) fn decode(e: &mut Emit<'_>, dtype: DType, width: Width, raw: [Value; 2]) -> Lanes {
    let low = match dtype {
        DType::Bool if width == Width::One => e.ins().icmp_imm_u(IntCC::NotEqual, raw[0], 0),
        DType::Bool => {
            let zero = int_bits(e, width, 0);
            e.ins().icmp(IntCC::NotEqual, raw[0], zero)
        }
        DType::BF16 => {
            let bits = e.ins().ishl_imm_u(raw[0], 16);
            from_bits(e, width, bits)
        }
        DType::F16 => decode_small(e, &HALF, width, raw[0]),
        // An f8e5m2 is the upper half of an f16.
        DType::F8E5M2 => {
            let half = e.ins().ishl_imm_u(raw[0], 8);
            decode_small(e, &HALF, width, half)
        }
        DType::F8E4M3 => decode_small(e, &E4M3, width, raw[0]),
        DType::I64 | DType::U64 | DType::F64 if width == Width::Four => return Lanes::of_halves(dtype, raw[0], raw[1]),
        DType::I8
        | DType::I16
        | DType::I32
        | DType::I64
        | DType::U8
        | DType::U16
        | DType::U32
        | DType::U64
        | DType::F32
        | DType::F64 => raw[0],
    };
    Lanes::from_values(dtype, width, &[low])
}

fn decode_small(e: &mut Emit<'_>, format: &Small, width: Width, raw: Value) -> Value {
    let field = int_bits(e, width, MAGNITUDE >> format.sign);
    let size = e.ins().band(raw, field);
    let sign = e.ins().bxor(raw, size);
    let sign = e.ins().ishl_imm_u(sign, format.sign);
    let bits = e.ins().ishl_imm_u(size, format.drop);
    let rebias = int_bits(e, width, format.rebias << 23);
    let normal = e.ins().iadd(bits, rebias);
    // Below the normal numbers the field counts the smallest steps.
    let magic = int_bits(e, width, format.magic);
    let tiny = e.ins().bor(size, magic);
    let (tiny, magic) = (from_bits(e, width, tiny), from_bits(e, width, magic));
    let tiny = e.ins().fsub(tiny, magic);
    let tiny = to_bits(e, width, tiny);
    let least = int_bits(e, width, 1 << (23 - format.drop));
    let is_tiny = e.ins().icmp(IntCC::SignedLessThan, size, least);
    let value = choose(e, is_tiny, tiny, normal);
    let last = int_bits(e, width, (format.max - (format.rebias << 23)) >> format.drop);
    let special = e.ins().icmp(IntCC::SignedGreaterThan, size, last);
    let top = int_bits(e, width, format.beyond);
    let top = e.ins().bor(normal, top);
    let value = choose(e, special, top, value);
    let value = e.ins().bor(value, sign);
    let value = from_bits(e, width, value);
    note(e, format, value, Half::Decoded(raw));
    value
}

/// Tells what was emitted for f16, and for no other format.
fn note(e: &mut Emit<'_>, format: &Small, value: Value, half: Half) {
    if std::ptr::eq(format, &raw const HALF) {
        e.note_half(value, half);
    }
}

/// What memory holds of a group, before it is narrowed to the dtype's size: bools as 0 or 1, small floats as integers.
pub(crate) fn encode(e: &mut Emit<'_>, x: Lanes) -> Lanes {
    let width = x.width;
    match x.dtype {
        DType::Bool if width == Width::Four => {
            let one = int_bits(e, width, 1);
            x.map(DType::U8, |v| e.ins().band(v, one))
        }
        DType::BF16 => x.map(DType::U16, |v| {
            let bits = to_bits(e, width, v);
            e.ins().ushr_imm_u(bits, 16)
        }),
        DType::F16 | DType::F8E5M2 | DType::F8E4M3 => match small(x.dtype) {
            Some(format) => x.map(DType::U16, |v| encode_small(e, format, width, v)),
            None => x,
        },
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
        | DType::F64 => x,
    }
}

fn encode_small(e: &mut Emit<'_>, format: &Small, width: Width, x: Value) -> Value {
    let bits = to_bits(e, width, x);
    let mask = int_bits(e, width, MAGNITUDE);
    let size = e.ins().band(bits, mask);
    let sign = e.ins().bxor(bits, size);
    let sign = e.ins().ushr_imm_u(sign, format.sign);
    let rebias = int_bits(e, width, format.rebias << 23);
    let normal = e.ins().isub(size, rebias);
    let normal = e.ins().ushr_imm_u(normal, format.drop);
    let magic = float(e, width, f32::from_bits(format.magic));
    let tiny = from_bits(e, width, size);
    let tiny = e.ins().fadd(tiny, magic);
    let (tiny, magic) = (to_bits(e, width, tiny), to_bits(e, width, magic));
    let tiny = e.ins().isub(tiny, magic);
    let least = int_bits(e, width, format.normal);
    let is_tiny = e.ins().icmp(IntCC::SignedLessThan, size, least);
    let value = choose(e, is_tiny, tiny, normal);
    let [top, nan] = format.top.map(|bits| int_bits(e, width, bits));
    let (max, infinity) = (int_bits(e, width, format.max), int_bits(e, width, INFINITY));
    let over = e.ins().icmp(IntCC::SignedGreaterThan, size, max);
    let value = choose(e, over, top, value);
    let not_a_number = e.ins().icmp(IntCC::SignedGreaterThan, size, infinity);
    let value = choose(e, not_a_number, nan, value);
    let value = e.ins().bor(value, sign);
    note(e, format, value, Half::Encoded(x));
    value
}

/// Four encoded lanes of 16 bits as one i64.
pub(crate) fn narrow_to_words(e: &mut Emit<'_>, raw: Lanes) -> Value {
    let words = words(e, raw);
    let words = bits_as(e, words, types::I64X2);
    e.ins().extractlane(words, 0)
}

/// Four encoded lanes of 8 bits as one i32.
pub(crate) fn narrow_to_bytes(e: &mut Emit<'_>, raw: Lanes) -> Value {
    let words = words(e, raw);
    let bytes =
        if raw.dtype.kind() == Kind::Signed { e.ins().snarrow(words, words) } else { e.ins().unarrow(words, words) };
    let bytes = bits_as(e, bytes, types::I32X4);
    e.ins().extractlane(bytes, 0)
}

fn words(e: &mut Emit<'_>, raw: Lanes) -> Value {
    let x = raw.value();
    if raw.dtype.kind() == Kind::Signed { e.ins().snarrow(x, x) } else { e.ins().unarrow(x, x) }
}

/// Takes an integer group of any 32- or 64-bit contents into the range of its dtype.
pub(crate) fn wrap(e: &mut Emit<'_>, x: Lanes) -> Lanes {
    let unused = 32 - 8 * x.dtype.bytes() as i64;
    if unused <= 0 {
        return x;
    }
    if x.dtype.kind() == Kind::Signed {
        return x.map(x.dtype, |v| {
            let up = e.ins().ishl_imm_u(v, unused);
            e.ins().sshr_imm_u(up, unused)
        });
    }
    let mask = int_bits(e, x.width, u32::MAX >> unused);
    x.map(x.dtype, |v| e.ins().band(v, mask))
}

/// `x as to`.
pub fn cast(e: &mut Emit<'_>, x: Lanes, to: DType) -> Lanes {
    if x.dtype == to {
        return x;
    }
    match (carrier(x.dtype), carrier(to)) {
        (Carrier::Bool, _) => from_bool(e, x, to),
        (_, Carrier::Bool) => {
            let zero = if x.dtype.is_float() { Scalar::Float(0.0) } else { Scalar::Int(0) };
            let zero = constant(e, x.dtype, zero, x.width);
            crate::arith::binary(e, pantile_ir::BinaryOp::Ne, x, zero)
        }
        (Carrier::Int32, Carrier::Int32) => wrap(e, x.retag(to)),
        (Carrier::Int64, Carrier::Int64) => x.retag(to),
        (Carrier::Int32, Carrier::Int64) => widen(e, x, to),
        (Carrier::Int64, Carrier::Int32) => {
            let narrow = truncate(e, x, to);
            wrap(e, narrow)
        }
        (Carrier::Float32, Carrier::Float32) => round(e, x.retag(to)),
        (Carrier::Float64, Carrier::Float64) => x,
        (Carrier::Float32, Carrier::Float64) => promote(e, x),
        (Carrier::Float64, Carrier::Float32) => {
            let narrow = demote(e, x, to);
            round(e, narrow)
        }
        (Carrier::Int32 | Carrier::Int64, Carrier::Float32 | Carrier::Float64) => {
            let y = int_to_float(e, x, to);
            round(e, y)
        }
        (Carrier::Float32 | Carrier::Float64, Carrier::Int32 | Carrier::Int64) => float_to_int(e, x, to),
    }
}

fn from_bool(e: &mut Emit<'_>, x: Lanes, to: DType) -> Lanes {
    let (one, zero) = match to.is_float() {
        true => (Scalar::Float(1.0), Scalar::Float(0.0)),
        false => (Scalar::Int(1), Scalar::Int(0)),
    };
    let (one, zero) = (constant(e, to, one, x.width), constant(e, to, zero, x.width));
    crate::arith::select(e, x, one, zero)
}

fn widen(e: &mut Emit<'_>, x: Lanes, to: DType) -> Lanes {
    let (signed, v) = (x.dtype.kind() == Kind::Signed, x.value());
    match (x.width, signed) {
        (Width::One, true) => Lanes::one(to, e.ins().sextend(types::I64, v)),
        (Width::One, false) => Lanes::one(to, e.ins().uextend(types::I64, v)),
        (Width::Four, true) => {
            let (low, high) = (e.ins().swiden_low(v), e.ins().swiden_high(v));
            Lanes::of_halves(to, low, high)
        }
        (Width::Four, false) => {
            let (low, high) = (e.ins().uwiden_low(v), e.ins().uwiden_high(v));
            Lanes::of_halves(to, low, high)
        }
    }
}

fn truncate(e: &mut Emit<'_>, x: Lanes, to: DType) -> Lanes {
    if x.width == Width::One {
        return Lanes::one(to, e.ins().ireduce(types::I32, x.value()));
    }
    let (low, high) = x.halves();
    let (low, high) = (bits_as(e, low, types::I32X4), bits_as(e, high, types::I32X4));
    Lanes::four(to, shuffle32(e, low, high, [0, 2, 4, 6]))
}

fn promote(e: &mut Emit<'_>, x: Lanes) -> Lanes {
    if x.width == Width::One {
        return Lanes::one(DType::F64, e.ins().fpromote(types::F64, x.value()));
    }
    let upper = shuffle32(e, x.value(), x.value(), [2, 3, 2, 3]);
    let (low, high) = (e.ins().fvpromote_low(x.value()), e.ins().fvpromote_low(upper));
    Lanes::of_halves(DType::F64, low, high)
}

fn demote(e: &mut Emit<'_>, x: Lanes, to: DType) -> Lanes {
    if x.width == Width::One {
        return Lanes::one(to, e.ins().fdemote(types::F32, x.value()));
    }
    let (low, high) = x.halves();
    let (low, high) = (e.ins().fvdemote(low), e.ins().fvdemote(high));
    Lanes::four(to, shuffle32(e, low, high, [0, 1, 4, 5]))
}

fn int_to_float(e: &mut Emit<'_>, x: Lanes, to: DType) -> Lanes {
    let unsigned = x.dtype == DType::U32 || x.dtype == DType::U64;
    let vector = x.width == Width::Four && carrier(x.dtype) == Carrier::Int32 && carrier(to) == Carrier::Float32;
    let ty = register(to, if vector { Width::Four } else { Width::One });
    let convert = |e: &mut Emit<'_>, v: Value| {
        if unsigned { e.ins().fcvt_from_uint(ty, v) } else { e.ins().fcvt_from_sint(ty, v) }
    };
    if vector {
        return x.map(to, |v| convert(e, v));
    }
    lanewise(e, &[x], |e, x| Lanes::one(to, convert(e, x[0].value())))
}

fn float_to_int(e: &mut Emit<'_>, x: Lanes, to: DType) -> Lanes {
    let vector = x.width == Width::Four && carrier(to) == Carrier::Int32 && carrier(x.dtype) == Carrier::Float32;
    let ty = register(to, if vector { Width::Four } else { Width::One });
    let unsigned = to == DType::U32 || to == DType::U64;
    let convert = |e: &mut Emit<'_>, v: Value| {
        if unsigned { e.ins().fcvt_to_uint_sat(ty, v) } else { e.ins().fcvt_to_sint_sat(ty, v) }
    };
    let whole = if vector {
        x.map(to, |v| convert(e, v))
    } else {
        lanewise(e, &[x], |e, x| Lanes::one(to, convert(e, x[0].value())))
    };
    if to.bytes() >= 4 { whole } else { clamp(e, whole) }
}

/// Saturates 32-bit contents to the range of a small integer dtype.
fn clamp(e: &mut Emit<'_>, x: Lanes) -> Lanes {
    let (low, high) = int_range(x.dtype);
    let low = constant(e, DType::I32, Scalar::Int(low), x.width).value();
    let high = constant(e, DType::I32, Scalar::Int(high), x.width).value();
    x.map(x.dtype, |v| {
        let v = e.ins().smax(v, low);
        e.ins().smin(v, high)
    })
}
