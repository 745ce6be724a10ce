//! Reductions of tiles: in which dtype, and what of. How elements meet is `fold.rs`'s business.

use pantile_ir::{DimId, Inst, ReduceOp};

use super::{Held, Lower};
use crate::Limit;
use crate::element;
use crate::simt::Value as Reg;

impl<'f> Lower<'f> {
    /// Reduces dims away; the result is a scalar if none are left.
    pub(crate) fn reduce(&mut self, inst: &'f Inst, op: ReduceOp, over: &[DimId]) -> Result<(), Limit> {
        let (arg, result) = (inst.args[0], inst.results[0]);
        let Held { spread: whole, registers } = self.anyhow(arg)?;
        let from = self.dtype(arg);
        let wide = if op == ReduceOp::Sum || op == ReduceOp::Prod { from.accumulator() } else { from };
        let columns = [self.cast_all(from, wide, registers)];
        let combine = |l: &mut Self, a: &[Reg], x: &[Reg]| vec![element::combine(&mut l.b, op, wide, a[0], x[0])];
        let (spread, columns) = self.fold_columns(&whole, over, &columns, combine)?;
        let registers = self.cast_all(wide, self.dtype(result), columns.concat());
        self.give(inst, spread, registers);
        Ok(())
    }
}
