//! The shipped kernels as typed Rust functions, with their source embedded. Nothing is computed here: the `.tile` files
//! say what is.

mod compare;
mod dense;
mod modules;
mod rainfusion;

pub use compare::{Comparison, Row, compare, count_non_finite, worst_row};
pub use dense::{
    AttentionOutput, attention, attention_causal, attention_dense, attention_dense_lse, attention_documents,
    attention_lse, attention_window, layer_norm, matmul, rms_norm, softmax, vector_add,
};
pub use modules::{FILES, module};
pub use rainfusion::{
    Budget, Order, Protection, RainFusion, RainFusionOn, RainFusionOutput, Schedule, Scheduled, ScheduledOutput,
    Sequence, Stage, Step, rainfusion,
};
