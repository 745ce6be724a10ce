//! Tile IR → what each thread of a block does. One block runs one instance of the grid; tiles are spread over the
//! registers of its threads ([`Spread`]), scalars are held by all threads alike, so control flow never diverges.
//!
//! The function has gone through the passes for fixed tiles: padding lanes are computed as valid ones, loads give 0 there,
//! stores leave them out (`docs/decisions/0009`).

mod access;
mod blocks;
mod chained;
mod convert;
mod dot;
mod facts;
mod fold;
mod form;
mod gather;
mod infer;
mod keys;
mod limits;
mod linear;
mod masks;
mod multiply_add;
mod operand;
mod print;
mod reduce;
mod regions;
mod rings;
mod rotated;
mod rows;
mod scan;
mod sort;
mod spread;
mod staged;
mod tiles;
mod wgmma;
mod words;

pub(crate) use dot::{Unit, unit};
pub use facts::Facts;
pub(crate) use form::Form;
#[cfg(test)]
pub(crate) use infer::spreads;
pub(crate) use infer::{Kind, Spreads, Warps};
pub use spread::{Bit, LANE_BITS, Spread};
pub(crate) use staged::Staged;
pub use words::Words;

use std::collections::HashMap;

use pantile_diag::Span;
use pantile_ir::{DType, DimId, Func, Inst, Type, Value};

use crate::Limit;
use crate::element;
use crate::kernel::Options;
use crate::printed::PrintSite;
use crate::schedule::{Schedule, each};
use crate::simt::{Builder, Program, Special, Ty, Value as Reg};
use blocks::Block;
use rings::{RingState, Role, View};
use wgmma::Pending;

/// A tile in registers.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// Where its elements are.
    pub spread: Spread,
    /// One a register of the spread.
    pub registers: Vec<Reg>,
}

/// What is known in a region, and forgotten behind it.
#[derive(Clone, Default)]
pub(crate) struct Scope {
    /// Scalars by value.
    scalars: HashMap<Value, Reg>,
    /// Tiles by value: as they came, and as they were converted.
    tiles: HashMap<Value, Vec<Held>>,
    /// Tiles in stages of rings.
    views: HashMap<Value, View>,
    /// The current block of each dim.
    blocks: HashMap<DimId, Block>,
}

/// Emits one program.
pub(crate) struct Lower<'f> {
    pub(crate) func: &'f Func,
    pub(crate) words: &'f Words,
    pub(crate) facts: &'f Facts,
    pub(crate) options: &'f Options,
    pub(crate) b: Builder,
    pub(crate) scope: Scope,
    /// How each tile is to be held; none for tiles that are made wherever they are needed.
    pub(crate) spreads: Spreads,
    pub(crate) warps: Warps,
    /// The instruction that gives each value, where there is one.
    pub(crate) defs: Vec<Option<&'f Inst>>,
    /// The thread's lane and its warp.
    pub(crate) lane: Reg,
    pub(crate) warp: Reg,
    /// The number of the instance that runs, for faults.
    pub(crate) instance: Reg,
    /// Shared memory that the largest use takes, in bytes.
    pub(crate) shared: u32,
    /// Where the room starts that is used for one thing after another.
    pub(crate) scratch_base: u32,
    /// Whether other threads may still read shared memory, or global memory may have been written, since all last met.
    pub(crate) shared_in_use: bool,
    pub(crate) stored: bool,
    pub(crate) sites: Vec<(String, Span)>,
    pub(crate) prints: Vec<PrintSite>,
    pub(crate) schedule: Schedule,
    /// Who runs what is being emitted, and where the rings stand for them.
    pub(crate) role: Role,
    pub(crate) rings: Vec<RingState>,
    /// Products under way, oldest first; and those that are done and that nobody has taken.
    pub(crate) pending: Vec<Pending>,
    pub(crate) settled: HashMap<Value, (Spread, Vec<Reg>)>,
}

/// What lowering makes of a function.
pub(crate) struct Lowered {
    /// What each thread does.
    pub program: Program,
    /// What its faults mean.
    pub sites: Vec<(String, Span)>,
    /// What its prints print.
    pub prints: Vec<PrintSite>,
    /// How its work is laid out.
    pub schedule: Schedule,
}

/// The program of each thread.
pub(crate) fn lower(func: &Func, words: &Words, facts: &Facts, options: &Options) -> Result<Lowered, Limit> {
    let mut options = *options;
    let most = options.target.shared_bytes();
    let made = loop {
        let made = once(func, words, facts, &options)?;
        let over = (made.program.shared as usize).saturating_sub(most);
        // Fewer stages leave more room for the rest, which is known once the code is made.
        if over == 0 || !made.schedule.specialised() {
            break made;
        }
        let scratch = made.program.shared - made.schedule.shared() + 1024;
        options.choices.specialise &= scratch > options.choices.scratch;
        options.choices.scratch = scratch;
    };
    let shared = made.program.shared;
    if shared as usize > most {
        let message = format!(
            "its blocks need {} KiB of shared memory where {} has {} KiB a block; {}",
            shared.div_ceil(1024),
            options.target,
            most / 1024,
            limits::way_out(func, Warps::of(func, &options))
        );
        return Err(Limit::new(message));
    }
    Ok(made)
}

fn once(func: &Func, words: &Words, facts: &Facts, options: &Options) -> Result<Lowered, Limit> {
    let warps = Warps::of(func, options);
    limits::tiles(func, warps)?;
    let spreads = infer::spreads(func, facts, options, warps);
    let schedule = Schedule::new(func, facts, options, warps, &spreads);
    schedule.verify(func).map_err(|broken| {
        Limit::new(format!("this is a bug of the compiler, in `{}`: its schedule is wrong: {broken}", func.name))
    })?;
    let mut b = Builder::new(entry_name(&func.name), schedule.threads());
    let thread = b.special(Special::Thread);
    let lane = b.and_const(thread, 31);
    let warp = b.shr_const(thread, 5);
    let instance = b.special(Special::Block);
    let mut lower = Lower {
        func,
        words,
        facts,
        options,
        b,
        scope: Scope::default(),
        spreads,
        warps,
        defs: definitions(func),
        lane,
        warp,
        instance,
        shared: 0,
        scratch_base: 0,
        shared_in_use: false,
        stored: false,
        sites: Vec::new(),
        prints: Vec::new(),
        schedule,
        role: Role::All,
        rings: Vec::new(),
        pending: Vec::new(),
        settled: HashMap::new(),
    };
    lower.roles()?;
    let Lower { mut b, shared, sites, prints, schedule, .. } = lower;
    let program = b.program();
    (program.words, program.shared, program.fault_word) = (words.len(), shared, 0);
    Ok(Lowered { program: b.finish(), sites, prints, schedule })
}

/// A name that PTX takes.
fn entry_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

fn definitions(func: &Func) -> Vec<Option<&Inst>> {
    let mut defs = vec![None; func.types.len()];
    each(&func.body, &mut |inst| inst.results.iter().for_each(|v| defs[v.index()] = Some(inst)));
    defs
}

impl<'f> Lower<'f> {
    /// A fault of this compiler.
    pub(crate) fn bug(&self, what: impl std::fmt::Display) -> Limit {
        Limit::new(format!("this is a bug of the compiler, in `{}`: {what}", self.func.name))
    }

    /// The dims of a value's type.
    pub(crate) fn dims(&self, value: Value) -> &'f [DimId] {
        self.func.ty(value).dims()
    }

    /// The dtype of a value's elements.
    pub(crate) fn dtype(&self, value: Value) -> DType {
        self.func.ty(value).dtype()
    }

    /// Whether a value is a scalar.
    pub(crate) fn is_scalar(&self, value: Value) -> bool {
        matches!(self.func.ty(value), Type::Scalar(_))
    }

    /// The bits of positions along a dim: lanes are rounded up to a power of two.
    pub(crate) fn bits(&self, dim: DimId) -> u32 {
        lane_bits(self.func, dim)
    }

    /// A word of the launch.
    pub(crate) fn word(&mut self, word: u32) -> Reg {
        self.b.param(word)
    }

    /// A word that 32 bits hold.
    pub(crate) fn word32(&mut self, word: u32) -> Reg {
        let wide = self.word(word);
        self.b.convert(crate::simt::Convert::Truncate, wide)
    }

    /// A scalar, in every thread.
    pub(crate) fn scalar(&self, value: Value) -> Result<Reg, Limit> {
        let reg = self.scope.scalars.get(&value).copied();
        reg.ok_or_else(|| self.bug(format!("`%{}` is not there", value.0)))
    }

    /// A scalar parameter's bits as an element.
    pub(crate) fn scalar_param(&mut self, word: u32, dtype: DType) -> Reg {
        let bits = self.word(word);
        match element::carrier(dtype) {
            Ty::I64 => bits,
            Ty::F64 => self.b.convert(crate::simt::Convert::Bits(Ty::F64), bits),
            Ty::Bool | Ty::I32 | Ty::F32 => {
                let low = self.b.convert(crate::simt::Convert::Truncate, bits);
                element::from_unit(&mut self.b, dtype, low, 0)
            }
        }
    }

    /// The site of a fault: its code.
    pub(crate) fn site(&mut self, message: impl Into<String>, span: Span) -> Reg {
        self.sites.push((message.into(), span));
        self.b.i32(self.sites.len() as i32)
    }

    /// Stops the launch where a predicate holds.
    pub(crate) fn fault_if(&mut self, holds: Reg, message: impl Into<String>, span: Span) {
        if self.b.known(holds) == Some(0) {
            return;
        }
        let code = self.site(message, span);
        self.b.emit(crate::simt::Op::Fault, &[holds, code, self.instance], &[]);
    }

    /// Room in shared memory for one use, which all threads have left by then; where it starts.
    pub(crate) fn scratch(&mut self, bytes: u32) -> u32 {
        self.settle_all();
        if self.shared_in_use {
            self.meet();
        }
        self.shared = self.shared.max(self.scratch_base + bytes);
        self.shared_in_use = true;
        self.scratch_base
    }

    /// All threads meet; what was written is there for all.
    pub(crate) fn meet(&mut self) {
        self.wait_for_all();
        self.stored = false;
    }
}

/// All bits of positions along some dims, the last dim's lowest first.
pub(crate) fn all_bits(func: &Func, dims: &[DimId]) -> Vec<Bit> {
    dims.iter().rev().flat_map(|d| (0..lane_bits(func, *d)).map(|p| Some((*d, p)))).collect()
}

/// The bits of positions along a dim.
pub(crate) fn lane_bits(func: &Func, dim: DimId) -> u32 {
    (func.dim(dim).size.max(1) as u64).next_power_of_two().trailing_zeros()
}
