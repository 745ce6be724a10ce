//! Spans, error codes and diagnostics: what every stage of the compiler says to its user.
//!
//! Errors are data until [`render`] turns them into text; nothing here reads files or prints.

mod codes;
mod diagnostic;
mod render;
mod source;

pub use codes::{CODES, Code, CodeInfo};
pub use diagnostic::{Diagnostic, Diagnostics, Label, Severity};
pub use render::{render, render_json, render_short};
pub use source::{FileId, SourceMap, Span, Spanned};
