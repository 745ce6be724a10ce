//! Combines the elements of rows along one dim where an element is several numbers: over a thread's registers, then lanes,
//! then warps. Reductions of one number each are `reduce.rs`'s business.

use pantile_ir::{DimId, Inst, Value};

use super::staged::Staged;
use super::{Held, Lower, Spread};
use crate::Limit;
use crate::element;
use crate::simt::{Shuffle, Value as Reg};

/// One vector of registers for each number that an element has.
pub(crate) type Columns = Vec<Vec<Reg>>;

impl<'f> Lower<'f> {
    /// A tile in the spread that it is made in, or in some spread.
    pub(crate) fn anyhow(&mut self, value: Value) -> Result<Held, Limit> {
        let spread = match self.spread_of(value) {
            Some(spread) => spread.clone(),
            None => super::infer::blocked(self.func, self.warps, self.dims(value).iter().rev().copied(), 0),
        };
        let registers = self.at(value, &spread)?;
        Ok(Held { spread, registers })
    }

    /// Keeps the one result of an instruction, a tile or a scalar.
    pub(crate) fn give(&mut self, inst: &'f Inst, spread: Spread, registers: Vec<Reg>) {
        let result = inst.results[0];
        if self.is_scalar(result) {
            self.scope.scalars.insert(result, registers[0]);
        } else {
            self.hold(result, spread, registers);
        }
    }

    /// Combines all elements along a dim, in any order. The result is the spread of the dims that are kept, the same in all
    /// threads that held the others.
    pub(crate) fn fold_columns(
        &mut self,
        whole: &Spread,
        dim: DimId,
        keep: &[DimId],
        columns: Columns,
        mut combine: impl FnMut(&mut Self, &[Reg], &[Reg]) -> Vec<Reg>,
    ) -> (Spread, Columns) {
        let spread = whole.only(keep);
        let mut sums: Vec<Option<Vec<Reg>>> = vec![None; spread.len()];
        for r in 0..whole.len() {
            let one: Vec<Reg> = columns.iter().map(|c| c[r]).collect();
            let sum = &mut sums[whole.register_of_only(r, keep)];
            *sum = Some(match sum.take() {
                Some(sum) => combine(self, &sum, &one),
                None => one,
            });
        }
        let mut sums: Vec<Vec<Reg>> = sums.into_iter().flatten().collect();
        let along = |bit: &super::Bit| bit.is_some_and(|(d, _)| d == dim);
        for n in (0..whole.lanes.len()).filter(|n| along(&whole.lanes[*n])) {
            for sum in &mut sums {
                let other: Vec<Reg> = sum.iter().map(|x| self.b.shuffle(Shuffle::Xor(1 << n), *x, None)).collect();
                *sum = combine(self, sum, &other);
            }
        }
        if whole.warps.iter().any(along) {
            sums = self.fold_warps_of(whole, &spread, dim, sums, combine);
        }
        let columns = (0..columns.len()).map(|c| sums.iter().map(|s| s[c]).collect()).collect();
        (spread, columns)
    }

    /// The warps' sums are a tile of which the dim's bits are those that warps hold; every thread reads them all.
    fn fold_warps_of(
        &mut self,
        whole: &Spread,
        spread: &Spread,
        dim: DimId,
        sums: Vec<Vec<Reg>>,
        mut combine: impl FnMut(&mut Self, &[Reg], &[Reg]) -> Vec<Reg>,
    ) -> Vec<Vec<Reg>> {
        let along = |bit: &&super::Bit| bit.is_some_and(|(d, _)| d == dim);
        let parts: Vec<super::Bit> = whole.warps.iter().filter(along).copied().collect();
        let warps = whole.warps.iter().zip(&spread.warps);
        let warps = warps.map(|(own, kept)| if along(&own) { *own } else { *kept }).collect();
        let writer = Spread { registers: spread.registers.clone(), lanes: spread.lanes.clone(), warps };
        let registers = spread.registers.iter().chain(&parts).copied().collect();
        let reader = Spread { registers, ..spread.clone() };
        let totals = self.through(&writer, &reader, sums);
        let rows = spread.len();
        (0..rows)
            .map(|row| {
                let mut all = (row..totals.len()).step_by(rows).map(|n| totals[n].clone());
                let first = all.next().unwrap_or_default();
                all.fold(first, |a, x| combine(self, &a, &x))
            })
            .collect()
    }

    /// Elements of several numbers, from one spread into another through shared memory. Both have the same bits.
    pub(crate) fn through(&mut self, from: &Spread, to: &Spread, elements: Vec<Vec<Reg>>) -> Vec<Vec<Reg>> {
        let bits: Vec<super::Bit> = bits_in(from);
        let types: Vec<_> = elements[0].iter().map(|x| self.b.ty(*x)).collect();
        let staged: Vec<Staged> = types.iter().map(|ty| Staged::plain(bits.clone(), Self::unit_bytes(*ty))).collect();
        // The widest first: a column's base is then a multiple of its size.
        let bytes = staged.iter().map(|s| s.bytes.max(16)).collect::<Vec<_>>();
        let base = self.scratch(bytes.iter().sum());
        let bases: Vec<u32> = (0..bytes.len()).map(|n| base + bytes[..n].iter().sum::<u32>()).collect();
        for (c, staged) in staged.iter().enumerate() {
            let registers = elements.iter().map(|e| e[c]).collect();
            self.stage(staged, bases[c], &Held { spread: from.clone(), registers });
        }
        self.meet();
        let columns: Columns = (0..types.len()).map(|c| self.unstage(&staged[c], bases[c], to, types[c])).collect();
        (0..to.len()).map(|r| columns.iter().map(|c| c[r]).collect()).collect()
    }

    /// Registers cast from one dtype to another.
    pub(crate) fn cast_all(&mut self, from: pantile_ir::DType, to: pantile_ir::DType, registers: Vec<Reg>) -> Vec<Reg> {
        registers.into_iter().map(|r| element::cast(&mut self.b, from, to, r)).collect()
    }
}

/// The bits that a spread holds: those of lanes first, so that a warp touches neighbours.
pub(crate) fn bits_in(spread: &Spread) -> Vec<super::Bit> {
    spread.lanes.iter().chain(&spread.registers).chain(&spread.warps).filter(|b| b.is_some()).copied().collect()
}
