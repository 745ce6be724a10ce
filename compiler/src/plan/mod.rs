//! Launch plans: a pipeline with all its numbers, as buffers and steps. Planning decides which permutations are fused and
//! which are copied; nothing is executed here.

mod call;
mod elide;
mod frame;
mod group;
mod launch;
mod memory;
mod outputs;
mod planner;
mod repeat;
mod slots;
mod text;
mod traffic;
mod uses;
mod view;
mod walk;
mod whole;

pub use whole::covers;

use std::sync::Arc;

use pantile_diag::Span;
use pantile_ir::{DType, Func, GridAxis, Order, Scalar};

use crate::{ArgShape, Bindings};

pub use memory::Footprint;
pub use traffic::Traffic;

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
    /// The bytes of each place: memory that temporaries use one after another.
    pub places: Vec<u64>,
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
    /// The first and the last step that touch it; `None` if no step does.
    pub life: Option<(usize, usize)>,
    /// Where a temporary lies: a place for each of its [parts](BufferKind::parts). No others have places.
    pub places: Vec<usize>,
    /// Whether the step that makes it writes each of its elements, so that memory used before need not be cleared.
    pub whole: bool,
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
    /// The plan's own, dead after the last step that touches it.
    Temp,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Launches a kernel.
    Launch {
        /// The kernel, specialised. Steps that run the same one share it.
        func: Arc<Func>,
        /// Calls that do not wait for each other, in one launch: their grids lie one behind the other. At least one.
        calls: Vec<Call>,
        /// The kernel's name, for people.
        label: String,
    },
    /// Copies a tensor or mask as it is.
    Copy {
        /// The buffer that is read.
        from: usize,
        /// The buffer that is written, of the same kind and shape.
        to: usize,
        /// For people.
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

/// One call of a kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The size of each of the kernel's extents, one a row of [`Func::extents`].
    pub extents: Vec<i64>,
    /// One a parameter, outputs included.
    pub args: Vec<PlanArg>,
    /// Where it was written.
    pub span: Span,
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
    /// The buffers it reads.
    pub fn reads(&self) -> Vec<usize> {
        match self {
            Step::Launch { func, calls, .. } => calls.iter().flat_map(|call| call.buffers(func, false)).collect(),
            Step::Copy { from, .. } | Step::Permute { from, .. } => vec![*from],
        }
    }

    /// The buffers it writes. Each buffer of a plan is written by one step at most.
    pub fn writes(&self) -> Vec<usize> {
        match self {
            Step::Launch { func, calls, .. } => calls.iter().flat_map(|call| call.buffers(func, true)).collect(),
            Step::Copy { to, .. } | Step::Permute { to, .. } => vec![*to],
        }
    }

    /// The kernel's name, or what is copied.
    pub fn label(&self) -> &str {
        match self {
            Step::Launch { label, .. } | Step::Copy { label, .. } | Step::Permute { label, .. } => label,
        }
    }
}

impl Call {
    /// The buffers of a kernel's outputs, or of its inputs.
    fn buffers<'a>(&'a self, func: &'a Func, out: bool) -> impl Iterator<Item = usize> + 'a {
        let one = move |(param, arg): (&pantile_ir::Param, &PlanArg)| match arg {
            PlanArg::Buffer(buffer) => (param.out == out).then_some(*buffer),
            PlanArg::Scalar(..) => None,
        };
        func.params.iter().zip(&self.args).filter_map(one)
    }

    /// The number of program instances along each axis of the grid.
    pub fn grid(&self, func: &Func) -> Vec<i64> {
        let size = |axis: &GridAxis| match axis {
            GridAxis::Walk(dim) => func.block_count(*dim, &self.extents),
            GridAxis::Each(axis, _) => func.axis_size(*axis, &self.extents),
        };
        func.grid.iter().map(|axis| size(axis).max(0)).collect()
    }
}

impl BufferKind {
    /// The size along each axis.
    pub fn shape(&self) -> &[i64] {
        match self {
            BufferKind::Tensor { shape, .. } | BufferKind::Mask { shape } => shape,
        }
    }

    /// The bytes of each block of memory it is made of: one for a tensor; for a mask its bits (a byte a block), its
    /// rows' counts and its rows' lists (i32).
    pub fn parts(&self) -> Vec<u64> {
        let count = |shape: &[i64]| shape.iter().map(|n| u64::try_from(*n).unwrap_or(0)).fold(1, u64::saturating_mul);
        match self {
            BufferKind::Tensor { dtype, shape } => vec![count(shape).saturating_mul(dtype.bytes() as u64)],
            BufferKind::Mask { shape } => {
                let (blocks, rows) = (count(shape), count(&shape[..shape.len().saturating_sub(1)]));
                vec![blocks, rows.saturating_mul(4), blocks.saturating_mul(4)]
            }
        }
    }

    /// The bytes it takes.
    pub fn bytes(&self) -> u64 {
        self.parts().into_iter().fold(0, u64::saturating_add)
    }
}
