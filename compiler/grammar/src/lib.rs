//! Text into syntax trees. Generated code is slow to build, so it has this crate to itself; meaning is the compiler's.

mod balance;
mod expected;
mod items;
mod outline;
mod repair;
mod slips;
mod tree;

#[allow(missing_docs, unused, clippy::all, clippy::pedantic, clippy::unwrap_used, clippy::wildcard_enum_match_arm)]
mod pantile {
    include!(concat!(env!("OUT_DIR"), "/pantile.rs"));
}

use pantile_diag::{Code, Diagnostic, Diagnostics, FileId};
use pantile_syntax::ast::{File, Item};
use pantile_syntax::lexer::{Lexeme, lex};

/// The tree of `text`, as far as it parses, and what is wrong with it. Where something did not parse, the tree has
/// `Error` nodes (or the extent or type [`BROKEN`](pantile_syntax::ast::BROKEN)) that have been reported.
pub fn parse(file: FileId, text: &str) -> (File, Diagnostics) {
    let (lexemes, mut diagnostics) = lex(file, text);
    let (before, segments) = items::split(&lexemes);
    if !before.is_empty() {
        diagnostics.push(repair::outside_items(&before));
    }
    let parser = pantile::ItemParser::new();
    let firsts: Vec<Option<Lexeme>> = segments.iter().map(|s| s.lexemes.first().copied()).collect();
    let mut tree = File::default();
    for (at, segment) in segments.into_iter().enumerate() {
        let lexemes = slips::correct(&segment.lexemes, &mut diagnostics);
        let lexemes = balance::balance(lexemes, &mut diagnostics);
        if let Some(span) = balance::too_deep(&lexemes) {
            let message = format!("nested more than {} deep", balance::MAX_DEPTH);
            diagnostics.push(
                Diagnostic::error(Code::E0002, span, message, "too deep here").with_help("name the parts with `let`"),
            );
            continue;
        }
        let next = firsts.get(at + 1).copied().flatten().map(|l| l.token);
        if let Some(item) = repair::parse_item(&parser, lexemes, next, &mut diagnostics) {
            tree.items.push(with_doc(item, segment.doc));
        }
    }
    diagnostics.sort();
    (tree, diagnostics)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels() {
        for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../kernels")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "tile") {
                let text = std::fs::read_to_string(&path).unwrap();
                let (file, d) = parse(FileId(0), &text);
                assert!(d.is_empty(), "{path:?}: {d:#?}");
                assert!(!file.items.is_empty());
            }
        }
        let text = r#"
const A: f32 = -1.5;
fn f<T: float>(x, y: tile<T>{i, d}, over d) -> tile<T>{i} {
    let (a, mut b): f32 = (x, y);
    let z = f<BQ = 64, T = f32>(x, over d, over (i, D), at idx, at (i) + 1, as (a by 4, b by 8), as d, N via walk(1, 2), name: 3);
    if a < b { b += 1; } else if a > b { b = 2; }
    atomic t[i, :] += where(a or not b == c, x as f32 * -y, all(x, over d));
    for n in lo..hi where p and q { assert(true, "hm\n"); }
    for n in N by 2 via o(3) where where(a, b, c) { t[n] = 1; }
    for n in N { t[n] = all N; }
    { let x = 1; x };
    print("x", at(i), inf, 1 << 3 | 4 & 0x1F);
    if x { 1 } else { y }
}
order g(p, F: int = 3) -> int { p }
order h(p) -> int { let order = p; order }
tune f { BQ in [64, 128 KiB]; require smem() <= 227 KiB and BQ < 3; }
use "a.tile"::{b, c as d};
"#;
        let (file, d) = parse(FileId(0), text);
        assert!(d.is_empty(), "{d:#?}");
    }
}
