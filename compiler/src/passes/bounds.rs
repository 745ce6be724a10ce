//! Bounds on block numbers, for the passes that restrict or divide loops: comparisons as sums that are at most zero, such
//! sums solved for the number, limits emitted in front of a loop. What a bound is good for is the pass's business.

use pantile_diag::Span;
use pantile_ir::{BinaryOp, DType, DimId, Func, Inst, Loop, Op, Over, Scalar, Type, UnaryOp, Value};

use crate::analysis::affine::{Linear, linear};
use crate::analysis::defs::Defs;

/// How many `min` and `max` inside each other are taken apart.
const NESTED: u32 = 3;

/// A number beyond this decides a comparison by itself, if it is compared with no more than
const FAR: i64 = 1 << 60;

/// so much times a block's number, and half of it besides.
const NEAR: i64 = 1 << 12;

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
    use BinaryOp::{Eq, Ge, Gt, Le, Lt};
    let (Op::Binary(op), args) = defs.get(v)? else { return None };
    let is_i64 = |v: &Value| func.ty(*v).dtype() == DType::I64;
    if !op.is_comparison() || !args.iter().all(is_i64) {
        return None;
    }
    let op = if holds { *op } else { op.negated()? };
    let (a, b) = (args[0], args[1]);
    match op {
        Lt => below(func, defs, a, b, 1),
        Le => below(func, defs, a, b, 0),
        Gt => below(func, defs, b, a, 1),
        Ge => below(func, defs, b, a, 0),
        Eq => Some([below(func, defs, a, b, 0)?, below(func, defs, b, a, 0)?].concat()),
        _ => None,
    }
}

/// `a + gap ≤ b` as sums that are at most 0: one for each sum that `a` is the greatest of, and `b` the least of.
fn below(func: &Func, defs: &Defs, a: Value, b: Value, gap: i64) -> Option<Vec<Linear>> {
    let (mut most, mut least) = (Vec::new(), Vec::new());
    extremes(func, defs, a, (true, NESTED), &mut most)?;
    extremes(func, defs, b, (false, NESTED), &mut least)?;
    let mut sums = Vec::new();
    for (a, b) in most.iter().flat_map(|a| least.iter().map(move |b| (a, b))) {
        let difference = a.add(b, -1)?;
        sums.push(Linear { constant: difference.constant.checked_add(gap)?, ..difference });
    }
    Some(sums)
}

/// The sums of which a value is the greatest (or the least).
#[allow(clippy::wildcard_enum_match_arm, reason = "all else is one sum")]
fn extremes(func: &Func, defs: &Defs, v: Value, (greatest, depth): (bool, u32), sums: &mut Vec<Linear>) -> Option<()> {
    let no_least = |v: Value| defs.range(func, v).is_some_and(|(lo, _)| lo > i128::from(i64::MIN));
    match defs.get(v).filter(|_| depth > 0) {
        Some((Op::Broadcast(_), args)) => extremes(func, defs, args[0], (greatest, depth), sums),
        Some((Op::Binary(op), args)) if *op == if greatest { BinaryOp::Max } else { BinaryOp::Min } => {
            args.iter().try_for_each(|x| extremes(func, defs, *x, (greatest, depth - 1), sums))
        }
        // The least number has no absolute value.
        Some((Op::Unary(UnaryOp::Abs), args)) if greatest && no_least(args[0]) => {
            let x = linear(func, defs, args[0])?;
            sums.push(Linear::default().add(&x, -1)?);
            sums.push(x);
            Some(())
        }
        _ => {
            sums.push(linear(func, defs, v)?);
            Some(())
        }
    }
}

/// `factor · t + rest ≤ 0`, solved for a block number t. `None` if t is not in it, or if computing the limit could wrap.
pub(super) fn solve(func: &Func, defs: &Defs, factor: i64, rest: Linear) -> Option<Interval> {
    let near = factor.abs() <= NEAR || rest.terms.keys().all(|v| defs.range(func, *v).is_some());
    if factor == 0 || !near {
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
        let far = (c.abs() == 1).then_some((-i128::from(FAR), i128::from(FAR)));
        let (a, b) = defs.range(func, *v).or(far)?;
        let (x, y) = (a * i128::from(*c), b * i128::from(*c));
        lo += x.min(y);
        hi += x.max(y);
        size += x.abs().max(y.abs());
    }
    // Room for the division's rounding, and for one number that is cut: the rest must not outweigh it.
    (size < (1 << 60) + (1 << 59)).then_some((lo, hi))
}

/// Whether computing a sum term by term cannot wrap, whatever its terms are.
pub(super) fn fits(func: &Func, defs: &Defs, sum: &Linear) -> bool {
    sum.terms.keys().all(|v| defs.range(func, *v).is_some()) && range(func, defs, sum).is_some()
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

    /// A number of which nothing is known, cut to where it is large enough.
    fn cut(&mut self, v: Value) -> Value {
        if self.defs.range(self.func, v).is_some() {
            return v;
        }
        let (lo, hi) = (self.int(-FAR), self.int(FAR));
        let v = self.binary(BinaryOp::Max, v, lo);
        self.binary(BinaryOp::Min, v, hi)
    }

    /// `⌊sum ÷ factor⌋`.
    fn limit(&mut self, interval: &Interval) -> Value {
        let mut sum = self.int(interval.sum.constant);
        for (v, c) in &interval.sum.terms {
            let (v, c) = (self.cut(*v), self.int(*c));
            let term = self.binary(BinaryOp::Mul, v, c);
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
