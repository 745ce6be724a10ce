//! Generates the parser from `src/pantile.lalrpop`, once it is there.
fn main() {}
