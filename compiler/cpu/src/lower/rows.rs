//! Rows of a nest that are fetched into a cache before their turn. What happens in a row is `nest.rs`'s business.

use std::collections::{BTreeSet, HashSet};

use pantile_ir::{Inst, Op, Value};

use super::Lower;
use super::plan::{Nest, Stmt};
use crate::Limit;
use crate::wide::{Ahead, Cache};

/// The bytes of the shortest rows of which the next is fetched early. For shorter ones the processor finds it by itself.
const LEAST_AHEAD: i64 = 1 << 11;

/// The bytes of the longest rows of which three have room in the first cache: this, the next, and what is made of this.
const NEAR_AHEAD: i64 = 10 << 10;

/// The bytes of the longest rows of which three have room in the second cache, by far.
const MOST_AHEAD: i64 = 1 << 16;

impl<'f> Lower<'_, 'f> {
    /// What is worth bringing into the cache during a pass: what the first pass will read of the next row. It is the second
    /// that brings it, since it finds its own operands there already.
    pub(super) fn ahead(&mut self, nest: &Nest<'f>, now: &[&Stmt<'f>]) -> Result<Vec<Ahead>, Limit> {
        let passes: BTreeSet<i32> = nest.stmts.iter().map(|s| s.time).filter(|t| t % 2 == 0).collect();
        let second = passes.iter().nth(1);
        let (Some(row), true) = (nest.rows().last(), now.iter().all(|s| Some(&s.time) == second)) else {
            return Ok(Vec::new());
        };
        let size = self.func().dim(nest.inner()).size;
        let mut loads: Vec<&'f Inst> = Vec::new();
        let mut seen = HashSet::new();
        for stmt in nest.stmts.iter().filter(|s| Some(&s.time) == passes.first()) {
            self.loads_behind(stmt.inst, &mut loads, &mut seen);
        }
        let mut ahead = Vec::new();
        for inst in loads {
            let bytes = size.saturating_mul(self.facts.dtype(inst.results[0]).bytes() as i64);
            if (LEAST_AHEAD..=MOST_AHEAD).contains(&bytes)
                && let Some((address, bytes_a_lane)) = self.row_after(inst, *row, nest.inner())?
            {
                let into = if bytes <= NEAR_AHEAD { Cache::First } else { Cache::Second };
                ahead.push(Ahead { address, bytes: bytes_a_lane, into });
            }
        }
        Ok(ahead)
    }

    /// The loads that computing an instruction of a nest runs.
    fn loads_behind(&self, inst: &'f Inst, out: &mut Vec<&'f Inst>, seen: &mut HashSet<Value>) {
        if matches!(inst.op, Op::Load(..)) {
            out.push(inst);
        }
        for arg in &inst.args {
            if seen.insert(*arg)
                && let Some(inst) = self.plan.choices.defs_inline(*arg)
            {
                self.loads_behind(inst, out, seen);
            }
        }
    }
}
