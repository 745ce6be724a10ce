//! `pantile rainfusion`: RainFusion2.0 attention on tokens of a file or of the sample, its speed and its distance to dense
//! attention. The method is written in `kernels/rainfusion.tile`; how it is called, in the kernels crate.

mod files;
mod flags;
mod measure;
mod order;
mod quality;
mod summary;

use pantile::{Tensor, TensorFile};
use pantile_kernels::{RainFusion, count_non_finite};

use crate::failure::{Failure, Outcome};
use crate::{report, screen};

pub(crate) use flags::Options;
pub(crate) use measure::Measured;
pub(crate) use quality::{Point, Quality};

/// The sample that runs without `--input`.
pub(crate) const SAMPLE: &[u8] = include_bytes!("../../../../examples/data/bunny_240p.safetensors");
/// Its name.
pub(crate) const SAMPLE_NAME: &str = "bunny_240p.safetensors";
const SAMPLE_CREDIT: &str = "sample: tokens of the clip \"Big Buck Bunny\", (c) Blender Foundation, CC BY 3.0";

/// Queries, keys and values, `[B, H, N, D]`.
struct Qkv {
    q: Tensor,
    k: Tensor,
    v: Tensor,
}

/// The operator's options, and what the walk is called.
pub(crate) struct Config {
    pub(crate) options: RainFusion,
    pub(crate) order: String,
}

pub(crate) fn run(options: &Options) -> Outcome {
    let device = options.on.device()?;
    options.check_targets()?;
    let (file, source) = open(options)?;
    let layout = options.layout(&file)?;
    let mut config = options.configure(&file)?;
    let [q, k, v] = ["q", "k", "v"].map(|name| files::load(&file, name, layout));
    let stored = Qkv { q: q?, k: k?, v: v? };
    let check = |config: &RainFusion| config.check(&stored.q, &stored.k, &stored.v).map_err(flags::named);
    check(&config)?;
    let order::Named { order, name } = options.walk(&config, &device)?;
    config.order = order;
    check(&config)?;
    flags::say_idle(&config);
    let config = Config { options: config, order: name };
    let mask = options.mask_in.as_deref().map(|path| files::read_mask(path, &config)).transpose()?;
    warn_non_finite(&stored)?;
    let dtype = options.dtype.unwrap_or(stored.q.dtype());
    let of = |t: &Tensor| t.to_dtype(dtype);
    let qkv = Qkv { q: of(&stored.q)?, k: of(&stored.k)?, v: of(&stored.v)? };

    let (shown, bar) = screen::with_bar(&device);
    let measured = measure::measure(options, &config.options, &shown, &qkv, mask.as_ref())?;
    bar.finish_and_clear();
    let quality = match options.quality {
        true => Some(quality::sweep(&config, &device, &qkv, measured.reference.as_ref())?),
        false => None,
    };

    let told = summary::Told { config: &config, measured: &measured, q: &qkv.q, k: &qkv.k, source: &source };
    let lines = told.lines(&device.name());
    let mut written = Vec::new();
    if let Some(path) = &options.output {
        files::write_output(path, &config, &measured, layout, stored.q.dtype())?;
        written.push(format!("output   {}", path.display()));
    }
    if let Some(path) = &options.mask_out {
        files::write_mask(path, &config, &measured)?;
        written.push(format!("mask     {}", path.display()));
    }
    if let Some(dir) = &options.report {
        report::write(dir, &config.options, &measured, &lines, quality.as_ref())?;
        written.push(format!("report   {}", dir.join("index.html").display()));
    }
    if options.json {
        screen::line(&told.json(&device.name(), quality.as_ref()).to_string());
        return Ok(());
    }
    lines.iter().for_each(|line| screen::line(line));
    if let Some(quality) = &quality {
        quality.lines().iter().for_each(|line| screen::line(line));
    }
    written.iter().for_each(|line| screen::line(line));
    Ok(())
}

fn open(options: &Options) -> Result<(TensorFile, String), Failure> {
    match &options.input {
        Some(path) => {
            let file = TensorFile::open(path).map_err(|e| Failure::Input(format!("`--input`: {e}")))?;
            Ok((file, path.display().to_string()))
        }
        None => Ok((TensorFile::from_bytes(SAMPLE_NAME, SAMPLE.to_vec())?, SAMPLE_CREDIT.into())),
    }
}

fn warn_non_finite(qkv: &Qkv) -> Outcome {
    for (name, tensor) in [("q", &qkv.q), ("k", &qkv.k), ("v", &qkv.v)] {
        let (nan, infinite) = count_non_finite(tensor)?;
        if nan + infinite > 0 {
            screen::warn(&format!(
                "`{name}` holds {nan} NaN and {infinite} infinite values; rows that they reach come out as NaN or infinite"
            ));
        }
    }
    Ok(())
}
