//! Evaluates scalar code at compile time: constants, defaults, block sizes, order lengths, the scalar side of pipelines.
//! Tiles and tensors are unknown here.

use std::str::FromStr;

use pantile_diag::{Code, Diagnostic, Diagnostics, FileId, Span};
use pantile_ir::{BinaryOp, DType, UnaryOp};
use pantile_syntax::ast::{
    Arg, BinOp, Block, ConstItem, Expr, ExprKind, FnItem, FnParam, LetName, Stmt, StmtKind, TypeExpr, TypeKind, UnOp,
};

use super::constant::{Const, ConstError};
use super::program::{ItemRef, Program, unknown_name};

/// How many constants and functions one evaluation may enter.
const MAX_CALLS: usize = 20_000;
/// How deep expressions may nest, through constants and functions.
const MAX_NESTING: usize = 400;

/// What a name can stand for in scalar code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum HostValue {
    /// A number or bool.
    Const(Const),
    /// A walk, by the number of its positions.
    Walk(i64),
    /// A dtype, after `as`.
    DType(DType),
    /// Something that scalar code cannot use; "a tensor".
    Other(&'static str),
}

/// Names from outside the code that is evaluated.
pub(crate) type Names<'n> = &'n dyn Fn(&str) -> Option<HostValue>;

/// The operator of the IR that a source operator is; `and`, `or` on bools, `&`, `|` on integers are the same ones.
pub(crate) fn binary_op(op: BinOp) -> BinaryOp {
    match op {
        BinOp::Or | BinOp::BitOr => BinaryOp::Or,
        BinOp::And | BinOp::BitAnd => BinaryOp::And,
        BinOp::BitXor => BinaryOp::Xor,
        BinOp::Eq => BinaryOp::Eq,
        BinOp::Ne => BinaryOp::Ne,
        BinOp::Lt => BinaryOp::Lt,
        BinOp::Le => BinaryOp::Le,
        BinOp::Gt => BinaryOp::Gt,
        BinOp::Ge => BinaryOp::Ge,
        BinOp::Shl => BinaryOp::Shl,
        BinOp::Shr => BinaryOp::Shr,
        BinOp::Add => BinaryOp::Add,
        BinOp::Sub => BinaryOp::Sub,
        BinOp::Mul => BinaryOp::Mul,
        BinOp::Div => BinaryOp::Div,
        BinOp::Rem => BinaryOp::Rem,
    }
}

/// The value of a constant item, converted to its declared type.
pub(crate) fn constant_item(program: &Program, item: &ConstItem, diags: &mut Diagnostics) -> Option<Const> {
    Host::new(program, item.span.file, &|_| None).constant(item, diags)
}

/// An evaluator of scalar code.
pub(crate) struct Host<'p, 'n> {
    pub(super) program: &'p Program,
    file: FileId,
    names: Names<'n>,
    locals: Vec<(LetName, Const)>,
    pub(super) effort: Effort,
}

/// What has been spent on one evaluation, and on what.
#[derive(Default)]
pub(super) struct Effort {
    /// The constants, functions and orders that are being evaluated.
    pub(super) inside: Vec<Span>,
    calls: usize,
    nesting: usize,
}

impl<'p, 'n> Host<'p, 'n> {
    /// For code of `file`, where `names` gives what stands around it.
    pub(crate) fn new(program: &'p Program, file: FileId, names: Names<'n>) -> Self {
        Self { program, file, names, locals: Vec::new(), effort: Effort::default() }
    }

    /// The value of an expression. `None` after an error has been said.
    pub(crate) fn eval(&mut self, expr: &Expr, diags: &mut Diagnostics) -> Option<Const> {
        match self.value(expr, diags)? {
            HostValue::Const(x) => Some(x),
            HostValue::Walk(_) => self.not_scalar(expr.span, "an order", diags),
            HostValue::DType(_) => self.not_scalar(expr.span, "a dtype", diags),
            HostValue::Other(what) => self.not_scalar(expr.span, what, diags),
        }
    }

    /// The value of an expression that must be an integer.
    pub(crate) fn eval_int(&mut self, expr: &Expr, diags: &mut Diagnostics) -> Option<i64> {
        let value = self.eval(expr, diags)?;
        let Some(x) = value.as_int() else {
            let message = format!("an int is needed here, not {}", value.describe());
            diags.push(Diagnostic::error(Code::E0301, expr.span, message, format!("this is {value}")));
            return None;
        };
        Some(x)
    }

    /// The value of an expression that must be a bool.
    pub(crate) fn eval_bool(&mut self, expr: &Expr, diags: &mut Diagnostics) -> Option<bool> {
        let value = self.eval(expr, diags)?;
        let Some(x) = value.as_bool() else {
            let message = format!("a condition must be a bool, not {}", value.describe());
            diags.push(Diagnostic::error(Code::E0304, expr.span, message, format!("this is {value}")));
            return None;
        };
        Some(x)
    }

    fn not_scalar(&self, span: Span, what: &str, diags: &mut Diagnostics) -> Option<Const> {
        let message = format!("a number or bool is needed here, not {what}");
        diags.push(Diagnostic::error(Code::E0103, span, message, format!("this is {what}")));
        None
    }

    fn value(&mut self, expr: &Expr, diags: &mut Diagnostics) -> Option<HostValue> {
        if self.effort.nesting >= MAX_NESTING {
            diags.push(Diagnostic::error(Code::E0307, expr.span, "this nests too deeply to be computed", "too deep"));
            return None;
        }
        self.effort.nesting += 1;
        let value = self.value_of(expr, diags);
        self.effort.nesting -= 1;
        value
    }

    fn value_of(&mut self, expr: &Expr, diags: &mut Diagnostics) -> Option<HostValue> {
        let constant = |x: Option<Const>| x.map(HostValue::Const);
        match &expr.kind {
            ExprKind::Int(x) | ExprKind::Size(x) => Some(HostValue::Const(Const::Int(*x))),
            ExprKind::Float(x) => Some(HostValue::Const(Const::Float(*x))),
            ExprKind::Bool(x) => Some(HostValue::Const((*x).into())),
            ExprKind::Name(name) => self.name(name, expr.span, diags),
            ExprKind::Unary(op, x) => {
                let x = self.eval(x, diags)?;
                let op = match op {
                    UnOp::Neg => UnaryOp::Neg,
                    UnOp::Not => UnaryOp::Not,
                };
                constant(said(x.unary(op), expr.span, diags))
            }
            ExprKind::Binary(op, a, b) => constant(self.binary(*op, a, b, expr.span, diags)),
            ExprKind::Cast(x, ty) => {
                let x = self.eval(x, diags);
                constant(self.cast(x?, ty, diags))
            }
            ExprKind::If { cond, then, otherwise } => {
                let cond = self.eval_bool(cond, diags)?;
                match (cond, otherwise) {
                    (true, _) => constant(self.block(then, diags)),
                    (false, Some(block)) => constant(self.block(block, diags)),
                    (false, None) => self.no_value(expr.span, diags),
                }
            }
            ExprKind::Block(block) => constant(self.block(block, diags)),
            ExprKind::Call { name, consts: _, args } => match self.program.lookup(self.file, &name.node) {
                Some(ItemRef::Order(item)) => self.order_value(item, args, expr.span, diags),
                Some(_) | None => constant(self.call(&name.node, name.span, args, expr.span, diags)),
            },
            ExprKind::Str(_) | ExprKind::Index { .. } | ExprKind::Tuple(_) | ExprKind::All(_) => {
                let message = "only numbers and bools can be computed here";
                diags.push(Diagnostic::error(Code::E0501, expr.span, message, "not a compile-time value"));
                None
            }
            ExprKind::Error => None,
        }
    }

    fn no_value(&self, span: Span, diags: &mut Diagnostics) -> Option<HostValue> {
        let error = Diagnostic::error(Code::E0301, span, "this code gives no value", "no value");
        diags.push(error.with_help("end it with an expression without `;`"));
        None
    }

    fn name(&mut self, name: &str, span: Span, diags: &mut Diagnostics) -> Option<HostValue> {
        if let Some((_, value)) = self.locals.iter().rev().find(|(n, _)| n.name.node == name) {
            return Some(HostValue::Const(*value));
        }
        if let Some(value) = (self.names)(name) {
            return Some(value);
        }
        match self.program.lookup(self.file, name) {
            Some(ItemRef::Const(item)) => self.constant(item, diags).map(HostValue::Const),
            Some(it @ (ItemRef::Fn(_) | ItemRef::Order(_) | ItemRef::Kernel(_) | ItemRef::Pipeline(_))) => {
                let message = format!("`{name}` is {}, not a value", it.describe());
                diags.push(
                    Diagnostic::error(Code::E0103, span, message, "not a value")
                        .with_label(it.name().span, "defined here"),
                );
                None
            }
            None => match builtin_constant(name) {
                Some(x) => Some(HostValue::Const(Const::Float(x))),
                None => {
                    let locals: Vec<&str> = self.locals.iter().map(|(n, _)| n.name.node.as_str()).collect();
                    let known = self.program.names(self.file).chain(locals);
                    diags.push(unknown_name(name, span, "compile-time value", known));
                    None
                }
            },
        }
    }

    fn constant(&mut self, item: &ConstItem, diags: &mut Diagnostics) -> Option<Const> {
        self.entered(item.name.span, item.name.span, &item.name.node, diags)?;
        let mut inner = Host::new(self.program, item.span.file, &|_| None);
        inner.effort = std::mem::take(&mut self.effort);
        let value = inner.eval(&item.value, diags);
        let value = value.and_then(|value| inner.declared(value, &item.ty, item.value.span, diags));
        self.effort = inner.effort;
        self.effort.inside.pop();
        value
    }

    /// Notes that a constant or function is entered, unless it is entered already or too many have been.
    pub(super) fn entered(&mut self, item: Span, from: Span, name: &str, diags: &mut Diagnostics) -> Option<()> {
        let message = if self.effort.inside.contains(&item) {
            format!("`{name}` is defined by itself")
        } else if self.effort.calls >= MAX_CALLS {
            "this takes too long to compute at compile time".to_owned()
        } else {
            self.effort.calls += 1;
            self.effort.inside.push(item);
            return Some(());
        };
        diags.push(Diagnostic::error(Code::E0502, from, message, "needed here").with_label(item, "defined here"));
        None
    }

    fn binary(&mut self, op: BinOp, a: &Expr, b: &Expr, span: Span, diags: &mut Diagnostics) -> Option<Const> {
        let left = self.eval(a, diags);
        match (op, left.and_then(Const::as_bool)) {
            (BinOp::And, Some(false)) => return Some(false.into()),
            (BinOp::Or, Some(true)) => return Some(true.into()),
            _ => {}
        }
        let right = self.eval(b, diags);
        said(left?.binary(binary_op(op), right?), span, diags)
    }

    fn cast(&mut self, x: Const, ty: &TypeExpr, diags: &mut Diagnostics) -> Option<Const> {
        match self.scalar_type(ty, diags)? {
            Some(dtype) => Some(x.cast(dtype)),
            None => Some(x.cast_int()),
        }
    }

    /// `value` as the type it is declared to have: converted, never cast.
    pub(crate) fn declared(
        &mut self,
        value: Const,
        ty: &TypeExpr,
        span: Span,
        diags: &mut Diagnostics,
    ) -> Option<Const> {
        match self.scalar_type(ty, diags)? {
            Some(dtype) => said(value.convert(dtype).map(|x| Const::Typed(dtype, x)), span, diags),
            None => match value {
                Const::Int(x) => Some(Const::Int(x)),
                Const::Float(_) | Const::Typed(..) => {
                    let message = format!("an int is declared, but this is {}", value.describe());
                    diags.push(
                        Diagnostic::error(Code::E0301, span, message, format!("this is {value}"))
                            .with_label(ty.span, "declared here"),
                    );
                    None
                }
            },
        }
    }

    /// The dtype that a type names; `Some(None)` is `int`.
    #[allow(clippy::option_option, reason = "the outer one is whether an error was said")]
    fn scalar_type(&mut self, ty: &TypeExpr, diags: &mut Diagnostics) -> Option<Option<DType>> {
        match &ty.kind {
            TypeKind::Name(name) if name == "int" => Some(None),
            TypeKind::Name(name) => {
                let bound = match (self.names)(name) {
                    Some(HostValue::DType(dtype)) => Some(dtype),
                    Some(HostValue::Const(_) | HostValue::Walk(_) | HostValue::Other(_)) | None => None,
                };
                let dtype = DType::from_str(name).ok().or(bound);
                if dtype.is_none() {
                    let known = DType::ALL.iter().map(|d| d.name()).chain(["int"]);
                    diags.push(unknown_name(name, ty.span, "type", known));
                }
                dtype.map(Some)
            }
            TypeKind::Tensor { .. } | TypeKind::Mask(_) | TypeKind::Tile { .. } => {
                diags.push(Diagnostic::error(Code::E0103, ty.span, "a scalar type is needed here", "not a scalar"));
                None
            }
        }
    }

    /// Runs a block in a scope of its own; its value is its tail.
    pub(crate) fn block(&mut self, block: &Block, diags: &mut Diagnostics) -> Option<Const> {
        let outer = self.locals.len();
        let done = block.stmts.iter().try_for_each(|stmt| self.stmt(stmt, diags));
        let value = match (&block.tail, done) {
            (_, None) => None,
            (Some(tail), Some(())) => self.eval(tail, diags),
            (None, Some(())) => self.no_value(block.span, diags).and(None),
        };
        self.locals.truncate(outer);
        value
    }

    /// Runs a statement. `None` after an error has been said.
    pub(crate) fn stmt(&mut self, stmt: &Stmt, diags: &mut Diagnostics) -> Option<()> {
        match &stmt.kind {
            StmtKind::Let { names, tuple: _, ty, value } => self.bind(names, ty.as_ref(), value, diags),
            StmtKind::Assign { target, op, atomic: _, value } => self.assign(target, *op, value, diags),
            StmtKind::Expr(Expr { kind: ExprKind::Call { name, args, .. }, span }) if name.node == "assert" => {
                self.assert(args, *span, diags)
            }
            StmtKind::Expr(Expr { kind: ExprKind::If { cond, then, otherwise }, .. }) => {
                let chosen = if self.eval_bool(cond, diags)? { Some(then) } else { otherwise.as_ref() };
                chosen.map_or(Some(()), |block| self.effects(block, diags))
            }
            StmtKind::Expr(expr) => self.eval(expr, diags).map(|_| ()),
            StmtKind::For { name, .. } => {
                let message = "loops are not evaluated at compile time";
                diags.push(Diagnostic::error(Code::E0501, name.span, message, "a loop"));
                None
            }
            StmtKind::Error => None,
        }
    }

    fn effects(&mut self, block: &Block, diags: &mut Diagnostics) -> Option<()> {
        let outer = self.locals.len();
        let mut done = block.stmts.iter().try_for_each(|stmt| self.stmt(stmt, diags));
        if let (Some(()), Some(tail)) = (done, &block.tail) {
            done = self.stmt(&Stmt { kind: StmtKind::Expr((**tail).clone()), span: tail.span }, diags);
        }
        self.locals.truncate(outer);
        done
    }

    fn bind(&mut self, names: &[LetName], ty: Option<&TypeExpr>, value: &Expr, diags: &mut Diagnostics) -> Option<()> {
        let parts: Vec<&Expr> = if let (ExprKind::Tuple(parts), true) = (&value.kind, names.len() > 1) {
            parts.iter().collect()
        } else {
            vec![value]
        };
        if parts.len() != names.len() {
            let message = format!("{} names, but {} values", names.len(), parts.len());
            diags.push(Diagnostic::error(Code::E0305, value.span, message, format!("{} values", parts.len())));
            return None;
        }
        let values: Vec<Option<Const>> = parts
            .into_iter()
            .map(|e| {
                let value = self.eval(e, diags)?;
                ty.map_or(Some(value), |ty| self.declared(value, ty, e.span, diags))
            })
            .collect();
        for (name, value) in names.iter().zip(values) {
            self.locals.push((name.clone(), value?));
        }
        Some(())
    }

    fn assign(&mut self, target: &Expr, op: Option<BinOp>, value: &Expr, diags: &mut Diagnostics) -> Option<()> {
        let right = self.eval(value, diags)?;
        let local = if let ExprKind::Name(name) = &target.kind {
            self.locals.iter_mut().rev().find(|(n, _)| n.name.node == *name)
        } else {
            None
        };
        let Some((name, slot)) = local else {
            diags.push(Diagnostic::error(Code::E0402, target.span, "only a `let mut` can be assigned here", "not one"));
            return None;
        };
        if !name.mutable {
            let message = format!("`{}` is not mutable", name.name.node);
            diags.push(
                Diagnostic::error(Code::E0402, target.span, message, "cannot be assigned")
                    .with_label(name.name.span, "defined without `mut`")
                    .with_help(format!("write `let mut {}`", name.name.node)),
            );
            return None;
        }
        *slot = match op {
            None => right,
            Some(op) => said(slot.binary(binary_op(op), right), target.span.to(value.span), diags)?,
        };
        Some(())
    }

    fn assert(&mut self, args: &[Arg], span: Span, diags: &mut Diagnostics) -> Option<()> {
        let (cond, text) = match args {
            [Arg::Value(cond)] => (cond, "this requirement"),
            [Arg::Value(cond), Arg::Value(Expr { kind: ExprKind::Str(text), .. })] => (cond, text.as_str()),
            _ => {
                diags.push(arity("assert", "a condition and a text", span));
                return None;
            }
        };
        if self.eval_bool(cond, diags)? {
            return Some(());
        }
        diags.push(Diagnostic::error(Code::E0603, span, format!("requirement not met: {text}"), "does not hold here"));
        None
    }

    fn call(&mut self, name: &str, at: Span, args: &[Arg], span: Span, diags: &mut Diagnostics) -> Option<Const> {
        if let Some(ItemRef::Fn(item)) = self.program.lookup(self.file, name) {
            return self.inline(item, args, span, diags);
        }
        // What a call without arguments gives may be known to the surroundings alone: `smem()` of a `tune` block.
        if let (true, Some(HostValue::Const(x))) = (args.is_empty(), (self.names)(&format!("{name}()"))) {
            return Some(x);
        }
        let mut values = Vec::new();
        for arg in args {
            match arg {
                Arg::Value(e) => values.push(self.value(e, diags).map(|v| (v, e.span))),
                Arg::Over(_, s) | Arg::As(_, s) => diags.push(arity(name, "scalars", *s)),
                Arg::At(e) | Arg::Via(_, e) | Arg::Named(_, e) => diags.push(arity(name, "scalars", e.span)),
            }
        }
        let values: Vec<(HostValue, Span)> = values.into_iter().collect::<Option<_>>()?;
        let scalars: Vec<Const> = values
            .iter()
            .map(|(v, span)| match v {
                HostValue::Const(x) => Some(*x),
                HostValue::Walk(len) if matches!(name, "len" | "blocks") => Some(Const::Int(*len)),
                HostValue::Walk(_) => self.not_scalar(*span, "an order", diags),
                HostValue::DType(_) => self.not_scalar(*span, "a dtype", diags),
                HostValue::Other(what) => self.not_scalar(*span, what, diags),
            })
            .collect::<Option<_>>()?;
        match self.builtin(name, &scalars) {
            Some(result) => said(result, span, diags),
            None if is_builtin(name) => {
                diags.push(arity(name, "another number of scalars", span));
                None
            }
            None => {
                let known = self.program.names(self.file).chain(BUILTINS.iter().copied());
                diags.push(unknown_name(name, at, "compile-time function", known));
                None
            }
        }
    }

    /// A builtin's result; `None` if there is none of that name and arity.
    fn builtin(&self, name: &str, args: &[Const]) -> Option<Result<Const, ConstError>> {
        match (name, args) {
            ("min", [a, b]) => Some(a.binary(BinaryOp::Min, *b)),
            ("max", [a, b]) => Some(a.binary(BinaryOp::Max, *b)),
            ("cdiv" | "blocks", [a, b]) => Some(cdiv(*a, *b)),
            ("len", [a]) => Some(Ok(*a)),
            ("clamp", [x, lo, hi]) => Some(x.binary(BinaryOp::Max, *lo).and_then(|x| x.binary(BinaryOp::Min, *hi))),
            ("where", [c, a, b]) => c.as_bool().map(|c| Ok(if c { *a } else { *b })),
            (_, [x]) => UnaryOp::from_str(name)
                .ok()
                .filter(|op| !matches!(op, UnaryOp::Neg | UnaryOp::Not))
                .map(|op| x.unary(op)),
            _ => None,
        }
    }

    fn inline(&mut self, item: &FnItem, args: &[Arg], span: Span, diags: &mut Diagnostics) -> Option<Const> {
        if item.params.len() != args.len() {
            let message = format!("`{}` takes {} arguments, not {}", item.name.node, item.params.len(), args.len());
            diags.push(
                Diagnostic::error(Code::E0305, span, message, "wrong number of arguments")
                    .with_label(item.name.span, "defined here"),
            );
            return None;
        }
        let mut locals = Vec::new();
        for (param, arg) in item.params.iter().zip(args) {
            let (FnParam::Value { name, ty }, Arg::Value(e)) = (param, arg) else {
                diags.push(arity(&item.name.node, "scalars", span));
                return None;
            };
            let mut value = self.eval(e, diags)?;
            if let Some(ty) = ty {
                value = Host::new(self.program, item.span.file, &|_| None).declared(value, ty, e.span, diags)?;
            }
            locals.push((LetName { name: name.clone(), mutable: false }, value));
        }
        self.entered(item.name.span, span, &item.name.node, diags)?;
        let mut inner = Host { locals, ..Host::new(self.program, item.span.file, &|_| None) };
        inner.effort = std::mem::take(&mut self.effort);
        let value = inner.block(&item.body, diags);
        self.effort = inner.effort;
        self.effort.inside.pop();
        value
    }
}

/// The compile-time functions that are no element-wise op.
const BUILTINS: &[&str] = &["min", "max", "cdiv", "blocks", "len", "clamp", "where", "assert"];

/// Whether scalar code can call a function of that name without defining it.
pub(crate) fn is_builtin(name: &str) -> bool {
    BUILTINS.contains(&name) || UnaryOp::from_str(name).is_ok()
}

/// `inf` and `nan`.
pub(crate) fn builtin_constant(name: &str) -> Option<f64> {
    match name {
        "inf" => Some(f64::INFINITY),
        "nan" => Some(f64::NAN),
        _ => None,
    }
}

/// ⌈a ÷ b⌉ of integers.
pub(crate) fn cdiv(a: Const, b: Const) -> Result<Const, ConstError> {
    let (quotient, rest) = (a.binary(BinaryOp::Div, b)?, a.binary(BinaryOp::Rem, b)?);
    let (Some(r), Some(d)) = (rest.as_int(), b.as_int()) else {
        let class = BinaryOp::Shl.class();
        return Err(ConstError::NotDefined("cdiv", class, a.describe()));
    };
    // Truncation is already the ceiling where the quotient is negative.
    if r != 0 && (r > 0) == (d > 0) { quotient.binary(BinaryOp::Add, Const::Int(1)) } else { Ok(quotient) }
}

/// The value, or the error said.
pub(crate) fn said(result: Result<Const, ConstError>, span: Span, diags: &mut Diagnostics) -> Option<Const> {
    match result {
        Ok(value) => Some(value),
        Err(why) => {
            diags.push(Diagnostic::error(why.code(), span, why.to_string(), "computed here"));
            None
        }
    }
}

fn arity(name: &str, takes: &str, span: Span) -> Diagnostic {
    Diagnostic::error(Code::E0305, span, format!("`{name}` takes {takes} here"), "wrong arguments")
}
