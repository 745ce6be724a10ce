//! The stages of a kernel on its way to a GPU, for dense and aligned tensors. Machine code is made and shown by the tools of a
//! CUDA toolkit, where there is one.

use std::path::Path;
use std::process::Command;

use pantile::io_words;
use pantile_gpu::{Limit, Options, Target, llvm};
use pantile_ir::Func;

use super::Stage;
use crate::failure::{Failure, Outcome, input};
use crate::screen;

/// Prints a function with fixed tiles.
pub(super) fn show(func: &Func, target: Target, tf32: bool, stage: Stage) -> Outcome {
    let kernel = pantile_gpu::compile(func, &Options { tf32, ..Options::new(target) });
    let variant = kernel.and_then(|k| k.best()).map_err(|limit| too_large(func, &limit))?;
    let program = &variant.program;
    let ptx = || llvm::ptx(program, target, &llvm::Options::default()).map_err(failed);
    let text = match stage {
        Stage::Schedule => variant.schedule.clone(),
        Stage::Simt => program.to_string(),
        Stage::Llvm => llvm::print(program, target).map_err(|e| failed(llvm::Error::Program(e)))?,
        Stage::Ptx => ptx()?.text,
        Stage::Sass => sass(&ptx()?.text, target)?,
        Stage::Ast | Stage::Ir | Stage::Passes | Stage::Tiles | Stage::Clif | Stage::Plan => return Ok(()),
    };
    screen::line(text.trim_end());
    Ok(())
}

/// That a function cannot be compiled, by its name.
pub(super) fn too_large(func: &Func, limit: &Limit) -> Failure {
    Failure::Kernel(format!("`{}` cannot be compiled for this GPU: {}", func.name, limit.message))
}

pub(super) fn failed(error: llvm::Error) -> Failure {
    match error {
        llvm::Error::Missing(_) | llvm::Error::Named(..) => Failure::Input(error.to_string()),
        llvm::Error::Program(_) | llvm::Error::Refused(..) => Failure::Kernel(error.to_string()),
    }
}

/// Machine code by `ptxas`, as `nvdisasm` shows it.
fn sass(ptx: &str, target: Target) -> Result<String, Failure> {
    let file = |ending: &str| std::env::temp_dir().join(format!("pantile-{}.{ending}", std::process::id()));
    let (text, cubin) = (file("ptx"), file("cubin"));
    let shown = std::fs::write(&text, ptx)
        .map_err(|e| Failure::Input(format!("{}: cannot be written: {}", text.display(), io_words(&e))))
        .and_then(|()| tool("ptxas", &["-arch".into(), target.name(), path(&text), "-o".into(), path(&cubin)]))
        .and_then(|_| tool("nvdisasm", &["-c".into(), path(&cubin)]));
    for leftover in [&text, &cubin] {
        // A file that was never made is no matter.
        let _ = std::fs::remove_file(leftover);
    }
    shown
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn tool(name: &str, args: &[String]) -> Result<String, Failure> {
    match Command::new(name).args(args).output() {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => Err(Failure::Kernel(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()))),
        Err(error) => input(format!(
            "`--stage sass` needs `{name}` of a CUDA toolkit on the path ({}); use `ptx`",
            io_words(&error)
        )),
    }
}
