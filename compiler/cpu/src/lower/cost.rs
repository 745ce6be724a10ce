//! Which inline values would be recomputed at a higher price than storing them. Prices are in cycles of four lanes,
//! roughly; they decide speed, never results.

use std::collections::{HashMap, HashSet};

use pantile_ir::{DType, DimId, Index, Op, UnaryOp, Value};

use super::plan::{Nest, Planner, RegionPlan, Step};

/// Guessed number of trips of a loop.
const TRIPS: f64 = 8.0;

/// The values to store.
pub fn costly(planner: &Planner<'_, '_>, body: &RegionPlan<'_>) -> Vec<Value> {
    let mut count = Count { planner, lanes: HashMap::new(), prices: HashMap::new() };
    count.region(body);
    let lanes = std::mem::take(&mut count.lanes);
    let mut costly: Vec<Value> = Vec::new();
    for (value, computed) in lanes {
        let once = planner.facts.volume(planner.facts.func.ty(value).dims()) as f64;
        let price = count.price(value);
        let again = computed * price;
        let stored = once * (price + 1.5) + computed;
        if computed > once && price > 1.0 && again > stored {
            costly.push(value);
        }
    }
    costly.sort();
    // Storing the dearest first may make the others cheap: their readers are then fewer.
    let mut top: HashSet<Value> = HashSet::new();
    costly.iter().for_each(|v| count.inputs(*v, &mut top));
    let outer: Vec<Value> = costly.iter().copied().filter(|v| !top.contains(v)).collect();
    if outer.is_empty() { costly } else { outer }
}

struct Count<'a, 'p, 'f> {
    planner: &'a Planner<'p, 'f>,
    /// How many lanes of each inline value are computed in all.
    lanes: HashMap<Value, f64>,
    prices: HashMap<Value, f64>,
}

impl Count<'_, '_, '_> {
    fn region(&mut self, plan: &RegionPlan<'_>) {
        for step in &plan.steps {
            match step {
                Step::Nest(nest) => self.nest(nest, plan.id),
                Step::Loop(_, guard, body) => {
                    guard.iter().for_each(|g| self.region(g));
                    self.region(body);
                }
                Step::If(_, arms) => arms.iter().for_each(|arm| self.region(arm)),
                Step::Scalar(_) | Step::Product(_) | Step::Alone(_) => {}
            }
        }
    }

    fn nest(&mut self, nest: &Nest<'_>, region: usize) {
        let mut seen: HashMap<i32, HashSet<Value>> = HashMap::new();
        for stmt in &nest.stmts {
            let seen = seen.entry(if stmt.row { -1 } else { stmt.time }).or_default();
            stmt.inst.args.iter().for_each(|v| self.visit(*v, nest, region, seen));
        }
    }

    fn visit(&mut self, value: Value, nest: &Nest<'_>, region: usize, seen: &mut HashSet<Value>) {
        let facts = self.planner.facts;
        let Some(inst) = self.planner.defs_inline(value) else { return };
        if !seen.insert(value) {
            return;
        }
        let dims = facts.func.ty(value).dims();
        let over: &[DimId] = if dims.contains(&nest.inner()) { &nest.dims } else { nest.rows() };
        let depth = facts.loops[region].saturating_sub(facts.loops[facts.region_of[value.index()]]);
        let lanes = facts.volume(over) as f64 * TRIPS.powi(depth as i32);
        *self.lanes.entry(value).or_default() += lanes;
        inst.args.iter().for_each(|v| self.visit(*v, nest, region, seen));
    }

    /// All inline values behind one.
    fn inputs(&self, value: Value, out: &mut HashSet<Value>) {
        let direct = self.planner.defs_inline(value).map_or(&[][..], |inst| &inst.args[..]);
        for arg in direct {
            if out.insert(*arg) {
                self.inputs(*arg, out);
            }
        }
    }

    fn price(&mut self, value: Value) -> f64 {
        if let Some(price) = self.prices.get(&value) {
            return *price;
        }
        let facts = self.planner.facts;
        let Some(inst) = self.planner.defs_inline(value) else {
            return if facts.is_scalar(value) { 0.0 } else { 1.0 };
        };
        let own = own_price(facts.func, inst) * if facts.dtype(value).bytes() == 8 { 2.0 } else { 1.0 };
        let price = own + inst.args.iter().map(|v| self.price(*v)).sum::<f64>();
        self.prices.insert(value, price);
        price
    }
}

fn own_price(func: &pantile_ir::Func, inst: &pantile_ir::Inst) -> f64 {
    let narrow = |dtype: DType| if dtype.bytes() < 4 { 3.0 } else { 0.0 };
    let dtype = func.ty(inst.results[0]).dtype();
    match &inst.op {
        Op::Const(..) | Op::Extent(_) | Op::BlockIndex(_) | Op::BlockLen(_) | Op::Valid(_) | Op::Broadcast(_) => 0.0,
        Op::Pos(d) | Op::At(d) => {
            if func.dim(*d).order.is_some() {
                4.0
            } else {
                1.0
            }
        }
        Op::OrderAt(_) | Op::Gather(_) => 8.0,
        Op::Unary(op) => match op {
            UnaryOp::Neg | UnaryOp::Not | UnaryOp::Abs | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round => 1.0,
            UnaryOp::Sqrt | UnaryOp::Rsqrt => 5.0,
            UnaryOp::Exp | UnaryOp::Exp2 | UnaryOp::Log | UnaryOp::Log2 => 12.0,
            UnaryOp::Sin | UnaryOp::Cos | UnaryOp::Tanh | UnaryOp::Erf | UnaryOp::Sigmoid => 20.0,
        },
        Op::Binary(op) => {
            let compared = func.ty(inst.args[0]).dtype().bytes() == 8;
            let divides = matches!(op, pantile_ir::BinaryOp::Div | pantile_ir::BinaryOp::Rem);
            1.0 + f64::from(u8::from(compared)) + if divides { 6.0 } else { 0.0 } + narrow(dtype)
        }
        Op::Select => 1.0,
        Op::Cast(to) => {
            if func.ty(inst.args[0]).dtype() == *to {
                0.0
            } else {
                1.0 + narrow(*to)
            }
        }
        Op::Split { .. } | Op::Merge { .. } => 2.0,
        Op::Random => 60.0,
        Op::Load(_, index) => {
            let last = matches!(index.last(), Some(Index::Dim(d)) if func.dim(*d).order.is_none());
            if last { 1.0 + narrow(dtype) / 2.0 } else { 6.0 }
        }
        Op::Reduce(..)
        | Op::ArgReduce(..)
        | Op::Scan(..)
        | Op::Sort { .. }
        | Op::KthLargest(_)
        | Op::Dot(_)
        | Op::Store { .. }
        | Op::MaskGet(_)
        | Op::MaskPut(..)
        | Op::For(_)
        | Op::If
        | Op::Print(_)
        | Op::Assert(_) => 0.0,
    }
}
