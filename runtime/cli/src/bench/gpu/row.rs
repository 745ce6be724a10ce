//! A line of results: times of both sides, rates, errors; how it is printed and written. It measures nothing but by turns.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::cases::{Side, median};
use crate::screen;

/// The other side of a comparison.
pub(super) struct Beside {
    pub label: String,
    /// Seconds of each round, or why there are none.
    pub times: Result<Vec<f64>, String>,
    /// How much more its work is than ours.
    pub factor: f64,
    /// How far it is off.
    pub error: Option<f64>,
}

impl Beside {
    pub(super) fn new(label: impl Into<String>, times: Result<Vec<f64>, String>) -> Self {
        Self { label: label.into(), times, factor: 1.0, error: None }
    }
}

/// One measurement.
pub(super) struct Row {
    pub case: &'static str,
    pub what: String,
    /// Seconds of each round.
    pub times: Vec<f64>,
    /// What is done in that time: FLOP or bytes.
    pub amount: Option<(f64, &'static str)>,
    /// How far the result is off, and may be.
    pub error: Option<(f64, f64)>,
    pub beside: Vec<Beside>,
    /// What else is known.
    pub notes: Vec<String>,
}

/// Runs each side once to warm it up, then all by turns. What failed once is not run again.
pub(super) fn by_turns(mut sides: Vec<Side<'_>>, rounds: usize) -> Vec<Result<Vec<f64>, String>> {
    let mut times: Vec<Result<Vec<f64>, String>> = sides.iter().map(|_| Ok(Vec::new())).collect();
    for round in 0..=rounds {
        for (side, times) in sides.iter_mut().zip(&mut times) {
            let Ok(so_far) = times else { continue };
            match side() {
                Ok(_) if round == 0 => {}
                Ok(seconds) => so_far.push(seconds),
                Err(why) => *times = Err(why),
            }
        }
    }
    times
}

pub(super) fn head() -> String {
    format!("{:56} {:>10} {:>15} {:>6} {:>8}", "", "time", "rate", "ratio", "error")
}

/// A number of things a second.
fn rate(amount: Option<(f64, &'static str)>, seconds: f64) -> String {
    match amount {
        Some((n, "B")) => format!("{:.0} GB/s", n / seconds / 1e9),
        Some((n, unit)) => format!("{:.1} T{unit}/s", n / seconds / 1e12),
        None => String::new(),
    }
}

fn time(seconds: f64) -> String {
    Duration::try_from_secs_f64(seconds).map_or("-".into(), screen::time)
}

fn error(error: Option<f64>) -> String {
    error.map_or_else(String::new, |e| format!("{e:.1e}"))
}

impl Row {
    /// Whether the result is not what it should be.
    pub(super) fn is_wrong(&self) -> bool {
        self.error.is_some_and(|(off, most)| off.is_nan() || off > most)
    }

    fn seconds(&self) -> f64 {
        median(self.times.clone())
    }

    /// How many times as fast as the other side this one is: the median of the rounds.
    fn ratio(&self, beside: &Beside) -> Option<f64> {
        let times = beside.times.as_ref().ok().filter(|times| !times.is_empty())?;
        Some(median(self.times.iter().zip(times).map(|(own, other)| other / own / beside.factor).collect()))
    }

    /// This side's line, and one for each other side.
    pub(super) fn lines(&self) -> Vec<String> {
        let seconds = self.seconds();
        let (off, wrong) = (error(self.error.map(|(off, _)| off)), if self.is_wrong() { "  WRONG" } else { "" });
        let (time, per) = (time(seconds), rate(self.amount, seconds));
        let mut lines = vec![format!("{:56} {time:>10} {per:>15} {:>6} {off:>8}{wrong}", self.what, "")];
        lines.extend(self.beside.iter().map(|beside| self.line(beside)));
        lines.extend(self.notes.iter().map(|note| format!("  {note}")));
        lines
    }

    fn line(&self, beside: &Beside) -> String {
        let label = format!("  beside {}", beside.label);
        match (&beside.times, self.ratio(beside)) {
            (Ok(times), Some(ratio)) => {
                let seconds = median(times.clone());
                let per = rate(self.amount.map(|(n, unit)| (n * beside.factor, unit)), seconds);
                let off = error(beside.error);
                format!("{label:56} {:>10} {per:>15} {ratio:>6.3} {off:>8}", time(seconds))
            }
            (Ok(_), None) => format!("{label:56} {:>10}", "-"),
            (Err(why), _) => format!("{label:56} {:>10}  {why}", "-"),
        }
    }

    pub(super) fn json(&self) -> Value {
        let beside = |b: &Beside| {
            let times = b.times.as_ref().ok();
            json!({
                "label": b.label, "seconds": times.map(|t| spread(t)), "ratio": self.ratio(b), "error": b.error,
                "why_not": b.times.as_ref().err(),
            })
        };
        json!({
            "case": self.case, "what": self.what, "seconds": spread(&self.times),
            "amount": self.amount.map(|(n, _)| n), "unit": self.amount.map(|(_, unit)| unit),
            "error": self.error.map(|(off, _)| off), "allowed": self.error.map(|(_, most)| most),
            "beside": self.beside.iter().map(beside).collect::<Vec<_>>(), "notes": self.notes,
        })
    }
}

/// The median, the least and the most.
fn spread(times: &[f64]) -> Value {
    let of = |pick: fn(f64, f64) -> f64| times.iter().copied().reduce(pick);
    json!({ "median": median(times.to_vec()), "least": of(f64::min), "most": of(f64::max) })
}

#[cfg(test)]
mod tests {
    use super::{Beside, Row, by_turns};

    fn row(error: f64) -> Row {
        let other = Beside { factor: 2.0, error: Some(0.5), ..Beside::new("other", Ok(vec![4.0, 8.0, 6.0])) };
        let beside = vec![other, Beside::new("none", Err("no such thing".into()))];
        let (times, amount, error) = (vec![1.0, 1.0, 2.0], Some((2e12, "FLOP")), Some((error, 0.01)));
        Row { case: "x", what: "work".into(), times, amount, error, beside, notes: vec!["aside".into()] }
    }

    #[test]
    fn rows_say_times_rates_ratios_and_why_not() {
        let lines = row(0.001).lines();
        assert!(
            lines[0].contains("1.00 s") && lines[0].contains("2.0 TFLOP/s") && lines[0].contains("1.0e-3"),
            "{lines:?}"
        );
        // Medians of 4/1, 8/1, 6/2, each of twice the work.
        assert!(lines[1].contains("2.000") && lines[1].contains("6.00 s") && lines[1].contains("5.0e-1"), "{lines:?}");
        assert!(lines[2].contains("no such thing") && lines[3].contains("aside"), "{lines:?}");
        let json = row(0.001).json();
        assert_eq!(json["seconds"]["median"], 1.0);
        assert_eq!(
            (&json["beside"][0]["ratio"], &json["beside"][1]["why_not"]),
            (&2.0.into(), &"no such thing".into())
        );
    }

    #[test]
    fn wrong_results_are_told() {
        assert!(!row(0.01).is_wrong());
        for wrong in [0.02, f64::NAN, f64::INFINITY] {
            assert!(row(wrong).is_wrong() && row(wrong).lines()[0].contains("WRONG"), "{wrong}");
        }
    }

    #[test]
    fn a_side_that_fails_is_not_run_again() {
        let mut runs = [0, 0];
        let [a, b] = &mut runs;
        let good = Box::new(|| {
            *a += 1;
            Ok(f64::from(*a))
        });
        let bad = Box::new(|| {
            *b += 1;
            if *b > 1 { Err("stopped".into()) } else { Ok(1.0) }
        });
        let times = by_turns(vec![good, bad], 3);
        // The first run warms up.
        assert_eq!(times, [Ok(vec![2.0, 3.0, 4.0]), Err("stopped".into())]);
        assert_eq!(runs, [4, 2]);
    }
}
