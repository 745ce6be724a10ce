//! What the integration tests share. The tests themselves are in `tests/`.

pub mod cases;
pub mod draw;
pub mod execute;
pub mod generate;
pub mod gpu;
pub mod padded;
pub mod reference;
