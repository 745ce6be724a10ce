//! Cases drawn from a seed: options, shapes, dtypes and layouts together, small enough for the reference. Cases are always
//! valid; what is refused is tested elsewhere.

use std::sync::Arc;

use pantile::{DType, Tensor};
use pantile_kernels::{Budget, Order, RainFusion, Sequence};

use crate::draw::Draw;

/// Options and tensors that fit together.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it is drawn from.
    pub seed: u64,
    /// The options.
    pub options: RainFusion,
    /// Batches, heads, key heads.
    pub heads: [usize; 3],
    /// Numbers a token.
    pub dim: usize,
    /// What q, k and v hold.
    pub dtype: DType,
    /// How q, k and v lie in memory.
    pub layouts: [Layout; 3],
    /// The largest magnitude in q and k.
    pub size: f64,
}

/// How a tensor `[B, H, N, D]` lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Row-major.
    Bnsd,
    /// `[B, N, H, D]`.
    Bsnd,
    /// The middle of `[B, N, 3, H, D]`.
    Packed,
    /// `[B, H, D, N]`.
    Turned,
}

/// What a case may show; every one of these must be drawn.
pub const FEATURES: &[&str] = &[
    "paper",
    "compat",
    "lone last frame",
    "mindie",
    "remainder windows",
    "padded windows",
    "raster",
    "zigzag",
    "morton",
    "hilbert",
    "table",
    "ragged",
    "image",
    "text before",
    "text after",
    "no text",
    "sink on",
    "sink off",
    "several videos",
    "other keys",
    "batch",
    "grouped heads",
    "sparsity",
    "sparsity by head",
    "mass",
    "mass by head",
    "scale",
    "sharp",
    "f32",
    "f16",
    "bf16",
    "BSND",
    "packed",
    "turned",
    "D 32",
    "D 64",
    "D 128",
    "D 256",
    "other D",
    "one block",
    "blocks of 128",
];

impl Case {
    /// The case of a seed; of at most so many products in each of attention's two dots.
    pub fn draw(seed: u64, most: usize) -> Self {
        let mut draw = Draw::new(seed);
        // Drawn first, so that large heads are not rarer than small ones; what is too large then is drawn again.
        let dim = draw.pick(&[32, 32, 32, 64, 64, 128, 256, 40, 5]);
        loop {
            let case = Self::any(&mut draw, seed, dim);
            let [batch, heads, _] = case.heads;
            let tokens = |s: &Sequence| s.tokens().expect("few");
            let pairs = tokens(&case.options.query_tokens()) * tokens(&case.options.key_tokens());
            if batch * heads * pairs * case.dim <= most {
                return case;
            }
        }
    }

    fn any(draw: &mut Draw, seed: u64, dim: usize) -> Self {
        let mut order = order(draw);
        let lone_last = order == Order::Paper && draw.percent(40);
        let odd = order == Order::Paper && !lone_last;
        let own = sequence(draw, odd);
        let mut keys = draw.percent(25).then(|| sequence(draw, odd));
        if let Order::Table(table) = &mut order {
            let gaps = draw.percent(50);
            *table = draw.walk(own.tokens().expect("few"), gaps).into();
            keys = None;
        }
        let compat = order == Order::Paper && own.clips.len() == 1 && keys.is_none() && draw.percent(50);
        let groups = draw.pick(&[1, 1, 1, 2]);
        let heads = groups * draw.pick(&[1, 1, 2, 3]);
        let options = RainFusion {
            further: own.clips[1..].to_vec(),
            text: own.text,
            text_last: own.text_last,
            keys,
            order,
            compat,
            budget: budget(draw, heads),
            block: draw.pick(&[8, 16, 16, 32, 32, 32, 64, 128, 24]),
            sink: draw.pick(&[None, None, Some(false), Some(true)]),
            scale: if draw.percent(20) { Some(0.05 + 0.3 * draw.unit() as f32) } else { None },
            lone_last,
            ..RainFusion::new(own.clips[0])
        };
        let layouts = [Layout::Bnsd, Layout::Bnsd, Layout::Bsnd, Layout::Bsnd, Layout::Packed, Layout::Turned];
        let layout = draw.pick(&layouts);
        Self {
            seed,
            options,
            heads: [draw.pick(&[1, 1, 2]), heads, groups],
            dim,
            dtype: draw.pick(&[DType::F32, DType::F32, DType::F32, DType::BF16, DType::F16]),
            size: draw.pick(&[1.5, 1.5, 1.5, 1.5, 16.0]),
            layouts: if draw.percent(80) { [layout; 3] } else { [(); 3].map(|()| draw.pick(&layouts)) },
        }
    }

    /// q, k and v; others for another `salt`.
    pub fn inputs(&self, salt: u64) -> [Tensor; 3] {
        let mut draw = Draw::new(self.seed ^ salt << 40 ^ 0x5EED << 48);
        let [batch, heads, groups] = self.heads;
        let n = self.options.query_tokens().tokens().expect("few");
        let m = self.options.key_tokens().tokens().expect("few");
        [(heads, n, self.size), (groups, m, self.size), (groups, m, 1.0)]
            .into_iter()
            .zip(self.layouts)
            .map(|((heads, count, size), layout)| {
                layout.noise(&mut draw, self.dtype, [batch, heads, count, self.dim], size)
            })
            .collect::<Vec<_>>()
            .try_into()
            .expect("three")
    }

    /// The largest magnitude of a logit that q and k of this size allow, but for luck.
    fn logits(&self) -> f64 {
        f64::from(self.options.scale(self.dim)) * self.dim as f64 * self.size * self.size / 3.0
    }

    /// How far log-sum-exps may be from the reference: rounding of logits to f32.
    pub fn tolerance_lse(&self) -> f64 {
        2e-5 + 1e-6 * self.logits()
    }

    /// How far outputs may be from the reference, for values of at most this magnitude: rounding of probabilities and of the
    /// output to the dtype, and of logits and sums to f32.
    pub fn tolerance(&self, largest: f64) -> f64 {
        let bits = [(DType::BF16, -8), (DType::F16, -11)].into_iter().find(|(dtype, _)| *dtype == self.dtype);
        let rounding = bits.map_or(0.0, |(_, bits)| 2f64.powi(bits));
        (1.05 * rounding + self.tolerance_lse()) * largest
    }

    /// What of [`FEATURES`] it shows.
    pub fn features(&self) -> Vec<&'static str> {
        let options = &self.options;
        let (own, keys) = (options.query_tokens(), options.key_tokens());
        let clips = || own.clips.iter().chain(&keys.clips);
        let by_head = options.budget.values().len() > 1;
        let even = clips().any(|[f, ..]| f.is_multiple_of(2));
        let (paper, padded) =
            (options.order == Order::Paper, matches!(options.order, Order::Windows { padded: true, .. }));
        let shows = [
            ("paper", paper),
            ("compat", options.compat),
            ("lone last frame", options.lone_last && even),
            ("mindie", options.order == Order::Mindie),
            ("remainder windows", matches!(options.order, Order::Windows { padded: false, .. })),
            ("padded windows", padded),
            ("raster", options.order == Order::Raster),
            ("zigzag", options.order == Order::Zigzag),
            ("morton", options.order == Order::Morton),
            ("hilbert", options.order == Order::Hilbert),
            ("table", matches!(options.order, Order::Table(_))),
            ("ragged", clips().any(|[_, y, x]| y % 8 != 0 && x % 8 != 0 && *y > 8 && *x > 8)),
            ("image", clips().any(|[f, ..]| *f == 1)),
            ("text before", own.text > 0 && !own.text_last),
            ("text after", own.text > 0 && own.text_last),
            ("no text", own.text == 0),
            ("sink on", options.sink()),
            ("sink off", !options.sink()),
            ("several videos", own.clips.len() > 1),
            ("other keys", options.keys.is_some()),
            ("batch", self.heads[0] > 1),
            ("grouped heads", self.heads[1] > self.heads[2]),
            ("sparsity", matches!(options.budget, Budget::Sparsity(_)) && !by_head),
            ("sparsity by head", matches!(options.budget, Budget::Sparsity(_)) && by_head),
            ("mass", matches!(options.budget, Budget::Mass(_)) && !by_head),
            ("mass by head", matches!(options.budget, Budget::Mass(_)) && by_head),
            ("scale", options.scale.is_some()),
            ("sharp", self.size > 10.0),
            ("f32", self.dtype == DType::F32),
            ("f16", self.dtype == DType::F16),
            ("bf16", self.dtype == DType::BF16),
            ("BSND", self.layouts.contains(&Layout::Bsnd)),
            ("packed", self.layouts.contains(&Layout::Packed)),
            ("turned", self.layouts.contains(&Layout::Turned)),
            ("D 32", self.dim == 32),
            ("D 64", self.dim == 64),
            ("D 128", self.dim == 128),
            ("D 256", self.dim == 256),
            ("other D", !self.dim.is_multiple_of(32)),
            ("one block", !padded && own.tokens().is_some_and(|n| n <= options.block)),
            ("blocks of 128", options.block == 128),
        ];
        shows.into_iter().filter(|(_, shown)| *shown).map(|(name, _)| name).collect()
    }
}

impl Layout {
    /// A tensor of noise that lies so.
    fn noise(self, draw: &mut Draw, dtype: DType, [b, h, n, d]: [usize; 4], size: f64) -> Tensor {
        let mut of = |shape: &[usize]| {
            let data = draw.noise(shape.iter().product(), size);
            Tensor::from_f32(dtype, shape, &data).expect("a tensor")
        };
        let seen = match self {
            Layout::Bnsd => Ok(of(&[b, h, n, d])),
            Layout::Bsnd => of(&[b, n, h, d]).permute(&[0, 2, 1, 3]),
            Layout::Packed => of(&[b, n, 3 * h, d]).slice(2, h..2 * h).and_then(|t| t.permute(&[0, 2, 1, 3])),
            Layout::Turned => of(&[b, h, d, n]).permute(&[0, 1, 3, 2]),
        };
        seen.expect("a view")
    }
}

fn order(draw: &mut Draw) -> Order {
    let size = [draw.number(1..=3), draw.number(1..=9), draw.number(1..=9)];
    let padded = draw.percent(50);
    draw.pick(&[
        Order::Paper,
        Order::Paper,
        Order::Paper,
        Order::Mindie,
        Order::Mindie,
        Order::Windows { size, padded },
        Order::Windows { size, padded },
        Order::Windows { size: [2, 8, 8], padded },
        Order::Raster,
        Order::Zigzag,
        Order::Morton,
        Order::Hilbert,
        Order::Table(Arc::new([])),
    ])
}

fn sequence(draw: &mut Draw, odd: bool) -> Sequence {
    let clips = (0..draw.pick(&[1, 1, 1, 2, 3])).map(|_| clip(draw, odd)).collect();
    let text = if draw.percent(40) { 0 } else { draw.number(1..=40) };
    Sequence { clips, text, text_last: draw.percent(50) }
}

fn clip(draw: &mut Draw, odd: bool) -> [usize; 3] {
    let sides = [1, 2, 5, 7, 8, 8, 9, 10, 11, 13, 16, 17, 20];
    let frames = if odd { draw.pick(&[1, 3, 3, 5, 7]) } else { draw.number(1..=6) };
    [frames, draw.pick(&sides), draw.pick(&sides)]
}

fn budget(draw: &mut Draw, heads: usize) -> Budget {
    let (by_mass, by_head) = (draw.percent(40), draw.percent(50));
    let count = if by_head { heads } else { 1 };
    let value = |draw: &mut Draw| {
        let any = (draw.unit() * 1000.0).round() / 1000.0;
        let even = if by_mass { [0.25, 0.5, 0.9, 1.0] } else { [0.0, 0.7, 0.8, 0.95] };
        let value = if draw.percent(50) { draw.pick(&even) } else { any };
        if by_mass { value.max(0.001) } else { value.min(0.999) }
    };
    let values = (0..count).map(|_| value(draw)).collect();
    if by_mass { Budget::Mass(values) } else { Budget::Sparsity(values) }
}
