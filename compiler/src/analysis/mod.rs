//! Facts about IR that several passes and back ends ask for: how often values are used, what numbers they can be, how
//! they depend on a loop's block. Nothing here changes a function.

pub mod affine;
pub mod defs;
pub mod faults;
pub mod uses;
