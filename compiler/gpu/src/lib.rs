//! The GPU back end: Tile IR → what each thread does ([`simt`]) → LLVM IR → PTX. It knows no driver and no tensors'
//! owners, which is the runtime's business, and needs neither a GPU nor a toolkit.

#[allow(dead_code, unused_imports, reason = "lowering calls it")]
mod element;
pub mod simt;
mod target;
mod tensor_map;

pub use target::Target;
pub use tensor_map::{Swizzle, TensorMap};
