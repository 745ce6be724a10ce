//! Lane groups of both widths, compiled and run, against `pantile_ir::eval`: exhaustive for dtypes of at most 16 bits,
//! sampled for the others. Timing is no test's business.

use cranelift_codegen::ir::{InstBuilder, types};
use pantile_ir::{BinaryOp, Class, DType, Kind, ReduceOp, Scalar, UnaryOp, eval};

use crate::vector::{Lanes, Width, load, store};
use crate::{Emit, Entry, Jit, arith, convert, host};

/// A column of elements in memory.
#[derive(Clone)]
struct Column {
    dtype: DType,
    bytes: Vec<u8>,
}

impl Column {
    fn of(dtype: DType, values: &[Scalar]) -> Self {
        let mut bytes = vec![0; values.len() * dtype.bytes()];
        for (value, to) in values.iter().zip(bytes.chunks_mut(dtype.bytes())) {
            eval::encode(dtype, *value, to);
        }
        Self { dtype, bytes }
    }

    fn get(&self, n: usize) -> Scalar {
        eval::decode(self.dtype, &self.bytes[n * self.dtype.bytes()..])
    }

    fn len(&self) -> usize {
        self.bytes.len() / self.dtype.bytes()
    }
}

/// Compiles `body` for one width and runs it over the columns, whose length is a multiple of 4.
fn map(inputs: &[Column], out: DType, width: Width, body: impl Fn(&mut Emit<'_>, &[Lanes]) -> Lanes) -> Column {
    let mut jit = Jit::new(false, crate::Features::Baseline).expect("the host is supported");
    let signature = jit.signature(&[types::I64; 4], &[types::I64]);
    let id = jit.piece("map", signature, |e| {
        let (lo, words, hi) = (e.int(0), e.param(0), e.param(3));
        let pointers: Vec<_> =
            (0..=inputs.len()).map(|n| e.ins().load(types::I64, crate::vector::ACCESS, words, 8 * n as i32)).collect();
        let it = e.open(lo, hi, &pointers);
        let lanes: Vec<Lanes> =
            inputs.iter().zip(&it.carried).map(|(column, at)| load(e, column.dtype, width, *at, 0)).collect();
        let y = body(e, &lanes);
        assert_eq!((y.dtype, y.width), (out, width));
        let to = it.carried[inputs.len()];
        store(e, y, to, 0);
        let sizes = inputs.iter().map(|c| c.dtype).chain([out]);
        let next: Vec<_> = sizes
            .zip(&it.carried)
            .map(|(dtype, at)| e.ins().iadd_imm_s(*at, width.lanes() * dtype.bytes() as i64))
            .collect();
        e.close(it, width.lanes(), &next);
        let zero = e.int(0);
        e.ins().return_(&[zero]);
    });
    let entry = Entry::new(jit.finish().expect("memory for code"), id.expect("accepted by Cranelift"));
    let count = inputs[0].len();
    let mut result = Column { dtype: out, bytes: vec![0xa5; count * out.bytes()] };
    let words: Vec<u64> =
        inputs.iter().map(|c| c.bytes.as_ptr() as u64).chain([result.bytes.as_mut_ptr() as u64]).collect();
    // SAFETY: the words are the columns' addresses, each `count` elements long.
    #[allow(unsafe_code, reason = "machine code is called")]
    unsafe {
        entry.call(words.as_ptr(), std::ptr::null_mut(), 0, count as u64);
    }
    result
}

/// Pseudo-random bits (SplitMix64), the same in every run.
struct Bits(u64);

impl Bits {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// All values of a small dtype, else edge cases and a sample: any bits, and floats of ordinary size.
fn every(dtype: DType) -> Column {
    let bits = 8 * dtype.bytes() as u32;
    let mut values: Vec<Scalar> = Vec::new();
    if dtype == DType::Bool {
        values.extend([false, true, true, false].map(Scalar::Bool));
    } else if bits <= 16 {
        values.extend((0..1u64 << bits).map(|b| eval::from_bits(dtype, b)));
    } else {
        let mut random = Bits(bits.into());
        values.extend(edges(dtype));
        values.extend((0..4000).map(|_| eval::from_bits(dtype, random.next())));
        if dtype.is_float() {
            let unit = |b: u64| (b >> 11) as f64 / (1u64 << 53) as f64;
            for size in [1.0, 10.0, 150.0, 1e4] {
                let spread = |_| Scalar::Float(eval::round(dtype, size * (2.0 * unit(random.next()) - 1.0)));
                values.extend((0..2000).map(spread));
            }
        }
    }
    while !values.len().is_multiple_of(4) {
        values.push(values[0]);
    }
    Column::of(dtype, &values)
}

fn edges(dtype: DType) -> Vec<Scalar> {
    let floats = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        1.5,
        2.5,
        -2.5,
        127.0,
        127.75,
        128.0,
        255.9,
        448.0,
        464.0,
        465.0,
        65504.0,
        65520.0,
        2147483520.0,
        2147483648.0,
        -2147483904.0,
        4294967040.0,
        4294967296.0,
        9.3e18,
        -9.3e18,
        1.9e19,
        1e-40,
        -1e-40,
        6e-8,
        3e-8,
        -126.0,
        -127.5,
        -150.0,
        88.0,
        89.0,
        1e30,
        -1e30,
    ];
    match dtype.kind() {
        Kind::Float => {
            let special = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
            floats.iter().chain(&special).map(|x| Scalar::Float(eval::round(dtype, *x))).collect()
        }
        Kind::Bool => vec![Scalar::Bool(false), Scalar::Bool(true)],
        Kind::Signed | Kind::Unsigned => {
            let (Scalar::Int(low), Scalar::Int(high)) = (eval::lowest(dtype), eval::highest(dtype)) else {
                return Vec::new();
            };
            let near =
                [0, 1, 2, 3, 7, 31, 63, 64, 100, -1, -2, -7, low, low.wrapping_add(1), high, high.wrapping_sub(1)];
            near.iter().map(|n| Scalar::Int(eval::wrap(dtype, *n))).collect()
        }
    }
}

/// All pairs of some forty values.
fn pairs(dtype: DType) -> [Column; 2] {
    let mut values = edges(dtype);
    let mut random = Bits(77);
    values.extend((0..12).map(|_| eval::from_bits(dtype, random.next() & !u64::from(dtype == DType::Bool))));
    while !values.len().is_multiple_of(4) {
        values.push(values[0]);
    }
    let all = || values.iter().flat_map(|a| values.iter().map(move |b| (*a, *b)));
    let (a, b): (Vec<Scalar>, Vec<Scalar>) = all().unzip();
    [Column::of(dtype, &a), Column::of(dtype, &b)]
}

fn same(a: Scalar, b: Scalar) -> bool {
    match (a, b) {
        (Scalar::Float(a), Scalar::Float(b)) => a == b || a.is_nan() && b.is_nan(),
        _ => a == b,
    }
}

/// Within 4 units of f32's last place (or, for small floats, the neighbour); flushed denormals count as 0.
fn near(dtype: DType, got: Scalar, want: Scalar) -> bool {
    let (Scalar::Float(x), Scalar::Float(y)) = (got, want) else { return false };
    if same(got, want) {
        return true;
    }
    let unit = f64::from(f32::EPSILON) * y.abs();
    // The mantissa bits and the smallest step of the small floats.
    let (mantissa, least) =
        [(DType::F16, 10, -24), (DType::BF16, 7, -133), (DType::F8E4M3, 3, -9), (DType::F8E5M2, 2, -16)]
            .iter()
            .find(|row| row.0 == dtype)
            .map_or((1000, -1000), |row| (row.1, row.2));
    let step = 2f64.powi(-mantissa) * y.abs() + 2f64.powi(least);
    // 2^-125, the largest result that is flushed.
    (x - y).abs() <= 4.0 * unit + step + 2.4e-38
}

fn check(what: &str, got: &Column, inputs: &[Column], good: impl Fn(usize, Scalar) -> Result<(), Scalar>) {
    for n in 0..got.len() {
        if let Err(want) = good(n, got.get(n)) {
            let args: Vec<Scalar> = inputs.iter().map(|c| c.get(n)).collect();
            panic!("{what} of {args:?}: {:?}, not {want:?}", got.get(n));
        }
    }
}

fn exactly(got: Scalar, want: Scalar) -> Result<(), Scalar> {
    if same(got, want) { Ok(()) } else { Err(want) }
}

const WIDTHS: [Width; 2] = [Width::One, Width::Four];

#[test]
fn memory_and_back() {
    for &dtype in DType::ALL {
        let column = every(dtype);
        for width in WIDTHS {
            let got = map(std::slice::from_ref(&column), dtype, width, |_, x| x[0]);
            check(&format!("{dtype} {width:?}"), &got, std::slice::from_ref(&column), |n, got| {
                exactly(got, column.get(n))
            });
        }
    }
}

#[test]
fn casts() {
    for &from in DType::ALL {
        let column = every(from);
        for &to in DType::ALL {
            for width in WIDTHS {
                let got = map(std::slice::from_ref(&column), to, width, |e, x| convert::cast(e, x[0], to));
                let what = format!("{from} as {to} {width:?}");
                check(&what, &got, std::slice::from_ref(&column), |n, got| {
                    exactly(got, eval::cast(from, to, column.get(n)))
                });
            }
        }
    }
}

#[test]
fn unary_ops() {
    for &dtype in DType::ALL {
        let column = every(dtype);
        for op in UnaryOp::ALL.iter().copied().filter(|op| op.class().admits(dtype)) {
            for width in WIDTHS {
                let got = map(std::slice::from_ref(&column), dtype, width, |e, x| arith::unary(e, op, x[0]));
                check(&format!("{op:?} {dtype} {width:?}"), &got, std::slice::from_ref(&column), |n, got| {
                    let want = eval::unary(op, dtype, column.get(n));
                    let good = if op.class() == Class::Float { near(dtype, got, want) } else { same(got, want) };
                    if good { Ok(()) } else { Err(want) }
                });
            }
        }
    }
}

#[test]
fn binary_ops() {
    for &dtype in DType::ALL {
        let columns = pairs(dtype);
        for op in BinaryOp::ALL.iter().copied().filter(|op| op.class().admits(dtype)) {
            let out = if op.is_comparison() { DType::Bool } else { dtype };
            for width in WIDTHS {
                let got = map(&columns, out, width, |e, x| arith::binary(e, op, x[0], x[1]));
                check(&format!("{op:?} {dtype} {width:?}"), &got, &columns, |n, got| {
                    match eval::binary(op, dtype, columns[0].get(n), columns[1].get(n)) {
                        Some(want) => exactly(got, want),
                        None => Ok(()),
                    }
                });
            }
        }
    }
}

#[test]
fn selects() {
    for &dtype in DType::ALL {
        let [a, b] = pairs(dtype);
        let truth: Vec<Scalar> = (0..a.len()).map(|n| Scalar::Bool(n % 3 == 0)).collect();
        let columns = [Column::of(DType::Bool, &truth), a, b];
        for width in WIDTHS {
            let got = map(&columns, dtype, width, |e, x| arith::select(e, x[0], x[1], x[2]));
            check(&format!("select {dtype} {width:?}"), &got, &columns, |n, got| {
                exactly(got, columns[1 + usize::from(n % 3 != 0)].get(n))
            });
        }
    }
}

#[test]
fn horizontal_reductions() {
    for &dtype in DType::ALL {
        let [column, _] = pairs(dtype);
        for op in ReduceOp::ALL.iter().copied().filter(|op| op.class().admits(dtype)) {
            let got = map(std::slice::from_ref(&column), dtype, Width::Four, |e, x| {
                let one = arith::reduce(e, op, x[0]);
                crate::vector::splat(e, one, Width::Four)
            });
            let step = |a, b| {
                let op = match op {
                    ReduceOp::Sum => BinaryOp::Add,
                    ReduceOp::Prod => BinaryOp::Mul,
                    ReduceOp::Max => BinaryOp::Max,
                    ReduceOp::Min => BinaryOp::Min,
                    ReduceOp::Any => BinaryOp::Or,
                    ReduceOp::All => BinaryOp::And,
                };
                eval::binary(op, dtype, a, b).expect("no division")
            };
            check(&format!("{op:?} {dtype}"), &got, std::slice::from_ref(&column), |n, got| {
                let x = |lane| column.get(n / 4 * 4 + lane);
                // Both registers' halves first, or neighbours first: all that is used.
                let ways = [step(step(x(0), x(2)), step(x(1), x(3))), step(step(x(0), x(1)), step(x(2), x(3)))];
                if ways.iter().any(|want| same(got, *want)) { Ok(()) } else { Err(ways[0]) }
            });
        }
    }
}

#[test]
fn lane_numbers_and_random() {
    let seeds: Vec<Scalar> = (0..64).map(|n| Scalar::Int(n * 0x1234_5678_9abc)).collect();
    let counters: Vec<Scalar> = (0..64).map(|n| Scalar::Int(n << 29)).collect();
    let columns = [Column::of(DType::I64, &seeds), Column::of(DType::I64, &counters)];
    for width in WIDTHS {
        let got = map(&columns, DType::F32, width, |e, x| host::random(e, x[0], x[1]));
        check("random", &got, &columns, |n, got| {
            let want = eval::uniform(n as i64 * 0x1234_5678_9abc, (n as i64) << 29);
            exactly(got, Scalar::Float(want))
        });
    }
    for dtype in [DType::I32, DType::I64, DType::U8, DType::F32, DType::F64, DType::BF16] {
        let got = map(&columns, dtype, Width::Four, |e, _| crate::vector::iota(e, dtype, Width::Four));
        check("iota", &got, &columns, |n, got| exactly(got, eval::cast(DType::I64, dtype, Scalar::Int(n as i64 % 4))));
    }
}

#[test]
fn special_values_of_exp2() {
    let inputs = [f64::NEG_INFINITY, f64::INFINITY, f64::NAN, 0.0, 127.75, 1e9, -1e9, -0.0];
    let column = Column::of(DType::F32, &inputs.map(Scalar::Float));
    // A NaN with every payload bit set must stay one, too.
    let payload = Column { dtype: DType::F32, bytes: [0x7fff_ffffu32.to_le_bytes(); 4].concat() };
    for width in WIDTHS {
        let run =
            |c: &Column| map(std::slice::from_ref(c), DType::F32, width, |e, x| arith::unary(e, UnaryOp::Exp2, x[0]));
        let got = run(&column);
        let bits: Vec<u64> = [0, 1, 3, 5, 6, 7].iter().map(|n| eval::to_bits(DType::F32, got.get(*n))).collect();
        let one = 1f32.to_bits().into();
        let infinity = f32::INFINITY.to_bits().into();
        assert_eq!(bits, [0, infinity, one, infinity, 0, one]);
        assert!(matches!(got.get(4), Scalar::Float(x) if x.is_finite()));
        for column in [got, run(&payload)] {
            assert!(matches!(column.get(2), Scalar::Float(x) if x.is_nan()));
        }
    }
}
