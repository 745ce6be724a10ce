//! Where stored tiles lie in the arena: those that share a place (`sharing.rs`) have one, and places are used again by
//! tiles whose lives do not meet (`lives.rs`). It emits nothing.

use std::collections::HashMap;

use pantile_ir::{DType, DimId, Value};

use super::facts::Facts;
use super::lives::{Access, Lives};
use super::plan::{Plan, RegionPlan};
use super::sharing::Sharing;
use crate::Limit;
use crate::vector::{Carrier, carrier};

/// The most memory that one thread may need.
const MOST_BYTES: i64 = 1 << 31;

/// Rows a multiple of so many bytes apart start in one set of the first cache, which holds fewer of them than a
/// micro-kernel of 512 bits reads at once.
pub const CROWDED: i64 = 4096;

/// A tile in the arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Its dtype; in memory, each element is as a lane group holds it: 4 or 8 bytes.
    pub dtype: DType,
    /// Its dims, innermost last.
    pub dims: Vec<DimId>,
    /// The distance between neighbours along each, in elements.
    pub strides: Vec<i64>,
    /// Its first byte.
    pub offset: i64,
}

/// The size of one element in the arena.
pub fn element_bytes(dtype: DType) -> i64 {
    match carrier(dtype) {
        Carrier::Bool | Carrier::Int32 | Carrier::Float32 => 4,
        Carrier::Int64 | Carrier::Float64 => 8,
    }
}

impl Tile {
    /// A tile with rows padded to 16 elements, and to no multiple of [`CROWDED`]; dims innermost last.
    pub fn new(facts: &Facts<'_>, dtype: DType, dims: Vec<DimId>) -> Self {
        let mut strides = vec![1i64; dims.len()];
        for n in (0..dims.len().saturating_sub(1)).rev() {
            let size = facts.func.dim(dims[n + 1]).size;
            let padded = if n + 2 == dims.len() { size.saturating_add(15) / 16 * 16 } else { size };
            let crowded = padded.saturating_mul(element_bytes(dtype)) % CROWDED == 0;
            let padded = if n + 2 == dims.len() && crowded { padded.saturating_add(16) } else { padded };
            strides[n] = strides[n + 1].saturating_mul(padded);
        }
        Self { dtype, dims, strides, offset: 0 }
    }

    /// The distance between neighbours along a dim, in bytes; 0 if it has no such dim.
    pub fn step(&self, dim: DimId) -> i64 {
        let at = self.dims.iter().position(|d| *d == dim);
        at.map_or(0, |n| self.strides[n] * element_bytes(self.dtype))
    }

    /// Its size, a multiple of 64.
    pub fn bytes(&self, facts: &Facts<'_>) -> i64 {
        let first = self.dims.first().map_or(1, |d| facts.func.dim(*d).size);
        let rows = if self.dims.len() == 1 { first.saturating_add(15) / 16 * 16 } else { first };
        let elements = rows.saturating_mul(self.strides.first().copied().unwrap_or(1));
        elements.saturating_mul(element_bytes(self.dtype)).saturating_add(63) / 64 * 64
    }
}

/// Memory that one step needs for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scratch {
    /// The packed operand of the product with this result.
    Panels(Value),
    /// The rows operand of the product with this result, in the shape it needs, or where its rows do not crowd.
    Rows(Value),
    /// A row being sorted for this result.
    Line(Value),
    /// A carried value that waits until another's place is free.
    Carried(Value),
}

/// Where everything lies.
pub struct Storage {
    class_of: HashMap<Value, usize>,
    tiles: Vec<Tile>,
    scratch: HashMap<Scratch, Tile>,
    /// Size of the arena.
    pub bytes: i64,
}

impl Storage {
    /// Assigns memory.
    ///
    /// # Errors
    /// If a thread would need too much of it.
    pub fn new(facts: &Facts<'_>, plan: &Plan<'_, '_>) -> Result<Self, Limit> {
        let sharing = Sharing::new(facts, plan);
        let lives = Lives::new(plan);
        let mut classes: HashMap<usize, (Vec<Value>, Vec<Access>)> = HashMap::new();
        for value in &plan.choices.stored {
            let root = sharing.find(*value);
            let class = classes.entry(root).or_default();
            class.0.push(*value);
            class.1.extend(lives.of.get(value).into_iter().flatten().copied());
        }
        let mut wanted: Vec<(Tile, Want, (u64, u64))> = Vec::new();
        let mut roots: Vec<usize> = classes.keys().copied().collect();
        roots.sort_unstable();
        for root in roots {
            let (values, accesses) = &classes[&root];
            let tile = Tile::new(facts, facts.dtype(values[0]), facts.dims(values[0]));
            wanted.push((tile, Want::Class(values.clone()), lives.hull(accesses)));
        }
        for (scratch, tile, access) in lives.scratch(facts, plan) {
            let life = lives.hull(&[access]);
            wanted.push((tile, Want::Scratch(scratch), life));
        }
        Self::allocate(facts, wanted)
    }

    fn allocate(facts: &Facts<'_>, mut wanted: Vec<(Tile, Want, (u64, u64))>) -> Result<Self, Limit> {
        wanted.sort_by_key(|(tile, _, life)| (life.0, std::cmp::Reverse(tile.bytes(facts))));
        let mut storage = Self { class_of: HashMap::new(), tiles: Vec::new(), scratch: HashMap::new(), bytes: 0 };
        let mut placed: Vec<(i64, i64, (u64, u64))> = Vec::new();
        for (mut tile, want, life) in wanted {
            let size = tile.bytes(facts);
            let mut taken: Vec<(i64, i64)> =
                placed.iter().filter(|p| p.2.0 <= life.1 && life.0 <= p.2.1).map(|p| (p.0, p.1)).collect();
            taken.sort_unstable();
            let free = taken.iter().fold(0, |at, (lo, hi)| if at + size <= *lo { at } else { at.max(*hi) });
            tile.offset = free;
            storage.bytes = storage.bytes.max(free.saturating_add(size));
            if storage.bytes > MOST_BYTES {
                let mib = storage.bytes >> 20;
                let most = MOST_BYTES >> 20;
                let name = &facts.func.name;
                return Err(Limit::new(format!(
                    "the tiles of `{name}` need {mib} MiB a thread, more than the {most} MiB that one may have; use smaller blocks"
                )));
            }
            placed.push((free, free + size, life));
            match want {
                Want::Class(values) => {
                    values.iter().for_each(|v| {
                        storage.class_of.insert(*v, storage.tiles.len());
                    });
                    storage.tiles.push(tile);
                }
                Want::Scratch(scratch) => {
                    storage.scratch.insert(scratch, tile);
                }
            }
        }
        Ok(storage)
    }

    /// The tile of a stored value.
    pub fn tile(&self, value: Value) -> Option<&Tile> {
        self.class_of.get(&value).map(|n| &self.tiles[*n])
    }

    /// Whether two stored values share memory.
    pub fn same(&self, a: Value, b: Value) -> bool {
        self.class_of.get(&a).is_some_and(|n| self.class_of.get(&b) == Some(n))
    }

    /// The memory that a step has for itself.
    pub fn scratch(&self, scratch: Scratch) -> Option<&Tile> {
        self.scratch.get(&scratch)
    }
}

enum Want {
    Class(Vec<Value>),
    Scratch(Scratch),
}

/// For each argument of a loop's body, whether its next value is another argument.
pub fn moved_from(body: &RegionPlan<'_>) -> Vec<bool> {
    let (args, yields) = (&body.region.args, &body.region.yields);
    let first = args.len() - yields.len();
    let moved = |n: usize| n >= first && args.contains(&yields[n - first]) && yields[n - first] != args[n];
    (0..args.len()).map(moved).collect()
}

/// The packed panels of a product, as one run of elements.
pub fn panels(facts: &Facts<'_>, n: DimId, k: DimId) -> Tile {
    let elements = crate::dot::packed_bytes(facts.func.dim(k).size, facts.func.dim(n).size) / 4;
    // Only the size matters: one dim of stride 1 whose first stride carries it.
    Tile { dtype: DType::F32, dims: Vec::new(), strides: vec![elements], offset: 0 }
}
