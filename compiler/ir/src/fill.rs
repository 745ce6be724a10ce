//! Fill rules of the op table: what an op's result holds in padding lanes, given what its operands hold there, and what it
//! asks of them. They matter to targets whose tiles have more lanes than a block has positions; the interpreter and the
//! CPU have no padding. How fills flow through loops and branches is not said here.
//!
//! A rule speaks of one dim `d` at a time. Fix a lane of every other dim, valid or padding: that is a *row* along `d`, and a
//! [`Fill`] says what stands in its padding lanes. Rules are pointwise in rows, so they need not know which rows are valid.
//!
//! **NaNs that are covered.** With `m = max(s, over d)` and `-inf` in the padding of `s`, `exp2(s - m)` is 0 in padding, but
//! for `m = -inf` and `m = NaN`, where it is a NaN. Then `s - m` is a NaN at each valid lane too, and whatever sums the row is
//! one either way. [`Fill::IsOrNan`] is this case: the constant, or a NaN in rows whose valid lanes, of which there is at
//! least one, are all NaNs.

use crate::{ArgOp, BinaryOp, DType, DimId, Kind, Op, ReduceOp, Scalar, ScanOp, UnaryOp, eval};

/// What stands in the padding lanes of a value along a dim.
#[derive(Clone, Copy, Debug)]
pub enum Fill {
    /// Anything.
    Unknown,
    /// What each valid lane of the row holds: the value is the same along the dim, or lacks it.
    Uniform,
    /// One constant, which every valid lane holds as well.
    All(Scalar),
    /// One constant.
    Is(Scalar),
    /// One constant, or a NaN in rows whose valid lanes are all NaNs.
    IsOrNan(Scalar),
}

impl PartialEq for Fill {
    fn eq(&self, other: &Fill) -> bool {
        match (self, other) {
            (Fill::Unknown, Fill::Unknown) | (Fill::Uniform, Fill::Uniform) => true,
            (Fill::All(a), Fill::All(b)) | (Fill::Is(a), Fill::Is(b)) | (Fill::IsOrNan(a), Fill::IsOrNan(b)) => {
                same(*a, *b)
            }
            (Fill::Unknown | Fill::Uniform | Fill::All(_) | Fill::Is(_) | Fill::IsOrNan(_), _) => false,
        }
    }
}

/// Whether two constants are one: NaNs are, zeros of different sign are not.
fn same(a: Scalar, b: Scalar) -> bool {
    match (a, b) {
        (Scalar::Float(a), Scalar::Float(b)) => a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
        (Scalar::Bool(_) | Scalar::Int(_) | Scalar::Float(_), _) => a == b,
    }
}

fn is_nan(x: Scalar) -> bool {
    matches!(x, Scalar::Float(x) if x.is_nan())
}

impl Fill {
    /// The constant, and whether a NaN may stand in its place.
    pub fn constant(self) -> Option<(Scalar, bool)> {
        match self {
            Fill::All(x) | Fill::Is(x) => Some((x, false)),
            Fill::IsOrNan(x) => Some((x, true)),
            Fill::Unknown | Fill::Uniform => None,
        }
    }

    /// Whether padding lanes hold what valid lanes hold.
    pub fn is_uniform(self) -> bool {
        match self {
            Fill::Uniform | Fill::All(_) => true,
            Fill::Unknown | Fill::Is(_) | Fill::IsOrNan(_) => false,
        }
    }

    /// What is true of both, where a whole row comes from one or the other.
    #[must_use]
    pub fn meet(self, other: Fill) -> Fill {
        if self == other {
            return self;
        }
        match (self.constant(), other.constant()) {
            (Some((a, x)), Some((b, y))) if same(a, b) => or_nan(a, x || y),
            _ if self.is_uniform() && other.is_uniform() => Fill::Uniform,
            _ => Fill::Unknown,
        }
    }
}

fn or_nan(x: Scalar, nan: bool) -> Fill {
    if nan && !is_nan(x) { Fill::IsOrNan(x) } else { Fill::Is(x) }
}

/// What a rule needs to know beyond the fills of the operands.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Every block of the dim has a valid lane.
    pub never_empty: bool,
    /// The dims that `split` and `merge` make have no padding lanes of their own.
    pub exact: bool,
    /// Of a difference of an operand with infinite fill and one that is uniform: the latter is that infinity only in rows
    /// where each valid lane of the former is, as a maximum or minimum of it would be.
    pub bounded: bool,
}

/// The fill of an op's result along `dim`, which the result has. `dtype` is that of the first operand, of `select` the
/// second; `args` are the fills of the operands along `dim`. Loops and branches are not asked.
pub fn fill(op: &Op, dim: DimId, dtype: DType, args: &[Fill], facts: &Facts) -> Fill {
    let uniform = args.iter().all(|f| f.is_uniform());
    match op {
        Op::Load(..) => Fill::Is(Scalar::zero(dtype)),
        Op::Valid(_) => Fill::Is(Scalar::Bool(false)),
        Op::Pos(_) | Op::At(_) => Fill::Unknown,
        Op::Unary(op) => unary(*op, dtype, args[0]),
        Op::Binary(op) => binary(*op, dtype, args[0], args[1], facts),
        Op::Select => select(args[0], args[1], args[2]),
        Op::Cast(to) => cast(dtype, *to, args[0]),
        Op::Broadcast(_) => args[0],
        Op::Reduce(op, _) => reduce(*op, args[0]),
        Op::Scan(_, d) | Op::Sort { dim: d, .. } if *d == dim => along(op, dtype, args[0]),
        Op::Scan(op, _) => scan(*op, args[0]),
        Op::Gather(d) => gather(*d == dim, args[0], args[1]),
        Op::Dot(_) if uniform => Fill::Uniform,
        Op::Dot(_) => product(dtype, args[0], args[1]),
        Op::Split { into, .. } if into.contains(&dim) => Fill::Unknown,
        Op::Merge { into, .. } if *into == dim => Fill::Unknown,
        Op::Split { .. } | Op::Merge { .. } => {
            if facts.exact {
                args[0]
            } else {
                Fill::Unknown
            }
        }
        // Along another dim: rows of one constant are sorted already, and their extreme is the first of equals.
        Op::Sort { .. } => match args[0] {
            Fill::IsOrNan(_) => Fill::Unknown,
            Fill::Unknown | Fill::Uniform | Fill::All(_) | Fill::Is(_) => args[0],
        },
        Op::ArgReduce(..) => match args[0].constant() {
            Some((_, false)) => Fill::Is(Scalar::Int(0)),
            Some((_, true)) | None if uniform => Fill::Uniform,
            Some((_, true)) | None => Fill::Unknown,
        },
        Op::KthLargest(_) | Op::OrderAt(_) | Op::Random if uniform => Fill::Uniform,
        Op::KthLargest(_) | Op::OrderAt(_) | Op::Random => Fill::Unknown,
        Op::Const(..) | Op::Extent(_) | Op::BlockIndex(_) | Op::BlockLen(_) | Op::MaskGet(_) => Fill::Uniform,
        Op::Store { .. } | Op::MaskPut(..) | Op::For(_) | Op::If | Op::Print(_) | Op::Assert(_) => Fill::Unknown,
    }
}

fn unary(op: UnaryOp, dtype: DType, x: Fill) -> Fill {
    match x {
        Fill::All(x) => Fill::All(eval::unary(op, dtype, x)),
        Fill::Is(x) => Fill::Is(eval::unary(op, dtype, x)),
        // A NaN stays one through every op of one float.
        Fill::IsOrNan(x) => or_nan(eval::unary(op, dtype, x), true),
        Fill::Uniform | Fill::Unknown => x,
    }
}

fn binary(op: BinaryOp, dtype: DType, a: Fill, b: Fill, facts: &Facts) -> Fill {
    if let (Fill::All(x), Fill::All(y)) = (a, b) {
        return eval::binary(op, dtype, x, y).map_or(Fill::Uniform, Fill::All);
    }
    if a.is_uniform() && b.is_uniform() {
        return Fill::Uniform;
    }
    match (a.constant(), b.constant()) {
        (Some((x, p)), Some((y, q))) => match eval::binary(op, dtype, x, y) {
            // A comparison gives a bool of a NaN.
            Some(z) if !op.is_comparison() || !(p || q) => or_nan(z, p || q),
            Some(_) | None => Fill::Unknown,
        },
        (Some((x, _)), None) => absorbed(op, dtype, x, true, b, facts),
        (None, Some((y, _))) => absorbed(op, dtype, y, false, a, facts),
        (None, None) => Fill::Unknown,
    }
}

/// Where a constant decides alone: `other` is what the op's other operand holds, `first` whether the constant is the left.
fn absorbed(op: BinaryOp, dtype: DType, x: Scalar, first: bool, other: Fill, facts: &Facts) -> Fill {
    let is = |y: Scalar| same(x, y);
    if dtype.is_float() {
        // The other operand may be a NaN, which a covered row bears if it is the same at each lane.
        let covered = facts.never_empty && other.is_uniform();
        let Scalar::Float(value) = x else { return Fill::Unknown };
        let bounded = covered && facts.bounded && value.is_infinite();
        let extreme = op == BinaryOp::Max && is(eval::highest(dtype)) || op == BinaryOp::Min && is(eval::lowest(dtype));
        return if op == BinaryOp::Sub && bounded {
            or_nan(Scalar::Float(if first { value } else { -value }), true)
        } else if covered && extreme {
            or_nan(x, true)
        } else {
            Fill::Unknown
        };
    }
    let (zero, ones) = match dtype.kind() {
        Kind::Bool => (Scalar::Bool(false), Scalar::Bool(true)),
        Kind::Signed | Kind::Unsigned | Kind::Float => (Scalar::Int(0), Scalar::Int(eval::wrap(dtype, -1))),
    };
    let decides = match op {
        BinaryOp::And => is(zero),
        BinaryOp::Or => is(ones),
        BinaryOp::Mul => is(zero),
        BinaryOp::Shl | BinaryOp::Shr => first && is(zero),
        BinaryOp::Max => is(eval::highest(dtype)),
        BinaryOp::Min => is(eval::lowest(dtype)),
        BinaryOp::Add
        | BinaryOp::Sub
        | BinaryOp::Div
        | BinaryOp::Rem
        | BinaryOp::Xor
        | BinaryOp::Eq
        | BinaryOp::Ne
        | BinaryOp::Lt
        | BinaryOp::Le
        | BinaryOp::Gt
        | BinaryOp::Ge => false,
    };
    if decides { Fill::Is(x) } else { Fill::Unknown }
}

fn select(c: Fill, a: Fill, b: Fill) -> Fill {
    if let Fill::All(c) = c {
        return if c.as_bool() { a } else { b };
    }
    if c.is_uniform() {
        return a.meet(b);
    }
    // Valid lanes may take the other side, so a NaN that one side covers is covered no more.
    let plain = |f: Fill| f.constant().filter(|(_, nan)| !nan).map(|(x, _)| x);
    let chosen = match c.constant() {
        Some((c, _)) => plain(if c.as_bool() { a } else { b }),
        None => plain(a).filter(|a| plain(b).is_some_and(|b| same(*a, b))),
    };
    chosen.map_or(Fill::Unknown, Fill::Is)
}

fn cast(from: DType, to: DType, x: Fill) -> Fill {
    match x {
        Fill::All(x) => Fill::All(eval::cast(from, to, x)),
        Fill::Is(x) => Fill::Is(eval::cast(from, to, x)),
        Fill::IsOrNan(x) if to.is_float() => or_nan(eval::cast(from, to, x), true),
        Fill::IsOrNan(_) => Fill::Unknown,
        Fill::Uniform | Fill::Unknown => x,
    }
}

/// A reduction over other dims: a row of them holds one constant, of however many lanes.
fn reduce(op: ReduceOp, x: Fill) -> Fill {
    let Some((c, nan)) = x.constant() else { return x };
    let stays = match (op, c) {
        (ReduceOp::Max | ReduceOp::Min | ReduceOp::Any | ReduceOp::All, _) => true,
        (ReduceOp::Sum, Scalar::Float(c)) => same(Scalar::Float(c), Scalar::Float(0.0)) || c.is_infinite(),
        (ReduceOp::Sum, c) => same(c, Scalar::Int(0)),
        (ReduceOp::Prod, Scalar::Float(c)) => c == 1.0 || same(Scalar::Float(c), Scalar::Float(0.0)),
        (ReduceOp::Prod, c) => same(c, Scalar::Int(0)) || same(c, Scalar::Int(1)),
    };
    if stays { or_nan(c, nan) } else { Fill::Unknown }
}

/// A scan along another dim.
fn scan(op: ScanOp, x: Fill) -> Fill {
    match op {
        ScanOp::CumSum => reduce(ReduceOp::Sum, x),
        ScanOp::CumMax => reduce(ReduceOp::Max, x),
    }
}

/// What moves elements along the dim itself: what sorts last is still last.
fn along(op: &Op, dtype: DType, x: Fill) -> Fill {
    match (op, x.constant()) {
        (Op::Sort { descending, .. }, Some((c, false))) if same(c, sorts_last(dtype, *descending)) => Fill::Is(c),
        _ => Fill::Unknown,
    }
}

fn gather(own: bool, x: Fill, at: Fill) -> Fill {
    match x.constant() {
        _ if at.is_uniform() && (own || x.is_uniform()) => Fill::Uniform,
        // Whichever lane is read holds it, and where there is none stands a zero.
        Some((c, false)) if !own && same(c, zero_like(c)) => Fill::Is(c),
        Some(_) | None => Fill::Unknown,
    }
}

fn zero_like(x: Scalar) -> Scalar {
    match x {
        Scalar::Bool(_) => Scalar::Bool(false),
        Scalar::Int(_) => Scalar::Int(0),
        Scalar::Float(_) => Scalar::Float(0.0),
    }
}

/// A dot along a dim that it does not contract.
fn product(dtype: DType, a: Fill, b: Fill) -> Fill {
    let zero = |f: Fill| f.constant().filter(|(c, _)| same(*c, zero_like(*c))).map(|(_, nan)| nan);
    match (zero(a), zero(b)) {
        (Some(p), Some(q)) => or_nan(Scalar::zero(dtype), p || q),
        // Zero times an unknown float may be a NaN.
        (Some(_), None) | (None, Some(_)) if dtype.is_int() => Fill::Is(Scalar::Int(0)),
        (Some(_), None) | (None, Some(_)) | (None, None) => Fill::Unknown,
    }
}

/// What a sort puts last, behind equals: NaNs, whichever way.
fn sorts_last(dtype: DType, descending: bool) -> Scalar {
    match (dtype.is_float(), descending) {
        (true, _) => Scalar::Float(f64::NAN),
        (false, true) => eval::lowest(dtype),
        (false, false) => eval::highest(dtype),
    }
}

/// What an op asks of an operand's padding along a dim, if its results at valid lanes shall not depend on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Demand {
    /// Nothing: padding is not looked at, or gives padding.
    Nothing,
    /// A constant; a covered NaN does as well.
    Neutral(Scalar),
    /// A constant.
    Exactly(Scalar),
    /// That products with the other operand's padding are 0: [`products_vanish`].
    Product,
}

impl Demand {
    /// Whether a fill meets it; of a product, [`products_vanish`] knows.
    pub fn is_met(self, fill: Fill) -> bool {
        let zero = |x: Scalar| matches!(x, Scalar::Float(x) if x == 0.0);
        match self {
            Demand::Nothing => true,
            // Which zero a sum of zeros is does not count.
            Demand::Neutral(want) => fill.constant().is_some_and(|(c, _)| same(c, want) || zero(c) && zero(want)),
            Demand::Exactly(want) => fill.constant().is_some_and(|(c, nan)| !nan && same(c, want)),
            Demand::Product => false,
        }
    }
}

/// What `op` asks of operand `n`, of dtype `dtype`, along `dim`.
pub fn demand(op: &Op, n: usize, dim: DimId, dtype: DType) -> Demand {
    match op {
        Op::Reduce(op, dims) if dims.contains(&dim) => Demand::Neutral(eval::neutral(*op, dtype)),
        // The first of equals wins, and padding stands behind.
        Op::ArgReduce(op, d) if *d == dim => Demand::Neutral(match op {
            ArgOp::ArgMax => eval::lowest(dtype),
            ArgOp::ArgMin => eval::highest(dtype),
        }),
        Op::Sort { dim: d, descending } if *d == dim => Demand::Exactly(sorts_last(dtype, *descending)),
        // Its k is clamped to the valid lanes.
        Op::KthLargest(d) if n == 0 && *d == dim => Demand::Exactly(sorts_last(dtype, true)),
        Op::Gather(d) if n == 0 && *d == dim => Demand::Exactly(Scalar::zero(dtype)),
        Op::Dot(dims) if dims.contains(&dim) => Demand::Product,
        // A running reduction looks back, and valid lanes come first. Splits and merges move valid lanes alone.
        Op::Scan(..) | Op::Split { .. } | Op::Merge { .. } => Demand::Nothing,
        // What is not stored is not looked at, nor printed, nor asserted.
        Op::Store { .. } | Op::MaskPut(..) | Op::Print(_) | Op::Assert(_) => Demand::Nothing,
        Op::Reduce(..)
        | Op::ArgReduce(..)
        | Op::Sort { .. }
        | Op::KthLargest(_)
        | Op::Gather(_)
        | Op::Dot(_)
        | Op::Const(..)
        | Op::Extent(_)
        | Op::BlockIndex(_)
        | Op::BlockLen(_)
        | Op::Pos(_)
        | Op::At(_)
        | Op::Valid(_)
        | Op::OrderAt(_)
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Select
        | Op::Cast(_)
        | Op::Broadcast(_)
        | Op::Random
        | Op::Load(..)
        | Op::MaskGet(_)
        | Op::For(_)
        | Op::If => Demand::Nothing,
    }
}

/// Whether the products of two paddings are 0, or covered NaNs. 0 times an infinity is a NaN, so the other must be finite.
pub fn products_vanish(dtype: DType, a: Fill, b: Fill) -> bool {
    let (zero_a, zero_b) = (is_zero(a), is_zero(b));
    if dtype.is_int() { zero_a || zero_b } else { zero_a && is_finite(b) || zero_b && is_finite(a) }
}

/// Whether a fill is 0 of either sign.
pub fn is_zero(f: Fill) -> bool {
    f.constant().is_some_and(|(c, _)| !is_nan(c) && !c.as_bool())
}

/// Whether a fill is a finite constant.
pub fn is_finite(f: Fill) -> bool {
    f.constant().is_some_and(|(c, _)| c.as_f64().is_finite())
}

#[cfg(test)]
mod tests;
