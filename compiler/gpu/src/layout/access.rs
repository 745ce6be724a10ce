//! How threads read or write what a layout says they hold: vectors, the registers in them, offsets, and shared-memory bank
//! conflicts. Alignment of a tile's base and its row pitch are the caller's: widths are computed within the tile.

use super::bits::{Span, combine};
use super::{Distributed, Layout, LayoutError, Memory, Name, Offset, Place};

/// log2 of the bytes that the banks of shared memory deliver together: 32 banks of 4 bytes.
pub(super) const BANKS: u32 = 7;
/// log2 of the bytes of a bank's word.
pub(super) const WORD: u32 = 2;
/// The widest access of a thread in bytes.
pub const WIDEST: u32 = 16;

/// log2 of an element's bytes.
pub(super) fn log2_bytes(bytes: u32) -> u32 {
    bytes.max(1).ilog2()
}

/// One instruction of an access, the same in all threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The offset in elements; a thread XORs its own.
    pub offset: u64,
    /// The registers, in the order of memory.
    pub registers: Vec<u64>,
}

/// A load or store of a distributed tile, each thread's share in vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Bytes of an element.
    pub bytes: u32,
    /// Elements of a vector.
    pub vector: u64,
    /// A thread's contribution to the offset, in elements. Its lowest `vector` bits are zero.
    pub thread: Layout<Place, Offset>,
    /// The instructions.
    pub parts: Vec<Part>,
    /// For each register the one of equal content that a part has: itself unless the layout holds copies in registers.
    pub held: Vec<u64>,
    /// Places of which those with a bit of the mask set hold what others hold: they may leave out a store.
    pub copies: Vec<(Place, u64)>,
}

impl Access {
    /// The access with the widest vectors, of at most `limit` bytes, of tile `held` to memory `memory`.
    ///
    /// # Errors
    /// Layouts of different tiles; memory in which one element lies twice, or some do not lie.
    pub fn plan<D: Name>(
        held: &Distributed<D>,
        memory: &Memory<D>,
        bytes: u32,
        limit: u32,
    ) -> Result<Access, LayoutError> {
        Ok(Access::of_offsets(&held.then(&memory.inverse()?)?, bytes, limit))
    }

    /// The access with the widest vectors of at most `limit` bytes, where `offsets` says where each register goes.
    pub fn of_offsets(offsets: &Layout<Place, Offset>, bytes: u32, limit: u32) -> Access {
        let registers = Span::of(offsets.columns(Place::Register));
        let thread = offsets.only(&Place::THREAD);
        let most = (limit.min(WIDEST) / bytes.max(1)).max(1).ilog2();
        let fits = |v: &u32| {
            let low = (1u64 << v) - 1;
            (0..*v).all(|b| registers.contains(1 << b)) && thread.matrix().columns.iter().all(|c| c & low == 0)
        };
        let width = (0..=most).rev().find(fits).unwrap_or(0);
        let (parts, held) = parts(offsets, &registers, width);
        let copies = Place::THREAD.into_iter().map(|p| (p, offsets.free(p))).filter(|(_, mask)| *mask != 0).collect();
        Access { bytes, vector: 1 << width, thread, parts, held, copies }
    }

    /// The access that finds in each register what this one finds at its offset XOR `apart`.
    #[must_use]
    pub fn apart(&self, apart: u64) -> Access {
        let inside = apart & (self.vector - 1);
        let part = |part: &Part| Part {
            offset: part.offset ^ apart ^ inside,
            registers: (0..self.vector).map(|n| part.registers[(n ^ inside) as usize]).collect(),
        };
        Access { parts: self.parts.iter().map(part).collect(), ..self.clone() }
    }

    /// Bytes of a vector.
    pub fn width(&self) -> u32 {
        self.bytes << self.vector.ilog2()
    }

    /// How many groups of lanes the hardware serves one after another: 16-byte vectors go by quarters of a warp, 8-byte
    /// vectors by halves.
    pub fn phases(&self) -> u32 {
        self.width().div_ceil(4).min(4)
    }

    /// Wavefronts of one instruction of one warp, to shared memory: the phases, each as often as its worst bank has words.
    pub fn wavefronts_each(&self) -> u32 {
        let lanes = 5 - self.phases().ilog2();
        let lanes = self.thread.columns(Place::Lane).iter().take(lanes as usize);
        let inside = (0..self.vector.ilog2()).map(|b| 1 << b);
        self.phases() * conflicts(lanes.copied().chain(inside), self.bytes)
    }

    /// Wavefronts of one warp's whole access.
    pub fn wavefronts(&self) -> u32 {
        self.wavefronts_each() * self.parts.len() as u32
    }
}

/// The words that the worst bank has to deliver for offsets that `generators` (in elements) span, all at once. Every bank
/// that is used has as many: words and banks are linear in the offset, so each bank's words are a coset.
pub(super) fn conflicts(generators: impl Iterator<Item = u64>, bytes: u32) -> u32 {
    let scale = log2_bytes(bytes);
    let inside = (WORD..scale).map(|b| 1 << (b - WORD));
    let words: Vec<u64> = generators.map(|g| g << scale >> WORD).chain(inside).collect();
    let banks: Vec<u64> = words.iter().map(|w| w & ((1 << (BANKS - WORD)) - 1)).collect();
    1 << (Span::of(&words).dimension() - Span::of(&banks).dimension())
}

/// Groups registers by vectors of `1 << width` elements; also, for each register, which one has its offset in a part.
fn parts(offsets: &Layout<Place, Offset>, registers: &Span, width: u32) -> (Vec<Part>, Vec<u64>) {
    let low = (1u64 << width) - 1;
    let inside: Vec<u64> = (0..width).map(|b| registers.express(1 << b).unwrap_or(0)).collect();
    let mut all = Span::default();
    for (b, register) in inside.iter().enumerate() {
        all.insert(1 << b, *register);
    }
    let mut outside = (Vec::new(), Vec::new());
    for (j, column) in offsets.columns(Place::Register).iter().enumerate() {
        let register = 1 << j ^ combine(&inside, column & low);
        if all.insert(column & !low, register) {
            outside.0.push(column & !low);
            outside.1.push(register);
        }
    }
    let part = |at: u64| Part {
        offset: combine(&outside.0, at),
        registers: (0..=low).map(|e| combine(&outside.1, at) ^ combine(&inside, e)).collect(),
    };
    let held = |r: u64| all.express(combine(offsets.columns(Place::Register), r)).unwrap_or(r);
    let count = 1u64 << outside.0.len();
    ((0..count).map(part).collect(), (0..offsets.size(Place::Register)).map(held).collect())
}

/// The widest vector, in bytes up to 16, in which each thread can read or write its share.
///
/// # Errors
/// Layouts of different tiles; memory in which one element lies twice, or some do not lie.
pub fn widest<D: Name>(held: &Distributed<D>, memory: &Memory<D>, bytes: u32) -> Result<u32, LayoutError> {
    Ok(Access::plan(held, memory, bytes, WIDEST)?.width())
}
