//! What a launch did, counted for each instruction: so that tests can ask for coalesced accesses and for shared memory
//! without bank conflicts. It measures no time.

use crate::simt::Op;

/// Counts of one instruction, or sums of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Times that a warp ran it.
    pub executed: u64,
    /// Passes that its accesses to shared memory took: one for each word that a bank must give besides the first.
    pub wavefronts: u64,
    /// Passes if no two words met in a bank.
    pub ideal_wavefronts: u64,
    /// Sectors of 32 bytes of global memory that it touched, summed over warps.
    pub sectors: u64,
    /// Sectors if the bytes it asked for lay side by side.
    pub ideal_sectors: u64,
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.executed += other.executed;
        self.wavefronts += other.wavefronts;
        self.ideal_wavefronts += other.ideal_wavefronts;
        self.sectors += other.sectors;
        self.ideal_sectors += other.ideal_sectors;
    }
}

/// One instruction of the program.
#[derive(Clone, Debug)]
pub struct InstReport {
    /// What it does.
    pub op: Op,
    /// Its text.
    pub text: String,
    /// What it did.
    pub counts: Counts,
}

/// What a launch did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Instructions in the order of the program.
    pub insts: Vec<InstReport>,
    /// The code and the instance that [`Op::Fault`] left, if the code is not 0.
    pub fault: Option<(u32, u32)>,
}

impl Report {
    /// The sum over some instructions.
    pub fn sum(&self, of: impl Fn(&Op) -> bool) -> Counts {
        let mut sum = Counts::default();
        self.insts.iter().filter(|inst| of(&inst.op)).for_each(|inst| sum.add(&inst.counts));
        sum
    }

    /// The sum over all instructions.
    pub fn total(&self) -> Counts {
        self.sum(|_| true)
    }
}

/// Notes an access to shared memory: lanes' addresses, so many bytes each. Lanes are served in as many goes as their
/// bytes fill the 32 banks.
pub(super) fn shared_access(counts: &mut Counts, addresses: &[(u32, u32)], bytes: u32) {
    let lanes_a_go = if bytes <= 4 { 32 } else { 128 / bytes };
    let mut go = u32::MAX;
    let mut from = 0;
    for (n, (lane, _)) in addresses.iter().enumerate() {
        if lane / lanes_a_go != go {
            passes(counts, &addresses[from..n], bytes);
            (go, from) = (lane / lanes_a_go, n);
        }
    }
    passes(counts, &addresses[from..], bytes);
}

/// Passes of lanes that are served in one go.
fn passes(counts: &mut Counts, addresses: &[(u32, u32)], bytes: u32) {
    if addresses.is_empty() {
        return;
    }
    let mut words: Vec<u32> = Vec::with_capacity(32);
    for (_, address) in addresses {
        for word in address / 4..(address + bytes).div_ceil(4) {
            if !words.contains(&word) {
                words.push(word);
            }
        }
    }
    let mut banks = [0u64; 32];
    words.iter().for_each(|word| banks[*word as usize % 32] += 1);
    counts.wavefronts += banks.iter().copied().max().unwrap_or(0);
    counts.ideal_wavefronts += (words.len() as u64).div_ceil(32);
}

/// Notes an access to global memory.
pub(super) fn global_access(counts: &mut Counts, addresses: &[(u32, u64)], bytes: u32) {
    let mut places: Vec<u64> = addresses.iter().map(|(_, address)| *address).collect();
    places.sort_unstable();
    places.dedup();
    let mut last = None;
    for place in &places {
        for sector in place / 32..(place + u64::from(bytes)).div_ceil(32) {
            if last != Some(sector) {
                counts.sectors += 1;
                last = Some(sector);
            }
        }
    }
    counts.ideal_sectors += (places.len() as u64 * u64::from(bytes)).div_ceil(32);
}
