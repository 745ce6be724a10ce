//! Loop-invariant code motion: what is the same in each turn is computed once, before the loop.
//!
//! ```text
//! for j in M by 128 {                           %4: f32 = mul %1, %2
//!   %4: f32 = mul %1, %2             →          for j in M by 128 {
//!   … %4 …                                        … %4 …
//! ```
//! Needs: nothing. Leaves: no pure op in a loop's guard or body, at its top level, whose operands and dims are all from
//! outside, unless it may stop the launch: a loop may turn no times. Does not move whole loops and branches. Cost: linear
//! in the size of the code times its depth.

use std::collections::HashSet;

use pantile_ir::{DimId, Func, Inst, Loop, Op, Over, Region, Value};

use super::cse::is_pure;
use super::{Changed, PassCx};
use crate::analysis::defs::Defs;
use crate::analysis::faults::may_fault;

/// Runs the pass.
pub fn run(func: &mut Func, _cx: &PassCx) -> Changed {
    let body = std::mem::take(&mut func.body);
    let mut licm = Licm { func, defs: Defs::prologue(func), moved: false };
    let body = licm.region(body);
    let moved = licm.moved;
    func.body = body;
    moved.into()
}

struct Licm<'f> {
    func: &'f Func,
    defs: Defs,
    moved: bool,
}

impl Licm<'_> {
    fn region(&mut self, region: Region) -> Region {
        let mut out = Vec::with_capacity(region.insts.len());
        for mut inst in region.insts {
            self.defs.record(&inst);
            self.defs.record_loop(self.func, &inst);
            // Inner loops first: what they give up may go further.
            inst.regions = std::mem::take(&mut inst.regions).into_iter().map(|r| self.region(r)).collect();
            if let Op::For(it) = &inst.op {
                let it = it.clone();
                self.hoist(&it, &mut inst, &mut out);
            }
            out.push(inst);
        }
        Region { insts: out, ..region }
    }

    fn hoist(&mut self, it: &Loop, inst: &mut Inst, out: &mut Vec<Inst>) {
        let dim = match it.over {
            Over::Walk(d) => Some(d),
            Over::Range => None,
        };
        for region in &mut inst.regions {
            let mut inside: HashSet<Value> = region.args.iter().copied().collect();
            let mut stay = Vec::with_capacity(region.insts.len());
            for inner in std::mem::take(&mut region.insts) {
                if self.is_invariant(&inner, dim, &inside) {
                    out.push(inner);
                    self.moved = true;
                } else {
                    inside.extend(&inner.results);
                    stay.push(inner);
                }
            }
            region.insts = stay;
        }
    }

    fn is_invariant(&self, inst: &Inst, dim: Option<DimId>, inside: &HashSet<Value>) -> bool {
        let outside = !inst.args.iter().any(|v| inside.contains(v));
        let results = inst.results.iter().flat_map(|v| self.func.ty(*v).dims().iter().copied());
        let on_dim = dim.is_some_and(|d| inst.op.own_dims().contains(&d) || results.into_iter().any(|r| r == d));
        outside && !on_dim && is_pure(self.func, inst) && !may_fault(self.func, &self.defs, inst)
    }
}
