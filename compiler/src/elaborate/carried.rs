//! Variables that branches and loop bodies assign: found in the syntax, made run-time values, read and set. Variables are
//! values here, so that what a region assigns becomes a result of its instruction.

use std::collections::BTreeSet;

use pantile_diag::Span;
use pantile_ir::{DType, Op, Scalar, Value};
use pantile_syntax::Part;
use pantile_syntax::ast::{Block, Expr, ExprKind, ForOver, Stmt, StmtKind};

use super::sema::Sema;
use super::value::{Tile, Val, Var};

/// A variable that a branch or a body assigns.
pub(crate) struct Carried {
    /// Its scope.
    depth: usize,
    /// Its name.
    pub(crate) name: String,
}

impl<'p> Sema<'p, '_> {
    /// The variables in scope that blocks assign.
    pub(crate) fn carried(&self, blocks: &[&Block]) -> Vec<Carried> {
        let mut names = BTreeSet::new();
        blocks.iter().for_each(|b| assigned_in(b, &mut names));
        let found = |name: &&str| {
            let (depth, var) = self.find(name)?;
            let number = matches!(var.val, Val::Num(_) | Val::Extent(_) | Val::Error);
            (var.mutable && number).then(|| Carried { depth, name: (*name).to_owned() })
        };
        names.iter().filter_map(found).collect()
    }

    pub(crate) fn var(&self, it: &Carried) -> Option<&Var<'p>> {
        self.scopes.get(it.depth)?.get(&it.name)
    }

    pub(crate) fn set(&mut self, it: &Carried, val: Val<'p>) {
        if let Some(var) = self.scopes.get_mut(it.depth).and_then(|s| s.get_mut(&it.name)) {
            var.val = val;
        }
    }

    pub(crate) fn values(&self, carried: &[Carried]) -> Vec<Val<'p>> {
        carried.iter().map(|it| self.var(it).map_or(Val::Error, |v| v.val.clone())).collect()
    }

    pub(crate) fn restore(&mut self, carried: &[Carried], vals: Vec<Val<'p>>) {
        for (it, val) in carried.iter().zip(vals) {
            self.set(it, val);
        }
    }

    /// Constants among the variables become run-time values.
    pub(crate) fn materialise(&mut self, carried: &[Carried]) {
        for it in carried {
            let Some(var) = self.var(it) else { continue };
            let (val, span) = (var.val.clone(), var.span);
            let tile = self.number(val, span).and_then(|num| self.tile(&num, span));
            self.set(it, tile.map_or(Val::Error, |t| Tile { form: None, lanes: None, ..t }.into()));
        }
    }

    /// Validity over all dims of a tile.
    pub(crate) fn validity(&mut self, t: &Tile, span: Span) -> Option<Value> {
        let dims = self.ty(t.value).dims().to_vec();
        let valid = match t.valid {
            Some(v) => v,
            None => self.emit(Op::Const(DType::Bool, Scalar::Bool(true)), &[], span)?,
        };
        self.broadcast(&valid.into(), &dims, span).map(|t| t.value)
    }
}

/// The names that a block assigns, also in nested blocks.
fn assigned_in<'b>(block: &'b Block, names: &mut BTreeSet<&'b str>) {
    for stmt in &block.stmts {
        assigned_in_stmt(stmt, names);
    }
    if let Some(tail) = &block.tail {
        visit(tail, &mut |e| blocks_of(e, names));
    }
}

fn assigned_in_stmt<'b>(stmt: &'b Stmt, names: &mut BTreeSet<&'b str>) {
    match &stmt.kind {
        StmtKind::Let { value, .. } => visit(value, &mut |e| blocks_of(e, names)),
        StmtKind::Assign { target, value, .. } => {
            if let ExprKind::Name(name) = &target.kind {
                names.insert(name);
            }
            visit(target, &mut |e| blocks_of(e, names));
            visit(value, &mut |e| blocks_of(e, names));
        }
        StmtKind::For { over, skip, body, .. } => {
            if let ForOver::Range(lo, hi) = over {
                visit(lo, &mut |e| blocks_of(e, names));
                visit(hi, &mut |e| blocks_of(e, names));
            }
            if let Some(e) = skip {
                visit(e, &mut |e| blocks_of(e, names));
            }
            assigned_in(body, names);
        }
        StmtKind::Expr(e) => visit(e, &mut |e| blocks_of(e, names)),
        StmtKind::Error => {}
    }
}

/// The blocks of one expression itself, not of its parts.
fn blocks_of<'b>(e: &'b Expr, names: &mut BTreeSet<&'b str>) {
    e.each_part(&mut |part| match part {
        Part::Expr(_) => {}
        Part::Block(block) => assigned_in(block, names),
    });
}

/// The names that an expression reads, outside nested blocks.
pub(crate) fn names_in<'b>(e: &'b Expr, names: &mut Vec<&'b str>) {
    visit(e, &mut |e| {
        if let ExprKind::Name(name) = &e.kind {
            names.push(name);
        }
    });
}

/// An expression and its parts; nested blocks are the visitor's business.
fn visit<'b>(e: &'b Expr, f: &mut dyn FnMut(&'b Expr)) {
    f(e);
    e.each_part(&mut |part| match part {
        Part::Expr(e) => visit(e, f),
        Part::Block(_) => {}
    });
}
