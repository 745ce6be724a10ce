//! The emulator: that it computes what the machine computes, and that it finds each kind of mistake. Whole kernels are
//! tested elsewhere.

mod arith;
mod copies;
mod flow;
mod meet;
mod memory;
mod ring;
mod support;
mod tensor_cores;
