//! The walk that rewriting passes share: in order of execution, each instruction once, with all replacements so far put
//! into its operands. What to rewrite is the pass's business.

use std::collections::HashMap;

use pantile_diag::Span;
use pantile_ir::{DType, Func, Inst, Op, Region, Scalar, Type, Value, result_types};

use crate::analysis::defs::Defs;

/// A value to use instead of an instruction's result, or `None` to leave it.
pub(super) type Rule = fn(&mut Rewriter, &Inst) -> Option<Value>;

/// What becomes of an instruction with regions.
pub(super) enum Nested {
    /// It stays, perhaps changed.
    Keep(Inst),
    /// It goes; these run in its place, and these values stand for its results.
    Inline(Vec<Inst>, Vec<Value>),
}

/// May simplify an instruction with regions, before those are walked; says whether it did.
pub(super) type NestedRule = fn(&mut Rewriter, Inst) -> (Nested, bool);

pub(super) struct Rewriter<'f> {
    pub func: &'f mut Func,
    pub defs: Defs,
    pub changed: bool,
    rule: Rule,
    nested: NestedRule,
    replaced: HashMap<Value, Value>,
    out: Vec<Inst>,
    span: Span,
}

/// For passes that have nothing to say about `for` and `if`.
pub(super) fn keep_nested(_: &mut Rewriter, inst: Inst) -> (Nested, bool) {
    (Nested::Keep(inst), false)
}

/// Walks the function once; whether anything changed.
pub(super) fn rewrite(func: &mut Func, rule: Rule, nested: NestedRule) -> bool {
    let body = std::mem::take(&mut func.body);
    let defs = Defs::prologue(func);
    let span = Span::default();
    let mut rw = Rewriter { func, defs, changed: false, rule, nested, replaced: HashMap::new(), out: Vec::new(), span };
    let body = rw.region(body);
    rw.func.body = body;
    rw.changed
}

impl Rewriter<'_> {
    /// Appends a new instruction.
    pub(super) fn emit(&mut self, op: Op, args: &[Value]) -> Option<Value> {
        let types = result_types(self.func, &op, args, &[]).ok()?;
        let [ty] = <[Type; 1]>::try_from(types).ok()?;
        let result = self.func.new_value(ty);
        let inst = Inst { op, args: args.to_vec(), results: vec![result], regions: Vec::new(), span: self.span };
        self.defs.record(&inst);
        self.out.push(inst);
        Some(result)
    }

    /// A constant of a type, along all its dims.
    pub(super) fn constant(&mut self, ty: &Type, x: Scalar) -> Option<Value> {
        let scalar = self.emit(Op::Const(ty.dtype(), x), &[])?;
        self.fit(scalar, ty)
    }

    pub(super) fn int(&mut self, n: i64) -> Option<Value> {
        self.emit(Op::Const(DType::I64, Scalar::Int(n)), &[])
    }

    /// A value with all dims of a type.
    pub(super) fn fit(&mut self, v: Value, ty: &Type) -> Option<Value> {
        let have = self.func.ty(v);
        if have == ty {
            return Some(v);
        }
        let missing = ty.dims().iter().copied().filter(|d| !have.dims().contains(d)).collect();
        self.emit(Op::Broadcast(missing), &[v])
    }

    fn current(&self, v: Value) -> Value {
        self.replaced.get(&v).copied().unwrap_or(v)
    }

    fn region(&mut self, mut region: Region) -> Region {
        let outer = std::mem::take(&mut self.out);
        for inst in region.insts {
            self.inst(inst);
        }
        region.yields.iter_mut().for_each(|v| *v = self.current(*v));
        region.insts = std::mem::replace(&mut self.out, outer);
        region
    }

    fn inst(&mut self, mut inst: Inst) {
        inst.args.iter_mut().for_each(|v| *v = self.current(*v));
        self.span = inst.span;
        if !inst.regions.is_empty() {
            return self.with_regions(inst);
        }
        let mark = self.out.len();
        match (self.rule)(self, &inst) {
            Some(v) => {
                self.changed = true;
                inst.results.iter().for_each(|r| _ = self.replaced.insert(*r, v));
            }
            None => {
                self.out.truncate(mark);
                self.defs.record(&inst);
                self.out.push(inst);
            }
        }
    }

    fn with_regions(&mut self, inst: Inst) {
        let results = inst.results.clone();
        let (nested, changed) = (self.nested)(self, inst);
        self.changed |= changed;
        match nested {
            Nested::Keep(mut inst) => {
                self.defs.record_loop(self.func, &inst);
                inst.regions = std::mem::take(&mut inst.regions).into_iter().map(|r| self.region(r)).collect();
                self.out.push(inst);
            }
            Nested::Inline(insts, values) => {
                insts.into_iter().for_each(|inst| self.inst(inst));
                for (result, v) in results.into_iter().zip(values) {
                    let v = self.current(v);
                    self.replaced.insert(result, v);
                }
            }
        }
    }

    /// From here on, one value stands for another.
    pub(super) fn replace(&mut self, old: Value, new: Value) {
        let new = self.current(new);
        self.replaced.insert(old, new);
    }
}
