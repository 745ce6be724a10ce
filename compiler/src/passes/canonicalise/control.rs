//! Rules of `if` and `for`: conditions that are known, loops that do nothing, what loops carry without changing it.

use pantile_ir::{Inst, Loop, Op, Over, Region, Scalar, Value};

use crate::passes::rewrite::{Nested, Rewriter};

#[allow(clippy::wildcard_enum_match_arm, reason = "only these have regions")]
pub(in crate::passes) fn simplify(rw: &mut Rewriter, inst: Inst) -> (Nested, bool) {
    match inst.op.clone() {
        Op::If => branch(rw, inst),
        Op::For(it) => for_loop(rw, inst, &it),
        _ => (Nested::Keep(inst), false),
    }
}

fn branch(rw: &mut Rewriter, mut inst: Inst) -> (Nested, bool) {
    if let Some(cond) = rw.defs.constant(inst.args[0]) {
        let Region { insts, yields, .. } = inst.regions.swap_remove(usize::from(!cond.as_bool()));
        return (Nested::Inline(insts, yields), true);
    }
    let mut changed = false;
    // What both regions yield alike was defined outside.
    for n in (0..inst.results.len()).rev() {
        if inst.regions[0].yields[n] == inst.regions[1].yields[n] {
            let result = inst.results.remove(n);
            let same = inst.regions[0].yields.remove(n);
            inst.regions[1].yields.remove(n);
            rw.replace(result, same);
            changed = true;
        }
    }
    (Nested::Keep(inst), changed)
}

fn for_loop(rw: &mut Rewriter, mut inst: Inst, it: &Loop) -> (Nested, bool) {
    let (leading, fixed, empty) = {
        let Some(args) = inst.loop_args(rw.func) else { return (Nested::Keep(inst), false) };
        let none = |pair: Option<(Value, Value)>| {
            let known = pair.and_then(|(lo, hi)| Some(rw.defs.range(rw.func, lo)?.0 >= rw.defs.range(rw.func, hi)?.1));
            known == Some(true)
        };
        let walk_is_empty = match it.over {
            Over::Range => false,
            Over::Walk(d) => {
                let dim = rw.func.dim(d);
                dim.over.and_then(|e| rw.func.known_length(e, dim.order)) == Some(0)
            }
        };
        let empty = none(args.range) || none(args.bounds) || walk_is_empty;
        (usize::from(it.over == Over::Range), inst.args.len() - args.inits.len(), empty)
    };
    let guard = if it.guard { known_guard(rw, &inst.regions[0]) } else { None };
    if empty || guard == Some(false) {
        return (Nested::Inline(Vec::new(), inst.args.split_off(fixed)), true);
    }
    let mut changed = false;
    if guard == Some(true) {
        inst.regions.remove(0);
        inst.op = Op::For(Loop { guard: false, ..it.clone() });
        changed = true;
    }
    let body = inst.regions.len() - 1;
    // What the body yields as it came never changes.
    for n in (0..inst.results.len()).rev() {
        let region = &mut inst.regions[body];
        if region.yields[n] == region.args[leading + n] {
            region.yields.remove(n);
            let arg = region.args.remove(leading + n);
            let init = inst.args.remove(fixed + n);
            rw.replace(arg, init);
            rw.replace(inst.results.remove(n), init);
            changed = true;
        }
    }
    (Nested::Keep(inst), changed)
}

/// What a guard yields, if that is a constant of its own or from outside.
fn known_guard(rw: &Rewriter, guard: &Region) -> Option<bool> {
    let yielded = guard.yields[0];
    let own = guard.insts.iter().find(|i| i.results.first() == Some(&yielded));
    match own.map(|i| &i.op) {
        Some(Op::Const(_, Scalar::Bool(b))) => Some(*b),
        Some(_) => None,
        None => rw.defs.constant(yielded).map(Scalar::as_bool),
    }
}
