//! Kernel launches of a plan: walks are fused into the kernel where all its arguments over an extent are seen through one
//! order and it reads them by blocks; what cannot be fused is copied, and a note says why.

use std::collections::BTreeMap;
use std::sync::Arc;

use pantile_diag::{Code, Diagnostic, Diagnostics, Span};
use pantile_ir::{Axis, Func, GridAxis, Index, Inst, Op, Order};
use pantile_syntax::ast::KernelItem;

use super::call::{Bound, one_or_tuple};
use super::planner::{Planner, extent_name};
use super::slots::slots;
use super::view::{AxisState, AxisView, MaskView, Value, View};
use super::{BufferKind, Call, Note, PlanArg, Role, Step};
use crate::infer::{Sizes, bind};
use crate::signature::{ExtentInfo, Signature};
use crate::{ArgShape, Bindings, Inferred};

/// An axis of an argument, and how it is seen.
struct Seen {
    param: usize,
    axis: usize,
    /// The kernel's extent, if the axis is one and does not count blocks.
    extent: Option<String>,
}

impl<'p> Planner<'p, '_> {
    /// Launches a kernel; its outputs are new buffers.
    pub(super) fn launch(
        &mut self,
        item: &KernelItem,
        callee: &Signature,
        mut bound: Bound<'p>,
        span: Span,
    ) -> Option<Value<'p>> {
        self.unify(callee, &mut bound, span)?;
        if let Some(done) = self.fused(item, callee, &bound, span)? {
            return Some(done);
        }
        self.copy_all(callee, &mut bound, "it reads them at computed positions", span)?;
        match self.fused(item, callee, &bound, span)? {
            Some(done) => Some(done),
            None => {
                let message = format!("`{}` cannot walk a padded order", callee.name);
                let error = Diagnostic::error(Code::E0602, span, message, "walks an order with padding");
                self.diags.push(error.with_help("it reads elements at computed positions; walk blocks instead"));
                None
            }
        }
    }

    /// Emits the launch with every walk fused; `Some(None)` if the kernel cannot be compiled that way.
    #[allow(clippy::option_option, reason = "the outer one is whether an error was said")]
    fn fused(
        &mut self,
        item: &KernelItem,
        callee: &Signature,
        bound: &Bound<'p>,
        span: Span,
    ) -> Option<Option<Value<'p>>> {
        let shapes = self.shapes(callee, bound, span)?;
        let states = walked(callee, bound);
        let mut fixed = bound.fixed.clone();
        for (extent, state) in &states {
            if let Some(order) = state.walk() {
                fixed.walks.insert(extent.clone(), (**order).clone());
            }
        }
        let inferred = match bind(callee, &shapes, &fixed, self.sizes) {
            Ok(inferred) => inferred,
            Err(why) => {
                let error =
                    Diagnostic::error(why.code(), span, why.to_string(), format!("in this call of `{}`", callee.name));
                self.diags.push(error.with_label(callee.span, "defined here"));
                return None;
            }
        };
        if self.sizes == Sizes::MadeUp {
            return self.emit(callee, bound, &shapes, &inferred, &states, Arc::default(), span).map(Some);
        }
        let walks = !inferred.bindings.walks.is_empty();
        let func = match self.func(item, &inferred.bindings) {
            Ok(func) if walks && !by_blocks(&func) => return Some(None),
            Ok(func) => func,
            Err(_) if walks => return Some(None),
            Err(said) => {
                self.diags.extend(said);
                return None;
            }
        };
        self.note_fused(callee, &states, span);
        self.emit(callee, bound, &shapes, &inferred, &states, func, span).map(Some)
    }

    /// The kernel for these bindings; kernels that differ in nothing but free extents are one.
    fn func(&mut self, item: &KernelItem, bindings: &Bindings) -> Result<Arc<Func>, Diagnostics> {
        let same = |b: &Bindings, func: &Func| {
            b.dtypes == bindings.dtypes
                && b.ints == bindings.ints
                && b.walks == bindings.walks
                && func
                    .extents
                    .iter()
                    .all(|e| e.known.is_none() || b.extents.get(&e.name) == bindings.extents.get(&e.name))
        };
        if let Some((.., func)) = self.funcs.iter().find(|(at, b, func)| *at == item.span && same(b, func)) {
            return Ok(func.clone());
        }
        let mut said = Diagnostics::default();
        match (self.specialise)(item, bindings, &mut said) {
            Some(func) => {
                let func = Arc::new(func);
                self.funcs.push((item.span, bindings.clone(), func.clone()));
                Ok(func)
            }
            None => Err(said),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "they are the parts of one launch")]
    fn emit(
        &mut self,
        callee: &Signature,
        bound: &Bound<'p>,
        shapes: &[ArgShape],
        inferred: &Inferred,
        states: &BTreeMap<String, AxisState>,
        func: Arc<Func>,
        span: Span,
    ) -> Option<Value<'p>> {
        let mut args: BTreeMap<&str, PlanArg> = BTreeMap::new();
        for ((param, value), shape) in callee.params.iter().zip(&bound.values).zip(shapes) {
            let arg = match (value, shape) {
                (_, ArgShape::Scalar { dtype, value }) => PlanArg::Scalar(*dtype, *value),
                (Some((Value::Tensor(view), _)), _) => PlanArg::Buffer(view.buffer),
                (Some((Value::Mask(mask), _)), _) => PlanArg::Buffer(mask.buffer),
                (Some(_) | None, ArgShape::Tensor { .. } | ArgShape::Mask { .. } | ArgShape::Order(_)) => return None,
            };
            args.insert(&param.name, arg);
        }
        let names = extent_names(callee, bound);
        let mut outs = Vec::new();
        for (out, shape) in callee.outs.iter().zip(&inferred.outs) {
            let name =
                if callee.outs.len() == 1 { callee.name.clone() } else { format!("{}.{}", callee.name, out.name) };
            let (buffer, value) = match shape {
                Some(ArgShape::Tensor { dtype, shape }) => {
                    let what = BufferKind::Tensor { dtype: *dtype, shape: shape.clone() };
                    let buffer = self.buffer(name, what, Role::Temp);
                    let axes = out.ty.axes().iter().zip(shape).map(|(axis, size)| {
                        let extent = extent_name(axis);
                        let state = extent.as_ref().and_then(|e| states.get(e)).cloned().unwrap_or(AxisState::Plain);
                        AxisView { size: *size, name: extent.and_then(|e| names.get(&e).cloned()), state }
                    });
                    (buffer, Value::Tensor(View { buffer, dtype: *dtype, axes: axes.collect() }))
                }
                Some(ArgShape::Mask { shape }) => {
                    let buffer = self.buffer(name, BufferKind::Mask { shape: shape.clone() }, Role::Temp);
                    (buffer, Value::Mask(MaskView { buffer, shape: shape.clone() }))
                }
                Some(ArgShape::Scalar { .. } | ArgShape::Order(_)) | None => {
                    let message = format!("the arguments do not tell the size of `{}`", out.name);
                    let error = Diagnostic::error(Code::E0503, span, message, "called here");
                    self.diags.push(error.with_label(out.span, "this output"));
                    return None;
                }
            };
            args.insert(&out.name, PlanArg::Buffer(buffer));
            outs.push(value);
        }
        let extent = |e: &pantile_ir::Extent| e.known.or_else(|| inferred.bindings.extents.get(&e.name).copied());
        let extents: Option<Vec<i64>> = func.extents.iter().map(extent).collect();
        let args: Option<Vec<PlanArg>> = func.params.iter().map(|p| args.get(p.name.as_str()).copied()).collect();
        let (Some(extents), Some(args)) = (extents, args) else {
            self.error(
                Code::E0503,
                span,
                format!("nothing gives all extents of `{}` a size", callee.name),
                "called here",
            );
            return None;
        };
        self.steps.push(Step::Launch { func, calls: vec![Call { extents, args, span }], label: callee.name.clone() });
        Some(one_or_tuple(outs))
    }

    /// Makes all arguments over one extent be seen in one way, by copying those that are seen through an order where
    /// others are not, or through another one.
    fn unify(&mut self, callee: &Signature, bound: &mut Bound<'p>, span: Span) -> Option<()> {
        let seen = seen(callee, bound);
        let mut copies: Vec<(usize, usize, String)> = Vec::new();
        for s in &seen {
            let state = state(bound, s);
            if let AxisState::Plain = state {
                continue;
            }
            let rival = |t: &&Seen| t.extent == s.extent && !AxisState::same(state, self::state(bound, t));
            let param = |t: &Seen| callee.params[t.param].name.clone();
            match &s.extent {
                None => copies.push((s.param, s.axis, format!("`{}` does not walk this axis", callee.name))),
                Some(extent) => {
                    if let Some(other) = seen.iter().find(rival) {
                        let why = format!("`{}` is not seen through the same order along {extent}", param(other));
                        copies.push((s.param, s.axis, why));
                    }
                }
            }
        }
        for (param, axis, why) in copies {
            let Some((Value::Tensor(view), at)) = bound.values[param].clone() else { continue };
            let view = self.copied(&view, axis, &why, at)?;
            bound.values[param] = Some((Value::Tensor(view), at));
        }
        let mut first: BTreeMap<String, (AxisState, usize)> = BTreeMap::new();
        for s in self::seen(callee, bound) {
            let Some(extent) = s.extent.clone() else { continue };
            let state = state(bound, &s).clone();
            let (other, param) = first.entry(extent.clone()).or_insert_with(|| (state.clone(), s.param));
            if !other.same(&state) {
                let (a, b) = (&callee.params[*param].name, &callee.params[s.param].name);
                let message = format!("`{a}` and `{b}` are seen through different orders along {extent}");
                let error = Diagnostic::error(Code::E0602, span, message, "called with both");
                self.diags.push(error.with_help("permute both by the same order"));
                return None;
            }
        }
        Some(())
    }

    /// Copies every argument that is seen through an order straight from memory.
    fn copy_all(&mut self, callee: &Signature, bound: &mut Bound<'p>, why: &str, span: Span) -> Option<()> {
        for s in seen(callee, bound) {
            if let AxisState::Walked(_) = state(bound, &s)
                && let Some((Value::Tensor(view), at)) = bound.values[s.param].clone()
            {
                let why = format!("`{}` cannot walk {}: {why}", callee.name, s.extent.as_deref().unwrap_or("it"));
                let view = self.copied(&view, s.axis, &why, span)?;
                bound.values[s.param] = Some((Value::Tensor(view), at));
            }
        }
        Some(())
    }

    /// The same tensor as a copy in memory that lies in the order it is seen in. One copy serves all who ask.
    pub(super) fn copied(&mut self, view: &View, axis: usize, why: &str, span: Span) -> Option<View> {
        let AxisState::Walked(order) = view.axes[axis].state.clone() else { return Some(view.clone()) };
        let known = self.copies.iter().find(|(b, a, o, _)| (*b, *a) == (view.buffer, axis) && *o == order);
        let to = match known {
            Some((.., to)) => *to,
            None => {
                let mut shape = view.shape();
                shape[axis] = order.len;
                let name = format!("{} in order", self.buffers[view.buffer].name);
                let what = BufferKind::Tensor { dtype: view.dtype, shape };
                let to = self.buffer(name.clone(), what, Role::Temp);
                let label = format!("permute {}", self.buffers[view.buffer].name);
                let from = view.buffer;
                self.steps.push(Step::Permute { from, to, axis, order: order.clone(), inverse: false, label });
                self.copies.push((view.buffer, axis, order.clone(), to));
                let text = format!("`{}` is copied in the order {}: {why}", self.buffers[from].name, order.name);
                self.notes.push(Note { text, span });
                to
            }
        };
        let state = if order.holes {
            let Some(slots) = slots(&order) else {
                self.error(Code::E0602, span, format!("`{}` cannot be copied", order.name), "needs a copy");
                return None;
            };
            AxisState::Padded { slots: Arc::new(slots), order: order.clone() }
        } else {
            AxisState::Plain
        };
        let mut view = View { buffer: to, ..view.clone() };
        view.axes[axis] = AxisView { size: order.len, name: view.axes[axis].name.clone(), state };
        Some(view)
    }

    /// A copy whose elements are back where `order` took them from.
    pub(super) fn put_back(
        &mut self,
        view: &View,
        axis: usize,
        order: Arc<Order>,
        size: i64,
        span: Span,
    ) -> Option<View> {
        let mut shape = view.shape();
        shape[axis] = size;
        let name = self.buffers[view.buffer].name.clone();
        let to = self.buffer(name.clone(), BufferKind::Tensor { dtype: view.dtype, shape }, Role::Temp);
        let text = format!("`{name}` is copied back from the order {}: no kernel stores through it", order.name);
        self.notes.push(Note { text, span });
        let label = format!("unpermute {name}");
        self.steps.push(Step::Permute { from: view.buffer, to, axis, order, inverse: true, label });
        let mut view = View { buffer: to, ..view.clone() };
        view.axes[axis] = AxisView { size, name: view.axes[axis].name.clone(), state: AxisState::Plain };
        Some(view)
    }

    fn note_fused(&mut self, callee: &Signature, states: &BTreeMap<String, AxisState>, span: Span) {
        for (extent, state) in states {
            if let AxisState::Walked(order) = state {
                let text = format!("`{}` walks {extent} via {}: nothing is copied", callee.name, order.name);
                self.notes.push(Note { text, span });
            }
        }
    }
}

/// Every axis of every tensor argument.
fn seen(callee: &Signature, bound: &Bound<'_>) -> Vec<Seen> {
    let mut all = Vec::new();
    for (param, (info, value)) in callee.params.iter().zip(&bound.values).enumerate() {
        if let Some((Value::Tensor(view), _)) = value {
            let axes = info.ty.axes().iter().enumerate().take(view.axes.len());
            all.extend(axes.map(|(axis, info)| Seen { param, axis, extent: extent_name(info) }));
        }
    }
    all
}

fn state<'b>(bound: &'b Bound<'_>, seen: &Seen) -> &'b AxisState {
    match &bound.values[seen.param] {
        Some((Value::Tensor(view), _)) => &view.axes[seen.axis].state,
        Some(_) | None => &AxisState::Plain,
    }
}

/// How each extent of the kernel that is not plain is seen.
fn walked(callee: &Signature, bound: &Bound<'_>) -> BTreeMap<String, AxisState> {
    let mut states = BTreeMap::new();
    for s in seen(callee, bound) {
        let state = state(bound, &s);
        if let (Some(extent), Some(_)) = (s.extent.clone(), state.walk()) {
            states.insert(extent, state.clone());
        }
    }
    states
}

/// What the caller calls the callee's extents: by the first axis that has a name.
pub(super) fn extent_names(callee: &Signature, bound: &Bound<'_>) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for (info, value) in callee.params.iter().zip(&bound.values) {
        if let Some((Value::Tensor(view), _)) = value {
            for (axis, info) in view.axes.iter().zip(info.ty.axes()) {
                if let (ExtentInfo::Named(extent), None, Some(name)) = (&info.extent, &info.by, &axis.name) {
                    names.entry(extent.clone()).or_insert_with(|| name.clone());
                }
            }
        }
    }
    names
}

/// Whether every tensor axis that is walked in an order is indexed by blocks alone, so that lanes and addresses follow the
/// order by themselves.
fn by_blocks(func: &Func) -> bool {
    let ordered = |axis: &Axis| axis.by.is_none() && func.extents[axis.extent.index()].order.is_some();
    let singly = func.grid.iter().any(|axis| match axis {
        GridAxis::Each(axis, _) => ordered(axis),
        GridAxis::Walk(_) => false,
    });
    !singly && func.body.insts.iter().all(|inst| inst_by_blocks(func, inst, &ordered))
}

fn inst_by_blocks(func: &Func, inst: &Inst, ordered: &dyn Fn(&Axis) -> bool) -> bool {
    let here = if let Op::Load(param, index) | Op::Store { param, index, .. } = &inst.op {
        let axes = func.axes(*param).iter();
        axes.zip(index).all(|(axis, index)| !ordered(axis) || matches!(index, Index::Dim(_)))
    } else {
        true
    };
    here && inst.regions.iter().flat_map(|r| &r.insts).all(|inner| inst_by_blocks(func, inner, ordered))
}
