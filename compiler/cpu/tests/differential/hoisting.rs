//! Operands of dots that are made ready once for all cells: what comes out does not depend on it, whatever room there is,
//! and each block is made ready as often as it must be.

use pantile_ir::{DType, Scalar};

use crate::harness::{Case, compare, fills, load, shipped};

/// None, one block of the smallest operands, a few, all.
const ROOMS: [usize; 5] = [0, 1 << 11, 10 << 10, 40 << 10, 1 << 30];

fn attention(n: i64, m: i64, d: i64, heads: (i64, i64)) -> Case {
    let extents = [("B", 2), ("H", heads.0), ("G", heads.1), ("N", n), ("M", m), ("D", d)];
    let case = Case::new().dtype(DType::F32).extents(&extents);
    case.ints(&[("BQ", 8), ("BK", 16)]).scalar("scale", Scalar::Float(0.125))
}

#[test]
fn each_block_is_packed_once() {
    let module = shipped("attention.tile");
    // Q's rows do not crowd. 4 blocks of keys in each of 2 · 2 groups, K and V; 2 heads and 5 blocks of queries share each.
    let case = attention(37, 51, 16, (4, 2));
    assert_eq!(fills(&module, "attention_dense", &case), [None, Some(16), Some(16)]);
    // Room for 5 blocks each: a group's blocks give way to those of the next, never to their own.
    let little = Case { room: 2 * 5 * 1088, ..case.clone() };
    assert_eq!(fills(&module, "attention_dense", &little), [None, Some(16), Some(16)]);
    // Room for fewer than one cell comes to.
    let less = Case { room: 2 * 3 * 1088, ..case };
    assert_eq!(fills(&module, "attention_dense", &less), [None; 3]);
    // One block of queries: heads of a group still share.
    assert_eq!(fills(&module, "attention_dense", &attention(8, 51, 16, (4, 2))), [None, Some(16), Some(16)]);
    assert_eq!(fills(&module, "attention_dense", &attention(8, 51, 16, (4, 4))), [None; 3]);
}

#[test]
fn attention_in_any_room() {
    for room in ROOMS {
        for (n, m, d) in [(17, 51, 16), (40, 16, 5), (9, 33, 20), (16, 0, 4)] {
            for dtype in [DType::F32, DType::F16, DType::BF16] {
                for spread in [1, 2] {
                    let case = Case { room, spread, ..attention(n, m, d, (4, 2)) }.dtype(dtype);
                    compare(&shipped("attention.tile"), "attention_dense", &case);
                }
            }
            let case = Case { room, ..attention(n, m, d, (2, 2)) };
            compare(&shipped("attention.tile"), "attention", &case);
            compare(&shipped("masked.tile"), "attention_causal", &case);
        }
    }
}

#[test]
fn products_in_any_room() {
    let module = shipped("matmul.tile");
    let case = |m, n, k| {
        let case = Case { loose: 10.0, ..Case::new() }.dtype(DType::F32);
        let case = case.extents(&[("M", m), ("N", n), ("K", k)]);
        case.ints(&[("BM", 16), ("BN", 16), ("BK", 64)]).scalar("gelu", Scalar::Bool(false))
    };
    for room in [0, 150 << 10, 1 << 30] {
        // With K = 1024 the rows of the left operand crowd the cache, and are copied.
        for (m, n, k) in [(33, 20, 1024), (33, 40, 100), (16, 17, 64)] {
            compare(&module, "matmul", &Case { room, ..case(m, n, k) });
            if k < 1024 {
                compare(&module, "matmul", &Case { room, spread: 2, ..case(m, n, k) });
            }
        }
    }
    let blocks = fills(&module, "matmul", &case(33, 40, 1024));
    assert_eq!(blocks, [Some(3 * 16), Some(3 * 16)], "both operands' blocks once");
    let blocks = fills(&module, "matmul", &case(33, 40, 1040));
    assert_eq!(blocks, [None, Some(3 * 17)], "rows that do not crowd stay where they are");
}

/// Operands of every kind that can be shared, in one cell's code.
fn kernel(body: &str) -> String {
    format!(
        "order holes(p in F + 9, F: int) -> int {{ if p < 9 {{ -1 }} else {{ F + 8 - p }} }}
kernel k<P: int = 8>(x: tensor<f32>[N, D], y: tensor<f32>[M, D], z: tensor<f32>[R, M, D], w: tensor<f16>[D, E])
    -> (out: tensor<f32>[N, D], wide: tensor<f32>[N, E])
grid (i in N by P) {{
    let mut acc = fill(0.0, over (i, D));
    let mut more = fill(0.0, over (i, E));
{body}
    out[i, :] = acc;
    wide[i, :] = more;
}}
"
    )
}

#[test]
fn operands_of_every_kind() {
    let bodies = [
        // Twice the same operand, once with another around it.
        "for j in M by 16 { let s = dot(x[i, :], y[j, :]); acc += dot(s, y[j, :]) + dot(exp2(s), y[j, :]); }",
        // The same dim in two loops of different blocks.
        "for j in M by 16 { acc += dot(dot(x[i, :], y[j, :]), y[j, :]); } for t in M by 8 { acc += dot(dot(x[i, :], y[t, :]), y[t, :]); }",
        // Loaded outside of the loop that uses it; converted.
        "let v = w[:, :]; for j in M by 16 { let s = dot(x[i, :], y[j, :]); acc += dot(s, y[j, :]); more += dot(dot(s, y[j, :]), v as f32); }",
        // By a number that a loop counts.
        "for r in 0..3 { for j in M by 16 { acc += dot(dot(x[i, :], z[r, j, :]), z[r, j, :]); } }",
        // Several matrices at once.
        "let r = all R; let s = dot(x[i, :], z[r, 0, :]); for j in M by 16 { acc += sum(dot(dot(x[i, :], z[r, j, :]), z[r, j, :], over j), over r); more += 0.0 * sum(s, over r); }",
    ];
    for body in bodies {
        let module = load(&kernel(body));
        for room in ROOMS {
            for (n, m, d) in [(17, 40, 16), (24, 19, 5), (9, 16, 33)] {
                let case = Case { room, loose: 10.0, ..Case::new() };
                let case = case.extents(&[("N", n), ("M", m), ("D", d), ("R", 3), ("E", 24)]);
                compare(&module, "k", &case);
            }
        }
    }
}
