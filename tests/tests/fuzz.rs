//! Any bytes as a `.tile` file give diagnostics, never a panic: mutated shipped kernels through parser and checker.
//! What the parser alone makes of token soup is tested beside the parser.
//!
//! `PANTILE_FUZZ=100000` runs more cases than the brief default.

use std::fs;
use std::path::Path;

use pantile_compiler::Module;
use pantile_diag::{render, render_short};

/// A small xorshift generator: the cases are the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

fn kernels() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels");
    let mut files: Vec<_> = fs::read_dir(folder).expect("the kernels").flatten().map(|e| e.path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "tile"));
    files.sort();
    let named = |p: std::path::PathBuf| {
        let name = p.file_name().expect("a name").to_string_lossy().into_owned();
        (name, fs::read_to_string(p).expect("text"))
    };
    files.into_iter().map(named).collect()
}

/// Splits into words, numbers, symbols and spaces, so that mutations stay close to programs.
fn pieces(text: &str) -> Vec<String> {
    let class = |c: char| {
        if c.is_alphanumeric() || c == '_' {
            0
        } else if c.is_whitespace() {
            1
        } else {
            2
        }
    };
    let mut out: Vec<String> = Vec::new();
    let mut last = 3;
    for c in text.chars() {
        let this = class(c);
        match out.last_mut() {
            Some(word) if this == last && this != 2 => word.push(c),
            _ => out.push(c.to_string()),
        }
        last = this;
    }
    out
}

fn mutate(text: &str, other: &str, random: &mut Random) -> String {
    let mut words = pieces(text);
    let foreign = pieces(other);
    for _ in 0..1 + random.below(6) {
        let at = random.below(words.len());
        match random.below(6) {
            0 => drop(words.remove(at)),
            1 => words.insert(at, foreign[random.below(foreign.len())].clone()),
            2 => words[at] = foreign[random.below(foreign.len())].clone(),
            3 => {
                let to = (at + 1 + random.below(8)) % words.len();
                words.swap(at, to)
            }
            4 => {
                words[at] = ["0", "-1", "9223372036854775807", "1e309", "\u{0}", "é", ":", "over", "(", "}"]
                    [random.below(10)]
                .into()
            }
            _ => words.truncate(words.len() - random.below(words.len() / 2 + 1)),
        }
        if words.is_empty() {
            words.push("kernel".into());
        }
    }
    words.concat()
}

fn check(text: &str, files: &[(String, String)]) {
    let mut find = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        files.iter().find(|f| f.0 == name).map(|f| f.1.clone()).ok_or_else(|| "no such file".to_string())
    };
    let loaded = Module::load("fuzz.tile", text, &mut find);
    let _ = render(&loaded.diagnostics, &loaded.sources, false);
    let _ = render_short(&loaded.diagnostics, &loaded.sources);
    assert!(loaded.module.is_some() || loaded.diagnostics.has_errors(), "a refusal says why");
}

#[test]
fn any_text_is_checked_without_a_panic() {
    let files = kernels();
    let cases = std::env::var("PANTILE_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(1500);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for case in 0..cases {
        let (a, b) = (random.below(files.len()), random.below(files.len()));
        let text = mutate(&files[a].1, &files[b].1, &mut random);
        let outcome = std::panic::catch_unwind(|| check(&text, &files));
        assert!(outcome.is_ok(), "case {case} panics:\n{text}");
    }
}

#[test]
fn any_bytes_are_checked_without_a_panic() {
    let mut random = Random(0x1234_5678_9abc_def1);
    for _ in 0..500 {
        let bytes: Vec<u8> = (0..random.below(200)).map(|_| random.next() as u8).collect();
        check(&String::from_utf8_lossy(&bytes), &[]);
    }
}
