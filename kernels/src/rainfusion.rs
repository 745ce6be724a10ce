//! RainFusion2.0 (arXiv 2512.24086) as a typed call: options checked, the pipeline of `rainfusion.tile` run, its stages
//! timed. The method itself is written there, not here.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pantile::{Arg, DType, Device, Error, Mask, Module, PipelineOn, Result, Scalar, Tensor, ToArg};

use crate::module;

/// Which of the authors' two window orders, and what goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The paper's and the Wan 2.2 production code's: windows of 2×8×8, the first frame at the walk's end.
    Paper,
    /// MindIE-SD's: windows of 1×8×8, the first frame at the front, text pooled apart.
    Mindie,
}

impl Dialect {
    /// As written on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Paper => "paper",
            Dialect::Mindie => "mindie",
        }
    }
}

/// Options of [`crate::rainfusion`].
#[derive(Clone, Debug)]
pub struct RainFusion {
    /// Frames, rows and columns of the video's tokens.
    pub grid: [usize; 3],
    /// Text tokens beside the video.
    pub text: usize,
    /// Whether text comes after the video in memory, not before it.
    pub text_last: bool,
    /// The window order.
    pub dialect: Dialect,
    /// Protect exactly the blocks that the reference implementation protects, even where it misses some tokens.
    pub compat: bool,
    /// The part of key blocks that a row may skip, in `[0, 1)`.
    pub sparsity: f64,
    /// Tokens a block.
    pub block: usize,
    /// Whether the first frame's rows and columns are always kept; by default unless there is one frame only, where that
    /// would keep everything.
    pub sink: Option<bool>,
    /// The factor of the logits; `D^-½` by default.
    pub scale: Option<f32>,
    /// With [`Dialect::Paper`] and an even number of frames: walk the last frame alone, in windows of 1×8×8.
    pub lone_last: bool,
}

impl RainFusion {
    /// The paper's options for a grid without text: 80 % sparsity, blocks of 128 tokens.
    pub fn new(grid: [usize; 3]) -> Self {
        Self {
            grid,
            text: 0,
            text_last: false,
            dialect: Dialect::Paper,
            compat: false,
            sparsity: 0.8,
            block: 128,
            sink: None,
            scale: None,
            lone_last: false,
        }
    }

    /// Whether the first frame is protected.
    pub fn sink(&self) -> bool {
        self.sink.unwrap_or(self.grid[0] > 1)
    }

    /// The factor of the logits for heads of `head_dim`.
    pub fn scale(&self, head_dim: usize) -> f32 {
        self.scale.unwrap_or_else(|| (1.0 / (head_dim as f64).sqrt()) as f32)
    }

    /// Refuses options and tensors that do not fit together.
    ///
    /// # Errors
    /// One sentence that names the argument.
    pub fn check(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<()> {
        for (name, tensor) in [("q", q), ("k", k), ("v", v)] {
            check_tensor(name, tensor)?;
        }
        let (qs, ks) = (q.shape(), k.shape());
        for (name, tensor) in [("k", k), ("v", v)] {
            if tensor.dtype() != q.dtype() {
                return refuse(name, format!("holds {}, but q holds {}", tensor.dtype(), q.dtype()));
            }
            for (axis, what) in [(0, "B"), (2, "N"), (3, "D")] {
                let (own, other) = (tensor.shape()[axis], qs[axis]);
                if own != other {
                    return refuse(name, format!("has {what} = {own}, but q has {what} = {other}"));
                }
            }
        }
        if v.shape()[1] != ks[1] {
            return refuse("v", format!("has {} heads, but k has {}", v.shape()[1], ks[1]));
        }
        if !qs[1].is_multiple_of(ks[1]) {
            return refuse("k", format!("has {} heads, which do not divide q's {}", ks[1], qs[1]));
        }
        if !qs[3].is_multiple_of(4) {
            return refuse("q", format!("has D = {}; the head dimension must be a multiple of 4", qs[3]));
        }
        self.check_tokens(qs[2])?;
        self.check_numbers()
    }

    fn check_tokens(&self, tokens: usize) -> Result<()> {
        let [f, y, x] = self.grid;
        if self.grid.contains(&0) {
            return refuse("grid", format!("{f},{y},{x} has a zero; frames, rows and columns must be positive"));
        }
        let total = f.checked_mul(y).and_then(|n| n.checked_mul(x)).and_then(|n| n.checked_add(self.text));
        let Some(total) = total.filter(|n| i32::try_from(*n).is_ok()) else {
            return refuse("grid", format!("{f},{y},{x} with {} text tokens has more than 2^31 - 1 tokens", self.text));
        };
        if total != tokens {
            let text = if self.text > 0 { format!(" + {} text tokens", self.text) } else { String::new() };
            return refuse("grid", format!("{f}·{y}·{x}{text} = {total} tokens, but q has N = {tokens}"));
        }
        if self.dialect == Dialect::Paper && f % 2 == 0 && !self.lone_last {
            return refuse(
                "grid",
                format!(
                    "{f},{y},{x} has an even number of frames; the paper's windows pair frames 1 to F − 1, so F must be \
                     odd (or set `lone_last`, or use the mindie dialect)"
                ),
            );
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<()> {
        if !(0.0..1.0).contains(&self.sparsity) {
            return refuse("sparsity", format!("{} is not in [0, 1)", self.sparsity));
        }
        if !(8..=1024).contains(&self.block) {
            return refuse("block", format!("{} is not in 8..=1024 tokens", self.block));
        }
        if self.scale.is_some_and(|s| !s.is_finite()) {
            return refuse("scale", "must be finite");
        }
        Ok(())
    }

    /// What each block of the walk holds that is always kept.
    pub fn protection(&self, order: &[i32]) -> Vec<Protection> {
        let [f, y, x] = self.grid;
        let video = if self.text_last { 0 } else { self.text };
        let frame = video..video + y * x;
        let all = video..video + f * y * x;
        let token = |t: &i32| match usize::try_from(*t) {
            Ok(t) if !all.contains(&t) => Protection::Text,
            Ok(t) if self.sink() && frame.contains(&t) => Protection::Frame,
            Ok(_) | Err(_) => Protection::Free,
        };
        order.chunks(self.block).map(|b| b.iter().map(token).max().unwrap_or(Protection::Free)).collect()
    }
}

fn check_tensor(name: &str, tensor: &Tensor) -> Result<()> {
    let shape = tensor.shape();
    if shape.len() != 4 {
        return refuse(name, format!("has {} axes; it must be [B, H, N, D]", shape.len()));
    }
    if let Some(axis) = shape.iter().position(|n| *n == 0) {
        return refuse(name, format!("has shape {shape:?}; {} must not be zero", ["B", "H", "N", "D"][axis]));
    }
    if !matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16) {
        return refuse(name, format!("holds {}; it must hold f32, f16 or bf16", tensor.dtype()));
    }
    Ok(())
}

fn refuse(argument: &str, message: impl Into<String>) -> Result<()> {
    Err(Error::Argument { item: "rainfusion".into(), argument: argument.into(), message: message.into() })
}

/// Why a block's row and column are always kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protection {
    /// They are not.
    Free,
    /// It holds tokens of the first frame.
    Frame,
    /// It holds text.
    Text,
}

/// A part of the operator and how long it took.
#[derive(Clone, Debug)]
pub struct Stage {
    /// `order` (once a grid), `means`, `scores`, `select`, `attention`; `copy` where a permutation was not fused.
    pub name: &'static str,
    /// Wall-clock time.
    pub time: Duration,
}

/// What [`crate::rainfusion`] returns.
#[derive(Clone, Debug)]
pub struct RainFusionOutput {
    /// The attention output, as q in shape, dtype and order.
    pub out: Tensor,
    /// The kept block pairs, `[B, H, NQ, NK]`, along the walk.
    pub mask: Mask,
    /// The walk: the index in memory of the token at each position, -1 where there is none.
    pub order: Tensor,
    /// The time of each stage.
    pub stages: Vec<Stage>,
    /// The kept part of all block pairs.
    pub kept: f64,
}

/// RainFusion2.0 attention: q `[B, H, N, D]`, k and v `[B, G, N, D]`, G dividing H, tokens in memory order. For repeated
/// calls keep a [`RainFusionOn`].
///
/// # Errors
/// If options and tensors do not fit together, or a kernel stops.
pub fn rainfusion(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    options: &RainFusion,
    device: &Device,
) -> Result<RainFusionOutput> {
    RainFusionOn::new(options, device)?.call(q, k, v)
}

/// RainFusion2.0 with its options, on a device: it remembers what it has planned, compiled and filled.
pub struct RainFusionOn {
    options: RainFusion,
    device: Device,
    module: Module,
    pipeline: PipelineOn,
    /// The walk and the time to make it, per number of tokens.
    order: std::sync::OnceLock<(Tensor, Duration)>,
}

impl RainFusionOn {
    /// With these options on this device.
    ///
    /// # Errors
    /// If the shipped source has errors.
    pub fn new(options: &RainFusion, device: &Device) -> Result<Self> {
        let module = module("rainfusion.tile")?;
        let name = format!("rainfusion_{}", options.dialect.name());
        let pipeline = module.pipeline(&name)?.with("P", options.block as i64).on(device);
        Ok(Self {
            options: options.clone(),
            device: device.clone(),
            module,
            pipeline,
            order: std::sync::OnceLock::new(),
        })
    }

    /// Runs it.
    ///
    /// # Errors
    /// As [`rainfusion`].
    pub fn call(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<RainFusionOutput> {
        self.options.check(q, k, v)?;
        let (order, time) = self.order(q.shape()[2])?;
        let signature = self.pipeline.signature();
        let args = signature.params.iter().map(|p| self.argument(&p.name, (q, k, v))).collect::<Result<Vec<_>>>()?;
        let (outputs, trace) = self.pipeline.call_traced(args)?;
        let mut stages = vec![Stage { name: "order", time }];
        for (label, time) in trace.steps {
            let name = stage(&label);
            match stages.iter_mut().find(|s| s.name == name) {
                Some(stage) => stage.time += time,
                None => stages.push(Stage { name, time }),
            }
        }
        let mask = outputs.mask("keep")?;
        let kept = mask.density();
        Ok(RainFusionOutput { out: outputs.tensor("out")?, mask, order, stages, kept })
    }

    /// The walk; made at the first call.
    fn order(&self, tokens: usize) -> Result<(Tensor, Duration)> {
        if let Some((order, time)) = self.order.get() {
            return Ok((order.clone(), *time));
        }
        let start = Instant::now();
        let name = format!("windows_{}", self.options.dialect.name());
        let signature = self.module.compiled().orders().iter().find(|o| o.name == name);
        let params = signature.map(|o| o.params.as_slice()).unwrap_or_default();
        let args: BTreeMap<String, i64> =
            params.iter().map(|p| Ok((p.name.clone(), self.number(&p.name)?))).collect::<Result<_>>()?;
        let table = self.module.order(&name, &args, tokens as i64, &self.device)?;
        let time = start.elapsed();
        let order = Tensor::from_slice(&[table.len()], &table)?;
        let (order, time) = self.order.get_or_init(|| (order, time));
        Ok((order.clone(), *time))
    }

    /// An argument of an order.
    fn number(&self, name: &str) -> Result<i64> {
        match self.scalar(name)? {
            Scalar::Int(n) => Ok(n),
            Scalar::Bool(b) => Ok(i64::from(b)),
            Scalar::Float(_) => Err(unknown(name)),
        }
    }

    fn argument<'a>(&self, name: &str, (q, k, v): (&'a Tensor, &'a Tensor, &'a Tensor)) -> Result<Arg<'a>> {
        match name {
            "q" => Ok(q.to_arg()),
            "k" => Ok(k.to_arg()),
            "v" => Ok(v.to_arg()),
            "scale" => Ok(Arg::Scalar(Scalar::Float(self.options.scale(q.shape()[3]).into()))),
            other => self.scalar(other).map(Arg::Scalar),
        }
    }

    /// The parameters of pipelines and orders, by the names that `rainfusion.tile` gives them.
    fn scalar(&self, name: &str) -> Result<Scalar> {
        let options = &self.options;
        match name {
            "F" => Ok(Scalar::Int(options.grid[0] as i64)),
            "Y" => Ok(Scalar::Int(options.grid[1] as i64)),
            "X" => Ok(Scalar::Int(options.grid[2] as i64)),
            "P" => Ok(Scalar::Int(options.block as i64)),
            "text" => Ok(Scalar::Int(options.text as i64)),
            "sparsity" => Ok(Scalar::Float(options.sparsity)),
            "sink" => Ok(Scalar::Bool(options.sink())),
            "compat" => Ok(Scalar::Bool(options.compat)),
            "text_last" => Ok(Scalar::Bool(options.text_last)),
            "lone_last" => Ok(Scalar::Bool(options.lone_last)),
            other => Err(unknown(other)),
        }
    }
}

fn unknown(name: &str) -> Error {
    let message = "is a parameter of `rainfusion.tile` that these options do not know".to_owned();
    Error::Argument { item: "rainfusion".into(), argument: name.into(), message }
}

/// The stage that a step of the plan belongs to.
fn stage(label: &str) -> &'static str {
    match label {
        "block_means" => "means",
        "block_scores" => "scores",
        "select" => "select",
        "attention" => "attention",
        _ => "copy",
    }
}
