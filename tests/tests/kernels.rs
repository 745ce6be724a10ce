//! Every kernel of `kernels/` and of `tests/suite/run/` in every dtype at awkward sizes: the interpreter before and after
//! passes, and machine code in three memory layouts, agree. A kernel added there is covered without a line here.

use pantile_compiler::passes::{Options, optimise};
use pantile_compiler::{Bindings, Module, Signature};
use pantile_gpu::Target;
use pantile_ir::verify;
use pantile_tests::cases::{arguments, bindings, dtypes, files, load, tolerance, walks};
use pantile_tests::execute::{Layout, Outcome, difference, interpret, on_cpu};
use pantile_tests::gpu::on_gpu;
use pantile_tests::padded;

/// Blocks are of this many, so that the sizes below stand around them.
const BLOCK: i64 = 8;

/// Empty, one, one less than a block, a block, one more, a prime.
const SIZES: [i64; 6] = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 13];

/// What is wrong with a kernel in one specialisation, if anything is; else how many selects it ran for padding.
fn check(module: &Module, kernel: &Signature, bind: &Bindings) -> Result<u64, String> {
    let func = module.elaborate_only(&kernel.name, bind).map_err(|d| format!("{d:?}"))?;
    verify(&func).map_err(|why| why.join("; "))?;
    let extents: Vec<i64> = func
        .extents
        .iter()
        .map(|e| e.known.unwrap_or_else(|| bind.extents.get(&e.name).copied().unwrap_or(0)))
        .collect();
    let args = arguments(&func, &extents);
    let tolerance = tolerance(&func);
    let tables = walks(&func)?;
    let reference = match interpret(&func, &extents, &tables, &args) {
        Outcome::Done(args) => args,
        Outcome::Fault(why) => return Err(format!("the interpreter faults: {why}")),
    };
    let agree = |who: &str, outcome: Outcome| match outcome {
        Outcome::Fault(why) => Err(format!("{who} faults: {why}")),
        Outcome::Done(got) => {
            difference(&func, &reference, &got, &tolerance).map_or(Ok(()), |d| Err(format!("{who}: {d}")))
        }
    };
    let mut after = func.clone();
    let report = optimise(&mut after, &Options::default());
    if let Some(bug) = report.bug {
        return Err(format!("{} breaks rules: {}", bug.pass, bug.rules.join("; ")));
    }
    agree("machine code before passes", on_cpu(&func, &extents, &tables, &args, Layout::Dense)?)?;
    let tables = walks(&after)?;
    let mut paid = 0;
    for lanes in padded::LANES {
        let padded = padded::pad(&after, lanes)?;
        let (outcome, selects) = padded::interpret(&padded, lanes, 1, (&extents, &tables, &args));
        agree(&format!("tiles of {lanes:?} lanes"), outcome)?;
        if selects.in_full_blocks > 0 {
            return Err(format!("tiles of {lanes:?} lanes: {} selects in full blocks", selects.in_full_blocks));
        }
        paid += selects.in_others;
    }
    agree("the interpreter after passes", interpret(&after, &extents, &tables, &args))?;
    for layout in [Layout::Dense, Layout::Reversed, Layout::Spread] {
        agree(&format!("machine code, {layout:?}"), on_cpu(&after, &extents, &tables, &args, layout)?)?;
    }
    // The emulator takes longer than all else: one layout a size.
    let layout = [Layout::Dense, Layout::Reversed, Layout::Spread][extents.iter().sum::<i64>() as usize % 3];
    let emulated = on_gpu(&after, (&extents, &tables, &args), layout, Target::SM_80, 1);
    agree(&format!("a GPU's threads, {layout:?}"), emulated.map_err(|e| format!("a GPU's threads, {layout:?}: {e}"))?)?;
    Ok(paid)
}

#[test]
fn kernels_agree_everywhere() {
    let (mut failed, mut count, mut paid) = (Vec::new(), 0, 0);
    for file in files() {
        let (module, file) = (load(&file), file.display());
        for kernel in module.kernels() {
            for dtype in dtypes(kernel) {
                for size in SIZES {
                    count += 1;
                    match check(&module, kernel, &bindings(kernel, dtype, size, BLOCK)) {
                        Ok(selects) => paid += u64::from(selects > 0),
                        Err(why) => failed.push(format!("{file}: {} of {dtype} at {size}: {why}", kernel.name)),
                    }
                }
            }
        }
    }
    assert!(failed.is_empty(), "{} of {count} fail:\n{}", failed.len(), failed.join("\n"));
    assert!(count > 900, "only {count} cases");
    assert!(paid > 100, "only {paid} cases needed a select in padding");
}
