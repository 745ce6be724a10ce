//! Comparisons of block numbers, solved for bounds: `c·j + e < 0` for a constant `c` and a loop-invariant `e`.

use pantile_diag::Span;
use pantile_ir::{BinaryOp, DType, Func, Inst, Loop, Op, Over, Region, Scalar, Type, Value};

use super::{Skip, is_inside};
use crate::analysis::affine::{Linear, linear};
use crate::analysis::defs::Defs;

/// One side of what a loop visits: `lo ≤ t` or `t < hi`, where the limit is `⌊sum ÷ factor⌋`.
pub(super) struct Interval {
    is_low: bool,
    sum: Linear,
    factor: i64,
    /// Whether the sum cannot be negative, so that truncating division is flooring.
    positive: bool,
}

/// A conjunct as bounds on the block number (or the number of a range).
pub(super) fn bound(func: &Func, defs: &Defs, guard: &Region, it: &Loop, v: Value) -> Option<Vec<Interval>> {
    use BinaryOp::{Eq, Ge, Gt, Le, Lt};
    let (Op::Binary(op), args) = defs.get(v)? else { return None };
    if func.ty(args[0]) != &Type::Scalar(DType::I64) || func.ty(args[1]) != &Type::Scalar(DType::I64) {
        return None;
    }
    let difference = linear(func, defs, args[0])?.add(&linear(func, defs, args[1])?, -1)?;
    // With d = a - b over integers: a < b is d + 1 ≤ 0, a ≥ b is -d ≤ 0, and so on.
    let least =
        |sum: Linear, k: i64| -> Option<Linear> { Some(Linear { constant: sum.constant.checked_add(k)?, ..sum }) };
    let minus = Linear::default().add(&difference, -1)?;
    let at_most_zero = match op {
        Lt => vec![least(difference, 1)?],
        Le => vec![difference],
        Gt => vec![least(minus, 1)?],
        Ge => vec![minus],
        Eq => vec![difference, minus],
        BinaryOp::Add
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
        | BinaryOp::Shr
        | BinaryOp::Ne => return None,
    };
    at_most_zero.into_iter().map(|sum| solve(func, defs, guard, it, sum)).collect()
}

/// `c·t + e ≤ 0`, solved for t.
fn solve(func: &Func, defs: &Defs, guard: &Region, it: &Loop, mut sum: Linear) -> Option<Interval> {
    let numbers: Vec<Value> = sum.terms.keys().copied().filter(|v| is_number(defs, guard, it, *v)).collect();
    let mut factor = 0_i64;
    for v in numbers {
        factor = factor.checked_add(sum.take(v))?;
    }
    if factor == 0 || sum.terms.keys().any(|v| is_inside(guard, *v)) {
        return None;
    }
    // c > 0: t < ⌊-e ÷ c⌋ + 1 = ⌊(c - e) ÷ c⌋.   c < 0: t ≥ ⌈e ÷ -c⌉ = ⌊(e - c - 1) ÷ -c⌋.
    let limit = if factor > 0 {
        let minus = Linear::default().add(&sum, -1)?;
        Linear { constant: minus.constant.checked_add(factor)?, ..minus }
    } else {
        let constant = sum.constant.checked_sub(factor)?.checked_sub(1)?;
        Linear { constant, ..sum }
    };
    let positive = range(func, defs, &limit)?.0 >= 0;
    Some(Interval { is_low: factor < 0, sum: limit, factor: factor.checked_abs()?, positive })
}

/// Whether a value is the block number of the loop, or the number its guard is given.
fn is_number(defs: &Defs, guard: &Region, it: &Loop, v: Value) -> bool {
    match it.over {
        Over::Range => guard.args.first() == Some(&v),
        Over::Walk(dim) => matches!(defs.get(v), Some((Op::BlockIndex(d), _)) if *d == dim),
    }
}

/// The numbers that a sum can be, if computing it term by term cannot wrap.
fn range(func: &Func, defs: &Defs, sum: &Linear) -> Option<(i128, i128)> {
    let (mut lo, mut hi) = (i128::from(sum.constant), i128::from(sum.constant));
    let mut size = hi.abs();
    for (v, c) in &sum.terms {
        let (a, b) = defs.range(func, *v)?;
        let (x, y) = (a * i128::from(*c), b * i128::from(*c));
        lo += x.min(y);
        hi += x.max(y);
        size += x.abs().max(y.abs());
    }
    // Room for the division's rounding as well.
    (size < 1 << 62).then_some((lo, hi))
}

/// Emits the limits in front of the loop, within those it has.
pub(super) fn emit_bounds(
    skip: &mut Skip,
    it: &Loop,
    old: Option<(Value, Value)>,
    intervals: &[Interval],
    span: Span,
) -> (Value, Value) {
    let mut e = Emit { skip, span };
    let (mut lo, mut hi) = match (old, &it.over) {
        (Some(old), _) => old,
        (None, Over::Walk(d)) => (e.int(0), e.block_count(*d)),
        (None, Over::Range) => (e.int(0), e.int(0)),
    };
    for interval in intervals {
        let limit = e.limit(interval);
        if interval.is_low {
            lo = e.binary(BinaryOp::Max, lo, limit);
        } else {
            hi = e.binary(BinaryOp::Min, hi, limit);
        }
    }
    (lo, hi)
}

struct Emit<'s, 'f> {
    skip: &'s mut Skip<'f>,
    span: Span,
}

impl Emit<'_, '_> {
    fn push(&mut self, op: Op, args: &[Value]) -> Value {
        let result = self.skip.func.new_value(Type::Scalar(DType::I64));
        let inst = Inst { op, args: args.to_vec(), results: vec![result], regions: Vec::new(), span: self.span };
        self.skip.defs.record(&inst);
        self.skip.out.push(inst);
        result
    }

    fn int(&mut self, n: i64) -> Value {
        self.push(Op::Const(DType::I64, Scalar::Int(n)), &[])
    }

    fn binary(&mut self, op: BinaryOp, a: Value, b: Value) -> Value {
        self.push(Op::Binary(op), &[a, b])
    }

    fn block_count(&mut self, d: pantile_ir::DimId) -> Value {
        let dim = self.skip.func.dim(d).clone();
        let length = dim.over.and_then(|e| self.skip.func.known_length(e, dim.order));
        match (length, dim.over) {
            (None, Some(e)) => {
                let n = self.push(Op::Extent(e), &[]);
                let round_up = self.int(dim.size - 1);
                let n = self.binary(BinaryOp::Add, n, round_up);
                let size = self.int(dim.size);
                self.binary(BinaryOp::Div, n, size)
            }
            (length, _) => {
                let n = length.unwrap_or(dim.size);
                self.int(n / dim.size + i64::from(n % dim.size != 0))
            }
        }
    }

    /// `⌊sum ÷ factor⌋`.
    fn limit(&mut self, interval: &Interval) -> Value {
        let mut sum = self.int(interval.sum.constant);
        for (v, c) in &interval.sum.terms {
            let c = self.int(*c);
            let term = self.binary(BinaryOp::Mul, *v, c);
            sum = self.binary(BinaryOp::Add, sum, term);
        }
        if interval.factor == 1 {
            return sum;
        }
        let factor = self.int(interval.factor);
        if !interval.positive {
            // Truncating division is flooring once the remainder, made non-negative, is taken off.
            let rest = self.binary(BinaryOp::Rem, sum, factor);
            let rest = self.binary(BinaryOp::Add, rest, factor);
            let rest = self.binary(BinaryOp::Rem, rest, factor);
            sum = self.binary(BinaryOp::Sub, sum, rest);
        }
        self.binary(BinaryOp::Div, sum, factor)
    }
}
