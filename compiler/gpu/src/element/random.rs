//! Random numbers: Philox 4×32-10, bit for bit what `pantile_ir::eval::uniform` gives. It keeps no state.

use super::mul_const;
use crate::simt::{Binary, Builder, Convert, Ty, Value};

/// Uniform f32 in [0, 1) of an i64 seed and an i64 counter.
pub(crate) fn random(b: &mut Builder, seed: Value, counter: Value) -> Value {
    let mut key = halves(b, seed);
    let [low, high] = halves(b, counter);
    let zero = b.i32(0);
    let mut x = [low, high, zero, zero];
    for _ in 0..10 {
        x = round(b, x, key);
        key = [b.add_const(key[0], 0x9E37_79B9), b.add_const(key[1], 0xBB67_AE85)];
    }
    let bits = b.shr_const(x[0], 8);
    let number = b.convert(Convert::FromUnsigned(Ty::F32), bits);
    mul_const(b, number, 1.0 / 16_777_216.0)
}

fn halves(b: &mut Builder, x: Value) -> [Value; 2] {
    let high = b.shr_const(x, 32);
    [b.convert(Convert::Truncate, x), b.convert(Convert::Truncate, high)]
}

fn round(b: &mut Builder, x: [Value; 4], key: [Value; 2]) -> [Value; 4] {
    let (p, q) = (b.constant(Ty::I32, 0xD251_1F53), b.constant(Ty::I32, 0xCD9E_8D57));
    let (a_high, a_low) = (b.binary(Binary::MulHigh, x[0], p), b.mul(x[0], p));
    let (b_high, b_low) = (b.binary(Binary::MulHigh, x[2], q), b.mul(x[2], q));
    let first = b.binary(Binary::Xor, b_high, x[1]);
    let third = b.binary(Binary::Xor, a_high, x[3]);
    [b.binary(Binary::Xor, first, key[0]), b_low, b.binary(Binary::Xor, third, key[1]), a_low]
}
