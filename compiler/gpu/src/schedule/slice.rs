//! What the producer must run to know where its copies come from: loops, branches and scalars. A slice that needs elements of
//! tiles, or of what the kernel itself writes, is none.

use std::collections::HashSet;

use pantile_ir::{Func, Inst, Op, ParamId, Region, Value};

use super::{Place, Schedule, place};

/// The producer's slice if this load is a fill too; `None` if it would need what only consumers know.
pub(super) fn with(func: &Func, schedule: &Schedule, load: &Inst) -> Option<(HashSet<Place>, HashSet<Value>)> {
    let mut slice = Slice { func, places: schedule.slice.clone(), values: schedule.known.clone(), failed: false };
    slice.places.insert(place(load));
    slice.values.extend(load.index_args());
    loop {
        let before = (slice.places.len(), slice.values.len());
        slice.region(&func.body, schedule, load);
        if slice.failed {
            return None;
        }
        if (slice.places.len(), slice.values.len()) == before {
            return Some((slice.places, slice.values));
        }
    }
}

struct Slice<'f> {
    func: &'f Func,
    places: HashSet<Place>,
    values: HashSet<Value>,
    failed: bool,
}

impl Slice<'_> {
    /// Whether something in it runs.
    fn region(&mut self, region: &Region, schedule: &Schedule, load: &Inst) -> bool {
        let mut runs = false;
        for inst in region.insts.iter().rev() {
            let fills =
                inst.results.first().is_some_and(|r| schedule.fills.contains_key(r)) || std::ptr::eq(inst, load);
            let known = self.places.contains(&place(inst));
            if fills {
                self.values.extend(inst.index_args());
                runs |= self.places.contains(&place(inst));
                continue;
            }
            let wanted = inst.results.iter().any(|r| self.values.contains(r));
            let mut inside = false;
            for region in &inst.regions {
                inside |= self.region(region, schedule, load);
            }
            if known || wanted || inside {
                self.places.insert(place(inst));
                runs = true;
                self.needs(inst);
            }
        }
        runs
    }

    fn needs(&mut self, inst: &Inst) {
        if let Some(args) = inst.loop_args(self.func) {
            let ends = args.range.into_iter().chain(args.bounds).flat_map(|(lo, hi)| [lo, hi]);
            self.values.extend(ends.chain(args.row.iter().copied()));
            let guards = &inst.regions[..inst.regions.len() - 1];
            self.values.extend(guards.iter().flat_map(|g| &g.yields));
            self.failed |= list(inst).is_some_and(|mask| self.func.param(mask).out);
            let body = inst.body();
            let first = body.args.len() - body.yields.len();
            for (n, arg) in body.args[first..].iter().enumerate() {
                if self.values.contains(arg) || self.values.contains(&inst.results[n]) {
                    self.values.extend([*arg, inst.results[n], body.yields[n], args.inits[n]]);
                    self.tiles(&[*arg]);
                }
            }
            return;
        }
        if !inst.regions.is_empty() {
            self.values.extend(&inst.args);
            for (n, result) in inst.results.iter().enumerate() {
                if self.values.contains(result) {
                    self.values.extend(inst.regions.iter().map(|r| r.yields[n]));
                    self.tiles(&[*result]);
                }
            }
            return;
        }
        self.values.extend(&inst.args);
        self.tiles(&inst.args);
        self.tiles(&inst.results);
        self.failed |= reads(inst).is_some_and(|param| self.func.param(param).out);
    }

    fn tiles(&mut self, values: &[Value]) {
        self.failed |= values.iter().any(|v| !self.func.ty(*v).dims().is_empty());
    }
}

/// The parameter that an instruction reads.
#[allow(clippy::wildcard_enum_match_arm, reason = "no other op reads memory")]
fn reads(inst: &Inst) -> Option<ParamId> {
    match &inst.op {
        Op::Load(param, _) | Op::MaskGet(param) => Some(*param),
        _ => None,
    }
}

/// The mask whose lists a loop walks.
#[allow(clippy::wildcard_enum_match_arm, reason = "no other op walks a list")]
fn list(inst: &Inst) -> Option<ParamId> {
    match &inst.op {
        Op::For(it) => it.list,
        _ => None,
    }
}
