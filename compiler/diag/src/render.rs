//! Diagnostics as text. The only file that names ariadne.

use crate::{Diagnostics, SourceMap};

/// The full form, with the source and its labels.
pub fn render(_diagnostics: &Diagnostics, _sources: &SourceMap, _color: bool) -> String {
    String::new()
}

/// One line a diagnostic: `file:line:col: error[E0101]: message`.
pub fn render_short(_diagnostics: &Diagnostics, _sources: &SourceMap) -> String {
    String::new()
}
