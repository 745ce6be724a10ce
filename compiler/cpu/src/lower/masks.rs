//! Reads and writes block masks: bits, counts and lists. How loops walk lists is `regions.rs`'s business.

use std::collections::HashSet;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use pantile_ir::{DType, DimId, Index, Inst, ParamId};

use super::eval::Level;
use super::{Block, Lower};
use crate::Limit;
use crate::vector::{ACCESS, Lanes};

impl<'f> Lower<'_, 'f> {
    /// One bit of a mask.
    pub(super) fn mask_get(&mut self, inst: &'f Inst, param: ParamId) -> Result<Lanes, Limit> {
        let axes = self.func().axes(param).to_vec();
        let Some((last, row)) = inst.args.split_last() else { return Err(self.bug("a mask without axes")) };
        let (number, width) = self.mask_row_number(param, row, inst.span)?;
        let at = self.scalar(*last)?.value();
        if let Some(axis) = axes.last() {
            let name = self.func().param(param).name.clone();
            self.check_index(*last, at, *axis, inst.span, &name);
        }
        let bits = self.word(self.words.param(param, 0));
        let offset = self.e.ins().imul(number, width);
        let offset = self.e.ins().iadd(offset, at);
        let at = self.e.ins().iadd(bits, offset);
        let byte = self.e.ins().load(types::I8, ACCESS, at, 0);
        Ok(Lanes::one(DType::Bool, byte))
    }

    /// Writes rows of a mask.
    pub(super) fn mask_put(&mut self, inst: &'f Inst, param: ParamId, index: &'f [Index]) -> Result<(), Limit> {
        let axes = self.func().axes(param).to_vec();
        let (Some(Index::Dim(column)), Some(value)) = (index.last(), inst.args.last()) else {
            return Err(self.bug("a mask's row that is not whole"));
        };
        self.frame.vector = None;
        self.open_loads_of(*value)?;
        let mut number = self.e.int(0);
        let mut scalars = inst.args.iter();
        let mut loops = Vec::new();
        for (axis, index) in axes.iter().zip(&index[..index.len() - 1]) {
            let at = match index {
                Index::Value => {
                    let value = *scalars.next().ok_or_else(|| self.bug("an index is missing"))?;
                    let at = self.scalar(value)?.value();
                    let name = self.func().param(param).name.clone();
                    self.check_index(value, at, *axis, inst.span, &name);
                    at
                }
                Index::Dim(dim) => {
                    let len = self.len(*dim);
                    let counted = self.open_rows(len);
                    self.frame.index.insert(*dim, counted.index);
                    let at = self.place(*dim, counted.index)?;
                    loops.push(counted);
                    at
                }
            };
            let size = self.axis_size(*axis);
            number = self.e.ins().imul(number, size);
            number = self.e.ins().iadd(number, at);
        }
        let width = match axes.last() {
            Some(axis) => self.axis_size(*axis),
            None => self.e.int(0),
        };
        self.put_row(inst, param, *column, number, width)?;
        for counted in loops.into_iter().rev() {
            self.e.close(counted, 1, &[]);
        }
        Ok(())
    }

    fn open_loads_of(&mut self, value: pantile_ir::Value) -> Result<(), Limit> {
        self.open_loads(value, &mut HashSet::new())
    }

    /// The place in memory of a dim's lane.
    fn place(&mut self, dim: DimId, lane: ir::Value) -> Result<ir::Value, Limit> {
        let Some(Block { start, .. }) = self.blocks.get(&dim).copied() else {
            return Err(self.bug("a block that is not there"));
        };
        let at = self.e.ins().iadd(start, lane);
        if self.func().dim(dim).order.is_none() {
            return Ok(at);
        }
        let elements = self.word(self.words.table(dim, 0));
        let at = self.e.ins().ishl_imm_u(at, 2);
        let at = self.e.ins().iadd(elements, at);
        Ok(self.e.ins().sload32(ACCESS, at, 0))
    }

    fn put_row(
        &mut self,
        inst: &'f Inst,
        param: ParamId,
        column: DimId,
        row: ir::Value,
        width: ir::Value,
    ) -> Result<(), Limit> {
        let value = inst.args[inst.args.len() - 1];
        let [bits, counts, lists] = [0, 1, 2].map(|n| self.word(self.words.param(param, n)));
        let first = self.e.ins().imul(row, width);
        let bits = self.e.ins().iadd(bits, first);
        let zero = self.e.int(0);
        if self.func().dim(column).order.is_some() {
            // An order need not reach every place.
            let clear = self.e.open(zero, width, &[]);
            let at = self.e.ins().iadd(bits, clear.index);
            let none = self.e.ins().iconst(types::I8, 0);
            self.e.ins().store(ACCESS, none, at, 0);
            self.e.close(clear, 1, &[]);
        }
        let len = self.len(column);
        let lanes = self.e.open_outer(zero, len, &[]);
        self.frame.index.insert(column, lanes.index);
        self.frame.row.clear();
        self.frame.row_of_access.clear();
        let kept = self.value(value, Level::Row)?.value();
        let at = self.place(column, lanes.index)?;
        let at = self.e.ins().iadd(bits, at);
        self.e.ins().store(ACCESS, kept, at, 0);
        self.e.close(lanes, 1, &[]);
        self.frame.row.clear();
        self.frame.index.remove(&column);

        let first = self.e.ins().ishl_imm_u(first, 2);
        let list = self.e.ins().iadd(lists, first);
        let scan = self.e.open(zero, width, &[zero]);
        let at = self.e.ins().iadd(bits, scan.index);
        let byte = self.e.ins().load(types::I8, ACCESS, at, 0);
        let held = self.e.ins().icmp_imm_u(IntCC::NotEqual, byte, 0);
        let (keep, next) = (self.e.block(&[]), self.e.block(&[types::I64]));
        self.e.branch(held, keep, &[], next, &[scan.carried[0]]);
        self.e.enter(keep);
        let at = self.e.ins().ishl_imm_u(scan.carried[0], 2);
        let at = self.e.ins().iadd(list, at);
        self.e.ins().istore32(ACCESS, scan.index, at, 0);
        let more = self.e.ins().iadd_imm_s(scan.carried[0], 1);
        self.e.jump(next, &[more]);
        let count = self.e.enter(next)[0];
        let count = self.e.close(scan, 1, &[count])[0];
        let at = self.e.ins().ishl_imm_u(row, 2);
        let at = self.e.ins().iadd(counts, at);
        self.e.ins().istore32(ACCESS, count, at, 0);
        Ok(())
    }
}
