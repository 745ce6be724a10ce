//! Decides what is stored, what is recomputed where it is used, and which instructions share a nest of loops.
//!
//! A **step** is what is emitted as a unit: scalar code, a nest, a product, a loop, …. A **nest** runs over the dims of its
//! tiles; its innermost dim is vectorised, and each of its rows may take several passes over that dim:
//! `max` of a row, then `exp` and `sum` of the same row while it is hot. Element-wise values that nothing forces into
//! memory are **inline**: they are recomputed by whoever reads them; if that would cost more than storing, they are
//! stored, and the plan is made again. Nothing here knows addresses: see `storage.rs`.

use std::collections::{HashMap, HashSet};

use pantile_ir::{DimId, Inst, Op, Region, Value};

use super::facts::{Facts, RegionId};
use super::product::{Product, Products};

/// What becomes of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing: no one reads it.
    Dead,
    /// Scalar code in place.
    Scalar,
    /// Recomputed by its readers.
    Inline,
    /// Computed in a nest and stored.
    Root,
    /// Computed in a nest from all of its operand.
    Reduce,
    /// A store of a tile, in a nest.
    Store,
    /// A step of its own.
    Alone,
}

/// One unit of emission.
#[derive(Debug)]
pub enum Step<'f> {
    /// Scalar code.
    Scalar(&'f Inst),
    /// Loops over dims.
    Nest(Nest<'f>),
    /// A product.
    Product(Product<'f>),
    /// A loop of the kernel: guard, if there is one, and body.
    Loop(&'f Inst, Option<RegionPlan<'f>>, RegionPlan<'f>),
    /// A conditional: then, else.
    If(&'f Inst, [RegionPlan<'f>; 2]),
    /// Anything else.
    Alone(&'f Inst),
}

/// The steps of a region.
#[derive(Debug)]
pub struct RegionPlan<'f> {
    /// The region.
    pub region: &'f Region,
    /// Its number.
    pub id: RegionId,
    /// In order.
    pub steps: Vec<Step<'f>>,
}

/// Instructions that share loops.
#[derive(Debug)]
pub struct Nest<'f> {
    /// All its dims in the order of layout; the last is vectorised, the others are its rows.
    pub dims: Vec<DimId>,
    /// In the order of the function.
    pub stmts: Vec<Stmt<'f>>,
}

/// One instruction in a nest.
#[derive(Clone, Debug)]
pub struct Stmt<'f> {
    /// The instruction.
    pub inst: &'f Inst,
    /// What it is.
    pub class: Class,
    /// Whether it runs once a row.
    pub row: bool,
    /// When: pass `n` is at `2n`, what is done for a row after it at `2n + 1`, before all of them at -1.
    pub time: i32,
}

impl Nest<'_> {
    /// The vectorised dim.
    pub fn inner(&self) -> DimId {
        self.dims[self.dims.len() - 1]
    }

    /// The dims of the rows.
    pub fn rows(&self) -> &[DimId] {
        &self.dims[..self.dims.len() - 1]
    }
}

/// The dims that an instruction of a nest runs over, unsorted.
pub fn iteration(facts: &Facts<'_>, inst: &Inst) -> Vec<DimId> {
    let of = |v: &Value| facts.func.ty(*v).dims().to_vec();
    if matches!(inst.op, Op::Reduce(..) | Op::Dot(_)) {
        return inst.args.iter().flat_map(of).collect();
    }
    if let Op::Store { index, .. } = &inst.op {
        let named = index.iter().filter_map(super::facts::as_dim);
        return named.chain(inst.index_args().iter().flat_map(of)).collect();
    }
    inst.results.iter().flat_map(of).collect()
}

/// Whether an operand is read at places that only the lanes know: the source of a gather or of a reshaping.
pub fn reads_elsewhere(inst: &Inst, operand: usize) -> bool {
    matches!(inst.op, Op::Gather(_) if operand == 0) || matches!(inst.op, Op::Split { .. } | Op::Merge { .. })
}

/// The dims that a reduction takes away.
pub fn reduced(inst: &Inst) -> &[DimId] {
    if let Op::Reduce(_, dims) | Op::Dot(dims) = &inst.op { dims } else { &[] }
}

/// The plan of a function.
pub struct Plan<'a, 'f> {
    /// What is stored, and what is a product.
    pub choices: Planner<'a, 'f>,
    /// The steps.
    pub body: RegionPlan<'f>,
}

impl<'a, 'f> Plan<'a, 'f> {
    /// Plans a function.
    pub fn new(facts: &'a Facts<'f>) -> Self {
        let products = Products::new(facts);
        let mut planner = Planner { facts, products, stored: HashSet::new() };
        planner.force_region(&facts.func.body);
        // Each round stores at least one more value; a handful settles every kernel, and stopping early is only slower.
        for _ in 0..6 {
            let body = planner.region(&facts.func.body, &mut 0);
            let mut costly = super::cost::costly(&planner, &body);
            costly.retain(|v| !planner.stored.contains(v));
            if costly.is_empty() {
                break;
            }
            planner.stored.extend(costly);
        }
        let body = planner.region(&facts.func.body, &mut 0);
        planner.store_results(&body);
        Self { choices: planner, body }
    }
}

/// The state of planning.
pub struct Planner<'a, 'f> {
    /// Facts.
    pub facts: &'a Facts<'f>,
    /// Products.
    pub products: Products<'f>,
    /// Values that are in memory; what is not and has no step is inline.
    pub stored: HashSet<Value>,
}

impl<'f> Planner<'_, 'f> {
    /// What becomes of an instruction.
    pub fn class(&self, inst: &Inst) -> Class {
        let facts = self.facts;
        let result = inst.results.first().copied();
        let needed = result.is_some_and(|v| facts.needed[v.index()]);
        let tile = result.is_some_and(|v| !facts.is_scalar(v));
        match &inst.op {
            Op::For(_) | Op::If => Class::Alone,
            Op::Store { .. } if iteration(facts, inst).is_empty() => Class::Alone,
            Op::Store { .. } => Class::Store,
            Op::MaskPut(..) => Class::Alone,
            Op::Print(_) | Op::Assert(_) => {
                if facts.checks {
                    Class::Alone
                } else {
                    Class::Dead
                }
            }
            _ if !needed => Class::Dead,
            Op::Binary(_) | Op::Dot(_) if result.is_some_and(|v| self.products.get(v).is_some()) => Class::Alone,
            Op::Dot(_) if result.is_some_and(|v| self.products.folded.contains(&v)) => Class::Inline,
            Op::Reduce(..) | Op::Dot(_) => Class::Reduce,
            Op::ArgReduce(..) | Op::Scan(..) | Op::Sort { .. } | Op::KthLargest(_) => Class::Alone,
            Op::Const(..)
            | Op::Extent(_)
            | Op::BlockIndex(_)
            | Op::BlockLen(_)
            | Op::Pos(_)
            | Op::At(_)
            | Op::Valid(_)
            | Op::OrderAt(_)
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Select
            | Op::Cast(_)
            | Op::Broadcast(_)
            | Op::Gather(_)
            | Op::Split { .. }
            | Op::Merge { .. }
            | Op::Random
            | Op::Load(..)
            | Op::MaskGet(_) => match result {
                Some(_) if !tile => Class::Scalar,
                Some(v) if self.stored.contains(&v) => Class::Root,
                Some(_) | None => Class::Inline,
            },
        }
    }

    /// Stores a tile that something needs in memory.
    fn force(&mut self, value: Value) {
        let value = self.facts.resolve(value);
        if !self.facts.is_scalar(value) {
            self.stored.insert(value);
        }
    }

    fn force_region(&mut self, region: &'f Region) {
        for inst in &region.insts {
            self.force_inst(inst);
            inst.regions.iter().for_each(|r| self.force_region(r));
        }
        region.args.iter().chain(&region.yields).for_each(|v| {
            if !self.facts.is_scalar(*v) {
                self.stored.insert(*v);
            }
        });
    }

    fn force_inst(&mut self, inst: &'f Inst) {
        let tiles =
            |facts: &Facts<'_>| inst.results.iter().copied().filter(|v| !facts.is_scalar(*v)).collect::<Vec<_>>();
        match &inst.op {
            Op::Gather(_)
            | Op::Split { .. }
            | Op::Merge { .. }
            | Op::Sort { .. }
            | Op::KthLargest(_)
            | Op::ArgReduce(..)
            | Op::Scan(..)
            | Op::Print(_) => self.force(inst.args[0]),
            Op::Load(param, _) if self.facts.is_written(*param) => self.stored.extend(tiles(self.facts)),
            Op::For(_) | Op::If => {
                self.stored.extend(tiles(self.facts));
                let inits = inst.loop_args(self.facts.func).map_or(&[][..], |a| a.inits).to_vec();
                let inits = inits.into_iter().filter(|v| !self.facts.is_scalar(*v));
                self.stored.extend(inits.collect::<Vec<_>>());
            }
            Op::Const(..)
            | Op::Extent(_)
            | Op::BlockIndex(_)
            | Op::BlockLen(_)
            | Op::Pos(_)
            | Op::At(_)
            | Op::Valid(_)
            | Op::OrderAt(_)
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Select
            | Op::Cast(_)
            | Op::Broadcast(_)
            | Op::Reduce(..)
            | Op::Dot(_)
            | Op::Random
            | Op::Load(..)
            | Op::Store { .. }
            | Op::MaskGet(_)
            | Op::MaskPut(..)
            | Op::Assert(_) => {}
        }
        if matches!(inst.op, Op::ArgReduce(..) | Op::Scan(..) | Op::Sort { .. } | Op::KthLargest(_)) {
            self.stored.extend(tiles(self.facts));
        }
        if let Some(product) = inst.results.first().and_then(|v| self.products.get(*v)).cloned() {
            self.stored.insert(product.result);
            if !product.a_in_place(self.facts) {
                self.force(product.a);
            }
            if !product.b_in_place(self.facts) {
                self.force(product.b);
            }
            product.init.into_iter().chain(product.fade).for_each(|v| self.force(v));
        }
    }

    /// What a value stands for at run time, found through inline values: scalars, stored tiles and results of
    /// reductions; `true` with those that are read elsewhere than at the reader's own position.
    pub fn reads(&self, value: Value, whole: bool, out: &mut HashMap<Value, bool>) {
        self.reads_behind(value, whole, out, &mut HashMap::new());
    }

    fn reads_behind(&self, value: Value, whole: bool, out: &mut HashMap<Value, bool>, seen: &mut HashMap<Value, bool>) {
        let Some(inst) = self.defs_inline(value) else {
            *out.entry(value).or_insert(false) |= whole;
            return;
        };
        // Walked once as aligned and once as a whole at most, however often it is shared.
        if seen.get(&value).is_some_and(|known| *known || !whole) {
            return;
        }
        seen.insert(value, whole);
        for (n, arg) in inst.args.iter().enumerate() {
            self.reads_behind(*arg, whole || reads_elsewhere(inst, n), out, seen);
        }
    }

    /// The instruction of an inline value.
    pub fn defs_inline(&self, value: Value) -> Option<&'f Inst> {
        self.facts.defs[value.index()].filter(|inst| self.class(inst) == Class::Inline)
    }

    /// What an instruction with a step reads.
    pub fn step_reads(&self, inst: &'f Inst) -> HashMap<Value, bool> {
        let mut out = HashMap::new();
        if let Some(product) = inst.results.first().and_then(|v| self.products.get(*v)) {
            let operands = [Some(product.a), Some(product.b), product.init, product.fade];
            operands.into_iter().flatten().for_each(|v| self.reads(v, true, &mut out));
            return out;
        }
        let whole = self.class(inst) == Class::Alone;
        for (n, arg) in inst.args.iter().enumerate() {
            self.reads(*arg, whole || reads_elsewhere(inst, n), &mut out);
        }
        let mut nested = HashMap::new();
        inst.regions.iter().for_each(|r| self.region_reads(r, &mut nested));
        let inside: HashSet<Value> = inst.regions.iter().flat_map(defined).collect();
        out.extend(nested.into_keys().filter(|v| !inside.contains(v)).map(|v| (v, true)));
        out
    }

    fn region_reads(&self, region: &'f Region, out: &mut HashMap<Value, bool>) {
        for inst in &region.insts {
            match self.class(inst) {
                Class::Dead | Class::Inline => {}
                Class::Scalar | Class::Root | Class::Reduce | Class::Store | Class::Alone => {
                    out.extend(self.step_reads(inst));
                }
            }
        }
        region.yields.iter().for_each(|v| self.reads(*v, true, out));
    }

    fn region(&self, region: &'f Region, next: &mut RegionId) -> RegionPlan<'f> {
        let id = *next;
        *next += 1;
        let mut at = super::group::Grouping::new(self);
        for inst in &region.insts {
            match self.class(inst) {
                Class::Dead | Class::Inline => {}
                class @ (Class::Root | Class::Reduce | Class::Store) => at.place(inst, class),
                Class::Scalar => at.append(Step::Scalar(inst), inst),
                Class::Alone => {
                    let mut plans: Vec<_> = inst.regions.iter().map(|r| self.region(r, next)).collect();
                    let product = inst.results.first().and_then(|v| self.products.get(*v)).cloned();
                    let step = match (plans.pop(), plans.pop(), product) {
                        (_, _, Some(product)) => Step::Product(product),
                        (Some(body), guard, None) if matches!(inst.op, Op::For(_)) => Step::Loop(inst, guard, body),
                        (Some(otherwise), Some(then), None) => Step::If(inst, [then, otherwise]),
                        (_, _, None) => Step::Alone(inst),
                    };
                    at.append(step, inst);
                }
            }
        }
        RegionPlan { region, id, steps: at.finish() }
    }

    /// Stores the results of reductions that are read outside their nest, or cannot be kept in registers.
    fn store_results(&mut self, plan: &RegionPlan<'f>) {
        let mut outside: HashSet<Value> = HashSet::new();
        let mut locals: Vec<Value> = Vec::new();
        self.collect_results(plan, &mut outside, &mut locals);
        for value in locals {
            if outside.contains(&value) {
                self.stored.insert(value);
            }
        }
    }

    fn collect_results(&self, plan: &RegionPlan<'f>, outside: &mut HashSet<Value>, locals: &mut Vec<Value>) {
        let read = |v: Value, outside: &mut HashSet<Value>| {
            let mut out = HashMap::new();
            self.reads(v, true, &mut out);
            outside.extend(out.into_keys());
        };
        plan.region.yields.iter().for_each(|v| read(*v, outside));
        for step in &plan.steps {
            match step {
                Step::Scalar(inst) | Step::Alone(inst) => outside.extend(self.step_reads(inst).into_keys()),
                Step::Product(product) => {
                    let inst = self.facts.defs[product.result.index()].unwrap_or(product.dot);
                    outside.extend(self.step_reads(inst).into_keys());
                }
                Step::Loop(inst, guard, body) => {
                    inst.args.iter().for_each(|v| read(*v, outside));
                    guard.iter().for_each(|g| self.collect_results(g, outside, locals));
                    self.collect_results(body, outside, locals);
                }
                Step::If(inst, arms) => {
                    inst.args.iter().for_each(|v| read(*v, outside));
                    arms.iter().for_each(|arm| self.collect_results(arm, outside, locals));
                }
                Step::Nest(nest) => {
                    let own: HashSet<Value> = nest.stmts.iter().flat_map(|s| s.inst.results.iter().copied()).collect();
                    for stmt in &nest.stmts {
                        let reads = self.step_reads(stmt.inst);
                        outside.extend(reads.into_keys().filter(|v| !own.contains(v)));
                        let in_rows = reduced(stmt.inst) == [nest.inner()];
                        if stmt.class == Class::Reduce {
                            locals.extend(&stmt.inst.results);
                            if !in_rows {
                                outside.extend(&stmt.inst.results);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// All values that a region and those in it define.
pub fn defined(region: &Region) -> Vec<Value> {
    let nested = region.insts.iter().flat_map(|i| i.regions.iter().flat_map(defined));
    let own = region.insts.iter().flat_map(|i| i.results.iter().copied());
    region.args.iter().copied().chain(own).chain(nested).collect()
}
