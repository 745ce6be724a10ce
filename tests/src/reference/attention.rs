//! Attention over the pairs of tokens whose blocks are kept: every logit, every exponential, every product, in f64. Blocks are
//! looked up token by token; nothing is skipped, only masked.

use pantile::Tensor;
use pantile_kernels::RainFusion;

use super::Walked;

/// A tensor `[batch, heads, count, dim]` in f64.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// Batches.
    pub batch: usize,
    /// Heads.
    pub heads: usize,
    /// Tokens.
    pub count: usize,
    /// Numbers a token.
    pub dim: usize,
    data: Vec<f64>,
}

impl Tokens {
    /// Of a tensor of any float dtype and layout.
    pub fn of(tensor: &Tensor) -> Self {
        let [batch, heads, count, dim] = tensor.shape()[..] else { panic!("{:?}: not four axes", tensor.shape()) };
        let data = tensor.to_f32().expect("floats").into_iter().map(f64::from).collect();
        Self { batch, heads, count, dim, data }
    }

    /// One token.
    pub fn token(&self, batch: usize, head: usize, token: usize) -> &[f64] {
        &self.data[((batch * self.heads + head) * self.count + token) * self.dim..][..self.dim]
    }

    /// The largest magnitude.
    pub fn largest(&self) -> f64 {
        self.data.iter().fold(0.0, |most, x| x.abs().max(most))
    }

    /// The factor of the logits.
    pub fn scale(&self, options: &RainFusion) -> f64 {
        options.scale.map_or(1.0 / (self.dim as f64).sqrt(), f64::from)
    }
}

/// Outputs `[B, H, N, D]` and log-sum-exps `[B, H, N]` under a mask `[B, H, NQ, NK]` along these walks.
pub fn attention(
    [q, k, v]: [&Tokens; 3],
    (queries, keys): (&Walked, &Walked),
    mask: &[bool],
    scale: f64,
) -> (Vec<f64>, Vec<f64>) {
    let (mut out, mut lse) = (Vec::new(), Vec::new());
    let (rows, columns) = (queries.blocks(), keys.blocks());
    for batch in 0..q.batch {
        for head in 0..q.heads {
            let key_head = head / (q.heads / k.heads);
            for i in 0..q.count {
                let row = ((batch * q.heads + head) * rows + queries.place[i]) * columns;
                let mut logits = vec![f64::NEG_INFINITY; k.count];
                for (j, logit) in logits.iter_mut().enumerate() {
                    if mask[row + keys.place[j]] {
                        let pairs = q.token(batch, head, i).iter().zip(k.token(batch, key_head, j));
                        *logit = pairs.map(|(a, b)| a * b).sum::<f64>() * scale;
                    }
                }
                let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                if top == f64::NEG_INFINITY {
                    lse.push(top);
                    out.extend(vec![0.0; v.dim]);
                    continue;
                }
                let sum: f64 = logits.iter().map(|s| (s - top).exp()).sum();
                lse.push(top + sum.ln());
                let mut token = vec![0.0; v.dim];
                for (j, logit) in logits.iter().enumerate().filter(|(_, s)| **s > f64::NEG_INFINITY) {
                    let weight = (logit - top).exp() / sum;
                    for (to, from) in token.iter_mut().zip(v.token(batch, key_head, j)) {
                        *to += weight * from;
                    }
                }
                out.extend(token);
            }
        }
    }
    (out, lse)
}

/// The largest distance between a tensor and what it should hold; infinite where one is infinite or not a number alone.
pub fn far(got: &Tensor, want: &[f64]) -> f64 {
    let got = got.to_f32().expect("floats");
    assert_eq!(got.len(), want.len(), "numbers of elements");
    let mut most = 0.0f64;
    for (got, want) in got.into_iter().map(f64::from).zip(want) {
        let both_same = got == *want || got.is_nan() && want.is_nan();
        let distance = if both_same { 0.0 } else { (got - want).abs() };
        most = most.max(if distance.is_nan() { f64::INFINITY } else { distance });
    }
    most
}
