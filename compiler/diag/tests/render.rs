//! How diagnostics look, and that no span, however wrong, can stop them from being shown.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use pantile_diag::{Code, Diagnostic, Diagnostics, FileId, SourceMap, Span, render, render_json, render_short};

const TEXT: &str = "fn f(x) {\n    let é = x + y;\n    é\n}\n";

fn sources() -> (SourceMap, FileId) {
    let mut sources = SourceMap::default();
    let file = sources.add("a.tile", TEXT);
    (sources, file)
}

fn one(diagnostic: Diagnostic) -> Diagnostics {
    let mut list = Diagnostics::default();
    list.push(diagnostic);
    list
}

/// `y` is unknown, `x` is not.
fn example(file: FileId) -> Diagnostics {
    let at = |word: &str| {
        let start = TEXT.find(word).unwrap();
        Span::new(file, start, start + word.len())
    };
    let y = Span { end: at("y;").end - 1, ..at("y;") };
    one(Diagnostic::error(Code::E0101, y, "there is no `y`", "not a name here")
        .with_label(at("x"), "did you mean \"x\"?")
        .with_help("define it with `let`"))
}

#[test]
fn full() {
    let (sources, file) = sources();
    let expected = "\
error[E0101]: there is no `y`
   ╭─[ a.tile:2:17 ]
   │
 1 │ fn f(x) {
   │      ┬  
   │      ╰── did you mean \"x\"?
 2 │     let é = x + y;
   │                 ┬  
   │                 ╰── not a name here
   │ 
   │ Help: define it with `let`
───╯
";
    assert_eq!(render(&example(file), &sources, false), expected);
    let colored = render(&example(file), &sources, true);
    assert!(colored.contains('\u{1b}') && !expected.contains('\u{1b}'));
}

#[test]
fn short() {
    let (sources, file) = sources();
    assert_eq!(render_short(&example(file), &sources), "a.tile:2:17: error[E0101]: there is no `y`\n");
}

#[test]
fn json() {
    let (sources, file) = sources();
    let text = render_json(&example(file), &sources);
    let value: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
    let expected = serde_json::json!({
        "code": "E0101", "severity": "error", "message": "there is no `y`", "file": "a.tile",
        "line": 2, "column": 17, "end_line": 2, "end_column": 18, "label": "not a name here",
        "labels": [{
            "file": "a.tile", "line": 1, "column": 6, "end_line": 1, "end_column": 7, "text": "did you mean \"x\"?"
        }],
        "help": "define it with `let`",
    });
    assert_eq!(value, expected);
    assert_eq!(text.matches('\n').count(), 1);
}

#[test]
fn any_span() {
    let mut sources = SourceMap::default();
    let texts = ["", "\n", "a", TEXT, "a\r\nb\rc\u{2028}d", "\u{feff}\t\0\u{1b}[31m é\u{301}𝄞", "\n\n\n", "é"];
    for (n, text) in texts.iter().enumerate() {
        sources.add(format!("{n}.tile"), *text);
    }
    let ends = |text: &str| (0..=text.len() as u32 + 2).chain([u32::MAX]).collect::<Vec<_>>();
    for (n, text) in texts.iter().enumerate() {
        for start in ends(text) {
            for end in ends(text) {
                let file = FileId(n as u32);
                let span = Span { file, start, end };
                let other = Span { file: FileId((n as u32 + 1) % 9), start: end, end: start };
                let list = one(Diagnostic::warning(Code::E0001, span, "a\u{1b}\n\"b\\", "").with_label(other, "x\ty"));
                let full = render(&list, &sources, false);
                assert!(full.contains("E0001"), "{full}");
                assert!(!full.contains('\u{1b}') || text.contains('\u{1b}'), "{full}");
                assert!(render_short(&list, &sources).contains("warning[E0001]"));
                let json = render_json(&list, &sources);
                assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{json}");
            }
        }
    }
}

#[test]
fn long_lines_are_not_drawn() {
    let mut sources = SourceMap::default();
    let file = sources.add("a.tile", "x".repeat(1_000_000));
    let list = one(Diagnostic::error(Code::E0002, Span::new(file, 10, 12), "no", "here").with_help("so"));
    assert_eq!(render(&list, &sources, false), "a.tile:1:11: error[E0002]: no\n  help: so\n");
}
