//! Reads the body of a loop back from Cranelift's IR: addresses as sums with the index, numbers that do not change from
//! trip to trip, and the steps between them. It gives up on anything that it does not know, which is no error.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "of Cranelift's many instructions, what is not named has no wide form"
)]

use std::collections::{HashMap, HashSet};

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{Block, Function, Inst, InstructionData, Opcode, Type, Value, ValueDef, types};

use super::{Body, Compare, Fold, Memory, One, Op, Place, Register, Shift, Step, Two, Uniform, Way};
use crate::emit::Half;

/// What is known of a value.
#[derive(Clone, Debug, PartialEq)]
enum Known {
    /// An i64: a sum of values from outside, so many times the index, and a number.
    Address(Vec<Value>, i64, i64),
    /// A 32-bit number.
    Bits(u32),
    /// A 32-bit value from outside.
    Scalar(Value),
    /// A vector.
    Lanes(Register),
    /// A vector that is being narrowed to 16 bits.
    Words(Register, Memory),
    /// The patterns of f16s, and the f32s that they stand for.
    Halves(Register, Register),
    /// A comparison that is made where it is used to choose.
    Condition(Compare, Register, Register),
}

struct Reader<'a> {
    func: &'a Function,
    /// Where constants of the loop stand, and nothing else that counts.
    before: Block,
    streamed: &'a HashSet<Inst>,
    halves: &'a HashMap<Value, Half>,
    known: HashMap<Value, Known>,
    body: Body,
    steps: Vec<Step>,
}

/// The body of the loop `block`, which jumps to itself, whose first parameter counts lanes by four, and whose others
/// start from `start` and are folded by the blocks of `folds`: of two parameters each, giving the value. Stores in
/// `streamed` may go around the caches; `halves` is what is known of conversions. `None` if any part of it has no wide form.
pub(crate) fn read(
    func: &Function,
    block: Block,
    before: Block,
    start: &[Value],
    folds: &[(Block, Value)],
    (streamed, halves): (&HashSet<Inst>, &HashMap<Value, Half>),
) -> Option<Body> {
    let mut reader =
        Reader { func, before, streamed, halves, known: HashMap::new(), body: Body::default(), steps: Vec::new() };
    let params = func.dfg.block_params(block);
    let (index, carried) = params.split_first()?;
    reader.known.insert(*index, Known::Address(Vec::new(), 1, 0));
    let carried: Vec<Register> = carried.iter().map(|v| reader.param(*v)).collect::<Option<_>>()?;
    let last = func.layout.last_inst(block)?;
    for inst in func.layout.block_insts(block).filter(|i| *i != last) {
        reader.inst(inst)?;
    }
    let next = next_values(func, block, last)?;
    let next: Vec<Register> = next.iter().map(|v| reader.lanes(*v)).collect::<Option<_>>()?;
    reader.body.carried = carried.into_iter().zip(next).collect();
    reader.body.start = start.iter().map(|v| reader.lanes(*v)).collect::<Option<_>>()?;
    reader.body.steps = std::mem::take(&mut reader.steps);
    let made = |register: &Register| reader.body.steps.iter().any(|step| step.result == Some(*register));
    if !reader.body.carried.iter().all(|(_, next)| made(next)) {
        return None;
    }
    for (block, result) in folds {
        let params = func.dfg.block_params(*block);
        let (left, right) = (reader.param(*params.first()?)?, reader.param(*params.get(1)?)?);
        let last = func.layout.last_inst(*block)?;
        for inst in func.layout.block_insts(*block).filter(|i| *i != last) {
            reader.inst(inst)?;
        }
        let result = reader.lanes(*result)?;
        reader.body.folds.push(Fold { left, right, steps: std::mem::take(&mut reader.steps), result });
    }
    let only_uniform = reader.body.start.iter().all(|r| reader.body.uniform.iter().any(|(u, _)| u == r));
    if !only_uniform || reader.body.steps.is_empty() {
        return None;
    }
    prune(&mut reader.body);
    Some(reader.body)
}

/// Takes out what nothing needs: what one instruction does instead of several.
fn prune(body: &mut Body) {
    let next = body.carried.iter().map(|(_, next)| *next).collect();
    let mut needed = needed(&mut body.steps, next);
    needed.extend(body.start.iter().copied());
    for fold in &mut body.folds {
        needed.extend(self::needed(&mut fold.steps, HashSet::from([fold.result])));
    }
    body.uniform.retain(|(register, _)| needed.contains(register));
}

/// Keeps the steps that stores and `wanted` need; all that is needed then.
fn needed(steps: &mut Vec<Step>, mut wanted: HashSet<Register>) -> HashSet<Register> {
    let mut kept: Vec<Step> = Vec::new();
    for step in std::mem::take(steps).into_iter().rev() {
        if step.result.is_none_or(|result| wanted.contains(&result)) {
            wanted.extend(&step.args);
            kept.push(step);
        }
    }
    kept.reverse();
    *steps = kept;
    wanted
}

/// What the loop hands to its next trip, without the index.
fn next_values(func: &Function, block: Block, last: Inst) -> Option<Vec<Value>> {
    let InstructionData::Brif { blocks, .. } = func.dfg.insts[last] else { return None };
    let pool = &func.dfg.value_lists;
    let again = blocks.iter().find(|call| call.block(pool) == block)?;
    again.args(pool).skip(1).map(|arg| arg.as_value()).collect()
}

impl Reader<'_> {
    fn register(&mut self) -> Register {
        self.body.registers += 1;
        self.body.registers - 1
    }

    fn param(&mut self, value: Value) -> Option<Register> {
        self.is_vector(value).then(|| {
            let register = self.register();
            self.known.insert(value, Known::Lanes(register));
            register
        })
    }

    fn ty(&self, value: Value) -> Type {
        self.func.dfg.value_type(value)
    }

    fn is_vector(&self, value: Value) -> bool {
        matches!(self.ty(value), types::F32X4 | types::I32X4)
    }

    /// What is known of a value, if need be from outside of the loop.
    fn of(&mut self, value: Value) -> Option<Known> {
        let value = self.func.dfg.resolve_aliases(value);
        if let Some(known) = self.known.get(&value) {
            return Some(known.clone());
        }
        let known = self.outside(value)?;
        self.known.insert(value, known.clone());
        Some(known)
    }

    fn outside(&mut self, value: Value) -> Option<Known> {
        if let ValueDef::Result(inst, 0) = self.func.dfg.value_def(value) {
            match self.func.dfg.insts[inst] {
                InstructionData::UnaryImm { opcode: Opcode::Iconst, .. }
                | InstructionData::UnaryIeee32 { .. }
                | InstructionData::UnaryConst { .. } => return self.constant(inst),
                InstructionData::Unary { opcode: Opcode::Splat, arg } if self.is_vector(value) => {
                    let lane = self.of(arg)?;
                    return self.spread(lane).map(Known::Lanes);
                }
                _ => {}
            }
            if self.func.layout.inst_block(inst) == Some(self.before) {
                return None;
            }
        }
        match self.ty(value) {
            types::I64 => Some(Known::Address(vec![value], 0, 0)),
            types::F32 | types::I32 => Some(Known::Scalar(value)),
            _ => None,
        }
    }

    fn constant(&mut self, inst: Inst) -> Option<Known> {
        let ty = self.ty(self.func.dfg.first_result(inst));
        match self.func.dfg.insts[inst] {
            InstructionData::UnaryImm { imm, .. } if ty == types::I64 => {
                Some(Known::Address(Vec::new(), 0, imm.bits()))
            }
            InstructionData::UnaryImm { imm, .. } => Some(Known::Bits(imm.bits() as u32)),
            InstructionData::UnaryIeee32 { imm, .. } => Some(Known::Bits(imm.bits())),
            InstructionData::UnaryConst { constant_handle, .. } if matches!(ty, types::F32X4 | types::I32X4) => {
                let bytes = self.func.dfg.constants.get(constant_handle).as_slice();
                let mut lanes = bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                let first = lanes.next()?;
                lanes.all(|lane| lane == first).then(|| Known::Lanes(self.bits(first)))
            }
            _ => None,
        }
    }

    fn uniform(&mut self, what: Uniform) -> Register {
        if let Some((register, _)) = self.body.uniform.iter().find(|(_, u)| *u == what) {
            return *register;
        }
        let register = self.register();
        self.body.uniform.push((register, what));
        register
    }

    fn bits(&mut self, bits: u32) -> Register {
        self.uniform(Uniform::Bits(bits))
    }

    fn spread(&mut self, lane: Known) -> Option<Register> {
        match lane {
            Known::Bits(bits) => Some(self.bits(bits)),
            Known::Scalar(value) => {
                let scalars = &mut self.body.scalars;
                let at = scalars.iter().position(|s| *s == value).unwrap_or_else(|| {
                    scalars.push(value);
                    scalars.len() - 1
                });
                Some(self.uniform(Uniform::Scalar(at)))
            }
            Known::Address(..) | Known::Lanes(_) | Known::Halves(..) | Known::Words(..) | Known::Condition(..) => None,
        }
    }

    /// A value as a vector.
    fn lanes(&mut self, value: Value) -> Option<Register> {
        match self.of(value)? {
            Known::Lanes(register) | Known::Halves(register, _) => Some(register),
            Known::Condition(compare, a, b) => Some(self.step(Op::Compare(compare), &[a, b])),
            Known::Address(..) | Known::Bits(_) | Known::Scalar(_) | Known::Words(..) => None,
        }
    }

    fn step(&mut self, op: Op, args: &[Register]) -> Register {
        let result = self.register();
        self.steps.push(Step { op, args: args.to_vec(), result: Some(result) });
        result
    }

    /// An address whose neighbours along the index are `bytes` apart.
    fn place(&mut self, address: Value, offset: i32, bytes: i64) -> Option<Place> {
        let Known::Address(mut terms, scale, plus) = self.of(address)? else { return None };
        terms.sort();
        if scale != bytes || terms.is_empty() {
            return None;
        }
        let pointers = &mut self.body.pointers;
        let pointer = pointers.iter().position(|p| *p == terms).unwrap_or_else(|| {
            pointers.push(terms);
            pointers.len() - 1
        });
        let offset = i32::try_from(plus.checked_add(i64::from(offset))?).ok().filter(|o| o.abs() < 1 << 30)?;
        Some(Place { pointer, scale: bytes as u32, offset })
    }

    fn inst(&mut self, inst: Inst) -> Option<()> {
        let data = self.func.dfg.insts[inst];
        if let InstructionData::Store { opcode: Opcode::Store, args, offset, .. } = data {
            let way = if self.streamed.contains(&inst) { Way::Streamed } else { Way::Cached };
            return self.store(args[0], args[1], offset.into(), way);
        }
        let result = self.func.dfg.inst_results(inst).first().copied()?;
        let known = match data {
            InstructionData::UnaryImm { .. }
            | InstructionData::UnaryIeee32 { .. }
            | InstructionData::UnaryConst { .. } => self.constant(inst)?,
            InstructionData::Load { opcode, arg, offset, .. } => {
                self.load(opcode, self.ty(result), arg, offset.into())?
            }
            InstructionData::Unary { opcode, arg } => self.unary(opcode, self.ty(result), arg)?,
            InstructionData::LoadNoOffset { opcode: Opcode::Bitcast, arg, .. } => self.bitcast(self.ty(result), arg)?,
            InstructionData::Binary { opcode, args } if self.ty(result) == types::I64 => self.sum(opcode, args)?,
            InstructionData::Binary { opcode: opcode @ (Opcode::Snarrow | Opcode::Unarrow), args } => {
                let memory = if opcode == Opcode::Snarrow { Memory::Signed16 } else { Memory::Unsigned16 };
                let x = (args[0] == args[1] && self.is_vector(args[0])).then(|| self.of(args[0]))??;
                match (x, memory) {
                    (Known::Halves(_, floats), Memory::Unsigned16) => Known::Words(floats, Memory::Half),
                    _ => Known::Words(self.lanes(args[0])?, memory),
                }
            }
            InstructionData::BinaryImm8 { opcode: Opcode::Extractlane, arg, imm: 0 } => match self.of(arg)? {
                words @ Known::Words(..) if self.ty(result) == types::I64 => words,
                _ => return None,
            },
            InstructionData::Binary { opcode, args } if self.is_vector(result) => self.binary(opcode, args)?,
            InstructionData::Ternary { opcode, args } if self.is_vector(result) => self.ternary(opcode, args)?,
            InstructionData::FloatCompare { args, cond, .. } if self.is_vector(args[0]) => {
                self.compare(result, Compare::Float(float_predicate(cond)?), args)?
            }
            InstructionData::IntCompare { args, cond, .. } if self.is_vector(args[0]) => {
                self.compare(result, int_predicate(cond)?, args)?
            }
            // The loop's own test.
            InstructionData::IntCompare { .. } => return Some(()),
            _ => return None,
        };
        let known = self.half(result).unwrap_or(known);
        self.known.insert(result, known);
        Some(())
    }

    /// What is known of a value that one instruction gives.
    fn half(&mut self, value: Value) -> Option<Known> {
        match *self.halves.get(&value)? {
            Half::Decoded(raw) => {
                let raw = self.lanes(raw)?;
                let loaded = self.steps.iter().find(|step| step.result == Some(raw))?;
                let Op::Load(place, Memory::Unsigned16) = loaded.op else { return None };
                Some(Known::Lanes(self.step(Op::Load(place, Memory::Half), &[])))
            }
            Half::Rounded(x) => {
                let x = self.lanes(x)?;
                Some(Known::Lanes(self.step(Op::One(One::RoundHalf), &[x])))
            }
            Half::Encoded(x) => Some(Known::Halves(self.steps.last()?.result?, self.lanes(x)?)),
        }
    }

    fn store(&mut self, value: Value, address: Value, offset: i32, way: Way) -> Option<()> {
        let (x, memory, bytes) = match self.of(value)? {
            Known::Words(x, memory) => (x, memory, 2),
            _ => (self.lanes(value)?, Memory::Whole, 4),
        };
        let place = self.place(address, offset, bytes)?;
        self.steps.push(Step { op: Op::Store(place, memory, way), args: vec![x], result: None });
        Some(())
    }

    fn load(&mut self, opcode: Opcode, ty: Type, address: Value, offset: i32) -> Option<Known> {
        let (memory, bytes) = match opcode {
            Opcode::Load if matches!(ty, types::F32X4 | types::I32X4) => (Memory::Whole, 4),
            Opcode::Uload16x4 => (Memory::Unsigned16, 2),
            Opcode::Sload16x4 => (Memory::Signed16, 2),
            _ => return None,
        };
        let place = self.place(address, offset, bytes)?;
        Some(Known::Lanes(self.step(Op::Load(place, memory), &[])))
    }

    fn bitcast(&mut self, to: Type, arg: Value) -> Option<Known> {
        match self.of(arg)? {
            known @ (Known::Lanes(_) | Known::Halves(..) | Known::Condition(..))
                if matches!(to, types::F32X4 | types::I32X4) =>
            {
                Some(known)
            }
            known @ Known::Words(..) if to == types::I64X2 => Some(known),
            _ => None,
        }
    }

    fn unary(&mut self, opcode: Opcode, ty: Type, arg: Value) -> Option<Known> {
        if opcode == Opcode::Splat && matches!(ty, types::F32X4 | types::I32X4) {
            let lane = self.of(arg)?;
            return self.spread(lane).map(Known::Lanes);
        }
        if !self.is_vector(arg) || !matches!(ty, types::F32X4 | types::I32X4) {
            return None;
        }
        let x = self.lanes(arg)?;
        let with = |two: Two, bits: u32, reader: &mut Self| {
            let bits = reader.bits(bits);
            reader.step(Op::Two(two), &[x, bits])
        };
        Some(Known::Lanes(match opcode {
            Opcode::Sqrt => self.step(Op::One(One::Sqrt), &[x]),
            Opcode::Nearest => self.step(Op::One(One::Nearest), &[x]),
            Opcode::Floor => self.step(Op::One(One::Floor), &[x]),
            Opcode::Ceil => self.step(Op::One(One::Ceil), &[x]),
            Opcode::Trunc => self.step(Op::One(One::Trunc), &[x]),
            Opcode::FcvtFromSint => self.step(Op::One(One::FromSigned), &[x]),
            Opcode::Iabs => self.step(Op::One(One::Absolute), &[x]),
            Opcode::Fneg => with(Two::Xor, 0x8000_0000, self),
            Opcode::Fabs => with(Two::And, 0x7fff_ffff, self),
            Opcode::Bnot => with(Two::Xor, u32::MAX, self),
            Opcode::Ineg => {
                let zero = self.bits(0);
                self.step(Op::Two(Two::IntSub), &[zero, x])
            }
            _ => return None,
        }))
    }

    /// Arithmetic of addresses.
    fn sum(&mut self, opcode: Opcode, [a, b]: [Value; 2]) -> Option<Known> {
        let (Known::Address(mut terms, scale, plus), Known::Address(others, by, number)) = (self.of(a)?, self.of(b)?)
        else {
            return None;
        };
        let is_number = others.is_empty() && by == 0;
        match opcode {
            Opcode::Iadd => {
                terms.extend(others);
                Some(Known::Address(terms, scale.checked_add(by)?, plus.checked_add(number)?))
            }
            Opcode::Ishl if is_number && terms.is_empty() && (0..32).contains(&number) => {
                Some(Known::Address(terms, scale.checked_mul(1 << number)?, plus.checked_mul(1 << number)?))
            }
            Opcode::Imul if is_number && terms.is_empty() => {
                Some(Known::Address(terms, scale.checked_mul(number)?, plus.checked_mul(number)?))
            }
            _ => None,
        }
    }

    fn binary(&mut self, opcode: Opcode, [a, b]: [Value; 2]) -> Option<Known> {
        if matches!(opcode, Opcode::Ishl | Opcode::Ushr | Opcode::Sshr) {
            let (x, count) = (self.lanes(a)?, self.of(b)?);
            let count = match count {
                Known::Bits(n) => i64::from(n),
                Known::Address(terms, 0, n) if terms.is_empty() => n,
                _ => return None,
            };
            let shift = match opcode {
                Opcode::Ishl => Shift::Left,
                Opcode::Ushr => Shift::Logical,
                _ => Shift::Arithmetic,
            };
            let count = u8::try_from(count).ok().filter(|n| *n < 32)?;
            return Some(Known::Lanes(self.step(Op::Shift(shift, count), &[x])));
        }
        let float = self.ty(a) == types::F32X4;
        let two = match opcode {
            Opcode::Fadd => Two::Add,
            Opcode::Fsub => Two::Sub,
            Opcode::Fmul => Two::Mul,
            Opcode::Fdiv => Two::Div,
            Opcode::Band => Two::And,
            Opcode::Bor => Two::Or,
            Opcode::Bxor => Two::Xor,
            Opcode::Iadd if !float => Two::IntAdd,
            Opcode::Isub if !float => Two::IntSub,
            Opcode::Imul if !float => Two::IntMul,
            Opcode::Smin => Two::SignedMin,
            Opcode::Smax => Two::SignedMax,
            Opcode::Umin => Two::UnsignedMin,
            Opcode::Umax => Two::UnsignedMax,
            _ => return None,
        };
        let args = [self.lanes(a)?, self.lanes(b)?];
        Some(Known::Lanes(self.step(Op::Two(two), &args)))
    }

    fn ternary(&mut self, opcode: Opcode, args: [Value; 3]) -> Option<Known> {
        if opcode == Opcode::Fma {
            let args = [self.lanes(args[0])?, self.lanes(args[1])?, self.lanes(args[2])?];
            return Some(Known::Lanes(self.step(Op::FusedMultiplyAdd, &args)));
        }
        if opcode != Opcode::Bitselect {
            return None;
        }
        let (x, y) = (self.lanes(args[1])?, self.lanes(args[2])?);
        let cond = self.of(args[0])?;
        Some(Known::Lanes(match cond {
            Known::Condition(Compare::Float(LESS), a, b) if (a, b) == (x, y) => self.step(Op::Two(Two::Min), &[x, y]),
            Known::Condition(Compare::Float(LESS), a, b) if (a, b) == (y, x) => self.step(Op::Two(Two::Max), &[x, y]),
            Known::Condition(compare, a, b) => self.step(Op::Select(compare), &[a, b, x, y]),
            Known::Lanes(cond) => self.step(Op::Choose, &[cond, x, y]),
            _ => return None,
        }))
    }

    /// Made where it chooses, if it does nothing else, or as a vector.
    fn compare(&mut self, result: Value, compare: Compare, args: [Value; 2]) -> Option<Known> {
        let (a, b) = (self.lanes(args[0])?, self.lanes(args[1])?);
        Some(if self.only_chooses(result) {
            Known::Condition(compare, a, b)
        } else {
            Known::Lanes(self.step(Op::Compare(compare), &[a, b]))
        })
    }

    /// Whether a value of the same block is nothing but the condition of one choice or several.
    fn only_chooses(&self, value: Value) -> bool {
        let ValueDef::Result(inst, _) = self.func.dfg.value_def(value) else { return false };
        let Some(block) = self.func.layout.inst_block(inst) else { return false };
        self.func.layout.block_insts(block).all(|user| {
            let uses = |v: Value| self.func.dfg.inst_args(user).iter().filter(|a| **a == v).count();
            match self.func.dfg.insts[user] {
                InstructionData::Ternary { opcode: Opcode::Bitselect, args } => {
                    uses(value) == usize::from(args[0] == value)
                }
                InstructionData::LoadNoOffset { opcode: Opcode::Bitcast, .. } if uses(value) > 0 => {
                    self.only_chooses(self.func.dfg.first_result(user))
                }
                InstructionData::Brif { .. } => self.func.dfg.inst_values(user).all(|v| v != value),
                _ => uses(value) == 0,
            }
        })
    }
}

const LESS: u8 = 1;

/// The number of an ordered or unordered predicate of `vcmpps`.
fn float_predicate(cond: FloatCC) -> Option<u8> {
    Some(match cond {
        FloatCC::Equal => 0,
        FloatCC::LessThan => LESS,
        FloatCC::LessThanOrEqual => 2,
        FloatCC::Unordered => 3,
        FloatCC::NotEqual => 4,
        FloatCC::Ordered => 7,
        FloatCC::UnorderedOrEqual => 8,
        FloatCC::UnorderedOrLessThan => 9,
        FloatCC::UnorderedOrLessThanOrEqual => 10,
        FloatCC::OrderedNotEqual => 12,
        FloatCC::GreaterThanOrEqual => 13,
        FloatCC::GreaterThan => 14,
        FloatCC::UnorderedOrGreaterThan => 6,
        FloatCC::UnorderedOrGreaterThanOrEqual => 5,
    })
}

fn int_predicate(cond: IntCC) -> Option<Compare> {
    Some(match cond {
        IntCC::Equal => Compare::Signed(0),
        IntCC::SignedLessThan => Compare::Signed(1),
        IntCC::SignedLessThanOrEqual => Compare::Signed(2),
        IntCC::NotEqual => Compare::Signed(4),
        IntCC::SignedGreaterThanOrEqual => Compare::Signed(5),
        IntCC::SignedGreaterThan => Compare::Signed(6),
        IntCC::UnsignedLessThan => Compare::Unsigned(1),
        IntCC::UnsignedLessThanOrEqual => Compare::Unsigned(2),
        IntCC::UnsignedGreaterThanOrEqual => Compare::Unsigned(5),
        IntCC::UnsignedGreaterThan => Compare::Unsigned(6),
    })
}
