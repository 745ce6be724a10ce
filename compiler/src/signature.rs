//! What kernels, pipelines and orders take and give, typed. Read off the syntax by `check/signature.rs`; nothing here
//! knows bodies.

use std::fmt;

use pantile_diag::Span;
use pantile_ir::{BinaryOp, Class, DType, Scalar, eval};

use crate::Bindings;

/// A kernel's or pipeline's interface.
#[derive(Clone, Debug, PartialEq)]
pub struct Signature {
    /// Its name, as the module knows it.
    pub name: String,
    /// Its `///` lines.
    pub doc: String,
    /// `<…>`, in order.
    pub generics: Vec<GenericInfo>,
    /// Inputs, in order.
    pub params: Vec<ParamInfo>,
    /// Outputs, in order.
    pub outs: Vec<ParamInfo>,
    /// Extents that the code needs as numbers: it is compiled once for each value of these.
    pub constants: Vec<String>,
    /// Where its name stands.
    pub span: Span,
}

/// A `<…>` parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct GenericInfo {
    /// Its name.
    pub name: String,
    /// What it may stand for.
    pub kind: GenericKind,
    /// Where it was declared.
    pub span: Span,
}

/// What a generic may stand for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GenericKind {
    /// A dtype of a class.
    DType(Class),
    /// A number; without a default, arguments or the caller must give it.
    Int(Option<i64>),
}

/// A parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamInfo {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: ParamType,
    /// Its default; scalars only. An `int`'s is an i64.
    pub default: Option<(DType, Scalar)>,
    /// Where its name stands.
    pub span: Span,
}

/// The type of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum ParamType {
    /// A tensor of elements.
    Tensor(ElementType, Vec<AxisInfo>),
    /// A block mask.
    Mask(Vec<AxisInfo>),
    /// A run-time scalar.
    Scalar(ElementType),
    /// An `int`: a number at compile time.
    Int,
    /// An order; pipelines only.
    Order,
}

/// An element type: a dtype, or a generic that stands for one.
#[derive(Clone, Debug, PartialEq)]
pub enum ElementType {
    /// Written out.
    Fixed(DType),
    /// `T`.
    Generic(String),
}

/// One axis: `N`, `N by P`, `3`.
#[derive(Clone, Debug, PartialEq)]
pub struct AxisInfo {
    /// What it counts.
    pub extent: ExtentInfo,
    /// `by P`: blocks of that many.
    pub by: Option<Size>,
}

/// What an axis counts.
#[derive(Clone, Debug, PartialEq)]
pub enum ExtentInfo {
    /// An extent, bound by the shapes of the arguments.
    Named(String),
    /// An int generic, or a parameter of type `int`.
    Generic(String),
    /// A number.
    Literal(i64),
}

/// A number that depends on int generics.
#[derive(Clone, Debug, PartialEq)]
pub enum Size {
    /// A number.
    Literal(i64),
    /// An int generic, or a parameter of type `int`.
    Generic(String),
    /// An operation on two.
    Binary(BinaryOp, Box<Size>, Box<Size>),
}

/// An order's interface.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderSignature {
    /// Its name.
    pub name: String,
    /// Its `///` lines.
    pub doc: String,
    /// Parameters, in order.
    pub params: Vec<OrderParamInfo>,
    /// Where its name stands.
    pub span: Span,
}

/// A parameter of an order: a number, or a bool as 0 or 1.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderParamInfo {
    /// Its name.
    pub name: String,
    /// Whether it is a bool.
    pub is_bool: bool,
    /// Its default.
    pub default: Option<i64>,
}

impl Signature {
    /// The generic of that name.
    pub fn generic(&self, name: &str) -> Option<&GenericInfo> {
        self.generics.iter().find(|g| g.name == name)
    }

    /// The names of all extents, inputs' first, each once.
    pub fn extents(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for axis in self.params.iter().chain(&self.outs).flat_map(|p| p.ty.axes()) {
            if let ExtentInfo::Named(name) = &axis.extent
                && !names.contains(&name.as_str())
            {
                names.push(name);
            }
        }
        names
    }
}

impl ParamType {
    /// The axes of a tensor or mask, none for a scalar.
    pub fn axes(&self) -> &[AxisInfo] {
        match self {
            ParamType::Tensor(_, axes) | ParamType::Mask(axes) => axes,
            ParamType::Scalar(_) | ParamType::Int | ParamType::Order => &[],
        }
    }

    /// For messages: "a tensor".
    pub fn describe(&self) -> &'static str {
        match self {
            ParamType::Tensor(..) => "a tensor",
            ParamType::Mask(_) => "a mask",
            ParamType::Scalar(_) | ParamType::Int => "a scalar",
            ParamType::Order => "an order",
        }
    }
}

impl ElementType {
    /// The dtype under these bindings.
    pub fn resolve(&self, bindings: &Bindings) -> Option<DType> {
        match self {
            ElementType::Fixed(dtype) => Some(*dtype),
            ElementType::Generic(name) => bindings.dtypes.get(name).copied(),
        }
    }
}

impl AxisInfo {
    /// The number of elements that the axis counts, or counts the blocks of.
    pub fn elements(&self, bindings: &Bindings) -> Option<i64> {
        match &self.extent {
            ExtentInfo::Named(name) => bindings.extents.get(name).copied(),
            ExtentInfo::Generic(name) => bindings.ints.get(name).copied(),
            ExtentInfo::Literal(n) => Some(*n),
        }
    }

    /// The number of places along the axis.
    pub fn size(&self, bindings: &Bindings) -> Option<i64> {
        let elements = self.elements(bindings)?;
        let Some(by) = &self.by else { return Some(elements) };
        let by = by.resolve(bindings).filter(|by| *by > 0)?;
        let walk = match &self.extent {
            ExtentInfo::Named(name) => bindings.walks.get(name),
            ExtentInfo::Generic(_) | ExtentInfo::Literal(_) => None,
        };
        let length = walk.map_or(elements, |order| order.len);
        Some(length / by + i64::from(length % by != 0))
    }
}

impl Size {
    /// The number under these bindings; `None` if it depends on an unbound name or has no value.
    pub fn resolve(&self, bindings: &Bindings) -> Option<i64> {
        match self {
            Size::Literal(n) => Some(*n),
            Size::Generic(name) => bindings.ints.get(name).copied(),
            Size::Binary(op, a, b) => {
                let (a, b) = (Scalar::Int(a.resolve(bindings)?), Scalar::Int(b.resolve(bindings)?));
                match eval::binary(*op, DType::I64, a, b)? {
                    Scalar::Int(n) => Some(n),
                    Scalar::Bool(_) | Scalar::Float(_) => None,
                }
            }
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ElementType::Fixed(dtype) => write!(f, "{dtype}"),
            ElementType::Generic(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for ExtentInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExtentInfo::Named(name) | ExtentInfo::Generic(name) => f.write_str(name),
            ExtentInfo::Literal(n) => write!(f, "{n}"),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Size::Literal(n) => write!(f, "{n}"),
            Size::Generic(name) => f.write_str(name),
            Size::Binary(op, a, b) => write!(f, "{}({a}, {b})", op.name()),
        }
    }
}

impl fmt::Display for AxisInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.by {
            None => write!(f, "{}", self.extent),
            Some(by) => write!(f, "{} by {by}", self.extent),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, axes: &[AxisInfo]) -> fmt::Result {
    f.write_str("[")?;
    for (n, axis) in axes.iter().enumerate() {
        write!(f, "{}{axis}", if n == 0 { "" } else { ", " })?;
    }
    f.write_str("]")
}

impl fmt::Display for ParamType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParamType::Tensor(dtype, axes) => {
                write!(f, "tensor<{dtype}>")?;
                list(f, axes)
            }
            ParamType::Mask(axes) => {
                f.write_str("mask")?;
                list(f, axes)
            }
            ParamType::Scalar(dtype) => write!(f, "{dtype}"),
            ParamType::Int => f.write_str("int"),
            ParamType::Order => f.write_str("order"),
        }
    }
}
