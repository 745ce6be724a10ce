//! Loads and stores of tensors: addresses, what exists, and as wide as alignment lets them be. What a launch's tensors are
//! known to be is `facts.rs`'s business.

use pantile_ir::{Axis, DType, DimId, Index, Inst, Op, ParamId, ParamKind, StoreMode, Value};

use super::{Lower, Spread};
use crate::Limit;
use crate::element;
use crate::layout::access::{Access, WIDEST};
use crate::layout::convert::Conversion;
use crate::layout::{LayoutError, Memory, Place};
use crate::simt::{Binary, Compare, Convert, Op as SimtOp, Space, Ty, Value as Reg};

/// The addresses of a spread's registers.
struct Places {
    dtype: DType,
    /// One a register.
    addresses: Vec<Reg>,
    /// Which exist, one a register.
    exist: Vec<Reg>,
    /// The dim along the tensor's last axis, if its neighbours are neighbours in memory.
    dense: Option<DimId>,
    /// How many neighbours there may be taken at once, as a power of two.
    vector: u32,
}

impl<'f> Lower<'f> {
    /// A load.
    pub(crate) fn load(&mut self, inst: &'f Inst, param: ParamId, index: &[Index]) -> Result<(), Limit> {
        if self.func.param(param).out && self.stored {
            self.meet();
        }
        let result = inst.results[0];
        let space = if self.func.param(param).out { Space::Global } else { Space::Constant };
        if self.is_scalar(result) {
            let spread = Spread { registers: Vec::new(), lanes: Vec::new(), warps: Vec::new() };
            let places = self.places(inst, param, index, &spread)?;
            let unit =
                self.b.load(space, 8 * places.dtype.bytes() as u8, 1, places.addresses[0], Some(places.exist[0]))[0];
            let element = element::from_unit(&mut self.b, places.dtype, unit, 0);
            self.scope.scalars.insert(result, element);
            return Ok(());
        }
        let Some(spread) = self.spread_of(result).cloned() else { return Err(self.bug("a load without a spread")) };
        let places = self.places(inst, param, index, &spread)?;
        let mut registers: Vec<Option<Reg>> = vec![None; spread.len()];
        let access = self.planned(plan(&spread, places.dense, places.vector, places.dtype))?;
        for part in &access.parts {
            let (bits, count, each) = units(places.dtype, part.registers.len());
            let first = part.registers[0] as usize;
            let raw = self.b.load(space, bits, count, places.addresses[first], Some(places.exist[first]));
            for (n, register) in part.registers.iter().enumerate() {
                let element = element::from_unit(&mut self.b, places.dtype, raw[n / each], (n % each) as u32);
                registers[*register as usize] = Some(element);
            }
        }
        let registers = registers.into_iter().flatten().collect();
        self.hold(result, spread, registers);
        Ok(())
    }

    /// A store.
    pub(crate) fn store(&mut self, inst: &'f Inst) -> Result<(), Limit> {
        let Op::Store { param, index, mode, masked } = &inst.op else { return Err(self.bug("a store that is none")) };
        let first = inst.index_args().len();
        let value = inst.args[first];
        let mask = masked.then(|| inst.args[first + 1]);
        let dims = self.stored_dims(inst, index, value, mask);
        let simple = mask.is_none() && *mode == StoreMode::Set;
        let spread = self.store_spread(inst, (*param, index), value, &dims, simple)?;
        let places = self.places(inst, *param, index, &spread)?;
        let values = self.at(value, &spread)?;
        let masks = mask.map(|m| self.at(m, &spread)).transpose()?;
        let speaks = self.speaks(&spread);
        let guard = |l: &mut Self, r: usize| {
            let exists = l.b.and(places.exist[r], speaks);
            masks.as_ref().map_or(exists, |m| l.b.and(exists, m[r]))
        };
        let vector = if simple { places.vector } else { 0 };
        let access = self.planned(plan(&spread, places.dense, vector, places.dtype))?;
        for part in &access.parts {
            let first = part.registers[0] as usize;
            let guard = guard(self, first);
            let at = places.addresses[first];
            if *mode == StoreMode::AtomicAdd {
                self.atomic_add(places.dtype, at, values[first], guard);
                continue;
            }
            let mut elements: Vec<Reg> = part.registers.iter().map(|r| values[*r as usize]).collect();
            if *mode == StoreMode::Add {
                let raw = self.b.load(Space::Global, 8 * places.dtype.bytes() as u8, 1, at, Some(guard))[0];
                let old = element::from_unit(&mut self.b, places.dtype, raw, 0);
                elements[0] = element::binary(&mut self.b, pantile_ir::BinaryOp::Add, places.dtype, old, elements[0]);
            }
            let packed = element::to_units(&mut self.b, places.dtype, &elements);
            let bits = units(places.dtype, elements.len()).0;
            self.b.store(Space::Global, bits, at, &packed, Some(guard));
        }
        self.stored = true;
        Ok(())
    }

    /// The dims along which a store goes.
    fn stored_dims(&self, inst: &Inst, index: &[Index], value: Value, mask: Option<Value>) -> Vec<DimId> {
        let mut dims: Vec<DimId> = Vec::new();
        let mut values = inst.index_args().iter();
        for one in index {
            match one {
                Index::Dim(dim) => dims.push(*dim),
                Index::Value => dims.extend(values.next().map_or(&[][..], |v| self.dims(*v))),
            }
        }
        dims.extend(self.dims(value));
        dims.extend(mask.map_or(&[][..], |m| self.dims(m)));
        dims.sort();
        dims.dedup();
        dims
    }

    /// Among the spread in which a value is held, the same with neighbours in memory brought into one thread, and the usual
    /// one of the tensor: the one in which moving and storing it cost least. A value that is not held along all dims, which
    /// every thread has, is stored as the tensor lies in memory.
    fn store_spread(
        &self,
        inst: &Inst,
        (param, index): (ParamId, &[Index]),
        value: Value,
        dims: &[DimId],
        simple: bool,
    ) -> Result<Spread, Limit> {
        let (order, vector) = super::infer::access_order(self.func, self.facts, param, index, inst);
        let missing = dims.iter().filter(|d| !order.contains(d)).copied();
        let all: Vec<DimId> = order.iter().copied().chain(missing).collect();
        let usual = super::infer::blocked(self.func, self.warps, all, vector);
        let Some(own) = self.spread_of(value).filter(|_| self.dims(value) == dims).cloned() else { return Ok(usual) };
        let Some(dense) = order.first().copied().filter(|_| simple && vector > 0) else { return Ok(own) };
        let dtype = self.dtype(value);
        let most = vector.min((WIDEST / dtype.bytes() as u32).ilog2());
        let mut best: Option<(u32, Spread)> = None;
        for spread in [Some(own.clone()), own.with_run(dense, most), Some(usual)].into_iter().flatten() {
            let Some(moves) = self.move_cost(dtype, &own, &spread)? else { continue };
            let cost = moves + self.planned(sectors(&spread, dense, vector, dtype))?;
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, spread));
            }
        }
        Ok(best.map_or(own, |(_, spread)| spread))
    }

    /// What it costs to move a tile from a spread to another; none if that takes more shared memory than is free to take.
    fn move_cost(&self, dtype: DType, from: &Spread, to: &Spread) -> Result<Option<u32>, Limit> {
        let layouts = from.layout().and_then(|from| Ok((from, to.layout()?)));
        let plan = layouts.and_then(|(from, to)| Conversion::plan(&from, &to, dtype.bytes() as u32));
        let plan = self.planned(plan)?;
        // More than what is in use anyway, or a quarter of all, could leave room for fewer blocks.
        let most = (self.shared as u64).max(self.options.target.shared_bytes() as u64 / 4);
        let fits = match &plan {
            Conversion::Exchange(exchange) => u64::from(self.scratch_base) + exchange.size() <= most,
            Conversion::Nothing | Conversion::Registers(_) | Conversion::Shuffles(_) => true,
        };
        Ok(fits.then(|| plan.cost()))
    }

    fn places(&mut self, inst: &'f Inst, param: ParamId, index: &[Index], spread: &Spread) -> Result<Places, Limit> {
        let ParamKind::Tensor(dtype, axes) = &self.func.param(param).kind else {
            return Err(self.bug("an access to what is no tensor"));
        };
        let (dtype, bytes) = (*dtype, dtype.bytes() as i64);
        let mut base = self.word(self.words.param(param, 0));
        let yes = self.b.bool(true);
        let zero = self.b.i64(0);
        let (mut offsets, mut exist) = (vec![zero; spread.len()], vec![yes; spread.len()]);
        let mut args = inst.args.iter();
        let (order, vector) = super::infer::access_order(self.func, self.facts, param, index, inst);
        let mut dense = None;
        for (n, (axis, index)) in axes.iter().zip(index).enumerate() {
            let is_dense = n + 1 == axes.len() && self.facts.dense[param.index()];
            let stride = if is_dense {
                self.b.i64(bytes)
            } else {
                let stride = self.word(self.words.param(param, 1 + n));
                self.b.mul_const(stride, bytes)
            };
            match index {
                Index::Dim(dim) => {
                    if is_dense && self.func.dim(*dim).order.is_none() {
                        dense = Some(*dim);
                    }
                    base = self.along_dim(*dim, stride, spread, base, &mut offsets, &mut exist)?;
                }
                Index::Value => {
                    let Some(value) = args.next() else { return Err(self.bug("an index is missing")) };
                    if self.is_scalar(*value) {
                        let at = self.scalar(*value)?;
                        let name = &self.func.param(param).name;
                        let inside = self.check_index(at, *axis, inst.span, name);
                        exist.iter_mut().for_each(|e| *e = self.b.and(*e, inside));
                        let at = self.b.mul(at, stride);
                        base = self.b.add(base, at);
                    } else {
                        self.along_tile(*value, *axis, stride, spread, &mut offsets, &mut exist)?;
                    }
                }
            }
        }
        let addresses = offsets.into_iter().map(|o| self.b.add(base, o)).collect();
        let vector = if dense.is_some() && order.first() == dense.as_ref() { vector } else { 0 };
        Ok(Places { dtype, addresses, exist, dense, vector })
    }

    /// Adds what an axis indexed by a block adds; returns the base moved to the block's start.
    fn along_dim(
        &mut self,
        dim: DimId,
        stride: Reg,
        spread: &Spread,
        base: Reg,
        offsets: &mut [Reg],
        exist: &mut [Reg],
    ) -> Result<Reg, Limit> {
        if self.is_partial(dim) {
            let valid = self.valid(spread, dim)?;
            exist.iter_mut().zip(valid).for_each(|(e, v)| *e = self.b.and(*e, v));
        }
        if self.func.dim(dim).order.is_some() {
            let elements = self.elements(spread, dim)?;
            for (offset, element) in offsets.iter_mut().zip(elements) {
                let element = self.b.sign_extend(element);
                let part = self.b.mul(element, stride);
                *offset = self.b.add(*offset, part);
            }
            return Ok(base);
        }
        let start = self.block(dim)?.start;
        let start = self.b.sign_extend(start);
        let start = self.b.mul(start, stride);
        let thread = self.thread_position(spread, dim);
        let thread = self.b.sign_extend(thread);
        let thread = self.b.mul(thread, stride);
        let first = self.b.add(base, start);
        // The thread's part goes to the base as well: registers then differ by multiples of the stride alone.
        let first = self.b.add(first, thread);
        for (r, offset) in offsets.iter_mut().enumerate() {
            let position = self.b.i64(i64::from(spread.position(r, dim)));
            let part = self.b.mul(stride, position);
            *offset = self.b.add(*offset, part);
        }
        Ok(first)
    }

    /// Adds what an axis indexed by a tile adds; lanes outside the axis do not exist.
    fn along_tile(
        &mut self,
        index: Value,
        axis: Axis,
        stride: Reg,
        spread: &Spread,
        offsets: &mut [Reg],
        exist: &mut [Reg],
    ) -> Result<(), Limit> {
        let size = self.axis_size(axis);
        let size = self.b.zero_extend(Ty::I64, size);
        let dtype = self.dtype(index);
        let at = self.at(index, spread)?;
        let valid = self.all_valid(index, spread)?;
        for (r, at) in at.into_iter().enumerate() {
            let at = element::cast(&mut self.b, dtype, DType::I64, at);
            let inside = self.b.compare(Compare::ULt, at, size);
            let inside = self.b.and(inside, valid[r]);
            exist[r] = self.b.and(exist[r], inside);
            let part = self.b.mul(at, stride);
            offsets[r] = self.b.add(offsets[r], part);
        }
        Ok(())
    }

    /// A scalar index outside its axis stops the launch; whether it is inside.
    pub(crate) fn check_index(&mut self, at: Reg, axis: Axis, span: pantile_diag::Span, name: &str) -> Reg {
        let size = self.axis_size(axis);
        let size = self.b.zero_extend(Ty::I64, size);
        let inside = self.b.compare(Compare::ULt, at, size);
        let outside = self.b.unary(crate::simt::Unary::Not, inside);
        let extent = &self.func.extents[axis.extent.index()].name;
        let message = format!("an index into `{name}` is outside axis `{extent}`");
        self.fault_if(outside, message, span);
        inside
    }

    /// Adds an element to memory, atomically: numbers that the machine adds by itself, others by compare and swap of the
    /// word they stand in.
    fn atomic_add(&mut self, dtype: DType, at: Reg, value: Reg, guard: Reg) {
        if dtype.bytes() >= 4 {
            self.b.emit(SimtOp::AtomicAdd, &[at, value, guard], &[]);
            return;
        }
        self.b.when(guard, |b| {
            let word = b.constant(Ty::I64, !3u64);
            let word = b.binary(Binary::And, at, word);
            let shift = b.convert(Convert::Truncate, at);
            let shift = b.and_const(shift, 3);
            let shift = b.mul_const(shift, 8);
            let mask = b.i32(if dtype.bytes() == 1 { 0xff } else { 0xffff });
            let seen = b.load(Space::Global, 32, 1, word, None)[0];
            let never = b.i32(0);
            b.repeat(
                &[seen, never],
                |b, args| {
                    let zero = b.i32(0);
                    b.compare(Compare::Eq, args[1], zero)
                },
                |b, args| {
                    let old = b.binary(Binary::UShr, args[0], shift);
                    let old = b.binary(Binary::And, old, mask);
                    let old = element::from_unit(b, dtype, old, 0);
                    let sum = element::binary(b, pantile_ir::BinaryOp::Add, dtype, old, value);
                    let unit = element::to_units(b, dtype, &[sum])[0];
                    let unit = b.binary(Binary::And, unit, mask);
                    let unit = b.binary(Binary::Shl, unit, shift);
                    let hole = b.binary(Binary::Shl, mask, shift);
                    let all = b.i32(-1);
                    let rest = b.binary(Binary::Xor, hole, all);
                    let rest = b.binary(Binary::And, args[0], rest);
                    let wanted = b.binary(Binary::Or, rest, unit);
                    let found = b.emit(SimtOp::AtomicCas, &[word, args[0], wanted], &[Ty::I32])[0];
                    let done = b.compare(Compare::Eq, found, args[0]);
                    let done = b.zero_extend(Ty::I32, done);
                    vec![found, done]
                },
            );
        });
    }
}

/// How a spread's elements are accessed in memory, at most `1 << vector` neighbours along the dense dim at once.
fn plan(spread: &Spread, dense: Option<DimId>, vector: u32, dtype: DType) -> Result<Access, LayoutError> {
    let tile = spread.layout()?;
    let size = |d: DimId| (d, 1u64 << tile.outs().bits(d));
    let others = tile.outs().names().filter(|d| Some(*d) != dense);
    let rows = Memory::rows(&dense.into_iter().chain(others).map(size).collect::<Vec<_>>())?;
    let bytes = dtype.bytes() as u32;
    Access::plan(&tile, &rows, bytes, bytes << vector)
}

/// Bytes of a sector, the least that memory moves.
const SECTOR: u32 = 32;

/// Sectors that a warp touches in an access, where rows along the dense dim begin at sectors.
fn sectors(spread: &Spread, dense: DimId, vector: u32, dtype: DType) -> Result<u32, LayoutError> {
    let in_sector = (SECTOR / dtype.bytes() as u32).trailing_zeros();
    let lanes = spread.layout()?.blocks(dense, in_sector).only(&[Place::Lane]);
    Ok((plan(spread, Some(dense), vector, dtype)?.parts.len() as u32) << lanes.matrix().rank())
}

/// Bits of a unit, how many units, and the elements of each, for so many neighbours.
pub(crate) fn units(dtype: DType, elements: usize) -> (u8, u8, usize) {
    let bytes = dtype.bytes() * elements;
    if dtype.bytes() == 8 {
        return (64, elements as u8, 1);
    }
    if bytes >= 4 { (32, (bytes / 4) as u8, 4 / dtype.bytes()) } else { (8 * bytes as u8, 1, elements) }
}
