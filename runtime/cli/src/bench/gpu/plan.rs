//! What is measured on a GPU, as a table: shapes, masks, and which peers have an answer to each. It measures nothing.

use super::peers::Peer;

/// Tokens a block of a mask.
pub(super) const BLOCK: usize = 128;

/// Which keys a query attends to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Keep {
    All,
    /// Those at or before its own position.
    Causal,
    /// This part of the key blocks, others in each row.
    Part(f64),
    /// The same, and rows and columns of so many last blocks in full, as RainFusion2.0 keeps the first frame.
    Protected(f64, usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Attention {
    pub heads: usize,
    pub tokens: usize,
    pub channels: usize,
    pub keep: Keep,
}

/// Rows of a matrix, by what happens to them. All are bound by memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Softmax,
    RmsNorm,
    /// Means of each 128 rows.
    Means,
    /// Rows in the order of a walk through windows.
    Permute,
    Copy,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Work {
    Attention(Attention),
    /// The whole of RainFusion2.0: heads, channels and a grid, the part that is skipped.
    Operator {
        grid: [usize; 3],
        heads: usize,
        channels: usize,
        sparsity: f64,
    },
    /// A square matrix product.
    Product(usize),
    /// Rows and columns of bf16.
    Rows {
        kind: Kind,
        rows: usize,
        columns: usize,
    },
    /// From text to a kernel that has run once.
    Compile,
    /// What the host does for a launch of so many numbers.
    Launch(usize),
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spec {
    /// What `--only` takes, beside parts of `what`.
    pub case: &'static str,
    pub what: String,
    pub work: Work,
}

/// A peer's way to do the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Offer {
    pub peer: Peer,
    /// What its script calls it.
    pub op: &'static str,
    pub label: &'static str,
}

const HEADS: usize = 40;
/// Latent grids of the Wan models' videos at 81 frames, and what they are called.
const VIDEOS: [([usize; 3], &str); 2] = [([21, 30, 52], "480p"), ([21, 45, 80], "720p")];

/// All that is measured.
pub(super) fn specs() -> Vec<Spec> {
    let mut all = Vec::new();
    let mut attention = |case, keep: &dyn Fn([usize; 3]) -> Keep, channels, videos: bool| {
        let grids = VIDEOS.iter().filter(|_| videos).map(|(grid, name)| (HEADS, *grid, format!(" ({name})")));
        for (heads, grid, name) in [(16, [16, 32, 32], String::new())].into_iter().chain(grids) {
            let (tokens, keep) = (grid.iter().product(), keep(grid));
            let kept = match keep {
                Keep::All => String::new(),
                Keep::Causal => ", causal".into(),
                Keep::Part(part) => format!(", {:.0} % skipped", 100.0 * (1.0 - part)),
                Keep::Protected(part, _) => format!(", {:.0} % skipped but first frame", 100.0 * (1.0 - part)),
            };
            let what = format!("attention{kept}, H{heads} N{tokens} D{channels}{name}");
            all.push(Spec { case, what, work: Work::Attention(Attention { heads, tokens, channels, keep }) });
        }
    };
    attention("dense", &|_| Keep::All, 128, true);
    attention("d64", &|_| Keep::All, 64, false);
    attention("causal", &|_| Keep::Causal, 128, false);
    for part in [0.2, 0.1] {
        attention("sparse", &|_| Keep::Part(part), 128, true);
        attention("protected", &|[_, y, x]| Keep::Protected(part, (y * x).div_ceil(BLOCK)), 128, true);
    }
    for (grid, name) in VIDEOS {
        for sparsity in [0.8, 0.9] {
            let what = format!("RainFusion2.0, {:.0} %, H{HEADS} D128 ({name})", 100.0 * sparsity);
            let work = Work::Operator { grid, heads: HEADS, channels: 128, sparsity };
            all.push(Spec { case: "rainfusion", what, work });
        }
    }
    for n in [4096, 8192] {
        all.push(Spec { case: "gemm", what: format!("matmul {n}³"), work: Work::Product(n) });
    }
    all.extend(memory(65_536, 4096));
    all.push(Spec { case: "compile", what: "attention, text to having run, cold".into(), work: Work::Compile });
    all.push(Spec {
        case: "launch",
        what: "vector_add of 1024, called and waited for".into(),
        work: Work::Launch(1024),
    });
    all
}

/// Kernels that are bound by memory, over a matrix; of a permutation a row is 128 numbers.
fn memory(rows: usize, columns: usize) -> Vec<Spec> {
    let spec = |kind| {
        let (name, rows, columns) = match kind {
            Kind::Softmax => ("softmax", rows, columns),
            Kind::RmsNorm => ("RMS norm", rows, columns),
            Kind::Means => ("block means of 128", rows * columns / 128, 128),
            Kind::Permute => ("permutation into windows", rows * columns / 128, 128),
            Kind::Copy => ("copy", rows, columns),
        };
        let what = format!("{name}, {rows} × {columns}");
        Spec { case: "memory", what, work: Work::Rows { kind, rows, columns } }
    };
    [Kind::Softmax, Kind::RmsNorm, Kind::Means, Kind::Permute, Kind::Copy].map(spec).into()
}

/// The names of all cases.
pub(super) fn cases() -> Vec<&'static str> {
    let mut cases: Vec<&str> = specs().iter().map(|s| s.case).collect();
    cases.dedup();
    cases.sort_unstable();
    cases.dedup();
    cases
}

/// Those that are asked for: by their case, or by a part of what they are. All, if nothing is asked for.
pub(super) fn chosen(only: &[String]) -> Vec<Spec> {
    let asked = |spec: &Spec| only.is_empty() || only.iter().any(|o| spec.case == o || spec.what.contains(o.as_str()));
    specs().into_iter().filter(asked).collect()
}

impl Work {
    /// Arithmetic or bytes that the problem needs, as far as the table knows: without a mask's own choice.
    pub(super) fn amount(&self) -> Option<(f64, &'static str)> {
        match self {
            Work::Attention(a) => {
                let part = match a.keep {
                    Keep::All => 1.0,
                    Keep::Causal => 0.5,
                    Keep::Part(part) | Keep::Protected(part, _) => part,
                };
                Some((4.0 * part * a.heads as f64 * (a.tokens * a.tokens * a.channels) as f64, "FLOP"))
            }
            Work::Operator { grid, heads, channels, sparsity } => {
                let tokens: usize = grid.iter().product();
                Some((4.0 * (1.0 - sparsity) * *heads as f64 * (tokens * tokens * channels) as f64, "FLOP"))
            }
            Work::Product(n) => Some((2.0 * (n * n * n) as f64, "FLOP")),
            Work::Rows { kind, rows, columns } => Some((kind.passes() * (2 * rows * columns) as f64, "B")),
            Work::Compile | Work::Launch(_) => None,
        }
    }

    /// Bytes of this side's tensors.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Work::Attention(Attention { heads, tokens, channels, .. }) => 4 * 2 * heads * tokens * channels,
            Work::Operator { grid, heads, channels, .. } => 5 * 2 * heads * grid.iter().product::<usize>() * channels,
            Work::Product(n) => 3 * 2 * n * n,
            Work::Rows { rows, columns, .. } => 2 * 2 * rows * columns,
            Work::Compile => 0,
            Work::Launch(n) => 3 * 4 * n,
        }
    }

    /// Who can be measured beside it, and how.
    pub(super) fn offers(&self) -> Vec<Offer> {
        let offer = |peer, op, label| Offer { peer, op, label };
        let cudnn = offer(Peer::Torch, "sdpa", "SDPA, cuDNN");
        let fa3 = offer(Peer::Fa3, "fa3", "FlashAttention-3");
        let fa4 = offer(Peer::Fa4, "fa4", "FlashAttention-4 CuTe");
        let triton = offer(Peer::Triton, "triton_attention", "attention in Triton");
        match self {
            Work::Attention(a) => match a.keep {
                Keep::All => vec![cudnn, fa3, fa4, triton],
                Keep::Causal => vec![cudnn, fa3, fa4],
                Keep::Part(_) | Keep::Protected(..) => {
                    vec![offer(Peer::Torch, "flex", "flex_attention, compiled"), fa4, triton]
                }
            },
            Work::Operator { .. } => vec![cudnn],
            Work::Product(_) => vec![
                offer(Peer::Torch, "matmul", "cuBLAS"),
                offer(Peer::Triton, "triton_matmul", "matrix product in Triton"),
            ],
            Work::Rows { kind, .. } => {
                let copy = offer(Peer::Torch, "copy", "a copy, by bytes");
                match kind {
                    Kind::Softmax => vec![copy, offer(Peer::Torch, "softmax", "softmax")],
                    Kind::RmsNorm => vec![copy, offer(Peer::Torch, "rms_norm", "rms_norm")],
                    Kind::Permute => vec![copy, offer(Peer::Torch, "gather", "index_select")],
                    Kind::Means | Kind::Copy => vec![copy],
                }
            }
            Work::Compile => vec![offer(Peer::Triton, "cold", "the same in Triton")],
            Work::Launch(_) => vec![offer(Peer::Torch, "add", "add, out given")],
        }
    }
}

impl Kind {
    /// How often as much as the matrix is read or written.
    pub(super) fn passes(self) -> f64 {
        match self {
            Kind::Means => 1.0,
            Kind::Softmax | Kind::RmsNorm | Kind::Permute | Kind::Copy => 2.0,
        }
    }
}

/// The table as lines: what is measured, how much there is to do, bytes of tensors, beside whom.
pub(super) fn shown(specs: &[Spec]) -> Vec<Vec<String>> {
    let head = ["case: what", "to do", "tensors", "beside"].map(str::to_owned).to_vec();
    let row = |spec: &Spec| {
        let amount = spec.work.amount().map_or_else(String::new, |(n, unit)| match unit {
            "B" => format!("{:.2} GB", n / 1e9),
            _ => format!("{:.2} T{unit}", n / 1e12),
        });
        let labels: Vec<&str> = spec.work.offers().iter().map(|o| o.label).collect();
        let bytes = format!("{:.2} GB", spec.work.bytes() as f64 / 1e9);
        vec![format!("{}: {}", spec.case, spec.what), amount, bytes, labels.join("; ")]
    };
    std::iter::once(head).chain(specs.iter().map(row)).collect()
}

#[cfg(test)]
mod tests {
    use super::{Attention, Keep, Kind, Work, cases, chosen, shown, specs};

    #[test]
    fn the_table_has_the_shapes_that_targets_are_set_for() {
        let all = specs();
        let has = |work: &Work| all.iter().any(|s| s.work == *work);
        for (heads, tokens) in [(16, 16_384), (40, 32_760), (40, 75_600)] {
            for keep in [Keep::All, Keep::Part(0.2), Keep::Part(0.1)] {
                assert!(
                    has(&Work::Attention(Attention { heads, tokens, channels: 128, keep })),
                    "{heads} {tokens} {keep:?}"
                );
            }
        }
        let frame = Keep::Protected(0.2, 29);
        assert!(has(&Work::Attention(Attention { heads: 40, tokens: 75_600, channels: 128, keep: frame })));
        assert!(has(&Work::Product(8192)));
        for spec in &all {
            // Large enough that caches hold no part of it, and small enough for any supported GPU's peers beside it.
            let bytes = spec.work.bytes();
            assert!(bytes < 5 << 30, "{}", spec.what);
            assert!(!matches!(spec.work, Work::Rows { .. }) || bytes >= 256 << 20, "{}", spec.what);
            assert!(!spec.work.offers().is_empty(), "{}", spec.what);
        }
        let names: std::collections::BTreeSet<&str> = all.iter().map(|s| s.what.as_str()).collect();
        assert_eq!(names.len(), all.len(), "no two lines are called the same");
    }

    #[test]
    fn amounts_are_of_the_problem() {
        let attention = |keep| Work::Attention(Attention { heads: 2, tokens: 100, channels: 64, keep });
        assert_eq!(attention(Keep::All).amount(), Some((4.0 * 2.0 * 100.0 * 100.0 * 64.0, "FLOP")));
        assert_eq!(attention(Keep::Causal).amount(), Some((2.0 * 2.0 * 100.0 * 100.0 * 64.0, "FLOP")));
        let rows = |kind| Work::Rows { kind, rows: 10, columns: 4 }.amount();
        assert_eq!((rows(Kind::Means), rows(Kind::Copy)), (Some((80.0, "B")), Some((160.0, "B"))));
    }

    #[test]
    fn lines_are_chosen_by_case_or_by_their_words() {
        assert_eq!(chosen(&[]).len(), specs().len());
        assert!(chosen(&["sparse".into()]).iter().all(|s| s.case == "sparse"));
        assert!(chosen(&["720p".into()]).len() > 4 && chosen(&["nothing".into()]).is_empty());
        assert!(cases().contains(&"dense") && cases().contains(&"launch"));
        assert_eq!(shown(&specs()).len(), specs().len() + 1);
    }
}
