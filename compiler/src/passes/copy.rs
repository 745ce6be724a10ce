//! Copies of code under fresh names. Dims keep theirs: two loops beside each other may walk the same one.

use std::collections::HashMap;

use pantile_ir::{Func, Inst, Region, Value};

/// The fresh names so far.
#[derive(Default)]
pub(super) struct Copies {
    names: HashMap<Value, Value>,
}

impl Copies {
    /// What stands for a value; what was not copied stands for itself.
    pub fn current(&self, v: Value) -> Value {
        self.names.get(&v).copied().unwrap_or(v)
    }

    /// A copy of an instruction.
    pub fn inst(&mut self, func: &mut Func, inst: &Inst) -> Inst {
        let args = self.all(&inst.args);
        let regions = inst.regions.iter().map(|r| self.region(func, r)).collect();
        let results = self.fresh(func, &inst.results);
        Inst { op: inst.op.clone(), args, results, regions, span: inst.span }
    }

    /// A copy of a region.
    pub fn region(&mut self, func: &mut Func, region: &Region) -> Region {
        let args = self.fresh(func, &region.args);
        let insts = region.insts.iter().map(|i| self.inst(func, i)).collect();
        Region { args, insts, yields: self.all(&region.yields) }
    }

    fn all(&self, values: &[Value]) -> Vec<Value> {
        values.iter().map(|v| self.current(*v)).collect()
    }

    fn fresh(&mut self, func: &mut Func, values: &[Value]) -> Vec<Value> {
        let fresh = |v: &Value| {
            let ty = func.ty(*v).clone();
            let new = func.new_value(ty);
            self.names.insert(*v, new);
            new
        };
        values.iter().map(fresh).collect()
    }
}
