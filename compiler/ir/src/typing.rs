//! The typing rule of every op: operand types to result types, or what is wrong. Shared by builder, text parser and
//! verifier. Scopes (which dims are defined where) are `verify.rs`'s business.

use crate::{Axis, BinaryOp, Class, DType, DimId, Func, Index, Op, Over, ParamId, ParamKind, Type, Value};

/// The types of the results of `op` on `args`. `carried` are the types that the regions of `for` and `if` yield.
///
/// # Errors
/// One sentence that says which rule is broken.
pub fn result_types(func: &Func, op: &Op, args: &[Value], carried: &[Type]) -> Result<Vec<Type>, String> {
    let cx = Rule { func, args };
    let one = |ty: Type| Ok(vec![ty]);
    match op {
        Op::Const(dtype, _) => cx.arity(0).and(one(Type::Scalar(*dtype))),
        Op::Extent(_) | Op::BlockIndex(_) | Op::BlockLen(_) => cx.arity(0).and(one(Type::Scalar(DType::I64))),
        Op::Pos(d) | Op::At(d) => cx.arity(0).and(one(Type::tile(DType::I64, [*d]))),
        Op::Valid(d) => cx.arity(0).and(one(Type::tile(DType::Bool, [*d]))),
        Op::OrderAt(_) => {
            cx.arity(1)?;
            cx.dtype(0, DType::I64)?;
            one(cx.ty(0).clone())
        }
        Op::Unary(op) => {
            cx.arity(1)?;
            cx.class(0, op.class())?;
            one(cx.ty(0).clone())
        }
        Op::Binary(op) => cx.binary(*op).map(|ty| vec![ty]),
        Op::Select => {
            cx.arity(3)?;
            cx.dtype(0, DType::Bool)?;
            cx.same_dtype(1, 2)?;
            one(cx.union(cx.ty(1).dtype()))
        }
        Op::Cast(to) => cx.arity(1).and(one(cx.first()?.with(*to))),
        Op::Broadcast(dims) => {
            cx.arity(1)?;
            one(Type::tile(cx.ty(0).dtype(), cx.ty(0).dims().iter().chain(dims).copied()))
        }
        Op::Reduce(op, dims) => {
            cx.arity(1)?;
            cx.class(0, op.class())?;
            one(cx.without(0, dims)?)
        }
        Op::ArgReduce(op, d) => {
            cx.arity(1)?;
            cx.class(0, op.class())?;
            one(cx.without(0, &[*d])?.with(DType::I64))
        }
        Op::Scan(op, d) => {
            cx.arity(1)?;
            cx.class(0, op.class())?;
            cx.without(0, &[*d])?;
            one(cx.ty(0).clone())
        }
        Op::Sort { dim, .. } => {
            cx.arity(1)?;
            cx.class(0, Class::Number)?;
            cx.without(0, &[*dim])?;
            one(cx.ty(0).clone())
        }
        Op::KthLargest(d) => {
            cx.arity(2)?;
            cx.class(0, Class::Number)?;
            cx.scalar(1, DType::I64)?;
            one(cx.without(0, &[*d])?)
        }
        Op::Gather(d) => {
            cx.arity(2)?;
            cx.class(1, Class::Int)?;
            let rest = cx.without(0, &[*d])?;
            one(Type::tile(rest.dtype(), rest.dims().iter().chain(cx.ty(1).dims()).copied()))
        }
        Op::Dot(dims) => {
            cx.arity(2)?;
            cx.same_dtype(0, 1)?;
            cx.class(0, Class::Number)?;
            let (a, b) = (cx.without(0, dims)?, cx.without(1, dims)?);
            one(Type::tile(a.dtype().accumulator(), a.dims().iter().chain(b.dims()).copied()))
        }
        Op::Split { from, into } => {
            cx.arity(1)?;
            cx.sizes(&[*from], into)?;
            let rest = cx.without(0, &[*from])?;
            one(Type::tile(rest.dtype(), rest.dims().iter().chain(into).copied()))
        }
        Op::Merge { from, into } => {
            cx.arity(1)?;
            cx.sizes(from, &[*into])?;
            let rest = cx.without(0, from)?;
            one(Type::tile(rest.dtype(), rest.dims().iter().chain([into]).copied()))
        }
        Op::Random => {
            cx.arity(2)?;
            cx.dtype(0, DType::I64)?;
            cx.dtype(1, DType::I64)?;
            one(cx.union(DType::F32))
        }
        Op::Load(param, index) => {
            let ParamKind::Tensor(dtype, axes) = &func.param(*param).kind else {
                return Err(format!("`{}` is not a tensor", func.param(*param).name));
            };
            let (dims, used) = cx.index(axes, index, true)?;
            cx.arity(used)?;
            one(Type::tile(*dtype, dims))
        }
        Op::Store { param, index, masked, .. } => {
            let ParamKind::Tensor(dtype, axes) = &func.param(*param).kind else {
                return Err(format!("`{}` is not a tensor", func.param(*param).name));
            };
            cx.writable(*param)?;
            let (dims, used) = cx.index(axes, index, true)?;
            cx.arity(used + 1 + usize::from(*masked))?;
            cx.stored(used, *dtype, &dims)?;
            if *masked {
                cx.stored(used + 1, DType::Bool, &dims)?;
            }
            Ok(Vec::new())
        }
        Op::MaskGet(param) => {
            let axes = cx.mask(*param)?;
            cx.arity(axes.len())?;
            (0..axes.len()).try_for_each(|n| cx.scalar(n, DType::I64))?;
            one(Type::Scalar(DType::Bool))
        }
        Op::MaskPut(param, index) => {
            let axes = cx.mask(*param)?;
            cx.writable(*param)?;
            let (dims, used) = cx.index(axes, index, false)?;
            cx.arity(used + 1)?;
            match index.last() {
                Some(Index::Dim(d)) if func.dim(*d).whole => {}
                _ => return Err("a mask row is written whole: its last index must be the whole axis".into()),
            }
            cx.stored(used, DType::Bool, &dims)?;
            Ok(Vec::new())
        }
        Op::For(it) => {
            let rank = it.list.map_or(Ok(0), |mask| cx.mask(mask).map(|axes| axes.len() - 1))?;
            let fixed = 2 * usize::from(it.over == Over::Range) + 2 * usize::from(it.bounds) + rank;
            cx.arity(fixed + carried.len())?;
            (0..fixed).try_for_each(|n| cx.scalar(n, DType::I64))?;
            for (n, ty) in carried.iter().enumerate() {
                if cx.ty(fixed + n) != ty {
                    return Err(format!("carried value {n} starts as another type than the body yields"));
                }
            }
            Ok(carried.to_vec())
        }
        Op::If => {
            cx.arity(1)?;
            cx.scalar(0, DType::Bool)?;
            Ok(carried.to_vec())
        }
        Op::Print(_) => cx.arity(1).and(Ok(Vec::new())),
        Op::Assert(_) => {
            cx.arity(1)?;
            cx.dtype(0, DType::Bool)?;
            Ok(Vec::new())
        }
    }
}

/// The operands of one instruction, and the questions its rule asks of them.
struct Rule<'a> {
    func: &'a Func,
    args: &'a [Value],
}

impl<'a> Rule<'a> {
    fn ty(&self, n: usize) -> &'a Type {
        self.func.ty(self.args[n])
    }

    fn first(&self) -> Result<&'a Type, String> {
        self.args.first().map(|v| self.func.ty(*v)).ok_or_else(|| "an operand is missing".into())
    }

    fn arity(&self, want: usize) -> Result<(), String> {
        let got = self.args.len();
        if got == want { Ok(()) } else { Err(format!("takes {want} operands, not {got}")) }
    }

    fn class(&self, n: usize, class: Class) -> Result<(), String> {
        let dtype = self.ty(n).dtype();
        if class.admits(dtype) { Ok(()) } else { Err(format!("operand {n} must be {}, not {dtype}", class.describe())) }
    }

    fn dtype(&self, n: usize, want: DType) -> Result<(), String> {
        let got = self.ty(n).dtype();
        if got == want { Ok(()) } else { Err(format!("operand {n} must be {want}, not {got}")) }
    }

    fn scalar(&self, n: usize, want: DType) -> Result<(), String> {
        self.dtype(n, want)?;
        if self.ty(n).dims().is_empty() { Ok(()) } else { Err(format!("operand {n} must be a scalar")) }
    }

    fn same_dtype(&self, a: usize, b: usize) -> Result<(), String> {
        let (x, y) = (self.ty(a).dtype(), self.ty(b).dtype());
        if x == y { Ok(()) } else { Err(format!("operands {a} and {b} differ: {x} and {y}")) }
    }

    fn union(&self, dtype: DType) -> Type {
        Type::tile(dtype, self.args.iter().flat_map(|v| self.func.ty(*v).dims()).copied())
    }

    fn binary(&self, op: BinaryOp) -> Result<Type, String> {
        self.arity(2)?;
        self.same_dtype(0, 1)?;
        self.class(0, op.class())?;
        Ok(self.union(if op.is_comparison() { DType::Bool } else { self.ty(0).dtype() }))
    }

    fn without(&self, n: usize, gone: &[DimId]) -> Result<Type, String> {
        let ty = self.ty(n);
        match gone.iter().find(|d| !ty.dims().contains(d)) {
            Some(d) => Err(format!("operand {n} has no dim `{}`", self.func.dim(*d).name)),
            None => Ok(Type::tile(ty.dtype(), ty.dims().iter().copied().filter(|d| !gone.contains(d)))),
        }
    }

    fn sizes(&self, from: &[DimId], into: &[DimId]) -> Result<(), String> {
        let product = |dims: &[DimId]| dims.iter().map(|d| self.func.dim(*d).size).product::<i64>();
        if !from.iter().chain(into).all(|d| self.func.is_full(*d)) {
            return Err("only full dims can be split or merged".into());
        }
        if product(from) == product(into) { Ok(()) } else { Err("sizes do not multiply to the same number".into()) }
    }

    fn mask(&self, param: ParamId) -> Result<&'a [Axis], String> {
        match &self.func.param(param).kind {
            ParamKind::Mask(axes) => Ok(axes),
            ParamKind::Scalar(..) | ParamKind::Tensor(..) => {
                Err(format!("`{}` is not a mask", self.func.param(param).name))
            }
        }
    }

    fn writable(&self, param: ParamId) -> Result<(), String> {
        let p = self.func.param(param);
        if p.out { Ok(()) } else { Err(format!("`{}` is an input", p.name)) }
    }

    /// The dims that an index gives, and how many operands it takes.
    fn index(&self, axes: &[Axis], index: &[Index], tiles: bool) -> Result<(Vec<DimId>, usize), String> {
        if axes.len() != index.len() {
            return Err(format!("{} axes, but {} indices", axes.len(), index.len()));
        }
        let (mut dims, mut used) = (Vec::new(), 0);
        for (axis, index) in axes.iter().zip(index) {
            match index {
                Index::Dim(d) => {
                    let dim = self.func.dim(*d);
                    let whole_count = dim.over.is_some_and(|e| e == axis.extent) && axis.by.is_none();
                    if !whole_count {
                        return Err(format!("dim `{}` does not walk this axis", dim.name));
                    }
                    dims.push(*d);
                }
                Index::Value => {
                    let ty = self.args.get(used).map(|v| self.func.ty(*v)).ok_or("an index operand is missing")?;
                    if ty.dtype() != DType::I64 || (!tiles && !ty.dims().is_empty()) {
                        return Err(format!("index operand {used} must be an i64"));
                    }
                    dims.extend(ty.dims());
                    used += 1;
                }
            }
        }
        Ok((dims, used))
    }

    fn stored(&self, n: usize, dtype: DType, dims: &[DimId]) -> Result<(), String> {
        self.dtype(n, dtype)?;
        match self.ty(n).dims().iter().find(|d| !dims.contains(d)) {
            Some(d) => Err(format!("operand {n} has dim `{}`, which the index lacks", self.func.dim(*d).name)),
            None => Ok(()),
        }
    }
}
