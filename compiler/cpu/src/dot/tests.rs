//! The outlined dot and its packing, compiled and run, against plain sums in f64. What the code looks like is
//! `shape/tests.rs`'s business, and timing `examples/dot_peak.rs`'s.

use cranelift_codegen::ir::{Function, types};
use cranelift_frontend::FunctionBuilderContext;
use pantile_ir::{DType, Scalar, eval};

use crate::dot::{self, Dot, Init};
use crate::pack::{self, Along, Pack, PackArgs};
use crate::{Emit, Entry, Features, Jit};
use cranelift_codegen::ir::InstBuilder;

struct Case {
    init: Init,
    pack: Pack,
    m: usize,
    n: usize,
    k: usize,
}

/// Packs B and multiplies, all in one compiled function.
fn compile(init: Init, pack: Pack, features: Features) -> Entry {
    let mut jit = Jit::new(false, features).expect("the host is supported");
    let dot_id = dot::piece(&mut jit, init).expect("accepted by Cranelift");
    let pack_id = pack::piece(&mut jit, pack).expect("accepted by Cranelift");
    let signature = jit.signature(&[types::I64; 4], &[types::I64]);
    let mut func = Function::with_name_signature(Default::default(), signature);
    let mut context = FunctionBuilderContext::new();
    let mut e = Emit::new(&mut func, &mut context);
    let (dot_ref, pack_ref) = (jit.reference(dot_id, &mut e), jit.reference(pack_id, &mut e));
    let words = e.param(0);
    let w: Vec<_> = (0..13).map(|n| e.ins().load(types::I64, crate::vector::ACCESS, words, 8 * n)).collect();
    let packing = PackArgs { from: w[9], row: w[10], table: w[11], into: w[2], rows: w[8], columns: w[12] };
    // Word 8 is K and word 12 is N when consecutive along n; the other way round they swap.
    let packing = match pack.along {
        Along::N => packing,
        Along::K => PackArgs { rows: w[12], columns: w[8], ..packing },
    };
    pack::call(&mut e, pack_ref, &packing);
    let product = Dot { a: w[0], a_row: w[1], b: w[2], c: w[3], c_row: w[4], scale: w[5], m: w[6], n: w[7], k: w[8] };
    dot::call(&mut e, dot_ref, &product);
    let zero = e.int(0);
    e.ins().return_(&[zero]);
    e.finish(jit.frontend_config());
    let id = jit.define("both", func).expect("accepted by Cranelift");
    Entry::new(jit.finish().expect("memory for code"), id)
}

fn small(n: usize) -> f64 {
    ((n * 2_654_435_761) >> 7 & 15) as f64 / 4.0 - 2.0
}

fn run(entry: &Entry, case: &Case) {
    let Case { init, pack, m, n, k } = *case;
    let (rows, columns) = if pack.along == Along::N { (k, n) } else { (n, k) };
    let bytes = pack.dtype.bytes();
    // Memory rows stand in another order, further apart than they are long.
    let place = |row: usize| if pack.gather { (rows - 1 - row) * 2 } else { row };
    let stride = columns + 3;
    let mut b = vec![0u8; (2 * rows * stride + 8) * bytes];
    for row in 0..rows {
        for column in 0..columns {
            let at = (place(row) * stride + column) * bytes;
            eval::encode(pack.dtype, cast(pack.dtype, small(row * 131 + column)), &mut b[at..at + bytes]);
        }
    }
    let table: Vec<i32> = (0..rows).map(|row| place(row) as i32).collect();
    let a_row = k + 5;
    let a: Vec<f32> = (0..m * a_row).map(|i| small(i * 7 + 3) as f32).collect();
    let c_row = n.next_multiple_of(16) + 16;
    let before: Vec<f32> = (0..(m + 1) * c_row).map(|i| small(i * 5 + 1) as f32).collect();
    let scale: Vec<f32> = (0..m).map(|i| small(i + 9) as f32).collect();
    let mut c = before.clone();
    let mut panels = vec![0f32; dot::packed_bytes(k as i64, n as i64) as usize / 4 + 1];
    let words = [
        a.as_ptr() as u64,
        4 * a_row as u64,
        panels.as_mut_ptr() as u64,
        c.as_mut_ptr() as u64,
        4 * c_row as u64,
        scale.as_ptr() as u64,
        m as u64,
        n as u64,
        k as u64,
        b.as_ptr() as u64,
        (stride * bytes) as u64,
        table.as_ptr() as u64,
        n as u64,
    ];
    // SAFETY: the words are addresses and lengths of the vectors above, as the two functions read them.
    #[allow(unsafe_code, reason = "machine code is called")]
    unsafe {
        entry.call(words.as_ptr(), std::ptr::null_mut(), 0, 0);
    }
    let b_at = |x: usize, y: usize| {
        let (row, column) = if pack.along == Along::N { (x, y) } else { (y, x) };
        eval::cast(pack.dtype, DType::F64, cast(pack.dtype, small(row * 131 + column))).as_f64()
    };
    for i in 0..=m {
        for j in 0..c_row {
            let (got, old) = (f64::from(c[i * c_row + j]), f64::from(before[i * c_row + j]));
            if i == m || j >= n.next_multiple_of(16) {
                assert_eq!(got, old, "written outside: {i} {j} of {m}×{n}×{k}");
            } else if j < n {
                let start = match init {
                    Init::Zero => 0.0,
                    Init::Accumulate => old,
                    Init::Scaled => old * f64::from(scale[i]),
                };
                let sum: f64 = (0..k).map(|x| f64::from(a[i * a_row + x]) * b_at(x, j)).sum();
                assert!((got - sum - start).abs() < 1e-3, "{i} {j} of {m}×{n}×{k} {pack:?} {init:?}: {got}");
            }
        }
    }
}

fn cast(dtype: DType, x: f64) -> Scalar {
    eval::cast(DType::F64, dtype, Scalar::Float(x))
}

/// The emitters that this machine can run.
fn available() -> impl Iterator<Item = Features> {
    Features::ALL.iter().copied().filter(|f| *f <= Features::host())
}

#[test]
fn products_at_every_edge() {
    let sizes = [
        (1, 1, 1),
        (2, 16, 4),
        (3, 17, 5),
        (7, 31, 127),
        (16, 48, 64),
        (5, 33, 3),
        (4, 16, 0),
        (0, 5, 5),
        (9, 15, 18),
        (13, 32, 9),
        (24, 16, 8),
        (35, 20, 11),
    ];
    for init in [Init::Zero, Init::Accumulate, Init::Scaled] {
        for along in [Along::N, Along::K] {
            for gather in [false, true] {
                let pack = Pack { dtype: DType::F32, along, gather };
                for features in available() {
                    let entry = compile(init, pack, features);
                    sizes.iter().for_each(|&(m, n, k)| run(&entry, &Case { init, pack, m, n, k }));
                }
            }
        }
    }
}

#[test]
fn packing_converts_every_number() {
    for dtype in DType::ALL.iter().copied().filter(|d| *d != DType::Bool) {
        for along in [Along::N, Along::K] {
            let pack = Pack { dtype, along, gather: true };
            let entry = compile(Init::Zero, pack, Features::host());
            run(&entry, &Case { init: Init::Zero, pack, m: 3, n: 21, k: 10 });
        }
    }
}
