//! The reference interpreter: what a kernel in Tile IR means. Every back end is compared with it.
//!
//! Program instances run one after another; each value is an array with exactly the valid lanes of the blocks that are
//! in scope (no padding exists, but for [`Padding`], which proves that it could), each op is one arm in `machine.rs`, and what an op does to single elements is asked
//! of [`pantile_ir::eval`]. Nothing is optimised beyond plain loops, and nothing knows a source language or a target.
//!
//! The kernel must be one that [`pantile_ir::verify`] accepts; arguments are checked here.

mod array;
mod dot;
mod element;
mod launch;
mod machine;
mod memory;
mod order;
mod padding;
mod rowwise;
mod tile;

use pantile_diag::Span;
use pantile_ir::Func;

pub use array::{Arg, Array, Data, MaskArray};
pub use order::order_table;
pub use padding::{Padding, Seen};

/// What is checked while a kernel runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Run `print` and `assert`.
    pub checks: bool,
    /// Refuse two instances that store one element without `atomic`.
    pub races: bool,
}

/// Who is told what happens while a kernel runs.
#[derive(Clone, Copy, Default)]
pub struct Hooks<'a> {
    /// Takes what `print` says, a line at a time.
    pub print: Option<&'a dyn Fn(&str)>,
    /// Takes the number of instances done and the number of all.
    pub progress: Option<&'a dyn Fn(u64, u64)>,
    /// Runs the kernel on tiles with padding, which is not what a kernel means but must come to the same.
    pub padding: Option<&'a Padding<'a>>,
}

/// Why a launch stopped. What was stored before stays stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// One sentence in the user's own names.
    pub message: String,
    /// The instruction's source; empty for a refused argument.
    pub span: Span,
    /// The coordinates of the instance in the grid, first axis first; empty for a refused argument.
    pub instance: Vec<i64>,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        if self.instance.is_empty() { Ok(()) } else { write!(f, " (in instance {:?})", self.instance) }
    }
}

impl std::error::Error for Fault {}

/// Runs a kernel: `extents` is one number a row of [`Func::extents`], `orders` one table a row of [`Func::orders`]
/// (see [`order_table`]), `args` one a parameter. Outputs keep what no instance writes.
///
/// # Errors
/// An argument that does not fit, an index outside its axis, a division by zero, a failed assertion, a race.
pub fn run(func: &Func, extents: &[i64], orders: &[Vec<i32>], args: &mut [Arg], options: Options) -> Result<(), Fault> {
    run_with(func, extents, orders, args, options, Hooks::default())
}

/// [`run`], with someone who is told what happens.
///
/// # Errors
/// As [`run`].
pub fn run_with(
    func: &Func,
    extents: &[i64],
    orders: &[Vec<i32>],
    args: &mut [Arg],
    options: Options,
    hooks: Hooks<'_>,
) -> Result<(), Fault> {
    let refuse = |message| Fault { message, span: Span::default(), instance: Vec::new() };
    launch::check(func, extents, orders, args).map_err(refuse)?;
    machine::Machine::new(func, extents, orders, args, options, hooks).map_err(refuse)?.run()
}

#[cfg(test)]
mod tests;
