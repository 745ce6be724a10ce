//! Builtins that choose, repeat, rearrange and make tiles.

use pantile_diag::{Code, Diagnostic, Span};
use pantile_ir::{BinaryOp, DType, DimId, ExtentId, Op};
use pantile_syntax::ast::{Arg, Ident};

use super::arith::contains;
use super::builtin::{Args, Builtin};
use super::sema::Sema;
use super::value::{Lanes, Num, Operand, Tile, Val, Var};
use crate::check::constant::Const;

impl<'p> Sema<'p, '_> {
    /// `outer(a, b)`.
    pub(crate) fn outer(&mut self, f: Builtin, mut a: Args<'_, 'p>) -> Option<Val<'p>> {
        let [x, y] = self.exactly(f, &mut a)?;
        if let (Num::Const(_), Num::Const(_)) = (&x.num, &y.num) {
            return self.binary(BinaryOp::Mul, &x, &y, a.span).map(Val::Num);
        }
        let (tx, ty) = self.unify(&x, &y)?;
        if !BinaryOp::Mul.class().admits(self.ty(tx.value).dtype()) {
            return self.not_defined("outer", BinaryOp::Mul.class(), &x);
        }
        self.pointwise(BinaryOp::Mul, &tx, &ty, a.span).map(Val::from)
    }

    /// `fill(v, over dims)`.
    pub(crate) fn fill(&mut self, f: Builtin, mut a: Args<'_, 'p>) -> Option<Val<'p>> {
        let [x] = self.exactly(f, &mut a)?;
        let Some((dims, _)) = &a.over else { return self.misused(f, a.span, "`over` is missing") };
        // One key for the call, whatever the literal's own place is.
        let at = if x.num.constant().is_some() { a.span } else { x.span };
        let t = self.tile(&x.num, at)?;
        let dims = dims.clone();
        self.broadcast(&Tile { lanes: None, ..t }, &dims, a.span).map(Val::from)
    }

    /// `where(c, a, b)`.
    pub(crate) fn choose(&mut self, f: Builtin, mut a: Args<'_, 'p>) -> Option<Val<'p>> {
        let [c, x, y] = self.exactly(f, &mut a)?;
        let span = a.span;
        if self.dtype_of(&c.num) != Some(DType::Bool) {
            let found = self.show_num(&c.num);
            let message = format!("`where` chooses by a bool, not {found}");
            let error = Diagnostic::error(Code::E0301, c.span, message, found);
            return self.say(error.with_help("compare it: `… != 0`"));
        }
        let untyped = |n: &Num| matches!(n, Num::Const(k) if k.dtype().is_none());
        let literal = untyped(&x.num) && untyped(&y.num);
        let (tx, ty) = if literal { self.two_literals(&x, &y, span)? } else { self.unify(&x, &y)? };
        let t = self.tile(&c.num, c.span)?;
        let (dc, dx, dy) =
            (self.ty(t.value).dims().to_vec(), self.ty(tx.value).dims().to_vec(), self.ty(ty.value).dims().to_vec());
        let float = self.ty(tx.value).dtype().is_float();
        let meant = contains(&dx, &dy) || contains(&dy, &dx) || contains(&dc, &[dx.clone(), dy.clone()].concat());
        if float && !meant {
            let (sx, sy) = (self.show_num(&x.num), self.show_num(&y.num));
            let message = "neither choice has all dimensions of the other, so this would be an outer product";
            let error = Diagnostic::error(Code::E0201, span, message, "dimensions do not match");
            let error = error.with_label(x.span, sx).with_label(y.span, sy);
            return self.say(error.with_help("if it is meant, repeat one of them first: `fill(…, over …)`"));
        }
        let value = self.emit(Op::Select, &[t.value, tx.value, ty.value], span)?;
        let valid = self.chosen_valid(&t, &tx, &ty, span)?;
        let soft = if literal { Some(self.key(span)) } else { tx.soft.clone().and(ty.soft.clone()) };
        Some(Tile { value, valid, soft, form: None, lanes: None }.into())
    }

    fn two_literals(&mut self, x: &Operand, y: &Operand, span: Span) -> Option<(Tile, Tile)> {
        let real = |n: &Num| matches!(n, Num::Const(Const::Float(_)));
        let sample = if real(&x.num) || real(&y.num) { Const::Float(0.0) } else { Const::Int(0) };
        let dtype = self.soft_dtype(&self.key(span), sample);
        let (a, b) = (self.convert(x, dtype, "the other choice"), self.convert(y, dtype, "the other choice"));
        Some((a?, b?))
    }

    /// A choice is valid where the condition and the chosen one are.
    fn chosen_valid(&mut self, c: &Tile, x: &Tile, y: &Tile, span: Span) -> Option<Option<pantile_ir::Value>> {
        let chosen = match (x.valid, y.valid) {
            (None, None) => None,
            (a, b) => {
                let mut holds = |v: Option<pantile_ir::Value>| match v {
                    Some(v) => Some(v),
                    None => self.emit(Op::Const(DType::Bool, pantile_ir::Scalar::Bool(true)), &[], span),
                };
                let (a, b) = (holds(a)?, holds(b)?);
                Some(self.emit(Op::Select, &[c.value, a, b], span)?)
            }
        };
        self.both(c.valid, chosen, span)
    }

    /// `gather(x, at idx, over d)`: positions, as `argmax` gives them.
    pub(crate) fn gather(&mut self, f: Builtin, mut a: Args<'_, 'p>) -> Option<Val<'p>> {
        let Some(at) = a.at.take() else { return self.misused(f, a.span, "`at` is missing") };
        let (x, dim) = self.one_along(f, "gather", &mut a)?;
        let span = a.span;
        let t = self.tile(&x.num, x.span)?;
        let idx = self.index_value(&at, "a position")?;
        let d = self.b.func.dim(dim);
        let holes = d.order.is_some_and(|o| self.b.func.orders[o.index()].holes);
        if holes {
            let name = d.name.clone();
            let message = format!("`{name}` walks an order with gaps, so its positions are not consecutive");
            let error = Diagnostic::error(Code::E0302, span, message, "cannot be gathered from");
            return self.say(error.with_help("gather from the tensor instead: `x[…, idx, …]`"));
        }
        let first = self.first_position(dim, span)?;
        let lane = if self.b.func.dim(dim).whole {
            idx.value
        } else {
            self.emit(Op::Binary(BinaryOp::Sub), &[idx.value, first], span)?
        };
        let value = self.emit(Op::Gather(dim), &[t.value, lane], span)?;
        let zero = self.int(0, span);
        let len = self.emit(Op::BlockLen(dim), &[], span)?;
        let low = self.emit(Op::Binary(BinaryOp::Ge), &[lane, zero], span)?;
        let high = self.emit(Op::Binary(BinaryOp::Lt), &[lane, len], span)?;
        let there = self.emit(Op::Binary(BinaryOp::And), &[low, high], span)?;
        let mut valid = self.both(idx.valid, Some(there), span)?;
        if let Some(v) = t.valid {
            let v = self.broadcast(&v.into(), &[dim], span)?;
            let v = self.emit(Op::Gather(dim), &[v.value, lane], span)?;
            valid = self.both(valid, Some(v), span)?;
        }
        Some(Tile { valid, ..Tile::from(value) }.into())
    }

    /// `split(x, over d, as (a by 4, b by 8))`.
    pub(crate) fn split(&mut self, f: Builtin, mut a: Args<'_, 'p>) -> Option<Val<'p>> {
        let Some((new, at)) = a.new else { return self.misused(f, a.span, "`as` is missing") };
        let (x, from) = self.one_along(f, "split", &mut a)?;
        let mut into = Vec::new();
        for (name, size) in new {
            let Some(size) = size else { return self.misused(f, name.span, "its size is missing: `by …`") };
            let size = self.const_int(size, "a dimension's size")?;
            into.push((name, size));
        }
        let t = self.tile(&x.num, x.span)?;
        self.must_be_full(from, a.span, "split")?;
        let (have, want) = (self.b.func.dim(from).size, into.iter().try_fold(1i64, |p, (_, s)| p.checked_mul(*s)));
        if want != Some(have) {
            let name = self.dim_name(from).to_owned();
            let sizes: Vec<String> = into.iter().map(|(_, s)| s.to_string()).collect();
            let message = format!("`{name}` has {have} lanes, but {} is not {have}", sizes.join(" · "));
            return self.error(Code::E0502, at, message, "sizes do not multiply to it");
        }
        let mut dims = Vec::new();
        for (name, size) in into {
            dims.push(self.named_lanes(name, size)?);
        }
        let value = self.emit(Op::Split { from, into: dims.clone() }, &[t.value], a.span)?;
        let valid = match t.valid {
            None => None,
            Some(v) => {
                let v = self.broadcast(&v.into(), &[from], a.span)?;
                Some(self.emit(Op::Split { from, into: dims }, &[v.value], a.span)?)
            }
        };
        Some(Tile { valid, soft: t.soft, ..Tile::from(value) }.into())
    }

    /// The dims of `over` as written: the first is the slowest of a merged one.
    pub(crate) fn dim_order(&mut self, args: &[Arg]) -> Vec<DimId> {
        let names = args.iter().find_map(|a| match a {
            Arg::Over(names, _) => Some(names),
            Arg::Value(_) | Arg::At(_) | Arg::As(..) | Arg::Via(..) | Arg::Named(..) => None,
        });
        names.into_iter().flatten().filter_map(|n| self.over(std::slice::from_ref(n))).flatten().collect()
    }

    /// The whole dim of the extent of that name, if it has that size: what was split off it merges back into it.
    fn whole_of(&mut self, name: &Ident, size: i64) -> Option<DimId> {
        let extent = self.b.func.extents.iter().position(|e| e.name == name.node && e.order.is_none())?;
        let dim = self.whole.get(&ExtentId(extent as u32)).copied()?;
        (self.b.func.dim(dim).size == size).then_some(dim)
    }

    /// `merge(x, over (a, b), as d)`. Named like an extent whose whole axis is in use, `d` is that dimension again.
    pub(crate) fn merge_dims(&mut self, f: Builtin, mut a: Args<'_, 'p>, from: Vec<DimId>) -> Option<Val<'p>> {
        let Some((new, _)) = a.new else { return self.misused(f, a.span, "`as` is missing") };
        let [(name, None)] = new else { return self.misused(f, a.span, "makes one dimension, without a size") };
        let [x] = self.exactly(f, &mut a)?;
        self.needed_dims(f, "merge", &x, &a)?;
        let t = self.tile(&x.num, x.span)?;
        for d in &from {
            self.must_be_full(*d, a.span, "merged")?;
        }
        let size = from.iter().try_fold(1i64, |p, d| p.checked_mul(self.b.func.dim(*d).size)).unwrap_or(i64::MAX);
        let into = match self.whole_of(name, size).filter(|d| !self.ty(t.value).dims().contains(d)) {
            Some(whole) => whole,
            None => self.named_lanes(name, size)?,
        };
        let value = self.emit(Op::Merge { from: from.clone(), into }, &[t.value], a.span)?;
        let valid = match t.valid {
            None => None,
            Some(v) => {
                let v = self.broadcast(&v.into(), &from, a.span)?;
                Some(self.emit(Op::Merge { from, into }, &[v.value], a.span)?)
            }
        };
        Some(Tile { valid, soft: t.soft, ..Tile::from(value) }.into())
    }

    fn must_be_full(&mut self, d: DimId, span: Span, what: &str) -> Option<()> {
        if self.b.func.is_full(d) {
            return Some(());
        }
        let (name, block) = (self.dim_name(d).to_owned(), self.describe_block(d));
        let message = format!("`{name}` is {block}, whose last block may be partial, so it cannot be {what}");
        let error = Diagnostic::error(Code::E0202, span, message, "not always full");
        let error = self.label_dim(error, d);
        self.say(error.with_help("whole axes (`:`) and `iota` dimensions are always full"))
    }

    /// A dim that `split` or `merge` names. The same name and size in the same code is the same dim.
    fn named_lanes(&mut self, name: &Ident, size: i64) -> Option<DimId> {
        if let Some((_, var)) = self.find(&name.node) {
            let span = var.span;
            let lanes = if let Val::Block(d) = var.val { Some(d) } else { None };
            let lanes = lanes.filter(|d| self.b.func.dim(*d).over.is_none());
            match lanes {
                Some(d) if self.b.func.dim(d).size == size => return Some(d),
                Some(d) => {
                    let have = self.b.func.dim(d).size;
                    let message = format!("`{}` has {have} lanes already, not {size}", name.node);
                    let error = Diagnostic::error(Code::E0202, name.span, message, "another size");
                    return self.say(error.with_label(span, "first here").with_help("give it another name"));
                }
                None => {}
            }
        }
        let d = self.lane_dim(&name.node, size, name.span)?;
        self.declare(&name.node, Var::fixed(Val::Block(d), name.span, "a dimension"));
        Some(d)
    }

    /// `iota(n)`: its dim has the name of the `let`.
    pub(crate) fn iota(&mut self, args: &[Arg], naming: Option<(String, Span)>, span: Span) -> Option<Val<'p>> {
        let [Arg::Value(n)] = args else {
            self.look_at_args(args);
            return self.misused(Builtin::Iota, span, "takes one size");
        };
        let size = self.const_int(n, "the size of `iota`")?;
        let (name, at) = naming.unwrap_or_else(|| ("iota".to_owned(), span));
        let d = self.lane_dim(&name, size, at)?;
        let value = self.emit(Op::Pos(d), &[], span)?;
        Some(Tile { lanes: Some(Lanes::Pos(d)), ..Self::formed(value, self.position_form(d)) }.into())
    }
}
