//! Attention over all keys, causal, or over kept blocks, beside peers, and some of its rows in f64. Rates are of the pairs of
//! a query and a key that are kept.

use pantile::{DType, Mask, Out, Tensor};
use serde_json::json;

use super::super::cases::{kernel, random_mask};
use super::plan::{Attention, BLOCK, Keep, Spec};
use super::reference::{Host, attend, error, sample};
use super::row::Row;
use super::{Bench, timed};
use crate::failure::Failure;

/// How far bf16 results may be off: rounding of probabilities and of the result.
pub(super) const ALLOWED: f64 = 1e-2;
/// Heads and queries of each that are computed in f64.
const HEADS: usize = 3;
const QUERIES: usize = 6;

pub(super) fn measure(bench: &Bench, spec: &Spec, work: &Attention) -> Result<Row, Failure> {
    let shape = [1, work.heads, work.tokens, work.channels];
    let of = || bench.normal(&shape, DType::BF16);
    let (q, k, v) = (of()?, of()?, of()?);
    let mask = mask(work)?;
    let on_device = mask.as_ref().map(|m| m.to(&bench.device)).transpose()?;
    let (mut out, mut lse) = (bench.room(&shape, DType::BF16)?, bench.room(&shape[..3], DType::F32)?);
    let scale = 1.0 / (work.channels as f32).sqrt();
    let (file, name) = match work.keep {
        Keep::All => ("attention.tile", "attention_dense"),
        Keep::Causal => ("masked.tile", "attention_causal"),
        Keep::Part(_) | Keep::Protected(..) => ("attention.tile", "attention"),
    };
    let kernel = kernel(file, name, &bench.device)?;
    let own = Box::new(|| {
        timed(&bench.device, || {
            let outs = vec![Out::Tensor(&mut out), Out::Tensor(&mut lse)];
            match &on_device {
                Some(mask) => kernel.start_into((&q, &k, &v, mask, scale), outs),
                None => kernel.start_into((&q, &k, &v, scale), outs),
            }
        })
    });
    let bits = mask.as_ref().map(Mask::bits);
    let mut given = vec![("q", &q), ("k", &k), ("v", &v)];
    given.extend(bits.map(|bits| ("mask", bits)));
    let more = json!({ "causal": work.keep == Keep::Causal, "masked": mask.is_some(), "block": BLOCK });
    let (times, mut beside) = bench.beside(spec, &given, &more, own)?;
    let (rows, want) = expected([&q, &k, &v], work, |head, query| keys(work, mask.as_ref(), head, query))?;
    for (beside, offer) in beside.iter_mut().zip(spec.work.offers()).filter(|(b, _)| b.times.is_ok()) {
        beside.error = bench.peers.rows(&offer, &rows).map(|got| error(&got, &want));
    }
    let off = error(&Host::of(&out)?.some(&rows)?, &want);
    Ok(Row {
        case: spec.case,
        what: spec.what.clone(),
        times,
        amount: Some((4.0 * pairs(work, mask.as_ref()) * work.channels as f64, "FLOP")),
        error: Some((off, ALLOWED)),
        beside,
        notes: Vec::new(),
    })
}

/// Which blocks are kept, the same number in each row but for protected ones.
fn mask(work: &Attention) -> Result<Option<Mask>, Failure> {
    let blocks = work.tokens.div_ceil(BLOCK);
    match work.keep {
        Keep::All | Keep::Causal => Ok(None),
        Keep::Part(part) => random_mask(work.heads, blocks, part).map(Some),
        Keep::Protected(part, last) => {
            let mut keep = random_mask(work.heads, blocks, part)?.to_bools();
            let first = blocks.saturating_sub(last);
            for (n, keep) in keep.iter_mut().enumerate() {
                *keep |= n % blocks >= first || n / blocks % blocks >= first;
            }
            Ok(Some(Mask::from_bools(&[1, work.heads, blocks, blocks], &keep)?))
        }
    }
}

/// The keys that a query attends to.
fn keys(work: &Attention, mask: Option<&Mask>, head: usize, query: usize) -> Vec<usize> {
    let blocks = work.tokens.div_ceil(BLOCK);
    match (mask, work.keep) {
        (Some(mask), _) => {
            let kept = mask.row(head * blocks + query / BLOCK);
            let block = |b: &i32| *b as usize * BLOCK..(*b as usize * BLOCK + BLOCK).min(work.tokens);
            kept.iter().flat_map(block).collect()
        }
        (None, Keep::Causal) => (0..=query).collect(),
        (None, Keep::All | Keep::Part(_) | Keep::Protected(..)) => (0..work.tokens).collect(),
    }
}

/// Pairs of a query and a key, over all heads.
fn pairs(work: &Attention, mask: Option<&Mask>) -> f64 {
    let (heads, tokens) = (work.heads as f64, work.tokens as f64);
    let Some(mask) = mask else {
        return heads * if work.keep == Keep::Causal { tokens * (tokens + 1.0) / 2.0 } else { tokens * tokens };
    };
    let blocks = work.tokens.div_ceil(BLOCK);
    let length = |block: usize| (work.tokens - block * BLOCK).min(BLOCK);
    let row = |n: usize| {
        let keys: usize = mask.row(n).iter().map(|b| length(*b as usize)).sum();
        (keys * length(n % blocks)) as f64
    };
    (0..work.heads * blocks).map(row).sum()
}

/// Some rows of the result, counted through heads and tokens, and what stands in them.
pub(super) fn expected(
    [q, k, v]: [&Tensor; 3],
    work: &Attention,
    keys: impl Fn(usize, usize) -> Vec<usize>,
) -> Result<(Vec<usize>, Vec<f64>), Failure> {
    let (q, k, v) = (Host::of(q)?, Host::of(k)?, Host::of(v)?);
    let (mut rows, mut want) = (Vec::new(), Vec::new());
    for head in sample(work.heads, HEADS) {
        let at = head * work.tokens;
        let (k, v) = (k.rows(at, work.tokens)?, v.rows(at, work.tokens)?);
        for query in sample(work.tokens, QUERIES) {
            rows.push(at + query);
            want.extend(attend(&q.rows(at + query, 1)?, &k, &v, &keys(head, query)));
        }
    }
    Ok((rows, want))
}
