//! Writes regions and instructions, one arm an op.

use super::names::quoted;
use super::op_name;
use super::print::{Printer, at};
use crate::{DType, Index, Inst, Loop, LoopArgs, Op, Over, ParamId, Region, Scalar, StoreMode, Value};

impl Printer<'_> {
    /// The lines of a region, without its braces.
    pub(super) fn region(&mut self, region: &Region) {
        self.indent += 1;
        for inst in &region.insts {
            self.line();
            self.inst(inst);
        }
        if !region.yields.is_empty() {
            self.line();
            self.out += &format!("yield {}", values(&region.yields));
        }
        self.indent -= 1;
        self.line();
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "only these two have regions")]
    fn inst(&mut self, inst: &Inst) {
        if !inst.results.is_empty() {
            let results: Vec<String> = inst.results.iter().map(|v| self.define(*v)).collect();
            self.out += &format!("{} = ", results.join(", "));
        }
        match &inst.op {
            Op::For(it) => self.for_loop(inst, it),
            Op::If => self.branch(inst),
            op => self.out += &self.flat(op, inst),
        }
    }

    /// An op without regions.
    #[allow(clippy::wildcard_enum_match_arm, reason = "attributes and operands are told apart in the arms below")]
    fn flat(&self, op: &Op, inst: &Inst) -> String {
        let name = op_name(op);
        let args = values(&inst.args);
        match op {
            Op::Load(p, index) => format!("{name} {}", self.indexed(*p, index, inst).0),
            Op::MaskGet(p) => format!("{name} {}[{args}]", self.param_name(*p)),
            Op::Store { param, index, mode, masked } => {
                let (place, rest) = self.indexed(*param, index, inst);
                let sign = match mode {
                    StoreMode::Set => "=",
                    StoreMode::Add => "+=",
                    StoreMode::AtomicAdd => "atomic +=",
                };
                match rest {
                    [value, mask] if *masked => format!("{name} {place} {sign} %{} where %{}", value.0, mask.0),
                    rest => format!("{name} {place} {sign} {}", values(rest)),
                }
            }
            Op::MaskPut(p, index) => {
                let (place, rest) = self.indexed(*p, index, inst);
                format!("{name} {place} = {}", values(rest))
            }
            op => {
                let attributes = self.attributes(op);
                let space = if inst.args.is_empty() { "" } else { " " };
                format!("{name}{attributes}{space}{args}")
            }
        }
    }

    /// What stands between the word and the operands, with a space in front.
    fn attributes(&self, op: &Op) -> String {
        let over = |d| format!(" over {}", self.dim(d));
        match op {
            Op::Const(dtype, x) => format!(" {}", scalar(*dtype, *x)),
            Op::Extent(e) | Op::OrderAt(e) => format!(" {}", self.extent(*e)),
            Op::BlockIndex(d) | Op::BlockLen(d) | Op::Pos(d) | Op::At(d) | Op::Valid(d) => {
                format!(" {}", self.dim(*d))
            }
            Op::Cast(dtype) => format!(" {dtype}"),
            Op::Broadcast(dims) | Op::Dot(dims) => format!(" over {}", self.dims(dims)),
            Op::Reduce(op, dims) => format!(" {} over {}", op.name(), self.dims(dims)),
            Op::ArgReduce(_, d) | Op::Scan(_, d) | Op::KthLargest(d) | Op::Gather(d) => over(*d),
            Op::Sort { dim, descending } => format!("{}{}", if *descending { " descending" } else { "" }, over(*dim)),
            Op::Split { from, into } => format!(" {} into {}", self.dim(*from), self.dims(into)),
            Op::Merge { from, into } => format!(" {} into {}", self.dims(from), self.dim(*into)),
            Op::Print(text) | Op::Assert(text) => format!(" {}", quoted(text)),
            Op::Unary(_)
            | Op::Binary(_)
            | Op::Select
            | Op::Random
            | Op::Load(..)
            | Op::Store { .. }
            | Op::MaskGet(_)
            | Op::MaskPut(..)
            | Op::For(_)
            | Op::If => String::new(),
        }
    }

    /// `%q[%1, i]`, and the operands that follow those of the index.
    fn indexed<'i>(&self, p: ParamId, index: &[Index], inst: &'i Inst) -> (String, &'i [Value]) {
        let mut used = 0;
        let places: Vec<String> = index
            .iter()
            .map(|i| match i {
                Index::Dim(d) => self.dim(*d).to_string(),
                Index::Value => {
                    used += 1;
                    inst.args.get(used - 1).map_or("?".into(), |v| format!("%{}", v.0))
                }
            })
            .collect();
        (format!("{}[{}]", self.param_name(p), places.join(", ")), inst.args.get(used..).unwrap_or_default())
    }

    fn param_name(&self, p: ParamId) -> &str {
        at(&self.names.params, p.index())
    }

    fn for_loop(&mut self, inst: &Inst, it: &Loop) {
        let empty = Region::default();
        let body = inst.regions.last().unwrap_or(&empty);
        let LoopArgs { range, bounds, row, inits } = match self.parts(inst, it) {
            Some(parts) => parts,
            None => LoopArgs { range: None, bounds: None, row: &[], inits: &inst.args },
        };
        let pair = |(lo, hi): (Value, Value)| format!("%{}..%{}", lo.0, hi.0);
        let mut args = body.args.iter();
        match it.over {
            Over::Walk(d) => self.out += &format!("for {}", self.walk(d)),
            Over::Range => {
                let n = args.next().map_or("?".into(), |v| self.define(*v));
                self.out += &format!("for {n} in {}", range.map_or("?".into(), pair));
            }
        }
        if it.bounds {
            self.out += &format!(" bounds {}", bounds.map_or("?".into(), pair));
        }
        if let Some(mask) = it.list {
            self.out += &format!(" list {}[{}]", self.param_name(mask), values(row));
        }
        let carried: Vec<String> =
            args.zip(inits).map(|(arg, init)| format!("{} = %{}", self.define(*arg), init.0)).collect();
        if !carried.is_empty() {
            self.out += &format!(" carry ({})", carried.join(", "));
        }
        if let (true, Some(guard)) = (it.guard, inst.regions.first()) {
            let args: Vec<String> = guard.args.iter().map(|v| self.define(*v)).collect();
            let args = if args.is_empty() { String::new() } else { format!("({}) ", args.join(", ")) };
            self.out += &format!(" where {args}{{");
            self.region(guard);
            self.out += "} do";
        }
        self.out += " {";
        self.region(body);
        self.out += "}";
    }

    /// The operands by what they are for, if there are enough of them.
    fn parts<'i>(&self, inst: &'i Inst, it: &Loop) -> Option<LoopArgs<'i>> {
        let row = match it.list {
            Some(mask) if mask.index() >= self.func.params.len() => return None,
            Some(mask) => self.func.axes(mask).len().checked_sub(1)?,
            None => 0,
        };
        let fixed = 2 * usize::from(it.over == Over::Range) + 2 * usize::from(it.bounds) + row;
        if inst.args.len() < fixed { None } else { inst.loop_args(self.func) }
    }

    fn branch(&mut self, inst: &Inst) {
        self.out += &format!("if {}", values(&inst.args));
        for (n, region) in inst.regions.iter().enumerate() {
            self.out += if n == 0 { " {" } else { " else {" };
            self.region(region);
            self.out += "}";
        }
    }
}

fn values(values: &[Value]) -> String {
    values.iter().map(|v| format!("%{}", v.0)).collect::<Vec<_>>().join(", ")
}

/// Exact: the shortest decimal that reads back as the same number of its dtype.
fn scalar(dtype: DType, x: Scalar) -> String {
    match x {
        Scalar::Bool(b) => b.to_string(),
        Scalar::Int(n) => n.to_string(),
        Scalar::Float(x) if x.is_nan() => "nan".into(),
        Scalar::Float(x) if dtype == DType::F32 && f64::from(x as f32) == x => format!("{:?}", x as f32),
        Scalar::Float(x) => format!("{x:?}"),
    }
}
