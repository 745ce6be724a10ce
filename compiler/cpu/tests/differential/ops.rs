//! Each kind of op and statement in a kernel of its own, at sizes around the blocks.

use pantile_ir::{DType, Scalar};

use crate::harness::{Case, all, compare, load};

/// A kernel with many inputs and outputs around a body.
fn around(body: &str) -> String {
    let outputs = [
        ("out", "tensor<f32>[N, D]"),
        ("wide", "tensor<f32>[N, M]"),
        ("col", "tensor<f32>[N]"),
        ("nums", "tensor<i64>[N, D]"),
        ("total", "tensor<f32>[D]"),
        ("keep", "mask[N, M]"),
    ];
    let written = outputs.iter().filter(|(name, _)| body.contains(&format!("{name}[")));
    let outs: Vec<String> = written.map(|(name, ty)| format!("{name}: {ty}")).collect();
    let outs = outs.join(", ");
    format!(
        "kernel k<P: int = 8>(x: tensor<f32>[N, D], y: tensor<f32>[M, D], w: tensor<f16>[D, E], idx: tensor<i32>[N], whole: tensor<i64>[N, D],
            m: mask[N by P, M by P], s: f32, n: i32)
    -> ({outs})
grid (i in N by P) {{
{body}
}}
"
    )
}

const SIZES: &[(i64, i64, i64)] = &[(8, 8, 16), (9, 0, 4), (1, 1, 1), (7, 9, 5), (17, 15, 18), (24, 3, 33)];

fn agree(body: &str) {
    let module = load(&around(body));
    for (n, m, d) in SIZES {
        let case = Case { below: *n, ..Case::new() };
        let case = case.extents(&[("N", *n), ("M", *m), ("D", *d), ("E", 24)]);
        let case = case.scalar("n", Scalar::Int(1)).scalar("s", Scalar::Float(0.75));
        compare(&module, "k", &case);
        compare(&module, "k", &Case { spread: 2, ..case });
    }
}

#[test]
fn element_wise() {
    all(
        &[
            "out[i, :] = exp(x[i, :]) + exp2(x[i, :]) * sigmoid(x[i, :]) - tanh(x[i, :]) + erf(x[i, :]);",
            "out[i, :] = log(abs(x[i, :])) + log2(abs(x[i, :]) + 1.0) + sqrt(abs(x[i, :])) + rsqrt(abs(x[i, :]) + 0.5);",
            "out[i, :] = sin(x[i, :]) + cos(x[i, :]) + floor(x[i, :]) + ceil(x[i, :]) + round(x[i, :]) - (-x[i, :]);",
            "out[i, :] = where(x[i, :] > 0.5, min(x[i, :], s), max(x[i, :], -s)) / (x[i, :] + 3.0) % 0.7;",
            "out[i, :] = where(not (x[i, :] >= 0.5 or x[i, :] == -1.0) and x[i, :] != 0.0, 1.0, x[i, :]);",
            "nums[i, :] = whole[i, :] / 3 + whole[i, :] % 5 - (whole[i, :] * whole[i, :]) + abs(whole[i, :]) + min(whole[i, :], 4);",
            "nums[i, :] = (x[i, :] * 100.0) as int + (x[i, :] as f16 as int) + ((x[i, :] as bf16) * 3.0 as bf16) as int;",
            "out[i, :] = whole[i, :] as f32 + (whole[i, :] as u8 as f32) + (whole[i, :] as i16 as f32) + (x[i, :] as f8e4m3 as f32);",
            "col[i] = s * 2.0 + (n as f32) + (N as f32) + (index(i) as f32) + (len(i) as f32);",
            "nums[i, :] = where(pos(i) < pos(D) * 2, pos(i), pos(D) + 100);",
            "out[i, :] = random(3, pos(i) * D + pos(D));",
            "out[i, :] = w[:, 3] as f32 + fill(x[i, 0], over D);",
        ],
        agree,
    );
}

#[test]
fn reductions() {
    all(
        &[
            "let t = x[i, :]; col[i] = sum(t, over D) + max(t, over D) * min(t, over D);",
            "let t = x[i, :]; out[i, :] = t - mean(t, over i) + max(t, over i) + min(t, over i);",
            "let t = x[i, :] as f16; out[i, :] = (sum(t, over i) + mean(t, over i)) as f32; col[i] = sum(t, over D) as f32;",
            "let t = x[i, :]; out[i, :] = t * sum(t, over (i, D)) + max(t, over (i, D)); ",
            "let t = x[i, :] * 0.25; out[i, :] = t * prod(t, over D) + prod(t, over i);",
            "let t = x[i, :] > 0.3; out[i, :] = where(any(t, over D) and not all(t, over i), 1.0, 2.0); col[i] = where(any(t, over (i, D)), 1.0, 0.0);",
            "let t = x[i, :]; nums[i, :] = argmax(t, over D) * 10 + argmin(t, over D) + argmax(t, over i) * 100 + argmin(t, over i) * 1000;",
            "nums[i, :] = sum(whole[i, :], over D) + max(whole[i, :], over i) + min(whole[i, :], over D);",
            "let t = x[i, :]; out[i, :] = (t - mean(t, over D)) * rsqrt(variance(t, over D) + 0.1); col[i] = log_sum_exp(t, over D);",
            "let t = softmax(x[i, :] * s, over D); out[i, :] = t; col[i] = sum(t * t, over D);",
            "let a = sum(x[i, :] * x[i, :], over D); let b = a * 2.0; out[i, :] = x[i, :] * b; col[i] = sum(b, over i);",
        ],
        agree,
    );
}

#[test]
fn lines() {
    all(
        &[
            "let t = x[i, :]; out[i, :] = cumsum(t, over D) + cumsum(t, over i);",
            "let t = x[i, :]; out[i, :] = cummax(t, over D) - cummax(t, over i) + (cumsum(t as f16, over D) as f32);",
            "let t = x[i, :]; out[i, :] = sort(t, over D) + sort_descending(t, over i);",
            "let t = whole[i, :]; nums[i, :] = sort(t, over i) - sort_descending(t, over D) + kth_largest(t, 2, over D);",
            "let t = x[i, :]; col[i] = kth_largest(t, 3, over D); out[i, :] = t + kth_largest(t, n, over i);",
            "let t = x[i, :]; out[i, :] = gather(t, at argmax(t, over D), over D) + gather(t, at n, over D);",
            "let t = x[i, :]; let c = iota(5); out[i, :] = t + sum(gather(t, at c * 2, over D), over c);",
        ],
        agree,
    );
}

#[test]
fn reshaping() {
    all(
        &[
            "let q = split(w[:, :] as f32, over E, as (a by 4, b by E / 4)); let t = sum(q, over b); out[i, :] = x[i, :] + max(t, over a);",
            "let c = iota(24); let q = split(w[0, :] as f32, over E, as (a by 4, b by E / 4)); let e = merge(q * 2.0, over (a, b), as z); col[i] = sum(e, over z) + x[i, 0];",
            "let q = split(w[0, :] as f32, over E, as (a by 4, b by E / 4)); let k = split(w[0, :] as f32, over E, as (a by 4, b by E / 4)); col[i] = sum(dot(q, k, over b), over a);",
            "let q = split(w[:, :] as f32, over E, as (a by 4, b by E / 4)); let r = merge(q, over (a, b), as z); let u = split(r, over z, as (f by E / 4, g by 4)); out[i, :] = x[i, :] + sum(max(u, over g), over f);",
        ],
        agree,
    );
}

#[test]
fn products() {
    all(
        &[
            "for j in M by P { wide[i, j] = dot(x[i, :], y[j, :]); }",
            "for j in M by P { wide[i, j] = dot(y[j, :], x[i, :]) * s; }",
            "for j in M by P { wide[i, j] = dot(x[i, :] as f16, y[j, :] as f16); }",
            "for j in M by P { wide[i, j] = dot(x[i, :] as f64, y[j, :] as f64) as f32; }",
            "for j in M by P { wide[i, j] = dot((x[i, :] * 8.0) as i32, (y[j, :] * 8.0) as i32) as f32; }",
            "for j in M by P { wide[i, j] = (dot((x[i, :] * 8.0) as i8, (y[j, :] * 8.0) as i8) as f32); }",
            "col[i] = dot(x[i, :], y[0, :]);",
            "let t = x[i, :]; for j in M by P { let u = dot(t, y[j, :]); wide[i, j] = u; out[i, :] = dot(u, dot(u, t, over i), over j) * 0.01; }",
            "let t = x[i, :]; col[i] = dot(t, t, over (i, D)) + dot(x[0, :], y[0, :]);",
            "let mut acc = fill(0.0, over (i, D)); for j in M by P { let p = dot(x[i, :], y[j, :]); acc = acc * sum(p, over j) + dot(p, y[j, :]); } out[i, :] = acc;",
            "let mut acc = fill(0.5, over (i, D)); for j in M by P { let p = dot(x[i, :], y[j, :]); acc += dot(p, y[j, :]); acc += dot(p * 0.5, y[j, :]); } out[i, :] = acc;",
            "let mut acc = fill(0.5, over (i, D)); let first = x[i, :]; for j in M by P { let p = dot(first, y[j, :]); let old = acc; acc = acc + dot(p, y[j, :]); acc = acc + old * 0.25; } out[i, :] = acc + first;",
            "let a = x[i, :] + 1.0; for j in M by P { wide[i, j] = dot(exp2(a * 0.1), y[j, :] * 2.0) + dot(a, y[j, :]); }",
            "let q = split(w[:, :] as f32, over E, as (a by 4, b by E / 4)); let r = dot(x[i, :], q); col[i] = sum(max(r, over a), over b);",
            "let q = split(w[:, :] as f32, over E, as (a by 4, b by E / 4)); let z = split(w[:, :] as f32, over E, as (a2 by 4, b2 by E / 4)); let r = dot(q, z, over D); col[i] = x[i, 0] + sum(r, over (a, b, a2, b2)) * 0.001;",
        ],
        agree,
    );
}

#[test]
fn control() {
    all(
        &[
            "let mut a = fill(0.0, over i); for j in M by P where m[i, j] { a += sum(y[j, :], over (j, D)); } col[i] = a;",
            "let mut a = fill(0.0, over i); for j in M by P where m[i, j] and index(j) < 2 { a += sum(y[j, 0], over j); } col[i] = a;",
            "let mut a = fill(0.0, over i); for j in M by P where index(j) <= index(i) { a += max(y[j, 0], over j); } col[i] = a;",
            "let mut a = 0; let mut b = fill(0, over i); for j in M by P { a += 1; b += a; if a > 1 { a = 0; b += 3; } } nums[i, :] = b + 0 * pos(D);",
            "let mut a = x[i, :]; let mut b = a * 2.0; for t in 0..3 { let c = a; a = b; b = c; } out[i, :] = a - b;",
            "let mut a = x[i, :]; let mut b = a + 1.0; for t in 0..3 { let c = a * 0.5; a = b; b = c + b; } out[i, :] = a - b;",
            "let mut a = x[i, :]; for t in 0..n { a = a * a - x[i, :]; if t > 0 { a = a + 1.0; } else { a = a - 1.0; } } out[i, :] = a;",
            "out[i, :] = if n > 3 { x[i, :] } else { 0.0 - x[i, :] }; if n == 1 { col[i] = x[i, 0]; }",
            "let mut a = fill(0.0, over i); for h in M { for t in 0..3 where t != 1 { a += y[h, 0] * (t as f32); } } col[i] = a;",
            "let mut a = x[i, 0]; for j in M by P { let mut b = a; for t in 0..2 { b = b + sum(y[j, 0], over j); } a = b - a * 0.5; } col[i] = a;",
            "let mut old = x[i, 0]; let mut new = x[i, 0]; for j in M by P { new = old + sum(y[j, 0], over j); out[i, 0] = old; old = new * 0.5; } col[i] = new - old;",
        ],
        agree,
    );
}

#[test]
fn memory() {
    all(
        &[
            "out[i, :] = x[pos(i) + 1, :];",
            "out[i, :] = x[idx[i], :] + x[n - 1, :];",
            "let a = x[idx[i], :]; let b = gather(a, at n, over D); col[i] = b; out[i, :] = a;",
            "for h in D { nums[i, h] = whole[i, h] + h; }",
            "out[i, :] = x[i, :]; out[i, :] += x[i, :]; out[i, 0] += s;",
            "atomic total[:] += sum(x[i, :], over i); ",
            "for j in M by P { keep[i, all M] = dot(x[i, :], y[all M, :]) > s; }",
            "let c = all M; keep[i, c] = pos(i) > pos(c) or n > 5;",
            "let t = x[i, :]; out[i, :] = where(t > 0.0, x[pos(i) - 1, pos(D) + 1], t);",
            "nums[i, 0] = where(m[i, 0], 1, 2);",
            "nums[i, 0] = if m[i, 0] { 1 } else { 2 };",
        ],
        agree,
    );
}

#[test]
fn walks() {
    for (grid, body) in [
        ("i in N by 8 via shuffled(F)", "out[i, :] = x[i, :]; nums[i, 0] = pos(i) * 100 + at(i);"),
        (
            "i in N by 8 via reversed(F)",
            "out[i, :] = x[i, :] + sum(x[i, :], over i); nums[i, 0] = pos(i) * 100 + at(i) + len(i);",
        ),
        (
            "i in N by 8",
            "let mut a = fill(0.0, over (i, D)); for j in N by 8 via reversed(F) { let p = dot(x[i, :], x[j, :]); a += dot(p as f16, x[j, :] as f16); } out[i, :] = a;",
        ),
        (
            "i in N by 8 via shuffled(F)",
            "let mut a = fill(0.0, over (i, D)); for j in N by 8 via reversed(F) { let p = dot(x[i, :], x[j, :]); a += dot(p, x[j, :]); } out[i, :] = a;",
        ),
    ] {
        let nums = if body.contains("nums") { ", nums: tensor<i64>[N, 1]" } else { "" };
        let text = format!(
            "kernel k<F: int>(x: tensor<f32>[N, D]) -> (out: tensor<f32>[N, D]{nums}) grid ({grid}) {{ {body} }}
order reversed(p in F + 5, F: int) -> int {{ if p < 5 {{ -1 }} else {{ F + 4 - p }} }}
order shuffled(p in F, F: int) -> int {{ if p < F / 2 {{ p * 2 + 1 }} else {{ (p - F / 2) * 2 }} }}
"
        );
        let module = load(&text);
        for (n, d) in [(8, 8), (1, 3), (17, 5), (40, 16)] {
            let case = Case::new().extents(&[("N", n), ("D", d)]).ints(&[("F", n)]);
            compare(&module, "k", &case);
            compare(&module, "k", &Case { spread: 3, ..case });
        }
    }
}

#[test]
fn every_dtype_is_reduced_and_stored() {
    let text = "kernel k<T: number>(x: tensor<T>[N, D], y: tensor<T>[N, D]) -> (out: tensor<T>[N, D], row: tensor<T>[N], at: tensor<i64>[N])
grid (i in N by 8) {
let t = x[i, :];
let u = max(t, y[i, :]) - min(t, y[i, :]);
out[i, :] = where(t > y[i, :], t + u, t * y[i, :]) + max(t, over i) + sum(t, over i);
row[i] = sum(t, over D) + max(u, over D) + kth_largest(t, 2, over D) + min(t, over D);
at[i] = argmax(t, over D);
}";
    let module = load(text);
    for dtype in DType::ALL.iter().copied().filter(|d| *d != DType::Bool) {
        for (n, d) in [(8, 16), (3, 5), (1, 1), (13, 34)] {
            let case = Case { below: 5, ..Case::new() }.dtype(dtype).extents(&[("N", n), ("D", d)]);
            compare(&module, "k", &case);
            compare(&module, "k", &Case { spread: 2, ..case });
        }
    }
}

#[test]
fn faults_stop_both() {
    all(
        &[
            "nums[i, 0] = whole[n * 1000, 0];",
            "nums[i, :] = whole[i, :] / (whole[i, :] - whole[i, :]);",
            "nums[i, 0] = 3 / (n as int - 1);",
            "assert(x[i, :] > 100.0, \"all large\");",
            "for j in M by P where m[i, index(i) + 1000] { col[i] = 1.0; }",
        ],
        agree,
    );
}

#[test]
fn shared_expressions_cost_no_time() {
    // Each value is used twice: whoever walks this as a tree never ends.
    let steps: Vec<String> = (1..60).map(|n| format!("let a{n} = a{} + a{} * 0.5;", n - 1, n - 1)).collect();
    agree(&format!("let a0 = x[i, :] * 0.001; {} out[i, :] = a59 * 1e-9;", steps.join(" ")));
}

/// With 64 and 128 heads of 16 the rows of `a` lie 4096 and 8192 bytes apart, which crowds the cache; with 65 they do not.
#[test]
fn products_of_rows_far_apart() {
    let module = load(
        "kernel heads<P: int = 16>(a: tensor<f32>[M, H, K], b: tensor<f32>[K, N]) -> (c: tensor<f32>[H, M, N])
        grid (i in M by P, h in H) { c[h, i, :] = dot(a[i, h, :], b[:, :]); }",
    );
    for (h, k) in [(64, 16), (65, 16), (128, 16), (1024, 5)] {
        let case = Case::new().extents(&[("M", 19), ("H", h), ("K", k), ("N", 20)]);
        compare(&module, "heads", &case);
    }
}
