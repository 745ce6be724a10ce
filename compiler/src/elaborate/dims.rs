//! Extents, dims, walks and orders: what a kernel's axes and blocks are. How they index tensors is `index.rs`'s business.

use std::collections::BTreeMap;

use pantile_diag::{Code, Diagnostic, Span};
use pantile_ir::{Axis, Dim, DimId, Extent, ExtentId, Order, OrderId};
use pantile_syntax::ast::{Arg, AxisExpr, AxisExtent, Expr, ExprKind, Ident, OrderItem, WalkExpr};

use super::form::{Atom, Form};
use super::sema::Sema;
use super::value::{Num, Val};
use crate::check::constant::Const;
use crate::check::{orders, signature};

/// The largest size of a tile's dim.
const MAX_BLOCK: i64 = 1 << 24;

/// What a walk goes over.
pub(crate) struct Walk {
    /// The extent.
    pub(crate) extent: ExtentId,
    /// The block size; single positions without one.
    pub(crate) by: Option<i64>,
    /// The order, its own or the extent's.
    pub(crate) order: Option<OrderId>,
}

impl<'p> Sema<'p, '_> {
    /// The extent of that name; a new one is known if the name is an int constant.
    pub(crate) fn extent(&mut self, name: &str) -> ExtentId {
        if let Some(id) = self.extents.get(name) {
            return *id;
        }
        let known = self.bind.ints.get(name).copied();
        let order = self.bind.walks.get(name).map(|o| self.add_order(o.clone()));
        let id = ExtentId(self.b.func.extents.len() as u32);
        self.b.func.extents.push(Extent { name: name.to_owned(), known, order });
        self.extents.insert(name.to_owned(), id);
        id
    }

    /// The extent that an axis or walk names. A literal is an extent named by its digits.
    pub(crate) fn axis_extent(&mut self, extent: &AxisExtent) -> ExtentId {
        match extent {
            AxisExtent::Name(name) => self.extent(&name.node),
            AxisExtent::Literal(n) => {
                let id = self.extent(&n.to_string());
                self.b.func.extents[id.index()].known = Some(*n);
                id
            }
        }
    }

    /// An axis of a parameter.
    pub(crate) fn axis(&mut self, axis: &AxisExpr) -> Option<Axis> {
        let extent = self.axis_extent(&axis.extent);
        let by = match &axis.by {
            Some(e) => Some(self.block_size(e)?),
            None => None,
        };
        Some(Axis { extent, by })
    }

    /// A block size: a positive constant.
    pub(crate) fn block_size(&mut self, e: &Expr) -> Option<i64> {
        let n = self.const_int(e, "a block size")?;
        if (1..=MAX_BLOCK).contains(&n) {
            return Some(n);
        }
        let error = Diagnostic::error(Code::E0502, e.span, format!("{n} is no block size"), format!("this is {n}"));
        self.say(error.with_help(format!("a block has 1 to {MAX_BLOCK} positions")))
    }

    /// A compile-time integer. Extents are numbers in it.
    pub(crate) fn const_int(&mut self, e: &Expr, what: &str) -> Option<i64> {
        let num = self.constant_number(e)?;
        if let Num::Const(x) = num
            && let Some(n) = x.as_int()
        {
            return Some(n);
        }
        let found = self.show_num(&num);
        let error = Diagnostic::error(Code::E0501, e.span, format!("{what} must be a compile-time int"), found);
        self.say(
            error.with_help("literals, `const` items, int constants of the kernel and extents are compile-time ints"),
        )
    }

    /// A number where a constant is needed: an extent, alone or within, is its size.
    fn constant_number(&mut self, e: &Expr) -> Option<Num> {
        let outer = std::mem::replace(&mut self.constant, true);
        let val = self.expr(e);
        let num = self.number(val, e.span);
        self.constant = outer;
        num
    }

    /// The size of an extent as a number, which the kernel is then specialised for.
    pub(crate) fn known_extent(&mut self, extent: ExtentId, span: Span) -> Option<i64> {
        let row = &self.b.func.extents[extent.index()];
        let Some(n) = row.known.or_else(|| self.bind.extents.get(&row.name).copied()) else {
            let message = format!("the size of `{}` is needed at compile time, but nothing tells it", row.name);
            let error = Diagnostic::error(Code::E0501, span, message, "a constant is needed here");
            return self.say(error.with_help("an extent is bound by an axis of an argument"));
        };
        self.b.func.extents[extent.index()].known = Some(n);
        Some(n)
    }

    /// A new dim.
    pub(crate) fn add_dim(&mut self, dim: Dim, span: Span) -> DimId {
        self.b.func.dims.push(dim);
        self.dim_spans.push(span);
        DimId(self.b.func.dims.len() as u32 - 1)
    }

    /// The dim of the one block over a whole extent.
    pub(crate) fn whole_dim(&mut self, extent: ExtentId, span: Span) -> Option<DimId> {
        if let Some(d) = self.whole.get(&extent) {
            return Some(*d);
        }
        let known = self.known_extent(extent, span)?;
        let row = &self.b.func.extents[extent.index()];
        let (name, order) = (row.name.clone(), row.order);
        let size = order.map_or(known, |o| self.b.func.orders[o.index()].len);
        if size > MAX_BLOCK {
            let message = format!("`{name}` is {size} here: too many for one tile");
            let error = Diagnostic::error(Code::E0502, span, message, format!("the whole of {name}"));
            return self.say(error.with_help(format!("walk it in blocks: `for j in {name} by 128 {{ … }}`")));
        }
        let dim = Dim { name, size: size.max(1), over: Some(extent), order, whole: true, full: false };
        let id = self.add_dim(dim, span);
        self.whole.insert(extent, id);
        Some(id)
    }

    /// The dim of all block numbers of an extent cut `by` a size.
    pub(crate) fn counted_dim(&mut self, extent: ExtentId, by: i64, span: Span) -> Option<DimId> {
        if let Some(d) = self.counted.get(&(extent, by)) {
            return Some(*d);
        }
        let known = self.known_extent(extent, span)?;
        let row = &self.b.func.extents[extent.index()];
        let length = row.order.map_or(known, |o| self.b.func.orders[o.index()].len);
        let name = format!("{} by {by}", row.name);
        let size = ((length + by - 1) / by).clamp(1, MAX_BLOCK);
        let id = self.add_dim(Dim { name, size, over: None, order: None, whole: true, full: false }, span);
        self.counted.insert((extent, by), id);
        Some(id)
    }

    /// A dim over nothing: `iota`, `split`, `merge`.
    pub(crate) fn lane_dim(&mut self, name: &str, size: i64, span: Span) -> Option<DimId> {
        if !(1..=MAX_BLOCK).contains(&size) {
            let message = format!("a dimension cannot have {size} lanes");
            let error = Diagnostic::error(Code::E0502, span, message, format!("this is {size}"));
            return self.say(error.with_help(format!("it has 1 to {MAX_BLOCK}")));
        }
        Some(self.add_dim(Dim { name: name.to_owned(), size, over: None, order: None, whole: true, full: false }, span))
    }

    /// The dims that names after `over` mean, each once.
    pub(crate) fn over(&mut self, names: &[Ident]) -> Option<Vec<DimId>> {
        let mut dims = Vec::new();
        let mut fine = true;
        for name in names {
            match self.dim_of(name) {
                Some(found) => dims.extend(found),
                None => fine = false,
            }
        }
        dims.sort_unstable();
        dims.dedup();
        fine.then_some(dims)
    }

    fn dim_of(&mut self, name: &Ident) -> Option<Vec<DimId>> {
        if let Some((_, var)) = self.find(&name.node) {
            if let Some(d) = var.dim {
                return Some(vec![d]);
            }
            match &var.val {
                Val::Error => return None,
                Val::Block(d) => return Some(vec![*d]),
                Val::Dims(dims) => return Some(dims.clone()),
                Val::Extent(e) => {
                    let e = *e;
                    return self.whole_dim(e, name.span).map(|d| vec![d]);
                }
                Val::Num(_)
                | Val::Unit
                | Val::Param(_)
                | Val::Order(..)
                | Val::Tuple(_)
                | Val::Str(_)
                | Val::DType(_) => {}
            }
            if let (true, Some(e)) = (self.calls.is_empty(), self.extents.get(&name.node).copied()) {
                return self.whole_dim(e, name.span).map(|d| vec![d]);
            }
            let (what, from) = (self.describe(&var.val), var.span);
            let message = format!("`{}` is no dimension", name.node);
            let error = Diagnostic::error(Code::E0202, name.span, message, format!("this is {what}"));
            let help = "dimensions are named by blocks (`i in N by 128`), whole extents, `iota`, `split` and `merge`";
            return self.say(error.with_label(from, "declared here").with_help(help));
        }
        self.unknown(&name.node, name.span, "dimension")
    }

    /// What a grid axis or a loop walks.
    pub(crate) fn walk(&mut self, walk: &WalkExpr) -> Option<Walk> {
        let extent = self.walked_extent(&walk.extent, walk.span)?;
        let by = match &walk.by {
            Some(e) => Some(self.block_size(e)?),
            None => None,
        };
        let own = self.b.func.extents[extent.index()].order;
        let Some(via) = &walk.via else { return Some(Walk { extent, by, order: own }) };
        if by.is_none() {
            let error = Diagnostic::error(
                Code::E0601,
                walk.span,
                "an order walks blocks, not single positions",
                "no block size",
            );
            return self.say(error.with_help("write `by 1` for blocks of one position"));
        }
        if own.is_some() {
            let name = self.extent_name(extent).to_owned();
            let message =
                format!("`{name}` is walked through an order already, by the pipeline that launches this kernel");
            return self.error(Code::E0601, via.span, message, "a second order");
        }
        let order = self.order_here(via, extent)?;
        Some(Walk { extent, by, order: Some(order) })
    }

    /// The extent that a walk names, which must be one of the kernel's.
    pub(crate) fn walked_extent(&mut self, extent: &AxisExtent, span: Span) -> Option<ExtentId> {
        let AxisExtent::Name(name) = extent else { return Some(self.axis_extent(extent)) };
        match self.find(&name.node).map(|(_, v)| v.val.clone()) {
            Some(Val::Extent(e)) => Some(e),
            Some(Val::Error) => None,
            Some(Val::Num(Num::Const(x))) if x.as_int().is_some_and(|n| n >= 0) => {
                let n = x.as_int().unwrap_or(0);
                let bound = self.calls.is_empty() && self.extents.contains_key(&name.node);
                Some(if bound { self.extent(&name.node) } else { self.axis_extent(&AxisExtent::Literal(n)) })
            }
            Some(val) => {
                let what = self.describe(&val);
                let message = format!("`{}` is no extent", name.node);
                let error = Diagnostic::error(Code::E0103, name.span, message, format!("this is {what}"));
                self.say(error.with_help("extents are the names between the brackets of tensor types"))
            }
            None => self.unknown(&name.node, span, "extent"),
        }
    }

    /// The order that an expression means, built for walking an extent.
    pub(crate) fn order_here(&mut self, e: &Expr, extent: ExtentId) -> Option<OrderId> {
        self.order_itself = matches!(e.kind, ExprKind::Call { .. });
        let val = self.expr(e).known()?;
        let Val::Order(item, args) = val else {
            let what = self.describe(&val);
            let error = Diagnostic::error(Code::E0103, e.span, "an order is needed here", format!("this is {what}"));
            return self.say(error.with_help("`via` takes an order with its arguments: `via windows(F, Y, X)`"));
        };
        let order = self.build_order(item, &args, extent, e.span)?;
        Some(self.add_order(order))
    }

    /// Builds an order; only one without a length of its own needs to know what it walks.
    fn build_order(
        &mut self,
        item: &'p OrderItem,
        args: &BTreeMap<String, i64>,
        extent: ExtentId,
        span: Span,
    ) -> Option<Order> {
        let size = if item.length.is_none() { self.known_extent(extent, span)? } else { 0 };
        if self.walking.contains(&item.name.span) {
            let message = format!("`{}` is walked by itself", item.name.node);
            let error = Diagnostic::error(Code::E0307, span, message, "this has no end");
            return self.say(error.with_label(item.name.span, "defined here"));
        }
        super::order(self.program, item, args, size, &self.walking, self.diags)
    }

    /// The number of positions of an order that has a length of its own.
    pub(crate) fn positions(&mut self, item: &'p OrderItem, args: &BTreeMap<String, i64>, span: Span) -> Option<i64> {
        let order = signature::order(self.program, item, self.diags)?;
        let args = orders::complete(&order, args.clone(), span, self.diags)?;
        if let Some(len) = orders::length(self.program, item, &args, self.diags)? {
            return Some(len);
        }
        let message = format!("`{}` has no length of its own", item.name.node);
        let error = Diagnostic::error(Code::E0501, span, message, "not walking anything here");
        self.say(error.with_label(item.name.span, "defined without `in LENGTH` here"))
    }

    /// The row of an order; equal ones share it.
    pub(crate) fn add_order(&mut self, order: Order) -> OrderId {
        let orders = &mut self.b.func.orders;
        let at = orders.iter().position(|o| *o == order).unwrap_or_else(|| {
            orders.push(order);
            orders.len() - 1
        });
        OrderId(at as u32)
    }

    /// An order called with its arguments: `windows(F, Y, X)`.
    pub(crate) fn order_call(&mut self, item: &'p OrderItem, args: &[Arg], span: Span) -> Option<Val<'p>> {
        let mut bound = BTreeMap::new();
        let mut positional = item.params.iter();
        let mut fine = true;
        for arg in args {
            let (param, e) = match arg {
                Arg::Value(e) => (positional.next(), e),
                Arg::Named(name, e) => (item.params.iter().find(|p| p.name.node == name.node), e),
                Arg::Over(_, at) | Arg::As(_, at) => return self.order_arity(item, *at),
                Arg::At(e) | Arg::Via(_, e) => return self.order_arity(item, e.span),
            };
            let Some(param) = param else { return self.order_arity(item, e.span) };
            match self.order_arg(e) {
                Some(n) => drop(bound.insert(param.name.node.clone(), n)),
                None => fine = false,
            }
        }
        for param in item.params.iter().filter(|p| p.default.is_none()) {
            if fine && !bound.contains_key(&param.name.node) {
                let message = format!("`{}` needs `{}`", item.name.node, param.name.node);
                let error = Diagnostic::error(Code::E0305, span, message, "an argument is missing");
                return self.say(error.with_label(param.name.span, "declared here"));
            }
        }
        fine.then_some(Val::Order(item, bound))
    }

    fn order_arg(&mut self, e: &Expr) -> Option<i64> {
        let num = self.constant_number(e)?;
        let bound = num.constant().and_then(|x| x.as_int().or(x.as_bool().map(i64::from)));
        if bound.is_some() {
            return bound;
        }
        let found = self.show_num(&num);
        self.error(Code::E0501, e.span, "an order's arguments are compile-time ints and bools", found)
    }

    fn order_arity<T>(&mut self, item: &OrderItem, span: Span) -> Option<T> {
        let names: Vec<&str> = item.params.iter().map(|p| p.name.node.as_str()).collect();
        let message = format!("`{}` takes {} arguments: ({})", item.name.node, names.len(), names.join(", "));
        let error = Diagnostic::error(Code::E0305, span, message, "one too many");
        self.say(error.with_label(item.name.span, "defined here"))
    }

    /// A dim's own lane as a form.
    pub(crate) fn position_form(&self, dim: DimId) -> Option<Form> {
        let lane = Form::atom(Atom::Lane(dim));
        let base = self.block_form(dim)?.times(self.b.func.dim(dim).size)?;
        Form::binary(pantile_ir::BinaryOp::Add, &base, &lane)
    }

    /// The length of an extent's walk as a number, for orders and known extents.
    pub(crate) fn walk_length(&mut self, extent: ExtentId, span: Span) -> Option<Num> {
        match self.b.func.extents[extent.index()].order {
            Some(o) => Some(Num::Const(Const::Int(self.b.func.orders[o.index()].len))),
            None => self.extent_size(extent, span),
        }
    }
}
