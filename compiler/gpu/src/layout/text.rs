//! The text form of layouts, which round-trips: `m:16 n:8 <- register: [n:1, m:8+n:4] lane: [0, n:2]`. The outputs with
//! their sizes, then for each input its bases, lowest bit first: sums of coordinates, or 0. Names of dims are the caller's.

use std::fmt;

use super::{Basis, Layout, LayoutError, Name, Offset, Place};

impl<I: Name + fmt::Display, O: Name> Layout<I, O> {
    /// The text form, with outputs named by `name`.
    pub fn text(&self, name: impl Fn(O) -> String) -> String {
        let outs = self.outs().iter().map(|(o, bits)| format!("{}:{}", name(o), 1u64 << bits));
        let basis = |c: &u64| {
            let at = self.outs().unpack(*c).into_iter().filter(|(_, x)| *x != 0);
            let sum: Vec<String> = at.map(|(o, x)| format!("{}:{x}", name(o))).collect();
            if sum.is_empty() { "0".to_owned() } else { sum.join("+") }
        };
        let bases = |i: I| self.columns(i).iter().map(basis).collect::<Vec<_>>().join(", ");
        let ins = self.ins().names().map(|i| format!("{i}: [{}]", bases(i)));
        let words: Vec<String> = outs.chain(["<-".to_owned()]).chain(ins).collect();
        words.join(" ")
    }
}

impl<I: Name + fmt::Display, O: Name + fmt::Display> fmt::Display for Layout<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(|o| o.to_string()))
    }
}

/// An input that text can name.
pub trait Input: Name {
    /// The one of this name.
    fn named(name: &str) -> Option<Self>;
}

impl Input for Place {
    fn named(name: &str) -> Option<Place> {
        Place::ALL.into_iter().find(|p| p.name() == name)
    }
}

impl Input for Offset {
    fn named(name: &str) -> Option<Offset> {
        (name == "offset").then_some(Offset)
    }
}

impl<I: Input, O: Name> Layout<I, O> {
    /// Reads the text form; `name` knows the outputs.
    ///
    /// # Errors
    /// Text of another form, a name that `name` does not know, and as [`Layout::of_bases`].
    pub fn parse(text: &str, name: impl Fn(&str) -> Option<O>) -> Result<Layout<I, O>, LayoutError> {
        let mut read = Reader { text, at: 0, name };
        let mut outs = Vec::new();
        while !read.eat("<-") {
            outs.push(read.coordinate()?);
        }
        let mut ins = Vec::new();
        while !read.rest().is_empty() {
            ins.push(read.input()?);
        }
        Layout::of_bases(&outs, ins)
    }
}

struct Reader<'t, F> {
    text: &'t str,
    at: usize,
    name: F,
}

impl<F> Reader<'_, F> {
    fn rest(&mut self) -> &str {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        &self.text[self.at..]
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn expect(&mut self, token: &'static str) -> Result<(), LayoutError> {
        if self.eat(token) { Ok(()) } else { Err(self.error(token)) }
    }

    fn error(&self, expected: &'static str) -> LayoutError {
        LayoutError::Syntax { at: self.at, expected }
    }

    fn word(&mut self, of: impl Fn(char) -> bool) -> String {
        let rest = self.rest();
        let word = rest[..rest.find(|c| !of(c)).unwrap_or(rest.len())].to_owned();
        self.at += word.len();
        word
    }

    fn number(&mut self) -> Result<u64, LayoutError> {
        let digits = self.word(|c| c.is_ascii_digit());
        digits.parse().map_err(|_| self.error("a number"))
    }

    fn coordinate<O>(&mut self) -> Result<(O, u64), LayoutError>
    where
        F: Fn(&str) -> Option<O>,
    {
        let word = self.word(|c| c.is_alphanumeric() || c == '_' || c == '.');
        let output = (self.name)(&word).ok_or_else(|| self.error("the name of a dim, or `<-`"))?;
        self.expect(":")?;
        Ok((output, self.number()?))
    }

    fn input<I: Input, O>(&mut self) -> Result<(I, Vec<Basis<O>>), LayoutError>
    where
        F: Fn(&str) -> Option<O>,
    {
        let word = self.word(|c| c.is_alphanumeric());
        let input = I::named(&word).ok_or_else(|| self.error("the name of an input"))?;
        self.expect(":")?;
        self.expect("[")?;
        let mut bases = Vec::new();
        while !self.eat("]") {
            if !bases.is_empty() {
                self.expect(",")?;
            }
            bases.push(self.basis()?);
        }
        Ok((input, bases))
    }

    fn basis<O>(&mut self) -> Result<Basis<O>, LayoutError>
    where
        F: Fn(&str) -> Option<O>,
    {
        let start = self.at;
        if self.eat("0") && matches!(self.rest().chars().next(), Some(',' | ']')) {
            return Ok(Vec::new());
        }
        self.at = start;
        let mut sum = vec![self.coordinate()?];
        while self.eat("+") {
            sum.push(self.coordinate()?);
        }
        Ok(sum)
    }
}
