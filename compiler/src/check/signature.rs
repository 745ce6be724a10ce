//! Reads signatures off the syntax tree: which `<…>` names are dtypes, which are numbers, what axes count. Bodies are not
//! looked at.

use std::collections::BTreeSet;
use std::str::FromStr;

use pantile_diag::{Code, Diagnostic, Diagnostics, FileId, Span};
use pantile_ir::{Class, DType, Scalar};
use pantile_syntax::ast::{
    AxisExpr, AxisExtent, Expr, ExprKind, Generic, Ident, KernelItem, OrderItem, Param, PipelineItem, TypeExpr,
    TypeKind,
};

use super::constant::Const;
use super::host::{Host, binary_op};
use super::program::{Program, defined_twice, unknown_name};
use crate::signature::{
    AxisInfo, ElementType, ExtentInfo, GenericInfo, GenericKind, OrderParamInfo, OrderSignature, ParamInfo, ParamType,
    Signature, Size,
};

/// The parts that kernels and pipelines have in common.
struct Head<'p> {
    doc: &'p str,
    name: &'p Ident,
    generics: &'p [Generic],
    params: &'p [Param],
    outs: &'p [Param],
}

/// The signature of a kernel; `None` after errors have been said.
pub(crate) fn kernel(program: &Program, item: &KernelItem, diags: &mut Diagnostics) -> Option<Signature> {
    let KernelItem { doc, name, generics, params, outs, .. } = item;
    let signature =
        Reader::new(program, name.span.file, diags).signature(&Head { doc, name, generics, params, outs })?;
    let orders = params.iter().zip(&signature.params).filter(|(_, info)| info.ty == ParamType::Order);
    let orders: Vec<Span> = orders.map(|(param, _)| param.ty.span).collect();
    for span in &orders {
        let error = Diagnostic::error(Code::E0103, *span, "a kernel takes no orders", "an order");
        diags.push(error.with_help("a pipeline takes orders, and permutes by them what it gives to kernels"));
    }
    orders.is_empty().then_some(signature)
}

/// The signature of a pipeline; `None` after errors have been said.
pub(crate) fn pipeline(program: &Program, item: &PipelineItem, diags: &mut Diagnostics) -> Option<Signature> {
    let PipelineItem { doc, name, generics, params, outs, .. } = item;
    Reader::new(program, name.span.file, diags).signature(&Head { doc, name, generics, params, outs })
}

/// The signature of an order; `None` after errors have been said.
pub(crate) fn order(program: &Program, item: &OrderItem, diags: &mut Diagnostics) -> Option<OrderSignature> {
    let mut reader = Reader::new(program, item.name.span.file, diags);
    let mut failed = !reader.distinct(item.params.iter().map(|p| &p.name).chain([&item.position]));
    let mut params = Vec::new();
    for param in &item.params {
        let is_bool = match &param.ty.kind {
            TypeKind::Name(ty) if ty == "int" => false,
            TypeKind::Name(ty) if ty == "bool" => true,
            TypeKind::Name(_) | TypeKind::Tensor { .. } | TypeKind::Mask(_) | TypeKind::Tile { .. } => {
                let message = format!("parameter `{}` of an order must be an int or a bool", param.name.node);
                reader.diags.push(Diagnostic::error(Code::E0301, param.ty.span, message, "neither"));
                failed = true;
                continue;
            }
        };
        let default = param.default.as_ref().map(|e| {
            let mut host = Host::new(program, item.name.span.file, &|_| None);
            if is_bool { host.eval_bool(e, reader.diags).map(i64::from) } else { host.eval_int(e, reader.diags) }
        });
        failed |= default == Some(None);
        params.push(OrderParamInfo { name: param.name.node.clone(), is_bool, default: default.flatten() });
    }
    (!failed).then(|| OrderSignature {
        name: item.name.node.clone(),
        doc: item.doc.clone(),
        params,
        span: item.name.span,
    })
}

struct Reader<'p, 'd> {
    program: &'p Program,
    file: FileId,
    diags: &'d mut Diagnostics,
    generics: Vec<GenericInfo>,
    /// Generics that have errors.
    failed: BTreeSet<String>,
    /// Parameters of type `int`.
    ints: BTreeSet<String>,
}

impl<'p, 'd> Reader<'p, 'd> {
    fn new(program: &'p Program, file: FileId, diags: &'d mut Diagnostics) -> Self {
        Self { program, file, diags, generics: Vec::new(), failed: BTreeSet::new(), ints: BTreeSet::new() }
    }

    fn signature(mut self, head: &Head<'_>) -> Option<Signature> {
        let all = || head.params.iter().chain(head.outs);
        let mut ok = self.distinct(head.generics.iter().map(|g| &g.name).chain(all().map(|p| &p.name)));
        for generic in head.generics {
            match self.generic(generic, head) {
                Some(kind) => {
                    let (name, span) = (generic.name.node.clone(), generic.name.span);
                    self.generics.push(GenericInfo { name, kind, span });
                }
                None => {
                    self.failed.insert(generic.name.node.clone());
                    ok = false;
                }
            }
        }
        let is_int = |p: &&Param| matches!(&p.ty.kind, TypeKind::Name(ty) if ty == "int");
        self.ints = head.params.iter().filter(is_int).map(|p| p.name.node.clone()).collect();
        let mut read = |params: &[Param]| -> Option<Vec<ParamInfo>> {
            let params: Vec<Option<ParamInfo>> = params.iter().map(|p| self.param(p)).collect();
            params.into_iter().collect()
        };
        let (params, outs) = (read(head.params), read(head.outs));
        let (params, outs) = (params?, outs?);
        ok &= self.outputs(&outs, head);
        ok.then(|| Signature {
            name: head.name.node.clone(),
            doc: head.doc.to_owned(),
            generics: self.generics,
            params,
            outs,
            constants: Vec::new(),
            span: head.name.span,
        })
    }

    /// Outputs are tensors or masks, and there is at least one.
    fn outputs(&mut self, outs: &[ParamInfo], head: &Head<'_>) -> bool {
        let mut ok = true;
        for (info, out) in outs.iter().zip(head.outs) {
            if let ParamType::Scalar(_) | ParamType::Int | ParamType::Order = info.ty {
                let message = format!("output `{}` must be a tensor or a mask", info.name);
                let error = Diagnostic::error(Code::E0402, out.ty.span, message, info.ty.describe());
                self.diags.push(error.with_help("a tensor of one element holds a scalar: `tensor<f32>[1]`"));
                ok = false;
            }
        }
        ok
    }

    fn distinct<'a>(&mut self, names: impl Iterator<Item = &'a Ident>) -> bool {
        let mut seen: Vec<&Ident> = Vec::new();
        let mut ok = true;
        for name in names {
            match seen.iter().find(|n| n.node == name.node) {
                Some(first) => {
                    self.diags.push(defined_twice(name, first.span));
                    ok = false;
                }
                None => seen.push(name),
            }
        }
        ok
    }

    /// `T: int` is a dtype if it is used as one and has no default; otherwise `int` is a number.
    fn generic(&mut self, generic: &Generic, head: &Head<'_>) -> Option<GenericKind> {
        let class = match generic.kind.node.as_str() {
            "float" => Class::Float,
            "number" => Class::Number,
            "any" => Class::Any,
            "int" if generic.default.is_none() && used_as_dtype(&generic.name.node, head) => Class::Int,
            "int" => {
                let Some(default) = &generic.default else { return Some(GenericKind::Int(None)) };
                let value = Host::new(self.program, self.file, &|_| None).eval_int(default, self.diags)?;
                return Some(GenericKind::Int(Some(value)));
            }
            other => {
                let kinds = ["float", "int", "number", "any"];
                let error = unknown_name(other, generic.kind.span, "kind of constant", kinds);
                self.diags.push(error.with_help("the kinds are `float`, `int`, `number` and `any`"));
                return None;
            }
        };
        if let Some(default) = &generic.default {
            let message = format!("dtype `{}` cannot have a default: the arguments bind it", generic.name.node);
            self.diags.push(Diagnostic::error(Code::E0502, default.span, message, "a default"));
            return None;
        }
        Some(GenericKind::DType(class))
    }

    fn param(&mut self, param: &Param) -> Option<ParamInfo> {
        let ty = self.param_type(&param.ty)?;
        let default = match &param.default {
            None => None,
            Some(expr) => Some(self.default(&ty, expr)?),
        };
        Some(ParamInfo { name: param.name.node.clone(), ty, default, span: param.name.span })
    }

    fn param_type(&mut self, ty: &TypeExpr) -> Option<ParamType> {
        match &ty.kind {
            TypeKind::Name(name) if name == "int" => Some(ParamType::Int),
            TypeKind::Name(name) if name == "order" && !self.generics.iter().any(|g| g.name == *name) => {
                Some(ParamType::Order)
            }
            TypeKind::Name(name) => self.element(name, ty.span).map(ParamType::Scalar),
            TypeKind::Tensor { dtype, axes } => {
                let element = self.element(&dtype.node, dtype.span);
                let axes = self.axes(axes);
                Some(ParamType::Tensor(element?, axes?))
            }
            TypeKind::Mask(axes) if axes.is_empty() => {
                self.diags.push(Diagnostic::error(Code::E0203, ty.span, "a mask has at least one axis", "no axes"));
                None
            }
            TypeKind::Mask(axes) => self.axes(axes).map(ParamType::Mask),
            TypeKind::Tile { .. } => {
                let error = Diagnostic::error(Code::E0103, ty.span, "a tile cannot be a parameter here", "a tile");
                self.diags.push(error.with_help("kernels and pipelines take tensors; only a `fn` takes tiles"));
                None
            }
        }
    }

    fn element(&mut self, name: &str, span: Span) -> Option<ElementType> {
        if self.failed.contains(name) {
            return None;
        }
        if let Some(generic) = self.generics.iter().find(|g| g.name == name) {
            if let GenericKind::DType(_) = generic.kind {
                return Some(ElementType::Generic(name.to_owned()));
            }
            let message = format!("`{name}` is a number, not a dtype");
            let error = Diagnostic::error(Code::E0103, span, message, "used as a dtype");
            self.diags.push(error.with_label(generic.span, "declared as a number"));
            return None;
        }
        if let Ok(dtype) = DType::from_str(name) {
            return Some(ElementType::Fixed(dtype));
        }
        let known = DType::ALL.iter().map(|d| d.name()).chain(self.generics.iter().map(|g| g.name.as_str()));
        let error = unknown_name(name, span, "dtype", known);
        self.diags.push(error);
        None
    }

    fn axes(&mut self, axes: &[AxisExpr]) -> Option<Vec<AxisInfo>> {
        let axes: Vec<Option<AxisInfo>> = axes.iter().map(|axis| self.axis(axis)).collect();
        axes.into_iter().collect()
    }

    fn axis(&mut self, axis: &AxisExpr) -> Option<AxisInfo> {
        let extent = match &axis.extent {
            AxisExtent::Literal(n) if *n < 0 => {
                self.diags.push(Diagnostic::error(Code::E0502, axis.span, "an axis cannot be negative", "negative"));
                return None;
            }
            AxisExtent::Literal(n) => ExtentInfo::Literal(*n),
            AxisExtent::Name(name) if self.is_number(&name.node) => ExtentInfo::Generic(name.node.clone()),
            AxisExtent::Name(name) => ExtentInfo::Named(name.node.clone()),
        };
        let by = match &axis.by {
            None => None,
            Some(expr) => Some(self.size(expr)?),
        };
        Some(AxisInfo { extent, by })
    }

    fn is_number(&self, name: &str) -> bool {
        let generic = self.generics.iter().any(|g| g.name == name && matches!(g.kind, GenericKind::Int(_)));
        generic || self.ints.contains(name)
    }

    fn size(&mut self, expr: &Expr) -> Option<Size> {
        if let ExprKind::Name(name) = &expr.kind
            && self.is_number(name)
        {
            return Some(Size::Generic(name.clone()));
        }
        if let ExprKind::Binary(op, a, b) = &expr.kind {
            let (a, b) = (self.size(a), self.size(b));
            return Some(Size::Binary(binary_op(*op), Box::new(a?), Box::new(b?)));
        }
        let size = Host::new(self.program, self.file, &|_| None).eval_int(expr, self.diags)?;
        if size < 1 {
            let message = format!("a block has at least one element, not {size}");
            self.diags.push(Diagnostic::error(Code::E0502, expr.span, message, "not positive"));
            return None;
        }
        Some(Size::Literal(size))
    }

    fn default(&mut self, ty: &ParamType, expr: &Expr) -> Option<(DType, Scalar)> {
        let dtype = match ty {
            ParamType::Int => DType::I64,
            ParamType::Scalar(ElementType::Fixed(dtype)) => *dtype,
            ParamType::Scalar(ElementType::Generic(_))
            | ParamType::Tensor(..)
            | ParamType::Mask(_)
            | ParamType::Order => {
                let message = "only scalars of a written dtype can have a default";
                self.diags.push(Diagnostic::error(Code::E0502, expr.span, message, "a default"));
                return None;
            }
        };
        let value: Const = Host::new(self.program, self.file, &|_| None).eval(expr, self.diags)?;
        match value.convert(dtype) {
            Ok(x) => Some((dtype, x)),
            Err(why) => {
                self.diags.push(Diagnostic::error(why.code(), expr.span, why.to_string(), "this default"));
                None
            }
        }
    }
}

fn used_as_dtype(name: &str, head: &Head<'_>) -> bool {
    head.params.iter().chain(head.outs).any(|p| match &p.ty.kind {
        TypeKind::Name(ty) => ty == name,
        TypeKind::Tensor { dtype, .. } | TypeKind::Tile { dtype, .. } => dtype.node == name,
        TypeKind::Mask(_) => false,
    })
}
