//! A kernel in Tile IR: one program instance as SSA values in structured regions. Text form: `text/`; rules: `verify.rs`.
//!
//! # How to read it
//!
//! - A [`Func`] is one kernel, already specialised: dtypes, const parameters and the sizes of its dims are numbers. What
//!   may differ from launch to launch are extents whose `known` is `None`, scalar parameters and the tensors themselves.
//! - A **dim** is an axis of tiles. It is *defined* where a block of it comes into scope: by a grid axis, by a loop
//!   ([`crate::Over::Walk`]), or everywhere, for a whole-extent dim and for one over nothing (`iota`). Two blocks over one
//!   extent are two dims.
//! - A tile is a function over a *set* of dims ([`Type::Tile`], dims ascending by id). It is defined at valid positions only.
//! - **The lanes of a block are its valid positions, in ascending order.** Lane `l` of block `b` is the `l`-th position
//!   `p` in `[b·size, (b+1)·size)` with `p < length` and, through an order, an element at `p`. So the valid lanes are
//!   always the prefix `0..len(b)`, and every op works on those and no others.
//! - The **length** of a walk is its order's length, or without one its extent. It has ⌈length ÷ size⌉ blocks.

use pantile_diag::Span;

use crate::{DType, Index, Op, Order};

macro_rules! ids {
    ($($(#[$meta:meta])* $name:ident;)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);

        impl $name {
            /// As an index into the table it names a row of.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

ids! {
    /// An SSA value of a [`Func`].
    Value;
    /// A row of [`Func::dims`].
    DimId;
    /// A row of [`Func::extents`].
    ExtentId;
    /// A row of [`Func::orders`].
    OrderId;
    /// A row of [`Func::params`].
    ParamId;
}

/// A named number of elements along tensor axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Extent {
    /// As in source; a literal extent is named by its digits.
    pub name: String,
    /// Fixed at compile time, because a whole-axis tile needs it or because it is a literal.
    pub known: Option<i64>,
    /// The order in which every walk of this extent goes (a pipeline's fused permutation).
    pub order: Option<OrderId>,
}

/// An axis of tiles.
#[derive(Clone, Debug, PartialEq)]
pub struct Dim {
    /// As in source: the block's name, or the extent's for `:`.
    pub name: String,
    /// The number of lanes of a full block; at least 1.
    pub size: i64,
    /// What its blocks are blocks of; `None` for lanes of nothing (`iota`, `split`, `merge`).
    pub over: Option<ExtentId>,
    /// The order its walk goes in.
    pub order: Option<OrderId>,
    /// One block over the whole walk: always in scope.
    pub whole: bool,
    /// A loop's dim whose blocks all have all their lanes, whatever the walk's length is: whoever made the loop bounds it so.
    pub full: bool,
}

/// One axis of a tensor or mask: an extent, or the number of blocks of its walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Axis {
    /// The extent.
    pub extent: ExtentId,
    /// `N by P`: the axis has ⌈length ÷ P⌉ places.
    pub by: Option<i64>,
}

/// What a parameter is.
#[derive(Clone, Debug, PartialEq)]
pub enum ParamKind {
    /// A run-time scalar; the value stands for it in the body.
    Scalar(DType, Value),
    /// A tensor of elements.
    Tensor(DType, Vec<Axis>),
    /// A block mask; its last axis is the listed one.
    Mask(Vec<Axis>),
}

/// A parameter: an input or an output.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// As in source.
    pub name: String,
    /// What it is.
    pub kind: ParamKind,
    /// Whether the kernel writes it.
    pub out: bool,
    /// Where it was declared.
    pub span: Span,
}

/// An axis of the grid of program instances, outermost last: the first varies fastest.
#[derive(Clone, Debug, PartialEq)]
pub enum GridAxis {
    /// `i in N by BQ`: defines the dim.
    Walk(DimId),
    /// `h in H`: the value is 0, 1, … (i64).
    Each(Axis, Value),
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// One element.
    Scalar(DType),
    /// A tile; dims ascending and at least one.
    Tile(DType, Vec<DimId>),
}

impl Type {
    /// A tile over `dims` in any order and number; a scalar if there are none.
    pub fn tile(dtype: DType, dims: impl IntoIterator<Item = DimId>) -> Type {
        let mut dims: Vec<DimId> = dims.into_iter().collect();
        dims.sort();
        dims.dedup();
        if dims.is_empty() { Type::Scalar(dtype) } else { Type::Tile(dtype, dims) }
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        match self {
            Type::Scalar(dtype) | Type::Tile(dtype, _) => *dtype,
        }
    }

    /// The dims, none for a scalar.
    pub fn dims(&self) -> &[DimId] {
        match self {
            Type::Scalar(_) => &[],
            Type::Tile(_, dims) => dims,
        }
    }

    /// The same dims with another element type.
    pub fn with(&self, dtype: DType) -> Type {
        Type::tile(dtype, self.dims().iter().copied())
    }
}

/// One instruction.
#[derive(Clone, Debug, PartialEq)]
pub struct Inst {
    /// What it does.
    pub op: Op,
    /// Its operands.
    pub args: Vec<Value>,
    /// Its results: none, one, or for `for` and `if` what they carry.
    pub results: Vec<Value>,
    /// Nested code of `for` and `if`.
    pub regions: Vec<Region>,
    /// The source it came from.
    pub span: Span,
}

/// A straight line of instructions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Region {
    /// Values that the owner provides.
    pub args: Vec<Value>,
    /// In order of execution.
    pub insts: Vec<Inst>,
    /// Values handed to the owner at the end.
    pub yields: Vec<Value>,
}

/// A kernel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Func {
    /// As in source.
    pub name: String,
    /// The constants it was specialised with, for people: `BQ = 128`, `T = f32`.
    pub consts: Vec<(String, String)>,
    /// Named numbers of elements.
    pub extents: Vec<Extent>,
    /// Axes of tiles.
    pub dims: Vec<Dim>,
    /// Walk orders.
    pub orders: Vec<Order>,
    /// Inputs, then outputs.
    pub params: Vec<Param>,
    /// The program instances; the first axis varies fastest.
    pub grid: Vec<GridAxis>,
    /// What one instance does.
    pub body: Region,
    /// The type of each value.
    pub types: Vec<Type>,
}

/// The operands of a loop, by what they are for.
pub struct LoopArgs<'a> {
    /// `lo`, `hi` of a range.
    pub range: Option<(Value, Value)>,
    /// First block, one past the last block.
    pub bounds: Option<(Value, Value)>,
    /// The mask row's indices.
    pub row: &'a [Value],
    /// Initial values of what is carried.
    pub inits: &'a [Value],
}

impl Func {
    /// The type of a value.
    pub fn ty(&self, value: Value) -> &Type {
        &self.types[value.index()]
    }

    /// A new value.
    pub fn new_value(&mut self, ty: Type) -> Value {
        self.types.push(ty);
        Value(self.types.len() as u32 - 1)
    }

    /// The row of a dim.
    pub fn dim(&self, dim: DimId) -> &Dim {
        &self.dims[dim.index()]
    }

    /// The row of a parameter.
    pub fn param(&self, param: ParamId) -> &Param {
        &self.params[param.index()]
    }

    /// The axes of a tensor or mask parameter, none for a scalar.
    pub fn axes(&self, param: ParamId) -> &[Axis] {
        match &self.param(param).kind {
            ParamKind::Scalar(..) => &[],
            ParamKind::Tensor(_, axes) | ParamKind::Mask(axes) => axes,
        }
    }

    /// The length of an extent's walk if it is known at compile time.
    pub fn known_length(&self, extent: ExtentId, order: Option<OrderId>) -> Option<i64> {
        match order {
            Some(order) => Some(self.orders[order.index()].len),
            None => self.extents[extent.index()].known,
        }
    }

    /// The length of a dim's walk at a launch with these extents, one a row of [`Func::extents`].
    pub fn walk_length(&self, dim: DimId, extents: &[i64]) -> i64 {
        let d = self.dim(dim);
        match (d.order, d.over) {
            (Some(order), _) => self.orders[order.index()].len,
            (None, Some(extent)) => extents[extent.index()],
            (None, None) => d.size,
        }
    }

    /// The number of blocks of a dim's walk at a launch with these extents.
    pub fn block_count(&self, dim: DimId, extents: &[i64]) -> i64 {
        self.walk_length(dim, extents).div_euclid(self.dim(dim).size)
            + i64::from(self.walk_length(dim, extents).rem_euclid(self.dim(dim).size) != 0)
    }

    /// The number of places along an axis at a launch with these extents.
    pub fn axis_size(&self, axis: Axis, extents: &[i64]) -> i64 {
        let elements = extents[axis.extent.index()];
        match axis.by {
            None => elements,
            Some(by) => {
                let order = self.extents[axis.extent.index()].order;
                let length = order.map_or(elements, |o| self.orders[o.index()].len);
                length.div_euclid(by) + i64::from(length.rem_euclid(by) != 0)
            }
        }
    }

    /// Whether every block of the dim is known to have all its lanes.
    pub fn is_full(&self, dim: DimId) -> bool {
        let d = self.dim(dim);
        match d.over {
            None => true,
            Some(_) if d.full => true,
            Some(extent) => {
                let holes = d.order.is_some_and(|o| self.orders[o.index()].holes);
                // A whole dim has its one block even where the extent is empty.
                let full = |n: i64| n % d.size == 0 && (n > 0 || !d.whole);
                !holes && self.known_length(extent, d.order).is_some_and(full)
            }
        }
    }

    /// Whether an axis has one place for each block of a dim's walk.
    pub fn counts_blocks(&self, axis: Axis, dim: DimId) -> bool {
        let d = self.dim(dim);
        let same = d.over == Some(axis.extent) && d.order == self.extents[axis.extent.index()].order;
        // Without `by` an axis counts elements, and an order may have more positions than that.
        same && (axis.by == Some(d.size) || (axis.by.is_none() && d.size == 1 && d.order.is_none()))
    }
}

impl Inst {
    /// Whether running it can be seen from outside, apart from its results.
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other op's table row says it")]
    pub fn has_effect(&self) -> bool {
        match self.op {
            Op::For(_) | Op::If => self.regions.iter().any(|r| r.insts.iter().any(Inst::has_effect)),
            ref op => op.has_effect(),
        }
    }

    /// A loop's operands by what they are for; `None` for any other op.
    pub fn loop_args(&self, func: &Func) -> Option<LoopArgs<'_>> {
        let Op::For(it) = &self.op else { return None };
        let mut at = 0;
        let mut pair = |there: bool| {
            there.then(|| {
                at += 2;
                (self.args[at - 2], self.args[at - 1])
            })
        };
        let range = pair(it.over == crate::Over::Range);
        let bounds = pair(it.bounds);
        let rank = it.list.map_or(0, |mask| func.axes(mask).len() - 1);
        Some(LoopArgs { range, bounds, row: &self.args[at..at + rank], inits: &self.args[at + rank..] })
    }

    /// The body of a loop.
    pub fn body(&self) -> &Region {
        &self.regions[self.regions.len() - 1]
    }

    /// The operands that index a tensor or mask, one for each [`Index::Value`], in order.
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other op indexes nothing")]
    pub fn index_args(&self) -> &[Value] {
        let count = match &self.op {
            Op::Load(_, index) | Op::Store { index, .. } | Op::MaskPut(_, index) => {
                index.iter().filter(|i| **i == Index::Value).count()
            }
            Op::MaskGet(_) => self.args.len(),
            _ => 0,
        };
        &self.args[..count]
    }
}

/// The coordinates of an instance in a grid of these sizes, from its number: the first axis varies fastest.
pub fn instance(mut number: u64, grid: &[u64]) -> Vec<i64> {
    let mut coordinate = |size: &u64| {
        let n = number % size.max(&1);
        number /= size.max(&1);
        n as i64
    };
    grid.iter().map(&mut coordinate).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_first_axis_is_fastest() {
        assert_eq!(super::instance(7, &[3, 4]), [1, 2]);
        assert!(super::instance(0, &[]).is_empty());
    }
}
