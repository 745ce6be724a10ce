//! Which loops are taken apart, and where: a body of products that follow from one another is cut before the last, so that
//! the first ones of the next round run while the arithmetic between them is done.

use std::collections::HashSet;

use pantile_ir::{Func, Inst, Op, Over, Region, Value};

use super::{Schedule, place};
use crate::kernel::Options;
use crate::lower::{Kind, Spreads};

/// How a loop's body is cut.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rotation {
    /// Of each instruction of the body: whether it is in the second part. Instructions that are made wherever they are
    /// needed are in neither.
    pub late: Vec<bool>,
    /// How far the first part runs before the second one begins: behind its first product.
    pub lead: usize,
    /// How far the second part runs before the first one goes on: behind its last product.
    pub issue: usize,
    /// What the second part needs of the first, of the same round.
    pub cross: Vec<Value>,
    /// Of each carried value: whether the second part makes it.
    pub carried_late: Vec<bool>,
}

/// Finds the loops.
pub(super) fn choose(schedule: &mut Schedule, func: &Func, options: &Options, spreads: &Spreads) {
    if schedule.specialised() && options.choices.rotate {
        region(schedule, spreads, &func.body);
    }
}

fn region(schedule: &mut Schedule, spreads: &Spreads, region_: &Region) {
    for inst in &region_.insts {
        if let Op::For(it) = &inst.op
            && !it.guard
        {
            let cut = Cut { spreads, schedule, body: inst.body() };
            let skip = usize::from(it.over == Over::Range);
            if let Some(rotation) = cut.rotation(skip) {
                schedule.rotations.insert(place(inst), rotation);
            }
        }
        inst.regions.iter().for_each(|r| region(schedule, spreads, r));
    }
}

struct Cut<'f> {
    spreads: &'f Spreads,
    schedule: &'f Schedule,
    body: &'f Region,
}

impl Cut<'_> {
    fn rotation(&self, skip: usize) -> Option<Rotation> {
        let products: Vec<usize> =
            (0..self.body.insts.len()).filter(|n| self.schedule.is_product(&self.body.insts[*n])).collect();
        let (first, last) = (*products.first()?, *products.last()?);
        let nested = self.body.insts.iter().any(|i| !i.regions.is_empty());
        if first == last || nested || self.body.insts.iter().any(Inst::has_effect) {
            return None;
        }
        let carried = &self.body.args[skip..];
        let late = self.late(last, carried);
        if late[first] {
            return None;
        }
        let carried_late: Vec<bool> =
            self.body.yields.iter().map(|y| self.maker(*y).is_some_and(|n| late[n])).collect();
        let cross = self.cross(&late, &carried_late, carried)?;
        // While the second part reads a stage the next round's must be there.
        let several =
            |v: &Value| self.schedule.fills.get(v).is_none_or(|f| self.schedule.rings[f.ring.index()].stages > 1);
        if !cross.iter().all(several) {
            return None;
        }
        let issue = products.iter().filter(|n| late[**n]).max().map_or(0, |n| n + 1);
        Some(Rotation { late, lead: first + 1, issue, cross, carried_late })
    }

    /// The instruction of the body that makes a value.
    fn maker(&self, value: Value) -> Option<usize> {
        self.body.insts.iter().position(|i| i.results.contains(&value))
    }

    /// What needs the last product, in this round or through what is carried from the last one; and what nothing else
    /// needs and costs no registers to wait with.
    fn late(&self, last: usize, carried: &[Value]) -> Vec<bool> {
        let insts = &self.body.insts;
        let mut late = vec![false; insts.len()];
        late[last] = true;
        loop {
            let before = late.clone();
            let mut values: HashSet<Value> =
                insts.iter().zip(&late).filter(|(_, l)| **l).flat_map(|(i, _)| i.results.iter().copied()).collect();
            for (arg, next) in carried.iter().zip(&self.body.yields) {
                if values.contains(next) {
                    values.insert(*arg);
                }
            }
            for (n, inst) in insts.iter().enumerate() {
                late[n] |= inst.args.iter().any(|a| values.contains(a));
                // A product that begins with something needs that too.
                let added = inst.results.first().and_then(|r| self.schedule.added.get(r));
                late[n] |= added.is_some_and(|added| values.contains(&added.addend));
                let waits = inst.results.first().is_some_and(|r| self.schedule.fills.contains_key(r));
                late[n] |= waits && self.only_late(inst, &late);
            }
            if late == before {
                return late;
            }
        }
    }

    /// Whether all that reads an instruction's results is late.
    fn only_late(&self, inst: &Inst, late: &[bool]) -> bool {
        let reads = |args: &[Value]| args.iter().any(|a| inst.results.contains(a));
        !reads(&self.body.yields) && self.body.insts.iter().zip(late).all(|(i, late)| *late || !reads(&i.args))
    }

    /// The values that go from the first part to the second; none if the first would need one of the second.
    fn cross(&self, late: &[bool], carried_late: &[bool], carried: &[Value]) -> Option<Vec<Value>> {
        let mut cross = Vec::new();
        let insts = self.body.insts.iter().zip(late).filter(|(i, late)| **late && !self.is_free(i));
        let mut needed: Vec<Value> = insts.flat_map(|(i, _)| i.args.iter().copied()).collect();
        let yields = self.body.yields.iter().zip(carried_late);
        needed.extend(yields.clone().filter(|(_, late)| **late).map(|(y, _)| *y));
        while let Some(value) = needed.pop() {
            let arg = carried.iter().position(|c| *c == value);
            let early = match (self.maker(value), arg) {
                (Some(n), _) if self.is_free(&self.body.insts[n]) => {
                    needed.extend(&self.body.insts[n].args);
                    false
                }
                (Some(n), _) => !late[n],
                (None, Some(n)) => !carried_late[n],
                (None, None) => self.body.args.contains(&value),
            };
            if early && !cross.contains(&value) {
                cross.push(value);
            }
        }
        // A carried value that is handed on from another place must not jump from the second part to the first.
        let copy = |y: &Value| carried.iter().position(|c| c == y);
        let jumps = yields
            .zip(carried)
            .any(|((y, late), arg)| !*late && copy(y).is_some_and(|n| carried_late[n] && carried[n] != *arg));
        cross.reverse();
        (!jumps).then_some(cross)
    }

    /// Whether it is made wherever it is needed.
    fn is_free(&self, inst: &Inst) -> bool {
        inst.results.first().is_some_and(|r| self.spreads[r.index()] == Kind::Free)
    }
}
