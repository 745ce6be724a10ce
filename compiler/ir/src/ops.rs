//! THE OP TABLE: every operation of Tile IR, with its operands, its rule and one line of documentation.
//!
//! The element-wise ops and reductions are rows of a table (name, operand class, documentation) from which the parser's
//! builtins, the printer, the verifier, the interpreter and the reference page are derived. What an op *computes* on
//! scalars stands once, in `eval.rs`; its typing rule in `typing.rs`. Nothing here knows a target.

use std::str::FromStr;

use crate::{DType, DimId, ExtentId, Kind, ParamId, Scalar};

/// The dtypes that an element-wise op or a reduction takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Only floats.
    Float,
    /// Only integers.
    Int,
    /// Floats and integers.
    Number,
    /// Only bools.
    Bool,
    /// Integers and bools.
    Bits,
    /// All.
    Any,
}

impl Class {
    /// Whether `dtype` belongs to it.
    pub fn admits(self, dtype: DType) -> bool {
        match self {
            Class::Float => dtype.is_float(),
            Class::Int => dtype.is_int(),
            Class::Number => dtype.kind() != Kind::Bool,
            Class::Bool => dtype == DType::Bool,
            Class::Bits => !dtype.is_float(),
            Class::Any => true,
        }
    }

    /// For messages: "a float", "a number" and so on.
    pub fn describe(self) -> &'static str {
        match self {
            Class::Float => "a float",
            Class::Int => "an integer",
            Class::Number => "a number",
            Class::Bool => "a bool",
            Class::Bits => "an integer or a bool",
            Class::Any => "any dtype",
        }
    }
}

macro_rules! table {
    ($(#[$meta:meta])* $table:ident: $($variant:ident $name:literal $class:ident $doc:literal;)*) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $table { $(#[doc = $doc] $variant,)* }

        impl $table {
            /// Every row, in order.
            pub const ALL: &[$table] = &[$($table::$variant,)*];

            /// As written in source and in IR text.
            pub fn name(self) -> &'static str {
                match self { $($table::$variant => $name,)* }
            }

            /// The dtypes its operands may have.
            pub fn class(self) -> Class {
                match self { $($table::$variant => Class::$class,)* }
            }

            /// One line of documentation.
            pub fn doc(self) -> &'static str {
                match self { $($table::$variant => $doc,)* }
            }
        }

        impl FromStr for $table {
            type Err = ();

            fn from_str(text: &str) -> Result<Self, ()> {
                $table::ALL.iter().copied().find(|op| op.name() == text).ok_or(())
            }
        }
    };
}

table! {
    /// Element-wise ops of one operand; the result has the operand's dtype.
    UnaryOp:
    Neg "neg" Number "`-x`.";
    Not "not" Bits "Logical not of a bool, bitwise not of an integer.";
    Abs "abs" Number "Absolute value.";
    Exp "exp" Float "e to the power x.";
    Exp2 "exp2" Float "2 to the power x.";
    Log "log" Float "Natural logarithm.";
    Log2 "log2" Float "Logarithm to base 2.";
    Sqrt "sqrt" Float "Square root.";
    Rsqrt "rsqrt" Float "1 over the square root.";
    Sin "sin" Float "Sine of an angle in radians.";
    Cos "cos" Float "Cosine of an angle in radians.";
    Tanh "tanh" Float "Hyperbolic tangent.";
    Erf "erf" Float "Error function.";
    Sigmoid "sigmoid" Float "1 / (1 + exp(-x)).";
    Floor "floor" Float "Largest integer not above x.";
    Ceil "ceil" Float "Smallest integer not below x.";
    Round "round" Float "Nearest integer, ties to even.";
}

table! {
    /// Element-wise ops of two operands of one dtype. Comparisons give bools, all others the operands' dtype.
    BinaryOp:
    Add "add" Number "`a + b`; integers wrap.";
    Sub "sub" Number "`a - b`; integers wrap.";
    Mul "mul" Number "`a * b`; integers wrap.";
    Div "div" Number "`a / b`; integers truncate towards zero, and dividing one by zero is an error.";
    Rem "rem" Number "`a % b`, with the sign of a.";
    Min "min" Number "The smaller; a NaN if either is one.";
    Max "max" Number "The larger; a NaN if either is one.";
    And "and" Bits "Logical or bitwise and.";
    Or "or" Bits "Logical or bitwise or.";
    Xor "xor" Bits "Logical or bitwise exclusive or.";
    Shl "shl" Int "`a << b`; the count is taken modulo the width.";
    Shr "shr" Int "`a >> b`, arithmetic where signed; the count is taken modulo the width.";
    Eq "eq" Any "`a == b`.";
    Ne "ne" Any "`a != b`.";
    Lt "lt" Number "`a < b`.";
    Le "le" Number "`a <= b`.";
    Gt "gt" Number "`a > b`.";
    Ge "ge" Number "`a >= b`.";
}

impl BinaryOp {
    /// Whether the result is a bool whatever the operands are.
    pub fn is_comparison(self) -> bool {
        matches!(self, BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge)
    }

    /// The comparison that holds where this one does not, of numbers (a NaN fails both); `None` for what compares nothing.
    #[allow(clippy::wildcard_enum_match_arm, reason = "no other op compares")]
    pub fn negated(self) -> Option<BinaryOp> {
        use BinaryOp::{Eq, Ge, Gt, Le, Lt, Ne};
        match self {
            Lt => Some(Ge),
            Le => Some(Gt),
            Gt => Some(Le),
            Ge => Some(Lt),
            Eq => Some(Ne),
            Ne => Some(Eq),
            _ => None,
        }
    }

    /// The comparison that `b` stands in to `a` where `a` stands in this one to `b`; other ops are their own.
    #[allow(clippy::wildcard_enum_match_arm, reason = "the rest is its own mirror image")]
    pub fn mirrored(self) -> BinaryOp {
        use BinaryOp::{Ge, Gt, Le, Lt};
        match self {
            Lt => Gt,
            Gt => Lt,
            Le => Ge,
            Ge => Le,
            other => other,
        }
    }

    /// Whether `a op b == b op a`.
    pub fn is_commutative(self) -> bool {
        use BinaryOp::{Add, And, Div, Eq, Ge, Gt, Le, Lt, Max, Min, Mul, Ne, Or, Rem, Shl, Shr, Sub, Xor};
        match self {
            Add | Mul | Min | Max | And | Or | Xor | Eq | Ne => true,
            Sub | Div | Rem | Shl | Shr | Lt | Le | Gt | Ge => false,
        }
    }
}

table! {
    /// Reductions over one or several dims; they see valid positions only. Sums of 8- and 16-bit dtypes accumulate in
    /// [`DType::accumulator`] and are rounded once.
    ReduceOp:
    Sum "sum" Number "Sum; 0 over nothing.";
    Prod "prod" Number "Product; 1 over nothing.";
    Max "max" Number "Largest; -inf (or the least integer) over nothing; a NaN if any is one.";
    Min "min" Number "Smallest; inf (or the greatest integer) over nothing; a NaN if any is one.";
    Any "any" Bool "Whether any holds; false over nothing.";
    All "all" Bool "Whether all hold; true over nothing.";
}

table! {
    /// The lane of an extreme along one dim, as i64; the first of equals, 0 over nothing.
    ArgOp:
    ArgMax "argmax" Number "Lane of the largest; a NaN counts as largest.";
    ArgMin "argmin" Number "Lane of the smallest; a NaN counts as smallest.";
}

table! {
    /// Running reductions along one dim, inclusive.
    ScanOp:
    CumSum "cumsum" Number "Running sum.";
    CumMax "cummax" Number "Running maximum.";
}

/// How one axis of a tensor or mask is indexed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Index {
    /// By the block that currently defines a dim over this axis's extent; the result has that dim.
    Dim(DimId),
    /// By the next operand. A scalar drops the axis, and outside the extent it is a run-time error; an integer tile
    /// gathers or scatters, its dims become the result's, and lanes outside the extent give 0 and are not stored (the
    /// front end has made their validity explicit).
    Value,
}

/// What a store does to what was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreMode {
    /// Replaces it.
    Set,
    /// Adds to it; instances never meet.
    Add,
    /// Adds to it, atomically.
    AtomicAdd,
}

/// What a loop runs over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Over {
    /// `for n in lo..hi`: two leading operands; the body's first argument is `n` (i64).
    Range,
    /// `for j in M by BK`: the dim whose block steps through its walk; no body argument.
    Walk(DimId),
}

/// A loop: what it runs over, and which of that it visits. All restrictions hold together.
///
/// Operands, in this order: `lo hi` if [`Over::Range`]; `lo hi` (block numbers) if `bounds`; the row's scalar indices
/// (all mask axes but the last) if `list`; the initial values of what is carried. Regions: the guard if `guard`, then the
/// body. The body's arguments are `n` if [`Over::Range`], then what is carried; it yields the next values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Loop {
    /// What it runs over.
    pub over: Over,
    /// Only blocks `lo..hi` (walks only); what lies outside the walk is not visited.
    pub bounds: bool,
    /// Only the blocks that a row of this mask keeps, ascending (walks only; the dim walks the mask's last axis). The row
    /// is not looked at where there is no block to visit, so indices outside the mask do no harm then.
    pub list: Option<ParamId>,
    /// Only where the guard region, evaluated with the loop's block or `n` (its one argument, if a range), yields true.
    pub guard: bool,
}

/// An operation. Attributes are in the variant, operands in the instruction.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// A constant scalar of the given dtype.
    Const(DType, Scalar),
    /// The number of elements of an extent, i64. An order on the extent does not change it.
    Extent(ExtentId),
    /// The number of the block that currently defines the dim, i64.
    BlockIndex(DimId),
    /// How many lanes of that block are valid, i64; at most the dim's size.
    BlockLen(DimId),
    /// Positions in the walk, tile `{d}` of i64; for a dim over nothing, the lanes 0, 1, 2, ….
    Pos(DimId),
    /// Positions in memory, through the dim's order, tile `{d}` of i64.
    At(DimId),
    /// Which lanes of the dim's block are valid, a bool tile `{d}`: true at every lane there is. A back end whose tiles have
    /// more lanes than that (padding) makes it false there; `select` on it is how the pass `pad` says what they hold.
    Valid(DimId),
    /// The memory position of walk position `x` (i64, scalar or tile) in the order of an extent, -1 where there is none.
    OrderAt(ExtentId),
    /// An element-wise op of one operand.
    Unary(UnaryOp),
    /// An element-wise op of two operands; the result has the dims of both.
    Binary(BinaryOp),
    /// `where(c, a, b)`.
    Select,
    /// `x as T`.
    Cast(DType),
    /// The operand, constant along the named dims as well.
    Broadcast(Vec<DimId>),
    /// Reduces the named dims away.
    Reduce(ReduceOp, Vec<DimId>),
    /// The lane of an extreme along a dim, i64.
    ArgReduce(ArgOp, DimId),
    /// A running reduction along a dim.
    Scan(ScanOp, DimId),
    /// `x` sorted along a dim, ascending or descending; NaNs last.
    Sort {
        /// The dim.
        dim: DimId,
        /// Largest first.
        descending: bool,
    },
    /// Operands `x`, `k` (scalar i64): the k-th largest of the valid elements along a dim, k clamped to 1..=len;
    /// -inf (or the least integer) over nothing.
    KthLargest(DimId),
    /// Operands `x`, `at` (integer tile of lanes): `x` read at lane `at` along a dim; 0 where there is no such lane.
    Gather(DimId),
    /// Operands `a`, `b`: the sum of products over dims that both have, in the accumulator dtype. Dims of both that are
    /// not contracted are batch dims.
    Dot(Vec<DimId>),
    /// The operand with full dim `from` seen as the full dims `into`, first slowest.
    Split {
        /// The dim that goes.
        from: DimId,
        /// The dims that come; their sizes multiply to its size.
        into: Vec<DimId>,
    },
    /// The operand with full dims `from` seen as the full dim `into`, first slowest.
    Merge {
        /// The dims that go.
        from: Vec<DimId>,
        /// The dim that comes.
        into: DimId,
    },
    /// Operands `seed`, `counter` (i64): uniform f32 in [0, 1) by Philox 4×32-10, key = seed, counter = (counter, 0).
    Random,
    /// Reads a tensor. Operands: one for each [`Index::Value`].
    Load(ParamId, Vec<Index>),
    /// Writes a tensor. Operands: one for each [`Index::Value`], the value, then a bool if `masked`. The value may lack
    /// dims of the index (it is the same along them) and has no others.
    Store {
        /// The tensor.
        param: ParamId,
        /// One an axis.
        index: Vec<Index>,
        /// What happens to the old value.
        mode: StoreMode,
        /// Whether the last operand says, lane by lane, what is stored.
        masked: bool,
    },
    /// Reads one bool of a mask. Operands: a scalar block number for each axis.
    MaskGet(ParamId),
    /// Writes rows of a mask. The last index is [`Index::Dim`] of a whole dim; operands: one for each [`Index::Value`]
    /// (scalars), then the bool tile.
    MaskPut(ParamId, Vec<Index>),
    /// A loop; see [`Loop`].
    For(Loop),
    /// Operand: a scalar bool. Regions: then, else; both yield the results.
    If,
    /// Prints its operand with a label, in debug builds.
    Print(String),
    /// Fails the launch with a message where its bool operand is false, in debug builds.
    Assert(String),
}

impl Op {
    /// Whether running it can be seen from outside, apart from its results.
    pub fn has_effect(&self) -> bool {
        match self {
            Op::Store { .. } | Op::MaskPut(..) | Op::Print(_) | Op::Assert(_) => true,
            Op::For(_) | Op::If => true, // by their regions; see `Inst::has_effect`
            Op::Const(..)
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
            | Op::Reduce(..)
            | Op::ArgReduce(..)
            | Op::Scan(..)
            | Op::Sort { .. }
            | Op::KthLargest(_)
            | Op::Gather(_)
            | Op::Dot(_)
            | Op::Split { .. }
            | Op::Merge { .. }
            | Op::Random
            | Op::Load(..)
            | Op::MaskGet(_) => false,
        }
    }

    /// The dims it names itself, apart from those of its operands' types: it may not move out of their scope.
    pub fn own_dims(&self) -> Vec<DimId> {
        let indexed = |index: &[Index]| {
            let dim = |i: &Index| match i {
                Index::Dim(d) => Some(*d),
                Index::Value => None,
            };
            index.iter().filter_map(dim).collect()
        };
        match self {
            Op::BlockIndex(d) | Op::BlockLen(d) | Op::Pos(d) | Op::At(d) | Op::Valid(d) => vec![*d],
            Op::Broadcast(dims) | Op::Reduce(_, dims) | Op::Dot(dims) => dims.clone(),
            Op::ArgReduce(_, d) | Op::Scan(_, d) | Op::Sort { dim: d, .. } | Op::KthLargest(d) | Op::Gather(d) => {
                vec![*d]
            }
            Op::Split { from, into } => into.iter().copied().chain([*from]).collect(),
            Op::Merge { from, into } => from.iter().copied().chain([*into]).collect(),
            Op::Load(_, index) | Op::Store { index, .. } | Op::MaskPut(_, index) => indexed(index),
            Op::Const(..)
            | Op::Extent(_)
            | Op::OrderAt(_)
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Select
            | Op::Cast(_)
            | Op::Random
            | Op::MaskGet(_)
            | Op::For(_)
            | Op::If
            | Op::Print(_)
            | Op::Assert(_) => Vec::new(),
        }
    }

    /// The same op on other dims. Loops over walks are included, what their regions name is not.
    #[must_use]
    pub fn with_dims(&self, f: impl Fn(DimId) -> DimId) -> Op {
        let all = |dims: &[DimId]| dims.iter().map(|d| f(*d)).collect::<Vec<_>>();
        let indexed = |index: &[Index]| {
            let one = |i: &Index| match i {
                Index::Dim(d) => Index::Dim(f(*d)),
                Index::Value => Index::Value,
            };
            index.iter().map(one).collect::<Vec<_>>()
        };
        match self {
            Op::BlockIndex(d) => Op::BlockIndex(f(*d)),
            Op::BlockLen(d) => Op::BlockLen(f(*d)),
            Op::Pos(d) => Op::Pos(f(*d)),
            Op::At(d) => Op::At(f(*d)),
            Op::Valid(d) => Op::Valid(f(*d)),
            Op::Broadcast(dims) => Op::Broadcast(all(dims)),
            Op::Reduce(op, dims) => Op::Reduce(*op, all(dims)),
            Op::ArgReduce(op, d) => Op::ArgReduce(*op, f(*d)),
            Op::Scan(op, d) => Op::Scan(*op, f(*d)),
            Op::Sort { dim, descending } => Op::Sort { dim: f(*dim), descending: *descending },
            Op::KthLargest(d) => Op::KthLargest(f(*d)),
            Op::Gather(d) => Op::Gather(f(*d)),
            Op::Dot(dims) => Op::Dot(all(dims)),
            Op::Split { from, into } => Op::Split { from: f(*from), into: all(into) },
            Op::Merge { from, into } => Op::Merge { from: all(from), into: f(*into) },
            Op::Load(p, index) => Op::Load(*p, indexed(index)),
            Op::Store { param, index, mode, masked } => {
                Op::Store { param: *param, index: indexed(index), mode: *mode, masked: *masked }
            }
            Op::MaskPut(p, index) => Op::MaskPut(*p, indexed(index)),
            Op::For(it @ Loop { over: Over::Walk(d), .. }) => Op::For(Loop { over: Over::Walk(f(*d)), ..it.clone() }),
            Op::For(Loop { over: Over::Range, .. })
            | Op::Const(..)
            | Op::Extent(_)
            | Op::OrderAt(_)
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Select
            | Op::Cast(_)
            | Op::Random
            | Op::MaskGet(_)
            | Op::If
            | Op::Print(_)
            | Op::Assert(_) => self.clone(),
        }
    }
}
