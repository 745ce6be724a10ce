//! Runs one kernel on the interpreter and as machine code, on the same made-up arguments, and compares every output. It
//! knows no kernel.

#![allow(unsafe_code, reason = "machine code runs on memory that this file owns")]

use std::collections::BTreeMap;
use std::sync::Arc;

use pantile_compiler::{Bindings, Module};
use pantile_cpu::{Arg, Kernel, Launch, Options};
use pantile_interp as interp;
use pantile_ir::{BlockTable, DType, Func, ParamKind, Scalar, eval};

/// How one kernel is run.
#[derive(Clone, Default)]
pub struct Case {
    /// Constants, dtypes, extents and walks.
    pub bindings: Bindings,
    /// Scalar arguments by name; others are made up.
    pub scalars: BTreeMap<String, Scalar>,
    /// Distance between elements along each tensor's last axis: 1 is dense.
    pub spread: usize,
    /// The fraction of kept blocks of mask arguments, in eighths.
    pub kept: u64,
    /// Every made-up integer is below it.
    pub below: i64,
    /// Bytes for operands that are made ready once.
    pub room: usize,
    /// How many times more than usual sums may differ: long ones do.
    pub loose: f64,
}

impl Case {
    /// Dense tensors, half of the blocks kept, room for all that is made ready once.
    pub fn new() -> Self {
        Self { spread: 1, kept: 4, below: 100, room: 1 << 30, loose: 1.0, ..Self::default() }
    }

    /// With an extent.
    pub fn extent(mut self, name: &str, n: i64) -> Self {
        self.bindings.extents.insert(name.into(), n);
        self
    }

    /// With extents.
    pub fn extents(self, all: &[(&str, i64)]) -> Self {
        all.iter().fold(self, |case, (name, n)| case.extent(name, *n))
    }

    /// With integer constants.
    pub fn ints(mut self, all: &[(&str, i64)]) -> Self {
        self.bindings.ints.extend(all.iter().map(|(name, n)| ((*name).to_owned(), *n)));
        self
    }

    /// With a dtype for `T`.
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.bindings.dtypes.insert("T".into(), dtype);
        self
    }

    /// With a scalar argument.
    pub fn scalar(mut self, name: &str, x: Scalar) -> Self {
        self.scalars.insert(name.into(), x);
        self
    }
}

/// Loads a program that must be right.
pub fn load(text: &str) -> Module {
    let loader = |path: &str| std::fs::read_to_string(kernels().join(path)).map_err(|e| e.to_string());
    let loaded = Module::load("test.tile", text, &mut { loader });
    if let Some(module) = loaded.module {
        return module;
    }
    let said: Vec<String> =
        loaded.diagnostics.iter().map(|d| format!("{} {} {:?}", d.code, d.message, d.help)).collect();
    panic!("refused: {}", said.join("\n"));
}

/// Tries all bodies, then says which failed.
pub fn all(bodies: &[&str], attempt: impl Fn(&str) + std::panic::RefUnwindSafe) {
    let failed = bodies.iter().filter_map(|body| {
        let outcome = std::panic::catch_unwind(|| attempt(body));
        let why = outcome.err()?;
        let why = why.downcast_ref::<String>().map_or("a panic", String::as_str);
        Some(format!("FAILS: {body}\n{}", &why[..why.floor_char_boundary(1500)]))
    });
    let failed: Vec<String> = failed.collect();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// Loads one of the shipped files.
pub fn shipped(file: &str) -> Module {
    load(&std::fs::read_to_string(kernels().join(file)).expect("a shipped file"))
}

fn kernels() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kernels")
}

/// A stream of made-up numbers.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    fn scalar(&mut self, dtype: DType, below: i64) -> Scalar {
        let n = self.next();
        match dtype.kind() {
            pantile_ir::Kind::Bool => Scalar::Bool(n.is_multiple_of(2)),
            pantile_ir::Kind::Unsigned => Scalar::Int((n % below.max(1) as u64) as i64),
            pantile_ir::Kind::Signed => Scalar::Int(eval::wrap(dtype, (n % below.max(1) as u64) as i64 - below / 3)),
            pantile_ir::Kind::Float => {
                let x = (n % 4096) as f64 / 1024.0 - 2.0;
                Scalar::Float(eval::round(dtype, x))
            }
        }
    }
}

/// A tensor's or mask's memory.
/// A line of the caches: tensors begin with one, so that their outputs can go around them.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

enum Memory {
    Scalar(u64),
    Tensor { bytes: Vec<Line>, strides: Vec<i64>, shape: Vec<usize>, dtype: DType },
    Mask { bits: Vec<u8>, count: Vec<i32>, list: Vec<i32>, shape: Vec<usize> },
}

fn raw(dtype: DType, x: Scalar) -> u64 {
    let mut bytes = [0u8; 8];
    eval::encode(dtype, x, &mut bytes[..dtype.bytes()]);
    u64::from_le_bytes(bytes)
}

fn address(shape: &[usize], strides: &[i64], mut n: usize) -> usize {
    let mut at = 0;
    for (size, stride) in shape.iter().zip(strides).rev() {
        at += (n % size) as i64 * stride;
        n /= size;
    }
    at as usize
}

impl Memory {
    fn new(arg: &interp::Arg, spread: usize) -> Self {
        match arg {
            interp::Arg::Scalar(_) => unreachable!("scalars are made by their dtype"),
            interp::Arg::Tensor(array) => {
                let mut strides = vec![spread as i64; array.shape.len()];
                for n in (0..array.shape.len().saturating_sub(1)).rev() {
                    strides[n] = strides[n + 1] * array.shape[n + 1].max(1) as i64;
                }
                let (size, count) = (array.dtype.bytes(), array.data.len());
                let mut bytes = vec![0u8; (count * spread + 1) * size];
                for n in 0..count {
                    let at = address(&array.shape, &strides, n) * size;
                    eval::encode(array.dtype, array.data.get(n), &mut bytes[at..at + size]);
                }
                let lines = bytes.chunks(64).map(|c| {
                    let mut line = Line([0; 64]);
                    line.0[..c.len()].copy_from_slice(c);
                    line
                });
                let bytes = lines.collect();
                Memory::Tensor { bytes, strides, shape: array.shape.clone(), dtype: array.dtype }
            }
            interp::Arg::Mask(mask) => {
                let width = mask.shape.last().copied().unwrap_or(0);
                let rows: usize = mask.shape[..mask.shape.len().saturating_sub(1)].iter().product();
                let (mut count, mut list) = (vec![0; rows], vec![0; mask.bits.len()]);
                for row in 0..rows {
                    for column in (0..width).filter(|c| mask.bits[row * width + c]) {
                        list[row * width + count[row] as usize] = column as i32;
                        count[row] += 1;
                    }
                }
                let bits = mask.bits.iter().map(|b| u8::from(*b)).collect();
                Memory::Mask { bits, count, list, shape: mask.shape.clone() }
            }
        }
    }

    fn arg(&mut self) -> Arg {
        match self {
            Memory::Scalar(bits) => Arg::Scalar(*bits),
            Memory::Tensor { bytes, strides, .. } => {
                Arg::Tensor { data: bytes.as_mut_ptr().cast(), strides: strides.clone() }
            }
            Memory::Mask { bits, count, list, .. } => {
                Arg::Mask { bits: bits.as_mut_ptr(), count: count.as_mut_ptr(), list: list.as_mut_ptr() }
            }
        }
    }

    fn elements(&self) -> Vec<Scalar> {
        let Memory::Tensor { bytes, strides, shape, dtype } = self else { return Vec::new() };
        let bytes: Vec<u8> = bytes.iter().flat_map(|line| line.0).collect();
        let count: usize = shape.iter().product();
        let size = dtype.bytes();
        (0..count)
            .map(|n| {
                let at = address(shape, strides, n) * size;
                eval::decode(*dtype, &bytes[at..at + size])
            })
            .collect()
    }
}

/// The numbers of a function's extents in a case.
fn extents(func: &Func, case: &Case) -> Vec<i64> {
    let number = |e: &pantile_ir::Extent| {
        let given = case.bindings.extents.get(&e.name).copied();
        given.or(e.known).or_else(|| e.name.parse().ok()).unwrap_or_else(|| panic!("extent {} is not given", e.name))
    };
    func.extents.iter().map(number).collect()
}

/// Elaborates and compares.
pub fn compare(module: &Module, kernel: &str, case: &Case) {
    let func = module.specialise(kernel, &case.bindings).unwrap_or_else(|said| {
        let said: Vec<String> = said.iter().map(|d| format!("{d:?}")).collect();
        panic!("{kernel}: {}", said.join("\n"))
    });
    compare_func(&func, case);
}

/// Runs on both and compares.
pub fn compare_func(func: &Func, case: &Case) {
    let (expected, found) = run_both(func, case);
    match (expected, found) {
        (Err(expected), Err(found)) => {
            assert_eq!(expected.span, found.1, "{}: another fault: {} / {}", func.name, expected.message, found.0);
        }
        (Err(expected), Ok(_)) => panic!("{}: only the interpreter faults: {}", func.name, expected.message),
        (Ok(_), Err(found)) => panic!("{}: only machine code faults: {}", func.name, found.0),
        (Ok(expected), Ok(found)) => {
            for (n, param) in func.params.iter().enumerate().filter(|(_, p)| p.out) {
                check(func, &param.name, &expected[n], &found[n], case);
            }
        }
    }
}

/// How often the blocks of each operand that can be made ready once were, in a run of a kernel that takes no masks.
pub fn fills(module: &Module, kernel: &str, case: &Case) -> Vec<Option<u64>> {
    let func = module.specialise(kernel, &case.bindings).expect("right");
    let sizes = extents(&func, case);
    let orders: Vec<Vec<i32>> = func.orders.iter().map(|o| interp::order_table(o).expect("an order's table")).collect();
    let mut numbers = Numbers::new(3);
    let argument = |param: &pantile_ir::Param| match &param.kind {
        ParamKind::Scalar(dtype, _) => Memory::Scalar(raw(*dtype, numbers.scalar(*dtype, case.below))),
        ParamKind::Tensor(_, axes) | ParamKind::Mask(axes) => {
            let shape: Vec<usize> = axes.iter().map(|a| func.axis_size(*a, &sizes) as usize).collect();
            let dtype = if let ParamKind::Tensor(dtype, _) = param.kind { dtype } else { DType::Bool };
            Memory::new(&interp::Arg::Tensor(interp::Array::zeros(dtype, &shape)), case.spread)
        }
    };
    let mut memory: Vec<Memory> = func.params.iter().map(argument).collect();
    run_compiled(&func, &sizes, &orders, &mut memory, case.room).expect("no fault")
}

type Outcome<T, F> = Result<Vec<T>, F>;

fn run_both(
    func: &Func,
    case: &Case,
) -> (Outcome<interp::Arg, interp::Fault>, Outcome<Memory, (String, pantile_diag::Span)>) {
    let sizes = extents(func, case);
    let mut numbers = Numbers::new(func.name.len() as u64 + 7);
    let mut args = Vec::new();
    let mut memory = Vec::new();
    for param in &func.params {
        let shape = |axes: &[pantile_ir::Axis]| -> Vec<usize> {
            axes.iter().map(|a| func.axis_size(*a, &sizes) as usize).collect()
        };
        let arg = match &param.kind {
            ParamKind::Scalar(dtype, _) => {
                let x = case.scalars.get(&param.name).copied().unwrap_or_else(|| numbers.scalar(*dtype, case.below));
                memory.push(Memory::Scalar(raw(*dtype, x)));
                args.push(interp::Arg::Scalar(x));
                continue;
            }
            ParamKind::Tensor(dtype, axes) => {
                let mut array = interp::Array::zeros(*dtype, &shape(axes));
                for n in 0..array.data.len() {
                    let x = numbers.scalar(*dtype, case.below);
                    array.data.set(n, x);
                }
                interp::Arg::Tensor(array)
            }
            ParamKind::Mask(axes) => {
                let mut mask = interp::MaskArray::empty(&shape(axes));
                if !param.out {
                    mask.bits.iter_mut().for_each(|b| *b = numbers.next() % 8 < case.kept);
                }
                interp::Arg::Mask(mask)
            }
        };
        memory.push(Memory::new(&arg, case.spread));
        args.push(arg);
    }
    let orders: Vec<Vec<i32>> = func.orders.iter().map(|o| interp::order_table(o).expect("an order's table")).collect();
    let options = interp::Options { checks: true, races: false };
    let expected = interp::run(func, &sizes, &orders, &mut args, options).map(|()| args);
    let found = run_compiled(func, &sizes, &orders, &mut memory, case.room).map(|_| memory);
    (expected, found)
}

/// Compiles, runs all cells in two parts.
fn run_compiled(
    func: &Func,
    sizes: &[i64],
    orders: &[Vec<i32>],
    memory: &mut [Memory],
    room: usize,
) -> Result<Vec<Option<u64>>, (String, pantile_diag::Span)> {
    let options = Options { checks: true, keep_clif: std::env::var("CLIF").is_ok(), ..Options::default() };
    let kernel: Kernel = match pantile_cpu::compile(func, &options) {
        Ok(kernel) => kernel,
        Err(limit) => panic!("{}: {}\n{}", func.name, limit.message, pantile_ir::print(func)),
    };
    if let Some(clif) = kernel.clif() {
        eprintln!("{}\n{clif}", pantile_ir::print(func));
    }
    let tables: Vec<Option<Arc<BlockTable>>> = func
        .dims
        .iter()
        .map(|d| d.order.map(|o| Arc::new(BlockTable::new(&orders[o.index()], d.size as usize))))
        .collect();
    let orders: Vec<Arc<Vec<i32>>> = orders.iter().map(|o| Arc::new(o.clone())).collect();
    let args: Vec<Arg> = memory.iter_mut().map(Memory::arg).collect();
    let launch = Launch { args: &args, extents: sizes, tables: &tables, orders: &orders };
    let mut words = kernel.words(&launch).expect("a variant");
    let mut hoisted = kernel.hoisted(&words, sizes, room);
    let mut packed = vec![0x7fc0_0000_7fc0_0000u64; hoisted.bytes() / 8 + 16];
    let packed_start = packed.as_mut_ptr().wrapping_add(packed.as_ptr().align_offset(64)).cast::<u8>();
    kernel.hoist(&mut hoisted, packed_start, &mut words);
    let cells: i64 = func
        .grid
        .iter()
        .map(|axis| match axis {
            pantile_ir::GridAxis::Walk(dim) => func.block_count(*dim, sizes),
            pantile_ir::GridAxis::Each(axis, _) => func.axis_size(*axis, sizes),
        })
        .product();
    // Garbage in the arena must not matter; NaNs show where it does.
    let mut arena = vec![0x7fc0_0000_7fc0_0000u64; kernel.arena_bytes(&words) / 8 + 16];
    let offset = arena.as_ptr().align_offset(64);
    let start = arena.as_mut_ptr().wrapping_add(offset).cast::<u8>();
    let first = (cells as u64).div_ceil(2);
    for (streamed, from, count) in [(0, 0, first), (1, first, cells as u64 - first)] {
        // As if the launch were larger than the caches: the second word.
        words[1] = streamed;
        // SAFETY: the words describe memory of this case, shaped by the function's own axes; the arena is big enough.
        let fault = unsafe { kernel.run(&words, start, from, count) };
        if fault != 0 {
            return Err(kernel.fault(&words, fault - 1));
        }
    }
    Ok(hoisted.fills())
}

fn check(func: &Func, name: &str, expected: &interp::Arg, found: &Memory, case: &Case) {
    let place = || format!("{} output {name} ({:?})", func.name, case.bindings.extents);
    match (expected, found) {
        (interp::Arg::Tensor(array), Memory::Tensor { .. }) => {
            let tolerance = match array.dtype {
                DType::F16 => 4e-3,
                DType::BF16 => 3e-2,
                DType::F8E4M3 | DType::F8E5M2 => 0.3,
                DType::F64 => 1e-9,
                DType::F32
                | DType::Bool
                | DType::I8
                | DType::I16
                | DType::I32
                | DType::I64
                | DType::U8
                | DType::U16
                | DType::U32
                | DType::U64 => 2e-5,
            };
            let all = found.elements();
            for (n, b) in all.iter().enumerate() {
                let a = array.data.get(n);
                let same = match (a, *b) {
                    (Scalar::Float(a), Scalar::Float(b)) => {
                        a == b
                            || (a.is_nan() && b.is_nan())
                            || (a - b).abs() <= case.loose * tolerance * a.abs().max(b.abs()).max(1.0)
                    }
                    (a, b) => a == b,
                };
                if !same {
                    let wrong = all.iter().enumerate().filter(|(n, b)| array.data.get(*n) != **b).count();
                    panic!(
                        "{}: element {n} of {:?} is {b:?}, not {a:?} ({wrong} of {} differ)\n{}",
                        place(),
                        array.shape,
                        all.len(),
                        pantile_ir::print(func)
                    );
                }
            }
        }
        (interp::Arg::Mask(mask), Memory::Mask { bits, count, list, shape }) => {
            let width = shape.last().copied().unwrap_or(0);
            for (n, bit) in mask.bits.iter().enumerate() {
                assert_eq!(*bit, bits[n] == 1, "{}: bit {n}", place());
            }
            for (row, bits) in mask.bits.chunks(width.max(1)).enumerate() {
                let kept: Vec<i32> = (0..width as i32).filter(|c| bits[*c as usize]).collect();
                assert_eq!(count[row] as usize, kept.len(), "{}: count of row {row}", place());
                assert_eq!(&list[row * width..][..kept.len()], kept, "{}: list of row {row}", place());
            }
        }
        _ => panic!("{}: a scalar as output", place()),
    }
}
