//! [`simt::Program`](crate::simt::Program) → LLVM IR text → PTX. The text is written here; LLVM itself is a shared library
//! that is opened when PTX is asked for. Nothing is linked against it, and no machine code is made here: that is the
//! driver's (or `ptxas`'s) business.

mod api;
mod find;
mod library;
mod print;
#[cfg(test)]
mod tests;

pub use library::{Error, Library, Options, Ptx, Times, library};
pub use print::print;

use crate::Target;
use crate::simt::Program;

/// A program as PTX.
///
/// # Errors
/// If there is no LLVM, if the target lacks what the program uses, or if LLVM refuses the text (a bug).
pub fn ptx(program: &Program, target: Target, options: &Options) -> Result<Ptx, Error> {
    let text = print(program, target).map_err(Error::Program)?;
    library()?.ptx(&text, target, options)
}
