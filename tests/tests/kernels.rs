//! Every kernel of `kernels/` and of `tests/suite/run/` in every dtype at awkward sizes: the interpreter before and after
//! passes, and machine code in three memory layouts, agree. A kernel added there is covered without a line here.

use std::fs;
use std::path::{Path, PathBuf};

use pantile_compiler::passes::{Options, optimise};
use pantile_compiler::{Bindings, GenericKind, Module, Signature};
use pantile_diag::render_short;
use pantile_interp::{Arg, Array, Data, MaskArray, order_table};
use pantile_ir::{Axis, DType, Func, Kind, ParamKind, Scalar, eval, verify};
use pantile_tests::execute::{Layout, Outcome, difference, interpret, on_cpu};
use pantile_tests::padded;

/// Blocks are of this many, so that the sizes below stand around them.
const BLOCK: i64 = 8;

/// Empty, one, one less than a block, a block, one more, a prime.
const SIZES: [i64; 6] = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 13];

/// The folders whose kernels are run.
const FOLDERS: [&str; 2] = ["kernels", "tests/suite/run"];

fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let inside = |folder| fs::read_dir(root.join(folder)).expect("a folder of the project").flatten().map(|e| e.path());
    let mut files: Vec<PathBuf> = FOLDERS.into_iter().flat_map(inside).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "tile"));
    files.sort();
    files
}

fn load(file: &Path) -> Module {
    let folder = file.parent().expect("a file lies in a folder");
    let text = fs::read_to_string(file).expect("a file of the project");
    let mut find = |name: &str| {
        let name = Path::new(name).file_name().expect("an import names a file");
        fs::read_to_string(folder.join(name)).map_err(|e| e.to_string())
    };
    let loaded = Module::load(&file.to_string_lossy(), &text, &mut find);
    assert!(loaded.diagnostics.is_empty(), "{}", render_short(&loaded.diagnostics, &loaded.sources));
    loaded.module.expect("a module without errors")
}

/// Each dtype that the kernel's generics admit; all of them at once.
fn dtypes(kernel: &Signature) -> Vec<DType> {
    let admits = |d: &DType| {
        kernel.generics.iter().all(|g| match g.kind {
            GenericKind::DType(class) => class.admits(*d),
            GenericKind::Int(_) => true,
        })
    };
    let generic = kernel.generics.iter().any(|g| matches!(g.kind, GenericKind::DType(_)));
    if generic { DType::ALL.iter().copied().filter(admits).collect() } else { vec![DType::F32] }
}

fn bindings(kernel: &Signature, dtype: DType, size: i64) -> Bindings {
    let mut bind = Bindings::default();
    for generic in &kernel.generics {
        match generic.kind {
            GenericKind::DType(_) => drop(bind.dtypes.insert(generic.name.clone(), dtype)),
            GenericKind::Int(default) => {
                let block = default.map_or(BLOCK, |d| d.min(BLOCK));
                bind.ints.insert(generic.name.clone(), block);
            }
        }
    }
    for extent in kernel.extents() {
        // An extent that the code needs as a number is that of a whole tile, which has at least one element.
        let least = i64::from(kernel.constants.iter().any(|c| c == extent));
        bind.extents.insert(extent.into(), size.max(least));
    }
    bind
}

/// Numbers that look random and are the same on every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn scalar(&mut self, dtype: DType) -> Scalar {
        let n = self.next();
        match dtype.kind() {
            Kind::Bool => Scalar::Bool(n.is_multiple_of(2)),
            Kind::Float => Scalar::Float(eval::round(dtype, (n % 4001) as f64 / 2000.0 - 1.0)),
            Kind::Signed | Kind::Unsigned => Scalar::Int(1 + (n % 5) as i64),
        }
    }
}

fn arguments(func: &Func, extents: &[i64]) -> Vec<Arg> {
    let mut noise = Noise(extents.iter().sum::<i64>() as u64 + func.params.len() as u64);
    let shape = |axes: &[Axis]| axes.iter().map(|a| func.axis_size(*a, extents) as usize).collect::<Vec<_>>();
    let mut arg = |kind: &ParamKind, out: bool| match kind {
        ParamKind::Scalar(dtype, _) => Arg::Scalar(noise.scalar(*dtype)),
        ParamKind::Tensor(dtype, axes) => {
            let mut array = Array::zeros(*dtype, &shape(axes));
            if !out {
                let count = array.data.len();
                array.data = Data::from_scalars(*dtype, (0..count).map(|_| noise.scalar(*dtype)));
            }
            Arg::Tensor(array)
        }
        ParamKind::Mask(axes) => {
            let mut mask = MaskArray::empty(&shape(axes));
            if !out {
                mask.bits.iter_mut().for_each(|b| *b = noise.next().is_multiple_of(3));
            }
            Arg::Mask(mask)
        }
    };
    func.params.iter().map(|p| arg(&p.kind, p.out)).collect()
}

/// How far two honest implementations may differ: a few roundings of the output's dtype at the size of results here.
fn tolerance(func: &Func) -> Vec<f64> {
    let step = |dtype: DType| match dtype {
        DType::F32 | DType::F64 => 2e-5, // what is f64 outside is computed in f32 by most of them
        DType::F16 => 2e-2,
        DType::BF16 => 1e-1,
        DType::F8E4M3 | DType::F8E5M2 => 2.0,
        DType::Bool => 0.0,
        DType::I8 | DType::I16 | DType::I32 | DType::I64 | DType::U8 | DType::U16 | DType::U32 | DType::U64 => 0.0,
    };
    let of = |kind: &ParamKind| match kind {
        ParamKind::Scalar(dtype, _) | ParamKind::Tensor(dtype, _) => step(*dtype),
        ParamKind::Mask(_) => 0.0,
    };
    func.params.iter().map(|p| of(&p.kind)).collect()
}

/// The tables of the orders that a kernel walks.
fn walks(func: &Func) -> Result<Vec<Vec<i32>>, String> {
    func.orders.iter().map(order_table).collect::<Result<_, _>>().map_err(|fault| fault.message)
}

/// What is wrong with a kernel in one specialisation, if anything is; else how many selects it ran for padding.
fn check(module: &Module, kernel: &Signature, bind: &Bindings) -> Result<u64, String> {
    let func = module.elaborate_only(&kernel.name, bind).map_err(|d| format!("{d:?}"))?;
    verify(&func).map_err(|why| why.join("; "))?;
    let extents: Vec<i64> = func
        .extents
        .iter()
        .map(|e| e.known.unwrap_or_else(|| bind.extents.get(&e.name).copied().unwrap_or(0)))
        .collect();
    let args = arguments(&func, &extents);
    let tolerance = tolerance(&func);
    let walks = walks(&func)?;
    let reference = match interpret(&func, &extents, &walks, &args) {
        Outcome::Done(args) => args,
        Outcome::Fault(why) => return Err(format!("the interpreter faults: {why}")),
    };
    let agree = |who: &str, outcome: Outcome| match outcome {
        Outcome::Fault(why) => Err(format!("{who} faults: {why}")),
        Outcome::Done(got) => {
            difference(&func, &reference, &got, &tolerance).map_or(Ok(()), |d| Err(format!("{who}: {d}")))
        }
    };
    let mut after = func.clone();
    let report = optimise(&mut after, &Options::default());
    if let Some(bug) = report.bug {
        return Err(format!("{} breaks rules: {}", bug.pass, bug.rules.join("; ")));
    }
    agree("machine code before passes", on_cpu(&func, &extents, &walks, &args, Layout::Dense)?)?;
    let walks = self::walks(&after)?;
    let mut paid = 0;
    for lanes in padded::LANES {
        let padded = padded::pad(&after, lanes)?;
        let (outcome, selects) = padded::interpret(&padded, lanes, 1, (&extents, &walks, &args));
        agree(&format!("tiles of {lanes:?} lanes"), outcome)?;
        if selects.in_full_blocks > 0 {
            return Err(format!("tiles of {lanes:?} lanes: {} selects in full blocks", selects.in_full_blocks));
        }
        paid += selects.in_others;
    }
    agree("the interpreter after passes", interpret(&after, &extents, &walks, &args))?;
    for layout in [Layout::Dense, Layout::Reversed, Layout::Spread] {
        agree(&format!("machine code, {layout:?}"), on_cpu(&after, &extents, &walks, &args, layout)?)?;
    }
    Ok(paid)
}

#[test]
fn kernels_agree_everywhere() {
    let (mut failed, mut count, mut paid) = (Vec::new(), 0, 0);
    for file in files() {
        let (module, file) = (load(&file), file.display());
        for kernel in module.kernels() {
            for dtype in dtypes(kernel) {
                for size in SIZES {
                    count += 1;
                    match check(&module, kernel, &bindings(kernel, dtype, size)) {
                        Ok(selects) => paid += u64::from(selects > 0),
                        Err(why) => failed.push(format!("{file}: {} of {dtype} at {size}: {why}", kernel.name)),
                    }
                }
            }
        }
    }
    assert!(failed.is_empty(), "{} of {count} fail:\n{}", failed.len(), failed.join("\n"));
    assert!(count > 900, "only {count} cases");
    assert!(paid > 100, "only {paid} cases needed a select in padding");
}
