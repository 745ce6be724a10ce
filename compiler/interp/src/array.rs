//! What a launch is given: dense row-major arrays, masks and scalars, and their bytes. Nothing here knows dims.

use pantile_ir::{DType, Kind, Scalar, eval};

/// Elements by the kind of their dtype. Floats are held as f64s that the dtype can hold, u64 as its bits.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Any float dtype.
    Float(Vec<f64>),
    /// Any integer dtype.
    Int(Vec<i64>),
    /// Bools.
    Bool(Vec<bool>),
}

impl Data {
    /// `count` zeros.
    pub fn zeros(dtype: DType, count: usize) -> Data {
        match dtype.kind() {
            Kind::Float => Data::Float(vec![0.0; count]),
            Kind::Signed | Kind::Unsigned => Data::Int(vec![0; count]),
            Kind::Bool => Data::Bool(vec![false; count]),
        }
    }

    /// From elements of one dtype.
    pub fn from_scalars(dtype: DType, elements: impl IntoIterator<Item = Scalar>) -> Data {
        let elements = elements.into_iter();
        match dtype.kind() {
            Kind::Float => Data::Float(elements.map(Scalar::as_f64).collect()),
            Kind::Signed | Kind::Unsigned => Data::Int(elements.map(Scalar::as_i64).collect()),
            Kind::Bool => Data::Bool(elements.map(Scalar::as_bool).collect()),
        }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Data::Float(v) => v.len(),
            Data::Int(v) => v.len(),
            Data::Bool(v) => v.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at `n`.
    ///
    /// # Panics
    /// If there is none.
    pub fn get(&self, n: usize) -> Scalar {
        match self {
            Data::Float(v) => Scalar::Float(v[n]),
            Data::Int(v) => Scalar::Int(v[n]),
            Data::Bool(v) => Scalar::Bool(v[n]),
        }
    }

    /// Replaces the element at `n`.
    ///
    /// # Panics
    /// If there is none.
    pub fn set(&mut self, n: usize, x: Scalar) {
        match self {
            Data::Float(v) => v[n] = x.as_f64(),
            Data::Int(v) => v[n] = x.as_i64(),
            Data::Bool(v) => v[n] = x.as_bool(),
        }
    }

    /// Whether elements of `dtype` are held this way.
    pub(crate) fn holds(&self, dtype: DType) -> bool {
        match self {
            Data::Float(_) => dtype.is_float(),
            Data::Int(_) => dtype.is_int(),
            Data::Bool(_) => dtype == DType::Bool,
        }
    }
}

/// A tensor, dense and row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The element type.
    pub dtype: DType,
    /// Elements along each axis, slowest first.
    pub shape: Vec<usize>,
    /// The elements, each a value that the dtype holds exactly.
    pub data: Data,
}

impl Array {
    /// All zeros.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Array {
        Array { dtype, shape: shape.to_vec(), data: Data::zeros(dtype, shape.iter().product()) }
    }

    /// From little-endian elements; `None` if the number of bytes does not fit the shape.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Option<Array> {
        let count = shape.iter().try_fold(1usize, |n, s| n.checked_mul(*s))?;
        if count.checked_mul(dtype.bytes())? != bytes.len() {
            return None;
        }
        let elements = bytes.chunks_exact(dtype.bytes()).map(|b| eval::decode(dtype, b));
        Some(Array { dtype, shape: shape.to_vec(), data: Data::from_scalars(dtype, elements) })
    }

    /// As little-endian elements.
    pub fn to_bytes(&self) -> Vec<u8> {
        let size = self.dtype.bytes();
        let mut bytes = vec![0; self.data.len() * size];
        for (n, b) in bytes.chunks_exact_mut(size).enumerate() {
            eval::encode(self.dtype, self.data.get(n), b);
        }
        bytes
    }
}

/// A block mask, dense and row-major; its count and list follow from the bits.
#[derive(Clone, Debug, PartialEq)]
pub struct MaskArray {
    /// Blocks along each axis, slowest first.
    pub shape: Vec<usize>,
    /// Whether each block is kept.
    pub bits: Vec<bool>,
}

impl MaskArray {
    /// Nothing kept.
    pub fn empty(shape: &[usize]) -> MaskArray {
        MaskArray { shape: shape.to_vec(), bits: vec![false; shape.iter().product()] }
    }
}

/// One argument of a launch.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// For a scalar parameter.
    Scalar(Scalar),
    /// For a tensor.
    Tensor(Array),
    /// For a mask.
    Mask(MaskArray),
}
