//! Block means, scores and what they choose (section 3.2). Doubt is part of the answer: where a score is so near to its row's
//! threshold that rounding to f32 may decide, both answers are right; f32 because the method's scores are f32.

use pantile_kernels::{Budget, RainFusion};

use super::{Kind, Tokens, Walked};

/// Below this probability f32 has no full precision, and none at all a little further down.
const TINY: f64 = 1e-37;

/// Which key blocks each query block keeps, `[B, H, NQ, NK]`.
#[derive(Clone, Debug)]
pub struct Selection {
    /// One a pair; `None` if it is in doubt.
    pub keep: Vec<Option<bool>>,
    /// The probability of each pair, 0 for a block without tokens.
    pub score: Vec<f64>,
    /// The number of columns.
    pub columns: usize,
}

/// The mean of each block's tokens, for one head; zeros for a block without any.
pub fn means(x: &Tokens, batch: usize, head: usize, walked: &Walked) -> Vec<Vec<f64>> {
    let mut means = Vec::new();
    for block in walked.walk.chunks(walked.block) {
        let mut mean = vec![0.0; x.dim];
        let count = block.iter().filter(|t| **t >= 0).count();
        for token in block.iter().filter(|t| **t >= 0) {
            for (sum, value) in mean.iter_mut().zip(x.token(batch, head, *token as usize)) {
                *sum += value / count as f64;
            }
        }
        means.push(mean);
    }
    means
}

/// The probability of each key block for each query block, one row a query block, for means of one head.
pub fn scores(q: &[Vec<f64>], k: &[Vec<f64>], keys: &[Kind], scale: f64) -> Vec<Vec<f64>> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() * scale;
    let mut rows = Vec::new();
    for q in q {
        let logits: Vec<f64> = k
            .iter()
            .zip(keys)
            .map(|(k, kind)| if *kind == Kind::Empty { f64::NEG_INFINITY } else { dot(q, k) })
            .collect();
        let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|s| (s - top).exp()).sum();
        rows.push(logits.iter().map(|s| (s - top).exp() / sum).collect());
    }
    rows
}

/// From which score on blocks are kept: surely, and perhaps.
struct Threshold {
    surely: f64,
    perhaps: f64,
}

/// How near a score may be to the threshold, relative to it, to be in doubt: logits as large as these means allow are rounded
/// to f32, and their errors become relative ones of probabilities.
fn nearness(q: &[Vec<f64>], k: &[Vec<f64>], scale: f64) -> f64 {
    let longest =
        |means: &[Vec<f64>]| means.iter().map(|m| m.iter().map(|x| x * x).sum::<f64>().sqrt()).fold(0.0, f64::max);
    1e-6 * (10.0 + scale.abs() * longest(q) * longest(k))
}

/// How many of a row's blocks are kept, best first, if rounding of the sums goes either way.
fn counts(budget: &Budget, head: usize, sorted: &[f64], near: f64) -> (usize, usize) {
    let of_head = |values: &[f64]| if values.len() == 1 { values[0] } else { values[head] };
    match budget {
        Budget::Sparsity(values) => {
            let n = (sorted.len() as f64 * (1.0 - of_head(values))).ceil() as usize;
            (n, n)
        }
        Budget::Mass(values) if of_head(values) == 1.0 => (sorted.len(), sorted.len()),
        Budget::Mass(values) => {
            let reaching = |mass: f64| {
                let mut sum = 0.0;
                let reached = sorted.iter().position(|score| {
                    sum += score;
                    sum >= mass
                });
                reached.map_or(sorted.len(), |last| last + 1)
            };
            (reaching(of_head(values) - near / 10.0), reaching(of_head(values) + near / 10.0))
        }
    }
}

/// The threshold for the scores of one row's blocks that have tokens. It is sharp where no other score is near it.
fn threshold(budget: &Budget, head: usize, scores: &[f64], near: f64) -> Threshold {
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let (fewest, most) = counts(budget, head, &sorted, near);
    let least = sorted[most - 1];
    if most == sorted.len() && fewest == most {
        return Threshold { surely: 0.0, perhaps: 0.0 };
    }
    let alone = least > TINY && sorted.get(most).is_none_or(|next| *next < least * (1.0 - near));
    if fewest == most && alone {
        return Threshold { surely: least, perhaps: least };
    }
    let perhaps = if least > TINY { least * (1.0 - near) } else { 0.0 };
    Threshold { surely: (sorted[fewest - 1] * (1.0 + near)).max(TINY), perhaps }
}

/// Whether the pair of a free row and a free column is kept.
fn by_score(score: f64, threshold: &Threshold) -> Option<bool> {
    if score >= threshold.surely {
        Some(true)
    } else if score < threshold.perhaps {
        Some(false)
    } else {
        None
    }
}

/// What is kept of q and k.
pub fn chosen(options: &RainFusion, q: &Tokens, k: &Tokens, queries: &Walked, keys: &Walked) -> Selection {
    let (mut keep, mut score) = (Vec::new(), Vec::new());
    for batch in 0..q.batch {
        for head in 0..q.heads {
            let key_head = head / (q.heads / k.heads);
            let [mq, mk] = [means(q, batch, head, queries), means(k, batch, key_head, keys)];
            let near = nearness(&mq, &mk, q.scale(options));
            for (row, kind) in scores(&mq, &mk, &keys.kinds, q.scale(options)).iter().zip(&queries.kinds) {
                let real: Vec<f64> =
                    row.iter().zip(&keys.kinds).filter(|(_, k)| **k != Kind::Empty).map(|(s, _)| *s).collect();
                let threshold = threshold(&options.budget, head, &real, near);
                for (s, column) in row.iter().zip(&keys.kinds) {
                    keep.push(match (kind, column) {
                        (Kind::Empty, _) | (_, Kind::Empty) => Some(false),
                        (Kind::Always, _) | (_, Kind::Always) => Some(true),
                        (Kind::Free, Kind::Free) => by_score(*s, &threshold),
                    });
                }
                score.extend_from_slice(row);
            }
        }
    }
    Selection { keep, score, columns: keys.blocks() }
}

/// Where a mask is wrong; else how many of its entries were in doubt.
pub fn mismatch(want: &Selection, got: &[bool]) -> Result<usize, String> {
    if got.len() != want.keep.len() {
        return Err(format!("the mask has {} entries, not {}", got.len(), want.keep.len()));
    }
    for (at, (want_bit, got_bit)) in want.keep.iter().zip(got).enumerate() {
        if want_bit.is_some_and(|w| w != *got_bit) {
            let (row, column) = (at / want.columns, at % want.columns);
            let mut scores = want.score[row * want.columns..][..want.columns].to_vec();
            scores.sort_by(|a, b| b.total_cmp(a));
            scores.truncate(12);
            return Err(format!(
                "mask row {row} column {column} is {got_bit}; score {}, the row's best {scores:?}",
                want.score[at]
            ));
        }
    }
    Ok(want.keep.iter().filter(|k| k.is_none()).count())
}
