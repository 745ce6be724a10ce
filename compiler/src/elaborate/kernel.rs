//! A kernel's frame: its constants, extents, parameters and grid, then its body. What statements mean is `stmt.rs`'s
//! business.

use pantile_diag::{Code, Diagnostic, Diagnostics};
use pantile_ir::{Axis, DType, Dim, Func, GridAxis, Param, ParamId, ParamKind, Type};
use pantile_syntax::ast::{AxisExpr, AxisExtent, Generic, KernelItem, Param as SourceParam, TypeKind};

use super::form::{Atom, Form};
use super::sema::{GridVar, Hints, Sema};
use super::value::{Val, Var};
use crate::Bindings;
use crate::check::constant::Const;
use crate::check::program::Program;

/// One walk over a kernel.
pub(crate) fn elaborate(
    program: &Program,
    item: &KernelItem,
    bind: &Bindings,
    hints: &Hints,
    diags: &mut Diagnostics,
) -> (Option<Func>, Hints) {
    let func = Func { name: item.name.node.clone(), consts: consts(item, bind), ..Func::default() };
    let mut cx = Sema::new(program, bind, hints, diags, item.span.file, func);
    cx.kernel(item);
    (Some(cx.b.finish()), cx.learned)
}

fn consts(item: &KernelItem, bind: &Bindings) -> Vec<(String, String)> {
    let shown = |g: &Generic| {
        let name = &g.name.node;
        let dtype = bind.dtypes.get(name).map(ToString::to_string);
        dtype.or_else(|| bind.ints.get(name).map(ToString::to_string)).map(|v| (name.clone(), v))
    };
    item.generics.iter().filter_map(shown).collect()
}

impl Sema<'_, '_> {
    fn kernel(&mut self, item: &KernelItem) {
        for generic in &item.generics {
            self.generic(generic);
        }
        for param in &item.params {
            self.compile_time_param(param);
        }
        for param in item.params.iter().chain(&item.outs) {
            self.declare_extents(param);
        }
        for (param, out) in item.params.iter().map(|p| (p, false)).chain(item.outs.iter().map(|p| (p, true))) {
            if self.is_compile_time(param) {
                continue;
            }
            let var = self.param(param, out);
            if self.fresh(&param.name) {
                self.declare(&param.name.node, var);
            }
        }
        for var in &item.grid {
            self.grid_axis(var);
        }
        self.scoped(|cx| cx.body(&item.body));
        self.all_written();
    }

    /// A kernel's constant, as it is bound.
    fn generic(&mut self, generic: &Generic) {
        let (name, span) = (&generic.name.node, generic.name.span);
        let val = match (self.bind.dtypes.get(name), self.bind.ints.get(name), &generic.default) {
            (Some(dtype), _, _) => Val::DType(*dtype),
            (None, Some(n), _) => Const::Int(*n).into(),
            (None, None, Some(default)) => match self.const_int(default, "a constant") {
                Some(n) => Const::Int(n).into(),
                None => Val::Error,
            },
            (None, None, None) => {
                let message = format!("nothing tells what `{name}` is");
                let error = Diagnostic::error(Code::E0503, span, message, "not bound");
                self.say::<()>(error.with_help("an argument's dtype, the caller, or a default binds it"));
                Val::Error
            }
        };
        if self.fresh(&generic.name) {
            self.declare(name, Var::fixed(val, span, "a constant"));
        }
    }

    /// An `int` parameter is known at compile time; so is a bool that is bound.
    fn compile_time_param(&mut self, param: &SourceParam) {
        let TypeKind::Name(ty) = &param.ty.kind else { return };
        let (name, bound) = (&param.name.node, self.bind.ints.get(&param.name.node).copied());
        let val = match (ty.as_str(), bound) {
            ("int", Some(n)) => Const::Int(n).into(),
            ("bool", Some(n)) => Const::from(n != 0).into(),
            ("int", None) => {
                let message = format!("nothing tells what `{name}` is");
                self.error::<()>(Code::E0503, param.name.span, message, "a compile-time int that is not bound");
                Val::Error
            }
            _ => return,
        };
        if self.fresh(&param.name) {
            self.declare(name, Var::fixed(val, param.name.span, "a parameter"));
        }
    }

    fn is_compile_time(&self, param: &SourceParam) -> bool {
        match &param.ty.kind {
            TypeKind::Name(ty) => ty == "int" || (ty == "bool" && self.bind.ints.contains_key(&param.name.node)),
            TypeKind::Tensor { .. } | TypeKind::Mask(_) | TypeKind::Tile { .. } => false,
        }
    }

    /// The names between brackets are extents, unless they are constants already.
    fn declare_extents(&mut self, param: &SourceParam) {
        let axes: &[AxisExpr] = match &param.ty.kind {
            TypeKind::Tensor { axes, .. } | TypeKind::Mask(axes) => axes,
            TypeKind::Name(_) | TypeKind::Tile { .. } => &[],
        };
        for axis in axes {
            let id = self.axis_extent(&axis.extent);
            if let AxisExtent::Name(name) = &axis.extent
                && self.find(&name.node).is_none()
            {
                self.declare(&name.node, Var::fixed(Val::Extent(id), name.span, "an extent"));
            }
        }
    }

    fn param(&mut self, param: &SourceParam, out: bool) -> Var<'static> {
        let span = param.name.span;
        let var = |val| Var::fixed(val, span, if out { "an output" } else { "a parameter" });
        let id = ParamId(self.b.func.params.len() as u32);
        let (kind, val) = match &param.ty.kind {
            // The signature is refused for it.
            TypeKind::Name(name) if name == "order" && self.find(name).is_none() => return var(Val::Error),
            TypeKind::Name(_) => {
                let Some((dtype, _)) = self.scalar_type(&param.ty) else { return var(Val::Error) };
                let value = self.b.func.new_value(Type::Scalar(dtype));
                let form = Some(Form::atom(Atom::Scalar(id)));
                (ParamKind::Scalar(dtype, value), Val::from(Self::formed(value, form)))
            }
            TypeKind::Tensor { dtype, axes } => {
                let dtype = self.dtype(&dtype.node, dtype.span);
                let axes = self.axes(axes);
                let (Some(dtype), Some(axes)) = (dtype, axes) else { return var(Val::Error) };
                (ParamKind::Tensor(dtype, axes), Val::Param(id))
            }
            TypeKind::Mask(axes) if axes.is_empty() => {
                self.error::<()>(Code::E0203, param.ty.span, "a mask needs at least one axis", "no axes");
                return var(Val::Error);
            }
            TypeKind::Mask(axes) => {
                let Some(axes) = self.axes(axes) else { return var(Val::Error) };
                (ParamKind::Mask(axes), Val::Param(id))
            }
            TypeKind::Tile { .. } => {
                let error = Diagnostic::error(Code::E0103, param.ty.span, "a kernel takes no tiles", "a tile");
                self.say::<()>(error.with_help("kernels take tensors, masks and scalars; functions take tiles"));
                return var(Val::Error);
            }
        };
        if let (true, ParamKind::Scalar(..)) = (out, &kind) {
            let error = Diagnostic::error(Code::E0402, param.ty.span, "an output must be a tensor or mask", "a scalar");
            self.say::<()>(error.with_help(format!("one number is `tensor<{}>[1]`", scalar_name(&kind))));
            return var(Val::Error);
        }
        self.b.func.params.push(Param { name: param.name.node.clone(), kind, out, span });
        var(val)
    }

    fn axes(&mut self, axes: &[AxisExpr]) -> Option<Vec<Axis>> {
        let axes: Vec<Option<Axis>> = axes.iter().map(|a| self.axis(a)).collect();
        axes.into_iter().collect()
    }

    fn grid_axis(&mut self, var: &pantile_syntax::ast::GridVar) {
        let (name, span) = (&var.name.node, var.name.span);
        let number = self.grid.len();
        let val = match self.walk(&var.walk) {
            None => {
                self.grid.push(GridVar { name: name.clone(), dim: None, span });
                Val::Error
            }
            Some(walk) => match walk.by {
                Some(size) => {
                    let dim = Dim {
                        name: name.clone(),
                        size,
                        over: Some(walk.extent),
                        order: walk.order,
                        whole: false,
                        full: false,
                    };
                    let id = self.add_dim(dim, span);
                    self.b.func.grid.push(GridAxis::Walk(id));
                    self.grid.push(GridVar { name: name.clone(), dim: Some(id), span });
                    Val::Block(id)
                }
                None => {
                    let value = self.b.func.new_value(Type::Scalar(DType::I64));
                    // Through an order there are as many positions as blocks of one.
                    let axis = Axis { extent: walk.extent, by: walk.order.map(|_| 1) };
                    self.b.func.grid.push(GridAxis::Each(axis, value));
                    self.grid.push(GridVar { name: name.clone(), dim: None, span });
                    Val::from(Self::formed(value, Some(Form::atom(Atom::Grid(number)))))
                }
            },
        };
        if self.fresh(&var.name) {
            self.declare(name, Var::fixed(val, span, "an axis of the grid"));
        }
    }

    fn body(&mut self, body: &pantile_syntax::ast::Block) {
        for stmt in &body.stmts {
            self.stmt(stmt);
        }
        if let Some(tail) = &body.tail {
            self.effect(tail);
        }
    }

    /// E0403 for outputs that nothing stores to.
    fn all_written(&mut self) {
        let rows = self.b.func.params.iter().enumerate().filter(|(_, p)| p.out);
        let unwritten = rows.filter(|(n, _)| !self.stored.contains(&ParamId(*n as u32)));
        let unwritten: Vec<_> = unwritten.map(|(_, p)| (p.name.clone(), p.span)).collect();
        for (name, span) in unwritten {
            let error = Diagnostic::error(Code::E0403, span, format!("`{name}` is never written"), "an output");
            self.say::<()>(error.with_help(format!("store to it, `{name}[…] = …;`, or take it out")));
        }
    }
}

fn scalar_name(kind: &ParamKind) -> &'static str {
    match kind {
        ParamKind::Scalar(dtype, _) | ParamKind::Tensor(dtype, _) => dtype.name(),
        ParamKind::Mask(_) => "bool",
    }
}
