//! Ops along one dim whose result has one element a row: the lane of an extreme, the k-th largest. They work in whatever
//! spread the operand has. Scans, sorts, gathers and masks have files of their own.

use pantile_ir::{ArgOp, DType, DimId, Inst, Op, Scalar, eval};

use super::keys::{self, Ordering};
use super::{Held, Lower};
use crate::Limit;
use crate::element;
use crate::simt::{Binary, Compare, Convert, Ty, Value as Reg};

impl<'f> Lower<'f> {
    /// An op along dims that is neither a reduction nor a dot, or one on masks.
    #[allow(clippy::wildcard_enum_match_arm, reason = "no other op comes here")]
    pub(crate) fn row_op(&mut self, inst: &'f Inst) -> Result<(), Limit> {
        match &inst.op {
            Op::ArgReduce(op, dim) => self.arg_reduce(inst, *op, *dim),
            Op::KthLargest(dim) => self.kth_largest(inst, *dim),
            Op::Scan(op, dim) => self.scan(inst, *op, *dim),
            Op::Sort { dim, descending } => self.sort(inst, *dim, *descending),
            Op::Gather(dim) => self.gather(inst, *dim),
            Op::Split { from, into } => self.reshape(inst, std::slice::from_ref(from), into),
            Op::Merge { from, into } => self.reshape(inst, from, std::slice::from_ref(into)),
            Op::MaskGet(param) => self.mask_get(inst, *param),
            Op::MaskPut(param, index) => self.mask_put(inst, *param, index),
            Op::Print(label) => self.print(inst, label),
            Op::Assert(message) => self.assert(inst, message),
            op => Err(self.bug(format!("{op:?} is not along a dim"))),
        }
    }

    /// The lane of an extreme: the greatest key, and of equals the first lane.
    fn arg_reduce(&mut self, inst: &'f Inst, op: ArgOp, dim: DimId) -> Result<(), Limit> {
        let dtype = self.dtype(inst.args[0]);
        let Held { spread, registers } = self.anyhow(inst.args[0])?;
        let how = Ordering { reversed: op == ArgOp::ArgMin, nans_last: true };
        let values = registers.into_iter().map(|x| {
            // Zeros of both signs are equal.
            let x = if dtype.is_float() { self.plus_zero(dtype, x) } else { x };
            keys::key(&mut self.b, dtype, how, x)
        });
        let values: Vec<Reg> = values.collect();
        let lanes = self.lanes(&spread, dim);
        let (spread, columns) = self.fold_columns(&spread, &[dim], &[values, lanes], |l, a, x| {
            let greater = l.b.compare(Compare::Gt, x[0], a[0]);
            let same = l.b.compare(Compare::Eq, x[0], a[0]);
            let before = l.b.compare(Compare::Lt, x[1], a[1]);
            let first = l.b.and(same, before);
            let takes = l.b.binary(Binary::Or, greater, first);
            vec![l.b.select(takes, x[0], a[0]), l.b.select(takes, x[1], a[1])]
        })?;
        let lanes = self.widen(columns[1].clone());
        self.give(inst, spread, lanes);
        Ok(())
    }

    fn plus_zero(&mut self, dtype: DType, x: Reg) -> Reg {
        let zero = self.constant(dtype, Scalar::Float(0.0));
        self.b.add(x, zero)
    }

    /// The greatest number that at least k elements reach, found bit by bit from the highest: each round counts.
    fn kth_largest(&mut self, inst: &'f Inst, dim: DimId) -> Result<(), Limit> {
        let (dtype, keep) = (self.dtype(inst.args[0]), self.dims(inst.results[0]));
        let k = self.scalar(inst.args[1])?;
        let len = self.block(dim)?.len;
        let k = self.clamped(k, len);
        let Held { spread, registers } = self.anyhow(inst.args[0])?;
        let how = Ordering { reversed: false, nans_last: false };
        let all: Vec<Reg> = registers
            .into_iter()
            .map(|x| {
                let key = keys::key(&mut self.b, dtype, how, x);
                keys::flip(&mut self.b, key)
            })
            .collect();
        let ty = self.b.ty(all[0]);
        let rows = spread.only(keep);
        let highest = self.b.constant(ty, if ty == Ty::I64 { 1 << 63 } else { 1 << 31 });
        let none = self.b.constant(ty, 0);
        let last = self.b.constant(ty, 1 << keys::spare_bits(dtype));
        let inits: Vec<Reg> = [highest].into_iter().chain(vec![none; rows.len()]).collect();
        let types = vec![ty; inits.len()];
        let test = self.b.open_with(&types);
        let goes_on = self.b.compare(Compare::UGe, test[0], last);
        let test = self.b.close(vec![goes_on]);
        let carried = self.b.open_with(&types);
        self.shared_in_use = true;
        let wanted: Vec<Reg> = carried[1..].iter().map(|found| self.b.binary(Binary::Or, *found, carried[0])).collect();
        let reach = (0..spread.len()).map(|r| {
            let reaches = self.b.compare(Compare::UGe, all[r], wanted[spread.register_of_only(r, keep)]);
            self.b.zero_extend(Ty::I32, reaches)
        });
        let reach = reach.collect();
        let (_, counts) = self.fold_columns(&spread, &[dim], &[reach], |l, a, x| vec![l.b.add(a[0], x[0])])?;
        let found = wanted.iter().zip(&counts[0]).zip(&carried[1..]).map(|((wanted, count), found)| {
            let enough = self.b.compare(Compare::Ge, *count, k);
            self.b.select(enough, *wanted, *found)
        });
        let found: Vec<Reg> = found.collect();
        let next = self.b.shr_const(carried[0], 1);
        let body = self.b.close([next].into_iter().chain(found).collect());
        let found = self.b.looped(inits, test, body);
        let zero = self.b.i32(0);
        let empty = self.b.compare(Compare::Eq, len, zero);
        let lowest = self.constant(dtype, eval::lowest(dtype));
        let elements = found[1..].iter().map(|found| {
            let key = keys::flip(&mut self.b, *found);
            let x = keys::element_of(&mut self.b, dtype, how, key);
            element::select(&mut self.b, empty, lowest, x)
        });
        let elements = elements.collect();
        self.give(inst, rows, elements);
        Ok(())
    }

    /// An i64 within 1 and a length, as I32; 1 where the length is 0.
    fn clamped(&mut self, k: Reg, len: Reg) -> Reg {
        let one = self.b.i64(1);
        let len = self.b.sign_extend(len);
        let k = self.b.binary(Binary::Min, k, len);
        let k = self.b.binary(Binary::Max, k, one);
        self.b.convert(Convert::Truncate, k)
    }

    /// Stops the launch where a bool that should hold does not.
    pub(crate) fn assert(&mut self, inst: &'f Inst, message: &str) -> Result<(), Limit> {
        if !self.options.checks {
            return Ok(());
        }
        let value = inst.args[0];
        let mut fails = self.b.bool(false);
        let (registers, valid) = if self.is_scalar(value) {
            (vec![self.scalar(value)?], vec![self.b.bool(true)])
        } else {
            let held = self.anyhow(value)?;
            let valid = self.all_valid(value, &held.spread)?;
            (held.registers, valid)
        };
        for (x, valid) in registers.into_iter().zip(valid) {
            let not = element::unary(&mut self.b, pantile_ir::UnaryOp::Not, DType::Bool, x);
            let not = self.b.and(not, valid);
            fails = self.b.binary(Binary::Or, fails, not);
        }
        self.fault_if(fails, format!("assertion failed: {message}"), inst.span);
        Ok(())
    }
}
