//! Matrix products: on tensor cores where there is a form for the dtypes and sizes, else by multiply-adds. Which loads feed
//! them, and when, is not decided here.

use pantile_ir::{DimId, Func, Inst, Op};

use super::form::{Form, Roles};
use super::infer::{Warps, blocked};
use super::operand::Side;
use super::{Lower, Spread, multiply_add};
use crate::Limit;
use crate::kernel::Options;
use crate::schedule::each;
use crate::simt::{Mma, Op as SimtOp, Value as Reg};

/// What computes a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// `wgmma`, of four warps.
    Warpgroup,
    /// `mma.sync`, of one.
    Warp,
    /// Each thread by itself.
    Thread,
}

impl Unit {
    /// Of a product.
    pub fn of(func: &Func, options: &Options, warps: Warps, inst: &Inst, over: &[DimId]) -> Self {
        let Some(form) = Form::of(func, options, inst, over) else { return Self::Thread };
        let has = options.target.has_wgmma() && matches!(form.family.mma, Mma::F16 | Mma::BF16);
        // Four warps have 64 rows together.
        if has && form.m.len() >= 6 && warps.bits >= 2 { Self::Warpgroup } else { Self::Warp }
    }
}

/// The bits of rows of the product of warpgroups that has least of them.
pub(crate) fn rows(func: &Func, options: &Options) -> Option<u32> {
    let mut least: Option<u32> = None;
    each(&func.body, &mut |inst| {
        if let Op::Dot(over) = &inst.op
            && Unit::of(func, options, Warps { bits: 2 }, inst, over) == Unit::Warpgroup
            && let Some(form) = Form::of(func, options, inst, over)
        {
            let rows = form.m.len() as u32;
            least = Some(least.map_or(rows, |l| l.min(rows)));
        }
    });
    least
}

/// What computes an instruction, if it is a product.
#[allow(clippy::wildcard_enum_match_arm, reason = "only dots are products")]
pub(crate) fn unit(func: &Func, options: &Options, warps: Warps, inst: &Inst) -> Option<Unit> {
    match &inst.op {
        Op::Dot(over) => Some(Unit::of(func, options, warps, inst, over)),
        _ => None,
    }
}

/// How a product's result is spread.
pub(crate) fn spread(func: &Func, options: &Options, warps: Warps, inst: &Inst, over: &[DimId]) -> Spread {
    match Form::of(func, options, inst, over) {
        Some(form) => form.accumulator(warps),
        None => multiply_add::patches(func, warps, &Roles::of(func, inst, over)),
    }
}

impl<'f> Lower<'f> {
    /// A product; the result is a scalar if nothing is left.
    pub(crate) fn dot(&mut self, inst: &'f Inst, over: &[DimId]) -> Result<(), Limit> {
        if let Some(form) = Form::of(self.func, self.options, inst, over) {
            if Unit::of(self.func, self.options, self.warps, inst, over) == Unit::Warpgroup {
                return self.warpgroup_product(inst, &form);
            }
            return self.tensor_core(inst, &form);
        }
        let roles = Roles::of(self.func, inst, over);
        let result = inst.results[0];
        let spread = match self.spread_of(result) {
            Some(spread) => spread.clone(),
            None => blocked(self.func, self.warps, [], 0),
        };
        let sums = self.multiply_add(inst, &roles, &spread)?;
        if self.is_scalar(result) {
            self.scope.scalars.insert(result, sums[0]);
        } else {
            self.hold(result, spread, sums);
        }
        Ok(())
    }

    fn tensor_core(&mut self, inst: &'f Inst, form: &Form) -> Result<(), Limit> {
        let (acc, left, right) = (form.accumulator(self.warps), form.left(self.warps), form.right(self.warps));
        let sides = [(Side::Left, inst.args[0], &left, &form.m), (Side::Right, inst.args[1], &right, &form.n)];
        let [a, b] = self.fragments(form, sides)?;
        let sum = form.sum();
        let zero = self.b.constant(sum, 0);
        let mut sums = vec![zero; acc.len()];
        // Registers of one instruction: 4 sums, 4 of the left operand, 2 of the right.
        let steps = form.steps();
        let column_bits = acc.registers.iter().filter(|b| form.n[3..].contains(b)).count();
        let (rows, columns) = ((sums.len() / 4) >> column_bits, 1 << column_bits);
        for step in 0..steps {
            let a: Vec<Vec<Reg>> = (0..rows).map(|row| self.fragment(&a, row * steps + step, 4)).collect();
            let b = self.columns(&b, columns, steps, step);
            for (row, a) in a.iter().enumerate() {
                for (column, b) in b.iter().enumerate() {
                    let sums = &mut sums[4 * (row * columns + column)..][..4];
                    let args: Vec<Reg> = a.iter().chain(b).chain(sums.iter()).copied().collect();
                    let next = self.b.emit(SimtOp::Mma(form.family.mma), &args, &[sum; 4]);
                    sums.copy_from_slice(&next);
                }
            }
        }
        self.hold(inst.results[0], acc, sums);
        Ok(())
    }
}
