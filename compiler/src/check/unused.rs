//! Functions that nothing calls are never elaborated; here at least their names are resolved. Their types are not checked.

use std::collections::BTreeSet;
use std::str::FromStr;

use pantile_diag::{Diagnostics, FileId, Span};
use pantile_ir::DType;
use pantile_syntax::Part;
use pantile_syntax::ast::{
    Arg, AxisExtent, Block, Expr, ExprKind, FnItem, FnParam, ForOver, Ident, IndexExpr, Item, Stmt, StmtKind, TypeExpr,
    TypeKind, WalkExpr,
};

use super::host::builtin_constant;
use super::program::{ItemRef, Program, unknown_name};
use crate::elaborate::Builtin;

/// Resolves the names in every function that no kernel, order or pipeline reaches.
pub(crate) fn check(program: &Program, diags: &mut Diagnostics) {
    let mut reached: BTreeSet<Span> = BTreeSet::new();
    let mut pending: Vec<&Block> = Vec::new();
    for item in program.files().flat_map(|(_, ast)| &ast.items) {
        match item {
            Item::Kernel(it) => pending.push(&it.body),
            Item::Order(it) => pending.push(&it.body),
            Item::Pipeline(it) => pending.push(&it.body),
            Item::Const(_) | Item::Fn(_) | Item::Tune(_) | Item::Use(_) => {}
        }
    }
    while let Some(body) = pending.pop() {
        let mut calls = Vec::new();
        calls_in_block(body, &mut calls);
        for name in calls {
            if let Some(ItemRef::Fn(it)) = program.lookup(name.span.file, &name.node)
                && reached.insert(it.span)
            {
                pending.push(&it.body);
            }
        }
    }
    for item in program.files().flat_map(|(_, ast)| &ast.items) {
        if let Item::Fn(it) = item
            && !reached.contains(&it.span)
        {
            Walk::new(program, it, diags).function(it);
        }
    }
}

fn calls_in_block<'a>(block: &'a Block, out: &mut Vec<&'a Ident>) {
    each_expr_of_block(block, &mut |e| {
        if let ExprKind::Call { name, .. } = &e.kind {
            out.push(name);
        }
    });
}

/// Every expression of a block, nested ones too.
fn each_expr_of_block<'a>(block: &'a Block, f: &mut dyn FnMut(&'a Expr)) {
    for stmt in &block.stmts {
        match &stmt.kind {
            StmtKind::Let { value, .. } => each_expr(value, f),
            StmtKind::Assign { target, value, .. } => {
                each_expr(target, f);
                each_expr(value, f);
            }
            StmtKind::For { over, skip, body, .. } => {
                match over {
                    ForOver::Walk(walk) => walk.by.iter().chain(&walk.via).for_each(|e| each_expr(e, f)),
                    ForOver::Range(lo, hi) => [lo, hi].into_iter().for_each(|e| each_expr(e, f)),
                }
                skip.iter().for_each(|e| each_expr(e, f));
                each_expr_of_block(body, f);
            }
            StmtKind::Expr(e) => each_expr(e, f),
            StmtKind::Error => {}
        }
    }
    block.tail.iter().for_each(|e| each_expr(e, f));
}

fn each_expr<'a>(e: &'a Expr, f: &mut dyn FnMut(&'a Expr)) {
    f(e);
    e.each_part(&mut |part| match part {
        Part::Expr(e) => each_expr(e, f),
        Part::Block(block) => each_expr_of_block(block, f),
    });
}

struct Walk<'p, 'd> {
    program: &'p Program,
    file: FileId,
    scope: Vec<&'p str>,
    diags: &'d mut Diagnostics,
}

impl<'p, 'd> Walk<'p, 'd> {
    fn new(program: &'p Program, it: &'p FnItem, diags: &'d mut Diagnostics) -> Self {
        let mut scope: Vec<&str> = it.generics.iter().map(|g| g.name.node.as_str()).collect();
        for param in &it.params {
            match param {
                FnParam::Value { name, ty } => {
                    scope.push(&name.node);
                    scope.extend(ty.iter().flat_map(dims_of));
                }
                FnParam::Over(name) => scope.push(&name.node),
            }
        }
        Self { program, file: it.name.span.file, scope, diags }
    }

    fn function(&mut self, it: &'p FnItem) {
        for param in &it.params {
            if let FnParam::Value { ty: Some(ty), .. } = param {
                self.ty(ty);
            }
        }
        it.result.iter().for_each(|ty| self.ty(ty));
        self.block(&it.body);
    }

    fn block(&mut self, block: &'p Block) {
        let outer = self.scope.len();
        block.stmts.iter().for_each(|stmt| self.stmt(stmt));
        block.tail.iter().for_each(|e| self.expr(e));
        self.scope.truncate(outer);
    }

    fn stmt(&mut self, stmt: &'p Stmt) {
        match &stmt.kind {
            StmtKind::Let { names, ty, value, .. } => {
                ty.iter().for_each(|ty| self.ty(ty));
                self.expr(value);
                self.scope.extend(names.iter().map(|n| n.name.node.as_str()));
            }
            StmtKind::Assign { target, value, .. } => {
                self.expr(target);
                self.expr(value);
            }
            StmtKind::For { name, over, skip, body } => {
                match over {
                    ForOver::Walk(walk) => self.walk(walk),
                    ForOver::Range(lo, hi) => [lo, hi].into_iter().for_each(|e| self.expr(e)),
                }
                self.scope.push(&name.node);
                skip.iter().for_each(|e| self.expr(e));
                self.block(body);
                self.scope.pop();
            }
            StmtKind::Expr(e) => self.expr(e),
            StmtKind::Error => {}
        }
    }

    fn walk(&mut self, walk: &'p WalkExpr) {
        // An extent may be one of the kernel that calls: it cannot be told here.
        walk.by.iter().chain(&walk.via).for_each(|e| self.expr(e));
    }

    fn expr(&mut self, e: &'p Expr) {
        match &e.kind {
            ExprKind::Name(name) => self.name(name, e.span),
            ExprKind::Index { base, index } => {
                self.expr(base);
                for i in index {
                    if let IndexExpr::Expr(e) = i {
                        self.expr(e);
                    }
                }
            }
            ExprKind::Call { name, consts, args } => {
                if Builtin::from_str(&name.node).is_err() && self.program.lookup(self.file, &name.node).is_none() {
                    let mut known: Vec<&str> = self.program.names(self.file).collect();
                    Builtin::names().for_each(|builtin| known.push(builtin));
                    let error = unknown_name(&name.node, name.span, "function", known);
                    self.diags.push(error);
                }
                consts.iter().filter(|(_, e)| !is_dtype(e)).for_each(|(_, e)| self.expr(e));
                args.iter().for_each(|arg| self.arg(arg));
            }
            ExprKind::Unary(_, x) => self.expr(x),
            ExprKind::Cast(x, ty) => {
                self.expr(x);
                self.ty(ty);
            }
            ExprKind::Binary(_, a, b) => {
                self.expr(a);
                self.expr(b);
            }
            ExprKind::If { cond, then, otherwise } => {
                self.expr(cond);
                self.block(then);
                otherwise.iter().for_each(|b| self.block(b));
            }
            ExprKind::Tuple(parts) => parts.iter().for_each(|e| self.expr(e)),
            ExprKind::Block(block) => self.block(block),
            ExprKind::All(AxisExtent::Name(_) | AxisExtent::Literal(_))
            | ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Bool(_)
            | ExprKind::Str(_)
            | ExprKind::Size(_)
            | ExprKind::Error => {}
        }
    }

    fn arg(&mut self, arg: &'p Arg) {
        match arg {
            Arg::Value(e) | Arg::At(e) | Arg::Via(_, e) | Arg::Named(_, e) => self.expr(e),
            Arg::As(dims, _) => {
                dims.iter().filter_map(|(_, size)| size.as_ref()).for_each(|e| self.expr(e));
                self.scope.extend(dims.iter().map(|(name, _)| name.node.as_str()));
            }
            // Dims may come with the tiles that the caller passes.
            Arg::Over(..) => {}
        }
    }

    fn name(&mut self, name: &str, span: Span) {
        let known = self.scope.contains(&name)
            || self.program.lookup(self.file, name).is_some()
            || builtin_constant(name).is_some();
        if !known {
            let error =
                unknown_name(name, span, "value", self.scope.iter().copied().chain(self.program.names(self.file)));
            self.diags.push(error);
        }
    }

    fn ty(&mut self, ty: &'p TypeExpr) {
        let (name, span) = match &ty.kind {
            TypeKind::Name(name) => (name.as_str(), ty.span),
            TypeKind::Tile { dtype, .. } | TypeKind::Tensor { dtype, .. } => (dtype.node.as_str(), dtype.span),
            TypeKind::Mask(_) => return,
        };
        if name != "int" && DType::from_str(name).is_err() && !self.scope.contains(&name) {
            let known = DType::ALL.iter().map(|d| d.name()).chain(self.scope.iter().copied());
            let error = unknown_name(name, span, "dtype", known);
            self.diags.push(error);
        }
    }
}

fn is_dtype(e: &Expr) -> bool {
    matches!(&e.kind, ExprKind::Name(name) if DType::from_str(name).is_ok())
}

fn dims_of(ty: &TypeExpr) -> Vec<&str> {
    match &ty.kind {
        TypeKind::Tile { dims, .. } => dims.iter().map(|d| d.node.as_str()).collect(),
        TypeKind::Name(_) | TypeKind::Tensor { .. } | TypeKind::Mask(_) => Vec::new(),
    }
}
