//! Ops along dims, splits, merges, gathers and masks as a GPU's threads do them, against the interpreter: dims of one
//! register, of lanes and of warps, sizes that are no powers of two, ragged blocks, infinities and NaNs. What they cost is
//! not tested.

use pantile_gpu::{Options, Target};
use pantile_interp::{self as interp, Arg, Array, Data, MaskArray, order_table};
use pantile_ir::{DType, Func, Kind, ParamKind, Scalar, eval, parse, verify};
use pantile_tests::execute::{Layout, Outcome, difference, interpret};
use pantile_tests::gpu::{on_gpu, printed, reported};

/// Numbers that look random and are the same on every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    /// Few values, so that many are equal; specials among them.
    fn scalar(&mut self, dtype: DType, wild: bool) -> Scalar {
        let small = self.next(41) as f64 / 4.0 - 5.0;
        let x = match self.next(12) {
            0 if wild => f64::NAN,
            1 if wild => f64::INFINITY,
            2 if wild => f64::NEG_INFINITY,
            3 => -0.0,
            _ => small,
        };
        match dtype.kind() {
            Kind::Bool => Scalar::Bool(self.next(3) == 0),
            Kind::Float => eval::cast(DType::F64, dtype, Scalar::Float(x)),
            Kind::Signed | Kind::Unsigned => {
                Scalar::Int(eval::wrap(dtype, self.next(1 << 20) as i64 * 0x1234_5671 - 0x1_0000_0000))
            }
        }
    }
}

fn arguments(func: &Func, extents: &[i64], wild: bool, k: i64) -> Vec<Arg> {
    let mut noise = Noise(extents.iter().sum::<i64>() as u64 + u64::from(wild));
    let shape = |axes: &[pantile_ir::Axis]| -> Vec<usize> {
        axes.iter().map(|a| func.axis_size(*a, extents) as usize).collect()
    };
    let mut arg = |kind: &ParamKind, out: bool| match kind {
        ParamKind::Scalar(..) => Arg::Scalar(Scalar::Int(k)),
        ParamKind::Tensor(dtype, axes) => {
            let mut array = Array::zeros(*dtype, &shape(axes));
            let count = array.data.len();
            if !out {
                array.data = Data::from_scalars(*dtype, (0..count).map(|_| noise.scalar(*dtype, wild)));
            }
            Arg::Tensor(array)
        }
        ParamKind::Mask(axes) => {
            let shape = shape(axes);
            let bits = (0..shape.iter().product()).map(|_| !out && noise.next(2) == 0).collect();
            Arg::Mask(MaskArray { shape, bits })
        }
    };
    func.params.iter().map(|p| arg(&p.kind, p.out)).collect()
}

/// Runs a kernel at these sizes of the extent `N` on plain and on wild numbers, for two interleavings.
fn holds(text: &str, sizes: &[i64], k: i64) {
    let func = parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    verify(&func).unwrap_or_else(|e| panic!("{}\n{text}", e.join("\n")));
    let orders: Vec<Vec<i32>> = func.orders.iter().map(|o| order_table(o).expect("a table")).collect();
    for n in sizes {
        let extents: Vec<i64> = func.extents.iter().map(|e| e.known.unwrap_or(*n)).collect();
        for wild in [false, true] {
            let args = arguments(&func, &extents, wild, k);
            let Outcome::Done(want) = interpret(&func, &extents, &orders, &args) else { panic!("faults:\n{text}") };
            for (seed, layout) in [(1, Layout::Dense), (2, Layout::Reversed)] {
                let outcome = on_gpu(&func, (&extents, &orders, &args), layout, Target::SM_80, seed);
                let why = match outcome {
                    Ok(Outcome::Done(got)) => difference(&func, &want, &got, &vec![2e-6; func.params.len()]),
                    Ok(Outcome::Fault(why)) | Err(why) => Some(why),
                };
                assert_eq!(why, None, "N = {n}, wild {wild}, k = {k}, {layout:?}, seed {seed}\n{text}");
            }
        }
    }
}

/// Blocks of rows over N, and two more dims: bits of each fall to registers, lanes and warps.
const SHAPES: [[i64; 3]; 5] = [[4, 8, 16], [2, 5, 3], [1, 1, 600], [64, 40, 1], [16, 1, 128]];

/// Four warps.
const LARGE: [i64; 3] = [1, 2, 4096];

/// A kernel of `x` over {i, j, k} whose result has the given dims.
fn kernel([p, q, r]: [i64; 3], dtype: DType, into: DType, dims: &str, body: &str) -> String {
    let axes = dims.replace('i', "N").replace('j', "J").replace('k', "K");
    format!(
        "kernel @rows(%x: tensor<{dtype}>[N, J, K], %at: tensor<i64>[N, J, K], %k: i64 = %9) -> (%y: tensor<{into}>[{axes}])
  extent N
  extent J = {q}
  extent K = {r}
  dim i: N by {p}
  dim j: J by {q} whole
  dim k: K by {r} whole
  grid (i in N by {p})
{{
  %0: tile<{dtype}>{{i, j, k}} = load %x[i, j, k]
{body}
  store %y[{dims}] = %1
}}"
    )
}

/// A ragged block, and a full one.
fn sizes(p: i64) -> Vec<i64> {
    let mut sizes = vec![p, (p - 1).max(1), 2 * p - 1];
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

const DTYPES: [DType; 6] = [DType::F32, DType::BF16, DType::I8, DType::U32, DType::I64, DType::F64];

/// Each op that keeps or drops one dim, along each of the three.
fn along_each_dim(result: impl Fn(DType) -> DType, drops: bool, op: &str, k: i64) {
    let one = |shape: [i64; 3], dtype: DType, dim: &str, rest: &str| {
        let into = result(dtype);
        let dims = if drops { rest } else { "i, j, k" };
        let operands = if op == "kth_largest" { "%0, %9" } else { "%0" };
        let body = format!("  %1: tile<{into}>{{{dims}}} = {op} over {dim} {operands}");
        holds(&kernel(shape, dtype, into, dims, &body), &sizes(shape[0]), k);
    };
    one(LARGE, DType::F32, "k", "i, j");
    for (n, shape) in SHAPES.into_iter().enumerate() {
        for (m, (dim, rest)) in [("j", "i, k"), ("k", "i, j"), ("i", "j, k")].into_iter().enumerate() {
            // Blocks over N meet in one element of what lacks i.
            if drops && dim == "i" {
                continue;
            }
            let dtype = DTYPES[(n + 2 * m) % DTYPES.len()];
            one(shape, dtype, dim, rest);
            one(shape, DType::F32, dim, rest);
        }
    }
}

#[test]
fn extremes_are_where_they_first_stand() {
    along_each_dim(|_| DType::I64, true, "argmax", 0);
    along_each_dim(|_| DType::I64, true, "argmin", 0);
}

#[test]
fn the_kth_largest_of_any_k() {
    for k in [1, 3, -4, 1 << 40] {
        along_each_dim(|dtype| dtype, true, "kth_largest", k);
    }
}

#[test]
fn running_sums_and_maxima() {
    along_each_dim(|dtype| dtype, false, "cumsum", 0);
    along_each_dim(|dtype| dtype, false, "cummax", 0);
}

#[test]
fn sorts_both_ways() {
    along_each_dim(|dtype| dtype, false, "sort", 0);
    along_each_dim(|dtype| dtype, false, "sort descending", 0);
}

#[test]
fn gathers_of_lanes_that_are_there_and_others() {
    for shape in SHAPES {
        for dim in ["i", "j", "k"] {
            for dtype in [DType::F32, DType::I64, DType::U8] {
                // Numbers around the lanes: some below 0, some beyond the end.
                let body = format!(
                    "  %2: tile<i64>{{i, j, k}} = load %at[i, j, k]
  %3: i64 = const 37
  %4: tile<i64>{{i, j, k}} = rem %2, %3
  %5: i64 = const 3
  %6: tile<i64>{{i, j, k}} = sub %4, %5
  %1: tile<{dtype}>{{i, j, k}} = gather over {dim} %0, %6"
                );
                holds(&kernel(shape, dtype, dtype, "i, j, k", &body), &sizes(shape[0]), 0);
            }
        }
    }
}

/// A table over {i, j} is read by k: the result lacks j.
#[test]
fn gathers_by_a_tile_of_fewer_dims() {
    for shape in SHAPES {
        let body = "  %2: tile<f32>{i, j} = reduce max over {k} %0
  %3: tile<i64>{k} = pos k
  %1: tile<f32>{i, k} = gather over j %2, %3";
        holds(&kernel(shape, DType::F32, DType::F32, "i, k", body), &sizes(shape[0]), 0);
    }
}

#[test]
fn splits_and_merges() {
    // Dims of the split j; with k they are merged otherwise.
    for (p, j, [a, b], k) in
        [(4, 16, [4, 4], 2), (2, 12, [3, 4], 5), (3, 6, [2, 3], 7), (1, 128, [2, 64], 8), (64, 4, [4, 1], 1)]
    {
        for dtype in [DType::F32, DType::I64, DType::BF16] {
            let (m, n) = (b * k, a);
            let text = format!(
                "kernel @reshapes(%x: tensor<{dtype}>[N, J, K]) -> (%y: tensor<{dtype}>[N, A, M], %z: tensor<{dtype}>[N, A, B, K])
  extent N
  extent J = {j}
  extent K = {k}
  extent A = {a}
  extent B = {b}
  extent M = {m}
  dim i: N by {p}
  dim j: J by {j} whole
  dim k: K by {k} whole
  dim a: A by {n} whole
  dim b: B by {b} whole
  dim m: M by {m} whole
  grid (i in N by {p})
{{
  %0: tile<{dtype}>{{i, j, k}} = load %x[i, j, k]
  %1: tile<{dtype}>{{i, k, a, b}} = split j into {{a, b}} %0
  %2: tile<{dtype}>{{i, a, m}} = merge {{k, b}} into m %1
  store %y[i, a, m] = %2
  store %z[i, a, b, k] = %1
}}"
            );
            holds(&text, &sizes(p), 0);
        }
    }
}

#[test]
fn masks_are_written_with_their_lists() {
    for (p, q) in [(4, 8), (3, 5), (1, 70), (32, 40), (64, 4)] {
        let text = format!(
            "kernel @masks(%x: tensor<f32>[N, J], %in: mask[N, J]) -> (%m: mask[N, J], %two: mask[B, N, J], %y: tensor<bool>[N])
  extent N
  extent J = {q}
  extent B = 2
  dim i: N by {p}
  dim j: J by {q} whole
  grid (i in N by {p})
{{
  %0: tile<f32>{{i, j}} = load %x[i, j]
  %1: f32 = const 0.5
  %2: tile<bool>{{i, j}} = gt %0, %1
  mask_put %m[i, j] = %2
  %3: i64 = const 1
  %4: tile<bool>{{j}} = reduce any over {{i}} %2
  mask_put %two[%3, i, j] = %4
  %5: i64 = block_index i
  %6: i64 = const 0
  %7: bool = mask_get %in[%5, %6]
  store %y[%5] = %7
}}"
        );
        holds(&text, &sizes(p), 0);
    }
}

/// Rows and columns in the order of a table with places that it leaves out.
#[test]
fn masks_along_orders() {
    let text = "kernel @walks(%x: tensor<f32>[M, J]) -> (%m: mask[M, J])
  order walk \"walk\" len 7 holes table [3, -1, -1, 5, 1, 2, -1]
  order back \"back\" len 5 holes table [4, -1, 2, 0, -1]
  extent M = 6 via walk
  extent J = 5 via back
  dim i: M by 2 via walk
  dim j: J by 5 whole via back
  grid (i in M by 2)
{
  %0: tile<f32>{i, j} = load %x[i, j]
  %1: f32 = const -0.5
  %2: tile<bool>{i, j} = gt %0, %1
  mask_put %m[i, j] = %2
}";
    holds(text, &[0], 0);
}

/// What is asserted of padding does not count.
#[test]
fn assertions_see_valid_lanes() {
    let text = "kernel @asserts(%x: tensor<i64>[N]) -> (%y: tensor<i64>[N])
  extent N
  dim i: N by 6
  grid (i in N by 6)
{
  %0: tile<i64>{i} = pos i
  %1: i64 = extent N
  %2: tile<bool>{i} = lt %0, %1
  assert \"below the end\" %2
  print \"positions\" %0
  store %y[i] = %0
}";
    holds(text, &[5, 6, 11], 0);
    let text = text.replace("lt %0, %1", "ne %0, %3").replace("%1: i64 = extent N", "%3: i64 = const 7");
    let func = parse(&text).expect("IR");
    for (n, fails) in [(7, false), (8, true)] {
        let args = arguments(&func, &[n], false, 0);
        let options = Options { checks: true, ..Options::new(Target::SM_80) };
        let (outcome, report) = reported(&func, (&[n], &[], &args), Layout::Dense, &options, 1).expect("runs");
        let want = if fails { Some("assertion failed: below the end") } else { None };
        let got = match &outcome {
            Outcome::Fault(why) => Some(why.as_str()),
            Outcome::Done(_) => None,
        };
        // Lane 7 is in the block of that number.
        let block = 7 / func.dims[0].size as u32;
        assert_eq!((got, report.fault.map(|fault| fault.1)), (want, want.map(|_| block)));
    }
}

/// What a kernel has listed itself is no constant to it.
#[test]
fn lists_of_a_mask_that_the_kernel_writes() {
    let text = "kernel @lists(%x: tensor<f32>[N, J]) -> (%m: mask[N, J], %y: tensor<f32>[N])
  extent N
  extent J = 70
  dim i: N by 1
  dim j: J by 70 whole
  dim k: J by 1
  grid (i in N by 1)
{
  %0: tile<f32>{i, j} = load %x[i, j]
  %1: f32 = const 0.5
  %2: tile<bool>{i, j} = gt %0, %1
  mask_put %m[i, j] = %2
  %3: i64 = block_index i
  %4: f32 = const 0.0
  %5: f32 = for k in J by 1 list %m[%3] carry (%6: f32 = %4) {
    %7: tile<f32>{i, k} = load %x[i, k]
    %8: f32 = reduce sum over {i, k} %7
    %9: f32 = add %6, %8
    yield %9
  }
  store %y[%3] = %5
}";
    holds(text, &[1, 3], 0);
}

/// What the interpreter prints.
fn interpreted(func: &Func, launch: (&[i64], &[Vec<i32>], &[Arg])) -> Vec<String> {
    let said = std::cell::RefCell::new(Vec::new());
    let print = |line: &str| said.borrow_mut().push(line.to_owned());
    let hooks = interp::Hooks { print: Some(&print), ..interp::Hooks::default() };
    let options = interp::Options { checks: true, races: false };
    let mut args = launch.2.to_vec();
    interp::run_with(func, launch.0, launch.1, &mut args, options, hooks).expect("runs");
    said.into_inner()
}

/// Tiles of two dims, ragged and whole, scalars in a loop, every kind of element, a small and a long one.
#[test]
fn prints_read_as_the_interpreters() {
    let text = "kernel @says(%x: tensor<f32>[N, J], %h: tensor<bf16>[N]) -> (%y: tensor<i64>[N])
  extent N
  extent J = 5
  dim i: N by 6
  dim j: J by 5 whole
  grid (i in N by 6)
{
  %0: tile<i64>{i} = pos i
  print \"positions\" %0
  %1: tile<f32>{i, j} = load %x[i, j]
  print \"both\" %1
  %2: tile<bf16>{i} = load %h[i]
  print \"half\" %2
  %3: i64 = const 2
  %4: tile<bool>{i} = lt %0, %3
  print \"small\" %4
  print \"two\" %3
  store %y[i] = %0
}";
    let func = parse(text).unwrap_or_else(|e| panic!("{e}"));
    for n in [5, 6, 11, 40] {
        let extents = [n, 5];
        let args = arguments(&func, &extents, false, 0);
        let launch = (&extents[..], &[][..], &args[..]);
        let want = interpreted(&func, launch);
        assert_eq!(want.len() as i64, 5 * (n + 5).div_euclid(6));
        for seed in 0..4 {
            let options = Options { checks: true, ..Options::new(Target::SM_90A) };
            assert_eq!(printed(&func, launch, &options, seed).expect("runs"), want, "N = {n}, seed {seed}");
            let quiet = Options { checks: false, ..options };
            assert!(printed(&func, launch, &quiet, seed).expect("runs").is_empty());
        }
    }
}

#[test]
fn more_prints_than_the_buffer_holds_are_told() {
    let text = "kernel @says() -> (%y: tensor<i64>[N])
  extent N
  dim i: N by 1024
  grid (i in N by 1024)
{
  %0: tile<i64>{i} = pos i
  print \"positions\" %0
  store %y[i] = %0
}";
    let func = parse(text).unwrap_or_else(|e| panic!("{e}"));
    let extents = [1024 * 140];
    let args = arguments(&func, &extents, false, 0);
    let launch = (&extents[..], &[][..], &args[..]);
    let options = Options { checks: true, ..Options::new(Target::SM_80) };
    let (said, want) = (printed(&func, launch, &options, 1).expect("runs"), interpreted(&func, launch));
    assert_eq!(said.last().map(String::as_str), Some("(more was printed than 1024 KiB hold)"));
    assert_eq!(said.len() - 1, 127);
    assert!(said[..127].iter().all(|line| want.contains(line)));
}
