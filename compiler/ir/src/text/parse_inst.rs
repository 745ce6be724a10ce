//! Reads regions and instructions, one arm an op.

use pantile_diag::Span;

use super::lex::Token;
use super::parse::{MAX_DEPTH, Parser, Read};
use crate::{
    ArgOp, BinaryOp, DType, Index, Inst, Kind, Loop, Op, Over, ReduceOp, Region, Scalar, ScanOp, StoreMode, UnaryOp,
    Value, eval,
};

impl Parser<'_> {
    /// `{ instructions; yield … }`.
    pub(super) fn region(&mut self, args: Vec<Value>) -> Read<Region> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.fail("nested too deep");
        }
        self.sign("{")?;
        let mut region = Region { args, ..Region::default() };
        loop {
            if self.has("}") {
                break;
            }
            if self.has_word("yield") {
                region.yields = self.values()?;
                self.sign("}")?;
                break;
            }
            let inst = self.inst()?;
            region.insts.push(inst);
        }
        self.depth -= 1;
        Ok(region)
    }

    /// Values between commas; none if no value stands here, or one that the next instruction defines.
    fn values(&mut self) -> Read<Vec<Value>> {
        let mut values = Vec::new();
        let defines = matches!(self.tokens.get(self.at + 1), Some((Token::Sign(":"), _)));
        if defines || !matches!(self.peek(), Some(Token::Value(_))) {
            return Ok(values);
        }
        loop {
            values.push(self.value()?);
            if !self.has(",") {
                return Ok(values);
            }
        }
    }

    fn inst(&mut self) -> Read<Inst> {
        let mut results = Vec::new();
        while matches!(self.peek(), Some(Token::Value(_))) {
            results.push(self.define()?);
            if !self.has(",") {
                self.sign("=")?;
                break;
            }
        }
        let at = self.at;
        let word = self.word()?;
        let (op, args, regions) = match word.as_str() {
            "for" => self.for_loop()?,
            "if" => self.branch()?,
            "load" | "store" | "mask_get" | "mask_put" => {
                let (op, args) = self.access(&word)?;
                (op, args, Vec::new())
            }
            word => {
                let dtype = results.first().map(|v| self.func.ty(*v).dtype());
                let Some(op) = self.flat(word, dtype)? else {
                    self.at = at;
                    return self.fail(format!("there is no op `{word}`"));
                };
                (op, self.values()?, Vec::new())
            }
        };
        Ok(Inst { op, args, results, regions, span: Span::default() })
    }

    /// An op whose operands follow its attributes.
    fn flat(&mut self, word: &str, result: Option<DType>) -> Read<Option<Op>> {
        let op = match word {
            "const" => self.constant(result)?,
            "extent" => Op::Extent(self.extent()?),
            "order_at" => Op::OrderAt(self.extent()?),
            "block_index" => Op::BlockIndex(self.dim()?),
            "block_len" => Op::BlockLen(self.dim()?),
            "pos" => Op::Pos(self.dim()?),
            "at" => Op::At(self.dim()?),
            "valid" => Op::Valid(self.dim()?),
            "select" => Op::Select,
            "cast" => Op::Cast(self.dtype()?),
            "random" => Op::Random,
            "broadcast" => Op::Broadcast(self.over_dims()?),
            "dot" => Op::Dot(self.over_dims()?),
            "reduce" => {
                let Ok(op) = self.word()?.parse::<ReduceOp>() else { return self.fail("a reduction expected") };
                Op::Reduce(op, self.over_dims()?)
            }
            "sort" => {
                let descending = self.has_word("descending");
                Op::Sort { dim: self.over_dim()?, descending }
            }
            "kth_largest" => Op::KthLargest(self.over_dim()?),
            "gather" => Op::Gather(self.over_dim()?),
            "split" => {
                let from = self.dim()?;
                self.keyword("into")?;
                Op::Split { from, into: self.dims()? }
            }
            "merge" => {
                let from = self.dims()?;
                self.keyword("into")?;
                Op::Merge { from, into: self.dim()? }
            }
            "print" => Op::Print(self.quoted()?),
            "assert" => Op::Assert(self.quoted()?),
            word => return self.row_of_table(word),
        };
        Ok(Some(op))
    }

    fn row_of_table(&mut self, word: &str) -> Read<Option<Op>> {
        if let Ok(op) = word.parse::<UnaryOp>() {
            return Ok(Some(Op::Unary(op)));
        }
        if let Ok(op) = word.parse::<BinaryOp>() {
            return Ok(Some(Op::Binary(op)));
        }
        if let Ok(op) = word.parse::<ArgOp>() {
            return Ok(Some(Op::ArgReduce(op, self.over_dim()?)));
        }
        if let Ok(op) = word.parse::<ScanOp>() {
            return Ok(Some(Op::Scan(op, self.over_dim()?)));
        }
        Ok(None)
    }

    fn over_dim(&mut self) -> Read<crate::DimId> {
        self.keyword("over")?;
        self.dim()
    }

    fn over_dims(&mut self) -> Read<Vec<crate::DimId>> {
        self.keyword("over")?;
        self.dims()
    }

    fn constant(&mut self, dtype: Option<DType>) -> Read<Op> {
        let Some(dtype) = dtype else { return self.fail("a constant without a result") };
        let at = self.at;
        let word = self.word()?;
        let scalar = match dtype.kind() {
            Kind::Bool => word.parse().ok().map(Scalar::Bool),
            Kind::Signed | Kind::Unsigned => word.parse().ok().map(Scalar::Int),
            Kind::Float if dtype == DType::F32 => word.parse::<f32>().ok().map(|x| Scalar::Float(f64::from(x))),
            Kind::Float => word.parse().ok().map(|x| Scalar::Float(eval::round(dtype, x))),
        };
        match scalar {
            Some(scalar) => Ok(Op::Const(dtype, scalar)),
            None => {
                self.at = at;
                self.fail(format!("`{word}` is no constant of {dtype}"))
            }
        }
    }

    /// `load`, `store`, `mask_get`, `mask_put`.
    fn access(&mut self, word: &str) -> Read<(Op, Vec<Value>)> {
        let param = self.param()?;
        let mut args = Vec::new();
        self.sign("[")?;
        let index = self.list("]", |p| {
            if matches!(p.peek(), Some(Token::Value(_))) {
                args.push(p.value()?);
                return Ok(Index::Value);
            }
            p.dim().map(Index::Dim)
        })?;
        let op = match word {
            "load" => Op::Load(param, index),
            "mask_get" => {
                if index.iter().any(|i| *i != Index::Value) {
                    return self.fail("`mask_get` takes values only");
                }
                Op::MaskGet(param)
            }
            "mask_put" => {
                self.sign("=")?;
                args.push(self.value()?);
                Op::MaskPut(param, index)
            }
            _ => {
                let mode = self.store_mode()?;
                args.push(self.value()?);
                let masked = self.has_word("where");
                if masked {
                    args.push(self.value()?);
                }
                Op::Store { param, index, mode, masked }
            }
        };
        Ok((op, args))
    }

    fn store_mode(&mut self) -> Read<StoreMode> {
        if self.has("=") {
            return Ok(StoreMode::Set);
        }
        let atomic = self.has_word("atomic");
        self.sign("+=")?;
        Ok(if atomic { StoreMode::AtomicAdd } else { StoreMode::Add })
    }

    fn pair(&mut self, args: &mut Vec<Value>) -> Read<()> {
        args.push(self.value()?);
        self.sign("..")?;
        args.push(self.value()?);
        Ok(())
    }

    fn for_loop(&mut self) -> Read<(Op, Vec<Value>, Vec<Region>)> {
        let mut args = Vec::new();
        let mut body_args = Vec::new();
        let over = if matches!(self.peek(), Some(Token::Value(_))) {
            body_args.push(self.define()?);
            self.keyword("in")?;
            self.pair(&mut args)?;
            Over::Range
        } else {
            Over::Walk(self.walk()?)
        };
        let bounds = self.has_word("bounds");
        if bounds {
            self.pair(&mut args)?;
        }
        let list = if self.has_word("list") {
            let mask = self.param()?;
            self.sign("[")?;
            args.extend(self.list("]", Self::value)?);
            Some(mask)
        } else {
            None
        };
        if self.has_word("carry") {
            self.sign("(")?;
            let carried = self.list(")", |p| {
                let arg = p.define()?;
                p.sign("=")?;
                Ok((arg, p.value()?))
            })?;
            args.extend(carried.iter().map(|(_, init)| *init));
            body_args.extend(carried.iter().map(|(arg, _)| *arg));
        }
        let mut regions = Vec::new();
        let guard = self.has_word("where");
        if guard {
            let guard_args = if self.has("(") { self.list(")", Self::define)? } else { Vec::new() };
            regions.push(self.region(guard_args)?);
            self.keyword("do")?;
        }
        regions.push(self.region(body_args)?);
        Ok((Op::For(Loop { over, bounds, list, guard }), args, regions))
    }

    fn branch(&mut self) -> Read<(Op, Vec<Value>, Vec<Region>)> {
        let cond = self.value()?;
        let then = self.region(Vec::new())?;
        self.keyword("else")?;
        let otherwise = self.region(Vec::new())?;
        Ok((Op::If, vec![cond], vec![then, otherwise]))
    }
}
