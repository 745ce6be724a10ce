//! Operators and element-wise functions on numbers: constants are folded, tiles meet by the names of their dims.

use pantile_diag::{Code, Diagnostic, Span};
use pantile_ir::{BinaryOp, DType, DimId, Op, Scalar, UnaryOp};
use pantile_syntax::ast::{BinOp, Expr, ExprKind, UnOp};

use super::form::Form;
use super::sema::Sema;
use super::value::{Num, Operand, Tile};
use crate::check::constant::{Const, ConstError};
use crate::check::host::binary_op;

impl<'p> Sema<'p, '_> {
    /// `op x`.
    pub(crate) fn unary_expr(&mut self, op: UnOp, x: &Expr, span: Span) -> Option<Num> {
        let x = self.operand_of(x)?;
        let op = match op {
            UnOp::Neg => UnaryOp::Neg,
            UnOp::Not => UnaryOp::Not,
        };
        self.unary(op, &x, span)
    }

    /// `a op b`.
    pub(crate) fn binary_expr(&mut self, op: BinOp, a: &Expr, b: &Expr, span: Span) -> Option<Num> {
        let left = self.operand_of(a);
        if let Some(Operand { num: Num::Const(x), .. }) = &left
            && let (BinOp::And, Some(false)) | (BinOp::Or, Some(true)) = (op, x.as_bool())
        {
            return left.map(|l| l.num);
        }
        let right = self.operand_of(b);
        let (left, right) = (left?, right?);
        self.logical(op, &left)?;
        self.logical(op, &right)?;
        self.written_zero(op, &left, b)?;
        self.binary(binary_op(op), &left, &right, span)
    }

    /// `and`, `or` take bools, where `&`, `|` take integers.
    fn logical(&mut self, op: BinOp, x: &Operand) -> Option<()> {
        let word = match op {
            BinOp::And => "and",
            BinOp::Or => "or",
            BinOp::Eq
            | BinOp::Ne
            | BinOp::Lt
            | BinOp::Le
            | BinOp::Gt
            | BinOp::Ge
            | BinOp::BitOr
            | BinOp::BitXor
            | BinOp::BitAnd
            | BinOp::Shl
            | BinOp::Shr
            | BinOp::Add
            | BinOp::Sub
            | BinOp::Mul
            | BinOp::Div
            | BinOp::Rem => return Some(()),
        };
        if self.dtype_of(&x.num) == Some(DType::Bool) {
            return Some(());
        }
        let found = self.show_num(&x.num);
        let error = Diagnostic::error(Code::E0302, x.span, format!("`{word}` takes bools, not {found}"), found);
        let bits = if word == "and" { "&" } else { "|" };
        let help = format!("compare it, `… != 0`; `{bits}` is for the bits of integers");
        self.say(error.with_help(help))
    }

    /// `op x` on a number.
    pub(crate) fn unary(&mut self, op: UnaryOp, x: &Operand, span: Span) -> Option<Num> {
        let t = match &x.num {
            Num::Const(c) => return self.folded(c.unary(op), span),
            Num::Tile(t) => t,
        };
        let dtype = self.ty(t.value).dtype();
        if !op.class().admits(dtype) {
            return self.not_defined(op.name(), op.class(), x);
        }
        let value = self.emit(Op::Unary(op), &[t.value], span)?;
        let form = t.form.as_ref().filter(|_| op == UnaryOp::Neg).and_then(|f| f.times(-1));
        Some(Num::Tile(Tile { value, valid: t.valid, soft: t.soft.clone(), form, lanes: None }))
    }

    /// `a op b` on numbers.
    pub(crate) fn binary(&mut self, op: BinaryOp, a: &Operand, b: &Operand, span: Span) -> Option<Num> {
        if let (Num::Const(x), Num::Const(y)) = (&a.num, &b.num) {
            let (x, y) = meet(*x, *y);
            let result = x.binary(op, y);
            // In code that may not run, dividing by zero is the launch's error, if it is one.
            let may_not_run = self.conditional > 0 && !self.constant;
            return match result {
                Err(ConstError::DivideByZero) if may_not_run => {
                    let (x, y) = self.unify(a, b)?;
                    self.pointwise(op, &x, &y, span).map(Num::Tile)
                }
                result => self.folded(result, span),
            };
        }
        let (x, y) = self.unify(a, b)?;
        let dtype = self.ty(x.value).dtype();
        if !op.class().admits(dtype) {
            let worse = if matches!(a.num, Num::Const(_)) { b } else { a };
            return self.not_defined(op.name(), op.class(), worse);
        }
        if dtype.is_float() {
            self.contained(op, a, &x, b, &y, span)?;
        }
        self.pointwise(op, &x, &y, span).map(Num::Tile)
    }

    /// `a op b` on tiles of one dtype, whatever their dims.
    pub(crate) fn pointwise(&mut self, op: BinaryOp, x: &Tile, y: &Tile, span: Span) -> Option<Tile> {
        let valid = self.both(x.valid, y.valid, span)?;
        let integer = self.ty(x.value).dtype().is_int();
        // Nothing is divided where nothing is.
        let divides = integer && matches!(op, BinaryOp::Div | BinaryOp::Rem);
        let divisor = if divides { self.filled(y, Scalar::Int(1), span)? } else { y.value };
        let value = self.emit(Op::Binary(op), &[x.value, divisor], span)?;
        let form = match (&x.form, &y.form) {
            (Some(f), Some(g)) if integer && !op.is_comparison() => Form::binary(op, f, g),
            (Some(_), Some(_)) | (Some(_), None) | (None, _) => None,
        };
        let soft = if op.is_comparison() { None } else { self.still_soft(x, y) };
        Some(Tile { value, valid, soft, form, lanes: None })
    }

    /// What two literals make is a literal still.
    fn still_soft(&self, x: &Tile, y: &Tile) -> Option<super::value::Key> {
        match (&x.soft, &y.soft) {
            (Some(key), Some(_)) => Some(key.clone()),
            (Some(_), None) | (None, Some(_)) | (None, None) => None,
        }
    }

    /// E0502 for a zero that is written as the divisor of an integer. One that a constant happens to be is no error
    /// here: the code may never run for it.
    fn written_zero(&mut self, op: BinOp, a: &Operand, b: &Expr) -> Option<()> {
        let floats = self.dtype_of(&a.num).is_some_and(DType::is_float);
        if floats || !matches!(op, BinOp::Div | BinOp::Rem) || b.kind != ExprKind::Int(0) {
            return Some(());
        }
        self.error(Code::E0502, b.span, "this divides by zero", "always 0")
    }

    /// E0201: floats of which neither has all dims of the other.
    fn contained(&mut self, op: BinaryOp, a: &Operand, x: &Tile, b: &Operand, y: &Tile, span: Span) -> Option<()> {
        let (dx, dy) = (self.ty(x.value).dims().to_vec(), self.ty(y.value).dims().to_vec());
        if contains(&dx, &dy) || contains(&dy, &dx) {
            return Some(());
        }
        let (ta, tb) = (self.show_num(&a.num), self.show_num(&b.num));
        let (sa, sb) = (self.show_dims(&dx), self.show_dims(&dy));
        let message = format!("neither {sa} nor {sb} contains the other, so this would be an outer product");
        let mut error = Diagnostic::error(Code::E0201, span, message, "dimensions do not match")
            .with_label(a.span, ta)
            .with_label(b.span, tb);
        for d in dx.iter().filter(|d| !dy.contains(d)).chain(dy.iter().filter(|d| !dx.contains(d))) {
            error = self.label_dim(error, *d);
        }
        let missing: Vec<&str> = dy.iter().filter(|d| !dx.contains(d)).map(|d| self.dim_name(*d)).collect();
        let namesake = dx.iter().find(|d| !dy.contains(d) && missing.contains(&self.dim_name(**d)));
        let help = if let Some(d) = namesake {
            let name = self.dim_name(*d);
            format!("two dimensions are called `{name}`: give one another name, and index by that name in place of `:`")
        } else if op == BinaryOp::Mul {
            "if it is meant, write `outer(a, b)`; if not, reduce or index one of them first".to_owned()
        } else {
            format!("if it is meant, repeat the left one first: `fill(…, over ({}))`", missing.join(", "))
        };
        self.say(error.with_help(help))
    }

    /// A label that shows where a dim comes from.
    pub(crate) fn label_dim(&self, error: Diagnostic, dim: DimId) -> Diagnostic {
        let text = format!("`{}` is {}", self.dim_name(dim), self.describe_block(dim));
        error.with_label(self.dim_spans[dim.index()], text)
    }

    /// E0302 for an element-wise op.
    pub(crate) fn not_defined<T>(&mut self, name: &str, class: pantile_ir::Class, x: &Operand) -> Option<T> {
        let found = self.show_num(&x.num);
        let message = format!("`{name}` takes {}, not {found}", class.describe());
        let error = Diagnostic::error(Code::E0302, x.span, message, found);
        let floats = class == pantile_ir::Class::Float && self.dtype_of(&x.num).is_none_or(|d| d != DType::Bool);
        self.say(if floats { error.with_help("convert it: `(…) as f32`") } else { error })
    }

    /// A folded constant, or what is wrong with it.
    pub(crate) fn folded(&mut self, result: Result<Const, ConstError>, span: Span) -> Option<Num> {
        match result {
            Ok(x) => Some(Num::Const(x)),
            Err(why) => self.error(why.code(), span, why.to_string(), "computed at compile time"),
        }
    }

    /// An expression that must be a number.
    pub(crate) fn operand_of(&mut self, e: &Expr) -> Option<Operand> {
        let val = self.expr(e);
        let num = self.number(val, e.span)?;
        Some(Operand { num, span: e.span })
    }
}

/// Two constants in one dtype where one can take the other's.
fn meet(x: Const, y: Const) -> (Const, Const) {
    let typed = |c: Const, to: DType| super::convert::adapt(c, to).map(|s| Const::Typed(to, s));
    match (x.dtype(), y.dtype()) {
        (Some(a), Some(b)) if a != b => {
            let wider = if super::convert::widens(a, b, true) { b } else { a };
            match (typed(x, wider), typed(y, wider)) {
                (Ok(x), Ok(y)) => (x, y),
                _ => (x, y),
            }
        }
        _ => (x, y),
    }
}

/// Whether `a` has all dims of `b`.
pub(crate) fn contains(a: &[DimId], b: &[DimId]) -> bool {
    b.iter().all(|d| a.contains(d))
}
