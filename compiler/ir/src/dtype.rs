//! Element types, and every fact about each one. Arithmetic on them is `eval.rs`'s business.

use std::fmt;
use std::str::FromStr;

/// The kind of number a dtype holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `false` or `true`.
    Bool,
    /// Two's complement.
    Signed,
    /// Non-negative.
    Unsigned,
    /// IEEE-like.
    Float,
}

macro_rules! dtypes {
    ($($variant:ident $name:literal $kind:ident $bytes:literal;)*) => {
        /// The type of one element. `int` of the language is [`DType::I64`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DType { $(#[doc = $name] $variant,)* }

        impl DType {
            /// Every dtype.
            pub const ALL: &[DType] = &[$(DType::$variant,)*];

            /// As written in source.
            pub fn name(self) -> &'static str {
                match self { $(DType::$variant => $name,)* }
            }

            /// What it holds.
            pub fn kind(self) -> Kind {
                match self { $(DType::$variant => Kind::$kind,)* }
            }

            /// Size in memory; a bool takes one byte, 0 or 1.
            pub fn bytes(self) -> usize {
                match self { $(DType::$variant => $bytes,)* }
            }
        }
    };
}

dtypes! {
    Bool "bool" Bool 1;
    I8 "i8" Signed 1;
    I16 "i16" Signed 2;
    I32 "i32" Signed 4;
    I64 "i64" Signed 8;
    U8 "u8" Unsigned 1;
    U16 "u16" Unsigned 2;
    U32 "u32" Unsigned 4;
    U64 "u64" Unsigned 8;
    F16 "f16" Float 2;
    BF16 "bf16" Float 2;
    F32 "f32" Float 4;
    F64 "f64" Float 8;
    F8E4M3 "f8e4m3" Float 1;
    F8E5M2 "f8e5m2" Float 1;
}

impl DType {
    /// Any float.
    pub fn is_float(self) -> bool {
        self.kind() == Kind::Float
    }

    /// Any integer, signed or not; bool is none.
    pub fn is_int(self) -> bool {
        matches!(self.kind(), Kind::Signed | Kind::Unsigned)
    }

    /// What `dot` and `sum` of this dtype accumulate in: f32 for 8- and 16-bit floats, i32 for 8- and 16-bit integers.
    pub fn accumulator(self) -> DType {
        match self.kind() {
            Kind::Float if self.bytes() < 4 => DType::F32,
            Kind::Signed if self.bytes() < 4 => DType::I32,
            Kind::Unsigned if self.bytes() < 4 => DType::I32,
            Kind::Bool | Kind::Signed | Kind::Unsigned | Kind::Float => self,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DType {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        DType::ALL.iter().copied().find(|d| d.name() == text).ok_or(())
    }
}
