//! Small programs and how to run them. It knows no particular op.

use pantile_gpu::emulate::{self, Error, Memory, Options, Report};
use pantile_gpu::simt::{Builder, Compare, Op, Program, Space, Special, Ty, Value};

/// A program of so many threads and bytes of shared memory.
pub fn program(threads: u32, shared: u32, fill: impl FnOnce(&mut Builder)) -> Program {
    let mut b = Builder::new("test", threads);
    b.program().shared = shared;
    fill(&mut b);
    b.finish()
}

/// Runs one block.
pub fn run(program: &Program, words: &[u64], memory: &mut Memory, seed: u64) -> Result<Report, Error> {
    emulate::run(program, 1, words, memory, &Options::seeded(seed))
}

/// The mistake that a program of one block without words makes.
pub fn mistake(program: &Program) -> Error {
    run(program, &[], &mut Memory::new(), 1).expect_err("a mistake")
}

/// Asserts that a program of one block without words makes a mistake of this kind, which its text shows.
pub fn finds(program: &Program, words: &str) {
    let found = mistake(program).to_string();
    assert!(found.contains(words), "`{found}` does not say `{words}`");
}

pub fn thread(b: &mut Builder) -> Value {
    b.special(Special::Thread)
}

pub fn lane(b: &mut Builder) -> Value {
    b.special(Special::Lane)
}

/// The number of the thread's warp.
pub fn warp(b: &mut Builder) -> Value {
    let thread = thread(b);
    b.shr_const(thread, 5)
}

/// Whether an I32 is this number.
pub fn is(b: &mut Builder, value: Value, number: i32) -> Value {
    let number = b.i32(number);
    b.compare(Compare::Eq, value, number)
}

/// Does an op without results.
pub fn act(b: &mut Builder, op: Op, args: &[Value]) {
    b.emit(op, args, &[]);
}

/// Stores a word at a shared address.
pub fn put(b: &mut Builder, address: Value, value: Value) {
    b.store(Space::Shared, 32, address, &[value], None);
}

/// Loads a word from a shared address.
pub fn get(b: &mut Builder, address: Value) -> Value {
    b.load(Space::Shared, 32, 1, address, None)[0]
}

/// The address `base + thread·scale` of global memory, `base` a word of the launch.
pub fn mine(b: &mut Builder, word: u32, scale: i64) -> Value {
    let base = b.param(word);
    let thread = thread(b);
    let thread = b.zero_extend(Ty::I64, thread);
    let offset = b.mul_const(thread, scale);
    b.add(base, offset)
}

/// Stores a 32-bit value of each thread at `word[thread]`.
pub fn give(b: &mut Builder, word: u32, value: Value) {
    let value = match b.ty(value) {
        Ty::F32 => b.convert(pantile_gpu::simt::Convert::Bits(Ty::I32), value),
        Ty::Bool => b.zero_extend(Ty::I32, value),
        Ty::I32 | Ty::I64 | Ty::F64 => value,
    };
    let address = mine(b, word, 4);
    b.store(Space::Global, 32, address, &[value], None);
}

pub fn words(memory: &Memory, address: u64, count: usize) -> Vec<u32> {
    let bytes = memory.read(address, 4 * count).expect("allocated");
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

pub fn bytes_of(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// Numbers that look random.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
