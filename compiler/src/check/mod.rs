//! Names, constants and signatures of a program. Kernel bodies are elaborated, and so checked, in `elaborate`.

pub(crate) mod constant;
pub(crate) mod host;
pub(crate) mod program;
pub(crate) mod signature;
