//! Named groups of bits: the inputs or the outputs of a layout, packed in one number. What is mapped to what is not said
//! here.

use std::fmt::Debug;

use super::LayoutError;

/// What can name an axis.
pub trait Name: Copy + Ord + Debug {}

impl<T: Copy + Ord + Debug> Name for T {}

/// Axes ascending by name, the first in the lowest bits. The size of each is a power of two.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Axes<N> {
    list: Vec<(N, u32)>,
}

/// The most bits that an index may have: two of them, side by side, are columns of one 64-bit matrix.
const MOST: u32 = 31;

/// log2 of a size.
pub(super) fn log2<N: Name>(axis: N, size: u64) -> Result<u32, LayoutError> {
    let error = || LayoutError::NotPowerOfTwo { axis: format!("{axis:?}"), size };
    if size.is_power_of_two() { Ok(size.ilog2()) } else { Err(error()) }
}

impl<N: Name> Axes<N> {
    /// Axes of the given sizes, in any order.
    ///
    /// # Errors
    /// A size that is no power of two, a name listed twice, more than 31 bits in all.
    pub fn new(sizes: impl IntoIterator<Item = (N, u64)>) -> Result<Axes<N>, LayoutError> {
        let bits = sizes.into_iter().map(|(n, size)| Ok((n, log2(n, size)?)));
        Axes::of_bits(bits.collect::<Result<_, LayoutError>>()?)
    }

    pub(super) fn of_bits(mut list: Vec<(N, u32)>) -> Result<Axes<N>, LayoutError> {
        list.sort_unstable();
        if let Some(w) = list.windows(2).find(|w| w[0].0 == w[1].0) {
            return Err(LayoutError::Twice { axis: format!("{:?}", w[0].0) });
        }
        let bits = list.iter().fold(0u32, |sum, (_, bits)| sum.saturating_add(*bits));
        if bits > MOST { Err(LayoutError::TooLarge { bits }) } else { Ok(Axes { list }) }
    }

    /// Names and bits, ascending by name.
    pub fn iter(&self) -> impl Iterator<Item = (N, u32)> + '_ {
        self.list.iter().copied()
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = N> + '_ {
        self.iter().map(|(n, _)| n)
    }

    /// Whether there is such an axis.
    pub fn has(&self, name: N) -> bool {
        self.names().any(|n| n == name)
    }

    /// The bits of an axis; an axis that is not there has none.
    pub fn bits(&self, name: N) -> u32 {
        self.iter().find(|(n, _)| *n == name).map_or(0, |(_, bits)| bits)
    }

    /// The bits before those of `name`, or before where they would be.
    pub fn shift(&self, name: N) -> u32 {
        self.iter().take_while(|(n, _)| *n < name).map(|(_, bits)| bits).sum()
    }

    /// All bits.
    pub fn total(&self) -> u32 {
        self.list.iter().map(|(_, bits)| bits).sum()
    }

    /// Coordinates as one number; an axis that is not listed is at 0.
    ///
    /// # Errors
    /// An axis that is not there, a coordinate beyond its size.
    pub fn pack(&self, at: &[(N, u64)]) -> Result<u64, LayoutError> {
        at.iter().try_fold(0, |sum, (name, x)| {
            let (axis, size) = (format!("{name:?}"), 1 << self.bits(*name));
            if !self.has(*name) && *x != 0 {
                return Err(LayoutError::Unknown { axis });
            }
            if *x >= size {
                return Err(LayoutError::OutOfRange { axis, at: *x, size });
            }
            Ok(sum ^ x << self.shift(*name))
        })
    }

    /// The coordinate along one axis.
    pub fn part(&self, packed: u64, name: N) -> u64 {
        packed >> self.shift(name) & ((1 << self.bits(name)) - 1)
    }

    /// All coordinates, ascending by name.
    pub fn unpack(&self, packed: u64) -> Vec<(N, u64)> {
        self.names().map(|n| (n, self.part(packed, n))).collect()
    }

    /// Moves coordinates among these axes to their places among `into`, each `lift(name)` bits up; what `into` lacks goes.
    pub(super) fn moved(&self, packed: u64, into: &Axes<N>, lift: impl Fn(N) -> u32) -> u64 {
        self.names().filter(|n| into.has(*n)).fold(0, |sum, n| sum ^ self.part(packed, n) << (into.shift(n) + lift(n)))
    }

    /// Those axes for which `bits` has an answer, with that many bits, at most those they have.
    pub(super) fn cut(&self, bits: impl Fn(N) -> Option<u32>) -> Axes<N> {
        let kept = |(n, all): (N, u32)| Some((n, bits(n)?.min(all)));
        Axes { list: self.iter().filter_map(kept).collect() }
    }

    pub(super) fn without_empty(&self) -> Axes<N> {
        self.cut(|n| Some(self.bits(n)).filter(|bits| *bits > 0))
    }
}
