//! Statements: `let`, assignment to variables, expressions for their effect. Stores are `store.rs`'s business, loops
//! `loops.rs`'s.

use pantile_diag::{Code, Diagnostic, Span};
use pantile_ir::{DType, DimId, ParamId};
use pantile_syntax::ast::{BinOp, Expr, ExprKind, LetName, Stmt, StmtKind, TypeExpr, TypeKind};

use super::sema::Sema;
use super::value::{Lanes, Num, Operand, Tile, Val, Var};
use crate::check::constant::Const;
use crate::check::host::binary_op;

impl<'p> Sema<'p, '_> {
    /// Runs a statement. An error in it leaves the rest to be looked at.
    pub(crate) fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Let { names, tuple, ty, value } => self.bind(names, *tuple, ty.as_ref(), value),
            StmtKind::Assign { target, op, atomic, value } => {
                self.assign(target, *op, *atomic, value, stmt.span);
            }
            StmtKind::For { name, over, skip, body } => {
                self.deeper(stmt.span, |cx| cx.for_loop(name, over, skip.as_ref(), body, stmt.span));
            }
            StmtKind::Expr(e) => self.effect(e),
            StmtKind::Error => {
                // What did not parse may have been a store.
                let outs = (0..self.b.func.params.len() as u32).map(ParamId);
                self.stored.extend(outs);
            }
        }
    }

    /// An expression for its effect; a value that is thrown away is a slip.
    pub(crate) fn effect(&mut self, e: &Expr) {
        let val = self.expr(e);
        match val {
            Val::Unit | Val::Error => {}
            Val::Num(_)
            | Val::Extent(_)
            | Val::Block(_)
            | Val::Dims(_)
            | Val::Param(_)
            | Val::Order(..)
            | Val::Tuple(_)
            | Val::Str(_)
            | Val::DType(_) => {
                let what = self.describe(&val);
                let warning =
                    Diagnostic::warning(Code::W0901, e.span, "this value is not used", format!("this is {what}"));
                self.say::<()>(warning.with_help("name it, `let x = …;`, or store it, `out[…] = …;`"));
            }
        }
    }

    fn bind(&mut self, names: &[LetName], tuple: bool, ty: Option<&TypeExpr>, value: &Expr) {
        if !tuple && let [one] = names {
            let val = self.named(one, value);
            return self.bind_one(one, val, ty, value.span);
        }
        if let ExprKind::Tuple(items) = &value.kind
            && items.len() == names.len()
        {
            let vals: Vec<_> = names.iter().zip(items).map(|(name, item)| self.named(name, item)).collect();
            for ((name, val), item) in names.iter().zip(vals).zip(items) {
                self.bind_one(name, val, ty, item.span);
            }
            return;
        }
        let val = self.expr(value);
        let parts = self.parts(val, names.len(), value.span).unwrap_or_else(|| vec![Val::Error; names.len()]);
        for (name, part) in names.iter().zip(parts) {
            self.bind_one(name, part, ty, value.span);
        }
    }

    /// A value that gets a name; a new dimension gets it too.
    fn named(&mut self, name: &LetName, value: &Expr) -> Val<'p> {
        self.naming = Some((name.name.node.clone(), name.name.span));
        let val = self.expr(value);
        self.naming = None;
        val
    }

    /// The parts of a tuple of `count`.
    fn parts(&mut self, val: Val<'p>, count: usize, span: Span) -> Option<Vec<Val<'p>>> {
        let what = self.describe(&val);
        match val.known()? {
            Val::Tuple(parts) if parts.len() == count => Some(parts),
            Val::Tuple(_)
            | Val::Error
            | Val::Unit
            | Val::Num(_)
            | Val::Extent(_)
            | Val::Block(_)
            | Val::Dims(_)
            | Val::Param(_)
            | Val::Order(..)
            | Val::Str(_)
            | Val::DType(_) => self.error(Code::E0305, span, format!("{count} names, but {what}"), what),
        }
    }

    fn bind_one(&mut self, name: &LetName, val: Val<'p>, ty: Option<&TypeExpr>, span: Span) {
        let declared = ty.map(|ty| self.declared(ty));
        let dtype = declared.as_ref().and_then(|d| d.map(|(dtype, _)| dtype));
        let val = match (val, declared) {
            (Val::Unit, _) => {
                let error = Diagnostic::error(Code::E0103, span, "this gives no value to name", "no value");
                self.say::<()>(error.with_help("a block's value is its last expression, without `;`"));
                Val::Error
            }
            (val, None) => val,
            (_, Some(None)) | (Val::Error, _) => Val::Error,
            (val, Some(Some((dtype, is_int)))) => self.as_declared(val, dtype, is_int, span).unwrap_or(Val::Error),
        };
        let dim = if let Val::Num(Num::Tile(Tile { lanes: Some(Lanes::Pos(d)), .. })) = &val { Some(*d) } else { None };
        let dim = dim.filter(|d| self.dim_spans[d.index()] == name.name.span);
        let var = Var { val, mutable: name.mutable, span: name.name.span, what: "a variable", declared: dtype, dim };
        self.declare(&name.name.node, var);
    }

    fn declared(&mut self, ty: &TypeExpr) -> Option<(DType, bool)> {
        match &ty.kind {
            TypeKind::Name(_) | TypeKind::Tensor { .. } | TypeKind::Mask(_) => self.scalar_type(ty),
            TypeKind::Tile { dtype, .. } => self.dtype(&dtype.node, dtype.span).map(|d| (d, false)),
        }
    }

    /// A value as the dtype it is declared to have; `int` keeps a constant a constant.
    fn as_declared(&mut self, val: Val<'p>, dtype: DType, is_int: bool, span: Span) -> Option<Val<'p>> {
        match self.number(val, span)? {
            Num::Const(Const::Int(x)) if is_int => Some(Const::Int(x).into()),
            Num::Const(x) => match super::convert::adapt(x, dtype) {
                Ok(scalar) => Some(Const::Typed(dtype, scalar).into()),
                Err(_) => self.instantiate(x, dtype, span).map(Val::from),
            },
            num @ Num::Tile(_) => self.convert(&Operand { num, span }, dtype, "the declared type").map(Val::from),
        }
    }

    fn assign(&mut self, target: &Expr, op: Option<BinOp>, atomic: bool, value: &Expr, span: Span) -> Option<()> {
        match &target.kind {
            ExprKind::Index { base, index } => self.store(base, index, op, atomic, value, span),
            ExprKind::Name(name) => {
                if atomic {
                    let message = "only a store to a tensor can be atomic";
                    self.error::<()>(Code::E0402, target.span, message, "a variable");
                }
                self.assign_name(name, target.span, op, value, span)
            }
            ExprKind::Error => {
                self.expr(value);
                None
            }
            ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Bool(_)
            | ExprKind::Str(_)
            | ExprKind::Call { .. }
            | ExprKind::Unary(..)
            | ExprKind::Binary(..)
            | ExprKind::Cast(..)
            | ExprKind::If { .. }
            | ExprKind::Tuple(_)
            | ExprKind::All(_)
            | ExprKind::Size(_)
            | ExprKind::Block(_) => {
                self.expr(value);
                let error = Diagnostic::error(
                    Code::E0402,
                    target.span,
                    "this cannot be assigned",
                    "neither a variable nor `t[…]`",
                );
                self.say(error.with_help("assign to a `let mut` variable, or store to an output: `out[…] = …;`"))
            }
        }
    }

    fn assign_name(&mut self, name: &str, at: Span, op: Option<BinOp>, value: &Expr, span: Span) -> Option<()> {
        let right = self.operand_of(value);
        let Some((depth, var)) = self.find(name) else { return self.unknown(name, at, "variable") };
        let var = var.clone();
        if !var.mutable {
            let error = Diagnostic::error(Code::E0402, at, format!("`{name}` cannot be assigned"), var.what);
            let error = error.with_label(var.span, "declared here");
            let param = matches!(var.val, Val::Param(_));
            let help = if param {
                format!("a tensor is stored to with an index: `{name}[…] = …;`")
            } else {
                format!("declare it as one that may be: `let mut {name} = …;`")
            };
            return self.say(error.with_help(help));
        }
        let val = self.assigned(name, &var, right, at, op, span).unwrap_or(Val::Error);
        if let Some(slot) = self.scopes.get_mut(depth).and_then(|s| s.get_mut(name)) {
            slot.val = val;
        }
        Some(())
    }

    /// What a variable is after an assignment.
    fn assigned(
        &mut self,
        name: &str,
        var: &Var<'p>,
        right: Option<Operand>,
        at: Span,
        op: Option<BinOp>,
        span: Span,
    ) -> Option<Val<'p>> {
        let right = right?;
        let old = self.number(var.val.clone(), at)?;
        let left = Operand { num: old.clone(), span: at };
        let new = match op {
            Some(op) => Operand { num: self.binary(binary_op(op), &left, &right, span)?, span: right.span },
            None => right,
        };
        let (dtype, dims) = match (&old, &new.num) {
            (Num::Const(a), Num::Const(b)) => return self.assigned_const(*a, *b, var, new.span).map(Val::from),
            (Num::Const(c), Num::Tile(t)) => {
                let to = self.ty(t.value).dtype();
                let dtype = match (c.dtype(), super::convert::adapt(*c, to)) {
                    (Some(dtype), _) => dtype,
                    (None, Ok(_)) => to,
                    (None, Err(_)) => self.soft_dtype(&self.key(var.span), *c),
                };
                (dtype, Vec::new())
            }
            (Num::Tile(t), _) => {
                let ty = self.ty(t.value);
                (ty.dtype(), ty.dims().to_vec())
            }
        };
        self.fits(name, var, &old, &new, dtype, &dims)
    }

    fn assigned_const(&mut self, old: Const, new: Const, var: &Var<'p>, span: Span) -> Option<Num> {
        match old.dtype().or(var.declared) {
            None if matches!((old, new), (Const::Int(_), Const::Float(_))) => {
                let error = Diagnostic::error(Code::E0306, span, "this makes an int variable a float", "a float");
                let error = error.with_label(var.span, "starts as an int here");
                self.say(error.with_help("start it with a float: `0.0`"))
            }
            None => Some(Num::Const(new)),
            Some(dtype) => match super::convert::adapt(new, dtype) {
                Ok(x) => Some(Num::Const(Const::Typed(dtype, x))),
                Err(_) => self.instantiate(new, dtype, span).map(|v| Num::Tile(v.into())),
            },
        }
    }

    /// A new value as the type that a variable has.
    fn fits(
        &mut self,
        name: &str,
        var: &Var<'p>,
        old: &Num,
        new: &Operand,
        dtype: DType,
        dims: &[DimId],
    ) -> Option<Val<'p>> {
        // A literal that the variable started as is settled by what is assigned to it.
        if let (Num::Tile(Tile { soft: Some(key), .. }), Some(to)) = (old, self.dtype_of(&new.num))
            && matches!(&new.num, Num::Tile(Tile { soft: None, .. }))
            && to != dtype
            && to != DType::Bool
            && (to.is_float() || dtype.is_int())
            && self.learn(key, to)
        {
            return None;
        }
        let found = self.dims(&new.num);
        if let Some(d) = found.iter().copied().find(|d| !dims.contains(d)) {
            return self.changes_dims(name, var, old, new, d);
        }
        if let Num::Const(x) = &new.num
            && super::convert::adapt(*x, dtype).is_err()
        {
            let message = format!("`{name}` is {dtype} and stays so, but this is {x}");
            let error = Diagnostic::error(Code::E0306, new.span, message, format!("no value of {dtype}"));
            let error = error.with_label(var.span, format!("{dtype} since here"));
            return self.say(error.with_help(format!("give it its type where it starts: `let mut {name}: f32 = …;`")));
        }
        let soft = match old {
            Num::Tile(t) => t.soft.clone(),
            Num::Const(_) => None,
        };
        let t = self.convert(new, dtype, &format!("`{name}`"))?;
        let t = self.broadcast(&t, dims, new.span)?;
        Some(Tile { soft, lanes: None, form: None, ..t }.into())
    }

    /// E0306: a value with dims that the variable lacks.
    fn changes_dims(&mut self, name: &str, var: &Var<'p>, old: &Num, new: &Operand, dim: DimId) -> Option<Val<'p>> {
        let was = if old.constant().is_some() { "a scalar".to_owned() } else { self.show_num(old) };
        let is = self.show_num(&new.num);
        let d = self.dim_name(dim).to_owned();
        let message = format!("`{name}` is {was} and stays so, but this is {is}");
        let error = Diagnostic::error(Code::E0306, new.span, message, format!("has dimension `{d}`"))
            .with_label(var.span, format!("declared as {was} here"));
        let error = self.label_dim(error, dim);
        let help = if self.loop_dims.contains_key(&dim) {
            format!("`{d}` ends with its loop: reduce it, `sum(…, over {d})`, or store the result in the loop")
        } else {
            let all = self.dims(&new.num);
            let names: Vec<&str> = all.iter().map(|d| self.dim_name(*d)).collect();
            format!("start it with all its dimensions: `fill(…, over ({}))`", names.join(", "))
        };
        self.say(error.with_help(help))
    }
}
