//! Elaboration: a kernel's syntax tree becomes Tile IR for one specialisation, typed and emitted in one walk, so that
//! checking and building cannot disagree. Functions are inlined here; nothing is optimised.
//!
//! `kernel.rs` and `order.rs` set the scene, `stmt.rs`, `branch.rs` and `loops.rs` walk statements, `expr.rs` expressions, `builtin.rs`
//! is the table of builtin functions. `sema.rs` holds the state they share.

mod arith;
mod branch;
mod builtin;
mod call;
mod carried;
mod convert;
mod dims;
mod expr;
mod form;
mod index;
mod kernel;
mod loops;
mod names;
mod order;
mod race;
mod reduce;
mod sema;
mod shape;
mod stmt;
mod store;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;

use pantile_diag::{Diagnostics, Span};
use pantile_ir::{Func, Order};
use pantile_syntax::ast::{KernelItem, OrderItem};

pub(crate) use builtin::Builtin;

use crate::Bindings;
use crate::check::program::Program;
use sema::Hints;

/// The kernel as Tile IR, or `None` after errors have been said. The extents that it needs as numbers are those of the
/// result that are `known`.
pub(crate) fn kernel(program: &Program, item: &KernelItem, bind: &Bindings, diags: &mut Diagnostics) -> Option<Func> {
    settle(diags, |hints, diags| kernel::elaborate(program, item, bind, hints, diags))
}

/// An order with its arguments as a kernel that fills its table, or `None` after errors have been said. `extent` is the
/// size of what is walked, `inside` the orders whose bodies need this one.
pub(crate) fn order(
    program: &Program,
    item: &OrderItem,
    args: &BTreeMap<String, i64>,
    extent: i64,
    inside: &[Span],
    diags: &mut Diagnostics,
) -> Option<Order> {
    settle(diags, |hints, diags| order::elaborate(program, item, args, (extent, inside), hints, diags))
}

/// Elaborates until nothing is learned any more. A literal takes its type from a context that may come later
/// (`let mut den = fill(0.0, over i)`), so a walk that finds out starts again with what it knows; each literal is settled
/// at most once, and what a discarded walk said is discarded.
fn settle<T>(diags: &mut Diagnostics, run: impl Fn(&Hints, &mut Diagnostics) -> (Option<T>, Hints)) -> Option<T> {
    let mut hints = Hints::default();
    loop {
        let mut said = Diagnostics::default();
        let (result, learned) = run(&hints, &mut said);
        if learned.is_empty() {
            let refused = said.has_errors();
            diags.extend(said);
            return result.filter(|_| !refused);
        }
        hints.add(learned);
    }
}
