//! What warps do at barriers, with fences and with the registers they share out.

use super::barriers::Mbarrier;
use super::block::Block;
use super::clock::{self, Role};
use super::error::{ErrorKind, InLane, Outcome};
use super::exec::At;
use super::warp::{State, lanes_of};

impl Block<'_> {
    pub(super) fn barrier(&mut self, at: At, id: u32, threads: Option<u32>, waits: bool) -> Outcome<()> {
        let warp = &mut self.warps[at.warp];
        warp.whole()?;
        let threads = threads.unwrap_or(self.program.threads);
        if id > 15 || threads == 0 || !threads.is_multiple_of(32) || threads > self.program.threads {
            let told = format!("barrier {id} of {threads} threads in a block of {}", self.program.threads);
            return Err(ErrorKind::Program(told).into());
        }
        let message = if waits { warp.known.meet() } else { warp.known.depart() };
        if waits {
            warp.state = State::Barrier(id);
        }
        let barrier = &mut self.numbered[id as usize];
        barrier.arrive(threads, &message, waits.then_some(at.warp))?;
        if let Some((waiting, message)) = barrier.complete() {
            self.release(&waiting, &message);
        }
        Ok(())
    }

    /// The barrier in shared memory that a lane names.
    pub(super) fn find_mbarrier(&self, at: At, lane: u32, address: u32) -> Outcome<usize> {
        let range = self.shared.range(address, 8, 8).lane(lane)?;
        let found = self.mbarriers.iter().position(|b| b.address == address);
        let none = || ErrorKind::Barrier(format!("no barrier was made at shared address {address:#x}"));
        let n = found.ok_or_else(none).lane(lane)?;
        self.shared.check_barrier(&range, &self.by_lane(at, lane as u8)).lane(lane)?;
        Ok(n)
    }

    pub(super) fn mbarrier_init(&mut self, at: At) -> Outcome<()> {
        for lane in lanes_of(self.warps[at.warp].lanes) {
            let address = self.read(at, 0)?[lane as usize] as u32;
            let count = self.read(at, 1)?[lane as usize] as u32;
            if count == 0 || count >= 1 << 20 {
                return Err(ErrorKind::Barrier(format!("a barrier of {count} arrivals"))).lane(lane);
            }
            let range = self.shared.range(address, 8, 8).lane(lane)?;
            let known = &self.warps[at.warp].known;
            let (agent, time) = (at.warp as u16, known.now());
            let access = super::shared::Access { known, warp: at.warp, lane: lane as u8, agent, time, at: at.at };
            self.shared.note_barrier(&range, &access).lane(lane)?;
            let agent = clock::barrier_agent(self.mbarriers.len(), self.warps.len());
            self.mbarriers.push(Mbarrier::new(address, agent, count, at.warp));
        }
        Ok(())
    }

    #[allow(clippy::unnecessary_wraps, reason = "as all ops")]
    pub(super) fn mbarrier_fence(&mut self, at: At) -> Outcome<()> {
        self.mbarriers.iter_mut().filter(|b| b.maker == at.warp).for_each(|b| b.fenced = true);
        Ok(())
    }

    pub(super) fn mbarrier_arrive(&mut self, at: At, expects: bool) -> Outcome<()> {
        let lanes = self.guarded(at, Some(if expects { 2 } else { 1 }))?;
        if lanes == 0 {
            return Ok(());
        }
        let message = self.warps[at.warp].known.release();
        for lane in lanes_of(lanes) {
            let address = self.read(at, 0)?[lane as usize] as u32;
            let bytes = if expects { self.read(at, 1)?[lane as usize] as u32 } else { 0 };
            let n = self.find_mbarrier(at, lane, address)?;
            if self.mbarriers[n].arrive(bytes, &message).lane(lane)? {
                self.wake(address);
            }
        }
        Ok(())
    }

    /// All running lanes wait for what each of them names.
    pub(super) fn mbarrier_wait(&mut self, at: At) -> Outcome<()> {
        let lanes = self.warps[at.warp].lanes;
        let mut found = Vec::new();
        for lane in lanes_of(lanes) {
            let address = self.read(at, 0)?[lane as usize] as u32;
            let parity = self.read(at, 1)?[lane as usize] as u32;
            let n = self.find_mbarrier(at, lane, address)?;
            if !self.mbarriers[n].is_complete(parity) {
                self.warps[at.warp].state = State::Mbarrier(address, parity & 1);
                return Ok(());
            }
            if !found.contains(&n) {
                found.push(n);
            }
        }
        for n in found {
            self.warps[at.warp].known.acquire(lanes, &self.mbarriers[n].done);
        }
        Ok(())
    }

    /// Counts if the lanes that run are all that wrote since the last one.
    #[allow(clippy::unnecessary_wraps, reason = "as all ops")]
    pub(super) fn proxy_fence(&mut self, at: At) -> Outcome<()> {
        let warps = self.warps.len();
        let warp = &mut self.warps[at.warp];
        if warp.unfenced & !warp.lanes == 0 {
            warp.unfenced = 0;
            let agents = [Role::Generic, Role::Copy].map(|role| clock::agent(role, at.warp, warps));
            warp.known.fence(&agents);
        }
        Ok(())
    }

    pub(super) fn set_registers(&mut self, at: At, up: bool, count: u32) -> Outcome<()> {
        let warp = &mut self.warps[at.warp];
        warp.whole()?;
        let has = warp.allowance;
        let wrong = if up { count < has } else { count > has };
        if wrong || !(24..=256).contains(&count) || !count.is_multiple_of(8) {
            let way = if up { "up" } else { "down" };
            let told = format!("registers of a thread {way} from {has} to {count}; multiples of 8 from 24 to 256");
            return Err(ErrorKind::Program(told).into());
        }
        if up && (count - has) * 32 > self.spare {
            warp.state = State::Registers(count);
            return Ok(());
        }
        warp.allowance = count;
        self.spare = self.spare + has * 32 - count * 32;
        self.log(at.warp, (at.at, u64::from(count), 0))?;
        if !up {
            self.wake_for_registers();
        }
        Ok(())
    }
}
