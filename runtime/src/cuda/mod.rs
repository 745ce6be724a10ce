//! NVIDIA GPUs: opened through their driver, which is looked for at run time. Kernels come as PTX or machine code; what they
//! compute is not known here.

pub(crate) mod copies;
mod cubins;
mod driver;
mod faults;
mod launch;
mod memory;
mod queue;

use std::ffi::CString;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use pantile_gpu::simt::Program;
use pantile_gpu::{Target, TensorMap, llvm};

pub(crate) use driver::code::Event;
use driver::code::{Module, assemble};
use driver::maps::MAP_WORDS;
use driver::{Context, DriverError, Facts, Stream};
use faults::Faults;
pub(crate) use launch::{Launcher, Started, compile};
pub(crate) use memory::Buffer;
pub(crate) use queue::Graphs;
use queue::Queue;

use crate::bundle::{self, Bundle};
use crate::recent::Recent;
use crate::{Error, Result};

/// Tensor maps that a GPU remembers.
const MAPS: usize = 256;

/// The driver, started: the CUDA version that it supports, or what is missing.
fn started() -> Result<i32> {
    static STARTED: OnceLock<std::result::Result<i32, String>> = OnceLock::new();
    let start = || {
        if !driver::is_present() {
            return Err(
                "there is no CUDA driver here (`libcuda.so` is not found); install NVIDIA's driver for the GPU, or use `cpu`"
                    .to_owned(),
            );
        }
        let version = driver::start().map_err(|e| format!("the CUDA driver does not start: {e}; use `cpu`"))?;
        check_version(version, None)?;
        Ok(version)
    };
    STARTED.get_or_init(start).clone().map_err(Error::Device)
}

/// That a driver takes the code for a target, or for the oldest one.
fn check_version(version: i32, target: Option<Target>) -> std::result::Result<(), String> {
    let least = target.unwrap_or(Target::SM_80).least_cuda();
    if version >= least {
        return Ok(());
    }
    let (got, want) = (Version(version), Version(least));
    let of = target.map_or(String::new(), |target| format!(" for {target}"));
    Err(format!(
        "the CUDA driver supports CUDA {got} only, and {want} is the least{of}; update NVIDIA's driver, or use `cpu`"
    ))
}

/// A CUDA version as the driver counts them: 12080 is 12.8.
#[derive(Clone, Copy)]
pub(crate) struct Version(i32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 1000, self.0 % 1000 / 10)
    }
}

/// The number of GPUs.
///
/// # Errors
/// If there is no driver, or it is too old.
pub(crate) fn count() -> Result<usize> {
    started()?;
    driver::device_count().map_err(|e| Error::Device(format!("the CUDA driver does not say what GPUs there are: {e}")))
}

/// A GPU that has been opened. There is one object a GPU and process, which is never closed.
pub(crate) struct Gpu {
    index: usize,
    version: Version,
    facts: Facts,
    pub(crate) target: Target,
    context: Arc<Context>,
    stream: Queue,
    faults: Faults,
    pub(crate) copies: copies::Copies,
    /// Tensor maps as the hardware reads them.
    maps: Mutex<Recent<TensorMap, [u64; MAP_WORDS]>>,
    /// Code that was compiled ahead of time.
    bundles: RwLock<Vec<Bundle>>,
    /// Why it cannot be used any more.
    lost: OnceLock<String>,
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl Gpu {
    /// The GPU of that number.
    ///
    /// # Errors
    /// If there is no driver or no such GPU, or either is too old.
    pub(crate) fn open(index: usize) -> Result<Arc<Self>> {
        static OPEN: Mutex<Vec<Arc<Gpu>>> = Mutex::new(Vec::new());
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gpu) = open.iter().find(|gpu| gpu.index == index) {
            return Ok(gpu.clone());
        }
        let gpu = Arc::new(Self::start(index)?);
        open.push(gpu.clone());
        Ok(gpu)
    }

    fn start(index: usize) -> Result<Self> {
        let name = format!("cuda:{index}");
        let count = count().map_err(|e| Error::Device(format!("device `{name}`: {e}")))?;
        let version = Version(started()?);
        if index >= count {
            let there = match count {
                0 => "the driver shows no GPU (see `CUDA_VISIBLE_DEVICES`)".to_owned(),
                1 => "there is one GPU, `cuda:0`".to_owned(),
                n => format!("there are {n} GPUs, `cuda:0` to `cuda:{}`", n - 1),
            };
            return Err(Error::Device(format!("device `{name}` is not there: {there}")));
        }
        let failed = |e: DriverError| Error::Device(format!("device `{name}` cannot be opened: {e}"));
        let facts = driver::facts(index).map_err(failed)?;
        let target = Target::of_capability(facts.major, facts.minor)
            .map_err(|why| Error::Device(format!("device `{name}`, {}: {why}; use `cpu`", facts.name)))?;
        check_version(version.0, Some(target))
            .map_err(|why| Error::Device(format!("device `{name}`, {}: {why}", facts.name)))?;
        let context = Context::open(index, facts.pools).map_err(failed)?;
        let stream = Queue::new(Stream::new(&context, facts.pools).map_err(failed)?);
        let (faults, bundles, lost) = (Faults::default(), RwLock::default(), OnceLock::new());
        let (maps, copies) = (Mutex::new(Recent::new(MAPS)), copies::Copies::default());
        Ok(Self { index, version, facts, target, context, stream, faults, copies, maps, bundles, lost })
    }

    /// As written on the command line.
    pub(crate) fn name(&self) -> String {
        format!("cuda:{}", self.index)
    }

    /// One line about it.
    pub(crate) fn about(&self) -> String {
        let Facts { name, multiprocessors, memory, shared, .. } = &self.facts;
        let gib = *memory as f64 / f64::from(1 << 30);
        let (target, shared, version) = (self.target, shared >> 10, self.version);
        format!(
            "{name}, {target}, {multiprocessors} multiprocessors with {shared} KiB of shared memory, {gib:.1} GiB, driver \
             for CUDA {version}"
        )
    }

    /// Takes code from a bundle where it has what a launch needs.
    ///
    /// # Errors
    /// If the bundle is for another target.
    pub(crate) fn load(&self, bundle: &Bundle) -> Result<()> {
        if bundle.target() != self.target {
            let (name, want, got) = (self.name(), self.target, bundle.target());
            return Err(Error::Device(format!(
                "the bundle holds code for {got}, and `{name}` is {want}; build one with `--target {want}`"
            )));
        }
        self.bundles.write().unwrap_or_else(PoisonError::into_inner).push(bundle.clone());
        Ok(())
    }

    /// The PTX of a program, if a bundle has it.
    fn bundled(&self, program: &Program) -> Option<String> {
        let bundles = self.bundles.read().unwrap_or_else(PoisonError::into_inner);
        let key = (!bundles.is_empty()).then(|| bundle::key(program, self.target))?;
        bundles.iter().find_map(|bundle| bundle.ptx(&key)).map(str::to_owned)
    }

    /// The PTX of a program.
    fn ptx(&self, program: &Program) -> std::result::Result<String, llvm::Error> {
        match self.bundled(program) {
            Some(text) => Ok(text),
            None => Ok(llvm::ptx(program, self.target, &llvm::Options::default())?.text),
        }
    }

    /// What its code is compiled for.
    pub(crate) fn target(&self) -> Target {
        self.target
    }

    /// How long the driver takes to assemble PTX, and to load what comes of it.
    ///
    /// # Errors
    /// If the driver refuses the code.
    pub(crate) fn time_of_loading(&self, ptx: &str) -> Result<[Duration; 2]> {
        let text = CString::new(ptx).map_err(|_| Error::Device("PTX has no zero bytes".into()))?;
        let start = Instant::now();
        let cubin = assemble(&self.context, &text).map_err(|e| self.failed("the assembly", &e))?;
        let assembly = start.elapsed();
        Module::load(&self.context, &cubin).map_err(|e| self.failed("the loading", &e))?;
        Ok([assembly, start.elapsed() - assembly])
    }

    /// Does the work of a pipeline, whose launches are handed over together.
    ///
    /// # Errors
    /// The work's own; if the GPU is lost.
    pub(crate) fn gathered<T>(&self, graphs: &Arc<Graphs>, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let (done, queued) = self.stream.gathered(graphs, work);
        let done = done?;
        queued.map_err(|e| self.failed("a pipeline", &e))?;
        Ok(done)
    }

    /// A mark behind the work that is queued.
    ///
    /// # Errors
    /// If the GPU is lost.
    pub(crate) fn mark(&self) -> Result<Event> {
        self.stream.mark().map_err(|e| self.failed("a mark", &e))
    }

    /// The time between two marks; waits for both.
    ///
    /// # Errors
    /// If the GPU is lost.
    pub(crate) fn between(&self, earlier: &Event, later: &Event) -> Result<Duration> {
        let seconds = later.seconds_since(earlier).map_err(|e| self.failed("a measurement", &e))?;
        Ok(Duration::from_secs_f64(seconds.max(0.0)))
    }

    /// What a failed call means; after it the GPU may be of no use to this process.
    fn failed(&self, doing: &str, error: &DriverError) -> Error {
        if let Some(why) = self.lost.get() {
            return Error::Device(why.clone());
        }
        let name = self.name();
        // An error of an earlier kernel shows at any later call, and from then on at each.
        if self.stream.wait().is_err() {
            let why = format!(
                "device `{name}` is lost to this process: {doing} failed with {error}; what lies there is gone, start the \
                 process again"
            );
            return Error::Device(self.lost.get_or_init(|| why).clone());
        }
        Error::Device(format!("device `{name}`: {doing} failed with {error}"))
    }

    /// That an allocation failed, with the numbers.
    fn no_memory(&self, what: &str, bytes: usize) -> Error {
        let (free, total) = self.context.memory().unwrap_or((0, self.facts.memory));
        Error::DeviceMemory { what: what.to_owned(), bytes, device: self.name(), free, total }
    }
}

#[cfg(test)]
mod tests {
    use super::{Target, Version, check_version};

    #[test]
    fn old_drivers_are_told_with_both_versions() {
        assert!(check_version(12_040, None).is_ok() && check_version(13_000, Some(Target::SM_120A)).is_ok());
        let why = check_version(12_030, None).unwrap_err();
        assert!(why.contains("12.3") && why.contains("12.4") && why.contains("update"), "{why}");
        let why = check_version(12_040, Some(Target::SM_120A)).unwrap_err();
        assert!(why.contains("12.4") && why.contains("12.8 is the least for sm_120a"), "{why}");
        assert_eq!(Version(12_080).to_string(), "12.8");
    }
}
