//! What is measured on a GPU beside torch: attention, products, memory-bound kernels; and how long launches and compiling
//! take. Rates are
//! of the arithmetic or the bytes that the problem needs, whatever was computed.

use std::cell::RefCell;
use std::time::Instant;

use pantile::{DType, Device, Mask, Module, Out, Running, Tensor};
use pantile_kernels::FILES;
use serde_json::json;

use super::cases::{Side, by_turns, kernel, noise, random_mask, speed};
use super::launches;
use super::peer::{Peer, Torch};
use crate::failure::{Failure, Outcome};
use crate::screen;

/// What to measure.
#[derive(clap::Args)]
pub(super) struct Options {
    /// The GPU.
    #[arg(long, default_value = "cuda:0", value_name = "cuda:N")]
    device: String,
    /// A Python with torch, to measure beside it
    #[arg(long, value_name = "PYTHON")]
    torch: Option<String>,
    /// Rounds of each comparison
    #[arg(long, default_value = "9", allow_negative_numbers = true, value_parser = super::rounds)]
    rounds: usize,
    /// Only this case; may be given several times
    #[arg(long, value_name = "CASE", value_parser = CASES.map(|(name, _)| name))]
    only: Vec<String>,
}

struct Bench {
    device: Device,
    rounds: usize,
    torch: Option<RefCell<Torch>>,
}

/// One comparison.
struct Row {
    what: String,
    seconds: f64,
    /// A second, and in which unit.
    rate: (f64, &'static str),
    beside: &'static str,
    ratio: Result<f64, String>,
    /// The largest difference from the other side's result.
    difference: Option<f32>,
}

type Run = fn(&Bench) -> Result<Vec<Row>, Failure>;

const CASES: [(&str, Run); 6] = [
    ("dense", dense),
    ("sparse", sparse),
    ("gemm", gemm),
    ("memory", memory),
    ("launch", launch),
    ("compile", compile),
];

const BLOCK: i64 = 128;
const D: usize = 128;

pub(super) fn run(options: &Options) -> Outcome {
    let device = Device::parse(&options.device)?;
    let torch = options.torch.as_deref().map(|python| Torch::start(python, Peer::Gpu)).transpose()?;
    let beside = torch.as_ref().map_or("without torch (--torch PYTHON)".to_owned(), |t| format!("torch {}", t.version));
    screen::line(&format!("{}; {beside}\n", device.name()));
    screen::line(&screen::bold(&format!("{:44} {:>10} {:>15}  {:>6}  beside", "", "ours", "rate", "ratio")));
    let bench = Bench { device, rounds: options.rounds, torch: torch.map(RefCell::new) };
    for (name, run) in CASES {
        if !options.only.is_empty() && !options.only.iter().any(|only| only == name) {
            continue;
        }
        for row in run(&bench)? {
            screen::line(&line(&row));
        }
    }
    Ok(())
}

fn line(row: &Row) -> String {
    let time = std::time::Duration::try_from_secs_f64(row.seconds).map_or("-".into(), screen::time);
    let rate = format!("{:.1} {}", row.rate.0, row.rate.1);
    let (ratio, note) = match &row.ratio {
        Ok(x) => (format!("{x:.3}"), String::new()),
        Err(why) => ("-".to_owned(), format!(": {why}")),
    };
    let difference = row.difference.map_or_else(String::new, |d| format!(", results differ by {d:.1e}"));
    format!("{:44} {time:>10} {rate:>15}  {ratio:>6}  {}{note}{difference}", row.what, row.beside)
}

impl Bench {
    /// Fresh numbers on the GPU.
    fn noise(&self, shape: &[usize], dtype: DType) -> Result<Tensor, Failure> {
        Ok(noise(shape, dtype)?.to(&self.device)?)
    }

    /// Room for a result there.
    fn room(&self, shape: &[usize], dtype: DType) -> Result<Tensor, Failure> {
        Ok(Tensor::zeros(dtype, shape)?.to(&self.device)?)
    }

    /// A side of ours: from a mark before to a mark behind the launch, as the other side measures.
    fn ours<'a>(&'a self, mut call: impl FnMut() -> pantile::Result<Running> + 'a) -> Side<'a> {
        Box::new(move || {
            let measured = self.device.measure(&mut call);
            let time = measured.and_then(|(running, time)| running.finish().map(|()| time));
            Ok(time.map_err(|e| e.to_string())?.as_secs_f64())
        })
    }

    /// A side that torch runs, after it has been given tensors.
    fn torch<'a>(&'a self, op: &'a str, tensors: &[(&str, &Tensor)], more: &serde_json::Value) -> Side<'a> {
        let prepare = |torch: &mut Torch| {
            torch.forget()?;
            for (name, tensor) in tensors {
                torch.load(name, tensor)?;
            }
            let names: Vec<&str> = tensors.iter().map(|(name, _)| *name).filter(|name| *name != "mask").collect();
            torch.prepare(op, op, &names, more)
        };
        let ready = match &self.torch {
            Some(torch) => prepare(&mut torch.borrow_mut()),
            None => Err("no torch; name a Python that has it with --torch".into()),
        };
        Box::new(move || {
            ready.clone()?;
            self.torch.as_ref().map_or(Err(String::new()), |torch| torch.borrow_mut().time(op))
        })
    }

    /// The largest difference between the other side's result and ours.
    fn difference(&self, op: &str, own: &Tensor) -> Result<Option<f32>, Failure> {
        let Some(Ok(theirs)) = self.torch.as_ref().map(|torch| torch.borrow_mut().result(op)) else { return Ok(None) };
        Ok(Some(own.to_f32()?.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)))
    }

    fn attention(&self, heads: usize, tokens: usize, kept: Option<f64>) -> Result<Row, Failure> {
        let shape = [1, heads, tokens, D];
        let of = || self.noise(&shape, DType::BF16);
        let (q, k, v) = (of()?, of()?, of()?);
        let scale = 1.0 / (D as f32).sqrt();
        let (mut out, mut lse) = (self.room(&shape, DType::BF16)?, self.room(&shape[..3], DType::F32)?);
        let blocks = tokens.div_ceil(BLOCK as usize);
        let mask = kept.map(|kept| random_mask(heads, blocks, kept)).transpose()?;
        let name = if mask.is_some() { "attention" } else { "attention_dense" };
        let kernel = kernel("attention.tile", name, &self.device)?;
        let density = mask.as_ref().map_or(1.0, Mask::density);
        let (what, op) = match kept {
            Some(kept) => (format!("attention, {:.0} % skipped", 100.0 * (1.0 - kept)), "flex"),
            None => ("attention, dense".to_owned(), "sdpa"),
        };
        let own = self.ours(|| {
            let outs = vec![Out::Tensor(&mut out), Out::Tensor(&mut lse)];
            match &mask {
                Some(mask) => kernel.start_into((&q, &k, &v, mask, scale), outs),
                None => kernel.start_into((&q, &k, &v, scale), outs),
            }
        });
        let mut tensors = vec![("q", &q), ("k", &k), ("v", &v)];
        let bits = mask.as_ref().map(|m| m.bits().to_dtype(DType::F32)).transpose()?;
        tensors.extend(bits.as_ref().map(|bits| ("mask", bits)));
        let other = self.torch(op, &tensors, &json!({ "mask": "mask", "block": BLOCK }));
        let (seconds, ratio) = by_turns(&mut [own, other], self.rounds, speed);
        let work = 4.0 * heads as f64 * (tokens * tokens * D) as f64 * density;
        Ok(Row {
            what: format!("{what}, bf16 H{heads} N{tokens} D{D}"),
            seconds,
            rate: (work / seconds / 1e12, "TFLOP/s"),
            beside: if mask.is_some() { "flex_attention, compiled" } else { "SDPA, cuDNN" },
            ratio,
            difference: self.difference(op, &out)?,
        })
    }
}

fn dense(bench: &Bench) -> Result<Vec<Row>, Failure> {
    [(16, 4096), (16, 16_384), (40, 27_648)].into_iter().map(|(h, n)| bench.attention(h, n, None)).collect()
}

fn sparse(bench: &Bench) -> Result<Vec<Row>, Failure> {
    [0.2, 0.1].into_iter().map(|kept| bench.attention(16, 16_384, Some(kept))).collect()
}

fn gemm(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let row = |n: usize| {
        let (a, b) = (bench.noise(&[n, n], DType::BF16)?, bench.noise(&[n, n], DType::BF16)?);
        let (bias, mut c) = (bench.room(&[n], DType::BF16)?, bench.room(&[n, n], DType::BF16)?);
        let kernel = kernel("matmul.tile", "matmul", &bench.device)?;
        let own = bench.ours(|| kernel.start_into((&a, &b, &bias, false), vec![Out::Tensor(&mut c)]));
        let other = bench.torch("matmul", &[("a", &a), ("b", &b)], &json!({}));
        let (seconds, ratio) = by_turns(&mut [own, other], bench.rounds, speed);
        Ok(Row {
            what: format!("matmul, bf16 {n}³"),
            seconds,
            rate: (2.0 * (n * n * n) as f64 / seconds / 1e12, "TFLOP/s"),
            beside: "matmul, cuBLAS",
            ratio,
            difference: bench.difference("matmul", &c)?,
        })
    };
    [4096, 8192].into_iter().map(row).collect()
}

/// Bytes read and written a second, over 512 MB.
fn memory(bench: &Bench) -> Result<Vec<Row>, Failure> {
    const ROWS: usize = 65_536;
    const COLUMNS: usize = 4096;
    let x = bench.noise(&[ROWS, COLUMNS], DType::BF16)?;
    let weight = bench.noise(&[COLUMNS], DType::BF16)?;
    let tokens = x.reshape(&[1, 1, ROWS * COLUMNS / D, D])?;
    let mut out = bench.room(&[ROWS, COLUMNS], DType::BF16)?;
    let mut small = bench.room(&[1, 1, ROWS * COLUMNS / D / D, D], DType::F32)?;
    let softmax = kernel("norm.tile", "softmax_rows", &bench.device)?;
    let rms = kernel("norm.tile", "rms_norm", &bench.device)?;
    let means = kernel("rainfusion.tile", "block_means", &bench.device)?;
    let bytes = (2 * ROWS * COLUMNS) as f64;
    let mut rows = Vec::new();
    for (what, op, passes) in
        [("softmax", "softmax", 2.0), ("RMS norm", "copy", 2.0), ("block means of 128", "copy", 1.0)]
    {
        let own = bench.ours(|| match what {
            "softmax" => softmax.start_into((&x,), vec![Out::Tensor(&mut out)]),
            "RMS norm" => rms.start_into((&x, &weight, 1e-6f32), vec![Out::Tensor(&mut out)]),
            _ => means.start_into((&tokens,), vec![Out::Tensor(&mut small)]),
        });
        let other = bench.torch(op, &[("x", &x)], &json!({}));
        let (seconds, ratio) = by_turns(&mut [own, other], bench.rounds, |s| speed(s) * passes / 2.0);
        let difference = if op == "softmax" { bench.difference(op, &out)? } else { None };
        rows.push(Row {
            what: format!("{what}, bf16 {ROWS} × {COLUMNS}"),
            seconds,
            rate: (passes * bytes / seconds / 1e9, "GB/s"),
            beside: if op == "softmax" { "softmax" } else { "a copy, by bytes" },
            ratio,
            difference,
        });
    }
    Ok(rows)
}

fn launch(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let row = |(what, seconds): (&str, f64)| Row {
        what: what.into(),
        seconds,
        rate: (1e6 * seconds, "µs"),
        beside: "nothing",
        ratio: Err("the host's time".into()),
        difference: None,
    };
    Ok(launches::measure(&bench.device, bench.rounds)?.into_iter().map(row).collect())
}

/// From text to a kernel that has run once on as little as there is; nothing of it is cached.
fn compile(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let text = FILES.iter().find(|(name, _)| *name == "attention.tile").map_or("", |(_, text)| *text);
    let one = bench.noise(&[1, 1, 1, D], DType::BF16)?;
    let started = Instant::now();
    // A name of its own: kernels are found by what they are.
    let fresh = Device::parse(&bench.device.name())?;
    let kernel = Module::from_text("attention.tile", text)?.kernel("attention_dense")?.on(&fresh);
    kernel.call((&one, &one, &one, 1.0f32))?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(vec![Row {
        what: "attention, text to having run".into(),
        seconds,
        rate: (1e3 * seconds, "ms"),
        beside: "nothing",
        ratio: Err("machine code may come from the disk: PANTILE_CACHE=off".into()),
        difference: None,
    }])
}
