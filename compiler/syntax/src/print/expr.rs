//! Expressions as text, with no more parentheses than the grammar needs.

use super::Printer;
use crate::ast::{Arg, BinOp, Block, Expr, ExprKind, Ident, IndexExpr, UnOp};
use crate::token::escape;

/// How tightly forms bind; an operand that binds looser than its place asks for stands in parentheses.
pub(super) const ANY: u8 = 0;
pub(super) const OR: u8 = 1;
const AND: u8 = 2;
const NOT: u8 = 3;
const COMPARE: u8 = 4;
pub(super) const BIT_OR: u8 = 5;
const CAST: u8 = 11;
const NEGATE: u8 = 12;
const POSTFIX: u8 = 13;

/// How an operator is written, and how tightly it binds.
fn operator(op: BinOp) -> (&'static str, u8) {
    match op {
        BinOp::Or => ("or", OR),
        BinOp::And => ("and", AND),
        BinOp::Eq => ("==", COMPARE),
        BinOp::Ne => ("!=", COMPARE),
        BinOp::Lt => ("<", COMPARE),
        BinOp::Le => ("<=", COMPARE),
        BinOp::Gt => (">", COMPARE),
        BinOp::Ge => (">=", COMPARE),
        BinOp::BitOr => ("|", BIT_OR),
        BinOp::BitXor => ("^", 6),
        BinOp::BitAnd => ("&", 7),
        BinOp::Shl => ("<<", 8),
        BinOp::Shr => (">>", 8),
        BinOp::Add => ("+", 9),
        BinOp::Sub => ("-", 9),
        BinOp::Mul => ("*", 10),
        BinOp::Div => ("/", 10),
        BinOp::Rem => ("%", 10),
    }
}

impl BinOp {
    /// How it is written.
    pub fn text(self) -> &'static str {
        operator(self).0
    }
}

impl Printer {
    /// An expression where forms that bind looser than `min` need parentheses.
    pub(super) fn expr(&mut self, expr: &Expr, min: u8) {
        let parentheses = binding(&expr.kind) < min;
        self.put(if parentheses { "(" } else { "" });
        self.bare(&expr.kind);
        self.put(if parentheses { ")" } else { "" });
    }

    fn bare(&mut self, kind: &ExprKind) {
        match kind {
            ExprKind::Int(value) => self.put(&value.to_string()),
            ExprKind::Float(value) => self.put(&format!("{value:?}")),
            ExprKind::Bool(value) => self.put(if *value { "true" } else { "false" }),
            ExprKind::Str(text) => self.put(&format!("\"{}\"", escape(text))),
            ExprKind::Name(name) => self.put(name),
            ExprKind::Size(bytes) => self.size(*bytes),
            ExprKind::Index { base, index } => {
                self.expr(base, POSTFIX);
                self.put("[");
                self.list(index, |p, index| match index {
                    IndexExpr::Whole(_) => p.put(":"),
                    IndexExpr::Expr(expr) => p.expr(expr, ANY),
                });
                self.put("]");
            }
            ExprKind::Call { name, consts, args } => self.call(name, consts, args),
            ExprKind::Unary(UnOp::Neg, x) => {
                self.put("-");
                self.expr(x, NEGATE);
            }
            ExprKind::Unary(UnOp::Not, x) => {
                self.put("not ");
                self.expr(x, NOT);
            }
            ExprKind::Binary(op, a, b) => {
                let (text, level) = operator(*op);
                // Comparisons do not chain; all others group to the left.
                self.expr(a, if level == COMPARE { BIT_OR } else { level });
                self.put(&format!(" {text} "));
                self.expr(b, level + 1);
            }
            ExprKind::Cast(x, ty) => {
                self.expr(x, CAST);
                self.put(" as ");
                self.ty(ty);
            }
            ExprKind::If { cond, then, otherwise } => self.conditional(cond, then, otherwise.as_ref()),
            ExprKind::Tuple(items) => {
                self.put("(");
                self.list(items, |p, item| p.expr(item, ANY));
                self.put(if items.len() == 1 { ",)" } else { ")" });
            }
            ExprKind::All(extent) => {
                self.put("all ");
                self.extent(extent);
            }
            ExprKind::Block(block) => self.block(block),
            ExprKind::Error => self.put("?"),
        }
    }

    fn size(&mut self, bytes: i64) {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        let whole = units.iter().find(|(shift, _)| bytes != 0 && bytes % (1 << shift) == 0);
        let (shift, unit) = whole.unwrap_or(&(10, "KiB"));
        self.put(&format!("{} {unit}", bytes >> shift));
    }

    fn conditional(&mut self, cond: &Expr, then: &Block, otherwise: Option<&Block>) {
        self.put("if ");
        self.expr(cond, ANY);
        self.put(" ");
        self.block(then);
        let Some(otherwise) = otherwise else { return };
        self.put(" else ");
        match &otherwise.tail {
            Some(tail) if otherwise.stmts.is_empty() && matches!(tail.kind, ExprKind::If { .. }) => {
                self.expr(tail, ANY);
            }
            Some(_) | None => self.block(otherwise),
        }
    }

    fn call(&mut self, name: &Ident, consts: &[(Ident, Expr)], args: &[Arg]) {
        self.put(&name.node);
        if !consts.is_empty() {
            self.put("<");
            self.list(consts, |p, (name, value)| {
                p.put(&format!("{} = ", name.node));
                p.expr(value, BIT_OR);
            });
            self.put(">");
        }
        self.put("(");
        self.list(args, Self::arg);
        self.put(")");
    }

    fn arg(&mut self, arg: &Arg) {
        match arg {
            Arg::Value(expr) => self.expr(expr, ANY),
            Arg::Over(dims, _) => {
                let names: Vec<&str> = dims.iter().map(|d| d.node.as_str()).collect();
                self.put(&match names.as_slice() {
                    [one] => format!("over {one}"),
                    several => format!("over ({})", several.join(", ")),
                });
            }
            Arg::At(expr) => {
                self.put("at ");
                self.expr(expr, ANY);
            }
            Arg::As(dims, _) => match dims.as_slice() {
                [(dim, None)] => self.put(&format!("as {}", dim.node)),
                several => {
                    self.put("as (");
                    self.list(several, |p, (dim, size)| {
                        p.put(&dim.node);
                        p.clause("by", size.as_ref());
                    });
                    self.put(")");
                }
            },
            Arg::Via(extent, order) => {
                self.put(&format!("{} via ", extent.node));
                self.expr(order, ANY);
            }
            Arg::Named(name, value) => {
                self.put(&format!("{}: ", name.node));
                self.expr(value, ANY);
            }
        }
    }
}

fn binding(kind: &ExprKind) -> u8 {
    match kind {
        ExprKind::Unary(UnOp::Not, _) => NOT,
        ExprKind::Unary(UnOp::Neg, _) => NEGATE,
        ExprKind::Binary(op, ..) => operator(*op).1,
        ExprKind::Cast(..) => CAST,
        // Only where they stand alone are they without parentheses.
        ExprKind::If { .. } | ExprKind::Block(_) => ANY,
        ExprKind::Int(_) | ExprKind::Float(_) | ExprKind::Bool(_) | ExprKind::Str(_) | ExprKind::Name(_) => u8::MAX,
        ExprKind::Index { .. } | ExprKind::Call { .. } | ExprKind::Tuple(_) | ExprKind::All(_) => u8::MAX,
        ExprKind::Size(_) | ExprKind::Error => u8::MAX,
    }
}
