//! Places selects, one after another, each where it saves most: at a value, for all that uses it, or at one use. Which code
//! is worth splitting first is not decided here.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use pantile_ir::{BinaryOp, DType, DimId, Func, Inst, Kind, Op, Region, Scalar, Type, Value, eval};

use super::Pad;
use crate::analysis::fill::{Context, Fills, Lanes, sources};

/// How often a loop is taken to turn.
const TURNS: u64 = 16;

/// What to place.
enum What {
    /// A select of a value, for every use, along dims.
    Value(Value, Scalar, Vec<DimId>),
    /// At each site that is left, selects of its operands alone.
    Uses(Vec<Use>),
}

/// Selects of operands of a site, along dims.
struct Use {
    site: Value,
    fixes: Vec<(usize, Scalar)>,
    dims: Vec<DimId>,
    price: u64,
}

impl Pad<'_> {
    /// Places the select that saves most, or those that are left when none saves anything; whether one was needed.
    pub(super) fn place(&mut self) -> bool {
        let Some(what) = choose(self.func, self.lanes) else { return false };
        let mut body = std::mem::take(&mut self.func.body);
        match what {
            What::Value(v, x, dims) => _ = self.at_value(&mut body, v, x, &dims),
            What::Uses(uses) => {
                for u in uses {
                    self.at_use(&mut body, u.site, &u.fixes, &u.dims);
                }
            }
        }
        self.func.body = body;
        true
    }

    /// A select behind the value's definition, which all uses take instead; whether the definition was found.
    fn at_value(&mut self, region: &mut Region, v: Value, x: Scalar, dims: &[DimId]) -> bool {
        let behind = match region.insts.iter().position(|i| i.results.contains(&v)) {
            Some(n) => n + 1,
            None if region.args.contains(&v) => 0,
            None => {
                let mut regions = region.insts.iter_mut().flat_map(|i| &mut i.regions);
                return regions.any(|r| self.at_value(r, v, x, dims));
            }
        };
        let span = region.insts.get(behind.saturating_sub(1)).map_or_else(Default::default, |i| i.span);
        let mut insts = Vec::new();
        let selected = self.selected(&mut insts, v, x, dims, span);
        region.insts[behind..].iter_mut().for_each(|i| replace(i, v, selected));
        region.yields.iter_mut().filter(|y| **y == v).for_each(|y| *y = selected);
        region.insts.splice(behind..behind, insts);
        true
    }

    /// Selects in front of a site, of its operands alone; whether the site was found.
    fn at_use(&mut self, region: &mut Region, site: Value, fixes: &[(usize, Scalar)], dims: &[DimId]) -> bool {
        let Some(n) = region.insts.iter().position(|i| i.results.contains(&site)) else {
            let mut regions = region.insts.iter_mut().flat_map(|i| &mut i.regions);
            return regions.any(|r| self.at_use(r, site, fixes, dims));
        };
        let mut insts = Vec::new();
        for (arg, x) in fixes {
            let (v, span) = (region.insts[n].args[*arg], region.insts[n].span);
            region.insts[n].args[*arg] = self.selected(&mut insts, v, *x, dims, span);
        }
        region.insts.splice(n..n, insts);
        true
    }

    /// Emits `select (valid d and …), v, x`.
    fn selected(
        &mut self,
        out: &mut Vec<Inst>,
        v: Value,
        x: Scalar,
        dims: &[DimId],
        span: pantile_diag::Span,
    ) -> Value {
        let ty = self.func.ty(v).clone();
        let mut push = |op, args: Vec<Value>, ty: Type| {
            let result = self.func.new_value(ty);
            out.push(Inst { op, args, results: vec![result], regions: Vec::new(), span });
            result
        };
        let mut valid: Option<(Value, Vec<DimId>)> = None;
        for d in dims {
            let own = push(Op::Valid(*d), Vec::new(), Type::tile(DType::Bool, [*d]));
            valid = Some(match valid.take() {
                None => (own, vec![*d]),
                Some((all, mut have)) => {
                    have.push(*d);
                    let ty = Type::tile(DType::Bool, have.iter().copied());
                    (push(Op::Binary(BinaryOp::And), vec![all, own], ty), have)
                }
            });
        }
        let Some((valid, _)) = valid else { return v };
        let constant = push(Op::Const(ty.dtype(), x), Vec::new(), Type::Scalar(ty.dtype()));
        push(Op::Select, vec![valid, v, constant], ty)
    }
}

fn replace(inst: &mut Inst, old: Value, new: Value) {
    inst.args.iter_mut().filter(|v| **v == old).for_each(|v| *v = new);
    for r in &mut inst.regions {
        r.insts.iter_mut().for_each(|i| replace(i, old, new));
        r.yields.iter_mut().filter(|v| **v == old).for_each(|v| *v = new);
    }
}

/// What to place next, if padding is seen anywhere.
fn choose(func: &Func, lanes: Lanes) -> Option<What> {
    let cx = Context::new(func, lanes);
    let prices = Prices::new(func, lanes);
    let fills = cx.analyse(&HashMap::new());
    let uses = uses(&cx, &fills, &prices);
    let all = total(&uses);
    let constants = constants(&uses);
    let (mut best, mut least) = (None, all);
    for (v, dims, saved) in candidates(&cx, &uses) {
        for x in constants.iter().filter(|x| holds(func.ty(v).dtype(), **x)) {
            // No select saves more than all that is downstream of it.
            if prices.of(v).saturating_add(all - saved) >= least {
                break;
            }
            let forced = dims.iter().map(|d| ((v, *d), *x)).collect();
            let rest = self::uses(&cx, &cx.analyse(&forced), &prices);
            let sum = prices.of(v).saturating_add(total(&rest));
            if sum < least {
                (best, least) = (Some(What::Value(v, *x, dims.clone())), sum);
            }
        }
    }
    best.or_else(|| (!uses.is_empty()).then_some(What::Uses(uses)))
}

fn total(uses: &[Use]) -> u64 {
    uses.iter().map(|u| u.price).sum()
}

/// What each site that sees padding would need by itself; one select serves several dims that ask for the same.
fn uses(cx: &Context, fills: &Fills, prices: &Prices) -> Vec<Use> {
    let mut found: Vec<Use> = Vec::new();
    let price = |v: Value| prices.of(v);
    let mut seen = HashSet::new();
    for u in fills.unmet.iter().filter(|u| seen.insert(**u)) {
        let fixes = cx.fixes(fills, *u, &price);
        let alike = |f: &&mut Use| f.site == u.site && format!("{:?}", f.fixes) == format!("{fixes:?}");
        if let Some(same) = found.iter_mut().find(alike) {
            same.dims.push(u.dim);
            continue;
        }
        let args = cx.def(u.site).map_or(&[][..], |i| &i.args);
        let cost = fixes.iter().map(|(n, _)| price(args[*n])).sum();
        found.push(Use { site: u.site, fixes, dims: vec![u.dim], price: cost });
    }
    found
}

/// Values that sites get their operands from, each with dims that padding is seen along, and what the sites cost.
fn candidates(cx: &Context, uses: &[Use]) -> Vec<(Value, Vec<DimId>, u64)> {
    let sources = sources(cx.func);
    // For each value and dim, the sites downstream.
    let mut reached: BTreeMap<Value, BTreeMap<DimId, BTreeSet<usize>>> = BTreeMap::new();
    for (n, u) in uses.iter().enumerate() {
        for d in &u.dims {
            let mut work = sources.get(&u.site).cloned().unwrap_or_default();
            let mut seen = HashSet::new();
            while let Some(v) = work.pop() {
                if cx.func.ty(v).dims().contains(d) && seen.insert(v) {
                    reached.entry(v).or_default().entry(*d).or_default().insert(n);
                    work.extend(sources.get(&v).into_iter().flatten());
                }
            }
        }
    }
    let mut found = Vec::new();
    let cost = |sites: &BTreeSet<usize>| sites.iter().map(|n| uses[*n].price).sum::<u64>();
    for (v, by_dim) in reached {
        found.extend(by_dim.iter().map(|(d, sites)| (v, vec![*d], cost(sites))));
        if by_dim.len() > 1 {
            let sites = by_dim.values().flatten().copied().collect();
            found.push((v, by_dim.keys().copied().collect(), cost(&sites)));
        }
    }
    found
}

/// What padding may be made to hold: what the sites ask for, and what exponentials and products make that of.
fn constants(uses: &[Use]) -> Vec<Scalar> {
    let mut found: Vec<Scalar> = Vec::new();
    let asked = uses.iter().flat_map(|u| u.fixes.iter().map(|(_, x)| *x));
    let floats = [f64::NEG_INFINITY, f64::INFINITY, 0.0].map(Scalar::Float);
    let rest = [Scalar::Int(0), Scalar::Bool(false), Scalar::Bool(true)];
    for x in asked.chain(floats).chain(rest) {
        if !found.iter().any(|y| format!("{x:?}") == format!("{y:?}")) {
            found.push(x);
        }
    }
    found
}

/// Whether a dtype has a constant.
fn holds(dtype: DType, x: Scalar) -> bool {
    match x {
        Scalar::Bool(_) => dtype.kind() == Kind::Bool,
        Scalar::Int(n) => dtype.is_int() && eval::wrap(dtype, n) == n,
        Scalar::Float(x) => dtype.is_float() && (x.is_nan() || eval::round(dtype, x).to_bits() == x.to_bits()),
    }
}

/// What a select of each value costs.
struct Prices {
    of: Vec<u64>,
}

impl Prices {
    fn new(func: &Func, lanes: Lanes) -> Self {
        let elements = |v: usize| {
            let dims = func.types[v].dims().iter();
            dims.map(|d| lanes.of(func.dim(*d).size) as u64).fold(1, u64::saturating_mul)
        };
        let mut of: Vec<u64> = (0..func.types.len()).map(elements).collect();
        turns(&func.body, 1, &mut of);
        Self { of }
    }

    fn of(&self, v: Value) -> u64 {
        self.of[v.index()].min(1 << 40)
    }
}

fn turns(region: &Region, times: u64, of: &mut [u64]) {
    let mut scale = |v: &Value| of[v.index()] = of[v.index()].saturating_mul(times);
    region.args.iter().for_each(&mut scale);
    region.insts.iter().flat_map(|i| &i.results).for_each(&mut scale);
    for inst in &region.insts {
        let times = if matches!(inst.op, Op::For(_)) { times.saturating_mul(TURNS) } else { times };
        inst.regions.iter().for_each(|r| turns(r, times, of));
    }
}
