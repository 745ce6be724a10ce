//! Laws of the algebra, on drawn layouts.

use std::collections::{BTreeMap, BTreeSet};

use pantile_gpu::layout::{Distributed, Layout, LayoutError, Memory, Offset, Place};
use proptest::prelude::*;

use crate::drawn::{Dim, any_layout, distributed, pair, setting};
use crate::machine::{Threads, element};

fn inputs(layout: &Distributed<Dim>) -> std::ops::Range<u64> {
    0..1 << layout.ins().total()
}

fn elements(layout: &Distributed<Dim>, thread: u64) -> BTreeSet<u64> {
    let threads = Threads::of(layout);
    (0..layout.size(Place::Register)).map(|r| element(layout, &threads, thread, r)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_element_is_held_and_those_without_free_bits_hold_it_once(layout in any_layout()) {
        prop_assert!(layout.is_surjective());
        let free = Place::ALL.iter().fold(0, |m, p| m | layout.free(*p) << layout.ins().shift(*p));
        let mut held = BTreeMap::new();
        for x in inputs(&layout).filter(|x| x & free == 0) {
            *held.entry(layout.matrix().apply(x)).or_insert(0) += 1;
        }
        prop_assert_eq!(held.len(), 1 << layout.outs().total());
        prop_assert!(held.values().all(|n| *n == 1));
        prop_assert_eq!(layout.is_injective(), free == 0);
        for k in layout.matrix().kernel() {
            prop_assert_eq!(layout.matrix().apply(k), 0);
            prop_assert!(k != 0);
        }
    }

    #[test]
    fn a_right_inverse_undoes(layout in any_layout()) {
        let back = layout.right_inverse().unwrap();
        let round = back.then(&layout).unwrap();
        for x in 0..1u64 << layout.outs().total() {
            prop_assert_eq!(round.matrix().apply(x), x);
        }
        match layout.inverse() {
            Ok(inverse) => {
                prop_assert!(layout.is_injective());
                prop_assert!(inputs(&layout).all(|x| inverse.matrix().apply(layout.matrix().apply(x)) == x));
            }
            Err(error) => {
                prop_assert!(!layout.is_injective());
                prop_assert!(matches!(error, LayoutError::NotInjective { .. }), "{}", error);
            }
        }
    }

    #[test]
    fn composition_is_application_twice((a, b) in pair()) {
        let both = a.then(&b.right_inverse().unwrap()).unwrap();
        for x in inputs(&a) {
            let twice = b.right_inverse().unwrap().matrix().apply(a.matrix().apply(x));
            prop_assert_eq!(both.matrix().apply(x), twice);
        }
    }

    #[test]
    fn a_product_is_the_inner_in_each_place_of_the_outer(a in any_layout(), b in any_layout()) {
        let Ok(product) = a.product(&b) else { return Ok(()) };
        prop_assert_eq!(product.quotient(&a), Some(b.clone()));
        for (x, y) in inputs(&a).zip(inputs(&b).rev()) {
            let place = |p| (p, a.ins().part(x, p) | b.ins().part(y, p) << a.ins().bits(p));
            let at: Vec<_> = product.ins().names().map(place).collect();
            for (d, found) in product.apply(&at).unwrap() {
                let (inner, outer) = (a.outs().part(a.matrix().apply(x), d), b.outs().part(b.matrix().apply(y), d));
                prop_assert_eq!(found, inner | outer << a.outs().bits(d));
            }
        }
    }

    #[test]
    fn a_slice_forgets_a_coordinate_and_a_broadcast_adds_one(layout in any_layout(), size in 0..3u32) {
        let slice = layout.drop("m");
        prop_assert!(slice.is_surjective());
        for x in inputs(&layout) {
            prop_assert_eq!(slice.matrix().apply(x), layout.outs().part(layout.matrix().apply(x), "n"));
        }
        let wide = slice.broadcast(Place::Register, "k", 1 << size).unwrap();
        prop_assert!(wide.is_surjective());
        prop_assert!(wide.drop("k").without_copies(Place::Register).holds_same(&slice));
        prop_assert!(layout.broadcast(Place::Register, "m", 2).is_err());
    }

    #[test]
    fn blocks_forget_low_bits(layout in any_layout(), power in 0..8u32) {
        let blocks = layout.blocks("m", power);
        prop_assert!(blocks.is_surjective());
        for x in inputs(&layout) {
            let (fine, coarse) = (layout.matrix().apply(x), blocks.matrix().apply(x));
            prop_assert_eq!(blocks.outs().part(coarse, "m"), layout.outs().part(fine, "m") >> power);
            prop_assert_eq!(blocks.outs().part(coarse, "n"), layout.outs().part(fine, "n"));
        }
    }

    #[test]
    fn names_swapped_twice_are_as_before(layout in any_layout()) {
        let swap = |d: Dim| if d == "m" { "n" } else { "m" };
        let turned = layout.rename(swap).unwrap();
        for x in inputs(&layout) {
            for (d, at) in layout.outs().unpack(layout.matrix().apply(x)) {
                prop_assert_eq!(turned.outs().part(turned.matrix().apply(x), swap(d)), at);
            }
        }
        prop_assert_eq!(turned.rename(swap).unwrap(), layout);
    }

    #[test]
    fn threads_hold_the_same_just_if_their_sets_are_equal((a, b) in pair(), turn in any::<bool>()) {
        let b = if turn { a.without_copies(Place::Register) } else { b };
        let threads = Threads::of(&a);
        let same = (0..threads.count()).all(|t| elements(&a, t) == elements(&b, t));
        prop_assert_eq!(a.holds_same(&b), same);
        prop_assert!(!turn || same);
    }

    #[test]
    fn a_layout_covers_any_tile(layout in any_layout(), m in 0..7u32, n in 0..7u32) {
        let tile = [("n", 1u64 << n), ("m", 1 << m)];
        let covered = layout.cover(&tile).unwrap();
        prop_assert!(covered.is_surjective());
        prop_assert_eq!((covered.outs().bits("m"), covered.outs().bits("n")), (m, n));
        for x in inputs(&layout) {
            let at = layout.ins().unpack(x);
            for (d, found) in covered.apply(&at).unwrap() {
                let whole = layout.outs().part(layout.matrix().apply(x), d);
                prop_assert_eq!(found, whole % (1 << covered.outs().bits(d)));
            }
        }
    }

    #[test]
    fn a_spread_tile_has_vectors_side_by_side(m in 0..7u32, n in 0..7u32, v in 0..4u32, warps in 0..4u32) {
        let layout = Layout::spread(&[("n", 1 << n), ("m", 1 << m)], 1 << v, 1 << warps).unwrap();
        prop_assert!(layout.is_surjective());
        prop_assert_eq!((layout.size(Place::Lane), layout.size(Place::Warp)), (32, 1 << warps));
        let vector = 1 << v.min(n);
        for lane in 0..32 {
            let at = layout.apply(&[(Place::Lane, lane)]).unwrap();
            let flat = (lane * vector) % (1 << (m + n));
            prop_assert_eq!(at, vec![("m", flat >> n), ("n", flat % (1 << n))]);
        }
        if n >= v {
            prop_assert!((0..vector).all(|r| layout.apply(&[(Place::Register, r)]).unwrap()[1] == ("n", r)));
        }
    }

    #[test]
    fn of_two_layouts_of_a_tile_no_more_than_one_row_order_is_both(s in setting()) {
        let rows = Memory::rows(&s.tile()).unwrap();
        let turned = Memory::rows(&[s.tile()[1], s.tile()[0]]).unwrap();
        prop_assert_eq!(rows == turned, s.m == 0 || s.n == 0);
        prop_assert!(rows.is_injective() && rows.is_surjective());
    }

    #[test]
    fn without_copies_the_same_is_held(layout in setting().prop_flat_map(|s| distributed(s, true))) {
        let less = layout.without_copies(Place::Register);
        prop_assert_eq!(less.free(Place::Register), 0);
        prop_assert!(less.holds_same(&layout));
    }
}

#[test]
fn sizes_are_powers_of_two_and_names_differ() {
    let message = |r: Result<Distributed<Dim>, LayoutError>| r.unwrap_err().to_string();
    let odd = message(Layout::spread(&[("n", 48)], 4, 4));
    assert_eq!(odd, "`\"n\"` has size 48, which is no power of two; pad the tile first");
    assert!(message(Layout::spread(&[("n", 64)], 4, 3)).contains("Warp"));
    assert!(message(Layout::spread(&[("n", 0)], 4, 4)).contains("size 0"));
    assert!(message(Layout::new(&[("n", 4), ("n", 4)], &[])).contains("twice"));
    assert!(message(Layout::new(&[("n", 4)], &[(Place::Lane, &[("n", 4)])])).contains("no coordinate 4"));
    assert!(message(Layout::new(&[("n", 4)], &[(Place::Lane, &[("m", 1)])])).contains("no axis"));
    assert!(message(Layout::new(&[("n", 1 << 40)], &[])).contains("40 bits"));
    let line = Layout::<Offset, Dim>::line(Offset, "n", 4).unwrap();
    assert!(line.then(&Layout::<Dim, Offset>::line("n", Offset, 8).unwrap()).is_err());
}
