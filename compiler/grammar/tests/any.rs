//! Whatever is written: parsing, drawing and printing end without a panic, and what parses is printed so that it parses
//! to the same tree. What the messages say is tested in `errors.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::path::Path;

use pantile_diag::FileId;
use pantile_grammar::{fuzz, parse};
use pantile_syntax::ast::File;
use pantile_syntax::print::print;
use proptest::prelude::*;

/// The tree without its spans.
fn shape(file: &File) -> String {
    let text = format!("{file:?}");
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("0:") {
        let (before, span) = rest.split_at(at);
        let digits = |t: &str| t.find(|c: char| !c.is_ascii_digit()).unwrap_or(t.len());
        let start = digits(&span[2..]) + 2;
        out.push_str(before);
        rest = match span[start..].strip_prefix("..") {
            Some(end) if start > 2 => &end[digits(end)..],
            _ => {
                out.push_str("0:");
                &span[2..]
            }
        };
    }
    out + rest
}

fn assert_round_trip(text: &str) {
    let (tree, diagnostics) = parse(FileId(0), text);
    assert!(diagnostics.is_empty(), "{text}\n{diagnostics:#?}");
    let printed = print(&tree);
    let (again, diagnostics) = parse(FileId(0), &printed);
    assert!(diagnostics.is_empty(), "{text}\nprinted:\n{printed}\n{diagnostics:#?}");
    assert_eq!(shape(&tree), shape(&again), "{text}\nprinted:\n{printed}");
    assert_eq!(printed, print(&again));
}

fn kernels() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kernels");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let tiles = paths.filter(|path| path.extension().is_some_and(|e| e == "tile"));
    tiles.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

/// One of each form.
const FORMS: &str = include_str!("forms.tile");

#[test]
fn kernels_and_forms_round_trip() {
    assert!(kernels().len() >= 5);
    kernels().iter().for_each(|text| assert_round_trip(text));
    assert_round_trip(FORMS);
}

#[test]
fn docs_are_kept() {
    let (tree, _) =
        parse(FileId(0), "/// One.\n///\n///  Two.\nfn f(x) { x }\n/// lost\nconst A: int = 1;\nfn g(x) { x }");
    assert_eq!(print(&tree), "/// One.\n///\n///  Two.\nfn f(x) { x }\n\nconst A: int = 1;\n\nfn g(x) { x }\n");
}

#[test]
fn deep_and_long() {
    let n = 100_000;
    let texts = [
        format!("fn f(x) {{ {}x{} }}", "(".repeat(n), ")".repeat(n)),
        format!("fn f(x) {{ {}x }}", "-".repeat(n)),
        format!("fn f(x) {{ {}x }}", "not ".repeat(n)),
        format!("fn f(x) {{ x{} }}", " + x".repeat(n)),
        format!("fn f(x) {{ x{} }}", " as f32".repeat(n)),
        format!("fn f(x) {{ x{} }}", "[0]".repeat(n)),
        format!("fn f(x) {{ if x {{}}{} }}", " else if x {}".repeat(n)),
        format!("fn f(x) {{ {} }}", "if x {".repeat(n)),
        format!("fn f(x) {{ {} }}", "{".repeat(n)),
        format!("fn f(x) {{ {} }}", "f<A=".repeat(n)),
        "(".repeat(n),
        "}".repeat(n),
        "kernel ".repeat(n),
        "fn f() {".repeat(n),
    ];
    for text in &texts {
        let (_, diagnostics) = parse(FileId(0), text);
        assert!(diagnostics.has_errors(), "{}", &text[..40]);
    }
    // As deep as allowed: dropping and printing fit a test thread's stack.
    for (open, close) in [("(", ")"), ("f(", ")"), ("-", ""), ("not ", ""), ("{", "}"), ("if x {", "}"), ("x+", "")] {
        let deep = |n: usize| format!("fn f(x) {{ {}x{} }}", open.repeat(n), close.repeat(n));
        assert_round_trip(&deep(90));
        assert!(parse(FileId(0), &deep(250)).1.has_errors(), "{open}");
    }
    // Long is not deep.
    assert_round_trip(&format!("fn f(x) {{ {} }}", "if x { y = 1; } else { y = 2; } t[0] = -x; ".repeat(1_000)));
    assert_round_trip(&format!("fn f(x) {{ g({}x) }}", "x + 1, ".repeat(1_000)));
}

// --- Texts that parse, from the grammar

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["x", "y", "N", "at", "all", "grid", "mask", "tile", "tensor", "order", "require", "_a1"])
        .prop_map(String::from)
}

fn operator() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["or", "and", "|", "^", "&", "<<", ">>", "+", "-", "*", "/", "%"])
}

fn expr() -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        4 => name(),
        2 => prop::sample::select(vec!["0", "42", "0x1F", "1_000", "1.5", "1e-3", "2.5e300", "true", "false", "64 KiB", "\"a\\n\\\"\""])
            .prop_map(String::from),
        1 => name().prop_map(|n| format!("all q{n}")),
    ];
    leaf.prop_recursive(5, 40, 4, |e| {
        let block = prop_oneof![
            e.clone().prop_map(|e| format!("{{ {e} }}")),
            (e.clone(), e.clone()).prop_map(|(a, b)| format!("{{ let z = {a}; {b} }}")),
            e.clone().prop_map(|e| format!("{{ t[0] = {e}; }}")),
        ];
        let arg = prop_oneof![
            5 => e.clone(),
            1 => name().prop_map(|n| format!("over q{n}")),
            1 => (name(), name()).prop_map(|(a, b)| format!("over (q{a}, q{b})")),
            1 => e.clone().prop_map(|e| format!("at x + ({e})")),
            1 => e.clone().prop_map(|e| format!("as (a by {e}, b)")),
            1 => Just("as d".to_string()),
            1 => e.clone().prop_map(|e| format!("qN via {e}")),
            1 => e.clone().prop_map(|e| format!("qn: {e}")),
        ];
        let args = prop::collection::vec(arg, 0..4).prop_map(|args| args.join(", "));
        prop_oneof![
            6 => (e.clone(), operator(), e.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            2 => (e.clone(), prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]), e.clone())
                .prop_map(|(a, op, b)| format!("(({a}) {op} ({b}))")),
            3 => e.clone().prop_map(|e| format!("({e})")),
            1 => e.clone().prop_map(|e| format!("-({e})")),
            1 => e.clone().prop_map(|e| format!("(not {e})")),
            1 => e.clone().prop_map(|e| format!("({e}) as f32")),
            2 => args.clone().prop_map(|a| format!("f({a})")),
            1 => args.clone().prop_map(|a| format!("where({a})")),
            1 => (e.clone(), args).prop_map(|(e, a)| format!("f<A = ({e}), B = 2>({a})")),
            1 => (e.clone(), e.clone()).prop_map(|(a, b)| format!("({a})[{b}, :]")),
            1 => (e.clone(), e.clone()).prop_map(|(a, b)| format!("({a}, {b})")),
            1 => (e.clone(), block.clone()).prop_map(|(c, a)| format!("(if {c} {a})")),
            1 => (e.clone(), block.clone(), block.clone()).prop_map(|(c, a, b)| format!("(if {c} {a} else {b})")),
            1 => (e.clone(), block.clone(), block.clone())
                .prop_map(|(c, a, b)| format!("(if {c} {a} else if {c} {b} else {a})")),
            1 => block.prop_map(|b| format!("({b})")),
        ]
    })
    .boxed()
}

fn stmt() -> BoxedStrategy<String> {
    let e = expr();
    let leaf = prop_oneof![
        e.clone().prop_map(|e| format!("let a = {e};")),
        e.clone().prop_map(|e| format!("let (a, mut b): T = {e};")),
        (name(), e.clone()).prop_map(|(n, e)| format!("{n} = {e};")),
        (e.clone(), e.clone()).prop_map(|(a, b)| format!("t[{a}] += {b};")),
        (e.clone(), e.clone()).prop_map(|(a, b)| format!("atomic t[{a}, :] -= {b};")),
        e.prop_map(|e| format!("({e});")),
    ];
    leaf.prop_recursive(3, 12, 3, |s| {
        let body = prop::collection::vec(s, 0..3).prop_map(|s| s.join(" "));
        prop_oneof![
            (expr(), body.clone()).prop_map(|(c, b)| format!("if {c} {{ {b} }}")),
            (expr(), body.clone(), expr()).prop_map(|(c, b, e)| format!("if {c} {{ {b} {e} }} else {{ {b} }};")),
            (expr(), expr(), body.clone()).prop_map(|(a, b, s)| format!("for n in {a}..{b} {{ {s} }}")),
            (expr(), expr(), body.clone()).prop_map(|(a, b, s)| format!("for j in M by {a} where {b} {{ {s} }}")),
            (expr(), body.clone()).prop_map(|(a, s)| format!("for j in M via {a} {{ {s} }}")),
            (body.clone(), expr()).prop_map(|(s, e)| format!("{{ {s} {e} }};")),
            body.prop_map(|s| format!("{{ {s} }}")),
        ]
    })
    .boxed()
}

// --- Texts that rarely do

const WORDS: &[&str] = &[
    "const", "fn", "order", "kernel", "pipeline", "tune", "use", "grid", "require", "let", "mut", "for", "in", "by",
    "via", "where", "if", "else", "and", "or", "not", "true", "as", "over", "at", "all", "atomic", "tensor", "mask",
    "tile", "x", "y", "f32", "1", "2.5", "3 KiB", "\"s\"", "(", ")", "[", "]", "{", "}", ",", ";", ":", "::", "->",
    "..", "=", "+=", "==", "<", ">", "<=", "+", "-", "*", "/", "!", "&&", ".", "?", "///d\n", "\n", "//c\n", "é", "\"",
    "'", "#", "/*", "×",
];

fn soup() -> impl Strategy<Value = String> {
    let words = prop::collection::vec(prop::sample::select(WORDS), 0..60);
    words.prop_map(|words| words.join(" "))
}

/// A shipped text with a few bytes cut, doubled or overwritten.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let texts: Vec<String> = kernels().into_iter().chain([FORMS.to_string()]).collect();
    let edit = (any::<prop::sample::Index>(), 0..40usize, prop::sample::select(WORDS), 0..3u8);
    (prop::sample::select(texts), prop::collection::vec(edit, 1..6)).prop_map(|(text, edits)| {
        let mut bytes = text.into_bytes();
        for (at, length, word, kind) in edits {
            let start = at.index(bytes.len().max(1));
            let end = (start + length).min(bytes.len());
            match kind {
                0 => drop(bytes.drain(start..end)),
                1 => drop(bytes.splice(start..start, word.bytes())),
                _ => drop(bytes.splice(start..end, word.bytes())),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_parses_round_trips(stmts in prop::collection::vec(stmt(), 0..4), tail in expr()) {
        assert_round_trip(&format!("fn f(x, y: T, over d) {{ {} {tail} }}", stmts.join(" ")));
    }

    #[test]
    fn bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz(&bytes);
    }

    #[test]
    fn soups(text in soup()) {
        fuzz(text.as_bytes());
        fuzz(format!("kernel f(x: tensor<f32>[N]) -> (y: f32) grid (i in N) {{ {text} }} fn g(x) {{ x }}").as_bytes());
    }

    #[test]
    fn mutations(bytes in mutated()) {
        fuzz(&bytes);
    }
}
