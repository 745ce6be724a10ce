//! The tree as text again, in one canonical layout: parsing what is printed gives the same tree. Comments are not in the
//! tree, so this is no formatter of files.

mod expr;

use crate::ast::{
    AxisExpr, AxisExtent, BinOp, Block, Expr, File, FnParam, ForOver, Generic, GridVar, Ident, Item, LetName,
    OrderParam, Param, Stmt, StmtKind, TypeExpr, TypeKind, WalkExpr,
};
use crate::token::escape;

use expr::{ANY, BIT_OR, OR};

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

fn one_line(item: &Item) -> bool {
    matches!(item, Item::Const(_) | Item::Use(_))
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
}
