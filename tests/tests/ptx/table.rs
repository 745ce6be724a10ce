//! What machine code is made of, as one table that is compared with the last one. It runs no tool.

use std::path::{Path, PathBuf};

use pantile_gpu::Target;
use pantile_ptxas::not_tested;

use crate::make::{Blocks, Made};

/// The opcodes that are counted, each alone.
const OPCODES: [&str; 15] = [
    "HGMMA", "HMMA", "FFMA", "MUFU", "UTMALDG", "UTMASTG", "LDGSTS", "LDSM", "LDG", "STG", "LDS", "STS", "SHFL", "BAR",
    "SYNCS",
];

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ptx/table.snap")
}

/// Compares what was made by these versions of the tools with the table, or rewrites it.
pub fn compare(tools: &str, all: &[Made]) {
    let text = format!("made by {tools}\n\n{}\n{}", shipped(all), small(all));
    if std::env::var_os("BLESS").is_some() {
        return std::fs::write(path(), text).expect("the table can be written");
    }
    let known = std::fs::read_to_string(path()).unwrap_or_default();
    let by = known.lines().next().unwrap_or_default().trim_start_matches("made by ");
    if by != tools {
        return not_tested(&format!("the table of machine code was made by {by}, and here are {tools}"));
    }
    assert!(
        known == text,
        "{}\n`BLESS=1 cargo test -p pantile-tests --test ptx` rewrites the table",
        changes(&known, &text)
    );
}

/// Lines that are in one only.
fn changes(old: &str, new: &str) -> String {
    let only = |a: &str, b: &str, sign: &str| {
        let gone = a.lines().filter(|line| !b.lines().any(|other| other == *line));
        gone.map(|line| format!("{sign} {line}\n")).collect::<String>()
    };
    only(old, new, "-") + &only(new, old, "+")
}

/// One row a kernel and target: sizes and instructions.
fn shipped(all: &[Made]) -> String {
    let head = ["kernel", "dtype", "target", "threads", "shared", "PTX", "registers", "spilled", "SASS"];
    let head = head.iter().chain(&OPCODES).map(|s| (*s).to_owned()).collect();
    let row = |made: &Made| {
        let report = &made.report;
        let count = |opcode: &str| report.opcodes.get(opcode).copied().unwrap_or(0);
        let total = report.opcodes.iter().filter(|(name, _)| *name != "NOP").map(|(_, n)| n).sum();
        let lines = made.ptx.lines().count() as u32;
        let sizes = [made.threads, made.shared, lines, report.registers, report.spills, total];
        let numbers = sizes.into_iter().chain(OPCODES.map(count)).map(number);
        [made.kernel.clone(), made.dtype.to_string(), made.target.to_string()].into_iter().chain(numbers).collect()
    };
    let rows = all.iter().filter(|m| m.blocks == Blocks::Shipped).map(row);
    let title = "blocks as shipped: bytes of shared memory, lines of PTX, bytes spilled, instructions in all and of some kinds\n\n";
    title.to_owned() + &aligned(&std::iter::once(head).chain(rows).collect::<Vec<_>>(), 3)
}

/// One row a kernel and dtype: PTX and registers on each target.
fn small(all: &[Made]) -> String {
    let targets = Target::TESTED.iter().flat_map(|t| [t.to_string(), String::new()]);
    let head: Vec<String> = ["kernel".to_owned(), "dtype".to_owned()].into_iter().chain(targets).collect();
    let mut rows = vec![head];
    let small: Vec<&Made> = all.iter().filter(|m| m.blocks == Blocks::Small).collect();
    for made in &small {
        if rows.last().is_some_and(|row| row[0] == made.kernel && row[1] == made.dtype.to_string()) {
            continue;
        }
        let on = |target: &Target| {
            let found = small.iter().find(|m| m.is(&made.kernel, made.dtype) && m.target == *target);
            found.map_or(["-".into(), "-".into()], |m| {
                [m.ptx.lines().count().to_string(), m.report.registers.to_string()]
            })
        };
        let cells = Target::TESTED.iter().flat_map(on);
        rows.push([made.kernel.clone(), made.dtype.to_string()].into_iter().chain(cells).collect());
    }
    "blocks of 16: lines of PTX, registers\n\n".to_owned() + &aligned(&rows, 2)
}

/// None is a dot, so that what is there is seen.
fn number(n: u32) -> String {
    if n == 0 { ".".into() } else { n.to_string() }
}

/// Columns in line: the first few to the left, the others to the right.
fn aligned(rows: &[Vec<String>], left: usize) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |c: usize| rows.iter().map(|row| row[c].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let cell = |(c, text): (usize, &String)| {
            let width = widths[c];
            if c < left { format!("{text:width$}") } else { format!("{text:>width$}") }
        };
        out += row.iter().enumerate().map(cell).collect::<Vec<_>>().join(" ").trim_end();
        out.push('\n');
    }
    out
}
