//! `pantile bench gpu`: attention, RainFusion2.0, products, memory-bound kernels, compiling and launching on a GPU, beside peers.
//! It judges speed by nothing; results that are wrong are a failure. What is measured is `plan.rs`'s business.

mod attention;
mod host;
mod matrices;
mod operator;
mod peers;
mod plan;
mod reference;
mod row;

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::OnceLock;

use pantile::{DType, Device, KernelOn, Module, Out, Running, Tensor, write_whole};
use pantile_kernels::FILES;
use serde_json::{Value, json};

use super::cases::Side;
use crate::failure::{Failure, Outcome, input};
use crate::screen;
use peers::{Peers, asked};
use plan::{Spec, Work};
use row::{Beside, Row};

/// What to measure.
#[derive(clap::Args)]
pub(super) struct Options {
    /// The GPU.
    #[arg(long, default_value = "cuda:0", value_name = "cuda:N")]
    device: String,
    /// A Python with torch, and perhaps Triton and FlashAttention, to measure beside them
    #[arg(long, value_name = "PYTHON")]
    torch: Option<String>,
    /// Only these peers, each from a Python of its own if it names one
    #[arg(long, value_name = "torch|triton|fa3|fa4[=PYTHON]")]
    peer: Vec<String>,
    /// Rounds of each comparison
    #[arg(long, default_value = "9", allow_negative_numbers = true, value_parser = super::rounds)]
    rounds: usize,
    /// Only this case, or lines with this text; may be given several times
    #[arg(long, value_name = "CASE|TEXT")]
    only: Vec<String>,
    /// Say what would be measured, and measure nothing
    #[arg(long)]
    dry_run: bool,
    /// Write the figures as JSON too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print the seconds of one cold compilation alone
    #[arg(long, hide = true)]
    cold: bool,
}

/// The device, what runs beside it, and how often.
struct Bench {
    device: Device,
    peers: Peers,
    rounds: usize,
}

/// What is handed to peers, by name.
type Given<'a> = [(&'a str, &'a Tensor)];

pub(super) fn run(options: &Options) -> Outcome {
    let specs = plan::chosen(&options.only);
    if specs.is_empty() {
        let (only, known) = (options.only.join(", "), plan::cases().join(", "));
        return input(format!("`--only {only}` is no case and no part of a line; there are {known}"));
    }
    let asked = asked(options.torch.as_deref(), &options.peer)?;
    if options.dry_run {
        screen::table(&plan::shown(&specs)).iter().for_each(|line| screen::line(line));
        return Ok(());
    }
    let device = Device::parse(&options.device)?;
    if options.cold {
        let seconds = host::cold(&device)?;
        screen::line(&seconds.to_string());
        return Ok(());
    }
    let name = device.name();
    let peers = Peers::start(asked, &name, |why| screen::complain(&format!("left out: {why}")));
    let bench = Bench { device, peers, rounds: options.rounds };
    bench.head();
    let mut rows = Vec::new();
    for spec in &specs {
        let row = bench.measure(spec)?;
        row.lines().iter().for_each(|line| screen::line(line));
        rows.push(row);
    }
    if let Some(path) = &options.json {
        write_whole(path, format!("{:#}\n", bench.json(&rows)).as_bytes())?;
    }
    let wrong: Vec<&str> = rows.iter().filter(|row| row.is_wrong()).map(|row| row.what.as_str()).collect();
    match wrong.len() {
        0 => Ok(()),
        n => Err(Failure::Kernel(format!("{n} results are not what they should be: {}", wrong.join("; ")))),
    }
}

impl Bench {
    fn head(&self) {
        let versions = self.peers.versions();
        let beside = if versions.is_empty() { "nothing (--torch PYTHON)".to_owned() } else { versions.join("; ") };
        screen::line(&format!("{}, {} rounds; beside {beside}\n", self.about(), self.rounds));
        screen::line(&screen::bold(&row::head()));
    }

    fn about(&self) -> String {
        let all = Device::all().into_iter().find(|(d, _)| d.name() == self.device.name());
        all.map_or_else(|| self.device.name(), |(_, about)| about)
    }

    fn json(&self, rows: &[Row]) -> Value {
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        json!({ "device": self.about(), "rounds": self.rounds, "peers": self.peers.versions(), "rows": rows })
    }

    fn measure(&self, spec: &Spec) -> Result<Row, Failure> {
        match spec.work {
            Work::Attention(ref work) => attention::measure(self, spec, work),
            Work::Operator { grid, heads, channels, sparsity } => {
                operator::measure(self, spec, (grid, heads, channels, sparsity))
            }
            Work::Product(n) => matrices::product(self, spec, n),
            Work::Rows { kind, rows, columns } => matrices::rows(self, spec, (kind, rows, columns)),
            Work::Compile => host::compile(self, spec),
            Work::Launch(n) => host::launch(self, spec, n),
        }
    }

    /// A kernel of the file that stands beside this one.
    fn tool(&self, name: &str) -> Result<KernelOn, Failure> {
        Ok(tools()?.kernel(name)?.on(&self.device))
    }

    /// Numbers of a normal distribution, made where they are used, other ones at each call.
    fn normal(&self, shape: &[usize], dtype: DType) -> Result<Tensor, Failure> {
        let seed = RandomState::new().hash_one(shape) as i64;
        let mut flat = Tensor::zeros(dtype, &[shape.iter().product()])?.to(&self.device)?;
        let kernel = tools()?.kernel("normal")?.with("T", dtype).on(&self.device);
        kernel.call_into((seed,), vec![Out::Tensor(&mut flat)])?;
        Ok(flat.reshape(shape)?)
    }

    /// Room for a result, all of it NaN.
    fn room(&self, shape: &[usize], dtype: DType) -> Result<Tensor, Failure> {
        let mut room = Tensor::zeros(dtype, &[shape.iter().product()])?.to(&self.device)?;
        let kernel = tools()?.kernel("poison")?.with("T", dtype).on(&self.device);
        let none: [pantile::Arg<'_>; 0] = [];
        kernel.call_into(none, vec![Out::Tensor(&mut room)])?;
        // A view shares its memory as long as both are there.
        let shaped = room.reshape(shape)?;
        drop(room);
        Ok(shaped)
    }

    /// This side first, then those of the peers that have an answer, by turns. `check` says how far some rows, as they are
    /// given, are off.
    fn beside(
        &self,
        spec: &Spec,
        given: &Given<'_>,
        more: &Value,
        own: Side<'_>,
    ) -> Result<(Vec<f64>, Vec<Beside>), Failure> {
        self.peers.hand_over(given)?;
        let names: Vec<&str> = given.iter().map(|(name, _)| *name).filter(|name| *name != "mask").collect();
        let offers = spec.work.offers();
        let taken = |op: &str| if op == "copy" || op == "softmax" { 1 } else { names.len() };
        let sides = offers.iter().map(|offer| self.peers.side(offer, &names[..taken(offer.op)], more));
        let mut times = row::by_turns(std::iter::once(own).chain(sides).collect(), self.rounds);
        let own = times.remove(0).map_err(Failure::Kernel)?;
        let beside = offers.iter().zip(times).map(|(offer, times)| Beside::new(offer.label, times));
        Ok((own, beside.collect()))
    }
}

/// Seconds of a launch right behind another, which hides what the host does for it.
fn timed(device: &Device, mut start: impl FnMut() -> pantile::Result<Running>) -> Result<f64, String> {
    let mut both = || {
        let first = start()?;
        let (second, time) = device.measure(&mut start)?;
        first.finish().and_then(|()| second.finish()).map(|()| time.as_secs_f64())
    };
    both().map_err(|e| e.to_string())
}

/// Kernels for measuring.
fn tools() -> Result<Module, Failure> {
    static TOOLS: OnceLock<Module> = OnceLock::new();
    if let Some(module) = TOOLS.get() {
        return Ok(module.clone());
    }
    let module = Module::from_texts("bench.tile", include_str!("bench.tile"), FILES)?;
    Ok(TOOLS.get_or_init(|| module).clone())
}

#[cfg(test)]
mod tests;
