//! When stored tiles are in use, as intervals of one clock that runs over all steps. Who shares memory is decided in
//! `sharing.rs` and `storage.rs`.

use std::collections::{HashMap, HashSet};

use pantile_ir::{DType, Op, Value};

use super::facts::{Facts, RegionId};
use super::plan::{Plan, RegionPlan, Step};
use super::storage::{Scratch, Tile, moved_from, panels};

/// One use of memory: in a region, between two moments.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    region: RegionId,
    from: u64,
    to: u64,
}

/// When each stored value is used.
#[derive(Default)]
pub struct Lives {
    /// Each of its uses.
    pub of: HashMap<Value, Vec<Access>>,
    /// The step around each region.
    around: HashMap<RegionId, Access>,
    steps: Vec<(StepWant, Access)>,
}

/// What a step wants for itself.
enum StepWant {
    Product(Value),
    Line(Value),
    Loop(Vec<Value>),
}

impl Lives {
    /// Follows the steps of a function.
    pub fn new(plan: &Plan<'_, '_>) -> Self {
        let mut lives = Self::default();
        lives.region(plan, &plan.body, None, &mut 0);
        lives
    }

    fn region(&mut self, plan: &Plan<'_, '_>, at: &RegionPlan<'_>, around: Option<Access>, clock: &mut u64) {
        if let Some(around) = around {
            self.around.insert(at.id, around);
        }
        for step in &at.steps {
            *clock += 1;
            let from = *clock;
            let mut values: HashSet<Value> = HashSet::new();
            let mut note = |inst: &pantile_ir::Inst| values.extend(&inst.results);
            let mut inner: Vec<&RegionPlan<'_>> = Vec::new();
            let mut reads: HashMap<Value, bool> = HashMap::new();
            match step {
                Step::Scalar(inst) | Step::Alone(inst) => {
                    note(inst);
                    reads = plan.choices.step_reads(inst);
                }
                Step::Product(product) => {
                    values.insert(product.result);
                    let inst = plan.choices.facts.defs[product.result.index()].unwrap_or(product.dot);
                    reads = plan.choices.step_reads(inst);
                }
                Step::Nest(nest) => {
                    for stmt in &nest.stmts {
                        note(stmt.inst);
                        reads.extend(plan.choices.step_reads(stmt.inst));
                    }
                }
                Step::Loop(inst, guard, body) => {
                    note(inst);
                    reads = plan.choices.step_reads(inst);
                    inner.extend(guard.iter().chain([body]));
                    // The body's arguments live as long as the loop.
                    values.extend(&body.region.args);
                }
                Step::If(inst, arms) => {
                    note(inst);
                    reads = plan.choices.step_reads(inst);
                    inner.extend(arms);
                }
            }
            values.extend(reads.into_keys());
            for plan_inside in inner {
                // The end of this step is not known yet, but only its being around matters until it is.
                self.region(plan, plan_inside, Some(Access { region: at.id, from, to: u64::MAX }), clock);
            }
            *clock += 1;
            let access = Access { region: at.id, from, to: *clock };
            for nested in step_regions(step) {
                self.around.insert(nested, access);
            }
            values.into_iter().for_each(|v| self.of.entry(v).or_default().push(access));
            match step {
                Step::Product(product) => self.steps.push((StepWant::Product(product.result), access)),
                Step::Alone(inst) => {
                    if let (Op::KthLargest(_) | Op::Sort { .. }, Some(v)) = (&inst.op, inst.results.first()) {
                        self.steps.push((StepWant::Line(*v), access));
                    }
                }
                Step::Loop(_, _, body) => {
                    // A carried value that becomes another carried value may be overwritten before it is read.
                    let args = &body.region.args;
                    let moved = args.iter().zip(moved_from(body)).filter(|(_, moved)| *moved).map(|(v, _)| *v);
                    self.steps.push((StepWant::Loop(moved.collect()), access));
                }
                Step::Scalar(_) | Step::Nest(_) | Step::If(..) => {}
            }
        }
        *clock += 1;
        let end = Access { region: at.id, from: *clock, to: *clock };
        at.region.yields.iter().for_each(|v| self.of.entry(*v).or_default().push(end));
    }

    /// The time between the first and the last use; a use inside a loop that the value outlives is all of the loop.
    pub fn hull(&self, accesses: &[Access]) -> (u64, u64) {
        let mut common: Option<RegionId> = accesses.first().map(|a| a.region);
        for access in accesses {
            while let Some(region) = common
                && !self.chain(access).iter().any(|a| a.region == region)
            {
                common = self.around.get(&region).map(|a| a.region);
            }
        }
        let lifted = accesses.iter().filter_map(|a| self.chain(a).into_iter().find(|up| Some(up.region) == common));
        lifted.fold((u64::MAX, 0), |(lo, hi), a| (lo.min(a.from), hi.max(a.to)))
    }

    fn chain(&self, access: &Access) -> Vec<Access> {
        let mut chain = vec![*access];
        while let Some(up) = self.around.get(&chain[chain.len() - 1].region) {
            chain.push(*up);
        }
        chain
    }

    /// The memory that steps want for themselves.
    pub fn scratch(&self, facts: &Facts<'_>, plan: &Plan<'_, '_>) -> Vec<(Scratch, Tile, Access)> {
        let mut all = Vec::new();
        for (want, access) in &self.steps {
            match want {
                StepWant::Product(result) => {
                    let Some(product) = plan.choices.products.get(*result) else { continue };
                    let panels = panels(facts, product.n, product.k);
                    all.push((Scratch::Panels(*result), panels, *access));
                    let mut dims = facts.dims(product.a);
                    let copied = if product.a_in_place(facts) {
                        dims.len() == 2 // if its rows lie badly
                    } else {
                        dims.last() != Some(&product.k)
                    };
                    if copied {
                        dims.retain(|d| *d != product.k);
                        dims.push(product.k);
                        all.push((Scratch::Rows(*result), Tile::new(facts, DType::F32, dims), *access));
                    }
                }
                StepWant::Line(result) => {
                    let dim = match facts.defs[result.index()].map(|i| &i.op) {
                        Some(Op::KthLargest(d) | Op::Sort { dim: d, .. }) => *d,
                        Some(_) | None => continue,
                    };
                    let dtype = facts.dtype(*result);
                    all.push((Scratch::Line(*result), Tile::new(facts, dtype, vec![dim]), *access));
                }
                StepWant::Loop(args) => {
                    for arg in args.iter().filter(|v| !facts.is_scalar(**v)) {
                        let tile = Tile::new(facts, facts.dtype(*arg), facts.dims(*arg));
                        all.push((Scratch::Carried(*arg), tile, *access));
                    }
                }
            }
        }
        all
    }
}

fn step_regions(step: &Step<'_>) -> Vec<RegionId> {
    match step {
        Step::Loop(_, guard, body) => guard.iter().map(|g| g.id).chain([body.id]).collect(),
        Step::If(_, arms) => arms.iter().map(|a| a.id).collect(),
        Step::Scalar(_) | Step::Nest(_) | Step::Product(_) | Step::Alone(_) => Vec::new(),
    }
}
