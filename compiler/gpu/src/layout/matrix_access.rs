//! `ldmatrix` and `stmatrix`: whether they can move a register layout to or from a memory layout, and with which addresses.
//! Whether they are better than vectors is for whoever compares wavefronts.
//!
//! A matrix has 8 rows of 16 bytes. As it stands, four lanes share a row, a 32-bit word each, and 8 rows go down the lanes.
//! Transposed, of 16-bit elements, the roles change: a thread's two elements and four lanes go down the rows. Lane `i` gives
//! the address of row `i % 8` of matrix `i / 8`.

use super::access::{Part, conflicts};
use super::bits::{Span, combine};
use super::{Axes, Distributed, Layout, LayoutError, Memory, Name, Offset, Place};

/// A load or store by whole matrices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatrixAccess {
    /// With `.trans`.
    pub transposed: bool,
    /// Matrices of an instruction: 1, 2 or 4.
    pub count: u32,
    /// Bytes of an element.
    pub bytes: u32,
    /// The offset in elements whose address a thread gives; XOR that of the part.
    pub address: Layout<Place, Offset>,
    /// The instructions: registers by matrix, then by element in the word.
    pub parts: Vec<Part>,
}

impl MatrixAccess {
    /// Plans it; `None` if the layouts do not have this form.
    ///
    /// # Errors
    /// Layouts of different tiles; memory in which one element lies twice, or some do not lie.
    pub fn plan<D: Name>(
        held: &Distributed<D>,
        memory: &Memory<D>,
        bytes: u32,
        transposed: bool,
    ) -> Result<Option<MatrixAccess>, LayoutError> {
        let offsets = held.then(&memory.inverse()?)?;
        Ok(Matrices::of(&offsets, bytes, transposed).and_then(|m| m.access(&offsets)))
    }

    /// Wavefronts of one warp's whole access: each matrix as often as its worst bank has words.
    pub fn wavefronts(&self) -> u32 {
        let row = (0..4 - self.bytes.ilog2()).map(|b| 1 << b);
        let rows = self.address.columns(Place::Lane).iter().take(3).copied();
        self.count * conflicts(rows.chain(row), self.bytes) * self.parts.len() as u32
    }
}

/// What the directions of registers and lanes are to matrices.
struct Matrices {
    bytes: u32,
    transposed: bool,
    /// Registers that are the elements of a word.
    word: Vec<u64>,
    /// Offsets of rows 1, 2, 4 of a matrix.
    rows: Vec<u64>,
    /// Offsets, and registers, of further matrices.
    more: Vec<(u64, u64)>,
}

impl Matrices {
    fn of(offsets: &Layout<Place, Offset>, bytes: u32, transposed: bool) -> Option<Matrices> {
        if !matches!(bytes, 1 | 2 | 4) || transposed && bytes != 2 || offsets.ins().bits(Place::Lane) != 5 {
            return None;
        }
        let (registers, lanes) = (offsets.columns(Place::Register), offsets.columns(Place::Lane));
        let in_word = 2 - bytes.ilog2();
        let span = Span::of(registers);
        let (word, across, down) = if transposed {
            (vec![1], &lanes[2..], &lanes[..2])
        } else {
            let word = (0..in_word).map(|b| span.express(1 << b)).collect::<Option<Vec<_>>>()?;
            (word, &lanes[..2], &lanes[2..])
        };
        let first = if transposed { 0 } else { in_word };
        let row = first + across.len() as u32;
        let contiguous = across.iter().zip(first..).all(|(c, b)| *c == 1 << b);
        let below: Vec<u64> = if transposed { vec![*registers.first()?] } else { Vec::new() };
        let rows: Vec<u64> = below.iter().chain(down).copied().collect();
        let more = further(registers, &word, row)?;
        let others = [Place::Warp, Place::Warpgroup].into_iter().flat_map(|p| offsets.columns(p));
        let aligned = rows.iter().chain(others).all(|c| c & ((1 << row) - 1) == 0);
        (contiguous && aligned).then_some(Matrices { bytes, transposed, word, rows, more })
    }

    fn access(&self, offsets: &Layout<Place, Offset>) -> Option<MatrixAccess> {
        let within = self.more.len().min(2);
        let (inner, outer) = self.more.split_at(within);
        let lanes = self.rows.iter().copied().chain(inner.iter().map(|m| m.0)).chain([0, 0]).take(5).collect();
        let warps = [Place::Warp, Place::Warpgroup].map(|p| (p, offsets.columns(p).to_vec()));
        let outs = Axes::new([(Offset, 1 << offsets.outs().total())]).ok()?;
        let address = Layout::of_columns(outs, [(Place::Lane, lanes)].into_iter().chain(warps).collect()).ok()?;
        let in_part: Vec<u64> = self.word.iter().copied().chain(inner.iter().map(|m| m.1)).collect();
        let (at, registers): (Vec<u64>, Vec<u64>) = outer.iter().copied().unzip();
        let part = |k: u64| Part {
            offset: combine(&at, k),
            registers: (0..1 << in_part.len()).map(|r| combine(&in_part, r) ^ combine(&registers, k)).collect(),
        };
        let parts = (0..1 << outer.len()).map(part).collect();
        Some(MatrixAccess { transposed: self.transposed, count: 1 << within, bytes: self.bytes, address, parts })
    }
}

/// The register directions beside those of a word, each on whole rows of `1 << row` elements: offsets and registers. `None` if
/// one is not, or is a copy.
fn further(registers: &[u64], word: &[u64], row: u32) -> Option<Vec<(u64, u64)>> {
    let images: Vec<u64> = word.iter().map(|w| combine(registers, *w)).collect();
    let mut span = Span::default();
    for (image, register) in images.iter().zip(word) {
        span.insert(*image, *register);
    }
    let mut more = Vec::new();
    let mut seen = Span::of(word);
    for (j, image) in registers.iter().enumerate() {
        let (rest, by) = span.reduce(*image);
        let register = 1 << j ^ by;
        if !seen.insert(register, 0) {
            continue;
        }
        let aligned = rest != 0 && rest & ((1 << row) - 1) == 0;
        more.push(aligned.then_some((rest, register))?);
    }
    let distinct = Span::of(&more.iter().map(|m| m.0).collect::<Vec<_>>()).dimension() as usize == more.len();
    distinct.then_some(more)
}
