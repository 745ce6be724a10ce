//! Loading and checking: whole modules in, diagnostics and signatures out.

use crate::{Loaded, Module};
use pantile_diag::render_short;

/// Loads a file of `kernels/`.
fn shipped(name: &str) -> Loaded {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernels/");
    let read = |path: &str| std::fs::read_to_string(format!("{folder}{path}")).map_err(|e| e.to_string());
    let text = read(name).expect("a shipped file");
    Module::load(name, &text, &mut |path| read(path))
}

#[test]
fn shipped_files_are_clean() {
    for name in ["elementwise.tile", "norm.tile", "matmul.tile", "attention.tile", "rainfusion.tile"] {
        let loaded = shipped(name);
        let said: Vec<_> = loaded.diagnostics.iter().collect();
        assert!(loaded.module.is_some() && said.is_empty(), "{name}: {}\n{said:#?}", render_short(&loaded.diagnostics, &loaded.sources));
    }
}
