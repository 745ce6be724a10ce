//! An order as a kernel that fills its table: one instance a position. The table itself is made at run time.

use std::collections::BTreeMap;

use pantile_diag::{Code, Diagnostic, Diagnostics, Span};
use pantile_ir::{
    Axis, DType, Extent, ExtentId, Func, GridAxis, Index, Inst, Op, Order, OrderBody, Param, ParamId, ParamKind,
    Region, Scalar, StoreMode, Type, Value,
};
use pantile_syntax::ast::{Arg, OrderItem, TypeKind};

use super::form::{Atom, Form};
use super::sema::{Hints, Scope, Sema};
use super::value::{Num, Operand, Val, Var};
use crate::Bindings;
use crate::check::constant::Const;
use crate::check::program::Program;

/// One walk over an order.
pub(crate) fn elaborate(
    program: &Program,
    item: &OrderItem,
    args: &BTreeMap<String, i64>,
    (extent, inside): (i64, &[Span]),
    hints: &Hints,
    diags: &mut Diagnostics,
) -> (Option<Order>, Hints) {
    let bind = Bindings::default();
    let mut cx = Sema::new(program, &bind, hints, diags, item.span.file, Func::default());
    cx.walking = [inside, &[item.name.span]].concat();
    let len = cx.order_frame(item, args, extent);
    let Some(len) = len else { return (None, cx.learned) };
    cx.order_body(item);
    let learned = std::mem::take(&mut cx.learned);
    let mut func = cx.b.finish();
    func.name = shown(item, args);
    let holes = may_be_none(&func);
    (Some(Order { name: func.name.clone(), len, holes, fill: OrderBody::Kernel(Box::new(func)) }), learned)
}

/// `windows_paper(13, 15, 26, 0)`.
fn shown(item: &OrderItem, args: &BTreeMap<String, i64>) -> String {
    let shown: Vec<String> =
        item.params.iter().filter_map(|p| args.get(&p.name.node).map(ToString::to_string)).collect();
    format!("{}({})", item.name.node, shown.join(", "))
}

impl<'p> Sema<'p, '_> {
    /// Declares an order's parameters.
    fn order_params(&mut self, item: &OrderItem, args: &BTreeMap<String, i64>) {
        for param in &item.params {
            let is_bool = matches!(&param.ty.kind, TypeKind::Name(name) if name == "bool");
            let val = match (args.get(&param.name.node), &param.default) {
                (Some(n), _) if is_bool => Const::from(*n != 0).into(),
                (Some(n), _) => Const::Int(*n).into(),
                (None, Some(default)) => self.expr(default),
                (None, None) => {
                    let message = format!("nothing tells what `{}` is", param.name.node);
                    self.error::<()>(Code::E0503, param.name.span, message, "not bound");
                    Val::Error
                }
            };
            if self.fresh(&param.name) {
                self.declare(&param.name.node, Var::fixed(val, param.name.span, "a parameter"));
            }
        }
    }

    /// Parameters, length, table and grid. The length.
    fn order_frame(&mut self, item: &OrderItem, args: &BTreeMap<String, i64>, extent: i64) -> Option<i64> {
        self.order_params(item, args);
        let (len, span) = match &item.length {
            Some(e) => (self.const_int(e, "an order's length")?, e.span),
            None => (extent, item.name.span),
        };
        if !(0..=i64::from(i32::MAX)).contains(&len) {
            let message = format!("an order cannot have {len} positions");
            let error = Diagnostic::error(Code::E0502, span, message, format!("this is {len}"));
            return self.say(error.with_help(format!("it has 0 to {}", i32::MAX)));
        }
        self.b.func.extents.push(Extent { name: "len".into(), known: Some(len), order: None });
        let axis = Axis { extent: ExtentId(0), by: None };
        let kind = ParamKind::Tensor(DType::I32, vec![axis]);
        self.b.func.params.push(Param { name: "table".into(), kind, out: true, span: item.name.span });
        let position = self.b.func.new_value(Type::Scalar(DType::I64));
        self.b.func.grid.push(GridAxis::Each(axis, position));
        let tile = Self::formed(position, Some(Form::atom(Atom::Grid(0))));
        self.order_position(item, Num::Tile(tile));
        Some(len)
    }

    fn order_position(&mut self, item: &OrderItem, position: Num) {
        if self.fresh(&item.position) {
            self.declare(&item.position.node, Var::fixed(position.into(), item.position.span, "the position"));
        }
    }

    /// What the body gives, with its place.
    fn order_element(&mut self, item: &OrderItem) -> Option<Operand> {
        let val = self.block(&item.body);
        let span = item.body.tail.as_ref().map_or(item.body.span, |t| t.span);
        let num = self.number(val, span)?;
        if let Some(d) = self.dims(&num).first() {
            let (found, d) = (self.show_num(&num), self.dim_name(*d).to_owned());
            let message = format!("an order gives one element, but this is {found}");
            return self.error(Code::E0301, span, message, format!("has dimension `{d}`"));
        }
        Some(Operand { num, span })
    }

    /// `windows(p - first, F, Y, X)` in an order's body: the element that another order has at a position.
    pub(crate) fn order_at(&mut self, item: &'p OrderItem, args: &[Arg], span: Span) -> Option<Val<'p>> {
        let name = &item.name.node;
        let Some((Arg::Value(position), args)) = args.split_first() else {
            let message = format!("`{name}` takes a position before its arguments here");
            let error = Diagnostic::error(Code::E0305, span, message, "no position");
            return self.say(error.with_label(item.name.span, "defined here"));
        };
        let (at, bound) = (self.operand_of(position), self.order_call(item, args, span));
        if self.walking.contains(&item.name.span) {
            let message = format!("`{name}` calls itself");
            let error = Diagnostic::error(Code::E0307, span, message, "orders are inlined, so they cannot recur");
            return self.say(error.with_label(item.name.span, "defined here").with_help("use a loop"));
        }
        let (at, Some(Val::Order(_, bound))) = (at?, bound) else { return None };
        if let Some(d) = self.dims(&at.num).first() {
            let (found, d) = (self.show_num(&at.num), self.dim_name(*d).to_owned());
            let message = format!("`{name}` takes one position, not {found}");
            return self.error(Code::E0301, at.span, message, format!("has dimension `{d}`"));
        }
        let at = self.convert(&at, DType::I64, "a position")?;
        // The body sees its own parameters and its file's items, and nothing of the caller.
        let scopes = std::mem::replace(&mut self.scopes, vec![Scope::new()]);
        let file = std::mem::replace(&mut self.file, item.span.file);
        let constant = std::mem::replace(&mut self.constant, false);
        self.calls.push((name.clone(), span));
        self.walking.push(item.name.span);
        self.order_params(item, &bound);
        self.order_position(item, Num::Tile(at));
        let element = self.deeper(span, |cx| cx.order_element(item));
        self.walking.pop();
        self.calls.pop();
        self.constant = constant;
        self.file = file;
        self.scopes = scopes;
        element.map(|x| x.num.into())
    }

    fn order_body(&mut self, item: &OrderItem) {
        let position = match self.find(&item.position.node).map(|(_, v)| v.val.clone()) {
            Some(Val::Num(Num::Tile(t))) => t.value,
            _ => return,
        };
        let Some(element) = self.order_element(item) else { return };
        let span = element.span;
        let Some(t) = self.convert(&element, DType::I64, "an order's element") else { return };
        let Some(element) = self.cast_tile(&t, DType::I32, span) else { return };
        let store = Op::Store { param: ParamId(0), index: vec![Index::Value], mode: StoreMode::Set, masked: false };
        self.emit_effect(store, &[position, element.value], span);
    }
}

/// Whether a position may have no element: whether some way through the body ends in a negative number that is written
/// or folded. An element that is computed is held to be one: a table that then has a negative one is refused by who
/// fills it, so nothing rests on it unchecked.
fn may_be_none(func: &Func) -> bool {
    let store = func.body.insts.iter().rev().find(|i| matches!(i.op, Op::Store { .. }));
    let stored = store.and_then(|i| i.args.last().copied());
    stored.is_none_or(|v| ends_negative(&func.body, v))
}

fn ends_negative(region: &Region, value: Value) -> bool {
    let Some((inst, n)) = defining(region, value) else { return false };
    match &inst.op {
        Op::Const(_, Scalar::Int(x)) => *x < 0,
        Op::Cast(_) => ends_negative(region, inst.args[0]),
        Op::Select => inst.args[1..].iter().any(|v| ends_negative(region, *v)),
        Op::If => inst.regions.iter().any(|r| r.yields.get(n).is_none_or(|v| ends_negative(region, *v))),
        Op::For(_) => true,
        Op::Binary(_) | Op::Unary(_) => false,
        Op::Const(..)
        | Op::Extent(_)
        | Op::BlockIndex(_)
        | Op::BlockLen(_)
        | Op::Pos(_)
        | Op::At(_)
        | Op::Valid(_)
        | Op::OrderAt(_)
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
        | Op::Store { .. }
        | Op::MaskGet(_)
        | Op::MaskPut(..)
        | Op::Print(_)
        | Op::Assert(_) => false,
    }
}

/// The instruction that defines a value, anywhere below a region, and which of its results it is.
fn defining(region: &Region, value: Value) -> Option<(&Inst, usize)> {
    region.insts.iter().find_map(|i| {
        let own = i.results.iter().position(|v| *v == value).map(|n| (i, n));
        own.or_else(|| i.regions.iter().find_map(|r| defining(r, value)))
    })
}
