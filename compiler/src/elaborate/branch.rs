//! `if`: branches become regions of IR whose values are made to agree. A condition known at compile time leaves one branch.
//! What branches assign is `carried.rs`'s business.

use pantile_diag::{Code, Diagnostic, Span};
use pantile_ir::{DType, Region, Value};
use pantile_syntax::ast::{Block, Expr};

use super::carried::Carried;
use super::race::pinned_by;
use super::sema::Sema;
use super::value::{Key, Num, Operand, Tile, Val};
use crate::check::constant::Const;

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
    pub(crate) fn condition(&mut self, e: &Expr, what: &str) -> Option<Num> {
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

    /// Appends what `f` emits to a region that has been closed.
    fn inside<T>(&mut self, region: &mut Region, f: impl FnOnce(&mut Self) -> T) -> T {
        self.b.open(&[]);
        let out = f(self);
        region.insts.extend(self.b.close(Vec::new()).insts);
        out
    }
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
