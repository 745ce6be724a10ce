//! Every kernel of `kernels/` becomes code for GPUs: a well-formed program, PTX, and, where there is an assembler, machine
//! code. Blocks are small, for assemblers are slow. What the code computes is seen elsewhere.

use pantile_compiler::passes::Lanes;
use pantile_compiler::{Bindings, Module, Signature};
use pantile_gpu::{Options, Target, llvm};
use pantile_ir::DType;
use pantile_ptxas::{assemble, ptxas};
use pantile_tests::cases::{bindings, dtypes, files, load};
use pantile_tests::padded;

/// Blocks are of this many at most, extents ragged around them.
const BLOCK: i64 = 16;
const SIZE: i64 = 40;

/// The kernel's PTX, or why it has none that is no fault.
fn ptx(module: &Module, kernel: &Signature, bind: &Bindings, target: Target) -> Result<String, String> {
    let func = module.specialise(&kernel.name, bind).map_err(|_| "these bindings are impossible".to_string())?;
    let func = padded::pad(&func, Lanes::PowersOfTwo)?;
    let options = Options { target, checks: false, tf32: false };
    let made = pantile_gpu::compile(&func, &options).and_then(|made| made.best()).map_err(|limit| limit.message)?;
    let text = llvm::ptx(&made.program, target, &llvm::Options::default());
    Ok(text.unwrap_or_else(|e| panic!("{} for {target}: {e}\n{}", kernel.name, made.program)).text)
}

#[test]
fn kernels_become_code() {
    let ptxas = ptxas();
    let (mut made, mut not) = (0, Vec::new());
    for file in files().into_iter().filter(|f| f.parent().is_some_and(|p| p.ends_with("kernels"))) {
        let module = load(&file);
        for kernel in module.kernels() {
            // Both kinds of products on the older target and on the newer one.
            for (dtype, target) in [(DType::F32, Target::SM_80), (DType::BF16, Target::SM_90A)] {
                if !dtypes(kernel).contains(&dtype) {
                    continue;
                }
                let bind = bindings(kernel, dtype, SIZE, BLOCK);
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

/// LLVM ends the process where it does not know an architecture, or its version of PTX does not.
#[test]
fn there_is_code_for_every_target() {
    let file = files().into_iter().find(|f| f.ends_with("kernels/matmul.tile")).expect("a shipped file");
    let (module, ptxas) = (load(&file), ptxas());
    let kernel = module.kernel("matmul").expect("a kernel");
    let bind = bindings(kernel, DType::BF16, SIZE, BLOCK);
    for target in Target::all() {
        let text = ptx(&module, kernel, &bind, target).unwrap_or_else(|e| panic!("{target}: {e}"));
        assert!(text.contains(&format!(".target {target}")), "{text}");
        if let Some(ptxas) = &ptxas {
            assemble(ptxas, &text, target).unwrap_or_else(|e| panic!("{target}: {e}\n{text}"));
        }
    }
}
