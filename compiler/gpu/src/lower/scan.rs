//! Running reductions along a dim, in whatever spread the operand has. Elements are combined in blocks that double: what is
//! before an element in its block, and what the block holds in all. From one size to the next each element meets its
//! partner in the other half, which is another register, lane or warp.

use std::collections::HashMap;

use pantile_ir::{BinaryOp, DType, DimId, Inst, ScanOp};

use super::fold::bits_in;
use super::staged::Staged;
use super::{Bit, Held, Lower, Spread};
use crate::Limit;
use crate::element;
use crate::simt::{Compare, Shuffle, Space, Value as Reg};

impl<'f> Lower<'f> {
    /// A running reduction.
    pub(crate) fn scan(&mut self, inst: &'f Inst, op: ScanOp, dim: DimId) -> Result<(), Limit> {
        let from = self.dtype(inst.args[0]);
        let (op, wide) = match op {
            ScanOp::CumSum => (BinaryOp::Add, from.accumulator()),
            ScanOp::CumMax => (BinaryOp::Max, from),
        };
        let Held { spread, registers } = self.anyhow(inst.args[0])?;
        let registers = self.cast_all(from, wide, registers);
        let running = self.running(op, wide, &spread, dim, registers)?;
        let running = self.cast_all(wide, from, running);
        self.give(inst, spread, running);
        Ok(())
    }

    fn running(
        &mut self,
        op: BinaryOp,
        dtype: DType,
        spread: &Spread,
        dim: DimId,
        mut running: Vec<Reg>,
    ) -> Result<Vec<Reg>, Limit> {
        let mut total = running.clone();
        for power in 0..self.bits(dim) {
            let (others, upper) = self.partners(spread, (dim, power), &total)?;
            let mut sums: HashMap<(Reg, Reg), Reg> = HashMap::new();
            for r in 0..spread.len() {
                let more = element::binary(&mut self.b, op, dtype, others[r], running[r]);
                running[r] = self.b.select(upper[r], more, running[r]);
                let pair = (total[r].min(others[r]), total[r].max(others[r]));
                let b = &mut self.b;
                total[r] = *sums.entry(pair).or_insert_with(|| element::binary(b, op, dtype, pair.0, pair.1));
            }
        }
        Ok(running)
    }

    /// What the partners across one bit of a dim's positions hold, of registers that are the same along lower bits; and
    /// whether each register is in the upper half.
    fn partners(
        &mut self,
        spread: &Spread,
        bit: (DimId, u32),
        registers: &[Reg],
    ) -> Result<(Vec<Reg>, Vec<Reg>), Limit> {
        let find = |bits: &[Bit]| bits.iter().position(|b| *b == Some(bit));
        if let Some(n) = find(&spread.registers) {
            let upper = (0..spread.len()).map(|r| self.b.bool(r >> n & 1 == 1)).collect();
            return Ok(((0..spread.len()).map(|r| registers[r ^ 1 << n]).collect(), upper));
        }
        if let Some(n) = find(&spread.lanes) {
            let upper = self.is_set(self.lane, n);
            let mut known: HashMap<Reg, Reg> = HashMap::new();
            let b = &mut self.b;
            let others =
                registers.iter().map(|r| *known.entry(*r).or_insert_with(|| b.shuffle(Shuffle::Xor(1 << n), *r, None)));
            return Ok((others.collect(), vec![upper; spread.len()]));
        }
        let Some(n) = find(&spread.warps) else { return Err(self.bug("a position's bit is nowhere")) };
        let upper = self.is_set(self.warp, n);
        Ok((self.other_warps(spread, bit, registers), vec![upper; spread.len()]))
    }

    /// Whether a bit of the thread's number is set.
    fn is_set(&mut self, number: Reg, bit: usize) -> Reg {
        let part = self.b.and_const(number, 1 << bit);
        let zero = self.b.i32(0);
        self.b.compare(Compare::Ne, part, zero)
    }

    /// Partners in another warp: through shared memory, each element once.
    fn other_warps(&mut self, spread: &Spread, bit: (DimId, u32), registers: &[Reg]) -> Vec<Reg> {
        let same = |b: &Bit| b.is_some_and(|(d, power)| d == bit.0 && power < bit.1);
        let thin = |bits: &[Bit]| bits.iter().map(|b| b.filter(|_| !same(b))).collect();
        let kept: Vec<usize> = (0..spread.registers.len()).filter(|n| !same(&spread.registers[*n])).collect();
        let distinct = Spread {
            registers: kept.iter().map(|n| spread.registers[*n]).collect(),
            lanes: thin(&spread.lanes),
            warps: thin(&spread.warps),
        };
        let first = |n: usize| kept.iter().enumerate().map(|(k, at)| (n >> k & 1) << at).sum::<usize>();
        let own: Vec<Reg> = (0..distinct.len()).map(|n| registers[first(n)]).collect();
        let ty = self.b.ty(own[0]);
        let staged = Staged::plain(bits_in(&distinct), Self::unit_bytes(ty));
        let flip = Spread { registers: vec![Some(bit)], lanes: Vec::new(), warps: Vec::new() };
        let flip = staged.offset(&flip, 1);
        let base = self.scratch(staged.bytes);
        self.stage(&staged, base, &Held { spread: distinct.clone(), registers: own });
        self.meet();
        let thread = self.thread_offset(&staged, &distinct);
        let read = (0..distinct.len()).map(|n| {
            let at = self.place(thread, staged.offset(&distinct, n) ^ flip, base);
            let unit = self.b.load(Space::Shared, 8 * staged.element as u8, 1, at, None)[0];
            self.of_unit(unit, ty)
        });
        let read: Vec<Reg> = read.collect();
        let number = |r: usize| kept.iter().enumerate().map(|(k, at)| (r >> at & 1) << k).sum::<usize>();
        (0..spread.len()).map(|r| read[number(r)]).collect()
    }
}
