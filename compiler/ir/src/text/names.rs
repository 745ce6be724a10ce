//! How names are written: bare where they lex as one word, quoted otherwise, and with `'1`, `'2`, … where an earlier row
//! of the same table has the name already. The suffix is not part of the name.

use std::collections::HashMap;

use crate::Func;

/// The written names of a function's tables, one a row.
pub(super) struct Names {
    pub extents: Vec<String>,
    pub dims: Vec<String>,
    pub orders: Vec<String>,
    /// With the `%` in front.
    pub params: Vec<String>,
}

impl Names {
    pub(super) fn new(func: &Func) -> Self {
        Self {
            extents: unique(func.extents.iter().map(|e| e.name.as_str())),
            dims: unique(func.dims.iter().map(|d| d.name.as_str())),
            orders: unique(func.orders.iter().map(|o| key(&o.name))),
            params: unique(func.params.iter().map(|p| p.name.as_str())).into_iter().map(param).collect(),
        }
    }
}

/// What an order is called by, its name being long: the word in front of its arguments.
pub(super) fn key(name: &str) -> &str {
    let word = name.split('(').next().unwrap_or_default();
    if is_word(word) && !starts_with_digit(word) { word } else { "walk" }
}

/// A number after `%` would be a value.
fn param(name: String) -> String {
    if starts_with_digit(&name) { format!("%\"{name}\"") } else { format!("%{name}") }
}

/// A name as written.
pub(super) fn written(name: &str) -> String {
    if is_word(name) { name.to_string() } else { quoted(name) }
}

/// A text in quotes.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut write = |name| {
        let count = seen.entry(name).or_default();
        *count += 1;
        if *count == 1 { written(name) } else { format!("{}'{}", written(name), *count - 1) }
    };
    names.map(&mut write).collect()
}

fn is_word(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn starts_with_digit(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_digit())
}
