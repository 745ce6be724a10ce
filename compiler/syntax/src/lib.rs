//! The syntax tree of the language, its tokens and its printer. Parsing text into it is `pantile-grammar`'s business;
//! meaning is the compiler's.

pub mod ast;
#[allow(clippy::wildcard_enum_match_arm, reason = "no rule concerns most tokens")]
pub mod lexer;
mod parts;
pub mod print;
#[allow(clippy::wildcard_enum_match_arm, reason = "no rule concerns most tokens")]
pub mod token;

pub use parts::Part;
