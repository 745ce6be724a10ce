//! Conversions that need no `as`: constants take the type of their context, values widen without loss, lower dims
//! repeat along more. What loses anything is an error here.

use pantile_diag::{Code, Diagnostic, Span};
use pantile_ir::{DType, DimId, Kind, Op, Scalar, Value};

use super::sema::Sema;
use super::value::{Num, Operand, Tile};
use crate::check::constant::{Const, ConstError};

/// Whether every value of `from` is one of `to`, and the change is made without `as`. A tile of 8- or 16-bit floats keeps
/// its dtype in arithmetic, where the precision of what follows would silently change.
pub(crate) fn widens(from: DType, to: DType, small_floats: bool) -> bool {
    match (from.kind(), to.kind()) {
        (Kind::Signed, Kind::Signed) | (Kind::Unsigned, Kind::Unsigned) => from.bytes() <= to.bytes(),
        (Kind::Unsigned, Kind::Signed) => from.bytes() < to.bytes(),
        (Kind::Float, Kind::Float) => {
            from == to || (from.bytes() < to.bytes() && to.bytes() >= 4 && (small_floats || from.bytes() >= 4))
        }
        (Kind::Bool, Kind::Bool) => true,
        (Kind::Bool | Kind::Signed | Kind::Unsigned | Kind::Float, _) => false,
    }
}

/// The constant in a dtype, where that needs no `as`: an integer is any number it fits, a real any float, rounded.
pub(crate) fn adapt(x: Const, to: DType) -> Result<Scalar, ConstError> {
    match x {
        Const::Typed(from, _) if from.is_float() && to.is_float() => match x.cast(to) {
            Const::Typed(_, scalar) => Ok(scalar),
            Const::Int(_) | Const::Float(_) => x.convert(to),
        },
        Const::Typed(from, _) if from != to && from.is_int() => match x.as_int() {
            Some(n) => Const::Int(n).convert(to),
            None => x.convert(to),
        },
        Const::Int(_) | Const::Float(_) | Const::Typed(..) => x.convert(to),
    }
}

impl<'p> Sema<'p, '_> {
    /// A constant as a value of a dtype.
    pub(crate) fn instantiate(&mut self, x: Const, dtype: DType, span: Span) -> Option<Value> {
        match adapt(x, dtype) {
            Ok(scalar) => self.emit(Op::Const(dtype, scalar), &[], span),
            Err(why) => {
                let found = self.show_num(&Num::Const(x));
                let message = format!("{found} is no value of {dtype}");
                let code = match why {
                    ConstError::NotRepresentable(..) if x.as_int().is_some() => Code::E0303,
                    ConstError::NotRepresentable(..)
                    | ConstError::Mismatch(..)
                    | ConstError::NotDefined(..)
                    | ConstError::Overflow
                    | ConstError::DivideByZero => Code::E0301,
                };
                let error = Diagnostic::error(code, span, message, format!("{dtype} is needed here"));
                let from = x.dtype().unwrap_or(DType::F64);
                self.say(error.with_help(self.cast_help(from, dtype)))
            }
        }
    }

    /// A number as a run-time value; a literal takes the dtype it has been found to need, else f32 or i64.
    pub(crate) fn tile(&mut self, num: &Num, span: Span) -> Option<Tile> {
        match num {
            Num::Tile(t) => Some(t.clone()),
            Num::Const(x) => {
                let key = self.key(span);
                let dtype = self.soft_dtype(&key, *x);
                let form = x.as_int().map(super::form::Form::number);
                let value = self.instantiate(*x, dtype, span)?;
                let soft = x.dtype().is_none().then_some(key);
                Some(Tile { soft, ..Self::formed(value, form) })
            }
        }
    }

    /// The dtype of a number, if it has one.
    pub(crate) fn dtype_of(&self, num: &Num) -> Option<DType> {
        match num {
            Num::Const(x) => x.dtype(),
            Num::Tile(t) => Some(self.ty(t.value).dtype()),
        }
    }

    /// A number as `dtype`, for a place that has that type: `what` says which.
    pub(crate) fn convert(&mut self, x: &Operand, dtype: DType, what: &str) -> Option<Tile> {
        let t = match &x.num {
            Num::Const(c) => {
                let form = c.as_int().map(super::form::Form::number);
                return self.instantiate(*c, dtype, x.span).map(|v| Self::formed(v, form));
            }
            Num::Tile(t) => t.clone(),
        };
        let from = self.ty(t.value).dtype();
        if from == dtype {
            return Some(t);
        }
        if let Some(key) = &t.soft
            && dtype != DType::Bool
            && from != DType::Bool
            && self.learn(key, dtype)
        {
            return None;
        }
        if widens(from, dtype, true) {
            return self.cast_tile(&t, dtype, x.span);
        }
        let found = self.show_num(&x.num);
        let code = if from.kind() == dtype.kind() { Code::E0303 } else { Code::E0301 };
        let message = format!("{what} is {dtype}, but this is {found}");
        let error = Diagnostic::error(code, x.span, message, found);
        self.say(error.with_help(self.cast_help(from, dtype)))
    }

    fn cast_help(&self, from: DType, to: DType) -> String {
        match (from, to) {
            (DType::Bool, _) => "choose the numbers: `where(…, 1, 0)`".into(),
            (_, DType::Bool) => "compare it: `… != 0`".into(),
            _ => format!("convert it: `(…) as {to}`"),
        }
    }

    /// `x as dtype`.
    pub(crate) fn cast_tile(&mut self, t: &Tile, dtype: DType, span: Span) -> Option<Tile> {
        let from = self.ty(t.value).dtype();
        if from == dtype {
            return Some(Tile { soft: None, ..t.clone() });
        }
        let value = self.emit(Op::Cast(dtype), &[t.value], span)?;
        let keeps = from.is_int() && widens(from, dtype, false);
        Some(Tile {
            value,
            valid: t.valid,
            soft: None,
            form: t.form.clone().filter(|_| keeps),
            lanes: t.lanes.filter(|_| keeps),
        })
    }

    /// The tile, constant along `dims` as well.
    pub(crate) fn broadcast(&mut self, t: &Tile, dims: &[DimId], span: Span) -> Option<Tile> {
        let have = self.ty(t.value).dims();
        let more: Vec<DimId> = dims.iter().copied().filter(|d| !have.contains(d)).collect();
        if more.is_empty() {
            return Some(t.clone());
        }
        let value = self.emit(Op::Broadcast(more), &[t.value], span)?;
        Some(Tile { value, valid: t.valid, soft: t.soft.clone(), form: t.form.clone(), lanes: None })
    }

    /// Two numbers, not both constants, in one dtype: a constant takes the other's, a literal's is settled, the narrower
    /// widens where nothing is lost.
    pub(crate) fn unify(&mut self, a: &Operand, b: &Operand) -> Option<(Tile, Tile)> {
        match (&a.num, &b.num) {
            (Num::Tile(x), Num::Tile(y)) => self.unify_tiles(a, x, b, y),
            (Num::Tile(x), Num::Const(c)) => {
                let (x, y) = (x.clone(), self.beside(*c, b.span, x)?);
                Some((x, y))
            }
            (Num::Const(c), Num::Tile(y)) => {
                let x = self.beside(*c, a.span, y)?;
                Some((x, y.clone()))
            }
            (Num::Const(x), Num::Const(y)) => {
                let dtype = x.dtype().or(y.dtype()).unwrap_or_else(|| {
                    let real = matches!(x, Const::Float(_)) || matches!(y, Const::Float(_));
                    if real { DType::F32 } else { DType::I64 }
                });
                let (x, y) = (self.convert(a, dtype, "the other operand"), self.convert(b, dtype, "the other operand"));
                Some((x?, y?))
            }
        }
    }

    /// A constant beside a tile takes its dtype; a literal tile of integers beside a real one becomes real.
    fn beside(&mut self, c: Const, span: Span, tile: &Tile) -> Option<Tile> {
        let dtype = self.ty(tile.value).dtype();
        if let (Err(_), Some(key)) = (adapt(c, dtype), &tile.soft) {
            let to = match c {
                Const::Int(_) => None,
                Const::Float(_) => Some(DType::F32),
                Const::Typed(to, _) => Some(to),
            };
            if let Some(to) = to.filter(|t| *t != DType::Bool && dtype != DType::Bool)
                && self.learn(key, to)
            {
                return None;
            }
        }
        let form = c.as_int().map(super::form::Form::number);
        let value = self.instantiate(c, dtype, span)?;
        Some(Tile { soft: tile.soft.clone(), ..Self::formed(value, form) })
    }

    fn unify_tiles(&mut self, a: &Operand, x: &Tile, b: &Operand, y: &Tile) -> Option<(Tile, Tile)> {
        let (dx, dy) = (self.ty(x.value).dtype(), self.ty(y.value).dtype());
        if dx == dy {
            return Some((x.clone(), y.clone()));
        }
        if dx != DType::Bool && dy != DType::Bool && self.settle_literals(x, dx, y, dy) {
            return None;
        }
        let scalar = |cx: &Self, t: &Tile| cx.ty(t.value).dims().is_empty();
        if widens(dx, dy, scalar(self, x)) {
            return Some((self.cast_tile(x, dy, a.span)?, y.clone()));
        }
        if widens(dy, dx, scalar(self, y)) {
            return Some((x.clone(), self.cast_tile(y, dx, b.span)?));
        }
        let (ta, tb) = (self.show_num(&a.num), self.show_num(&b.num));
        let narrowing = dx.is_float() && dy.is_float() && (scalar(self, x) || scalar(self, y));
        let code = if narrowing { Code::E0303 } else { Code::E0301 };
        let span = a.span.to(b.span);
        let error =
            Diagnostic::error(code, span, format!("the operands differ in type: {ta} and {tb}"), "no common type");
        let (to, which) =
            if dx.is_float() && (!dy.is_float() || dx.bytes() >= dy.bytes()) { (dx, "right") } else { (dy, "left") };
        let help = match (dx, dy) {
            (DType::Bool, _) | (_, DType::Bool) => "choose the numbers: `where(…, 1, 0)`".to_owned(),
            _ => format!("convert the {which} one: `(…) as {to}`"),
        };
        self.say(error.with_label(a.span, ta).with_label(b.span, tb).with_help(help))
    }

    /// Whether a literal among them has just been found to need the other's dtype.
    fn settle_literals(&mut self, x: &Tile, dx: DType, y: &Tile, dy: DType) -> bool {
        match (&x.soft, &y.soft) {
            (Some(key), None) if dy.is_float() || dx.is_int() => self.learn(key, dy),
            (None, Some(key)) if dx.is_float() || dy.is_int() => self.learn(key, dx),
            (Some(a), Some(b)) => {
                let wider = if dx.is_float() && (!dy.is_float() || dx.bytes() >= dy.bytes()) { dx } else { dy };
                (dx != wider && self.learn(a, wider)) || (dy != wider && self.learn(b, wider))
            }
            (Some(_), None) | (None, Some(_)) | (None, None) => false,
        }
    }

    /// The validity of two together.
    pub(crate) fn both(&mut self, a: Option<Value>, b: Option<Value>, span: Span) -> Option<Option<Value>> {
        match (a, b) {
            (Some(a), Some(b)) if a != b => self.emit(Op::Binary(pantile_ir::BinaryOp::And), &[a, b], span).map(Some),
            (Some(v), _) | (None, Some(v)) => Some(Some(v)),
            (None, None) => Some(None),
        }
    }

    /// A number as an i64 scalar or tile.
    pub(crate) fn index_value(&mut self, x: &Operand, what: &str) -> Option<Tile> {
        self.convert(x, DType::I64, what)
    }
}
