//! The shipped kernels, at sizes around their blocks.

use pantile_ir::{DType, Scalar};

use crate::harness::{Case, compare, shipped};

fn attention(case: Case, n: i64, m: i64, d: i64) -> Case {
    case.extents(&[("B", 2), ("H", 4), ("G", 2), ("N", n), ("M", m), ("D", d)])
        .ints(&[("BQ", 8), ("BK", 16)])
        .scalar("scale", Scalar::Float(0.125))
}

#[test]
fn vector_addition() {
    let module = shipped("elementwise.tile");
    for n in [1, 31, 32, 33, 97] {
        for dtype in DType::ALL.iter().copied().filter(|d| *d != DType::Bool) {
            compare(&module, "vector_add", &Case::new().dtype(dtype).extent("N", n).ints(&[("P", 32)]));
        }
    }
}

#[test]
fn dense_attention() {
    let module = shipped("attention.tile");
    for (n, m, d) in [(8, 16, 16), (1, 1, 4), (7, 15, 12), (9, 17, 5), (40, 50, 32)] {
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            compare(&module, "attention_dense", &attention(Case::new().dtype(dtype), n, m, d));
        }
    }
}

#[test]
fn attention_by_a_mask() {
    let module = shipped("attention.tile");
    for kept in [0, 1, 4, 8] {
        let case = attention(Case { kept, ..Case::new() }.dtype(DType::F32), 37, 51, 16);
        compare(&module, "attention", &case);
    }
}

#[test]
fn causal_attention() {
    let module = shipped("masked.tile");
    for n in [1, 8, 17, 33] {
        compare(&module, "attention_causal", &attention(Case::new().dtype(DType::F32), n, n, 8));
    }
}

#[test]
fn matrix_products() {
    let module = shipped("matmul.tile");
    for (m, n, k) in [(1, 1, 1), (16, 16, 16), (17, 15, 33), (5, 40, 7)] {
        for gelu in [false, true] {
            for dtype in [DType::F32, DType::F16, DType::F64] {
                let case = Case::new().dtype(dtype).extents(&[("M", m), ("N", n), ("K", k)]);
                let case = case.ints(&[("BM", 16), ("BN", 16), ("BK", 16)]).scalar("gelu", Scalar::Bool(gelu));
                compare(&module, "matmul", &case);
            }
        }
    }
}

#[test]
fn normalisations() {
    let module = shipped("norm.tile");
    for (n, d) in [(1, 1), (4, 8), (5, 37), (9, 64)] {
        for dtype in [DType::F32, DType::BF16] {
            for kernel in ["softmax_rows", "layer_norm", "rms_norm"] {
                let case = Case::new().dtype(dtype).extents(&[("N", n), ("D", d)]).scalar("eps", Scalar::Float(1e-5));
                compare(&module, kernel, &case);
            }
        }
    }
}

#[test]
fn selection() {
    let module = shipped("rainfusion.tile");
    for (nq, nk) in [(1, 1), (16, 16), (17, 9), (5, 40)] {
        let case =
            Case::new().extents(&[("B", 1), ("H", 2), ("G", 1), ("NQ", nq), ("NK", nk), ("D", 16), ("N", nq * 4)]);
        let case = case.scalar("scale", Scalar::Float(0.25));
        for kernel in ["block_scores", "select", "select_mass"] {
            compare(&module, kernel, &case);
        }
        compare(&module, "block_means", &case.clone().dtype(DType::F16).ints(&[("P", 4)]));
    }
}

#[test]
fn what_attention_carries_lives_in_place() {
    let case =
        Case::new().dtype(DType::F32).extents(&[("B", 1), ("H", 1), ("G", 1), ("N", 512), ("M", 512), ("D", 128)]);
    let func = shipped("attention.tile").specialise("attention_dense", &case.bindings).expect("right");
    let kernel = pantile_cpu::compile(&func, &pantile_cpu::Options::default()).expect("small");
    // Scores become weights where they lie, and the accumulator is one tile: with the packed operands that is four tiles
    // of 128 × 128.
    let tile = 128 * 128 * 4;
    let first = kernel.arena_bytes(&[0]);
    assert!(first < 4 * tile + 4096, "{first} bytes");
}
