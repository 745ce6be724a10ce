//! Arguments for any kernel or pipeline, drawn from its signature: sizes from a table, contents from a repeatable sequence.
//! A draw may be one that an item refuses; whether both devices refuse it is for others to see.

use pantile::{DType, Mask, OrderArg, Scalar, Tensor};
use pantile_compiler::{AxisInfo, Bindings, ElementType, GenericKind, ParamInfo, ParamType, Signature};

use crate::values::Owned;

/// One set of sizes.
pub(super) struct Sizes {
    /// For the table of results.
    pub(super) name: &'static str,
    /// Extents and int parameters by name.
    sizes: &'static [(&'static str, i64)],
    /// What has another name.
    other: i64,
    /// What int generics with larger defaults become, so that small extents have several blocks.
    block: Option<i64>,
}

/// Awkward sizes: one of everything, several ragged blocks, primes beyond one block, whole blocks, nothing, a video grid.
pub(super) const SIZES: &[Sizes] = &[
    Sizes { name: "ones", sizes: &[], other: 1, block: None },
    Sizes {
        name: "ragged",
        sizes: &[("B", 2), ("H", 4), ("G", 2), ("N", 37), ("M", 53), ("K", 19), ("D", 16), ("NQ", 5), ("NK", 7)],
        other: 7,
        block: Some(16),
    },
    Sizes {
        name: "long",
        sizes: &[("B", 1), ("H", 2), ("G", 1), ("N", 131), ("M", 79), ("K", 137), ("D", 40), ("NQ", 9), ("NK", 33)],
        other: 11,
        block: None,
    },
    Sizes {
        name: "whole",
        sizes: &[("B", 1), ("H", 2), ("G", 2), ("N", 64), ("M", 128), ("K", 64), ("D", 64), ("NQ", 16), ("NK", 16)],
        other: 8,
        block: Some(32),
    },
    Sizes {
        name: "none",
        sizes: &[("B", 1), ("H", 1), ("G", 1), ("N", 5), ("M", 0), ("K", 0), ("D", 8)],
        other: 3,
        block: Some(16),
    },
    Sizes {
        name: "video",
        sizes: &[
            ("B", 1),
            ("H", 2),
            ("G", 1),
            ("N", 302),
            ("M", 302),
            ("D", 16),
            ("F", 3),
            ("Y", 9),
            ("X", 11),
            ("text", 5),
            ("NQ", 10),
            ("NK", 10),
            ("wf", 2),
            ("wy", 4),
            ("wx", 4),
            ("P", 32),
        ],
        other: 5,
        block: Some(32),
    },
];

impl Sizes {
    /// The size of that name.
    pub(super) fn of(&self, name: &str) -> i64 {
        self.sizes.iter().find(|(n, _)| *n == name).map_or(self.other, |(_, size)| *size)
    }
}

/// Repeatable numbers.
struct Noise(u64);

impl Noise {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    /// In [0, 1).
    fn unit(&mut self) -> f64 {
        self.bits() as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, n: i64) -> i64 {
        (self.bits() % n.max(1) as u64) as i64
    }
}

/// What an item is called with.
pub(super) struct Draw {
    /// What generics and extents are fixed to.
    pub(super) bindings: Bindings,
    /// One a parameter.
    pub(super) args: Vec<Owned>,
}

/// Arguments for an item: dtypes for its dtype generics, sizes from the table.
pub(super) fn draw(signature: &Signature, dtype: Option<DType>, sizes: &Sizes) -> pantile::Result<Draw> {
    let mut bindings = Bindings::default();
    for generic in &signature.generics {
        let name = generic.name.clone();
        match (generic.kind, dtype) {
            (GenericKind::DType(_), Some(dtype)) => drop(bindings.dtypes.insert(name, dtype)),
            (GenericKind::DType(_), None) => {}
            (GenericKind::Int(default), _) => {
                let block = default.map(|n| sizes.block.map_or(n, |block| n.min(block)));
                let size = block.unwrap_or_else(|| sizes.of(&name));
                bindings.ints.insert(name, size);
            }
        }
    }
    for extent in signature.extents() {
        bindings.extents.insert(extent.to_owned(), sizes.of(extent));
    }
    for param in signature.params.iter().filter(|p| p.ty == ParamType::Int) {
        bindings.ints.insert(param.name.clone(), sizes.of(&param.name));
    }
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut walks = ["N", "M"].into_iter().cycle();
    let mut args = Vec::with_capacity(signature.params.len());
    for param in &signature.params {
        args.push(match (&param.ty, param.default) {
            (_, Some((_, default))) => Owned::Scalar(default),
            (ParamType::Tensor(element, axes), None) => {
                Owned::Tensor(tensor(element, &shape(axes, &bindings), &bindings, &mut noise)?)
            }
            (ParamType::Mask(axes), None) => Owned::Mask(mask(&shape(axes, &bindings), &mut noise)?),
            (ParamType::Scalar(element), None) => Owned::Scalar(scalar(element, param, &bindings, sizes)),
            (ParamType::Int, None) => Owned::Scalar(Scalar::Int(sizes.of(&param.name))),
            (ParamType::Order, None) => Owned::Order(backwards(sizes.of(walks.next().unwrap_or("N")))?),
        });
    }
    Ok(Draw { bindings, args })
}

fn shape(axes: &[AxisInfo], bindings: &Bindings) -> Vec<usize> {
    axes.iter().map(|axis| axis.size(bindings).and_then(|n| usize::try_from(n).ok()).unwrap_or(1)).collect()
}

/// Bools are tossed, integers in [-1, 1] (unsigned ones in [0, 2]), f64 that no generic stands for in [0, 1), other floats
/// in [-1, 1).
fn tensor(element: &ElementType, shape: &[usize], bindings: &Bindings, noise: &mut Noise) -> pantile::Result<Tensor> {
    let dtype = element.resolve(bindings).unwrap_or(DType::F32);
    let count = shape.iter().product();
    if dtype == DType::Bool {
        return Tensor::from_slice(shape, &(0..count).map(|_| noise.below(2) == 1).collect::<Vec<bool>>());
    }
    let fraction = *element == ElementType::Fixed(DType::F64);
    let signed = pantile_ir::eval::wrap(dtype, -1) == -1;
    let mut one = || match (dtype.is_float(), fraction) {
        (true, true) => noise.unit(),
        (true, false) => 2.0 * noise.unit() - 1.0,
        (false, _) => (noise.below(3) - i64::from(signed)) as f64,
    };
    let data: Vec<f64> = (0..count).map(|_| one()).collect();
    Tensor::from_slice(shape, &data)?.to_dtype(dtype)
}

/// Half of all blocks; the first row nothing, the last all.
fn mask(shape: &[usize], noise: &mut Noise) -> pantile::Result<Mask> {
    let (count, columns) = (shape.iter().product::<usize>(), shape.last().copied().unwrap_or(1).max(1));
    let rows = count / columns;
    let one = |n: usize| match n / columns {
        row if row + 1 == rows => true,
        0 => false,
        _ => noise.below(2) == 1,
    };
    Mask::from_bools(shape, &(0..count).map(one).collect::<Vec<_>>())
}

fn scalar(element: &ElementType, param: &ParamInfo, bindings: &Bindings, sizes: &Sizes) -> Scalar {
    let dtype = element.resolve(bindings).unwrap_or(DType::F32);
    if dtype == DType::Bool {
        Scalar::Bool(param.name.len().is_multiple_of(2))
    } else if dtype.is_float() {
        Scalar::Float(0.25)
    } else {
        Scalar::Int(sizes.of(&param.name))
    }
}

/// The elements from the last to the first.
fn backwards(elements: i64) -> pantile::Result<OrderArg> {
    let count = i32::try_from(elements).unwrap_or(0);
    Ok(OrderArg::table((0..count).rev().collect())?)
}
