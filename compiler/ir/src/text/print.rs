//! Writes a function: signature, tables, grid, body. It writes whatever it is given, right or wrong, and checks nothing.

use super::names::{Names, quoted, written};
use crate::{Axis, DimId, ExtentId, Func, GridAxis, OrderBody, OrderId, Param, ParamKind, Type, Value};

/// The text form of a function.
pub fn print(func: &Func) -> String {
    let mut p = Printer { func, names: Names::new(func), out: String::new(), indent: 0 };
    p.func();
    p.out
}

pub(super) struct Printer<'f> {
    pub func: &'f Func,
    pub names: Names,
    pub out: String,
    pub indent: usize,
}

impl Printer<'_> {
    /// Starts a line.
    pub(super) fn line(&mut self) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n("  ", self.indent));
    }

    fn func(&mut self) {
        let func = self.func;
        let side = |p: &Self, out: bool| {
            let all = func.params.iter().enumerate().filter(|(_, param)| param.out == out);
            all.map(|(n, param)| p.param(n, param)).collect::<Vec<_>>().join(", ")
        };
        let (ins, outs) = (side(self, false), side(self, true));
        self.out += &format!("kernel @{}({ins}) -> ({outs})", written(&func.name));
        self.indent += 1;
        self.tables();
        let grid: Vec<String> = func.grid.iter().map(|axis| self.grid_axis(axis)).collect();
        self.line();
        self.out += &format!("grid ({})", grid.join(", "));
        self.indent -= 1;
        self.line();
        self.out += "{";
        self.region(&func.body);
        self.out += "}";
        if self.indent == 0 {
            self.out += "\n";
        }
    }

    fn tables(&mut self) {
        let func = self.func;
        for (name, value) in &func.consts {
            self.line();
            self.out += &format!("const {} = {}", written(name), written(value));
        }
        for (n, order) in func.orders.iter().enumerate() {
            self.line();
            let holes = if order.holes { " holes" } else { "" };
            self.out += &format!("order {} {} len {}{holes} ", self.names.orders[n], quoted(&order.name), order.len);
            match &order.fill {
                OrderBody::Kernel(func) => {
                    let mut inner = Printer { func, names: Names::new(func), out: String::new(), indent: self.indent };
                    inner.func();
                    self.out += &inner.out;
                }
                OrderBody::Table(table) => self.out += &format!("table {:?}", table.elements()),
            }
        }
        for (n, extent) in func.extents.iter().enumerate() {
            self.line();
            let known = extent.known.map_or(String::new(), |k| format!(" = {k}"));
            self.out += &format!("extent {}{known}{}", self.names.extents[n], self.via(extent.order));
        }
        for (n, dim) in func.dims.iter().enumerate() {
            self.line();
            let whole = if dim.whole {
                " whole"
            } else if dim.full {
                " full"
            } else {
                ""
            };
            let over = dim.over.map_or(String::new(), |e| format!("{} by ", self.extent(e)));
            self.out += &format!("dim {}: {over}{}{whole}{}", self.names.dims[n], dim.size, self.via(dim.order));
        }
    }

    fn via(&self, order: Option<OrderId>) -> String {
        order.map_or(String::new(), |o| format!(" via {}", at(&self.names.orders, o.index())))
    }

    fn param(&self, n: usize, param: &Param) -> String {
        let name = &self.names.params[n];
        match &param.kind {
            ParamKind::Scalar(dtype, value) => format!("{name}: {dtype} = %{}", value.0),
            ParamKind::Tensor(dtype, axes) => format!("{name}: tensor<{dtype}>[{}]", self.axes(axes)),
            ParamKind::Mask(axes) => format!("{name}: mask[{}]", self.axes(axes)),
        }
    }

    fn axes(&self, axes: &[Axis]) -> String {
        axes.iter().map(|a| self.axis(a)).collect::<Vec<_>>().join(", ")
    }

    fn axis(&self, axis: &Axis) -> String {
        let by = axis.by.map_or(String::new(), |by| format!(" by {by}"));
        format!("{}{by}", self.extent(axis.extent))
    }

    fn grid_axis(&self, axis: &GridAxis) -> String {
        match axis {
            GridAxis::Walk(d) => self.walk(*d),
            GridAxis::Each(axis, value) => format!("{} in {}", self.define(*value), self.axis(axis)),
        }
    }

    /// `i in N by 128`.
    pub(super) fn walk(&self, d: DimId) -> String {
        let row = self.func.dims.get(d.index());
        let over = row.and_then(|r| r.over).map_or("?".into(), |e| self.extent(e).to_string());
        format!("{} in {over} by {}", self.dim(d), row.map_or(0, |r| r.size))
    }

    /// `%7: f32`.
    pub(super) fn define(&self, v: Value) -> String {
        let ty = self.func.types.get(v.index()).map_or("?".into(), |ty| self.ty(ty));
        format!("%{}: {ty}", v.0)
    }

    pub(super) fn ty(&self, ty: &Type) -> String {
        match ty {
            Type::Scalar(dtype) => dtype.to_string(),
            Type::Tile(dtype, dims) => format!("tile<{dtype}>{}", self.dims(dims)),
        }
    }

    /// `{i, j}`.
    pub(super) fn dims(&self, dims: &[DimId]) -> String {
        format!("{{{}}}", dims.iter().map(|d| self.dim(*d)).collect::<Vec<_>>().join(", "))
    }

    pub(super) fn dim(&self, d: DimId) -> &str {
        at(&self.names.dims, d.index())
    }

    pub(super) fn extent(&self, e: ExtentId) -> &str {
        at(&self.names.extents, e.index())
    }
}

/// The name of a row; a question mark where there is none, so that a broken function can still be looked at.
pub(super) fn at(names: &[String], n: usize) -> &str {
    names.get(n).map_or("?", String::as_str)
}
