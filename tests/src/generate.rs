//! Random kernels in Tile IR, with a launch for each: bytes in, a valid program out. Fewer and smaller bytes give a
//! simpler program, so that what shrinks bytes shrinks programs. Nothing is executed here but the fill of orders.
//!
//! Each float value carries bounds on its size and on how far two honest implementations may differ in it (see
//! `bounds.rs`), so that outputs are compared with a tolerance that was worked out, not guessed. What would turn a small
//! difference into a large one (comparing, truncating, taking a position) is done to exact values only.
//!
//! By construction no two instances store one element without `atomic`, and no launch faults unless
//! [`Program::may_fault`] says so.

mod body;
mod bounds;
mod flow;
mod launch;
mod masked;
mod memory;
mod source;
mod values;

use pantile_interp::Arg;
use pantile_ir::{Axis, Builder, DType, DimId, Func, Index, ParamId, Value};

use bounds::Bounds;
use source::Source;

/// A kernel and a launch of it.
#[derive(Clone, Debug)]
pub struct Program {
    /// The kernel.
    pub func: Func,
    /// One a row of [`Func::extents`].
    pub extents: Vec<i64>,
    /// The table of each of [`Func::orders`].
    pub orders: Vec<Vec<i32>>,
    /// One a parameter; outputs are zero.
    pub args: Vec<Arg>,
    /// For each parameter, how far its elements may differ between implementations.
    pub tolerance: Vec<f64>,
    /// Whether an index may be out of range or an integer be divided by zero.
    pub may_fault: bool,
}

/// The program that these bytes stand for.
pub fn program(bytes: &[u8]) -> Program {
    let mut generator = Generator::launch(Source::new(bytes));
    generator.body();
    generator.finish()
}

/// A tensor or mask that a kernel reads.
struct Input {
    param: ParamId,
    bounds: Bounds,
}

/// What a kernel writes, and how each axis is indexed so that instances do not meet.
struct Output {
    param: ParamId,
    dtype: DType,
    axes: Vec<OutAxis>,
    /// Every instance may store everywhere, atomically.
    atomic: bool,
    set: Bounds,
    /// Sums of what is added, over all executions.
    added: Bounds,
    adds: f64,
}

/// How one axis of an output is indexed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum OutAxis {
    /// By the block of a dim.
    Dim(DimId),
    /// By a grid index.
    Each(Value),
    /// By the number of a grid dim's block.
    Block(DimId),
    /// By whatever is at hand.
    Free(Axis),
}

struct Generator<'a> {
    source: Source<'a>,
    build: Builder,
    extents: Vec<i64>,
    orders: Vec<Vec<i32>>,
    args: Vec<Arg>,
    tensors: Vec<Input>,
    masks: Vec<Input>,
    outputs: Vec<Output>,
    mask_outputs: Vec<(ParamId, Vec<Index>, Vec<Value>)>,
    /// By value.
    bounds: Vec<Bounds>,
    /// Values in scope, newest last.
    pool: Vec<Value>,
    /// Scalars known to be valid places along an axis.
    places: Vec<(Value, Axis)>,
    /// Dims in scope.
    dims: Vec<DimId>,
    /// How often the statement at hand runs in one instance, at most.
    trips: f64,
    instances: f64,
    depth: usize,
    may_fault: bool,
}

impl Generator<'_> {
    fn finish(mut self) -> Program {
        let tolerance = (0..self.args.len()).map(|n| self.tolerance(ParamId(n as u32))).collect();
        self.build.func.name = "generated".into();
        Program {
            func: self.build.finish(),
            extents: self.extents,
            orders: self.orders,
            args: self.args,
            tolerance,
            may_fault: self.may_fault,
        }
    }

    fn tolerance(&self, param: ParamId) -> f64 {
        self.outputs.iter().find(|o| o.param == param && o.dtype.is_float()).map_or(0.0, |o| {
            let total = o.set.size + o.added.size;
            let each = if o.adds > 0.0 { o.adds * bounds::step(o.dtype, total) } else { 0.0 };
            o.set.error + o.added.error + each
        })
    }
}
