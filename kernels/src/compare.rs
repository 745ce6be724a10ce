//! How far one tensor is from another. It judges nothing.

use pantile::{Error, Result, Tensor};

/// The distance of a tensor from a reference, over all elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Cosine of the angle between the two, as vectors; 1 if both are zero.
    pub cosine: f64,
    /// Sum of magnitudes of the difference ÷ that of the reference: the relative L1 error.
    pub l1: f64,
    /// The relative L2 error: root-mean-square difference ÷ root-mean-square of the reference.
    pub rms: f64,
    /// Largest difference ÷ largest magnitude of the reference.
    pub max: f64,
}

/// A row of a tensor, along its last axis, and its distance from a reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Where it is: an index for each axis but the last.
    pub at: Vec<usize>,
    /// Cosine of the angle between the two rows; 1 if both are zero, 0 if one is.
    pub cosine: f64,
}

/// Compares `got` with `reference`, in f64. A NaN in either makes all figures NaN.
///
/// # Errors
/// If their shapes differ.
pub fn compare(got: &Tensor, reference: &Tensor) -> Result<Comparison> {
    let (got, reference) = pair(got, reference)?;
    let (mut sums, mut one, mut ones, mut far, mut large) = (Sums::default(), 0.0, 0.0, 0.0f64, 0.0f64);
    for (a, b) in got.into_iter().zip(reference) {
        let (a, b) = (f64::from(a), f64::from(b));
        sums.add(a, b);
        one += (a - b).abs();
        ones += b.abs();
        far = far.max((a - b).abs());
        large = large.max(b.abs());
    }
    if sums.is_nan() {
        return Ok(Comparison { cosine: f64::NAN, l1: f64::NAN, rms: f64::NAN, max: f64::NAN });
    }
    let ratio = |a: f64, b: f64| if a == b { f64::from(u8::from(a != 0.0)) } else { a / b };
    let rms = ratio(sums.difference.sqrt(), sums.reference.sqrt());
    Ok(Comparison { cosine: sums.cosine(), l1: ratio(one, ones), rms, max: ratio(far, large) })
}

/// The row whose cosine with the reference's is least, the first of several; a row with a NaN is worse than any. None if
/// there are no rows.
///
/// # Errors
/// If shapes differ.
pub fn worst_row(got: &Tensor, reference: &Tensor) -> Result<Option<Row>> {
    let Some((&width, outer)) = got.shape().split_last() else { return Ok(None) };
    let (a, b) = pair(got, reference)?;
    let cosine = |(a, b): (&[f32], &[f32])| {
        let mut sums = Sums::default();
        a.iter().zip(b).for_each(|(a, b)| sums.add(f64::from(*a), f64::from(*b)));
        if sums.is_nan() { f64::NAN } else { sums.cosine() }
    };
    let rows = a.chunks_exact(width.max(1)).zip(b.chunks_exact(width.max(1))).map(cosine).enumerate();
    // NaN counts as less than all numbers.
    let key = |x: f64| if x.is_nan() { f64::NEG_INFINITY } else { x };
    let worst = rows.min_by(|(_, a), (_, b)| key(*a).total_cmp(&key(*b)));
    Ok(worst.map(|(mut n, cosine)| {
        let mut at: Vec<usize> = outer
            .iter()
            .rev()
            .map(|size| {
                let i = n % size;
                n /= size;
                i
            })
            .collect();
        at.reverse();
        Row { at, cosine }
    }))
}

/// The elements of both.
fn pair(got: &Tensor, reference: &Tensor) -> Result<(Vec<f32>, Vec<f32>)> {
    if got.shape() != reference.shape() {
        let (a, b) = (got.shape(), reference.shape());
        return Err(Error::Tensor(format!("tensors of shapes {a:?} and {b:?} cannot be compared")));
    }
    Ok((got.to_f32()?, reference.to_f32()?))
}

/// Sums of products.
#[derive(Default)]
struct Sums {
    dot: f64,
    got: f64,
    reference: f64,
    difference: f64,
}

impl Sums {
    fn add(&mut self, a: f64, b: f64) {
        self.dot += a * b;
        self.got += a * a;
        self.reference += b * b;
        self.difference += (a - b) * (a - b);
    }

    fn is_nan(&self) -> bool {
        (self.got + self.reference + self.difference).is_nan()
    }

    fn cosine(&self) -> f64 {
        match (self.got == 0.0, self.reference == 0.0) {
            (true, true) => 1.0,
            (true, false) | (false, true) => 0.0,
            (false, false) => self.dot / (self.got.sqrt() * self.reference.sqrt()),
        }
    }
}

/// How many elements are NaN, and how many infinite.
///
/// # Errors
/// If there is not enough memory.
pub fn count_non_finite(tensor: &Tensor) -> Result<(usize, usize)> {
    let values = tensor.to_f32()?;
    let nan = values.iter().filter(|x| x.is_nan()).count();
    Ok((nan, values.iter().filter(|x| x.is_infinite()).count()))
}

#[cfg(test)]
mod tests {
    use super::{compare, count_non_finite, worst_row};
    use pantile::Tensor;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::from_slice(&[values.len()], values).unwrap()
    }

    #[test]
    fn distances_are_relative_to_the_reference() {
        let c = compare(&tensor(&[3.0, 4.5]), &tensor(&[3.0, 4.0])).unwrap();
        assert!((c.rms - 0.1).abs() < 1e-12 && (c.max - 0.125).abs() < 1e-12, "{c:?}");
        assert!((compare(&tensor(&[1.0, 0.0]), &tensor(&[0.0, 2.0])).unwrap().cosine).abs() < 1e-12);
        assert!(compare(&tensor(&[1.0]), &tensor(&[f32::NAN])).unwrap().rms.is_nan());
        assert!(compare(&tensor(&[1.0]), &tensor(&[1.0, 2.0])).is_err());
        assert!((c.l1 - 0.5 / 7.0).abs() < 1e-12, "{c:?}");
        assert_eq!(count_non_finite(&tensor(&[f32::NAN, 1.0, f32::INFINITY, f32::NEG_INFINITY])).unwrap(), (1, 2));
    }
    #[test]
    fn the_worst_row_is_found_where_it_is() {
        let rows = |values: &[f32]| Tensor::from_slice(&[2, 2, 2], values).unwrap();
        let reference = rows(&[1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 2.0, 2.0]);
        let got = rows(&[2.0, 0.0, 0.1, 1.0, 1.0, 0.0, 2.0, 2.1]);
        let worst = worst_row(&got, &reference).unwrap().unwrap();
        assert_eq!(worst.at, [1, 0]);
        assert!((worst.cosine - 0.5f64.sqrt()).abs() < 1e-9, "{worst:?}");
        let zero = rows(&[1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 2.0, 2.0]);
        assert_eq!(worst_row(&zero, &reference).unwrap().unwrap().cosine, 0.0);
        let bad = rows(&[1.0, 0.0, 0.0, -1.0, 1.0, 1.0, f32::NAN, 2.0]);
        assert_eq!(worst_row(&bad, &reference).unwrap().unwrap().at, [1, 1]);
        assert_eq!(worst_row(&rows(&[0.0; 8]), &rows(&[0.0; 8])).unwrap().unwrap().cosine, 1.0);
        assert!(worst_row(&tensor(&[1.0]), &tensor(&[1.0, 2.0])).is_err());
        assert!(
            worst_row(
                &Tensor::zeros(pantile::DType::F32, &[0, 3]).unwrap(),
                &Tensor::zeros(pantile::DType::F32, &[0, 3]).unwrap()
            )
            .unwrap()
            .is_none()
        );
    }
}
