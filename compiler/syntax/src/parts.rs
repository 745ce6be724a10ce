//! What an expression is directly made of, for whoever walks trees without caring for each form. It does not descend.

use crate::ast::{Arg, Block, Expr, ExprKind, IndexExpr};

/// A direct part of an expression.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// An expression.
    Expr(&'a Expr),
    /// The block of a branch or of a block expression.
    Block(&'a Block),
}

impl Expr {
    /// Calls `f` with each direct part, in the order written.
    pub fn each_part<'a>(&'a self, f: &mut dyn FnMut(Part<'a>)) {
        match &self.kind {
            ExprKind::Index { base, index } => {
                f(Part::Expr(base));
                for i in index {
                    if let IndexExpr::Expr(e) = i {
                        f(Part::Expr(e));
                    }
                }
            }
            ExprKind::Call { consts, args, .. } => {
                consts.iter().for_each(|(_, e)| f(Part::Expr(e)));
                args.iter().for_each(|arg| arg.each_expr(&mut |e| f(Part::Expr(e))));
            }
            ExprKind::Unary(_, x) | ExprKind::Cast(x, _) => f(Part::Expr(x)),
            ExprKind::Binary(_, a, b) => {
                f(Part::Expr(a));
                f(Part::Expr(b));
            }
            ExprKind::If { cond, then, otherwise } => {
                f(Part::Expr(cond));
                f(Part::Block(then));
                otherwise.iter().for_each(|b| f(Part::Block(b)));
            }
            ExprKind::Tuple(parts) => parts.iter().for_each(|e| f(Part::Expr(e))),
            ExprKind::Block(block) => f(Part::Block(block)),
            ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Bool(_)
            | ExprKind::Str(_)
            | ExprKind::Name(_)
            | ExprKind::All(_)
            | ExprKind::Size(_)
            | ExprKind::Error => {}
        }
    }
}

impl Arg {
    fn each_expr<'a>(&'a self, f: &mut dyn FnMut(&'a Expr)) {
        match self {
            Arg::Value(e) | Arg::At(e) | Arg::Via(_, e) | Arg::Named(_, e) => f(e),
            Arg::As(dims, _) => dims.iter().filter_map(|(_, size)| size.as_ref()).for_each(f),
            Arg::Over(..) => {}
        }
    }
}
