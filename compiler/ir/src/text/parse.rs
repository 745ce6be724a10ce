//! Reads a function: signature, tables, grid, body. It resolves names and numbers; whether the result makes sense is
//! for the verifier to say.

use std::collections::HashMap;

use pantile_diag::Span;

use super::lex::{Name, Token, lex};
use super::{ParseError, UNDEFINED};
use crate::{
    Axis, DType, Dim, DimId, Extent, ExtentId, Func, GridAxis, Order, OrderBody, OrderId, Param, ParamId, ParamKind,
    Table, Type, Value,
};

/// Reads the text form of a function.
///
/// # Errors
/// The first thing that cannot be read.
pub fn parse(text: &str) -> Result<Func, ParseError> {
    let tokens = lex(text)?;
    let mut p = Parser { tokens: &tokens, at: 0, depth: 0, func: Func::default(), rows: Rows::default() };
    p.func()?;
    if p.at < tokens.len() { p.fail("nothing may follow the kernel") } else { Ok(p.func) }
}

pub(super) type Read<T> = Result<T, ParseError>;

/// Deepest nesting of regions, so that no text exhausts the stack.
pub(super) const MAX_DEPTH: usize = 100;

pub(super) struct Parser<'t> {
    pub tokens: &'t [(Token, usize)],
    pub at: usize,
    pub depth: usize,
    pub func: Func,
    rows: Rows,
}

/// Where each written name stands in its table.
#[derive(Default)]
struct Rows {
    extents: HashMap<Name, u32>,
    dims: HashMap<Name, u32>,
    orders: HashMap<Name, u32>,
    params: HashMap<Name, u32>,
}

impl Parser<'_> {
    /// An error at the token that stands here.
    pub(super) fn fail<T>(&self, message: impl Into<String>) -> Read<T> {
        self.fail_at(self.at, message)
    }

    fn fail_at<T>(&self, at: usize, message: impl Into<String>) -> Read<T> {
        let line = self.tokens.get(at).or(self.tokens.last()).map_or(1, |(_, line)| *line);
        Err(ParseError { line, message: message.into() })
    }

    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    /// Takes a sign if it stands here.
    pub(super) fn has(&mut self, sign: &str) -> bool {
        let here = matches!(self.peek(), Some(Token::Sign(s)) if *s == sign);
        self.at += usize::from(here);
        here
    }

    /// Takes a word if it stands here.
    pub(super) fn has_word(&mut self, word: &str) -> bool {
        let here = matches!(self.peek(), Some(Token::Word((w, 0))) if w == word);
        self.at += usize::from(here);
        here
    }

    pub(super) fn sign(&mut self, sign: &str) -> Read<()> {
        if self.has(sign) { Ok(()) } else { self.fail(format!("`{sign}` expected")) }
    }

    pub(super) fn keyword(&mut self, word: &str) -> Read<()> {
        if self.has_word(word) { Ok(()) } else { self.fail(format!("`{word}` expected")) }
    }

    /// A name, bare or quoted.
    fn name(&mut self) -> Read<Name> {
        match self.peek() {
            Some(Token::Word(name) | Token::Quoted(name)) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => self.fail("a name expected"),
        }
    }

    pub(super) fn word(&mut self) -> Read<String> {
        match self.peek() {
            Some(Token::Word((word, 0))) => {
                let word = word.clone();
                self.at += 1;
                Ok(word)
            }
            _ => self.fail("a word expected"),
        }
    }

    pub(super) fn quoted(&mut self) -> Read<String> {
        match self.peek() {
            Some(Token::Quoted((text, 0))) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            _ => self.fail("a text in quotes expected"),
        }
    }

    pub(super) fn value(&mut self) -> Read<Value> {
        match self.peek() {
            Some(Token::Value(n)) => {
                let value = Value(*n);
                self.at += 1;
                Ok(value)
            }
            _ => self.fail("a value expected"),
        }
    }

    fn param_name(&mut self) -> Read<Name> {
        match self.peek() {
            Some(Token::Param(name)) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => self.fail("a parameter expected"),
        }
    }

    fn integer(&mut self) -> Read<i64> {
        let at = self.at;
        match self.word()?.parse() {
            Ok(n) => Ok(n),
            Err(_) => {
                self.at = at;
                self.fail("an integer expected")
            }
        }
    }

    pub(super) fn dtype(&mut self) -> Read<DType> {
        let at = self.at;
        match self.word()?.parse() {
            Ok(dtype) => Ok(dtype),
            Err(()) => {
                self.at = at;
                self.fail("a dtype expected")
            }
        }
    }

    fn row(&self, rows: &HashMap<Name, u32>, name: &Name, what: &str) -> Read<u32> {
        match rows.get(name) {
            Some(row) => Ok(*row),
            // The name has been taken already.
            None => self.fail_at(self.at - 1, format!("no {what} is called `{}`", show(name))),
        }
    }

    pub(super) fn dim(&mut self) -> Read<DimId> {
        let name = self.name()?;
        self.row(&self.rows.dims, &name, "dim").map(DimId)
    }

    pub(super) fn extent(&mut self) -> Read<ExtentId> {
        let name = self.name()?;
        self.row(&self.rows.extents, &name, "extent").map(ExtentId)
    }

    pub(super) fn param(&mut self) -> Read<ParamId> {
        let name = self.param_name()?;
        self.row(&self.rows.params, &name, "parameter").map(ParamId)
    }

    /// `{i, j}`.
    pub(super) fn dims(&mut self) -> Read<Vec<DimId>> {
        self.sign("{")?;
        self.list("}", Self::dim)
    }

    /// Items between commas, up to and with a closing sign.
    pub(super) fn list<T>(&mut self, close: &str, mut item: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let mut items = Vec::new();
        if self.has(close) {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.has(close) {
                return Ok(items);
            }
            self.sign(",")?;
        }
    }

    /// `f32` or `tile<f32>{i, j}`.
    pub(super) fn ty(&mut self) -> Read<Type> {
        if !self.has_word("tile") {
            return self.dtype().map(Type::Scalar);
        }
        self.sign("<")?;
        let dtype = self.dtype()?;
        self.sign(">")?;
        self.dims().map(|dims| Type::Tile(dtype, dims))
    }

    /// `%7: f32`: gives the value its type.
    pub(super) fn define(&mut self) -> Read<Value> {
        let value = self.value()?;
        self.sign(":")?;
        let ty = self.ty()?;
        self.set_type(value, ty);
        Ok(value)
    }

    fn set_type(&mut self, value: Value, ty: Type) {
        if self.func.types.len() <= value.index() {
            self.func.types.resize(value.index() + 1, UNDEFINED);
        }
        self.func.types[value.index()] = ty;
    }

    fn func(&mut self) -> Read<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.fail("nested too deep");
        }
        self.keyword("kernel")?;
        self.sign("@")?;
        self.func.name = self.name()?.0;
        // The signature names rows of tables that stand after it.
        let signature = self.at;
        self.skip_group()?;
        self.sign("->")?;
        self.skip_group()?;
        self.tables()?;
        let tables_end = std::mem::replace(&mut self.at, signature);
        self.params(false)?;
        self.sign("->")?;
        self.params(true)?;
        self.at = tables_end;
        self.keyword("grid")?;
        self.sign("(")?;
        self.func.grid = self.list(")", Self::grid_axis)?;
        self.func.body = self.region(Vec::new())?;
        self.depth -= 1;
        Ok(())
    }

    fn skip_group(&mut self) -> Read<()> {
        self.sign("(")?;
        let mut open = 1;
        while open > 0 {
            match self.peek() {
                Some(Token::Sign("(")) => open += 1,
                Some(Token::Sign(")")) => open -= 1,
                Some(_) => {}
                None => return self.fail("`)` expected"),
            }
            self.at += 1;
        }
        Ok(())
    }

    fn tables(&mut self) -> Read<()> {
        loop {
            if self.has_word("const") {
                let name = self.name()?.0;
                self.sign("=")?;
                let value = self.name()?.0;
                self.func.consts.push((name, value));
            } else if self.has_word("order") {
                self.order()?;
            } else if self.has_word("extent") {
                let name = self.name()?;
                let known = if self.has("=") { Some(self.integer()?) } else { None };
                let order = self.via()?;
                self.rows.extents.insert(name.clone(), self.func.extents.len() as u32);
                self.func.extents.push(Extent { name: name.0, known, order });
            } else if self.has_word("dim") {
                self.dim_row()?;
            } else {
                return Ok(());
            }
        }
    }

    fn order(&mut self) -> Read<()> {
        let key = self.name()?;
        let name = self.quoted()?;
        self.keyword("len")?;
        let len = self.integer()?;
        let holes = self.has_word("holes");
        let fill = if self.has_word("table") {
            OrderBody::Table(self.table()?)
        } else {
            OrderBody::Kernel(self.fill_kernel()?)
        };
        self.rows.orders.insert(key, self.func.orders.len() as u32);
        self.func.orders.push(Order { name, len, holes, fill });
        Ok(())
    }

    fn fill_kernel(&mut self) -> Read<Box<Func>> {
        let mut inner = Parser {
            tokens: self.tokens,
            at: self.at,
            depth: self.depth,
            func: Func::default(),
            rows: Rows::default(),
        };
        inner.func()?;
        self.at = inner.at;
        Ok(Box::new(inner.func))
    }

    /// `[2, 0, -1]`.
    fn table(&mut self) -> Read<Table> {
        let start = self.at;
        self.sign("[")?;
        let mut elements = Vec::new();
        while !self.has("]") {
            let at = self.at;
            match i32::try_from(self.integer()?) {
                Ok(element) => elements.push(element),
                Err(_) => return self.fail_at(at, "an element fits in i32"),
            }
            if !self.has(",") {
                self.sign("]")?;
                break;
            }
        }
        Table::new(elements).or_else(|why| self.fail_at(start, why.to_string()))
    }

    fn via(&mut self) -> Read<Option<OrderId>> {
        if !self.has_word("via") {
            return Ok(None);
        }
        let name = self.name()?;
        self.row(&self.rows.orders, &name, "order").map(|o| Some(OrderId(o)))
    }

    /// `dim i: N by 128 whole via walk`, `dim j: N by 128 full`, or `dim a: 4`.
    fn dim_row(&mut self) -> Read<()> {
        let name = self.name()?;
        self.sign(":")?;
        let by_follows = matches!(self.tokens.get(self.at + 1), Some((Token::Word((w, 0)), _)) if w == "by");
        let over = if by_follows { Some(self.extent()?) } else { None };
        self.at += usize::from(by_follows);
        let size = self.integer()?;
        let whole = self.has_word("whole");
        let full = !whole && self.has_word("full");
        let order = self.via()?;
        self.rows.dims.insert(name.clone(), self.func.dims.len() as u32);
        self.func.dims.push(Dim { name: name.0, size, over, order, whole, full });
        Ok(())
    }

    fn params(&mut self, out: bool) -> Read<()> {
        self.sign("(")?;
        let params = self.list(")", |p| {
            let name = p.param_name()?;
            p.sign(":")?;
            let kind = p.param_kind()?;
            Ok((name, kind))
        })?;
        for (name, kind) in params {
            self.rows.params.insert(name.clone(), self.func.params.len() as u32);
            self.func.params.push(Param { name: name.0, kind, out, span: Span::default() });
        }
        Ok(())
    }

    fn param_kind(&mut self) -> Read<ParamKind> {
        if self.has_word("mask") {
            self.sign("[")?;
            return self.list("]", Self::axis).map(ParamKind::Mask);
        }
        if self.has_word("tensor") {
            self.sign("<")?;
            let dtype = self.dtype()?;
            self.sign(">")?;
            self.sign("[")?;
            return self.list("]", Self::axis).map(|axes| ParamKind::Tensor(dtype, axes));
        }
        let dtype = self.dtype()?;
        self.sign("=")?;
        let value = self.value()?;
        self.set_type(value, Type::Scalar(dtype));
        Ok(ParamKind::Scalar(dtype, value))
    }

    fn axis(&mut self) -> Read<Axis> {
        let extent = self.extent()?;
        let by = if self.has_word("by") { Some(self.integer()?) } else { None };
        Ok(Axis { extent, by })
    }

    fn grid_axis(&mut self) -> Read<GridAxis> {
        if matches!(self.peek(), Some(Token::Value(_))) {
            let value = self.define()?;
            self.keyword("in")?;
            return self.axis().map(|axis| GridAxis::Each(axis, value));
        }
        self.walk().map(GridAxis::Walk)
    }

    /// `i in N by 128`; what follows the name must agree with the dim's row.
    pub(super) fn walk(&mut self) -> Read<DimId> {
        let d = self.dim()?;
        self.keyword("in")?;
        let over = self.extent()?;
        self.keyword("by")?;
        let size = self.integer()?;
        let row = self.func.dim(d);
        if row.over == Some(over) && row.size == size {
            return Ok(d);
        }
        self.fail(format!("dim `{}` has another extent or size in its row above", row.name))
    }
}

fn show(name: &Name) -> String {
    if name.1 == 0 { name.0.clone() } else { format!("{}'{}", name.0, name.1) }
}
