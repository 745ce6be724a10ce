//! Emits a product of matrices: packs the second operand, then calls a micro-kernel for each matrix. Which dims play
//! which part was decided in `product.rs`.

use cranelift_codegen::ir::{self, InstBuilder, types};
use pantile_ir::{DType, DimId, Op, Value};

use super::Lower;
use super::eval::Frame;
use super::hoisted::Hoist;
use super::product::Product;
use super::storage::{CROWDED, Scratch, Tile};
use crate::cache::Claim;
use crate::dot::{self, Dot, Init};
use crate::hoist::Form;
use crate::pack::{self, Along, Pack, PackArgs};
use crate::{Counted, Limit};

/// A matrix, or many, in memory: the address at lane 0 of all dims, and how far neighbours are apart.
struct Operand {
    base: ir::Value,
    dtype: DType,
    along: Vec<(DimId, ir::Value, Option<ir::Value>)>,
}

impl Operand {
    fn stride(&self, dim: DimId) -> Option<(ir::Value, Option<ir::Value>)> {
        self.along.iter().find(|(d, ..)| *d == dim).map(|(_, stride, table)| (*stride, *table))
    }
}

impl<'f> Lower<'_, 'f> {
    /// Emits a product.
    pub(super) fn product(&mut self, product: &Product<'f>) -> Result<(), Limit> {
        self.frame = Frame::default();
        let result = self.tile(product.result)?.clone();
        if let Some(init) = product.init {
            let init = self.facts.resolve(init);
            if !self.storage.same(init, product.result) {
                let from = self.tile(init)?.clone();
                self.copy_tile(&from, &result)?;
            }
        }
        let fade = match product.fade {
            Some(fade) => {
                let tile = self.tile(self.facts.resolve(fade))?.clone();
                self.tile_address(tile.offset)
            }
            None => self.e.int(0),
        };
        let start = match (product.init, product.fade) {
            (None, _) => Init::Zero,
            (Some(_), None) => Init::Accumulate,
            (Some(_), Some(_)) => Init::Scaled,
        };
        let b = self.packed_operand(product)?;
        let (a, kept) = self.rows_operand(product)?;
        let c = self.tile_operand(&result);
        if product.more_k.is_empty() {
            self.product_loops(product, (&a, &b, &c), start, fade, None)?;
        } else {
            // What it starts from first, with nothing to sum; then every part adds to it.
            let nothing = self.e.int(0);
            self.product_loops(product, (&a, &b, &c), start, fade, Some(nothing))?;
            self.product_loops(product, (&a, &b, &c), Init::Accumulate, fade, None)?;
        }
        if let Some((hoist, claim)) = kept {
            self.leave_block(hoist, claim);
        }
        Ok(())
    }

    fn product_loops(
        &mut self,
        product: &Product<'f>,
        (a, b, c): (&Operand, &Operand, &Operand),
        start: Init,
        fade: ir::Value,
        k: Option<ir::Value>,
    ) -> Result<(), Limit> {
        let kernel = dot::piece(self.jit, start)?;
        let kernel = self.jit.reference(kernel, &mut self.e);
        let own = match self.storage.scratch(Scratch::Panels(product.result)).cloned() {
            Some(tile) => self.tile_address(tile.offset),
            None => return Err(self.bug("no room for panels")),
        };
        let none: &[DimId] = &[];
        let contracted = if k.is_some() { none } else { &product.more_k };
        let mut at = [a.base, b.base, c.base];
        let mut loops = Vec::new();
        let mut hoist = if k.is_none() { self.panels(product)? } else { None };
        for dim in product.batch.iter().chain(&product.more_n).chain(contracted) {
            let counted = self.matrix_loop(*dim, [a, b, c], &mut at)?;
            hoist = hoist.map(|h| self.matrix_of(h, *dim, counted.index));
            loops.push(counted);
        }
        let claimed = hoist.map(|hoist| self.claim(hoist, own));
        let panels = claimed.map_or(own, |c| c.at);
        match claimed {
            Some(claimed) => self.fill_block(claimed, |lower| lower.pack(product, b, at[1], panels))?,
            None if k.is_none() => self.pack(product, b, at[1], panels)?,
            None => {}
        }
        let packed = loops.len();
        for dim in &product.more_m {
            loops.push(self.matrix_loop(*dim, [a, b, c], &mut at)?);
        }
        let zero = self.e.int(0);
        let a_row = a.stride(product.m).map_or(zero, |s| s.0);
        let c_row = c.stride(product.m).map_or(zero, |s| s.0);
        let (m, n) = (self.len(product.m), self.len(product.n));
        let k = match k {
            Some(k) => k,
            None => self.len(product.k),
        };
        let call = Dot { a: at[0], a_row, b: panels, c: at[2], c_row, scale: fade, m, n, k };
        dot::call(&mut self.e, kernel, &call);
        for counted in loops.split_off(packed).into_iter().rev() {
            self.e.close(counted, 1, &[]);
        }
        if let Some(claimed) = claimed {
            self.leave_block(claimed.hoist, claimed.claim);
        }
        for counted in loops.into_iter().rev() {
            self.e.close(counted, 1, &[]);
        }
        Ok(())
    }

    /// The packed operand as one that is packed once, if it lies in a tensor.
    fn panels(&mut self, product: &Product<'f>) -> Result<Option<Hoist>, Limit> {
        let Some(load) = self.facts.plain_load(product.b).filter(|_| product.b_in_place(self.facts)) else {
            return Ok(None);
        };
        let matrices = product.batch.iter().chain(&product.more_n).chain(&product.more_k);
        let parts: Vec<DimId> = [product.n, product.k].iter().chain(matrices).copied().collect();
        let size = |dim: DimId| self.func().dim(dim).size;
        let bytes = dot::packed_bytes(size(product.k), size(product.n));
        self.hoist(load, Form::Panels, &parts, bytes).map(Some)
    }

    /// A loop over a dim that is not the micro-kernel's; moves the addresses along.
    fn matrix_loop(&mut self, dim: DimId, operands: [&Operand; 3], at: &mut [ir::Value; 3]) -> Result<Counted, Limit> {
        let len = self.len(dim);
        let counted = self.open_rows(len);
        for (operand, at) in operands.iter().zip(at) {
            if let Some((stride, table)) = operand.stride(dim) {
                let lane = match table {
                    Some(table) => {
                        let entry = self.e.ins().ishl_imm_u(counted.index, 2);
                        let entry = self.e.ins().iadd(table, entry);
                        self.e.ins().sload32(crate::vector::ACCESS, entry, 0)
                    }
                    None => counted.index,
                };
                let offset = self.e.ins().imul(lane, stride);
                *at = self.e.ins().iadd(*at, offset);
            }
        }
        Ok(counted)
    }

    fn pack(&mut self, product: &Product<'f>, b: &Operand, from: ir::Value, into: ir::Value) -> Result<(), Limit> {
        let (n, k) = (product.n, product.k);
        let dense = |dim: DimId| match self.facts.plain_load(product.b).filter(|_| product.b_in_place(self.facts)) {
            Some(load) => self.facts.is_contiguous(load, dim),
            None => self.facts.dims(product.b).last() == Some(&dim),
        };
        let (along, row, column) = if dense(n) { (Along::N, k, n) } else { (Along::K, n, k) };
        let Some((stride, table)) = b.stride(row) else { return Err(self.bug("a packed operand lacks its dim")) };
        let piece = pack::piece(self.jit, Pack { dtype: b.dtype, along, gather: table.is_some() })?;
        let piece = self.jit.reference(piece, &mut self.e);
        let nowhere = self.e.int(0);
        let (rows, columns) = (self.len(row), self.len(column));
        let args = PackArgs { from, row: stride, table: table.unwrap_or(nowhere), into, rows, columns };
        pack::call(&mut self.e, piece, &args);
        Ok(())
    }

    /// The rows operand, and what to leave when it has been used.
    fn rows_operand(&mut self, product: &Product<'f>) -> Result<(Operand, Option<(Hoist, ir::Value)>), Limit> {
        if product.a_in_place(self.facts) {
            let there = self.tensor_operand(product.a)?;
            return match self.storage.scratch(Scratch::Rows(product.result)).cloned() {
                Some(rows) => self.spread_rows(product, &there, &rows),
                None => Ok((there, None)),
            };
        }
        let tile = self.tile(self.facts.resolve(product.a))?.clone();
        match self.storage.scratch(Scratch::Rows(product.result)).cloned() {
            Some(rows) => {
                self.copy_tile(&tile, &rows)?;
                Ok((self.tile_operand(&rows), None))
            }
            None => Ok((self.tile_operand(&tile), None)),
        }
    }

    /// Copies the rows of an operand that lies in a tensor if they are so far apart that they crowd the cache.
    fn spread_rows(
        &mut self,
        product: &Product<'f>,
        there: &Operand,
        rows: &Tile,
    ) -> Result<(Operand, Option<(Hoist, ir::Value)>), Limit> {
        let Some((stride, _)) = there.stride(product.m) else { return Err(self.bug("an operand lacks its rows")) };
        let Some(load) = self.facts.plain_load(product.a) else { return Err(self.bug("an operand is no load")) };
        let hoist = self.hoist(load, Form::Rows, &[product.m, product.k], rows.bytes(self.facts))?;
        let (copy, go_on) = (self.e.block(&[]), self.e.block(&[types::I64; 3]));
        let inside = self.e.ins().band_imm_s(stride, CROWDED - 1);
        let nothing = self.e.int(Claim::Private as i64);
        self.e.branch(inside, go_on, &[there.base, stride, nothing], copy, &[]);
        self.e.enter(copy);
        self.e.open_plain();
        let own = self.tile_address(rows.offset);
        let step = self.e.int(rows.step(product.m));
        let claimed = self.claim(hoist, own);
        self.fill_block(claimed, |lower| {
            let count = lower.len(product.m);
            let counted = lower.open_rows(count);
            let from = lower.e.ins().imul(counted.index, stride);
            let from = lower.e.ins().iadd(there.base, from);
            let to = lower.e.ins().imul(counted.index, step);
            let to = lower.e.ins().iadd(claimed.at, to);
            lower.copy_row(product.k, from, to)?;
            lower.e.close(counted, 1, &[]);
            Ok(())
        })?;
        self.e.close_plain();
        self.e.jump(go_on, &[claimed.at, step, claimed.claim]);
        let found = self.e.enter(go_on);
        let along = vec![(product.m, found[1], None), (product.k, self.e.int(4), None)];
        Ok((Operand { base: found[0], dtype: DType::F32, along }, Some((hoist, found[2]))))
    }

    fn packed_operand(&mut self, product: &Product<'f>) -> Result<Operand, Limit> {
        if product.b_in_place(self.facts) {
            return self.tensor_operand(product.b);
        }
        let tile = self.tile(self.facts.resolve(product.b))?.clone();
        Ok(self.tile_operand(&tile))
    }

    fn tensor_operand(&mut self, value: Value) -> Result<Operand, Limit> {
        let Some(load) = self.facts.plain_load(value) else { return Err(self.bug("an operand is no load")) };
        debug_assert!(matches!(load.op, Op::Load(..)));
        let (base, along) = self.opened(load)?.parts();
        Ok(Operand { base, dtype: self.facts.dtype(value), along })
    }

    fn tile_operand(&mut self, tile: &Tile) -> Operand {
        let base = self.tile_address(tile.offset);
        let along = tile.dims.iter().map(|d| (*d, self.e.int(tile.step(*d)), None)).collect();
        // Small floats are held as f32 in the arena.
        Operand { base, dtype: DType::F32, along }
    }
}
