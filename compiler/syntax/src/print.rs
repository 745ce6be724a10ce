//! The tree as text again, in one canonical layout: parsing what is printed gives the same tree. Comments are not in the
//! tree, so this is no formatter of files.

use crate::ast::{
    Arg, AxisExpr, AxisExtent, BinOp, Block, Expr, ExprKind, File, FnParam, ForOver, Generic, GridVar, Ident,
    IndexExpr, Item, LetName, OrderParam, Param, Stmt, StmtKind, TypeExpr, TypeKind, UnOp, WalkExpr,
};
use crate::token::escape;

/// The text of a file.
pub fn print(file: &File) -> String {
    let mut printer = Printer { out: String::new(), indent: 0 };
    let mut previous: Option<&Item> = None;
    for item in &file.items {
        if previous.is_some_and(|p| !(one_line(p) && one_line(item))) {
            printer.out.push('\n');
        }
        printer.item(item);
        printer.out.push('\n');
        previous = Some(item);
    }
    printer.out
}

/// The text of an expression.
pub fn print_expr(expr: &Expr) -> String {
    let mut printer = Printer { out: String::new(), indent: 0 };
    printer.expr(expr, ANY);
    printer.out
}

/// Lists longer than this stand one entry a line.
const WIDTH: usize = 100;

/// How tightly forms bind; an operand that binds looser than its place asks for stands in parentheses.
const ANY: u8 = 0;
const OR: u8 = 1;
const AND: u8 = 2;
const NOT: u8 = 3;
const COMPARE: u8 = 4;
const BIT_OR: u8 = 5;
const CAST: u8 = 11;
const NEGATE: u8 = 12;
const POSTFIX: u8 = 13;

fn one_line(item: &Item) -> bool {
    matches!(item, Item::Const(_) | Item::Use(_))
}

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

struct Printer {
    out: String,
    indent: usize,
}

impl Printer {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn line(&mut self) {
        self.out.push('\n');
        self.out.push_str(&"    ".repeat(self.indent));
    }

    /// `a, b, c`
    fn list<T>(&mut self, items: &[T], mut one: impl FnMut(&mut Self, &T)) {
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.put(", ");
            }
            one(self, item);
        }
    }

    /// `(a, b, c)`, one a line if that is long.
    fn params<T>(&mut self, items: &[T], mut one: impl FnMut(&mut Self, &T)) {
        let start = self.out.len();
        self.put("(");
        self.list(items, &mut one);
        self.put(")");
        if self.out.len() - start > WIDTH {
            self.out.truncate(start);
            self.put("(");
            self.indent += 1;
            for item in items {
                self.line();
                one(self, item);
                self.put(",");
            }
            self.indent -= 1;
            self.line();
            self.put(")");
        }
    }

    // --- Items

    fn doc(&mut self, doc: &str) {
        if !doc.is_empty() {
            for line in doc.split('\n') {
                self.put("///");
                self.put(if line.is_empty() { "" } else { " " });
                self.put(line);
                self.line();
            }
        }
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Const(c) => {
                self.put(&format!("const {}: ", c.name.node));
                self.ty(&c.ty);
                self.put(" = ");
                self.expr(&c.value, ANY);
                self.put(";");
            }
            Item::Fn(f) => {
                self.head(&f.doc, "fn", &f.name, &f.generics);
                self.params(&f.params, Self::fn_param);
                if let Some(result) = &f.result {
                    self.put(" -> ");
                    self.ty(result);
                }
                self.put(" ");
                self.block(&f.body);
            }
            Item::Order(o) => self.order(o),
            Item::Kernel(k) => {
                self.head(&k.doc, "kernel", &k.name, &k.generics);
                self.params(&k.params, Self::param);
                self.put(" -> ");
                self.params(&k.outs, Self::param);
                self.line();
                self.put("grid (");
                self.list(&k.grid, Self::grid_var);
                self.put(") ");
                self.block(&k.body);
            }
            Item::Pipeline(p) => {
                self.head(&p.doc, "pipeline", &p.name, &p.generics);
                self.params(&p.params, Self::param);
                self.put(" -> ");
                self.params(&p.outs, Self::param);
                self.put(" ");
                self.block(&p.body);
            }
            Item::Tune(t) => self.tune(t),
            Item::Use(u) => {
                self.put(&format!("use \"{}\"::{{", escape(&u.path.node)));
                self.list(&u.names, |p, (name, renamed)| {
                    p.put(&name.node);
                    if let Some(renamed) = renamed {
                        p.put(&format!(" as {}", renamed.node));
                    }
                });
                self.put("};");
            }
        }
    }

    fn head(&mut self, doc: &str, word: &str, name: &Ident, generics: &[Generic]) {
        self.doc(doc);
        self.put(&format!("{word} {}", name.node));
        if !generics.is_empty() {
            self.put("<");
            self.list(generics, |p, g| {
                p.put(&format!("{}: {}", g.name.node, g.kind.node));
                p.default(g.default.as_ref(), BIT_OR);
            });
            self.put(">");
        }
    }

    fn default(&mut self, value: Option<&Expr>, min: u8) {
        if let Some(value) = value {
            self.put(" = ");
            self.expr(value, min);
        }
    }

    fn fn_param(&mut self, param: &FnParam) {
        match param {
            FnParam::Over(name) => self.put(&format!("over {}", name.node)),
            FnParam::Value { name, ty } => {
                self.put(&name.node);
                if let Some(ty) = ty {
                    self.put(": ");
                    self.ty(ty);
                }
            }
        }
    }

    fn param(&mut self, param: &Param) {
        self.put(&format!("{}: ", param.name.node));
        self.ty(&param.ty);
        self.default(param.default.as_ref(), ANY);
    }

    fn order(&mut self, o: &crate::ast::OrderItem) {
        self.head(&o.doc, "order", &o.name, &[]);
        self.put(&format!("({}", o.position.node));
        if let Some(length) = &o.length {
            self.put(" in ");
            self.expr(length, ANY);
        }
        for OrderParam { name, ty, default } in &o.params {
            self.put(&format!(", {}: ", name.node));
            self.ty(ty);
            self.default(default.as_ref(), ANY);
        }
        self.put(") -> int ");
        self.block(&o.body);
    }

    fn tune(&mut self, t: &crate::ast::TuneItem) {
        self.put(&format!("tune {} {{", t.name.node));
        self.indent += 1;
        for (name, values) in &t.space {
            self.line();
            self.put(&format!("{} in [", name.node));
            self.list(values, |p, value| p.expr(value, ANY));
            self.put("];");
        }
        for condition in &t.require {
            self.line();
            self.put("require ");
            self.expr(condition, ANY);
            self.put(";");
        }
        self.indent -= 1;
        self.line();
        self.put("}");
    }

    // --- Types and walks

    fn ty(&mut self, ty: &TypeExpr) {
        match &ty.kind {
            TypeKind::Name(name) => self.put(name),
            TypeKind::Tensor { dtype, axes } => {
                self.put(&format!("tensor<{}>[", dtype.node));
                self.list(axes, Self::axis);
                self.put("]");
            }
            TypeKind::Mask(axes) => {
                self.put("mask[");
                self.list(axes, Self::axis);
                self.put("]");
            }
            TypeKind::Tile { dtype, dims } => {
                self.put(&format!("tile<{}>{{", dtype.node));
                self.list(dims, |p, dim| p.put(&dim.node));
                self.put("}");
            }
        }
    }

    fn axis(&mut self, axis: &AxisExpr) {
        self.extent(&axis.extent);
        self.clause("by", axis.by.as_ref());
    }

    fn extent(&mut self, extent: &AxisExtent) {
        match extent {
            AxisExtent::Name(name) => self.put(&name.node),
            AxisExtent::Literal(value) => self.put(&value.to_string()),
        }
    }

    fn clause(&mut self, word: &str, value: Option<&Expr>) {
        if let Some(value) = value {
            self.put(&format!(" {word} "));
            self.expr(value, ANY);
        }
    }

    fn walk(&mut self, walk: &WalkExpr) {
        self.extent(&walk.extent);
        self.clause("by", walk.by.as_ref());
        self.clause("via", walk.via.as_ref());
    }

    fn grid_var(&mut self, var: &GridVar) {
        self.put(&format!("{} in ", var.name.node));
        self.walk(&var.walk);
    }

    // --- Statements

    /// On one line if it is empty or a value that fits.
    fn block(&mut self, block: &Block) {
        if block.stmts.is_empty() {
            let Some(tail) = &block.tail else { return self.put("{}") };
            let mut inner = Printer { out: String::new(), indent: self.indent + 1 };
            inner.expr(tail, ANY);
            if !inner.out.contains('\n') && inner.out.len() <= WIDTH {
                return self.put(&format!("{{ {} }}", inner.out));
            }
            self.put("{");
            self.indent += 1;
            self.line();
            self.put(&inner.out);
            self.indent -= 1;
        } else {
            self.put("{");
            self.indent += 1;
            for stmt in &block.stmts {
                self.line();
                self.stmt(stmt);
            }
            if let Some(tail) = &block.tail {
                self.line();
                self.expr(tail, ANY);
            }
            self.indent -= 1;
        }
        self.line();
        self.put("}");
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Let { names, tuple, ty, value } => {
                self.put(if *tuple { "let (" } else { "let " });
                self.list(names, |p, LetName { name, mutable }| {
                    p.put(if *mutable { "mut " } else { "" });
                    p.put(&name.node);
                });
                self.put(if *tuple { ")" } else { "" });
                if let Some(ty) = ty {
                    self.put(": ");
                    self.ty(ty);
                }
                self.put(" = ");
                self.expr(value, ANY);
                self.put(";");
            }
            StmtKind::Assign { target, op, atomic, value } => {
                self.put(if *atomic { "atomic " } else { "" });
                self.expr(target, OR);
                self.put(&format!(" {}= ", op.map_or("", BinOp::text)));
                self.expr(value, ANY);
                self.put(";");
            }
            StmtKind::For { name, over, skip, body } => {
                self.put(&format!("for {} in ", name.node));
                match over {
                    ForOver::Walk(walk) => self.walk(walk),
                    ForOver::Range(lo, hi) => {
                        self.expr(lo, ANY);
                        self.put("..");
                        self.expr(hi, ANY);
                    }
                }
                self.clause("where", skip.as_ref());
                self.put(" ");
                self.block(body);
            }
            StmtKind::Expr(expr) => {
                self.expr(expr, ANY);
                self.put(if expr.has_value() { ";" } else { "" });
            }
            StmtKind::Error => self.put("?;"),
        }
    }

    // --- Expressions

    fn expr(&mut self, expr: &Expr, min: u8) {
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
