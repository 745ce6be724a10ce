//! Cuts a file into items at the words that begin one, so that what is wrong in one item leaves the others alone. No
//! such word can stand inside an item.

use pantile_syntax::lexer::Lexeme;
use pantile_syntax::token::Token;

/// The tokens of one item.
#[derive(Debug, Default)]
pub struct Segment<'t> {
    /// The `///` lines above it.
    pub doc: String,
    /// From its first word to the next item's.
    pub lexemes: Vec<Lexeme<'t>>,
}

/// What stands before the first item, and the items.
pub fn split<'t>(lexemes: &[Lexeme<'t>]) -> (Vec<Lexeme<'t>>, Vec<Segment<'t>>) {
    let (mut before, mut segments): (Vec<Lexeme>, Vec<Segment>) = Default::default();
    let mut doc: Vec<&str> = Vec::new();
    for lexeme in lexemes {
        if let Token::Doc(line) = lexeme.token {
            doc.push(line);
            continue;
        }
        if starts_item(&lexeme.token) {
            segments.push(Segment { doc: doc.join("\n"), lexemes: Vec::new() });
        }
        // A `///` above anything but an item is a plain comment.
        doc.clear();
        segments.last_mut().map_or(&mut before, |s| &mut s.lexemes).push(*lexeme);
    }
    (before, segments)
}

/// Whether a token begins an item.
pub fn starts_item(token: &Token) -> bool {
    matches!(
        token,
        Token::Const | Token::Fn | Token::Order | Token::Kernel | Token::Pipeline | Token::Tune | Token::Use
    )
}
