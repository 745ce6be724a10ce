//! The schedule as text, for `pantile emit --stage schedule`: rings with their sizes, then the function's loops with what
//! is filled in them and how they are cut. It is read by people and not parsed.

use std::fmt::Write;

use pantile_ir::{Func, Inst, Op, Region};

use super::{PRODUCER_WARPS, Schedule, place};

impl Schedule {
    /// The table, beside the function that it was made for.
    pub(crate) fn print(&self, func: &Func, warps: &str) -> String {
        let mut text = format!("schedule @{} {warps}\n", func.name);
        let registers = |n: u32| if n == 0 { String::new() } else { format!(", {n} registers") };
        if self.specialised() {
            let _ = writeln!(text, "  producer {PRODUCER_WARPS} warps{}", registers(self.registers.0));
        }
        let _ = writeln!(text, "  consumers {} warps{}", self.consumers, registers(self.registers.1));
        for (n, ring) in self.rings.iter().enumerate() {
            let free = if ring.by_warp { "warps" } else { "threads" };
            let _ = writeln!(
                text,
                "  ring {n} {}: {} stages of {} KiB, freed by {free}",
                ring.name,
                ring.stages,
                ring.bytes.div_ceil(1024)
            );
        }
        self.region(func, &func.body, 1, &mut text);
        text
    }

    fn region(&self, func: &Func, region: &Region, depth: usize, text: &mut String) {
        for inst in &region.insts {
            self.inst(func, inst, depth, text);
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "only loops have a heading of their own")]
    fn inst(&self, func: &Func, inst: &Inst, depth: usize, text: &mut String) {
        let pad = "  ".repeat(depth);
        let results: Vec<String> = inst.results.iter().map(|r| format!("%{}", r.0)).collect();
        if let Some(fill) = inst.results.first().and_then(|r| self.fills.get(r)) {
            let _ = writeln!(text, "{pad}fill {} ring {}", results.join(", "), fill.ring.0);
            return;
        }
        if !matches!(inst.op, Op::For(_) | Op::If) {
            return;
        }
        let mut inner = String::new();
        inst.regions.iter().for_each(|r| self.region(func, r, depth + 1, &mut inner));
        let rotation = self.rotations.get(&place(inst));
        if inner.is_empty() && rotation.is_none() {
            return;
        }
        let name = if matches!(inst.op, Op::For(_)) { "for" } else { "if" };
        let chained =
            if self.chains.contains_key(&place(inst)) { ", each round's products under way in the next" } else { "" };
        let _ = writeln!(text, "{pad}{name} {}{chained}", results.join(", "));
        if let Some(rotation) = rotation {
            let part = |late: bool| {
                let insts = inst.body().insts.iter().zip(&rotation.late).filter(|(_, l)| **l == late);
                insts.flat_map(|(i, _)| &i.results).map(|r| format!("%{}", r.0)).collect::<Vec<_>>().join(" ")
            };
            let cross: Vec<String> = rotation.cross.iter().map(|r| format!("%{}", r.0)).collect();
            let _ = writeln!(text, "{pad}  next round: {}", part(false));
            let _ = writeln!(text, "{pad}  this round: {} from {}", part(true), cross.join(" "));
        }
        text.push_str(&inner);
    }
}
