//! The syntax tree of the language, its tokens and its printer. Parsing text into it is `pantile-grammar`'s business;
//! meaning is the compiler's.

pub mod ast;
pub mod lexer;
pub mod token;
