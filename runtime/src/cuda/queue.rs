//! The queue of a GPU's work. Work of a pipeline is gathered first, and handed over as one graph where it is the same as
//! before but for addresses and numbers: a launch of its own costs the host several times what its place in a graph
//! does. What the work is for is not known here.

#![allow(unsafe_code, reason = "work is handed on under the promises that it came with")]

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

use super::driver::code::{Event, Function};
use super::driver::graph::{Graph, Work};
use super::driver::maps::MAP_WORDS;
use super::driver::{Context, Driven, Stream};

/// Bytes of freed memory that gathered work may hold back from later allocations.
const MOST_HELD: usize = 256 << 20;

/// The graphs of one pipeline, one a piece of it that is gathered.
#[derive(Debug, Default)]
pub(crate) struct Graphs {
    pieces: Mutex<Vec<Piece>>,
}

#[derive(Debug, Default)]
enum Piece {
    /// Nothing is known of it.
    #[default]
    Unseen,
    /// It was done like this once.
    Seen(Vec<Work>),
    /// It has a graph.
    Made(Graph),
    /// The driver makes no graph of it.
    Refused,
}

thread_local! {
    /// What this thread gathers.
    static OPEN: RefCell<Option<Batch>> = const { RefCell::new(None) };
}

struct Batch {
    graphs: Arc<Graphs>,
    /// The queue that it is for.
    stream: Arc<Stream>,
    works: Vec<Work>,
    /// Memory that is free once that is done.
    free: Vec<u64>,
    held: usize,
    /// Pieces handed over.
    pieces: usize,
}

impl Batch {
    /// Hands over what is gathered, and begins another piece.
    fn flush(&mut self) -> Driven<()> {
        let works = std::mem::take(&mut self.works);
        let done = if works.is_empty() { Ok(()) } else { self.graphs.run(self.pieces, &self.stream, works) };
        self.pieces += 1;
        self.held = 0;
        let freed = self.free.drain(..).map(|address| {
            // SAFETY: `Queue::free` was promised so, and the work that used the memory has been handed over.
            unsafe { self.stream.free(address) }
        });
        let freed = freed.fold(Ok(()), Result::and);
        done.and(freed)
    }
}

impl Graphs {
    /// Does the `n`-th piece of a pipeline: by its graph if it has been done so before.
    fn run(&self, n: usize, stream: &Stream, works: Vec<Work>) -> Driven<()> {
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        if pieces.len() <= n {
            pieces.resize_with(n + 1, Piece::default);
        }
        if works.len() > 1
            && prepare(&mut pieces[n], stream.context(), &works)
            && let Piece::Made(graph) = &pieces[n]
        {
            // SAFETY: each piece of work came with the promise that a launch or fill needs.
            if unsafe { stream.graph(graph) }.is_ok() {
                return Ok(());
            }
            pieces[n] = Piece::Refused;
        }
        drop(pieces);
        // SAFETY: as above.
        works.iter().try_for_each(|work| unsafe { stream.work(work) })
    }
}

/// Makes a graph do this work, if there is one or it is time for one; whether it does.
fn prepare(piece: &mut Piece, context: &Arc<Context>, works: &[Work]) -> bool {
    let like = |seen: &[Work]| seen.len() == works.len() && seen.iter().zip(works).all(|(a, b)| a.is_like(b));
    let next = match piece {
        Piece::Refused => return false,
        Piece::Made(graph) if graph.fits(works) => match graph.update(works.to_vec()) {
            Ok(()) => return true,
            Err(_) => Piece::Refused,
        },
        Piece::Seen(seen) if like(seen) => Graph::new(context, works.to_vec()).map_or(Piece::Refused, Piece::Made),
        Piece::Unseen | Piece::Seen(_) | Piece::Made(_) => Piece::Seen(works.to_vec()),
    };
    *piece = next;
    matches!(piece, Piece::Made(_))
}

/// The queue of one GPU.
#[derive(Debug)]
pub(crate) struct Queue {
    stream: Arc<Stream>,
}

/// Hands over what is left, also where the work panics.
struct Gathering;

impl Drop for Gathering {
    fn drop(&mut self) {
        if let Some(mut batch) = OPEN.take() {
            // Whoever gathers has asked before; what fails here shows at the next call.
            let _ = batch.flush();
        }
    }
}

impl Queue {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream: Arc::new(stream) }
    }

    /// Does something whose launches and fills, on this thread and this queue, are gathered and handed over together.
    /// What else the queue is asked for comes behind them.
    pub(crate) fn gathered<T>(&self, graphs: &Arc<Graphs>, work: impl FnOnce() -> T) -> (T, Driven<()>) {
        if OPEN.with_borrow(Option::is_some) {
            return (work(), Ok(()));
        }
        let (graphs, stream) = (graphs.clone(), self.stream.clone());
        OPEN.set(Some(Batch { graphs, stream, works: Vec::new(), free: Vec::new(), held: 0, pieces: 0 }));
        let gathering = Gathering;
        let done = work();
        let flushed = self.flush();
        drop(gathering);
        (done, flushed)
    }

    /// What this thread gathers for this queue.
    fn gathering<T>(&self, with: impl FnOnce(&mut Batch) -> T) -> Option<T> {
        OPEN.with_borrow_mut(|open| open.as_mut().filter(|batch| Arc::ptr_eq(&batch.stream, &self.stream)).map(with))
    }

    fn flush(&self) -> Driven<()> {
        self.gathering(Batch::flush).unwrap_or(Ok(()))
    }

    /// As [`Stream::launch`].
    ///
    /// # Safety
    /// As there, until what is gathered is handed over and done.
    pub(crate) unsafe fn launch(
        &self,
        function: &Arc<Function>,
        blocks: u32,
        words: Vec<u64>,
        maps: Vec<[u64; MAP_WORDS]>,
    ) -> Driven<()> {
        let work = Work::Launch { function: function.clone(), blocks, words, maps };
        // SAFETY: the caller's promise.
        unsafe { self.work(work) }
    }

    /// As [`Stream::fill`].
    ///
    /// # Safety
    /// As there, until what is gathered is handed over and done.
    pub(crate) unsafe fn fill(&self, address: u64, byte: u8, bytes: usize) -> Driven<()> {
        // SAFETY: the caller's promise.
        if bytes == 0 { Ok(()) } else { unsafe { self.work(Work::Fill { address, byte, bytes }) } }
    }

    /// # Safety
    /// That of the work.
    unsafe fn work(&self, work: Work) -> Driven<()> {
        let mut work = Some(work);
        self.gathering(|batch| batch.works.extend(work.take()));
        // SAFETY: the caller's promise.
        work.map_or(Ok(()), |work| unsafe { self.stream.work(&work) })
    }

    /// As [`Stream::free`], once what is gathered is done.
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn free(&self, address: u64, bytes: usize) -> Driven<()> {
        let much = self.gathering(|batch| {
            batch.free.push(address);
            batch.held += bytes;
            batch.held > MOST_HELD
        });
        match much {
            // SAFETY: the caller's promise.
            None => unsafe { self.stream.free(address) },
            Some(true) => self.flush(),
            Some(false) => Ok(()),
        }
    }

    /// As [`Stream::allocate`].
    pub(crate) fn allocate(&self, bytes: usize) -> Driven<u64> {
        match self.stream.allocate(bytes) {
            // Memory that gathered work holds back may do.
            Err(error) if error.is_memory() && OPEN.with_borrow(Option::is_some) => {
                self.flush()?;
                self.stream.allocate(bytes)
            }
            allocated => allocated,
        }
    }

    /// As [`Stream::upload`], to memory that was just allocated, which no gathered work knows.
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn upload(&self, address: u64, from: &[u8]) -> Driven<()> {
        // SAFETY: the caller's promise.
        unsafe { self.stream.upload(address, from) }
    }

    /// As [`Stream::download`].
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn download(&self, address: u64, to: &mut [u8]) -> Driven<()> {
        self.flush()?;
        // SAFETY: the caller's promise.
        unsafe { self.stream.download(address, to) }
    }

    /// As [`Stream::copy`].
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn copy(&self, to: u64, from: u64, bytes: usize) -> Driven<()> {
        self.flush()?;
        // SAFETY: the caller's promise.
        unsafe { self.stream.copy(to, from, bytes) }
    }

    /// As [`Stream::wait`].
    pub(crate) fn wait(&self) -> Driven<()> {
        self.flush()?;
        self.stream.wait()
    }

    /// As [`Stream::mark`].
    pub(crate) fn mark(&self) -> Driven<Event> {
        self.flush()?;
        self.stream.mark()
    }
}
