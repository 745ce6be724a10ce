//! Tile IR → Cranelift IR: plans a function, lays its tiles out, and emits it step by step. What lane groups can do is
//! `vector.rs`'s business and that of its neighbours.

mod access;
mod cost;
mod eval;
mod facts;
mod group;
mod hoisted;
mod lines;
mod lives;
mod masks;
mod nest;
mod plan;
mod product;
mod product_step;
mod regions;
mod report;
mod rows;
mod sharing;
mod storage;
mod wide;
mod words;

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, Function, InstBuilder, UserFuncName, types};
use cranelift_frontend::FunctionBuilderContext;
use pantile_diag::Span;
use pantile_ir::{Axis, DType, DimId, ExtentId, Func, GridAxis, Inst, Op, OrderId, ParamKind, Value};

pub use storage::CROWDED;
pub use words::Words;

use crate::hoist::{Count, Site};
use crate::jit::{Entry, Jit};
use crate::kernel::{Options, Timings};
use crate::vector::{ACCESS, Lanes, Width};
use crate::{Emit, Limit, vector};
use eval::Frame;
use facts::Facts;
use plan::Plan;
use storage::{Storage, Tile};

/// Machine code of a kernel, and what is to be known about it.
pub struct Lowered {
    /// The code.
    pub entry: Entry,
    /// Size of the arena of a thread.
    pub arena_bytes: usize,
    /// What each fault means.
    pub sites: Vec<(String, Span)>,
    /// Operands whose blocks can be made ready once.
    pub hoists: Vec<Site>,
    /// Where time went.
    pub timings: Timings,
}

/// Compiles one variant of a kernel: `dense` says which parameters have neighbouring elements along their last axis.
///
/// # Errors
/// What is too large, or what Cranelift refuses.
pub fn lower(func: &Func, options: &Options, dense: &[bool]) -> Result<Lowered, Limit> {
    let started = Instant::now();
    let facts = Facts::new(func, options.checks, dense);
    let plan = Plan::new(&facts);
    let storage = Storage::new(&facts, &plan)?;
    let planned = started.elapsed();

    let mut jit = Jit::new(options.keep_clif, options.features)?;
    let params = [types::I64, types::I64, types::I64, types::I64];
    let signature = jit.signature(&params, &[types::I64]);
    let mut code = Function::with_name_signature(UserFuncName::default(), signature);
    let mut context = FunctionBuilderContext::new();
    let config = jit.frontend_config();
    let mut lower = Lower {
        e: Emit::new(&mut code, &mut context),
        jit: &mut jit,
        facts: &facts,
        plan: &plan,
        storage: &storage,
        words: Words::new(func),
        scalars: HashMap::new(),
        blocks: HashMap::new(),
        frame: Frame::default(),
        sites: Vec::new(),
        hoists: Vec::new(),
        loops: Vec::new(),
        fault: None,
        streamed: HashSet::new(),
        streams: false,
    };
    lower.function()?;
    let Lower { e, sites, hoists, .. } = lower;
    e.finish(config);
    let name = if func.name.is_empty() { "kernel" } else { &func.name };
    let id = jit.define(name, code)?;
    let codegen = jit.spent();
    let entry = Entry::new(jit.finish()?, id);
    let emit = started.elapsed().saturating_sub(planned + codegen);
    let timings = Timings { plan: planned, emit, codegen };
    let arena_bytes = usize::try_from(storage.bytes).map_err(|_| Limit::new("the arena exceeds the address space"))?;
    Ok(Lowered { entry, arena_bytes, sites, hoists, timings })
}

/// The block that currently defines a dim.
#[derive(Clone, Copy)]
struct Block {
    /// Its number.
    index: ir::Value,
    /// Its first position in the walk.
    start: ir::Value,
    /// Its valid lanes.
    len: ir::Value,
}

/// The state of emission.
struct Lower<'x, 'f> {
    e: Emit<'x>,
    jit: &'x mut Jit,
    facts: &'x Facts<'f>,
    plan: &'x Plan<'x, 'f>,
    storage: &'x Storage,
    words: Words,
    scalars: HashMap<Value, Lanes>,
    blocks: HashMap<DimId, Block>,
    frame: Frame,
    sites: Vec<(String, Span)>,
    hoists: Vec<Site>,
    /// The trips of the loops around the current step.
    loops: Vec<Count>,
    fault: Option<ir::Block>,
    /// Stores of the loop under way that may go around the caches.
    streamed: HashSet<ir::Inst>,
    /// Whether any store may have.
    streams: bool,
}

impl<'f> Lower<'_, 'f> {
    fn func(&self) -> &'f Func {
        self.facts.func
    }

    fn function(&mut self) -> Result<(), Limit> {
        let func = self.func();
        for param in &func.params {
            if let ParamKind::Scalar(dtype, value) = param.kind {
                let id = func.params.iter().position(|p| std::ptr::eq(p, param)).unwrap_or(0);
                let offset = self.words.param(pantile_ir::ParamId(id as u32), 0);
                let words = self.e.param(0);
                let lanes = vector::load(&mut self.e, dtype, Width::One, words, offset);
                self.scalars.insert(value, lanes);
            }
        }
        let zero = self.e.int(0);
        for n in 0..func.dims.len() {
            let dim = DimId(n as u32);
            if func.dim(dim).whole || func.dim(dim).over.is_none() {
                self.bind(dim, zero);
            }
        }
        let first = self.e.param(2);
        let cells = self.e.param(3);
        let end = self.e.ins().iadd(first, cells);
        let cell = self.e.open_outer(first, end, &[]);
        let mut rest = cell.index;
        for axis in &func.grid {
            let count = match axis {
                GridAxis::Walk(dim) => self.block_count(*dim),
                GridAxis::Each(axis, _) => self.axis_size(*axis),
            };
            let index = self.e.ins().urem(rest, count);
            rest = self.e.ins().udiv(rest, count);
            match axis {
                GridAxis::Walk(dim) => self.bind(*dim, index),
                GridAxis::Each(_, value) => {
                    self.scalars.insert(*value, Lanes::one(DType::I64, index));
                }
            }
        }
        let plan = self.plan;
        self.region(&plan.body)?;
        self.e.close(cell, 1, &[]);
        let fine = self.e.int(0);
        self.leave(fine);
        if let Some(fault) = self.fault {
            let site = self.e.enter(fault)[0];
            self.leave(site);
        }
        Ok(())
    }

    /// Returns, once what was stored around the caches is where others see it.
    fn leave(&mut self, with: ir::Value) {
        if self.streams {
            self.e.ins().fence();
        }
        self.e.ins().return_(&[with]);
    }

    /// A word of the launch.
    fn word(&mut self, offset: i32) -> ir::Value {
        let words = self.e.param(0);
        self.e.ins().load(types::I64, ACCESS, words, offset)
    }

    /// Makes `index` the current block of a dim.
    fn bind(&mut self, dim: DimId, index: ir::Value) {
        let d = self.func().dim(dim);
        let start = if d.whole || d.over.is_none() { self.e.int(0) } else { self.times(index, d.size) };
        let len = if self.facts.is_full(dim) {
            self.e.int(d.size)
        } else if d.order.is_some() {
            let lens = self.word(self.words.table(dim, 2));
            let at = self.e.ins().ishl_imm_u(index, 2);
            let at = self.e.ins().iadd(lens, at);
            self.e.ins().sload32(ACCESS, at, 0)
        } else {
            let length = self.walk_length(dim);
            let left = self.e.ins().isub(length, start);
            let size = self.e.int(d.size);
            self.e.ins().smin(left, size)
        };
        self.blocks.insert(dim, Block { index, start, len });
    }

    /// The valid lanes of a dim's current block.
    fn len(&mut self, dim: DimId) -> ir::Value {
        match self.blocks.get(&dim) {
            Some(block) => block.len,
            None => self.e.int(0),
        }
    }

    /// An i64 multiplied by a constant.
    fn times(&mut self, x: ir::Value, factor: i64) -> ir::Value {
        match factor {
            0 => self.e.int(0),
            1 => x,
            f if f > 0 && f.count_ones() == 1 => self.e.ins().ishl_imm_u(x, i64::from(f.trailing_zeros())),
            f => self.e.ins().imul_imm_s(x, f),
        }
    }

    fn extent(&mut self, extent: ExtentId) -> ir::Value {
        match self.func().extents[extent.index()].known {
            Some(n) => self.e.int(n),
            None => self.word(self.words.extent(extent)),
        }
    }

    fn walk_length(&mut self, dim: DimId) -> ir::Value {
        let d = self.func().dim(dim);
        match (d.order, d.over) {
            (Some(order), _) => self.e.int(self.func().orders[order.index()].len),
            (None, Some(extent)) => self.extent(extent),
            (None, None) => self.e.int(d.size),
        }
    }

    fn ceil_div(&mut self, x: ir::Value, by: i64) -> ir::Value {
        let up = self.e.ins().iadd_imm_s(x, by - 1);
        if by.count_ones() == 1 {
            return self.e.ins().ushr_imm_u(up, i64::from(by.trailing_zeros()));
        }
        let by = self.e.int(by);
        self.e.ins().udiv(up, by)
    }

    fn block_count(&mut self, dim: DimId) -> ir::Value {
        let length = self.walk_length(dim);
        self.ceil_div(length, self.func().dim(dim).size)
    }

    /// The number of places along an axis.
    fn axis_size(&mut self, axis: Axis) -> ir::Value {
        let extent = &self.func().extents[axis.extent.index()];
        match (axis.by, extent.order) {
            (None, _) => self.extent(axis.extent),
            (Some(by), Some(order)) => {
                let length = self.func().orders[order.index()].len;
                self.e.int(length.div_euclid(by) + i64::from(length.rem_euclid(by) != 0))
            }
            (Some(by), None) => {
                let length = self.extent(axis.extent);
                self.ceil_div(length, by)
            }
        }
    }

    fn order_table(&mut self, order: OrderId) -> (ir::Value, i64) {
        let table = self.word(self.words.order(order));
        (table, self.func().orders[order.index()].len)
    }

    /// Stops the kernel unless `fine` holds.
    fn check(&mut self, fine: ir::Value, message: impl Into<String>, span: Span) {
        let fault = match self.fault {
            Some(block) => block,
            None => self.e.block(&[types::I64]),
        };
        self.fault = Some(fault);
        let site = (message.into(), span);
        let number = self.sites.iter().position(|s| *s == site).unwrap_or_else(|| {
            self.sites.push(site);
            self.sites.len() - 1
        });
        let code = self.e.int(number as i64 + 1);
        let go_on = self.e.block(&[]);
        self.e.branch(fine, go_on, &[], fault, &[code]);
        self.e.enter(go_on);
    }

    /// Stops the kernel unless `0 <= index < size`, where that is not plain.
    fn check_index(&mut self, value: Value, index: ir::Value, axis: Axis, span: Span, what: &str) {
        if self.stays_inside(value, axis) {
            return;
        }
        let size = self.axis_size(axis);
        let fine = self.e.ins().icmp(IntCC::UnsignedLessThan, index, size);
        let name = &self.func().extents[axis.extent.index()].name;
        let by = axis.by.map_or(String::new(), |by| format!(" by {by}"));
        self.check(fine, format!("an index into `{what}` is outside of `{name}{by}`"), span);
    }

    fn stays_inside(&self, value: Value, axis: Axis) -> bool {
        let func = self.func();
        let each = |g: &GridAxis| matches!(g, GridAxis::Each(a, v) if *v == value && *a == axis);
        if func.grid.iter().any(each) {
            return true;
        }
        match self.facts.defs[value.index()].map(|inst| &inst.op) {
            Some(Op::Const(_, pantile_ir::Scalar::Int(n))) => {
                axis.by.is_none() && func.extents[axis.extent.index()].known.is_some_and(|size| (0..size).contains(n))
            }
            Some(Op::BlockIndex(dim)) => {
                let d = func.dim(*dim);
                d.over == Some(axis.extent)
                    && axis.by == Some(d.size)
                    && d.order == func.extents[axis.extent.index()].order
            }
            Some(_) | None => false,
        }
    }

    /// The tile that a stored value lies in.
    fn tile(&self, value: Value) -> Result<&Tile, Limit> {
        self.storage.tile(value).ok_or_else(|| self.bug(format!("value {} has no place in the arena", value.0)))
    }

    /// The address of a tile.
    fn tile_address(&mut self, offset: i64) -> ir::Value {
        let arena = self.e.param(1);
        if offset == 0 { arena } else { self.e.ins().iadd_imm_s(arena, offset) }
    }

    /// A scalar's element.
    fn scalar(&mut self, value: Value) -> Result<Lanes, Limit> {
        if let Some(lanes) = self.scalars.get(&value) {
            return Ok(*lanes);
        }
        match self.facts.defs[value.index()].map(|inst| &inst.op) {
            Some(Op::Const(dtype, scalar)) => Ok(vector::constant(&mut self.e, *dtype, *scalar, Width::One)),
            Some(_) | None => Err(self.bug(format!("scalar {} is read before it is there", value.0))),
        }
    }

    /// What only a defect of the compiler can cause.
    fn bug(&self, what: impl std::fmt::Display) -> Limit {
        Limit::new(format!("defect of the compiler in `{}`: {what}", self.func().name))
    }

    fn stored(&self) -> &HashSet<Value> {
        &self.plan.choices.stored
    }

    fn result_of(inst: &Inst) -> Value {
        inst.results[0]
    }
}
