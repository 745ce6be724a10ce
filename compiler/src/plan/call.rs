//! Calls in a pipeline: which callee, which argument is which, orders, `permute` and `unpermute`, pipelines inlined.
//! Kernels are launched by `launch.rs`.

use std::collections::BTreeMap;
use std::str::FromStr;

use pantile_diag::{Code, Diagnostic, Span};
use pantile_ir::DType;
use pantile_syntax::ast::{Arg, Expr, ExprKind, Ident, PipelineItem};

use super::frame::Frame;
use super::launch::extent_names;
use super::planner::{Planner, extent_name, poisoned};
use super::view::{AxisState, AxisView, Value, View, Walk, same_order};
use super::{BufferKind, Role};
use crate::check::constant::Const;
use crate::check::host::{Host, is_builtin};
use crate::check::program::{ItemRef, nearest, unknown_name};
use crate::check::signature;
use crate::infer::{Sizes, bind};
use crate::signature::{ElementType, GenericKind, ParamInfo, ParamType, Signature};
use crate::{ArgShape, Bindings};

/// How many calls a plan may make.
const MAX_CALLS: usize = 2_000;

/// The arguments of a call, by parameter.
pub(super) struct Bound<'p> {
    /// One a parameter, with where it was written; `None`: its default.
    pub(super) values: Vec<Option<(Value<'p>, Span)>>,
    /// Constants fixed in the call.
    pub(super) fixed: Bindings,
}

impl<'p> Planner<'p, '_> {
    /// The value of a call; `None` after an error has been said.
    pub(super) fn call(
        &mut self,
        frame: &mut Frame<'p>,
        name: &Ident,
        consts: &[(Ident, Expr)],
        args: &[Arg],
        expr: &Expr,
    ) -> Option<Value<'p>> {
        if self.calls >= MAX_CALLS {
            self.error(Code::E0602, expr.span, format!("this pipeline makes more than {MAX_CALLS} calls"), "too many");
            return None;
        }
        self.calls += 1;
        match self.program.lookup(frame.file, &name.node) {
            Some(ItemRef::Kernel(item)) => {
                let signature = signature::kernel(self.program, item, self.diags)?;
                let bound = self.arguments(frame, &signature, consts, args, expr.span)?;
                self.launch(item, &signature, bound, expr.span)
            }
            Some(ItemRef::Pipeline(item)) => self.inline(frame, item, consts, args, expr.span),
            Some(ItemRef::Order(item)) => self.walk(frame, item, args, expr.span),
            Some(ItemRef::Fn(_) | ItemRef::Const(_)) => self.scalar(frame, expr),
            None => match name.node.as_str() {
                "permute" => self.permute(frame, args, expr.span, false),
                "unpermute" => self.permute(frame, args, expr.span, true),
                builtin if is_builtin(builtin) => self.scalar(frame, expr),
                unknown => {
                    let known = self.program.names(frame.file).chain(["permute", "unpermute"]);
                    self.diags.push(unknown_name(unknown, name.span, "kernel, pipeline or function", known));
                    None
                }
            },
        }
    }

    /// Evaluates all arguments, then sorts them by parameter.
    pub(super) fn arguments(
        &mut self,
        frame: &mut Frame<'p>,
        callee: &Signature,
        consts: &[(Ident, Expr)],
        args: &[Arg],
        span: Span,
    ) -> Option<Bound<'p>> {
        let fixed = self.constants(frame, callee, consts);
        let mut values: Vec<Option<(Value<'p>, Span)>> = vec![None; callee.params.len()];
        let (mut next, mut ok) = (0, true);
        for arg in args {
            let (place, e) = match arg {
                Arg::Value(e) => {
                    next += 1;
                    (Some(next - 1), e)
                }
                Arg::Named(name, e) => (self.parameter(callee, name), e),
                Arg::At(e) | Arg::Via(_, e) => {
                    self.error(Code::E0305, e.span, "this argument needs `permute` or `unpermute`", "not a value");
                    ok = false;
                    continue;
                }
                Arg::Over(_, span) | Arg::As(_, span) => {
                    let message = format!("`{}` takes values only", callee.name);
                    self.error(Code::E0305, *span, message, "not a value");
                    ok = false;
                    continue;
                }
            };
            let value = self.eval(frame, e);
            match (value, place.and_then(|p| values.get_mut(p))) {
                (Some(value), Some(slot @ None)) => *slot = Some((value, e.span)),
                (Some(_), Some(Some((_, first)))) => {
                    let error = Diagnostic::error(Code::E0305, e.span, "this argument is given twice", "again here");
                    let error = error.with_label(*first, "given here");
                    self.diags.push(error);
                    ok = false;
                }
                (None, _) => ok = false,
                (Some(_), None) => ok &= place.is_some_and(|p| p >= callee.params.len()),
            }
        }
        let missing: Vec<&str> = callee
            .params
            .iter()
            .zip(&values)
            .filter(|(param, value)| value.is_none() && param.default.is_none())
            .map(|(param, _)| param.name.as_str())
            .collect();
        if next > callee.params.len() || (ok && !missing.is_empty()) {
            let takes: Vec<String> = callee.params.iter().map(|p| format!("{}: {}", p.name, p.ty)).collect();
            let label = match missing[..] {
                [] => format!("takes {} arguments, not {next}", takes.len()),
                _ => format!("without {}", missing.join(", ")),
            };
            let message = format!("`{}` is called with the wrong arguments", callee.name);
            let error = Diagnostic::error(Code::E0305, span, message, label).with_label(callee.span, "defined here");
            self.diags.push(error.with_help(format!("it takes ({})", takes.join(", "))));
            ok = false;
        }
        Some(Bound { values, fixed: fixed? }).filter(|_| ok)
    }

    fn parameter(&mut self, callee: &Signature, name: &Ident) -> Option<usize> {
        let place = callee.params.iter().position(|p| p.name == name.node);
        if place.is_none() {
            let message = format!("`{}` has no parameter `{}`", callee.name, name.node);
            let error = Diagnostic::error(Code::E0305, name.span, message, "no such parameter");
            let known = callee.params.iter().map(|p| p.name.as_str());
            self.diags.push(match nearest(&name.node, known) {
                Some(close) => error.with_help(format!("did you mean `{close}`?")),
                None => error.with_label(callee.span, "defined here"),
            });
        }
        place
    }

    /// `<BQ = 64, T = f32>`.
    fn constants(&mut self, frame: &Frame<'p>, callee: &Signature, consts: &[(Ident, Expr)]) -> Option<Bindings> {
        let mut fixed = Bindings::default();
        let mut ok = true;
        for (name, e) in consts {
            match callee.generic(&name.node).map(|g| g.kind) {
                Some(GenericKind::DType(_)) => match dtype(frame, e) {
                    Some(dtype) => drop(fixed.dtypes.insert(name.node.clone(), dtype)),
                    None => {
                        self.error(Code::E0301, e.span, format!("`{}` is a dtype", name.node), "not a dtype");
                        ok = false;
                    }
                },
                Some(GenericKind::Int(_)) if poisoned(frame, e) => ok = false,
                Some(GenericKind::Int(_)) => {
                    let names = |name: &str| frame.host_value(name);
                    match Host::new(self.program, frame.file, &names).eval_int(e, self.diags) {
                        Some(n) => drop(fixed.ints.insert(name.node.clone(), n)),
                        None => ok = false,
                    }
                }
                None => {
                    let message = format!("`{}` has no constant `{}`", callee.name, name.node);
                    let known: Vec<&str> = callee.generics.iter().map(|g| g.name.as_str()).collect();
                    let error = Diagnostic::error(Code::E0305, name.span, message, "no such constant");
                    let error = error.with_label(callee.span, "defined here");
                    self.diags.push(if known.is_empty() {
                        error
                    } else {
                        error.with_help(format!("it has {}", known.join(", ")))
                    });
                    ok = false;
                }
            }
        }
        ok.then_some(fixed)
    }

    /// The shapes of a call's arguments: scalars converted to what the parameters are.
    pub(super) fn shapes(&mut self, callee: &Signature, bound: &Bound<'p>, span: Span) -> Option<Vec<ArgShape>> {
        let mut shapes = Vec::new();
        for (param, value) in callee.params.iter().zip(&bound.values) {
            let shape = match (value, param.default) {
                (Some((Value::Tensor(view), _)), _) => {
                    Some(ArgShape::Tensor { dtype: view.dtype, shape: view.shape() })
                }
                (Some((Value::Mask(mask), _)), _) => Some(ArgShape::Mask { shape: mask.shape.clone() }),
                (Some((Value::Scalar(x), at)), _) => self.scalar_argument(callee, bound, param, *x, *at),
                (Some((Value::Walk(walk), _)), _) if param.ty == ParamType::Order => {
                    Some(ArgShape::Order(walk.as_arg()))
                }
                (Some((value @ (Value::Walk(_) | Value::Tuple(_) | Value::DType(_)), at)), _) => {
                    let message = format!("`{}` must be {}, not {}", param.name, param.ty.describe(), value.describe());
                    self.error(Code::E0305, *at, message, value.describe());
                    None
                }
                (Some((Value::Poison, _)), _) => None,
                (None, Some((dtype, value))) => Some(ArgShape::Scalar { dtype, value }),
                (None, None) => {
                    self.error(Code::E0305, span, format!("`{}` is missing", param.name), "called here");
                    None
                }
            };
            shapes.push(shape);
        }
        shapes.into_iter().collect()
    }

    fn scalar_argument(
        &mut self,
        callee: &Signature,
        bound: &Bound<'p>,
        param: &ParamInfo,
        x: Const,
        span: Span,
    ) -> Option<ArgShape> {
        let dtype = match &param.ty {
            ParamType::Int => match x {
                Const::Int(_) => DType::I64,
                Const::Float(_) => DType::F64,
                Const::Typed(dtype, _) => dtype,
            },
            ParamType::Scalar(ElementType::Fixed(dtype)) => *dtype,
            ParamType::Scalar(ElementType::Generic(name)) => {
                x.dtype().or_else(|| generic_dtype(callee, bound, name)).unwrap_or(DType::F32)
            }
            ParamType::Tensor(..) | ParamType::Mask(_) | ParamType::Order => x.dtype().unwrap_or(DType::F64),
        };
        match x.convert(dtype) {
            Ok(value) => Some(ArgShape::Scalar { dtype, value }),
            Err(why) => {
                let message = format!("`{}` of `{}` is {}: {why}", param.name, callee.name, param.ty);
                let error = Diagnostic::error(why.code(), span, message, format!("this is {}", x.describe()));
                let error = error.with_label(param.span, "declared here");
                self.diags.push(error.with_help(format!("convert it: `… as {dtype}`")));
                None
            }
        }
    }

    /// A pipeline called by a pipeline: its steps become the caller's.
    fn inline(
        &mut self,
        frame: &mut Frame<'p>,
        item: &'p PipelineItem,
        consts: &[(Ident, Expr)],
        args: &[Arg],
        span: Span,
    ) -> Option<Value<'p>> {
        if self.inside.contains(&item.name.span) {
            let message = format!("`{}` calls itself", item.name.node);
            self.error(Code::E0602, span, message, "pipelines are inlined, so they cannot recur");
            return None;
        }
        let signature = signature::pipeline(self.program, item, self.diags)?;
        let bound = self.arguments(frame, &signature, consts, args, span)?;
        let shapes = self.shapes(&signature, &bound, span)?;
        let bindings = match bind(&signature, &shapes, &bound.fixed, self.sizes) {
            Ok(inferred) => inferred.bindings,
            Err(why) => {
                let error = Diagnostic::error(why.code(), span, why.to_string(), "in this call");
                self.diags.push(error.with_label(signature.span, "defined here"));
                return None;
            }
        };
        let names = extent_names(&signature, &bound);
        let is_int = |n: usize| matches!(signature.params[n].ty, ParamType::Int);
        let values =
            bound.values.into_iter().zip(&shapes).enumerate().map(|(n, (value, shape))| match (value, shape) {
                (_, ArgShape::Scalar { dtype, value }) if is_int(n) => {
                    Value::Scalar(Const::Typed(*dtype, *value).cast_int())
                }
                (_, ArgShape::Scalar { dtype, value }) => Value::Scalar(Const::Typed(*dtype, *value)),
                (Some((value, _)), ArgShape::Tensor { .. } | ArgShape::Mask { .. } | ArgShape::Order(_)) => value,
                (None, ArgShape::Tensor { .. } | ArgShape::Mask { .. } | ArgShape::Order(_)) => Value::Poison,
            });
        let mut inner = self.frame(item, &signature, bindings, values.collect());
        self.inside.push(item.name.span);
        self.body(&mut inner, &item.body);
        self.inside.pop();
        let outs = self.assigned(item, inner)?.into_iter().map(|(out, value)| named(&out, value, &names));
        Some(one_or_tuple(outs.collect()))
    }

    /// `permute(x, N via walk)` and its inverse.
    fn permute(&mut self, frame: &mut Frame<'p>, args: &[Arg], span: Span, inverse: bool) -> Option<Value<'p>> {
        let name = if inverse { "unpermute" } else { "permute" };
        let [Arg::Value(x), Arg::Via(extent, via)] = args else {
            let message = format!("`{name}` takes a tensor, and an extent with an order");
            let error = Diagnostic::error(Code::E0305, span, message, "wrong arguments");
            self.diags.push(error.with_help(format!("write `{name}(x, N via order(…))`")));
            return None;
        };
        let (value, walk) = (self.eval(frame, x), self.eval(frame, via));
        let (view, walk) = match (value?, walk?) {
            (Value::Tensor(view), Value::Walk(walk)) => (view, walk),
            (Value::Tensor(_), other) => {
                let message = format!("an order must stand after `via`, not {}", other.describe());
                self.error(Code::E0602, via.span, message, other.describe());
                return None;
            }
            (other, _) => {
                let message = format!("`{name}` takes a tensor, not {}", other.describe());
                self.error(Code::E0602, x.span, message, other.describe());
                return None;
            }
        };
        // Of several axes over one extent, the one that there is something to do with.
        let named = |a: &AxisView| a.name.as_deref() == Some(&extent.node);
        let open = |a: &AxisView| named(a) && matches!(a.state, AxisState::Plain) != inverse;
        let axis = view.axes.iter().position(open).or_else(|| view.axes.iter().position(named));
        let Some(axis) = axis else {
            let names: Vec<&str> = view.axes.iter().map(|a| a.name.as_deref().unwrap_or("_")).collect();
            let message = format!("this tensor has no axis `{}`", extent.node);
            let error = Diagnostic::error(Code::E0602, extent.span, message, "no such axis");
            self.diags.push(error.with_label(x.span, format!("its axes are [{}]", names.join(", "))));
            return None;
        };
        let view = if self.sizes == Sizes::MadeUp {
            let what = BufferKind::Tensor { dtype: view.dtype, shape: view.shape() };
            Some(if inverse { view } else { View { buffer: self.buffer(name.into(), what, Role::Temp), ..view } })
        } else if inverse {
            let elements = frame.bindings.extents.get(&extent.node).copied();
            self.unpermuted(view, axis, &walk, elements, span)
        } else {
            self.permuted(view, axis, &walk, span)
        };
        view.map(Value::Tensor)
    }

    fn permuted(&mut self, view: View, axis: usize, walk: &Walk<'p>, span: Span) -> Option<View> {
        let mut view = match view.axes[axis].state {
            AxisState::Plain => view,
            AxisState::Walked(_) | AxisState::Padded { .. } => self.copied(&view, axis, "permuted twice", span)?,
        };
        let size = view.axes[axis].size;
        if let AxisState::Padded { .. } = view.axes[axis].state {
            self.error(Code::E0602, span, "a tensor permuted with padding cannot be permuted again", "permuted here");
            return None;
        }
        let order = self.order(walk, size)?;
        if order.len < size || (order.len != size && !order.holes) {
            let message = format!("`{}` has {} positions, but the axis has {size} elements", order.name, order.len);
            let error = Diagnostic::error(Code::E0602, span, message, "permuted here");
            self.diags.push(match walk.defined() {
                Some(defined) => error.with_label(defined, "the order"),
                None => error,
            });
            return None;
        }
        self.within(walk, size, span)?;
        view.axes[axis].state = AxisState::Walked(order);
        Some(view)
    }

    fn unpermuted(
        &mut self,
        mut view: View,
        axis: usize,
        walk: &Walk<'p>,
        elements: Option<i64>,
        span: Span,
    ) -> Option<View> {
        let size = view.axes[axis].size;
        if let AxisState::Walked(order) = view.axes[axis].state.clone() {
            let wanted = self.order(walk, size)?;
            if same_order(&order, &wanted) {
                view.axes[axis].state = AxisState::Plain;
                return Some(view);
            }
            view = self.copied(&view, axis, "seen through one order and put back through another", span)?;
        }
        let size = view.axes[axis].size;
        let order = self.order(walk, elements.unwrap_or(size))?;
        self.within(walk, elements.unwrap_or(size), span)?;
        let fits = match &view.axes[axis].state {
            AxisState::Padded { order: made, .. } => same_order(made, &order),
            AxisState::Plain => order.len == size && !order.holes,
            AxisState::Walked(_) => false,
        };
        if !fits {
            let message = format!("this tensor does not lie in the order `{}`", order.name);
            let error = Diagnostic::error(Code::E0602, span, message, "cannot be put back");
            self.diags.push(error.with_help("`unpermute` undoes a `permute` by the same order of the same extent"));
            return None;
        }
        let back = if order.holes { elements.unwrap_or(size) } else { size };
        self.put_back(&view, axis, order, back, span)
    }
}

/// The outputs of a call as one value.
pub(super) fn one_or_tuple(mut outs: Vec<Value<'_>>) -> Value<'_> {
    if outs.len() == 1 { outs.pop().unwrap_or(Value::Poison) } else { Value::Tuple(outs) }
}

/// An output of a pipeline, its axes called what the caller calls them.
fn named<'p>(out: &ParamInfo, mut value: Value<'p>, names: &BTreeMap<String, String>) -> Value<'p> {
    if let Value::Tensor(view) = &mut value {
        for (axis, info) in view.axes.iter_mut().zip(out.ty.axes()) {
            axis.name = extent_name(info).and_then(|inner| names.get(&inner).cloned());
        }
    }
    value
}

fn dtype(frame: &Frame<'_>, e: &Expr) -> Option<DType> {
    let ExprKind::Name(name) = &e.kind else { return None };
    frame.bindings.dtypes.get(name).copied().or_else(|| DType::from_str(name).ok())
}

/// The dtype that a call's tensors, or its constants, give a generic.
fn generic_dtype(callee: &Signature, bound: &Bound<'_>, name: &str) -> Option<DType> {
    let tensors = callee.params.iter().zip(&bound.values).find_map(|(param, value)| match (&param.ty, value) {
        (ParamType::Tensor(ElementType::Generic(g), _), Some((Value::Tensor(view), _))) if g == name => {
            Some(view.dtype)
        }
        _ => None,
    });
    bound.fixed.dtypes.get(name).copied().or(tensors)
}
