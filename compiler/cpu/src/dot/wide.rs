//! The dot in 256- and 512-bit vectors, written instruction by instruction: 6 rows × 16 columns in twelve YMM registers,
//! or 12 rows × 16 columns in twelve ZMM registers. It knows the System V calling convention and no other.
//!
//! One generator writes both shapes. For each panel of B it goes down the rows of A: whole blocks of rows with k unrolled
//! by 4, then one block of what is left. Rows are addressed three to a base register, as `base + {0, 1, 2} · step`.

use iced_x86::code_asm::{
    AsmMemoryOperand, AsmRegister64, CodeAssembler, CodeLabel, byte_ptr, qword_ptr, r8, r9, r10, r11, r12, r13, r14,
    r15, rax, rbp, rbx, rcx, rdi, rdx, rsi, rsp,
};
use iced_x86::{Code, IcedError, Instruction, MemoryOperand, Register};

use super::{GAP, Init, PANEL};
use crate::{Features, Limit};

/// What one block of rows keeps in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// 6 × 16 in pairs of YMM registers.
    Ymm,
    /// 12 × 16 in ZMM registers.
    Zmm,
}

const UNROLL: i32 = 4;

/// Incoming stack arguments, after the registers are saved and two words are taken for [`BLOCK`] and [`SCALE`].
const M: i32 = 72;
const N: i32 = 80;
const K: i32 = 88;
/// Where A's current block of rows starts.
const BLOCK: i32 = 0;
/// Where the scale starts.
const SCALE: i32 = 8;
const OWN: i32 = 16;

const SAVED: [AsmRegister64; 6] = [rbx, rbp, r12, r13, r14, r15];
/// Each the first of three rows, of A in the loop along k, of C around it.
const BASES: [AsmRegister64; 4] = [r10, r11, r12, r13];

impl Shape {
    /// The shape for a machine, if it has wide vectors.
    pub(super) fn of(features: Features) -> Option<Shape> {
        match features {
            Features::Baseline => None,
            Features::Avx2 => Some(Shape::Ymm),
            Features::Avx512 => Some(Shape::Zmm),
        }
    }

    fn rows(self) -> usize {
        match self {
            Shape::Ymm => 6,
            Shape::Zmm => 12,
        }
    }

    /// Registers that hold one row of a panel.
    fn parts(self) -> usize {
        match self {
            Shape::Ymm => 2,
            Shape::Zmm => 1,
        }
    }

    fn bytes(self) -> i32 {
        match self {
            Shape::Ymm => 32,
            Shape::Zmm => 64,
        }
    }

    fn register(self, n: usize) -> Register {
        let first = match self {
            Shape::Ymm => Register::YMM0,
            Shape::Zmm => Register::ZMM0,
        };
        first + n as u32
    }
}

/// The machine code of the function.
pub(super) fn assemble(shape: Shape, init: Init) -> Result<Vec<u8>, Limit> {
    let code = Writer::new(shape, init).and_then(Writer::write);
    code.map_err(|why| Limit::new(format!("the assembler refuses the dot: {why}")))
}

struct Writer {
    asm: CodeAssembler,
    shape: Shape,
    init: Init,
}

impl Writer {
    fn new(shape: Shape, init: Init) -> Result<Self, IcedError> {
        Ok(Self { asm: CodeAssembler::new(64)?, shape, init })
    }

    fn write(mut self) -> Result<Vec<u8>, IcedError> {
        for register in SAVED {
            self.asm.push(register)?;
        }
        self.asm.sub(rsp, OWN)?;
        self.asm.mov(slot(SCALE), r9)?;
        let (mut panel, mut done) = (self.asm.create_label(), self.asm.create_label());
        self.asm.cmp(slot(N), 0)?;
        self.asm.jle(done)?;
        self.asm.set_label(&mut panel)?;
        self.rows()?;
        // The next panel of B, the next columns of C.
        self.asm.mov(rax, slot(K))?;
        self.asm.shl(rax, (PANEL * 4).trailing_zeros())?;
        self.asm.lea(rdx, qword_ptr(rdx + rax + GAP as i32))?;
        self.asm.add(rcx, PANEL as i32 * 4)?;
        self.asm.sub(slot(N), PANEL as i32)?;
        self.asm.jg(panel)?;
        self.asm.set_label(&mut done)?;
        self.asm.vzeroupper()?;
        self.asm.add(rsp, OWN)?;
        for register in SAVED.into_iter().rev() {
            self.asm.pop(register)?;
        }
        self.asm.ret()?;
        self.asm.assemble(0)
    }

    /// All rows of one panel.
    fn rows(&mut self) -> Result<(), IcedError> {
        let whole = self.shape.rows();
        let (mut again, mut rest, mut last) =
            (self.asm.create_label(), self.asm.create_label(), self.asm.create_label());
        self.asm.mov(slot(BLOCK), rdi)?;
        self.asm.mov(r14, rcx)?;
        self.asm.mov(rbp, slot(SCALE))?;
        // What is fetched ahead starts at the next panel.
        self.asm.mov(r9, slot(K))?;
        self.asm.shl(r9, (PANEL * 4).trailing_zeros())?;
        self.asm.lea(r9, qword_ptr(rdx + r9 + GAP as i32))?;
        self.asm.mov(r15, slot(M))?;
        self.asm.set_label(&mut again)?;
        self.asm.cmp(r15, whole as i32)?;
        self.asm.jl(rest)?;
        self.block(whole)?;
        self.asm.sub(r15, whole as i32)?;
        self.asm.jmp(again)?;
        self.asm.set_label(&mut rest)?;
        for rows in 1..whole {
            let mut next = self.asm.create_label();
            self.asm.cmp(r15, rows as i32)?;
            self.asm.jne(next)?;
            self.block(rows)?;
            self.asm.jmp(last)?;
            self.asm.set_label(&mut next)?;
        }
        self.asm.zero_bytes()?; // for the label of the last test: an instruction takes one label only
        self.asm.set_label(&mut last)
    }

    /// `rows` rows of C from the same of A and one panel of B; then on to the rows after them.
    fn block(&mut self, rows: usize) -> Result<(), IcedError> {
        self.bases(r14, r8, rows)?;
        self.start(rows)?;
        self.asm.mov(rax, slot(BLOCK))?;
        self.bases(rax, rsi, rows)?;
        self.asm.mov(rax, rdx)?;
        self.asm.mov(rbx, slot(K))?;
        let (mut four, mut one, mut done) = (self.asm.create_label(), self.asm.create_label(), self.asm.create_label());
        // Only whole blocks are worth unrolling: there are few others.
        if rows == self.shape.rows() {
            self.asm.sub(rbx, UNROLL)?;
            self.asm.jl(one)?;
            self.along_k(&mut four, rows, UNROLL)?;
            self.asm.set_label(&mut one)?;
            self.asm.add(rbx, UNROLL)?;
        }
        self.asm.test(rbx, rbx)?;
        self.asm.jle(done)?;
        let mut single = self.asm.create_label();
        self.along_k(&mut single, rows, 1)?;
        self.asm.set_label(&mut done)?;
        self.bases(r14, r8, rows)?;
        for (row, part) in self.places(rows) {
            let (to, from) = (self.place(row, r8, part as i32 * self.shape.bytes()), self.sum(row, part));
            self.add(Instruction::with2(self.code().store, to, from))?;
        }
        self.advance(rows)
    }

    /// The loop along k in steps of `count`; `rbx` holds what is left, less `count` where the loop is unrolled.
    fn along_k(&mut self, label: &mut CodeLabel, rows: usize, count: i32) -> Result<(), IcedError> {
        self.asm.set_label(label)?;
        for k in 0..count {
            self.step(rows, k)?;
        }
        if count == UNROLL {
            // All rows of a block of 128 fetch the next panels two or three times over. It has to be in the second cache
            // by then, as blocks that were packed once come from further away.
            self.asm.prefetcht1(byte_ptr(r9))?;
            self.asm.add(r9, self.shape.bytes())?;
        }
        self.asm.add(rax, PANEL as i32 * 4 * count)?;
        for base in BASES.into_iter().take(rows.div_ceil(3)) {
            self.asm.add(base, 4 * count)?;
        }
        self.asm.sub(rbx, count)?;
        if count == UNROLL { self.asm.jge(*label) } else { self.asm.jg(*label) }
    }

    /// One step along k: a row of the panel times a column of A.
    fn step(&mut self, rows: usize, k: i32) -> Result<(), IcedError> {
        let (code, sums) = (self.code(), self.shape.rows() * self.shape.parts());
        let panel = |part: usize| sums + part;
        for part in 0..self.shape.parts() {
            let from =
                MemoryOperand::with_base_displ(Register::RAX, i64::from(k * 64 + part as i32 * self.shape.bytes()));
            self.add(Instruction::with2(code.load, self.shape.register(panel(part)), from))?;
        }
        for row in 0..rows {
            let x = self.place(row, rsi, 4 * k);
            match self.shape {
                Shape::Ymm => {
                    let spread = self.shape.register(sums + 2 + row % 2);
                    self.add(Instruction::with2(code.broadcast, spread, x))?;
                    for part in 0..2 {
                        let y = self.shape.register(panel(part));
                        self.add(Instruction::with3(code.fma, self.sum(row, part), y, spread))?;
                    }
                }
                Shape::Zmm => {
                    let x = MemoryOperand { is_broadcast: true, ..x };
                    let y = self.shape.register(panel(0));
                    self.add(Instruction::with3(code.fma, self.sum(row, 0), y, x))?;
                }
            }
        }
        Ok(())
    }

    /// What the sums start from.
    fn start(&mut self, rows: usize) -> Result<(), IcedError> {
        let code = self.code();
        for (row, part) in self.places(rows) {
            let sum = self.sum(row, part);
            let held = self.place(row, r8, part as i32 * self.shape.bytes());
            match self.init {
                Init::Zero => {
                    // Writing the low 128 bits clears the rest.
                    let low = Register::XMM0 + (row * self.shape.parts() + part) as u32;
                    self.add(Instruction::with3(Code::VEX_Vxorps_xmm_xmm_xmmm128, low, low, low))?;
                }
                Init::Accumulate => self.add(Instruction::with2(code.load, sum, held))?,
                Init::Scaled => {
                    let factor = MemoryOperand::with_base_displ(Register::RBP, 4 * row as i64);
                    self.add(Instruction::with2(code.broadcast, sum, factor))?;
                    self.add(Instruction::with3(code.multiply, sum, sum, held))?;
                }
            }
        }
        Ok(())
    }

    /// Points the base registers at every third row from `first`.
    fn bases(&mut self, first: AsmRegister64, step: AsmRegister64, rows: usize) -> Result<(), IcedError> {
        let mut before = first;
        for (n, base) in BASES.into_iter().take(rows.div_ceil(3)).enumerate() {
            if n == 0 {
                self.asm.mov(base, before)?;
            } else {
                self.asm.lea(base, qword_ptr(before + step * 2))?;
                self.asm.add(base, step)?;
            }
            before = base;
        }
        Ok(())
    }

    /// On to the next block of rows, in A, C and the scale.
    fn advance(&mut self, rows: usize) -> Result<(), IcedError> {
        self.asm.imul_3(rax, rsi, rows as i32)?;
        self.asm.add(slot(BLOCK), rax)?;
        self.asm.imul_3(rax, r8, rows as i32)?;
        self.asm.add(r14, rax)?;
        self.asm.add(rbp, 4 * rows as i32)
    }

    /// A place in a row, by the base registers.
    fn place(&self, row: usize, step: AsmRegister64, displacement: i32) -> MemoryOperand {
        let base: Register = BASES[row / 3].into();
        let displacement = i64::from(displacement);
        match row % 3 {
            0 => MemoryOperand::with_base_displ(base, displacement),
            times => MemoryOperand::with_base_index_scale_displ_size(base, step.into(), times as u32, displacement, 1),
        }
    }

    fn places(&self, rows: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let parts = self.shape.parts();
        (0..rows * parts).map(move |n| (n / parts, n % parts))
    }

    fn sum(&self, row: usize, part: usize) -> Register {
        self.shape.register(row * self.shape.parts() + part)
    }

    fn code(&self) -> Codes {
        match self.shape {
            Shape::Ymm => YMM,
            Shape::Zmm => ZMM,
        }
    }

    fn add(&mut self, instruction: Result<Instruction, IcedError>) -> Result<(), IcedError> {
        self.asm.add_instruction(instruction?)
    }
}

/// The instructions of one vector width.
#[derive(Clone, Copy)]
struct Codes {
    load: Code,
    store: Code,
    broadcast: Code,
    multiply: Code,
    fma: Code,
}

const YMM: Codes = Codes {
    load: Code::VEX_Vmovups_ymm_ymmm256,
    store: Code::VEX_Vmovups_ymmm256_ymm,
    broadcast: Code::VEX_Vbroadcastss_ymm_m32,
    multiply: Code::VEX_Vmulps_ymm_ymm_ymmm256,
    fma: Code::VEX_Vfmadd231ps_ymm_ymm_ymmm256,
};

const ZMM: Codes = Codes {
    load: Code::EVEX_Vmovups_zmm_k1z_zmmm512,
    store: Code::EVEX_Vmovups_zmmm512_k1z_zmm,
    broadcast: Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32,
    multiply: Code::EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er,
    fma: Code::EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er,
};

/// A word of the stack.
fn slot(offset: i32) -> AsmMemoryOperand {
    qword_ptr(rsp + offset)
}
