//! Emits the steps of regions, and the kernel's own loops and conditionals: which blocks a loop visits and how what it
//! carries stays in place. What a step computes is emitted elsewhere.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use pantile_ir::{DType, Inst, Loop, Op, Over, ParamId, Value};

use super::Lower;
use super::plan::{RegionPlan, Step};
use super::storage::{Scratch, moved_from};
use crate::vector::{ACCESS, Lanes, Width};
use crate::{Limit, vector};

impl<'f> Lower<'_, 'f> {
    /// Emits the steps of a region.
    pub(super) fn region(&mut self, plan: &RegionPlan<'f>) -> Result<(), Limit> {
        for step in &plan.steps {
            match step {
                Step::Scalar(inst) => self.scalar_step(inst)?,
                Step::Nest(nest) => self.nest(nest)?,
                Step::Product(product) => self.product(product)?,
                Step::Loop(inst, guard, body) => self.loop_step(inst, guard.as_ref(), body)?,
                Step::If(inst, arms) => self.if_step(inst, arms)?,
                Step::Alone(inst) => self.alone(inst)?,
            }
        }
        Ok(())
    }

    fn scalar_step(&mut self, inst: &'f Inst) -> Result<(), Limit> {
        if matches!(inst.op, Op::Const(..)) {
            return Ok(()); // made again wherever it is used
        }
        self.frame = super::eval::Frame::default();
        let lanes = self.compute(inst, super::eval::Level::Row)?;
        self.scalars.insert(Self::result_of(inst), lanes);
        Ok(())
    }

    fn alone(&mut self, inst: &'f Inst) -> Result<(), Limit> {
        self.frame = super::eval::Frame::default();
        match &inst.op {
            Op::Store { .. } => self.scalar_store(inst),
            Op::MaskPut(param, index) => self.mask_put(inst, *param, index),
            Op::ArgReduce(op, dim) => self.arg_reduce(inst, *op, *dim),
            Op::Scan(op, dim) => self.scan(inst, *op, *dim),
            Op::Sort { dim, descending } => self.sort(inst, *dim, *descending),
            Op::KthLargest(dim) => self.kth_largest(inst, *dim),
            Op::Print(label) => self.print(inst, label),
            Op::Assert(message) => self.assert(inst, message),
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
            | Op::Reduce(..)
            | Op::Gather(_)
            | Op::Dot(_)
            | Op::Split { .. }
            | Op::Merge { .. }
            | Op::Random
            | Op::Load(..)
            | Op::MaskGet(_)
            | Op::For(_)
            | Op::If => Err(self.bug(format!("{:?} is no step of its own", inst.op))),
        }
    }

    /// Copies one stored tile over another of the same dims.
    fn move_tile(&mut self, from: Value, to: Value) -> Result<(), Limit> {
        if self.storage.same(from, to) {
            return Ok(());
        }
        let (from, to) = (self.tile(from)?.clone(), self.tile(to)?.clone());
        self.copy_tile(&from, &to)
    }

    fn if_step(&mut self, inst: &'f Inst, arms: &[RegionPlan<'f>; 2]) -> Result<(), Limit> {
        let cond = self.scalar(inst.args[0])?.value();
        let scalars: Vec<Value> = inst.results.iter().copied().filter(|v| self.facts.is_scalar(*v)).collect();
        let tys: Vec<ir::Type> = scalars.iter().map(|v| vector::register(self.facts.dtype(*v), Width::One)).collect();
        let (then, otherwise, join) = (self.e.block(&[]), self.e.block(&[]), self.e.block(&tys));
        self.e.branch(cond, then, &[], otherwise, &[]);
        for (block, arm) in [then, otherwise].into_iter().zip(arms) {
            self.e.enter(block);
            self.e.open_plain();
            let blocks = self.blocks.clone();
            self.region(arm)?;
            let mut yields = Vec::new();
            for (result, value) in inst.results.iter().zip(&arm.region.yields) {
                if self.facts.is_scalar(*value) {
                    yields.push(self.scalar(*value)?.value());
                } else {
                    self.move_tile(*value, *result)?;
                }
            }
            self.e.jump(join, &yields);
            self.blocks = blocks;
            self.e.close_plain();
        }
        let values = self.e.enter(join);
        for (result, value) in scalars.iter().zip(values) {
            self.scalars.insert(*result, Lanes::one(self.facts.dtype(*result), value));
        }
        Ok(())
    }

    fn loop_step(
        &mut self,
        inst: &'f Inst,
        guard: Option<&RegionPlan<'f>>,
        body: &RegionPlan<'f>,
    ) -> Result<(), Limit> {
        let Op::For(it) = &inst.op else { return Err(self.bug("a loop that is none")) };
        let Some(args) = inst.loop_args(self.func()) else { return Err(self.bug("a loop without operands")) };
        let first = body.region.args.len() - args.inits.len();
        let carried_args = &body.region.args[first..];
        let mut scalars = Vec::new();
        for (init, arg) in args.inits.iter().zip(carried_args) {
            if self.facts.is_scalar(*init) {
                scalars.push(self.scalar(*init)?.value());
            } else {
                self.move_tile(*init, *arg)?;
            }
        }
        let (lo, hi) = self.trip_range(it, &args)?;
        let row = match it.list {
            Some(mask) => Some(self.mask_row(mask, args.row, inst.span)?),
            None => None,
        };
        let (from, to) = match row {
            Some(row) => (self.e.int(0), row.count),
            None => (lo, hi),
        };
        let counted = self.e.open_outer(from, to, &scalars);
        let blocks = self.blocks.clone();
        let index = match row {
            Some(row) => {
                let at = self.e.ins().ishl_imm_u(counted.index, 2);
                let at = self.e.ins().iadd(row.list, at);
                self.e.ins().sload32(ACCESS, at, 0)
            }
            None => counted.index,
        };
        let tys: Vec<ir::Type> = scalars.iter().map(|v| self.e.ty(*v)).collect();
        let next = self.e.block(&tys);
        if row.is_some() && it.bounds {
            let low = self.e.ins().icmp(IntCC::SignedGreaterThanOrEqual, index, lo);
            let high = self.e.ins().icmp(IntCC::SignedLessThan, index, hi);
            let inside = self.e.ins().band(low, high);
            self.skip_unless(inside, next, &counted.carried);
        }
        match it.over {
            Over::Walk(dim) => self.bind(dim, index),
            Over::Range => {
                for region in guard.map(|g| g.region).into_iter().chain([body.region]) {
                    self.scalars.insert(region.args[0], Lanes::one(DType::I64, index));
                }
            }
        }
        if let Some(guard) = guard {
            self.region(guard)?;
            let cond = self.scalar(guard.region.yields[0])?.value();
            self.skip_unless(cond, next, &counted.carried);
        }
        let mut carried = counted.carried.iter();
        for arg in carried_args.iter().filter(|v| self.facts.is_scalar(**v)) {
            if let Some(value) = carried.next() {
                self.scalars.insert(*arg, Lanes::one(self.facts.dtype(*arg), *value));
            }
        }
        let trips = self.trips(inst);
        self.loops.push(trips);
        self.region(body)?;
        self.loops.pop();
        let yields = self.carry_on(body, carried_args)?;
        self.e.jump(next, &yields);
        let joined = self.e.enter(next);
        self.blocks = blocks;
        let last = self.e.close(counted, 1, &joined);
        let mut last = last.into_iter();
        for result in &inst.results {
            if self.facts.is_scalar(*result)
                && let Some(value) = last.next()
            {
                self.scalars.insert(*result, Lanes::one(self.facts.dtype(*result), value));
            }
        }
        for (result, arg) in inst.results.iter().zip(carried_args) {
            if !self.facts.is_scalar(*result) {
                self.move_tile(*arg, *result)?;
            }
        }
        Ok(())
    }

    fn skip_unless(&mut self, cond: ir::Value, next: ir::Block, carried: &[ir::Value]) {
        let go_on = self.e.block(&[]);
        self.e.branch(cond, go_on, &[], next, carried);
        self.e.enter(go_on);
    }

    /// Puts the tiles that the body yields where the next trip expects them; the scalars.
    fn carry_on(&mut self, body: &RegionPlan<'f>, args: &[Value]) -> Result<Vec<ir::Value>, Limit> {
        let yields = &body.region.yields;
        let first = body.region.args.len() - args.len();
        let moved = moved_from(body);
        let mut scalars = Vec::new();
        for (n, value) in yields.iter().enumerate() {
            if self.facts.is_scalar(*value) {
                scalars.push(self.scalar(*value)?.value());
            } else if moved[first + n] {
                let from = self.tile(*value)?.clone();
                if let Some(to) = self.storage.scratch(Scratch::Carried(args[n])).cloned() {
                    self.copy_tile(&from, &to)?;
                }
            }
        }
        for (n, value) in yields.iter().enumerate().filter(|(_, v)| !self.facts.is_scalar(**v)) {
            if !moved[first + n] {
                self.move_tile(*value, args[n])?;
            }
        }
        for n in (0..yields.len()).filter(|n| moved[first + n] && !self.facts.is_scalar(args[*n])) {
            if let Some(from) = self.storage.scratch(Scratch::Carried(args[n])).cloned() {
                let to = self.tile(args[n])?.clone();
                self.copy_tile(&from, &to)?;
            }
        }
        Ok(scalars)
    }

    fn trip_range(&mut self, it: &Loop, args: &pantile_ir::LoopArgs<'_>) -> Result<(ir::Value, ir::Value), Limit> {
        let (mut lo, mut hi) = match (&it.over, args.range) {
            (Over::Range, Some((lo, hi))) => (self.scalar(lo)?.value(), self.scalar(hi)?.value()),
            (Over::Walk(dim), _) => (self.e.int(0), self.block_count(*dim)),
            (Over::Range, None) => return Err(self.bug("a range without ends")),
        };
        if let Some((from, to)) = args.bounds {
            let (from, to) = (self.scalar(from)?.value(), self.scalar(to)?.value());
            lo = self.e.ins().smax(lo, from);
            hi = self.e.ins().smin(hi, to);
        }
        Ok((lo, hi))
    }

    /// The kept blocks of a mask's row.
    fn mask_row(&mut self, mask: ParamId, row: &[Value], span: pantile_diag::Span) -> Result<MaskRow, Limit> {
        let (row, width) = self.mask_row_number(mask, row, span)?;
        let counts = self.word(self.words.param(mask, 1));
        let lists = self.word(self.words.param(mask, 2));
        let at = self.e.ins().ishl_imm_u(row, 2);
        let at = self.e.ins().iadd(counts, at);
        let count = self.e.ins().sload32(ACCESS, at, 0);
        let at = self.e.ins().imul(row, width);
        let at = self.e.ins().ishl_imm_u(at, 2);
        let list = self.e.ins().iadd(lists, at);
        Ok(MaskRow { count, list })
    }

    /// The row-major number of a mask's row, and the length of a row.
    pub(super) fn mask_row_number(
        &mut self,
        mask: ParamId,
        row: &[Value],
        span: pantile_diag::Span,
    ) -> Result<(ir::Value, ir::Value), Limit> {
        let axes = self.func().axes(mask).to_vec();
        let mut number = self.e.int(0);
        for (axis, value) in axes.iter().zip(row) {
            let index = self.scalar(*value)?.value();
            let name = self.func().param(mask).name.clone();
            self.check_index(*value, index, *axis, span, &name);
            let size = self.axis_size(*axis);
            number = self.e.ins().imul(number, size);
            number = self.e.ins().iadd(number, index);
        }
        let width = match axes.last() {
            Some(axis) => self.axis_size(*axis),
            None => self.e.int(0),
        };
        Ok((number, width))
    }

    /// `open_outer`, without anything carried.
    pub(super) fn open_rows(&mut self, len: ir::Value) -> crate::Counted {
        let zero = self.e.ins().iconst(types::I64, 0);
        self.e.open_outer(zero, len, &[])
    }
}

#[derive(Clone, Copy)]
struct MaskRow {
    count: ir::Value,
    list: ir::Value,
}
