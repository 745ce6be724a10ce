//! Repeatable choices from a seed, for tests that draw their cases. It knows nothing of what is drawn.

use std::ops::RangeInclusive;

/// A stream of choices (SplitMix64): one seed, one stream.
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xD134_2543_DE82_EF95))
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// A number of the range.
    pub fn number(&mut self, range: RangeInclusive<usize>) -> usize {
        range.start() + (self.bits() % (range.end() - range.start() + 1) as u64) as usize
    }

    /// One of these.
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.number(0..=from.len() - 1)].clone()
    }

    /// True in so many of a hundred.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.bits() % 100 < chance
    }

    /// Uniform in [0, 1), with 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// So many numbers, uniform between `-size` and `size`.
    pub fn noise(&mut self, count: usize, size: f64) -> Vec<f32> {
        (0..count).map(|_| ((2.0 * self.unit() - 1.0) * size) as f32).collect()
    }

    /// The numbers below `count`, shuffled.
    pub fn shuffled(&mut self, count: usize) -> Vec<i32> {
        let mut all: Vec<i32> = (0..count as i32).collect();
        for n in (1..count).rev() {
            all.swap(n, self.number(0..=n));
        }
        all
    }

    /// A walk through `count` tokens; with gaps (-1) between them if asked, sometimes long ones.
    pub fn walk(&mut self, count: usize, gaps: bool) -> Vec<i32> {
        let mut walk = Vec::new();
        for token in self.shuffled(count) {
            if gaps && self.percent(10) {
                let gap = self.number(1..=40);
                walk.resize(walk.len() + gap, -1);
            }
            walk.push(token);
        }
        walk
    }
}
