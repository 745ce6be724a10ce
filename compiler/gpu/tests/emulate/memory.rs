//! Loads, stores and atomics, what is wrong with them, and what the report counts. Barriers are tested elsewhere.

use crate::support::{act, bytes_of, finds, get, give, is, lane, mine, program, put, run, thread, warp, words};
use pantile_gpu::emulate::{Counts, ErrorKind, Memory};
use pantile_gpu::simt::{Builder, Compare, Convert, Op, Program, Space, Ty, Value};

fn is_load(op: &Op) -> bool {
    matches!(op, Op::Load { .. })
}

#[test]
fn units_are_filled_up_with_zeros() {
    for (bits, count, unit) in [(8, 1, 1), (16, 1, 2), (32, 1, 4), (32, 2, 8), (32, 4, 16), (64, 1, 8), (64, 2, 16)] {
        let program = program(32, 0, |b| {
            let (from, to) = (mine(b, 0, unit), mine(b, 1, unit));
            let got = b.load(Space::Global, bits, count, from, None);
            b.store(Space::Global, bits, to, &got, None);
            let first = if bits == 64 { b.convert(Convert::Truncate, got[0]) } else { got[0] };
            give(b, 2, first);
        });
        let mut memory = Memory::new();
        let data: Vec<u8> = (0..512).map(|n| (n * 7 + 130) as u8).collect();
        let (from, to) = (memory.alloc_with(&data), memory.alloc(512));
        let first = memory.alloc(128);
        run(&program, &[from, to, first], &mut memory, 0).expect("runs");
        let bytes = 32 * unit as usize;
        assert_eq!(memory.read(to, bytes), Some(&data[..bytes]));
        assert!(memory.is_written(to, bytes) && !memory.is_written(to, bytes + 1) || bytes == 512);
        let small = (unit as usize).min(4);
        let want = data[..small].iter().rev().fold(0, |n, b| n << 8 | u32::from(*b));
        assert_eq!(words(&memory, first, 1), vec![want]);
    }
}

#[test]
fn guards_keep_from_memory() {
    let program = program(32, 0, |b| {
        let (lane, limit) = (lane(b), b.i32(10));
        let inside = b.compare(Compare::Lt, lane, limit);
        let from = mine(b, 0, 4);
        let got = b.load(Space::Global, 32, 1, from, Some(inside));
        give(b, 1, got[0]);
        let to = mine(b, 2, 4);
        b.store(Space::Global, 32, to, &got, Some(inside));
    });
    let mut memory = Memory::new();
    let data: Vec<u32> = (1..11).collect();
    let (from, to) = (memory.alloc_with(&bytes_of(&data)), memory.alloc(40));
    let all = memory.alloc(128);
    run(&program, &[from, all, to], &mut memory, 0).expect("runs");
    assert_eq!(words(&memory, to, 10), data);
    assert_eq!(words(&memory, all, 32)[8..12], [9, 10, 0, 0]);
}

/// A program that loads 32 bits at `word + thread·scale + offset`.
fn loads(space: Space, scale: i64, offset: i64) -> Program {
    program(32, 256, |b| {
        let base = mine(b, 0, scale);
        let address = b.add_const(base, offset);
        let address = if space == Space::Shared { b.convert(Convert::Truncate, address) } else { address };
        b.load(space, 32, 1, address, None);
    })
}

#[test]
fn wrong_addresses_are_found() {
    let mut memory = Memory::new();
    let base = memory.alloc_with(&[0; 128]);
    let fresh = memory.alloc(128);
    let cases = [
        (Space::Global, 4, 0, base, None, ""),
        (Space::Global, 4, 4, base, Some(31), "out of bounds"),
        (Space::Global, 4, -4, base, Some(0), "out of bounds"),
        (Space::Global, 2, 0, base, Some(1), "no multiple of 4"),
        (Space::Global, 4, 0, fresh, Some(0), "nothing was written to global"),
        (Space::Global, 4, 0, 0, Some(0), "out of bounds"),
        (Space::Global, 4, 0, base & 0xffff_ffff, Some(0), "out of bounds"),
        (Space::Shared, 16, 0, 0, Some(0), "nothing was written to shared"),
        (Space::Shared, 4, 132, 0, Some(31), "out of bounds"),
    ];
    for (space, scale, offset, word, lane, told) in cases {
        match run(&loads(space, scale, offset), &[word], &mut memory, 0) {
            Ok(_) => assert_eq!(lane, None),
            Err(found) => {
                let text = found.to_string();
                // Reads of shared memory that nothing wrote come before the lane that is out of it.
                let early = space == Space::Shared && text.contains("nothing was written");
                assert!(early || found.lane == lane && text.contains(told), "{text}");
            }
        }
    }
}

#[test]
fn constant_memory_stays_as_it_is() {
    let program = program(32, 0, |b| {
        let address = mine(b, 0, 4);
        let got = b.load(Space::Constant, 32, 1, address, None);
        b.store(Space::Global, 32, address, &got, None);
    });
    let mut memory = Memory::new();
    let word = memory.alloc_with(&[0; 128]);
    let found = run(&program, &[word], &mut memory, 0).expect_err("written");
    assert_eq!(found.kind, ErrorKind::ConstantWritten { address: word });
}

#[test]
fn atomics_add_and_swap() {
    let program = program(64, 0, |b| {
        let (thread, sums) = (thread(b), b.param(0));
        let always = b.bool(true);
        act(b, Op::AtomicAdd, &[sums, thread, always]);
        let wide = b.add_const(sums, 8);
        let long = b.zero_extend(Ty::I64, thread);
        act(b, Op::AtomicAdd, &[wide, long, always]);
        let float = b.add_const(sums, 16);
        let x = b.convert(Convert::FromSigned(Ty::F32), thread);
        let odd = b.and_const(thread, 1);
        let odd = is(b, odd, 1);
        act(b, Op::AtomicAdd, &[float, x, odd]);
        let swap = b.add_const(sums, 4);
        let (zero, mark) = (b.i32(0), b.add_const(thread, 1));
        let old = b.emit(Op::AtomicCas, &[swap, zero, mark], &[Ty::I32]);
        give(b, 1, old[0]);
    });
    for seed in 0..4 {
        let mut memory = Memory::new();
        let (sums, olds) = (memory.alloc_with(&[0; 24]), memory.alloc(256));
        run(&program, &[sums, olds], &mut memory, seed).expect("runs");
        let got = words(&memory, sums, 5);
        assert_eq!((got[0], got[2], f32::from_bits(got[4])), (2016, 2016, 1024.0));
        let olds = words(&memory, olds, 64);
        assert_eq!(olds.iter().filter(|old| **old == 0).count(), 1, "one thread wins");
        assert!(olds.iter().all(|old| *old == 0 || *old == got[1]));
    }
}

/// A program in which each thread writes its word of shared memory and reads another's.
fn exchange(between: impl Fn(&mut Builder), of: impl Fn(&mut Builder, Value) -> Value) -> Program {
    program(64, 256, |b| {
        let thread = thread(b);
        let address = b.mul_const(thread, 4);
        put(b, address, thread);
        between(b);
        let other = of(b, thread);
        let address = b.mul_const(other, 4);
        get(b, address);
    })
}

fn flip(b: &mut Builder, thread: Value, bits: i32) -> Value {
    let bits = b.i32(bits);
    b.binary(pantile_gpu::simt::Binary::Xor, thread, bits)
}

#[test]
fn what_another_thread_wrote_needs_a_barrier() {
    for bits in [1, 32] {
        let bare = exchange(|_| {}, |b, t| flip(b, t, bits));
        for seed in 0..20 {
            let found = run(&bare, &[], &mut Memory::new(), seed).expect_err("a race");
            let raced = matches!(found.kind, ErrorKind::Race { .. } | ErrorKind::Uninitialised { .. });
            assert!(raced, "{found}");
        }
        let fine = exchange(Builder::barrier, |b, t| flip(b, t, bits));
        run(&fine, &[], &mut Memory::new(), 0).expect("no race");
    }
    let own = exchange(|_| {}, |_, t| t);
    run(&own, &[], &mut Memory::new(), 0).expect("no race");
}

#[test]
fn races_are_found_whatever_the_order_was() {
    // Warp 1 reads after the barrier what warp 0 writes again after it.
    let again = program(64, 4, |b| {
        let (warp, zero) = (warp(b), b.i32(0));
        let lane = lane(b);
        let (first, leader) = (is(b, warp, 0), is(b, lane, 0));
        let writer = b.and(first, leader);
        b.store(Space::Shared, 32, zero, &[warp], Some(writer));
        b.barrier();
        b.branch(
            first,
            |b| {
                b.store(Space::Shared, 32, zero, &[warp], Some(leader));
                Vec::new()
            },
            |b| {
                get(b, zero);
                Vec::new()
            },
        );
    });
    for seed in 0..20 {
        let found = run(&again, &[], &mut Memory::new(), seed).expect_err("a race");
        assert!(found.to_string().contains("data race at shared address 0x0"), "{found}");
    }
    // All lanes write one word.
    let all = program(32, 4, |b| {
        let (lane, zero) = (lane(b), b.i32(0));
        put(b, zero, lane);
    });
    finds(&all, "this write and the write of warp 0, lane 0");
}

fn shared_loads(stride: i64, bits: u8, count: u8) -> Counts {
    let program = program(32, 16384, |b| {
        let lane = lane(b);
        let first = b.mul_const(lane, 512);
        let zero = b.i32(0);
        for n in 0..32 {
            let at = b.add_const(first, 16 * n);
            b.store(Space::Shared, 32, at, &[zero; 4], None);
        }
        b.barrier();
        let at = b.mul_const(lane, stride);
        b.load(Space::Shared, bits, count, at, None);
    });
    run(&program, &[], &mut Memory::new(), 0).expect("runs").sum(is_load)
}

#[test]
fn bank_conflicts_are_counted() {
    let cases = [(4, 32, 1, 1), (8, 32, 1, 2), (128, 32, 1, 32), (132, 32, 1, 1), (0, 32, 1, 1), (2, 16, 1, 1)];
    for (stride, bits, count, passes) in cases {
        let got = shared_loads(stride, bits, count);
        assert_eq!((got.executed, got.wavefronts), (1, passes), "stride {stride}, {bits} bits");
    }
    let wide = shared_loads(16, 32, 4);
    assert_eq!((wide.wavefronts, wide.ideal_wavefronts), (4, 4));
    let poor = shared_loads(128, 32, 4);
    assert_eq!((poor.wavefronts, poor.ideal_wavefronts), (32, 4));
}

#[test]
fn sectors_are_counted() {
    for (scale, sectors, ideal) in [(4, 4, 4), (8, 8, 4), (32, 32, 4), (0, 1, 1)] {
        let mut memory = Memory::new();
        let word = memory.alloc_with(&[0; 1024]);
        let report = run(&loads(Space::Global, scale, 0), &[word], &mut memory, 0).expect("runs");
        let got = report.sum(is_load);
        assert_eq!((got.sectors, got.ideal_sectors), (sectors, ideal), "scale {scale}");
        assert_eq!(report.total().sectors, sectors);
    }
}
