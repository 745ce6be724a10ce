//! Arguments of a launch: tensors, masks, orders and scalars, given as a tuple, an array or a slice. Whether they fit a kernel is
//! `launch.rs`'s business.

use half::{bf16, f16};
use pantile_compiler::OrderArg;
use pantile_ir::{DType, Scalar, eval};

use crate::{Mask, Tensor};

/// One argument.
#[derive(Clone, Copy, Debug)]
pub enum Arg<'a> {
    /// A tensor.
    Tensor(&'a Tensor),
    /// A block mask.
    Mask(&'a Mask),
    /// An order, for a pipeline.
    Order(&'a OrderArg),
    /// A scalar: an integer or bool fits any parameter that can hold it exactly, a float any float parameter.
    Scalar(Scalar),
}

/// A scalar as an element of `dtype`, or why it does not fit.
pub(crate) fn convert(value: Scalar, dtype: DType) -> Result<Scalar, String> {
    match value {
        Scalar::Bool(_) if dtype == DType::Bool => Ok(value),
        Scalar::Float(x) if dtype.is_float() => Ok(Scalar::Float(eval::round(dtype, x))),
        Scalar::Int(i) if dtype.is_float() => Ok(eval::cast(DType::I64, dtype, Scalar::Int(i))),
        Scalar::Int(i) if dtype.is_int() => {
            let fits = eval::wrap(dtype, i) == i && (dtype != DType::U64 || i >= 0);
            if fits { Ok(value) } else { Err(format!("{i} does not fit in {dtype}")) }
        }
        Scalar::Bool(_) => Err(format!("must be {dtype}, but a bool is given")),
        Scalar::Int(i) => Err(format!("must be {dtype}, but the integer {i} is given")),
        Scalar::Float(x) => Err(format!("must be {dtype}, but the float {x} is given")),
    }
}

/// What can stand for one argument.
pub trait ToArg {
    /// The argument.
    fn to_arg(&self) -> Arg<'_>;
}

impl ToArg for Arg<'_> {
    fn to_arg(&self) -> Arg<'_> {
        *self
    }
}

impl ToArg for Tensor {
    fn to_arg(&self) -> Arg<'_> {
        Arg::Tensor(self)
    }
}

impl ToArg for Mask {
    fn to_arg(&self) -> Arg<'_> {
        Arg::Mask(self)
    }
}

impl ToArg for OrderArg {
    fn to_arg(&self) -> Arg<'_> {
        Arg::Order(self)
    }
}

impl<T: ToArg + ?Sized> ToArg for &T {
    fn to_arg(&self) -> Arg<'_> {
        (**self).to_arg()
    }
}

macro_rules! scalars {
    ($($ty:ty => $value:expr;)*) => {$(
        impl ToArg for $ty {
            fn to_arg(&self) -> Arg<'_> {
                let value: fn($ty) -> Scalar = $value;
                Arg::Scalar(value(*self))
            }
        }
    )*};
}

scalars! {
    bool => Scalar::Bool;
    i8 => |x| Scalar::Int(x.into());
    i16 => |x| Scalar::Int(x.into());
    i32 => |x| Scalar::Int(x.into());
    i64 => Scalar::Int;
    u8 => |x| Scalar::Int(x.into());
    u16 => |x| Scalar::Int(x.into());
    u32 => |x| Scalar::Int(x.into());
    f16 => |x| Scalar::Float(x.into());
    bf16 => |x| Scalar::Float(x.into());
    f32 => |x| Scalar::Float(x.into());
    f64 => Scalar::Float;
}

/// All arguments of a launch, in the order of the parameters.
pub trait Args {
    /// As a list.
    fn to_args(&self) -> Vec<Arg<'_>>;
}

impl Args for () {
    fn to_args(&self) -> Vec<Arg<'_>> {
        Vec::new()
    }
}

impl Args for [Arg<'_>] {
    fn to_args(&self) -> Vec<Arg<'_>> {
        self.to_vec()
    }
}

impl Args for &[Arg<'_>] {
    fn to_args(&self) -> Vec<Arg<'_>> {
        self.to_vec()
    }
}

impl Args for Vec<Arg<'_>> {
    fn to_args(&self) -> Vec<Arg<'_>> {
        self.clone()
    }
}

impl<const N: usize> Args for [Arg<'_>; N] {
    fn to_args(&self) -> Vec<Arg<'_>> {
        self.as_slice().to_vec()
    }
}

macro_rules! tuples {
    ($($name:ident)*) => {
        #[allow(non_snake_case, reason = "a tuple's fields are bound by the names of their types")]
        impl<$($name: ToArg),*> Args for ($($name,)*) {
            fn to_args(&self) -> Vec<Arg<'_>> {
                let ($($name,)*) = self;
                vec![$($name.to_arg()),*]
            }
        }
    };
}

tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);
tuples!(A B C D E F G H I);
tuples!(A B C D E F G H I J);
tuples!(A B C D E F G H I J K);
tuples!(A B C D E F G H I J K L);
tuples!(A B C D E F G H I J K L M);
tuples!(A B C D E F G H I J K L M N);
tuples!(A B C D E F G H I J K L M N O);
tuples!(A B C D E F G H I J K L M N O P);
