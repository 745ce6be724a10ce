//! What the host takes: a kernel from text to having run, with nothing on any disk, and a launch. GPU time is the other
//! files' business.

use std::process::Command;
use std::time::Instant;

use pantile::{DType, Device, Module, Out, Tensor};
use pantile_kernels::FILES;
use serde_json::json;

use super::super::cases::kernel;
use super::super::launches;
use super::Bench;
use super::peers::Peer;
use super::plan::Spec;
use super::reference::{Host, error};
use super::row::{Beside, Row, by_turns};
use crate::failure::{Failure, input};

/// Compilations that are measured at most; each is a process of its own.
const PROCESSES: usize = 5;
/// Calls whose mean is taken as one.
const CALLS: usize = 200;

/// Seconds from text to a kernel that has run once, on as little as there is. What is needed once a process is paid before.
pub(super) fn cold(device: &Device) -> Result<f64, Failure> {
    let numbers = Tensor::zeros(DType::F32, &[16])?;
    kernel("elementwise.tile", "vector_add", device)?.call((&numbers, &numbers))?;
    let text = FILES.iter().find(|(name, _)| *name == "attention.tile").map_or("", |(_, text)| *text);
    let one = Tensor::zeros(DType::BF16, &[1, 1, 128, 128])?;
    let started = Instant::now();
    let kernel = Module::from_text("attention.tile", text)?.kernel("attention_dense")?.on(device);
    kernel.call((&one, &one, &one, 0.1f32))?;
    Ok(started.elapsed().as_secs_f64())
}

pub(super) fn compile(bench: &Bench, spec: &Spec) -> Result<Row, Failure> {
    let rounds = bench.rounds.min(PROCESSES);
    let times: Vec<f64> = (0..rounds).map(|_| in_a_process(&bench.device)).collect::<Result<_, _>>()?;
    let theirs = |peer| (0..rounds).map(|_| bench.peers.fresh(peer)?.seconds(&json!({ "do": "cold" }))).collect();
    let beside = spec.work.offers().iter().map(|offer| Beside::new(offer.label, theirs(offer.peer))).collect();
    Ok(Row { case: spec.case, what: spec.what.clone(), times, amount: None, error: None, beside, notes: Vec::new() })
}

/// [`cold`], where nothing has been compiled yet and no disk is asked.
fn in_a_process(device: &Device) -> Result<f64, Failure> {
    let itself = std::env::current_exe().map_err(|e| Failure::Input(format!("this program is not found: {e}")))?;
    let mut command = Command::new(itself);
    command.args(["bench", "gpu", "--cold", "--device", &device.name()]);
    command.env("PANTILE_CACHE", "off").env("CUDA_CACHE_DISABLE", "1");
    let output = command.output().map_err(|e| Failure::Input(format!("this program does not start: {e}")))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match said.parse() {
        Ok(seconds) => Ok(seconds),
        Err(_) => input(format!("compiling in a process failed: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

pub(super) fn launch(bench: &Bench, spec: &Spec, n: usize) -> Result<Row, Failure> {
    let (x, y) = (bench.normal(&[n], DType::F32)?, bench.normal(&[n], DType::F32)?);
    let mut out = bench.room(&[n], DType::F32)?;
    let kernel = kernel("elementwise.tile", "vector_add", &bench.device)?;
    let own =
        Box::new(|| mean(CALLS, || kernel.call_into((&x, &y), vec![Out::Tensor(&mut out)]).map_err(|e| e.to_string())));
    bench.peers.hand_over(&[("x", &x), ("y", &y)])?;
    let offers = spec.work.offers();
    let mut sides: Vec<super::Side<'_>> = vec![own];
    for (name, count) in [("one", 1), ("many", 16)] {
        sides.extend(offers.iter().map(|offer| theirs(bench, offer.peer, name, (offer.op, count))));
    }
    let mut all = by_turns(sides, bench.rounds);
    let times = all.remove(0).map_err(Failure::Kernel)?;
    let mut beside: Vec<Beside> = launches::measure(&bench.device, bench.rounds)?
        .into_iter()
        .map(|(what, seconds)| Beside::new(format!("own {what}"), Ok(vec![seconds])))
        .collect();
    let labels = ["torch: add, waited for", "torch: add, each of 16"];
    beside.extend(labels.into_iter().zip(all).map(|(label, times)| Beside::new(label, times)));
    let want: Vec<f64> = x.to_f32()?.iter().zip(y.to_f32()?).map(|(a, b)| f64::from(*a) + f64::from(b)).collect();
    let off = error(&Host::of(&out)?.rows(0, 1)?, &want);
    Ok(Row {
        case: spec.case,
        what: spec.what.clone(),
        times,
        amount: None,
        error: Some((off, 1e-6)),
        beside,
        notes: Vec::new(),
    })
}

/// A peer's time for one of so many launches, the last of which is waited for.
fn theirs<'a>(bench: &'a Bench, peer: Peer, name: &'static str, (op, count): (&str, usize)) -> super::Side<'a> {
    let ready = bench.peers.of(peer).and_then(|python| {
        python.borrow_mut().prepare(name, op, &["x", "y"], &json!({ "count": count }))?;
        Ok(python)
    });
    Box::new(move || {
        let command = json!({ "do": "wall", "name": name, "count": CALLS / count });
        Ok(ready.clone()?.borrow_mut().seconds(&command)? / count as f64)
    })
}

/// Seconds of one of so many calls.
fn mean(calls: usize, mut call: impl FnMut() -> Result<(), String>) -> Result<f64, String> {
    let started = Instant::now();
    (0..calls).try_for_each(|_| call())?;
    Ok(started.elapsed().as_secs_f64() / calls.max(1) as f64)
}
