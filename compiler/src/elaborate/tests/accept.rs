//! Code that is right: it becomes IR that verifies, and nothing is said.

use pantile_ir::{DType, Func, Inst, Op, Order, Region, StoreMode, print};

use super::{Source, bound, checked, dtypes, kernel};
use crate::Bindings;

const FILES: &[(&str, &str)] = &[
    ("attention", include_str!("../../../../kernels/attention.tile")),
    ("elementwise", include_str!("../../../../kernels/elementwise.tile")),
    ("matmul", include_str!("../../../../kernels/matmul.tile")),
    ("norm", include_str!("../../../../kernels/norm.tile")),
    ("rainfusion", include_str!("../../../../kernels/rainfusion.tile")),
];

#[test]
fn shipped_kernels_elaborate_for_every_float() {
    for (name, text) in FILES {
        let mut source = Source::new(text);
        let mut diags = std::mem::take(&mut source.diags);
        assert!(diags.is_empty(), "{name}: {}", source.rendered(&diags));
        for dtype in DType::ALL.iter().filter(|d| d.is_float()) {
            for item in source.kernels() {
                let bind = bound(item, &dtypes(&[("T", *dtype)]));
                let func = super::super::kernel(&source.program, item, &bind, &mut diags);
                assert!(diags.is_empty(), "{name}, T = {dtype}: {}", source.rendered(&diags));
                checked(&func.expect("elaborated"));
            }
        }
    }
}

/// A kernel over `x` and `w` that writes `out`; `FN` after the kernel.
fn around(body: &str) -> String {
    format!(
        "kernel k<P: int = 16>(x: tensor<f32>[N, D], w: tensor<f16>[D, 32], idx: tensor<i32>[N], m: mask[N by P, N by P], s: f32, n: i32)
    -> (out: tensor<f32>[N, D], counts: tensor<i64>[N by P, 32])
grid (i in N by P) {{
{body}
out[i, :] = x[i, :];
counts[i, 0] = 1;
}}
fn twice<T: number>(a: tile<T>{{r, c}}, over c) -> tile<T>{{r}} {{ sum(a + a, over c) }}
fn pair(a) {{ (a, a * 2.0) }}
fn padded<F: float, Q: int = 3>(a: F) -> f32 {{ (a as f32) * Q }}
order reversed(p in F + 2, F: int, skip: bool = false) -> int {{ if p < 2 {{ -1 }} else if skip {{ 0 }} else {{ F + 1 - p }} }}
order plain(p) -> int {{ p }}
"
    )
}

fn elaborated(body: &str) -> Func {
    let extents = [("N".to_owned(), 300), ("D".to_owned(), 40)].into();
    kernel(&around(body), &Bindings { extents, ..Bindings::default() })
}

#[test]
fn the_language_elaborates() {
    for body in [
        "let (a, b) = pair(x[i, :]); let c = twice(a + b, over D);",
        "let (mut a, b) = (0.0, 1); a += padded(s) + padded<Q = 5>(s); a -= b; a *= 2; a /= s;",
        "let a: f64 = 1.5; let b: int = 3; let c = a * s; let d = b * 2.5;",
        "for j in N by 8 via plain() { let a = at(j) + pos(j); let t = x[at(j), :]; }",
        "for j in N by 8 via reversed(30, skip: true) { let a = len(j); let e = x[j, :]; }",
        "let walk = reversed(30); let a = len(walk) + blocks(walk, 8); for j in N by 4 via walk { let b = x[j, 0]; }",
        "for h in D { let a = x[i, h]; } for h in 2..n { let a = x[h, :]; } for h in 0..3 where h != 1 { let a = w[h, 2]; }",
        "for j in N by P where m[i, j] and index(j) <= index(i) { let a = x[j, :]; }",
        "let a = x[pos(i) + 1, :]; let b = sum(a, over i); let c = max(a, over D); let d = mean(a, over (i, D));",
        "let a = x[idx[i], :]; let g = gather(a, at argmax(a, over D), over D); let e = argmin(x[i, 0], over i);",
        "let a = x[pos(i) + 1, :]; let b = cumsum(a, over D); let c = sort(a, over i); let d = kth_largest(a, 3, over i);
         let e = dot(a, w[:, :] as f32); let f = argmax(a, over i); let g = gather(a, at n, over i);",
        "let t = iota(4); let u = sum(t * 2, over t) + t; let r = random(n, t);",
        "let (t, u) = (iota(D), iota(2)); let v = sum(x[u, t], over (t, u)); let (v, t) = (t, v);",
        "for j in N by 8 via reversed(N) { let a = x[j, :]; } let b = split(x[i, :], over D, as (a by 1, e by D));",
        "let q = split(w[:, 0], over D, as (a by 5, b by D / 5)); let k = split(w[:, 1], over D, as (a by 5, b by D / 5));
         let d = dot(q, k, over b); let e = merge(q, over (a, b), as c); let f = sum(e, over c);",
        "let c = all D; let a = softmax(x[i, c], over c) + log_softmax(x[i, :], over D) + silu(x[i, :]) + relu(x[i, c]) + gelu(x[i, c]);",
        "let a = where(pos(i) < n, 1, 0); let b = sum(a, over i) as f32; let c = where(x[i, :] > 0.0, x[i, :], inf);",
        "let a = if n > 3 { x[i, :] } else { 0.0 }; let b = if P > 3 { 1.0 } else { x[i, i] }; if n == 2 { print(\"n\", n); }",
        "let mut a = fill(0.0, over i); if n > 0 { a = x[i, 0]; } else if n < -3 { a = x[i, 1]; a += 1.0; } let b = a + 1.0;",
        "let mut a = 0; let mut b = fill(0, over i); for j in N by P { a += 1; b += a; if a > 2 { a = 0; } } let c = a + n;",
        "let mut a = fill(0.0, over D); for j in N by P { a = max(x[idx[j], :], over j) + a; a = x[n + index(j), :]; }",
        "let mut a = fill(0.0, over i); for n in 0..3 { a = x[pos(i) + n, 0]; } let b = sum(a, over i);",
        "let a = x[n, :]; let b = outer(x[i, 0], w[:, 0] as f32); let c = clamp(b, 0, 1) + abs(b) + min(b, 2, s);",
        "let a = fill(x[i, 0], over D) - fill(s, over (i, D)); let b = -a; let c = not (a > b) or true and false;",
        "let a = any(x[i, :] > 0.0, over D); let b = all(a, over i); assert(b, \"all\"); assert(a, \"lanes\"); assert(P == 16);",
        "let a = N + D * 2 + cdiv(N, P) + blocks(N, P) + len(N) + len(i); let b = a as f32 + (D as f32);",
        "let a = x[i, :] * PI + LOG2E; let b = exp(1.0) * s; let c = sqrt(2) * s; let d = 7 / 2 * s; let e = (n as int) % 3;",
        "let a = w[0, :]; let b = a * 2 + 0.5; let c = a as f32 + s; let d = dot(w[:, :], w[:, 3]);",
        "{ let a = 1; let b = a; } let a = { let c = 3; c + 1 };",
    ] {
        elaborated(body);
    }
}

fn insts<'f>(region: &'f Region, out: &mut Vec<&'f Inst>) {
    for inst in &region.insts {
        out.push(inst);
        inst.regions.iter().for_each(|r| insts(r, out));
    }
}

fn all(func: &Func) -> Vec<&Inst> {
    let mut out = Vec::new();
    insts(&func.body, &mut out);
    out
}

#[test]
fn only_extents_that_are_needed_become_numbers() {
    let func = elaborated("let a = x[i, :]; let b = N + len(i);");
    let known: Vec<_> = func.extents.iter().map(|e| (e.name.as_str(), e.known.is_some())).collect();
    assert_eq!(known, [("N", false), ("D", true), ("32", true)]);
    let func = kernel(
        "kernel k(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) grid (i in N by 4) { y[i] = x[i] * (N as f32); }",
        &Bindings::default(),
    );
    assert_eq!(func.extents[0].known, None);
}

#[test]
fn positions_that_are_a_block_are_read_as_one() {
    let func = elaborated("let a = x[pos(i), :]; for j in N by 4 via plain() { let b = x[at(j), :]; }");
    let gathers = all(&func).into_iter().filter(|i| matches!(i.op, Op::Load(..)) && !i.args.is_empty()).count();
    assert_eq!(gathers, 0, "{}", print(&func));
}

#[test]
fn what_lies_outside_is_not_stored() {
    let text = "kernel k(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) grid (i in N by 4) { y[i] = x[pos(i) + 1]; }";
    let func = kernel(text, &Bindings::default());
    let masked = |i: &&Inst| matches!(i.op, Op::Store { masked: true, mode: StoreMode::Set, .. });
    assert_eq!(all(&func).iter().filter(|i| masked(i)).count(), 1);
}

#[test]
fn literals_take_the_type_of_what_they_meet_later() {
    let text = "kernel k(x: tensor<f64>[N, D], n: f64) -> (y: tensor<f64>[N])
grid (i in N by 4) { let mut a = fill(0.1, over i); for j in D by 8 { a += sum(x[i, j], over j); } y[i] = a; }";
    let func = kernel(text, &Bindings::default());
    assert!(func.types.iter().all(|t| t.dtype() != DType::F32), "{}", print(&func));
    assert!(print(&func).contains("const 0.1\n"), "{}", print(&func));
}

#[test]
fn orders_become_tables() {
    let mut source = Source::new(&around(""));
    let order = |s: &mut Source, name, args: &[_], n| -> Order { s.order(name, args, n).expect("an order") };
    let a = order(&mut source, "reversed", &[("F", 30)], 5);
    assert_eq!((a.name.as_str(), a.len, a.holes), ("reversed(30)", 32, true));
    let b = order(&mut source, "plain", &[], 7);
    assert_eq!((b.name.as_str(), b.len, b.holes), ("plain()", 7, false));
    checked(a.kernel().expect("a kernel"));
    checked(b.kernel().expect("a kernel"));
}

#[test]
fn a_fused_permutation_is_walked_by_everything() {
    let mut source = Source::new(&around("let a = x[i, :]; let b = x[0, :]; let c = x[pos(i) + 1, :]; let d = at(i);"));
    let order = source.order("reversed", &[("F", 300)], 300).expect("an order");
    let bind = Bindings { walks: [("N".to_owned(), order)].into(), ..Bindings::default() };
    let mut diags = std::mem::take(&mut source.diags);
    let item = source.kernels().next().expect("one kernel");
    let func = super::super::kernel(&source.program, item, &bound(item, &bind), &mut diags);
    assert!(diags.is_empty(), "{}", source.rendered(&diags));
    let func = func.expect("elaborated");
    checked(&func);
    let text = print(&func);
    assert_eq!(all(&func).iter().filter(|i| matches!(i.op, Op::OrderAt(_))).count(), 2, "{text}");
    // The pipeline's permutation does not show in the kernel: `at` is a position of the permuted view.
    assert!(!all(&func).iter().any(|i| matches!(i.op, Op::At(_))), "{text}");
}

#[test]
fn instances_are_told_apart() {
    for (grid, store) in [
        ("p in N", "y[p / 8, p % 8] = 0.0;"),
        ("p in N", "y[p % D, p / D] = 0.0;"),
        ("h in N, i in D by 4", "y[h, i] = 0.0;"),
        ("h in N, g in D", "y[g + 3, h * 2 + 1] = 0.0;"),
        ("h in N, g in D", "y[g, 5 * h + g] = 0.0;"),
        ("i in N by 4 via back()", "y[i, 0] = 0.0;"),
        ("h in N", "for n in 0..3 { y[h * 3 + n, 0] = 0.0; }"),
        ("h in N", "if h == 4 and true { y[0, 0] = 0.0; }"),
    ] {
        let text = format!(
            "kernel k(x: f32) -> (y: tensor<f32>[N, D]) grid ({grid}) {{ {store} }}\norder back(p) -> int {{ p }}"
        );
        kernel(&text, &Bindings::default());
    }
    for (grid, store) in [
        ("p in N", "y[p / 8, p % 4] = 0.0;"),
        ("h in N, g in D", "y[g + h, 0] = 0.0;"),
        ("h in N, g in D", "y[h, h] = 0.0;"),
        ("h in N", "for n in 0..4 { y[h * 3 + n, 0] = 0.0; }"),
        ("h in N", "y[h * h, 0] = 0.0;"),
        ("h in N", "if h > 4 { y[0, 0] = 0.0; }"),
    ] {
        let text = format!("kernel k(x: f32) -> (y: tensor<f32>[N, D]) grid ({grid}) {{ {store} }}");
        assert_eq!(Source::new(&text).said(&Bindings::default()), ["E0401 1"], "{grid}: {store}");
    }
}
