//! Element-wise loops in 256- and 512-bit vectors, which Cranelift does not write. A loop that was emitted in its 128-bit
//! vectors is read back (`read.rs`) and, if all its instructions have a wide form, written again in full registers
//! (`write.rs`). Anything else is left to Cranelift: nothing here knows tiles, dtypes or the op table.
//!
//! A lane of the wide loop does what a lane of the narrow one does, instruction for instruction; only the order in which
//! a reduction takes its lanes differs.

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::hash::{DefaultHasher, Hash, Hasher};

use cranelift_codegen::ir::{InstBuilder, Type, Value, types};

use crate::vector::bits_as;
use crate::{Emit, Jit, Limit};

pub(crate) use read::read;
pub(crate) use write::{assemble, lanes};

/// A virtual register: the number of its definition in the body.
pub(crate) type Register = usize;

/// A loop's body that has a wide form.
#[derive(Debug, Default)]
pub(crate) struct Body {
    /// How many registers there are.
    registers: usize,
    steps: Vec<Step>,
    /// Registers that hold one number in every lane, throughout.
    uniform: Vec<(Register, Uniform)>,
    /// Registers that each trip takes over from the one before, and what becomes of them.
    carried: Vec<(Register, Register)>,
    /// The 32-bit lane that each carried register starts from.
    start: Vec<Register>,
    /// How two carried registers become one.
    folds: Vec<Fold>,
    /// What addresses are made of besides the index and a number: sums of these values.
    pub(crate) pointers: Vec<Vec<Value>>,
    /// 32-bit values, one for all lanes.
    pub(crate) scalars: Vec<Value>,
    /// What is to be brought into a cache on the way: the first, or the one behind it.
    ahead: Vec<(Place, Cache)>,
}

/// What will be read later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ahead {
    /// Where lane 0 is.
    pub address: Value,
    /// Bytes from lane to lane.
    pub bytes: u32,
    /// Where to bring it.
    pub into: Cache,
}

/// One of the caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cache {
    First,
    Second,
}

impl Body {
    /// Whether it has stores that may go around the caches; if so, its function asks whether they shall.
    pub(crate) fn streams(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.op, Op::Store(_, _, Way::Streamed)))
    }

    /// Makes it fetch what will be read later, a lane for each of its own.
    pub(crate) fn fetch(&mut self, ahead: Ahead) {
        let place = Place { pointer: self.pointers.len(), scale: ahead.bytes, offset: 0 };
        self.ahead.push((place, ahead.into));
        self.pointers.push(vec![ahead.address]);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Uniform {
    /// One of the scalars.
    Scalar(usize),
    /// A constant.
    Bits(u32),
}

/// `result = steps(left, right)`.
#[derive(Debug)]
struct Fold {
    left: Register,
    right: Register,
    steps: Vec<Step>,
    result: Register,
}

#[derive(Clone, Debug)]
struct Step {
    op: Op,
    args: Vec<Register>,
    result: Option<Register>,
}

/// The elements at `pointer + scale · index + offset`.
#[derive(Clone, Copy, Debug)]
struct Place {
    pointer: usize,
    scale: u32,
    offset: i32,
}

/// How a lane lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    /// In 32 bits.
    Whole,
    /// In 16 bits; read with the sign extended, or written with signed saturation.
    Signed16,
    /// In 16 bits; read with zeros in front, or written with unsigned saturation.
    Unsigned16,
    /// As an f16 of an f32; written rounded.
    Half,
}

/// How a store goes to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As others do.
    Cached,
    /// Around the caches, where the caller asks for it and the place is at a multiple of [`LINE`].
    Streamed,
}

/// The bytes of a line of the caches.
const LINE: u32 = 64;

#[derive(Clone, Copy, Debug)]
enum Op {
    Load(Place, Memory),
    Store(Place, Memory, Way),
    One(One),
    Two(Two),
    /// By a number of bits.
    Shift(Shift, u8),
    /// `a · b + c`, rounded once.
    FusedMultiplyAdd,
    /// All ones where it holds of the two arguments.
    Compare(Compare),
    /// The third argument where it holds of the first two, else the fourth.
    Select(Compare),
    /// The second argument where the first is all ones, else the third.
    Choose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum One {
    Sqrt,
    Nearest,
    Floor,
    Ceil,
    Trunc,
    FromSigned,
    Absolute,
    /// To what f16 holds.
    RoundHalf,
}

/// In order: on f32, on bits, on 32-bit integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Two {
    Add,
    Sub,
    Mul,
    Div,
    /// The first where it is smaller, else the second.
    Min,
    /// The first where it is greater, else the second.
    Max,
    And,
    Or,
    Xor,
    IntAdd,
    IntSub,
    IntMul,
    SignedMin,
    SignedMax,
    UnsignedMin,
    UnsignedMax,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shift {
    Left,
    Logical,
    Arithmetic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    /// By the predicate's number in the instruction.
    Float(u8),
    /// By the predicate's number in the instruction; so for the next.
    Signed(u8),
    Unsigned(u8),
}

/// Calls the wide form of a body over the lanes `0..lanes`; the four lanes of each thing that is carried. `stream` is not
/// zero if stores that may go around the caches shall; a body without such has none.
///
/// # Errors
/// What Cranelift refuses.
pub(crate) fn call(
    e: &mut Emit<'_>,
    jit: &mut Jit,
    body: &Body,
    code: &[u8],
    lanes: Value,
    stream: Option<Value>,
    returns: &[Type],
) -> Result<Vec<Value>, Limit> {
    let mut args = vec![lanes];
    for terms in &body.pointers {
        let mut sum = terms[0];
        for term in &terms[1..] {
            sum = e.ins().iadd(sum, *term);
        }
        args.push(sum);
    }
    args.extend(stream);
    for scalar in &body.scalars {
        args.push(bits_as(e, *scalar, types::F32));
    }
    let params: Vec<Type> = args.iter().map(|v| e.ty(*v)).collect();
    // Loops with the same code share it.
    let mut hasher = DefaultHasher::new();
    (code, params.len(), returns.len()).hash(&mut hasher);
    let signature = jit.signature(&params, returns);
    let piece = jit.assembled(&format!("lanes {:016x}", hasher.finish()), signature, || Ok(code.to_vec()))?;
    let piece = jit.reference(piece, e);
    let call = e.ins().call(piece, &args);
    Ok(e.b.inst_results(call).to_vec())
}
