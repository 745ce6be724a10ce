//! `pantile emit`: a kernel at any stage of the compiler, as text, and where the time of compiling it goes.

mod gpu;
mod timings;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use pantile::{Module, SourceError, io_words};
use pantile_compiler::{Bindings, Signature, passes};
use pantile_gpu::Target as GpuTarget;
use pantile_ir::Func;
use pantile_syntax::ast::{File, Item};

use crate::bind::Bind;
use crate::device::Tf32;
use crate::failure::{Failure, Outcome, input};
use crate::{plan, screen};

/// Prints a kernel at a stage of the compiler.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  pantile emit kernels/attention.tile attention --stage ir --shape D=128
  pantile emit kernels/attention.tile attention --stage passes --diff
  pantile emit kernels/attention.tile attention_dense --stage tiles --shape D=64
  pantile emit kernels/norm.tile softmax_rows --stage simt
  pantile emit kernels/norm.tile softmax_rows --stage ptx --target sm_86
  pantile emit kernels/norm.tile softmax_rows --stage sass --target sm_89
  pantile emit kernels/attention.tile attention --timings
  pantile emit kernels/attention.tile attention --timings --stage ptx
  pantile emit kernels/rainfusion.tile rainfusion_paper --stage plan \\
      --shape B=1,H=2,G=2,N=5070,D=64 --const F=13 --const Y=15 --const X=26 \\
      --const text=0 --const scale=0.125")]
pub(crate) struct Options {
    /// The source file.
    file: PathBuf,
    /// The kernel; with `--stage plan` the pipeline.
    name: String,
    /// The stage.
    #[arg(long, value_enum, default_value = "passes")]
    stage: Stage,
    /// With `--stage passes`: what each pass changes.
    #[arg(long)]
    diff: bool,
    /// With `--stage simt`, `llvm`, `ptx` and `sass`: the GPU.
    #[arg(long, value_name = GpuTarget::NAMES, default_value = "sm_90a")]
    target: GpuTarget,
    #[command(flatten)]
    tf32: Tf32,
    /// Where the time goes, from text to code that can be called; with `--stage ptx` that of code for the GPU.
    #[arg(long)]
    timings: bool,
    #[command(flatten)]
    bind: Bind,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Stage {
    /// The syntax tree.
    Ast,
    /// Tile IR, straight from source.
    Ir,
    /// Tile IR after all passes.
    Passes,
    /// Tile IR for targets with padding lanes: each dim of a tile has the next power of two of them.
    Tiles,
    /// Cranelift's IR.
    Clif,
    /// How a kernel's work is laid out over a GPU block's warps and in time, for dense and aligned tensors.
    Schedule,
    /// What each thread of a GPU does, for dense and aligned tensors.
    Simt,
    /// The same as LLVM's IR.
    Llvm,
    /// The same as PTX.
    Ptx,
    /// The same as machine code, by `ptxas` and `nvdisasm` of a CUDA toolkit.
    Sass,
    /// The launch plan of a pipeline.
    Plan,
}

pub(crate) fn run(options: &Options) -> Outcome {
    if options.diff && options.stage != Stage::Passes {
        return input("`--diff` goes with `--stage passes`");
    }
    if options.timings {
        return timings::show(options);
    }
    let module = Module::from_file(&options.file)?;
    check_kind(options, &module)?;
    if options.stage == Stage::Plan {
        return plan::show(&module, &options.name, &options.bind, plan::Format::Text);
    }
    if options.stage == Stage::Ast {
        return syntax_tree(options, &module);
    }
    let signature = module.kernel(&options.name)?.signature().clone();
    let bound = options.bind.kernel(&signature)?;
    if !bound.assumed.is_empty() {
        screen::complain(&format!("assumed {}", bound.assumed.join(", ")));
    }
    match options.stage {
        Stage::Ir => show(&elaborated(&module, &signature, &bound.bindings)?),
        Stage::Passes if options.diff => changes(&module, &signature, &bound.bindings),
        Stage::Passes => show(&optimised(&module, &signature, &bound.bindings)?),
        Stage::Tiles => show(&padded(&module, &signature, &bound.bindings)?),
        Stage::Clif => {
            let func = optimised(&module, &signature, &bound.bindings)?;
            let wanted = pantile_cpu::Options { keep_clif: true, ..pantile_cpu::Options::default() };
            let kernel = pantile_cpu::compile(&func, &wanted).map_err(|limit| Failure::Kernel(limit.message))?;
            screen::line(kernel.clif().unwrap_or_default().trim_end());
            Ok(())
        }
        Stage::Schedule | Stage::Simt | Stage::Llvm | Stage::Ptx | Stage::Sass => {
            let func = padded(&module, &signature, &bound.bindings)?;
            gpu::show(&func, options.target, options.tf32.tf32, options.stage)
        }
        Stage::Ast | Stage::Plan => Ok(()),
    }
}

/// A pipeline has a plan, a kernel all other stages.
fn check_kind(options: &Options, module: &Module) -> Outcome {
    let (name, compiled) = (&options.name, module.compiled());
    match (options.stage, compiled.pipeline(name).is_some(), compiled.kernel(name).is_some()) {
        (Stage::Plan, false, true) => input(format!("`{name}` is a kernel; `--stage plan` is for pipelines")),
        (
            Stage::Ir
            | Stage::Passes
            | Stage::Tiles
            | Stage::Clif
            | Stage::Schedule
            | Stage::Simt
            | Stage::Llvm
            | Stage::Ptx
            | Stage::Sass,
            true,
            false,
        ) => input(format!("`{name}` is a pipeline; `--stage plan` shows what it launches")),
        (
            Stage::Ast
            | Stage::Ir
            | Stage::Passes
            | Stage::Tiles
            | Stage::Clif
            | Stage::Schedule
            | Stage::Simt
            | Stage::Llvm
            | Stage::Ptx
            | Stage::Sass
            | Stage::Plan,
            ..,
        ) => Ok(()),
    }
}

fn show(func: &Func) -> Outcome {
    screen::line(pantile_ir::print(func).trim_end());
    Ok(())
}

fn elaborated(module: &Module, signature: &Signature, bindings: &Bindings) -> Result<Func, Failure> {
    module.compiled().elaborate_only(&signature.name, bindings).map_err(|d| refused(module, d))
}

fn optimised(module: &Module, signature: &Signature, bindings: &Bindings) -> Result<Func, Failure> {
    module.compiled().specialise(&signature.name, bindings).map_err(|d| refused(module, d))
}

/// After the passes for fixed tile shapes as well.
fn padded(module: &Module, signature: &Signature, bindings: &Bindings) -> Result<Func, Failure> {
    let mut func = elaborated(module, signature, bindings)?;
    let options = passes::Options { lanes: passes::Lanes::PowersOfTwo, ..passes::Options::default() };
    match passes::optimise(&mut func, &options).bug {
        Some(bug) => Err(Failure::Kernel(format!("the pass `{}` left {}", bug.pass, bug.rules.join("; ")))),
        None => Ok(func),
    }
}

fn refused(module: &Module, diagnostics: pantile_diag::Diagnostics) -> Failure {
    let error = SourceError { diagnostics, sources: module.sources().clone() };
    Failure::Source(error.render(screen::error_colors()))
}

fn syntax_tree(options: &Options, module: &Module) -> Outcome {
    let (file, _) = parse(options)?;
    let is_it = |item: &&Item| match item {
        Item::Kernel(it) => it.name.node == options.name,
        Item::Pipeline(it) => it.name.node == options.name,
        Item::Const(_) | Item::Fn(_) | Item::Order(_) | Item::Tune(_) | Item::Use(_) => false,
    };
    match file.items.iter().find(is_it) {
        Some(item) => {
            screen::line(&format!("{item:#?}"));
            Ok(())
        }
        None => {
            module.kernel(&options.name)?;
            input(format!("`{}` is imported; give the file that defines it", options.name))
        }
    }
}

fn parse(options: &Options) -> Result<(File, Duration), Failure> {
    let text = std::fs::read_to_string(&options.file)
        .map_err(|e| Failure::Input(format!("{}: cannot be read: {}", options.file.display(), io_words(&e))))?;
    let start = Instant::now();
    let (file, _) = pantile_grammar::parse(pantile_diag::FileId(0), &text);
    Ok((file, start.elapsed()))
}

fn changes(module: &Module, signature: &Signature, bindings: &Bindings) -> Outcome {
    let mut func = elaborated(module, signature, bindings)?;
    let mut before = pantile_ir::print(&func);
    let options = pantile_compiler::passes::Options { dump: true, ..pantile_compiler::passes::Options::default() };
    for pass in pantile_compiler::passes::optimise(&mut func, &options).passes {
        let after = pass.text.unwrap_or_else(|| before.clone());
        difference(pass.name, &before, &after);
        before = after;
    }
    Ok(())
}

/// The lines that go and come, with a few around them.
fn difference(title: &str, before: &str, after: &str) {
    if before == after {
        return screen::line(&format!("{} changes nothing", screen::bold(title)));
    }
    screen::line(&screen::bold(title));
    let diff = similar::TextDiff::from_lines(before, after);
    screen::line(diff.unified_diff().context_radius(2).to_string().trim_end());
}
