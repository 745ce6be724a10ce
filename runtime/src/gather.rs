//! Copies of tensors in another order along one axis: rows of the axes behind it move whole where they lie whole, workers
//! share the target. A tensor on a GPU is copied there, by `cuda/copies.rs` where
//! it is not one piece of memory. It reads through any strides and writes row-major; which order it is, is the caller's business.

use std::sync::Arc;

use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use crate::cpu::pool;
use crate::{Error, Result, Tensor};

/// The bytes that a worker copies at a time; less than two such pieces are copied where the caller stands.
const PIECE: usize = 1 << 18;

impl Tensor {
    /// The elements of a tensor of the same shape.
    ///
    /// # Errors
    /// As [`Tensor::gather`].
    pub(crate) fn copy_from(&mut self, from: &Tensor) -> Result<()> {
        if self.shape() != from.shape() || self.dtype() != from.dtype() {
            return Err(misfit());
        }
        if let Some(gpu) = self.storage().0.home().cloned()
            && self.is_dense()
            && from.is_dense()
        {
            let ((source, start), bytes, at) = (from.storage(), self.len() * self.dtype().bytes(), self.storage().1);
            let (source, to) = (source.on(&gpu)?, self.storage_mut("a copy")?.on_mut(&gpu)?);
            return to.copy_from(at, &source, start, bytes);
        }
        if self.rank() > 0 && self.copied_there(from, None) {
            return Ok(());
        }
        if self.rank() == 0 {
            return self.fill_from(&from.to_bytes()?);
        }
        self.gather_any(from, 0, None)
    }

    /// `self[p] = from[sources[p]]` along an axis, zero where there is no source (below 0). `self` is row-major and has the
    /// shape of `from` but for the axis, along which it has one place a source.
    ///
    /// # Errors
    /// If the shapes or sources do not fit, or other tensors share the memory that is written.
    pub(crate) fn gather(&mut self, from: &Tensor, axis: usize, table: &Tensor) -> Result<()> {
        let size = self.shape().get(axis).copied().unwrap_or(0);
        let sources = table.as_slice::<i32>().ok_or_else(misfit)?;
        if sources.len() != size
            || from.rank() <= axis
            || sources.iter().any(|s| i64::from(*s) >= from.shape()[axis] as i64)
        {
            return Err(misfit());
        }
        if self.fits(from, axis) && self.copied_there(from, Some((axis, table))) {
            return Ok(());
        }
        self.gather_any(from, axis, Some(sources))
    }

    /// Copies on the GPU where this lies, if it lies on one alone and a kernel for it can be had there.
    fn copied_there(&mut self, from: &Tensor, gathered: Option<(usize, &Tensor)>) -> bool {
        let home = self.storage().0.home().cloned().filter(|_| self.is_dense() && !self.is_empty());
        home.is_some_and(|gpu| gpu.copies.copy(&gpu, self, from, gathered).is_ok())
    }

    /// Whether this is dense and has the shape of `from` but for an axis.
    fn fits(&self, from: &Tensor, axis: usize) -> bool {
        let same = |n: usize| n == axis || self.shape()[n] == from.shape()[n];
        self.dtype() == from.dtype() && self.rank() == from.rank() && (0..self.rank()).all(same) && self.is_dense()
    }

    /// Without sources, each position is its own.
    fn gather_any(&mut self, from: &Tensor, axis: usize, sources: Option<&[i32]>) -> Result<()> {
        if !self.fits(from, axis) {
            return Err(misfit());
        }
        match self.dtype().bytes() {
            1 => self.gather_of::<1>(from, axis, sources),
            2 => self.gather_of::<2>(from, axis, sources),
            4 => self.gather_of::<4>(from, axis, sources),
            _ => self.gather_of::<8>(from, axis, sources),
        }
    }

    /// The same for elements of `E` bytes.
    fn gather_of<const E: usize>(&mut self, from: &Tensor, axis: usize, sources: Option<&[i32]>) -> Result<()> {
        let inner = Inner::of(&from.shape()[axis + 1..], &from.strides()[axis + 1..]);
        let row = inner.count * E;
        let bytes = self.len() * E;
        if bytes == 0 {
            return Ok(());
        }
        let (memory, start) = from.memory()?;
        let outer: Vec<(usize, i64)> =
            from.shape()[..axis].iter().copied().zip(from.strides()[..axis].to_vec()).collect();
        let stride = from.strides()[axis] as usize;
        let size = self.shape()[axis];
        // Rows `first..` of the target, block by block of the axes in front.
        let rows = |first: usize, mut target: &mut [u8]| {
            let (mut block, mut at) = (first / size, first % size);
            while !target.is_empty() {
                let count = (size - at).min(target.len() / row);
                let (now, later) = target.split_at_mut(count * row);
                let base = start + offset(&outer, block);
                match sources {
                    Some(sources) => {
                        let places = sources[at..at + count].iter().map(|s| usize::try_from(*s).ok());
                        inner.copy_rows::<E>(memory, places.map(|s| Some(base + s? * stride)), now);
                    }
                    None => inner.copy_rows::<E>(memory, (at..at + count).map(|s| Some(base + s * stride)), now),
                }
                (block, at, target) = (block + 1, 0, later);
            }
        };
        let first_byte = self.storage().1;
        let target = &mut self.unshared("a copy")?[first_byte..first_byte + bytes];
        let piece = (PIECE / row).max(1);
        match pool().filter(|pool| bytes >= 2 * PIECE && pool.current_num_threads() > 1) {
            Some(pool) => pool.install(|| {
                target.par_chunks_mut(piece * row).enumerate().for_each(|(n, target)| rows(n * piece, target));
            }),
            None => rows(0, target),
        }
        Ok(())
    }
}

/// The source of each of `size` positions: those of a table, or if `inverse` the position at which it has each element;
/// -1 where there is none.
///
/// # Errors
/// What is wrong with the table: it gives an element past the last one of the axis.
pub(crate) fn sources(
    table: &Arc<Vec<i32>>,
    elements: usize,
    inverse: bool,
) -> std::result::Result<Arc<Vec<i32>>, String> {
    if let Some(element) = table.iter().find(|e| usize::try_from(**e).is_ok_and(|e| e >= elements)) {
        return Err(format!("gives element {element}, but the axis has only {elements}"));
    }
    if !inverse {
        return Ok(table.clone());
    }
    let mut sources = vec![-1; elements];
    for (position, element) in table.iter().enumerate() {
        if let Ok(element) = usize::try_from(*element) {
            sources[element] = position as i32;
        }
    }
    Ok(Arc::new(sources))
}

fn misfit() -> Error {
    Error::Tensor("a copy does not fit what it is copied from".into())
}

/// Where the n-th place of the outer axes starts; past the last one, anywhere.
fn offset(outer: &[(usize, i64)], mut n: usize) -> usize {
    let mut at = 0;
    for (size, stride) in outer.iter().rev() {
        at += n % size * *stride as usize;
        n /= size;
    }
    at
}

/// The axes behind the one that is permuted, as few as they can be seen as.
struct Inner {
    /// All but the last, first slowest: size and stride.
    outer: Vec<(usize, i64)>,
    /// The last one.
    last: (usize, usize),
    /// The elements of all.
    count: usize,
}

impl Inner {
    fn of(shape: &[usize], strides: &[i64]) -> Self {
        let mut axes: Vec<(usize, i64)> = Vec::new();
        for (size, stride) in shape.iter().copied().zip(strides.iter().copied()).filter(|(size, _)| *size != 1) {
            match axes.last_mut() {
                Some(before) if before.1 == stride * size as i64 => *before = (before.0 * size, stride),
                Some(_) | None => axes.push((size, stride)),
            }
        }
        let (size, stride) = axes.pop().unwrap_or((1, 1));
        Self { outer: axes, last: (size, stride as usize), count: shape.iter().product() }
    }

    /// Copies one row after another, each from where it starts in `memory`; a row from nowhere is zero.
    fn copy_rows<const E: usize>(&self, memory: &[u8], starts: impl Iterator<Item = Option<usize>>, target: &mut [u8]) {
        if self.count == 1 {
            for (start, target) in starts.zip(target.as_chunks_mut::<E>().0) {
                match start {
                    Some(at) => target.copy_from_slice(&memory[at * E..at * E + E]),
                    None => target.fill(0),
                }
            }
            return;
        }
        for (start, target) in starts.zip(target.chunks_exact_mut(self.count * E)) {
            match start {
                Some(at) => self.copy::<E>(memory, at, target),
                None => target.fill(0),
            }
        }
    }

    /// Copies what starts at element `at` of `memory`.
    fn copy<const E: usize>(&self, memory: &[u8], at: usize, target: &mut [u8]) {
        let (size, stride) = self.last;
        for (n, target) in target.chunks_exact_mut(size * E).enumerate() {
            let at = at + offset(&self.outer, n);
            if stride == 1 {
                target.copy_from_slice(&memory[at * E..(at + size) * E]);
                continue;
            }
            for (element, target) in target.as_chunks_mut::<E>().0.iter_mut().enumerate() {
                let from = (at + element * stride) * E;
                target.copy_from_slice(&memory[from..from + E]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::sources;
    use crate::Tensor;
    use pantile_ir::DType;

    /// Every element by its index, one by one.
    fn plain(from: &Tensor, axis: usize, table: &[i32], inverse: bool, size: usize) -> Vec<u8> {
        let element = from.dtype().bytes();
        let (before, after) = (&from.shape()[..axis], &from.shape()[axis + 1..]);
        let (outer, inner) = (before.iter().product::<usize>(), after.iter().product::<usize>());
        let (bytes, old) = (from.to_bytes().unwrap(), from.shape()[axis]);
        let mut out = vec![0; outer * size * inner * element];
        for o in 0..outer {
            for (p, e) in table.iter().enumerate().filter(|(_, e)| **e >= 0) {
                let (to, source) = if inverse { (*e as usize, p) } else { (p, *e as usize) };
                let (to, source) = ((o * size + to) * inner * element, (o * old + source) * inner * element);
                out[to..to + inner * element].copy_from_slice(&bytes[source..source + inner * element]);
            }
        }
        out
    }

    #[test]
    fn any_axis_of_any_view_is_copied_as_element_by_element() {
        let mut state = 7u64;
        let mut random = |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };
        for case in 0..400 {
            let dtype = [DType::U8, DType::F16, DType::F32, DType::I64][random(4)];
            let rank = 1 + random(4);
            let large = if case % 40 == 0 { 90 } else { 5 };
            let shape: Vec<usize> = (0..rank).map(|_| 1 + random(large)).collect();
            let count: usize = shape.iter().product();
            let data: Vec<u8> = (0..count * dtype.bytes()).map(|_| random(251) as u8).collect();
            let mut from = Tensor::from_bytes(dtype, &shape, &data).unwrap();
            let mut axes: Vec<usize> = (0..rank).collect();
            (1..rank).for_each(|n| axes.swap(n, random(n + 1)));
            from = from.permute(&axes).unwrap();
            let cut = random(rank);
            from = from.slice(cut, random(from.shape()[cut])..from.shape()[cut]).unwrap();
            let (axis, inverse) = (random(rank), random(2) == 1);
            let (len, extra) = (from.shape()[axis], random(3));
            let mut table: Vec<i32> = (0..len as i32).chain(std::iter::repeat_n(-1, extra)).collect();
            (1..table.len()).for_each(|n| table.swap(n, random(n + 1)));
            // Inverse: the source lies in the order, with its gaps.
            let source = if inverse {
                let mut padded = from.shape().to_vec();
                padded[axis] = table.len();
                let bytes = plain(&from, axis, &table, false, table.len());
                Tensor::from_bytes(dtype, &padded, &bytes).unwrap()
            } else {
                from.clone()
            };
            let size = if inverse { len } else { table.len() };
            let mut shape = from.shape().to_vec();
            shape[axis] = size;
            let mut to = Tensor::zeros(dtype, &shape).unwrap();
            to.unshared("it").unwrap().fill(0xA5);
            let sources = sources(&Arc::new(table.clone()), len, inverse).unwrap();
            let sources = Tensor::from_slice(&[sources.len()], &sources).unwrap();
            to.gather(&source, axis, &sources).unwrap();
            assert_eq!(to.to_bytes().unwrap(), plain(&source, axis, &table, inverse, size), "case {case}: {shape:?}");
            if inverse {
                assert_eq!(to.to_bytes().unwrap(), from.to_bytes().unwrap(), "there and back: case {case}");
            }
            let mut same = Tensor::zeros(dtype, from.shape()).unwrap();
            same.copy_from(&from).unwrap();
            assert_eq!(same.to_bytes().unwrap(), from.to_bytes().unwrap());
        }
    }

    #[test]
    fn a_scalar_is_copied_and_misfits_are_refused() {
        let (one, mut to) = (Tensor::from_slice(&[], &[7i32]).unwrap(), Tensor::zeros(DType::I32, &[]).unwrap());
        to.copy_from(&one).unwrap();
        assert_eq!(to.to_vec::<i32>().unwrap(), [7]);
        let mut other = Tensor::zeros(DType::I32, &[2]).unwrap();
        assert!(other.copy_from(&Tensor::zeros(DType::I32, &[3]).unwrap()).is_err());
        let table = |list: &[i32]| Tensor::from_slice(&[list.len()], list).unwrap();
        assert!(other.gather(&Tensor::zeros(DType::I32, &[2]).unwrap(), 0, &table(&[0, 2])).is_err());
        assert!(other.gather(&Tensor::zeros(DType::I32, &[2]).unwrap(), 0, &table(&[0])).is_err());
        assert!(sources(&Arc::new(vec![0, 2]), 2, false).is_err());
    }
}
