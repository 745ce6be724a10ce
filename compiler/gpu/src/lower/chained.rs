//! Loops whose products go on with the sums of the round before: each round waits for the last one's products behind the
//! issue of its own, and gives back then what they read.

use pantile_ir::Value;

use super::Lower;
use super::regions::{Rounds, Turn};
use crate::Limit;
use crate::schedule::{Chain, RingId};
use crate::simt::{Compare, Op, Ty, Value as Reg};

impl<'f> Lower<'f> {
    /// Such a loop.
    pub(crate) fn chained(&mut self, turn: &Turn<'f>, rounds: &Rounds, chain: &Chain) -> Result<(), Limit> {
        let inits = self.flatten(&turn.inits, &turn.carried)?;
        let states = self.ring_registers(&turn.rings);
        let zero = self.b.i32(0);
        let ring = |l: &Self, view: &Value| l.schedule.fills.get(view).map(|f| f.ring);
        let rings: Vec<RingId> = chain.views.iter().filter_map(|view| ring(self, view)).collect();
        let all: Vec<Reg> =
            [rounds.first].into_iter().chain(inits).chain(states).chain(rings.iter().map(|_| zero)).collect();
        let scope = self.scope.clone();
        let (test, at) = self.open_rounds(rounds, &all);
        let (state, before) = at[1..].split_at(at.len() - 1 - rings.len());
        let index = self.number_of(rounds, at[0]);
        self.enter(turn, index);
        self.take_up(&turn.carried, &turn.rings, state)?;
        self.region(turn.inst.body())?;
        let sums = self.unfinished(chain)?;
        let later = self.b.compare(Compare::Gt, at[0], rounds.first);
        for (ring, stage) in rings.iter().zip(before) {
            self.free(*ring, *stage, Some(later));
        }
        let mut yields = vec![self.b.add_const(at[0], 1)];
        for (n, value) in turn.carried.iter().enumerate() {
            match chain.sums.iter().position(|(number, _)| *number == n) {
                Some(at) => yields.extend(&sums[at]),
                None => yields.extend(self.flatten(&turn.yields[n..=n], std::slice::from_ref(value))?),
            }
        }
        yields.extend(self.ring_registers(&turn.rings));
        let stages = chain.views.iter().filter_map(|view| self.scope.views.get(view).map(|v| v.stage));
        yields.extend(stages);
        let body = self.b.close(yields);
        self.scope = scope;
        let mut made = self.b.looped(all, test, body);

        // The last round's products.
        let last = made.split_off(made.len() - rings.len());
        let mut places = Vec::new();
        let mut start = 1;
        for (n, value) in turn.carried.iter().enumerate() {
            let count = self.flat_len(*value)?;
            if chain.sums.iter().any(|(number, _)| *number == n) {
                places.extend(start..start + count);
            }
            start += count;
        }
        let sums: Vec<Reg> = places.iter().map(|n| made[*n]).collect();
        let done = self.b.emit(Op::WgmmaWait(0), &sums, &vec![Ty::F32; sums.len()]);
        places.iter().zip(done).for_each(|(n, sum)| made[*n] = sum);
        let some = self.b.compare(Compare::Lt, rounds.first, rounds.end);
        for (ring, stage) in rings.iter().zip(last) {
            self.free(*ring, stage, Some(some));
        }
        self.take_up(&turn.results, &turn.rings, &made[1..])
    }

    /// The sums of this round's products, behind a wait for those of the last round.
    fn unfinished(&mut self, chain: &Chain) -> Result<Vec<Vec<Reg>>, Limit> {
        let mut sums = Vec::new();
        for (_, sum) in &chain.sums {
            let at = self.pending.iter().position(|p| p.value == *sum);
            let Some(at) = at else { return Err(self.bug("a product of a chain is not under way")) };
            sums.push(self.pending.remove(at).registers);
        }
        let all: Vec<Reg> = sums.iter().flatten().copied().collect();
        let got = self.b.emit(Op::WgmmaWait(sums.len() as u32), &all, &vec![Ty::F32; all.len()]);
        let mut got = got.into_iter();
        Ok(sums.iter().map(|s| got.by_ref().take(s.len()).collect()).collect())
    }
}
