//! The rules that every [`Func`] keeps, between all passes and before every back end. It finds what is wrong; it mends
//! nothing, and says nothing about what a kernel computes.
//!
//! **Tables.** Ids point into their tables. Sizes of dims and of `by` are at least 1. A whole dim is over an extent whose
//! length is known, and has that size (1 if it is empty). A full dim is over an extent and a loop's: neither whole nor the
//! grid's. Where an extent has an order, all dims over it have one. Known
//! extents are not negative. Inputs stand before outputs; a scalar is an input and its value has its dtype. The grid
//! walks dims over extents, each once; its indices are i64. An order's kernel has the one output `tensor<i32>[len]`,
//! walks single positions, and keeps these rules itself.
//!
//! **Values.** Each is defined once, and used only after that: in its region or in one nested in it. A tile type names
//! its dims ascending, at least one, each in scope where the value is defined.
//!
//! **Scope of dims.** Whole dims and dims over nothing are in scope everywhere, grid dims too, a loop's dim in its
//! regions only. A loop does not define a dim that is in scope. What a loop carries does not have its dim.
//!
//! **Instructions.** Result types are those of `typing.rs`. Constants are exact in their dtype. Only `for` and `if` have
//! regions: an `if` two without arguments that yield the same types; a `for` its guard, without effects and yielding one
//! scalar bool, if it has one, and its body. Bounds and lists are for walks; a list's mask counts along its last axis the
//! blocks of the loop's walk. The body yields what it carries.

mod region;
mod tables;

use std::collections::HashSet;

use crate::text::describe;
use crate::{DimId, ExtentId, Func, GridAxis, Inst, OrderId, ParamId, ParamKind, Value};

/// Checks every rule of this file.
///
/// # Errors
/// One sentence for each broken rule; those that would only repeat an earlier one are left out.
pub fn verify(func: &Func) -> Result<(), Vec<String>> {
    let mut v = Verifier::new(func);
    v.tables();
    // Tables that point nowhere would make all else fail.
    if v.errors.is_empty() {
        v.prologue();
        v.region(&func.body, None);
        if !func.body.yields.is_empty() || !func.body.args.is_empty() {
            v.error("the kernel's body neither takes nor yields values");
        }
    }
    if v.errors.is_empty() { Ok(()) } else { Err(v.errors) }
}

struct Verifier<'f> {
    func: &'f Func,
    errors: Vec<String>,
    /// Values defined so far anywhere: a second definition is an error.
    defined: HashSet<Value>,
    /// Values that may be used here, in the order of their definition.
    visible: Vec<Value>,
    is_visible: Vec<bool>,
    dim_in_scope: Vec<bool>,
    context: String,
}

impl<'f> Verifier<'f> {
    fn new(func: &'f Func) -> Self {
        Self {
            func,
            errors: Vec::new(),
            defined: HashSet::new(),
            visible: Vec::new(),
            is_visible: vec![false; func.types.len()],
            dim_in_scope: vec![false; func.dims.len()],
            context: String::new(),
        }
    }

    fn error(&mut self, why: impl AsRef<str>) {
        let why = why.as_ref();
        self.errors.push(if self.context.is_empty() { why.into() } else { format!("{}: {why}", self.context) });
    }

    fn check(&mut self, holds: bool, why: impl FnOnce() -> String) -> bool {
        if !holds {
            self.error(why());
        }
        holds
    }

    fn has_dim(&self, d: DimId) -> bool {
        d.index() < self.func.dims.len()
    }

    fn has_extent(&self, e: ExtentId) -> bool {
        e.index() < self.func.extents.len()
    }

    fn has_order(&self, o: OrderId) -> bool {
        o.index() < self.func.orders.len()
    }

    fn has_param(&self, p: ParamId) -> bool {
        p.index() < self.func.params.len()
    }

    fn has_value(&self, v: Value) -> bool {
        v.index() < self.func.types.len()
    }

    /// What the launch provides: scalar parameters, grid indices, and the dims that are always in scope.
    fn prologue(&mut self) {
        for (n, dim) in self.func.dims.iter().enumerate() {
            self.dim_in_scope[n] = dim.whole || dim.over.is_none();
        }
        for axis in &self.func.grid {
            if let GridAxis::Walk(d) = axis {
                let fresh = !std::mem::replace(&mut self.dim_in_scope[d.index()], true);
                self.check(fresh, || format!("the grid defines dim `{}` a second time", self.func.dim(*d).name));
            }
        }
        for param in &self.func.params {
            if let ParamKind::Scalar(_, value) = param.kind {
                self.define(value);
            }
        }
        for axis in &self.func.grid {
            if let GridAxis::Each(_, value) = axis {
                self.define(*value);
            }
        }
    }

    /// Makes a value visible and checks its type.
    fn define(&mut self, value: Value) {
        if !self.has_value(value) {
            return self.error(format!("%{} has no type", value.0));
        }
        if !self.defined.insert(value) {
            self.error(format!("%{} is defined a second time", value.0));
        }
        self.visible.push(value);
        self.is_visible[value.index()] = true;
        self.value_type(value);
    }

    fn value_type(&mut self, value: Value) {
        let ty = self.func.ty(value);
        let dims = ty.dims();
        if matches!(ty, crate::Type::Tile(..)) && dims.is_empty() {
            self.error(format!("%{} is a tile without dims", value.0));
        }
        if !dims.windows(2).all(|pair| pair[0] < pair[1]) {
            self.error(format!("the dims of %{} are not ascending", value.0));
        }
        for d in dims {
            if !self.has_dim(*d) {
                self.error(format!("%{} has a dim that does not exist", value.0));
            } else if !self.dim_in_scope[d.index()] {
                self.error(format!("%{} has dim `{}`, which is not in scope here", value.0, self.func.dim(*d).name));
            }
        }
    }

    fn at(&mut self, inst: &Inst) {
        self.context = describe(inst);
    }
}

#[cfg(test)]
mod tests;
