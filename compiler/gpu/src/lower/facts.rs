//! What the code of a variant relies on: strides, alignment, divisibility. It is read off a launch in `kernel.rs`.

use pantile_ir::{Axis, DType, ExtentId, Func, Param, ParamId, ParamKind};

/// What is known of all launches of one variant of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    /// One a parameter: neighbours along the last axis are neighbours in memory.
    pub dense: Vec<bool>,
    /// One a parameter: its address, and its strides along all axes but the last, are multiples of 2 to this many bytes.
    pub aligned: Vec<u32>,
    /// One an extent: a multiple of 2 to this.
    pub divisible: Vec<u32>,
}

impl Facts {
    /// No more is of use: 16 bytes are the widest access.
    pub const MOST: u32 = 4;

    /// Of dense tensors, all multiples of 16; known extents as they are.
    pub fn best(func: &Func) -> Self {
        let divisible = func.extents.iter().map(|e| e.known.map_or(Self::MOST, twos)).collect();
        let params = func.params.len();
        Self { dense: vec![true; params], aligned: vec![Self::MOST; params], divisible }
    }

    /// Of tensors whose last axes are dense, or of any: of sizes that nothing is known of, their elements aligned.
    pub fn least(func: &Func, dense: bool) -> Self {
        let aligned = |param: &Param| match &param.kind {
            ParamKind::Tensor(dtype, _) => dtype.bytes().trailing_zeros(),
            ParamKind::Scalar(..) | ParamKind::Mask(_) => Self::MOST,
        };
        Self {
            dense: func.params.iter().map(|p| dense || !matches!(p.kind, ParamKind::Tensor(..))).collect(),
            aligned: func.params.iter().map(aligned).collect(),
            divisible: func.extents.iter().map(|e| e.known.map_or(0, twos)).collect(),
        }
    }

    /// Which launches these are, in a few words.
    pub fn about(&self) -> &'static str {
        match (self.dense.iter().all(|d| *d), self.aligned.iter().all(|a| *a == Self::MOST)) {
            (true, true) => "dense, aligned to 16 bytes",
            (true, false) => "dense",
            (false, _) => "any strides",
        }
    }

    /// How many neighbours along a tensor's last axis may be read at once from any multiple of their number: as a power
    /// of two. 0: one.
    pub fn vector(&self, param: ParamId, dtype: DType, last: &Axis) -> u32 {
        if !self.dense[param.index()] || last.by.is_some() {
            return 0;
        }
        let bytes = dtype.bytes().trailing_zeros();
        self.aligned[param.index()].saturating_sub(bytes).min(self.multiple(last.extent))
    }

    /// 2 to this divides an extent.
    pub fn multiple(&self, extent: ExtentId) -> u32 {
        self.divisible[extent.index()]
    }
}

fn twos(n: i64) -> u32 {
    if n == 0 { Facts::MOST } else { n.trailing_zeros().min(Facts::MOST) }
}
