//! Barriers: those with a number and those in shared memory. Who waits is told to their owner, which wakes it.

use super::clock::Message;
use super::error::{ErrorKind, Outcome};

/// A barrier with a number.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbered {
    /// Threads that meet in this phase.
    pub(super) threads: u32,
    pub(super) arrived: u32,
    /// Warps that wait.
    pub(super) waiting: Vec<usize>,
    pub(super) message: Message,
}

impl Numbered {
    /// A warp arrives.
    pub(super) fn arrive(&mut self, threads: u32, message: &Message, waits: Option<usize>) -> Outcome<()> {
        if self.arrived != 0 && self.threads != threads {
            let told = format!("a barrier that {threads} threads meet, and {} in the same phase", self.threads);
            return Err(ErrorKind::Barrier(told).into());
        }
        self.threads = threads;
        self.arrived += 32;
        self.message.join(message);
        self.waiting.extend(waits);
        Ok(())
    }

    /// If all are there: who waited, and what all learn. The next phase begins.
    pub(super) fn complete(&mut self) -> Option<(Vec<usize>, Message)> {
        if self.arrived < self.threads {
            return None;
        }
        let done = std::mem::take(self);
        Some((done.waiting, done.message))
    }
}

/// A barrier in shared memory.
#[derive(Debug)]
pub(super) struct Mbarrier {
    pub(super) address: u32,
    /// As an agent of copies.
    pub(super) agent: u16,
    /// Arrivals of a phase.
    count: u32,
    /// Arrivals that this phase lacks.
    pending: u32,
    /// Bytes that this phase lacks.
    bytes: i64,
    /// Phases completed.
    pub(super) phase: u32,
    /// Copies under way for this phase.
    pub(super) flying: u32,
    /// Whether async copies may see it.
    pub(super) fenced: bool,
    /// The warp that made it.
    pub(super) maker: usize,
    gathering: Message,
    /// What waiters learn.
    pub(super) done: Message,
}

impl Mbarrier {
    pub(super) fn new(address: u32, agent: u16, count: u32, maker: usize) -> Self {
        Self {
            address,
            agent,
            count,
            pending: count,
            bytes: 0,
            phase: 0,
            flying: 0,
            fenced: false,
            maker,
            gathering: Message::default(),
            done: Message::default(),
        }
    }

    /// Whether the phase with this parity is complete, as the hardware tells it: it knows the running phase's parity only.
    pub(super) fn is_complete(&self, parity: u32) -> bool {
        self.phase & 1 != parity & 1
    }

    /// One arrival, after more bytes to expect. Whether the phase is complete.
    pub(super) fn arrive(&mut self, bytes: u32, message: &Message) -> Outcome<bool> {
        if self.pending == 0 {
            let told = format!("an arrival at the barrier at {:#x}, whose phase has its {}", self.address, self.count);
            return Err(ErrorKind::Barrier(told).into());
        }
        self.bytes += i64::from(bytes);
        self.pending -= 1;
        self.gathering.join(message);
        self.settle()
    }

    /// A copy has come. Whether the phase is complete.
    pub(super) fn landed(&mut self, bytes: u32) -> Outcome<bool> {
        self.flying -= 1;
        self.bytes -= i64::from(bytes);
        self.settle()
    }

    fn settle(&mut self) -> Outcome<bool> {
        if self.pending != 0 || self.bytes > 0 {
            return Ok(false);
        }
        if self.bytes < 0 || self.flying != 0 {
            let told = format!("copies bring more bytes to the barrier at {:#x} than its phase expects", self.address);
            return Err(ErrorKind::Barrier(told).into());
        }
        self.phase += 1;
        self.pending = self.count;
        self.done.join(&std::mem::take(&mut self.gathering));
        self.done.done.raise(self.agent, self.phase);
        Ok(true)
    }

    /// What it waits for, for messages.
    pub(super) fn lacks(&self) -> String {
        format!("{} of {} arrivals and {} bytes", self.pending, self.count, self.bytes)
    }
}
