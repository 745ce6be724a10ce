//! The verifier's rules for a function's tables: extents, dims, orders, parameters, grid. Not for its body.

use super::{Verifier, verify};
use crate::{Axis, DType, Dim, Func, GridAxis, Order, OrderBody, Param, ParamKind, Type, Value};

impl Verifier<'_> {
    pub(super) fn tables(&mut self) {
        for n in 0..self.func.extents.len() {
            self.extent(n);
        }
        self.func.dims.iter().for_each(|d| self.dim(d));
        self.func.orders.iter().for_each(|o| self.order(o));
        self.func.params.iter().for_each(|p| self.param(p));
        let misplaced = self.func.params.windows(2).any(|pair| pair[0].out && !pair[1].out);
        self.check(!misplaced, || "an input stands after an output".into());
        self.func.grid.iter().for_each(|axis| self.grid_axis(axis));
        self.context.clear();
    }

    fn extent(&mut self, n: usize) {
        let extent = &self.func.extents[n];
        self.context = format!("extent `{}`", extent.name);
        self.check(extent.known.is_none_or(|k| k >= 0), || "is negative".into());
        self.check(extent.order.is_none_or(|o| self.has_order(o)), || "has an order that does not exist".into());
    }

    fn dim(&mut self, dim: &Dim) {
        self.context = format!("dim `{}`", dim.name);
        self.check(dim.size >= 1, || format!("has size {}, not 1 or more", dim.size));
        let orders =
            self.check(dim.order.is_none_or(|o| self.has_order(o)), || "has an order that does not exist".into());
        let Some(over) = dim.over else {
            self.check(dim.order.is_none(), || "is over nothing, yet has an order".into());
            self.check(!dim.full, || "is over nothing, so it has no blocks that could be full".into());
            return;
        };
        if !self.check(self.has_extent(over), || "is over an extent that does not exist".into()) || !orders {
            return;
        }
        let extent = &self.func.extents[over.index()];
        self.check(extent.order.is_none() || dim.order.is_some(), || {
            format!("has no order, but extent `{}` has one", extent.name)
        });
        self.check(!(dim.whole && dim.full), || "is whole, yet said to have full blocks only".into());
        if dim.whole {
            let length = self.func.known_length(over, dim.order);
            self.check(length.is_some_and(|n| dim.size == n.max(1)), || match length {
                Some(n) => format!("is whole, but has size {} over length {n}", dim.size),
                None => format!("is whole, but the length of `{}` is not known", extent.name),
            });
        }
    }

    fn order(&mut self, order: &Order) {
        self.context = format!("order `{}`", order.name);
        self.check((0..=i64::from(i32::MAX)).contains(&order.len), || format!("has length {}", order.len));
        match &order.fill {
            OrderBody::Kernel(fill) => self.fill_kernel(fill, order.len),
            OrderBody::Table(table) => {
                let count = table.elements().len() as i64;
                self.check(count == order.len, || format!("has length {}, but its table {count}", order.len));
                self.check(order.holes || !table.holes(), || "has a table with holes, yet none itself".into());
            }
        }
    }

    fn fill_kernel(&mut self, fill: &Func, len: i64) {
        self.check(is_table(fill, len), || "is not filled by a kernel with the one output `tensor<i32>[len]`".into());
        let single = |axis: &GridAxis| match axis {
            GridAxis::Each(axis, _) => axis.by.is_none_or(|by| by == 1),
            GridAxis::Walk(d) => fill.dims.get(d.index()).is_some_and(|d| d.size == 1),
        };
        self.check(fill.grid.len() == 1 && fill.grid.iter().all(single), || {
            "is not filled position by position".into()
        });
        if let Err(errors) = verify(fill) {
            errors.into_iter().for_each(|e| self.error(e));
        }
    }

    fn param(&mut self, param: &Param) {
        self.context = format!("parameter `{}`", param.name);
        match &param.kind {
            ParamKind::Scalar(dtype, value) => {
                self.check(!param.out, || "is a scalar, yet an output".into());
                self.has_type(*value, *dtype);
            }
            ParamKind::Tensor(_, axes) => axes.iter().for_each(|a| self.axis(a)),
            ParamKind::Mask(axes) => {
                self.check(!axes.is_empty(), || "is a mask without axes".into());
                axes.iter().for_each(|a| self.axis(a));
            }
        }
    }

    fn axis(&mut self, axis: &Axis) {
        self.check(self.has_extent(axis.extent), || "has an axis over an extent that does not exist".into());
        self.check(axis.by.is_none_or(|by| by >= 1), || "has an axis by less than 1".into());
    }

    fn grid_axis(&mut self, axis: &GridAxis) {
        self.context = "grid".into();
        match axis {
            GridAxis::Walk(d) => {
                if self.check(self.has_dim(*d), || "walks a dim that does not exist".into()) {
                    let dim = self.func.dim(*d);
                    self.check(dim.over.is_some() && !dim.whole, || {
                        format!("walks `{}`, which is in scope everywhere", dim.name)
                    });
                    self.check(!dim.full, || format!("walks `{}`, but a grid visits every block", dim.name));
                }
            }
            GridAxis::Each(axis, value) => {
                self.axis(axis);
                self.has_type(*value, DType::I64);
            }
        }
    }

    fn has_type(&mut self, value: Value, want: DType) {
        let fits = self.has_value(value) && *self.func.ty(value) == Type::Scalar(want);
        self.check(fits, || format!("%{} is not a scalar {want}", value.0));
    }
}

fn is_table(fill: &Func, len: i64) -> bool {
    let [Param { kind: ParamKind::Tensor(DType::I32, axes), out: true, .. }] = fill.params.as_slice() else {
        return false;
    };
    let [Axis { extent, by: None }] = axes.as_slice() else { return false };
    fill.extents.get(extent.index()).is_some_and(|e| e.known == Some(len))
}
