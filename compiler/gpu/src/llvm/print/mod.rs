//! Writes a program as LLVM IR text for NVPTX: regions become basic blocks, what they carry and yield phis, constants
//! literals. It chooses instructions one by one; it moves and merges nothing.
//!
//! Where LLVM has an instruction it is used, then NVVM's intrinsics, then inline assembly. No fast-math flag is ever
//! set: arithmetic is rounded as each op says. Shared addresses are offsets from one external array, which is the
//! block's dynamic shared memory, so a launch gives [`Program::shared`] bytes of it.

mod arith;
mod asm;
mod asynchronous;
mod convert;
mod memory;
mod tensor_cores;

use std::fmt::Write;

use crate::Target;
use crate::simt::{Const, Inst, Op, Program, Region, Ty, Value};
use crate::tensor_map::MAP_BYTES;

/// The name of the block's shared memory in the text.
const SHARED: &str = "@pantile_shared";

/// A program as LLVM IR text for a target.
///
/// # Errors
/// If the program is not well formed, or uses what the target does not have.
pub fn print(program: &Program, target: Target) -> Result<String, String> {
    program.verify()?;
    program.verify_for(target)?;
    let mut printer = Printer {
        program,
        target,
        body: String::new(),
        names: (0..program.types.len()).map(|n| format!("%v{n}")).collect(),
        fresh: 0,
        block: "entry".into(),
    };
    printer.literals(&program.body);
    printer.region(&program.body);
    Ok(printer.module())
}

struct Printer<'a> {
    program: &'a Program,
    target: Target,
    body: String,
    /// How each value is written where it is used.
    names: Vec<String>,
    /// The next number of a temporary or label.
    fresh: u32,
    /// The label of the block that is being written.
    block: String,
}

/// LLVM's name of a type.
fn llvm(ty: Ty) -> &'static str {
    match ty {
        Ty::Bool => "i1",
        Ty::I32 => "i32",
        Ty::I64 => "i64",
        Ty::F32 => "float",
        Ty::F64 => "double",
    }
}

/// A constant as LLVM writes it. Floats are written as the bits of the double of the same value.
fn literal(c: Const) -> String {
    match c.ty {
        Ty::Bool => (c.bits != 0).to_string(),
        Ty::I32 => (c.bits as u32 as i32).to_string(),
        Ty::I64 => (c.bits as i64).to_string(),
        Ty::F32 => format!("0x{:016X}", double_bits(c.bits as u32)),
        Ty::F64 => format!("0x{:016X}", c.bits),
    }
}

/// The double of a single's value; a NaN keeps its payload, which a conversion would quieten.
fn double_bits(single: u32) -> u64 {
    let x = f32::from_bits(single);
    if x.is_nan() {
        let (sign, payload) = (u64::from(single >> 31), u64::from(single & 0x7f_ffff));
        return sign << 63 | 0x7ff << 52 | payload << 29;
    }
    f64::from(x).to_bits()
}

impl Printer<'_> {
    fn module(self) -> String {
        let program = self.program;
        let words = (0..program.words).map(|n| format!("i64 noundef %p{n}"));
        // Copies take a map's address, which is that of the parameter itself where nobody writes it.
        let map = |n| format!("ptr noundef byval([{MAP_BYTES} x i8]) align 64 \"nvvm.grid_constant\" %map{n}");
        let params: Vec<String> = words.chain((0..program.maps).map(map)).collect();
        let mut out = format!("; {} {} -nvptx-short-ptr\n", self.target.name(), self.target.ptx());
        out.push_str("target triple = \"nvptx64-nvidia-cuda\"\n\n");
        let _ = writeln!(out, "{SHARED} = external addrspace(3) global [0 x i8], align 1024\n");
        let _ = writeln!(out, "define ptx_kernel void @{}({}) #0 {{\nentry:", program.name, params.join(", "));
        out.push_str(&self.shared_base());
        for n in 0..program.maps {
            let _ = writeln!(out, "  %map{n}.address = ptrtoint ptr %map{n} to i64");
        }
        out.push_str(&self.body);
        out.push_str("  ret void\n}\n\n");
        let _ = writeln!(out, "attributes #0 = {{ convergent nounwind {} }}", self.bounds());
        out.push_str(asm::ATTRIBUTES);
        out.push_str("!0 = !{}\n");
        out
    }

    /// The start of shared memory, as an address and as descriptors count (16 bytes).
    fn shared_base(&self) -> String {
        if self.program.shared == 0 {
            return String::new();
        }
        format!(
            "  %shared = ptrtoint ptr addrspace(3) {SHARED} to i32\n  %shared.rows = lshr i32 %shared, 4\n  \
             %shared.descriptor = zext i32 %shared.rows to i64\n"
        )
    }

    /// What the assembler is told about the launch.
    fn bounds(&self) -> String {
        let threads = self.program.threads;
        // A block that has its multiprocessor for itself may use all registers; without a bound the assembler ignores
        // `setmaxnreg`.
        let registers = match self.program.registers {
            0 => "\"nvvm.minctasm\"=\"1\"".to_string(),
            n => format!("\"nvvm.maxnreg\"=\"{n}\""),
        };
        format!("\"nvvm.reqntid\"=\"{threads},1,1\" {registers}")
    }

    fn literals(&mut self, body: &Region) {
        let names = &mut self.names;
        body.visit(&mut |inst| {
            if let (Op::Const(c), [value]) = (&inst.op, inst.results.as_slice()) {
                names[value.index()] = literal(*c);
            }
        });
    }

    fn line(&mut self, text: &str) {
        self.body.push_str("  ");
        self.body.push_str(text);
        self.body.push('\n');
    }

    fn label(&mut self, name: &str) {
        let _ = writeln!(self.body, "{name}:");
        self.block = name.to_string();
    }

    fn number(&mut self) -> u32 {
        self.fresh += 1;
        self.fresh
    }

    /// `%t = TEXT`; gives the temporary's name.
    fn temp(&mut self, text: &str) -> String {
        let name = format!("%t{}", self.number());
        self.line(&format!("{name} = {text}"));
        name
    }

    /// `%value = TEXT`.
    fn set(&mut self, value: Value, text: &str) {
        let name = self.name(value).to_string();
        self.line(&format!("{name} = {text}"));
    }

    /// Another name of a value, that is what it is.
    fn alias(&mut self, value: Value, name: String) {
        self.names[value.index()] = name;
    }

    fn name(&self, value: Value) -> &str {
        &self.names[value.index()]
    }

    /// A value's type in LLVM.
    fn ty(&self, value: Value) -> &'static str {
        llvm(self.program.ty(value))
    }

    /// A value with its type before it.
    fn typed(&self, value: Value) -> String {
        format!("{} {}", self.ty(value), self.name(value))
    }

    /// Operands with their types.
    fn list(&self, values: &[Value]) -> String {
        let each: Vec<String> = values.iter().map(|v| self.typed(*v)).collect();
        each.join(", ")
    }

    fn region(&mut self, region: &Region) {
        for inst in &region.insts {
            self.inst(inst);
        }
    }

    fn inst(&mut self, inst: &Inst) {
        match &inst.op {
            Op::Const(_) => {}
            Op::Param(word) => self.alias(inst.results[0], format!("%p{word}")),
            Op::Map(map) => self.alias(inst.results[0], format!("%map{map}.address")),
            Op::Special(what) => self.special(*what, inst.results[0]),
            Op::Unary(op) => self.unary(*op, inst),
            Op::Binary(op) => self.binary(*op, inst),
            Op::Fma => self.intrinsic(inst, "fma"),
            Op::Compare(op) => self.compare(*op, inst),
            Op::Select => self.set(inst.results[0], &format!("select {}", self.list(&inst.args))),
            Op::Convert(how) => self.convert(*how, inst),
            Op::Narrow(small) => self.narrow(*small, inst),
            Op::Load { space, bits, count, guarded } => self.load(*space, *bits, *count, *guarded, inst),
            Op::Store { space, bits, count, guarded } => self.store(*space, *bits, *count, *guarded, inst),
            Op::AtomicAdd => self.atomic_add(inst),
            Op::AtomicCas => self.atomic_cas(inst),
            Op::AtomicFetchAdd => self.atomic_fetch_add(inst),
            Op::Fault => self.fault(inst),
            Op::Shuffle(how) => self.shuffle(*how, inst),
            Op::Ballot => self.ballot(inst),
            Op::Barrier { id, threads } => self.barrier(*id, *threads),
            Op::BarrierArrive { id, threads } => self.barrier_arrive(*id, *threads),
            Op::Mma(mma) => self.mma(*mma, inst),
            Op::LoadMatrix { count, transpose } => self.load_matrix(*count, *transpose, inst),
            Op::Wgmma(wgmma) => self.wgmma(wgmma, inst),
            Op::WgmmaWait(n) => self.wgmma_wait(*n, inst),
            Op::CopyAsync => self.copy_async(inst),
            Op::TensorLoad { rank } => self.tensor_load(*rank, inst),
            Op::TensorStore { rank } => self.tensor_store(*rank, inst),
            Op::MbarrierInit | Op::MbarrierArrive | Op::MbarrierExpect | Op::MbarrierWait => self.mbarrier(inst),
            Op::CopyCommit
            | Op::CopyWait(_)
            | Op::WgmmaFence
            | Op::WgmmaCommit
            | Op::MbarrierFence
            | Op::TensorStoreCommit
            | Op::TensorStoreWait(_)
            | Op::ProxyFence
            | Op::SetRegisters(..) => self.bare(&inst.op),
            Op::If => self.branch(inst),
            Op::Loop => self.repeat(inst),
        }
    }

    fn branch(&mut self, inst: &Inst) {
        let n = self.number();
        let arms = [format!("then{n}"), format!("else{n}")];
        let test = self.typed(inst.args[0]);
        self.line(&format!("br {test}, label %{}, label %{}", arms[0], arms[1]));
        let mut ends = Vec::new();
        for (arm, region) in arms.iter().zip(&inst.regions) {
            self.label(arm);
            self.region(region);
            ends.push(self.block.clone());
            self.line(&format!("br label %join{n}"));
        }
        self.label(&format!("join{n}"));
        for (i, result) in inst.results.iter().enumerate() {
            let from = |arm: usize| format!("[ {}, %{} ]", self.name(inst.regions[arm].yields[i]), ends[arm]);
            let phi = format!("phi {} {}, {}", self.ty(*result), from(0), from(1));
            self.set(*result, &phi);
        }
    }

    /// What is carried is a phi of the block that tests; the regions' arguments and the results are other names of it.
    fn repeat(&mut self, inst: &Inst) {
        let n = self.number();
        let (head, [test, body]) = (format!("test{n}"), [&inst.regions[0], &inst.regions[1]]);
        let before = self.block.clone();
        self.line(&format!("br label %{head}"));
        self.label(&head);
        for (i, arg) in test.args.iter().enumerate() {
            let init = self.name(inst.args[i]);
            // The names of what is carried next are fixed before they are written, so that the phi can stand first.
            let phi = format!("phi {} [ {init}, %{before} ], [ %next{n}.{i}, %next{n} ]", self.ty(*arg));
            self.set(*arg, &phi);
            let name = self.name(*arg).to_string();
            self.alias(body.args[i], name.clone());
            self.alias(inst.results[i], name);
        }
        self.region(test);
        self.line(&format!("br {}, label %body{n}, label %done{n}", self.typed(test.yields[0])));
        self.label(&format!("body{n}"));
        self.region(body);
        let end = self.block.clone();
        self.line(&format!("br label %next{n}"));
        self.label(&format!("next{n}"));
        for (i, value) in body.yields.iter().enumerate() {
            self.line(&format!("%next{n}.{i} = phi {} [ {}, %{end} ]", self.ty(*value), self.name(*value)));
        }
        self.line(&format!("br label %{head}"));
        self.label(&format!("done{n}"));
    }
}
