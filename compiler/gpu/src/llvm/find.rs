//! Where a shared library of LLVM may lie: named by the user, among the system's libraries, in Rust's toolchain. It opens
//! nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable that names the library to use; then no other is looked for.
pub(super) const VARIABLE: &str = "PANTILE_LLVM";

/// What the dynamic loader knows LLVM 22 by.
const NAMES: &[&str] = &["libLLVM.so.22.1", "libLLVM-22.so.1", "libLLVM-22.so", "/usr/lib/llvm-22/lib/libLLVM.so.1"];

/// The library that the user names.
pub(super) fn named() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The candidates where the user names none, best first.
pub(super) fn candidates() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = NAMES.iter().map(PathBuf::from).collect();
    let mut roots: Vec<PathBuf> = sysroot().into_iter().collect();
    roots.extend(toolchains());
    for root in roots {
        for path in libraries(&root.join("lib")) {
            if !found.contains(&path) {
                found.push(path);
            }
        }
    }
    found
}

/// Where the Rust on the path has its libraries.
fn sysroot() -> Option<PathBuf> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    Some(PathBuf::from(text.trim_end()))
}

/// Toolchains that lie where rustup puts them, the last name first.
fn toolchains() -> Vec<PathBuf> {
    let home = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let rustup = home("RUSTUP_HOME").or_else(|| home("HOME").map(|home| home.join(".rustup")));
    let mut all = rustup.map(|dir| entries(&dir.join("toolchains"))).unwrap_or_default();
    all.reverse();
    all
}

/// The libraries of LLVM in a folder: one real file of each.
fn libraries(dir: &Path) -> Vec<PathBuf> {
    let is_llvm = |path: &PathBuf| {
        let name = path.file_name().map(OsString::from).unwrap_or_default();
        let name = name.to_string_lossy();
        name.starts_with("libLLVM") && name.contains(".so") && path.metadata().is_ok_and(|m| m.len() > 1 << 20)
    };
    entries(dir).into_iter().filter(is_llvm).collect()
}

/// What a folder holds, by name; nothing of one that is not there.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    all.sort();
    all
}
