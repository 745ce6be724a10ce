//! Compile-time values: literals that have no dtype yet, and scalars that have one. What an operation on a dtype gives is
//! `pantile_ir::eval`'s business.

use std::fmt;

use pantile_diag::Code;
use pantile_ir::{BinaryOp, Class, DType, Kind, Scalar, UnaryOp, eval};

/// A value known at compile time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Const {
    /// An integer of no dtype yet: a literal, or an `int`. Arithmetic on it is exact, or an error.
    Int(i64),
    /// A real number of no dtype yet; arithmetic on it is f64's.
    Float(f64),
    /// A scalar of a dtype; bools are always of this form.
    Typed(DType, Scalar),
}

/// Why an operation has no result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ConstError {
    /// The result needs more than 64 bits.
    Overflow,
    /// An integer was divided by zero.
    DivideByZero,
    /// Two operands of different dtypes.
    Mismatch(String, String),
    /// The operation does not take such a value.
    NotDefined(&'static str, Class, String),
    /// No value of that dtype stands for it.
    NotRepresentable(String, DType),
}

impl ConstError {
    /// The entry of the error table.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Overflow | Self::DivideByZero => Code::E0502,
            Self::Mismatch(..) => Code::E0301,
            Self::NotDefined(..) => Code::E0302,
            Self::NotRepresentable(..) => Code::E0303,
        }
    }
}

impl fmt::Display for ConstError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overflow => f.write_str("this constant does not fit 64 bits"),
            Self::DivideByZero => f.write_str("this constant divides by zero"),
            Self::Mismatch(a, b) => write!(f, "the operands have different types, {a} and {b}"),
            Self::NotDefined(op, class, got) => write!(f, "`{op}` takes {}, not {got}", class.describe()),
            Self::NotRepresentable(value, to) => write!(f, "{value} is no value of {to}"),
        }
    }
}

impl fmt::Display for Const {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(x) => write!(f, "{x}"),
            Self::Float(x) => write!(f, "{x:?}"),
            Self::Typed(_, Scalar::Bool(x)) => write!(f, "{x}"),
            Self::Typed(DType::U64, Scalar::Int(x)) => write!(f, "{}", *x as u64),
            Self::Typed(_, Scalar::Int(x)) => write!(f, "{x}"),
            Self::Typed(_, Scalar::Float(x)) => write!(f, "{x:?}"),
        }
    }
}

impl From<bool> for Const {
    fn from(x: bool) -> Self {
        Self::Typed(DType::Bool, Scalar::Bool(x))
    }
}

impl Const {
    /// For messages: "an int", "a float literal", "f32".
    pub(crate) fn describe(self) -> String {
        match self {
            Self::Int(_) => "an int".into(),
            Self::Float(_) => "a float literal".into(),
            Self::Typed(dtype, _) => dtype.to_string(),
        }
    }

    /// Its dtype, if it has one.
    pub(crate) fn dtype(self) -> Option<DType> {
        match self {
            Self::Int(_) | Self::Float(_) => None,
            Self::Typed(dtype, _) => Some(dtype),
        }
    }

    /// The integer, if it is one, typed or not (a u64 past i64's range is none).
    pub(crate) fn as_int(self) -> Option<i64> {
        match self {
            Self::Int(x) => Some(x),
            Self::Typed(DType::U64, Scalar::Int(x)) => (x >= 0).then_some(x),
            Self::Typed(_, Scalar::Int(x)) => Some(x),
            Self::Float(_) | Self::Typed(_, Scalar::Bool(_) | Scalar::Float(_)) => None,
        }
    }

    /// The truth value, if it is a bool.
    pub(crate) fn as_bool(self) -> Option<bool> {
        match self {
            Self::Typed(_, Scalar::Bool(x)) => Some(x),
            Self::Int(_) | Self::Float(_) | Self::Typed(_, Scalar::Int(_) | Scalar::Float(_)) => None,
        }
    }

    /// The scalar that stands for it in `dtype`, without `as`: what has a dtype keeps it; an int becomes any number it
    /// fits; a float literal becomes any float, rounded.
    pub(crate) fn convert(self, dtype: DType) -> Result<Scalar, ConstError> {
        let refused = || ConstError::NotRepresentable(self.to_string(), dtype);
        match (self, dtype.kind()) {
            (Self::Typed(have, x), _) if have == dtype => Ok(x),
            (Self::Typed(have, _), _) => Err(ConstError::Mismatch(have.to_string(), dtype.to_string())),
            (Self::Int(x), Kind::Signed) => (eval::wrap(dtype, x) == x).then_some(Scalar::Int(x)).ok_or_else(refused),
            (Self::Int(x), Kind::Unsigned) => {
                (x >= 0 && eval::wrap(dtype, x) == x).then_some(Scalar::Int(x)).ok_or_else(refused)
            }
            (Self::Int(x), Kind::Float) => float(dtype, x as f64).ok_or_else(refused),
            (Self::Float(x), Kind::Float) => float(dtype, x).ok_or_else(refused),
            (Self::Int(_), Kind::Bool) | (Self::Float(_), Kind::Bool | Kind::Signed | Kind::Unsigned) => Err(refused()),
        }
    }

    /// `self as dtype`.
    pub(crate) fn cast(self, dtype: DType) -> Const {
        let (from, x) = match self {
            Self::Int(x) => (DType::I64, Scalar::Int(x)),
            Self::Float(x) => (DType::F64, Scalar::Float(x)),
            Self::Typed(from, x) => (from, x),
        };
        Self::Typed(dtype, eval::cast(from, dtype, x))
    }

    /// `self as int`.
    pub(crate) fn cast_int(self) -> Const {
        match self {
            Self::Int(x) => Self::Int(x),
            Self::Float(_) | Self::Typed(..) => match self.cast(DType::I64) {
                Self::Typed(_, Scalar::Int(x)) | Self::Int(x) => Self::Int(x),
                Self::Float(_) | Self::Typed(_, Scalar::Bool(_) | Scalar::Float(_)) => self,
            },
        }
    }

    /// `op self`. An int counts as a float where only floats are taken (`sqrt(2)`).
    pub(crate) fn unary(self, op: UnaryOp) -> Result<Const, ConstError> {
        let refused = || Err(ConstError::NotDefined(op.name(), op.class(), self.describe()));
        match self {
            Self::Int(x) if op.class().admits(DType::I64) => match op {
                UnaryOp::Neg => x.checked_neg().map(Self::Int).ok_or(ConstError::Overflow),
                UnaryOp::Abs => x.checked_abs().map(Self::Int).ok_or(ConstError::Overflow),
                UnaryOp::Not => Ok(Self::Int(!x)),
                UnaryOp::Exp
                | UnaryOp::Exp2
                | UnaryOp::Log
                | UnaryOp::Log2
                | UnaryOp::Sqrt
                | UnaryOp::Rsqrt
                | UnaryOp::Sin
                | UnaryOp::Cos
                | UnaryOp::Tanh
                | UnaryOp::Erf
                | UnaryOp::Sigmoid
                | UnaryOp::Floor
                | UnaryOp::Ceil
                | UnaryOp::Round => refused(),
            },
            Self::Int(x) => Self::Float(x as f64).unary(op),
            Self::Float(x) if op.class().admits(DType::F64) => {
                Ok(untyped(eval::unary(op, DType::F64, Scalar::Float(x))))
            }
            Self::Float(_) => refused(),
            Self::Typed(dtype, x) if op.class().admits(dtype) => Ok(Self::Typed(dtype, eval::unary(op, dtype, x))),
            Self::Typed(..) => refused(),
        }
    }

    /// `self op other`; literals take the other's dtype.
    pub(crate) fn binary(self, op: BinaryOp, other: Const) -> Result<Const, ConstError> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => int_binary(op, a, b),
            (Self::Int(_) | Self::Float(_), Self::Int(_) | Self::Float(_)) => {
                if !op.class().admits(DType::F64) {
                    return Err(ConstError::NotDefined(op.name(), op.class(), "a float literal".into()));
                }
                let real = |x| match x {
                    Self::Int(x) => x as f64,
                    Self::Float(x) => x,
                    Self::Typed(..) => f64::NAN,
                };
                let (a, b) = (Scalar::Float(real(self)), Scalar::Float(real(other)));
                eval::binary(op, DType::F64, a, b).map(untyped).ok_or(ConstError::DivideByZero)
            }
            (Self::Typed(dtype, _), _) | (_, Self::Typed(dtype, _)) => {
                if let (Self::Typed(a, _), Self::Typed(b, _)) = (self, other)
                    && a != b
                {
                    return Err(ConstError::Mismatch(a.to_string(), b.to_string()));
                }
                let (a, b) = (self.convert(dtype)?, other.convert(dtype)?);
                if !op.class().admits(dtype) {
                    return Err(ConstError::NotDefined(op.name(), op.class(), dtype.to_string()));
                }
                let result = eval::binary(op, dtype, a, b).ok_or(ConstError::DivideByZero)?;
                Ok(Self::Typed(if op.is_comparison() { DType::Bool } else { dtype }, result))
            }
        }
    }
}

/// A finite number that overflows the dtype has no stand-in there; infinities and NaN stay what they are.
fn float(dtype: DType, x: f64) -> Option<Scalar> {
    let rounded = eval::round(dtype, x);
    (rounded.is_finite() || !x.is_finite()).then_some(Scalar::Float(rounded))
}

fn untyped(x: Scalar) -> Const {
    match x {
        Scalar::Float(x) => Const::Float(x),
        Scalar::Int(x) => Const::Int(x),
        Scalar::Bool(x) => x.into(),
    }
}

fn int_binary(op: BinaryOp, a: i64, b: i64) -> Result<Const, ConstError> {
    let exact = |x: Option<i64>| x.map(Const::Int).ok_or(ConstError::Overflow);
    let shift = |x: i64| u32::try_from(x).ok().filter(|s| *s < 64).ok_or(ConstError::Overflow);
    match op {
        BinaryOp::Div | BinaryOp::Rem if b == 0 => Err(ConstError::DivideByZero),
        BinaryOp::Add => exact(a.checked_add(b)),
        BinaryOp::Sub => exact(a.checked_sub(b)),
        BinaryOp::Mul => exact(a.checked_mul(b)),
        BinaryOp::Div => exact(a.checked_div(b)),
        BinaryOp::Rem => exact(a.checked_rem(b)),
        BinaryOp::Min => Ok(Const::Int(a.min(b))),
        BinaryOp::Max => Ok(Const::Int(a.max(b))),
        BinaryOp::And => Ok(Const::Int(a & b)),
        BinaryOp::Or => Ok(Const::Int(a | b)),
        BinaryOp::Xor => Ok(Const::Int(a ^ b)),
        BinaryOp::Shl => {
            let count = shift(b)?;
            exact(Some(a << count).filter(|x| x >> count == a))
        }
        BinaryOp::Shr => Ok(Const::Int(a >> shift(b)?)),
        BinaryOp::Eq => Ok((a == b).into()),
        BinaryOp::Ne => Ok((a != b).into()),
        BinaryOp::Lt => Ok((a < b).into()),
        BinaryOp::Le => Ok((a <= b).into()),
        BinaryOp::Gt => Ok((a > b).into()),
        BinaryOp::Ge => Ok((a >= b).into()),
    }
}
