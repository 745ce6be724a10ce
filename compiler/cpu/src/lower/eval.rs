//! Evaluates values at a place in a nest: once a row, or at one or four lanes of the innermost dim. Inline values are
//! computed on the way and remembered for the row or for the lanes. Loops are `nest.rs`'s business.

use std::collections::{HashMap, HashSet};

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use pantile_ir::{BinaryOp, DType, DimId, Inst, Op, Scalar, Value};

use super::Lower;
use super::access::Access;
use super::plan::reads_elsewhere;
use super::storage::Tile;
use crate::vector::{ACCESS, Lanes, Width};
use crate::{Limit, arith, convert, host, vector};

/// Where a value is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Once a row.
    Row,
    /// At lanes of the innermost dim.
    Lane,
}

/// The lanes of the innermost dim that are being computed.
#[derive(Clone, Copy, Debug)]
pub struct Inner {
    /// The dim.
    pub dim: DimId,
    /// The first lane, i64.
    pub at: ir::Value,
    /// How many.
    pub width: Width,
}

/// What is known at the current place in a nest.
#[derive(Default)]
pub struct Frame {
    /// The lane of each row dim.
    pub index: HashMap<DimId, ir::Value>,
    /// The innermost dim's lanes, inside its loop.
    pub inner: Option<Inner>,
    /// The vectorised dim of the nest.
    pub vector: Option<DimId>,
    /// Values of the row.
    pub row: HashMap<Value, Lanes>,
    /// Values of the row in every lane, made before the innermost loop.
    pub splats: HashMap<Value, Lanes>,
    /// Values at the lanes.
    pub lane: HashMap<Value, Lanes>,
    /// Tensor accesses, opened before the nest.
    pub accesses: HashMap<usize, Access>,
    /// Addresses of rows of tensors, by instruction, and of tiles, by value.
    pub row_of_access: HashMap<usize, ir::Value>,
    /// See `row_of_access`.
    pub row_of_tile: HashMap<Value, ir::Value>,
    /// Values that this nest makes and has not yet made in this row.
    pub pending: HashSet<Value>,
}

/// An instruction's identity.
pub fn key(inst: &Inst) -> usize {
    std::ptr::from_ref(inst).addr()
}

impl<'f> Lower<'_, 'f> {
    /// The width at a level.
    pub(super) fn width(&self, level: Level) -> Width {
        match (level, self.frame.inner) {
            (Level::Lane, Some(inner)) => inner.width,
            (Level::Lane | Level::Row, _) => Width::One,
        }
    }

    fn varies(&self, value: Value) -> bool {
        self.frame.vector.is_some_and(|d| self.facts.func.ty(value).dims().contains(&d))
    }

    fn is_inline(&self, value: Value) -> Option<&'f Inst> {
        self.plan.choices.defs_inline(value)
    }

    /// A value at a level, in that level's width.
    pub(super) fn value(&mut self, value: Value, level: Level) -> Result<Lanes, Limit> {
        if level == Level::Row {
            return self.row_value(value);
        }
        if let Some(lanes) = self.frame.lane.get(&value) {
            return Ok(*lanes);
        }
        let width = self.width(level);
        let lanes = if !self.varies(value) {
            match (self.frame.splats.get(&value), self.facts.defs[value.index()].map(|i| &i.op)) {
                (_, Some(Op::Const(dtype, scalar))) => vector::constant(&mut self.e, *dtype, *scalar, width),
                (Some(splat), _) if splat.width == width => *splat,
                (_, _) => {
                    let one = self.row_value(value)?;
                    vector::splat(&mut self.e, one, width)
                }
            }
        } else if let Some(inst) = self.is_inline(value) {
            self.compute(inst, level)?
        } else {
            self.tile_value(value, level)?
        };
        self.frame.lane.insert(value, lanes);
        Ok(lanes)
    }

    fn row_value(&mut self, value: Value) -> Result<Lanes, Limit> {
        if self.facts.is_scalar(value) {
            return self.scalar(value);
        }
        if let Some(lanes) = self.frame.row.get(&value) {
            return Ok(*lanes);
        }
        let lanes = match self.is_inline(value) {
            Some(inst) => self.compute(inst, Level::Row)?,
            None => self.tile_value(value, Level::Row)?,
        };
        self.frame.row.insert(value, lanes);
        Ok(lanes)
    }

    /// Makes ready, once a row, what evaluating `value` in the innermost loop needs from outside of it.
    pub(super) fn prepare(&mut self, value: Value, seen: &mut HashSet<Value>) -> Result<(), Limit> {
        if !seen.insert(value) {
            return Ok(());
        }
        if !self.varies(value) {
            if !matches!(self.facts.defs[value.index()].map(|i| &i.op), Some(Op::Const(..))) {
                let one = self.row_value(value)?;
                let splat = vector::splat(&mut self.e, one, Width::Four);
                self.frame.splats.insert(value, splat);
            }
            return Ok(());
        }
        match self.is_inline(value) {
            Some(inst) => {
                for (n, arg) in inst.args.iter().enumerate() {
                    if !reads_elsewhere(inst, n) {
                        self.prepare(*arg, seen)?;
                    }
                }
                if matches!(inst.op, Op::Load(..)) {
                    self.access_row(inst)?;
                }
            }
            None if !self.frame.pending.contains(&value) => {
                self.tile_row(value)?;
            }
            None => {}
        }
        Ok(())
    }

    /// The address of the current row of a stored tile.
    fn tile_row(&mut self, value: Value) -> Result<ir::Value, Limit> {
        if let Some(row) = self.frame.row_of_tile.get(&value) {
            return Ok(*row);
        }
        let tile = self.tile(value)?.clone();
        let row = self.row_address(&tile);
        self.frame.row_of_tile.insert(value, row);
        Ok(row)
    }

    /// The address of a tile's element at the lanes of the row dims, and lane 0 of the innermost.
    pub(super) fn row_address(&mut self, tile: &Tile) -> ir::Value {
        let mut at = self.tile_address(tile.offset);
        for dim in &tile.dims {
            if let Some(index) = self.frame.index.get(dim).copied() {
                let step = self.times(index, tile.step(*dim));
                at = self.e.ins().iadd(at, step);
            }
        }
        at
    }

    /// Reads a stored tile at the current place.
    fn tile_value(&mut self, value: Value, level: Level) -> Result<Lanes, Limit> {
        let tile = self.tile(value)?.clone();
        let row = match level {
            Level::Row => self.row_address(&tile),
            Level::Lane => self.tile_row(value)?,
        };
        self.read_tile(&tile, row, level)
    }

    fn read_tile(&mut self, tile: &Tile, row: ir::Value, level: Level) -> Result<Lanes, Limit> {
        let Some(inner) = self.frame.inner.filter(|i| level == Level::Lane && tile.dims.contains(&i.dim)) else {
            return Ok(self.load_element(tile.dtype, row, Width::One));
        };
        let (step, size) = (tile.step(inner.dim), super::storage::element_bytes(tile.dtype));
        let at = self.times(inner.at, step);
        let at = self.e.ins().iadd(row, at);
        if step == size || inner.width == Width::One {
            return Ok(self.load_element(tile.dtype, at, inner.width));
        }
        let lanes = [0, 1, 2, 3].map(|n| {
            let at = self.e.ins().iadd_imm_s(at, n * step);
            self.load_element(tile.dtype, at, Width::One)
        });
        Ok(vector::gather(&mut self.e, lanes))
    }

    /// Reads from the arena, where elements are as lane groups hold them.
    pub(super) fn load_element(&mut self, dtype: DType, at: ir::Value, width: Width) -> Lanes {
        let e = &mut self.e;
        if dtype == DType::Bool && width == Width::One {
            let byte = e.ins().load(types::I8, ACCESS, at, 0);
            return Lanes::one(dtype, e.ins().band_imm_u(byte, 1));
        }
        let ty = vector::register(dtype, width);
        let mut values = vec![e.ins().load(ty, ACCESS, at, 0)];
        if vector::registers(dtype, width) == 2 {
            values.push(e.ins().load(ty, ACCESS, at, 16));
        }
        Lanes::from_values(dtype, width, &values)
    }

    /// Writes to the arena.
    pub(super) fn store_element(&mut self, lanes: Lanes, at: ir::Value) {
        let e = &mut self.e;
        if lanes.dtype == DType::Bool && lanes.width == Width::One {
            let wide = e.ins().uextend(types::I32, lanes.value());
            let mask = e.ins().ineg(wide);
            e.ins().store(ACCESS, mask, at, 0);
            return;
        }
        for (n, value) in lanes.values().into_iter().enumerate() {
            e.ins().store(ACCESS, value, at, 16 * n as i32);
        }
    }

    /// Computes an instruction from its operands at a level.
    pub(super) fn compute(&mut self, inst: &'f Inst, level: Level) -> Result<Lanes, Limit> {
        let width = self.width(level);
        match &inst.op {
            Op::Const(dtype, scalar) => Ok(vector::constant(&mut self.e, *dtype, *scalar, width)),
            Op::Extent(extent) => {
                let n = self.extent(*extent);
                Ok(Lanes::one(DType::I64, n))
            }
            Op::BlockIndex(dim) => self.block(*dim).map(|b| Lanes::one(DType::I64, b.index)),
            Op::BlockLen(dim) => self.block(*dim).map(|b| Lanes::one(DType::I64, b.len)),
            Op::Pos(dim) => self.positions(*dim, 1, level),
            Op::At(dim) => self.positions(*dim, 0, level),
            // Only valid lanes are computed here.
            Op::Valid(_) => Ok(vector::constant(&mut self.e, DType::Bool, Scalar::Bool(true), width)),
            Op::OrderAt(extent) => {
                let x = self.value(inst.args[0], level)?;
                self.order_at(*extent, x)
            }
            Op::Unary(op) => {
                let x = self.value(inst.args[0], level)?;
                Ok(arith::unary(&mut self.e, *op, x))
            }
            Op::Binary(op) => {
                let (a, b) = (self.value(inst.args[0], level)?, self.value(inst.args[1], level)?);
                if matches!(op, BinaryOp::Div | BinaryOp::Rem) && b.dtype.is_int() && !self.is_nonzero(inst.args[1]) {
                    let zero = arith::any_zero(&mut self.e, b);
                    let fine = self.e.ins().icmp_imm_u(IntCC::Equal, zero, 0);
                    self.check(fine, "an integer is divided by zero", inst.span);
                }
                Ok(arith::binary(&mut self.e, *op, a, b))
            }
            Op::Select => {
                let c = self.value(inst.args[0], level)?;
                let (a, b) = (self.value(inst.args[1], level)?, self.value(inst.args[2], level)?);
                Ok(arith::select(&mut self.e, c, a, b))
            }
            Op::Cast(to) => {
                let x = self.value(inst.args[0], level)?;
                Ok(if x.dtype == *to { x } else { convert::cast(&mut self.e, x, *to) })
            }
            Op::Broadcast(_) => self.value(inst.args[0], level),
            Op::Random => {
                let (seed, counter) = (self.value(inst.args[0], level)?, self.value(inst.args[1], level)?);
                Ok(host::random(&mut self.e, seed, counter))
            }
            Op::Load(..) => self.load(inst, level),
            Op::MaskGet(param) => self.mask_get(inst, *param),
            Op::Gather(dim) => self.gather(inst, *dim, level),
            Op::Split { from, into } => self.reshaped(inst, std::slice::from_ref(from), into, level),
            Op::Merge { from, into } => self.reshaped(inst, from, std::slice::from_ref(into), level),
            Op::Reduce(..)
            | Op::ArgReduce(..)
            | Op::Scan(..)
            | Op::Sort { .. }
            | Op::KthLargest(_)
            | Op::Dot(_)
            | Op::Store { .. }
            | Op::MaskPut(..)
            | Op::For(_)
            | Op::If
            | Op::Print(_)
            | Op::Assert(_) => Err(self.bug(format!("{:?} is not computed lane by lane", inst.op))),
        }
    }

    fn is_nonzero(&self, value: Value) -> bool {
        match self.facts.defs[value.index()].map(|i| (&i.op, &i.args)) {
            Some((Op::Const(_, pantile_ir::Scalar::Int(n)), _)) => *n != 0,
            Some((Op::Broadcast(_), args)) => self.is_nonzero(args[0]),
            Some(_) | None => false,
        }
    }

    fn block(&self, dim: DimId) -> Result<super::Block, Limit> {
        let name = &self.facts.func.dim(dim).name;
        self.blocks.get(&dim).copied().ok_or_else(|| self.bug(format!("`{name}` has no block here")))
    }

    /// Positions in the walk (`table` 1) or in memory (`table` 0).
    fn positions(&mut self, dim: DimId, table: usize, level: Level) -> Result<Lanes, Limit> {
        let block = self.block(dim)?;
        let lane = match self.frame.inner.filter(|i| level == Level::Lane && i.dim == dim) {
            Some(inner) => inner.at,
            None => self.lane_of(dim)?,
        };
        let along = self.frame.inner.is_some_and(|i| level == Level::Lane && i.dim == dim);
        let width = if along { self.width(level) } else { Width::One };
        let at = self.e.ins().iadd(block.start, lane);
        let found = if self.facts.func.dim(dim).order.is_some() {
            let base = self.word(self.words.table(dim, table));
            let at = self.e.ins().ishl_imm_u(at, 2);
            let at = self.e.ins().iadd(base, at);
            let narrow = vector::load(&mut self.e, DType::I32, width, at, 0);
            convert::cast(&mut self.e, narrow, DType::I64)
        } else {
            let base = vector::splat(&mut self.e, Lanes::one(DType::I64, at), width);
            match width {
                Width::One => base,
                Width::Four => {
                    let count = vector::iota(&mut self.e, DType::I64, width);
                    arith::binary(&mut self.e, BinaryOp::Add, base, count)
                }
            }
        };
        let width = self.width(level);
        Ok(vector::splat(&mut self.e, found, width))
    }

    /// The current lane of a row dim.
    fn lane_of(&mut self, dim: DimId) -> Result<ir::Value, Limit> {
        match self.frame.index.get(&dim) {
            Some(index) => Ok(*index),
            None => Err(self.bug(format!("`{}` has no lane here", self.facts.func.dim(dim).name))),
        }
    }

    fn order_at(&mut self, extent: pantile_ir::ExtentId, x: Lanes) -> Result<Lanes, Limit> {
        let order = self.func().extents[extent.index()].order;
        match order {
            None => {
                // Without an order the walk is memory itself; outside of it there is nothing.
                let size = self.extent(extent);
                Ok(self.by_lane(x, |lower, lane| {
                    let inside = lower.e.ins().icmp(IntCC::UnsignedLessThan, lane.value(), size);
                    let none = lower.e.int(-1);
                    Lanes::one(DType::I64, lower.e.ins().select(inside, lane.value(), none))
                }))
            }
            Some(order) => {
                let (table, len) = self.order_table(order);
                Ok(self.by_lane(x, |lower, lane| {
                    let inside = lower.e.ins().icmp_imm_u(IntCC::UnsignedLessThan, lane.value(), len);
                    let none = lower.e.int(-1);
                    let found = lower.guarded(inside, Lanes::one(DType::I64, none), |lower| {
                        let at = lower.e.ins().ishl_imm_u(lane.value(), 2);
                        let at = lower.e.ins().iadd(table, at);
                        Lanes::one(DType::I64, lower.e.ins().sload32(ACCESS, at, 0))
                    });
                    Lanes::one(DType::I64, found.value())
                }))
            }
        }
    }

    /// `f` of each lane.
    pub(super) fn by_lane(&mut self, x: Lanes, mut f: impl FnMut(&mut Self, Lanes) -> Lanes) -> Lanes {
        if x.width == Width::One {
            return f(self, x);
        }
        let lanes = [0, 1, 2, 3].map(|n| {
            let lane = vector::extract(&mut self.e, x, n);
            f(self, lane)
        });
        vector::gather(&mut self.e, lanes)
    }

    /// `make()` where `cond` holds, else `otherwise`: by a branch, since `make` may touch memory that is not there.
    pub(super) fn guarded(
        &mut self,
        cond: ir::Value,
        otherwise: Lanes,
        make: impl FnOnce(&mut Self) -> Lanes,
    ) -> Lanes {
        let ty = vector::register(otherwise.dtype, Width::One);
        let (then, join) = (self.e.block(&[]), self.e.block(&[ty]));
        self.e.branch(cond, then, &[], join, &[otherwise.value()]);
        self.e.enter(then);
        let made = make(self);
        self.e.jump(join, &[made.value()]);
        let value = self.e.enter(join)[0];
        Lanes::one(otherwise.dtype, value)
    }

    /// `x` at lane `at` along a dim; 0 outside of its block.
    fn gather(&mut self, inst: &'f Inst, dim: DimId, level: Level) -> Result<Lanes, Limit> {
        let source = self.facts.resolve(inst.args[0]);
        let at = self.value(inst.args[1], level)?;
        let at = if at.dtype == DType::I64 { at } else { convert::cast(&mut self.e, at, DType::I64) };
        let Some(tile) = self.storage.tile(source).cloned() else { return self.value(source, level) };
        let len = self.block(dim)?.len;
        let step = tile.step(dim);
        // Dims of the source that the result has too stay aligned; `dim` itself is at the index's lane.
        let row = self.row_address_without(&tile, dim);
        let inner = self.frame.inner.filter(|i| level == Level::Lane && i.dim != dim && tile.dims.contains(&i.dim));
        let width = at.width;
        let mut found = Vec::new();
        for n in 0..width.lanes() {
            let index = vector::extract(&mut self.e, at, n as u8).value();
            let inside = self.e.ins().icmp(IntCC::UnsignedLessThan, index, len);
            let zero = zero(&mut self.e, tile.dtype);
            let (dtype, row) = (tile.dtype, row);
            let along = inner.map(|i| (i.at, tile.step(i.dim)));
            found.push(self.guarded(inside, zero, |lower| {
                let mut address = row;
                if let Some((lane, step)) = along {
                    let lane = lower.e.ins().iadd_imm_s(lane, n);
                    let offset = lower.times(lane, step);
                    address = lower.e.ins().iadd(address, offset);
                }
                let offset = lower.times(index, step);
                let address = lower.e.ins().iadd(address, offset);
                lower.load_element(dtype, address, Width::One)
            }));
        }
        Ok(match <[Lanes; 4]>::try_from(found.as_slice()) {
            Ok(four) => vector::gather(&mut self.e, four),
            Err(_) => found[0],
        })
    }

    fn row_address_without(&mut self, tile: &Tile, dim: DimId) -> ir::Value {
        let saved = self.frame.index.remove(&dim);
        let row = self.row_address(tile);
        if let Some(index) = saved {
            self.frame.index.insert(dim, index);
        }
        row
    }

    /// A stored tile seen with other dims: `from` is gone, `into` has come.
    fn reshaped(&mut self, inst: &'f Inst, from: &[DimId], into: &[DimId], level: Level) -> Result<Lanes, Limit> {
        let source = self.facts.resolve(inst.args[0]);
        let Some(tile) = self.storage.tile(source).cloned() else { return self.value(source, level) };
        let width = self.width(level);
        let mut found = Vec::new();
        for n in 0..width.lanes() {
            let lane = |lower: &mut Self, dim: DimId| match lower.frame.inner {
                Some(i) if level == Level::Lane && i.dim == dim => Ok(lower.e.ins().iadd_imm_s(i.at, n)),
                Some(_) | None => lower.lane_of(dim),
            };
            // The number of the element among `into`, first slowest.
            let mut number = self.e.int(0);
            for dim in into {
                let size = self.func().dim(*dim).size;
                let at = lane(self, *dim)?;
                number = self.times(number, size);
                number = self.e.ins().iadd(number, at);
            }
            let mut address = self.tile_address(tile.offset);
            for dim in from.iter().rev() {
                let size = self.e.int(self.func().dim(*dim).size);
                let at = if from.len() == 1 { number } else { self.e.ins().urem(number, size) };
                number = if from.len() == 1 { number } else { self.e.ins().udiv(number, size) };
                let offset = self.times(at, tile.step(*dim));
                address = self.e.ins().iadd(address, offset);
            }
            for dim in tile.dims.iter().filter(|d| !from.contains(d)) {
                let at = lane(self, *dim)?;
                let offset = self.times(at, tile.step(*dim));
                address = self.e.ins().iadd(address, offset);
            }
            // Neighbours among `into` are neighbours in memory if there is one `from`, laid out along it.
            let dense = from.len() == 1 && tile.step(from[0]) == super::storage::element_bytes(tile.dtype);
            let along = self.frame.inner.is_some_and(|i| into.last() == Some(&i.dim));
            if width == Width::Four && dense && along {
                return Ok(self.load_element(tile.dtype, address, Width::Four));
            }
            found.push(self.load_element(tile.dtype, address, Width::One));
        }
        Ok(match <[Lanes; 4]>::try_from(found.as_slice()) {
            Ok(four) => vector::gather(&mut self.e, four),
            Err(_) => found[0],
        })
    }
}

/// One zero.
pub(super) fn zero(e: &mut crate::Emit<'_>, dtype: DType) -> Lanes {
    use pantile_ir::{Kind, Scalar};
    let zero = match dtype.kind() {
        Kind::Bool => Scalar::Bool(false),
        Kind::Signed | Kind::Unsigned => Scalar::Int(0),
        Kind::Float => Scalar::Float(0.0),
    };
    vector::constant(e, dtype, zero, Width::One)
}
