//! Dead code elimination: what nothing asks for is not computed, nor carried through loops.
//!
//! ```text
//! %5: f32, %6: i64 = for … carry (%2: f32 = %0, %3: i64 = %1) { … }    (%6 unused, %3 feeds only itself)
//!     →   %5: f32 = for … carry (%2: f32 = %0) { … }
//! ```
//! Needs: nothing. Leaves: each result is used by an effect, in the end. Dims, extents and orders that nothing names
//! stay in their tables. Cost: linear.

use std::collections::HashMap;

use pantile_ir::{Func, Inst, Loop, Op, Over, Region, Value};

use super::{Changed, PassCx};

/// Runs the pass.
pub fn run(func: &mut Func, _cx: &PassCx) -> Changed {
    let live = Liveness::of(func);
    let mut body = std::mem::take(&mut func.body);
    let changed = sweep(&live, &mut body);
    func.body = body;
    changed.into()
}

/// What must be live for a value to be.
struct Liveness<'f> {
    live: Vec<bool>,
    origin: HashMap<Value, Origin<'f>>,
    work: Vec<Value>,
}

#[derive(Clone, Copy)]
enum Origin<'f> {
    /// Result of an op without regions.
    Flat(&'f Inst),
    /// The n-th carried value of a loop or result of an `if`; as result or as argument of the body.
    Carried(&'f Inst, usize),
    /// The number of a range loop.
    Number,
}

impl<'f> Liveness<'f> {
    fn of(func: &'f Func) -> Vec<bool> {
        let mut l = Liveness { live: vec![false; func.types.len()], origin: HashMap::new(), work: Vec::new() };
        l.region(&func.body);
        while let Some(v) = l.work.pop() {
            if std::mem::replace(&mut l.live[v.index()], true) {
                continue;
            }
            match l.origin.get(&v).copied() {
                Some(Origin::Flat(inst)) => l.work.extend(&inst.args),
                Some(Origin::Carried(inst, n)) => l.carried(inst, n),
                Some(Origin::Number) | None => {}
            }
        }
        l.live
    }

    /// Notes where values come from; effects are where life starts.
    fn region(&mut self, region: &'f Region) {
        for inst in &region.insts {
            let effect = inst.has_effect();
            if inst.regions.is_empty() {
                self.origin.extend(inst.results.iter().map(|v| (*v, Origin::Flat(inst))));
                if effect {
                    self.work.extend(&inst.args);
                }
                continue;
            }
            self.origin.extend(inst.results.iter().enumerate().map(|(n, v)| (*v, Origin::Carried(inst, n))));
            if let Op::For(it) = &inst.op {
                let leading = usize::from(it.over == Over::Range);
                let args = &inst.body().args;
                self.origin.extend(args[..leading].iter().map(|v| (*v, Origin::Number)));
                self.origin.extend(args[leading..].iter().enumerate().map(|(n, v)| (*v, Origin::Carried(inst, n))));
            }
            if effect {
                self.control(inst);
            }
            inst.regions.iter().for_each(|r| self.region(r));
        }
    }

    /// What decides how often the regions run.
    #[allow(clippy::wildcard_enum_match_arm, reason = "an `if` has its condition only")]
    fn control(&mut self, inst: &'f Inst) {
        match &inst.op {
            Op::For(it) => {
                let fixed = inst.args.len() - inst.results.len();
                self.work.extend(&inst.args[..fixed]);
                if it.guard {
                    self.work.extend(&inst.regions[0].yields);
                }
            }
            _ => self.work.extend(&inst.args),
        }
    }

    fn carried(&mut self, inst: &'f Inst, n: usize) {
        self.control(inst);
        if let Op::For(it) = &inst.op {
            let leading = usize::from(it.over == Over::Range);
            let fixed = inst.args.len() - inst.results.len();
            self.work.extend([inst.args[fixed + n], inst.body().yields[n], inst.body().args[leading + n]]);
            self.work.push(inst.results[n]);
        } else {
            self.work.extend(inst.regions.iter().map(|r| r.yields[n]));
        }
    }
}

/// Removes what is dead; whether anything was.
fn sweep(live: &[bool], region: &mut Region) -> bool {
    let before = region.insts.len();
    region.insts.retain(|inst| inst.has_effect() || inst.results.iter().any(|v| live[v.index()]));
    let mut changed = region.insts.len() != before;
    for inst in region.insts.iter_mut().filter(|i| !i.regions.is_empty()) {
        let dead: Vec<usize> = (0..inst.results.len()).filter(|n| !live[inst.results[*n].index()]).collect();
        for n in dead.into_iter().rev() {
            drop_carried(inst, n);
            changed = true;
        }
        for r in &mut inst.regions {
            changed |= sweep(live, r);
        }
    }
    changed
}

fn drop_carried(inst: &mut Inst, n: usize) {
    if let Op::For(Loop { over, .. }) = &inst.op {
        let fixed = inst.args.len() - inst.results.len();
        let leading = usize::from(*over == Over::Range);
        inst.args.remove(fixed + n);
        let body = inst.regions.len() - 1;
        inst.regions[body].args.remove(leading + n);
        inst.regions[body].yields.remove(n);
    } else {
        for r in &mut inst.regions {
            r.yields.remove(n);
        }
    }
    inst.results.remove(n);
}
