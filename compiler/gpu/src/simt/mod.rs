//! What one thread of a thread block does: SSA values in structured regions, one op an instruction of the machine. It is
//! printed as LLVM IR, and run on the CPU by an emulator that knows all threads of a block. It
//! knows nothing of tiles and dims.
//!
//! # How to read it
//!
//! - A [`Value`] is a register of each thread: a [`Ty`]. Small integers and floats exist in memory only: a load of 8 or 16
//!   bits gives an [`Ty::I32`] filled up with zeros, which conversions read.
//! - All threads run the same [`Region`]s. Threads of a warp may take different arms of [`Op::If`] and leave [`Op::Loop`]
//!   at different times; ops that act on whole warps, warpgroups or blocks must be met by all of it.
//! - Global addresses are [`Ty::I64`], shared ones [`Ty::I32`]: bytes from the start of the block's shared memory.
//! - Parameters are 64-bit words, then tensor maps, of which a thread knows the address only.
//! - Constants ([`Op::Const`]) are literals: they may be used in any region, also outside the one they stand in.

mod build;
mod text;
mod typing;
mod verify;

pub use build::Builder;

/// A register of each thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub u32);

impl Value {
    /// As an index into [`Program::types`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The type of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ty {
    /// A predicate.
    Bool,
    /// 32 bits, signed or not.
    I32,
    /// 64 bits, signed or not.
    I64,
    /// IEEE single.
    F32,
    /// IEEE double.
    F64,
}

/// A constant: the bits in the low part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Const {
    /// Its type.
    pub ty: Ty,
    /// Its bits; 0 or 1 of a predicate.
    pub bits: u64,
}

/// Ops of one operand; the result has the operand's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary {
    /// `-x` (floats).
    Neg,
    /// Bitwise or logical not.
    Not,
    /// Magnitude (floats).
    Abs,
    /// Correctly rounded square root (floats).
    Sqrt,
    /// 2^x of an f32, approximate (`ex2.approx.ftz`, 2 ulp).
    Ex2,
    /// Logarithm to base 2 of an f32, approximate (`lg2.approx`, absolute error 2^-22 near 1).
    Lg2,
    /// 1/x of an f32, approximate (`rcp.approx.ftz`, 1 ulp).
    Rcp,
    /// 1/√x of an f32, approximate (`rsqrt.approx.ftz`, 2 ulp).
    Rsqrt,
    /// Tangens hyperbolicus of an f32, approximate (`tanh.approx`, 2^-11).
    TanhApprox,
    /// Largest integer not above (floats).
    Floor,
    /// Smallest integer not below (floats).
    Ceil,
    /// Nearest integer, ties to even (floats).
    Round,
    /// Number of set bits, of an I32.
    PopCount,
    /// Number of leading zeros, of an I32.
    LeadingZeros,
}

/// Ops of two operands of one type; the result has it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    /// Integers wrap.
    Add,
    /// Integers wrap.
    Sub,
    /// Integers wrap.
    Mul,
    /// The upper half of the unsigned product (integers).
    MulHigh,
    /// Correctly rounded (floats); signed, towards zero (integers; the divisor is not 0).
    Div,
    /// Unsigned (integers; the divisor is not 0).
    UDiv,
    /// Of the signed division (integers; the divisor is not 0).
    Rem,
    /// Of the unsigned division (integers; the divisor is not 0).
    URem,
    /// The smaller; signed, of integers; a NaN if either is one.
    Min,
    /// The larger; signed, of integers; a NaN if either is one.
    Max,
    /// The smaller, unsigned.
    UMin,
    /// The larger, unsigned.
    UMax,
    /// Bitwise or logical.
    And,
    /// Bitwise or logical.
    Or,
    /// Bitwise or logical.
    Xor,
    /// The count is below the width.
    Shl,
    /// Arithmetic; the count is below the width.
    Shr,
    /// Logical; the count is below the width.
    UShr,
}

/// Comparisons; the result is a predicate. Floats: ordered, except `Ne`, which holds for a NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compare {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less, signed.
    Lt,
    /// Less or equal, signed.
    Le,
    /// Greater, signed.
    Gt,
    /// Greater or equal, signed.
    Ge,
    /// Less, unsigned.
    ULt,
    /// Less or equal, unsigned.
    ULe,
    /// Greater, unsigned.
    UGt,
    /// Greater or equal, unsigned.
    UGe,
}

/// Changes of representation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Convert {
    /// I32 → I64, or Bool → I32 or I64, filled up with zeros.
    ZeroExtend(Ty),
    /// I32 → I64, filled up with the sign.
    SignExtend,
    /// I64 → I32.
    Truncate,
    /// The low `bits` (8 or 16) of an I32, filled up with their sign.
    SignFrom(u8),
    /// An integer, signed → float, to nearest even.
    FromSigned(Ty),
    /// An integer, unsigned → float, to nearest even.
    FromUnsigned(Ty),
    /// A float → integer, signed, towards zero, saturating; a NaN gives 0.
    ToSigned(Ty),
    /// A float → integer, unsigned, towards zero, saturating; a NaN gives 0.
    ToUnsigned(Ty),
    /// F32 ↔ F64, to nearest even.
    Float(Ty),
    /// The same bits: I32 ↔ F32, I64 ↔ F64.
    Bits(Ty),
    /// The low 16 bits (of 8-bit floats the low 8) of an I32 as [`Small`] → F32, exact.
    Widen(Small),
    /// F32 → the I32 with the bits of the nearest tf32, ties away from zero; a NaN stays one (`cvt.rna.tf32`).
    Tf32,
}

/// Small floats, which exist packed in integers only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Small {
    /// IEEE half.
    F16,
    /// Upper half of a single.
    BF16,
    /// 8 bits, 4 of them exponent, no infinities.
    F8E4M3,
    /// 8 bits, 5 of them exponent.
    F8E5M2,
}

/// What a thread can ask about itself and its block, as I32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Special {
    /// Its number in the block.
    Thread,
    /// Its number in the warp.
    Lane,
    /// The block's number in the grid (`ctaid.x`).
    Block,
    /// The number of blocks of the grid (`nctaid.x`).
    Blocks,
}

/// Memories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// Of the device; addresses are I64.
    Global,
    /// Global memory that nothing writes while the kernel runs.
    Constant,
    /// Of the block; addresses are I32.
    Shared,
}

/// How a lane's partner is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shuffle {
    /// The lane whose number differs in these bits.
    Xor(u32),
    /// The lane that the second operand (I32) names.
    Index,
    /// The lane this many below; lanes without one keep their own.
    Up(u32),
}

/// Tensor-core products of one warp, `D = A·B + C` with f32 or i32 sums (`mma.sync`). Operands: A's, B's, C's registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mma {
    /// m16n8k16 of f16: A 4 × I32, B 2 × I32, C 4 × F32.
    F16,
    /// m16n8k16 of bf16, like it.
    BF16,
    /// m16n8k8 of tf32: A 4 × I32, B 2 × I32 (bits of f32), C 4 × F32.
    TF32,
    /// m16n8k32 of f8: A 4 × I32, B 2 × I32, C 4 × F32.
    F8(Small, Small),
    /// m16n8k32 of i8 (true) or u8 (false) for A and B: A 4 × I32, B 2 × I32, C 4 × I32.
    I8(bool, bool),
}

/// Where a `wgmma` finds its left operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WgmmaLeft {
    /// In shared memory: one descriptor (I64).
    Shared,
    /// In registers: 4 × I32.
    Registers,
}

/// A tensor-core product of one warpgroup (`wgmma.mma_async`), m64 × n × 32 bytes of k, with f32 sums. Operands: what
/// the left one takes, the right one's descriptor (I64), the n/2 accumulators. Asynchronous: results hold after
/// [`Op::WgmmaWait`]. Like all shared addresses, those in descriptors count from the start of the block's shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wgmma {
    /// Columns, a multiple of 8 up to 256.
    pub n: u32,
    /// The operands' dtype; `None` is tf32.
    pub dtype: Option<Small>,
    /// Where the left operand is.
    pub left: WgmmaLeft,
    /// Whether the left operand, in shared memory, has its rows and not k contiguous.
    pub transpose_left: bool,
    /// Whether the right operand has its columns and not k contiguous.
    pub transpose_right: bool,
    /// Whether the accumulators count, or the sum starts at 0.
    pub accumulate: bool,
}

/// An operation. Attributes are in the variant, operands in the instruction.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// A constant.
    Const(Const),
    /// A word of the launch, I64.
    Param(u32),
    /// The address of a tensor map of the launch, I64: for [`Op::TensorLoad`] and [`Op::TensorStore`] alone.
    Map(u32),
    /// What a thread can ask.
    Special(Special),
    /// Of one operand.
    Unary(Unary),
    /// Of two.
    Binary(Binary),
    /// `a·b + c`, rounded once (floats).
    Fma,
    /// Of two operands.
    Compare(Compare),
    /// Operands: predicate, then, else.
    Select,
    /// Of one operand.
    Convert(Convert),
    /// Operands: high, low F32. An I32 with both as f16 or bf16, to nearest even: low in the low half. For 8-bit floats
    /// the two bytes are in the low half, saturated to the greatest finite.
    Narrow(Small),
    /// Reads `count` (1, 2, 4) units of `bits` (8, 16, 32, 64; more than one only of 32 and 64, 16 bytes at most) from an
    /// address that is a multiple of their size. Operands: address, and a predicate where `guarded`: where it is false
    /// the results are 0 and memory is not touched. Results: I32, or I64 of 64 bits.
    Load {
        /// From where.
        space: Space,
        /// Of one unit.
        bits: u8,
        /// Units.
        count: u8,
        /// Whether a predicate follows the address.
        guarded: bool,
    },
    /// Like [`Op::Load`]: address, the units, the predicate if `guarded`.
    Store {
        /// Where to.
        space: Space,
        /// Of one unit.
        bits: u8,
        /// Units.
        count: u8,
        /// Whether a predicate follows.
        guarded: bool,
    },
    /// Adds to global memory, atomically. Operands: address, value (I32, I64, F32, F64), predicate. No result.
    AtomicAdd,
    /// Compares and swaps in global memory, 32 bits. Operands: address, expected, new. Result: what was there.
    AtomicCas,
    /// Adds to global memory, atomically, 32 bits. Operands: address, value. Result: what was there.
    AtomicFetchAdd,
    /// Another lane's register, 32 bits. Operand: it, and a lane if [`Shuffle::Index`].
    Shuffle(Shuffle),
    /// The warp's predicates, one a bit.
    Ballot,
    /// All threads (or, with a count, that many of those that name the barrier) meet; memory is in order.
    Barrier {
        /// Its number, 0 to 15.
        id: u32,
        /// Threads that meet; `None`: all of the block.
        threads: Option<u32>,
    },
    /// The same, without waiting.
    BarrierArrive {
        /// Its number.
        id: u32,
        /// Threads that meet.
        threads: u32,
    },
    /// A product of one warp.
    Mma(Mma),
    /// `count` (1, 2, 4) 8×8 matrices of 16-bit elements from shared memory; lane `l` gives the address of row `l % 8` of
    /// matrix `l / 8`. Results: I32 each (`ldmatrix`).
    LoadMatrix {
        /// Matrices.
        count: u8,
        /// Transposed.
        transpose: bool,
    },
    /// 16 bytes from global to shared memory without waiting (`cp.async.cg`). Operands: shared address, global address,
    /// predicate: where it is false zeros are written.
    CopyAsync,
    /// Closes the group of this thread's async copies so far.
    CopyCommit,
    /// Waits until at most this many groups of this thread are under way.
    CopyWait(u32),
    /// Orders registers and shared memory before `wgmma`.
    WgmmaFence,
    /// A product of a warpgroup.
    Wgmma(Wgmma),
    /// Closes the group of products so far.
    WgmmaCommit,
    /// Waits until at most this many groups are under way. Operands are accumulators; results are what they hold then.
    WgmmaWait(u32),
    /// Makes a barrier in shared memory. Operands: address, the number of arrivals of a phase.
    MbarrierInit,
    /// Makes initialised barriers visible to async copies.
    MbarrierFence,
    /// Arrives. Operands: address, predicate.
    MbarrierArrive,
    /// Arrives and adds bytes that async copies will bring. Operands: address, bytes, predicate.
    MbarrierExpect,
    /// Waits until the phase with this parity is complete. Operands: address, parity.
    MbarrierWait,
    /// A box of a tensor into shared memory (`cp.async.bulk.tensor`, zeros outside the tensor). Operands: shared address,
    /// address of the tensor map (I64), barrier, predicate, coordinates (I32, innermost first; `rank` of them).
    TensorLoad {
        /// Coordinates.
        rank: u32,
    },
    /// A box of shared memory into a tensor; outside it nothing is written. Operands: tensor map, shared address,
    /// predicate, coordinates.
    TensorStore {
        /// Coordinates.
        rank: u32,
    },
    /// Closes the group of tensor stores.
    TensorStoreCommit,
    /// Waits until all but this many groups of tensor stores have been read from shared memory.
    TensorStoreWait(u32),
    /// Makes this thread's writes to shared memory visible to async copies and `wgmma` (`fence.proxy.async`).
    ProxyFence,
    /// Registers of each thread of the warpgroup, up (true) or down to this many.
    SetRegisters(bool, u32),
    /// Stops the launch. Operands: the predicate, the code and the number of the instance (both I32): where it holds, the
    /// code and behind it the instance are stored at the address in the program's fault word, unless a fault stands there,
    /// and the thread goes on. No result.
    Fault,
    /// Regions: then, else; both yield the results. Operand: a predicate.
    If,
    /// Operands: what is carried at first. Regions: the first yields a predicate and sees what is carried; while it
    /// holds the second runs and yields what is carried next. Results: what was carried when it failed.
    Loop,
}

/// One instruction.
#[derive(Clone, Debug, PartialEq)]
pub struct Inst {
    /// What it does.
    pub op: Op,
    /// Its operands.
    pub args: Vec<Value>,
    /// Its results.
    pub results: Vec<Value>,
    /// Nested code of `If` and `Loop`.
    pub regions: Vec<Region>,
}

/// A straight line of instructions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Region {
    /// Values that the owner provides.
    pub args: Vec<Value>,
    /// In order of execution.
    pub insts: Vec<Inst>,
    /// Values handed to the owner at the end.
    pub yields: Vec<Value>,
}

/// A kernel as every thread of a block runs it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    /// The kernel's name; in PTX the entry is called so.
    pub name: String,
    /// 64-bit words that a launch gives.
    pub words: u32,
    /// The word that holds the address of the launch's fault: code and instance (two I32 in global memory, aligned to 8).
    pub fault_word: u32,
    /// Tensor maps that a launch gives after the words.
    pub maps: u32,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of shared memory.
    pub shared: u32,
    /// Registers of a thread that the assembler may use at most, 0 for its own choice.
    pub registers: u32,
    /// What a thread does.
    pub body: Region,
    /// The type of each value.
    pub types: Vec<Ty>,
}

impl Program {
    /// The type of a value.
    pub fn ty(&self, value: Value) -> Ty {
        self.types[value.index()]
    }
}
