//! Every op and dtype in a loop over lanes: what has a wide form gives bit for bit what the 128-bit loop gives, which
//! `lanes_tests.rs` holds to the op table. Which ops have none is written down, so that losing one is seen.

use std::collections::HashSet;

use cranelift_codegen::ir::{Block, Function, Inst, InstBuilder, TrapCode, Value, types};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::FunctionBuilderContext;
use iced_x86::Mnemonic;
use pantile_ir::{BinaryOp, DType, ReduceOp, Scalar, UnaryOp, eval};

use super::{Ahead, Body, Cache, LINE, assemble, call, lanes, read};
use crate::emit::Looped;
use crate::shape::{Loop, innermost};
use crate::vector::{ACCESS, Lanes, Width, constant, load, register, store};
use crate::{Emit, Entry, Features, Jit, arith, convert, signature};

const COUNT: usize = 96;

/// A loop's body: lanes of the inputs, then of what it carries; gives what it stores and what it carries on.
type Step<'a> = &'a dyn Fn(&mut Emit<'_>, &[Lanes]) -> (Lanes, Option<Lanes>);

struct Case<'a> {
    inputs: &'a [DType],
    out: DType,
    fold: Option<ReduceOp>,
    /// Whether what it stores may go around the caches.
    streamed: bool,
    step: Step<'a>,
}

/// A function with its 128-bit loop, before anything leads there.
struct Narrow {
    looped: Looped,
    /// What is carried, before the loop.
    start: Vec<Value>,
    folds: Vec<(Block, Value)>,
    streamed: HashSet<Inst>,
    /// Jumps to `entry`, with the first lane and what is carried.
    here: Block,
    entry: Block,
    words: Value,
    lanes: Value,
    /// What is carried, after the loop, in the block behind it.
    end: Vec<Value>,
    after: Block,
}

fn narrow(e: &mut Emit<'_>, case: &Case<'_>) -> Narrow {
    let (words, hi) = (e.param(0), e.param(3));
    let pointers: Vec<_> =
        (0..=case.inputs.len()).map(|n| e.ins().load(types::I64, ACCESS, words, 8 * n as i32)).collect();
    let start: Vec<Value> = case.fold.iter().map(|op| arith::neutral(e, *op, case.out, Width::Four).value()).collect();
    let tys: Vec<_> = start.iter().map(|v| e.ty(*v)).collect();
    let here = e.block(&[]);
    e.jump(here, &[]);
    let entry = e.block(&[&[types::I64], &tys[..]].concat());
    let params = e.enter(entry);
    let it = e.open(params[0], hi, &params[1..]);
    let address = |e: &mut Emit<'_>, n: usize, dtype: DType| {
        let step = e.ins().ishl_imm_u(it.index, i64::from(dtype.bytes().trailing_zeros()));
        e.ins().iadd(pointers[n], step)
    };
    let mut given = Vec::new();
    for (n, dtype) in case.inputs.iter().enumerate() {
        let at = address(e, n, *dtype);
        given.push(load(e, *dtype, Width::Four, at, 0));
    }
    given.extend(it.carried.iter().map(|v| Lanes::from_values(case.out, Width::Four, &[*v])));
    let (y, next) = (case.step)(e, &given);
    let at = address(e, case.inputs.len(), case.out);
    store(e, y, at, 0);
    let streamed = e.last().filter(|_| case.streamed).into_iter().collect();
    let looped = it.blocks();
    let next: Vec<_> = next.iter().map(Lanes::value).collect();
    let end = e.close(it, 4, &next);
    let after = e.here();
    let folds = case.fold.map(|op| {
        let ty = register(case.out, Width::Four);
        let block = e.block(&[ty, ty]);
        let params = e.enter(block);
        let [a, b] = [params[0], params[1]].map(|v| Lanes::from_values(case.out, Width::Four, &[v]));
        let result = arith::combine(e, op, a, b).value();
        e.ins().trap(TrapCode::unwrap_user(1));
        (block, result)
    });
    Narrow { looped, start, folds: folds.into_iter().collect(), streamed, here, entry, words, lanes: hi, end, after }
}

fn body(e: &Emit<'_>, narrow: &Narrow) -> Option<Body> {
    read(
        e.b.func,
        narrow.looped.body,
        narrow.looped.before,
        &narrow.start,
        &narrow.folds,
        (&narrow.streamed, e.halves()),
    )
}

/// A function `(words, _, _, lanes)`: narrow or, if the loop has a wide form, wide. Stores the four lanes of what is
/// carried behind the output.
fn compile(case: &Case<'_>, features: Features) -> Option<Entry> {
    let mut jit = Jit::new(false, features).expect("the host is supported");
    let signature = jit.signature(&[types::I64; 4], &[types::I64]);
    let mut func = Function::with_name_signature(Default::default(), signature);
    let mut context = FunctionBuilderContext::new();
    let mut e = Emit::new(&mut func, &mut context);
    let narrow = narrow(&mut e, case);
    let wide = lanes(features).map(|width| {
        let body = body(&e, &narrow)?;
        let code = assemble(features, &body).expect("accepted by the assembler")?;
        Some((width, body, code))
    });
    e.enter_again(narrow.here);
    let first = match wide {
        None => {
            let zero = e.int(0);
            [&[zero], &narrow.start[..]].concat()
        }
        Some(form) => {
            let (width, body, code) = form?;
            let done = e.ins().band_imm_s(narrow.lanes, -width);
            let tys: Vec<_> = narrow.start.iter().map(|v| e.ty(*v)).collect();
            let flag = 8 * (case.inputs.len() + 1) as i32;
            let stream = body.streams().then(|| e.ins().load(types::I64, ACCESS, narrow.words, flag));
            let sums = call(&mut e, &mut jit, &body, &code, done, stream, &tys).expect("accepted by Cranelift");
            [&[done], &sums[..]].concat()
        }
    };
    e.jump(narrow.entry, &first);
    e.enter_again(narrow.after);
    let out = e.ins().load(types::I64, ACCESS, narrow.words, 8 * case.inputs.len() as i32);
    for value in &narrow.end {
        e.ins().store(ACCESS, *value, out, (COUNT * case.out.bytes()) as i32);
    }
    let zero = e.int(0);
    e.ins().return_(&[zero]);
    e.finish(jit.frontend_config());
    let id = jit.define("loop", func).expect("accepted by Cranelift");
    Some(Entry::new(jit.finish().expect("memory for code"), id))
}

/// The output, and behind it what was carried, after `count` lanes.
fn run(entry: &Entry, case: &Case<'_>, columns: &[Vec<u8>], count: usize) -> Vec<u8> {
    run_at(entry, case, columns, count, (0, false))
}

/// As [`run`], with the output so many bytes behind the start of a line, around the caches if asked for.
fn run_at(entry: &Entry, case: &Case<'_>, columns: &[Vec<u8>], count: usize, (off, stream): (usize, bool)) -> Vec<u8> {
    let size = COUNT * case.out.bytes() + 16;
    let mut room = vec![0xa5; size + 2 * LINE as usize];
    let start = room.as_ptr().align_offset(LINE as usize) + off;
    let out = &mut room[start..start + size];
    let words: Vec<u64> = columns.iter().map(|c| c.as_ptr() as u64).collect();
    let words = [&words[..], &[out.as_mut_ptr() as u64, u64::from(stream)]].concat();
    // SAFETY: the words are the columns' addresses, each `COUNT` elements long.
    #[allow(unsafe_code, reason = "machine code is called")]
    unsafe {
        entry.call(words.as_ptr(), std::ptr::null_mut(), 0, count as u64);
    }
    out.to_vec()
}

/// Numbers of all sizes and both signs, with those that are special.
fn column(dtype: DType, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let special = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1.0, -1.0, 1e-40, 3e38, -87.5, 0.49, 126.7];
    let mut bytes = vec![0; COUNT * dtype.bytes()];
    for (n, to) in bytes.chunks_mut(dtype.bytes()).enumerate() {
        let bits = next();
        let value = match dtype.kind() {
            pantile_ir::Kind::Float => {
                let plain = (bits as f64 / (1u64 << 30) as f64 - 1.0) * [1.0, 20.0, 1e-6, 1e6][n % 4];
                let x = if bits.is_multiple_of(5) { special[(bits as usize / 5) % special.len()] } else { plain };
                eval::cast(DType::F64, dtype, Scalar::Float(x))
            }
            pantile_ir::Kind::Bool => Scalar::Bool(bits & 1 == 1),
            pantile_ir::Kind::Signed | pantile_ir::Kind::Unsigned => {
                eval::cast(DType::I64, dtype, Scalar::Int(bits as i64 - (1 << 30)))
            }
        };
        eval::encode(dtype, value, to);
    }
    bytes
}

/// Whether a case has a wide form wherever this machine can run one; what is wide must give what is narrow.
fn is_wide(name: &str, case: &Case<'_>) -> bool {
    let columns: Vec<Vec<u8>> = (0..).zip(case.inputs).map(|(n, dtype)| column(*dtype, 7 + n)).collect();
    let narrow = compile(case, Features::Baseline).expect("narrow loops always compile");
    let mut wide = true;
    for features in Features::ALL.iter().copied().filter(|f| *f != Features::Baseline && *f <= Features::host()) {
        let Some(entry) = compile(case, features) else {
            wide = false;
            continue;
        };
        for count in [0, 4, 8, 16, 28, 64, COUNT] {
            let (mut want, mut got) = (run(&narrow, case, &columns, count), run(&entry, case, &columns, count));
            if case.fold.is_some() {
                // Lanes meet in another order: of what is carried, only all of it together counts.
                let tail = COUNT * case.out.bytes();
                let [a, b] = [&want, &got].map(|all| folded(case, &all[tail..]));
                assert!(same(a, b), "{name} {features} of {count}: {a:?} became {b:?}");
                want.truncate(tail);
                got.truncate(tail);
            }
            assert_eq!(want, got, "{name} {features}, {count} lanes");
        }
    }
    wide
}

fn folded(case: &Case<'_>, bytes: &[u8]) -> f64 {
    let lanes = bytes.chunks(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
    match case.fold {
        Some(ReduceOp::Max) => {
            lanes.fold(f64::NEG_INFINITY, |a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) })
        }
        Some(ReduceOp::Min) => {
            lanes.fold(f64::INFINITY, |a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) })
        }
        Some(ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Any | ReduceOp::All) | None => lanes.sum(),
    }
}

fn same(a: f64, b: f64) -> bool {
    (a.is_nan() && b.is_nan()) || a == b || (a - b).abs() <= 1e-5 * a.abs().max(1.0)
}

const CARRIED_IN_32_BITS: [DType; 7] =
    [DType::F32, DType::BF16, DType::F16, DType::I32, DType::U32, DType::I16, DType::U16];

#[test]
fn unary_ops() {
    let mut narrow = Vec::new();
    for dtype in CARRIED_IN_32_BITS {
        for op in UnaryOp::ALL.iter().copied().filter(|op| op.class().admits(dtype)) {
            let step = |e: &mut Emit<'_>, x: &[Lanes]| (arith::unary(e, op, x[0]), None);
            let case = Case { inputs: &[dtype], out: dtype, fold: None, streamed: false, step: &step };
            if !is_wide(&format!("{op:?} {dtype}"), &case) {
                narrow.push(format!("{op:?} {dtype}"));
            }
        }
    }
    // Sine and cosine branch.
    assert_eq!(narrow, ["Sin f32", "Cos f32", "Sin bf16", "Cos bf16", "Sin f16", "Cos f16"]);
}

#[test]
fn binary_ops() {
    let mut narrow = Vec::new();
    for dtype in CARRIED_IN_32_BITS {
        for op in BinaryOp::ALL.iter().copied().filter(|op| op.class().admits(dtype)) {
            let out = if op.is_comparison() { DType::I32 } else { dtype };
            let step = |e: &mut Emit<'_>, x: &[Lanes]| {
                let y = arith::binary(e, op, x[0], x[1]);
                (if op.is_comparison() { convert::cast(e, y, DType::I32) } else { y }, None)
            };
            let case = Case { inputs: &[dtype, dtype], out, fold: None, streamed: false, step: &step };
            if !is_wide(&format!("{op:?} {dtype}"), &case) {
                narrow.push(format!("{op:?} {dtype}"));
            }
        }
    }
    // What is done lane by lane, and the unsigned comparisons that 256 bits lack.
    let lane_by_lane = |name: &&String| {
        let whole_division = name.starts_with("Div ") && !name.contains('f');
        whole_division || ["Rem ", "Shl ", "Shr "].iter().any(|op| name.starts_with(op))
    };
    narrow.retain(|name| !lane_by_lane(&name));
    assert_eq!(narrow, ["Lt u32", "Le u32", "Gt u32", "Ge u32"]);
}

#[test]
fn casts_and_choices() {
    let mut narrow = Vec::new();
    for from in CARRIED_IN_32_BITS {
        for to in CARRIED_IN_32_BITS {
            let step = |e: &mut Emit<'_>, x: &[Lanes]| {
                let y = convert::cast(e, x[0], to);
                let (limit, other) = (constant(e, to, one(to), Width::Four), constant(e, to, zero(to), Width::Four));
                let large = arith::binary(e, BinaryOp::Ge, y, limit);
                (arith::select(e, large, y, other), None)
            };
            let case = Case { inputs: &[from], out: to, fold: None, streamed: false, step: &step };
            if to != DType::U32 && !is_wide(&format!("{from} as {to}"), &case) {
                narrow.push(format!("{from} as {to}"));
            }
        }
    }
    // Floats to integers saturate, and there is no unsigned conversion in 256 bits.
    narrow.retain(|name| !["f32 as", "bf16 as", "f16 as", "u32 as"].iter().any(|from| name.starts_with(from)));
    assert_eq!(narrow, [""; 0]);
}

fn one(dtype: DType) -> Scalar {
    if dtype.is_float() { Scalar::Float(1.0) } else { Scalar::Int(1) }
}

fn zero(dtype: DType) -> Scalar {
    if dtype.is_float() { Scalar::Float(0.0) } else { Scalar::Int(0) }
}

/// The body of a softmax's second pass, with its running sum.
fn softmax_step(e: &mut Emit<'_>, x: &[Lanes]) -> (Lanes, Option<Lanes>) {
    let scale = constant(e, DType::F32, Scalar::Float(0.125), Width::Four);
    let s = arith::binary(e, BinaryOp::Mul, x[0], scale);
    let least = constant(e, DType::F32, Scalar::Float(-50.0), Width::Four);
    let p = arith::binary(e, BinaryOp::Min, s, least);
    let p = arith::unary(e, UnaryOp::Exp2, p);
    let sum = arith::binary(e, BinaryOp::Add, x[1], p);
    (p, Some(sum))
}

#[test]
fn reductions() {
    for op in [ReduceOp::Sum, ReduceOp::Max, ReduceOp::Min] {
        let step = |e: &mut Emit<'_>, x: &[Lanes]| {
            let bounded = constant(e, DType::F32, Scalar::Float(1e3), Width::Four);
            let y = arith::binary(e, BinaryOp::Min, x[0], bounded);
            let next = arith::combine(e, op, x[1], y);
            (y, Some(next))
        };
        let case = Case {
            inputs: &[DType::I16],
            out: DType::F32,
            fold: Some(op),
            streamed: false,
            step: &|e, x| {
                let wide = convert::cast(e, x[0], DType::F32);
                step(e, &[wide, x[1]])
            },
        };
        assert!(is_wide(&format!("{op:?}"), &case), "{op:?}");
    }
    assert!(is_wide("softmax", &softmax()));
}

fn softmax() -> Case<'static> {
    Case { inputs: &[DType::F32], out: DType::F32, fold: Some(ReduceOp::Sum), streamed: false, step: &softmax_step }
}

/// Stores around the caches need lines of their own: wherever the output lies, it is what stores through them make of it.
#[test]
fn stores_go_around_the_caches_where_lines_begin() {
    let shifted = |e: &mut Emit<'_>, x: &[Lanes]| {
        let one = constant(e, DType::F32, Scalar::Float(1.0), Width::Four);
        let wide = convert::cast(e, x[0], DType::F32);
        arith::binary(e, BinaryOp::Add, wide, one)
    };
    for out in [DType::F32, DType::BF16, DType::F16, DType::I16, DType::U16] {
        let step = |e: &mut Emit<'_>, x: &[Lanes]| {
            let y = shifted(e, x);
            let y = if out.is_float() { convert::cast(e, y, out) } else { convert::cast(e, x[0], out) };
            (y, None)
        };
        let case = Case { inputs: &[DType::I16], out, fold: None, streamed: true, step: &step };
        let columns = [column(DType::I16, 3)];
        let narrow = compile(&case, Features::Baseline).expect("narrow loops always compile");
        for features in Features::ALL.iter().copied().filter(|f| *f != Features::Baseline && *f <= Features::host()) {
            let wide = compile(&case, features).expect("a wide form");
            let codes = codes_of(features, &case);
            assert!(codes.contains(&Mnemonic::Vmovntps), "{out} {features}: {codes:?}");
            for count in [0, 4, 16, 28, 64, COUNT] {
                let want = run(&narrow, &case, &columns, count);
                for at in [(0, true), (0, false), (4, true), (32, true), (60, true)] {
                    let got = run_at(&wide, &case, &columns, count, at);
                    assert_eq!(want, got, "{out} {features}, {count} lanes, {at:?}");
                }
            }
        }
    }
}

/// f16s are read, rounded and written by an instruction each, and what else would have done it is gone.
#[test]
fn halves_have_instructions_of_their_own() {
    let step = |e: &mut Emit<'_>, x: &[Lanes]| (arith::binary(e, BinaryOp::Add, x[0], x[0]), None);
    let case = Case { inputs: &[DType::F16], out: DType::F16, fold: None, streamed: false, step: &step };
    for features in [Features::Avx2, Features::Avx512] {
        let codes = codes_of(features, &case);
        let count = |mnemonic: Mnemonic| codes.iter().filter(|code| **code == mnemonic).count();
        assert_eq!((count(Mnemonic::Vcvtph2ps), count(Mnemonic::Vcvtps2ph)), (2, 2), "{features}: {codes:?}");
        assert!(codes.len() <= 12, "{features}: {codes:?}");
    }
}

fn codes_of(features: Features, case: &Case<'_>) -> Vec<Mnemonic> {
    let mut func =
        Function::with_name_signature(Default::default(), signature(CallConv::SystemV, &[types::I64; 4], &[]));
    let mut context = FunctionBuilderContext::new();
    let mut e = Emit::new(&mut func, &mut context);
    let narrow = narrow(&mut e, case);
    let mut body = body(&e, &narrow).expect("a wide form");
    body.fetch(Ahead { address: narrow.words, bytes: 4, into: Cache::Second });
    let code = assemble(features, &body).expect("accepted by the assembler").expect("registers for all");
    let loops = innermost(&code);
    let codes: Vec<Mnemonic> =
        loops.iter().flat_map(|l| &l.instructions).map(iced_x86::Instruction::mnemonic).collect();
    assert!(codes.contains(&Mnemonic::Prefetcht1), "{features}: what is asked for early is fetched: {codes:?}");
    codes
}

/// What keeps element-wise loops at the speed of the arithmetic: an operation is an instruction, and nothing but what is
/// loaded and stored, and constants that found no register, is memory.
#[test]
fn inner_loops_have_no_more_instructions_than_operations() {
    for (features, most, far) in [(Features::Avx2, 26, 6), (Features::Avx512, 24, 0)] {
        let mut func =
            Function::with_name_signature(Default::default(), signature(CallConv::SystemV, &[types::I64; 4], &[]));
        let mut context = FunctionBuilderContext::new();
        let mut e = Emit::new(&mut func, &mut context);
        let narrow = narrow(&mut e, &softmax());
        let body = body(&e, &narrow).expect("a wide form");
        let code = assemble(features, &body).expect("accepted by the assembler").expect("registers for all");
        // One that is unrolled for the reduction, and one that is not.
        let loops = innermost(&code);
        let single = loops.iter().map(Loop::shape).min_by_key(|shape| shape.all).expect("a loop");
        let text: String = loops.iter().map(Loop::text).collect();
        assert!(single.all <= most && single.broadcasts <= far && single.stack == 0, "{features}: {single}\n{text}");
    }
}
