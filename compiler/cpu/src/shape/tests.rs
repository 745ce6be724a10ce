//! What keeps the inner loops at the speed of the machine, as counts of instructions: the dot of each emitter, packing,
//! the softmax's row passes, and every innermost loop of shipped kernels. No time is measured.

use cranelift_codegen::ir::{InstBuilder, types};
use pantile_compiler::{Bindings, Module};
use pantile_ir::{DType, Func};

use super::{Loop, innermost};
use crate::dot::{self, Init};
use crate::lower::lower;
use crate::pack::{self, Along, Pack};
use crate::vector::ACCESS;
use crate::{Emit, Features, Jit, Limit, Options};

const INITS: [Init; 3] = [Init::Zero, Init::Accumulate, Init::Scaled];

/// The machine code of what `make` puts into a module.
fn code_of<T>(features: Features, make: impl FnOnce(&mut Jit) -> Result<T, Limit>) -> Vec<(String, Vec<u8>)> {
    let mut jit = Jit::new(false, features).expect("the host is supported");
    make(&mut jit).expect("accepted by Cranelift");
    jit.finish().expect("memory for code").functions.clone()
}

/// The emitters that this machine can run.
fn available() -> impl Iterator<Item = Features> {
    Features::ALL.iter().copied().filter(|f| *f <= Features::host())
}

/// The loop of a function with the most of something; of several the longest.
fn busiest(code: &[u8], of: impl Fn(&Loop) -> usize) -> Loop {
    innermost(code).into_iter().max_by_key(|it| (of(it), it.shape().all)).expect("a loop")
}

fn assert_shape(what: &str, it: &Loop, want: &str) {
    assert_eq!(it.shape().to_string(), want, "{what}\n{}", it.text());
}

#[test]
fn the_portable_dot_multiplies_in_registers() {
    for init in INITS {
        let code = code_of(Features::Baseline, |jit| dot::piece(jit, init));
        let main = busiest(&code[0].1, |l| l.shape().fma);
        assert_shape(&format!("{init:?}"), &main, "32 fma, 24 loads (0 broadcast), 0 stores, 0 stack, 86 in all");
    }
}

#[test]
fn the_wide_dots_multiply_in_registers() {
    let want = [
        (Features::Avx2, "48 fma, 32 loads (24 broadcast), 0 stores, 0 stack, 87 in all"),
        (Features::Avx512, "48 fma, 52 loads (48 broadcast), 0 stores, 0 stack, 61 in all"),
    ];
    for (features, want) in want {
        for init in INITS {
            let code = dot::assembled(features, init).expect("a wide form").expect("accepted by the assembler");
            let loops = innermost(&code);
            let main = loops.iter().max_by_key(|l| l.shape().fma).expect("a loop");
            assert_shape(&format!("{features} {init:?}"), main, want);
            for it in &loops {
                assert_eq!(it.shape().stack, 0, "{features} {init:?}\n{}", it.text());
            }
        }
    }
}

#[test]
fn packing_moves_without_detours() {
    let want = [
        (DType::F32, Along::N, false, "0 fma, 4 loads (0 broadcast), 4 stores, 0 stack, 13 in all"),
        (DType::F32, Along::N, true, "0 fma, 4 loads (0 broadcast), 4 stores, 0 stack, 13 in all"),
        (DType::F32, Along::K, false, "0 fma, 8 loads (0 broadcast), 8 stores, 0 stack, 43 in all"),
        (DType::F32, Along::K, true, "0 fma, 8 loads (0 broadcast), 8 stores, 0 stack, 43 in all"),
        (DType::BF16, Along::N, false, "0 fma, 4 loads (0 broadcast), 4 stores, 0 stack, 17 in all"),
        (DType::BF16, Along::K, false, "0 fma, 8 loads (0 broadcast), 8 stores, 0 stack, 51 in all"),
    ];
    for (dtype, along, gather, want) in want {
        let code = code_of(Features::Baseline, |jit| pack::piece(jit, Pack { dtype, along, gather }));
        let main = busiest(&code[0].1, |l| l.shape().loads + l.shape().stores);
        assert_shape(&format!("{dtype} {along:?} {gather}"), &main, want);
    }
}

/// A shipped kernel after all passes.
fn shipped(file: &str, name: &str, extents: &[(&str, i64)]) -> Func {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kernels");
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).map_err(|why| why.to_string());
    let text = read(path.join(file)).expect("a shipped file");
    let module = Module::load(file, &text, &mut |other: &str| read(path.join(other))).module.expect("a right file");
    let bindings = Bindings {
        dtypes: [("T".to_owned(), DType::F32)].into(),
        extents: extents.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect(),
        ..Bindings::default()
    };
    module.specialise(name, &bindings).expect("it specialises")
}

fn loops_of(func: &Func, features: Features) -> Vec<(String, Loop)> {
    let options = Options { features, ..Options::default() };
    let lowered = lower(func, &options, &vec![true; func.params.len()]).expect("it compiles");
    let functions = &lowered.entry.code().functions;
    functions.iter().flat_map(|(name, code)| innermost(code).into_iter().map(|l| (name.clone(), l))).collect()
}

#[test]
fn loops_of_shipped_kernels_stay_off_the_stack() {
    let attention = [("B", 1), ("H", 2), ("G", 2), ("N", 512), ("M", 512), ("D", 128)];
    let rows = [("N", 64), ("D", 1024)];
    // The last number: how often the one loop that has more constants than there are registers may write the stack. In
    // attention and matmul that loop runs once a cell.
    let kernels = [
        ("attention.tile", "attention", &attention[..], 11),
        ("attention.tile", "attention_dense", &attention, 11),
        ("matmul.tile", "matmul", &[("M", 512), ("N", 512), ("K", 512)], 9),
        ("norm.tile", "softmax_rows", &rows, 2),
        ("norm.tile", "layer_norm", &rows, 0),
        ("norm.tile", "rms_norm", &rows, 0),
    ];
    for (file, name, extents, most) in kernels {
        let func = shipped(file, name, extents);
        for features in available() {
            // What the wide emitters write has nothing on the stack. Of Cranelift's code, loops over single elements and,
            // beside wide ones, loops over what fills no wide register do little of the work.
            let mut spilt = Vec::new();
            for (function, it) in loops_of(&func, features) {
                let written_wide = features > Features::Baseline && function != name;
                if it.shape().stack > 0 && (written_wide || (features == Features::Baseline && it.is_vector())) {
                    assert!(!written_wide, "{name} {features} {function}\n{}", it.text());
                    spilt.push(it);
                }
            }
            let text: String = spilt.iter().map(|it| format!("{}\n{}", it.shape(), it.text())).collect();
            assert!(spilt.len() <= usize::from(most > 0), "{name} {features}\n{text}");
            assert!(spilt.iter().all(|it| it.shape().spills <= most), "{name} {features}\n{text}");
        }
    }
}

/// The vector loops of a kernel written here, in the order of its code.
fn loops_of_text(text: &str, features: Features) -> Vec<String> {
    let module = Module::load("test.tile", text, &mut |_| Err("nothing is imported".to_owned())).module;
    let extents = [("N".to_owned(), 64), ("D".to_owned(), 1024)].into();
    let func = module.expect("a right file").specialise("rows", &Bindings { extents, ..Bindings::default() });
    let loops = loops_of(&func.expect("it specialises"), features);
    loops.iter().filter(|(_, it)| it.is_vector()).map(|(_, it)| it.shape().to_string()).collect()
}

#[test]
fn row_passes_have_no_more_than_their_arithmetic() {
    let softmax = "kernel rows(x: tensor<f32>[N, D]) -> (y: tensor<f32>[N, D], den: tensor<f32>[N])
grid (r in N by 4) {
    let s = x[r, :] * 0.125;
    let p = exp2(s - max(s, over D));
    y[r, :] = p;
    den[r] = sum(p, over D);
}";
    let affine = "kernel rows(x: tensor<f32>[N, D], z: tensor<f32>[N, D], w: f32) -> (y: tensor<f32>[N, D])
grid (r in N by 4) {
    y[r, :] = x[r, :] * w + z[r, :];
}";
    // In two groups a trip and, of what is written wide, one by one at the end. With the exponentials of a row, the next
    // is fetched.
    let maximum = "0 fma, 2 loads (0 broadcast), 0 stores, 0 stack, 15 in all";
    let exponential = "10 fma, 2 loads (0 broadcast), 2 stores, 0 stack, 43 in all";
    for features in available() {
        let mut loops = [softmax, affine].map(|text| loops_of_text(text, features));
        let want: [&[&str]; 2] = match features {
            Features::Baseline => [
                &[
                    "0 fma, 2 loads (0 broadcast), 0 stores, 0 stack, 14 in all",
                    "10 fma, 2 loads (0 broadcast), 2 stores, 0 stack, 40 in all",
                ],
                &["0 fma, 4 loads (0 broadcast), 2 stores, 0 stack, 10 in all"],
            ],
            Features::Avx2 | Features::Avx512 => [
                &[
                    maximum,
                    "0 fma, 1 loads (0 broadcast), 0 stores, 0 stack, 9 in all",
                    exponential,
                    "5 fma, 1 loads (0 broadcast), 1 stores, 0 stack, 23 in all",
                ],
                &["0 fma, 2 loads (0 broadcast), 1 stores, 0 stack, 8 in all"],
            ],
        };
        // Behind the wide loops stand Cranelift's for the rest.
        loops.iter_mut().zip(want).for_each(|(loops, want)| loops.truncate(want.len()));
        assert_eq!(loops, want, "{features}");
    }
}

/// Sums of `count` registers in a loop: more than there are have to be spilt.
fn sums(count: usize) -> Loop {
    let code = code_of(Features::Baseline, |jit| {
        let signature = jit.signature(&[types::I64; 2], &[]);
        jit.piece("sums", signature, |e: &mut Emit<'_>| {
            let (data, hi, lo) = (e.param(0), e.param(1), e.int(0));
            let start: Vec<_> = (0..count as i32).map(|n| e.ins().load(types::F32X4, ACCESS, data, 16 * n)).collect();
            let it = e.open(lo, hi, &start);
            let x = e.ins().load(types::F32X4, ACCESS, data, 0);
            let next: Vec<_> = it.carried.iter().map(|s| e.ins().fadd(*s, x)).collect();
            let end = e.close(it, 1, &next);
            for (n, v) in (0..).zip(end) {
                e.ins().store(ACCESS, v, data, 16 * n);
            }
            e.ins().return_(&[]);
        })
    });
    busiest(&code[0].1, |l| l.shape().all)
}

#[test]
fn a_spill_is_seen() {
    let (few, many) = (sums(8), sums(20));
    assert_eq!(few.shape().stack, 0, "{}", few.text());
    assert!(many.shape().stack > 0, "{}", many.text());
}
