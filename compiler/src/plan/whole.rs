//! Whether a step writes each element of a buffer, so that memory used before need not be cleared for it. A `false` costs
//! time only; it says nothing about which elements are written.

use std::collections::HashMap;

use pantile_ir::{Axis, DimId, Func, GridAxis, Index, Inst, Op, Over, ParamId, ParamKind, Region, StoreMode, Value};

use super::uses::{Access, does};
use super::{PlanArg, Step};

/// Whether `step` writes all of `buffer`.
pub(super) fn whole(step: &Step, buffer: usize) -> bool {
    match step {
        Step::Copy { .. } => true,
        // The gaps of an order become zeros.
        Step::Permute { .. } => true,
        Step::Launch { func, calls, .. } => calls.iter().any(|call| {
            let written = call.args.iter().position(|arg| *arg == PlanArg::Buffer(buffer));
            written.is_some_and(|n| covers(func, &call.extents, ParamId(n as u32)))
        }),
    }
}

/// Whether a launch with these extents writes each element of a tensor and reads none of it, so that what lay in its memory
/// before does not matter. A `false` says nothing. Masks count as not covered: their lists are longer than what is written.
pub fn covers(func: &Func, extents: &[i64], param: ParamId) -> bool {
    let ParamKind::Tensor(_, axes) = &func.param(param).kind else { return false };
    let walks = func.grid.iter().filter_map(|axis| match axis {
        GridAxis::Walk(dim) => Some(*dim),
        GridAxis::Each(..) => None,
    });
    let mut cover = Cover { func, extents, param, axes, walked: walks.collect(), blocks: HashMap::new() };
    let places = func.grid.iter().all(|axis| match axis {
        GridAxis::Walk(_) => true,
        GridAxis::Each(axis, _) => func.axis_size(*axis, extents) > 0,
    });
    let runs = places && cover.walked.iter().all(|dim| cover.runs(*dim));
    runs && !does(&func.body, param.index(), &[Access::Reads, Access::Adds]) && cover.region(&func.body)
}

struct Cover<'a> {
    func: &'a Func,
    extents: &'a [i64],
    param: ParamId,
    axes: &'a [Axis],
    /// The dims all of whose blocks come by where the search stands.
    walked: Vec<DimId>,
    /// The numbers of blocks.
    blocks: HashMap<Value, DimId>,
}

impl Cover<'_> {
    /// Whether a store in this region, which runs for every block of the dims that are walked, writes everything.
    fn region(&mut self, region: &Region) -> bool {
        region.insts.iter().any(|inst| {
            if let Op::BlockIndex(dim) = &inst.op {
                self.blocks.insert(inst.results[0], *dim);
            }
            if let Op::Store { param, index, mode: StoreMode::Set, masked: false } = &inst.op {
                return *param == self.param && self.all(index, inst.index_args());
            }
            let Some(dim) = walked_whole(inst).filter(|dim| self.runs(*dim)) else { return false };
            self.walked.push(dim);
            let found = self.region(inst.body());
            self.walked.retain(|d| *d != dim);
            found
        })
    }

    /// Whether a walk has a block, and no block that may be empty.
    fn runs(&self, dim: DimId) -> bool {
        let holes = self.func.dim(dim).order.is_some_and(|order| self.func.orders[order.index()].holes);
        !holes && self.func.block_count(dim, self.extents) > 0
    }

    /// Whether an index, over all instances and loops, names each element: each axis by a walk of its own.
    fn all(&self, index: &[Index], args: &[Value]) -> bool {
        let mut args = args.iter();
        let mut seen: Vec<Walked> = Vec::new();
        for (axis, index) in self.axes.iter().zip(index) {
            let walked = match index {
                Index::Dim(dim) => self.elements(*axis, *dim),
                Index::Value => args.next().and_then(|value| self.places(*axis, *value)),
            };
            match walked {
                Some(walked) if !seen.contains(&walked) => seen.push(walked),
                Some(_) | None => return false,
            }
        }
        true
    }

    /// Whether the blocks of `dim` hold all elements of an axis.
    fn elements(&self, axis: Axis, dim: DimId) -> Option<Walked> {
        let d = self.func.dim(dim);
        let over = axis.by.is_none() && d.over == Some(axis.extent) && (d.whole || self.walked.contains(&dim));
        let every = d.order.is_none_or(|order| {
            let order = &self.func.orders[order.index()];
            !order.holes && order.len == self.extents[axis.extent.index()]
        });
        (over && every).then_some(Walked::Dim(dim))
    }

    /// Whether a number takes each place along an axis.
    fn places(&self, axis: Axis, value: Value) -> Option<Walked> {
        let each = self.func.grid.contains(&GridAxis::Each(axis, value));
        let block = self.blocks.get(&value).filter(|d| self.walked.contains(d) && self.func.counts_blocks(axis, **d));
        if each { Some(Walked::Number(value)) } else { block.map(|dim| Walked::Dim(*dim)) }
    }
}

/// The dim of a loop over all blocks of a walk.
fn walked_whole(inst: &Inst) -> Option<DimId> {
    let Op::For(it) = &inst.op else { return None };
    match it.over {
        Over::Walk(dim) if !it.bounds && it.list.is_none() && !it.guard => Some(dim),
        Over::Walk(_) | Over::Range => None,
    }
}

/// What takes an index along its whole axis.
#[derive(Clone, Copy, PartialEq)]
enum Walked {
    Dim(DimId),
    Number(Value),
}
