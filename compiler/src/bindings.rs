//! What a kernel is specialised with. How bindings are found is `infer.rs`'s business.

use std::collections::BTreeMap;

use pantile_ir::{DType, Order};

/// The numbers and dtypes that a kernel's names stand for in one specialisation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bindings {
    /// Dtype generics: `T` → f32.
    pub dtypes: BTreeMap<String, DType>,
    /// Int generics: `BQ` → 128. Also compile-time parameters of type `int`; a bool is 0 or 1.
    pub ints: BTreeMap<String, i64>,
    /// Extents, all of them where they are known.
    pub extents: BTreeMap<String, i64>,
    /// Extents that are walked in an order: fused permutations.
    pub walks: BTreeMap<String, Order>,
}
