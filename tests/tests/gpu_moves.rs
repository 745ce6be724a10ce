//! Tiles that one use wants spread otherwise than another, and reductions across warps: what they give, and that shared
//! memory serves them without bank conflicts. What else kernels compute is not tested.

use pantile_gpu::emulate::Report;
use pantile_gpu::simt::{Op, Space};
use pantile_gpu::{Options, Target};
use pantile_interp::{Arg, Array, Data};
use pantile_ir::{DType, Func, Kind, ParamKind, Scalar, eval, parse, verify};
use pantile_tests::execute::{Layout, Outcome, difference, interpret};
use pantile_tests::gpu::reported;

const DTYPES: [DType; 8] =
    [DType::Bool, DType::U8, DType::F8E4M3, DType::BF16, DType::F16, DType::I16, DType::F32, DType::F64];

/// Blocks: dims of registers, of lanes and of warps.
const SHAPES: [[i64; 3]; 5] = [[16, 32, 4], [8, 64, 8], [4, 4, 256], [1, 128, 32], [2, 8, 4]];

/// Numbers up to `size`.
fn arguments(func: &Func, extents: &[i64], size: f64) -> Vec<Arg> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 40
    };
    let mut scalar = |dtype: DType| match dtype.kind() {
        Kind::Bool => Scalar::Bool(next() % 2 == 0),
        Kind::Float => eval::cast(DType::F64, dtype, Scalar::Float((next() as f64 / f64::from(1 << 23) - 1.0) * size)),
        Kind::Signed | Kind::Unsigned => Scalar::Int(eval::wrap(dtype, next() as i64)),
    };
    let mut arg = |kind: &ParamKind| match kind {
        ParamKind::Scalar(dtype, _) => Arg::Scalar(scalar(*dtype)),
        ParamKind::Tensor(dtype, axes) => {
            let shape: Vec<usize> = axes.iter().map(|a| func.axis_size(*a, extents) as usize).collect();
            let mut array = Array::zeros(*dtype, &shape);
            let count = array.data.len();
            array.data = Data::from_scalars(*dtype, (0..count).map(|_| scalar(*dtype)));
            Arg::Tensor(array)
        }
        ParamKind::Mask(_) => panic!("no masks here"),
    };
    func.params.iter().map(|p| arg(&p.kind)).collect()
}

/// Runs a kernel against the interpreter on numbers up to a size; what its threads did.
fn holds(text: &str, size: f64, tolerance: f64) -> Report {
    let func = parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    verify(&func).unwrap_or_else(|e| panic!("{}\n{text}", e.join("\n")));
    let extents: Vec<i64> = func.extents.iter().map(|e| e.known.unwrap_or(0)).collect();
    let args = arguments(&func, &extents, size);
    let Outcome::Done(want) = interpret(&func, &extents, &[], &args) else { panic!("faults:\n{text}") };
    let options = Options { checks: true, ..Options::new(Target::SM_80) };
    let ran = reported(&func, (&extents, &[], &args), Layout::Dense, &options, 3);
    let (outcome, report) = ran.unwrap_or_else(|e| panic!("{e}\n{text}"));
    let Outcome::Done(got) = outcome else { panic!("faults:\n{text}") };
    assert_eq!(difference(&func, &want, &got, &vec![tolerance; func.params.len()]), None, "{text}");
    report
}

fn shared(op: &Op) -> bool {
    matches!(op, Op::Load { space: Space::Shared, .. } | Op::Store { space: Space::Shared, .. })
}

fn without_conflicts(report: &Report, text: &str) {
    for inst in report.insts.iter().filter(|inst| shared(&inst.op)) {
        assert_eq!(inst.counts.wavefronts, inst.counts.ideal_wavefronts, "{}\n{text}", inst.text);
    }
}

/// A kernel of tiles over {i, j, k} of a tensor each, whose axes are in the given order.
fn kernel([p, q, r]: [i64; 3], dtype: DType, axes: &str, op: &str) -> String {
    let upper = axes.to_uppercase();
    let own: Vec<&str> = ["i", "j", "k"].into_iter().filter(|d| axes.contains(d)).collect();
    let own = own.join(", ");
    format!(
        "kernel @moves(%x: tensor<{dtype}>[I, J, K], %t: tensor<{dtype}>[{upper}]) -> (%y: tensor<{dtype}>[I, J, K])
  extent I = {p}
  extent J = {q}
  extent K = {r}
  dim i: I by {p} whole
  dim j: J by {q} whole
  dim k: K by {r} whole
  grid ()
{{
  %0: tile<{dtype}>{{i, j, k}} = load %x[i, j, k]
  %1: tile<{dtype}>{{{own}}} = load %t[{axes}]
  %2: tile<{dtype}>{{i, j, k}} = broadcast over {{i, j, k}} %1
  %3: tile<{dtype}>{{i, j, k}} = {op} %0, %2
  store %y[i, j, k] = %3
}}"
    )
}

#[test]
fn tiles_meet_in_one_spread() {
    let (mut exchanged, mut shuffled) = (0, 0);
    for (n, shape) in SHAPES.into_iter().enumerate() {
        let orders = ["k, j, i", "j, i, k", "k, i, j", "i, k, j", "j, k, i", "k, j", "j, i", "k", "j", "i"];
        for (m, axes) in orders.into_iter().enumerate() {
            for dtype in [DTYPES[(n + m) % DTYPES.len()], DTYPES[(n + m + 3) % DTYPES.len()]] {
                let text = kernel(shape, dtype, axes, if dtype == DType::Bool { "or" } else { "max" });
                let report = holds(&text, 128.0, 0.0);
                without_conflicts(&report, &text);
                exchanged += usize::from(report.insts.iter().any(|inst| shared(&inst.op)));
                shuffled += usize::from(report.insts.iter().any(|inst| matches!(inst.op, Op::Shuffle(_))));
            }
        }
    }
    assert!(exchanged > 20 && shuffled > 10, "{exchanged} through shared memory, {shuffled} by shuffles");
}

#[test]
fn sums_of_warps_meet_without_conflicts() {
    for shape in SHAPES {
        for (dtype, over, left) in [
            (DType::F32, "i", "j, k"),
            (DType::F64, "i, j", "k"),
            (DType::BF16, "j", "i, k"),
            (DType::I16, "k", "i, j"),
            (DType::F32, "i, j, k", ""),
        ] {
            let [p, q, r] = shape;
            let axes = left.to_uppercase();
            let into = if left.is_empty() { dtype.to_string() } else { format!("tile<{dtype}>{{{left}}}") };
            let text = format!(
                "kernel @sums(%x: tensor<{dtype}>[I, J, K]) -> (%y: tensor<{dtype}>[{axes}])
  extent I = {p}
  extent J = {q}
  extent K = {r}
  dim i: I by {p} whole
  dim j: J by {q} whole
  dim k: K by {r} whole
  grid ()
{{
  %0: tile<{dtype}>{{i, j, k}} = load %x[i, j, k]
  %1: {into} = reduce max over {{{over}}} %0
  store %y[{left}] = %1
}}"
            );
            without_conflicts(&holds(&text, 128.0, 0.0), &text);
        }
    }
}

/// Sums of tensor cores are two neighbours a thread; rows of the result are written in whole sectors.
#[test]
fn products_are_stored_in_whole_sectors() {
    for (dtype, [p, q, r]) in [(DType::BF16, [64, 64, 32]), (DType::F16, [128, 64, 16]), (DType::BF16, [64, 128, 32])] {
        for into in [dtype, DType::F32] {
            let text = format!(
                "kernel @product(%x: tensor<{dtype}>[I, K], %t: tensor<{dtype}>[K, J]) -> (%y: tensor<{into}>[I, J])
  extent I = {p}
  extent J = {q}
  extent K = {r}
  dim i: I by {p} whole
  dim j: J by {q} whole
  dim k: K by {r} whole
  grid ()
{{
  %0: tile<{dtype}>{{i, k}} = load %x[i, k]
  %1: tile<{dtype}>{{j, k}} = load %t[k, j]
  %2: tile<f32>{{i, j}} = dot over {{k}} %0, %1
  %3: tile<{into}>{{i, j}} = cast {into} %2
  store %y[i, j] = %3
}}"
            );
            let report = holds(&text, 1.0, if into == DType::F32 { 2e-5 } else { 0.05 });
            let stores = report.sum(|op| matches!(op, Op::Store { space: Space::Global, .. }));
            assert_eq!((stores.sectors, into), (stores.ideal_sectors, into), "{text}");
        }
    }
}
