//! What a launch costs where it does almost nothing: the host's time to queue one, the time until one is done, and a pipeline's
//! time a step. Arithmetic is measured elsewhere.

use std::time::Instant;

use pantile::{DType, Device, Module, Out, Scalar, Tensor, ToArg};

use super::cases::{median, noise};
use crate::failure::Failure;

/// Launches in one measurement.
const COUNT: usize = 200;

const TEXT: &str =
    "kernel add<P: int = 64>(x: tensor<f32>[H, N], y: tensor<f32>[H, N], a: f32) -> (z: tensor<f32>[H, N])
grid (i in N by P, h in H) {
    z[h, i] = x[h, i] * a + y[h, i];
}
pipeline chain(x: tensor<f32>[H, N]) -> (z: tensor<f32>[H, N]) {
    let b = add(x, x, 1.0);
    let c = add(b, x, 2.0);
    let d = add(c, b, 3.0);
    let e = add(d, c, 4.0);
    let f = add(e, d, 5.0);
    let g = add(f, e, 6.0);
    let h = add(g, f, 7.0);
    z = add(h, g, 8.0);
}";

/// Steps of the pipeline.
const STEPS: usize = 8;

/// What was measured, and the seconds of one launch.
pub(super) fn measure(device: &Device, rounds: usize) -> Result<Vec<(&'static str, f64)>, Failure> {
    let module = Module::from_text("launches.tile", TEXT)?;
    let kernel = module.kernel("add")?.on(device);
    let pipeline = module.pipeline("chain")?.on(device);
    let x = noise(&[2, 64], DType::F32)?.to(device)?;
    let mut z = Tensor::zeros(DType::F32, x.shape())?.to(device)?;
    let args = [x.to_arg(), x.to_arg(), pantile::Arg::Scalar(Scalar::Float(2.0))];
    let mut queued = || {
        let mut running = Vec::with_capacity(COUNT);
        let started = Instant::now();
        for _ in 0..COUNT {
            running.push(kernel.start_into(args, vec![Out::Tensor(&mut z)])?);
        }
        let seconds = started.elapsed().as_secs_f64();
        running.into_iter().try_for_each(pantile::Running::finish)?;
        Ok::<f64, Failure>(seconds)
    };
    let queued = rounds_of(rounds, &mut queued)?;
    let awaited = each(rounds, || Ok(kernel.call_into(args, vec![Out::Tensor(&mut z)])?))?;
    let fresh = each(rounds, || Ok(kernel.call(args).map(drop)?))?;
    let steps = each(rounds, || Ok(pipeline.call((&x,)).map(drop)?))? / STEPS as f64;
    Ok(vec![
        ("launch, queued", queued),
        ("launch, awaited", awaited),
        ("launch, awaited, into memory of its own", fresh),
        ("pipeline of 8 launches, each", steps),
    ])
}

fn each(rounds: usize, mut call: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    rounds_of(rounds, &mut || {
        let started = Instant::now();
        (0..COUNT).try_for_each(|_| call())?;
        Ok(started.elapsed().as_secs_f64())
    })
}

/// The median round's seconds of one of its launches; the first round warms up.
fn rounds_of(rounds: usize, round: &mut dyn FnMut() -> Result<f64, Failure>) -> Result<f64, Failure> {
    let seconds = (0..=rounds).map(|_| round()).collect::<Result<Vec<f64>, Failure>>()?;
    Ok(median(seconds[1..].to_vec()) / COUNT as f64)
}
