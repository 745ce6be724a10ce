//! Attention under element masks against the definition: all pairs, those that the mask rules out left aside. On every
//! device, at sizes around blocks, with more and fewer keys than queries. Not about speed.

#[allow(dead_code, reason = "this test needs a part of it")]
mod support;

use pantile::{Device, Mask, Result, Tensor};
use pantile_kernels::{attention_causal, attention_documents, attention_window, module};
use support::{far, noise};

const D: usize = 16;
const SCALE: f32 = 0.25;

/// One head of softmax attention over the pairs of which `keep` holds; nothing kept gives zeros.
fn reference(q: &Tensor, k: &Tensor, v: &Tensor, keep: impl Fn(usize, usize) -> bool) -> Vec<f64> {
    let (n, m) = (q.shape()[2], k.shape()[2]);
    let rows = |t: &Tensor| t.to_f32().expect("f32").iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
    let (q, k, v) = (rows(q), rows(k), rows(v));
    let row = |x: &[f64], i: usize| x[i * D..(i + 1) * D].to_vec();
    let mut out = Vec::with_capacity(n * D);
    for i in 0..n {
        let score = |j: usize| row(&q, i).iter().zip(row(&k, j)).map(|(a, b)| a * b).sum::<f64>() * f64::from(SCALE);
        let kept: Vec<(usize, f64)> = (0..m).filter(|j| keep(i, *j)).map(|j| (j, score(j).exp())).collect();
        let sum: f64 = kept.iter().map(|(_, p)| p).sum();
        let mean = |d: usize| kept.iter().map(|(j, p)| p * v[j * D + d]).sum::<f64>() / sum;
        out.extend((0..D).map(|d| if kept.is_empty() { 0.0 } else { mean(d) }));
    }
    out
}

fn agree(what: &str, expected: &[f64], compute: impl Fn(&Device) -> Result<Tensor>) {
    for device in [Device::cpu(), Device::interp()] {
        let got = compute(&device).unwrap_or_else(|e| panic!("{what}: {e}"));
        let worst = far(&got, expected);
        assert!(worst < 1e-5, "{what}: off by {worst}");
    }
}

#[test]
fn masks_are_what_they_say() {
    for (n, m) in [(1, 1), (127, 127), (128, 128), (129, 300), (300, 129), (257, 1), (1, 257), (400, 400)] {
        let [q, k, v] = [(1, n), (2, m), (3, m)].map(|(seed, len)| noise(seed, &[1, 1, len, D]));
        let back = |i: usize, j: usize| i as i64 + m as i64 - n as i64 - j as i64;
        let causal = reference(&q, &k, &v, |i, j| back(i, j) >= 0);
        agree(&format!("causal {n} {m}"), &causal, |on| attention_causal(&q, &k, &v, SCALE, on));
        for window in [1, 7, 128, 200] {
            let expected = reference(&q, &k, &v, |i, j| (0..window).contains(&back(i, j)));
            let what = format!("window {window} of {n} {m}");
            agree(&what, &expected, |on| attention_window((&q, &k, &v), window as i32, SCALE, on));
        }
        // Lying together, and mixed.
        for numbers in [|i: usize| (i / 90) as i32, |i: usize| (i * 7 % 3) as i32] {
            let of = |len: usize| (0..len).map(numbers).collect::<Vec<i32>>();
            let expected = reference(&q, &k, &v, |i, j| numbers(i) == numbers(j));
            let documents = [n, m].map(|len| Tensor::from_slice(&[1, len], &of(len)).expect("a tensor"));
            let call = |on: &Device| attention_documents((&q, &k, &v), (&documents[0], &documents[1]), SCALE, on);
            agree(&format!("documents of {n} {m}"), &expected, call);
        }
        let (rows, columns) = (n.div_ceil(128), m.div_ceil(128));
        let bits: Vec<bool> = (0..rows * columns).map(|b| b % 3 != 1).collect();
        let keep = Mask::from_bools(&[1, 1, rows, columns], &bits).expect("a mask");
        let kept = |i: usize, j: usize| bits[i / 128 * columns + j / 128] && back(i, j) >= 0;
        let expected = reference(&q, &k, &v, kept);
        agree(&format!("causal blocks of {n} {m}"), &expected, |on| {
            let kernel = module("masked.tile")?.kernel("attention_causal_blocks")?.on(on);
            kernel.call((&q, &k, &v, &keep, SCALE))?.tensor("out")
        });
    }
}

/// A loop over a mask's row has as many rounds as the row keeps blocks: each round adds what it was to a sum.
#[test]
fn a_row_is_visited_as_often_as_it_keeps() {
    let text = "
kernel rounds<P: int = 16>(keep: mask[N by P, M by P], x: tensor<f32>[N], y: tensor<f32>[M])
    -> (count: tensor<i64>[N by P], tokens: tensor<f32>[N])
grid (i in N by P) {
    let mut rounds = 0;
    let mut sum = x[i];
    for j in M by P where keep[i, j] {
        rounds += 1;
        sum += sum(y[j], over j);
    }
    count[index(i)] = rounds;
    tokens[i] = sum;
}
";
    let module = pantile::Module::from_text("rounds.tile", text).expect("a module");
    let (n, m) = (100, 150);
    let (rows, columns): (usize, usize) = (7, 10);
    let bits: Vec<bool> = (0..rows * columns).map(|b| b % 7 < b / columns).collect();
    let keep = Mask::from_bools(&[rows, columns], &bits).expect("a mask");
    let (x, y) = (noise(1, &[n]), Tensor::from_slice(&[m], &vec![1.0f32; m]).expect("a tensor"));
    for device in [Device::cpu(), Device::interp()] {
        let out = module.kernel("rounds").expect("a kernel").on(&device).call((&keep, &x, &y)).expect("a launch");
        let counts = out.tensor("count").and_then(|t| t.to_vec::<i64>()).expect("counts");
        assert!(counts.iter().zip(keep.counts()).all(|(a, b)| *a == i64::from(*b)), "{counts:?}");
        let sums = out.tensor("tokens").and_then(|t| t.to_f32()).expect("sums");
        let first =
            (0..columns).filter(|c| bits[6 * columns + c]).map(|c| if c == 9 { 6.0 } else { 16.0 }).sum::<f32>();
        assert!((sums[96] - x.to_f32().expect("f32")[96] - first).abs() < 1e-3, "{}", sums[96]);
    }
}
