//! Places selects, one after another, each where it saves most: at a value, for all that uses it, or at one use. Which code
//! is worth splitting first is not decided here.

use std::collections::{HashMap, HashSet};

use pantile_ir::{BinaryOp, DType, DimId, Func, Inst, Kind, Op, Region, Scalar, Type, Value, eval};

use super::Pad;
use crate::analysis::fill::{Context, Fills, Lanes, Unmet, sources};

/// How often a loop is taken to turn.
const TURNS: u64 = 16;

/// A select, or several at one use.
struct Choice {
    /// What it and what is left to do cost: elements times turns.
    total: u64,
    what: What,
}

enum What {
    /// Of a value, for every use, along dims.
    Value(Value, Scalar, Vec<DimId>),
    /// Of operands of a site, along dims.
    Use(Value, Vec<(usize, Scalar)>, Vec<DimId>),
}

impl Pad<'_> {
    /// Places the select that saves most; whether one was needed.
    pub(super) fn place(&mut self) -> bool {
        let Some(what) = choose(self.func, self.lanes) else { return false };
        let mut body = std::mem::take(&mut self.func.body);
        match what {
            What::Value(v, x, dims) => _ = self.at_value(&mut body, v, x, &dims),
            What::Use(site, fixes, dims) => _ = self.at_use(&mut body, site, &fixes, &dims),
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

/// The select to place next, if padding is seen anywhere.
fn choose(func: &Func, lanes: Lanes) -> Option<What> {
    let cx = Context::new(func, lanes);
    let fills = cx.analyse(&HashMap::new());
    let prices = Prices::new(func, lanes);
    let price = |v: Value| prices.of(v);
    let unmet = distinct(&fills);
    let direct: HashMap<Unmet, u64> = unmet.iter().map(|u| (*u, price_of_fixes(&cx, &fills, *u, &price))).collect();
    let all: u64 = direct.values().sum();
    let mut best: Option<Choice> = None;
    let mut offer = |total: u64, what: &dyn Fn() -> What| {
        if best.as_ref().is_none_or(|b| total < b.total) {
            best = Some(Choice { total, what: what() });
        }
    };
    for u in &unmet {
        let fixes = cx.fixes(&fills, *u, &price);
        // One select serves several dims where they ask for the same.
        let alike = |o: &&Unmet| o.site == u.site && cx.fixes(&fills, **o, &price) == fixes;
        let same: Vec<Unmet> = unmet.iter().filter(alike).copied().collect();
        let saved: u64 = same.iter().map(|o| direct[o]).sum();
        let dims = same.iter().map(|o| o.dim).collect::<Vec<_>>();
        offer(all - saved + direct[u], &|| What::Use(u.site, fixes.clone(), dims.clone()));
    }
    for (v, dims) in candidates(&cx, &unmet) {
        for x in constants(func.ty(v).dtype()) {
            let forced = dims.iter().map(|d| ((v, *d), x)).collect();
            let after = cx.analyse(&forced);
            let rest = distinct(&after).into_iter().map(|u| match direct.get(&u) {
                Some(price) => *price,
                None => price_of_fixes(&cx, &after, u, &price),
            });
            offer(price(v).saturating_add(rest.sum()), &|| What::Value(v, x, dims.clone()));
        }
    }
    best.map(|b| b.what)
}

fn distinct(fills: &Fills) -> Vec<Unmet> {
    let mut seen = HashSet::new();
    fills.unmet.iter().copied().filter(|u| seen.insert(*u)).collect()
}

fn price_of_fixes(cx: &Context, fills: &Fills, u: Unmet, price: &dyn Fn(Value) -> u64) -> u64 {
    let Some(inst) = cx.def(u.site) else { return 0 };
    cx.fixes(fills, u, price).into_iter().map(|(n, _)| price(inst.args[n])).sum()
}

/// Values that sites get their operands from, each with dims that padding is seen along.
fn candidates(cx: &Context, unmet: &[Unmet]) -> Vec<(Value, Vec<DimId>)> {
    let sources = sources(cx.func);
    let mut found: Vec<(Value, Vec<DimId>)> = Vec::new();
    for u in unmet {
        let mut work = sources.get(&u.site).cloned().unwrap_or_default();
        let mut seen = HashSet::new();
        while let Some(v) = work.pop() {
            if !cx.func.ty(v).dims().contains(&u.dim) || !seen.insert(v) {
                continue;
            }
            found.push((v, vec![u.dim]));
            work.extend(sources.get(&v).into_iter().flatten());
        }
    }
    let mut dims: HashMap<Value, Vec<DimId>> = HashMap::new();
    for (v, d) in &found {
        let all = dims.entry(*v).or_default();
        all.extend(d.iter().filter(|d| !all.contains(d)).copied().collect::<Vec<_>>());
    }
    let several = dims.into_iter().filter(|(_, d)| d.len() > 1);
    found.extend(several);
    found.sort();
    found.dedup();
    found
}

/// What padding may be made to hold: all that some op asks for.
fn constants(dtype: DType) -> Vec<Scalar> {
    let ends = [eval::lowest(dtype), eval::highest(dtype)];
    match dtype.kind() {
        Kind::Bool => vec![Scalar::Bool(false), Scalar::Bool(true)],
        Kind::Signed | Kind::Unsigned => [Scalar::Int(0), Scalar::Int(1)].into_iter().chain(ends).collect(),
        Kind::Float => [0.0, 1.0, f64::NAN].map(Scalar::Float).into_iter().chain(ends).collect(),
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
