//! The compiler: names, constants and types of Pantile source, its elaboration to Tile IR, passes over that, and plans of
//! pipelines. Nothing here executes code or reads files.

#![allow(dead_code)]

mod bindings;
mod check;
mod infer;
mod signature;

pub use bindings::Bindings;
pub use infer::{ArgShape, InferError, Inferred, infer};
pub use signature::{
    AxisInfo, ElementType, ExtentInfo, GenericInfo, GenericKind, OrderParamInfo, OrderSignature, ParamInfo, ParamType,
    Signature, Size,
};
