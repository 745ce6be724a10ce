//! Matrix products, and kernels that read or write a matrix once, beside peers; some rows of each in f64. What is bound by
//! memory is compared with a copy by the bytes that both move.

use std::collections::BTreeMap;

use pantile::{DType, Out, Tensor};
use serde_json::json;

use super::super::cases::kernel;
use super::plan::{BLOCK, Kind, Spec};
use super::reference::{self, Host, error, sample};
use super::row::Row;
use super::{Bench, timed};
use crate::failure::Failure;

/// How far bf16 may be off: its rounding, twice.
const ALLOWED: f64 = 8e-3;
/// Means are f32.
const ALLOWED_F32: f64 = 1e-4;

pub(super) fn product(bench: &Bench, spec: &Spec, n: usize) -> Result<Row, Failure> {
    let (a, b) = (bench.normal(&[n, n], DType::BF16)?, bench.normal(&[n, n], DType::BF16)?);
    let bias = Tensor::zeros(DType::BF16, &[n])?.to(&bench.device)?;
    let mut c = bench.room(&[n, n], DType::BF16)?;
    let kernel = kernel("matmul.tile", "matmul", &bench.device)?;
    let own =
        Box::new(|| timed(&bench.device, || kernel.start_into((&a, &b, &bias, false), vec![Out::Tensor(&mut c)])));
    let (times, mut beside) = bench.beside(spec, &[("a", &a), ("b", &b)], &json!({}), own)?;
    let rows = sample(n, 4);
    let (a, b) = (Host::of(&a)?, b.to_f32()?);
    let want: Vec<Vec<f64>> =
        rows.iter().map(|r| Ok(reference::product(&a.rows(*r, 1)?, &b))).collect::<Result<_, Failure>>()?;
    let want = want.concat();
    for (beside, offer) in beside.iter_mut().zip(spec.work.offers()).filter(|(b, _)| b.times.is_ok()) {
        beside.error = bench.peers.rows(&offer, &rows).map(|got| error(&got, &want));
    }
    let off = error(&Host::of(&c)?.some(&rows)?, &want);
    Ok(row(spec, times, (off, ALLOWED), beside))
}

fn row(spec: &Spec, times: Vec<f64>, error: (f64, f64), beside: Vec<super::Beside>) -> Row {
    Row {
        case: spec.case,
        what: spec.what.clone(),
        times,
        amount: spec.work.amount(),
        error: Some(error),
        beside,
        notes: Vec::new(),
    }
}

pub(super) fn rows(bench: &Bench, spec: &Spec, (kind, rows, columns): (Kind, usize, usize)) -> Result<Row, Failure> {
    let x = bench.normal(&[rows, columns], DType::BF16)?;
    let second = second(bench, kind, rows, columns)?;
    let (shape, dtype) = match kind {
        Kind::Means => (vec![1, 1, rows.div_ceil(BLOCK), columns], DType::F32),
        Kind::Permute => (vec![1, rows, columns], DType::BF16),
        Kind::Copy => (vec![rows * columns], DType::BF16),
        Kind::Softmax | Kind::RmsNorm => (vec![rows, columns], DType::BF16),
    };
    let mut out = bench.room(&shape, dtype)?;
    let kernel = match kind {
        Kind::Softmax => kernel("norm.tile", "softmax_rows", &bench.device)?,
        Kind::RmsNorm => kernel("norm.tile", "rms_norm", &bench.device)?,
        Kind::Means => kernel("rainfusion.tile", "block_means", &bench.device)?,
        Kind::Permute => bench.tool("gather_rows")?,
        Kind::Copy => bench.tool("copy")?,
    };
    let (tokens, heads, flat) =
        (x.reshape(&[1, 1, rows, columns])?, x.reshape(&[1, rows, columns])?, x.reshape(&[rows * columns])?);
    let own = Box::new(|| {
        timed(&bench.device, || {
            let outs = vec![Out::Tensor(&mut out)];
            match kind {
                Kind::Softmax => kernel.start_into((&x,), outs),
                Kind::RmsNorm => kernel.start_into((&x, &second, 1e-6f32), outs),
                Kind::Means => kernel.start_into((&tokens,), outs),
                Kind::Permute => kernel.start_into((&heads, &second), outs),
                Kind::Copy => kernel.start_into((&flat,), outs),
            }
        })
    });
    let given = match kind {
        Kind::Permute => vec![("x", &heads), ("index", &second)],
        Kind::RmsNorm => vec![("x", &x), ("w", &second)],
        Kind::Softmax | Kind::Means | Kind::Copy => vec![("x", &x)],
    };
    let (times, mut beside) = bench.beside(spec, &given, &json!({}), own)?;
    let (which, want) = wanted(kind, &Host::of(&x)?, &second, rows)?;
    for (beside, offer) in beside.iter_mut().zip(spec.work.offers()) {
        // A copy moves the matrix twice.
        match offer.op {
            "copy" => beside.factor = Kind::Copy.passes() / kind.passes(),
            _ => beside.error = bench.peers.rows(&offer, &which).map(|got| error(&got, &want)),
        }
    }
    let got = out.reshape(&[out.len() / columns, columns])?;
    let off = error(&Host::of(&got)?.some(&which)?, &want);
    let allowed = if dtype == DType::F32 { ALLOWED_F32 } else { ALLOWED };
    Ok(row(spec, times, (off, allowed), beside))
}

/// The other input: weights, or where rows come from.
fn second(bench: &Bench, kind: Kind, rows: usize, columns: usize) -> Result<Tensor, Failure> {
    match kind {
        Kind::RmsNorm => bench.normal(&[columns], DType::BF16),
        Kind::Permute => {
            let table = walk(bench, rows)?;
            Ok(Tensor::from_slice(&[rows], &table)?.to(&bench.device)?)
        }
        Kind::Softmax | Kind::Means | Kind::Copy => Ok(Tensor::zeros(DType::BF16, &[1])?),
    }
}

/// A walk through windows of 2 × 8 × 8 of a video of so many tokens, 64 × 64 a frame.
fn walk(bench: &Bench, tokens: usize) -> Result<Vec<i32>, Failure> {
    let side = 64.min(tokens.isqrt().max(1));
    let frame = side * side;
    let frames = tokens / frame;
    let arguments = [("F", frames), ("Y", side), ("X", side), ("wf", 2), ("wy", 8), ("wx", 8)];
    let mut args: BTreeMap<String, i64> = arguments.iter().map(|(name, n)| ((*name).to_owned(), *n as i64)).collect();
    args.extend(["text", "text_last", "apart"].map(|name| (name.to_owned(), 0)));
    // Tokens behind the last whole frame are text.
    args.insert("text".into(), (tokens - frames * frame) as i64);
    args.insert("text_last".into(), 1);
    let module = pantile_kernels::module("windows.tile")?;
    Ok(module.order("windows", &args, tokens as i64, &bench.device)?.to_vec())
}

/// Some rows of the result, and what stands in them.
fn wanted(kind: Kind, x: &Host, second: &Tensor, rows: usize) -> Result<(Vec<usize>, Vec<f64>), Failure> {
    let results = if kind == Kind::Means { rows.div_ceil(BLOCK) } else { rows };
    let which = sample(results, 16);
    let exact = |row: Vec<f32>| row.into_iter().map(f64::from).collect::<Vec<f64>>();
    let index = if kind == Kind::Permute { second.to_vec::<i32>()? } else { Vec::new() };
    let weight = if kind == Kind::RmsNorm { second.to_f32()? } else { Vec::new() };
    let one = |row: &usize| -> Result<Vec<f64>, Failure> {
        Ok(match kind {
            Kind::Softmax => reference::softmax(&x.rows(*row, 1)?),
            Kind::RmsNorm => reference::rms_norm(&x.rows(*row, 1)?, &weight, 1e-6),
            Kind::Means => {
                let count = (rows - row * BLOCK).min(BLOCK);
                let part = x.rows(row * BLOCK, count)?;
                reference::mean(&part, part.len() / count.max(1))
            }
            Kind::Permute => exact(x.rows(index[*row] as usize, 1)?),
            Kind::Copy => exact(x.rows(*row, 1)?),
        })
    };
    let want: Vec<Vec<f64>> = which.iter().map(one).collect::<Result<_, _>>()?;
    Ok((which, want.concat()))
}
