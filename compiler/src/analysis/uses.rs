//! How often each value of a function is used. Not where.

use pantile_ir::{Func, Region, Value};

/// Use counts, one a value: operands and yields.
pub struct Uses(Vec<u32>);

impl Uses {
    /// Counts all uses in a function.
    pub fn of(func: &Func) -> Self {
        let mut uses = Self(vec![0; func.types.len()]);
        uses.region(&func.body);
        uses
    }

    /// The number of uses of a value.
    pub fn count(&self, v: Value) -> u32 {
        self.0.get(v.index()).copied().unwrap_or(0)
    }

    fn region(&mut self, region: &Region) {
        region.yields.iter().for_each(|v| self.0[v.index()] += 1);
        for inst in &region.insts {
            inst.args.iter().for_each(|v| self.0[v.index()] += 1);
            inst.regions.iter().for_each(|r| self.region(r));
        }
    }
}
