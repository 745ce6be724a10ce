//! The shipped kernels as typed Rust functions, with their source embedded. Nothing is computed here: the `.tile` files
//! say what is.

mod compare;
mod dense;
mod modules;
mod rainfusion;

pub use compare::{Comparison, compare, count_non_finite};
pub use dense::{
    attention, attention_causal, attention_dense, attention_documents, attention_window, layer_norm, matmul, rms_norm,
    softmax, vector_add,
};
pub use modules::{FILES, module};
pub use rainfusion::{Dialect, Protection, RainFusion, RainFusionOn, RainFusionOutput, Stage, rainfusion};
