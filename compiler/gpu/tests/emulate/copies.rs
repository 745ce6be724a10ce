//! Copies in the background: what they bring, what they need, and each thing that may be forgotten. Products of what they
//! bring are tested with a ring of stages.

use crate::support::{Numbers, act, get, give, is, lane, mine, program, put, run, thread, words};
use pantile_gpu::emulate::{ErrorKind, Memory};
use pantile_gpu::simt::{Builder, Compare, Op, Program, Ty, Value};
use pantile_gpu::{Swizzle, TensorMap};

/// Two groups of copies of 16 bytes a thread; word 0 of what the thread's right neighbour copied in a group is given.
fn async_copies(omit: &'static str, group: u32, barrier: bool) -> Program {
    program(64, 2048, move |b| {
        let thread = thread(b);
        let (yes, limit) = (b.bool(true), b.i32(40));
        let inside = b.compare(Compare::Lt, thread, limit);
        for n in 0..2 {
            let to = b.mul_const(thread, 16);
            let to = b.add_const(to, 1024 * n);
            let from = mine(b, n as u32, 16);
            act(b, Op::CopyAsync, &[to, from, if n == 0 { yes } else { inside }]);
            if omit != "commit" {
                act(b, Op::CopyCommit, &[]);
            }
        }
        if omit != "wait" {
            act(b, Op::CopyWait(1 - group), &[]);
        }
        if barrier {
            b.barrier();
        }
        let next = b.add_const(thread, if barrier { 1 } else { 0 });
        let next = b.and_const(next, 63);
        let from = b.mul_const(next, 16);
        let from = b.add_const(from, 1024 * i64::from(if omit == "group" { 1 } else { group }));
        let got = get(b, from);
        if omit != "end" {
            act(b, Op::CopyWait(0), &[]);
        }
        give(b, 2, got);
    })
}

fn run_async(program: &Program, seed: u64) -> Result<Vec<u32>, ErrorKind> {
    let mut memory = Memory::new();
    let data: Vec<u32> = (0..512).collect();
    let first = memory.alloc_with(&crate::support::bytes_of(&data[..256]));
    let second = memory.alloc_with(&crate::support::bytes_of(&data[256..416]));
    let out = memory.alloc(256);
    run(program, &[first, second, out], &mut memory, seed).map_err(|found| found.kind)?;
    Ok(words(&memory, out, 64))
}

#[test]
fn async_copies_come_when_they_are_waited_for() {
    let is_race = |kind: &ErrorKind| matches!(kind, ErrorKind::Race { .. });
    for seed in 0..50 {
        let neighbour = |t: u32| (t + 1) % 64;
        let first = run_async(&async_copies("", 0, true), seed).expect("runs");
        assert_eq!(first, (0..64).map(|t| 4 * neighbour(t)).collect::<Vec<_>>());
        let second = run_async(&async_copies("", 1, true), seed).expect("runs");
        let zeros = |t: u32| if neighbour(t) < 40 { 256 + 4 * neighbour(t) } else { 0 };
        assert_eq!(second, (0..64).map(zeros).collect::<Vec<_>>());
        assert_eq!(run_async(&async_copies("", 0, false), seed).expect("runs")[5], 20);
        for (omit, group, barrier) in [("wait", 0, false), ("wait", 1, true), ("commit", 0, true), ("group", 0, true)] {
            let kind = run_async(&async_copies(omit, group, barrier), seed).expect_err(omit);
            assert!(is_race(&kind), "{omit}: {kind}");
        }
        // A later wait, or none before the end.
        let kind = run_async(&async_copies("end", 0, true), seed);
        assert!(matches!(&kind, Ok(_) | Err(ErrorKind::Copy(_))), "{kind:?}");
    }
}

/// A tensor of 16-bit elements, each its number + 1, and a map of it.
fn tensor(memory: &mut Memory, dims: &[u64], extents: &[u32], swizzle: Swizzle) -> TensorMap {
    let mut strides = Vec::new();
    let mut bytes = (dims[0] * 2).next_multiple_of(16);
    for dim in &dims[1..] {
        strides.push(bytes);
        bytes *= dim;
    }
    let count = bytes / 2;
    let data: Vec<u8> = (0..count).flat_map(|n| (n as u16 + 1).to_le_bytes()).collect();
    let base = memory.alloc_with(&data);
    TensorMap { base, element: 2, dims: dims.to_vec(), strides, extents: extents.to_vec(), swizzle }
}

/// Where an element of a tensor is in memory, if it is in the tensor.
fn place(map: &TensorMap, at: &[i64]) -> Option<u64> {
    let inside = at.iter().zip(&map.dims).all(|(x, dim)| *x >= 0 && (*x as u64) < *dim);
    let strides = std::iter::once(&2).chain(&map.strides);
    inside.then(|| map.base + at.iter().zip(strides).map(|(x, stride)| *x as u64 * stride).sum::<u64>())
}

/// The elements of a box: where each is in shared memory, and its coordinates.
fn elements(map: &TensorMap, corner: &[i32]) -> Vec<(u32, Vec<i64>)> {
    let count: u32 = map.extents.iter().product();
    let at = |n: u32| {
        let mut rest = n;
        let step = |(extent, corner): (&u32, &i32)| {
            let x = i64::from(rest % extent) + i64::from(*corner);
            rest /= extent;
            x
        };
        (map.swizzle.apply(2 * n), map.extents.iter().zip(corner).map(step).collect())
    };
    (0..count).map(at).collect()
}

const BARRIER: i64 = 16384;

/// Makes a barrier of one arrival and copies a box to shared address 0; then all threads wait.
fn load_box(b: &mut Builder, corner: &[i32], bytes: u32, omit: &str) {
    let thread = thread(b);
    let leader = is(b, thread, 0);
    let (zero, barrier) = (b.i32(0), b.i32(BARRIER as i32));
    b.when(leader, |b| {
        let one = b.i32(1);
        act(b, Op::MbarrierInit, &[barrier, one]);
        if omit != "barrier fence" {
            act(b, Op::MbarrierFence, &[]);
        }
    });
    b.barrier();
    b.when(leader, |b| {
        let (yes, bytes) = (b.bool(true), b.i32(bytes as i32));
        act(b, Op::MbarrierExpect, &[barrier, bytes, yes]);
        let map = b.map(0);
        let corner: Vec<Value> = corner.iter().map(|x| b.i32(*x)).collect();
        let to = if omit == "alignment" { b.i32(64) } else { zero };
        let args = [vec![to, map, barrier, yes], corner].concat();
        act(b, Op::TensorLoad { rank: args.len() as u32 - 4 }, &args);
    });
    if omit != "wait" {
        act(b, Op::MbarrierWait, &[barrier, zero]);
    }
}

/// Copies a box, and gives the words that lie in shared memory then.
fn box_words(
    map: &TensorMap,
    memory: &mut Memory,
    corner: &[i32],
    omit: &str,
    seed: u64,
) -> Result<Vec<u32>, ErrorKind> {
    let (bytes, count) = (map.box_bytes(), map.box_bytes() as usize / 4);
    let expected = match omit {
        "bytes" => bytes - 16,
        "fewer bytes" => bytes + 16,
        _ => bytes,
    };
    let program = program(64, BARRIER as u32 + 8, |b| {
        load_box(b, corner, expected, omit);
        let rounds = b.i32(count.div_ceil(64) as i32);
        let thread = thread(b);
        b.count(rounds, &[], |b, round, _| {
            let first = b.mul_const(round, 64);
            let n = b.add(first, thread);
            let limit = b.i32(count as i32);
            let inside = b.compare(Compare::Lt, n, limit);
            b.when(inside, |b| {
                let at = b.mul_const(n, 4);
                let got = get(b, at);
                let base = b.param(0);
                let wide = b.zero_extend(Ty::I64, at);
                let to = b.add(base, wide);
                b.store(pantile_gpu::simt::Space::Global, 32, to, &[got], None);
            });
            Vec::new()
        });
    });
    let launch = [memory.alloc(4 * count), memory.tensor_maps(std::slice::from_ref(map))];
    run(&program, &launch, memory, seed).map_err(|found| found.kind)?;
    Ok(words(memory, launch[0], count))
}

#[test]
fn boxes_of_tensors_come_with_zeros_around_them() {
    type Case<'a> = (&'a [u64], &'a [u32], &'a [i32], Swizzle);
    let cases: [Case; 9] = [
        (&[100], &[64], &[70], Swizzle::Bytes128),
        (&[100, 9], &[64, 8], &[0, 4], Swizzle::Bytes128),
        (&[50, 9], &[32, 16], &[-3, -5], Swizzle::Bytes64),
        (&[50, 9], &[16, 8], &[40, 1], Swizzle::Bytes32),
        (&[50, 9], &[24, 5], &[33, 6], Swizzle::None),
        (&[64, 3, 4], &[64, 2, 4], &[0, 2, -1], Swizzle::Bytes128),
        (&[8, 3, 4, 5], &[8, 3, 2, 3], &[0, 0, 3, 3], Swizzle::None),
        (&[64, 6, 5, 3, 2], &[64, 4, 2, 1, 1], &[0, 4, 4, 2, 1], Swizzle::Bytes128),
        (&[16, 2, 2], &[16, 2, 2], &[-20, 0, 0], Swizzle::Bytes32),
    ];
    for (n, (dims, extents, corner, swizzle)) in cases.into_iter().enumerate() {
        let mut memory = Memory::new();
        let map = tensor(&mut memory, dims, extents, swizzle);
        let got = box_words(&map, &mut memory, corner, "", n as u64).expect("runs");
        for (at, coordinates) in elements(&map, corner) {
            let want = place(&map, &coordinates).map_or(0, |a| ((a - map.base) / 2) as u32 + 1);
            let word = got[at as usize / 4] >> (at % 4 * 8) & 0xffff;
            assert_eq!(word, want, "{dims:?} {corner:?} {swizzle:?}: element {coordinates:?} at {at}");
        }
    }
}

#[test]
fn boxes_that_lack_something_are_found() {
    for seed in 0..30 {
        let load = |omit: &str, change: fn(&mut TensorMap)| {
            let mut memory = Memory::new();
            let mut map = tensor(&mut memory, &[100, 9], &[64, 8], Swizzle::Bytes128);
            change(&mut map);
            box_words(&map, &mut memory, &[0, 4], omit, seed).expect_err(omit)
        };
        let same: fn(&mut TensorMap) = |_| {};
        let told = |omit| load(omit, same).to_string();
        let early = load("wait", same);
        assert!(matches!(early, ErrorKind::Race { .. } | ErrorKind::Uninitialised { .. }), "{early}");
        assert!(told("barrier fence").contains("visible to async copies"));
        assert!(told("bytes").contains("more bytes"), "{}", told("bytes"));
        assert!(told("fewer bytes").contains("0 of 1 arrivals and 16 bytes"));
        assert!(told("alignment").contains("no multiple of 128"));
        assert!(load("", |m| m.base += 8).to_string().contains("the tensor map is wrong"));
        assert!(load("", |m| m.extents[0] = 32).to_string().contains("this swizzle needs 128"));
        let rank = load("", |m| {
            m.dims.pop();
            m.strides.pop();
            m.extents.pop();
        });
        assert!(rank.to_string().contains("2 coordinates, and a tensor map of 1"));
        let outside = load("", |m| m.dims[1] = 30);
        assert!(matches!(outside, ErrorKind::OutOfBounds { .. }), "{outside}");
    }
}

/// Threads fill a box with their numbers and one of them stores it.
fn store_box(corner: [i32; 2], omit: &'static str) -> Program {
    program(64, 1024, move |b| {
        let thread = thread(b);
        for n in 0..4 {
            let word = b.add_const(thread, 64 * n);
            let at = b.mul_const(word, 4);
            put(b, at, word);
        }
        if omit != "fence" {
            act(b, Op::ProxyFence, &[]);
        }
        if omit != "barrier" {
            b.barrier();
        }
        let leader = is(b, thread, 0);
        b.when(leader, |b| {
            let (map, zero, yes) = (b.map(0), b.i32(0), b.bool(true));
            let corner = corner.map(|x| b.i32(x));
            act(b, Op::TensorStore { rank: 2 }, &[map, zero, yes, corner[0], corner[1]]);
            if omit != "commit" {
                act(b, Op::TensorStoreCommit, &[]);
            }
            if omit != "wait" {
                act(b, Op::TensorStoreWait(0), &[]);
            }
        });
        if omit != "second barrier" {
            b.barrier();
        }
        let at = b.mul_const(thread, 4);
        put(b, at, thread);
    })
}

#[test]
fn boxes_are_stored_inside_the_tensor_only() {
    for seed in 0..30 {
        for (swizzle, extents) in
            [(Swizzle::Bytes128, [64, 8]), (Swizzle::None, [32, 16]), (Swizzle::Bytes64, [32, 16])]
        {
            let mut memory = Memory::new();
            let mut random = Numbers(seed + 7);
            let corner = [(random.next() % 120) as i32 - 40, (random.next() % 14) as i32 - 4];
            let map = tensor(&mut memory, &[100, 9], &extents, swizzle);
            let maps = memory.tensor_maps(std::slice::from_ref(&map));
            run(&store_box(corner, ""), &[maps], &mut memory, seed).expect("runs");
            let stride = map.strides[0];
            let mut want: Vec<u16> = (0..9 * stride / 2).map(|n| n as u16 + 1).collect();
            for (at, coordinates) in elements(&map, &corner) {
                if let Some(address) = place(&map, &coordinates) {
                    let word = at / 4;
                    want[(address - map.base) as usize / 2] = if at % 4 == 0 { word as u16 } else { 0 };
                }
            }
            let bytes = memory.read(map.base, 2 * want.len()).expect("allocated");
            let got: Vec<u16> = bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
            assert_eq!(got, want, "{corner:?} {swizzle:?}");
        }
    }
}

#[test]
fn stores_that_lack_something_are_found() {
    for seed in 0..30 {
        for omit in ["fence", "barrier", "commit", "wait", "second barrier"] {
            let mut memory = Memory::new();
            let map = tensor(&mut memory, &[100, 9], &[64, 8], Swizzle::Bytes128);
            let maps = memory.tensor_maps(std::slice::from_ref(&map));
            let kind = run(&store_box([0, 0], omit), &[maps], &mut memory, seed).expect_err(omit).kind;
            let fits = match omit {
                "fence" => matches!(kind, ErrorKind::MissingProxyFence { .. }),
                "barrier" => matches!(kind, ErrorKind::Race { .. } | ErrorKind::Uninitialised { .. }),
                _ => matches!(kind, ErrorKind::Race { .. }),
            };
            assert!(fits, "{omit}: {kind}");
        }
        // Nobody writes there again, and still somebody must wait.
        let unwaited = program(32, 1024, |b| {
            let lane = lane(b);
            let leader = is(b, lane, 0);
            let (map, zero) = (b.map(0), b.i32(0));
            for n in 0..8 {
                let word = b.add_const(lane, 32 * n);
                let at = b.mul_const(word, 4);
                put(b, at, word);
            }
            act(b, Op::ProxyFence, &[]);
            b.barrier();
            act(b, Op::TensorStore { rank: 2 }, &[map, zero, leader, zero, zero]);
            act(b, Op::TensorStoreCommit, &[]);
        });
        let mut memory = Memory::new();
        let map = tensor(&mut memory, &[100, 9], &[64, 8], Swizzle::Bytes128);
        let maps = memory.tensor_maps(std::slice::from_ref(&map));
        let kind = run(&unwaited, &[maps], &mut memory, seed).expect_err("no wait").kind;
        assert!(matches!(kind, ErrorKind::Copy(_)), "{kind}");
    }
}
