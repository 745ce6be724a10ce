//! THE ERROR TABLE: one row a code. The long form shown by `pantile explain` is `docs/src/errors/<code>.md`.
//!
//! Ranges: E00xx text and grammar, E01xx names, E02xx dimensions and extents, E03xx types, E04xx stores and races,
//! E05xx constants and specialisation, E06xx orders and pipelines, E07xx the compiler itself, W09xx warnings. Launch errors are the runtime's.

use std::fmt;
use std::str::FromStr;

macro_rules! codes {
    ($($code:ident $title:literal;)*) => {
        /// The code of a diagnostic.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $title] $code,)* }

        /// Every code, in order.
        pub const CODES: &[CodeInfo] = &[$(CodeInfo {
            code: Code::$code,
            name: stringify!($code),
            title: $title,
            long: include_str!(concat!("../../../docs/src/errors/", stringify!($code), ".md")),
        },)*];
    };
}

/// What the table knows about a code.
#[derive(Clone, Copy, Debug)]
pub struct CodeInfo {
    /// The code.
    pub code: Code,
    /// As written, `E0101`.
    pub name: &'static str,
    /// In a few words.
    pub title: &'static str,
    /// The long form, Markdown: what it means, an example, the way out.
    pub long: &'static str,
}

codes! {
    E0001 "unexpected character";
    E0002 "unexpected token";
    E0003 "malformed literal";
    E0101 "unknown name";
    E0102 "name defined twice";
    E0103 "not a value of this kind";
    E0104 "import not found";
    E0201 "operands do not share their dimensions";
    E0202 "no such dimension in this tile";
    E0203 "wrong number of indices";
    E0204 "block of another extent";
    E0205 "no dimension, or more than one, to contract";
    E0301 "type mismatch";
    E0302 "operation not defined for this type";
    E0303 "implicit narrowing";
    E0304 "condition is not a scalar bool";
    E0305 "wrong number or kind of arguments";
    E0306 "assignment changes a variable's type";
    E0307 "code nests too deeply";
    E0401 "two program instances store the same element";
    E0402 "cannot store here";
    E0403 "output is never written";
    E0501 "constant needed";
    E0502 "invalid constant";
    E0503 "parameter cannot be inferred";
    E0601 "order cannot be used here";
    E0602 "invalid pipeline step";
    E0603 "requirement not met";
    E0701 "fault of the compiler";
    W0901 "value is not used";
}

impl Code {
    /// The row of this code.
    pub fn info(self) -> &'static CodeInfo {
        &CODES[self as usize]
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.info().name)
    }
}

impl FromStr for Code {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        CODES.iter().find(|c| c.name.eq_ignore_ascii_case(text)).map(|c| c.code).ok_or(())
    }
}
