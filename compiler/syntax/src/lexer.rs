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
    /// If it is the first on its line: the bytes before it on that line.
    pub indent: Option<u32>,
    /// Whether something just before it was reported and left out.
    pub after_stray: bool,
}

/// After so many errors in one file, the text is taken for something else than a program.
pub const MAX_ERRORS: usize = 100;

/// Says `diagnostic`, unless [`MAX_ERRORS`] were said; the last says so.
pub fn report(diagnostics: &mut Diagnostics, diagnostic: Diagnostic) {
    if diagnostics.len() < MAX_ERRORS {
        diagnostics.push(diagnostic);
    } else if diagnostics.len() == MAX_ERRORS {
        let message = format!("more than {MAX_ERRORS} errors; no others are shown");
        let span = diagnostic.primary.span;
        diagnostics.push(Diagnostic::error(diagnostic.code, span, message, "and from here on"));
    }
}

impl<'t> Lexeme<'t> {
    /// A token that was not written, at `span`.
    pub fn made(token: Token<'t>, span: Span) -> Self {
        Self { token, span, indent: None, after_stray: false }
    }
}

/// The tokens of `text`; what is no token is reported, and stands as [`Token::BadExpr`] where it was meant as a value.
pub fn lex(file: FileId, text: &str) -> (Vec<Lexeme<'_>>, Diagnostics) {
    let mut scanner = Scanner { file, text, lexemes: Vec::new(), stray: None, diagnostics: Diagnostics::default() };
    if u32::try_from(text.len()).is_err() {
        let span = Span::new(file, 0, 0);
        scanner.diagnostics.push(Diagnostic::error(Code::E0001, span, "file is larger than 4 GiB", "not read"));
        return (Vec::new(), scanner.diagnostics);
    }
    let mut at = 0;
    while at < text.len() {
        at = scanner.scan_from(at);
    }
    scanner.end_stray();
    resolve_words(&mut scanner.lexemes);
    (scanner.lexemes, scanner.diagnostics)
}

struct Scanner<'t> {
    file: FileId,
    text: &'t str,
    lexemes: Vec<Lexeme<'t>>,
    /// Characters without meaning, not reported yet.
    stray: Option<Span>,
    diagnostics: Diagnostics,
}

impl<'t> Scanner<'t> {
    /// Scans until something other than a token has been dealt with; where to go on.
    fn scan_from(&mut self, from: usize) -> usize {
        for (token, range) in Token::lexer(&self.text[from..]).spanned() {
            let span = Span::new(self.file, from + range.start, from + range.end);
            match token {
                Ok(token) => self.push(token, span),
                Err(error) => return self.recover(error, span),
            }
        }
        self.text.len()
    }

    fn push(&mut self, token: Token<'t>, span: Span) {
        let after_stray = self.end_stray();
        let start = span.start as usize;
        let previous_end = self.lexemes.last().map_or(0, |l| l.span.end as usize);
        let line = self.text[previous_end..start].rfind('\n').map(|newline| previous_end + newline + 1);
        let first = line.or((previous_end == 0).then_some(0));
        let indent = first.map(|line| (start - line) as u32);
        self.lexemes.push(Lexeme { token, span, indent, after_stray });
    }

    /// Reports what is not a token, puts in what was meant, and says where to go on.
    fn recover(&mut self, error: LexError, mut span: Span) -> usize {
        match error {
            LexError::Character => return self.character(span),
            // What closes the call was probably not meant as text.
            LexError::OpenString => span.end = span.start + kept_of_open_string(self.found(span)) as u32,
            LexError::Number | LexError::TooLarge | LexError::Escape | LexError::SingleQuotes => {}
            LexError::Letters | LexError::BlockComment | LexError::HashComment => {}
        }
        let diagnostic = malformed(error, span, self.found(span));
        if matches!(error, LexError::BlockComment | LexError::HashComment) {
            report(&mut self.diagnostics, diagnostic);
        } else {
            self.push(Token::BadExpr, span);
            report(&mut self.diagnostics, diagnostic);
        }
        span.end as usize
    }

    /// A character that starts no token: a letter of a foreign alphabet, a look-alike of a sign, or a stray.
    fn character(&mut self, mut span: Span) -> usize {
        let Some(first) = self.found(span).chars().next() else { return span.end as usize };
        if first.is_alphabetic() {
            let touching =
                self.lexemes.last().filter(|l| l.span.end == span.start && matches!(l.token, Token::Name(_)));
            if let Some(start) = touching.map(|l| l.span.start) {
                span.start = start;
                self.lexemes.pop();
            }
            let rest = &self.text[span.start as usize..];
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            span.end = span.start + length as u32;
            let name = &rest[..length];
            self.push(Token::Name(name), span);
            report(&mut self.diagnostics, malformed(LexError::Letters, span, name));
            return span.end as usize;
        }
        if let Some((token, help)) = look_alike(first) {
            self.push(token, span);
            let message = format!("unexpected character `{first}`");
            self.diagnostics
                .push(Diagnostic::error(Code::E0001, span, message, "not a sign of the language").with_help(help));
            return span.end as usize;
        }
        match &mut self.stray {
            Some(run) if run.end == span.start => run.end = span.end,
            Some(_) | None => {
                self.end_stray();
                self.stray = Some(span);
            }
        }
        span.end as usize
    }

    fn found(&self, span: Span) -> &'t str {
        &self.text[span.start as usize..span.end as usize]
    }

    /// Reports stray characters; whether there were any.
    fn end_stray(&mut self) -> bool {
        let Some(span) = self.stray.take() else { return false };
        let found = self.found(span);
        let shown = || found.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>();
        let (message, label) = match found.chars().count() {
            1 => (format!("unexpected character `{}`", shown()), "this has no meaning here"),
            2..=12 => (format!("unexpected characters `{}`", shown()), "these have no meaning here"),
            count => (format!("{count} unexpected characters"), "these have no meaning here"),
        };
        let diagnostic = Diagnostic::error(Code::E0001, span, message, label);
        report(
            &mut self.diagnostics,
            match found.chars().next() {
                Some('~') => diagnostic.with_help("write `not` for a bool"),
                Some('`' | '“' | '”' | '\'') => {
                    diagnostic.with_help("strings are written with straight double quotes")
                }
                Some(_) | None => diagnostic,
            },
        );
        true
    }
}

/// The sign that a character was probably meant as.
fn look_alike(found: char) -> Option<(Token<'static>, &'static str)> {
    match found {
        '·' | '×' | '∗' => Some((Token::Star, "write `*`")),
        '÷' => Some((Token::Slash, "write `/`")),
        '−' | '–' | '—' => Some((Token::Minus, "write `-`")),
        '≤' => Some((Token::Le, "write `<=`")),
        '≥' => Some((Token::Ge, "write `>=`")),
        '≠' => Some((Token::Ne, "write `!=`")),
        '∞' => Some((Token::Name("inf"), "write `inf`")),
        '→' => Some((Token::Arrow, "write `->`")),
        _ => None,
    }
}

/// How much of a string without its end was probably meant as text: what comes before brackets that it does not open itself
/// and that end a statement or the line.
fn kept_of_open_string(found: &str) -> usize {
    const AFTER: [char; 6] = [')', ']', '}', ',', ' ', '\t'];
    let comment = found.match_indices("//").map(|(at, _)| at).find(|at| found[..*at].trim_end().ends_with(';'));
    let line = found[..comment.unwrap_or(found.len())].trim_end();
    let mut open = Vec::new();
    let mut end = line.len();
    for (at, letter) in line.char_indices() {
        match letter {
            '(' | '[' | '{' => open.push(letter),
            ')' | ']' | '}' if open.pop().is_none() => {
                let rest = line[at..].trim_start_matches(AFTER);
                if rest.is_empty() || rest.starts_with(';') {
                    end = at;
                    break;
                }
            }
            _ => {}
        }
    }
    line[..end].trim_end_matches([';', ',', ' ', '\t']).len().max(1)
}

/// `at` is a keyword in a list before an operand, `all` before a name or number, `order` before `NAME (`; `<` opens constants before `NAME =`.
fn resolve_words(lexemes: &mut [Lexeme]) {
    for at in 0..lexemes.len() {
        let in_list = at > 0 && matches!(lexemes[at - 1].token, Token::LParen | Token::Comma);
        let next = lexemes.get(at + 1).map(|l| l.token);
        let after = lexemes.get(at + 2).map(|l| l.token);
        let before_name = next.is_some_and(|t| is_name(&t));
        let token = &mut lexemes[at].token;
        match *token {
            Token::Name("at") if in_list && next.is_some_and(|t| starts_operand(&t)) => *token = Token::At,
            Token::Name("all") if before_name || matches!(next, Some(Token::Int(_))) => *token = Token::All,
            Token::Name("order") if before_name && after == Some(Token::LParen) => *token = Token::Order,
            Token::Lt if before_name && after == Some(Token::Assign) => *token = Token::ConstOpen,
            _ => {}
        }
    }
}

/// Whether a token is a name in most places.
fn is_name(token: &Token) -> bool {
    matches!(token, Token::Name(_) | Token::Grid | Token::Require | Token::Tensor | Token::Mask | Token::Tile)
}

/// Whether a token can only begin an operand. `(` and `-` can also follow a name.
fn starts_operand(token: &Token) -> bool {
    is_name(token)
        || matches!(token, Token::Int(_) | Token::Float(_) | Token::Not | Token::True | Token::False | Token::Where)
}

fn malformed(error: LexError, span: Span, found: &str) -> Diagnostic {
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
        LexError::SingleQuotes => Diagnostic::error(Code::E0001, span, "there are no single quotes", "not a string")
            .with_help("strings are written with double quotes, `\"text\"`"),
        LexError::Letters => Diagnostic::error(Code::E0001, span, format!("`{found}` is not a name"), "not a name")
            .with_help("names are letters of the English alphabet, digits and `_`"),
        LexError::BlockComment => Diagnostic::error(Code::E0001, span, "there are no block comments", "starts here")
            .with_help("begin each line with `//`"),
        LexError::HashComment => Diagnostic::error(Code::E0001, span, "`#` does not start a comment", "starts here")
            .with_help("comments start with `//`"),
    }
}
