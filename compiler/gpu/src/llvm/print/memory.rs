//! Loads, stores and atomic updates. Guarded ones are predicated instructions, so that neighbours stay together; how wide
//! an access is, is decided by who built the program.

use super::asm::{Asm, Effect, operands};
use super::{Printer, SHARED};
use crate::simt::{Inst, Space, Ty, Value};

/// PTX's name of a memory.
fn space_name(space: Space) -> &'static str {
    match space {
        Space::Global => "global",
        Space::Constant => "global.nc",
        Space::Shared => "shared",
    }
}

/// `v4.` before the type of an access of 4 units.
fn vector(count: u8) -> String {
    if count == 1 { String::new() } else { format!("v{count}.") }
}

/// The units between braces, where there are several.
fn units(first: usize, count: u8) -> String {
    let list = operands(first, usize::from(count));
    if count == 1 { list } else { format!("{{{list}}}") }
}

impl Printer<'_> {
    /// A pointer with its type before it.
    fn pointer(&mut self, space: Space, address: Value) -> String {
        let address = self.typed(address);
        match space {
            Space::Global | Space::Constant => {
                let name = self.temp(&format!("inttoptr {address} to ptr addrspace(1)"));
                format!("ptr addrspace(1) {name}")
            }
            Space::Shared => self.shared_pointer(&address),
        }
    }

    /// A pointer to shared memory, `offset` (with its type) from its start.
    pub(super) fn shared_pointer(&mut self, offset: &str) -> String {
        let name = self.temp(&format!("getelementptr i8, ptr addrspace(3) {SHARED}, {offset}"));
        format!("ptr addrspace(3) {name}")
    }

    /// The address of an access in assembly, with its type.
    fn address(&mut self, space: Space, address: Value) -> String {
        match space {
            Space::Global | Space::Constant => self.typed(address),
            Space::Shared => self.shared_address(address),
        }
    }

    /// A shared address as the machine counts, with its type.
    pub(super) fn shared_address(&mut self, offset: Value) -> String {
        let name = self.temp(&format!("add i32 %shared, {}", self.name(offset)));
        format!("i32 {name}")
    }

    pub(super) fn load(&mut self, space: Space, bits: u8, count: u8, guarded: bool, inst: &Inst) {
        if guarded {
            return self.load_guarded(space, bits, count, inst);
        }
        let pointer = self.pointer(space, inst.args[0]);
        let constant = if space == Space::Constant { ", !invariant.load !0" } else { "" };
        let align = u32::from(bits) / 8 * u32::from(count);
        let (result, end) = (inst.results[0], format!("{pointer}, align {align}{constant}"));
        match (bits, count) {
            (8 | 16, _) => {
                let unit = self.temp(&format!("load i{bits}, {end}"));
                self.set(result, &format!("zext i{bits} {unit} to i32"));
            }
            (_, 1) => self.set(result, &format!("load i{bits}, {end}")),
            _ => {
                let whole = self.temp(&format!("load <{count} x i{bits}>, {end}"));
                for (n, unit) in inst.results.iter().enumerate() {
                    self.set(*unit, &format!("extractelement <{count} x i{bits}> {whole}, i32 {n}"));
                }
            }
        }
    }

    fn load_guarded(&mut self, space: Space, bits: u8, count: u8, inst: &Inst) {
        let n = usize::from(count);
        let width = if bits == 64 { 64 } else { 32 };
        let zeros: String = (0..n).map(|i| format!("mov.b{width} ${i}, 0; ")).collect();
        let access = format!("ld.{}.{}b{bits} {}, [${n}];", space_name(space), vector(count), units(0, count));
        let text = format!("{zeros}@${} {access}", n + 1);
        let address = self.address(space, inst.args[0]);
        let letter = if space == Space::Shared { "r" } else { "l" };
        let asm = Asm::new(text, Effect::Memory).early().input(letter, address);
        let asm = self.input(asm, inst.args[1]);
        self.assembly(asm, &inst.results);
    }

    pub(super) fn store(&mut self, space: Space, bits: u8, count: u8, guarded: bool, inst: &Inst) {
        let data = &inst.args[1..=usize::from(count)];
        if guarded {
            return self.store_guarded(space, bits, inst, data);
        }
        let pointer = self.pointer(space, inst.args[0]);
        let align = u32::from(bits) / 8 * u32::from(count);
        let whole = match (bits, count) {
            (8 | 16, _) => {
                let low = self.temp(&format!("trunc {} to i{bits}", self.typed(data[0])));
                format!("i{bits} {low}")
            }
            (_, 1) => self.typed(data[0]),
            _ => self.vector_of(bits, data),
        };
        self.line(&format!("store {whole}, {pointer}, align {align}"));
    }

    /// Units as one vector, with its type.
    fn vector_of(&mut self, bits: u8, data: &[Value]) -> String {
        let ty = format!("<{} x i{bits}>", data.len());
        let mut whole = "poison".to_string();
        for (n, unit) in data.iter().enumerate() {
            whole = self.temp(&format!("insertelement {ty} {whole}, {}, i32 {n}", self.typed(*unit)));
        }
        format!("{ty} {whole}")
    }

    fn store_guarded(&mut self, space: Space, bits: u8, inst: &Inst, data: &[Value]) {
        let count = data.len() as u8;
        let access = format!("st.{}.{}b{bits} [$0], {};", space_name(space), vector(count), units(1, count));
        let address = self.address(space, inst.args[0]);
        let letter = if space == Space::Shared { "r" } else { "l" };
        let asm = Asm::new(format!("@${} {access}", data.len() + 1), Effect::Memory).input(letter, address);
        let asm = self.inputs(asm, &inst.args[1..]);
        self.assembly(asm, &[]);
    }

    pub(super) fn atomic_add(&mut self, inst: &Inst) {
        let ty = match self.program.ty(inst.args[1]) {
            Ty::F32 => "f32",
            Ty::F64 => "f64",
            Ty::I64 => "u64",
            Ty::I32 | Ty::Bool => "u32",
        };
        let asm = Asm::new(format!("@$2 red.relaxed.gpu.global.add.{ty} [$0], $1;"), Effect::Memory);
        let asm = self.inputs(asm, &inst.args);
        self.assembly(asm, &[]);
    }

    pub(super) fn atomic_cas(&mut self, inst: &Inst) {
        let pointer = self.pointer(Space::Global, inst.args[0]);
        let values = self.list(&inst.args[1..]);
        let order = "syncscope(\"device\") monotonic monotonic, align 4";
        let pair = self.temp(&format!("cmpxchg {pointer}, {values} {order}"));
        self.set(inst.results[0], &format!("extractvalue {{ i32, i1 }} {pair}, 0"));
    }

    pub(super) fn atomic_fetch_add(&mut self, inst: &Inst) {
        let pointer = self.pointer(Space::Global, inst.args[0]);
        let value = self.typed(inst.args[1]);
        let text = format!("atomicrmw add {pointer}, {value} syncscope(\"device\") monotonic, align 4");
        self.set(inst.results[0], &text);
    }

    /// The first fault of a launch stays: it is written where 0 stands.
    pub(super) fn fault(&mut self, inst: &Inst) {
        // No kernel can be called as a register is that starts so; the assembler mixes them up.
        let text = "{ .reg .b64 %was_there, %found; mov.b64 %found, {$2, $3}; \
                    @$1 atom.relaxed.gpu.global.cas.b64 %was_there, [$0], 0, %found; }";
        let word = format!("i64 %p{}", self.program.fault_word);
        let asm = Asm::new(text, Effect::Memory).input("l", word);
        let asm = self.inputs(asm, &inst.args);
        self.assembly(asm, &[]);
    }
}
