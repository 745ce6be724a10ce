//! Rust functions that compiled code calls by address: what has no worthwhile form in Cranelift. Not the fast path of
//! any f32 kernel.

use cranelift_codegen::ir::types;
use pantile_ir::{DType, UnaryOp, eval};

use crate::Emit;
use crate::vector::{Carrier, Lanes, carrier};

macro_rules! unary64 {
    ($($op:ident $name:ident;)*) => {
        $(extern "C" fn $name(x: f64) -> f64 {
            eval::float_unary(UnaryOp::$op, x)
        })*

        fn unary64(op: UnaryOp) -> Option<extern "C" fn(f64) -> f64> {
            $(if op == UnaryOp::$op {
                return Some($name);
            })*
            None
        }
    };
}

unary64! {
    Exp exp; Exp2 exp2; Log log; Log2 log2; Rsqrt rsqrt; Sin sin; Cos cos; Tanh tanh; Erf erf; Sigmoid sigmoid;
}

extern "C" fn rem64(a: f64, b: f64) -> f64 {
    a % b
}

extern "C" fn rem32(a: f32, b: f32) -> f32 {
    a % b
}

extern "C" fn uniform(seed: i64, counter: i64) -> f32 {
    eval::uniform(seed, counter) as f32
}

/// `op x` of one element by the function that defines it, in f64, for the ops that `math.rs` calls transcendental.
pub(crate) fn unary(e: &mut Emit<'_>, op: UnaryOp, x: Lanes) -> Lanes {
    let Some(function) = unary64(op) else { return x };
    let wide = crate::convert::cast(e, x, DType::F64);
    let y = e.call_host(function as usize, &[types::F64], &[types::F64], &[wide.value()]);
    crate::convert::cast(e, Lanes::one(DType::F64, y[0]), x.dtype)
}

/// `a % b` of one element, not rounded.
pub(crate) fn float_rem(e: &mut Emit<'_>, a: Lanes, b: Lanes) -> Lanes {
    let (address, ty) = match carrier(a.dtype) {
        Carrier::Float64 => (rem64 as extern "C" fn(f64, f64) -> f64 as usize, types::F64),
        Carrier::Bool | Carrier::Int32 | Carrier::Int64 | Carrier::Float32 => {
            (rem32 as extern "C" fn(f32, f32) -> f32 as usize, types::F32)
        }
    };
    let y = e.call_host(address, &[ty, ty], &[ty], &[a.value(), b.value()]);
    Lanes::one(a.dtype, y[0])
}

/// Uniform f32s in [0, 1) from i64 seeds and counters of one width.
pub fn random(e: &mut Emit<'_>, seed: Lanes, counter: Lanes) -> Lanes {
    crate::vector::lanewise(e, &[seed, counter], |e, x| {
        let address = uniform as extern "C" fn(i64, i64) -> f32 as usize;
        let y = e.call_host(address, &[types::I64, types::I64], &[types::F32], &[x[0].value(), x[1].value()]);
        Lanes::one(DType::F32, y[0])
    })
}
