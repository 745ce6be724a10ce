//! Element masks in the bodies of walks: bools that say, lane by lane, what counts (`pos(j) <= pos(i)`), found and put as
//! conditions on the block's number. Used to shorten loops and to split them; changes nothing itself.

use std::collections::HashSet;

use pantile_ir::{DimId, Inst, Op, Region, Value};

use super::bounds::{Interval, Site, at_most_zero, solve};
use crate::analysis::affine::Linear;
use crate::analysis::defs::Defs;
use crate::analysis::idle::Round;
use pantile_ir::Func;

/// A comparison in a walk's body.
pub(super) struct ElementMask {
    /// The comparison.
    pub value: Value,
    /// What it is where lanes are kept.
    pub kept: bool,
    /// Whether a round in which it keeps nothing is idle.
    pub skips: bool,
}

/// The comparisons in a walk's body that differ along the walk. Without any by which rounds are idle, all of them, as
/// keeping where they hold.
pub(super) fn element_masks(func: &Func, defs: &Defs, inst: &Inst, dim: DimId) -> Vec<ElementMask> {
    let body = inst.body();
    let varying = varying(func, body, dim);
    let Some(args) = inst.loop_args(func) else { return Vec::new() };
    let round = Round { func, defs, body, inits: args.inits };
    let compares = |i: &&Inst| matches!(i.op, Op::Binary(op) if op.is_comparison()) && varying.contains(&i.results[0]);
    let mask = |i: &Inst| {
        let value = i.results[0];
        let skips = [true, false].into_iter().find(|kept| round.is_idle(value, !kept));
        ElementMask { value, kept: skips.unwrap_or(true), skips: skips.is_some() }
    };
    let mut masks: Vec<ElementMask> = body.insts.iter().filter(compares).map(mask).collect();
    if masks.iter().any(|m| m.skips) {
        masks.retain(|m| m.skips);
    }
    masks
}

/// The values of a body, at its top level, that need not be the same in each round.
fn varying(func: &Func, body: &Region, dim: DimId) -> HashSet<Value> {
    let mut varying: HashSet<Value> = body.args.iter().copied().collect();
    for inst in &body.insts {
        let along = |v: &Value| func.ty(*v).dims().contains(&dim);
        let varies = !inst.regions.is_empty()
            || inst.op.own_dims().contains(&dim)
            || inst.args.iter().any(|v| varying.contains(v))
            || inst.results.iter().any(along);
        if varies {
            varying.extend(&inst.results);
        }
    }
    varying
}

/// Which lanes a condition must hold at.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Lanes {
    /// At one or more.
    Some,
    /// At all.
    All,
}

/// The blocks of a walk where a mask keeps some lanes, or all: within all the intervals, at the least (some) or at the
/// most (all). `None` if it is no condition on positions.
pub(super) fn kept_blocks(
    site: &mut Site,
    body: &Region,
    dim: DimId,
    mask: &ElementMask,
    lanes: Lanes,
) -> Option<Vec<Interval>> {
    let sums = at_most_zero(site.func, site.defs, mask.value, mask.kept)?;
    let inside: HashSet<Value> =
        body.args.iter().chain(body.insts.iter().flat_map(|i| &i.results)).copied().collect();
    sums.into_iter().map(|sum| solved(site, &inside, dim, sum, lanes)).collect()
}

/// `sum ≤ 0` as an interval of block numbers: each position is its block's first plus a lane, of which the least counts
/// where some lane is asked for, the greatest where all are. Lanes that an edge or an order leaves out only make this
/// too cautious.
fn solved(site: &mut Site, inside: &HashSet<Value>, dim: DimId, sum: Linear, lanes: Lanes) -> Option<Interval> {
    let (mut factor, mut rest) = (0_i64, Linear { constant: sum.constant, ..Linear::default() });
    for (v, c) in sum.terms {
        let block = match site.defs.get(v) {
            Some((Op::Pos(d), _)) => Some((*d, site.func.dim(*d).size)),
            Some((Op::BlockIndex(d), _)) if *d == dim => Some((dim, 1)),
            Some(_) | None => None,
        };
        match block {
            Some((d, size)) => {
                let scale = c.checked_mul(size)?;
                if d == dim {
                    factor = factor.checked_add(scale)?;
                } else if starts_at_zero(site.func, d) {
                    // Its lanes are all there is.
                } else {
                    let number = site.push(Op::BlockIndex(d), &[]);
                    rest = rest.add(&Linear::leaf(number), scale)?;
                }
                if (c > 0) == (lanes == Lanes::All) {
                    rest.constant = rest.constant.checked_add(scale.checked_sub(c)?)?;
                }
            }
            None if inside.contains(&v) || !site.func.ty(v).dims().is_empty() => return None,
            None => rest = rest.add(&Linear::leaf(v), c)?,
        }
    }
    solve(site.func, site.defs, factor, rest)
}

/// Whether a dim has one block only.
fn starts_at_zero(func: &Func, d: DimId) -> bool {
    let dim = func.dim(d);
    dim.whole || dim.over.is_none()
}
