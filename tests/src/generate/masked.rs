//! Walks whose bodies reduce under an element mask, so that there is something to shorten and to split. Their results do
//! not depend on rounds in which the mask keeps nothing.

use pantile_ir::{BinaryOp, DType, DimId, Loop, Op, Over, ReduceOp, Type, UnaryOp, Value, eval};

use super::Generator;
use super::bounds::Bounds;

impl Generator<'_> {
    /// `for j { carried = carried ⊕ reduce(where(mask, x, neutral), over j) }`, perhaps with a bit of a mask or bounds.
    pub(super) fn masked_walk(&mut self) -> Option<Value> {
        if self.depth >= 2 {
            return None;
        }
        let rows = self.any_dim();
        let mut walk = self.walk()?;
        walk.it.guard = false;
        let Over::Walk(dim) = walk.it.over else { return None };
        let op = self.source.pick(&[ReduceOp::Sum, ReduceOp::Max, ReduceOp::Min]);
        let dtype = self.source.pick(&[DType::F32, DType::I64, DType::I32]);
        let ty = Type::tile(dtype, rows);
        let neutral = eval::neutral(op, dtype);
        let bounds = Bounds { size: neutral.as_f64().abs(), error: 0.0 };
        let start = self.push(Op::Const(dtype, neutral), &[], bounds);
        let start = match rows {
            Some(d) => self.push(Op::Broadcast(vec![d]), &[start], bounds),
            None => start,
        };
        let mark = self.enter(walk.trips.max(1.0));
        let carried = self.open(&walk, &[ty])[0];
        self.note(carried, Bounds::ANY);
        self.statements();
        let (next, each) = self.masked(dim, rows, op, dtype, carried)?;
        let region = self.build.close(vec![next]);
        self.leave(mark);
        let size = each.size * walk.trips.max(1.0);
        let result = if dtype.is_float() && op != ReduceOp::Sum {
            Bounds { size: f64::INFINITY, ..each }
        } else {
            Bounds { size, ..each }
        };
        let it = Loop { guard: false, ..walk.it };
        let values = self.build.push_for(it, &[&walk.args[..], &[start]].concat(), vec![region]);
        self.note(values[0], result);
        self.pool.push(values[0]);
        Some(values[0])
    }

    fn masked(
        &mut self,
        dim: DimId,
        rows: Option<DimId>,
        op: ReduceOp,
        dtype: DType,
        carried: Value,
    ) -> Option<(Value, Bounds)> {
        let mut keep = self.comparison(dim, rows);
        if self.source.chance(50) {
            let other = self.comparison(dim, rows);
            let join = self.source.pick(&[BinaryOp::And, BinaryOp::And, BinaryOp::Or]);
            keep = self.push(Op::Binary(join), &[keep, other], Bounds::exact(1.0));
        }
        // Numbers that sums of are exact.
        let lanes = self.push(Op::Pos(dim), &[], Bounds::exact(40.0));
        let x = self.push(Op::Cast(dtype), &[lanes], Bounds::exact(40.0));
        let neutral = eval::neutral(op, dtype);
        let neutral = self.push(Op::Const(dtype, neutral), &[], Bounds::ANY);
        let arms = if self.source.chance(70) { [x, neutral] } else { [neutral, x] };
        let shown = self.push(Op::Select, &[keep, arms[0], arms[1]], Bounds::ANY);
        let reduced = self.push(Op::Reduce(op, vec![dim]), &[shown], Bounds::ANY);
        let step = match op {
            ReduceOp::Max => BinaryOp::Max,
            ReduceOp::Min => BinaryOp::Min,
            ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Any | ReduceOp::All => BinaryOp::Add,
        };
        let mut next = self.push(Op::Binary(step), &[carried, reduced], Bounds::ANY);
        if self.ty(next) != self.ty(carried) {
            next = self.push(Op::Broadcast(rows.into_iter().collect()), &[next], Bounds::ANY);
        }
        Some((next, Bounds::exact(40.0 * self.lanes(&[dim]) as f64)))
    }

    /// Of a multiple of the walk's positions, or of numbers along it, with something else.
    fn comparison(&mut self, dim: DimId, rows: Option<DimId>) -> Value {
        use BinaryOp::{Eq, Ge, Gt, Le, Lt, Ne};
        let sides = [Some(dim), rows];
        let [left, right] = if self.source.chance(60) {
            sides.map(|d| d.map(|d| self.positions(d)))
        } else {
            sides.map(|d| d.map(|d| self.numbers(d)))
        };
        let left = left.unwrap_or_else(|| self.scalar_int());
        let right = right.unwrap_or_else(|| self.scalar_int());
        let right = if self.source.chance(50) {
            let shift = self.scalar_int();
            self.push(Op::Binary(BinaryOp::Add), &[right, shift], Bounds::exact(80.0))
        } else {
            right
        };
        let (left, right) = self.apart(left, right);
        let op = self.source.pick(&[Le, Eq, Lt, Ge, Eq, Gt, Eq, Ne]);
        let args = if self.source.chance(50) { [left, right] } else { [right, left] };
        self.push(Op::Binary(op), &args, Bounds::exact(1.0))
    }

    /// Two numbers as they are, or their distance and a number, or one of them limited.
    fn apart(&mut self, left: Value, right: Value) -> (Value, Value) {
        let form = self.source.pick(&["plain", "plain", "plain", "distance", "limited"]);
        if form == "plain" {
            return (left, right);
        }
        let number = self.scalar_int();
        if form == "distance" {
            let difference = self.push(Op::Binary(BinaryOp::Sub), &[left, right], Bounds::exact(240.0));
            return (self.push(Op::Unary(UnaryOp::Abs), &[difference], Bounds::exact(240.0)), number);
        }
        let op = self.source.pick(&[BinaryOp::Max, BinaryOp::Min]);
        (left, self.push(Op::Binary(op), &[right, number], Bounds::exact(240.0)))
    }

    /// Numbers that are no sum of positions.
    fn numbers(&mut self, dim: DimId) -> Value {
        let positions = self.positions(dim);
        let least = self.source.pick(&[3, 5, 8]);
        let divisor = self.int(least);
        let op = self.source.pick(&[BinaryOp::Rem, BinaryOp::Div]);
        self.push(Op::Binary(op), &[positions, divisor], Bounds::exact(120.0))
    }

    fn positions(&mut self, dim: DimId) -> Value {
        let positions = self.push(Op::Pos(dim), &[], Bounds::exact(40.0));
        if self.source.chance(60) {
            return positions;
        }
        let factor = self.source.pick(&[-1, 2, 3, -2]);
        let factor = self.int(factor);
        self.push(Op::Binary(BinaryOp::Mul), &[positions, factor], Bounds::exact(120.0))
    }
}
