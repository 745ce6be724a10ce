//! Calls of inline assembly: operands, constraints, what the optimiser may assume. The instructions' text comes from who
//! calls.

use super::{Printer, llvm};
use crate::simt::{Ty, Value};

/// What the optimiser may do with a piece of assembly.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Effect {
    /// It computes; it may be dropped and moved.
    Pure,
    /// It computes with all lanes; it may be dropped, but not moved into a branch.
    Together,
    /// It reads or writes memory, or acts on the machine: it stays where it is.
    Memory,
    /// Such a piece that many threads run as one: it is not copied into branches either.
    MemoryTogether,
}

/// The attribute groups that calls name.
pub(super) const ATTRIBUTES: &str = "attributes #1 = { nounwind willreturn memory(none) }
attributes #2 = { convergent nounwind willreturn memory(none) }
attributes #3 = { nounwind }
attributes #4 = { convergent nounwind }
";

/// A piece of assembly: `$0`, `$1`, … are the outputs, then the inputs. Early outputs are written before the inputs are read.
pub(super) struct Asm {
    text: String,
    effect: Effect,
    early: bool,
    outputs: Vec<(Value, Ty)>,
    inputs: Vec<(String, String)>,
}

impl Asm {
    pub fn new(text: impl Into<String>, effect: Effect) -> Self {
        Self { text: text.into(), effect, early: false, outputs: Vec::new(), inputs: Vec::new() }
    }

    /// Its outputs are written before its inputs are read.
    pub fn early(mut self) -> Self {
        self.early = true;
        self
    }

    /// An input with its type before it.
    pub fn input(mut self, constraint: &str, typed: impl Into<String>) -> Self {
        self.inputs.push((constraint.into(), typed.into()));
        self
    }

    fn constraints(&self) -> String {
        let early = if self.early { "&" } else { "" };
        let outputs = self.outputs.iter().map(|(_, ty)| format!("={early}{}", letter(*ty)));
        let inputs = self.inputs.iter().map(|(constraint, _)| constraint.clone());
        let memory = matches!(self.effect, Effect::Memory | Effect::MemoryTogether).then(|| "~{memory}".to_string());
        outputs.chain(inputs).chain(memory).collect::<Vec<_>>().join(",")
    }

    /// The call up to what it gives.
    fn call(&self, returns: &str) -> String {
        let (side, group) = match self.effect {
            Effect::Pure => ("", 1),
            Effect::Together => ("", 2),
            Effect::Memory => ("sideeffect ", 3),
            Effect::MemoryTogether => ("sideeffect ", 4),
        };
        let inputs: Vec<&str> = self.inputs.iter().map(|(_, typed)| typed.as_str()).collect();
        let (text, constraints) = (&self.text, self.constraints());
        format!("call {returns} asm {side}\"{text}\", \"{constraints}\"({}) #{group}", inputs.join(", "))
    }
}

/// The letter of a register of this type.
pub(super) fn letter(ty: Ty) -> &'static str {
    match ty {
        Ty::Bool => "b",
        Ty::I32 => "r",
        Ty::I64 => "l",
        Ty::F32 => "f",
        Ty::F64 => "d",
    }
}

/// `$first, $first+1, …`.
pub(super) fn operands(first: usize, count: usize) -> String {
    (first..first + count).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
}

impl Printer<'_> {
    /// An input in a register of its type.
    pub(super) fn input(&self, asm: Asm, value: Value) -> Asm {
        asm.input(letter(self.program.ty(value)), self.typed(value))
    }

    pub(super) fn inputs(&self, asm: Asm, values: &[Value]) -> Asm {
        values.iter().fold(asm, |asm, value| self.input(asm, *value))
    }

    /// Writes the call and names its outputs.
    pub(super) fn assembly(&mut self, mut asm: Asm, results: &[Value]) {
        asm.outputs = results.iter().map(|v| (*v, self.program.ty(*v))).collect();
        match results {
            [] => self.line(&asm.call("void")),
            [one] => {
                let call = asm.call(self.ty(*one));
                self.set(*one, &call);
            }
            many => {
                let types: Vec<&str> = many.iter().map(|v| llvm(self.program.ty(*v))).collect();
                let whole = format!("{{ {} }}", types.join(", "));
                let call = asm.call(&whole);
                let got = self.temp(&call);
                for (n, value) in many.iter().enumerate() {
                    self.set(*value, &format!("extractvalue {whole} {got}, {n}"));
                }
            }
        }
    }
}
