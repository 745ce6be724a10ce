//! The whole of RainFusion2.0 beside dense attention, this compiler's and cuDNN's, and what of its time goes to predicting the
//! mask. Which mask it should have chosen is not looked at: the goldens do that.

use std::cell::RefCell;

use pantile::{DType, Out, Tensor};
use pantile_kernels::{Budget, RainFusion, RainFusionOn, RainFusionOutput};
use serde_json::json;

use super::super::cases::{kernel, median};
use super::attention::{ALLOWED, expected};
use super::plan::{Attention, Keep, Spec};
use super::reference::{Host, error};
use super::row::{Beside, Row, by_turns};
use super::{Bench, timed};
use crate::failure::Failure;

type Shape = ([usize; 3], usize, usize, f64);

pub(super) fn measure(bench: &Bench, spec: &Spec, (grid, heads, channels, sparsity): Shape) -> Result<Row, Failure> {
    let tokens = grid.iter().product();
    let shape = [1, heads, tokens, channels];
    let of = || bench.normal(&shape, DType::BF16);
    let (q, k, v) = (of()?, of()?, of()?);
    let options = RainFusion { budget: Budget::Sparsity(vec![sparsity]), ..RainFusion::new(grid) };
    let operator = RainFusionOn::new(&options, &bench.device)?;
    let first = operator.call(&q, &k, &v)?;
    let shares = RefCell::new(Vec::new());
    let own = Box::new(|| {
        let (output, time) = bench.device.measure(|| operator.call(&q, &k, &v)).map_err(|e| e.to_string())?;
        shares.borrow_mut().push(prediction(&output));
        Ok(time.as_secs_f64())
    });
    let dense = kernel("attention.tile", "attention_dense", &bench.device)?;
    let (mut out, mut lse) = (bench.room(&shape, DType::BF16)?, bench.room(&shape[..3], DType::F32)?);
    let scale = 1.0 / (channels as f32).sqrt();
    let own_dense = Box::new(|| {
        timed(&bench.device, || {
            dense.start_into((&q, &k, &v, scale), vec![Out::Tensor(&mut out), Out::Tensor(&mut lse)])
        })
    });
    bench.peers.hand_over(&[("q", &q), ("k", &k), ("v", &v)])?;
    let offers = spec.work.offers();
    let theirs = offers.iter().map(|offer| bench.peers.side(offer, &["q", "k", "v"], &json!({})));
    let mut sides: Vec<super::Side<'_>> = vec![own, own_dense];
    sides.extend(theirs);
    let mut all = by_turns(sides, bench.rounds).into_iter();
    let times = all.next().unwrap_or_else(|| Ok(Vec::new())).map_err(Failure::Kernel)?;
    let dense = all.next().unwrap_or_else(|| Ok(Vec::new()));
    let kept = first.kept;
    let ideal = dense.clone().map(|times| times.iter().map(|t| t * kept).collect());
    let mut beside = vec![Beside::new("own dense attention", dense), Beside::new("own dense attention × kept", ideal)];
    beside.extend(offers.iter().zip(all).map(|(offer, times)| Beside::new(format!("{}, dense", offer.label), times)));
    let work = Attention { heads, tokens, channels, keep: Keep::All };
    let (rows, want) = check(&first, [&q, &k, &v], &work, options.block)?;
    let off = error(&Host::of(&first.out)?.some(&rows)?, &want);
    let pairs = kept * heads as f64 * (tokens * tokens) as f64;
    let share = 100.0 * median(shares.into_inner());
    Ok(Row {
        case: spec.case,
        what: spec.what.clone(),
        times,
        amount: Some((4.0 * pairs * channels as f64, "FLOP")),
        error: Some((off, ALLOWED)),
        beside,
        notes: vec![format!("keeps {:.1} % of the blocks; prediction takes {share:.1} % of the time", 100.0 * kept)],
    })
}

/// The part of the stages' time that goes to means, scores and selection.
fn prediction(output: &RainFusionOutput) -> f64 {
    let part = |names: &[&str]| -> f64 {
        output.stages.iter().filter(|s| names.contains(&s.name)).map(|s| s.time.as_secs_f64()).sum()
    };
    let asked = part(&["means", "scores", "select"]);
    asked / (asked + part(&["attention", "copy"]))
}

/// Some rows in memory's order, by the mask that was chosen, along the walks.
fn check(
    output: &RainFusionOutput,
    tensors: [&Tensor; 3],
    work: &Attention,
    block: usize,
) -> Result<(Vec<usize>, Vec<f64>), Failure> {
    let (queries, keys) = (output.order.to_vec::<i32>()?, output.key_order.to_vec::<i32>()?);
    let mut at = vec![0; work.tokens];
    let tokens = queries.iter().enumerate().filter_map(|(p, t)| Some((p, usize::try_from(*t).ok()?)));
    tokens.for_each(|(position, token)| at[token] = position);
    let rows = queries.len().div_ceil(block);
    expected(tensors, work, |head, query| {
        let kept = output.mask.row(head * rows + at[query] / block);
        let positions = kept.iter().flat_map(|b| *b as usize * block..(*b as usize * block + block).min(keys.len()));
        positions.filter_map(|p| usize::try_from(keys[p]).ok()).collect()
    })
}
