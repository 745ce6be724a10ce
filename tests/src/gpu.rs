//! Runs a launch of the interpreter's arguments as the threads of a GPU would, in the emulator. What a result should be is not
//! decided here.

use pantile_gpu::emulate::{self, Memory, Report};
use pantile_gpu::{Arg, Launch, MAP_BYTES, Options, PRINT_BYTES, Target, compile};
use pantile_interp::{self as interp};
use pantile_ir::{BlockTable, DType, Func, ParamKind};

use crate::execute::{self, Layout, Outcome};
use crate::padded;
use pantile_compiler::passes::Lanes;

/// Compiles for a target, and runs all blocks in an order and with interleavings that the seed picks.
///
/// # Errors
/// A limit of the back end, whatever the emulator finds wrong, a byte touched that is none of the kernel's.
pub fn on_gpu(
    func: &Func,
    launch: (&[i64], &[Vec<i32>], &[interp::Arg]),
    layout: Layout,
    target: Target,
    seed: u64,
) -> Result<Outcome, String> {
    on_gpu_with(func, launch, layout, &Options { checks: true, ..Options::new(target) }, seed)
}

/// The same with options of the back end.
///
/// # Errors
/// As [`on_gpu`].
pub fn on_gpu_with(
    func: &Func,
    launch: (&[i64], &[Vec<i32>], &[interp::Arg]),
    layout: Layout,
    options: &Options,
    seed: u64,
) -> Result<Outcome, String> {
    reported(func, launch, layout, options, seed).map(|(outcome, _)| outcome)
}

/// The lines that a launch prints.
///
/// # Errors
/// As [`on_gpu`].
pub fn printed(
    func: &Func,
    launch: (&[i64], &[Vec<i32>], &[interp::Arg]),
    options: &Options,
    seed: u64,
) -> Result<Vec<String>, String> {
    run(func, launch, Layout::Dense, options, seed).map(|ran| ran.2)
}

/// The same, and what the threads did.
///
/// # Errors
/// As [`on_gpu`].
pub fn reported(
    func: &Func,
    launch: (&[i64], &[Vec<i32>], &[interp::Arg]),
    layout: Layout,
    options: &Options,
    seed: u64,
) -> Result<(Outcome, Report), String> {
    run(func, launch, layout, options, seed).map(|(outcome, report, _)| (outcome, report))
}

fn run(
    func: &Func,
    (extents, orders, args): (&[i64], &[Vec<i32>], &[interp::Arg]),
    layout: Layout,
    options: &Options,
    seed: u64,
) -> Result<(Outcome, Report, Vec<String>), String> {
    let func = &padded::pad(func, Lanes::PowersOfTwo)?;
    let kernel = compile(func, options).map_err(|l| l.message)?;
    let dtypes = func.params.iter().map(|p| match &p.kind {
        ParamKind::Scalar(dtype, _) | ParamKind::Tensor(dtype, _) => *dtype,
        ParamKind::Mask(_) => DType::Bool,
    });
    let host: Vec<execute::Memory> = args.iter().zip(dtypes).map(|(a, d)| execute::Memory::new(a, d, layout)).collect();
    let mut memory = Memory::new();
    let placed: Vec<Arg> = host.iter().map(|m| place(&mut memory, m)).collect();
    let mut words = |n: &[i32]| memory.alloc_with(&n.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>());
    let table = |d: &pantile_ir::Dim| d.order.map(|o| BlockTable::new(&orders[o.index()], d.size as usize));
    let tables: Vec<_> =
        func.dims.iter().map(|d| table(d).map(|t| [&t.elem, &t.pos, &t.len].map(|column| words(column)))).collect();
    let orders: Vec<u64> = orders.iter().map(|o| words(o)).collect();
    let fault = words(&[0, 0]);
    let print = if kernel.prints() { memory.alloc(PRINT_BYTES as usize) } else { 0 };
    if kernel.prints() && !memory.write(print, &[0; 16]) {
        return Err("there is no room for prints".into());
    }
    let launch = Launch { args: &placed, extents, tables: &tables, orders: &orders, fault, print };
    let packed = kernel.pack(&launch).map_err(|l| l.message)?;
    let program = &packed.variant.program;
    program.verify().map_err(|e| e.to_string())?;
    let options = emulate::Options::seeded(seed);
    let blocks = u32::try_from(packed.blocks).map_err(|e| e.to_string())?;
    let maps = kernel.maps(&packed.variant, &launch).map_err(|l| l.message)?;
    let count = maps.len();
    let maps = memory.tensor_maps(&maps);
    let maps = (0..count).map(|n| maps + (n * MAP_BYTES) as u64);
    let words: Vec<u64> = packed.words.iter().copied().chain(maps).collect();
    let report = emulate::run(program, blocks, &words, &mut memory, &options).map_err(|e| e.to_string())?;
    let buffer = if kernel.prints() { memory.read(print, PRINT_BYTES as usize) } else { None };
    let said = buffer.map_or_else(Vec::new, |buffer| packed.variant.printed(buffer));
    if let Some((code, _)) = report.fault {
        return Ok((Outcome::Fault(packed.variant.fault(code).0), report, said));
    }
    let read = |(m, (arg, placed)): (&execute::Memory, (&interp::Arg, &Arg))| fetch(&memory, m, placed)?.read(arg);
    let arrays = host.iter().zip(args.iter().zip(&placed)).map(read).collect::<Result<_, String>>()?;
    Ok((Outcome::Done(arrays), report, said))
}

fn place(memory: &mut Memory, from: &execute::Memory) -> Arg {
    match from {
        execute::Memory::Scalar(bits) => Arg::Scalar(*bits),
        execute::Memory::Tensor { words, strides, .. } => {
            let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
            Arg::Tensor { data: memory.alloc_with(&bytes), strides: strides.clone() }
        }
        execute::Memory::Mask { bits, count, list, .. } => {
            let mut words = |n: &[i32]| memory.alloc_with(&n.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>());
            let (count, list) = (words(count), words(list));
            Arg::Mask { bits: memory.alloc_with(bits), count, list }
        }
    }
}

/// What an argument is afterwards.
fn fetch(memory: &Memory, before: &execute::Memory, at: &Arg) -> Result<execute::Memory, String> {
    let bytes = |address: u64, len: usize| memory.read(address, len).ok_or_else(|| "an argument is lost".to_owned());
    let words = |address: u64, len: usize| -> Result<Vec<i32>, String> {
        let (chunks, _) = bytes(address, 4 * len)?.as_chunks::<4>();
        Ok(chunks.iter().map(|w| i32::from_le_bytes(*w)).collect())
    };
    Ok(match (before, at) {
        (execute::Memory::Tensor { words, strides, like }, Arg::Tensor { data, .. }) => {
            let (chunks, _) = bytes(*data, 8 * words.len())?.as_chunks::<8>();
            let words = chunks.iter().map(|w| u64::from_le_bytes(*w)).collect();
            execute::Memory::Tensor { words, strides: strides.clone(), like: like.clone() }
        }
        (execute::Memory::Mask { bits: b, count: c, list: l, shape }, Arg::Mask { bits, count, list }) => {
            let bits = bytes(*bits, b.len())?.to_vec();
            let (count, list) = (words(*count, c.len())?, words(*list, l.len())?);
            execute::Memory::Mask { bits, count, list, shape: shape.clone() }
        }
        (execute::Memory::Scalar(bits), _) => execute::Memory::Scalar(*bits),
        (execute::Memory::Tensor { .. } | execute::Memory::Mask { .. }, _) => return Err("not its argument".into()),
    })
}
