//! The options of `pantile rainfusion`, and what they make of a file's metadata. Whether options and tensors fit together is
//! the kernels crate's business.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use pantile::{DType, Device, Error, TensorFile};
use pantile_kernels::{Budget, Order, RainFusion, Sequence};

use super::order;
use crate::device::On;
use crate::failure::{Failure, Outcome, input};
use crate::options::{Grids, Numbers, count, number, operand_dtype};
use crate::screen;
use crate::target::{self, Target};

/// Runs RainFusion2.0 block-sparse attention and compares it with dense attention.
///
/// The input holds `q`, `k` and `v` as [B, H, N, D] (f32, f16 or bf16); k and v may have fewer heads and other tokens. Its
/// metadata may hold `grid`, `text`, `keys_grid`, `keys_text` and `layout`. Without --input, tokens of a short clip are used.
///
/// The output holds `out` (the input's layout and dtype), `lse` (f32 [B, H, N], the natural log-sum-exp), `mask` (u8
/// [B, H, NQ, NK]) and `order` (i32: the token at each position of the walk); where blocks are padded, also `walk` (as
/// `order`, with -1); where keys differ, also `key_order`.
#[derive(clap::Args)]
#[command(after_help = "Orders:
  paper            windows of 2x8x8, the first frame last
  mindie           windows of 1x8x8, the first frame first, text in blocks of its own
  windows-FxYxX    windows of any size; tokens that fill none come after them
  padded-FxYxX     windows of any size that cover the grid
  raster           as in memory
  zigzag, morton, hilbert, or an order of --order-file, as `name` or `name(n: 4)`

Examples:
  pantile rainfusion
  pantile rainfusion --input qkv.safetensors --grid 21,30,52 --sparsity 0.9
  pantile rainfusion --mass 0.9 --order windows-4x4x8 --output out.safetensors
  pantile rainfusion --order-file walks.tile --order 'spiral(turns: 3)'
  pantile rainfusion --mask-out mask.safetensors
  pantile rainfusion --mask-in mask.safetensors --output out.safetensors
  pantile rainfusion --report report/ --quality")]
pub(crate) struct Options {
    /// A safetensors file with `q`, `k` and `v`.
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub(super) input: Option<PathBuf>,
    /// Frames, rows and columns of the video's tokens, of several with `+` [default: the file's].
    #[arg(long, value_name = "F,Y,X[+F,Y,X…]", allow_hyphen_values = true, help_heading = "Input")]
    grid: Option<Grids>,
    /// Text tokens beside the video [default: the file's, or 0].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count, help_heading = "Input")]
    text: Option<usize>,
    /// Text follows the video in memory, in k and v too, where it otherwise precedes it.
    #[arg(long, help_heading = "Input")]
    text_last: bool,
    /// As --grid, for k and v where they hold other tokens than q [default: the file's, or q's].
    #[arg(long, value_name = "F,Y,X[+F,Y,X…]", allow_hyphen_values = true, help_heading = "Input")]
    keys_grid: Option<Grids>,
    /// Text tokens in k and v, with --keys-grid [default: the file's, or 0].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count, help_heading = "Input")]
    keys_text: Option<usize>,
    /// How the file lays out its axes [default: the file's, or bnsd].
    #[arg(long, value_enum, help_heading = "Input")]
    layout: Option<Layout>,
    /// Computes in this dtype [default: the file's].
    #[arg(long, value_name = "f32|f16|bf16", value_parser = operand_dtype, help_heading = "Input")]
    pub(super) dtype: Option<DType>,

    /// The walk through the tokens, see below [default: paper].
    #[arg(long, visible_alias = "dialect", help_heading = "Method")]
    pub(super) order: Option<String>,
    /// A source file whose orders --order may name.
    #[arg(long, value_name = "FILE.tile", requires = "order", help_heading = "Method")]
    order_file: Option<PathBuf>,
    /// The part of key blocks that a row may skip, in [0, 1); one number, or one a head [default: 0.8].
    #[arg(long, value_name = "S[,S…]", allow_hyphen_values = true, conflicts_with = "mass", help_heading = "Method")]
    sparsity: Option<Numbers>,
    /// Keeps a row's best blocks until their probability reaches this, in (0, 1], instead; one number, or one a head.
    #[arg(long, value_name = "M[,M…]", allow_hyphen_values = true, help_heading = "Method")]
    mass: Option<Numbers>,
    /// Attends by the `mask` of this file, which --mask-out or --output wrote, and predicts none.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sparsity", "mass", "quality"], help_heading = "Method")]
    pub(super) mask_in: Option<PathBuf>,
    /// Tokens a block, 8 to 1024.
    #[arg(
        long,
        default_value = "128",
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = count,
        help_heading = "Method"
    )]
    block: usize,
    /// Whether the first frame is always kept [default: on, but off for a single frame].
    #[arg(long, value_enum, value_name = "on|off", hide_possible_values = true, help_heading = "Method")]
    sink: Option<Switch>,
    /// With windows, zigzag, morton or hilbert: walks the first frame by itself, behind the other frames.
    #[arg(long, help_heading = "Method")]
    first_apart: bool,
    /// Protects exactly the blocks that the paper's reference implementation protects.
    #[arg(long, help_heading = "Method")]
    compat: bool,
    /// With an even number of frames in the paper's order: walks the last frame alone.
    #[arg(long, help_heading = "Method")]
    lone_last: bool,
    /// The factor of the logits [default: 1/√D].
    #[arg(
        long,
        value_name = "X",
        allow_negative_numbers = true,
        value_parser = number::<f32>,
        help_heading = "Method"
    )]
    scale: Option<f32>,

    #[command(flatten)]
    pub(super) on: On,
    /// Computes dense attention too. The sample on the cpu is always compared.
    #[arg(long, help_heading = "Running")]
    pub(super) compare_dense: bool,
    /// Timed runs; the median counts [default: 9, on interp 1].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count, help_heading = "Running")]
    pub(super) runs: Option<usize>,

    /// Writes `out`, `lse`, `mask` and `order`.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(super) output: Option<PathBuf>,
    /// Writes `mask` alone, for --mask-in.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(super) mask_out: Option<PathBuf>,
    /// Writes a picture of each head's mask and a page with all numbers.
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(super) report: Option<PathBuf>,
    /// Measures how far the output is from dense attention, over sparsities and orders; plotted with --report.
    #[arg(long, help_heading = "Output")]
    pub(super) quality: bool,
    /// Says all numbers as one JSON object.
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// Which of heads and tokens is the outer axis.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(super) enum Layout {
    Bnsd,
    Bsnd,
}

impl Options {
    pub(super) fn layout(&self, file: &TensorFile) -> Result<Layout, Failure> {
        match (self.layout, file.metadata().get("layout")) {
            (Some(layout), _) => Ok(layout),
            (None, None) => Ok(Layout::Bnsd),
            (None, Some(text)) => Layout::from_str(text, true)
                .map_err(|_| Failure::Input(format!("`--layout`: the file says `{text}`; it must be BNSD or BSND"))),
        }
    }

    /// The walk, for options that fit the tokens.
    pub(super) fn walk(&self, config: &RainFusion, device: &Device) -> Result<order::Named, Failure> {
        order::parse(self.order.as_deref().unwrap_or("paper"), self.order_file.as_deref(), config, device)
    }

    /// The operator's options, but for the walk: that is made when the tokens are known to be there.
    pub(super) fn configure(&self, file: &TensorFile) -> Result<RainFusion, Failure> {
        let Some(grids) = self.grids("grid", self.grid.as_ref(), file, "grid")? else {
            return input("`--grid`: the file does not say it; give `--grid F,Y,X`");
        };
        let Some((first, further)) = grids.0.split_first() else {
            return input("`--grid`: no grid is given; give `--grid F,Y,X`");
        };
        let text = self.tokens("text", self.text, file, "text")?.unwrap_or(0);
        Ok(RainFusion {
            further: further.to_vec(),
            text,
            text_last: self.text_last,
            keys: self.keys(file)?,
            order: Order::Raster,
            compat: self.compat,
            budget: self.budget(),
            block: self.block,
            sink: self.sink.map(|s| s == Switch::On),
            first_apart: self.first_apart,
            scale: self.scale,
            lone_last: self.lone_last,
            ..RainFusion::new(*first)
        })
    }

    fn budget(&self) -> Budget {
        match (&self.sparsity, &self.mass) {
            (_, Some(mass)) => Budget::Mass(mass.0.clone()),
            (Some(sparsity), None) => Budget::Sparsity(sparsity.0.clone()),
            (None, None) => Budget::sparsity(0.8),
        }
    }

    fn keys(&self, file: &TensorFile) -> Result<Option<Sequence>, Failure> {
        let grids = self.grids("keys-grid", self.keys_grid.as_ref(), file, "keys_grid")?;
        let text = self.tokens("keys-text", self.keys_text, file, "keys_text")?;
        match (grids, text) {
            (Some(grids), text) => {
                Ok(Some(Sequence { clips: grids.0, text: text.unwrap_or(0), text_last: self.text_last }))
            }
            (None, None) => Ok(None),
            (None, Some(_)) => input("`--keys-text`: the grid of k and v is not known; give `--keys-grid F,Y,X`"),
        }
    }

    fn grids(
        &self,
        argument: &str,
        given: Option<&Grids>,
        file: &TensorFile,
        key: &str,
    ) -> Result<Option<Grids>, Failure> {
        match (given, file.metadata().get(key)) {
            (Some(grids), _) => Ok(Some(grids.clone())),
            (None, Some(text)) => match text.parse() {
                Ok(grids) => Ok(Some(grids)),
                Err(why) => input(format!("`--{argument}`: in the file, {why}")),
            },
            (None, None) => Ok(None),
        }
    }

    fn tokens(
        &self,
        argument: &str,
        given: Option<usize>,
        file: &TensorFile,
        key: &str,
    ) -> Result<Option<usize>, Failure> {
        match (given, file.metadata().get(key)) {
            (Some(tokens), _) => Ok(Some(tokens)),
            (None, None) => Ok(None),
            (None, Some(text)) => text.parse().map(Some).map_err(|_| {
                Failure::Input(format!("`--{argument}`: the file says `{text}`, which is no number of tokens"))
            }),
        }
    }

    /// Work takes long: what cannot be written is said before it starts.
    pub(super) fn check_targets(&self) -> Outcome {
        if self.runs == Some(0) {
            return input("`--runs`: at least one run is needed");
        }
        let read = || [&self.input, &self.mask_in, &self.order_file].into_iter().flatten().map(PathBuf::as_path);
        for (argument, path) in [("output", &self.output), ("mask-out", &self.mask_out)] {
            if let Some(path) = path {
                Target::new(argument, path).check(read())?;
            }
        }
        if let (Some(output), Some(mask)) = (&self.output, &self.mask_out)
            && same_place(output, mask)
        {
            return input(format!("`--mask-out`: {} is also the output; name another file", mask.display()));
        }
        self.report.as_deref().map_or(Ok(()), |dir| target::check_folder("report", dir))
    }
}

/// An error about the operator's options, in the words of the command line.
pub(super) fn named(error: Error) -> Failure {
    let Error::Argument { argument, message, .. } = error else { return error.into() };
    let argument = match argument.as_str() {
        tensor @ ("q" | "k" | "v") => format!("argument `{tensor}`"),
        "keys" => "`--keys-grid`".into(),
        "mask" => "`--mask-in`".into(),
        option => format!("`--{}`", option.replace('_', "-")),
    };
    let message = message.replace("`keys`", "`--keys-grid`").replace("`lone_last`", "`--lone-last`");
    Failure::Input(format!("{argument}: {message}"))
}

/// Switches that are on and have nothing to act on are named: whoever set them expects something.
pub(super) fn say_idle(config: &RainFusion) {
    let (q, k) = (config.query_tokens(), config.key_tokens());
    let even = || q.clips.iter().chain(&k.clips).any(|[frames, ..]| frames.is_multiple_of(2));
    if config.lone_last && !(config.order == Order::Paper && even()) {
        screen::complain("`--lone-last` changes nothing: it is for the paper's order and an even number of frames");
    }
    if config.text_last && q.text + k.text == 0 {
        screen::complain("`--text-last` changes nothing: there are no text tokens; `--text N` says how many there are");
    }
}

/// Whether two paths, whose folders exist, name one file.
fn same_place(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some((folder.canonicalize().ok()?, path.file_name()?.to_owned()))
    };
    place(a).is_some_and(|a| place(b) == Some(a))
}
