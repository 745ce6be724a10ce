//! The dot in Cranelift's 128-bit vectors: 2 rows × 16 columns in eight registers, k unrolled by 4, which is as many
//! accumulators as two multiply-add pipes of latency 4 need and as few as do not spill. It runs everywhere.
//!
//! An odd last row is computed twice, into the same place.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value, types};

use super::{Dot, Init, PANEL, PARAMS, panel_step};
use crate::Emit;
use crate::vector::ACCESS;

const ROWS: usize = 2;
const VECTORS: usize = 4;
const UNROLL: i64 = 4;

/// The body of the function.
pub(super) fn emit(e: &mut Emit<'_>, init: Init) {
    let p: Vec<Value> = (0..PARAMS.len()).map(|n| e.param(n)).collect();
    let dot = Dot { a: p[0], a_row: p[1], b: p[2], c: p[3], c_row: p[4], scale: p[5], m: p[6], n: p[7], k: p[8] };
    let zero = e.int(0);
    let whole = e.ins().band_imm_s(dot.k, -UNROLL);
    let panel = panel_step(e, dot.k);
    let panels = e.open(zero, dot.n, &[dot.b, dot.c]);
    let (b, c) = (panels.carried[0], panels.carried[1]);
    let after = e.ins().iadd_imm_s(panels.index, PANEL);
    let more = e.ins().icmp(IntCC::SignedLessThan, after, dot.n);
    let next = e.ins().iadd(b, panel);
    let next = e.ins().select(more, next, b);
    let rows = e.open(zero, dot.m, &[dot.a, c, dot.scale]);
    touch(e, next, dot.k, rows.index);
    row_pair(e, init, &dot, whole, b, rows.index, &rows.carried);
    let next_a = advance(e, rows.carried[0], dot.a_row, 2);
    let next_c = advance(e, rows.carried[1], dot.c_row, 2);
    let next_scale = e.ins().iadd_imm_s(rows.carried[2], 8);
    e.close(rows, ROWS as i64, &[next_a, next_c, next_scale]);
    let next_b = e.ins().iadd(b, panel);
    let next_c = e.ins().iadd_imm_s(c, PANEL * 4);
    e.close(panels, PANEL, &[next_b, next_c]);
    e.ins().return_(&[]);
}

/// Reads a row of the next panel for each row of A, so that panels which were packed by others, and come from a farther
/// cache, are near when they are needed. Cranelift has no other way to say it, and keeps a load that no one uses as long as
/// it may trap; it stays inside the panels.
fn touch(e: &mut Emit<'_>, panel: Value, k: Value, row: Value) {
    let (zero, last) = (e.int(0), e.ins().iadd_imm_s(k, -1));
    for n in 0..ROWS as i64 {
        let row = e.ins().iadd_imm_s(row, n);
        let row = e.ins().smin(row, last);
        let row = e.ins().smax(row, zero);
        let offset = e.ins().ishl_imm_u(row, i64::from((PANEL * 4).trailing_zeros()));
        let at = e.ins().iadd(panel, offset);
        e.ins().load(types::I64, MemFlagsData::new(), at, 0);
    }
}

fn advance(e: &mut Emit<'_>, from: Value, by: Value, times: i64) -> Value {
    let step = e.ins().imul_imm_s(by, times);
    e.ins().iadd(from, step)
}

/// Two rows of one panel. `at` holds the addresses of A's, C's and the scale's first row.
fn row_pair(e: &mut Emit<'_>, init: Init, dot: &Dot, whole: Value, b: Value, row: Value, at: &[Value]) {
    let after = e.ins().iadd_imm_s(row, 1);
    let both = e.ins().icmp(IntCC::SignedLessThan, after, dot.m);
    let (zero, four) = (e.int(0), e.int(4));
    let mut second = |from: Value, step: Value| {
        let step = e.ins().select(both, step, zero);
        e.ins().iadd(from, step)
    };
    let (a, c, s) =
        ([at[0], second(at[0], dot.a_row)], [at[1], second(at[1], dot.c_row)], [at[2], second(at[2], four)]);
    let start = start(e, init, c, s);
    let zero = e.int(0);
    let main = e.open(zero, whole, &[&[a[0], a[1], b], &start[..]].concat());
    let sums = steps(e, UNROLL, &main.carried);
    let sums = e.close(main, UNROLL, &sums);
    let rest = e.open(whole, dot.k, &sums);
    let sums = steps(e, 1, &rest.carried);
    let sums = e.close(rest, 1, &sums);
    for (row, c) in c.into_iter().enumerate() {
        for v in 0..VECTORS {
            e.ins().store(ACCESS, sums[3 + row * VECTORS + v], c, 16 * v as i32);
        }
    }
}

fn start(e: &mut Emit<'_>, init: Init, c: [Value; ROWS], scale: [Value; ROWS]) -> Vec<Value> {
    let mut sums = Vec::new();
    for row in 0..ROWS {
        let factor = (init == Init::Scaled).then(|| {
            let x = e.ins().load(types::F32, ACCESS, scale[row], 0);
            e.ins().splat(types::F32X4, x)
        });
        for v in 0..VECTORS {
            if init == Init::Zero {
                sums.push(e.splat_constant(types::F32X4, 0));
                continue;
            }
            let held = e.ins().load(types::F32X4, ACCESS, c[row], 16 * v as i32);
            sums.push(factor.map_or(held, |f| e.ins().fmul(held, f)));
        }
    }
    sums
}

/// `count` steps along k. `carried`: addresses in A's two rows and in B, then the sums; gives what is carried on.
fn steps(e: &mut Emit<'_>, count: i64, carried: &[Value]) -> Vec<Value> {
    let (a, b) = ([carried[0], carried[1]], carried[2]);
    let mut sums = carried[3..].to_vec();
    for k in 0..count as i32 {
        let x = a.map(|row| {
            let x = e.ins().load(types::F32, ACCESS, row, 4 * k);
            e.ins().splat(types::F32X4, x)
        });
        for v in 0..VECTORS {
            let y = e.ins().load(types::F32X4, ACCESS, b, 64 * k + 16 * v as i32);
            for (row, x) in x.into_iter().enumerate() {
                let sum = &mut sums[row * VECTORS + v];
                *sum = e.ins().fma(y, x, *sum);
            }
        }
    }
    let next = [
        e.ins().iadd_imm_s(a[0], 4 * count),
        e.ins().iadd_imm_s(a[1], 4 * count),
        e.ins().iadd_imm_s(b, 4 * PANEL * count),
    ];
    [&next[..], &sums[..]].concat()
}
