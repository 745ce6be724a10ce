//! Layouts from layouts: composition, inverses, products, and changes of axes. Which layout is worth having is not said
//! here.

use super::bits::{Matrix, Span};
use super::{Axes, Distributed, Layout, LayoutError, Name, Place, sizes};

impl<I: Name, O: Name> Layout<I, O> {
    /// `next` after this: the outputs of one are the inputs of the other.
    ///
    /// # Errors
    /// Axes that differ in name or size.
    pub fn then<P: Name>(&self, next: &Layout<O, P>) -> Result<Layout<I, P>, LayoutError> {
        if self.outs.without_empty() != next.ins {
            return Err(LayoutError::Mismatch { left: sizes(&self.outs), right: sizes(&next.ins) });
        }
        Ok(Layout { ins: self.ins.clone(), outs: next.outs.clone(), matrix: next.matrix.after(&self.matrix) })
    }

    /// A map back, to one of the indices that reach a coordinate: the one whose [free](Layout::free) bits are zero.
    ///
    /// # Errors
    /// A map that does not reach everything.
    pub fn right_inverse(&self) -> Result<Layout<O, I>, LayoutError> {
        self.require_surjective()?;
        let matrix = self.matrix.back(self.outs.total());
        Ok(Layout { ins: self.outs.without_empty(), outs: self.ins.clone(), matrix })
    }

    /// The inverse.
    ///
    /// # Errors
    /// A map that does not reach everything, or reaches something twice.
    pub fn inverse(&self) -> Result<Layout<O, I>, LayoutError> {
        if self.is_injective() {
            return self.right_inverse();
        }
        Err(LayoutError::NotInjective { copies: self.ins.total() - self.matrix.rank() })
    }

    /// A layout of this in every place of `outer`: this has the low bits of each axis, `outer` the high ones. So the sizes
    /// multiply, and an axis that one of them lacks is the other's.
    ///
    /// # Errors
    /// More than 31 bits.
    pub fn product(&self, outer: &Layout<I, O>) -> Result<Layout<I, O>, LayoutError> {
        let (ins, outs) = (join(&self.ins, &outer.ins)?, join(&self.outs, &outer.outs)?);
        let low = |c: &u64| self.outs.moved(*c, &outs, |_| 0);
        let high = |c: &u64| outer.outs.moved(*c, &outs, |o| self.outs.bits(o));
        let both = |i| self.columns(i).iter().map(low).chain(outer.columns(i).iter().map(high)).collect();
        Layout::of_columns(outs.clone(), ins.names().map(|i| (i, both(i))).collect())
    }

    /// The layout whose product with `inner` is this, if there is one.
    pub fn quotient(&self, inner: &Layout<I, O>) -> Option<Layout<I, O>> {
        let outs = self.outs.iter().map(|(o, bits)| Some((o, bits.checked_sub(inner.outs.bits(o))?)));
        let outs = Axes::of_bits(outs.collect::<Option<_>>()?).ok()?;
        let cut = |i: I| {
            let kept = self.columns(i).get(inner.ins.bits(i) as usize..)?;
            let down = |c: &u64| {
                self.outs.unpack(*c).iter().fold(0, |sum, (o, x)| sum ^ (x >> inner.outs.bits(*o)) << outs.shift(*o))
            };
            Some((i, kept.iter().map(down).collect()))
        };
        let columns = self.ins.names().map(cut).collect::<Option<_>>()?;
        let outer = Layout::of_columns(outs.clone(), columns).ok()?;
        (inner.product(&outer).as_ref() == Ok(self)).then_some(outer)
    }

    /// Without an output: what differed along it alone are copies.
    #[must_use]
    pub fn drop(&self, output: O) -> Layout<I, O> {
        self.cut(|o| (o != output).then_some(u32::MAX))
    }

    /// With blocks of `1 << power` neighbours along an output for single coordinates: what differed within blocks are copies.
    #[must_use]
    pub fn blocks(&self, output: O, power: u32) -> Layout<I, O> {
        let power = power.min(self.outs.bits(output));
        let outs = self.outs.cut(|o| Some(self.outs.bits(o) - if o == output { power } else { 0 }));
        let coarse = |c: &u64| {
            let at = self.outs.unpack(*c).into_iter();
            at.fold(0, |sum, (o, x)| sum ^ (if o == output { x >> power } else { x }) << outs.shift(o))
        };
        let matrix = Matrix { columns: self.matrix.columns.iter().map(coarse).collect() };
        Layout { ins: self.ins.clone(), outs, matrix }
    }

    /// With an output more, along which new bits of `input` lie: each index of those holds the same as without them.
    ///
    /// # Errors
    /// A size that is no power of two; an output that is there.
    pub fn broadcast(&self, input: I, output: O, size: u64) -> Result<Layout<I, O>, LayoutError> {
        if self.outs.has(output) {
            return Err(LayoutError::Twice { axis: format!("{output:?}") });
        }
        self.product(&Layout::line(input, output, size)?)
    }

    /// With other names for the outputs: a transposition, where names are swapped.
    ///
    /// # Errors
    /// Two outputs of one name.
    pub fn rename<P: Name>(&self, name: impl Fn(O) -> P) -> Result<Layout<I, P>, LayoutError> {
        let outs = Axes::of_bits(self.outs.iter().map(|(o, bits)| (name(o), bits)).collect())?;
        let renamed = |c: &u64| self.outs.unpack(*c).into_iter().fold(0, |sum, (o, x)| sum ^ x << outs.shift(name(o)));
        let matrix = Matrix { columns: self.matrix.columns.iter().map(renamed).collect() };
        Ok(Layout { ins: self.ins.clone(), outs, matrix })
    }

    /// Of the inputs only these: the others are at 0.
    #[must_use]
    pub fn only(&self, inputs: &[I]) -> Layout<I, O> {
        let ins = self.ins.cut(|i| inputs.contains(&i).then_some(u32::MAX));
        let columns = ins.names().flat_map(|i| self.columns(i).iter().copied()).collect();
        Layout { ins, outs: self.outs.clone(), matrix: Matrix { columns } }
    }

    /// Without the free bits of `input`, so that no two of its indices are copies.
    #[must_use]
    pub fn without_copies(&self, input: I) -> Layout<I, O> {
        let free = self.free(input);
        let left = |i| if i == input { self.ins.bits(i) - free.count_ones() } else { self.ins.bits(i) };
        let used = |i: I, b: usize| i != input || free >> b & 1 == 0;
        let kept = |i: I| self.columns(i).iter().enumerate().filter(move |(b, _)| used(i, *b)).map(|(_, c)| *c);
        let matrix = Matrix { columns: self.ins.names().flat_map(kept).collect() };
        Layout { ins: self.ins.cut(|i| Some(left(i))).without_empty(), outs: self.outs.clone(), matrix }
    }

    /// With the outputs for which `bits` has an answer, of at most that many bits: coordinates wrap around.
    fn cut(&self, bits: impl Fn(O) -> Option<u32>) -> Layout<I, O> {
        let outs = self.outs.cut(bits);
        let wrapped = |c: &u64| {
            let at = self.outs.unpack(*c).into_iter();
            at.fold(0, |sum, (o, x)| sum ^ (x & ((1 << outs.bits(o)) - 1)) << outs.shift(o))
        };
        let matrix = Matrix { columns: self.matrix.columns.iter().map(wrapped).collect() };
        Layout { ins: self.ins.clone(), outs, matrix }
    }
}

/// Axes of a product.
fn join<N: Name>(left: &Axes<N>, right: &Axes<N>) -> Result<Axes<N>, LayoutError> {
    let more = right.names().filter(|n| !left.has(*n));
    Axes::of_bits(left.names().chain(more).map(|n| (n, left.bits(n) + right.bits(n))).collect())
}

impl<D: Name> Distributed<D> {
    /// This layout over a tile of the given shape: repeated in registers, the first listed dim innermost, where the tile is
    /// larger; in copies, where it is smaller.
    ///
    /// # Errors
    /// A size that is no power of two; a dim that is not listed.
    pub fn cover(&self, shape: &[(D, u64)]) -> Result<Distributed<D>, LayoutError> {
        let tile = Axes::new(shape.iter().copied())?;
        if let Some(lost) = self.outs.names().find(|d| !tile.has(*d)) {
            return Err(LayoutError::Unknown { axis: format!("{lost:?}") });
        }
        shape.iter().try_fold(self.cut(|d| Some(tile.bits(d))), |layout, (d, size)| {
            let more = size >> layout.outs.bits(*d);
            layout.product(&Layout::line(Place::Register, *d, more)?)
        })
    }

    /// Whether each thread holds the same elements in both, in registers of any order.
    pub fn holds_same(&self, other: &Distributed<D>) -> bool {
        let registers = |l: &Distributed<D>| Span::of(l.columns(Place::Register));
        let (mine, theirs) = (registers(self), registers(other));
        let spans =
            mine.dimension() == theirs.dimension() && other.columns(Place::Register).iter().all(|c| mine.contains(*c));
        self.outs == other.outs && spans && self.same_threads(other) && {
            let pairs = |p| self.columns(p).iter().zip(other.columns(p));
            Place::THREAD.into_iter().flat_map(pairs).all(|(a, b)| mine.contains(a ^ b))
        }
    }

    /// Whether both are over equally many lanes, warps and warpgroups.
    pub(crate) fn same_threads(&self, other: &Distributed<D>) -> bool {
        Place::THREAD.into_iter().all(|p| self.ins.bits(p) == other.ins.bits(p))
    }
}
