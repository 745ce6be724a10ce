//! Every kernel of `kernels/` becomes code for GPUs, in every dtype and for every target: a well-formed program, PTX, and,
//! where there is an assembler, machine code that spills no register. What the machine code is made of stands in
//! `table.snap`, which `BLESS=1` rewrites. What the code computes is seen elsewhere.

mod make;
mod table;
mod targets;

use pantile_gpu::{Target, llvm};
use pantile_ir::DType;
use pantile_ptxas::{assert_uses, not_tested, ptxas, version};

use make::{Blocks, Made, assembled, shipped};

/// What the machine code of some kernels must have, in blocks as shipped: the name, the dtype, the target.
const USES: &[(&str, DType, Target, &[&str])] = &[
    ("attention", DType::BF16, Target::SM_80, &["HMMA", "LDSM"]),
    ("attention", DType::BF16, Target::SM_90A, &["HGMMA", "UTMALDG"]),
    ("attention", DType::BF16, Target::SM_100A, &["HMMA", "LDSM"]),
    ("attention", DType::BF16, Target::SM_120A, &["HMMA", "LDSM"]),
    ("attention_dense", DType::BF16, Target::SM_80, &["HMMA", "LDSM"]),
    ("attention_dense", DType::BF16, Target::SM_90A, &["HGMMA", "UTMALDG"]),
    ("attention_causal", DType::BF16, Target::SM_90A, &["HGMMA", "UTMALDG"]),
    ("attention_causal_blocks", DType::BF16, Target::SM_90A, &["HGMMA", "UTMALDG"]),
    ("matmul", DType::BF16, Target::SM_80, &["HMMA", "LDSM"]),
    ("matmul", DType::BF16, Target::SM_90A, &["HGMMA", "UTMALDG"]),
    ("matmul", DType::F32, Target::SM_90A, &["FFMA"]),
    ("rms_norm", DType::BF16, Target::SM_90A, &["SHFL", "MUFU"]),
];

/// Kernels that may spill registers in blocks as shipped: the name, the dtype, the targets. No other may.
const SPILLING: &[(&str, DType, &[Target])] = &[
    ("attention", DType::F32, Target::TESTED),
    ("attention_dense", DType::F32, Target::TESTED),
    ("attention_documents", DType::BF16, Target::TESTED),
    ("attention_window", DType::BF16, &[Target::SM_80, Target::SM_90A, Target::SM_120A]),
    ("attention_causal_blocks", DType::BF16, &[Target::SM_100A, Target::SM_120A]),
    ("matmul", DType::F32, &[Target::SM_120A]),
];

fn may_spill(made: &Made) -> bool {
    SPILLING.iter().any(|(name, dtype, targets)| {
        made.blocks == Blocks::Shipped && made.is(name, *dtype) && targets.contains(&made.target)
    })
}

#[test]
fn kernels_become_code() {
    let (mut all, not) = shipped();
    assert!(all.len() > 3 * not.len(), "only {} are made:\n{}", all.len(), not.join("\n"));
    let Some(ptxas) = ptxas() else { return };
    assembled(&ptxas, &mut all);
    // Other versions of the tools choose other instructions, and are right to.
    let (major, minor, patch) = llvm::library().expect("a library, for there is PTX").version();
    let tools = format!("LLVM {major}.{minor}.{patch}, ptxas {}", version(&ptxas));
    let read = all.iter().all(|made| made.blocks == Blocks::Small || !made.report.opcodes.is_empty());
    if read {
        uses(&all);
        table::compare(&tools, &all);
    } else {
        not_tested("no nvdisasm, so machine code is not looked at; `./test` installs it");
    }
    let wrong: Vec<String> = all.iter().filter_map(fault).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with some machine code, whichever version made it.
fn fault(made: &Made) -> Option<String> {
    match made.report.spills {
        bytes if bytes > 0 && !may_spill(made) => Some(format!("{made} spills {bytes} bytes")),
        _ => made.report.warnings.first().map(|words| format!("{made}: {words}")),
    }
}

fn uses(all: &[Made]) {
    for (name, dtype, target, opcodes) in USES {
        let is = |m: &&Made| m.blocks == Blocks::Shipped && m.is(name, *dtype) && m.target == *target;
        let made = all.iter().find(is).unwrap_or_else(|| panic!("no {name} of {dtype} for {target} is made"));
        assert_uses(&made.report.sass, opcodes);
    }
}
