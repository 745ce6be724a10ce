//! Combines the elements of rows along dims, each of one or several numbers, as `layout/` plans it: a thread's registers, then
//! lanes, then warps. What is combined is `reduce.rs`'s and `rows.rs`'s business.

use pantile_ir::{DType, DimId, Inst, Value};

use super::linear::carried;
use super::{Held, Lower, Spread};
use crate::Limit;
use crate::element;
use crate::layout::access::WIDEST;
use crate::layout::reduce::{Across, Reduction};
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

    /// Combines all elements along dims, in any order. The result is the spread of the dims that are kept, the same in all
    /// threads that held the others.
    pub(crate) fn fold_columns(
        &mut self,
        whole: &Spread,
        over: &[DimId],
        columns: &[Vec<Reg>],
        mut combine: impl FnMut(&mut Self, &[Reg], &[Reg]) -> Vec<Reg>,
    ) -> Result<(Spread, Columns), Limit> {
        let tile = self.planned(whole.layout())?;
        let (over, keep): (Vec<DimId>, Vec<DimId>) = tile.outs().names().partition(|d| over.contains(d));
        let dtypes: Vec<DType> = columns.iter().map(|c| carried(self.b.ty(c[0]))).collect();
        let plans = dtypes.iter().map(|dtype| Reduction::plan(&tile, &over, dtype.bytes() as u32));
        let plans = self.planned(plans.collect::<Result<Vec<_>, _>>())?;
        let Some(plan) = plans.first() else { return Err(self.bug("elements of no number")) };
        let mut sums: Vec<Vec<Reg>> = Vec::new();
        for pieces in &plan.own {
            let mut pieces = pieces.iter().map(|r| columns.iter().map(|c| c[*r as usize]).collect::<Vec<Reg>>());
            let first = pieces.next().unwrap_or_default();
            sums.push(pieces.fold(first, |sum, one| combine(self, &sum, &one)));
        }
        for step in &plan.lanes {
            let partner = |l: &mut Self, r: usize| -> Vec<Reg> {
                let theirs = &sums[r ^ step.registers as usize];
                theirs.iter().map(|x| l.b.shuffle(Shuffle::Xor(step.lanes as u32), *x, None)).collect()
            };
            let others: Vec<Vec<Reg>> = (0..sums.len()).map(|r| partner(self, r)).collect();
            sums = sums.iter().zip(&others).map(|(sum, other)| combine(self, sum, other)).collect();
        }
        let across: Option<Vec<&Across>> = plans.iter().map(|plan| plan.warps.as_ref()).collect();
        let mut sums = transposed(&sums, columns.len());
        if let Some(across) = across {
            sums = self.fold_warps(&dtypes, &across, &sums, combine);
        }
        Ok((whole.only(&keep), sums))
    }

    /// Each warp puts its sums into a slot of shared memory, and all take the sums of all slots that they need.
    fn fold_warps(
        &mut self,
        dtypes: &[DType],
        across: &[&Across],
        sums: &[Vec<Reg>],
        mut combine: impl FnMut(&mut Self, &[Reg], &[Reg]) -> Vec<Reg>,
    ) -> Columns {
        // Each column starts at a multiple of the widest access.
        let size = |plan: &&Across| ((plan.slots * plan.stride) as u32 * plan.store.bytes).next_multiple_of(WIDEST);
        let base = self.scratch(across.iter().map(size).sum());
        let start = |column: usize| base + across[..column].iter().map(size).sum::<u32>();
        for (c, plan) in across.iter().enumerate() {
            self.put(dtypes[c], &plan.store, start(c), &sums[c]);
        }
        self.meet();
        let slot = |l: &mut Self, slot: u64| -> Vec<Vec<Reg>> {
            let column = |(c, plan): (usize, &&Across)| {
                let at = (slot * plan.stride) as u32 * plan.load.bytes;
                l.take(dtypes[c], &plan.load, start(c) + at)
            };
            let columns: Columns = across.iter().enumerate().map(column).collect();
            transposed(&columns, sums[0].len())
        };
        let mut totals = slot(self, 0);
        for n in 1..across[0].slots {
            let more = slot(self, n);
            totals = totals.iter().zip(&more).map(|(total, one)| combine(self, total, one)).collect();
        }
        transposed(&totals, across.len())
    }

    /// Registers cast from one dtype to another.
    pub(crate) fn cast_all(&mut self, from: DType, to: DType, registers: Vec<Reg>) -> Vec<Reg> {
        registers.into_iter().map(|r| element::cast(&mut self.b, from, to, r)).collect()
    }
}

/// Rows as columns; `count` of them.
fn transposed(rows: &[Vec<Reg>], count: usize) -> Vec<Vec<Reg>> {
    (0..count).map(|c| rows.iter().map(|row| row[c]).collect()).collect()
}
