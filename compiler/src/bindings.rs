//! What a kernel is specialised with, and the orders that callers give. How bindings are found is `infer.rs`'s business.

use std::collections::BTreeMap;

use pantile_ir::{DType, Order, Table, TableError};

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

/// An order that a caller gives to a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub enum OrderArg {
    /// One of the module's orders.
    Named {
        /// Its name in the module.
        name: String,
        /// Its arguments by parameter; a bool is 0 or 1. Those with defaults may be missing.
        args: BTreeMap<String, i64>,
    },
    /// A table that the caller made.
    Table(Table),
}

impl OrderArg {
    /// One of the module's orders: `OrderArg::named("hilbert", [("F", 13), ("Y", 15), ("X", 26)])`.
    pub fn named<'a>(name: &str, args: impl IntoIterator<Item = (&'a str, i64)>) -> Self {
        OrderArg::Named { name: name.into(), args: args.into_iter().map(|(n, v)| (n.to_owned(), v)).collect() }
    }

    /// A table: the element in memory at each position of the walk, -1 where there is none.
    ///
    /// # Errors
    /// If a number is no element or two positions have the same one.
    pub fn table(elements: Vec<i32>) -> Result<Self, TableError> {
        Table::new(elements).map(OrderArg::Table)
    }
}
