//! Sums of products. Floats are carried in f64 and rounded to the accumulator dtype at the end; integers wrap.

use pantile_ir::{DType, DimId, eval};

use crate::Data;
use crate::tile::{Space, Tile};

/// `space` has the result's dims, `dtype` is the operands'.
pub(crate) fn dot(dtype: DType, space: Space, a: &Tile, b: &Tile, over: &[DimId]) -> Result<Tile, String> {
    let shared = |d: &DimId| a.dims.contains(d) && b.dims.contains(d);
    let of =
        |tile: &Tile, both: bool| tile.dims_without(over).into_iter().filter(|d| shared(d) == both).collect::<Vec<_>>();
    let (batch, rows, columns) = (of(a, true), of(a, false), of(b, false));
    let a = a.arranged(&[&batch[..], &rows, over].concat());
    let b = b.arranged(&[&batch[..], over, &columns].concat());
    let dims = [&batch[..], &rows, &columns].concat();
    let count = |dims: &[DimId]| space.pick(dims).count();
    let k = over.iter().map(|d| a.shape[a.dims.iter().position(|x| x == d).unwrap_or(0)]).product();
    let size = Size { batch: count(&batch), m: count(&rows), n: count(&columns), k };
    let to = dtype.accumulator();
    let data = match (&a.data, &b.data) {
        (Data::Float(x), Data::Float(y)) => {
            let sums = product(&size, x, y, |sum, x, y| *sum += x * y);
            Data::Float(sums.into_iter().map(|x| eval::round_result(to, x)).collect())
        }
        (Data::Int(x), Data::Int(y)) => {
            let sums = product(&size, x, y, |sum, x, y| *sum = sum.wrapping_add(x.wrapping_mul(y)));
            Data::Int(sums.into_iter().map(|x| eval::wrap(to, x)).collect())
        }
        (Data::Float(_) | Data::Int(_) | Data::Bool(_), _) => return Err("`dot` needs numbers of one dtype".into()),
    };
    Ok(Tile { shape: space.pick(&dims).shape, dims, data }.arranged(&space.dims))
}

struct Size {
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
}

/// `[batch, m, k]` times `[batch, k, n]`. Four terms of each sum are added per pass over a row of results, which is what
/// makes it fast enough to be compared with on real token counts.
fn product<T: Copy + Default>(size: &Size, a: &[T], b: &[T], add: impl Fn(&mut T, T, T) + Copy) -> Vec<T> {
    let &Size { batch, m, n, k } = size;
    let mut out = vec![T::default(); batch * m * n];
    if n == 0 {
        return out;
    }
    for (row, sums) in out.chunks_exact_mut(n).enumerate() {
        let b = &b[row / m * k * n..][..k * n];
        let a = &a[row * k..][..k];
        let (fours, rest) = a.as_chunks::<4>();
        for (x, b) in fours.iter().zip(b.chunks_exact(4 * n)) {
            add_rows(sums, x, b, add);
        }
        for (x, b) in rest.iter().zip(b[fours.len() * 4 * n..].chunks_exact(n)) {
            sums.iter_mut().zip(b).for_each(|(sum, b)| add(sum, *x, *b));
        }
    }
    out
}

fn add_rows<T: Copy>(sums: &mut [T], x: &[T; 4], b: &[T], add: impl Fn(&mut T, T, T)) {
    let n = sums.len();
    let (b0, b) = b.split_at(n);
    let (b1, b) = b.split_at(n);
    let (b2, b3) = b.split_at(n);
    for ((((sum, y0), y1), y2), y3) in sums.iter_mut().zip(b0).zip(b1).zip(b2).zip(b3) {
        let mut s = *sum;
        add(&mut s, x[0], *y0);
        add(&mut s, x[1], *y1);
        add(&mut s, x[2], *y2);
        add(&mut s, x[3], *y3);
        *sum = s;
    }
}
