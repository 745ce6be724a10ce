//! Puts the instructions of a region into steps: greedily, each into the last nest that has its dims and comes after
//! everything it needs. It decides nothing about storage.

use std::collections::HashMap;

use pantile_ir::{Inst, Op, Value};

use super::plan::{Class, Nest, Planner, Step, Stmt, iteration, reduced};

/// The steps of a region so far.
pub struct Grouping<'a, 'p, 'f> {
    planner: &'a Planner<'p, 'f>,
    steps: Vec<Step<'f>>,
    step_of: HashMap<Value, usize>,
    /// For values made in nests: whether they are whole tiles of the nest, and when they are there.
    time_of: HashMap<Value, (Made, i32)>,
    barrier: usize,
}

/// How a nest makes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    Full,
    Row,
    /// Complete only when the nest is.
    Late,
}

impl<'a, 'p, 'f> Grouping<'a, 'p, 'f> {
    /// No steps.
    pub fn new(planner: &'a Planner<'p, 'f>) -> Self {
        Self { planner, steps: Vec::new(), step_of: HashMap::new(), time_of: HashMap::new(), barrier: 0 }
    }

    /// The steps.
    pub fn finish(self) -> Vec<Step<'f>> {
        self.steps
    }

    /// Adds a step of its own.
    pub fn append(&mut self, step: Step<'f>, inst: &'f Inst) {
        for result in &inst.results {
            self.step_of.insert(*result, self.steps.len());
        }
        let written = matches!(inst.op, Op::Load(p, _) if self.planner.facts.is_written(p));
        if inst.has_effect() || written {
            self.barrier = self.steps.len() + 1;
        }
        self.steps.push(step);
    }

    /// Adds an instruction to a nest.
    pub fn place(&mut self, inst: &'f Inst, class: Class) {
        let facts = self.planner.facts;
        let dims = facts.sorted(iteration(facts, inst));
        let reads = self.planner.step_reads(inst);
        let ordered = class == Class::Store || matches!(inst.op, Op::Load(p, _) if facts.is_written(p));
        let first = if ordered { self.barrier } else { 0 };
        let (mut best, at) = (None, self.steps.len());
        for step in (first..at).rev() {
            let meets = ordered && self.meets(step, inst);
            if let Some((row, time)) = self.fits(step, &dims, &reads, class).filter(|_| !meets) {
                best = Some((step, row, time));
                break;
            }
            if meets || reads.keys().any(|v| self.step_of.get(v) == Some(&step)) {
                break;
            }
        }
        let (step, row, time) = best.unwrap_or((at, false, 0));
        let stmt = Stmt { inst, class, row, time };
        match self.steps.get_mut(step) {
            Some(Step::Nest(nest)) => nest.stmts.push(stmt),
            Some(_) => {}
            None => self.steps.push(Step::Nest(Nest { dims: dims.clone(), stmts: vec![stmt] })),
        }
        if ordered {
            self.barrier = step;
        }
        let in_rows = match self.steps.get(step) {
            Some(Step::Nest(nest)) => reduced(inst) == [nest.inner()],
            Some(_) | None => false,
        };
        for result in &inst.results {
            self.step_of.insert(*result, step);
            let made = match (class, row) {
                (Class::Reduce, _) if in_rows => (Made::Row, time + 1),
                (Class::Reduce, _) => (Made::Late, time),
                (_, true) => (Made::Row, time),
                (_, false) => (Made::Full, time),
            };
            self.time_of.insert(*result, made);
        }
    }

    /// Whether a nest reads or writes the tensor that `inst` reads or writes.
    fn meets(&self, step: usize, inst: &Inst) -> bool {
        let tensor =
            |inst: &Inst| if let Op::Load(p, _) | Op::Store { param: p, .. } = inst.op { Some(p) } else { None };
        match &self.steps[step] {
            Step::Nest(nest) => nest.stmts.iter().any(|s| tensor(s.inst) == tensor(inst)),
            Step::Scalar(other) => tensor(other) == tensor(inst),
            Step::Product(_) | Step::Loop(..) | Step::If(..) | Step::Alone(_) => false,
        }
    }

    /// Whether an instruction over `dims` can join a step, and how.
    fn fits(
        &self,
        step: usize,
        dims: &[pantile_ir::DimId],
        reads: &HashMap<Value, bool>,
        class: Class,
    ) -> Option<(bool, i32)> {
        let Step::Nest(nest) = &self.steps[step] else { return None };
        let row = if nest.dims == dims {
            false
        } else if nest.rows() == dims && class != Class::Reduce {
            true
        } else {
            return None;
        };
        let mut time = if row { -1 } else { 0 };
        for (value, whole) in reads {
            if self.step_of.get(value).is_none_or(|at| *at < step) {
                continue;
            }
            let same = self.step_of.get(value) == Some(&step);
            let (made, when) = self.time_of.get(value).copied().unwrap_or((Made::Late, 0));
            if !same || *whole || made == Made::Late {
                return None;
            }
            let ready = match (made, row) {
                (Made::Full, false) | (Made::Row, true) => when,
                (Made::Row, false) => when + 1,
                (Made::Full, true) | (Made::Late, _) => return None,
            };
            time = time.max(ready);
        }
        Some((row, time))
    }
}
