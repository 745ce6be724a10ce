//! Operands of dots that were made ready once and are used by all cells and workers of a launch: for each such operand a
//! direct-mapped cache of its blocks, in memory that the launch lends. Compiled code asks it for blocks and fills them;
//! nothing here knows what is in one, and nobody waits for anybody: who finds a place taken uses memory of its own.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a cell may do with a block that it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Claim {
    /// There is no place for it: fill and use the caller's own memory.
    Private = 0,
    /// Its place is the caller's to fill; nobody else reads it before [`Cache::filled`].
    Fill = 1,
    /// It is there.
    Ready = 2,
}

impl Claim {
    /// The bits of an address that tell the claim: blocks start at multiples of 64.
    pub const MASK: u64 = 3;
}

/// A place for one block: the block's number plus one in the upper bits, below it how many read it, or [`FILLING`].
/// It has a cache line of its own, as all workers write it.
#[repr(align(64))]
#[derive(Default)]
struct Slot(AtomicU64);

const READERS: u32 = 16;
const FILLING: u64 = (1 << READERS) - 1;

/// The blocks of one operand.
pub struct Cache {
    slots: Vec<Slot>,
    block_bytes: u64,
    /// Where the first block stands.
    memory: u64,
    fills: AtomicU64,
}

impl Cache {
    /// Empty, for so many blocks of so many bytes, a multiple of 64, from the address `memory` on.
    pub fn new(slots: usize, block_bytes: u64, memory: u64) -> Self {
        let slots = (0..slots).map(|_| Slot::default()).collect();
        Self { slots, block_bytes, memory, fills: AtomicU64::new(0) }
    }

    /// How many blocks have been filled.
    pub fn fills(&self) -> u64 {
        self.fills.load(Ordering::Relaxed)
    }

    fn slot(&self, block: u64) -> Option<(u64, &AtomicU64)> {
        let at = block.checked_rem(self.slots.len() as u64)?;
        self.slots.get(at as usize).map(|slot| (at, &slot.0))
    }

    /// Asks for a block; its place, unless that is [`Claim::Private`]. Ends with [`Cache::leave`].
    pub fn claim(&self, block: u64) -> (Claim, u64) {
        let Some((at, slot)) = self.slot(block) else { return (Claim::Private, 0) };
        let place = self.memory + at * self.block_bytes;
        let name = (block + 1) << READERS;
        let mut seen = slot.load(Ordering::Relaxed);
        loop {
            let (holds, readers) = (seen & !FILLING, seen & FILLING);
            let (claim, next) = match holds == name {
                true if readers < FILLING - 1 => (Claim::Ready, seen + 1),
                false if readers == 0 => (Claim::Fill, name | FILLING),
                true | false => return (Claim::Private, 0),
            };
            // Acquires what its filler wrote, or the end of those who read what stood there.
            match slot.compare_exchange_weak(seen, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return (claim, place),
                Err(now) => seen = now,
            }
        }
    }

    /// Shows a block that was claimed to be filled to the others; its filler goes on reading it.
    pub fn filled(&self, block: u64) {
        if let Some((_, slot)) = self.slot(block) {
            self.fills.fetch_add(1, Ordering::Relaxed);
            slot.store((block + 1) << READERS | 1, Ordering::Release);
        }
    }

    /// The end of reading a block that was there or has been filled.
    pub fn leave(&self, block: u64) {
        if let Some((_, slot)) = self.slot(block) {
            slot.fetch_sub(1, Ordering::Release);
        }
    }
}

/// The cache at an address; none at 0.
#[allow(unsafe_code, reason = "compiled code hands over a cache's address")]
fn cache<'a>(address: *const Cache) -> Option<&'a Cache> {
    // SAFETY: compiled code passes a word of its launch, which is 0 or the address of a cache that outlives the run.
    unsafe { address.as_ref() }
}

/// Where the block is or is to be filled, plus the claim; `own` where it is private.
extern "C" fn claim(address: *const Cache, block: u64, own: u64) -> u64 {
    match cache(address).map(|cache| cache.claim(block)) {
        None | Some((Claim::Private, _)) => own | Claim::Private as u64,
        Some((claim, place)) => place | claim as u64,
    }
}

extern "C" fn filled(address: *const Cache, block: u64, claim: u64) {
    if let Some(cache) = cache(address).filter(|_| claim == Claim::Fill as u64) {
        cache.filled(block);
    }
}

extern "C" fn leave(address: *const Cache, block: u64, claim: u64) {
    if let Some(cache) = cache(address).filter(|_| claim != Claim::Private as u64) {
        cache.leave(block);
    }
}

/// The address of the function that asks for a block: `(cache, block, own memory) -> place | claim`.
pub fn claimer() -> usize {
    claim as extern "C" fn(*const Cache, u64, u64) -> u64 as usize
}

/// The address of the function that shows what was filled: `(cache, block, claim)`.
pub fn filler() -> usize {
    filled as extern "C" fn(*const Cache, u64, u64) as usize
}

/// The address of the function that ends reading: `(cache, block, claim)`.
pub fn leaver() -> usize {
    leave as extern "C" fn(*const Cache, u64, u64) as usize
}

#[cfg(test)]
mod tests {
    use std::cell::UnsafeCell;

    use super::{Cache, Claim};

    #[test]
    fn a_block_is_filled_once_and_its_place_is_kept_while_it_is_read() {
        let cache = Cache::new(2, 64, 4096);
        assert_eq!(cache.claim(5), (Claim::Fill, 4096 + 64));
        assert_eq!(cache.claim(5).0, Claim::Private, "it is being filled");
        assert_eq!(cache.claim(7).0, Claim::Private, "its place is taken");
        cache.filled(5);
        assert_eq!(cache.claim(5), (Claim::Ready, 4096 + 64));
        cache.leave(5);
        assert_eq!(cache.claim(7).0, Claim::Private, "its filler still reads it");
        cache.leave(5);
        assert_eq!(cache.claim(5).0, Claim::Ready, "nobody reads it, but it stays");
        cache.leave(5);
        assert_eq!(cache.claim(7), (Claim::Fill, 4096 + 64));
        cache.filled(7);
        cache.leave(7);
        assert_eq!(cache.claim(5).0, Claim::Fill, "its place went to another");
        assert_eq!(cache.fills(), 2);
        assert_eq!(Cache::new(0, 64, 0).claim(3).0, Claim::Private);
    }

    struct Blocks(Vec<UnsafeCell<[u64; 8]>>);

    // SAFETY: the cache lets one thread write a block, and others read it only while nobody writes.
    #[allow(unsafe_code, reason = "the claims are what is tested")]
    unsafe impl Sync for Blocks {}

    #[test]
    fn readers_find_the_block_that_they_asked_for() {
        const SLOTS: usize = 3;
        let blocks = Blocks((0..SLOTS).map(|_| UnsafeCell::new([0; 8])).collect());
        let cache = Cache::new(SLOTS, 64, 0);
        let work = |seed: u64| {
            let blocks = &blocks;
            let mut state = seed;
            let mut met = [0; 3];
            for _ in 0..20_000 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let block = (state >> 33) % 5;
                let (claim, place) = cache.claim(block);
                met[claim as usize] += 1;
                if claim == Claim::Private {
                    continue;
                }
                let at = blocks.0[place as usize / 64].get();
                // SAFETY: this thread holds a claim to the place, to write it or to read it.
                #[allow(unsafe_code, reason = "the claims are what is tested")]
                unsafe {
                    if claim == Claim::Fill {
                        (*at).fill(block);
                        cache.filled(block);
                    }
                    assert_eq!(*at, [block; 8]);
                }
                cache.leave(block);
            }
            met
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3).map(|n| scope.spawn(move || work(n))).collect();
            let met =
                threads.into_iter().map(|t| t.join().unwrap()).fold([0; 3], |a, b| [0, 1, 2].map(|n| a[n] + b[n]));
            assert!(met[1] > 0 && met[2] > 0, "{met:?}");
            assert_eq!(cache.fills(), met[1]);
        });
    }
}
