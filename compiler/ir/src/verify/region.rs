//! The verifier's rules for regions and instructions. Tables have been checked before.

use super::Verifier;
use crate::{
    DType, DimId, ExtentId, Inst, Kind, Loop, Op, Over, ParamId, Region, Scalar, Type, Value, eval, result_types,
};

impl Verifier<'_> {
    /// Checks a region; `dim` is the loop's, in scope here only.
    pub(super) fn region(&mut self, region: &Region, dim: Option<DimId>) {
        let outer = std::mem::take(&mut self.context);
        let mark = self.visible.len();
        if let Some(d) = dim {
            self.dim_in_scope[d.index()] = true;
        }
        region.args.iter().for_each(|v| self.define(*v));
        region.insts.iter().for_each(|inst| self.inst(inst));
        self.context = "yield".into();
        for v in &region.yields {
            self.usable(*v);
        }
        for v in self.visible.drain(mark..) {
            self.is_visible[v.index()] = false;
        }
        if let Some(d) = dim {
            self.dim_in_scope[d.index()] = false;
        }
        self.context = outer;
    }

    fn usable(&mut self, v: Value) -> bool {
        let visible = self.is_visible.get(v.index()).copied().unwrap_or(false);
        self.check(visible, || format!("%{} is not defined here", v.0))
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "no other op defines a dim")]
    fn inst(&mut self, inst: &Inst) {
        self.at(inst);
        // Each operand is looked at, also after one that is wrong.
        let usable = inst.args.iter().filter(|v| !self.usable(**v)).count() == 0;
        let attributes = self.attributes(&inst.op);
        let shaped = usable && attributes && self.shape(inst);
        if shaped {
            let dim = match &inst.op {
                Op::For(Loop { over: Over::Walk(d), .. }) => Some(*d),
                _ => None,
            };
            inst.regions.iter().for_each(|r| self.region(r, dim));
            self.result_types(inst);
        }
        inst.results.iter().for_each(|v| self.define(*v));
        self.context.clear();
    }

    /// Ids point into their tables, dims are in scope, constants fit.
    fn attributes(&mut self, op: &Op) -> bool {
        let errors = self.errors.len();
        for d in op.own_dims() {
            let new = matches!(op, Op::Split { .. } | Op::Merge { .. } | Op::Broadcast(_));
            if !self.has_dim(d) {
                self.error("names a dim that does not exist");
            } else if !self.dim_in_scope[d.index()] {
                let what = if new { "makes" } else { "names" };
                self.error(format!("{what} dim `{}`, which is not in scope here", self.func.dim(d).name));
            }
        }
        if let Some(p) = param_of(op) {
            self.check(self.has_param(p), || "names a parameter that does not exist".into());
        }
        if let Some(e) = extent_of(op) {
            self.check(self.has_extent(e), || "names an extent that does not exist".into());
        }
        if let Op::Const(dtype, x) = op {
            self.check(is_exact(*dtype, *x), || format!("{x:?} is not a value of {dtype}"));
        }
        self.errors.len() == errors
    }

    /// The number of regions and their arguments.
    #[allow(clippy::wildcard_enum_match_arm, reason = "only `for` and `if` have regions")]
    fn shape(&mut self, inst: &Inst) -> bool {
        match &inst.op {
            Op::For(it) => self.loop_shape(inst, it),
            Op::If => {
                let fits = inst.regions.len() == 2 && inst.regions.iter().all(|r| r.args.is_empty());
                self.check(fits, || "takes two regions without arguments".into())
            }
            _ => self.check(inst.regions.is_empty(), || "takes no region".into()),
        }
    }

    fn loop_shape(&mut self, inst: &Inst, it: &Loop) -> bool {
        let want = 1 + usize::from(it.guard);
        if !self.check(inst.regions.len() == want, || format!("takes {want} regions, not {}", inst.regions.len())) {
            return false;
        }
        let restricted = it.bounds || it.list.is_some();
        let dim = match it.over {
            Over::Range => {
                return self.check(!restricted, || "a range has bounds or a list, which are for walks".into())
                    && self.loop_args(inst, it);
            }
            Over::Walk(d) => d,
        };
        if !self.check(self.has_dim(dim), || "walks a dim that does not exist".into()) {
            return false;
        }
        let row = self.func.dim(dim);
        self.check(row.over.is_some() && !row.whole, || format!("walks `{}`, which is in scope everywhere", row.name))
            & self.check(!self.dim_in_scope[dim.index()], || format!("dim `{}` is in scope already", row.name))
            && it.list.is_none_or(|mask| self.listed(mask, dim))
            && self.loop_args(inst, it)
    }

    /// A list's mask counts the blocks of the loop's walk.
    fn listed(&mut self, mask: ParamId, dim: DimId) -> bool {
        if !self.check(self.has_param(mask), || "lists a parameter that does not exist".into()) {
            return false;
        }
        let axis = self.func.axes(mask).last().copied();
        self.check(axis.is_some_and(|a| self.func.counts_blocks(a, dim)), || {
            format!("the last axis of `{}` does not count its blocks", self.func.param(mask).name)
        })
    }

    /// Arguments of guard and body, and what the guard yields.
    fn loop_args(&mut self, inst: &Inst, it: &Loop) -> bool {
        let leading = usize::from(it.over == Over::Range);
        let body = inst.body();
        let fixed = 2 * leading + 2 * usize::from(it.bounds) + it.list.map_or(0, |m| self.func.axes(m).len() - 1);
        let carried = inst.args.len().checked_sub(fixed);
        let counts = carried.is_some_and(|n| n + leading == body.args.len() && n == body.yields.len());
        if !self.check(counts, || "operands, arguments and yields of the body differ in number".into()) {
            return false;
        }
        let exist = inst.regions.iter().flat_map(|r| r.args.iter().chain(&r.yields)).all(|v| self.has_value(*v));
        if !self.check(exist, || "a region's argument or yield has no type".into()) {
            return false;
        }
        let number = body.args[..leading].iter().all(|v| *self.func.ty(*v) == Type::Scalar(DType::I64));
        self.check(number, || "the body's number is not an i64".into())
            & self.carried(inst, it, &inst.args[fixed..], &body.args[leading..])
            & (!it.guard || self.guard(&inst.regions[0], leading))
    }

    fn carried(&mut self, inst: &Inst, it: &Loop, inits: &[Value], args: &[Value]) -> bool {
        let mut ok = true;
        for (n, (init, arg)) in inits.iter().zip(args).enumerate() {
            let (ty, next) = (self.func.ty(*arg), self.func.ty(inst.body().yields[n]));
            ok &= self.check(self.func.ty(*init) == ty && ty == next, || {
                format!("carried value {n} changes its type between start, body and yield")
            });
            if let Over::Walk(d) = it.over {
                ok &= self.check(!ty.dims().contains(&d), || format!("carried value {n} has the loop's own dim"));
            }
        }
        ok
    }

    fn guard(&mut self, guard: &Region, leading: usize) -> bool {
        let number =
            guard.args.len() == leading && guard.args.iter().all(|v| *self.func.ty(*v) == Type::Scalar(DType::I64));
        let one = guard.yields.len() == 1 && *self.func.ty(guard.yields[0]) == Type::Scalar(DType::Bool);
        self.check(number, || "the guard's arguments are not the loop's".into())
            & self.check(one, || "the guard does not yield one scalar bool".into())
            & self.check(!guard.insts.iter().any(Inst::has_effect), || "the guard has an effect".into())
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "nothing else yields")]
    fn result_types(&mut self, inst: &Inst) {
        let yields = match inst.op {
            Op::For(_) | Op::If => &inst.regions[inst.regions.len() - 1].yields,
            _ => &Vec::new(),
        };
        let known = inst.regions.iter().flat_map(|r| &r.yields).chain(&inst.results).all(|v| self.has_value(*v));
        if !self.check(known, || "a result or yield has no type".into()) {
            return;
        }
        let types = |values: &[Value]| values.iter().map(|v| self.func.ty(*v).clone()).collect::<Vec<_>>();
        let carried = types(yields);
        let branches_differ = inst.op == Op::If && types(&inst.regions[0].yields) != carried;
        let results = types(&inst.results);
        self.check(!branches_differ, || "the regions yield different types".into());
        match result_types(self.func, &inst.op, &inst.args, &carried) {
            Ok(want) => {
                self.check(want == results, || "a result has another type than the op gives".into());
            }
            Err(why) => self.error(why),
        }
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "a loop's mask is checked with its shape")]
fn param_of(op: &Op) -> Option<ParamId> {
    match op {
        Op::Load(p, _) | Op::Store { param: p, .. } | Op::MaskGet(p) | Op::MaskPut(p, _) => Some(*p),
        _ => None,
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "nothing else names an extent")]
fn extent_of(op: &Op) -> Option<ExtentId> {
    match op {
        Op::Extent(e) | Op::OrderAt(e) => Some(*e),
        _ => None,
    }
}

fn is_exact(dtype: DType, x: Scalar) -> bool {
    match (dtype.kind(), x) {
        (Kind::Bool, Scalar::Bool(_)) => true,
        (Kind::Signed | Kind::Unsigned, Scalar::Int(n)) => eval::wrap(dtype, n) == n,
        (Kind::Float, Scalar::Float(x)) => x.is_nan() || eval::round(dtype, x).to_bits() == x.to_bits(),
        (Kind::Bool | Kind::Signed | Kind::Unsigned | Kind::Float, _) => false,
    }
}
