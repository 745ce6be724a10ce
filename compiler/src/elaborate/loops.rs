//! `for`: bodies and `where` become regions of IR, with what they carry from round to round. Blocks that a mask or positions
//! rule out stay a guard here; turning guards into bounds and lists is a pass's business.

use pantile_diag::{Code, Diagnostic, Span};
use pantile_ir::{DType, Dim, DimId, Loop, Over, Region, Type, Value};
use pantile_syntax::ast::{Block, Expr, ForOver, Ident};

use super::carried::{Carried, names_in};
use super::form::{Atom, Form};
use super::sema::Sema;
use super::value::{Key, Num, Operand, Tile, Val, Var};

/// What a loop runs over, resolved.
struct Runs {
    over: Over,
    range: Option<(Value, Value)>,
    /// The loop's own dim.
    dim: Option<DimId>,
}

impl<'p> Sema<'p, '_> {
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
                Some(Runs { over: Over::Range, range: Some((x?, y?)), dim: None })
            }
            ForOver::Walk(walk) => {
                let w = self.walk(walk)?;
                self.loops.push(None);
                if let Some(size) = w.by {
                    let dim = Dim {
                        name: name.node.clone(),
                        size,
                        over: Some(w.extent),
                        order: w.order,
                        whole: false,
                        full: false,
                    };
                    let id = self.add_dim(dim, name.span);
                    self.loop_dims.insert(id, number);
                    return Some(Runs { over: Over::Walk(id), range: None, dim: Some(id) });
                }
                let lo = self.int(0, walk.span);
                let length = self.walk_length(w.extent, walk.span)?;
                let hi = self.bound(&Operand { num: length, span: walk.span })?;
                Some(Runs { over: Over::Range, range: Some((lo, hi)), dim: None })
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

/// What a loop's name stands for.
fn loop_val<'p>(runs: &Runs, n: &[Value], number: usize) -> Val<'p> {
    match (n.first(), runs.dim) {
        (Some(n), _) => Sema::formed(*n, Some(Form::atom(Atom::Loop(number)))).into(),
        (None, Some(d)) => Val::Block(d),
        (None, None) => Val::Error,
    }
}
