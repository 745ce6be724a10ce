//! Every kind of kernel as machine code against the interpreter, at awkward sizes. Speed is not measured here.

mod harness;
mod hoisting;
mod ops;
mod shipped;
mod stream;
