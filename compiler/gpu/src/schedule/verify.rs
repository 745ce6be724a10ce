//! What must hold of a schedule: that each role meets the other at every stage, in the same order, whatever rounds a launch
//! has. Whether the threads' programs keep to it is seen by the emulator.

use std::collections::HashSet;

use pantile_ir::{Func, Inst, Op, Over, Region, Value};

use super::{Schedule, each, place};

impl Schedule {
    /// Checks the table against its function.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub(crate) fn verify(&self, func: &Func) -> Result<(), String> {
        self.check_fills(func)?;
        self.check_region(&func.body, &HashSet::new())
    }

    /// Fills lie in stages, and the producer runs them.
    fn check_fills(&self, func: &Func) -> Result<(), String> {
        let mut missing = self.fills.len();
        let mut wrong = None;
        each(&func.body, &mut |inst| {
            let Some((value, fill)) = inst.results.first().and_then(|r| Some((r, self.fills.get(r)?))) else { return };
            missing -= 1;
            let ring = self.rings.get(fill.ring.index());
            let fits = ring.is_some_and(|r| fill.staged.bytes <= r.bytes && r.stages > 0);
            let known = inst.index_args().iter().all(|v| self.known.contains(v));
            let problem = if !matches!(inst.op, Op::Load(..)) {
                "is no load"
            } else if !fits {
                "does not fit the stages of its ring"
            } else if fill.map as usize >= self.maps.len() {
                "has no tensor map"
            } else if !self.slice.contains(&place(inst)) || !known {
                "is not in the producer's slice"
            } else {
                return;
            };
            wrong.get_or_insert(format!("the fill %{} {problem}", value.0));
        });
        if missing > 0 {
            return Err(format!("{missing} fills are not in the function"));
        }
        wrong.map_or(Ok(()), Err)
    }

    /// In each straight line a ring is filled by one load, so that stages are taken in the order in which they are filled; and
    /// what holds fills is in the slice.
    fn check_region(&self, region: &Region, outer: &HashSet<u32>) -> Result<(), String> {
        let mut own = HashSet::new();
        for inst in &region.insts {
            if let Some(fill) = inst.results.first().and_then(|r| self.fills.get(r))
                && (!own.insert(fill.ring.0) || outer.contains(&fill.ring.0))
            {
                return Err(format!("ring {} is filled twice in a round", fill.ring.0));
            }
        }
        let inside: HashSet<u32> = outer.union(&own).copied().collect();
        for inst in &region.insts {
            let fills = !self.rings_within(inst).is_empty();
            if fills && !self.slice.contains(&place(inst)) {
                return Err("a loop or branch around fills is not in the producer's slice".into());
            }
            for region in &inst.regions {
                self.check_region(region, &inside)?;
            }
            self.check_loop(inst)?;
        }
        Ok(())
    }

    fn check_loop(&self, inst: &Inst) -> Result<(), String> {
        let Op::For(it) = &inst.op else { return Ok(()) };
        let body = inst.body();
        let carried = &body.args[usize::from(it.over == Over::Range)..];
        if let Some(rotation) = self.rotations.get(&place(inst)) {
            if it.guard || body.insts.iter().any(Inst::has_effect) {
                return Err("a loop is cut whose rounds may be left out, or whose body has an effect".into());
            }
            let late = |v: &Value| {
                let made = body.insts.iter().zip(&rotation.late).any(|(i, late)| *late && i.results.contains(v));
                made || carried.iter().zip(&rotation.carried_late).any(|(c, late)| *late && c == v)
            };
            let early = body.insts.iter().zip(&rotation.late).filter(|(_, late)| !**late);
            if let Some(value) = early.flat_map(|(i, _)| &i.args).find(|v| late(v)) {
                return Err(format!("the first part of a cut loop needs %{} of the second", value.0));
            }
        }
        if let Some(chain) = self.chains.get(&place(inst)) {
            let short = chain
                .views
                .iter()
                .filter_map(|v| self.fills.get(v))
                .find(|f| self.rings.get(f.ring.index()).is_none_or(|r| r.stages < 2));
            if let Some(fill) = short {
                return Err(format!("a chain reads ring {}, which has one stage", fill.ring.0));
            }
        }
        Ok(())
    }
}
