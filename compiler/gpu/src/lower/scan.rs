//! Running reductions along a dim, in whatever spread the operand has. Elements are combined in blocks that double: what is
//! before an element in its block, and what the block holds in all. From one size to the next each element meets its
//! partner in the other half, which is another register, lane or warp.

use std::collections::HashMap;

use pantile_ir::{BinaryOp, DType, DimId, Inst, ScanOp};

use super::linear::carried;
use super::{Held, Lower, Spread};
use crate::Limit;
use crate::element;
use crate::layout::convert::Exchange;
use crate::layout::{Distributed, Place};
use crate::simt::{Binary, Compare, Shuffle, Value as Reg};

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
        let tile = self.planned(spread.layout())?;
        for power in 0..self.bits(dim) {
            let Partners { others, upper } = self.partners(&tile, (dim, power), &total)?;
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
    fn partners(&mut self, tile: &Distributed, bit: (DimId, u32), registers: &[Reg]) -> Result<Partners, Limit> {
        let position = tile.outs().shift(bit.0) + bit.1;
        let Some(apart) = tile.matrix().solve(1 << position) else {
            return Err(self.bug("a position's bit is nowhere"));
        };
        let [own, lane, warp] = [Place::Register, Place::Lane, Place::Warp].map(|p| tile.ins().part(apart, p));
        let of_thread = self.sum_of_thread(0, |place| tile.columns(place).iter().map(|c| c >> position & 1).collect());
        let zero = self.b.i32(0);
        let of_thread = self.b.compare(Compare::Ne, of_thread, zero);
        let upper = (0..registers.len() as u64).map(|r| {
            let of_register = self.b.bool(tile.matrix().apply(r) >> position & 1 == 1);
            self.b.binary(Binary::Xor, of_thread, of_register)
        });
        let upper = upper.collect();
        if warp != 0 {
            return Ok(Partners { others: self.other_warps(tile, bit, registers)?, upper });
        }
        let mut known: HashMap<Reg, Reg> = HashMap::new();
        let others = (0..registers.len()).map(|r| {
            let theirs = registers[r ^ own as usize];
            let b = &mut self.b;
            match lane {
                0 => theirs,
                lane => *known.entry(theirs).or_insert_with(|| b.shuffle(Shuffle::Xor(lane as u32), theirs, None)),
            }
        });
        Ok(Partners { others: others.collect(), upper })
    }

    /// Partners in another warp: through shared memory, each block once.
    fn other_warps(&mut self, tile: &Distributed, bit: (DimId, u32), registers: &[Reg]) -> Result<Vec<Reg>, Limit> {
        let dtype = carried(self.b.ty(registers[0]));
        let blocks = tile.blocks(bit.0, bit.1);
        let plan = self.planned(Exchange::plan(&blocks, &blocks, dtype.bytes() as u32))?;
        let place = self.planned(plan.memory.inverse())?;
        let next = place.matrix().apply(1 << blocks.outs().shift(bit.0));
        let base = self.scratch(plan.size() as u32);
        self.put(dtype, &plan.store, base, registers);
        self.meet();
        Ok(self.take(dtype, &plan.load.apart(next), base))
    }
}

/// One a register.
struct Partners {
    /// What the partner holds.
    others: Vec<Reg>,
    /// Whether this one's positions come after its partner's.
    upper: Vec<Reg>,
}
