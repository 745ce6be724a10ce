//! Tiles read at computed lanes: gathers, and splits and merges of dims. Those whose sizes are powers of two only rename
//! bits; all else goes through shared memory.

use pantile_ir::{DType, DimId, Func, Inst, Value};

use super::staged::Staged;
use super::{Bit, Lower, Spread};
use crate::Limit;
use crate::simt::{Binary, Compare, Convert, Space, Ty, Value as Reg};

/// A tile in shared memory that is read at computed lanes of some of its dims.
struct Table {
    /// The other dims, whose elements lie one behind the other.
    rows: Staged,
    /// Where it starts.
    base: u32,
    ty: Ty,
    /// Bits of the number that the computed lanes make.
    bits: u32,
}

impl<'f> Lower<'f> {
    /// `x` at lane `at` along a dim; 0 where there is no such lane.
    pub(crate) fn gather(&mut self, inst: &'f Inst, dim: DimId) -> Result<(), Limit> {
        let spread = self.result_spread(inst);
        let (dtype, at) = (self.dtype(inst.args[1]), self.at(inst.args[1], &spread)?);
        let at = self.cast_all(dtype, DType::I64, at);
        let lanes = self.b.i64(1 << self.bits(dim));
        let mut places = Vec::new();
        for at in at {
            let inside = self.b.compare(Compare::ULt, at, lanes);
            places.push((self.b.convert(Convert::Truncate, at), inside));
        }
        let table = self.table(inst.args[0], &[dim])?;
        let registers = self.look_up(&table, &spread, &places);
        self.give(inst, spread, registers);
        Ok(())
    }

    /// Dims seen as others, first slowest.
    pub(crate) fn reshape(&mut self, inst: &'f Inst, from: &[DimId], into: &[DimId]) -> Result<(), Limit> {
        let spread = self.result_spread(inst);
        if let Some(same) = renamed(self.func, &spread, into, from) {
            let registers = self.at(inst.args[0], &same)?;
            self.give(inst, spread, registers);
            return Ok(());
        }
        // A lane's number among all, and from it the lanes of the operand's dims; what is no lane there is not read.
        let mut numbers = vec![self.b.i32(0); spread.len()];
        for dim in into {
            let lanes = self.lanes(&spread, *dim);
            let size = self.func.dim(*dim).size;
            for (number, lane) in numbers.iter_mut().zip(lanes) {
                let before = self.b.mul_const(*number, size);
                *number = self.b.add(before, lane);
            }
        }
        let all: i64 = from.iter().map(|d| self.func.dim(*d).size).product();
        let mut places = Vec::new();
        for number in numbers {
            let all = self.b.i32(all as i32);
            let inside = self.b.compare(Compare::ULt, number, all);
            let (mut rest, mut at, mut shift) = (number, self.b.i32(0), 0);
            for dim in from.iter().rev() {
                let size = self.b.i32(self.func.dim(*dim).size as i32);
                let lane = self.b.binary(Binary::URem, rest, size);
                rest = self.b.binary(Binary::UDiv, rest, size);
                let part = self.b.mul_const(lane, 1 << shift);
                at = self.b.binary(Binary::Or, at, part);
                shift += self.bits(*dim);
            }
            places.push((at, inside));
        }
        let table = self.table(inst.args[0], from)?;
        let registers = self.look_up(&table, &spread, &places);
        self.give(inst, spread, registers);
        Ok(())
    }

    /// The spread of an instruction's one result.
    fn result_spread(&self, inst: &Inst) -> Spread {
        let result = inst.results[0];
        match self.spread_of(result) {
            Some(spread) => spread.clone(),
            None => super::infer::blocked(self.func, self.warps, self.dims(result).iter().rev().copied(), 0),
        }
    }

    /// Stages a tile so that lanes of these dims, the last one's bits lowest, choose among its rows.
    fn table(&mut self, value: Value, dims: &[DimId]) -> Result<Table, Limit> {
        let held = self.anyhow(value)?;
        let ty = self.b.ty(held.registers[0]);
        let others: Vec<DimId> = self.dims(value).iter().copied().filter(|d| !dims.contains(d)).collect();
        let (others, chosen) = (self.bits_of(&others), self.bits_of(dims));
        let rows = Staged::plain(others.iter().copied(), Self::unit_bytes(ty));
        let all = Staged::plain(others.into_iter().chain(chosen.iter().copied()), Self::unit_bytes(ty));
        let base = self.scratch(all.bytes);
        self.stage(&all, base, &held);
        self.meet();
        Ok(Table { rows, base, ty, bits: chosen.len() as u32 })
    }

    /// One element a register: of the row that the spread says, at the place given; 0 where the predicate fails.
    fn look_up(&mut self, table: &Table, spread: &Spread, places: &[(Reg, Reg)]) -> Vec<Reg> {
        let thread = self.thread_offset(&table.rows, spread);
        let mut registers = Vec::new();
        for (r, (place, exists)) in places.iter().enumerate() {
            let row = self.place(thread, table.rows.offset(spread, r), table.base);
            let place = self.b.and_const(*place, (1 << table.bits) - 1);
            let part = self.b.mul_const(place, i64::from(table.rows.bytes));
            let at = self.b.add(row, part);
            let unit = self.b.load(Space::Shared, 8 * table.rows.element as u8, 1, at, Some(*exists))[0];
            registers.push(self.of_unit(unit, table.ty));
        }
        registers
    }
}

/// A spread in which the bits of some dims are called as those of others, which have as many lanes; the first is the
/// slowest. Where a size is no power of two there is none.
pub(crate) fn renamed(func: &Func, spread: &Spread, from: &[DimId], into: &[DimId]) -> Option<Spread> {
    if from.iter().chain(into).any(|d| func.dim(*d).size.count_ones() != 1) {
        return None;
    }
    let (old, new) = (super::all_bits(func, from), super::all_bits(func, into));
    let name = |bit: &Bit| match old.iter().position(|b| b == bit) {
        Some(n) => new.get(n).copied().flatten(),
        None => *bit,
    };
    let all = |bits: &[Bit]| bits.iter().map(name).collect();
    Some(Spread { registers: all(&spread.registers), lanes: all(&spread.lanes), warps: all(&spread.warps) })
}
