//! Arithmetic on registers, and what lanes tell each other. Integer division and shifts are written so that no operand
//! makes them undefined: a lane whose result nobody uses may divide by 0.

use super::Printer;
use super::asm::{Asm, Effect};
use crate::simt::{Binary, Compare, Inst, Shuffle, Special, Ty, Unary, Value};

impl Printer<'_> {
    pub(super) fn special(&mut self, what: Special, result: Value) {
        let register = match what {
            Special::Thread => "tid.x",
            Special::Lane => "laneid",
            Special::Block => "ctaid.x",
            Special::Blocks => "nctaid.x",
        };
        self.set(result, &format!("call i32 @llvm.nvvm.read.ptx.sreg.{register}()"));
    }

    /// A generic intrinsic that gives the type of its operands.
    pub(super) fn intrinsic(&mut self, inst: &Inst, name: &str) {
        let result = inst.results[0];
        let ty = self.program.ty(result);
        let suffix = suffix(ty);
        let call = format!("call {} @llvm.{name}.{suffix}({})", self.ty(result), self.list(&inst.args));
        self.set(result, &call);
    }

    pub(super) fn unary(&mut self, op: Unary, inst: &Inst) {
        let (result, x) = (inst.results[0], self.typed(inst.args[0]));
        let text = match op {
            Unary::Neg => format!("fneg {x}"),
            Unary::Not if self.program.ty(result) == Ty::Bool => format!("xor {x}, true"),
            Unary::Not => format!("xor {x}, -1"),
            Unary::Abs => return self.intrinsic(inst, "fabs"),
            Unary::Sqrt => return self.intrinsic(inst, "sqrt"),
            Unary::Floor => return self.intrinsic(inst, "floor"),
            Unary::Ceil => return self.intrinsic(inst, "ceil"),
            Unary::Round => return self.intrinsic(inst, "roundeven"),
            Unary::PopCount => return self.intrinsic(inst, "ctpop"),
            Unary::LeadingZeros => format!("call i32 @llvm.ctlz.i32({x}, i1 false)"),
            Unary::Ex2 => format!("call float @llvm.nvvm.ex2.approx.ftz.f32({x})"),
            Unary::Lg2 => format!("call float @llvm.nvvm.lg2.approx.f({x})"),
            Unary::Rcp => format!("call float @llvm.nvvm.rcp.approx.ftz.f({x})"),
            Unary::Rsqrt => format!("call float @llvm.nvvm.rsqrt.approx.ftz.f({x})"),
            Unary::TanhApprox => return self.tanh(inst),
        };
        self.set(result, &text);
    }

    fn tanh(&mut self, inst: &Inst) {
        let asm = self.input(Asm::new("tanh.approx.f32 $0, $1;", Effect::Pure), inst.args[0]);
        self.assembly(asm, &inst.results);
    }

    pub(super) fn binary(&mut self, op: Binary, inst: &Inst) {
        let (result, [a, b]) = (inst.results[0], [inst.args[0], inst.args[1]]);
        let float = matches!(self.program.ty(result), Ty::F32 | Ty::F64);
        let name = match op {
            Binary::Add if float => "fadd",
            Binary::Add => "add",
            Binary::Sub if float => "fsub",
            Binary::Sub => "sub",
            Binary::Mul if float => "fmul",
            Binary::Mul => "mul",
            Binary::MulHigh => return self.mul_high(result, a, b),
            Binary::Div if float => "fdiv",
            Binary::Div | Binary::Rem => return self.signed_division(op, result, a, b),
            Binary::UDiv | Binary::URem => return self.unsigned_division(op, result, a, b),
            Binary::Min if float => return self.intrinsic(inst, "minimum"),
            Binary::Min => return self.intrinsic(inst, "smin"),
            Binary::Max if float => return self.intrinsic(inst, "maximum"),
            Binary::Max => return self.intrinsic(inst, "smax"),
            Binary::UMin => return self.intrinsic(inst, "umin"),
            Binary::UMax => return self.intrinsic(inst, "umax"),
            Binary::And => "and",
            Binary::Or => "or",
            Binary::Xor => "xor",
            Binary::Shl => return self.shift("shl", result, a, b),
            Binary::Shr => return self.shift("ashr", result, a, b),
            Binary::UShr => return self.shift("lshr", result, a, b),
        };
        self.set(result, &format!("{name} {}, {}", self.typed(a), self.name(b)));
    }

    fn mul_high(&mut self, result: Value, a: Value, b: Value) {
        let ty = self.ty(a);
        let (wide, half) = if ty == "i32" { ("i64", 32) } else { ("i128", 64) };
        let a = self.temp(&format!("zext {} to {wide}", self.typed(a)));
        let b = self.temp(&format!("zext {} to {wide}", self.typed(b)));
        let product = self.temp(&format!("mul nuw {wide} {a}, {b}"));
        let high = self.temp(&format!("lshr {wide} {product}, {half}"));
        self.set(result, &format!("trunc {wide} {high} to {ty}"));
    }

    fn shift(&mut self, name: &str, result: Value, a: Value, by: Value) {
        let ty = self.ty(a);
        let by = match self.constant(by) {
            Some(_) => self.name(by).to_string(),
            None => self.temp(&format!("and {}, {}", self.typed(by), if ty == "i32" { 31 } else { 63 })),
        };
        self.set(result, &format!("{name} {}, {by}", self.typed(a)));
    }

    /// The number that a value's name is, where it is a literal.
    fn constant(&self, value: Value) -> Option<i64> {
        self.name(value).parse().ok()
    }

    fn unsigned_division(&mut self, op: Binary, result: Value, a: Value, b: Value) {
        let name = if op == Binary::UDiv { "udiv" } else { "urem" };
        let by = match self.constant(b) {
            Some(n) if n != 0 => self.name(b).to_string(),
            _ => self.divisor(b, None),
        };
        self.set(result, &format!("{name} {}, {by}", self.typed(a)));
    }

    /// The least number divided by -1 wraps, as a negation does.
    fn signed_division(&mut self, op: Binary, result: Value, a: Value, b: Value) {
        let name = if op == Binary::Div { "sdiv" } else { "srem" };
        let (ty, a) = (self.ty(a), self.name(a).to_string());
        if matches!(self.constant(b), Some(n) if n != 0 && n != -1) {
            return self.set(result, &format!("{name} {ty} {a}, {}", self.name(b)));
        }
        let minus = self.temp(&format!("icmp eq {}, -1", self.typed(b)));
        let by = self.divisor(b, Some(&minus));
        let got = self.temp(&format!("{name} {ty} {a}, {by}"));
        let negated = if op == Binary::Div { self.temp(&format!("sub {ty} 0, {a}")) } else { "0".into() };
        self.set(result, &format!("select i1 {minus}, {ty} {negated}, {ty} {got}"));
    }

    /// The divisor, or 1 where it is 0 or `also` holds.
    fn divisor(&mut self, b: Value, also: Option<&str>) -> String {
        let zero = self.temp(&format!("icmp eq {}, 0", self.typed(b)));
        let bad = match also {
            Some(also) => self.temp(&format!("or i1 {zero}, {also}")),
            None => zero,
        };
        self.temp(&format!("select i1 {bad}, {} 1, {}", self.ty(b), self.typed(b)))
    }

    pub(super) fn compare(&mut self, op: Compare, inst: &Inst) {
        let (a, b) = (inst.args[0], inst.args[1]);
        let float = matches!(self.program.ty(a), Ty::F32 | Ty::F64);
        let (integer, ordered) = match op {
            Compare::Eq => ("eq", "oeq"),
            Compare::Ne => ("ne", "une"),
            Compare::Lt => ("slt", "olt"),
            Compare::Le => ("sle", "ole"),
            Compare::Gt => ("sgt", "ogt"),
            Compare::Ge => ("sge", "oge"),
            Compare::ULt => ("ult", "olt"),
            Compare::ULe => ("ule", "ole"),
            Compare::UGt => ("ugt", "ogt"),
            Compare::UGe => ("uge", "oge"),
        };
        let name = if float { format!("fcmp {ordered}") } else { format!("icmp {integer}") };
        self.set(inst.results[0], &format!("{name} {}, {}", self.typed(a), self.name(b)));
    }

    pub(super) fn shuffle(&mut self, how: Shuffle, inst: &Inst) {
        let x = self.name(inst.args[0]);
        // The last operand bounds the lanes: all 32 of them, for `up` from below.
        let (mode, lane, bound) = match how {
            Shuffle::Xor(by) => ("bfly", by.to_string(), 31),
            Shuffle::Index => ("idx", self.name(inst.args[1]).to_string(), 31),
            Shuffle::Up(by) => ("up", by.to_string(), 0),
        };
        let call = format!("call i32 @llvm.nvvm.shfl.sync.{mode}.i32(i32 -1, i32 {x}, i32 {lane}, i32 {bound})");
        self.set(inst.results[0], &call);
    }

    pub(super) fn ballot(&mut self, inst: &Inst) {
        let call = format!("call i32 @llvm.nvvm.vote.ballot.sync(i32 -1, {})", self.typed(inst.args[0]));
        self.set(inst.results[0], &call);
    }

    pub(super) fn barrier(&mut self, id: u32, threads: Option<u32>) {
        let name = "@llvm.nvvm.barrier.cta.sync.aligned";
        match threads {
            None => self.line(&format!("call void {name}.all(i32 {id})")),
            Some(n) => self.line(&format!("call void {name}.count(i32 {id}, i32 {n})")),
        }
    }

    pub(super) fn barrier_arrive(&mut self, id: u32, threads: u32) {
        self.line(&format!("call void @llvm.nvvm.barrier.cta.arrive.aligned.count(i32 {id}, i32 {threads})"));
    }
}

fn suffix(ty: Ty) -> &'static str {
    match ty {
        Ty::Bool => "i1",
        Ty::I32 => "i32",
        Ty::I64 => "i64",
        Ty::F32 => "f32",
        Ty::F64 => "f64",
    }
}
