//! Emits a nest: loops over rows; in each row, passes over the innermost dim, four lanes at a time and then one by one.
//! Values made once a row are written when the row is done, so that a loop-carried tile can be replaced where it lies.

use std::collections::HashSet;

use cranelift_codegen::ir::{self, InstBuilder};
use pantile_ir::{BinaryOp, DType, DimId, Inst, Op, ReduceOp, Value};

use super::Lower;
use super::eval::{Frame, Inner, Level};
use super::plan::{Class, Nest, Stmt, reduced};
use super::storage::Tile;
use super::wide::LaneLoop;
use crate::emit::Looped;
use crate::vector::{Lanes, Width};
use crate::{Counted, Limit, arith, convert, vector};

/// A reduction's op, and the dtype in which it runs.
fn folding(dtype: DType, inst: &Inst) -> (ReduceOp, DType) {
    if let Op::Reduce(op, _) = inst.op {
        let wide = matches!(op, ReduceOp::Sum | ReduceOp::Prod);
        return (op, if wide { dtype.accumulator() } else { dtype });
    }
    (ReduceOp::Sum, dtype.accumulator()) // a dot
}

/// How many groups of four a trip of the innermost loop takes: two hide the latency of reductions.
fn copies(size: i64) -> i64 {
    if size >= 16 { 2 } else { 1 }
}

impl<'f> Lower<'_, 'f> {
    /// Emits a nest.
    pub(super) fn nest(&mut self, nest: &Nest<'f>) -> Result<(), Limit> {
        self.frame = Frame { vector: Some(nest.inner()), ..Frame::default() };
        let mut seen = HashSet::new();
        for stmt in &nest.stmts {
            if stmt.class == Class::Store {
                self.open_access(stmt.inst)?;
            }
            for value in &stmt.inst.args {
                self.open_loads(*value, &mut seen)?;
            }
        }
        let late: Vec<&Stmt<'f>> = nest.stmts.iter().filter(|s| self.is_late(nest, s)).collect();
        for stmt in &late {
            let tile = self.tile(stmt.inst.results[0])?.clone();
            let (op, dtype) = self.folding(stmt.inst);
            let neutral = arith::neutral(&mut self.e, op, dtype, Width::One);
            self.fill(&tile, neutral)?;
        }
        let mut loops: Vec<Counted> = Vec::new();
        for dim in nest.rows() {
            let len = self.len(*dim);
            let counted = self.open_rows(len);
            self.frame.index.insert(*dim, counted.index);
            loops.push(counted);
        }
        self.row(nest)?;
        for counted in loops.into_iter().rev() {
            self.e.close(counted, 1, &[]);
        }
        self.frame = Frame::default();
        for stmt in &late {
            self.finish_late(stmt.inst)?;
        }
        for stmt in nest.stmts.iter().filter(|s| s.class == Class::Reduce) {
            let result = stmt.inst.results[0];
            if self.facts.is_scalar(result) && self.is_late(nest, stmt) {
                let tile = self.tile(result)?.clone();
                let at = self.tile_address(tile.offset);
                let lanes = self.load_element(tile.dtype, at, Width::One);
                self.scalars.insert(result, lanes);
            }
        }
        Ok(())
    }

    fn folding(&self, inst: &Inst) -> (ReduceOp, DType) {
        folding(self.facts.dtype(inst.args[0]), inst)
    }

    fn is_late(&self, nest: &Nest<'f>, stmt: &Stmt<'f>) -> bool {
        stmt.class == Class::Reduce && reduced(stmt.inst) != [nest.inner()]
    }

    /// Opens the accesses of all loads behind a value.
    pub(super) fn open_loads(&mut self, value: Value, seen: &mut HashSet<Value>) -> Result<(), Limit> {
        if !seen.insert(value) {
            return Ok(());
        }
        if let Some(inst) = self.plan.choices.defs_inline(value) {
            if matches!(inst.op, Op::Load(..)) {
                self.open_access(inst)?;
            }
            for arg in &inst.args {
                self.open_loads(*arg, seen)?;
            }
        }
        Ok(())
    }

    fn row(&mut self, nest: &Nest<'f>) -> Result<(), Limit> {
        let results = nest.stmts.iter().flat_map(|s| s.inst.results.iter().copied());
        self.frame.pending = results.collect();
        for stmt in &nest.stmts {
            if matches!(stmt.inst.op, Op::Load(..)) {
                self.open_access(stmt.inst)?;
            }
        }
        let mut times: Vec<i32> = nest.stmts.iter().map(|s| s.time).collect();
        times.sort_unstable();
        times.dedup();
        let mut at_row_end: Vec<&Stmt<'f>> = Vec::new();
        for time in times {
            let now: Vec<&Stmt<'f>> = nest.stmts.iter().filter(|s| s.time == time).collect();
            if time % 2 == 0 {
                self.pass(nest, &now, &mut at_row_end)?;
            } else {
                for stmt in now {
                    match stmt.class {
                        Class::Root => {
                            let lanes = self.compute(stmt.inst, Level::Row)?;
                            self.made_in_row(stmt.inst.results[0], lanes);
                        }
                        Class::Store => {}
                        Class::Dead | Class::Scalar | Class::Inline | Class::Reduce | Class::Alone => {
                            return Err(self.bug("what is no row's business is in a row"));
                        }
                    }
                    at_row_end.push(stmt);
                }
            }
        }
        // First all values, then all writes: what is written may lie where something is read.
        for stmt in at_row_end.iter().filter(|s| s.class == Class::Store) {
            self.stored_operands(stmt.inst, Level::Row)?;
        }
        for stmt in at_row_end {
            if stmt.class == Class::Store {
                self.store(stmt.inst, Level::Row)?;
                continue;
            }
            let value = stmt.inst.results[0];
            if self.stored().contains(&value)
                && let Some(lanes) = self.frame.row.get(&value).copied()
            {
                let tile = self.tile(value)?.clone();
                let at = self.row_address(&tile);
                self.store_element(lanes, at);
            }
        }
        self.frame.row.clear();
        self.frame.splats.clear();
        self.frame.row_of_access.clear();
        self.frame.row_of_tile.clear();
        Ok(())
    }

    fn made_in_row(&mut self, value: Value, lanes: Lanes) {
        self.frame.pending.remove(&value);
        self.frame.row.insert(value, lanes);
        if self.facts.is_scalar(value) {
            self.scalars.insert(value, lanes);
        }
    }

    /// One run over the innermost dim.
    fn pass<'n>(
        &mut self,
        nest: &Nest<'f>,
        now: &[&'n Stmt<'f>],
        at_row_end: &mut Vec<&'n Stmt<'f>>,
    ) -> Result<(), Limit> {
        let inner = nest.inner();
        self.prepare_pass(nest, now)?;
        let folds: Vec<&'n Stmt<'f>> = now.iter().copied().filter(|s| self.folds_here(nest, s)).collect();
        let len = self.len(inner);
        let size = self.func().dim(inner).size;
        let copies = copies(size);
        let full = self.facts.is_full(inner) && size % (4 * copies) == 0;
        let whole = self.e.ins().band_imm_s(len, -4 * copies);

        let start = self.neutrals(nest, now, Width::Four);
        let folding: Vec<(ReduceOp, DType)> = folds.iter().map(|s| self.folding(s.inst)).collect();
        let ahead = self.ahead(nest, now)?;
        let lanes = LaneLoop { whole, size, copies, start: &start, folds: &folding, ahead: &ahead };
        let fours = self.lane_loop(&lanes, &mut |lower, (lo, hi), copies, start| {
            lower.run(nest, now, (lo, hi, Width::Four), copies, start)
        })?;
        let mut ones: Vec<Lanes> = Vec::new();
        for (stmt, lanes) in folds.iter().zip(fours) {
            let (op, _) = self.folding(stmt.inst);
            ones.push(arith::reduce(&mut self.e, op, lanes));
        }
        if !full {
            ones = self.run(nest, now, (whole, len, Width::One), 1, &ones)?.0;
        }
        for (stmt, lanes) in folds.into_iter().zip(ones) {
            if self.is_late(nest, stmt) {
                let (op, dtype) = self.folding(stmt.inst);
                let tile = self.tile(stmt.inst.results[0])?.clone();
                let at = self.row_address(&tile);
                let old = self.load_element(dtype, at, Width::One);
                let new = arith::combine(&mut self.e, op, old, lanes);
                self.store_element(new, at);
            } else {
                let value = stmt.inst.results[0];
                let dtype = self.facts.dtype(value);
                let lanes = if lanes.dtype == dtype { lanes } else { convert::cast(&mut self.e, lanes, dtype) };
                self.made_in_row(value, lanes);
                if !self.facts.is_scalar(value) {
                    at_row_end.push(stmt);
                }
            }
        }
        for stmt in now.iter().filter(|s| s.class == Class::Root) {
            self.frame.pending.remove(&stmt.inst.results[0]);
        }
        Ok(())
    }

    /// Whether a reduction ends in one number a row.
    fn folds_here(&self, nest: &Nest<'f>, stmt: &Stmt<'f>) -> bool {
        stmt.class == Class::Reduce && reduced(stmt.inst).contains(&nest.inner())
    }

    fn prepare_pass(&mut self, nest: &Nest<'f>, now: &[&Stmt<'f>]) -> Result<(), Limit> {
        let mut seen = HashSet::new();
        for stmt in now {
            for value in &stmt.inst.args {
                self.prepare(*value, &mut seen)?;
            }
            match stmt.class {
                Class::Store => {
                    self.access_row(stmt.inst)?;
                }
                Class::Root => {
                    if matches!(stmt.inst.op, Op::Load(..)) {
                        self.access_row(stmt.inst)?;
                    }
                    self.own_row(stmt.inst.results[0])?;
                }
                Class::Reduce if !self.folds_here(nest, stmt) => self.own_row(stmt.inst.results[0])?,
                Class::Dead | Class::Scalar | Class::Inline | Class::Reduce | Class::Alone => {}
            }
        }
        Ok(())
    }

    fn own_row(&mut self, value: Value) -> Result<(), Limit> {
        let tile = self.tile(value)?.clone();
        let row = self.row_address(&tile);
        self.frame.row_of_tile.insert(value, row);
        Ok(())
    }

    /// A loop over lanes `lo..hi` at one width, several groups a trip, with the reductions it carries.
    fn run(
        &mut self,
        nest: &Nest<'f>,
        now: &[&Stmt<'f>],
        (lo, hi, width): (ir::Value, ir::Value, Width),
        copies: i64,
        start: &[Lanes],
    ) -> Result<(Vec<Lanes>, Looped), Limit> {
        // Each copy folds into results of its own; all but the first start from nothing.
        let mut folded: Vec<Vec<Lanes>> = vec![start.to_vec()];
        for _ in 1..copies {
            folded.push(self.neutrals(nest, now, width));
        }
        let carried: Vec<ir::Value> = folded.iter().flatten().flat_map(Lanes::values).collect();
        let counted = self.e.open(lo, hi, &carried);
        take_values(&mut folded, &counted.carried);
        for (copy, folded) in folded.iter_mut().enumerate() {
            let plus = copy as i64 * width.lanes();
            let at = if plus == 0 { counted.index } else { self.e.ins().iadd_imm_s(counted.index, plus) };
            self.frame.inner = Some(Inner { dim: nest.inner(), at, width });
            self.frame.lane.clear();
            self.lanes(nest, now, folded)?;
        }
        let values: Vec<ir::Value> = folded.iter().flatten().flat_map(Lanes::values).collect();
        let looped = counted.blocks();
        let last = self.e.close(counted, width.lanes() * copies, &values);
        self.frame.inner = None;
        self.frame.lane.clear();
        take_values(&mut folded, &last);
        let mut copies = folded.into_iter();
        let mut result = copies.next().unwrap_or_default();
        let folds: Vec<&Stmt<'f>> = now.iter().copied().filter(|s| self.folds_here(nest, s)).collect();
        for more in copies {
            for ((acc, x), stmt) in result.iter_mut().zip(more).zip(&folds) {
                let (op, _) = self.folding(stmt.inst);
                *acc = arith::combine(&mut self.e, op, *acc, x);
            }
        }
        Ok((result, looped))
    }

    /// What the reductions of a pass start from.
    fn neutrals(&mut self, nest: &Nest<'f>, now: &[&Stmt<'f>], width: Width) -> Vec<Lanes> {
        let folds: Vec<&Stmt<'f>> = now.iter().copied().filter(|s| self.folds_here(nest, s)).collect();
        let neutral = |stmt: &&Stmt<'f>| {
            let (op, dtype) = self.folding(stmt.inst);
            arith::neutral(&mut self.e, op, dtype, width)
        };
        folds.iter().map(neutral).collect()
    }

    /// All statements of a pass at the current lanes.
    fn lanes(&mut self, nest: &Nest<'f>, now: &[&Stmt<'f>], folded: &mut [Lanes]) -> Result<(), Limit> {
        let mut next = folded.iter_mut();
        let mut writes: Vec<(Value, Lanes)> = Vec::new();
        for stmt in now {
            match stmt.class {
                Class::Root => {
                    let lanes = self.compute(stmt.inst, Level::Lane)?;
                    self.frame.lane.insert(stmt.inst.results[0], lanes);
                    writes.push((stmt.inst.results[0], lanes));
                }
                Class::Reduce => {
                    let x = self.folded_operand(stmt.inst)?;
                    let (op, _) = self.folding(stmt.inst);
                    if self.folds_here(nest, stmt) {
                        if let Some(acc) = next.next() {
                            *acc = arith::combine(&mut self.e, op, *acc, x);
                        }
                    } else {
                        self.fold_in_memory(nest.inner(), stmt.inst, op, x)?;
                    }
                }
                Class::Store => {
                    self.stored_operands(stmt.inst, Level::Lane)?;
                }
                Class::Dead | Class::Scalar | Class::Inline | Class::Alone => {}
            }
        }
        // Writes come last: they may replace what was read at these lanes.
        for (value, lanes) in writes {
            let tile = self.tile(value)?.clone();
            let at = self.lane_address(value, &tile, nest.inner());
            self.store_element(lanes, at);
        }
        for stmt in now.iter().filter(|s| s.class == Class::Store) {
            self.store(stmt.inst, Level::Lane)?;
        }
        Ok(())
    }

    fn lane_address(&mut self, value: Value, tile: &Tile, inner: DimId) -> ir::Value {
        let row = match self.frame.row_of_tile.get(&value) {
            Some(row) => *row,
            None => self.row_address(tile),
        };
        match self.frame.inner {
            Some(at) => {
                let offset = self.times(at.at, tile.step(inner));
                self.e.ins().iadd(row, offset)
            }
            None => row,
        }
    }

    /// What a reduction takes in at the current lanes, in the dtype it runs in.
    fn folded_operand(&mut self, inst: &'f Inst) -> Result<Lanes, Limit> {
        let (_, dtype) = self.folding(inst);
        let wide = |lower: &mut Self, v: Value| -> Result<Lanes, Limit> {
            let x = lower.value(v, Level::Lane)?;
            Ok(if x.dtype == dtype { x } else { convert::cast(&mut lower.e, x, dtype) })
        };
        let x = wide(self, inst.args[0])?;
        if !matches!(inst.op, Op::Dot(_)) {
            return Ok(x);
        }
        let y = wide(self, inst.args[1])?;
        Ok(arith::binary(&mut self.e, BinaryOp::Mul, x, y))
    }

    /// Takes lanes into a result that keeps the innermost dim, in memory.
    fn fold_in_memory(&mut self, inner: DimId, inst: &'f Inst, op: ReduceOp, x: Lanes) -> Result<(), Limit> {
        let value = inst.results[0];
        let tile = self.tile(value)?.clone();
        let at = self.lane_address(value, &tile, inner);
        let old = self.load_element(x.dtype, at, x.width);
        let new = arith::combine(&mut self.e, op, old, x);
        self.store_element(new, at);
        Ok(())
    }

    /// Rounds a result that was accumulated in memory to its own dtype.
    fn finish_late(&mut self, inst: &'f Inst) -> Result<(), Limit> {
        let (_, dtype) = self.folding(inst);
        let value = inst.results[0];
        let own = self.facts.dtype(value);
        if own == dtype {
            return Ok(());
        }
        let tile = self.tile(value)?.clone();
        self.over_tile(&tile, |lower, at, width| {
            let wide = lower.load_element(dtype, at, width);
            let lanes = convert::cast(&mut lower.e, wide, own);
            lower.store_element(lanes, at);
        })
    }

    /// Sets all valid elements of a tile.
    pub(super) fn fill(&mut self, tile: &Tile, one: Lanes) -> Result<(), Limit> {
        self.over_tile(tile, |lower, at, width| {
            let lanes = vector::splat(&mut lower.e, one, width);
            lower.store_element(lanes, at);
        })
    }

    /// Copies the valid elements of a tile to one with the same dims.
    pub(super) fn copy_tile(&mut self, from: &Tile, to: &Tile) -> Result<(), Limit> {
        let (dtype, start, source) = (to.dtype, to.offset, from.clone());
        if from.dims == to.dims {
            return self.over_tile(to, |lower, at, width| {
                let moved = lower.e.ins().iadd_imm_s(at, source.offset - start);
                let lanes = lower.load_element(dtype, moved, width);
                lower.store_element(lanes, at);
            });
        }
        self.copy_across(from, to)
    }

    /// Copies between layouts, element by element.
    fn copy_across(&mut self, from: &Tile, to: &Tile) -> Result<(), Limit> {
        let (mut source, mut target) = (self.tile_address(from.offset), self.tile_address(to.offset));
        let mut loops = Vec::new();
        for dim in &to.dims {
            let len = self.len(*dim);
            let counted = self.open_rows(len);
            let step = self.times(counted.index, from.step(*dim));
            source = self.e.ins().iadd(source, step);
            let step = self.times(counted.index, to.step(*dim));
            target = self.e.ins().iadd(target, step);
            loops.push(counted);
        }
        let lanes = self.load_element(to.dtype, source, Width::One);
        self.store_element(lanes, target);
        for counted in loops.into_iter().rev() {
            self.e.close(counted, 1, &[]);
        }
        Ok(())
    }

    /// Copies as many f32 as a dim has lanes.
    pub(super) fn copy_row(&mut self, dim: DimId, from: ir::Value, to: ir::Value) -> Result<(), Limit> {
        self.over_lanes(dim, |lower, index, width| {
            let offset = lower.times(index, 4);
            let (from, to) = (lower.e.ins().iadd(from, offset), lower.e.ins().iadd(to, offset));
            let lanes = lower.load_element(DType::F32, from, width);
            lower.store_element(lanes, to);
        })
    }

    /// Visits the valid lanes of a dim, four at a time and then one by one.
    fn over_lanes(&mut self, dim: DimId, mut visit: impl FnMut(&mut Self, ir::Value, Width)) -> Result<(), Limit> {
        let (len, size) = (self.len(dim), self.func().dim(dim).size);
        let whole = self.e.ins().band_imm_s(len, -4);
        let mut run = |lower: &mut Self, (lo, hi): (ir::Value, ir::Value), width: Width| {
            let counted = lower.e.open(lo, hi, &[]);
            visit(lower, counted.index, width);
            let looped = counted.blocks();
            lower.e.close(counted, width.lanes(), &[]);
            looped
        };
        let lanes = LaneLoop { whole, size, copies: 1, start: &[], folds: &[], ahead: &[] };
        self.lane_loop(&lanes, &mut |lower, range, _, _| Ok((Vec::new(), run(lower, range, Width::Four))))?;
        run(self, (whole, len), Width::One);
        Ok(())
    }

    /// Visits all valid elements of a tile, four at a time where they lie together.
    pub(super) fn over_tile(
        &mut self,
        tile: &Tile,
        mut visit: impl FnMut(&mut Self, ir::Value, Width),
    ) -> Result<(), Limit> {
        let mut at = self.tile_address(tile.offset);
        let Some((inner, rows)) = tile.dims.split_last() else {
            visit(self, at, Width::One);
            return Ok(());
        };
        let mut loops = Vec::new();
        for dim in rows {
            let len = self.len(*dim);
            let counted = self.open_rows(len);
            let step = self.times(counted.index, tile.step(*dim));
            at = self.e.ins().iadd(at, step);
            loops.push(counted);
        }
        let step = tile.step(*inner);
        self.over_lanes(*inner, |lower, index, width| {
            let step = lower.times(index, step);
            let here = lower.e.ins().iadd(at, step);
            visit(lower, here, width);
        })?;
        for counted in loops.into_iter().rev() {
            self.e.close(counted, 1, &[]);
        }
        Ok(())
    }
}

/// Replaces the registers of groups by `values`, in order.
fn take_values(groups: &mut [Vec<Lanes>], mut values: &[ir::Value]) {
    for lanes in groups.iter_mut().flatten() {
        let (own, rest) = values.split_at(vector::registers(lanes.dtype, lanes.width));
        *lanes = Lanes::from_values(lanes.dtype, lanes.width, own);
        values = rest;
    }
}
