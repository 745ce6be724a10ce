//! How fast the shipped kernels are that are not attention: a matrix product in multiply-adds a second, and kernels bound
//! by memory beside a copy of as many bytes, run by turns. It checks no result; tests do.
//!
//! `cargo run --release -p pantile-examples --bin rates [-- MEBIBYTES ROUNDS]`; with `PANTILE_THREADS=1` on one core, in CPU
//! time.

#![allow(clippy::print_stdout, reason = "a program talks to its user")]

use pantile::{DType, Device, Out, Tensor};
use pantile_kernels::module;

mod measure;

use measure::{Variant, by_turns, median, noise, ratio};

fn main() -> pantile::Result<()> {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let mebibytes = numbers.first().copied().unwrap_or(256).max(1);
    let rounds = numbers.get(1).copied().unwrap_or(7).max(1);
    let device = Device::parse("cpu")?;
    // The rows of the first lie so far apart that they crowd a cache; those of the second do not.
    for size in if mebibytes < 16 { [64, 72] } else { [1024, 1152] } {
        product(&device, size, rounds)?;
    }
    for dim in [128, 4096] {
        rows(&device, mebibytes * (1 << 20) / 4 / dim, dim, rounds)?;
    }
    Ok(())
}

/// `a · b` of square matrices.
fn product(device: &Device, size: usize, rounds: usize) -> pantile::Result<()> {
    let square = |seed| Tensor::from_slice(&[size, size], &noise(seed, size * size));
    let (a, b, bias) = (square(1)?, square(2)?, Tensor::from_slice(&[size], &noise(3, size))?);
    let mut c = Tensor::zeros(DType::F32, &[size, size])?;
    let kernel = module("matmul.tile")?.kernel("matmul")?.on(device);
    let run = || kernel.call_into((&a, &b, &bias, false), vec![Out::Tensor(&mut c)]);
    let seconds = by_turns(&mut [Variant { times: 4, run: Box::new(run) }], rounds)?;
    let seconds = median(seconds.into_iter().flatten().collect());
    println!("matrix product f32 {size}³: {:.1} GFLOP/s", 2.0 * (size as f64).powi(3) / seconds / 1e9);
    Ok(())
}

/// Kernels over rows of `dim` numbers.
fn rows(device: &Device, count: usize, dim: usize, rounds: usize) -> pantile::Result<()> {
    let data = noise(4, count * dim);
    let x = Tensor::from_slice(&[count, dim], &data)?;
    let blocks = Tensor::from_slice(&[1, 1, count, dim], &data)?;
    let (weight, bias) = (Tensor::from_slice(&[dim], &noise(5, dim))?, Tensor::from_slice(&[dim], &noise(6, dim))?);
    let mut variants: Vec<(&str, Variant<'_>)> = Vec::new();
    let (mut copied, from) = (vec![0f32; count * dim], &data);
    let copy = move || {
        copied.copy_from_slice(from);
        std::hint::black_box(&mut copied);
        Ok(())
    };
    variants.push(("copy", Variant { times: 1, run: Box::new(copy) }));
    for name in ["softmax_rows", "rms_norm", "layer_norm"] {
        let kernel = module("norm.tile")?.kernel(name)?.on(device);
        let (x, weight, bias, mut y) = (&x, &weight, &bias, Tensor::zeros(DType::F32, &[count, dim])?);
        let run = move || {
            let out = vec![Out::Tensor(&mut y)];
            match name {
                "softmax_rows" => kernel.call_into((x,), out),
                "rms_norm" => kernel.call_into((x, weight, 1e-6f32), out),
                _ => kernel.call_into((x, weight, bias, 1e-6f32), out),
            }
        };
        variants.push((name, Variant { times: 1, run: Box::new(run) }));
    }
    let kernel = module("rainfusion.tile")?.kernel("block_means")?.on(device);
    let mut means = Tensor::zeros(DType::F32, &[1, 1, count.div_ceil(128), dim])?;
    let blocks = &blocks;
    let run = move || kernel.call_into((blocks,), vec![Out::Tensor(&mut means)]);
    variants.push(("block_means", Variant { times: 1, run: Box::new(run) }));
    let (names, mut variants): (Vec<&str>, Vec<Variant<'_>>) = variants.into_iter().unzip();
    let seconds = by_turns(&mut variants, rounds)?;
    println!("\n{count} rows of {dim} f32: GB/s read and written, and the share of a copy's");
    for (name, own) in names.iter().zip(&seconds) {
        // Means write next to nothing.
        let bytes = (count * dim * 4) as f64 * if *name == "block_means" { 1.0 } else { 2.0 };
        let moved = (count * dim * 8) as f64;
        let share = bytes / moved / ratio(own, &seconds[0]);
        println!("{name:14} {:6.2}   {share:.2}", bytes / median(own.clone()) / 1e9);
    }
    Ok(())
}
