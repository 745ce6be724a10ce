//! `pantile rainfusion`: RainFusion2.0 attention on tokens of a file or of the sample, its speed and its distance to dense
//! attention. The method is written in `kernels/rainfusion.tile`; how it is called, in the kernels crate.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use pantile::{Backend, DType, Device, Tensor, TensorFile, write_tensors};
use pantile_kernels::{
    Budget, Comparison, Order, RainFusion, RainFusionOn, RainFusionOutput, attention_dense, compare, count_non_finite,
};

use crate::failure::{Failure, Outcome, input};
use crate::options::{Grid, count, dtype, number};
use crate::target::{self, Target};
use crate::{report, screen};

/// Runs RainFusion2.0 block-sparse attention and compares it with dense attention.
///
/// The input holds `q`, `k` and `v` as [B, H, N, D] (f32, f16 or bf16); k and v may have fewer heads. Without --input,
/// tokens of a short clip are used. The output holds `out` (the input's order and dtype), `mask` (u8 [B, H, NQ, NK]) and
/// `order` (i32: the token at each position of the walk); where blocks are padded, also `walk` (as `order`, with -1).
#[derive(clap::Args)]
#[command(after_help = "Examples:
  pantile rainfusion
  pantile rainfusion --input qkv.safetensors --grid 21,30,52 --sparsity 0.9
  pantile rainfusion --input qkv.safetensors --output out.safetensors
  pantile rainfusion --dialect mindie --report masks/")]
pub(crate) struct Options {
    /// A safetensors file with `q`, `k` and `v`; its metadata may hold `grid`, `text`, `layout`.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// The window order: the paper's, or MindIE-SD's.
    #[arg(long, value_enum, default_value = "paper")]
    dialect: DialectName,
    /// Protects exactly the blocks that the reference implementation protects.
    #[arg(long)]
    compat: bool,
    /// Frames, rows and columns of the video's tokens [default: the file's].
    #[arg(long, value_name = "F,Y,X")]
    grid: Option<Grid>,
    /// Text tokens beside the video [default: the file's, or 0].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count)]
    text: Option<usize>,
    /// Text follows the video in memory, where it otherwise precedes it.
    #[arg(long)]
    text_last: bool,
    /// The part of key blocks that a row may skip, in [0, 1).
    #[arg(long, default_value = "0.8", value_name = "S", allow_negative_numbers = true, value_parser = number::<f64>)]
    sparsity: f64,
    /// Tokens a block, 8 to 1024.
    #[arg(long, default_value = "128", value_name = "N", allow_negative_numbers = true, value_parser = count)]
    block: usize,
    /// Whether the first frame is always kept [default: on, but off for a single frame].
    #[arg(long, value_enum, value_name = "on|off", hide_possible_values = true)]
    sink: Option<Switch>,
    /// The factor of the logits [default: 1/√D].
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = number::<f32>)]
    scale: Option<f32>,
    /// With an even number of frames in the paper's dialect: walks the last frame alone.
    #[arg(long)]
    lone_last: bool,
    /// How the file lays out its axes [default: the file's, or bnsd].
    #[arg(long, value_enum)]
    layout: Option<Layout>,
    /// What to run on.
    #[arg(long, default_value = "cpu", value_name = "cpu|interp")]
    device: String,
    /// Computes in this dtype [default: the file's].
    #[arg(long, value_name = "f32|f16|bf16", value_parser = dtype)]
    dtype: Option<DType>,
    /// Computes dense attention too. The sample on the cpu is always compared.
    #[arg(long)]
    compare_dense: bool,
    /// Timed runs; the median counts [default: 9, on interp 1].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count)]
    runs: Option<usize>,
    /// Writes `out`, `mask` and `order`.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Writes a picture of each head's mask and a page with all numbers.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum DialectName {
    Paper,
    Mindie,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Layout {
    Bnsd,
    Bsnd,
}

/// The sample that runs without `--input`.
pub(crate) const SAMPLE: &[u8] = include_bytes!("../../../examples/data/bunny_240p.safetensors");
/// Its name.
pub(crate) const SAMPLE_NAME: &str = "bunny_240p.safetensors";
const SAMPLE_CREDIT: &str = "sample: tokens of the clip \"Big Buck Bunny\", (c) Blender Foundation, CC BY 3.0";

/// Measured times of the whole and of its parts.
pub(crate) struct Measured {
    pub(crate) output: RainFusionOutput,
    /// Medians, by stage.
    pub(crate) stages: Vec<(&'static str, Duration)>,
    /// Median of whole calls.
    pub(crate) sparse: Duration,
    pub(crate) dense: Option<Dense>,
}

/// What dense attention gives.
pub(crate) struct Dense {
    pub(crate) time: Duration,
    pub(crate) comparison: Comparison,
}

pub(crate) fn run(options: &Options) -> Outcome {
    let device = Device::parse(&options.device)?;
    let (file, source) = open(options)?;
    let layout = layout(options, &file)?;
    let original = ["q", "k", "v"].map(|name| load(&file, name, layout));
    let [q, k, v] = original;
    let (q, k, v) = (q?, k?, v?);
    let config = configure(options, &file)?;
    config.check(&q, &k, &v)?;
    check_dtype(options)?;
    check_targets(options)?;
    warn_non_finite([("q", &q), ("k", &k), ("v", &v)])?;
    let stored = q.dtype();
    let compute = options.dtype.unwrap_or(stored);
    let (q, k, v) = (q.to_dtype(compute)?, k.to_dtype(compute)?, v.to_dtype(compute)?);

    let (device, bar) = screen::with_bar(&device);
    let measured = measure(options, &config, &device, (&q, &k, &v))?;
    bar.finish_and_clear();

    let lines = summary(&config, &measured, &q, &source, &device);
    lines.iter().for_each(|line| screen::line(line));
    if let Some(path) = &options.output {
        write(path, &config, &measured.output, layout, stored)?;
        screen::line(&format!("output   {}", path.display()));
    }
    if let Some(dir) = &options.report {
        report::write(dir, &config, &measured, &lines)?;
        screen::line(&format!("report   {}", dir.join("index.html").display()));
    }
    Ok(())
}

fn open(options: &Options) -> Result<(TensorFile, String), Failure> {
    match &options.input {
        Some(path) => {
            let file = TensorFile::open(path).map_err(|e| Failure::Input(format!("argument `input`: {e}")))?;
            Ok((file, path.display().to_string()))
        }
        None => Ok((TensorFile::from_bytes(SAMPLE_NAME, SAMPLE.to_vec())?, SAMPLE_CREDIT.into())),
    }
}

fn layout(options: &Options, file: &TensorFile) -> Result<Layout, Failure> {
    match (options.layout, file.metadata().get("layout")) {
        (Some(layout), _) => Ok(layout),
        (None, None) => Ok(Layout::Bnsd),
        (None, Some(text)) => Layout::from_str(text, true)
            .map_err(|_| Failure::Input(format!("argument `layout`: the file says `{text}`; it must be BNSD or BSND"))),
    }
}

/// A tensor as [B, H, N, D], whatever the layout of the file.
fn load(file: &TensorFile, name: &str, layout: Layout) -> Result<Tensor, Failure> {
    let tensor = file.tensor(name).map_err(|e| Failure::Input(format!("argument `{name}`: {e}")))?;
    match layout {
        Layout::Bsnd if tensor.rank() == 4 => Ok(tensor.permute(&[0, 2, 1, 3])?),
        Layout::Bsnd | Layout::Bnsd => Ok(tensor),
    }
}

fn configure(options: &Options, file: &TensorFile) -> Result<RainFusion, Failure> {
    let grid = match (options.grid, file.metadata().get("grid")) {
        (Some(grid), _) => grid,
        (None, Some(text)) => {
            text.parse().map_err(|e: String| Failure::Input(format!("argument `grid`: in the file, {e}")))?
        }
        (None, None) => return input("argument `grid`: the file does not say it; give `--grid F,Y,X`"),
    };
    let text = match (options.text, file.metadata().get("text")) {
        (Some(text), _) => text,
        (None, None) => 0,
        (None, Some(text)) => text.parse().map_err(|_| {
            Failure::Input(format!("argument `text`: the file says `{text}`, which is no number of tokens"))
        })?,
    };
    Ok(RainFusion {
        text,
        text_last: options.text_last,
        order: match options.dialect {
            DialectName::Paper => Order::Paper,
            DialectName::Mindie => Order::Mindie,
        },
        compat: options.compat,
        budget: Budget::sparsity(options.sparsity),
        block: options.block,
        sink: options.sink.map(|s| s == Switch::On),
        scale: options.scale,
        lone_last: options.lone_last,
        ..RainFusion::new(grid.0)
    })
}

fn check_dtype(options: &Options) -> Outcome {
    match options.dtype {
        None | Some(DType::F32 | DType::F16 | DType::BF16) => Ok(()),
        Some(other) => input(format!("argument `dtype`: {other} is not one of f32, f16, bf16")),
    }
}

/// Work takes long: what cannot be written is said before it starts.
fn check_targets(options: &Options) -> Outcome {
    if options.runs == Some(0) {
        return input("argument `runs`: at least one run is needed");
    }
    if let Some(path) = &options.output {
        Target::new("output", path).check(options.input.as_deref())?;
    }
    options.report.as_deref().map_or(Ok(()), |dir| target::check_folder("report", dir))
}

fn warn_non_finite(tensors: [(&str, &Tensor); 3]) -> Outcome {
    for (name, tensor) in tensors {
        let (nan, infinite) = count_non_finite(tensor)?;
        if nan + infinite > 0 {
            screen::warn(&format!(
                "`{name}` holds {nan} NaN and {infinite} infinite values; rows that they reach come out as NaN or infinite"
            ));
        }
    }
    Ok(())
}

/// One warm-up, then timed runs; sparse and dense take turns, so that both meet the same machine.
fn measure(
    options: &Options,
    config: &RainFusion,
    device: &Device,
    (q, k, v): (&Tensor, &Tensor, &Tensor),
) -> Result<Measured, Failure> {
    let slow = device.backend() == Backend::Interp;
    let runs = options.runs.unwrap_or(if slow { 1 } else { 9 });
    let with_dense = options.compare_dense || (options.input.is_none() && !slow);
    let scale = config.scale(q.shape()[3]);
    let operator = RainFusionOn::new(config, device)?;
    let dense = || attention_dense(q, k, v, scale, device);
    let mut output = None;
    if !slow {
        output = Some(operator.call(q, k, v)?);
        if with_dense {
            dense()?;
        }
    }
    let (mut sparse_times, mut dense_times, mut stages, mut reference) = (vec![], vec![], Stages::default(), None);
    for _ in 0..runs {
        let start = Instant::now();
        let result = operator.call(q, k, v)?;
        sparse_times.push(start.elapsed());
        stages.add(&result);
        output = Some(result);
        if with_dense {
            let start = Instant::now();
            reference = Some(dense()?);
            dense_times.push(start.elapsed());
        }
    }
    let Some(output) = output else { return input("argument `runs`: at least one run is needed") };
    let dense = match reference {
        Some(reference) => Some(Dense { time: median(dense_times), comparison: compare(&output.out, &reference)? }),
        None => None,
    };
    Ok(Measured { stages: stages.medians(), sparse: median(sparse_times), dense, output })
}

/// Times by stage, over the runs.
#[derive(Default)]
struct Stages {
    times: Vec<(&'static str, Vec<Duration>)>,
}

impl Stages {
    fn add(&mut self, output: &RainFusionOutput) {
        for stage in &output.stages {
            match self.times.iter_mut().find(|(name, _)| *name == stage.name) {
                Some((_, times)) => times.push(stage.time),
                None => self.times.push((stage.name, vec![stage.time])),
            }
        }
    }

    fn medians(self) -> Vec<(&'static str, Duration)> {
        self.times.into_iter().map(|(name, times)| (name, median(times))).collect()
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// What is printed, line by line.
fn summary(config: &RainFusion, measured: &Measured, q: &Tensor, source: &str, device: &Device) -> Vec<String> {
    let [f, y, x] = config.grid;
    let (shape, mask) = (q.shape(), &measured.output.mask);
    let (rows, columns) = (mask.shape()[2], mask.shape()[3]);
    let sink = match (config.sink(), config.sink) {
        (true, _) => "first frame always kept",
        (false, None) => "no sink: a single frame would keep everything",
        (false, Some(_)) => "no sink",
    };
    let text = if config.text > 0 { format!(" + {} text", config.text) } else { String::new() };
    let mut lines = vec![
        source.to_owned(),
        format!(
            "tokens   {f}×{y}×{x}{text} = {}, {} × {} heads of {}, {} on {}",
            shape[2],
            shape[0],
            shape[1],
            shape[3],
            q.dtype(),
            device.name()
        ),
        format!(
            "method   {} order{}, {}, blocks of {}, {sink}",
            config.order,
            if config.compat { " as in the reference" } else { "" },
            config.budget,
            config.block
        ),
        format!(
            "kept     {:.2} % of {rows}×{columns} block pairs a head ({} of {})",
            100.0 * measured.output.kept,
            mask.kept(),
            mask.bits().len()
        ),
        String::new(),
    ];
    lines.extend(screen::table(&times(measured)).into_iter().map(|line| screen::bold_first(&line)));
    if let Some(dense) = &measured.dense {
        let speed = dense.time.as_secs_f64() / measured.sparse.as_secs_f64().max(f64::MIN_POSITIVE);
        let blocks = 1.0 / measured.output.kept.max(f64::MIN_POSITIVE);
        let c = dense.comparison;
        lines.push(String::new());
        lines.push(format!("speed-up {speed:.2}× over dense; blocks alone would give {blocks:.2}×"));
        lines.push(format!(
            "to dense cosine {:.5}, relative error {:.4} (rms), {:.4} (largest)",
            c.cosine, c.rms, c.max
        ));
    }
    lines
}

fn times(measured: &Measured) -> Vec<Vec<String>> {
    let row = |name: &str, time: Duration, note: &str| vec![name.to_owned(), screen::time(time), note.to_owned()];
    let mut rows = Vec::new();
    for (name, time) in &measured.stages {
        rows.push(row(name, *time, if *name == "order" { "once a grid" } else { "" }));
    }
    rows.push(row("sparse", measured.sparse, "whole operator"));
    if let Some(dense) = &measured.dense {
        rows.push(row("dense", dense.time, "attention over all blocks"));
    }
    rows
}

/// `order` is the tokens along the walk; where padding (-1) stands among them, `walk` shows it, position by position.
fn write(path: &Path, config: &RainFusion, output: &RainFusionOutput, layout: Layout, dtype: DType) -> Outcome {
    let out = output.out.to_dtype(dtype)?;
    let (out, layout) = match layout {
        Layout::Bsnd => (out.permute(&[0, 2, 1, 3])?, "BSND"),
        Layout::Bnsd => (out, "BNSD"),
    };
    let walk = output.order.to_vec::<i32>()?;
    let tokens: Vec<i32> = walk.iter().copied().filter(|t| *t >= 0).collect();
    let order = Tensor::from_slice(&[tokens.len()], &tokens)?;
    let mut tensors = vec![("out", &out), ("mask", output.mask.bits()), ("order", &order)];
    if tokens.len() < walk.len() {
        tensors.push(("walk", &output.order));
    }
    let [f, y, x] = config.grid;
    let metadata = [
        ("layout", layout.to_owned()),
        ("grid", format!("{f},{y},{x}")),
        ("text", config.text.to_string()),
        ("dialect", config.order.to_string()),
        (config.budget.name(), config.budget.values().iter().map(f64::to_string).collect::<Vec<_>>().join(",")),
        ("block", config.block.to_string()),
        ("kept", format!("{:.4}", output.kept)),
    ];
    Target::new("output", path).written(write_tensors(path, &tensors, &metadata))
}
