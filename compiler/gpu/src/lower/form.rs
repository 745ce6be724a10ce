//! Products that tensor cores have instructions for: which, by dtypes and sizes, and how their operands and results lie in
//! the registers of a warp. Where operands come from, and the order of instructions, is decided elsewhere.

use pantile_ir::{DType, DimId, Func, Inst};

use super::infer::Warps;
use super::{Bit, Spread, all_bits};
use crate::kernel::Options;
use crate::simt::{Mma, Small, Ty};

/// The dims of a product by what they are for.
#[derive(Clone, Debug)]
pub(crate) struct Roles {
    /// Of the left operand and the result.
    pub m: Vec<DimId>,
    /// Of the right operand and the result.
    pub n: Vec<DimId>,
    /// Contracted.
    pub k: Vec<DimId>,
    /// Of both operands and the result.
    pub batch: Vec<DimId>,
}

impl Roles {
    /// Of a dot over some dims.
    pub fn of(func: &Func, inst: &Inst, over: &[DimId]) -> Self {
        let (a, b) = (func.ty(inst.args[0]).dims(), func.ty(inst.args[1]).dims());
        let only = |x: &[DimId], y: &[DimId]| x.iter().filter(|d| !y.contains(d)).copied().collect();
        let batch = a.iter().filter(|d| b.contains(d) && !over.contains(d)).copied().collect();
        Self { m: only(a, b), n: only(b, a), k: over.to_vec(), batch }
    }
}

/// An instruction of m16 · n8 · 32 bytes of k, and what it is for.
#[derive(Debug)]
pub(crate) struct Family {
    /// The dtype of the operands' tiles.
    of: DType,
    /// The dtype that operands are packed as: it holds all values of `of`, but where tf32 was asked for.
    pub packed: DType,
    /// The instruction.
    pub mma: Mma,
}

const fn family(of: DType, packed: DType, mma: Mma) -> Family {
    Family { of, packed, mma }
}

/// Of two that serve a product, the first is taken. 8-bit floats, which f16 holds all, are that to what does not
/// multiply them as they are, and where there is less of k than an instruction for them takes.
const FAMILIES: &[Family] = &[
    family(DType::F16, DType::F16, Mma::F16),
    family(DType::BF16, DType::BF16, Mma::BF16),
    family(DType::F8E4M3, DType::F8E4M3, Mma::F8(Small::F8E4M3, Small::F8E4M3)),
    family(DType::F8E4M3, DType::F16, Mma::F16),
    family(DType::F8E5M2, DType::F8E5M2, Mma::F8(Small::F8E5M2, Small::F8E5M2)),
    family(DType::F8E5M2, DType::F16, Mma::F16),
    family(DType::I8, DType::I8, Mma::I8(true, true)),
    family(DType::U8, DType::U8, Mma::I8(false, false)),
    family(DType::F32, DType::F32, Mma::TF32),
];

impl Family {
    fn is_there(&self, options: &Options) -> bool {
        match self.mma {
            Mma::F16 | Mma::BF16 | Mma::I8(..) => true,
            Mma::F8(..) => options.target.multiplies_f8(),
            Mma::TF32 => options.tf32,
        }
    }

    /// Elements of a 32-bit word, as a power of two.
    pub fn word_bits(&self) -> usize {
        (4 / self.packed.bytes()).trailing_zeros() as usize
    }

    /// Elements along k that one instruction takes, as a power of two.
    pub fn depth_bits(&self) -> usize {
        self.word_bits() + 3
    }
}

/// A product on tensor cores.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    pub family: &'static Family,
    /// Bits of the left operand's own dims.
    pub m: Vec<Bit>,
    /// Of the right one's.
    pub n: Vec<Bit>,
    /// Of those contracted.
    pub k: Vec<Bit>,
}

impl Form {
    /// Of a dot over some dims, if there is one.
    pub fn of(func: &Func, options: &Options, inst: &Inst, over: &[DimId]) -> Option<Self> {
        let roles = Roles::of(func, inst, over);
        let dtype = func.ty(inst.args[0]).dtype();
        let (m, n, k) = (all_bits(func, &roles.m), all_bits(func, &roles.n), all_bits(func, &roles.k));
        if !roles.batch.is_empty() || m.len() < 4 || n.len() < 3 {
            return None;
        }
        let fits = |f: &&Family| f.of == dtype && f.is_there(options) && k.len() >= f.depth_bits();
        let family = FAMILIES.iter().find(fits)?;
        Some(Self { family, m, n, k })
    }

    /// The registers' type of sums.
    pub fn sum(&self) -> Ty {
        match self.family.mma {
            Mma::F16 | Mma::BF16 | Mma::TF32 | Mma::F8(..) => Ty::F32,
            Mma::I8(..) => Ty::I32,
        }
    }

    /// The small float that operands are packed as; none for what is no small float.
    pub fn small(&self) -> Option<Small> {
        match self.family.mma {
            Mma::F16 => Some(Small::F16),
            Mma::BF16 => Some(Small::BF16),
            Mma::F8(left, _) => Some(left),
            Mma::TF32 | Mma::I8(..) => None,
        }
    }

    /// Instructions along k.
    pub fn steps(&self) -> usize {
        1 << (self.k.len() - self.family.depth_bits())
    }

    /// The bits of k by where one instruction has them: within a word, over lanes, over two registers; and the rest.
    pub fn depth(&self) -> [&[Bit]; 4] {
        let (word, rest) = self.k.split_at(self.family.word_bits());
        let (lanes, rest) = rest.split_at(2);
        let (registers, rest) = rest.split_at(1);
        [word, lanes, registers, rest]
    }

    /// Rows of the result that warps share out, then columns: which bits each warp bit means.
    fn warps(&self, warps: Warps) -> Vec<Bit> {
        let rows = self.m[4..].iter();
        let columns = self.n[3..].iter().rev();
        let mut bits: Vec<Bit> = rows.chain(columns).copied().take(warps.bits as usize).collect();
        bits.resize(warps.bits as usize, None);
        bits
    }

    /// The rest of some bits, which registers number.
    fn rest(bits: &[Bit], warps: &[Bit]) -> Vec<Bit> {
        bits.iter().filter(|b| !warps.contains(b)).copied().collect()
    }

    fn only(warps: &[Bit], bits: &[Bit]) -> Vec<Bit> {
        warps.iter().map(|w| if bits.contains(w) { *w } else { None }).collect()
    }

    /// The accumulator (PTX ISA, "Matrix Fragments for mma.m16n8k16" and its neighbours): rows `lane / 4` and 8 more, columns `2 (lane % 4)` and 1 more.
    pub fn accumulator(&self, warps: Warps) -> Spread {
        let (m, n) = (&self.m, &self.n);
        let warps = self.warps(warps);
        let mut registers = vec![n[0], m[3]];
        registers.extend(Self::rest(&n[3..], &warps));
        registers.extend(Self::rest(&m[4..], &warps));
        Spread { registers, lanes: vec![n[1], n[2], m[0], m[1], m[2]], warps }
    }

    /// The left operand: words along k; rows as the accumulator's.
    pub fn left(&self, warps: Warps) -> Spread {
        let m = &self.m;
        let [word, lanes, registers, steps] = self.depth();
        let warps = Self::only(&self.warps(warps), m);
        let rows = Self::rest(&m[4..], &warps);
        let registers = [word, &m[3..4], registers, steps, &rows].concat();
        Spread { registers, lanes: [lanes, &m[..3]].concat(), warps }
    }

    /// The right operand: words along k; columns `lane / 4`.
    pub fn right(&self, warps: Warps) -> Spread {
        let n = &self.n;
        let [word, lanes, registers, steps] = self.depth();
        let warps = Self::only(&self.warps(warps), n);
        let columns = Self::rest(&n[3..], &warps);
        let registers = [word, registers, steps, &columns].concat();
        Spread { registers, lanes: [lanes, &n[..3]].concat(), warps }
    }
}
