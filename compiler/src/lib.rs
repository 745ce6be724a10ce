//! The compiler: names, constants and types of Pantile source, its elaboration to Tile IR, passes over that, and plans of
//! pipelines. Nothing here executes code or reads files.

mod analysis;
mod bindings;
mod check;
mod elaborate;
mod infer;
mod module;
pub mod passes;
pub mod pipeline;
mod plan;
mod signature;

pub use bindings::{Bindings, OrderArg};
pub use check::program::nearest;
pub use check::tune::Tune;
pub use infer::{ArgShape, InferError, Inferred, infer};
pub use module::{Loaded, Module};
pub use plan::{Buffer, BufferKind, Call, Footprint, Note, Plan, PlanArg, PlanBindings, Role, Step, Traffic, covers};
pub use signature::{
    AxisInfo, ElementType, ExtentInfo, GenericInfo, GenericKind, OrderParamInfo, OrderSignature, ParamInfo, ParamType,
    Signature, Size,
};
