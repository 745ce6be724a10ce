//! Why a layout cannot be. It does not say where in a kernel: the pass that asked knows.

/// What was asked of layouts and cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Tiles on a GPU are padded to powers of two before they get a layout.
    #[error("`{axis}` has size {size}, which is no power of two; pad the tile first")]
    NotPowerOfTwo {
        /// The axis.
        axis: String,
        /// Its size.
        size: u64,
    },
    /// Tiles have at most 2^31 elements.
    #[error("a layout would need an index of {bits} bits, and 31 is the most; use a smaller tile")]
    TooLarge {
        /// How many it would need.
        bits: u32,
    },
    /// An axis is listed twice.
    #[error("`{axis}` is listed twice; name each axis once")]
    Twice {
        /// The axis.
        axis: String,
    },
    /// An axis that the layout does not have.
    #[error("the layout has no axis `{axis}`; it can only be asked for those it has")]
    Unknown {
        /// The axis.
        axis: String,
    },
    /// A coordinate beyond the end of its axis.
    #[error("`{axis}` has no coordinate {at}: its size is {size}")]
    OutOfRange {
        /// The axis.
        axis: String,
        /// The coordinate.
        at: u64,
        /// The size.
        size: u64,
    },
    /// A map that has to reach every element does not.
    #[error("the layout reaches 2^{reached} of 2^{all} elements; a copy of a tile needs every element")]
    NotSurjective {
        /// log2 of what it reaches.
        reached: u32,
        /// log2 of all.
        all: u32,
    },
    /// A map that has to reach each element once reaches it more often.
    #[error("2^{copies} inputs reach one element; an exact inverse needs one")]
    NotInjective {
        /// log2 of how many.
        copies: u32,
    },
    /// Two maps that have to meet do not.
    #[error("two layouts do not fit: one has {left}, the other {right}")]
    Mismatch {
        /// Axes of the one, with sizes.
        left: String,
        /// Axes of the other, with sizes.
        right: String,
    },
    /// An instruction does not come in this shape.
    #[error("{what}")]
    Instruction {
        /// Which, and what there is instead.
        what: String,
    },
    /// Text that is no layout.
    #[error("layout text, byte {at}: expected {expected}")]
    Syntax {
        /// Where.
        at: usize,
        /// What would go on.
        expected: &'static str,
    },
}
