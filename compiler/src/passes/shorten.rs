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
//! least and greatest in the block, if it costs little beside the body. What "idle" is and why such a round may go:
//! `analysis/idle.rs`. Needs: constants folded, invariants hoisted (LICM). Leaves: the masks as they are, for the blocks that
//! are kept in part. Does not divide loops. Cost: linear in the size of bodies times the comparisons in them.

use std::collections::HashSet;

use pantile_ir::{BinaryOp, DimId, Func, Inst, Loop, Op, Over, ReduceOp, Region, Type, Value, result_types};

use super::bounds::{Site, set_bounds};
use super::copy::Copies;
use super::cse::is_pure;
use super::element_masks::{ElementMask, Lanes, element_masks, kept_blocks};
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
        for mask in masks.iter().filter(|m| m.skips) {
            let mut site = Site { func: self.func, defs: &mut self.defs, out, span: inst.span };
            let changed = match kept_blocks(&mut site, inst.body(), dim, mask, Lanes::Some) {
                Some(intervals) => {
                    let bounds = site.bounds(inst, &it);
                    let bounds = site.within(bounds, &intervals);
                    set_bounds(inst, &mut it, bounds);
                    true
                }
                None => self.guard(inst, &mut it, dim, mask).is_some(),
            };
            self.changed |= changed;
        }
        inst.op = Op::For(it);
    }

    /// Visits only blocks where the ranges of both sides meet as the comparison asks.
    fn guard(&mut self, inst: &mut Inst, it: &mut Loop, dim: DimId, mask: &ElementMask) -> Option<()> {
        use BinaryOp::{And, Eq, Ge, Gt, Le, Lt, Ne};
        let (Op::Binary(op), sides) = self.defs.get(mask.value)? else { return None };
        let op = if mask.kept { *op } else { negated(*op)? };
        let (a, b) = (sides[0], sides[1]);
        let (rows, columns) = (self.func.ty(a).clone(), self.func.ty(b).clone());
        let outer = !rows.dims().iter().any(|d| columns.dims().contains(d));
        let worth_it = rows.dims().len() == 1 && columns.dims().len() == 1;
        if !rows.dtype().is_int() || !outer || !worth_it || op == Ne {
            return None;
        }
        let body = inst.body();
        let slice = self.slice(body, it, [a, b])?;
        let mut copies = Copies::default();
        let mut made: Vec<Inst> = slice.iter().map(|i| copies.inst(self.func, i)).collect();
        let (a, b) = (copies.current(a), copies.current(b));
        debug_assert!(rows.dims().contains(&dim) || columns.dims().contains(&dim), "a side is along the walk");
        let mut push = |op: Op, args: &[Value]| push(self.func, &mut made, inst, op, args);
        let least = |v: Value, ty: &Type| (Op::Reduce(ReduceOp::Min, ty.dims().to_vec()), v);
        let most = |v: Value, ty: &Type| (Op::Reduce(ReduceOp::Max, ty.dims().to_vec()), v);
        // Some pair is in the relation exactly if the ends that are the most favourable are; for equality this is necessary.
        let pairs = match op {
            Lt | Le => vec![(op, least(a, &rows), most(b, &columns))],
            Gt | Ge => vec![(op, most(a, &rows), least(b, &columns))],
            Eq => vec![(Le, least(a, &rows), most(b, &columns)), (Ge, most(a, &rows), least(b, &columns))],
            _ => return None,
        };
        let mut holds: Option<Value> = it.guard.then(|| inst.regions[0].yields[0]);
        for (op, (left, a), (right, b)) in pairs {
            let (left, right) = (push(left, &[a])?, push(right, &[b])?);
            let next = push(Op::Binary(op), &[left, right])?;
            holds = Some(match holds {
                Some(before) => push(Op::Binary(And), &[before, next])?,
                None => next,
            });
        }
        if !it.guard {
            inst.regions.insert(0, Region::default());
            it.guard = true;
        }
        inst.regions[0].insts.append(&mut made);
        inst.regions[0].yields = vec![holds?];
        Some(())
    }

    /// What of the body computes these values, if it is little and can stand in a guard.
    fn slice(&self, body: &Region, it: &Loop, values: [Value; 2]) -> Option<Vec<Inst>> {
        let mut wanted: HashSet<Value> = values.into();
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

#[allow(clippy::wildcard_enum_match_arm, reason = "only comparisons have a negation that is one")]
fn negated(op: BinaryOp) -> Option<BinaryOp> {
    use BinaryOp::{Eq, Ge, Gt, Le, Lt, Ne};
    match op {
        Lt => Some(Ge),
        Le => Some(Gt),
        Gt => Some(Le),
        Ge => Some(Lt),
        Eq => Some(Ne),
        Ne => Some(Eq),
        _ => None,
    }
}

/// Whether an op costs a few instructions a lane.
fn is_cheap(op: &Op) -> bool {
    match op {
        Op::Const(..)
        | Op::Extent(_)
        | Op::BlockIndex(_)
        | Op::BlockLen(_)
        | Op::Pos(_)
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
