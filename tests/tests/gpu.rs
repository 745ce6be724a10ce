//! GPU code of the shipped kernels in blocks as large as they are run with, so that tensor cores, conversions and many warps
//! take part: the emulator's threads agree with the interpreter, for several interleavings. Small blocks are in `kernels.rs`.

use std::path::PathBuf;

use pantile_compiler::passes::{Options, optimise};
use pantile_compiler::{Module, Signature};
use pantile_gpu::{Choices, Target};
use pantile_ir::DType;
use pantile_tests::cases::{arguments, bindings, dtypes, files, load, tolerance, walks};
use pantile_tests::execute::{Layout, Outcome, difference, interpret};
use pantile_tests::gpu::on_gpu_with;

/// Blocks of this many: more than one tensor-core instruction takes, for several warps.
const BLOCK: i64 = 64;

/// As a schedule is usually chosen, twice.
fn usual() -> [(Choices, u64); 2] {
    [(Choices::default(), 0), (Choices::default(), 1)]
}

/// Schedules of every kind: of each number of stages, with loops taken apart and not, and without a producer.
fn schedules() -> Vec<(Choices, u64)> {
    let one = |stages, rotate| Choices { stages, rotate, ..Choices::default() };
    let staged = (1..=4).flat_map(|stages| [one(stages, true), one(stages, false)]);
    let alone = Choices { specialise: false, ..Choices::default() };
    staged.chain([alone]).enumerate().map(|(seed, choices)| (choices, seed as u64)).collect()
}

/// A ragged size around blocks, and one that fits.
const SIZES: [i64; 2] = [80, 64];

fn check(
    module: &Module,
    kernel: &Signature,
    dtype: DType,
    (size, block): (i64, i64),
    target: Target,
    runs: &[(Choices, u64)],
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
    for (choices, seed) in runs {
        let options = pantile_gpu::Options { checks: true, choices: *choices, ..pantile_gpu::Options::new(target) };
        let got = match on_gpu_with(&func, (&extents, &tables, &args), Layout::Dense, &options, *seed)? {
            Outcome::Fault(why) => return Err(format!("faults: {why}")),
            Outcome::Done(got) => got,
        };
        if let Some(what) = difference(&func, &want, &got, &tolerance) {
            return Err(format!("seed {seed}, {choices:?}: {what}"));
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
                    if let Err(why) = check(&module, kernel, dtype, (size, BLOCK), Target::SM_80, &usual()) {
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
fn kernels_agree_in_every_schedule() {
    let (mut failed, mut count) = (Vec::new(), 0);
    let shipped = |f: &PathBuf| f.parent().is_some_and(|p| p.ends_with("kernels"));
    for file in files().into_iter().filter(|f| shipped(f) || f.ends_with("schedules.tile")) {
        let (module, file) = (load(&file), file.display());
        for kernel in module.kernels() {
            for dtype in dtypes(kernel).into_iter().filter(|d| matches!(d, DType::F16 | DType::BF16)) {
                // Half precision differs by its range alone, which schedules do not see.
                let runs = if dtype == DType::BF16 { schedules() } else { usual().to_vec() };
                count += 1;
                if let Err(why) = check(&module, kernel, dtype, (264, BLOCK), Target::SM_90A, &runs) {
                    failed.push(format!("{file}: {} of {dtype}: {why}", kernel.name));
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
            let checked = check(&module, kernel, dtype, (150, 128), Target::SM_120A, &usual());
            assert_eq!(checked, Ok(()), "{} of {dtype}", kernel.name);
        }
    }
}
