//! Which operands of a kernel's dots a launch makes ready once for all its cells, and in how much memory. It decides by
//! counting how often cells come to each block; it neither emits code nor owns the memory.

use pantile_ir::{Axis, DimId, ExtentId, Func, GridAxis, OrderId, ParamId};

use crate::cache::Cache;
use crate::lower::CROWDED;

/// A number that a launch gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Blocks of a dim.
    Blocks(DimId),
    /// Places along an axis.
    Places(Axis),
    /// Always the same.
    Fixed(i64),
}

/// How a block of the operand is made ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Packed into panels.
    Panels,
    /// Rows that crowd the cache, copied to where they do not.
    Rows,
}

/// What an axis of the operand's tensor is indexed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Along {
    /// A scalar.
    Scalar,
    /// A block. Dims that agree in all of this have the same blocks and are laid out alike.
    Block {
        /// Lanes of a full block.
        size: i64,
        /// What it is a block of.
        over: Option<ExtentId>,
        /// In which order.
        order: Option<OrderId>,
        /// Whether it is all of the axis.
        whole: bool,
        /// Which dim of the product it is.
        part: usize,
    },
}

/// What tells blocks of operands apart; two dots whose operands agree in it share blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct What {
    /// The tensor.
    pub param: ParamId,
    /// What is made of it.
    pub form: Form,
    /// Its axes.
    pub along: Vec<Along>,
}

/// A dot that uses the blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The loops around it in one cell.
    pub loops: Vec<Count>,
    /// The product of these is the number of blocks that one cell may come to.
    pub in_cell: Vec<Count>,
}

/// An operand whose blocks can be made ready once.
#[derive(Clone, Debug)]
pub struct Site {
    /// Which.
    pub what: What,
    /// The product of these is the number of its blocks.
    pub blocks: Vec<Count>,
    /// The dots that use it.
    pub uses: Vec<Use>,
    /// Bytes of a block, a multiple of 64.
    pub block_bytes: i64,
    /// Only if the distance in this word, in elements of so many bytes, crowds the cache.
    pub crowded: Option<(usize, i64)>,
}

/// Visits of a block that make it worth keeping.
const REUSE: i64 = 2;

/// What one launch keeps: for each operand a cache, if it is worth one.
pub struct Hoisted {
    /// Slots and bytes of a block.
    wanted: Vec<Option<(usize, u64)>>,
    caches: Vec<Option<Cache>>,
}

impl Hoisted {
    /// Decides, so that the memory is at most `most` bytes.
    pub(crate) fn new(func: &Func, sites: &[Site], words: &[u64], extents: &[i64], most: usize) -> Self {
        let product = |counts: &[Count]| {
            counts.iter().fold(1i64, |n, count| n.saturating_mul(number(func, extents, *count).max(0)))
        };
        let grid = func.grid.iter().map(|axis| match axis {
            GridAxis::Walk(dim) => Count::Blocks(*dim),
            GridAxis::Each(axis, _) => Count::Places(*axis),
        });
        let cells = product(&grid.collect::<Vec<_>>());
        let worth = |site: &&Site| {
            let distance = |(word, bytes): (usize, i64)| words.get(word).map_or(1, |n| (*n as i64).wrapping_mul(bytes));
            if site.crowded.is_some_and(|at| distance(at) % CROWDED != 0) {
                return false;
            }
            let visits = site.uses.iter().fold(0i64, |n, u| n.saturating_add(product(&u.loops)));
            visits.saturating_mul(cells) >= product(&site.blocks[..site.what.along.len()]).saturating_mul(REUSE)
        };
        let share = most / sites.iter().filter(worth).count().max(1);
        let decide = |site: &Site| {
            let bytes = u64::try_from(site.block_bytes).ok().filter(|n| *n > 0)?;
            let room = i64::try_from(share as u64 / bytes).ok()?;
            let slots = product(&site.blocks).min(room);
            // With less room than one cell needs, each would find what others have left and leave nothing to them.
            let fits = site.uses.iter().all(|u| product(&u.in_cell) <= slots);
            let slots = usize::try_from(slots).ok().filter(|n| *n > 0)?;
            (worth(&site) && fits).then_some((slots, bytes))
        };
        Self { wanted: sites.iter().map(decide).collect(), caches: Vec::new() }
    }

    /// The memory that it needs.
    pub fn bytes(&self) -> usize {
        self.wanted.iter().flatten().map(|(slots, block)| slots * *block as usize).sum()
    }

    /// Gives it [`Hoisted::bytes`] of memory at a multiple of 64, and the launch's words their caches.
    pub(crate) fn place(&mut self, memory: *mut u8, words: &mut [u64]) {
        let mut at = memory.expose_provenance() as u64;
        let caches = self.wanted.iter().map(|wanted| {
            let (slots, block) = (*wanted)?;
            let cache = Cache::new(slots, block, at);
            at += slots as u64 * block;
            Some(cache)
        });
        self.caches = caches.collect();
        let addresses = self.caches.iter().map(|c| c.as_ref().map_or(0, |c| std::ptr::from_ref(c).expose_provenance()));
        for (word, address) in words.iter_mut().zip(addresses) {
            *word = address as u64;
        }
    }

    /// How often each operand's blocks have been made ready for all, of those that are kept.
    pub fn fills(&self) -> Vec<Option<u64>> {
        self.caches.iter().map(|cache| cache.as_ref().map(Cache::fills)).collect()
    }
}

fn number(func: &Func, extents: &[i64], count: Count) -> i64 {
    match count {
        Count::Blocks(dim) if func.dim(dim).whole => 1,
        Count::Blocks(dim) => func.block_count(dim, extents),
        Count::Places(axis) => func.axis_size(axis, extents),
        Count::Fixed(n) => n,
    }
}
