//! `pantile selftest`: every kernel, pipeline and order of the shipped files or of given ones, on a device and on the reference
//! interpreter, over dtypes and awkward sizes. It knows no kernel by name: arguments follow from signatures.

mod cases;
mod compare;
mod draw;
mod pool;
mod tally;

use std::collections::BTreeSet;
use std::path::PathBuf;

use pantile::{Device, Module};

use crate::device::On;
use crate::failure::{Failure, Outcome, input};
use crate::screen;
use cases::{Case, Extent, Row, rows};
use tally::Tally;

/// Runs kernels on a device and on the interpreter, and compares.
#[derive(clap::Args)]
#[command(after_help = "Every kernel, pipeline and order is run with drawn arguments, for each dtype that it takes and
several sizes: ones, ragged blocks, beyond one block, whole blocks, nothing, a video grid. Where
the interpreter refuses or stops, the device must too. Exit code 3 says that they differ.

Examples:
  pantile selftest
  pantile selftest --device cuda:0
  pantile selftest --device cuda:0 --quick
  pantile selftest --device cuda:0 --only attention kernels/attention.tile")]
pub(crate) struct Options {
    /// Source files; the shipped ones if none is given.
    files: Vec<PathBuf>,
    /// Only items whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Fewer cases: one dtype of each kind, ragged blocks and a video grid.
    #[arg(long)]
    quick: bool,
    /// Cases that are compiled and run at once; as many as there are cores if not given.
    #[arg(long, value_name = "N", value_parser = jobs)]
    jobs: Option<usize>,
    #[command(flatten)]
    on: On,
    /// Makes `print` and `assert` take effect.
    #[arg(long)]
    checks: bool,
}

fn jobs(text: &str) -> Result<usize, String> {
    match crate::options::count(text)? {
        n @ 1..=1024 => Ok(n),
        n => Err(format!("{n} is not in 1..=1024")),
    }
}

pub(crate) fn run(options: &Options) -> Outcome {
    let device = options.on.device()?.with_checks(options.checks);
    let reference = Device::interp().with_checks(options.checks);
    let modules = modules(&options.files)?;
    let extent = if options.quick { Extent::Quick } else { Extent::Whole };
    if let Some(part) = &options.only {
        check_part(part, &modules)?;
    }
    let rows = rows(&modules, options.only.as_deref(), extent);
    if rows.is_empty() {
        return input("there is no kernel, pipeline or order to compare");
    }
    head(&device);
    let cases: Vec<_> = rows.iter().flat_map(|row| row.cases.iter().map(move |case| (row, case))).collect();
    let jobs = options.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let (mut tally, mut failures) = (None, Vec::new());
    let verdict = |(row, case): &(&Row<'_>, &Case)| row.verdict(case, [&device, &reference]);
    pool::in_order(&cases, jobs, verdict, |(row, case), verdict| {
        let of = tally.get_or_insert_with(|| Tally::of(row));
        of.add(case.name(), verdict, &mut failures);
        if of.is_complete() {
            of.show(&mut failures);
            tally = None;
        }
    });
    finish(&device, &failures)
}

fn modules(files: &[PathBuf]) -> Result<Vec<Module>, Failure> {
    if files.is_empty() {
        return Ok(pantile_kernels::FILES
            .iter()
            .map(|(name, _)| pantile_kernels::module(name))
            .collect::<Result<_, _>>()?);
    }
    Ok(files.iter().map(Module::from_file).collect::<Result<_, _>>()?)
}

/// Refuses a part of a name that no name has.
fn check_part(part: &str, modules: &[Module]) -> Outcome {
    let compiled = || modules.iter().map(Module::compiled);
    let signatures = compiled().flat_map(|c| c.kernels().iter().chain(c.pipelines())).map(|s| s.name.as_str());
    let orders = compiled().flat_map(|c| c.orders()).map(|o| o.name.as_str());
    let names: BTreeSet<&str> = signatures.chain(orders).collect();
    if names.iter().any(|name| name.contains(part)) {
        return Ok(());
    }
    let words = names.iter().flat_map(|name| name.split('_').chain([*name]));
    match pantile_compiler::nearest(part, words) {
        Some(word) => input(format!("`--only`: nothing is called `{part}`; did you mean `{word}`?")),
        None => {
            let all: Vec<&str> = names.into_iter().collect();
            input(format!("`--only`: nothing is called `{part}`; there are {}", all.join(", ")))
        }
    }
}

fn head(device: &Device) {
    let about = Device::all().into_iter().find(|(d, _)| d.name() == device.name()).map(|(_, about)| about);
    screen::line(&format!("{}: {}", device.name(), about.unwrap_or_default()));
    screen::line(&format!("{:28} {:8} {:>5} {:>10} {:>10}", "item", "dtype", "cases", "worst", "allowed"));
}

fn finish(device: &Device, failures: &[String]) -> Outcome {
    let name = device.name();
    match failures.len() {
        0 => {
            screen::line(&format!("{name} agrees with the interpreter"));
            Ok(())
        }
        n => {
            failures.iter().for_each(|failure| screen::line(failure));
            let plural = if n == 1 { "" } else { "s" };
            Err(Failure::Kernel(format!("{name} differs from the interpreter in {n} case{plural}")))
        }
    }
}
