//! Facts about IR that several passes and back ends ask for: what numbers values can be, how they depend on others,
//! what can stop a launch, which rounds of a loop do nothing, what stands in padding. Nothing here changes a function.

pub mod affine;
pub mod defs;
pub mod faults;
pub mod fill;
pub mod idle;
