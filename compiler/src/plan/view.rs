//! What a pipeline's values are: buffers seen through orders. A permutation is a way of looking until something cannot look
//! that way; copying is `launch.rs`'s business.

use std::sync::Arc;

use pantile_diag::Span;
use pantile_ir::{DType, Order, Table};
use pantile_syntax::ast::OrderItem;

use crate::OrderArg;
use crate::check::constant::Const;
use crate::check::orders::OrderArgs;

/// A value of a pipeline.
#[derive(Clone, Debug)]
pub(crate) enum Value<'p> {
    /// What failed; its error has been said.
    Poison,
    /// A number or bool.
    Scalar(Const),
    /// A dtype, by the name of a generic.
    DType(DType),
    /// An order with its arguments.
    Walk(Walk<'p>),
    /// A tensor.
    Tensor(View),
    /// A mask.
    Mask(MaskView),
    /// The outputs of a kernel or pipeline that has several.
    Tuple(Vec<Value<'p>>),
}

/// An order. What it walks is known where it is used.
#[derive(Clone, Debug)]
pub(crate) struct Walk<'p> {
    /// What it is.
    pub(crate) source: WalkSource<'p>,
    /// Its length, if it has one of its own.
    pub(crate) length: Option<i64>,
}

/// What an order is.
#[derive(Clone, Debug)]
pub(crate) enum WalkSource<'p> {
    /// One of the program's, with its arguments.
    Item(&'p OrderItem, OrderArgs),
    /// A table that the caller made.
    Table(Arc<Order>, Table),
}

impl Walk<'_> {
    /// As an argument.
    pub(crate) fn as_arg(&self) -> OrderArg {
        match &self.source {
            WalkSource::Item(item, args) => OrderArg::Named { name: item.name.node.clone(), args: args.clone() },
            WalkSource::Table(_, table) => OrderArg::Table(table.clone()),
        }
    }

    /// Where it was defined, if the program defines it.
    pub(crate) fn defined(&self) -> Option<Span> {
        match &self.source {
            WalkSource::Item(item, _) => Some(item.name.span),
            WalkSource::Table(..) => None,
        }
    }
}

/// A mask in a buffer.
#[derive(Clone, Debug)]
pub(crate) struct MaskView {
    /// The buffer.
    pub(crate) buffer: usize,
    /// Blocks along each axis.
    pub(crate) shape: Vec<i64>,
}

/// A tensor in a buffer, looked at through orders.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// The buffer.
    pub(crate) buffer: usize,
    /// The element type.
    pub(crate) dtype: DType,
    /// Its axes.
    pub(crate) axes: Vec<AxisView>,
}

/// One axis of a view.
#[derive(Clone, Debug)]
pub(crate) struct AxisView {
    /// The size in memory.
    pub(crate) size: i64,
    /// The extent it is, by the name the pipeline knows.
    pub(crate) name: Option<String>,
    /// The order it is seen in.
    pub(crate) state: AxisState,
}

/// The order an axis is seen in.
#[derive(Clone, Debug)]
pub(crate) enum AxisState {
    /// As it lies in memory.
    Plain,
    /// Position p of the view is element `order[p]` of memory.
    Walked(Arc<Order>),
    /// Memory holds the positions of `order`, those without an element unused; `slots` walks the used ones.
    Padded {
        /// The order that the copy was made in.
        order: Arc<Order>,
        /// p → p where there is an element, else -1.
        slots: Arc<Order>,
    },
}

impl Value<'_> {
    /// For messages: "a tensor".
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Value::Poison => "an error",
            Value::Scalar(_) => "a scalar",
            Value::DType(_) => "a dtype",
            Value::Walk(_) => "an order",
            Value::Tensor(_) => "a tensor",
            Value::Mask(_) => "a mask",
            Value::Tuple(_) => "a tuple",
        }
    }
}

impl View {
    /// The sizes in memory.
    pub(crate) fn shape(&self) -> Vec<i64> {
        self.axes.iter().map(|a| a.size).collect()
    }
}

impl AxisState {
    /// The order in which a kernel must walk the axis.
    pub(crate) fn walk(&self) -> Option<&Arc<Order>> {
        match self {
            AxisState::Plain => None,
            AxisState::Walked(order) | AxisState::Padded { slots: order, .. } => Some(order),
        }
    }

    /// Whether both see memory in the same way.
    pub(crate) fn same(&self, other: &AxisState) -> bool {
        match (self, other) {
            (AxisState::Plain, AxisState::Plain) => true,
            (AxisState::Walked(a), AxisState::Walked(b))
            | (AxisState::Padded { order: a, .. }, AxisState::Padded { order: b, .. }) => same_order(a, b),
            (AxisState::Plain | AxisState::Walked(_) | AxisState::Padded { .. }, _) => false,
        }
    }
}

/// Whether two orders are one.
pub(crate) fn same_order(a: &Arc<Order>, b: &Arc<Order>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}
