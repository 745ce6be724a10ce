//! `pantile build`: kernels compiled for a kind of GPU, into a file that needs no LLVM where it is used. It needs no GPU.

use std::path::PathBuf;
use std::time::Instant;

use pantile::{Bundle, Bundled, Module, SourceError};
use pantile_gpu::Target as GpuTarget;

use crate::bind::Bind;
use crate::device::Tf32;
use crate::failure::{Failure, Outcome};
use crate::screen;
use crate::target::Target;

/// Compiles kernels and pipelines for a kind of GPU, into one file.
#[derive(clap::Args)]
#[command(after_help = "A launch uses the file's code where dtypes, constants and constant extents are the same; other
extents, strides and alignments may differ. Code for a pipeline is that of its plan at the
extents given. `--bundle FILE` of `run`, `rainfusion` and others loads it.

Examples:
  pantile build kernels/norm.tile softmax_rows --target sm_90a -o norm.bundle \\
      --dtype T=f16 --shape D=1024
  pantile run kernels/norm.tile softmax_rows --device cuda:0 \\
      --bundle norm.bundle --arg x=in.safetensors:x")]
pub(crate) struct Options {
    /// The source file.
    file: PathBuf,
    /// Kernels and pipelines; the same options are for all.
    #[arg(required = true)]
    names: Vec<String>,
    /// What to compile for.
    #[arg(long, value_name = GpuTarget::NAMES)]
    target: GpuTarget,
    /// Where the code goes.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    tf32: Tf32,
    #[command(flatten)]
    bind: Bind,
}

pub(crate) fn run(options: &Options) -> Outcome {
    let output = Target::new("output", &options.output);
    output.check([options.file.as_path()])?;
    let mut bundle = Bundle::new(&options.target.name())?.with_tf32(options.tf32.tf32);
    let module = Module::from_file(&options.file)?;
    let start = Instant::now();
    for name in &options.names {
        add(&mut bundle, &module, name, &options.bind)?;
    }
    output.written(bundle.write(&options.output))?;
    rows(&bundle);
    let (time, path) = (screen::time(start.elapsed()), options.output.display());
    screen::line(&format!("for {} in {time}, written to {path}", bundle.target()));
    Ok(())
}

/// One line for each piece of code: its kernel, and the launches that it is for.
fn rows(bundle: &Bundle) {
    let row = |code: &Bundled| {
        let name = format!("{}, {}", code.kernel, code.variant);
        vec![name, code.ptx.len().to_string(), code.threads.to_string(), code.shared.to_string()]
    };
    let mut rows: Vec<Vec<String>> = bundle.codes().map(row).collect();
    rows.sort();
    rows.insert(0, ["kernel, tensors", "bytes of PTX", "threads", "shared"].map(str::to_owned).to_vec());
    screen::numbers(&rows).iter().for_each(|line| screen::line(line));
}

fn add(bundle: &mut Bundle, module: &Module, name: &str, bind: &Bind) -> Outcome {
    let told = |assumed: &[String]| {
        if !assumed.is_empty() {
            screen::complain(&format!("{name}: assumed {}", assumed.join(", ")));
        }
    };
    if module.compiled().pipeline(name).is_some() {
        let signature = module.pipeline(name)?.signature().clone();
        let (bindings, assumed) = bind.pipeline(module, &signature)?;
        told(&assumed);
        let plan = module.compiled().plan(name, &bindings).map_err(|diagnostics| {
            let error = SourceError { diagnostics, sources: module.sources().clone() };
            Failure::Source(error.render(screen::error_colors()))
        })?;
        return Ok(bundle.add_plan(module, &plan)?);
    }
    let signature = module.kernel(name)?.signature().clone();
    let bound = bind.kernel(&signature)?;
    told(&bound.assumed);
    Ok(bundle.add_kernel(module, name, &bound.bindings)?)
}
