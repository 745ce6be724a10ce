//! Writes the wide form of a body as a function: `(lanes, pointers…, stream?, scalars…) -> what is carried`, in the System V
//! calling convention. It goes over as many lanes as fill whole registers and leaves the others to the caller.
//!
//! What a reduction carries is kept once or twice, folded at the end, and returned as the four lanes of the 128-bit loop.

use std::collections::{HashMap, HashSet};

use iced_x86::code_asm::{
    AsmRegister64, CodeAssembler, CodeLabel, dword_ptr, eax, get_ymm, get_zmm, qword_ptr, r8, r9, r10, r11, rax, rcx,
    rdi, rdx, rsi, rsp,
};
use iced_x86::{Code, IcedError, Instruction, MemoryOperand, Register as Machine};

use super::{Body, Cache, Compare, LINE, Memory, One, Op, Place, Register, Step, Two, Uniform, Way};
use crate::{Features, Limit};

mod codes;

use codes::Width;

/// Pointers, and whether to stream, come in these: five as arguments, two from the stack.
const POINTERS: [AsmRegister64; 7] = [rsi, rdx, rcx, r8, r9, r10, r11];
const ON_STACK: usize = 5;
const SCALARS: usize = 8;
const RESULTS: usize = 2;

/// The lanes of a trip where the host has wide vectors.
pub(crate) fn lanes(features: Features) -> Option<i64> {
    Width::of(features).map(|w| w.lanes() as i64)
}

/// The machine code of the function; `None` if the body needs more registers than there are.
///
/// # Errors
/// What the assembler refuses.
pub(crate) fn assemble(features: Features, body: &Body) -> Result<Option<Vec<u8>>, Limit> {
    let Some(width) = Width::of(features) else { return Ok(None) };
    if words(body) > POINTERS.len() || body.scalars.len() > SCALARS || body.carried.len() > RESULTS {
        return Ok(None);
    }
    // As many constants in registers as leave enough of them for the rest.
    let constants = body.uniform.iter().filter(|(_, u)| matches!(u, Uniform::Bits(_))).count();
    for held in (0..=constants).rev() {
        match Writer::new(width, body, held).and_then(Writer::write) {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(Stop::Registers) => {}
            Err(Stop::Form) => return Ok(None),
            Err(Stop::Assembler(why)) => return Err(Limit::new(format!("the assembler refuses a loop: {why}"))),
        }
    }
    Ok(None)
}

/// How many of [`POINTERS`] are taken.
fn words(body: &Body) -> usize {
    body.pointers.len() + usize::from(body.streams())
}

/// Why writing stopped.
enum Stop {
    /// There are too few.
    Registers,
    /// An operation has no instruction in this width.
    Form,
    Assembler(IcedError),
}

impl From<IcedError> for Stop {
    fn from(why: IcedError) -> Self {
        Stop::Assembler(why)
    }
}

/// The number of a vector register.
type Slot = u32;

struct Writer<'a> {
    asm: CodeAssembler,
    width: Width,
    body: &'a Body,
    /// How many constants stay in registers.
    held: usize,
    slots: HashMap<Register, Slot>,
    /// Constants that are read from behind the code.
    far: HashMap<Register, (u32, CodeLabel)>,
    /// Free slots; the last is taken first.
    free: Vec<Slot>,
    /// Whether stores that may go around the caches do.
    streaming: bool,
}

impl<'a> Writer<'a> {
    fn new(width: Width, body: &'a Body, held: usize) -> Result<Self, Stop> {
        let free = (body.scalars.len() as Slot..width.slots()).collect();
        let asm = CodeAssembler::new(64)?;
        Ok(Self { asm, width, body, held, slots: HashMap::new(), far: HashMap::new(), free, streaming: false })
    }

    fn write(mut self) -> Result<Vec<u8>, Stop> {
        self.function()?;
        Ok(self.asm.assemble(0)?)
    }

    fn function(&mut self) -> Result<(), Stop> {
        let body = self.body;
        for (n, pointer) in POINTERS.iter().enumerate().take(words(body)).skip(ON_STACK) {
            self.asm.mov(*pointer, qword_ptr(rsp + 8 * (n - ON_STACK + 1)))?;
        }
        let copies = if body.carried.is_empty() { 1 } else { 2 };
        // The results first, since they take the highest slots: returning them must not overwrite one by another.
        let mut sums: Vec<Vec<Slot>> = Vec::new();
        for _ in 0..copies {
            sums.push(body.carried.iter().map(|_| self.take()).collect::<Result<_, _>>()?);
        }
        self.uniform()?;
        for sums in &sums {
            for (sum, start) in sums.iter().zip(&body.start) {
                let from = self.operand(*start)?;
                self.copy(*sum, from.slot)?;
                self.give(from);
            }
        }
        if body.streams() {
            self.both_ways(&sums)?;
        } else {
            self.loops(&sums)?;
        }
        self.fold(&sums)?;
        self.asm.vzeroupper()?;
        self.asm.ret()?;
        let mut far: Vec<(u32, CodeLabel)> = self.far.drain().map(|(_, at)| at).collect();
        far.sort_by_key(|(bits, _)| *bits);
        for (bits, mut label) in far {
            self.asm.set_label(&mut label)?;
            self.asm.dd(&[bits])?;
        }
        Ok(())
    }

    /// The loops twice: with stores around the caches, and, where they are not wanted or not aligned, without.
    fn both_ways(&mut self, sums: &[Vec<Slot>]) -> Result<(), Stop> {
        let body = self.body;
        let (mut cached, mut done) = (self.asm.create_label(), self.asm.create_label());
        let flag = POINTERS[body.pointers.len()];
        self.asm.test(flag, flag)?;
        self.asm.je(cached)?;
        let mut seen: Vec<(usize, i32)> = Vec::new();
        for step in &body.steps {
            let Op::Store(place, _, Way::Streamed) = step.op else { continue };
            if !seen.contains(&(place.pointer, place.offset)) {
                seen.push((place.pointer, place.offset));
                self.asm.lea(rax, qword_ptr(POINTERS[place.pointer] + place.offset))?;
                self.asm.test(eax, (LINE - 1) as i32)?;
                self.asm.jne(cached)?;
            }
        }
        self.streaming = true;
        self.loops(sums)?;
        self.asm.jmp(done)?;
        self.streaming = false;
        self.asm.set_label(&mut cached)?;
        self.loops(sums)?;
        self.asm.set_label(&mut done)?;
        // A label marks an instruction.
        self.asm.nop()?;
        Ok(())
    }

    fn loops(&mut self, sums: &[Vec<Slot>]) -> Result<(), Stop> {
        self.asm.xor(eax, eax)?;
        for copies in [2, 1].into_iter().filter(|n| *n <= sums.len()) {
            let step = (copies as u32 * self.width.lanes()) as i32;
            let (mut again, mut done) = (self.asm.create_label(), self.asm.create_label());
            self.asm.sub(rdi, step)?;
            self.asm.jl(done)?;
            self.asm.set_label(&mut again)?;
            for (copy, sums) in sums.iter().enumerate().take(copies) {
                self.trip(sums, copy as i32)?;
            }
            self.asm.add(rax, step)?;
            self.asm.sub(rdi, step)?;
            self.asm.jge(again)?;
            self.asm.set_label(&mut done)?;
            self.asm.add(rdi, step)?;
        }
        Ok(())
    }

    /// Brings what does not change into registers.
    fn uniform(&mut self) -> Result<(), Stop> {
        let body = self.body;
        let mut uses: HashMap<Register, usize> = HashMap::new();
        for arg in body.steps.iter().flat_map(|s| &s.args) {
            *uses.entry(*arg).or_default() += 1;
        }
        let mut constants = Vec::new();
        for (register, what) in &body.uniform {
            match what {
                Uniform::Scalar(n) => {
                    let slot = *n as Slot;
                    self.broadcast_slot(slot)?;
                    self.slots.insert(*register, slot);
                }
                Uniform::Bits(bits) => constants.push((uses.get(register).copied().unwrap_or(0), *register, *bits)),
            }
        }
        constants.sort_by_key(|(uses, register, _)| (std::cmp::Reverse(*uses), *register));
        for (n, (_, register, bits)) in constants.into_iter().enumerate() {
            let label = self.asm.create_label();
            self.far.insert(register, (bits, label));
            if n < self.held {
                let slot = self.take()?;
                self.broadcast_far(slot, label)?;
                self.slots.insert(register, slot);
            }
        }
        Ok(())
    }

    fn broadcast_slot(&mut self, slot: Slot) -> Result<(), Stop> {
        let (to, from) = (self.width.register(slot), Machine::XMM0 + slot);
        self.add(Instruction::with2(self.width.broadcast_register(), to, from))
    }

    fn broadcast_far(&mut self, slot: Slot, label: CodeLabel) -> Result<(), Stop> {
        let register = self.width.register(slot);
        match self.width {
            Width::Ymm => self.asm.vbroadcastss(get_ymm(register).ok_or(Stop::Registers)?, dword_ptr(label))?,
            Width::Zmm => self.asm.vbroadcastss(get_zmm(register).ok_or(Stop::Registers)?, dword_ptr(label))?,
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Slot, Stop> {
        self.free.pop().ok_or(Stop::Registers)
    }

    /// Where an argument is; a constant from behind the code is read into a slot that [`Writer::give`] takes back.
    fn operand(&mut self, register: Register) -> Result<Operand, Stop> {
        if let Some(slot) = self.slots.get(&register) {
            return Ok(Operand { slot: *slot, borrowed: false });
        }
        let Some((_, label)) = self.far.get(&register).copied() else { return Err(Stop::Form) };
        let slot = self.take()?;
        self.broadcast_far(slot, label)?;
        Ok(Operand { slot, borrowed: true })
    }

    fn give(&mut self, operand: Operand) {
        if operand.borrowed {
            self.free.push(operand.slot);
        }
    }

    /// One trip of the loop, `copy` trips further on.
    fn trip(&mut self, sums: &[Slot], copy: i32) -> Result<(), Stop> {
        let body = self.body;
        for ((register, _), slot) in body.carried.iter().zip(sums) {
            self.slots.insert(*register, *slot);
        }
        for (place, into) in &body.ahead {
            let code = match into {
                Cache::First => Code::Prefetcht0_m8,
                Cache::Second => Code::Prefetcht1_m8,
            };
            let at = self.place(*place, copy);
            self.add(Instruction::with1(code, at))?;
        }
        let next: Vec<Register> = body.carried.iter().map(|(_, next)| *next).collect();
        self.steps(&body.steps, &next, copy)?;
        for (next, sum) in next.iter().zip(sums) {
            let from = self.operand(*next)?;
            self.copy(*sum, from.slot)?;
            self.give(from);
        }
        self.release(&body.steps, &next);
        Ok(())
    }

    /// Frees the results of steps that were kept.
    fn release(&mut self, steps: &[Step], kept: &[Register]) {
        let made: HashSet<Register> = steps.iter().filter_map(|s| s.result).collect();
        let kept: HashSet<Register> = kept.iter().copied().filter(|r| made.contains(r)).collect();
        for register in kept {
            if let Some(slot) = self.slots.remove(&register) {
                self.free.push(slot);
            }
        }
    }

    /// Writes steps; the slots of all results but `kept` are free afterwards.
    fn steps(&mut self, steps: &[Step], kept: &[Register], copy: i32) -> Result<(), Stop> {
        let mut last: HashMap<Register, usize> = HashMap::new();
        for (n, step) in steps.iter().enumerate() {
            last.extend(step.args.iter().map(|arg| (*arg, n)));
        }
        let made: HashSet<Register> = steps.iter().filter_map(|s| s.result).collect();
        let ends = |register: &Register, n: usize| {
            made.contains(register) && !kept.contains(register) && last.get(register).is_none_or(|end| *end == n)
        };
        for (n, step) in steps.iter().enumerate() {
            let args: Vec<Operand> = step.args.iter().map(|arg| self.operand(*arg)).collect::<Result<_, _>>()?;
            let mut dying: Vec<Register> = step.args.iter().copied().filter(|arg| ends(arg, n)).collect();
            dying.sort_unstable();
            dying.dedup();
            let dying_slots: Vec<Slot> = dying.iter().filter_map(|r| self.slots.remove(r)).collect();
            let slots: Vec<Slot> = args.iter().map(|a| a.slot).collect();
            let borrowed: Vec<Slot> = args.iter().filter(|a| a.borrowed).map(|a| a.slot).collect();
            let over: Vec<Slot> = dying_slots.iter().chain(&borrowed).copied().collect();
            let result = self.step(step, &slots, &over, copy)?;
            self.free.extend(over.into_iter().filter(|slot| Some(*slot) != result));
            if let (Some(register), Some(slot)) = (step.result, result) {
                if ends(&register, n) || (!kept.contains(&register) && !last.contains_key(&register)) {
                    self.free.push(slot);
                } else {
                    self.slots.insert(register, slot);
                }
            }
        }
        Ok(())
    }

    /// One step. `over` are slots of arguments that nothing needs afterwards; the result may take one.
    fn step(&mut self, step: &Step, args: &[Slot], over: &[Slot], copy: i32) -> Result<Option<Slot>, Stop> {
        let width = self.width;
        if let Op::Store(place, memory, way) = step.op {
            match way {
                Way::Streamed if self.streaming => self.stream(args[0], place, memory, copy)?,
                Way::Streamed | Way::Cached => self.store(args[0], place, memory, copy)?,
            }
            return Ok(None);
        }
        let to = match (step.op, over.first()) {
            // Written before all arguments are read.
            (Op::FusedMultiplyAdd | Op::Choose | Op::Compare(_) | Op::Select(_), _) | (_, None) => None,
            (_, Some(slot)) => Some(*slot),
        };
        if let (Op::FusedMultiplyAdd, [a, b, c]) = (step.op, args) {
            return self.fused(*a, *b, *c, over).map(Some);
        }
        let to = match to {
            Some(slot) => slot,
            None => self.take()?,
        };
        let (target, source) = (width.register(to), |n: usize| width.register(args[n]));
        match step.op {
            Op::Load(place, memory) => {
                let from = self.place(place, copy);
                self.add(Instruction::with2(width.load(memory), target, from))?;
            }
            Op::One(one) => {
                let (code, immediate) = width.one(one);
                match immediate {
                    Some(n) if one == One::RoundHalf => {
                        self.add(Instruction::with3(code, width.lower(to), source(0), n))?;
                        self.add(Instruction::with2(width.widen_half(), target, width.lower(to)))?;
                    }
                    Some(n) => self.add(Instruction::with3(code, target, source(0), n))?,
                    None => self.add(Instruction::with2(code, target, source(0)))?,
                }
            }
            Op::Two(two) => self.add(Instruction::with3(width.two(two), target, source(0), source(1)))?,
            Op::Shift(shift, count) => {
                self.add(Instruction::with3(width.shift(shift), target, source(0), i32::from(count)))?;
            }
            Op::Compare(compare) => self.mask(compare, args[0], args[1], to)?,
            Op::Select(compare) => self.select(compare, args, to)?,
            Op::Choose => self.choose(args, to)?,
            Op::FusedMultiplyAdd | Op::Store(..) => return Err(Stop::Form),
        }
        Ok(Some(to))
    }

    fn fused(&mut self, a: Slot, b: Slot, c: Slot, over: &[Slot]) -> Result<Slot, Stop> {
        let width = self.width;
        let (x, y, z) = (width.register(a), width.register(b), width.register(c));
        if over.contains(&c) {
            self.add(Instruction::with3(width.add_product(), z, x, y))?;
            return Ok(c);
        }
        if over.contains(&a) {
            self.add(Instruction::with3(width.multiply_add(), x, y, z))?;
            return Ok(a);
        }
        if over.contains(&b) {
            self.add(Instruction::with3(width.multiply_add(), y, x, z))?;
            return Ok(b);
        }
        let to = self.take()?;
        self.copy(to, c)?;
        self.add(Instruction::with3(width.add_product(), width.register(to), x, y))?;
        Ok(to)
    }

    /// All ones where it holds.
    fn mask(&mut self, compare: Compare, a: Slot, b: Slot, to: Slot) -> Result<(), Stop> {
        let target = self.width.register(to);
        match self.width {
            Width::Zmm => {
                self.predicate(compare, a, b)?;
                let ones = Code::EVEX_Vpternlogd_zmm_k1z_zmm_zmmm512b32_imm8;
                let mut ones = Instruction::with4(ones, target, target, target, 0xff)?;
                ones.set_op_mask(Machine::K1);
                ones.set_zeroing_masking(true);
                self.add(Ok(ones))
            }
            Width::Ymm => {
                if self.narrow_mask(compare, a, b, to)? {
                    let ones = self.take()?;
                    let register = self.width.register(ones);
                    self.add(Instruction::with3(Code::VEX_Vpcmpeqd_ymm_ymm_ymmm256, register, register, register))?;
                    self.add(Instruction::with3(self.width.two(Two::Xor), target, target, register))?;
                    self.free.push(ones);
                }
                Ok(())
            }
        }
    }

    /// A comparison into the mask register k1.
    fn predicate(&mut self, compare: Compare, a: Slot, b: Slot) -> Result<(), Stop> {
        let (code, number) = match compare {
            Compare::Float(n) => (Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae, n),
            Compare::Signed(n) => (Code::EVEX_Vpcmpd_kr_k1_zmm_zmmm512b32_imm8, n),
            Compare::Unsigned(n) => (Code::EVEX_Vpcmpud_kr_k1_zmm_zmmm512b32_imm8, n),
        };
        let (a, b) = (self.width.register(a), self.width.register(b));
        self.add(Instruction::with4(code, Machine::K1, a, b, i32::from(number)))
    }

    /// A comparison into a vector of 256 bits; `true` if it is the opposite.
    fn narrow_mask(&mut self, compare: Compare, a: Slot, b: Slot, to: Slot) -> Result<bool, Stop> {
        let (a, b, to) = (self.width.register(a), self.width.register(b), self.width.register(to));
        let greater = Code::VEX_Vpcmpgtd_ymm_ymm_ymmm256;
        let (code, a, b, opposite) = match compare {
            Compare::Float(n) => {
                self.add(Instruction::with4(Code::VEX_Vcmpps_ymm_ymm_ymmm256_imm8, to, a, b, i32::from(n)))?;
                return Ok(false);
            }
            Compare::Signed(0) => (Code::VEX_Vpcmpeqd_ymm_ymm_ymmm256, a, b, false),
            Compare::Signed(4) => (Code::VEX_Vpcmpeqd_ymm_ymm_ymmm256, a, b, true),
            Compare::Signed(6) => (greater, a, b, false),
            Compare::Signed(2) => (greater, a, b, true),
            Compare::Signed(1) => (greater, b, a, false),
            Compare::Signed(5) => (greater, b, a, true),
            Compare::Signed(_) | Compare::Unsigned(_) => return Err(Stop::Form),
        };
        self.add(Instruction::with3(code, to, a, b))?;
        Ok(opposite)
    }

    fn select(&mut self, compare: Compare, args: &[Slot], to: Slot) -> Result<(), Stop> {
        let (target, x, y) = (self.width.register(to), self.width.register(args[2]), self.width.register(args[3]));
        match self.width {
            Width::Zmm => {
                self.predicate(compare, args[0], args[1])?;
                let blend = Code::EVEX_Vblendmps_zmm_k1z_zmm_zmmm512b32;
                let mut blend = Instruction::with3(blend, target, y, x)?;
                blend.set_op_mask(Machine::K1);
                self.add(Ok(blend))
            }
            Width::Ymm => {
                let opposite = self.narrow_mask(compare, args[0], args[1], to)?;
                let (x, y) = if opposite { (y, x) } else { (x, y) };
                self.add(Instruction::with4(Code::VEX_Vblendvps_ymm_ymm_ymmm256_ymm, target, y, x, target))
            }
        }
    }

    fn choose(&mut self, args: &[Slot], to: Slot) -> Result<(), Stop> {
        let (target, cond) = (self.width.register(to), self.width.register(args[0]));
        let (x, y) = (self.width.register(args[1]), self.width.register(args[2]));
        match self.width {
            Width::Zmm => {
                self.copy(to, args[0])?;
                let code = Code::EVEX_Vpternlogd_zmm_k1z_zmm_zmmm512b32_imm8;
                self.add(Instruction::with4(code, target, x, y, 0xca))
            }
            // Conditions are all ones or all zeros.
            Width::Ymm => self.add(Instruction::with4(Code::VEX_Vblendvps_ymm_ymm_ymmm256_ymm, target, y, x, cond)),
        }
    }

    fn store(&mut self, from: Slot, place: Place, memory: Memory, copy: i32) -> Result<(), Stop> {
        let (to, source) = (self.place(place, copy), self.width.register(from));
        let code = self.width.store(memory);
        match (memory, self.width) {
            (Memory::Half, _) => self.add(Instruction::with3(code, to, source, 0)),
            (Memory::Whole, _) | (_, Width::Zmm) => self.add(Instruction::with2(code, to, source)),
            (Memory::Signed16 | Memory::Unsigned16, Width::Ymm) => {
                let words = self.take()?;
                self.pack(memory, words, source)?;
                self.add(Instruction::with2(Code::VEX_Vmovups_xmmm128_xmm, to, Machine::XMM0 + words))?;
                self.free.push(words);
                Ok(())
            }
        }
    }

    /// A store around the caches.
    fn stream(&mut self, from: Slot, place: Place, memory: Memory, copy: i32) -> Result<(), Stop> {
        let (to, source) = (self.place(place, copy), self.width.register(from));
        let whole = self.width.stream();
        if memory == Memory::Whole {
            return self.add(Instruction::with2(whole, to, source));
        }
        let words = self.take()?;
        let (code, lower) = (self.width.store(memory), self.width.lower(words));
        match (memory, self.width) {
            (Memory::Half, _) => self.add(Instruction::with3(code, lower, source, 0))?,
            (Memory::Whole | Memory::Signed16 | Memory::Unsigned16, Width::Zmm) => {
                self.add(Instruction::with2(code, lower, source))?;
            }
            (Memory::Whole | Memory::Signed16 | Memory::Unsigned16, Width::Ymm) => self.pack(memory, words, source)?,
        }
        self.add(Instruction::with2(self.width.stream_lower(), to, lower))?;
        self.free.push(words);
        Ok(())
    }

    /// Eight lanes of 32 bits as 16 bits each in the lower half of a register.
    fn pack(&mut self, memory: Memory, to: Slot, source: Machine) -> Result<(), Stop> {
        let pack = match memory {
            Memory::Whole | Memory::Half => return Err(Stop::Form),
            Memory::Signed16 => Code::VEX_Vpackssdw_ymm_ymm_ymmm256,
            Memory::Unsigned16 => Code::VEX_Vpackusdw_ymm_ymm_ymmm256,
        };
        let target = self.width.register(to);
        self.add(Instruction::with3(pack, target, source, source))?;
        // The packed halves of both 128-bit lanes, side by side.
        self.add(Instruction::with3(Code::VEX_Vpermq_ymm_ymmm256_imm8, target, target, 0x08))
    }

    /// Folds all that is carried and puts it where it is returned.
    fn fold(&mut self, sums: &[Vec<Slot>]) -> Result<(), Stop> {
        let Some((first, more)) = sums.split_first() else { return Ok(()) };
        for (n, slot) in first.iter().enumerate() {
            for more in more {
                self.fold_into(n, *slot, more[n])?;
            }
            for turn in 0..self.width.halvings() {
                let other = self.take()?;
                let (code, immediate) = self.width.turned(turn);
                let (to, from) = (self.width.register(other), self.width.register(*slot));
                self.add(Instruction::with4(code, to, from, from, immediate))?;
                self.fold_into(n, *slot, other)?;
                self.free.push(other);
            }
        }
        for (n, slot) in first.iter().enumerate() {
            self.copy(n as Slot, *slot)?;
        }
        Ok(())
    }

    fn fold_into(&mut self, n: usize, left: Slot, right: Slot) -> Result<(), Stop> {
        let Some(fold) = self.body.folds.get(n) else { return Err(Stop::Form) };
        self.slots.insert(fold.left, left);
        self.slots.insert(fold.right, right);
        let kept = [fold.result];
        self.steps(&fold.steps, &kept, 0)?;
        let result = self.operand(fold.result)?;
        self.copy(left, result.slot)?;
        self.release(&fold.steps, &kept);
        Ok(())
    }

    fn copy(&mut self, to: Slot, from: Slot) -> Result<(), Stop> {
        if to == from {
            return Ok(());
        }
        let (to, from) = (self.width.register(to), self.width.register(from));
        self.add(Instruction::with2(self.width.copy(), to, from))
    }

    fn place(&self, place: Place, copy: i32) -> MemoryOperand {
        let base: Machine = POINTERS[place.pointer].into();
        let offset = place.offset + copy * place.scale as i32 * self.width.lanes() as i32;
        MemoryOperand::with_base_index_scale_displ_size(base, Machine::RAX, place.scale, i64::from(offset), 1)
    }

    fn add(&mut self, instruction: Result<Instruction, IcedError>) -> Result<(), Stop> {
        Ok(self.asm.add_instruction(instruction?)?)
    }
}

struct Operand {
    slot: Slot,
    borrowed: bool,
}
