//! What the printed text means: LLVM folds programs whose operands are constants, and what it stores must be what plain
//! arithmetic gives. Nothing runs; approximations and memory are not seen here.

use pantile_gpu::Target;
use pantile_gpu::llvm::{Options, library, print};
use pantile_gpu::simt::{Binary, Builder, Compare, Convert, Op, Small, Space, Ty, Unary, Value};

/// Appends one op on constants, and gives its result with the bits that are expected.
type Row = Box<dyn Fn(&mut Builder) -> (Value, u64)>;

/// The bits that each row's result should be, and those that it is folded to.
fn folded(rows: &[Row], target: Target) -> Vec<(u64, Option<u64>)> {
    let mut b = Builder::new("k", 32);
    let base = b.param(0);
    let mut wanted = Vec::new();
    for (n, row) in rows.iter().enumerate() {
        let (value, want) = row(&mut b);
        let bits = match b.ty(value) {
            Ty::Bool => b.zero_extend(Ty::I64, value),
            Ty::I32 => b.zero_extend(Ty::I64, value),
            Ty::I64 => value,
            Ty::F32 => {
                let bits = b.convert(Convert::Bits(Ty::I32), value);
                b.zero_extend(Ty::I64, bits)
            }
            Ty::F64 => b.convert(Convert::Bits(Ty::I64), value),
        };
        let address = b.add_const(base, 8 * n as i64);
        b.store(Space::Global, 64, address, &[bits], None);
        wanted.push(want);
    }
    let text = print(&b.finish(), target).unwrap_or_else(|e| panic!("{e}"));
    let ptx = library().and_then(|l| l.ptx(&text, target, &Options::default())).unwrap_or_else(|e| panic!("{e}"));
    wanted.into_iter().zip(stores(&ptx.text, rows.len())).collect()
}

/// The constants that are stored, by place; singly or in pairs.
fn stores(ptx: &str, count: usize) -> Vec<Option<u64>> {
    let mut out = vec![None; count];
    for line in ptx.lines().map(str::trim).filter(|l| l.starts_with("st.global")) {
        let (head, data) = line.split_once("], ").expect("an address and data");
        let place = head.split_once('+').map_or(0, |(_, n)| n.parse::<usize>().expect("an offset"));
        let bits = if head.contains("b64") { 64 } else { 32 };
        let data = data.trim_matches(|c| matches!(c, '{' | '}' | ';'));
        for (n, number) in data.split(", ").enumerate() {
            // A register holds what is not folded.
            let number = number.parse::<i64>().ok().map(i64::cast_unsigned);
            assert_eq!(bits, 64, "{line}");
            out[place / 8 + n] = number;
        }
    }
    out
}

/// Checks the rows on targets with and without 8-bit floats; gives how many are folded.
fn check(name: &str, rows: &[Row], targets: &[Target]) -> usize {
    let mut seen = 0;
    for target in targets {
        for part in rows.chunks(64) {
            for (n, (want, got)) in folded(part, *target).into_iter().enumerate() {
                seen += usize::from(got.is_some());
                let got = got.unwrap_or(want);
                assert_eq!(want, got, "{name} row {n} on {target}: {want:#x} is right, {got:#x} is given");
            }
        }
    }
    seen / targets.len()
}

const BOTH: &[Target] = &[Target::SM_80, Target::SM_90A];

/// As [`check`], where all rows must be folded.
fn check_all(name: &str, rows: &[Row]) {
    assert_eq!(check(name, rows, BOTH), rows.len(), "{name}: some rows are not folded");
}

const SINGLES: [f32; 12] =
    [0.0, -0.0, 1.0, -2.5, 3.5, 0.1, 1e30, -1e-40, f32::MAX, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
const WORDS: [u32; 8] = [0, 1, 7, 31, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1234_5678];

/// NaNs count as one.
fn single(x: f32) -> u64 {
    u64::from(if x.is_nan() { 0x7fc0_0000 } else { x.to_bits() })
}

fn double(x: f64) -> u64 {
    x.to_bits()
}

/// Constants that the builder does not know, so that LLVM folds and not it.
fn hidden(b: &mut Builder, ty: Ty, bits: u64) -> Value {
    let op = Op::Const(pantile_gpu::simt::Const { ty, bits });
    b.emit(op, &[], &[ty])[0]
}

fn minimum(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() {
        f32::NAN
    } else if a == b {
        if a.is_sign_negative() { a } else { b }
    } else {
        a.min(b)
    }
}

#[test]
fn singles() {
    type Two = (Binary, fn(f32, f32) -> f32);
    let ops: [Two; 6] = [
        (Binary::Add, |a, b| a + b),
        (Binary::Sub, |a, b| a - b),
        (Binary::Mul, |a, b| a * b),
        (Binary::Div, |a, b| a / b),
        (Binary::Min, minimum),
        (Binary::Max, |a, b| -minimum(-a, -b)),
    ];
    let mut rows: Vec<Row> = Vec::new();
    for (op, want) in ops {
        for (x, y) in SINGLES.iter().flat_map(|x| SINGLES.map(|y| (*x, y))) {
            // The sign and payload of a NaN that arithmetic makes are the machine's.
            if !want(x, y).is_nan() {
                rows.push(Box::new(move |b| {
                    let (a, c) = (hidden(b, Ty::F32, x.to_bits().into()), hidden(b, Ty::F32, y.to_bits().into()));
                    (b.binary(op, a, c), single(want(x, y)))
                }));
            }
        }
    }
    type One = (Unary, fn(f32) -> f32);
    let ops: [One; 6] = [
        (Unary::Neg, |x| -x),
        (Unary::Abs, f32::abs),
        (Unary::Sqrt, f32::sqrt),
        (Unary::Floor, f32::floor),
        (Unary::Ceil, f32::ceil),
        (Unary::Round, f32::round_ties_even),
    ];
    for (op, want) in ops {
        // LLVM does not fold the root of infinity.
        for x in SINGLES.into_iter().filter(|x| !want(*x).is_nan() && (op != Unary::Sqrt || x.is_finite())) {
            rows.push(Box::new(move |b| {
                let a = hidden(b, Ty::F32, x.to_bits().into());
                (b.unary(op, a), single(want(x)))
            }));
        }
    }
    check_all("single", &rows);
}

#[test]
fn words() {
    type Two = (Binary, fn(u32, u32) -> Option<u32>);
    let ops: [Two; 18] = [
        (Binary::Add, |a, b| Some(a.wrapping_add(b))),
        (Binary::Sub, |a, b| Some(a.wrapping_sub(b))),
        (Binary::Mul, |a, b| Some(a.wrapping_mul(b))),
        (Binary::MulHigh, |a, b| Some(((u64::from(a) * u64::from(b)) >> 32) as u32)),
        (Binary::Div, |a, b| (b != 0).then(|| (a as i32).wrapping_div(b as i32) as u32)),
        (Binary::UDiv, |a, b| a.checked_div(b)),
        (Binary::Rem, |a, b| (b != 0).then(|| (a as i32).wrapping_rem(b as i32) as u32)),
        (Binary::URem, |a, b| a.checked_rem(b)),
        (Binary::Min, |a, b| Some((a as i32).min(b as i32) as u32)),
        (Binary::Max, |a, b| Some((a as i32).max(b as i32) as u32)),
        (Binary::UMin, |a, b| Some(a.min(b))),
        (Binary::UMax, |a, b| Some(a.max(b))),
        (Binary::And, |a, b| Some(a & b)),
        (Binary::Or, |a, b| Some(a | b)),
        (Binary::Xor, |a, b| Some(a ^ b)),
        (Binary::Shl, |a, b| a.checked_shl(b)),
        (Binary::Shr, |a, b| (a as i32).checked_shr(b).map(|x| x as u32)),
        (Binary::UShr, |a, b| a.checked_shr(b)),
    ];
    let mut rows: Vec<Row> = Vec::new();
    for (op, want) in ops {
        for (x, y) in WORDS.iter().flat_map(|x| WORDS.map(|y| (*x, y))) {
            if let Some(want) = want(x, y) {
                rows.push(Box::new(move |b| {
                    let (a, c) = (hidden(b, Ty::I32, x.into()), hidden(b, Ty::I32, y.into()));
                    (b.emit(Op::Binary(op), &[a, c], &[Ty::I32])[0], want.into())
                }));
            }
        }
    }
    for (x, y) in [(u64::MAX, u64::MAX), (1 << 40, 1 << 40), (3, 1 << 63), (0x1234_5678_9abc_def0, 0xfedc_ba98)] {
        rows.push(Box::new(move |b| {
            let (a, c) = (hidden(b, Ty::I64, x), hidden(b, Ty::I64, y));
            (
                b.emit(Op::Binary(Binary::MulHigh), &[a, c], &[Ty::I64])[0],
                ((u128::from(x) * u128::from(y)) >> 64) as u64,
            )
        }));
    }
    for x in WORDS {
        for (op, want) in
            [(Unary::Not, !x), (Unary::PopCount, x.count_ones()), (Unary::LeadingZeros, x.leading_zeros())]
        {
            rows.push(Box::new(move |b| {
                let a = hidden(b, Ty::I32, x.into());
                (b.emit(Op::Unary(op), &[a], &[Ty::I32])[0], want.into())
            }));
        }
    }
    check_all("word", &rows);
}

#[test]
fn comparisons() {
    let mut rows: Vec<Row> = Vec::new();
    for (x, y) in SINGLES.iter().flat_map(|x| SINGLES.map(|y| (*x, y))) {
        let all = [
            (Compare::Eq, x == y),
            (Compare::Ne, x != y),
            (Compare::Lt, x < y),
            (Compare::Le, x <= y),
            (Compare::Gt, x > y),
            (Compare::Ge, x >= y),
        ];
        for (op, want) in all {
            rows.push(Box::new(move |b| {
                let (a, c) = (hidden(b, Ty::F32, x.to_bits().into()), hidden(b, Ty::F32, y.to_bits().into()));
                (b.compare(op, a, c), want.into())
            }));
        }
    }
    for (x, y) in WORDS.iter().flat_map(|x| WORDS.map(|y| (*x, y))) {
        let all = [
            (Compare::Lt, (x as i32) < y as i32),
            (Compare::Ge, x as i32 >= y as i32),
            (Compare::ULt, x < y),
            (Compare::ULe, x <= y),
            (Compare::UGt, x > y),
            (Compare::UGe, x >= y),
        ];
        for (op, want) in all {
            rows.push(Box::new(move |b| {
                let (a, c) = (hidden(b, Ty::I32, x.into()), hidden(b, Ty::I32, y.into()));
                (b.emit(Op::Compare(op), &[a, c], &[Ty::Bool])[0], want.into())
            }));
        }
    }
    check_all("comparison", &rows);
}

#[test]
fn conversions() {
    let mut rows: Vec<Row> = Vec::new();
    let mut add = |how: Convert, from: Ty, bits: u64, want: u64| {
        rows.push(Box::new(move |b: &mut Builder| {
            let a = hidden(b, from, bits);
            (b.emit(Op::Convert(how), &[a], &[how.result(from)])[0], want)
        }));
    };
    for x in SINGLES {
        let bits = x.to_bits().into();
        add(Convert::ToSigned(Ty::I32), Ty::F32, bits, u64::from(x as i32 as u32));
        add(Convert::ToUnsigned(Ty::I32), Ty::F32, bits, u64::from(x as u32));
        add(Convert::ToSigned(Ty::I64), Ty::F32, bits, x as i64 as u64);
        add(Convert::ToUnsigned(Ty::I64), Ty::F32, bits, x as u64);
        let x = f64::from(x);
        add(Convert::ToSigned(Ty::I32), Ty::F64, x.to_bits(), u64::from(x as i32 as u32));
        add(Convert::ToUnsigned(Ty::I32), Ty::F64, x.to_bits(), u64::from(x as u32));
        add(Convert::ToSigned(Ty::I64), Ty::F64, x.to_bits(), x as i64 as u64);
        add(Convert::ToUnsigned(Ty::I64), Ty::F64, x.to_bits(), x as u64);
        add(Convert::Float(Ty::F32), Ty::F64, (x * 1.1).to_bits(), single((x * 1.1) as f32));
    }
    for x in WORDS {
        add(Convert::FromSigned(Ty::F32), Ty::I32, x.into(), single(x as i32 as f32));
        add(Convert::FromUnsigned(Ty::F32), Ty::I32, x.into(), single(x as f32));
        add(Convert::FromSigned(Ty::F64), Ty::I32, x.into(), double(f64::from(x as i32)));
        add(Convert::SignExtend, Ty::I32, x.into(), i64::from(x as i32) as u64);
        add(Convert::ZeroExtend(Ty::I64), Ty::I32, x.into(), x.into());
        add(Convert::Truncate, Ty::I64, u64::from(x) << 8, u64::from(x << 8));
        add(Convert::SignFrom(8), Ty::I32, x.into(), u64::from(i32::from(x as i8) as u32));
        add(Convert::SignFrom(16), Ty::I32, x.into(), u64::from(i32::from(x as i16) as u32));
    }
    check_all("conversion", &rows);
}

/// The number that an 8-bit float is.
fn eight(bits: u32, fraction: u32, bias: i32) -> f64 {
    let exponent = (bits >> fraction & ((1 << (7 - fraction)) - 1)) as i32;
    let part = f64::from(bits & ((1 << fraction) - 1)) / f64::from(1 << fraction);
    let (lead, power) = if exponent == 0 { (0.0, 1 - bias) } else { (1.0, exponent - bias) };
    let sign = if bits & 128 == 0 { 1.0 } else { -1.0 };
    sign * (lead + part) * f64::powi(2.0, power)
}

#[test]
fn eight_bits_are_widened() {
    let mut rows: Vec<Row> = Vec::new();
    for bits in (0..256_u32).filter(|bits| bits & 127 != 127) {
        rows.push(Box::new(move |b| {
            // What stands above the byte does not count.
            let a = hidden(b, Ty::I32, u64::from(bits | 0x5500));
            (b.convert(Convert::Widen(Small::F8E4M3), a), single(eight(bits, 3, 7) as f32))
        }));
    }
    assert_eq!(check("widening", &rows, &[Target::SM_80]), rows.len());
}

/// The nearest number of a format, ties to the even code, saturated.
fn narrowed(x: f32, fraction: u32, bias: i32, last: u32) -> u32 {
    if x.is_nan() {
        return 127;
    }
    let size = f64::from(x.abs()).min(eight(last, fraction, bias));
    let far = |code: &u32| ((eight(*code, fraction, bias) - size).abs(), code & 1);
    let nearest = (0..=last).min_by(|a, b| far(a).partial_cmp(&far(b)).expect("distances are numbers"));
    nearest.expect("codes") | if x.is_sign_negative() { 128 } else { 0 }
}

#[test]
fn eight_bits_are_rounded_where_the_machine_has_none() {
    let mut numbers: Vec<f32> = SINGLES.to_vec();
    // Numbers of the formats, halfway between them, and just beside that.
    for code in 0..127 {
        for (fraction, bias) in [(3, 7), (2, 15)] {
            let (a, b) = (eight(code, fraction, bias), eight(code + 1, fraction, bias));
            let half = ((a + b) / 2.0) as f32;
            numbers.extend([a as f32, half, half.next_up(), half.next_down(), -half]);
        }
    }
    for (small, fraction, bias, last) in [(Small::F8E4M3, 3, 7, 126), (Small::F8E5M2, 2, 15, 123)] {
        let rows: Vec<Row> = numbers
            .iter()
            .map(|x| {
                let x = *x;
                let row: Row = Box::new(move |b| {
                    let (high, low) =
                        (hidden(b, Ty::F32, 1.0_f32.to_bits().into()), hidden(b, Ty::F32, x.to_bits().into()));
                    let got = b.emit(Op::Narrow(small), &[high, low], &[Ty::I32])[0];
                    (got, u64::from(narrowed(1.0, fraction, bias, last) << 8 | narrowed(x, fraction, bias, last)))
                });
                row
            })
            .collect();
        assert_eq!(check(&small.to_string(), &rows, &[Target::SM_80]), rows.len());
    }
}
