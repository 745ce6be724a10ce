//! The names of one pipeline call: parameters, constants, extents, locals and outputs. How values are made is
//! `planner.rs`'s business.

use pantile_diag::{FileId, Span};
use pantile_syntax::Part;
use pantile_syntax::ast::{Expr, ExprKind, Ident, LetName};

use super::view::Value;
use crate::Bindings;
use crate::check::constant::Const;
use crate::check::host::HostValue;
use crate::check::orders::NO_LENGTH;
use crate::signature::ParamInfo;

/// What the names of a pipeline's body mean.
pub(crate) struct Frame<'p> {
    /// The file whose items the body sees.
    pub(crate) file: FileId,
    /// Constants, dtypes and extents.
    pub(crate) bindings: Bindings,
    /// Parameters, then what `let` defined.
    pub(crate) locals: Vec<(LetName, Value<'p>)>,
    /// Where the locals were defined whose values hang on nothing that a caller gives.
    pub(crate) constants: Vec<Span>,
    /// Outputs, and what has been assigned to each.
    pub(crate) outs: Vec<(ParamInfo, Option<Value<'p>>)>,
}

impl<'p> Frame<'p> {
    /// Defines a name in the innermost scope.
    pub(crate) fn define(&mut self, name: Ident, mutable: bool, value: Value<'p>) {
        self.locals.push((LetName { name, mutable }, value));
    }

    /// What a name means, if it is no item.
    pub(crate) fn get(&self, name: &str) -> Option<Value<'p>> {
        if let Some((_, value)) = self.locals.iter().rev().find(|(n, _)| n.name.node == name) {
            return Some(value.clone());
        }
        if let Some((_, Some(value))) = self.outs.iter().find(|(out, _)| out.name == name) {
            return Some(value.clone());
        }
        if let Some(dtype) = self.bindings.dtypes.get(name) {
            return Some(Value::DType(*dtype));
        }
        let number = self.bindings.ints.get(name).or_else(|| self.bindings.extents.get(name));
        number.map(|n| Value::Scalar(Const::Int(*n)))
    }

    /// The same for scalar code.
    pub(crate) fn host_value(&self, name: &str) -> Option<HostValue> {
        self.get(name).map(|value| match value {
            Value::Scalar(x) => HostValue::Const(x),
            Value::DType(dtype) => HostValue::DType(dtype),
            Value::Walk(walk) => match walk.length {
                Some(length) => HostValue::Walk(length),
                None => HostValue::Other(NO_LENGTH),
            },
            Value::Poison | Value::Tensor(_) | Value::Mask(_) | Value::Tuple(_) => HostValue::Other(value.describe()),
        })
    }

    /// Whether scalar code that reads this name must stay silent, because the name's own error has been said.
    pub(crate) fn is_poison(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Value::Poison))
    }

    /// Whether an expression's value hangs on what a caller gives: an argument, an extent, a constant of the pipeline.
    pub(crate) fn hangs(&self, expr: &Expr) -> bool {
        let mut hangs = match &expr.kind {
            ExprKind::Name(name) => match self.locals.iter().rev().find(|(n, _)| n.name.node == *name) {
                Some((local, _)) => !self.constants.contains(&local.name.span),
                None => self.get(name).is_some(),
            },
            ExprKind::Size(_) | ExprKind::All(_) | ExprKind::Error => true,
            ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Bool(_)
            | ExprKind::Str(_)
            | ExprKind::Index { .. }
            | ExprKind::Call { .. }
            | ExprKind::Unary(..)
            | ExprKind::Binary(..)
            | ExprKind::Cast(..)
            | ExprKind::If { .. }
            | ExprKind::Block(_)
            | ExprKind::Tuple(_) => false,
        };
        expr.each_part(&mut |part| {
            hangs |= match part {
                Part::Expr(e) => self.hangs(e),
                // What is defined inside is not known here.
                Part::Block(block) => !block.stmts.is_empty() || block.tail.as_ref().is_none_or(|e| self.hangs(e)),
            }
        });
        hangs
    }

    /// Every name, for "did you mean".
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let locals = self.locals.iter().map(|(n, _)| n.name.node.as_str());
        let outs = self.outs.iter().filter(|(_, value)| value.is_some()).map(|(out, _)| out.name.as_str());
        let numbers = self.bindings.ints.keys().chain(self.bindings.extents.keys()).chain(self.bindings.dtypes.keys());
        locals.chain(outs).chain(numbers.map(String::as_str))
    }
}
