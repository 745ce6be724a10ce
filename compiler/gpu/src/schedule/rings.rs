//! Which loads are brought into shared memory by the producer: those of tensor-core operands that a bulk tensor copy can
//! bring as they lie in memory. How long a stage is waited for is what the code around it says.

use std::collections::HashMap;

use pantile_ir::{Axis, DType, DimId, Func, Index, Inst, Op, ParamId, ParamKind, Region, Value};

use super::{Place, RingId, Schedule, place, slice};
use crate::kernel::{Launch, Options};
use crate::lower::{Bit, Facts, Form, Staged, Unit, Warps, lane_bits};
use crate::{Arg, Swizzle, TensorMap};

/// A piece of shared memory of several stages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    /// Blocks that fit.
    pub stages: u32,
    /// Bytes of one, a multiple of 1024.
    pub bytes: u32,
    /// Who says that a stage is free: each warp once, or each thread.
    pub by_warp: bool,
    /// Whether it is filled more than once.
    pub refilled: bool,
    /// What it holds, for people.
    pub name: String,
    /// The shape of a block: what a second load must have to use it too.
    shape: Shape,
}

/// What tells blocks apart as bytes: the dtype, bits of rows of the copy, bits of all rows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shape {
    dtype: DType,
    fast: u32,
    slow: u32,
}

/// A load that the producer runs as copies.
#[derive(Clone, Debug)]
pub(crate) struct Fill {
    pub ring: RingId,
    /// The row of [`Schedule::maps`].
    pub map: u32,
    /// Where each element lies.
    pub staged: Staged,
    /// Where each box begins along the fastest dim, and in the stage.
    pub boxes: Vec<(u32, u32)>,
}

/// One axis of a bulk copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MapAxis {
    /// Of the tensor.
    pub axis: Axis,
    /// Elements of the box along it.
    pub extent: u32,
}

/// A tensor map that launches make of a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Map {
    /// The tensor.
    pub param: ParamId,
    /// Bytes of an element.
    pub element: u32,
    /// Its axes, the fastest first.
    pub axes: Vec<MapAxis>,
    /// How a box lies in shared memory.
    pub swizzle: Swizzle,
}

impl Map {
    /// The map of a launch; none if the argument is no tensor.
    pub fn of(&self, func: &Func, launch: &Launch<'_>) -> Option<TensorMap> {
        let Arg::Tensor { data, strides } = &launch.args[self.param.index()] else { return None };
        let sizes = self.axes.iter().map(|a| func.axis_size(a.axis, launch.extents).max(1) as u64);
        let dims: Vec<u64> = sizes.collect();
        let bytes = |(n, stride): (usize, &i64)| match dims[n + 1] {
            // A stride along an axis of one place is never taken.
            1 => 16,
            _ => stride.unsigned_abs() * u64::from(self.element),
        };
        let strides = strides.iter().rev().skip(1).enumerate().map(bytes).collect();
        let extents = self.axes.iter().map(|a| a.extent).collect();
        Some(TensorMap { base: *data, element: self.element, dims, strides, extents, swizzle: self.swizzle })
    }
}

/// The most elements of a box along one dimension.
const MOST: u32 = 256;

/// Shared memory that is left to conversions and reductions, bytes.
const SCRATCH: usize = 8 << 10;

/// A load that might be a fill.
struct Candidate<'f> {
    inst: &'f Inst,
    /// The loop right around it, and all loops around that.
    loops: Vec<Place>,
    map: Map,
    staged: Staged,
    boxes: Vec<(u32, u32)>,
    shape: Shape,
    by_warp: bool,
}

/// Finds the loads, and gives them rings.
pub(super) fn choose(schedule: &mut Schedule, func: &Func, facts: &Facts, options: &Options, warps: Warps) {
    if !options.target.has_tma() || !options.choices.specialise {
        return;
    }
    let mut uses = Uses::default();
    uses.region(func, options, warps, &func.body, &mut Vec::new());
    for (inst, loops) in &uses.loads {
        let value = inst.results[0];
        let Some(readers) = uses.readers.get(&value).filter(|r| r.products > 0 && !r.yielded) else { continue };
        let candidate = candidate(func, facts, inst, loops.clone(), readers.others == 0);
        let Some(candidate) = candidate else { continue };
        if let Some(slice) = slice::with(func, schedule, inst) {
            (schedule.slice, schedule.known) = slice;
            add(schedule, func, candidate);
        }
    }
    fit(schedule, options);
}

/// Stages as many as there is room for, alike in all rings that are filled again and again.
fn fit(schedule: &mut Schedule, options: &Options) {
    let budget = options.target.shared_bytes().saturating_sub(SCRATCH.max(options.choices.scratch as usize)) as u32;
    for stages in (1..=options.choices.stages.max(1)).rev() {
        for ring in schedule.rings.iter_mut().filter(|r| r.refilled) {
            ring.stages = stages;
        }
        if schedule.shared() <= budget {
            return;
        }
    }
    // Without room there is no producer; what is known of products holds as it is.
    let Schedule { consumers, products, added, .. } = std::mem::take(schedule);
    *schedule = Schedule { consumers, products, added, ..Schedule::default() };
}

fn add(schedule: &mut Schedule, func: &Func, candidate: Candidate<'_>) {
    let Candidate { inst, loops, map, staged, boxes, shape, by_warp } = candidate;
    let Some(param) = func.params.get(map.param.index()) else { return };
    let known = schedule.maps.iter().position(|m| *m == map);
    let map_number = known.unwrap_or_else(|| {
        schedule.maps.push(map);
        schedule.maps.len() - 1
    });
    // Loops that follow each other may use the same ring, each from one load of one tensor.
    let own = loops.last().copied();
    let free = |n: &usize| {
        let users = &schedule.users[*n];
        users.iter().all(|(other, all)| own.is_some_and(|own| Some(&own) != other.as_ref() && !all.contains(&own)))
            && users.iter().all(|(other, _)| other.is_some_and(|other| !loops.contains(&other)))
    };
    let same = |n: &usize| schedule.rings[*n].shape == shape && schedule.rings[*n].name == param.name;
    let ring = (0..schedule.rings.len()).filter(same).find(free).unwrap_or_else(|| {
        let bytes = staged.bytes.next_multiple_of(1024);
        let (name, refilled) = (param.name.clone(), own.is_some());
        schedule.rings.push(Ring { stages: 1, bytes, by_warp: true, refilled, name, shape });
        schedule.users.push(Vec::new());
        schedule.rings.len() - 1
    });
    schedule.users[ring].push((own, loops));
    schedule.rings[ring].by_warp &= by_warp;
    let fill = Fill { ring: RingId(ring as u32), map: map_number as u32, staged, boxes };
    schedule.fills.insert(inst.results[0], fill);
}

/// Who reads each value.
#[derive(Default)]
struct Readers {
    /// As an operand of products that take it from shared memory without registers.
    products: u32,
    others: u32,
    /// Whether its region hands it on, behind the last use there.
    yielded: bool,
}

#[derive(Default)]
struct Uses<'f> {
    loads: Vec<(&'f Inst, Vec<Place>)>,
    readers: HashMap<Value, Readers>,
}

impl<'f> Uses<'f> {
    #[allow(clippy::wildcard_enum_match_arm, reason = "only loads, products and loops matter")]
    fn region(&mut self, func: &Func, options: &Options, warps: Warps, region: &'f Region, loops: &mut Vec<Place>) {
        for inst in &region.insts {
            let product = match &inst.op {
                Op::Dot(over) if Unit::of(func, options, warps, inst, over) == Unit::Warpgroup => {
                    Form::of(func, options, inst, over).map(|form| form.family.packed)
                }
                _ => None,
            };
            for arg in &inst.args {
                let readers = self.readers.entry(*arg).or_default();
                let count =
                    if product == Some(func.ty(*arg).dtype()) { &mut readers.products } else { &mut readers.others };
                *count += 1;
            }
            match &inst.op {
                Op::Load(..) => self.loads.push((inst, loops.clone())),
                Op::For(_) => {
                    loops.push(place(inst));
                    inst.regions.iter().for_each(|r| self.region(func, options, warps, r, loops));
                    loops.pop();
                }
                _ => inst.regions.iter().for_each(|r| self.region(func, options, warps, r, loops)),
            }
        }
        for value in &region.yields {
            self.readers.entry(*value).or_default().yielded = true;
        }
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the caller gives loads")]
fn candidate<'f>(
    func: &Func,
    facts: &Facts,
    inst: &'f Inst,
    loops: Vec<Place>,
    by_warp: bool,
) -> Option<Candidate<'f>> {
    let Op::Load(param, index) = &inst.op else { return None };
    let ParamKind::Tensor(dtype, axes) = &func.param(*param).kind else { return None };
    let known = facts.dense[param.index()] && facts.aligned[param.index()] >= Facts::MOST;
    let fitting = (1..=5).contains(&axes.len()) && axes.iter().all(|a| a.by.is_none());
    if func.param(*param).out || !known || !fitting {
        return None;
    }
    let scalars = inst.index_args().iter().all(|v| func.ty(*v).dims().is_empty());
    let dims: Vec<DimId> = index.iter().rev().filter_map(dim_of).collect();
    let Some(Index::Dim(first)) = index.last() else { return None };
    let distinct = dims.iter().enumerate().all(|(n, d)| !dims[..n].contains(d));
    if !scalars || !distinct || dims.len() != func.ty(inst.results[0]).dims().len() {
        return None;
    }
    if !axes.iter().zip(index).all(|(axis, i)| dim_of(i).is_none_or(|d| boxes_of(func, d, *axis))) {
        return None;
    }
    let bits = |d: &DimId| (0..lane_bits(func, *d)).map(|p| Some((*d, p))).collect::<Vec<Bit>>();
    let (fast, slow) = (bits(first), dims[1..].iter().flat_map(bits).collect::<Vec<Bit>>());
    let element = dtype.bytes() as u32;
    let staged = Staged::boxes(&fast, &slow, element)?;
    let inside = staged.row / element;
    let step = staged.row << slow.len();
    let boxes = (0..(1u32 << fast.len()) / inside).map(|n| (n * inside, n * step)).collect();
    let extent = |i: &Index| match i {
        Index::Dim(d) if d == first => inside,
        Index::Dim(d) => 1 << lane_bits(func, *d),
        Index::Value => 1,
    };
    let pairs = axes.iter().zip(index).rev();
    let map_axes: Vec<MapAxis> = pairs.map(|(axis, i)| MapAxis { axis: *axis, extent: extent(i) }).collect();
    if map_axes.iter().any(|a| a.extent > MOST) {
        return None;
    }
    let map = Map { param: *param, element, axes: map_axes, swizzle: staged.swizzle };
    let shape = Shape { dtype: *dtype, fast: fast.len() as u32, slow: slow.len() as u32 };
    Some(Candidate { inst, loops, map, staged, boxes, shape, by_warp })
}

fn dim_of(index: &Index) -> Option<DimId> {
    match index {
        Index::Dim(dim) => Some(*dim),
        Index::Value => None,
    }
}

/// Whether a box brings the block of a dim, and zeros where it has no lanes: blocks lie one behind the other, and
/// behind the lanes of a block comes nothing that exists.
fn boxes_of(func: &Func, dim: DimId, axis: Axis) -> bool {
    let d = func.dim(dim);
    let padded = d.size.count_ones() != 1;
    let ends = d.whole && func.extents[axis.extent.index()].known == Some(d.size);
    d.order.is_none() && d.over == Some(axis.extent) && (!padded || ends)
}
