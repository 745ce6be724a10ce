//! Element masks in the bodies of walks: bools that say, lane by lane, what counts (`pos(j) <= pos(i)`), found and put as
//! conditions on the block's number. Used to shorten loops and to split them; changes nothing itself.

use std::collections::HashSet;

use pantile_ir::{BinaryOp, DType, DimId, Func, Inst, Op, Region, UnaryOp, Value};

use super::bounds::{Interval, Site, at_most_zero, solve};
use crate::analysis::affine::Linear;
use crate::analysis::defs::Defs;
use crate::analysis::idle::Round;

/// A comparison in a walk's body, or several joined so that lanes are kept where any holds.
#[derive(Clone, Copy)]
pub(super) struct ElementMask {
    /// The bool.
    pub value: Value,
    /// What it is where lanes are kept.
    pub kept: bool,
    /// Whether a round in which it keeps nothing is idle.
    pub skips: bool,
}

/// The masks in a walk's body that differ along the walk. Without any by which rounds are idle, all comparisons, as keeping
/// where they hold.
pub(super) fn element_masks(func: &Func, defs: &Defs, inst: &Inst, dim: DimId) -> Vec<ElementMask> {
    let body = inst.body();
    let varying = varying(func, body, dim);
    let Some(args) = inst.loop_args(func) else { return Vec::new() };
    let round = Round { func, defs, body, inits: args.inits };
    let mask = |i: &Inst| {
        let value = *i.results.first()?;
        let polarities = polarities(func, i);
        let skips = polarities.iter().copied().find(|kept| round.is_idle(value, !kept));
        let compares = polarities.len() == 2;
        (compares || skips.is_some()).then(|| ElementMask {
            value,
            kept: skips.unwrap_or(true),
            skips: skips.is_some(),
        })
    };
    let along = |i: &&Inst| i.results.iter().any(|v| varying.contains(v));
    let mut masks: Vec<ElementMask> = body.insts.iter().filter(along).filter_map(mask).collect();
    if masks.iter().any(|m| m.skips) {
        masks.retain(|m| m.skips);
    }
    masks
}

/// What a bool may be where lanes are kept. Of `a and b` only one that keeps where it is false is a mask of its own: else
/// `a` is one already. So for `or`.
#[allow(clippy::wildcard_enum_match_arm, reason = "other ops make no mask")]
fn polarities(func: &Func, inst: &Inst) -> &'static [bool] {
    match inst.op {
        Op::Binary(op) if op.is_comparison() => &[true, false],
        Op::Binary(BinaryOp::Or) if func.ty(inst.results[0]).dtype() == DType::Bool => &[true],
        Op::Binary(BinaryOp::And) if func.ty(inst.results[0]).dtype() == DType::Bool => &[false],
        _ => &[],
    }
}

/// How a bool comes of others, where it is to be `kept`.
pub(super) enum Joined {
    /// All must be as said.
    All(Vec<(Value, bool)>),
    /// One must.
    Any(Vec<(Value, bool)>),
    /// It comes of no other.
    Alone,
}

/// Takes a bool apart.
#[allow(clippy::wildcard_enum_match_arm, reason = "no other op joins bools")]
pub(super) fn joined(defs: &Defs, v: Value, kept: bool) -> Joined {
    let parts = |args: &[Value], kept: bool| args.iter().map(|a| (*a, kept)).collect();
    match defs.get(v) {
        Some((Op::Broadcast(_), args)) => Joined::All(parts(args, kept)),
        Some((Op::Unary(UnaryOp::Not), args)) => Joined::All(parts(args, !kept)),
        Some((Op::Binary(BinaryOp::And), args)) if kept => Joined::All(parts(args, kept)),
        Some((Op::Binary(BinaryOp::Or), args)) if !kept => Joined::All(parts(args, kept)),
        Some((Op::Binary(BinaryOp::And | BinaryOp::Or), args)) => Joined::Any(parts(args, kept)),
        _ => Joined::Alone,
    }
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

/// The blocks of a walk where a comparison is `kept` at some lanes, or at all: within all the intervals, at the least
/// (some) or at the most (all). `None` if it is no condition on positions.
pub(super) fn kept_blocks(
    site: &mut Site,
    body: &Region,
    dim: DimId,
    (value, kept): (Value, bool),
    lanes: Lanes,
) -> Option<Vec<Interval>> {
    let sums = at_most_zero(site.func, site.defs, value, kept)?;
    let inside: HashSet<Value> = body.args.iter().chain(body.insts.iter().flat_map(|i| &i.results)).copied().collect();
    sums.into_iter().map(|sum| solved(site, &inside, dim, sum, lanes)).collect()
}

/// Blocks that a mask keeps whole. Of several masks of which any keeps, one has to do: one that differs along other dims
/// too, rather than one that is about the walk alone.
pub(super) fn whole_blocks(
    site: &mut Site,
    body: &Region,
    dim: DimId,
    (value, kept): (Value, bool),
) -> Option<Vec<Interval>> {
    match joined(site.defs, value, kept) {
        Joined::Alone => kept_blocks(site, body, dim, (value, kept), Lanes::All),
        Joined::All(parts) => {
            let all = parts.into_iter().map(|part| whole_blocks(site, body, dim, part));
            Some(all.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
        }
        Joined::Any(mut parts) => {
            parts.sort_by_key(|(v, _)| std::cmp::Reverse(site.func.ty(*v).dims().len()));
            parts.into_iter().find_map(|part| whole_blocks(site, body, dim, part))
        }
    }
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
