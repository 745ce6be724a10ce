//! What `pantile rainfusion` reads from and writes to safetensors files: tokens, outputs, masks. Which files is said by the
//! flags.

use std::path::Path;

use pantile::{DType, Mask, Tensor, TensorFile, write_tensors};
use pantile_kernels::Sequence;

use super::flags::Layout;
use super::{Config, Measured};
use crate::failure::{Failure, Outcome};
use crate::target::Target;

/// A tensor as `[B, H, N, D]`, whatever the layout of the file.
pub(super) fn load(file: &TensorFile, name: &str, layout: Layout) -> Result<Tensor, Failure> {
    let tensor = file.tensor(name).map_err(|e| Failure::Input(format!("argument `{name}`: {e}")))?;
    match layout {
        Layout::Bsnd if tensor.rank() == 4 => Ok(tensor.permute(&[0, 2, 1, 3])?),
        Layout::Bsnd | Layout::Bnsd => Ok(tensor),
    }
}

/// What decides which tokens a mask's blocks hold.
fn blocks_of(Config { options: config, order }: &Config) -> Vec<(&'static str, String)> {
    let grids = |sequence: &Sequence| {
        let one = |[f, y, x]: &[usize; 3]| format!("{f},{y},{x}");
        sequence.clips.iter().map(one).collect::<Vec<_>>().join("+")
    };
    let mut facts = vec![
        ("grid", grids(&config.query_tokens())),
        ("text", config.text.to_string()),
        ("text_last", config.text_last.to_string()),
        ("order", order.clone()),
        ("first_apart", config.first_apart.to_string()),
        ("lone_last", config.lone_last.to_string()),
        ("block", config.block.to_string()),
    ];
    if let Some(keys) = &config.keys {
        facts.extend([("keys_grid", grids(keys)), ("keys_text", keys.text.to_string())]);
    }
    facts
}

/// The mask of a file, for these options.
pub(super) fn read_mask(path: &Path, config: &Config) -> Result<Mask, Failure> {
    let wrong = |why: String| Failure::Input(format!("`--mask-in`: {why}"));
    let file = TensorFile::open(path).map_err(|e| wrong(e.to_string()))?;
    let bits = file.tensor("mask").map_err(|e| wrong(e.to_string()))?;
    if bits.rank() != 4 || bits.dtype() != DType::U8 {
        let (dtype, shape) = (bits.dtype(), bits.shape());
        return Err(wrong(format!("`mask` is {dtype}{shape:?}; it must be u8 along [B, H, NQ, NK]")));
    }
    for (key, value) in blocks_of(config) {
        if let Some(made) = file.metadata().get(key).filter(|made| **made != value) {
            let flag = key.replace('_', "-");
            return Err(wrong(format!(
                "the mask was made with {flag} {made}, but here it is {value}; give the same --{flag}, or another mask"
            )));
        }
    }
    let keep = bits.to_vec::<u8>()?;
    if let Some(other) = keep.iter().find(|b| **b > 1) {
        return Err(wrong(format!("`mask` holds {other}; it must hold 0 and 1 alone")));
    }
    let keep: Vec<bool> = keep.into_iter().map(|b| b == 1).collect();
    Mask::from_bools(bits.shape(), &keep).map_err(|e| wrong(e.to_string()))
}

/// Beside the blocks, what the mask kept and, unless it was given, by which budget.
fn metadata(config: &Config, measured: &Measured) -> Vec<(&'static str, String)> {
    let mut all = blocks_of(config);
    if !measured.given_mask {
        let budget = &config.options.budget;
        all.push((budget.name(), budget.values().iter().map(f64::to_string).collect::<Vec<_>>().join(",")));
    }
    all.push(("kept", format!("{:.4}", measured.output.kept)));
    all
}

/// The mask alone.
pub(super) fn write_mask(path: &Path, config: &Config, measured: &Measured) -> Outcome {
    let written = write_tensors(path, &[("mask", measured.output.mask.bits())], &metadata(config, measured));
    Target::new("mask-out", path).written(written)
}

/// `order` is the tokens along the walk; where padding (-1) stands among them, `walk` shows it, position by position. Keys
/// that are other tokens have a walk of their own.
pub(super) fn write_output(path: &Path, config: &Config, measured: &Measured, layout: Layout, dtype: DType) -> Outcome {
    let output = &measured.output;
    let out = output.out.to_dtype(dtype)?;
    let (out, layout) = match layout {
        Layout::Bsnd => (out.permute(&[0, 2, 1, 3])?, "BSND"),
        Layout::Bnsd => (out, "BNSD"),
    };
    let order = tokens(&output.order)?;
    let key_order = tokens(&output.key_order)?;
    let mut tensors = vec![("out", &out), ("lse", &output.lse), ("mask", output.mask.bits()), ("order", &order)];
    if order.len() < output.order.len() {
        tensors.push(("walk", &output.order));
    }
    if config.options.keys.is_some() {
        tensors.push(("key_order", &key_order));
        if key_order.len() < output.key_order.len() {
            tensors.push(("key_walk", &output.key_order));
        }
    }
    let mut metadata = metadata(config, measured);
    metadata.push(("layout", layout.to_owned()));
    Target::new("output", path).written(write_tensors(path, &tensors, &metadata))
}

fn tokens(walk: &Tensor) -> Result<Tensor, Failure> {
    let tokens: Vec<i32> = walk.to_vec::<i32>()?.into_iter().filter(|t| *t >= 0).collect();
    Ok(Tensor::from_slice(&[tokens.len()], &tokens)?)
}
