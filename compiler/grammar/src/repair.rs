//! Parses one item, and where it does not parse: reports it, replaces as little as will do, and parses again. A missing
//! sign is put in; an entry, a value or a statement that cannot be read becomes a `bad expression` or `bad statement`
//! token, which the grammar accepts. So each error is reported where it is, and the rest of the item is still read.
//! Nothing here builds trees.

use std::ops::Range;

use lalrpop_util::ParseError;
use pantile_diag::{Code, Diagnostic, Diagnostics, Span};
use pantile_syntax::ast::Item;
use pantile_syntax::lexer::{Lexeme, report};
use pantile_syntax::token::Token;

use crate::expected::{Expected, Place};
use crate::outline::Outline;
use crate::pantile::ItemParser;
use crate::slips::end_of;
use crate::tree::Cx;

/// After so many repairs an item is given up.
const MAX_REPAIRS: usize = 50;

/// The item, if there is one left after repairs. `next` is the token after it in the file.
pub fn parse_item<'t>(
    parser: &ItemParser,
    mut lexemes: Vec<Lexeme<'t>>,
    next: Option<Token<'t>>,
    diagnostics: &mut Diagnostics,
) -> Option<Item> {
    let mut said_in = Vec::new();
    for _ in 0..MAX_REPAIRS {
        let cx = Cx::new(&lexemes);
        let tokens = lexemes.iter().enumerate().map(|(at, l)| Ok((at, l.token, at + 1)));
        let (at, terminals) = match parser.parse(&cx, tokens) {
            Ok(item) => {
                cx.complaints.into_inner().into_iter().for_each(|d| report(diagnostics, d));
                return Some(item);
            }
            Err(ParseError::UnrecognizedToken { token, expected }) => (token.0, expected),
            Err(ParseError::ExtraToken { token }) => (token.0, Vec::new()),
            Err(ParseError::UnrecognizedEof { expected, .. }) => (lexemes.len(), expected),
            Err(ParseError::InvalidToken { .. } | ParseError::User { .. }) => return None,
        };
        let fault = Fault { at, expected: Expected::new(&terminals), next };
        let (edit, said) = Repair { outline: Outline::new(&lexemes), lexemes: &lexemes, fault: &fault }.find();
        let told = lexemes.get(at).is_some_and(|l| l.after_stray);
        if let Some((key, diagnostic)) = said
            && !told
            && !said_in.contains(&key)
        {
            said_in.push(key);
            report(diagnostics, diagnostic);
        }
        let Edit { range, tokens } = edit?;
        let place = place_of(&lexemes, &range);
        let first = lexemes.get(range.start).filter(|_| !range.is_empty()).and_then(|l| l.indent);
        let start = range.start;
        let made: Vec<Lexeme> = tokens.into_iter().map(|token| Lexeme::made(token, place)).collect();
        let any = !made.is_empty();
        lexemes.splice(range, made);
        if any {
            lexemes[start].indent = first;
        }
    }
    None
}

/// The place that new tokens for `range` get.
fn place_of(lexemes: &[Lexeme], range: &Range<usize>) -> Span {
    let before = range.start.checked_sub(1).and_then(|at| lexemes.get(at)).map(|l| end_of(l.span));
    match lexemes.get(range.clone()) {
        Some([only]) => only.span,
        Some([first, .., last]) => first.span.to(last.span),
        Some([]) | None => before.unwrap_or_default(),
    }
}

/// Where the parser stopped.
pub struct Fault<'t> {
    /// The token that cannot stand where it does, or the number of tokens.
    pub at: usize,
    /// What could.
    pub expected: Expected,
    next: Option<Token<'t>>,
}

/// Tokens in place of others.
pub struct Edit<'t> {
    /// What goes.
    pub range: Range<usize>,
    /// What comes.
    pub tokens: Vec<Token<'t>>,
}

impl<'t> Edit<'t> {
    /// Something that was left out.
    pub fn insert(at: usize, token: Token<'t>) -> Self {
        Self { range: at..at, tokens: vec![token] }
    }

    /// Something that stands for what was written.
    pub fn replace(range: Range<usize>, token: Token<'t>) -> Self {
        Self { range, tokens: vec![token] }
    }
}

/// A diagnostic, and what it is about: the same is said once.
pub type Report = Option<((u32, &'static str), Diagnostic)>;

/// One fault, and the tokens around it.
pub struct Repair<'a, 't> {
    /// Brackets and statements.
    pub outline: Outline<'a, 't>,
    /// The item's tokens.
    pub lexemes: &'a [Lexeme<'t>],
    /// The fault.
    pub fault: &'a Fault<'t>,
}

impl<'t> Repair<'_, 't> {
    /// What to change, or nothing if the item cannot be saved; and what to say.
    fn find(&self) -> (Option<Edit<'t>>, Report) {
        if self.fault.expected.nothing() {
            return self.after_the_item();
        }
        self.known_slip().or_else(|| self.missing_sign()).unwrap_or_else(|| (self.replace(), self.unexpected()))
    }

    /// The token at `at`.
    pub fn token(&self, at: usize) -> Option<Token<'t>> {
        self.outline.token(at)
    }

    fn before(&self, back: usize) -> Option<Token<'t>> {
        self.fault.at.checked_sub(back).and_then(|at| self.token(at))
    }

    fn span(&self, at: usize) -> Span {
        match self.lexemes.get(at) {
            Some(lexeme) => lexeme.span,
            None => self.lexemes.last().map(|l| end_of(l.span)).unwrap_or_default(),
        }
    }

    fn found(&self) -> String {
        match (self.token(self.fault.at), self.fault.next) {
            (Some(token), _) => token.describe(),
            (None, Some(next)) => next.describe(),
            (None, None) => "the end of the file".into(),
        }
    }

    fn say(&self, about: &'static str, at: usize, message: String, label: String, help: Option<&str>) -> Report {
        let diagnostic = Diagnostic::error(Code::E0002, self.span(at), message, label);
        let diagnostic = match help {
            Some(help) => diagnostic.with_help(help),
            None => diagnostic,
        };
        Some(((self.span(at).start, about), diagnostic))
    }

    /// Tokens that follow a complete item.
    fn after_the_item(&self) -> (Option<Edit<'t>>, Report) {
        let at = self.fault.at;
        if self.token(at) == Some(Token::Semi) {
            let report =
                self.say("semi", at, "no `;` after an item's `}`".into(), "not needed".into(), Some("remove it"));
            return (Some(Edit { range: at..at + 1, tokens: Vec::new() }), report);
        }
        let edit = Edit { range: at..self.lexemes.len(), tokens: Vec::new() };
        (Some(edit), Some(((self.span(at).start, "item"), outside_items(&self.lexemes[at..]))))
    }

    /// Slips that show only in their place in the grammar.
    fn known_slip(&self) -> Option<(Option<Edit<'t>>, Report)> {
        let at = self.fault.at;
        let found = self.token(at)?;
        let group = self.outline.group(at).and_then(|g| self.token(g));
        match found {
            Token::Assign if self.in_condition() => {
                let report =
                    self.say("eq", at, "`=` assigns".into(), "not a comparison".into(), Some("compare with `==`"));
                Some((Some(Edit::replace(at..at + 1, Token::Eq)), report))
            }
            Token::Assign if group == Some(Token::LParen) => self.argument_by_equals(),
            Token::ConstOpen if at == 2 => {
                let help = "write the kind before the default: `BQ: int = 128`";
                let message = "a constant parameter needs its kind".to_string();
                let report = self.say("kind", at + 1, message, "of what kind?".into(), Some(help));
                let tokens = vec![Token::Lt, self.token(at + 1)?, Token::Colon, Token::Name("int")];
                Some((Some(Edit { range: at..at + 2, tokens }), report))
            }
            _ if self.before(1) == Some(Token::Arrow) && self.fault.expected.has("(") && found != Token::LParen => {
                self.bare_outputs()
            }
            Token::LBrace if self.fault.expected.has("grid") => {
                let help = "write `grid (i in N by 128, b in B)` before the body";
                let report =
                    self.say("grid", at, "a kernel needs its grid".into(), "expected `grid`".into(), Some(help));
                Some((None, report))
            }
            _ => None,
        }
    }

    /// Whether the fault stands between `if` or `where` and the `{` after it.
    fn in_condition(&self) -> bool {
        let group = self.outline.group(self.fault.at);
        let within = self.outline.inside(group);
        let starts = |&i: &usize| {
            matches!(
                self.token(i),
                Some(Token::If | Token::Where | Token::Semi | Token::Let | Token::LBrace | Token::RBrace)
            )
        };
        let last = self.outline.level(within.start..self.fault.at, group).rev().find(starts);
        let condition = last.is_some_and(|i| match self.token(i) {
            Some(Token::If) => true,
            Some(Token::Where) => self.token(i + 1) != Some(Token::LParen),
            _ => false,
        });
        condition && self.outline.level(self.fault.at..within.end, group).any(|i| self.token(i) == Some(Token::LBrace))
    }

    /// `f(name = x)`.
    fn argument_by_equals(&self) -> Option<(Option<Edit<'t>>, Report)> {
        let at = self.fault.at;
        let Some(Token::Name(name)) = self.before(1) else { return None };
        if !matches!(self.before(2), Some(Token::Comma | Token::LParen)) {
            return None;
        }
        let message = "`=` does not give an argument".to_string();
        if matches!(name, "axis" | "axes" | "dim" | "dims") {
            let report = self.say("axis", at, message, "not an argument".into(), Some("name the dimension: `over d`"));
            let group = self.outline.group(at);
            let entry = self.outline.entry(self.outline.inside(group), group, at);
            return Some((Some(Edit::replace(entry, Token::BadExpr)), report));
        }
        let help = "an argument by name is `name: value`";
        let report = self.say("named", at, message, "expected `:`".into(), Some(help));
        Some((Some(Edit::replace(at..at + 1, Token::Colon)), report))
    }

    /// `-> out: tensor<T>[N]` without parentheses.
    fn bare_outputs(&self) -> Option<(Option<Edit<'t>>, Report)> {
        let at = self.fault.at;
        let help = "write `-> (out: tensor<f32>[N])`";
        let message = "outputs stand in parentheses, each with its name".to_string();
        let report = self.say("outs", at, message, "expected `(`".into(), Some(help));
        if self.token(at + 1) != Some(Token::Colon) {
            return Some((None, report));
        }
        let end = self
            .outline
            .level(at..self.lexemes.len(), None)
            .find(|&i| matches!(self.token(i), Some(Token::Grid | Token::LBrace)))?;
        let inner = self.lexemes[at..end].iter().map(|l| l.token);
        let tokens = [Token::LParen].into_iter().chain(inner).chain([Token::RParen]).collect();
        Some((Some(Edit { range: at..end, tokens }), report))
    }

    /// A `;` or `,` that was left out.
    fn missing_sign(&self) -> Option<(Option<Edit<'t>>, Report)> {
        let at = self.fault.at;
        let found = self.token(at);
        let (sign, text) = if self.fault.expected.has(";") && self.ends_statement(found) {
            (Token::Semi, ";")
        } else if self.fault.expected.has(",") && found.is_some_and(|t| starts_entry(&t)) && !self.after_keyword() {
            (Token::Comma, ",")
        } else {
            return None;
        };
        let span = end_of(self.span(at.checked_sub(1)?));
        let message = format!("missing `{text}` before {}", self.found());
        let diagnostic = Diagnostic::error(Code::E0002, span, message, format!("expected `{text}`"));
        // A list without commas is one slip.
        let about = match (sign, self.outline.group(at)) {
            (Token::Comma, Some(group)) => (self.span(group).start, "list"),
            _ => (span.start, text),
        };
        Some((Some(Edit::insert(at, sign)), Some((about, diagnostic))))
    }

    /// Whether what was found cannot continue a statement: it begins another one, or the block ends.
    fn ends_statement(&self, found: Option<Token<'t>>) -> bool {
        match found {
            None | Some(Token::RBrace | Token::Let | Token::For | Token::Atomic | Token::Require) => true,
            Some(Token::Name(_) | Token::If | Token::BadStmt | Token::LBrace) => self.on_new_line(),
            Some(_) => false,
        }
    }

    fn on_new_line(&self) -> bool {
        self.lexemes.get(self.fault.at).is_some_and(|l| l.indent.is_some())
    }

    /// A foreign word before the fault makes a missing comma unlikely.
    fn after_keyword(&self) -> bool {
        matches!(self.before(1), Some(Token::Name(name)) if crate::expected::foreign(name).is_some())
    }

    fn unexpected(&self) -> Report {
        let at = self.fault.at;
        let group = self.outline.group(at);
        let entry = match group {
            Some(open) if self.outline.holds_statements(open) => self.outline.statement(open, at),
            Some(_) | None => self.outline.entry(self.outline.inside(group), group, at),
        };
        let is_comparison =
            |t: &Token| matches!(t, Token::Lt | Token::Gt | Token::Le | Token::Ge | Token::Eq | Token::Ne);
        let place = Place {
            found: self.token(at),
            before: [self.before(1), self.before(2)],
            group: group.and_then(|g| self.token(g)),
            comparisons: self
                .outline
                .level(entry.start.min(at)..at, group)
                .filter_map(|i| self.token(i))
                .filter(is_comparison)
                .collect(),
        };
        let expected = self.fault.expected.describe(self.before(1));
        let message = format!("expected {expected}, found {}", self.found());
        let hint = place.hint(&self.fault.expected);
        self.say("unexpected", at, message, "unexpected".into(), hint)
    }
}

/// Whether a token can begin an entry of a list.
fn starts_entry(token: &Token) -> bool {
    matches!(
        token,
        Token::Name(_)
            | Token::Int(_)
            | Token::Float(_)
            | Token::Size(_)
            | Token::Str(_)
            | Token::BadExpr
            | Token::True
            | Token::False
            | Token::Over
            | Token::At
            | Token::All
            | Token::If
            | Token::Mut
            | Token::LParen
    )
}

/// A complaint about tokens that belong to no item.
pub fn outside_items(lexemes: &[Lexeme]) -> Diagnostic {
    let first = lexemes.first().map(|l| (l.span, l.token.describe(), l.token));
    let (span, found, token) = first.unwrap_or((Span::default(), "nothing".into(), Token::Semi));
    let all = lexemes.last().map_or(span, |l| span.to(l.span));
    let help = match token {
        Token::Name(name) => crate::expected::foreign(name),
        Token::Let => Some("a value for the whole file is `const NAME: f32 = …;`"),
        Token::RBrace => Some("there may be one `}` too many before this"),
        _ => None,
    };
    let message = format!("expected an item, found {found}");
    Diagnostic::error(Code::E0002, span.to(all), message, "not part of an item")
        .with_help(help.unwrap_or("items begin with `const`, `fn`, `order`, `kernel`, `pipeline`, `tune` or `use`"))
}
