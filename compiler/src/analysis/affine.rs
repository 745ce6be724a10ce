//! Integer values as sums `c·v + … + k` that hold without wrapping. Products of two unknowns stay whole.

use std::collections::BTreeMap;

use pantile_ir::{BinaryOp, Func, Op, UnaryOp, Value};

use super::defs::Defs;

/// A sum of multiples of values, plus a constant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Linear {
    /// Factors, none 0.
    pub terms: BTreeMap<Value, i64>,
    /// The constant.
    pub constant: i64,
}

impl Linear {
    /// A constant.
    fn constant(constant: i64) -> Self {
        Self { terms: BTreeMap::new(), constant }
    }

    /// A value, once.
    pub fn leaf(v: Value) -> Self {
        Self { terms: [(v, 1)].into(), constant: 0 }
    }

    /// Takes a term out; its factor.
    pub fn take(&mut self, v: Value) -> i64 {
        self.terms.remove(&v).unwrap_or(0)
    }

    /// `self + other · factor`; `None` if a factor would overflow.
    pub fn add(&self, other: &Linear, factor: i64) -> Option<Linear> {
        let mut sum = self.clone();
        sum.constant = sum.constant.checked_add(other.constant.checked_mul(factor)?)?;
        for (v, c) in &other.terms {
            let c = c.checked_mul(factor)?.checked_add(sum.terms.remove(v).unwrap_or(0))?;
            if c != 0 {
                sum.terms.insert(*v, c);
            }
        }
        Some(sum)
    }
}

/// A value as a sum. What cannot be taken apart, or might wrap if it were, stands as itself.
pub fn linear(func: &Func, defs: &Defs, v: Value) -> Option<Linear> {
    parts(func, defs, v).map_or_else(|| Some(Linear::leaf(v)), Some)
}

#[allow(clippy::wildcard_enum_match_arm, reason = "everything else stands as itself")]
fn parts(func: &Func, defs: &Defs, v: Value) -> Option<Linear> {
    let (op, args) = defs.get(v)?;
    if let Some(n) = defs.int(v) {
        return Some(Linear::constant(n));
    }
    // A known range means that the op does not wrap.
    defs.range(func, v)?;
    let arg = |n: usize| linear(func, defs, args[n]);
    match op {
        Op::Broadcast(_) => arg(0),
        Op::Unary(UnaryOp::Neg) => Linear::default().add(&arg(0)?, -1),
        Op::Binary(BinaryOp::Add) => arg(0)?.add(&arg(1)?, 1),
        Op::Binary(BinaryOp::Sub) => arg(0)?.add(&arg(1)?, -1),
        Op::Binary(BinaryOp::Mul) => match (defs.int(args[0]), defs.int(args[1])) {
            (Some(n), _) => Linear::default().add(&arg(1)?, n),
            (_, Some(n)) => Linear::default().add(&arg(0)?, n),
            (None, None) => None,
        },
        _ => None,
    }
}
