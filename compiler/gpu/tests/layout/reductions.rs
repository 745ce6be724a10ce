//! Reductions, run: every register of every thread of the result is the plain sum.

use pantile_gpu::layout::instructions::wgmma_accumulator;
use pantile_gpu::layout::reduce::{Butterfly, Reduction};
use pantile_gpu::layout::{Distributed, LayoutError, Place};
use proptest::prelude::*;

use crate::drawn::{Dim, any_layout};
use crate::machine::{Registers, Threads, filled, load, store};

fn value(element: u64) -> u64 {
    (element + 3).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn run(plan: &Reduction<Dim>, tile: &Distributed<Dim>) -> Registers {
    let threads = Threads::of(tile);
    let sum = |values: &mut dyn Iterator<Item = u64>| values.fold(0, u64::wrapping_add);
    let before = filled(tile, value);
    let own = |regs: &Vec<u64>| plan.own.iter().map(|p| sum(&mut p.iter().map(|r| regs[*r as usize]))).collect();
    let mut regs: Registers = before.iter().map(own).collect();
    for step in &plan.lanes {
        let partner = |t: u64| threads.in_warp(t, threads.part(t, Place::Lane) ^ step.lanes);
        let add = |t: u64, r: u64| {
            let theirs = regs[partner(t) as usize][(r ^ step.registers) as usize];
            regs[t as usize][r as usize].wrapping_add(theirs)
        };
        regs = (0..threads.count()).map(|t| (0..plan.own.len() as u64).map(|r| add(t, r)).collect()).collect();
    }
    let Some(last) = &plan.warps else { return regs };
    let memory = store(&last.store, &threads, &regs, false);
    assert_eq!(store(&last.store, &threads, &regs, true).len(), memory.len());
    let covered = |a: u64, b: u64| {
        last.across == Place::Warpgroup || threads.part(a, Place::Warpgroup) == threads.part(b, Place::Warpgroup)
    };
    let slot = |s: u64| {
        load(&last.load, &threads, s * last.stride, |t, at| {
            let (writer, value) = memory[&at];
            assert!(covered(t, writer) || last.store.copies.iter().any(|(p, _)| *p == Place::Warpgroup));
            value
        })
    };
    let mut total = slot(0);
    for s in 1..last.slots {
        for (own, more) in total.iter_mut().flatten().zip(slot(s).iter().flatten()) {
            *own = own.wrapping_add(*more);
        }
    }
    total
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_reduction_is_a_plain_sum(tile in any_layout(), along_m in any::<bool>(), bytes in prop::sample::select(vec![2u32, 4, 8])) {
        let dim = if along_m { "m" } else { "n" };
        let plan = Reduction::plan(&tile, &[dim], bytes).unwrap();
        let (outs, other) = (tile.outs(), if along_m { "n" } else { "m" });
        let plain = |at: u64| (0..1 << outs.bits(dim))
            .map(|i| value(outs.pack(&[(dim, i), (other, at)]).unwrap()))
            .fold(0, u64::wrapping_add);
        prop_assert_eq!(run(&plan, &tile), filled(&plan.result, plain), "{:?}", plan);
        prop_assert_eq!(plan.result.free(Place::Register), 0);
    }
}

#[test]
fn all_dims_at_once_give_one_number() {
    for text in [
        "register: [m:1, n:1] lane: [n:2, 0, m:2, m:4, n:4] warp: [m:8+n:1, 0]",
        "lane: [0, 0, 0, 0, 0] warp: [m:1, m:2+n:1, m:4, m:8, n:1, n:2, n:4]",
    ] {
        let text = format!("m:16 n:8 <- {text}");
        let tile = Distributed::parse(&text, |d| ["m", "n"].into_iter().find(|n| *n == d)).unwrap();
        let plan = Reduction::plan(&tile, &["n", "m"], 4).unwrap();
        let sum = (0..128).map(value).fold(0, u64::wrapping_add);
        assert!(run(&plan, &tile).iter().all(|own| own == &[sum]), "{text}");
    }
}

#[test]
fn a_row_of_the_accumulator_takes_two_butterflies() {
    let tile = wgmma_accumulator("m", "n", 128).unwrap();
    let plan = Reduction::plan(&tile, &["n"], 4).unwrap();
    assert_eq!(plan.result.to_string(), "m:64 <- register: [m:8] lane: [0, 0, m:1, m:2, m:4] warp: [m:16, m:32]");
    assert_eq!(plan.lanes, [Butterfly { lanes: 1, registers: 0 }, Butterfly { lanes: 2, registers: 0 }]);
    assert_eq!((plan.own.len(), plan.own[1].len(), plan.warps), (2, 32, None));
    assert_eq!(plan.own[1][..3], [2, 3, 6]);
    let down = Reduction::plan(&tile, &["m"], 4).unwrap();
    assert_eq!(down.lanes.iter().map(|b| b.lanes).collect::<Vec<_>>(), [4, 8, 16]);
    assert_eq!(down.warps.map(|w| (w.slots, w.stride)), Some((4, 128)));
    assert!(matches!(Reduction::plan(&tile, &["k"], 4), Err(LayoutError::Unknown { .. })));
}

#[test]
fn warps_that_hold_copies_write_where_their_originals_do() {
    let name = |word: &str| (word == "m").then_some("m");
    for group in ["m:1", "m:2", "m:1+m:2", "0"] {
        let text = format!("m:4 <- lane: [0, 0, 0, 0, 0] warp: [m:1, m:2] warpgroup: [{group}]");
        let tile = Distributed::parse(&text, name).unwrap();
        let plan = Reduction::plan(&tile, &["m"], 4).unwrap();
        let sum = (0..4).map(value).fold(0, u64::wrapping_add);
        assert!(run(&plan, &tile).iter().flatten().all(|x| *x == sum), "{text}");
    }
}
