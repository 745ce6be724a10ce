//! Numbers that are ordered as elements are: signed integers of 32 or 64 bits, so that sorting and selecting need know no
//! dtypes. Where NaNs stand is the caller's choice.

use pantile_ir::{DType, Kind};

use crate::simt::{Binary, Builder, Compare, Convert, Ty, Unary, Value as Reg};

/// How elements are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ordering {
    /// Largest first.
    pub reversed: bool,
    /// Whether NaNs stand behind all others, or before them.
    pub nans_last: bool,
}

/// The sign bit of a key.
fn sign(ty: Ty) -> u64 {
    if ty == Ty::I64 { 1 << 63 } else { 1 << 31 }
}

/// A key with its sign bit changed: signed and unsigned order change places.
pub(crate) fn flip(b: &mut Builder, key: Reg) -> Reg {
    let ty = b.ty(key);
    let sign = b.constant(ty, sign(ty));
    b.binary(Binary::Xor, key, sign)
}

/// Negative numbers' bits, apart from the sign, changed: IEEE's order of magnitudes and the order of integers.
fn magnitudes(b: &mut Builder, bits: Reg) -> Reg {
    let ty = b.ty(bits);
    let by = b.constant(ty, if ty == Ty::I64 { 63 } else { 31 });
    let all = b.binary(Binary::Shr, bits, by);
    let rest = b.constant(ty, sign(ty) - 1);
    let change = b.binary(Binary::And, all, rest);
    b.binary(Binary::Xor, bits, change)
}

/// The key of an element.
pub(crate) fn key(b: &mut Builder, dtype: DType, how: Ordering, x: Reg) -> Reg {
    let key = match (dtype.kind(), b.ty(x)) {
        (Kind::Bool, _) => b.zero_extend(Ty::I32, x),
        (Kind::Signed, _) => x,
        (Kind::Unsigned, _) if dtype.bytes() < 4 => x,
        (Kind::Unsigned, _) => flip(b, x),
        (Kind::Float, ty) => {
            let bits = b.convert(Convert::Bits(if ty == Ty::F64 { Ty::I64 } else { Ty::I32 }), x);
            magnitudes(b, bits)
        }
    };
    let key = if how.reversed { b.unary(Unary::Not, key) } else { key };
    if dtype.kind() != Kind::Float {
        return key;
    }
    let ty = b.ty(key);
    let end = b.constant(ty, if how.nans_last { sign(ty) - 1 } else { sign(ty) });
    let nan = b.compare(Compare::Ne, x, x);
    b.select(nan, end, key)
}

/// The element of a key.
pub(crate) fn element_of(b: &mut Builder, dtype: DType, how: Ordering, key: Reg) -> Reg {
    let key = if how.reversed { b.unary(Unary::Not, key) } else { key };
    match (dtype.kind(), b.ty(key)) {
        (Kind::Bool, _) => {
            let zero = b.i32(0);
            b.compare(Compare::Ne, key, zero)
        }
        (Kind::Signed, _) => key,
        (Kind::Unsigned, _) if dtype.bytes() < 4 => key,
        (Kind::Unsigned, _) => flip(b, key),
        (Kind::Float, ty) => {
            // Keys of a small float end in bits that are no part of it.
            let kept = b.constant(ty, !((1 << spare_bits(dtype)) - 1) & (sign(ty) | (sign(ty) - 1)));
            let bits = magnitudes(b, key);
            let bits = b.binary(Binary::And, bits, kept);
            b.convert(Convert::Bits(if ty == Ty::I64 { Ty::F64 } else { Ty::F32 }), bits)
        }
    }
}

/// Low bits of a key that are the same in all of one sign: those that a small float's carrier has too many.
pub(crate) fn spare_bits(dtype: DType) -> u32 {
    match dtype {
        DType::F16 => 13,
        DType::BF16 => 16,
        DType::F8E4M3 => 20,
        DType::F8E5M2 => 21,
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
        | DType::F64 => 0,
    }
}
