//! Every kernel of `kernels/` and of `tests/suite/run/`: where they are, what they are specialised with, and random arguments
//! for them. What is done with them is the tests' business.

use std::fs;
use std::path::{Path, PathBuf};

use pantile_compiler::{Bindings, GenericKind, Module, Signature};
use pantile_diag::render_short;
use pantile_interp::{Arg, Array, Data, MaskArray, order_table};
use pantile_ir::{Axis, DType, Func, Kind, ParamKind, Scalar, eval};

/// The folders whose kernels are run.
const FOLDERS: [&str; 2] = ["kernels", "tests/suite/run"];

/// Their files, in order.
pub fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let inside = |folder| fs::read_dir(root.join(folder)).expect("a folder of the project").flatten().map(|e| e.path());
    let mut files: Vec<PathBuf> = FOLDERS.into_iter().flat_map(inside).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "tile"));
    files.sort();
    files
}

/// The module of a file, which has no faults.
pub fn load(file: &Path) -> Module {
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
pub fn dtypes(kernel: &Signature) -> Vec<DType> {
    let admits = |d: &DType| {
        kernel.generics.iter().all(|g| match g.kind {
            GenericKind::DType(class) => class.admits(*d),
            GenericKind::Int(_) => true,
        })
    };
    let generic = kernel.generics.iter().any(|g| matches!(g.kind, GenericKind::DType(_)));
    if generic { DType::ALL.iter().copied().filter(admits).collect() } else { vec![DType::F32] }
}

/// What a kernel is specialised with: blocks of so many at most, extents of one size.
pub fn bindings(kernel: &Signature, dtype: DType, size: i64, block: i64) -> Bindings {
    let mut bind = Bindings::default();
    for generic in &kernel.generics {
        match generic.kind {
            GenericKind::DType(_) => drop(bind.dtypes.insert(generic.name.clone(), dtype)),
            GenericKind::Int(default) => {
                let size = default.map_or(block, |d| d.min(block));
                bind.ints.insert(generic.name.clone(), size);
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

/// Random arguments.
pub fn arguments(func: &Func, extents: &[i64]) -> Vec<Arg> {
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
pub fn tolerance(func: &Func) -> Vec<f64> {
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
pub fn walks(func: &Func) -> Result<Vec<Vec<i32>>, String> {
    func.orders.iter().map(order_table).collect::<Result<_, _>>().map_err(|fault| fault.message)
}
