//! Products on tensor cores: `mma.sync` of a warp, `wgmma` of a warpgroup, and loads of matrices into registers. Which
//! register holds which element is the layouts' business.

use super::Printer;
use super::asm::{Asm, Effect, operands};
use crate::simt::{Inst, Mma, Small, Wgmma, WgmmaLeft};

/// PTX's name of a dtype.
fn dtype(small: Small) -> &'static str {
    match small {
        Small::F16 => "f16",
        Small::BF16 => "bf16",
        Small::F8E4M3 => "e4m3",
        Small::F8E5M2 => "e5m2",
    }
}

fn byte(signed: bool) -> &'static str {
    if signed { "s8" } else { "u8" }
}

/// `m16n8k16.row.col.f32.bf16.bf16.f32`.
fn mma_name(mma: Mma) -> String {
    let (k, a, b, sum) = match mma {
        Mma::F16 => (16, "f16", "f16", "f32"),
        Mma::BF16 => (16, "bf16", "bf16", "f32"),
        Mma::TF32 => (8, "tf32", "tf32", "f32"),
        Mma::F8(a, b) => (32, dtype(a), dtype(b), "f32"),
        Mma::I8(a, b) => (32, byte(a), byte(b), "s32"),
    };
    format!("m16n8k{k}.row.col.{sum}.{a}.{b}.{sum}")
}

impl Printer<'_> {
    pub(super) fn mma(&mut self, mma: Mma, inst: &Inst) {
        let (d, a, b, c) = (operands(0, 4), operands(4, 4), operands(8, 2), operands(10, 4));
        let text = format!("mma.sync.aligned.{} {{{d}}}, {{{a}}}, {{{b}}}, {{{c}}};", mma_name(mma));
        let asm = self.inputs(Asm::new(text, Effect::Together), &inst.args);
        self.assembly(asm, &inst.results);
    }

    pub(super) fn load_matrix(&mut self, count: u8, transpose: bool, inst: &Inst) {
        let pointer = self.shared_pointer(&self.typed(inst.args[0]));
        let turned = if transpose { ".trans" } else { "" };
        let name = format!("@llvm.nvvm.ldmatrix.sync.aligned.m8n8.x{count}{turned}.b16.p3");
        if let [one] = inst.results.as_slice() {
            return self.set(*one, &format!("call i32 {name}({pointer})"));
        }
        let whole = format!("{{ {} }}", vec!["i32"; usize::from(count)].join(", "));
        let got = self.temp(&format!("call {whole} {name}({pointer})"));
        for (n, result) in inst.results.iter().enumerate() {
            self.set(*result, &format!("extractvalue {whole} {got}, {n}"));
        }
    }

    pub(super) fn wgmma(&mut self, wgmma: &Wgmma, inst: &Inst) {
        let sums = wgmma.accumulators();
        let heads = wgmma.heads().len();
        let text = wgmma_text(wgmma, if wgmma.accumulate { 2 * sums } else { sums });
        let mut asm = Asm::new(text, Effect::MemoryTogether);
        if wgmma.accumulate {
            for (n, sum) in inst.args[heads..].iter().enumerate() {
                asm = asm.input(&n.to_string(), self.typed(*sum));
            }
        }
        let (left, right) = inst.args[..heads].split_at(heads - 1);
        for value in left.iter().chain(right) {
            let in_memory = right.contains(value) || wgmma.left == WgmmaLeft::Shared;
            asm = if in_memory {
                let descriptor = self.temp(&format!("add i64 {}, %shared.descriptor", self.name(*value)));
                asm.input("l", format!("i64 {descriptor}"))
            } else {
                self.input(asm, *value)
            };
        }
        self.assembly(asm, &inst.results);
    }

    /// Takes accumulators and gives them, so that their uses stay behind it.
    pub(super) fn wgmma_wait(&mut self, groups: u32, inst: &Inst) {
        let mut asm = Asm::new(format!("wgmma.wait_group.sync.aligned {groups};"), Effect::MemoryTogether);
        for (n, sum) in inst.args.iter().enumerate() {
            asm = asm.input(&n.to_string(), self.typed(*sum));
        }
        self.assembly(asm, &inst.results);
    }
}

/// The instruction; `first` is the number of the first operand behind the accumulators.
fn wgmma_text(wgmma: &Wgmma, first: usize) -> String {
    let (k, name) = match wgmma.dtype {
        None => (8, "tf32"),
        Some(small @ (Small::F16 | Small::BF16)) => (16, dtype(small)),
        Some(small @ (Small::F8E4M3 | Small::F8E5M2)) => (32, dtype(small)),
    };
    let (left, right) = match wgmma.left {
        WgmmaLeft::Shared => (format!("${first}"), first + 1),
        WgmmaLeft::Registers => (format!("{{{}}}", operands(first, 4)), first + 4),
    };
    let mut flags = vec![u8::from(wgmma.accumulate), 1, 1];
    if k == 16 {
        if wgmma.left == WgmmaLeft::Shared {
            flags.push(wgmma.transpose_left.into());
        }
        flags.push(wgmma.transpose_right.into());
    }
    let flags: Vec<String> = flags.iter().map(u8::to_string).collect();
    let sums = operands(0, wgmma.accumulators());
    let head = format!("wgmma.mma_async.sync.aligned.m64n{}k{k}.f32.{name}.{name}", wgmma.n);
    format!("{head} {{{sums}}}, {left}, ${right}, {};", flags.join(", "))
}
