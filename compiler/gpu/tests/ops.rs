//! Every op becomes code for every target that has it: printed, taken by LLVM, and assembled where there is an assembler.
//! What the code computes is seen elsewhere: here nothing runs.

mod examples;

use std::collections::BTreeSet;

use pantile_gpu::Target;
use pantile_gpu::llvm::{Options, library, print};
use pantile_gpu::simt::{Op, Program};
use pantile_ptxas::{Report, assemble, disassembled, ptxas, together};

fn ptx(program: &Program, target: Target) -> String {
    let text = print(program, target).unwrap_or_else(|e| panic!("{e}\n{program}"));
    let library = library().unwrap_or_else(|e| panic!("{e}"));
    match library.ptx(&text, target, &Options::default()) {
        Ok(ptx) => ptx.text,
        Err(e) => panic!("{target}: {e}\n{program}\n{text}"),
    }
}

/// A number for each op: a new one does not compile before it has one, and then wants an example.
fn number(op: &Op) -> usize {
    match op {
        Op::Const(_) => 0,
        Op::Param(_) => 1,
        Op::Special(_) => 2,
        Op::Unary(_) => 3,
        Op::Binary(_) => 4,
        Op::Fma => 5,
        Op::Compare(_) => 6,
        Op::Select => 7,
        Op::Convert(_) => 8,
        Op::Narrow(_) => 9,
        Op::Load { .. } => 10,
        Op::Store { .. } => 11,
        Op::AtomicAdd => 12,
        Op::AtomicCas => 13,
        Op::Shuffle(_) => 14,
        Op::Ballot => 15,
        Op::Barrier { .. } => 16,
        Op::BarrierArrive { .. } => 17,
        Op::Mma(_) => 18,
        Op::LoadMatrix { .. } => 19,
        Op::CopyAsync => 20,
        Op::CopyCommit => 21,
        Op::CopyWait(_) => 22,
        Op::WgmmaFence => 23,
        Op::Wgmma(_) => 24,
        Op::WgmmaCommit => 25,
        Op::WgmmaWait(_) => 26,
        Op::MbarrierInit => 27,
        Op::MbarrierFence => 28,
        Op::MbarrierArrive => 29,
        Op::MbarrierExpect => 30,
        Op::MbarrierWait => 31,
        Op::TensorLoad { .. } => 32,
        Op::TensorStore { .. } => 33,
        Op::TensorStoreCommit => 34,
        Op::TensorStoreWait(_) => 35,
        Op::ProxyFence => 36,
        Op::SetRegisters(..) => 37,
        Op::Fault => 38,
        Op::If => 39,
        Op::Loop => 40,
        Op::Map(_) => 41,
        Op::AtomicFetchAdd => 42,
    }
}

#[test]
fn examples_cover_every_op() {
    let mut seen = BTreeSet::new();
    for program in examples::all() {
        program.verify().unwrap_or_else(|e| panic!("{e}\n{program}"));
        program.body.visit(&mut |inst| {
            seen.insert(number(&inst.op));
        });
    }
    assert_eq!(seen, (0..=42).collect());
}

#[test]
fn every_op_is_assembled_for_every_target_that_has_it() {
    let ptxas = ptxas();
    for target in Target::TESTED {
        let programs = examples::all().into_iter().filter(|program| program.verify_for(*target).is_ok());
        let texts: Vec<String> = programs.map(|program| ptx(&program, *target)).collect();
        assert!(texts.len() > 150, "{target}: {} programs", texts.len());
        let Some(ptxas) = &ptxas else { continue };
        let report = assemble(ptxas, &together(&texts), *target).unwrap_or_else(|e| panic!("{target}: {e}"));
        assert_eq!(report.spills, 0, "{target}");
        let odd: Vec<&String> = report.warnings.iter().filter(|w| !w.contains("setmaxnreg")).collect();
        assert!(odd.is_empty(), "{target}: {odd:?}");
    }
}

/// What becomes of the one program of this name.
fn one(name: &str, target: Target) -> Option<Report> {
    let program = examples::all().into_iter().find(|p| p.name == name).expect("an example of this name");
    let text = ptx(&program, target);
    let report = disassembled(&ptxas()?, &text, target).unwrap_or_else(|e| panic!("{e}\n{text}"));
    (!report.opcodes.is_empty()).then_some(report)
}

/// PTX has one space of names for kernels, registers and labels.
#[test]
fn a_kernel_may_have_any_name() {
    let Some(ptxas) = ptxas() else { return };
    let like = |name: &str| examples::all().into_iter().find(|p| p.name == name).expect("an example of this name");
    for (example, names) in
        [("fault", &["was", "found", "was_there"][..]), ("tensor_load2", &["over", "again", "done"])]
    {
        for name in names {
            let program = Program { name: (*name).into(), ..like(example) };
            let text = ptx(&program, Target::SM_90A);
            assemble(&ptxas, &text, Target::SM_90A).unwrap_or_else(|e| panic!("`{name}`: {e}\n{text}"));
        }
    }
}

#[test]
fn tensor_maps_are_read_where_the_launch_puts_them() {
    let program = examples::all().into_iter().find(|p| p.name == "tensor_store2").expect("an example of this name");
    let text = ptx(&program, Target::SM_90A);
    for n in [3, 4] {
        assert!(text.contains(&format!(".param .align 64 .b8 tensor_store2_param_{n}[128]")), "{text}");
    }
    assert!(!text.contains("__local_depot") && !text.contains("st.local"), "a copy of the map:\n{text}");
    let Some(report) = ptxas().map(|ptxas| disassembled(&ptxas, &text, Target::SM_90A)) else { return };
    let report = report.unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(report.stack, 0, "{}", report.sass);
}

#[test]
fn hopper_has_its_own_products_and_copies() {
    let found =
        [("wgmma1", "HGMMA"), ("tensor_load4", "UTMALDG"), ("tensor_store2", "UTMASTG"), ("copy_async", "LDGSTS")];
    for (name, opcode) in found {
        if let Some(report) = one(name, Target::SM_90A) {
            assert!(report.count(opcode) > 0, "{name}: no {opcode} in\n{}", report.sass);
            assert!(report.warnings.is_empty(), "{name}: {:?}", report.warnings);
        }
    }
}

#[test]
fn every_target_has_products_and_matrix_loads() {
    for target in Target::TESTED {
        for (name, opcode) in [("mma1", "HMMA"), ("mma6", "IMMA"), ("load_matrix4false", "LDSM")] {
            if let Some(report) = one(name, *target) {
                assert!(report.count(opcode) > 0, "{target} {name}: no {opcode} in\n{}", report.sass);
            }
        }
    }
}

#[test]
fn products_and_copies_overlap_on_hopper() {
    let program = examples::hopper_ring();
    program.verify().unwrap_or_else(|e| panic!("{e}\n{program}"));
    let text = ptx(&program, Target::SM_90A);
    let Some(ptxas) = ptxas() else { return };
    let report = disassembled(&ptxas, &text, Target::SM_90A).unwrap_or_else(|e| panic!("{e}\n{text}"));
    // An assembler that cannot follow the accumulators waits after each product, and warns of it.
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    assert_eq!((report.spills, report.stack), (0, 0));
    if !report.opcodes.is_empty() {
        let counts = ["HGMMA", "UTMALDG", "SYNCS", "USETMAXREG"].map(|opcode| report.count(opcode));
        assert!(counts[0] >= 4 && counts[1] >= 2 && counts[2] >= 4 && counts[3] == 2, "{counts:?} in\n{}", report.sass);
    }
}
