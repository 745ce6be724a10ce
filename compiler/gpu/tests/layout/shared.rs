//! Shared layouts against the hardware's rule, written with rows and chunks.

use pantile_gpu::Swizzle;
use pantile_gpu::layout::{LayoutError, Memory, Offset};
use proptest::prelude::*;

use crate::drawn::Dim;

/// Where chunk `chunk` of row `row` of a box goes.
fn chunk(swizzle: Swizzle, row: u64, chunk: u64) -> u64 {
    match swizzle {
        Swizzle::None => chunk,
        Swizzle::Bytes128 => chunk ^ (row % 8),
        Swizzle::Bytes64 => chunk ^ (row / 2 % 4),
        Swizzle::Bytes32 => chunk ^ (row / 4 % 2),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn boxes_lie_one_after_another(
        s in prop::sample::select(vec![Swizzle::Bytes32, Swizzle::Bytes64, Swizzle::Bytes128]),
        bytes in prop::sample::select(vec![1u64, 2, 4]),
        boxes in 0..3u32,
        rows in 0..8u32,
    ) {
        let span = u64::from(s.span().unwrap());
        let (rows, width) = (1u64 << rows, span / bytes);
        let memory = Memory::boxes(s, ("n", width << boxes), ("m", rows), bytes as u32).unwrap();
        let place = memory.inverse().unwrap();
        for m in 0..rows {
            for n in 0..width << boxes {
                let at = n % width * bytes;
                let start = n / width * rows * span + m * span;
                let byte = start + chunk(s, m, at / 16) * 16 + at % 16;
                prop_assert_eq!(place.apply(&[("m", m), ("n", n)]).unwrap(), vec![(Offset, byte / bytes)]);
            }
        }
        prop_assert!(memory.is_injective());
    }

    #[test]
    fn rows_are_rows(a in 0..6u32, b in 0..6u32, at in any::<(u64, u64)>()) {
        let memory = Memory::rows(&[("n", 1 << b), ("m", 1 << a)]).unwrap();
        let (m, n) = (at.0 % (1 << a), at.1 % (1 << b));
        let found = memory.apply(&[(Offset, m << b | n)].into_iter().filter(|o| o.1 != 0).collect::<Vec<_>>());
        prop_assert_eq!(found.unwrap(), vec![("m", m), ("n", n)]);
    }
}

#[test]
fn a_row_narrower_than_a_box_is_refused() {
    let narrow: Result<Memory<Dim>, _> = Memory::boxes(Swizzle::Bytes128, ("n", 32), ("m", 64), 2);
    let Err(LayoutError::Instruction { what }) = narrow else { panic!("{narrow:?}") };
    assert_eq!(what, "a row of 32 elements of 2 bytes is no 128-byte box; use a narrower swizzle");
}
