//! Outputs that nobody takes: the kernel is made without them, and what it computed for them alone goes too. A launch of
//! which nothing is taken is left out. Tensors that the pipeline gives back are always taken.
//!
//! A kernel keeps an output that it also reads. A launch that prints or asserts stays, whatever becomes of its outputs.

use std::sync::Arc;

use pantile_diag::Span;
use pantile_ir::{Func, Op, ParamId, ParamKind, Region};

use super::planner::Planner;
use super::uses::{Access, access, any, does, named};
use super::{Call, Note, PlanArg, Role, Step};
use crate::module::optimised;

/// A kernel without some of its parameters.
struct Without {
    of: Arc<Func>,
    dropped: Vec<usize>,
    func: Arc<Func>,
    /// The parameters that are left, by their old numbers.
    kept: Vec<usize>,
}

impl Planner<'_, '_> {
    /// Leaves out what nobody takes; `None` after an error has been said.
    pub(super) fn elide(&mut self) -> Option<()> {
        let mut taken: Vec<bool> = self.buffers.iter().map(|b| matches!(b.role, Role::Output(_))).collect();
        let mut known: Vec<Without> = Vec::new();
        let mut kept = Vec::with_capacity(self.steps.len());
        // From the last step to the first: what a step reads is taken if the step stays.
        for step in std::mem::take(&mut self.steps).into_iter().rev() {
            let step = match step {
                Step::Launch { func, calls, label } => self.elided(&taken, &mut known, func, calls, label)?,
                step @ (Step::Copy { .. } | Step::Permute { .. }) => {
                    Some(step).filter(|s| s.writes().iter().any(|b| taken[*b]))
                }
            };
            if let Some(step) = step {
                step.reads().into_iter().for_each(|buffer| taken[buffer] = true);
                kept.push(step);
            }
        }
        kept.reverse();
        self.steps = kept;
        Some(())
    }

    /// The launch without what nobody takes; `Some(None)` if that is all of it.
    #[allow(clippy::option_option, reason = "the outer one is whether an error was said")]
    fn elided(
        &mut self,
        taken: &[bool],
        known: &mut Vec<Without>,
        func: Arc<Func>,
        calls: Vec<Call>,
        label: String,
    ) -> Option<Option<Step>> {
        let untaken = |n: usize| {
            func.params[n].out
                && calls.iter().all(|call| match call.args[n] {
                    PlanArg::Buffer(buffer) => !taken[buffer],
                    PlanArg::Scalar(..) => false,
                })
        };
        let dropped: Vec<usize> =
            (0..func.params.len()).filter(|n| untaken(*n) && !does(&func.body, *n, &[Access::Reads])).collect();
        let span = calls.first().map_or(Span::default(), |call| call.span);
        if dropped.is_empty() {
            return Some(Some(Step::Launch { func, calls, label }));
        }
        if dropped.len() == func.params.iter().filter(|p| p.out).count() && !speaks(&func.body) {
            let text = format!("`{label}` is not launched: nothing takes what it makes");
            self.notes.push(Note { text, span });
            return Some(None);
        }
        let names: Vec<String> = dropped.iter().map(|n| format!("`{}`", func.params[*n].name)).collect();
        let text = format!("`{label}` does not make {}: nothing takes it", names.join(", "));
        self.notes.push(Note { text, span });
        let same = |w: &&Without| Arc::ptr_eq(&w.of, &func) && w.dropped == dropped;
        let at = match known.iter().position(|w| same(&w)) {
            Some(at) => at,
            None => {
                let (less, kept) = self.without(&func, &dropped, span)?;
                known.push(Without { of: func.clone(), dropped, func: Arc::new(less), kept });
                known.len() - 1
            }
        };
        let Without { func, kept, .. } = &known[at];
        let less = |call: Call| Call { args: kept.iter().map(|n| call.args[*n]).collect(), ..call };
        Some(Some(Step::Launch { func: func.clone(), calls: calls.into_iter().map(less).collect(), label }))
    }

    /// The kernel without some outputs, and without the inputs that only those needed; with the parameters that are left.
    fn without(&mut self, func: &Func, dropped: &[usize], span: Span) -> Option<(Func, Vec<usize>)> {
        let mut less = func.clone();
        drop_stores(&mut less.body, dropped);
        if !optimised(&mut less, span, self.diags) {
            return None;
        }
        let needed = |n: &usize| {
            let param = &less.params[*n];
            let named = matches!(param.kind, ParamKind::Scalar(..))
                || does(&less.body, *n, &[Access::Reads, Access::Sets, Access::Adds]);
            !dropped.contains(n) && (param.out || named)
        };
        let kept: Vec<usize> = (0..less.params.len()).filter(needed).collect();
        renumber(&mut less.body, &kept);
        less.params = kept.iter().map(|n| func.params[*n].clone()).collect();
        Some((less, kept))
    }
}

/// Whether running it shows apart from its outputs.
pub(super) fn speaks(region: &Region) -> bool {
    any(region, &|inst| matches!(inst.op, Op::Print(_) | Op::Assert(_)))
}

fn drop_stores(region: &mut Region, dropped: &[usize]) {
    region.insts.retain(|inst| match access(&inst.op) {
        Some((param, Access::Sets | Access::Adds)) => !dropped.contains(&param.index()),
        Some((_, Access::Reads)) | None => true,
    });
    region.insts.iter_mut().flat_map(|i| &mut i.regions).for_each(|inner| drop_stores(inner, dropped));
}

fn renumber(region: &mut Region, kept: &[usize]) {
    for inst in &mut region.insts {
        if let Some(param) = named(&mut inst.op)
            && let Some(n) = kept.iter().position(|old| *old == param.index())
        {
            *param = ParamId(n as u32);
        }
        inst.regions.iter_mut().for_each(|inner| renumber(inner, kept));
    }
}
