//! Binds a signature's names to the dtypes and shapes of arguments, and says which arguments disagree. Used for launches
//! from the host and for the steps of a plan alike; values of tensors are not looked at.

use std::collections::BTreeMap;

use pantile_diag::Code;
use pantile_ir::{Class, DType, Scalar};

use crate::signature::{AxisInfo, ElementType, ExtentInfo, GenericKind, ParamInfo, ParamType, Signature};
use crate::{Bindings, OrderArg};

/// What is known of an argument before a launch.
#[derive(Clone, Debug, PartialEq)]
pub enum ArgShape {
    /// A tensor.
    Tensor {
        /// Its element type.
        dtype: DType,
        /// Its size along each axis.
        shape: Vec<i64>,
    },
    /// A mask.
    Mask {
        /// Its number of blocks along each axis.
        shape: Vec<i64>,
    },
    /// A scalar.
    Scalar {
        /// Its dtype.
        dtype: DType,
        /// Its value.
        value: Scalar,
    },
    /// An order.
    Order(OrderArg),
}

impl ArgShape {
    /// For messages: "a tensor".
    pub fn describe(&self) -> &'static str {
        match self {
            ArgShape::Tensor { .. } => "a tensor",
            ArgShape::Mask { .. } => "a mask",
            ArgShape::Scalar { .. } => "a scalar",
            ArgShape::Order(_) => "an order",
        }
    }

    fn shape(&self) -> &[i64] {
        match self {
            ArgShape::Tensor { shape, .. } | ArgShape::Mask { shape } => shape,
            ArgShape::Scalar { .. } | ArgShape::Order(_) => &[],
        }
    }
}

/// What arguments bind.
#[derive(Clone, Debug, PartialEq)]
pub struct Inferred {
    /// Every generic and every extent.
    pub bindings: Bindings,
    /// The outputs, in order. `None` where an extent is bound by no input: a pipeline computes it.
    pub outs: Vec<Option<ArgShape>>,
}

/// Why arguments do not fit a signature.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each variant's fields are the names and numbers of its sentence, below")]
pub enum InferError {
    /// Too many or too few arguments.
    Arity { callee: String, takes: Vec<String>, got: usize },
    /// A tensor where a mask was expected, and the like.
    Kind { param: String, expected: &'static str, got: &'static str },
    /// Another number of axes.
    Rank { param: String, declared: String, expected: usize, shape: Vec<i64> },
    /// Another dtype than the declared one.
    DType { param: String, expected: DType, got: DType },
    /// One generic, two dtypes.
    DTypeConflict { generic: String, first: (String, DType), second: (String, DType) },
    /// A dtype outside the generic's class.
    Constraint { generic: String, class: Class, param: String, got: DType },
    /// One extent, two numbers.
    ExtentConflict { extent: String, first: (String, i64), second: (String, i64) },
    /// An axis that must have a given number of places has another.
    AxisSize { param: String, axis: String, expected: i64, got: i64 },
    /// An `int` or scalar argument of another kind of number.
    Number { param: String, expected: String, got: DType },
    /// A number or size that must not be negative is.
    Negative { param: String, shape: Vec<i64> },
    /// A name that no argument binds and that has no default.
    Unbound { name: String, callee: String },
    /// A fixed constant that the signature does not have.
    NoSuchConstant { name: String, callee: String, known: Vec<String> },
    /// A constant that must be at least 1.
    NotPositive { name: String, value: i64 },
}

impl std::error::Error for InferError {}

impl InferError {
    /// The entry of the error table, where the call stands in a pipeline.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Arity { .. } | Self::Kind { .. } | Self::NoSuchConstant { .. } => Code::E0305,
            Self::DType { .. } | Self::DTypeConflict { .. } | Self::Constraint { .. } | Self::Number { .. } => {
                Code::E0301
            }
            Self::Rank { .. } => Code::E0203,
            Self::ExtentConflict { .. } | Self::AxisSize { .. } | Self::Negative { .. } => Code::E0602,
            Self::Unbound { .. } | Self::NotPositive { .. } => Code::E0503,
        }
    }
}

impl std::fmt::Display for InferError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Arity { callee, takes, got } => {
                write!(f, "`{callee}` takes {} arguments ({}), not {got}", takes.len(), takes.join(", "))
            }
            Self::Kind { param, expected, got } => write!(f, "`{param}` must be {expected}, not {got}"),
            Self::Rank { param, declared, expected, shape } => {
                write!(f, "`{param}` must have {expected} axes, {declared}, but its shape is {shape:?}")
            }
            Self::DType { param, expected, got } => write!(f, "`{param}` must be of {expected}, not {got}"),
            Self::DTypeConflict { generic, first: (a, x), second: (b, y) } => {
                write!(f, "`{b}` has {generic} = {y} but `{a}` has {generic} = {x}")
            }
            Self::Constraint { generic, class, param, got } => {
                write!(f, "`{param}` is of {got}, but {generic} must be {}", class.describe())
            }
            Self::ExtentConflict { extent, first: (a, x), second: (b, y) } => {
                write!(f, "`{b}` has {extent} = {y} but `{a}` has {extent} = {x}")
            }
            Self::AxisSize { param, axis, expected, got } => {
                write!(f, "`{param}` must have {expected} places along `{axis}`, not {got}")
            }
            Self::Number { param, expected, got } => write!(f, "`{param}` must be {expected}, not {got}"),
            Self::Negative { param, shape } => write!(f, "`{param}` has a negative size in {shape:?}"),
            Self::Unbound { name, callee } => {
                write!(f, "nothing gives `{name}` of `{callee}` a value; name it in the call: `{callee}<{name} = …>`")
            }
            Self::NoSuchConstant { name, callee, known } if known.is_empty() => {
                write!(f, "`{callee}` has no constant `{name}`; it has none")
            }
            Self::NoSuchConstant { name, callee, known } => {
                write!(f, "`{callee}` has no constant `{name}`; it has {}", known.join(", "))
            }
            Self::NotPositive { name, value } => write!(f, "`{name}` must be at least 1, not {value}"),
        }
    }
}

/// Binds the names of `signature` to `args`, one for each input; inputs at the end that have defaults may be missing.
/// `fixed` holds what the caller has decided already: constants, dtypes, extents, and orders that extents are walked in.
///
/// # Errors
/// The first disagreement, with the names of both arguments.
pub fn infer(signature: &Signature, args: &[ArgShape], fixed: &Bindings) -> Result<Inferred, InferError> {
    bind(signature, args, fixed, Sizes::Agree)
}

/// Whether sizes that disagree are an error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sizes {
    /// They are.
    Agree,
    /// They are made up: the first one counts.
    MadeUp,
}

/// As [`infer`].
pub(crate) fn bind(
    signature: &Signature,
    args: &[ArgShape],
    fixed: &Bindings,
    sizes: Sizes,
) -> Result<Inferred, InferError> {
    let mut cx = Inference::start(signature, fixed)?;
    let mut args: Vec<ArgShape> = args.to_vec();
    let defaults = signature.params.get(args.len()..).unwrap_or_default().iter().map_while(|p| p.default);
    args.extend(defaults.map(|(dtype, value)| ArgShape::Scalar { dtype, value }));
    if args.len() != signature.params.len() {
        let takes = signature.params.iter().map(|p| p.name.clone()).collect();
        return Err(InferError::Arity { callee: signature.name.clone(), takes, got: args.len() });
    }
    let pairs = || signature.params.iter().zip(&args);
    pairs().try_for_each(|(param, arg)| cx.kinds(param, arg))?;
    pairs().try_for_each(|(param, arg)| cx.extents(param, arg).or_else(|why| if_made_up(sizes, why)))?;
    cx.defaults()?;
    pairs().try_for_each(|(param, arg)| cx.sizes(param, arg).or_else(|why| if_made_up(sizes, why)))?;
    let outs = signature.outs.iter().map(|out| out_shape(out, &cx.bindings)).collect();
    Ok(Inferred { bindings: cx.bindings, outs })
}

fn if_made_up(sizes: Sizes, why: InferError) -> Result<(), InferError> {
    if sizes == Sizes::MadeUp { Ok(()) } else { Err(why) }
}

/// The shape of an output, if the bindings determine it.
fn out_shape(out: &ParamInfo, bindings: &Bindings) -> Option<ArgShape> {
    let shape = out.ty.axes().iter().map(|axis| axis.size(bindings)).collect::<Option<Vec<i64>>>()?;
    match &out.ty {
        ParamType::Tensor(dtype, _) => Some(ArgShape::Tensor { dtype: dtype.resolve(bindings)?, shape }),
        ParamType::Mask(_) => Some(ArgShape::Mask { shape }),
        ParamType::Scalar(_) | ParamType::Int | ParamType::Order => None,
    }
}

struct Inference<'s> {
    signature: &'s Signature,
    bindings: Bindings,
    /// Which argument bound a generic or an extent.
    dtype_from: BTreeMap<String, String>,
    extent_from: BTreeMap<String, String>,
}

impl<'s> Inference<'s> {
    fn start(signature: &'s Signature, fixed: &Bindings) -> Result<Self, InferError> {
        let known = || signature.generics.iter().map(|g| g.name.clone()).collect();
        let callee = || signature.name.clone();
        for name in fixed.dtypes.keys().chain(fixed.ints.keys()) {
            let wrong = match signature.generic(name).map(|g| g.kind) {
                Some(GenericKind::DType(_)) => !fixed.dtypes.contains_key(name),
                Some(GenericKind::Int(_)) => !fixed.ints.contains_key(name),
                None => true,
            };
            if wrong {
                return Err(InferError::NoSuchConstant { name: name.clone(), callee: callee(), known: known() });
            }
        }
        let said = |names: Vec<&String>| names.into_iter().map(|n| (n.clone(), "the call".to_owned())).collect();
        Ok(Self {
            signature,
            dtype_from: said(fixed.dtypes.keys().collect()),
            extent_from: said(fixed.extents.keys().collect()),
            bindings: fixed.clone(),
        })
    }

    /// Kinds, ranks and dtypes; `int` arguments are bound here.
    fn kinds(&mut self, param: &ParamInfo, arg: &ArgShape) -> Result<(), InferError> {
        let name = || param.name.clone();
        match (&param.ty, arg) {
            (ParamType::Tensor(element, axes), ArgShape::Tensor { dtype, shape }) => {
                rank(param, axes, shape)?;
                self.element(element, param, *dtype)
            }
            (ParamType::Mask(axes), ArgShape::Mask { shape }) => rank(param, axes, shape),
            (ParamType::Scalar(element), ArgShape::Scalar { dtype, .. }) => self.element(element, param, *dtype),
            (ParamType::Int, ArgShape::Scalar { dtype, value }) => match value {
                Scalar::Int(n) if dtype.is_int() => {
                    self.bindings.ints.insert(name(), *n);
                    Ok(())
                }
                Scalar::Int(_) | Scalar::Bool(_) | Scalar::Float(_) => {
                    Err(InferError::Number { param: name(), expected: "an integer".into(), got: *dtype })
                }
            },
            (ParamType::Order, ArgShape::Order(_)) => Ok(()),
            (
                ParamType::Tensor(..) | ParamType::Mask(_) | ParamType::Scalar(_) | ParamType::Int | ParamType::Order,
                ArgShape::Tensor { .. } | ArgShape::Mask { .. } | ArgShape::Scalar { .. } | ArgShape::Order(_),
            ) => Err(InferError::Kind { param: name(), expected: param.ty.describe(), got: arg.describe() }),
        }
    }

    fn element(&mut self, element: &ElementType, param: &ParamInfo, got: DType) -> Result<(), InferError> {
        let name = || param.name.clone();
        match element {
            ElementType::Fixed(expected) if *expected == got => Ok(()),
            ElementType::Fixed(expected) => Err(InferError::DType { param: name(), expected: *expected, got }),
            ElementType::Generic(generic) => {
                if let Some(GenericKind::DType(class)) = self.signature.generic(generic).map(|g| g.kind)
                    && !class.admits(got)
                {
                    return Err(InferError::Constraint { generic: generic.clone(), class, param: name(), got });
                }
                let bound = *self.bindings.dtypes.entry(generic.clone()).or_insert(got);
                let from = self.dtype_from.entry(generic.clone()).or_insert_with(name);
                if bound == got {
                    return Ok(());
                }
                let (first, second) = ((from.clone(), bound), (name(), got));
                Err(InferError::DTypeConflict { generic: generic.clone(), first, second })
            }
        }
    }

    /// Extents and int generics that stand alone as an axis.
    fn extents(&mut self, param: &ParamInfo, arg: &ArgShape) -> Result<(), InferError> {
        for (axis, got) in param.ty.axes().iter().zip(arg.shape()).filter(|(axis, _)| axis.by.is_none()) {
            let (table, name) = match &axis.extent {
                ExtentInfo::Named(name) => (&mut self.bindings.extents, name),
                ExtentInfo::Generic(name) => (&mut self.bindings.ints, name),
                ExtentInfo::Literal(_) => continue,
            };
            let bound = *table.entry(name.clone()).or_insert(*got);
            let from = self.extent_from.entry(name.clone()).or_insert_with(|| param.name.clone());
            if bound != *got {
                let (first, second) = ((from.clone(), bound), (param.name.clone(), *got));
                return Err(InferError::ExtentConflict { extent: name.clone(), first, second });
            }
        }
        Ok(())
    }

    /// Defaults for what nothing bound; what has none is an error, but for extents of outputs.
    fn defaults(&mut self) -> Result<(), InferError> {
        let unbound = |name: &str| InferError::Unbound { name: name.to_owned(), callee: self.signature.name.clone() };
        for generic in &self.signature.generics {
            let name = &generic.name;
            match generic.kind {
                GenericKind::DType(_) if self.bindings.dtypes.contains_key(name) => {}
                GenericKind::DType(_) => return Err(unbound(name)),
                GenericKind::Int(_) if self.bindings.ints.contains_key(name) => {}
                GenericKind::Int(Some(value)) => {
                    self.bindings.ints.insert(name.clone(), value);
                }
                GenericKind::Int(None) => return Err(unbound(name)),
            }
        }
        let inputs = self.signature.params.iter().flat_map(|p| p.ty.axes());
        for axis in inputs {
            if let ExtentInfo::Named(name) = &axis.extent
                && !self.bindings.extents.contains_key(name)
            {
                return Err(unbound(name));
            }
        }
        Ok(())
    }

    /// Literal axes and block counts, once everything is bound.
    fn sizes(&self, param: &ParamInfo, arg: &ArgShape) -> Result<(), InferError> {
        for (axis, got) in param.ty.axes().iter().zip(arg.shape()) {
            let expected = match (&axis.by, axis.size(&self.bindings)) {
                (_, Some(expected)) => expected,
                (Some(by), None) => {
                    let value = by.resolve(&self.bindings).unwrap_or(0);
                    return Err(InferError::NotPositive { name: by.to_string(), value });
                }
                (None, None) => continue,
            };
            if expected != *got {
                let (param, axis) = (param.name.clone(), self.explain(axis));
                return Err(InferError::AxisSize { param, axis, expected, got: *got });
            }
        }
        Ok(())
    }

    /// An axis with its numbers: `N by BQ` with N = 300, BQ = 64.
    fn explain(&self, axis: &AxisInfo) -> String {
        match (&axis.by, axis.elements(&self.bindings)) {
            (Some(by), Some(n)) => {
                let size = by.resolve(&self.bindings).unwrap_or_default();
                format!("{axis} = {n} by {size}")
            }
            (Some(_) | None, _) => axis.to_string(),
        }
    }
}

fn rank(param: &ParamInfo, axes: &[AxisInfo], shape: &[i64]) -> Result<(), InferError> {
    let name = || param.name.clone();
    if axes.len() != shape.len() {
        let declared = param.ty.to_string();
        return Err(InferError::Rank { param: name(), declared, expected: axes.len(), shape: shape.to_vec() });
    }
    if shape.iter().any(|n| *n < 0) {
        return Err(InferError::Negative { param: name(), shape: shape.to_vec() });
    }
    Ok(())
}

/// Whether `value` can stand where the class is wanted; for representative dtypes in checking.
pub(crate) fn representative(class: Class) -> DType {
    match class {
        Class::Float | Class::Number | Class::Any => DType::F32,
        Class::Int | Class::Bits => DType::I32,
        Class::Bool => DType::Bool,
    }
}
