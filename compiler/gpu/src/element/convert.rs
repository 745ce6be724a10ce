//! From one dtype to another, and from and to the units that memory is read and written in. Which units those are and
//! where they lie is the caller's choice.

use pantile_ir::{DType, Kind, eval};

use super::{below, carrier, float, from_bits, integer, is_zero, mul_const, to_bits};
use crate::simt::{Binary, Builder, Convert, Small, Ty, Unary, Value};

/// `x as to`: floats round to nearest even, through f32 to what is narrower; float to integer truncates and saturates,
/// a NaN to 0; integer to integer wraps; anything but zero is `true`.
pub(crate) fn cast(b: &mut Builder, from: DType, to: DType, x: Value) -> Value {
    use Kind::{Bool, Float, Signed, Unsigned};
    match (from.kind(), to.kind()) {
        (Bool, Bool) => x,
        (Signed | Unsigned | Float, Bool) => {
            let zero = is_zero(b, from, x);
            b.unary(Unary::Not, zero)
        }
        (Bool, Signed | Unsigned) => b.zero_extend(carrier(to), x),
        (Bool, Float) => {
            let (one, zero) = (float(b, carrier(to), 1.0), float(b, carrier(to), 0.0));
            b.select(x, one, zero)
        }
        (Signed | Unsigned, Signed | Unsigned) => integers(b, from, to, x),
        (Signed | Unsigned, Float) => {
            let how = if from.kind() == Signed { Convert::FromSigned } else { Convert::FromUnsigned };
            let y = b.convert(how(carrier(to)), x);
            if holds_all(to, from) { y } else { round(b, to, y) }
        }
        (Float, Signed | Unsigned) => truncate(b, to, x),
        (Float, Float) => {
            let ty = carrier(to);
            let y = if b.ty(x) == ty { x } else { b.convert(Convert::Float(ty), x) };
            if holds_all(to, from) { y } else { round(b, to, y) }
        }
    }
}

fn integers(b: &mut Builder, from: DType, to: DType, x: Value) -> Value {
    match (carrier(from), carrier(to)) {
        (Ty::I32, Ty::I64) if from.kind() == Kind::Signed => b.sign_extend(x),
        (Ty::I32, Ty::I64) => b.zero_extend(Ty::I64, x),
        (Ty::I64, Ty::I64) => x,
        _ if from == to => x,
        (ty, _) => {
            let low = if ty == Ty::I64 { b.convert(Convert::Truncate, x) } else { x };
            // An unsigned number of fewer bits stands as it is; a negative one wraps.
            let fits = from.kind() == Kind::Unsigned && from.bytes() < to.bytes();
            if fits { low } else { normalise(b, to, low) }
        }
    }
}

/// Towards zero, saturating.
fn truncate(b: &mut Builder, to: DType, x: Value) -> Value {
    let (ty, signed) = (carrier(to), to.kind() == Kind::Signed);
    let y = b.convert(if signed { Convert::ToSigned(ty) } else { Convert::ToUnsigned(ty) }, x);
    if to.bytes() >= 4 {
        return y;
    }
    let high = integer(b, to, eval::highest(to).as_i64());
    if !signed {
        return b.binary(Binary::UMin, y, high);
    }
    let low = integer(b, to, eval::lowest(to).as_i64());
    let y = b.binary(Binary::Min, y, high);
    b.binary(Binary::Max, y, low)
}

/// Whether every value of `from` is one of `to`, or of the float that carries it; false where that is not plain.
fn holds_all(to: DType, from: DType) -> bool {
    let small = from.bytes() == 1;
    match to {
        DType::F32 | DType::F64 => true,
        DType::F16 | DType::BF16 => small || from == to,
        DType::F8E4M3 | DType::F8E5M2 => from == to,
        DType::Bool
        | DType::I8
        | DType::I16
        | DType::I32
        | DType::I64
        | DType::U8
        | DType::U16
        | DType::U32
        | DType::U64 => false,
    }
}

/// The low bits of an I32, filled up as a small integer's carrier is.
pub(super) fn normalise(b: &mut Builder, dtype: DType, x: Value) -> Value {
    match dtype {
        DType::I8 => b.convert(Convert::SignFrom(8), x),
        DType::I16 => b.convert(Convert::SignFrom(16), x),
        DType::U8 => b.and_const(x, 0xff),
        DType::U16 => b.and_const(x, 0xffff),
        DType::Bool
        | DType::I32
        | DType::I64
        | DType::U32
        | DType::U64
        | DType::F16
        | DType::BF16
        | DType::F32
        | DType::F64
        | DType::F8E4M3
        | DType::F8E5M2 => x,
    }
}

/// The small float that a dtype is in memory.
fn small(dtype: DType) -> Option<Small> {
    match dtype {
        DType::F16 => Some(Small::F16),
        DType::BF16 => Some(Small::BF16),
        DType::F8E4M3 => Some(Small::F8E4M3),
        DType::F8E5M2 => Some(Small::F8E5M2),
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

/// The value of a small float nearest to an F32, ties to even; out of range becomes infinity, or NaN where there is none.
/// Other dtypes leave it as it is.
pub(super) fn round(b: &mut Builder, dtype: DType, x: Value) -> Value {
    let Some(small) = small(dtype) else { return x };
    let y = match small {
        Small::BF16 => {
            let zero = float(b, Ty::F32, 0.0);
            let bits = b.narrow(small, x, zero);
            from_bits(b, bits)
        }
        Small::F16 => through(b, small, x),
        Small::F8E4M3 => {
            let y = through(b, small, x);
            let nan = float(b, Ty::F32, f64::NAN);
            // Up to half a step above the greatest; what lies on the middle goes to even, which is down.
            let (size, limit) = (b.unary(Unary::Abs, x), float(b, Ty::F32, 464.0));
            let fits = b.compare(crate::simt::Compare::Le, size, limit);
            b.select(fits, y, nan)
        }
        Small::F8E5M2 => {
            let y = through(b, small, x);
            let size = b.unary(Unary::Abs, x);
            let fits = below(b, size, 61440.0);
            // Infinity with the sign of x, and a NaN of a NaN.
            let over = mul_const(b, x, f64::INFINITY);
            b.select(fits, y, over)
        }
    };
    b.note_rounded(y, small, x);
    y
}

/// Narrowed and widened again.
fn through(b: &mut Builder, small: Small, x: Value) -> Value {
    let zero = float(b, Ty::F32, 0.0);
    let bits = b.narrow(small, zero, x);
    b.convert(Convert::Widen(small), bits)
}

/// Bits of a memory unit, 8 to 64, in which `count` neighbours are read and written: see [`to_units`].
pub(crate) fn unit_bits(dtype: DType, count: usize) -> u8 {
    let bytes = dtype.bytes() * count;
    match (dtype.bytes(), bytes % 4, bytes % 2) {
        (8, _, _) => 64,
        (_, 0, _) => 32,
        (_, _, 0) => 16,
        _ => 8,
    }
}

/// Element `nth` of a memory unit, lowest first, as a load gives it: an I32, or an I64 of 64 bits.
pub(crate) fn from_unit(b: &mut Builder, dtype: DType, raw: Value, nth: u32) -> Value {
    let (wide, width) = (b.ty(raw) == Ty::I64, 8 * dtype.bytes() as u32);
    if width == 64 {
        return if dtype == DType::F64 { from_bits(b, raw) } else { raw };
    }
    let (raw, nth) = if wide { half(b, raw, nth, 32 / width) } else { (raw, nth) };
    if dtype == DType::BF16 && nth == 1 {
        let bits = b.and_const(raw, 0xffff_0000);
        return from_bits(b, bits);
    }
    let bits = b.shr_const(raw, nth * width);
    match dtype.kind() {
        Kind::Bool => {
            let byte = b.and_const(bits, 0xff);
            let zero = is_zero(b, DType::I32, byte);
            b.unary(Unary::Not, zero)
        }
        Kind::Signed | Kind::Unsigned => normalise(b, dtype, bits),
        Kind::Float => match dtype {
            DType::BF16 => {
                let bits = b.mul_const(bits, 1 << 16);
                from_bits(b, bits)
            }
            DType::F32 => from_bits(b, bits),
            // f8e5m2 is the upper byte of an f16.
            DType::F8E5M2 => {
                let bits = b.mul_const(bits, 1 << 8);
                b.convert(Convert::Widen(Small::F16), bits)
            }
            DType::F8E4M3 => {
                let byte = b.and_const(bits, 0xff);
                b.convert(Convert::Widen(Small::F8E4M3), byte)
            }
            DType::F16
            | DType::Bool
            | DType::I8
            | DType::I16
            | DType::I32
            | DType::I64
            | DType::U8
            | DType::U16
            | DType::U32
            | DType::U64
            | DType::F64 => b.convert(Convert::Widen(Small::F16), bits),
        },
    }
}

/// The 32 bits of an I64 that hold element `nth`, and its number there.
fn half(b: &mut Builder, raw: Value, nth: u32, each: u32) -> (Value, u32) {
    let raw = b.shr_const(raw, 32 * (nth / each));
    (b.convert(Convert::Truncate, raw), nth % each)
}

/// Neighbours in memory, packed for a store into units of [`unit_bits`], lowest first.
pub(crate) fn to_units(b: &mut Builder, dtype: DType, elements: &[Value]) -> Vec<Value> {
    let bits = usize::from(unit_bits(dtype, elements.len()));
    elements.chunks(bits / (8 * dtype.bytes())).map(|unit| pack(b, dtype, unit)).collect()
}

/// The elements of one unit.
fn pack(b: &mut Builder, dtype: DType, elements: &[Value]) -> Value {
    match dtype {
        DType::I32 | DType::U32 | DType::I64 | DType::U64 => elements[0],
        DType::F32 | DType::F64 => to_bits(b, elements[0]),
        DType::F16 | DType::BF16 => pair(b, dtype, elements),
        DType::F8E4M3 | DType::F8E5M2 => {
            let pairs: Vec<Value> = elements.chunks(2).map(|two| pair(b, dtype, two)).collect();
            side_by_side(b, 16, &pairs)
        }
        DType::Bool => {
            let bytes: Vec<Value> = elements.iter().map(|x| b.zero_extend(Ty::I32, *x)).collect();
            side_by_side(b, 8, &bytes)
        }
        DType::I8 | DType::U8 | DType::I16 | DType::U16 => side_by_side(b, 8 * dtype.bytes() as u32, elements),
    }
}

/// The low `width` bits of each, lowest first.
fn side_by_side(b: &mut Builder, width: u32, parts: &[Value]) -> Value {
    let mut all = None;
    for (nth, part) in parts.iter().enumerate() {
        // What stands above the last one's bits is shifted out, or not stored.
        let last = nth + 1 == parts.len();
        let part = if last { *part } else { b.and_const(*part, (1 << width) - 1) };
        let part = b.mul_const(part, 1 << (width * nth as u32));
        all = Some(match all {
            Some(below) => b.binary(Binary::Or, below, part),
            None => part,
        });
    }
    all.unwrap_or_else(|| b.i32(0))
}

/// One or two small floats in the low bits.
fn pair(b: &mut Builder, dtype: DType, elements: &[Value]) -> Value {
    let low = elements[0];
    let high = elements.get(1).copied().unwrap_or(low);
    let Some(small) = small(dtype) else { return low };
    if small == Small::F8E5M2 {
        // The conversion to it saturates, and would lose infinities; f16 has its values in the upper bytes.
        let both = b.narrow(Small::F16, high, low);
        let (first, second) = (b.shr_const(both, 8), b.shr_const(both, 16));
        let (first, second) = (b.and_const(first, 0xff), b.and_const(second, 0xff00));
        return b.binary(Binary::Or, first, second);
    }
    // Rounding twice is rounding once, where neither overflows to what the conversion saturates.
    let exact = matches!(small, Small::F16 | Small::BF16);
    let source = |x: Value| b.rounded_from(x, small).filter(|_| exact).unwrap_or(x);
    let (high, low) = (source(high), source(low));
    b.narrow(small, high, low)
}
