//! A function under construction: Cranelift's builder with counted loops and with constants hoisted out of them.
//! It knows neither dtypes nor tiles.

use std::collections::HashMap;

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, Block, BlockArg, ConstantData, Function, Inst, InstBuilder, Signature, Type, Value, types,
};
use cranelift_codegen::isa::TargetFrontendConfig;
use cranelift_frontend::{FuncInstBuilder, FunctionBuilder, FunctionBuilderContext};

/// Where hoisted code of the innermost open loop goes: just before the jump into the loop.
struct Scope {
    jump: Option<Inst>,
    constants: HashMap<(Type, u128), Value>,
}

/// The function under construction. Code is emitted in its final order; see the module.
pub struct Emit<'a> {
    /// Cranelift's builder.
    pub b: FunctionBuilder<'a>,
    entry: Block,
    scopes: Vec<Scope>,
    halves: HashMap<Value, Half>,
}

/// What some instructions do together to f16s, for those who have one instruction for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The f32s of these patterns.
    Decoded(Value),
    /// These f32s, rounded to what f16 holds; what becomes of a NaN is another's business.
    Rounded(Value),
    /// The patterns of these f32s, which f16 holds.
    Encoded(Value),
}

/// A counted loop that is open.
pub struct Counted {
    /// The loop's variable, i64.
    pub index: Value,
    /// What is carried, in the body.
    pub carried: Vec<Value>,
    looped: Looped,
    exit: Block,
    hi: Value,
}

/// The blocks of a counted loop.
#[derive(Clone, Copy, Debug)]
pub struct Looped {
    /// Runs once, if there is any trip; what is hoisted stands here.
    pub before: Block,
    /// Runs once a trip, or its first block does.
    pub body: Block,
}

impl Counted {
    /// Its blocks.
    pub fn blocks(&self) -> Looped {
        self.looped
    }
}

impl<'a> Emit<'a> {
    /// Opens the entry block of `func`, with its parameters.
    pub fn new(func: &'a mut Function, context: &'a mut FunctionBuilderContext) -> Self {
        let mut b = FunctionBuilder::new(func, context);
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        Self { b, entry, scopes: vec![Scope { jump: None, constants: HashMap::new() }], halves: HashMap::new() }
    }

    /// The function's parameter `n`.
    pub fn param(&self, n: usize) -> Value {
        self.b.block_params(self.entry)[n]
    }

    /// Notes what the instructions that gave a value did.
    pub fn note_half(&mut self, value: Value, half: Half) {
        self.halves.insert(value, half);
    }

    /// What was noted.
    pub fn halves(&self) -> &HashMap<Value, Half> {
        &self.halves
    }

    /// Appends an instruction.
    pub fn ins<'s>(&'s mut self) -> FuncInstBuilder<'s, 'a> {
        self.b.ins()
    }

    /// Ends the function; all blocks must be terminated.
    pub fn finish(mut self, config: TargetFrontendConfig) {
        self.b.seal_all_blocks();
        self.b.finalize(config);
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> Type {
        self.b.func.dfg.value_type(value)
    }

    /// An i64 constant, not hoisted: it is an immediate nearly everywhere.
    pub fn int(&mut self, value: i64) -> Value {
        self.b.ins().iconst(types::I64, value)
    }

    /// A constant of any scalar or 128-bit vector type from its bits, hoisted out of the innermost open loop.
    pub fn constant(&mut self, ty: Type, bits: u128) -> Value {
        let scope = self.scopes.last_mut().expect("the function's own scope is never closed");
        if let Some(value) = scope.constants.get(&(ty, bits)) {
            return *value;
        }
        let value = match scope.jump {
            Some(jump) => {
                let mut at = FuncCursor::new(self.b.func).at_inst(jump);
                let constant = ty.is_vector().then(|| at.func.dfg.constants.insert(bytes(bits)));
                make_constant(at.ins(), ty, bits, constant)
            }
            // Outside of loops nothing is gained by sharing, and the block that defines it need not dominate the next.
            None => {
                let constant = ty.is_vector().then(|| self.b.func.dfg.constants.insert(bytes(bits)));
                return make_constant(self.b.ins(), ty, bits, constant);
            }
        };
        scope.constants.insert((ty, bits), value);
        value
    }

    /// A 128-bit vector with the lane's bits in every lane, hoisted.
    pub fn splat_constant(&mut self, ty: Type, lane: u64) -> Value {
        let width = ty.lane_bits();
        let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
        let bits = (0..ty.lane_count()).fold(0u128, |bits, n| bits | (u128::from(lane & mask) << (n * width)));
        self.constant(ty, bits)
    }

    /// Runs `make` just before the innermost open loop instead of inside it. Its operands must be defined out there.
    pub fn hoist(&mut self, make: impl FnOnce(&mut FuncCursor<'_>) -> Value) -> Option<Value> {
        let jump = self.scopes.last()?.jump?;
        let mut at = FuncCursor::new(self.b.func).at_inst(jump);
        Some(make(&mut at))
    }

    /// A new block.
    pub fn block(&mut self, params: &[Type]) -> Block {
        let block = self.b.create_block();
        for ty in params {
            self.b.append_block_param(block, *ty);
        }
        block
    }

    /// Continues in `block`; its parameters.
    pub fn enter(&mut self, block: Block) -> Vec<Value> {
        self.b.switch_to_block(block);
        self.b.block_params(block).to_vec()
    }

    /// The block that is being filled.
    pub fn here(&self) -> Block {
        self.b.current_block().unwrap_or(self.entry)
    }

    /// The instruction that was emitted last in this block.
    pub fn last(&self) -> Option<Inst> {
        self.b.func.layout.last_inst(self.here())
    }

    /// Continues in a block that was left before anything was put into it.
    pub fn enter_again(&mut self, block: Block) {
        self.b.switch_to_block(block);
    }

    /// Jumps, with arguments.
    pub fn jump(&mut self, block: Block, args: &[Value]) -> Inst {
        self.b.ins().jump(block, &block_args(args))
    }

    /// Branches to `then` or `otherwise`, with arguments.
    pub fn branch(
        &mut self,
        cond: Value,
        then: Block,
        then_args: &[Value],
        otherwise: Block,
        otherwise_args: &[Value],
    ) {
        self.b.ins().brif(cond, then, &block_args(then_args), otherwise, &block_args(otherwise_args));
    }

    /// Opens `for index in (lo..hi).step_by(step)` with carried values; the code that follows is its body. Constants
    /// made in it are hoisted before it, so everything emitted until [`Emit::close`] may only use constants made there.
    pub fn open(&mut self, lo: Value, hi: Value, carried: &[Value]) -> Counted {
        self.open_loop(lo, hi, carried, true)
    }

    /// As [`Emit::open`], but nothing is hoisted: for loops around other loops, where hoisted values would only take
    /// registers from the inner ones.
    pub fn open_outer(&mut self, lo: Value, hi: Value, carried: &[Value]) -> Counted {
        self.open_loop(lo, hi, carried, false)
    }

    fn open_loop(&mut self, lo: Value, hi: Value, carried: &[Value], hoist: bool) -> Counted {
        let tys: Vec<Type> = carried.iter().map(|v| self.ty(*v)).collect();
        let (before, exit) = (self.block(&[]), self.block(&tys));
        let body = self.block(&[&[types::I64], &tys[..]].concat());
        let any = self.b.ins().icmp(IntCC::SignedLessThan, lo, hi);
        self.branch(any, before, &[], exit, carried);
        self.b.switch_to_block(before);
        let jump = self.jump(body, &[&[lo], carried].concat());
        self.scopes.push(Scope { jump: hoist.then_some(jump), constants: HashMap::new() });
        let params = self.enter(body);
        Counted { index: params[0], carried: params[1..].to_vec(), looped: Looped { before, body }, exit, hi }
    }

    /// Closes a loop; what is carried, after it.
    pub fn close(&mut self, counted: Counted, step: i64, next: &[Value]) -> Vec<Value> {
        let index = self.b.ins().iadd_imm_s(counted.index, step);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, index, counted.hi);
        self.branch(more, counted.looped.body, &[&[index], next].concat(), counted.exit, next);
        self.scopes.pop();
        self.enter(counted.exit)
    }

    /// Opens a scope in which constants are not hoisted to the enclosing loop: inside a conditional body.
    pub fn open_plain(&mut self) {
        self.scopes.push(Scope { jump: None, constants: HashMap::new() });
    }

    /// Closes it.
    pub fn close_plain(&mut self) {
        self.scopes.pop();
    }

    /// Calls a Rust function with the C calling convention by its address.
    pub fn call_host(&mut self, address: usize, params: &[Type], returns: &[Type], args: &[Value]) -> Vec<Value> {
        let mut signature = Signature::new(self.b.func.signature.call_conv);
        signature.params.extend(params.iter().map(|t| AbiParam::new(*t)));
        signature.returns.extend(returns.iter().map(|t| AbiParam::new(*t)));
        let signature = self.b.import_signature(signature);
        let callee = self.int(address as i64);
        let call = self.b.ins().call_indirect(signature, callee, args);
        self.b.inst_results(call).to_vec()
    }
}

fn block_args(values: &[Value]) -> Vec<BlockArg> {
    values.iter().map(|v| BlockArg::Value(*v)).collect()
}

fn bytes(bits: u128) -> ConstantData {
    ConstantData::from(&bits.to_le_bytes()[..])
}

fn make_constant<'f>(
    ins: impl InstBuilder<'f>,
    ty: Type,
    bits: u128,
    constant: Option<cranelift_codegen::ir::Constant>,
) -> Value {
    use cranelift_codegen::ir::immediates::{Ieee32, Ieee64};
    match constant {
        Some(constant) => ins.vconst(ty, constant),
        None if ty == types::F32 => ins.f32const(Ieee32::with_bits(bits as u32)),
        None if ty == types::F64 => ins.f64const(Ieee64::with_bits(bits as u64)),
        None => {
            // `iconst` wants the bits above the type clear.
            let mask = if ty.bits() == 64 { u64::MAX } else { (1 << ty.bits()) - 1 };
            ins.iconst(ty, (bits as u64 & mask) as i64)
        }
    }
}
