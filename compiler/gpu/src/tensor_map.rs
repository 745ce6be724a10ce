//! What a bulk tensor copy is told about its tensor: where it lies, how long and how far apart its dimensions are, which
//! box one copy moves and how the box lies in shared memory. The driver's 128 opaque bytes are made of it by the runtime,
//! not here.

/// Bytes of a tensor map as kernels address it.
pub const MAP_BYTES: usize = 128;

/// How the 16-byte units of a box are permuted in shared memory, so that reads along either dimension meet all banks. The
/// innermost dimension of the box has as many bytes as the name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Swizzle {
    /// The box lies as it is, innermost dimension first.
    None,
    /// Bit 4 of the shared address is flipped by bit 7.
    Bytes32,
    /// Bits 4 and 5 by bits 7 and 8.
    Bytes64,
    /// Bits 4 to 6 by bits 7 to 9.
    Bytes128,
}

impl Swizzle {
    /// The bytes of a box's innermost dimension; `None` where any multiple of 16 will do.
    pub fn span(self) -> Option<u32> {
        match self {
            Swizzle::None => None,
            Swizzle::Bytes32 => Some(32),
            Swizzle::Bytes64 => Some(64),
            Swizzle::Bytes128 => Some(128),
        }
    }

    /// Where the byte that would be at this shared address without swizzling is.
    pub fn apply(self, address: u32) -> u32 {
        let units = self.span().map_or(1, |bytes| bytes / 16);
        address ^ ((address >> 7 & (units - 1)) << 4)
    }
}

/// A tensor in global memory and the box that copies of it move. Dimensions are listed innermost first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorMap {
    /// Address of the first element, a multiple of 16.
    pub base: u64,
    /// Bytes of an element: 1, 2, 4 or 8.
    pub element: u32,
    /// Elements of each dimension, one to five of them. Outside a box is filled with zeros, and not written.
    pub dims: Vec<u64>,
    /// Bytes from one element to the next, of each dimension but the innermost, whose elements lie side by side. Multiples
    /// of 16.
    pub strides: Vec<u64>,
    /// Elements of the box, of each dimension; at most 256.
    pub extents: Vec<u32>,
    /// How the box lies in shared memory.
    pub swizzle: Swizzle,
}

impl TensorMap {
    /// Bytes of a box in shared memory. Copies that stick out of the tensor count in full.
    pub fn box_bytes(&self) -> u32 {
        self.element * self.extents.iter().product::<u32>()
    }

    /// Whether the hardware takes it.
    ///
    /// # Errors
    /// Says which limit is broken, with the numbers.
    pub fn check(&self) -> Result<(), String> {
        let rank = self.dims.len();
        if !(1..=5).contains(&rank) {
            return Err(format!("{rank} dimensions; one to five are possible"));
        }
        if self.strides.len() + 1 != rank || self.extents.len() != rank {
            return Err(format!(
                "{rank} dimensions need {} strides and {rank} extents of the box; there are {} and {}",
                rank - 1,
                self.strides.len(),
                self.extents.len()
            ));
        }
        if ![1, 2, 4, 8].contains(&self.element) {
            return Err(format!("elements of {} bytes; 1, 2, 4 and 8 are possible", self.element));
        }
        if !self.base.is_multiple_of(16) {
            return Err(format!("the address {:#x} is no multiple of 16", self.base));
        }
        if let Some(dim) = self.dims.iter().find(|d| !(1..=1 << 32).contains(*d)) {
            return Err(format!("a dimension of {dim}; 1 to 2^32 are possible"));
        }
        if let Some(stride) = self.strides.iter().find(|s| !s.is_multiple_of(16) || **s >= 1 << 40) {
            return Err(format!("a stride of {stride} bytes; multiples of 16 below 2^40 are possible"));
        }
        if let Some(extent) = self.extents.iter().find(|e| !(1..=256).contains(*e)) {
            return Err(format!("a box extent of {extent}; 1 to 256 are possible"));
        }
        let inner = self.extents[0] * self.element;
        match self.swizzle.span() {
            None if !inner.is_multiple_of(16) => {
                Err(format!("the box's innermost dimension has {inner} bytes; multiples of 16 are possible"))
            }
            Some(span) if inner != span => {
                Err(format!("the box's innermost dimension has {inner} bytes; this swizzle needs {span}"))
            }
            None | Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Swizzle, TensorMap};

    fn map() -> TensorMap {
        TensorMap {
            base: 0x1000,
            element: 2,
            dims: vec![128, 77],
            strides: vec![256],
            extents: vec![64, 32],
            swizzle: Swizzle::Bytes128,
        }
    }

    #[test]
    fn a_swizzle_permutes_the_units_of_each_row() {
        for (swizzle, rows) in [(Swizzle::Bytes32, 2), (Swizzle::Bytes64, 4), (Swizzle::Bytes128, 8)] {
            let hit: std::collections::BTreeSet<u32> = (0..1024).map(|a| swizzle.apply(a)).collect();
            assert_eq!(hit, (0..1024).collect());
            let first: std::collections::BTreeSet<u32> = (0..8).map(|row| swizzle.apply(row * 128) / 16 % 8).collect();
            assert_eq!(first.len(), rows, "the first unit of eight rows of 128 bytes takes {rows} places");
        }
        assert_eq!(Swizzle::None.apply(0x3f0), 0x3f0);
        assert_eq!(Swizzle::Bytes128.apply(0x390), 0x3e0);
    }

    #[test]
    fn limits_are_told_apart() {
        assert_eq!(map().check(), Ok(()));
        assert_eq!(map().box_bytes(), 4096);
        type Change = fn(&mut TensorMap);
        let cases: [(Change, &str); 7] = [
            (|m| m.base = 8, "address"),
            (|m| m.element = 3, "elements of 3"),
            (|m| m.strides[0] = 24, "stride of 24"),
            (|m| m.extents[0] = 32, "needs 128"),
            (|m| m.extents[1] = 257, "extent of 257"),
            (|m| m.dims[1] = 0, "dimension of 0"),
            (|m| m.strides.clear(), "strides"),
        ];
        for (change, word) in cases {
            let mut map = map();
            change(&mut map);
            let told = map.check().unwrap_err();
            assert!(told.contains(word), "{told}");
        }
    }
}
