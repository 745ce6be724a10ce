//! A compiled kernel: packs launches into words and runs ranges of grid cells. Which cells run where is the runtime's
//! business.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use pantile_diag::Span;
use pantile_ir::{BlockTable, Func, ParamKind};

use crate::hoist::{Hoisted, Site};
use crate::jit::Entry;
use crate::lower::{self, Lowered, Words};
use crate::{Features, Limit};

/// How to compile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// Keep `print` and `assert`.
    pub checks: bool,
    /// Keep the text of the functions, for people.
    pub keep_clif: bool,
    /// What the dot may use; by default all that the machine has.
    pub features: Features,
}

/// One argument of a launch.
#[derive(Clone, Debug)]
pub enum Arg {
    /// The bits of a scalar in the low bytes.
    Scalar(u64),
    /// A tensor.
    Tensor {
        /// Its first element.
        data: *mut u8,
        /// The distance between neighbours along each axis, in elements.
        strides: Vec<i64>,
    },
    /// A block mask: dense, row-major.
    Mask {
        /// One byte a block, 0 or 1.
        bits: *mut u8,
        /// Kept blocks of each row.
        count: *mut i32,
        /// Their numbers, ascending, one row's room each.
        list: *mut i32,
    },
}

/// What may differ from one launch of a kernel to the next.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// One a parameter.
    pub args: &'a [Arg],
    /// One an extent of the function.
    pub extents: &'a [i64],
    /// One a dim of the function: the table of its order in its block size, where it has an order.
    pub tables: &'a [Option<Arc<BlockTable>>],
    /// One an order of the function: element by position, -1 where there is none.
    pub orders: &'a [Arc<Vec<i32>>],
}

/// Where the time of a compilation went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Deciding what is fused, stored and where.
    pub plan: Duration,
    /// Writing Cranelift's IR.
    pub emit: Duration,
    /// Cranelift.
    pub codegen: Duration,
}

/// A kernel that can be run. It holds several variants of the code: for tensors whose last axis is dense (made at once),
/// and for other sets of strides (made when a launch first has them).
pub struct Kernel {
    func: Func,
    options: Options,
    words: Words,
    variants: RwLock<Variants>,
    timings: Timings,
    clif: Option<String>,
    code_bytes: usize,
}

#[derive(Default)]
struct Variants {
    by_strides: HashMap<Vec<bool>, usize>,
    list: Vec<Arc<Variant>>,
}

/// The code for one set of strides. What it stores, and where it may stop, depends on them.
struct Variant {
    entry: Entry,
    arena_bytes: usize,
    sites: Vec<(String, Span)>,
    hoists: Vec<Site>,
}

/// Compiles a kernel.
///
/// # Errors
/// What is too large for the machine, with numbers.
pub fn compile(func: &Func, options: &Options) -> Result<Kernel, Limit> {
    let dense = vec![true; func.params.len()];
    let lowered = lower::lower(func, options, &dense)?;
    let Lowered { entry, arena_bytes, sites, hoists, timings } = lowered;
    let (clif, code_bytes) = (entry.code().clif.clone(), entry.code().bytes);
    let first = Arc::new(Variant { entry, arena_bytes, sites, hoists });
    let variants = Variants { by_strides: HashMap::from([(dense, 0)]), list: vec![first] };
    Ok(Kernel {
        words: Words::new(func),
        func: func.clone(),
        options: *options,
        variants: RwLock::new(variants),
        timings,
        clif,
        code_bytes,
    })
}

impl Kernel {
    /// The size of the arena that each thread hands to [`Kernel::run`] with these words.
    pub fn arena_bytes(&self, words: &[u64]) -> usize {
        self.variant(words).arena_bytes
    }

    /// The size of the machine code.
    pub fn code_bytes(&self) -> usize {
        self.code_bytes
    }

    /// The functions as Cranelift's text, if they were kept.
    pub fn clif(&self) -> Option<&str> {
        self.clif.as_deref()
    }

    /// Where the time of compilation went.
    pub fn timings(&self) -> Timings {
        self.timings
    }

    /// What a fault's site means in a launch with these words.
    pub fn fault(&self, words: &[u64], site: u64) -> (String, Span) {
        let unknown = || (format!("unknown fault {site}"), Span::default());
        usize::try_from(site).ok().and_then(|n| self.variant(words).sites.get(n).cloned()).unwrap_or_else(unknown)
    }

    /// Packs a launch; compiles another variant of the code if its strides need one.
    ///
    /// # Errors
    /// As [`compile`].
    pub fn words(&self, launch: &Launch<'_>) -> Result<Vec<u64>, Limit> {
        let dense = self.dense(launch);
        let known = self.variants.read().unwrap_or_else(PoisonError::into_inner).by_strides.get(&dense).copied();
        let variant = match known {
            Some(variant) => variant,
            None => self.add_variant(dense)?,
        };
        let mut words = self.words.pack(&self.func, launch, variant as u64);
        words.resize(words.len() + self.variant(&words).hoists.len(), 0);
        Ok(words)
    }

    /// Which operands of its dots a launch with these words and extents had better make ready once for all cells, in at
    /// most `most` bytes. Without [`Kernel::hoist`] each cell does it for itself.
    pub fn hoisted(&self, words: &[u64], extents: &[i64], most: usize) -> Hoisted {
        Hoisted::new(&self.func, &self.variant(words).hoists, words, extents, most)
    }

    /// Gives the operands memory, and the words where it is: `memory` has [`Hoisted::bytes`] at a multiple of 64, and
    /// nothing else uses it while these words are run, nor do other words.
    pub fn hoist(&self, hoisted: &mut Hoisted, memory: *mut u8, words: &mut [u64]) {
        hoisted.place(memory, words.get_mut(self.words.len()..).unwrap_or_default());
    }

    fn add_variant(&self, dense: Vec<bool>) -> Result<usize, Limit> {
        let lowered = lower::lower(&self.func, &self.options, &dense)?;
        let mut variants = self.variants.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(variant) = variants.by_strides.get(&dense) {
            return Ok(*variant);
        }
        let Lowered { entry, arena_bytes, sites, hoists, timings: _ } = lowered;
        variants.list.push(Arc::new(Variant { entry, arena_bytes, sites, hoists }));
        let variant = variants.list.len() - 1;
        variants.by_strides.insert(dense, variant);
        Ok(variant)
    }

    /// The variant that packed words are for.
    fn variant(&self, words: &[u64]) -> Arc<Variant> {
        let variants = self.variants.read().unwrap_or_else(PoisonError::into_inner);
        let at = words.first().map_or(0, |v| *v as usize);
        variants.list[at.min(variants.list.len() - 1)].clone()
    }

    /// Which parameters have neighbouring elements along their last axis.
    fn dense(&self, launch: &Launch<'_>) -> Vec<bool> {
        let one = |(param, arg): (&pantile_ir::Param, &Arg)| match (&param.kind, arg) {
            (ParamKind::Tensor(_, axes), Arg::Tensor { strides, .. }) => match (axes.last(), strides.last()) {
                (Some(axis), Some(stride)) => *stride == 1 || self.func.axis_size(*axis, launch.extents) <= 1,
                _ => true,
            },
            (ParamKind::Tensor(..) | ParamKind::Scalar(..) | ParamKind::Mask(_), _) => true,
        };
        self.func.params.iter().zip(launch.args).map(one).collect()
    }

    /// Runs the grid cells `first_cell..first_cell + cells` (the first axis fastest). 0, or a fault's site + 1: then
    /// later cells have not run.
    ///
    /// # Safety
    /// `words` came from [`Kernel::words`] of this kernel for a launch whose arguments fit the function's parameters
    /// and are live, and whose tables fit its dims; `arena` has [`Kernel::arena_bytes`] of these words, at a multiple of
    /// 64, that no other thread uses; the cells exist; what the words were hoisted with is alive, and so is its memory.
    #[allow(unsafe_code, reason = "the caller vouches for the memory")]
    pub unsafe fn run(&self, words: &[u64], arena: *mut u8, first_cell: u64, cells: u64) -> u64 {
        let variant = self.variant(words);
        // SAFETY: the caller's promise is the callee's condition.
        unsafe { variant.entry.call(words.as_ptr(), arena, first_cell, cells) }
    }
}
