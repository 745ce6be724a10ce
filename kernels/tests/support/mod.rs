//! Repeatable tensors and a distance, for the tests beside it. Nothing here judges.

use pantile::Tensor;

/// Repeatable numbers in [-1, 1).
pub fn noise(seed: u64, shape: &[usize]) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let data: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
    Tensor::from_slice(shape, &data).expect("a tensor")
}

/// Queries, keys and values.
pub struct Qkv {
    pub q: Tensor,
    pub k: Tensor,
    pub v: Tensor,
}

impl Qkv {
    /// Batch, heads and key heads; query tokens, key tokens, size of a head.
    pub fn new(seed: u64, [b, h, g]: [usize; 3], n: usize, m: usize, d: usize) -> Self {
        let seed = 3 * seed + 1;
        Self { q: noise(seed, &[b, h, n, d]), k: noise(seed + 1, &[b, g, m, d]), v: noise(seed + 2, &[b, g, m, d]) }
    }
}

/// The largest difference; infinities must be equal, and a NaN is infinitely far.
pub fn far(got: &Tensor, want: &[f64]) -> f64 {
    let got = got.to_f32().expect("numbers");
    assert_eq!(got.len(), want.len());
    let one = |(a, b): (&f32, &f64)| if f64::from(*a) == *b { 0.0 } else { (f64::from(*a) - b).abs() };
    got.iter().zip(want).map(one).map(|x| if x.is_nan() { f64::INFINITY } else { x }).fold(0.0, f64::max)
}
