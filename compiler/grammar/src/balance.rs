//! Makes the brackets of an item match, so that later repairs can rely on them. Brackets that never close, close
//! something else or close nothing are reported here and nowhere else. Also bounds how deep the tree can become.

use pantile_diag::{Code, Diagnostic, Diagnostics, Span};
use pantile_syntax::lexer::{Lexeme, report};
use pantile_syntax::token::Token;

use crate::slips::end_of;

/// How many brackets and operators may stand inside one another. Whoever walks a tree recurses, and a thread's stack is
/// 2 MiB.
pub const MAX_DEPTH: usize = 200;

struct Balancer<'t, 'd> {
    out: Vec<Lexeme<'t>>,
    open: Vec<Lexeme<'t>>,
    /// The indents of the lines on which the open brackets stand.
    indents: Vec<u32>,
    /// The indent of this line.
    indent: u32,
    /// A brace, and the one that closes it but is indented otherwise.
    misfit: Option<(Lexeme<'t>, Lexeme<'t>)>,
    diagnostics: &'d mut Diagnostics,
}

/// The tokens with matching brackets; where they are too deep, if they are.
pub fn balance<'t>(lexemes: Vec<Lexeme<'t>>, diagnostics: &mut Diagnostics) -> Result<Vec<Lexeme<'t>>, Span> {
    let mut balancer = Balancer {
        out: Vec::with_capacity(lexemes.len()),
        open: Vec::new(),
        indents: Vec::new(),
        indent: 0,
        misfit: None,
        diagnostics,
    };
    for (at, lexeme) in lexemes.iter().enumerate() {
        let next = lexemes.get(at + 1).map(|l| l.token);
        balancer.take(*lexeme, next);
        if balancer.open.len() > MAX_DEPTH {
            return Err(lexeme.span);
        }
    }
    if let Some(last) = lexemes.last() {
        balancer.close_all(Lexeme::made(last.token, end_of(last.span)));
    }
    match too_deep(&balancer.out) {
        Some(span) => Err(span),
        None => Ok(balancer.out),
    }
}

/// The bracket that closes `token`.
pub fn closer(token: &Token) -> Option<Token<'static>> {
    match token {
        Token::LParen => Some(Token::RParen),
        Token::LBracket => Some(Token::RBracket),
        Token::LBrace => Some(Token::RBrace),
        _ => None,
    }
}

impl<'t> Balancer<'t, '_> {
    fn take(&mut self, lexeme: Lexeme<'t>, next: Option<Token<'t>>) {
        self.indent = lexeme.indent.unwrap_or(self.indent);
        match lexeme.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                self.open.push(lexeme);
                self.indents.push(self.indent);
            }
            Token::RBrace => {
                if !self.open.iter().any(|l| l.token == Token::LBrace) {
                    return self.report_stray(lexeme);
                }
                self.close_to_brace(lexeme);
                if let (Some(opener), indent) = self.pop()
                    && lexeme.indent.is_some_and(|own| own != indent)
                {
                    self.misfit.get_or_insert((opener, lexeme));
                }
            }
            Token::RParen | Token::RBracket => return self.close(lexeme),
            Token::Semi | Token::Arrow => {
                self.close_to_brace(lexeme);
            }
            Token::Let | Token::For | Token::Atomic => self.close_statement(lexeme),
            Token::Grid if next == Some(Token::LParen) && self.in_header() => {
                self.close_to_brace(lexeme);
            }
            _ => {}
        }
        self.out.push(lexeme);
    }

    fn pop(&mut self) -> (Option<Lexeme<'t>>, u32) {
        (self.open.pop(), self.indents.pop().unwrap_or_default())
    }

    fn in_header(&self) -> bool {
        let kernel = self.out.first().is_some_and(|l| l.token == Token::Kernel);
        kernel && !self.open.iter().any(|l| l.token == Token::LBrace)
    }

    fn insert(&mut self, token: Token<'static>) {
        let span = self.out.last().map(|l| end_of(l.span)).unwrap_or_default();
        self.out.push(Lexeme::made(token, span));
    }

    /// `)` or `]`.
    fn close(&mut self, lexeme: Lexeme<'t>) {
        let inner = self.open.iter().rev().take_while(|l| l.token != Token::LBrace);
        let matching = inner.clone().position(|l| closer(&l.token) == Some(lexeme.token));
        match (matching, inner.count()) {
            (Some(above), _) => {
                self.close_unclosed(above, lexeme);
                self.pop();
                self.out.push(lexeme);
            }
            (None, 0) => self.report_stray(lexeme),
            (None, _) => {
                if let (Some(opener), _) = self.pop() {
                    let (found, wrote) = (lexeme.token.describe(), opener.token.describe());
                    let expected = closer(&opener.token).unwrap_or(Token::RParen);
                    report(
                        self.diagnostics,
                        Diagnostic::error(
                            Code::E0002,
                            lexeme.span,
                            format!("{found} cannot close {wrote}"),
                            "closes it",
                        )
                        .with_label(opener.span, "opened here")
                        .with_help(format!("write {}", expected.describe())),
                    );
                    self.out.push(Lexeme { token: expected, ..lexeme });
                }
            }
        }
    }

    /// Closes what is open inside the innermost `{`, because `at` cannot stand there.
    fn close_to_brace(&mut self, at: Lexeme<'t>) -> bool {
        let count = self.open.iter().rev().take_while(|l| l.token != Token::LBrace).count();
        self.close_unclosed(count, at);
        count > 0
    }

    /// Ends the statement whose brackets are still open before `at`, which begins another one.
    fn close_statement(&mut self, at: Lexeme<'t>) {
        if self.close_to_brace(at) {
            self.insert(Token::Semi);
        }
    }

    /// Closes the innermost `count` brackets before `at`; one report speaks for all.
    fn close_unclosed(&mut self, count: usize, at: Lexeme<'t>) {
        let missing = self.out.last().map(|l| end_of(l.span)).unwrap_or(at.span);
        let mut said: Option<Diagnostic> = None;
        for _ in 0..count {
            let (Some(opener), _) = self.pop() else { break };
            let close = closer(&opener.token).unwrap_or(Token::RParen);
            said = Some(match said {
                Some(said) => said.with_label(opener.span, "nor is this"),
                None => unclosed(opener).with_label(missing, format!("{} may be missing here", close.describe())),
            });
            self.insert(close);
        }
        said.into_iter().for_each(|d| report(self.diagnostics, d));
    }

    fn report_stray(&mut self, lexeme: Lexeme<'t>) {
        let message = format!("{} closes nothing", lexeme.token.describe());
        report(self.diagnostics, Diagnostic::error(Code::E0002, lexeme.span, message, "nothing is open here"));
    }

    /// At the end of the item.
    fn close_all(&mut self, end: Lexeme<'t>) {
        self.close_to_brace(end);
        // A brace that is open keeps all outside it open: one speaks for the others.
        if let Some(opener) = self.open.last() {
            report(
                self.diagnostics,
                match self.misfit {
                    Some((opener, close)) => unclosed(opener)
                        .with_label(close.span, "this closes it, but is indented to close something else"),
                    None => unclosed(*opener),
                },
            );
        }
        while self.pop().0.is_some() {
            self.insert(Token::RBrace);
            self.close_to_brace(end);
        }
    }
}

fn unclosed(opener: Lexeme) -> Diagnostic {
    let message = format!("{} is never closed", opener.token.describe());
    Diagnostic::error(Code::E0002, opener.span, message, "opened here")
}

/// How deep a list or block is, and the operand being read in it.
struct Level {
    open: Token<'static>,
    base: usize,
    depth: usize,
}

/// The first token that stands too deep: brackets and operators make the tree deeper, `,` and `;` end an operand.
fn too_deep(lexemes: &[Lexeme]) -> Option<Span> {
    let mut levels = vec![Level { open: Token::Semi, base: 0, depth: 0 }];
    let mut previous = Token::Semi;
    for lexeme in lexemes {
        let new_statement = previous == Token::RBrace && !continues(&lexeme.token);
        previous = lexeme.token;
        if lexeme.token == Token::Gt && levels.last().is_some_and(|l| l.open == Token::ConstOpen) {
            levels.pop();
            continue;
        }
        if matches!(lexeme.token, Token::RParen | Token::RBracket | Token::RBrace) {
            // Constants that were not closed end with the bracket around them.
            while levels.len() > 1 && levels.pop().is_some_and(|l| l.open == Token::ConstOpen) {}
            continue;
        }
        let Some(level) = levels.last_mut() else { break };
        if new_statement || matches!(lexeme.token, Token::Comma | Token::Semi) {
            level.depth = level.base;
        }
        if continues(&lexeme.token) || matches!(lexeme.token, Token::LBrace | Token::Not | Token::If) {
            level.depth += 1;
        }
        if level.depth > MAX_DEPTH {
            return Some(lexeme.span);
        }
        let depth = level.depth;
        if let Some(open) = opens(&lexeme.token) {
            levels.push(Level { open, base: depth, depth });
        }
    }
    None
}

fn opens(token: &Token) -> Option<Token<'static>> {
    match token {
        Token::ConstOpen => Some(Token::ConstOpen),
        other => closer(other).map(|_| Token::LParen),
    }
}

/// Whether a token joins what stands before it to what follows.
fn continues(token: &Token) -> bool {
    matches!(
        token,
        Token::Else
            | Token::And
            | Token::Or
            | Token::As
            | Token::Eq
            | Token::Ne
            | Token::Lt
            | Token::Le
            | Token::Gt
            | Token::Ge
            | Token::Pipe
            | Token::Caret
            | Token::Amp
            | Token::Shl
            | Token::Shr
            | Token::Plus
            | Token::Minus
            | Token::Star
            | Token::Slash
            | Token::Percent
            | Token::LBracket
            | Token::LParen
            | Token::ConstOpen
    )
}
