//! Rules about dims, blocks and broadcasts. Arithmetic is `algebra.rs`'s business.

use pantile_ir::{BinaryOp, DimId, Inst, Op, Type, Value};

use crate::passes::rewrite::Rewriter;

#[allow(clippy::wildcard_enum_match_arm, reason = "other ops have no rule about dims")]
pub(super) fn simplify(rw: &mut Rewriter, inst: &Inst) -> Option<Value> {
    match &inst.op {
        Op::Extent(e) => {
            let known = rw.func.extents[e.index()].known?;
            rw.int(known)
        }
        Op::BlockIndex(d) if rw.func.dim(*d).whole || rw.func.dim(*d).over.is_none() => rw.int(0),
        Op::BlockLen(d) => {
            let dim = rw.func.dim(*d);
            let size = dim.size;
            rw.func.is_full(*d).then(|| rw.int(size)).flatten()
        }
        Op::At(d) if rw.func.dim(*d).order.is_none() => rw.emit(Op::Pos(*d), &[]),
        Op::Broadcast(dims) => broadcast(rw, inst, dims),
        Op::Binary(_) | Op::Select => narrow(rw, inst),
        _ => None,
    }
}

fn broadcast(rw: &mut Rewriter, inst: &Inst, dims: &[DimId]) -> Option<Value> {
    let x = inst.args[0];
    let have = rw.func.ty(x).dims();
    if dims.iter().all(|d| have.contains(d)) {
        return Some(x);
    }
    let (Op::Broadcast(inner), args) = rw.defs.get(x)? else { return None };
    let all = inner.iter().chain(dims).copied().collect();
    let source = args[0];
    rw.emit(Op::Broadcast(all), &[source])
}

/// Operands need not be broadcast along dims that the others bring anyway.
fn narrow(rw: &mut Rewriter, inst: &Inst) -> Option<Value> {
    let result = rw.func.ty(inst.results[0]).clone();
    for n in 0..inst.args.len() {
        let Some((Op::Broadcast(_), source)) = rw.defs.get(inst.args[n]) else { continue };
        let mut args = inst.args.clone();
        args[n] = source[0];
        let dims = args.iter().flat_map(|v| rw.func.ty(*v).dims().iter().copied());
        if Type::tile(result.dtype(), dims) == result {
            return rw.emit(inst.op.clone(), &args);
        }
    }
    // A scalar result was never spread; and an integer division may run only where it has a lane to run for.
    let integer_division = matches!(inst.op, Op::Binary(BinaryOp::Div | BinaryOp::Rem)) && result.dtype().is_int();
    if result.dims().is_empty() || integer_division || !inst.args.iter().all(|v| is_spread(rw, *v)) {
        return None;
    }
    // All operands are spread: compute first, and spread the result.
    let sources: Vec<Value> = inst.args.iter().map(|v| source(rw, *v)).collect();
    let x = rw.emit(inst.op.clone(), &sources)?;
    rw.fit(x, &result)
}

fn is_spread(rw: &Rewriter, v: Value) -> bool {
    rw.func.ty(v).dims().is_empty() || matches!(rw.defs.get(v), Some((Op::Broadcast(_), _)))
}

fn source(rw: &Rewriter, v: Value) -> Value {
    match rw.defs.get(v) {
        Some((Op::Broadcast(_), args)) => args[0],
        _ => v,
    }
}
