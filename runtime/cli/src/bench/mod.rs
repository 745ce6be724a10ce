//! `pantile bench cpu` and `pantile bench gpu`: what the back ends reach, each figure as a ratio to something measured in the same
//! run: torch, the machine's own peaks, this compiler's other ways. It judges nothing: a figure that misses its target is shown so.

mod cases;
mod gpu;
mod launches;
mod peak;
mod peer;

use std::cell::RefCell;
use std::path::PathBuf;

use clap::Subcommand;
use pantile::{Device, write_whole};
use serde_json::{Value, json};

use crate::device::Features;
use crate::failure::{Failure, Outcome};
use crate::screen;
use cases::{Bench, CASES, Row, Target};
use peer::{Python, Script};

/// Measures speed, each figure beside a peer in the same run
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    device: On,
}

#[derive(Subcommand)]
enum On {
    /// Attention dense and sparse, RainFusion2.0, products, memory-bound kernels, compile time
    #[command(after_help = "Examples:
  pantile bench cpu
  pantile bench cpu --torch python3 --rounds 15
  pantile bench cpu --only dense --only gemm --json ratios.json

A ratio is the median over rounds in which both sides ran by turns. PANTILE_THREADS limits the threads.")]
    Cpu(Cpu),
    /// Attention dense and sparse, RainFusion2.0, products, memory-bound kernels, compile time, launches, on an NVIDIA GPU
    #[command(after_help = "Examples:
  pantile bench gpu --dry-run
  pantile bench gpu --torch python3
  pantile bench gpu --torch python3 --peer torch --peer fa3=/opt/fa3/bin/python3
  pantile bench gpu --device cuda:1 --torch python3 --only dense --only 720p --rounds 15 --json gpu.json

Times are the GPU's own, from its queue, of a launch behind another. A ratio is the median over rounds in which all
sides ran by turns; above 1, this side is faster. Some rows of each side's result are compared with f64 on
the CPU; exit code 3 says that ours are wrong. Peers: torch (cuDNN, cuBLAS, flex_attention), triton (its own
kernels), fa3 and fa4 (FlashAttention); those that a Python lacks are named and left out.")]
    Gpu(gpu::Options),
}

#[derive(clap::Args)]
struct Cpu {
    /// A Python with torch, to measure beside it
    #[arg(long, value_name = "PYTHON")]
    torch: Option<String>,
    /// Rounds of each comparison
    #[arg(long, default_value = "9", allow_negative_numbers = true, value_parser = rounds)]
    rounds: usize,
    /// Only this case; may be given several times
    #[arg(long, value_name = "CASE", value_parser = CASES.iter().map(|c| c.name).collect::<Vec<_>>())]
    only: Vec<String>,
    #[command(flatten)]
    features: Features,
    /// Leave out what takes minutes
    #[arg(long)]
    quick: bool,
    /// Write the figures as JSON too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(super) fn rounds(text: &str) -> Result<usize, String> {
    match crate::options::count(text)? {
        n @ 1..=1000 => Ok(n),
        n => Err(format!("{n} is not in 1..=1000")),
    }
}

pub(crate) fn run(options: &Options) -> Outcome {
    match &options.device {
        On::Cpu(options) => cpu(options),
        On::Gpu(options) => gpu::run(options),
    }
}

/// Torch beside the CPU.
fn torch(python: &str) -> Result<Python, Failure> {
    let files = [("torch_cpu.py", include_str!("torch_cpu.py"))];
    Python::start(python, &Script { files: &files, args: &[] }).map_err(|why| {
        Failure::Input(format!("`--torch {python}` has no torch ({why}); install it with pip, or name another Python"))
    })
}

fn cpu(options: &Cpu) -> Outcome {
    let torch = options.torch.as_deref().map(torch).transpose()?;
    let device = options.features.apply(Device::parse("cpu")?)?;
    let threads = device.threads();
    let version = torch.as_ref().map(|t| t.version.clone());
    head(threads, version.as_deref());
    let bench = Bench { device, threads, rounds: options.rounds, torch: torch.map(RefCell::new) };
    let mut rows = Vec::new();
    for case in CASES {
        let asked = options.only.iter().any(|only| only == case.name);
        if asked || options.only.is_empty() && !(case.slow && options.quick) {
            for row in (case.run)(&bench)? {
                screen::line(&line(&row));
                rows.push(row);
            }
        }
    }
    let missed = rows.iter().filter(|row| met(row) == Some(false)).count();
    let open = rows.iter().filter(|row| met(row).is_none()).count();
    screen::line(&format!("\nfigures: {}; {missed} miss their target, {open} could not be measured", rows.len()));
    match &options.json {
        Some(path) => write_json(path, &rows, threads, version.as_deref()),
        None => Ok(()),
    }
}

fn head(threads: usize, torch: Option<&str>) {
    let beside = torch.map_or("without torch (--torch PYTHON)".to_owned(), |v| format!("torch {v}"));
    screen::line(&format!(
        "{}, dot in {}, {threads} threads; {beside}\n",
        std::env::consts::ARCH,
        pantile_cpu::Features::host()
    ));
    screen::line(&screen::bold(&format!("{:52} {:>10}  {:>6}  {:7} beside", "", "ours", "ratio", "target")));
}

fn line(row: &Row) -> String {
    let time = std::time::Duration::try_from_secs_f64(row.seconds).map_or("-".into(), screen::time);
    let target = match row.target {
        Target::AtLeast(x) => format!("≥ {x:.2}"),
        Target::AtMost(x) => format!("≤ {x:.2}"),
    };
    let (value, note) = match &row.value {
        Ok(x) => (format!("{x:.3}"), if met(row) == Some(false) { ", missed" } else { "" }.to_owned()),
        Err(why) => ("-".to_owned(), format!(": {why}")),
    };
    format!("{:52} {time:>10}  {value:>6}  {target:7} {}{note}", row.what, row.beside)
}

/// Whether the target is reached, if it could be measured.
fn met(row: &Row) -> Option<bool> {
    let value = row.value.as_ref().ok()?;
    Some(match row.target {
        Target::AtLeast(x) => *value >= x,
        Target::AtMost(x) => *value <= x,
    })
}

fn write_json(path: &std::path::Path, rows: &[Row], threads: usize, torch: Option<&str>) -> Outcome {
    let row = |row: &Row| {
        let (kind, target) = match row.target {
            Target::AtLeast(x) => ("at_least", x),
            Target::AtMost(x) => ("at_most", x),
        };
        json!({
            "what": row.what, "seconds": row.seconds, "beside": row.beside, "ratio": row.value.as_ref().ok(),
            "why_not": row.value.as_ref().err(), kind: target,
        })
    };
    let all: Vec<Value> = rows.iter().map(row).collect();
    let features = pantile_cpu::Features::host().to_string();
    let text = json!({ "threads": threads, "dot": features, "torch": torch, "figures": all });
    Ok(write_whole(path, format!("{text:#}\n").as_bytes())?)
}
