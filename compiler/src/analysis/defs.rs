//! What defines each value, and from that which integers it can be. Filled by a walk in order of execution; it follows
//! no value through what a loop carries.

use std::collections::HashMap;

use pantile_ir::{BinaryOp, DType, DimId, ExtentId, Func, GridAxis, Inst, Kind, Op, Over, ParamKind, Scalar, Value};

/// Smallest and largest number that a value can be. Wide enough that sums and products of i64 do not overflow.
pub type Range = (i128, i128);

/// No extent is longer: its elements have addresses.
pub const MAX_EXTENT: i64 = 1 << 47;

/// How far definitions are followed.
const MAX_DEPTH: usize = 24;

/// Definitions seen so far.
#[derive(Default)]
pub struct Defs {
    ops: HashMap<Value, (Op, Vec<Value>)>,
    known: HashMap<Value, Range>,
}

impl Defs {
    /// What the launch provides.
    pub fn prologue(func: &Func) -> Self {
        let mut defs = Self::default();
        for axis in &func.grid {
            if let GridAxis::Each(axis, v) = axis {
                defs.known.insert(*v, (0, extent_max(func, axis.extent) - 1));
            }
        }
        for param in &func.params {
            if let ParamKind::Scalar(dtype, v) = param.kind {
                defs.known.extend(dtype_range(dtype).map(|r| (v, r)));
            }
        }
        defs
    }

    /// Notes an instruction's result.
    pub fn record(&mut self, inst: &Inst) {
        if let ([result], true) = (inst.results.as_slice(), inst.regions.is_empty()) {
            self.ops.insert(*result, (inst.op.clone(), inst.args.clone()));
        }
    }

    /// Notes the numbers that a range loop's guard and body are given.
    pub fn record_loop(&mut self, func: &Func, inst: &Inst) {
        let Op::For(it) = &inst.op else { return };
        if it.over != Over::Range {
            return;
        }
        let (Some(lo), Some(hi)) = (self.range(func, inst.args[0]), self.range(func, inst.args[1])) else { return };
        for region in &inst.regions {
            self.known.insert(region.args[0], (lo.0, hi.1 - 1));
        }
    }

    /// The op and operands that define a value, if it is the result of an op without regions.
    pub fn get(&self, v: Value) -> Option<(&Op, &[Value])> {
        self.ops.get(&v).map(|(op, args)| (op, args.as_slice()))
    }

    /// The constant that a value is at each of its lanes.
    #[allow(clippy::wildcard_enum_match_arm, reason = "folding has made constants of all else")]
    pub fn constant(&self, v: Value) -> Option<Scalar> {
        match self.get(v)? {
            (Op::Const(_, x), _) => Some(*x),
            (Op::Broadcast(_), args) => self.constant(args[0]),
            _ => None,
        }
    }

    /// As [`Defs::constant`], for integers.
    pub fn int(&self, v: Value) -> Option<i64> {
        match self.constant(v)? {
            Scalar::Int(n) => Some(n),
            Scalar::Bool(_) | Scalar::Float(_) => None,
        }
    }

    /// The numbers that an integer value can be; `None` if nothing is known, or if computing it may wrap.
    pub fn range(&self, func: &Func, v: Value) -> Option<Range> {
        self.range_at(func, v, 0)
    }

    fn range_at(&self, func: &Func, v: Value, depth: usize) -> Option<Range> {
        let dtype = func.ty(v).dtype();
        if depth > MAX_DEPTH || !dtype.is_int() {
            return None;
        }
        if let Some(range) = self.known.get(&v) {
            return Some(*range);
        }
        let Some((op, args)) = self.get(v) else { return dtype_range(dtype) };
        let arg = |n: usize| self.range_at(func, args[n], depth + 1);
        let range = self.op_range(func, op, &arg);
        let limits = dtype_limits(dtype);
        match range {
            Some((lo, hi)) if limits.0 <= lo && hi <= limits.1 => Some((lo, hi)),
            _ => dtype_range(dtype),
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "nothing is known of all other ops")]
    fn op_range(&self, func: &Func, op: &Op, arg: &dyn Fn(usize) -> Option<Range>) -> Option<Range> {
        match op {
            Op::Const(_, Scalar::Int(n)) => Some((i128::from(*n), i128::from(*n))),
            Op::Extent(e) => match func.extents[e.index()].known {
                Some(n) => Some((i128::from(n), i128::from(n))),
                None => Some((0, i128::from(MAX_EXTENT))),
            },
            Op::BlockIndex(d) => Some((0, (block_max(func, *d) - 1).max(0))),
            Op::BlockLen(d) => Some((0, i128::from(func.dim(*d).size))),
            Op::Pos(d) | Op::At(d) => Some((0, (length_max(func, *d) - 1).max(0))),
            Op::Broadcast(_) => arg(0),
            // A gathered lane may not exist, and reads as 0.
            Op::Gather(_) => arg(0).map(|(lo, hi)| (lo.min(0), hi.max(0))),
            Op::Cast(_) => arg(0),
            Op::Select => union(arg(1)?, arg(2)?),
            Op::Binary(op) => binary_range(*op, arg(0)?, arg(1)?),
            _ => None,
        }
    }
}

fn union(a: Range, b: Range) -> Option<Range> {
    Some((a.0.min(b.0), a.1.max(b.1)))
}

fn binary_range(op: BinaryOp, a: Range, b: Range) -> Option<Range> {
    match op {
        BinaryOp::Add => Some((a.0.checked_add(b.0)?, a.1.checked_add(b.1)?)),
        BinaryOp::Sub => Some((a.0.checked_sub(b.1)?, a.1.checked_sub(b.0)?)),
        BinaryOp::Mul => {
            let all = [(a.0, b.0), (a.0, b.1), (a.1, b.0), (a.1, b.1)];
            let all = all.map(|(x, y)| x.checked_mul(y));
            let all = all.into_iter().collect::<Option<Vec<_>>>()?;
            Some((*all.iter().min()?, *all.iter().max()?))
        }
        BinaryOp::Min => Some((a.0.min(b.0), a.1.min(b.1))),
        BinaryOp::Max => Some((a.0.max(b.0), a.1.max(b.1))),
        BinaryOp::Div if b.0 > 0 => Some(((a.0 / b.0).min(a.0 / b.1), (a.1 / b.0).max(a.1 / b.1))),
        BinaryOp::Rem if b.0 > 0 => {
            Some((if a.0 < 0 { 1 - b.1 } else { 0 }, if a.1 > 0 { (b.1 - 1).min(a.1) } else { 0 }))
        }
        // Dividing by 0 stops the launch, and by anything else makes nothing larger.
        BinaryOp::Div => Some((-a.0.abs().max(a.1.abs()), a.0.abs().max(a.1.abs()))),
        BinaryOp::Rem => Some((a.0.min(0), a.1.max(0))),
        BinaryOp::And if a.0 >= 0 && b.0 >= 0 => Some((0, a.1.min(b.1))),
        BinaryOp::Shr if a.0 >= 0 => Some((0, a.1)),
        BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Xor
        | BinaryOp::Shl
        | BinaryOp::Shr
        | BinaryOp::Eq
        | BinaryOp::Ne
        | BinaryOp::Lt
        | BinaryOp::Le
        | BinaryOp::Gt
        | BinaryOp::Ge => None,
    }
}

fn extent_max(func: &Func, e: ExtentId) -> i128 {
    i128::from(func.extents[e.index()].known.unwrap_or(MAX_EXTENT))
}

fn length_max(func: &Func, d: DimId) -> i128 {
    let dim = func.dim(d);
    let length = dim.over.map_or(Some(dim.size), |e| func.known_length(e, dim.order));
    i128::from(length.unwrap_or(MAX_EXTENT))
}

fn block_max(func: &Func, d: DimId) -> i128 {
    let size = i128::from(func.dim(d).size);
    (length_max(func, d) + size - 1) / size
}

/// The numbers of an integer dtype as an i64 holds them; u64 wraps there, so nothing is said of it.
fn dtype_limits(dtype: DType) -> Range {
    let bits = 8 * dtype.bytes() as u32;
    match dtype.kind() {
        Kind::Unsigned => (0, (1_i128 << bits.min(63)) - 1),
        Kind::Bool | Kind::Signed | Kind::Float => (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1),
    }
}

/// What the dtype alone says; `None` for 64 bits, where it says nothing of use and the value may have wrapped.
fn dtype_range(dtype: DType) -> Option<Range> {
    (dtype.is_int() && dtype.bytes() < 8).then(|| dtype_limits(dtype))
}

#[cfg(test)]
mod tests {
    use super::{BinaryOp, binary_range};

    /// The range of each pair of small ranges holds each result, and is met where the op is monotone.
    #[test]
    fn ranges_hold_what_ops_give() {
        use BinaryOp::{Add, And, Div, Eq, Ge, Gt, Le, Lt, Max, Min, Mul, Ne, Or, Rem, Shl, Shr, Sub, Xor};
        let ranges: Vec<(i128, i128)> = (-4..5).flat_map(|lo| (lo..5).map(move |hi| (lo, hi))).collect();
        let has_result = |op, y: i128| match op {
            Div | Rem => y != 0,
            Shr => (0..8).contains(&y),
            Add | Sub | Mul | Min | Max | And | Or | Xor | Shl | Eq | Ne | Lt | Le | Gt | Ge => true,
        };
        for op in [Add, Sub, Mul, Div, Rem, Min, Max, And, Shr] {
            for a in &ranges {
                for b in &ranges {
                    let Some((lo, hi)) = binary_range(op, *a, *b) else { continue };
                    for x in a.0..=a.1 {
                        for y in (b.0..=b.1).filter(|y| has_result(op, *y)) {
                            let r = match op {
                                Add => x + y,
                                Sub => x - y,
                                Mul => x * y,
                                Div => x / y,
                                Rem => x % y,
                                Min => x.min(y),
                                Max => x.max(y),
                                And => x & y,
                                Or | Xor | Shl | Shr | Eq | Ne | Lt | Le | Gt | Ge => x >> y,
                            };
                            assert!(lo <= r && r <= hi, "{op:?} {x} {y}: {r} not in {lo}..={hi}");
                        }
                    }
                }
            }
        }
    }
}
