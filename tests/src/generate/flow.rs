//! Loops and conditionals. What a loop carries is chosen first and updated last, in a form whose bounds are known.

use pantile_ir::{Axis, BinaryOp, DType, DimId, Loop, Op, Over, ParamId, Region, Type, Value};

use super::Generator;
use super::bounds::{self, Bounds};

/// What a region must put back when it ends.
pub(super) struct Mark {
    pool: usize,
    places: usize,
    dims: usize,
    trips: f64,
}

/// What a loop visits.
pub(super) struct Walk {
    pub it: Loop,
    pub args: Vec<Value>,
    pub trips: f64,
    /// The range's number is a place along this axis.
    along: Option<Axis>,
}

impl Generator<'_> {
    pub(super) fn enter(&mut self, trips: f64) -> Mark {
        let mark = Mark { pool: self.pool.len(), places: self.places.len(), dims: self.dims.len(), trips: self.trips };
        self.depth += 1;
        self.trips *= trips;
        mark
    }

    pub(super) fn leave(&mut self, mark: Mark) {
        self.depth -= 1;
        self.pool.truncate(mark.pool);
        self.places.truncate(mark.places);
        self.dims.truncate(mark.dims);
        self.trips = mark.trips;
    }

    pub(super) fn loop_statement(&mut self) -> Option<()> {
        if self.depth >= 2 {
            return None;
        }
        let walk = if self.source.chance(70) { self.walk()? } else { self.range() };
        let count = self.source.below(4);
        let inits: Vec<Value> = (0..count).map(|_| self.any()).collect();
        let mut regions = Vec::new();
        if walk.it.guard {
            regions.push(self.guard(&walk));
        }
        let (body, results) = self.loop_body(&walk, &inits);
        regions.push(body);
        let args = [&walk.args[..], &inits].concat();
        let values = self.build.push_for(walk.it, &args, regions);
        for (value, bounds) in values.into_iter().zip(results) {
            self.note(value, bounds);
            self.pool.push(value);
        }
        Some(())
    }

    pub(super) fn walk(&mut self) -> Option<Walk> {
        let mask = if self.masks.is_empty() { None } else { Some(self.masks[0].param) };
        let listed = mask.filter(|_| self.source.chance(50)).and_then(|m| self.listed_dim(m));
        let (dim, list) = match listed {
            Some((dim, mask)) => (dim, Some(mask)),
            None => {
                let (extent, size) = (self.any_extent(), self.source.pick(&[4, 3, 1, 5, 8, 2, 7]));
                (self.new_dim(extent, size), None)
            }
        };
        let trips = self.build.func.block_count(dim, &self.extents) as f64;
        let bounds = self.source.chance(25);
        let mut args = Vec::new();
        if bounds {
            args.extend([self.scalar_int(), self.scalar_int()]);
        }
        if let Some(mask) = list {
            args.extend(self.mask_row(mask)?);
        }
        let guard = self.source.chance(40);
        Some(Walk { it: Loop { over: Over::Walk(dim), bounds, list, guard }, args, trips, along: None })
    }

    /// A dim that walks the last axis of a mask.
    fn listed_dim(&mut self, mask: ParamId) -> Option<(DimId, ParamId)> {
        let last = *self.build.func.axes(mask).last()?;
        let dim = self.new_dim(last.extent, last.by?);
        (self.counted_by(dim) == Some(last)).then_some((dim, mask))
    }

    fn range(&mut self) -> Walk {
        let extent = self.any_extent();
        let guard = self.source.chance(30);
        let it = Loop { over: Over::Range, bounds: false, list: None, guard };
        if self.source.chance(50) {
            let (lo, hi) = (self.int(0), self.push(Op::Extent(extent), &[], Bounds::exact(20.0)));
            let trips = self.extents[extent.index()] as f64;
            return Walk { it, args: vec![lo, hi], trips, along: Some(Axis { extent, by: None }) };
        }
        let lo = self.source.below(5) as i64 - 2;
        let trips = self.source.below(5) as i64;
        let args = vec![self.int(lo), self.int(lo + trips)];
        Walk { it, args, trips: trips as f64, along: None }
    }

    /// Opens a region of the loop: what it defines is in scope.
    pub(super) fn open(&mut self, walk: &Walk, carried: &[Type]) -> Vec<Value> {
        let number = Type::Scalar(DType::I64);
        match walk.it.over {
            Over::Walk(dim) => {
                self.dims.push(dim);
                self.build.open(carried)
            }
            Over::Range => {
                let mut args = self.build.open(&[&[number], carried].concat());
                let n = args.remove(0);
                self.note(n, Bounds::exact(20.0));
                self.pool.push(n);
                self.places.extend(walk.along.map(|axis| (n, axis)));
                args
            }
        }
    }

    /// Comparisons of numbers of blocks, mask bits, and whatever else is true or false here.
    fn guard(&mut self, walk: &Walk) -> Region {
        let mark = self.enter(1.0);
        self.open(walk, &[]);
        let mut held = match walk.it.over {
            Over::Walk(dim) if self.source.chance(60) => self.affine(dim),
            Over::Walk(_) | Over::Range => self.condition(),
        };
        if self.source.chance(40) && self.mask_get().is_some() {
            let bit = self.pool[self.pool.len() - 1];
            held = self.push(Op::Binary(BinaryOp::And), &[held, bit], Bounds::exact(1.0));
        }
        let region = self.build.close(vec![held]);
        self.leave(mark);
        region
    }

    /// `index(j) · size < (index(i) + 1) · size`, or the like.
    fn affine(&mut self, dim: DimId) -> Value {
        let bounds = Bounds::exact(80.0);
        let j = self.push(Op::BlockIndex(dim), &[], bounds);
        let size = self.int(self.build.func.dim(dim).size);
        let left = self.push(Op::Binary(BinaryOp::Mul), &[j, size], bounds);
        let other = self.any_dim().unwrap_or(dim);
        let i = if other == dim { self.scalar_int() } else { self.push(Op::BlockIndex(other), &[], bounds) };
        let one = self.int(1);
        let next = self.push(Op::Binary(BinaryOp::Add), &[i, one], bounds);
        let size = self.int(self.build.func.dim(other).size);
        let right = self.push(Op::Binary(BinaryOp::Mul), &[next, size], bounds);
        let op = self.source.pick(&[BinaryOp::Lt, BinaryOp::Le, BinaryOp::Gt, BinaryOp::Ge, BinaryOp::Eq]);
        self.push(Op::Binary(op), &[left, right], Bounds::exact(1.0))
    }

    /// The body, and what is known of the loop's results.
    fn loop_body(&mut self, walk: &Walk, inits: &[Value]) -> (Region, Vec<Bounds>) {
        let types: Vec<Type> = inits.iter().map(|v| self.ty(*v).clone()).collect();
        let mark = self.enter(walk.trips.max(1.0));
        let carried = self.open(walk, &types);
        for (value, init) in carried.iter().zip(inits) {
            // How large a carried float gets is known only at the end, so the body may not use it before.
            self.note(*value, if self.ty(*value).dtype().is_float() { self.known(*init) } else { Bounds::ANY });
            if !self.ty(*value).dtype().is_float() {
                self.pool.push(*value);
            }
        }
        self.statements();
        let mut yields = Vec::new();
        let mut results = Vec::new();
        for (value, init) in carried.iter().zip(inits) {
            let (next, bounds) = self.update(*value, *init, walk.trips);
            yields.push(next);
            results.push(bounds);
        }
        let region = self.build.close(yields);
        self.leave(mark);
        (region, results)
    }

    /// The next value of what is carried, and the bounds of the last.
    fn update(&mut self, value: Value, init: Value, trips: f64) -> (Value, Bounds) {
        let ty = self.ty(value).clone();
        let (dtype, start) = (ty.dtype(), self.known(init));
        let same = |g: &Self, v: Value| *g.ty(v) == ty;
        if !dtype.is_float() {
            let next = self.pick(same).unwrap_or(value);
            return (next, Bounds::ANY);
        }
        let within = |g: &Self, v: Value| {
            v != value && g.ty(v).dtype() == dtype && g.ty(v).dims().iter().all(|d| ty.dims().contains(d))
        };
        let Some(x) = self.pick(within) else { return (value, start) };
        let each = self.known(x);
        let most = |a: Bounds, b: Bounds| Some(a.max(b)).filter(|m| m.is_comparable());
        match self.source.below(4) {
            0 => {
                let Some(sum) = grown(dtype, start, each, trips) else { return (value, start) };
                (self.push(Op::Binary(BinaryOp::Add), &[value, x], sum), sum)
            }
            1 => {
                let Some(max) = most(start, each) else { return (value, start) };
                (self.push(Op::Binary(BinaryOp::Max), &[value, x], max), max)
            }
            2 => {
                let fade = self.pick(|g, v| within(g, v) && g.known(v).size <= 1.0).unwrap_or(x);
                let faded = self.known(fade);
                let sum = if faded.size <= 1.0 { grown(dtype, start, each, trips) } else { None };
                let Some(sum) = sum else { return (value, start) };
                let error = sum.error + trips * (faded.error + bounds::step(dtype, 1.0)) * sum.size;
                let sum = Bounds { error, ..sum };
                let kept = self.push(Op::Binary(BinaryOp::Mul), &[value, fade], sum);
                (self.push(Op::Binary(BinaryOp::Add), &[kept, x], sum), sum)
            }
            _ => {
                let Some(last) = most(start, each) else { return (value, start) };
                let next = if *self.ty(x) == ty { x } else { self.push(Op::Broadcast(ty.dims().to_vec()), &[x], each) };
                (next, last)
            }
        }
    }

    pub(super) fn branch(&mut self) -> Option<()> {
        if self.depth >= 3 {
            return None;
        }
        let condition = self.condition();
        let outs: Vec<Value> = (0..self.source.below(3)).map(|_| self.any()).collect();
        let types: Vec<Type> = outs.iter().map(|v| self.ty(*v).clone()).collect();
        let mut known: Vec<Bounds> = outs.iter().map(|v| self.known(*v)).collect();
        let mut regions = Vec::new();
        for _ in 0..2 {
            let mark = self.enter(1.0);
            self.build.open(&[]);
            self.statements();
            let mut yields = Vec::new();
            for (n, out) in outs.iter().enumerate() {
                let value = self.pick(|g, v| *g.ty(v) == types[n]).unwrap_or(*out);
                let both = known[n].max(self.known(value));
                let value = if both.is_comparable() { value } else { *out };
                known[n] = known[n].max(self.known(value));
                yields.push(value);
            }
            regions.push(self.build.close(yields));
            self.leave(mark);
        }
        let otherwise = regions.pop()?;
        let then = regions.pop()?;
        let values = self.build.push_if(condition, then, otherwise);
        for (value, bounds) in values.into_iter().zip(known) {
            self.note(value, bounds);
            self.pool.push(value);
        }
        Some(())
    }
}

/// Of `start` with `each` added up to `trips` times; `None` if it gets too large.
fn grown(dtype: DType, start: Bounds, each: Bounds, trips: f64) -> Option<Bounds> {
    let size = start.size + trips * each.size;
    let error = start.error + trips * (each.error + bounds::step(dtype, size));
    (size <= bounds::limit(dtype)).then_some(Bounds { size, error })
}
