//! Reads and writes block masks: bits, counts and lists. How loops walk lists is `regions.rs`'s business.

use pantile_ir::{DimId, Index, Inst, ParamId};

use super::{Lower, Spread};
use crate::Limit;
use crate::simt::{Binary, Compare, Op, Space, Ty, Unary, Value as Reg};

/// One index of a mask's row.
#[derive(Clone, Copy)]
enum At {
    /// The same in all rows: I64.
    Scalar(Reg),
    /// By the lanes of a block.
    Dim(DimId),
}

/// A mask's rows that are written.
struct Rows {
    /// Of each axis but the last: the index, and the axis's size (I64).
    axes: Vec<(At, Reg)>,
    /// Length of a row, I32.
    width: Reg,
    /// Addresses of bits, counts and lists.
    memory: [Reg; 3],
    /// Whether the scalar indices are within their axes.
    inside: Reg,
}

impl<'f> Lower<'f> {
    /// One bit of a mask.
    pub(crate) fn mask_get(&mut self, inst: &'f Inst, param: ParamId) -> Result<(), Limit> {
        let out = self.func.param(param).out;
        if out && self.stored {
            self.meet();
        }
        let (Some((last, row)), Some(axis)) = (inst.args.split_last(), self.func.axes(param).last()) else {
            return Err(self.bug("a mask without axes"));
        };
        let yes = self.b.bool(true);
        let (number, width, there) = self.mask_row(param, row, yes, inst.span)?;
        let at = self.scalar(*last)?;
        let name = &self.func.param(param).name;
        let inside = self.check_index(at, *axis, inst.span, name);
        let there = self.b.and(there, inside);
        let first = self.b.mul(number, width);
        let offset = self.b.add(first, at);
        let bits = self.word(self.words.param(param, 0));
        let address = self.b.add(bits, offset);
        let space = if out { Space::Global } else { Space::Constant };
        let byte = self.b.load(space, 8, 1, address, Some(there))[0];
        let zero = self.b.i32(0);
        let kept = self.b.compare(Compare::Ne, byte, zero);
        self.scope.scalars.insert(inst.results[0], kept);
        Ok(())
    }

    /// Writes rows of a mask: bits first, then each warp lists the bits of a row.
    pub(crate) fn mask_put(&mut self, inst: &'f Inst, param: ParamId, index: &'f [Index]) -> Result<(), Limit> {
        let (Some(Index::Dim(column)), Some(value)) = (index.last(), inst.args.last()) else {
            return Err(self.bug("a mask's row that is not whole"));
        };
        if self.stored {
            self.meet();
        }
        let rows = self.rows(inst, param, index)?;
        let mut dims: Vec<DimId> = rows.dims();
        dims.push(*column);
        dims.sort();
        dims.dedup();
        let spread = match self.spread_of(*value) {
            Some(spread) if self.dims(*value) == dims => spread.clone(),
            Some(_) | None => super::infer::blocked(self.func, self.warps, dims.iter().rev().copied(), 0),
        };
        let kept = self.at(*value, &spread)?;
        if self.func.dim(*column).order.is_some() {
            // An order need not reach every place.
            self.each_row(&rows, Self::clear)?;
            self.wait_for_all();
        }
        self.put_bits(&rows, *column, &dims, &spread, kept)?;
        self.wait_for_all();
        self.each_row(&rows, Self::list)?;
        self.stored = true;
        Ok(())
    }

    fn rows(&mut self, inst: &'f Inst, param: ParamId, index: &[Index]) -> Result<Rows, Limit> {
        let axes = self.func.axes(param);
        let mut scalars = inst.args.iter();
        let mut inside = self.b.bool(true);
        let mut all = Vec::new();
        for (axis, index) in axes.iter().zip(&index[..index.len() - 1]) {
            let at = match index {
                Index::Value => {
                    let Some(value) = scalars.next() else { return Err(self.bug("an index is missing")) };
                    let at = self.scalar(*value)?;
                    let name = &self.func.param(param).name;
                    let there = self.check_index(at, *axis, inst.span, name);
                    inside = self.b.and(inside, there);
                    At::Scalar(at)
                }
                Index::Dim(dim) => At::Dim(*dim),
            };
            let size = self.axis_size(*axis);
            all.push((at, self.b.zero_extend(Ty::I64, size)));
        }
        let width = match axes.last() {
            Some(axis) => self.axis_size(*axis),
            None => self.b.i32(0),
        };
        let memory = [0, 1, 2].map(|n| self.word(self.words.param(param, n)));
        Ok(Rows { axes: all, width, memory, inside })
    }

    /// The number of a row, I64, where `place` says where a dim's lane is in memory (I32).
    fn row_number(&mut self, rows: &Rows, mut place: impl FnMut(&mut Self, DimId) -> Reg) -> Reg {
        let mut number = self.b.i64(0);
        for (at, size) in &rows.axes {
            let at = match at {
                At::Scalar(at) => *at,
                At::Dim(dim) => {
                    let place = place(self, *dim);
                    self.b.sign_extend(place)
                }
            };
            number = self.b.mul(number, *size);
            number = self.b.add(number, at);
        }
        number
    }

    fn put_bits(
        &mut self,
        rows: &Rows,
        column: DimId,
        dims: &[DimId],
        spread: &Spread,
        kept: Vec<Reg>,
    ) -> Result<(), Limit> {
        let speaks = self.speaks(spread);
        let speaks = self.b.and(speaks, rows.inside);
        let mut exist = vec![speaks; spread.len()];
        let mut places = std::collections::HashMap::new();
        for dim in dims {
            if self.is_partial(*dim) {
                let valid = self.valid(spread, *dim)?;
                exist = exist.into_iter().zip(valid).map(|(e, v)| self.b.and(e, v)).collect();
            }
            places.insert(*dim, self.elements(spread, *dim)?);
        }
        let width = self.b.zero_extend(Ty::I64, rows.width);
        for (r, kept) in kept.into_iter().enumerate() {
            let number = self.row_number(rows, |_, dim| places[&dim][r]);
            let first = self.b.mul(number, width);
            let at = self.b.sign_extend(places[&column][r]);
            let at = self.b.add(first, at);
            let at = self.b.add(rows.memory[0], at);
            let bit = self.b.zero_extend(Ty::I32, kept);
            self.b.store(Space::Global, 8, at, &[bit], Some(exist[r]));
        }
        Ok(())
    }

    /// Does something for each row, a warp a row: `act` sees the row's number, I64.
    fn each_row(&mut self, rows: &Rows, act: impl FnOnce(&mut Self, &Rows, Reg)) -> Result<(), Limit> {
        let dims = rows.dims();
        let one = self.b.i32(1);
        let mut count = self.b.zero_extend(Ty::I32, rows.inside);
        let mut sizes = Vec::new();
        for dim in &dims {
            let len = self.block(*dim)?.len;
            count = self.b.mul(count, len);
            sizes.push(self.b.binary(Binary::Max, len, one));
        }
        let test = self.b.open_with(&[Ty::I32]);
        let more = self.b.compare(Compare::Lt, test[0], count);
        let test = self.b.close(vec![more]);
        let nth = self.b.open_with(&[Ty::I32])[0];
        let mut rest = nth;
        let mut places = std::collections::HashMap::new();
        for (dim, size) in dims.iter().zip(sizes) {
            let lane = self.b.binary(Binary::URem, rest, size);
            rest = self.b.binary(Binary::UDiv, rest, size);
            places.insert(*dim, self.place_of(*dim, lane)?);
        }
        let number = self.row_number(rows, |_, dim| places[&dim]);
        act(self, rows, number);
        let next = self.b.add_const(nth, i64::from(self.warps.threads() / 32));
        let body = self.b.close(vec![next]);
        self.b.looped(vec![self.warp], test, body);
        Ok(())
    }

    /// Where a lane of a dim's block is in memory.
    fn place_of(&mut self, dim: DimId, lane: Reg) -> Result<Reg, Limit> {
        let start = self.block(dim)?.start;
        let at = self.b.add(start, lane);
        if self.func.dim(dim).order.is_none() {
            return Ok(at);
        }
        let table = self.word(self.words.table(dim, 0));
        Ok(self.load_i32(table, at))
    }

    /// Walks a row, 32 places at a time: `act` sees the place, whether it exists, and what it carries.
    fn walk_row(
        &mut self,
        rows: &Rows,
        carried: Vec<Reg>,
        act: impl FnOnce(&mut Self, Reg, Reg, &[Reg]) -> Vec<Reg>,
    ) -> Vec<Reg> {
        let types: Vec<Ty> = [Ty::I32].into_iter().chain(carried.iter().map(|c| self.b.ty(*c))).collect();
        let zero = self.b.i32(0);
        let test = self.b.open_with(&types);
        let more = self.b.compare(Compare::Lt, test[0], rows.width);
        let test = self.b.close(vec![more]);
        let at = self.b.open_with(&types);
        let place = self.b.add(at[0], self.lane);
        let exists = self.b.compare(Compare::Lt, place, rows.width);
        let next = act(self, place, exists, &at[1..]);
        let further = self.b.add_const(at[0], 32);
        let body = self.b.close([further].into_iter().chain(next).collect());
        let inits = [zero].into_iter().chain(carried).collect();
        self.b.looped(inits, test, body).split_off(1)
    }

    fn clear(&mut self, rows: &Rows, number: Reg) {
        let bits = self.row_address(rows, number, 0);
        self.walk_row(rows, Vec::new(), |l, place, exists, _| {
            let at = l.address(bits, place, 1);
            let none = l.b.i32(0);
            l.b.store(Space::Global, 8, at, &[none], Some(exists));
            Vec::new()
        });
    }

    /// Lists a row's bits, ascending, and counts them.
    fn list(&mut self, rows: &Rows, number: Reg) {
        let (bits, list) = (self.row_address(rows, number, 0), self.row_address(rows, number, 2));
        let one = self.b.i32(1);
        let own = self.b.binary(Binary::Shl, one, self.lane);
        let before = self.b.add_const(own, -1);
        let zero = self.b.i32(0);
        let count = self.walk_row(rows, vec![zero], |l, place, exists, carried| {
            let at = l.address(bits, place, 1);
            let byte = l.b.load(Space::Global, 8, 1, at, Some(exists))[0];
            let zero = l.b.i32(0);
            let kept = l.b.compare(Compare::Ne, byte, zero);
            let all = l.b.emit(Op::Ballot, &[kept], &[Ty::I32])[0];
            let lower = l.b.binary(Binary::And, all, before);
            let rank = l.b.unary(Unary::PopCount, lower);
            let rank = l.b.add(carried[0], rank);
            let at = l.address(list, rank, 4);
            l.b.store(Space::Global, 32, at, &[place], Some(kept));
            let more = l.b.unary(Unary::PopCount, all);
            vec![l.b.add(carried[0], more)]
        })[0];
        let offset = self.b.mul_const(number, 4);
        let at = self.b.add(rows.memory[1], offset);
        let first = self.b.compare(Compare::Eq, self.lane, zero);
        self.b.store(Space::Global, 32, at, &[count], Some(first));
    }

    /// The address of a row's bits (0) or list (2).
    fn row_address(&mut self, rows: &Rows, number: Reg, which: usize) -> Reg {
        let width = self.b.zero_extend(Ty::I64, rows.width);
        let first = self.b.mul(number, width);
        let offset = self.b.mul_const(first, if which == 0 { 1 } else { 4 });
        self.b.add(rows.memory[which], offset)
    }
}

impl Rows {
    /// The dims that number rows.
    fn dims(&self) -> Vec<DimId> {
        let dim = |(at, _): &(At, Reg)| match at {
            At::Dim(dim) => Some(*dim),
            At::Scalar(_) => None,
        };
        let mut dims: Vec<DimId> = self.axes.iter().filter_map(dim).collect();
        dims.sort();
        dims.dedup();
        dims
    }
}
