//! RainFusion2.0 (arXiv 2512.24086) by its definition, in plain loops and f64: what the shipped kernels are held to. It reads
//! their options as data and shares no code with them; it is not fast.

mod attention;
mod case;
mod selection;
mod walk;

pub use attention::{Tokens, attention, far};
pub use case::{Case, FEATURES};
pub use selection::{Selection, chosen, means, mismatch, scores};
pub use walk::{Kind, Side, Walked, walk};
