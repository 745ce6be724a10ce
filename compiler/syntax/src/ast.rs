//! The syntax tree, as written: names unresolved, nothing typed. Every node that can be wrong carries its span.

use pantile_diag::{Span, Spanned};

/// The name of an extent or type that did not parse: it has been reported, and what uses it is silent.
pub const BROKEN: &str = "_";

/// A name and where it stands.
pub type Ident = Spanned<String>;

/// A source file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct File {
    /// In order of appearance.
    pub items: Vec<Item>,
}

/// A top-level definition.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// `const LOG2E: f32 = 1.44;`
    Const(ConstItem),
    /// `fn softmax(x, over d) { … }`
    Fn(FnItem),
    /// `order windows(p, F: int) -> int { … }`
    Order(OrderItem),
    /// `kernel f<…>(…) -> (…) grid (…) { … }`
    Kernel(KernelItem),
    /// `pipeline f<…>(…) -> (…) { … }`
    Pipeline(PipelineItem),
    /// `tune f { BQ in [64, 128]; require …; }`
    Tune(TuneItem),
    /// `use "attention.tile"::{attention};`
    Use(UseItem),
}

/// `const NAME: dtype = expr;`
#[derive(Clone, Debug, PartialEq)]
pub struct ConstItem {
    /// Its name.
    pub name: Ident,
    /// Its type.
    pub ty: TypeExpr,
    /// Its value.
    pub value: Expr,
    /// The whole item.
    pub span: Span,
}

/// `fn name<T: float>(x, y: tile<T>{i, d}, over d) -> tile<T>{i} { … }`; `over` parameters are dims.
#[derive(Clone, Debug, PartialEq)]
pub struct FnItem {
    /// `///` lines above it.
    pub doc: String,
    /// Its name.
    pub name: Ident,
    /// `<T: float, P: int = 4>`.
    pub generics: Vec<Generic>,
    /// In order.
    pub params: Vec<FnParam>,
    /// What it returns, if written.
    pub result: Option<TypeExpr>,
    /// The body; its tail is the result.
    pub body: Block,
    /// The whole item.
    pub span: Span,
}

/// A parameter of a `fn`.
#[derive(Clone, Debug, PartialEq)]
pub enum FnParam {
    /// `x` or `x: T`.
    Value {
        /// Its name.
        name: Ident,
        /// Its type, if written.
        ty: Option<TypeExpr>,
    },
    /// `over d`: one or several dims, whatever the caller writes after `over`.
    Over(Ident),
}

/// `order name(p in LEN, F: int, …) -> int { … }`: position in the walk → element in memory, -1 for none.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderItem {
    /// `///` lines above it.
    pub doc: String,
    /// Its name.
    pub name: Ident,
    /// The position.
    pub position: Ident,
    /// The number of positions; the walked extent if not written.
    pub length: Option<Expr>,
    /// Compile-time integers.
    pub params: Vec<OrderParam>,
    /// The body; its tail is the element.
    pub body: Block,
    /// The whole item.
    pub span: Span,
}

/// `F: int`, with a default if `= expr` is written.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderParam {
    /// Its name.
    pub name: Ident,
    /// Its type, `int` or `bool`.
    pub ty: TypeExpr,
    /// Its default.
    pub default: Option<Expr>,
}

/// A `<…>` parameter: a dtype with a constraint kind, or an `int` constant.
#[derive(Clone, Debug, PartialEq)]
pub struct Generic {
    /// Its name.
    pub name: Ident,
    /// `float`, `int`, `number`, `any` (dtypes) or `int` with a default (a constant): which one is decided by use and by
    /// the default; `check` resolves it.
    pub kind: Ident,
    /// Its default.
    pub default: Option<Expr>,
}

/// A kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelItem {
    /// `///` lines above it.
    pub doc: String,
    /// Its name.
    pub name: Ident,
    /// `<T: float, BQ: int = 128>`.
    pub generics: Vec<Generic>,
    /// Inputs.
    pub params: Vec<Param>,
    /// Outputs.
    pub outs: Vec<Param>,
    /// The grid; the first axis varies fastest.
    pub grid: Vec<GridVar>,
    /// What one instance does.
    pub body: Block,
    /// The whole item.
    pub span: Span,
}

/// A pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct PipelineItem {
    /// `///` lines above it.
    pub doc: String,
    /// Its name.
    pub name: Ident,
    /// `<T: float, P: int = 128>`.
    pub generics: Vec<Generic>,
    /// Inputs: tensors, masks, scalars.
    pub params: Vec<Param>,
    /// Outputs.
    pub outs: Vec<Param>,
    /// Steps: `let`s, and assignments to outputs.
    pub body: Block,
    /// The whole item.
    pub span: Span,
}

/// `q: tensor<T>[B, H, N, D]`; a scalar parameter may have a default.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Its name.
    pub name: Ident,
    /// Its type.
    pub ty: TypeExpr,
    /// Its default, for scalars of pipelines.
    pub default: Option<Expr>,
}

/// A type as written.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeExpr {
    /// What it says.
    pub kind: TypeKind,
    /// Where.
    pub span: Span,
}

/// The forms of types.
#[derive(Clone, Debug, PartialEq)]
pub enum TypeKind {
    /// `f32`, `int`, `T`.
    Name(String),
    /// `tensor<T>[B, H, N by P, 3]`.
    Tensor {
        /// The element type.
        dtype: Ident,
        /// The axes.
        axes: Vec<AxisExpr>,
    },
    /// `mask[B, H, N by BQ, M by BK]`.
    Mask(Vec<AxisExpr>),
    /// `tile<T>{i, d}`, dims by name.
    Tile {
        /// The element type.
        dtype: Ident,
        /// The dims.
        dims: Vec<Ident>,
    },
}

/// One axis of a tensor or mask: `N`, `N by P`, `3`.
#[derive(Clone, Debug, PartialEq)]
pub struct AxisExpr {
    /// An extent's name, a constant's, or a literal.
    pub extent: AxisExtent,
    /// `by P`: the number of blocks of that size.
    pub by: Option<Expr>,
    /// The whole of it.
    pub span: Span,
}

/// What an axis counts.
#[derive(Clone, Debug, PartialEq)]
pub enum AxisExtent {
    /// A name: an extent, or an `int` generic (then it is a constant).
    Name(Ident),
    /// A number.
    Literal(i64),
}

/// An axis of a grid: `i in N by BQ via ord(…)` or `h in H`.
#[derive(Clone, Debug, PartialEq)]
pub struct GridVar {
    /// The block's or index's name.
    pub name: Ident,
    /// What it walks.
    pub walk: WalkExpr,
}

/// `N by BQ via ord(…)`. Without `by`, single positions.
#[derive(Clone, Debug, PartialEq)]
pub struct WalkExpr {
    /// The extent.
    pub extent: AxisExtent,
    /// The block size.
    pub by: Option<Expr>,
    /// The order.
    pub via: Option<Expr>,
    /// The whole of it.
    pub span: Span,
}

/// `{ statements; tail }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// In order.
    pub stmts: Vec<Stmt>,
    /// The value, if the last thing is an expression without `;`. A last `if` whose first branch has no value is a
    /// statement.
    pub tail: Option<Box<Expr>>,
    /// With its braces.
    pub span: Span,
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Stmt {
    /// What it is.
    pub kind: StmtKind,
    /// The whole of it.
    pub span: Span,
}

/// The forms of statements.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "trees are small and short-lived")]
pub enum StmtKind {
    /// `let (a, mut b): T = e;` A single name is a pattern of one.
    Let {
        /// The names, in order.
        names: Vec<LetName>,
        /// Whether parentheses were written: `let (a, b) = …`.
        tuple: bool,
        /// The type, if written.
        ty: Option<TypeExpr>,
        /// The value.
        value: Expr,
    },
    /// `x = e;`, `x += e;`, `t[i, :] = e;`, `atomic t[i] += e;`
    Assign {
        /// A name, or an indexed tensor or mask.
        target: Expr,
        /// `None` for `=`; the operator of `+=`, `-=`, `*=`, `/=`.
        op: Option<BinOp>,
        /// Whether `atomic` was written.
        atomic: bool,
        /// The value.
        value: Expr,
    },
    /// `for j in M by BK where P { … }` or `for n in lo..hi where P { … }`.
    For {
        /// The loop's name.
        name: Ident,
        /// What it runs over.
        over: ForOver,
        /// `where P`.
        skip: Option<Expr>,
        /// The body; it has no tail.
        body: Block,
    },
    /// An expression for its effect: a call, or an `if` without value.
    Expr(Expr),
    /// A stretch that did not parse; it has been reported.
    Error,
}

/// One name of a `let`.
#[derive(Clone, Debug, PartialEq)]
pub struct LetName {
    /// The name; `_` is allowed.
    pub name: Ident,
    /// Whether it may be assigned.
    pub mutable: bool,
}

/// What a `for` runs over.
#[derive(Clone, Debug, PartialEq)]
pub enum ForOver {
    /// `M by BK via ord`, or `B` (single positions).
    Walk(WalkExpr),
    /// `lo..hi`.
    Range(Expr, Expr),
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
}

impl Expr {
    /// Whether it gives a value: an `if` or a block does if its (first) block ends in an expression.
    pub fn has_value(&self) -> bool {
        match &self.kind {
            ExprKind::If { then, .. } => then.tail.is_some(),
            ExprKind::Block(block) => block.tail.is_some(),
            ExprKind::Int(_) | ExprKind::Float(_) | ExprKind::Bool(_) | ExprKind::Str(_) | ExprKind::Name(_) => true,
            ExprKind::Index { .. } | ExprKind::Call { .. } | ExprKind::Unary(..) | ExprKind::Binary(..) => true,
            ExprKind::Cast(..) | ExprKind::Tuple(_) | ExprKind::All(_) | ExprKind::Size(_) | ExprKind::Error => true,
        }
    }
}

/// The forms of expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `42`
    Int(i64),
    /// `1.5e-3`; `inf` and `nan` are names of the prelude.
    Float(f64),
    /// `true`, `false`
    Bool(bool),
    /// `"text"`, only for `print` and `assert`.
    Str(String),
    /// A name.
    Name(String),
    /// `q[b, h, i, :]`
    Index {
        /// The tensor or mask.
        base: Box<Expr>,
        /// One an axis.
        index: Vec<IndexExpr>,
    },
    /// `f(a, over (i, D))`, `f<T = f32, BQ = 64>(…)`.
    Call {
        /// What is called: a builtin, a `fn`, an order; in a pipeline a kernel.
        name: Ident,
        /// `<BQ = 64>`: const parameters fixed by the caller.
        consts: Vec<(Ident, Expr)>,
        /// In order.
        args: Vec<Arg>,
    },
    /// `-x`, `not x`
    Unary(UnOp, Box<Expr>),
    /// `a + b`
    Binary(BinOp, Box<Expr>, Box<Expr>),
    /// `x as f32`
    Cast(Box<Expr>, TypeExpr),
    /// `if c { a } else if d { b } else { e }`
    If {
        /// The condition.
        cond: Box<Expr>,
        /// Where it holds.
        then: Block,
        /// Where it does not; an `else if` is a block whose tail is an `if`.
        otherwise: Option<Block>,
    },
    /// `(a, b)`, only where a tuple is taken apart.
    Tuple(Vec<Expr>),
    /// `all N`: the one block over a whole extent.
    All(AxisExtent),
    /// `128 KiB`: a size in bytes, in `tune` blocks.
    Size(i64),
    /// `{ …; e }`
    Block(Box<Block>),
    /// A stretch that did not parse; it has been reported.
    Error,
}

/// One index: an expression (a scalar, a block, an int tile, `all N`) or `:`.
#[derive(Clone, Debug, PartialEq)]
pub enum IndexExpr {
    /// `:`
    Whole(Span),
    /// Anything else.
    Expr(Expr),
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// `x`
    Value(Expr),
    /// `over i`, `over (i, D)`: names of dims.
    Over(Vec<Ident>, Span),
    /// `at idx`, for `gather`.
    At(Expr),
    /// `as (a by 4, b by 32)` or `as d`: the dims that `split` and `merge` make, with sizes for `split`.
    As(Vec<(Ident, Option<Expr>)>, Span),
    /// `N via walk`, for `permute` and `unpermute`: an extent's name and an order.
    Via(Ident, Expr),
    /// `name: x`: an argument by name (kernels and pipelines).
    Named(Ident, Expr),
}

/// Prefix operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnOp {
    /// `-`
    Neg,
    /// `not`
    Not,
}

/// Infix operators, loosest first: `or`; `and`; (`not`;) comparisons (do not chain); `|`; `^`; `&`; `<< >>`; `+ -`;
/// `* / %`; then `as`, then prefix `-`, then `t[…]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinOp {
    /// `or`
    Or,
    /// `and`
    And,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `|`
    BitOr,
    /// `^`
    BitXor,
    /// `&`
    BitAnd,
    /// `<<`
    Shl,
    /// `>>`
    Shr,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Rem,
}

/// `tune f { BQ in [64, 128]; require smem() <= 227 KiB; }`
#[derive(Clone, Debug, PartialEq)]
pub struct TuneItem {
    /// The kernel or pipeline.
    pub name: Ident,
    /// Constants and what to try for each.
    pub space: Vec<(Ident, Vec<Expr>)>,
    /// What a candidate must satisfy.
    pub require: Vec<Expr>,
    /// The whole item.
    pub span: Span,
}

/// `use "attention.tile"::{attention, softmax as sm};`
#[derive(Clone, Debug, PartialEq)]
pub struct UseItem {
    /// The file, relative to the one that names it.
    pub path: Spanned<String>,
    /// Names, each with the name it gets here.
    pub names: Vec<(Ident, Option<Ident>)>,
    /// The whole item.
    pub span: Span,
}
