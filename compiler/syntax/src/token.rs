//! The tokens: one row a word or sign. Which words are keywords in which place is `lexer.rs`'s business.

use logos::Logos;

/// What can be wrong inside one token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LexError {
    /// A character that starts no token.
    #[default]
    Character,
    /// A number that is not written as one.
    Number,
    /// A number beyond the range of its type.
    TooLarge,
    /// A string without its end.
    OpenString,
    /// A `\` followed by something without meaning.
    Escape,
    /// `'text'`.
    SingleQuotes,
    /// A name with letters other than those of the English alphabet.
    Letters,
    /// `/* … */`.
    BlockComment,
    /// `# …`.
    HashComment,
}

macro_rules! tokens {
    ($($(#[$soft:meta])* $name:ident $text:tt;)*) => {
        /// A token; names and strings borrow from the text.
        #[derive(Logos, Clone, Copy, Debug, PartialEq)]
        #[logos(skip r"[ \t\r\n\f\u{feff}]+")]
        #[logos(skip(r"//[^\n]*", allow_greedy = true))]
        #[logos(skip(r"////[^\n]*", allow_greedy = true, priority = 30))]
        #[logos(error = LexError)]
        pub enum Token<'t> {
            /// `attention`
            #[regex(r"[A-Za-z_][A-Za-z0-9_]*")]
            Name(&'t str),
            /// `128`, `1_000`, `0x1F`, `0b101`
            #[regex(r"[0-9][0-9_]*", integer, priority = 5)]
            #[regex(r"0[xX][0-9A-Fa-f_]+", integer, priority = 5)]
            #[regex(r"0[bB][01_]+", integer, priority = 5)]
            #[regex(r"[0-9][0-9A-Za-z_]*", malformed, priority = 1)]
            Int(i64),
            /// `1.5`, `1e-3`
            #[regex(r"[0-9][0-9_]*\.[0-9][0-9_]*([eE][+-]?[0-9][0-9_]*)?", float, priority = 5)]
            #[regex(r"[0-9][0-9_]*[eE][+-]?[0-9][0-9_]*", float, priority = 5)]
            #[regex(r"[0-9][0-9_]*\.[0-9][0-9A-Za-z_]*", malformed, priority = 1)]
            Float(f64),
            /// `128 KiB`, in bytes
            #[regex(r"[0-9][0-9_]*[ \t]*(KiB|MiB|GiB)", size, priority = 9)]
            Size(i64),
            /// `"text"`, as written between the quotes
            #[regex(r#""([^"\\\n]|\\[^\n])*""#, string)]
            #[regex(r#""([^"\\\n]|\\[^\n])*"#, open_string)]
            #[regex(r"'[^'\n]*'", single_quotes)]
            Str(&'t str),
            /// `/// text`, the text after the slashes
            #[regex(r"///[^\n]*", doc, allow_greedy = true, priority = 20)]
            #[regex(r"/\*", block_comment)]
            #[token("#", hash_comment)]
            Doc(&'t str),
            $(
                #[doc = concat!("`", $text, "`")]
                $(#[$soft])*
                $name,
            )*
            /// `<` before `NAME =`: the constants of a call.
            ConstOpen,
            /// In place of an expression that did not parse.
            BadExpr,
            /// In place of a statement that did not parse.
            BadStmt,
        }

        impl Token<'_> {
            /// How a word or sign is written; nothing for tokens that carry a value.
            pub fn text(&self) -> Option<&'static str> {
                match self {
                    $(Token::$name => Some($text),)*
                    Token::ConstOpen => Some("<"),
                    Token::Name(_) | Token::Int(_) | Token::Float(_) | Token::Size(_) | Token::Str(_)
                    | Token::Doc(_) | Token::BadExpr | Token::BadStmt => None,
                }
            }
        }
    };
}

tokens! {
    #[token("const")] Const "const";
    #[token("fn")] Fn "fn";
    // Lexed as a name; a keyword where `order NAME (` is written.
    Order "order";
    #[token("kernel")] Kernel "kernel";
    #[token("pipeline")] Pipeline "pipeline";
    #[token("tune")] Tune "tune";
    #[token("use")] Use "use";
    #[token("grid")] Grid "grid";
    #[token("require")] Require "require";
    #[token("let")] Let "let";
    #[token("mut")] Mut "mut";
    #[token("for")] For "for";
    #[token("in")] In "in";
    #[token("by")] By "by";
    #[token("via")] Via "via";
    #[token("where")] Where "where";
    #[token("if")] If "if";
    #[token("else")] Else "else";
    #[token("and")] And "and";
    #[token("or")] Or "or";
    #[token("not")] Not "not";
    #[token("true")] True "true";
    #[token("false")] False "false";
    #[token("as")] As "as";
    #[token("over")] Over "over";
    // Lexed as names; keywords where an operand follows.
    At "at";
    All "all";
    #[token("atomic")] Atomic "atomic";
    #[token("tensor")] Tensor "tensor";
    #[token("mask")] Mask "mask";
    #[token("tile")] Tile "tile";
    #[token("(")] LParen "(";
    #[token(")")] RParen ")";
    #[token("[")] LBracket "[";
    #[token("]")] RBracket "]";
    #[token("{")] LBrace "{";
    #[token("}")] RBrace "}";
    #[token(",")] Comma ",";
    #[token(";")] Semi ";";
    #[token(":")] Colon ":";
    #[token("::")] Path "::";
    #[token("->")] Arrow "->";
    #[token("..")] Range "..";
    #[token("=")] Assign "=";
    #[token("+=")] AddAssign "+=";
    #[token("-=")] SubAssign "-=";
    #[token("*=")] MulAssign "*=";
    #[token("/=")] DivAssign "/=";
    #[token("==")] Eq "==";
    #[token("!=")] Ne "!=";
    #[token("<")] Lt "<";
    #[token("<=")] Le "<=";
    #[token(">")] Gt ">";
    #[token(">=")] Ge ">=";
    #[token("|")] Pipe "|";
    #[token("^")] Caret "^";
    #[token("&")] Amp "&";
    #[token("<<")] Shl "<<";
    #[token(">>")] Shr ">>";
    #[token("+")] Plus "+";
    #[token("-")] Minus "-";
    #[token("*")] Star "*";
    #[token("/")] Slash "/";
    #[token("%")] Percent "%";
    // Signs of other languages, lexed so that the message can name what to write instead.
    #[token("&&")] AndAnd "&&";
    #[token("||")] OrOr "||";
    #[token("!")] Bang "!";
    #[token(".")] Dot ".";
    #[token("?")] Question "?";
    #[token("@")] Monkey "@";
}

impl Token<'_> {
    /// What the token is, in a reader's words.
    pub fn describe(&self) -> String {
        match self {
            Token::Name(name) => format!("the name `{name}`"),
            Token::Int(value) => format!("the number `{value}`"),
            Token::Float(value) => format!("the number `{value}`"),
            Token::Size(_) => "a size in bytes".into(),
            Token::Str(_) => "a string".into(),
            Token::Doc(_) => "a `///` comment".into(),
            Token::BadExpr => "an expression".into(),
            Token::BadStmt => "a statement".into(),
            other => format!("`{}`", other.text().unwrap_or_default()),
        }
    }
}

type Lexer<'s, 't> = &'s mut logos::Lexer<'t, Token<'t>>;

fn integer<'t>(lexer: Lexer<'_, 't>) -> Result<i64, LexError> {
    let digits = lexer.slice().replace('_', "");
    let (digits, radix) = match digits.get(..2) {
        Some("0x" | "0X") => (&digits[2..], 16),
        Some("0b" | "0B") => (&digits[2..], 2),
        Some(_) | None => (digits.as_str(), 10),
    };
    if digits.is_empty() {
        return Err(LexError::Number);
    }
    i64::from_str_radix(digits, radix).map_err(|_| LexError::TooLarge)
}

fn float<'t>(lexer: Lexer<'_, 't>) -> Result<f64, LexError> {
    let value: f64 = lexer.slice().replace('_', "").parse().map_err(|_| LexError::Number)?;
    if value.is_finite() { Ok(value) } else { Err(LexError::TooLarge) }
}

fn size<'t>(lexer: Lexer<'_, 't>) -> Result<i64, LexError> {
    let (digits, unit) = lexer.slice().split_at(lexer.slice().len() - 3);
    let shift = match unit {
        "KiB" => 10,
        "MiB" => 20,
        _ => 30,
    };
    let count: i64 = digits.trim_end().replace('_', "").parse().map_err(|_| LexError::TooLarge)?;
    count.checked_mul(1 << shift).ok_or(LexError::TooLarge)
}

fn malformed<T>(_: Lexer<'_, '_>) -> Result<T, LexError> {
    Err(LexError::Number)
}

fn string<'t>(lexer: Lexer<'_, 't>) -> Result<&'t str, LexError> {
    let text = &lexer.slice()[1..lexer.slice().len() - 1];
    if unescape(text).is_some() { Ok(text) } else { Err(LexError::Escape) }
}

fn open_string<'t>(_: Lexer<'_, 't>) -> Result<&'t str, LexError> {
    Err(LexError::OpenString)
}

fn single_quotes<'t>(_: Lexer<'_, 't>) -> Result<&'t str, LexError> {
    Err(LexError::SingleQuotes)
}

fn doc<'t>(lexer: Lexer<'_, 't>) -> &'t str {
    let text = lexer.slice()[3..].trim_end();
    text.strip_prefix(' ').unwrap_or(text)
}

fn block_comment<'t>(lexer: Lexer<'_, 't>) -> Result<&'t str, LexError> {
    let length = lexer.remainder().find("*/").map_or(lexer.remainder().len(), |at| at + 2);
    lexer.bump(length);
    Err(LexError::BlockComment)
}

fn hash_comment<'t>(lexer: Lexer<'_, 't>) -> Result<&'t str, LexError> {
    let length = lexer.remainder().find('\n').unwrap_or(lexer.remainder().len());
    lexer.bump(length);
    Err(LexError::HashComment)
}

/// The text a string literal stands for; `None` if an escape has no meaning.
pub fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                '0' => '\0',
                '"' => '"',
                '\\' => '\\',
                _ => return None,
            },
            plain => plain,
        });
    }
    Some(out)
}

/// The reverse of [`unescape`].
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            plain => out.push(plain),
        }
    }
    out
}
