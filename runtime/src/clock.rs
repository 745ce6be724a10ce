//! Time as a device spends it. What is measured, and how often, is the caller's business.

use std::time::{Duration, Instant};

use crate::cuda::Event;
use crate::{Device, Result};

/// Measures: on a GPU by marks in its queue, else by the host's clock.
pub(crate) enum Clock {
    Host(Instant),
    Gpu(Event),
}

impl Clock {
    pub(crate) fn start(device: &Device) -> Result<Self> {
        match device.home() {
            Some(gpu) => gpu.mark().map(Clock::Gpu),
            None => Ok(Clock::Host(Instant::now())),
        }
    }

    pub(crate) fn stop(self, device: &Device) -> Result<Duration> {
        match (self, device.home()) {
            (Clock::Gpu(start), Some(gpu)) => gpu.between(&start, &gpu.mark()?),
            (Clock::Host(start), _) => Ok(start.elapsed()),
            (Clock::Gpu(_), None) => Ok(Duration::ZERO),
        }
    }
}

impl Device {
    /// Does some work, and how long it took: on a GPU from when its queue came to it until all of it was done there, else by
    /// the host's clock.
    ///
    /// # Errors
    /// The work's own; if the GPU is lost.
    pub fn measure<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
        let clock = Clock::start(self)?;
        let done = work()?;
        Ok((done, clock.stop(self)?))
    }
}
