//! A Python process beside this one: tensors handed over, calls prepared and timed one by one. What is compared is the
//! business of the cases, and what the process can do is written in its script.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use pantile::{Tensor, io_words};
use serde_json::{Value, json};

/// What a process runs: files by name, of which the first is started, and what it is told at its start.
pub(super) struct Script<'a> {
    pub files: &'a [(&'a str, &'a str)],
    pub args: &'a [&'a str],
}

/// A running Python.
pub(super) struct Python {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    /// Its script, its caches, and what is handed over.
    folder: PathBuf,
    /// What it says of itself.
    pub version: String,
}

impl Python {
    /// Starts it, and asks what it is.
    ///
    /// # Errors
    /// Why there is none: no such program, or not what the script needs.
    pub(super) fn start(python: &str, script: &Script<'_>) -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("pantile-bench-{}-{number}", std::process::id()));
        let start = || {
            std::fs::create_dir_all(&folder)?;
            for (name, text) in script.files {
                std::fs::write(folder.join(name), text)?;
            }
            let main = script.files.first().map_or("", |(name, _)| name);
            let mut command = Command::new(python);
            // Its workers must not spin while this side runs. What it compiles, it compiles afresh.
            command.env("OMP_WAIT_POLICY", "PASSIVE").env("GOMP_SPINCOUNT", "0").env("KMP_BLOCKTIME", "0");
            command.env("TRITON_CACHE_DIR", folder.join("triton")).env("PYTHONDONTWRITEBYTECODE", "1");
            command.arg("-u").arg(folder.join(main)).args(script.args);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
        };
        let mut child = start().map_err(|e| format!("it does not start: {}", io_words(&e)))?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("it has no standard input or output".into());
        };
        let mut process = Self { child, to, from: BufReader::new(from), folder, version: String::new() };
        let said = process.ask(&json!({ "do": "version" }))?;
        process.version = said["version"].as_str().unwrap_or_default().to_owned();
        Ok(process)
    }

    /// One command, one answer; or why there is none.
    pub(super) fn ask(&mut self, command: &Value) -> Result<Value, String> {
        writeln!(self.to, "{command}").and_then(|()| self.to.flush()).map_err(|e| format!("it is gone: {e}"))?;
        let mut line = String::new();
        match self.from.read_line(&mut line) {
            Ok(0) => Err("it has stopped".into()),
            Ok(_) => understood(&line),
            Err(e) => Err(e.to_string()),
        }
    }

    pub(super) fn threads(&mut self, n: usize) -> Result<(), String> {
        self.ask(&json!({ "do": "threads", "n": n })).map(drop)
    }

    /// Hands over a tensor.
    pub(super) fn load(&mut self, name: &str, tensor: &Tensor) -> Result<(), String> {
        let bytes = tensor.to_bytes().map_err(|e| e.to_string())?;
        let path = self.folder.join(name);
        std::fs::write(&path, bytes).map_err(|e| format!("{}: {}", path.display(), io_words(&e)))?;
        let loaded = self.load_file(name, &path, tensor.shape(), tensor.dtype());
        std::fs::remove_file(&path).map_err(|e| io_words(&e))?;
        loaded
    }

    /// Hands over a tensor whose bytes lie in a file.
    pub(super) fn load_file(
        &mut self,
        name: &str,
        path: &std::path::Path,
        shape: &[usize],
        dtype: pantile::DType,
    ) -> Result<(), String> {
        self.ask(&json!({ "do": "load", "name": name, "path": path, "shape": shape, "dtype": dtype.name() })).map(drop)
    }

    /// Makes a call ready by running it once; `more` is what the op wants to know.
    pub(super) fn prepare(&mut self, name: &str, op: &str, tensors: &[&str], more: &Value) -> Result<(), String> {
        self.ask(&json!({ "do": "prepare", "name": name, "op": op, "tensors": tensors, "more": more })).map(drop)
    }

    /// Seconds of one run.
    pub(super) fn time(&mut self, name: &str) -> Result<f64, String> {
        self.seconds(&json!({ "do": "time", "name": name }))
    }

    /// A command whose answer is a number of seconds.
    pub(super) fn seconds(&mut self, command: &Value) -> Result<f64, String> {
        self.ask(command)?["seconds"].as_f64().ok_or_else(|| "it gives no time".into())
    }

    /// What a call gives, as f32 in row-major order.
    pub(super) fn result(&mut self, name: &str) -> Result<Vec<f32>, String> {
        self.floats(json!({ "do": "result", "name": name }))
    }

    /// Some rows along the last axis of what a call gives, counted through all others, as f32.
    pub(super) fn rows(&mut self, name: &str, rows: &[usize]) -> Result<Vec<f32>, String> {
        self.floats(json!({ "do": "rows", "name": name, "rows": rows }))
    }

    /// A command that writes f32s to a file.
    fn floats(&mut self, mut command: Value) -> Result<Vec<f32>, String> {
        let path = self.folder.join("result");
        command["path"] = json!(path);
        self.ask(&command)?;
        let bytes = std::fs::read(&path).map_err(|e| io_words(&e))?;
        Ok(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }
}

/// An answer, or the error that it tells.
fn understood(line: &str) -> Result<Value, String> {
    let said: Value = serde_json::from_str(line).map_err(|e| format!("it answers {line:?}: {e}"))?;
    match said["error"].as_str() {
        Some(why) => Err(why.to_owned()),
        None => Ok(said),
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // Whether it stops by itself and whether its files go is nothing that could be helped here.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

#[cfg(test)]
mod tests {
    use super::understood;

    #[test]
    fn answers_are_told_from_errors_and_noise() {
        assert_eq!(understood("{\"seconds\": 0.5}\n").map(|v| v["seconds"].as_f64()), Ok(Some(0.5)));
        assert_eq!(
            understood("{\"error\": \"ModuleNotFoundError: no torch\"}"),
            Err("ModuleNotFoundError: no torch".into())
        );
        assert!(understood("warning: something\n").is_err_and(|why| why.contains("warning: something")));
    }
}
