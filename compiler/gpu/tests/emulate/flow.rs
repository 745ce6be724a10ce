//! Branches and loops that part a warp, and ops that need all of it. Memory plays no part.

use crate::support::{act, finds, give, is, lane, program, run, thread, words};
use pantile_gpu::emulate::{Error, ErrorKind, Memory, Options, run as run_grid};
use pantile_gpu::simt::{Binary, Builder, Compare, Op, Shuffle, Space, Special, Ty, Value};

/// What each thread of a block gives.
fn results(threads: u32, seed: u64, f: impl Fn(&mut Builder) -> Value) -> Vec<u32> {
    let program = program(threads, 0, |b| {
        let value = f(b);
        give(b, 0, value);
    });
    let mut memory = Memory::new();
    let out = memory.alloc(4 * threads as usize);
    run(&program, &[out], &mut memory, seed).expect("runs");
    words(&memory, out, threads as usize)
}

#[test]
fn arms_run_for_their_lanes_and_come_together() {
    for seed in 0..8 {
        let got = results(64, seed, |b| {
            let thread = thread(b);
            let bit = b.and_const(thread, 1);
            let odd = is(b, bit, 1);
            let seven = b.i32(7);
            let inner = b.branch(
                odd,
                |b| {
                    let big = b.compare(Compare::Gt, thread, seven);
                    b.branch(big, |b| vec![b.mul_const(thread, 3)], |b| vec![b.i32(1)])
                },
                |b| vec![b.add_const(thread, 100)],
            );
            inner[0]
        });
        let want = |t: u32| {
            if t.is_multiple_of(2) {
                t + 100
            } else if t > 7 {
                3 * t
            } else {
                1
            }
        };
        assert_eq!(got, (0..64).map(want).collect::<Vec<_>>());
    }
}

#[test]
fn lanes_leave_loops_when_they_are_done() {
    // Steps of the Collatz sequence, with two carried values that change places.
    let got = results(64, 3, |b| {
        let thread = thread(b);
        let start = b.add_const(thread, 1);
        let zero = b.i32(0);
        let one = b.i32(1);
        let ends = b.repeat(
            &[start, zero, one],
            |b, v| b.compare(Compare::Ne, v[0], one),
            |b, v| {
                let bit = b.and_const(v[0], 1);
                let odd = is(b, bit, 1);
                let triple = b.mul_const(v[0], 3);
                let up = b.add_const(triple, 1);
                let down = b.shr_const(v[0], 1);
                let next = b.select(odd, up, down);
                let count = b.add_const(v[2], 1);
                vec![next, count, v[1]]
            },
        );
        let sum = b.add(ends[1], ends[2]);
        let shifted = b.mul_const(ends[1], 1000);
        b.add(shifted, sum)
    });
    let want = |t: u32| {
        let (mut x, mut a, mut c) = (t + 1, 0u32, 1u32);
        while x != 1 {
            x = if x % 2 == 1 { 3 * x + 1 } else { x / 2 };
            (a, c) = (c + 1, a);
        }
        a * 1000 + a + c
    };
    assert_eq!(got, (0..64).map(want).collect::<Vec<_>>());
}

#[test]
fn values_that_are_dead_give_up_their_registers() {
    // A thousand values in a row, of which few live at once, and a long list of which all do.
    let got = results(32, 0, |b| {
        let thread = thread(b);
        let mut x = thread;
        let mut kept = Vec::new();
        for n in 0..1000 {
            x = b.add_const(x, n);
            if n % 10 == 0 {
                kept.push(b.mul_const(x, 5));
            }
        }
        kept.into_iter().fold(x, |sum, x| b.add(sum, x))
    });
    let want = |t: u32| {
        let (mut x, mut sum) = (t, 0u32);
        for n in 0..1000u32 {
            x += n;
            sum = if n % 10 == 0 { sum.wrapping_add(5 * x) } else { sum };
        }
        sum.wrapping_add(x)
    };
    assert_eq!(got, (0..32).map(want).collect::<Vec<_>>());
}

#[test]
fn shuffles_and_ballots_are_as_in_the_isa() {
    let all = |how: Shuffle, other: Option<i32>| {
        results(32, 0, move |b| {
            let lane = lane(b);
            let x = b.mul_const(lane, 10);
            let args = other.map(|n| b.add_const(lane, i64::from(n)));
            b.shuffle(how, x, args)
        })
    };
    assert_eq!(all(Shuffle::Xor(5), None), (0..32).map(|l| 10 * (l ^ 5)).collect::<Vec<u32>>());
    assert_eq!(all(Shuffle::Up(3), None), (0..32).map(|l| 10 * if l < 3 { l } else { l - 3 }).collect::<Vec<u32>>());
    assert_eq!(all(Shuffle::Index, Some(30)), (0..32).map(|l| 10 * ((l + 30) % 32)).collect::<Vec<u32>>());
    let ballot = results(32, 0, |b| {
        let lane = lane(b);
        let bit = b.and_const(lane, 4);
        let four = is(b, bit, 4);
        b.emit(Op::Ballot, &[four], &[Ty::I32])[0]
    });
    assert_eq!(ballot, vec![0xf0f0_f0f0; 32]);
}

#[test]
fn whole_warps_must_meet_collective_ops() {
    let ops: [(Op, &[Ty]); 6] = [
        (Op::Ballot, &[Ty::I32]),
        (Op::Shuffle(Shuffle::Xor(1)), &[Ty::I32]),
        (Op::Barrier { id: 0, threads: None }, &[]),
        (Op::WgmmaFence, &[]),
        (Op::SetRegisters(false, 24), &[]),
        (Op::LoadMatrix { count: 1, transpose: false }, &[Ty::I32]),
    ];
    for (op, results) in ops {
        let program = program(32, 128, |b| {
            let lane = lane(b);
            let first = is(b, lane, 0);
            b.when(first, |b| {
                let arg = if op == Op::Ballot { b.bool(true) } else { b.i32(0) };
                let args: &[Value] = if results.is_empty() { &[] } else { &[arg] };
                b.emit(op.clone(), args, results);
            });
        });
        let found = crate::support::mistake(&program);
        assert_eq!(found.kind, ErrorKind::Divergent { lanes: 1 }, "{found}");
    }
}

#[test]
fn blocks_and_threads_know_their_numbers() {
    let program = program(64, 0, |b| {
        let (block, blocks) = (b.special(Special::Block), b.special(Special::Blocks));
        let thread = thread(b);
        let first = b.mul_const(block, 64);
        let index = b.add(first, thread);
        let wide = b.zero_extend(Ty::I64, index);
        let offset = b.mul_const(wide, 4);
        let base = b.param(0);
        let address = b.add(base, offset);
        let value = b.mul(index, blocks);
        b.store(Space::Global, 32, address, &[value], None);
    });
    for seed in 0..4 {
        let mut memory = Memory::new();
        let out = memory.alloc(4 * 64 * 5);
        run_grid(&program, 5, &[out], &mut memory, &Options::seeded(seed)).expect("runs");
        assert_eq!(words(&memory, out, 320), (0..320).map(|n| n * 5).collect::<Vec<u32>>());
    }
}

#[test]
fn endless_loops_end() {
    let program = program(32, 0, |b| {
        let lane = lane(b);
        b.repeat(&[lane], |b, _| b.bool(true), |_, v| v.to_vec());
    });
    let options = Options { steps: 10_000, ..Options::default() };
    let found = run_grid(&program, 1, &[], &mut Memory::new(), &options).expect_err("endless");
    assert_eq!(found.kind, ErrorKind::TooLong(10_000));
}

#[test]
fn faults_keep_the_first_code_and_go_on() {
    let program = program(64, 0, |b| {
        b.param(0);
        let thread = thread(b);
        let high = b.i32(40);
        let bad = b.compare(Compare::Ge, thread, high);
        let code = b.i32(7);
        let block = b.special(Special::Block);
        act(b, Op::Fault, &[bad, code, block]);
        give(b, 1, thread);
    });
    let mut memory = Memory::new();
    let (fault, out) = (memory.alloc_with(&[0; 8]), memory.alloc(256));
    let report = run_grid(&program, 3, &[fault, out], &mut memory, &Options::seeded(4)).expect("runs");
    let instance = report.fault.expect("a fault").1;
    assert_eq!((report.fault, words(&memory, fault, 2)), (Some((7, instance)), vec![7, instance]));
    assert!(instance < 3);
    assert_eq!(words(&memory, out, 64)[63], 63);
}

#[test]
fn a_launch_must_fit_the_program() {
    let plain = |threads, shared| program(threads, shared, |_| {});
    for (program, told) in
        [(plain(33, 0), "33 threads"), (plain(2048, 0), "2048 threads"), (plain(32, 233 << 10), "shared memory")]
    {
        finds(&program, told);
    }
    let words: Result<_, Error> = run(&plain(32, 0), &[1], &mut Memory::new(), 0);
    assert!(words.expect_err("one too many").to_string().contains("1 words"));
    let mapped = program(32, 0, |b| {
        b.map(1);
    });
    let words = run(&mapped, &[1], &mut Memory::new(), 0);
    assert!(words.expect_err("one too few").to_string().contains("the program takes 2"));
    let mut broken = program(32, 0, |b| {
        let lane = lane(b);
        let one = b.i32(1);
        b.binary(Binary::Add, lane, one);
    });
    broken.body.insts.swap(0, 2);
    finds(&broken, "%0 is used before it is defined");
}
