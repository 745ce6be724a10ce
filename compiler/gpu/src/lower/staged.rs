//! Tiles in shared memory: where each element lies, as a linear map from bits of positions to bits of an offset, swizzles
//! included. What is staged, and when threads meet, is decided elsewhere.

use pantile_ir::DimId;

use super::{Bit, Held, Lower, Spread};
use crate::Swizzle;
use crate::simt::{Binary, Compare, Convert, Space, Ty, Value as Reg};

/// Bits of an offset within the 16 bytes that are read at once, which no swizzle takes apart.
const CHUNK: usize = 4;

/// Where a tile's elements lie in shared memory. Offsets of an element's bits are combined by exclusive or.
#[derive(Clone, Debug)]
pub(crate) struct Staged {
    /// The offset, in bytes, that each bit of a position stands for.
    bits: Vec<((DimId, u32), u32)>,
    /// Bytes of one element.
    pub element: u32,
    /// Of all.
    pub bytes: u32,
    /// Bytes of the fastest dim that lie together.
    pub row: u32,
    /// How 16-byte units trade places, of tiles made of boxes.
    pub swizzle: Swizzle,
}

impl Staged {
    /// One element behind the other, these bits of positions lowest first.
    pub fn plain(bits: impl IntoIterator<Item = Bit>, element: u32) -> Self {
        let mut next = element;
        let mut place = |bit: (DimId, u32)| {
            next <<= 1;
            (bit, next >> 1)
        };
        let bits = bits.into_iter().flatten().map(&mut place).collect();
        Self { bits, element, bytes: next, row: element, swizzle: Swizzle::None }
    }

    /// Rows of `fast` bits behind each other, in which chunks of 16 bytes trade places from row to row, so that a column of
    /// chunks touches all banks: the 128, 64 and 32 byte swizzles.
    pub fn swizzled(fast: &[Bit], slow: &[Bit], element: u32) -> Self {
        let row = fast.len() + element.trailing_zeros() as usize;
        let chunks = row.saturating_sub(CHUNK).min(3);
        let by: Vec<Bit> = slow.iter().skip(3 - chunks).take(chunks).copied().collect();
        Self::swizzled_by(fast, slow, element, &by)
    }

    /// The same, where rows trade chunks whose numbers differ in some bits, those that stand for rows that are read at once.
    /// There may be more bits than a row has chunks.
    pub fn swizzled_by(fast: &[Bit], slow: &[Bit], element: u32, by: &[Bit]) -> Self {
        let mut made = Self::plain(fast.iter().chain(slow).copied(), element);
        let row = fast.len() + element.trailing_zeros() as usize;
        let chunks = row.saturating_sub(CHUNK).min(3);
        for (n, by) in by.iter().flatten().take(chunks).enumerate() {
            if let Some(slot) = made.bits.iter_mut().find(|(bit, _)| bit == by) {
                slot.1 ^= 1 << (CHUNK + n);
            }
        }
        made
    }

    /// As bulk tensor copies bring a tile, and warpgroup products read it: boxes of rows of 128 bytes at most of the fastest
    /// dim, one box behind the other. None where a row has less than 16 bytes.
    pub fn boxes(fast: &[Bit], slow: &[Bit], element: u32) -> Option<Self> {
        let inside = fast.len().min(7 - element.trailing_zeros() as usize);
        let row = element << inside;
        let swizzle = match row {
            128.. => Swizzle::Bytes128,
            64 => Swizzle::Bytes64,
            32 => Swizzle::Bytes32,
            16 => Swizzle::None,
            _ => return None,
        };
        let (rows, more) = fast.split_at(inside);
        let mut made = Self::plain(rows.iter().chain(slow).chain(more).copied(), element);
        made.bits.iter_mut().for_each(|(_, offset)| *offset = swizzle.apply(*offset));
        Some(Self { row, swizzle, ..made })
    }

    /// The offset that a bit of a position stands for; 0 of bits that the tile does not have.
    pub fn bit(&self, bit: (DimId, u32)) -> u32 {
        self.bits.iter().find(|(b, _)| *b == bit).map_or(0, |(_, offset)| *offset)
    }

    /// The bytes that a register's number stands for.
    pub fn offset(&self, spread: &Spread, register: usize) -> u32 {
        let bit = |(n, bit): (usize, &Bit)| bit.map_or(0, |b| if register >> n & 1 == 1 { self.bit(b) } else { 0 });
        spread.registers.iter().enumerate().map(bit).fold(0, |a, b| a ^ b)
    }

    /// The register bits, lowest first, that number neighbours within 16 bytes.
    fn run(&self, spread: &Spread) -> Vec<usize> {
        let at = |offset: u32| spread.registers.iter().position(|b| b.is_some_and(|b| self.bit(b) == offset));
        (0..).map(|n| self.element << n).take_while(|o| *o < 1 << CHUNK).map_while(at).collect()
    }

    /// Registers of a spread in groups of neighbours.
    pub fn groups(&self, spread: &Spread) -> Vec<Vec<usize>> {
        let run = self.run(spread);
        let inside: usize = run.iter().map(|b| 1 << b).sum();
        let member =
            |first: usize, n: usize| first + run.iter().enumerate().map(|(k, b)| (n >> k & 1) << b).sum::<usize>();
        let firsts = (0..spread.len()).filter(|r| r & inside == 0);
        firsts.map(|first| (0..1 << run.len()).map(|n| member(first, n)).collect()).collect()
    }
}

impl Lower<'_> {
    /// The bytes that the thread's number stands for.
    pub(crate) fn thread_offset(&mut self, staged: &Staged, spread: &Spread) -> Reg {
        let mut sum = self.b.i32(0);
        for (number, bits) in [(self.lane, &spread.lanes), (self.warp, &spread.warps)] {
            let offset = |n: usize| bits.get(n).copied().flatten().map_or(0, |b| staged.bit(b));
            let mut n = 0;
            while n < bits.len() {
                let first = offset(n);
                if first == 0 {
                    n += 1;
                    continue;
                }
                // Neighbouring bits that stand for neighbouring bits move together.
                let more = 1 + (1..bits.len() - n).take_while(|k| offset(n + k) == first << k).count();
                let part = self.b.shr_const(number, n as u32);
                let part = self.b.and_const(part, (1 << more) - 1);
                let part = self.b.mul_const(part, i64::from(first));
                sum = self.b.binary(Binary::Xor, sum, part);
                n += more;
            }
        }
        sum
    }

    /// The address of a register's element: `thread` is what [`Lower::thread_offset`] gave.
    pub(crate) fn place(&mut self, thread: Reg, offset: u32, base: u32) -> Reg {
        let offset = self.b.i32(offset as i32);
        let at = self.b.binary(Binary::Xor, thread, offset);
        self.b.add_const(at, i64::from(base))
    }

    /// Whether this thread is the one that speaks for those that hold the same.
    pub(crate) fn speaks(&mut self, spread: &Spread) -> Reg {
        let (lanes, warps) = spread.free_bits();
        let zero = self.b.i32(0);
        let mut speaks = self.b.bool(true);
        for (number, free) in [(self.lane, lanes), (self.warp, warps)] {
            if free != 0 {
                let held = self.b.and_const(number, i64::from(free));
                let first = self.b.compare(Compare::Eq, held, zero);
                speaks = self.b.and(speaks, first);
            }
        }
        speaks
    }

    /// Writes registers where the staged tile has them, an element in as many bytes as its carrier has.
    pub(crate) fn stage(&mut self, staged: &Staged, base: u32, held: &Held) {
        self.stage_part(staged, base, held, &[]);
    }

    /// The same of those elements whose positions have these bits.
    pub(crate) fn stage_part(&mut self, staged: &Staged, base: u32, held: &Held, part: &[((DimId, u32), bool)]) {
        let thread = self.thread_offset(staged, &held.spread);
        let mut speaks = self.speaks(&held.spread);
        for (number, bits) in [(self.lane, &held.spread.lanes), (self.warp, &held.spread.warps)] {
            for (bit, set) in part {
                if let Some(at) = bits.iter().position(|b| b == &Some(*bit)) {
                    let held = self.b.shr_const(number, at as u32);
                    let held = self.b.and_const(held, 1);
                    let wanted = self.b.i32(i32::from(*set));
                    let mine = self.b.compare(Compare::Eq, held, wanted);
                    speaks = self.b.and(speaks, mine);
                }
            }
        }
        let in_part = |register: usize| {
            let has =
                |(bit, set): &((DimId, u32), bool)| match held.spread.registers.iter().position(|b| *b == Some(*bit)) {
                    Some(at) => (register >> at & 1 == 1) == *set,
                    None => true,
                };
            part.iter().all(has)
        };
        for group in staged.groups(&held.spread).into_iter().filter(|g| in_part(g[0])) {
            let at = self.place(thread, staged.offset(&held.spread, group[0]), base);
            let units: Vec<(Reg, u8)> = group.iter().map(|r| self.as_unit(held.registers[*r])).collect();
            let bits = units[0].1;
            let units: Vec<Reg> = units.into_iter().map(|u| u.0).collect();
            self.b.store(Space::Shared, bits, at, &units, Some(speaks));
        }
    }

    /// Writes registers as elements of the staged tile's size; `pack` makes words of neighbours, or less of a few.
    pub(crate) fn stage_packed(
        &mut self,
        staged: &Staged,
        base: u32,
        held: &Held,
        mut pack: impl FnMut(&mut Self, &[Reg]) -> Vec<Reg>,
    ) {
        let thread = self.thread_offset(staged, &held.spread);
        let speaks = self.speaks(&held.spread);
        for group in staged.groups(&held.spread) {
            let at = self.place(thread, staged.offset(&held.spread, group[0]), base);
            let elements: Vec<Reg> = group.iter().map(|r| held.registers[*r]).collect();
            let units = pack(self, &elements);
            let bits = (8 * staged.element * group.len() as u32).min(32) as u8;
            self.b.store(Space::Shared, bits, at, &units, Some(speaks));
        }
    }

    /// Reads registers of a carrier from where the staged tile has them.
    pub(crate) fn unstage(&mut self, staged: &Staged, base: u32, spread: &Spread, ty: Ty) -> Vec<Reg> {
        let thread = self.thread_offset(staged, spread);
        let bits = if matches!(ty, Ty::I64 | Ty::F64) { 64 } else { 32 };
        let mut registers: Vec<Option<Reg>> = vec![None; spread.len()];
        for group in staged.groups(spread) {
            let at = self.place(thread, staged.offset(spread, group[0]), base);
            let units = self.b.load(Space::Shared, bits, group.len() as u8, at, None);
            for (r, unit) in group.into_iter().zip(units) {
                registers[r] = Some(self.of_unit(unit, ty));
            }
        }
        registers.into_iter().flatten().collect()
    }

    /// A register as memory's unit, and its bits.
    pub(crate) fn as_unit(&mut self, register: Reg) -> (Reg, u8) {
        match self.b.ty(register) {
            Ty::I32 => (register, 32),
            Ty::I64 => (register, 64),
            Ty::Bool => (self.b.zero_extend(Ty::I32, register), 32),
            Ty::F32 => (self.b.convert(Convert::Bits(Ty::I32), register), 32),
            Ty::F64 => (self.b.convert(Convert::Bits(Ty::I64), register), 64),
        }
    }

    /// The register that [`Lower::as_unit`] made a unit of.
    pub(crate) fn of_unit(&mut self, unit: Reg, ty: Ty) -> Reg {
        match ty {
            Ty::I32 | Ty::I64 => unit,
            Ty::Bool => {
                let zero = self.b.i32(0);
                self.b.compare(Compare::Ne, unit, zero)
            }
            Ty::F32 | Ty::F64 => self.b.convert(Convert::Bits(ty), unit),
        }
    }

    /// Bytes that an element of a register's type takes in shared memory.
    pub(crate) fn unit_bytes(ty: Ty) -> u32 {
        if matches!(ty, Ty::I64 | Ty::F64) { 8 } else { 4 }
    }

    /// All bits of positions along some dims, the last dim's lowest first.
    pub(crate) fn bits_of(&self, dims: &[DimId]) -> Vec<Bit> {
        super::all_bits(self.func, dims)
    }
}

#[cfg(test)]
mod tests {
    use super::Staged;
    use crate::lower::{Bit, Spread};
    use pantile_ir::DimId;

    fn bits(dim: u32, n: u32) -> Vec<Bit> {
        (0..n).map(|p| Some((DimId(dim), p))).collect()
    }

    /// Every element has a place of its own, and eight rows' chunks of one column stand in eight different chunks of 128
    /// bytes: what `ldmatrix` reads at once touches each bank once.
    #[test]
    fn swizzles_are_one_to_one_and_spread_columns() {
        for (fast, slow) in [(4, 6), (5, 5), (6, 4), (7, 7), (3, 4)] {
            let (f, s) = (bits(0, fast), bits(1, slow));
            let staged = Staged::swizzled(&f, &s, 2);
            let spread = Spread { registers: [f, s].concat(), lanes: vec![], warps: vec![] };
            let mut seen: Vec<u32> = (0..spread.len()).map(|r| staged.offset(&spread, r)).collect();
            let column: Vec<u32> = (0..8).map(|row| staged.offset(&spread, row << fast) / 16 % 8).collect();
            seen.sort_unstable();
            assert!(seen.iter().enumerate().all(|(n, o)| *o == 2 * n as u32), "{fast} {slow}");
            let mut banks = column.clone();
            banks.sort_unstable();
            banks.dedup();
            assert_eq!(banks.len(), 8, "{fast} {slow} {column:?}");
        }
    }
}
