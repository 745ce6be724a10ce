//! Barriers of both kinds, registers that warps share out, and a ring of stages between warps: right ones run under any
//! schedule, each wrong one is found. Copies in the background are tested elsewhere.

use crate::support::{act, finds, get, give, is, lane, program, put, run, warp, words};
use pantile_gpu::emulate::{ErrorKind, Memory};
use pantile_gpu::simt::{Binary, Builder, Op, Program, Space, Value};

#[test]
fn barriers_that_a_part_meets_are_found() {
    let part = program(96, 0, |b| {
        let warp = warp(b);
        let first = is(b, warp, 0);
        b.when(first, Builder::barrier);
    });
    let found = crate::support::mistake(&part);
    assert!(matches!(found.kind, ErrorKind::BarrierMismatch(_)), "{found}");
    assert!(found.to_string().contains("32 of 96 threads"), "{found}");
    let differ = program(64, 0, |b| {
        let warp = warp(b);
        let first = is(b, warp, 0);
        b.branch(
            first,
            |b| {
                act(b, Op::Barrier { id: 1, threads: Some(64) }, &[]);
                Vec::new()
            },
            |b| {
                act(b, Op::Barrier { id: 1, threads: Some(32) }, &[]);
                Vec::new()
            },
        );
    });
    let told = crate::support::mistake(&differ).to_string();
    assert!(told.contains("same phase") || told.contains("part of the threads"), "{told}");
    let cross = program(64, 0, |b| {
        let warp = warp(b);
        let first = is(b, warp, 0);
        let both = |b: &mut Builder, ids: [u32; 2]| {
            for id in ids {
                act(b, Op::Barrier { id, threads: Some(64) }, &[]);
            }
            Vec::new()
        };
        b.branch(first, |b| both(b, [1, 2]), |b| both(b, [2, 1]));
    });
    finds(&cross, "deadlock: warp 0 waits for barrier 1, which 32 of 64 threads have met; warp 1 waits for barrier 2");
    finds(&program(64, 0, |b| act(b, Op::Barrier { id: 16, threads: None }, &[])), "barrier 16");
    finds(&program(64, 0, |b| act(b, Op::Barrier { id: 1, threads: Some(48) }, &[])), "48 threads");
}

/// Warp 0 writes and arrives at barrier 1, warp 1 waits there and reads; warp 2 has no part.
fn hand_over(arrive: bool, wait: bool) -> Program {
    program(96, 128, move |b| {
        let (warp, lane) = (warp(b), lane(b));
        let address = b.mul_const(lane, 4);
        let (first, second) = (is(b, warp, 0), is(b, warp, 1));
        b.when(first, |b| {
            put(b, address, lane);
            if arrive {
                act(b, Op::BarrierArrive { id: 1, threads: 64 }, &[]);
            }
        });
        b.when(second, |b| {
            if wait {
                act(b, Op::Barrier { id: 1, threads: Some(64) }, &[]);
            }
            let got = get(b, address);
            give(b, 0, got);
        });
    })
}

#[test]
fn warps_that_arrive_do_not_wait() {
    for seed in 0..50 {
        let mut memory = Memory::new();
        let out = memory.alloc(4 * 96);
        run(&hand_over(true, true), &[out], &mut memory, seed).expect("runs");
        assert_eq!(words(&memory, out + 128, 32), (0..32).collect::<Vec<u32>>());
        let found = run(&hand_over(true, false), &[out], &mut memory, seed).expect_err("a race").kind;
        assert!(matches!(found, ErrorKind::Race { .. } | ErrorKind::Uninitialised { .. }), "{found}");
        let found = run(&hand_over(false, true), &[out], &mut memory, seed).expect_err("nobody comes").kind;
        assert!(matches!(found, ErrorKind::BarrierMismatch(_)), "{found}");
    }
}

#[test]
fn registers_are_shared_out() {
    // Four warps give up some, four more wait for them.
    let program = |down: u32, up: u32| {
        let mut program = program(256, 0, |b| {
            let warp = warp(b);
            let group = b.shr_const(warp, 2);
            let first = is(b, group, 0);
            let set = |b: &mut Builder, up: bool, count: u32| {
                act(b, Op::SetRegisters(up, count), &[]);
                Vec::new()
            };
            b.branch(first, |b| set(b, false, down), |b| set(b, true, up));
        });
        program.registers = 128;
        program
    };
    let run = |program: &Program, seed| run(program, &[], &mut Memory::new(), seed);
    for seed in 0..20 {
        // 65536 registers less 256 threads of 128 leaves 32768 spare: 256 a thread for half of the threads at once.
        run(&program(24, 256), seed).expect("runs");
    }
    let mut tight = program(24, 240);
    tight.registers = 256;
    assert!(run(&tight, 0).expect_err("up is down").to_string().contains("up from 256 to 240"));
    let mut short = program(120, 256);
    (short.threads, short.registers) = (512, 128);
    let found = run(&short, 0).expect_err("too few").to_string();
    assert!(found.contains("256 registers a thread"), "{found}");
    assert!(run(&program(20, 240), 0).is_err() && run(&program(28, 240), 0).is_err());
}

/// What may be left out of the ring.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Omit {
    Nothing,
    FullArrive,
    FullWait,
    EmptyArrive,
    EmptyWait,
    FirstBarrier,
}

const STAGES: i32 = 3;
const ROUNDS: i32 = 11;

/// Where a stage's barrier is: the full ones first, then the empty ones.
fn at(b: &mut Builder, stage: Value, empty: bool) -> Value {
    let offset = b.mul_const(stage, 8);
    b.add_const(offset, i64::from(STAGES) * 128 + if empty { i64::from(STAGES) * 8 } else { 0 })
}

/// One warp fills stages of 32 words, two warps add them up.
fn ring(omit: Omit) -> Program {
    program(96, STAGES as u32 * (128 + 16), move |b| {
        let (warp, lane, yes) = (warp(b), lane(b), b.bool(true));
        let (first, leader) = (is(b, warp, 0), is(b, lane, 0));
        let maker = b.and(first, leader);
        b.when(maker, |b| {
            for stage in 0..STAGES {
                let stage = b.i32(stage);
                let (full, empty) = (at(b, stage, false), at(b, stage, true));
                let (all, two) = (b.i32(32), b.i32(2));
                act(b, Op::MbarrierInit, &[full, all]);
                act(b, Op::MbarrierInit, &[empty, two]);
            }
        });
        if omit != Omit::FirstBarrier {
            b.barrier();
        }
        let (rounds, stages) = (b.i32(ROUNDS), b.i32(STAGES));
        let place = move |b: &mut Builder, round: Value| {
            let stage = b.binary(Binary::URem, round, stages);
            let phase = b.binary(Binary::UDiv, round, stages);
            let parity = b.and_const(phase, 1);
            let base = b.mul_const(stage, 128);
            let mine = b.mul_const(lane, 4);
            (stage, parity, b.add(base, mine))
        };
        b.branch(
            first,
            |b| {
                b.count(rounds, &[], |b, round, _| {
                    let (stage, parity, address) = place(b, round);
                    let (full, empty) = (at(b, stage, false), at(b, stage, true));
                    let one = b.i32(1);
                    let before = b.binary(Binary::Xor, parity, one);
                    if omit != Omit::EmptyWait {
                        act(b, Op::MbarrierWait, &[empty, before]);
                    }
                    let value = b.mul(round, lane);
                    put(b, address, value);
                    if omit != Omit::FullArrive {
                        act(b, Op::MbarrierArrive, &[full, yes]);
                    }
                    Vec::new()
                });
                Vec::new()
            },
            |b| {
                let zero = b.i32(0);
                let sums = b.count(rounds, &[zero], |b, round, sums| {
                    let (stage, parity, address) = place(b, round);
                    let (full, empty) = (at(b, stage, false), at(b, stage, true));
                    if omit != Omit::FullWait {
                        act(b, Op::MbarrierWait, &[full, parity]);
                    }
                    let got = get(b, address);
                    let sum = b.add(sums[0], got);
                    if omit != Omit::EmptyArrive {
                        act(b, Op::MbarrierArrive, &[empty, leader]);
                    }
                    vec![sum]
                });
                give(b, 0, sums[0]);
                Vec::new()
            },
        );
    })
}

#[test]
fn a_right_ring_runs_under_any_schedule() {
    let program = ring(Omit::Nothing);
    let total = ROUNDS as u32 * (ROUNDS as u32 - 1) / 2;
    for seed in 0..1000 {
        let mut memory = Memory::new();
        let out = memory.alloc(4 * 96);
        if let Err(found) = run(&program, &[out], &mut memory, seed) {
            panic!("seed {seed}: {found}");
        }
        for warp in [1, 2] {
            let want: Vec<u32> = (0..32).map(|lane| total * lane).collect();
            assert_eq!(words(&memory, out + 128 * warp, 32), want, "seed {seed}");
        }
    }
}

#[test]
fn rings_that_lack_something_are_found() {
    for omit in [Omit::FullArrive, Omit::FullWait, Omit::EmptyArrive, Omit::EmptyWait, Omit::FirstBarrier] {
        let program = ring(omit);
        for seed in 0..100 {
            let mut memory = Memory::new();
            let out = memory.alloc(4 * 96);
            let found = match run(&program, &[out], &mut memory, seed) {
                Ok(_) => panic!("{omit:?}, seed {seed}: nothing was found"),
                Err(found) => found,
            };
            // A producer that laps its consumers leaves them waiting for a parity that has passed.
            let stuck = matches!(found.kind, ErrorKind::Deadlock(_)) && omit != Omit::FullWait;
            let raced =
                matches!(found.kind, ErrorKind::Race { .. }) && !matches!(omit, Omit::FullArrive | Omit::EmptyArrive);
            let unwritten = matches!(found.kind, ErrorKind::Uninitialised { .. }) && omit == Omit::FullWait;
            let misused = matches!(found.kind, ErrorKind::Barrier(_))
                && matches!(omit, Omit::FirstBarrier | Omit::EmptyWait | Omit::FullWait);
            let fits = stuck || raced || unwritten || misused;
            assert!(fits, "{omit:?}, seed {seed}: {found}");
        }
    }
}

#[test]
fn barriers_in_shared_memory_are_not_to_be_touched() {
    let made = |more: fn(&mut Builder, Value)| {
        program(32, 64, move |b| {
            let (lane, zero) = (lane(b), b.i32(0));
            let leader = is(b, lane, 0);
            b.when(leader, |b| {
                let two = b.i32(2);
                act(b, Op::MbarrierInit, &[zero, two]);
                more(b, zero);
            });
        })
    };
    finds(&made(|b, at| put(b, at, at)), "where a barrier lies");
    finds(&made(|b, at| b.load(Space::Shared, 64, 1, at, None).clear()), "where a barrier lies");
    finds(
        &made(|b, at| {
            let at = b.add_const(at, 8);
            act(b, Op::MbarrierWait, &[at, at]);
        }),
        "no barrier was made at shared address 0x8",
    );
    finds(
        &made(|b, at| {
            let yes = b.bool(true);
            for _ in 0..3 {
                act(b, Op::MbarrierArrive, &[at, yes]);
            }
            act(b, Op::MbarrierWait, &[at, at]);
            let one = b.i32(1);
            act(b, Op::MbarrierWait, &[at, one]);
        }),
        "whose phase lacks 1 of 2 arrivals",
    );
    finds(
        &made(|b, at| {
            let at = b.add_const(at, 4);
            act(b, Op::MbarrierInit, &[at, at]);
        }),
        "no multiple of 8",
    );
}
