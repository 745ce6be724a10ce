//! Starting the `pantile` command and making its input files, for the tests beside it. Nothing is expected here but that it
//! starts.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pantile::{Tensor, write_tensors};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn pantile(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pantile")).args(args).current_dir(root()).output().expect("the command starts")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn done(args: &[&str]) -> String {
    let output = pantile(args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Runs what must fail with `code` and say `words`.
pub fn refused(args: &[&str], code: i32, words: &[&str]) {
    let output = pantile(args);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert!(!said.contains("panicked"), "{args:?}: {said}");
    let said = said.replace('\n', " ");
    words.iter().for_each(|w| assert!(said.contains(w), "{args:?} does not say `{w}`: {said}"));
}

/// A folder with an input file of small tensors.
pub struct Inputs {
    pub dir: tempfile::TempDir,
}

pub type Shape<'a> = &'a [usize];

impl Inputs {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a folder") }
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_string_lossy().into_owned()
    }

    /// `q`, `k`, `v` of these shapes with a repeatable pattern, in f32.
    pub fn file(&self, name: &str, [q, k, v]: [Shape<'_>; 3], metadata: &[(&str, String)]) -> String {
        let tensor = |seed: usize, shape: Shape<'_>| {
            let count = shape.iter().product();
            let data: Vec<f32> = (0..count).map(|n| (((n * 37 + seed * 101) % 23) as f32 - 11.0) / 11.0).collect();
            Tensor::from_slice(shape, &data).expect("a tensor")
        };
        let (q, k, v) = (tensor(1, q), tensor(2, k), tensor(3, v));
        let path = self.path(name);
        write_tensors(&path, &[("q", &q), ("k", &k), ("v", &v)], metadata).expect("a file");
        path
    }
}

pub fn grid(text: &str) -> Vec<(&'static str, String)> {
    vec![("grid", text.to_owned())]
}
