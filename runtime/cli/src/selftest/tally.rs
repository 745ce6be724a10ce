//! What came of the cases of an item, and its row on the screen. It runs nothing.

use pantile::DType;

use super::cases::Row;
use super::compare::{Verdict, allowed};
use crate::screen;

/// What came of the cases of an item so far.
pub(super) struct Tally<'a> {
    name: &'a str,
    dtype: String,
    allowed: f64,
    /// Cases that are not there yet.
    left: usize,
    compared: usize,
    wrong: usize,
    worst: f64,
    /// Whether it must be compared in some case.
    alone: bool,
}

impl<'a> Tally<'a> {
    pub(super) fn of(row: &'a Row<'_>) -> Self {
        let (dtype, allowed, alone) = match (row.is_order(), row.dtype) {
            (true, _) => ("order".to_owned(), allowed(Some(DType::I32)), true),
            (false, dtype) => (dtype.map_or_else(String::new, |d| d.to_string()), allowed(dtype), dtype.is_none()),
        };
        let left = row.cases.len();
        Self { name: row.name(), dtype, allowed, left, compared: 0, wrong: 0, worst: 0.0, alone }
    }

    pub(super) fn add(&mut self, sizes: &str, verdict: Verdict, failures: &mut Vec<String>) {
        self.left = self.left.saturating_sub(1);
        let mut fail = |why: String| {
            self.wrong += 1;
            failures.push(format!("{} {} at `{sizes}`: {why}", self.name, self.dtype));
        };
        match verdict {
            Verdict::BothRefuse => {}
            Verdict::Wrong(why) => fail(why),
            Verdict::Distance(far) => {
                self.compared += 1;
                self.worst = self.worst.max(far);
                if far > self.allowed {
                    fail(format!("off by {far:.1e} of the largest element, {:.1e} is allowed", self.allowed));
                }
            }
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.left == 0
    }

    pub(super) fn show(&self, failures: &mut Vec<String>) {
        // A dtype that the item refuses in all cases has no row, unless it is the only one.
        if self.compared == 0 && self.wrong == 0 {
            if self.alone {
                failures.push(format!("{}: no case could be compared", self.name));
            }
            return;
        }
        let Self { name, dtype, compared, wrong, worst, allowed, .. } = self;
        let end = if *wrong == 0 { String::new() } else { format!("  {wrong} WRONG") };
        screen::line(&format!("{name:28} {dtype:8} {compared:>5} {worst:>10.1e} {allowed:>10.1e}{end}"));
    }
}
