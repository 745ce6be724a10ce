//! GPU code of the shipped kernels in blocks as large as they are run with, so that tensor cores, conversions and many warps
//! take part: the emulator's threads agree with the interpreter, for several interleavings. Small blocks are in `kernels.rs`.

use pantile_compiler::passes::{Options, optimise};
use pantile_compiler::{Module, Signature};
use pantile_gpu::Target;
use pantile_ir::DType;
use pantile_tests::cases::{arguments, bindings, dtypes, files, load, tolerance, walks};
use pantile_tests::execute::{Layout, Outcome, difference, interpret};
use pantile_tests::gpu::on_gpu;

/// Blocks of this many: more than one tensor-core instruction takes, for several warps.
const BLOCK: i64 = 64;

/// A ragged size around blocks, and one that fits.
const SIZES: [i64; 2] = [80, 64];

fn check(
    module: &Module,
    kernel: &Signature,
    dtype: DType,
    (size, block): (i64, i64),
    target: Target,
) -> Result<(), String> {
    let mut bind = bindings(kernel, dtype, size, block);
    if target != Target::SM_80 {
        // Whole axes of a block's size leave shared memory for several stages.
        kernel.constants.iter().for_each(|c| {
            bind.extents.insert(c.clone(), block);
        });
    }
    let elaborate = |bind: &_| module.elaborate_only(&kernel.name, bind).map_err(|d| format!("{d:?}"));
    let func = elaborate(&bind)?;
    for (n, extent) in func.extents.iter().enumerate() {
        // Batches, heads and their like, which no tile is over: two are enough.
        if !func.dims.iter().any(|d| d.over.is_some_and(|e| e.index() == n)) {
            bind.extents.insert(extent.name.clone(), 2);
        }
    }
    let mut func = elaborate(&bind)?;
    let extents: Vec<i64> = func
        .extents
        .iter()
        .map(|e| e.known.unwrap_or_else(|| bind.extents.get(&e.name).copied().unwrap_or(0)))
        .collect();
    let args = arguments(&func, &extents);
    let want = match interpret(&func, &extents, &walks(&func)?, &args) {
        Outcome::Done(args) => args,
        Outcome::Fault(why) => return Err(format!("the interpreter faults: {why}")),
    };
    // Sums of `size` products, each rounded otherwise.
    let tolerance: Vec<f64> = tolerance(&func).into_iter().map(|t| t * 8.0).collect();
    if let Some(bug) = optimise(&mut func, &Options::default()).bug {
        return Err(format!("{} breaks rules: {}", bug.pass, bug.rules.join("; ")));
    }
    let tables = walks(&func)?;
    for seed in 0..2 {
        let got = match on_gpu(&func, (&extents, &tables, &args), Layout::Dense, target, seed)? {
            Outcome::Fault(why) => return Err(format!("faults: {why}")),
            Outcome::Done(got) => got,
        };
        if let Some(what) = difference(&func, &want, &got, &tolerance) {
            return Err(format!("seed {seed}: {what}"));
        }
    }
    Ok(())
}

#[test]
fn kernels_agree_in_large_blocks() {
    let (mut failed, mut count) = (Vec::new(), 0);
    for file in files().into_iter().filter(|f| f.parent().is_some_and(|p| p.ends_with("kernels"))) {
        let (module, file) = (load(&file), file.display());
        for kernel in module.kernels() {
            for dtype in dtypes(kernel).into_iter().filter(|d| matches!(d, DType::F16 | DType::BF16 | DType::F32)) {
                for size in SIZES {
                    count += 1;
                    if let Err(why) = check(&module, kernel, dtype, (size, BLOCK), Target::SM_80) {
                        failed.push(format!("{file}: {} of {dtype} at {size}: {why}", kernel.name));
                    }
                }
            }
        }
    }
    assert!(failed.is_empty(), "{} of {count} fail:\n{}", failed.len(), failed.join("\n"));
}

/// Where a producer brings operands into rings: enough blocks that stages are used again, and a ragged one.
#[test]
fn kernels_agree_with_a_producer() {
    let (mut failed, mut count) = (Vec::new(), 0);
    for file in files().into_iter().filter(|f| f.parent().is_some_and(|p| p.ends_with("kernels"))) {
        let (module, file) = (load(&file), file.display());
        for kernel in module.kernels() {
            for dtype in dtypes(kernel).into_iter().filter(|d| matches!(d, DType::F16 | DType::BF16)) {
                for size in [264, 64] {
                    count += 1;
                    if let Err(why) = check(&module, kernel, dtype, (size, BLOCK), Target::SM_90A) {
                        failed.push(format!("{file}: {} of {dtype} at {size}: {why}", kernel.name));
                    }
                }
            }
        }
    }
    assert!(failed.is_empty(), "{} of {count} fail:\n{}", failed.len(), failed.join("\n"));
}

/// Where shared memory does not hold both operands, products go in parts.
#[test]
fn products_larger_than_shared_memory_agree() {
    let file = files().into_iter().find(|f| f.ends_with("kernels/matmul.tile")).expect("a shipped file");
    let module = load(&file);
    for kernel in module.kernels() {
        for dtype in [DType::F32, DType::F64] {
            let checked = check(&module, kernel, dtype, (150, 128), Target::SM_120A);
            assert_eq!(checked, Ok(()), "{} of {dtype}", kernel.name);
        }
    }
}
