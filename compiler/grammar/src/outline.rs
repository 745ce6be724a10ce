//! Where brackets, list entries and statements begin and end in the tokens of one item, without parsing: what a repair
//! may replace. Expects balanced brackets.

use std::ops::Range;

use pantile_syntax::lexer::Lexeme;
use pantile_syntax::token::Token;

/// Brackets of a list of tokens.
pub struct Outline<'a, 't> {
    lexemes: &'a [Lexeme<'t>],
    /// For each token, the innermost bracket around it. A bracket is not around itself.
    around: Vec<Option<usize>>,
    /// For each opening bracket, its closing one.
    close: Vec<usize>,
}

impl<'a, 't> Outline<'a, 't> {
    /// Of `lexemes`.
    pub fn new(lexemes: &'a [Lexeme<'t>]) -> Self {
        let mut around = vec![None; lexemes.len()];
        let mut close = vec![lexemes.len(); lexemes.len()];
        let mut open: Vec<usize> = Vec::new();
        for (at, lexeme) in lexemes.iter().enumerate() {
            match lexeme.token {
                Token::LParen | Token::LBracket | Token::LBrace => {
                    around[at] = open.last().copied();
                    open.push(at);
                }
                Token::RParen | Token::RBracket | Token::RBrace => {
                    if let Some(opener) = open.pop() {
                        close[opener] = at;
                    }
                    around[at] = open.last().copied();
                }
                _ => around[at] = open.last().copied(),
            }
        }
        Self { lexemes, around, close }
    }

    /// The token at `at`.
    pub fn token(&self, at: usize) -> Option<Token<'t>> {
        self.lexemes.get(at).map(|l| l.token)
    }

    /// The bracket in which a complaint about token `at` belongs: a closing bracket counts as inside.
    pub fn group(&self, at: usize) -> Option<usize> {
        match self.token(at)? {
            Token::RParen | Token::RBracket | Token::RBrace => (0..at).rev().find(|&open| self.close[open] == at),
            _ => self.around[at],
        }
    }

    /// What stands between a bracket and its end, or all.
    pub fn inside(&self, group: Option<usize>) -> Range<usize> {
        group.map_or(0..self.lexemes.len(), |open| open + 1..self.close[open])
    }

    /// The tokens of `range` that stand directly in `group`.
    pub fn level(&self, range: Range<usize>, group: Option<usize>) -> impl DoubleEndedIterator<Item = usize> + '_ {
        range.filter(move |&at| self.around[at] == group)
    }

    /// Whether a `{` holds statements: it is not the list of a `tile<T>{…}` or a `use`.
    pub fn holds_statements(&self, group: usize) -> bool {
        let before = group.checked_sub(1).and_then(|at| self.token(at));
        let after_type = before == Some(Token::Gt) && group >= 4 && self.token(group - 4) == Some(Token::Tile);
        self.token(group) == Some(Token::LBrace) && before != Some(Token::Path) && !after_type
    }

    /// The entry of a comma-separated list around `at`, without commas.
    pub fn entry(&self, within: Range<usize>, group: Option<usize>, at: usize) -> Range<usize> {
        let at = at.clamp(within.start, within.end);
        let is_comma = |&i: &usize| self.token(i) == Some(Token::Comma);
        let start = self.level(within.start..at, group).rev().find(is_comma).map_or(within.start, |i| i + 1);
        let end = self.level(at..within.end, group).find(is_comma).unwrap_or(within.end);
        start..end
    }

    /// The statement of a block around `at`, without its `;`.
    pub fn statement(&self, group: usize, at: usize) -> Range<usize> {
        let within = self.inside(Some(group));
        let mut start = within.start;
        for i in self.level(within.clone(), Some(group)) {
            let ends = match self.token(i) {
                Some(Token::Semi) => Some((i, i + 1)),
                Some(Token::RBrace) if self.block_like(start) => match self.token(i + 1) {
                    Some(Token::Else) => None,
                    Some(Token::Semi) => Some((i + 1, i + 2)),
                    Some(_) | None => Some((i + 1, i + 1)),
                },
                Some(Token::Let | Token::For | Token::Atomic) if i > start => Some((i, i)),
                _ => None,
            };
            if let Some((end, next)) = ends {
                if at < next || (at == end && end == i) {
                    return start..end;
                }
                start = next;
            }
        }
        start..within.end
    }

    fn block_like(&self, start: usize) -> bool {
        matches!(self.token(start), Some(Token::If | Token::For | Token::LBrace))
    }
}
