//! Scalar semantics against other implementations and hand-made tables. Every small float is tried, not a sample.

use super::*;

const SMALL: [DType; 4] = [DType::F16, DType::BF16, DType::F8E4M3, DType::F8E5M2];

fn float(dtype: DType, bits: u64) -> f64 {
    from_bits(dtype, bits).as_f64()
}

/// Finite values of a small float, ascending, once each.
fn values(dtype: DType) -> Vec<f64> {
    let mut all: Vec<f64> =
        (0..1u64 << (8 * dtype.bytes())).map(|b| float(dtype, b)).filter(|x| x.is_finite()).collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    all
}

#[test]
fn every_bit_pattern_of_small_floats_comes_back() {
    for dtype in SMALL {
        for bits in 0..1u64 << (8 * dtype.bytes()) {
            let x = float(dtype, bits);
            let back = to_bits(dtype, Scalar::Float(x));
            assert!(back == bits || x.is_nan() && float(dtype, back).is_nan(), "{dtype} {bits:#x} {x} {back:#x}");
            assert!(round(dtype, x) == x || x.is_nan() || x.is_infinite(), "{dtype} {x}");
        }
    }
}

#[test]
fn half_floats_agree_with_the_half_crate() {
    for bits in 0..=u16::MAX {
        let (ours, theirs) = (float(DType::F16, bits.into()), half::f16::from_bits(bits).to_f64());
        assert!(ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan());
        let (ours, theirs) = (float(DType::BF16, bits.into()), half::bf16::from_bits(bits).to_f64());
        assert!(ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan());
    }
    for step in 0..4_000_000u32 {
        let x = f32::from_bits(step.wrapping_mul(0x9E37_79B9));
        for (dtype, theirs) in
            [(DType::F16, half::f16::from_f32(x).to_f64()), (DType::BF16, half::bf16::from_f32(x).to_f64())]
        {
            let ours = round(dtype, x.into());
            assert!(
                ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan(),
                "{dtype} {x:e}: {ours} {theirs}"
            );
        }
    }
}

#[test]
fn rounding_takes_the_nearest_and_ties_go_to_even() {
    for dtype in SMALL {
        for pair in values(dtype).windows(2) {
            let (a, b) = (pair[0], pair[1]);
            let middle = (a + b) / 2.0;
            let even = |x: f64| to_bits(dtype, Scalar::Float(x)) & 1 == 0;
            assert_eq!(round(dtype, middle), if even(a) { a } else { b }, "{dtype}: between {a} and {b}");
            assert_eq!(round(dtype, middle.next_down()), a, "{dtype}");
            assert_eq!(round(dtype, middle.next_up()), b, "{dtype}");
        }
    }
}

#[test]
fn overflow_of_small_floats() {
    let cases = [
        (DType::F16, 65504.0, 65520.0, f64::INFINITY),
        (DType::F8E5M2, 57344.0, 61440.0, f64::INFINITY),
        (DType::F8E4M3, 448.0, 464.0 + 1e-9, f64::NAN),
        (DType::F8E4M3, 448.0, f64::INFINITY, f64::NAN),
    ];
    for (dtype, max, over, becomes) in cases {
        assert_eq!(values(dtype).last(), Some(&max));
        assert_eq!(round(dtype, -max), -max);
        assert_eq!(round(dtype, over).to_bits() << 1, becomes.to_bits() << 1, "{dtype} {over}");
    }
    assert_eq!(round(DType::F8E4M3, 464.0), 448.0);
    assert_eq!(round(DType::F16, -65520.0), f64::NEG_INFINITY);
}

#[test]
fn eight_bit_floats_against_the_ocp_tables() {
    let e4m3 = [
        (0x00, 0.0),
        (0x01, 0.001953125),
        (0x07, 0.013671875),
        (0x08, 0.015625),
        (0x38, 1.0),
        (0x7e, 448.0),
        (0xc0, -2.0),
    ];
    let e5m2 = [
        (0x01, 1.52587890625e-5),
        (0x03, 4.57763671875e-5),
        (0x04, 6.103515625e-5),
        (0x3c, 1.0),
        (0x7b, 57344.0),
        (0xfc, f64::NEG_INFINITY),
    ];
    for (bits, x) in e4m3 {
        assert_eq!(float(DType::F8E4M3, bits), x);
    }
    for (bits, x) in e5m2 {
        assert_eq!(float(DType::F8E5M2, bits), x);
    }
    assert!(float(DType::F8E4M3, 0x7f).is_nan() && float(DType::F8E4M3, 0xff).is_nan());
    assert!(float(DType::F8E5M2, 0x7d).is_nan() && float(DType::F8E5M2, 0xff).is_nan());
}

/// What every width of integer does, against Rust's own arithmetic.
macro_rules! against_rust {
    ($($dtype:ident $t:ty;)*) => {$({
        let samples = [0, 1, 2, 3, 7, <$t>::MAX, <$t>::MAX - 1, <$t>::MIN, <$t>::MIN + 1, (<$t>::MAX / 3), (0 as $t).wrapping_sub(1)];
        for a in samples {
            for b in samples {
                let int = |op| binary(op, DType::$dtype, Scalar::Int(a as i64), Scalar::Int(b as i64));
                let want = |x: $t| Some(Scalar::Int(x as i64));
                assert_eq!(int(BinaryOp::Add), want(a.wrapping_add(b)));
                assert_eq!(int(BinaryOp::Sub), want(a.wrapping_sub(b)));
                assert_eq!(int(BinaryOp::Mul), want(a.wrapping_mul(b)));
                assert_eq!(int(BinaryOp::Div), (b != 0).then(|| Scalar::Int(a.wrapping_div(b) as i64)), "{a} / {b}");
                assert_eq!(int(BinaryOp::Rem), (b != 0).then(|| Scalar::Int(a.wrapping_rem(b) as i64)));
                assert_eq!(int(BinaryOp::Min), want(a.min(b)));
                assert_eq!(int(BinaryOp::Max), want(a.max(b)));
                assert_eq!(int(BinaryOp::Shl), want(a.wrapping_shl(b as u32)));
                assert_eq!(int(BinaryOp::Shr), want(a.wrapping_shr(b as u32)));
                assert_eq!(int(BinaryOp::Xor), want(a ^ b));
                assert_eq!(int(BinaryOp::Lt), Some(Scalar::Bool(a < b)));
                assert_eq!(int(BinaryOp::Ge), Some(Scalar::Bool(a >= b)));
            }
            let x = Scalar::Int(a as i64);
            assert_eq!(unary(UnaryOp::Neg, DType::$dtype, x), Scalar::Int(a.wrapping_neg() as i64));
            assert_eq!(unary(UnaryOp::Not, DType::$dtype, x), Scalar::Int(!a as i64));
            assert_eq!(cast(DType::$dtype, DType::F64, x), Scalar::Float(a as f64));
            assert_eq!(cast(DType::$dtype, DType::F32, x), Scalar::Float(f64::from(a as f32)));
            assert_eq!(cast(DType::$dtype, DType::I16, x), Scalar::Int(i64::from(a as i16)));
            let mut bytes = [0xaa; 8];
            encode(DType::$dtype, x, &mut bytes);
            assert_eq!(bytes[..size_of::<$t>()], a.to_le_bytes());
            assert_eq!(decode(DType::$dtype, &bytes), x);
        }
        for f in [0.0, -0.9, 1.5, -2.5, 300.7, -70000.0, 5e9, -5e18, 2e19, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            assert_eq!(cast(DType::F64, DType::$dtype, Scalar::Float(f)), Scalar::Int(f as $t as i64));
        }
        let least = if <$t>::MIN == 0 { 0 } else { <$t>::MIN as i64 };
        assert_eq!((lowest(DType::$dtype), highest(DType::$dtype)), (Scalar::Int(least), Scalar::Int(<$t>::MAX as i64)));
    })*};
}

#[test]
fn integers_agree_with_rust() {
    against_rust! { I8 i8; I16 i16; I32 i32; I64 i64; U8 u8; U16 u16; U32 u32; U64 u64; }
}

#[test]
fn f32_operations_agree_with_rust() {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from_bits(state)
    };
    for _ in 0..200_000 {
        let (a, b) = (next(), next());
        let two = |op| binary(op, DType::F32, Scalar::Float(a.into()), Scalar::Float(b.into())).map(Scalar::as_f64);
        for (op, want) in [
            (BinaryOp::Add, a + b),
            (BinaryOp::Sub, a - b),
            (BinaryOp::Mul, a * b),
            (BinaryOp::Div, a / b),
            (BinaryOp::Rem, a % b),
        ] {
            let got = two(op).unwrap_or_default() as f32;
            assert!(got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(), "{a} {op:?} {b}");
        }
        let root = unary(UnaryOp::Sqrt, DType::F32, Scalar::Float(a.abs().into())).as_f64() as f32;
        assert!(root == a.abs().sqrt() || a.is_nan());
    }
}

#[test]
fn special_values() {
    let f = |op, x: f64| unary(op, DType::F32, Scalar::Float(x)).as_f64();
    assert_eq!(f(UnaryOp::Exp2, f64::NEG_INFINITY), 0.0);
    assert_eq!(f(UnaryOp::Exp, f64::INFINITY), f64::INFINITY);
    assert_eq!(f(UnaryOp::Log, 0.0), f64::NEG_INFINITY);
    assert!(f(UnaryOp::Log2, -1.0).is_nan() && f(UnaryOp::Sqrt, -1.0).is_nan());
    assert_eq!(f(UnaryOp::Rsqrt, 0.0), f64::INFINITY);
    assert_eq!((f(UnaryOp::Sigmoid, f64::NEG_INFINITY), f(UnaryOp::Sigmoid, 0.0)), (0.0, 0.5));
    assert_eq!((f(UnaryOp::Round, 2.5), f(UnaryOp::Round, -3.5)), (2.0, -4.0));
    let nan = Scalar::Float(f64::NAN);
    for op in [BinaryOp::Min, BinaryOp::Max] {
        for (a, b) in [(nan, Scalar::Float(1.0)), (Scalar::Float(1.0), nan)] {
            assert!(binary(op, DType::F32, a, b).is_some_and(|x| x.as_f64().is_nan()));
        }
    }
    assert_eq!(binary(BinaryOp::Ne, DType::F64, nan, nan), Some(Scalar::Bool(true)));
    assert_eq!(binary(BinaryOp::Ge, DType::F64, nan, nan), Some(Scalar::Bool(false)));
    assert_eq!(cast(DType::F32, DType::Bool, nan), Scalar::Bool(true));
    assert_eq!(cast(DType::Bool, DType::F8E4M3, Scalar::Bool(true)), Scalar::Float(1.0));
}

#[test]
fn erf_against_known_digits() {
    for (x, want) in [(0.5, 0.520_499_877_813_046_5), (1.0, 0.842_700_792_949_714_9), (-2.0, -0.995_322_265_018_952_7)]
    {
        assert!((float_unary(UnaryOp::Erf, x) - want).abs() < 1e-16);
    }
}

#[test]
fn philox_against_the_published_vectors() {
    assert_eq!(philox(0, 0), 0x6627_e8d5);
    let mut seen: Vec<u32> = (0..1000).map(|c| philox(42, c)).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 1000);
    assert_ne!(philox(1 << 32, 5), philox(0, 5));
    assert_ne!(philox(3, 1 << 32), philox(3, 0));
    let mean = (0..100_000).map(|c| uniform(7, c)).sum::<f64>() / 100_000.0;
    assert!((mean - 0.5).abs() < 0.003, "{mean}");
}
