//! Code that is wrong: each error with its code and line, and no other.

use std::fmt::Write;

use super::Source;
use crate::Bindings;

/// A kernel around statements, from line 5 on.
fn around(body: &str) -> String {
    format!(
        "kernel k<T: float, P: int = 16>(x: tensor<T>[N, D], y: tensor<f16>[N], idx: tensor<i32>[N], m: mask[N by P, N by P],
    s: f32, n: i32)
    -> (out: tensor<f32>[N, D], sums: tensor<f32>[N], keep: mask[N by P, NB])
grid (i in N by P) {{
{body}
}}
fn twice(a) {{ a + a }}
fn forever(a) {{ forever(a) }}
fn rows(t: tile<f32>{{r}}, over r) {{ sum(t, over r) }}
order reversed(p in F, F: int) -> int {{ F - 1 - p }}
"
    )
}

/// Statements, and what they must be told; `_` where the three outputs are of no interest.
const CASES: &[(&str, &str, &[&str])] = &[
    ("unknown name", "let a = zzz;", &["E0101 5"]),
    ("unknown function", "let a = sofmax(x[i, :], over D);", &["E0101 5"]),
    ("unknown dimension", "let a = sum(x[i, :], over Q);", &["E0101 5"]),
    ("a name of another kind", "let a = x + 1.0;", &["E0103 5"]),
    ("a block is no number", "let a = i + 1;", &["E0103 5"]),
    ("an order is no value", "let a = reversed + 1;", &["E0103 5"]),
    ("an output is not read", "let a = sums[i];", &["E0103 5"]),
    (
        "outer product",
        "let a = s * x[i, :];\nlet b = y[i] as f32;\nfor j in N by P { let c = b * (y[j] as f32); }",
        &["E0201 7"],
    ),
    ("outer product meant", "for j in N by P { let c = outer(y[i], y[j]); let d = pos(i) <= pos(j); }", &[]),
    ("outer choice", "for j in N by P { let c = where(s > 0.0, y[i], y[j]); }", &["E0201 5"]),
    ("choice over all dims", "for j in N by P { let c = where(pos(i) < pos(j), y[i], y[j]); }", &[]),
    ("stored dims", "sums[i] = x[i, :];", &["E0201 5"]),
    ("no such dimension", "let a = sum(y[i] as f32, over D);", &["E0202 5"]),
    ("split of a ragged block", "let a = split(y[i], over i, as (a by 4, b by 4));", &["E0202 5"]),
    ("wrong rank", "let a = x[i];", &["E0203 5"]),
    ("mask read by rows", "let a = m[i, :];", &["E0203 5"]),
    ("block of another extent", "let a = x[i, i];", &["E0204 5"]),
    ("block number where an element is meant", "for j in N by 8 { let a = m[i, j]; }", &["E0204 5"]),
    ("nothing to contract", "for j in N by P { let c = dot(y[i], y[j]); }", &["E0205 5"]),
    ("too much to contract", "let a = dot(x[i, :], x[i, :]);", &["E0205 5"]),
    ("contraction said", "let a = dot(x[i, :], x[i, :], over D);", &[]),
    ("types differ", "let a = y[i] + idx[i];", &["E0301 5"]),
    ("tiles of f16 and f32", "let a = y[i] + (y[i] as f32);", &["E0301 5"]),
    ("a real literal beside integers", "let a = idx[i] + 0.5;", &["E0301 5"]),
    ("an index is no float", "let a = x[s, :];", &["E0301 5"]),
    ("chosen by no bool", "let a = where(s, 1.0, 2.0);", &["E0301 5"]),
    ("branches differ", "let a = if n > 0 { s } else { true };", &["E0301 5"]),
    ("a value only where it holds", "let a = if n > 0 { s };", &["E0301 5"]),
    ("exp of integers", "let a = exp(idx[i]);", &["E0302 5"]),
    ("and of integers", "let a = n and true;", &["E0302 5"]),
    ("bool as float", "let a = (n > 0) as f32;", &["E0302 5"]),
    ("narrowing scalar", "let a = y[i] * s;", &["E0303 5"]),
    ("narrowing store", "sums[i] = (y[i] as f64);", &["E0303 5"]),
    ("literal too large", "let a = (n as i8) + 300;", &["E0303 5"]),
    ("widening", "sums[i] = y[i]; let a = idx[i] + pos(i);", &[]),
    ("tile condition", "if y[i] > 0.0 { let a = 1; }", &["E0304 5"]),
    ("number condition", "if n { let a = 1; }", &["E0304 5"]),
    ("where that the loop changes", "let mut a = 0;\nfor j in N by P where a < 3 { a += 1; }", &["E0304 6"]),
    ("over is missing", "let a = sum(y[i]);", &["E0305 5"]),
    ("wrong number of arguments", "let a = twice(s, s);", &["E0305 5"]),
    ("an argument too few", "let a = clamp(s, 0.0);", &["E0305 5"]),
    ("variable becomes a float", "let mut a = 0;\nif n > 0 { a = 1.5; }", &["E0306 6"]),
    ("variable gets a dimension", "let mut a = 0.0;\na = y[i] as f32;", &["E0306 6"]),
    ("loop's dimension escapes", "let mut a = fill(0.0, over i);\nfor j in N by P { a = y[j] as f32; }", &["E0306 6"]),
    ("recursion", "let a = forever(s);", &["E0307 11"]),
    ("store to an input", "y[i] = 1.0;", &["E0402 5"]),
    ("not mutable", "let a = 1;\na = 2;", &["E0402 6"]),
    ("store to a tile", "let a = y[i];\na[i] = 1.0;", &["E0402 6"]),
    ("mask row in part", "for j in N by P { keep[index(i), index(j)] = true; }", &["E0402 5"]),
    ("race", "sums[0] = 1.0;", &["E0401 5"]),
    ("race of additions", "sums[0] += 1.0;", &["E0401 5"]),
    ("atomic additions", "atomic sums[0] += 1.0;", &[]),
    ("race through halves", "sums[index(i) / 2] = 1.0;", &["E0401 5"]),
    ("race of overlapping blocks", "let t = iota(20);\nsums[index(i) * 16 + t] = 1.0;", &["E0401 6"]),
    ("blocks by hand", "let t = iota(16);\nsums[index(i) * 16 + t] = 1.0;", &[]),
    ("one instance only", "if index(i) == 0 { sums[3] = 1.0; }", &[]),
    ("scatter", "sums[idx[i]] = 1.0;", &["E0401 5"]),
    ("constant needed", "let t = iota(n);", &["E0501 5"]),
    ("block size at run time", "for j in N by n { let a = 1; }", &["E0501 5"]),
    ("no block size", "for j in N by 0 { let a = 1; }", &["E0502 5"]),
    ("split sizes", "let a = split(x[i, :], over D, as (a by 4, b by 4)); let b = sum(a, over b);", &["E0502 5"]),
    ("negative index", "let a = x[i, -1];", &["E0502 5"]),
    ("division by zero", "let a = n / 0;", &["E0502 5"]),
    ("order of single positions", "for j in N via reversed(4) { let a = 1; }", &["E0601 5"]),
    ("order's argument missing", "for j in N by 4 via reversed() { let a = 1; }", &["E0305 5"]),
    ("assertion that never holds", "assert(P == 17, \"no\");", &["E0603 5"]),
    ("value not used", "s + 1.0;", &["W0901 5"]),
    ("dims of a parameter", "let a = rows(x[i, :] as f32, over D);", &["E0201 5"]),
];

/// The errors of a body; the outputs that it does not write are written after it.
fn said(body: &str) -> Vec<String> {
    let mut rest = String::new();
    for (name, write) in
        [("out[", "out[i, :] = 0.0;"), ("sums[", "sums[i] = 0.0;"), ("keep[", "keep[index(i), :] = true;")]
    {
        if !body.contains(name) || body.contains(&format!("= {name}")) {
            let _ = write!(rest, "\n{write}");
        }
    }
    Source::new(&around(&format!("{body}{rest}"))).said(&Bindings::default())
}

#[test]
fn each_error_is_told_where_it_is_and_alone() {
    let mut wrong = String::new();
    for (name, body, expected) in CASES {
        let found = said(body);
        if found != *expected {
            let _ = writeln!(wrong, "{name}: expected {expected:?}, found {found:?}");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn three_lines_wrong_in_five_ways_give_five_errors() {
    let body = "let a = x[i] + zzz;
let b = exp(idx[i]) * sum(y[i], over D);
sums[0] = a + b;
out[i, :] = (y[i] as f32) * (x[0, :] as f32); sums[i] = y[i]; keep[index(i), :] = true;";
    let found = said(body);
    assert_eq!(found, ["E0203 5", "E0101 5", "E0302 6", "E0202 6", "E0201 8"]);
}

#[test]
fn outputs_must_be_written() {
    let text =
        "kernel k(x: tensor<f32>[N]) -> (a: tensor<f32>[N], b: tensor<f32>[N])\ngrid (i in N by 4) { a[i] = x[i]; }";
    assert_eq!(Source::new(text).said(&Bindings::default()), ["E0403 1"]);
}

#[test]
fn deep_and_exploding_code_is_refused_without_a_crash() {
    let mut deep = String::from("fn f0(x) { x }\n");
    let mut wide = String::from("fn g0(x) { x }\n");
    let mut twin = String::from("fn h0(x) { x }\n");
    for n in 1..100 {
        let _ = writeln!(deep, "fn f{n}(x) {{ if true {{ ----f{}(((x + 1.0))) }} else {{ x }} }}", n - 1);
        let _ = writeln!(wide, "fn g{n}(x) {{ g{0}(x) + g{0}(x * 2.0) }}", n - 1);
        let _ = writeln!(twin, "fn h{n}(x) {{ let (a, b) = (h{0}(x), h{0}(x)); a }}", n - 1);
    }
    for (items, call) in [(deep, "f99"), (wide, "g99"), (twin, "h50")] {
        let text = format!(
            "kernel k(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) grid (i in N by 4) {{ y[i] = {call}(x[i]); }}\n{items}"
        );
        let found = Source::new(&text).said(&Bindings::default());
        assert!(found.len() == 1 && found[0].starts_with("E0307"), "{found:?}");
    }
}
