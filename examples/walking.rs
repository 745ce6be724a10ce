//! What walking an order costs: sparse attention through fused orders against the same attention over data that lies in
//! that order already, with one mask. All variants run by turns, so that a busy machine disturbs them alike. It checks no
//! result; tests do.
//!
//! `cargo run --release -p pantile-examples --bin walking [-- F Y X ROUNDS]`; with `PANTILE_THREADS=1` on one core.

#![allow(clippy::print_stdout, reason = "a program talks to its user")]

use std::time::Instant;

use pantile::{Arg, DType, Device, Mask, Module, OrderArg, Scalar, Tensor};
use pantile_kernels::FILES;

const SOURCE: &str = r#"
use "attention.tile"::{attention};
use "windows.tile"::{windows_paper};
use "orders.tile"::{raster, hilbert};

pipeline walked<T: float>(
    q: tensor<T>[B, H, N, D], k: tensor<T>[B, H, N, D], v: tensor<T>[B, H, N, D],
    keep: mask[B, H, NQ, NK], scale: f32, walk: order,
) -> (out: tensor<T>[B, H, N, D], lse: tensor<f32>[B, H, N]) {
    let (q, k, v) = (permute(q, N via walk), permute(k, N via walk), permute(v, N via walk));
    let (o, l) = attention(q, k, v, keep, scale);
    out = unpermute(o, N via walk);
    lse = unpermute(l, N via walk);
}

pipeline straight<T: float>(
    q: tensor<T>[B, H, N, D], k: tensor<T>[B, H, N, D], v: tensor<T>[B, H, N, D], keep: mask[B, H, NQ, NK], scale: f32,
) -> (out: tensor<T>[B, H, N, D], lse: tensor<f32>[B, H, N]) {
    let (o, l) = attention(q, k, v, keep, scale);
    out = o;
    lse = l;
}
"#;

const HEADS: usize = 2;
const BLOCK: usize = 128;

fn main() -> pantile::Result<()> {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let number = |n: usize, default: usize| numbers.get(n).copied().unwrap_or(default).max(1);
    let (grid, rounds) = ([number(0, 9), number(1, 20), number(2, 26)], number(3, 11));
    let device = Device::parse("cpu")?;
    let module = Module::from_texts("walking.tile", SOURCE, FILES)?;
    println!("{HEADS} heads, grid {grid:?}, blocks of {BLOCK}, a fifth kept, {rounds} rounds by turns");
    for (dtype, dim) in [(DType::F32, 128), (DType::F32, 64), (DType::F32, 32), (DType::BF16, 64)] {
        measure(&device, &module, grid, (dtype, dim), rounds)?;
    }
    Ok(())
}

fn measure(
    device: &Device,
    module: &Module,
    grid @ [f, y, x]: [usize; 3],
    (dtype, dim): (DType, usize),
    rounds: usize,
) -> pantile::Result<()> {
    let tokens = f * y * x;
    let shape = [1, HEADS, tokens, dim];
    let tensor = |seed| Tensor::from_f32(dtype, &shape, &noise(seed, shape.iter().product()));
    let (q, k, v) = (tensor(1)?, tensor(2)?, tensor(3)?);
    let mask = mask(tokens.div_ceil(BLOCK))?;
    let scale = Scalar::Float(1.0 / (dim as f64).sqrt());
    let base = [Arg::Tensor(&q), Arg::Tensor(&k), Arg::Tensor(&v), Arg::Mask(&mask), Arg::Scalar(scale)];
    let sides = grid.map(|n| n as i64);
    let sized = [("F", sides[0]), ("Y", sides[1]), ("X", sides[2])];
    let mut windows = sized.to_vec();
    windows.extend([("text", 0), ("lone_last", 1)]);
    let walks = [
        ("raster", OrderArg::named("raster", sized)),
        ("windows_paper", OrderArg::named("windows_paper", windows)),
        ("hilbert", OrderArg::named("hilbert", sized)),
        ("a shuffle", OrderArg::table(shuffle(tokens))?),
    ];
    let straight = module.pipeline("straight")?.on(device);
    let walked = module.pipeline("walked")?.on(device);
    let mut seconds = vec![Vec::new(); walks.len() + 1];
    // The first round compiles and is not counted.
    for round in 0..=rounds {
        for (n, seconds) in seconds.iter_mut().enumerate() {
            let started = Instant::now();
            match n.checked_sub(1) {
                None => drop(straight.call(base)?),
                Some(n) => drop(walked.call([&base[..], &[Arg::Order(&walks[n].1)]].concat())?),
            }
            if round > 0 {
                seconds.push(started.elapsed().as_secs_f64());
            }
        }
    }
    println!("\n{dtype}, D {dim}: {:.2} ms in memory order", 1e3 * median(seconds[0].clone()));
    println!("{:14} median of rounds, least of each", "");
    for ((name, _), own) in walks.iter().zip(&seconds[1..]) {
        // Ratios within a round, where both were disturbed alike.
        let ratio = own.iter().zip(&seconds[0]).map(|(own, straight)| own / straight).collect();
        println!("{name:14} {:.3}             {:.3}", median(ratio), least(own) / least(&seconds[0]));
    }
    Ok(())
}

fn least(of: &[f64]) -> f64 {
    of.iter().copied().fold(f64::INFINITY, f64::min)
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Keeps a fifth of a row's blocks: a different choice in each row and head.
fn mask(blocks: usize) -> pantile::Result<Mask> {
    let mut keep = Vec::new();
    for row in 0..HEADS * blocks {
        let mut places: Vec<(u32, usize)> =
            noise(row as u64 + 77, blocks).iter().map(|x| x.to_bits()).zip(0..blocks).collect();
        places.sort_unstable();
        let chosen: Vec<usize> = places.iter().take(blocks.div_ceil(5)).map(|p| p.1).collect();
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
