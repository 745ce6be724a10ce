//! Habits from other languages that can be put right token by token, before parsing: each is reported once and replaced
//! by what was meant. Slips that need the grammar to be seen are in `expected.rs`.

use pantile_diag::{Code, Diagnostic, Diagnostics, Span};
use pantile_syntax::ast::BROKEN;
use pantile_syntax::lexer::{Lexeme, report};
use pantile_syntax::token::Token;

/// The tokens that were meant.
pub fn correct<'t>(lexemes: &[Lexeme<'t>], diagnostics: &mut Diagnostics) -> Vec<Lexeme<'t>> {
    let mut out: Vec<Lexeme> = Vec::with_capacity(lexemes.len());
    let mut at = 0;
    while at < lexemes.len() {
        let previous = out.last().map(|l| l.token);
        match slip(&lexemes[at..], previous) {
            Some(slip) => {
                let span = lexemes[at].span.to(lexemes[at + slip.length - 1].span);
                report(
                    diagnostics,
                    Diagnostic::error(Code::E0002, span, slip.message, slip.label).with_help(slip.help),
                );
                let first = out.len();
                out.extend(slip.meant.into_iter().map(|token| Lexeme::made(token, span)));
                if let Some(replaced) = out.get_mut(first) {
                    *replaced = Lexeme { token: replaced.token, span, ..lexemes[at] };
                }
                at += slip.length;
            }
            None => {
                out.push(lexemes[at]);
                at += 1;
            }
        }
    }
    out
}

struct Slip<'t> {
    length: usize,
    meant: Vec<Token<'t>>,
    message: &'static str,
    label: &'static str,
    help: &'static str,
}

fn slip<'t>(rest: &[Lexeme<'t>], previous: Option<Token<'t>>) -> Option<Slip<'t>> {
    let token = |n: usize| rest.get(n).map(|l| l.token);
    let one = |length, meant: &[Token<'t>], message, label, help| {
        Some(Slip { length, meant: meant.to_vec(), message, label, help })
    };
    match (rest.first()?.token, token(1), token(2)) {
        (Token::AndAnd, ..) => one(1, &[Token::And], "`&&` is written `and`", "not an operator", "write `and`"),
        (Token::OrOr, ..) => one(1, &[Token::Or], "`||` is written `or`", "not an operator", "write `or`"),
        (Token::Bang, ..) => one(1, &[Token::Not], "`!` is written `not`", "not an operator", "write `not`"),
        (Token::Colon, Some(Token::Assign), _) if touch(rest) => {
            one(2, &[Token::Assign], "`:=` is written `=`", "not an operator", "write `let x = …;`")
        }
        (Token::Plus, Some(Token::Plus), Some(Token::Semi)) if touch(rest) => {
            one(2, &[Token::AddAssign, Token::Int(1)], "there is no `++`", "not an operator", "write `+= 1`")
        }
        (Token::Minus, Some(Token::Minus), Some(Token::Semi)) if touch(rest) => {
            one(2, &[Token::SubAssign, Token::Int(1)], "there is no `--`", "not an operator", "write `-= 1`")
        }
        (Token::Dot, Some(Token::Int(_)), _) if touch(rest) && !previous.is_some_and(ends_operand) => {
            one(2, &[Token::BadExpr], "a number begins with a digit", "malformed number", "write `0.5`, not `.5`")
        }
        (Token::Name("elif" | "elsif" | "elseif"), ..) if previous == Some(Token::RBrace) => {
            one(1, &[Token::Else, Token::If], "this is written `else if`", "not a keyword", "write `else if`")
        }
        (Token::Name("var" | "auto"), Some(Token::Name(_)), Some(Token::Assign)) => {
            let help = "write `let x = …;`, or `let mut x = …;` if it is assigned later";
            one(1, &[Token::Let, Token::Mut], "variables begin with `let`", "not a keyword", help)
        }
        (Token::Name("return"), Some(_), _) if begins_statement(previous) => returned(rest),
        (Token::For, Some(Token::LParen), _) => c_loop(rest),
        _ => None,
    }
}

fn touch(rest: &[Lexeme]) -> bool {
    rest[0].span.end == rest[1].span.start
}

fn begins_statement(previous: Option<Token>) -> bool {
    matches!(previous, Some(Token::Semi | Token::LBrace | Token::RBrace))
}

fn ends_operand(token: Token) -> bool {
    matches!(
        token,
        Token::Name(_)
            | Token::Int(_)
            | Token::Float(_)
            | Token::RParen
            | Token::RBracket
            | Token::RBrace
            | Token::BadExpr
    )
}

/// `return e;` without its `return`, and without its `;` if it is the last statement.
fn returned<'t>(rest: &[Lexeme<'t>]) -> Option<Slip<'t>> {
    let help = "end the block with the value, without `;`";
    let mut slip = Slip { length: 1, meant: Vec::new(), message: "there is no `return`", label: "not a keyword", help };
    let semi = rest.iter().position(|l| matches!(l.token, Token::Semi | Token::LBrace | Token::RBrace))?;
    if rest[semi].token == Token::Semi && rest.get(semi + 1).is_some_and(|l| l.token == Token::RBrace) && semi > 1 {
        slip.length = semi + 1;
        slip.meant = rest[1..semi].iter().map(|l| l.token).collect();
    }
    Some(slip)
}

/// `for (…)`, read as a loop over something unknown.
fn c_loop<'t>(rest: &[Lexeme<'t>]) -> Option<Slip<'t>> {
    let mut depth = 0usize;
    let close = rest.iter().position(|l| {
        match l.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        l.token == Token::RParen && depth == 0
    })?;
    if rest.get(close + 1)?.token != Token::LBrace {
        return None;
    }
    let name = rest[2..close].windows(2).find_map(|pair| match (pair[0].token, pair[1].token) {
        (Token::Name(name), Token::Assign | Token::In) => Some(name),
        _ => None,
    });
    Some(Slip {
        length: close + 1,
        meant: vec![Token::For, Token::Name(name.unwrap_or(BROKEN)), Token::In, Token::BadExpr],
        message: "a loop names what it runs over, without parentheses",
        label: "not a loop header",
        help: "write `for n in 0..count { … }` or `for j in M by BK { … }`",
    })
}

/// The end of `span`, as a place for what is missing there.
pub fn end_of(span: Span) -> Span {
    Span { start: span.end, ..span }
}
