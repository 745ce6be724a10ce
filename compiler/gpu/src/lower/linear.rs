//! Plans of `layout/` as instructions: what a linear map says of a thread, and vectors of registers to and from shared
//! memory. Which plan is followed, and when threads meet, is decided elsewhere.

use std::collections::BTreeMap;

use pantile_ir::DType;

use super::Lower;
use crate::Limit;
use crate::element;
use crate::layout::access::Access;
use crate::layout::bits::ones;
use crate::layout::{Layout, LayoutError, Name, Place};
use crate::simt::{Binary, Compare, Space, Ty, Value as Reg};

/// The dtype whose carrier a register type is.
pub(crate) fn carried(ty: Ty) -> DType {
    match ty {
        Ty::Bool => DType::Bool,
        Ty::I32 => DType::I32,
        Ty::I64 => DType::I64,
        Ty::F32 => DType::F32,
        Ty::F64 => DType::F64,
    }
}

impl Lower<'_> {
    /// A plan, where layouts that lowering made do fit.
    pub(crate) fn planned<T>(&self, plan: Result<T, LayoutError>) -> Result<T, Limit> {
        plan.map_err(|why| self.bug(why))
    }

    /// What a map says of this thread, as I32, times `1 << scale`.
    pub(crate) fn of_thread<O: Name>(&mut self, map: &Layout<Place, O>, scale: u32) -> Reg {
        self.sum_of_thread(scale, |place| map.columns(place).to_vec())
    }

    /// The sum of those of a place's columns that the thread's number there has bits for, times `1 << scale`.
    pub(crate) fn sum_of_thread(&mut self, scale: u32, columns: impl Fn(Place) -> Vec<u64>) -> Reg {
        let mut sum = self.b.i32(0);
        for (number, place) in [(self.lane, Place::Lane), (self.warp, Place::Warp)] {
            // Bits that move equally far move together.
            let mut moves: BTreeMap<i64, i64> = BTreeMap::new();
            for (from, column) in columns(place).iter().enumerate() {
                for to in ones(*column) {
                    *moves.entry(i64::from(to + scale) - from as i64).or_default() |= 1 << from;
                }
            }
            for (by, mask) in moves {
                let part = self.b.and_const(number, mask);
                let part = match u32::try_from(-by) {
                    Ok(down) => self.b.shr_const(part, down),
                    Err(_) => self.b.mul_const(part, 1 << by),
                };
                sum = self.b.binary(Binary::Xor, sum, part);
            }
        }
        sum
    }

    /// Whether this thread is the one among those that hold the same whose bits in these places are 0.
    pub(crate) fn is_original(&mut self, copies: &[(Place, u64)]) -> Reg {
        let zero = self.b.i32(0);
        let mut original = self.b.bool(true);
        for (place, mask) in copies {
            let number = if *place == Place::Lane { self.lane } else { self.warp };
            let held = self.b.and_const(number, *mask as i64);
            let first = self.b.compare(Compare::Eq, held, zero);
            original = self.b.and(original, first);
        }
        original
    }

    /// The addresses of an access's parts in shared memory.
    fn addresses(&mut self, access: &Access, base: u32) -> Vec<Reg> {
        let scale = access.bytes.ilog2();
        let thread = self.of_thread(&access.thread, scale);
        // Bits that no thread has are added, so that they become part of the instruction.
        let own = access.thread.matrix().columns.iter().fold(0, |all, column| all | column);
        let place = |l: &mut Self, offset: u64| {
            let swizzled = l.b.i32(((offset & own) << scale) as i32);
            let at = l.b.binary(Binary::Xor, thread, swizzled);
            l.b.add_const(at, i64::from(base) + ((offset & !own) << scale) as i64)
        };
        access.parts.iter().map(|part| place(self, part.offset)).collect()
    }

    /// Writes each thread's registers to shared memory; of those that hold the same one does.
    pub(crate) fn put(&mut self, dtype: DType, access: &Access, base: u32, registers: &[Reg]) {
        let original = self.is_original(&access.copies);
        for (part, at) in access.parts.iter().zip(self.addresses(access, base)) {
            let elements: Vec<Reg> = part.registers.iter().map(|r| registers[*r as usize]).collect();
            let units = element::to_units(&mut self.b, dtype, &elements);
            let bits = element::unit_bits(dtype, elements.len());
            self.b.store(Space::Shared, bits, at, &units, Some(original));
        }
    }

    /// Reads each thread's registers from shared memory.
    pub(crate) fn take(&mut self, dtype: DType, access: &Access, base: u32) -> Vec<Reg> {
        let bits = element::unit_bits(dtype, access.vector as usize);
        let each = usize::from(bits) / (8 * dtype.bytes());
        let mut read = BTreeMap::new();
        for (part, at) in access.parts.iter().zip(self.addresses(access, base)) {
            let units = self.b.load(Space::Shared, bits, (part.registers.len() / each) as u8, at, None);
            for (n, register) in part.registers.iter().enumerate() {
                read.insert(*register, element::from_unit(&mut self.b, dtype, units[n / each], (n % each) as u32));
            }
        }
        access.held.iter().map(|r| read[r]).collect()
    }

    /// `all[n]` becomes what stood at `n` XOR what a map says of this thread: a level of selects for each dimension of what
    /// it says.
    pub(crate) fn permuted(&mut self, mut all: Vec<Option<Reg>>, map: &Layout<Place, Place>) -> Vec<Option<Reg>> {
        let pivots: Vec<u32> = ones(map.matrix().pivots()).collect();
        if pivots.is_empty() {
            return all;
        }
        // Bit n of the thread's choice: whether the n-th pivot column is part of the sum.
        let number = |column: &u64| {
            let sum = map.matrix().solve(*column).unwrap_or(0);
            pivots.iter().zip(0..).fold(0u64, |n, (pivot, bit)| n | (sum >> pivot & 1) << bit)
        };
        let choice = self.sum_of_thread(0, |place| map.columns(place).iter().map(number).collect());
        for (pivot, bit) in pivots.iter().zip(0..) {
            let apart = map.matrix().columns[*pivot as usize] as usize;
            let held = self.b.and_const(choice, 1 << bit);
            let zero = self.b.i32(0);
            let swaps = self.b.compare(Compare::Ne, held, zero);
            let mut one = |n: usize| Some(self.b.select(swaps, (*all.get(n ^ apart)?)?, all[n]?));
            all = (0..all.len()).map(&mut one).collect();
        }
        all
    }
}
