//! Linear layouts: where the elements of a tile lie. What instructions move them there is not decided here.
//!
//! # The one idea
//!
//! Sizes on a GPU are powers of two, so every index is a string of bits, and each way in which tiles are spread over threads
//! or laid in memory is a *linear map over F2*: the coordinates that an index stands for are the XOR of what its set bits
//! stand for. [`Layout`] is that map. Its **bases** list for each input bit the coordinates that it stands for:
//!
//! ```text
//! m:16 n:8 <- register: [n:1, m:8] lane: [n:2, n:4, m:1, m:2, m:4]
//! ```
//!
//! says that lane 5 = 4 + 1 holds in register 2 the element at m = 8 + 1, n = 2. A basis may be zero: that bit then makes
//! *copies*. It may be several coordinates at once: that is a swizzle.
//!
//! A [`Distributed`] layout maps [`Place`]s, which is registers of threads, to dims; a [`Memory`] layout maps an [`Offset`].
//! The direction, from hardware to elements, is the one in which copies are a function too. The rest is composition: the
//! address of what a thread holds is `distributed.then(&memory.inverse()?)`, and conversions ([`convert`]), reductions
//! ([`reduce`]), vector widths and bank conflicts ([`access`]) are computed from such products by linear algebra.
//!
//! The notion, and the theorems used, are from "Linear Layouts: Robust Code Generation of Efficient Tensor Computation Using
//! F2" (arXiv 2505.23819).

pub mod access;
mod algebra;
mod axes;
pub mod bits;
pub mod convert;
mod error;
mod exchange;
pub mod instructions;
pub mod matrix_access;
pub mod reduce;
pub mod shared;
mod shuffle;
mod spread;
mod text;

use std::fmt;

pub use axes::{Axes, Name};
use bits::Matrix;
pub use error::LayoutError;
use pantile_ir::DimId;
pub use text::Input;

/// Lanes of a warp.
pub const LANES: u64 = 32;

/// What holds elements of a distributed tile. Indices count *elements*: two 16-bit elements with register indices 2w and
/// 2w + 1 share the 32-bit word w.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// An element of a thread's own.
    Register,
    /// A thread of a warp.
    Lane,
    /// A warp; of its warpgroup, where there are warpgroups.
    Warp,
    /// Four warps that issue wgmma together.
    Warpgroup,
}

/// The one input of a memory layout: an offset in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Offset;

impl Place {
    /// All of them, innermost first.
    pub const ALL: [Place; 4] = [Place::Register, Place::Lane, Place::Warp, Place::Warpgroup];
    /// Those that say which thread.
    pub const THREAD: [Place; 3] = [Place::Lane, Place::Warp, Place::Warpgroup];

    /// As in text.
    pub fn name(self) -> &'static str {
        match self {
            Place::Register => "register",
            Place::Lane => "lane",
            Place::Warp => "warp",
            Place::Warpgroup => "warpgroup",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("offset")
    }
}

/// An F2-linear map from the bits of named inputs to the bits of named outputs.
///
/// Inputs of size 1 have no bits and are left out; outputs of size 1 stay, for they are part of a tile's type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Layout<I, O> {
    ins: Axes<I>,
    outs: Axes<O>,
    matrix: Matrix,
}

/// What one input bit stands for: a sum of coordinates, 0 where there are none.
pub type Basis<O> = Vec<(O, u64)>;

/// A tile in registers of threads.
pub type Distributed<D = DimId> = Layout<Place, D>;

/// A tile in memory.
pub type Memory<D = DimId> = Layout<Offset, D>;

/// Names with sizes, for messages.
fn sizes<N: Name>(axes: &Axes<N>) -> String {
    axes.iter().map(|(n, bits)| format!("{n:?}:{}", 1u64 << bits)).collect::<Vec<_>>().join(" ")
}

impl<I: Name, O: Name> Layout<I, O> {
    /// A map by its bases, one coordinate each: `ins` lists for each input, lowest bit first, what the bit stands for. A
    /// coordinate 0 makes a bit of copies.
    ///
    /// # Errors
    /// See [`Axes::new`]; a basis outside of `outs`.
    pub fn new(outs: &[(O, u64)], ins: &[(I, &[(O, u64)])]) -> Result<Layout<I, O>, LayoutError> {
        let one = |(i, bases): &(I, &[(O, u64)])| (*i, bases.iter().map(|b| vec![*b]).collect());
        Layout::of_bases(outs, ins.iter().map(one).collect())
    }

    /// A map by its bases, of any coordinates each.
    ///
    /// # Errors
    /// See [`Axes::new`]; a basis outside of `outs`.
    pub fn of_bases(outs: &[(O, u64)], ins: Vec<(I, Vec<Basis<O>>)>) -> Result<Layout<I, O>, LayoutError> {
        let outs = Axes::new(outs.iter().copied())?;
        let packed = |(i, bases): (I, Vec<Basis<O>>)| {
            Ok((i, bases.iter().map(|b| outs.pack(b)).collect::<Result<_, LayoutError>>()?))
        };
        let columns = ins.into_iter().map(packed).collect::<Result<_, LayoutError>>()?;
        Layout::of_columns(outs, columns)
    }

    /// A map by packed bases.
    fn of_columns(outs: Axes<O>, mut columns: Vec<(I, Vec<u64>)>) -> Result<Layout<I, O>, LayoutError> {
        columns.sort_unstable_by_key(|(i, _)| *i);
        let ins = Axes::of_bits(columns.iter().map(|(i, c)| (*i, c.len() as u32)).collect())?;
        let matrix = Matrix { columns: columns.into_iter().flat_map(|(_, c)| c).collect() };
        Ok(Layout { ins: ins.without_empty(), outs, matrix })
    }

    /// The map that takes each index of `input` to the same coordinate of `output`.
    ///
    /// # Errors
    /// A size that is no power of two.
    pub fn line(input: I, output: O, size: u64) -> Result<Layout<I, O>, LayoutError> {
        let bits = axes::log2(output, size)?;
        let outs = Axes::of_bits(vec![(output, bits)])?;
        Layout::of_columns(outs, vec![(input, (0..bits).map(|b| 1 << b).collect())])
    }

    /// The map over no outputs, in which every index of `input` is the same: a factor that makes copies.
    ///
    /// # Errors
    /// A size that is no power of two.
    pub fn copies(input: I, size: u64) -> Result<Layout<I, O>, LayoutError> {
        let bits = axes::log2(input, size)?;
        Layout::of_columns(Axes::of_bits(Vec::new())?, vec![(input, vec![0; bits as usize])])
    }

    /// The inputs.
    pub fn ins(&self) -> &Axes<I> {
        &self.ins
    }

    /// The outputs.
    pub fn outs(&self) -> &Axes<O> {
        &self.outs
    }

    /// The map between packed indices.
    pub fn matrix(&self) -> &Matrix {
        &self.matrix
    }

    /// The number of indices of an input: 1 where there is none such.
    pub fn size(&self, input: I) -> u64 {
        1 << self.ins.bits(input)
    }

    /// The packed bases of an input, lowest bit first.
    pub fn columns(&self, input: I) -> &[u64] {
        let start = self.ins.shift(input) as usize;
        &self.matrix.columns[start..start + self.ins.bits(input) as usize]
    }

    /// The coordinates that an index stands for.
    ///
    /// # Errors
    /// An input that is not there, an index beyond its size.
    pub fn apply(&self, at: &[(I, u64)]) -> Result<Vec<(O, u64)>, LayoutError> {
        Ok(self.outs.unpack(self.matrix.apply(self.ins.pack(at)?)))
    }

    /// Whether every coordinate is reached.
    pub fn is_surjective(&self) -> bool {
        self.matrix.rank() == self.outs.total()
    }

    /// Whether no coordinate is reached twice.
    pub fn is_injective(&self) -> bool {
        self.matrix.rank() == self.ins.total()
    }

    /// Fails unless every coordinate is reached.
    pub(crate) fn require_surjective(&self) -> Result<(), LayoutError> {
        let (reached, all) = (self.matrix.rank(), self.outs.total());
        if reached == all { Ok(()) } else { Err(LayoutError::NotSurjective { reached, all }) }
    }

    /// The bits of `input` that make copies: inputs with these bits zero reach everything, once. Of several bits that stand
    /// for the same, the one of the lowest input stays.
    pub fn free(&self, input: I) -> u64 {
        let mask = (1 << self.ins.bits(input)) - 1;
        !self.matrix.pivots() >> self.ins.shift(input) & mask
    }
}
