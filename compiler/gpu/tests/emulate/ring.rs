//! A matrix product as GPUs of the Hopper kind run it: one warp brings boxes of both operands into a ring of stages, a
//! warpgroup multiplies them. It equals plain sums under any schedule, and each order that is left out is found.

use crate::support::{act, is, lane, mine, program, run, warp, words};
use pantile_gpu::emulate::{ErrorKind, Memory};
use pantile_gpu::simt::{Binary, Builder, Compare, Convert, Op, Program, Small, Space, Ty, Value, Wgmma, WgmmaLeft};
use pantile_gpu::{Swizzle, TensorMap};

const STAGES: i32 = 2;
/// Of a stage: 64 × 64 elements of 16 bits of each operand.
const STAGE: i64 = 16384;
const DEPTH: i32 = 160;
const ROUNDS: i32 = (DEPTH + 63) / 64;

/// What may be left out.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Omit {
    Nothing,
    FullWait,
    EmptyWait,
    EmptyArrive,
    Expect,
    ProductWait,
    EarlyRelease,
    SecondBox,
}

/// A full or empty barrier of a stage.
fn barrier(b: &mut Builder, stage: Value, empty: bool) -> Value {
    let offset = b.mul_const(stage, 8);
    b.add_const(offset, i64::from(STAGES) * STAGE + if empty { 8 * i64::from(STAGES) } else { 0 })
}

/// The stage of a round, and the parity of its phase.
fn stage_of(b: &mut Builder, round: Value) -> (Value, Value) {
    let stages = b.i32(STAGES);
    let stage = b.binary(Binary::URem, round, stages);
    let phase = b.binary(Binary::UDiv, round, stages);
    (stage, b.and_const(phase, 1))
}

fn make_barriers(b: &mut Builder, leader: Value) {
    b.when(leader, |b| {
        for stage in 0..STAGES {
            let stage = b.i32(stage);
            let (one, four) = (b.i32(1), b.i32(4));
            let (full, empty) = (barrier(b, stage, false), barrier(b, stage, true));
            act(b, Op::MbarrierInit, &[full, one]);
            act(b, Op::MbarrierInit, &[empty, four]);
        }
        act(b, Op::MbarrierFence, &[]);
    });
    b.barrier();
}

fn produce(b: &mut Builder, omit: Omit) {
    let (rounds, one, zero, yes) = (b.i32(ROUNDS), b.i32(1), b.i32(0), b.bool(true));
    b.count(rounds, &[], |b, round, _| {
        let (stage, parity) = stage_of(b, round);
        let (full, empty) = (barrier(b, stage, false), barrier(b, stage, true));
        let before = b.binary(Binary::Xor, parity, one);
        if omit != Omit::EmptyWait {
            act(b, Op::MbarrierWait, &[empty, before]);
        }
        let bytes = b.i32(if omit == Omit::Expect { 0 } else { STAGE as i32 });
        act(b, Op::MbarrierExpect, &[full, bytes, yes]);
        let to = b.mul_const(stage, STAGE);
        let k = b.mul_const(round, 64);
        let left = b.param(0);
        let right = b.add_const(left, 128);
        act(b, Op::TensorLoad { rank: 2 }, &[to, left, full, yes, k, zero]);
        if omit != Omit::SecondBox {
            let to = b.add_const(to, STAGE / 2);
            act(b, Op::TensorLoad { rank: 2 }, &[to, right, full, yes, zero, k]);
        }
        Vec::new()
    });
}

/// A descriptor of what lies at a shared address: rows of 128 bytes, swizzled, 8 rows 1024 bytes from the next 8.
fn descriptor(b: &mut Builder, address: Value) -> Value {
    let start = b.shr_const(address, 4);
    let start = b.zero_extend(Ty::I64, start);
    let rest = b.i64(1 << 62 | 64 << 32 | 1 << 16);
    b.binary(Binary::Or, start, rest)
}

fn consume(b: &mut Builder, omit: Omit) {
    let (rounds, zero) = (b.i32(ROUNDS), b.f32(0.0));
    let lane = lane(b);
    let leader = is(b, lane, 0);
    let wgmma = Wgmma {
        n: 64,
        dtype: Some(Small::BF16),
        left: WgmmaLeft::Shared,
        transpose_left: false,
        transpose_right: true,
        accumulate: true,
    };
    let sums = b.count(rounds, &[zero; 32], |b, round, sums| {
        let (stage, parity) = stage_of(b, round);
        let (full, empty) = (barrier(b, stage, false), barrier(b, stage, true));
        if omit != Omit::FullWait {
            act(b, Op::MbarrierWait, &[full, parity]);
        }
        act(b, Op::WgmmaFence, &[]);
        let at = b.mul_const(stage, STAGE);
        let mut sums = sums.to_vec();
        for step in 0..4 {
            let left = b.add_const(at, 32 * step);
            let right = b.add_const(at, STAGE / 2 + 2048 * step);
            let operands = [descriptor(b, left), descriptor(b, right)];
            sums = b.emit(Op::Wgmma(wgmma), &[&operands, &sums[..]].concat(), &[Ty::F32; 32]);
        }
        act(b, Op::WgmmaCommit, &[]);
        if omit == Omit::EarlyRelease {
            act(b, Op::MbarrierArrive, &[empty, leader]);
        }
        let left = if omit == Omit::ProductWait { 1 } else { 0 };
        sums = b.emit(Op::WgmmaWait(left), &sums, &[Ty::F32; 32]);
        if omit != Omit::EmptyArrive && omit != Omit::EarlyRelease {
            act(b, Op::MbarrierArrive, &[empty, leader]);
        }
        sums
    });
    let out = mine(b, 1, 128);
    for (n, sum) in sums.iter().enumerate() {
        let bits = b.convert(Convert::Bits(Ty::I32), *sum);
        let at = b.add_const(out, 4 * n as i64);
        b.store(Space::Global, 32, at, &[bits], None);
    }
}

/// Warps 0 to 3 multiply, warp 4 brings.
fn matmul(omit: Omit) -> Program {
    let mut program = program(160, (i64::from(STAGES) * (STAGE + 16)) as u32, |b| {
        b.param(1);
        let (warp, lane) = (warp(b), lane(b));
        let (four, leader) = (b.i32(4), is(b, lane, 0));
        let producer = b.compare(Compare::Eq, warp, four);
        let maker = b.and(producer, leader);
        make_barriers(b, maker);
        b.branch(
            producer,
            |b| {
                b.when(leader, |b| produce(b, omit));
                Vec::new()
            },
            |b| {
                consume(b, omit);
                Vec::new()
            },
        );
    });
    program.name = "matmul".into();
    program
}

fn element(n: usize, salt: usize) -> i32 {
    (n * 7 + n / 13 * salt) as i32 % 9 - 4
}

fn bf16s(count: usize, salt: usize) -> Vec<u8> {
    (0..count).flat_map(|n| ((element(n, salt) as f32).to_bits() >> 16).to_le_bytes()[..2].to_vec()).collect()
}

fn multiply(program: &Program, seed: u64) -> Result<(), ErrorKind> {
    let depth = DEPTH as usize;
    let mut memory = Memory::new();
    let map = |base, dims: [u64; 2]| TensorMap {
        base,
        element: 2,
        dims: dims.to_vec(),
        strides: vec![2 * dims[0]],
        extents: vec![64, 64],
        swizzle: Swizzle::Bytes128,
    };
    let left = map(memory.alloc_with(&bf16s(64 * depth, 3)), [depth as u64, 64]);
    let right = map(memory.alloc_with(&bf16s(depth * 64, 5)), [64, depth as u64]);
    let launch = [memory.tensor_maps(&[left, right]), memory.alloc(160 * 128)];
    run(program, &launch, &mut memory, seed).map_err(|found| found.kind)?;
    for (n, got) in words(&memory, launch[1], 64 * 64).into_iter().enumerate() {
        let (thread, register) = (n / 32, n % 32);
        let row = thread / 32 * 16 + thread % 32 / 4 + register / 2 % 2 * 8;
        let column = register / 4 * 8 + thread % 4 * 2 + register % 2;
        let sum: i32 = (0..depth).map(|k| element(row * depth + k, 3) * element(k * 64 + column, 5)).sum();
        assert_eq!(f32::from_bits(got), sum as f32, "seed {seed}, {row}, {column}");
    }
    Ok(())
}

#[test]
fn a_right_product_equals_plain_sums_under_any_schedule() {
    let program = matmul(Omit::Nothing);
    for seed in 0..150 {
        if let Err(found) = multiply(&program, seed) {
            panic!("seed {seed}: {found}");
        }
    }
}

#[test]
fn products_that_lack_an_order_are_found() {
    use Omit::*;
    for omit in [FullWait, EmptyWait, EmptyArrive, Expect, ProductWait, EarlyRelease, SecondBox] {
        let program = matmul(omit);
        for seed in 0..20 {
            let kind = match multiply(&program, seed) {
                Ok(()) => panic!("{omit:?}, seed {seed}: nothing was found"),
                Err(kind) => kind,
            };
            // Who reads first what another one is to write finds nothing there.
            let race = matches!(kind, ErrorKind::Race { .. } | ErrorKind::Uninitialised { .. });
            let fits = match omit {
                Nothing => false,
                FullWait => race,
                // A producer that laps its consumers leaves them waiting for a parity that has passed.
                EmptyWait => race || matches!(kind, ErrorKind::Deadlock(_) | ErrorKind::Barrier(_)),
                EmptyArrive | SecondBox => matches!(kind, ErrorKind::Deadlock(_)),
                // The phase ends before its copies begin.
                Expect => race || matches!(kind, ErrorKind::Barrier(_)),
                ProductWait => matches!(kind, ErrorKind::PendingAccumulator) || race,
                EarlyRelease => race,
            };
            assert!(fits, "{omit:?}, seed {seed}: {kind}");
        }
    }
}
