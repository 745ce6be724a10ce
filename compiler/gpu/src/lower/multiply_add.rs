//! Products without tensor cores: each thread has a patch of rows × columns, and multiplies what it reads of both operands
//! from shared memory, 16 bytes at a time. Which products come here is `dot.rs`'s business.

use pantile_ir::{DType, DimId, Func, Inst, Kind, Scalar};

use super::form::Roles;
use super::infer::Warps;
use super::staged::Staged;
use super::{Bit, Held, LANE_BITS, Lower, Spread, all_bits};
use crate::Limit;
use crate::element;
use crate::simt::{Binary, Space, Ty, Value as Reg};

/// Neighbours along rows and along columns in one thread, as a power of two: 16 bytes of f32.
const NEIGHBOURS: usize = 2;

/// Steps along k of one turn of the loop, as a power of two: as many neighbours as 16 bytes hold, 4 at most.
fn steps(k: usize, element: u32) -> usize {
    k.min(2).min(4 - element.trailing_zeros() as usize)
}

/// Patches of rows × columns in each thread, as square as can be, so that what is read from shared memory is used often.
/// Rows go to warps before columns: rows of the result are then reduced within a warp.
pub(super) fn patches(func: &Func, warps: Warps, roles: &Roles) -> Spread {
    let (mut n, mut m) = (all_bits(func, &roles.n), all_bits(func, &roles.m));
    m.extend(all_bits(func, &roles.batch));
    let warp_bits = warps.bits as usize;
    let take = |from: &mut Vec<Bit>, count: usize| from.drain(..count.min(from.len())).collect::<Vec<Bit>>();
    // What registers are left for when all threads have something.
    let all = (n.len() + m.len()).saturating_sub(LANE_BITS + warp_bits);
    let mut registers = take(&mut n, NEIGHBOURS.min(all.div_ceil(2)));
    registers.extend(take(&mut m, NEIGHBOURS.min(all - registers.len())));
    let mut lanes = take(&mut n, 3);
    lanes.extend(take(&mut m, LANE_BITS - lanes.len()));
    let more = LANE_BITS - lanes.len();
    lanes.extend(take(&mut n, more));
    lanes.resize(LANE_BITS, None);
    let mut of_warps: Vec<Bit> = Vec::new();
    while of_warps.len() < warp_bits {
        let from = if n.len() > m.len() { &mut n } else { &mut m };
        of_warps.push(from.pop().flatten());
    }
    registers.extend(n);
    registers.extend(m);
    Spread { registers, lanes, warps: of_warps }
}

/// An operand in shared memory.
struct Operand {
    staged: Staged,
    /// From where on.
    base: u32,
    /// The dims that it shares with the result.
    dims: Vec<DimId>,
    /// What a thread reads in one turn: steps along k are the lowest bits of a register's number.
    reads: Spread,
    /// The bytes that the thread's number stands for.
    thread: Reg,
    /// The bytes of one turn along k.
    turn: u32,
}

/// Both operands in registers, and which bits of k shared memory holds at once.
struct Parts {
    helds: [Held; 2],
    k: Vec<Bit>,
    parts: Vec<(DimId, u32)>,
}

impl<'f> Lower<'f> {
    /// Multiply-adds on operands in shared memory; in parts of k where it does not hold all.
    pub(crate) fn multiply_add(&mut self, inst: &'f Inst, roles: &Roles, spread: &Spread) -> Result<Vec<Reg>, Limit> {
        let dtype = self.dtype(inst.results[0]);
        let element = Self::unit_bytes(element::carrier(dtype));
        let Parts { helds, k, parts } = self.parts(inst, roles, dtype)?;
        let zero = self.constant(dtype, Scalar::zero(dtype));
        let mut sums = vec![zero; spread.len()];
        for part in 0..1usize << parts.len() {
            let part: Vec<_> = parts.iter().enumerate().map(|(n, bit)| (*bit, part >> n & 1 == 1)).collect();
            let mut bytes = 0;
            let mut operands = Vec::new();
            for (held, own) in helds.iter().zip([&roles.m, &roles.n]) {
                let operand = self.operand(held, own, roles, (&k, element), spread);
                operands.push(Operand { base: bytes, ..operand });
                bytes += operands[operands.len() - 1].staged.bytes;
            }
            let scratch = self.scratch(bytes);
            for (operand, held) in operands.iter_mut().zip(&helds) {
                operand.base += scratch;
                self.stage_part(&operand.staged, operand.base, held, &part);
            }
            self.meet();
            sums = self.contract(dtype, &operands, spread, sums, k.len());
        }
        Ok(sums)
    }

    /// The operands as the result's dtype, and how much of k goes at once.
    fn parts(&mut self, inst: &'f Inst, roles: &Roles, dtype: DType) -> Result<Parts, Limit> {
        let mut of = |value| -> Result<Held, Limit> {
            let (from, mut held) = (self.dtype(value), self.held(value)?);
            for register in &mut held.registers {
                *register = element::cast(&mut self.b, from, dtype, *register);
            }
            Ok(held)
        };
        let helds = [of(inst.args[0])?, of(inst.args[1])?];
        let element = Self::unit_bytes(element::carrier(dtype));
        let mut k = self.bits_of(&roles.k);
        let mut parts = Vec::new();
        while self.staged_bytes(roles, &k, element) > self.options.target.shared_bytes()
            && let Some(bit) = k.pop().flatten()
        {
            parts.push(bit);
        }
        Ok(Parts { helds, k, parts })
    }

    /// Bytes that both operands take in shared memory with these bits of k.
    fn staged_bytes(&self, roles: &Roles, k: &[Bit], element: u32) -> usize {
        let bits = |dims: &[DimId]| self.bits_of(dims).len() + k.len() + self.bits_of(&roles.batch).len();
        [&roles.m, &roles.n].map(|own| (element as usize) << bits(own)).iter().sum()
    }

    /// Where an operand lies: what is fast in registers is fast in shared memory, so that it is written in one piece. Rows
    /// along k trade chunks, so that lanes that read different ones at once do so from different banks.
    fn operand(
        &mut self,
        held: &Held,
        own: &[DimId],
        roles: &Roles,
        (k, element): (&[Bit], u32),
        spread: &Spread,
    ) -> Operand {
        let dims: Vec<DimId> = own.iter().chain(&roles.batch).copied().collect();
        let side = spread.only(&dims);
        let rest = [self.bits_of(own), self.bits_of(&roles.batch)].concat();
        let staged = if is_fast(&held.spread, k) {
            let lanes: Vec<Bit> = side.lanes.iter().filter(|b| b.is_some()).copied().collect();
            Staged::swizzled_by(k, &rest, element, &lanes)
        } else {
            let own = self.bits_of(own);
            let batch = &rest[own.len()..];
            Staged::plain([&own, k, batch].concat(), element)
        };
        let now = steps(k.len(), element);
        let registers = [&k[..now], &side.registers].concat();
        let reads = Spread { registers, ..side };
        let thread = self.thread_offset(&staged, &reads);
        let turn = k.get(now).copied().flatten().map_or(0, |bit| staged.bit(bit));
        Operand { staged, base: 0, dims, reads, thread, turn }
    }

    /// Adds products along `k` bits of steps to sums.
    fn contract(&mut self, dtype: DType, operands: &[Operand], spread: &Spread, sums: Vec<Reg>, k: usize) -> Vec<Reg> {
        let ty = element::carrier(dtype);
        let now = steps(k, Self::unit_bytes(ty));
        if k == now {
            let zero = self.b.i32(0);
            return self.turn((dtype, ty), operands, spread, zero, sums, now);
        }
        let types: Vec<Ty> = [Ty::I32].into_iter().chain(sums.iter().map(|_| ty)).collect();
        let (zero, count) = (self.b.i32(0), self.b.i32(1 << (k - now)));
        let inits: Vec<Reg> = [zero].into_iter().chain(sums).collect();
        let test = self.b.open_with(&types);
        let goes_on = self.b.compare(crate::simt::Compare::Lt, test[0], count);
        let test = self.b.close(vec![goes_on]);
        let carried = self.b.open_with(&types);
        let sums = self.turn((dtype, ty), operands, spread, carried[0], carried[1..].to_vec(), now);
        let next = self.b.add_const(carried[0], 1);
        let body = self.b.close([next].into_iter().chain(sums).collect());
        self.b.looped(inits, test, body)[1..].to_vec()
    }

    /// One turn: 2^`now` steps along k.
    fn turn(
        &mut self,
        (dtype, ty): (DType, Ty),
        operands: &[Operand],
        spread: &Spread,
        at: Reg,
        mut sums: Vec<Reg>,
        now: usize,
    ) -> Vec<Reg> {
        let read: Vec<Vec<Reg>> = operands.iter().map(|operand| self.read_turn(operand, at, ty)).collect();
        for step in 0..1 << now {
            for (r, sum) in sums.iter_mut().enumerate() {
                let of = |n: usize| read[n][step | spread.register_of_only(r, &operands[n].dims) << now];
                let (x, y) = (of(0), of(1));
                *sum = if dtype.kind() == Kind::Float {
                    self.b.fma(x, y, *sum)
                } else {
                    let product = element::binary(&mut self.b, pantile_ir::BinaryOp::Mul, dtype, x, y);
                    element::binary(&mut self.b, pantile_ir::BinaryOp::Add, dtype, *sum, product)
                };
            }
        }
        sums
    }

    /// What a thread needs of an operand in one turn. Bits of registers stand for bytes that no other bit stands for, so they
    /// are added, which the machine does while it loads.
    fn read_turn(&mut self, operand: &Operand, at: Reg, ty: Ty) -> Vec<Reg> {
        let Operand { staged, base, reads, thread, turn, .. } = operand;
        let moved = self.b.mul_const(at, i64::from(*turn));
        let moved = self.b.binary(Binary::Xor, *thread, moved);
        let bits = if Self::unit_bytes(ty) == 8 { 64 } else { 32 };
        let mut registers = vec![moved; reads.len()];
        for group in staged.groups(reads) {
            let place = self.b.add_const(moved, i64::from(staged.offset(reads, group[0]) + base));
            let units = self.b.load(Space::Shared, bits, group.len() as u8, place, None);
            for (r, unit) in group.into_iter().zip(units) {
                registers[r] = self.of_unit(unit, ty);
            }
        }
        registers
    }
}

/// Whether some bits are what neighbouring lanes differ in.
fn is_fast(spread: &Spread, bits: &[Bit]) -> bool {
    let fastest = spread.lanes.iter().chain(&spread.registers).find(|b| b.is_some());
    fastest.is_some_and(|bit| bits.contains(bit))
}
