//! Runs a loop over lanes in the host's widest registers where `crate::wide` can write it, and the lanes that fill none as
//! Cranelift does. What a loop computes is decided elsewhere.
//!
//! The loop is emitted in 128 bits first, as the remainder's loop. If its body has a wide form, a call of that form goes in
//! front of it and it starts where the call stopped; if not, it stays unreached, and another takes its place that unrolls.

use cranelift_codegen::ir::{self, InstBuilder, TrapCode, types};
use pantile_ir::{DType, ReduceOp};

use super::{Lower, Words};
use crate::emit::Looped;
use crate::vector::{Lanes, Width};
use crate::wide::{self, Ahead, Body};
use crate::{Limit, arith};

/// A loop over lanes `0..whole`, a multiple of four.
pub(super) struct LaneLoop<'a> {
    /// Where it ends.
    pub whole: ir::Value,
    /// The most that it can be.
    pub size: i64,
    /// Groups of four a trip, in 128 bits.
    pub copies: i64,
    /// What is carried.
    pub start: &'a [Lanes],
    /// How what is carried becomes one, and in which dtype.
    pub folds: &'a [(ReduceOp, DType)],
    /// What to bring into a cache meanwhile.
    pub ahead: &'a [Ahead],
}

/// Emits lanes of a loop: from, to, groups a trip, what is carried.
pub(super) type EmitLanes<'a, 'x, 'f> =
    dyn FnMut(&mut Lower<'x, 'f>, (ir::Value, ir::Value), i64, &[Lanes]) -> Result<(Vec<Lanes>, Looped), Limit> + 'a;

impl<'x, 'f> Lower<'x, 'f> {
    /// Runs it; what is carried afterwards.
    pub(super) fn lane_loop(
        &mut self,
        it: &LaneLoop<'_>,
        emit: &mut EmitLanes<'_, 'x, 'f>,
    ) -> Result<Vec<Lanes>, Limit> {
        let zero = self.e.int(0);
        let simple = it.start.iter().all(|lanes| lanes.values().len() == 1);
        let lanes = match wide::lanes(self.jit.features()) {
            Some(lanes) if it.size >= lanes && simple => lanes,
            Some(_) | None => return Ok(emit(self, (zero, it.whole), it.copies, it.start)?.0),
        };
        self.streamed.clear();
        let here = self.e.block(&[]);
        self.e.jump(here, &[]);
        let carried: Vec<ir::Value> = it.start.iter().map(Lanes::value).collect();
        let tys: Vec<ir::Type> = carried.iter().map(|v| self.e.ty(*v)).collect();
        let narrow = self.e.block(&[&[types::I64], &tys[..]].concat());
        let params = self.e.enter(narrow);
        let start = it.start.iter().zip(&params[1..]);
        let start: Vec<Lanes> = start.map(|(lanes, v)| Lanes::from_values(lanes.dtype, Width::Four, &[*v])).collect();
        let (end, looped) = emit(self, (params[0], it.whole), 1, &start)?;
        let exit = self.e.here();
        let Some((body, code)) = self.wide_form(&looped, &carried, it)? else {
            self.e.enter_again(exit);
            self.e.ins().trap(TrapCode::unwrap_user(1));
            self.e.enter_again(here);
            let zero = self.e.int(0);
            return Ok(emit(self, (zero, it.whole), it.copies, it.start)?.0);
        };
        self.e.enter_again(here);
        let done = self.e.ins().band_imm_s(it.whole, -lanes);
        let stream = body.streams().then(|| self.word(Words::STREAMED));
        self.streams |= stream.is_some();
        let sums = wide::call(&mut self.e, self.jit, &body, &code, done, stream, &tys)?;
        self.e.jump(narrow, &[&[done], &sums[..]].concat());
        self.e.enter_again(exit);
        Ok(end)
    }

    fn wide_form(
        &mut self,
        looped: &Looped,
        carried: &[ir::Value],
        it: &LaneLoop<'_>,
    ) -> Result<Option<(Body, Vec<u8>)>, Limit> {
        let folds: Vec<(ir::Block, ir::Value)> =
            it.folds.iter().map(|(op, dtype)| self.fold_block(*op, *dtype)).collect();
        let streamed = std::mem::take(&mut self.streamed);
        let read = wide::read(self.e.b.func, looped.body, looped.before, carried, &folds, (&streamed, self.e.halves()));
        let Some(mut body) = read else { return Ok(None) };
        it.ahead.iter().for_each(|ahead| body.fetch(*ahead));
        Ok(wide::assemble(self.jit.features(), &body)?.map(|code| (body, code)))
    }

    /// Two groups becoming one, in a block that nothing reaches: to be read.
    fn fold_block(&mut self, op: ReduceOp, dtype: DType) -> (ir::Block, ir::Value) {
        let ty = crate::vector::register(dtype, Width::Four);
        let block = self.e.block(&[ty, ty]);
        let params = self.e.enter(block);
        let [a, b] = [params[0], params[1]].map(|v| Lanes::from_values(dtype, Width::Four, &[v]));
        let result = arith::combine(&mut self.e, op, a, b).value();
        self.e.ins().trap(TrapCode::unwrap_user(1));
        (block, result)
    }
}
