//! Whether a round of a loop does nothing where an element mask keeps nothing: the reason why it may be left out.
//!
//! A round is *idle* if, with one bool of its body the same at all lanes, it leaves each carried value as it was, or makes
//! it a NaN. A NaN comes of `0 · inf` or `-inf - -inf` only: of data that the mask says is not to be looked at, or of a
//! row that has seen nothing. Zeros may change their sign. What a round stores or prints is the caller's question.
//!
//! Each value gets a fact: it is this constant, or this carried value, or anything; or else a NaN. Attention by running
//! maximum, with all its scores `-inf`:
//!
//! ```text
//! %new  = max %top, (max %s over j)          %top, as max x, -inf = x
//! %p    = exp2 (sub %s, %new)                0 or NaN, as -inf - x is -inf or NaN
//! %fade = exp2 (sub %top, %new)              1 or NaN, as x - x is 0 or NaN
//! %den' = add (mul %den, %fade), (sum %p)    %den or NaN
//! ```
//! Where a body asks whether a carried value is still at its start (`where(new > -inf, new, 0.0)`), the cases are looked at
//! one by one: at its start, a NaN, anything else. While a maximum stands at its start, all that went into it was as low;
//! if that keeps other carried values at their start too, they are taken to be there. Facts are per lane of the value
//! asked about: what is reduced over its dims is not known.

use std::collections::{HashMap, HashSet};

use pantile_ir::{BinaryOp, DType, DimId, Func, Inst, Op, ReduceOp, Region, Scalar, ScanOp, Value, eval};

use super::defs::Defs;

/// What a value is at each lane.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Is {
    Constant(Scalar),
    /// What is carried into the round at this place.
    Carried(usize),
    Anything,
}

/// What a value is, unless it is a NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Fact {
    is: Is,
    or_nan: bool,
}

const UNKNOWN: Fact = Fact { is: Is::Anything, or_nan: false };

/// A loop's body, and what it starts with.
pub struct Round<'a> {
    /// The kernel.
    pub func: &'a Func,
    /// What defines the values outside, and those of the body itself.
    pub defs: &'a Defs,
    /// The body of a walk.
    pub body: &'a Region,
    /// Initial values of what is carried.
    pub inits: &'a [Value],
}

/// What is known of the carried values at the start of a round.
#[derive(Default)]
struct Case {
    known: HashMap<Value, Fact>,
    /// The carried value whose cases are looked at.
    pivot: Option<usize>,
    /// A number that the pivot is not, nor a NaN.
    apart: Option<Scalar>,
}

impl Round<'_> {
    /// Whether a round in which a bool of the body is `value` at all lanes is idle.
    pub fn is_idle(&self, bool: Value, value: bool) -> bool {
        let pin = |mut case: Case| {
            case.known.insert(bool, constant(Scalar::Bool(value)));
            case
        };
        if self.keeps(pin(Case::default())) {
            return true;
        }
        let starts = |k: usize| self.defs.constant(self.inits[k]).map(|start| (k, start));
        (0..self.inits.len()).filter_map(starts).any(|(k, start)| {
            let cases = [Some(self.at_start(k, start)), Some(Self::apart(k, start)), self.nan(k)];
            cases.into_iter().flatten().all(|case| self.keeps(pin(case)))
        })
    }

    fn at_start(&self, pivot: usize, start: Scalar) -> Case {
        let mut known = self.follow(pivot, start);
        known.insert(self.body.args[pivot], constant(start));
        Case { known, pivot: Some(pivot), apart: None }
    }

    fn apart(pivot: usize, start: Scalar) -> Case {
        Case { known: HashMap::new(), pivot: Some(pivot), apart: Some(start) }
    }

    /// `None` for integers.
    fn nan(&self, pivot: usize) -> Option<Case> {
        let arg = self.body.args[pivot];
        let known = [(arg, constant(Scalar::Float(f64::NAN)))].into();
        self.func.ty(arg).dtype().is_float().then_some(Case { known, pivot: Some(pivot), apart: None })
    }

    /// The carried values that are at their start for as long as the pivot is: those which every round that leaves the
    /// pivot there leaves there too.
    fn follow(&self, pivot: usize, start: Scalar) -> HashMap<Value, Fact> {
        let mut held = HashMap::new();
        self.hold(self.body.yields[pivot], start, &mut held);
        let args = &self.body.args;
        if !held.contains_key(&args[pivot]) {
            return HashMap::new();
        }
        let mut following: HashMap<usize, Scalar> = (0..args.len())
            .filter(|k| *k != pivot)
            .filter_map(|k| self.defs.constant(self.inits[k]).map(|x| (k, x)))
            .collect();
        loop {
            let mut known = held.clone();
            known.extend(following.iter().map(|(k, x)| (args[*k], constant(*x))));
            let mut case = Case { known, pivot: Some(pivot), apart: None };
            self.evaluate(&mut case);
            let before = following.len();
            following.retain(|k, x| is_number(self.fact(&case, self.body.yields[*k]), *x));
            if following.len() == before {
                return following.into_iter().map(|(k, x)| (args[k], constant(x))).collect();
            }
        }
    }

    /// Given that a value is this number: what else must be.
    #[allow(clippy::wildcard_enum_match_arm, reason = "nothing follows for the operands of other ops")]
    fn hold(&self, v: Value, x: Scalar, held: &mut HashMap<Value, Fact>) {
        if held.insert(v, constant(x)).is_some() {
            return;
        }
        let dtype = self.func.ty(v).dtype();
        let extreme = |least: bool| same(x, if least { eval::lowest(dtype) } else { eval::highest(dtype) });
        let Some((op, args)) = self.defs.get(v) else { return };
        let through = match op {
            Op::Broadcast(_) => true,
            Op::Binary(BinaryOp::Max) | Op::Reduce(ReduceOp::Max, _) => extreme(true),
            Op::Binary(BinaryOp::Min) | Op::Reduce(ReduceOp::Min, _) => extreme(false),
            _ => false,
        };
        if through {
            args.iter().for_each(|v| self.hold(*v, x, held));
        }
    }

    /// Whether a round leaves what it carries as it was, or a NaN.
    fn keeps(&self, mut case: Case) -> bool {
        self.evaluate(&mut case);
        self.body.args.iter().zip(&self.body.yields).enumerate().all(|(k, (arg, next))| {
            let next = self.fact(&case, *next);
            match (next.is, self.fact(&case, *arg).is) {
                (Is::Carried(n), _) => n == k,
                (Is::Constant(Scalar::Float(x)), _) if x.is_nan() => true,
                (Is::Constant(x), Is::Constant(before)) => same(x, before),
                (Is::Constant(_), Is::Carried(_) | Is::Anything) | (Is::Anything, _) => false,
            }
        })
    }

    fn evaluate(&self, case: &mut Case) {
        for (k, arg) in self.body.args.iter().enumerate() {
            case.known.entry(*arg).or_insert(Fact { is: Is::Carried(k), or_nan: false });
        }
        let pivot: HashSet<DimId> =
            case.pivot.iter().flat_map(|k| self.func.ty(self.body.args[*k]).dims().iter().copied()).collect();
        for inst in &self.body.insts {
            for (n, result) in inst.results.iter().enumerate() {
                if !case.known.contains_key(result) {
                    let fact = if n == 0 { self.result(case, &pivot, inst) } else { UNKNOWN };
                    case.known.insert(*result, fact);
                }
            }
        }
    }

    fn fact(&self, case: &Case, v: Value) -> Fact {
        let outside = || self.defs.constant(v).map_or(UNKNOWN, constant);
        case.known.get(&v).copied().unwrap_or_else(outside)
    }

    /// The fact of an op's result.
    fn result(&self, case: &Case, pivot: &HashSet<DimId>, inst: &Inst) -> Fact {
        let arg = |n: usize| self.fact(case, inst.args[n]);
        let dtype = |n: usize| self.func.ty(inst.args[n]).dtype();
        let apart = |dims: &[DimId]| !dims.iter().any(|d| pivot.contains(d));
        match &inst.op {
            Op::Const(_, x) => constant(*x),
            Op::Broadcast(_) => arg(0),
            Op::Unary(op) => map(arg(0), |x| eval::unary(*op, dtype(0), x)),
            Op::Cast(to) if *to == dtype(0) => arg(0),
            Op::Cast(to) => cast(arg(0), dtype(0), *to),
            Op::Binary(op) if op.is_comparison() => compare(case, *op, dtype(0), arg(0), arg(1)),
            Op::Binary(op) => binary(*op, dtype(0), arg(0), arg(1)),
            Op::Select => select(arg(0), arg(1), arg(2)),
            Op::Reduce(op, dims) if apart(dims) => only(arg(0), eval::neutral(*op, dtype(0))),
            Op::Dot(dims) if apart(dims) => dot(dtype(0), arg(0), arg(1)),
            Op::Scan(ScanOp::CumSum, d) if apart(&[*d]) => only(arg(0), Scalar::zero(dtype(0))),
            Op::Scan(ScanOp::CumMax, d) | Op::Sort { dim: d, .. } if apart(&[*d]) => map(arg(0), |x| x),
            Op::KthLargest(d) if apart(&[*d]) => only(arg(0), eval::lowest(dtype(0))),
            // Lanes outside read as 0.
            Op::Gather(d) if apart(&[*d]) => only(arg(0), Scalar::zero(dtype(0))),
            Op::Split { from, .. } if apart(&[*from]) => map(arg(0), |x| x),
            Op::Merge { from, .. } if apart(from) => map(arg(0), |x| x),
            Op::Reduce(..)
            | Op::Dot(_)
            | Op::Scan(..)
            | Op::Sort { .. }
            | Op::KthLargest(_)
            | Op::Gather(_)
            | Op::Split { .. }
            | Op::Merge { .. }
            | Op::Extent(_)
            | Op::BlockIndex(_)
            | Op::BlockLen(_)
            | Op::Pos(_)
            | Op::Valid(_)
            | Op::At(_)
            | Op::OrderAt(_)
            | Op::ArgReduce(..)
            | Op::Random
            | Op::Load(..)
            | Op::Store { .. }
            | Op::MaskGet(_)
            | Op::MaskPut(..)
            | Op::For(_)
            | Op::If
            | Op::Print(_)
            | Op::Assert(_) => UNKNOWN,
        }
    }
}

fn constant(x: Scalar) -> Fact {
    Fact { is: Is::Constant(x), or_nan: false }
}

/// Whether two constants are one number; a zero has no sign here, and a NaN is none.
fn same(a: Scalar, b: Scalar) -> bool {
    match (a, b) {
        (Scalar::Float(x), Scalar::Float(y)) => x == y,
        (a, b) => a == b,
    }
}

fn is_number(fact: Fact, x: Scalar) -> bool {
    match fact.is {
        Is::Constant(Scalar::Float(y)) if y.is_nan() => true,
        Is::Constant(y) => same(x, y),
        Is::Carried(_) | Is::Anything => false,
    }
}

/// A function of a constant; one that gives a NaN for a NaN.
fn map(a: Fact, f: impl Fn(Scalar) -> Scalar) -> Fact {
    match a.is {
        Is::Constant(x) => Fact { is: Is::Constant(f(x)), ..a },
        Is::Carried(_) | Is::Anything => UNKNOWN,
    }
}

/// What stays this constant through an op, NaNs too.
fn only(a: Fact, neutral: Scalar) -> Fact {
    match a.is {
        Is::Constant(x) if same(x, neutral) => a,
        Is::Constant(_) | Is::Carried(_) | Is::Anything => UNKNOWN,
    }
}

fn cast(a: Fact, from: DType, to: DType) -> Fact {
    if a.or_nan && !to.is_float() { UNKNOWN } else { map(a, |x| eval::cast(from, to, x)) }
}

fn select(cond: Fact, a: Fact, b: Fact) -> Fact {
    match cond.is {
        Is::Constant(c) => {
            if c.as_bool() {
                a
            } else {
                b
            }
        }
        Is::Carried(_) | Is::Anything if a.is == b.is => Fact { is: a.is, or_nan: a.or_nan || b.or_nan },
        Is::Carried(_) | Is::Anything => UNKNOWN,
    }
}

/// A sum of products with zeros.
fn dot(dtype: DType, a: Fact, b: Fact) -> Fact {
    let zero = |f: Fact| matches!(f.is, Is::Constant(x) if same(x, Scalar::zero(dtype)));
    if zero(a) || zero(b) {
        return Fact { is: Is::Constant(Scalar::zero(dtype.accumulator())), or_nan: dtype.is_float() };
    }
    UNKNOWN
}

fn binary(op: BinaryOp, dtype: DType, a: Fact, b: Fact) -> Fact {
    let (is, makes_nan) = match (a.is, b.is) {
        (Is::Constant(x), Is::Constant(y)) => (eval::binary(op, dtype, x, y).map_or(Is::Anything, Is::Constant), false),
        (Is::Carried(m), Is::Carried(n)) if m == n => with_itself(op, dtype, a.is),
        (x, Is::Constant(c)) => with_constant(op, dtype, x, c, true),
        (Is::Constant(c), x) => with_constant(op, dtype, x, c, false),
        (Is::Carried(_) | Is::Anything, Is::Carried(_) | Is::Anything) => (Is::Anything, false),
    };
    Fact { is, or_nan: dtype.is_float() && (a.or_nan || b.or_nan || makes_nan) }
}

/// `x op x`, and whether it may be a NaN where `x` is none.
#[allow(clippy::wildcard_enum_match_arm, reason = "only some ops have such a rule")]
fn with_itself(op: BinaryOp, dtype: DType, x: Is) -> (Is, bool) {
    match op {
        BinaryOp::Min | BinaryOp::Max | BinaryOp::And | BinaryOp::Or => (x, false),
        BinaryOp::Sub | BinaryOp::Xor => (Is::Constant(Scalar::zero(dtype)), true),
        BinaryOp::Div if dtype.is_float() => (Is::Constant(Scalar::Float(1.0)), true),
        _ => (Is::Anything, false),
    }
}

/// `x op c`, or `c op x`, and whether it may be a NaN where `x` is none.
#[allow(clippy::wildcard_enum_match_arm, reason = "only some ops have such a rule")]
fn with_constant(op: BinaryOp, dtype: DType, x: Is, c: Scalar, right: bool) -> (Is, bool) {
    use BinaryOp::{Add, And, Div, Max, Min, Mul, Or, Shl, Shr, Sub, Xor};
    let is = |number: f64| match c {
        Scalar::Float(y) => y == number,
        Scalar::Int(n) => n as f64 == number,
        Scalar::Bool(_) => false,
    };
    let infinite = matches!(c, Scalar::Float(y) if y.is_infinite());
    let constant = |x: Scalar| Is::Constant(x);
    match op {
        _ if matches!(c, Scalar::Float(y) if y.is_nan()) => (constant(c), false),
        Add if is(0.0) => (x, false),
        Sub if is(0.0) && right => (x, false),
        Mul if is(1.0) => (x, false),
        Div if is(1.0) && right => (x, false),
        Mul if is(0.0) => (constant(Scalar::zero(dtype)), true),
        Div if is(0.0) && !right && dtype.is_float() => (constant(Scalar::zero(dtype)), true),
        Add if infinite => (constant(c), true),
        Sub if infinite && right => (constant(Scalar::Float(-c.as_f64())), true),
        Sub if infinite => (constant(c), true),
        Max if same(c, eval::lowest(dtype)) => (x, false),
        Min if same(c, eval::highest(dtype)) => (x, false),
        Max if same(c, eval::highest(dtype)) && !dtype.is_float() => (constant(c), false),
        Min if same(c, eval::lowest(dtype)) && !dtype.is_float() => (constant(c), false),
        Max | Min if infinite => (constant(c), true),
        And if c == Scalar::Bool(false) || is(0.0) => (constant(c), false),
        And if c == Scalar::Bool(true) => (x, false),
        Or if c == Scalar::Bool(true) => (constant(c), false),
        Or | Xor if c == Scalar::Bool(false) || is(0.0) => (x, false),
        Shl | Shr if is(0.0) && right => (x, false),
        _ => (Is::Anything, false),
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "all ops here are comparisons")]
fn compare(case: &Case, op: BinaryOp, dtype: DType, a: Fact, b: Fact) -> Fact {
    use BinaryOp::{Eq, Ge, Gt, Le, Lt, Ne};
    let or_nan = a.or_nan || b.or_nan;
    let known = match (a.is, b.is) {
        (Is::Constant(x), Is::Constant(y)) => Some(eval::compare(op, dtype, x, y)),
        (Is::Carried(m), Is::Carried(n)) if m == n => {
            let number = !dtype.is_float() || (case.pivot == Some(m) && case.apart.is_some());
            match op {
                Lt | Gt => Some(false),
                Ne if number => Some(false),
                _ if number => Some(true),
                _ => None,
            }
        }
        (Is::Carried(k), Is::Constant(c)) if case.is_apart(k, c) => beside(op, dtype, c),
        (Is::Constant(c), Is::Carried(k)) if case.is_apart(k, c) => beside(op.mirrored(), dtype, c),
        (Is::Constant(_) | Is::Carried(_) | Is::Anything, _) => None,
    };
    // A NaN compares as unequal and nothing else.
    match known {
        Some(holds) if !or_nan || holds == (op == Ne) => constant(Scalar::Bool(holds)),
        Some(_) | None => {
            debug_assert!(matches!(op, Eq | Ne | Lt | Le | Gt | Ge), "comparisons only");
            UNKNOWN
        }
    }
}

impl Case {
    fn is_apart(&self, carried: usize, c: Scalar) -> bool {
        self.pivot == Some(carried) && self.apart.is_some_and(|x| same(x, c))
    }
}

/// `x op c` for a number that is not `c`.
#[allow(clippy::wildcard_enum_match_arm, reason = "all ops here are comparisons")]
fn beside(op: BinaryOp, dtype: DType, c: Scalar) -> Option<bool> {
    use BinaryOp::{Eq, Ge, Gt, Le, Lt, Ne};
    let (above, below) = (same(c, eval::lowest(dtype)), same(c, eval::highest(dtype)));
    match op {
        Ne => Some(true),
        Eq => Some(false),
        Gt | Ge if above || below => Some(above),
        Lt | Le if above || below => Some(below),
        _ => None,
    }
}
