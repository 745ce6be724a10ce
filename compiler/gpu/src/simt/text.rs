//! The text of a program, for people: `%7: f32 = fma %1, %2, %3`, nested regions indented. It is not read back.

use std::fmt::{self, Display, Formatter, Write};

use super::{
    Const, Convert, Inst, Mma, Op, Program, Region, Shuffle, Small, Space, Special, Ty, Value, Wgmma, WgmmaLeft,
};

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

impl Display for Ty {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ty::Bool => "bool",
            Ty::I32 => "i32",
            Ty::I64 => "i64",
            Ty::F32 => "f32",
            Ty::F64 => "f64",
        })
    }
}

impl Display for Const {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.ty {
            Ty::Bool => write!(f, "{}", self.bits != 0),
            Ty::I32 => write!(f, "{}", self.bits as u32 as i32),
            Ty::I64 => write!(f, "{}", self.bits as i64),
            Ty::F32 if f32::from_bits(self.bits as u32).is_nan() => write!(f, "nan:{:#x}", self.bits),
            Ty::F32 => write!(f, "{:?}", f32::from_bits(self.bits as u32)),
            Ty::F64 if f64::from_bits(self.bits).is_nan() => write!(f, "nan:{:#x}", self.bits),
            Ty::F64 => write!(f, "{:?}", f64::from_bits(self.bits)),
        }
    }
}

impl Display for Small {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Small::F16 => "f16",
            Small::BF16 => "bf16",
            Small::F8E4M3 => "f8e4m3",
            Small::F8E5M2 => "f8e5m2",
        })
    }
}

impl Display for Space {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Space::Global => "global",
            Space::Constant => "constant",
            Space::Shared => "shared",
        })
    }
}

/// `AddThis` as `add_this`: the name of an op without attributes.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Op::Const(c) => write!(f, "const {c}"),
            Op::Param(word) => write!(f, "param {word}"),
            Op::Map(n) => write!(f, "map {n}"),
            Op::Special(what) => f.write_str(match what {
                Special::Thread => "thread",
                Special::Lane => "lane",
                Special::Block => "block",
                Special::Blocks => "blocks",
            }),
            Op::Unary(op) => f.write_str(&snake(&format!("{op:?}"))),
            Op::Binary(op) => f.write_str(&unsigned(&format!("{op:?}"))),
            Op::Compare(op) => write!(f, "compare.{}", format!("{op:?}").to_lowercase()),
            Op::Convert(how) => convert(*how, f),
            Op::Narrow(small) => write!(f, "narrow.{small}"),
            Op::Load { space, bits, count, guarded: _ } => write!(f, "load.{space}.{bits}x{count}"),
            Op::Store { space, bits, count, guarded: _ } => write!(f, "store.{space}.{bits}x{count}"),
            Op::Shuffle(Shuffle::Xor(n)) => write!(f, "shuffle.xor {n}"),
            Op::Shuffle(Shuffle::Index) => f.write_str("shuffle.index"),
            Op::Shuffle(Shuffle::Up(n)) => write!(f, "shuffle.up {n}"),
            Op::Barrier { id, threads: None } => write!(f, "barrier {id}"),
            Op::Barrier { id, threads: Some(n) } => write!(f, "barrier {id} of {n}"),
            Op::BarrierArrive { id, threads } => write!(f, "barrier_arrive {id} of {threads}"),
            Op::Mma(Mma::F8(a, b)) => write!(f, "mma.{a}.{b}"),
            Op::Mma(Mma::I8(a, b)) => write!(f, "mma.{}8.{}8", sign(*a), sign(*b)),
            Op::Mma(mma @ (Mma::F16 | Mma::BF16 | Mma::TF32)) => write!(f, "mma.{}", format!("{mma:?}").to_lowercase()),
            Op::LoadMatrix { count, transpose } => {
                write!(f, "load_matrix.x{count}{}", if *transpose { ".t" } else { "" })
            }
            Op::CopyWait(n) => write!(f, "copy_wait {n}"),
            Op::Wgmma(w) => wgmma(w, f),
            Op::WgmmaWait(n) => write!(f, "wgmma_wait {n}"),
            Op::TensorLoad { rank } => write!(f, "tensor_load.{rank}d"),
            Op::TensorStore { rank } => write!(f, "tensor_store.{rank}d"),
            Op::TensorStoreWait(n) => write!(f, "tensor_store_wait {n}"),
            Op::SetRegisters(up, n) => write!(f, "set_registers.{} {n}", if *up { "up" } else { "down" }),
            Op::Fma
            | Op::Select
            | Op::AtomicAdd
            | Op::AtomicCas
            | Op::AtomicFetchAdd
            | Op::Ballot
            | Op::CopyAsync
            | Op::CopyCommit
            | Op::WgmmaFence
            | Op::WgmmaCommit
            | Op::MbarrierInit
            | Op::MbarrierFence
            | Op::MbarrierArrive
            | Op::MbarrierExpect
            | Op::MbarrierWait
            | Op::TensorStoreCommit
            | Op::ProxyFence
            | Op::Fault
            | Op::If
            | Op::Loop => f.write_str(&snake(&format!("{self:?}"))),
        }
    }
}

/// `UDiv` as `udiv`, `MulHigh` as `mul_high`.
fn unsigned(name: &str) -> String {
    let second = name.chars().nth(1).is_some_and(|c| c.is_ascii_uppercase());
    if second { name.to_lowercase() } else { snake(name) }
}

fn sign(signed: bool) -> char {
    if signed { 'i' } else { 'u' }
}

fn convert(how: Convert, f: &mut Formatter<'_>) -> fmt::Result {
    match how {
        Convert::ZeroExtend(to) => write!(f, "zero_extend.{to}"),
        Convert::SignExtend => f.write_str("sign_extend.i64"),
        Convert::Truncate => f.write_str("truncate.i32"),
        Convert::SignFrom(bits) => write!(f, "sign_from.{bits}"),
        Convert::FromSigned(to) => write!(f, "from_signed.{to}"),
        Convert::FromUnsigned(to) => write!(f, "from_unsigned.{to}"),
        Convert::ToSigned(to) => write!(f, "to_signed.{to}"),
        Convert::ToUnsigned(to) => write!(f, "to_unsigned.{to}"),
        Convert::Float(to) => write!(f, "float.{to}"),
        Convert::Bits(to) => write!(f, "bits.{to}"),
        Convert::Widen(small) => write!(f, "widen.{small}"),
        Convert::Tf32 => f.write_str("tf32"),
    }
}

fn wgmma(w: &Wgmma, f: &mut Formatter<'_>) -> fmt::Result {
    let dtype = w.dtype.map_or_else(|| "tf32".to_string(), |d| d.to_string());
    let left = match w.left {
        WgmmaLeft::Shared => "shared",
        WgmmaLeft::Registers => "registers",
    };
    write!(f, "wgmma.m64n{}.{dtype}.{left}", w.n)?;
    let flags = [(w.transpose_left, ".ta"), (w.transpose_right, ".tb"), (!w.accumulate, ".zero")];
    flags.iter().filter(|(on, _)| *on).try_for_each(|(_, name)| f.write_str(name))
}

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "kernel {} words {} fault {} ", self.name, self.words, self.fault_word)?;
        if self.maps > 0 {
            write!(f, "maps {} ", self.maps)?;
        }
        writeln!(f, "threads {} shared {} registers {} {{", self.threads, self.shared, self.registers)?;
        self.region(&self.body, 1, f)?;
        writeln!(f, "}}")
    }
}

impl Program {
    /// One instruction without its regions.
    pub fn line(&self, inst: &Inst) -> String {
        let mut out = self.typed(&inst.results);
        if !inst.results.is_empty() {
            out.push_str(" = ");
        }
        let args: Vec<String> = inst.args.iter().map(Value::to_string).collect();
        let space = if args.is_empty() { "" } else { " " };
        // Writing into a string does not fail.
        let _ = match guard(inst) {
            Some((guard, rest)) => write!(out, "{} {} if {guard}", inst.op, args[..rest].join(", ")),
            None => write!(out, "{}{space}{}", inst.op, args.join(", ")),
        };
        out
    }

    fn typed(&self, values: &[Value]) -> String {
        let ty = |v: &Value| self.types.get(v.index()).map_or_else(|| "?".to_string(), Ty::to_string);
        let each: Vec<String> = values.iter().map(|v| format!("{v}: {}", ty(v))).collect();
        each.join(", ")
    }

    fn region(&self, region: &Region, depth: usize, f: &mut Formatter<'_>) -> fmt::Result {
        let pad = "  ".repeat(depth);
        for inst in &region.insts {
            write!(f, "{pad}{}", self.line(inst))?;
            let words: &[&str] = if inst.op == Op::Loop { &["while", "do"] } else { &["then", "else"] };
            for (nested, word) in inst.regions.iter().zip(words) {
                let args = self.typed(&nested.args);
                let args = if args.is_empty() { args } else { format!(" ({args})") };
                writeln!(f, " {word}{args} {{")?;
                self.region(nested, depth + 1, f)?;
                write!(f, "{pad}}}")?;
            }
            writeln!(f)?;
        }
        if !region.yields.is_empty() {
            let yields: Vec<String> = region.yields.iter().map(Value::to_string).collect();
            writeln!(f, "{pad}yield {}", yields.join(", "))?;
        }
        Ok(())
    }
}

/// The predicate of a guarded access, and how many operands stand before it.
fn guard(inst: &Inst) -> Option<(Value, usize)> {
    let guarded = matches!(inst.op, Op::Load { guarded: true, .. } | Op::Store { guarded: true, .. });
    let last = inst.args.last().filter(|_| guarded)?;
    Some((*last, inst.args.len() - 1))
}
