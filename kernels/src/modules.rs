//! The shipped `.tile` files as modules, parsed and checked once a process. Their kernels are documented where they are
//! written.

use std::sync::OnceLock;

use pantile::{Error, Module, Result};

/// Every shipped file: name and text.
pub const FILES: &[(&str, &str)] = &[
    ("attention.tile", include_str!("../attention.tile")),
    ("elementwise.tile", include_str!("../elementwise.tile")),
    ("masked.tile", include_str!("../masked.tile")),
    ("matmul.tile", include_str!("../matmul.tile")),
    ("norm.tile", include_str!("../norm.tile")),
    ("orders.tile", include_str!("../orders.tile")),
    ("rainfusion.tile", include_str!("../rainfusion.tile")),
    ("windows.tile", include_str!("../windows.tile")),
];

/// A shipped file as a module.
///
/// # Errors
/// If there is no such file.
pub fn module(name: &str) -> Result<Module> {
    static MODULES: OnceLock<Vec<OnceLock<Module>>> = OnceLock::new();
    let modules = MODULES.get_or_init(|| FILES.iter().map(|_| OnceLock::new()).collect());
    let Some((at, (_, text))) = FILES.iter().enumerate().find(|(_, (file, _))| *file == name) else {
        let known = FILES.iter().map(|(file, _)| (*file).to_owned()).collect();
        return Err(Error::NoSuchItem { kind: "file", name: name.into(), module: "the shipped kernels".into(), known });
    };
    if let Some(module) = modules[at].get() {
        return Ok(module.clone());
    }
    let module = Module::from_texts(name, text, FILES)?;
    Ok(modules[at].get_or_init(|| module).clone())
}

#[cfg(test)]
mod tests {
    use super::{FILES, module};

    #[test]
    fn every_shipped_file_checks() {
        for (name, _) in FILES {
            if let Err(error) = module(name) {
                panic!("{error}");
            }
        }
        assert!(module("nothing.tile").unwrap_err().to_string().contains("attention.tile"));
    }
}
