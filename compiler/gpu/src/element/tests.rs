//! Element arithmetic, run, against `pantile_ir::eval`: exhaustive for casts of up to 16 bits, edges and samples for the
//! others. That a GPU does the same is not tested here.

#[allow(clippy::wildcard_enum_match_arm, reason = "ops that element arithmetic does not use stop the test")]
mod machine;

use pantile_ir::{BinaryOp, Class, DType, Kind, ReduceOp, Scalar, UnaryOp, eval};

use super::convert::{round, unit_bits};
use super::{binary, cast, combine, constant, from_unit, is_zero, random, select, to_units, unary};
use crate::simt::{Builder, Ty, Value};
use machine::Machine;

/// A function of elements, as a program whose inputs are words.
struct Function {
    program: crate::simt::Program,
    inputs: Vec<DType>,
    outputs: Vec<Value>,
    dtype: DType,
}

impl Function {
    fn new(inputs: &[DType], dtype: DType, body: impl FnOnce(&mut Builder, &[Value]) -> Value) -> Self {
        let mut b = Builder::new("element", 1);
        let args: Vec<Value> = (0u32..)
            .zip(inputs)
            .map(|(n, dtype)| {
                let word = b.param(n);
                from_unit(&mut b, *dtype, word, 0)
            })
            .collect();
        let y = body(&mut b, &args);
        assert_eq!(b.ty(y), super::carrier(dtype));
        let outputs = to_units(&mut b, dtype, &[y]);
        Self { program: b.finish(), inputs: inputs.to_vec(), outputs, dtype }
    }

    /// Holds each result to `good`, for approximations that err in both directions.
    fn check(&self, what: &str, rows: &[Vec<Scalar>], good: impl Fn(&[Scalar], Scalar) -> Result<(), Scalar>) {
        let approximate = |i: &crate::simt::Inst| {
            use crate::simt::{Op, Unary::*};
            matches!(i.op, Op::Unary(Ex2 | Lg2 | Rcp | Rsqrt | TanhApprox))
        };
        let biases: &[f64] = if self.program.body.insts.iter().any(approximate) { &[-1.0, 0.0, 1.0] } else { &[0.0] };
        for bias in biases {
            let mut machine = Machine::new(&self.program, *bias);
            for row in rows {
                let words: Vec<u64> = self.inputs.iter().zip(row).map(|(dtype, x)| eval::to_bits(*dtype, *x)).collect();
                machine.run(&words);
                let got = eval::from_bits(self.dtype, machine.bits(self.outputs[0]));
                if let Err(want) = good(row, got) {
                    panic!("{what} of {row:?}: {got:?}, not {want:?} (bias {bias})");
                }
            }
        }
    }
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

    fn scalar(&mut self, dtype: DType) -> Scalar {
        eval::from_bits(dtype, if dtype == DType::Bool { self.next() & 1 } else { self.next() })
    }
}

/// All values of a small dtype, one in `step`; else edges and a sample: any bits, and floats of ordinary size.
fn every(dtype: DType, step: usize) -> Vec<Scalar> {
    let bits = 8 * dtype.bytes() as u32;
    if dtype == DType::Bool {
        return edges(dtype);
    }
    if bits <= 16 {
        let step = if bits == 8 { 1 } else { step };
        return (0..1u64 << bits).step_by(step).map(|b| eval::from_bits(dtype, b)).collect();
    }
    let mut random = Bits(bits.into());
    let mut values = edges(dtype);
    values.extend((0..2000).map(|_| random.scalar(dtype)));
    if dtype.is_float() {
        let unit = |b: u64| (b >> 11) as f64 / (1u64 << 53) as f64;
        for size in [0.01, 1.0, 10.0, 150.0, 1e4, 1e6, 1e12] {
            let spread = |_| Scalar::Float(eval::round(dtype, size * (2.0 * unit(random.next()) - 1.0)));
            values.extend((0..600).map(spread));
        }
        values.extend((0..600).map(|_| Scalar::Float(eval::round(dtype, 1.0 + 0.1 * (unit(random.next()) - 0.5)))));
        // Multiples of π/2, where sine and cosine are small.
        values.extend((0..600).map(|n| {
            let n = f64::from(n) * f64::from(n) * f64::from(n);
            Scalar::Float(eval::round(dtype, n * std::f64::consts::FRAC_PI_2))
        }));
    }
    values
}

fn edges(dtype: DType) -> Vec<Scalar> {
    let floats = [
        0.0,
        1.0,
        0.5,
        1.5,
        2.5,
        127.0,
        127.75,
        128.0,
        255.9,
        448.0,
        464.0,
        465.0,
        57344.0,
        61440.0,
        65504.0,
        65520.0,
        65536.0,
        2147483520.0,
        2147483648.0,
        2147483904.0,
        4294967040.0,
        4294967296.0,
        9.3e18,
        1.9e19,
        1e-40,
        1e-310,
        6e-8,
        3e-8,
        126.0,
        127.5,
        150.0,
        88.0,
        88.7228,
        88.723,
        89.0,
        87.3,
        104.5,
        709.7,
        709.9,
        745.0,
        1e30,
        3.4028235e38,
        1e300,
        f64::INFINITY,
    ];
    match dtype.kind() {
        Kind::Float => {
            let both = floats.iter().flat_map(|x| [*x, -*x]).chain([f64::NAN]);
            both.map(|x| Scalar::Float(eval::round(dtype, x))).collect()
        }
        Kind::Bool => vec![Scalar::Bool(false), Scalar::Bool(true)],
        Kind::Signed | Kind::Unsigned => {
            let (low, high) = (eval::lowest(dtype).as_i64(), eval::highest(dtype).as_i64());
            let near =
                [0, 1, 2, 3, 7, 31, 63, 64, 100, -1, -2, -7, low, low.wrapping_add(1), high, high.wrapping_sub(1)];
            near.iter().map(|n| Scalar::Int(eval::wrap(dtype, *n))).collect()
        }
    }
}

fn columns(values: Vec<Scalar>) -> Vec<Vec<Scalar>> {
    values.into_iter().map(|x| vec![x]).collect()
}

/// All pairs of edges and some more.
fn pairs(dtype: DType) -> Vec<Vec<Scalar>> {
    let mut values = edges(dtype);
    let mut random = Bits(77);
    values.extend((0..12).map(|_| random.scalar(dtype)));
    values.iter().flat_map(|a| values.iter().map(move |b| vec![*a, *b])).collect()
}

fn same(a: Scalar, b: Scalar) -> bool {
    match (a, b) {
        (Scalar::Float(a), Scalar::Float(b)) => a == b || a.is_nan() && b.is_nan(),
        _ => a == b,
    }
}

fn exactly(got: Scalar, want: Scalar) -> Result<(), Scalar> {
    if same(got, want) { Ok(()) } else { Err(want) }
}

/// Within 4 units of f32's last place, or a small float's neighbour, or 1e-14 of an f64; flushed denormals count as 0.
fn near(dtype: DType, got: Scalar, want: Scalar) -> Result<(), Scalar> {
    let (x, y) = (got.as_f64(), want.as_f64());
    // The mantissa bits and the smallest step of the small floats.
    let (mantissa, least) =
        [(DType::F16, 10, -24), (DType::BF16, 7, -133), (DType::F8E4M3, 3, -9), (DType::F8E5M2, 2, -16)]
            .iter()
            .find(|row| row.0 == dtype)
            .map_or((1000, -1000), |row| (row.1, row.2));
    let step = 2f64.powi(-mantissa) * y.abs() + 2f64.powi(least);
    let (unit, flushed) = if dtype == DType::F64 { (1e-14, 1e-322) } else { (4.0 * f64::from(f32::EPSILON), 2.4e-38) };
    if same(got, want) || (x - y).abs() <= unit * y.abs() + step + flushed { Ok(()) } else { Err(want) }
}

#[test]
fn casts() {
    for &from in DType::ALL {
        let rows = columns(every(from, 1));
        for &to in DType::ALL {
            let f = Function::new(&[from], to, |b, x| cast(b, from, to, x[0]));
            f.check(&format!("{from} as {to}"), &rows, |x, got| exactly(got, eval::cast(from, to, x[0])));
        }
    }
}

#[test]
fn floats_round_to_the_nearest_small_one() {
    let rows = columns(every(DType::F32, 1));
    for dtype in [DType::F16, DType::BF16, DType::F8E4M3, DType::F8E5M2] {
        let f = Function::new(&[DType::F32], dtype, |b, x| round(b, dtype, x[0]));
        let mut rows = rows.clone();
        // Middles between neighbours, and what is beside them.
        rows.extend((0..1u64 << 15).step_by(7).flat_map(|n| {
            let bits = if dtype.bytes() == 2 { n } else { n & 0x7f };
            let (a, b) = (eval::from_bits(dtype, bits).as_f64(), eval::from_bits(dtype, bits + 1).as_f64());
            let middle = ((a + b) / 2.0) as f32;
            [middle, middle.next_up(), -middle.next_down()].map(|x| vec![Scalar::Float(x.into())])
        }));
        f.check(&format!("{dtype}"), &rows, |x, got| exactly(got, Scalar::Float(eval::round(dtype, x[0].as_f64()))));
    }
}

#[test]
fn unary_ops() {
    for &dtype in DType::ALL {
        let rows = columns(every(dtype, 7));
        for op in UnaryOp::ALL.iter().copied().filter(|op| op.class().admits(dtype)) {
            let f = Function::new(&[dtype], dtype, |b, x| unary(b, op, dtype, x[0]));
            f.check(&format!("{op:?} {dtype}"), &rows, |x, got| {
                let want = eval::unary(op, dtype, x[0]);
                let rounds = matches!(op, UnaryOp::Sqrt | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round);
                if op.class() == Class::Float && !rounds { near(dtype, got, want) } else { exactly(got, want) }
            });
        }
    }
}

#[test]
fn special_values() {
    let infinity = f64::INFINITY;
    let cases = [
        (UnaryOp::Exp2, -infinity, 0.0),
        (UnaryOp::Exp2, infinity, infinity),
        (UnaryOp::Exp2, 0.0, 1.0),
        (UnaryOp::Exp, -infinity, 0.0),
        (UnaryOp::Exp, infinity, infinity),
        (UnaryOp::Exp, 0.0, 1.0),
        (UnaryOp::Log, 0.0, -infinity),
        (UnaryOp::Log, 1.0, 0.0),
        (UnaryOp::Log2, 8.0, 3.0),
        (UnaryOp::Sigmoid, -infinity, 0.0),
        (UnaryOp::Sigmoid, infinity, 1.0),
        (UnaryOp::Tanh, -infinity, -1.0),
        (UnaryOp::Erf, infinity, 1.0),
        (UnaryOp::Sin, 0.0, 0.0),
        (UnaryOp::Cos, 0.0, 1.0),
    ];
    for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
        for (op, x, want) in cases {
            let f = Function::new(&[dtype], dtype, |b, x| unary(b, op, dtype, x[0]));
            let mut machine = Machine::new(&f.program, 0.0);
            machine.run(&[eval::to_bits(dtype, Scalar::Float(x))]);
            let got = eval::from_bits(dtype, machine.bits(f.outputs[0]));
            assert!(same(got, Scalar::Float(want)), "{op:?} {dtype} of {x}: {got:?}");
        }
    }
}

#[test]
fn binary_ops() {
    for &dtype in DType::ALL {
        let rows = pairs(dtype);
        for op in BinaryOp::ALL.iter().copied().filter(|op| op.class().admits(dtype)) {
            let out = if op.is_comparison() { DType::Bool } else { dtype };
            let f = Function::new(&[dtype, dtype], out, |b, x| binary(b, op, dtype, x[0], x[1]));
            f.check(&format!("{op:?} {dtype}"), &rows, |x, got| {
                eval::binary(op, dtype, x[0], x[1]).map_or(Ok(()), |want| exactly(got, want))
            });
        }
    }
}

#[test]
fn remainders_of_floats() {
    for dtype in [DType::F32, DType::F64, DType::BF16] {
        let mut random = Bits(5);
        let rows: Vec<Vec<Scalar>> = (0..3000).map(|_| vec![random.scalar(dtype), random.scalar(dtype)]).collect();
        let f = Function::new(&[dtype, dtype], dtype, |b, x| binary(b, BinaryOp::Rem, dtype, x[0], x[1]));
        f.check(&format!("{dtype}"), &rows, |x, got| {
            exactly(got, eval::binary(BinaryOp::Rem, dtype, x[0], x[1]).unwrap())
        });
    }
}

#[test]
fn divisors_that_are_known() {
    for dtype in [DType::I8, DType::I32, DType::I64, DType::U16, DType::U64] {
        for by in [0, 1, -1, 3, 8] {
            let by = Scalar::Int(eval::wrap(dtype, by));
            for op in [BinaryOp::Div, BinaryOp::Rem] {
                let f = Function::new(&[dtype], dtype, |b, x| {
                    let by = constant(b, dtype, by);
                    binary(b, op, dtype, x[0], by)
                });
                f.check(&format!("{op:?} {dtype} by {by:?}"), &columns(edges(dtype)), |x, got| {
                    eval::binary(op, dtype, x[0], by).map_or(Ok(()), |want| exactly(got, want))
                });
            }
        }
    }
}

#[test]
fn choice_and_zero() {
    for &dtype in DType::ALL {
        let rows = pairs(dtype);
        let f = Function::new(&[DType::Bool, dtype, dtype], dtype, |b, x| select(b, x[0], x[1], x[2]));
        let chosen: Vec<Vec<Scalar>> =
            rows.iter().enumerate().map(|(n, p)| vec![Scalar::Bool(n % 3 == 0), p[0], p[1]]).collect();
        f.check("select", &chosen, |x, got| exactly(got, x[if x[0].as_bool() { 1 } else { 2 }]));
        let f = Function::new(&[dtype], DType::Bool, |b, x| is_zero(b, dtype, x[0]));
        f.check("is_zero", &columns(edges(dtype)), |x, got| exactly(got, Scalar::Bool(!x[0].as_bool())));
    }
}

#[test]
fn reductions_start_with_what_changes_nothing() {
    for &dtype in DType::ALL {
        for op in ReduceOp::ALL.iter().copied().filter(|op| op.class().admits(dtype)) {
            let f = Function::new(&[dtype], dtype, |b, x| {
                let start = constant(b, dtype, eval::neutral(op, dtype));
                combine(b, op, dtype, start, x[0])
            });
            f.check(&format!("{op:?} {dtype}"), &columns(edges(dtype)), |x, got| exactly(got, x[0]));
        }
    }
}

#[test]
fn units_of_memory_and_back() {
    for &dtype in DType::ALL {
        let values: Vec<Scalar> = every(dtype, 97).into_iter().take(960).collect();
        for count in [1, 2, 3, 4, 6, 8] {
            let (bits, width) = (usize::from(unit_bits(dtype, count)), 8 * dtype.bytes());
            let each = bits / width;
            let mut b = Builder::new("units", 1);
            let elements: Vec<Value> = (0..count)
                .map(|n| {
                    let word = b.param((n / each) as u32);
                    let raw = if bits == 64 { word } else { b.convert(crate::simt::Convert::Truncate, word) };
                    from_unit(&mut b, dtype, raw, (n % each) as u32)
                })
                .collect();
            let units = to_units(&mut b, dtype, &elements);
            assert_eq!(units.len() * bits, count * width);
            assert!(units.iter().all(|u| b.ty(*u) == if bits == 64 { Ty::I64 } else { Ty::I32 }));
            let program = b.finish();
            let mut machine = Machine::new(&program, 0.0);
            for group in values.chunks_exact(count) {
                let words: Vec<u64> = group
                    .chunks(each)
                    .map(|unit| (0..).zip(unit).map(|(n, x)| eval::to_bits(dtype, *x) << (width * n)).sum())
                    .collect();
                machine.run(&words);
                for (n, want) in group.iter().enumerate() {
                    let unit = machine.bits(units[n / each]);
                    let got = eval::from_bits(dtype, unit >> (width * (n % each)));
                    assert!(same(got, *want), "{dtype} {n} of {count}: {got:?}, not {want:?}");
                }
            }
        }
    }
}

#[test]
fn rounded_pairs_are_packed_by_one_conversion() {
    use crate::simt::Op;
    for dtype in [DType::F16, DType::BF16] {
        let mut b = Builder::new("pair", 1);
        let wide: Vec<Value> = (0..2)
            .map(|n| {
                let word = b.param(n);
                from_unit(&mut b, DType::F32, word, 0)
            })
            .collect();
        let small: Vec<Value> = wide.iter().map(|x| cast(&mut b, DType::F32, dtype, *x)).collect();
        let unit = to_units(&mut b, dtype, &small)[0];
        let program = b.finish();
        let pack = program.body.insts.iter().find(|i| i.results == [unit]).unwrap();
        assert!(matches!(pack.op, Op::Narrow(_)));
        assert_eq!(pack.args, [wide[1], wide[0]]);
    }
}

#[test]
fn random_numbers() {
    let rows: Vec<Vec<Scalar>> = (0..200)
        .map(|n| vec![Scalar::Int(n * 0x1234_5678_9abc), Scalar::Int((n << 29) - n)])
        .chain([vec![Scalar::Int(-1), Scalar::Int(i64::MIN)]])
        .collect();
    let f = Function::new(&[DType::I64, DType::I64], DType::F32, |b, x| random(b, x[0], x[1]));
    f.check("random", &rows, |x, got| exactly(got, Scalar::Float(eval::uniform(x[0].as_i64(), x[1].as_i64()))));
}
