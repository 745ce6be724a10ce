//! Each architecture that can be named has code, the seldom ones included. Which instructions it is made of is not looked at.

use pantile_compiler::passes::Lanes;
use pantile_gpu::{Options, Target, llvm};
use pantile_ir::DType;
use pantile_ptxas::{assemble, ptxas};
use pantile_tests::cases::{bindings, files, load};
use pantile_tests::padded;

/// LLVM ends the process where it does not know an architecture, or its version of PTX does not.
#[test]
fn there_is_code_for_every_target() {
    let file = files().into_iter().find(|f| f.ends_with("kernels/matmul.tile")).expect("a shipped file");
    let (module, ptxas) = (load(&file), ptxas());
    let kernel = module.kernel("matmul").expect("a kernel");
    let func = module.specialise(&kernel.name, &bindings(kernel, DType::BF16, 40, 16)).expect("possible bindings");
    let func = padded::pad(&func, Lanes::PowersOfTwo).expect("padding");
    for target in Target::all() {
        let made = pantile_gpu::compile(&func, &Options::new(target));
        let program = &made.and_then(|made| made.best()).unwrap_or_else(|e| panic!("{target}: {}", e.message)).program;
        let text =
            llvm::ptx(program, target, &llvm::Options::default()).unwrap_or_else(|e| panic!("{target}: {e}")).text;
        assert!(text.contains(&format!(".target {target}")), "{text}");
        if let Some(ptxas) = &ptxas {
            assemble(ptxas, &text, target).unwrap_or_else(|e| panic!("{target}: {e}\n{text}"));
        }
    }
}
