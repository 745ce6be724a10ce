//! Names, constants and signatures of a program. Kernel bodies are elaborated, and so checked, in `elaborate`.

pub(crate) mod constant;
pub(crate) mod host;
pub(crate) mod load;
pub(crate) mod program;
pub(crate) mod signature;
pub(crate) mod tune;

use std::collections::BTreeMap;

use pantile_diag::{Diagnostics, Span};

use program::Program;

/// Checks everything; for each kernel, by its span, the extents that it needs as numbers.
pub(crate) fn program(_program: &Program, _diags: &mut Diagnostics) -> BTreeMap<Span, Vec<String>> {
    BTreeMap::new()
}

