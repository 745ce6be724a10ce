//! `pantile run`: one kernel or pipeline on arguments from the command line.

use std::path::{Path, PathBuf};

use pantile::{Arg, Constant, Module, Outputs, write_tensors};
use pantile_compiler::{GenericKind, ParamType, Signature};

use crate::device::On;
use crate::failure::{Failure, Outcome, input};
use crate::options::Named;
use crate::target::Target;
use crate::values::{self, Owned};
use crate::{orders, screen};

/// Compiles a kernel or pipeline and runs it.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  pantile run kernels/norm.tile softmax_rows --arg x=in.safetensors:x \\
      --output out.safetensors
  pantile run kernels/attention.tile attention_dense \\
      --arg q=qkv.safetensors:q --arg k=qkv.safetensors:k \\
      --arg v=qkv.safetensors:v --arg scale=0.125 --const BQ=64 --device interp")]
pub(crate) struct Options {
    /// The source file.
    file: PathBuf,
    /// The kernel or pipeline.
    name: String,
    /// An argument: a number, a bool, a tensor in a file, or one of the file's orders with its arguments.
    #[arg(long = "arg", value_name = "NAME=VALUE|NAME=FILE:TENSOR|NAME=ORDER(…)")]
    args: Vec<Named>,
    /// A constant (a number or a dtype), or the size of an extent that no argument has.
    #[arg(long = "const", value_name = "NAME=VALUE")]
    constants: Vec<Named>,
    /// Where one output goes.
    #[arg(long = "out", value_name = "NAME=FILE")]
    outs: Vec<Named>,
    /// Where all outputs go.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    on: On,
    /// Makes `print` and `assert` take effect.
    #[arg(long)]
    checks: bool,
}

pub(crate) fn run(options: &Options) -> Outcome {
    let device = options.on.device()?.with_checks(options.checks);
    let module = Module::from_file(&options.file)?;
    let (device, bar) = screen::with_bar(&device);
    let pipeline = module.compiled().pipeline(&options.name).is_some();
    let outputs = if pipeline {
        let mut pipeline = module.pipeline(&options.name)?;
        for constant in &options.constants {
            pipeline = pipeline.with(&constant.name, value(constant)?);
        }
        check_constants(options, pipeline.signature())?;
        check_outs(options, pipeline.signature())?;
        let args = arguments(options, &module, pipeline.signature())?;
        pipeline.on(&device).call(borrowed(&args))?
    } else {
        let mut kernel = module.kernel(&options.name)?;
        for constant in &options.constants {
            kernel = kernel.with(&constant.name, value(constant)?);
        }
        check_constants(options, kernel.signature())?;
        check_outs(options, kernel.signature())?;
        let args = arguments(options, &module, kernel.signature())?;
        kernel.on(&device).call(borrowed(&args))?
    };
    bar.finish_and_clear();
    finish(options, &outputs)
}

fn borrowed(args: &[Owned]) -> Vec<Arg<'_>> {
    args.iter().map(Owned::as_arg).collect()
}

fn value(constant: &Named) -> Result<Constant, Failure> {
    let Named { name, value } = constant;
    let int = value.parse::<i64>().ok().map(Constant::Int);
    match int.or_else(|| value.parse().ok().map(Constant::DType)) {
        Some(constant) => Ok(constant),
        None => input(format!("constant `{name}`: `{value}` is neither a whole number nor a dtype")),
    }
}

/// Each constant is one that the kernel has, is given once, and is a number or a dtype as it should be.
fn check_constants(options: &Options, signature: &Signature) -> Outcome {
    for (n, constant) in options.constants.iter().enumerate() {
        let Named { name, value } = constant;
        if options.constants[..n].iter().any(|other| other.name == *name) {
            return input(format!("constant `{name}` is given twice"));
        }
        let number = value.parse::<i64>().is_ok();
        match signature.generic(name).map(|g| g.kind) {
            Some(GenericKind::DType(_)) if number => {
                return input(format!("constant `{name}`: `{value}` is not a dtype, such as f32"));
            }
            Some(GenericKind::Int(_)) if !number => {
                return input(format!("constant `{name}`: `{value}` is not a whole number"));
            }
            Some(GenericKind::DType(_) | GenericKind::Int(_)) => {}
            None if !signature.extents().contains(&name.as_str()) => {
                let known: Vec<&str> = signature.generics.iter().map(|g| g.name.as_str()).collect();
                let known = if known.is_empty() { "none".into() } else { known.join(", ") };
                return input(format!("`{}` has no constant `{name}`; it has {known}", signature.name));
            }
            None if !number => return input(format!("extent `{name}`: `{value}` is not a size")),
            None => {}
        }
    }
    Ok(())
}

/// One a parameter, in order; parameters at the end that have defaults may be missing.
fn arguments(options: &Options, module: &Module, signature: &Signature) -> Result<Vec<Owned>, Failure> {
    let takes = || signature.params.iter().map(|p| format!("{}: {}", p.name, p.ty)).collect::<Vec<_>>().join(", ");
    for (n, arg) in options.args.iter().enumerate() {
        if !signature.params.iter().any(|p| p.name == arg.name) {
            return input(format!("`{}` has no parameter `{}`; it takes {}", signature.name, arg.name, takes()));
        }
        if options.args[..n].iter().any(|other| other.name == arg.name) {
            return input(format!("argument `{}` is given twice", arg.name));
        }
    }
    let mut args = Vec::with_capacity(signature.params.len());
    for param in &signature.params {
        let is_mask = matches!(param.ty, ParamType::Mask(_));
        args.push(match (options.args.iter().find(|a| a.name == param.name), param.default) {
            (Some(arg), _) if param.ty == ParamType::Order => Owned::Order(orders::parse(arg, module)?),
            (Some(arg), _) => values::parse(&arg.name, &arg.value, is_mask)?,
            (None, Some((_, default))) => Owned::Scalar(default),
            (None, None) => {
                let form = match param.ty {
                    ParamType::Tensor(..) | ParamType::Mask(_) => "FILE.safetensors:TENSOR",
                    ParamType::Scalar(_) | ParamType::Int => "VALUE",
                    ParamType::Order => "ORDER(…)",
                };
                return input(format!(
                    "argument `{0}` is missing; give `--arg {0}={form}` (`{1}` takes {2})",
                    param.name,
                    signature.name,
                    takes()
                ));
            }
        });
    }
    Ok(args)
}

fn check_outs(options: &Options, signature: &Signature) -> Outcome {
    let known = || signature.outs.iter().map(|o| o.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(out) = options.outs.iter().find(|out| !signature.outs.iter().any(|o| o.name == out.name)) {
        return input(format!("`{}` has no output `{}`; it has {}", signature.name, out.name, known()));
    }
    let read = || {
        let files = options.args.iter().filter_map(|arg| arg.value.rsplit_once(':'));
        files.map(|(file, _)| Path::new(file)).chain([options.file.as_path()])
    };
    targets(options).try_for_each(|target| target.check(read()))
}

/// Every file to be written.
fn targets(options: &Options) -> impl Iterator<Item = Target<'_>> {
    let all = options.output.iter().map(|path| Target::new("output", path));
    all.chain(options.outs.iter().map(|out| Target::new("out", Path::new(&out.value))))
}

fn finish(options: &Options, outputs: &Outputs) -> Outcome {
    for (name, output) in outputs.iter() {
        screen::line(&values::describe(name, output)?);
    }
    if let Some(path) = &options.output {
        let all: Vec<_> = outputs.iter().map(|(name, output)| (name, values::as_tensor(output))).collect();
        Target::new("output", path).written(write_tensors(path, &all, &[]))?;
        screen::line(&format!("written to {}", path.display()));
    }
    for (name, output) in outputs.iter() {
        for out in options.outs.iter().filter(|out| out.name == name) {
            let written = write_tensors(&out.value, &[(name, values::as_tensor(output))], &[]);
            Target::new("out", Path::new(&out.value)).written(written)?;
            screen::line(&format!("{name} written to {}", out.value));
        }
    }
    Ok(())
}
