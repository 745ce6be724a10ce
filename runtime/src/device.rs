//! Devices: what a kernel runs on, with its options. Devices share what they have compiled; they hold no tensors.

use std::fmt;
use std::sync::Arc;

use crate::cache::Cache;
use crate::{Error, Result};

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
        Self { backend, checks: false, progress: None, cache: Arc::default() }
    }

    /// All cores of this machine, or `PANTILE_THREADS` of them.
    pub fn cpu() -> Self {
        Self::new(Backend::Cpu)
    }

    /// The reference interpreter.
    pub fn interp() -> Self {
        Self::new(Backend::Interp)
    }

    /// From its name: `cpu` or `interp`.
    ///
    /// # Errors
    /// If there is no such device in this build.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "cpu" => Ok(Self::cpu()),
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
            (Self::cpu(), format!("{}, compiled by Cranelift, {threads} thread{plural}", std::env::consts::ARCH)),
            (Self::interp(), "reference interpreter: slow, exact, one thread".into()),
        ]
    }

    /// As written on the command line.
    pub fn name(&self) -> &'static str {
        self.backend.name()
    }

    /// The back end.
    pub fn backend(&self) -> Backend {
        self.backend
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
