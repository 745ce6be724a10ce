//! Skipping: a loop's guard becomes, as far as it can, the list of a mask's row or bounds on block numbers, so that what
//! is skipped costs nothing.
//!
//! ```text
//! for j in M by 128 where {                         for j in M by 128 list %keep[%b, %h, %i] { … }
//!   %5: i64 = block_index j
//!   %6: bool = mask_get %keep[%b, %h, %i, %5]   →
//!   yield %6
//! } do { … }
//!
//! … where { … lt (block_index j) · 128, %r … }   →   for j in M by 128 bounds %0..⌈%r ÷ 128⌉
//! ```
//! Needs: what the guard takes from outside has been moved there (LICM). Leaves: the guard has only conjuncts that are
//! neither, or is gone. A comparison becomes a bound only where its sums provably do not wrap. Does not look at what the
//! body does with elements. Cost: linear.

use pantile_ir::{BinaryOp, Func, Inst, Loop, Op, Over, ParamId, Region, Value};

use super::bounds::{Interval, Site, at_most_zero, set_bounds, solve};
use super::{Changed, PassCx};
use crate::analysis::affine::Linear;
use crate::analysis::defs::Defs;

/// Runs the pass.
pub fn run(func: &mut Func, _cx: &PassCx) -> Changed {
    let body = std::mem::take(&mut func.body);
    let defs = Defs::prologue(func);
    let mut skip = Skip { func, defs, out: Vec::new(), changed: false };
    let body = skip.region(body);
    let changed = skip.changed;
    func.body = body;
    changed.into()
}

struct Skip<'f> {
    func: &'f mut Func,
    defs: Defs,
    /// The region being built.
    out: Vec<Inst>,
    changed: bool,
}

/// What a loop is found to visit only.
#[derive(Default)]
struct Found {
    list: Option<(ParamId, Vec<Value>)>,
    intervals: Vec<Interval>,
    /// Conjuncts that are none of this.
    rest: Vec<Value>,
}

impl Skip<'_> {
    fn region(&mut self, mut region: Region) -> Region {
        let outer = std::mem::take(&mut self.out);
        for mut inst in region.insts {
            self.defs.record(&inst);
            self.defs.record_loop(self.func, &inst);
            if let Op::For(it) = inst.op.clone()
                && it.guard
            {
                self.for_loop(&mut inst, it);
            }
            inst.regions = std::mem::take(&mut inst.regions).into_iter().map(|r| self.region(r)).collect();
            self.out.push(inst);
        }
        region.insts = std::mem::replace(&mut self.out, outer);
        region
    }

    fn for_loop(&mut self, inst: &mut Inst, it: Loop) {
        let guard = &inst.regions[0];
        guard.insts.iter().for_each(|i| self.defs.record(i));
        let found = self.classify(guard, &it);
        if found.list.is_none() && found.intervals.is_empty() {
            return;
        }
        self.changed = true;
        let mut it = it;
        if !found.intervals.is_empty() {
            let mut site = Site { func: self.func, defs: &mut self.defs, out: &mut self.out, span: inst.span };
            let bounds = site.bounds(inst, &it);
            let bounds = site.within(bounds, &found.intervals);
            set_bounds(inst, &mut it, bounds);
        }
        if let Some((mask, row)) = found.list {
            let at = 2 * usize::from(it.bounds);
            inst.args.splice(at..at, row);
            it.list = Some(mask);
        }
        it.guard = !found.rest.is_empty();
        if it.guard {
            self.remaining(&mut inst.regions[0], &found.rest);
        } else {
            inst.regions.remove(0);
        }
        inst.op = Op::For(it);
    }

    /// A guard that yields the conjunction of what is left.
    fn remaining(&mut self, guard: &mut Region, rest: &[Value]) {
        let mut all = rest[0];
        for v in &rest[1..] {
            let result = self.func.new_value(self.func.ty(all).clone());
            let span = guard.insts.last().map_or_else(Default::default, |i| i.span);
            let op = Op::Binary(BinaryOp::And);
            guard.insts.push(Inst { op, args: vec![all, *v], results: vec![result], regions: Vec::new(), span });
            all = result;
        }
        guard.yields = vec![all];
    }

    fn classify(&self, guard: &Region, it: &Loop) -> Found {
        let mut found = Found::default();
        for v in self.conjuncts(guard) {
            if it.list.is_none() && found.list.is_none() {
                found.list = self.listed(guard, it, v);
                if found.list.is_some() {
                    continue;
                }
            }
            match self.bound(guard, it, v) {
                Some(intervals) => found.intervals.extend(intervals),
                None => found.rest.push(v),
            }
        }
        found
    }

    /// The terms of the `and` that a guard yields.
    fn conjuncts(&self, guard: &Region) -> Vec<Value> {
        let mut work = vec![guard.yields[0]];
        let mut terms = Vec::new();
        while let Some(v) = work.pop() {
            match self.defs.get(v) {
                Some((Op::Binary(BinaryOp::And), args)) if is_inside(guard, v) => work.extend(args.iter().rev()),
                _ => terms.push(v),
            }
        }
        terms
    }

    /// A conjunct as bounds on the block number (or the number of a range).
    fn bound(&self, guard: &Region, it: &Loop, v: Value) -> Option<Vec<Interval>> {
        let solved = |sum: Linear| self.solved(guard, it, sum);
        at_most_zero(self.func, &self.defs, v, true)?.into_iter().map(solved).collect()
    }

    /// `sum ≤ 0`, solved for the number.
    fn solved(&self, guard: &Region, it: &Loop, mut sum: Linear) -> Option<Interval> {
        let numbers: Vec<Value> = sum.terms.keys().copied().filter(|v| self.is_number(guard, it, *v)).collect();
        let mut factor = 0_i64;
        for v in numbers {
            factor = factor.checked_add(sum.take(v))?;
        }
        let steady = !sum.terms.keys().any(|v| is_inside(guard, *v));
        // Numbers of a range may be as large as any other.
        let known = |v: &Value| self.defs.range(self.func, *v).is_some();
        let steady = steady && (it.over != Over::Range || sum.terms.keys().all(known));
        if steady { solve(self.func, &self.defs, factor, sum) } else { None }
    }

    /// Whether a value is the block number of the loop, or the number its guard is given.
    fn is_number(&self, guard: &Region, it: &Loop, v: Value) -> bool {
        match it.over {
            Over::Range => guard.args.first() == Some(&v),
            Over::Walk(dim) => matches!(self.defs.get(v), Some((Op::BlockIndex(d), _)) if *d == dim),
        }
    }

    /// `mask_get %m[row…, block_index j]` with a row from outside, where the mask counts the loop's blocks.
    fn listed(&self, guard: &Region, it: &Loop, v: Value) -> Option<(ParamId, Vec<Value>)> {
        let Over::Walk(dim) = it.over else { return None };
        let (Op::MaskGet(mask), args) = self.defs.get(v)? else { return None };
        let (last, row) = args.split_last()?;
        let Some((Op::BlockIndex(d), _)) = self.defs.get(*last) else { return None };
        let axis = self.func.axes(*mask).last()?;
        // An output's rows may be written while the loop runs.
        let steady = !self.func.param(*mask).out && !row.iter().any(|r| is_inside(guard, *r));
        (*d == dim && steady && self.func.counts_blocks(*axis, dim)).then(|| (*mask, row.to_vec()))
    }
}

/// Whether the guard itself defines a value.
fn is_inside(guard: &Region, v: Value) -> bool {
    guard.args.contains(&v) || guard.insts.iter().any(|i| i.results.contains(&v))
}
