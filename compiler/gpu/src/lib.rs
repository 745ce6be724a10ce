//! The GPU back end: Tile IR → what each thread does ([`simt`]) → LLVM IR → PTX. It knows no driver and no tensors'
//! owners, which is the runtime's business, and needs neither a GPU nor a toolkit.

mod element;
pub mod emulate;
mod kernel;
pub mod layout;
pub mod llvm;
mod lower;
mod printed;
pub mod schedule;
pub mod simt;
mod target;
mod tensor_map;

pub use kernel::{Arg, Choices, Kernel, Launch, Options, Packed, Variant, compile};
pub use lower::Facts;
pub use printed::PRINT_BYTES;
pub use target::Target;
pub use tensor_map::{MAP_BYTES, Swizzle, TensorMap};

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
