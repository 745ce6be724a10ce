//! Copies of code: every value defined in the copy is a fresh one, and one dim may become another. It decides nothing about
//! what is copied, or why.

use std::collections::HashMap;

use pantile_ir::{DimId, Func, Inst, Region, Type, Value};

/// Makes copies within one function, and remembers what became of each value.
pub(super) struct Duplicate<'f> {
    func: &'f mut Func,
    dim: Option<(DimId, DimId)>,
    /// The copy of each value that was defined in what was copied.
    pub values: HashMap<Value, Value>,
}

impl<'f> Duplicate<'f> {
    /// In whose copies the first dim is the second.
    pub(super) fn new(func: &'f mut Func, dim: Option<(DimId, DimId)>) -> Self {
        Self { func, dim, values: HashMap::new() }
    }

    fn dim(&self, d: DimId) -> DimId {
        self.dim.filter(|(from, _)| *from == d).map_or(d, |(_, to)| to)
    }

    fn define(&mut self, v: Value) -> Value {
        let ty = self.func.ty(v);
        let ty = Type::tile(ty.dtype(), ty.dims().iter().map(|d| self.dim(*d)));
        let copy = self.func.new_value(ty);
        self.values.insert(v, copy);
        copy
    }

    /// What stands for a value in the copy.
    fn current(&self, v: Value) -> Value {
        self.values.get(&v).copied().unwrap_or(v)
    }

    pub(super) fn inst(&mut self, inst: &Inst) -> Inst {
        let args = inst.args.iter().map(|v| self.current(*v)).collect();
        let regions = inst.regions.iter().map(|r| self.region(r)).collect();
        let results = inst.results.iter().map(|v| self.define(*v)).collect();
        let op = inst.op.with_dims(|d| self.dim(d));
        Inst { op, args, results, regions, span: inst.span }
    }

    pub(super) fn region(&mut self, region: &Region) -> Region {
        let args = region.args.iter().map(|v| self.define(*v)).collect();
        let insts = region.insts.iter().map(|i| self.inst(i)).collect();
        let yields = region.yields.iter().map(|v| self.current(*v)).collect();
        Region { args, insts, yields }
    }
}
