//! Vectors, bank conflicts and matrix accesses, held to counting and to simulated threads.

use std::collections::{BTreeMap, BTreeSet};

use pantile_gpu::Swizzle;
use pantile_gpu::layout::access::{Access, widest};
use pantile_gpu::layout::instructions::{mma_a, mma_b, wgmma_a, wgmma_accumulator};
use pantile_gpu::layout::matrix_access::MatrixAccess;
use pantile_gpu::layout::{Distributed, Layout, Memory, Offset, Place};
use proptest::prelude::*;

use crate::drawn::{Dim, distributed, setting};
use crate::machine::{Threads, element, filled, load, store, wavefronts};

/// A layout, and a memory of the same tile: rows either way, or any order and sums of bits.
fn drawn() -> impl Strategy<Value = (Distributed<Dim>, Memory<Dim>)> {
    (setting(), any::<bool>()).prop_flat_map(|(s, mixed)| {
        let memory = distributed(s, mixed).prop_map(move |l| {
            let basis = |j: u32| {
                let mut seen: Vec<u64> = Vec::new();
                for c in &l.matrix().columns {
                    let mut all = pantile_gpu::layout::bits::Span::of(&seen);
                    if all.insert(*c, 0) {
                        seen.push(*c);
                    }
                }
                l.outs().unpack(seen[j as usize])
            };
            let ins = vec![(Offset, (0..s.m + s.n).map(basis).collect())];
            Layout::of_bases(&s.tile(), ins).unwrap()
        });
        let rows = prop_oneof![Just(Memory::rows(&s.tile()).unwrap())];
        (distributed(s, mixed), prop_oneof![memory, rows])
    })
}

/// The longest aligned run that every thread has in the same registers, by trying.
fn longest(held: &Distributed<Dim>, memory: &Memory<Dim>, most: u64) -> u64 {
    let threads = Threads::of(held);
    let place = memory.inverse().unwrap();
    let offset = |t, r| place.matrix().apply(element(held, &threads, t, r));
    let registers = held.size(Place::Register);
    let works = |v: u64| {
        (0..registers).all(|r| {
            let first = offset(0, r) / v;
            let group: Vec<u64> = (0..registers).filter(|q| offset(0, *q) / v == first).collect();
            let distinct: BTreeSet<u64> = group.iter().map(|q| offset(0, *q)).collect();
            let same =
                |t: u64, q: &u64| offset(t, *q) / v == offset(t, r) / v && offset(t, *q) % v == offset(0, *q) % v;
            distinct.len() as u64 == v && (0..threads.count()).all(|t| group.iter().all(|q| same(t, q)))
        })
    };
    std::iter::successors(Some(most), |v| Some(v / 2)).take_while(|v| *v > 0).find(|v| works(*v)).unwrap_or(1)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn vectors_are_the_longest_runs((held, memory) in drawn(), bytes in prop::sample::select(vec![1u32, 2, 4, 8])) {
        let access = Access::plan(&held, &memory, bytes, 16).unwrap();
        prop_assert_eq!(access.vector, longest(&held, &memory, u64::from(16 / bytes)), "{:?}", access);
        prop_assert_eq!(widest(&held, &memory, bytes).unwrap(), access.width());
        let narrow = Access::plan(&held, &memory, bytes, 4).unwrap();
        prop_assert!(narrow.width() <= 4.max(bytes));
    }

    #[test]
    fn a_load_after_a_store_is_as_before((held, memory) in drawn(), bytes in prop::sample::select(vec![1u32, 2, 4, 8])) {
        let access = Access::plan(&held, &memory, bytes, 16).unwrap();
        let threads = Threads::of(&held);
        let regs = filled(&held, |e| e + 1);
        let stored = store(&access, &threads, &regs, false);
        for (at, (_, value)) in &stored {
            prop_assert_eq!(memory.matrix().apply(*at) + 1, *value);
        }
        prop_assert_eq!(load(&access, &threads, 0, |_, at| stored[&at].1), regs);
    }

    #[test]
    fn what_lies_apart_is_found((held, memory) in drawn(), bytes in prop::sample::select(vec![1u32, 4]), apart in any::<u64>()) {
        let apart = apart & ((1 << held.outs().total()) - 1);
        let access = Access::plan(&held, &memory, bytes, 16).unwrap();
        let threads = Threads::of(&held);
        let found = load(&access.apart(apart), &threads, 0, |_, at| memory.matrix().apply(at));
        prop_assert_eq!(found, filled(&held, |e| e ^ memory.matrix().apply(apart)));
    }

    #[test]
    fn wavefronts_are_what_counting_gives(
        (held, memory) in drawn(),
        bytes in prop::sample::select(vec![1u32, 2, 4, 8]),
        limit in prop::sample::select(vec![4u32, 8, 16]),
    ) {
        let access = Access::plan(&held, &memory, bytes, limit).unwrap();
        let threads = Threads::of(&held);
        let mut all = 0;
        for part in &access.parts {
            for warp in 0..threads.count() / 32 {
                prop_assert_eq!(wavefronts(&access, &threads, warp, part.offset), access.wavefronts_each(), "{:?}", access);
            }
            all += access.wavefronts_each();
        }
        prop_assert_eq!(all, access.wavefronts());
    }
}

/// Runs `ldmatrix` by its definition: lane i gives the address of row i % 8 of matrix i / 8.
fn ldmatrix(plan: &MatrixAccess, threads: &Threads, memory: &[u64], registers: u64) -> Vec<Vec<u64>> {
    let per_row = 16 / u64::from(plan.bytes);
    let per_word = 4 / u64::from(plan.bytes);
    let one = |t: u64| {
        let mut own = BTreeMap::new();
        for part in &plan.parts {
            let row = |matrix: u64, row: u64| {
                let giver = threads.in_warp(t, matrix * 8 + row);
                let start = part.offset ^ threads.map(&plan.address, giver, Offset);
                assert_eq!(start % per_row, 0, "a row that is not aligned");
                &memory[start as usize..(start + per_row) as usize]
            };
            let lane = threads.part(t, Place::Lane);
            let mut to = part.registers.iter();
            for matrix in 0..u64::from(plan.count) {
                for e in 0..per_word {
                    let (r, c) = if plan.transposed {
                        (lane % 4 * 2 + e, lane / 4)
                    } else {
                        (lane / 4, lane % 4 * per_word + e)
                    };
                    assert!(own.insert(*to.next().unwrap(), row(matrix, r)[c as usize]).is_none());
                }
            }
            assert!(to.next().is_none());
        }
        (0..registers).map(|r| own[&r]).collect()
    };
    (0..threads.count()).map(one).collect()
}

fn matrix_wavefronts(plan: &MatrixAccess, threads: &Threads) -> u32 {
    let matrix = |part: u64, m: u64| {
        let mut banks: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for row in 0..8 {
            let start = part ^ threads.map(&plan.address, m * 8 + row, Offset);
            for byte in start * u64::from(plan.bytes)..start * u64::from(plan.bytes) + 16 {
                banks.entry(byte / 4 % 32).or_default().insert(byte / 4);
            }
        }
        banks.values().map(BTreeSet::len).max().unwrap_or(0) as u32
    };
    plan.parts.iter().flat_map(|p| (0..u64::from(plan.count)).map(move |m| matrix(p.offset, m))).sum()
}

fn check_matrices(held: &Distributed<Dim>, memory: &Memory<Dim>, bytes: u32, transposed: bool) -> MatrixAccess {
    let plan = MatrixAccess::plan(held, memory, bytes, transposed).unwrap().expect("ldmatrix fits");
    let threads = Threads::of(held);
    let content: Vec<u64> = (0..1 << memory.ins().total()).map(|o| memory.matrix().apply(o)).collect();
    assert_eq!(ldmatrix(&plan, &threads, &content, held.size(Place::Register)), filled(held, |e| e));
    assert_eq!(matrix_wavefronts(&plan, &threads), plan.wavefronts());
    plan
}

#[test]
fn ldmatrix_loads_the_operands_of_every_dtype() {
    let tile = [("k", 128u64), ("m", 64u64)];
    for bytes in [1, 2, 4] {
        let rows = Memory::rows(&tile).unwrap();
        let swizzled = Memory::boxes(Swizzle::Bytes128, tile[0], tile[1], bytes).unwrap();
        for held in [mma_a("m", "k", bytes), wgmma_a("m", "k", bytes), mma_b("k", "m", bytes)] {
            let held = held.unwrap().cover(&tile).unwrap();
            let plain = check_matrices(&held, &rows, bytes, false);
            let better = check_matrices(&held, &swizzled, bytes, false);
            assert_eq!(better.count, 4);
            assert_eq!(better.wavefronts(), better.parts.len() as u32 * 4, "the swizzle leaves no conflict");
            assert_eq!(plain.wavefronts(), 8 * better.wavefronts());
            assert_eq!(MatrixAccess::plan(&held, &rows, bytes, true), Ok(None));
        }
    }
}

#[test]
fn transposed_ldmatrix_loads_what_lies_the_other_way() {
    let tile = [("m", 64u64), ("k", 64u64)];
    for memory in [Memory::rows(&tile), Memory::boxes(Swizzle::Bytes128, tile[0], tile[1], 2)] {
        let memory = memory.unwrap();
        for held in [mma_a("m", "k", 2), mma_b("k", "m", 2)] {
            let held = held.unwrap().cover(&tile).unwrap();
            check_matrices(&held, &memory, 2, true);
            assert_eq!(MatrixAccess::plan(&held, &memory, 2, false), Ok(None));
        }
    }
    let single = mma_b("k", "m", 2).unwrap().cover(&[("m", 8), ("k", 16)]).unwrap();
    let rows = Memory::rows(&[("m", 8), ("k", 16)]).unwrap();
    assert_eq!(check_matrices(&single, &rows, 2, true).count, 2);
}

#[test]
fn known_accesses() {
    let tile = [("n", 64u64), ("m", 64u64)];
    let rows = Memory::rows(&tile).unwrap();
    let spread = Layout::spread(&tile, 8, 4).unwrap();
    let access = Access::plan(&spread, &rows, 2, 16).unwrap();
    assert_eq!((access.width(), access.parts.len(), access.wavefronts_each()), (16, 4, 4));
    let accumulator = wgmma_accumulator("m", "n", 64).unwrap();
    let plain = Access::plan(&accumulator, &rows, 2, 16).unwrap();
    assert_eq!((plain.width(), plain.wavefronts_each()), (4, 8), "8 rows of 128 bytes begin in one bank");
    let swizzled = Memory::boxes(Swizzle::Bytes128, tile[0], tile[1], 2).unwrap();
    let better = Access::plan(&accumulator, &swizzled, 2, 16).unwrap();
    assert_eq!((better.width(), better.wavefronts_each()), (4, 1));
}
