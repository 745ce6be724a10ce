//! Runs a launch of the interpreter's arguments as machine code, in memory laid out in several ways, and says where two
//! results differ. What a result should be is not decided here.

#![allow(unsafe_code, reason = "machine code runs on memory that this file owns")]

use std::sync::Arc;

use pantile_cpu::{Arg, Launch, Options};
use pantile_interp::{self as interp, Array, MaskArray};
use pantile_ir::{BlockTable, DType, Func, GridAxis, Scalar, eval};

/// How tensors lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Row-major.
    Dense,
    /// The first axis is the contiguous one.
    Reversed,
    /// Row-major with room between neighbours along every axis.
    Spread,
}

/// Bytes that no kernel may touch.
const UNTOUCHED: u8 = 0xA5;

/// What became of a launch.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The arguments afterwards.
    Done(Vec<interp::Arg>),
    /// The message of a fault.
    Fault(String),
}

/// A tensor or mask in memory.
pub(crate) enum Memory {
    Scalar(u64),
    Tensor { words: Vec<u64>, strides: Vec<i64>, like: Array },
    Mask { bits: Vec<u8>, count: Vec<i32>, list: Vec<i32>, shape: Vec<usize> },
}

/// The interpreter's outcome, with races and assertions looked for.
pub fn interpret(func: &Func, extents: &[i64], orders: &[Vec<i32>], args: &[interp::Arg]) -> Outcome {
    let mut args = args.to_vec();
    match interp::run(func, extents, orders, &mut args, interp::Options { checks: true, races: true }) {
        Ok(()) => Outcome::Done(args),
        Err(fault) => Outcome::Fault(fault.message),
    }
}

/// Compiles, and runs all instances in two parts.
///
/// # Errors
/// A limit of the back end, a byte touched that is none of the kernel's, a mask whose parts disagree.
pub fn on_cpu(
    func: &Func,
    extents: &[i64],
    orders: &[Vec<i32>],
    args: &[interp::Arg],
    layout: Layout,
) -> Result<Outcome, String> {
    let kernel = pantile_cpu::compile(func, &Options { checks: true, ..Options::default() }).map_err(|l| l.message)?;
    let dtypes = func.params.iter().map(|p| match &p.kind {
        pantile_ir::ParamKind::Scalar(dtype, _) | pantile_ir::ParamKind::Tensor(dtype, _) => *dtype,
        pantile_ir::ParamKind::Mask(_) => DType::Bool,
    });
    let mut memory: Vec<Memory> = args.iter().zip(dtypes).map(|(a, dtype)| Memory::new(a, dtype, layout)).collect();
    let table = |d: &pantile_ir::Dim| d.order.map(|o| Arc::new(BlockTable::new(&orders[o.index()], d.size as usize)));
    let tables: Vec<_> = func.dims.iter().map(table).collect();
    let orders: Vec<_> = orders.iter().map(|o| Arc::new(o.clone())).collect();
    let words = {
        let args: Vec<Arg> = memory.iter_mut().map(Memory::arg).collect();
        let launch = Launch { args: &args, extents, tables: &tables, orders: &orders };
        kernel.words(&launch).map_err(|l| l.message)?
    };
    // What stands in the arena before must not matter; NaNs show where it does.
    let mut arena = vec![0x7fc0_0000_7fc0_0000u64; kernel.arena_bytes(&words) / 8 + 16];
    let offset = arena.as_ptr().align_offset(64);
    let start = arena.as_mut_ptr().wrapping_add(offset).cast::<u8>();
    let cells = instances(func, extents);
    let first = cells.div_ceil(2);
    for (from, count) in [(0, first), (first, cells - first)] {
        // SAFETY: the words describe `memory`, which is shaped by the function's axes and outlives the call; the arena
        // has the size the kernel asks for.
        let fault = unsafe { kernel.run(&words, start, from, count) };
        if fault != 0 {
            return Ok(Outcome::Fault(kernel.fault(&words, fault - 1).0));
        }
    }
    memory.iter().zip(args).map(|(m, arg)| m.read(arg)).collect::<Result<_, _>>().map(Outcome::Done)
}

fn instances(func: &Func, extents: &[i64]) -> u64 {
    let count = |axis: &GridAxis| match axis {
        GridAxis::Walk(dim) => func.block_count(*dim, extents) as u64,
        GridAxis::Each(axis, _) => func.axis_size(*axis, extents) as u64,
    };
    func.grid.iter().map(count).product()
}

impl Memory {
    pub(crate) fn new(arg: &interp::Arg, dtype: DType, layout: Layout) -> Self {
        match arg {
            interp::Arg::Scalar(x) => Memory::Scalar(eval::to_bits(dtype, *x)),
            interp::Arg::Tensor(array) => Self::tensor(array, layout),
            interp::Arg::Mask(mask) => {
                let (count, list) = rows(mask);
                let bits = mask.bits.iter().map(|b| u8::from(*b)).collect();
                Memory::Mask { bits, count, list, shape: mask.shape.clone() }
            }
        }
    }

    fn tensor(array: &Array, layout: Layout) -> Self {
        let (strides, span) = strides(&array.shape, layout);
        let size = array.dtype.bytes();
        let mut bytes = vec![UNTOUCHED; (span * size).next_multiple_of(8) + 64];
        for n in 0..array.data.len() {
            let at = address(&array.shape, &strides, n) * size;
            eval::encode(array.dtype, array.data.get(n), &mut bytes[at..at + size]);
        }
        let (words, _) = bytes.as_chunks::<8>();
        Memory::Tensor { words: words.iter().map(|w| u64::from_le_bytes(*w)).collect(), strides, like: array.clone() }
    }

    fn arg(&mut self) -> Arg {
        match self {
            Memory::Scalar(bits) => Arg::Scalar(*bits),
            Memory::Tensor { words, strides, .. } => {
                Arg::Tensor { data: words.as_mut_ptr().cast(), strides: strides.clone() }
            }
            Memory::Mask { bits, count, list, .. } => {
                Arg::Mask { bits: bits.as_mut_ptr(), count: count.as_mut_ptr(), list: list.as_mut_ptr() }
            }
        }
    }

    pub(crate) fn read(&self, before: &interp::Arg) -> Result<interp::Arg, String> {
        match self {
            Memory::Scalar(_) => Ok(before.clone()),
            Memory::Tensor { words, strides, like } => {
                let mut bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
                let (mut array, size) = (like.clone(), like.dtype.bytes());
                for n in 0..array.data.len() {
                    let at = address(&array.shape, strides, n) * size;
                    array.data.set(n, eval::decode(array.dtype, &bytes[at..at + size]));
                    bytes[at..at + size].fill(UNTOUCHED);
                }
                match bytes.iter().position(|b| *b != UNTOUCHED) {
                    Some(at) => Err(format!("byte {at} of a tensor of shape {:?} is not the kernel's", like.shape)),
                    None => Ok(interp::Arg::Tensor(array)),
                }
            }
            Memory::Mask { bits, count, list, shape } => {
                let mask = MaskArray { shape: shape.clone(), bits: bits.iter().map(|b| *b != 0).collect() };
                let (counts, lists) = rows(&mask);
                let width = shape.last().copied().unwrap_or(0);
                let kept = |r: usize, n: i32| r * width..r * width + n as usize;
                let agree = |(r, n): (usize, &i32)| *n == counts[r] && list[kept(r, *n)] == lists[kept(r, *n)];
                if !count.iter().enumerate().all(agree) || bits.iter().any(|b| *b > 1) {
                    return Err(format!("bits {bits:?}, counts {count:?} and lists {list:?} of a mask disagree"));
                }
                Ok(interp::Arg::Mask(mask))
            }
        }
    }
}

/// The count and the list of kept blocks of each row.
fn rows(mask: &MaskArray) -> (Vec<i32>, Vec<i32>) {
    let width = mask.shape.last().copied().unwrap_or(0);
    let mut count = vec![0; mask.shape[..mask.shape.len() - 1].iter().product()];
    let mut list = vec![0; mask.bits.len()];
    for (n, _) in mask.bits.iter().enumerate().filter(|(_, b)| **b) {
        let row = n / width;
        list[row * width + count[row] as usize] = (n % width) as i32;
        count[row] += 1;
    }
    (count, list)
}

/// In elements, and how many elements the tensor spans.
fn strides(shape: &[usize], layout: Layout) -> (Vec<i64>, usize) {
    let gap = if layout == Layout::Spread { 3 } else { 0 };
    let mut strides = vec![0; shape.len()];
    let mut next = 1 + gap;
    let mut axes: Vec<usize> = (0..shape.len()).rev().collect();
    if layout == Layout::Reversed {
        axes.reverse();
    }
    for axis in axes {
        strides[axis] = next as i64;
        next = next * shape[axis].max(1) + gap;
    }
    (strides, next)
}

fn address(shape: &[usize], strides: &[i64], n: usize) -> usize {
    let mut rest = n;
    let mut at = 0;
    for (size, stride) in shape.iter().zip(strides).rev() {
        at += (rest % size) * *stride as usize;
        rest /= size;
    }
    at
}

/// The first difference between two launches' arguments that is larger than allowed; `tolerance` is one a parameter.
pub fn difference(func: &Func, want: &[interp::Arg], got: &[interp::Arg], tolerance: &[f64]) -> Option<String> {
    let outputs = func.params.iter().enumerate().filter(|(_, p)| p.out);
    outputs
        .filter_map(|(n, param)| {
            let (shape, elements): (&[usize], Vec<(Scalar, Scalar)>) = match (&want[n], &got[n]) {
                (interp::Arg::Tensor(a), interp::Arg::Tensor(b)) => {
                    (&a.shape, (0..a.data.len()).map(|n| (a.data.get(n), b.data.get(n))).collect())
                }
                (interp::Arg::Mask(a), interp::Arg::Mask(b)) => {
                    (&a.shape, a.bits.iter().zip(&b.bits).map(|(a, b)| (Scalar::Bool(*a), Scalar::Bool(*b))).collect())
                }
                (interp::Arg::Scalar(_) | interp::Arg::Tensor(_) | interp::Arg::Mask(_), _) => return None,
            };
            let at = elements.iter().position(|(a, b)| !close(*a, *b, tolerance[n]))?;
            let (a, b) = elements[at];
            Some(format!(
                "`{}` of shape {shape:?}: element {at} is {b:?}, not {a:?} (tolerance {:e})",
                param.name, tolerance[n]
            ))
        })
        .next()
}

fn close(a: Scalar, b: Scalar, tolerance: f64) -> bool {
    match (a, b) {
        (Scalar::Float(a), Scalar::Float(b)) => a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= tolerance,
        (Scalar::Bool(_) | Scalar::Int(_) | Scalar::Float(_), _) => a == b,
    }
}
