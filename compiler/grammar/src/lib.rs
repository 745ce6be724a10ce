//! Text into syntax trees. Generated code is slow to build, so it has this crate to itself; meaning is the compiler's.

#[allow(clippy::wildcard_enum_match_arm, reason = "no rule concerns most tokens")]
mod balance;
#[allow(clippy::wildcard_enum_match_arm, reason = "no rule concerns most tokens")]
mod expected;
#[allow(clippy::wildcard_enum_match_arm, reason = "no rule concerns most tokens")]
mod items;
#[allow(clippy::wildcard_enum_match_arm, reason = "no rule concerns most tokens")]
mod outline;
#[allow(clippy::wildcard_enum_match_arm, reason = "no rule concerns most tokens")]
mod repair;
#[allow(clippy::wildcard_enum_match_arm, reason = "no rule concerns most tokens")]
mod replace;
#[allow(clippy::wildcard_enum_match_arm, reason = "no rule concerns most tokens")]
mod slips;
mod tree;

#[allow(
    missing_docs,
    unused,
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "generated code"
)]
mod pantile {
    include!(concat!(env!("OUT_DIR"), "/pantile.rs"));
}

use pantile_diag::{Code, Diagnostic, Diagnostics, FileId, SourceMap, Span, render, render_json, render_short};
use pantile_syntax::ast::{File, Item};
use pantile_syntax::lexer::{Lexeme, lex, report};
use pantile_syntax::print::print;

/// The tree of `text`, as far as it parses, and what is wrong with it. Where something did not parse, the tree has
/// `Error` nodes (or the extent or type [`BROKEN`](pantile_syntax::ast::BROKEN)) that have been reported.
pub fn parse(file: FileId, text: &str) -> (File, Diagnostics) {
    let (lexemes, mut diagnostics) = lex(file, text);
    let (before, segments) = items::split(&lexemes);
    if !before.is_empty() {
        report(&mut diagnostics, repair::outside_items(&before));
    }
    let parser = pantile::ItemParser::new();
    let firsts: Vec<Option<Lexeme>> = segments.iter().map(|s| s.lexemes.first().copied()).collect();
    let mut tree = File::default();
    for (at, segment) in segments.into_iter().enumerate() {
        let lexemes = slips::correct(&segment.lexemes, &mut diagnostics);
        let lexemes = match balance::balance(lexemes, &mut diagnostics) {
            Ok(lexemes) => lexemes,
            Err(span) => {
                report(&mut diagnostics, too_deep(span));
                continue;
            }
        };
        let next = firsts.get(at + 1).copied().flatten().map(|l| l.token);
        if let Some(item) = repair::parse_item(&parser, lexemes, next, &mut diagnostics) {
            tree.items.push(with_doc(item, segment.doc));
        }
    }
    diagnostics.sort();
    (tree, diagnostics)
}

fn too_deep(span: Span) -> Diagnostic {
    let message = format!("nested more than {} deep", balance::MAX_DEPTH);
    Diagnostic::error(Code::E0002, span, message, "too deep here").with_help("name the parts with `let`")
}

fn with_doc(mut item: Item, text: String) -> Item {
    match &mut item {
        Item::Fn(f) => f.doc = text,
        Item::Order(o) => o.doc = text,
        Item::Kernel(k) => k.doc = text,
        Item::Pipeline(p) => p.doc = text,
        Item::Const(_) | Item::Tune(_) | Item::Use(_) => {}
    }
    item
}

/// Does to arbitrary bytes all that is done to a file before checking. Any panic is a bug.
pub fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut sources = SourceMap::default();
    let file = sources.add("fuzz.tile", text.as_ref());
    let (tree, diagnostics) = parse(file, &text);
    for color in [false, true] {
        render(&diagnostics, &sources, color);
    }
    render_short(&diagnostics, &sources);
    render_json(&diagnostics, &sources);
    let printed = print(&tree);
    if diagnostics.is_empty() {
        let (again, diagnostics) = parse(file, &printed);
        assert!(diagnostics.is_empty(), "printed text does not parse: {printed}");
        assert_eq!(print(&again), printed, "printing is not stable");
    }
}
