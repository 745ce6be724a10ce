//! Passes over Tile IR, one a file; the list of them is `pipeline.rs`. A pass says whether it changed something, and
//! leaves verifying, timing and dumping to the driver.
//!
//! A pass may remove an error that a launch would stop with (a dead division by zero); it never adds one.

mod canonicalise;
mod cse;
mod dce;
mod fold;
mod licm;
mod rewrite;
mod skip;

pub use crate::pipeline::{Bug, Options, Pass, PassReport, Report, optimise};
pub use canonicalise::run as canonicalise;
pub use cse::run as cse;
pub use dce::run as dce;
pub use fold::run as fold;
pub use licm::run as licm;
pub use skip::run as skip;

/// What every pass is given besides the function.
#[derive(Clone, Copy, Debug, Default)]
pub struct PassCx {}

/// Whether a pass changed the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Changed {
    /// It did.
    Yes,
    /// The function is as it was.
    No,
}

impl From<bool> for Changed {
    fn from(changed: bool) -> Self {
        if changed { Changed::Yes } else { Changed::No }
    }
}
