//! Sorts rows: a bitonic network over the whole tile in shared memory, all threads of the block taking pairs. Padding holds
//! what sorts last, so it stays behind.

use pantile_ir::{DimId, Inst};

use super::keys::{self, Ordering};
use super::staged::Staged;
use super::{Bit, Held, Lower};
use crate::Limit;
use crate::simt::{Binary, Compare, Space, Ty, Value as Reg};

/// Pairs that a thread takes one behind the other before it loops.
const UNROLLED: u32 = 4;

impl<'f> Lower<'f> {
    /// Sorts along a dim; NaNs stand last.
    pub(crate) fn sort(&mut self, inst: &'f Inst, dim: DimId, descending: bool) -> Result<(), Limit> {
        let dtype = self.dtype(inst.args[0]);
        let how = Ordering { reversed: descending, nans_last: true };
        let Held { spread, registers } = self.anyhow(inst.args[0])?;
        let bits = self.bits(dim);
        let registers: Vec<Reg> = registers.into_iter().map(|x| keys::key(&mut self.b, dtype, how, x)).collect();
        let ty = self.b.ty(registers[0]);
        let dims = self.dims(inst.args[0]);
        let others: Vec<DimId> = dims.iter().copied().filter(|d| *d != dim).collect();
        // Rows side by side: a position's number is the address without its lowest bits.
        let rows = self.bits_of(&others);
        let along = (0..bits).map(|power| Some((dim, power)));
        let order: Vec<Bit> = rows.iter().copied().chain(along).collect();
        let staged = Staged::plain(order, Self::unit_bytes(ty));
        let base = self.scratch(staged.bytes);
        self.stage(&staged, base, &Held { spread: spread.clone(), registers });
        self.meet();
        if bits > 0 {
            self.network(base, rows.len() as u32, bits, staged.element);
        }
        let sorted = self.unstage(&staged, base, &spread, ty);
        let sorted = sorted.into_iter().map(|key| keys::element_of(&mut self.b, dtype, how, key)).collect();
        self.give(inst, spread, sorted);
        Ok(())
    }

    /// Blocks of 2, 4, 8, … are merged, every other one in the other direction; in each merge pairs lie half a block apart,
    /// then a quarter, … Loop over (block's power, distance's power), both shifted by the bits of a row's number.
    fn network(&mut self, base: u32, rows: u32, bits: u32, element: u32) {
        let pairs = 1u32 << (rows + bits - 1);
        let threads = self.warps.threads();
        let thread = self.b.mul_const(self.warp, 32);
        let thread = self.b.binary(Binary::Or, thread, self.lane);
        let (first, start) = (self.b.i32(rows as i32 + 1), self.b.i32(rows as i32));
        let test = self.b.open_with(&[Ty::I32, Ty::I32]);
        let last = self.b.i32((rows + bits) as i32);
        let goes_on = self.b.compare(Compare::Le, test[0], last);
        let test = self.b.close(vec![goes_on]);
        let at = self.b.open_with(&[Ty::I32, Ty::I32]);
        let (block, distance) = (at[0], at[1]);
        let each = pairs.div_ceil(threads);
        if each <= UNROLLED {
            for n in 0..each {
                let pair = self.b.add_const(thread, i64::from(n * threads));
                let count = self.b.i32(pairs as i32);
                let exists = (pairs < threads).then(|| self.b.compare(Compare::Lt, pair, count));
                self.exchange(pair, block, distance, (base, element), exists);
            }
        } else {
            let count = self.b.i32(pairs as i32);
            let test = self.b.open_with(&[Ty::I32]);
            let more = self.b.compare(Compare::Lt, test[0], count);
            let test = self.b.close(vec![more]);
            let pair = self.b.open_with(&[Ty::I32])[0];
            self.exchange(pair, block, distance, (base, element), None);
            let next = self.b.add_const(pair, i64::from(threads));
            let body = self.b.close(vec![next]);
            self.b.looped(vec![thread], test, body);
        }
        self.wait_for_all();
        let done = self.b.compare(Compare::Eq, distance, start);
        let closer = self.b.add_const(distance, -1);
        let larger = self.b.add_const(block, 1);
        let next_block = self.b.select(done, larger, block);
        let next_distance = self.b.select(done, block, closer);
        let body = self.b.close(vec![next_block, next_distance]);
        self.b.looped(vec![first, start], test, body);
    }

    /// Brings one pair into order.
    fn exchange(&mut self, pair: Reg, block: Reg, distance: Reg, (base, element): (u32, u32), exists: Option<Reg>) {
        let one = self.b.i32(1);
        let gap = self.b.binary(Binary::Shl, one, distance);
        let inside = self.b.add_const(gap, -1);
        let low = self.b.binary(Binary::And, pair, inside);
        let high = self.b.sub(pair, low);
        let high = self.b.binary(Binary::Shl, high, one);
        let left = self.b.binary(Binary::Or, high, low);
        let right = self.b.binary(Binary::Or, left, gap);
        let [x_at, y_at] = [left, right].map(|n| {
            let at = self.b.mul_const(n, i64::from(element));
            self.b.add_const(at, i64::from(base))
        });
        let bits = 8 * element as u8;
        let x = self.b.load(Space::Shared, bits, 1, x_at, exists)[0];
        let y = self.b.load(Space::Shared, bits, 1, y_at, exists)[0];
        let (least, most) = (self.b.binary(Binary::Min, x, y), self.b.binary(Binary::Max, x, y));
        let turn = self.b.binary(Binary::UShr, left, block);
        let turn = self.b.and_const(turn, 1);
        let zero = self.b.i32(0);
        let turned = self.b.compare(Compare::Ne, turn, zero);
        let (first, second) = (self.b.select(turned, most, least), self.b.select(turned, least, most));
        self.b.store(Space::Shared, bits, x_at, &[first], exists);
        self.b.store(Space::Shared, bits, y_at, &[second], exists);
    }
}
