//! What a name means in a kernel: what is in scope, then items, then builtin constants. Calls are `call.rs`'s business.

use pantile_diag::{Code, Diagnostic, Span};
use pantile_ir::{DType, Op};
use pantile_syntax::ast::{Ident, TypeExpr, TypeKind};

use super::form::{Atom, Form};
use super::sema::Sema;
use super::value::{Num, Val};
use crate::check::constant::Const;
use crate::check::host::{builtin_constant, constant_item};
use crate::check::program::{ItemRef, unknown_name};

impl<'p> Sema<'p, '_> {
    /// The value of a name.
    pub(crate) fn name(&mut self, name: &str, span: Span) -> Option<Val<'p>> {
        if let Some((_, var)) = self.find(name) {
            return var.val.clone().known();
        }
        match self.program.lookup(self.file, name) {
            Some(ItemRef::Const(item)) => constant_item(self.program, item, self.diags).map(Val::from),
            Some(ItemRef::Order(item)) => {
                let help = format!("an order is called with its arguments: `{name}(…)`");
                let message = format!("`{name}` is an order, not a value");
                let error = Diagnostic::error(Code::E0103, span, message, "not a value");
                self.say(error.with_label(item.name.span, "defined here").with_help(help))
            }
            Some(it @ (ItemRef::Fn(_) | ItemRef::Kernel(_) | ItemRef::Pipeline(_))) => {
                let message = format!("`{name}` is {}, not a value", it.describe());
                let error = Diagnostic::error(Code::E0103, span, message, "not a value");
                self.say(error.with_label(it.name().span, "defined here"))
            }
            None => match builtin_constant(name) {
                Some(x) => Some(Const::Float(x).into()),
                None => self.unknown(name, span, "value"),
            },
        }
    }

    /// E0101 with the nearest name.
    pub(crate) fn unknown<T>(&mut self, name: &str, span: Span, what: &str) -> Option<T> {
        let scope = self.scopes.iter().flat_map(|s| s.keys().map(String::as_str));
        let known = scope.chain(self.extents.keys().map(String::as_str)).chain(self.program.names(self.file));
        let error = unknown_name(name, span, what, known);
        self.say(error)
    }

    /// The value as a number: extents are their sizes, all else is refused.
    pub(crate) fn number(&mut self, val: Val<'p>, span: Span) -> Option<Num> {
        let help = match &val {
            Val::Error => return None,
            Val::Num(num) => return Some(num.clone()),
            Val::Extent(e) => return self.extent_size(*e, span),
            Val::Block(_) => "its number is `index(…)`, its positions are `pos(…)`, its length is `len(…)`",
            Val::Dims(_) => "dimensions stand after `over`",
            Val::Param(_) => "it is read with an index for each axis: `x[…]`",
            Val::Order(..) => "its number of positions is `len(…)`",
            Val::Unit => "a block's value is its last expression, without `;`",
            Val::Tuple(_) => "take it apart: `let (a, b) = …;`",
            Val::Str(_) => "strings stand in `print` and `assert`",
            Val::DType(_) => "a dtype stands after `as` or in a type",
        };
        let what = self.describe(&val);
        let error = Diagnostic::error(Code::E0103, span, format!("a number is needed here, not {what}"), what.clone());
        self.say(error.with_help(help))
    }

    /// The size of an extent: a number where constants are needed, else read at run time.
    pub(crate) fn extent_size(&mut self, extent: pantile_ir::ExtentId, span: Span) -> Option<Num> {
        let row = &self.b.func.extents[extent.index()];
        if self.constant {
            return self.known_extent(extent, span).map(|n| Num::Const(Const::Int(n)));
        }
        if let (Some(n), true) = (row.known, self.is_fixed(extent)) {
            return Some(Num::Const(Const::Int(n)));
        }
        let value = self.emit(Op::Extent(extent), &[], span)?;
        Some(Num::Tile(Self::formed(value, Some(Form::atom(Atom::Extent(extent))))))
    }

    /// Whether an extent is a number by its name alone: a literal or an int constant.
    fn is_fixed(&self, extent: pantile_ir::ExtentId) -> bool {
        let name = self.extent_name(extent);
        self.bind.ints.contains_key(name) || name.starts_with(|c: char| c.is_ascii_digit())
    }

    /// The dtype that a name means.
    pub(crate) fn dtype(&mut self, name: &str, span: Span) -> Option<DType> {
        if let Some((_, var)) = self.find(name) {
            let (val, from) = (var.val.clone().known()?, var.span);
            if let Val::DType(dtype) = val {
                return Some(dtype);
            }
            let what = self.describe(&val);
            let error = Diagnostic::error(Code::E0103, span, format!("`{name}` is no dtype"), what);
            return self.say(error.with_label(from, "declared here"));
        }
        if let Ok(dtype) = name.parse() {
            return Some(dtype);
        }
        let known = DType::ALL.iter().map(|d| d.name()).chain(["int"]);
        let error = unknown_name(name, span, "dtype", known);
        self.say(error)
    }

    /// The dtype that a scalar type means; `int` is i64, and `true` says that it was `int`.
    pub(crate) fn scalar_type(&mut self, ty: &TypeExpr) -> Option<(DType, bool)> {
        match &ty.kind {
            TypeKind::Name(name) if name == "int" && self.find(name).is_none() => Some((DType::I64, true)),
            TypeKind::Name(name) => self.dtype(name, ty.span).map(|d| (d, false)),
            TypeKind::Tensor { .. } | TypeKind::Mask(_) | TypeKind::Tile { .. } => {
                let error = Diagnostic::error(Code::E0103, ty.span, "a dtype is needed here", "not a dtype");
                self.say(error.with_help("a tile keeps its dimensions; only its dtype can be named: `f32`"))
            }
        }
    }

    /// E0102 for a name that the innermost scope has already. Whether it may be declared.
    pub(crate) fn fresh(&mut self, name: &Ident) -> bool {
        let Some(first) = self.scopes.last().and_then(|s| s.get(&name.node)).map(|v| v.span) else { return true };
        let error = crate::check::program::defined_twice(name, first);
        self.say::<()>(error).is_some()
    }
}
