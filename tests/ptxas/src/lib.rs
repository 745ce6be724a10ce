//! For tests: NVIDIA's assembler and disassembler, looked for where they may lie, and what they say about kernels.
//! Nothing is installed from here; `./test` does that.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use pantile_gpu::Target;

/// What the assembler makes of a kernel, or of all kernels of a text.
#[derive(Clone, Debug, Default)]
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

/// Panics unless each of these opcodes stands in some machine code.
pub fn assert_uses(sass: &str, opcodes: &[&str]) {
    let found = count(sass);
    let missing: Vec<&&str> = opcodes.iter().filter(|opcode| !found.contains_key(**opcode)).collect();
    assert!(missing.is_empty(), "{missing:?} are not among {found:?}");
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

/// Past the test harness, which keeps what passing tests print.
pub fn not_tested(words: &str) {
    let _ = writeln!(std::io::stderr(), "NOT TESTED: {words}");
}

/// The assembler. Where there is none, a test says so and passes: code for GPUs is still printed, verified and compiled
/// to PTX.
pub fn ptxas() -> Option<PathBuf> {
    let found = tool("ptxas", "PANTILE_PTXAS");
    if found.is_none() {
        not_tested("no ptxas, so PTX is not assembled; `./test` installs it, or set PANTILE_PTXAS");
    }
    found
}

/// The assembler's version, such as `13.5.37`; empty if it does not say.
pub fn version(ptxas: &Path) -> String {
    let said = Command::new(ptxas).arg("--version").output().map(|o| o.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    said.rsplit(", V").next().and_then(|rest| rest.split_whitespace().next()).unwrap_or_default().to_owned()
}

/// Modules as one: the head of the first, the kernels of all, which need different names. Both tools take long to start.
pub fn together(texts: &[String]) -> String {
    let shared = ".extern .shared";
    let mut out = String::new();
    for (n, text) in texts.iter().enumerate() {
        let at = text.find(".visible .entry").unwrap_or(0);
        let head = if n == 0 { text[..at].lines().filter(|l| !l.contains(shared)).collect::<Vec<_>>() } else { vec![] };
        out.push_str(&head.join("\n"));
        if n == 0 {
            out.push_str("\n.extern .shared .align 1024 .b8 pantile_shared[];\n");
        }
        out.push_str(&text[at..]);
    }
    out
}

/// Assembles PTX and reads the machine code.
///
/// # Errors
/// The assembler's words.
pub fn disassembled(ptxas: &Path, ptx: &str, target: Target) -> Result<Report, String> {
    run(ptxas, ptx, target, true).map(sum)
}

/// Assembles PTX; the machine code is not looked at, for that takes longer than to make it.
///
/// # Errors
/// The assembler's words.
pub fn assemble(ptxas: &Path, ptx: &str, target: Target) -> Result<Report, String> {
    run(ptxas, ptx, target, false).map(sum)
}

/// Assembles PTX of several kernels; what becomes of each, by name. The machine code is read if `sass` says so.
///
/// # Errors
/// The assembler's words.
pub fn each(ptxas: &Path, ptx: &str, target: Target, sass: bool) -> Result<BTreeMap<String, Report>, String> {
    run(ptxas, ptx, target, sass)
}

/// Kernels as one: the most registers, and of all else the sum.
fn sum(reports: BTreeMap<String, Report>) -> Report {
    let mut all = Report::default();
    for report in reports.into_values() {
        all.registers = all.registers.max(report.registers);
        all.spills += report.spills;
        all.stack += report.stack;
        all.shared += report.shared;
        report.opcodes.into_iter().for_each(|(name, n)| *all.opcodes.entry(name).or_default() += n);
        all.warnings.extend(report.warnings);
        all.sass += &report.sass;
    }
    all
}

fn run(ptxas: &Path, ptx: &str, target: Target, sass: bool) -> Result<BTreeMap<String, Report>, String> {
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
    let mut reports = read(&said);
    if sass {
        disassemble(&cubin, &mut reports);
    }
    let _ = std::fs::remove_file(&cubin);
    Ok(reports)
}

/// The number before some words.
fn number(line: &str, before: &str) -> u32 {
    let at = line.find(before).unwrap_or(0);
    let head = line[..at].trim_end();
    head.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// What stands between the first quotation marks.
fn quoted(line: &str) -> Option<&str> {
    line.split('\'').nth(1)
}

/// What `ptxas -v` prints: of each entry a head, then lines about it. A warning names its entry, or is about the one at hand.
fn read(said: &str) -> BTreeMap<String, Report> {
    let mut reports: BTreeMap<String, Report> = BTreeMap::new();
    let mut entry = String::new();
    for line in said.lines() {
        if line.contains("Compiling entry function") {
            entry = quoted(line).unwrap_or_default().to_owned();
            reports.entry(entry.clone()).or_default();
        } else if line.contains("bytes stack frame") {
            let report = reports.entry(entry.clone()).or_default();
            report.stack += number(line, " bytes stack frame");
            report.spills += number(line, " bytes spill stores") + number(line, " bytes spill loads");
        } else if line.contains("Used ") {
            let report = reports.entry(entry.clone()).or_default();
            report.registers = report.registers.max(number(line, " registers"));
            report.shared += number(line, " bytes smem");
        } else if line.contains("warning") || line.contains("serialized") {
            let named = line.split('\'').skip(1).step_by(2).find(|name| reports.contains_key(*name));
            let about = named.unwrap_or(&entry).to_owned();
            reports.entry(about).or_default().warnings.push(line.trim().to_string());
        }
    }
    reports
}

fn disassemble(cubin: &Path, reports: &mut BTreeMap<String, Report>) {
    let Some(tool) = tool("nvdisasm", "PANTILE_NVDISASM") else { return };
    let Ok(output) = Command::new(tool).args(["-ndf", "-c"]).arg(cubin).output() else { return };
    let text = String::from_utf8_lossy(&output.stdout);
    let mut parts = text.split("\t.section\t.text.");
    // What stands before the first section is about the whole file.
    parts.next();
    for part in parts {
        let name = part.split(',').next().unwrap_or_default();
        if let Some(report) = reports.get_mut(name) {
            report.opcodes = count(part);
            report.sass = part.to_owned();
        }
    }
}

/// How often each opcode stands in machine code.
fn count(sass: &str) -> BTreeMap<String, u32> {
    let mut opcodes = BTreeMap::new();
    for line in sass.lines() {
        let Some((_, code)) = line.split_once("*/") else { continue };
        let mut words = code.split_whitespace().filter(|word| !word.starts_with('@'));
        let opcode = words.next().unwrap_or_default().split('.').next().unwrap_or_default();
        let opcode = opcode.trim_end_matches(';');
        if opcode.starts_with(|c: char| c.is_ascii_uppercase()) {
            *opcodes.entry(opcode.to_string()).or_default() += 1;
        }
    }
    opcodes
}

#[cfg(test)]
mod tests {
    use super::{assert_uses, count, read};

    const SAID: &str = "ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'a' for 'sm_90a'
ptxas info    : Function properties for a
    520 bytes stack frame, 1900 bytes spill stores, 2156 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 520 bytes cumulative stack size, 16 bytes smem
ptxas info    : Compiling entry function 'b' for 'sm_90a'
ptxas info    : Function properties for b
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 24 registers, used 0 barriers
ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to x in function 'a'
";

    #[test]
    fn kernels_of_one_text_are_told_apart() {
        let reports = read(SAID);
        let (a, b) = (&reports["a"], &reports["b"]);
        assert_eq!((a.registers, a.spills, a.stack, a.shared), (255, 4056, 520, 16));
        assert_eq!((b.registers, b.spills, b.stack, b.shared), (24, 0, 0, 0));
        assert_eq!((a.warnings.len(), b.warnings.len()), (1, 0));
    }

    #[test]
    fn opcodes_are_counted_without_predicates_and_modifiers() {
        let sass = "        /*0190*/               @P0 LDG.E.128.CONSTANT R8, desc[UR10][R2.64] ;
        /*01a0*/                   EXIT ;
        /*01b0*/                   LDG.E R8, desc[UR10][R2.64] ;
.L_x_1:";
        assert_eq!(count(sass).into_iter().collect::<Vec<_>>(), [("EXIT".to_owned(), 1), ("LDG".to_owned(), 2)]);
        assert_uses(sass, &["LDG", "EXIT"]);
        assert!(std::panic::catch_unwind(|| assert_uses(sass, &["LD"])).is_err());
    }
}
