//! Drawn layouts: any linear maps that hold every element of a tile, with copies, and those whose bases are single
//! coordinates. What is true of them is asked elsewhere.

use pantile_gpu::layout::{Distributed, Layout, Place};
use proptest::prelude::*;
use proptest::sample::subsequence;

pub type Dim = &'static str;

/// log2 of the sizes of `m` and `n`, of the warps and warpgroups.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub m: u32,
    pub n: u32,
    pub warps: u32,
    pub groups: u32,
}

impl Setting {
    pub fn tile(self) -> [(Dim, u64); 2] {
        [("m", 1 << self.m), ("n", 1 << self.n)]
    }

    fn threads(self) -> u32 {
        5 + self.warps + self.groups
    }
}

pub fn setting() -> impl Strategy<Value = Setting> {
    (0..6u32, 0..6u32, 0..3u32, 0..2u32).prop_map(|(m, n, warps, groups)| Setting { m, n, warps, groups })
}

/// `bits` independent columns, mixed by additions of one column to another.
fn independent(bits: u32, mixed: bool) -> impl Strategy<Value = Vec<u64>> {
    let units: Vec<u64> = (0..bits).map(|b| 1 << b).collect();
    let steps = 0..if mixed { 3 * bits as usize + 1 } else { 1 };
    let places = (0..bits.max(1) as usize, 0..bits.max(1) as usize);
    (Just(units).prop_shuffle(), prop::collection::vec(places, steps)).prop_map(|(mut columns, steps)| {
        for (a, b) in steps {
            if a != b && a < columns.len() && b < columns.len() {
                columns[a] ^= columns[b];
            }
        }
        columns
    })
}

/// A layout of the setting's tile, every element held, some by several threads or registers.
pub fn distributed(s: Setting, mixed: bool) -> impl Strategy<Value = Distributed<Dim>> {
    let bits = s.m + s.n;
    let least = bits.saturating_sub(s.threads());
    (least..least + 3)
        .prop_flat_map(move |registers| {
            let extra = (registers + s.threads() - bits) as usize;
            let copies = prop::collection::vec(prop_oneof![Just(0u64), 0..1u64 << bits], extra);
            let copies = if mixed { copies.boxed() } else { Just(vec![0; extra]).boxed() };
            (independent(bits, mixed), copies, Just(registers))
        })
        .prop_flat_map(move |(columns, copies, registers)| {
            (Just([columns, copies].concat()).prop_shuffle(), Just(registers))
        })
        .prop_map(move |(columns, registers)| of_columns(s, &columns, registers as usize))
}

fn of_columns(s: Setting, columns: &[u64], registers: usize) -> Distributed<Dim> {
    let basis = |c: &u64| vec![("m", c & ((1 << s.m) - 1)), ("n", c >> s.m)];
    let (register, rest) = columns.split_at(registers);
    let (lane, rest) = rest.split_at(5);
    let (warp, group) = rest.split_at(s.warps as usize);
    let parts = [(Place::Register, register), (Place::Lane, lane), (Place::Warp, warp), (Place::Warpgroup, group)];
    let ins = parts.map(|(p, c)| (p, c.iter().map(basis).collect())).to_vec();
    Layout::of_bases(&s.tile(), ins).unwrap()
}

/// One layout of any kind.
pub fn any_layout() -> impl Strategy<Value = Distributed<Dim>> {
    (setting(), any::<bool>()).prop_flat_map(|(s, mixed)| distributed(s, mixed))
}

/// Two layouts of one tile over the same threads.
pub fn pair() -> impl Strategy<Value = (Distributed<Dim>, Distributed<Dim>)> {
    (setting(), any::<bool>()).prop_flat_map(|(s, mixed)| (distributed(s, mixed), distributed(s, mixed)))
}

/// Two layouts of one tile over the same threads, whose bases are single coordinates.
pub fn unmixed_pair() -> impl Strategy<Value = (Distributed<Dim>, Distributed<Dim>)> {
    setting().prop_flat_map(|s| (distributed(s, false), distributed(s, false)))
}

/// Two layouts that differ in registers and lanes alone.
pub fn pair_in_warps() -> impl Strategy<Value = (Distributed<Dim>, Distributed<Dim>)> {
    any_layout().prop_flat_map(|from| {
        let inner: Vec<u64> = [from.columns(Place::Register), from.columns(Place::Lane)].concat();
        let count = inner.len();
        (Just(from), Just(inner).prop_shuffle(), subsequence((0..count).collect::<Vec<_>>(), 0..=count)).prop_map(
            |(from, mut inner, mixed)| {
                for pair in mixed.windows(2) {
                    inner[pair[0]] ^= inner[pair[1]];
                }
                let registers = from.columns(Place::Register).len();
                let outs: Vec<(Dim, u64)> = from.outs().iter().map(|(d, bits)| (d, 1 << bits)).collect();
                let basis = |c: &u64| from.outs().unpack(*c);
                let column = |p: Place| match p {
                    Place::Register => inner[..registers].iter().map(basis).collect(),
                    Place::Lane => inner[registers..].iter().map(basis).collect(),
                    Place::Warp | Place::Warpgroup => from.columns(p).iter().map(basis).collect(),
                };
                let to = Layout::of_bases(&outs, Place::ALL.map(|p| (p, column(p))).to_vec()).unwrap();
                (from, to)
            },
        )
    })
}
