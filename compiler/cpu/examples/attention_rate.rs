//! Measures compiled flash attention on one core, in f32 and bf16, beside the multiply-add peak of the same run. The
//! kernel is built with the IR's builder, so that nothing but this crate is measured. It checks no result; tests do.

use std::time::Instant;

use pantile_cpu::{Arg, Features, Kernel, Launch, Limit, Options, compile};
use pantile_ir::{
    Axis, BinaryOp, Builder, DType, Dim, DimId, Extent, ExtentId, Func, GridAxis, Index, Loop, Op, Over, Param,
    ParamId, ParamKind, ReduceOp, Scalar, StoreMode, Type, UnaryOp, Value,
};

const LOG2E: f64 = std::f64::consts::LOG2_E;

mod peak;

use peak::fma_peak;

fn main() -> Result<(), Limit> {
    let peak = fma_peak()?;
    say(&format!("FMA peak, 128 bits: {:.2} GF/s", peak / 1e9));
    let shapes = [(128, 128), (64, 128), (128, 64), (64, 64)].map(|b| [(b, 4096, 128), (b, 4080, 64)]).concat();
    for features in Features::ALL.iter().copied().filter(|f| *f <= Features::host()) {
        for dtype in [DType::F32, DType::BF16] {
            for ((bq, bk), n, d) in shapes.iter().copied() {
                let func = attention(dtype, bq, bk, d);
                let started = Instant::now();
                let kernel = compile(&func, &Options { features, ..Options::default() })?;
                let compiling = started.elapsed();
                let seconds = run(&kernel, dtype, n, d, bq)?;
                let rate = (4 * n * n * d) as f64 / seconds;
                say(&format!(
                    "{features} {dtype} N {n} D {d} blocks {bq}×{bk}: {:6.2} GF/s, {:4.1} % of peak, {:.1} ms; compiled in {:.2} ms",
                    rate / 1e9,
                    100.0 * rate / peak,
                    seconds * 1e3,
                    compiling.as_secs_f64() * 1e3
                ));
            }
        }
    }
    Ok(())
}

fn say(line: &str) {
    #[allow(clippy::print_stdout, reason = "a program for people")]
    {
        println!("{line}");
    }
}

const H: ExtentId = ExtentId(0);
const N: ExtentId = ExtentId(1);
const M: ExtentId = ExtentId(2);
const D: ExtentId = ExtentId(3);
const I: DimId = DimId(0);
const J: DimId = DimId(1);
const E: DimId = DimId(2);

/// Dense attention of one query block.
fn attention(dtype: DType, bq: i64, bk: i64, d: i64) -> Func {
    let extent = |name: &str, known| Extent { name: name.into(), known, order: None };
    let dim = |name: &str, size, over, whole| Dim {
        name: name.into(),
        size,
        over: Some(over),
        order: None,
        whole,
        full: false,
    };
    let axis = |extent| Axis { extent, by: None };
    let tensor = |name: &str, over, out| Param {
        name: name.into(),
        kind: ParamKind::Tensor(dtype, vec![axis(H), axis(over), axis(D)]),
        out,
        span: Default::default(),
    };
    let mut func = Func {
        name: "attention".into(),
        extents: vec![extent("H", None), extent("N", None), extent("M", None), extent("D", Some(d))],
        dims: vec![dim("i", bq, N, false), dim("j", bk, M, false), dim("D", d, D, true)],
        ..Func::default()
    };
    let (h, scale) = (func.new_value(Type::Scalar(DType::I64)), func.new_value(Type::Scalar(DType::F32)));
    func.grid = vec![GridAxis::Walk(I), GridAxis::Each(axis(H), h)];
    let kind = ParamKind::Scalar(DType::F32, scale);
    let scaled = Param { name: "scale".into(), kind, out: false, span: Default::default() };
    func.params =
        vec![tensor("q", N, false), tensor("k", M, false), tensor("v", M, false), scaled, tensor("out", N, true)];
    let mut b = Builder::new(func);
    let rows = |over| vec![Index::Value, Index::Dim(over), Index::Dim(E)];
    let qi = b.push(Op::Load(ParamId(0), rows(I)), &[h]);
    let [minus, zero, log2e] =
        [f64::NEG_INFINITY, 0.0, LOG2E as f32 as f64].map(|x| b.constant(DType::F32, Scalar::Float(x)));
    let top = b.push(Op::Broadcast(vec![I]), &[minus]);
    let den = b.push(Op::Broadcast(vec![I]), &[zero]);
    let acc = b.push(Op::Broadcast(vec![I, E]), &[zero]);
    let factor = b.push(Op::Binary(BinaryOp::Mul), &[scale, log2e]);
    let carried = [Type::tile(DType::F32, [I]), Type::tile(DType::F32, [I]), Type::tile(DType::F32, [I, E])];
    let state = b.open(&carried);
    let next = step(&mut b, dtype, &state, qi, h, factor, &rows);
    let body = b.close(next);
    let it = Loop { over: Over::Walk(J), bounds: false, list: None, guard: false };
    let end = b.push_for(it, &[top, den, acc], vec![body]);
    let some = b.push(Op::Binary(BinaryOp::Gt), &[end[1], zero]);
    let mean = b.push(Op::Binary(BinaryOp::Div), &[end[2], end[1]]);
    let out = b.push(Op::Select, &[some, mean, zero]);
    let out = if dtype == DType::F32 { out } else { b.push(Op::Cast(dtype), &[out]) };
    let store = Op::Store { param: ParamId(4), index: rows(I), mode: StoreMode::Set, masked: false };
    b.try_push(store, &[h, out]).expect("well typed");
    b.finish()
}

/// One key block of the online softmax.
fn step(
    b: &mut Builder,
    dtype: DType,
    state: &[Value],
    qi: Value,
    h: Value,
    factor: Value,
    rows: &dyn Fn(DimId) -> Vec<Index>,
) -> Vec<Value> {
    let (top, den, acc) = (state[0], state[1], state[2]);
    let kj = b.push(Op::Load(ParamId(1), rows(J)), &[h]);
    let s = b.push(Op::Dot(vec![E]), &[qi, kj]);
    let s = b.push(Op::Binary(BinaryOp::Mul), &[s, factor]);
    let most = b.push(Op::Reduce(ReduceOp::Max, vec![J]), &[s]);
    let new = b.push(Op::Binary(BinaryOp::Max), &[top, most]);
    let p = b.push(Op::Binary(BinaryOp::Sub), &[s, new]);
    let p = b.push(Op::Unary(UnaryOp::Exp2), &[p]);
    let fade = b.push(Op::Binary(BinaryOp::Sub), &[top, new]);
    let fade = b.push(Op::Unary(UnaryOp::Exp2), &[fade]);
    let old = b.push(Op::Binary(BinaryOp::Mul), &[den, fade]);
    let sum = b.push(Op::Reduce(ReduceOp::Sum, vec![J]), &[p]);
    let den = b.push(Op::Binary(BinaryOp::Add), &[old, sum]);
    let p = if dtype == DType::F32 { p } else { b.push(Op::Cast(dtype), &[p]) };
    let vj = b.push(Op::Load(ParamId(2), rows(J)), &[h]);
    let product = b.push(Op::Dot(vec![J]), &[p, vj]);
    let faded = b.push(Op::Binary(BinaryOp::Mul), &[acc, fade]);
    let acc = b.push(Op::Binary(BinaryOp::Add), &[faded, product]);
    vec![new, den, acc]
}

/// Seconds for one head.
fn run(kernel: &Kernel, dtype: DType, n: i64, d: i64, bq: i64) -> Result<f64, Limit> {
    let count = (n * d) as usize;
    let data = |seed: usize| -> Vec<u8> {
        let mut bytes = vec![0; count * dtype.bytes()];
        for (i, to) in bytes.chunks_mut(dtype.bytes()).enumerate() {
            let x = ((i * 2_654_435_761 + seed) >> 8 & 1023) as f64 / 512.0 - 1.0;
            pantile_ir::eval::encode(dtype, Scalar::Float(pantile_ir::eval::round(dtype, x)), to);
        }
        bytes
    };
    let mut tensors = [data(1), data(22), data(333), vec![0; count * dtype.bytes()]];
    let mut arg = |t: usize| Arg::Tensor { data: tensors[t].as_mut_ptr(), strides: vec![n * d, d, 1] };
    let scale = u64::from((1.0 / (d as f32).sqrt()).to_bits());
    let args = [arg(0), arg(1), arg(2), Arg::Scalar(scale), arg(3)];
    let launch = Launch { args: &args, extents: &[1, n, n, d], tables: &[None, None, None], orders: &[] };
    let words = kernel.words(&launch)?;
    let mut arena = vec![0u8; kernel.arena_bytes(&words) + 64];
    let start = arena.as_ptr().align_offset(64);
    // Cells take the same time, so the shortest stands for all: the others were disturbed.
    let full = n / bq;
    let seconds = (0..3 * full).map(|cell| {
        let started = Instant::now();
        // SAFETY: the launch's tensors are live and as large as the extents say; the arena is aligned and its own.
        #[allow(unsafe_code, reason = "machine code is called")]
        let fault = unsafe { kernel.run(&words, arena.as_mut_ptr().add(start), (cell % full) as u64, 1) };
        assert_eq!(fault, 0);
        started.elapsed().as_secs_f64()
    });
    let seconds = seconds.fold(f64::INFINITY, f64::min) * n as f64 / bq as f64;
    Ok(seconds)
}
