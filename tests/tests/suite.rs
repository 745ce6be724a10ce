//! Runs `tests/suite/**`: texts in, texts out. A file holds cases, each `// test: KIND options`, an input, a line
//! `//---- EXPECT` and what is expected. `BLESS=1` writes what came instead of what was expected.
//!
//! | kind | options | input | expected |
//! |---|---|---|---|
//! | `pass` | names of passes; `sized` or `powers_of_two` for the lanes of those that follow | IR | IR after those passes |
//! | `verify` | | IR | what the verifier says, one line a rule |
//! | `diag` | | Pantile source | its diagnostics in short form |
//! | `emit` | a kernel, then bindings `T=f32 BQ=8` (dtypes and ints) | Pantile source | its IR after all passes |
//! | `tiles` | lanes (`sized` or `powers_of_two`), then as `emit` | Pantile source | its IR for targets with such tiles |
//!
//! It compares texts and runs no kernel.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use pantile_compiler::passes::{Lanes, PassCx};
use pantile_compiler::pipeline::{FIXED_TILES, PASSES};
use pantile_compiler::{Bindings, Module};
use pantile_ir::{Func, parse, print, verify};

const HEAD: &str = "// test: ";
const EXPECT: &str = "//---- EXPECT\n";

struct Case {
    head: String,
    input: String,
    expected: String,
}

fn cases(text: &str) -> (String, Vec<Case>) {
    let mut parts = text.split(HEAD);
    let preface = parts.next().unwrap_or_default().to_string();
    let case = |part: &str| {
        let (head, rest) = part.split_once('\n').unwrap_or((part, ""));
        let (input, expected) = rest.split_once(EXPECT).unwrap_or((rest, ""));
        Case { head: head.trim().into(), input: input.into(), expected: expected.trim_end().into() }
    };
    (preface, parts.map(case).collect())
}

fn outcome(case: &Case) -> String {
    let mut words = case.head.split_whitespace();
    match words.next() {
        Some("pass") => passes(&case.input, words),
        Some("verify") => match parse(&case.input) {
            Ok(func) => verify(&func).err().unwrap_or_default().join("\n"),
            Err(e) => e.to_string(),
        },
        Some("diag") => {
            let loaded = load(&case.input);
            pantile_diag::render_short(&loaded.diagnostics, &loaded.sources)
        }
        Some("emit") => match specialised(&case.input, words) {
            Ok(func) => print(&func),
            Err(why) => why,
        },
        Some("tiles") => tiles(&case.input, words),
        _ => format!("no kind of test: `{}`", case.head),
    }
}

fn passes<'a>(input: &str, names: impl Iterator<Item = &'a str>) -> String {
    let mut func = match parse(input) {
        Ok(func) => func,
        Err(e) => return e.to_string(),
    };
    if let Err(errors) = verify(&func) {
        return format!("the input is not valid:\n{}", errors.join("\n"));
    }
    let mut cx = PassCx::default();
    for name in names {
        if let Some(lanes) = lanes(name) {
            cx.lanes = lanes;
            continue;
        }
        let Some(pass) = PASSES.iter().find(|p| p.name == name) else { return format!("no pass `{name}`") };
        let _ = (pass.run)(&mut func, &cx);
        if let Err(errors) = verify(&func) {
            return format!("`{name}` broke it:\n{}\n{}", errors.join("\n"), print(&func));
        }
    }
    print(&func)
}

fn load(text: &str) -> pantile_compiler::Loaded {
    Module::load("case.tile", text, &mut |path| Err(format!("no file `{path}`")))
}

fn lanes(word: &str) -> Option<Lanes> {
    match word {
        "sized" => Some(Lanes::Sized),
        "powers_of_two" => Some(Lanes::PowersOfTwo),
        _ => None,
    }
}

/// With the passes for fixed tile shapes behind all others.
fn tiles<'a>(input: &str, mut words: impl Iterator<Item = &'a str>) -> String {
    let Some(lanes) = words.next().and_then(lanes) else { return "no number of lanes is said".into() };
    let mut func = match specialised(input, words) {
        Ok(func) => func,
        Err(why) => return why,
    };
    for pass in FIXED_TILES {
        let _ = (pass.run)(&mut func, &PassCx { lanes });
        if let Err(errors) = verify(&func) {
            return format!("`{}` broke it:\n{}\n{}", pass.name, errors.join("\n"), print(&func));
        }
    }
    print(&func)
}

fn specialised<'a>(input: &str, mut words: impl Iterator<Item = &'a str>) -> Result<Func, String> {
    let loaded = load(input);
    let (Some(module), Some(kernel)) = (&loaded.module, words.next()) else {
        return Err(pantile_diag::render_short(&loaded.diagnostics, &loaded.sources));
    };
    let mut bindings = Bindings::default();
    for (name, value) in words.filter_map(|w| w.split_once('=')) {
        match (value.parse(), value.parse()) {
            (Ok(dtype), _) => _ = bindings.dtypes.insert(name.into(), dtype),
            (_, Ok(n)) => {
                bindings.ints.insert(name.into(), n);
                bindings.extents.insert(name.into(), n);
            }
            _ => return Err(format!("`{value}` is neither a dtype nor a number")),
        }
    }
    module.specialise(kernel, &bindings).map_err(|found| pantile_diag::render_short(&found, &loaded.sources))
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("the suite's folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "pt") {
            found.push(path);
        }
    }
}

/// The first line that differs, and both texts.
fn differing(expected: &str, got: &str) -> String {
    let lines = expected.lines().zip(got.lines()).position(|(a, b)| a != b);
    let line = lines.unwrap_or(expected.lines().count().min(got.lines().count()));
    format!("differs from line {} of the output\n--- expected\n{expected}\n--- got\n{got}", line + 1)
}

#[test]
fn suite() {
    let bless = std::env::var_os("BLESS").is_some_and(|v| v == "1");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite");
    let mut paths = Vec::new();
    files(&root, &mut paths);
    paths.sort();
    let (mut failed, mut count) = (String::new(), 0);
    for path in paths {
        let text = fs::read_to_string(&path).expect("a text file");
        let (mut blessed, cases) = cases(&text);
        for (n, case) in cases.iter().enumerate() {
            count += 1;
            let got = outcome(case);
            let got = got.trim_end();
            if got != case.expected && !bless {
                let name = path.strip_prefix(&root).unwrap_or(&path).display();
                let why = differing(&case.expected, got);
                let _ = writeln!(failed, "{name}, case {}: {}\n{why}\n", n + 1, case.head);
            }
            let gap = if n + 1 < cases.len() { "\n" } else { "" };
            let _ = write!(blessed, "{HEAD}{}\n{}{EXPECT}{got}\n{gap}", case.head, case.input);
        }
        if bless && blessed != text {
            fs::write(&path, blessed).expect("the suite can be written");
        }
    }
    assert!(count >= 20, "only {count} cases found");
    assert!(failed.is_empty(), "{failed}BLESS=1 accepts what came");
}
