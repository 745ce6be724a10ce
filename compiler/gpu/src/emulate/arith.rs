//! What ops do to the 32 lanes of a warp, whose registers are 64-bit fields: 32-bit values have zeros above. It knows no
//! memory and no other lanes.
//!
//! Where the hardware approximates, the value is computed in f64 and rounded once, so that errors are below the
//! hardware's; flushing of subnormals is the hardware's.

use super::small;
use crate::simt::{Binary, Compare, Convert, Small, Ty, Unary};

/// A register of all lanes.
pub(super) type Lanes = [u64; 32];

fn f32_of(x: u64) -> f32 {
    f32::from_bits(x as u32)
}

fn f64_of(x: u64) -> f64 {
    f64::from_bits(x)
}

fn bits32(x: f32) -> u64 {
    u64::from(x.to_bits())
}

fn map(x: &Lanes, f: impl Fn(u64) -> u64) -> Lanes {
    std::array::from_fn(|n| f(x[n]))
}

fn map2(x: &Lanes, y: &Lanes, f: impl Fn(u64, u64) -> u64) -> Lanes {
    std::array::from_fn(|n| f(x[n], y[n]))
}

/// Subnormals become zeros of their sign.
fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0.0f32.copysign(x) } else { x }
}

fn float_unary(x: &Lanes, ty: Ty, single: impl Fn(f32) -> f32, double: impl Fn(f64) -> f64) -> Lanes {
    if ty == Ty::F64 { map(x, |x| double(f64_of(x)).to_bits()) } else { map(x, |x| bits32(single(f32_of(x)))) }
}

/// An approximate function of an f32; `ftz` flushes subnormal operands and results.
fn approximate(x: &Lanes, ftz: bool, f: impl Fn(f64) -> f64) -> Lanes {
    map(x, |x| {
        let x = f32_of(x);
        let y = f(f64::from(if ftz { flush(x) } else { x })) as f32;
        bits32(if ftz { flush(y) } else { y })
    })
}

/// Of one operand.
pub(super) fn unary(op: Unary, ty: Ty, x: &Lanes) -> Lanes {
    match op {
        Unary::Neg => float_unary(x, ty, |x| -x, |x| -x),
        Unary::Not => {
            let mask = ones(ty);
            map(x, |x| !x & mask)
        }
        Unary::Abs => float_unary(x, ty, f32::abs, f64::abs),
        Unary::Sqrt => float_unary(x, ty, f32::sqrt, f64::sqrt),
        Unary::Ex2 => approximate(x, true, f64::exp2),
        Unary::Lg2 => approximate(x, false, f64::log2),
        Unary::Rcp => approximate(x, true, f64::recip),
        Unary::Rsqrt => approximate(x, true, |x| x.sqrt().recip()),
        Unary::TanhApprox => approximate(x, false, f64::tanh),
        Unary::Floor => float_unary(x, ty, f32::floor, f64::floor),
        Unary::Ceil => float_unary(x, ty, f32::ceil, f64::ceil),
        Unary::Round => float_unary(x, ty, f32::round_ties_even, f64::round_ties_even),
        Unary::PopCount => map(x, |x| u64::from((x as u32).count_ones())),
        Unary::LeadingZeros => map(x, |x| u64::from((x as u32).leading_zeros())),
    }
}

fn ones(ty: Ty) -> u64 {
    match ty {
        Ty::Bool => 1,
        Ty::I32 | Ty::F32 => 0xffff_ffff,
        Ty::I64 | Ty::F64 => u64::MAX,
    }
}

/// What is wrong with the operands of a binary op in one lane.
pub(super) fn refuses(op: Binary, ty: Ty, y: u64) -> Option<String> {
    let integer = matches!(ty, Ty::I32 | Ty::I64);
    match op {
        Binary::Div | Binary::Rem if integer && y == 0 => Some("a division by zero".into()),
        Binary::UDiv | Binary::URem if y == 0 => Some("a division by zero".into()),
        Binary::Shl | Binary::Shr | Binary::UShr => {
            let width = if ty == Ty::I32 { 32 } else { 64 };
            (y >= width).then(|| format!("a shift of {width} bits by {y}"))
        }
        Binary::Div
        | Binary::Rem
        | Binary::UDiv
        | Binary::URem
        | Binary::Add
        | Binary::Sub
        | Binary::Mul
        | Binary::MulHigh
        | Binary::Min
        | Binary::Max
        | Binary::UMin
        | Binary::UMax
        | Binary::And
        | Binary::Or
        | Binary::Xor => None,
    }
}

/// Whether [`refuses`] may refuse anything.
pub(super) fn may_refuse(op: Binary, ty: Ty) -> bool {
    refuses(op, ty, 0).is_some() || refuses(op, ty, 64).is_some()
}

/// Of two operands. Divisors that are 0 and too large shifts give anything.
pub(super) fn binary(op: Binary, ty: Ty, x: &Lanes, y: &Lanes) -> Lanes {
    match ty {
        Ty::F32 => map2(x, y, |x, y| bits32(float32(op, f32_of(x), f32_of(y)))),
        Ty::F64 => map2(x, y, |x, y| float64(op, f64_of(x), f64_of(y)).to_bits()),
        Ty::I32 => integer32(op, x, y),
        Ty::Bool | Ty::I64 => integer64(op, ty, x, y),
    }
}

macro_rules! float_binary {
    ($name:ident, $t:ty) => {
        fn $name(op: Binary, x: $t, y: $t) -> $t {
            let nan = x.is_nan() || y.is_nan();
            match op {
                Binary::Add => x + y,
                Binary::Sub => x - y,
                Binary::Mul => x * y,
                Binary::Div => x / y,
                Binary::Min | Binary::Max if nan => <$t>::NAN,
                // Zeros are ordered: -0 is less.
                Binary::Min if x == y => <$t>::from_bits(x.to_bits() | y.to_bits()),
                Binary::Max if x == y => <$t>::from_bits(x.to_bits() & y.to_bits()),
                Binary::Min => x.min(y),
                Binary::Max => x.max(y),
                Binary::Rem
                | Binary::MulHigh
                | Binary::UDiv
                | Binary::URem
                | Binary::UMin
                | Binary::UMax
                | Binary::And
                | Binary::Or
                | Binary::Xor
                | Binary::Shl
                | Binary::Shr
                | Binary::UShr => <$t>::NAN,
            }
        }
    };
}

float_binary!(float32, f32);
float_binary!(float64, f64);

macro_rules! integer_binary {
    ($op:ident, $x:ident, $y:ident, $s:ty, $u:ty, $wide:ty) => {{
        let signed = |f: fn($s, $s) -> $s| map2($x, $y, |x, y| u64::from(f(x as $s, y as $s) as $u));
        let unsigned = |f: fn($u, $u) -> $u| map2($x, $y, |x, y| u64::from(f(x as $u, y as $u)));
        match $op {
            Binary::Add => unsigned(<$u>::wrapping_add),
            Binary::Sub => unsigned(<$u>::wrapping_sub),
            Binary::Mul => unsigned(<$u>::wrapping_mul),
            Binary::MulHigh => unsigned(|x, y| ((<$wide>::from(x) * <$wide>::from(y)) >> <$u>::BITS) as $u),
            Binary::Div => signed(|x, y| if y == 0 { 0 } else { x.wrapping_div(y) }),
            Binary::UDiv => unsigned(|x, y| x.checked_div(y).unwrap_or(0)),
            Binary::Rem => signed(|x, y| if y == 0 { 0 } else { x.wrapping_rem(y) }),
            Binary::URem => unsigned(|x, y| x.checked_rem(y).unwrap_or(0)),
            Binary::Min => signed(|x, y| x.min(y)),
            Binary::Max => signed(|x, y| x.max(y)),
            Binary::UMin => unsigned(|x, y| x.min(y)),
            Binary::UMax => unsigned(|x, y| x.max(y)),
            Binary::And => map2($x, $y, |x, y| x & y),
            Binary::Or => map2($x, $y, |x, y| x | y),
            Binary::Xor => map2($x, $y, |x, y| x ^ y),
            Binary::Shl => unsigned(|x, y| x.wrapping_shl(y as u32)),
            Binary::Shr => signed(|x, y| x.wrapping_shr(y as u32)),
            Binary::UShr => unsigned(|x, y| x.wrapping_shr(y as u32)),
        }
    }};
}

fn integer32(op: Binary, x: &Lanes, y: &Lanes) -> Lanes {
    integer_binary!(op, x, y, i32, u32, u64)
}

fn integer64(op: Binary, ty: Ty, x: &Lanes, y: &Lanes) -> Lanes {
    let result = integer_binary!(op, x, y, i64, u64, u128);
    if ty == Ty::Bool { map(&result, |x| x & 1) } else { result }
}

/// `x·y + z`, rounded once.
pub(super) fn fma(ty: Ty, x: &Lanes, y: &Lanes, z: &Lanes) -> Lanes {
    if ty == Ty::F64 {
        std::array::from_fn(|n| f64_of(x[n]).mul_add(f64_of(y[n]), f64_of(z[n])).to_bits())
    } else {
        std::array::from_fn(|n| bits32(fused(f32_of(x[n]), f32_of(y[n]), f32_of(z[n]))))
    }
}

/// `x·y + z` of f32, rounded once, without a library call: the product is exact in f64, the sum is rounded to odd there,
/// and f64 has more than twice the bits of f32, so that the second rounding is the only one that counts.
fn fused(x: f32, y: f32, z: f32) -> f32 {
    let (product, z) = (f64::from(x) * f64::from(y), f64::from(z));
    let sum = product + z;
    let back = sum - product;
    let error = (product - (sum - back)) + (z - back);
    if error == 0.0 || !sum.is_finite() || sum.to_bits() & 1 == 1 {
        return sum as f32;
    }
    // Towards the error if it points away from zero, else towards zero: the neighbour is odd.
    let bits = sum.to_bits();
    let away = (error > 0.0) == (sum > 0.0);
    f64::from_bits(if away { bits + 1 } else { bits - 1 }) as f32
}

/// A comparison: 0 or 1 in each lane.
pub(super) fn compare(op: Compare, ty: Ty, x: &Lanes, y: &Lanes) -> Lanes {
    match ty {
        Ty::F32 => map2(x, y, |x, y| u64::from(float_compare(op, f64::from(f32_of(x)), f64::from(f32_of(y))))),
        Ty::F64 => map2(x, y, |x, y| u64::from(float_compare(op, f64_of(x), f64_of(y)))),
        Ty::I32 => map2(x, y, |x, y| u64::from(integer_compare(op, i64::from(x as i32), i64::from(y as i32), x, y))),
        Ty::Bool | Ty::I64 => map2(x, y, |x, y| u64::from(integer_compare(op, x as i64, y as i64, x, y))),
    }
}

fn float_compare(op: Compare, x: f64, y: f64) -> bool {
    match op {
        Compare::Eq => x == y,
        Compare::Ne => x != y,
        Compare::Lt | Compare::ULt => x < y,
        Compare::Le | Compare::ULe => x <= y,
        Compare::Gt | Compare::UGt => x > y,
        Compare::Ge | Compare::UGe => x >= y,
    }
}

fn integer_compare(op: Compare, x: i64, y: i64, ux: u64, uy: u64) -> bool {
    match op {
        Compare::Eq => ux == uy,
        Compare::Ne => ux != uy,
        Compare::Lt => x < y,
        Compare::Le => x <= y,
        Compare::Gt => x > y,
        Compare::Ge => x >= y,
        Compare::ULt => ux < uy,
        Compare::ULe => ux <= uy,
        Compare::UGt => ux > uy,
        Compare::UGe => ux >= uy,
    }
}

/// A change of representation.
pub(super) fn convert(how: Convert, from: Ty, x: &Lanes) -> Lanes {
    match how {
        Convert::ZeroExtend(_) | Convert::Bits(_) => *x,
        Convert::SignExtend => map(x, |x| i64::from(x as i32) as u64),
        Convert::Truncate => map(x, |x| x & 0xffff_ffff),
        Convert::SignFrom(bits) => {
            let shift = 64 - u32::from(bits);
            let mask = ones(from);
            map(x, |x| ((x << shift) as i64 >> shift) as u64 & mask)
        }
        Convert::FromSigned(to) => {
            let signed = |x: u64| if from == Ty::I32 { i64::from(x as i32) } else { x as i64 };
            if to == Ty::F64 { map(x, |x| (signed(x) as f64).to_bits()) } else { map(x, |x| bits32(signed(x) as f32)) }
        }
        Convert::FromUnsigned(Ty::F64) => map(x, |x| (x as f64).to_bits()),
        Convert::FromUnsigned(_) => map(x, |x| bits32(x as f32)),
        Convert::ToSigned(to) => {
            let wide = |x: u64| if from == Ty::F64 { f64_of(x) } else { f64::from(f32_of(x)) };
            if to == Ty::I32 { map(x, |x| u64::from(wide(x) as i32 as u32)) } else { map(x, |x| wide(x) as i64 as u64) }
        }
        Convert::ToUnsigned(to) => {
            let wide = |x: u64| if from == Ty::F64 { f64_of(x) } else { f64::from(f32_of(x)) };
            if to == Ty::I32 { map(x, |x| u64::from(wide(x) as u32)) } else { map(x, |x| wide(x) as u64) }
        }
        Convert::Float(Ty::F64) => map(x, |x| f64::from(f32_of(x)).to_bits()),
        Convert::Float(_) => map(x, |x| bits32(f64_of(x) as f32)),
        Convert::Widen(small) => map(x, |x| bits32(small::widen(small, x as u32))),
        Convert::Tf32 => map(x, |x| u64::from(small::tf32(f32_of(x)))),
    }
}

/// Two F32 packed in an I32.
pub(super) fn narrow(to: Small, high: &Lanes, low: &Lanes) -> Lanes {
    let shift = if matches!(to, Small::F16 | Small::BF16) { 16 } else { 8 };
    map2(high, low, |high, low| {
        let (high, low) = (small::narrow(to, f32_of(high)), small::narrow(to, f32_of(low)));
        u64::from(high << shift | low)
    })
}
