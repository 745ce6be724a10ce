//! Orders called with their arguments in scalar code: which argument is which, and how many positions there are. Their
//! bodies are the elaborator's business.

use std::collections::BTreeMap;

use pantile_diag::{Code, Diagnostic, Diagnostics, Span};
use pantile_syntax::ast::{Arg, OrderItem};

use super::constant::Const;
use super::host::{Effort, Host, HostValue};
use super::program::Program;
use super::signature;
use crate::signature::OrderSignature;

/// Arguments of an order, by parameter; a bool is 0 or 1.
pub(crate) type OrderArgs = BTreeMap<String, i64>;

impl Host<'_, '_> {
    /// The value of an order's call: its number of positions is all that scalar code can use.
    pub(super) fn order_value(
        &mut self,
        item: &OrderItem,
        args: &[Arg],
        span: Span,
        diags: &mut Diagnostics,
    ) -> Option<HostValue> {
        let args = self.order_args(item, args, span, diags)?;
        self.entered(item.name.span, span, &item.name.node, diags)?;
        let mut effort = std::mem::take(&mut self.effort);
        let length = measured(self.program, item, &args, &mut effort, diags);
        self.effort = effort;
        self.effort.inside.pop();
        Some(match length? {
            Some(length) => HostValue::Walk(length),
            None => HostValue::Other(NO_LENGTH),
        })
    }

    /// The arguments of a call, evaluated, with defaults for those that are missing.
    pub(crate) fn order_args(
        &mut self,
        item: &OrderItem,
        args: &[Arg],
        span: Span,
        diags: &mut Diagnostics,
    ) -> Option<OrderArgs> {
        let order = signature::order(self.program, item, diags)?;
        let mut values = OrderArgs::new();
        let mut ok = true;
        for (n, arg) in args.iter().enumerate() {
            let (name, e) = match arg {
                Arg::Value(e) => (order.params.get(n).map(|p| p.name.clone()), e),
                Arg::Named(name, e) => (Some(name.node.clone()), e),
                Arg::At(e) | Arg::Via(_, e) => (None, e),
                Arg::Over(_, at) | Arg::As(_, at) => {
                    let message = format!("`{}` takes numbers", order.name);
                    diags.push(Diagnostic::error(Code::E0305, *at, message, "not a number"));
                    return None;
                }
            };
            let param = name.and_then(|name| order.params.iter().find(|p| p.name == name));
            let Some(param) = param.filter(|p| !values.contains_key(&p.name)) else {
                let message = format!("`{}` takes ({})", order.name, takes(&order));
                let error = Diagnostic::error(Code::E0305, e.span, message, "not one of these, or given twice");
                diags.push(error.with_label(order.span, "defined here"));
                return None;
            };
            let value = if param.is_bool { self.eval_bool(e, diags).map(i64::from) } else { self.eval_int(e, diags) };
            match value {
                Some(value) => drop(values.insert(param.name.clone(), value)),
                None => ok = false,
            }
        }
        if ok { complete(&order, values, span, diags) } else { None }
    }
}

/// What scalar code says of an order without a length.
pub(crate) const NO_LENGTH: &str = "an order that is as long as what it walks";

fn takes(order: &OrderSignature) -> String {
    order.params.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Adds defaults; refuses arguments that are missing and names that the order does not have.
pub(crate) fn complete(
    order: &OrderSignature,
    mut values: OrderArgs,
    span: Span,
    diags: &mut Diagnostics,
) -> Option<OrderArgs> {
    let mut say = |message: String, label: &str| {
        let error = Diagnostic::error(Code::E0305, span, message, label);
        diags.push(if span == order.span { error } else { error.with_label(order.span, "defined here") });
    };
    if let Some(stranger) = values.keys().find(|name| order.params.iter().all(|p| p.name != **name)) {
        say(format!("`{}` has no parameter `{stranger}`; it takes ({})", order.name, takes(order)), "this order");
        return None;
    }
    for param in &order.params {
        match param.default {
            Some(default) => drop(values.entry(param.name.clone()).or_insert(default)),
            None if values.contains_key(&param.name) => {}
            None => {
                say(format!("`{}` needs `{}`; it takes ({})", order.name, param.name, takes(order)), "missing here");
                return None;
            }
        }
    }
    Some(values)
}

/// The number of positions of an order with all its arguments; `Some(None)` if it is as long as what it walks.
#[allow(clippy::option_option, reason = "the outer one is whether an error was said")]
pub(crate) fn length(
    program: &Program,
    item: &OrderItem,
    args: &OrderArgs,
    diags: &mut Diagnostics,
) -> Option<Option<i64>> {
    let mut effort = Effort::default();
    effort.inside.push(item.name.span);
    measured(program, item, args, &mut effort, diags)
}

#[allow(clippy::option_option, reason = "as above")]
fn measured(
    program: &Program,
    item: &OrderItem,
    args: &OrderArgs,
    effort: &mut Effort,
    diags: &mut Diagnostics,
) -> Option<Option<i64>> {
    let Some(e) = &item.length else { return Some(None) };
    let order = signature::order(program, item, diags)?;
    let names = |name: &str| {
        let param = order.params.iter().find(|p| p.name == name)?;
        let value = *args.get(name)?;
        Some(HostValue::Const(if param.is_bool { (value != 0).into() } else { Const::Int(value) }))
    };
    let mut host = Host::new(program, item.name.span.file, &names);
    host.effort = std::mem::take(effort);
    let length = host.eval_int(e, diags);
    *effort = host.effort;
    length.map(Some)
}
