//! Every kernel of `kernels/` becomes code for GPUs: a well-formed program, PTX, and, where there is an assembler, machine
//! code. Blocks are small, for assemblers are slow. What the code computes is seen elsewhere.

use std::fs;
use std::path::{Path, PathBuf};

use pantile_compiler::passes::Lanes;
use pantile_compiler::{Bindings, GenericKind, Module, Signature};
use pantile_gpu::{Options, Target, llvm};
use pantile_ir::DType;
use pantile_ptxas::{assemble, ptxas};
use pantile_tests::padded;

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).expect("the kernels").flatten().map(|e| e.path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "tile"));
    files.sort();
    files
}

fn load(file: &Path) -> Module {
    let text = fs::read_to_string(file).expect("a file of the project");
    let folder = file.parent().expect("a file lies in a folder");
    let mut find = |name: &str| fs::read_to_string(folder.join(name)).map_err(|e| e.to_string());
    Module::load(&file.to_string_lossy(), &text, &mut find).module.expect("a module without errors")
}

/// Blocks are of this many at most.
const BLOCK: i64 = 16;

/// Small blocks, one dtype, and a size where code needs one.
fn bindings(kernel: &Signature, dtype: DType) -> Option<Bindings> {
    let mut bind = Bindings::default();
    for generic in &kernel.generics {
        match generic.kind {
            GenericKind::DType(class) if !class.admits(dtype) => return None,
            GenericKind::DType(_) => drop(bind.dtypes.insert(generic.name.clone(), dtype)),
            GenericKind::Int(default) => {
                bind.ints.insert(generic.name.clone(), default.map_or(BLOCK, |d| d.min(BLOCK)));
            }
        }
    }
    for extent in kernel.extents().into_iter().filter(|extent| kernel.constants.iter().any(|c| c == extent)) {
        bind.extents.insert(extent.to_string(), 2 * BLOCK);
    }
    Some(bind)
}

/// The kernel's PTX, or why it has none that is no fault.
fn ptx(module: &Module, kernel: &Signature, bind: &Bindings, target: Target) -> Result<String, String> {
    let func = module.specialise(&kernel.name, bind).map_err(|_| "these bindings are impossible".to_string())?;
    let func = padded::pad(&func, Lanes::PowersOfTwo)?;
    let options = Options { target, checks: false };
    let made = pantile_gpu::compile(&func, &options).and_then(|made| made.best()).map_err(|limit| limit.message)?;
    let text = llvm::ptx(&made.program, target, &llvm::Options::default());
    Ok(text.unwrap_or_else(|e| panic!("{} for {target}: {e}\n{}", kernel.name, made.program)).text)
}

#[test]
fn kernels_become_code() {
    let ptxas = ptxas();
    let (mut made, mut not) = (0, Vec::new());
    for file in files() {
        let module = load(&file);
        for kernel in module.kernels() {
            // Both kinds of products on the older target and on the newer one.
            for (dtype, target) in [(DType::F32, Target::SM_80), (DType::BF16, Target::SM_90A)] {
                let Some(bind) = bindings(kernel, dtype) else { continue };
                let name = format!("{} of {dtype} for {target}", kernel.name);
                match ptx(&module, kernel, &bind, target) {
                    Err(why) => not.push(format!("{name}: {why}")),
                    Ok(text) => {
                        made += 1;
                        if let Some(ptxas) = &ptxas {
                            assemble(ptxas, &text, target).unwrap_or_else(|e| panic!("{name}: {e}\n{text}"));
                        }
                    }
                }
            }
        }
    }
    assert!(made > 3 * not.len(), "only {made} are made:\n{}", not.join("\n"));
}
