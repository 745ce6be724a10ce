//! `pantile emit`: any stage of the compiler as text.
#[derive(clap::Args)]
pub(crate) struct Options {}
pub(crate) fn run(_: &Options) -> crate::failure::Outcome {
    Ok(())
}
