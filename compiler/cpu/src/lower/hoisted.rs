//! Emits the use of blocks of operands that are made ready once for all cells: which block a cell is at, asking for it,
//! filling it, and the end of its use. When that is worth it, and how workers share, is decided elsewhere.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use pantile_ir::{DimId, GridAxis, Index, Inst, Op};

use super::Lower;
use crate::Limit;
use crate::cache::{self, Claim};
use crate::hoist::{Along, Count, Form, Site, Use, What};

/// An operand at a cell's place: its cache, and which of its blocks the cell is at.
#[derive(Clone, Copy)]
pub struct Hoist {
    cache: ir::Value,
    block: ir::Value,
}

/// A block that was asked for.
#[derive(Clone, Copy)]
pub struct Claimed {
    /// What was asked for it.
    pub hoist: Hoist,
    /// The claim's number.
    pub claim: ir::Value,
    /// Where it is: its place in the cache, or the cell's own memory.
    pub at: ir::Value,
}

impl<'f> Lower<'_, 'f> {
    /// The operand of a dot that a plain load gives. `parts` are the operand's dims, first the two of a matrix, then
    /// those of which there are several; of them only the first blocks are told apart here, see [`Lower::matrix_of`].
    pub(super) fn hoist(&mut self, load: &'f Inst, form: Form, parts: &[DimId], bytes: i64) -> Result<Hoist, Limit> {
        let Op::Load(param, index) = &load.op else { return Err(self.bug("an operand is no load")) };
        let func = self.func();
        let (mut along, mut blocks, mut in_cell) = (Vec::new(), Vec::new(), Vec::new());
        let mut block = self.e.int(0);
        let mut scalars = load.args.iter();
        for (axis, index) in func.axes(*param).iter().zip(index) {
            match index {
                Index::Dim(dim) => {
                    let d = func.dim(*dim);
                    let part = parts.iter().position(|p| p == dim).unwrap_or(parts.len());
                    along.push(Along::Block { size: d.size, over: d.over, order: d.order, whole: d.whole, part });
                    blocks.push(Count::Blocks(*dim));
                    if !func.grid.contains(&GridAxis::Walk(*dim)) {
                        in_cell.push(Count::Blocks(*dim));
                    }
                    if !d.whole && d.over.is_some() {
                        let count = self.block_count(*dim);
                        let Some(at) = self.blocks.get(dim) else { return Err(self.bug("a block that is not there")) };
                        let at = at.index;
                        block = self.e.ins().imul(block, count);
                        block = self.e.ins().iadd(block, at);
                    }
                }
                Index::Value => {
                    let value = *scalars.next().ok_or_else(|| self.bug("an index is missing"))?;
                    along.push(Along::Scalar);
                    blocks.push(Count::Places(*axis));
                    let (count, at) = (self.axis_size(*axis), self.scalar(value)?.value());
                    block = self.e.ins().imul(block, count);
                    block = self.e.ins().iadd(block, at);
                }
            }
        }
        let matrices = parts.iter().skip(2).map(|d| Count::Fixed(func.dim(*d).size));
        blocks.extend(matrices.clone());
        in_cell.extend(matrices);
        let distance = index.iter().position(|i| Some(i) == parts.first().map(|d| Index::Dim(*d)).as_ref());
        let crowded = distance.filter(|_| form == Form::Rows).map(|axis| {
            (self.words.param(*param, 1 + axis) as usize / 8, self.facts.dtype(load.results[0]).bytes() as i64)
        });
        let what = What { param: *param, form, along };
        let site = self.site(Site { what, blocks, uses: Vec::new(), block_bytes: bytes, crowded });
        self.hoists[site].uses.push(Use { loops: self.loops.clone(), in_cell });
        let cache = self.word(self.words.cache(site));
        Ok(Hoist { cache, block })
    }

    fn site(&mut self, site: Site) -> usize {
        let known = self.hoists.iter().position(|s| s.what == site.what && s.block_bytes == site.block_bytes);
        known.unwrap_or_else(|| {
            self.hoists.push(site);
            self.hoists.len() - 1
        })
    }

    /// The matrix at `index` along a dim of which there are several.
    pub(super) fn matrix_of(&mut self, hoist: Hoist, dim: DimId, index: ir::Value) -> Hoist {
        let block = self.times(hoist.block, self.func().dim(dim).size);
        Hoist { block: self.e.ins().iadd(block, index), ..hoist }
    }

    /// Asks for a block; `own` is the cell's memory for one.
    pub(super) fn claim(&mut self, hoist: Hoist, own: ir::Value) -> Claimed {
        let args = [hoist.cache, hoist.block, own];
        let found = self.e.call_host(cache::claimer(), &[types::I64; 3], &[types::I64], &args)[0];
        let claim = self.e.ins().band_imm_s(found, Claim::MASK as i64);
        let at = self.e.ins().band_imm_s(found, !(Claim::MASK as i64));
        Claimed { hoist, claim, at }
    }

    /// Emits what fills a block, for when it is not there.
    pub(super) fn fill_block(
        &mut self,
        claimed: Claimed,
        fill: impl FnOnce(&mut Self) -> Result<(), Limit>,
    ) -> Result<(), Limit> {
        let (missing, there) = (self.e.block(&[]), self.e.block(&[]));
        let ready = self.e.ins().icmp_imm_u(IntCC::Equal, claimed.claim, Claim::Ready as i64);
        self.e.branch(ready, there, &[], missing, &[]);
        self.e.enter(missing);
        self.e.open_plain();
        fill(self)?;
        self.call_cache(cache::filler(), claimed.hoist, claimed.claim);
        self.e.close_plain();
        self.e.jump(there, &[]);
        self.e.enter(there);
        Ok(())
    }

    /// The end of a block's use.
    pub(super) fn leave_block(&mut self, hoist: Hoist, claim: ir::Value) {
        self.call_cache(cache::leaver(), hoist, claim);
    }

    fn call_cache(&mut self, function: usize, hoist: Hoist, claim: ir::Value) {
        self.e.call_host(function, &[types::I64; 3], &[], &[hoist.cache, hoist.block, claim]);
    }

    /// How often a loop of the kernel runs in one cell, if the launch says it.
    pub(super) fn trips(&self, inst: &'f Inst) -> Count {
        let Op::For(it) = &inst.op else { return Count::Fixed(1) };
        match it.over {
            pantile_ir::Over::Walk(dim) => Count::Blocks(dim),
            pantile_ir::Over::Range => {
                let ends = inst.loop_args(self.func()).and_then(|args| args.range);
                let number = |v: pantile_ir::Value| match self.facts.defs[v.index()].map(|i| &i.op) {
                    Some(Op::Const(_, pantile_ir::Scalar::Int(n))) => Some(*n),
                    Some(_) | None => None,
                };
                let trips = ends.and_then(|(lo, hi)| Some(number(hi)? - number(lo)?));
                Count::Fixed(trips.unwrap_or(1).max(1))
            }
        }
    }
}
