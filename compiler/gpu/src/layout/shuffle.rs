//! Conversions within a warp. A shuffle gives a lane one word of one other lane, and a lane offers one word at a time; the
//! plan arranges rounds in which no lane is asked for two. Whether shared memory is cheaper is asked in `convert.rs`.
//!
//! # How rounds are found
//!
//! Let M be the linear map from (register, lane) of the target to (register, lane) of the source. In one round lane `l`
//! receives register `k ^ C·l`, so it asks lane `M_lane(k ^ C·l, l)`. Two lanes may ask one lane only for the same
//! register. So C is chosen, a column for each lane bit, such that M_lane on the graph {(C·l, l)} has no more kernel than M.
//! As long as every lane is asked at all, a column is always found: either C's column can add a direction that is not
//! there, or the lane bit does by itself. Rounds are one for each `k`, and nothing but `k` differs between them.

use super::bits::{Matrix, Span, combine, within};
use super::convert::{check, sources};
use super::{Distributed, Layout, Name, Place};

/// One round of [`Shuffles`]: each lane offers a word, and takes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// The word that a lane offers, XOR [`Shuffles::offer`] of the thread.
    pub offer: u64,
    /// The lane that a lane takes from, XOR [`Shuffles::lane`] of the thread.
    pub lane: u64,
    /// The word that it then has of the result, XOR [`Shuffles::place`] of the thread.
    pub place: u64,
}

/// A conversion in which every element comes from the same warp. Words are groups of `1 << pack` registers that move
/// together: register index >> `pack`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shuffles {
    /// log2 of the elements of a word that moves.
    pub pack: u32,
    /// 32-bit shuffles that a word takes.
    pub width: u32,
    /// Words of a thread of the source.
    pub words: u64,
    /// Thread → word of the source that it offers.
    pub offer: Layout<Place, Place>,
    /// Thread → lane that it takes from. The identity, and only then: all rounds are butterflies.
    pub lane: Layout<Place, Place>,
    /// Thread → word of the result that it fills.
    pub place: Layout<Place, Place>,
    /// The rounds.
    pub rounds: Vec<Round>,
    /// For each word of the result the one of the rounds that it equals: itself, unless the target holds copies.
    pub held: Vec<u64>,
}

impl Shuffles {
    /// Plans it; `None` if an element has to come from another warp, or more than one word of a lane would be needed at once.
    pub fn plan<D: Name>(from: &Distributed<D>, to: &Distributed<D>, bytes: u32) -> Option<Shuffles> {
        check(from, to).ok()?;
        let all = sources(from, to)?;
        let pack = packed(&all, (4 / bytes.clamp(1, 4)).ilog2());
        let moves = Moves::of(&all, pack)?;
        let registers: Vec<u64> = to.columns(Place::Register)[pack as usize..].to_vec();
        let targets = Matrix { columns: registers };
        let graph = moves.graph(targets.pivots())?;
        let held = |w| targets.solve(targets.apply(w)).unwrap_or(w);
        Some(Shuffles {
            pack,
            width: bytes.div_ceil(4),
            words: from.size(Place::Register) >> pack,
            offer: moves.to_place(Place::Register, moves.offers(&graph))?,
            lane: moves.to_place(Place::Lane, moves.lanes(&graph))?,
            place: moves.to_place(Place::Register, graph.fills.iter().copied().chain(moves.warps.iter().map(|_| 0)))?,
            rounds: within(targets.pivots()).map(|k| moves.round(&graph, k)).collect(),
            held: (0..1 << targets.columns.len()).map(held).collect(),
        })
    }

    /// Whether a round's words stay in their threads: it needs no shuffle.
    pub fn stays(&self, round: &Round) -> bool {
        round.lane == 0 && self.is_butterfly()
    }

    /// Whether each lane takes from a lane at a fixed XOR distance.
    pub fn is_butterfly(&self) -> bool {
        let lanes = self.lane.columns(Place::Lane).iter().zip(0..).all(|(c, b)| *c == 1 << b);
        lanes && [Place::Warp, Place::Warpgroup].iter().all(|p| self.lane.columns(*p).iter().all(|c| *c == 0))
    }

    /// The shuffles.
    pub fn shuffles(&self) -> u32 {
        self.rounds.iter().filter(|r| !self.stays(r)).count() as u32 * self.width
    }

    /// The selects: a word whose index differs by thread is found in a network of one level for each dimension of the
    /// difference, on all words.
    pub fn selects(&self) -> u32 {
        let before = self.offer.matrix().rank() * self.words as u32;
        let after = self.place.matrix().rank() * self.held.len() as u32;
        (before + after) * self.width
    }

    /// Shuffles and selects.
    pub fn instructions(&self) -> u32 {
        self.shuffles() + self.selects()
    }
}

/// How many of the `most` lowest register bits are those of the source, and nothing else is added to them.
fn packed(all: &Layout<Place, Place>, most: u32) -> u32 {
    let moves_along = |b: u32| {
        let own = b < all.ins().bits(Place::Register) && b < all.outs().bits(Place::Register);
        let only_there = |(j, c): (usize, &u64)| if j as u32 == b { *c == 1 << b } else { c >> b & 1 == 0 };
        own && all.matrix().columns.iter().enumerate().all(only_there)
    };
    (0..most).take_while(|b| moves_along(*b)).count() as u32
}

/// Where words come from: for each bit of the target's word, lane and warp, the source's word and lane.
struct Moves {
    threads: Vec<(Place, usize)>,
    words: Vec<(u64, u64)>,
    lanes: Vec<(u64, u64)>,
    warps: Vec<(u64, u64)>,
    source_words: u32,
    source_lanes: u32,
}

/// The graph of C: for each lane bit, the word filled beside it, and where that and the lane bit together come from.
struct Graph {
    fills: Vec<u64>,
    words: Vec<u64>,
    lanes: Vec<u64>,
    /// Back from the lane asked to a lane that asks it, as columns.
    asker: Vec<u64>,
}

fn sum(pairs: &[(u64, u64)], index: u64) -> (u64, u64) {
    super::bits::ones(index).fold((0, 0), |s, j| (s.0 ^ pairs[j as usize].0, s.1 ^ pairs[j as usize].1))
}

impl Moves {
    fn of(all: &Layout<Place, Place>, pack: u32) -> Option<Moves> {
        let part = |c: &u64| (all.outs().part(*c, Place::Register) >> pack, all.outs().part(*c, Place::Lane));
        let columns = |p: Place| all.columns(p).iter().map(part).collect::<Vec<_>>();
        Some(Moves {
            threads: Place::THREAD.into_iter().map(|p| (p, all.columns(p).len())).collect(),
            words: columns(Place::Register).get(pack as usize..)?.to_vec(),
            lanes: columns(Place::Lane),
            warps: [columns(Place::Warp), columns(Place::Warpgroup)].concat(),
            source_words: all.outs().bits(Place::Register) - pack,
            source_lanes: all.outs().bits(Place::Lane),
        })
    }

    /// Chooses C among the words of `free`.
    fn graph(&self, free: u64) -> Option<Graph> {
        let mut asked = Span::default();
        let (mut fills, mut words, mut lanes) = (Vec::new(), Vec::new(), Vec::new());
        for (b, own) in self.lanes.iter().enumerate() {
            let moved = |c: u64| {
                let (word, lane) = sum(&self.words, c);
                (c, word ^ own.0, lane ^ own.1)
            };
            let sound = |(_, word, lane): &(u64, u64, u64)| match asked.express(*lane) {
                Some(by) => combine(&words, by) == *word,
                None => true,
            };
            let (fill, word, lane) = within(free).map(moved).find(sound)?;
            asked.insert(lane, 1 << b);
            fills.push(fill);
            words.push(word);
            lanes.push(lane);
        }
        let asker = Matrix { columns: lanes.clone() }.back(self.source_lanes).columns;
        Some(Graph { fills, words, lanes, asker })
    }

    /// The word that an asked lane offers to whoever asks it.
    fn offered(&self, graph: &Graph, lane: u64) -> u64 {
        combine(&graph.words, combine(&graph.asker, lane))
    }

    fn offers(&self, graph: &Graph) -> impl Iterator<Item = u64> {
        let lanes = (0..self.source_lanes).map(|b| self.offered(graph, 1 << b));
        lanes
            .chain(self.warps.iter().map(|(word, lane)| self.offered(graph, *lane) ^ word))
            .collect::<Vec<_>>()
            .into_iter()
    }

    fn lanes(&self, graph: &Graph) -> impl Iterator<Item = u64> {
        let warps = self.warps.iter().map(|(_, lane)| *lane);
        graph.lanes.iter().copied().chain(warps).collect::<Vec<_>>().into_iter()
    }

    fn round(&self, graph: &Graph, k: u64) -> Round {
        let (word, lane) = sum(&self.words, k);
        Round { offer: self.offered(graph, lane) ^ word, lane, place: k }
    }

    /// A map of threads, from its columns in the order of their bits.
    fn to_place(&self, place: Place, columns: impl IntoIterator<Item = u64>) -> Option<Layout<Place, Place>> {
        let bits = match place {
            Place::Register => self.source_words.max(self.words.len() as u32),
            Place::Lane | Place::Warp | Place::Warpgroup => self.source_lanes,
        };
        let outs = super::Axes::new([(place, 1 << bits)]).ok()?;
        let mut columns = columns.into_iter();
        let take = |(p, n): &(Place, usize)| (*p, columns.by_ref().take(*n).collect());
        let columns = self.threads.iter().map(take).collect();
        Layout::of_columns(outs, columns).ok()
    }
}
