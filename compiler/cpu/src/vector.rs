//! Lane groups: one or four elements of any dtype as Cranelift values, with loads, stores, splats and lane access.
//! What is computed on them is `arith.rs`, `math.rs` and `convert.rs`; nothing here knows tiles.
//!
//! | dtype | one element | four elements | invariant |
//! |---|---|---|---|
//! | bool | i8 | I32X4 | 0 or 1; in a vector 0 or all ones |
//! | i8 i16 i32, u8 u16 u32 | i32 | I32X4 | sign- or zero-extended to 32 bits |
//! | i64 u64 | i64 | 2 × I64X2 | |
//! | f8 f16 bf16 f32 | f32 | F32X4 | a value that the dtype holds exactly |
//! | f64 | f64 | 2 × F64X2 | |

use cranelift_codegen::ir::{Endianness, InstBuilder, MemFlagsData, Type, Value, types};
use pantile_ir::{DType, Kind, Scalar};

use crate::{Emit, convert};

/// The number of elements in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// A loop's tail, or a scalar.
    One,
    /// A loop's main part.
    Four,
}

impl Width {
    /// The number.
    pub fn lanes(self) -> i64 {
        match self {
            Width::One => 1,
            Width::Four => 4,
        }
    }
}

/// One or four elements of a dtype.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes {
    /// What they are.
    pub dtype: DType,
    /// How many they are.
    pub width: Width,
    low: Value,
    high: Option<Value>,
}

/// How elements of a dtype are held while computing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Truth values.
    Bool,
    /// Integers of at most 32 bits.
    Int32,
    /// Integers of 64 bits.
    Int64,
    /// Floats of at most 32 bits.
    Float32,
    /// f64.
    Float64,
}

/// The carrier of a dtype.
pub fn carrier(dtype: DType) -> Carrier {
    match (dtype.kind(), dtype.bytes()) {
        (Kind::Bool, _) => Carrier::Bool,
        (Kind::Signed | Kind::Unsigned, 8) => Carrier::Int64,
        (Kind::Signed | Kind::Unsigned, _) => Carrier::Int32,
        (Kind::Float, 8) => Carrier::Float64,
        (Kind::Float, _) => Carrier::Float32,
    }
}

/// The Cranelift type of each register of a group.
pub fn register(dtype: DType, width: Width) -> Type {
    match (carrier(dtype), width) {
        (Carrier::Bool, Width::One) => types::I8,
        (Carrier::Int32, Width::One) => types::I32,
        (Carrier::Int64, Width::One) => types::I64,
        (Carrier::Float32, Width::One) => types::F32,
        (Carrier::Float64, Width::One) => types::F64,
        (Carrier::Bool | Carrier::Int32, Width::Four) => types::I32X4,
        (Carrier::Int64, Width::Four) => types::I64X2,
        (Carrier::Float32, Width::Four) => types::F32X4,
        (Carrier::Float64, Width::Four) => types::F64X2,
    }
}

/// The number of registers of a group: 2 for four elements of 64 bits.
pub fn registers(dtype: DType, width: Width) -> usize {
    let wide = matches!(carrier(dtype), Carrier::Int64 | Carrier::Float64);
    1 + usize::from(wide && width == Width::Four)
}

impl Lanes {
    /// One element in one register.
    pub fn one(dtype: DType, value: Value) -> Self {
        Self { dtype, width: Width::One, low: value, high: None }
    }

    /// A group from its [`registers`], as loops carry them.
    pub fn from_values(dtype: DType, width: Width, values: &[Value]) -> Self {
        debug_assert_eq!(values.len(), registers(dtype, width));
        Self { dtype, width, low: values[0], high: values.get(1).copied() }
    }

    /// Its registers.
    pub fn values(&self) -> Vec<Value> {
        std::iter::once(self.low).chain(self.high).collect()
    }

    /// Its only register. For a group of two, the first.
    pub fn value(&self) -> Value {
        self.low
    }

    /// The same registers read as another dtype of the same carrier: nothing is rounded or wrapped.
    #[must_use]
    pub fn retag(self, dtype: DType) -> Self {
        debug_assert_eq!(carrier(self.dtype), carrier(dtype));
        Self { dtype, ..self }
    }

    /// Applies `f` to each register.
    pub(crate) fn map(self, dtype: DType, mut f: impl FnMut(Value) -> Value) -> Self {
        Self { dtype, width: self.width, low: f(self.low), high: self.high.map(f) }
    }

    /// Applies `f` to each pair of registers.
    pub(crate) fn zip(self, other: Self, dtype: DType, mut f: impl FnMut(Value, Value) -> Value) -> Self {
        let high = self.high.zip(other.high).map(|(a, b)| f(a, b));
        Self { dtype, width: self.width, low: f(self.low, other.low), high }
    }

    fn pair(dtype: DType, low: Value, high: Value) -> Self {
        Self { dtype, width: Width::Four, low, high: Some(high) }
    }

    pub(crate) fn four(dtype: DType, value: Value) -> Self {
        Self { dtype, width: Width::Four, low: value, high: None }
    }

    /// Both registers of a wide group of four.
    pub(crate) fn halves(&self) -> (Value, Value) {
        (self.low, self.high.unwrap_or(self.low))
    }

    /// A wide group of four.
    pub(crate) fn of_halves(dtype: DType, low: Value, high: Value) -> Self {
        Self::pair(dtype, low, high)
    }
}

/// The flags of every access: in bounds by construction, aligned only by luck.
pub const ACCESS: MemFlagsData = MemFlagsData::new().with_notrap();

/// The same register seen as another type of its size.
pub fn bits_as(e: &mut Emit<'_>, x: Value, ty: Type) -> Value {
    if e.ty(x) == ty {
        return x;
    }
    let flags =
        if ty.is_vector() { MemFlagsData::new().with_endianness(Endianness::Little) } else { MemFlagsData::new() };
    e.ins().bitcast(ty, flags, x)
}

/// A constant.
pub fn constant(e: &mut Emit<'_>, dtype: DType, value: Scalar, width: Width) -> Lanes {
    let lane: u64 = match (carrier(dtype), value) {
        (Carrier::Bool, Scalar::Bool(b)) if width == Width::Four => u64::from(b) * 0xffff_ffff,
        (_, Scalar::Bool(b)) => u64::from(b),
        (Carrier::Float64, Scalar::Float(x)) => x.to_bits(),
        (_, Scalar::Float(x)) => u64::from((x as f32).to_bits()),
        (_, Scalar::Int(n)) => n as u64,
    };
    let ty = register(dtype, width);
    if width == Width::One {
        let value = if ty.is_int() { plain_int(e, ty, lane) } else { e.constant(ty, u128::from(lane)) };
        return Lanes::one(dtype, value);
    }
    let value = e.splat_constant(ty, lane);
    Lanes { dtype, width, low: value, high: (registers(dtype, width) == 2).then_some(value) }
}

/// An integer constant where it is used: nearly always an immediate.
fn plain_int(e: &mut Emit<'_>, ty: Type, bits: u64) -> Value {
    let mask = if ty.bits() == 64 { u64::MAX } else { (1 << ty.bits()) - 1 };
    e.ins().iconst(ty, (bits & mask) as i64)
}

/// One element in every lane. A group of four stays as it is.
pub fn splat(e: &mut Emit<'_>, x: Lanes, width: Width) -> Lanes {
    if x.width == width || width == Width::One {
        return x;
    }
    let ty = register(x.dtype, width);
    let lane = match carrier(x.dtype) {
        Carrier::Bool => {
            let wide = e.ins().uextend(types::I32, x.low);
            e.ins().ineg(wide)
        }
        Carrier::Int32 | Carrier::Int64 | Carrier::Float32 | Carrier::Float64 => x.low,
    };
    let value = e.ins().splat(ty, lane);
    Lanes { dtype: x.dtype, width, low: value, high: (registers(x.dtype, width) == 2).then_some(value) }
}

/// The lanes' numbers 0, 1, 2, 3 in an integer or float dtype.
pub fn iota(e: &mut Emit<'_>, dtype: DType, width: Width) -> Lanes {
    if width == Width::One {
        let zero = if dtype.is_float() { Scalar::Float(0.0) } else { Scalar::Int(0) };
        return constant(e, dtype, zero, width);
    }
    let pack = |lanes: [u64; 4], bits: u32| lanes.iter().rev().fold(0u128, |v, n| (v << bits) | u128::from(*n));
    let (f, d) = (|x: f32| u64::from(x.to_bits()), |x: f64| x.to_bits());
    let ty = register(dtype, width);
    match carrier(dtype) {
        Carrier::Bool | Carrier::Int32 => Lanes::four(dtype, e.constant(ty, pack([0, 1, 2, 3], 32))),
        Carrier::Float32 => Lanes::four(dtype, e.constant(ty, pack([f(0.0), f(1.0), f(2.0), f(3.0)], 32))),
        Carrier::Int64 => {
            let (low, high) = (e.constant(ty, 1 << 64), e.constant(ty, (3 << 64) | 2));
            Lanes::pair(dtype, low, high)
        }
        Carrier::Float64 => {
            let wide = |a: f64, b: f64| (u128::from(d(b)) << 64) | u128::from(d(a));
            let (low, high) = (e.constant(ty, wide(0.0, 1.0)), e.constant(ty, wide(2.0, 3.0)));
            Lanes::pair(dtype, low, high)
        }
    }
}

/// Lane `n` (0..4) of a group. A group of one gives itself.
pub fn extract(e: &mut Emit<'_>, x: Lanes, n: u8) -> Lanes {
    if x.width == Width::One {
        return x;
    }
    let value = match carrier(x.dtype) {
        Carrier::Int32 | Carrier::Float32 => e.ins().extractlane(x.low, n),
        Carrier::Bool => {
            let lane = e.ins().extractlane(x.low, n);
            let byte = e.ins().ireduce(types::I8, lane);
            e.ins().band_imm_u(byte, 1)
        }
        Carrier::Int64 | Carrier::Float64 => {
            let (low, high) = x.halves();
            e.ins().extractlane(if n < 2 { low } else { high }, n % 2)
        }
    };
    Lanes::one(x.dtype, value)
}

/// Four single elements as one group.
pub fn gather(e: &mut Emit<'_>, lanes: [Lanes; 4]) -> Lanes {
    let dtype = lanes[0].dtype;
    let ty = register(dtype, Width::Four);
    let values = lanes.map(|lane| match carrier(dtype) {
        Carrier::Bool => {
            let wide = e.ins().uextend(types::I32, lane.low);
            e.ins().ineg(wide)
        }
        Carrier::Int32 | Carrier::Int64 | Carrier::Float32 | Carrier::Float64 => lane.low,
    });
    let mut group = |values: &[Value]| {
        let first = e.ins().scalar_to_vector(ty, values[0]);
        (1..).zip(&values[1..]).fold(first, |v, (n, x)| e.ins().insertlane(v, *x, n as u8))
    };
    if registers(dtype, Width::Four) == 2 {
        let (low, high) = (group(&values[..2]), group(&values[2..]));
        return Lanes::pair(dtype, low, high);
    }
    Lanes::four(dtype, group(&values))
}

/// Applies `f` to each lane by itself: for what has no vector form. All of `args` have one width.
pub fn lanewise(e: &mut Emit<'_>, args: &[Lanes], mut f: impl FnMut(&mut Emit<'_>, &[Lanes]) -> Lanes) -> Lanes {
    if args[0].width == Width::One {
        return f(e, args);
    }
    let lanes = [0, 1, 2, 3].map(|n| {
        let lane: Vec<Lanes> = args.iter().map(|x| extract(e, *x, n)).collect();
        f(e, &lane)
    });
    gather(e, lanes)
}

/// Reads a group from consecutive elements in memory, in the dtype's own format.
pub fn load(e: &mut Emit<'_>, dtype: DType, width: Width, address: Value, offset: i32) -> Lanes {
    let raw = load_raw(e, dtype, width, address, offset);
    convert::decode(e, dtype, width, raw)
}

fn load_raw(e: &mut Emit<'_>, dtype: DType, width: Width, address: Value, offset: i32) -> [Value; 2] {
    let signed = dtype.kind() == Kind::Signed;
    let twice = |v: Value| [v, v];
    match (dtype.bytes(), width) {
        (1, Width::One) if dtype == DType::Bool => twice(e.ins().load(types::I8, ACCESS, address, offset)),
        (1, Width::One) if signed => twice(e.ins().sload8(types::I32, ACCESS, address, offset)),
        (1, Width::One) => twice(e.ins().uload8(types::I32, ACCESS, address, offset)),
        (2, Width::One) if signed => twice(e.ins().sload16(types::I32, ACCESS, address, offset)),
        (2, Width::One) => twice(e.ins().uload16(types::I32, ACCESS, address, offset)),
        (_, Width::One) => twice(e.ins().load(register(dtype, width), ACCESS, address, offset)),
        (1, Width::Four) => {
            let four = e.ins().load(types::I32, ACCESS, address, offset);
            let four = e.ins().scalar_to_vector(types::I32X4, four);
            let bytes = bits_as(e, four, types::I8X16);
            let (half, whole);
            if signed {
                half = e.ins().swiden_low(bytes);
                whole = e.ins().swiden_low(half);
            } else {
                half = e.ins().uwiden_low(bytes);
                whole = e.ins().uwiden_low(half);
            }
            twice(whole)
        }
        (2, Width::Four) if signed => twice(e.ins().sload16x4(ACCESS, address, offset)),
        (2, Width::Four) => twice(e.ins().uload16x4(ACCESS, address, offset)),
        (4, Width::Four) => twice(e.ins().load(register(dtype, width), ACCESS, address, offset)),
        (_, Width::Four) => {
            let ty = register(dtype, width);
            [e.ins().load(ty, ACCESS, address, offset), e.ins().load(ty, ACCESS, address, offset + 16)]
        }
    }
}

/// Writes a group to consecutive elements in memory, in the dtype's own format.
pub fn store(e: &mut Emit<'_>, x: Lanes, address: Value, offset: i32) {
    let raw = convert::encode(e, x);
    match (x.dtype.bytes(), x.width) {
        (1, Width::One) if x.dtype == DType::Bool => e.ins().store(ACCESS, raw.low, address, offset),
        (1, Width::One) => e.ins().istore8(ACCESS, raw.low, address, offset),
        (2, Width::One) => e.ins().istore16(ACCESS, raw.low, address, offset),
        (_, Width::One) => e.ins().store(ACCESS, raw.low, address, offset),
        (1, Width::Four) => {
            let bytes = convert::narrow_to_bytes(e, raw);
            e.ins().store(ACCESS, bytes, address, offset)
        }
        (2, Width::Four) => {
            let words = convert::narrow_to_words(e, raw);
            e.ins().store(ACCESS, words, address, offset)
        }
        (4, Width::Four) => e.ins().store(ACCESS, raw.low, address, offset),
        (_, Width::Four) => {
            let (low, high) = raw.halves();
            e.ins().store(ACCESS, low, address, offset);
            e.ins().store(ACCESS, high, address, offset + 16)
        }
    };
}

/// Rearranges the 32-bit lanes of two vectors: lane `n` of the result is lane `pick[n]` of `a` (0..4) or `b` (4..8).
pub fn shuffle32(e: &mut Emit<'_>, a: Value, b: Value, pick: [u8; 4]) -> Value {
    let ty = e.ty(a);
    let mask: Vec<u8> = pick.iter().flat_map(|lane| (0..4).map(move |byte| lane * 4 + byte)).collect();
    let mask = e.b.func.dfg.immediates.push(mask.into());
    let (x, y) = (bits_as(e, a, types::I8X16), bits_as(e, b, types::I8X16));
    let mixed = e.ins().shuffle(x, y, mask);
    bits_as(e, mixed, ty)
}
