//! Rules of element-wise arithmetic. A rule that gives another bit pattern for some operand does not belong here.

use std::f64::consts::LOG2_E;

use pantile_ir::{BinaryOp, DType, Inst, Kind, Op, Scalar, UnaryOp, Value, eval};

use crate::passes::rewrite::Rewriter;

#[allow(clippy::wildcard_enum_match_arm, reason = "other ops have no algebra")]
pub(super) fn simplify(rw: &mut Rewriter, inst: &Inst) -> Option<Value> {
    match &inst.op {
        Op::Unary(op) => unary(rw, inst, *op),
        Op::Binary(op) => binary(rw, inst, *op),
        Op::Select => select(rw, inst),
        Op::Cast(to) => cast(rw, inst, *to),
        _ => None,
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "only some ops have such a rule")]
fn unary(rw: &mut Rewriter, inst: &Inst, op: UnaryOp) -> Option<Value> {
    let x = inst.args[0];
    if op == UnaryOp::Exp {
        return exp(rw, x);
    }
    let (Op::Unary(inner), args) = rw.defs.get(x)? else { return None };
    let (inner, arg) = (*inner, args[0]);
    match (op, inner) {
        (UnaryOp::Neg, UnaryOp::Neg) | (UnaryOp::Not, UnaryOp::Not) => Some(arg),
        (UnaryOp::Abs, UnaryOp::Neg) => rw.emit(Op::Unary(UnaryOp::Abs), &[arg]),
        (UnaryOp::Abs, UnaryOp::Abs) => Some(x),
        (UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round, UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round) => Some(x),
        _ => None,
    }
}

/// `exp(x · c)` is `exp2(x · (c · log2 e))`, which costs one multiplication less everywhere.
fn exp(rw: &mut Rewriter, x: Value) -> Option<Value> {
    let dtype = rw.func.ty(x).dtype();
    let (Op::Binary(BinaryOp::Mul), args) = rw.defs.get(x)? else { return None };
    // Narrower floats would lose the precision of the constant.
    if !matches!(dtype, DType::F32 | DType::F64) {
        return None;
    }
    let (a, b) = (args[0], args[1]);
    let (rest, c) = match (rw.defs.constant(a), rw.defs.constant(b)) {
        (_, Some(c)) => (a, c),
        (Some(c), _) => (b, c),
        (None, None) => return None,
    };
    let ty = rw.func.ty(if rest == a { b } else { a }).clone();
    let c = rw.constant(&ty, Scalar::Float(eval::round(dtype, c.as_f64() * LOG2_E)))?;
    let product = rw.emit(Op::Binary(BinaryOp::Mul), &[rest, c])?;
    rw.emit(Op::Unary(UnaryOp::Exp2), &[product])
}

fn binary(rw: &mut Rewriter, inst: &Inst, op: BinaryOp) -> Option<Value> {
    let (a, b) = (inst.args[0], inst.args[1]);
    let ty = rw.func.ty(inst.results[0]).clone();
    let dtype = rw.func.ty(a).dtype();
    // Which zero a float minimum of two zeros gives may depend on the order.
    let swaps = op.is_commutative() && !(matches!(op, BinaryOp::Min | BinaryOp::Max) && dtype.is_float());
    if swaps && rw.defs.constant(a).is_some() && rw.defs.constant(b).is_none() {
        // Constants stand on the right, so that each rule below needs one form only.
        return rw.emit(Op::Binary(op), &[b, a]);
    }
    if let Some(c) = rw.defs.constant(b) {
        if is_right_identity(op, dtype, c) {
            return rw.fit(a, &ty);
        }
        if let Some(x) = absorbed(op, dtype, c) {
            return rw.constant(&ty, x);
        }
        if let Some(v) = with_constant(rw, op, a, b, c) {
            return Some(v);
        }
    }
    if a == b {
        return same(rw, op, a, inst);
    }
    compared(rw, op, inst)
}

/// Whether `x op c` is `x`, bit for bit.
#[allow(clippy::wildcard_enum_match_arm, reason = "only some ops have such a rule")]
fn is_right_identity(op: BinaryOp, dtype: DType, c: Scalar) -> bool {
    use BinaryOp::{Add, And, Div, Eq, Mul, Ne, Or, Shl, Shr, Sub, Xor};
    match (op, c) {
        (Mul | Div, Scalar::Float(x)) => x == 1.0,
        (Add, Scalar::Float(x)) => x == 0.0 && x.is_sign_negative(),
        (Sub, Scalar::Float(x)) => x == 0.0 && x.is_sign_positive(),
        (Add | Sub | Or | Xor | Shl | Shr, Scalar::Int(n)) => n == 0,
        (Mul | Div, Scalar::Int(n)) => n == 1,
        (And, Scalar::Int(n)) => n == eval::wrap(dtype, -1),
        (And | Eq, Scalar::Bool(b)) => b,
        (Or | Xor | Ne, Scalar::Bool(b)) => !b,
        _ => false,
    }
}

/// What `x op c` is whatever `x` is.
#[allow(clippy::wildcard_enum_match_arm, reason = "only some ops have such a rule")]
fn absorbed(op: BinaryOp, dtype: DType, c: Scalar) -> Option<Scalar> {
    match (op, c) {
        (BinaryOp::Mul | BinaryOp::And, Scalar::Int(0)) => Some(Scalar::Int(0)),
        (BinaryOp::Rem, Scalar::Int(1)) => Some(Scalar::Int(0)),
        (BinaryOp::Or, Scalar::Int(n)) if n == eval::wrap(dtype, -1) => Some(c),
        (BinaryOp::And, Scalar::Bool(false)) | (BinaryOp::Or, Scalar::Bool(true)) => Some(c),
        _ => None,
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "only some ops have such a rule")]
fn with_constant(rw: &mut Rewriter, op: BinaryOp, a: Value, b: Value, c: Scalar) -> Option<Value> {
    let dtype = rw.func.ty(a).dtype();
    match (op, c) {
        (BinaryOp::Eq, Scalar::Bool(false)) | (BinaryOp::Xor | BinaryOp::Ne, Scalar::Bool(true)) => {
            let ty = rw.func.ty(a).clone();
            let wide = pantile_ir::Type::tile(dtype, ty.dims().iter().chain(rw.func.ty(b).dims()).copied());
            let a = rw.fit(a, &wide)?;
            rw.emit(Op::Unary(UnaryOp::Not), &[a])
        }
        (BinaryOp::Div, Scalar::Float(x)) => {
            // The reciprocal of a power of two is exact, and so is the product wherever the quotient was.
            let inverse = 1.0 / x;
            let exact = x.is_normal() && x.to_bits() << 12 == 0 && inverse.is_normal();
            let fits = eval::round(dtype, inverse) == inverse && eval::round(dtype, x) == x;
            if !exact || !fits {
                return None;
            }
            let ty = rw.func.ty(b).clone();
            let inverse = rw.constant(&ty, Scalar::Float(inverse))?;
            rw.emit(Op::Binary(BinaryOp::Mul), &[a, inverse])
        }
        (BinaryOp::Add | BinaryOp::Mul, Scalar::Int(n)) => reassociate(rw, op, a, b, n),
        (BinaryOp::Sub, Scalar::Int(n)) => {
            let ty = rw.func.ty(b).clone();
            let minus = rw.constant(&ty, Scalar::Int(eval::wrap(dtype, n.wrapping_neg())))?;
            rw.emit(Op::Binary(BinaryOp::Add), &[a, minus])
        }
        (BinaryOp::Div | BinaryOp::Rem, Scalar::Int(n)) => power_of_two(rw, op, a, b, n),
        _ => None,
    }
}

/// `(x + c) + d` and `(x · c) · d`, in wrapping arithmetic.
fn reassociate(rw: &mut Rewriter, op: BinaryOp, a: Value, b: Value, n: i64) -> Option<Value> {
    let dtype = rw.func.ty(a).dtype();
    let (Op::Binary(inner), args) = rw.defs.get(a)? else { return None };
    let (x, c) = (args[0], args[1]);
    if *inner != op {
        return None;
    }
    let m = rw.defs.int(c)?;
    let both = eval::binary(op, dtype, Scalar::Int(m), Scalar::Int(n))?;
    let ty = pantile_ir::Type::tile(dtype, rw.func.ty(b).dims().iter().chain(rw.func.ty(c).dims()).copied());
    let both = rw.constant(&ty, both)?;
    rw.emit(Op::Binary(op), &[x, both])
}

/// Division and remainder of what cannot be negative.
#[allow(clippy::wildcard_enum_match_arm, reason = "only some ops have such a rule")]
fn power_of_two(rw: &mut Rewriter, op: BinaryOp, a: Value, b: Value, n: i64) -> Option<Value> {
    let unsigned = rw.func.ty(a).dtype().kind() == Kind::Unsigned;
    let positive = unsigned || rw.defs.range(rw.func, a).is_some_and(|(lo, _)| lo >= 0);
    if n < 2 || n.count_ones() != 1 || !positive {
        return None;
    }
    let (op, c) = match op {
        BinaryOp::Div => (BinaryOp::Shr, i64::from(n.trailing_zeros())),
        _ => (BinaryOp::And, n - 1),
    };
    let ty = rw.func.ty(b).clone();
    let c = rw.constant(&ty, Scalar::Int(c))?;
    rw.emit(Op::Binary(op), &[a, c])
}

#[allow(clippy::wildcard_enum_match_arm, reason = "only some ops have such a rule")]
fn same(rw: &mut Rewriter, op: BinaryOp, a: Value, inst: &Inst) -> Option<Value> {
    use BinaryOp::{And, Eq, Ge, Gt, Le, Lt, Max, Min, Ne, Or, Sub, Xor};
    let ty = rw.func.ty(inst.results[0]).clone();
    let float = rw.func.ty(a).dtype().is_float();
    match op {
        Min | Max | And | Or => Some(a),
        Sub | Xor if !float => rw.constant(&ty, Scalar::zero(ty.dtype())),
        Eq | Le | Ge if !float => rw.constant(&ty, Scalar::Bool(true)),
        Ne | Lt | Gt if !float => rw.constant(&ty, Scalar::Bool(false)),
        _ => None,
    }
}

/// Comparisons, `min` and `max` of numbers whose ranges decide them.
#[allow(clippy::wildcard_enum_match_arm, reason = "only some ops have such a rule")]
fn compared(rw: &mut Rewriter, op: BinaryOp, inst: &Inst) -> Option<Value> {
    use BinaryOp::{Ge, Gt, Le, Lt, Max, Min};
    if !matches!(op, Ge | Gt | Le | Lt | Max | Min) || rw.func.ty(inst.args[0]).dtype() == DType::U64 {
        return None;
    }
    let (a, b) = (rw.defs.range(rw.func, inst.args[0])?, rw.defs.range(rw.func, inst.args[1])?);
    let ty = rw.func.ty(inst.results[0]).clone();
    let (below, above) = (a.1 <= b.0, a.0 >= b.1);
    let (strictly_below, strictly_above) = (a.1 < b.0, a.0 > b.1);
    match op {
        Min if below => rw.fit(inst.args[0], &ty),
        Min if above => rw.fit(inst.args[1], &ty),
        Max if above => rw.fit(inst.args[0], &ty),
        Max if below => rw.fit(inst.args[1], &ty),
        Lt if strictly_below || above => rw.constant(&ty, Scalar::Bool(strictly_below)),
        Le if below || strictly_above => rw.constant(&ty, Scalar::Bool(below)),
        Gt if strictly_above || below => rw.constant(&ty, Scalar::Bool(strictly_above)),
        Ge if above || strictly_below => rw.constant(&ty, Scalar::Bool(above)),
        _ => None,
    }
}

fn select(rw: &mut Rewriter, inst: &Inst) -> Option<Value> {
    let (c, a, b) = (inst.args[0], inst.args[1], inst.args[2]);
    let ty = rw.func.ty(inst.results[0]).clone();
    if let Some(c) = rw.defs.constant(c) {
        return rw.fit(if c.as_bool() { a } else { b }, &ty);
    }
    if a == b {
        return rw.fit(a, &ty);
    }
    if let Some((Op::Unary(UnaryOp::Not), args)) = rw.defs.get(c) {
        let inner = args[0];
        return rw.emit(Op::Select, &[inner, b, a]);
    }
    match (rw.defs.constant(a), rw.defs.constant(b)) {
        (Some(Scalar::Bool(true)), Some(Scalar::Bool(false))) => rw.fit(c, &ty),
        _ => None,
    }
}

fn cast(rw: &mut Rewriter, inst: &Inst, to: DType) -> Option<Value> {
    let x = inst.args[0];
    let middle = rw.func.ty(x).dtype();
    if middle == to {
        return Some(x);
    }
    let (Op::Cast(_), args) = rw.defs.get(x)? else { return None };
    let inner = args[0];
    let from = rw.func.ty(inner).dtype();
    if !holds(middle, from) {
        return None;
    }
    if from == to {
        return Some(inner);
    }
    let alike = |a: DType, b: DType| a.is_float() == b.is_float() && a.is_int() == b.is_int();
    (alike(from, middle) && alike(middle, to)).then(|| rw.emit(Op::Cast(to), &[inner])).flatten()
}

/// Whether one dtype has every value of another.
fn holds(wide: DType, narrow: DType) -> bool {
    // Bits of the significand and size of the exponent, by which floats contain floats.
    let float = |dtype: DType| match dtype {
        DType::F8E4M3 => Some((4, 4)),
        DType::F8E5M2 => Some((3, 5)),
        DType::F16 => Some((11, 5)),
        DType::BF16 => Some((8, 8)),
        DType::F32 => Some((24, 8)),
        DType::F64 => Some((53, 11)),
        DType::Bool
        | DType::I8
        | DType::I16
        | DType::I32
        | DType::I64
        | DType::U8
        | DType::U16
        | DType::U32
        | DType::U64 => None,
    };
    let bits = |dtype: DType| 8 * dtype.bytes();
    match (wide.kind(), narrow.kind()) {
        _ if wide == narrow => true,
        (Kind::Float, Kind::Float) => float(wide).zip(float(narrow)).is_some_and(|(w, n)| w.0 >= n.0 && w.1 >= n.1),
        (Kind::Signed | Kind::Unsigned, Kind::Bool) => true,
        (Kind::Signed, Kind::Signed) | (Kind::Unsigned, Kind::Unsigned) => bits(wide) >= bits(narrow),
        (Kind::Signed, Kind::Unsigned) => bits(wide) > bits(narrow),
        (Kind::Float, Kind::Signed | Kind::Unsigned) => float(wide).is_some_and(|w| w.0 >= bits(narrow)),
        (Kind::Float, Kind::Bool) => true,
        (Kind::Unsigned, Kind::Signed)
        | (Kind::Signed | Kind::Unsigned | Kind::Bool, Kind::Float)
        | (Kind::Bool, Kind::Bool | Kind::Signed | Kind::Unsigned) => false,
    }
}
