//! Fill analysis: what stands in the padding lanes of each value along each dim, and which uses would see it. For targets
//! whose tiles have fixed shapes; what an op does to fills is its rule in `pantile_ir::fill`. Nothing is mended here: that
//! is the pass `pad`.

use std::collections::{HashMap, HashSet};

use pantile_ir::fill::{Demand, Facts, demand, fill, is_finite, is_zero, products_vanish};
use pantile_ir::{BinaryOp, DimId, Fill, Func, Inst, Op, Over, ReduceOp, Region, Scalar, Value};

/// How many lanes a target's tiles have along a dim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lanes {
    /// The valid ones: nothing is ever padded.
    #[default]
    Valid,
    /// The dim's size: blocks that are not full are padded.
    Sized,
    /// The next power of two: dims of other sizes are padded in each block.
    PowersOfTwo,
}

impl Lanes {
    /// The lanes of a dim of this size; at most as many are valid.
    pub fn of(self, size: i64) -> i64 {
        match self {
            Lanes::Valid | Lanes::Sized => size,
            Lanes::PowersOfTwo => (size.max(1) as u64).next_power_of_two() as i64,
        }
    }
}

/// How far a bound is followed through definitions.
const MAX_DEPTH: usize = 16;

/// An instruction that sees padding: the value it defines, and along which dim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Unmet {
    /// Its result.
    pub site: Value,
    /// A dim along which an operand's padding is not what it needs.
    pub dim: DimId,
}

/// A function's definitions, for one or several analyses.
pub struct Context<'f> {
    pub func: &'f Func,
    pub lanes: Lanes,
    defs: Vec<Option<&'f Inst>>,
}

/// What an analysis found.
#[derive(Debug, Default)]
pub struct Fills {
    fills: HashMap<(Value, DimId), Fill>,
    /// In the order of the code.
    pub unmet: Vec<Unmet>,
}

impl Fills {
    /// What stands in a value's padding along one of its dims; unknown also where the dim has none.
    pub fn get(&self, v: Value, dim: DimId) -> Fill {
        self.fills.get(&(v, dim)).copied().unwrap_or(Fill::Unknown)
    }
}

impl<'f> Context<'f> {
    pub fn new(func: &'f Func, lanes: Lanes) -> Self {
        let mut defs = vec![None; func.types.len()];
        collect(&func.body, &mut defs);
        Self { func, lanes, defs }
    }

    /// The instruction that defines a value.
    pub fn def(&self, v: Value) -> Option<&'f Inst> {
        self.defs[v.index()]
    }

    /// Analyses the function as if padding of these values held these constants.
    pub fn analyse(&self, forced: &HashMap<(Value, DimId), Scalar>) -> Fills {
        let mut walk = Walk { cx: self, forced, full: Vec::new(), found: Fills::default() };
        if self.lanes != Lanes::Valid {
            walk.region(&self.func.body);
        }
        walk.found
    }

    /// What a value holds along a dim.
    pub fn fill(&self, fills: &Fills, v: Value, dim: DimId) -> Fill {
        if self.func.ty(v).dims().contains(&dim) {
            return fills.get(v, dim);
        }
        self.constant(v).map_or(Fill::Uniform, Fill::All)
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "folding has made constants of all else")]
    fn constant(&self, v: Value) -> Option<Scalar> {
        let inst = self.def(v)?;
        match inst.op {
            Op::Const(_, x) => Some(x),
            Op::Broadcast(_) => self.constant(inst.args[0]),
            _ => None,
        }
    }

    /// The operands of a site to change, and to what, so that it does not see padding along a dim. `price` says what
    /// changing a value costs.
    pub fn fixes(&self, fills: &Fills, unmet: Unmet, price: &dyn Fn(Value) -> u64) -> Vec<(usize, Scalar)> {
        let Some(inst) = self.def(unmet.site) else { return Vec::new() };
        let dtype = self.func.ty(inst.args[0]).dtype();
        match demand(&inst.op, 0, unmet.dim, dtype) {
            Demand::Nothing => Vec::new(),
            Demand::Neutral(x) | Demand::Exactly(x) => vec![(0, x)],
            Demand::Product => {
                let sides = [0, 1].map(|n| self.fill(fills, inst.args[n], unmet.dim));
                let needs = |n: usize| {
                    let other = 1 - n;
                    let both = dtype.is_float() && !is_finite(sides[other]);
                    let own = !is_zero(sides[n]);
                    [(n, own), (other, both)].into_iter().filter(|(_, needed)| *needed).map(|(n, _)| n).collect()
                };
                let cost = |ns: &Vec<usize>| ns.iter().map(|n| price(inst.args[*n])).sum::<u64>();
                let ways: [Vec<usize>; 2] = [needs(0), needs(1)];
                let way = ways.into_iter().min_by_key(cost).unwrap_or_default();
                way.into_iter().map(|n| (n, Scalar::zero(dtype))).collect()
            }
        }
    }

    /// Whether `x` is an infinity, the negative one if `upper`, only in rows along `dim` where each valid lane of `a` is: as
    /// an extreme of `a`, and perhaps of more, or as something that takes the place of one.
    #[allow(clippy::wildcard_enum_match_arm, reason = "no other op keeps an extreme")]
    fn is_bound(&self, x: Value, a: Value, dim: DimId, upper: bool, depth: usize) -> bool {
        let Some(inst) = self.def(x).filter(|_| depth < MAX_DEPTH) else { return false };
        let (reduce, binary) = if upper { (ReduceOp::Max, BinaryOp::Max) } else { (ReduceOp::Min, BinaryOp::Min) };
        if let Op::Reduce(op, dims) = &inst.op {
            return *op == reduce && dims.contains(&dim) && inst.args[0] == a;
        }
        let bound = |v: &Value| self.is_bound(*v, a, dim, upper, depth + 1);
        if let Op::Const(_, Scalar::Float(c)) = inst.op {
            return c.is_finite();
        }
        match &inst.op {
            Op::Broadcast(_) => bound(&inst.args[0]),
            Op::Select => inst.args[1..].iter().all(bound),
            op => *op == Op::Binary(binary) && inst.args.iter().any(bound),
        }
    }

    /// Whether each block of a dim has a valid lane.
    fn never_empty(&self, dim: DimId) -> bool {
        let d = self.func.dim(dim);
        let holes = d.order.is_some_and(|o| self.func.orders[o.index()].holes);
        let nothing = d.over.is_some_and(|e| self.func.known_length(e, d.order) == Some(0));
        !holes && !nothing
    }
}

fn collect<'f>(region: &'f Region, defs: &mut [Option<&'f Inst>]) {
    for inst in &region.insts {
        inst.results.iter().for_each(|v| defs[v.index()] = Some(inst));
        inst.regions.iter().for_each(|r| collect(r, defs));
    }
}

/// The dim that is full where a condition holds: `block_len d == size`, as the pass `pad` writes it.
pub fn says_full(func: &Func, def: impl Fn(Value) -> Option<Op>, args: &[Value], op: &Op) -> Option<DimId> {
    if *op != Op::Binary(BinaryOp::Eq) {
        return None;
    }
    let Some(Op::BlockLen(d)) = def(args[0]) else { return None };
    let Some(Op::Const(_, Scalar::Int(n))) = def(args[1]) else { return None };
    (n == func.dim(d).size).then_some(d)
}

struct Walk<'a, 'f> {
    cx: &'a Context<'f>,
    forced: &'a HashMap<(Value, DimId), Scalar>,
    /// Dims whose block has all its lanes here.
    full: Vec<DimId>,
    found: Fills,
}

impl<'f> Walk<'_, 'f> {
    /// Whether a block of a dim may have padding lanes here.
    fn is_padded(&self, dim: DimId) -> bool {
        let (func, lanes) = (self.cx.func, self.cx.lanes);
        let size = func.dim(dim).size;
        lanes.of(size) != size || !func.is_full(dim) && !self.full.contains(&dim)
    }

    fn get(&self, v: Value, dim: DimId) -> Fill {
        self.cx.fill(&self.found, v, dim)
    }

    fn set(&mut self, v: Value, dim: DimId, own: Fill) {
        let mut held = own;
        for ((_, along), x) in self.forced.iter().filter(|((forced, _), _)| *forced == v) {
            held = if *along == dim {
                Fill::Is(*x)
            } else {
                // A select along another dim: this one's padding holds the constant in rows that are padding there.
                let args = [Fill::Uniform, held, Fill::All(*x)];
                let facts = Facts { never_empty: self.cx.never_empty(dim), exact: true, bounded: false };
                fill(&Op::Select, dim, self.cx.func.ty(v).dtype(), &args, &facts)
            };
        }
        self.found.fills.insert((v, dim), held);
    }

    fn padded_dims(&self, v: Value) -> Vec<DimId> {
        self.cx.func.ty(v).dims().iter().copied().filter(|d| self.is_padded(*d)).collect()
    }

    fn region(&mut self, region: &'f Region) {
        for inst in &region.insts {
            if let Op::For(it) = &inst.op {
                self.for_loop(inst, &it.over);
            } else if inst.op == Op::If {
                self.branch(inst);
            } else {
                self.flat(inst);
            }
        }
    }

    fn flat(&mut self, inst: &'f Inst) {
        let func = self.cx.func;
        for v in &inst.results {
            for dim in self.padded_dims(*v) {
                let dtype =
                    inst.args.get(usize::from(inst.op == Op::Select)).map_or(func.ty(*v), |a| func.ty(*a)).dtype();
                let dtype = if matches!(inst.op, Op::Load(..)) { func.ty(*v).dtype() } else { dtype };
                let args: Vec<Fill> = inst.args.iter().map(|a| self.get(*a, dim)).collect();
                let facts = self.facts(inst, dim, &args);
                self.set(*v, dim, fill(&inst.op, dim, dtype, &args, &facts));
            }
        }
        self.demands(inst);
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "only these make dims")]
    fn facts(&self, inst: &Inst, dim: DimId, args: &[Fill]) -> Facts {
        let cx = self.cx;
        let exact = |dims: &[DimId]| dims.iter().all(|d| !self.is_padded(*d));
        let exact = match &inst.op {
            Op::Split { into, .. } => exact(into),
            Op::Merge { into, .. } => exact(&[*into]),
            _ => true,
        };
        let bound = |n: usize| {
            let Some((Scalar::Float(x), _)) = args[n].constant() else { return false };
            cx.is_bound(inst.args[1 - n], inst.args[n], dim, x < 0.0, 0)
        };
        let bounded = inst.op == Op::Binary(BinaryOp::Sub) && (bound(0) || bound(1));
        Facts { never_empty: cx.never_empty(dim), exact, bounded }
    }

    fn demands(&mut self, inst: &Inst) {
        let Some(site) = inst.results.first().copied() else { return };
        for (n, arg) in inst.args.iter().enumerate() {
            let dtype = self.cx.func.ty(*arg).dtype();
            for dim in self.padded_dims(*arg) {
                let met = match demand(&inst.op, n, dim, dtype) {
                    Demand::Product if n > 0 => true,
                    Demand::Product => products_vanish(dtype, self.get(inst.args[0], dim), self.get(inst.args[1], dim)),
                    want @ (Demand::Nothing | Demand::Neutral(_) | Demand::Exactly(_)) => {
                        want.is_met(self.get(*arg, dim))
                    }
                };
                if !met {
                    self.found.unmet.push(Unmet { site, dim });
                }
            }
        }
    }

    /// What is carried holds what is true of its start and of each turn's end.
    fn for_loop(&mut self, inst: &'f Inst, over: &Over) {
        let Some(args) = inst.loop_args(self.cx.func) else { return };
        let body = inst.body();
        let leading = usize::from(*over == Over::Range);
        let mut carried: Vec<(usize, DimId, Fill)> = Vec::new();
        for (n, init) in args.inits.iter().enumerate() {
            carried.extend(self.padded_dims(*init).into_iter().map(|d| (n, d, self.get(*init, d))));
        }
        if inst.regions.len() > 1 {
            self.region(&inst.regions[0]);
        }
        let unmet = self.found.unmet.len();
        loop {
            self.found.unmet.truncate(unmet);
            for (n, d, f) in &carried {
                self.set(body.args[leading + n], *d, *f);
            }
            self.region(body);
            let mut changed = false;
            for (n, d, f) in &mut carried {
                let next = f.meet(self.get(body.yields[*n], *d));
                changed |= next != *f;
                *f = next;
            }
            if !changed {
                break;
            }
        }
        for (n, d, f) in carried {
            self.set(inst.results[n], d, f);
        }
    }

    fn branch(&mut self, inst: &'f Inst) {
        let cx = self.cx;
        let def = |v: Value| cx.def(v).map(|i| i.op.clone());
        let full = cx.def(inst.args[0]).and_then(|c| says_full(cx.func, def, &c.args, &c.op));
        self.full.extend(full);
        self.region(&inst.regions[0]);
        self.full.truncate(self.full.len() - usize::from(full.is_some()));
        self.region(&inst.regions[1]);
        for (n, v) in inst.results.iter().enumerate() {
            for dim in self.padded_dims(*v) {
                let size = cx.func.dim(dim).size;
                let [then, otherwise] = [0, 1].map(|r| self.get(inst.regions[r].yields[n], dim));
                // A full block has no padding to speak of.
                let vacuous = full == Some(dim) && cx.lanes.of(size) == size;
                self.set(*v, dim, if vacuous { otherwise } else { then.meet(otherwise) });
            }
        }
    }
}

/// For each value, where what it holds may come from.
pub fn sources(func: &Func) -> HashMap<Value, Vec<Value>> {
    let mut found = HashMap::new();
    sources_in(func, &func.body, &mut found);
    found
}

fn sources_in(func: &Func, region: &Region, found: &mut HashMap<Value, Vec<Value>>) {
    for inst in &region.insts {
        match inst.loop_args(func) {
            Some(args) => {
                let body = inst.body();
                let leading = body.args.len() - args.inits.len();
                for (n, init) in args.inits.iter().enumerate() {
                    let from = vec![*init, body.yields[n]];
                    found.insert(body.args[leading + n], from.clone());
                    found.insert(inst.results[n], from);
                }
            }
            None if inst.op == Op::If => {
                for (n, v) in inst.results.iter().enumerate() {
                    found.insert(*v, inst.regions.iter().map(|r| r.yields[n]).collect());
                }
            }
            None => inst.results.iter().for_each(|v| _ = found.insert(*v, inst.args.clone())),
        }
        inst.regions.iter().for_each(|r| sources_in(func, r, found));
    }
}

/// What stands in padding on a target with such lanes.
pub fn fills(func: &Func, lanes: Lanes) -> Fills {
    Context::new(func, lanes).analyse(&HashMap::new())
}

/// The uses that see padding on a target with such lanes; none after the pass `pad`.
pub fn unmet(func: &Func, lanes: Lanes) -> Vec<Unmet> {
    let found = Context::new(func, lanes).analyse(&HashMap::new()).unmet;
    let mut seen = HashSet::new();
    found.into_iter().filter(|u| seen.insert(*u)).collect()
}
