//! The outside of a kernel: extents at awkward sizes, orders with holes, grid, parameters and their data.

use pantile_interp::{Arg, Array, Data, MaskArray};
use pantile_ir::{
    Axis, BinaryOp, Builder, DType, Dim, DimId, Extent, ExtentId, Func, GridAxis, Index, Op, Order, OrderBody, OrderId,
    Param, ParamId, ParamKind, Scalar, StoreMode, Table, Type, Value, eval,
};

use super::bounds::Bounds;
use super::source::{Noise, Source};
use super::{Generator, Input, OutAxis, Output};

/// Simplest first.
const DTYPES: [DType; 15] = [
    DType::F32,
    DType::I64,
    DType::I32,
    DType::F16,
    DType::F64,
    DType::BF16,
    DType::Bool,
    DType::U8,
    DType::I8,
    DType::I16,
    DType::U16,
    DType::U32,
    DType::U64,
    DType::F8E4M3,
    DType::F8E5M2,
];

impl<'a> Generator<'a> {
    pub(super) fn launch(source: Source<'a>) -> Self {
        let mut g = Self {
            source,
            build: Builder::new(Func::default()),
            extents: Vec::new(),
            orders: Vec::new(),
            args: Vec::new(),
            tensors: Vec::new(),
            masks: Vec::new(),
            outputs: Vec::new(),
            mask_outputs: Vec::new(),
            bounds: Vec::new(),
            pool: Vec::new(),
            places: Vec::new(),
            dims: Vec::new(),
            trips: 1.0,
            instances: 1.0,
            depth: 0,
            may_fault: false,
        };
        for _ in 0..2 + g.source.below(3) {
            g.extent();
        }
        for _ in 0..g.source.below(3) {
            g.order();
        }
        g.whole_dims();
        for _ in 0..1 + g.source.below(2) {
            g.grid_axis();
        }
        for _ in 0..1 + g.source.below(4) {
            g.input();
        }
        for _ in 0..g.source.below(3) {
            g.scalar_input();
        }
        if g.source.chance(50) {
            g.mask_input();
        }
        for _ in 0..1 + g.source.below(3) {
            g.output();
        }
        if g.source.chance(25) {
            g.mask_output();
        }
        g.bounds.resize(g.build.func.types.len(), Bounds::ANY);
        g
    }

    pub(super) fn dtype(&mut self) -> DType {
        self.source.pick(&DTYPES)
    }

    fn extent(&mut self) {
        let n = self.source.pick(&[5, 8, 1, 7, 9, 3, 16, 2, 13, 17, 4, 0, 11, 6, 12]);
        let known = self.source.chance(60).then_some(n);
        let name = format!("E{}", self.extents.len());
        self.build.func.extents.push(Extent { name, known, order: None });
        self.extents.push(n);
    }

    pub(super) fn any_extent(&mut self) -> ExtentId {
        ExtentId(self.source.below(self.extents.len()) as u32)
    }

    /// Position p → (a·p + c) mod length, where that is an element; one-to-one because a has no factor in common with
    /// the length.
    fn order(&mut self) {
        let extent = self.any_extent();
        let n = self.extents[extent.index()];
        let len = match self.source.below(5) {
            0 => n,
            1 => n + 1,
            2 => n + 4,
            3 => 2 * n + 1,
            _ => (n - 1).max(0),
        };
        let coprime = |a: &i64| len == 0 || (2..=*a).all(|f| a % f != 0 || len % f != 0);
        let a = (1..).skip(self.source.below(7)).find(coprime).unwrap_or(1);
        let c = self.source.below(9) as i64;
        let name = format!("order{}", self.orders.len());
        let table: Vec<i32> = (0..len).map(|p| (a * p + c) % len).map(|e| if e < n { e as i32 } else { -1 }).collect();
        let as_table = if self.source.chance(30) { Table::new(table.clone()).ok() } else { None };
        let fill = as_table.map_or_else(|| OrderBody::Kernel(Box::new(fill(n, len, a, c))), OrderBody::Table);
        let order = Order { name, len, holes: len > n, fill };
        let id = OrderId(self.orders.len() as u32);
        self.orders.push(table);
        self.build.func.orders.push(order);
        let row = &mut self.build.func.extents[extent.index()];
        if row.order.is_none() && self.source.chance(50) {
            row.order = Some(id);
        }
    }

    /// A dim over an extent, in the extent's order if it has one; else perhaps in another of the right number of
    /// elements.
    pub(super) fn new_dim(&mut self, over: ExtentId, size: i64) -> DimId {
        let n = self.extents[over.index()];
        let fits = |t: &Vec<i32>| t.iter().all(|e| i64::from(*e) < n);
        let orders: Vec<u32> = (0..self.orders.len()).filter(|o| fits(&self.orders[*o])).map(|o| o as u32).collect();
        let mut order = self.build.func.extents[over.index()].order;
        if order.is_none() && !orders.is_empty() && self.source.chance(40) {
            order = Some(OrderId(self.source.pick(&orders)));
        }
        self.add_dim(Dim {
            name: format!("d{}", self.build.func.dims.len()),
            size,
            over: Some(over),
            order,
            whole: false,
            full: false,
        })
    }

    pub(super) fn add_dim(&mut self, dim: Dim) -> DimId {
        self.build.func.dims.push(dim);
        DimId(self.build.func.dims.len() as u32 - 1)
    }

    fn whole_dims(&mut self) {
        for n in 0..self.extents.len() {
            let extent = &self.build.func.extents[n];
            let order = extent.order;
            let id = ExtentId(n as u32);
            if extent.known.is_none() {
                continue;
            }
            let Some(length) = self.build.func.known_length(id, order) else { continue };
            let name = format!("E{n}");
            let dim = self.add_dim(Dim { name, size: length.max(1), over: Some(id), order, whole: true, full: false });
            self.dims.push(dim);
        }
    }

    fn block_size(&mut self) -> i64 {
        self.source.pick(&[4, 3, 1, 5, 8, 2, 7, 9, 6])
    }

    fn grid_axis(&mut self) {
        let extent = self.any_extent();
        let size = self.block_size();
        if self.source.chance(60) {
            let dim = self.new_dim(extent, size);
            self.instances *= self.build.func.block_count(dim, &self.extents) as f64;
            self.build.func.grid.push(GridAxis::Walk(dim));
            self.dims.push(dim);
        } else {
            let axis = Axis { extent, by: self.source.chance(30).then_some(size) };
            let value = self.build.func.new_value(Type::Scalar(DType::I64));
            self.instances *= self.build.func.axis_size(axis, &self.extents) as f64;
            self.build.func.grid.push(GridAxis::Each(axis, value));
            self.bounds.resize(value.index() + 1, Bounds::exact(32.0));
            self.pool.push(value);
            self.places.push((value, axis));
        }
    }

    fn param(&mut self, kind: ParamKind, arg: Arg, out: bool) -> ParamId {
        let name = format!("p{}", self.args.len());
        self.build.func.params.push(Param { name, kind, out, span: Default::default() });
        self.args.push(arg);
        ParamId(self.args.len() as u32 - 1)
    }

    fn shape(&self, axes: &[Axis]) -> Vec<usize> {
        axes.iter().map(|a| self.build.func.axis_size(*a, &self.extents) as usize).collect()
    }

    fn input(&mut self) {
        let dtype = self.dtype();
        let mut axes = Vec::new();
        for _ in 0..1 + self.source.below(3) {
            let extent = self.any_extent();
            let by = if self.source.chance(10) { Some(self.block_size()) } else { None };
            axes.push(Axis { extent, by });
        }
        let (wild, seed) = (self.source.chance(25), self.source.seed());
        let shape = self.shape(&axes);
        let mut noise = Noise::new(seed);
        let count = shape.iter().product();
        let data = Data::from_scalars(dtype, (0..count).map(|_| element(dtype, wild, &mut noise)));
        let param = self.param(ParamKind::Tensor(dtype, axes), Arg::Tensor(Array { dtype, shape, data }), false);
        let bounds = if wild { Bounds::ANY } else { Bounds::exact(4.0) };
        self.tensors.push(Input { param, bounds });
    }

    fn scalar_input(&mut self) {
        let dtype = self.dtype();
        let x = element(dtype, false, &mut Noise::new(self.source.seed()));
        let value = self.build.func.new_value(Type::Scalar(dtype));
        self.param(ParamKind::Scalar(dtype, value), Arg::Scalar(x), false);
        self.bounds.resize(value.index(), Bounds::ANY);
        self.bounds.push(Bounds::exact(4.0));
        self.pool.push(value);
    }

    /// Rows by some grid axes, and the blocks of a walk along the last axis.
    fn mask_input(&mut self) {
        let mut axes: Vec<Axis> = Vec::new();
        for n in 0..self.build.func.grid.len() {
            if self.source.chance(60) {
                axes.extend(self.grid_places(n));
            }
        }
        let extent = self.any_extent();
        axes.push(Axis { extent, by: Some(self.block_size()) });
        let shape = self.shape(&axes);
        let (odds, mut noise) = (1 + self.source.below(4) as u64, Noise::new(self.source.seed()));
        let bits = (0..shape.iter().product()).map(|_| noise.next() % 5 < odds).collect();
        let param = self.param(ParamKind::Mask(axes), Arg::Mask(MaskArray { shape, bits }), false);
        self.masks.push(Input { param, bounds: Bounds::exact(1.0) });
    }

    /// The axis whose places a grid axis counts, if tensors can have it.
    fn grid_places(&self, n: usize) -> Option<Axis> {
        match &self.build.func.grid[n] {
            GridAxis::Each(axis, _) => Some(*axis),
            GridAxis::Walk(dim) => self.counted_by(*dim),
        }
    }

    /// The axis whose places the blocks of a dim are.
    pub(super) fn counted_by(&self, dim: DimId) -> Option<Axis> {
        let row = self.build.func.dim(dim);
        let extent = row.over?;
        let same = self.build.func.extents[extent.index()].order == row.order;
        same.then_some(Axis { extent, by: Some(row.size) })
    }

    fn output(&mut self) {
        let dtype = self.dtype();
        let atomic = dtype.kind() != pantile_ir::Kind::Bool && self.source.chance(20);
        let mut axes = Vec::new();
        if !atomic {
            for n in 0..self.build.func.grid.len() {
                axes.push(match &self.build.func.grid[n] {
                    GridAxis::Each(_, value) => OutAxis::Each(*value),
                    GridAxis::Walk(dim) if self.source.chance(20) && self.counted_by(*dim).is_some() => {
                        OutAxis::Block(*dim)
                    }
                    GridAxis::Walk(dim) => OutAxis::Dim(*dim),
                });
            }
        }
        let free = usize::from(atomic) + self.source.below(2);
        for _ in 0..free {
            let extent = self.any_extent();
            axes.push(OutAxis::Free(Axis { extent, by: None }));
        }
        let turn = self.source.below(axes.len());
        axes.rotate_left(turn);
        let shown: Vec<Axis> = axes.iter().filter_map(|a| self.out_axis(*a)).collect();
        let array = Array::zeros(dtype, &self.shape(&shown));
        let param = self.param(ParamKind::Tensor(dtype, shown), Arg::Tensor(array), true);
        let nothing = Bounds::exact(0.0);
        self.outputs.push(Output { param, dtype, axes, atomic, set: nothing, added: nothing, adds: 0.0 });
    }

    fn out_axis(&self, axis: OutAxis) -> Option<Axis> {
        match axis {
            OutAxis::Dim(d) => self.build.func.dim(d).over.map(|extent| Axis { extent, by: None }),
            OutAxis::Block(d) => self.counted_by(d),
            OutAxis::Each(value) => self.places.iter().find(|(v, _)| *v == value).map(|(_, axis)| *axis),
            OutAxis::Free(axis) => Some(axis),
        }
    }

    /// Rows by all grid axes; the last axis whole.
    fn mask_output(&mut self) {
        let Some(last) = self.dims.iter().copied().find(|d| self.build.func.dim(*d).whole) else { return };
        let (mut index, mut values, mut axes) = (Vec::new(), Vec::new(), Vec::new());
        for axis in &self.build.func.grid {
            match axis {
                GridAxis::Each(axis, value) => {
                    index.push(Index::Value);
                    values.push(*value);
                    axes.push(*axis);
                }
                GridAxis::Walk(dim) => {
                    index.push(Index::Dim(*dim));
                    axes.extend(self.out_axis(OutAxis::Dim(*dim)));
                }
            }
        }
        index.push(Index::Dim(last));
        axes.extend(self.out_axis(OutAxis::Dim(last)));
        let mask = MaskArray::empty(&self.shape(&axes));
        let param = self.param(ParamKind::Mask(axes), Arg::Mask(mask), true);
        self.mask_outputs.push((param, index, values));
    }
}

/// The kernel that fills an order's table.
fn fill(n: i64, len: i64, a: i64, c: i64) -> Func {
    let mut func = Func { name: "fill".into(), ..Func::default() };
    let extent = ExtentId(0);
    func.extents.push(Extent { name: "LEN".into(), known: Some(len), order: None });
    let axis = Axis { extent, by: None };
    let kind = ParamKind::Tensor(DType::I32, vec![axis]);
    func.params.push(Param { name: "table".into(), kind, out: true, span: Default::default() });
    let p = func.new_value(Type::Scalar(DType::I64));
    func.grid.push(GridAxis::Each(axis, p));
    let mut b = Builder::new(func);
    let mut with = |op, x: Value, y: i64| {
        let y = b.int(y);
        b.push(Op::Binary(op), &[x, y])
    };
    let x = with(BinaryOp::Mul, p, a);
    let x = with(BinaryOp::Add, x, c);
    let x = with(BinaryOp::Rem, x, len.max(1));
    let there = with(BinaryOp::Lt, x, n);
    let none = b.int(-1);
    let x = b.push(Op::Select, &[there, x, none]);
    let x = b.push(Op::Cast(DType::I32), &[x]);
    let store = Op::Store { param: ParamId(0), index: vec![Index::Value], mode: StoreMode::Set, masked: false };
    b.try_push(store, &[p, x]).unwrap_or_default();
    b.finish()
}

/// One element: tame ones are small and exact in every dtype but f8, wild ones are anything.
fn element(dtype: DType, wild: bool, noise: &mut Noise) -> Scalar {
    let bits = noise.next();
    if dtype == DType::Bool {
        return Scalar::Bool(bits % 2 == 1);
    }
    if wild && bits.is_multiple_of(3) {
        return eval::from_bits(dtype, noise.next() ^ noise.next() << 32);
    }
    if wild && dtype.is_float() && bits.is_multiple_of(7) {
        let x = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0][(bits >> 8) as usize % 4];
        return Scalar::Float(eval::round(dtype, x));
    }
    let small = (bits >> 8) % 33;
    if dtype.is_float() {
        return Scalar::Float(eval::round(dtype, (small as f64 - 16.0) / 4.0));
    }
    let signed = dtype.kind() == pantile_ir::Kind::Signed;
    Scalar::Int(if signed { small as i64 % 9 - 4 } else { small as i64 % 5 })
}
