//! Moves a tile from one spread to another by the cheapest means that `layout/` finds: other names for registers, shuffles,
//! or shared memory without bank conflicts. Which spread a tile should have is not decided here.

use pantile_ir::DType;

use super::{Held, Lower, Spread};
use crate::Limit;
use crate::element;
use crate::layout::convert::{Conversion, Shuffles};
use crate::simt::{Binary, Shuffle, Ty, Value as Reg};

impl Lower<'_> {
    /// A tile in another spread, made of that one of those it is held in that is the cheapest to move; and whether anything
    /// moves.
    pub(crate) fn convert(&mut self, dtype: DType, from: &[Held], to: &Spread) -> Result<(Vec<Reg>, bool), Limit> {
        let to = self.planned(to.layout())?;
        let mut plans = Vec::new();
        for held in from {
            let plan = held.spread.layout().and_then(|own| Conversion::plan(&own, &to, dtype.bytes() as u32));
            plans.push((held, self.planned(plan)?));
        }
        let Some((held, plan)) = plans.into_iter().min_by_key(|(_, plan)| plan.cost()) else {
            return Err(self.bug("a tile is nowhere"));
        };
        let own = &held.registers;
        Ok(match &plan {
            Conversion::Nothing => (own.clone(), false),
            Conversion::Registers(map) => (map.iter().map(|r| own[*r as usize]).collect(), false),
            Conversion::Shuffles(plan) => (self.shuffled(dtype, plan, own), true),
            Conversion::Exchange(plan) => {
                let base = self.scratch(plan.size() as u32);
                self.put(dtype, &plan.store, base, own);
                self.meet();
                (self.take(dtype, &plan.load, base), true)
            }
        })
    }

    /// Rounds of shuffles, each of words of one or several elements.
    fn shuffled(&mut self, dtype: DType, plan: &Shuffles, from: &[Reg]) -> Vec<Reg> {
        let each = 1usize << plan.pack;
        let words: Vec<_> = from.chunks(each).map(|elements| Some(self.joined(dtype, elements))).collect();
        let offered = self.permuted(words, &plan.offer);
        let asked = (!plan.is_butterfly()).then(|| self.of_thread(&plan.lane, 0));
        let mut placed = vec![None; plan.held.len()];
        for round in &plan.rounds {
            let Some(word) = offered[round.offer as usize] else { continue };
            let got = match asked {
                None if round.lane == 0 => word,
                None => self.b.shuffle(Shuffle::Xor(round.lane as u32), word, None),
                Some(lane) => {
                    let apart = self.b.i32(round.lane as i32);
                    let lane = self.b.binary(Binary::Xor, lane, apart);
                    self.b.shuffle(Shuffle::Index, word, Some(lane))
                }
            };
            placed[round.place as usize] = Some(got);
        }
        let placed = self.permuted(placed, &plan.place);
        let words: Vec<Reg> = plan.held.iter().filter_map(|w| placed[*w as usize]).collect();
        words.into_iter().flat_map(|word| self.elements_of(dtype, word, each)).collect()
    }

    /// What moves at once: packed elements, or one element as it is held.
    fn joined(&mut self, dtype: DType, elements: &[Reg]) -> Reg {
        match elements {
            [one] if self.b.ty(*one) != Ty::Bool => *one,
            all => element::to_units(&mut self.b, dtype, all)[0],
        }
    }

    /// The elements that [`Lower::joined`] made a word of.
    fn elements_of(&mut self, dtype: DType, word: Reg, each: usize) -> Vec<Reg> {
        if each == 1 && element::carrier(dtype) != Ty::Bool {
            return vec![word];
        }
        (0..each as u32).map(|n| element::from_unit(&mut self.b, dtype, word, n)).collect()
    }
}
