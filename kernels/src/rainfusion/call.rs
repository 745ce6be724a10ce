//! RainFusion2.0 on a device: walks made once, budgets laid out by head, pipelines called and their stages timed. Nothing is
//! remembered here of one call's masks for the next.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use pantile::{Arg, Device, Mask, Module, Outputs, PipelineOn, Result, Tensor, ToArg, Trace};

use super::sequence::Walk;
use super::{Budget, RainFusion};
use crate::{AttentionOutput, attention_dense_lse, module};

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
    /// The natural logarithm of each row's sum of exp(logit) over what it kept, f32 `[B, H, N]` in q's order.
    pub lse: Tensor,
    /// The kept block pairs, `[B, H, NQ, NK]`, along the walks.
    pub mask: Mask,
    /// The queries' walk: the index in memory of the token at each position, -1 where there is none.
    pub order: Tensor,
    /// The keys' walk.
    pub key_order: Tensor,
    /// The time of each stage.
    pub stages: Vec<Stage>,
    /// The kept part of all block pairs.
    pub kept: f64,
}

/// RainFusion2.0 attention: q `[B, H, N, D]`, k and v `[B, G, M, D]`, G dividing H, tokens in memory order. For repeated
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
    whole: PipelineOn,
    masked: PipelineOn,
    walks: OnceLock<Walks>,
}

/// The walks of queries and keys, and the time to make them.
struct Walks {
    queries: Arc<Walk>,
    keys: Arc<Walk>,
    time: Duration,
}

impl RainFusionOn {
    /// With these options on this device.
    ///
    /// # Errors
    /// If the shipped source has errors.
    pub fn new(options: &RainFusion, device: &Device) -> Result<Self> {
        let module = module("rainfusion.tile")?;
        let on = |name: &str| -> Result<PipelineOn> {
            Ok(module.pipeline(name)?.with("P", options.block as i64).on(device))
        };
        Ok(Self {
            options: options.clone(),
            device: device.clone(),
            whole: on("rainfusion")?,
            masked: on("rainfusion_masked")?,
            walks: OnceLock::new(),
            module,
        })
    }

    /// The options.
    pub fn options(&self) -> &RainFusion {
        &self.options
    }

    /// Runs it.
    ///
    /// # Errors
    /// As [`rainfusion`].
    pub fn call(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<RainFusionOutput> {
        self.options.check(q, k, v)?;
        let walks = self.walks()?;
        let heads = q.shape()[1];
        let mut budget = self.options.budget.values().to_vec();
        if budget.len() == 1 {
            budget.resize(heads, budget[0]);
        }
        let budget = Tensor::from_slice(&[heads], &budget)?;
        let scale = self.options.scale(q.shape()[3]);
        let by_mass = match self.options.budget {
            Budget::Sparsity(_) => false,
            Budget::Mass(_) => true,
        };
        let args: [Arg<'_>; 10] = [
            q.to_arg(),
            k.to_arg(),
            v.to_arg(),
            walks.queries.order.to_arg(),
            walks.keys.order.to_arg(),
            walks.queries.always.to_arg(),
            walks.keys.always.to_arg(),
            budget.to_arg(),
            scale.to_arg(),
            by_mass.to_arg(),
        ];
        let (outputs, trace) = self.whole.call_traced(args)?;
        let mask = outputs.mask("keep")?;
        gather(walks, &outputs, &trace, mask)
    }

    /// Attention by a mask that a call gave before, perhaps for other q, k and v of the same shapes: no means, scores or
    /// selection.
    ///
    /// # Errors
    /// As [`rainfusion`], or if the mask is not one of these shapes.
    pub fn call_masked(&self, q: &Tensor, k: &Tensor, v: &Tensor, mask: &Mask) -> Result<RainFusionOutput> {
        self.options.check(q, k, v)?;
        let walks = self.walks()?;
        let blocks = |walk: &Walk| walk.table.len().div_ceil(self.options.block);
        let shape = [q.shape()[0], q.shape()[1], blocks(&walks.queries), blocks(&walks.keys)];
        if mask.shape() != shape {
            return super::check::refuse("mask", format!("has shape {:?}; it must be {shape:?}", mask.shape()));
        }
        let scale = self.options.scale(q.shape()[3]);
        let args: [Arg<'_>; 7] = [
            q.to_arg(),
            k.to_arg(),
            v.to_arg(),
            walks.queries.order.to_arg(),
            walks.keys.order.to_arg(),
            mask.to_arg(),
            scale.to_arg(),
        ];
        let (outputs, trace) = self.masked.call_traced(args)?;
        gather(walks, &outputs, &trace, mask.clone())
    }

    /// Dense attention with the same options: no walk, no mask.
    ///
    /// # Errors
    /// As [`rainfusion`].
    pub fn dense(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<AttentionOutput> {
        self.options.check(q, k, v)?;
        attention_dense_lse(q, k, v, self.options.scale(q.shape()[3]), &self.device)
    }

    /// The walks; made at the first call.
    fn walks(&self) -> Result<&Walks> {
        if let Some(walks) = self.walks.get() {
            return Ok(walks);
        }
        let start = Instant::now();
        let of = |sequence: super::Sequence| sequence.walk(&self.options, &self.module, &self.device).map(Arc::new);
        let queries = of(self.options.query_tokens())?;
        let keys = match &self.options.keys {
            Some(keys) => of(keys.clone())?,
            None => queries.clone(),
        };
        Ok(self.walks.get_or_init(|| Walks { queries, keys, time: start.elapsed() }))
    }
}

fn gather(walks: &Walks, outputs: &Outputs, trace: &Trace, mask: Mask) -> Result<RainFusionOutput> {
    let mut stages = vec![Stage { name: "order", time: walks.time }];
    for (label, time) in &trace.steps {
        let name = stage(label);
        match stages.iter_mut().find(|s| s.name == name) {
            Some(stage) => stage.time += *time,
            None => stages.push(Stage { name, time: *time }),
        }
    }
    // By the method, whichever kernel of a stage comes first in the plan.
    stages.sort_by_key(|stage| STAGES.iter().position(|name| *name == stage.name));
    Ok(RainFusionOutput {
        out: outputs.tensor("out")?,
        lse: outputs.tensor("lse")?,
        order: walks.queries.table.clone(),
        key_order: walks.keys.table.clone(),
        kept: mask.density(),
        mask,
        stages,
    })
}

/// The stages, one after the other.
const STAGES: [&str; 6] = ["order", "means", "scores", "select", "attention", "copy"];

/// The stage that a step of the plan belongs to.
fn stage(label: &str) -> &'static str {
    match label {
        "block_means" => "means",
        "block_scores" => "scores",
        "block_kinds" | "select" | "select_mass" => "select",
        "attention" => "attention",
        _ => "copy",
    }
}
