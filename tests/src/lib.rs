//! What the integration tests share. The tests themselves are in `tests/`.

pub mod execute;
pub mod generate;
pub mod padded;
