//! A block's shared memory, and for each granule of it who wrote and read it last: races, missing fences and reads of
//! what nothing wrote are found here. It does not know barriers; who knows of what is in [`super::clock`].

use super::clock::{self, Knowledge, Role};
use super::error::ErrorKind;

/// No lane in particular.
pub(super) const ALL_LANES: u8 = 255;

/// More than one lane.
const SEVERAL_LANES: u8 = 254;

const NONE: u32 = u32::MAX;

/// A granule that a barrier lies in.
const IS_BARRIER: u8 = 1;

#[derive(Clone, Copy, Debug)]
struct Granule {
    writer: u16,
    lane: u8,
    flags: u8,
    /// 0: nothing was written.
    time: u32,
    /// The instruction that wrote.
    at: u32,
    /// The first of its readers since.
    readers: u32,
}

const UNTOUCHED: Granule = Granule { writer: 0, lane: 0, flags: 0, time: 0, at: 0, readers: NONE };

#[derive(Clone, Copy, Debug)]
struct Reader {
    agent: u16,
    lane: u8,
    time: u32,
    at: u32,
    next: u32,
}

/// Who accesses.
#[derive(Clone, Copy)]
pub(super) struct Access<'a> {
    /// What the one who asks for it knows.
    pub(super) known: &'a Knowledge,
    /// The warp that asks for it.
    pub(super) warp: usize,
    /// The lane that asks for it.
    pub(super) lane: u8,
    /// Who does it, and when.
    pub(super) agent: u16,
    /// See above.
    pub(super) time: u32,
    /// The instruction.
    pub(super) at: u32,
}

/// Shared memory.
pub(super) struct Shared {
    pub(super) bytes: Vec<u8>,
    granules: Vec<Granule>,
    readers: Vec<Reader>,
    free: u32,
    /// log2 of a granule's bytes.
    shift: u32,
    warps: usize,
    check: bool,
}

impl Shared {
    /// So many bytes, none written. Nothing smaller than a granule is accessed.
    pub(super) fn new(bytes: usize, granule: u32, warps: usize, check: bool) -> Self {
        let count = bytes.div_ceil(granule as usize);
        Self {
            bytes: vec![0xcd; bytes],
            granules: vec![UNTOUCHED; count],
            readers: Vec::new(),
            free: NONE,
            shift: granule.trailing_zeros(),
            warps,
            check,
        }
    }

    /// For the next block.
    pub(super) fn reset(&mut self) {
        self.bytes.fill(0xcd);
        self.granules.fill(UNTOUCHED);
        self.readers.clear();
        self.free = NONE;
    }

    /// Whether bytes lie within, at a multiple of what they need.
    pub(super) fn range(&self, address: u32, bytes: u32, multiple: u32) -> Result<std::ops::Range<usize>, ErrorKind> {
        if !address.is_multiple_of(multiple) {
            return Err(ErrorKind::Misaligned { address: u64::from(address), multiple });
        }
        let end = address as usize + bytes as usize;
        if end > self.bytes.len() {
            return Err(ErrorKind::OutOfBounds { address: u64::from(address), bytes, shared: true });
        }
        Ok(address as usize..end)
    }

    fn granules_of(&self, range: &std::ops::Range<usize>) -> std::ops::Range<usize> {
        range.start >> self.shift..((range.end - 1) >> self.shift) + 1
    }

    fn address(&self, granule: usize) -> u32 {
        (granule << self.shift) as u32
    }

    /// Says who an agent is.
    fn describe(&self, agent: u16, lane: u8, at: u32, did: &str) -> String {
        let lane = if lane < 32 { format!(", lane {lane}") } else { String::new() };
        match clock::role(agent, self.warps) {
            Some((Role::Generic, warp)) => format!("the {did} of warp {warp}{lane}, instruction {at}"),
            Some((Role::Copy, warp)) => format!("the async copy of warp {warp}{lane}, instruction {at}"),
            Some((Role::Product, warp)) => format!("the {did} by a wgmma of warp {warp}, instruction {at}"),
            Some((Role::Store, warp)) => format!("the {did} by a tensor store of warp {warp}{lane}, instruction {at}"),
            None => format!("the {did} by a tensor load, instruction {at}"),
        }
    }

    /// Whether an agent's deed is ordered before an access.
    fn ordered(&self, access: &Access, agent: u16, lane: u8, time: u32) -> bool {
        if lane != access.lane && lane != ALL_LANES {
            let own = matches!(clock::role(agent, self.warps),
                Some((Role::Generic | Role::Copy, warp)) if warp == access.warp);
            if own {
                return access.known.synced.get(agent) >= time;
            }
        }
        access.known.current.done.get(agent) >= time
    }

    fn race(&self, granule: usize, access: &'static str, other: String) -> ErrorKind {
        ErrorKind::Race { address: self.address(granule), access, other }
    }

    fn check_writer(&self, n: usize, access: &Access, name: &'static str) -> Result<(), ErrorKind> {
        let granule = &self.granules[n];
        if granule.flags & IS_BARRIER != 0 {
            return Err(ErrorKind::Barrier(format!("a {name} at {:#x}, where a barrier lies", self.address(n))));
        }
        if granule.time != 0 && !self.ordered(access, granule.writer, granule.lane, granule.time) {
            let other = self.describe(granule.writer, granule.lane, granule.at, "write");
            return Err(self.race(n, name, other));
        }
        Ok(())
    }

    fn check_fence(&self, n: usize, access: &Access) -> Result<(), ErrorKind> {
        let granule = &self.granules[n];
        let generic = matches!(clock::role(granule.writer, self.warps), Some((Role::Generic | Role::Copy, _)));
        if granule.time != 0 && generic && access.known.current.fenced.get(granule.writer) < granule.time {
            let writer = self.describe(granule.writer, granule.lane, granule.at, "write");
            return Err(ErrorKind::MissingProxyFence { address: self.address(n), writer });
        }
        Ok(())
    }

    /// Whether this is the asynchronous proxy's access.
    fn is_async(&self, agent: u16) -> bool {
        !matches!(clock::role(agent, self.warps), Some((Role::Generic | Role::Copy, _)))
    }

    /// Notes a read of a range, and finds what is wrong with it.
    pub(super) fn note_read(&mut self, range: &std::ops::Range<usize>, access: &Access) -> Result<(), ErrorKind> {
        let fenced = self.is_async(access.agent);
        for n in self.granules_of(range) {
            if self.granules[n].time == 0 && self.granules[n].flags == 0 {
                return Err(ErrorKind::Uninitialised { address: u64::from(self.address(n)), shared: true });
            }
            if !self.check {
                continue;
            }
            self.check_writer(n, access, "read")?;
            if fenced {
                self.check_fence(n, access)?;
            }
            self.add_reader(n, access);
        }
        Ok(())
    }

    fn add_reader(&mut self, n: usize, access: &Access) {
        let mut at = self.granules[n].readers;
        while at != NONE {
            let reader = &mut self.readers[at as usize];
            if reader.agent == access.agent {
                let other = reader.lane != access.lane && reader.time > access.known.synced.get(access.agent);
                reader.lane = if other { SEVERAL_LANES } else { access.lane };
                (reader.time, reader.at) = (access.time, access.at);
                return;
            }
            at = reader.next;
        }
        let next = self.granules[n].readers;
        let Access { agent, lane, time, at, .. } = *access;
        let reader = Reader { agent, lane, time, at, next };
        if self.free == NONE {
            self.granules[n].readers = self.readers.len() as u32;
            self.readers.push(reader);
        } else {
            let place = self.free;
            self.free = self.readers[place as usize].next;
            self.readers[place as usize] = reader;
            self.granules[n].readers = place;
        }
    }

    /// Notes a write of a range, and finds what is wrong with it.
    pub(super) fn note_write(&mut self, range: &std::ops::Range<usize>, access: &Access) -> Result<(), ErrorKind> {
        let fenced = self.is_async(access.agent);
        for n in self.granules_of(range) {
            if self.check {
                self.check_writer(n, access, "write")?;
                if fenced {
                    self.check_fence(n, access)?;
                }
                self.check_readers(n, access)?;
            }
            let granule = &mut self.granules[n];
            (granule.writer, granule.lane) = (access.agent, access.lane);
            (granule.time, granule.at) = (access.time, access.at);
        }
        Ok(())
    }

    fn check_readers(&mut self, n: usize, access: &Access) -> Result<(), ErrorKind> {
        let mut at = self.granules[n].readers;
        while at != NONE {
            let reader = self.readers[at as usize];
            if !self.ordered(access, reader.agent, reader.lane, reader.time) {
                let other = self.describe(reader.agent, reader.lane, reader.at, "read");
                return Err(self.race(n, "write", other));
            }
            if reader.next == NONE {
                self.readers[at as usize].next = self.free;
                self.free = self.granules[n].readers;
                self.granules[n].readers = NONE;
            }
            at = reader.next;
        }
        Ok(())
    }

    /// Notes that a barrier lies at an address from here on.
    pub(super) fn note_barrier(&mut self, range: &std::ops::Range<usize>, access: &Access) -> Result<(), ErrorKind> {
        self.note_write(range, access)?;
        for n in self.granules_of(range) {
            self.granules[n].flags |= IS_BARRIER;
        }
        Ok(())
    }

    /// Whether a barrier's making is ordered before a use of it.
    pub(super) fn check_barrier(&self, range: &std::ops::Range<usize>, access: &Access) -> Result<(), ErrorKind> {
        if !self.check {
            return Ok(());
        }
        for n in self.granules_of(range) {
            let granule = &self.granules[n];
            if !self.ordered(access, granule.writer, granule.lane, granule.time) {
                let other = self.describe(granule.writer, granule.lane, granule.at, "making of the barrier");
                return Err(self.race(n, "use of a barrier", other));
            }
        }
        Ok(())
    }
}
