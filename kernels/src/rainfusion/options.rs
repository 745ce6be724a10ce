//! What can be chosen about RainFusion2.0, with the paper's choices as defaults. Whether choices fit together is
//! `check.rs`'s business.

use std::fmt;
use std::sync::Arc;

use super::{Protection, Sequence};

/// The walk through a clip's tokens (section 3.3), so that a block holds tokens that are alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// The paper's and the Wan 2.2 production code's: windows of 2×8×8 over frames 1…F−1, the first frame at the walk's end.
    Paper,
    /// MindIE-SD's: windows of 1×8×8, the first frame at the front, video and text in blocks of their own.
    Mindie,
    /// Windows of any size.
    Windows {
        /// Frames, rows and columns of a window.
        size: [usize; 3],
        /// Whether windows cover the grid, those at its edges being smaller blocks; else the tokens that fill no window
        /// follow in raster order, rows before columns before frames.
        padded: bool,
    },
    /// Frame by frame, row by row, as tokens usually lie in memory.
    Raster,
    /// As [`Order::Raster`], every other row and frame backwards.
    Zigzag,
    /// Z-order: a box is halved along frames, rows and columns in turn.
    Morton,
    /// A Hilbert curve through a grid of any size.
    Hilbert,
    /// The caller's own: the index in memory of the token at each position, each token once, -1 for none. It walks q, k and
    /// v alike.
    Table(Arc<[i32]>),
}

impl Order {
    /// As written on the command line and in files: `paper`, `mindie`, `windows-2x8x8`, `padded-2x8x8`, `raster`,
    /// `zigzag`, `morton`, `hilbert`, `table`.
    pub fn name(&self) -> String {
        self.to_string()
    }

    /// Whether the clips and the text of a sequence fill blocks of their own.
    pub(super) fn segments_apart(&self) -> bool {
        match self {
            Order::Mindie | Order::Windows { padded: true, .. } => true,
            Order::Paper
            | Order::Windows { padded: false, .. }
            | Order::Raster
            | Order::Zigzag
            | Order::Morton
            | Order::Hilbert
            | Order::Table(_) => false,
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Paper => f.write_str("paper"),
            Order::Mindie => f.write_str("mindie"),
            Order::Raster => f.write_str("raster"),
            Order::Zigzag => f.write_str("zigzag"),
            Order::Morton => f.write_str("morton"),
            Order::Hilbert => f.write_str("hilbert"),
            Order::Table(_) => f.write_str("table"),
            Order::Windows { size: [frames, rows, columns], padded } => {
                write!(f, "{}-{frames}x{rows}x{columns}", if *padded { "padded" } else { "windows" })
            }
        }
    }
}

/// How many key blocks each row keeps beside the always-kept ones. One number serves all heads, or there is one for each.
#[derive(Clone, Debug, PartialEq)]
pub enum Budget {
    /// By number: the ⌈blocks · (1 − s)⌉ best, for sparsities s in `[0, 1)` (section 3.2).
    Sparsity(Vec<f64>),
    /// By probability: the fewest, best first, whose softmax mass reaches τ in `(0, 1]`. 1 keeps all.
    Mass(Vec<f64>),
}

impl Budget {
    /// The same sparsity for all heads.
    pub fn sparsity(s: f64) -> Self {
        Budget::Sparsity(vec![s])
    }

    /// The same softmax mass for all heads.
    pub fn mass(mass: f64) -> Self {
        Budget::Mass(vec![mass])
    }

    /// As an argument is named in messages: `sparsity` or `mass`.
    pub fn name(&self) -> &'static str {
        match self {
            Budget::Sparsity(_) => "sparsity",
            Budget::Mass(_) => "mass",
        }
    }

    /// Its numbers: one, or one a head.
    pub fn values(&self) -> &[f64] {
        match self {
            Budget::Sparsity(values) | Budget::Mass(values) => values,
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Very small numbers are written with an exponent.
        let short = |x: &f64| if *x > 0.0 && *x < 1e-6 { format!("{x:e}") } else { x.to_string() };
        let values: Vec<String> = self.values().iter().map(short).collect();
        write!(f, "{} {}", self.name(), values.join(", "))
    }
}

/// Options of [`crate::rainfusion`].
#[derive(Clone, Debug)]
pub struct RainFusion {
    /// Frames, rows and columns of the video's tokens.
    pub grid: [usize; 3],
    /// Further videos behind the first, each with a grid of its own.
    pub further: Vec<[usize; 3]>,
    /// Text tokens beside the video.
    pub text: usize,
    /// Whether text comes after the video in memory, not before it.
    pub text_last: bool,
    /// What k and v hold, where it is not what q holds.
    pub keys: Option<Sequence>,
    /// The walk through the tokens.
    pub order: Order,
    /// With [`Order::Paper`]: protect exactly the blocks that the reference implementation protects, even where it misses
    /// some tokens. The other orders protect no more in the reference than here.
    pub compat: bool,
    /// How much is kept.
    pub budget: Budget,
    /// Tokens a block.
    pub block: usize,
    /// Whether the first frame's rows and columns are always kept (section 3.4); by default unless a video has one frame
    /// only, where that would keep everything.
    pub sink: Option<bool>,
    /// Walk a video's first frame by itself behind its other frames, in raster order, so that the blocks it protects hold
    /// little else. [`Order::Paper`], [`Order::Mindie`] and [`Order::Raster`] have it apart already, and a table is taken
    /// as it is.
    pub first_apart: bool,
    /// The factor of the logits; `D^-½` by default.
    pub scale: Option<f32>,
    /// With [`Order::Paper`] and an even number of frames: walk the last frame alone, in windows of 1×8×8.
    pub lone_last: bool,
}

impl RainFusion {
    /// The paper's options for a grid without text: 80 % sparsity, blocks of 128 tokens.
    pub fn new(grid: [usize; 3]) -> Self {
        Self {
            grid,
            further: Vec::new(),
            text: 0,
            text_last: false,
            keys: None,
            order: Order::Paper,
            compat: false,
            budget: Budget::sparsity(0.8),
            block: 128,
            sink: None,
            first_apart: false,
            scale: None,
            lone_last: false,
        }
    }

    /// What q holds.
    pub fn query_tokens(&self) -> Sequence {
        let clips = std::iter::once(self.grid).chain(self.further.iter().copied()).collect();
        Sequence { clips, text: self.text, text_last: self.text_last }
    }

    /// What k and v hold.
    pub fn key_tokens(&self) -> Sequence {
        self.keys.clone().unwrap_or_else(|| self.query_tokens())
    }

    /// Whether a first frame of the queries is protected.
    pub fn sink(&self) -> bool {
        self.query_tokens().clips.iter().any(|clip| self.sink_of(clip[0]))
    }

    /// Whether the first frame of a video of `frames` is protected.
    pub(super) fn sink_of(&self, frames: usize) -> bool {
        self.sink.unwrap_or(frames > 1)
    }

    /// Whether the first frame of a video of `frames` is walked by itself, where the order would not have it so.
    pub(super) fn splits(&self, frames: usize) -> bool {
        let mixes = match &self.order {
            Order::Paper | Order::Mindie | Order::Raster | Order::Table(_) => false,
            Order::Windows { .. } | Order::Zigzag | Order::Morton | Order::Hilbert => true,
        };
        mixes && self.first_apart && frames > 1
    }

    /// The factor of the logits for heads of `head_dim`.
    pub fn scale(&self, head_dim: usize) -> f32 {
        self.scale.unwrap_or_else(|| (1.0 / (head_dim as f64).sqrt()) as f32)
    }

    /// What each block of the queries' walk holds that is always kept.
    pub fn protection(&self, order: &[i32]) -> Vec<Protection> {
        self.query_tokens().protection(self, order)
    }

    /// The same along the keys' walk.
    pub fn key_protection(&self, order: &[i32]) -> Vec<Protection> {
        self.key_tokens().protection(self, order)
    }
}
