//! Splitting: the blocks of a walk that an element mask keeps whole get a loop of their own, without the mask.
//!
//! ```text
//! %1 = for j … bounds %lo..%hi carry (…) {        %2 = for j … bounds %lo..%full carry (…) {
//!   %c: tile<bool>{i, j} = le (pos j), (pos i)      … true …                  (folded away by what follows)
//!   … select %c, %s, -inf …                     }
//! }                                           →   %1 = for j … bounds %full..%hi carry (%2) { … select %c, %s, -inf … }
//! ```
//! The blocks of a walk come as those before the full ones, the full ones, those behind; where conditions bound them on one
//! side only, there are two loops. Needs: bounds where masks keep nothing (`shorten`). Leaves: masks in the outer loops, true
//! (or false, where that keeps) in the full one. Does not look for conditions but on positions. Cost: up to three bodies for
//! one; run once, as each run divides again.

use pantile_ir::{BinaryOp, DType, DimId, Func, Inst, Loop, Op, Over, Region, Scalar, Type, Value};

use super::bounds::{Site, set_bounds};
use super::copy::Copies;
use super::element_masks::{ElementMask, element_masks, whole_blocks};
use super::{Changed, PassCx};
use crate::analysis::defs::Defs;

/// Runs the pass.
pub fn run(func: &mut Func, _cx: &PassCx) -> Changed {
    let body = std::mem::take(&mut func.body);
    let defs = Defs::prologue(func);
    let mut split = Split { func, defs, changed: false };
    let body = split.region(body);
    let changed = split.changed;
    func.body = body;
    changed.into()
}

struct Split<'f> {
    func: &'f mut Func,
    defs: Defs,
    changed: bool,
}

impl Split<'_> {
    fn region(&mut self, region: Region) -> Region {
        let mut out = Vec::with_capacity(region.insts.len());
        for mut inst in region.insts {
            self.defs.record(&inst);
            self.defs.record_loop(self.func, &inst);
            // Inner loops first, so that copies are of what they have become.
            inst.regions = std::mem::take(&mut inst.regions).into_iter().map(|r| self.region(r)).collect();
            if let Op::For(Loop { over: Over::Walk(dim), .. }) = inst.op {
                self.walk(inst, dim, &mut out);
            } else {
                out.push(inst);
            }
        }
        Region { insts: out, ..region }
    }

    fn walk(&mut self, inst: Inst, dim: DimId, out: &mut Vec<Inst>) {
        inst.body().insts.iter().for_each(|i| self.defs.record(i));
        let masks = element_masks(self.func, &self.defs, &inst, dim);
        let Op::For(it) = &inst.op else { return out.push(inst) };
        let mut site = Site { func: self.func, defs: &mut self.defs, out, span: inst.span };
        let mut full = Vec::new();
        let mut pinned = Vec::new();
        for mask in masks {
            if let Some(intervals) = whole_blocks(&mut site, inst.body(), dim, (mask.value, mask.kept)) {
                full.extend(intervals);
                pinned.push(mask);
            }
        }
        if pinned.is_empty() {
            return out.push(inst);
        }
        let (lo, hi) = site.bounds(&inst, it);
        let (has_before, has_behind) = (full.iter().any(|i| i.is_low), full.iter().any(|i| !i.is_low));
        // The stretch of full blocks, cut to what is visited, its ends in order.
        let (first, last) = site.within((lo, hi), &full);
        let first = if has_before { site.binary(BinaryOp::Min, first, hi) } else { lo };
        let last = if has_behind { site.binary(BinaryOp::Max, last, first) } else { hi };
        let mut pieces = Vec::new();
        if has_before {
            pieces.push((lo, first, false));
        }
        pieces.push((first, last, true));
        if has_behind {
            pieces.push((last, hi, false));
        }
        self.changed = true;
        self.divide(inst, &pieces, &pinned, out);
    }

    /// One loop after the other, each carrying on from the one before; the last has the original's results.
    fn divide(&mut self, inst: Inst, pieces: &[(Value, Value, bool)], pinned: &[ElementMask], out: &mut Vec<Inst>) {
        let carried = inst.args.len() - inst.results.len()..inst.args.len();
        let mut state = inst.args[carried.clone()].to_vec();
        for (n, (lo, hi, full)) in pieces.iter().enumerate() {
            let mut piece = if n + 1 == pieces.len() { inst.clone() } else { Copies::default().inst(self.func, &inst) };
            piece.args[carried.clone()].copy_from_slice(&state);
            if *full {
                self.pin(&inst, &mut piece, pinned);
            }
            let Op::For(mut it) = piece.op.clone() else { return };
            set_bounds(&mut piece, &mut it, (*lo, *hi));
            piece.op = Op::For(it);
            state.clone_from(&piece.results);
            out.push(piece);
        }
    }

    /// Puts constants in place of the masks of the original, in its copy.
    fn pin(&mut self, original: &Inst, piece: &mut Inst, pinned: &[ElementMask]) {
        let body = piece.regions.len() - 1;
        let insts = std::mem::take(&mut piece.regions[body].insts);
        for (old, inst) in original.body().insts.iter().zip(insts) {
            match pinned.iter().find(|m| old.results.first() == Some(&m.value)) {
                None => piece.regions[body].insts.push(inst),
                Some(mask) => piece.regions[body].insts.extend(self.constant(&inst, mask.kept)),
            }
        }
    }

    /// A constant for what an instruction computes.
    fn constant(&mut self, inst: &Inst, x: bool) -> Vec<Inst> {
        let ty = self.func.ty(inst.results[0]).clone();
        let make = |op: Op, args: Vec<Value>, results: Vec<Value>| Inst {
            op,
            args,
            results,
            regions: Vec::new(),
            span: inst.span,
        };
        let op = Op::Const(DType::Bool, Scalar::Bool(x));
        if ty.dims().is_empty() {
            return vec![make(op, Vec::new(), inst.results.clone())];
        }
        let scalar = self.func.new_value(Type::Scalar(DType::Bool));
        let spread = Op::Broadcast(ty.dims().to_vec());
        vec![make(op, Vec::new(), vec![scalar]), make(spread, vec![scalar], inst.results.clone())]
    }
}
