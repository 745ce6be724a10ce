//! What skipping and walking cost: sparse attention against the kept fraction, causal against full attention, and a fused
//! order against memory order. All variants of a table run by turns, so that a busy machine disturbs them alike. It checks
//! no result; tests do.
//!
//! `cargo run --release -p pantile-examples --bin skipping [-- N ROUNDS]`; with `PANTILE_THREADS=1` on one core.

#![allow(clippy::print_stdout, reason = "a program talks to its user")]

use std::time::Instant;

use pantile::{DType, Device, Mask, Out, Tensor};
use pantile_kernels::module;

const HEADS: usize = 2;
const BLOCK: usize = 128;
/// Kept fractions, in per cent.
const KEPT: [usize; 7] = [5, 10, 20, 30, 50, 75, 100];

fn main() -> pantile::Result<()> {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let tokens = numbers.first().copied().unwrap_or(4096).max(1);
    let rounds = numbers.get(1).copied().unwrap_or(11).max(1);
    let device = Device::parse("cpu")?;
    println!("{HEADS} heads, {tokens} tokens, blocks of {BLOCK}, {rounds} rounds by turns");
    for (dtype, dim) in [(DType::F32, 128), (DType::F32, 64), (DType::BF16, 64)] {
        let bench = Bench { device: &device, tokens, rounds, dtype, dim };
        println!("\n{dtype}, D {dim}");
        bench.kept()?;
        bench.causal()?;
    }
    Ok(())
}

/// One measurable thing: runs once.
type Variant<'a> = Box<dyn FnMut() -> pantile::Result<()> + 'a>;

struct Bench<'a> {
    device: &'a Device,
    tokens: usize,
    rounds: usize,
    dtype: DType,
    dim: usize,
}

impl Bench<'_> {
    fn tensor(&self, seed: u64) -> pantile::Result<Tensor> {
        let shape = [1, HEADS, self.tokens, self.dim];
        Tensor::from_f32(self.dtype, &shape, &noise(seed, shape.iter().product()))
    }

    fn scale(&self) -> f32 {
        1.0 / (self.dim as f32).sqrt()
    }

    /// Memory for a kernel's output and its log-sum-exp.
    fn outputs(&self) -> pantile::Result<[Tensor; 2]> {
        let shape = [1, HEADS, self.tokens, self.dim];
        Ok([Tensor::zeros(self.dtype, &shape)?, Tensor::zeros(DType::F32, &shape[..3])?])
    }

    /// Time against the kept fraction: of a straight line through the origin and the last point, the share reached.
    fn kept(&self) -> pantile::Result<()> {
        let (q, k, v) = (self.tensor(1)?, self.tensor(2)?, self.tensor(3)?);
        let kernel = module("attention.tile")?.kernel("attention")?.with("BQ", BLOCK as i64).with("BK", BLOCK as i64);
        let kernel = kernel.on(self.device);
        let masks = KEPT.iter().map(|percent| mask(self.tokens.div_ceil(BLOCK), *percent));
        let masks = masks.collect::<pantile::Result<Vec<_>>>()?;
        let mut variants: Vec<Variant<'_>> = Vec::new();
        for mask in &masks {
            let (kernel, q, k, v, mut outs) = (&kernel, &q, &k, &v, self.outputs()?);
            variants.push(Box::new(move || kernel.call_into((q, k, v, mask, self.scale()), places(&mut outs))));
        }
        let seconds = by_turns(&mut variants, self.rounds)?;
        println!("  kept     ms   of the line through 0 and all");
        for (mask, own) in masks.iter().zip(&seconds) {
            // Ratios within a round, where both were disturbed alike.
            let all = seconds.last().map_or(&[][..], |all| all);
            let share = own.iter().zip(all).map(|(own, all)| own / (all * mask.density())).collect();
            println!("{:5.1} % {:6.2}   {:.3}", 100.0 * mask.density(), 1e3 * median(own.clone()), median(share));
        }
        Ok(())
    }

    fn causal(&self) -> pantile::Result<()> {
        let (q, k, v) = (self.tensor(4)?, self.tensor(5)?, self.tensor(6)?);
        let kernels = [("attention.tile", "attention_dense"), ("masked.tile", "attention_causal")];
        let kernels = kernels.map(|(file, name)| module(file)?.kernel(name));
        let kernels = kernels.into_iter().collect::<pantile::Result<Vec<_>>>()?;
        let mut variants: Vec<Variant<'_>> = Vec::new();
        for kernel in &kernels {
            let kernel = kernel.on(self.device);
            let (q, k, v, mut outs) = (&q, &k, &v, self.outputs()?);
            variants.push(Box::new(move || kernel.call_into((q, k, v, self.scale()), places(&mut outs))));
        }
        let seconds = by_turns(&mut variants, self.rounds)?;
        let ratio = seconds[1].iter().zip(&seconds[0]).map(|(causal, full)| causal / full).collect();
        println!("causal ÷ full: {:.3}", median(ratio));
        Ok(())
    }
}

fn places([out, lse]: &mut [Tensor; 2]) -> Vec<Out<'_>> {
    vec![Out::Tensor(out), Out::Tensor(lse)]
}

/// Runs all variants once to compile them, then by turns. Seconds of each round, by variant.
fn by_turns(variants: &mut [Variant<'_>], rounds: usize) -> pantile::Result<Vec<Vec<f64>>> {
    for variant in variants.iter_mut() {
        variant()?;
    }
    let mut seconds = vec![Vec::new(); variants.len()];
    for _ in 0..rounds {
        for (variant, seconds) in variants.iter_mut().zip(&mut seconds) {
            let started = Instant::now();
            variant()?;
            seconds.push(started.elapsed().as_secs_f64());
        }
    }
    Ok(seconds)
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Keeps `percent` of a row's blocks, at least one: a different choice in each row and head.
fn mask(blocks: usize, percent: usize) -> pantile::Result<Mask> {
    let count = (blocks * percent + 50) / 100;
    let mut keep = Vec::new();
    for row in 0..HEADS * blocks {
        let mut places: Vec<(u32, usize)> =
            noise(row as u64 + 77, blocks).iter().map(|x| x.to_bits()).zip(0..blocks).collect();
        places.sort_unstable();
        let chosen: Vec<usize> = places.iter().take(count.max(1)).map(|p| p.1).collect();
        keep.extend((0..blocks).map(|column| chosen.contains(&column)));
    }
    Mask::from_bools(&[1, HEADS, blocks, blocks], &keep)
}

/// Repeatable numbers in [-1, 1).
fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}
