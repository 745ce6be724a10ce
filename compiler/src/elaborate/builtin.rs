//! THE TABLE OF BUILTIN FUNCTIONS: what the language calls by name and a program cannot write itself. Element-wise ops,
//! reductions and scans are rows of the IR's op table; the rest are rows here. What can be written in Pantile is in
//! `prelude.tile` instead.

use std::str::FromStr;

use pantile_diag::{Code, Diagnostic, Span};
use pantile_ir::{ArgOp, BinaryOp, DType, DimId, Op, ReduceOp, ScanOp, UnaryOp};
use pantile_syntax::ast::{Arg, Expr, ExprKind, Ident};

use super::sema::Sema;
use super::value::{Lanes, Num, Operand, Tile, Val, Var};
use crate::check::constant::Const;
use crate::check::host::cdiv;

macro_rules! specials {
    ($($variant:ident $name:literal $usage:literal $doc:literal;)*) => {
        /// A builtin function.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Builtin {
            /// An element-wise function of one number.
            Unary(UnaryOp),
            /// A reduction; `min` and `max` of several numbers are element-wise.
            Reduce(ReduceOp),
            /// The position of an extreme.
            Arg(ArgOp),
            /// A running reduction.
            Scan(ScanOp),
            $(#[doc = $doc] $variant,)*
        }

        /// Name, usage and one line of documentation of each builtin that is no row of the IR's op table.
        pub(crate) const SPECIALS: &[(Builtin, &str, &str, &str)] = &[$((Builtin::$variant, $name, $usage, $doc),)*];
    };
}

specials! {
    Dot "dot" "dot(a, b)` or `dot(a, b, over d)" "The sum of products over the dimension that both have.";
    Outer "outer" "outer(a, b)" "The product over the dimensions of both.";
    Fill "fill" "fill(v, over (i, j))" "The value, the same along the dimensions.";
    Where "where" "where(c, a, b)" "Lane by lane, `a` where `c` holds, else `b`.";
    Clamp "clamp" "clamp(x, lo, hi)" "`min(max(x, lo), hi)`.";
    Mean "mean" "mean(x, over d)" "The sum divided by the number of valid positions.";
    KthLargest "kth_largest" "kth_largest(x, k, over d)" "The k-th largest of the valid elements.";
    Sort "sort" "sort(x, over d)" "Ascending along a dimension; NaNs last.";
    SortDescending "sort_descending" "sort_descending(x, over d)" "Descending along a dimension; NaNs last.";
    Gather "gather" "gather(x, at idx, over d)" "`x` read at positions along a dimension.";
    Split "split" "split(x, over d, as (a by 4, b by 8))" "One dimension seen as several, first slowest.";
    Merge "merge" "merge(x, over (a, b), as d)" "Several dimensions seen as one, first slowest.";
    Iota "iota" "iota(n)" "0, 1, … n-1 along a new dimension with the name of its `let`.";
    Pos "pos" "pos(i)" "Positions of a block in its walk.";
    At "at" "at(i)" "Positions of a block in memory, through its order.";
    Index "index" "index(i)" "The number of a block.";
    Len "len" "len(i)" "The number of valid positions of a block, or of positions of an order.";
    Blocks "blocks" "blocks(N, P)" "The number of blocks of size `P` of an extent or order.";
    Cdiv "cdiv" "cdiv(a, b)" "⌈a ÷ b⌉ of non-negative integers.";
    Random "random" "random(seed, counter)" "Uniform f32 in [0, 1), the same for the same arguments (Philox 4×32-10).";
    Print "print" "print(\"label\", x)" "Prints a value, in debug builds.";
    Assert "assert" "assert(c, \"message\")" "Fails the launch where `c` does not hold, in debug builds.";
}

impl FromStr for Builtin {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        if let Some((builtin, ..)) = SPECIALS.iter().find(|s| s.1 == name) {
            return Ok(*builtin);
        }
        let unary = name.parse().ok().filter(|op| !matches!(op, UnaryOp::Neg | UnaryOp::Not)).map(Builtin::Unary);
        unary
            .or_else(|| name.parse().ok().map(Builtin::Reduce))
            .or_else(|| name.parse().ok().map(Builtin::Arg))
            .or_else(|| name.parse().ok().map(Builtin::Scan))
            .ok_or(())
    }
}

impl Builtin {
    /// The names of all.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        let unary = UnaryOp::ALL.iter().filter(|op| !matches!(op, UnaryOp::Neg | UnaryOp::Not)).map(|op| op.name());
        SPECIALS
            .iter()
            .map(|s| s.1)
            .chain(unary)
            .chain(ReduceOp::ALL.iter().map(|op| op.name()))
            .chain(ArgOp::ALL.iter().map(|op| op.name()))
            .chain(ScanOp::ALL.iter().map(|op| op.name()))
    }

    /// How it is called, for messages.
    fn usage(self) -> String {
        match self {
            Builtin::Unary(op) => format!("{}(x)", op.name()),
            Builtin::Reduce(op @ (ReduceOp::Min | ReduceOp::Max)) => {
                format!("{0}(x, over d)` or `{0}(a, b)", op.name())
            }
            Builtin::Reduce(op) => format!("{}(x, over d)", op.name()),
            Builtin::Arg(op) => format!("{}(x, over d)", op.name()),
            Builtin::Scan(op) => format!("{}(x, over d)", op.name()),
            Builtin::Dot
            | Builtin::Outer
            | Builtin::Fill
            | Builtin::Where
            | Builtin::Clamp
            | Builtin::Mean
            | Builtin::KthLargest
            | Builtin::Sort
            | Builtin::SortDescending
            | Builtin::Gather
            | Builtin::Split
            | Builtin::Merge
            | Builtin::Iota
            | Builtin::Pos
            | Builtin::At
            | Builtin::Index
            | Builtin::Len
            | Builtin::Blocks
            | Builtin::Cdiv
            | Builtin::Random
            | Builtin::Print
            | Builtin::Assert => SPECIALS.iter().find(|s| s.0 == self).map_or("", |s| s.2).to_owned(),
        }
    }
}

/// The dims that `split` and `merge` make.
pub(crate) type NewDims<'e> = &'e [(Ident, Option<Expr>)];

/// The arguments of a builtin, sorted by kind and evaluated.
pub(crate) struct Args<'e, 'p> {
    /// Values in order.
    pub(crate) values: Vec<(Val<'p>, Span)>,
    /// After `over`.
    pub(crate) over: Option<(Vec<DimId>, Span)>,
    /// After `at`.
    pub(crate) at: Option<Operand>,
    /// After `as`.
    pub(crate) new: Option<(NewDims<'e>, Span)>,
    /// The call.
    pub(crate) span: Span,
}

impl<'p> Sema<'p, '_> {
    /// A builtin on its arguments. Dims that a failed one would have made are poisoned, not unknown.
    pub(crate) fn builtin(&mut self, f: Builtin, name: &str, args: &[Arg], span: Span) -> Option<Val<'p>> {
        let val = self.try_builtin(f, name, args, span);
        if val.is_none() {
            for (name, _) in args.iter().flat_map(|a| if let Arg::As(new, _) = a { new.as_slice() } else { &[] }) {
                if self.find(&name.node).is_none() {
                    self.declare(&name.node, Var::fixed(Val::Error, name.span, "a dimension"));
                }
            }
        }
        val
    }

    fn try_builtin(&mut self, f: Builtin, name: &str, args: &[Arg], span: Span) -> Option<Val<'p>> {
        if f == Builtin::Iota {
            let naming = self.naming.take();
            return self.iota(args, naming, span);
        }
        let merge_order = if f == Builtin::Merge { self.dim_order(args) } else { Vec::new() };
        let mut a = self.sorted_args(f, args, span)?;
        match f {
            Builtin::Unary(op) => {
                let [x] = self.exactly(f, &mut a)?;
                self.unary(op, &x, span).map(Val::Num)
            }
            Builtin::Reduce(ReduceOp::Min) if a.over.is_none() => self.fold(f, BinaryOp::Min, a),
            Builtin::Reduce(ReduceOp::Max) if a.over.is_none() => self.fold(f, BinaryOp::Max, a),
            Builtin::Reduce(op) => {
                let (x, dims) = self.one_over(f, name, &mut a)?;
                self.reduce(op, &x, &dims, span)
            }
            Builtin::Arg(op) => {
                let (x, dim) = self.one_along(f, name, &mut a)?;
                self.arg_reduce(op, &x, dim, span)
            }
            Builtin::Scan(op) => {
                let (x, dim) = self.one_along(f, name, &mut a)?;
                self.scan(op, &x, dim, span)
            }
            Builtin::Sort | Builtin::SortDescending => {
                let (x, dim) = self.one_along(f, name, &mut a)?;
                self.sort(&x, dim, f == Builtin::SortDescending, span)
            }
            Builtin::Mean => {
                let (x, dims) = self.one_over(f, name, &mut a)?;
                self.mean(&x, &dims, span)
            }
            Builtin::KthLargest => self.kth_largest(f, name, a),
            Builtin::Dot => self.dot(f, a),
            Builtin::Outer => self.outer(f, a),
            Builtin::Fill => self.fill(f, a),
            Builtin::Where => self.choose(f, a),
            Builtin::Clamp => {
                let [x, lo, hi] = self.exactly(f, &mut a)?;
                let low = Operand { num: self.binary(BinaryOp::Max, &x, &lo, span)?, span: x.span };
                self.binary(BinaryOp::Min, &low, &hi, span).map(Val::Num)
            }
            Builtin::Gather => self.gather(f, a),
            Builtin::Split => self.split(f, a),
            Builtin::Merge => self.merge_dims(f, a, merge_order),
            Builtin::Iota => None, // above
            Builtin::Pos | Builtin::At | Builtin::Index => self.of_block(f, a),
            Builtin::Len => self.length(f, a),
            Builtin::Blocks => self.blocks(f, a),
            Builtin::Cdiv => {
                let [x, y] = self.exactly(f, &mut a)?;
                self.ceiling(&x, &y, span).map(Val::Num)
            }
            Builtin::Random => self.random(f, a),
            Builtin::Print => self.print(f, a),
            Builtin::Assert => self.assert(f, a),
        }
    }

    /// Evaluates every argument; which kinds a builtin takes is checked by who uses them.
    fn sorted_args<'e>(&mut self, f: Builtin, args: &'e [Arg], span: Span) -> Option<Args<'e, 'p>> {
        let mut out = Args { values: Vec::new(), over: None, at: None, new: None, span };
        let mut fine = true;
        for arg in args {
            match arg {
                Arg::Value(e) => {
                    let call = matches!(e.kind, ExprKind::Call { .. });
                    self.order_itself = call && matches!(f, Builtin::Len | Builtin::Blocks);
                    let val = self.expr(e);
                    fine &= !matches!(val, Val::Error);
                    out.values.push((val, e.span));
                }
                Arg::Over(names, at) => match self.over(names) {
                    Some(dims) => out.over = Some((dims, *at)),
                    None => fine = false,
                },
                Arg::At(e) => match self.operand_of(e) {
                    Some(x) => out.at = Some(x),
                    None => fine = false,
                },
                Arg::As(new, at) => out.new = Some((new, *at)),
                Arg::Named(name, e) => {
                    self.expr(e);
                    return self.misused(f, name.span, "builtins take no named arguments");
                }
                Arg::Via(name, _) => {
                    return self.misused(f, name.span, "`via` stands in a walk, or in a pipeline's `permute`");
                }
            }
        }
        fine.then_some(out)
    }

    /// E0305 with the builtin's usage.
    pub(crate) fn misused<T>(&mut self, f: Builtin, span: Span, label: &str) -> Option<T> {
        let usage = f.usage();
        let name = usage.split('(').next().unwrap_or_default().to_owned();
        let error = Diagnostic::error(Code::E0305, span, format!("`{name}` is not called like this"), label);
        self.say(error.with_help(format!("it is called as `{usage}`")))
    }

    /// Exactly `N` numbers.
    pub(crate) fn exactly<const N: usize>(&mut self, f: Builtin, a: &mut Args<'_, 'p>) -> Option<[Operand; N]> {
        if let Some((_, at)) = &a.over
            && !matches!(f, Builtin::Reduce(_) | Builtin::Arg(_) | Builtin::Scan(_))
            && !OVER.contains(&f)
        {
            return self.misused(f, *at, "takes no `over`");
        }
        if a.values.len() != N {
            let label = format!("{} values are given", a.values.len());
            return self.misused(f, a.span, &label);
        }
        let mut out = Vec::new();
        for (val, span) in std::mem::take(&mut a.values) {
            out.push(self.number(val, span).map(|num| Operand { num, span }));
        }
        let out: Option<Vec<Operand>> = out.into_iter().collect();
        out?.try_into().ok()
    }

    /// One number and the dims after `over`, which it must have.
    fn one_over(&mut self, f: Builtin, name: &str, a: &mut Args<'_, 'p>) -> Option<(Operand, Vec<DimId>)> {
        let [x] = self.exactly(f, a)?;
        let dims = self.needed_dims(f, name, &x, a)?;
        Some((x, dims))
    }

    /// The dims after `over`, each of which `x` must have.
    pub(crate) fn needed_dims(&mut self, f: Builtin, name: &str, x: &Operand, a: &Args<'_, 'p>) -> Option<Vec<DimId>> {
        let have = self.dims(&x.num);
        let Some((dims, at)) = &a.over else {
            let found = self.show_num(&x.num);
            let label = format!("`over` is missing; this is {found}");
            return self.misused(f, a.span, &label);
        };
        let (dims, at) = (dims.clone(), *at);
        match dims.iter().copied().find(|d| !have.contains(d)) {
            Some(d) => self.lacks(name, x, d, at),
            None if dims.is_empty() => self.misused(f, at, "no dimension"),
            None => Some(dims),
        }
    }

    /// E0202.
    pub(crate) fn lacks<T>(&mut self, name: &str, x: &Operand, d: DimId, at: Span) -> Option<T> {
        let (found, dim) = (self.show_num(&x.num), self.dim_name(d).to_owned());
        let over = self.b.func.dim(d).over;
        let have = self.dims(&x.num);
        let message = format!("`{name}` is asked to go over `{dim}`, but this is {found}");
        let error =
            Diagnostic::error(Code::E0202, at, message, format!("there is no `{dim}` in it")).with_label(x.span, found);
        let error = self.label_dim(error, d);
        let sibling = have.iter().copied().find(|h| over.is_some() && self.b.func.dim(*h).over == over);
        let names: Vec<&str> = have.iter().map(|h| self.dim_name(*h)).collect();
        let help = match sibling {
            Some(h) => {
                format!("its block of the same extent is `{}`: write `over {}`", self.dim_name(h), self.dim_name(h))
            }
            None if names.is_empty() => "a scalar has no dimensions".to_owned(),
            None => format!("its dimensions are {}", names.join(", ")),
        };
        self.say(error.with_help(help))
    }

    /// One number and the one dim after `over`.
    pub(crate) fn one_along(&mut self, f: Builtin, name: &str, a: &mut Args<'_, 'p>) -> Option<(Operand, DimId)> {
        let at = a.over.as_ref().map_or(a.span, |o| o.1);
        let (x, dims) = self.one_over(f, name, a)?;
        match dims.as_slice() {
            [d] => Some((x, *d)),
            _ => self.misused(f, at, "goes along one dimension at a time"),
        }
    }

    /// `min(a, b, …)`, `max(a, b, …)`.
    fn fold(&mut self, f: Builtin, op: BinaryOp, mut a: Args<'_, 'p>) -> Option<Val<'p>> {
        if a.values.len() < 2 {
            return self.misused(f, a.span, "one value, and no `over`");
        }
        let mut out: Option<Operand> = None;
        for (val, span) in std::mem::take(&mut a.values) {
            let x = Operand { num: self.number(val, span)?, span };
            out = Some(match out {
                None => x,
                Some(left) => Operand { num: self.binary(op, &left, &x, a.span)?, span: left.span.to(span) },
            });
        }
        out.map(|o| Val::Num(o.num))
    }

    /// ⌈a ÷ b⌉.
    pub(crate) fn ceiling(&mut self, x: &Operand, y: &Operand, span: Span) -> Option<Num> {
        if let (Num::Const(a), Num::Const(b)) = (&x.num, &y.num) {
            return self.folded(cdiv(*a, *b), span);
        }
        for o in [x, y] {
            if self.dtype_of(&o.num).is_some_and(|d| !d.is_int()) {
                return self.not_defined("cdiv", pantile_ir::Class::Int, o);
            }
        }
        let one = Operand { num: Num::Const(Const::Int(1)), span };
        let up = Operand { num: self.binary(BinaryOp::Sub, y, &one, span)?, span };
        let sum = Operand { num: self.binary(BinaryOp::Add, x, &up, span)?, span };
        self.binary(BinaryOp::Div, &sum, y, span)
    }

    /// `pos(i)`, `at(i)`, `index(i)`.
    fn of_block(&mut self, f: Builtin, a: Args<'_, 'p>) -> Option<Val<'p>> {
        let Some(dim) = self.block_arg(&a) else {
            return self.misused(f, a.span, "takes a block, such as `i` of `i in N by 128`");
        };
        let dim = dim?;
        let (whole, over) = (self.b.func.dim(dim).whole, self.b.func.dim(dim).over);
        // A pipeline's permutation is not part of the kernel's text: there, memory is the permuted view.
        let own = over.is_some_and(|e| self.b.func.extents[e.index()].order.is_some());
        if f == Builtin::Index {
            if whole {
                return Some(Const::Int(0).into());
            }
            let value = self.emit(Op::BlockIndex(dim), &[], a.span)?;
            return Some(Self::formed(value, self.block_form(dim)).into());
        }
        if f == Builtin::At && !own && self.b.func.dim(dim).order.is_some() {
            let value = self.emit(Op::At(dim), &[], a.span)?;
            return Some(Tile { lanes: Some(Lanes::At(dim)), ..Tile::from(value) }.into());
        }
        let value = self.emit(Op::Pos(dim), &[], a.span)?;
        Some(Tile { lanes: Some(Lanes::Pos(dim)), ..Self::formed(value, self.position_form(dim)) }.into())
    }

    /// The one argument as a block. `Some(None)` after an error.
    #[allow(clippy::option_option, reason = "the outer one is whether it is a block at all")]
    fn block_arg(&mut self, a: &Args<'_, 'p>) -> Option<Option<DimId>> {
        match a.values.as_slice() {
            [(Val::Block(d), _)] => Some(Some(*d)),
            [(Val::Dims(dims), _)] if dims.len() == 1 => Some(Some(dims[0])),
            [(Val::Extent(e), span)] => Some(self.whole_dim(*e, *span)),
            [(Val::Num(Num::Tile(Tile { lanes: Some(Lanes::Pos(d)), .. })), _)]
                if self.b.func.dim(*d).over.is_none() =>
            {
                Some(Some(*d))
            }
            _ => None,
        }
    }

    /// `len(i)`, `len(order)`, `len(N)`.
    fn length(&mut self, f: Builtin, a: Args<'_, 'p>) -> Option<Val<'p>> {
        match a.values.as_slice() {
            [(Val::Order(item, args), span)] => {
                let len = self.positions(item, args, *span)?;
                Some(Const::Int(len).into())
            }
            [(Val::Extent(e), span)] => self.walk_length(*e, *span).map(Val::Num),
            _ => match self.block_arg(&a) {
                Some(d) => self.emit(Op::BlockLen(d?), &[], a.span).map(Val::from),
                None => self.misused(f, a.span, "takes a block, an extent or an order"),
            },
        }
    }

    /// `blocks(N, P)`, `blocks(order, P)`.
    fn blocks(&mut self, f: Builtin, mut a: Args<'_, 'p>) -> Option<Val<'p>> {
        if a.values.len() != 2 {
            return self.misused(f, a.span, "takes an extent or order, and a block size");
        }
        let (what, at) = a.values.remove(0);
        let length = if let Val::Order(item, args) = what {
            Num::Const(Const::Int(self.positions(item, &args, at)?))
        } else if let Val::Extent(e) = what {
            self.walk_length(e, at)?
        } else {
            self.number(what, at)?
        };
        let [size] = self.exactly(f, &mut a)?;
        self.ceiling(&Operand { num: length, span: at }, &size, a.span).map(Val::Num)
    }

    fn random(&mut self, f: Builtin, mut a: Args<'_, 'p>) -> Option<Val<'p>> {
        let [seed, counter] = self.exactly(f, &mut a)?;
        let (seed, counter) = (self.index_value(&seed, "a seed"), self.index_value(&counter, "a counter"));
        let (seed, counter) = (seed?, counter?);
        let valid = self.both(seed.valid, counter.valid, a.span)?;
        let value = self.emit(Op::Random, &[seed.value, counter.value], a.span)?;
        Some(Tile { valid, ..Tile::from(value) }.into())
    }

    fn print(&mut self, f: Builtin, mut a: Args<'_, 'p>) -> Option<Val<'p>> {
        let label = match a.values.first() {
            Some((Val::Str(label), _)) => label.clone(),
            _ => String::new(),
        };
        if !label.is_empty() {
            a.values.remove(0);
        }
        let span = a.span;
        let [x] = self.exactly(f, &mut a)?;
        let t = self.tile(&x.num, x.span)?;
        self.emit_effect(Op::Print(label), &[t.value], span)?;
        Some(Val::Unit)
    }

    fn assert(&mut self, f: Builtin, mut a: Args<'_, 'p>) -> Option<Val<'p>> {
        let message = match a.values.pop() {
            Some((Val::Str(message), _)) => message,
            Some(other) => {
                a.values.push(other);
                "an assertion does not hold".to_owned()
            }
            None => String::new(),
        };
        let [c] = self.exactly(f, &mut a)?;
        match &c.num {
            Num::Const(x) => match x.as_bool() {
                Some(true) => Some(Val::Unit),
                Some(false) => self.error(Code::E0603, a.span, message, "never holds here"),
                None => self.not_defined("assert", pantile_ir::Class::Bool, &c),
            },
            Num::Tile(t) => {
                if self.ty(t.value).dtype() != DType::Bool {
                    return self.not_defined("assert", pantile_ir::Class::Bool, &c);
                }
                let value = self.filled(t, pantile_ir::Scalar::Bool(true), a.span)?;
                self.emit_effect(Op::Assert(message), &[value], a.span)?;
                Some(Val::Unit)
            }
        }
    }
}

/// The builtins beside reductions and scans that take `over`.
const OVER: &[Builtin] = &[
    Builtin::Dot,
    Builtin::Fill,
    Builtin::Mean,
    Builtin::KthLargest,
    Builtin::Sort,
    Builtin::SortDescending,
    Builtin::Gather,
    Builtin::Split,
    Builtin::Merge,
];
