//! Syntax errors and what is said about them: `errors.txt` holds the cases, `BLESS=1` rewrites what is expected. How
//! diagnostics are drawn is tested in `pantile-diag`.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::path::Path;

use pantile_diag::{Code, FileId, SourceMap, render_short};
use pantile_grammar::parse;
use pantile_syntax::ast::Item;

const CASE: &str = "=== ";
const EXPECTED: &str = "---\n";

#[test]
fn errors() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors.txt");
    let text = std::fs::read_to_string(&path).unwrap();
    let (mut blessed, mut wrong) = (String::new(), String::new());
    for case in text.split(CASE).skip(1) {
        let (head, _) = case.split_once(EXPECTED).unwrap_or((case, ""));
        let (name, source) = head.split_once('\n').unwrap();
        let said = say(source);
        let rewritten = format!("{CASE}{head}{EXPECTED}{said}\n");
        if format!("{CASE}{case}") != rewritten {
            wrong += &format!("{name}:\n{said}\n");
        }
        blessed += &rewritten;
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, blessed).unwrap();
    } else {
        assert!(wrong.is_empty(), "these cases changed (BLESS=1 accepts):\n{wrong}");
    }
}

/// Each diagnostic with its labels and help, then the items that are left.
fn say(source: &str) -> String {
    let mut sources = SourceMap::default();
    let file = sources.add("a.tile", source);
    let (tree, diagnostics) = parse(file, source);
    let mut out = render_short(&diagnostics, &sources).lines().zip(diagnostics.iter()).fold(
        String::new(),
        |mut out, (line, diagnostic)| {
            out += &format!("{line}\n");
            for label in &diagnostic.secondary {
                let (l, c) = sources.line_col(label.span);
                out += &format!("    {l}:{c}: {}\n", label.text);
            }
            diagnostic.help.iter().for_each(|help| out += &format!("    help: {help}\n"));
            out
        },
    );
    out += "left:";
    tree.items.iter().for_each(|item| out += &format!(" {}", outline(item)));
    out + "\n"
}

/// An item in a few words.
fn outline(item: &Item) -> String {
    match item {
        Item::Const(c) => format!("const {}", c.name.node),
        Item::Fn(f) => format!("fn {}({}): {}", f.name.node, f.params.len(), f.body.stmts.len()),
        Item::Order(o) => format!("order {}: {}", o.name.node, o.body.stmts.len()),
        Item::Kernel(k) => format!("kernel {}({}): {}", k.name.node, k.params.len(), k.body.stmts.len()),
        Item::Pipeline(p) => format!("pipeline {}({}): {}", p.name.node, p.params.len(), p.body.stmts.len()),
        Item::Tune(t) => format!("tune {}", t.name.node),
        Item::Use(u) => format!("use {}", u.path.node),
    }
}

/// The first example of a page is wrong in the page's way, and the second is right.
#[test]
fn examples_of_the_pages() {
    for code in [Code::E0001, Code::E0002, Code::E0003] {
        let examples: Vec<&str> =
            code.info().long.split("```tile\n").skip(1).filter_map(|e| e.split("```").next()).collect();
        let (_, diagnostics) = parse(FileId(0), examples[0]);
        assert!(diagnostics.iter().any(|d| d.code == code), "{code}");
        for right in &examples[1..] {
            let (_, diagnostics) = parse(FileId(0), right);
            assert!(diagnostics.is_empty(), "{code}: {diagnostics:#?}");
        }
    }
}
