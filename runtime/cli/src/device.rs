//! The options that say what kernels run on, shared by the commands that run some. What there is to run on is listed by
//! `pantile devices`.

use pantile::{Bundle, CpuFeatures, Device};

use crate::failure::{Failure, input};

/// What kernels run on.
#[derive(clap::Args)]
pub(crate) struct On {
    /// What to run on.
    #[arg(long, default_value = "cpu", value_name = "cpu|interp|cuda:N", help_heading = "Running")]
    device: String,
    /// GPU code compiled ahead of time by `pantile build`.
    #[arg(long, value_name = "FILE", help_heading = "Running")]
    bundle: Vec<std::path::PathBuf>,
    #[command(flatten)]
    pub(crate) tf32: Tf32,
    #[command(flatten)]
    features: Features,
}

/// Whether products of f32 may be rounded.
#[derive(clap::Args)]
pub(crate) struct Tf32 {
    /// Products of f32 round their operands to tf32 (10 bits of fraction) and take a GPU's tensor cores.
    #[arg(long, help_heading = "Running")]
    pub(crate) tf32: bool,
}

/// Which vector instructions compiled code may use.
#[derive(clap::Args)]
pub(crate) struct Features {
    /// Vector instructions that compiled code may use; all that the machine has if not given.
    #[arg(long, value_name = "FEATURES", value_parser = features(), help_heading = "Running")]
    cpu_features: Option<String>,
}

fn features() -> Vec<&'static str> {
    CpuFeatures::ALL.iter().map(|f| f.name()).collect()
}

impl On {
    /// The device.
    pub(crate) fn device(&self) -> Result<Device, Failure> {
        // What is wrong with a file shows before what is wrong with the machine.
        let bundles = self.bundle.iter().map(Bundle::read).collect::<Result<Vec<_>, _>>()?;
        let device = Device::parse(&self.device)?;
        if self.features.cpu_features.is_some() && device.backend() != pantile::Backend::Cpu {
            return input(format!("`--cpu-features` is about the device `cpu`, not `{}`", device.name()));
        }
        if self.tf32.tf32 && device.backend() != pantile::Backend::Cuda {
            return input(format!(
                "`--tf32` is about GPUs' tensor cores; products of f32 are f32 on `{}`",
                device.name()
            ));
        }
        let device = device.with_tf32(self.tf32.tf32);
        bundles.iter().try_for_each(|bundle| device.load(bundle))?;
        self.features.apply(device)
    }
}

impl Features {
    /// The device with these features.
    pub(crate) fn apply(&self, device: Device) -> Result<Device, Failure> {
        let Some(text) = &self.cpu_features else { return Ok(device) };
        let features = text.parse().map_err(|why: String| Failure::Input(format!("`--cpu-features`: {why}")))?;
        Ok(device.with_features(features)?)
    }
}
