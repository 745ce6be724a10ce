//! The check of a launch before it reaches a device: arguments against a signature, extents, sizes, memory. Which code
//! runs is decided elsewhere.

use pantile_compiler::{ArgShape, Bindings, ExtentInfo, Inferred, ParamInfo, ParamType, Signature, infer};
use pantile_ir::{DType, Func, GridAxis, ParamKind, Scalar};

use crate::argument::convert;
use crate::storage::Home;
use crate::{Arg, Error, Mask, Result, Tensor};

/// A parameter's argument, ready for a back end.
#[derive(Debug)]
pub(crate) enum Operand<'a> {
    /// An element of the parameter's dtype.
    Scalar(DType, Scalar),
    /// A tensor that is read.
    In(&'a Tensor),
    /// A tensor that is written.
    Out(&'a mut Tensor),
    /// A mask that is read.
    Mask(&'a Mask),
    /// A mask that is written.
    MaskOut(&'a mut Mask),
}

/// One call of a kernel, checked against its parameters. A launch runs one or more.
pub(crate) struct Call<'a> {
    /// One a row of the function's extents.
    pub(crate) extents: &'a [i64],
    /// One a parameter.
    pub(crate) operands: Vec<Operand<'a>>,
}

/// An output given by the caller.
#[derive(Debug)]
pub enum Out<'a> {
    /// For a tensor.
    Tensor(&'a mut Tensor),
    /// For a mask.
    Mask(&'a mut Mask),
}

/// A result of a kernel or pipeline.
#[derive(Clone, Debug)]
pub enum Output {
    /// A tensor.
    Tensor(Tensor),
    /// A block mask.
    Mask(Mask),
}

impl Output {
    /// Zeros of a shape, or what is not said of a tensor all of which will be written.
    pub(crate) fn allocate(home: Home<'_>, shape: &ArgShape, whole: bool) -> Result<Self> {
        match shape {
            ArgShape::Tensor { dtype, shape } if whole => {
                Ok(Output::Tensor(Tensor::to_be_written(home, *dtype, &sizes(shape)?)?))
            }
            ArgShape::Tensor { dtype, shape } => Ok(Output::Tensor(Tensor::zeros_in(home, *dtype, &sizes(shape)?)?)),
            ArgShape::Mask { shape } => Ok(Output::Mask(Mask::empty_in(home, &sizes(shape)?)?)),
            ArgShape::Scalar { .. } | ArgShape::Order(_) => {
                Err(Error::Tensor(format!("an output cannot be {}", shape.describe())))
            }
        }
    }

    /// To be written.
    pub(crate) fn as_out(&mut self) -> Out<'_> {
        match self {
            Output::Tensor(tensor) => Out::Tensor(tensor),
            Output::Mask(mask) => Out::Mask(mask),
        }
    }
}

/// Sizes as the host counts them.
pub(crate) fn sizes(shape: &[i64]) -> Result<Vec<usize>> {
    let size = |n: &i64| usize::try_from(*n).map_err(|_| Error::Tensor(format!("shape {shape:?} has a negative size")));
    shape.iter().map(size).collect()
}

/// Arguments that fit a signature.
pub(crate) struct Checked {
    /// Every generic and extent, and the outputs' shapes.
    pub(crate) inferred: Inferred,
    /// The arguments as planning sees them, defaults included.
    pub(crate) shapes: Vec<ArgShape>,
    /// The scalar arguments, one a parameter, in the parameter's dtype.
    pub(crate) scalars: Vec<Option<(DType, Scalar)>>,
}

/// Checks arguments against a signature and binds its names.
pub(crate) fn check(signature: &Signature, args: &[Arg<'_>], fixed: &Bindings) -> Result<Checked> {
    let item = signature.name.as_str();
    let mut scalars = Vec::new();
    let mut shapes = Vec::new();
    for (n, arg) in args.iter().enumerate() {
        let shape = match (arg, signature.params.get(n)) {
            (Arg::Tensor(tensor), _) => ArgShape::Tensor { dtype: tensor.dtype(), shape: extents(tensor.shape())? },
            (Arg::Mask(mask), _) => ArgShape::Mask { shape: extents(mask.shape())? },
            (Arg::Order(order), _) => ArgShape::Order((*order).clone()),
            (Arg::Scalar(value), param) => scalar(signature, param, *value, args, fixed)?,
        };
        scalars.push(match shape {
            ArgShape::Scalar { dtype, value } => Some((dtype, value)),
            ArgShape::Tensor { .. } | ArgShape::Mask { .. } | ArgShape::Order(_) => None,
        });
        shapes.push(shape);
    }
    let inferred = infer(signature, &shapes, fixed).map_err(|e| Error::launch(item, e.to_string()))?;
    scalars.extend(signature.params.iter().skip(args.len()).map(|p| p.default));
    Ok(Checked { inferred, shapes, scalars })
}

fn extents(shape: &[usize]) -> Result<Vec<i64>> {
    let extent = |n: &usize| i64::try_from(*n).map_err(|_| Error::Tensor(format!("shape {shape:?} is too large")));
    shape.iter().map(extent).collect()
}

/// A host scalar in the dtype that its parameter declares.
fn scalar(
    signature: &Signature,
    param: Option<&ParamInfo>,
    value: Scalar,
    args: &[Arg<'_>],
    fixed: &Bindings,
) -> Result<ArgShape> {
    let natural = match value {
        Scalar::Bool(_) => DType::Bool,
        Scalar::Int(_) => DType::I64,
        Scalar::Float(_) => DType::F64,
    };
    let Some(param) = param else { return Ok(ArgShape::Scalar { dtype: natural, value }) };
    let dtype = match &param.ty {
        ParamType::Scalar(element) => {
            element.resolve(fixed).or_else(|| from_tensors(signature, args, &element.to_string())).unwrap_or(natural)
        }
        ParamType::Int => DType::I64,
        ParamType::Tensor(..) | ParamType::Mask(_) | ParamType::Order => natural,
    };
    if matches!(param.ty, ParamType::Tensor(..) | ParamType::Mask(_) | ParamType::Order) {
        return Ok(ArgShape::Scalar { dtype, value });
    }
    let value = convert(value, dtype).map_err(|why| Error::argument(&signature.name, &param.name, why))?;
    Ok(ArgShape::Scalar { dtype, value })
}

/// The dtype that a tensor argument gives a generic.
fn from_tensors(signature: &Signature, args: &[Arg<'_>], generic: &str) -> Option<DType> {
    signature.params.iter().zip(args).find_map(|(param, arg)| match (&param.ty, arg) {
        (ParamType::Tensor(element, _), Arg::Tensor(tensor)) if element.to_string() == generic => Some(tensor.dtype()),
        (ParamType::Tensor(..) | ParamType::Mask(_) | ParamType::Scalar(_) | ParamType::Int | ParamType::Order, _) => {
            None
        }
    })
}

/// Extents that only outputs have: the caller's outputs bind them.
pub(crate) fn bind_outputs(signature: &Signature, outs: &[Out<'_>], bindings: &mut Bindings) {
    for (param, out) in signature.outs.iter().zip(outs) {
        let shape = match out {
            Out::Tensor(tensor) => tensor.shape(),
            Out::Mask(mask) => mask.shape(),
        };
        for (axis, size) in param.ty.axes().iter().zip(shape).filter(|(axis, _)| axis.by.is_none()) {
            if let (ExtentInfo::Named(name), Ok(size)) = (&axis.extent, i64::try_from(*size)) {
                bindings.extents.entry(name.clone()).or_insert(size);
            }
        }
    }
}

/// The sizes of a function's extents under bindings, one a row.
pub(crate) fn extents_of(func: &Func, bindings: &Bindings) -> Result<Vec<i64>> {
    let size = |extent: &pantile_ir::Extent| {
        let bound = extent.known.or_else(|| bindings.extents.get(&extent.name).copied());
        bound
            .or_else(|| bindings.ints.get(&extent.name).copied())
            .ok_or_else(|| Error::launch(&func.name, format!("no argument gives extent `{}` a size", extent.name)))
    };
    func.extents.iter().map(size).collect()
}

/// Whether a function specialised for some extents fits these bindings.
pub(crate) fn fits(func: &Func, bindings: &Bindings) -> bool {
    let same = |e: &pantile_ir::Extent| match (e.known, bindings.extents.get(&e.name)) {
        (Some(known), Some(size)) => known == *size,
        (Some(_) | None, _) => true,
    };
    func.extents.iter().all(same)
}

/// The operands of a function, one a parameter: inputs by the names of the signature, then outputs.
pub(crate) fn operands<'a>(
    func: &Func,
    signature: &Signature,
    args: &[Arg<'a>],
    scalars: &[Option<(DType, Scalar)>],
    outs: Vec<Out<'a>>,
) -> Result<Vec<Operand<'a>>> {
    let mut outs = outs.into_iter();
    let missing = |name: &str| Error::launch(&func.name, format!("parameter `{name}` has no argument"));
    let one = |param: &pantile_ir::Param| {
        if param.out {
            return match outs.next().ok_or_else(|| missing(&param.name))? {
                Out::Tensor(tensor) => Ok(Operand::Out(tensor)),
                Out::Mask(mask) => Ok(Operand::MaskOut(mask)),
            };
        }
        let at = signature.params.iter().position(|p| p.name == param.name).ok_or_else(|| missing(&param.name))?;
        match (args.get(at), scalars.get(at)) {
            (Some(Arg::Tensor(tensor)), _) => Ok(Operand::In(tensor)),
            (Some(Arg::Mask(mask)), _) => Ok(Operand::Mask(mask)),
            (Some(Arg::Scalar(_)) | None, Some(Some((dtype, value)))) => Ok(Operand::Scalar(*dtype, *value)),
            (Some(Arg::Scalar(_) | Arg::Order(_)) | None, _) => Err(missing(&param.name)),
        }
    };
    func.params.iter().map(one).collect()
}

/// Refuses operands that do not fit the function: the last check before compiled code, which trusts it.
pub(crate) fn verify(func: &Func, extents: &[i64], operands: &[Operand<'_>]) -> Result<()> {
    let expected = |axes: &[pantile_ir::Axis]| axes.iter().map(|a| func.axis_size(*a, extents)).collect::<Vec<_>>();
    for (param, operand) in func.params.iter().zip(operands) {
        let wrong = |what: String| Error::argument(&func.name, &param.name, what);
        let same = |axes: &[pantile_ir::Axis], shape: &[usize]| {
            let want = expected(axes);
            let fits = want.len() == shape.len() && want.iter().zip(shape).all(|(a, b)| usize::try_from(*a) == Ok(*b));
            if fits { Ok(()) } else { Err(wrong(format!("must have shape {want:?}, not {shape:?}"))) }
        };
        match (&param.kind, operand) {
            (ParamKind::Scalar(dtype, _), Operand::Scalar(got, _)) if dtype == got => {}
            (ParamKind::Tensor(dtype, axes), Operand::In(tensor)) if !param.out => {
                tensor_fits(*dtype, tensor).map_err(wrong).and_then(|()| same(axes, tensor.shape()))?
            }
            (ParamKind::Tensor(dtype, axes), Operand::Out(tensor)) if param.out => {
                tensor_fits(*dtype, tensor).map_err(wrong).and_then(|()| same(axes, tensor.shape()))?
            }
            (ParamKind::Mask(axes), Operand::Mask(mask)) if !param.out => same(axes, mask.shape())?,
            (ParamKind::Mask(axes), Operand::MaskOut(mask)) if param.out => same(axes, mask.shape())?,
            (ParamKind::Scalar(..) | ParamKind::Tensor(..) | ParamKind::Mask(_), _) => {
                return Err(wrong("is of another kind than the kernel takes".into()));
            }
        }
    }
    if func.params.len() == operands.len() {
        Ok(())
    } else {
        Err(Error::launch(&func.name, format!("{} operands for {} parameters", operands.len(), func.params.len())))
    }
}

fn tensor_fits(dtype: DType, tensor: &Tensor) -> std::result::Result<(), String> {
    if dtype == tensor.dtype() { Ok(()) } else { Err(format!("must hold {dtype}, not {}", tensor.dtype())) }
}

/// The number of instances along each grid axis.
pub(crate) fn grid_sizes(func: &Func, extents: &[i64]) -> Result<Vec<u64>> {
    let size = |axis: &GridAxis| match axis {
        GridAxis::Walk(dim) => func.block_count(*dim, extents),
        GridAxis::Each(axis, _) => func.axis_size(*axis, extents),
    };
    let sizes: Vec<u64> = func.grid.iter().map(|axis| size(axis).max(0) as u64).collect();
    let total = sizes.iter().filter(|n| **n > 0).try_fold(1u64, |total, n| total.checked_mul(*n));
    match total.filter(|n| i64::try_from(*n).is_ok()) {
        Some(_) => Ok(sizes),
        None => Err(Error::launch(&func.name, format!("a grid of {sizes:?} program instances is too large"))),
    }
}

/// Whether a launch writes nothing at all, whatever its grid.
pub(crate) fn writes_nothing(operands: &[Operand<'_>]) -> bool {
    operands.iter().all(|operand| match operand {
        Operand::Out(tensor) => tensor.is_empty(),
        Operand::MaskOut(mask) => mask.bits().is_empty(),
        Operand::Scalar(..) | Operand::In(_) | Operand::Mask(_) => true,
    })
}
