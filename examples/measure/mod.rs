//! What the measuring examples share: variants that run by turns, a clock, and statistics. It measures nothing itself.

use std::time::Instant;

/// One measurable thing.
pub struct Variant<'a> {
    /// How often it runs in a round: as often as makes all variants take about as long.
    pub times: usize,
    pub run: Box<dyn FnMut() -> pantile::Result<()> + 'a>,
}

/// Runs all variants once to compile them, then by turns. Seconds of a run in each round, by variant.
pub fn by_turns(variants: &mut [Variant<'_>], rounds: usize) -> pantile::Result<Vec<Vec<f64>>> {
    for variant in variants.iter_mut() {
        (variant.run)()?;
    }
    let mut seconds = vec![Vec::new(); variants.len()];
    let clock = Clock::new();
    for _ in 0..rounds {
        for (variant, seconds) in variants.iter_mut().zip(&mut seconds) {
            let started = clock.seconds();
            for _ in 0..variant.times {
                (variant.run)()?;
            }
            seconds.push((clock.seconds() - started) / variant.times as f64);
        }
    }
    Ok(seconds)
}

/// On one worker, the time that this thread was running, where the system tells it: others on the machine do not count.
/// Else the time on the wall.
struct Clock {
    start: Instant,
    alone: bool,
}

impl Clock {
    fn new() -> Self {
        let alone = std::env::var("PANTILE_THREADS").is_ok_and(|n| n == "1");
        Self { start: Instant::now(), alone }
    }

    fn seconds(&self) -> f64 {
        let running = || {
            let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        };
        match running().filter(|_| self.alone) {
            Some(nanoseconds) => nanoseconds as f64 * 1e-9,
            None => self.start.elapsed().as_secs_f64(),
        }
    }
}

pub fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median over rounds of one variant's time in another's.
pub fn ratio(own: &[f64], other: &[f64]) -> f64 {
    median(own.iter().zip(other).map(|(own, other)| own / other).collect())
}

/// Repeatable numbers in [-1, 1).
pub fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}
