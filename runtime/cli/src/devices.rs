//! `pantile devices`: what kernels can run on here.

use pantile::Device;

use crate::failure::Outcome;
use crate::screen;

/// Lists what kernels can run on.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  pantile devices
  PANTILE_THREADS=4 pantile devices
  PANTILE_CPU_FEATURES=baseline pantile devices
  CUDA_VISIBLE_DEVICES=1 pantile devices")]
pub(crate) struct Options {}

pub(crate) fn run(_: &Options) -> Outcome {
    let rows: Vec<Vec<String>> = Device::all()
        .into_iter()
        .map(|(device, about)| vec![format!("{}  {about}", screen::bold(&format!("{:6}", device.name())))])
        .collect();
    screen::table(&rows).iter().for_each(|line| screen::line(line));
    match Device::cuda_count() {
        Ok(0) => screen::line("no GPU: the CUDA driver shows none (see `CUDA_VISIBLE_DEVICES`)"),
        Ok(count) => {
            let why = (0..count).filter_map(|n| Device::cuda(n).err());
            why.for_each(|error| screen::line(&format!("not usable: {error}")));
        }
        Err(error) => screen::line(&format!("no GPU: {error}")),
    }
    Ok(())
}
