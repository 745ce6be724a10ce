//! Execution of compiled kernels on this machine's cores: one worker pool, cells of the grid handed out as workers become
//! free, one arena a worker. It compiles nothing and checks nothing.

#![allow(unsafe_code, reason = "the call into compiled code stands here")]

use std::cell::RefCell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use pantile_cpu::{Arg, Kernel, Launch};
use pantile_diag::SourceMap;

use crate::device::{Progress, ProgressHook};
use crate::executable::{Executable, line};
use crate::launch::{Operand, grid_sizes, instance};
use crate::storage::Storage;
use crate::{Device, Error, Result};

/// Most cells that a worker takes at once.
const LARGEST_CHUNK: u64 = 256;

/// The worker pool: as many threads as `PANTILE_THREADS` says, else as there are cores.
fn pool() -> Option<&'static rayon::ThreadPool> {
    static POOL: OnceLock<Option<rayon::ThreadPool>> = OnceLock::new();
    let build = || {
        let wanted = wanted_threads().unwrap_or(0);
        rayon::ThreadPoolBuilder::new().num_threads(wanted).thread_name(|n| format!("pantile-{n}")).build().ok()
    };
    POOL.get_or_init(build).as_ref()
}

/// What `PANTILE_THREADS` asks for, 0 where it is not set.
///
/// # Errors
/// If it is no number of threads.
pub(crate) fn wanted_threads() -> Result<usize> {
    let Ok(text) = std::env::var("PANTILE_THREADS") else { return Ok(0) };
    text.parse().ok().filter(|n| (1..=1024).contains(n)).ok_or_else(|| {
        Error::Device(format!("environment variable `PANTILE_THREADS`: `{text}` is not a number from 1 to 1024"))
    })
}

/// The number of workers.
pub(crate) fn threads() -> usize {
    pool().map_or(1, rayon::ThreadPool::current_num_threads)
}

thread_local! {
    /// A worker's arena; it grows to what the largest kernel needed.
    static ARENA: RefCell<Option<Storage>> = const { RefCell::new(None) };
}

/// Runs all instances of a launch.
pub(crate) fn run(
    executable: &Executable,
    kernel: &Kernel,
    device: &Device,
    extents: &[i64],
    operands: &mut [Operand<'_>],
    sources: &SourceMap,
) -> Result<()> {
    let func = &executable.func;
    let sizes = grid_sizes(func, extents)?;
    let args: Vec<Arg> = operands.iter_mut().map(|o| argument(o)).collect::<Result<_>>()?;
    let launch = Launch { args: &args, extents, tables: &executable.tables, orders: &executable.orders };
    let words = kernel.words(&launch).map_err(|limit| Error::Limit {
        kernel: func.name.clone(),
        message: limit.message,
        line: line(sources, limit.span),
    })?;
    let order = executable.balance.as_ref().and_then(|balance| match &operands[balance.mask.index()] {
        Operand::Mask(mask) => {
            let rows = mask.shape().split_last().map_or(&[][..], |(_, rows)| rows);
            Some(balance.order(&sizes, rows, mask.counts()))
        }
        Operand::Scalar(..) | Operand::In(_) | Operand::Out(_) | Operand::MaskOut(_) => None,
    });
    let total: u64 = sizes.iter().product();
    // Cells that are next to each other in an order need not be neighbours.
    let chunk = if order.is_some() { 1 } else { (total / (threads() as u64 * 16)).clamp(1, LARGEST_CHUNK) };
    let work = Work {
        kernel,
        words: &words,
        order,
        total,
        chunk,
        next: AtomicU64::new(0),
        done: AtomicU64::new(0),
        fault: AtomicU64::new(0),
        fault_cell: AtomicU64::new(0),
        name: &func.name,
        progress: device.progress.as_ref(),
    };
    work.run()?;
    // The operands' memory is borrowed for as long as compiled code may touch it.
    let _ = operands;
    match work.fault.into_inner() {
        0 => Ok(()),
        site => {
            let (message, span) = kernel.fault(&words, site - 1);
            let instance = instance(work.fault_cell.into_inner(), &sizes);
            Err(Error::Fault { kernel: func.name.clone(), instance, message, line: line(sources, span) })
        }
    }
}

/// Where an operand lies. Outputs must be the only owners of their memory.
fn argument(operand: &mut Operand<'_>) -> Result<Arg> {
    match operand {
        Operand::Scalar(dtype, value) => {
            let mut bytes = [0; 8];
            pantile_ir::eval::encode(*dtype, *value, &mut bytes[..dtype.bytes()]);
            Ok(Arg::Scalar(u64::from_le_bytes(bytes)))
        }
        Operand::In(tensor) => Ok(Arg::Tensor { data: tensor.pointer(), strides: tensor.strides().to_vec() }),
        Operand::Out(tensor) => {
            tensor.unshared("an output")?;
            Ok(Arg::Tensor { data: tensor.pointer(), strides: tensor.strides().to_vec() })
        }
        Operand::Mask(mask) => Ok(mask_argument(mask)),
        Operand::MaskOut(mask) => {
            mask.bits.unshared("an output mask")?;
            mask.count.unshared("an output mask")?;
            mask.list.unshared("an output mask")?;
            Ok(mask_argument(mask))
        }
    }
}

fn mask_argument(mask: &crate::Mask) -> Arg {
    Arg::Mask { bits: mask.bits.pointer(), count: mask.count.pointer().cast(), list: mask.list.pointer().cast() }
}

/// The instances of one launch, shared by the workers.
struct Work<'a> {
    kernel: &'a Kernel,
    words: &'a [u64],
    /// The order in which cells start, if it is not their own.
    order: Option<Vec<u64>>,
    total: u64,
    chunk: u64,
    next: AtomicU64,
    done: AtomicU64,
    /// The first fault's site + 1.
    fault: AtomicU64,
    fault_cell: AtomicU64,
    name: &'a str,
    progress: Option<&'a ProgressHook>,
}

impl Work<'_> {
    fn run(&self) -> Result<()> {
        match pool().filter(|pool| self.total > 1 && pool.current_num_threads() > 1) {
            Some(pool) => pool.broadcast(|_| self.work()).into_iter().collect(),
            None => self.work(),
        }
    }

    /// What each worker does: takes chunks until there are none.
    fn work(&self) -> Result<()> {
        let bytes = self.kernel.arena_bytes(self.words);
        // Taken, not borrowed: a progress hook may launch kernels of its own.
        let arena = ARENA.take().filter(|arena| arena.len() >= bytes).or_else(|| Storage::zeroed(bytes));
        let what = || format!("the arena of `{}`", self.name);
        let mut arena = arena.ok_or_else(|| Error::Memory { what: what(), bytes })?;
        let mut first = self.take();
        while first < self.total && self.fault.load(Ordering::Relaxed) == 0 {
            let count = self.chunk.min(self.total - first);
            let start = self.order.as_ref().map_or(first, |order| order[first as usize]);
            self.cells(&mut arena, start, count);
            self.tell(count);
            first = self.take();
        }
        ARENA.set(Some(arena));
        Ok(())
    }

    fn take(&self) -> u64 {
        self.next.fetch_add(self.chunk, Ordering::Relaxed)
    }

    fn tell(&self, count: u64) {
        let done = self.done.fetch_add(count, Ordering::Relaxed) + count;
        if let Some(hook) = self.progress {
            hook(Progress { kernel: self.name, done, total: self.total });
        }
    }

    /// Runs cells; after a fault it runs them one by one, to know which one it was.
    fn cells(&self, arena: &mut Storage, start: u64, count: u64) {
        if self.call(arena, start, count) == 0 {
            return;
        }
        let found = (start..start + count).map(|cell| (cell, self.call(arena, cell, 1))).find(|(_, site)| *site != 0);
        if let Some((cell, site)) = found
            && self.fault.compare_exchange(0, site, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.fault_cell.store(cell, Ordering::Relaxed);
        }
    }

    fn call(&self, arena: &mut Storage, first: u64, count: u64) -> u64 {
        // SAFETY: the words were packed by this kernel for operands that `launch.rs` checked against its parameters and
        // that `run` borrows until all workers are done; tables come from the function's own orders, whose elements were
        // checked against the extents; the arena is this thread's, large enough and 64-byte aligned; `first + count` is
        // at most the number of cells.
        unsafe { self.kernel.run(self.words, arena.bytes_mut().as_mut_ptr(), first, count) }
    }
}
