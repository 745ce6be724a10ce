//! Rotated loops: the first part of round n+1 is emitted beside the second part of round n. Where a body is cut is the
//! schedule's business; what each instruction does stands elsewhere.
//!
//! ```text
//! first(0); for n in 1.. { first(n) up to its product; second(n-1) up to its product; the rest of both }; second(last)
//! ```

use pantile_ir::{DType, Inst, Value};

use super::regions::{Rounds, Turn};
use super::rings::View;
use super::{Lower, Scope};
use crate::Limit;
use crate::element;
use crate::schedule::Rotation;
use crate::simt::{Compare, Value as Reg};

/// Instructions of one part, each with the tiles in stages that nobody reads behind it.
type Part<'f> = Vec<(&'f Inst, Vec<Value>)>;

/// The parts of a body: each up to its product, and the rest.
struct Parts<'f> {
    first: [Part<'f>; 2],
    second: [Part<'f>; 2],
}

impl<'f> Lower<'f> {
    /// A loop whose body is cut in two.
    pub(crate) fn rotated(&mut self, turn: &Turn<'f>, rounds: &Rounds, rotation: &Rotation) -> Result<(), Limit> {
        let parts = self.halves(turn, rotation);
        let inits = self.flatten(&turn.inits, &turn.carried)?;
        let states = self.ring_registers(&turn.rings);
        let before: Vec<Reg> = inits.iter().chain(&states).copied().collect();
        let some = self.b.compare(Compare::Lt, rounds.first, rounds.end);
        let outer = self.scope.clone();

        self.b.open(Vec::new());
        // Nothing of a rotated body stores, and what it puts into shared memory it waits for.
        (self.shared_in_use, self.stored) = (true, true);
        let made = self.unrolled(turn, rounds, rotation, &parts)?;
        let then = self.b.close(made);

        self.scope = outer;
        self.b.open(Vec::new());
        let other = self.b.close(before);
        let made = self.b.choose(some, then, other);
        self.take_up(&turn.results, &turn.rings, &made)
    }

    /// The loop where there is at least one round: what it carries at the end, and where the rings stand.
    fn unrolled(
        &mut self,
        turn: &Turn<'f>,
        rounds: &Rounds,
        rotation: &Rotation,
        parts: &Parts<'f>,
    ) -> Result<Vec<Reg>, Limit> {
        let outer = self.scope.clone();
        let of = |late: bool, values: &[Value]| -> Vec<Value> {
            values.iter().zip(&turn.late).filter(|(_, l)| **l == late).map(|(v, _)| *v).collect()
        };
        let (early, late) = (of(false, &turn.carried), of(true, &turn.carried));
        let late_inits = self.flatten(&of(true, &turn.inits), &late)?;
        // The first round's first part.
        let index = self.number_of(rounds, rounds.first);
        let early_inits = self.flatten(&of(false, &turn.inits), &early)?;
        self.enter(turn, index);
        self.unflatten(&early, &early_inits)?;
        parts.first.iter().try_for_each(|part| self.part(part))?;
        let mut carry = self.first_ends(turn, rotation, &early, &of(false, &turn.yields))?;
        self.settle_all();
        let count = carry.len();
        carry.extend(&late_inits);
        carry.extend(self.ring_registers(&turn.rings));
        let second = self.b.add_const(rounds.first, 1);
        let all: Vec<Reg> = [second, index].into_iter().chain(carry).collect();

        let (test, at) = self.open_rounds(rounds, &all);
        let rings = self.ring_registers(&turn.rings).len();
        self.set_rings(&turn.rings, &at[at.len() - rings..]);
        let (from_first, from_second) = at[2..at.len() - rings].split_at(count);
        let index = self.number_of(rounds, at[0]);
        // Two scopes: of the next round, and of this one.
        self.scope = outer.clone();
        self.enter(turn, index);
        self.unflatten(&early, from_first)?;
        let mut other = self.second_begins(&outer, turn, rotation, (at[1], from_first, from_second), &early, &late)?;
        self.part(&parts.first[0])?;
        std::mem::swap(&mut self.scope, &mut other);
        self.part(&parts.second[0])?;
        std::mem::swap(&mut self.scope, &mut other);
        self.part(&parts.first[1])?;
        let mut yields = vec![self.b.add_const(at[0], 1), index];
        yields.extend(self.first_ends(turn, rotation, &early, &of(false, &turn.yields))?);
        self.scope = other;
        self.part(&parts.second[1])?;
        yields.extend(self.flatten(&of(true, &turn.yields), &late)?);
        self.settle_all();
        yields.extend(self.ring_registers(&turn.rings));
        let body = self.b.close(yields);
        let made = self.b.looped(all, test, body);

        // The last round's second part.
        self.set_rings(&turn.rings, &made[made.len() - rings..]);
        let (from_first, from_second) = made[2..made.len() - rings].split_at(count);
        self.scope = self.second_begins(&outer, turn, rotation, (made[1], from_first, from_second), &early, &late)?;
        parts.second.iter().try_for_each(|part| self.part(part))?;
        let ends = self.flatten(&of(true, &turn.yields), &late)?;
        self.settle_all();
        let states = self.ring_registers(&turn.rings);
        self.in_order(turn, from_first, &ends, states)
    }

    /// The registers of what is carried, of both parts, in the order of the loop; then where the rings stand.
    fn in_order(&self, turn: &Turn<'f>, first: &[Reg], second: &[Reg], states: Vec<Reg>) -> Result<Vec<Reg>, Limit> {
        let (mut first, mut second) = (first.iter().copied(), second.iter().copied());
        let mut all = Vec::new();
        for (value, late) in turn.carried.iter().zip(&turn.late) {
            let count = self.flat_len(*value)?;
            if *late { all.extend(second.by_ref().take(count)) } else { all.extend(first.by_ref().take(count)) }
        }
        all.extend(states);
        Ok(all)
    }

    pub(crate) fn flat_len(&self, value: Value) -> Result<usize, Limit> {
        if self.is_scalar(value) {
            return Ok(1);
        }
        self.spread_of(value).map(super::Spread::len).ok_or_else(|| self.bug("a tile is carried without a spread"))
    }

    fn part(&mut self, part: &Part<'f>) -> Result<(), Limit> {
        part.iter().try_for_each(|(inst, last)| self.step(inst, last))
    }

    fn halves(&self, turn: &Turn<'f>, rotation: &Rotation) -> Parts<'f> {
        let insts = &turn.inst.body().insts;
        // A part's order is the body's: the first part's instructions all come before the second's.
        let of = |late: bool| insts.iter().zip(&rotation.late).enumerate().filter(move |(_, (_, l))| **l == late);
        let order: Vec<&Inst> = of(false).chain(of(true)).map(|(_, (inst, _))| inst).collect();
        let mut all = order.iter().copied().zip(self.last_uses(&order));
        let mut take = |late: bool, up_to: usize| {
            let before = of(late).filter(|(n, _)| *n < up_to).count();
            let head: Part<'f> = all.by_ref().take(before).collect();
            let rest: Part<'f> = all.by_ref().take(of(late).count() - before).collect();
            [head, rest]
        };
        Parts { first: take(false, rotation.lead), second: take(true, rotation.issue) }
    }

    /// What a first part hands on: carried values, then what its second part needs of it.
    fn first_ends(
        &mut self,
        turn: &Turn<'f>,
        rotation: &Rotation,
        early: &[Value],
        yields: &[Value],
    ) -> Result<Vec<Reg>, Limit> {
        debug_assert_eq!(turn.late.len(), turn.carried.len());
        let mut ends = self.flatten(yields, early)?;
        for value in &rotation.cross {
            if let Some(view) = self.scope.views.get(value) {
                ends.push(view.stage);
            } else if self.is_scalar(*value) {
                ends.push(self.scalar(*value)?);
            } else {
                let Some(spread) = self.spread_of(*value).cloned() else {
                    return Err(self.bug("a tile crosses rounds without a spread"));
                };
                let registers = self.at(*value, &spread)?;
                ends.extend(self.pack(*value, registers));
            }
        }
        Ok(ends)
    }

    /// The scope in which a second part runs: of the block that its round had, with what was handed on.
    fn second_begins(
        &mut self,
        outer: &Scope,
        turn: &Turn<'f>,
        rotation: &Rotation,
        (index, from_first, from_second): (Reg, &[Reg], &[Reg]),
        early: &[Value],
        late: &[Value],
    ) -> Result<Scope, Limit> {
        let own = std::mem::replace(&mut self.scope, outer.clone());
        self.enter(turn, index);
        let skip: usize = early.iter().map(|v| self.flat_len(*v)).sum::<Result<_, _>>()?;
        let mut registers = &from_first[skip..];
        for value in &rotation.cross {
            let (stage, scalar) = (self.schedule.fills.contains_key(value), self.is_scalar(*value));
            let count = if stage || scalar { 1 } else { self.words_of(*value)? };
            let (mine, rest) = registers.split_at(count);
            registers = rest;
            if stage {
                self.scope.views.insert(*value, View { stage: mine[0] });
            } else if scalar {
                self.scope.scalars.insert(*value, mine[0]);
            } else {
                let unpacked = self.unpack(*value, mine);
                if let Some(spread) = self.spread_of(*value).cloned() {
                    self.scope.tiles.remove(value);
                    self.hold(*value, spread, unpacked);
                }
            }
        }
        self.unflatten(late, from_second)?;
        Ok(std::mem::replace(&mut self.scope, own))
    }

    fn is_packed(&self, value: Value) -> bool {
        let pairs = self.spread_of(value).is_some_and(|s| !s.registers.is_empty());
        pairs && matches!(self.dtype(value), DType::F16 | DType::BF16)
    }

    fn words_of(&self, value: Value) -> Result<usize, Limit> {
        let registers = self.flat_len(value)?;
        Ok(if self.is_packed(value) { registers / 2 } else { registers })
    }

    /// Registers of small floats as words of two, which cross rounds in half the room.
    fn pack(&mut self, value: Value, registers: Vec<Reg>) -> Vec<Reg> {
        if !self.is_packed(value) {
            return registers;
        }
        let dtype = self.dtype(value);
        registers.chunks(2).map(|pair| element::to_units(&mut self.b, dtype, pair)[0]).collect()
    }

    fn unpack(&mut self, value: Value, words: &[Reg]) -> Vec<Reg> {
        if !self.is_packed(value) {
            return words.to_vec();
        }
        let dtype = self.dtype(value);
        let small = if dtype == DType::F16 { crate::simt::Small::F16 } else { crate::simt::Small::BF16 };
        let halves = |b: &mut crate::simt::Builder, word: Reg| {
            let [low, high] = [0, 1].map(|n| element::from_unit(b, dtype, word, n));
            b.note_halves((high, low), small, word);
            [low, high]
        };
        words.iter().flat_map(|word| halves(&mut self.b, *word)).collect()
    }
}
