//! RainFusion2.0's options, one by one and together: what is kept is recomputed from the scores' definition, the output and
//! its log-sum-exp from the mask. Whether both devices agree is checked too; the authors' own numbers are tested elsewhere.

mod support;

use pantile::{Device, Mask, Tensor};
use pantile_kernels::{Budget, Order, Protection, RainFusion, RainFusionOn, RainFusionOutput, Sequence};
use support::{Qkv, far, noise};

/// Attention over the pairs of tokens whose blocks are kept, by its definition, in f64: outputs and log-sum-exps.
fn by_definition(qkv: &Qkv, result: &RainFusionOutput, block: usize, scale: f64) -> (Vec<f64>, Vec<f64>) {
    let [b, h, n, d] = qkv.q.shape()[..] else { panic!("four axes") };
    let (g, m) = (qkv.k.shape()[1], qkv.k.shape()[2]);
    let [q, k, v] = [&qkv.q, &qkv.k, &qkv.v].map(|t| t.to_f32().expect("numbers"));
    let place = |order: &Tensor, n: usize| {
        let mut place = vec![usize::MAX; n];
        for (p, t) in order.to_vec::<i32>().expect("an order").iter().enumerate() {
            if *t >= 0 {
                place[*t as usize] = p / block;
            }
        }
        place
    };
    let (rows, columns) = (place(&result.order, n), place(&result.key_order, m));
    let (nq, nk) = (result.mask.shape()[2], result.mask.shape()[3]);
    let keep = result.mask.to_bools();
    let (mut out, mut lse) = (vec![0.0; b * h * n * d], vec![f64::NEG_INFINITY; b * h * n]);
    for row in 0..b * h * n {
        let (head, t) = (row / n, row % n);
        let base = (head / h * g + head % h / (h / g)) * m;
        let kept: Vec<usize> = (0..m).filter(|j| keep[(head * nq + rows[t]) * nk + columns[*j]]).collect();
        let logit = |j: &usize| {
            (0..d).map(|c| f64::from(q[row * d + c]) * f64::from(k[(base + j) * d + c])).sum::<f64>() * scale
        };
        let logits: Vec<f64> = kept.iter().map(logit).collect();
        let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = logits.iter().map(|s| (s - top).exp()).sum();
        if !kept.is_empty() {
            lse[row] = top + total.ln();
        }
        for (j, s) in kept.iter().zip(&logits) {
            for c in 0..d {
                out[row * d + c] += (s - top).exp() / total * f64::from(v[(base + j) * d + c]);
            }
        }
    }
    (out, lse)
}

/// Runs the options on both devices and holds the results to their definition.
fn run(name: &str, options: &RainFusion, qkv: &Qkv) -> RainFusionOutput {
    let on = |device: &Device| {
        let operator = RainFusionOn::new(options, device).unwrap_or_else(|e| panic!("{name}: {e}"));
        operator.call(&qkv.q, &qkv.k, &qkv.v).unwrap_or_else(|e| panic!("{name}: {e}"))
    };
    let (cpu, interp) = (on(&Device::cpu()), on(&Device::interp()));
    assert_eq!(cpu.order.to_vec::<i32>().expect("i32"), interp.order.to_vec::<i32>().expect("i32"), "{name}");
    assert!(cpu.mask.to_bools() == interp.mask.to_bools(), "{name}: masks differ");
    let scale = f64::from(options.scale(qkv.q.shape()[3]));
    let (out, lse) = by_definition(qkv, &cpu, options.block, scale);
    for (device, result) in [("cpu", &cpu), ("interp", &interp)] {
        assert!(far(&result.out, &out) < 2e-5, "{name} on {device}: out is off by {}", far(&result.out, &out));
        assert!(far(&result.lse, &lse) < 2e-5, "{name} on {device}: lse is off by {}", far(&result.lse, &lse));
    }
    for (order, tokens) in [(&cpu.order, options.query_tokens()), (&cpu.key_order, options.key_tokens())] {
        let mut walked: Vec<i32> = order.to_vec::<i32>().expect("i32").into_iter().filter(|t| *t >= 0).collect();
        walked.sort_unstable();
        assert!(walked.into_iter().eq(0..tokens.tokens().expect("few") as i32), "{name}: not every token once");
    }
    protected_pairs_are_kept(name, options, &cpu);
    cpu
}

fn protected_pairs_are_kept(name: &str, options: &RainFusion, result: &RainFusionOutput) {
    let [rows, columns] = [
        options.protection(&result.order.to_vec::<i32>().expect("i32")),
        options.key_protection(&result.key_order.to_vec::<i32>().expect("i32")),
    ];
    assert_eq!(result.mask.shape()[2..], [rows.len(), columns.len()], "{name}");
    let empty = |order: &Tensor| -> Vec<bool> {
        let order = order.to_vec::<i32>().expect("i32");
        order.chunks(options.block).map(|b| b.iter().all(|t| *t < 0)).collect()
    };
    let (no_rows, no_columns) = (empty(&result.order), empty(&result.key_order));
    for (at, keep) in result.mask.to_bools().into_iter().enumerate() {
        let (r, c) = (at / columns.len() % rows.len(), at % columns.len());
        if no_rows[r] || no_columns[c] {
            assert!(!keep, "{name}: a block without tokens is kept at {r}, {c}");
        } else if rows[r] != Protection::Free || columns[c] != Protection::Free {
            assert!(keep, "{name}: a protected pair {r}, {c} is not kept");
        }
    }
}

/// Every order, with text before, after and without, on a ragged grid, by number and by mass.
#[test]
fn every_order_keeps_what_is_protected_and_is_exact() {
    let grid = [3, 9, 11];
    let orders = [
        Order::Paper,
        Order::Mindie,
        Order::Raster,
        Order::Zigzag,
        Order::Morton,
        Order::Hilbert,
        Order::Windows { size: [2, 4, 4], padded: false },
        Order::Windows { size: [2, 4, 4], padded: true },
        Order::Windows { size: [3, 5, 2], padded: true },
        Order::Windows { size: [4, 16, 16], padded: false },
    ];
    for (n, order) in orders.into_iter().enumerate() {
        for (text, text_last) in [(0, false), (21, false), (21, true)] {
            for budget in [Budget::sparsity(0.9), Budget::mass(0.3)] {
                let name = format!("{order}, {text} text tokens {text_last}, {budget}");
                let options =
                    RainFusion { text, text_last, order: order.clone(), budget, block: 32, ..RainFusion::new(grid) };
                let result = run(&name, &options, &Qkv::new(n as u64, [1, 2, 1], 297 + text, 297 + text, 16));
                let blocks = options.protection(&result.order.to_vec::<i32>().expect("i32"));
                let free = blocks.iter().filter(|b| **b == Protection::Free).count();
                assert!(2 * free < blocks.len() || result.kept < 1.0, "{name}: everything is kept");
            }
        }
    }
}

#[test]
fn heads_of_any_size_batches_and_groups() {
    for d in [5, 32, 48, 64, 96, 128, 192, 256] {
        let options = RainFusion { block: 64, ..RainFusion::new([3, 8, 9]) };
        run(&format!("D {d}"), &options, &Qkv::new(d as u64, [2, 4, 2], 216, 216, d));
    }
}

#[test]
fn queries_and_keys_differ_in_length_and_grid() {
    let keys = Sequence { text: 13, text_last: true, ..Sequence::new([5, 6, 7]) };
    for order in [Order::Paper, Order::Mindie, Order::Windows { size: [1, 4, 4], padded: true }] {
        let options = RainFusion {
            keys: Some(keys.clone()),
            text: 9,
            order: order.clone(),
            block: 16,
            budget: Budget::sparsity(0.7),
            ..RainFusion::new([3, 9, 8])
        };
        let result = run(&format!("{order}"), &options, &Qkv::new(3, [1, 4, 2], 225, 223, 8));
        assert_ne!(result.order.shape(), result.key_order.shape());
    }
}

/// A walk that no shipped order has, with positions that have no token in its midst.
#[test]
fn a_table_is_an_order() {
    let table: Vec<i32> = (0..40).map(|p| if p % 5 == 3 { -1 } else { 31 - p / 5 * 4 - p % 5 + p % 5 / 4 }).collect();
    let of = |table: &[i32]| RainFusion { order: Order::Table(table.into()), block: 8, ..RainFusion::new([2, 4, 4]) };
    let qkv = Qkv::new(2, [1, 2, 1], 32, 32, 8);
    let result = run("table", &of(&table), &qkv);
    assert_eq!(result.order.to_vec::<i32>().expect("i32"), table);
    let said = |table: &[i32]| of(table).check(&qkv.q, &qkv.k, &qkv.v).expect_err("refused").to_string();
    assert!(said(&table[..39]).contains("does not hold token 0"));
    assert!(said(&[table.as_slice(), &[0]].concat()).contains("holds token 0 twice"));
    assert!(said(&[table.as_slice(), &[32]].concat()).contains("holds 32, but tokens are 0 to 31"));
    assert!(said(&[table.as_slice(), &[-2]].concat()).contains("holds -2"));
}

/// A first frame by itself fills as few blocks as it can.
#[test]
fn a_first_frame_apart_protects_less() {
    let windows = |padded| Order::Windows { size: [2, 4, 4], padded };
    for order in [windows(false), windows(true), Order::Hilbert, Order::Morton] {
        for (further, text) in [(vec![], 0), (vec![[4, 5, 6], [1, 7, 3]], 9)] {
            let tokens = 5 * 8 * 9 + if further.is_empty() { 0 } else { 120 + 21 + 9 };
            let mixed = RainFusion { order: order.clone(), further, text, block: 32, ..RainFusion::new([5, 8, 9]) };
            let apart = RainFusion { first_apart: true, ..mixed.clone() };
            let qkv = Qkv::new(11, [1, 2, 1], tokens, tokens, 8);
            let protected = |options: &RainFusion| {
                let result = run(&format!("{order} + {text}"), options, &qkv);
                let order = result.order.to_vec::<i32>().expect("i32");
                options.protection(&order).iter().filter(|p| **p == Protection::Frame).count()
            };
            let (mixed, apart) = (protected(&mixed), protected(&apart));
            // 72 tokens fill 3 blocks, 30 one; each may begin inside a block.
            let most = if text > 0 { 4 + 2 } else { 3 + 1 };
            assert!(apart < mixed && apart <= most, "{order}: {apart} of at most {most}, mixed {mixed}");
        }
    }
}

#[test]
fn several_videos_in_a_sequence() {
    for order in [Order::Paper, Order::Mindie, Order::Hilbert, Order::Windows { size: [2, 3, 3], padded: true }] {
        for (text, text_last) in [(0, false), (19, false), (19, true)] {
            let options = RainFusion {
                further: vec![[3, 6, 5], [1, 5, 7]],
                text,
                text_last,
                order: order.clone(),
                block: 16,
                budget: Budget::sparsity(0.8),
                ..RainFusion::new([3, 6, 5])
            };
            let result =
                run(&format!("{order} + {text}"), &options, &Qkv::new(4, [1, 2, 2], 215 + text, 215 + text, 8));
            let first = options.protection(&result.order.to_vec::<i32>().expect("i32"));
            assert!(first.contains(&Protection::Frame) && first.contains(&Protection::Free));
        }
    }
}

/// The budget of each row, from the scores by definition; sparsities differ by head.
#[test]
fn rows_keep_their_heads_budget() {
    let qkv = Qkv::new(9, [1, 3, 3], 240, 240, 16);
    let options = |budget| RainFusion { sink: Some(false), budget, block: 8, ..RainFusion::new([3, 8, 10]) };
    let sparsities = [0.0, 0.7, 0.95];
    let result = run("sparsity by head", &options(Budget::Sparsity(sparsities.to_vec())), &qkv);
    let n = result.mask.columns();
    for (row, count) in result.mask.counts().iter().enumerate() {
        let want = (n as f64 * (1.0 - sparsities[row / n])).ceil() as i32;
        assert_eq!(*count, want, "row {row}");
    }
    let masses = [0.2, 0.6, 1.0];
    let result = run("mass by head", &options(Budget::Mass(masses.to_vec())), &qkv);
    let scores = scores(&qkv, &result.order, 8, 0.25);
    for (row, scores) in scores.iter().enumerate() {
        let kept: Vec<f64> = result.mask.row(row).iter().map(|c| scores[*c as usize]).collect();
        let (sum, least) = (kept.iter().sum::<f64>(), kept.iter().copied().fold(f64::INFINITY, f64::min));
        let tau = masses[row / n];
        assert!(sum >= tau - 1e-6, "row {row}: {sum} does not reach {tau}");
        assert!(
            tau == 1.0 && kept.len() == n || sum - least < tau + 1e-6,
            "row {row}: {sum} without {least} reaches {tau}"
        );
        let best = scores.iter().filter(|s| **s > least + 1e-7).count();
        assert!(best < kept.len(), "row {row}: a better block than {least} is not kept");
    }
}

/// Probabilities of key blocks by definition, a row for each head and query block; as many key heads as heads.
fn scores(qkv: &Qkv, order: &Tensor, block: usize, scale: f64) -> Vec<Vec<f64>> {
    let [_, h, n, d] = qkv.q.shape()[..] else { panic!("four axes") };
    let order = order.to_vec::<i32>().expect("i32");
    let means = |x: &Tensor, head: usize| -> Vec<Vec<f64>> {
        let x = x.to_f32().expect("f32");
        let at = |t: i32, c: usize| f64::from(x[(head * n + t as usize) * d + c]);
        let mean = |b: &[i32]| (0..d).map(|c| b.iter().map(|t| at(*t, c)).sum::<f64>() / b.len() as f64).collect();
        order.chunks(block).map(mean).collect()
    };
    let mut all = Vec::new();
    for head in 0..h {
        let keys = means(&qkv.k, head);
        for q in means(&qkv.q, head) {
            let logits = keys.iter().map(|k| q.iter().zip(k).map(|(a, b)| a * b).sum::<f64>() * scale);
            let weights: Vec<f64> = logits.map(f64::exp).collect();
            let total: f64 = weights.iter().sum();
            all.push(weights.iter().map(|w| w / total).collect());
        }
    }
    all
}

#[test]
fn equal_scores_stay_together() {
    let same = Tensor::from_slice(&[1, 1, 192, 8], &[0.5f32; 1536]).expect("a tensor");
    for budget in [Budget::sparsity(0.9), Budget::mass(0.1)] {
        let options = RainFusion { sink: Some(false), block: 32, budget, ..RainFusion::new([3, 8, 8]) };
        let result =
            RainFusionOn::new(&options, &Device::cpu()).and_then(|o| o.call(&same, &same, &same)).expect("one");
        assert_eq!(result.kept, 1.0, "all tie with the last kept");
    }
}

#[test]
fn a_mask_serves_again() {
    let options = RainFusion { text: 5, block: 32, order: Order::Mindie, ..RainFusion::new([3, 9, 8]) };
    let (first, second) = (Qkv::new(1, [2, 4, 2], 221, 221, 16), Qkv::new(2, [2, 4, 2], 221, 221, 16));
    for device in [Device::cpu(), Device::interp()] {
        let operator = RainFusionOn::new(&options, &device).expect("an operator");
        let made = operator.call(&first.q, &first.k, &first.v).expect("a result");
        let again = operator.call_masked(&first.q, &first.k, &first.v, &made.mask).expect("a result");
        assert_eq!(again.out.to_bytes().expect("bytes"), made.out.to_bytes().expect("bytes"));
        assert!(again.stages.iter().all(|s| ["order", "attention"].contains(&s.name)), "{:?}", again.stages);
        let later = operator.call_masked(&second.q, &second.k, &second.v, &made.mask).expect("a result");
        let (out, lse) = by_definition(&second, &later, 32, 0.25);
        assert!(far(&later.out, &out) < 2e-5 && far(&later.lse, &lse) < 2e-5);
        let wrong = Mask::empty(&[2, 4, 7, 7]).expect("a mask");
        let error = operator.call_masked(&first.q, &first.k, &first.v, &wrong).expect_err("too small").to_string();
        assert!(error.contains("`mask`") && error.contains("[2, 4, 8, 8]"), "{error}");
    }
}

/// Heads or tokens first: views of one memory give equal bits.
#[test]
fn layouts_are_strides() {
    let options = RainFusion { block: 32, ..RainFusion::new([3, 9, 8]) };
    let qkv = Qkv::new(5, [2, 4, 2], 216, 216, 16);
    let tokens_first = |t: &Tensor| {
        let lying = t.permute(&[0, 2, 1, 3]).and_then(|t| t.copy()).expect("a copy");
        lying.permute(&[0, 2, 1, 3]).expect("a view")
    };
    let [q, k, v] = [&qkv.q, &qkv.k, &qkv.v].map(tokens_first);
    assert_ne!(q.strides(), qkv.q.strides());
    let operator = RainFusionOn::new(&options, &Device::cpu()).expect("an operator");
    let plain = operator.call(&qkv.q, &qkv.k, &qkv.v).expect("a result");
    let viewed = operator.call(&q, &k, &v).expect("a result");
    assert_eq!(plain.out.to_vec::<f32>().expect("f32"), viewed.out.to_vec::<f32>().expect("f32"));
    assert!(viewed.stages.iter().all(|s| s.name != "copy"), "{:?}", viewed.stages);
}

#[test]
fn an_image_has_no_sink_unless_asked() {
    let qkv = Qkv::new(6, [1, 1, 1], 272, 272, 8);
    let options = RainFusion { text: 16, block: 16, ..RainFusion::new([1, 16, 16]) };
    assert!(!options.sink());
    assert!(run("image", &options, &qkv).kept < 0.5);
    assert_eq!(run("image with sink", &RainFusion { sink: Some(true), ..options }, &qkv).kept, 1.0);
}

/// What is not a number is seen, not skipped.
#[test]
fn what_is_not_a_number_is_passed_on() {
    let options = RainFusion { block: 32, budget: Budget::sparsity(0.9), ..RainFusion::new([3, 8, 8]) };
    let bad = |x: f32| {
        let mut data = noise(7, &[1, 1, 192, 8]).to_f32().expect("f32");
        data[100 * 8] = x;
        Tensor::from_slice(&[1, 1, 192, 8], &data).expect("a tensor")
    };
    let good = noise(8, &[1, 1, 192, 8]);
    for device in [Device::cpu(), Device::interp()] {
        let operator = RainFusionOn::new(&options, &device).expect("an operator");
        let rows = |result: RainFusionOutput| -> Vec<bool> {
            result.out.to_f32().expect("f32").chunks(8).map(|row| row.iter().any(|x| x.is_nan())).collect()
        };
        let one = rows(operator.call(&bad(f32::NAN), &good, &good).expect("a result"));
        assert!(one[100] && one.iter().filter(|nan| **nan).count() == 1, "only its own row");
        assert!(rows(operator.call(&good, &bad(f32::NAN), &good).expect("a result")).iter().all(|nan| *nan));
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let qkv = Qkv::new(1, [1, 4, 2], 192, 192, 8);
    let good = RainFusion::new([3, 8, 8]);
    let said = |options: RainFusion| {
        let result = RainFusionOn::new(&options, &Device::cpu()).and_then(|o| o.call(&qkv.q, &qkv.k, &qkv.v));
        result.expect_err("it does not fit").to_string()
    };
    let windows = |size| Order::Windows { size, padded: true };
    let keys = Sequence { clips: vec![], text: 192, text_last: false };
    for (options, words) in [
        (RainFusion { budget: Budget::sparsity(1.0), ..good.clone() }, ["`sparsity`", "[0, 1)"]),
        (RainFusion { budget: Budget::sparsity(f64::NAN), ..good.clone() }, ["`sparsity`", "[0, 1)"]),
        (RainFusion { budget: Budget::mass(0.0), ..good.clone() }, ["`mass`", "(0, 1]"]),
        (RainFusion { budget: Budget::Mass(vec![0.5; 3]), ..good.clone() }, ["`mass`", "4 heads"]),
        (RainFusion { budget: Budget::Sparsity(vec![]), ..good.clone() }, ["`sparsity`", "0 numbers"]),
        (RainFusion { order: windows([0, 8, 8]), ..good.clone() }, ["`order`", "0×8×8"]),
        (RainFusion { order: windows([usize::MAX, 8, 8]), ..good.clone() }, ["`order`", "4096"]),
        (RainFusion { further: vec![[1, 0, 3]], ..good.clone() }, ["`grid`", "zero"]),
        (RainFusion { further: vec![[1, 2, 3]], ..good.clone() }, ["`grid`", "198 tokens"]),
        (RainFusion { grid: [2, 8, 12], ..good.clone() }, ["`grid`", "even"]),
        (RainFusion { grid: [usize::MAX, 8, 8], ..good.clone() }, ["`grid`", "2^31"]),
        (RainFusion { keys: Some(keys), ..good.clone() }, ["`keys`", "at least one"]),
        (RainFusion { keys: Some(Sequence::new([3, 8, 8])), compat: true, ..good.clone() }, ["`compat`", "one video"]),
        (RainFusion { keys: Some(Sequence::new([3, 8, 9])), ..good.clone() }, ["`keys`", "216"]),
        (RainFusion { block: 7, ..good.clone() }, ["`block`", "8..=1024"]),
        (RainFusion { scale: Some(f32::NAN), ..good }, ["`scale`", "finite"]),
    ] {
        let error = said(options);
        assert!(words.iter().all(|word| error.contains(word)), "{words:?}: {error}");
    }
}

/// Logits so far apart that most probabilities are 0 in f32: the budget is kept all the same.
#[test]
fn a_budget_holds_however_far_scores_lie_apart() {
    let qkv = Qkv { q: noise(31, &[1, 2, 256, 16]), k: noise(32, &[1, 2, 256, 16]), v: noise(33, &[1, 2, 256, 16]) };
    let far_apart = |t: &Tensor| {
        let values: Vec<f32> = t.to_f32().expect("f32").iter().map(|x| x * 60.0).collect();
        Tensor::from_slice(t.shape(), &values).expect("a tensor")
    };
    let (q, k) = (far_apart(&qkv.q), far_apart(&qkv.k));
    for (sparsity, kept) in [(0.5, 8), (0.8, 4)] {
        let options = RainFusion {
            order: Order::Raster,
            block: 16,
            sink: Some(false),
            budget: Budget::sparsity(sparsity),
            ..RainFusion::new([4, 8, 8])
        };
        let operator = RainFusionOn::new(&options, &Device::cpu()).expect("options");
        let mask = operator.call(&q, &k, &qkv.v).expect("a call").mask;
        assert!(mask.counts().iter().all(|n| *n == kept), "{sparsity}: {:?}", mask.counts());
    }
}
