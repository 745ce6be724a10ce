//! The state that all of elaboration shares: the function under construction, names in scope, what was said and learned.
//! What syntax means is not decided here.

use std::collections::{BTreeMap, BTreeSet};

use pantile_diag::{Code, Diagnostic, Diagnostics, FileId, Span};
use pantile_ir::{Builder, DType, DimId, ExtentId, Func, Op, ParamId, ParamKind, Type, Value};

use super::form::{Atom, Form};
use super::value::{Key, Num, Tile, Val, Var};
use crate::Bindings;
use crate::check::constant::Const;
use crate::check::program::Program;

/// How deep expressions, blocks and inlined functions may nest together.
const MAX_DEPTH: usize = 300;

/// How many expressions may be looked at: nested functions can double them with every level.
const MAX_STEPS: usize = 1 << 19;

/// What a walk over the code found out too late and the next one knows from the start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hints {
    /// The dtypes of literals.
    pub(crate) soft: BTreeMap<Key, DType>,
    /// Variables of loops, by loop and name, whose validity must be carried too.
    pub(crate) partial: BTreeSet<(Key, String)>,
}

impl Hints {
    /// Whether it tells nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.soft.is_empty() && self.partial.is_empty()
    }

    /// Adds what another one tells.
    pub(crate) fn add(&mut self, other: Hints) {
        self.soft.extend(other.soft);
        self.partial.extend(other.partial);
    }
}

/// An axis of the grid, for messages and for telling instances apart.
#[derive(Clone, Debug)]
pub(crate) struct GridVar {
    /// As in source.
    pub(crate) name: String,
    /// The dim whose blocks it numbers, if it walks blocks.
    pub(crate) dim: Option<DimId>,
    /// Where it stands.
    pub(crate) span: Span,
}

/// Names declared in one block.
pub(crate) type Scope<'p> = BTreeMap<String, Var<'p>>;

/// Elaboration in progress.
pub(crate) struct Sema<'p, 'a> {
    /// All items.
    pub(crate) program: &'p Program,
    /// What the kernel is specialised with.
    pub(crate) bind: &'a Bindings,
    /// What earlier walks learned.
    pub(crate) hints: &'a Hints,
    /// What this walk learned.
    pub(crate) learned: Hints,
    /// What was said.
    pub(crate) diags: &'a mut Diagnostics,
    /// The function under construction.
    pub(crate) b: Builder,
    /// The file whose names the code at hand sees.
    pub(crate) file: FileId,
    /// Names in scope, innermost last.
    pub(crate) scopes: Vec<Scope<'p>>,
    /// The functions being inlined: name and call.
    pub(crate) calls: Vec<(String, Span)>,
    /// The orders whose bodies are being elaborated, by their names: none in a kernel.
    pub(crate) walking: Vec<Span>,
    /// Whether the next call of an order means the order itself, as after `via` and in `len`.
    pub(crate) order_itself: bool,
    /// The extents by name.
    pub(crate) extents: BTreeMap<String, ExtentId>,
    /// The one block over a whole extent.
    pub(crate) whole: BTreeMap<ExtentId, DimId>,
    /// The one block over all block numbers of an extent, by block size.
    pub(crate) counted: BTreeMap<(ExtentId, i64), DimId>,
    /// Where each dim was introduced.
    pub(crate) dim_spans: Vec<Span>,
    /// Whether only compile-time values will do: extents are then numbers.
    pub(crate) constant: bool,
    /// The grid.
    pub(crate) grid: Vec<GridVar>,
    /// The number of steps of each loop so far, where known.
    pub(crate) loops: Vec<Option<i64>>,
    /// The loop that steps each dim.
    pub(crate) loop_dims: BTreeMap<DimId, usize>,
    /// Grid axes of which the code at hand runs in one instance only.
    pub(crate) pinned: Vec<usize>,
    /// Outputs that something stores to.
    pub(crate) stored: BTreeSet<ParamId>,
    /// The `let` name that an `iota` here would make a dim of.
    pub(crate) naming: Option<(String, Span)>,
    /// How many run-time branches and loops are around the code at hand.
    pub(crate) conditional: usize,
    depth: usize,
    steps: usize,
}

impl<'p, 'a> Sema<'p, 'a> {
    /// For the body of `func`, in code of `file`.
    pub(crate) fn new(
        program: &'p Program,
        bind: &'a Bindings,
        hints: &'a Hints,
        diags: &'a mut Diagnostics,
        file: FileId,
        func: Func,
    ) -> Self {
        Self {
            program,
            bind,
            hints,
            learned: Hints::default(),
            diags,
            b: Builder::new(func),
            file,
            scopes: vec![Scope::new()],
            calls: Vec::new(),
            walking: Vec::new(),
            order_itself: false,
            extents: BTreeMap::new(),
            whole: BTreeMap::new(),
            counted: BTreeMap::new(),
            dim_spans: Vec::new(),
            constant: false,
            grid: Vec::new(),
            loops: Vec::new(),
            loop_dims: BTreeMap::new(),
            pinned: Vec::new(),
            stored: BTreeSet::new(),
            naming: None,
            conditional: 0,
            depth: 0,
            steps: 0,
        }
    }

    /// Says something, with the calls that led to it; `None` for the caller to pass on.
    pub(crate) fn say<T>(&mut self, mut diagnostic: Diagnostic) -> Option<T> {
        for (name, span) in self.calls.iter().rev() {
            diagnostic = diagnostic.with_label(*span, format!("in this call of `{name}`"));
        }
        self.diags.push(diagnostic);
        None
    }

    /// Says an error without more to it.
    pub(crate) fn error<T>(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Option<T> {
        self.say(Diagnostic::error(code, span, message, label))
    }

    /// Appends an op. The operands have been checked; what they still break is said in the IR's words.
    pub(crate) fn emit(&mut self, op: Op, args: &[Value], span: Span) -> Option<Value> {
        self.b.span = span;
        match self.b.try_push(op, args) {
            Ok(value) => value,
            Err(why) => self.error(Code::E0302, span, format!("this operation {why}"), "cannot be done"),
        }
    }

    /// Appends an op without a result.
    pub(crate) fn emit_effect(&mut self, op: Op, args: &[Value], span: Span) -> Option<()> {
        self.b.span = span;
        match self.b.try_push(op, args) {
            Ok(_) => Some(()),
            Err(why) => self.error(Code::E0402, span, format!("this cannot be stored: {why}"), "cannot be done"),
        }
    }

    /// An i64 constant.
    pub(crate) fn int(&mut self, x: i64, span: Span) -> Value {
        self.b.span = span;
        self.b.int(x)
    }

    /// Runs `f` one level deeper, or says once that the code is too deep or too large: then nothing more is looked at.
    pub(crate) fn deeper<T>(&mut self, span: Span, f: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.steps > MAX_STEPS {
            return None;
        }
        self.steps += 1;
        if self.depth >= MAX_DEPTH || self.steps > MAX_STEPS {
            self.steps = MAX_STEPS + 1;
            let label = "inlined functions count with their callers";
            let message = "this code nests too deeply or grows too large";
            self.diags.push(Diagnostic::error(Code::E0307, span, message, label));
            return None;
        }
        self.depth += 1;
        let out = f(self);
        self.depth -= 1;
        out
    }

    /// Runs `f` with names of its own.
    pub(crate) fn scoped<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        self.scopes.push(Scope::new());
        let out = f(self);
        self.scopes.pop();
        out
    }

    /// Names a value in the innermost scope.
    pub(crate) fn declare(&mut self, name: &str, var: Var<'p>) {
        if let Some(scope) = self.scopes.last_mut()
            && name != "_"
        {
            scope.insert(name.to_owned(), var);
        }
    }

    /// What a name is, and how deep it was declared.
    pub(crate) fn find(&self, name: &str) -> Option<(usize, &Var<'p>)> {
        self.scopes.iter().enumerate().rev().find_map(|(depth, s)| s.get(name).map(|v| (depth, v)))
    }

    /// Identifies a place in this inlined copy of the code.
    pub(crate) fn key(&self, span: Span) -> Key {
        (self.calls.iter().map(|c| c.1).collect(), span)
    }

    /// Notes that a literal should have had another dtype. False if it has been settled before.
    pub(crate) fn learn(&mut self, key: &Key, dtype: DType) -> bool {
        if self.hints.soft.contains_key(key) {
            return false;
        }
        self.learned.soft.entry(key.clone()).or_insert(dtype);
        true
    }

    /// The dtype of a literal that nothing else types: as learned, else f32 or i64.
    pub(crate) fn soft_dtype(&self, key: &Key, x: Const) -> DType {
        let default = match x {
            Const::Int(_) => DType::I64,
            Const::Float(_) => DType::F32,
            Const::Typed(dtype, _) => dtype,
        };
        self.hints.soft.get(key).copied().unwrap_or(default)
    }

    /// The type of a run-time value.
    pub(crate) fn ty(&self, value: Value) -> &Type {
        self.b.func.ty(value)
    }

    /// The dims of a number.
    pub(crate) fn dims(&self, num: &Num) -> Vec<DimId> {
        match num {
            Num::Const(_) => Vec::new(),
            Num::Tile(t) => self.ty(t.value).dims().to_vec(),
        }
    }

    /// The name of a dim.
    pub(crate) fn dim_name(&self, dim: DimId) -> &str {
        &self.b.func.dim(dim).name
    }

    /// `{i, D}`.
    pub(crate) fn show_dims(&self, dims: &[DimId]) -> String {
        let names: Vec<&str> = dims.iter().map(|d| self.dim_name(*d)).collect();
        format!("{{{}}}", names.join(", "))
    }

    /// `tile<f32>{i, D}`, `f32`.
    pub(crate) fn show_type(&self, ty: &Type) -> String {
        match ty {
            Type::Scalar(dtype) => dtype.to_string(),
            Type::Tile(dtype, dims) => format!("tile<{dtype}>{}", self.show_dims(dims)),
        }
    }

    /// `tile<f32>{i, D}`, or what a constant is.
    pub(crate) fn show_num(&self, num: &Num) -> String {
        match num {
            Num::Const(x @ (Const::Int(_) | Const::Float(_))) => format!("the literal {x}"),
            Num::Const(Const::Typed(dtype, _)) => dtype.to_string(),
            Num::Tile(t) => self.show_type(self.ty(t.value)),
        }
    }

    /// For messages: "a block of N".
    pub(crate) fn describe(&self, val: &Val<'p>) -> String {
        match val {
            Val::Error => "an error".into(),
            Val::Unit => "no value".into(),
            Val::Num(num) => self.show_num(num),
            Val::Extent(e) => format!("the extent {}", self.extent_name(*e)),
            Val::Block(d) => self.describe_block(*d),
            Val::Dims(dims) => format!("the dimensions {}", self.show_dims(dims)),
            Val::Param(p) => match &self.b.func.param(*p).kind {
                ParamKind::Scalar(..) => "a scalar".into(),
                ParamKind::Tensor(..) => "a tensor".into(),
                ParamKind::Mask(_) => "a mask".into(),
            },
            Val::Order(item, _) => format!("the order {}", item.name.node),
            Val::Tuple(vals) => format!("{} values", vals.len()),
            Val::Str(_) => "a string".into(),
            Val::DType(dtype) => format!("the dtype {dtype}"),
        }
    }

    /// `a block of N by 128`, `the whole of N`.
    pub(crate) fn describe_block(&self, dim: DimId) -> String {
        let d = self.b.func.dim(dim);
        match d.over {
            Some(e) if d.whole => format!("the whole of {}", self.extent_name(e)),
            Some(e) => format!("a block of {} by {}", self.extent_name(e), d.size),
            None => format!("a dimension of {} lanes", d.size),
        }
    }

    /// The name of an extent.
    pub(crate) fn extent_name(&self, extent: ExtentId) -> &str {
        &self.b.func.extents[extent.index()].name
    }

    /// What is known of a number as an index.
    pub(crate) fn form(&self, num: &Num) -> Option<Form> {
        match num {
            Num::Const(x) => x.as_int().map(Form::number),
            Num::Tile(t) => t.form.clone(),
        }
    }

    /// The number of the instance or step that a dim's block is at, as a form.
    pub(crate) fn block_form(&self, dim: DimId) -> Option<Form> {
        if self.b.func.dim(dim).whole {
            return Some(Form::number(0));
        }
        let grid = self.grid.iter().position(|g| g.dim == Some(dim)).map(Atom::Grid);
        grid.or_else(|| self.loop_dims.get(&dim).copied().map(Atom::Loop)).map(Form::atom)
    }

    /// A run-time value with a form.
    pub(crate) fn formed(value: Value, form: Option<Form>) -> Tile {
        Tile { form, ..Tile::from(value) }
    }
}
