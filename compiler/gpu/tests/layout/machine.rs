//! Simulated threads: registers of every lane of every warp, and shared memory. It runs plans by what their instructions do;
//! it knows nothing of how they are found.

use std::collections::{BTreeMap, BTreeSet};

use pantile_gpu::layout::access::Access;
use pantile_gpu::layout::convert::{Conversion, Exchange, Shuffles};
use pantile_gpu::layout::{Axes, Distributed, Layout, Name, Place};

use crate::drawn::Dim;

/// Registers by thread; threads count lanes, then warps, then warpgroups.
pub type Registers = Vec<Vec<u64>>;

/// The threads of a layout.
pub struct Threads {
    axes: Axes<Place>,
}

impl Threads {
    pub fn of<D: Name>(layout: &Layout<Place, D>) -> Threads {
        Threads { axes: layout.only(&Place::THREAD).ins().clone() }
    }

    pub fn count(&self) -> u64 {
        1 << self.axes.total()
    }

    pub fn at(&self, thread: u64) -> Vec<(Place, u64)> {
        self.axes.unpack(thread)
    }

    pub fn part(&self, thread: u64, place: Place) -> u64 {
        self.axes.part(thread, place)
    }

    /// The thread in `lane` of the same warp.
    pub fn in_warp(&self, thread: u64, lane: u64) -> u64 {
        thread - self.part(thread, Place::Lane) + lane
    }

    /// What a map of threads, which may lack some of the places, says of a thread.
    pub fn map<P: Name>(&self, map: &Layout<Place, P>, thread: u64, to: P) -> u64 {
        let at: Vec<_> = self.at(thread).into_iter().filter(|(p, _)| map.ins().has(*p)).collect();
        map.apply(&at).unwrap().into_iter().find(|(p, _)| *p == to).map_or(0, |(_, x)| x)
    }
}

/// The element that a register holds, packed.
pub fn element(layout: &Distributed<Dim>, threads: &Threads, thread: u64, register: u64) -> u64 {
    let at: Vec<_> = threads.at(thread).into_iter().chain([(Place::Register, register)]).collect();
    layout.outs().pack(&layout.apply(&at).unwrap()).unwrap()
}

/// Every register with `value` of the element it holds.
pub fn filled(layout: &Distributed<Dim>, value: impl Fn(u64) -> u64) -> Registers {
    let threads = Threads::of(layout);
    let registers = |t| (0..layout.size(Place::Register)).map(|r| value(element(layout, &threads, t, r))).collect();
    (0..threads.count()).map(registers).collect()
}

pub fn convert(plan: &Conversion<Dim>, from: &Distributed<Dim>, before: &Registers) -> Registers {
    let threads = Threads::of(from);
    match plan {
        Conversion::Nothing => before.clone(),
        Conversion::Registers(map) => before.iter().map(|own| map.iter().map(|r| own[*r as usize]).collect()).collect(),
        Conversion::Shuffles(plan) => shuffle(plan, &threads, before),
        Conversion::Exchange(plan) => exchange(plan, &threads, before),
    }
}

pub fn shuffle(plan: &Shuffles, threads: &Threads, before: &Registers) -> Registers {
    let count = 1usize << plan.pack;
    let word = |thread: u64, w: u64| before[thread as usize][w as usize * count..][..count].to_vec();
    let mut words = vec![BTreeMap::new(); before.len()];
    for round in &plan.rounds {
        let offers: Vec<Vec<u64>> =
            (0..threads.count()).map(|t| word(t, round.offer ^ threads.map(&plan.offer, t, Place::Register))).collect();
        for t in 0..threads.count() {
            let from = threads.in_warp(t, round.lane ^ threads.map(&plan.lane, t, Place::Lane));
            assert!(!plan.stays(round) || from == t);
            let place = round.place ^ threads.map(&plan.place, t, Place::Register);
            assert!(words[t as usize].insert(place, offers[from as usize].clone()).is_none(), "a word is filled twice");
        }
    }
    words.iter().map(|own| plan.held.iter().flat_map(|w| own[w].clone()).collect()).collect()
}

/// The offsets of a part's vector in one thread.
pub fn offsets(access: &Access, threads: &Threads, thread: u64, offset: u64) -> std::ops::Range<u64> {
    let start = offset ^ threads.map(&access.thread, thread, pantile_gpu::layout::Offset);
    assert_eq!(start % access.vector, 0, "a vector that is not aligned");
    start..start + access.vector
}

/// Stores; who wrote, by offset. Threads that hold copies leave it out if `all` is false.
pub fn store(access: &Access, threads: &Threads, regs: &Registers, all: bool) -> BTreeMap<u64, (u64, u64)> {
    let mut memory: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let copy = |t: u64| access.copies.iter().any(|(p, mask)| threads.part(t, *p) & mask != 0);
    for t in (0..threads.count()).filter(|t| all || !copy(*t)) {
        for part in &access.parts {
            for (at, r) in offsets(access, threads, t, part.offset).zip(&part.registers) {
                let value = regs[t as usize][*r as usize];
                let old = memory.insert(at, (t, value));
                assert!(old.is_none_or(|(_, v)| v == value), "two values in one place");
                assert!(all || old.is_none(), "a copy is stored");
            }
        }
    }
    memory
}

/// Loads what lies `shift` elements further.
pub fn load(access: &Access, threads: &Threads, shift: u64, get: impl Fn(u64, u64) -> u64) -> Registers {
    let one = |t: u64| {
        let mut own = BTreeMap::new();
        for part in &access.parts {
            for (at, r) in offsets(access, threads, t, part.offset).zip(&part.registers) {
                assert!(own.insert(*r, get(t, at + shift)).is_none(), "a register is loaded twice");
            }
        }
        access.held.iter().map(|r| own[r]).collect()
    };
    (0..threads.count()).map(one).collect()
}

pub fn exchange(plan: &Exchange<Dim>, threads: &Threads, before: &Registers) -> Registers {
    let all = store(&plan.store, threads, before, true);
    let memory = store(&plan.store, threads, before, false);
    assert!(all.iter().zip(&memory).all(|((a, x), (b, y))| a == b && x.1 == y.1) && all.len() == memory.len());
    assert_eq!(memory.len() as u64 * u64::from(plan.store.bytes), plan.size());
    let covered = |reader: u64, writer: u64| {
        let same = |p| threads.part(reader, p) == threads.part(writer, p);
        match plan.across {
            Place::Register | Place::Lane => same(Place::Warp) && same(Place::Warpgroup),
            Place::Warp => same(Place::Warpgroup),
            Place::Warpgroup => true,
        }
    };
    load(&plan.load, threads, 0, |t, at| {
        let (writer, value) = memory[&at];
        assert!(covered(t, writer), "the barrier does not cover a move");
        value
    })
}

/// Wavefronts of one part in one warp, counted: for each phase the largest number of words in one bank.
pub fn wavefronts(access: &Access, threads: &Threads, warp: u64, offset: u64) -> u32 {
    let lanes = match access.bytes * access.vector as u32 {
        ..=4 => 32,
        8 => 16,
        _ => 8,
    };
    let phase = |first: u64| {
        let mut banks: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for lane in first..first + lanes {
            let run = offsets(access, threads, warp * 32 + lane, offset);
            let bytes = u64::from(access.bytes);
            for byte in run.start * bytes..run.end * bytes {
                banks.entry(byte / 4 % 32).or_default().insert(byte / 4);
            }
        }
        banks.values().map(BTreeSet::len).max().unwrap_or(0) as u32
    };
    (0..32).step_by(lanes as usize).map(phase).sum()
}
