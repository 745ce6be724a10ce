//! Passes over Tile IR, one a file; the list of them is `pipeline.rs`. A pass says whether it changed something, and
//! leaves verifying, timing and dumping to the driver.
//!
//! A pass may remove an error that a launch would stop with (a dead division by zero); it never adds one.

mod bounds;
mod canonicalise;
mod copy;
mod cse;
mod dce;
mod element_masks;
mod fold;
mod licm;
mod pad;
mod rewrite;
mod shorten;
mod skip;
mod split;

pub use crate::analysis::fill::{Fills, Lanes, Unmet, fills, unmet};
pub use crate::pipeline::{Bug, Options, Pass, PassReport, Report, optimise};
pub use canonicalise::run as canonicalise;
pub use cse::run as cse;
pub use dce::run as dce;
pub use fold::run as fold;
pub use licm::run as licm;
pub use pad::run as pad;
pub use shorten::run as shorten;
pub use skip::run as skip;
pub use split::run as split;

/// What every pass is given besides the function.
#[derive(Clone, Copy, Debug, Default)]
pub struct PassCx {
    /// How many lanes the target's tiles have; by default no more than are valid.
    pub lanes: Lanes,
}

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
