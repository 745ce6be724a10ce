//! Common subexpression elimination: what has been computed already is used again.
//!
//! ```text
//! %3: f32 = exp %1                    %3: f32 = exp %1
//! %4: f32 = exp %1             →      %5: f32 = add %3, %3
//! %5: f32 = add %3, %4
//! ```
//! Needs: nothing. Leaves: no two pure ops alike of which one sees the other. Loads of inputs are pure, because outputs
//! never share memory with inputs; loads of outputs are not. Does not look into `for` and `if` as wholes. Cost: linear.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use pantile_ir::{BinaryOp, Func, Inst, Op, ParamId, Region, Scalar, Value};

use super::{Changed, PassCx};

/// Runs the pass.
pub fn run(func: &mut Func, _cx: &PassCx) -> Changed {
    let mut body = std::mem::take(&mut func.body);
    let mut cse = Cse { func, seen: HashMap::new(), replaced: HashMap::new() };
    cse.region(&mut body);
    let changed = !cse.replaced.is_empty();
    func.body = body;
    changed.into()
}

struct Cse<'f> {
    func: &'f Func,
    seen: HashMap<Key, Value>,
    replaced: HashMap<Value, Value>,
}

impl Cse<'_> {
    fn region(&mut self, region: &mut Region) {
        let mut added = Vec::new();
        let insts = std::mem::take(&mut region.insts);
        for mut inst in insts {
            inst.args.iter_mut().for_each(|v| *v = self.current(*v));
            inst.regions.iter_mut().for_each(|r| self.region(r));
            let Some(key) = self.key(&inst) else {
                region.insts.push(inst);
                continue;
            };
            match self.seen.get(&key) {
                Some(v) => {
                    self.replaced.insert(inst.results[0], *v);
                }
                None => {
                    self.seen.insert(key.clone(), inst.results[0]);
                    added.push(key);
                    region.insts.push(inst);
                }
            }
        }
        region.yields.iter_mut().for_each(|v| *v = self.current(*v));
        for key in added {
            self.seen.remove(&key);
        }
    }

    fn current(&self, v: Value) -> Value {
        self.replaced.get(&v).copied().unwrap_or(v)
    }

    fn key(&self, inst: &Inst) -> Option<Key> {
        if inst.results.len() != 1 || !is_pure(self.func, inst) {
            return None;
        }
        let mut args = inst.args.clone();
        if let Op::Binary(op) = &inst.op {
            let float = self.func.ty(args[0]).dtype().is_float();
            let zeros = matches!(op, BinaryOp::Min | BinaryOp::Max) && float;
            if op.is_commutative() && !zeros {
                args.sort();
            }
        }
        Some(Key { op: inst.op.clone(), args })
    }
}

/// Whether an instruction gives the same result wherever its operands and dims are in scope, and does nothing else.
#[allow(clippy::wildcard_enum_match_arm, reason = "the op table says it")]
pub(super) fn is_pure(func: &Func, inst: &Inst) -> bool {
    let input = |p: ParamId| !func.param(p).out;
    match &inst.op {
        Op::Load(p, _) | Op::MaskGet(p) => input(*p),
        Op::For(_) | Op::If => false,
        op => !op.has_effect(),
    }
}

/// An op on operands. Constants are told apart by their bits: 0.0 is not -0.0, and a NaN is itself.
#[derive(Clone)]
struct Key {
    op: Op,
    args: Vec<Value>,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.op, &other.op) {
            (Op::Const(d, Scalar::Float(x)), Op::Const(e, Scalar::Float(y))) => d == e && x.to_bits() == y.to_bits(),
            (a, b) => a == b,
        };
        same && self.args == other.args
    }
}

impl Eq for Key {}

impl Hash for Key {
    #[allow(clippy::wildcard_enum_match_arm, reason = "the rest is compared when it meets its like")]
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(&self.op).hash(state);
        self.args.hash(state);
        match &self.op {
            Op::Const(_, Scalar::Float(x)) => x.to_bits().hash(state),
            Op::Const(_, Scalar::Int(n)) => n.hash(state),
            _ => {}
        }
    }
}
