//! The `pantile` command: one file a subcommand. Nothing is computed here.

mod bench;
mod bind;
mod build;
mod canvas;
mod chart;
mod check;
mod device;
mod devices;
mod emit;
mod explain;
mod failure;
mod options;
mod orders;
mod picture;
mod plan;
mod rainfusion;
mod report;
mod run;
mod screen;
mod selftest;
mod target;
mod values;
mod walks;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Compiles and runs tile kernels written in Pantile.
#[derive(Parser)]
#[command(name = "pantile", version, after_help = failure::EXIT_CODES, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Rainfusion(rainfusion::Options),
    Run(run::Options),
    Check(check::Options),
    Emit(emit::Options),
    Explain(explain::Options),
    Devices(devices::Options),
    Bench(bench::Options),
    Selftest(selftest::Options),
    Build(build::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.command {
        Command::Rainfusion(options) => rainfusion::run(options),
        Command::Run(options) => run::run(options),
        Command::Check(options) => check::run(options),
        Command::Emit(options) => emit::run(options),
        Command::Explain(options) => explain::run(options),
        Command::Devices(options) => devices::run(options),
        Command::Bench(options) => bench::run(options),
        Command::Selftest(options) => selftest::run(options),
        Command::Build(options) => build::run(options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
