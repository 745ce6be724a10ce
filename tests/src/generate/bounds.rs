//! How large a value can be, and how far two implementations may differ in it: plain worst-case error propagation. An
//! error of 0 means that all agree exactly; integers and bools always do.

use pantile_ir::{BinaryOp, DType, UnaryOp};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounds {
    /// At most this far from zero; infinite if anything, also NaN, may occur.
    pub size: f64,
    /// At most this far from another implementation's.
    pub error: f64,
}

impl Bounds {
    pub const ANY: Bounds = Bounds { size: f64::INFINITY, error: 0.0 };

    pub fn exact(size: f64) -> Self {
        Self { size, error: 0.0 }
    }

    pub fn is_exact(self) -> bool {
        self.error == 0.0
    }

    /// Whether values so bounded can be compared at all.
    pub fn is_comparable(self) -> bool {
        self.is_exact() || self.size.is_finite()
    }

    pub fn max(self, other: Bounds) -> Bounds {
        Bounds { size: self.size.max(other.size), error: self.error.max(other.error) }
    }

    /// With one more rounding to `dtype`; `None` if it may come near overflow.
    fn rounded(self, dtype: DType) -> Option<Bounds> {
        let error = self.error + step(dtype, self.size);
        (self.size <= limit(dtype)).then_some(Bounds { error, ..self })
    }
}

/// What two roundings to `dtype` of nearly one number of this size can differ by.
pub(super) fn step(dtype: DType, size: f64) -> f64 {
    let (bits, least) = match dtype {
        DType::F64 => (52, -1000),
        DType::F16 => (10, -24),
        DType::BF16 => (7, -126),
        DType::F8E4M3 => (3, -9),
        DType::F8E5M2 => (2, -16),
        DType::F32
        | DType::Bool
        | DType::I8
        | DType::I16
        | DType::I32
        | DType::I64
        | DType::U8
        | DType::U16
        | DType::U32
        | DType::U64 => (23, -126),
    };
    2f64.powi(-bits) * size + 2f64.powi(least)
}

/// Values above this are kept out of arithmetic.
pub(super) fn limit(dtype: DType) -> f64 {
    if dtype == DType::F8E4M3 { 200.0 } else { 2000.0 }
}

/// `None`: the result could not be compared.
pub(super) fn unary(op: UnaryOp, dtype: DType, x: Bounds) -> Option<Bounds> {
    if !dtype.is_float() {
        return Some(Bounds::ANY);
    }
    let finite = x.size <= limit(dtype);
    // The error of a function of slope at most `slope` whose results are at most `size`, in a few steps of its dtype.
    let smooth = |size: f64, slope: f64| {
        let own =
            8.0 * step(DType::F32, 1.0 + x.size.min(size.max(1.0) * 8.0)) * f64::from(dtype != DType::F64).max(1e-7);
        Bounds { size, error: slope * x.error + own * size.max(1.0) }.rounded(dtype)
    };
    match op {
        UnaryOp::Neg | UnaryOp::Abs => Some(x),
        UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round if x.is_exact() => Some(Bounds { size: x.size + 1.0, ..x }),
        UnaryOp::Exp if x.size <= 4.0 => smooth(x.size.exp(), x.size.exp()),
        UnaryOp::Exp2 if x.size <= 6.0 => smooth(x.size.exp2(), x.size.exp2()),
        UnaryOp::Sin | UnaryOp::Cos if x.size <= 64.0 => smooth(1.0, 1.0),
        UnaryOp::Tanh | UnaryOp::Erf | UnaryOp::Sigmoid if finite => smooth(1.0, 1.2),
        UnaryOp::Sqrt if finite && x.is_exact() => smooth(x.size.max(1.0), 1.0),
        UnaryOp::Floor
        | UnaryOp::Ceil
        | UnaryOp::Round
        | UnaryOp::Exp
        | UnaryOp::Exp2
        | UnaryOp::Sin
        | UnaryOp::Cos
        | UnaryOp::Tanh
        | UnaryOp::Erf
        | UnaryOp::Sigmoid
        | UnaryOp::Sqrt
        | UnaryOp::Log
        | UnaryOp::Log2
        | UnaryOp::Rsqrt
        | UnaryOp::Not => None,
    }
}

/// Of a function with slope at most 1 and results at most `x.size + 1` where x ≥ 1: `log`, `log2`, `sqrt`, `rsqrt`.
pub(super) fn above_one(dtype: DType, x: Bounds) -> Option<Bounds> {
    Bounds { size: x.size + 1.0, error: 1.5 * x.error + 8.0 * step(dtype, x.size + 1.0) }.rounded(dtype)
}

/// Of `a / b` where |b| ≥ 1.
pub(super) fn quotient(dtype: DType, a: Bounds, b: Bounds) -> Option<Bounds> {
    Bounds { size: a.size, error: a.error + b.error * a.size }.rounded(dtype)
}

/// `None`: the result could not be compared.
pub(super) fn binary(op: BinaryOp, dtype: DType, a: Bounds, b: Bounds) -> Option<Bounds> {
    if op.is_comparison() {
        return (a.is_exact() && b.is_exact()).then_some(Bounds::exact(1.0));
    }
    let both = a.max(b);
    if !dtype.is_float() {
        let sum = a.size + b.size;
        let small = matches!(op, BinaryOp::Add | BinaryOp::Sub | BinaryOp::Min | BinaryOp::Max) && sum <= 100.0;
        let signed = matches!(dtype, DType::I8 | DType::I16 | DType::I32 | DType::I64);
        return Some(if small && signed { Bounds::exact(sum) } else { Bounds::ANY });
    }
    let finite = both.size <= limit(dtype);
    match op {
        BinaryOp::Min | BinaryOp::Max => both.is_comparable().then_some(both),
        BinaryOp::Rem => both.is_exact().then_some(Bounds::ANY),
        BinaryOp::Add | BinaryOp::Sub if finite => {
            Bounds { size: a.size + b.size, error: a.error + b.error }.rounded(dtype)
        }
        BinaryOp::Mul if finite => {
            let error = a.error * (b.size + b.error) + b.error * a.size;
            Bounds { size: a.size * b.size, error }.rounded(dtype)
        }
        BinaryOp::Add
        | BinaryOp::Sub
        | BinaryOp::Mul
        | BinaryOp::Div
        | BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Xor
        | BinaryOp::Shl
        | BinaryOp::Shr
        | BinaryOp::Eq
        | BinaryOp::Ne
        | BinaryOp::Lt
        | BinaryOp::Le
        | BinaryOp::Gt
        | BinaryOp::Ge => None,
    }
}

/// Of a sum of `n` products or terms, carried in `carrier` and rounded to `dtype`.
pub(super) fn sum(carrier: DType, dtype: DType, n: f64, term: Bounds) -> Option<Bounds> {
    if !dtype.is_float() {
        return Some(Bounds::ANY);
    }
    let size = n * term.size;
    let error = n * term.error + n * step(carrier, size);
    if size > limit(dtype) { None } else { Bounds { size, error }.rounded(dtype) }
}

/// Of a product of up to `n` factors.
pub(super) fn product(dtype: DType, n: f64, x: Bounds) -> Option<Bounds> {
    if !dtype.is_float() {
        return Some(Bounds::ANY);
    }
    let size = x.size.max(1.0).powf(n);
    Bounds { size, error: n * size * (x.error + step(dtype, 1.0)) }.rounded(dtype)
}

/// `None`: a small difference could become a large one.
pub(super) fn cast(from: DType, to: DType, x: Bounds) -> Option<Bounds> {
    if to == DType::Bool {
        return x.is_exact().then_some(Bounds::exact(1.0));
    }
    if x.is_exact() {
        let signed = to.is_float() || !from.is_int() || matches!(to, DType::I8 | DType::I16 | DType::I32 | DType::I64);
        return Some(if x.size <= 100.0 && (signed || from == DType::Bool) { x } else { Bounds::ANY });
    }
    if to.is_float() { x.rounded(to) } else { None }
}
