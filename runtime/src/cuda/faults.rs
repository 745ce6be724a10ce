//! Words where launches say what went wrong, one a launch, handed out and given back. Reading one costs no copy; what a
//! fault's code means is not known here.

use std::sync::{Arc, Mutex, PoisonError};

use super::driver::Context;
use super::driver::Driven;
use super::driver::host::SharedWords;

/// Words that are allocated at a time.
const BATCH: usize = 512;

/// The words of one GPU.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    free: Mutex<Vec<Slot>>,
}

/// A word that belongs to one launch.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    words: Arc<SharedWords>,
    n: usize,
}

impl Slot {
    /// Where the launch writes.
    pub(crate) fn address(&self) -> u64 {
        self.words.address(self.n)
    }

    /// What the launch, which is done, left: a code and an instance.
    pub(crate) fn take(&self) -> Option<(u32, u32)> {
        let word = self.words.take(self.n);
        Some((word as u32, (word >> 32) as u32)).filter(|(code, _)| *code != 0)
    }
}

impl Faults {
    /// A word that nobody else has; it is 0.
    pub(crate) fn slot(&self, context: &Arc<Context>) -> Driven<Slot> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = free.pop() {
            return Ok(slot);
        }
        let words = Arc::new(SharedWords::new(context, BATCH)?);
        free.extend((1..BATCH).map(|n| Slot { words: words.clone(), n }));
        Ok(Slot { words, n: 0 })
    }

    /// Gives a word back whose launch is done.
    pub(crate) fn give_back(&self, slot: Slot) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
    }
}
