//! Bounds on block numbers, for the passes that restrict or divide loops: comparisons as sums that are at most zero, such
//! sums solved for the number, limits emitted in front of a loop. What a bound is good for is the pass's business.

use pantile_diag::Span;
use pantile_ir::{BinaryOp, DType, DimId, Func, Inst, Loop, Op, Over, Scalar, Type, Value};

use crate::analysis::affine::{Linear, linear};
use crate::analysis::defs::Defs;

/// One side of a stretch of numbers: `lo ≤ t` or `t < hi`, where the limit is `⌊sum ÷ factor⌋`.
pub(super) struct Interval {
    pub is_low: bool,
    sum: Linear,
    factor: i64,
    /// Whether the sum cannot be negative, so that truncating division is flooring.
    positive: bool,
}

/// Sums that are all at most 0 exactly where a comparison of i64s gives `holds`. `None` for one that is not a conjunction
/// of such (`!=`), or too large to tell.
#[allow(clippy::wildcard_enum_match_arm, reason = "no other op compares")]
pub(super) fn at_most_zero(func: &Func, defs: &Defs, v: Value, holds: bool) -> Option<Vec<Linear>> {
    use BinaryOp::{Eq, Ge, Gt, Le, Lt, Ne};
    let (Op::Binary(op), args) = defs.get(v)? else { return None };
    let is_i64 = |v: &Value| func.ty(*v).dtype() == DType::I64;
    if !op.is_comparison() || !args.iter().all(is_i64) {
        return None;
    }
    let op = match (op, holds) {
        (op, true) => *op,
        (Lt, false) => Ge,
        (Le, false) => Gt,
        (Gt, false) => Le,
        (Ge, false) => Lt,
        (Ne, false) => Eq,
        (_, false) => return None,
    };
    let difference = linear(func, defs, args[0])?.add(&linear(func, defs, args[1])?, -1)?;
    // With d = a - b over integers: a < b is d + 1 ≤ 0, a ≥ b is -d ≤ 0, and so on.
    let plus_one = |sum: Linear| Some(Linear { constant: sum.constant.checked_add(1)?, ..sum });
    let minus = Linear::default().add(&difference, -1)?;
    match op {
        Lt => Some(vec![plus_one(difference)?]),
        Le => Some(vec![difference]),
        Gt => Some(vec![plus_one(minus)?]),
        Ge => Some(vec![minus]),
        Eq => Some(vec![difference, minus]),
        _ => None,
    }
}

/// `factor · t + rest ≤ 0`, solved for t. `None` if t is not in it, or if computing the limit could wrap.
pub(super) fn solve(func: &Func, defs: &Defs, factor: i64, rest: Linear) -> Option<Interval> {
    if factor == 0 {
        return None;
    }
    // c > 0: t < ⌊-e ÷ c⌋ + 1 = ⌊(c - e) ÷ c⌋.   c < 0: t ≥ ⌈e ÷ -c⌉ = ⌊(e - c - 1) ÷ -c⌋.
    let limit = if factor > 0 {
        let minus = Linear::default().add(&rest, -1)?;
        Linear { constant: minus.constant.checked_add(factor)?, ..minus }
    } else {
        let constant = rest.constant.checked_sub(factor)?.checked_sub(1)?;
        Linear { constant, ..rest }
    };
    let positive = range(func, defs, &limit)?.0 >= 0;
    Some(Interval { is_low: factor < 0, sum: limit, factor: factor.checked_abs()?, positive })
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

/// Gives a walk the bounds `lo..hi` in place of those it has.
pub(super) fn set_bounds(inst: &mut Inst, it: &mut Loop, (lo, hi): (Value, Value)) {
    if it.bounds || it.over == Over::Range {
        inst.args[0] = lo;
        inst.args[1] = hi;
    } else {
        inst.args.splice(0..0, [lo, hi]);
        it.bounds = true;
    }
}

/// A place in the code, in front of a loop, where limits are computed.
pub(super) struct Site<'a> {
    pub func: &'a mut Func,
    pub defs: &'a mut Defs,
    pub out: &'a mut Vec<Inst>,
    pub span: Span,
}

impl Site<'_> {
    /// Appends an op that gives an i64.
    pub fn push(&mut self, op: Op, args: &[Value]) -> Value {
        let result = self.func.new_value(Type::Scalar(DType::I64));
        let inst = Inst { op, args: args.to_vec(), results: vec![result], regions: Vec::new(), span: self.span };
        self.defs.record(&inst);
        self.out.push(inst);
        result
    }

    /// A constant.
    pub fn int(&mut self, n: i64) -> Value {
        self.push(Op::Const(DType::I64, Scalar::Int(n)), &[])
    }

    /// An op of two i64s.
    pub fn binary(&mut self, op: BinaryOp, a: Value, b: Value) -> Value {
        self.push(Op::Binary(op), &[a, b])
    }

    /// The numbers that a loop visits as far as its bounds say.
    pub fn bounds(&mut self, inst: &Inst, it: &Loop) -> (Value, Value) {
        match &it.over {
            Over::Walk(d) if !it.bounds => (self.int(0), self.block_count(*d)),
            Over::Walk(_) | Over::Range => (inst.args[0], inst.args[1]),
        }
    }

    /// What of `lo..hi` lies within all intervals. It is empty, perhaps with its ends crossed, where nothing does.
    pub fn within(&mut self, (mut lo, mut hi): (Value, Value), intervals: &[Interval]) -> (Value, Value) {
        for interval in intervals {
            let limit = self.limit(interval);
            if interval.is_low {
                lo = self.binary(BinaryOp::Max, lo, limit);
            } else {
                hi = self.binary(BinaryOp::Min, hi, limit);
            }
        }
        (lo, hi)
    }

    fn block_count(&mut self, d: DimId) -> Value {
        let dim = self.func.dim(d).clone();
        let length = dim.over.and_then(|e| self.func.known_length(e, dim.order));
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
