//! Calls that are made twice with the same arguments: the first one's outputs serve for both. Outputs of the pipeline are
//! made anyway, and so is what prints.

use std::sync::Arc;

use pantile_diag::Span;
use pantile_ir::{Func, eval};

use super::elide::speaks;
use super::planner::Planner;
use super::{Call, Note, PlanArg, Role, Step};

impl Planner<'_, '_> {
    /// Leaves out what has been made before.
    pub(super) fn share(&mut self) {
        let mut serves: Vec<usize> = (0..self.buffers.len()).collect();
        let mut kept: Vec<Step> = Vec::with_capacity(self.steps.len());
        for mut step in std::mem::take(&mut self.steps) {
            redirect(&mut step, &serves);
            let temporary = step.writes().iter().all(|b| self.buffers[*b].role == Role::Temp);
            let before = kept.iter().find(|k| temporary && same(k, &step));
            let Some(before) = before else {
                kept.push(step);
                continue;
            };
            step.writes().into_iter().zip(before.writes()).for_each(|(again, first)| serves[again] = first);
            if let Step::Launch { calls, label, .. } = &step {
                let text = format!("`{label}` is launched once: it is called again with the same arguments");
                self.notes.push(Note { text, span: calls.first().map_or(Span::default(), |call| call.span) });
            }
        }
        self.steps = kept;
    }
}

/// Lets a step read what serves in place of its own inputs.
fn redirect(step: &mut Step, serves: &[usize]) {
    match step {
        Step::Launch { func, calls, .. } => {
            for call in calls {
                for (param, arg) in func.params.iter().zip(&mut call.args) {
                    if let (PlanArg::Buffer(buffer), false) = (arg, param.out) {
                        *buffer = serves[*buffer];
                    }
                }
            }
        }
        Step::Copy { from, .. } | Step::Permute { from, .. } => *from = serves[*from],
    }
}

/// Whether two steps make the same.
fn same(a: &Step, b: &Step) -> bool {
    match (a, b) {
        (Step::Launch { func, calls, .. }, Step::Launch { func: other, calls: others, .. }) => {
            Arc::ptr_eq(func, other)
                && calls.len() == others.len()
                && calls.iter().zip(others).all(|(a, b)| same_call(func, a, b))
                && !speaks(&func.body)
        }
        (
            Step::Permute { from, axis, order, inverse, to: _, label: _ },
            Step::Permute { from: f, axis: a, order: o, inverse: i, to: _, label: _ },
        ) => (from, axis, inverse) == (f, a, i) && order == o,
        (Step::Launch { .. } | Step::Copy { .. } | Step::Permute { .. }, _) => false,
    }
}

fn same_call(func: &Func, a: &Call, b: &Call) -> bool {
    let inputs = func.params.iter().zip(a.args.iter().zip(&b.args)).filter(|(param, _)| !param.out);
    let alike = |(a, b): (&PlanArg, &PlanArg)| match (a, b) {
        (PlanArg::Buffer(a), PlanArg::Buffer(b)) => a == b,
        // By their bits -0.0 is not 0.0, and a NaN is itself.
        (PlanArg::Scalar(t, a), PlanArg::Scalar(u, b)) => t == u && eval::to_bits(*t, *a) == eval::to_bits(*u, *b),
        (PlanArg::Buffer(_) | PlanArg::Scalar(..), _) => false,
    };
    a.extents == b.extents && inputs.into_iter().all(|(_, pair)| alike(pair))
}
