//! Tensors: dtype, shape, strides, reference-counted storage; views that copy nothing. It computes nothing
//! but conversions between dtypes.

use std::ops::Range;
use std::sync::Arc;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use pantile_ir::{DType, Scalar, eval};

use crate::storage::{Home, Storage, bytes_of, elements, elements_mut};
use crate::{Device, Element, Error, Result};

/// The unsigned integer as wide as an element.
pub(crate) fn bits(dtype: DType) -> DType {
    match dtype.bytes() {
        1 => DType::U8,
        2 => DType::U16,
        4 => DType::U32,
        _ => DType::U64,
    }
}

/// An array of elements. Cloning and viewing share the memory; writing needs it unshared. The memory lies on the host, on a
/// GPU or both: what is read where it does not lie is copied there first, and kept.
#[derive(Clone, Debug)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    strides: Vec<i64>,
    offset: usize,
    storage: Arc<Storage>,
}

impl Tensor {
    /// All zero (or `false`), row-major.
    ///
    /// # Errors
    /// If the size overflows or there is not enough memory.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Self> {
        Self::zeros_in(None, dtype, shape)
    }

    /// The same on a GPU, or on the host.
    pub(crate) fn zeros_in(home: Home<'_>, dtype: DType, shape: &[usize]) -> Result<Self> {
        let bytes = byte_count(dtype, shape)?;
        let storage = Storage::zeroed(home, bytes, || format!("a tensor of shape {shape:?}"))?;
        let strides = row_major(shape);
        Ok(Self { dtype, shape: shape.to_vec(), strides, offset: 0, storage: Arc::new(storage) })
    }

    /// The same, but that all of it will be written before it is read. Bools are zero all the same: no other byte may be one.
    pub(crate) fn to_be_written(home: Home<'_>, dtype: DType, shape: &[usize]) -> Result<Self> {
        if dtype == DType::Bool {
            return Self::zeros_in(home, dtype, shape);
        }
        let storage =
            Storage::to_be_written(home, byte_count(dtype, shape)?, || format!("a tensor of shape {shape:?}"))?;
        Self::over(storage, dtype, shape)
    }

    /// Row-major over memory that holds at least as many bytes as it needs. What lies there is what it holds.
    ///
    /// # Errors
    /// If the size overflows or the memory is too small.
    pub(crate) fn over(storage: Storage, dtype: DType, shape: &[usize]) -> Result<Self> {
        let bytes = byte_count(dtype, shape)?;
        if storage.len() < bytes {
            return Err(Error::Tensor(format!("{} bytes are too few for a tensor of shape {shape:?}", storage.len())));
        }
        Ok(Self { dtype, shape: shape.to_vec(), strides: row_major(shape), offset: 0, storage: Arc::new(storage) })
    }

    /// The same tensor, its memory copied to a device unless it is there already: launches there need no copy then. A
    /// tensor may lie in two places; it is written in one.
    ///
    /// # Errors
    /// If the device has not enough memory, or is lost.
    pub fn to(&self, device: &Device) -> Result<Self> {
        match device.home() {
            Some(gpu) => drop(self.storage.on(gpu)?),
            None => drop(self.storage.bytes()?),
        }
        Ok(self.clone())
    }

    /// The same memory as unsigned integers as wide as its elements.
    pub(crate) fn as_bits(&self) -> Self {
        Self { dtype: bits(self.dtype), ..self.clone() }
    }

    /// Does something with it as unsigned integers as wide as its elements.
    pub(crate) fn with_bits<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let dtype = self.dtype;
        self.dtype = bits(dtype);
        let done = work(self);
        self.dtype = dtype;
        done
    }

    /// Its memory, if no other tensor shares it.
    pub(crate) fn into_storage(self) -> Option<Storage> {
        Arc::into_inner(self.storage)
    }

    /// A copy of `data`, row-major.
    ///
    /// # Errors
    /// If `data` has not as many elements as `shape` says.
    pub fn from_slice<T: Element>(shape: &[usize], data: &[T]) -> Result<Self> {
        Self::from_bytes(T::DTYPE, shape, bytes_of(data))
    }

    /// A copy of little-endian bytes, row-major.
    ///
    /// # Errors
    /// If there are not as many bytes as `dtype` and `shape` say, or a bool is neither 0 nor 1.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Self> {
        let want = byte_count(dtype, shape)?;
        if bytes.len() != want {
            let (got, size) = (bytes.len(), dtype.bytes());
            return Err(Error::Tensor(format!(
                "a tensor of shape {shape:?} has {} elements, but {} are given",
                want / size,
                got / size
            )));
        }
        if dtype == DType::Bool && bytes.iter().any(|b| *b > 1) {
            return Err(Error::Tensor("a bool must be the byte 0 or 1".into()));
        }
        let mut tensor = Self::zeros(dtype, shape)?;
        tensor.unshared("a new tensor")?[..want].copy_from_slice(bytes);
        Ok(tensor)
    }

    /// `data` rounded to `dtype`, row-major.
    ///
    /// # Errors
    /// If `data` has not as many elements as `shape` says.
    pub fn from_f32(dtype: DType, shape: &[usize], data: &[f32]) -> Result<Self> {
        let wide = Self::from_slice(shape, data)?;
        if dtype == DType::F32 { Ok(wide) } else { wide.to_dtype(dtype) }
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The number of elements along each axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How many elements lie between neighbours along each axis.
    pub fn strides(&self) -> &[i64] {
        &self.strides
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// Whether the elements lie in memory one after another in row-major order.
    pub fn is_dense(&self) -> bool {
        let dense = row_major(&self.shape);
        self.is_empty() || (0..self.rank()).all(|a| self.shape[a] == 1 || self.strides[a] == dense[a])
    }

    /// The same memory with the axes in another order: axis `n` of the result is axis `axes[n]` of this.
    ///
    /// # Errors
    /// If `axes` is not each axis once.
    pub fn permute(&self, axes: &[usize]) -> Result<Self> {
        let mut seen = vec![false; self.rank()];
        let once = axes.iter().all(|a| *a < self.rank() && !std::mem::replace(&mut seen[*a], true));
        if !once || axes.len() != self.rank() {
            return Err(Error::Tensor(format!("{axes:?} is not a permutation of {} axes", self.rank())));
        }
        let pick = |n: &usize| (self.shape[*n], self.strides[*n]);
        let (shape, strides) = axes.iter().map(pick).unzip();
        Ok(Self { shape, strides, ..self.clone() })
    }

    /// The part of `range` along an axis, in the same memory.
    ///
    /// # Errors
    /// If the range does not lie within the axis.
    pub fn slice(&self, axis: usize, range: Range<usize>) -> Result<Self> {
        let size = self.shape.get(axis).copied().unwrap_or(0);
        if axis >= self.rank() || range.start > range.end || range.end > size {
            return Err(Error::Tensor(format!("{range:?} does not lie within axis {axis} of shape {:?}", self.shape)));
        }
        let mut part = self.clone();
        part.shape[axis] = range.len();
        if !part.is_empty() {
            part.offset += range.start * self.strides[axis].unsigned_abs() as usize;
        }
        Ok(part)
    }

    /// The elements seen in another shape; copies if they do not lie one after another.
    ///
    /// # Errors
    /// If the shapes have different numbers of elements.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self> {
        if byte_count(self.dtype, shape)? != self.len() * self.dtype.bytes() {
            return Err(Error::Tensor(format!("shape {:?} cannot be seen as {shape:?}", self.shape)));
        }
        let dense = self.to_dense()?;
        Ok(Self { shape: shape.to_vec(), strides: row_major(shape), ..dense })
    }

    /// Itself if it is dense, else a dense copy.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn to_dense(&self) -> Result<Self> {
        if self.is_dense() { Ok(self.clone()) } else { self.copy() }
    }

    /// A dense copy in memory of its own.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn copy(&self) -> Result<Self> {
        let mut copy = Self::zeros(self.dtype, &self.shape)?;
        let size = self.dtype.bytes();
        let (from, to) = (self.storage.bytes()?, copy.unshared("a new tensor")?);
        let mut at = 0;
        self.rows(|start, step, count| {
            for n in 0..count {
                let source = (start + n * step) * size;
                to[at..at + size].copy_from_slice(&from[source..source + size]);
                at += size;
            }
        });
        Ok(copy)
    }

    /// The elements in row-major order, if they lie so in memory and have the type `T`; none if they cannot be brought from
    /// a GPU, where [`Tensor::to`] says why.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        let typed = self.dtype == T::DTYPE && self.is_dense();
        typed.then(|| elements(self.dense_bytes().ok()?))?
    }

    /// The elements, to be written; as [`Tensor::as_slice`], and only while no other tensor shares the memory.
    pub fn as_slice_mut<T: Element>(&mut self) -> Option<&mut [T]> {
        if self.dtype != T::DTYPE || !self.is_dense() {
            return None;
        }
        let (start, bytes) = (self.offset * self.dtype.bytes(), self.len() * self.dtype.bytes());
        elements_mut(&mut Arc::get_mut(&mut self.storage)?.bytes_mut().ok()?[start..start + bytes])
    }

    /// The elements in row-major order.
    ///
    /// # Errors
    /// If they have not the type `T`.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        let dense = self.to_dense()?;
        dense.dense_bytes()?;
        let mismatch = || Error::Tensor(format!("the tensor holds {}, not {}", self.dtype, T::DTYPE));
        dense.as_slice().map(<[T]>::to_vec).ok_or_else(mismatch)
    }

    /// The elements as little-endian bytes, row-major.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        Ok(self.to_dense()?.dense_bytes()?.to_vec())
    }

    /// The elements as f32 in row-major order, whatever the dtype; wider ones are rounded.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        let dense = self.to_dense()?;
        if let Some(values) = dense.as_slice::<f32>() {
            return Ok(values.to_vec());
        }
        let mut out = vec![0.0; dense.len()];
        if let Some(values) = dense.as_slice::<f16>() {
            values.convert_to_f32_slice(&mut out);
        } else if let Some(values) = dense.as_slice::<bf16>() {
            values.convert_to_f32_slice(&mut out);
        } else {
            let each = dense.dense_bytes()?.chunks_exact(self.dtype.bytes());
            out.iter_mut().zip(each).for_each(|(to, bytes)| *to = number(eval::decode(self.dtype, bytes)) as f32);
        }
        Ok(out)
    }

    /// The elements converted, as `as` does in the language.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        if dtype == self.dtype {
            return self.to_dense();
        }
        let dense = self.to_dense()?;
        let mut out = Self::zeros(dtype, &self.shape)?;
        if let Some(to) = out.as_slice_mut::<f32>() {
            to.copy_from_slice(&dense.to_f32()?);
            return Ok(out);
        }
        if let (Some(from), Some(to)) = (dense.as_slice::<f32>(), out.as_slice_mut::<f16>()) {
            to.convert_from_f32_slice(from);
            return Ok(out);
        }
        if let (Some(from), Some(to)) = (dense.as_slice::<f32>(), out.as_slice_mut::<bf16>()) {
            to.convert_from_f32_slice(from);
            return Ok(out);
        }
        let from = dense.dense_bytes()?.chunks_exact(self.dtype.bytes());
        let to = out.unshared("a new tensor")?.chunks_exact_mut(dtype.bytes());
        for (from, to) in from.zip(to) {
            eval::encode(dtype, eval::cast(self.dtype, dtype, eval::decode(self.dtype, from)), to);
        }
        Ok(out)
    }

    /// Whether another tensor shares the memory.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.storage) > 1
    }

    /// The address of the first element, for compiled code to read.
    pub(crate) fn pointer(&self) -> Result<*mut u8> {
        Ok(self.storage.pointer()?.wrapping_add(self.offset * self.dtype.bytes()))
    }

    /// The memory behind it, and where in it the first element lies, in bytes.
    pub(crate) fn storage(&self) -> (&Storage, usize) {
        (&self.storage, self.offset * self.dtype.bytes())
    }

    /// The memory behind it, to be written, if no other tensor shares it.
    pub(crate) fn storage_mut(&mut self, what: &str) -> Result<&mut Storage> {
        let shared = || format!("{what} shares its memory with another tensor, so it cannot be written");
        Arc::get_mut(&mut self.storage).ok_or_else(|| Error::Tensor(shared()))
    }

    /// The whole memory, and where in it the first element lies, in elements.
    pub(crate) fn memory(&self) -> Result<(&[u8], usize)> {
        Ok((self.storage.bytes()?, self.offset))
    }

    /// The whole storage, to be written.
    pub(crate) fn unshared(&mut self, what: &str) -> Result<&mut [u8]> {
        self.storage_mut(what)?.bytes_mut()
    }

    /// Writes dense row-major bytes through the strides.
    pub(crate) fn fill_from(&mut self, bytes: &[u8]) -> Result<()> {
        let view = self.view();
        self.write(&view, bytes)
    }

    fn write(&mut self, view: &View, bytes: &[u8]) -> Result<()> {
        let (size, mut at) = (self.dtype.bytes(), 0);
        let to = self.unshared("an output")?;
        view.rows(|start, step, count| {
            for n in 0..count {
                let target = (start + n * step) * size;
                to[target..target + size].copy_from_slice(&bytes[at..at + size]);
                at += size;
            }
        });
        Ok(())
    }

    fn dense_bytes(&self) -> Result<&[u8]> {
        let (start, bytes) = (self.offset * self.dtype.bytes(), self.len() * self.dtype.bytes());
        Ok(self.storage.bytes()?.get(start..start + bytes).unwrap_or_default())
    }

    fn view(&self) -> View {
        View { shape: self.shape.clone(), strides: self.strides.clone(), offset: self.offset }
    }

    fn rows(&self, visit: impl FnMut(usize, usize, usize)) {
        self.view().rows(visit);
    }
}

/// Where the elements of a tensor lie, apart from the memory itself.
struct View {
    shape: Vec<usize>,
    strides: Vec<i64>,
    offset: usize,
}

impl View {
    /// Visits rows along the last axis in row-major order: first element, step, count.
    fn rows(&self, mut visit: impl FnMut(usize, usize, usize)) {
        if self.shape.contains(&0) {
            return;
        }
        let Some((&count, outer)) = self.shape.split_last() else {
            return visit(self.offset, 1, 1);
        };
        let step = |axis: usize| self.strides[axis] as usize;
        let mut index = vec![0; outer.len()];
        loop {
            let start = self.offset + index.iter().enumerate().map(|(a, i)| i * step(a)).sum::<usize>();
            visit(start, step(outer.len()), count);
            let Some(axis) = (0..outer.len()).rev().find(|a| index[*a] + 1 < outer[*a]) else { return };
            index[axis] += 1;
            index[axis + 1..].fill(0);
        }
    }
}

/// The value as an f64, for conversions.
fn number(value: Scalar) -> f64 {
    match value {
        Scalar::Bool(b) => f64::from(u8::from(b)),
        Scalar::Int(i) => i as f64,
        Scalar::Float(x) => x,
    }
}

/// The strides of a dense tensor.
pub(crate) fn row_major(shape: &[usize]) -> Vec<i64> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis].max(1) as i64;
    }
    strides
}

/// The size of a dense tensor. The product of the non-zero extents must fit too, so that strides cannot overflow.
pub(crate) fn byte_count(dtype: DType, shape: &[usize]) -> Result<usize> {
    let overflow = || Error::Tensor(format!("a tensor of shape {shape:?} has more elements than can be addressed"));
    let span = shape.iter().filter(|n| **n > 0).try_fold(dtype.bytes(), |bytes, n| bytes.checked_mul(*n));
    let span = span.filter(|b| isize::try_from(*b).is_ok()).ok_or_else(overflow)?;
    Ok(if shape.contains(&0) { 0 } else { span })
}

#[cfg(test)]
mod tests {
    use super::Tensor;
    use crate::Error;
    use pantile_ir::DType;

    #[test]
    fn views_share_memory_and_read_through_strides() {
        let t = Tensor::from_slice(&[2, 3, 4], &(0..24).collect::<Vec<i32>>()).unwrap();
        let view = t.permute(&[2, 0, 1]).unwrap().slice(0, 1..3).unwrap();
        assert_eq!(view.shape(), [2, 2, 3]);
        assert_eq!(view.to_vec::<i32>().unwrap(), [1, 5, 9, 13, 17, 21, 2, 6, 10, 14, 18, 22]);
        assert!(view.is_shared() && !view.is_dense());
        assert_eq!(view.reshape(&[12]).unwrap().to_vec::<i32>().unwrap()[3], 13);
    }

    #[test]
    fn writing_goes_through_strides_and_needs_unshared_memory() {
        let mut view = Tensor::zeros(DType::U8, &[2, 3]).unwrap().permute(&[1, 0]).unwrap();
        view.fill_from(&[1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(view.to_vec::<u8>().unwrap(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(view.permute(&[1, 0]).unwrap().to_vec::<u8>().unwrap(), [1, 3, 5, 2, 4, 6]);
        let other = view.clone();
        assert!(matches!(view.fill_from(&[0; 6]), Err(Error::Tensor(_))));
        drop(other);
        assert!(view.fill_from(&[0; 6]).is_ok());
    }

    #[test]
    fn sizes_are_checked() {
        assert!(Tensor::zeros(DType::F32, &[usize::MAX, 2]).is_err());
        assert!(Tensor::zeros(DType::F32, &[usize::MAX, 0, 2]).is_err());
        assert!(Tensor::zeros(DType::F32, &[1 << 62]).is_err());
        assert!(Tensor::zeros(DType::F32, &[3, 0]).unwrap().to_vec::<f32>().unwrap().is_empty());
        assert!(Tensor::from_slice(&[2], &[1.0f32]).is_err());
        assert!(Tensor::from_bytes(DType::Bool, &[1], &[2]).is_err());
        assert_eq!(Tensor::from_slice(&[], &[7i64]).unwrap().to_vec::<i64>().unwrap(), [7]);
        assert!(Tensor::from_slice(&[4], &[1u8; 4]).unwrap().slice(0, 3..5).is_err());
    }
}
