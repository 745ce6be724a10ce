//! Reductions: over a thread's registers, then lanes, then warps. What `argmax` and running reductions do stands elsewhere.

use pantile_ir::{DimId, Inst, ReduceOp};

use super::staged::Staged;
use super::{Bit, Lower, Spread};
use crate::Limit;
use crate::element;
use crate::simt::{Shuffle, Value as Reg};

impl<'f> Lower<'f> {
    /// Reduces dims away; the result is a scalar if none are left.
    pub(crate) fn reduce(&mut self, inst: &'f Inst, op: ReduceOp, over: &[DimId]) -> Result<(), Limit> {
        let (arg, result) = (inst.args[0], inst.results[0]);
        let whole = match self.spread_of(arg) {
            Some(spread) => spread.clone(),
            None => super::infer::blocked(self.func, self.warps, self.dims(arg).iter().rev().copied(), 0),
        };
        let from = self.dtype(arg);
        let wide = if op == ReduceOp::Sum || op == ReduceOp::Prod { from.accumulator() } else { from };
        let registers = self.at(arg, &whole)?;
        let registers: Vec<Reg> = registers.into_iter().map(|r| element::cast(&mut self.b, from, wide, r)).collect();
        let keep = self.dims(result);
        let combine = |l: &mut Self, a: Reg, x: Reg| element::combine(&mut l.b, op, wide, a, x);
        let (spread, registers) = self.fold(whole, registers, over, keep, combine)?;
        let to = self.dtype(result);
        let registers: Vec<Reg> = registers.into_iter().map(|r| element::cast(&mut self.b, wide, to, r)).collect();
        if keep.is_empty() {
            self.scope.scalars.insert(result, registers[0]);
        } else {
            self.hold(result, spread, registers);
        }
        Ok(())
    }

    /// Combines all elements along dims. The result is the spread of what is kept, the same in all that held the others.
    fn fold(
        &mut self,
        whole: Spread,
        registers: Vec<Reg>,
        over: &[DimId],
        keep: &[DimId],
        mut combine: impl FnMut(&mut Self, Reg, Reg) -> Reg,
    ) -> Result<(Spread, Vec<Reg>), Limit> {
        let spread = whole.only(keep);
        let mut sums: Vec<Option<Reg>> = vec![None; spread.len()];
        for (r, register) in registers.iter().enumerate() {
            let sum = &mut sums[whole.register_of_only(r, keep)];
            *sum = Some(match *sum {
                Some(sum) => combine(self, sum, *register),
                None => *register,
            });
        }
        let mut sums: Vec<Reg> = sums.into_iter().flatten().collect();
        let reduced = |bit: &Bit| bit.is_some_and(|(d, _)| over.contains(&d));
        for n in (0..whole.lanes.len()).filter(|n| reduced(&whole.lanes[*n])) {
            for sum in &mut sums {
                let other = self.b.shuffle(Shuffle::Xor(1 << n), *sum, None);
                *sum = combine(self, *sum, other);
            }
        }
        let warps: Vec<usize> = (0..whole.warps.len()).filter(|n| reduced(&whole.warps[*n])).collect();
        if !warps.is_empty() {
            sums = self.fold_warps(&spread, &warps, sums, keep, combine)?;
        }
        Ok((spread, sums))
    }

    /// Each warp puts its sums into shared memory, and all take all of those that they need.
    fn fold_warps(
        &mut self,
        spread: &Spread,
        bits: &[usize],
        sums: Vec<Reg>,
        keep: &[DimId],
        mut combine: impl FnMut(&mut Self, Reg, Reg) -> Reg,
    ) -> Result<Vec<Reg>, Limit> {
        let ty = self.b.ty(sums[0]);
        let staged = Staged::plain(self.bits_of(keep), Self::unit_bytes(ty));
        let copies = 1u32 << bits.len();
        let base = self.scratch(staged.bytes * copies);
        // A warp's copy is named by its bits that are reduced; its others mean what the spread says, or nothing.
        let mut copy = self.b.i32(0);
        for (n, bit) in bits.iter().enumerate() {
            let part = self.b.shr_const(self.warp, *bit as u32);
            let part = self.b.and_const(part, 1);
            let part = self.b.mul_const(part, i64::from(staged.bytes) << n);
            copy = self.b.add(copy, part);
        }
        let mut writer = spread.clone();
        // Warps that differ in reduced bits write to places of their own: for them these bits are not free.
        let marker = DimId(u32::MAX);
        bits.iter().for_each(|bit| writer.warps[*bit] = Some((marker, 0)));
        let thread = self.thread_offset(&staged, &writer);
        let thread = self.b.add(thread, copy);
        let speaks = self.speaks(&writer);
        for (r, sum) in sums.iter().enumerate() {
            let at = self.place(thread, staged.offset(spread, r), base);
            let (unit, bits) = self.as_unit(*sum);
            self.b.store(crate::simt::Space::Shared, bits, at, &[unit], Some(speaks));
        }
        self.meet();
        let mut totals = self.unstage(&staged, base, spread, ty);
        for n in 1..copies {
            let more = self.unstage(&staged, base + n * staged.bytes, spread, ty);
            totals = totals.into_iter().zip(more).map(|(a, x)| combine(self, a, x)).collect();
        }
        Ok(totals)
    }
}
