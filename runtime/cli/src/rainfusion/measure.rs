//! Runs the operator and dense attention by turns and takes their times. What the numbers mean is said elsewhere.

use std::time::{Duration, Instant};

use pantile::{Backend, Device, Mask, Tensor};
use pantile_kernels::{Comparison, RainFusion, RainFusionOn, RainFusionOutput, compare};

use super::{Options, Qkv, flags};
use crate::failure::{Failure, input};

/// Measured times of the whole and of its parts.
pub(crate) struct Measured {
    pub(crate) output: RainFusionOutput,
    /// Medians, by stage.
    pub(crate) stages: Vec<(&'static str, Duration)>,
    /// Median of whole calls.
    pub(crate) sparse: Duration,
    pub(crate) dense: Option<Dense>,
    /// What dense attention gives, if it was computed.
    pub(crate) reference: Option<Tensor>,
    /// Whether the mask was given, not predicted.
    pub(crate) given_mask: bool,
}

/// The time of dense attention, and how far from it the output is.
pub(crate) struct Dense {
    pub(crate) time: Duration,
    pub(crate) comparison: Comparison,
}

/// One warm-up, then timed runs; sparse and dense take turns, so that both meet the same machine.
pub(super) fn measure(
    options: &Options,
    config: &RainFusion,
    device: &Device,
    Qkv { q, k, v }: &Qkv,
    mask: Option<&Mask>,
) -> Result<Measured, Failure> {
    let slow = device.backend() == Backend::Interp;
    let runs = options.runs.unwrap_or(if slow { 1 } else { 9 });
    let with_dense = options.compare_dense || (options.input.is_none() && !slow);
    let operator = RainFusionOn::new(config, device)?;
    let sparse = || match mask {
        None => operator.call(q, k, v),
        Some(mask) => operator.call_masked(q, k, v, mask),
    };
    let sparse = || sparse().map_err(flags::named);
    let mut output = None;
    if !slow {
        output = Some(sparse()?);
        if with_dense {
            operator.dense(q, k, v)?;
        }
    }
    let (mut sparse_times, mut dense_times, mut stages, mut reference) = (vec![], vec![], Stages::default(), None);
    for _ in 0..runs {
        let start = Instant::now();
        let result = sparse()?;
        sparse_times.push(start.elapsed());
        stages.add(&result);
        output = Some(result);
        if with_dense {
            let start = Instant::now();
            reference = Some(operator.dense(q, k, v)?.out);
            dense_times.push(start.elapsed());
        }
    }
    let Some(output) = output else { return input("`--runs`: at least one run is needed") };
    let dense = match &reference {
        Some(reference) => Some(Dense { time: median(dense_times), comparison: compare(&output.out, reference)? }),
        None => None,
    };
    let (stages, sparse) = (stages.medians(), median(sparse_times));
    Ok(Measured { stages, sparse, dense, reference, output, given_mask: mask.is_some() })
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
