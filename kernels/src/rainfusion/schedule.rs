//! RainFusion2.0 in a sampler: dense attention for the first steps and layers, sparse after them, a layer's mask reused for
//! some steps. It chooses between calls of `call.rs` and keeps masks; it computes nothing itself.

use std::collections::BTreeMap;

use pantile::{Device, Mask, Result, Tensor};

use super::check::refuse;
use super::{RainFusion, RainFusionOn};

/// When attention is dense, and for how many steps a mask serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Steps at the start that are dense.
    pub dense_steps: usize,
    /// Layers at the start that are always dense.
    pub dense_layers: usize,
    /// A layer's mask is made afresh every so many steps; 1 is at each.
    pub refresh: usize,
}

impl Default for Schedule {
    /// Sparse from the first step and layer on, a mask for each call.
    fn default() -> Self {
        Self { dense_steps: 0, dense_layers: 0, refresh: 1 }
    }
}

/// How a call of [`Scheduled`] was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All keys, without a mask.
    Dense,
    /// Sparse, by a mask made from this call's q and k.
    Fresh,
    /// Sparse, by the mask of an earlier step.
    Reused,
}

/// What a call of [`Scheduled`] returns.
#[derive(Clone, Debug)]
pub struct ScheduledOutput {
    /// The attention output, as q in shape, dtype and order.
    pub out: Tensor,
    /// The natural logarithm of each row's sum of exp(logit), f32 `[B, H, N]`.
    pub lse: Tensor,
    /// How it was computed.
    pub step: Step,
    /// The computed part of all block pairs.
    pub kept: f64,
}

/// RainFusion2.0 for the layers of a model over the steps of a sampler: it keeps each layer's mask.
///
/// ```
/// use pantile::{Device, Tensor};
/// use pantile_kernels::{RainFusion, Schedule, Scheduled, Step};
///
/// # fn main() -> pantile::Result<()> {
/// let options = RainFusion { block: 32, ..RainFusion::new([3, 8, 8]) };
/// let schedule = Schedule { dense_steps: 1, refresh: 2, ..Schedule::default() };
/// let mut attention = Scheduled::new(&options, schedule, &Device::cpu())?;
/// let x = Tensor::from_slice(&[1, 2, 192, 32], &vec![0.5f32; 2 * 192 * 32])?;
/// let mut taken = Vec::new();
/// for step in 0..4 {
///     for layer in 0..2 {
///         let (q, k, v) = (&x, &x, &x); // of this step and layer
///         taken.push(attention.call(step, layer, q, k, v)?.step);
///     }
/// }
/// use Step::{Dense, Fresh, Reused};
/// assert_eq!(taken, [Dense, Dense, Fresh, Fresh, Reused, Reused, Fresh, Fresh]);
/// # Ok(())
/// # }
/// ```
pub struct Scheduled {
    operator: RainFusionOn,
    schedule: Schedule,
    /// By layer: the step that made its mask, and the mask.
    masks: BTreeMap<usize, (usize, Mask)>,
}

impl Scheduled {
    /// With these options and this schedule on this device.
    ///
    /// # Errors
    /// If a mask is to serve for no step, or the shipped source has errors.
    pub fn new(options: &RainFusion, schedule: Schedule, device: &Device) -> Result<Self> {
        if schedule.refresh == 0 {
            return refuse("refresh", "must be at least 1: a mask serves the step that makes it");
        }
        Ok(Self { operator: RainFusionOn::new(options, device)?, schedule, masks: BTreeMap::new() })
    }

    /// The attention of one layer at one step, both counted from 0. Give the passes of one step that differ in more than q,
    /// k and v (with and without a condition, say) layers of their own. A step before the mask's begins another run: the
    /// mask is made afresh, as it is when shapes change.
    ///
    /// # Errors
    /// As [`crate::rainfusion`]; what is kept for the layer is then as before.
    pub fn call(&mut self, step: usize, layer: usize, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<ScheduledOutput> {
        if step < self.schedule.dense_steps || layer < self.schedule.dense_layers {
            let dense = self.operator.dense(q, k, v)?;
            return Ok(ScheduledOutput { out: dense.out, lse: dense.lse, step: Step::Dense, kept: 1.0 });
        }
        let serves = |made: usize, mask: &Mask| {
            let age = step.checked_sub(made);
            age.is_some_and(|age| age < self.schedule.refresh) && mask.shape()[..2] == q.shape()[..2.min(q.rank())]
        };
        let kept = self.masks.get(&layer).filter(|(made, mask)| serves(*made, mask));
        let (result, step_taken) = match kept {
            Some((_, mask)) => (self.operator.call_masked(q, k, v, mask)?, Step::Reused),
            None => (self.operator.call(q, k, v)?, Step::Fresh),
        };
        if step_taken == Step::Fresh {
            self.masks.insert(layer, (step, result.mask));
        }
        Ok(ScheduledOutput { out: result.out, lse: result.lse, step: step_taken, kept: result.kept })
    }

    /// The mask that a layer keeps, `[B, H, NQ, NK]`.
    pub fn mask(&self, layer: usize) -> Option<&Mask> {
        self.masks.get(&layer).map(|(_, mask)| mask)
    }

    /// Forgets all masks.
    pub fn reset(&mut self) {
        self.masks.clear();
    }
}
