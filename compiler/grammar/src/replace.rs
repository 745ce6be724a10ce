//! What to give up where nothing was merely left out: the smallest entry, value, clause or statement around the fault.
//! Saying what is wrong is `repair.rs`'s business.

use std::ops::Range;

use pantile_syntax::ast::BROKEN;
use pantile_syntax::token::Token;

use crate::repair::{Edit, Repair};

impl<'t> Repair<'_, 't> {
    /// Replaces the smallest stretch that can be.
    pub fn replace(&self) -> Option<Edit<'t>> {
        let at = self.fault.at;
        let mut place = at;
        loop {
            let group = self.outline.group(place);
            let edit = match group {
                Some(open) if self.outline.holds_statements(open) => self
                    .replace_statement(open, place)
                    .or_else(|| self.swap(self.outline.inside(group), Token::BadStmt)),
                Some(open) => self.replace_entry(self.outline.inside(group), Some(open), place),
                None => return self.replace_header(place),
            };
            match (edit, group) {
                (Some(edit), _) => return Some(edit),
                // Already replaced, and still not accepted: the whole bracket goes.
                (None, Some(open)) => place = open,
                (None, None) => return None,
            }
            if self.outline.group(place) == group {
                return None;
            }
        }
    }

    /// A range becomes `token`, unless it is that already.
    fn swap(&self, range: Range<usize>, token: Token<'t>) -> Option<Edit<'t>> {
        if range.len() == 1 && self.token(range.start) == Some(token) {
            return None;
        }
        Some(Edit::replace(range, token))
    }

    /// In parentheses or brackets: one entry, without `name:` or `name in` before it.
    fn replace_entry(&self, within: Range<usize>, group: Option<usize>, at: usize) -> Option<Edit<'t>> {
        let entry = self.outline.entry(within, group, at);
        let prefix = matches!(self.token(entry.start + 1), Some(Token::Colon | Token::In));
        if prefix && at > entry.start + 1 && entry.start + 2 <= entry.end {
            let value = entry.start + 2..entry.end;
            if let Some(edit) = self.swap(value, Token::BadExpr) {
                return Some(edit);
            }
        }
        // `NAME ?`, where `NAME: type` or `NAME in extent` is meant: the name stays defined.
        if at == entry.start + 1 && at < entry.end && !self.fault.expected.has("or") {
            let sign =
                [(":", Token::Colon), ("in", Token::In)].into_iter().find(|(text, _)| self.fault.expected.has(text));
            if let Some((_, sign)) = sign {
                return Some(Edit { range: at..entry.end, tokens: vec![sign, Token::BadExpr] });
            }
        }
        self.swap(entry, Token::BadExpr)
    }

    fn replace_statement(&self, group: usize, at: usize) -> Option<Edit<'t>> {
        let statement = self.outline.statement(group, at);
        let with_semi = statement.start..statement.end + usize::from(self.token(statement.end) == Some(Token::Semi));
        let edit = match self.token(statement.start) {
            Some(Token::Let) => self.replace_let(group, statement.clone(), at),
            Some(Token::For | Token::If) => self.replace_clause(group, statement.clone(), at),
            _ => self.replace_value(group, statement.clone(), at),
        };
        if edit.is_some() {
            return edit;
        }
        self.swap(with_semi, Token::BadStmt)
    }

    /// `let NAME = ?`: the name stays defined.
    fn replace_let(&self, group: usize, statement: Range<usize>, at: usize) -> Option<Edit<'t>> {
        if let Some(edit) = self.replace_value(group, statement.clone(), at) {
            return Some(edit);
        }
        let is_assign = |&i: &usize| self.token(i) == Some(Token::Assign);
        if self.outline.level(statement.clone(), Some(group)).find(is_assign).is_some_and(|assign| assign < at) {
            return None;
        }
        let name = statement.start + 1 + usize::from(self.token(statement.start + 1) == Some(Token::Mut));
        let named = matches!(self.token(name), Some(Token::Name(_))) && at > name;
        named.then(|| Edit { range: name + 1..statement.end, tokens: vec![Token::Assign, Token::BadExpr] })
    }

    /// What stands after `=` or `+=`, if the fault is there.
    fn replace_value(&self, group: usize, statement: Range<usize>, at: usize) -> Option<Edit<'t>> {
        let is_assign = |&i: &usize| {
            matches!(
                self.token(i),
                Some(Token::Assign | Token::AddAssign | Token::SubAssign | Token::MulAssign | Token::DivAssign)
            )
        };
        let assign = self.outline.level(statement.clone(), Some(group)).find(is_assign)?;
        if assign >= at {
            return None;
        }
        self.swap(assign + 1..statement.end, Token::BadExpr)
    }

    /// A clause of a `for` or `if`, before its body.
    fn replace_clause(&self, group: usize, statement: Range<usize>, at: usize) -> Option<Edit<'t>> {
        let level = |range: Range<usize>| self.outline.level(range, Some(group));
        let body = level(at..statement.end).find(|&i| self.token(i) == Some(Token::LBrace))?;
        let begins = |&i: &usize| {
            matches!(self.token(i), Some(Token::In | Token::By | Token::Via | Token::Where | Token::If | Token::For))
        };
        let clause = level(statement.start..at).rev().find(begins)?;
        if self.token(clause) == Some(Token::For) {
            let named = matches!(self.token(clause + 1), Some(Token::Name(_))) && clause + 1 < at;
            let name = if named { self.token(clause + 1)? } else { Token::Name(BROKEN) };
            return Some(Edit { range: clause + 1..body, tokens: vec![name, Token::In, Token::BadExpr] });
        }
        let end = level(clause + 1..body).find(begins).unwrap_or(body);
        self.swap(clause + 1..end.max(at.min(body)), Token::BadExpr)
    }

    /// Outside all brackets: a constant's type or value, a generic parameter, a result type.
    fn replace_header(&self, at: usize) -> Option<Edit<'t>> {
        let level = |range: Range<usize>| self.outline.level(range, None);
        let all = 0..self.lexemes.len();
        if self.token(0) == Some(Token::Const) {
            let end = level(all).find(|&i| self.token(i) == Some(Token::Semi)).unwrap_or(self.lexemes.len());
            let Some(assign) = level(0..end).find(|&i| self.token(i) == Some(Token::Assign)) else {
                let value = vec![Token::Assign, Token::BadExpr];
                return (at > 2).then_some(Edit { range: at.min(end)..end, tokens: value });
            };
            let colon = level(0..assign).find(|&i| self.token(i) == Some(Token::Colon));
            return match colon {
                None if at == 2 => Some(Edit { range: 2..2, tokens: vec![Token::Colon, Token::BadExpr] }),
                Some(colon) if at <= assign => self.swap(colon + 1..assign, Token::BadExpr),
                Some(_) if assign < end => self.swap(assign + 1..end, Token::BadExpr),
                Some(_) | None => None,
            };
        }
        if matches!(self.token(2), Some(Token::Lt | Token::ConstOpen)) {
            let end = level(3..self.lexemes.len()).find(|&i| self.token(i) == Some(Token::Gt));
            if let Some(end) = end.filter(|&end| at <= end) {
                return self.replace_entry(3..end, None, at);
            }
        }
        let arrow = level(0..at).rev().find(|&i| self.token(i) == Some(Token::Arrow))?;
        let body = level(at..self.lexemes.len()).find(|&i| self.token(i) == Some(Token::LBrace))?;
        self.swap(arrow + 1..body, Token::BadExpr)
    }
}
