//! Element-wise ops: one loop for each kind of operands, the element's meaning from `eval`.

use pantile_ir::{BinaryOp, DType, Kind, UnaryOp, eval};

use crate::Data;
use crate::tile::{Space, Tile};

pub(crate) fn unary(op: UnaryOp, dtype: DType, x: &Tile) -> Tile {
    let data = match &x.data {
        Data::Float(v) => Data::Float(v.iter().map(|x| eval::round_result(dtype, eval::float_unary(op, *x))).collect()),
        Data::Int(v) => Data::Int(v.iter().map(|x| eval::wrap(dtype, eval::int_unary(op, dtype, *x))).collect()),
        Data::Bool(v) => Data::Bool(v.iter().map(|x| (op == UnaryOp::Not) ^ *x).collect()),
    };
    Tile { data, ..x.clone() }
}

/// `dtype` is the operands'.
pub(crate) fn binary(op: BinaryOp, dtype: DType, space: Space, a: &Tile, b: &Tile) -> Result<Tile, String> {
    let (by_a, by_b) = (space.strides(a), space.strides(b));
    let data = match (&a.data, &b.data) {
        (Data::Float(x), Data::Float(y)) if op.is_comparison() => {
            Data::Bool(space.map2((x, &by_a), (y, &by_b), |x, y| eval::holds(op, x, y)))
        }
        (Data::Float(x), Data::Float(y)) => {
            let f = |x, y| eval::round_result(dtype, eval::float_binary(op, x, y));
            Data::Float(space.map2((x, &by_a), (y, &by_b), f))
        }
        (Data::Int(x), Data::Int(y)) if op.is_comparison() => {
            let unsigned = dtype.kind() == Kind::Unsigned;
            let f = |x: i64, y: i64| if unsigned { eval::holds(op, x as u64, y as u64) } else { eval::holds(op, x, y) };
            Data::Bool(space.map2((x, &by_a), (y, &by_b), f))
        }
        (Data::Int(x), Data::Int(y)) => {
            let mut by_zero = false;
            let f = |x, y| {
                eval::int_binary(op, dtype, x, y).unwrap_or_else(|| {
                    by_zero = true;
                    0
                })
            };
            let out = space.map2((x, &by_a), (y, &by_b), f);
            if by_zero {
                return Err("an integer is divided by zero".into());
            }
            Data::Int(out)
        }
        (Data::Bool(x), Data::Bool(y)) if op.is_comparison() => {
            Data::Bool(space.map2((x, &by_a), (y, &by_b), |x, y| eval::holds(op, x, y)))
        }
        (Data::Bool(x), Data::Bool(y)) => {
            Data::Bool(space.map2((x, &by_a), (y, &by_b), |x, y| eval::bool_binary(op, x, y)))
        }
        (Data::Float(_) | Data::Int(_) | Data::Bool(_), _) => return Err(format!("`{}` mixes dtypes", op.name())),
    };
    Ok(space.tile(data))
}

pub(crate) fn select(space: Space, c: &Tile, a: &Tile, b: &Tile) -> Result<Tile, String> {
    fn pick<T: Copy>(c: &[bool], a: Vec<T>, b: &[T]) -> Vec<T> {
        a.into_iter().zip(b).zip(c).map(|((a, b), c)| if *c { a } else { *b }).collect()
    }
    let Data::Bool(c) = c.spread(&space) else { return Err("`where` needs a bool".into()) };
    let data = match (a.spread(&space), b.spread(&space)) {
        (Data::Float(a), Data::Float(b)) => Data::Float(pick(&c, a, &b)),
        (Data::Int(a), Data::Int(b)) => Data::Int(pick(&c, a, &b)),
        (Data::Bool(a), Data::Bool(b)) => Data::Bool(pick(&c, a, &b)),
        (Data::Float(_) | Data::Int(_) | Data::Bool(_), _) => return Err("`where` mixes dtypes".into()),
    };
    Ok(space.tile(data))
}

pub(crate) fn cast(from: DType, to: DType, x: &Tile) -> Tile {
    let data = match (&x.data, to.kind()) {
        (Data::Float(v), Kind::Float) => Data::Float(v.iter().map(|x| eval::round_result(to, *x)).collect()),
        (Data::Int(v), Kind::Float) => Data::Float(v.iter().map(|x| eval::int_to_float(from, to, *x)).collect()),
        (data @ (Data::Float(_) | Data::Int(_) | Data::Bool(_)), _) => {
            Data::from_scalars(to, (0..data.len()).map(|n| eval::cast(from, to, data.get(n))))
        }
    };
    Tile { data, ..x.clone() }
}

pub(crate) fn random(space: Space, seed: &Tile, counter: &Tile) -> Tile {
    let (seed, counter) = (seed.spread(&space), counter.spread(&space));
    let element = |n| eval::uniform(seed.get(n).as_i64(), counter.get(n).as_i64());
    let data = (0..space.count()).map(element).collect();
    space.tile(Data::Float(data))
}

/// As `print` shows it.
pub(crate) fn show(label: &str, names: &[&str], dtype: DType, x: &Tile) -> String {
    let dims: Vec<(&str, usize)> = names.iter().copied().zip(x.shape.iter().copied()).collect();
    pantile_ir::show(label, &dims, dtype, &|n| x.data.get(n))
}
