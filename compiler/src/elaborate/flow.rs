//! `if` and `for`: regions of IR with what they carry. A condition known at compile time leaves one branch.
//!
//! Variables are values here: what a branch or a body assigns becomes a result of the instruction. Blocks that a mask or
//! positions rule out stay a guard; turning guards into bounds and lists is a pass's business.

use std::collections::BTreeSet;

use pantile_diag::{Code, Diagnostic, Span};
use pantile_ir::{DType, Dim, DimId, Loop, Op, Over, Region, Scalar, Type, Value};
use pantile_syntax::ast::{Arg, Block, Expr, ExprKind, ForOver, Ident, IndexExpr, Stmt, StmtKind};

use super::form::{Atom, Form};
use super::race::pinned_by;
use super::sema::Sema;
use super::value::{Key, Num, Operand, Tile, Val, Var};
use crate::check::constant::Const;

/// A variable that a branch or a body assigns.
struct Carried {
    depth: usize,
    name: String,
}

/// What a loop runs over, resolved.
struct Runs {
    over: Over,
    range: Option<(Value, Value)>,
    val: Val<'static>,
    /// The loop's own dim.
    dim: Option<DimId>,
}

impl<'p> Sema<'p, '_> {
    /// `if c { … } else { … }`, as an expression or a statement.
    pub(crate) fn if_expr(
        &mut self,
        cond: &Expr,
        then: &Block,
        otherwise: Option<&Block>,
        span: Span,
    ) -> Option<Val<'p>> {
        let c = self.condition(cond, "the condition of an `if`");
        if let Some(Num::Const(x)) = &c
            && let Some(holds) = x.as_bool()
        {
            return match (holds, otherwise) {
                (true, _) => Some(self.block(then)),
                (false, Some(block)) => Some(self.block(block)),
                (false, None) => Some(Val::Unit),
            };
        }
        let blocks: Vec<&Block> = [then].into_iter().chain(otherwise).collect();
        let carried = self.carried(&blocks);
        self.materialise(&carried);
        let before = self.values(&carried);
        let pins = self.pinned.len();
        let pinned = pinned_by(self, cond);
        self.pinned.extend(pinned);
        let (mut first, a) = self.branch(Some(then), &carried);
        self.pinned.truncate(pins);
        self.restore(&carried, before);
        let (mut second, b) = self.branch(otherwise, &carried);
        let merged = self.merge(&mut first, a, &mut second, b, otherwise.is_some(), span);
        let (Some(Num::Tile(c)), Some((shape, va, vb))) = (c, merged) else {
            for it in &carried {
                self.set(it, Val::Error);
            }
            return None;
        };
        first.yields = va;
        second.yields = vb;
        self.b.span = span;
        let results = self.b.push_if(c.value, first, second);
        let mut results = results.into_iter();
        let mut vals: Vec<Val<'p>> = shape.into_iter().map(|s| s.take(&mut results)).collect();
        for (it, val) in carried.iter().zip(vals.drain(1..)) {
            self.set(it, val);
        }
        vals.pop()
    }

    /// A scalar bool.
    fn condition(&mut self, e: &Expr, what: &str) -> Option<Num> {
        let x = self.operand_of(e)?;
        let dims = self.dims(&x.num);
        if self.dtype_of(&x.num) == Some(DType::Bool) && dims.is_empty() {
            return Some(x.num);
        }
        let found = self.show_num(&x.num);
        let error = Diagnostic::error(Code::E0304, e.span, format!("{what} must be a scalar bool, not {found}"), found);
        let help = if dims.is_empty() {
            "compare it: `… != 0`".to_owned()
        } else {
            format!(
                "choose lane by lane with `where(c, a, b)`, or reduce it: `any(…, over {})`",
                self.dim_name(dims[0])
            )
        };
        self.say(error.with_help(help))
    }

    /// A branch as a region that yields nothing yet: its value, then those of what is carried.
    fn branch(&mut self, block: Option<&Block>, carried: &[Carried]) -> (Region, Vec<Val<'p>>) {
        self.b.open(&[]);
        self.conditional += 1;
        let value = block.map_or(Val::Unit, |block| self.block(block));
        self.conditional -= 1;
        let mut vals = vec![value];
        vals.extend(self.values(carried));
        (self.b.close(Vec::new()), vals)
    }

    /// Makes the values of two branches agree. What each becomes, and what each region yields.
    fn merge(
        &mut self,
        first: &mut Region,
        a: Vec<Val<'p>>,
        second: &mut Region,
        b: Vec<Val<'p>>,
        has_else: bool,
        span: Span,
    ) -> Option<(Vec<Shape>, Vec<Value>, Vec<Value>)> {
        let (mut shapes, mut ya, mut yb, mut fine) = (Vec::new(), Vec::new(), Vec::new(), true);
        for (x, y) in a.into_iter().zip(b) {
            match self.merge_one(first, x, second, y, has_else, span) {
                Some((shape, va, vb)) => {
                    shapes.push(shape);
                    ya.extend(va);
                    yb.extend(vb);
                }
                None => fine = false,
            }
        }
        fine.then_some((shapes, ya, yb))
    }

    fn merge_one(
        &mut self,
        first: &mut Region,
        x: Val<'p>,
        second: &mut Region,
        y: Val<'p>,
        has_else: bool,
        span: Span,
    ) -> Option<(Shape, Vec<Value>, Vec<Value>)> {
        match (x, y) {
            (Val::Error, _) | (_, Val::Error) => None,
            (Val::Unit, Val::Unit) => Some((Shape::Unit, Vec::new(), Vec::new())),
            (Val::Tuple(xs), Val::Tuple(ys)) if xs.len() == ys.len() => {
                let (shapes, a, b) = self.merge(first, xs, second, ys, has_else, span)?;
                Some((Shape::Tuple(shapes), a, b))
            }
            (Val::Unit, _) | (_, Val::Unit) if !has_else => {
                let error =
                    Diagnostic::error(Code::E0301, span, "this `if` gives a value only where it holds", "no `else`");
                self.say(error.with_help("add an `else`, or end the block with `;`"))
            }
            (x @ (Val::Num(_) | Val::Extent(_)), y @ (Val::Num(_) | Val::Extent(_))) => {
                let x = self.inside(first, |cx| cx.number(x, span))?;
                let y = self.inside(second, |cx| cx.number(y, span))?;
                self.merge_numbers(first, x, second, y, span)
            }
            (x, y) => {
                let (x, y) = (self.describe(&x), self.describe(&y));
                let message = format!("the branches give {x} and {y}, decided at run time");
                let error = Diagnostic::error(Code::E0301, span, message, "different values");
                self.say(error.with_help("both branches must give numbers, or neither anything"))
            }
        }
    }

    fn merge_numbers(
        &mut self,
        first: &mut Region,
        x: Num,
        second: &mut Region,
        y: Num,
        span: Span,
    ) -> Option<(Shape, Vec<Value>, Vec<Value>)> {
        let (x, y) = (Operand { num: x, span }, Operand { num: y, span });
        let dtype = self.merged_dtype(&x, &y, span)?;
        let what = "the other branch";
        let a = self.inside(first, |cx| cx.convert(&x, dtype, what));
        let b = self.inside(second, |cx| cx.convert(&y, dtype, what));
        let (a, b) = (a?, b?);
        let dims = [self.ty(a.value).dims(), self.ty(b.value).dims()].concat();
        let a = self.inside(first, |cx| cx.broadcast(&a, &dims, span))?;
        let b = self.inside(second, |cx| cx.broadcast(&b, &dims, span))?;
        let partial = a.valid.is_some() || b.valid.is_some();
        let (mut ya, mut yb) = (vec![a.value], vec![b.value]);
        if partial {
            ya.push(self.inside(first, |cx| cx.validity(&a, span))?);
            yb.push(self.inside(second, |cx| cx.validity(&b, span))?);
        }
        let untyped = |n: &Num| match n {
            Num::Const(c) => c.dtype().is_none(),
            Num::Tile(t) => t.soft.is_some(),
        };
        let soft = (untyped(&x.num) && untyped(&y.num)).then(|| self.key(span));
        Some((Shape::Tile { partial, soft }, ya, yb))
    }

    fn merged_dtype(&mut self, x: &Operand, y: &Operand, span: Span) -> Option<DType> {
        match (&x.num, &y.num) {
            (Num::Const(a), Num::Const(b)) => {
                let real = matches!(a, Const::Float(_)) || matches!(b, Const::Float(_));
                let key = self.key(span);
                let literal = if real { Const::Float(0.0) } else { Const::Int(0) };
                Some(a.dtype().or(b.dtype()).unwrap_or_else(|| self.soft_dtype(&key, literal)))
            }
            (Num::Tile(t), Num::Const(_)) | (Num::Const(_), Num::Tile(t)) => Some(self.ty(t.value).dtype()),
            (Num::Tile(s), Num::Tile(t)) => {
                let (a, b) = (self.ty(s.value).dtype(), self.ty(t.value).dtype());
                let (sx, sy) = (s.soft.clone(), t.soft.clone());
                if a != b && a != DType::Bool && b != DType::Bool {
                    if let (Some(key), None) = (&sx, &sy)
                        && self.learn(key, b)
                    {
                        return None;
                    }
                    if let (None, Some(key)) = (&sx, &sy)
                        && self.learn(key, a)
                    {
                        return None;
                    }
                }
                Some(if super::convert::widens(a, b, true) { b } else { a })
            }
        }
    }

    /// Validity over all dims of a tile.
    fn validity(&mut self, t: &Tile, span: Span) -> Option<Value> {
        let dims = self.ty(t.value).dims().to_vec();
        let valid = match t.valid {
            Some(v) => v,
            None => self.emit(Op::Const(DType::Bool, Scalar::Bool(true)), &[], span)?,
        };
        self.broadcast(&valid.into(), &dims, span).map(|t| t.value)
    }

    /// Appends what `f` emits to a region that has been closed.
    fn inside<T>(&mut self, region: &mut Region, f: impl FnOnce(&mut Self) -> T) -> T {
        self.b.open(&[]);
        let out = f(self);
        region.insts.extend(self.b.close(Vec::new()).insts);
        out
    }

    /// A `for` loop.
    pub(crate) fn for_loop(
        &mut self,
        name: &Ident,
        over: &ForOver,
        skip: Option<&Expr>,
        body: &Block,
        span: Span,
    ) -> Option<()> {
        let number = self.loops.len();
        let runs = self.runs(name, over, number);
        let carried = self.carried(&[body]);
        self.materialise(&carried);
        let Some(runs) = runs else {
            self.poisoned_body(name, skip, body, &carried);
            return None;
        };
        let key = self.key(span);
        let slots = self.slots(&carried, &key, span);
        let mut args: Vec<Value> = runs.range.into_iter().flat_map(|(lo, hi)| [lo, hi]).collect();
        args.extend(slots.iter().flatten().flat_map(|s| s.init.iter().copied()));
        let range: &[Type] = if runs.range.is_some() { &[Type::Scalar(DType::I64)] } else { &[] };
        let mut regions = Vec::new();
        let guard = skip.map(|e| self.guard(name, &runs, e, &carried, range, number));
        let guarded = guard.is_some();
        let types: Vec<Type> =
            slots.iter().flatten().flat_map(|s| s.init.iter().map(|v| self.ty(*v).clone())).collect();
        let params = self.b.open(&[range, &types].concat());
        let (n, params) = params.split_at(range.len());
        self.enter(&carried, &slots, params);
        let val = loop_val(&runs, n, number);
        self.scoped(|cx| {
            cx.declare(&name.node, Var::fixed(val, name.span, "a loop's block"));
            cx.conditional += 1;
            cx.loop_body(body);
            cx.conditional -= 1;
        });
        let yields = self.leave(&carried, &slots, params, &key, span);
        regions.extend(guard.flatten());
        if guarded && regions.is_empty() {
            self.b.close(Vec::new());
            for it in &carried {
                self.set(it, Val::Error);
            }
            return None;
        }
        regions.push(self.b.close(yields));
        self.b.span = span;
        let it = Loop { over: runs.over, bounds: false, list: None, guard: guarded };
        let results = self.b.push_for(it, &args, regions);
        self.enter(&carried, &slots, &results);
        Some(())
    }

    fn loop_body(&mut self, body: &Block) {
        for stmt in &body.stmts {
            self.stmt(stmt);
        }
        if let Some(tail) = &body.tail {
            self.effect(tail);
        }
    }

    /// Looks at a loop whose head is wrong for the sake of its errors.
    fn poisoned_body(&mut self, name: &Ident, skip: Option<&Expr>, body: &Block, carried: &[Carried]) {
        self.b.open(&[]);
        self.scoped(|cx| {
            cx.declare(&name.node, Var::fixed(Val::Error, name.span, "a loop's block"));
            if let Some(e) = skip {
                cx.expr(e);
            }
            cx.loop_body(body);
        });
        self.b.close(Vec::new());
        for it in carried {
            self.set(it, Val::Error);
        }
    }

    /// What a loop runs over.
    fn runs(&mut self, name: &Ident, over: &ForOver, number: usize) -> Option<Runs> {
        match over {
            ForOver::Range(lo, hi) => {
                let (a, b) = (self.operand_of(lo), self.operand_of(hi));
                let (a, b) = (a?, b?);
                let steps = match (&a.num, &b.num) {
                    (Num::Const(x), Num::Const(y)) => x.as_int().zip(y.as_int()).and_then(|(x, y)| y.checked_sub(x)),
                    (Num::Const(_) | Num::Tile(_), _) => None,
                };
                self.loops.push(steps);
                let (x, y) = (self.bound(&a), self.bound(&b));
                Some(Runs { over: Over::Range, range: Some((x?, y?)), val: Val::Unit, dim: None })
            }
            ForOver::Walk(walk) => {
                let w = self.walk(walk)?;
                self.loops.push(None);
                if let Some(size) = w.by {
                    let dim = Dim { name: name.node.clone(), size, over: Some(w.extent), order: w.order, whole: false };
                    let id = self.add_dim(dim, name.span);
                    self.loop_dims.insert(id, number);
                    return Some(Runs { over: Over::Walk(id), range: None, val: Val::Block(id), dim: Some(id) });
                }
                let lo = self.int(0, walk.span);
                let length = self.walk_length(w.extent, walk.span)?;
                let hi = self.bound(&Operand { num: length, span: walk.span })?;
                Some(Runs { over: Over::Range, range: Some((lo, hi)), val: Val::Unit, dim: None })
            }
        }
    }

    fn bound(&mut self, x: &Operand) -> Option<Value> {
        let dims = self.dims(&x.num);
        if let Some(d) = dims.first() {
            let (found, d) = (self.show_num(&x.num), self.dim_name(*d).to_owned());
            let error =
                Diagnostic::error(Code::E0301, x.span, format!("a loop's bound is a scalar, not {found}"), found);
            return self.say(error.with_help(format!("reduce it: `max(…, over {d})`")));
        }
        self.index_value(x, "a loop's bound").map(|t| t.value)
    }

    /// `where P` as a region. `None` inside after an error.
    fn guard(
        &mut self,
        name: &Ident,
        runs: &Runs,
        e: &Expr,
        carried: &[Carried],
        range: &[Type],
        number: usize,
    ) -> Option<Region> {
        let mut reads = Vec::new();
        names_in(e, &mut reads);
        let changed = carried.iter().find(|c| reads.contains(&c.name.as_str())).map(|c| c.name.clone());
        if let Some(changed) = changed {
            let message = format!("`where` cannot depend on `{changed}`, which the loop changes");
            let error = Diagnostic::error(Code::E0304, e.span, message, "decided before the loop runs");
            return self.say(error.with_help("put an `if` into the loop"));
        }
        let n = self.b.open(range);
        let val = loop_val(runs, &n, number);
        let cond = self.scoped(|cx| {
            cx.declare(&name.node, Var::fixed(val, name.span, "a loop's block"));
            let num = cx.condition(e, "what stands after `where`")?;
            cx.tile(&num, e.span)
        });
        let region = self.b.close(cond.iter().map(|c| c.value).collect());
        cond.map(|_| region)
    }

    /// The variables in scope that blocks assign.
    fn carried(&self, blocks: &[&Block]) -> Vec<Carried> {
        let mut names = BTreeSet::new();
        blocks.iter().for_each(|b| assigned_in(b, &mut names));
        let found = |name: &&str| {
            let (depth, var) = self.find(name)?;
            let number = matches!(var.val, Val::Num(_) | Val::Extent(_) | Val::Error);
            (var.mutable && number).then(|| Carried { depth, name: (*name).to_owned() })
        };
        names.iter().filter_map(found).collect()
    }

    fn var(&self, it: &Carried) -> Option<&Var<'p>> {
        self.scopes.get(it.depth)?.get(&it.name)
    }

    fn set(&mut self, it: &Carried, val: Val<'p>) {
        if let Some(var) = self.scopes.get_mut(it.depth).and_then(|s| s.get_mut(&it.name)) {
            var.val = val;
        }
    }

    fn values(&self, carried: &[Carried]) -> Vec<Val<'p>> {
        carried.iter().map(|it| self.var(it).map_or(Val::Error, |v| v.val.clone())).collect()
    }

    fn restore(&mut self, carried: &[Carried], vals: Vec<Val<'p>>) {
        for (it, val) in carried.iter().zip(vals) {
            self.set(it, val);
        }
    }

    /// Constants among the variables become run-time values.
    fn materialise(&mut self, carried: &[Carried]) {
        for it in carried {
            let Some(var) = self.var(it) else { continue };
            let (val, span) = (var.val.clone(), var.span);
            let tile = self.number(val, span).and_then(|num| self.tile(&num, span));
            self.set(it, tile.map_or(Val::Error, |t| Tile { form: None, lanes: None, ..t }.into()));
        }
    }

    /// What each variable needs to be carried: its value, and its validity if it has one.
    fn slots(&mut self, carried: &[Carried], key: &Key, span: Span) -> Vec<Option<Slot>> {
        let mut out = Vec::new();
        for it in carried {
            let Some(Val::Num(Num::Tile(t))) = self.var(it).map(|v| v.val.clone()) else {
                out.push(None);
                continue;
            };
            let partial = t.valid.is_some() || self.hints.partial.contains(&(key.clone(), it.name.clone()));
            let mut init = vec![t.value];
            if partial && let Some(v) = self.validity(&t, span) {
                init.push(v);
            }
            out.push(Some(Slot { init, soft: t.soft }));
        }
        out
    }

    /// Sets the variables to the values of a region's arguments or an instruction's results.
    fn enter(&mut self, carried: &[Carried], slots: &[Option<Slot>], values: &[Value]) {
        let mut values = values.iter().copied();
        for (it, slot) in carried.iter().zip(slots) {
            let val = slot.as_ref().and_then(|slot| {
                let value = values.next()?;
                let valid = if slot.init.len() > 1 { values.next() } else { None };
                Some(Tile { valid, soft: slot.soft.clone(), ..Tile::from(value) }.into())
            });
            self.set(it, val.unwrap_or(Val::Error));
        }
    }

    /// What a body yields for the next round. A variable that became partial in it is learned of.
    fn leave(
        &mut self,
        carried: &[Carried],
        slots: &[Option<Slot>],
        params: &[Value],
        key: &Key,
        span: Span,
    ) -> Vec<Value> {
        let (mut out, mut at) = (Vec::new(), 0);
        for (it, slot) in carried.iter().zip(slots) {
            let Some(slot) = slot else { continue };
            let held = &params[at..at + slot.init.len()];
            at += slot.init.len();
            let Some(Val::Num(Num::Tile(t))) = self.var(it).map(|v| v.val.clone()) else {
                out.extend(held);
                continue;
            };
            out.push(t.value);
            if slot.init.len() > 1 {
                out.push(self.validity(&t, span).unwrap_or(held[1]));
            } else if t.valid.is_some() {
                self.learned.partial.insert((key.clone(), it.name.clone()));
            }
        }
        out
    }
}

/// A carried variable's initial values.
struct Slot {
    init: Vec<Value>,
    soft: Option<Key>,
}

/// What the results of an `if` make.
enum Shape {
    Unit,
    Tile { partial: bool, soft: Option<Key> },
    Tuple(Vec<Shape>),
}

impl Shape {
    fn take<'p>(self, results: &mut impl Iterator<Item = Value>) -> Val<'p> {
        match self {
            Shape::Unit => Val::Unit,
            Shape::Tuple(parts) => Val::Tuple(parts.into_iter().map(|p| p.take(results)).collect()),
            Shape::Tile { partial, soft } => {
                let Some(value) = results.next() else { return Val::Error };
                let valid = if partial { results.next() } else { None };
                Tile { valid, soft, ..Tile::from(value) }.into()
            }
        }
    }
}

/// What a loop's name stands for.
fn loop_val<'p>(runs: &Runs, n: &[Value], number: usize) -> Val<'p> {
    match (n.first(), runs.dim) {
        (Some(n), _) => Sema::formed(*n, Some(Form::atom(Atom::Loop(number)))).into(),
        (None, Some(d)) => Val::Block(d),
        (None, None) => Val::Error,
    }
}

/// The names that a block assigns, also in nested blocks.
fn assigned_in<'b>(block: &'b Block, names: &mut BTreeSet<&'b str>) {
    for stmt in &block.stmts {
        assigned_in_stmt(stmt, names);
    }
    if let Some(tail) = &block.tail {
        visit(tail, &mut |e| blocks_of(e, names));
    }
}

fn assigned_in_stmt<'b>(stmt: &'b Stmt, names: &mut BTreeSet<&'b str>) {
    match &stmt.kind {
        StmtKind::Let { value, .. } => visit(value, &mut |e| blocks_of(e, names)),
        StmtKind::Assign { target, value, .. } => {
            if let ExprKind::Name(name) = &target.kind {
                names.insert(name);
            }
            visit(target, &mut |e| blocks_of(e, names));
            visit(value, &mut |e| blocks_of(e, names));
        }
        StmtKind::For { over, skip, body, .. } => {
            if let ForOver::Range(lo, hi) = over {
                visit(lo, &mut |e| blocks_of(e, names));
                visit(hi, &mut |e| blocks_of(e, names));
            }
            if let Some(e) = skip {
                visit(e, &mut |e| blocks_of(e, names));
            }
            assigned_in(body, names);
        }
        StmtKind::Expr(e) => visit(e, &mut |e| blocks_of(e, names)),
        StmtKind::Error => {}
    }
}

/// The blocks of one expression itself, not of its parts.
fn blocks_of<'b>(e: &'b Expr, names: &mut BTreeSet<&'b str>) {
    if let ExprKind::If { then, otherwise, .. } = &e.kind {
        assigned_in(then, names);
        if let Some(block) = otherwise {
            assigned_in(block, names);
        }
    }
    if let ExprKind::Block(block) = &e.kind {
        assigned_in(block, names);
    }
}

/// The names that an expression reads, outside nested blocks.
fn names_in<'b>(e: &'b Expr, names: &mut Vec<&'b str>) {
    visit(e, &mut |e| {
        if let ExprKind::Name(name) = &e.kind {
            names.push(name);
        }
    });
}

/// An expression and its parts; nested blocks are the visitor's business.
fn visit<'b>(e: &'b Expr, f: &mut dyn FnMut(&'b Expr)) {
    f(e);
    match &e.kind {
        ExprKind::Index { base, index } => {
            visit(base, f);
            for i in index {
                if let IndexExpr::Expr(e) = i {
                    visit(e, f);
                }
            }
        }
        ExprKind::Call { consts, args, .. } => {
            consts.iter().for_each(|(_, e)| visit(e, f));
            for arg in args {
                match arg {
                    Arg::Value(e) | Arg::At(e) | Arg::Via(_, e) | Arg::Named(_, e) => visit(e, f),
                    Arg::As(parts, _) => parts.iter().filter_map(|(_, e)| e.as_ref()).for_each(|e| visit(e, f)),
                    Arg::Over(..) => {}
                }
            }
        }
        ExprKind::Unary(_, x) | ExprKind::Cast(x, _) => visit(x, f),
        ExprKind::Binary(_, a, b) => {
            visit(a, f);
            visit(b, f);
        }
        ExprKind::If { cond, .. } => visit(cond, f),
        ExprKind::Tuple(parts) => parts.iter().for_each(|e| visit(e, f)),
        ExprKind::Int(_)
        | ExprKind::Float(_)
        | ExprKind::Bool(_)
        | ExprKind::Str(_)
        | ExprKind::Name(_)
        | ExprKind::All(_)
        | ExprKind::Size(_)
        | ExprKind::Block(_)
        | ExprKind::Error => {}
    }
}
