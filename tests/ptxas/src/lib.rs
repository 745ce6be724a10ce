//! For tests: NVIDIA's assembler and disassembler, looked for where they may lie, and what they say about a kernel.
//! Nothing is installed from here; `./test` does that.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use pantile_gpu::Target;

/// What the assembler makes of a kernel.
#[derive(Debug, Default)]
pub struct Report {
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes that are spilled, stored and loaded.
    pub spills: u32,
    /// Bytes of stack.
    pub stack: u32,
    /// Bytes of shared memory that are not dynamic.
    pub shared: u32,
    /// How often each opcode stands in the machine code, without what follows the first dot. Empty without a disassembler, or if not asked for.
    pub opcodes: BTreeMap<String, u32>,
    /// What the assembler warns of.
    pub warnings: Vec<String>,
    /// The machine code as text, if it was asked for and there is a disassembler.
    pub sass: String,
}

impl Report {
    /// How many instructions have an opcode that begins so.
    pub fn count(&self, opcode: &str) -> u32 {
        self.opcodes.iter().filter(|(name, _)| name.starts_with(opcode)).map(|(_, n)| n).sum()
    }
}

/// A tool of NVIDIA's: named by a variable, on the path, or where `./test` puts it.
fn tool(name: &str, variable: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Some(PathBuf::from(path));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/cuda-tools/bin");
    std::env::split_paths(&path).chain([root]).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// The assembler. Where there is none, a test says so and passes: code for GPUs is still printed, verified and compiled
/// to PTX.
pub fn ptxas() -> Option<PathBuf> {
    let found = tool("ptxas", "PANTILE_PTXAS");
    if found.is_none() {
        // Past the test harness, which keeps what passing tests print.
        let words = "NOT TESTED: no ptxas, so PTX is not assembled; `./test` installs it, or set PANTILE_PTXAS";
        let _ = writeln!(std::io::stderr(), "{words}");
    }
    found
}

fn numbers(line: &str, before: &str) -> u32 {
    let at = line.find(before).unwrap_or(0);
    let head = line[..at].trim_end();
    head.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Assembles PTX and reads the machine code.
///
/// # Errors
/// The assembler's words.
pub fn disassembled(ptxas: &Path, ptx: &str, target: Target) -> Result<Report, String> {
    run(ptxas, ptx, target, true)
}

/// Assembles PTX; the machine code is not looked at, for that takes longer than to make it.
///
/// # Errors
/// The assembler's words.
pub fn assemble(ptxas: &Path, ptx: &str, target: Target) -> Result<Report, String> {
    run(ptxas, ptx, target, false)
}

fn run(ptxas: &Path, ptx: &str, target: Target, opcodes: bool) -> Result<Report, String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let stem = format!("pantile-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let (source, cubin) = (std::env::temp_dir().join(format!("{stem}.ptx")), std::env::temp_dir().join(stem));
    std::fs::write(&source, ptx).map_err(|e| e.to_string())?;
    let arch = format!("-arch={target}");
    let output = Command::new(ptxas).args(["-v", &arch, "-o"]).arg(&cubin).arg(&source).output();
    let _ = std::fs::remove_file(&source);
    let output = output.map_err(|e| format!("{}: {e}", ptxas.display()))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(said);
    }
    let mut report = read(&said);
    if opcodes {
        disassemble(&cubin, &mut report);
    }
    let _ = std::fs::remove_file(&cubin);
    Ok(report)
}

/// What `ptxas -v` prints.
fn read(said: &str) -> Report {
    let mut report = Report::default();
    for line in said.lines() {
        if line.contains("bytes stack frame") {
            report.stack += numbers(line, " bytes stack frame");
            report.spills += numbers(line, " bytes spill stores") + numbers(line, " bytes spill loads");
        } else if line.contains("Used ") {
            report.registers = report.registers.max(numbers(line, " registers"));
            report.shared += numbers(line, " bytes smem");
        } else if line.contains("warning") || line.contains("serialized") {
            report.warnings.push(line.trim().to_string());
        }
    }
    report
}

fn disassemble(cubin: &Path, report: &mut Report) {
    let Some(tool) = tool("nvdisasm", "PANTILE_NVDISASM") else { return };
    let Ok(output) = Command::new(tool).arg("-c").arg(cubin).output() else { return };
    report.sass = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in report.sass.lines() {
        let Some((_, code)) = line.split_once("*/") else { continue };
        let mut words = code.split_whitespace().filter(|word| !word.starts_with('@'));
        let opcode = words.next().unwrap_or_default().split('.').next().unwrap_or_default();
        let opcode = opcode.trim_end_matches(';');
        if opcode.starts_with(|c: char| c.is_ascii_uppercase()) {
            *report.opcodes.entry(opcode.to_string()).or_default() += 1;
        }
    }
}
