//! Launch plans: a pipeline with all its numbers, as buffers and steps. Planning decides which permutations are fused and
//! which are copied; nothing is executed here.

mod call;
mod frame;
mod launch;
mod outputs;
mod planner;
mod slots;
mod view;
mod walk;

use std::sync::Arc;

use pantile_diag::Span;
use pantile_ir::{DType, Func, Order, Scalar};

use crate::{ArgShape, Bindings};

pub(crate) use planner::{check, plan};
pub(crate) use walk::order;

/// What a pipeline is planned for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanBindings {
    /// The arguments, in the order of the pipeline's parameters. Scalars at the end that have defaults may be missing.
    pub args: Vec<ArgShape>,
    /// Constants and dtypes that the caller fixes.
    pub fixed: Bindings,
}

/// A pipeline, ready to run: steps over buffers, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The pipeline's name.
    pub name: String,
    /// All memory that the steps touch.
    pub buffers: Vec<Buffer>,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// What was fused and what was copied, and why.
    pub notes: Vec<Note>,
}

/// A tensor or mask of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// For people: the argument's name, or the kernel's output that it is.
    pub name: String,
    /// What it holds.
    pub what: BufferKind,
    /// Whose it is.
    pub role: Role,
    /// The last step that touches it.
    pub last_use: Option<usize>,
}

/// What a buffer holds.
#[derive(Clone, Debug, PartialEq)]
pub enum BufferKind {
    /// Elements.
    Tensor {
        /// Their type.
        dtype: DType,
        /// The size along each axis.
        shape: Vec<i64>,
    },
    /// A block mask.
    Mask {
        /// The number of blocks along each axis.
        shape: Vec<i64>,
    },
}

/// Whose a buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The pipeline's n-th parameter.
    Input(usize),
    /// The pipeline's n-th output.
    Output(usize),
    /// The plan's own, dead after its last use.
    Temp,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Launches a kernel.
    Launch {
        /// The kernel, specialised. Steps that run the same one share it.
        func: Arc<Func>,
        /// The size of each of its extents, one a row of [`Func::extents`].
        extents: Vec<i64>,
        /// One a parameter, outputs included.
        args: Vec<PlanArg>,
        /// The kernel's name, for people.
        label: String,
    },
    /// Copies a tensor in another order along one axis: `to[p] = from[order[p]]`, or `to[order[p]] = from[p]` if
    /// `inverse`. Positions without an element are skipped; what of `to` is not written is zero.
    Permute {
        /// The buffer that is read.
        from: usize,
        /// The buffer that is written; it has the same shape but for the axis.
        to: usize,
        /// The axis.
        axis: usize,
        /// The order.
        order: Arc<Order>,
        /// Whether elements go back to where they came from.
        inverse: bool,
        /// For people.
        label: String,
    },
}

/// An argument of a launch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PlanArg {
    /// A buffer of the plan.
    Buffer(usize),
    /// A scalar.
    Scalar(DType, Scalar),
}

/// Something that planning decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// One sentence.
    pub text: String,
    /// The code that it is about.
    pub span: Span,
}

impl Step {
    /// The buffers it reads or writes.
    pub fn buffers(&self) -> Vec<usize> {
        match self {
            Step::Launch { args, .. } => args
                .iter()
                .filter_map(|arg| match arg {
                    PlanArg::Buffer(buffer) => Some(*buffer),
                    PlanArg::Scalar(..) => None,
                })
                .collect(),
            Step::Permute { from, to, .. } => vec![*from, *to],
        }
    }
}

impl BufferKind {
    /// The size along each axis.
    pub fn shape(&self) -> &[i64] {
        match self {
            BufferKind::Tensor { shape, .. } | BufferKind::Mask { shape } => shape,
        }
    }
}
