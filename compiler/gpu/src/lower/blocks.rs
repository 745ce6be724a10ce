//! The current blocks of dims: where they start, how long they are, which positions and elements their lanes have.

use pantile_ir::{Axis, DimId};

use super::{Lower, Spread};
use crate::Limit;
use crate::simt::{Binary, Compare, Space, Ty, Value as Reg};

/// A block of a dim; all I32.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    /// Its number.
    pub index: Reg,
    /// Its first position; of an ordered dim its first slot in the table.
    pub start: Reg,
    /// Its valid lanes.
    pub len: Reg,
}

impl Lower<'_> {
    /// Makes a block the current one of its dim.
    pub(crate) fn bind(&mut self, dim: DimId, index: Reg) {
        let row = self.func.dim(dim).clone();
        let start = self.b.mul_const(index, row.size);
        let len = if row.order.is_some() {
            let lengths = self.word(self.words.table(dim, 2));
            self.load_i32(lengths, index)
        } else if self.func.is_full(dim) {
            self.b.i32(row.size as i32)
        } else {
            let walk = self.walk_length(dim);
            let rest = self.b.sub(walk, start);
            let (size, zero) = (self.b.i32(row.size as i32), self.b.i32(0));
            let some = self.b.binary(Binary::Min, rest, size);
            self.b.binary(Binary::Max, some, zero)
        };
        self.scope.blocks.insert(dim, Block { index, start, len });
    }

    /// The current block of a dim.
    pub(crate) fn block(&self, dim: DimId) -> Result<Block, Limit> {
        let none = || self.bug(format!("`{}` has no block here", self.func.dim(dim).name));
        self.scope.blocks.get(&dim).copied().ok_or_else(none)
    }

    /// Positions of a dim's walk.
    fn walk_length(&mut self, dim: DimId) -> Reg {
        let row = self.func.dim(dim);
        match (row.order, row.over) {
            (Some(order), _) => self.b.i32(self.func.orders[order.index()].len as i32),
            (None, Some(extent)) => self.extent(extent),
            (None, None) => self.b.i32(row.size as i32),
        }
    }

    /// Elements of an extent.
    pub(crate) fn extent(&mut self, extent: pantile_ir::ExtentId) -> Reg {
        match self.func.extents[extent.index()].known {
            Some(known) => self.b.i32(known as i32),
            None => self.word32(self.words.extent(extent)),
        }
    }

    /// Blocks of a dim's walk.
    pub(crate) fn block_count(&mut self, dim: DimId) -> Reg {
        let length = self.walk_length(dim);
        self.blocks_of(length, self.func.dim(dim).size)
    }

    fn blocks_of(&mut self, length: Reg, size: i64) -> Reg {
        let up = self.b.add_const(length, size - 1);
        if size.count_ones() == 1 {
            return self.b.shr_const(up, size.trailing_zeros());
        }
        let size = self.b.i32(size as i32);
        self.b.binary(Binary::UDiv, up, size)
    }

    /// Places along an axis.
    pub(crate) fn axis_size(&mut self, axis: Axis) -> Reg {
        let Some(by) = axis.by else { return self.extent(axis.extent) };
        let length = match self.func.extents[axis.extent.index()].order {
            Some(order) => self.b.i32(self.func.orders[order.index()].len as i32),
            None => self.extent(axis.extent),
        };
        self.blocks_of(length, by)
    }

    /// An entry of a table of i32.
    pub(crate) fn load_i32(&mut self, table: Reg, index: Reg) -> Reg {
        let at = self.address(table, index, 4);
        self.b.load(Space::Constant, 32, 1, at, None)[0]
    }

    /// `base + index · bytes`.
    pub(crate) fn address(&mut self, base: Reg, index: Reg, bytes: i64) -> Reg {
        let wide = self.b.sign_extend(index);
        let offset = self.b.mul_const(wide, bytes);
        self.b.add(base, offset)
    }

    /// The part of a position along a dim that the thread's number gives.
    pub(crate) fn thread_position(&mut self, spread: &Spread, dim: DimId) -> Reg {
        let mut sum = self.b.i32(0);
        for (number, bits) in [(self.lane, &spread.lanes), (self.warp, &spread.warps)] {
            let mut n = 0;
            while n < bits.len() {
                let Some((d, power)) = bits[n].filter(|(d, _)| *d == dim) else {
                    n += 1;
                    continue;
                };
                // Neighbouring bits move together.
                let more = (1..bits.len() - n).take_while(|k| bits[n + k] == Some((d, power + *k as u32))).count() + 1;
                let part = self.b.shr_const(number, n as u32);
                let part = self.b.and_const(part, (1 << more) - 1);
                let part = self.b.mul_const(part, 1 << power);
                sum = self.b.binary(Binary::Or, sum, part);
                n += more;
            }
        }
        sum
    }

    /// The lane of a dim that each register of a spread holds.
    pub(crate) fn lanes(&mut self, spread: &Spread, dim: DimId) -> Vec<Reg> {
        let base = self.thread_position(spread, dim);
        (0..spread.len()).map(|r| self.b.add_const(base, i64::from(spread.position(r, dim)))).collect()
    }

    /// Whether some of a dim's lanes may not be valid.
    pub(crate) fn is_partial(&self, dim: DimId) -> bool {
        !(self.func.is_full(dim) && self.func.dim(dim).size.count_ones() == 1)
    }

    /// Whether each register's lane of a dim is valid.
    pub(crate) fn valid(&mut self, spread: &Spread, dim: DimId) -> Result<Vec<Reg>, Limit> {
        let len = self.block(dim)?.len;
        let lanes = self.lanes(spread, dim);
        Ok(lanes.into_iter().map(|lane| self.b.compare(Compare::Lt, lane, len)).collect())
    }

    /// Positions in the walk, as I32.
    pub(crate) fn walk_positions(&mut self, spread: &Spread, dim: DimId) -> Result<Vec<Reg>, Limit> {
        match self.func.dim(dim).order {
            Some(_) => self.table_entries(spread, dim, 1),
            None => self.plain_positions(spread, dim),
        }
    }

    /// Elements in memory, as I32.
    pub(crate) fn elements(&mut self, spread: &Spread, dim: DimId) -> Result<Vec<Reg>, Limit> {
        match self.func.dim(dim).order {
            Some(_) => self.table_entries(spread, dim, 0),
            None => self.plain_positions(spread, dim),
        }
    }

    fn plain_positions(&mut self, spread: &Spread, dim: DimId) -> Result<Vec<Reg>, Limit> {
        let start = self.block(dim)?.start;
        let lanes = self.lanes(spread, dim);
        Ok(lanes.into_iter().map(|lane| self.b.add(start, lane)).collect())
    }

    /// Entries of an ordered dim's table; 0 at lanes that are not valid.
    fn table_entries(&mut self, spread: &Spread, dim: DimId, which: u32) -> Result<Vec<Reg>, Limit> {
        let table = self.word(self.words.table(dim, which));
        let slots = self.plain_positions(spread, dim)?;
        let valid = self.valid(spread, dim)?;
        let mut known: std::collections::HashMap<u32, Reg> = std::collections::HashMap::new();
        let mut entries = Vec::new();
        for (r, (slot, valid)) in slots.into_iter().zip(valid).enumerate() {
            let position = spread.position(r, dim);
            let entry = match known.get(&position) {
                Some(entry) => *entry,
                None => {
                    let at = self.address(table, slot, 4);
                    self.b.load(Space::Constant, 32, 1, at, Some(valid))[0]
                }
            };
            known.insert(position, entry);
            entries.push(entry);
        }
        Ok(entries)
    }

    /// I32 as the i64 that the language counts in.
    pub(crate) fn widen(&mut self, registers: Vec<Reg>) -> Vec<Reg> {
        registers.into_iter().map(|r| if self.b.ty(r) == Ty::I32 { self.b.sign_extend(r) } else { r }).collect()
    }
}
