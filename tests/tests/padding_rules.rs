//! One kernel for each rule about padding that generated programs seldom come near, on data with infinities and NaNs, at
//! lengths around a block: what `pad` makes of it, run on padded tiles, gives what the kernel means.

use pantile_compiler::passes::Lanes;
use pantile_interp::{Arg, Array, Data, order_table};
use pantile_ir::{DType, Func, ParamKind, Scalar, eval, parse, print, verify};
use pantile_tests::execute::{Outcome, difference, interpret};
use pantile_tests::padded::{self, LANES};

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

/// What tensors and scalars hold, over and over.
const MOODS: [&[f64]; 6] = [
    &[1.0, -2.0, 0.5, 3.0, -1.0],
    &[-INF],
    &[NAN, -INF, 2.0, INF, -1.0, 0.0, 7.0],
    &[-INF, -3.0, -4.0],
    &[INF, 1.0],
    &[0.0, -0.0],
];

fn arguments(func: &Func, extents: &[i64], mood: &[f64], scalar: f64) -> Vec<Arg> {
    let of = |dtype: DType, x: f64| eval::cast(DType::F64, dtype, Scalar::Float(x));
    let arg = |kind: &ParamKind, out: bool| match kind {
        ParamKind::Scalar(dtype, _) => Arg::Scalar(of(*dtype, scalar)),
        ParamKind::Tensor(dtype, axes) => {
            let shape: Vec<usize> = axes.iter().map(|a| func.axis_size(*a, extents) as usize).collect();
            let mut array = Array::zeros(*dtype, &shape);
            let count = array.data.len();
            if !out {
                array.data = Data::from_scalars(*dtype, (0..count).map(|n| of(*dtype, mood[n % mood.len()])));
            }
            Arg::Tensor(array)
        }
        ParamKind::Mask(_) => panic!("no kernel here has a mask"),
    };
    func.params.iter().map(|p| arg(&p.kind, p.out)).collect()
}

/// Runs a kernel at each length of the extent `N`, in each mood, on both kinds of tiles.
fn holds(text: &str, lengths: &[i64]) {
    let func = parse(text).unwrap_or_else(|e| panic!("{e}"));
    verify(&func).unwrap_or_else(|e| panic!("{}", e.join("\n")));
    let orders: Vec<Vec<i32>> = func.orders.iter().map(|o| order_table(o).expect("a table")).collect();
    for lanes in LANES {
        let after = padded::pad(&func, lanes).expect("padded");
        for n in lengths {
            let extents: Vec<i64> = func.extents.iter().map(|e| e.known.unwrap_or(*n)).collect();
            for (mood, scalar) in MOODS.iter().flat_map(|m| [1.5, -INF, INF, NAN].map(|s| (*m, s))) {
                let args = arguments(&func, &extents, mood, scalar);
                let why = wrong(&func, &after, lanes, (&extents, &orders, &args));
                assert_eq!(why, None, "{lanes:?}, N = {n}, {mood:?}, {scalar}:\n{}", print(&after));
            }
        }
    }
}

fn wrong(func: &Func, after: &Func, lanes: Lanes, launch: (&[i64], &[Vec<i32>], &[Arg])) -> Option<String> {
    let Outcome::Done(want) = interpret(func, launch.0, launch.1, launch.2) else { return Some("faults".into()) };
    let (outcome, selects) = padded::interpret(after, lanes, 3, launch);
    let got = match outcome {
        Outcome::Done(got) => got,
        Outcome::Fault(why) => return Some(why),
    };
    let full = (selects.in_full_blocks > 0).then(|| format!("{} selects in full blocks", selects.in_full_blocks));
    full.or_else(|| difference(func, &want, &got, &vec![1e-6; func.params.len()]))
}

#[test]
fn what_is_gathered_from_beyond_the_block_is_0() {
    holds(
        "kernel @gathers(%x: tensor<f32>[N]) -> (%y: tensor<f32>[N by 4, A])
  extent N
  extent A = 6
  dim i: N by 4
  dim a: A by 6 whole
  grid (i in N by 4)
{
  %0: tile<f32>{i} = load %x[i]
  %1: f32 = const 1.0
  %2: tile<f32>{i} = add %0, %1
  %3: tile<i64>{a} = pos a
  %4: tile<f32>{a} = gather over i %2, %3
  %5: i64 = block_index i
  store %y[%5, a] = %4
}",
        &[3, 4, 5],
    );
}

/// The maximum asks for -inf in padding, and `s` is no maximum of `x`.
#[test]
fn a_difference_from_anything_is_not_its_own_infinity() {
    holds(
        "kernel @shifted(%x: tensor<f32>[N], %s: f32 = %9) -> (%top: tensor<f32>[N by 4], %sum: tensor<f32>[N by 4])
  extent N
  dim i: N by 4
  grid (i in N by 4)
{
  %0: tile<f32>{i} = load %x[i]
  %1: f32 = reduce max over {i} %0
  %2: tile<f32>{i} = sub %0, %9
  %3: tile<f32>{i} = exp2 %2
  %4: f32 = reduce sum over {i} %3
  %5: i64 = block_index i
  store %top[%5] = %1
  store %sum[%5] = %4
}",
        &[3, 4, 5],
    );
}

#[test]
fn a_softmax_is_exact_in_rows_of_infinities_and_nans() {
    holds(
        "kernel @softmax(%x: tensor<f32>[N], %s: f32 = %9) -> (%top: tensor<f32>[N by 4], %sum: tensor<f32>[N by 4])
  extent N
  dim i: N by 4
  grid (i in N by 4)
{
  %0: tile<f32>{i} = load %x[i]
  %1: f32 = reduce max over {i} %0
  %6: f32 = max %9, %1
  %2: tile<f32>{i} = sub %0, %6
  %3: tile<f32>{i} = exp2 %2
  %4: f32 = reduce sum over {i} %3
  %5: i64 = block_index i
  store %top[%5] = %6
  store %sum[%5] = %4
}",
        &[1, 3, 4, 5],
    );
}

/// Rows with nothing to see are kept from NaNs by a shift of 0.
#[test]
fn a_guarded_softmax_needs_one_select() {
    let text = "kernel @guarded(%x: tensor<f32>[N], %s: f32 = %9) -> (%sum: tensor<f32>[N by 4])
  extent N
  dim i: N by 4
  grid (i in N by 4)
{
  %0: tile<f32>{i} = load %x[i]
  %1: f32 = reduce max over {i} %0
  %6: f32 = max %9, %1
  %7: f32 = const -inf
  %8: f32 = const 0.0
  %10: bool = eq %6, %7
  %11: f32 = select %10, %8, %6
  %2: tile<f32>{i} = sub %0, %11
  %3: tile<f32>{i} = exp2 %2
  %4: f32 = reduce sum over {i} %3
  %5: i64 = block_index i
  store %sum[%5] = %4
}";
    holds(text, &[1, 3, 4, 5]);
    let after = padded::pad(&parse(text).expect("IR"), Lanes::Sized).expect("padded");
    assert_eq!(print(&after).matches("valid i").count(), 1, "{}", print(&after));
    assert_eq!(print(&after).matches("tile<f32>{i} = select").count(), 1, "{}", print(&after));
}

/// In a block without a valid lane a maximum is -inf and a sum 0, whatever stands in padding.
#[test]
fn blocks_may_be_empty() {
    holds(
        "kernel @holes(%x: tensor<f32>[M], %s: f32 = %9) -> (%y: tensor<f32>[B])
  order walk \"walk\" len 7 holes table [0, -1, -1, -1, 1, 2, -1]
  extent M = 3 via walk
  extent B = 1
  dim j: M by 2 via walk
  grid (%0: i64 in B)
{
  %2: f32 = const 0.0
  %3: f32, %4: f32 = for j in M by 2 carry (%5: f32 = %9, %6: f32 = %2) {
    %7: tile<f32>{j} = load %x[j]
    %8: f32 = reduce max over {j} %7
    %10: f32 = max %5, %8
    %11: tile<f32>{j} = sub %7, %10
    %12: tile<f32>{j} = exp2 %11
    %13: f32 = reduce sum over {j} %12
    %14: f32 = add %6, %13
    yield %10, %14
  }
  store %y[%0] = %4
}",
        &[0],
    );
}

#[test]
fn sorts_and_kth_largest_put_padding_behind_nans() {
    holds(
        "kernel @sorts(%x: tensor<f32>[N], %n: tensor<u8>[N], %k: i64 = %9) -> (%a: tensor<f32>[N], %b: tensor<f32>[N], %c: tensor<u8>[N], %d: tensor<f32>[N by 4], %e: tensor<i64>[N by 4], %f: tensor<i64>[N by 4])
  extent N
  dim i: N by 4
  grid (i in N by 4)
{
  %0: tile<f32>{i} = load %x[i]
  %1: tile<u8>{i} = load %n[i]
  %2: tile<f32>{i} = sort over i %0
  %3: tile<f32>{i} = sort descending over i %0
  %4: tile<u8>{i} = sort over i %1
  store %a[i] = %2
  store %b[i] = %3
  store %c[i] = %4
  %5: i64 = const 2
  %6: f32 = kth_largest over i %0, %5
  %7: i64 = block_index i
  store %d[%7] = %6
  %8: i64 = argmax over i %0
  store %e[%7] = %8
  %10: i64 = argmin over i %1
  store %f[%7] = %10
}",
        &[1, 3, 4, 6],
    );
}

/// A dim of twelve has sixteen lanes on some targets, the parts of it four and four.
#[test]
fn splits_and_merges_move_valid_lanes() {
    holds(
        "kernel @splits(%x: tensor<f32>[N, D]) -> (%y: tensor<f32>[N by 4, A], %z: tensor<f32>[N, D])
  extent N
  extent D = 12
  extent A = 3
  dim i: N by 4
  dim D: D by 12 whole
  dim a: A by 3 whole
  dim b: 4
  grid (i in N by 4)
{
  %0: tile<f32>{i, D} = load %x[i, D]
  %1: tile<f32>{i, D} = exp2 %0
  %2: tile<f32>{i, a, b} = split D into {a, b} %1
  %3: tile<f32>{i, a} = reduce prod over {b} %2
  %4: tile<f32>{a} = reduce prod over {i} %3
  %5: i64 = block_index i
  store %y[%5, a] = %4
  %6: tile<f32>{i, a, b} = add %2, %3
  %7: tile<f32>{i, D} = merge {a, b} into D %6
  %8: tile<f32>{i} = reduce max over {D} %7
  %9: tile<f32>{i, D} = sub %7, %8
  store %z[i, D] = %9
}",
        &[3, 4, 5],
    );
}

/// 0 times an infinity is a NaN: both sides of a product must be known.
#[test]
fn products_of_padding_vanish() {
    holds(
        "kernel @products(%x: tensor<f32>[N], %s: f32 = %9) -> (%y: tensor<f32>[N by 4])
  extent N
  dim i: N by 4
  grid (i in N by 4)
{
  %0: tile<f32>{i} = load %x[i]
  %1: f32 = const 0.0
  %2: tile<f32>{i} = max %0, %1
  %3: tile<f32>{i} = rsqrt %2
  %4: f32 = dot over {i} %0, %3
  %5: tile<f32>{i} = mul %0, %9
  %6: f32 = reduce sum over {i} %5
  %7: f32 = add %4, %6
  %8: i64 = block_index i
  store %y[%8] = %7
}",
        &[1, 3, 4, 5],
    );
}
