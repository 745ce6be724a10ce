//! Runs [`simt::Program`](crate::simt::Program)s on the CPU: all threads of a block, all blocks of a grid, as
//! unkindly as the machine may be. It is how kernels are tested where there is no GPU. It is not fast, and it does not
//! imitate a machine's timing.
//!
//! # What is run
//!
//! Warps take turns at random, in short or long bursts; arms of a branch that parts a warp run in either order; copies
//! and products in the background happen anywhere between their issue and the moment somebody may rely on them. A seed
//! makes a run repeatable. Blocks run one after another, in an order that the seed picks.
//!
//! # What is found
//!
//! Accesses out of bounds, misaligned, or of bytes that nobody wrote; data races on shared memory; missing fences;
//! barriers met by a part of the threads, deadlocks; collective ops in divergent code; accumulators used too early; see
//! [`ErrorKind`]. Races are found by what orders two accesses, not by their values: a race in code that ran is found
//! whatever the schedule was.
//!
//! # What is not
//!
//! - Lanes of a warp come together at the end of each branch and loop. Code that needs them to is not found wrong,
//!   except that what one lane writes another one may read only behind a barrier.
//! - An arrival at a barrier in shared memory by one lane stands for all lanes that came there with it.
//! - Races on global memory, between blocks or within one, are not looked for.
//! - Clusters and bits of matrix descriptors that only need them.

mod access;
mod arith;
mod barriers;
mod block;
mod clock;
mod code;
mod copies;
mod error;
mod exec;
mod fragments;
mod issue;
mod meet;
mod memory;
mod products;
mod report;
mod shared;
mod small;
mod warp;

pub use error::{Error, ErrorKind};
pub use memory::Memory;
pub use report::{Counts, InstReport, Report};

use crate::simt::Program;
use block::{Block, Random};
use code::Code;
use shared::Shared;

/// Who goes on when several may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// At random: bursts, branches and the background.
    #[default]
    Adversarial,
    /// The first warp as far as it comes, then the next one; blocks in ascending order.
    InOrder,
}

/// How to run a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What the random choices begin with.
    pub seed: u64,
    /// Who goes on when several may.
    pub schedule: Schedule,
    /// Whether to look for races and missing fences.
    pub races: bool,
    /// The most instructions that the warps of a block may take together.
    pub steps: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 0, schedule: Schedule::Adversarial, races: true, steps: 1 << 28 }
    }
}

impl Options {
    /// The usual options with a seed.
    pub fn seeded(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }
}

/// The most shared memory that a block can have on any GPU.
const SHARED_BYTES: u32 = 227 << 10;

fn check(program: &Program, words: &[u64]) -> Result<(), String> {
    if program.threads == 0 || program.threads > 1024 || !program.threads.is_multiple_of(32) {
        return Err(format!("blocks of {} threads; multiples of 32 up to 1024 are possible", program.threads));
    }
    if program.shared > SHARED_BYTES {
        return Err(format!("{} bytes of shared memory; {SHARED_BYTES} are possible", program.shared));
    }
    let wanted = program.words as usize + program.maps as usize;
    if words.len() != wanted {
        return Err(format!("{} words and addresses of tensor maps where the program takes {wanted}", words.len()));
    }
    Ok(())
}

/// Runs all blocks of a grid. The program's words are followed by the address of each of its tensor maps, as
/// [`Memory::tensor_maps`] gives it.
///
/// # Errors
/// The first mistake that was found.
pub fn run(
    program: &Program,
    blocks: u32,
    words: &[u64],
    memory: &mut Memory,
    options: &Options,
) -> Result<Report, Error> {
    let refuse = |told: String| Error {
        kind: ErrorKind::Program(told),
        program: program.name.clone(),
        inst: String::new(),
        block: 0,
        warp: 0,
        lane: None,
    };
    check(program, words).map_err(refuse)?;
    let code = Code::new(program).map_err(refuse)?;
    memory.begin_launch();
    let mut counts = vec![Counts::default(); code.steps.len()];
    let warps = program.threads as usize / 32;
    let mut shared = Shared::new(program.shared as usize, code.granule, warps, options.races);
    for number in order(blocks, options) {
        let place = (number, blocks);
        Block::new(program, &code, words, memory, &mut shared, &mut counts, options, place).run()?;
        shared.reset();
    }
    let half = |n: u64| {
        let bytes = memory.read(words.get(program.fault_word as usize)? + 4 * n, 4)?;
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    let fault = half(0).filter(|code| *code != 0).zip(half(1));
    let inst = |((op, text), counts): ((Option<_>, _), _)| op.map(|op| InstReport { op, text, counts });
    let insts = code.ops.into_iter().zip(code.texts).zip(counts).filter_map(inst).collect();
    Ok(Report { insts, fault })
}

/// The blocks in the order that they run in.
fn order(blocks: u32, options: &Options) -> Vec<u32> {
    let mut order: Vec<u32> = (0..blocks).collect();
    if options.schedule == Schedule::Adversarial {
        let mut random = Random::new(!options.seed);
        for n in (1..order.len()).rev() {
            order.swap(n, random.below(n + 1));
        }
    }
    order
}
