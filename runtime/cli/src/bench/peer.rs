//! Torch as a process beside this one: tensors handed over, calls prepared and timed one by one. What is compared is the
//! business of the cases.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use pantile::{Tensor, io_words};
use serde_json::{Value, json};

use crate::failure::{Failure, input};

/// What torch runs on.
#[derive(Clone, Copy)]
pub(super) enum Peer {
    Cpu,
    Gpu,
}

impl Peer {
    fn script(self) -> &'static str {
        match self {
            Peer::Cpu => include_str!("torch_cpu.py"),
            Peer::Gpu => include_str!("torch_gpu.py"),
        }
    }
}

/// A running Python with torch.
pub(super) struct Torch {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    folder: PathBuf,
    /// What it says of itself.
    pub version: String,
}

impl Torch {
    /// Starts it.
    pub(super) fn start(python: &str, peer: Peer) -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("pantile-bench-{}", std::process::id()));
        let start = || {
            std::fs::create_dir_all(&folder)?;
            let script = folder.join("torch_peer.py");
            std::fs::write(&script, peer.script())?;
            // Its workers must not spin while this side runs.
            let mut command = Command::new(python);
            command.env("OMP_WAIT_POLICY", "PASSIVE").env("GOMP_SPINCOUNT", "0").env("KMP_BLOCKTIME", "0");
            command.arg("-u").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
        };
        let mut child =
            start().map_err(|e| Failure::Input(format!("`--torch {python}` does not start: {}", io_words(&e))))?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return input(format!("`--torch {python}` has no standard input or output"));
        };
        let mut torch = Self { child, to, from: BufReader::new(from), folder, version: String::new() };
        let said = torch.ask(&json!({ "do": "version" })).map_err(|why| {
            Failure::Input(format!(
                "`--torch {python}` has no torch ({why}); install it with pip, or name another Python"
            ))
        })?;
        torch.version = said["version"].as_str().unwrap_or_default().to_owned();
        Ok(torch)
    }

    /// One command, one answer; or why there is none.
    fn ask(&mut self, command: &Value) -> Result<Value, String> {
        writeln!(self.to, "{command}").and_then(|()| self.to.flush()).map_err(|e| format!("it is gone: {e}"))?;
        let mut line = String::new();
        match self.from.read_line(&mut line) {
            Ok(0) => return Err("it has stopped".into()),
            Ok(_) => {}
            Err(e) => return Err(e.to_string()),
        }
        let said: Value = serde_json::from_str(&line).map_err(|e| format!("it answers {line:?}: {e}"))?;
        match said["error"].as_str() {
            Some(why) => Err(why.to_owned()),
            None => Ok(said),
        }
    }

    pub(super) fn threads(&mut self, n: usize) -> Result<(), String> {
        self.ask(&json!({ "do": "threads", "n": n })).map(drop)
    }

    /// Frees all that it holds.
    pub(super) fn forget(&mut self) -> Result<(), String> {
        self.ask(&json!({ "do": "forget" })).map(drop)
    }

    /// Hands over a tensor.
    pub(super) fn load(&mut self, name: &str, tensor: &Tensor) -> Result<(), String> {
        let bytes = tensor.to_bytes().map_err(|e| e.to_string())?;
        let path = self.folder.join(name);
        std::fs::write(&path, bytes).map_err(|e| format!("{}: {}", path.display(), io_words(&e)))?;
        self.ask(&json!({ "do": "load", "name": name, "path": path, "shape": tensor.shape(), "dtype": tensor.dtype().name() })).map(drop)?;
        std::fs::remove_file(&path).map_err(|e| io_words(&e))
    }

    /// Makes a call ready by running it once: `sdpa`, `matmul` or `flex` (with `mask` and `block`).
    pub(super) fn prepare(&mut self, name: &str, op: &str, tensors: &[&str], more: &Value) -> Result<(), String> {
        let mut command = json!({ "do": "prepare", "name": name, "op": op, "tensors": tensors });
        if let (Value::Object(command), Value::Object(more)) = (&mut command, more) {
            command.extend(more.clone());
        }
        self.ask(&command).map(drop)
    }

    /// Seconds of one run.
    pub(super) fn time(&mut self, name: &str) -> Result<f64, String> {
        let said = self.ask(&json!({ "do": "time", "name": name }))?;
        said["seconds"].as_f64().ok_or_else(|| "it gives no time".into())
    }

    /// What a call gives, as f32 in row-major order.
    pub(super) fn result(&mut self, name: &str) -> Result<Vec<f32>, String> {
        let path = self.folder.join("result");
        self.ask(&json!({ "do": "result", "name": name, "path": path }))?;
        let bytes = std::fs::read(&path).map_err(|e| io_words(&e))?;
        Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }
}

impl Drop for Torch {
    fn drop(&mut self) {
        // Whether it stops by itself and whether its files go is nothing that could be helped here.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}
