//! How the elements of a tile are spread over a block's registers, lanes and warps, bit by bit. Moving a tile from one
//! spread to another is `convert.rs`'s business.

use std::collections::BTreeMap;

use pantile_ir::DimId;

use crate::layout::{Distributed, Layout, LayoutError, Place};

/// What one bit of a register, lane or warp number means: a bit of a position along a dim; `None`: nothing, the same
/// elements are held twice.
pub type Bit = Option<(DimId, u32)>;

/// Lane bits of a warp.
pub const LANE_BITS: usize = 5;

/// Where each element of a tile is held. Every bit of every dim's positions stands exactly once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spread {
    /// What the bits of a register's number mean, lowest first.
    pub registers: Vec<Bit>,
    /// Of a lane's number.
    pub lanes: Vec<Bit>,
    /// Of a warp's number.
    pub warps: Vec<Bit>,
}

impl Spread {
    /// Registers of each thread.
    pub fn len(&self) -> usize {
        1 << self.registers.len()
    }

    /// The position along a dim that a register's number adds.
    pub fn position(&self, register: usize, dim: DimId) -> u32 {
        let bit = |(n, bit): (usize, &Bit)| match bit {
            Some((d, power)) if *d == dim => ((register >> n & 1) as u32) << power,
            Some(_) | None => 0,
        };
        self.registers.iter().enumerate().map(bit).sum()
    }

    /// The spread of a tile that lacks all but these dims: what is left of the registers, lanes and warps that held other
    /// dims hold the same.
    pub fn only(&self, dims: &[DimId]) -> Spread {
        let keep = |bit: &Bit| bit.filter(|(d, _)| dims.contains(d));
        Spread {
            registers: self.registers.iter().filter_map(|b| keep(b).map(Some)).collect(),
            lanes: self.lanes.iter().map(keep).collect(),
            warps: self.warps.iter().map(keep).collect(),
        }
    }

    /// The register of [`Spread::only`] that holds what a register of this one needs.
    pub fn register_of_only(&self, register: usize, dims: &[DimId]) -> usize {
        let mut at = 0;
        let mut number = 0;
        for (n, bit) in self.registers.iter().enumerate() {
            if bit.is_some_and(|(d, _)| dims.contains(&d)) {
                number |= (register >> n & 1) << at;
                at += 1;
            }
        }
        number
    }

    /// The linear map that it is.
    ///
    /// # Errors
    /// More than 31 bits.
    pub fn layout(&self) -> Result<Distributed, LayoutError> {
        let mut sizes: BTreeMap<DimId, u64> = BTreeMap::new();
        for (dim, power) in self.registers.iter().chain(&self.lanes).chain(&self.warps).flatten() {
            let size = sizes.entry(*dim).or_default();
            *size = (*size).max(2 << power);
        }
        let bases = |bits: &[Bit]| bits.iter().map(|b| b.iter().map(|(d, power)| (*d, 1 << power)).collect()).collect();
        let places = [(Place::Register, &self.registers), (Place::Lane, &self.lanes), (Place::Warp, &self.warps)];
        let ins = places.into_iter().map(|(place, bits)| (place, bases(bits))).collect();
        Layout::of_bases(&sizes.into_iter().collect::<Vec<_>>(), ins)
    }

    /// Whether threads hold the same elements in both, so that a tile's registers are only called differently.
    pub fn holds_same(&self, other: &Spread) -> bool {
        self.layout().is_ok_and(|own| other.layout().is_ok_and(|other| own.holds_same(&other)))
    }

    /// The same with `1 << count` neighbours along a dim in each thread: the bits of their positions change places with
    /// others that registers have, those of the dim first. None if registers have too few.
    pub fn with_run(&self, dim: DimId, count: u32) -> Option<Spread> {
        let mut made = self.clone();
        let inside = |bit: &Bit| bit.is_some_and(|(d, power)| d == dim && power < count);
        for power in 0..count {
            let wanted = Some((dim, power));
            if made.registers.contains(&wanted) {
                continue;
            }
            let gives = |of_dim: bool| {
                let free = made.registers.iter().enumerate().filter(|(_, bit)| !inside(bit));
                let free = free.filter(|(_, bit)| !of_dim || bit.is_some_and(|(d, _)| d == dim));
                free.min_by_key(|(_, bit)| **bit).map(|(n, _)| n)
            };
            let register = gives(true).or_else(|| gives(false))?;
            let taken = made.lanes.iter_mut().chain(&mut made.warps).find(|bit| **bit == wanted)?;
            std::mem::swap(taken, &mut made.registers[register]);
        }
        Some(made)
    }

    /// Whether a thread's number decides nothing: every lane and warp holds all.
    pub fn free_bits(&self) -> (u32, u32) {
        let free =
            |bits: &[Bit]| bits.iter().enumerate().filter(|(_, b)| b.is_none()).map(|(n, _)| 1u32 << n).sum::<u32>();
        (free(&self.lanes), free(&self.warps))
    }

    /// Neighbours along the first dim in one thread, `vector` of them; then lanes, so that a warp touches memory in one
    /// piece; warps over the slowest. `dims` are with the number of bits of their positions, fastest first.
    pub fn blocked(dims: &[(DimId, u32)], vector: u32, warp_bits: u32) -> Spread {
        let mut bits: Vec<(DimId, u32)> = dims.iter().flat_map(|(d, n)| (0..*n).map(|p| (*d, p))).collect();
        let first = dims.first().map_or(0, |(_, n)| vector.min(*n)) as usize;
        let mut registers: Vec<Bit> = bits.drain(..first).map(Some).collect();
        let some = bits.len().min(LANE_BITS);
        let mut lanes: Vec<Bit> = bits.drain(..some).map(Some).collect();
        lanes.resize(LANE_BITS, None);
        let of_warps = bits.len() - bits.len().min(warp_bits as usize);
        let mut warps: Vec<Bit> = bits.drain(of_warps..).map(Some).collect();
        warps.resize(warp_bits as usize, None);
        registers.extend(bits.into_iter().map(Some));
        Spread { registers, lanes, warps }
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;
    use pantile_ir::DimId;

    const I: DimId = DimId(0);
    const J: DimId = DimId(1);

    #[test]
    fn blocked_spreads_every_bit_once() {
        let s = Spread::blocked(&[(J, 7), (I, 4)], 2, 2);
        let all = s.registers.iter().chain(&s.lanes).chain(&s.warps).flatten();
        let mut seen: Vec<_> = all.copied().collect();
        seen.sort();
        let want: Vec<_> = (0..4).map(|p| (I, p)).chain((0..7).map(|p| (J, p))).collect();
        assert_eq!(seen, want);
        assert_eq!(s.warps, [Some((I, 2)), Some((I, 3))]);
    }

    #[test]
    fn only_drops_registers_and_keeps_lanes() {
        let s = Spread::blocked(&[(J, 7), (I, 4)], 2, 2);
        let o = s.only(&[I]);
        assert_eq!(o.lanes, [None; 5]);
        assert_eq!(o.len(), 4);
        let at = s.registers.iter().position(|b| *b == Some((I, 1)));
        assert_eq!(at.map(|n| s.register_of_only(1 << n, &[I])), Some(2));
    }

    #[test]
    fn neighbours_come_into_one_thread() {
        let bit = |d, power| Some((d, power));
        let s = Spread {
            registers: vec![bit(J, 0), bit(I, 3), bit(J, 3), bit(J, 4)],
            lanes: vec![bit(J, 1), bit(J, 2), bit(I, 0), bit(I, 1), bit(I, 2)],
            warps: vec![],
        };
        let made = s.with_run(J, 3).unwrap();
        assert_eq!(made.registers, [bit(J, 0), bit(I, 3), bit(J, 1), bit(J, 2)]);
        assert_eq!(made.lanes[..2], [bit(J, 3), bit(J, 4)]);
        assert_eq!(s.with_run(J, 5), None);
        let made = s.with_run(J, 4).unwrap();
        assert_eq!(made.lanes[..2], [bit(J, 4), bit(I, 3)]);
    }

    #[test]
    fn a_layout_has_every_bit_where_the_spread_has_it() {
        let s = Spread::blocked(&[(J, 6), (I, 4)], 2, 1);
        let text = s.layout().unwrap().text(|d| ["i", "j"][d.0 as usize].to_owned());
        let want = "i:16 j:64 <- register: [j:1, j:2, i:2, i:4] lane: [j:4, j:8, j:16, j:32, i:1] warp: [i:8]";
        assert_eq!(text, want);
        let turned = Spread { registers: s.registers.iter().rev().copied().collect(), ..s.clone() };
        assert!(s.holds_same(&turned));
        assert!(!s.holds_same(&Spread { warps: s.lanes[..1].to_vec(), lanes: s.lanes[1..].to_vec(), ..s.clone() }));
    }
}
