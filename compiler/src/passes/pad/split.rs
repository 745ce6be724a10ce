//! Splits code in full blocks and the rest, so that the rest alone pays for padding. What it pays is not decided here.

use std::collections::{HashMap, HashSet};

use pantile_diag::Span;
use pantile_ir::{BinaryOp, DType, Dim, DimId, Inst, Loop, Op, Over, Region, Scalar, Type, Value};

use super::Pad;
use crate::analysis::fill::{Context, Unmet};
use crate::passes::copy::Copies;

impl Pad<'_> {
    /// Splits at the outermost place that needs it; whether there was one.
    pub(super) fn split(&mut self) -> bool {
        let found = Context::new(self.func, self.lanes).analyse(&HashMap::new());
        let open: Vec<Unmet> = found.unmet.into_iter().filter(|u| !self.settled.contains(&(u.site, u.dim))).collect();
        let (some, never): (Vec<Unmet>, Vec<Unmet>) = open.into_iter().partition(|u| self.may_be_full(u.dim));
        self.settled.extend(never.iter().map(|u| (u.site, u.dim)));
        let mut body = std::mem::take(&mut self.func.body);
        let place = some.iter().min_by_key(|u| depth(&body, **u)).copied();
        if let Some(at) = place {
            match depth(&body, at) {
                0 => self.branch(&mut body, at.dim, &some),
                _ => self.in_region(&mut body, at, &some),
            }
        }
        self.func.body = body;
        place.is_some()
    }

    /// Whether some block of a dim may have no padding.
    fn may_be_full(&self, dim: DimId) -> bool {
        let d = self.func.dim(dim);
        let length = d.over.and_then(|e| self.func.known_length(e, d.order));
        self.lanes.of(d.size) == d.size && length.is_none_or(|n| n >= d.size)
    }

    /// Finds the loop over the dim that a site is in, and splits it.
    fn in_region(&mut self, region: &mut Region, at: Unmet, unmet: &[Unmet]) {
        let Some(n) = region.insts.iter().position(|inst| defines(inst, at.site)) else { return };
        if walks(&region.insts[n], at.dim) {
            return self.split_loop(region, n, at.dim, unmet);
        }
        let mut inst = std::mem::replace(&mut region.insts[n], nothing());
        for r in inst.regions.iter_mut().filter(|r| r.insts.iter().any(|i| defines(i, at.site))) {
            self.in_region(r, at, unmet);
        }
        region.insts[n] = inst;
    }

    fn split_loop(&mut self, region: &mut Region, n: usize, dim: DimId, unmet: &[Unmet]) {
        let d = self.func.dim(dim);
        if d.order.is_some_and(|o| self.func.orders[o.index()].holes) {
            let mut inst = std::mem::replace(&mut region.insts[n], nothing());
            for r in &mut inst.regions {
                self.branch(r, dim, unmet);
            }
            region.insts[n] = inst;
            return;
        }
        let inst = region.insts.remove(n);
        self.settle(std::slice::from_ref(&inst), dim, unmet);
        let pieces = self.peel(inst, dim);
        region.insts.splice(n..n, pieces);
    }

    /// Sites in this code see padding of the dim in partial blocks only.
    fn settle(&mut self, insts: &[Inst], dim: DimId, unmet: &[Unmet]) -> bool {
        let inside: Vec<_> =
            unmet.iter().filter(|u| u.dim == dim && insts.iter().any(|i| defines(i, u.site))).collect();
        self.settled.extend(inside.iter().map(|u| (u.site, u.dim)));
        !inside.is_empty()
    }

    /// What is settled of values is settled of their copies.
    fn copied(&mut self, values: &HashMap<Value, Value>, renamed: Option<DimId>) {
        let copy = |(v, d): &(Value, DimId)| (renamed != Some(*d)).then(|| values.get(v).map(|v| (*v, *d))).flatten();
        let copies: HashSet<_> = self.settled.iter().filter_map(copy).collect();
        self.settled.extend(copies);
    }

    /// `if block_len d == size { a copy } else { the region }`, around what needs it; the first region is for full blocks.
    fn branch(&mut self, region: &mut Region, dim: DimId, unmet: &[Unmet]) {
        if !self.settle(&region.insts, dim, unmet) {
            return;
        }
        let stays = region.insts.iter().take_while(|i| self.is_outside(i, dim)).count();
        let rest = Region { args: Vec::new(), insts: region.insts.split_off(stays), yields: region.yields.clone() };
        let mut copies = Copies::default();
        let full = copies.region(self.func, &rest);
        self.copied(copies.names(), None);
        let span = rest.insts.first().map_or_else(Span::default, |i| i.span);
        let mut e = Emit { pad: self, out: &mut region.insts, span };
        let len = e.push(Op::BlockLen(dim), &[], DType::I64);
        let size = e.int(e.pad.func.dim(dim).size);
        let cond = e.push(Op::Binary(BinaryOp::Eq), &[len, size], DType::Bool);
        let results: Vec<Value> = rest.yields.iter().map(|v| self.func.new_value(self.func.ty(*v).clone())).collect();
        region.yields.clone_from(&results);
        region.insts.push(Inst { op: Op::If, args: vec![cond], results, regions: vec![full, rest], span });
    }

    /// Whether an instruction may stay in front of a branch on a dim: it is the same in both.
    fn is_outside(&self, inst: &Inst, dim: DimId) -> bool {
        let of_dim = inst.results.iter().any(|v| self.func.ty(*v).dims().contains(&dim));
        inst.regions.is_empty() && !inst.op.has_effect() && !of_dim && !inst.op.own_dims().contains(&dim)
    }

    /// The loop over the walk's full blocks, and the loop over the one that is left.
    fn peel(&mut self, mut inst: Inst, dim: DimId) -> Vec<Inst> {
        let Op::For(it) = inst.op.clone() else { return vec![inst] };
        let mut out = Vec::new();
        let whole = self.whole_blocks(&mut out, dim, inst.span);
        let mut e = Emit { pad: self, out: &mut out, span: inst.span };
        let (full, rest) = if it.bounds {
            let (lo, hi) = (inst.args[0], inst.args[1]);
            let (end, start) = (e.binary(BinaryOp::Min, hi, whole), e.binary(BinaryOp::Max, lo, whole));
            ([lo, end], [start, hi])
        } else {
            let (zero, one) = (e.int(0), e.int(1));
            let end = e.binary(BinaryOp::Add, whole, one);
            inst.args.splice(0..0, [zero, whole]);
            ([zero, whole], [whole, end])
        };
        inst.op = Op::For(Loop { bounds: true, ..it });
        inst.args.splice(0..2, full);
        let to = self.full_dim(dim);
        let mut copies = Copies::renaming(dim, to);
        let main = copies.inst(self.func, &inst);
        self.copied(copies.names(), Some(dim));
        let fixed = inst.args.len() - inst.results.len();
        inst.args.splice(0..2, rest);
        inst.args.splice(fixed.., main.results.iter().copied());
        out.extend([main, inst]);
        out
    }

    /// The dim of a walk's full blocks.
    fn full_dim(&mut self, dim: DimId) -> DimId {
        if let Some((_, full)) = self.full.iter().find(|(d, _)| *d == dim) {
            return *full;
        }
        let full = Dim { full: true, ..self.func.dim(dim).clone() };
        self.func.dims.push(full);
        let id = DimId(self.func.dims.len() as u32 - 1);
        self.full.push((dim, id));
        id
    }

    /// How many blocks of a walk have all their lanes.
    fn whole_blocks(&mut self, out: &mut Vec<Inst>, dim: DimId, span: Span) -> Value {
        let d = self.func.dim(dim).clone();
        let known = d.over.and_then(|e| self.func.known_length(e, d.order));
        let mut e = Emit { pad: self, out, span };
        match (known, d.over) {
            (None, Some(extent)) => {
                let n = e.push(Op::Extent(extent), &[], DType::I64);
                let size = e.int(d.size);
                e.binary(BinaryOp::Div, n, size)
            }
            (known, _) => e.int(known.unwrap_or(d.size) / d.size),
        }
    }
}

/// Appends scalars to code.
struct Emit<'p, 'f> {
    pad: &'p mut Pad<'f>,
    out: &'p mut Vec<Inst>,
    span: Span,
}

impl Emit<'_, '_> {
    fn push(&mut self, op: Op, args: &[Value], dtype: DType) -> Value {
        let result = self.pad.func.new_value(Type::Scalar(dtype));
        let inst = Inst { op, args: args.to_vec(), results: vec![result], regions: Vec::new(), span: self.span };
        self.out.push(inst);
        result
    }

    fn int(&mut self, n: i64) -> Value {
        self.push(Op::Const(DType::I64, Scalar::Int(n)), &[], DType::I64)
    }

    fn binary(&mut self, op: BinaryOp, a: Value, b: Value) -> Value {
        self.push(Op::Binary(op), &[a, b], DType::I64)
    }
}

/// Holds a place while the instruction that stands there is worked on.
fn nothing() -> Inst {
    Inst { op: Op::If, args: Vec::new(), results: Vec::new(), regions: Vec::new(), span: Span::default() }
}

/// Whether an instruction defines a value, or something in it does.
fn defines(inst: &Inst, v: Value) -> bool {
    inst.results.contains(&v)
        || inst.regions.iter().any(|r| r.args.contains(&v) || r.insts.iter().any(|i| defines(i, v)))
}

fn walks(inst: &Inst, dim: DimId) -> bool {
    matches!(&inst.op, Op::For(Loop { over: Over::Walk(d), .. }) if *d == dim)
}

/// How many regions are around the loop over a site's dim; 0 for a dim of the grid, or one that is there everywhere.
fn depth(region: &Region, at: Unmet) -> usize {
    let Some(inst) = region.insts.iter().find(|i| defines(i, at.site)) else { return 0 };
    if walks(inst, at.dim) {
        return 1;
    }
    inst.regions.iter().map(|r| depth(r, at)).max().map_or(0, |n| n + usize::from(n > 0))
}
