//! Devices: what a kernel runs on, with its options. Devices share what they have compiled; they hold no tensors.

use std::fmt;
use std::sync::Arc;

use crate::cache::Cache;
use crate::{CpuFeatures, Error, Result};

/// Which back end a device runs kernels on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// Compiled by Cranelift, on all worker threads.
    Cpu,
    /// The reference interpreter: slow, and right by definition.
    Interp,
}

impl Backend {
    /// As written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Cpu => "cpu",
            Backend::Interp => "interp",
        }
    }
}

/// How far a launch has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The kernel.
    pub kernel: &'a str,
    /// Program instances that have run.
    pub done: u64,
    /// All of them.
    pub total: u64,
}

/// Is told about progress, from any thread, often.
pub type ProgressHook = Arc<dyn Fn(Progress<'_>) + Send + Sync>;

/// What kernels run on. Clones share their caches.
#[derive(Clone)]
pub struct Device {
    pub(crate) backend: Backend,
    pub(crate) checks: bool,
    pub(crate) features: CpuFeatures,
    pub(crate) threads: usize,
    pub(crate) progress: Option<ProgressHook>,
    pub(crate) cache: Arc<Cache>,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("backend", &self.backend).field("checks", &self.checks).finish_non_exhaustive()
    }
}

impl Device {
    fn new(backend: Backend) -> Self {
        Self {
            backend,
            checks: false,
            features: CpuFeatures::host(),
            threads: usize::MAX,
            progress: None,
            cache: Arc::default(),
        }
    }

    /// All cores of this machine, or `PANTILE_THREADS` of them.
    pub fn cpu() -> Self {
        Self::new(Backend::Cpu)
    }

    /// The reference interpreter.
    pub fn interp() -> Self {
        Self::new(Backend::Interp)
    }

    /// From its name: `cpu` or `interp`. The environment has its say: `PANTILE_THREADS` (a number of workers, at least 1)
    /// and `PANTILE_CPU_FEATURES` (`baseline`, `avx2` or `avx512`: what the matrix product may use).
    ///
    /// # Errors
    /// If there is no such device in this build, or a variable of the environment makes no sense.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "cpu" => {
                crate::cpu::wanted_threads()?;
                match std::env::var("PANTILE_CPU_FEATURES") {
                    Ok(text) => {
                        Self::cpu().with_features(text.parse().map_err(|why| {
                            Error::Device(format!("environment variable `PANTILE_CPU_FEATURES`: {why}"))
                        })?)
                    }
                    Err(_) => Ok(Self::cpu()),
                }
            }
            "interp" => Ok(Self::interp()),
            gpu if gpu == "cuda" || gpu.starts_with("cuda:") => Err(Error::Device(format!(
                "device `{gpu}`: this build has no GPU back end; use `cpu`, or `interp` for the reference interpreter"
            ))),
            other => Err(Error::Device(format!("no device `{other}`; there are `cpu` and `interp`"))),
        }
    }

    /// Every device of this build with one line about it.
    pub fn all() -> Vec<(Self, String)> {
        let threads = crate::cpu::threads();
        let plural = if threads == 1 { "" } else { "s" };
        vec![
            (
                Self::cpu(),
                format!(
                    "{}, compiled by Cranelift, dot in {}, {threads} thread{plural}",
                    std::env::consts::ARCH,
                    CpuFeatures::host()
                ),
            ),
            (Self::interp(), "reference interpreter: slow, exact, one thread".into()),
        ]
    }

    /// As written on the command line.
    pub fn name(&self) -> &'static str {
        self.backend.name()
    }

    /// The number of worker threads that launches use at most.
    pub fn threads(&self) -> usize {
        match self.backend {
            Backend::Cpu => self.threads.min(crate::cpu::threads()),
            Backend::Interp => 1,
        }
    }

    /// The back end.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Uses these vector instructions in matrix products, where it would use all that the machine has.
    ///
    /// # Errors
    /// If the machine lacks them.
    pub fn with_features(mut self, features: CpuFeatures) -> Result<Self> {
        let host = CpuFeatures::host();
        if features > host {
            return Err(Error::Device(format!("this machine has no {features}; the most it has is {host}")));
        }
        self.features = features;
        Ok(self)
    }

    /// Uses at most this many of the worker threads that the process has; at least one.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Whether `print` and `assert` of a kernel take effect.
    #[must_use]
    pub fn with_checks(mut self, checks: bool) -> Self {
        self.checks = checks;
        self
    }

    /// Calls `hook` while launches run.
    #[must_use]
    pub fn with_progress(mut self, hook: ProgressHook) -> Self {
        self.progress = Some(hook);
        self
    }
}
