//! Walks a pipeline's body with all its numbers and writes down the steps. Calls are `call.rs`'s business, launches
//! `launch.rs`'s.

use std::sync::Arc;

use pantile_diag::{Code, Diagnostic, Diagnostics, FileId, Span};
use pantile_ir::{Func, Order};
use pantile_syntax::ast::{
    Arg, BinOp, Block, Expr, ExprKind, KernelItem, LetName, PipelineItem, Stmt, StmtKind, TypeExpr,
};

use super::frame::Frame;
use super::view::{AxisState, AxisView, MaskView, Value, View};
use super::{Buffer, BufferKind, Note, Plan, PlanBindings, Role, Step, memory};
use crate::check::constant::Const;
use crate::check::host::{Host, binary_op, builtin_constant, said};
use crate::check::orders::OrderArgs;
use crate::check::program::{Program, unknown_name};
use crate::infer::Sizes;
use crate::signature::{AxisInfo, ExtentInfo, ParamType, Signature};
use crate::{ArgShape, Bindings, infer};

/// How deep expressions may nest, through pipelines.
const MAX_NESTING: usize = 300;

/// Turns a kernel and its bindings into code.
pub(crate) type Specialise<'s> = &'s mut dyn FnMut(&KernelItem, &Bindings, &mut Diagnostics) -> Option<Func>;

/// A plan under way.
pub(crate) struct Planner<'p, 's> {
    pub(super) program: &'p Program,
    pub(super) specialise: Specialise<'s>,
    pub(super) diags: &'s mut Diagnostics,
    pub(super) buffers: Vec<Buffer>,
    pub(super) steps: Vec<Step>,
    pub(super) notes: Vec<Note>,
    /// Orders that have been built: item, arguments, extent.
    pub(super) orders: Vec<OrderRow>,
    /// Kernels that have been specialised.
    pub(super) funcs: Vec<(Span, Bindings, Arc<Func>)>,
    /// Copies that have been made: buffer, axis, order, and the buffer that is the copy.
    pub(super) copies: Vec<(usize, usize, Arc<Order>, usize)>,
    /// The pipelines that are being inlined.
    pub(super) inside: Vec<Span>,
    /// How many calls have been made.
    pub(super) calls: usize,
    /// How deep expressions nest, through pipelines.
    nesting: usize,
    /// How many `if`s are around whose conditions hang on what a caller gives.
    doubt: usize,
    /// Whether the numbers mean something. If they are made up, nothing is elaborated and disagreement is let pass.
    pub(super) sizes: Sizes,
}

/// An order that has been built, by what it was built from.
pub(super) struct OrderRow {
    pub(super) item: Span,
    pub(super) args: OrderArgs,
    pub(super) extent: i64,
    pub(super) order: Arc<Order>,
}

/// The plan of a pipeline for these arguments, whose orders are named as in the file `root`; `None` after errors have been said.
pub(crate) fn plan(
    (program, root): (&Program, FileId),
    item: &PipelineItem,
    signature: &Signature,
    bind: &PlanBindings,
    specialise: Specialise<'_>,
    diags: &mut Diagnostics,
) -> Option<Plan> {
    let inferred = match infer(signature, &bind.args, &bind.fixed) {
        Ok(inferred) => inferred,
        Err(why) => {
            let error = Diagnostic::error(Code::E0503, item.name.span, why.to_string(), "called with these arguments");
            diags.push(error);
            return None;
        }
    };
    let mut planner = Planner::new(program, specialise, diags, Sizes::Agree);
    let args = planner.inputs(signature, &bind.args, root);
    let mut frame = planner.frame(item, signature, inferred.bindings, args);
    planner.inside.push(item.name.span);
    planner.body(&mut frame, &item.body);
    planner.outputs(item, frame)?;
    if planner.diags.has_errors() {
        return None;
    }
    planner.share();
    planner.elide()?;
    planner.group();
    let Planner { mut buffers, steps, notes, .. } = planner;
    let places = memory::place(&mut buffers, &steps);
    Some(Plan { name: signature.name.clone(), buffers, places, steps, notes })
}

/// Checks a pipeline's body with made-up arguments: names, kinds, dtypes, constants. Sizes are not checked.
pub(crate) fn check(
    program: &Program,
    item: &PipelineItem,
    signature: &Signature,
    args: &[ArgShape],
    bindings: Bindings,
    diags: &mut Diagnostics,
) {
    let mut specialise = |_: &KernelItem, _: &Bindings, _: &mut Diagnostics| None;
    let mut planner = Planner::new(program, &mut specialise, diags, Sizes::MadeUp);
    let args = planner.inputs(signature, args, item.name.span.file);
    let mut frame = planner.frame(item, signature, bindings, args);
    planner.inside.push(item.name.span);
    planner.body(&mut frame, &item.body);
    planner.outputs(item, frame);
}

impl<'p, 's> Planner<'p, 's> {
    fn new(program: &'p Program, specialise: Specialise<'s>, diags: &'s mut Diagnostics, sizes: Sizes) -> Self {
        Planner {
            program,
            specialise,
            diags,
            buffers: Vec::new(),
            steps: Vec::new(),
            notes: Vec::new(),
            orders: Vec::new(),
            funcs: Vec::new(),
            copies: Vec::new(),
            inside: Vec::new(),
            calls: 0,
            nesting: 0,
            doubt: 0,
            sizes,
        }
    }
}

impl<'p> Planner<'p, '_> {
    /// The arguments as values; tensors and masks become input buffers. Missing ones have defaults.
    fn inputs(&mut self, signature: &Signature, args: &[ArgShape], root: FileId) -> Vec<Value<'p>> {
        let mut values = Vec::new();
        for (n, param) in signature.params.iter().enumerate() {
            values.push(match args.get(n) {
                Some(ArgShape::Tensor { dtype, shape }) => {
                    let what = BufferKind::Tensor { dtype: *dtype, shape: shape.clone() };
                    let buffer = self.buffer(param.name.clone(), what, Role::Input(n));
                    Value::Tensor(View { buffer, dtype: *dtype, axes: axes(param.ty.axes(), shape) })
                }
                Some(ArgShape::Mask { shape }) => {
                    let what = BufferKind::Mask { shape: shape.clone() };
                    let buffer = self.buffer(param.name.clone(), what, Role::Input(n));
                    Value::Mask(MaskView { buffer, shape: shape.clone() })
                }
                Some(ArgShape::Scalar { dtype, value }) => match param.ty {
                    ParamType::Int => Value::Scalar(Const::Typed(*dtype, *value).cast_int()),
                    ParamType::Tensor(..) | ParamType::Mask(_) | ParamType::Scalar(_) | ParamType::Order => {
                        Value::Scalar(Const::Typed(*dtype, *value))
                    }
                },
                Some(ArgShape::Order(order)) => self.given_order(order, root, param.span),
                None => match (&param.ty, param.default) {
                    (ParamType::Int, Some((dtype, x))) => Value::Scalar(Const::Typed(dtype, x).cast_int()),
                    (_, Some((dtype, x))) => Value::Scalar(Const::Typed(dtype, x)),
                    (_, None) => Value::Poison,
                },
            });
        }
        values
    }

    /// The names that a pipeline's body starts with.
    pub(super) fn frame(
        &self,
        item: &PipelineItem,
        signature: &Signature,
        bindings: Bindings,
        args: Vec<Value<'p>>,
    ) -> Frame<'p> {
        let outs = signature.outs.iter().map(|out| (out.clone(), None)).collect();
        let mut frame = Frame { file: item.name.span.file, bindings, locals: Vec::new(), constants: Vec::new(), outs };
        for (param, mut value) in item.params.iter().zip(args) {
            if let (Value::Tensor(view), Some(info)) =
                (&mut value, signature.params.iter().find(|p| p.name == param.name.node))
            {
                name_axes(view, info.ty.axes());
            }
            frame.define(param.name.clone(), false, value);
        }
        frame
    }

    pub(super) fn buffer(&mut self, name: String, what: BufferKind, role: Role) -> usize {
        self.buffers.push(Buffer { name, what, role, life: None, places: Vec::new(), whole: false });
        self.buffers.len() - 1
    }

    pub(super) fn error(&mut self, code: Code, span: Span, message: impl Into<String>, label: impl Into<String>) {
        self.diags.push(Diagnostic::error(code, span, message, label));
    }

    /// Runs all statements; one that fails does not hide what the next ones have to say.
    pub(super) fn body(&mut self, frame: &mut Frame<'p>, block: &Block) {
        for stmt in &block.stmts {
            self.stmt(frame, stmt);
        }
        if let Some(tail) = &block.tail {
            self.effect(frame, tail);
        }
    }

    fn stmt(&mut self, frame: &mut Frame<'p>, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Let { names, tuple: _, ty, value } => self.bind(frame, names, ty.as_ref(), value),
            StmtKind::Assign { target, op, atomic: _, value } => {
                let value = self.eval(frame, value).unwrap_or(Value::Poison);
                self.assign(frame, target, *op, value, stmt.span);
            }
            StmtKind::Expr(expr) => self.effect(frame, expr),
            StmtKind::For { name, .. } => {
                let error = Diagnostic::error(Code::E0602, name.span, "a pipeline has no loops", "a loop");
                self.diags.push(error.with_help("write the loop in a kernel, or the steps one after another"));
            }
            StmtKind::Error => {}
        }
    }

    fn bind(&mut self, frame: &mut Frame<'p>, names: &[LetName], ty: Option<&TypeExpr>, value: &Expr) {
        let values = match self.eval(frame, value) {
            None => vec![Value::Poison; names.len()],
            Some(Value::Tuple(parts)) if names.len() > 1 => parts,
            Some(value) => vec![value],
        };
        if values.len() != names.len() {
            let message = format!("{} names, but {} values", names.len(), values.len());
            self.error(Code::E0305, value.span, message, format!("{} values", values.len()));
        }
        let values = values.into_iter().chain(std::iter::repeat(Value::Poison));
        let constant = names.len() == 1 && !frame.hangs(value);
        for (LetName { name, mutable }, bound) in names.iter().zip(values) {
            let bound = match (bound, ty) {
                (Value::Scalar(x), Some(ty)) => {
                    let known = |name: &str| frame.host_value(name);
                    let mut host = Host::new(self.program, frame.file, &known);
                    host.declared(x, ty, value.span, self.diags).map_or(Value::Poison, Value::Scalar)
                }
                (bound, _) => bound,
            };
            if constant && !mutable && matches!(bound, Value::Scalar(_)) {
                frame.constants.push(name.span);
            }
            frame.define(name.clone(), *mutable, bound);
        }
    }

    /// A statement that is an expression: `assert`, or `if` for its assignments.
    fn effect(&mut self, frame: &mut Frame<'p>, expr: &Expr) {
        if let ExprKind::If { cond, then, otherwise } = &expr.kind {
            let chosen = match self.condition(frame, cond) {
                Some(true) => Some(then),
                Some(false) => otherwise.as_ref(),
                None => None,
            };
            if let Some(block) = chosen {
                let (outer, doubt) = (frame.locals.len(), usize::from(frame.hangs(cond)));
                self.doubt += doubt;
                self.body(frame, block);
                self.doubt -= doubt;
                frame.locals.truncate(outer);
            }
            return;
        }
        if let ExprKind::Call { name, args, .. } = &expr.kind
            && name.node == "assert"
        {
            self.assert(frame, args, expr);
            return;
        }
        if self.eval(frame, expr).is_some() {
            let error = Diagnostic::error(Code::E0602, expr.span, "this value is not used", "not used");
            self.diags.push(error.with_help("assign it to an output, or give it a name with `let`"));
        }
    }

    /// `assert(c, "text")`; made-up numbers need not meet it, constants must.
    fn assert(&mut self, frame: &Frame<'p>, args: &[Arg], expr: &Expr) {
        match (self.sizes, args) {
            (Sizes::MadeUp, [Arg::Value(cond), ..]) if self.doubt > 0 || frame.hangs(cond) => {
                let _ = self.condition(frame, cond);
            }
            (Sizes::Agree | Sizes::MadeUp, _) => {
                if !poisoned(frame, expr) {
                    let stmt = Stmt { kind: StmtKind::Expr(expr.clone()), span: expr.span };
                    let names = |name: &str| frame.host_value(name);
                    Host::new(self.program, frame.file, &names).stmt(&stmt, self.diags);
                }
            }
        }
    }

    fn assign(&mut self, frame: &mut Frame<'p>, target: &Expr, op: Option<BinOp>, value: Value<'p>, span: Span) {
        let ExprKind::Name(name) = &target.kind else {
            let error = Diagnostic::error(Code::E0602, target.span, "a pipeline assigns whole outputs", "not a name");
            self.diags.push(error.with_help("elements are stored by kernels"));
            return;
        };
        if let Some((local, slot)) = frame.locals.iter_mut().rev().find(|(n, _)| n.name.node == *name) {
            if !local.mutable {
                let message = format!("`{name}` is not mutable");
                let error = Diagnostic::error(Code::E0402, target.span, message, "cannot be assigned");
                self.diags.push(error.with_label(local.name.span, "defined without `mut`"));
                return;
            }
            *slot = match (op, &slot, value) {
                (None, _, value) => value,
                (Some(op), Value::Scalar(a), Value::Scalar(b)) => {
                    said(a.binary(binary_op(op), b), span, self.diags).map_or(Value::Poison, Value::Scalar)
                }
                (Some(_), ..) => {
                    self.error(Code::E0302, span, "only scalars can be computed with here", "not a scalar");
                    Value::Poison
                }
            };
            return;
        }
        if let Some((out, slot)) = frame.outs.iter_mut().find(|(out, _)| out.name == *name) {
            if op.is_some() {
                let message = format!("output `{name}` is assigned whole: use `=`");
                self.error(Code::E0602, span, message, "not an assignment");
            } else if let (Value::Tensor(view), ParamType::Tensor(_, axes)) = (slot.insert(value), &out.ty) {
                name_axes(view, axes);
            }
            return;
        }
        let known: Vec<&str> = frame.outs.iter().map(|(out, _)| out.name.as_str()).collect();
        self.diags.push(unknown_name(name, target.span, "output", known));
    }

    /// The value of an expression; `None` after an error has been said.
    pub(super) fn eval(&mut self, frame: &mut Frame<'p>, expr: &Expr) -> Option<Value<'p>> {
        if self.nesting >= MAX_NESTING {
            self.error(Code::E0307, expr.span, "this nests too deeply", "too deep");
            return None;
        }
        self.nesting += 1;
        let value = self.value(frame, expr);
        self.nesting -= 1;
        value
    }

    fn value(&mut self, frame: &mut Frame<'p>, expr: &Expr) -> Option<Value<'p>> {
        match &expr.kind {
            ExprKind::Name(name) => match frame.get(name) {
                Some(Value::Poison) => None,
                Some(value) => Some(value),
                None if frame.outs.iter().any(|(out, _)| out.name == *name) => {
                    self.error(Code::E0602, expr.span, format!("`{name}` has not been assigned yet"), "read here");
                    None
                }
                None => self.scalar(frame, expr),
            },
            ExprKind::Tuple(parts) => {
                let parts: Vec<_> = parts.iter().map(|e| self.eval(frame, e).unwrap_or(Value::Poison)).collect();
                Some(Value::Tuple(parts))
            }
            ExprKind::If { cond, then, otherwise } => {
                let chosen = if self.condition(frame, cond)? { Some(then) } else { otherwise.as_ref() };
                let Some(block) = chosen else {
                    self.error(Code::E0301, expr.span, "this `if` has no value where its condition fails", "no `else`");
                    return None;
                };
                let doubt = usize::from(frame.hangs(cond));
                self.doubt += doubt;
                let value = self.block(frame, block);
                self.doubt -= doubt;
                value
            }
            ExprKind::Block(block) => self.block(frame, block),
            ExprKind::Call { name, consts, args } => self.call(frame, name, consts, args, expr),
            ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Bool(_)
            | ExprKind::Str(_)
            | ExprKind::Index { .. }
            | ExprKind::Unary(..)
            | ExprKind::Binary(..)
            | ExprKind::Cast(..)
            | ExprKind::All(_)
            | ExprKind::Size(_) => self.scalar(frame, expr),
            ExprKind::Error => None,
        }
    }

    fn block(&mut self, frame: &mut Frame<'p>, block: &Block) -> Option<Value<'p>> {
        let outer = frame.locals.len();
        block.stmts.iter().for_each(|stmt| self.stmt(frame, stmt));
        let value = match &block.tail {
            Some(tail) => self.eval(frame, tail),
            None => {
                self.error(Code::E0301, block.span, "this block gives no value", "ends without an expression");
                None
            }
        };
        frame.locals.truncate(outer);
        value
    }

    /// A scalar expression.
    pub(super) fn scalar(&mut self, frame: &Frame<'p>, expr: &Expr) -> Option<Value<'p>> {
        if poisoned(frame, expr) {
            return None;
        }
        let names = |name: &str| frame.host_value(name);
        if let ExprKind::Name(name) = &expr.kind
            && frame.get(name).is_none()
            && self.program.lookup(frame.file, name).is_none()
            && builtin_constant(name).is_none()
        {
            let candidates = frame.names().chain(self.program.names(frame.file));
            let error = unknown_name(name, expr.span, "value", candidates);
            self.diags.push(error);
            return None;
        }
        Host::new(self.program, frame.file, &names).eval(expr, self.diags).map(Value::Scalar)
    }

    pub(super) fn condition(&mut self, frame: &Frame<'p>, expr: &Expr) -> Option<bool> {
        if poisoned(frame, expr) {
            return None;
        }
        let names = |name: &str| frame.host_value(name);
        Host::new(self.program, frame.file, &names).eval_bool(expr, self.diags)
    }
}

/// Axes as they lie in memory.
pub(super) fn axes(infos: &[AxisInfo], shape: &[i64]) -> Vec<AxisView> {
    let plain = |size: &i64| AxisView { size: *size, name: None, state: AxisState::Plain };
    let mut view = shape.iter().map(plain).collect::<Vec<_>>();
    view.iter_mut().zip(infos).for_each(|(axis, info)| axis.name = extent_name(info));
    view
}

/// Gives a view's axes the names that a signature has for them.
fn name_axes(view: &mut View, infos: &[AxisInfo]) {
    view.axes.iter_mut().zip(infos).for_each(|(axis, info)| axis.name = extent_name(info));
}

/// The extent that an axis is, unless it counts blocks.
pub(super) fn extent_name(axis: &AxisInfo) -> Option<String> {
    match (&axis.extent, &axis.by) {
        (ExtentInfo::Named(name), None) => Some(name.clone()),
        (ExtentInfo::Named(_) | ExtentInfo::Generic(_) | ExtentInfo::Literal(_), _) => None,
    }
}

/// Whether an expression reads a name whose error has been said.
pub(super) fn poisoned(frame: &Frame<'_>, expr: &Expr) -> bool {
    let here = |e: &Expr| poisoned(frame, e);
    let in_block = |b: &Block| b.tail.as_deref().is_some_and(here);
    match &expr.kind {
        ExprKind::Name(name) => frame.is_poison(name),
        ExprKind::Unary(_, x) | ExprKind::Cast(x, _) => here(x),
        ExprKind::Binary(_, a, b) => here(a) || here(b),
        ExprKind::Call { args, .. } => args.iter().any(|arg| match arg {
            Arg::Value(e) | Arg::At(e) | Arg::Via(_, e) | Arg::Named(_, e) => here(e),
            Arg::Over(..) | Arg::As(..) => false,
        }),
        ExprKind::If { cond, then, otherwise } => {
            here(cond) || in_block(then) || otherwise.as_ref().is_some_and(in_block)
        }
        ExprKind::Block(block) => in_block(block),
        ExprKind::Tuple(parts) => parts.iter().any(here),
        ExprKind::Error => true,
        ExprKind::Int(_)
        | ExprKind::Float(_)
        | ExprKind::Bool(_)
        | ExprKind::Str(_)
        | ExprKind::Index { .. }
        | ExprKind::All(_)
        | ExprKind::Size(_) => false,
    }
}
