//! Element-wise ops, comparisons, selects and horizontal reductions on lane groups, for every dtype and both widths.
//! Conversions are `convert.rs`, transcendental functions `math.rs`; loops over tiles are the lowering's business.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, Value, types};
use pantile_ir::{BinaryOp, DType, Kind, ReduceOp, Scalar, UnaryOp, eval};

use crate::vector::{Carrier, Lanes, Width, bits_as, carrier, constant, extract, lanewise, shuffle32, splat};
use crate::{Emit, convert, host, math};

/// `op x`, rounded or wrapped to the dtype.
pub fn unary(e: &mut Emit<'_>, op: UnaryOp, x: Lanes) -> Lanes {
    match op {
        UnaryOp::Neg => match x.dtype.kind() {
            Kind::Float => x.map(x.dtype, |v| e.ins().fneg(v)),
            Kind::Bool | Kind::Signed | Kind::Unsigned => {
                let negated = x.map(x.dtype, |v| e.ins().ineg(v));
                convert::wrap(e, negated)
            }
        },
        UnaryOp::Not => not(e, x),
        UnaryOp::Abs => match x.dtype.kind() {
            Kind::Float => x.map(x.dtype, |v| e.ins().fabs(v)),
            Kind::Signed => {
                let positive = x.map(x.dtype, |v| e.ins().iabs(v));
                convert::wrap(e, positive)
            }
            Kind::Bool | Kind::Unsigned => x,
        },
        UnaryOp::Sqrt => {
            let root = x.map(x.dtype, |v| e.ins().sqrt(v));
            convert::round(e, root)
        }
        UnaryOp::Floor => x.map(x.dtype, |v| e.ins().floor(v)),
        UnaryOp::Ceil => x.map(x.dtype, |v| e.ins().ceil(v)),
        UnaryOp::Round => x.map(x.dtype, |v| e.ins().nearest(v)),
        UnaryOp::Exp
        | UnaryOp::Exp2
        | UnaryOp::Log
        | UnaryOp::Log2
        | UnaryOp::Rsqrt
        | UnaryOp::Sin
        | UnaryOp::Cos
        | UnaryOp::Tanh
        | UnaryOp::Erf
        | UnaryOp::Sigmoid => {
            let y = math::transcendental(e, op, x);
            convert::round(e, y)
        }
    }
}

fn not(e: &mut Emit<'_>, x: Lanes) -> Lanes {
    if x.dtype == DType::Bool && x.width == Width::One {
        return x.map(x.dtype, |v| e.ins().bxor_imm_u(v, 1));
    }
    let flipped = x.map(x.dtype, |v| e.ins().bnot(v));
    if x.dtype == DType::Bool { flipped } else { convert::wrap(e, flipped) }
}

/// `a op b` on groups of one dtype and width; comparisons give bools. Dividing an integer by zero gives an undefined
/// number, never a trap: see [`any_zero`].
pub fn binary(e: &mut Emit<'_>, op: BinaryOp, a: Lanes, b: Lanes) -> Lanes {
    debug_assert_eq!((a.dtype, a.width), (b.dtype, b.width));
    if op.is_comparison() {
        return compare(e, op, a, b);
    }
    let raw = match a.dtype.kind() {
        Kind::Float => float_binary(e, op, a, b),
        Kind::Bool | Kind::Signed | Kind::Unsigned => int_binary(e, op, a, b),
    };
    match op {
        BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem | BinaryOp::Shl => {
            match a.dtype.kind() {
                Kind::Float => convert::round(e, raw),
                Kind::Bool | Kind::Signed | Kind::Unsigned => convert::wrap(e, raw),
            }
        }
        BinaryOp::Min
        | BinaryOp::Max
        | BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Xor
        | BinaryOp::Shr
        | BinaryOp::Eq
        | BinaryOp::Ne
        | BinaryOp::Lt
        | BinaryOp::Le
        | BinaryOp::Gt
        | BinaryOp::Ge => raw,
    }
}

fn float_binary(e: &mut Emit<'_>, op: BinaryOp, a: Lanes, b: Lanes) -> Lanes {
    match op {
        BinaryOp::Add => a.zip(b, a.dtype, |x, y| e.ins().fadd(x, y)),
        BinaryOp::Sub => a.zip(b, a.dtype, |x, y| e.ins().fsub(x, y)),
        BinaryOp::Mul => a.zip(b, a.dtype, |x, y| e.ins().fmul(x, y)),
        BinaryOp::Div => a.zip(b, a.dtype, |x, y| e.ins().fdiv(x, y)),
        BinaryOp::Rem => lanewise(e, &[a, b], |e, ab| host::float_rem(e, ab[0], ab[1])),
        BinaryOp::Min => a.zip(b, a.dtype, |x, y| float_extreme(e, true, x, y)),
        BinaryOp::Max => a.zip(b, a.dtype, |x, y| float_extreme(e, false, x, y)),
        BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Xor
        | BinaryOp::Shl
        | BinaryOp::Shr
        | BinaryOp::Eq
        | BinaryOp::Ne
        | BinaryOp::Lt
        | BinaryOp::Le
        | BinaryOp::Gt
        | BinaryOp::Ge => a,
    }
}

/// The smaller or larger, NaN if either is one. The hardware's instruction gives its second operand if either is a NaN,
/// so only a NaN in the first is left to see to.
fn float_extreme(e: &mut Emit<'_>, smaller: bool, x: Value, y: Value) -> Value {
    let extreme = bare_extreme(e, smaller, x, y);
    let lost = e.ins().fcmp(FloatCC::Unordered, x, x);
    choose(e, lost, x, extreme)
}

/// The smaller or larger, `y` if either is a NaN: one instruction, in the one shape that is recognised.
pub(crate) fn bare_extreme(e: &mut Emit<'_>, smaller: bool, x: Value, y: Value) -> Value {
    let (a, b) = if smaller { (x, y) } else { (y, x) };
    let less = e.ins().fcmp(FloatCC::LessThan, a, b);
    choose(e, less, x, y)
}

/// `cond ? x : y` on registers, where `cond` is what a comparison of such registers gives.
pub(crate) fn choose(e: &mut Emit<'_>, cond: Value, x: Value, y: Value) -> Value {
    let ty = e.ty(x);
    if !ty.is_vector() {
        return e.ins().select(cond, x, y);
    }
    let cond = bits_as(e, cond, ty);
    e.ins().bitselect(cond, x, y)
}

fn int_binary(e: &mut Emit<'_>, op: BinaryOp, a: Lanes, b: Lanes) -> Lanes {
    let signed = a.dtype.kind() == Kind::Signed;
    match op {
        BinaryOp::Add => a.zip(b, a.dtype, |x, y| e.ins().iadd(x, y)),
        BinaryOp::Sub => a.zip(b, a.dtype, |x, y| e.ins().isub(x, y)),
        BinaryOp::Mul => a.zip(b, a.dtype, |x, y| e.ins().imul(x, y)),
        BinaryOp::Div => lanewise(e, &[a, b], |e, ab| divide(e, signed, false, ab[0], ab[1])),
        BinaryOp::Rem => lanewise(e, &[a, b], |e, ab| divide(e, signed, true, ab[0], ab[1])),
        BinaryOp::Min | BinaryOp::Max => {
            let order = if op == BinaryOp::Min { BinaryOp::Lt } else { BinaryOp::Gt };
            int_extreme(e, order, a, b)
        }
        BinaryOp::And => a.zip(b, a.dtype, |x, y| e.ins().band(x, y)),
        BinaryOp::Or => a.zip(b, a.dtype, |x, y| e.ins().bor(x, y)),
        BinaryOp::Xor => a.zip(b, a.dtype, |x, y| e.ins().bxor(x, y)),
        BinaryOp::Shl | BinaryOp::Shr => lanewise(e, &[a, b], |e, ab| shift(e, op == BinaryOp::Shl, ab[0], ab[1])),
        BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => a,
    }
}

fn int_extreme(e: &mut Emit<'_>, order: BinaryOp, a: Lanes, b: Lanes) -> Lanes {
    if a.width == Width::Four && carrier(a.dtype) == Carrier::Int32 {
        let smaller = order == BinaryOp::Lt;
        return a.zip(b, a.dtype, |x, y| match (smaller, a.dtype.kind() == Kind::Signed) {
            (true, true) => e.ins().smin(x, y),
            (false, true) => e.ins().smax(x, y),
            (true, false) => e.ins().umin(x, y),
            (false, false) => e.ins().umax(x, y),
        });
    }
    let first = compare(e, order, a, b);
    select(e, first, a, b)
}

/// A quotient or remainder without traps: 32-bit division runs in 64 bits, and the divisors 0 and -1 are replaced.
fn divide(e: &mut Emit<'_>, signed: bool, rem: bool, a: Lanes, b: Lanes) -> Lanes {
    let narrow = carrier(a.dtype) == Carrier::Int32;
    let (mut x, mut y) = (a.value(), b.value());
    if narrow && signed {
        (x, y) = (e.ins().sextend(types::I64, x), e.ins().sextend(types::I64, y));
    }
    let ty = e.ty(x);
    let (zero, one) = (e.ins().iconst(ty, 0), e.ins().iconst(ty, 1));
    let is_zero = e.ins().icmp(IntCC::Equal, y, zero);
    let mut safe = e.ins().select(is_zero, one, y);
    let whole = signed && !narrow;
    let minus_one = whole.then(|| e.ins().icmp_imm_s(IntCC::Equal, y, -1));
    if let Some(minus_one) = minus_one {
        safe = e.ins().select(minus_one, one, safe);
    }
    let mut result = match (signed, rem) {
        (true, false) => e.ins().sdiv(x, safe),
        (true, true) => e.ins().srem(x, safe),
        (false, false) => e.ins().udiv(x, safe),
        (false, true) => e.ins().urem(x, safe),
    };
    if let Some(minus_one) = minus_one {
        // With the divisor 1 in place of -1 the remainder is 0 already; the quotient needs its sign.
        if !rem {
            let negated = e.ins().ineg(result);
            result = e.ins().select(minus_one, negated, result);
        }
    }
    if narrow && signed {
        result = e.ins().ireduce(types::I32, result);
    }
    Lanes::one(a.dtype, result)
}

fn shift(e: &mut Emit<'_>, left: bool, a: Lanes, b: Lanes) -> Lanes {
    let count = e.ins().band_imm_u(b.value(), 8 * a.dtype.bytes() as i64 - 1);
    let value = match (left, a.dtype.kind() == Kind::Signed) {
        (true, _) => e.ins().ishl(a.value(), count),
        (false, true) => e.ins().sshr(a.value(), count),
        (false, false) => e.ins().ushr(a.value(), count),
    };
    Lanes::one(a.dtype, value)
}

/// Whether any lane of an integer group is 0, as an i8: a division by it is a fault.
pub fn any_zero(e: &mut Emit<'_>, x: Lanes) -> Value {
    let zero = constant(e, x.dtype, Scalar::Int(0), x.width);
    let hits = compare(e, BinaryOp::Eq, x, zero);
    any_true(e, hits)
}

/// Whether any lane of a bool group holds, as an i8.
pub fn any_true(e: &mut Emit<'_>, x: Lanes) -> Value {
    match x.width {
        Width::One => x.value(),
        Width::Four => e.ins().vany_true(x.value()),
    }
}

fn compare(e: &mut Emit<'_>, op: BinaryOp, a: Lanes, b: Lanes) -> Lanes {
    let raw = match a.dtype.kind() {
        Kind::Float => {
            let cc = float_condition(op);
            a.zip(b, a.dtype, |x, y| e.ins().fcmp(cc, x, y))
        }
        Kind::Bool | Kind::Signed | Kind::Unsigned => {
            let wide_unsigned = a.dtype == DType::U64 && a.width == Width::Four;
            let (a, b) = if wide_unsigned { (flip_sign(e, a), flip_sign(e, b)) } else { (a, b) };
            // Small unsigned numbers are zero-extended, so the signed comparison, which vectors have, is right as well.
            let signed = a.dtype != DType::U32 && a.dtype != DType::U64 || wide_unsigned;
            let cc = int_condition(op, signed);
            a.zip(b, a.dtype, |x, y| e.ins().icmp(cc, x, y))
        }
    };
    narrow_bools(e, raw)
}

fn flip_sign(e: &mut Emit<'_>, x: Lanes) -> Lanes {
    let sign = constant(e, x.dtype, Scalar::Int(i64::MIN), x.width);
    x.zip(sign, x.dtype, |v, s| e.ins().bxor(v, s))
}

/// Two masks of 64-bit lanes become one of 32-bit lanes.
fn narrow_bools(e: &mut Emit<'_>, raw: Lanes) -> Lanes {
    if raw.values().len() == 1 {
        return Lanes::from_values(DType::Bool, raw.width, &raw.values());
    }
    let (low, high) = raw.halves();
    let (low, high) = (bits_as(e, low, types::I32X4), bits_as(e, high, types::I32X4));
    Lanes::four(DType::Bool, shuffle32(e, low, high, [0, 2, 4, 6]))
}

fn float_condition(op: BinaryOp) -> FloatCC {
    match op {
        BinaryOp::Eq => FloatCC::Equal,
        BinaryOp::Lt => FloatCC::LessThan,
        BinaryOp::Le => FloatCC::LessThanOrEqual,
        BinaryOp::Gt => FloatCC::GreaterThan,
        BinaryOp::Ge => FloatCC::GreaterThanOrEqual,
        BinaryOp::Ne
        | BinaryOp::Add
        | BinaryOp::Sub
        | BinaryOp::Mul
        | BinaryOp::Div
        | BinaryOp::Rem
        | BinaryOp::Min
        | BinaryOp::Max
        | BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Xor
        | BinaryOp::Shl
        | BinaryOp::Shr => FloatCC::NotEqual,
    }
}

fn int_condition(op: BinaryOp, signed: bool) -> IntCC {
    match (op, signed) {
        (BinaryOp::Eq, _) => IntCC::Equal,
        (BinaryOp::Lt, true) => IntCC::SignedLessThan,
        (BinaryOp::Le, true) => IntCC::SignedLessThanOrEqual,
        (BinaryOp::Gt, true) => IntCC::SignedGreaterThan,
        (BinaryOp::Ge, true) => IntCC::SignedGreaterThanOrEqual,
        (BinaryOp::Lt, false) => IntCC::UnsignedLessThan,
        (BinaryOp::Le, false) => IntCC::UnsignedLessThanOrEqual,
        (BinaryOp::Gt, false) => IntCC::UnsignedGreaterThan,
        (BinaryOp::Ge, false) => IntCC::UnsignedGreaterThanOrEqual,
        (
            BinaryOp::Ne
            | BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Rem
            | BinaryOp::Min
            | BinaryOp::Max
            | BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::Xor
            | BinaryOp::Shl
            | BinaryOp::Shr,
            _,
        ) => IntCC::NotEqual,
    }
}

/// `where(c, a, b)`.
pub fn select(e: &mut Emit<'_>, cond: Lanes, a: Lanes, b: Lanes) -> Lanes {
    if a.width == Width::One {
        return a.zip(b, a.dtype, |x, y| e.ins().select(cond.value(), x, y));
    }
    if a.values().len() == 1 {
        return a.zip(b, a.dtype, |x, y| choose(e, cond.value(), x, y));
    }
    let mask = cond.value();
    let low = shuffle32(e, mask, mask, [0, 0, 1, 1]);
    let high = shuffle32(e, mask, mask, [2, 2, 3, 3]);
    let ((a0, a1), (b0, b1)) = (a.halves(), b.halves());
    let (low, high) = (choose(e, low, a0, b0), choose(e, high, a1, b1));
    Lanes::of_halves(a.dtype, low, high)
}

/// `a * b + c` on groups of f32 or f64 (or a small float held unrounded), rounded once.
pub fn fused_multiply_add(e: &mut Emit<'_>, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
    let (av, bv, cv) = (a.values(), b.values(), c.values());
    let values: Vec<Value> = (0..av.len()).map(|n| e.ins().fma(av[n], bv[n], cv[n])).collect();
    Lanes::from_values(a.dtype, a.width, &values)
}

/// What a reduction starts from.
pub fn neutral(e: &mut Emit<'_>, op: ReduceOp, dtype: DType, width: Width) -> Lanes {
    constant(e, dtype, eval::neutral(op, dtype), width)
}

/// Least and greatest value of an integer dtype; for u64, its bits.
pub(crate) fn int_range(dtype: DType) -> (i64, i64) {
    let bits = 8 * dtype.bytes() as u32;
    match dtype.kind() {
        Kind::Signed => (i64::MIN >> (64 - bits), i64::MAX >> (64 - bits)),
        Kind::Bool | Kind::Unsigned | Kind::Float => (0, (u64::MAX >> (64 - bits)) as i64),
    }
}

/// Takes `x` into the running result `acc` of a reduction.
pub fn combine(e: &mut Emit<'_>, op: ReduceOp, acc: Lanes, x: Lanes) -> Lanes {
    let op = match op {
        ReduceOp::Sum => BinaryOp::Add,
        ReduceOp::Prod => BinaryOp::Mul,
        ReduceOp::Max => BinaryOp::Max,
        ReduceOp::Min => BinaryOp::Min,
        ReduceOp::Any => BinaryOp::Or,
        ReduceOp::All => BinaryOp::And,
    };
    binary(e, op, acc, x)
}

/// All lanes of a group combined into one element.
pub fn reduce(e: &mut Emit<'_>, op: ReduceOp, x: Lanes) -> Lanes {
    if x.width == Width::One {
        return x;
    }
    if x.values().len() == 1 {
        let swapped = x.map(x.dtype, |v| shuffle32(e, v, v, [2, 3, 0, 1]));
        let two = combine(e, op, x, swapped);
        let swapped = two.map(x.dtype, |v| shuffle32(e, v, v, [1, 0, 3, 2]));
        let one = combine(e, op, two, swapped);
        return extract(e, one, 0);
    }
    let lanes = [0, 1, 2, 3].map(|n| extract(e, x, n));
    let (left, right) = (combine(e, op, lanes[0], lanes[1]), combine(e, op, lanes[2], lanes[3]));
    combine(e, op, left, right)
}

/// Both groups in one width, the narrower splatted.
pub fn same_width(e: &mut Emit<'_>, a: Lanes, b: Lanes) -> (Lanes, Lanes) {
    let width = if a.width == Width::Four { Width::Four } else { b.width };
    (splat(e, a, width), splat(e, b, width))
}
