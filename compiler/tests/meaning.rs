//! What source means, by the interpreter and against plain Rust: validity at edges first of all. Optimised IR must mean
//! the same. Back ends are not run here.

use std::collections::BTreeMap;

use pantile_compiler::{Bindings, Module};
use pantile_interp::{Arg, Array, Data, Options, order_table, run};
use pantile_ir::{DType, Func};

const N: usize = 11;
const D: usize = 6;
/// What the output holds before: elements that nothing stores keep it.
const UNWRITTEN: f64 = -7.0;

/// Small whole numbers, none zero.
fn x(n: usize, d: usize) -> f64 {
    ((n * 5 + d * 3 + n * n * 2) % 13 + 1) as f64
}

fn kernel(body: &str) -> String {
    format!(
        "kernel k<P: int = 4>(x: tensor<f32>[N, D], n: i32) -> (out: tensor<f32>[N, D])
grid (i in N by P) {{
{body}
}}
kernel scattered<P: int = 4>(x: tensor<f32>[N, D], n: i32) -> (out: tensor<f32>[N, D])
grid (i in N by P via gaps()) {{
out[i, :] = x[i, :] * 100.0 + (pos(i) as f32);
}}
order gaps(p in 15) -> int {{ if p % 5 == 2 {{ -1 }} else {{ 10 - (p - (p + 2) / 5) }} }}
"
    )
}

fn evaluated(func: &Func) -> Vec<f64> {
    let extents: Vec<i64> = func
        .extents
        .iter()
        .map(|e| match e.name.as_str() {
            "N" => N as i64,
            "D" => D as i64,
            _ => e.known.expect("a literal"),
        })
        .collect();
    let input = (0..N).flat_map(|n| (0..D).map(move |d| x(n, d))).collect();
    let array = |v| Array { dtype: DType::F32, shape: vec![N, D], data: Data::Float(v) };
    let scalar = Arg::Scalar(pantile_ir::Scalar::Int(3));
    let mut args = [Arg::Tensor(array(input)), scalar, Arg::Tensor(array(vec![UNWRITTEN; N * D]))];
    let orders: Vec<Vec<i32>> = func.orders.iter().map(|o| order_table(o).expect("a table")).collect();
    if let Err(fault) = run(func, &extents, &orders, &mut args, Options { checks: true, races: true }) {
        panic!("{fault}\n{}", pantile_ir::print(func));
    }
    let Arg::Tensor(Array { data: Data::Float(v), .. }) = &args[2] else { panic!("the output is f32") };
    v.clone()
}

/// The output of one of the kernels around a body, before and after passes.
fn output(name: &str, body: &str) -> Vec<f64> {
    let loaded = Module::load("test.tile", &kernel(body), &mut |path| Err(path.to_owned()));
    let said = pantile_diag::render(&loaded.diagnostics, &loaded.sources, false);
    let module = loaded.module.unwrap_or_else(|| panic!("{said}"));
    let extents = BTreeMap::from([("N".to_owned(), N as i64), ("D".to_owned(), D as i64)]);
    let bind = Bindings { extents, ints: BTreeMap::from([("P".to_owned(), 4)]), ..Bindings::default() };
    let plain = evaluated(&module.elaborate_only(name, &bind).expect("elaborated"));
    let optimised = evaluated(&module.specialise(name, &bind).expect("specialised"));
    assert!(close(&plain, &optimised), "passes change the meaning of {body}\n{plain:?}\n{optimised:?}");
    plain
}

fn close(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-5 * a.abs().max(1.0))
}

/// The positions of the block of 4 that holds `n`.
fn block(n: usize) -> std::ops::Range<usize> {
    n / 4 * 4..(n / 4 * 4 + 4).min(N)
}

fn largest(xs: impl Iterator<Item = f64>) -> f64 {
    xs.fold(f64::NEG_INFINITY, f64::max)
}

type Expected = fn(usize, usize) -> f64;

const CASES: &[(&str, Expected)] = &[
    ("out[i, :] = x[pos(i) + 1, :];", |n, d| if n + 1 < N { x(n + 1, d) } else { UNWRITTEN }),
    ("out[pos(i) + 1, :] = x[i, :];", |n, d| if n > 0 { x(n - 1, d) } else { UNWRITTEN }),
    ("let t = iota(3); out[i, :] = sum(x[pos(i) + t - 1, :], over t);", |n, d| {
        (n.saturating_sub(1)..(n + 2).min(N)).map(|m| x(m, d)).sum()
    }),
    ("let t = iota(3); out[i, :] = max(-x[pos(i) + t - 1, :], over t);", |n, d| {
        largest((n.saturating_sub(1)..(n + 2).min(N)).map(|m| -x(m, d)))
    }),
    ("let t = iota(3); out[i, :] = mean(x[pos(i) + t - 1, :], over t);", |n, d| {
        let near = n.saturating_sub(1)..(n + 2).min(N);
        near.clone().map(|m| x(m, d)).sum::<f64>() / near.len() as f64
    }),
    ("out[i, :] = where(pos(i) + 1 < N, x[pos(i) + 1, :], 5.0);", |n, d| if n + 1 < N { x(n + 1, d) } else { 5.0 }),
    ("out[i, :] = x[i, :] - mean(x[i, :], over i);", |n, d| {
        x(n, d) - block(n).map(|m| x(m, d)).sum::<f64>() / block(n).len() as f64
    }),
    ("out[i, :] = argmax(x[i, :], over i) as f32;", |n, d| {
        let top = largest(block(n).map(|m| x(m, d)));
        block(n).find(|m| x(*m, d) == top).unwrap_or(0) as f64
    }),
    ("out[i, :] = gather(x[i, :], at argmax(x[i, :], over i), over i);", |n, d| largest(block(n).map(|m| x(m, d)))),
    ("out[i, :] = gather(x[i, :], at n + 3, over i);", |n, d| if block(n).contains(&6) { x(6, d) } else { UNWRITTEN }),
    ("let mut a = fill(0.0, over i); for m in 0..3 { a = x[pos(i) + m, 0]; } out[i, :] = a;", |n, _| {
        if n + 2 < N { x(n + 2, 0) } else { UNWRITTEN }
    }),
    ("let mut a = x[i, 0]; if n > 2 { a = x[pos(i) + 1, 0]; } out[i, :] = a;", |n, _| {
        if n + 1 < N { x(n + 1, 0) } else { UNWRITTEN }
    }),
    ("out[i, :] = (100 / (x[pos(i) + 1, :] as i32)) as f32;", |n, d| {
        if n + 1 < N { f64::from(100 / x(n + 1, d) as i32) } else { UNWRITTEN }
    }),
    ("out[i, :] = sort(x[pos(i) + 1, :], over i);", |n, d| {
        let mut xs: Vec<f64> = block(n).filter(|m| m + 1 < N).map(|m| x(m + 1, d)).collect();
        xs.sort_by(f64::total_cmp);
        xs.get(n % 4).copied().unwrap_or(UNWRITTEN)
    }),
    ("out[i, :] = cumsum(x[i, :], over i) + cummax(x[i, :], over D);", |n, d| {
        (block(n).start..=n).map(|m| x(m, d)).sum::<f64>() + largest((0..=d).map(|e| x(n, e)))
    }),
    ("out[i, :] = kth_largest(x[i, :], n, over D);", |n, _| {
        let mut xs: Vec<f64> = (0..D).map(|d| x(n, d)).collect();
        xs.sort_by(|a, b| b.total_cmp(a));
        xs[2]
    }),
    ("let s = split(x[i, :], over D, as (a by 2, b by D / 2)); let m = merge(s, over (b, a), as c);
      out[i, :] = gather(m, at pos(all D), over c) + sum(s, over (a, b));", |n, d| {
        let (b, a) = (d / 2, d % 2);
        x(n, a * 3 + b) + (0..D).map(|e| x(n, e)).sum::<f64>()
    }),
    ("let s = split(x[i, :], over D, as (a by 2, b by D / 2)); out[i, :] = merge(s - max(s, over b), over (a, b), as D);",
     |n, d| {
        let half = d / (D / 2) * (D / 2);
        x(n, d) - (half..half + D / 2).map(|e| x(n, e)).fold(f64::NEG_INFINITY, f64::max)
    }),
    ("let mut a = fill(0.0, over i); let mut c = 0;
      for j in N by 3 where index(j) != 1 { let s = dot(x[i, :], x[j, :]); a += sum(s, over j); c += 1; if c > 2 { a -= 1.0; } }
      out[i, :] = a + (c as f32);", |n, _| {
        let near = (0..N).filter(|m| m / 3 != 1);
        near.map(|m| (0..D).map(|d| x(n, d) * x(m, d)).sum::<f64>()).sum::<f64>() - 1.0 + 3.0
    }),
    ("let a = if n == 3 { x[i, :] } else { 0.0 }; let b = if n == 4 { x[i, :] } else { 2.0 }; out[i, :] = a * b;", |n, d| {
        2.0 * x(n, d)
    }),
    ("out[i, :] = x[n, :] + x[cdiv(N, P), 0] * 10.0 + (blocks(N, 5) as f32) + (len(i) as f32);", |n, d| {
        x(3, d) + 10.0 * x(3, 0) + 3.0 + block(n).len() as f64
    }),
    ("out[i, :] = softmax(x[i, :], over D) + log_sum_exp(x[i, :], over D);", |n, d| {
        let sum = (0..D).map(|e| x(n, e).exp()).sum::<f64>();
        x(n, d).exp() / sum + sum.ln()
    }),
    ("out[i, :] = outer(x[i, 0], x[0, :]) + relu(x[i, :] - 5.0) + clamp(x[i, :], 3, 7);", |n, d| {
        x(n, 0) * x(0, d) + (x(n, d) - 5.0).max(0.0) + x(n, d).clamp(3.0, 7.0)
    }),
    ("for j in N by 4 via gaps() where index(j) == index(i) { out[i, :] = min(at(j), over j) as f32 + max(pos(j), over j) as f32; }", |n, _| {
        let walk = (n / 4 * 4..(n / 4 * 4 + 4).min(15)).filter(|p| p % 5 != 2);
        let element = |p: usize| 10 - (p - (p + 2) / 5);
        (walk.clone().map(element).min().unwrap_or(0) + walk.max().unwrap_or(0)) as f64
    }),
    ("atomic out[0, 0] += sum(x[i, :], over (i, D)); ", |n, d| {
        let all = (0..N).flat_map(|n| (0..D).map(move |d| x(n, d))).sum::<f64>();
        if (n, d) == (0, 0) { UNWRITTEN + all } else { UNWRITTEN }
    }),
];

#[test]
fn source_means_what_it_says() {
    for (body, expected) in CASES {
        let found = output("k", body);
        let want: Vec<f64> = (0..N).flat_map(|n| (0..D).map(move |d| (n, d))).map(|(n, d)| expected(n, d)).collect();
        assert!(close(&found, &want), "{body}\nfound    {found:?}\nexpected {want:?}");
    }
}

#[test]
fn walks_with_gaps_visit_what_there_is() {
    let found = output("scattered", "out[i, :] = x[i, :];");
    for n in 0..N {
        // Position p of the walk is element 10 - (p less the gaps before it).
        let p = (0..15).filter(|p| p % 5 != 2).find(|p| 10 - (p - (p + 2) / 5) == n);
        for d in 0..D {
            let want = p.map_or(UNWRITTEN, |p| x(n, d) * 100.0 + p as f64);
            assert_eq!(found[n * D + d], want, "element {n}, {d}");
        }
    }
}
