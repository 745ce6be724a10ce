//! RainFusion2.0 (arXiv 2512.24086) as typed calls: options checked, the pipelines of `rainfusion.tile` run, masks kept over
//! a sampler's steps. The method itself is written there, not here.

mod call;
mod check;
mod options;
mod schedule;
mod sequence;

pub use call::{RainFusionOn, RainFusionOutput, Stage, rainfusion};
pub use options::{Budget, Order, RainFusion};
pub use schedule::{Schedule, Scheduled, ScheduledOutput, Step};
pub use sequence::{Protection, Sequence};
