//! What instructions do to a kernel's tensors and masks. Which elements they touch is not said.

use pantile_ir::{Inst, Op, ParamId, Region, StoreMode};

/// What an instruction does to a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Reads,
    Sets,
    /// Reads and sets.
    Adds,
}

/// The parameter that an instruction names, and what it does to it.
#[allow(clippy::wildcard_enum_match_arm, reason = "no other op names a parameter")]
pub(super) fn access(op: &Op) -> Option<(ParamId, Access)> {
    match op {
        Op::Load(param, _) | Op::MaskGet(param) => Some((*param, Access::Reads)),
        Op::For(it) => it.list.map(|mask| (mask, Access::Reads)),
        Op::Store { param, mode: StoreMode::Set, .. } | Op::MaskPut(param, _) => Some((*param, Access::Sets)),
        Op::Store { param, mode: StoreMode::Add | StoreMode::AtomicAdd, .. } => Some((*param, Access::Adds)),
        _ => None,
    }
}

/// The same parameter, to be renumbered.
#[allow(clippy::wildcard_enum_match_arm, reason = "no other op names a parameter")]
pub(super) fn named(op: &mut Op) -> Option<&mut ParamId> {
    match op {
        Op::Load(param, _) | Op::Store { param, .. } | Op::MaskGet(param) | Op::MaskPut(param, _) => Some(param),
        Op::For(it) => it.list.as_mut(),
        _ => None,
    }
}

/// Whether some instruction, nested ones too, is such.
pub(super) fn any(region: &Region, test: &dyn Fn(&Inst) -> bool) -> bool {
    region.insts.iter().any(|inst| test(inst) || inst.regions.iter().any(|r| any(r, test)))
}

/// Whether some instruction does one of these to a parameter.
pub(super) fn does(region: &Region, param: usize, what: &[Access]) -> bool {
    any(region, &|inst| access(&inst.op).is_some_and(|(p, does)| p.index() == param && what.contains(&does)))
}
