//! The text form of IR: [`print()`] and [`parse()`], each the other's inverse apart from spans, which are not written.
//! The grammar stands in `docs/src/ir.md`. Nothing here decides whether a function makes sense; that is `verify.rs`.

mod forms;
mod lex;
mod names;
mod parse;
mod parse_inst;
mod print;
mod print_inst;

#[cfg(test)]
mod tests;

pub use forms::{FORMS, Form, form};
pub use parse::parse;
pub use print::print;

use std::fmt;

use crate::{DType, Func, Inst, Op, Region, Type};

/// Why a text is no IR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for ParseError {}

/// An instruction in a few words, for messages: `%7 = dot`.
pub fn describe(inst: &Inst) -> String {
    let name = op_name(&inst.op);
    match inst.results.as_slice() {
        [] => format!("`{name}`"),
        [one] => format!("`%{} = {name}`", one.0),
        [first, ..] => format!("`%{}, … = {name}`", first.0),
    }
}

/// The word that an op is written with.
pub fn op_name(op: &Op) -> &'static str {
    match op {
        Op::Unary(op) => op.name(),
        Op::Binary(op) => op.name(),
        Op::ArgReduce(op, _) => op.name(),
        Op::Scan(op, _) => op.name(),
        Op::Const(..)
        | Op::Extent(_)
        | Op::BlockIndex(_)
        | Op::BlockLen(_)
        | Op::Pos(_)
        | Op::At(_)
        | Op::Valid(_)
        | Op::OrderAt(_)
        | Op::Select
        | Op::Cast(_)
        | Op::Broadcast(_)
        | Op::Reduce(..)
        | Op::Sort { .. }
        | Op::KthLargest(_)
        | Op::Gather(_)
        | Op::Dot(_)
        | Op::Split { .. }
        | Op::Merge { .. }
        | Op::Random
        | Op::Load(..)
        | Op::Store { .. }
        | Op::MaskGet(_)
        | Op::MaskPut(..)
        | Op::For(_)
        | Op::If
        | Op::Print(_)
        | Op::Assert(_) => form(op).name,
    }
}

/// The function as its text knows it: without spans, and without the types of values that nothing defines.
#[must_use]
pub fn canonical(mut func: Func) -> Func {
    let mut defined = vec![false; func.types.len()];
    let mut define = |v: crate::Value| {
        if let Some(slot) = defined.get_mut(v.index()) {
            *slot = true;
        }
    };
    for param in &mut func.params {
        param.span = Default::default();
        if let crate::ParamKind::Scalar(_, v) = param.kind {
            define(v);
        }
    }
    for axis in &func.grid {
        if let crate::GridAxis::Each(_, v) = axis {
            define(*v);
        }
    }
    strip(&mut func.body, &mut define);
    for (ty, defined) in func.types.iter_mut().zip(&defined) {
        if !defined {
            *ty = UNDEFINED;
        }
    }
    func.types.truncate(defined.iter().rposition(|d| *d).map_or(0, |last| last + 1));
    for order in &mut func.orders {
        if let Some(fill) = order.kernel_mut() {
            *fill = canonical(std::mem::take(fill));
        }
    }
    func
}

/// The type that stands for values which nothing defines.
const UNDEFINED: Type = Type::Scalar(DType::Bool);

fn strip(region: &mut Region, define: &mut impl FnMut(crate::Value)) {
    region.args.iter().for_each(|v| define(*v));
    for inst in &mut region.insts {
        inst.span = Default::default();
        inst.results.iter().for_each(|v| define(*v));
        inst.regions.iter_mut().for_each(|r| strip(r, define));
    }
}
