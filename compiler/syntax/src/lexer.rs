//! Text into tokens with their places, and the words that are keywords only in some places. Brackets and statements are
//! the parser's business.

use logos::Logos;
use pantile_diag::{Code, Diagnostic, Diagnostics, FileId, Span};

use crate::token::{LexError, Token};

/// A token and where it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lexeme<'t> {
    /// The token.
    pub token: Token<'t>,
    /// Where.
    pub span: Span,
    /// Whether it is the first on its line.
    pub new_line: bool,
}

/// The tokens of `text`; what is no token is reported, and stands as [`Token::BadExpr`] where it was meant as a value.
pub fn lex(file: FileId, text: &str) -> (Vec<Lexeme<'_>>, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    if u32::try_from(text.len()).is_err() {
        let span = Span::new(file, 0, 0);
        diagnostics.push(Diagnostic::error(Code::E0001, span, "file is larger than 4 GiB", "not read"));
        return (Vec::new(), diagnostics);
    }
    let mut lexemes: Vec<Lexeme> = Vec::new();
    let mut stray: Option<Span> = None;
    let mut previous_end = 0;
    for (token, range) in Token::lexer(text).spanned() {
        let span = Span::new(file, range.start, range.end);
        let new_line = text[previous_end..range.start].contains('\n');
        previous_end = range.end;
        if token != Err(LexError::Character) {
            report_stray(stray.take(), text, &mut diagnostics);
        }
        match token {
            Ok(token) => lexemes.push(Lexeme { token, span, new_line }),
            Err(LexError::Character) => match &mut stray {
                Some(run) if run.end == span.start => run.end = span.end,
                Some(_) | None => report_stray(stray.replace(span), text, &mut diagnostics),
            },
            Err(error) => {
                diagnostics.push(malformed(error, span, text));
                if !matches!(error, LexError::BlockComment | LexError::HashComment) {
                    lexemes.push(Lexeme { token: Token::BadExpr, span, new_line });
                }
            }
        }
    }
    report_stray(stray, text, &mut diagnostics);
    resolve_words(&mut lexemes);
    (lexemes, diagnostics)
}

/// `at` and `all` are keywords before an operand, `order` before `NAME (`; `<` opens constants before `NAME =`.
fn resolve_words(lexemes: &mut [Lexeme]) {
    for at in 0..lexemes.len() {
        let next = lexemes.get(at + 1).map(|l| l.token);
        let after = lexemes.get(at + 2).map(|l| l.token);
        let token = &mut lexemes[at].token;
        match *token {
            Token::Name("at") if next.is_some_and(|t| starts_operand(&t)) => *token = Token::At,
            Token::Name("all") if matches!(next, Some(Token::Name(_) | Token::Int(_))) => *token = Token::All,
            Token::Name("order") if matches!((next, after), (Some(Token::Name(_)), Some(Token::LParen))) => {
                *token = Token::Order;
            }
            Token::Lt if matches!((next, after), (Some(Token::Name(_)), Some(Token::Assign))) => {
                *token = Token::ConstOpen;
            }
            _ => {}
        }
    }
}

/// Whether a token can only begin an operand. `(` and `-` can also follow a name.
fn starts_operand(token: &Token) -> bool {
    matches!(
        token,
        Token::Name(_) | Token::Int(_) | Token::Float(_) | Token::Not | Token::If | Token::True | Token::False
    )
}

fn report_stray(stray: Option<Span>, text: &str, diagnostics: &mut Diagnostics) {
    let Some(span) = stray else { return };
    let found = &text[span.start as usize..span.end as usize];
    let (shown, label) = match found.chars().count() {
        1 => (format!("unexpected character `{}`", found.escape_debug()), "this character"),
        2..=12 => (format!("unexpected characters `{}`", found.escape_debug()), "these characters"),
        count => (format!("{count} unexpected characters"), "these characters"),
    };
    let mut diagnostic = Diagnostic::error(Code::E0001, span, shown, format!("{label} has no meaning here"));
    if label != "this character" {
        diagnostic.primary.text = "these characters have no meaning here".into();
    }
    diagnostics.push(match slip(found) {
        Some(help) => diagnostic.with_help(help),
        None => diagnostic,
    });
}

/// What was probably meant by characters that start no token.
fn slip(found: &str) -> Option<&'static str> {
    match found.chars().next()? {
        '\'' | '`' | '“' | '”' => Some("strings are written with straight double quotes, `\"text\"`"),
        '·' | '×' => Some("write `*`"),
        '÷' => Some("write `/`"),
        '−' | '–' | '—' => Some("write `-`"),
        '≤' => Some("write `<=`"),
        '≥' => Some("write `>=`"),
        '≠' => Some("write `!=`"),
        '∞' => Some("write `inf`"),
        '→' => Some("write `->`"),
        '~' => Some("write `not` for a bool"),
        c if c.is_alphabetic() => Some("names are letters of the English alphabet, digits and `_`"),
        _ => None,
    }
}

fn malformed(error: LexError, span: Span, text: &str) -> Diagnostic {
    let found = &text[span.start as usize..span.end as usize];
    match error {
        LexError::Character | LexError::Number => {
            let message = format!("`{found}` is not a number");
            let diagnostic = Diagnostic::error(Code::E0003, span, message, "malformed number");
            match found.trim_end_matches(|c: char| c.is_ascii_alphabetic()) {
                "0" if found.len() > 1 => diagnostic.with_help("write `0x1F` for hexadecimal, `0b101` for binary"),
                number if number.len() < found.len() => {
                    diagnostic.with_help(format!("a literal takes its type from where it stands: write `{number}`"))
                }
                _ => diagnostic
                    .with_help("a name cannot start with a digit; numbers are `42`, `1_000`, `0x1F`, `1.5e-3`"),
            }
        }
        LexError::TooLarge => Diagnostic::error(Code::E0003, span, format!("`{found}` is too large"), "out of range")
            .with_help(format!("integers go to {} and floats to {:e}; `inf` is infinity", i64::MAX, f64::MAX)),
        LexError::OpenString => Diagnostic::error(Code::E0003, span, "string has no end on its line", "starts here")
            .with_help("close it with `\"`"),
        LexError::Escape => Diagnostic::error(Code::E0003, span, "unknown escape in a string", "in this string")
            .with_help("the escapes are `\\n`, `\\t`, `\\r`, `\\0`, `\\\"` and `\\\\`"),
        LexError::BlockComment => Diagnostic::error(Code::E0001, span, "there are no block comments", "starts here")
            .with_help("begin each line with `//`"),
        LexError::HashComment => Diagnostic::error(Code::E0001, span, "`#` does not start a comment", "starts here")
            .with_help("comments start with `//`"),
    }
}
