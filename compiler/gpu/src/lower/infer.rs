//! How each tile is spread over the threads: fixed by the instructions that make it (dots, loads), handed on by all that
//! follow, and left open where a tile costs nothing to make anew. Moving between spreads is `convert.rs`'s business.

use pantile_ir::{DimId, Func, Index, Inst, Loop, Op, Over, Region, Value};

use super::dot;
use super::{Facts, Spread, lane_bits};
use crate::kernel::Options;

/// How a value is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Not known yet; of scalars, never.
    Unknown,
    /// Made anew wherever it is needed.
    Free,
    /// In these registers.
    Fixed(Spread),
}

/// One a value of the function.
pub(crate) type Spreads = Vec<Kind>;

/// The warps of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Warps {
    /// As a power of two.
    pub bits: u32,
}

/// Elements of the largest tile that one thread holds, if there are threads enough.
const ELEMENTS: i64 = 32;

impl Warps {
    /// Enough for the largest tile, 8 at most.
    pub fn of(func: &Func, options: &Options) -> Self {
        let bits = |ty: &pantile_ir::Type| ty.dims().iter().map(|d| lane_bits(func, *d)).sum::<u32>();
        let largest = 1i64 << func.types.iter().map(bits).max().unwrap_or(0).min(62);
        let bits = (largest / (32 * ELEMENTS)).max(1).ilog2().min(3);
        // Warps of a warpgroup's product have 16 rows each: more warps than rows would share columns out, and rows of the
        // result would no longer be the rows of an operand.
        match dot::rows(func, options) {
            Some(rows) if bits >= 2 => Self { bits: bits.min(rows - 4) },
            Some(_) | None => Self { bits },
        }
    }

    /// Threads of a block.
    pub fn threads(self) -> u32 {
        32 << self.bits
    }
}

/// The spread of each tile.
pub(crate) fn spreads(func: &Func, facts: &Facts, options: &Options, warps: Warps) -> Spreads {
    let kinds = vec![Kind::Unknown; func.types.len()];
    let mut infer = Infer { func, facts, options, warps, kinds };
    infer.region(&func.body);
    infer.kinds
}

struct Infer<'f> {
    func: &'f Func,
    facts: &'f Facts,
    options: &'f Options,
    warps: Warps,
    kinds: Spreads,
}

impl Infer<'_> {
    fn region(&mut self, region: &Region) {
        for inst in &region.insts {
            self.inst(inst);
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "all other ops have no regions")]
    fn inst(&mut self, inst: &Inst) {
        match &inst.op {
            Op::For(it) => return self.repeat(inst, it),
            Op::If => {
                inst.regions.iter().for_each(|r| self.region(r));
                for (n, result) in inst.results.iter().enumerate() {
                    let arms = [inst.regions[0].yields[n], inst.regions[1].yields[n]];
                    self.kinds[result.index()] = self.first_fixed(*result, &arms);
                }
                return;
            }
            _ => {}
        }
        let [result] = inst.results[..] else { return };
        if self.func.ty(result).dims().is_empty() {
            return;
        }
        self.kinds[result.index()] = self.kind(inst, result);
    }

    /// Of what all but loops and branches give.
    #[allow(clippy::wildcard_enum_match_arm, reason = "all other ops are element-wise")]
    fn kind(&self, inst: &Inst, result: Value) -> Kind {
        match &inst.op {
            Op::Pos(_) | Op::At(_) | Op::Valid(_) => Kind::Free,
            Op::Load(param, index) => Kind::Fixed(self.of_access(*param, index, inst, result)),
            Op::Dot(over) => Kind::Fixed(dot::spread(self.func, self.options, self.warps, inst, over)),
            Op::Reduce(..) | Op::ArgReduce(..) | Op::KthLargest(_) => match &self.kinds[inst.args[0].index()] {
                Kind::Fixed(spread) => Kind::Fixed(spread.only(self.func.ty(result).dims())),
                Kind::Unknown => Kind::Unknown,
                Kind::Free => {
                    let whole = self.default(self.func.ty(inst.args[0]).dims());
                    Kind::Fixed(whole.only(self.func.ty(result).dims()))
                }
            },
            Op::Scan(..) | Op::Sort { .. } => match &self.kinds[inst.args[0].index()] {
                Kind::Free => self.fixed_default(result),
                kind => kind.clone(),
            },
            Op::Gather(_) => match &self.kinds[inst.args[1].index()] {
                Kind::Fixed(spread) if self.covers(inst.args[1], result) => Kind::Fixed(spread.clone()),
                _ => self.fixed_default(result),
            },
            Op::Split { from, into } => self.reshaped(inst, result, std::slice::from_ref(from), into),
            Op::Merge { from, into } => self.reshaped(inst, result, from, std::slice::from_ref(into)),
            Op::Random | Op::OrderAt(_) => self.fixed_default(result),
            op => self.elementwise(inst, result, is_cheap(op)),
        }
    }

    fn elementwise(&self, inst: &Inst, result: Value, cheap: bool) -> Kind {
        let tiles: Vec<Value> = inst.args.iter().copied().filter(|a| !self.func.ty(*a).dims().is_empty()).collect();
        let kind = |v: &Value| &self.kinds[v.index()];
        if cheap && tiles.iter().all(|t| *kind(t) == Kind::Free) {
            return Kind::Free;
        }
        let covering = tiles.iter().filter(|t| self.covers(**t, result));
        if let Some(Kind::Fixed(spread)) = covering.map(kind).find(|k| matches!(k, Kind::Fixed(_))) {
            return Kind::Fixed(spread.clone());
        }
        if tiles.iter().any(|t| *kind(t) == Kind::Unknown) {
            return Kind::Unknown;
        }
        self.fixed_default(result)
    }

    /// As the operand is held, where its bits are only renamed.
    fn reshaped(&self, inst: &Inst, result: Value, from: &[DimId], into: &[DimId]) -> Kind {
        match &self.kinds[inst.args[0].index()] {
            Kind::Fixed(spread) => match super::gather::renamed(self.func, spread, from, into) {
                Some(spread) => Kind::Fixed(spread),
                None => self.fixed_default(result),
            },
            Kind::Free => self.fixed_default(result),
            Kind::Unknown => Kind::Unknown,
        }
    }

    fn covers(&self, tile: Value, result: Value) -> bool {
        self.func.ty(tile).dims() == self.func.ty(result).dims()
    }

    fn first_fixed(&self, result: Value, from: &[Value]) -> Kind {
        if self.func.ty(result).dims().is_empty() {
            return Kind::Unknown;
        }
        let fixed = from.iter().map(|v| &self.kinds[v.index()]).find(|k| matches!(k, Kind::Fixed(_)));
        fixed.cloned().unwrap_or_else(|| self.fixed_default(result))
    }

    /// What a loop carries is held as its body yields it: twice around, since that may depend on itself.
    fn repeat(&mut self, inst: &Inst, it: &Loop) {
        let Some(args) = inst.loop_args(self.func) else { return };
        let body = inst.body();
        let first = usize::from(it.over == Over::Range);
        let carried: Vec<Value> = body.args[first..].to_vec();
        carried.iter().for_each(|v| self.kinds[v.index()] = Kind::Unknown);
        for _ in 0..2 {
            inst.regions.iter().for_each(|r| self.region(r));
            for (n, arg) in carried.iter().enumerate() {
                self.kinds[arg.index()] = self.first_fixed(*arg, &[body.yields[n], args.inits[n]]);
            }
        }
        inst.regions.iter().for_each(|r| self.region(r));
        for (arg, result) in carried.iter().zip(&inst.results) {
            self.kinds[result.index()] = self.kinds[arg.index()].clone();
        }
    }

    fn fixed_default(&self, value: Value) -> Kind {
        Kind::Fixed(self.default(self.func.ty(value).dims()))
    }

    /// Over dims of which nothing is known: the last is the fastest.
    fn default(&self, dims: &[DimId]) -> Spread {
        blocked(self.func, self.warps, dims.iter().rev().copied(), 0)
    }

    /// As a tensor lies in memory.
    fn of_access(&self, param: pantile_ir::ParamId, index: &[Index], inst: &Inst, result: Value) -> Spread {
        let (order, vector) = access_order(self.func, self.facts, param, index, inst);
        let missing = self.func.ty(result).dims().iter().filter(|d| !order.contains(d)).copied();
        let all: Vec<DimId> = order.iter().copied().chain(missing).collect();
        blocked(self.func, self.warps, all, vector)
    }
}

/// The dims of an access, fastest first, and how many neighbours along the first it may take at once (a power of two).
pub(crate) fn access_order(
    func: &Func,
    facts: &Facts,
    param: pantile_ir::ParamId,
    index: &[Index],
    inst: &Inst,
) -> (Vec<DimId>, u32) {
    let mut values = inst.index_args().iter();
    let mut dims: Vec<DimId> = Vec::new();
    for one in index {
        match one {
            Index::Dim(dim) => dims.push(*dim),
            Index::Value => dims.extend(values.next().map_or(&[][..], |v| func.ty(*v).dims())),
        }
    }
    let mut seen = Vec::new();
    dims.iter().rev().for_each(|d| {
        if !seen.contains(d) {
            seen.push(*d);
        }
    });
    let vector = match (index.last(), func.axes(param).last(), &func.param(param).kind) {
        (Some(Index::Dim(dim)), Some(axis), pantile_ir::ParamKind::Tensor(dtype, _)) => {
            let row = func.dim(*dim);
            let whole = if row.order.is_some() { 0 } else { row.size.trailing_zeros() };
            facts.vector(param, *dtype, axis).min(whole)
        }
        _ => 0,
    };
    // Twice the same dim is a diagonal.
    let vector = if dims.len() == seen.len() { vector } else { 0 };
    (seen, vector)
}

/// [`Spread::blocked`] over dims of a function, fastest first.
pub(crate) fn blocked(func: &Func, warps: Warps, dims: impl IntoIterator<Item = DimId>, vector: u32) -> Spread {
    let dims: Vec<(DimId, u32)> = dims.into_iter().map(|d| (d, lane_bits(func, d))).collect();
    Spread::blocked(&dims, vector, warps.bits)
}

/// Whether making a tile of such an op anew costs less than moving it.
fn is_cheap(op: &Op) -> bool {
    use pantile_ir::BinaryOp::{Div, Rem};
    use pantile_ir::UnaryOp::{Abs, Neg, Not};
    match op {
        Op::Broadcast(_) | Op::Select | Op::Cast(_) => true,
        Op::Unary(op) => matches!(op, Neg | Not | Abs),
        Op::Binary(op) => !matches!(op, Div | Rem),
        Op::Const(..)
        | Op::Extent(_)
        | Op::BlockIndex(_)
        | Op::BlockLen(_)
        | Op::Pos(_)
        | Op::At(_)
        | Op::Valid(_)
        | Op::OrderAt(_)
        | Op::Reduce(..)
        | Op::ArgReduce(..)
        | Op::Scan(..)
        | Op::Sort { .. }
        | Op::KthLargest(_)
        | Op::Gather(_)
        | Op::Dot(_)
        | Op::Split { .. }
        | Op::Merge { .. }
        | Op::Random
        | Op::Load(..)
        | Op::Store { .. }
        | Op::MaskGet(_)
        | Op::MaskPut(..)
        | Op::For(_)
        | Op::If
        | Op::Print(_)
        | Op::Assert(_) => false,
    }
}
