//! Where elements of tensors are: strides, orders, scalar and tile indices; loads and stores of lanes. What is loaded or
//! stored is decided elsewhere.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use pantile_ir::{BinaryOp, DType, DimId, Index, Inst, Kind, Op, ParamId, ParamKind, StoreMode, Value};

use super::Lower;
use super::eval::{Level, key, zero};
use crate::vector::{ACCESS, Carrier, Lanes, Width, carrier};
use crate::{Limit, arith, vector};

/// How a tensor is accessed, with what does not change in a nest worked out.
#[derive(Clone)]
pub struct Access {
    dtype: DType,
    /// Address of the element at lane 0 of all dims and index 0 of all tiles.
    base: ir::Value,
    dims: Vec<AlongDim>,
    tiles: Vec<AlongTile>,
}

/// An axis indexed by a block.
#[derive(Clone, Copy)]
struct AlongDim {
    dim: DimId,
    /// In bytes.
    stride: ir::Value,
    /// The block's elements, if its walk has an order.
    table: Option<ir::Value>,
    /// Neighbouring lanes are neighbours in memory.
    dense: bool,
}

/// An axis indexed by a tile.
#[derive(Clone, Copy)]
struct AlongTile {
    index: Value,
    stride: ir::Value,
    size: ir::Value,
}

impl Access {
    /// The address at lane 0 of all dims, and for each dim its stride in bytes and its block's table of elements.
    pub fn parts(&self) -> (ir::Value, Vec<(DimId, ir::Value, Option<ir::Value>)>) {
        (self.base, self.dims.iter().map(|a| (a.dim, a.stride, a.table)).collect())
    }
}

/// An element's address, and whether it exists.
#[derive(Clone, Copy)]
struct Element {
    address: ir::Value,
    exists: Option<ir::Value>,
}

impl<'f> Lower<'_, 'f> {
    /// The parameter and indices of a load or store.
    fn indexed(inst: &'f Inst) -> Option<(ParamId, &'f [Index])> {
        if let Op::Load(param, index) | Op::Store { param, index, .. } = &inst.op {
            Some((*param, index))
        } else {
            None
        }
    }

    /// Works out what does not change in the nest that follows. To be called before its loops.
    pub(super) fn open_access(&mut self, inst: &'f Inst) -> Result<(), Limit> {
        if self.frame.accesses.contains_key(&key(inst)) {
            return Ok(());
        }
        let access = self.access(inst)?;
        self.frame.accesses.insert(key(inst), access);
        Ok(())
    }

    fn access(&mut self, inst: &'f Inst) -> Result<Access, Limit> {
        let Some((param, index)) = Self::indexed(inst) else { return Err(self.bug("an access to nothing")) };
        let ParamKind::Tensor(dtype, axes) = &self.func().param(param).kind else {
            return Err(self.bug("an access to what is no tensor"));
        };
        let dtype = *dtype;
        let name = self.func().param(param).name.clone();
        let mut base = self.word(self.words.param(param, 0));
        let (mut dims, mut tiles) = (Vec::new(), Vec::new());
        let mut args = inst.args.iter();
        for (n, (axis, index)) in axes.iter().zip(index).enumerate() {
            let last = n + 1 == axes.len();
            let dense = last && self.facts.dense[param.index()];
            let stride = if dense {
                self.e.int(dtype.bytes() as i64)
            } else {
                let stride = self.word(self.words.param(param, 1 + n));
                self.times(stride, dtype.bytes() as i64)
            };
            match index {
                Index::Dim(dim) => {
                    let block = self.blocks.get(dim).copied().ok_or_else(|| self.bug("a block that is not there"))?;
                    let table = match self.func().dim(*dim).order {
                        Some(_) => {
                            let elements = self.word(self.words.table(*dim, 0));
                            let at = self.e.ins().ishl_imm_u(block.start, 2);
                            Some(self.e.ins().iadd(elements, at))
                        }
                        None => {
                            base = self.advance(base, block.start, stride, dense, dtype);
                            None
                        }
                    };
                    dims.push(AlongDim { dim: *dim, stride, table, dense: dense && table.is_none() });
                }
                Index::Value => {
                    let value = *args.next().ok_or_else(|| self.bug("an index is missing"))?;
                    if self.facts.is_scalar(value) {
                        let at = self.scalar(value)?.value();
                        self.check_index(value, at, *axis, inst.span, &name);
                        base = self.advance(base, at, stride, dense, dtype);
                    } else {
                        let size = self.axis_size(*axis);
                        tiles.push(AlongTile { index: value, stride, size });
                    }
                }
            }
        }
        Ok(Access { dtype, base, dims, tiles })
    }

    fn advance(&mut self, base: ir::Value, by: ir::Value, stride: ir::Value, dense: bool, dtype: DType) -> ir::Value {
        let offset = if dense { self.times(by, dtype.bytes() as i64) } else { self.e.ins().imul(by, stride) };
        self.e.ins().iadd(base, offset)
    }

    /// What [`Lower::open_access`] worked out.
    pub(super) fn opened(&mut self, inst: &'f Inst) -> Result<Access, Limit> {
        self.open_access(inst)?;
        self.frame.accesses.get(&key(inst)).cloned().ok_or_else(|| self.bug("an access that was not opened"))
    }

    /// Works out the address of the current row, before the innermost loop.
    pub(super) fn access_row(&mut self, inst: &'f Inst) -> Result<ir::Value, Limit> {
        if let Some(row) = self.frame.row_of_access.get(&key(inst)) {
            return Ok(*row);
        }
        let access = self.opened(inst)?;
        let mut at = access.base;
        for along in &access.dims {
            if Some(along.dim) != self.frame.vector {
                at = self.step_along(at, along, 0, None)?;
            }
        }
        self.frame.row_of_access.insert(key(inst), at);
        Ok(at)
    }

    /// Moves an address to the lane of a dim; `inner` is the lane of the vectorised dim.
    fn step_along(
        &mut self,
        at: ir::Value,
        along: &AlongDim,
        plus: i64,
        inner: Option<ir::Value>,
    ) -> Result<ir::Value, Limit> {
        let lane = match inner {
            Some(lane) => lane,
            None => match self.frame.index.get(&along.dim) {
                Some(lane) => *lane,
                None => return Err(self.bug(format!("`{}` has no lane here", self.func().dim(along.dim).name))),
            },
        };
        let lane = if plus == 0 { lane } else { self.e.ins().iadd_imm_s(lane, plus) };
        let element = match along.table {
            Some(table) => {
                let entry = self.e.ins().ishl_imm_u(lane, 2);
                let entry = self.e.ins().iadd(table, entry);
                self.e.ins().sload32(ACCESS, entry, 0)
            }
            None => lane,
        };
        let offset = self.e.ins().imul(element, along.stride);
        Ok(self.e.ins().iadd(at, offset))
    }

    /// The element at lane `n` of a group at a level; `indices` are the lanes of the tile indices.
    fn element(&mut self, inst: &'f Inst, level: Level, n: i64, indices: &[Lanes]) -> Result<Element, Limit> {
        let access = self.opened(inst)?;
        let inner = self.frame.inner.filter(|_| level == Level::Lane);
        let mut at = if inner.is_some() { self.access_row(inst)? } else { self.access_whole_row(&access)? };
        if let Some(inner) = inner {
            for along in access.dims.iter().filter(|a| a.dim == inner.dim) {
                if along.dense {
                    let lane = if n == 0 { inner.at } else { self.e.ins().iadd_imm_s(inner.at, n) };
                    let offset = self.times(lane, access.dtype.bytes() as i64);
                    at = self.e.ins().iadd(at, offset);
                } else {
                    at = self.step_along(at, along, n, Some(inner.at))?;
                }
            }
        }
        let mut exists = None;
        for (tile, lanes) in access.tiles.iter().zip(indices) {
            let index = vector::extract(&mut self.e, *lanes, n as u8).value();
            let inside = self.e.ins().icmp(IntCC::UnsignedLessThan, index, tile.size);
            exists = Some(exists.map_or(inside, |e| self.e.ins().band(e, inside)));
            let offset = self.e.ins().imul(index, tile.stride);
            at = self.e.ins().iadd(at, offset);
        }
        Ok(Element { address: at, exists })
    }

    /// Where lane 0 of `inner` is in the row after the current one along `row`, and the bytes from lane to lane: of a load
    /// whose rows are runs in memory.
    pub(super) fn row_after(
        &mut self,
        inst: &'f Inst,
        row: DimId,
        inner: DimId,
    ) -> Result<Option<(ir::Value, u32)>, Limit> {
        let access = self.opened(inst)?;
        let along = |dim: DimId| access.dims.iter().filter(move |a| a.dim == dim);
        let (Some(by), Some(to)) = (along(row).next(), along(inner).next()) else { return Ok(None) };
        let plain = by.table.is_none() && to.dense && along(row).count() == 1 && along(inner).count() == 1;
        if !plain || !access.tiles.is_empty() {
            return Ok(None);
        }
        let at = self.access_row(inst)?;
        Ok(Some((self.e.ins().iadd(at, by.stride), access.dtype.bytes() as u32)))
    }

    fn access_whole_row(&mut self, access: &Access) -> Result<ir::Value, Limit> {
        let mut at = access.base;
        for along in &access.dims {
            at = self.step_along(at, along, 0, None)?;
        }
        Ok(at)
    }

    fn tile_indices(&mut self, inst: &'f Inst, level: Level) -> Result<Vec<Lanes>, Limit> {
        let access = self.opened(inst)?;
        access.tiles.iter().map(|tile| self.value(tile.index, level)).collect()
    }

    /// Whether a group of four at the current lanes is consecutive memory.
    fn is_run(&mut self, inst: &'f Inst) -> Result<bool, Limit> {
        let access = self.opened(inst)?;
        let Some(inner) = self.frame.inner else { return Ok(false) };
        let mut along = access.dims.iter().filter(|a| a.dim == inner.dim);
        let only = along.next().is_some_and(|a| a.dense) && along.next().is_none();
        Ok(only && access.tiles.is_empty())
    }

    /// Loads at the current place.
    pub(super) fn load(&mut self, inst: &'f Inst, level: Level) -> Result<Lanes, Limit> {
        let dtype = self.facts.dtype(inst.results[0]);
        let width = self.width(level);
        if width == Width::Four && self.is_run(inst)? {
            let at = self.element(inst, level, 0, &[])?.address;
            return Ok(vector::load(&mut self.e, dtype, width, at, 0));
        }
        let indices = self.tile_indices(inst, level)?;
        let mut lanes = Vec::new();
        for n in 0..width.lanes() {
            let element = self.element(inst, level, n, &indices)?;
            let make = |lower: &mut Self| vector::load(&mut lower.e, dtype, Width::One, element.address, 0);
            lanes.push(match element.exists {
                None => make(self),
                Some(exists) => {
                    let zero = zero(&mut self.e, dtype);
                    self.guarded(exists, zero, make)
                }
            });
        }
        Ok(match <[Lanes; 4]>::try_from(lanes.as_slice()) {
            Ok(four) => vector::gather(&mut self.e, four),
            Err(_) => lanes[0],
        })
    }

    /// The value to store, and whether to, at the current place.
    pub(super) fn stored_operands(&mut self, inst: &'f Inst, level: Level) -> Result<(Lanes, Option<Lanes>), Limit> {
        let first = inst.index_args().len();
        let value = self.value(inst.args[first], level)?;
        let mask = inst.args.get(first + 1).map(|m| self.value(*m, level)).transpose()?;
        Ok((value, mask))
    }

    /// Stores at the current place.
    pub(super) fn store(&mut self, inst: &'f Inst, level: Level) -> Result<(), Limit> {
        let Op::Store { param, mode, .. } = inst.op else { return Err(self.bug("a store that is none")) };
        let (value, mask) = self.stored_operands(inst, level)?;
        let width = self.width(level);
        let plain = mask.is_none() && mode != StoreMode::AtomicAdd;
        if width == Width::Four && plain && self.is_run(inst)? {
            let at = self.element(inst, level, 0, &[])?.address;
            let value = match mode {
                StoreMode::Add => {
                    let old = vector::load(&mut self.e, value.dtype, width, at, 0);
                    arith::binary(&mut self.e, BinaryOp::Add, old, value)
                }
                StoreMode::Set | StoreMode::AtomicAdd => value,
            };
            vector::store(&mut self.e, value, at, 0);
            if mode == StoreMode::Set && !self.facts.is_read(param) {
                self.streamed.extend(self.e.last());
            }
            return Ok(());
        }
        let indices = self.tile_indices(inst, level)?;
        for n in 0..width.lanes() {
            let element = self.element(inst, level, n, &indices)?;
            let one = vector::extract(&mut self.e, value, n as u8);
            let chosen = mask.map(|m| vector::extract(&mut self.e, m, n as u8).value());
            let cond = match (element.exists, chosen) {
                (Some(a), Some(b)) => Some(self.e.ins().band(a, b)),
                (a, b) => a.or(b),
            };
            let join = cond.map(|cond| {
                let (then, join) = (self.e.block(&[]), self.e.block(&[]));
                self.e.branch(cond, then, &[], join, &[]);
                self.e.enter(then);
                join
            });
            self.store_one(one, element.address, mode);
            if let Some(join) = join {
                self.e.jump(join, &[]);
                self.e.enter(join);
            }
        }
        Ok(())
    }

    /// A store of a scalar.
    pub(super) fn scalar_store(&mut self, inst: &'f Inst) -> Result<(), Limit> {
        self.store(inst, Level::Row)
    }

    fn store_one(&mut self, value: Lanes, at: ir::Value, mode: StoreMode) {
        match mode {
            StoreMode::Set => vector::store(&mut self.e, value, at, 0),
            StoreMode::Add => {
                let old = vector::load(&mut self.e, value.dtype, Width::One, at, 0);
                let sum = arith::binary(&mut self.e, BinaryOp::Add, old, value);
                vector::store(&mut self.e, sum, at, 0);
            }
            StoreMode::AtomicAdd => self.atomic_add(value, at),
        }
    }

    fn atomic_add(&mut self, value: Lanes, at: ir::Value) {
        let ty = match value.dtype.bytes() {
            1 => types::I8,
            2 => types::I16,
            4 => types::I32,
            _ => types::I64,
        };
        if matches!(value.dtype.kind(), Kind::Signed | Kind::Unsigned) {
            let mut x = value.value();
            if carrier(value.dtype) == Carrier::Int32 && ty != types::I32 {
                x = self.e.ins().ireduce(ty, x);
            }
            self.e.ins().atomic_rmw(ty, ACCESS.with_aligned(), ir::AtomicRmwOp::Add, at, x);
            return;
        }
        // A float: compare and swap its bits until no one was faster. Bits become numbers and back through the stack.
        let slot = self.e.b.create_sized_stack_slot(ir::StackSlotData::new(ir::StackSlotKind::ExplicitSlot, 8, 3));
        let room = self.e.ins().stack_addr(types::I64, slot, 0);
        let (again, done) = (self.e.block(&[ty]), self.e.block(&[]));
        let seen = self.e.ins().load(ty, ACCESS, at, 0);
        self.e.jump(again, &[seen]);
        let seen = self.e.enter(again)[0];
        self.e.ins().store(ACCESS, seen, room, 0);
        let old = vector::load(&mut self.e, value.dtype, Width::One, room, 0);
        let sum = arith::binary(&mut self.e, BinaryOp::Add, old, value);
        vector::store(&mut self.e, sum, room, 0);
        let wanted = self.e.ins().load(ty, ACCESS, room, 0);
        let found = self.e.ins().atomic_cas(ACCESS.with_aligned(), at, seen, wanted);
        let same = self.e.ins().icmp(IntCC::Equal, found, seen);
        self.e.branch(same, done, &[], again, &[found]);
        self.e.enter(done);
    }
}
