//! The shipped kernels as PTX and as machine code, made on all cores. What it should be like is not known here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use pantile_compiler::passes::Lanes;
use pantile_compiler::{Bindings, Module, Signature};
use pantile_gpu::{Options, Target, llvm};
use pantile_ir::DType;
use pantile_ptxas::{Report, each, together};
use pantile_tests::cases::{bindings, dtypes, files, load};
use pantile_tests::padded;

/// How large blocks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocks {
    /// By the kernels' own defaults, all extents whole blocks; the machine code is read.
    Shipped,
    /// At most this many, extents ragged around them: assemblers are slow.
    Small,
}

impl Blocks {
    fn bind(self, kernel: &Signature, dtype: DType) -> Bindings {
        match self {
            Blocks::Shipped => bindings(kernel, dtype, 128, i64::MAX),
            Blocks::Small => bindings(kernel, dtype, 24, 16),
        }
    }
}

/// A kernel as code.
pub struct Made {
    pub kernel: String,
    pub dtype: DType,
    pub blocks: Blocks,
    pub target: Target,
    pub threads: u32,
    pub shared: u32,
    pub ptx: String,
    pub report: Report,
    /// What it is called in PTX.
    entry: String,
}

impl Made {
    pub fn is(&self, kernel: &str, dtype: DType) -> bool {
        self.kernel == kernel && self.dtype == dtype
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, dtype, blocks, target, .. } = self;
        write!(f, "{kernel} of {dtype} for {target} ({blocks:?} blocks)")
    }
}

/// Besides the first dtype of each kernel, those whose code is read: products without tensor cores.
const ALSO: &[(&str, DType)] = &[("attention", DType::F32), ("attention_dense", DType::F32), ("matmul", DType::F32)];

/// One dtype in blocks as shipped: bf16 for tensor cores; the others in small ones.
fn blocks(kernel: &Signature, dtype: DType, all: &[DType]) -> Vec<Blocks> {
    let first = all.iter().find(|d| **d == DType::BF16).or(all.first());
    let also = ALSO.iter().any(|(name, d)| *name == kernel.name && *d == dtype);
    match (first == Some(&dtype), also) {
        (true, _) => vec![Blocks::Shipped],
        (false, true) => vec![Blocks::Shipped, Blocks::Small],
        (false, false) => vec![Blocks::Small],
    }
}

/// All kernels of `kernels/`, without machine code, and why some have none that is no fault.
pub fn shipped() -> (Vec<Made>, Vec<String>) {
    let files: Vec<_> = files().into_iter().filter(|f| f.parent().is_some_and(|p| p.ends_with("kernels"))).collect();
    let modules: Vec<Module> = files.iter().map(|file| load(file)).collect();
    let (mut jobs, mut known) = (Vec::new(), BTreeSet::new());
    for module in &modules {
        // Imports show in several modules.
        for kernel in module.kernels().iter().filter(|k| known.insert(k.name.as_str())) {
            let all = dtypes(kernel);
            let cases = all.iter().flat_map(|d| blocks(kernel, *d, &all).into_iter().map(|b| (*d, b)));
            for (dtype, blocks) in cases.collect::<Vec<_>>() {
                jobs.extend(Target::TESTED.iter().map(|target| (module, kernel, dtype, blocks, *target)));
            }
        }
    }
    let made = on_all_cores(&jobs, |job| make(*job));
    let (mut all, mut not) = (Vec::new(), Vec::new());
    made.into_iter().for_each(|one| match one {
        Ok(made) => all.push(made),
        Err(why) => not.push(why),
    });
    (all, not)
}

fn make((module, kernel, dtype, blocks, target): (&Module, &Signature, DType, Blocks, Target)) -> Result<Made, String> {
    let name = &kernel.name;
    let none = |why: String| format!("{name} of {dtype} for {target}, {blocks:?} blocks: {why}");
    let bind = blocks.bind(kernel, dtype);
    let func = module.specialise(name, &bind).map_err(|_| none("these bindings are impossible".into()))?;
    let func = padded::pad(&func, Lanes::PowersOfTwo).map_err(none)?;
    let made = pantile_gpu::compile(&func, &Options::new(target)).and_then(|made| made.best());
    let mut program = made.map_err(|limit| none(limit.message))?.program.clone();
    program.name = format!("{name}_{dtype}");
    let ptx = llvm::ptx(&program, target, &llvm::Options::default());
    let ptx = ptx.unwrap_or_else(|e| panic!("{name} of {dtype} for {target}: {e}\n{program}")).text;
    Ok(Made {
        kernel: name.clone(),
        dtype,
        blocks,
        target,
        threads: program.threads,
        shared: program.shared,
        ptx,
        report: Report::default(),
        entry: program.name,
    })
}

/// Assembles all. Kernels are put together as far as that leaves each core its share.
pub fn assembled(ptxas: &Path, all: &mut [Made]) {
    const PART: usize = 40;
    let mut groups: BTreeMap<(Blocks, Target), Vec<usize>> = BTreeMap::new();
    all.iter().enumerate().for_each(|(n, m)| groups.entry((m.blocks, m.target)).or_default().push(n));
    let parts: Vec<Vec<usize>> = groups.values().flat_map(|g| g.chunks(PART)).map(<[usize]>::to_vec).collect();
    let made = on_all_cores(&parts, |part| {
        let (first, texts) = (&all[part[0]], part.iter().map(|n| all[*n].ptx.clone()).collect::<Vec<_>>());
        each(ptxas, &together(&texts), first.target, first.blocks == Blocks::Shipped)
            .unwrap_or_else(|e| panic!("{:?} blocks for {}: {e}", first.blocks, first.target))
    });
    for (part, mut reports) in parts.iter().zip(made) {
        for n in part {
            let made = &mut all[*n];
            made.report = reports.remove(&made.entry).unwrap_or_else(|| panic!("{made}: the assembler passes it over"));
        }
    }
}

/// Results in the order of the items.
fn on_all_cores<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let worker = || {
        while let Some((n, item)) = items.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed)) {
            let result = work(item);
            done.lock().expect("no worker has panicked").push((n, result));
        }
    };
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (0..cores).for_each(|_| drop(scope.spawn(worker)));
    });
    let mut done = done.into_inner().expect("no worker has panicked");
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, result)| result).collect()
}
