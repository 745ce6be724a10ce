//! Ops of one thread against plain Rust, on edge values and random ones. Other lanes are not involved.

use crate::support::{Numbers, mine, program};
use pantile_gpu::emulate::{self, ErrorKind, Memory, Options};
use pantile_gpu::simt::{Binary, Builder, Compare, Convert, Op, Small, Space, Ty, Unary, Value};

/// Runs a function of some operands over many of them: bits in, bits out.
fn map(types: &[Ty], operands: &[Vec<u64>], f: impl Fn(&mut Builder, &[Value]) -> Value) -> Vec<u64> {
    let count = operands[0].len();
    let program = program(32, 0, |b| {
        let thread = b.special(pantile_gpu::simt::Special::Block);
        let by = b.i32(32);
        let first = b.mul(thread, by);
        let lane = b.special(pantile_gpu::simt::Special::Lane);
        let index = b.add(first, lane);
        let index = b.zero_extend(Ty::I64, index);
        let offset = b.mul_const(index, 8);
        let values: Vec<Value> = (0..types.len())
            .map(|n| {
                let base = b.param(n as u32);
                let address = b.add(base, offset);
                let bits = b.load(Space::Global, 64, 1, address, None)[0];
                from_bits(b, types[n], bits)
            })
            .collect();
        let result = f(b, &values);
        let result = to_bits(b, result);
        let base = b.param(types.len() as u32);
        let address = b.add(base, offset);
        b.store(Space::Global, 64, address, &[result], None);
    });
    let mut memory = Memory::new();
    let mut words: Vec<u64> = Vec::new();
    for operand in operands {
        let padded = operand.iter().chain(std::iter::repeat(&operand[count - 1])).take(count.next_multiple_of(32));
        let bytes: Vec<u8> = padded.flat_map(|x| x.to_le_bytes()).collect();
        words.push(memory.alloc_with(&bytes));
    }
    words.push(memory.alloc(count.next_multiple_of(32) * 8));
    let blocks = count.div_ceil(32) as u32;
    emulate::run(&program, blocks, &words, &mut memory, &Options::default()).expect("runs");
    let out = memory.read(words[types.len()], count * 8).expect("allocated");
    out.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().expect("eight"))).collect()
}

fn from_bits(b: &mut Builder, ty: Ty, bits: Value) -> Value {
    match ty {
        Ty::I64 => bits,
        Ty::F64 => b.convert(Convert::Bits(Ty::F64), bits),
        Ty::I32 => b.convert(Convert::Truncate, bits),
        Ty::F32 => {
            let low = b.convert(Convert::Truncate, bits);
            b.convert(Convert::Bits(Ty::F32), low)
        }
        Ty::Bool => {
            let low = b.and_const(bits, 1);
            let zero = b.i64(0);
            b.compare(Compare::Ne, low, zero)
        }
    }
}

fn to_bits(b: &mut Builder, value: Value) -> Value {
    match b.ty(value) {
        Ty::I64 => value,
        Ty::F64 => b.convert(Convert::Bits(Ty::I64), value),
        Ty::I32 | Ty::Bool => b.zero_extend(Ty::I64, value),
        Ty::F32 => {
            let low = b.convert(Convert::Bits(Ty::I32), value);
            b.zero_extend(Ty::I64, low)
        }
    }
}

fn values(ty: Ty) -> Vec<u64> {
    let mut random = Numbers(0x1234_5678_9abc_def1);
    let mut all: Vec<u64> = match ty {
        Ty::Bool => vec![0, 1],
        Ty::I32 => [0, 1, 2, 7, 31, 32, -1, -2, i32::MAX, i32::MIN, 1 << 16].map(|x: i32| u64::from(x as u32)).into(),
        Ty::I64 => [0, 1, 3, 63, -1, i64::MAX, i64::MIN, 1 << 32].map(|x: i64| x as u64).into(),
        Ty::F32 => {
            [0.0, -0.0, 1.0, -1.5, 0.5, 2.5, 1e-40, -1e-40, 1e38, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 3e9]
                .map(|x: f32| u64::from(x.to_bits()))
                .into()
        }
        Ty::F64 => [0.0, -0.0, 1.0, -1.5, 2.5, 1e-310, 1e300, f64::INFINITY, f64::NAN, 1e19].map(f64::to_bits).into(),
    };
    for _ in 0..24 {
        let bits = random.next();
        all.push(match ty {
            Ty::Bool => bits & 1,
            Ty::I32 => bits & 0xffff_ffff,
            Ty::F32 => u64::from(((bits as i32 as f32) / 65536.0).to_bits()),
            Ty::F64 => ((bits as i64 as f64) / 65536.0).to_bits(),
            Ty::I64 => bits,
        });
    }
    all
}

fn pairs(ty: Ty, keep: impl Fn(u64, u64) -> bool) -> [Vec<u64>; 2] {
    let all = values(ty);
    let both = all.iter().flat_map(|x| all.iter().map(move |y| (*x, *y))).filter(|(x, y)| keep(*x, *y));
    let (xs, ys) = both.unzip();
    [xs, ys]
}

fn same(ty: Ty, x: u64, y: u64) -> bool {
    let nan = match ty {
        Ty::F32 => f32::from_bits(x as u32).is_nan() && f32::from_bits(y as u32).is_nan(),
        Ty::F64 => f64::from_bits(x).is_nan() && f64::from_bits(y).is_nan(),
        Ty::Bool | Ty::I32 | Ty::I64 => false,
    };
    x == y || nan
}

/// Checks one op against a function of bits.
fn binary(op: Binary, ty: Ty, keep: impl Fn(u64, u64) -> bool, plain: impl Fn(u64, u64) -> u64) {
    let operands = pairs(ty, keep);
    let got = map(&[ty, ty], &operands, |b, v| b.binary(op, v[0], v[1]));
    for (n, got) in got.iter().enumerate() {
        let (x, y) = (operands[0][n], operands[1][n]);
        assert!(same(ty, *got, plain(x, y)), "{op:?} {ty:?} of {x:#x} and {y:#x} gives {got:#x}");
    }
}

fn s32(f: impl Fn(i32, i32) -> i32) -> impl Fn(u64, u64) -> u64 {
    move |x, y| u64::from(f(x as i32, y as i32) as u32)
}

fn u32s(f: impl Fn(u32, u32) -> u32) -> impl Fn(u64, u64) -> u64 {
    move |x, y| u64::from(f(x as u32, y as u32))
}

fn f32s(f: impl Fn(f32, f32) -> f32) -> impl Fn(u64, u64) -> u64 {
    move |x, y| u64::from(f(f32::from_bits(x as u32), f32::from_bits(y as u32)).to_bits())
}

fn f64s(f: impl Fn(f64, f64) -> f64) -> impl Fn(u64, u64) -> u64 {
    move |x, y| f(f64::from_bits(x), f64::from_bits(y)).to_bits()
}

#[test]
fn integers_are_as_in_rust() {
    let any = |_, _| true;
    let divides = |_, y| y != 0;
    binary(Binary::Add, Ty::I32, any, s32(i32::wrapping_add));
    binary(Binary::Sub, Ty::I32, any, s32(i32::wrapping_sub));
    binary(Binary::Mul, Ty::I32, any, s32(i32::wrapping_mul));
    binary(Binary::MulHigh, Ty::I32, any, u32s(|x, y| ((u64::from(x) * u64::from(y)) >> 32) as u32));
    binary(Binary::MulHigh, Ty::I64, any, |x, y| ((u128::from(x) * u128::from(y)) >> 64) as u64);
    binary(Binary::Div, Ty::I32, divides, s32(i32::wrapping_div));
    binary(Binary::Rem, Ty::I32, divides, s32(i32::wrapping_rem));
    binary(Binary::UDiv, Ty::I32, divides, u32s(|x, y| x / y));
    binary(Binary::URem, Ty::I64, divides, |x, y| x % y);
    binary(Binary::Div, Ty::I64, divides, |x, y| (x as i64).wrapping_div(y as i64) as u64);
    binary(Binary::Min, Ty::I32, any, s32(i32::min));
    binary(Binary::Max, Ty::I64, any, |x, y| (x as i64).max(y as i64) as u64);
    binary(Binary::UMin, Ty::I32, any, u32s(u32::min));
    binary(Binary::UMax, Ty::I32, any, u32s(u32::max));
    binary(Binary::And, Ty::I32, any, |x, y| x & y);
    binary(Binary::Or, Ty::I64, any, |x, y| x | y);
    binary(Binary::Xor, Ty::Bool, any, |x, y| x ^ y);
    binary(Binary::Shl, Ty::I32, |_, y| y < 32, u32s(|x, y| x << y));
    binary(Binary::Shr, Ty::I32, |_, y| y < 32, s32(|x, y| x >> y));
    binary(Binary::UShr, Ty::I64, |_, y| y < 64, |x, y| x >> y);
}

#[test]
fn floats_are_as_in_rust_and_minima_keep_nans_and_signs() {
    let any = |_, _| true;
    binary(Binary::Add, Ty::F32, any, f32s(|x, y| x + y));
    binary(Binary::Sub, Ty::F64, any, f64s(|x, y| x - y));
    binary(Binary::Mul, Ty::F32, any, f32s(|x, y| x * y));
    binary(Binary::Div, Ty::F32, any, f32s(|x, y| x / y));
    let least = |x: f32, y: f32| match (x.is_nan() || y.is_nan(), x == y) {
        (true, _) => f32::NAN,
        (_, true) if x.is_sign_negative() => x,
        (_, true) => y,
        _ => x.min(y),
    };
    binary(Binary::Min, Ty::F32, any, f32s(least));
    binary(Binary::Max, Ty::F32, any, f32s(|x, y| -least(-x, -y)));
}

#[test]
fn fused_sums_are_rounded_once() {
    let mut random = Numbers(99);
    let mut operands = [Vec::new(), Vec::new(), Vec::new()];
    let pool: Vec<u32> = values(Ty::F32).iter().map(|x| *x as u32).collect();
    for n in 0..20000 {
        let (x, y) = (random.next() as u32, random.next() as u32);
        // Sums that nearly cancel, or are near a tie, are where a second rounding would show.
        let product = f32::from_bits(x) * f32::from_bits(y);
        let z = match n % 3 {
            0 => (-product).to_bits().wrapping_add(random.next() as u32 % 3),
            1 => (product * 16_777_216.0).to_bits(),
            _ => pool[n % pool.len()],
        };
        for (operand, bits) in operands.iter_mut().zip([x, y, z]) {
            operand.push(u64::from(bits));
        }
    }
    let got = map(&[Ty::F32; 3], &operands, |b, v| b.fma(v[0], v[1], v[2]));
    for (n, got) in got.iter().enumerate() {
        let [x, y, z] = [0, 1, 2].map(|k| f32::from_bits(operands[k][n] as u32));
        assert!(same(Ty::F32, *got, u64::from(x.mul_add(y, z).to_bits())), "{x} · {y} + {z}");
    }
}

/// Checks an op of one operand within some ulps of f32; 0 means bit for bit.
fn unary(op: Unary, ulps: i64, plain: impl Fn(f32) -> f64) {
    let operand = values(Ty::F32);
    let got = map(&[Ty::F32], std::slice::from_ref(&operand), |b, v| b.unary(op, v[0]));
    for (x, got) in operand.iter().zip(got) {
        let (x, got) = (f32::from_bits(*x as u32), f32::from_bits(got as u32));
        let want = plain(x) as f32;
        let near = (i64::from(got.to_bits()) - i64::from(want.to_bits())).abs() <= ulps;
        assert!(near || got.is_nan() && want.is_nan(), "{op:?} of {x:e} gives {got:e}, not {want:e}");
    }
}

#[test]
fn ops_of_one_float_are_as_in_rust() {
    unary(Unary::Neg, 0, |x| f64::from(-x));
    unary(Unary::Abs, 0, |x| f64::from(x.abs()));
    unary(Unary::Sqrt, 0, |x| f64::from(x.sqrt()));
    unary(Unary::Floor, 0, |x| f64::from(x.floor()));
    unary(Unary::Ceil, 0, |x| f64::from(x.ceil()));
    unary(Unary::Round, 0, |x| f64::from(x.round_ties_even()));
    let flush = |x: f32| if x.is_subnormal() { 0.0f32.copysign(x) } else { x };
    let flushed = move |f: fn(f64) -> f64| move |x: f32| f64::from(flush(f(f64::from(flush(x))) as f32));
    unary(Unary::Ex2, 1, flushed(f64::exp2));
    unary(Unary::Rcp, 1, flushed(f64::recip));
    unary(Unary::Rsqrt, 1, flushed(|x| x.sqrt().recip()));
    unary(Unary::Lg2, 1, |x| f64::from(x).log2());
    unary(Unary::TanhApprox, 1, |x| f64::from(x).tanh());
}

#[test]
fn bits_are_counted() {
    let operand = values(Ty::I32);
    let count = map(&[Ty::I32], std::slice::from_ref(&operand), |b, v| b.unary(Unary::PopCount, v[0]));
    let zeros = map(&[Ty::I32], std::slice::from_ref(&operand), |b, v| b.unary(Unary::LeadingZeros, v[0]));
    let not = map(&[Ty::I32], std::slice::from_ref(&operand), |b, v| b.unary(Unary::Not, v[0]));
    for (n, x) in operand.iter().enumerate() {
        let x = *x as u32;
        assert_eq!((count[n], zeros[n]), (x.count_ones().into(), x.leading_zeros().into()));
        assert_eq!(not[n], u64::from(!x));
    }
}

#[test]
fn comparisons_are_ordered_but_for_not_equal() {
    let ops = [Compare::Eq, Compare::Ne, Compare::Lt, Compare::Le, Compare::Gt, Compare::Ge];
    for op in ops {
        let operands = pairs(Ty::F32, |_, _| true);
        let got = map(&[Ty::F32; 2], &operands, |b, v| b.compare(op, v[0], v[1]));
        for (n, got) in got.iter().enumerate() {
            let [x, y] = [0, 1].map(|k| f32::from_bits(operands[k][n] as u32));
            let want = match op {
                Compare::Eq => x == y,
                Compare::Ne => x != y,
                Compare::Lt => x < y,
                Compare::Le => x <= y,
                Compare::Gt => x > y,
                Compare::Ge | Compare::ULt | Compare::ULe | Compare::UGt | Compare::UGe => x >= y,
            };
            assert_eq!(*got == 1, want, "{op:?} of {x} and {y}");
        }
    }
    for ty in [Ty::I32, Ty::I64] {
        let operands = pairs(ty, |_, _| true);
        let signed = |x: u64| if ty == Ty::I32 { i64::from(x as i32) } else { x as i64 };
        let less = map(&[ty; 2], &operands, |b, v| b.compare(Compare::Lt, v[0], v[1]));
        let below = map(&[ty; 2], &operands, |b, v| b.compare(Compare::ULe, v[0], v[1]));
        for n in 0..less.len() {
            let (x, y) = (operands[0][n], operands[1][n]);
            assert_eq!((less[n] == 1, below[n] == 1), (signed(x) < signed(y), x <= y), "{x:#x} {y:#x}");
        }
    }
}

/// Checks a conversion against a function of bits.
fn convert(how: Convert, from: Ty, to: Ty, plain: impl Fn(u64) -> u64) {
    let operand = values(from);
    let got = map(&[from], std::slice::from_ref(&operand), |b, v| b.convert(how, v[0]));
    for (x, got) in operand.iter().zip(got) {
        assert!(same(to, got, plain(*x)), "{how:?} of {x:#x} gives {got:#x}");
    }
}

#[test]
fn conversions_are_as_in_rust() {
    let single = |x: u64| f32::from_bits(x as u32);
    convert(Convert::ZeroExtend(Ty::I64), Ty::I32, Ty::I64, |x| x);
    convert(Convert::SignExtend, Ty::I32, Ty::I64, |x| i64::from(x as i32) as u64);
    convert(Convert::Truncate, Ty::I64, Ty::I32, |x| x & 0xffff_ffff);
    convert(Convert::SignFrom(8), Ty::I32, Ty::I32, |x| u64::from(i32::from(x as i8) as u32));
    convert(Convert::SignFrom(16), Ty::I32, Ty::I32, |x| u64::from(i32::from(x as i16) as u32));
    convert(Convert::FromSigned(Ty::F32), Ty::I32, Ty::F32, |x| u64::from((x as i32 as f32).to_bits()));
    convert(Convert::FromSigned(Ty::F32), Ty::I64, Ty::F32, |x| u64::from((x as i64 as f32).to_bits()));
    convert(Convert::FromUnsigned(Ty::F32), Ty::I32, Ty::F32, |x| u64::from((x as f32).to_bits()));
    convert(Convert::FromUnsigned(Ty::F64), Ty::I64, Ty::F64, |x| (x as f64).to_bits());
    convert(Convert::ToSigned(Ty::I32), Ty::F32, Ty::I32, |x| u64::from(single(x) as i32 as u32));
    convert(Convert::ToSigned(Ty::I64), Ty::F64, Ty::I64, |x| f64::from_bits(x) as i64 as u64);
    convert(Convert::ToUnsigned(Ty::I32), Ty::F32, Ty::I32, |x| u64::from(single(x) as u32));
    convert(Convert::ToUnsigned(Ty::I64), Ty::F32, Ty::I64, |x| single(x) as u64);
    convert(Convert::Float(Ty::F64), Ty::F32, Ty::F64, |x| f64::from(single(x)).to_bits());
    convert(Convert::Float(Ty::F32), Ty::F64, Ty::F32, |x| u64::from((f64::from_bits(x) as f32).to_bits()));
}

#[test]
fn small_floats_pack_in_pairs_and_come_back() {
    for (small, shift) in [(Small::F16, 16), (Small::BF16, 16), (Small::F8E4M3, 8), (Small::F8E5M2, 8)] {
        let operands =
            [vec![u64::from(1.5f32.to_bits()); 3], [-2.0f32, 0.1, 1e9].map(|x| u64::from(x.to_bits())).into()];
        let packed = map(&[Ty::F32; 2], &operands, |b, v| b.emit(Op::Narrow(small), &[v[0], v[1]], &[Ty::I32])[0]);
        let high = map(&[Ty::I32], &[packed.iter().map(|x| x >> shift).collect()], |b, v| {
            b.convert(Convert::Widen(small), v[0])
        });
        assert_eq!(high, vec![u64::from(1.5f32.to_bits()); 3], "{small:?}");
        let low = map(&[Ty::I32], &[packed], |b, v| b.convert(Convert::Widen(small), v[0]));
        let low: Vec<f32> = low.iter().map(|x| f32::from_bits(*x as u32)).collect();
        assert!(low[0] == -2.0 && (low[1] - 0.1).abs() < 0.01, "{small:?} {low:?}");
        let big = match small {
            Small::F16 => f32::INFINITY,
            Small::F8E4M3 => 448.0,
            Small::F8E5M2 => 57344.0,
            Small::BF16 => low[2],
        };
        assert_eq!(low[2], big, "{small:?}");
    }
}

#[test]
fn arithmetic_without_a_meaning_is_refused() {
    for (op, y, told) in
        [(Binary::Div, 0, "division by zero"), (Binary::URem, 0, "division"), (Binary::Shl, 32, "by 32")]
    {
        let program = program(32, 0, |b| {
            let address = mine(b, 0, 4);
            let x = b.load(Space::Global, 32, 1, address, None)[0];
            let zero = b.and_const(x, 0);
            let y = b.add_const(zero, y);
            b.binary(op, x, y);
        });
        let mut memory = Memory::new();
        let words = [memory.alloc_with(&[1; 128])];
        let found = crate::support::run(&program, &words, &mut memory, 0).expect_err("refused");
        assert!(matches!(&found.kind, ErrorKind::Arithmetic(text) if text.contains(told)), "{found}");
        assert_eq!(found.lane, Some(0));
    }
}
