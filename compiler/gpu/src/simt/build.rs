//! Appends instructions to a program, and folds what is constant on the spot: addresses are mostly that. What the
//! instructions are for is the caller's business.

use std::collections::HashMap;

use super::{
    Binary, Compare, Const, Convert, Inst, Op, Program, Region, Shuffle, Small, Space, Special, Ty, Unary, Value,
};

/// Writes one program.
pub struct Builder {
    program: Program,
    /// Open regions, innermost last.
    open: Vec<Region>,
    /// Instructions so far that are no constants.
    instructions: usize,
    /// The bits of each value that is a constant.
    constants: Vec<Option<u64>>,
    /// F32s that are others, rounded to a small float.
    rounded: HashMap<Value, (Small, Value)>,
    /// Pairs of F32s (high, low) that were read from one word of two small floats.
    halves: HashMap<(Value, Value), (Small, Value)>,
}

impl Builder {
    /// A program of this name for blocks of so many threads.
    pub fn new(name: impl Into<String>, threads: u32) -> Self {
        let program = Program { name: name.into(), threads, ..Program::default() };
        Self {
            program,
            open: vec![Region::default()],
            instructions: 0,
            constants: Vec::new(),
            rounded: HashMap::new(),
            halves: HashMap::new(),
        }
    }

    /// The finished program.
    pub fn finish(mut self) -> Program {
        self.program.body = self.open.pop().unwrap_or_default();
        self.program
    }

    /// What the program says about itself.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }

    /// Instructions so far, those of closed regions and of open ones; constants are none.
    pub fn instructions(&self) -> usize {
        self.instructions
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> Ty {
        self.program.ty(value)
    }

    /// The bits of a value that is known to be constant.
    pub fn known(&self, value: Value) -> Option<u64> {
        self.constants[value.index()]
    }

    fn value(&mut self, ty: Ty) -> Value {
        self.program.types.push(ty);
        self.constants.push(None);
        Value(self.program.types.len() as u32 - 1)
    }

    /// Appends any instruction with results of these types.
    pub fn emit(&mut self, op: Op, args: &[Value], results: &[Ty]) -> Vec<Value> {
        let results: Vec<Value> = results.iter().map(|ty| self.value(*ty)).collect();
        let inst = Inst { op, args: args.to_vec(), results: results.clone(), regions: Vec::new() };
        self.append(inst);
        results
    }

    fn append(&mut self, inst: Inst) {
        self.instructions += usize::from(!matches!(inst.op, Op::Const(_)));
        if let Some(region) = self.open.last_mut() {
            region.insts.push(inst);
        }
    }

    fn one(&mut self, op: Op, args: &[Value], ty: Ty) -> Value {
        let value = self.value(ty);
        self.append(Inst { op, args: args.to_vec(), results: vec![value], regions: Vec::new() });
        value
    }

    /// A constant.
    pub fn constant(&mut self, ty: Ty, bits: u64) -> Value {
        let value = self.one(Op::Const(Const { ty, bits }), &[], ty);
        self.constants[value.index()] = Some(bits);
        value
    }

    /// A constant.
    pub fn i32(&mut self, n: i32) -> Value {
        self.constant(Ty::I32, u64::from(n as u32))
    }

    /// A constant.
    pub fn i64(&mut self, n: i64) -> Value {
        self.constant(Ty::I64, n as u64)
    }

    /// A constant.
    pub fn f32(&mut self, x: f32) -> Value {
        self.constant(Ty::F32, u64::from(x.to_bits()))
    }

    /// A constant.
    pub fn bool(&mut self, b: bool) -> Value {
        self.constant(Ty::Bool, u64::from(b))
    }

    /// A word of the launch.
    pub fn param(&mut self, word: u32) -> Value {
        self.program.words = self.program.words.max(word + 1);
        self.one(Op::Param(word), &[], Ty::I64)
    }

    /// The address of a tensor map of the launch.
    pub fn map(&mut self, map: u32) -> Value {
        self.program.maps = self.program.maps.max(map + 1);
        self.one(Op::Map(map), &[], Ty::I64)
    }

    /// What a thread can ask.
    pub fn special(&mut self, what: Special) -> Value {
        self.one(Op::Special(what), &[], Ty::I32)
    }

    /// Of one operand.
    pub fn unary(&mut self, op: Unary, x: Value) -> Value {
        let ty = self.ty(x);
        match (op, self.known(x)) {
            (Unary::Not, Some(bits)) => self.constant(ty, !bits & mask(ty)),
            _ => self.one(Op::Unary(op), &[x], ty),
        }
    }

    /// Of two operands of one type.
    pub fn binary(&mut self, op: Binary, a: Value, b: Value) -> Value {
        let ty = self.ty(a);
        debug_assert_eq!(ty, self.ty(b), "{op:?}");
        let (x, y) = (self.known(a), self.known(b));
        if let (Some(x), Some(y)) = (x, y)
            && let Some(bits) = fold(op, ty, x, y)
        {
            return self.constant(ty, bits);
        }
        match same(op, ty, x, y) {
            Same::Left => a,
            Same::Right => b,
            Same::Zero => self.constant(ty, 0),
            Same::New => self.one(Op::Binary(op), &[a, b], ty),
        }
    }

    /// `a + b`.
    pub fn add(&mut self, a: Value, b: Value) -> Value {
        self.binary(Binary::Add, a, b)
    }

    /// `a + n` of integers.
    pub fn add_const(&mut self, a: Value, n: i64) -> Value {
        let n = self.constant(self.ty(a), n as u64 & mask(self.ty(a)));
        self.add(a, n)
    }

    /// `a - b`.
    pub fn sub(&mut self, a: Value, b: Value) -> Value {
        self.binary(Binary::Sub, a, b)
    }

    /// `a · b`.
    pub fn mul(&mut self, a: Value, b: Value) -> Value {
        self.binary(Binary::Mul, a, b)
    }

    /// `a · n` of integers; a shift where it can be one.
    pub fn mul_const(&mut self, a: Value, n: i64) -> Value {
        let ty = self.ty(a);
        if n > 0 && n.count_ones() == 1 {
            let by = self.constant(ty, u64::from(n.trailing_zeros()));
            return self.binary(Binary::Shl, a, by);
        }
        let n = self.constant(ty, n as u64 & mask(ty));
        self.mul(a, n)
    }

    /// `a & n` of integers.
    pub fn and_const(&mut self, a: Value, n: i64) -> Value {
        let n = self.constant(self.ty(a), n as u64 & mask(self.ty(a)));
        self.binary(Binary::And, a, n)
    }

    /// `a >> n`, logical.
    pub fn shr_const(&mut self, a: Value, n: u32) -> Value {
        let n = self.constant(self.ty(a), u64::from(n));
        self.binary(Binary::UShr, a, n)
    }

    /// `a && b` of predicates.
    pub fn and(&mut self, a: Value, b: Value) -> Value {
        self.binary(Binary::And, a, b)
    }

    /// `a·b + c`, rounded once.
    pub fn fma(&mut self, a: Value, b: Value, c: Value) -> Value {
        self.one(Op::Fma, &[a, b, c], self.ty(a))
    }

    /// A comparison.
    pub fn compare(&mut self, op: Compare, a: Value, b: Value) -> Value {
        debug_assert_eq!(self.ty(a), self.ty(b), "{op:?}");
        if let (Some(x), Some(y)) = (self.known(a), self.known(b))
            && let Some(holds) = fold_compare(op, self.ty(a), x, y)
        {
            return self.bool(holds);
        }
        self.one(Op::Compare(op), &[a, b], Ty::Bool)
    }

    /// `c ? a : b`.
    pub fn select(&mut self, c: Value, a: Value, b: Value) -> Value {
        debug_assert_eq!(self.ty(a), self.ty(b));
        match self.known(c) {
            Some(0) => b,
            Some(_) => a,
            None if a == b => a,
            None => self.one(Op::Select, &[c, a, b], self.ty(a)),
        }
    }

    /// A change of representation.
    pub fn convert(&mut self, how: Convert, x: Value) -> Value {
        let from = self.ty(x);
        let to = how.result(from);
        if let Some(bits) = self.known(x)
            && let Some(bits) = fold_convert(how, from, bits)
        {
            return self.constant(to, bits);
        }
        self.one(Op::Convert(how), &[x], to)
    }

    /// Two F32s as small floats in one I32; see [`Op::Narrow`].
    pub fn narrow(&mut self, small: Small, high: Value, low: Value) -> Value {
        match self.halves.get(&(high, low)) {
            Some((same, word)) if *same == small => *word,
            Some(_) | None => self.one(Op::Narrow(small), &[high, low], Ty::I32),
        }
    }

    /// Remembers that two F32s are the halves of a word, which packing them gives again.
    pub(crate) fn note_halves(&mut self, pair: (Value, Value), small: Small, word: Value) {
        self.halves.insert(pair, (small, word));
    }

    /// Remembers that `y` is `x` rounded to a small float, so that packing `y` may take `x`.
    pub(crate) fn note_rounded(&mut self, y: Value, small: Small, x: Value) {
        self.rounded.insert(y, (small, x));
    }

    /// What was rounded to this small float to give `y`.
    pub(crate) fn rounded_from(&self, y: Value, small: Small) -> Option<Value> {
        self.rounded.get(&y).filter(|row| row.0 == small).map(|row| row.1)
    }

    /// An I32 as an I64, filled up with its sign.
    pub fn sign_extend(&mut self, x: Value) -> Value {
        self.convert(Convert::SignExtend, x)
    }

    /// An I32 or Bool filled up with zeros.
    pub fn zero_extend(&mut self, to: Ty, x: Value) -> Value {
        self.convert(Convert::ZeroExtend(to), x)
    }

    /// Reads units of memory; see [`Op::Load`].
    pub fn load(&mut self, space: Space, bits: u8, count: u8, address: Value, guard: Option<Value>) -> Vec<Value> {
        let ty = if bits == 64 { Ty::I64 } else { Ty::I32 };
        let guard = guard.filter(|g| self.known(*g) != Some(1));
        let args: Vec<Value> = [address].into_iter().chain(guard).collect();
        let op = Op::Load { space, bits, count, guarded: guard.is_some() };
        self.emit(op, &args, &vec![ty; usize::from(count)])
    }

    /// Writes units of memory; see [`Op::Store`].
    pub fn store(&mut self, space: Space, bits: u8, address: Value, units: &[Value], guard: Option<Value>) {
        let guard = guard.filter(|g| self.known(*g) != Some(1));
        let args: Vec<Value> = [address].into_iter().chain(units.iter().copied()).chain(guard).collect();
        self.emit(Op::Store { space, bits, count: units.len() as u8, guarded: guard.is_some() }, &args, &[]);
    }

    /// Another lane's register: of any type, 32 bits at a time.
    pub fn shuffle(&mut self, how: Shuffle, x: Value, lane: Option<Value>) -> Value {
        let ty = self.ty(x);
        let one = |b: &mut Self, x: Value| {
            let args: Vec<Value> = [x].into_iter().chain(lane).collect();
            b.one(Op::Shuffle(how), &args, Ty::I32)
        };
        match ty {
            Ty::I32 => one(self, x),
            Ty::F32 => {
                let bits = self.convert(Convert::Bits(Ty::I32), x);
                let got = one(self, bits);
                self.convert(Convert::Bits(Ty::F32), got)
            }
            Ty::Bool => {
                let bits = self.zero_extend(Ty::I32, x);
                let got = one(self, bits);
                let zero = self.i32(0);
                self.compare(Compare::Ne, got, zero)
            }
            Ty::I64 => {
                let low = self.convert(Convert::Truncate, x);
                let high = self.shr_const(x, 32);
                let high = self.convert(Convert::Truncate, high);
                let (low, high) = (one(self, low), one(self, high));
                let (low, high) = (self.zero_extend(Ty::I64, low), self.zero_extend(Ty::I64, high));
                let by = self.i64(32);
                let high = self.binary(Binary::Shl, high, by);
                self.binary(Binary::Or, low, high)
            }
            Ty::F64 => {
                let bits = self.convert(Convert::Bits(Ty::I64), x);
                let got = self.shuffle(how, bits, lane);
                self.convert(Convert::Bits(Ty::F64), got)
            }
        }
    }

    /// All threads of the block meet.
    pub fn barrier(&mut self) {
        self.emit(Op::Barrier { id: 0, threads: None }, &[], &[]);
    }

    /// Opens a region that sees these values; what follows goes into it until [`Builder::close`].
    pub fn open(&mut self, args: Vec<Value>) {
        self.open.push(Region { args, ..Region::default() });
    }

    /// Opens a region that sees new values of these types.
    pub fn open_with(&mut self, types: &[Ty]) -> Vec<Value> {
        let args: Vec<Value> = types.iter().map(|ty| self.value(*ty)).collect();
        self.open(args.clone());
        args
    }

    /// Closes the innermost open region with what it yields.
    pub fn close(&mut self, yields: Vec<Value>) -> Region {
        let mut region = self.open.pop().unwrap_or_default();
        region.yields = yields;
        region
    }

    /// One of two regions; gives what it yields.
    pub fn choose(&mut self, condition: Value, then: Region, other: Region) -> Vec<Value> {
        let types: Vec<Ty> = then.yields.iter().map(|v| self.ty(*v)).collect();
        self.nested(Op::If, vec![condition], vec![then, other], &types)
    }

    /// A loop of a region that says whether to go on and one that is gone through: see [`Op::Loop`].
    pub fn looped(&mut self, inits: Vec<Value>, test: Region, body: Region) -> Vec<Value> {
        let types: Vec<Ty> = inits.iter().map(|v| self.ty(*v)).collect();
        self.nested(Op::Loop, inits, vec![test, body], &types)
    }

    /// One of two pieces of code; gives what it yields.
    pub fn branch(
        &mut self,
        condition: Value,
        then: impl FnOnce(&mut Self) -> Vec<Value>,
        other: impl FnOnce(&mut Self) -> Vec<Value>,
    ) -> Vec<Value> {
        self.open(Vec::new());
        let yields = then(self);
        let then = self.close(yields);
        self.open(Vec::new());
        let yields = other(self);
        let other = self.close(yields);
        self.choose(condition, then, other)
    }

    /// Does something where a predicate holds.
    pub fn when(&mut self, condition: Value, then: impl FnOnce(&mut Self)) {
        match self.known(condition) {
            Some(0) => {}
            Some(_) => then(self),
            None => {
                self.open(Vec::new());
                then(self);
                let then = self.close(Vec::new());
                self.choose(condition, then, Region::default());
            }
        }
    }

    /// A loop: `condition` and `body` see what is carried; gives what was carried at its end.
    pub fn repeat(
        &mut self,
        inits: &[Value],
        condition: impl FnOnce(&mut Self, &[Value]) -> Value,
        body: impl FnOnce(&mut Self, &[Value]) -> Vec<Value>,
    ) -> Vec<Value> {
        let types: Vec<Ty> = inits.iter().map(|v| self.ty(*v)).collect();
        let args = self.open_with(&types);
        let goes_on = condition(self, &args);
        let test = self.close(vec![goes_on]);
        let args = self.open_with(&types);
        let next = body(self, &args);
        let body = self.close(next);
        self.looped(inits.to_vec(), test, body)
    }

    /// `for n in 0..count` with I32 numbers and values carried.
    pub fn count(
        &mut self,
        count: Value,
        inits: &[Value],
        body: impl FnOnce(&mut Self, Value, &[Value]) -> Vec<Value>,
    ) -> Vec<Value> {
        let zero = self.i32(0);
        let inits: Vec<Value> = [zero].into_iter().chain(inits.iter().copied()).collect();
        let ends = self.repeat(
            &inits,
            |b, args| b.compare(Compare::Lt, args[0], count),
            |b, args| {
                let next = b.add_const(args[0], 1);
                let carried = body(b, args[0], &args[1..]);
                [next].into_iter().chain(carried).collect()
            },
        );
        ends[1..].to_vec()
    }

    fn nested(&mut self, op: Op, args: Vec<Value>, regions: Vec<Region>, types: &[Ty]) -> Vec<Value> {
        let results: Vec<Value> = types.iter().map(|ty| self.value(*ty)).collect();
        self.append(Inst { op, args, results: results.clone(), regions });
        results
    }
}

impl Convert {
    /// The type that it gives.
    pub fn result(self, from: Ty) -> Ty {
        match self {
            Convert::ZeroExtend(to)
            | Convert::FromSigned(to)
            | Convert::FromUnsigned(to)
            | Convert::ToSigned(to)
            | Convert::ToUnsigned(to)
            | Convert::Float(to)
            | Convert::Bits(to) => to,
            Convert::SignExtend => Ty::I64,
            Convert::Truncate | Convert::Tf32 => Ty::I32,
            Convert::SignFrom(_) => from,
            Convert::Widen(_) => Ty::F32,
        }
    }
}

/// The bits that a type has.
fn mask(ty: Ty) -> u64 {
    match ty {
        Ty::Bool => 1,
        Ty::I32 | Ty::F32 => 0xffff_ffff,
        Ty::I64 | Ty::F64 => u64::MAX,
    }
}

/// The number that bits are as a signed integer.
fn signed(ty: Ty, bits: u64) -> i64 {
    if ty == Ty::I32 { i64::from(bits as u32 as i32) } else { bits as i64 }
}

/// Integer and logical arithmetic on constants.
#[allow(clippy::wildcard_enum_match_arm, reason = "what is not folded runs")]
fn fold(op: Binary, ty: Ty, x: u64, y: u64) -> Option<u64> {
    if matches!(ty, Ty::F32 | Ty::F64) {
        return None;
    }
    let (a, b) = (signed(ty, x), signed(ty, y));
    let bits = match op {
        Binary::Add => a.wrapping_add(b) as u64,
        Binary::Sub => a.wrapping_sub(b) as u64,
        Binary::Mul => a.wrapping_mul(b) as u64,
        Binary::Min => a.min(b) as u64,
        Binary::Max => a.max(b) as u64,
        Binary::And => x & y,
        Binary::Or => x | y,
        Binary::Xor => x ^ y,
        Binary::Shl => x.checked_shl(y as u32)?,
        Binary::UShr => x.checked_shr(y as u32)?,
        Binary::Shr => a.checked_shr(y as u32)? as u64,
        Binary::UDiv => x.checked_div(y)?,
        Binary::URem => x.checked_rem(y)?,
        _ => return None,
    };
    Some(bits & mask(ty))
}

/// What an operation with one constant is.
enum Same {
    Left,
    Right,
    Zero,
    New,
}

/// `x + 0`, `x · 1` and their like, of integers and predicates.
#[allow(clippy::wildcard_enum_match_arm, reason = "all else is computed")]
fn same(op: Binary, ty: Ty, x: Option<u64>, y: Option<u64>) -> Same {
    if matches!(ty, Ty::F32 | Ty::F64) {
        return Same::New;
    }
    let all = mask(ty);
    match (op, x, y) {
        (Binary::Add | Binary::Or | Binary::Xor, Some(0), _) => Same::Right,
        (Binary::Add | Binary::Sub | Binary::Or | Binary::Xor, _, Some(0)) => Same::Left,
        (Binary::Shl | Binary::Shr | Binary::UShr, _, Some(0)) => Same::Left,
        (Binary::Mul | Binary::And, Some(0), _) | (Binary::Mul | Binary::And, _, Some(0)) => Same::Zero,
        (Binary::Mul, Some(1), _) => Same::Right,
        (Binary::Mul | Binary::Div | Binary::UDiv, _, Some(1)) => Same::Left,
        (Binary::And, Some(k), _) if k == all => Same::Right,
        (Binary::And, _, Some(k)) if k == all => Same::Left,
        _ => Same::New,
    }
}

/// A comparison of constants.
fn fold_compare(op: Compare, ty: Ty, x: u64, y: u64) -> Option<bool> {
    if matches!(ty, Ty::F32 | Ty::F64) {
        return None;
    }
    let (a, b) = (signed(ty, x), signed(ty, y));
    Some(match op {
        Compare::Eq => x == y,
        Compare::Ne => x != y,
        Compare::Lt => a < b,
        Compare::Le => a <= b,
        Compare::Gt => a > b,
        Compare::Ge => a >= b,
        Compare::ULt => x < y,
        Compare::ULe => x <= y,
        Compare::UGt => x > y,
        Compare::UGe => x >= y,
    })
}

#[allow(clippy::wildcard_enum_match_arm, reason = "what is not folded runs")]
fn fold_convert(how: Convert, from: Ty, bits: u64) -> Option<u64> {
    match how {
        Convert::ZeroExtend(_) | Convert::Bits(_) => Some(bits),
        Convert::SignExtend => Some(signed(from, bits) as u64),
        Convert::Truncate => Some(bits & 0xffff_ffff),
        _ => None,
    }
}
