//! The end of a pipeline: what was assigned to each output becomes that output, without a copy where it can.

use pantile_diag::{Code, Diagnostic};
use pantile_syntax::ast::PipelineItem;

use super::frame::Frame;
use super::planner::Planner;
use super::view::{AxisState, Value};
use super::{Note, Role, Step};
use crate::infer::Sizes;
use crate::signature::{ExtentInfo, ParamInfo, ParamType};

impl<'p> Planner<'p, '_> {
    /// What each output was assigned, checked against its declaration.
    pub(super) fn assigned(&mut self, item: &PipelineItem, frame: Frame<'p>) -> Option<Vec<(ParamInfo, Value<'p>)>> {
        let mut bindings = frame.bindings;
        let mut values = Vec::new();
        for (out, value) in frame.outs {
            match value {
                None => {
                    let message = format!("`{}` never assigns its output `{}`", item.name.node, out.name);
                    self.error(Code::E0403, out.span, message, "never assigned");
                }
                Some(Value::Poison) => {}
                Some(value) => {
                    if self.fits(&out, &value, &mut bindings) {
                        values.push((out, value));
                    }
                }
            }
        }
        (values.len() == item.outs.len()).then_some(values)
    }

    /// Gives the buffers of outputs their roles.
    pub(super) fn outputs(&mut self, item: &PipelineItem, frame: Frame<'p>) -> Option<()> {
        let values = self.assigned(item, frame)?;
        for (n, (out, value)) in values.into_iter().enumerate() {
            let buffer = match value {
                Value::Mask(mask) => mask.buffer,
                Value::Tensor(mut view) => {
                    for axis in 0..view.axes.len() {
                        view = self.copied(&view, axis, "an output lies in memory as it is seen", out.span)?;
                        if let AxisState::Padded { .. } = view.axes[axis].state {
                            let message = format!("output `{}` has padding along axis {axis}", out.name);
                            let error = Diagnostic::error(Code::E0602, out.span, message, "still permuted");
                            self.diags.push(error.with_help("put it back with `unpermute` by the same order"));
                            return None;
                        }
                    }
                    view.buffer
                }
                Value::Poison | Value::Scalar(_) | Value::DType(_) | Value::Walk(_) | Value::Tuple(_) => return None,
            };
            let buffer = match self.buffers[buffer].role {
                Role::Temp => buffer,
                Role::Input(_) | Role::Output(_) => self.duplicate(buffer, &out),
            };
            self.buffers[buffer].role = Role::Output(n);
            self.buffers[buffer].name = out.name;
        }
        Some(())
    }

    /// A copy of an input, or of another output, so that the output has memory of its own.
    fn duplicate(&mut self, from: usize, out: &ParamInfo) -> usize {
        let (name, what) = (self.buffers[from].name.clone(), self.buffers[from].what.clone());
        let to = self.buffer(out.name.clone(), what, Role::Temp);
        let text = format!("output `{}` is a copy of `{name}`: it has memory of its own", out.name);
        self.notes.push(Note { text, span: out.span });
        self.steps.push(Step::Copy { from, to, label: format!("copy {name}") });
        to
    }

    /// Whether a value is what the output is declared to be. Extents that only outputs have are bound here.
    fn fits(&mut self, out: &ParamInfo, value: &Value<'p>, bindings: &mut crate::Bindings) -> bool {
        let shape = match (&out.ty, value) {
            (ParamType::Tensor(element, _), Value::Tensor(view)) => {
                let declared = element.resolve(bindings);
                if declared != Some(view.dtype) {
                    let declared = declared.map_or_else(|| element.to_string(), |d| d.to_string());
                    let message = format!("output `{}` is of {declared}, but it is assigned {}", out.name, view.dtype);
                    self.error(Code::E0301, out.span, message, "declared here");
                    return false;
                }
                view.shape()
            }
            (ParamType::Mask(_), Value::Mask(mask)) => mask.shape.clone(),
            (ty, value) => {
                let message =
                    format!("output `{}` is {}, but it is assigned {}", out.name, ty.describe(), value.describe());
                self.error(Code::E0301, out.span, message, "declared here");
                return false;
            }
        };
        let axes = out.ty.axes();
        let mut ok = axes.len() == shape.len();
        for (axis, size) in axes.iter().zip(&shape) {
            if let (ExtentInfo::Named(name), None) = (&axis.extent, &axis.by) {
                bindings.extents.entry(name.clone()).or_insert(*size);
            }
            ok &= axis.size(bindings).is_none_or(|declared| declared == *size);
        }
        ok |= self.sizes == Sizes::MadeUp && axes.len() == shape.len();
        if !ok {
            let declared: Vec<String> = axes
                .iter()
                .map(|a| a.size(bindings).map_or_else(|| a.to_string(), |size| format!("{a} = {size}")))
                .collect();
            let message = format!("output `{}` is [{}], but it is assigned {shape:?}", out.name, declared.join(", "));
            self.error(Code::E0602, out.span, message, "declared here");
        }
        ok
    }
}
