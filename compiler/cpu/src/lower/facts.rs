//! What planning needs to know about a function: who defines and reads each value, which region it belongs to, and which
//! dim is innermost in memory. Nothing is decided here that depends on fusion.

use pantile_ir::{DType, DimId, Func, Index, Inst, Op, ParamId, ParamKind, Region, StoreMode, Value};

/// The number of a region in pre-order; 0 is the body.
pub type RegionId = usize;

/// Facts about a function.
pub struct Facts<'f> {
    /// The function.
    pub func: &'f Func,
    /// The instruction that defines each value, `None` for arguments and parameters.
    pub defs: Vec<Option<&'f Inst>>,
    /// The region in which each value is defined.
    pub region_of: Vec<RegionId>,
    /// The region around each region.
    pub parents: Vec<Option<RegionId>>,
    /// How many loops are around each region's code.
    pub loops: Vec<usize>,
    /// How often each value is an operand or yielded.
    pub uses: Vec<usize>,
    /// Whether each value matters at all.
    pub needed: Vec<bool>,
    /// Innerness of each dim: tiles are laid out with the highest rank contiguous.
    pub rank: Vec<usize>,
    /// Whether `print` and `assert` count.
    pub checks: bool,
    /// Whether each parameter's elements are read, if only to add to them.
    pub read: Vec<bool>,
    /// Whether each parameter has neighbouring elements along its last axis.
    pub dense: Vec<bool>,
}

impl<'f> Facts<'f> {
    /// Walks the function.
    pub fn new(func: &'f Func, checks: bool, dense: &[bool]) -> Self {
        let count = func.types.len();
        let mut facts = Self {
            func,
            defs: vec![None; count],
            region_of: vec![0; count],
            parents: Vec::new(),
            loops: Vec::new(),
            uses: vec![0; count],
            needed: vec![false; count],
            rank: Vec::new(),
            checks,
            read: vec![false; func.params.len()],
            dense: dense.to_vec(),
        };
        facts.walk(&func.body, None, 0);
        facts.need_region(&func.body);
        facts.rank = rank_dims(func);
        facts
    }

    fn walk(&mut self, region: &'f Region, parent: Option<RegionId>, loops: usize) {
        let id = self.parents.len();
        self.parents.push(parent);
        self.loops.push(loops);
        for arg in &region.args {
            self.region_of[arg.index()] = id;
        }
        for inst in &region.insts {
            for arg in &inst.args {
                self.uses[arg.index()] += 1;
            }
            let adds = |mode: StoreMode| mode != StoreMode::Set;
            if let Op::Load(param, _) | Op::Store { param, .. } = inst.op {
                self.read[param.index()] |= !matches!(inst.op, Op::Store { mode, .. } if !adds(mode));
            }
            for result in &inst.results {
                self.defs[result.index()] = Some(inst);
                self.region_of[result.index()] = id;
            }
            let deeper = usize::from(matches!(inst.op, Op::For(_)));
            for nested in &inst.regions {
                self.walk(nested, Some(id), loops + deeper);
            }
        }
        for value in &region.yields {
            self.uses[value.index()] += 1;
        }
    }

    /// Whether an instruction runs for what it does rather than for its result.
    pub fn acts(&self, inst: &Inst) -> bool {
        let report = matches!(inst.op, Op::Print(_) | Op::Assert(_));
        inst.op.has_effect() && (self.checks || !report)
    }

    fn need_region(&mut self, region: &'f Region) {
        for inst in &region.insts {
            if self.acts(inst) {
                inst.args.iter().for_each(|v| self.need(*v));
            }
            inst.regions.iter().for_each(|r| self.need_region(r));
        }
        region.yields.iter().for_each(|v| self.need(*v));
    }

    fn need(&mut self, value: Value) {
        if std::mem::replace(&mut self.needed[value.index()], true) {
            return;
        }
        if let Some(inst) = self.defs[value.index()]
            && inst.regions.is_empty()
        {
            inst.args.iter().for_each(|v| self.need(*v));
        }
    }

    /// Dims in the order of layout, innermost last.
    pub fn sorted(&self, dims: impl IntoIterator<Item = DimId>) -> Vec<DimId> {
        let mut dims: Vec<DimId> = dims.into_iter().collect();
        dims.sort_by_key(|d| self.rank[d.index()]);
        dims.dedup();
        dims
    }

    /// Whether every block of a dim has all its lanes; an empty extent's one block has none.
    pub fn is_full(&self, dim: DimId) -> bool {
        let d = self.func.dim(dim);
        let empty = d.over.is_some_and(|extent| self.func.known_length(extent, d.order) == Some(0));
        self.func.is_full(dim) && !empty
    }

    /// A value's dims in the order of layout.
    pub fn dims(&self, value: Value) -> Vec<DimId> {
        self.sorted(self.func.ty(value).dims().iter().copied())
    }

    /// A value's dtype.
    pub fn dtype(&self, value: Value) -> DType {
        self.func.ty(value).dtype()
    }

    /// Whether a value is a scalar.
    pub fn is_scalar(&self, value: Value) -> bool {
        self.func.ty(value).dims().is_empty()
    }

    /// The number of elements of full tiles over some dims.
    pub fn volume(&self, dims: &[DimId]) -> i64 {
        dims.iter().fold(1i64, |n, d| n.saturating_mul(self.func.dim(*d).size))
    }

    /// The value behind casts and broadcasts that change nothing.
    pub fn resolve(&self, value: Value) -> Value {
        match self.defs[value.index()] {
            Some(inst) if is_identity(self.func, inst) => self.resolve(inst.args[0]),
            Some(_) | None => value,
        }
    }

    /// The load that gives a value, if each of its dims is one axis of a tensor that the kernel does not write, and the
    /// other axes are indexed by scalars.
    pub fn plain_load(&self, value: Value) -> Option<&'f Inst> {
        let inst = self.defs[self.resolve(value).index()]?;
        let Op::Load(param, index) = &inst.op else { return None };
        let mut dims: Vec<DimId> = index.iter().filter_map(as_dim).collect();
        let count = dims.len();
        dims.sort();
        dims.dedup();
        let scalars = inst.args.iter().all(|v| self.is_scalar(*v));
        (scalars && dims.len() == count && !self.func.param(*param).out).then_some(inst)
    }

    /// Whether a plain load's neighbours along `dim` are neighbours in memory.
    pub fn is_contiguous(&self, load: &Inst, dim: DimId) -> bool {
        let Op::Load(param, index) = &load.op else { return false };
        self.dense[param.index()] && index.last() == Some(&Index::Dim(dim)) && self.func.dim(dim).order.is_none()
    }

    /// Whether this kernel reads elements of a parameter.
    pub fn is_read(&self, param: ParamId) -> bool {
        self.read[param.index()]
    }

    /// Whether a parameter is a tensor that this kernel writes.
    pub fn is_written(&self, param: ParamId) -> bool {
        self.func.param(param).out
    }
}

/// The dim of an index.
pub fn as_dim(index: &Index) -> Option<DimId> {
    match index {
        Index::Dim(d) => Some(*d),
        Index::Value => None,
    }
}

/// Whether an instruction's result is its operand.
pub fn is_identity(func: &Func, inst: &Inst) -> bool {
    match inst.op {
        Op::Cast(to) => func.ty(inst.args[0]).dtype() == to,
        Op::Broadcast(_) => func.ty(inst.args[0]) == func.ty(inst.results[0]),
        Op::Const(..)
        | Op::Extent(_)
        | Op::BlockIndex(_)
        | Op::BlockLen(_)
        | Op::Pos(_)
        | Op::At(_)
        | Op::Valid(_)
        | Op::OrderAt(_)
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Select
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

/// Prefers as innermost what is a tensor's last axis, then what is reduced, then what comes second in a product.
fn rank_dims(func: &Func) -> Vec<usize> {
    let mut score = vec![0i64; func.dims.len()];
    score_region(func, &func.body, &mut score);
    for (score, dim) in score.iter_mut().zip(&func.dims) {
        if dim.size == 1 {
            *score = -1;
        }
    }
    let mut order: Vec<usize> = (0..func.dims.len()).collect();
    order.sort_by_key(|d| (score[*d], *d));
    let mut rank = vec![0; order.len()];
    for (place, dim) in order.iter().enumerate() {
        rank[*dim] = place;
    }
    rank
}

fn score_region(func: &Func, region: &Region, score: &mut [i64]) {
    for inst in &region.insts {
        let mut add = |dims: &[DimId], points: i64| dims.iter().for_each(|d| score[d.index()] += points);
        match &inst.op {
            Op::Load(param, index) | Op::Store { param, index, .. } => {
                let tensor = matches!(func.param(*param).kind, ParamKind::Tensor(..));
                if let (true, Some(Index::Dim(d))) = (tensor, index.last()) {
                    add(&[*d], 4);
                }
            }
            Op::MaskPut(_, index) => {
                if let Some(Index::Dim(d)) = index.last() {
                    add(&[*d], 4);
                }
            }
            Op::Reduce(_, dims) => add(dims, 2),
            Op::Dot(dims) => {
                add(dims, 2);
                add(func.ty(inst.args[1]).dims(), 1);
            }
            Op::ArgReduce(_, d) | Op::Scan(_, d) | Op::Sort { dim: d, .. } | Op::KthLargest(d) => add(&[*d], 2),
            Op::Split { into, .. } => {
                let last = into.len() - 1;
                add(&into[last..], 1);
            }
            Op::Const(..)
            | Op::Extent(_)
            | Op::BlockIndex(_)
            | Op::BlockLen(_)
            | Op::Pos(_)
            | Op::At(_)
            | Op::Valid(_)
            | Op::OrderAt(_)
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Select
            | Op::Cast(_)
            | Op::Broadcast(_)
            | Op::Gather(_)
            | Op::Merge { .. }
            | Op::Random
            | Op::MaskGet(_)
            | Op::For(_)
            | Op::If
            | Op::Print(_)
            | Op::Assert(_) => {}
        }
        inst.regions.iter().for_each(|r| score_region(func, r, score));
    }
}
