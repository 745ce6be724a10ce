//! Shortening: a walk does not visit blocks of which an element mask keeps nothing, where such rounds are idle.
//!
//! ```text
//! for j in N by 128 carry (%top = …, …) {                for j in N by 128 bounds %0..%7 carry (…) {
//!   … %s = select (le (pos j), (pos i)), %x, -inf …  →     …
//!
//! %s = select (eq %row, %column), %x, -inf               where {
//!   (%row along i, %column = load %id[j])          →       min %row ≤ max %column and max %row ≥ min %column }
//! ```
//! Comparisons of positions become bounds; of other integers, one side along the walk, the other not, a guard on their
//! least and greatest in the block (of sums, term by term), if it costs little beside the body; several of which any keeps (`or`), a guard too. What
//! "idle" is and why such a round may go: `analysis/idle.rs`. Needs: constants folded, invariants hoisted (LICM). Leaves: the masks as they are, for the blocks that
//! are kept in part. Does not divide loops. Cost: linear in the size of bodies times the comparisons in them.

use std::collections::HashSet;

use pantile_ir::{
    BinaryOp, DType, DimId, Func, Inst, Loop, Op, Over, ReduceOp, Region, Scalar, Type, Value, result_types,
};

use super::bounds::{Site, at_most_zero, fits, set_bounds};
use super::copy::Copies;
use super::cse::is_pure;
use super::element_masks::{Joined, Lanes, element_masks, joined, kept_blocks};
use super::{Changed, PassCx};
use crate::analysis::defs::Defs;
use crate::analysis::faults::may_fault;

/// A guard computes no more than this many instructions for one side of a comparison.
const MAX_SLICE: usize = 16;

/// Runs the pass.
pub fn run(func: &mut Func, _cx: &PassCx) -> Changed {
    let body = std::mem::take(&mut func.body);
    let defs = Defs::prologue(func);
    let mut shorten = Shorten { func, defs, changed: false };
    let body = shorten.region(body);
    let changed = shorten.changed;
    func.body = body;
    changed.into()
}

/// What is to be asked of each block.
struct Guard {
    insts: Vec<Inst>,
    /// All must hold.
    holds: Vec<Value>,
}

/// The walk that a question is about.
struct Asked<'a> {
    inst: &'a Inst,
    it: &'a Loop,
    dim: DimId,
    /// In front of the loop.
    out: &'a mut Vec<Inst>,
    /// In the guard.
    made: Vec<Inst>,
}

struct Shorten<'f> {
    func: &'f mut Func,
    defs: Defs,
    changed: bool,
}

impl Shorten<'_> {
    fn region(&mut self, region: Region) -> Region {
        let mut out = Vec::with_capacity(region.insts.len());
        for mut inst in region.insts {
            self.defs.record(&inst);
            self.defs.record_loop(self.func, &inst);
            if let Op::For(it) = inst.op.clone()
                && let Over::Walk(dim) = it.over
                && !inst.has_effect()
            {
                self.walk(&mut inst, it, dim, &mut out);
            }
            inst.regions = std::mem::take(&mut inst.regions).into_iter().map(|r| self.region(r)).collect();
            out.push(inst);
        }
        Region { insts: out, ..region }
    }

    fn walk(&mut self, inst: &mut Inst, mut it: Loop, dim: DimId, out: &mut Vec<Inst>) {
        inst.body().insts.iter().for_each(|i| self.defs.record(i));
        let masks = element_masks(self.func, &self.defs, inst, dim);
        let mut guard = Guard { insts: Vec::new(), holds: Vec::new() };
        for mask in masks.iter().filter(|m| m.skips) {
            let part = (mask.value, mask.kept);
            let mut site = Site { func: self.func, defs: &mut self.defs, out, span: inst.span };
            if let Some(intervals) = kept_blocks(&mut site, inst.body(), dim, part, Lanes::Some) {
                let bounds = site.bounds(inst, &it);
                let bounds = site.within(bounds, &intervals);
                set_bounds(inst, &mut it, bounds);
                self.changed = true;
            } else {
                let mut cx = Asked { inst, it: &it, dim, out, made: Vec::new() };
                if let Some(holds) = self.may_keep(&mut cx, part) {
                    guard.insts.append(&mut cx.made);
                    guard.holds.push(holds);
                }
            }
        }
        self.add_guard(inst, &mut it, guard);
        inst.op = Op::For(it);
    }

    fn add_guard(&mut self, inst: &mut Inst, it: &mut Loop, mut guard: Guard) {
        let Some(mut holds) = guard.holds.pop() else { return };
        self.changed = true;
        if it.guard {
            guard.holds.push(inst.regions[0].yields[0]);
        } else {
            inst.regions.insert(0, Region::default());
            it.guard = true;
        }
        for other in guard.holds {
            holds = self.binary(&mut guard.insts, inst, BinaryOp::And, other, holds);
        }
        inst.regions[0].insts.append(&mut guard.insts);
        inst.regions[0].yields = vec![holds];
    }

    /// Computes, in a guard, whether a block can have a lane at which a bool is as said. `None` if that is not cheap.
    fn may_keep(&mut self, cx: &mut Asked, (value, kept): (Value, bool)) -> Option<Value> {
        match joined(&self.defs, value, kept) {
            Joined::Alone => self
                .inside(cx, (value, kept))
                .or_else(|| self.ranges_meet(cx, (value, kept)))
                .or_else(|| self.sums_reach(cx, (value, kept))),
            Joined::All(parts) => {
                // What is not known rules nothing out.
                let known: Vec<Value> = parts.into_iter().filter_map(|part| self.may_keep(cx, part)).collect();
                self.join(cx, BinaryOp::And, &known)
            }
            Joined::Any(parts) => {
                let all = parts.into_iter().map(|part| self.may_keep(cx, part)).collect::<Option<Vec<_>>>()?;
                self.join(cx, BinaryOp::Or, &all)
            }
        }
    }

    fn join(&mut self, cx: &mut Asked, op: BinaryOp, parts: &[Value]) -> Option<Value> {
        let (first, rest) = parts.split_first()?;
        Some(rest.iter().fold(*first, |all, next| self.binary(&mut cx.made, cx.inst, op, all, *next)))
    }

    /// Whether the block lies within what a comparison of positions says.
    fn inside(&mut self, cx: &mut Asked, part: (Value, bool)) -> Option<Value> {
        let mut site = Site { func: self.func, defs: &mut self.defs, out: cx.out, span: cx.inst.span };
        let intervals = kept_blocks(&mut site, cx.inst.body(), cx.dim, part, Lanes::Some)?;
        let (low, high) = (intervals.iter().any(|i| i.is_low), intervals.iter().any(|i| !i.is_low));
        let bounds = site.bounds(cx.inst, cx.it);
        let (lo, hi) = site.within(bounds, &intervals);
        let number = push(self.func, &mut cx.made, cx.inst, Op::BlockIndex(cx.dim), &[])?;
        let low = low.then(|| self.binary(&mut cx.made, cx.inst, BinaryOp::Ge, number, lo));
        let high = high.then(|| self.binary(&mut cx.made, cx.inst, BinaryOp::Lt, number, hi));
        let both: Vec<Value> = low.into_iter().chain(high).collect();
        self.join(cx, BinaryOp::And, &both)
    }

    /// Whether the ranges of both sides of a comparison of integers, one along the walk and the other not, meet as it asks.
    #[allow(clippy::wildcard_enum_match_arm, reason = "all ops here are comparisons")]
    fn ranges_meet(&mut self, cx: &mut Asked, (value, kept): (Value, bool)) -> Option<Value> {
        use BinaryOp::{And, Eq, Ge, Gt, Le, Lt};
        let (Op::Binary(op), sides) = self.defs.get(value)? else { return None };
        let op = if kept { *op } else { op.negated()? };
        let (a, b) = (sides[0], sides[1]);
        let (rows, columns) = (self.func.ty(a).clone(), self.func.ty(b).clone());
        let outer = !rows.dims().iter().any(|d| columns.dims().contains(d));
        // Where the body computes with all pairs, looking at each side costs little beside it.
        let lines = rows.dims().len() <= 1 && columns.dims().len() <= 1;
        if !rows.dtype().is_int() || !outer || !lines || !self.has_pairs(cx.inst.body(), cx.dim) {
            return None;
        }
        let end = |op: ReduceOp, ty: &Type| (!ty.dims().is_empty()).then(|| Op::Reduce(op, ty.dims().to_vec()));
        let least = |v: Value, ty: &Type| (end(ReduceOp::Min, ty), v);
        let most = |v: Value, ty: &Type| (end(ReduceOp::Max, ty), v);
        // Some pair is in the relation exactly if the most favourable ends are; for equality this is necessary.
        let pairs = match op {
            Lt | Le => vec![(op, least(a, &rows), most(b, &columns))],
            Gt | Ge => vec![(op, most(a, &rows), least(b, &columns))],
            Eq => vec![(Le, least(a, &rows), most(b, &columns)), (Ge, most(a, &rows), least(b, &columns))],
            _ => return None,
        };
        let slice = self.slice(cx.inst.body(), cx.it, &[a, b])?;
        let mut copies = Copies::default();
        cx.made.extend(slice.iter().map(|i| copies.inst(self.func, i)));
        let mut holds = Vec::new();
        for (op, (left, a), (right, b)) in pairs {
            let mut side = |op: Option<Op>, v: Value| match op {
                Some(op) => push(self.func, &mut cx.made, cx.inst, op, &[copies.current(v)]),
                None => Some(copies.current(v)),
            };
            let (left, right) = (side(left, a)?, side(right, b)?);
            holds.push(self.binary(&mut cx.made, cx.inst, op, left, right));
        }
        self.join(cx, And, &holds)
    }

    /// Whether the sums of a comparison of i64s, each term taken as low as it is in the block, stay at or below zero: where
    /// terms go along one dim each, as in `abs(pos(i) / X - pos(j) / X) <= r`.
    fn sums_reach(&mut self, cx: &mut Asked, (value, kept): (Value, bool)) -> Option<Value> {
        let sums = at_most_zero(self.func, &self.defs, value, kept)?;
        let mut leaves: Vec<Value> = sums.iter().flat_map(|sum| sum.terms.keys().copied()).collect();
        leaves.sort_unstable();
        leaves.dedup();
        let lines = leaves.iter().all(|v| self.func.ty(*v).dims().len() <= 1);
        let fit = sums.iter().all(|sum| fits(self.func, &self.defs, sum));
        if !lines || !fit || !self.has_pairs(cx.inst.body(), cx.dim) {
            return None;
        }
        let slice = self.slice(cx.inst.body(), cx.it, &leaves)?;
        let mut copies = Copies::default();
        cx.made.extend(slice.iter().map(|i| copies.inst(self.func, i)));
        let mut holds = Vec::new();
        for sum in &sums {
            let mut least = self.int(cx, sum.constant)?;
            for (v, c) in &sum.terms {
                let end = if *c > 0 { ReduceOp::Min } else { ReduceOp::Max };
                let dims = self.func.ty(*v).dims().to_vec();
                let mut term = copies.current(*v);
                if !dims.is_empty() {
                    term = push(self.func, &mut cx.made, cx.inst, Op::Reduce(end, dims), &[term])?;
                }
                let c = self.int(cx, *c)?;
                let term = self.binary(&mut cx.made, cx.inst, BinaryOp::Mul, term, c);
                least = self.binary(&mut cx.made, cx.inst, BinaryOp::Add, least, term);
            }
            let zero = self.int(cx, 0)?;
            holds.push(self.binary(&mut cx.made, cx.inst, BinaryOp::Le, least, zero));
        }
        self.join(cx, BinaryOp::And, &holds)
    }

    fn int(&mut self, cx: &mut Asked, n: i64) -> Option<Value> {
        push(self.func, &mut cx.made, cx.inst, Op::Const(DType::I64, Scalar::Int(n)), &[])
    }

    /// Whether a body has tiles along the walk and something else.
    fn has_pairs(&self, body: &Region, dim: DimId) -> bool {
        let pairs = |v: &Value| matches!(self.func.ty(*v).dims(), dims if dims.len() > 1 && dims.contains(&dim));
        body.insts.iter().flat_map(|i| &i.results).any(pairs)
    }

    fn binary(&mut self, made: &mut Vec<Inst>, from: &Inst, op: BinaryOp, a: Value, b: Value) -> Value {
        let dtype = if op.is_comparison() { DType::Bool } else { self.func.ty(a).dtype() };
        let result = self.func.new_value(Type::Scalar(dtype));
        let op = Op::Binary(op);
        made.push(Inst { op, args: vec![a, b], results: vec![result], regions: Vec::new(), span: from.span });
        result
    }

    /// What of the body computes these values, if it is little and can stand in a guard.
    fn slice(&self, body: &Region, it: &Loop, values: &[Value]) -> Option<Vec<Inst>> {
        let mut wanted: HashSet<Value> = values.iter().copied().collect();
        let mut slice = Vec::new();
        for inst in body.insts.iter().rev() {
            if !inst.results.iter().any(|v| wanted.contains(v)) {
                continue;
            }
            let line = inst.results.iter().all(|v| self.func.ty(*v).dims().len() <= 1);
            // A guard is asked before an older one has said whether the body would run.
            let harmless = is_pure(self.func, inst) && !(it.guard && may_fault(self.func, &self.defs, inst));
            if !line || !harmless || !is_cheap(&inst.op) || slice.len() == MAX_SLICE {
                return None;
            }
            wanted.extend(&inst.args);
            slice.push(inst.clone());
        }
        slice.reverse();
        (!body.args.iter().any(|v| wanted.contains(v))).then_some(slice)
    }
}

fn push(func: &mut Func, made: &mut Vec<Inst>, from: &Inst, op: Op, args: &[Value]) -> Option<Value> {
    let [ty] = <[Type; 1]>::try_from(result_types(func, &op, args, &[]).ok()?).ok()?;
    let result = func.new_value(ty);
    made.push(Inst { op, args: args.to_vec(), results: vec![result], regions: Vec::new(), span: from.span });
    Some(result)
}

/// Whether an op costs a few instructions a lane.
fn is_cheap(op: &Op) -> bool {
    match op {
        Op::Const(..)
        | Op::Extent(_)
        | Op::BlockIndex(_)
        | Op::BlockLen(_)
        | Op::Pos(_)
        | Op::Valid(_)
        | Op::At(_)
        | Op::OrderAt(_)
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Select
        | Op::Cast(_)
        | Op::Broadcast(_)
        | Op::Load(..)
        | Op::MaskGet(_) => true,
        Op::Reduce(..)
        | Op::ArgReduce(..)
        | Op::Scan(..)
        | Op::Sort { .. }
        | Op::KthLargest(_)
        | Op::Gather(_)
        | Op::Dot(_)
        | Op::Split { .. }
        | Op::Merge { .. }
        | Op::Random
        | Op::Store { .. }
        | Op::MaskPut(..)
        | Op::For(_)
        | Op::If
        | Op::Print(_)
        | Op::Assert(_) => false,
    }
}
