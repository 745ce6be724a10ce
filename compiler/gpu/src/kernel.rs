//! A compiled kernel: which variant of its code a launch needs, its words and the size of its grid. Who launches it, and
//! where memory is, is the runtime's business.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use pantile_diag::Span;
use pantile_ir::{Func, GridAxis, Op, Param, ParamKind, Region};

use crate::lower::{self, Facts, Words};
use crate::printed::{self, PrintSite};
use crate::schedule::Map;
use crate::simt::Program;
use crate::{Limit, Target, TensorMap};

/// How to compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// What to compile for.
    pub target: Target,
    /// Keep `print` and `assert`.
    pub checks: bool,
    /// Products of f32 may round their operands to tf32 (10 bits of fraction) and go to tensor cores.
    pub tf32: bool,
    /// What may be chosen of the schedule.
    pub choices: Choices,
}

impl Options {
    /// For a target, without checks, with the usual choices.
    pub fn new(target: Target) -> Self {
        Self { target, checks: false, tf32: false, choices: Choices::default() }
    }
}

/// What of a schedule is a matter of speed alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Choices {
    /// Whether warps of their own bring operands into shared memory.
    pub specialise: bool,
    /// The most stages of what they bring.
    pub stages: u32,
    /// Whether products of a loop's next round are started before the arithmetic of this one.
    pub rotate: bool,
    /// Bytes of shared memory that are left to other uses; more, if they need it.
    pub scratch: u32,
}

impl Default for Choices {
    fn default() -> Self {
        Self { specialise: true, stages: 4, rotate: true, scratch: 0 }
    }
}

/// One argument of a launch. Addresses are the device's.
#[derive(Clone, Debug)]
pub enum Arg {
    /// The bits of a scalar in the low bytes.
    Scalar(u64),
    /// A tensor.
    Tensor {
        /// Its first element.
        data: u64,
        /// The distance between neighbours along each axis, in elements.
        strides: Vec<i64>,
    },
    /// A block mask: dense, row-major.
    Mask {
        /// One byte a block, 0 or 1.
        bits: u64,
        /// Kept blocks of each row, i32.
        count: u64,
        /// Their numbers, ascending, one row's room each, i32.
        list: u64,
    },
}

/// What may differ from one launch of a kernel to the next. Addresses are the device's.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// One a parameter.
    pub args: &'a [Arg],
    /// One an extent of the function.
    pub extents: &'a [i64],
    /// One a dim of the function: the elements, positions and lengths (i32 each) of its order's [`pantile_ir::BlockTable`]
    /// in its block size, where it has an order.
    pub tables: &'a [Option<[u64; 3]>],
    /// One an order of the function: element by position, i32, -1 where there is none.
    pub orders: &'a [u64],
    /// Two i32 that are 0, aligned to 8: a fault's code is put there, and the number of its instance.
    pub fault: u64,
    /// Where [`Kernel::prints`] says so, [`PRINT_BYTES`](crate::PRINT_BYTES) bytes, the first 16 of them 0: what the kernel
    /// prints is put there.
    pub print: u64,
}

/// A kernel for one target. It holds several variants of the code, for different strides and alignments.
pub struct Kernel {
    func: Func,
    options: Options,
    words: Words,
    variants: RwLock<HashMap<Facts, Arc<Variant>>>,
}

/// The code for launches of which the same is known.
#[derive(Debug)]
pub struct Variant {
    /// What each thread does.
    pub program: Program,
    /// Which launches it is for, in a few words.
    pub about: &'static str,
    /// How its work is laid out over warps and time, as text.
    pub schedule: String,
    maps: Vec<Map>,
    sites: Vec<(String, Span)>,
    prints: Vec<PrintSite>,
}

impl Variant {
    /// The lines that a launch printed, from its buffer.
    pub fn printed(&self, buffer: &[u8]) -> Vec<String> {
        printed::lines(&self.prints, buffer)
    }

    /// What a fault's code means.
    pub fn fault(&self, code: u32) -> (String, Span) {
        let unknown = || (format!("unknown fault {code}"), Span::default());
        (code as usize).checked_sub(1).and_then(|n| self.sites.get(n).cloned()).unwrap_or_else(unknown)
    }
}

/// A launch, packed.
#[derive(Debug)]
pub struct Packed {
    /// Its code.
    pub variant: Arc<Variant>,
    /// Its words.
    pub words: Vec<u64>,
    /// Instances along each axis of the grid, the first of which varies fastest.
    pub grid: Vec<u64>,
    /// Blocks of the grid; may be 0, or more than a grid can have.
    pub blocks: u64,
}

/// Makes a kernel ready; its code is made when a launch needs it.
///
/// # Errors
/// What is too large for the target, with numbers: the variant for dense, aligned tensors is made at once.
pub fn compile(func: &Func, options: &Options) -> Result<Kernel, Limit> {
    let mut options = *options;
    let prints = options.checks && any_print(&func.body);
    if prints {
        // Prints of an instance come in the order of the text.
        (options.choices.specialise, options.choices.rotate) = (false, false);
    }
    let kernel = Kernel { words: Words::new(func, prints), func: func.clone(), options, variants: RwLock::default() };
    kernel.variant(Facts::best(func))?;
    Ok(kernel)
}

fn any_print(region: &Region) -> bool {
    region.insts.iter().any(|inst| matches!(inst.op, Op::Print(_)) || inst.regions.iter().any(any_print))
}

impl Kernel {
    /// Whether a launch needs a place for what it prints.
    pub fn prints(&self) -> bool {
        self.words.print().is_some()
    }

    /// The function.
    pub fn func(&self) -> &Func {
        &self.func
    }

    /// The variant for dense tensors at addresses, and of sizes, that are multiples of 16.
    ///
    /// # Errors
    /// As [`compile`].
    pub fn best(&self) -> Result<Arc<Variant>, Limit> {
        self.variant(Facts::best(&self.func))
    }

    /// The variants that together serve any launch, those that know more first: to be compiled ahead of time.
    ///
    /// # Errors
    /// As [`compile`].
    pub fn ahead(&self) -> Result<Vec<Arc<Variant>>, Limit> {
        let least = |dense| Facts::least(&self.func, dense);
        [Facts::best(&self.func), least(true), least(false)].into_iter().map(|facts| self.variant(facts)).collect()
    }

    /// Of [`Kernel::ahead`], those that serve a launch, whichever its own variant is; its words are the same.
    ///
    /// # Errors
    /// As [`compile`].
    pub fn substitutes(&self, launch: &Launch<'_>) -> Result<Vec<Arc<Variant>>, Limit> {
        let dense = self.facts(launch).dense.iter().all(|dense| *dense);
        let kinds = if dense { &[true, false][..] } else { &[false][..] };
        kinds.iter().map(|dense| self.variant(Facts::least(&self.func, *dense))).collect()
    }

    /// Packs a launch; makes another variant of the code if it needs one.
    ///
    /// # Errors
    /// As [`compile`]; extents that 32 bits do not hold.
    pub fn pack(&self, launch: &Launch<'_>) -> Result<Packed, Limit> {
        if let Some((extent, size)) =
            self.func.extents.iter().zip(launch.extents).find(|(_, size)| **size > i64::from(i32::MAX))
        {
            let message = format!(
                "extent `{}` is {size}: a GPU kernel's extents are below 2^31; launch it in parts",
                extent.name
            );
            return Err(Limit::new(message));
        }
        let variant = self.variant(self.facts(launch))?;
        let grid = self.grid(launch.extents);
        let blocks = grid.iter().fold(1, |all: u64, n| all.saturating_mul(*n));
        Ok(Packed { variant, words: self.words.pack(launch), grid, blocks })
    }

    /// The tensor maps of a launch, one a map of a variant's program.
    ///
    /// # Errors
    /// If a tensor of the launch is none that bulk copies take.
    pub fn maps(&self, variant: &Variant, launch: &Launch<'_>) -> Result<Vec<TensorMap>, Limit> {
        let name = |map: &Map| &self.func.param(map.param).name;
        let wrong = |map: &Map, why: &str| Limit::new(format!("`{}` cannot be copied in boxes: {why}", name(map)));
        let one = |map: &Map| {
            let made = map.of(&self.func, launch).ok_or_else(|| wrong(map, "it is no tensor"))?;
            made.check().map_err(|why| wrong(map, &why))?;
            Ok(made)
        };
        variant.maps.iter().map(one).collect()
    }

    fn grid(&self, extents: &[i64]) -> Vec<u64> {
        let size = |axis: &GridAxis| match axis {
            GridAxis::Walk(dim) => self.func.block_count(*dim, extents),
            GridAxis::Each(axis, _) => self.func.axis_size(*axis, extents),
        };
        self.func.grid.iter().map(|axis| size(axis).max(0) as u64).collect()
    }

    fn variant(&self, facts: Facts) -> Result<Arc<Variant>, Limit> {
        let known = self.variants.read().unwrap_or_else(PoisonError::into_inner).get(&facts).cloned();
        if let Some(variant) = known {
            return Ok(variant);
        }
        let lower::Lowered { program, sites, prints, schedule } =
            lower::lower(&self.func, &self.words, &facts, &self.options)?;
        let text = schedule.print(&self.func, &self.options.target.to_string());
        let made =
            Arc::new(Variant { program, about: facts.about(), schedule: text, maps: schedule.maps, sites, prints });
        let mut variants = self.variants.write().unwrap_or_else(PoisonError::into_inner);
        Ok(variants.entry(facts).or_insert(made).clone())
    }

    /// What is known of a launch.
    fn facts(&self, launch: &Launch<'_>) -> Facts {
        let twos = |n: u64| if n == 0 { Facts::MOST } else { n.trailing_zeros().min(Facts::MOST) };
        let one = |(param, arg): (&Param, &Arg)| match (&param.kind, arg) {
            (ParamKind::Tensor(dtype, axes), Arg::Tensor { data, strides }) => {
                let bytes = dtype.bytes() as u64;
                // A stride along an axis of one place is never taken.
                let taken = |(axis, stride): (&pantile_ir::Axis, &i64)| {
                    if self.func.axis_size(*axis, launch.extents) > 1 { Some(*stride) } else { None }
                };
                let mut taken = axes.iter().zip(strides).map(taken);
                let dense = taken.next_back().flatten().is_none_or(|last| last == 1);
                // What lies on one place, or backwards, is not copied in boxes.
                let stride = |s: i64| if s > 0 { twos(s.unsigned_abs() * bytes) } else { bytes.trailing_zeros() };
                let aligned = taken.flatten().map(stride).fold(twos(*data), u32::min);
                (dense, aligned)
            }
            (ParamKind::Tensor(..) | ParamKind::Scalar(..) | ParamKind::Mask(_), _) => (true, Facts::MOST),
        };
        let (dense, aligned) = self.func.params.iter().zip(launch.args).map(one).unzip();
        let divisible = launch.extents.iter().map(|n| twos(n.unsigned_abs())).collect();
        Facts { dense, aligned, divisible }
    }
}
