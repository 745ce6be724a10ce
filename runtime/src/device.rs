//! Devices: what a kernel runs on, with its options. Devices share what they have compiled; they hold no tensors.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::Cache;
use crate::cuda::{self, Gpu};
use crate::{CpuFeatures, Error, Result};

/// Which back end a device runs kernels on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// Compiled by Cranelift, on all worker threads.
    Cpu,
    /// The reference interpreter: slow, and right by definition.
    Interp,
    /// Compiled for an NVIDIA GPU.
    Cuda,
}

impl Backend {
    /// As written on the command line; of a GPU without its number.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Cpu => "cpu",
            Backend::Interp => "interp",
            Backend::Cuda => "cuda",
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
    pub(crate) tf32: bool,
    pub(crate) features: CpuFeatures,
    pub(crate) threads: usize,
    pub(crate) progress: Option<ProgressHook>,
    pub(crate) cache: Arc<Cache>,
    /// Of [`Backend::Cuda`].
    gpu: Option<Arc<Gpu>>,
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
            tf32: false,
            features: CpuFeatures::host(),
            threads: usize::MAX,
            progress: None,
            cache: Arc::default(),
            gpu: None,
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

    /// The NVIDIA GPU of that number, counted as `CUDA_VISIBLE_DEVICES` shows them. Tensors that a launch makes lie there.
    ///
    /// # Errors
    /// If there is no driver or no such GPU, or either is too old.
    pub fn cuda(index: usize) -> Result<Self> {
        Ok(Self { gpu: Some(Gpu::open(index)?), ..Self::new(Backend::Cuda) })
    }

    /// Takes code from a bundle where it has what a launch needs: LLVM is needed for the rest alone. It holds for all
    /// devices of this GPU.
    ///
    /// # Errors
    /// If this is no GPU, or the bundle is for another kind of GPU.
    pub fn load(&self, bundle: &crate::Bundle) -> Result<()> {
        let name = self.backend.name();
        let none = || {
            Error::Device(format!(
                "a bundle holds code for GPUs, and the device is `{name}`; name a GPU (`cuda:0`), or no bundle"
            ))
        };
        self.gpu.as_ref().ok_or_else(none)?.load(bundle)
    }

    /// What code for this GPU is compiled for; `None` of other devices.
    pub fn target(&self) -> Option<pantile_gpu::Target> {
        self.gpu.as_ref().map(|gpu| gpu.target())
    }

    /// How long this GPU's driver takes to assemble PTX, and to load the machine code; neither comes from the disk or is
    /// kept there.
    ///
    /// # Errors
    /// If this is no GPU, or the driver refuses the code.
    pub fn time_of_loading(&self, ptx: &str) -> Result<[Duration; 2]> {
        let none = || Error::Device(format!("PTX is for GPUs, and the device is `{}`", self.name()));
        self.gpu.as_ref().ok_or_else(none)?.time_of_loading(ptx)
    }

    /// A GPU that is open.
    pub(crate) fn of(gpu: &Arc<Gpu>) -> Self {
        Self { gpu: Some(gpu.clone()), ..Self::new(Backend::Cuda) }
    }

    /// The number of NVIDIA GPUs.
    ///
    /// # Errors
    /// If there is no driver, or it is too old.
    pub fn cuda_count() -> Result<usize> {
        cuda::count()
    }

    /// From its name: `cpu`, `interp`, `cuda` (the first GPU) or `cuda:N`. The environment has its say: `PANTILE_THREADS` (a
    /// number of workers, at least 1) and `PANTILE_CPU_FEATURES` (`baseline`, `avx2` or `avx512`: what the matrix product
    /// may use).
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
            "cuda" => Self::cuda(0),
            other => {
                let index = other.strip_prefix("cuda:").and_then(|n| n.parse().ok());
                let unknown = || Error::Device(format!("no device `{other}`; there are `cpu`, `interp` and `cuda:N`"));
                index.map_or_else(|| Err(unknown()), Self::cuda)
            }
        }
    }

    /// Every device of this machine with one line about it. GPUs that cannot be opened are left out.
    pub fn all() -> Vec<(Self, String)> {
        let threads = crate::cpu::threads();
        let plural = if threads == 1 { "" } else { "s" };
        let mut all = vec![
            (
                Self::cpu(),
                format!(
                    "{}, compiled by Cranelift, dot in {}, {threads} thread{plural}",
                    std::env::consts::ARCH,
                    CpuFeatures::host()
                ),
            ),
            (Self::interp(), "reference interpreter: slow, exact, one thread".into()),
        ];
        let gpus = (0..cuda::count().unwrap_or(0)).filter_map(|n| Self::cuda(n).ok());
        all.extend(gpus.map(|device| {
            let about = device.gpu.as_ref().map_or_else(String::new, |gpu| gpu.about());
            (device, about)
        }));
        all
    }

    /// As written on the command line.
    pub fn name(&self) -> String {
        self.gpu.as_ref().map_or_else(|| self.backend.name().to_owned(), |gpu| gpu.name())
    }

    /// The GPU, where tensors that a launch makes lie there.
    pub(crate) fn home(&self) -> Option<&Arc<Gpu>> {
        self.gpu.as_ref()
    }

    /// The number of worker threads of this machine that launches use at most.
    pub fn threads(&self) -> usize {
        match self.backend {
            Backend::Cpu => self.threads.min(crate::cpu::threads()),
            Backend::Interp | Backend::Cuda => 1,
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

    /// Lets GPUs round the operands of f32 products to tf32, which have 10 bits of fraction, and take tensor cores for
    /// them. Sums are f32 still; other devices do not round.
    #[must_use]
    pub fn with_tf32(mut self, tf32: bool) -> Self {
        self.tf32 = tf32;
        self
    }

    /// Calls `hook` while launches run.
    #[must_use]
    pub fn with_progress(mut self, hook: ProgressHook) -> Self {
        self.progress = Some(hook);
        self
    }
}
