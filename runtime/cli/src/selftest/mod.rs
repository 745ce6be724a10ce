//! `pantile selftest`: every kernel, pipeline and order of the shipped files or of given ones, on a device and on the reference
//! interpreter, over dtypes and awkward sizes. It knows no kernel by name: arguments follow from signatures.

mod compare;
mod draw;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use pantile::{Arg, Constant, DType, Device, Module, Outputs};
use pantile_compiler::{GenericKind, OrderSignature, Signature};

use crate::device::On;
use crate::failure::{Failure, Outcome};
use crate::screen;
use crate::values::Owned;
use compare::{Verdict, allowed, judge};
use draw::{Draw, SIZES, Sizes, draw};

/// Runs kernels on a device and on the interpreter, and compares.
#[derive(clap::Args)]
#[command(
    after_help = "Every kernel, pipeline and order is run with drawn arguments, for each dtype that it takes and several
sizes: ones, ragged blocks, beyond one block, whole blocks, nothing, a video grid. Where the
interpreter refuses or stops, the device must too. Exit code 3 says that they differ.

Examples:
  pantile selftest
  pantile selftest --device cuda:0
  pantile selftest --device cuda:0 --only attention kernels/attention.tile"
)]
pub(crate) struct Options {
    /// Source files; the shipped ones if none is given.
    files: Vec<PathBuf>,
    /// Only items whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    #[command(flatten)]
    on: On,
    /// Makes `print` and `assert` take effect.
    #[arg(long)]
    checks: bool,
}

pub(crate) fn run(options: &Options) -> Outcome {
    let device = options.on.device()?.with_checks(options.checks);
    let reference = Device::interp().with_checks(options.checks);
    let mut bench = Bench { device, reference, only: options.only.as_deref(), done: Vec::new(), failures: Vec::new() };
    bench.head();
    if options.files.is_empty() {
        for (name, _) in pantile_kernels::FILES {
            bench.module(&pantile_kernels::module(name)?);
        }
    }
    for file in &options.files {
        bench.module(&Module::from_file(file)?);
    }
    bench.finish()
}

/// The two devices and what came of them.
struct Bench<'a> {
    device: Device,
    reference: Device,
    only: Option<&'a str>,
    /// Items by name: imports show in several modules.
    done: Vec<String>,
    failures: Vec<String>,
}

impl Bench<'_> {
    fn head(&self) {
        let about = Device::all().into_iter().find(|(d, _)| d.name() == self.device.name()).map(|(_, about)| about);
        screen::line(&format!("{}: {}", self.device.name(), about.unwrap_or_default()));
        screen::line(&format!("{:28} {:8} {:>5} {:>10} {:>10}", "item", "dtype", "cases", "worst", "allowed"));
    }

    fn takes(&mut self, name: &str) -> bool {
        let takes = self.only.is_none_or(|part| name.contains(part)) && !self.done.iter().any(|n| n == name);
        if takes {
            self.done.push(name.to_owned());
        }
        takes
    }

    fn module(&mut self, module: &Module) {
        for signature in module.compiled().kernels().iter().chain(module.compiled().pipelines()) {
            if self.takes(&signature.name) {
                dtypes(signature).into_iter().for_each(|dtype| self.item(module, signature, dtype));
            }
        }
        for order in module.compiled().orders() {
            if self.takes(&order.name) {
                self.order(module, order);
            }
        }
    }

    /// One kernel or pipeline at one dtype.
    fn item(&mut self, module: &Module, signature: &Signature, dtype: Option<DType>) {
        let of = dtype.map_or_else(String::new, |d| d.to_string());
        let mut tally = Tally { name: &signature.name, dtype: &of, ..Tally::default() };
        for sizes in SIZES {
            let case = |device: &Device| {
                let draw = draw(signature, dtype, sizes)?;
                call(module, signature, &draw, device)
            };
            let (got, want) = (case(&self.device), case(&self.reference));
            let verdict = judge(got, want);
            tally.add(sizes, verdict, dtype, &mut self.failures);
        }
        tally.show(&mut self.failures);
    }

    /// One order over a grid.
    fn order(&mut self, module: &Module, order: &OrderSignature) {
        let mut tally = Tally { name: &order.name, dtype: "order", ..Tally::default() };
        for sizes in SIZES {
            let args: BTreeMap<String, i64> =
                order.params.iter().map(|p| (p.name.clone(), p.default.unwrap_or_else(|| sizes.of(&p.name)))).collect();
            let text = args.get("text").copied().unwrap_or(0);
            let extent = ["F", "Y", "X"].iter().map(|n| sizes.of(n)).product::<i64>() + text;
            let case = |device: &Device| module.order(&order.name, &args, extent, device);
            let verdict = match (case(&self.device), case(&self.reference)) {
                (Ok(got), Ok(want)) if same(&got, &want) => Verdict::Distance(0.0),
                (Ok(_), Ok(_)) => Verdict::Wrong("the tables differ".into()),
                (Err(_), Err(_)) => Verdict::BothRefuse,
                (Err(error), Ok(_)) => Verdict::Wrong(format!("fails: {error}")),
                (Ok(_), Err(error)) => Verdict::Wrong(format!("works, but the interpreter says: {error}")),
            };
            tally.add(sizes, verdict, Some(DType::I32), &mut self.failures);
        }
        tally.show(&mut self.failures);
    }

    fn finish(self) -> Outcome {
        let Self { device, failures, done, .. } = self;
        let name = device.name();
        match failures.len() {
            0 if done.is_empty() => Err(Failure::Input("nothing is called so; leave out `--only` to run all".into())),
            0 => {
                screen::line(&format!("{name} agrees with the interpreter"));
                Ok(())
            }
            n => {
                failures.iter().for_each(|failure| screen::line(failure));
                Err(Failure::Kernel(format!("{name} differs from the interpreter in {n} case{}", plural(n))))
            }
        }
    }
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

fn same(a: &Arc<Vec<i32>>, b: &Arc<Vec<i32>>) -> bool {
    a == b
}

/// The dtypes that an item's dtype generics may all stand for; one without is run once.
fn dtypes(signature: &Signature) -> Vec<Option<DType>> {
    let classes: Vec<_> = signature
        .generics
        .iter()
        .filter_map(|g| match g.kind {
            GenericKind::DType(class) => Some(class),
            GenericKind::Int(_) => None,
        })
        .collect();
    if classes.is_empty() {
        return vec![None];
    }
    DType::ALL.iter().copied().filter(|d| classes.iter().all(|class| class.admits(*d))).map(Some).collect()
}

fn call(module: &Module, signature: &Signature, draw: &Draw, device: &Device) -> pantile::Result<Outputs> {
    let args: Vec<Arg<'_>> = draw.args.iter().map(Owned::as_arg).collect();
    let Draw { bindings, .. } = draw;
    let generics = bindings.ints.iter().filter(|(name, _)| signature.generic(name).is_some());
    let ints = generics.chain(&bindings.extents).map(|(name, n)| (name, Constant::Int(*n)));
    let dtypes = bindings.dtypes.iter().map(|(name, d)| (name, Constant::DType(*d)));
    let fixed: Vec<_> = ints.chain(dtypes).collect();
    match module.compiled().pipeline(&signature.name) {
        Some(_) => {
            let pipeline = module.pipeline(&signature.name)?;
            fixed.into_iter().fold(pipeline, |p, (name, value)| p.with(name, value)).on(device).call(args)
        }
        None => {
            let kernel = module.kernel(&signature.name)?;
            fixed.into_iter().fold(kernel, |k, (name, value)| k.with(name, value)).on(device).call(args)
        }
    }
}

/// What came of the cases of an item.
#[derive(Default)]
struct Tally<'a> {
    name: &'a str,
    dtype: &'a str,
    compared: usize,
    wrong: usize,
    worst: f64,
    allowed: f64,
}

impl Tally<'_> {
    fn add(&mut self, sizes: &Sizes, verdict: Verdict, dtype: Option<DType>, failures: &mut Vec<String>) {
        self.allowed = allowed(dtype);
        let mut fail = |why: String| {
            self.wrong += 1;
            failures.push(format!("{} {} at `{}`: {why}", self.name, self.dtype, sizes.name));
        };
        match verdict {
            Verdict::BothRefuse => {}
            Verdict::Wrong(why) => fail(why),
            Verdict::Distance(far) => {
                self.compared += 1;
                self.worst = self.worst.max(far);
                if far > self.allowed {
                    fail(format!("off by {far:.1e} of the largest element, {:.1e} is allowed", self.allowed));
                }
            }
        }
    }

    fn show(&self, failures: &mut Vec<String>) {
        // A dtype that the item refuses in all cases has no row, unless it is the only one.
        if self.compared == 0 && self.wrong == 0 {
            if self.dtype.is_empty() || self.dtype == "order" {
                failures.push(format!("{}: no case could be compared", self.name));
            }
            return;
        }
        let Self { name, dtype, compared, wrong, worst, allowed } = self;
        let end = if *wrong == 0 { String::new() } else { format!("  {wrong} WRONG") };
        screen::line(&format!("{name:28} {dtype:8} {compared:>5} {worst:>10.1e} {allowed:>10.1e}{end}"));
    }
}
