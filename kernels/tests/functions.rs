//! The typed functions: on the CPU as on the interpreter at sizes that fill no block, and as the formulas say.

#[allow(dead_code, reason = "this test needs a part of it")]
mod support;

use pantile::{DType, Device, Mask, Result, Tensor};
use pantile_kernels::{
    Budget, Order, Protection, RainFusion, attention, attention_causal, attention_dense, compare, layer_norm, matmul,
    rainfusion, rms_norm, softmax, vector_add,
};
use support::noise;

/// Both devices must agree.
fn agree(what: &str, tolerance: f64, run: impl Fn(&Device) -> Result<Tensor>) -> Tensor {
    let [cpu, interp] = [Device::cpu(), Device::interp()].map(|d| run(&d).unwrap_or_else(|e| panic!("{what}: {e}")));
    let far = compare(&cpu, &interp).expect("one shape");
    assert!(far.max < tolerance, "{what}: {far:?}");
    interp
}

#[test]
fn rows_are_normalised() {
    for (n, d) in [(1, 1), (3, 5), (4, 64), (7, 131)] {
        let (x, w, b) = (noise(1, &[n, d]), noise(2, &[d]), noise(3, &[d]));
        let y = agree("softmax", 1e-5, |on| softmax(&x, on)).to_f32().expect("f32");
        assert!(y.chunks(d).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5), "{n}×{d}");
        agree("layer_norm", 1e-4, |on| layer_norm(&x, &w, &b, 1e-5, on));
        let y = agree("rms_norm", 1e-4, |on| rms_norm(&x, &w, 0.0, on)).to_f32().expect("f32");
        let row = &x.to_f32().expect("f32")[..d];
        let rms = (row.iter().map(|v| v * v).sum::<f32>() / d as f32).sqrt();
        assert!((y[0] - row[0] / rms * w.to_f32().expect("f32")[0]).abs() < 1e-4);
    }
}

#[test]
fn sums_and_products() {
    for n in [1, 1023, 1024, 1025] {
        let (x, y) = (noise(1, &[n]), noise(2, &[n]));
        let z = agree("vector_add", 1e-7, |on| vector_add(&x, &y, on)).to_f32().expect("f32");
        assert_eq!(z[n - 1], x.to_f32().expect("f32")[n - 1] + y.to_f32().expect("f32")[n - 1]);
    }
    for (m, k, n) in [(1, 1, 1), (17, 129, 130), (128, 64, 31)] {
        let (a, b, bias) = (noise(1, &[m, k]), noise(2, &[k, n]), noise(3, &[n]));
        let c = agree("matmul", 1e-5, |on| matmul(&a, &b, &bias, false, on)).to_f32().expect("f32");
        let (a, b) = (a.to_f32().expect("f32"), b.to_f32().expect("f32"));
        let last: f32 = (0..k).map(|i| a[(m - 1) * k + i] * b[i * n + n - 1]).sum();
        assert!((c[m * n - 1] - last - bias.to_f32().expect("f32")[n - 1]).abs() < 1e-3);
    }
    let (a, b, bias) = (noise(1, &[9, 20]), noise(2, &[20, 33]), noise(3, &[33]));
    agree("gelu", 1e-5, |on| matmul(&a, &b, &bias, true, on));
}

#[test]
fn attention_agrees_with_itself() {
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let tolerance = if dtype == DType::F32 { 1e-4 } else { 2e-2 };
        let of = |seed, heads| noise(seed, &[2, heads, 150, 16]).to_dtype(dtype).expect("a tensor");
        let (q, k, v) = (of(1, 4), of(2, 2), of(3, 2));
        let dense = agree("dense", tolerance, |on| attention_dense(&q, &k, &v, 0.25, on));
        agree("causal", tolerance, |on| attention_causal(&q, &k, &v, 0.25, on));
        let all = Mask::from_bools(&[2, 4, 5, 5], &[true; 200]).expect("a mask");
        let sparse = agree("all kept", tolerance, |on| attention((&q, &k, &v), &all, 32, 0.25, on));
        assert!(compare(&sparse, &dense).expect("one shape").max < tolerance);
        let none = Mask::empty(&[2, 4, 5, 5]).expect("a mask");
        let zero = agree("none kept", 1e-9, |on| attention((&q, &k, &v), &none, 32, 0.25, on));
        assert!(zero.to_f32().expect("f32").iter().all(|x| *x == 0.0));
    }
}

/// Frames, rows, columns; text; whether the text comes last; the paper's dialect; a lone last frame.
const WALKS: &[([usize; 3], usize, bool, bool, bool)] = &[
    ([3, 11, 9], 0, false, true, false),
    ([3, 11, 9], 21, false, true, false),
    ([3, 11, 9], 21, true, true, false),
    ([4, 8, 17], 5, false, true, true),
    ([3, 11, 9], 21, false, false, false),
    ([2, 16, 8], 40, true, false, false),
    ([1, 19, 10], 7, false, false, false),
];

#[test]
fn protected_tokens_see_and_are_seen_by_all() {
    for &(grid, text, text_last, paper, lone_last) in WALKS {
        let tokens = grid.iter().product::<usize>() + text;
        let order = if paper { Order::Paper } else { Order::Mindie };
        let base = RainFusion::new(grid);
        let options =
            RainFusion { text, text_last, order, lone_last, budget: Budget::sparsity(0.9), block: 32, ..base };
        let [q, k, v] = [1, 2, 3].map(|seed| noise(seed, &[1, 2, tokens, 8]));
        let name = format!("{grid:?} + {text}");
        agree(&name, 1e-4, |on| rainfusion(&q, &k, &v, &options, on).map(|r| r.out));
        let result = rainfusion(&q, &k, &v, &options, &Device::cpu()).expect("a result");
        let order = result.order.to_vec::<i32>().expect("an order");
        let mut elements: Vec<i32> = order.iter().copied().filter(|e| *e >= 0).collect();
        elements.sort_unstable();
        assert!(elements.iter().copied().eq(0..tokens as i32), "{name}: not a permutation");
        let (blocks, keep) = (options.protection(&order), result.mask.to_bools());
        let count = blocks.len();
        assert_eq!(result.mask.shape(), [1, 2, count, count], "{name}");
        for at in 0..keep.len() {
            let (row, column) = (blocks[at / count % count], blocks[at % count]);
            let protected = row != Protection::Free || column != Protection::Free;
            assert!(keep[at] || !protected, "{name}: block {at} is protected but not kept");
        }
    }
}

#[test]
fn keeping_all_is_dense_attention() {
    let [q, k, v] = [1, 2, 3].map(|seed| noise(seed, &[1, 2, 264, 8]));
    let options = RainFusion { budget: Budget::sparsity(0.0), block: 32, ..RainFusion::new([3, 11, 8]) };
    let result = rainfusion(&q, &k, &v, &options, &Device::cpu()).expect("a result");
    let dense = attention_dense(&q, &k, &v, options.scale(8), &Device::cpu()).expect("dense");
    assert_eq!(result.kept, 1.0);
    assert!(compare(&result.out, &dense).expect("one shape").max < 1e-5);
}
