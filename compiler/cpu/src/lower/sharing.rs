//! Which stored values share memory because one becomes the other: loop-carried tiles live in place, products add to what
//! they start from, and what a nest makes replaces what dies in it. Where that memory is, is `storage.rs`'s business.

use std::collections::HashMap;

use pantile_ir::Value;

use super::facts::{Facts, RegionId};
use super::plan::{Class, Nest, Plan, RegionPlan, Step};

/// Which stored values share memory because one becomes the other.
pub struct Sharing<'a, 'f> {
    facts: &'a Facts<'f>,
    plan: &'a Plan<'a, 'f>,
    parent: HashMap<Value, Value>,
    members: HashMap<Value, Vec<Value>>,
    /// Region, first and last step of each value.
    range: HashMap<Value, (RegionId, i64, i64)>,
}

impl<'a, 'f> Sharing<'a, 'f> {
    /// Finds them.
    pub fn new(facts: &'a Facts<'f>, plan: &'a Plan<'a, 'f>) -> Self {
        let (parent, members, range) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut sharing = Self { facts, plan, parent, members, range };
        sharing.region(&plan.body);
        sharing
    }

    fn root(&self, value: Value) -> Value {
        let mut at = value;
        while let Some(up) = self.parent.get(&at) {
            at = *up;
        }
        at
    }

    /// A number that is the same for values that share.
    pub fn find(&self, value: Value) -> usize {
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
