//! Element-wise ops. Transcendental functions are `math.rs`'s and `double.rs`'s business, division `divide.rs`'s.

use pantile_ir::{BinaryOp, DType, Kind, ReduceOp, UnaryOp};

use super::{carrier, convert, divide, double, float, integer, math};
use crate::simt::{Binary, Builder, Compare, Ty, Unary, Value};

/// `op x`.
pub(crate) fn unary(b: &mut Builder, op: UnaryOp, dtype: DType, x: Value) -> Value {
    match dtype.kind() {
        Kind::Bool if op == UnaryOp::Not => b.unary(Unary::Not, x),
        Kind::Bool => x,
        Kind::Signed | Kind::Unsigned => int_unary(b, op, dtype, x),
        Kind::Float => float_unary(b, op, dtype, x),
    }
}

fn int_unary(b: &mut Builder, op: UnaryOp, dtype: DType, x: Value) -> Value {
    match op {
        UnaryOp::Neg => negate(b, dtype, x),
        UnaryOp::Not => {
            let y = b.unary(Unary::Not, x);
            convert::normalise(b, dtype, y)
        }
        UnaryOp::Abs if dtype.kind() == Kind::Signed => {
            let minus = negate(b, dtype, x);
            b.binary(Binary::Max, x, minus)
        }
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

/// `-x` of an integer.
fn negate(b: &mut Builder, dtype: DType, x: Value) -> Value {
    let zero = integer(b, dtype, 0);
    let y = b.sub(zero, x);
    convert::normalise(b, dtype, y)
}

fn float_unary(b: &mut Builder, op: UnaryOp, dtype: DType, x: Value) -> Value {
    let exact = match op {
        UnaryOp::Not => return x,
        UnaryOp::Neg => Some(Unary::Neg),
        UnaryOp::Abs => Some(Unary::Abs),
        UnaryOp::Floor => Some(Unary::Floor),
        UnaryOp::Ceil => Some(Unary::Ceil),
        UnaryOp::Round => Some(Unary::Round),
        UnaryOp::Exp
        | UnaryOp::Exp2
        | UnaryOp::Log
        | UnaryOp::Log2
        | UnaryOp::Sqrt
        | UnaryOp::Rsqrt
        | UnaryOp::Sin
        | UnaryOp::Cos
        | UnaryOp::Tanh
        | UnaryOp::Erf
        | UnaryOp::Sigmoid => None,
    };
    match exact {
        // A small float's integral neighbours, negative and magnitude are values of its dtype.
        Some(op) => b.unary(op, x),
        None if dtype == DType::F64 => double::transcendental(b, op, x),
        None => {
            let y = math::transcendental(b, op, dtype, x);
            convert::round(b, dtype, y)
        }
    }
}

/// `x op y`; comparisons give a `Bool`. Division of an integer by zero gives any value: [`is_zero`] tells.
pub(crate) fn binary(b: &mut Builder, op: BinaryOp, dtype: DType, x: Value, y: Value) -> Value {
    if op.is_comparison() {
        return compare(b, op, dtype, x, y);
    }
    match dtype.kind() {
        Kind::Bool => bits_binary(b, op, x, y).unwrap_or(x),
        Kind::Signed | Kind::Unsigned => int_binary(b, op, dtype, x, y),
        Kind::Float => float_binary(b, op, dtype, x, y),
    }
}

fn compare(b: &mut Builder, op: BinaryOp, dtype: DType, x: Value, y: Value) -> Value {
    if dtype == DType::Bool {
        let (x, y) = (b.zero_extend(Ty::I32, x), b.zero_extend(Ty::I32, y));
        return compare(b, op, DType::U8, x, y);
    }
    let signed = dtype.kind() != Kind::Unsigned;
    let how = match op {
        BinaryOp::Eq => Compare::Eq,
        BinaryOp::Lt => [Compare::ULt, Compare::Lt][usize::from(signed)],
        BinaryOp::Le => [Compare::ULe, Compare::Le][usize::from(signed)],
        BinaryOp::Gt => [Compare::UGt, Compare::Gt][usize::from(signed)],
        BinaryOp::Ge => [Compare::UGe, Compare::Ge][usize::from(signed)],
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
        | BinaryOp::Shr => Compare::Ne,
    };
    b.compare(how, x, y)
}

/// `and`, `or` and `xor`, bit by bit.
fn bits_binary(b: &mut Builder, op: BinaryOp, x: Value, y: Value) -> Option<Value> {
    let op = match op {
        BinaryOp::And => Binary::And,
        BinaryOp::Or => Binary::Or,
        BinaryOp::Xor => Binary::Xor,
        BinaryOp::Add
        | BinaryOp::Sub
        | BinaryOp::Mul
        | BinaryOp::Div
        | BinaryOp::Rem
        | BinaryOp::Min
        | BinaryOp::Max
        | BinaryOp::Shl
        | BinaryOp::Shr
        | BinaryOp::Eq
        | BinaryOp::Ne
        | BinaryOp::Lt
        | BinaryOp::Le
        | BinaryOp::Gt
        | BinaryOp::Ge => return None,
    };
    Some(b.binary(op, x, y))
}

fn int_binary(b: &mut Builder, op: BinaryOp, dtype: DType, x: Value, y: Value) -> Value {
    let signed = dtype.kind() == Kind::Signed;
    let z = match op {
        BinaryOp::Add => b.add(x, y),
        BinaryOp::Sub => b.sub(x, y),
        BinaryOp::Mul => b.mul(x, y),
        BinaryOp::Div => divide::integers(b, false, dtype, x, y),
        BinaryOp::Rem => return divide::integers(b, true, dtype, x, y),
        BinaryOp::Min => return b.binary(if signed { Binary::Min } else { Binary::UMin }, x, y),
        BinaryOp::Max => return b.binary(if signed { Binary::Max } else { Binary::UMax }, x, y),
        BinaryOp::Shl => {
            let by = b.and_const(y, 8 * dtype.bytes() as i64 - 1);
            b.binary(Binary::Shl, x, by)
        }
        BinaryOp::Shr => {
            let by = b.and_const(y, 8 * dtype.bytes() as i64 - 1);
            return b.binary(if signed { Binary::Shr } else { Binary::UShr }, x, by);
        }
        BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Xor
        | BinaryOp::Eq
        | BinaryOp::Ne
        | BinaryOp::Lt
        | BinaryOp::Le
        | BinaryOp::Gt
        | BinaryOp::Ge => return bits_binary(b, op, x, y).unwrap_or(x),
    };
    convert::normalise(b, dtype, z)
}

fn float_binary(b: &mut Builder, op: BinaryOp, dtype: DType, x: Value, y: Value) -> Value {
    let op = match op {
        BinaryOp::Add => Binary::Add,
        BinaryOp::Sub => Binary::Sub,
        BinaryOp::Mul => Binary::Mul,
        BinaryOp::Div => Binary::Div,
        BinaryOp::Rem => return divide::floats(b, x, y),
        BinaryOp::Min => return b.binary(Binary::Min, x, y),
        BinaryOp::Max => return b.binary(Binary::Max, x, y),
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
        | BinaryOp::Ge => return x,
    };
    let z = b.binary(op, x, y);
    convert::round(b, dtype, z)
}

/// Whether an element is zero: what a division asks of its divisor.
pub(crate) fn is_zero(b: &mut Builder, dtype: DType, x: Value) -> Value {
    match carrier(dtype) {
        Ty::Bool => b.unary(Unary::Not, x),
        Ty::I32 | Ty::I64 => {
            let zero = integer(b, dtype, 0);
            b.compare(Compare::Eq, x, zero)
        }
        ty @ (Ty::F32 | Ty::F64) => {
            let zero = float(b, ty, 0.0);
            b.compare(Compare::Eq, x, zero)
        }
    }
}

/// `c ? x : y`.
pub(crate) fn select(b: &mut Builder, c: Value, x: Value, y: Value) -> Value {
    b.select(c, x, y)
}

/// What a reduction has after one more element. The dtype is the accumulator's.
pub(crate) fn combine(b: &mut Builder, op: ReduceOp, dtype: DType, acc: Value, x: Value) -> Value {
    let op = match op {
        ReduceOp::Sum => BinaryOp::Add,
        ReduceOp::Prod => BinaryOp::Mul,
        ReduceOp::Max => BinaryOp::Max,
        ReduceOp::Min => BinaryOp::Min,
        ReduceOp::Any => BinaryOp::Or,
        ReduceOp::All => BinaryOp::And,
    };
    binary(b, op, dtype, acc, x)
}
