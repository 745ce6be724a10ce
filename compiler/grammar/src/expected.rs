//! Words for a syntax error: what was found, what could have stood there, and what was probably meant. It decides
//! nothing about how parsing goes on.

use pantile_syntax::token::Token;

/// What may stand at a place, as terminals of the grammar.
pub struct Expected(Vec<String>);

/// Signs worth naming, most telling first; operators are never listed.
const SIGNS: &[&str] =
    &[";", ")", "]", "}", ",", ">", "=", "->", "(", "[", "{", "<", ":", "::", "in", "grid", "..", "by"];

impl Expected {
    /// From the parser's list, in which terminals are quoted.
    pub fn new(terminals: &[String]) -> Self {
        Self(terminals.iter().map(|t| t.trim_matches('"').to_string()).collect())
    }

    /// Whether `terminal` may stand here.
    pub fn has(&self, terminal: &str) -> bool {
        self.0.iter().any(|t| t == terminal)
    }

    /// Whether nothing may follow: the item is complete.
    pub fn nothing(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an expression ended just before.
    pub fn after_operand(&self) -> bool {
        self.has("or") && !self.has("float")
    }

    /// `an expression`, "`,` or `)`".
    pub fn describe(&self, previous: Option<Token>) -> String {
        let mut words: Vec<String> = Vec::new();
        let after_colon = matches!(previous, Some(Token::Colon | Token::Arrow));
        if self.has("let") {
            words.push("a statement".into());
        } else if self.has("float") && self.has(":") {
            words.push("an index".into());
        } else if self.has("float") {
            words.push("an expression".into());
        } else if self.has("integer") {
            words.push("an extent".into());
        } else if self.has("name") {
            words.push(if after_colon { "a type".into() } else { "a name".into() });
        } else if self.has("string") {
            words.push("a string".into());
        }
        let signs = SIGNS.iter().filter(|sign| self.has(sign) && self.worth(sign));
        words.extend(signs.take(4).map(|sign| format!("`{sign}`")));
        match words.as_slice() {
            [] if self.after_operand() => "an operator".into(),
            [] => self.0.first().map_or("the end".into(), |t| format!("`{t}`")),
            [one] => one.clone(),
            [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
        }
    }
}

impl Expected {
    /// Whether a sign that may stand here tells the reader something.
    fn worth(&self, sign: &str) -> bool {
        let closes = matches!(sign, ")" | "]" | "}");
        if self.has("float") {
            // Of what can follow nothing, only the end of the list.
            return closes && !self.has("let");
        }
        match sign {
            // Part of an operand that could go on, or of a name.
            "(" | "[" | "<" | ">" => !self.after_operand(),
            "=" => !self.has(";"),
            "grid" | "by" | "in" => !self.has("name"),
            _ => true,
        }
    }
}

/// A place in the tokens of an item, for hints.
pub struct Place<'t> {
    /// The token that cannot stand here.
    pub found: Option<Token<'t>>,
    /// Before it.
    pub before: [Option<Token<'t>>; 2],
    /// The innermost bracket.
    pub group: Option<Token<'t>>,
    /// Comparisons in the same operand, in order.
    pub comparisons: Vec<Token<'t>>,
}

impl Place<'_> {
    /// A way out, where the slip is known.
    pub fn hint(&self, expected: &Expected) -> Option<&'static str> {
        self.word_hint(expected).or_else(|| self.sign_hint(expected))
    }

    fn word_hint(&self, expected: &Expected) -> Option<&'static str> {
        // A foreign keyword is seen as a name, and complained about one token later.
        let name = [self.before[0], self.before[1], self.found].into_iter().flatten().find_map(|t| match t {
            Token::Name(name) => foreign(name),
            _ => None,
        });
        if name.is_some() {
            return name;
        }
        match self.before[0] {
            Some(Token::Tensor) if expected.has("<") => return Some("a tensor's type is `tensor<f32>[N, D]`"),
            Some(Token::Tile) if expected.has("<") => return Some("a tile's type is `tile<f32>{i, d}`"),
            Some(Token::Str(_)) if expected.has("::") => {
                return Some("name what is used: `use \"file.tile\"::{name};`");
            }
            Some(Token::In) if expected.has("[") && !expected.has("float") => {
                return Some("values to try stand in brackets: `BQ in [64, 128];`");
            }
            _ => {}
        }
        if expected.has("->") {
            return Some("outputs are named after the arguments: `-> (out: tensor<f32>[N])`; an order gives `-> int`");
        }
        if expected.has("..") && self.found == Some(Token::LBrace) {
            return Some("a loop runs over `lo..hi`, an extent `B`, or blocks `M by BK`");
        }
        if expected.has("by") && self.group == Some(Token::LBracket) {
            return Some("an axis is an extent, a number, or a number of blocks: `N`, `3`, `N by P`");
        }
        let reserved = self.found.is_some_and(|t| is_word(&t));
        if reserved && expected.has("name") && !expected.has("float") {
            return Some("this word is part of the language; choose another name");
        }
        None
    }

    fn sign_hint(&self, expected: &Expected) -> Option<&'static str> {
        let before = self.before[0];
        match self.found? {
            Token::Dot => {
                Some("there are no fields or methods: dimensions have names, so nothing is transposed; call `f(x)`")
            }
            Token::Question => {
                Some("write `if c { a } else { b }` for a scalar condition, `where(c, a, b)` for a tile")
            }
            Token::Monkey => Some("a matrix product is `dot(a, b)`"),
            Token::Star if before == Some(Token::Star) => {
                Some("there is no power operator; write `x * x`, `exp` or `exp2`")
            }
            Token::Plus if expected.has("float") => Some("there is no prefix `+`"),
            Token::Not if expected.has("float") => Some("put `not …` in parentheses"),
            Token::Colon if self.group == Some(Token::LBracket) => {
                Some("an axis takes one index: a scalar, a block, an int tile, or `:` alone for all of it")
            }
            Token::Path => Some("names of another file come in by `use \"file.tile\"::{name};`"),
            Token::Lt | Token::Le | Token::Gt | Token::Ge | Token::Eq | Token::Ne if expected.after_operand() => {
                match self.comparisons.first() {
                    Some(Token::Lt) => Some(
                        "comparisons do not chain: write `a < b and b < c`; constants are given by name: `f<BQ = 64>(…)`",
                    ),
                    Some(_) => Some("comparisons do not chain: write `a == b and b == c`"),
                    None => None,
                }
            }
            Token::LParen if before.is_some_and(|t| matches!(t, Token::Name("range"))) => {
                Some("a range is written `0..n`")
            }
            Token::Assign if self.group == Some(Token::LParen) => {
                Some("an argument by name is `name: value`; dimensions are named by `over d`")
            }
            _ => None,
        }
    }
}

/// What to write instead of a keyword of another language.
pub fn foreign(name: &str) -> Option<&'static str> {
    match name {
        "while" | "loop" | "do" => Some("loops are `for n in lo..hi { … }` and `for j in M by BK { … }`"),
        "return" => Some("a block's value is its last expression, without `;`"),
        "break" | "continue" => Some("a loop runs to its end; `where` after its range leaves iterations out"),
        "def" | "func" | "function" | "fun" | "proc" => Some("functions begin with `fn`, kernels with `kernel`"),
        "import" | "from" | "include" => Some("names of another file come in by `use \"file.tile\"::{name};`"),
        "lambda" => Some("there are no closures; define a `fn`"),
        "struct" | "class" | "enum" | "type" => Some("there are no types of one's own; values are scalars and tiles"),
        "static" | "constexpr" | "define" => Some("a compile-time value is `const NAME: f32 = …;`"),
        "match" | "switch" => Some("write `if … { … } else if … { … } else { … }`"),
        "elif" | "elsif" => Some("write `else if`"),
        "var" | "auto" => Some("variables begin with `let`, or `let mut` if they are assigned later"),
        "void" | "float" | "double" => Some("a variable is `let x = …;`, a parameter `x: f32`"),
        "range" => Some("a range is written `0..n`"),
        _ => None,
    }
}

fn is_word(token: &Token) -> bool {
    token.text().is_some_and(|text| text.starts_with(|c: char| c.is_ascii_alphabetic()))
}
