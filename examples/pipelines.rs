//! What a pipeline costs beside its kernels: planning, finding a plan again, and copies in an order where one cannot be
//! fused. The least time of many rounds is shown, since other programs only add to it. It checks no result; tests do.
//!
//! `cargo run --release -p pantile-examples --bin pipelines [-- ROUNDS MEGABYTES]`.

#![allow(clippy::print_stdout, reason = "a program talks to its user")]

use std::time::{Duration, Instant};

use pantile::{DType, Device, Module, Result, Tensor};

const SOURCE: &str = "
kernel plus<P: int = 64>(x: tensor<f32>[N], c: f32) -> (y: tensor<f32>[N]) grid (i in N by P) { y[i] = x[i] + c; }
order back(p in N, N: int) -> int { N - 1 - p }
order strides(p in N, N: int) -> int { p % 64 * (N / 64) + p / 64 }

pipeline one(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) { y = plus(x, 1.0); }
pipeline eight(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) {
    y = plus(plus(plus(plus(plus(plus(plus(plus(x, 1.0), 2.0), 3.0), 4.0), 5.0), 6.0), 7.0), 8.0);
}
pipeline same(x: tensor<f32>[H, N, D]) -> (y: tensor<f32>[H, N, D]) { y = x; }
pipeline rows(x: tensor<f32>[H, N, D]) -> (y: tensor<f32>[H, N, D]) { y = permute(x, N via strides(N)); }
pipeline columns(x: tensor<f32>[H, N, D]) -> (y: tensor<f32>[H, N, D]) { y = permute(x, D via back(D)); }
";

fn least(rounds: usize, mut work: impl FnMut() -> Result<()>) -> Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        let start = Instant::now();
        work()?;
        best = best.min(start.elapsed());
    }
    Ok(best)
}

fn main() -> Result<()> {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let number = |n: usize, default: usize| numbers.get(n).copied().unwrap_or(default).max(1);
    let device = Device::parse("cpu")?;
    let module = Module::from_text("pipelines.tile", SOURCE)?;
    calls(&device, &module, number(0, 2000))?;
    copies(&device, &module, number(0, 2000).div_ceil(200), number(1, 256))
}

fn calls(device: &Device, module: &Module, rounds: usize) -> Result<()> {
    let x = Tensor::zeros(DType::F32, &[16])?;
    let kernel = module.kernel("plus")?.on(device);
    kernel.call((&x, 1.0f32))?;
    let alone = least(rounds, || kernel.call((&x, 1.0f32)).map(drop))?;
    println!("a kernel on 16 numbers: {:.2} us", micros(alone));
    for name in ["one", "eight"] {
        let pipeline = module.pipeline(name)?.on(device);
        pipeline.call((&x,))?;
        let again = least(rounds, || pipeline.call((&x,)).map(drop))?;
        let mut size = 16;
        let planned = least(rounds.div_ceil(20), || {
            size += 1;
            pipeline.call((Tensor::zeros(DType::F32, &[size])?,)).map(drop)
        })?;
        let (again, planned) = (micros(again), micros(planned));
        println!("pipeline `{name}`: called again {again:.2} us, in another size {planned:.2} us");
    }
    Ok(())
}

fn copies(device: &Device, module: &Module, rounds: usize, megabytes: usize) -> Result<()> {
    let (heads, width) = (4, 64);
    let tokens = (megabytes * 1_000_000 / (heads * width * 4)).div_ceil(64) * 64;
    let x = Tensor::zeros(DType::F32, &[heads, tokens, width])?;
    let turned = Tensor::zeros(DType::F32, &[tokens, heads, width])?.permute(&[1, 0, 2])?;
    println!("copies of [{heads}, {tokens}, {width}] f32, bytes read and written by the second:");
    for (name, what, x) in [
        ("same", "as it is", &x),
        ("rows", "rows of 64 in another order", &x),
        ("rows", "the same, heads inside tokens", &turned),
        ("columns", "single numbers in another order", &x),
    ] {
        let pipeline = module.pipeline(name)?.on(device);
        pipeline.call((x,))?;
        let time = least(rounds, || pipeline.call((x,)).map(drop))?;
        println!("  {what}: {:.2} GB/s", 2.0 * (x.len() * 4) as f64 / time.as_secs_f64() / 1e9);
    }
    Ok(())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
