//! What each op takes and gives: the types of its operands, its attributes' limits, the types of its results. Scopes and
//! regions are the verifier's business.

use super::{Binary, Compare, Convert, Mma, Op, Small, Space, Ty, Unary, Wgmma, WgmmaLeft};

use Ty::{Bool, F32, F64, I32, I64};

type Checked = Result<(), String>;

impl Op {
    /// The types of the results, given the types of the operands.
    ///
    /// # Errors
    /// Says which operand or attribute the op does not take. Of [`Op::If`], whose results are what its regions yield, and of
    /// [`Op::Loop`] only the operands are looked at.
    pub fn results(&self, args: &[Ty]) -> Result<Vec<Ty>, String> {
        match self {
            Op::Const(c) => takes(args, &[]).map(|()| vec![c.ty]),
            Op::Param(_) | Op::Map(_) => takes(args, &[]).map(|()| vec![I64]),
            Op::Special(_) => takes(args, &[]).map(|()| vec![I32]),
            Op::Unary(op) => unary(*op, args),
            Op::Binary(op) => binary(*op, args),
            Op::Fma => same(args, 3, float, "floats").map(|ty| vec![ty]),
            Op::Compare(op) => compare(*op, args),
            Op::Select => select(args),
            Op::Convert(how) => convert(*how, args),
            Op::Narrow(_) => takes(args, &[F32, F32]).map(|()| vec![I32]),
            Op::Load { space, bits, count, guarded } => {
                access(*bits, *count)?;
                takes(args, &concat(&[address(*space)], &[], *guarded))?;
                Ok(vec![unit(*bits); usize::from(*count)])
            }
            Op::Store { space, bits, count, guarded } => {
                access(*bits, *count)?;
                writable(*space)?;
                let units = vec![unit(*bits); usize::from(*count)];
                takes(args, &concat(&[address(*space)], &units, *guarded)).map(|()| vec![])
            }
            Op::AtomicAdd => atomic_add(args),
            Op::AtomicFetchAdd => takes(args, &[I64, I32]).map(|()| vec![I32]),
            Op::AtomicCas => takes(args, &[I64, I32, I32]).map(|()| vec![I32]),
            Op::Shuffle(super::Shuffle::Index) => takes(args, &[I32, I32]).map(|()| vec![I32]),
            Op::Shuffle(super::Shuffle::Xor(n) | super::Shuffle::Up(n)) => {
                within("the distance", *n, 0, 31)?;
                takes(args, &[I32]).map(|()| vec![I32])
            }
            Op::Ballot => takes(args, &[Bool]).map(|()| vec![I32]),
            Op::Mma(mma) => {
                mma_operands(*mma)?;
                let sum = mma_sum(*mma);
                takes(args, &[[I32; 6].as_slice(), [sum; 4].as_slice()].concat()).map(|()| vec![sum; 4])
            }
            Op::LoadMatrix { count, transpose: _ } => {
                power(*count)?;
                takes(args, &[I32]).map(|()| vec![I32; usize::from(*count)])
            }
            Op::CopyAsync => takes(args, &[I32, I64, Bool]).map(|()| vec![]),
            Op::Wgmma(wgmma) => wgmma_results(wgmma, args),
            Op::WgmmaWait(n) => {
                within("the number of groups", *n, 0, 7)?;
                let all = args.iter().all(|ty| *ty == F32);
                all.then(|| args.to_vec()).ok_or_else(|| wrong(args, "accumulators, which are f32"))
            }
            Op::Barrier { .. }
            | Op::BarrierArrive { .. }
            | Op::CopyCommit
            | Op::CopyWait(_)
            | Op::WgmmaFence
            | Op::WgmmaCommit
            | Op::MbarrierFence
            | Op::ProxyFence
            | Op::TensorStoreCommit
            | Op::TensorStoreWait(_)
            | Op::SetRegisters(..) => self.barriers().and_then(|()| takes(args, &[])).map(|()| vec![]),
            Op::MbarrierInit | Op::MbarrierWait => takes(args, &[I32, I32]).map(|()| vec![]),
            Op::MbarrierArrive => takes(args, &[I32, Bool]).map(|()| vec![]),
            Op::MbarrierExpect => takes(args, &[I32, I32, Bool]).map(|()| vec![]),
            Op::TensorLoad { rank } => {
                within("the rank", *rank, 1, 5)?;
                takes(args, &[[I32, I64, I32, Bool].as_slice(), &vec![I32; *rank as usize]].concat()).map(|()| vec![])
            }
            Op::TensorStore { rank } => {
                within("the rank", *rank, 1, 5)?;
                takes(args, &[[I64, I32, Bool].as_slice(), &vec![I32; *rank as usize]].concat()).map(|()| vec![])
            }
            Op::Fault => takes(args, &[Bool, I32, I32]).map(|()| vec![]),
            Op::If => takes(args, &[Bool]).map(|()| vec![]),
            Op::Loop => Ok(args.to_vec()),
        }
    }

    /// The limits of what ops without operands say.
    #[allow(clippy::wildcard_enum_match_arm, reason = "the others have no limits")]
    fn barriers(&self) -> Checked {
        let warps = |threads: u32| {
            within("the number of threads that meet", threads, 32, 1024)?;
            threads.is_multiple_of(32).then_some(()).ok_or_else(|| format!("{threads} threads are not whole warps"))
        };
        match self {
            Op::Barrier { id, threads } => {
                within("the barrier", *id, 0, 15).and_then(|()| threads.map_or(Ok(()), warps))
            }
            Op::BarrierArrive { id, threads } => within("the barrier", *id, 0, 15).and_then(|()| warps(*threads)),
            Op::SetRegisters(_, n) => {
                within("the number of registers", *n, 24, 256)?;
                n.is_multiple_of(8).then_some(()).ok_or_else(|| format!("{n} registers are not a multiple of 8"))
            }
            _ => Ok(()),
        }
    }
}

impl Wgmma {
    /// The operands before the accumulators.
    pub fn heads(&self) -> Vec<Ty> {
        match self.left {
            WgmmaLeft::Shared => vec![I64, I64],
            WgmmaLeft::Registers => vec![I32, I32, I32, I32, I64],
        }
    }

    /// How many accumulators each thread has.
    pub fn accumulators(&self) -> usize {
        self.n as usize / 2
    }
}

fn wgmma_results(wgmma: &Wgmma, args: &[Ty]) -> Result<Vec<Ty>, String> {
    within("the number of columns", wgmma.n, 8, 256)?;
    if !wgmma.n.is_multiple_of(8) {
        return Err(format!("{} columns are not a multiple of 8", wgmma.n));
    }
    let turned = wgmma.transpose_left || wgmma.transpose_right;
    if turned && !matches!(wgmma.dtype, Some(Small::F16 | Small::BF16)) {
        return Err("only f16 and bf16 operands may be transposed".into());
    }
    if wgmma.transpose_left && wgmma.left == WgmmaLeft::Registers {
        return Err("a left operand in registers cannot be transposed".into());
    }
    let sums = vec![F32; wgmma.accumulators()];
    takes(args, &[wgmma.heads(), sums.clone()].concat()).map(|()| sums)
}

/// The type of the sums.
fn mma_sum(mma: Mma) -> Ty {
    match mma {
        Mma::I8(..) => I32,
        Mma::F16 | Mma::BF16 | Mma::TF32 | Mma::F8(..) => F32,
    }
}

fn mma_operands(mma: Mma) -> Checked {
    let eight = |s: Small| matches!(s, Small::F8E4M3 | Small::F8E5M2);
    match mma {
        Mma::F8(a, b) if !eight(a) || !eight(b) => Err("both operands are 8-bit floats".into()),
        Mma::F8(..) | Mma::F16 | Mma::BF16 | Mma::TF32 | Mma::I8(..) => Ok(()),
    }
}

fn unary(op: Unary, args: &[Ty]) -> Result<Vec<Ty>, String> {
    let ty = match op {
        Unary::Neg | Unary::Abs | Unary::Sqrt | Unary::Floor | Unary::Ceil | Unary::Round => {
            same(args, 1, float, "a float")
        }
        Unary::Not => same(args, 1, |ty| !float(ty), "an integer or predicate"),
        Unary::Ex2 | Unary::Lg2 | Unary::Rcp | Unary::Rsqrt | Unary::TanhApprox => {
            same(args, 1, |ty| ty == F32, "an f32")
        }
        Unary::PopCount | Unary::LeadingZeros => same(args, 1, |ty| ty == I32, "an i32"),
    };
    ty.map(|ty| vec![ty])
}

fn binary(op: Binary, args: &[Ty]) -> Result<Vec<Ty>, String> {
    let number = |ty| ty != Bool;
    let ty = match op {
        Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::Min | Binary::Max => {
            same(args, 2, number, "two numbers of one type")
        }
        Binary::And | Binary::Or | Binary::Xor => {
            same(args, 2, |ty| !float(ty), "two integers or predicates of one type")
        }
        Binary::MulHigh
        | Binary::UDiv
        | Binary::Rem
        | Binary::URem
        | Binary::UMin
        | Binary::UMax
        | Binary::Shl
        | Binary::Shr
        | Binary::UShr => same(args, 2, integer, "two integers of one type"),
    };
    ty.map(|ty| vec![ty])
}

fn compare(op: Compare, args: &[Ty]) -> Result<Vec<Ty>, String> {
    let ty = match op {
        Compare::Eq | Compare::Ne => same(args, 2, |_| true, "two values of one type"),
        Compare::Lt | Compare::Le | Compare::Gt | Compare::Ge => {
            same(args, 2, |ty| ty != Bool, "two numbers of one type")
        }
        Compare::ULt | Compare::ULe | Compare::UGt | Compare::UGe => same(args, 2, integer, "two integers of one type"),
    };
    ty.map(|_| vec![Bool])
}

fn select(args: &[Ty]) -> Result<Vec<Ty>, String> {
    match args {
        [Bool, a, b] if a == b => Ok(vec![*a]),
        _ => Err(wrong(args, "a predicate and two values of one type")),
    }
}

fn convert(how: Convert, args: &[Ty]) -> Result<Vec<Ty>, String> {
    let [from] = *args else { return Err(wrong(args, "one operand")) };
    let fits = match how {
        Convert::ZeroExtend(to) => matches!((from, to), (I32, I64) | (Bool, I32 | I64)),
        Convert::SignExtend | Convert::Widen(_) => from == I32,
        Convert::SignFrom(bits) => from == I32 && matches!(bits, 8 | 16),
        Convert::Truncate => from == I64,
        Convert::Tf32 => from == F32,
        Convert::FromSigned(to) | Convert::FromUnsigned(to) => integer(from) && float(to),
        Convert::ToSigned(to) | Convert::ToUnsigned(to) => float(from) && integer(to),
        Convert::Float(to) => matches!((from, to), (F32, F64) | (F64, F32)),
        Convert::Bits(to) => matches!((from, to), (I32, F32) | (F32, I32) | (I64, F64) | (F64, I64)),
    };
    fits.then(|| vec![how.result(from)]).ok_or_else(|| format!("does not take {from}"))
}

fn atomic_add(args: &[Ty]) -> Result<Vec<Ty>, String> {
    match args {
        [I64, I32 | I64 | F32 | F64, Bool] => Ok(vec![]),
        _ => Err(wrong(args, "an address (i64), a number and a predicate")),
    }
}

/// The type of an address.
fn address(space: Space) -> Ty {
    match space {
        Space::Global | Space::Constant => I64,
        Space::Shared => I32,
    }
}

/// The type of a unit in a register.
fn unit(bits: u8) -> Ty {
    if bits == 64 { I64 } else { I32 }
}

fn writable(space: Space) -> Checked {
    match space {
        Space::Global | Space::Shared => Ok(()),
        Space::Constant => Err("constant memory is not written".into()),
    }
}

fn access(bits: u8, count: u8) -> Checked {
    power(count)?;
    match (bits, count) {
        (8 | 16, 1) | (32, _) | (64, 1 | 2) => Ok(()),
        _ => Err(format!("{count} units of {bits} bits are not one access")),
    }
}

fn power(count: u8) -> Checked {
    matches!(count, 1 | 2 | 4).then_some(()).ok_or_else(|| format!("the count is 1, 2 or 4, not {count}"))
}

fn within(what: &str, n: u32, least: u32, most: u32) -> Checked {
    (least..=most).contains(&n).then_some(()).ok_or_else(|| format!("{what} is {least} to {most}, not {n}"))
}

fn concat(head: &[Ty], units: &[Ty], guarded: bool) -> Vec<Ty> {
    let guard: &[Ty] = if guarded { &[Bool] } else { &[] };
    [head, units, guard].concat()
}

fn float(ty: Ty) -> bool {
    matches!(ty, F32 | F64)
}

fn integer(ty: Ty) -> bool {
    matches!(ty, I32 | I64)
}

/// The one type of `count` operands.
fn same(args: &[Ty], count: usize, fits: impl Fn(Ty) -> bool, what: &str) -> Result<Ty, String> {
    match args.first() {
        Some(ty) if args.len() == count && args.iter().all(|t| t == ty) && fits(*ty) => Ok(*ty),
        _ => Err(wrong(args, what)),
    }
}

fn takes(args: &[Ty], wanted: &[Ty]) -> Checked {
    if args == wanted { Ok(()) } else { Err(wrong(args, &list(wanted))) }
}

fn wrong(args: &[Ty], wanted: &str) -> String {
    format!("takes {wanted}, not {}", list(args))
}

fn list(types: &[Ty]) -> String {
    let names: Vec<String> = types.iter().map(Ty::to_string).collect();
    format!("({})", names.join(", "))
}
