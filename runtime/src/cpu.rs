//! Execution of compiled kernels on this machine's cores: one worker pool, cells of the grid handed out as workers become
//! free, one arena a worker. It compiles nothing and checks nothing.

#![allow(unsafe_code, reason = "the call into compiled code stands here")]

use std::cell::RefCell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use pantile_cpu::{Arg, Hoisted, Kernel, Launch};
use pantile_diag::SourceMap;

use crate::device::{Progress, ProgressHook};
use crate::executable::{Executable, line};
use crate::launch::{Call, Operand, grid_sizes};
use crate::storage::Host;
use crate::{Device, Error, Result};

/// Most cells that a worker takes at once.
const LARGEST_CHUNK: u64 = 256;

/// Most bytes that a launch may take for operands of dots which its cells share. Beyond that, blocks that are no longer
/// used give way to others.
const MOST_PACKED: usize = 128 << 20;

/// The worker pool: as many threads as `PANTILE_THREADS` says, else as there are cores.
pub(crate) fn pool() -> Option<&'static rayon::ThreadPool> {
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
    static ARENA: RefCell<Option<Host>> = const { RefCell::new(None) };
}

/// Runs all instances of the calls of a launch: one queue holds the cells of all their grids.
pub(crate) fn run(
    executable: &Executable,
    kernel: &Kernel,
    device: &Device,
    calls: &mut [Call<'_>],
    sources: &SourceMap,
) -> Result<()> {
    let func = &executable.func;
    let mut parts = calls.iter_mut().map(|call| part(executable, kernel, call, sources)).collect::<Result<Vec<_>>>()?;
    let packed = hoist(kernel, &mut parts);
    let total: u64 = parts.iter().map(|part| part.total).sum();
    let chunk = (total / (device.threads() as u64 * 16)).clamp(1, LARGEST_CHUNK);
    let mut tickets = 0;
    for part in &mut parts {
        // Cells that are next to each other in an order need not be neighbours.
        part.chunk = if part.order.is_some() { 1 } else { chunk };
        part.first = tickets;
        tickets += part.total.div_ceil(part.chunk);
    }
    let work = Work {
        kernel,
        arena: parts.iter().map(|part| kernel.arena_bytes(&part.words)).max().unwrap_or(0),
        parts,
        total,
        tickets,
        next: AtomicU64::new(0),
        done: AtomicU64::new(0),
        fault: OnceLock::new(),
        threads: device.threads,
        name: &func.name,
        progress: device.progress.as_ref(),
    };
    work.run()?;
    // The operands' memory is borrowed for as long as compiled code may touch it.
    let _ = calls;
    spare::put(packed);
    match work.fault.get() {
        None => Ok(()),
        Some(fault) => {
            let part = &work.parts[fault.part];
            let (message, span) = kernel.fault(&part.words, fault.site - 1);
            let instance = pantile_ir::instance(fault.cell, &part.sizes);
            Err(Error::Fault { kernel: func.name.clone(), instance, message, line: line(sources, span) })
        }
    }
}

/// A call made ready: its words, and the order of its cells.
fn part(executable: &Executable, kernel: &Kernel, call: &mut Call<'_>, sources: &SourceMap) -> Result<Part> {
    let func = &executable.func;
    let sizes = grid_sizes(func, call.extents)?;
    let args: Vec<Arg> = call.operands.iter_mut().map(|o| argument(o)).collect::<Result<_>>()?;
    let launch = Launch { args: &args, extents: call.extents, tables: &executable.tables, orders: &executable.orders };
    let words = kernel.words(&launch).map_err(|limit| Error::Limit {
        kernel: func.name.clone(),
        message: limit.message,
        line: line(sources, limit.span),
    })?;
    let order = executable.balance.as_ref().and_then(|balance| match &call.operands[balance.mask.index()] {
        Operand::Mask(mask) => {
            let rows = mask.shape().split_last().map_or(&[][..], |(_, rows)| rows);
            Some(balance.order(&sizes, rows, mask.counts()))
        }
        Operand::Scalar(..) | Operand::In(_) | Operand::Out(_) | Operand::MaskOut(_) => None,
    });
    let total = sizes.iter().product();
    Ok(Part { words, extents: call.extents.to_vec(), hoisted: None, order, total, sizes, chunk: 1, first: 0 })
}

/// Lends memory in which the cells of each call share operands of dots that they would else all make ready for
/// themselves. Without memory they do that.
fn hoist(kernel: &Kernel, parts: &mut [Part]) -> Option<Host> {
    let most = MOST_PACKED / parts.len().max(1);
    for part in parts.iter_mut() {
        part.hoisted = Some(kernel.hoisted(&part.words, &part.extents, most));
    }
    let bytes = |part: &Part| part.hoisted.as_ref().map_or(0, Hoisted::bytes);
    let all = parts.iter().map(bytes).sum();
    let mut memory = if all > 0 { spare::take(all)? } else { return None };
    let start = memory.bytes_mut().as_mut_ptr();
    let mut at = 0;
    for part in parts {
        let size = bytes(part);
        if let Some(hoisted) = &mut part.hoisted {
            kernel.hoist(hoisted, start.wrapping_add(at), &mut part.words);
        }
        at += size;
    }
    Some(memory)
}

/// Memory for packed operands that the next launch finds again.
mod spare {
    use std::sync::{Mutex, PoisonError};

    use crate::storage::Host;

    /// Kept between launches, at most; a larger launch takes so long that fresh memory costs it nothing.
    const KEPT: usize = 32 << 20;

    static SPARE: Mutex<Option<Host>> = Mutex::new(None);

    /// At least so many bytes; none if the system has not that much.
    pub(super) fn take(bytes: usize) -> Option<Host> {
        let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).take();
        spare.filter(|memory| memory.len() >= bytes).or_else(|| Host::zeroed(bytes))
    }

    /// Keeps it, or what is kept if that is larger.
    pub(super) fn put(memory: Option<Host>) {
        let Some(memory) = memory.filter(|memory| memory.len() <= KEPT) else { return };
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.as_ref().is_none_or(|kept| kept.len() < memory.len()) {
            *spare = Some(memory);
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
        Operand::In(tensor) => Ok(Arg::Tensor { data: tensor.pointer()?, strides: tensor.strides().to_vec() }),
        Operand::Out(tensor) => {
            tensor.unshared("an output")?;
            Ok(Arg::Tensor { data: tensor.pointer()?, strides: tensor.strides().to_vec() })
        }
        Operand::Mask(mask) => mask_argument(mask),
        Operand::MaskOut(mask) => {
            mask.bits.unshared("an output mask")?;
            mask.count.unshared("an output mask")?;
            mask.list.unshared("an output mask")?;
            mask_argument(mask)
        }
    }
}

fn mask_argument(mask: &crate::Mask) -> Result<Arg> {
    let (bits, count, list) = (mask.bits.pointer()?, mask.count.pointer()?.cast(), mask.list.pointer()?.cast());
    Ok(Arg::Mask { bits, count, list })
}

/// The cells of one call.
struct Part {
    words: Vec<u64>,
    extents: Vec<i64>,
    /// What the words say of shared operands points into it.
    hoisted: Option<Hoisted>,
    /// The number of instances along each grid axis.
    sizes: Vec<u64>,
    /// The order in which cells start, if it is not their own.
    order: Option<Vec<u64>>,
    total: u64,
    /// How many cells go with a ticket.
    chunk: u64,
    /// The first of its tickets.
    first: u64,
}

/// The first thing that went wrong.
#[derive(Clone, Copy)]
struct Fault {
    part: usize,
    cell: u64,
    /// The fault's site + 1.
    site: u64,
}

/// The instances of one launch, shared by the workers. A ticket stands for some cells of one part.
struct Work<'a> {
    kernel: &'a Kernel,
    parts: Vec<Part>,
    /// The bytes of arena that a worker needs.
    arena: usize,
    total: u64,
    tickets: u64,
    next: AtomicU64,
    done: AtomicU64,
    fault: OnceLock<Fault>,
    /// Workers that take part.
    threads: usize,
    name: &'a str,
    progress: Option<&'a ProgressHook>,
}

impl Work<'_> {
    fn run(&self) -> Result<()> {
        let threads = self.threads;
        match pool().filter(|pool| self.total > 1 && threads.min(pool.current_num_threads()) > 1) {
            Some(pool) => {
                let work =
                    |worker: rayon::BroadcastContext<'_>| if worker.index() < threads { self.work() } else { Ok(()) };
                pool.broadcast(work).into_iter().collect()
            }
            None => self.work(),
        }
    }

    /// What each worker does: takes tickets until there are none.
    fn work(&self) -> Result<()> {
        let bytes = self.arena;
        // Taken, not borrowed: a progress hook may launch kernels of its own.
        let arena = ARENA.take().filter(|arena| arena.len() >= bytes).or_else(|| Host::zeroed(bytes));
        let what = || format!("the arena of `{}`", self.name);
        let mut arena = arena.ok_or_else(|| Error::Memory { what: what(), bytes })?;
        let mut ticket = self.take();
        while ticket < self.tickets && self.fault.get().is_none() {
            let at = self.parts.partition_point(|part| part.first <= ticket) - 1;
            let part = &self.parts[at];
            let first = (ticket - part.first) * part.chunk;
            let count = part.chunk.min(part.total - first);
            let start = part.order.as_ref().map_or(first, |order| order[first as usize]);
            self.cells(&mut arena, at, start, count);
            self.tell(count);
            ticket = self.take();
        }
        ARENA.set(Some(arena));
        Ok(())
    }

    fn take(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn tell(&self, count: u64) {
        let done = self.done.fetch_add(count, Ordering::Relaxed) + count;
        if let Some(hook) = self.progress {
            hook(Progress { kernel: self.name, done, total: self.total });
        }
    }

    /// Runs cells; after a fault it runs them one by one, to know which one it was.
    fn cells(&self, arena: &mut Host, part: usize, start: u64, count: u64) {
        let words = &self.parts[part].words;
        if self.call(arena, words, start, count) == 0 {
            return;
        }
        let each = (start..start + count).map(|cell| (cell, self.call(arena, words, cell, 1)));
        if let Some((cell, site)) = each.into_iter().find(|(_, site)| *site != 0) {
            // Of several workers' faults the first is told.
            let _ = self.fault.set(Fault { part, cell, site });
        }
    }

    fn call(&self, arena: &mut Host, words: &[u64], first: u64, count: u64) -> u64 {
        // SAFETY: the words were packed by this kernel for operands that `launch.rs` checked against its parameters and
        // that `run` borrows until all workers are done; tables come from the function's own orders, whose elements were
        // checked against the extents; the arena is this thread's, large enough and 64-byte aligned; `first + count` is
        // at most the number of cells; what is hoisted is a part's own, and its memory is this launch's until `run` ends.
        unsafe { self.kernel.run(words, arena.bytes_mut().as_mut_ptr(), first, count) }
    }
}
