//! Walks (section 3.3) and what is always kept (section 3.4). A walk is made by sorting tokens by a key, not by computing
//! which token a position has; space-filling curves are taken as they are. Nothing here looks at what tokens hold.

use pantile::Device;
use pantile_kernels::{Order, RainFusion, Sequence, module};

/// What a block of a walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It has no token: nothing is kept of it.
    Empty,
    /// Its scores decide.
    Free,
    /// All its pairs with blocks that have tokens are kept.
    Always,
}

/// A side of the attention matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Rows.
    Queries,
    /// Columns.
    Keys,
}

/// A sequence as it is walked.
#[derive(Clone, Debug)]
pub struct Walked {
    /// The token at each position, -1 where there is none.
    pub walk: Vec<i32>,
    /// Tokens a block.
    pub block: usize,
    /// One a block.
    pub kinds: Vec<Kind>,
    /// The block of each token.
    pub place: Vec<usize>,
}

impl Walked {
    /// A side under these options.
    pub fn of(options: &RainFusion, side: Side) -> Self {
        let own = Sequence {
            clips: [&[options.grid], &options.further[..]].concat(),
            text: options.text,
            text_last: options.text_last,
        };
        let tokens = match side {
            Side::Queries => &own,
            Side::Keys => options.keys.as_ref().unwrap_or(&own),
        };
        let walk = walk(options, tokens);
        let always = protected(options, tokens);
        let kinds = if options.compat && options.order == Order::Paper {
            reference_kinds(walk.len(), options.block, always.iter().filter(|a| **a).count())
        } else {
            walk.chunks(options.block).map(|block| kind(block, &always)).collect()
        };
        Self::new(walk, options.block, kinds)
    }

    /// A walk cut into blocks of these kinds.
    pub fn new(walk: Vec<i32>, block: usize, kinds: Vec<Kind>) -> Self {
        let mut place = vec![usize::MAX; walk.iter().filter(|t| **t >= 0).count()];
        for (position, token) in walk.iter().enumerate().filter(|(_, t)| **t >= 0) {
            place[*token as usize] = position / block;
        }
        Self { walk, block, kinds, place }
    }

    /// The number of blocks.
    pub fn blocks(&self) -> usize {
        self.kinds.len()
    }
}

/// The walk of a sequence: its clips, then its text, each in blocks of its own where the order has it so; or as it is given.
pub fn walk(options: &RainFusion, tokens: &Sequence) -> Vec<i32> {
    if let Order::Table(table) = &options.order {
        return table.to_vec();
    }
    let video: usize = tokens.clips.iter().map(|clip| clip.iter().product::<usize>()).sum();
    let text_first = if tokens.text_last { video } else { 0 };
    let mut first = if tokens.text_last { 0 } else { tokens.text };
    let mut segments: Vec<Vec<i32>> = Vec::new();
    for grid in &tokens.clips {
        let places = clip(options, *grid);
        segments.push(places.into_iter().map(|t| t.map_or(-1, |t| (first + t) as i32)).collect());
        first += grid.iter().product::<usize>();
    }
    if tokens.text > 0 {
        segments.push((text_first..text_first + tokens.text).map(|t| t as i32).collect());
    }
    let apart = matches!(options.order, Order::Mindie | Order::Windows { padded: true, .. });
    let mut walk: Vec<i32> = Vec::new();
    for segment in segments {
        while apart && !walk.len().is_multiple_of(options.block) {
            walk.push(-1);
        }
        walk.extend(segment);
    }
    walk
}

/// Which tokens are always kept, in memory order.
fn protected(options: &RainFusion, tokens: &Sequence) -> Vec<bool> {
    let mut video = Vec::new();
    for [frames, rows, columns] in &tokens.clips {
        let sink = options.sink.unwrap_or(*frames > 1);
        video.extend((0..frames * rows * columns).map(|t| sink && t < rows * columns));
    }
    let text = vec![true; tokens.text];
    if tokens.text_last { [video, text].concat() } else { [text, video].concat() }
}

fn kind(block: &[i32], always: &[bool]) -> Kind {
    let mut tokens = block.iter().filter(|t| **t >= 0).peekable();
    if tokens.peek().is_none() {
        Kind::Empty
    } else if tokens.any(|t| always[*t as usize]) {
        Kind::Always
    } else {
        Kind::Free
    }
}

/// The paper's reference implementation: the last ⌈protected ÷ block⌉ blocks, wherever the protected tokens are.
fn reference_kinds(positions: usize, block: usize, protected: usize) -> Vec<Kind> {
    let blocks = positions.div_ceil(block);
    let free = blocks - protected.div_ceil(block);
    (0..blocks).map(|b| if b < free { Kind::Free } else { Kind::Always }).collect()
}

/// The places of a clip in the order of its walk: a token in raster order, or none.
fn clip(options: &RainFusion, grid: [usize; 3]) -> Vec<Option<usize>> {
    match &options.order {
        Order::Paper => sorted(grid, |token| paper(grid, token)),
        Order::Mindie => sorted(grid, |token| mindie(grid, token)),
        Order::Windows { size, padded: false } => sorted(grid, |token| windows(grid, *size, token)),
        Order::Windows { size, padded: true } => covering(grid, *size),
        Order::Raster => (0..grid.iter().product()).map(Some).collect(),
        Order::Zigzag => sorted(grid, |token| zigzag(grid, token)),
        Order::Morton => shipped("morton", grid),
        Order::Hilbert => shipped("hilbert", grid),
        Order::Table(_) => panic!("a table is of a whole sequence"),
    }
}

/// A place in a walk: what is compared first comes first.
type Key = [usize; 7];

fn sorted(grid: [usize; 3], key: impl Fn([usize; 3]) -> Key) -> Vec<Option<usize>> {
    let [frames, rows, columns] = grid;
    let mut keyed = Vec::new();
    for f in 0..frames {
        for y in 0..rows {
            for x in 0..columns {
                keyed.push((key([f, y, x]), (f * rows + y) * columns + x));
            }
        }
    }
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, token)| Some(token)).collect()
}

/// Windows of 2×8×8 over frames 1…F−1, rows in no window, columns in no window, frame 0.
fn paper([_, rows, columns]: [usize; 3], [f, y, x]: [usize; 3]) -> Key {
    let (whole_rows, whole_columns) = (rows / 8 * 8, columns / 8 * 8);
    if f == 0 {
        [3, y, x, 0, 0, 0, 0]
    } else if y >= whole_rows {
        [1, f, y, x, 0, 0, 0]
    } else if x >= whole_columns {
        [2, f, y, x, 0, 0, 0]
    } else {
        [0, (f - 1) / 2, y / 8, x / 8, (f - 1) % 2, y % 8, x % 8]
    }
}

/// Windows of 1×8×8 in every frame; on a ragged grid frame 0 in raster order, and behind each later frame's windows its rows
/// and columns in no window.
fn mindie([_, rows, columns]: [usize; 3], [f, y, x]: [usize; 3]) -> Key {
    let (whole_rows, whole_columns) = (rows / 8 * 8, columns / 8 * 8);
    let ragged = whole_rows != rows || whole_columns != columns;
    if ragged && f == 0 {
        [0, 0, y, x, 0, 0, 0]
    } else if y >= whole_rows {
        [f, 1, y, x, 0, 0, 0]
    } else if x >= whole_columns {
        [f, 2, y, x, 0, 0, 0]
    } else {
        [f, 0, y / 8, x / 8, y % 8, x % 8, 0]
    }
}

/// Whole windows, then rows, columns and frames in none.
fn windows(grid: [usize; 3], size: [usize; 3], [f, y, x]: [usize; 3]) -> Key {
    let whole = [0, 1, 2].map(|axis| grid[axis] / size[axis] * size[axis]);
    if f >= whole[0] {
        [3, f, y, x, 0, 0, 0]
    } else if y >= whole[1] {
        [1, f, y, x, 0, 0, 0]
    } else if x >= whole[2] {
        [2, f, y, x, 0, 0, 0]
    } else {
        [0, f / size[0], y / size[1], x / size[2], f % size[0], y % size[1], x % size[2]]
    }
}

/// Every step leads to a neighbour: rows and frames turn where they end.
fn zigzag([_, rows, columns]: [usize; 3], [f, y, x]: [usize; 3]) -> Key {
    let y = if f % 2 == 0 { y } else { rows - 1 - y };
    let x = if (f * rows + y) % 2 == 0 { x } else { columns - 1 - x };
    [f, y, x, 0, 0, 0, 0]
}

/// A shipped curve is taken as its user takes it; whether it is a good one is not asked here.
fn shipped(name: &str, grid: [usize; 3]) -> Vec<Option<usize>> {
    let args = ["F", "Y", "X"].into_iter().zip(grid).map(|(name, n)| (name.to_owned(), n as i64)).collect();
    let extent = grid.iter().product::<usize>() as i64;
    let table = module("orders.tile").and_then(|m| m.order(name, &args, extent, &Device::interp()));
    table.expect("a shipped order").iter().map(|t| usize::try_from(*t).ok()).collect()
}

/// Windows that cover the grid, all of one size; places outside the grid have no token.
fn covering(grid: [usize; 3], [wf, wy, wx]: [usize; 3]) -> Vec<Option<usize>> {
    let [frames, rows, columns] = grid;
    let mut places = Vec::new();
    for window_f in (0..frames).step_by(wf) {
        for window_y in (0..rows).step_by(wy) {
            for window_x in (0..columns).step_by(wx) {
                for f in window_f..window_f + wf {
                    for y in window_y..window_y + wy {
                        for x in window_x..window_x + wx {
                            let inside = f < frames && y < rows && x < columns;
                            places.push(inside.then_some((f * rows + y) * columns + x));
                        }
                    }
                }
            }
        }
    }
    places
}
