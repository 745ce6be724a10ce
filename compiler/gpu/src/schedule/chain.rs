//! Loops whose products go on with the sums of the round before: a round's products are waited for behind the issue of the
//! next one's, and the stages that they read are given back then.

use std::collections::HashMap;

use pantile_ir::{Func, Inst, Op, Over, Region, Value};

use super::{AddedTo, Schedule, place};
use crate::lower::Spreads;

/// What such a loop carries unfinished.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    /// The carried values, by number, that are sums of products, and what they are at the end of a round.
    pub sums: Vec<(usize, Value)>,
    /// The tiles in stages that the products read.
    pub views: Vec<Value>,
}

/// Finds the loops.
pub(super) fn choose(schedule: &mut Schedule, func: &Func, spreads: &Spreads) {
    if schedule.specialised() {
        walk(schedule, spreads, &func.body);
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "only loops are chained")]
fn walk(schedule: &mut Schedule, spreads: &Spreads, region: &Region) {
    for inst in &region.insts {
        match &inst.op {
            Op::For(it) if !it.guard && !schedule.rotations.contains_key(&place(inst)) => {
                let skip = usize::from(it.over == Over::Range);
                if let Some(chain) = chain(schedule, spreads, inst.body(), skip) {
                    schedule.chains.insert(place(inst), chain);
                }
            }
            _ => {}
        }
        inst.regions.iter().for_each(|r| walk(schedule, spreads, r));
    }
}

fn chain(schedule: &Schedule, spreads: &Spreads, body: &Region, skip: usize) -> Option<Chain> {
    let carried = &body.args[skip..];
    if body.insts.iter().any(|i| !i.regions.is_empty()) {
        return None;
    }
    let products: Vec<&Inst> = body.insts.iter().filter(|i| schedule.is_product(i)).collect();
    let uses = uses(body);
    let once = |v: &Value| uses.get(v) == Some(&1);
    let sum = |product: &&Inst| {
        let AddedTo { addend, sum } = schedule.added.get(&product.results[0])?;
        let number = carried.iter().position(|c| c == addend)?;
        let alone = once(addend) && once(sum) && body.yields[number] == *sum;
        // What is carried is held as the product holds it.
        let alone = alone && spreads[addend.index()] == spreads[product.results[0].index()];
        let brought = product.args.iter().all(|a| schedule.fills.contains_key(a) && once(a));
        (alone && brought).then_some((number, *sum))
    };
    let sums: Vec<(usize, Value)> = products.iter().map(sum).collect::<Option<_>>()?;
    let views = products.iter().flat_map(|p| p.args.iter().copied()).collect();
    // What is brought outside of the loop is not given back in it.
    let inside = |v: &Value| body.insts.iter().any(|i| i.results.contains(v));
    let views: Vec<Value> = Vec::into_iter(views).filter(inside).collect();
    // While a round's stages are still read the next round's must be there.
    let several = |v: &Value| schedule.fills.get(v).is_some_and(|f| schedule.rings[f.ring.index()].stages > 1);
    (!sums.is_empty() && views.iter().all(several)).then_some(Chain { sums, views })
}

fn uses(body: &Region) -> HashMap<Value, u32> {
    let mut uses = HashMap::new();
    let reads = body.insts.iter().flat_map(|i| &i.args).chain(&body.yields);
    reads.for_each(|v| *uses.entry(*v).or_default() += 1);
    uses
}
