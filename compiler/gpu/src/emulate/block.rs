//! One block after another: which warp goes on when, what of the background happens when, and who waits for whom. What an
//! instruction does is in [`super::exec`].

use super::barriers::{Mbarrier, Numbered};
use super::clock::Message;
use super::code::Code;
use super::copies::Flight;
use super::error::{Error, ErrorKind, Mistake, Outcome};
use super::memory::Memory;
use super::report::Counts;
use super::shared::Shared;
use super::warp::{State, Warp};
use super::{Options, Schedule};
use crate::simt::Program;

/// Registers of a multiprocessor.
const REGISTERS: u32 = 65536;

/// Numbers that look random (splitmix64).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed ^ 0x6a09_e667_f3bc_c908)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below a bound.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// True once in so many times; never for 0.
    pub(super) fn once_in(&mut self, times: u32) -> bool {
        times != 0 && self.next().is_multiple_of(u64::from(times))
    }
}

/// How a block is hurried and held back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mood {
    /// Steps that a warp takes before another one may.
    burst: usize,
    /// How rarely the background acts between bursts: once in so many; 0: only when it must.
    late: u32,
}

impl Mood {
    fn new(schedule: Schedule, random: &mut Random) -> Self {
        match schedule {
            Schedule::InOrder => Self { burst: usize::MAX, late: 1 },
            Schedule::Adversarial => {
                let burst = [1, 4, 32, 300, usize::MAX][random.below(5)];
                Self { burst, late: [0, 1, 3, 20][random.below(4)] }
            }
        }
    }
}

/// A block that runs.
pub(super) struct Block<'a> {
    pub(super) program: &'a Program,
    pub(super) code: &'a Code,
    pub(super) words: &'a [u64],
    pub(super) memory: &'a mut Memory,
    pub(super) shared: &'a mut Shared,
    pub(super) counts: &'a mut [Counts],
    pub(super) options: &'a Options,
    pub(super) number: u32,
    pub(super) blocks: u32,
    pub(super) warps: Vec<Warp>,
    pub(super) numbered: Vec<Numbered>,
    pub(super) mbarriers: Vec<Mbarrier>,
    pub(super) flights: Vec<Flight>,
    /// For each warpgroup, what its warps must all do in this order.
    pub(super) log: Vec<Vec<(u32, u64, u64)>>,
    /// Registers that nobody has.
    pub(super) spare: u32,
    pub(super) random: Random,
    mood: Mood,
    steps: u64,
}

impl<'a> Block<'a> {
    #[allow(clippy::too_many_arguments, reason = "the parts of a launch")]
    pub(super) fn new(
        program: &'a Program,
        code: &'a Code,
        words: &'a [u64],
        memory: &'a mut Memory,
        shared: &'a mut Shared,
        counts: &'a mut [Counts],
        options: &'a Options,
        (number, blocks): (u32, u32),
    ) -> Self {
        let mut random = Random::new(options.seed.wrapping_add(u64::from(number) << 32));
        let mood = Mood::new(options.schedule, &mut random);
        let count = program.threads as usize / 32;
        let allowance = match program.registers {
            0 => (REGISTERS / program.threads / 8 * 8).min(248),
            registers => registers,
        };
        let warps = (0..count).map(|n| Warp::new(n, code.slots, allowance)).collect();
        Self {
            program,
            code,
            words,
            memory,
            shared,
            counts,
            options,
            number,
            blocks,
            warps,
            numbered: vec![Numbered::default(); 16],
            mbarriers: Vec::new(),
            flights: Vec::new(),
            log: vec![Vec::new(); count.div_ceil(4)],
            spare: REGISTERS.saturating_sub(allowance * program.threads),
            random,
            mood,
            steps: 0,
        }
    }

    /// Runs the block to its end.
    pub(super) fn run(mut self) -> Result<(), Error> {
        loop {
            let ready: Vec<usize> = self.warps.iter().filter(|w| w.state == State::Ready).map(|w| w.id).collect();
            if ready.is_empty() {
                if self.warps.iter().all(|w| w.state == State::Done) {
                    return self.finish();
                }
                if self.flights.is_empty() {
                    return Err(self.stuck());
                }
                let n = self.random.below(self.flights.len());
                self.land_told(n)?;
                continue;
            }
            let first = self.options.schedule == Schedule::InOrder;
            let warp = if first { ready[0] } else { ready[self.random.below(ready.len())] };
            self.burst(warp)?;
            while !self.flights.is_empty() && self.random.once_in(self.mood.late) {
                let n = self.random.below(self.flights.len());
                self.land_told(n)?;
            }
            if self.random.once_in(self.mood.late) {
                let warp = &mut self.warps[warp];
                warp.products.run(u32::MAX, &self.shared.bytes);
            }
        }
    }

    fn burst(&mut self, warp: usize) -> Result<(), Error> {
        let steps = match self.mood.burst {
            usize::MAX => usize::MAX,
            most => 1 + self.random.below(most),
        };
        for _ in 0..steps {
            let at = self.warps[warp].at;
            self.steps += 1;
            let limit = self.options.steps;
            let done = if self.steps > limit { Err(ErrorKind::TooLong(limit).into()) } else { self.step(warp) };
            done.map_err(|mistake| self.told(&mistake, warp, Some(at)))?;
            if self.warps[warp].state != State::Ready {
                break;
            }
        }
        Ok(())
    }

    fn land_told(&mut self, n: usize) -> Result<(), Error> {
        let (warp, at) = (self.flights[n].warp, self.flights[n].at);
        self.land(n).map_err(|mistake| self.told(&mistake, warp, Some(at)))
    }

    fn told(&self, mistake: &Mistake, warp: usize, at: Option<u32>) -> Error {
        Error {
            kind: mistake.kind.clone(),
            program: self.program.name.clone(),
            inst: at.map(|at| self.code.texts[at as usize].clone()).unwrap_or_default(),
            block: self.number,
            warp: warp as u32,
            lane: mistake.lane,
        }
    }

    /// What must not be left behind.
    fn finish(self) -> Result<(), Error> {
        for warp in &self.warps {
            let log = &self.log[warp.id / 4];
            let told = if warp.products.under_way() {
                Some(ErrorKind::Warpgroup("the block ends while products are under way".into()))
            } else if warp.products.logged != log.len() {
                let told = format!("warp {} met {} of {} of their ops", warp.id, warp.products.logged, log.len());
                Some(ErrorKind::Warpgroup(told))
            } else if warp.stores_open || warp.stores_read < warp.store_groups {
                Some(ErrorKind::Copy("the block ends while tensor stores may still read its shared memory".into()))
            } else if self.flights.iter().any(|f| f.warp == warp.id) {
                Some(ErrorKind::Copy("the block ends while copies to its shared memory are under way".into()))
            } else {
                None
            };
            if let Some(kind) = told {
                return Err(self.told(&Mistake { kind, lane: None }, warp.id, None));
            }
        }
        Ok(())
    }

    /// Nobody can go on: who waits for what.
    fn stuck(&self) -> Error {
        let mut waits: Vec<String> = Vec::new();
        let mut first = (0, None);
        for warp in self.warps.iter().rev() {
            let what = match warp.state {
                State::Ready | State::Done => continue,
                State::Barrier(id) => {
                    let barrier = &self.numbered[id as usize];
                    format!("barrier {id}, which {} of {} threads have met", barrier.arrived, barrier.threads)
                }
                State::Mbarrier(address, parity) => {
                    let lacks = self.mbarriers.iter().find(|b| b.address == address).map(Mbarrier::lacks);
                    let lacks = lacks.unwrap_or_default();
                    format!("the phase of parity {parity} of the barrier at {address:#x}, whose phase lacks {lacks}")
                }
                State::Registers(count) => format!("{count} registers a thread, where {} are spare", self.spare),
            };
            first = (warp.id, Some(warp.at - 1));
            waits.insert(0, format!("warp {} waits for {what}", warp.id));
        }
        let finished = self.warps.iter().any(|w| w.state == State::Done);
        let numbered = self.warps.iter().any(|w| matches!(w.state, State::Barrier(_)));
        if finished {
            waits.push("the others have finished".into());
        }
        let told = waits.join("; ");
        let kind = if finished && numbered { ErrorKind::BarrierMismatch(told) } else { ErrorKind::Deadlock(told) };
        self.told(&Mistake { kind, lane: None }, first.0, first.1)
    }

    /// Warps that a barrier lets go learn what it tells.
    pub(super) fn release(&mut self, warps: &[usize], message: &Message) {
        for &warp in warps {
            let warp = &mut self.warps[warp];
            warp.known.acquire(warp.full, message);
            warp.state = State::Ready;
        }
    }

    /// A phase of a barrier in shared memory is complete: who waits for it looks again.
    pub(super) fn wake(&mut self, address: u32) {
        for warp in &mut self.warps {
            if matches!(warp.state, State::Mbarrier(of, _) if of == address) {
                warp.state = State::Ready;
                warp.at -= 1;
            }
        }
    }

    /// Registers came free: who waits for some looks again.
    pub(super) fn wake_for_registers(&mut self) {
        for warp in &mut self.warps {
            if matches!(warp.state, State::Registers(_)) {
                warp.state = State::Ready;
                warp.at -= 1;
            }
        }
    }

    /// The warps of a warpgroup must all do this next.
    pub(super) fn log(&mut self, warp: usize, what: (u32, u64, u64)) -> Outcome<()> {
        let log = &mut self.log[warp / 4];
        let products = &mut self.warps[warp].products;
        products.logged += 1;
        if products.logged > log.len() {
            log.push(what);
            return Ok(());
        }
        let other = log[products.logged - 1];
        if other == what {
            return Ok(());
        }
        let told = if other.0 == what.0 {
            "they give different descriptors".to_owned()
        } else {
            format!("another warp runs `{}`", self.code.texts[other.0 as usize])
        };
        Err(ErrorKind::Warpgroup(told).into())
    }
}
