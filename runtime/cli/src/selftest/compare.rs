//! How far the results of two devices are from each other, and how far they may be. It runs nothing.

use pantile::{DType, Error, Output, Outputs, Result, Tensor};

/// What came of one case.
pub(super) enum Verdict {
    /// The largest difference over the largest magnitude of the reference; 0 where all is equal.
    Distance(f64),
    /// Neither device takes these arguments.
    BothRefuse,
    /// What is wrong.
    Wrong(String),
}

/// How far results may be: sums in another order and approximate functions cost a few units in the last place of f32, or
/// of what was rounded on the way. Integers and bools are exact.
pub(super) fn allowed(dtype: Option<DType>) -> f64 {
    match dtype {
        None | Some(DType::F32 | DType::F64) => 1e-4,
        Some(DType::F16) => 4e-3,
        Some(DType::BF16) => 3e-2,
        Some(DType::F8E4M3 | DType::F8E5M2) => 3e-1,
        Some(
            DType::Bool
            | DType::I8
            | DType::I16
            | DType::I32
            | DType::I64
            | DType::U8
            | DType::U16
            | DType::U32
            | DType::U64,
        ) => 0.0,
    }
}

/// Compares what a device gave with what the interpreter gave.
pub(super) fn judge(got: Result<Outputs>, want: Result<Outputs>) -> Verdict {
    match (got, want) {
        (Ok(got), Ok(want)) => compare(&got, &want).unwrap_or_else(|e| Verdict::Wrong(format!("fails: {e}"))),
        (Err(a), Err(b)) if std::mem::discriminant(&a) == std::mem::discriminant(&b) => Verdict::BothRefuse,
        (Err(a), Err(b)) => Verdict::Wrong(format!("says: {a}; but the interpreter: {b}")),
        (Err(error), Ok(_)) => Verdict::Wrong(format!("fails: {error}")),
        (Ok(_), Err(error)) => Verdict::Wrong(format!("works, but the interpreter says: {error}")),
    }
}

fn compare(got: &Outputs, want: &Outputs) -> Result<Verdict> {
    let mut worst = 0.0f64;
    for ((name, got), (_, want)) in got.iter().zip(want.iter()) {
        match (got, want) {
            (Output::Mask(a), Output::Mask(b)) if a.to_bools() == b.to_bools() && a.counts() == b.counts() => {}
            (Output::Tensor(a), Output::Tensor(b)) => worst = worst.max(distance(a, b)?),
            (Output::Mask(_) | Output::Tensor(_), _) => return Ok(Verdict::Wrong(format!("`{name}` differs"))),
        }
    }
    Ok(Verdict::Distance(worst))
}

/// Infinite where one has a NaN or an infinity that the other has not, or integers differ.
fn distance(got: &Tensor, want: &Tensor) -> Result<f64> {
    if got.shape() != want.shape() || got.dtype() != want.dtype() {
        return Err(Error::Tensor("the shapes differ".into()));
    }
    if !got.dtype().is_float() {
        return Ok(if got.to_bytes()? == want.to_bytes()? { 0.0 } else { f64::INFINITY });
    }
    let [got, want] = [got, want].map(|t| t.to_dtype(DType::F64).and_then(|t| t.to_vec::<f64>()));
    let (got, want) = (got?, want?);
    let largest = want.iter().filter(|x| x.is_finite()).fold(0.0f64, |m, x| m.max(x.abs()));
    let one = |(a, b): (&f64, &f64)| match () {
        () if a == b || a.is_nan() && b.is_nan() => 0.0,
        () if a.is_finite() && b.is_finite() => (a - b).abs() / largest.max(f64::MIN_POSITIVE),
        () => f64::INFINITY,
    };
    Ok(got.iter().zip(&want).map(one).fold(0.0, f64::max))
}

#[cfg(test)]
mod tests {
    use super::distance;
    use pantile::Tensor;

    fn far(got: &[f32], want: &[f32]) -> f64 {
        let [got, want] = [got, want].map(|data| Tensor::from_slice(&[data.len()], data).expect("a tensor"));
        distance(&got, &want).expect("one shape")
    }

    #[test]
    fn what_is_no_number_must_be_the_same() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        assert_eq!(far(&[1.0, inf, nan, -inf], &[1.0, inf, nan, -inf]), 0.0);
        assert_eq!(far(&[2.0, 4.5], &[2.0, 4.0]), 0.125);
        for (got, want) in [(1.0, nan), (nan, 1.0), (inf, -inf), (1.0, inf), (-inf, 0.0)] {
            assert_eq!(far(&[got, 0.0], &[want, 0.0]), f64::INFINITY, "{got} {want}");
        }
        let [a, b] = [1, 2].map(|n| Tensor::from_slice(&[1], &[n]).expect("a tensor"));
        assert_eq!(distance(&a, &b).expect("one shape"), f64::INFINITY);
    }
}
