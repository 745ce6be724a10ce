//! Operands of tensor-core products: from registers where they are held as the instruction wants them, else through shared
//! memory, swizzled, and read by `ldmatrix`. Which products there are is `dot.rs`'s business.

use pantile_ir::Value;

use super::form::Form;
use super::infer::Kind;
use super::staged::Staged;
use super::{Bit, Held, LANE_BITS, Lower, Spread};
use crate::Limit;
use crate::element;
use crate::simt::{Convert, Mma, Op, Ty, Value as Reg};

/// Which operand of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Rows × k.
    Left,
    /// k × columns.
    Right,
}

/// Where the fragments of an operand come from.
pub(crate) enum Fragments {
    /// Words of neighbours along k, in the order of the instruction's registers.
    Held(Vec<Reg>),
    /// Shared memory.
    Staged {
        /// Where each element lies.
        staged: Staged,
        /// From where on.
        base: u32,
        /// What each thread's address stands for: lane `l` names row `l % 8` of matrix `l / 8`; registers number the reads.
        rows: Spread,
        /// The bytes that the thread's number stands for.
        thread: Reg,
        /// Matrices of one read.
        matrices: u8,
        /// Whether memory has rows (of k) where the fragment wants columns.
        transpose: bool,
    },
}

/// What tiles in shared memory start at a multiple of.
const ALIGNMENT: u32 = 1024;

impl<'f> Lower<'f> {
    /// Both operands of a product, made ready: each with its spread and the bits of its own dims (rows or columns).
    pub(crate) fn fragments(
        &mut self,
        form: &Form,
        sides: [(Side, Value, &Spread, &Vec<Bit>); 2],
    ) -> Result<[Fragments; 2], Limit> {
        let k = &form.k[..];
        let element = form.family.packed.bytes() as u32;
        let mut made = Vec::new();
        let (mut base, mut to_stage) = (0, Vec::new());
        for (side, value, spread, own) in sides {
            if self.is_at_hand(value, spread) {
                let registers = self.at(value, spread)?;
                made.push(Fragments::Held(self.packed(form, &registers)));
                continue;
            }
            let held = self.held(value)?;
            // Reads transpose elements of two bytes, and no others.
            let along_k = element != 2 || held.spread.registers.first().is_some_and(|b| k.contains(b));
            let (fast, slow) = if along_k { (k, &own[..]) } else { (&own[..], k) };
            let staged = Staged::swizzled(fast, slow, element);
            let (rows, matrices) = reads(form, side, spread, own, along_k);
            to_stage.push((staged.clone(), base, held));
            let (thread, bytes) = (self.b.i32(0), staged.bytes.next_multiple_of(ALIGNMENT));
            // Fragments of the left operand have rows of k as memory has, those of the right one columns.
            made.push(Fragments::Staged { staged, base, rows, thread, matrices, transpose: !along_k });
            base += bytes;
        }
        let scratch = if base > 0 { self.scratch(base) } else { 0 };
        if base > 0 {
            for (staged, offset, held) in &to_stage {
                self.stage_packed(staged, scratch + offset, held, |l, elements| l.packed(form, elements));
            }
            self.meet();
        }
        for fragments in &mut made {
            if let Fragments::Staged { staged, rows, thread, base, .. } = fragments {
                *base += scratch;
                *thread = self.thread_offset(staged, rows);
            }
        }
        <[Fragments; 2]>::try_from(made).map_err(|_| self.bug("a product without two operands"))
    }

    /// Whether a tile is had in a spread without moving it between threads; it is waited for.
    pub(crate) fn is_at_hand(&mut self, value: Value, spread: &Spread) -> bool {
        self.settle(value);
        let held = self.scope.tiles.get(&value).is_some_and(|all| all.iter().any(|h| h.spread.holds_same(spread)));
        held || self.spreads[value.index()] == Kind::Free
    }

    /// Neighbours as words of an instruction's operand, the first lowest; less than a word where there are not enough.
    pub(crate) fn packed(&mut self, form: &Form, registers: &[Reg]) -> Vec<Reg> {
        match form.family.mma {
            Mma::TF32 => registers.iter().map(|r| self.b.convert(Convert::Tf32, *r)).collect(),
            Mma::F16 | Mma::BF16 | Mma::F8(..) | Mma::I8(..) => {
                element::to_units(&mut self.b, form.family.packed, registers)
            }
        }
    }

    /// The words of one instruction's operand.
    pub(crate) fn fragment(&mut self, fragments: &Fragments, number: usize, words: usize) -> Vec<Reg> {
        match fragments {
            Fragments::Held(all) => all[words * number..][..words].to_vec(),
            Fragments::Staged { .. } => self.read(fragments, number),
        }
    }

    /// The words of the right operand of one step along k, for each group of eight columns.
    pub(crate) fn columns(
        &mut self,
        fragments: &Fragments,
        columns: usize,
        steps: usize,
        step: usize,
    ) -> Vec<Vec<Reg>> {
        let per_read = match fragments {
            Fragments::Held(_) => 1,
            Fragments::Staged { matrices, .. } => usize::from(*matrices) / 2,
        };
        let read = |n: usize| self.fragment(fragments, n * steps + step, 2);
        let reads: Vec<Vec<Reg>> = (0..columns / per_read).map(read).collect();
        reads.iter().flat_map(|words| words.chunks(2).map(<[Reg]>::to_vec)).collect()
    }

    fn read(&mut self, fragments: &Fragments, number: usize) -> Vec<Reg> {
        let Fragments::Staged { staged, base, rows, thread, matrices, transpose } = fragments else {
            return Vec::new();
        };
        let at = self.place(*thread, staged.offset(rows, number), *base);
        let op = Op::LoadMatrix { count: *matrices, transpose: *transpose };
        self.b.emit(op, &[at], &vec![Ty::I32; usize::from(*matrices)])
    }

    /// A tile in the spread it is held in, or the usual one where it is free.
    pub(crate) fn held(&mut self, value: Value) -> Result<Held, Limit> {
        let spread = match self.spread_of(value) {
            Some(spread) => spread.clone(),
            None => super::infer::blocked(self.func, self.warps, self.dims(value).iter().rev().copied(), 0),
        };
        let registers = self.at(value, &spread)?;
        Ok(Held { spread, registers })
    }
}

/// What each lane's address stands for, and how many matrices a read brings. A matrix has 8 rows of 16 bytes: rows along the
/// operand's own dim where k is fast in memory, else along k.
fn reads(form: &Form, side: Side, spread: &Spread, own: &[Bit], along_k: bool) -> (Spread, u8) {
    let [.., halves, steps] = form.depth();
    let mut lanes = if along_k { own[..3].to_vec() } else { form.k[..3].to_vec() };
    let rest = |bits: &[Bit]| -> Vec<Bit> { bits.iter().filter(|b| spread.registers.contains(b)).copied().collect() };
    let (more, registers) = match side {
        Side::Left => ([&own[3..4], halves].concat(), [steps, &rest(&own[4..])].concat()),
        Side::Right => {
            let columns = rest(&own[3..]);
            let (next, others) = columns.split_at(columns.len().min(1));
            ([halves, next].concat(), [steps, others].concat())
        }
    };
    let matrices = 1 << more.len();
    lanes.extend(more);
    lanes.resize(LANE_BITS, None);
    (Spread { registers, lanes, warps: spread.warps.clone() }, matrices)
}
