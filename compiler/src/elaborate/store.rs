//! Stores to tensors and masks. Whether instances can meet in one is `race.rs`'s business.

use pantile_diag::{Code, Diagnostic, Span};
use pantile_ir::{BinaryOp, DType, Index, Op, ParamId, ParamKind, StoreMode};
use pantile_syntax::ast::{BinOp, Expr, IndexExpr};

use super::index::Place;
use super::sema::Sema;
use super::value::{Operand, Tile, Val};

impl<'p> Sema<'p, '_> {
    /// `t[…] = e;`, `t[…] += e;`, `atomic t[…] += e;`
    pub(crate) fn store(
        &mut self,
        base: &Expr,
        index: &[IndexExpr],
        op: Option<BinOp>,
        atomic: bool,
        value: &Expr,
        span: Span,
    ) -> Option<()> {
        let val = self.expr(base);
        let Val::Param(param) = val else {
            self.look_at(index, value);
            let what = self.describe(&val);
            if matches!(val, Val::Error) {
                return None;
            }
            let error = Diagnostic::error(Code::E0402, base.span, format!("{what} cannot be stored to"), what);
            return self
                .say(error.with_help("stores go to outputs; a tile is changed as a whole: `x = where(…, …, x);`"));
        };
        self.stored.insert(param);
        let row = self.b.func.param(param);
        if !row.out {
            let error =
                Diagnostic::error(Code::E0402, base.span, format!("`{}` is an input", row.name), "cannot be stored to")
                    .with_label(row.span, "declared here");
            self.look_at(index, value);
            return self.say(error.with_help("declare it among the outputs: `-> (out: …)`"));
        }
        let is_mask = matches!(row.kind, ParamKind::Mask(_));
        let mode = self.mode(op, atomic, is_mask, span);
        let right = self.operand_of(value);
        let place = self.place(param, index, base.span.to(span));
        let (mode, right, place) = (mode?, right?, place?);
        self.distinct(param, &place, mode, index, span)?;
        if is_mask { self.put_rows(param, place, &right, span) } else { self.put(param, place, mode, &right, span) }
    }

    fn look_at(&mut self, index: &[IndexExpr], value: &Expr) {
        for i in index {
            if let IndexExpr::Expr(e) = i {
                self.expr(e);
            }
        }
        self.expr(value);
    }

    fn mode(&mut self, op: Option<BinOp>, atomic: bool, is_mask: bool, span: Span) -> Option<StoreMode> {
        match (op, atomic, is_mask) {
            (None, false, _) => Some(StoreMode::Set),
            (Some(BinOp::Add), false, false) => Some(StoreMode::Add),
            (Some(BinOp::Add), true, false) => Some(StoreMode::AtomicAdd),
            (Some(_), _, true) | (_, true, true) => {
                let error = Diagnostic::error(Code::E0402, span, "a mask's row is written whole", "not a plain `=`");
                self.say(error.with_help("compute the whole condition first: `keep[…, :] = a or b;`"))
            }
            (None, true, false) => {
                let error = Diagnostic::error(Code::E0402, span, "only `+=` can be atomic", "a plain store");
                self.say(error.with_help("write `atomic t[…] += e;`"))
            }
            (Some(_), _, false) => {
                let error = Diagnostic::error(Code::E0402, span, "only `=` and `+=` store", "another operator");
                self.say(error.with_help("`t[…] -= e` is `t[…] += -e`"))
            }
        }
    }

    fn put(&mut self, param: ParamId, place: Place, mode: StoreMode, right: &Operand, span: Span) -> Option<()> {
        let dtype = match &self.b.func.param(param).kind {
            ParamKind::Tensor(dtype, _) => *dtype,
            ParamKind::Scalar(..) | ParamKind::Mask(_) => return None,
        };
        let name = self.b.func.param(param).name.clone();
        let t = self.convert(right, dtype, &format!("`{name}`"))?;
        self.only_dims(&place, right, &t, &name)?;
        let masked = self.both(place.valid, t.valid, span)?;
        let mut args = place.args;
        args.push(t.value);
        args.extend(masked);
        self.emit_effect(Op::Store { param, index: place.index, mode, masked: masked.is_some() }, &args, span)
    }

    fn put_rows(&mut self, param: ParamId, place: Place, right: &Operand, span: Span) -> Option<()> {
        let name = self.b.func.param(param).name.clone();
        let t = self.convert(right, DType::Bool, &format!("`{name}`"))?;
        self.only_dims(&place, right, &t, &name)?;
        let whole = match place.index.last() {
            Some(Index::Dim(d)) => self.b.func.dim(*d).whole,
            Some(Index::Value) | None => false,
        };
        let scalar = place.args.iter().all(|v| self.ty(*v).dims().is_empty());
        if !whole || !scalar {
            let axis = self.b.func.axes(param).last().map(|a| self.show_axis(*a)).unwrap_or_default();
            let message = format!("a row of `{name}` is written whole");
            let error = Diagnostic::error(Code::E0402, span, message, "not whole rows");
            let help = if axis.contains(" by ") {
                format!("give the axis `{axis}` a name of its own, `NK`, and index it with `:`")
            } else {
                "index the last axis with `:` and the others with blocks or scalars".to_owned()
            };
            return self.say(error.with_help(help));
        }
        let cond = match t.valid {
            Some(v) => self.emit(Op::Binary(BinaryOp::And), &[t.value, v], span)?,
            None => t.value,
        };
        let mut args = place.args;
        args.push(cond);
        self.emit_effect(Op::MaskPut(param, place.index), &args, span)
    }

    /// E0201: a stored value with a dim that the index lacks.
    fn only_dims(&mut self, place: &Place, right: &Operand, t: &Tile, name: &str) -> Option<()> {
        let dims = self.ty(t.value).dims().to_vec();
        let Some(extra) = dims.iter().copied().find(|d| !place.dims.contains(d)) else { return Some(()) };
        let (found, d) = (self.show_num(&right.num), self.dim_name(extra).to_owned());
        let has = self.show_dims(&place.dims);
        let message = format!("this is {found}, but the elements of `{name}` stored to are {has}");
        let error = Diagnostic::error(Code::E0201, right.span, message, format!("has dimension `{d}`"));
        let error = self.label_dim(error, extra);
        self.say(error.with_help(format!("reduce it, `sum(…, over {d})`, or index `{name}` with `{d}`")))
    }
}
