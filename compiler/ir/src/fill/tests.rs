//! Fill rules against what the ops compute: whatever stands at valid lanes, padding holds what the rule says. Not about
//! loops, branches or whole kernels.

use super::{Demand, Facts, Fill, binary, cast, demand, products_vanish, same, select, unary};
use crate::{BinaryOp, DType, DimId, Op, ReduceOp, Scalar, UnaryOp, eval};

const FACTS: Facts = Facts { never_empty: true, exact: true, bounded: false };

/// Values that are awkward in some op.
fn values(dtype: DType) -> Vec<Scalar> {
    let floats = [0.0, -0.0, 1.0, -1.0, 0.5, 448.0, -448.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    let ints = [0, 1, -1, 2, 7, i64::MIN, i64::MAX];
    match dtype.kind() {
        crate::Kind::Bool => vec![Scalar::Bool(false), Scalar::Bool(true)],
        crate::Kind::Float => floats.into_iter().map(|x| Scalar::Float(eval::round(dtype, x))).collect(),
        crate::Kind::Signed | crate::Kind::Unsigned => {
            let ends = [eval::lowest(dtype), eval::highest(dtype)];
            ints.into_iter().map(|x| Scalar::Int(eval::wrap(dtype, x))).chain(ends).collect()
        }
    }
}

const DTYPES: [DType; 7] = [DType::F32, DType::F16, DType::F8E4M3, DType::I8, DType::U8, DType::U64, DType::Bool];

/// What stands in one row: two valid lanes, then padding.
type Row = [Scalar; 3];

/// Rows that a fill is true of.
fn rows(dtype: DType, fill: Fill) -> Vec<Row> {
    let all = values(dtype);
    // Each value beside some others.
    let pairs =
        || [0, 1, 4].into_iter().flat_map(|by| all.iter().zip(all.iter().cycle().skip(by))).map(|(a, b)| (*a, *b));
    let nan = Scalar::Float(f64::NAN);
    match fill {
        Fill::Unknown => pairs().zip(all.iter().cycle()).map(|((a, b), c)| [a, b, *c]).collect(),
        Fill::Uniform => all.iter().map(|a| [*a; 3]).collect(),
        Fill::All(c) => vec![[c; 3]],
        Fill::Is(c) => pairs().map(|(a, b)| [a, b, c]).collect(),
        Fill::IsOrNan(c) => pairs().map(|(a, b)| [a, b, c]).chain([[nan; 3]]).collect(),
    }
}

fn holds(fill: Fill, row: Row) -> bool {
    let nan = |x: Scalar| matches!(x, Scalar::Float(x) if x.is_nan());
    match fill {
        Fill::Unknown => true,
        Fill::Uniform => same(row[0], row[2]) && same(row[1], row[2]),
        Fill::All(c) => row.iter().all(|x| same(*x, c)),
        Fill::Is(c) => same(row[2], c),
        Fill::IsOrNan(c) => same(row[2], c) || row.iter().all(|x| nan(*x)),
    }
}

fn fills(dtype: DType) -> Vec<Fill> {
    let of = |c: Scalar| {
        let or_nan = (dtype.is_float() && !super::is_nan(c)).then_some(Fill::IsOrNan(c));
        [Some(Fill::All(c)), Some(Fill::Is(c)), or_nan].into_iter().flatten()
    };
    [Fill::Unknown, Fill::Uniform].into_iter().chain(values(dtype).into_iter().flat_map(of)).collect()
}

#[test]
fn binary_rules_hold_of_every_row() {
    let mut known = 0;
    for dtype in [DType::F32, DType::F8E4M3, DType::I8, DType::U8, DType::Bool] {
        for op in BinaryOp::ALL.iter().copied().filter(|op| op.class().admits(dtype)) {
            for (a, b) in fills(dtype).into_iter().flat_map(|a| fills(dtype).into_iter().map(move |b| (a, b))) {
                let fill = binary(op, dtype, a, b, &FACTS);
                if fill == Fill::Unknown {
                    continue;
                }
                known += 1;
                for (x, y) in rows(dtype, a).into_iter().flat_map(|x| rows(dtype, b).into_iter().map(move |y| (x, y))) {
                    let lane = |n: usize| eval::binary(op, dtype, x[n], y[n]);
                    // A division by zero has no result, and of padding's nothing is asked.
                    let (Some(p), Some(q), Some(r)) = (lane(0), lane(1), lane(2)) else { continue };
                    assert!(holds(fill, [p, q, r]), "{op:?} of {dtype}, {a:?} and {b:?}: {fill:?}, but {x:?} {y:?}");
                }
            }
        }
    }
    assert!(known > 1000, "{known} rules say something");
}

/// The rule that needs a bound: only rows that keep it.
#[test]
fn differences_from_a_bound_hold_of_every_row() {
    let facts = Facts { bounded: true, ..FACTS };
    let dtype = DType::F32;
    for (inf, bound) in [(f64::NEG_INFINITY, BinaryOp::Max), (f64::INFINITY, BinaryOp::Min)] {
        for first in [true, false] {
            let (a, b) = (Fill::Is(Scalar::Float(inf)), Fill::Uniform);
            let fill = if first {
                binary(BinaryOp::Sub, dtype, a, b, &facts)
            } else {
                binary(BinaryOp::Sub, dtype, b, a, &facts)
            };
            assert_eq!(fill, Fill::IsOrNan(Scalar::Float(if first { inf } else { -inf })));
            for row in rows(dtype, a) {
                for top in values(dtype) {
                    // The bound is an extreme of the row and of something else.
                    let x = row.iter().fold(top, |x, y| eval::binary(bound, dtype, x, *y).expect("no division"));
                    let sub = |y: Scalar| {
                        let (p, q) = if first { (y, x) } else { (x, y) };
                        eval::binary(BinaryOp::Sub, dtype, p, q).expect("no division")
                    };
                    assert!(holds(fill, row.map(sub)), "{row:?} and {x:?}");
                }
            }
        }
    }
}

#[test]
fn unary_and_cast_rules_hold_of_every_row() {
    for dtype in DTYPES {
        for a in fills(dtype) {
            for op in UnaryOp::ALL.iter().copied().filter(|op| op.class().admits(dtype)) {
                let fill = unary(op, dtype, a);
                rows(dtype, a).into_iter().for_each(|row| {
                    assert!(holds(fill, row.map(|x| eval::unary(op, dtype, x))), "{op:?} {a:?} {row:?}");
                });
            }
            for to in DTYPES {
                let fill = cast(dtype, to, a);
                rows(dtype, a).into_iter().for_each(|row| {
                    assert!(holds(fill, row.map(|x| eval::cast(dtype, to, x))), "{dtype} as {to}, {a:?} {row:?}");
                });
            }
        }
    }
}

#[test]
fn select_rules_hold_of_every_row() {
    let dtype = DType::F32;
    for c in fills(DType::Bool) {
        for (a, b) in fills(dtype).into_iter().flat_map(|a| fills(dtype).into_iter().map(move |b| (a, b))) {
            let fill = select(c, a, b);
            if fill == Fill::Unknown {
                continue;
            }
            for cs in rows(DType::Bool, c) {
                for (x, y) in rows(dtype, a).into_iter().flat_map(|x| rows(dtype, b).into_iter().map(move |y| (x, y))) {
                    let lane = |n: usize| if cs[n].as_bool() { x[n] } else { y[n] };
                    assert!(
                        holds(fill, [lane(0), lane(1), lane(2)]),
                        "{c:?} {a:?} {b:?}: {fill:?}, but {cs:?} {x:?} {y:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_ops_ask_is_neutral() {
    let d = DimId(0);
    let sum = Op::Reduce(ReduceOp::Sum, vec![d]);
    assert_eq!(demand(&sum, 0, d, DType::F32), Demand::Neutral(Scalar::Float(0.0)));
    assert_eq!(demand(&sum, 0, DimId(1), DType::F32), Demand::Nothing);
    let f8 = demand(&Op::Reduce(ReduceOp::Max, vec![d]), 0, d, DType::F8E4M3);
    assert_eq!(f8, Demand::Neutral(Scalar::Float(-448.0)));
    let zero = Fill::Is(Scalar::Float(0.0));
    assert!(Demand::Neutral(Scalar::Float(0.0)).is_met(Fill::IsOrNan(Scalar::Float(-0.0))));
    assert!(!Demand::Exactly(Scalar::Float(0.0)).is_met(Fill::IsOrNan(Scalar::Float(0.0))));
    assert!(products_vanish(DType::F32, zero, Fill::IsOrNan(Scalar::Float(3.0))));
    assert!(!products_vanish(DType::F32, zero, Fill::Is(Scalar::Float(f64::INFINITY))));
    assert!(!products_vanish(DType::F32, zero, Fill::Unknown));
    assert!(products_vanish(DType::I32, Fill::Is(Scalar::Int(0)), Fill::Unknown));
}
