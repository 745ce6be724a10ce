//! The syntax tree of the language and its tokens. Parsing text into it is `pantile-grammar`'s business; meaning is the
//! compiler's.

pub mod ast;
