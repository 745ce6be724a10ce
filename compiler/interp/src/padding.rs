//! A second way to run a kernel, for those who prove that padding is not seen: tiles have all the lanes of a target's, and
//! what stands in padding is poison, or what it is said to be, which is checked. Results at valid lanes must be those of the
//! ordinary way. Nothing here is part of what a kernel means.

use pantile_ir::{BinaryOp, DType, DimId, Fill, Inst, Kind, Op, ReduceOp, Scalar, Value, eval};

use crate::machine::Machine;
use crate::tile::{Space, Tile};
use crate::{Data, rowwise};

/// Takes an instruction, and a function that says whether the current block of a dim has no padding.
pub type Seen<'a> = dyn Fn(&Inst, &dyn Fn(DimId) -> bool) + 'a;

/// Tiles with padding.
pub struct Padding<'a> {
    /// Another poison for each.
    pub seed: u64,
    /// The lanes of a dim of a size.
    pub lanes: &'a dyn Fn(i64) -> i64,
    /// What a value's padding along a dim is said to hold.
    pub fill: &'a dyn Fn(Value, DimId) -> Fill,
    /// Is told of each instruction without regions that runs, and can ask whether the blocks of dims have no padding.
    pub seen: &'a Seen<'a>,
}

impl Machine<'_> {
    /// How many lanes tiles have along a dim.
    pub(crate) fn width(&self, dim: DimId) -> usize {
        match self.hooks.padding {
            Some(p) => (p.lanes)(self.func.dim(dim).size) as usize,
            None => self.len(dim),
        }
    }

    /// A dim's lanes, valid ones first, then `poison`.
    pub(crate) fn widened(&self, dim: DimId, mut lanes: Vec<i64>, poison: impl Fn(usize) -> i64) -> Vec<i64> {
        let valid = lanes.len();
        lanes.extend((valid..self.width(dim)).map(poison));
        lanes
    }

    /// For each element of a space, whether some lane of it is padding.
    pub(crate) fn padding_of(&self, space: &Space) -> Vec<bool> {
        self.padding_along(space, &space.dims)
    }

    /// As [`Self::padding_of`], of these dims.
    fn padding_along(&self, space: &Space, dims: &[DimId]) -> Vec<bool> {
        let len = |d: &DimId| if dims.contains(d) { self.len(*d) } else { usize::MAX };
        let lens: Vec<usize> = space.dims.iter().map(len).collect();
        if lens.iter().zip(&space.shape).all(|(len, size)| len >= size) {
            return vec![false; space.count()];
        }
        (0..space.count()).map(|n| coordinates(&space.shape, n).iter().zip(&lens).any(|(at, len)| at >= len)).collect()
    }

    /// What poison stands at an element: anything awkward.
    pub(crate) fn poison(&self, dtype: DType, salt: u64) -> Scalar {
        let seed = self.hooks.padding.map_or(0, |p| p.seed);
        let mut x = (seed ^ salt.wrapping_mul(0x9E37_79B9_7F4A_7C15))
            .wrapping_add(self.instance)
            .wrapping_mul(0xD134_2543_DE82_EF95);
        x ^= x >> 29;
        let at = x.wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40;
        let (float, int) = match at % 6 {
            0 => (f64::NAN, i64::MIN),
            1 => (f64::INFINITY, i64::MAX),
            2 => (f64::NEG_INFINITY, -1),
            3 => (1e30, 0),
            4 => (-3.5e4, 1 << 40),
            _ => (at as f64 / 977.0, at as i64),
        };
        match dtype.kind() {
            Kind::Bool => Scalar::Bool(at.is_multiple_of(2)),
            Kind::Float => Scalar::Float(eval::round(dtype, float)),
            Kind::Signed | Kind::Unsigned => Scalar::Int(eval::wrap(dtype, int)),
        }
    }

    /// Puts poison in padding of which nothing is said, and checks the rest.
    ///
    /// Rows that lie in padding of another dim keep what was computed where something is said of them as rows: that they are
    /// uniform, that a NaN is covered, or that an extreme, or what takes its place, bounds them. A back end computes padding lanes as it does valid ones.
    pub(crate) fn say_padding(&self, v: Value, op: &Op, mut tile: Tile) -> Result<Tile, String> {
        let Some(p) = self.hooks.padding else { return Ok(tile) };
        let space = Space { dims: tile.dims.clone(), shape: tile.shape.clone() };
        let lens: Vec<usize> = tile.dims.iter().map(|d| self.len(*d)).collect();
        if lens == tile.shape {
            return Ok(tile);
        }
        let fills: Vec<Fill> = tile.dims.iter().map(|d| (p.fill)(v, *d)).collect();
        let before = tile.data.clone();
        let plain = |f: &Fill| matches!(f, Fill::Unknown | Fill::Is(_) | Fill::All(_));
        let poisoned = !is_extreme(op) && fills.iter().all(plain);
        for n in 0..space.count() {
            let at = coordinates(&space.shape, n);
            let padded: Vec<usize> = (0..at.len()).filter(|k| at[*k] >= lens[*k]).collect();
            if padded.is_empty() {
                continue;
            }
            if poisoned && padded.iter().all(|k| fills[*k] == Fill::Unknown) {
                tile.data.set(n, self.poison(self.func.ty(v).dtype(), u64::from(v.0) << 32 | n as u64));
            }
            for k in padded {
                let x = before.get(n);
                if !holds(fills[k], x, &before, &space.shape, &at, k, lens[k]) {
                    let dim = &self.func.dim(tile.dims[k]).name;
                    return Err(format!("padding of %{} along `{dim}` holds {x:?}, not {:?}", v.0, fills[k]));
                }
            }
        }
        Ok(tile)
    }

    /// The lanes that are valid along some dims.
    pub(crate) fn cropped(&self, tile: &Tile, along: &[DimId]) -> Tile {
        let space = Space { dims: tile.dims.clone(), shape: tile.shape.clone() };
        let padding = self.padding_along(&space, along);
        let valid = padding.iter().enumerate().filter(|(_, p)| !**p).map(|(n, _)| tile.data.get(n));
        let data = Data::from_scalars(dtype_like(&tile.data), valid);
        let len = |d: &DimId| if along.contains(d) { self.len(*d) } else { space.len(*d) };
        let shape = tile.dims.iter().map(len).collect();
        Tile { dims: tile.dims.clone(), shape, data }
    }

    /// With all lanes along some dims; what stands in padding is 0 until poison takes its place.
    fn uncropped(&self, tile: &Tile, along: &[DimId]) -> Tile {
        let shape: Vec<usize> = tile.dims.iter().map(|d| self.width(*d)).collect();
        let space = Space { dims: tile.dims.clone(), shape };
        let mut data = Data::zeros(dtype_like(&tile.data), space.count());
        let valid = self.padding_along(&space, along).into_iter().enumerate().filter(|(_, p)| !p);
        valid.enumerate().for_each(|(from, (to, _))| data.set(to, tile.data.get(from)));
        space.tile(data)
    }

    /// A split or merge, which moves valid lanes only.
    #[allow(clippy::wildcard_enum_match_arm, reason = "only these two come here")]
    pub(crate) fn reshaped(&self, op: &Op, x: &Tile) -> Result<Tile, String> {
        let valid = |dims: &[DimId]| Space { dims: dims.to_vec(), shape: dims.iter().map(|d| self.len(*d)).collect() };
        let (from, into) = match op {
            Op::Split { from, into } => (vec![*from], into.clone()),
            Op::Merge { from, into } => (from.clone(), vec![*into]),
            _ => return Err("neither a split nor a merge".into()),
        };
        let moved = rowwise::reshape(&self.cropped(x, &from), &from, &valid(&into))?;
        Ok(self.uncropped(&moved, &into))
    }

    /// The divisor of an integer division as padding sees it: what is no valid lane divides nothing by zero.
    pub(crate) fn divisor(&self, space: &Space, b: &Tile) -> Tile {
        let mut data = b.spread(space);
        for (n, _) in self.padding_of(space).into_iter().enumerate().filter(|(_, p)| *p) {
            if data.get(n) == Scalar::Int(0) {
                data.set(n, Scalar::Int(1));
            }
        }
        Space { dims: space.dims.clone(), shape: space.shape.clone() }.tile(data)
    }

    /// The k-th largest, where k counts valid lanes only.
    pub(crate) fn padded_kth_largest(&self, dtype: DType, x: &Tile, k: i64, dim: DimId) -> Tile {
        let len = self.len(dim) as i64;
        let found = rowwise::kth_largest(dtype, x, k.clamp(1, len.max(1)), dim);
        if len > 0 {
            return found;
        }
        let lowest = (0..found.data.len()).map(|_| eval::lowest(dtype));
        Tile { data: Data::from_scalars(dtype, lowest), ..found }
    }

    /// Tells whoever watches.
    pub(crate) fn tell(&self, inst: &Inst) {
        if let Some(p) = self.hooks.padding {
            (p.seen)(inst, &|d| self.len(d) == self.width(d));
        }
    }
}

/// Whether an op is an integer division.
pub(crate) fn divides(op: &Op, dtype: DType) -> bool {
    matches!(op, Op::Binary(BinaryOp::Div | BinaryOp::Rem)) && dtype.is_int()
}

/// An extreme, or what may take the place of one.
fn is_extreme(op: &Op) -> bool {
    let reduces = matches!(op, Op::Reduce(ReduceOp::Max | ReduceOp::Min, _));
    reduces || matches!(op, Op::Binary(BinaryOp::Max | BinaryOp::Min) | Op::Broadcast(_) | Op::Select)
}

fn dtype_like(data: &Data) -> DType {
    match data {
        Data::Float(_) => DType::F64,
        Data::Int(_) => DType::I64,
        Data::Bool(_) => DType::Bool,
    }
}

fn coordinates(shape: &[usize], n: usize) -> Vec<usize> {
    let mut rest = n;
    let mut at = vec![0; shape.len()];
    for (place, size) in at.iter_mut().zip(shape).rev() {
        *place = rest % size;
        rest /= size;
    }
    at
}

/// Whether an element in padding along dim `k` is what a fill says; `len` lanes of its row are valid.
fn holds(fill: Fill, x: Scalar, data: &Data, shape: &[usize], at: &[usize], k: usize, len: usize) -> bool {
    let same = |a: Scalar, b: Scalar| match (a, b) {
        (Scalar::Float(a), Scalar::Float(b)) => a == b || a.is_nan() && b.is_nan(),
        (Scalar::Bool(_) | Scalar::Int(_) | Scalar::Float(_), _) => a == b,
    };
    let step: usize = shape[k + 1..].iter().product();
    let start = coordinates_to_index(shape, at) - at[k] * step;
    let row = |test: &dyn Fn(Scalar) -> bool| (0..len).all(|l| test(data.get(start + l * step)));
    let nan = |x: Scalar| matches!(x, Scalar::Float(x) if x.is_nan());
    match fill {
        Fill::Unknown => true,
        Fill::Uniform => row(&|y| same(x, y)),
        Fill::Is(c) | Fill::All(c) => same(x, c),
        Fill::IsOrNan(c) => same(x, c) || nan(x) && len > 0 && row(&nan),
    }
}

fn coordinates_to_index(shape: &[usize], at: &[usize]) -> usize {
    shape.iter().zip(at).fold(0, |n, (size, at)| n * size + at)
}
