//! Expressions: one arm a form of syntax. What each form means stands in the file of its subject.

use pantile_diag::{Code, Diagnostic, Span};
use pantile_ir::DType;
use pantile_syntax::ast::{AxisExtent, Block, Expr, ExprKind, TypeExpr, TypeKind};

use super::sema::Sema;
use super::value::{Num, Operand, Val};
use crate::check::constant::Const;

impl<'p> Sema<'p, '_> {
    /// The value of an expression; [`Val::Error`] after an error has been said.
    pub(crate) fn expr(&mut self, e: &Expr) -> Val<'p> {
        self.deeper(e.span, |cx| cx.try_expr(e)).unwrap_or(Val::Error)
    }

    fn try_expr(&mut self, e: &Expr) -> Option<Val<'p>> {
        match &e.kind {
            ExprKind::Int(x) | ExprKind::Size(x) => Some(Const::Int(*x).into()),
            ExprKind::Float(x) => Some(Const::Float(*x).into()),
            ExprKind::Bool(x) => Some(Const::from(*x).into()),
            ExprKind::Str(text) => Some(Val::Str(text.clone())),
            ExprKind::Name(name) => self.name(name, e.span),
            ExprKind::Index { base, index } => self.read(base, index, e.span),
            ExprKind::Call { name, consts, args } => self.call(name, consts, args, e.span),
            ExprKind::Unary(op, x) => self.unary_expr(*op, x, e.span).map(Val::Num),
            ExprKind::Binary(op, a, b) => self.binary_expr(*op, a, b, e.span).map(Val::Num),
            ExprKind::Cast(x, ty) => self.cast(x, ty, e.span),
            ExprKind::If { cond, then, otherwise } => self.if_expr(cond, then, otherwise.as_ref(), e.span),
            ExprKind::Tuple(parts) => Some(Val::Tuple(parts.iter().map(|p| self.expr(p)).collect())),
            ExprKind::All(extent) => self.all(extent, e.span),
            ExprKind::Block(block) => Some(self.block(block)),
            ExprKind::Error => None,
        }
    }

    /// A block's statements, then its value.
    pub(crate) fn block(&mut self, block: &Block) -> Val<'p> {
        self.scoped(|cx| {
            for stmt in &block.stmts {
                cx.stmt(stmt);
            }
            match &block.tail {
                Some(tail) => cx.expr(tail),
                None => Val::Unit,
            }
        })
    }

    /// `all N`: the one block over a whole extent.
    fn all(&mut self, extent: &AxisExtent, span: Span) -> Option<Val<'p>> {
        let extent = self.walked_extent(extent, span)?;
        self.whole_dim(extent, span).map(Val::Block)
    }

    /// `x as T`.
    fn cast(&mut self, x: &Expr, ty: &TypeExpr, span: Span) -> Option<Val<'p>> {
        let x = self.operand_of(x);
        let (dtype, is_int) = self.cast_target(ty)?;
        let Operand { num, span: at } = x?;
        match num {
            Num::Const(c) if is_int => Some(c.cast_int().into()),
            Num::Const(c) => Some(c.cast(dtype).into()),
            Num::Tile(t) => {
                let from = self.ty(t.value).dtype();
                if from == DType::Bool && dtype.is_float() {
                    let error = Diagnostic::error(Code::E0302, at, format!("a bool is no {dtype}"), "a bool");
                    return self.say(error.with_help("choose the numbers: `where(…, 1.0, 0.0)`"));
                }
                self.cast_tile(&t, dtype, span).map(Val::from)
            }
        }
    }

    /// A cast names a dtype; a tile type is taken for its dtype only.
    fn cast_target(&mut self, ty: &TypeExpr) -> Option<(DType, bool)> {
        match &ty.kind {
            TypeKind::Name(_) | TypeKind::Tensor { .. } | TypeKind::Mask(_) => self.scalar_type(ty),
            TypeKind::Tile { dtype, .. } => self.dtype(&dtype.node, dtype.span).map(|d| (d, false)),
        }
    }
}
