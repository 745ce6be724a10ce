//! Reductions, scans, order statistics and `dot`: what looks along dims. All see valid positions only: where a tile has
//! holes of its own, the operation's neutral element is put there first.

use pantile_diag::{Code, Diagnostic, Span};
use pantile_ir::{ArgOp, BinaryOp, Class, DType, DimId, Kind, Op, ReduceOp, Scalar, ScanOp, Value};

use super::arith::contains;
use super::builtin::{Args, Builtin};
use super::sema::Sema;
use super::value::{Operand, Tile, Val};

/// The least and the greatest value of a dtype, infinities where there are any.
fn extremes(dtype: DType) -> (Scalar, Scalar) {
    let bits = 8 * dtype.bytes() as u32;
    match dtype.kind() {
        Kind::Bool => (Scalar::Bool(false), Scalar::Bool(true)),
        Kind::Signed => (Scalar::Int(i64::MIN >> (64 - bits)), Scalar::Int(i64::MAX >> (64 - bits))),
        Kind::Unsigned if bits == 64 => (Scalar::Int(0), Scalar::Int(-1)),
        Kind::Unsigned => (Scalar::Int(0), Scalar::Int((1 << bits) - 1)),
        Kind::Float if dtype == DType::F8E4M3 => (Scalar::Float(-448.0), Scalar::Float(448.0)),
        Kind::Float => (Scalar::Float(f64::NEG_INFINITY), Scalar::Float(f64::INFINITY)),
    }
}

fn zero(dtype: DType) -> Scalar {
    match dtype.kind() {
        Kind::Bool => Scalar::Bool(false),
        Kind::Signed | Kind::Unsigned => Scalar::Int(0),
        Kind::Float => Scalar::Float(0.0),
    }
}

fn one(dtype: DType) -> Scalar {
    match dtype.kind() {
        Kind::Bool => Scalar::Bool(true),
        Kind::Signed | Kind::Unsigned => Scalar::Int(1),
        Kind::Float => Scalar::Float(1.0),
    }
}

fn neutral(op: ReduceOp, dtype: DType) -> Scalar {
    match op {
        ReduceOp::Sum => zero(dtype),
        ReduceOp::Prod => one(dtype),
        ReduceOp::Max => extremes(dtype).0,
        ReduceOp::Min => extremes(dtype).1,
        ReduceOp::Any => Scalar::Bool(false),
        ReduceOp::All => Scalar::Bool(true),
    }
}

impl<'p> Sema<'p, '_> {
    /// A number as a tile of a class of dtypes.
    fn of_class(&mut self, name: &str, class: Class, x: &Operand) -> Option<Tile> {
        let t = self.tile(&x.num, x.span)?;
        if class.admits(self.ty(t.value).dtype()) { Some(t) } else { self.not_defined(name, class, x) }
    }

    pub(crate) fn reduce(&mut self, op: ReduceOp, x: &Operand, dims: &[DimId], span: Span) -> Option<Val<'p>> {
        let t = self.of_class(op.name(), op.class(), x)?;
        let fill = neutral(op, self.ty(t.value).dtype());
        let value = self.filled(&t, fill, span)?;
        self.emit(Op::Reduce(op, dims.to_vec()), &[value], span).map(Val::from)
    }

    /// The position of the extreme. The IR's lanes are positions already unless the dim steps or goes through an order.
    pub(crate) fn arg_reduce(&mut self, op: ArgOp, x: &Operand, dim: DimId, span: Span) -> Option<Val<'p>> {
        let t = self.of_class(op.name(), op.class(), x)?;
        let (least, greatest) = extremes(self.ty(t.value).dtype());
        let fill = match op {
            ArgOp::ArgMax => least,
            ArgOp::ArgMin => greatest,
        };
        let value = self.filled(&t, fill, span)?;
        let lane = self.emit(Op::ArgReduce(op, dim), &[value], span)?;
        let d = self.b.func.dim(dim);
        if d.whole && d.order.is_none() {
            return Some(lane.into());
        }
        let pos = self.emit(Op::Pos(dim), &[], span)?;
        self.emit(Op::Gather(dim), &[pos, lane], span).map(Val::from)
    }

    pub(crate) fn scan(&mut self, op: ScanOp, x: &Operand, dim: DimId, span: Span) -> Option<Val<'p>> {
        let t = self.of_class(op.name(), op.class(), x)?;
        let dtype = self.ty(t.value).dtype();
        let fill = match op {
            ScanOp::CumSum => zero(dtype),
            ScanOp::CumMax => extremes(dtype).0,
        };
        let value = self.filled(&t, fill, span)?;
        let value = self.emit(Op::Scan(op, dim), &[value], span)?;
        Some(Tile { valid: t.valid, ..Tile::from(value) }.into())
    }

    /// Sorted; elements that are not valid come last, where they stay invalid.
    pub(crate) fn sort(&mut self, x: &Operand, dim: DimId, descending: bool, span: Span) -> Option<Val<'p>> {
        let t = self.of_class("sort", Class::Number, x)?;
        let dtype = self.ty(t.value).dtype();
        let last = match extremes(dtype) {
            _ if dtype.is_float() => Scalar::Float(f64::NAN),
            (least, _) if descending => least,
            (_, greatest) => greatest,
        };
        let value = self.filled(&t, last, span)?;
        let value = self.emit(Op::Sort { dim, descending }, &[value], span)?;
        let valid = match t.valid {
            None => None,
            Some(v) => {
                let count = self.count(v, &[dim], span)?;
                let pos = self.emit(Op::Pos(dim), &[], span)?;
                let first = self.first_position(dim, span)?;
                let lane = self.emit(Op::Binary(BinaryOp::Sub), &[pos, first], span)?;
                Some(self.emit(Op::Binary(BinaryOp::Lt), &[lane, count], span)?)
            }
        };
        Some(Tile { valid, ..Tile::from(value) }.into())
    }

    /// The position of a block's lane 0, i64.
    pub(crate) fn first_position(&mut self, dim: DimId, span: Span) -> Option<Value> {
        let d = self.b.func.dim(dim);
        if d.whole {
            return Some(self.int(0, span));
        }
        let size = d.size;
        let block = self.emit(Op::BlockIndex(dim), &[], span)?;
        let size = self.int(size, span);
        self.emit(Op::Binary(BinaryOp::Mul), &[block, size], span)
    }

    /// How many lanes along `dims` are valid, i64. Validity may lack some of them.
    fn count(&mut self, valid: Value, dims: &[DimId], span: Span) -> Option<Value> {
        let valid = self.broadcast(&valid.into(), dims, span)?;
        let ones = self.emit(Op::Cast(DType::I64), &[valid.value], span)?;
        self.emit(Op::Reduce(ReduceOp::Sum, dims.to_vec()), &[ones], span)
    }

    /// The sum in the accumulator's dtype, divided by the number of valid positions, rounded once.
    pub(crate) fn mean(&mut self, x: &Operand, dims: &[DimId], span: Span) -> Option<Val<'p>> {
        let t = self.of_class("mean", Class::Float, x)?;
        let dtype = self.ty(t.value).dtype();
        let wide = dtype.accumulator();
        let t = self.cast_tile(&t, wide, span)?;
        let value = self.filled(&t, Scalar::Float(0.0), span)?;
        let sum = self.emit(Op::Reduce(ReduceOp::Sum, dims.to_vec()), &[value], span)?;
        let count = match t.valid {
            Some(v) => self.count(v, dims, span)?,
            None => self.lanes(dims, span)?,
        };
        let count = self.emit(Op::Cast(wide), &[count], span)?;
        let mean = self.emit(Op::Binary(BinaryOp::Div), &[sum, count], span)?;
        self.cast_tile(&mean.into(), dtype, span).map(Val::from)
    }

    /// The number of lanes that `dims` have together, i64.
    fn lanes(&mut self, dims: &[DimId], span: Span) -> Option<Value> {
        let mut product = None;
        for d in dims {
            let len = self.emit(Op::BlockLen(*d), &[], span)?;
            product = Some(match product {
                None => len,
                Some(p) => self.emit(Op::Binary(BinaryOp::Mul), &[p, len], span)?,
            });
        }
        product
    }

    /// `kth_largest(x, k, over d)`.
    pub(crate) fn kth_largest(&mut self, f: Builtin, name: &str, mut a: Args<'_, 'p>) -> Option<Val<'p>> {
        let [x, k] = self.exactly(f, &mut a)?;
        let dims = self.needed_dims(f, name, &x, &a)?;
        let [dim] = dims.as_slice() else { return self.misused(f, a.span, "goes along one dimension at a time") };
        if let Some(d) = self.dims(&k.num).first() {
            let (found, d) = (self.show_num(&k.num), self.dim_name(*d).to_owned());
            let message = format!("`k` must be a scalar, not {found}");
            return self.error(Code::E0305, k.span, message, format!("has dimension `{d}`"));
        }
        let t = self.of_class(name, Class::Number, &x)?;
        let fill = extremes(self.ty(t.value).dtype()).0;
        let value = self.filled(&t, fill, a.span)?;
        let k = self.index_value(&k, "`k`")?;
        self.emit(Op::KthLargest(*dim), &[value, k.value], a.span).map(Val::from)
    }

    /// `dot(a, b)`, `dot(a, b, over d)`.
    pub(crate) fn dot(&mut self, f: Builtin, mut a: Args<'_, 'p>) -> Option<Val<'p>> {
        let [x, y] = self.exactly(f, &mut a)?;
        let (dx, dy) = (self.dims(&x.num), self.dims(&y.num));
        let shared: Vec<DimId> = dx.iter().copied().filter(|d| dy.contains(d)).collect();
        let over = match &a.over {
            Some((dims, at)) => match dims.iter().copied().find(|d| !shared.contains(d)) {
                Some(d) => return self.lacks("dot", if dx.contains(&d) { &y } else { &x }, d, *at),
                None => dims.clone(),
            },
            None if shared.len() == 1 => shared,
            None => return self.nothing_to_contract(&x, &y, &shared, a.span),
        };
        let (tx, ty) = self.unify(&x, &y)?;
        if !Class::Number.admits(self.ty(tx.value).dtype()) {
            return self.not_defined("dot", Class::Number, &x);
        }
        let fill = zero(self.ty(tx.value).dtype());
        let mut values = [self.filled(&tx, fill, a.span)?, self.filled(&ty, fill, a.span)?];
        // Zero times an infinity is no zero: the partner is silenced as well where it has the dims for that.
        for (n, other) in [(0, &ty), (1, &tx)] {
            let Some(valid) = other.valid else { continue };
            if contains(self.ty(values[n]).dims(), self.ty(valid).dims()) {
                let both = Tile { valid: Some(valid), ..Tile::from(values[n]) };
                values[n] = self.filled(&both, fill, a.span)?;
            }
        }
        self.emit(Op::Dot(over), &values, a.span).map(Val::from)
    }

    /// E0205.
    fn nothing_to_contract(&mut self, x: &Operand, y: &Operand, shared: &[DimId], span: Span) -> Option<Val<'p>> {
        let (tx, ty) = (self.show_num(&x.num), self.show_num(&y.num));
        let names: Vec<&str> = shared.iter().map(|d| self.dim_name(*d)).collect();
        let names = names.join(", ");
        let message = if shared.is_empty() {
            "these share no dimension to contract".to_owned()
        } else {
            format!("these share {names}: which of them is contracted?")
        };
        let mut error = Diagnostic::error(Code::E0205, span, message, "ambiguous or empty contraction")
            .with_label(x.span, tx)
            .with_label(y.span, ty);
        let mut dims = [self.dims(&x.num), self.dims(&y.num)].concat();
        dims.sort_unstable();
        dims.dedup();
        for d in dims {
            error = self.label_dim(error, d);
        }
        let help = if shared.is_empty() {
            "index both with the same block or `:` of one extent, or write `outer(a, b)`".to_owned()
        } else {
            format!("say it: `dot(a, b, over {})`; the others stay as batch dimensions", self.dim_name(shared[0]))
        };
        self.say(error.with_help(help))
    }
}
