//! What is measured on the CPU: each case runs its two sides by turns and gives one row. How rows are shown, and how the
//! other side works, stands elsewhere.

use std::cell::RefCell;
use std::time::Instant;

use pantile::{Args, DType, Device, KernelOn, Mask, Module, Tensor, TensorFile};
use pantile_cpu::Features;
use pantile_kernels::{FILES, RainFusion, RainFusionOn, module};
use serde_json::json;

use super::peak;
use super::peer::Python;
use crate::failure::Failure;

/// What a row's number is to be.
#[derive(Clone, Copy)]
pub(super) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

/// One comparison.
pub(super) struct Row {
    pub what: String,
    /// Median seconds of this side.
    pub seconds: f64,
    /// The other side.
    pub beside: &'static str,
    /// The median over rounds, or why there is none.
    pub value: Result<f64, String>,
    pub target: Target,
}

/// How the cases run.
pub(super) struct Bench {
    pub device: Device,
    pub threads: usize,
    pub rounds: usize,
    pub torch: Option<RefCell<Python>>,
}

/// One run; its seconds.
pub(super) type Side<'a> = Box<dyn FnMut() -> Result<f64, String> + 'a>;

/// Something to compare, by name.
pub(super) struct Case {
    pub name: &'static str,
    /// Whether it takes minutes.
    pub slow: bool,
    pub run: fn(&Bench) -> Result<Vec<Row>, Failure>,
}

const fn case(name: &'static str, run: fn(&Bench) -> Result<Vec<Row>, Failure>) -> Case {
    Case { name, slow: false, run }
}

/// Those that torch compiles for come last: what it leaves running would disturb the others.
pub(super) const CASES: &[Case] = &[
    case("dense", dense),
    case("portable", portable),
    case("half", half),
    case("gemm", gemm),
    case("memory", memory),
    case("compile", compile),
    case("scaling", scaling),
    case("rainfusion", rainfusion_sample),
    Case { name: "rainfusion-480p", slow: true, run: rainfusion_480p },
    case("sparse", sparse),
];

const BLOCK: i64 = 128;
const TOKENS: usize = 4096;

fn shape(heads: usize, tokens: usize) -> [usize; 4] {
    [1, heads, tokens, 128]
}

fn scale() -> f32 {
    1.0 / 128f32.sqrt()
}

/// Fresh numbers in [-1, 1) for each run of the program.
pub(super) fn noise(shape: &[usize], dtype: DType) -> Result<Tensor, Failure> {
    use std::hash::{BuildHasher, RandomState};
    let mut state = RandomState::new().hash_one(shape) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
    Ok(Tensor::from_f32(dtype, shape, &values)?)
}

/// Keeps this part of each row's blocks, another choice in each row.
pub(super) fn random_mask(heads: usize, blocks: usize, kept: f64) -> Result<Mask, Failure> {
    let count = ((blocks as f64 * kept).round() as usize).clamp(1, blocks);
    let mut lists = Vec::new();
    for _ in 0..heads * blocks {
        let keys = noise(&[blocks], DType::F32)?.to_f32()?;
        let mut order: Vec<i32> = (0..blocks as i32).collect();
        order.sort_by(|a, b| keys[*a as usize].total_cmp(&keys[*b as usize]));
        let mut row = order[..count].to_vec();
        row.sort_unstable();
        lists.push(row);
    }
    Ok(Mask::from_lists(&[1, heads, blocks, blocks], &lists)?)
}

pub(super) fn kernel(file: &str, name: &str, device: &Device) -> Result<KernelOn, Failure> {
    Ok(module(file)?.kernel(name)?.on(device))
}

/// A side that calls something of ours.
fn ours<'a>(mut call: impl FnMut() -> pantile::Result<()> + 'a) -> Side<'a> {
    Box::new(move || {
        let started = Instant::now();
        call().map_err(|e| e.to_string())?;
        Ok(started.elapsed().as_secs_f64())
    })
}

fn calling<'a, A: Args + Copy + 'a>(kernel: &'a KernelOn, args: A) -> Side<'a> {
    ours(move || kernel.call(args).map(drop))
}

/// Runs each side once to warm it up, then all by turns. The median of the first side's seconds, and of the rounds' values;
/// without them, why another side does not run.
pub(super) fn by_turns(
    sides: &mut [Side<'_>],
    rounds: usize,
    value: impl Fn(&[f64]) -> f64,
) -> (f64, Result<f64, String>) {
    let mut first = Vec::new();
    let mut values = Vec::new();
    let mut why_not = None;
    for round in 0..=rounds {
        let seconds: Vec<Result<f64, String>> = sides.iter_mut().map(|side| side()).collect();
        if round == 0 {
            continue;
        }
        first.extend(&seconds[0]);
        match seconds.into_iter().collect::<Result<Vec<_>, _>>() {
            Ok(seconds) => values.push(value(&seconds)),
            Err(why) => why_not = Some(why),
        }
    }
    (median(first), why_not.map_or_else(|| Ok(median(values)), Err))
}

pub(super) fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How many times as fast the first side is.
pub(super) fn speed(seconds: &[f64]) -> f64 {
    seconds[1] / seconds[0]
}

impl Bench {
    fn on(&self, threads: usize) -> Device {
        self.device.clone().with_threads(threads)
    }

    /// 1 and all.
    fn thread_counts(&self) -> Vec<usize> {
        if self.threads > 1 { vec![1, self.threads] } else { vec![1] }
    }

    /// A side that torch runs, after it has been given what it needs.
    fn torch<'a>(&'a self, name: &'a str, prepare: impl FnOnce(&mut Python) -> Result<(), String>) -> Side<'a> {
        let ready = match &self.torch {
            Some(torch) => prepare(&mut torch.borrow_mut()),
            None => Err("no torch; name a Python that has it with --torch".into()),
        };
        Box::new(move || {
            ready.clone()?;
            self.torch.as_ref().map_or(Err(String::new()), |torch| torch.borrow_mut().time(name))
        })
    }

    fn sdpa<'a>(&'a self, (q, k, v): (&Tensor, &Tensor, &Tensor), threads: usize) -> Side<'a> {
        self.torch("sdpa", |torch| {
            torch.threads(threads)?;
            for (name, tensor) in [("q", q), ("k", k), ("v", v)] {
                torch.load(name, tensor)?;
            }
            torch.prepare("sdpa", "sdpa", &["q", "k", "v"], &json!({}))
        })
    }

    /// The other side's result must be ours: the largest difference, refused if it is more than rounding.
    fn same(&self, name: &str, own: &Tensor) -> Result<(), Failure> {
        let Some(torch) = &self.torch else { return Ok(()) };
        let Ok(theirs) = torch.borrow_mut().result(name) else { return Ok(()) };
        let worst = own.to_f32()?.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        if worst < 1e-3 {
            return Ok(());
        }
        Err(Failure::Kernel(format!("results of `{name}` differ from torch's by {worst}")))
    }
}

fn dense(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let of = || noise(&shape(1, TOKENS), DType::F32);
    let (q, k, v) = (of()?, of()?, of()?);
    let mut rows = Vec::new();
    for threads in bench.thread_counts() {
        let kernel = kernel("attention.tile", "attention_dense", &bench.on(threads))?;
        let sides = &mut [calling(&kernel, (&q, &k, &v, scale())), bench.sdpa((&q, &k, &v), threads)];
        let (seconds, value) = by_turns(sides, bench.rounds, speed);
        bench.same("sdpa", &kernel.call((&q, &k, &v, scale()))?.tensor("out")?)?;
        let what = format!("dense attention f32, N {TOKENS}, D 128, {}", plural(threads));
        rows.push(Row { what, seconds, beside: "torch SDPA", value, target: Target::AtLeast(1.1) });
    }
    Ok(rows)
}

fn plural(threads: usize) -> String {
    format!("{threads} thread{}", if threads == 1 { "" } else { "s" })
}

fn sparse(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let heads = 2;
    let of = || noise(&shape(heads, TOKENS), DType::F32);
    let (q, k, v) = (of()?, of()?, of()?);
    let blocks = TOKENS / BLOCK as usize;
    let mask = random_mask(heads, blocks, 0.2)?;
    let bits: Vec<f32> = mask.to_bools().iter().map(|b| f32::from(u8::from(*b))).collect();
    let bits = Tensor::from_f32(DType::F32, mask.shape(), &bits)?;
    let mut rows = Vec::new();
    for threads in bench.thread_counts() {
        let kernel = kernel("attention.tile", "attention", &bench.on(threads))?;
        let flex = bench.torch("flex", |torch| {
            torch.threads(threads)?;
            for (name, tensor) in [("q", &q), ("k", &k), ("v", &v), ("mask", &bits)] {
                torch.load(name, tensor)?;
            }
            torch.prepare("flex", "flex", &["q", "k", "v"], &json!({ "mask": "mask", "block": BLOCK }))
        });
        let sides = &mut [calling(&kernel, (&q, &k, &v, &mask, scale())), flex];
        let (seconds, value) = by_turns(sides, bench.rounds, speed);
        bench.same("flex", &kernel.call((&q, &k, &v, &mask, scale()))?.tensor("out")?)?;
        let what = format!("attention, 80 % of blocks skipped, {heads} heads, {}", plural(threads));
        rows.push(Row { what, seconds, beside: "torch flex_attention", value, target: Target::AtLeast(2.0) });
    }
    Ok(rows)
}

fn rainfusion_sample(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let file = TensorFile::from_bytes(crate::rainfusion::SAMPLE_NAME, crate::rainfusion::SAMPLE.to_vec())?;
    let of = |name: &str| -> Result<Tensor, Failure> { Ok(file.tensor(name)?.to_dtype(DType::F32)?) };
    rainfusion(bench, "sample", [13, 15, 26], (&of("q")?, &of("k")?, &of("v")?))
}

fn rainfusion_480p(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let grid = [21, 30, 52];
    let of = || noise(&shape(2, grid.iter().product()), DType::F32);
    rainfusion(bench, "Wan 480p grid, 2 heads", grid, (&of()?, &of()?, &of()?))
}

/// The whole operator beside dense attention of torch that would have to compute kept blocks only, and the part that
/// predicting which takes.
fn rainfusion(
    bench: &Bench,
    what: &str,
    grid: [usize; 3],
    (q, k, v): (&Tensor, &Tensor, &Tensor),
) -> Result<Vec<Row>, Failure> {
    let operator = RainFusionOn::new(&RainFusion::new(grid), &bench.on(bench.threads))?;
    let kept = operator.call(q, k, v)?.kept;
    let prediction = RefCell::new(Vec::new());
    let own = ours(|| {
        let stages = operator.call(q, k, v)?.stages;
        let part = |names: &[&str]| -> f64 {
            stages.iter().filter(|s| names.contains(&s.name)).map(|s| s.time.as_secs_f64()).sum()
        };
        let asked = part(&["means", "scores", "select"]);
        prediction.borrow_mut().push(asked / (asked + part(&["attention", "copy"])));
        Ok(())
    });
    let rounds = if q.len() > 4 << 20 { bench.rounds.min(3) } else { bench.rounds };
    let (seconds, value) = by_turns(&mut [own, bench.sdpa((q, k, v), bench.threads)], rounds, |s| s[1] * kept / s[0]);
    let share = Ok(median(prediction.into_inner()));
    Ok(vec![
        Row {
            what: format!("RainFusion2.0, {what}, 80 %"),
            seconds,
            beside: "torch SDPA on kept blocks",
            value,
            target: Target::AtLeast(0.95),
        },
        Row {
            what: format!("RainFusion2.0, {what}, prediction"),
            seconds: seconds * share.clone().unwrap_or(f64::NAN),
            beside: "the whole operator",
            value: share,
            target: Target::AtMost(0.05),
        },
    ])
}

fn portable(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let of = || noise(&shape(1, TOKENS), DType::F32);
    let (q, k, v) = (of()?, of()?, of()?);
    let device = bench.on(1).with_features(Features::Baseline)?;
    let kernel = kernel("attention.tile", "attention_dense", &device)?;
    let work = (4 * TOKENS * TOKENS * 128) as f64;
    let peak: Side<'_> = Box::new(move || peak::fma_128().map(|rate| work / rate).ok_or_else(no_vectors));
    let (seconds, value) = by_turns(&mut [calling(&kernel, (&q, &k, &v, scale())), peak], bench.rounds, speed);
    let what = "dense attention f32, Cranelift alone, 1 thread".into();
    Ok(vec![Row { what, seconds, beside: "128-bit multiply-add peak", value, target: Target::AtLeast(0.85) }])
}

fn no_vectors() -> String {
    "this machine has no such vectors".into()
}

fn half(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let of = || noise(&shape(1, TOKENS), DType::F32);
    let f32s = [of()?, of()?, of()?];
    let kernel = kernel("attention.tile", "attention_dense", &bench.on(bench.threads))?;
    let mut rows = Vec::new();
    for dtype in [DType::BF16, DType::F16] {
        let halves = f32s.iter().map(|t| t.to_dtype(dtype)).collect::<pantile::Result<Vec<_>>>()?;
        let args = |t: &'_ [Tensor]| (t[0].clone(), t[1].clone(), t[2].clone());
        let ((a, b, c), (x, y, z)) = (args(&halves), args(&f32s));
        let sides = &mut [calling(&kernel, (&a, &b, &c, scale())), calling(&kernel, (&x, &y, &z, scale()))];
        let (seconds, value) = by_turns(sides, bench.rounds, speed);
        let what = format!("dense attention {dtype}, {}", plural(bench.threads));
        rows.push(Row { what, seconds, beside: "f32", value, target: Target::AtLeast(0.95) });
    }
    Ok(rows)
}

fn gemm(bench: &Bench) -> Result<Vec<Row>, Failure> {
    const N: usize = 1024;
    let (a, b, bias) = (noise(&[N, N], DType::F32)?, noise(&[N, N], DType::F32)?, Tensor::zeros(DType::F32, &[N])?);
    let kernel = kernel("matmul.tile", "matmul", &bench.on(1))?;
    let work = (2 * N * N * N) as f64;
    let peak: Side<'_> = Box::new(move || peak::fma_256().map(|rate| work / rate).ok_or_else(no_vectors));
    let sides = &mut [calling(&kernel, (&a, &b, &bias, false)), peak];
    let (seconds, value) = by_turns(sides, bench.rounds, speed);
    let what = format!("matmul f32 {N}³, 1 thread");
    Ok(vec![Row { what, seconds, beside: "256-bit multiply-add peak", value, target: Target::AtLeast(0.9) }])
}

/// Bytes moved a second beside a copy's, over 256 MB read.
fn memory(bench: &Bench) -> Result<Vec<Row>, Failure> {
    const ROWS: usize = 65_536;
    const COLUMNS: usize = 1024;
    let device = bench.on(bench.threads);
    let x = noise(&[ROWS, COLUMNS], DType::F32)?;
    let weight = noise(&[COLUMNS], DType::F32)?;
    let tokens = x.reshape(&[1, 1, ROWS * COLUMNS / 128, 128])?;
    let source = x.to_f32()?;
    let softmax = kernel("norm.tile", "softmax_rows", &device)?;
    let rms = kernel("norm.tile", "rms_norm", &device)?;
    let means = kernel("rainfusion.tile", "block_means", &device)?;
    // Outputs are made once: a fresh page costs more than a store.
    let mut out = Tensor::zeros(DType::F32, &[ROWS, COLUMNS])?;
    let mut small = Tensor::zeros(DType::F32, &[1, 1, ROWS * COLUMNS / 128 / 128, 128])?;
    let mut target = vec![1.0; source.len()];
    let mut rows = Vec::new();
    for (what, part) in [("softmax", 1.0), ("RMS norm", 1.0), ("block means", 0.5)] {
        let own = ours(|| match what {
            "softmax" => softmax.call_into((&x,), vec![pantile::Out::Tensor(&mut out)]),
            "RMS norm" => rms.call_into((&x, &weight, 1e-6f32), vec![pantile::Out::Tensor(&mut out)]),
            _ => means.call_into((&tokens,), vec![pantile::Out::Tensor(&mut small)]),
        });
        let copy: Side<'_> = Box::new(|| Ok(peak::copy(&source, &mut target, bench.threads)));
        let (seconds, value) = by_turns(&mut [own, copy], bench.rounds, |s| part * s[1] / s[0]);
        let what = format!("{what} over 256 MB, {}", plural(bench.threads));
        rows.push(Row { what, seconds, beside: "a copy's bandwidth", value, target: Target::AtLeast(0.9) });
    }
    Ok(rows)
}

/// From text to code that has run once on as little as there is.
fn compile(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let text = FILES.iter().find(|(name, _)| *name == "attention.tile").map_or("", |(_, text)| *text);
    let one = Tensor::zeros(DType::F32, &shape(1, 1))?;
    let mut times = Vec::new();
    for _ in 0..=bench.rounds {
        let device = Device::cpu().with_threads(1);
        let started = Instant::now();
        let kernel = Module::from_text("attention.tile", text)?.kernel("attention_dense")?.on(&device);
        kernel.call((&one, &one, &one, scale()))?;
        times.push(started.elapsed().as_secs_f64());
    }
    let seconds = median(times.split_off(1));
    let what = "attention, text to callable, cold".into();
    Ok(vec![Row { what, seconds, beside: "10 ms", value: Ok(seconds / 0.01), target: Target::AtMost(1.0) }])
}

fn scaling(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let of = || noise(&shape(2, TOKENS), DType::F32);
    let (q, k, v) = (of()?, of()?, of()?);
    let on = |threads| kernel("attention.tile", "attention_dense", &bench.on(threads));
    let (two, one) = (on(2)?, on(1)?);
    let args = (&q, &k, &v, scale());
    let (seconds, value) = by_turns(&mut [calling(&two, args), calling(&one, args)], bench.rounds, speed);
    let value = if bench.threads < 2 { Err("there is one thread only".into()) } else { value };
    let what = "dense attention f32, 2 threads".into();
    Ok(vec![Row { what, seconds, beside: "1 thread", value, target: Target::AtLeast(1.9) }])
}
