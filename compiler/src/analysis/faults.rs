//! Which instructions can stop a launch: a division by zero, an index outside its axis. Not about debug assertions.

use pantile_ir::{Axis, BinaryOp, Func, GridAxis, Index, Inst, Op, ParamId, Value};

use super::defs::Defs;

/// Whether running it where it did not run before could stop the launch.
#[allow(clippy::wildcard_enum_match_arm, reason = "no other op faults")]
pub fn may_fault(func: &Func, defs: &Defs, inst: &Inst) -> bool {
    match &inst.op {
        Op::Binary(BinaryOp::Div | BinaryOp::Rem) => {
            let integer = func.ty(inst.args[0]).dtype().is_int();
            let never_zero = defs.int(inst.args[1]).is_some_and(|n| n != 0)
                || defs.range(func, inst.args[1]).is_some_and(|(lo, hi)| lo > 0 || hi < 0);
            integer && !never_zero
        }
        Op::Load(param, index) => any_outside(func, defs, *param, index, &inst.args),
        Op::MaskGet(param) => {
            let index = vec![Index::Value; inst.args.len()];
            any_outside(func, defs, *param, &index, &inst.args)
        }
        _ => false,
    }
}

fn any_outside(func: &Func, defs: &Defs, param: ParamId, index: &[Index], args: &[Value]) -> bool {
    let mut args = args.iter();
    func.axes(param).iter().zip(index).any(|(axis, index)| match index {
        Index::Dim(_) => false,
        Index::Value => args.next().is_none_or(|v| !inside(func, defs, *axis, *v)),
    })
}

/// Whether a scalar is a place of the axis at every launch. Tiles never fault.
fn inside(func: &Func, defs: &Defs, axis: Axis, v: Value) -> bool {
    if !func.ty(v).dims().is_empty() || func.grid.contains(&GridAxis::Each(axis, v)) {
        return true;
    }
    if let Some((Op::BlockIndex(d), _)) = defs.get(v)
        && func.counts_blocks(axis, *d)
    {
        // The one block of a whole dim is there even where the axis is empty.
        return !func.dim(*d).whole;
    }
    let known = func.extents[axis.extent.index()].known.filter(|_| axis.by.is_none());
    let range = defs.range(func, v);
    known.zip(range).is_some_and(|(n, (lo, hi))| lo >= 0 && hi < i128::from(n))
}
