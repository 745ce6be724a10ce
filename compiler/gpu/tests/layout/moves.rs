//! Conversions, run: whatever the plan, every register of the target then holds its element.

use pantile_gpu::layout::convert::{Conversion, Exchange, Shuffles};
use pantile_gpu::layout::instructions::{mma_a, mma_b, mma_c, wgmma_a, wgmma_accumulator};
use pantile_gpu::layout::{Distributed, Layout, LayoutError, Place};
use proptest::prelude::*;

use crate::drawn::{Dim, any_layout, pair, pair_in_warps, unmixed_pair};
use crate::machine::{Threads, convert, exchange, filled, shuffle, wavefronts};

fn value(element: u64) -> u64 {
    element.wrapping_mul(0x9e37_79b9) + 7
}

fn bytes() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![1u32, 2, 4, 8])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_conversion_gives_the_target((from, to) in prop_oneof![pair(), pair_in_warps()], bytes in bytes()) {
        let plan = Conversion::plan(&from, &to, bytes).unwrap();
        prop_assert_eq!(convert(&plan, &from, &filled(&from, value)), filled(&to, value), "{:?}", plan);
    }

    #[test]
    fn shuffles_give_the_target_and_are_found_within_a_warp((from, to) in pair_in_warps(), bytes in bytes()) {
        let plan = Shuffles::plan(&from, &to, bytes);
        let whole = from.is_injective();
        prop_assert!(plan.is_some() || !whole, "no shuffles for a bijection in warps");
        if let Some(plan) = plan {
            let after = shuffle(&plan, &Threads::of(&from), &filled(&from, value));
            prop_assert_eq!(after, filled(&to, value), "{:?}", plan);
        }
    }

    #[test]
    fn an_exchange_gives_the_target((from, to) in pair(), bytes in bytes()) {
        let plan = Exchange::plan(&from, &to, bytes).unwrap();
        let threads = Threads::of(&from);
        prop_assert_eq!(exchange(&plan, &threads, &filled(&from, value)), filled(&to, value), "{:?}", plan);
        for access in [&plan.store, &plan.load] {
            for (part, warp) in access.parts.iter().zip((0..threads.count() / 32).cycle()) {
                prop_assert_eq!(wavefronts(access, &threads, warp, part.offset), access.wavefronts_each());
            }
        }
        let registers = |l: &Distributed<Dim>| 1u32 << l.only(&[Place::Register]).matrix().rank();
        let one_by_one = (registers(&from) + registers(&to)) * bytes.div_ceil(4);
        prop_assert!(plan.wavefronts() <= one_by_one, "{} > {one_by_one}: {:?}", plan.wavefronts(), plan);
    }

    #[test]
    fn an_exchange_of_unmixed_layouts_has_no_conflicts((from, to) in unmixed_pair(), bytes in bytes()) {
        let plan = Exchange::plan(&from, &to, bytes).unwrap();
        for access in [&plan.store, &plan.load] {
            prop_assert_eq!(access.wavefronts_each(), access.phases(), "conflicts: {:?}", plan);
        }
    }

    #[test]
    fn what_is_held_in_other_registers_is_renamed(layout in any_layout(), by in any::<u64>()) {
        let n = layout.columns(Place::Register).len().max(1) as u64;
        prop_assert_eq!(Conversion::plan(&layout, &layout, 2).unwrap(), if layout.free(Place::Register) == 0 {
            Conversion::Nothing
        } else {
            Conversion::Registers((0..layout.size(Place::Register)).map(|r| {
                let registers = layout.only(&[Place::Register]);
                registers.matrix().solve(registers.matrix().apply(r)).unwrap()
            }).collect())
        });
        let turned = turned(&layout, (by % n) as usize);
        let plan = Conversion::plan(&layout, &turned, 2).unwrap();
        prop_assert!(matches!(plan, Conversion::Nothing | Conversion::Registers(_)), "{:?}", plan);
    }
}

/// Register bits rotated.
fn turned(layout: &Distributed<Dim>, by: usize) -> Distributed<Dim> {
    let outs: Vec<(Dim, u64)> = layout.outs().iter().map(|(d, bits)| (d, 1 << bits)).collect();
    let column = |p: Place| {
        let mut bases: Vec<_> = layout.columns(p).iter().map(|c| layout.outs().unpack(*c)).collect();
        if p == Place::Register {
            let by = by % bases.len().max(1);
            bases.rotate_left(by);
        }
        (p, bases)
    };
    Layout::of_bases(&outs, Place::ALL.map(column).to_vec()).unwrap()
}

#[test]
fn a_packed_accumulator_is_the_next_operand() {
    let accumulator = wgmma_accumulator("m", "n", 64).unwrap();
    let operand = wgmma_a("m", "n", 2).unwrap().cover(&[("n", 64), ("m", 64)]).unwrap();
    assert_eq!(Conversion::plan(&accumulator, &operand, 2).unwrap(), Conversion::Nothing);
    let fp8 = wgmma_a("m", "n", 1).unwrap().cover(&[("n", 64), ("m", 64)]).unwrap();
    let plan = Shuffles::plan(&accumulator, &fp8, 1).unwrap();
    let after = shuffle(&plan, &Threads::of(&accumulator), &filled(&accumulator, value));
    assert_eq!(after, filled(&fp8, value));
    assert_eq!(plan.pack, 1, "pairs of 8-bit elements move together");
}

#[test]
fn words_of_two_elements_move_together() {
    let from = Layout::new(
        &[("m", 8), ("n", 16)],
        &[(Place::Register, &[("n", 1), ("n", 2)]), (Place::Lane, &[("n", 4), ("n", 8), ("m", 1), ("m", 2), ("m", 4)])],
    )
    .unwrap();
    let to = Layout::new(
        &[("m", 8), ("n", 16)],
        &[(Place::Register, &[("n", 1), ("m", 4)]), (Place::Lane, &[("n", 4), ("n", 8), ("m", 1), ("m", 2), ("n", 2)])],
    )
    .unwrap();
    let plan = Shuffles::plan(&from, &to, 2).unwrap();
    assert_eq!((plan.pack, plan.rounds.len()), (1, 2));
    let words = Shuffles::plan(&from, &to, 4).unwrap();
    assert_eq!((words.pack, words.rounds.len()), (0, 4));
}

#[test]
fn a_column_of_statistics_needs_no_exchange() {
    let rows = wgmma_accumulator("m", "n", 128).unwrap().drop("n").without_copies(Place::Register);
    let other = wgmma_accumulator("m", "n", 64).unwrap().drop("n").without_copies(Place::Register);
    assert_eq!(Conversion::plan(&rows, &other, 4).unwrap(), Conversion::Nothing);
    let lines = Layout::spread(&[("m", 64)], 1, 4).unwrap();
    let plan = Conversion::plan(&rows, &lines, 4).unwrap();
    assert_eq!(convert(&plan, &rows, &filled(&rows, value)), filled(&lines, value));
}

#[test]
fn operands_of_every_instruction_convert_to_each_other() {
    let tile = [("n", 64), ("m", 64)];
    let four = |l: Distributed<Dim>| l.product(&Layout::line(Place::Warp, "m", 4).unwrap()).unwrap();
    let layouts = [
        four(mma_c("m", "n").unwrap()),
        four(mma_a("m", "n", 4).unwrap()),
        four(mma_a("m", "n", 1).unwrap()),
        four(mma_b("m", "n", 2).unwrap()),
        wgmma_a("m", "n", 2).unwrap(),
        Layout::spread(&tile, 8, 4).unwrap(),
        Layout::spread(&[("m", 64), ("n", 64)], 8, 4).unwrap(),
    ]
    .map(|l| l.cover(&tile).unwrap());
    for from in &layouts {
        for to in &layouts {
            let plan = Conversion::plan(from, to, 2).unwrap();
            assert_eq!(convert(&plan, from, &filled(from, value)), filled(to, value));
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let a: Distributed<Dim> = Layout::spread(&[("m", 64)], 1, 4).unwrap();
    let few = Layout::spread(&[("m", 64)], 1, 2).unwrap();
    assert!(matches!(Conversion::plan(&a, &few, 4), Err(LayoutError::Mismatch { .. })));
    let half = Layout::new(
        &[("m", 64)],
        &[(Place::Lane, &[("m", 1), ("m", 2), ("m", 4), ("m", 8), ("m", 16)]), (Place::Warp, &[("m", 0), ("m", 0)])],
    )
    .unwrap();
    assert_eq!(Conversion::plan(&half, &a, 4), Err(LayoutError::NotSurjective { reached: 5, all: 6 }));
}
