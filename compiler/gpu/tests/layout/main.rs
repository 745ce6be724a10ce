//! Layouts, held to brute force: laws on drawn layouts, plans run on simulated threads, instructions against the rules of the
//! PTX ISA. No GPU takes part.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod accesses;
mod drawn;
mod instructions;
mod laws;
mod machine;
mod moves;
mod reductions;
mod shared;
mod texts;
