//! Which memory holds what, and when: lives of buffers, and places that temporaries use one after another. Nothing is
//! allocated here; the runtime allocates a place at its first use and frees it after its last.
//!
//! ```text
//! step      0     1     2     3
//! a      ●━━━━━━━━●                     place 0
//! b            ●━━━━━━━━●               place 1
//! c                  ●━━━━━━━━●         place 0: a is dead
//! ```
//! A buffer gets the smallest free place that is large enough; if none is, the largest free one grows; if none is free, it
//! gets its own. What one step touches never shares a place.

use super::whole::whole;
use super::{Buffer, Plan, Role, Step};

/// The bytes that a plan's run takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// The caller's tensors and masks.
    pub inputs: u64,
    /// What is given back.
    pub outputs: u64,
    /// All temporaries, if each had memory of its own.
    pub temporaries: u64,
    /// The places that the temporaries share.
    pub places: u64,
    /// The most that the run itself holds at once: outputs made so far and places in use.
    pub peak: u64,
}

/// The first and last step that touch each buffer; `touch` gives the buffers of each step.
pub(super) fn lives(count: usize, touch: impl Iterator<Item = Vec<usize>>) -> Vec<Option<(usize, usize)>> {
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; count];
    for (at, buffers) in touch.enumerate() {
        for buffer in buffers {
            let (first, _) = lives[buffer].unwrap_or((at, at));
            lives[buffer] = Some((first, at));
        }
    }
    lives
}

/// The most bytes of temporaries that live at once.
pub(super) fn peak(buffers: &[Buffer], lives: &[Option<(usize, usize)>], steps: usize) -> u64 {
    let temps = buffers.iter().zip(lives).filter(|(b, _)| b.role == Role::Temp);
    running_peak(temps.filter_map(|(b, life)| life.map(|(first, last)| (first, last, b.what.bytes()))), steps)
}

/// The largest sum of bytes over the steps; each row is alive from its first to its last step.
fn running_peak(rows: impl Iterator<Item = (usize, usize, u64)>, steps: usize) -> u64 {
    let mut change = vec![(0u64, 0u64); steps + 1];
    for (first, last, bytes) in rows {
        change[first].0 = change[first].0.saturating_add(bytes);
        change[last + 1].1 = change[last + 1].1.saturating_add(bytes);
    }
    let (mut alive, mut most) = (0u64, 0);
    for (born, dead) in change {
        alive = alive.saturating_sub(dead).saturating_add(born);
        most = most.max(alive);
    }
    most
}

/// Writes down the lives of all buffers and gives temporaries their places; the bytes of each place.
pub(super) fn place(buffers: &mut [Buffer], steps: &[Step]) -> Vec<u64> {
    let touch = |step: &Step| step.reads().into_iter().chain(step.writes()).collect();
    let lives = lives(buffers.len(), steps.iter().map(touch));
    buffers.iter_mut().zip(lives).for_each(|(buffer, life)| buffer.life = life);
    let mut places: Vec<u64> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let mut born: Vec<usize> = step.writes();
        born.sort_by_key(|b| std::cmp::Reverse(buffers[*b].what.bytes()));
        for buffer in born {
            buffers[buffer].whole = whole(step, buffer);
            if buffers[buffer].role == Role::Temp {
                let parts = buffers[buffer].what.parts();
                buffers[buffer].places = parts.iter().map(|bytes| fit(*bytes, &mut places, &mut free)).collect();
            }
        }
        let dead = |b: &&Buffer| b.role == Role::Temp && b.life.is_some_and(|(_, last)| last == at);
        free.extend(buffers.iter().filter(dead).flat_map(|b| b.places.iter().copied()));
    }
    places
}

/// A place for so many bytes.
fn fit(bytes: u64, places: &mut Vec<u64>, free: &mut Vec<usize>) -> usize {
    let large = (0..free.len()).filter(|n| places[free[*n]] >= bytes).min_by_key(|n| places[free[*n]]);
    match large.or_else(|| (0..free.len()).max_by_key(|n| places[free[*n]])) {
        Some(n) => {
            let place = free.swap_remove(n);
            places[place] = places[place].max(bytes);
            place
        }
        None => {
            places.push(bytes);
            places.len() - 1
        }
    }
}

impl Plan {
    /// The first and the last step at which each place is in use.
    pub fn place_lives(&self) -> Vec<Option<(usize, usize)>> {
        let mut lives: Vec<Option<(usize, usize)>> = vec![None; self.places.len()];
        for buffer in &self.buffers {
            for (place, (first, last)) in buffer.places.iter().filter_map(|p| Some((*p, buffer.life?))) {
                let (a, b) = lives[place].unwrap_or((first, last));
                lives[place] = Some((a.min(first), b.max(last)));
            }
        }
        lives
    }

    /// The bytes that a run takes.
    pub fn footprint(&self) -> Footprint {
        let sum = |test: &dyn Fn(&Buffer) -> bool| {
            self.buffers.iter().filter(|b| test(b)).map(|b| b.what.bytes()).fold(0, u64::saturating_add)
        };
        let end = self.steps.len().saturating_sub(1);
        let made = self.buffers.iter().filter(|b| matches!(b.role, Role::Output(_)));
        let outputs = made.map(|b| (b.life.map_or(end, |(first, _)| first), end, b.what.bytes()));
        let places = self.place_lives().into_iter().zip(&self.places);
        let places = places.filter_map(|(life, bytes)| life.map(|(first, last)| (first, last, *bytes)));
        Footprint {
            inputs: sum(&|b| matches!(b.role, Role::Input(_))),
            outputs: sum(&|b| matches!(b.role, Role::Output(_))),
            temporaries: sum(&|b| b.role == Role::Temp && b.life.is_some()),
            places: self.places.iter().copied().fold(0, u64::saturating_add),
            peak: running_peak(outputs.chain(places), self.steps.len().max(1)),
        }
    }
}

/// Bytes for people: `2.6 MB`.
pub(super) fn readable(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut unit = 0;
    let mut n = bytes as f64;
    while n >= 999.5 && unit + 1 < UNITS.len() {
        n /= 1000.0;
        unit += 1;
    }
    let digits = if unit == 0 || n >= 99.95 {
        0
    } else if n >= 9.995 {
        1
    } else {
        2
    };
    format!("{n:.digits$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::{fit, readable, running_peak};

    #[test]
    fn the_smallest_place_that_fits_is_taken() {
        let (mut places, mut free) = (vec![10, 40, 20], vec![0, 1, 2]);
        assert_eq!(fit(15, &mut places, &mut free), 2);
        assert_eq!(fit(50, &mut places, &mut free), 1, "the largest grows");
        assert_eq!((fit(1, &mut places, &mut free), fit(1, &mut places, &mut free)), (0, 3));
        assert_eq!(places, [10, 50, 20, 1]);
    }

    #[test]
    fn peaks_count_what_lives_at_once() {
        assert_eq!(running_peak([(0, 1, 5), (1, 2, 7), (2, 3, 4)].into_iter(), 4), 12);
        assert_eq!(running_peak(std::iter::empty(), 0), 0);
    }

    #[test]
    fn bytes_read_well() {
        let cases = [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (12_345, "12.3 kB"), (999_600, "1.00 MB")];
        cases.into_iter().for_each(|(n, text)| assert_eq!(readable(n), text));
        assert_eq!(readable(u64::MAX), "18.4 EB");
    }
}
