//! Values in scope: choosing them, making them fit, and noting what is known of them.

use pantile_ir::{BinaryOp, DType, DimId, Op, Scalar, Type, UnaryOp, Value, eval};

use super::Generator;
use super::bounds::{self, Bounds};

/// Tiles with more lanes than this are not made.
const MOST_LANES: i64 = 1200;

impl Generator<'_> {
    pub(super) fn ty(&self, value: Value) -> &Type {
        self.build.func.ty(value)
    }

    pub(super) fn known(&self, value: Value) -> Bounds {
        self.bounds.get(value.index()).copied().unwrap_or(Bounds::ANY)
    }

    pub(super) fn note(&mut self, value: Value, bounds: Bounds) {
        self.bounds.resize(self.build.func.types.len(), Bounds::ANY);
        self.bounds[value.index()] = bounds;
    }

    /// Appends an op with one result, which is in scope from there on.
    pub(super) fn push(&mut self, op: Op, args: &[Value], bounds: Bounds) -> Value {
        let value = self.build.push(op, args);
        self.note(value, bounds);
        self.pool.push(value);
        value
    }

    pub(super) fn constant(&mut self, dtype: DType, x: i64) -> Value {
        let x = eval::cast(DType::I64, dtype, Scalar::Int(x));
        self.push(Op::Const(dtype, x), &[], Bounds::exact(x.as_f64().abs()))
    }

    pub(super) fn int(&mut self, x: i64) -> Value {
        self.constant(DType::I64, x)
    }

    /// A value in scope for which `want` holds; the newest, unless bytes say otherwise.
    pub(super) fn pick(&mut self, want: impl Fn(&Self, Value) -> bool) -> Option<Value> {
        let found: Vec<Value> = self.pool.iter().rev().copied().filter(|v| want(self, *v)).collect();
        (!found.is_empty()).then(|| self.source.pick(&found))
    }

    /// Any value; a constant if there is none.
    pub(super) fn any(&mut self) -> Value {
        self.pick(|_, _| true).unwrap_or_else(|| self.constant(DType::F32, 1))
    }

    pub(super) fn scalar_int(&mut self) -> Value {
        let found = if self.source.chance(60) { self.pick(|g, v| *g.ty(v) == Type::Scalar(DType::I64)) } else { None };
        let x = self.source.below(6) as i64 - 1;
        found.unwrap_or_else(|| self.int(x))
    }

    /// The value as another dtype, if its error allows.
    pub(super) fn coerce(&mut self, value: Value, to: DType) -> Option<Value> {
        let from = self.ty(value).dtype();
        if from == to {
            return Some(value);
        }
        let bounds = bounds::cast(from, to, self.known(value))?;
        Some(self.push(Op::Cast(to), &[value], bounds))
    }

    /// The value as a float that arithmetic may take.
    pub(super) fn tame_float(&mut self, value: Value) -> Option<Value> {
        let dtype = self.ty(value).dtype();
        let value = if dtype.is_float() { value } else { self.coerce(value, DType::F32)? };
        let dtype = self.ty(value).dtype();
        (self.known(value).size <= bounds::limit(dtype)).then_some(value)
    }

    /// |x| + 1, to divide by or take the logarithm of.
    pub(super) fn above_one(&mut self, x: Value) -> Option<Value> {
        let (dtype, known) = (self.ty(x).dtype(), self.known(x));
        let size = self.push(Op::Unary(UnaryOp::Abs), &[x], known);
        let one = self.constant(dtype, 1);
        let sum = bounds::binary(BinaryOp::Add, dtype, known, Bounds::exact(1.0))?;
        Some(self.push(Op::Binary(BinaryOp::Add), &[size, one], sum))
    }

    pub(super) fn lanes(&self, dims: &[DimId]) -> i64 {
        dims.iter().map(|d| self.build.func.dim(*d).size).product()
    }

    /// Whether a tile over the dims of all these values is not too large.
    pub(super) fn fits(&self, values: &[Value]) -> bool {
        let mut dims: Vec<DimId> = values.iter().flat_map(|v| self.ty(*v).dims()).copied().collect();
        dims.sort();
        dims.dedup();
        self.lanes(&dims) <= MOST_LANES
    }

    /// One of a tile's dims; `None` for a scalar.
    pub(super) fn dim_of(&mut self, value: Value) -> Option<DimId> {
        let dims = self.ty(value).dims().to_vec();
        (!dims.is_empty()).then(|| self.source.pick(&dims))
    }

    pub(super) fn is_exact(&self, value: Value) -> bool {
        self.known(value).is_exact()
    }

    /// A scalar bool in scope, or a comparison of scalars that makes one.
    pub(super) fn condition(&mut self) -> Value {
        if let Some(found) = self.pick(|g, v| *g.ty(v) == Type::Scalar(DType::Bool))
            && self.source.chance(50)
        {
            return found;
        }
        let (a, b) = (self.scalar_int(), self.scalar_int());
        let op = self.source.pick(&[BinaryOp::Lt, BinaryOp::Ge, BinaryOp::Ne, BinaryOp::Eq]);
        self.push(Op::Binary(op), &[a, b], Bounds::exact(1.0))
    }
}
