//! A small program for every op, in each of its forms. They are made to be compiled; what they compute is nothing.

use pantile_gpu::simt::{
    Binary, Builder, Compare, Convert, Mma, Op, Program, Shuffle, Small, Space, Special, Ty, Unary, Value, Wgmma,
    WgmmaLeft,
};

/// Threads of a block: two warpgroups.
const THREADS: u32 = 256;

/// A program that loads inputs, does something, and stores what it gives.
pub struct Example {
    b: Builder,
    inputs: i64,
    outputs: i64,
}

impl Example {
    pub fn new(name: &str) -> Self {
        let mut b = Builder::new(name, THREADS);
        (b.program().shared, b.program().words, b.program().fault_word) = (64 << 10, 3, 2);
        Self { b, inputs: 0, outputs: 0 }
    }

    fn place(&mut self, word: u32, offset: i64) -> Value {
        let b = &mut self.b;
        let (base, thread) = (b.param(word), b.special(Special::Thread));
        let thread = b.zero_extend(Ty::I64, thread);
        let by = b.mul_const(thread, 8);
        let address = b.add(base, by);
        b.add_const(address, offset)
    }

    /// A value that the compiler cannot know.
    pub fn input(&mut self, ty: Ty) -> Value {
        let address = self.place(0, self.inputs);
        self.inputs += 8 * i64::from(THREADS);
        let bits = if matches!(ty, Ty::I64 | Ty::F64) { 64 } else { 32 };
        let x = self.b.load(Space::Global, bits, 1, address, None)[0];
        match ty {
            Ty::I32 | Ty::I64 => x,
            Ty::F32 | Ty::F64 => self.b.convert(Convert::Bits(ty), x),
            Ty::Bool => {
                let zero = self.b.i32(0);
                self.b.compare(Compare::Ne, x, zero)
            }
        }
    }

    pub fn inputs(&mut self, types: &[Ty]) -> Vec<Value> {
        types.iter().map(|ty| self.input(*ty)).collect()
    }

    /// A shared address, a multiple of 16.
    fn shared(&mut self) -> Value {
        let thread = self.b.special(Special::Thread);
        self.b.mul_const(thread, 16)
    }

    /// Stores a value, so that it is needed.
    pub fn output(&mut self, x: Value) {
        let b = &mut self.b;
        let (x, bits) = match b.ty(x) {
            Ty::I32 => (x, 32),
            Ty::I64 => (x, 64),
            Ty::F32 => (b.convert(Convert::Bits(Ty::I32), x), 32),
            Ty::F64 => (b.convert(Convert::Bits(Ty::I64), x), 64),
            Ty::Bool => (b.zero_extend(Ty::I32, x), 32),
        };
        let address = self.place(1, self.outputs);
        self.outputs += 8 * i64::from(THREADS);
        self.b.store(Space::Global, bits, address, &[x], None);
    }

    pub fn emit(&mut self, op: Op, args: &[Value]) -> Vec<Value> {
        let types: Vec<Ty> = args.iter().map(|v| self.b.ty(*v)).collect();
        let results = op.results(&types).expect("operands that the op takes");
        self.b.emit(op, args, &results)
    }

    pub fn finish(self) -> Program {
        self.b.finish()
    }
}

/// A program around one op whose operands are inputs of these types.
fn plain(name: String, op: Op, types: &[Ty]) -> Program {
    let mut e = Example::new(&name);
    let args = e.inputs(types);
    let results = e.emit(op, &args);
    results.into_iter().for_each(|v| e.output(v));
    e.finish()
}

/// A program around ops that the function appends.
fn around(name: &str, fill: impl FnOnce(&mut Example)) -> Program {
    let mut e = Example::new(name);
    fill(&mut e);
    e.finish()
}

const FLOATS: [Ty; 2] = [Ty::F32, Ty::F64];
const INTEGERS: [Ty; 2] = [Ty::I32, Ty::I64];
const ALL: [Ty; 5] = [Ty::Bool, Ty::I32, Ty::I64, Ty::F32, Ty::F64];
const SMALL: [Small; 4] = [Small::F16, Small::BF16, Small::F8E4M3, Small::F8E5M2];

/// A product of two operands that bulk copies bring stage by stage, while the products of the stage before are under way:
/// all of Hopper's asynchronous ops in one loop.
pub fn hopper_ring() -> Program {
    const STAGES: i32 = 2;
    const BYTES: i32 = 8 << 10;
    let mut e = Example::new("hopper_ring");
    let (maps, full, empty) = (e.b.map(0), 60 << 10, (60 << 10) + 8 * STAGES);
    let (steps, thread) = (e.input(Ty::I32), e.b.special(Special::Thread));
    let zero = e.b.i32(0);
    let first = e.b.compare(Compare::Eq, thread, zero);
    for stage in 0..STAGES {
        let (full, empty) = (e.b.i32(full + 8 * stage), e.b.i32(empty + 8 * stage));
        let (one, warps) = (e.b.i32(1), e.b.i32(4));
        e.emit(Op::MbarrierInit, &[full, one]);
        e.emit(Op::MbarrierInit, &[empty, warps]);
    }
    e.emit(Op::MbarrierFence, &[]);
    e.b.barrier();
    let warpgroup = e.b.shr_const(thread, 7);
    let produces = e.b.compare(Compare::Eq, warpgroup, zero);
    // Where a step's stage lies, and the parity of its barriers.
    let stage = |b: &mut Builder, n: Value| {
        let (at, round) = (b.and_const(n, 1), b.shr_const(n, 1));
        let (offset, bar) = (b.mul_const(at, i64::from(2 * BYTES)), b.mul_const(at, 8));
        (offset, b.add_const(bar, i64::from(full)), b.add_const(bar, i64::from(empty)), b.and_const(round, 1))
    };
    let produce = |b: &mut Builder| {
        b.emit(Op::SetRegisters(false, 24), &[], &[]);
        b.count(steps, &[], |b, n, _| {
            let (offset, full, empty, parity) = stage(b, n);
            let one = b.i32(1);
            let parity = b.binary(Binary::Xor, parity, one);
            b.emit(Op::MbarrierWait, &[empty, parity], &[]);
            let bytes = b.i32(2 * BYTES);
            b.emit(Op::MbarrierExpect, &[full, bytes, first], &[]);
            let second = b.add_const(offset, i64::from(BYTES));
            for to in [offset, second] {
                b.emit(Op::TensorLoad { rank: 2 }, &[to, maps, full, first, zero, n], &[]);
            }
            Vec::new()
        });
        Vec::new()
    };
    let form = Wgmma {
        n: 64,
        dtype: Some(Small::BF16),
        left: WgmmaLeft::Shared,
        transpose_left: false,
        transpose_right: true,
        accumulate: true,
    };
    let mut sums = Vec::new();
    let consume = |b: &mut Builder| {
        b.emit(Op::SetRegisters(true, 232), &[], &[]);
        let nothing = b.f32(0.0);
        let ends = b.count(steps, &vec![nothing; form.accumulators()], |b, n, carried| {
            let (offset, full, _, parity) = stage(b, n);
            b.emit(Op::MbarrierWait, &[full, parity], &[]);
            b.emit(Op::WgmmaFence, &[], &[]);
            let row = b.shr_const(offset, 4);
            let row = b.zero_extend(Ty::I64, row);
            let left = b.add_const(row, (1 << 62) | (64 << 32) | (1 << 16));
            let mut sums = carried.to_vec();
            for k in 0..4 {
                let (left, right) = (b.add_const(left, 2 * k), b.add_const(left, i64::from(BYTES >> 4) + 128 * k));
                sums = b.emit(Op::Wgmma(form), &[&[left, right], sums.as_slice()].concat(), &[Ty::F32; 32]);
            }
            b.emit(Op::WgmmaCommit, &[], &[]);
            // The step before is complete, and its stage, the other one of two, is free.
            let sums = b.emit(Op::WgmmaWait(1), &sums, &[Ty::F32; 32]);
            let next = b.add_const(n, 1);
            let (_, _, other, _) = stage(b, next);
            let (lane, later) = (b.special(Special::Lane), b.compare(Compare::Gt, n, zero));
            let elected = b.compare(Compare::Eq, lane, zero);
            let elected = b.and(elected, later);
            b.emit(Op::MbarrierArrive, &[other, elected], &[]);
            sums
        });
        sums = b.emit(Op::WgmmaWait(0), &ends, &[Ty::F32; 32]);
        let out = b.param(1);
        for (n, sum) in sums.iter().enumerate() {
            let address = b.add_const(out, 4 * n as i64);
            let bits = b.convert(Convert::Bits(Ty::I32), *sum);
            b.store(Space::Global, 32, address, &[bits], None);
        }
        Vec::new()
    };
    e.b.branch(produces, produce, consume);
    e.finish()
}

/// Every op in each form that has an instruction of its own.
pub fn all() -> Vec<Program> {
    [arithmetic(), conversions(), memory(), lanes(), products(), wgmmas(), asynchronous(), control()].concat()
}

/// Each op with each combination of types that it takes.
fn arithmetic() -> Vec<Program> {
    use Binary as B;
    use Compare as C;
    use Unary as U;
    let unary = [
        U::Neg,
        U::Not,
        U::Abs,
        U::Sqrt,
        U::Ex2,
        U::Lg2,
        U::Rcp,
        U::Rsqrt,
        U::TanhApprox,
        U::Floor,
        U::Ceil,
        U::Round,
        U::PopCount,
        U::LeadingZeros,
    ];
    let binary = [
        B::Add,
        B::Sub,
        B::Mul,
        B::MulHigh,
        B::Div,
        B::UDiv,
        B::Rem,
        B::URem,
        B::Min,
        B::Max,
        B::UMin,
        B::UMax,
        B::And,
        B::Or,
        B::Xor,
        B::Shl,
        B::Shr,
        B::UShr,
    ];
    let compare = [C::Eq, C::Ne, C::Lt, C::Le, C::Gt, C::Ge, C::ULt, C::ULe, C::UGt, C::UGe];
    let ops = unary.map(|op| (Op::Unary(op), 1)).into_iter();
    let ops = ops.chain(binary.map(|op| (Op::Binary(op), 2))).chain(compare.map(|op| (Op::Compare(op), 2)));
    let mut out = Vec::new();
    for (op, count) in ops.chain([(Op::Fma, 3)]) {
        for ty in ALL {
            let types = vec![ty; count];
            if op.results(&types).is_ok() {
                out.push(plain(format!("op{}", out.len()), op.clone(), &types));
            }
        }
    }
    out.extend(ALL.map(|ty| plain(format!("select_{ty}"), Op::Select, &[Ty::Bool, ty, ty])));
    let ask = |e: &mut Example| {
        for what in [Special::Thread, Special::Lane, Special::Block, Special::Blocks] {
            let x = e.b.special(what);
            e.output(x);
        }
        let x = e.b.f32(0.1);
        e.output(x);
    };
    out.push(around("special", ask));
    out
}

fn conversions() -> Vec<Program> {
    let mut all =
        vec![Convert::SignExtend, Convert::Truncate, Convert::SignFrom(8), Convert::SignFrom(16), Convert::Tf32];
    for ty in INTEGERS {
        all.extend([Convert::ZeroExtend(ty), Convert::ToSigned(ty), Convert::ToUnsigned(ty), Convert::Bits(ty)]);
    }
    for ty in FLOATS {
        all.extend([Convert::FromSigned(ty), Convert::FromUnsigned(ty), Convert::Float(ty), Convert::Bits(ty)]);
    }
    all.extend(SMALL.map(Convert::Widen));
    let mut out = Vec::new();
    for how in all {
        for from in ALL {
            if Op::Convert(how).results(&[from]).is_ok() {
                out.push(plain(format!("convert{}", out.len()), Op::Convert(how), &[from]));
            }
        }
    }
    out.extend(SMALL.map(|small| plain(format!("narrow_{small}"), Op::Narrow(small), &[Ty::F32, Ty::F32])));
    out
}

/// Every width from and to every memory, guarded or not.
fn memory() -> Vec<Program> {
    let mut out = Vec::new();
    for (bits, count) in [(8, 1), (16, 1), (32, 1), (32, 2), (32, 4), (64, 1), (64, 2)] {
        for guarded in [false, true] {
            for space in [Space::Global, Space::Constant, Space::Shared] {
                let name = format!("access{}", out.len());
                out.push(around(&name, |e| access(e, space, bits, count, guarded)));
            }
        }
    }
    for ty in [Ty::I32, Ty::I64, Ty::F32, Ty::F64] {
        out.push(around(&format!("atomic_add_{ty}"), |e| {
            let (address, x, guard) = (e.place(1, 0), e.input(ty), e.input(Ty::Bool));
            e.emit(Op::AtomicAdd, &[address, x, guard]);
        }));
    }
    out.push(around("atomic_fetch_add", |e| {
        let (address, x) = (e.place(1, 0), e.input(Ty::I32));
        let got = e.emit(Op::AtomicFetchAdd, &[address, x]);
        e.output(got[0]);
    }));
    out.push(around("atomic_cas", |e| {
        let (address, x) = (e.place(1, 0), e.inputs(&[Ty::I32, Ty::I32]));
        let got = e.emit(Op::AtomicCas, &[address, x[0], x[1]]);
        e.output(got[0]);
    }));
    out.push(plain("fault".into(), Op::Fault, &[Ty::Bool, Ty::I32, Ty::I32]));
    out
}

fn access(e: &mut Example, space: Space, bits: u8, count: u8, guarded: bool) {
    let guard = guarded.then(|| e.input(Ty::Bool));
    let shared = e.shared();
    let device = e.place(0, 0);
    let from = if space == Space::Shared { shared } else { device };
    let units = e.b.load(space, bits, count, from, guard);
    let to = if space == Space::Shared { Space::Shared } else { Space::Global };
    let address = if space == Space::Shared { e.b.add_const(shared, 4096) } else { e.place(1, 0) };
    e.b.store(to, bits, address, &units, guard);
}

fn lanes() -> Vec<Program> {
    vec![
        plain("shuffle_xor".into(), Op::Shuffle(Shuffle::Xor(5)), &[Ty::I32]),
        plain("shuffle_up".into(), Op::Shuffle(Shuffle::Up(1)), &[Ty::I32]),
        plain("shuffle_index".into(), Op::Shuffle(Shuffle::Index), &[Ty::I32, Ty::I32]),
        plain("ballot".into(), Op::Ballot, &[Ty::Bool]),
        around("barriers", |e| {
            e.b.barrier();
            e.emit(Op::BarrierArrive { id: 3, threads: 128 }, &[]);
            e.emit(Op::Barrier { id: 3, threads: Some(128) }, &[]);
        }),
    ]
}

fn products() -> Vec<Program> {
    let mut all = vec![Mma::F16, Mma::BF16, Mma::TF32];
    for (a, b) in [(Small::F8E4M3, Small::F8E4M3), (Small::F8E4M3, Small::F8E5M2), (Small::F8E5M2, Small::F8E4M3)] {
        all.push(Mma::F8(a, b));
    }
    all.extend([(true, true), (true, false), (false, true), (false, false)].map(|(a, b)| Mma::I8(a, b)));
    let program = |(n, mma): (usize, Mma)| {
        let sum = if matches!(mma, Mma::I8(..)) { Ty::I32 } else { Ty::F32 };
        plain(format!("mma{n}"), Op::Mma(mma), &[[Ty::I32; 6].as_slice(), [sum; 4].as_slice()].concat())
    };
    let mut out: Vec<Program> = all.into_iter().enumerate().map(program).collect();
    for (count, transpose) in [(1, false), (2, true), (4, false), (4, true)] {
        let op = Op::LoadMatrix { count, transpose };
        out.push(around(&format!("load_matrix{count}{transpose}"), |e| {
            let address = e.shared();
            let got = e.emit(op, &[address]);
            got.into_iter().for_each(|v| e.output(v));
        }));
    }
    out
}

fn wgmmas() -> Vec<Program> {
    let mut out = Vec::new();
    for dtype in SMALL.map(Some).into_iter().chain([None]) {
        let turns = matches!(dtype, Some(Small::F16 | Small::BF16));
        for (left, n) in
            [(WgmmaLeft::Shared, 128), (WgmmaLeft::Registers, 64), (WgmmaLeft::Shared, 8), (WgmmaLeft::Shared, 256)]
        {
            for (accumulate, turned) in [(false, false), (true, false), (true, true)] {
                let transpose_left = turned && left == WgmmaLeft::Shared;
                let form = Wgmma { n, dtype, left, transpose_left, transpose_right: turned, accumulate };
                if turns || !turned {
                    out.push(around(&format!("wgmma{}", out.len()), |e| wgmma(e, form)));
                }
            }
        }
    }
    out
}

/// One product between its fences.
fn wgmma(e: &mut Example, form: Wgmma) {
    let heads = e.inputs(&form.heads());
    let zero = e.b.f32(0.0);
    let sums = vec![zero; form.accumulators()];
    e.emit(Op::ProxyFence, &[]);
    e.emit(Op::WgmmaFence, &[]);
    let sums = e.emit(Op::Wgmma(form), &[heads, sums].concat());
    e.emit(Op::WgmmaCommit, &[]);
    let sums = e.emit(Op::WgmmaWait(0), &sums);
    sums.into_iter().for_each(|v| e.output(v));
}

fn asynchronous() -> Vec<Program> {
    let mut out = vec![
        around("copy_async", |e| {
            let (to, from, guard) = (e.shared(), e.place(0, 0), e.input(Ty::Bool));
            e.emit(Op::CopyAsync, &[to, from, guard]);
            e.emit(Op::CopyCommit, &[]);
            e.emit(Op::CopyWait(1), &[]);
        }),
        around("set_registers", |e| {
            e.emit(Op::SetRegisters(false, 24), &[]);
            e.emit(Op::SetRegisters(true, 240), &[]);
        }),
    ];
    out.extend((1..=5).map(|rank| around(&format!("tensor_load{rank}"), |e| tensor_load(e, rank))));
    out.extend((1..=5).map(|rank| around(&format!("tensor_store{rank}"), |e| tensor_store(e, rank))));
    out
}

fn tensor_load(e: &mut Example, rank: u32) {
    let barrier = e.b.i32(32 << 10);
    let (count, parity, bytes) = (e.b.i32(1), e.b.i32(0), e.input(Ty::I32));
    let (map, to, first) = (e.b.map(0), e.b.i32(1024), e.input(Ty::Bool));
    e.emit(Op::MbarrierInit, &[barrier, count]);
    e.emit(Op::MbarrierFence, &[]);
    e.b.barrier();
    e.emit(Op::MbarrierExpect, &[barrier, bytes, first]);
    let coordinates = e.inputs(&vec![Ty::I32; rank as usize]);
    e.emit(Op::TensorLoad { rank }, &[[to, map, barrier, first].as_slice(), &coordinates].concat());
    e.emit(Op::MbarrierArrive, &[barrier, first]);
    e.emit(Op::MbarrierWait, &[barrier, parity]);
}

fn tensor_store(e: &mut Example, rank: u32) {
    let (map, from, first) = (e.b.map(1), e.b.i32(1024), e.input(Ty::Bool));
    let coordinates = e.inputs(&vec![Ty::I32; rank as usize]);
    e.emit(Op::ProxyFence, &[]);
    e.emit(Op::TensorStore { rank }, &[[map, from, first].as_slice(), &coordinates].concat());
    e.emit(Op::TensorStoreCommit, &[]);
    e.emit(Op::TensorStoreWait(0), &[]);
}

fn control() -> Vec<Program> {
    let count = |e: &mut Example| {
        let (count, start) = (e.input(Ty::I32), e.input(Ty::F32));
        let ends = e.b.count(count, &[start, start], |b, n, carried| {
            let odd = b.and_const(n, 1);
            let zero = b.i32(0);
            let odd = b.compare(Compare::Ne, odd, zero);
            // One value is handed on, one is chosen inside: both kinds of phi.
            let next = b.branch(odd, |b| vec![b.fma(carried[0], carried[1], carried[0])], |_| vec![carried[1]]);
            vec![carried[1], next[0]]
        });
        ends.into_iter().for_each(|v| e.output(v));
    };
    let nested = |e: &mut Example| {
        let (n, m) = (e.input(Ty::I32), e.input(Ty::I32));
        let zero = e.b.i32(0);
        let sum = e.b.count(n, &[zero], |b, i, sum| {
            b.count(m, sum, |b, j, sum| {
                let x = b.mul(i, j);
                vec![b.add(x, sum[0])]
            })
        });
        e.output(sum[0]);
    };
    let when = |e: &mut Example| {
        let (guard, address, x) = (e.input(Ty::Bool), e.place(1, 0), e.input(Ty::I32));
        e.b.when(guard, |b| b.store(Space::Global, 32, address, &[x], None));
    };
    vec![around("count", count), around("nested", nested), around("when", when)]
}
