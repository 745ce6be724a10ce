//! Linear algebra over F2, in which a layout is a matrix: a vector is a `u64`, addition is XOR. Axis names, and what the bits
//! stand for, are not known here.

/// A matrix over F2 by columns: column `j` is the image of input bit `j`. At most 64 rows and 64 columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Matrix {
    /// Images of the input bits, lowest first.
    pub columns: Vec<u64>,
}

/// A subspace: vectors with distinct leading bits, each with a payload that follows every addition.
///
/// With payload `1 << j` for the `j`-th generator a reduction says which generators a vector is the sum of; with other
/// payloads a span is a partial linear map.
#[derive(Clone, Debug, Default)]
pub struct Span {
    rows: Vec<(u64, u64)>,
}

/// The bits that are set in `mask`, lowest first.
pub fn ones(mask: u64) -> impl Iterator<Item = u32> {
    (0..64).filter(move |b| mask >> b & 1 == 1)
}

/// The sum of the generators that the bits of `index` name.
pub fn combine(generators: &[u64], index: u64) -> u64 {
    ones(index).fold(0, |sum, j| sum ^ generators[j as usize])
}

/// Every number whose set bits lie in `mask`, ascending.
pub fn within(mask: u64) -> impl Iterator<Item = u64> {
    let mut next = Some(0u64);
    std::iter::from_fn(move || {
        let at = next?;
        next = Some((at | !mask).wrapping_add(1) & mask).filter(|n| *n != 0);
        Some(at)
    })
}

impl Matrix {
    /// The image of `x`.
    pub fn apply(&self, x: u64) -> u64 {
        combine(&self.columns, x)
    }

    /// `self` after `first`.
    pub fn after(&self, first: &Matrix) -> Matrix {
        Matrix { columns: first.columns.iter().map(|c| self.apply(*c)).collect() }
    }

    /// The span of the columns; payloads name columns, pivots only.
    pub fn span(&self) -> Span {
        let mut span = Span::default();
        for (j, c) in self.columns.iter().enumerate() {
            span.insert(*c, 1 << j);
        }
        span
    }

    /// The dimension of the image.
    pub fn rank(&self) -> u32 {
        self.span().dimension()
    }

    /// The columns that are no sum of columns before them. Inputs with all other bits zero reach the whole image, once.
    pub fn pivots(&self) -> u64 {
        let mut span = Span::default();
        let mut pivot = |(j, c): (usize, &u64)| u64::from(span.insert(*c, 0)) << j;
        self.columns.iter().enumerate().map(&mut pivot).fold(0, |mask, bit| mask | bit)
    }

    /// The `x` with `apply(x) == y` that uses pivots only.
    pub fn solve(&self, y: u64) -> Option<u64> {
        self.span().express(y)
    }

    /// A basis of the inputs that map to zero: one vector for each column that is no pivot, which is its highest bit.
    pub fn kernel(&self) -> Vec<u64> {
        let mut span = Span::default();
        let mut kernel = Vec::new();
        for (j, c) in self.columns.iter().enumerate() {
            match span.express(*c) {
                Some(x) => kernel.push(x | 1 << j),
                None => _ = span.insert(*c, 1 << j),
            }
        }
        kernel
    }

    /// A map back: `self.apply(back.apply(y)) == y` for each `y` of the image, and pivots only. On `rows` bits; vectors
    /// outside the image go somewhere.
    pub fn back(&self, rows: u32) -> Matrix {
        let mut span = self.span();
        for j in 0..rows {
            span.insert(1 << j, 0);
        }
        Matrix { columns: (0..rows).map(|j| span.express(1 << j).unwrap_or(0)).collect() }
    }
}

impl Span {
    /// The span of the vectors; payloads name them by position.
    pub fn of(vectors: &[u64]) -> Span {
        Matrix { columns: vectors.to_vec() }.span()
    }

    /// Its dimension.
    pub fn dimension(&self) -> u32 {
        self.rows.len() as u32
    }

    /// What is left of `v`, zero just for members, and the payload that was added on the way.
    pub fn reduce(&self, v: u64) -> (u64, u64) {
        self.rows.iter().fold(
            (v, 0),
            |(v, p), (row, payload)| {
                if v >> row.ilog2() & 1 == 1 { (v ^ row, p ^ payload) } else { (v, p) }
            },
        )
    }

    /// The payload of a member.
    pub fn express(&self, v: u64) -> Option<u64> {
        let (rest, payload) = self.reduce(v);
        (rest == 0).then_some(payload)
    }

    /// Whether it is a member.
    pub fn contains(&self, v: u64) -> bool {
        self.reduce(v).0 == 0
    }

    /// Adds a generator; false if it was a member, which changes nothing.
    pub fn insert(&mut self, v: u64, payload: u64) -> bool {
        let (rest, added) = self.reduce(v);
        if rest != 0 {
            self.rows.push((rest, payload ^ added));
        }
        rest != 0
    }

    /// Adds generators; those that were no members before.
    pub fn extend(&mut self, vectors: impl IntoIterator<Item = u64>) -> Vec<u64> {
        vectors.into_iter().filter(|v| self.insert(*v, 0)).collect()
    }
}

/// A basis of the vectors that both lists span, in terms of the first list's lowest generators.
pub fn intersection(left: &[u64], right: &[u64]) -> Vec<u64> {
    let both = Matrix { columns: left.iter().chain(right).copied().collect() };
    let mut span = Span::default();
    let common = both.kernel().into_iter().map(|k| combine(left, k & ((1 << left.len()) - 1)));
    span.extend(common)
}
