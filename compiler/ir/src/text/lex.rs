//! Words, names, values and signs of IR text. `#` starts a comment that goes to the end of its line; so does `//`.

use super::ParseError;

/// A name and the number after its `'`, 0 without one.
pub(super) type Name = (String, u32);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// `dot`, `N`, `128`, `j'1`, `-1.5e-7`.
    Word(Name),
    /// `"text"`; `"a b"'1`.
    Quoted(Name),
    /// `%7`.
    Value(u32),
    /// `%q`.
    Param(Name),
    /// Anything else.
    Sign(&'static str),
}

const SIGNS: &[&str] = &["->", "+=", "..", "(", ")", "{", "}", "[", "]", "<", ">", ",", ":", "=", "@"];

/// Tokens, each with its line.
pub(super) fn lex(text: &str) -> Result<Vec<(Token, usize)>, ParseError> {
    let mut lexer = Lexer { rest: text, line: 1 };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next()? {
        tokens.push((token, lexer.line));
    }
    Ok(tokens)
}

struct Lexer<'t> {
    rest: &'t str,
    line: usize,
}

impl<'t> Lexer<'t> {
    fn next(&mut self) -> Result<Option<Token>, ParseError> {
        self.skip();
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        if let Some(sign) = SIGNS.iter().find(|s| self.rest.starts_with(**s)) {
            self.rest = &self.rest[sign.len()..];
            return Ok(Some(Token::Sign(sign)));
        }
        match first {
            '%' => {
                self.rest = &self.rest[1..];
                self.percent().map(Some)
            }
            '"' => Ok(Some(Token::Quoted((self.quoted()?, self.suffix()?)))),
            c if is_word(c) || c == '-' => {
                let word = self.word();
                Ok(Some(Token::Word((word, self.suffix()?))))
            }
            c => Err(self.error(format!("unexpected `{}`", c.escape_default()))),
        }
    }

    fn error(&self, message: String) -> ParseError {
        ParseError { line: self.line, message }
    }

    fn skip(&mut self) {
        loop {
            let trimmed = self.rest.trim_start();
            self.line += self.rest[..self.rest.len() - trimmed.len()].matches('\n').count();
            self.rest = trimmed;
            if !trimmed.starts_with('#') && !trimmed.starts_with("//") {
                return;
            }
            self.rest = &trimmed[trimmed.find('\n').unwrap_or(trimmed.len())..];
        }
    }

    fn percent(&mut self) -> Result<Token, ParseError> {
        if self.rest.starts_with('"') {
            return Ok(Token::Param((self.quoted()?, self.suffix()?)));
        }
        let word = self.take(|rest| rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return match word.parse() {
                // Values index a table, which this text must not make large by naming a large number.
                Ok(n) if n < 1 << 20 => Ok(Token::Value(n)),
                _ => Err(self.error(format!("`%{word}` is not the number of a value"))),
            };
        }
        if word.is_empty() {
            return Err(self.error("`%` without a name".into()));
        }
        Ok(Token::Param((word.to_string(), self.suffix()?)))
    }

    fn take(&mut self, end: impl Fn(&str) -> usize) -> &'t str {
        let (word, rest) = self.rest.split_at(end(self.rest));
        self.rest = rest;
        word
    }

    /// A word; a number may have a sign, a point and an exponent.
    fn word(&mut self) -> String {
        let mut word = String::new();
        if self.rest.starts_with('-') {
            self.rest = &self.rest[1..];
            word.push('-');
        }
        let number = self.rest.starts_with(|c: char| c.is_ascii_digit());
        word += self.take(|rest| rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
        if number && self.rest.starts_with('.') && !self.rest.starts_with("..") {
            self.rest = &self.rest[1..];
            word.push('.');
            word += self.take(|rest| rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
        }
        if number && word.ends_with(['e', 'E']) && self.rest.starts_with(['-', '+']) {
            word += self.take(|rest| 1 + rest[1..].find(|c| !is_word(c)).unwrap_or(rest.len() - 1));
        }
        word
    }

    fn suffix(&mut self) -> Result<u32, ParseError> {
        let Some(rest) = self.rest.strip_prefix('\'') else { return Ok(0) };
        self.rest = rest;
        let digits = self.take(|rest| rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        digits.parse().map_err(|_| self.error("a number must follow `'`".into()))
    }

    fn quoted(&mut self) -> Result<String, ParseError> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, c @ ('"' | '\\'))) => text.push(c),
                    _ => return Err(self.error("unknown escape in a text".into())),
                },
                '\n' => break,
                c => text.push(c),
            }
        }
        Err(self.error("a text does not end on its line".into()))
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
