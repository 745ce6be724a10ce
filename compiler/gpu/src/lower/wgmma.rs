//! Products of warpgroups (`wgmma`): operands read from shared memory by descriptors, the left one from registers where it
//! is there; sums that are waited for when they are first used. Products of single warps are `dot.rs`'s business.

use pantile_ir::{Inst, Value};

use super::form::Form;
use super::rings::View;
use super::staged::Staged;
use super::{Bit, Lower, Spread};
use crate::schedule::RingId;
use crate::simt::{Op, Ty, Value as Reg, Wgmma, WgmmaLeft};
use crate::{Limit, Swizzle};

/// What tiles in shared memory start at a multiple of.
const ALIGNMENT: u32 = 1024;

/// Sums that are under way.
pub(crate) struct Pending {
    /// What they will be.
    pub value: Value,
    spread: Spread,
    pub registers: Vec<Reg>,
    /// The tiles that the product reads from stages.
    reads: Vec<Value>,
    /// Stages that are free once it is done.
    frees: Vec<(RingId, Reg)>,
}

/// Where rows of an operand lie, as descriptors say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Matrix {
    /// Bytes from eight rows (of k, if transposed) to the next eight, and from one row of 16-byte units to the next.
    stride: u32,
    leading: u32,
    swizzle: Swizzle,
    /// Whether memory has the operand's own dim, and not k, contiguous.
    transposed: bool,
}

impl Matrix {
    /// How a tile is read whose `own` bits, as many as one instruction takes, and bits of k lie so; none if it cannot be.
    fn of(staged: &Staged, own: &[Bit], k: &[Bit]) -> Option<Self> {
        let at = |bits: &[Bit], n: usize| bits.get(n).copied().flatten().map_or(0, |b| staged.bit(b));
        let plain = |offset: u32| staged.swizzle.apply(offset);
        let transposed = at(own, 0) == staged.element;
        let (fast, slow) = if transposed { (own, &k[..4.min(k.len())]) } else { (&k[..4.min(k.len())], own) };
        let inside = (staged.row / staged.element).trailing_zeros() as usize;
        if staged.element != 2 || staged.row < 32 || at(fast, 0) != staged.element {
            return None;
        }
        let rows = |n: usize| at(slow, n) == plain(staged.row << n);
        let contiguous = (0..fast.len().min(inside)).all(|n| at(fast, n) == staged.element << n);
        if !contiguous || !(0..slow.len().min(3)).all(rows) || slow.len() < 3 {
            return None;
        }
        let stride = at(slow, 3).max(if slow.len() > 3 { 0 } else { 8 * staged.row });
        let leading = if fast.len() > inside { at(fast, inside) } else { 16 };
        let regular = (3..slow.len()).all(|n| at(slow, n) == stride << (n - 3))
            && (inside..fast.len()).all(|n| at(fast, n) == leading << (n - inside));
        let fits = stride.is_multiple_of(8 * staged.row) && (stride | leading) < 1 << 18;
        (regular && fits && stride > 0).then_some(Self { stride, leading, swizzle: staged.swizzle, transposed })
    }

    /// All of a descriptor but its address.
    fn bits(self) -> i64 {
        let swizzle: u64 = match self.swizzle {
            Swizzle::None => 0,
            Swizzle::Bytes128 => 1,
            Swizzle::Bytes64 => 2,
            Swizzle::Bytes32 => 3,
        };
        (swizzle << 62 | u64::from(self.stride >> 4) << 32 | u64::from(self.leading >> 4) << 16) as i64
    }
}

/// An operand in shared memory.
struct Memory {
    matrix: Matrix,
    staged: Staged,
    /// The descriptor of its first instruction, I64.
    descriptor: Reg,
}

/// The columns of one instruction, as a power of two over 8.
const MOST_COLUMNS: usize = 5;

impl<'f> Lower<'f> {
    /// Starts a product.
    pub(crate) fn warpgroup_product(&mut self, inst: &'f Inst, form: &Form) -> Result<(), Limit> {
        let result = inst.results[0];
        let acc = form.accumulator(self.warps);
        let columns = acc.registers.iter().filter(|b| form.n[3..].contains(b)).count();
        let one = columns.min(MOST_COLUMNS);
        let added = self.schedule.added.get(&result).copied();
        let sums = match added {
            Some(added) => Some(self.at(added.addend, &acc)?),
            None => None,
        };
        let zero = self.b.f32(0.0);
        let begins = sums.as_ref().is_some_and(|s| s.iter().any(|r| self.b.known(*r) != Some(0)));
        let mut sums = sums.unwrap_or_else(|| vec![zero; acc.len()]);
        let left = form.left(self.warps);
        let held = if self.is_at_hand(inst.args[0], &left) && !self.scope.views.contains_key(&inst.args[0]) {
            let registers = self.at(inst.args[0], &left)?;
            Some(self.packed(form, &registers))
        } else {
            None
        };
        let mut wanted = vec![(inst.args[1], &form.n[..3 + one], &form.n)];
        if held.is_none() {
            wanted.push((inst.args[0], &form.m[..6], &form.m));
        }
        let mut operands = self.in_memory(form, &wanted)?.into_iter();
        let Some(b) = operands.next() else { return Err(self.bug("a product without a right operand")) };
        let a = operands.next();
        self.b.emit(Op::WgmmaFence, &[], &[]);
        let steps = form.k.len() - 4;
        let chunk = 4usize << one;
        let rest: Vec<Bit> = acc.registers[2 + one..].to_vec();
        let rows_from = columns - one;
        for (number, sums) in sums.chunks_mut(chunk).enumerate() {
            let own = |from: &[Bit]| -> Vec<(Bit, bool)> {
                let bits = rest.iter().enumerate().filter(|(_, b)| from.contains(b));
                bits.map(|(n, b)| (*b, number >> n & 1 == 1)).collect()
            };
            let (columns, rows) = (own(&form.n), own(&form.m));
            for step in 0..1usize << steps {
                let along: Vec<(Bit, bool)> =
                    form.k[4..].iter().enumerate().map(|(n, b)| (*b, step >> n & 1 == 1)).collect();
                let right = self.descriptor(&b, &columns, &along);
                let heads = match (&held, &a) {
                    (Some(words), _) => {
                        let row = number >> rows_from;
                        words[4 * ((row << steps) + step)..][..4].to_vec()
                    }
                    (None, Some(a)) => vec![self.descriptor(a, &rows, &along)],
                    (None, None) => Vec::new(),
                };
                let wgmma = Wgmma {
                    n: 8 << one,
                    dtype: form.small(),
                    left: if held.is_some() { WgmmaLeft::Registers } else { WgmmaLeft::Shared },
                    transpose_left: held.is_none() && a.as_ref().is_some_and(|a| a.matrix.transposed),
                    transpose_right: b.matrix.transposed,
                    accumulate: begins || step > 0,
                };
                let args: Vec<Reg> = heads.iter().chain([&right]).chain(sums.iter()).copied().collect();
                let next = self.b.emit(Op::Wgmma(wgmma), &args, &vec![Ty::F32; chunk]);
                sums.copy_from_slice(&next);
            }
        }
        self.b.emit(Op::WgmmaCommit, &[], &[]);
        let value = added.map_or(result, |a| a.sum);
        let reads = inst.args.iter().copied().filter(|a| self.scope.views.contains_key(a)).collect();
        self.pending.push(Pending { value, spread: acc, registers: sums, reads, frees: Vec::new() });
        Ok(())
    }

    /// Operands in shared memory: those that views have there as descriptors can say it, the others put there.
    fn in_memory(&mut self, form: &Form, wanted: &[(Value, &[Bit], &Vec<Bit>)]) -> Result<Vec<Memory>, Limit> {
        let mut made: Vec<Option<Memory>> = Vec::new();
        let mut to_stage = Vec::new();
        let mut bytes = 0;
        for (n, (value, one, own)) in wanted.iter().enumerate() {
            let view = self.scope.views.get(value).copied();
            if let Some((view, memory)) = view.and_then(|v| Some((v, self.viewed(form, *value, one)?))) {
                let (ring, staged, matrix) = memory;
                let base = self.stage_base(ring, view.stage);
                let descriptor = self.first_descriptor(form, &staged, matrix, base);
                made.push(Some(Memory { matrix, staged, descriptor }));
                continue;
            }
            let held = self.held(*value)?;
            let along_k = held.spread.registers.first().is_none_or(|b| form.k.contains(b));
            let layout = |along_k: bool| {
                let (fast, slow) = if along_k { (&form.k, *own) } else { (*own, &form.k) };
                let staged = Staged::boxes(fast, slow, 2)?;
                Some((Matrix::of(&staged, one, &form.k)?, staged))
            };
            let Some((matrix, staged)) = layout(along_k).or_else(|| layout(!along_k)) else {
                return Err(self.bug("an operand that no descriptor describes"));
            };
            let size = staged.bytes.next_multiple_of(ALIGNMENT);
            to_stage.push((n, matrix, staged, bytes, held));
            bytes += size;
            made.push(None);
        }
        if bytes > 0 {
            let scratch = self.scratch(bytes + ALIGNMENT).next_multiple_of(ALIGNMENT);
            for (_, _, staged, offset, held) in &to_stage {
                self.stage_packed(staged, scratch + offset, held, |l, elements| l.packed(form, elements));
            }
            self.b.emit(Op::ProxyFence, &[], &[]);
            self.meet();
            for (n, matrix, staged, offset, _) in to_stage {
                let base = self.b.i32((scratch + offset) as i32);
                let descriptor = self.first_descriptor(form, &staged, matrix, base);
                made[n] = Some(Memory { matrix, staged, descriptor });
            }
        }
        Ok(made.into_iter().flatten().collect())
    }

    /// A view as a matrix, if it can be read as one.
    fn viewed(&self, form: &Form, value: Value, one: &[Bit]) -> Option<(RingId, Staged, Matrix)> {
        let fill = self.schedule.fills.get(&value).filter(|_| self.dtype(value) == form.family.packed)?;
        let matrix = Matrix::of(&fill.staged, one, &form.k)?;
        Some((fill.ring, fill.staged.clone(), matrix))
    }

    /// The descriptor of what a warpgroup reads first of a tile that starts at an address.
    fn first_descriptor(&mut self, form: &Form, staged: &Staged, matrix: Matrix, base: Reg) -> Reg {
        // The hardware shares rows out within a warpgroup; what tells warpgroups apart is added here.
        let acc = form.accumulator(self.warps);
        let warps = acc.warps.iter().enumerate().map(|(n, b)| if n < 2 { None } else { *b }).collect();
        let spread = Spread { registers: Vec::new(), lanes: Vec::new(), warps };
        let offset = self.thread_offset(staged, &spread);
        let start = self.b.add(base, offset);
        let start = self.b.shr_const(start, 4);
        let start = self.b.zero_extend(Ty::I64, start);
        let rest = self.b.i64(matrix.bits());
        self.b.binary(crate::simt::Binary::Or, start, rest)
    }

    fn descriptor(&mut self, memory: &Memory, own: &[(Bit, bool)], along: &[(Bit, bool)]) -> Reg {
        let offset = |(bit, set): &(Bit, bool)| bit.filter(|_| *set).map_or(0, |b| memory.staged.bit(b));
        let bytes = own.iter().chain(along).map(offset).fold(0, |a, b| a ^ b);
        self.b.add_const(memory.descriptor, i64::from(bytes >> 4))
    }

    /// Waits for a value, if it is under way, and for what was started before it.
    pub(crate) fn settle(&mut self, value: Value) {
        if let Some(at) = self.pending.iter().position(|p| p.value == value) {
            self.settle_up_to(at + 1);
        }
        if let Some((spread, registers)) = self.settled.remove(&value) {
            self.scope.tiles.remove(&value);
            self.hold(value, spread, registers);
        }
    }

    /// Waits for all that is under way.
    pub(crate) fn settle_all(&mut self) {
        self.settle_up_to(self.pending.len());
    }

    /// Waits for all that is under way, and keeps it here: what follows has scopes of its own, and each may read it.
    pub(crate) fn settle_here(&mut self) {
        self.settle_all();
        for (value, (spread, registers)) in std::mem::take(&mut self.settled) {
            self.scope.tiles.remove(&value);
            self.hold(value, spread, registers);
        }
    }

    fn settle_up_to(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        let left = (self.pending.len() - count) as u32;
        let done: Vec<Pending> = self.pending.drain(..count).collect();
        let all: Vec<Reg> = done.iter().flat_map(|p| p.registers.iter().copied()).collect();
        let got = self.b.emit(Op::WgmmaWait(left), &all, &vec![Ty::F32; all.len()]);
        let mut got = got.into_iter();
        for one in done {
            let registers = got.by_ref().take(one.registers.len()).collect();
            one.frees.iter().for_each(|(ring, stage)| self.free(*ring, *stage, None));
            self.settled.insert(one.value, (one.spread, registers));
        }
    }

    /// Gives back a stage behind its last use: at once, or when the products that read it are done.
    pub(crate) fn release_behind(&mut self, value: Value) {
        let Some(View { stage }) = self.scope.views.get(&value).copied() else { return };
        let Some(ring) = self.schedule.fills.get(&value).map(|f| f.ring) else { return };
        match self.pending.iter_mut().rev().find(|p| p.reads.contains(&value)) {
            Some(pending) => pending.frees.push((ring, stage)),
            None => self.release(value),
        }
    }
}
