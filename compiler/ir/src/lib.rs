//! Tile IR: types, dims, the op table, functions, builder, text form, verifier. Nothing here knows a source language
//! or a target. Start at `func.rs` for the form and `ops.rs` for what there is.

mod build;
mod dtype;
pub mod eval;
pub mod fill;
mod func;
mod ops;
mod order;
mod show;
mod structure;
pub mod text;
mod typing;
mod verify;
mod walk;

pub use build::Builder;
pub use dtype::{DType, Kind};
pub use eval::Scalar;
pub use fill::Fill;
pub use func::{
    Axis, Dim, DimId, Extent, ExtentId, Func, GridAxis, Inst, LoopArgs, OrderId, Param, ParamId, ParamKind, Region,
    Type, Value, instance,
};
pub use ops::{ArgOp, BinaryOp, Class, Index, Loop, Op, Over, ReduceOp, ScanOp, StoreMode, UnaryOp};
pub use order::{Order, OrderBody, Table, TableError, one_to_one};
pub use show::show;
pub use structure::{BoxShape, Structure};
pub use text::{ParseError, parse, print};
pub use typing::result_types;
pub use verify::verify;
pub use walk::BlockTable;
