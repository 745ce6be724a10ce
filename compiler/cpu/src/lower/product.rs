//! Which `dot`s become micro-kernels, on which dims, and what is folded into them: `acc + dot` and `acc·fade + dot` start
//! from `acc`. How a product is emitted is `dot_step.rs`'s business.

use std::collections::HashMap;

use pantile_ir::{BinaryOp, DType, DimId, Inst, Op, Value};

use super::facts::Facts;
use crate::vector::{Carrier, carrier};

/// A product of matrices, possibly many of them, with what is folded into it.
#[derive(Clone, Debug)]
pub struct Product<'f> {
    /// The `dot`.
    pub dot: &'f Inst,
    /// The operand whose rows are the result's rows.
    pub a: Value,
    /// The operand that is packed.
    pub b: Value,
    /// The result, after what is folded in.
    pub result: Value,
    /// What the result starts from.
    pub init: Option<Value>,
    /// What each row of `init` is multiplied by first.
    pub fade: Option<Value>,
    /// The row dim.
    pub m: DimId,
    /// The column dim, innermost in the result.
    pub n: DimId,
    /// The contracted dim that a micro-kernel runs over.
    pub k: DimId,
    /// Dims of both operands and of the result.
    pub batch: Vec<DimId>,
    /// Further row dims.
    pub more_m: Vec<DimId>,
    /// Further column dims.
    pub more_n: Vec<DimId>,
    /// Further contracted dims.
    pub more_k: Vec<DimId>,
}

/// The products of a function.
#[derive(Default)]
pub struct Products<'f> {
    /// By the value that the product gives (after folding).
    pub by_result: HashMap<Value, Product<'f>>,
    /// `dot`s that give that value only after folding.
    pub folded: Vec<Value>,
}

impl<'f> Products<'f> {
    /// Finds them.
    pub fn new(facts: &Facts<'f>) -> Self {
        let mut products = Self::default();
        for inst in facts.defs.iter().flatten() {
            if let Op::Dot(over) = &inst.op
                && facts.needed[inst.results[0].index()]
                && let Some(product) = product(facts, inst, over)
            {
                products.by_result.insert(inst.results[0], product);
            }
        }
        for inst in facts.defs.iter().flatten() {
            products.fold(facts, inst);
        }
        products
    }

    fn fold(&mut self, facts: &Facts<'f>, inst: &'f Inst) {
        if inst.op != Op::Binary(BinaryOp::Add) || !facts.needed[inst.results[0].index()] {
            return;
        }
        for (acc, dot) in [(inst.args[0], inst.args[1]), (inst.args[1], inst.args[0])] {
            let dot = facts.resolve(dot);
            let same = facts.func.ty(acc) == facts.func.ty(dot) && facts.func.ty(dot) == facts.func.ty(inst.results[0]);
            let once = facts.uses[dot.index()] == 1
                && facts.region_of[dot.index()] == facts.region_of[inst.results[0].index()];
            if !same || !once || acc == dot {
                continue;
            }
            let Some(mut product) = self.by_result.get(&dot).cloned().filter(|p| p.init.is_none()) else { continue };
            let (init, fade) = start(facts, acc, &product);
            product.init = Some(init);
            product.fade = fade;
            product.result = inst.results[0];
            self.by_result.remove(&dot);
            self.folded.push(dot);
            self.by_result.insert(inst.results[0], product);
            return;
        }
    }

    /// The product that gives a value.
    pub fn get(&self, value: Value) -> Option<&Product<'f>> {
        self.by_result.get(&value)
    }
}

/// `acc` as something stored and, if it is a product by rows, the factor of each row.
fn start<'f>(facts: &Facts<'f>, acc: Value, product: &Product<'f>) -> (Value, Option<Value>) {
    let whole = (acc, None);
    let Some(inst) = facts.defs[acc.index()] else { return whole };
    let near = facts.region_of[acc.index()] == facts.region_of[product.result.index()];
    if inst.op != Op::Binary(BinaryOp::Mul) || facts.uses[acc.index()] != 1 || !near {
        return whole;
    }
    for (x, fade) in [(inst.args[0], inst.args[1]), (inst.args[1], inst.args[0])] {
        let rows = facts.func.ty(fade).dims();
        if facts.func.ty(x) == facts.func.ty(acc) && rows == [product.m] {
            return (x, Some(fade));
        }
    }
    whole
}

fn product<'f>(facts: &Facts<'f>, dot: &'f Inst, over: &[DimId]) -> Option<Product<'f>> {
    let (x, y) = (dot.args[0], dot.args[1]);
    if carrier(facts.dtype(x)) != Carrier::Float32 || facts.dtype(dot.results[0]) != DType::F32 {
        return None;
    }
    let free = |v: Value, other: Value| -> Vec<DimId> {
        let theirs = facts.func.ty(other).dims();
        facts.dims(v).into_iter().filter(|d| !over.contains(d) && !theirs.contains(d)).collect()
    };
    let (free_x, free_y) = (free(x, y), free(y, x));
    let result = facts.dims(dot.results[0]);
    let n = *result.last()?;
    let (a, b, mut rows, mut columns) = if free_y.contains(&n) {
        (x, y, free_x, free_y)
    } else if free_x.contains(&n) {
        (y, x, free_y, free_x)
    } else {
        return None;
    };
    let mut contracted = facts.sorted(over.iter().copied());
    let (m, _, k) = (rows.pop()?, columns.pop()?, contracted.pop()?);
    let in_both = |d: &DimId| facts.func.ty(x).dims().contains(d) && facts.func.ty(y).dims().contains(d);
    let batch = result.into_iter().filter(in_both).collect();
    let (more_m, more_n, more_k) = (rows, columns, contracted);
    Some(Product { dot, a, b, result: dot.results[0], init: None, fade: None, m, n, k, batch, more_m, more_n, more_k })
}

impl Product<'_> {
    /// Whether `a` is read where it lies in the tensor.
    pub fn a_in_place(&self, facts: &Facts<'_>) -> bool {
        let Some(load) = facts.plain_load(self.a) else { return false };
        let straight = facts.func.ty(self.a).dims().iter().all(|d| facts.func.dim(*d).order.is_none());
        facts.dtype(self.a) == DType::F32 && straight && facts.is_contiguous(load, self.k)
    }

    /// Whether `b` is packed straight from the tensor.
    pub fn b_in_place(&self, facts: &Facts<'_>) -> bool {
        let Some(load) = facts.plain_load(self.b) else { return false };
        facts.is_contiguous(load, self.n) || facts.is_contiguous(load, self.k)
    }
}
