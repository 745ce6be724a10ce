//! The tree keeps its shape: dependency edges, file sizes, file heads, who may name which library, the book's contents.
//! It reads text only; it does not build anything.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests package lies in the workspace").to_path_buf()
}

fn files(dir: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder of the project").flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() && name != "target" && name != "book" && !name.starts_with('.') {
            files(&path, ending, found);
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

fn all(ending: &str) -> Vec<(String, String)> {
    let mut paths = Vec::new();
    files(&root(), ending, &mut paths);
    paths.sort();
    let text = |p: PathBuf| {
        let name = p.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
        (name, fs::read_to_string(&p).expect("a text file"))
    };
    paths.into_iter().map(text).collect()
}

/// Which crates each crate may depend on, besides libraries from outside.
const EDGES: &[(&str, &[&str])] = &[
    ("compiler/diag", &[]),
    ("compiler/syntax", &["diag"]),
    ("compiler/grammar", &["diag", "syntax"]),
    ("compiler/ir", &["diag"]),
    ("compiler/interp", &["diag", "ir"]),
    ("compiler/cpu", &["diag", "ir"]),
    ("compiler/gpu", &["diag", "ir"]),
    ("compiler", &["diag", "syntax", "grammar", "ir"]),
    ("runtime", &["diag", "ir", "interp", "cpu", "gpu", "compiler"]),
];

#[test]
fn dependencies_point_one_way() {
    for (dir, allowed) in EDGES {
        let text = fs::read_to_string(root().join(dir).join("Cargo.toml")).expect("a manifest");
        let normal = text.split("[dev-dependencies]").next().unwrap_or_default();
        for line in normal.lines().filter(|l| l.starts_with("pantile-")) {
            let name = line.trim_start_matches("pantile-").split(['.', ' ', '=']).next().unwrap_or_default();
            assert!(allowed.contains(&name), "{dir} must not depend on pantile-{name}");
        }
    }
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut wrong = Vec::new();
    for (name, text) in all(".rs") {
        let lines = text.lines().count();
        if lines > 1000 {
            wrong.push(format!("{name}: {lines} lines; split it"));
        }
        let head = text.lines().find(|l| !l.trim().is_empty()).unwrap_or_default();
        if !head.starts_with("//!") {
            wrong.push(format!("{name}: does not open with `//!`"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn heavy_libraries_are_named_in_one_place() {
    let places = [
        ("ariadne::", "compiler/diag/src/render.rs"),
        ("cranelift_", "compiler/cpu/"),
        ("use safetensors::tensor", "runtime/src/safetensors.rs"),
        ("rayon::", "runtime/src/"),
        ("logos::", "compiler/syntax/src/"),
        ("clap::", "runtime/cli/src/"),
        ("cudarc::", "runtime/src/cuda/"),
        ("libloading::", "compiler/gpu/src/llvm/"),
    ];
    for (name, text) in all(".rs") {
        for (library, place) in places {
            let home = name.starts_with(place) || name.contains("tests/");
            assert!(home || !text.contains(library), "{name} names {library}; only {place} may");
        }
    }
}

#[test]
fn unsafe_code_says_why() {
    for (name, text) in all(".rs") {
        let lines: Vec<&str> = text.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            if !line.contains("unsafe {") && !line.trim_start().starts_with("unsafe impl")
                || name.starts_with("tests/tests/tidy")
            {
                continue;
            }
            let before = &lines[n.saturating_sub(6)..=n];
            assert!(before.iter().any(|l| l.contains("SAFETY:")), "{name}:{}: unsafe without SAFETY", n + 1);
        }
    }
}

#[test]
fn the_book_has_every_page() {
    let summary = fs::read_to_string(root().join("docs/src/SUMMARY.md")).expect("the book's contents");
    let linked: BTreeSet<&str> = summary.split('(').skip(1).filter_map(|s| s.split(')').next()).collect();
    for page in &linked {
        assert!(root().join("docs/src").join(page).exists(), "SUMMARY.md links to {page}, which is not there");
    }
    for (name, _) in all(".md") {
        if let Some(page) = name.strip_prefix("docs/src/") {
            let known = page == "SUMMARY.md" || page.starts_with("errors/") || linked.contains(page);
            assert!(known, "docs/src/SUMMARY.md does not list {page}");
        }
    }
}

#[test]
fn the_error_index_is_the_error_table() {
    let row = |c: &pantile_diag::CodeInfo| format!("| [{0}]({0}.md) | {1} |\n", c.name, c.title);
    let rows: String = pantile_diag::CODES.iter().map(row).collect();
    let page = format!(
        "# Errors\n\nEvery diagnostic has a code. `pantile explain E0201` prints its page.\n\n| code | in a few words |\n|---|---|\n{rows}"
    );
    let path = root().join("docs/src/errors/index.md");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &page).expect("the book can be written");
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(found == page, "docs/src/errors/index.md differs from the error table; BLESS=1 rewrites it");
}

#[test]
fn links_between_pages_lead_somewhere() {
    for (name, text) in all(".md") {
        let dir = root().join(&name).parent().expect("a file has a folder").to_path_buf();
        for target in text.split("](").skip(1).filter_map(|s| s.split([')', '#']).next()) {
            let local = !target.contains("://") && !target.is_empty() && !target.contains(' ');
            assert!(!local || dir.join(target).exists(), "{name} links to {target}, which is not there");
        }
    }
}
