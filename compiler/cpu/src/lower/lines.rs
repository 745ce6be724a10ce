//! Ops that run along one dim and cannot share a nest: arg-reductions, scans, sorting, order statistics. Sorting is done
//! by Rust functions on one row at a time.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use pantile_ir::{ArgOp, BinaryOp, DType, DimId, Inst, ReduceOp, ScanOp};

use super::Lower;
use super::storage::{Scratch, Tile, element_bytes};
use crate::callbacks::{selector, sorter};
use crate::vector::{Lanes, Width};
use crate::{Counted, Limit, arith, convert};

impl<'f> Lower<'_, 'f> {
    /// Opens loops over all dims of a tile but one.
    fn open_lines(&mut self, tile: &Tile, but: DimId) -> Vec<Counted> {
        let dims: Vec<DimId> = tile.dims.iter().copied().filter(|d| *d != but).collect();
        let mut loops = Vec::new();
        for dim in dims {
            let len = self.len(dim);
            let counted = self.open_rows(len);
            self.frame.index.insert(dim, counted.index);
            loops.push(counted);
        }
        loops
    }

    fn close_lines(&mut self, loops: Vec<Counted>) {
        for counted in loops.into_iter().rev() {
            self.e.close(counted, 1, &[]);
        }
        self.frame.index.clear();
    }

    fn source(&self, inst: &'f Inst) -> Result<Tile, Limit> {
        self.tile(self.facts.resolve(inst.args[0])).cloned()
    }

    /// Puts a line's single result where it belongs.
    fn line_result(&mut self, inst: &'f Inst, lanes: Lanes) -> Result<(), Limit> {
        let result = inst.results[0];
        if self.facts.is_scalar(result) {
            self.scalars.insert(result, lanes);
            return Ok(());
        }
        let tile = self.tile(result)?.clone();
        let at = self.row_address(&tile);
        self.store_element(lanes, at);
        Ok(())
    }

    fn element_of(&mut self, tile: &Tile, row: ir::Value, dim: DimId, lane: ir::Value) -> ir::Value {
        let step = self.times(lane, tile.step(dim));
        self.e.ins().iadd(row, step)
    }

    /// The lane of an extreme.
    pub(super) fn arg_reduce(&mut self, inst: &'f Inst, op: ArgOp, dim: DimId) -> Result<(), Limit> {
        let source = self.source(inst)?;
        let (worst, better) = match op {
            ArgOp::ArgMax => (ReduceOp::Max, BinaryOp::Gt),
            ArgOp::ArgMin => (ReduceOp::Min, BinaryOp::Lt),
        };
        let loops = self.open_lines(&source, dim);
        let row = self.row_address(&source);
        let start = arith::neutral(&mut self.e, worst, source.dtype, Width::One);
        let (zero, len) = (self.e.int(0), self.len(dim));
        let counted = self.e.open(zero, len, &[start.value(), zero]);
        let at = self.element_of(&source, row, dim, counted.index);
        let x = self.load_element(source.dtype, at, Width::One);
        let best = Lanes::one(source.dtype, counted.carried[0]);
        let mut take = arith::binary(&mut self.e, better, x, best).value();
        if source.dtype.is_float() {
            // The first NaN wins over all numbers.
            let nan = arith::binary(&mut self.e, BinaryOp::Ne, x, x).value();
            let number = arith::binary(&mut self.e, BinaryOp::Eq, best, best).value();
            let first = self.e.ins().band(nan, number);
            take = self.e.ins().bor(take, first);
        }
        let best = self.e.ins().select(take, x.value(), best.value());
        let lane = self.e.ins().select(take, counted.index, counted.carried[1]);
        let last = self.e.close(counted, 1, &[best, lane]);
        self.line_result(inst, Lanes::one(DType::I64, last[1]))?;
        self.close_lines(loops);
        Ok(())
    }

    /// A running reduction.
    pub(super) fn scan(&mut self, inst: &'f Inst, op: ScanOp, dim: DimId) -> Result<(), Limit> {
        let source = self.source(inst)?;
        let target = self.tile(inst.results[0])?.clone();
        let (op, dtype) = match op {
            ScanOp::CumSum => (ReduceOp::Sum, source.dtype.accumulator()),
            ScanOp::CumMax => (ReduceOp::Max, source.dtype),
        };
        let loops = self.open_lines(&source, dim);
        let (from, to) = (self.row_address(&source), self.row_address(&target));
        let start = arith::neutral(&mut self.e, op, dtype, Width::One);
        let (zero, len) = (self.e.int(0), self.len(dim));
        let counted = self.e.open(zero, len, &[start.value()]);
        let at = self.element_of(&source, from, dim, counted.index);
        let x = self.load_element(source.dtype, at, Width::One);
        let x = if x.dtype == dtype { x } else { convert::cast(&mut self.e, x, dtype) };
        let sum = arith::combine(&mut self.e, op, Lanes::one(dtype, counted.carried[0]), x);
        let out = if dtype == target.dtype { sum } else { convert::cast(&mut self.e, sum, target.dtype) };
        let at = self.element_of(&target, to, dim, counted.index);
        self.store_element(out, at);
        self.e.close(counted, 1, &[sum.value()]);
        self.close_lines(loops);
        Ok(())
    }

    fn line(&self, inst: &'f Inst) -> Result<Tile, Limit> {
        let line = self.storage.scratch(Scratch::Line(inst.results[0])).cloned();
        line.ok_or_else(|| self.bug("no room for a line"))
    }

    /// Copies between a line and a row of a tile.
    fn copy_line(&mut self, tile: &Tile, dim: DimId, line: ir::Value, to_line: bool) {
        let row = self.row_address(tile);
        let (zero, len) = (self.e.int(0), self.len(dim));
        let counted = self.e.open(zero, len, &[]);
        let in_tile = self.element_of(tile, row, dim, counted.index);
        let step = self.times(counted.index, element_bytes(tile.dtype));
        let in_line = self.e.ins().iadd(line, step);
        let (from, to) = if to_line { (in_tile, in_line) } else { (in_line, in_tile) };
        let x = self.load_element(tile.dtype, from, Width::One);
        self.store_element(x, to);
        self.e.close(counted, 1, &[]);
    }

    /// Sorts along a dim.
    pub(super) fn sort(&mut self, inst: &'f Inst, dim: DimId, descending: bool) -> Result<(), Limit> {
        let source = self.source(inst)?;
        let target = self.tile(inst.results[0])?.clone();
        let line = self.line(inst)?;
        let loops = self.open_lines(&source, dim);
        let line = self.tile_address(line.offset);
        self.copy_line(&source, dim, line, true);
        let len = self.len(dim);
        let descending = self.e.int(i64::from(descending));
        self.e.call_host(sorter(source.dtype), &[types::I64; 3], &[], &[line, len, descending]);
        self.copy_line(&target, dim, line, false);
        self.close_lines(loops);
        Ok(())
    }

    /// The k-th largest along a dim.
    pub(super) fn kth_largest(&mut self, inst: &'f Inst, dim: DimId) -> Result<(), Limit> {
        let source = self.source(inst)?;
        let k = self.scalar(inst.args[1])?.value();
        let line = self.line(inst)?;
        let loops = self.open_lines(&source, dim);
        let line = self.tile_address(line.offset);
        self.copy_line(&source, dim, line, true);
        let len = self.len(dim);
        let one = self.e.int(1);
        let k = self.e.ins().smin(k, len);
        let k = self.e.ins().smax(k, one);
        let nothing = arith::neutral(&mut self.e, ReduceOp::Max, source.dtype, Width::One);
        let some = self.e.ins().icmp_imm_s(IntCC::SignedGreaterThan, len, 0);
        let selector = selector(source.dtype);
        let found = self.guarded(some, nothing, |lower| {
            lower.e.call_host(selector, &[types::I64; 3], &[], &[line, len, k]);
            lower.load_element(source.dtype, line, Width::One)
        });
        self.line_result(inst, found)?;
        self.close_lines(loops);
        Ok(())
    }
}
