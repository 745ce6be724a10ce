//! The page of each error code shows what it says: a first example that gives that code and nothing else, and others, put
//! right, that give nothing. That there is a page for each code is the error table's doing.

use std::fs;
use std::path::{Path, PathBuf};

use pantile::Module;
use pantile_diag::{CODES, Code, CodeInfo, render_short};

/// No source can bring this about: it says that the compiler is at fault.
const WITHOUT_EXAMPLE: [Code; 1] = [Code::E0701];

fn kernels() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels")
}

/// The whole files that a page shows; fragments are fenced as `text`.
fn examples(page: &str) -> Vec<&str> {
    page.split("```tile\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// The codes that checking gives, and all that was said. The example lies beside the shipped kernels, which it may import.
fn check(dir: &Path, source: &str) -> (Vec<Code>, String) {
    let file = dir.join("example.tile");
    fs::write(&file, source).expect("the example is written");
    let said = Module::check_file(&file).expect("the example is read").said;
    (said.diagnostics.iter().map(|d| d.code).collect(), render_short(&said.diagnostics, &said.sources))
}

#[test]
fn every_page_has_an_example_that_is_wrong_and_one_that_is_right() {
    let dir = tempfile::tempdir().expect("a folder");
    for entry in fs::read_dir(kernels()).expect("the kernels").filter_map(Result::ok) {
        if entry.path().extension().is_some_and(|e| e == "tile") {
            fs::copy(entry.path(), dir.path().join(entry.file_name())).expect("a copy");
        }
    }
    let mut wrong = Vec::new();
    for &CodeInfo { code, name, long, .. } in CODES.iter().filter(|c| !WITHOUT_EXAMPLE.contains(&c.code)) {
        let examples = examples(long);
        if examples.len() < 2 {
            wrong.push(format!("{name}: {} whole examples", examples.len()));
        }
        for (n, source) in examples.into_iter().enumerate() {
            let (codes, said) = check(dir.path(), source);
            let fits = if n == 0 { !codes.is_empty() && codes.iter().all(|c| *c == code) } else { codes.is_empty() };
            if !fits {
                wrong.push(format!("{name}, example {}:\n{source}{said}", n + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_page_is_headed_by_its_code_and_title() {
    for CodeInfo { name, title, long, .. } in CODES {
        let heading = format!("# {name}: {title}\n");
        assert!(long.starts_with(&heading), "docs/src/errors/{name}.md does not begin with `{}`", heading.trim_end());
    }
}
