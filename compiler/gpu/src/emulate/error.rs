//! What can be wrong with a program that is run: one kind for each mistake, with the instruction and who made it. Nothing
//! here decides what is wrong.

use std::fmt;

/// A mistake found while a program ran.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    /// What it is.
    pub kind: ErrorKind,
    /// The program's name.
    pub program: String,
    /// The instruction; empty where no single one is to blame.
    pub inst: String,
    /// The block's number.
    pub block: u32,
    /// The warp's number in the block.
    pub warp: u32,
    /// The lane, where one is to blame.
    pub lane: Option<u32>,
}

/// The kinds of mistakes.
#[derive(Clone, Debug, PartialEq)]
pub enum ErrorKind {
    /// The program cannot be run at all: shapes of ops, limits of the machine.
    Program(String),
    /// Bytes that no allocation holds, or behind the end of shared memory.
    OutOfBounds {
        /// First address.
        address: u64,
        /// How many.
        bytes: u32,
        /// Whether in shared memory.
        shared: bool,
    },
    /// An address that is no multiple of what the instruction needs.
    Misaligned {
        /// The address.
        address: u64,
        /// What it must be a multiple of.
        multiple: u32,
    },
    /// A read of memory that nothing was written to.
    Uninitialised {
        /// The address.
        address: u64,
        /// Whether in shared memory.
        shared: bool,
    },
    /// A write to memory that was read as constant, or the other way round.
    ConstantWritten {
        /// The address.
        address: u64,
    },
    /// Two accesses to one place in shared memory, one of them a write, that nothing orders.
    Race {
        /// The address.
        address: u32,
        /// This access.
        access: &'static str,
        /// Who made the other one, and how.
        other: String,
    },
    /// An asynchronous access to shared memory that was written without a proxy fence since.
    MissingProxyFence {
        /// The address.
        address: u32,
        /// Who wrote it.
        writer: String,
    },
    /// A barrier in shared memory that async copies may not see yet.
    MissingBarrierFence {
        /// Its address.
        address: u32,
    },
    /// No warp can go on: who waits for what.
    Deadlock(String),
    /// Warps have finished, and others wait for them.
    BarrierMismatch(String),
    /// An op of whole warps in code that a part of the warp runs.
    Divergent {
        /// Lanes that met it, one a bit.
        lanes: u32,
    },
    /// The warps of a warpgroup do not run the same products, or not with the same operands.
    Warpgroup(String),
    /// A use of an accumulator while products may still write it.
    PendingAccumulator,
    /// A product whose registers were written after the last `wgmma` fence.
    MissingWgmmaFence,
    /// A misuse of a barrier in shared memory.
    Barrier(String),
    /// A misuse of an asynchronous copy.
    Copy(String),
    /// A division by zero, a shift by the width or more.
    Arithmetic(String),
    /// More steps than the options allow.
    TooLong(u64),
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = |shared: &bool| if *shared { "shared" } else { "global" };
        match self {
            ErrorKind::Program(what) => write!(f, "the program cannot be run: {what}"),
            ErrorKind::OutOfBounds { address, bytes, shared } => {
                write!(f, "{bytes} bytes at {} address {address:#x} are out of bounds", memory(shared))
            }
            ErrorKind::Misaligned { address, multiple } => {
                write!(f, "address {address:#x} is no multiple of {multiple}")
            }
            ErrorKind::Uninitialised { address, shared } => {
                write!(f, "nothing was written to {} address {address:#x}", memory(shared))
            }
            ErrorKind::ConstantWritten { address } => {
                write!(f, "global address {address:#x} is read as constant and written in one launch")
            }
            ErrorKind::Race { address, access, other } => {
                write!(f, "data race at shared address {address:#x}: this {access} and {other} are not ordered")
            }
            ErrorKind::MissingProxyFence { address, writer } => {
                write!(f, "no proxy fence since shared address {address:#x} was written by {writer}")
            }
            ErrorKind::MissingBarrierFence { address } => {
                write!(f, "no fence makes the barrier at {address:#x} visible to async copies")
            }
            ErrorKind::Deadlock(who) => write!(f, "deadlock: {who}"),
            ErrorKind::BarrierMismatch(who) => write!(f, "a barrier that a part of the threads meets: {who}"),
            ErrorKind::Divergent { lanes } => write!(f, "whole warps must meet this; lanes {lanes:#010x} do"),
            ErrorKind::Warpgroup(what) => write!(f, "the warps of a warpgroup differ: {what}"),
            ErrorKind::PendingAccumulator => f.write_str("an accumulator is used before its products are waited for"),
            ErrorKind::MissingWgmmaFence => {
                f.write_str("registers of this product were used after the last wgmma fence")
            }
            ErrorKind::Barrier(what) | ErrorKind::Copy(what) | ErrorKind::Arithmetic(what) => f.write_str(what),
            ErrorKind::TooLong(steps) => write!(f, "a block took more than {steps} steps"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel `{}`, block {}, warp {}", self.program, self.block, self.warp)?;
        if let Some(lane) = self.lane {
            write!(f, ", lane {lane}")?;
        }
        write!(f, ": {}", self.kind)?;
        if self.inst.is_empty() { Ok(()) } else { write!(f, " (in `{}`)", self.inst) }
    }
}

impl std::error::Error for Error {}

/// A mistake before it is known where it was made.
#[derive(Debug)]
pub(super) struct Mistake {
    pub kind: ErrorKind,
    pub lane: Option<u32>,
}

impl From<ErrorKind> for Box<Mistake> {
    fn from(kind: ErrorKind) -> Self {
        Box::new(Mistake { kind, lane: None })
    }
}

/// What a step may come to.
pub(super) type Outcome<T> = Result<T, Box<Mistake>>;

/// Names the lane to blame.
pub(super) trait InLane<T> {
    fn lane(self, lane: u32) -> Outcome<T>;
}

impl<T> InLane<T> for Outcome<T> {
    fn lane(self, lane: u32) -> Outcome<T> {
        self.map_err(|mut mistake| {
            mistake.lane.get_or_insert(lane);
            mistake
        })
    }
}

impl<T> InLane<T> for Result<T, ErrorKind> {
    fn lane(self, lane: u32) -> Outcome<T> {
        self.map_err(|kind| Box::new(Mistake { kind, lane: Some(lane) }))
    }
}
