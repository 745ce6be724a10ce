//! Text into syntax trees. Generated code is slow to build, so it has this crate to itself; meaning is the compiler's.

mod items;
mod tree;

#[allow(missing_docs, unused, clippy::all, clippy::pedantic, clippy::unwrap_used, clippy::wildcard_enum_match_arm)]
mod pantile {
    include!(concat!(env!("OUT_DIR"), "/pantile.rs"));
}

use pantile_diag::{Code, Diagnostic, Diagnostics, FileId};
use pantile_syntax::ast::{File, Item};
use pantile_syntax::lexer::lex;

/// The tree of `text`, as far as it parses, and what is wrong with it.
pub fn parse(file: FileId, text: &str) -> (File, Diagnostics) {
    let (lexemes, mut diagnostics) = lex(file, text);
    let (_before, segments) = items::split(&lexemes);
    let parser = pantile::ItemParser::new();
    let mut tree = File::default();
    for segment in segments {
        let cx = tree::Cx::new(&segment.lexemes);
        let tokens = segment.lexemes.iter().enumerate().map(|(at, l)| Ok((at, l.token, at + 1)));
        match parser.parse(&cx, tokens) {
            Ok(item) => tree.items.push(with_doc(item, segment.doc)),
            Err(error) => {
                let at = match error {
                    lalrpop_util::ParseError::UnrecognizedToken { token, .. } => token.0,
                    _ => segment.lexemes.len() - 1,
                };
                diagnostics.push(Diagnostic::error(
                    Code::E0002,
                    segment.lexemes[at].span,
                    format!("unexpected {}", segment.lexemes[at].token.describe()),
                    "here",
                ));
            }
        }
        cx.complaints.into_inner().into_iter().for_each(|d| diagnostics.push(d));
    }
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
