//! What the grammar's actions share: places, names, and the few rules that no production states. It builds the tree and
//! resolves nothing.

use std::cell::RefCell;

use pantile_diag::{Code, Diagnostic, Span};
use pantile_syntax::ast::{
    AxisExpr, AxisExtent, BROKEN, BinOp, Block, Expr, ExprKind, Ident, Stmt, StmtKind, TypeExpr, TypeKind, WalkExpr,
};
use pantile_syntax::lexer::Lexeme;
use pantile_syntax::token::unescape;

/// The tokens under the parser's locations, and what the actions complain about.
pub struct Cx<'c, 't> {
    lexemes: &'c [Lexeme<'t>],
    /// Complaints of the actions, in order.
    pub complaints: RefCell<Vec<Diagnostic>>,
}

/// A statement, or an `if` or block without `;`, which is the block's value if it comes last.
#[allow(clippy::large_enum_variant, reason = "short-lived")]
pub enum BodyStmt {
    /// Complete.
    Done(Stmt),
    /// `if … { … }` or `{ … }`.
    Open(Expr),
}

impl<'c, 't> Cx<'c, 't> {
    /// For parsing `lexemes`.
    pub fn new(lexemes: &'c [Lexeme<'t>]) -> Self {
        Self { lexemes, complaints: RefCell::default() }
    }

    /// The text of tokens `l..r`.
    pub fn span(&self, l: usize, r: usize) -> Span {
        let first = self.lexemes.get(l).or(self.lexemes.last()).map(|x| x.span).unwrap_or_default();
        match r.checked_sub(1).filter(|&last| last >= l).and_then(|last| self.lexemes.get(last)) {
            Some(last) => first.to(last.span),
            None => Span { end: first.start, ..first },
        }
    }

    fn complain(&self, span: Span, message: &str, label: &str, help: &str) {
        self.complaints.borrow_mut().push(Diagnostic::error(Code::E0002, span, message, label).with_help(help));
    }

    /// A name.
    pub fn ident(&self, name: &str, l: usize, r: usize) -> Ident {
        Ident::new(name.into(), self.span(l, r))
    }

    /// A contextual word as a name.
    pub fn word(&self, l: usize, r: usize) -> Ident {
        self.ident(self.lexemes[l].token.text().unwrap_or(BROKEN), l, r)
    }

    /// A string's text.
    pub fn string(&self, raw: &str, l: usize, r: usize) -> Ident {
        // The lexer lets no unknown escape through.
        Ident::new(unescape(raw).unwrap_or_default(), self.span(l, r))
    }

    /// An expression.
    pub fn expr(&self, l: usize, r: usize, kind: ExprKind) -> Expr {
        Expr { kind, span: self.span(l, r) }
    }

    /// `a op b`.
    pub fn binary(&self, l: usize, r: usize, op: BinOp, a: Expr, b: Expr) -> Expr {
        self.expr(l, r, ExprKind::Binary(op, Box::new(a), Box::new(b)))
    }

    /// `(first, rest…)`.
    pub fn tuple(&self, l: usize, r: usize, first: Expr, rest: Vec<Expr>) -> Expr {
        self.expr(l, r, ExprKind::Tuple(std::iter::once(first).chain(rest).collect()))
    }

    /// A type.
    pub fn ty(&self, l: usize, r: usize, kind: TypeKind) -> TypeExpr {
        TypeExpr { kind, span: self.span(l, r) }
    }

    /// A walk that did not parse.
    pub fn bad_walk(&self, l: usize, r: usize) -> WalkExpr {
        let AxisExpr { extent, by, span } = self.bad_axis(l, r);
        WalkExpr { extent, by, via: None, span }
    }

    /// An axis that did not parse.
    pub fn bad_axis(&self, l: usize, r: usize) -> AxisExpr {
        let extent = AxisExtent::Name(self.ident(BROKEN, l, r));
        AxisExpr { extent, by: Some(self.expr(l, r, ExprKind::Error)), span: self.span(l, r) }
    }

    /// A complete statement.
    pub fn stmt(&self, l: usize, r: usize, kind: StmtKind) -> BodyStmt {
        BodyStmt::Done(Stmt { kind, span: self.span(l, r) })
    }

    /// An assignment, if its target can be one.
    pub fn assign(&self, l: usize, r: usize, target: Expr, op: Option<BinOp>, atomic: bool, value: Expr) -> BodyStmt {
        let assignable = matches!(target.kind, ExprKind::Name(_) | ExprKind::Index { .. } | ExprKind::Error);
        if !assignable {
            let help = if matches!(target.kind, ExprKind::Tuple(_)) {
                "name the parts, `let (a, b) = …;`, and assign them one by one"
            } else {
                "the left side is a variable, or a tensor with its indices: `t[i, :] = …`; `==` compares"
            };
            self.complain(target.span, "cannot assign to this", "not a variable or an element", help);
            return self.stmt(l, r, StmtKind::Error);
        }
        self.stmt(l, r, StmtKind::Assign { target, op, atomic, value })
    }

    /// A block; its last `if` or block is its value if that has one, else a statement.
    pub fn block(&self, l: usize, r: usize, stmts: Vec<BodyStmt>, tail: Option<Expr>) -> Block {
        let mut stmts: Vec<BodyStmt> = stmts.into_iter().chain(tail.map(BodyStmt::Open)).collect();
        let tail = match stmts.pop() {
            Some(BodyStmt::Open(expr)) if expr.has_value() => Some(Box::new(expr)),
            Some(last) => {
                stmts.push(last);
                None
            }
            None => None,
        };
        let done = |stmt| match stmt {
            BodyStmt::Done(stmt) => stmt,
            BodyStmt::Open(expr) => Stmt { span: expr.span, kind: StmtKind::Expr(expr) },
        };
        Block { stmts: stmts.into_iter().map(done).collect(), tail, span: self.span(l, r) }
    }

    /// The body of a loop.
    pub fn no_tail(&self, mut body: Block) -> Block {
        if let Some(tail) = body.tail.take() {
            if tail.kind != ExprKind::Error {
                let help = "end it with `;`, or assign it to a variable from outside the loop";
                self.complain(tail.span, "the body of a loop has no value", "this value goes nowhere", help);
            }
            body.stmts.push(Stmt { span: tail.span, kind: StmtKind::Error });
        }
        body
    }

    /// An order's result is written for its readers.
    pub fn require_int(&self, result: &TypeExpr) {
        if !matches!(&result.kind, TypeKind::Name(name) if name == "int" || name == BROKEN) {
            let help = "write `-> int`: an order gives the element in memory, -1 for none";
            self.complain(result.span, "an order returns an `int`", "not `int`", help);
        }
    }
}
