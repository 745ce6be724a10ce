//! Orders in a plan: named with their arguments, or given by the caller as tables. What is seen through them is `call.rs`'s
//! business.

use std::sync::Arc;

use pantile_diag::{Code, Diagnostic, Diagnostics, FileId, Span};
use pantile_ir::{Order, Table};
use pantile_syntax::ast::{Arg, OrderItem};

use super::frame::Frame;
use super::planner::{OrderRow, Planner, poisoned};
use super::view::{Value, Walk, WalkSource};
use crate::check::host::Host;
use crate::check::orders::{OrderArgs, complete, length};
use crate::check::program::{ItemRef, Program, unknown_name};
use crate::check::signature;
use crate::module::optimised;
use crate::{OrderArg, elaborate};

impl<'p> Planner<'p, '_> {
    /// An order called with its arguments.
    pub(super) fn walk(
        &mut self,
        frame: &mut Frame<'p>,
        item: &'p OrderItem,
        args: &[Arg],
        span: Span,
    ) -> Option<Value<'p>> {
        let poison = |arg: &Arg| match arg {
            Arg::Value(e) | Arg::At(e) | Arg::Via(_, e) | Arg::Named(_, e) => poisoned(frame, e),
            Arg::Over(..) | Arg::As(..) => false,
        };
        if args.iter().any(poison) {
            return None;
        }
        let names = |name: &str| frame.host_value(name);
        let args = Host::new(self.program, frame.file, &names).order_args(item, args, span, self.diags)?;
        self.named(item, args)
    }

    fn named(&mut self, item: &'p OrderItem, args: OrderArgs) -> Option<Value<'p>> {
        let length = length(self.program, item, &args, self.diags)?;
        Some(Value::Walk(Walk { source: WalkSource::Item(item, args), length }))
    }

    /// An order that the pipeline's caller gives; named ones are those that `root` sees.
    pub(super) fn given_order(&mut self, order: &OrderArg, root: FileId, span: Span) -> Value<'p> {
        let walk = match order {
            OrderArg::Table(table) => Some(table_walk(table)),
            OrderArg::Named { name, args } => self.given_name(name, args.clone(), root, span),
        };
        walk.unwrap_or(Value::Poison)
    }

    fn given_name(&mut self, name: &str, args: OrderArgs, root: FileId, span: Span) -> Option<Value<'p>> {
        let program = self.program;
        let Some(ItemRef::Order(item)) = program.lookup(root, name) else {
            let orders = program.names(root).filter(|n| matches!(program.lookup(root, n), Some(ItemRef::Order(_))));
            let known: Vec<&str> = orders.collect();
            let error = unknown_name(name, span, "order", known.iter().copied());
            self.diags.push(match known[..] {
                [] => error.with_help("the module has no orders; a table can be given instead"),
                _ => error.with_help(format!("the module has {}", known.join(", "))),
            });
            return None;
        };
        let args = complete(&signature::order(program, item, self.diags)?, args, span, self.diags)?;
        self.named(item, args)
    }

    /// The order that walks an extent of `size` elements.
    pub(super) fn order(&mut self, walk: &Walk<'p>, size: i64) -> Option<Arc<Order>> {
        let (item, args) = match &walk.source {
            WalkSource::Table(order, _) => return Some(order.clone()),
            WalkSource::Item(item, args) => (item, args),
        };
        let same = |row: &&OrderRow| row.item == item.span && row.args == *args && row.extent == size;
        if let Some(row) = self.orders.iter().find(same) {
            return Some(row.order.clone());
        }
        let order = Arc::new(order(self.program, item, args, size, self.diags)?);
        self.orders.push(OrderRow { item: item.span, args: args.clone(), extent: size, order: order.clone() });
        Some(order)
    }

    /// Refuses a table with elements that an axis of `size` does not have. What kernels compute is looked at when their
    /// tables are made.
    pub(super) fn within(&mut self, walk: &Walk<'p>, size: i64, span: Span) -> Option<()> {
        let WalkSource::Table(order, table) = &walk.source else { return Some(()) };
        let Some(largest) = table.largest().filter(|e| i64::from(*e) >= size) else { return Some(()) };
        let message = format!("`{}` gives element {largest}, but the axis has {size} elements", order.name);
        let error = Diagnostic::error(Code::E0602, span, message, "permuted here");
        self.diags.push(error.with_help("an order's elements are positions in memory, from 0; -1 stands for none"));
        None
    }
}

fn table_walk<'p>(table: &Table) -> Value<'p> {
    let order = Arc::new(Order::of_table(table.clone()));
    let length = Some(order.len);
    Value::Walk(Walk { source: WalkSource::Table(order, table.clone()), length })
}

/// An order with its arguments, its kernel optimised; `None` after errors have been said.
pub(crate) fn order(
    program: &Program,
    item: &OrderItem,
    args: &OrderArgs,
    extent: i64,
    diags: &mut Diagnostics,
) -> Option<Order> {
    let mut order = elaborate::order(program, item, args, extent, &[], diags)?;
    match order.kernel_mut() {
        Some(fill) => optimised(fill, item.name.span, diags).then_some(order),
        None => Some(order),
    }
}
