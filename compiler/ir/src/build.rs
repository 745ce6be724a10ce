//! Builds the body of a [`Func`], one instruction after another. Types follow from `typing.rs`; nothing is simplified.

use pantile_diag::Span;

use crate::{DType, Func, Inst, Loop, Op, Region, Scalar, Type, Value, result_types};

/// Appends instructions to the innermost open region of a function.
pub struct Builder {
    /// The function under construction. Its `body` is filled by [`Builder::finish`].
    pub func: Func,
    /// The source that new instructions come from.
    pub span: Span,
    open: Vec<Region>,
}

impl Builder {
    /// Starts the body of `func`, which has its parameters, extents and grid already.
    pub fn new(func: Func) -> Self {
        Self { func, span: Span::default(), open: vec![Region::default()] }
    }

    /// Appends an op without regions; its result, or `None` for an op that has none.
    ///
    /// # Errors
    /// The typing rule that the operands break.
    pub fn try_push(&mut self, op: Op, args: &[Value]) -> Result<Option<Value>, String> {
        let types = result_types(&self.func, &op, args, &[])?;
        Ok(self.append(op, args.to_vec(), types, Vec::new()).first().copied())
    }

    /// Appends an op with one result.
    ///
    /// # Panics
    /// If the operands break its typing rule: callers have checked the source already.
    pub fn push(&mut self, op: Op, args: &[Value]) -> Value {
        match self.try_push(op.clone(), args) {
            Ok(Some(value)) => value,
            Ok(None) => panic!("{op:?} has no result"),
            Err(why) => panic!("{op:?}: {why}"),
        }
    }

    /// A constant.
    pub fn constant(&mut self, dtype: DType, value: Scalar) -> Value {
        self.push(Op::Const(dtype, value), &[])
    }

    /// An i64 constant.
    pub fn int(&mut self, value: i64) -> Value {
        self.constant(DType::I64, Scalar::Int(value))
    }

    /// Opens a region with arguments of the given types; instructions go there until it is closed.
    pub fn open(&mut self, args: &[Type]) -> Vec<Value> {
        let args: Vec<Value> = args.iter().map(|ty| self.func.new_value(ty.clone())).collect();
        self.open.push(Region { args: args.clone(), ..Region::default() });
        args
    }

    /// Closes the innermost region.
    pub fn close(&mut self, yields: Vec<Value>) -> Region {
        let mut region = self.open.pop().unwrap_or_default();
        region.yields = yields;
        region
    }

    /// Appends a loop whose regions have been built; `args` as [`Loop`] orders them.
    pub fn push_for(&mut self, it: Loop, args: &[Value], regions: Vec<Region>) -> Vec<Value> {
        let body = &regions[regions.len() - 1];
        let types = body.yields.iter().map(|v| self.func.ty(*v).clone()).collect();
        self.append(Op::For(it), args.to_vec(), types, regions)
    }

    /// Appends a conditional whose regions have been built.
    pub fn push_if(&mut self, cond: Value, then: Region, otherwise: Region) -> Vec<Value> {
        let types = then.yields.iter().map(|v| self.func.ty(*v).clone()).collect();
        self.append(Op::If, vec![cond], types, vec![then, otherwise])
    }

    /// The finished function.
    pub fn finish(mut self) -> Func {
        self.func.body = self.close(Vec::new());
        self.func
    }

    fn append(&mut self, op: Op, args: Vec<Value>, types: Vec<Type>, regions: Vec<Region>) -> Vec<Value> {
        let results: Vec<Value> = types.into_iter().map(|ty| self.func.new_value(ty)).collect();
        let inst = Inst { op, args, results: results.clone(), regions, span: self.span };
        if let Some(region) = self.open.last_mut() {
            region.insts.push(inst);
        }
        results
    }
}
