//! Statements of a kernel's body: element-wise ops, ops along dims, and which comes next.

use pantile_ir::{ArgOp, BinaryOp, DType, Dim, DimId, Op, ReduceOp, ScanOp, UnaryOp};

use super::Generator;
use super::bounds::{self, Bounds};

/// Statements made after the bytes have run out would all be alike.
const MOST_STATEMENTS: usize = 60;

impl Generator<'_> {
    pub(super) fn body(&mut self) {
        self.load();
        let masked = if self.source.chance(30) { self.masked_walk() } else { None };
        for _ in 0..MOST_STATEMENTS {
            if self.source.is_empty() {
                break;
            }
            self.statement();
        }
        // The newest is what outputs choose when bytes have run out.
        self.pool.extend(masked);
        for n in 0..self.outputs.len() {
            self.store_to(n);
        }
        for n in 0..self.mask_outputs.len() {
            self.mask_put(n);
        }
    }

    pub(super) fn statements(&mut self) {
        for _ in 0..1 + self.source.below(5) {
            if !self.source.is_empty() {
                self.statement();
            }
        }
    }

    /// One statement; nothing where what it needs is not at hand.
    fn statement(&mut self) {
        let done = match self.source.below(34) {
            0..=3 => self.load(),
            4..=6 => self.unary(),
            7..=11 => self.binary(),
            12 => self.select(),
            13 => self.cast(),
            14 => self.broadcast(),
            15..=17 => self.reduce(),
            18 => self.scan_or_sort(),
            19 => self.position_of(),
            20..=21 => self.dot(),
            22 => self.gather(),
            23 => self.reshape(),
            24 => self.about_dim(),
            25 => self.random(),
            26..=27 => self.loop_statement(),
            28 => self.branch(),
            29 => self.store(),
            30 => self.mask_get(),
            31..=32 => self.masked_walk().map(|_| ()),
            _ => self.check(),
        };
        // What was built before a statement gave up is dead code, which programs have too.
        done.unwrap_or_default();
    }

    fn unary(&mut self) -> Option<()> {
        let x = self.any();
        let op = self.source.pick(UnaryOp::ALL);
        let x = if op.class().admits(self.ty(x).dtype()) { x } else { self.tame_float(x)? };
        let dtype = self.ty(x).dtype();
        if !op.class().admits(dtype) {
            return None;
        }
        if matches!(op, UnaryOp::Log | UnaryOp::Log2 | UnaryOp::Rsqrt) {
            let x = self.tame_float(x)?;
            let x = self.above_one(x)?;
            let bounds = bounds::above_one(dtype, self.known(x))?;
            self.push(Op::Unary(op), &[x], bounds);
            return Some(());
        }
        let bounds = bounds::unary(op, dtype, self.known(x))?;
        self.push(Op::Unary(op), &[x], bounds);
        Some(())
    }

    fn binary(&mut self) -> Option<()> {
        let op = self.source.pick(BinaryOp::ALL);
        let (a, b) = (self.any(), self.any());
        let b = self.coerce(b, self.ty(a).dtype())?;
        let dtype = self.ty(a).dtype();
        if !op.class().admits(dtype) || !self.fits(&[a, b]) {
            return None;
        }
        if matches!(op, BinaryOp::Div | BinaryOp::Rem) && dtype.is_int() {
            return self.divide_ints(op, a, b);
        }
        if op == BinaryOp::Div {
            let (a, b) = (self.tame_float(a)?, self.tame_float(b)?);
            let b = self.above_one(b)?;
            let bounds = bounds::quotient(dtype, self.known(a), self.known(b))?;
            self.push(Op::Binary(op), &[a, b], bounds);
            return Some(());
        }
        let bounds = bounds::binary(op, dtype, self.known(a), self.known(b))?;
        self.push(Op::Binary(op), &[a, b], bounds);
        Some(())
    }

    /// By an odd number, which is never zero, nearly always.
    fn divide_ints(&mut self, op: BinaryOp, a: pantile_ir::Value, b: pantile_ir::Value) -> Option<()> {
        let unsafe_divisor = self.source.chance(1);
        self.may_fault |= unsafe_divisor;
        let divisor = if unsafe_divisor {
            b
        } else {
            let one = self.constant(self.ty(b).dtype(), 1);
            self.push(Op::Binary(BinaryOp::Or), &[b, one], Bounds::ANY)
        };
        self.push(Op::Binary(op), &[a, divisor], Bounds::ANY);
        Some(())
    }

    fn select(&mut self) -> Option<()> {
        let c = self.pick(|g, v| g.ty(v).dtype() == DType::Bool)?;
        let (a, b) = (self.any(), self.any());
        let b = self.coerce(b, self.ty(a).dtype())?;
        if !self.fits(&[a, b, c]) {
            return None;
        }
        let bounds = self.known(a).max(self.known(b));
        if !bounds.is_comparable() {
            return None;
        }
        self.push(Op::Select, &[c, a, b], bounds);
        Some(())
    }

    fn cast(&mut self) -> Option<()> {
        let (x, to) = (self.any(), self.dtype());
        self.coerce(x, to).map(|_| ())
    }

    fn broadcast(&mut self) -> Option<()> {
        let x = self.any();
        let dim = self.any_dim()?;
        if self.lanes(&[dim]) * self.lanes(self.ty(x).dims()) > 600 {
            return None;
        }
        self.push(Op::Broadcast(vec![dim]), &[x], self.known(x));
        Some(())
    }

    pub(super) fn any_dim(&mut self) -> Option<DimId> {
        (!self.dims.is_empty()).then(|| self.source.pick(&self.dims))
    }

    fn reduce(&mut self) -> Option<()> {
        let x = self.pick(|g, v| !g.ty(v).dims().is_empty())?;
        let mut dims = vec![self.dim_of(x)?];
        if self.source.chance(30) {
            dims.extend(self.dim_of(x).filter(|d| *d != dims[0]));
            dims.sort();
        }
        let op = self.source.pick(ReduceOp::ALL);
        let (dtype, known) = (self.ty(x).dtype(), self.known(x));
        if !op.class().admits(dtype) {
            return None;
        }
        let n = self.lanes(&dims) as f64;
        let bounds = match op {
            ReduceOp::Sum => bounds::sum(dtype.accumulator(), dtype, n, known)?,
            ReduceOp::Prod => bounds::product(dtype, n, known)?,
            // Over nothing they are infinite.
            ReduceOp::Max | ReduceOp::Min if self.may_be_empty(&dims) => Bounds { size: f64::INFINITY, ..known },
            ReduceOp::Max | ReduceOp::Min | ReduceOp::Any | ReduceOp::All => known,
        };
        if !bounds.is_comparable() {
            return None;
        }
        self.push(Op::Reduce(op, dims), &[x], bounds);
        Some(())
    }

    fn may_be_empty(&self, dims: &[DimId]) -> bool {
        dims.iter().any(|d| {
            let row = self.build.func.dim(*d);
            row.over.is_some()
                && (row.order.is_some() || row.whole && self.build.func.walk_length(*d, &self.extents) == 0)
        })
    }

    fn scan_or_sort(&mut self) -> Option<()> {
        let x = self.pick(|g, v| !g.ty(v).dims().is_empty() && g.ty(v).dtype() != DType::Bool)?;
        let dim = self.dim_of(x)?;
        let (dtype, known) = (self.ty(x).dtype(), self.known(x));
        let n = self.lanes(&[dim]) as f64;
        let (op, bounds) = match self.source.below(5) {
            0 => (Op::Scan(ScanOp::CumSum, dim), bounds::sum(dtype.accumulator(), dtype, n, known)?),
            1 => (Op::Scan(ScanOp::CumMax, dim), known),
            2 => (Op::Sort { dim, descending: false }, known),
            3 => (Op::Sort { dim, descending: true }, known),
            _ => {
                let k = self.scalar_int();
                let empty = self.may_be_empty(&[dim]);
                let bounds = if empty { Bounds { size: f64::INFINITY, ..known } } else { known };
                if !bounds.is_exact() && empty {
                    return None;
                }
                self.push(Op::KthLargest(dim), &[x, k], bounds);
                return Some(());
            }
        };
        self.push(op, &[x], bounds);
        Some(())
    }

    fn position_of(&mut self) -> Option<()> {
        let x = self.pick(|g, v| !g.ty(v).dims().is_empty() && g.ty(v).dtype() != DType::Bool && g.is_exact(v))?;
        let dim = self.dim_of(x)?;
        let op = self.source.pick(&[ArgOp::ArgMax, ArgOp::ArgMin]);
        self.push(Op::ArgReduce(op, dim), &[x], Bounds::exact(32.0));
        Some(())
    }

    fn dot(&mut self) -> Option<()> {
        let a = self.pick(|g, v| !g.ty(v).dims().is_empty() && g.ty(v).dtype() != DType::Bool)?;
        let dims = self.ty(a).dims().to_vec();
        let b = self.pick(|g, v| g.ty(v).dims().iter().any(|d| dims.contains(d)))?;
        let b = self.coerce(b, self.ty(a).dtype())?;
        if !self.fits(&[a, b]) {
            return None;
        }
        let shared: Vec<DimId> = dims.iter().copied().filter(|d| self.ty(b).dims().contains(d)).collect();
        let mut over = vec![self.source.pick(&shared)];
        if self.source.chance(30) {
            over = shared;
        }
        let (dtype, x, y) = (self.ty(a).dtype(), self.known(a), self.known(b));
        let to = dtype.accumulator();
        let term = if dtype.is_float() { bounds::binary(BinaryOp::Mul, to, x, y)? } else { Bounds::ANY };
        let bounds = bounds::sum(to, to, self.lanes(&over) as f64, term)?;
        self.push(Op::Dot(over), &[a, b], bounds);
        Some(())
    }

    fn gather(&mut self) -> Option<()> {
        let x = self.pick(|g, v| !g.ty(v).dims().is_empty())?;
        let dim = self.dim_of(x)?;
        let at = self.pick(|g, v| g.ty(v).dtype().is_int() && !g.ty(v).dims().is_empty())?;
        if !self.fits(&[x, at]) {
            return None;
        }
        self.push(Op::Gather(dim), &[x, at], self.known(x));
        Some(())
    }

    fn lane_dim(&mut self, size: i64) -> DimId {
        let name = format!("d{}", self.build.func.dims.len());
        self.add_dim(Dim { name, size, over: None, order: None, whole: false, full: false })
    }

    fn full(&self, d: DimId) -> bool {
        self.build.func.is_full(d) && self.build.func.walk_length(d, &self.extents) > 0
    }

    fn reshape(&mut self) -> Option<()> {
        let x = self.pick(|g, v| g.ty(v).dims().iter().any(|d| g.full(*d)))?;
        let full: Vec<DimId> = self.ty(x).dims().iter().copied().filter(|d| self.full(*d)).collect();
        let known = self.known(x);
        if full.len() > 1 && self.source.chance(50) {
            let mut from = vec![full[0], full[1]];
            if self.source.chance(50) {
                from.reverse();
            }
            let into = self.lane_dim(self.lanes(&from));
            self.push(Op::Merge { from, into }, &[x], known);
            return Some(());
        }
        let from = self.source.pick(&full);
        let size = self.lanes(&[from]);
        let factors: Vec<i64> = (1..=size).filter(|f| size % f == 0).collect();
        let first = self.source.pick(&factors);
        let into = vec![self.lane_dim(first), self.lane_dim(size / first)];
        self.push(Op::Split { from, into }, &[x], known);
        Some(())
    }

    fn about_dim(&mut self) -> Option<()> {
        let bounds = Bounds::exact(40.0);
        match self.source.below(7) {
            0 => {
                let size = 1 + self.source.below(9) as i64;
                let dim = self.lane_dim(size);
                self.push(Op::Pos(dim), &[], bounds);
            }
            1 => {
                let dim = self.any_dim()?;
                self.push(Op::Pos(dim), &[], bounds);
            }
            2 => {
                let dim = self.any_dim()?;
                self.push(Op::At(dim), &[], bounds);
            }
            3 => {
                let dim = self.any_dim()?;
                self.push(Op::BlockIndex(dim), &[], bounds);
            }
            4 => {
                let dim = self.any_dim()?;
                self.push(Op::BlockLen(dim), &[], bounds);
            }
            5 => {
                let extent = self.any_extent();
                self.push(Op::Extent(extent), &[], bounds);
            }
            _ => {
                let extent = self.any_extent();
                let x = self.pick(|g, v| g.ty(v).dtype() == DType::I64)?;
                self.push(Op::OrderAt(extent), &[x], bounds);
            }
        }
        Some(())
    }

    fn random(&mut self) -> Option<()> {
        let int = |g: &Self, v| g.ty(v).dtype() == DType::I64;
        let (seed, counter) = (self.pick(int)?, self.pick(int)?);
        if !self.fits(&[seed, counter]) {
            return None;
        }
        self.push(Op::Random, &[seed, counter], Bounds::exact(1.0));
        Some(())
    }

    /// A print, which nobody hears, or an assertion that holds.
    fn check(&mut self) -> Option<()> {
        let x = self.any();
        if self.source.chance(50) {
            return self.build.try_push(Op::Print("x".into()), &[x]).ok().map(|_| ());
        }
        let yes = self.constant(DType::Bool, 1);
        let x = self.pick(|g, v| g.ty(v).dtype() == DType::Bool)?;
        let holds = self.push(Op::Binary(BinaryOp::Or), &[x, yes], Bounds::exact(1.0));
        self.build.try_push(Op::Assert("holds".into()), &[holds]).ok().map(|_| ())
    }
}
