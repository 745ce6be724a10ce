//! Some rows of what kernels should give, in f64 on the CPU, and how far results are from them. Which rows, and what of, is
//! for others to say.

use pantile::{DType, Tensor};

use crate::failure::Failure;

/// A tensor's bytes on the host, read row by row.
pub(super) struct Host {
    bytes: Vec<u8>,
    dtype: DType,
    width: usize,
}

impl Host {
    /// Rows along the last axis.
    pub(super) fn of(tensor: &Tensor) -> Result<Self, Failure> {
        let width = tensor.shape().last().copied().unwrap_or(1).max(1);
        Ok(Self { bytes: tensor.to_bytes()?, dtype: tensor.dtype(), width })
    }

    /// So many rows from one on.
    pub(super) fn rows(&self, from: usize, count: usize) -> Result<Vec<f32>, Failure> {
        let bytes = self.width * self.dtype.bytes();
        let part = self.bytes.get(from * bytes..(from + count) * bytes).unwrap_or_default();
        Ok(Tensor::from_bytes(self.dtype, &[part.len() / self.dtype.bytes()], part)?.to_f32()?)
    }

    /// Some rows, one behind another.
    pub(super) fn some(&self, rows: &[usize]) -> Result<Vec<f32>, Failure> {
        let each: Vec<Vec<f32>> = rows.iter().map(|row| self.rows(*row, 1)).collect::<Result<_, _>>()?;
        Ok(each.concat())
    }
}

/// One query's output: softmax over the logits of some keys, of the values. `k` and `v` are one head's rows.
pub(super) fn attend(q: &[f32], k: &[f32], v: &[f32], keys: &[usize]) -> Vec<f64> {
    let width = q.len();
    let row = |of: &[f32], n: usize| of[n * width..(n + 1) * width].iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
    let scale = 1.0 / (width as f64).sqrt();
    let logit = |n: &usize| row(k, *n).iter().zip(q).map(|(a, b)| a * f64::from(*b)).sum::<f64>() * scale;
    let logits: Vec<f64> = keys.iter().map(logit).collect();
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.iter().map(|x| (x - top).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut out = vec![0.0; width];
    for (n, weight) in keys.iter().zip(&weights) {
        out.iter_mut().zip(row(v, *n)).for_each(|(o, x)| *o += weight / total * x);
    }
    out
}

/// One row of a matrix product; `b` has as many rows as `a` has numbers.
pub(super) fn product(a: &[f32], b: &[f32]) -> Vec<f64> {
    let width = b.len() / a.len().max(1);
    let mut out = vec![0.0; width];
    for (x, row) in a.iter().zip(b.chunks_exact(width.max(1))) {
        out.iter_mut().zip(row).for_each(|(o, y)| *o += f64::from(*x) * f64::from(*y));
    }
    out
}

pub(super) fn softmax(x: &[f32]) -> Vec<f64> {
    let top = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let each: Vec<f64> = x.iter().map(|x| f64::from(x - top).exp()).collect();
    let total: f64 = each.iter().sum();
    each.iter().map(|e| e / total).collect()
}

pub(super) fn rms_norm(x: &[f32], weight: &[f32], eps: f64) -> Vec<f64> {
    let mean = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / x.len().max(1) as f64;
    x.iter().zip(weight).map(|(x, w)| f64::from(*x) / (mean + eps).sqrt() * f64::from(*w)).collect()
}

/// The mean of rows of this width.
pub(super) fn mean(x: &[f32], width: usize) -> Vec<f64> {
    let mut out = vec![0.0; width];
    x.chunks_exact(width.max(1)).for_each(|row| out.iter_mut().zip(row).for_each(|(o, x)| *o += f64::from(*x)));
    let rows = (x.len() / width.max(1)).max(1) as f64;
    out.iter().map(|o| o / rows).collect()
}

/// The relative L2 error; infinite if something is no number, or is missing.
pub(super) fn error(got: &[f32], want: &[f64]) -> f64 {
    if got.len() != want.len() {
        return f64::INFINITY;
    }
    let square = |x: f64| x * x;
    let off: f64 = got.iter().zip(want).map(|(a, b)| square(f64::from(*a) - b)).sum();
    let all: f64 = want.iter().map(|b| square(*b)).sum();
    let error = (off / all.max(f64::MIN_POSITIVE)).sqrt();
    if error.is_finite() { error } else { f64::INFINITY }
}

/// Up to so many numbers below `count`, other ones on each run of the program, the first and the last among them.
pub(super) fn sample(count: usize, most: usize) -> Vec<usize> {
    use std::hash::{BuildHasher, RandomState};
    let state = RandomState::new();
    let mut some: Vec<usize> = (0..most).map(|n| state.hash_one(n) as usize % count.max(1)).collect();
    some.extend([0, count.saturating_sub(1)]);
    some.sort_unstable();
    some.dedup();
    some.retain(|n| *n < count);
    some
}

#[cfg(test)]
mod tests {
    use super::{Host, attend, error, mean, product, rms_norm, sample, softmax};
    use pantile::Tensor;

    #[test]
    fn references_are_the_textbook_s() {
        // Two keys of which the first has twice the weight, by a logit that is larger by ln 2.
        let ln2 = 2f32.ln() * 2f32.sqrt();
        let out = attend(&[1.0, 0.0], &[ln2, 0.0, 0.0, 5.0, 9.0, 9.0], &[3.0, 0.0, 0.0, 3.0, 9.0, 9.0], &[0, 1]);
        assert!((out[0] - 2.0).abs() < 1e-6 && (out[1] - 1.0).abs() < 1e-6, "{out:?}");
        assert_eq!(product(&[2.0, 3.0], &[1.0, 0.0, 10.0, 100.0]), [32.0, 300.0]);
        assert!((softmax(&[0.0, 3f32.ln()])[1] - 0.75).abs() < 1e-6);
        assert!((rms_norm(&[3.0, 4.0], &[1.0, 2.0], 0.0)[1] - 8.0 / 12.5f64.sqrt()).abs() < 1e-9);
        assert_eq!(mean(&[1.0, 2.0, 3.0, 6.0], 2), [2.0, 4.0]);
    }

    #[test]
    fn errors_are_seen() {
        assert_eq!(error(&[3.0, 4.0], &[3.0, 4.0]), 0.0);
        assert!((error(&[3.0, 4.5], &[3.0, 4.0]) - 0.1).abs() < 1e-9);
        assert_eq!(error(&[f32::NAN, 4.0], &[3.0, 4.0]), f64::INFINITY);
        assert_eq!(error(&[4.0], &[3.0, 4.0]), f64::INFINITY);
    }

    #[test]
    fn rows_are_read_where_they_are() {
        let tensor = Tensor::from_slice(&[2, 3, 2], &(0..12).map(|n| n as f32).collect::<Vec<_>>()).expect("a tensor");
        let host = Host::of(&tensor).expect("its bytes");
        assert_eq!(host.some(&[0, 5]).expect("two rows"), [0.0, 1.0, 10.0, 11.0]);
        assert_eq!(host.rows(1, 2).expect("two rows"), [2.0, 3.0, 4.0, 5.0]);
        let some = sample(1000, 10);
        assert!(some.len() <= 12 && some[0] == 0 && some.last() == Some(&999));
        assert_eq!(sample(1, 5), [0]);
    }
}
