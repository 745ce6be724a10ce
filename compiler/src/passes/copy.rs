//! Copies of code under fresh names. Dims keep theirs, but for one that may become another: two loops beside each other may
//! walk the same.

use std::collections::HashMap;

use pantile_ir::{DimId, Func, Inst, Region, Type, Value};

/// The fresh names so far.
#[derive(Default)]
pub(super) struct Copies {
    names: HashMap<Value, Value>,
    dim: Option<(DimId, DimId)>,
}

impl Copies {
    /// In whose copies the first dim is the second.
    pub fn renaming(from: DimId, to: DimId) -> Self {
        Self { names: HashMap::new(), dim: Some((from, to)) }
    }

    /// The copy of each value that was defined in what was copied.
    pub fn names(&self) -> &HashMap<Value, Value> {
        &self.names
    }

    fn dim(&self, d: DimId) -> DimId {
        self.dim.filter(|(from, _)| *from == d).map_or(d, |(_, to)| to)
    }

    /// What stands for a value; what was not copied stands for itself.
    pub fn current(&self, v: Value) -> Value {
        self.names.get(&v).copied().unwrap_or(v)
    }

    /// A copy of an instruction.
    pub fn inst(&mut self, func: &mut Func, inst: &Inst) -> Inst {
        let args = self.all(&inst.args);
        let regions = inst.regions.iter().map(|r| self.region(func, r)).collect();
        let results = self.fresh(func, &inst.results);
        let op = inst.op.with_dims(|d| self.dim(d));
        Inst { op, args, results, regions, span: inst.span }
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
        let mut fresh = Vec::with_capacity(values.len());
        for v in values {
            let ty = func.ty(*v);
            let ty = Type::tile(ty.dtype(), ty.dims().iter().map(|d| self.dim(*d)));
            let new = func.new_value(ty);
            self.names.insert(*v, new);
            fresh.push(new);
        }
        fresh
    }
}
