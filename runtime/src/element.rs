//! Which Rust type holds which dtype. Conversions between dtypes are `tensor.rs`'s business.

use half::{bf16, f16};
use pantile_ir::DType;

mod sealed {
    /// Keeps [`super::Element`] to the types of this file.
    pub trait Sealed {}
}

/// A Rust type that is one element of a tensor: plain data without padding.
pub trait Element: sealed::Sealed + Copy + Send + Sync + 'static {
    /// Its dtype.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($ty:ty => $dtype:ident),* $(,)?) => {$(
        impl sealed::Sealed for $ty {}
        impl Element for $ty {
            const DTYPE: DType = DType::$dtype;
        }
    )*};
}

elements! {
    bool => Bool, i8 => I8, i16 => I16, i32 => I32, i64 => I64, u8 => U8, u16 => U16, u32 => U32, u64 => U64,
    f16 => F16, bf16 => BF16, f32 => F32, f64 => F64,
}
