//! Where the time of one cold compilation goes, part by part, for the CPU or for a GPU. Each part is taken once: it is no
//! benchmark.

use std::time::{Duration, Instant};

use pantile::{Device, Module};
use pantile_compiler::{Bindings, Signature};
use pantile_gpu::llvm;
use pantile_ir::Func;

use super::{Options, Stage, check_kind, elaborated, optimised, padded, parse};
use crate::failure::{Failure, Outcome, input};
use crate::screen;

/// Compiles once, cold, and says where the time went.
pub(super) fn show(options: &Options) -> Outcome {
    let passes = match options.stage {
        Stage::Schedule | Stage::Simt | Stage::Llvm | Stage::Ptx | Stage::Sass => padded,
        Stage::Passes | Stage::Clif => optimised,
        Stage::Ast | Stage::Ir | Stage::Tiles | Stage::Plan => {
            return input("`--timings` goes with `--stage clif`, for the CPU, or `--stage ptx`, for a GPU");
        }
    };
    let mut parts = Parts::default();
    let func = front(options, &mut parts, passes)?;
    match options.stage {
        Stage::Schedule | Stage::Simt | Stage::Llvm | Stage::Ptx | Stage::Sass => gpu(options, &func, &mut parts)?,
        Stage::Passes | Stage::Clif | Stage::Ast | Stage::Ir | Stage::Tiles | Stage::Plan => cpu(&func, &mut parts)?,
    }
    let total = parts.0.iter().map(|(_, time, _)| *time).sum();
    let to = if parts.0.iter().any(|(name, ..)| ["machine code", "load"].contains(name)) { "callable" } else { "PTX" };
    parts.add("total", total, format!("text to {to}, cold"));
    parts.show();
    Ok(())
}

/// What took how long, and what it is.
#[derive(Default)]
struct Parts(Vec<(&'static str, Duration, String)>);

impl Parts {
    fn add(&mut self, name: &'static str, time: Duration, what: impl Into<String>) {
        self.0.push((name, time, what.into()));
    }

    fn timed<T>(&mut self, name: &'static str, what: &str, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let made = work();
        self.add(name, start.elapsed(), what);
        made
    }

    fn show(&self) {
        let row =
            |(name, time, what): &(&str, Duration, String)| vec![(*name).into(), screen::time(*time), what.clone()];
        screen::table(&self.0.iter().map(row).collect::<Vec<_>>()).iter().for_each(|line| screen::line(line));
    }
}

/// From elaboration on, through passes.
type Passes = fn(&Module, &Signature, &Bindings) -> Result<Func, Failure>;

/// From text to Tile IR after its passes.
fn front(options: &Options, parts: &mut Parts, passes: Passes) -> Result<Func, Failure> {
    let (_, parsing) = parse(options)?;
    let start = Instant::now();
    let module = Module::from_file(&options.file)?;
    let loading = start.elapsed();
    check_kind(options, &module)?;
    let signature = module.kernel(&options.name)?.signature().clone();
    let bound = options.bind.kernel(&signature)?;
    let start = Instant::now();
    elaborated(&module, &signature, &bound.bindings)?;
    let elaborating = start.elapsed();
    let start = Instant::now();
    let func = passes(&module, &signature, &bound.bindings)?;
    let specialising = start.elapsed();
    if !bound.assumed.is_empty() {
        screen::complain(&format!("assumed {}", bound.assumed.join(", ")));
    }
    parts.add("parse", parsing, "text to syntax");
    parts.add("check", loading.saturating_sub(parsing), "every item of the file and its imports");
    parts.add("elaborate", elaborating, "syntax to Tile IR");
    parts.add("passes", specialising.saturating_sub(elaborating), "Tile IR to better Tile IR");
    Ok(func)
}

fn cpu(func: &Func, parts: &mut Parts) -> Outcome {
    let kernel =
        pantile_cpu::compile(func, &pantile_cpu::Options::default()).map_err(|limit| Failure::Kernel(limit.message))?;
    let took = kernel.timings();
    parts.add("lower", took.plan + took.emit, "Tile IR to CLIF");
    parts.add("machine code", took.codegen, format!("{} bytes", kernel.code_bytes()));
    Ok(())
}

/// The driver's part is measured where it has such a GPU.
fn gpu(options: &Options, func: &Func, parts: &mut Parts) -> Outcome {
    let (target, tf32) = (options.target, options.tf32.tf32);
    let wanted = pantile_gpu::Options { tf32, ..pantile_gpu::Options::new(target) };
    let compile = || pantile_gpu::compile(func, &wanted).and_then(|kernel| kernel.best());
    let variant = parts
        .timed("lower", "Tile IR to what each thread does", compile)
        .map_err(|limit| super::gpu::too_large(func, &limit))?;
    let text = parts
        .timed("LLVM IR", "the same as text", || llvm::print(&variant.program, target))
        .map_err(|e| super::gpu::failed(llvm::Error::Program(e)))?;
    let library = parts.timed("open LLVM", "once a process", llvm::library).map_err(super::gpu::failed)?;
    let ptx = library.ptx(&text, target, &llvm::Options::default()).map_err(super::gpu::failed)?;
    parts.add("read", ptx.times.parse, "LLVM: text to its own form");
    parts.add("LLVM's passes", ptx.times.passes, "LLVM: simplification");
    parts.add("PTX", ptx.times.emit, format!("{} bytes", ptx.text.len()));
    let here = Device::all().into_iter().find(|(device, _)| device.target() == Some(target));
    match here {
        Some((device, _)) => {
            let [assembly, loading] = device.time_of_loading(&ptx.text)?;
            parts.add("assemble", assembly, format!("PTX to machine code, by the driver, on {}", device.name()));
            parts.add("load", loading, "machine code onto the GPU");
        }
        None => screen::complain(&format!(
            "not measured: the driver's assembly and loading, for there is no GPU of {target} here"
        )),
    }
    Ok(())
}
