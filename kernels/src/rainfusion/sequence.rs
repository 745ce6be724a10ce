//! What a sequence of tokens holds, how it is walked, and which of its tokens are always kept. Orders are written in
//! `.tile` files; here they are named, and put one behind the other for several clips.

use std::collections::BTreeMap;

use pantile::{Device, Module, OrderArg, Result, Tensor};

use super::{Order, RainFusion};

/// Clips and text in one sequence, in raster order each: one or more videos or images, and text before or after them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sequence {
    /// Frames, rows and columns of each clip's tokens.
    pub clips: Vec<[usize; 3]>,
    /// Text tokens.
    pub text: usize,
    /// Whether text comes after the clips in memory, not before them.
    pub text_last: bool,
}

/// Why a block's row and column are always kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protection {
    /// They are not.
    Free,
    /// It holds tokens of a first frame.
    Frame,
    /// It holds text.
    Text,
}

/// A sequence's walk.
pub(super) struct Walk {
    /// For the pipelines.
    pub(super) order: OrderArg,
    /// The token at each position, -1 where there is none.
    pub(super) table: Tensor,
    /// Which tokens are always kept, in memory order.
    pub(super) always: Tensor,
}

impl Sequence {
    /// One video or image without text.
    pub fn new(grid: [usize; 3]) -> Self {
        Self { clips: vec![grid], text: 0, text_last: false }
    }

    /// The number of tokens, or `None` beyond 2³¹ − 1.
    pub fn tokens(&self) -> Option<usize> {
        let clip = |[f, y, x]: [usize; 3]| f.checked_mul(y)?.checked_mul(x);
        let total = self.clips.iter().try_fold(self.text, |sum, c| sum.checked_add(clip(*c)?));
        total.filter(|n| i32::try_from(*n).is_ok())
    }

    /// Why each token is always kept, in memory order.
    fn tokens_protection(&self, options: &RainFusion) -> Vec<Protection> {
        let mut all = Vec::new();
        let text = vec![Protection::Text; self.text];
        if !self.text_last {
            all.extend_from_slice(&text);
        }
        for [f, y, x] in &self.clips {
            let first = if options.sink_of(*f) { Protection::Frame } else { Protection::Free };
            all.extend((0..f * y * x).map(|t| if t < y * x { first } else { Protection::Free }));
        }
        if self.text_last {
            all.extend_from_slice(&text);
        }
        all
    }

    /// What each block of a walk holds that is always kept; a block takes the strongest reason of its tokens.
    pub(super) fn protection(&self, options: &RainFusion, order: &[i32]) -> Vec<Protection> {
        let tokens = self.tokens_protection(options);
        let token = |t: &i32| usize::try_from(*t).ok().and_then(|t| tokens.get(t)).copied();
        let block = |b: &[i32]| b.iter().filter_map(token).max().unwrap_or(Protection::Free);
        order.chunks(options.block).map(block).collect()
    }

    /// How the options walk it.
    pub(super) fn walk(&self, options: &RainFusion, module: &Module, device: &Device) -> Result<Walk> {
        let tokens = self.tokens().unwrap_or_default();
        let whole = match &self.clips[..] {
            [clip] if !options.splits(clip[0]) => named(options, *clip, (self.text, self.text_last)),
            _ => None,
        };
        let (order, table) = match (whole, &options.order) {
            (_, Order::Table(table)) => (OrderArg::table(table.to_vec())?, table.to_vec()),
            (Some((name, args)), _) => {
                let table = module.order(name, &map(&args), tokens as i64, device)?.to_vec();
                (OrderArg::named(name, args), table)
            }
            (None, _) => {
                let table = self.joined(options, module, device)?;
                (OrderArg::table(table.clone())?, table)
            }
        };
        let mut always: Vec<bool> =
            self.tokens_protection(options).into_iter().map(|p| p != Protection::Free).collect();
        if options.compat && options.order == Order::Paper {
            always = self.tail(options, &table);
        }
        let always = Tensor::from_slice(&[always.len()], &always)?;
        Ok(Walk { order, table: Tensor::from_slice(&[table.len()], &table)?, always })
    }

    /// The walks of all clips one behind the other, then the text; each fills blocks of its own where the order has it so.
    fn joined(&self, options: &RainFusion, module: &Module, device: &Device) -> Result<Vec<i32>> {
        let (mut walk, mut start) = (Vec::new(), if self.text_last { 0 } else { self.text });
        for [f, y, x] in &self.clips {
            let (first, split) = (start..start + y * x, options.splits(*f));
            start += f * y * x;
            let (clip, from) = if split { ([f - 1, *y, *x], first.end) } else { ([*f, *y, *x], first.start) };
            pad(&mut walk, options);
            if let Some((name, args)) = named(options, clip, (0, false)) {
                let table = module.order(name, &map(&args), clip.iter().product::<usize>() as i64, device)?;
                walk.extend(table.iter().map(|t| if *t < 0 { -1 } else { t + from as i32 }));
            }
            if split {
                pad(&mut walk, options);
                walk.extend(first.map(|t| t as i32));
            }
        }
        if self.text > 0 {
            pad(&mut walk, options);
        }
        let first = if self.text_last { start } else { 0 };
        walk.extend((first..first + self.text).map(|t| t as i32));
        Ok(walk)
    }

    /// The tokens of the last blocks, as many as the protected ones would fill if they filled blocks: what the paper's
    /// reference protects.
    fn tail(&self, options: &RainFusion, table: &[i32]) -> Vec<bool> {
        let protected = self.tokens_protection(options).into_iter().filter(|p| *p != Protection::Free).count();
        let blocks = table.len().div_ceil(options.block) - protected.div_ceil(options.block);
        let mut always = vec![false; table.len()];
        let tail = table.iter().skip(blocks * options.block).filter_map(|t| usize::try_from(*t).ok());
        tail.for_each(|t| always[t] = true);
        always
    }
}

/// Fills the last block with positions that have no token, where segments fill blocks of their own.
fn pad(walk: &mut Vec<i32>, options: &RainFusion) {
    if options.order.segments_apart() {
        walk.resize(walk.len().next_multiple_of(options.block), -1);
    }
}

fn map(args: &[(&'static str, i64)]) -> BTreeMap<String, i64> {
    args.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

/// The shipped order that walks a clip and its text, and its arguments; `None` where none does.
fn named(
    options: &RainFusion,
    clip: [usize; 3],
    (text, text_last): (usize, bool),
) -> Option<(&'static str, Vec<(&'static str, i64)>)> {
    let mut args: Vec<(&str, i64)> = ["F", "Y", "X"].into_iter().zip(clip.map(|n| n as i64)).collect();
    let curve = match &options.order {
        Order::Paper | Order::Mindie | Order::Windows { .. } | Order::Table(_) => None,
        Order::Raster => Some("raster"),
        Order::Zigzag => Some("zigzag"),
        Order::Morton => Some("morton"),
        Order::Hilbert => Some("hilbert"),
    };
    if let Some(name) = curve {
        return (text == 0).then_some((name, args));
    }
    args.extend([("text", text as i64), ("text_last", text_last.into())]);
    let block = ("P", options.block as i64);
    let name = match &options.order {
        Order::Paper => {
            args.push(("lone_last", (options.lone_last && clip[0].is_multiple_of(2)).into()));
            "windows_paper"
        }
        Order::Mindie => {
            args.push(block);
            "windows_mindie"
        }
        Order::Windows { size, padded } => {
            args.extend(["wf", "wy", "wx"].into_iter().zip(size.map(|n| n as i64)));
            args.extend(padded.then_some(block));
            if *padded { "windows_padded" } else { "windows" }
        }
        Order::Raster | Order::Zigzag | Order::Morton | Order::Hilbert | Order::Table(_) => return None,
    };
    Some((name, args))
}
