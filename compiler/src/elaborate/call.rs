//! Calls: a function of the program is inlined, an order is bound to its arguments or, in an order, asked for an
//! element, all else is a builtin. Functions are
//! templates: each call elaborates the body anew, with the dims and dtypes of its arguments.

use pantile_diag::{Code, Diagnostic, Span};
use pantile_ir::{DType, DimId};
use pantile_syntax::ast::{Arg, Expr, ExprKind, FnItem, FnParam, Generic, Ident, TypeExpr, TypeKind};

use super::builtin::Builtin;
use super::sema::{Scope, Sema};
use super::value::{Num, Operand, Val, Var};
use crate::check::constant::Const;
use crate::check::program::{ItemRef, unknown_name};

/// An argument, evaluated in the caller.
enum Given<'p> {
    Value(Val<'p>, Span),
    Over(Vec<DimId>, Span),
}

impl<'p> Sema<'p, '_> {
    /// `f<…>(…)`.
    pub(crate) fn call(&mut self, name: &Ident, consts: &[(Ident, Expr)], args: &[Arg], span: Span) -> Option<Val<'p>> {
        let naming = self.naming.take();
        let order_itself = std::mem::take(&mut self.order_itself);
        let program = self.program;
        let item = program.lookup(self.file, &name.node);
        let builtin = name.node.parse::<Builtin>().ok();
        match (item, builtin) {
            (Some(ItemRef::Fn(item)), _) => self.inline(item, consts, args, span),
            (Some(ItemRef::Order(item)), _) if order_itself || self.walking.is_empty() => {
                self.order_call(item, args, span)
            }
            (Some(ItemRef::Order(item)), _) => self.order_at(item, args, span),
            (_, Some(builtin)) => {
                self.naming = naming.filter(|_| builtin == Builtin::Iota);
                if let Some((c, _)) = consts.first() {
                    self.error::<()>(Code::E0305, c.span, format!("`{}` takes no constants", name.node), "not taken");
                }
                self.builtin(builtin, &name.node, args, span)
            }
            (Some(it @ (ItemRef::Const(_) | ItemRef::Kernel(_) | ItemRef::Pipeline(_))), None) => {
                self.look_at_args(args);
                let what = it.describe();
                let error = Diagnostic::error(Code::E0103, name.span, format!("{what} cannot be called here"), what)
                    .with_label(it.name().span, "defined here");
                let kernel = matches!(it, ItemRef::Kernel(_) | ItemRef::Pipeline(_));
                self.say(if kernel {
                    error.with_help("kernels are called from pipelines; share code by a `fn`")
                } else {
                    error
                })
            }
            (None, None) => {
                self.look_at_args(args);
                let known: Vec<&str> = program.names(self.file).chain(Builtin::names().map(|n| n as &str)).collect();
                let error = unknown_name(&name.node, name.span, "function", known);
                self.say(error)
            }
        }
    }

    /// Evaluates arguments for the sake of their errors.
    pub(crate) fn look_at_args(&mut self, args: &[Arg]) {
        for arg in args {
            match arg {
                Arg::Value(e) | Arg::At(e) | Arg::Named(_, e) => drop(self.expr(e)),
                Arg::Over(..) | Arg::As(..) | Arg::Via(..) => {}
            }
        }
    }

    fn inline(&mut self, item: &'p FnItem, consts: &[(Ident, Expr)], args: &[Arg], span: Span) -> Option<Val<'p>> {
        let given = self.given(item, args, span);
        if self.calls.iter().any(|(name, _)| *name == item.name.node) {
            let message = format!("`{}` calls itself", item.name.node);
            let error = Diagnostic::error(Code::E0307, span, message, "functions are inlined, so they cannot recur")
                .with_label(item.name.span, "defined here");
            return self.say(error.with_help("use a loop"));
        }
        let bound = self.bound_consts(item, consts);
        let (given, bound) = (given?, bound?);
        // The body sees its own parameters and its file's items, and nothing of the caller.
        let scopes = std::mem::replace(&mut self.scopes, vec![Scope::new()]);
        let file = std::mem::replace(&mut self.file, item.span.file);
        let constant = std::mem::replace(&mut self.constant, false);
        self.calls.push((item.name.node.clone(), span));
        let ready = self.parameters(item, given, bound);
        let val = ready.and_then(|()| self.deeper(span, |cx| cx.returned(item)));
        self.calls.pop();
        self.constant = constant;
        self.file = file;
        self.scopes = scopes;
        val
    }

    fn returned(&mut self, item: &'p FnItem) -> Option<Val<'p>> {
        let val = self.block(&item.body);
        let at = item.body.tail.as_ref().map_or(item.body.span, |t| t.span);
        match (val, &item.result) {
            (Val::Error, _) => None,
            (Val::Unit, Some(ty)) => {
                let error = Diagnostic::error(Code::E0301, at, "this function gives no value", "no value");
                let error = error.with_label(ty.span, "a result is declared here");
                self.say(error.with_help("end the body with an expression without `;`"))
            }
            (val, None) => Some(val),
            (val, Some(ty)) => self.as_parameter(val, ty, at, "the result"),
        }
    }

    /// The arguments, one a parameter.
    fn given(&mut self, item: &FnItem, args: &[Arg], span: Span) -> Option<Vec<Given<'p>>> {
        let mut out: Vec<Option<Given<'p>>> = item.params.iter().map(|_| None).collect();
        let mut fine = true;
        let mut next = 0;
        for arg in args {
            let (slot, value) = match arg {
                Arg::Value(e) => {
                    while next < item.params.len() && !matches!(item.params[next], FnParam::Value { .. }) {
                        next += 1;
                    }
                    next += 1;
                    (Some(next - 1), self.given_value(e))
                }
                Arg::Named(name, e) => {
                    let slot = item.params.iter().position(|p| param_name(p).node == name.node);
                    if slot.is_none() {
                        let known = item.params.iter().map(|p| param_name(p).node.as_str());
                        let error = unknown_name(&name.node, name.span, "parameter", known);
                        self.say::<()>(error.with_label(item.name.span, "defined here"));
                        fine = false;
                        continue;
                    }
                    (slot, self.given_value(e))
                }
                Arg::Over(names, at) => {
                    let slot = (0..item.params.len())
                        .find(|n| matches!(item.params[*n], FnParam::Over(_)) && out[*n].is_none());
                    (slot, self.over(names).map(|d| Given::Over(d, *at)))
                }
                Arg::At(e) | Arg::Via(_, e) => (None, self.given_value(e)),
                Arg::As(_, at) => (None, Some(Given::Over(Vec::new(), *at))),
            };
            match (slot.and_then(|n| out.get_mut(n)), value) {
                (Some(place), Some(value)) => *place = Some(value),
                (Some(_), None) => fine = false,
                (None, _) => {
                    self.arity::<()>(item, args, span);
                    return None;
                }
            }
        }
        if fine && out.iter().any(Option::is_none) {
            return self.arity(item, args, span);
        }
        if fine { out.into_iter().collect() } else { None }
    }

    fn given_value(&mut self, e: &Expr) -> Option<Given<'p>> {
        self.expr(e).known().map(|val| Given::Value(val, e.span))
    }

    fn arity<T>(&mut self, item: &FnItem, args: &[Arg], span: Span) -> Option<T> {
        let shown: Vec<String> = item
            .params
            .iter()
            .map(|p| match p {
                FnParam::Value { name, .. } => name.node.clone(),
                FnParam::Over(name) => format!("over {}", name.node),
            })
            .collect();
        let message =
            format!("`{}` takes ({}), but {} arguments are given", item.name.node, shown.join(", "), args.len());
        let error = Diagnostic::error(Code::E0305, span, message, "wrong arguments");
        self.say(error.with_label(item.name.span, "defined here"))
    }

    /// `<T = f32, P = 4>` as the caller writes it.
    fn bound_consts(&mut self, item: &FnItem, consts: &[(Ident, Expr)]) -> Option<Vec<(String, Val<'p>)>> {
        let mut out = Vec::new();
        let mut fine = true;
        for (name, e) in consts {
            if !item.generics.iter().any(|g| g.name.node == name.node) {
                let known = item.generics.iter().map(|g| g.name.node.as_str());
                let error = unknown_name(&name.node, name.span, "constant", known);
                self.say::<()>(error.with_label(item.name.span, "defined here"));
                fine = false;
                continue;
            }
            match self.const_arg(e) {
                Some(val) => out.push((name.node.clone(), val)),
                None => fine = false,
            }
        }
        fine.then_some(out)
    }

    /// A dtype or a compile-time int.
    fn const_arg(&mut self, e: &Expr) -> Option<Val<'p>> {
        if let ExprKind::Name(name) = &e.kind {
            let dtype = match self.find(name).map(|(_, v)| &v.val) {
                Some(Val::DType(dtype)) => Some(*dtype),
                Some(_) => None,
                None => name.parse().ok(),
            };
            if let Some(dtype) = dtype {
                return Some(Val::DType(dtype));
            }
        }
        self.const_int(e, "a constant").map(|n| Const::Int(n).into())
    }

    /// Declares a function's constants and parameters.
    fn parameters(&mut self, item: &'p FnItem, given: Vec<Given<'p>>, bound: Vec<(String, Val<'p>)>) -> Option<()> {
        for (name, val) in bound {
            let span = item.generics.iter().find(|g| g.name.node == name).map_or(item.name.span, |g| g.name.span);
            self.declare(&name, Var::fixed(val, span, "a constant"));
        }
        let mut fine = true;
        for (param, value) in item.params.iter().zip(&given) {
            if let (FnParam::Over(name), Given::Over(dims, _)) = (param, value) {
                self.declare(&name.node, Var::fixed(Val::Dims(dims.clone()), name.span, "dimensions"));
            }
        }
        for (param, value) in item.params.iter().zip(given) {
            match (param, value) {
                (FnParam::Value { name, ty }, Given::Value(val, at)) => {
                    let val = match ty {
                        Some(ty) => {
                            self.infer_constants(item, ty, &val);
                            let what = format!("`{}`", name.node);
                            self.as_parameter(val, ty, at, &what)
                        }
                        None => Some(val),
                    };
                    fine &= val.is_some();
                    if self.fresh(name) {
                        self.declare(&name.node, Var::fixed(val.unwrap_or(Val::Error), name.span, "a parameter"));
                    }
                }
                (FnParam::Over(_), Given::Over(..)) => {}
                (FnParam::Value { .. }, Given::Over(_, at)) | (FnParam::Over(_), Given::Value(_, at)) => {
                    let message = format!("`{}` takes `over` elsewhere", item.name.node);
                    self.error::<()>(Code::E0305, at, message, "wrong kind of argument");
                    fine = false;
                }
            }
        }
        for generic in &item.generics {
            fine &= self.default_constant(generic).is_some();
        }
        fine.then_some(())
    }

    /// A dtype generic is what the first argument that names it has; dims of a tile type likewise.
    fn infer_constants(&mut self, item: &FnItem, ty: &TypeExpr, val: &Val<'p>) {
        let name = match &ty.kind {
            TypeKind::Name(name) => name,
            TypeKind::Tile { dtype, .. } => &dtype.node,
            TypeKind::Tensor { .. } | TypeKind::Mask(_) => return,
        };
        let Some(generic) = item.generics.iter().find(|g| g.name.node == *name) else { return };
        let Val::Num(num) = val else { return };
        if self.find(name).is_some() {
            return;
        }
        let default = match num {
            Num::Const(Const::Int(_)) => DType::I64,
            Num::Const(Const::Float(_) | Const::Typed(..)) | Num::Tile(_) => DType::F32,
        };
        let dtype = self.dtype_of(num).unwrap_or(default);
        self.declare(name, Var::fixed(Val::DType(dtype), generic.name.span, "a constant"));
        if !admits(&generic.kind.node, dtype) {
            let message = format!("`{name}` must be {}, not {dtype}", generic.kind.node);
            self.error::<()>(Code::E0302, generic.name.span, message, "declared here");
        }
    }

    fn default_constant(&mut self, generic: &Generic) -> Option<()> {
        if self.find(&generic.name.node).is_some() {
            return Some(());
        }
        let Some(default) = &generic.default else {
            let message = format!("nothing tells what `{}` is", generic.name.node);
            let error = Diagnostic::error(Code::E0503, generic.name.span, message, "not bound");
            return self.say(error.with_help(format!("the caller can: `f<{} = …>(…)`", generic.name.node)));
        };
        let n = self.const_int(default, "a constant")?;
        self.declare(&generic.name.node, Var::fixed(Const::Int(n).into(), generic.name.span, "a constant"));
        Some(())
    }

    /// An argument or result as the type it is declared to have.
    fn as_parameter(&mut self, val: Val<'p>, ty: &TypeExpr, at: Span, what: &str) -> Option<Val<'p>> {
        match &ty.kind {
            TypeKind::Name(name) if name == "int" => {
                let num = self.number(val, at)?;
                if num.constant().is_some_and(|x| x.as_int().is_some()) {
                    return Some(num.into());
                }
                self.convert(&Operand { num, span: at }, DType::I64, what).map(Val::from)
            }
            TypeKind::Name(_) => {
                let (dtype, _) = self.scalar_type(ty)?;
                let num = self.number(val, at)?;
                let dims = self.dims(&num);
                if let Some(d) = dims.first() {
                    let (found, d) = (self.show_num(&num), self.dim_name(*d).to_owned());
                    let message = format!("{what} is a scalar {dtype}, but this is {found}");
                    let error = Diagnostic::error(Code::E0301, at, message, format!("has dimension `{d}`"));
                    return self.say(
                        error.with_label(ty.span, "declared here").with_help("leave the type out to take any tile"),
                    );
                }
                self.typed(num, dtype, at, what)
            }
            TypeKind::Tile { dtype, dims } => {
                let dtype = self.dtype(&dtype.node, dtype.span)?;
                let num = self.number(val, at)?;
                self.match_dims(&num, dims, at, ty.span, what)?;
                self.typed(num, dtype, at, what)
            }
            TypeKind::Tensor { .. } | TypeKind::Mask(_) => {
                if matches!(val, Val::Param(_)) {
                    return Some(val);
                }
                let found = self.describe(&val);
                let message = format!("{what} is a tensor or mask, but this is {found}");
                self.error(Code::E0301, at, message, found)
            }
        }
    }

    fn typed(&mut self, num: Num, dtype: DType, at: Span, what: &str) -> Option<Val<'p>> {
        match &num {
            Num::Const(x) => match super::convert::adapt(*x, dtype) {
                Ok(scalar) => Some(Const::Typed(dtype, scalar).into()),
                Err(_) => self.convert(&Operand { num, span: at }, dtype, what).map(Val::from),
            },
            Num::Tile(_) => self.convert(&Operand { num, span: at }, dtype, what).map(Val::from),
        }
    }

    /// `tile<T>{i, d}`: names known already must be among the dims, the one that is new names the one that is left, and
    /// several new ones are found by their names.
    fn match_dims(&mut self, num: &Num, names: &[Ident], at: Span, declared: Span, what: &str) -> Option<()> {
        let mut rest = self.dims(num);
        let mut open = Vec::new();
        for name in names {
            match self.find(&name.node).map(|(_, v)| v.val.clone()) {
                Some(Val::Dims(dims)) if dims.iter().all(|d| rest.contains(d)) => rest.retain(|d| !dims.contains(d)),
                Some(Val::Block(d)) if rest.contains(&d) => rest.retain(|x| *x != d),
                Some(_) => return self.other_dims(num, names, at, declared, what),
                None => open.push(name),
            }
        }
        open.retain(|name| match rest.iter().position(|d| self.dim_name(*d) == name.node) {
            Some(n) => {
                let d = rest.remove(n);
                self.declare(&name.node, Var::fixed(Val::Block(d), name.span, "a dimension"));
                false
            }
            None => true,
        });
        match (open.as_slice(), rest.as_slice()) {
            ([], []) => Some(()),
            ([name], [d]) => {
                self.declare(&name.node, Var::fixed(Val::Block(*d), name.span, "a dimension"));
                Some(())
            }
            _ => self.other_dims(num, names, at, declared, what),
        }
    }

    fn other_dims<T>(&mut self, num: &Num, names: &[Ident], at: Span, declared: Span, what: &str) -> Option<T> {
        let found = self.show_num(num);
        let names: Vec<&str> = names.iter().map(|n| n.node.as_str()).collect();
        let message = format!("{what} has dimensions {{{}}}, but this is {found}", names.join(", "));
        let error = Diagnostic::error(Code::E0201, at, message, found).with_label(declared, "declared here");
        self.say(error.with_help("name the dimensions by `over` parameters, or leave the type out to take any tile"))
    }
}

fn param_name(param: &FnParam) -> &Ident {
    match param {
        FnParam::Value { name, .. } | FnParam::Over(name) => name,
    }
}

/// Whether a generic of a constraint kind can be a dtype.
fn admits(kind: &str, dtype: DType) -> bool {
    match kind {
        "float" => dtype.is_float(),
        "int" => dtype.is_int(),
        "number" => dtype != DType::Bool,
        _ => true,
    }
}
