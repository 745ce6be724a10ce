//! Products that GPUs have tensor cores for: in each dtype, with operands that lie either way in memory, at sizes around
//! blocks, the emulator's threads agree with the interpreter to the bit, and take the instruction that they should. How fast
//! they are is not tested.

use pantile_compiler::passes::Lanes;
use pantile_compiler::{Bindings, Module};
use pantile_gpu::simt::{Mma, Op, Program, Small};
use pantile_gpu::{Options, Target, llvm};
use pantile_interp::{Arg, Array, Data};
use pantile_ir::{DType, Func, Kind, ParamKind, Scalar, eval};
use pantile_ptxas::{assemble, ptxas};
use pantile_tests::execute::{Layout, Outcome, difference, interpret};
use pantile_tests::gpu::on_gpu_with;
use pantile_tests::padded;

/// `a` and `b` with k fast or slow in memory; the last one's left operand is a product itself.
const PLAIN: [[&str; 4]; 4] = [
    ["M, K", "K, N", "i, k", "k, j"],
    ["M, K", "N, K", "i, k", "j, k"],
    ["K, M", "K, N", "k, i", "k, j"],
    ["K, M", "N, K", "k, i", "j, k"],
];

fn plain(dtype: DType, [a, b, at_a, at_b]: [&str; 4], [m, n, k]: [i64; 3]) -> String {
    format!(
        "kernel product(a: tensor<{dtype}>[{a}], b: tensor<{dtype}>[{b}]) -> (c: tensor<{into}>[M, N])
grid (i in M by {m}, j in N by {n}) {{
    let mut acc = fill(0 as {into}, over (i, j));
    for k in K by {k} {{ acc += dot(a[{at_a}], b[{at_b}]); }}
    c[i, j] = acc;
}}",
        into = dtype.accumulator()
    )
}

/// The left operand is a product itself.
fn chained(dtype: DType, [m, n, k]: [i64; 3]) -> String {
    format!(
        "kernel chain(a: tensor<{dtype}>[M, P], b: tensor<{dtype}>[P, K], d: tensor<{dtype}>[K, N]) -> (c: tensor<{into}>[M, N])
grid (i in M by {m}, j in N by {n}) {{
    let mut acc = fill(0 as {into}, over (i, j));
    for k in K by {k} {{
        let mut s = fill(0 as {into}, over (i, k));
        for p in P by {k} {{ s += dot(a[i, p], b[p, k]); }}
        acc += dot(s as {dtype}, d[k, j]);
    }}
    c[i, j] = acc;
}}",
        into = dtype.accumulator()
    )
}

fn elaborated(text: &str, size: i64) -> Func {
    let loaded = Module::load("product.tile", text, &mut |_| Err("no imports".into()));
    let module = loaded.module.unwrap_or_else(|| panic!("{:?}\n{text}", loaded.diagnostics));
    let kernel = &module.kernels()[0];
    let mut bind = Bindings::default();
    for (n, extent) in kernel.extents().into_iter().enumerate() {
        bind.extents.insert(extent.into(), size + n as i64 * 3);
    }
    let mut func = module.elaborate_only(&kernel.name, &bind).unwrap_or_else(|d| panic!("{d:?}\n{text}"));
    let report = pantile_compiler::passes::optimise(&mut func, &pantile_compiler::passes::Options::default());
    assert!(report.bug.is_none());
    func
}

/// Small whole numbers, so that sums are exact in any order, and now and then what is no number; integers of all sizes.
fn arguments(func: &Func, size: i64) -> (Vec<i64>, Vec<Arg>) {
    let extents: Vec<i64> =
        func.extents.iter().enumerate().map(|(n, e)| e.known.unwrap_or(size + n as i64 * 3)).collect();
    let mut state = 7u64;
    let mut next = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut scalar = |dtype: DType| match dtype.kind() {
        Kind::Float => {
            let x = match next(400) {
                0 => f64::INFINITY,
                1 => f64::NAN,
                n => (n % 5) as f64 - 2.0,
            };
            eval::cast(DType::F64, dtype, Scalar::Float(x))
        }
        Kind::Bool | Kind::Signed | Kind::Unsigned => Scalar::Int(eval::wrap(dtype, next(1 << 20) as i64)),
    };
    let mut arg = |kind: &ParamKind, out: bool| match kind {
        ParamKind::Tensor(dtype, axes) => {
            let shape: Vec<usize> = axes.iter().map(|a| func.axis_size(*a, &extents) as usize).collect();
            let mut array = Array::zeros(*dtype, &shape);
            if !out {
                let count = array.data.len();
                array.data = Data::from_scalars(*dtype, (0..count).map(|_| scalar(*dtype)));
            }
            Arg::Tensor(array)
        }
        ParamKind::Scalar(..) | ParamKind::Mask(_) => panic!("a tensor"),
    };
    let args = func.params.iter().map(|p| arg(&p.kind, p.out)).collect();
    (extents, args)
}

fn program(func: &Func, options: &Options) -> Program {
    let func = padded::pad(func, Lanes::PowersOfTwo).expect("a padded function");
    let kernel = pantile_gpu::compile(&func, options).expect("a kernel");
    kernel.best().expect("a variant").program.clone()
}

/// The instructions of products that a program has, in order, those of warpgroups as those of warps; a multiply-add in a loop counts as none.
#[allow(clippy::wildcard_enum_match_arm, reason = "no other op is a product")]
fn products(program: &Program) -> Vec<Mma> {
    let mut found: Vec<Mma> = Vec::new();
    program.body.visit(&mut |inst| {
        let one = match &inst.op {
            Op::Mma(mma) => Some(*mma),
            Op::Wgmma(wgmma) if wgmma.dtype == Some(Small::F16) => Some(Mma::F16),
            Op::Wgmma(wgmma) if wgmma.dtype == Some(Small::BF16) => Some(Mma::BF16),
            _ => None,
        };
        found.extend(one.filter(|mma| !found.contains(mma)));
    });
    found
}

/// Each dtype with a form: the target, whether tf32 may be used, and the instruction for that much of k.
fn forms() -> Vec<(DType, Target, bool, i64, Option<Mma>)> {
    let sm_89: Target = "sm_89".parse().expect("a target");
    let (e4m3, e5m2) = (Small::F8E4M3, Small::F8E5M2);
    vec![
        (DType::F16, Target::SM_80, false, 32, Some(Mma::F16)),
        (DType::BF16, Target::SM_80, false, 16, Some(Mma::BF16)),
        (DType::F8E4M3, Target::SM_80, false, 32, Some(Mma::F16)),
        (DType::F8E4M3, sm_89, false, 32, Some(Mma::F8(e4m3, e4m3))),
        (DType::F8E4M3, sm_89, false, 16, Some(Mma::F16)),
        (DType::F8E4M3, Target::SM_90A, false, 64, Some(Mma::F16)),
        (DType::F8E5M2, Target::SM_120A, false, 64, Some(Mma::F8(e5m2, e5m2))),
        (DType::F8E5M2, Target::SM_80, false, 32, Some(Mma::F16)),
        (DType::I8, Target::SM_80, false, 32, Some(Mma::I8(true, true))),
        (DType::I8, Target::SM_80, false, 16, None),
        (DType::U8, Target::SM_80, false, 64, Some(Mma::I8(false, false))),
        (DType::F32, Target::SM_80, true, 16, Some(Mma::TF32)),
        (DType::F32, Target::SM_80, false, 16, None),
    ]
}

fn agree(text: &str, size: i64, options: &Options, wanted: Option<Mma>) {
    let func = elaborated(text, size);
    let (extents, args) = arguments(&func, size);
    let Outcome::Done(want) = interpret(&func, &extents, &[], &args) else { panic!("faults:\n{text}") };
    let made = program(&func, options);
    assert_eq!(products(&made), Vec::from_iter(wanted), "{text}\n{made}");
    for (seed, layout) in [(1, Layout::Dense), (2, Layout::Reversed)] {
        let why = match on_gpu_with(&func, (&extents, &[], &args), layout, options, seed) {
            Ok(Outcome::Done(got)) => difference(&func, &want, &got, &vec![0.0; func.params.len()]),
            Ok(Outcome::Fault(why)) | Err(why) => Some(why),
        };
        assert_eq!(why, None, "size {size}, {layout:?}, {options:?}\n{text}");
    }
}

#[test]
fn products_agree_to_the_bit() {
    for (dtype, target, tf32, k, wanted) in forms() {
        let options = Options { checks: true, tf32, ..Options::new(target) };
        for (n, which) in PLAIN.into_iter().enumerate() {
            // One warp and several; rows or columns to spare.
            let blocks = [[16, 8, k], [64, 32, k], [32, 64, k], [16, 64, k]][n];
            for size in [41, 64] {
                agree(&plain(dtype, which, blocks), size, &options, wanted);
            }
        }
    }
}

#[test]
fn products_of_products_agree_to_the_bit() {
    for (dtype, target, tf32, k, wanted) in forms() {
        agree(&chained(dtype, [32, 32, k]), 37, &Options { checks: true, tf32, ..Options::new(target) }, wanted);
    }
}

/// Of operands with 16 bits of fraction, results are those of operands that were rounded to 10, and not those of f32.
#[test]
fn tf32_rounds_operands_and_nothing_else() {
    let text = plain(DType::F32, PLAIN[0], [16, 16, 16]);
    let func = elaborated(&text, 16);
    let (extents, mut args) = arguments(&func, 16);
    for arg in &mut args[..2] {
        let Arg::Tensor(array) = arg else { panic!("a tensor") };
        let count = array.data.len();
        let x = |n: usize| Scalar::Float(1.0 + (n * 2_654_435_761 % 65536) as f64 / 65536.0);
        array.data = Data::from_scalars(DType::F32, (0..count).map(x));
    }
    let rounded = |arg: &Arg| match arg {
        Arg::Tensor(array) => {
            let mut array = array.clone();
            // To the nearest multiple of 2^-10, ties up: all are between 1 and 2.
            let round = |x: f64| ((x * 1024.0 + 0.5).floor()) / 1024.0;
            let all = (0..array.data.len()).map(|n| Scalar::Float(round(array.data.get(n).as_f64())));
            array.data = Data::from_scalars(DType::F32, all);
            Arg::Tensor(array)
        }
        Arg::Scalar(_) | Arg::Mask(_) => panic!("a tensor"),
    };
    let by_hand: Vec<Arg> = args.iter().map(rounded).collect();
    let reference = |args: &[Arg]| match interpret(&func, &extents, &[], args) {
        Outcome::Done(done) => done,
        Outcome::Fault(why) => panic!("{why}"),
    };
    let run = |tf32| {
        let options = Options { checks: true, tf32, ..Options::new(Target::SM_80) };
        match on_gpu_with(&func, (&extents, &[], &args), Layout::Dense, &options, 1) {
            Ok(Outcome::Done(done)) => done,
            Ok(Outcome::Fault(why)) | Err(why) => panic!("{why}"),
        }
    };
    let (exact, coarse, tolerance) = (reference(&args), reference(&by_hand), [1e-4; 3]);
    assert_eq!(difference(&func, &exact, &run(false), &tolerance), None);
    assert_eq!(difference(&func, &coarse, &run(true), &tolerance), None);
    assert!(difference(&func, &exact, &coarse, &tolerance).is_some(), "the tolerance tells nothing apart");
}

#[test]
fn products_become_machine_code() {
    let ptxas = ptxas();
    for (dtype, least, tf32, k, _) in forms() {
        for target in Target::TESTED.iter().copied().filter(|t| *t >= least) {
            let options = Options { tf32, ..Options::new(target) };
            let text = plain(dtype, PLAIN[0], [64, 64, k]);
            let made = program(&elaborated(&text, 64), &options);
            let ptx = llvm::ptx(&made, target, &llvm::Options::default()).unwrap_or_else(|e| panic!("{e}\n{made}"));
            if let Some(ptxas) = &ptxas {
                let report = assemble(ptxas, &ptx.text, target).unwrap_or_else(|e| panic!("{dtype} for {target}: {e}"));
                assert_eq!(report.spills, 0, "{dtype} for {target}");
            }
        }
    }
}

/// Of operands that lie either way, 16 bytes are read at once, and each is used for a patch of the result.
#[test]
fn multiply_adds_outnumber_reads() {
    for which in PLAIN {
        let options = Options::new(Target::SM_80);
        let made = program(&elaborated(&plain(DType::F32, which, [128, 128, 16]), 256), &options);
        let mut ratios = Vec::new();
        made.body.visit(&mut |inst| {
            let body = inst.regions.last().map_or(&[][..], |r| &r.insts);
            let count = |what: fn(&Op) -> bool| body.iter().filter(|i| what(&i.op)).count();
            let fused = count(|op| matches!(op, Op::Fma));
            if matches!(inst.op, Op::Loop) && fused > 0 {
                ratios.push(fused as f64 / count(|op| matches!(op, Op::Load { .. })) as f64);
            }
        });
        assert_eq!(ratios, [16.0], "{which:?}\n{made}");
    }
}
