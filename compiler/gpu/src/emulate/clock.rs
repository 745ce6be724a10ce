//! Who knows of whose deeds: vector clocks. Agents are warps and what acts for them in the background; an access is
//! ordered before another one if the second's agent has learnt, by barriers, of a time not before the first. It does not
//! know what was accessed.
//!
//! A barrier in shared memory is an agent, too: the copies that complete its phase `k` act at its time `k + 1`, for those
//! copies are known to be done when that phase is, and no earlier.
//!
//! Lanes of a warp share a clock, but not all they know: what a part of the lanes waited for is known to these lanes alone
//! until the whole warp meets a barrier. What one lane wrote is ordered before another lane's access by a barrier
//! only: compilers may swap the two.

/// The time that each agent is known to have reached; absent ones count as 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Clock(Vec<u32>);

impl Clock {
    pub(super) fn get(&self, agent: u16) -> u32 {
        self.0.get(usize::from(agent)).copied().unwrap_or(0)
    }

    /// Learns that an agent has reached a time.
    pub(super) fn raise(&mut self, agent: u16, time: u32) {
        let agent = usize::from(agent);
        if self.0.len() <= agent {
            self.0.resize(agent + 1, 0);
        }
        self.0[agent] = self.0[agent].max(time);
    }

    pub(super) fn join(&mut self, other: &Clock) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = (*mine).max(*theirs);
        }
    }
}

/// What is handed on at a barrier.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    /// What is done.
    pub(super) done: Clock,
    /// What of it asynchronous accesses can see.
    pub(super) fenced: Clock,
}

impl Message {
    pub(super) fn join(&mut self, other: &Message) {
        self.done.join(&other.done);
        self.fenced.join(&other.fenced);
    }
}

/// Agents that act for a warp, in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Its own loads and stores.
    Generic,
    /// Its `cp.async` copies; time is the group's number.
    Copy,
    /// Its `wgmma` products; time is the group's number.
    Product,
    /// Its tensor stores; time is the group's number.
    Store,
}

/// The number of a warp's agent.
pub(super) fn agent(role: Role, warp: usize, warps: usize) -> u16 {
    (role as usize * warps + warp) as u16
}

/// The number of the agent of the `n`th barrier in shared memory.
pub(super) fn barrier_agent(n: usize, warps: usize) -> u16 {
    (4 * warps + n) as u16
}

/// Which warp an agent acts for, and how; `None` for barriers.
pub(super) fn role(agent: u16, warps: usize) -> Option<(Role, usize)> {
    let agent = usize::from(agent);
    let role = match agent / warps {
        0 => Role::Generic,
        1 => Role::Copy,
        2 => Role::Product,
        3 => Role::Store,
        4.. => return None,
    };
    Some((role, agent % warps))
}

/// What a warp knows.
#[derive(Debug)]
pub(super) struct Knowledge {
    own: u16,
    /// All its lanes.
    full: u32,
    /// Known to all lanes.
    common: Message,
    /// Known to these lanes besides.
    partial: Vec<(u32, Message)>,
    /// Known to the lanes that run.
    pub(super) current: Message,
    /// Of its own agents: up to when each lane's deeds are ordered before every other lane's.
    pub(super) synced: Clock,
}

impl Knowledge {
    pub(super) fn new(own: u16, full: u32) -> Self {
        let mut common = Message::default();
        common.done.raise(own, 1);
        let current = common.clone();
        Self { own, full, common, partial: Vec::new(), current, synced: Clock::default() }
    }

    /// The warp's own time.
    pub(super) fn now(&self) -> u32 {
        self.common.done.get(self.own)
    }

    fn tick(&mut self) {
        let next = self.now() + 1;
        self.common.done.raise(self.own, next);
        self.current.done.raise(self.own, next);
    }

    /// Other lanes run from here on.
    pub(super) fn set_lanes(&mut self, lanes: u32) {
        if self.partial.is_empty() {
            return;
        }
        self.current = self.common.clone();
        for (knowing, message) in &self.partial {
            if lanes & !knowing == 0 {
                self.current.join(message);
            }
        }
    }

    /// Hands on what the running lanes know and what the warp did so far.
    pub(super) fn release(&mut self) -> Message {
        let message = self.current.clone();
        self.tick();
        message
    }

    /// The running lanes learn.
    pub(super) fn acquire(&mut self, lanes: u32, message: &Message) {
        self.current.join(message);
        if lanes == self.full {
            self.common.join(message);
            self.synced.join(&message.done);
            return;
        }
        match self.partial.iter_mut().find(|(knowing, _)| *knowing == lanes) {
            Some((_, known)) => known.join(message),
            None => self.partial.push((lanes, message.clone())),
        }
    }

    /// The running lanes learn that an agent has reached a time.
    pub(super) fn learn(&mut self, lanes: u32, agent: u16, time: u32) {
        let mut message = Message::default();
        message.done.raise(agent, time);
        self.current.join(&message);
        if lanes == self.full {
            // Each lane learns of its own deeds only, so that `synced` stays.
            self.common.join(&message);
        } else {
            self.acquire(lanes, &message);
        }
    }

    /// The whole warp comes to a barrier: its lanes tell each other and the barrier all they know.
    pub(super) fn meet(&mut self) -> Message {
        for (_, message) in std::mem::take(&mut self.partial) {
            self.common.join(&message);
        }
        self.current = self.common.clone();
        self.synced = self.common.done.clone();
        self.release()
    }

    /// The whole warp passes a barrier without waiting: its lanes tell it all they know, but do not hear each other.
    pub(super) fn depart(&mut self) -> Message {
        let mut message = self.common.clone();
        for (_, known) in &self.partial {
            message.join(known);
        }
        self.tick();
        message
    }

    /// The whole warp made its writes visible to asynchronous accesses.
    pub(super) fn fence(&mut self, agents: &[u16]) {
        for &agent in agents {
            let time = self.current.done.get(agent);
            self.common.fenced.raise(agent, time);
            self.current.fenced.raise(agent, time);
        }
        self.tick();
    }
}
