//! What skipping and walking cost: sparse attention against the kept fraction, causal and windowed against full attention,
//! and fused orders against memory order. All variants of a table run by turns, so that a busy machine disturbs them
//! alike. It checks no result; tests do.
//!
//! `cargo run --release -p pantile-examples --bin skipping [-- N ROUNDS]`; with `PANTILE_THREADS=1` on one core, in CPU time.

#![allow(clippy::print_stdout, reason = "a program talks to its user")]

use pantile::{DType, Device, Mask, Module, OrderArg, Out, Tensor};
use pantile_kernels::module;

mod measure;

use measure::{Variant, by_turns, median, noise, ratio};

const HEADS: usize = 2;
const BLOCK: usize = 128;
const WINDOW: usize = 512;
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
        bench.masked()?;
        bench.orders()?;
    }
    Ok(())
}

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

    /// Time against the kept fraction: of a straight line through the origin and the last point, the share reached.
    fn kept(&self) -> pantile::Result<()> {
        let (q, k, v) = (self.tensor(1)?, self.tensor(2)?, self.tensor(3)?);
        let kernel = module("attention.tile")?.kernel("attention")?.with("BQ", BLOCK as i64).with("BK", BLOCK as i64);
        let kernel = kernel.on(self.device);
        let masks = KEPT.iter().map(|percent| mask(self.tokens.div_ceil(BLOCK), *percent));
        let masks = masks.collect::<pantile::Result<Vec<_>>>()?;
        let mut variants: Vec<Variant<'_>> = Vec::new();
        for mask in &masks {
            let (kernel, q, k, v, [mut out, mut lse]) = (&kernel, &q, &k, &v, self.outputs()?);
            let run = move || {
                let outs = vec![Out::Tensor(&mut out), Out::Tensor(&mut lse)];
                kernel.call_into((q, k, v, mask, self.scale()), outs)
            };
            variants.push(Variant { times: (1.0 / mask.density()).round() as usize, run: Box::new(run) });
        }
        let seconds = by_turns(&mut variants, self.rounds)?;
        println!("  kept     ms   of the line through 0 and all");
        for (mask, own) in masks.iter().zip(&seconds) {
            // Ratios within a round, where both were disturbed alike.
            let all = seconds.last().map_or(&[][..], |all| all);
            let share = ratio(own, all) / mask.density();
            println!("{:5.1} % {:6.2}   {share:.3}", 100.0 * mask.density(), 1e3 * median(own.clone()));
        }
        Ok(())
    }

    /// Masks written for one query and one key, against all keys.
    fn masked(&self) -> pantile::Result<()> {
        let (q, k, v) = (self.tensor(4)?, self.tensor(5)?, self.tensor(6)?);
        let kernels = [
            ("attention.tile", "attention_dense"),
            ("masked.tile", "attention_causal"),
            ("masked.tile", "attention_window"),
        ];
        let mut variants: Vec<Variant<'_>> = Vec::new();
        for (file, name) in kernels {
            let kernel = module(file)?.kernel(name)?.on(self.device);
            let (q, k, v, [mut out, mut lse]) = (&q, &k, &v, self.outputs()?);
            let run = move || {
                let outs = vec![Out::Tensor(&mut out), Out::Tensor(&mut lse)];
                match name {
                    "attention_window" => kernel.call_into((q, k, v, WINDOW as i32, self.scale()), outs),
                    _ => kernel.call_into((q, k, v, self.scale()), outs),
                }
            };
            let share = if name == "attention_window" { self.tokens / WINDOW / 2 } else { 1 };
            variants.push(Variant { times: share.max(1), run: Box::new(run) });
        }
        let seconds = by_turns(&mut variants, self.rounds)?;
        println!("causal ÷ full: {:.3}", ratio(&seconds[1], &seconds[0]));
        println!("window of {WINDOW} ÷ full: {:.3}", ratio(&seconds[2], &seconds[0]));
        Ok(())
    }

    /// Sparse attention through orders, fused into the kernel, against data that lies in that order already.
    fn orders(&self) -> pantile::Result<()> {
        let bench = Bench { tokens: GRID.iter().product::<i64>() as usize, ..*self };
        let (q, k, v) = (bench.tensor(7)?, bench.tensor(8)?, bench.tensor(9)?);
        let mask = mask(bench.tokens.div_ceil(BLOCK), 20)?;
        let [f, y, x] = GRID;
        let size = [("F", f), ("Y", y), ("X", x)];
        let windows = [&size[..], &[("wf", 2), ("wy", 8), ("wx", 8)]].concat();
        let walks = [
            ("windows of 2×8×8", OrderArg::named("windows", windows)),
            ("Hilbert's curve", OrderArg::named("hilbert", size)),
            ("no order at all", OrderArg::table(shuffle(bench.tokens))?),
        ];
        let module = Module::from_texts("walked.tile", WALKED, pantile_kernels::FILES)?;
        let (straight, walked) =
            (module.pipeline("straight")?.on(self.device), module.pipeline("walked")?.on(self.device));
        let (q, k, v, mask, scale) = (&q, &k, &v, &mask, bench.scale());
        let run = || straight.call((q, k, v, mask, scale)).map(|_| ());
        // A clock of CPU time may tick only every few milliseconds.
        let times = (32_768 / self.tokens).clamp(1, 16);
        let mut variants = vec![Variant { times, run: Box::new(run) }];
        for (_, walk) in &walks {
            let walked = &walked;
            let run = move || walked.call((q, k, v, mask, scale, walk)).map(|_| ());
            variants.push(Variant { times, run: Box::new(run) });
        }
        let seconds = by_turns(&mut variants, self.rounds)?;
        for ((name, _), own) in walks.iter().zip(&seconds[1..]) {
            println!("{name} ÷ memory order: {:.3}", ratio(own, &seconds[0]));
        }
        Ok(())
    }

    fn outputs(&self) -> pantile::Result<[Tensor; 2]> {
        let out = Tensor::zeros(self.dtype, &[1, HEADS, self.tokens, self.dim])?;
        Ok([out, Tensor::zeros(DType::F32, &[1, HEADS, self.tokens])?])
    }
}

/// The video that is walked, ragged as most are: frames, rows, columns.
const GRID: [i64; 3] = [9, 20, 26];

/// Sparse attention in memory order and through any walk.
const WALKED: &str = r#"
use "attention.tile"::{attention};
use "windows.tile"::{windows};
use "orders.tile"::{hilbert};

pipeline straight<T: float>(
    q: tensor<T>[B, H, N, D], k: tensor<T>[B, G, N, D], v: tensor<T>[B, G, N, D], keep: mask[B, H, NB, NB], scale: f32,
) -> (out: tensor<T>[B, H, N, D]) {
    let (o, l) = attention(q, k, v, keep, scale);
    out = o;
}

pipeline walked<T: float>(
    q: tensor<T>[B, H, N, D], k: tensor<T>[B, G, N, D], v: tensor<T>[B, G, N, D], keep: mask[B, H, NB, NB], scale: f32,
    walk: order,
) -> (out: tensor<T>[B, H, N, D]) {
    let (o, l) = attention(permute(q, N via walk), permute(k, N via walk), permute(v, N via walk), keep, scale);
    out = unpermute(o, N via walk);
}
"#;

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

/// All elements in no order at all.
fn shuffle(count: usize) -> Vec<i32> {
    let mut places: Vec<(u32, i32)> = noise(5, count).iter().map(|x| x.to_bits()).zip(0..).collect();
    places.sort_unstable();
    places.into_iter().map(|p| p.1).collect()
}
