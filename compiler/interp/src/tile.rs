//! Tiles as arrays over named dims, and the loops that broadcast by name. What is computed in them is not decided here.

use pantile_ir::{DimId, Scalar};

use crate::Data;

/// A value: exactly the valid lanes of its dims, row-major in the order in which `dims` lists them. A scalar has none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tile {
    pub dims: Vec<DimId>,
    pub shape: Vec<usize>,
    pub data: Data,
}

impl Tile {
    pub fn scalar(x: Scalar) -> Tile {
        let data = match x {
            Scalar::Bool(b) => Data::Bool(vec![b]),
            Scalar::Int(i) => Data::Int(vec![i]),
            Scalar::Float(f) => Data::Float(vec![f]),
        };
        Tile { dims: Vec::new(), shape: Vec::new(), data }
    }

    /// Its only element, or the first.
    pub fn first(&self) -> Scalar {
        self.data.get(0)
    }

    fn space(&self) -> Space {
        Space { dims: self.dims.clone(), shape: self.shape.clone() }
    }

    /// The same elements with the dims in another order.
    pub fn arranged(&self, dims: &[DimId]) -> Tile {
        let space = self.space().pick(dims);
        let data = self.spread(&space);
        Tile { dims: space.dims, shape: space.shape, data }
    }

    /// Repeated along the dims of `space` that it lacks, in the order of `space`.
    pub fn spread(&self, space: &Space) -> Data {
        if self.dims == space.dims {
            return self.data.clone();
        }
        let strides = space.strides(self);
        match &self.data {
            Data::Float(v) => Data::Float(space.map1(v, &strides, |x| x)),
            Data::Int(v) => Data::Int(space.map1(v, &strides, |x| x)),
            Data::Bool(v) => Data::Bool(space.map1(v, &strides, |x| x)),
        }
    }

    /// Its dims without some, ascending.
    pub fn dims_without(&self, gone: &[DimId]) -> Vec<DimId> {
        self.dims.iter().copied().filter(|d| !gone.contains(d)).collect()
    }
}

/// The dims and lengths that a loop nest runs over, slowest first.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Space {
    pub dims: Vec<DimId>,
    pub shape: Vec<usize>,
}

impl Space {
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn tile(self, data: Data) -> Tile {
        Tile { dims: self.dims, shape: self.shape, data }
    }

    /// The length of a dim; 1 if it is not among these.
    pub fn len(&self, dim: DimId) -> usize {
        self.dims.iter().position(|d| *d == dim).map_or(1, |n| self.shape[n])
    }

    /// These dims out of all, in this order.
    pub fn pick(&self, dims: &[DimId]) -> Space {
        Space { dims: dims.to_vec(), shape: dims.iter().map(|d| self.len(*d)).collect() }
    }

    /// How far one step along each dim of this space goes in the tile's data; 0 along dims that it lacks.
    pub fn strides(&self, tile: &Tile) -> Vec<usize> {
        let stride = |dim: &DimId| match tile.dims.iter().position(|d| d == dim) {
            Some(n) => tile.shape[n + 1..].iter().product(),
            None => 0,
        };
        self.dims.iter().map(stride).collect()
    }

    /// Calls `f` once a row of the last dim, with where each operand's row starts, and the row's length.
    pub fn rows(&self, strides: &[&[usize]], mut f: impl FnMut(&[usize], usize)) {
        let outer = self.shape.len().saturating_sub(1);
        let n = self.shape.last().copied().unwrap_or(1);
        if self.count() == 0 {
            return;
        }
        let (mut at, mut place) = (vec![0; strides.len()], vec![0; outer]);
        loop {
            f(&at, n);
            let mut axis = outer;
            loop {
                if axis == 0 {
                    return;
                }
                axis -= 1;
                place[axis] += 1;
                at.iter_mut().zip(strides).for_each(|(a, s)| *a += s[axis]);
                if place[axis] < self.shape[axis] {
                    break;
                }
                at.iter_mut().zip(strides).for_each(|(a, s)| *a -= s[axis] * place[axis]);
                place[axis] = 0;
            }
        }
    }

    pub fn map1<A: Copy, R>(&self, a: &[A], strides: &[usize], mut f: impl FnMut(A) -> R) -> Vec<R> {
        let step = strides.last().copied().unwrap_or(0);
        let mut out = Vec::with_capacity(self.count());
        self.rows(&[strides], |at, n| out.extend((0..n).map(|l| f(a[at[0] + l * step]))));
        out
    }

    pub fn map2<A: Copy, B: Copy, R>(
        &self,
        (a, by_a): (&[A], &[usize]),
        (b, by_b): (&[B], &[usize]),
        mut f: impl FnMut(A, B) -> R,
    ) -> Vec<R> {
        let last = |strides: &[usize]| strides.last().copied().unwrap_or(0);
        let (step_a, step_b) = (last(by_a), last(by_b));
        let mut out = Vec::with_capacity(self.count());
        self.rows(&[by_a, by_b], |at, n| {
            out.extend((0..n).map(|l| f(a[at[0] + l * step_a], b[at[1] + l * step_b])));
        });
        out
    }
}
