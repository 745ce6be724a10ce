//! Launches that share one kernel: calls of the same code that do not wait for each other become one launch, whose grids
//! lie one behind the other. Steps are put in an order that allows it; what a call does is not changed.
//!
//! Two launches may be one if neither reads, directly or through others, what the other makes. Running calls together can
//! keep more memory alive; where that would be much, they stay apart and a note says so.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::planner::Planner;
use super::{Buffer, Note, Role, Step, memory};

/// For the sake of fewer launches temporaries may take more by this part of what inputs and outputs take,
const PART: u64 = 16;

/// or by so many bytes.
const LITTLE: u64 = 1 << 20;

impl Planner<'_, '_> {
    /// Puts calls into one launch where they can be.
    pub(super) fn group(&mut self) {
        let steps = std::mem::take(&mut self.steps);
        let mut groups = Groups::new(&self.buffers, &steps);
        let mut peak = groups.peak(&self.buffers, &steps);
        let own = |b: &&Buffer| !matches!(b.role, Role::Temp);
        let allowance = self.buffers.iter().filter(own).map(|b| b.what.bytes()).fold(0, u64::saturating_add) / PART;
        let limit = peak.saturating_add(allowance.max(LITTLE));
        for n in 0..steps.len() {
            let Some(first) = (0..n).find(|m| groups.alike(&steps, *m, n)) else { continue };
            let before = groups.clone();
            groups.join(first, n);
            let grown = groups.peak(&self.buffers, &steps);
            if grown <= limit {
                peak = peak.max(grown);
                continue;
            }
            groups = before;
            if let Step::Launch { calls, label, .. } = &steps[n] {
                let more = memory::readable(grown - peak);
                let text =
                    format!("`{label}` is launched by itself: together with the one before, {more} more would be held");
                self.notes.push(Note { text, span: calls[0].span });
            }
        }
        self.steps = self.merged(steps, &groups);
    }

    fn merged(&mut self, steps: Vec<Step>, groups: &Groups) -> Vec<Step> {
        let order = groups.order();
        let mut steps: Vec<Option<Step>> = steps.into_iter().map(Some).collect();
        let mut out = Vec::with_capacity(order.len());
        for members in order {
            let mut parts = members.iter().filter_map(|n| steps[*n].take());
            let Some(mut step) = parts.next() else { continue };
            if let Step::Launch { calls, label, .. } = &mut step {
                for part in parts {
                    if let Step::Launch { calls: more, .. } = part {
                        calls.extend(more);
                    }
                }
                if calls.len() > 1 {
                    let text =
                        format!("`{label}` ×{} in one launch: the same code, and none waits for another", calls.len());
                    self.notes.push(Note { text, span: calls[calls.len() - 1].span });
                }
            }
            out.push(step);
        }
        out
    }
}

/// Steps in groups that run together, and which group waits for which.
#[derive(Clone)]
struct Groups {
    /// The group of each step: its first step.
    of: Vec<usize>,
    /// The steps whose results a step reads.
    needs: Vec<Vec<usize>>,
    /// By group: the groups that come after it, as bits.
    after: Vec<Vec<u64>>,
}

impl Groups {
    fn new(buffers: &[Buffer], steps: &[Step]) -> Self {
        let mut maker = vec![None; buffers.len()];
        for (n, step) in steps.iter().enumerate() {
            step.writes().into_iter().for_each(|buffer| maker[buffer] = Some(n));
        }
        let needs: Vec<Vec<usize>> =
            steps.iter().map(|step| step.reads().into_iter().filter_map(|buffer| maker[buffer]).collect()).collect();
        let mut after = vec![vec![0u64; steps.len().div_ceil(64)]; steps.len()];
        for n in (0..steps.len()).rev() {
            let own = after[n].clone();
            for need in &needs[n] {
                after[*need][n / 64] |= 1 << (n % 64);
                after[*need].iter_mut().zip(&own).for_each(|(a, b)| *a |= b);
            }
        }
        Self { of: (0..steps.len()).collect(), needs, after }
    }

    fn waits(&self, late: usize, early: usize) -> bool {
        self.after[early][late / 64] >> (late % 64) & 1 == 1
    }

    /// Whether step `n` can join the group that starts at `m`.
    fn alike(&self, steps: &[Step], m: usize, n: usize) -> bool {
        let (Step::Launch { func: a, .. }, Step::Launch { func: b, .. }) = (&steps[m], &steps[n]) else { return false };
        self.of[m] == m && Arc::ptr_eq(a, b) && !self.waits(n, m) && !self.waits(m, n)
    }

    /// Puts the group of one step into another group.
    fn join(&mut self, group: usize, n: usize) {
        let both: Vec<u64> = self.after[group].iter().zip(&self.after[n]).map(|(a, b)| a | b).collect();
        for g in 0..self.of.len() {
            if g == group || g == n || self.waits(group, g) || self.waits(n, g) {
                self.after[g].iter_mut().zip(&both).for_each(|(a, b)| *a |= b);
                if g != group && g != n {
                    self.after[g][group / 64] |= 1 << (group % 64);
                    self.after[g][n / 64] |= 1 << (n % 64);
                }
            }
        }
        self.of[n] = group;
    }

    /// The groups in an order in which each comes after what it reads, the earliest first.
    fn order(&self) -> Vec<Vec<usize>> {
        let count = self.of.len();
        let mut members = vec![Vec::new(); count];
        let mut waiting = vec![0usize; count];
        let mut next = vec![Vec::new(); count];
        for (n, group) in self.of.iter().enumerate() {
            members[*group].push(n);
            for need in &self.needs[n] {
                next[self.of[*need]].push(*group);
                waiting[*group] += 1;
            }
        }
        let mut ready: BinaryHeap<Reverse<usize>> =
            (0..count).filter(|g| waiting[*g] == 0 && !members[*g].is_empty()).map(Reverse).collect();
        let mut out = Vec::new();
        while let Some(Reverse(group)) = ready.pop() {
            for follower in &next[group] {
                waiting[*follower] -= 1;
                if waiting[*follower] == 0 {
                    ready.push(Reverse(*follower));
                }
            }
            out.push(std::mem::take(&mut members[group]));
        }
        out
    }

    /// The most bytes that temporaries take at once if the steps run so.
    fn peak(&self, buffers: &[Buffer], steps: &[Step]) -> u64 {
        let order = self.order();
        let touch = |members: &Vec<usize>| -> Vec<usize> {
            members.iter().flat_map(|n| steps[*n].reads().into_iter().chain(steps[*n].writes())).collect()
        };
        memory::peak(buffers, &memory::lives(buffers.len(), order.iter().map(touch)), order.len())
    }
}
