//! Ops that look along dims: reductions, scans, sorting, gathering, splitting. Each brings the dims it works along to the
//! end and treats rows; what is computed of two elements is asked of `eval`.

use std::cmp::Ordering;

use pantile_ir::{ArgOp, BinaryOp, DType, DimId, Kind, ReduceOp, ScanOp, eval};

use crate::Data;
use crate::tile::{Space, Tile};

/// `x` with `last` as its last dims, how many rows that makes, and how long each is.
fn by_rows(x: &Tile, last: &[DimId]) -> (Tile, usize, usize) {
    let mut dims = x.dims_without(last);
    let rest = dims.len();
    dims.extend(last);
    let x = x.arranged(&dims);
    let (rows, n) = (x.shape[..rest].iter().product(), x.shape[rest..].iter().product());
    (x, rows, n)
}

/// One element a row.
fn per_row<T, R>(v: &[T], rows: usize, n: usize, mut f: impl FnMut(&[T]) -> R) -> Vec<R> {
    (0..rows).map(|r| f(&v[r * n..(r + 1) * n])).collect()
}

/// What is left of `x` when its last dims, `gone` of them, are reduced.
fn reduced(x: &Tile, gone: usize, data: Data) -> Tile {
    let rest = x.dims.len() - gone;
    Tile { dims: x.dims[..rest].to_vec(), shape: x.shape[..rest].to_vec(), data }
}

pub(crate) fn reduce(op: ReduceOp, dtype: DType, x: &Tile, dims: &[DimId]) -> Tile {
    let (x, rows, n) = by_rows(x, dims);
    let data = match &x.data {
        Data::Float(v) => Data::Float(per_row(v, rows, n, |row| reduce_floats(op, dtype, row))),
        Data::Int(v) => Data::Int(per_row(v, rows, n, |row| reduce_ints(op, dtype, row))),
        Data::Bool(v) => Data::Bool(per_row(v, rows, n, |row| match op {
            ReduceOp::All => row.iter().all(|x| *x),
            ReduceOp::Any | ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min => row.iter().any(|x| *x),
        })),
    };
    reduced(&x, dims.len(), data)
}

/// Sums and products are carried in f64 and rounded at the end. A sum starts at +0, which `Iterator::sum` does not.
fn reduce_floats(op: ReduceOp, dtype: DType, row: &[f64]) -> f64 {
    let fold = |op| {
        let mut row = row.iter().copied();
        row.next().map(|first| row.fold(first, |a, b| eval::float_binary(op, a, b)))
    };
    let found = match op {
        ReduceOp::Sum => Some(eval::round_result(dtype, row.iter().fold(0.0, |a, b| a + b))),
        ReduceOp::Prod => Some(eval::round_result(dtype, row.iter().product())),
        ReduceOp::Max => fold(BinaryOp::Max),
        ReduceOp::Min => fold(BinaryOp::Min),
        ReduceOp::Any | ReduceOp::All => None,
    };
    found.unwrap_or_else(|| eval::neutral(op, dtype).as_f64())
}

fn reduce_ints(op: ReduceOp, dtype: DType, row: &[i64]) -> i64 {
    let of = match op {
        ReduceOp::Sum => BinaryOp::Add,
        ReduceOp::Prod => BinaryOp::Mul,
        ReduceOp::Max => BinaryOp::Max,
        ReduceOp::Min => BinaryOp::Min,
        ReduceOp::Any => BinaryOp::Or,
        ReduceOp::All => BinaryOp::And,
    };
    let start = eval::neutral(op, dtype).as_i64();
    row.iter().fold(start, |a, b| eval::int_binary(of, dtype, a, *b).unwrap_or(0))
}

pub(crate) fn arg_reduce(op: ArgOp, dtype: DType, x: &Tile, dim: DimId) -> Tile {
    let (x, rows, n) = by_rows(x, &[dim]);
    let data = match &x.data {
        Data::Float(v) => per_row(v, rows, n, |row| {
            let beats = |a: f64, b: f64| match op {
                ArgOp::ArgMax => a > b || a.is_nan() && !b.is_nan(),
                ArgOp::ArgMin => a < b || a.is_nan() && !b.is_nan(),
            };
            first_best(row, beats)
        }),
        Data::Int(v) => per_row(v, rows, n, |row| {
            let best = match op {
                ArgOp::ArgMax => BinaryOp::Gt,
                ArgOp::ArgMin => BinaryOp::Lt,
            };
            first_best(row, |a, b| compare_ints(best, dtype, a, b))
        }),
        Data::Bool(_) => vec![0; rows],
    };
    reduced(&x, 1, Data::Int(data))
}

fn first_best<T: Copy>(row: &[T], beats: impl Fn(T, T) -> bool) -> i64 {
    let mut best = 0;
    for n in 1..row.len() {
        if beats(row[n], row[best]) {
            best = n;
        }
    }
    best as i64
}

fn compare_ints(op: BinaryOp, dtype: DType, a: i64, b: i64) -> bool {
    if dtype.kind() == Kind::Unsigned { eval::holds(op, a as u64, b as u64) } else { eval::holds(op, a, b) }
}

pub(crate) fn scan(op: ScanOp, dtype: DType, x: &Tile, dim: DimId) -> Tile {
    let of = match op {
        ScanOp::CumSum => BinaryOp::Add,
        ScanOp::CumMax => BinaryOp::Max,
    };
    along(x, dim, |data, n| match data {
        Data::Float(v) => v.chunks_exact_mut(n).for_each(|row| {
            let mut run = f64::NAN;
            for (l, x) in row.iter_mut().enumerate() {
                run = if l == 0 { *x } else { eval::float_binary(of, run, *x) };
                *x = eval::round_result(dtype, run);
            }
        }),
        Data::Int(v) => v.chunks_exact_mut(n).for_each(|row| {
            for l in 1..row.len() {
                row[l] = eval::int_binary(of, dtype, row[l - 1], row[l]).unwrap_or(0);
            }
        }),
        Data::Bool(_) => {}
    })
}

pub(crate) fn sort(dtype: DType, x: &Tile, dim: DimId, descending: bool) -> Tile {
    along(x, dim, |data, n| match data {
        Data::Float(v) => v.chunks_exact_mut(n).for_each(|row| sort_floats(row, descending)),
        Data::Int(v) => v.chunks_exact_mut(n).for_each(|row| sort_ints(row, dtype, descending)),
        Data::Bool(_) => {}
    })
}

/// NaNs last, whichever way.
fn sort_floats(row: &mut [f64], descending: bool) {
    row.sort_by(|a, b| match (a.is_nan(), b.is_nan()) {
        (false, false) if descending => b.partial_cmp(a).unwrap_or(Ordering::Equal),
        (false, false) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
        (a, b) => a.cmp(&b),
    });
}

fn sort_ints(row: &mut [i64], dtype: DType, descending: bool) {
    if dtype.kind() == Kind::Unsigned {
        row.sort_by_key(|x| *x as u64);
    } else {
        row.sort_unstable();
    }
    if descending {
        row.reverse();
    }
}

/// `x` with each row along `dim`, `n` long and at least one, replaced in place.
fn along(x: &Tile, dim: DimId, f: impl FnOnce(&mut Data, usize)) -> Tile {
    let (mut rows, _, n) = by_rows(x, &[dim]);
    if n > 0 {
        f(&mut rows.data, n);
    }
    rows.arranged(&x.dims)
}

/// The element at place `k` (from 1, clamped) of a row sorted in descending order.
pub(crate) fn kth_largest(dtype: DType, x: &Tile, k: i64, dim: DimId) -> Tile {
    let (x, rows, n) = by_rows(x, &[dim]);
    let at = k.clamp(1, n.max(1) as i64) as usize - 1;
    let data = match &x.data {
        Data::Float(v) => Data::Float(per_row(v, rows, n, |row| {
            let mut row = row.to_vec();
            sort_floats(&mut row, true);
            row.get(at).copied().unwrap_or_else(|| eval::lowest(dtype).as_f64())
        })),
        Data::Int(v) => Data::Int(per_row(v, rows, n, |row| {
            let mut row = row.to_vec();
            sort_ints(&mut row, dtype, true);
            row.get(at).copied().unwrap_or_else(|| eval::lowest(dtype).as_i64())
        })),
        Data::Bool(_) => Data::Bool(vec![false; rows]),
    };
    reduced(&x, 1, data)
}

/// `space` has the dims of `at` and those of `x` without `dim`.
pub(crate) fn gather(dtype: DType, space: Space, x: &Tile, at: &Tile, dim: DimId) -> Tile {
    let (x, _, n) = by_rows(x, &[dim]);
    let rest = x.dims_without(&[dim]);
    let along_x: Vec<usize> =
        space.dims.iter().zip(space.strides(&x)).map(|(d, s)| if rest.contains(d) { s } else { 0 }).collect();
    let along_at = space.strides(at);
    let step = |strides: &[usize]| strides.last().copied().unwrap_or(0);
    let mut data = Data::zeros(dtype, space.count());
    let mut out = 0;
    space.rows(&[&along_x, &along_at], |start, count| {
        for l in 0..count {
            let lane = at.data.get(start[1] + l * step(&along_at)).as_i64();
            if (0..n as i64).contains(&lane) {
                data.set(out, x.data.get(start[0] + l * step(&along_x) + lane as usize));
            }
            out += 1;
        }
    });
    space.tile(data)
}

/// `x` with the dims `from` seen as `into`, whose lengths are given; both first slowest.
pub(crate) fn reshape(x: &Tile, from: &[DimId], into: &Space) -> Result<Tile, String> {
    let (rows, _, n) = by_rows(x, from);
    if n != into.count() {
        return Err(format!("{n} lanes cannot be seen as {}", into.count()));
    }
    let rest = rows.dims.len() - from.len();
    let mut dims = rows.dims[..rest].to_vec();
    let mut shape = rows.shape[..rest].to_vec();
    dims.extend(&into.dims);
    shape.extend(&into.shape);
    let mut ascending = dims.clone();
    ascending.sort();
    Ok(Tile { dims, shape, data: rows.data }.arranged(&ascending))
}
