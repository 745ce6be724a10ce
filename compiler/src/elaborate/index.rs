//! Indexing tensors and masks: which element each index means, what is read, and which lanes are valid. Stores are
//! `store.rs`'s business.

use pantile_diag::{Code, Diagnostic, Span};
use pantile_ir::{Axis, BinaryOp, DType, DimId, Index, Op, ParamId, ParamKind, Scalar, Value};
use pantile_syntax::ast::{AxisExtent, Expr, ExprKind, IndexExpr};

use super::form::Form;
use super::sema::Sema;
use super::value::{Lanes, Num, Operand, Tile, Val};

/// What is known of one index, to tell instances apart.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    /// A dim's block.
    Dim(DimId),
    /// A number, with its form if that is known.
    Number(Option<Form>),
}

/// Elements of a parameter.
pub(crate) struct Place {
    /// One an axis.
    pub(crate) index: Vec<Index>,
    /// The operands for [`Index::Value`].
    pub(crate) args: Vec<Value>,
    /// The dims of all elements.
    pub(crate) dims: Vec<DimId>,
    /// Which are there, if not all.
    pub(crate) valid: Option<Value>,
    /// One an axis.
    pub(crate) slots: Vec<Slot>,
}

impl<'p> Sema<'p, '_> {
    /// `x[…]` as a value.
    pub(crate) fn read(&mut self, base: &Expr, index: &[IndexExpr], span: Span) -> Option<Val<'p>> {
        let val = self.expr(base);
        let Val::Param(param) = val else {
            for i in index {
                if let IndexExpr::Expr(e) = i {
                    self.expr(e);
                }
            }
            return self.not_indexable(&val, base.span);
        };
        let row = self.b.func.param(param);
        if row.out {
            let message = format!("`{}` is an output: it cannot be read", row.name);
            let error =
                Diagnostic::error(Code::E0103, base.span, message, "an output").with_label(row.span, "declared here");
            return self.say(error.with_help("keep what was computed in a `let`"));
        }
        let is_mask = matches!(row.kind, ParamKind::Mask(_));
        let place = self.place(param, index, span)?;
        if is_mask { self.read_mask(param, place, index, span) } else { self.load(param, place, span) }
    }

    fn not_indexable<T>(&mut self, val: &Val<'p>, span: Span) -> Option<T> {
        let help = match val {
            Val::Error => return None,
            Val::Num(Num::Tile(_)) => "a tile is read at lanes with `gather(x, at idx, over d)`",
            Val::Num(Num::Const(_))
            | Val::Unit
            | Val::Extent(_)
            | Val::Block(_)
            | Val::Dims(_)
            | Val::Param(_)
            | Val::Order(..)
            | Val::Tuple(_)
            | Val::Str(_)
            | Val::DType(_) => "tensors and masks are indexed",
        };
        let what = self.describe(val);
        let error = Diagnostic::error(Code::E0103, span, format!("{what} cannot be indexed"), what);
        self.say(error.with_help(help))
    }

    fn load(&mut self, param: ParamId, place: Place, span: Span) -> Option<Val<'p>> {
        let value = self.emit(Op::Load(param, place.index), &place.args, span)?;
        Some(Tile { valid: place.valid, ..Tile::from(value) }.into())
    }

    fn read_mask(&mut self, param: ParamId, place: Place, index: &[IndexExpr], span: Span) -> Option<Val<'p>> {
        let tiled = place.index.iter().position(|i| matches!(i, Index::Dim(_)));
        let tiled = tiled.or_else(|| (!place.dims.is_empty()).then_some(0));
        if let Some(n) = tiled {
            let at = index.get(n).map_or(span, |i| match i {
                IndexExpr::Whole(s) => *s,
                IndexExpr::Expr(e) => e.span,
            });
            let error = Diagnostic::error(Code::E0203, at, "a mask is read one block at a time", "more than one block");
            return self.say(error.with_help("index it with blocks of its axes, or with scalars such as `index(i)`"));
        }
        self.emit(Op::MaskGet(param), &place.args, span).map(Val::from)
    }

    /// The elements that an index means. Every index is looked at, whatever is wrong with another.
    pub(crate) fn place(&mut self, param: ParamId, index: &[IndexExpr], span: Span) -> Option<Place> {
        let axes = self.b.func.axes(param).to_vec();
        if axes.len() != index.len() {
            for i in index {
                if let IndexExpr::Expr(e) = i {
                    self.expr(e);
                }
            }
            return self.wrong_rank(param, &axes, index.len(), span);
        }
        let mut place = Place { index: Vec::new(), args: Vec::new(), dims: Vec::new(), valid: None, slots: Vec::new() };
        let mut fine = true;
        for (n, (axis, i)) in axes.iter().zip(index).enumerate() {
            fine &= self.one_index(param, n, *axis, i, &mut place).is_some();
        }
        place.dims.sort_unstable();
        place.dims.dedup();
        fine.then_some(place)
    }

    fn wrong_rank<T>(&mut self, param: ParamId, axes: &[Axis], found: usize, span: Span) -> Option<T> {
        let row = self.b.func.param(param);
        let shape: Vec<String> = axes.iter().map(|a| self.show_axis(*a)).collect();
        let (name, declared) = (row.name.clone(), row.span);
        let given = if found == 1 { "1 index is".to_owned() } else { format!("{found} indices are") };
        let message = format!("`{name}` has {} axes, but {given} given", axes.len());
        let error = Diagnostic::error(Code::E0203, span, message, format!("{given} given"))
            .with_label(declared, format!("`{name}` is [{}]", shape.join(", ")));
        self.say(error.with_help("give one index an axis; `:` is the whole axis"))
    }

    /// `N by 128`.
    pub(crate) fn show_axis(&self, axis: Axis) -> String {
        match axis.by {
            None => self.extent_name(axis.extent).to_owned(),
            Some(by) => format!("{} by {by}", self.extent_name(axis.extent)),
        }
    }

    fn one_index(&mut self, param: ParamId, n: usize, axis: Axis, i: &IndexExpr, place: &mut Place) -> Option<()> {
        let e = match i {
            IndexExpr::Whole(span) => return self.whole_index(axis, *span, place),
            IndexExpr::Expr(e) => e,
        };
        if let ExprKind::All(AxisExtent::Name(name)) = &e.kind
            && name.node == self.extent_name(axis.extent)
        {
            return self.whole_index(axis, e.span, place);
        }
        let val = self.expr(e).known()?;
        if let Val::Block(d) = val {
            return self.block_index(param, n, axis, d, e.span, place);
        }
        if let Val::Dims(dims) = &val
            && let [d] = dims.as_slice()
        {
            return self.block_index(param, n, axis, *d, e.span, place);
        }
        let num = self.number(val, e.span)?;
        self.number_index(param, n, axis, &Operand { num, span: e.span }, place)
    }

    fn whole_index(&mut self, axis: Axis, span: Span, place: &mut Place) -> Option<()> {
        let dim = match axis.by {
            None => {
                let d = self.whole_dim(axis.extent, span)?;
                place.index.push(Index::Dim(d));
                d
            }
            Some(by) => {
                let d = self.counted_dim(axis.extent, by, span)?;
                let value = self.emit(Op::Pos(d), &[], span)?;
                place.index.push(Index::Value);
                place.args.push(value);
                d
            }
        };
        place.dims.push(dim);
        place.slots.push(Slot::Dim(dim));
        Some(())
    }

    fn block_index(
        &mut self,
        param: ParamId,
        n: usize,
        axis: Axis,
        d: DimId,
        span: Span,
        place: &mut Place,
    ) -> Option<()> {
        let dim = self.b.func.dim(d);
        let same = dim.over == Some(axis.extent);
        match axis.by {
            None if same => {
                place.index.push(Index::Dim(d));
                place.dims.push(d);
                place.slots.push(Slot::Dim(d));
                Some(())
            }
            Some(by) if same && by == dim.size && !dim.whole => {
                let form = self.block_form(d);
                let value = self.emit(Op::BlockIndex(d), &[], span)?;
                place.index.push(Index::Value);
                place.args.push(value);
                place.slots.push(Slot::Number(form));
                Some(())
            }
            None if dim.over.is_none() => {
                let value = self.emit(Op::Pos(d), &[], span)?;
                let tile = Tile { lanes: Some(Lanes::Pos(d)), ..Self::formed(value, self.position_form(d)) };
                self.number_index(param, n, axis, &Operand { num: Num::Tile(tile), span }, place)
            }
            None | Some(_) => self.other_extent(param, n, axis, d, span),
        }
    }

    /// E0204.
    fn other_extent(&mut self, param: ParamId, n: usize, axis: Axis, d: DimId, span: Span) -> Option<()> {
        let row = self.b.func.param(param);
        let (name, declared) = (row.name.clone(), row.span);
        let (block, axis_name, dim) = (self.describe_block(d), self.show_axis(axis), self.dim_name(d).to_owned());
        let message = format!("axis {} of `{name}` is {axis_name}, but `{dim}` is {block}", n + 1);
        let error = Diagnostic::error(Code::E0204, span, message, block)
            .with_label(declared, format!("axis {} is {axis_name}", n + 1));
        let error = self.label_dim(error, d);
        let help = if self.b.func.dim(d).over == Some(axis.extent) {
            format!("this axis counts blocks; a number such as `index({dim})` indexes it")
        } else {
            format!("index it with a block of {axis_name}, or with a number such as `index({dim})`")
        };
        self.say(error.with_help(help))
    }

    fn number_index(&mut self, param: ParamId, n: usize, axis: Axis, x: &Operand, place: &mut Place) -> Option<()> {
        self.in_constant_range(param, n, axis, x)?;
        let t = self.index_value(x, "an index")?;
        let dims = self.ty(t.value).dims().to_vec();
        if let Some(d) = self.own_lanes(axis, &t) {
            place.index.push(Index::Dim(d));
            place.dims.push(d);
            place.slots.push(Slot::Dim(d));
            return Some(());
        }
        let form = t.form.clone();
        let t = if dims.is_empty() { self.scalar_position(axis, t, x.span)? } else { self.gathered(axis, t, x.span)? };
        place.valid = self.both(place.valid, t.valid, x.span)?;
        place.index.push(Index::Value);
        place.args.push(t.value);
        place.dims.extend(dims);
        place.slots.push(Slot::Number(form));
        Some(())
    }

    /// E0502 for a constant that no launch could index with.
    fn in_constant_range(&mut self, param: ParamId, n: usize, axis: Axis, x: &Operand) -> Option<()> {
        let Num::Const(c) = &x.num else { return Some(()) };
        let Some(at) = c.as_int() else { return Some(()) };
        let known = self.b.func.extents[axis.extent.index()].known.filter(|_| axis.by.is_none());
        let fixed = known.filter(|_| self.extent_name(axis.extent).starts_with(|c: char| c.is_ascii_digit()));
        if at >= 0 && fixed.is_none_or(|size| at < size) {
            return Some(());
        }
        let name = self.b.func.param(param).name.clone();
        let axis = self.show_axis(axis);
        let message = format!("{at} is outside axis {} of `{name}`, which is {axis}", n + 1);
        self.error(Code::E0502, x.span, message, "outside")
    }

    /// The dim whose own lanes a tile of positions is, if they index this axis as the dim's block does.
    fn own_lanes(&self, axis: Axis, t: &Tile) -> Option<DimId> {
        let (d, through) = match t.lanes? {
            Lanes::Pos(d) => (d, false),
            Lanes::At(d) => (d, true),
        };
        let dim = self.b.func.dim(d);
        let own = self.b.func.extents[axis.extent.index()].order;
        let same = if through { own.is_none() && dim.order.is_some() } else { own == dim.order };
        (axis.by.is_none() && dim.over == Some(axis.extent) && same && t.valid.is_none()).then_some(d)
    }

    /// A scalar position of an axis as an element: through the order of a permuted extent. Where the order has none
    /// there, the element is invalid; outside the axis it is the launch's error.
    fn scalar_position(&mut self, axis: Axis, t: Tile, span: Span) -> Option<Tile> {
        let order = self.b.func.extents[axis.extent.index()].order.filter(|_| axis.by.is_none());
        let Some(order) = order else { return Some(t) };
        let element = self.emit(Op::OrderAt(axis.extent), &[t.value], span)?;
        if !self.b.func.orders[order.index()].holes {
            return Some(Tile { value: element, form: None, ..t });
        }
        let zero = self.int(0, span);
        let there = self.emit(Op::Binary(BinaryOp::Ge), &[element, zero], span)?;
        let value = self.emit(Op::Binary(BinaryOp::Max), &[element, zero], span)?;
        let valid = self.both(t.valid, Some(there), span)?;
        Some(Tile { value, valid, soft: None, form: None, lanes: None })
    }

    /// A tile of positions of an axis as elements, with the validity of each.
    fn gathered(&mut self, axis: Axis, t: Tile, span: Span) -> Option<Tile> {
        let zero = self.int(0, span);
        let order = self.b.func.extents[axis.extent.index()].order.filter(|_| axis.by.is_none());
        let (value, there) = match order {
            Some(_) => {
                let element = self.emit(Op::OrderAt(axis.extent), &[t.value], span)?;
                (element, self.emit(Op::Binary(BinaryOp::Ge), &[element, zero], span)?)
            }
            None => {
                let size = self.axis_size(axis, span)?;
                let low = self.emit(Op::Binary(BinaryOp::Ge), &[t.value, zero], span)?;
                let high = self.emit(Op::Binary(BinaryOp::Lt), &[t.value, size], span)?;
                (t.value, self.emit(Op::Binary(BinaryOp::And), &[low, high], span)?)
            }
        };
        let valid = self.both(t.valid, Some(there), span)?;
        Some(Tile { value, valid, soft: None, form: None, lanes: None })
    }

    /// The number of places along an axis.
    fn axis_size(&mut self, axis: Axis, span: Span) -> Option<Value> {
        let Some(by) = axis.by else { return self.emit(Op::Extent(axis.extent), &[], span) };
        let length = self.walk_length(axis.extent, span)?;
        let length = self.index_value(&Operand { num: length, span }, "a length")?;
        let up = self.int(by - 1, span);
        let size = self.int(by, span);
        let sum = self.emit(Op::Binary(BinaryOp::Add), &[length.value, up], span)?;
        self.emit(Op::Binary(BinaryOp::Div), &[sum, size], span)
    }

    /// The value where it is valid, and `fill` elsewhere.
    pub(crate) fn filled(&mut self, t: &Tile, fill: Scalar, span: Span) -> Option<Value> {
        let Some(valid) = t.valid else { return Some(t.value) };
        let dtype: DType = self.ty(t.value).dtype();
        let fill = self.emit(Op::Const(dtype, fill), &[], span)?;
        self.emit(Op::Select, &[valid, t.value, fill], span)
    }
}
