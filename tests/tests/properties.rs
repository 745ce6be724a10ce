//! What must hold of orders, walks, selections and masked attention whatever the shape: laws, not numbers. The whole
//! operator's numbers are compared in `rainfusion.rs`.

use std::collections::BTreeMap;

use pantile::{Device, Mask, Module, OrderArg, Tensor};
use pantile_kernels::{Budget, Order, RainFusion, RainFusionOn, Sequence, attention_lse, module};
use pantile_tests::draw::Draw;
use pantile_tests::reference::{Case, Kind, Side, Tokens, Walked, attention, far, walk};

fn devices() -> [Device; 2] {
    [Device::cpu(), Device::interp()]
}

/// The element at each position of a shipped order.
fn table(file: &str, order: &str, args: &[(&str, usize)], extent: usize, device: &Device) -> Vec<i32> {
    let args: BTreeMap<String, i64> = args.iter().map(|(name, n)| ((*name).to_owned(), *n as i64)).collect();
    let table = module(file).and_then(|m| m.order(order, &args, extent as i64, device));
    table.unwrap_or_else(|e| panic!("{order} {args:?}: {e}")).to_vec()
}

#[test]
fn orders_visit_every_token_once() {
    for seed in 0..120 {
        let mut draw = Draw::new(seed);
        let grid = [draw.number(1..=6), draw.number(1..=19), draw.number(1..=19)];
        let device = draw.pick(&devices());
        let video: usize = grid.iter().product();
        let text = draw.pick(&[0, 0, 7, 33]);
        let mut args = vec![("F", grid[0]), ("Y", grid[1]), ("X", grid[2])];
        let plain = args.clone();
        args.extend([("text", text), ("text_last", draw.number(0..=1))]);
        let size = [("wf", draw.number(1..=4)), ("wy", draw.number(1..=9)), ("wx", draw.number(1..=9))];
        let block = ("P", draw.pick(&[8, 16, 30]));
        let apart = ("apart", draw.number(0..=grid[0]));
        let mut orders = vec![
            ("windows.tile", "windows_mindie", [&args[..], &[block]].concat(), video + text),
            ("windows.tile", "windows", [&args[..], &size, &[apart]].concat(), video + text),
            ("windows.tile", "windows_padded", [&args[..], &size, &[block]].concat(), video + text),
        ];
        let lone = ("lone_last", usize::from(grid[0].is_multiple_of(2)));
        orders.push(("windows.tile", "windows_paper", [&args[..], &[lone]].concat(), video + text));
        for name in ["raster", "zigzag", "morton", "hilbert"] {
            orders.push(("orders.tile", name, plain.clone(), video));
        }
        for (file, name, args, tokens) in orders {
            let walk = table(file, name, &args, tokens, &device);
            let mut visited: Vec<i32> = walk.iter().copied().filter(|t| *t >= 0).collect();
            visited.sort_unstable();
            assert!(visited.into_iter().eq(0..tokens as i32), "seed {seed}: {name} {args:?}");
            let padded = ["windows_mindie", "windows_padded"].contains(&name);
            assert!(padded || walk.len() == tokens, "seed {seed}: {name} {args:?} has gaps");
            assert!(walk.iter().all(|t| *t >= -1), "seed {seed}: {name} {args:?} has elements below -1");
        }
    }
}

/// The windows' walks are those that sorting tokens gives, also of grids too large to attend to here.
#[test]
fn walks_are_sorted_tokens() {
    for seed in 0..150 {
        let mut draw = Draw::new(seed);
        let grid = [draw.number(1..=6), draw.number(1..=40), draw.number(1..=40)];
        let (text, text_last) = (draw.pick(&[0, 5, 130]), draw.percent(50));
        let size = [draw.number(1..=4), draw.number(1..=12), draw.number(1..=12)];
        let block = draw.pick(&[8, 30, 128]);
        let lone_last = grid[0].is_multiple_of(2);
        let clip = [("F", grid[0]), ("Y", grid[1]), ("X", grid[2]), ("text", text), ("text_last", text_last.into())];
        let (p, lone) = (("P", block), ("lone_last", usize::from(lone_last)));
        let sized = [("wf", size[0]), ("wy", size[1]), ("wx", size[2])];
        for (name, order, more) in [
            ("windows_paper", Order::Paper, vec![lone]),
            ("windows_mindie", Order::Mindie, vec![p]),
            ("windows", Order::Windows { size, padded: false }, sized.to_vec()),
            ("windows_padded", Order::Windows { size, padded: true }, [&sized[..], &[p]].concat()),
        ] {
            let args = [&clip[..], &more].concat();
            let options = RainFusion { order, block, lone_last, ..RainFusion::new(grid) };
            let want = walk(&options, &Sequence { text, text_last, ..Sequence::new(grid) });
            let got = table("windows.tile", name, &args, grid.iter().product::<usize>() + text, &draw.pick(&devices()));
            let differs = (0..want.len().max(got.len())).find(|at| want.get(*at) != got.get(*at));
            assert_eq!(differs, None, "seed {seed}: {name} {args:?}");
        }
    }
}

const WALKS: &str = "
kernel same<T: any, P: int = 16>(x: tensor<T>[N, D]) -> (y: tensor<T>[N, D])
grid (i in N by P) { y[i, :] = x[i, :]; }

kernel same_singly<T: any>(x: tensor<T>[N, D]) -> (y: tensor<T>[N, D])
grid (n in N) { y[n, :] = x[n, :]; }

kernel places<T: any, P: int = 16>(x: tensor<T>[N, D]) -> (place: tensor<i32>[N])
grid (i in N by P) { place[i] = pos(i) as i32; }

pipeline walked<T: any, P: int = 16>(x: tensor<T>[N, D], walk: order) -> (y: tensor<T>[N, D], place: tensor<i32>[N]) {
    let w = permute(x, N via walk);
    y = unpermute(same<P = P>(w), N via walk);
    place = unpermute(places<P = P>(w), N via walk);
}

pipeline walked_singly<T: any>(x: tensor<T>[N, D], walk: order) -> (y: tensor<T>[N, D]) {
    y = unpermute(same_singly(permute(x, N via walk)), N via walk);
}

pipeline walked_twice<T: any, P: int = 16>(x: tensor<T>[N, D], outer: order, inner: order) -> (y: tensor<T>[N, D]) {
    let w = permute(permute(x, N via outer), N via inner);
    y = unpermute(unpermute(same<P = P>(w), N via inner), N via outer);
}
";

#[test]
fn a_walk_there_and_back_leaves_all_as_it_was() {
    let module = Module::from_text("walks.tile", WALKS).expect("the walks");
    for seed in 0..60 {
        let mut draw = Draw::new(seed);
        let device = draw.pick(&devices());
        let (count, dim) = (draw.number(1..=90), draw.pick(&[1, 3, 8]));
        let shape = [count, dim];
        let data = draw.noise(count * dim, 1.0);
        let x = Tensor::from_slice(&shape, &data).expect("a tensor");
        let block = draw.pick(&[1, 8, 16, 30]);
        let call = |name: &str, block: Option<i64>, walks: &[&OrderArg]| {
            let pipeline = module.pipeline(name).expect("a pipeline");
            let pipeline = block.map_or(pipeline.clone(), |p| pipeline.with("P", p)).on(&device);
            match walks {
                [walk] => pipeline.call((&x, *walk)),
                [outer, inner] => pipeline.call((&x, *outer, *inner)),
                _ => panic!("one walk or two"),
            }
            .unwrap_or_else(|e| panic!("seed {seed}: {name}: {e}"))
        };
        let same = |name: &str, y: &Tensor| assert!(y.to_f32().expect("floats") == data, "seed {seed}: {name}");
        let gaps = draw.percent(60);
        let elements = draw.walk(count, gaps);
        let walk = OrderArg::table(elements.clone()).expect("an order");
        let outputs = call("walked", Some(block), &[&walk]);
        same("walked", &outputs.tensor("y").expect("y"));
        let place = outputs.tensor("place").and_then(|t| t.to_vec::<i32>()).expect("place");
        for (token, place) in place.iter().enumerate() {
            assert_eq!(elements[*place as usize], token as i32, "seed {seed}: the place of token {token}");
        }
        // A kernel that takes elements one by one takes a copy, and is refused a walk with gaps.
        if !gaps {
            same("walked_singly", &call("walked_singly", None, &[&walk]).tensor("y").expect("y"));
        }
        let [outer, inner] = [(); 2].map(|()| OrderArg::table(draw.shuffled(count)).expect("an order"));
        same("walked_twice", &call("walked_twice", Some(block), &[&outer, &inner]).tensor("y").expect("y"));
    }
}

/// Scores with many ties, exact in f32 and in sums: each row's parts of 2²⁰, 0 where there is no token.
struct Scores {
    shape: [usize; 4],
    parts: Vec<u32>,
    queries: Vec<Kind>,
    keys: Vec<Kind>,
}

impl Scores {
    fn draw(draw: &mut Draw) -> Self {
        let shape = [draw.number(1..=2), draw.number(1..=3), draw.number(1..=40), draw.number(1..=40)];
        let [queries, keys] = [2, 3].map(|axis| {
            let all = [Kind::Free, Kind::Free, Kind::Free, Kind::Free, Kind::Always, Kind::Empty];
            (0..shape[axis]).map(|_| draw.pick(&all)).collect::<Vec<Kind>>()
        });
        let mut parts = Vec::new();
        for _ in 0..shape[0] * shape[1] * shape[2] {
            let mut row: Vec<u32> = keys
                .iter()
                .map(|k| if *k == Kind::Empty { 0 } else { draw.pick(&[1, 500, 500, 9000, 20_000]) })
                .collect();
            let rest = (1 << 20) - row.iter().sum::<u32>();
            if let Some(last) = row.iter_mut().rfind(|part| **part > 0) {
                *last += rest;
            }
            parts.extend(row);
        }
        Self { shape, parts, queries, keys }
    }

    fn tensor(&self) -> Tensor {
        let scores: Vec<f32> = self.parts.iter().map(|p| *p as f32 / (1 << 20) as f32).collect();
        Tensor::from_slice(&self.shape, &scores).expect("a tensor")
    }

    fn selected(&self, kernel: &str, budget: &[f64], device: &Device) -> Vec<bool> {
        let kinds = |kinds: &[Kind]| {
            let numbers: Vec<i32> = kinds
                .iter()
                .map(|k| match k {
                    Kind::Empty => -1,
                    Kind::Free => 0,
                    Kind::Always => 1,
                })
                .collect();
            Tensor::from_slice(&[numbers.len()], &numbers).expect("a tensor")
        };
        let budget = Tensor::from_slice(&[budget.len()], budget).expect("a tensor");
        let kernel = module("rainfusion.tile").and_then(|m| m.kernel(kernel)).expect("a kernel").on(device);
        let outputs = kernel.call((&self.tensor(), &kinds(&self.queries), &kinds(&self.keys), &budget));
        outputs.and_then(|o| o.mask("keep")).expect("a mask").to_bools()
    }

    /// Holds a mask to the rules: pairs without tokens out, always-kept ones in, of the others those that are no worse than
    /// the last of the `count` best.
    fn judge(&self, keep: &[bool], mut count: impl FnMut(usize, &[u32]) -> usize) {
        let [_, heads, rows, columns] = self.shape;
        for (row, (parts, keep)) in self.parts.chunks(columns).zip(keep.chunks(columns)).enumerate() {
            let mut best: Vec<u32> =
                parts.iter().zip(&self.keys).filter(|(_, k)| **k != Kind::Empty).map(|(p, _)| *p).collect();
            best.sort_unstable_by(|a, b| b.cmp(a));
            if best.is_empty() {
                assert!(!keep.contains(&true), "row {row} has no column with tokens");
                continue;
            }
            let n = count(row / rows % heads, &best);
            for (column, kept) in keep.iter().enumerate() {
                let want = match (self.queries[row % rows], self.keys[column]) {
                    (Kind::Empty, _) | (_, Kind::Empty) => false,
                    (Kind::Always, _) | (_, Kind::Always) => true,
                    (Kind::Free, Kind::Free) => parts[column] >= best[n - 1],
                };
                assert_eq!(*kept, want, "row {row}, column {column}: {n} of {best:?}");
            }
        }
    }
}

#[test]
fn rows_keep_as_many_as_the_budget_says() {
    for seed in 0..80 {
        let mut draw = Draw::new(seed);
        let (scores, device) = (Scores::draw(&mut draw), draw.pick(&devices()));
        let heads = scores.shape[1];
        let sparsity: Vec<f64> =
            (0..heads).map(|_| draw.pick(&[0.0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.99, 1.0 - f64::EPSILON])).collect();
        scores.judge(&scores.selected("select", &sparsity, &device), |head, best| {
            (best.len() as f64 * (1.0 - sparsity[head])).ceil() as usize
        });
    }
}

#[test]
fn rows_keep_the_fewest_that_reach_the_mass() {
    for seed in 0..80 {
        let mut draw = Draw::new(seed);
        let (scores, device) = (Scores::draw(&mut draw), draw.pick(&devices()));
        let whole = 1 << 20;
        // Half of these masses are sums of a row's best, which are reached exactly or missed by the least.
        let [_, heads, rows, columns] = scores.shape;
        let mass: Vec<u32> = (0..heads)
            .map(|head| {
                let row = head * rows + draw.number(0..=rows - 1);
                let mut best = scores.parts[row * columns..][..columns].to_vec();
                best.sort_unstable_by(|a, b| b.cmp(a));
                let few: u32 = best.iter().take(draw.number(1..=columns)).sum();
                let any = draw.number(1..=whole as usize) as u32;
                draw.pick(&[few, few + 1, any, whole]).clamp(1, whole)
            })
            .collect();
        let budget: Vec<f64> = mass.iter().map(|m| f64::from(*m) / f64::from(whole)).collect();
        scores.judge(&scores.selected("select_mass", &budget, &device), |head, best| {
            let mut sum = 0;
            let reached = best.iter().position(|part| {
                sum += part;
                sum >= mass[head]
            });
            if mass[head] == whole { best.len() } else { reached.map_or(best.len(), |last| last + 1) }
        });
    }
}

/// Token by token: a block of a walk seldom shows whether its last protected token is one.
#[test]
fn first_frames_and_text_are_always_kept() {
    for seed in 0..60 {
        let mut draw = Draw::new(seed);
        let (clip, clips, text) = (draw.number(1..=200), draw.number(1..=3), draw.number(0..=50));
        let (head, start) = (draw.number(0..=clip), draw.pick(&[0, text]));
        let video = clip * clips;
        let x = Tensor::from_slice(&[1, 1, video + text, 1], &vec![0.0f32; video + text]).expect("a tensor");
        let kernel = module("rainfusion.tile").and_then(|m| m.kernel("video_heads")).expect("a kernel");
        let args = [start, video, clip, head].map(|n| n as i32);
        let outputs = kernel.on(&draw.pick(&devices())).call((&x, args[0], args[1], args[2], args[3]));
        let always = outputs.and_then(|o| o.single()).and_then(|t| t.to_vec::<bool>()).expect("bools");
        for (token, always) in always.into_iter().enumerate() {
            let in_video = token >= start && token < start + video;
            let want = !in_video || (token - start) % clip < head;
            assert_eq!(always, want, "seed {seed}: token {token} of {args:?}");
        }
    }
}

#[test]
fn a_smaller_budget_keeps_a_part_of_a_larger_one() {
    for seed in 0..40 {
        let mut case = Case::draw(seed, 400_000);
        let by_mass = matches!(case.options.budget, Budget::Mass(_));
        let [q, k, v] = case.inputs(0);
        let mut larger: Option<Vec<bool>> = None;
        for value in if by_mass { [1.0, 0.8, 0.4, 0.05] } else { [0.0, 0.3, 0.7, 0.95] } {
            case.options.budget = if by_mass { Budget::mass(value) } else { Budget::sparsity(value) };
            let result = RainFusionOn::new(&case.options, &Device::cpu()).and_then(|o| o.call(&q, &k, &v));
            let keep = result.unwrap_or_else(|e| panic!("{case:?}: {e}")).mask.to_bools();
            if let Some(larger) = &larger {
                assert!(keep.iter().zip(larger).all(|(small, large)| !small || *large), "{value}: {case:?}");
            }
            larger = Some(keep);
        }
    }
}

#[test]
fn a_budget_of_everything_is_dense() {
    for seed in 0..40 {
        let mut case = Case::draw(seed, 400_000);
        case.options.budget = if seed % 2 == 0 { Budget::sparsity(0.0) } else { Budget::mass(1.0) };
        let [q, k, v] = case.inputs(0);
        let device = if seed % 4 < 2 { Device::cpu() } else { Device::interp() };
        let operator = RainFusionOn::new(&case.options, &device).expect("an operator");
        let sparse = operator.call(&q, &k, &v).unwrap_or_else(|e| panic!("{case:?}: {e}"));
        let dense = operator.dense(&q, &k, &v).unwrap_or_else(|e| panic!("{case:?}: {e}"));
        let walked = [Side::Queries, Side::Keys].map(|side| Walked::of(&case.options, side));
        let tokens = |side: &Walked, block: usize| side.kinds[block] != Kind::Empty;
        for (at, keep) in sparse.mask.to_bools().into_iter().enumerate() {
            let (row, column) = (at / walked[1].blocks() % walked[0].blocks(), at % walked[1].blocks());
            assert_eq!(keep, tokens(&walked[0], row) && tokens(&walked[1], column), "{row}, {column}: {case:?}");
        }
        let wide = |t: &Tensor| t.to_f32().expect("floats").into_iter().map(f64::from).collect::<Vec<f64>>();
        let limit = 2.0 * case.tolerance(Tokens::of(&v).largest());
        assert!(far(&sparse.out, &wide(&dense.out)) <= limit, "out: {case:?}");
        assert!(far(&sparse.lse, &wide(&dense.lse)) <= 2.0 * case.tolerance_lse(), "lse: {case:?}");
    }
}

/// Attention by masks of any kind, without walks: rows that keep nothing are exactly zero.
#[test]
fn rows_that_keep_nothing_are_zero() {
    for seed in 0..60 {
        let mut draw = Draw::new(seed);
        let device = draw.pick(&devices());
        let [n, m] = [(); 2].map(|()| draw.number(1..=70));
        let (batch, groups, ratio) = (draw.number(1..=2), draw.number(1..=2), draw.number(1..=2));
        let (dim, block) = (draw.pick(&[5, 32, 64]), draw.pick(&[8, 16, 32]));
        let heads = groups * ratio;
        let mut noise = |shape: &[usize]| Tensor::from_slice(shape, &draw.noise(shape.iter().product(), 1.0));
        let q = noise(&[batch, heads, n, dim]).expect("q");
        let [k, v] = [(); 2].map(|()| noise(&[batch, groups, m, dim]).expect("k or v"));
        let shape = [batch, heads, n.div_ceil(block), m.div_ceil(block)];
        let bits: Vec<bool> = (0..shape[..3].iter().product())
            .flat_map(|_| {
                let chance = draw.pick(&[0, 0, 30, 100]);
                (0..shape[3]).map(|_| draw.percent(chance)).collect::<Vec<bool>>()
            })
            .collect();
        let mask = Mask::from_bools(&shape, &bits).expect("a mask");
        let result = attention_lse((&q, &k, &v), &mask, block, 0.3, &device).expect("attention");
        let walked =
            |count: usize| Walked::new((0..count as i32).collect(), block, vec![Kind::Free; count.div_ceil(block)]);
        let [tq, tk, tv] = [&q, &k, &v].map(Tokens::of);
        let scale = f64::from(0.3f32);
        let (out, lse) = attention([&tq, &tk, &tv], (&walked(n), &walked(m)), &bits, scale);
        assert!(far(&result.out, &out) < 2e-5 && far(&result.lse, &lse) < 2e-5, "seed {seed}");
        let got = result.out.to_f32().expect("floats");
        for (row, lse) in result.lse.to_f32().expect("floats").iter().enumerate() {
            let block_row = row / n * shape[2] + row % n / block;
            let empty = mask.counts()[block_row] == 0;
            assert_eq!(*lse == f32::NEG_INFINITY, empty, "seed {seed}, row {row}");
            assert!(!empty || got[row * dim..][..dim].iter().all(|x| *x == 0.0), "seed {seed}, row {row}");
        }
    }
}

/// Keys that are all alike have scores that are all alike: no block is better than another, so all stay.
#[test]
fn ties_stay() {
    for seed in 0..20 {
        let mut case = Case::draw(seed, 400_000);
        case.options.budget = if seed % 2 == 0 { Budget::sparsity(0.95) } else { Budget::mass(0.05) };
        let [q, k, v] = case.inputs(0);
        let ones = Tensor::from_f32(k.dtype(), k.shape(), &vec![1.0; k.len()]).expect("keys");
        let result = RainFusionOn::new(&case.options, &Device::cpu()).and_then(|o| o.call(&q, &ones, &v));
        let result = result.unwrap_or_else(|e| panic!("{case:?}: {e}"));
        let walked = [Side::Queries, Side::Keys].map(|side| Walked::of(&case.options, side));
        let full = walked.map(|w| w.kinds.iter().filter(|k| **k != Kind::Empty).count());
        assert_eq!(result.mask.kept(), case.heads[0] * case.heads[1] * full[0] * full[1], "{case:?}");
    }
}

/// What is not a number is passed on: a query's to its own row, a key's to every row of the heads that see it.
#[test]
fn what_is_not_a_number_is_passed_on() {
    for seed in 0..16 {
        let case = Case::draw(seed, 400_000);
        let [q, k, v] = case.inputs(0);
        let spoilt = |x: &Tensor| {
            let mut data = x.to_f32().expect("floats");
            data[0] = f32::NAN;
            Tensor::from_f32(x.dtype(), x.shape(), &data).expect("a tensor")
        };
        let operator = RainFusionOn::new(&case.options, &Device::cpu()).expect("an operator");
        let rows = |q: &Tensor, k: &Tensor| -> Vec<bool> {
            let result = operator.call(q, k, &v).unwrap_or_else(|e| panic!("{case:?}: {e}"));
            let out = result.out.to_f32().expect("floats");
            out.chunks(case.dim).map(|row| row.iter().all(|x| x.is_nan())).collect()
        };
        let [_, heads, groups] = case.heads;
        let by_query = rows(&spoilt(&q), &k);
        assert!(by_query.iter().enumerate().all(|(row, nan)| *nan == (row == 0)), "{case:?}");
        let seen = q.shape()[2] * (heads / groups);
        let by_key = rows(&q, &spoilt(&k));
        assert!(by_key.iter().enumerate().all(|(row, nan)| *nan == (row < seen)), "{case:?}");
    }
}
