//! How far one tensor is from another. It judges nothing.

use pantile::{Error, Result, Tensor};

/// The distance of a tensor from a reference, over all elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Cosine of the angle between the two, as vectors; 1 if both are zero.
    pub cosine: f64,
    /// Root-mean-square difference ÷ root-mean-square of the reference.
    pub rms: f64,
    /// Largest difference ÷ largest magnitude of the reference.
    pub max: f64,
}

/// Compares `got` with `reference`, in f64. A NaN in either makes all figures NaN.
///
/// # Errors
/// If their shapes differ.
pub fn compare(got: &Tensor, reference: &Tensor) -> Result<Comparison> {
    if got.shape() != reference.shape() {
        let (a, b) = (got.shape(), reference.shape());
        return Err(Error::Tensor(format!("tensors of shapes {a:?} and {b:?} cannot be compared")));
    }
    let (mut dot, mut aa, mut bb, mut dd, mut far, mut large) = (0.0, 0.0, 0.0, 0.0, 0.0f64, 0.0f64);
    for (a, b) in got.to_f32()?.into_iter().zip(reference.to_f32()?) {
        let (a, b) = (f64::from(a), f64::from(b));
        dot += a * b;
        aa += a * a;
        bb += b * b;
        dd += (a - b) * (a - b);
        far = far.max((a - b).abs());
        large = large.max(b.abs());
    }
    if (aa + bb + dd).is_nan() {
        return Ok(Comparison { cosine: f64::NAN, rms: f64::NAN, max: f64::NAN });
    }
    let ratio = |a: f64, b: f64| if a == b { f64::from(u8::from(a != 0.0)) } else { a / b };
    let cosine = if aa == 0.0 && bb == 0.0 { 1.0 } else { dot / (aa.sqrt() * bb.sqrt()) };
    Ok(Comparison { cosine, rms: ratio(dd.sqrt(), bb.sqrt()), max: ratio(far, large) })
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
    use super::{compare, count_non_finite};
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
        assert_eq!(count_non_finite(&tensor(&[f32::NAN, 1.0, f32::INFINITY, f32::NEG_INFINITY])).unwrap(), (1, 2));
    }
}
