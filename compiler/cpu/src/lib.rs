//! The CPU back end: Tile IR → loops and micro-kernels → Cranelift → machine code in memory. It is the only crate that
//! names Cranelift; it has no threads and allocates no tensors, which is the runtime's business.

pub mod arith;
mod cache;
mod callbacks;
pub mod convert;
pub mod dot;
mod emit;
mod features;
mod hoist;
pub mod host;
mod jit;
mod kernel;
mod lower;
pub mod math;
pub mod pack;
pub mod vector;
mod wide;

pub use emit::{Counted, Emit};
pub use features::Features;
pub use hoist::Hoisted;
pub use jit::{Code, Entry, Jit, signature};
pub use kernel::{Arg, Kernel, Launch, Options, Timings, compile};

use pantile_diag::Span;

/// What cannot be compiled, with the numbers that say why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// One sentence.
    pub message: String,
    /// Where it was asked for.
    pub span: Span,
}

impl Limit {
    /// With no place in source.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), span: Span::default() }
    }
}

#[cfg(test)]
mod lanes_tests;
#[cfg(test)]
mod shape;
