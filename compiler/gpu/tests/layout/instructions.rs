//! Operand layouts against the rules of the PTX ISA, written out with its names: groupID = lane / 4, threadID_in_group =
//! lane % 4. They are not derived from the layouts' code in any way.

use pantile_gpu::layout::instructions as fixed;
use pantile_gpu::layout::{Distributed, LayoutError, Place};

use crate::drawn::Dim;

/// Holds a layout to `rule`: (warp, lane, register) → (first dim, second dim).
fn hold(layout: &Distributed<Dim>, dims: [(Dim, u64); 2], registers: u64, rule: impl Fn(u64, u64, u64) -> (u64, u64)) {
    for (d, size) in dims {
        assert_eq!(1 << layout.outs().bits(d), size);
    }
    assert_eq!((layout.size(Place::Register), layout.size(Place::Lane)), (registers, 32));
    assert!(layout.is_injective() && layout.is_surjective());
    for warp in 0..layout.size(Place::Warp) {
        for lane in 0..32 {
            for register in 0..registers {
                let at = [(Place::Register, register), (Place::Lane, lane), (Place::Warp, warp)];
                let at: Vec<_> = at.into_iter().filter(|(_, x)| *x != 0).collect();
                let packed = layout.outs().pack(&layout.apply(&at).unwrap()).unwrap();
                let found = (layout.outs().part(packed, dims[0].0), layout.outs().part(packed, dims[1].0));
                assert_eq!(found, rule(warp, lane, register), "warp {warp}, lane {lane}, register {register}");
            }
        }
    }
}

#[test]
fn m16n8k16_16_bit() {
    hold(&fixed::mma_a("m", "k", 2).unwrap(), [("m", 16), ("k", 16)], 8, |_, lane, i| {
        let row = if i < 2 || (4..6).contains(&i) { lane / 4 } else { lane / 4 + 8 };
        let column = lane % 4 * 2 + (i & 1) + if i >= 4 { 8 } else { 0 };
        (row, column)
    });
    hold(&fixed::mma_b("k", "n", 2).unwrap(), [("k", 16), ("n", 8)], 4, |_, lane, i| {
        let row = lane % 4 * 2 + (i & 1) + if i >= 2 { 8 } else { 0 };
        (row, lane / 4)
    });
    hold(&fixed::mma_c("m", "n").unwrap(), [("m", 16), ("n", 8)], 4, |_, lane, i| {
        let row = if i < 2 { lane / 4 } else { lane / 4 + 8 };
        (row, lane % 4 * 2 + (i & 1))
    });
}

#[test]
fn m16n8k8_tf32() {
    hold(&fixed::mma_a("m", "k", 4).unwrap(), [("m", 16), ("k", 8)], 4, |_, lane, i| {
        let row = if i == 0 || i == 2 { lane / 4 } else { lane / 4 + 8 };
        let column = if i < 2 { lane % 4 } else { lane % 4 + 4 };
        (row, column)
    });
    hold(&fixed::mma_b("k", "n", 4).unwrap(), [("k", 8), ("n", 8)], 2, |_, lane, i| {
        (if i == 0 { lane % 4 } else { lane % 4 + 4 }, lane / 4)
    });
}

#[test]
fn m16n8k32_8_bit() {
    hold(&fixed::mma_a("m", "k", 1).unwrap(), [("m", 16), ("k", 32)], 16, |_, lane, i| {
        let row = if i < 4 || (8..12).contains(&i) { lane / 4 } else { lane / 4 + 8 };
        let column = lane % 4 * 4 + (i & 3) + if i >= 8 { 16 } else { 0 };
        (row, column)
    });
    hold(&fixed::mma_b("k", "n", 1).unwrap(), [("k", 32), ("n", 8)], 8, |_, lane, i| {
        let row = lane % 4 * 4 + (i & 3) + if i < 4 { 0 } else { 16 };
        (row, lane / 4)
    });
}

#[test]
fn wgmma_accumulators() {
    for columns in [8, 16, 32, 64, 128, 256] {
        let layout = fixed::wgmma_accumulator("m", "n", columns).unwrap();
        hold(&layout, [("m", 64), ("n", columns)], columns / 2, |warp, lane, i| {
            let row = warp * 16 + lane / 4 + if i / 2 % 2 == 1 { 8 } else { 0 };
            (row, i / 4 * 8 + lane % 4 * 2 + i % 2)
        });
    }
    for columns in [0, 4, 24, 512] {
        let refused = fixed::wgmma_accumulator("m", "n", columns);
        assert!(matches!(refused, Err(LayoutError::Instruction { .. })), "{refused:?}");
    }
    assert!(matches!(fixed::wgmma_accumulator("m", "m", 8), Err(LayoutError::Twice { .. })));
}

#[test]
fn wgmma_operands_in_registers() {
    hold(&fixed::wgmma_a("m", "k", 2).unwrap(), [("m", 64), ("k", 16)], 8, |warp, lane, i| {
        let row = warp * 16 + lane / 4 + [0, 0, 8, 8, 0, 0, 8, 8][i as usize];
        (row, lane % 4 * 2 + [0, 1, 0, 1, 8, 9, 8, 9][i as usize])
    });
    hold(&fixed::wgmma_a("m", "k", 4).unwrap(), [("m", 64), ("k", 8)], 4, |warp, lane, i| {
        (warp * 16 + lane / 4 + [0, 8, 0, 8][i as usize], lane % 4 + [0, 0, 4, 4][i as usize])
    });
    hold(&fixed::wgmma_a("m", "k", 1).unwrap(), [("m", 64), ("k", 32)], 16, |warp, lane, i| {
        let row = warp * 16 + lane / 4 + [0, 8, 0, 8][i as usize / 4];
        (row, lane % 4 * 4 + i % 4 + [0, 0, 16, 16][i as usize / 4])
    });
    assert_eq!((fixed::k_of(2), fixed::k_of(4), fixed::k_of(1)), (Ok(16), Ok(8), Ok(32)));
    assert!(matches!(fixed::k_of(8), Err(LayoutError::Instruction { .. })));
}

#[test]
fn ldmatrix_fragments() {
    hold(&fixed::ldmatrix("m", "n", false).unwrap(), [("m", 8), ("n", 8)], 2, |_, lane, i| {
        (lane / 4, lane % 4 * 2 + i)
    });
    hold(&fixed::ldmatrix("m", "n", true).unwrap(), [("m", 8), ("n", 8)], 2, |_, lane, i| (lane % 4 * 2 + i, lane / 4));
}
