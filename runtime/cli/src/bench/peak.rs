//! What this machine can do at most: multiply-adds in vectors of 128 and 256 bits on one core, and copying memory on all.
//! Measured, not looked up.

#![allow(unsafe_code, reason = "vector instructions that are looked for first")]

use std::time::Instant;

/// Independent sums: more than latency times ports, and few enough for 16 registers.
#[cfg(target_arch = "x86_64")]
const CHAINS: usize = 12;

/// Multiply-adds of f32 a second, each counted as two operations, in 128-bit vectors; `None` where there are none.
pub(super) fn fma_128() -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("fma") {
        // SAFETY: the instructions are there.
        return Some(rate(4, |rounds| unsafe { x86::chains_128(rounds) }));
    }
    None
}

/// As [`fma_128`], in 256-bit vectors.
pub(super) fn fma_256() -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("fma") && is_x86_feature_detected!("avx2") {
        // SAFETY: the instructions are there.
        return Some(rate(8, |rounds| unsafe { x86::chains_256(rounds) }));
    }
    None
}

#[cfg(target_arch = "x86_64")]
fn rate(lanes: usize, run: impl Fn(usize) -> f32) -> f64 {
    const ROUNDS: usize = 100_000;
    let once = || {
        let started = Instant::now();
        std::hint::black_box(run(std::hint::black_box(ROUNDS)));
        started.elapsed().as_secs_f64()
    };
    let best = (0..20).map(|_| once()).fold(f64::INFINITY, f64::min);
    (ROUNDS * CHAINS * lanes * 2) as f64 / best
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128, __m256, _mm_cvtss_f32, _mm_fmadd_ps, _mm_set1_ps, _mm256_cvtss_f32, _mm256_fmadd_ps, _mm256_set1_ps,
    };

    use super::CHAINS;

    #[target_feature(enable = "fma")]
    pub(super) fn chains_128(rounds: usize) -> f32 {
        let (x, y) = (_mm_set1_ps(0.999), _mm_set1_ps(0.001));
        let mut sums: [__m128; CHAINS] = [_mm_set1_ps(0.5); CHAINS];
        for _ in 0..rounds {
            for s in &mut sums {
                *s = _mm_fmadd_ps(*s, x, y);
            }
        }
        sums.iter().map(|s| _mm_cvtss_f32(*s)).sum()
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn chains_256(rounds: usize) -> f32 {
        let (x, y) = (_mm256_set1_ps(0.999), _mm256_set1_ps(0.001));
        let mut sums: [__m256; CHAINS] = [_mm256_set1_ps(0.5); CHAINS];
        for _ in 0..rounds {
            for s in &mut sums {
                *s = _mm256_fmadd_ps(*s, x, y);
            }
        }
        sums.iter().map(|s| _mm256_cvtss_f32(*s)).sum()
    }
}

/// Seconds of one copy between two buffers of a size, by this many threads.
pub(super) fn copy(from: &[f32], to: &mut [f32], threads: usize) -> f64 {
    let part = from.len().div_ceil(threads.max(1)).max(1);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for (from, to) in from.chunks(part).zip(to.chunks_mut(part)) {
            scope.spawn(move || to.copy_from_slice(from));
        }
    });
    started.elapsed().as_secs_f64()
}
