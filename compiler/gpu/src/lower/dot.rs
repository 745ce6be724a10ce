//! Matrix products: on tensor cores where there is a form for the dtypes and sizes, else by multiply-adds. Which loads feed
//! them, and when, is not decided here.

use pantile_ir::{DType, DimId, Func, Inst, Kind};

use super::form::{Form, Roles};
use super::infer::{Warps, blocked};
use super::operand::Side;
use super::staged::Staged;
use super::{Bit, Held, LANE_BITS, Lower, Spread, all_bits};
use crate::Limit;
use crate::element;
use crate::kernel::Options;
use crate::simt::{Op, Space, Ty, Value as Reg};

/// How a product's result is spread.
pub(crate) fn spread(func: &Func, options: &Options, warps: Warps, inst: &Inst, over: &[DimId]) -> Spread {
    match Form::of(func, options, inst, over) {
        Some(form) => form.accumulator(warps),
        None => patches(func, warps, &Roles::of(func, inst, over)),
    }
}

/// Patches of rows × columns in each thread, so that what is read from shared memory is used several times.
fn patches(func: &Func, warps: Warps, roles: &Roles) -> Spread {
    let (mut n, mut m) = (all_bits(func, &roles.n), all_bits(func, &roles.m));
    m.extend(all_bits(func, &roles.batch));
    let take = |from: &mut Vec<Bit>, count: usize| from.drain(..count.min(from.len())).collect::<Vec<Bit>>();
    let mut registers = take(&mut n, 2);
    let mut lanes = take(&mut n, 3);
    lanes.extend(take(&mut m, LANE_BITS - lanes.len()));
    let more = LANE_BITS - lanes.len();
    lanes.extend(take(&mut n, more));
    lanes.resize(LANE_BITS, None);
    let mut of_warps: Vec<Bit> = Vec::new();
    while of_warps.len() < warps.bits as usize {
        of_warps.push(m.pop().or_else(|| n.pop()).flatten());
    }
    registers.extend(n);
    registers.extend(m);
    Spread { registers, lanes, warps: of_warps }
}

impl<'f> Lower<'f> {
    /// A product; the result is a scalar if nothing is left.
    pub(crate) fn dot(&mut self, inst: &'f Inst, over: &[DimId]) -> Result<(), Limit> {
        if let Some(form) = Form::of(self.func, self.options, inst, over) {
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
                    let next = self.b.emit(Op::Mma(form.family.mma), &args, &[sum; 4]);
                    sums.copy_from_slice(&next);
                }
            }
        }
        self.hold(inst.results[0], acc, sums);
        Ok(())
    }

    /// Multiply-adds on operands in shared memory, k by k; in parts of k where shared memory does not hold all.
    fn multiply_add(&mut self, inst: &'f Inst, roles: &Roles, spread: &Spread) -> Result<Vec<Reg>, Limit> {
        let dtype = self.dtype(inst.results[0]);
        let mut helds = Vec::new();
        for value in [inst.args[0], inst.args[1]] {
            let (from, mut held) = (self.dtype(value), self.held(value)?);
            for register in &mut held.registers {
                *register = element::cast(&mut self.b, from, dtype, *register);
            }
            helds.push(held);
        }
        let mut k = self.bits_of(&roles.k);
        let element = Self::unit_bytes(element::carrier(dtype));
        let mut parts: Vec<(DimId, u32)> = Vec::new();
        while self.staged_bytes(roles, &k, element) > self.options.target.shared_bytes()
            && let Some(bit) = k.pop().flatten()
        {
            parts.push(bit);
        }
        let zero = self.constant(dtype, pantile_ir::Scalar::zero(dtype));
        let mut sums = vec![zero; spread.len()];
        for part in 0..1usize << parts.len() {
            let part: Vec<_> = parts.iter().enumerate().map(|(n, bit)| (*bit, part >> n & 1 == 1)).collect();
            let mut operands = Vec::new();
            let mut base = 0;
            for (held, own) in helds.iter().zip([&roles.m, &roles.n]) {
                let all = [self.bits_of(own), k.clone(), self.bits_of(&roles.batch)];
                let staged = Staged::plain(all.into_iter().flatten(), element);
                base += staged.bytes;
                operands.push((staged, base, held, own));
            }
            let scratch = self.scratch(base);
            for (staged, end, held, _) in &mut operands {
                *end = scratch + *end - staged.bytes;
                self.stage_part(staged, *end, held, &part);
            }
            self.meet();
            sums = self.contract(dtype, &operands, roles, spread, sums, 1 << k.len())?;
        }
        Ok(sums)
    }

    /// Bytes that both operands take in shared memory with these bits of k.
    fn staged_bytes(&self, roles: &Roles, k: &[Bit], element: u32) -> usize {
        let bits = |dims: &[DimId]| self.bits_of(dims).len() + k.len() + self.bits_of(&roles.batch).len();
        [&roles.m, &roles.n].map(|own| (element as usize) << bits(own)).iter().sum()
    }

    fn contract(
        &mut self,
        dtype: DType,
        operands: &[(Staged, u32, &Held, &Vec<DimId>)],
        roles: &Roles,
        spread: &Spread,
        inits: Vec<Reg>,
        steps: u32,
    ) -> Result<Vec<Reg>, Limit> {
        let ty = element::carrier(dtype);
        let bits = if Self::unit_bytes(ty) == 8 { 64 } else { 32 };
        let unroll = steps.min(4);
        let mut sides = Vec::new();
        for (staged, base, _, own) in operands {
            let dims: Vec<DimId> = own.iter().chain(&roles.batch).copied().collect();
            let side = spread.only(&dims);
            let thread = self.thread_offset(staged, &side);
            let own: u32 = own.iter().map(|d| self.bits(*d)).sum();
            sides.push((dims, side, thread, *base, own + staged.element.trailing_zeros()));
        }
        let count = self.b.i32((steps / unroll) as i32);
        let types: Vec<Ty> = [Ty::I32].into_iter().chain(inits.iter().map(|_| ty)).collect();
        let zero = self.b.i32(0);
        let all: Vec<Reg> = [zero].into_iter().chain(inits).collect();
        let test = self.b.open_with(&types);
        let goes_on = self.b.compare(crate::simt::Compare::Lt, test[0], count);
        let test = self.b.close(vec![goes_on]);
        let at = self.b.open_with(&types);
        let mut sums = at[1..].to_vec();
        for n in 0..unroll {
            let mut read = Vec::new();
            for ((staged, ..), (dims, side, thread, base, step)) in operands.iter().zip(&sides) {
                let moved = self.b.mul_const(at[0], i64::from(unroll) << step);
                let moved = self.b.add(*thread, moved);
                let mut units = Vec::new();
                for r in 0..side.len() {
                    let offset = i64::from(staged.offset(side, r)) + i64::from(*base) + (i64::from(n) << step);
                    let place = self.b.add_const(moved, offset);
                    let unit = self.b.load(Space::Shared, bits, 1, place, None)[0];
                    units.push(self.of_unit(unit, ty));
                }
                read.push((dims, units));
            }
            for (r, sum) in sums.iter_mut().enumerate() {
                let [x, y] = [0, 1].map(|o| read[o].1[spread.register_of_only(r, read[o].0)]);
                *sum = if dtype.kind() == Kind::Float {
                    self.b.fma(x, y, *sum)
                } else {
                    let product = element::binary(&mut self.b, pantile_ir::BinaryOp::Mul, dtype, x, y);
                    element::binary(&mut self.b, pantile_ir::BinaryOp::Add, dtype, *sum, product)
                };
            }
        }
        let next = self.b.add_const(at[0], 1);
        let body = self.b.close([next].into_iter().chain(sums).collect());
        let ends = self.b.looped(all, test, body);
        Ok(ends[1..].to_vec())
    }
}
