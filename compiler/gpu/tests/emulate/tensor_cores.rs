//! Products on tensor cores against plain sums: `ldmatrix` and `mma.sync` by what the ISA says of fragments, `wgmma` with
//! operands that plain stores or copies laid out. Orders and fences that they need are tested here, too.

use crate::support::{Numbers, act, give, lane, mine, program, put, run, thread, words};
use pantile_gpu::Swizzle;
use pantile_gpu::emulate::{ErrorKind, Memory};
use pantile_gpu::simt::{Binary, Builder, Convert, Mma, Op, Program, Small, Space, Ty, Value, Wgmma, WgmmaLeft};

/// Small whole numbers, which all dtypes hold, and whose sums are exact.
fn numbers(count: usize, seed: u64) -> Vec<i32> {
    let mut random = Numbers(seed);
    (0..count).map(|_| (random.next() % 9) as i32 - 4).collect()
}

fn half(x: i32) -> u32 {
    let packed = [0x0000, 0x3c00, 0x4000, 0x4200, 0x4400][x.unsigned_abs() as usize];
    packed | if x < 0 { 0x8000 } else { 0 }
}

/// The bits of a whole number from -4 to 4, and how many bytes they take.
fn encode(mma: Mma, left: bool, x: i32) -> (u32, usize) {
    let sign = |width: u32| if x < 0 { 1u32 << (width - 1) } else { 0 };
    let size = x.unsigned_abs() as usize;
    match mma {
        Mma::F16 => (half(x), 2),
        Mma::BF16 => ((x as f32).to_bits() >> 16, 2),
        Mma::TF32 => ((x as f32).to_bits() | 0x7, 4),
        Mma::F8(a, b) => match if left { a } else { b } {
            Small::F8E4M3 => ([0, 0x38, 0x40, 0x44, 0x48][size] | sign(8), 1),
            Small::F8E5M2 | Small::F16 | Small::BF16 => (half(x) >> 8, 1),
        },
        Mma::I8(a, b) => ((if if left { a } else { b } { x } else { x & 0x83 }) as u32 & 0xff, 1),
    }
}

fn decode(mma: Mma, left: bool, x: i32) -> i32 {
    match mma {
        Mma::I8(a, b) if !(if left { a } else { b }) => x & 0x83,
        Mma::F16 | Mma::BF16 | Mma::TF32 | Mma::F8(..) | Mma::I8(..) => x,
    }
}

/// One product of a warp, its fragments gathered from row-major matrices by the lane's number alone.
fn product(mma: Mma) {
    let (element, depth) = match mma {
        Mma::F16 | Mma::BF16 => (2, 16),
        Mma::TF32 => (4, 8),
        Mma::F8(..) | Mma::I8(..) => (1, 32),
    };
    let (a, b, c) = (numbers(16 * depth, 5), numbers(depth * 8, 6), numbers(128, 7));
    let fragment = |rows: usize, left: bool, at: &dyn Fn(usize, usize, usize) -> i32| -> Vec<u32> {
        // For each lane and register, the elements one after the other.
        let each = 4 / element;
        let mut all = Vec::new();
        for lane in 0..32 {
            for register in 0..rows {
                let bits = (0..each).map(|n| encode(mma, left, at(lane, register, n)).0 << (8 * element * n));
                all.push(bits.sum::<u32>());
            }
        }
        all
    };
    // mma.m16n8kK: a register holds 4 bytes along k of one row; registers 0 and 1 differ in 8 rows, 0 and 2 in half of k.
    let k = |lane: usize, half: usize, n: usize| half * depth / 2 + lane % 4 * (4 / element) + n;
    let a_regs = fragment(4, true, &|lane, r, n| a[(lane / 4 + r % 2 * 8) * depth + k(lane, r / 2, n)]);
    let b_regs = fragment(2, false, &|lane, r, n| b[k(lane, r, n) * 8 + lane / 4]);
    let place = |lane: usize, r: usize| (lane / 4 + r / 2 * 8) * 8 + lane % 4 * 2 + r % 2;
    let integers = matches!(mma, Mma::I8(..));
    let number = |x: i32| if integers { x as u32 } else { (x as f32).to_bits() };
    let c_regs: Vec<u32> = (0..128).map(|n| number(c[place(n / 4, n % 4)])).collect();
    let program = program(32, 0, |bd| {
        let load = |bd: &mut Builder, word: u32, count: usize, float: bool| -> Vec<Value> {
            let base = mine(bd, word, 4 * count as i64);
            let got = bd.load(Space::Global, 32, count as u8, base, None);
            let cast = |v: Value, bd: &mut Builder| if float { bd.convert(Convert::Bits(Ty::F32), v) } else { v };
            got.into_iter().map(|v| cast(v, bd)).collect()
        };
        let mut args = load(bd, 0, 4, false);
        args.extend(load(bd, 1, 2, false));
        args.extend(load(bd, 2, 4, !integers));
        let ty = if integers { Ty::I32 } else { Ty::F32 };
        let sums = bd.emit(Op::Mma(mma), &args, &[ty; 4]);
        let cast = |v: Value, bd: &mut Builder| if integers { v } else { bd.convert(Convert::Bits(Ty::I32), v) };
        let sums: Vec<Value> = sums.into_iter().map(|v| cast(v, bd)).collect();
        let out = mine(bd, 3, 16);
        bd.store(Space::Global, 32, out, &sums, None);
    });
    let mut memory = Memory::new();
    let mut launch: Vec<u64> =
        [a_regs, b_regs, c_regs].iter().map(|r| memory.alloc_with(&crate::support::bytes_of(r))).collect();
    launch.push(memory.alloc(512));
    run(&program, &launch, &mut memory, 0).expect("runs");
    for (n, got) in words(&memory, launch[3], 128).into_iter().enumerate() {
        let at = place(n / 4, n % 4);
        let (row, column) = (at / 8, at % 8);
        let of = |k: usize| decode(mma, true, a[row * depth + k]) * decode(mma, false, b[k * 8 + column]);
        let sum: i32 = c[at] + (0..depth).map(of).sum::<i32>();
        assert_eq!(got, number(sum), "{mma:?} at {row}, {column}");
    }
}

#[test]
fn products_of_warps_are_plain_sums() {
    let f8 = [Small::F8E4M3, Small::F8E5M2];
    let mut all = vec![Mma::F16, Mma::BF16, Mma::TF32];
    all.extend(f8.iter().flat_map(|a| f8.iter().map(|b| Mma::F8(*a, *b))));
    all.extend([(true, true), (true, false), (false, true), (false, false)].map(|(a, b)| Mma::I8(a, b)));
    all.into_iter().for_each(product);
}

#[test]
fn matrices_come_from_shared_memory_row_by_row() {
    for (count, transpose) in [(1, false), (2, false), (4, false), (1, true), (4, true)] {
        let program = program(32, 512, |b| {
            // Element `n` of shared memory, 16 bits each, is `n`.
            let lane = lane(b);
            for n in 0..4 {
                let first = b.mul_const(lane, 8);
                let low = b.add_const(first, 2 * n);
                let high = b.add_const(low, 1);
                let by = b.i32(16);
                let high = b.binary(Binary::Shl, high, by);
                let both = b.binary(Binary::Or, low, high);
                let at = b.mul_const(lane, 16);
                let at = b.add_const(at, 4 * n);
                put(b, at, both);
            }
            b.barrier();
            let row = b.mul_const(lane, 16);
            let got = b.emit(Op::LoadMatrix { count, transpose }, &[row], &vec![Ty::I32; count.into()]);
            let out = mine(b, 0, 4 * i64::from(count));
            b.store(Space::Global, 32, out, &got, None);
        });
        let mut memory = Memory::new();
        let out = memory.alloc(512);
        let report = run(&program, &[out], &mut memory, 0).expect("runs");
        for (n, got) in words(&memory, out, 32 * usize::from(count)).into_iter().enumerate() {
            let (lane, matrix) = (n as u32 / u32::from(count), n as u32 % u32::from(count));
            let element = |n: u32| {
                let (row, column) = (lane / 4, lane % 4 * 2 + n);
                matrix * 64 + if transpose { column * 8 + row } else { row * 8 + column }
            };
            assert_eq!(got, element(0) | element(1) << 16, "×{count}, transposed {transpose}, lane {lane}");
        }
        let counts = report.sum(|op| matches!(op, Op::LoadMatrix { .. }));
        assert_eq!(counts.wavefronts, u64::from(count));
    }
}

/// An operand of a warpgroup's product in shared memory.
#[derive(Clone, Copy, Debug)]
struct Operand {
    swizzle: Swizzle,
    /// Whether rows (or columns) lie side by side, not k.
    transposed: bool,
}

impl Operand {
    /// Where an element of a matrix of `rows` by 32 bytes of k is from its start, as the ISA's pictures of core matrices have
    /// it: 8 rows of 16 bytes each make one.
    fn offset(self, rows: usize, element: usize, row: usize, k: usize) -> u32 {
        let each = 16 / element;
        let units = self.swizzle.span().map_or(1, |s| s as usize / 16);
        let (major, minor) = if self.transposed { (k, row) } else { (row, k) };
        let (unit, in_unit) = (minor / each, minor % each);
        let linear = match self.swizzle {
            // Core matrices of 128 bytes: those along the contiguous dimension follow each other.
            Swizzle::None => (major / 8 * self.minor_units(rows, element) + unit) * 128 + major % 8 * 16,
            // Lines of `units` units, 8 of them an atom; atoms along the contiguous dimension follow each other.
            Swizzle::Bytes32 | Swizzle::Bytes64 | Swizzle::Bytes128 => {
                let atoms = self.minor_units(rows, element).div_ceil(units);
                (major / 8 * atoms + unit / units) * units * 128 + major % 8 * units * 16 + unit % units * 16
            }
        };
        self.swizzle.apply((linear + in_unit * element) as u32)
    }

    fn minor_units(self, rows: usize, element: usize) -> usize {
        if self.transposed { rows * element / 16 } else { 2 }
    }

    /// The descriptor of such a matrix at an address.
    fn descriptor(self, rows: usize, element: usize, start: u32) -> u64 {
        let units = self.minor_units(rows, element) as u64;
        let (leading, stride, mode) = match (self.swizzle, self.transposed) {
            (Swizzle::None, false) => (128, 128 * units, 0),
            (Swizzle::None, true) => (128 * units, 128, 0),
            (swizzle, transposed) => {
                let span = u64::from(swizzle.span().unwrap_or(0));
                let atoms = units.div_ceil(span / 16);
                let mode = match swizzle {
                    Swizzle::Bytes128 => 1,
                    Swizzle::Bytes64 => 2,
                    Swizzle::Bytes32 | Swizzle::None => 3,
                };
                (if transposed { 8 * span } else { 16 }, 8 * span * atoms, mode)
            }
        };
        u64::from(start >> 4) | leading >> 4 << 16 | stride >> 4 << 32 | mode << 62
    }

    fn bytes(self, rows: usize, element: usize) -> u32 {
        let span = self.swizzle.span().unwrap_or(16) as usize;
        let lines = if self.transposed { 32 / element } else { rows };
        let atoms = (self.minor_units(rows, element) * 16).div_ceil(span);
        (lines.next_multiple_of(8) * atoms * span).next_multiple_of(1024) as u32
    }
}

/// What may be left out of a warpgroup's product.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Omit {
    Nothing,
    ProxyFence,
    Barrier,
    WgmmaFence,
    Wait,
    EarlyUse,
    LateWrite,
}

/// One product, twice: the second one adds to the first. Threads fill shared memory by words from global memory.
fn wgmma_program(wgmma: Wgmma, image: u32, descriptors: [u64; 2], omit: Omit) -> Program {
    program(128, image, move |b| {
        let thread = thread(b);
        let source = b.param(0);
        b.param(2);
        for n in 0..i64::from(image) / 512 {
            let at = b.mul_const(thread, 4);
            let at = b.add_const(at, 512 * n);
            let wide = b.zero_extend(Ty::I64, at);
            let from = b.add(source, wide);
            let word = b.load(Space::Global, 32, 1, from, None)[0];
            put(b, at, word);
        }
        let regs = mine(b, 1, 16);
        let left_regs = b.load(Space::Global, 32, 4, regs, None);
        if omit != Omit::ProxyFence {
            act(b, Op::ProxyFence, &[]);
        }
        if omit != Omit::Barrier {
            b.barrier();
        }
        let left = b.i64(descriptors[0] as i64);
        let right = b.i64(descriptors[1] as i64);
        let mut operands = if wgmma.left == WgmmaLeft::Shared { vec![left] } else { left_regs };
        operands.push(right);
        let zero = b.f32(0.0);
        let count = wgmma.n as usize / 2;
        if omit != Omit::WgmmaFence {
            act(b, Op::WgmmaFence, &[]);
        }
        let first = [operands.clone(), vec![zero; count]].concat();
        let sums = b.emit(Op::Wgmma(Wgmma { accumulate: false, ..wgmma }), &first, &vec![Ty::F32; count]);
        let second = [operands, sums].concat();
        let mut sums = b.emit(Op::Wgmma(Wgmma { accumulate: true, ..wgmma }), &second, &vec![Ty::F32; count]);
        act(b, Op::WgmmaCommit, &[]);
        if omit == Omit::LateWrite {
            let at = b.mul_const(thread, 4);
            put(b, at, thread);
        }
        if omit == Omit::EarlyUse {
            give(b, 2, sums[0]);
        }
        if omit != Omit::Wait {
            sums = b.emit(Op::WgmmaWait(0), &sums, &vec![Ty::F32; count]);
            let out = mine(b, 2, 4 * count as i64);
            for (n, sum) in sums.iter().enumerate() {
                let bits = b.convert(Convert::Bits(Ty::I32), *sum);
                let at = b.add_const(out, 4 * n as i64);
                b.store(Space::Global, 32, at, &[bits], None);
            }
        }
    })
}

fn wgmma(
    dtype: Option<Small>,
    n: u32,
    left: Option<Operand>,
    right: Operand,
    omit: Omit,
    seed: u64,
) -> Result<(), ErrorKind> {
    let mma = match dtype {
        None => Mma::TF32,
        Some(Small::F16) => Mma::F16,
        Some(Small::BF16) => Mma::BF16,
        Some(small) => Mma::F8(small, small),
    };
    let element = encode(mma, true, 0).1;
    let (depth, columns) = (32 / element, n as usize);
    let (a, b) = (numbers(64 * depth, 11), numbers(depth * columns, 12));
    let left_bytes = left.map_or(0, |o| o.bytes(64, element));
    let image = left_bytes + right.bytes(columns, element);
    let mut bytes = vec![0u8; image as usize];
    let mut put = |at: u32, bits: u32| bytes[at as usize..][..element].copy_from_slice(&bits.to_le_bytes()[..element]);
    for k in 0..depth {
        for row in 0..64 {
            left.iter().for_each(|o| put(o.offset(64, element, row, k), encode(mma, true, a[row * depth + k]).0));
        }
        for column in 0..columns {
            put(left_bytes + right.offset(columns, element, column, k), encode(mma, false, b[k * columns + column]).0);
        }
    }
    let fragment = |thread: usize, register: usize| -> u32 {
        let (warp, lane, each) = (thread / 32, thread % 32, 4 / element);
        let row = 16 * warp + lane / 4 + register % 2 * 8;
        let k = register / 2 * depth / 2 + lane % 4 * each;
        (0..each).map(|n| encode(mma, true, a[row * depth + k + n]).0 << (8 * element * n)).sum()
    };
    let registers: Vec<u32> = (0..512).map(|n| fragment(n / 4, n % 4)).collect();
    let descriptors =
        [left.map_or(0, |o| o.descriptor(64, element, 0)), right.descriptor(columns, element, left_bytes)];
    let op = Wgmma {
        n,
        dtype,
        left: if left.is_some() { WgmmaLeft::Shared } else { WgmmaLeft::Registers },
        transpose_left: left.is_some_and(|o| o.transposed),
        transpose_right: right.transposed,
        accumulate: false,
    };
    let program = wgmma_program(op, image, descriptors, omit);
    let mut memory = Memory::new();
    let source = memory.alloc_with(&bytes);
    let registers = memory.alloc_with(&crate::support::bytes_of(&registers));
    let out = memory.alloc(128 * 4 * columns / 2);
    run(&program, &[source, registers, out], &mut memory, seed).map_err(|found| found.kind)?;
    let got = words(&memory, out, 64 * columns);
    for (n, got) in got.into_iter().enumerate() {
        let (thread, register) = (n / (columns / 2), n % (columns / 2));
        let (warp, lane) = (thread / 32, thread % 32);
        let row = 16 * warp + lane / 4 + register / 2 % 2 * 8;
        let column = register / 4 * 8 + lane % 4 * 2 + register % 2;
        let sum: i32 = (0..depth).map(|k| a[row * depth + k] * b[k * columns + column]).sum();
        assert_eq!(f32::from_bits(got), (2 * sum) as f32, "{op:?} {left:?} {right:?} at {row}, {column}");
    }
    Ok(())
}

const SWIZZLES: [Swizzle; 4] = [Swizzle::None, Swizzle::Bytes32, Swizzle::Bytes64, Swizzle::Bytes128];

#[test]
fn products_of_warpgroups_are_plain_sums() {
    for swizzle in SWIZZLES {
        for transposed in [false, true] {
            let operand = Operand { swizzle, transposed };
            let plain = Operand { swizzle: Swizzle::None, transposed: false };
            wgmma(Some(Small::BF16), 64, Some(operand), plain, Omit::Nothing, 1).expect("runs");
            for n in [8, 128] {
                wgmma(Some(Small::F16), n, None, operand, Omit::Nothing, 2).expect("runs");
            }
        }
        let operand = Operand { swizzle, transposed: false };
        for dtype in [None, Some(Small::F8E4M3), Some(Small::F8E5M2), Some(Small::BF16)] {
            wgmma(dtype, 24, Some(operand), operand, Omit::Nothing, 3).expect("runs");
            wgmma(dtype, 256, None, operand, Omit::Nothing, 4).expect("runs");
        }
    }
}

#[test]
fn products_that_lack_an_order_are_found() {
    let operand = Operand { swizzle: Swizzle::Bytes128, transposed: false };
    for seed in 0..30 {
        let found = |omit, registers: bool| {
            let left = (!registers).then_some(operand);
            wgmma(Some(Small::BF16), 64, left, operand, omit, seed).expect_err("a mistake")
        };
        for registers in [false, true] {
            let race = |kind: &ErrorKind| matches!(kind, ErrorKind::Race { .. });
            assert!(matches!(found(Omit::ProxyFence, registers), ErrorKind::MissingProxyFence { .. }));
            let kind = found(Omit::Barrier, registers);
            assert!(race(&kind) || matches!(kind, ErrorKind::Uninitialised { .. }), "{kind}");
            assert_eq!(found(Omit::WgmmaFence, registers), ErrorKind::MissingWgmmaFence);
            assert_eq!(found(Omit::EarlyUse, registers), ErrorKind::PendingAccumulator);
            let kind = found(Omit::LateWrite, registers);
            assert!(race(&kind), "{kind}");
            let kind = found(Omit::Wait, registers);
            assert!(matches!(&kind, ErrorKind::Warpgroup(told) if told.contains("under way")), "{kind}");
        }
    }
}
