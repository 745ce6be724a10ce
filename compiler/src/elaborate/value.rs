//! What an expression of a kernel can be while it is elaborated. Only numbers exist at run time.

use std::collections::BTreeMap;

use pantile_diag::Span;
use pantile_ir::{DType, DimId, ExtentId, ParamId, Value};
use pantile_syntax::ast::OrderItem;

use super::form::Form;
use crate::check::constant::Const;

/// Identifies a literal, or a loop's variable, in one inlined copy of the code: the call sites around it and its place.
pub(crate) type Key = (Vec<Span>, Span);

/// A run-time scalar or tile.
#[derive(Clone, Debug)]
pub(crate) struct Tile {
    /// Its value; the type is the function's business.
    pub(crate) value: Value,
    /// Which of its lanes are valid, if not all that exist: a bool, over no dims that `value` lacks.
    pub(crate) valid: Option<Value>,
    /// The literal that it was made of and that could have another dtype.
    pub(crate) soft: Option<Key>,
    /// What is known of it as an index.
    pub(crate) form: Option<Form>,
    /// Whether it is `pos(d)` or, through an order, `at(d)`.
    pub(crate) lanes: Option<Lanes>,
}

/// A tile that is nothing but the positions of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lanes {
    /// In the walk.
    Pos(DimId),
    /// In memory.
    At(DimId),
}

impl From<Value> for Tile {
    fn from(value: Value) -> Self {
        Self { value, valid: None, soft: None, form: None, lanes: None }
    }
}

/// A number or bool, or a tile of them.
#[derive(Clone, Debug)]
pub(crate) enum Num {
    /// Known now.
    Const(Const),
    /// Known at run time.
    Tile(Tile),
}

/// What an expression is.
#[derive(Clone, Debug)]
pub(crate) enum Val<'p> {
    /// Nothing that is known: an error has been said, and whatever uses it is silent.
    Error,
    /// No value.
    Unit,
    /// A number.
    Num(Num),
    /// An extent; as a number, its size.
    Extent(ExtentId),
    /// A block, or the one block over a whole extent.
    Block(DimId),
    /// What a caller wrote after `over`.
    Dims(Vec<DimId>),
    /// A tensor or mask.
    Param(ParamId),
    /// An order and its arguments.
    Order(&'p OrderItem, BTreeMap<String, i64>),
    /// Several.
    Tuple(Vec<Val<'p>>),
    /// For `print` and `assert`.
    Str(String),
    /// An element type.
    DType(DType),
}

impl From<Tile> for Val<'_> {
    fn from(tile: Tile) -> Self {
        Val::Num(Num::Tile(tile))
    }
}

impl From<Value> for Val<'_> {
    fn from(value: Value) -> Self {
        Val::Num(Num::Tile(value.into()))
    }
}

impl From<Const> for Val<'_> {
    fn from(x: Const) -> Self {
        Val::Num(Num::Const(x))
    }
}

impl From<Num> for Val<'_> {
    fn from(x: Num) -> Self {
        Val::Num(x)
    }
}

impl Val<'_> {
    /// Itself, unless an error has been said about it.
    pub(crate) fn known(self) -> Option<Self> {
        if matches!(self, Val::Error) { None } else { Some(self) }
    }
}

impl Num {
    /// The constant, if it is one.
    pub(crate) fn constant(&self) -> Option<Const> {
        match self {
            Num::Const(x) => Some(*x),
            Num::Tile(_) => None,
        }
    }
}

/// A name in scope.
#[derive(Clone, Debug)]
pub(crate) struct Var<'p> {
    /// What it is at this point of the code.
    pub(crate) val: Val<'p>,
    /// Whether it may be assigned.
    pub(crate) mutable: bool,
    /// Where it was declared.
    pub(crate) span: Span,
    /// For messages: "a parameter".
    pub(crate) what: &'static str,
    /// The dtype it was declared with, if one was written.
    pub(crate) declared: Option<DType>,
    /// The dim that it names as well (`let t = iota(8)`).
    pub(crate) dim: Option<DimId>,
}

impl<'p> Var<'p> {
    /// A name that cannot be assigned.
    pub(crate) fn fixed(val: Val<'p>, span: Span, what: &'static str) -> Self {
        Self { val, mutable: false, span, what, declared: None, dim: None }
    }
}

/// A number with the place it was written.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    /// The number.
    pub(crate) num: Num,
    /// Its place.
    pub(crate) span: Span,
}
