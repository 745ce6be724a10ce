//! Where stored tiles lie in the arena: which share memory because one dies where the other is born (loop-carried tiles
//! live in place), which because their lives do not overlap. It emits nothing.

use std::collections::{HashMap, HashSet};

use pantile_ir::{DType, DimId, Op, Value};

use super::facts::{Facts, RegionId};
use super::plan::{Class, Nest, Plan, RegionPlan, Step};
use crate::Limit;
use crate::vector::{Carrier, carrier};

/// The most memory that one thread may need.
const MOST_BYTES: i64 = 1 << 31;

/// A tile in the arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Its dtype; in memory, each element is as a lane group holds it: 4 or 8 bytes.
    pub dtype: DType,
    /// Its dims, innermost last.
    pub dims: Vec<DimId>,
    /// The distance between neighbours along each, in elements.
    pub strides: Vec<i64>,
    /// Its first byte.
    pub offset: i64,
}

/// The size of one element in the arena.
pub fn element_bytes(dtype: DType) -> i64 {
    match carrier(dtype) {
        Carrier::Bool | Carrier::Int32 | Carrier::Float32 => 4,
        Carrier::Int64 | Carrier::Float64 => 8,
    }
}

impl Tile {
    /// A tile with rows padded to 16 elements; dims innermost last.
    pub fn new(facts: &Facts<'_>, dtype: DType, dims: Vec<DimId>) -> Self {
        let mut strides = vec![1i64; dims.len()];
        for n in (0..dims.len().saturating_sub(1)).rev() {
            let size = facts.func.dim(dims[n + 1]).size;
            let padded = if n + 2 == dims.len() { size.saturating_add(15) / 16 * 16 } else { size };
            strides[n] = strides[n + 1].saturating_mul(padded);
        }
        Self { dtype, dims, strides, offset: 0 }
    }

    /// The distance between neighbours along a dim, in bytes; 0 if it has no such dim.
    pub fn step(&self, dim: DimId) -> i64 {
        let at = self.dims.iter().position(|d| *d == dim);
        at.map_or(0, |n| self.strides[n] * element_bytes(self.dtype))
    }

    fn bytes(&self, facts: &Facts<'_>) -> i64 {
        let first = self.dims.first().map_or(1, |d| facts.func.dim(*d).size);
        let rows = if self.dims.len() == 1 { first.saturating_add(15) / 16 * 16 } else { first };
        let elements = rows.saturating_mul(self.strides.first().copied().unwrap_or(1));
        elements.saturating_mul(element_bytes(self.dtype)).saturating_add(63) / 64 * 64
    }
}

/// Memory that one step needs for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scratch {
    /// The packed operand of the product with this result.
    Panels(Value),
    /// The rows operand of the product with this result, in the shape it needs.
    Rows(Value),
    /// A row being sorted for this result.
    Line(Value),
    /// A carried value that waits until another's place is free.
    Carried(Value),
}

/// Where everything lies.
pub struct Storage {
    class_of: HashMap<Value, usize>,
    tiles: Vec<Tile>,
    scratch: HashMap<Scratch, Tile>,
    /// Size of the arena.
    pub bytes: i64,
}

impl Storage {
    /// Assigns memory.
    ///
    /// # Errors
    /// If a thread would need too much of it.
    pub fn new(facts: &Facts<'_>, plan: &Plan<'_, '_>) -> Result<Self, Limit> {
        let mut sharing = Sharing::new(facts, plan);
        sharing.region(&plan.body);
        let mut lives = Lives::default();
        lives.region(plan, &plan.body, None, &mut 0);
        let mut classes: HashMap<usize, (Vec<Value>, Vec<Access>)> = HashMap::new();
        for value in &plan.choices.stored {
            let root = sharing.find(*value);
            let class = classes.entry(root).or_default();
            class.0.push(*value);
            class.1.extend(lives.of.get(value).into_iter().flatten().copied());
        }
        let mut wanted: Vec<(Tile, Want, (u64, u64))> = Vec::new();
        let mut roots: Vec<usize> = classes.keys().copied().collect();
        roots.sort_unstable();
        for root in roots {
            let (values, accesses) = &classes[&root];
            let tile = Tile::new(facts, facts.dtype(values[0]), facts.dims(values[0]));
            wanted.push((tile, Want::Class(values.clone()), lives.hull(accesses)));
        }
        for (scratch, tile, access) in lives.scratch(facts, plan) {
            let life = lives.hull(&[access]);
            wanted.push((tile, Want::Scratch(scratch), life));
        }
        Self::allocate(facts, wanted)
    }

    fn allocate(facts: &Facts<'_>, mut wanted: Vec<(Tile, Want, (u64, u64))>) -> Result<Self, Limit> {
        wanted.sort_by_key(|(tile, _, life)| (life.0, std::cmp::Reverse(tile.bytes(facts))));
        let mut storage = Self { class_of: HashMap::new(), tiles: Vec::new(), scratch: HashMap::new(), bytes: 0 };
        let mut placed: Vec<(i64, i64, (u64, u64))> = Vec::new();
        for (mut tile, want, life) in wanted {
            let size = tile.bytes(facts);
            let mut taken: Vec<(i64, i64)> =
                placed.iter().filter(|p| p.2.0 <= life.1 && life.0 <= p.2.1).map(|p| (p.0, p.1)).collect();
            taken.sort_unstable();
            let free = taken.iter().fold(0, |at, (lo, hi)| if at + size <= *lo { at } else { at.max(*hi) });
            tile.offset = free;
            storage.bytes = storage.bytes.max(free.saturating_add(size));
            if storage.bytes > MOST_BYTES {
                let mib = storage.bytes >> 20;
                let most = MOST_BYTES >> 20;
                let name = &facts.func.name;
                return Err(Limit::new(format!(
                    "the tiles of `{name}` need {mib} MiB a thread, more than the {most} MiB that one may have; use smaller blocks"
                )));
            }
            placed.push((free, free + size, life));
            match want {
                Want::Class(values) => {
                    values.iter().for_each(|v| {
                        storage.class_of.insert(*v, storage.tiles.len());
                    });
                    storage.tiles.push(tile);
                }
                Want::Scratch(scratch) => {
                    storage.scratch.insert(scratch, tile);
                }
            }
        }
        Ok(storage)
    }

    /// The tile of a stored value.
    pub fn tile(&self, value: Value) -> Option<&Tile> {
        self.class_of.get(&value).map(|n| &self.tiles[*n])
    }

    /// Whether two stored values share memory.
    pub fn same(&self, a: Value, b: Value) -> bool {
        self.class_of.get(&a).is_some_and(|n| self.class_of.get(&b) == Some(n))
    }

    /// The memory that a step has for itself.
    pub fn scratch(&self, scratch: Scratch) -> Option<&Tile> {
        self.scratch.get(&scratch)
    }
}

enum Want {
    Class(Vec<Value>),
    Scratch(Scratch),
}

/// One use of memory: in a region, between two moments.
#[derive(Clone, Copy, Debug)]
struct Access {
    region: RegionId,
    from: u64,
    to: u64,
}

/// When each stored value is used.
#[derive(Default)]
struct Lives {
    of: HashMap<Value, Vec<Access>>,
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
    fn hull(&self, accesses: &[Access]) -> (u64, u64) {
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

    fn scratch(&self, facts: &Facts<'_>, plan: &Plan<'_, '_>) -> Vec<(Scratch, Tile, Access)> {
        let mut all = Vec::new();
        for (want, access) in &self.steps {
            match want {
                StepWant::Product(result) => {
                    let Some(product) = plan.choices.products.get(*result) else { continue };
                    let panels = panels(facts, product.n, product.k);
                    all.push((Scratch::Panels(*result), panels, *access));
                    if !product.a_in_place(facts) && facts.dims(product.a).last() != Some(&product.k) {
                        let mut dims = facts.dims(product.a);
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

/// For each argument of a loop's body, whether its next value is another argument.
pub fn moved_from(body: &RegionPlan<'_>) -> Vec<bool> {
    let (args, yields) = (&body.region.args, &body.region.yields);
    let first = args.len() - yields.len();
    let moved = |n: usize| n >= first && args.contains(&yields[n - first]) && yields[n - first] != args[n];
    (0..args.len()).map(moved).collect()
}

/// The packed panels of a product, as one run of elements.
fn panels(facts: &Facts<'_>, n: DimId, k: DimId) -> Tile {
    let elements = crate::dot::packed_bytes(facts.func.dim(k).size, facts.func.dim(n).size) / 4;
    // Only the size matters: one dim of stride 1 whose first stride carries it.
    Tile { dtype: DType::F32, dims: Vec::new(), strides: vec![elements], offset: 0 }
}

fn step_regions(step: &Step<'_>) -> Vec<RegionId> {
    match step {
        Step::Loop(_, guard, body) => guard.iter().map(|g| g.id).chain([body.id]).collect(),
        Step::If(_, arms) => arms.iter().map(|a| a.id).collect(),
        Step::Scalar(_) | Step::Nest(_) | Step::Product(_) | Step::Alone(_) => Vec::new(),
    }
}

/// Which stored values share memory because one becomes the other.
struct Sharing<'a, 'f> {
    facts: &'a Facts<'f>,
    plan: &'a Plan<'a, 'f>,
    parent: HashMap<Value, Value>,
    members: HashMap<Value, Vec<Value>>,
    /// Region, first and last step of each value.
    range: HashMap<Value, (RegionId, i64, i64)>,
}

impl<'a, 'f> Sharing<'a, 'f> {
    fn new(facts: &'a Facts<'f>, plan: &'a Plan<'a, 'f>) -> Self {
        Self { facts, plan, parent: HashMap::new(), members: HashMap::new(), range: HashMap::new() }
    }

    fn root(&self, value: Value) -> Value {
        let mut at = value;
        while let Some(up) = self.parent.get(&at) {
            at = *up;
        }
        at
    }

    fn find(&self, value: Value) -> usize {
        self.root(value).index()
    }

    fn class(&self, root: Value) -> Vec<Value> {
        self.members.get(&root).cloned().unwrap_or_else(|| vec![root])
    }

    /// Lets `a` and `b` share if nothing else in their classes is alive when it must not be. `heirs` are those that may
    /// be born where `a` dies.
    fn unify(&mut self, a: Value, b: Value, heirs: &[Value]) -> bool {
        let (x, y) = (self.root(a), self.root(b));
        if x == y {
            return true;
        }
        let alike = self.facts.func.ty(a) == self.facts.func.ty(b);
        let inherits = |v: Value, w: Value| v == a && (w == b || heirs.contains(&w));
        let clash =
            self.class(x).iter().any(|v| self.class(y).iter().any(|w| !inherits(*v, *w) && self.overlap(*v, *w)));
        if !alike || clash {
            return false;
        }
        let joined = [self.class(x), self.class(y)].concat();
        self.parent.insert(y, x);
        self.members.insert(x, joined);
        true
    }

    fn overlap(&self, a: Value, b: Value) -> bool {
        match (self.range.get(&a), self.range.get(&b)) {
            (Some((ra, fa, la)), Some((rb, fb, lb))) => ra == rb && !(la < fb || lb < fa),
            _ => false,
        }
    }

    fn region(&mut self, at: &RegionPlan<'f>) {
        self.ranges(at);
        for (n, step) in at.steps.iter().enumerate() {
            match step {
                Step::Product(product) => {
                    if let Some(init) = product.init.map(|v| self.facts.resolve(v)) {
                        let others = [Some(product.a), Some(product.b), product.fade];
                        let read = others.into_iter().flatten().any(|v| self.facts.resolve(v) == init);
                        if !read && self.dies(at, init, n) {
                            self.unify(init, product.result, &[]);
                        }
                    }
                }
                Step::Loop(inst, _, body) => self.carried(at, n, inst, body),
                Step::If(inst, arms) => {
                    for arm in arms {
                        self.region(arm);
                        for (result, value) in inst.results.iter().zip(&arm.region.yields) {
                            let fresh = self.made_in(arm, *value).is_some();
                            let once = arm.region.yields.iter().filter(|v| *v == value).count() == 1;
                            if !self.facts.is_scalar(*value) && fresh && once {
                                self.unify(*value, *result, &[]);
                            }
                        }
                    }
                }
                Step::Nest(nest) => self.in_place(at, n, nest),
                Step::Scalar(_) | Step::Alone(_) => {}
            }
        }
    }

    /// Lets what a nest makes replace what dies in it.
    fn in_place(&mut self, at: &RegionPlan<'f>, n: usize, nest: &Nest<'f>) {
        for stmt in nest.stmts.iter().filter(|s| s.class == Class::Root && !s.row) {
            let made = stmt.inst.results[0];
            if at.region.yields.contains(&made) {
                continue; // it had better take the place of what the loop carries
            }
            let mut reads: Vec<Value> =
                nest.stmts.iter().flat_map(|s| self.plan.choices.step_reads(s.inst)).map(|r| r.0).collect();
            reads.sort();
            reads.dedup();
            for old in reads.into_iter().filter(|v| self.plan.choices.stored.contains(v)) {
                let own = self.range.get(&old).is_some_and(|(_, from, _)| *from >= 0 && *from < n as i64);
                if own && self.dies(at, old, n) && self.may_replace_in(nest, old, made) && self.unify(old, made, &[]) {
                    break;
                }
            }
        }
    }

    fn carried(&mut self, at: &RegionPlan<'f>, n: usize, inst: &'f pantile_ir::Inst, body: &RegionPlan<'f>) {
        self.region(body);
        let Some(args) = inst.loop_args(self.facts.func) else { return };
        let first = body.region.args.len() - args.inits.len();
        for (k, init) in args.inits.iter().enumerate() {
            if self.facts.is_scalar(*init) {
                continue;
            }
            let (arg, next) = (body.region.args[first + k], body.region.yields[k]);
            self.unify(arg, inst.results[k], &[]);
            let lone = args.inits.iter().filter(|v| *v == init).count() == 1;
            let mut inside = HashMap::new();
            for step in &body.steps {
                inside.extend(self.step_values(step));
            }
            let read_inside = inside.contains_key(init) || body.region.yields.contains(init);
            if lone && !read_inside && self.dies(at, *init, n) {
                self.unify(*init, arg, &[inst.results[k]]);
            }
            let once = body.region.yields.iter().filter(|v| **v == next).count() == 1;
            if once && self.may_replace(body, arg, next) {
                self.unify(arg, next, &[]);
            }
        }
    }

    /// Whether `value` is this region's own and not read after step `n`.
    fn dies(&self, at: &RegionPlan<'f>, value: Value, n: usize) -> bool {
        let range = self.range.get(&value);
        range.is_some_and(|(region, _, last)| *region == at.id && *last <= n as i64)
    }

    /// The step of a region that makes a value.
    fn made_in(&self, at: &RegionPlan<'f>, value: Value) -> Option<usize> {
        match self.range.get(&value) {
            Some((region, from, _)) if *region == at.id && *from >= 0 => usize::try_from(*from).ok(),
            Some(_) | None => None,
        }
    }

    /// Whether `next` may be written over `arg`: nothing reads `arg` after, or elsewhere than where `next` is written.
    fn may_replace(&self, body: &RegionPlan<'f>, arg: Value, next: Value) -> bool {
        let Some(n) = self.made_in(body, next) else { return false };
        let Some((_, _, last)) = self.range.get(&arg) else { return false };
        if *last < n as i64 {
            return true;
        }
        if *last > n as i64 {
            return false;
        }
        match &body.steps[n] {
            // Reading it as what the product or the inner loop starts from has joined them already.
            Step::Product(_) | Step::Loop(..) => self.root(arg) == self.root(next),
            Step::Nest(nest) => self.may_replace_in(nest, arg, next),
            Step::Scalar(_) | Step::If(..) | Step::Alone(_) => false,
        }
    }

    fn may_replace_in(&self, nest: &Nest<'f>, arg: Value, next: Value) -> bool {
        let Some(writer) = nest.stmts.iter().find(|s| s.inst.results.contains(&next)) else { return false };
        let kept = super::plan::reduced(writer.inst) == [nest.inner()];
        if writer.class == Class::Reduce && !kept {
            return false;
        }
        nest.stmts.iter().all(|stmt| match self.plan.choices.step_reads(stmt.inst).get(&arg) {
            None => true,
            Some(true) => false,
            // What is made once a row is written at the row's end, after all reads.
            Some(false) => writer.row || writer.class == Class::Reduce || stmt.time <= writer.time,
        })
    }

    fn step_values(&self, step: &Step<'f>) -> HashMap<Value, bool> {
        match step {
            Step::Scalar(inst) | Step::Alone(inst) | Step::Loop(inst, ..) | Step::If(inst, _) => {
                self.plan.choices.step_reads(inst)
            }
            Step::Product(product) => {
                let inst = self.facts.defs[product.result.index()].unwrap_or(product.dot);
                self.plan.choices.step_reads(inst)
            }
            Step::Nest(nest) => nest.stmts.iter().flat_map(|s| self.plan.choices.step_reads(s.inst)).collect(),
        }
    }

    fn ranges(&mut self, at: &RegionPlan<'f>) {
        for arg in &at.region.args {
            self.range.insert(*arg, (at.id, -1, -1));
        }
        for (n, step) in at.steps.iter().enumerate() {
            let mut made: Vec<Value> = Vec::new();
            match step {
                Step::Scalar(inst) | Step::Alone(inst) | Step::Loop(inst, ..) | Step::If(inst, _) => {
                    made.extend(&inst.results);
                }
                Step::Product(product) => made.push(product.result),
                Step::Nest(nest) => made.extend(nest.stmts.iter().flat_map(|s| &s.inst.results)),
            }
            for value in made {
                self.range.insert(value, (at.id, n as i64, n as i64));
            }
        }
        for (n, step) in at.steps.iter().enumerate() {
            for value in self.step_values(step).into_keys() {
                self.reach(at, value, n);
            }
        }
        for value in &at.region.yields {
            self.reach(at, *value, at.steps.len());
        }
    }

    fn reach(&mut self, at: &RegionPlan<'f>, value: Value, n: usize) {
        if let Some((region, _, last)) = self.range.get_mut(&value)
            && *region == at.id
        {
            *last = (*last).max(n as i64);
        }
    }
}
