//! Hand-built kernels with results worked out by hand or by the plainest loops; one test for each group of ops.

use pantile_ir::{
    ArgOp, Axis, BinaryOp, Builder, DType, Dim, DimId, Extent, ExtentId, Func, GridAxis, Index, Loop, Op, Order,
    OrderBody, OrderId, Over, Param, ParamId, ParamKind, ReduceOp, Scalar, ScanOp, StoreMode, Type, UnaryOp, Value,
};

use super::*;

/// Builds a kernel and its launch side by side.
#[derive(Default)]
struct Test {
    func: Func,
    extents: Vec<i64>,
    orders: Vec<Vec<i32>>,
    args: Vec<Arg>,
    options: Options,
}

impl Test {
    fn extent(&mut self, name: &str, n: i64) -> ExtentId {
        self.func.extents.push(Extent { name: name.into(), known: None, order: None });
        self.extents.push(n);
        ExtentId(self.extents.len() as u32 - 1)
    }

    fn dim(&mut self, over: Option<ExtentId>, size: i64, whole: bool) -> DimId {
        let name = format!("d{}", self.func.dims.len());
        self.func.dims.push(Dim { name, size, over, order: None, whole, full: false });
        DimId(self.func.dims.len() as u32 - 1)
    }

    fn order(&mut self, table: &[i32]) -> OrderId {
        let fill = OrderBody::Kernel(Box::default());
        self.func.orders.push(Order { name: "o".into(), len: table.len() as i64, holes: true, fill });
        self.orders.push(table.to_vec());
        OrderId(self.orders.len() as u32 - 1)
    }

    fn param(&mut self, kind: ParamKind, arg: Arg, out: bool) -> ParamId {
        let name = format!("p{}", self.args.len());
        self.func.params.push(Param { name, kind, out, span: Span::default() });
        self.args.push(arg);
        ParamId(self.args.len() as u32 - 1)
    }

    fn input(&mut self, dtype: DType, axes: &[ExtentId], elements: &[f64]) -> ParamId {
        let shape: Vec<usize> = axes.iter().map(|e| self.extents[e.index()] as usize).collect();
        let element = |x: &f64| if dtype.is_float() { Scalar::Float(*x) } else { Scalar::Int(*x as i64) };
        let data = Data::from_scalars(dtype, elements.iter().map(element));
        self.tensor(dtype, axes, Array { dtype, shape, data }, false)
    }

    fn output(&mut self, dtype: DType, axes: &[ExtentId]) -> ParamId {
        let shape: Vec<usize> = axes.iter().map(|e| self.extents[e.index()] as usize).collect();
        self.tensor(dtype, axes, Array::zeros(dtype, &shape), true)
    }

    fn tensor(&mut self, dtype: DType, axes: &[ExtentId], array: Array, out: bool) -> ParamId {
        let axes = axes.iter().map(|extent| Axis { extent: *extent, by: None }).collect();
        self.param(ParamKind::Tensor(dtype, axes), Arg::Tensor(array), out)
    }

    fn run(mut self, body: impl FnOnce(&mut Builder)) -> Result<Vec<Arg>, Fault> {
        let mut b = Builder::new(std::mem::take(&mut self.func));
        body(&mut b);
        let func = b.finish();
        run(&func, &self.extents, &self.orders, &mut self.args, self.options).map(|()| self.args)
    }

    /// Runs, and gives the elements of the last argument.
    fn result(self, body: impl FnOnce(&mut Builder)) -> Vec<f64> {
        let args = self.run(body).unwrap();
        match args.last() {
            Some(Arg::Tensor(array)) => (0..array.data.len()).map(|n| array.data.get(n).as_f64()).collect(),
            other => panic!("{other:?}"),
        }
    }
}

fn load(b: &mut Builder, param: ParamId, dims: &[DimId]) -> Value {
    b.push(Op::Load(param, dims.iter().map(|d| Index::Dim(*d)).collect()), &[])
}

fn store(b: &mut Builder, param: ParamId, dims: &[DimId], x: Value) {
    let index = dims.iter().map(|d| Index::Dim(*d)).collect();
    b.try_push(Op::Store { param, index, mode: StoreMode::Set, masked: false }, &[x]).unwrap();
}

/// One row of `x` in, one row of the same length out, by an op along it.
fn row_op(dtype: DType, x: &[f64], op: impl FnOnce(DimId) -> Op) -> Vec<f64> {
    let mut t = Test::default();
    let n = t.extent("N", x.len() as i64);
    let d = t.dim(Some(n), 8, false);
    let (p, q) = (t.input(dtype, &[n], x), t.output(dtype, &[n]));
    t.func.grid.push(GridAxis::Walk(d));
    t.result(|b| {
        let x = load(b, p, &[d]);
        let y = b.push(op(d), &[x]);
        let y = if b.func.ty(y).dtype() == dtype { y } else { b.push(Op::Cast(dtype), &[y]) };
        store(b, q, &[d], y);
    })
}

#[test]
fn reductions_see_the_valid_lanes_of_a_ragged_block_only() {
    let x: Vec<f64> = (1..=11).map(f64::from).collect();
    let sums = row_op(DType::F32, &x, |d| Op::Reduce(ReduceOp::Sum, vec![d]));
    assert_eq!((sums[0], sums[7], sums[8], sums[10]), (36.0, 36.0, 30.0, 30.0));
    let least = row_op(DType::I32, &x, |d| Op::Reduce(ReduceOp::Min, vec![d]));
    assert_eq!((least[0], least[8]), (1.0, 9.0));
    let product = row_op(DType::I8, &x, |d| Op::Reduce(ReduceOp::Prod, vec![d]));
    assert_eq!((product[0], product[8]), (f64::from(40320i32 as i8), f64::from(990i32 as i8)));
}

#[test]
fn small_floats_are_summed_in_f32_and_rounded_once() {
    let mut x = vec![1.0; 8];
    x[0] = 2048.0; // f16 counts in twos from there: adding one at a time would stay at 2048
    assert_eq!(row_op(DType::F16, &x, |d| Op::Reduce(ReduceOp::Sum, vec![d]))[0], 2056.0);
    assert_eq!(
        row_op(DType::F16, &x, |d| Op::Scan(ScanOp::CumSum, d)),
        [2048., 2048., 2050., 2052., 2052., 2052., 2054., 2056.]
    );
}

#[test]
fn scans_sorting_and_extremes() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let x = [3.0, nan, -1.0, inf, 3.0];
    let shown = |v: Vec<f64>| format!("{v:?}");
    assert_eq!(shown(row_op(DType::F32, &x, |dim| Op::Sort { dim, descending: false })), "[-1.0, 3.0, 3.0, inf, NaN]");
    assert_eq!(shown(row_op(DType::F32, &x, |dim| Op::Sort { dim, descending: true })), "[inf, 3.0, 3.0, -1.0, NaN]");
    assert_eq!(row_op(DType::F32, &x, |d| Op::ArgReduce(ArgOp::ArgMax, d))[0], 1.0);
    assert_eq!(row_op(DType::F32, &[3.0, 5.0, 5.0, 1.0, 1.0], |d| Op::ArgReduce(ArgOp::ArgMax, d))[0], 1.0);
    assert_eq!(row_op(DType::F32, &[3.0, 5.0, 5.0, 1.0, 1.0], |d| Op::ArgReduce(ArgOp::ArgMin, d))[0], 3.0);
    assert_eq!(
        shown(row_op(DType::F32, &[1.0, 0.0, nan, 9.0], |d| Op::Scan(ScanOp::CumMax, d))),
        "[1.0, 1.0, NaN, NaN]"
    );
    assert_eq!(row_op(DType::U8, &[1.0, 255.0, 3.0], |dim| Op::Sort { dim, descending: true }), [255.0, 3.0, 1.0]);
    assert!(row_op(DType::F32, &x, |d| Op::Reduce(ReduceOp::Max, vec![d]))[0].is_nan());
}

#[test]
fn kth_largest_is_clamped_to_the_valid_lanes() {
    for (k, want) in [(-3, 9.0), (1, 9.0), (2, 4.0), (3, 4.0), (4, -2.0), (99, -2.0)] {
        let mut t = Test::default();
        let n = t.extent("N", 4);
        let d = t.dim(Some(n), 8, false);
        let (p, q) = (t.input(DType::F32, &[n], &[4.0, -2.0, 9.0, 4.0]), t.output(DType::F32, &[n]));
        t.func.grid.push(GridAxis::Walk(d));
        let got = t.result(|b| {
            let (x, k) = (load(b, p, &[d]), b.int(k));
            let y = b.push(Op::KthLargest(d), &[x, k]);
            store(b, q, &[d], y);
        });
        assert_eq!(got[0], want, "k = {k}");
    }
}

#[test]
fn reductions_over_nothing() {
    let mut t = Test::default();
    let (n, one) = (t.extent("N", 0), t.extent("1", 6));
    let (d, o) = (t.dim(Some(n), 4, true), t.dim(Some(one), 6, true));
    let (p, q) = (t.input(DType::F32, &[n], &[]), t.output(DType::F32, &[one]));
    let got = t.result(|b| {
        let x = load(b, p, &[d]);
        let lane = b.push(Op::Pos(o), &[]);
        let mut y = b.push(Op::Dot(vec![d]), &[x, x]);
        let k = b.int(1);
        let kth = b.push(Op::KthLargest(d), &[x, k]);
        let arg = b.push(Op::ArgReduce(ArgOp::ArgMax, d), &[x]);
        let arg = b.push(Op::Cast(DType::F32), &[arg]);
        let mut rows = vec![kth, arg];
        rows.extend([ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Max].map(|op| b.push(Op::Reduce(op, vec![d]), &[x])));
        for (n, row) in rows.into_iter().enumerate() {
            let n = b.int(n as i64 + 1);
            let here = b.push(Op::Binary(BinaryOp::Eq), &[lane, n]);
            y = b.push(Op::Select, &[here, row, y]);
        }
        store(b, q, &[o], y);
    });
    assert_eq!(got, [0.0, f64::NEG_INFINITY, 0.0, 0.0, 1.0, f64::NEG_INFINITY]);
    assert!(got[0].is_sign_positive() && got[3].is_sign_positive());
}

#[test]
fn dot_contracts_by_name_with_batches_and_ragged_ends() {
    let (m, n, k, batch) = (3, 5, 7, 2);
    let mut t = Test::default();
    let [em, en, ek, eb] = [("M", m), ("N", n), ("K", k), ("B", batch)].map(|(name, n)| t.extent(name, n as i64));
    // The ids are chosen so that no operand's dims are in the order of a matrix product.
    let [dn, dk, db, dm] = [en, ek, eb, em].map(|e| t.dim(Some(e), 8, true));
    let of = |count: usize, f: i64| (0..count as i64).map(|x| ((x * f) % 11 - 5) as f64).collect::<Vec<_>>();
    let (a, b_) = (of(batch * m * k, 7), of(batch * n * k, 3));
    let p = t.input(DType::F32, &[eb, em, ek], &a);
    let q = t.input(DType::F32, &[eb, en, ek], &b_);
    let out = t.output(DType::F32, &[eb, em, en]);
    let got = t.result(|b| {
        let (x, y) = (load(b, p, &[db, dm, dk]), load(b, q, &[db, dn, dk]));
        let z = b.push(Op::Dot(vec![dk]), &[x, y]);
        store(b, out, &[db, dm, dn], z);
    });
    for (i, got) in got.into_iter().enumerate() {
        let (s, r, c) = (i / (m * n), i / n % m, i % n);
        let want: f64 = (0..k).map(|l| a[(s * m + r) * k + l] * b_[(s * n + c) * k + l]).sum();
        assert_eq!(got, want, "{s} {r} {c}");
    }
}

#[test]
fn walks_through_an_order_skip_holes_and_scatter_back() {
    let mut t = Test::default();
    let n = t.extent("N", 5);
    let order = t.order(&[4, -1, 2, 0, -1, -1, 1, 3]);
    let d = t.dim(Some(n), 3, false);
    t.func.dims[0].order = Some(order);
    let (p, q) = (t.input(DType::I32, &[n], &[10., 11., 12., 13., 14.]), t.output(DType::I32, &[n]));
    t.func.grid.push(GridAxis::Walk(d));
    // Blocks of positions {0, 2}, {3}, {6, 7}: elements {4, 2}, {0}, {1, 3}.
    let got = t.result(|b| {
        let x = load(b, p, &[d]);
        let count = b.push(Op::BlockLen(d), &[]);
        let (pos, at) = (b.push(Op::Pos(d), &[]), b.push(Op::At(d), &[]));
        let mut sum = b.push(Op::Reduce(ReduceOp::Sum, vec![d]), &[x]);
        for part in [count, pos, at] {
            let part = b.push(Op::Cast(DType::I32), &[part]);
            let hundred = b.constant(DType::I32, Scalar::Int(100));
            sum = b.push(Op::Binary(BinaryOp::Mul), &[sum, hundred]);
            sum = b.push(Op::Binary(BinaryOp::Add), &[sum, part]);
        }
        store(b, q, &[d], sum);
    });
    assert_eq!(got, [10_010_300., 24_020_601., 26_020_202., 24_020_703., 26_020_004.]);
}

#[test]
fn gathers_and_masked_scatters() {
    let mut t = Test::default();
    let (n, m) = (t.extent("N", 4), t.extent("M", 6));
    let d = t.dim(Some(m), 6, true);
    let (p, q) = (t.input(DType::F32, &[n], &[1., 2., 3., 4.]), t.output(DType::F32, &[m]));
    let got = t.result(|b| {
        let pos = b.push(Op::Pos(d), &[]);
        let one = b.int(1);
        let at = b.push(Op::Binary(BinaryOp::Sub), &[pos, one]);
        let x = b.push(Op::Load(p, vec![Index::Value]), &[at]); // 0 1 2 3 4 0
        let three = b.int(3);
        let back = b.push(Op::Binary(BinaryOp::Sub), &[three, pos]); // 3 2 1 0 -1 -2
        let y = b.push(Op::Gather(d), &[x, pos]);
        let zero = b.constant(DType::F32, Scalar::Float(0.0));
        let some = b.push(Op::Binary(BinaryOp::Ne), &[x, zero]);
        let index = vec![Index::Value];
        b.try_push(Op::Store { param: q, index, mode: StoreMode::Set, masked: true }, &[back, y, some]).unwrap();
    });
    assert_eq!(got, [3.0, 2.0, 1.0, 0.0, 0.0, 0.0]);
}

#[test]
fn split_and_merge_count_first_slowest() {
    let mut t = Test::default();
    let n = t.extent("N", 12);
    t.func.extents[0].known = Some(12);
    let d = t.dim(Some(n), 12, true);
    let (a, b_) = (t.dim(None, 3, false), t.dim(None, 4, false));
    let merged = t.dim(None, 12, false);
    let x: Vec<f64> = (0..12).map(f64::from).collect();
    let (p, q) = (t.input(DType::I32, &[n], &x), t.output(DType::I32, &[n]));
    let got = t.result(|b| {
        let x = load(b, p, &[d]);
        let two = b.push(Op::Split { from: d, into: vec![a, b_] }, &[x]);
        let turned = b.push(Op::Merge { from: vec![b_, a], into: merged }, &[two]);
        let lane = b.push(Op::Pos(d), &[]);
        let y = b.push(Op::Gather(merged), &[turned, lane]);
        store(b, q, &[d], y);
    });
    assert_eq!(got, [0., 4., 8., 1., 5., 9., 2., 6., 10., 3., 7., 11.]);
}

/// Sums the numbers of the blocks that a loop visits, each shifted by its place among them.
fn visited(bounds: Option<(i64, i64)>, list: bool, guard: bool) -> Vec<i64> {
    let mut t = Test::default();
    let (n, blocks) = (t.extent("N", 19), t.extent("NK", 5));
    let j = t.dim(Some(n), 4, false);
    let kept = MaskArray { shape: vec![5], bits: vec![true, false, true, true, true] };
    let mask = t.param(ParamKind::Mask(vec![Axis { extent: blocks, by: None }]), Arg::Mask(kept), false);
    let out = t.output(DType::I64, &[blocks]);
    let args = t.run(|b| {
        let mut args: Vec<Value> = bounds.map(|(lo, hi)| vec![b.int(lo), b.int(hi)]).unwrap_or_default();
        args.push(b.int(0));
        let mut regions = Vec::new();
        if guard {
            b.open(&[]);
            let n = b.push(Op::BlockIndex(j), &[]);
            let three = b.int(3);
            let held = b.push(Op::Binary(BinaryOp::Ne), &[n, three]);
            regions.push(b.close(vec![held]));
        }
        let count = b.open(&[Type::Scalar(DType::I64)])[0];
        let n = b.push(Op::BlockIndex(j), &[]);
        let one = b.int(1);
        let seen = b.push(Op::Binary(BinaryOp::Add), &[n, one]);
        let store = Op::Store { param: out, index: vec![Index::Value], mode: StoreMode::Set, masked: false };
        b.try_push(store, &[count, seen]).unwrap();
        let next = b.push(Op::Binary(BinaryOp::Add), &[count, one]);
        regions.push(b.close(vec![next]));
        let it = Loop { over: Over::Walk(j), bounds: bounds.is_some(), list: list.then_some(mask), guard };
        b.push_for(it, &args, regions);
    });
    let Some(Arg::Tensor(Array { data: Data::Int(v), .. })) = args.unwrap().pop() else { panic!() };
    v.into_iter().filter(|n| *n > 0).map(|n| n - 1).collect()
}

#[test]
fn loops_visit_what_all_their_restrictions_admit() {
    assert_eq!(visited(None, false, false), [0, 1, 2, 3, 4]);
    assert_eq!(visited(Some((-7, 3)), false, false), [0, 1, 2]);
    assert_eq!(visited(Some((2, 99)), true, false), [2, 3, 4]);
    assert_eq!(visited(None, true, true), [0, 2, 4]);
    assert_eq!(visited(Some((1, 4)), true, true), [2]);
    assert_eq!(visited(Some((4, 2)), false, true), [0i64; 0]);
}

#[test]
fn a_dim_that_promises_full_blocks_is_held_to_it() {
    let walk = |end: i64| {
        let mut t = Test::default();
        let n = t.extent("N", 10);
        let d = t.dim(Some(n), 4, false);
        t.func.dims[d.index()].full = true;
        t.run(|b| {
            let (zero, end) = (b.int(0), b.int(end));
            b.open(&[]);
            let body = b.close(Vec::new());
            let it = Loop { over: Over::Walk(d), bounds: true, list: None, guard: false };
            b.push_for(it, &[zero, end], vec![body]);
        })
    };
    assert!(walk(2).is_ok());
    assert_eq!(walk(3).unwrap_err().message, "block 2 of `d0` has 2 lanes, not all 4");
}

#[test]
fn masks_are_written_by_rows_and_read_by_blocks() {
    let mut t = Test::default();
    let (r, c) = (t.extent("R", 2), t.extent("C", 3));
    let (dr, dc) = (t.dim(Some(r), 1, false), t.dim(Some(c), 3, true));
    let axes = [r, c].map(|extent| Axis { extent, by: None }).to_vec();
    let mask = t.param(ParamKind::Mask(axes), Arg::Mask(MaskArray::empty(&[2, 3])), true);
    t.func.grid.push(GridAxis::Walk(dr));
    let args = t.run(|b| {
        let (rows, columns) = (b.push(Op::Pos(dr), &[]), b.push(Op::Pos(dc), &[]));
        let kept = b.push(Op::Binary(BinaryOp::Ge), &[columns, rows]);
        let (row, two) = (b.push(Op::BlockIndex(dr), &[]), b.int(2));
        b.try_push(Op::MaskPut(mask, vec![Index::Dim(dr), Index::Dim(dc)]), &[kept]).unwrap();
        let last = b.push(Op::MaskGet(mask), &[row, two]);
        let (yes, no) = (
            {
                b.open(&[]);
                b.close(Vec::new())
            },
            {
                b.open(&[]);
                let off = b.push(Op::Binary(BinaryOp::Lt), &[columns, two]);
                b.try_push(Op::MaskPut(mask, vec![Index::Dim(dr), Index::Dim(dc)]), &[off]).unwrap();
                b.close(Vec::new())
            },
        );
        let last = b.push(Op::Unary(UnaryOp::Not), &[last]);
        b.push_if(last, yes, no);
    });
    let Some(Arg::Mask(mask)) = args.unwrap().pop() else { panic!() };
    assert_eq!(mask.bits, [true, true, false, true, true, false]);
}

/// A kernel over four instances that stores its number at `index(number)`.
fn stores_at(
    options: Options,
    mode: StoreMode,
    index: impl FnOnce(&mut Builder, Value) -> Value,
) -> Result<Vec<Arg>, Fault> {
    let mut t = Test { options, ..Test::default() };
    let n = t.extent("N", 4);
    let me = t.func.new_value(Type::Scalar(DType::I64));
    t.func.grid.push(GridAxis::Each(Axis { extent: n, by: None }, me));
    let out = t.output(DType::I64, &[n]);
    t.run(|b| {
        b.span = Span { start: 3, end: 9, ..Span::default() };
        let at = index(b, me);
        b.try_push(Op::Store { param: out, index: vec![Index::Value], mode, masked: false }, &[at, me]).unwrap();
    })
}

#[test]
fn faults_name_the_instance_and_the_source() {
    let divided = stores_at(Options::default(), StoreMode::Set, |b, me| {
        let two = b.int(2);
        let zero = b.push(Op::Binary(BinaryOp::Sub), &[me, two]);
        b.push(Op::Binary(BinaryOp::Div), &[two, zero])
    });
    // Instances 0 and 1 divide by -2 and -1: the first fault is an index.
    let fault = divided.unwrap_err();
    assert_eq!(fault.to_string(), "index -1 of `p0` is outside 0..4 (along `N`) (in instance [0])");
    assert_eq!((fault.span.start, fault.instance), (3, vec![0]));
    let by_zero = stores_at(Options::default(), StoreMode::Set, |b, me| b.push(Op::Binary(BinaryOp::Rem), &[me, me]));
    assert_eq!(by_zero.unwrap_err().message, "an integer is divided by zero");
    let asserted = |checks| {
        stores_at(Options { checks, races: true }, StoreMode::Set, |b, me| {
            let three = b.int(3);
            let below = b.push(Op::Binary(BinaryOp::Lt), &[me, three]);
            b.try_push(Op::Assert("small".into()), &[below]).unwrap();
            me
        })
    };
    assert_eq!(asserted(true).unwrap_err().to_string(), "assertion failed: small (in instance [3])");
    assert!(asserted(false).is_ok());
}

#[test]
fn races_are_found_and_atomics_are_none() {
    let half = |b: &mut Builder, me| {
        let two = b.int(2);
        b.push(Op::Binary(BinaryOp::Div), &[me, two])
    };
    let races = Options { checks: false, races: true };
    let fault = stores_at(races, StoreMode::Add, half).unwrap_err();
    assert_eq!(fault.message, "instances [0] and [1] both store element [0] of `p0`");
    assert!(stores_at(Options::default(), StoreMode::Set, half).is_ok());
    let Some(Arg::Tensor(sums)) = stores_at(races, StoreMode::AtomicAdd, half).unwrap().pop() else { panic!() };
    assert_eq!(sums.data, Data::Int(vec![1, 5, 0, 0]));
}

#[test]
fn arguments_that_do_not_fit_are_refused() {
    type Spoil = fn(&mut Test);
    let cases: [(Spoil, &str); 6] = [
        (|t| t.args[0] = Arg::Scalar(Scalar::Int(1)), "`p0` is given an argument of another kind"),
        (|t| t.args[0] = Arg::Tensor(Array::zeros(DType::F16, &[3])), "`p0` is f32, but the argument is f16"),
        (|t| t.args[0] = Arg::Tensor(Array::zeros(DType::F32, &[2])), "`p0` has shape [3], but the argument [2]"),
        (|t| t.extents[0] = -1, "extent `N` is -1, which is not what `` was compiled for"),
        (|t| t.orders[0].push(0), "the table of `o` has 4 positions, not 3"),
        (|t| t.orders[0][1] = 3, "order `o` has element 3, but `d0` has only 3"),
    ];
    for (spoil, message) in cases {
        let mut t = Test::default();
        let n = t.extent("N", 3);
        let order = t.order(&[2, 1, 0]);
        t.dim(Some(n), 2, false);
        t.func.dims[0].order = Some(order);
        t.input(DType::F32, &[n], &[0.0; 3]);
        spoil(&mut t);
        assert_eq!(t.run(|_| ()).unwrap_err().message, message);
    }
}

#[test]
fn orders_are_filled_by_their_kernel() {
    let mut t = Test::default();
    let n = t.extent("LEN", 5);
    let me = t.func.new_value(Type::Scalar(DType::I64));
    t.func.grid.push(GridAxis::Each(Axis { extent: n, by: None }, me));
    let table = t.output(DType::I32, &[n]);
    let mut b = Builder::new(t.func);
    let three = b.int(3);
    let x = b.push(Op::Binary(BinaryOp::Sub), &[three, me]);
    let x = b.push(Op::Cast(DType::I32), &[x]);
    b.try_push(Op::Store { param: table, index: vec![Index::Value], mode: StoreMode::Set, masked: false }, &[me, x])
        .unwrap();
    let mut order = Order { name: "back".into(), len: 5, holes: true, fill: OrderBody::Kernel(Box::new(b.finish())) };
    assert_eq!(order_table(&order).unwrap(), [3, 2, 1, 0, -1]);
    order.holes = false;
    assert_eq!(order_table(&order).unwrap_err().message, "order `back` gives -1 at position 4");
}

#[test]
fn bytes_come_back() {
    for dtype in DType::ALL {
        let bytes: Vec<u8> = (0..2 * dtype.bytes()).map(|n| (n % 2) as u8).collect();
        let array = Array::from_bytes(*dtype, &[2], &bytes).unwrap();
        assert_eq!(array.to_bytes(), bytes, "{dtype}");
        assert!(Array::from_bytes(*dtype, &[3], &bytes).is_none());
        assert!(Array::from_bytes(*dtype, &[usize::MAX, 2], &bytes).is_none());
    }
}

#[test]
fn print_shows_dims_by_name() {
    let mut t = Test::default();
    let d = t.dim(None, 3, false);
    let mut b = Builder::new(t.func);
    let lanes = b.push(Op::Pos(d), &[]);
    b.try_push(Op::Print("lanes".into()), &[lanes]).unwrap();
    let func = b.finish();
    let said = std::cell::RefCell::new(Vec::new());
    let print = |line: &str| said.borrow_mut().push(line.to_owned());
    let hooks = Hooks { print: Some(&print), progress: None, ..Hooks::default() };
    run_with(&func, &[], &[], &mut [], Options { checks: true, races: false }, hooks).unwrap();
    run_with(&func, &[], &[], &mut [], Options::default(), hooks).unwrap();
    assert_eq!(*said.borrow(), ["lanes = i64{d0: 3} [0, 1, 2]"]);
}
