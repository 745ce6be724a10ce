//! A kernel's own control flow: the grid, loops over walks and ranges, branches. What an instruction computes is emitted
//! elsewhere.

use pantile_ir::{GridAxis, Inst, Loop, Op, Over, ParamId, ParamKind, Region, Type, Value};

use super::infer::Kind;
use super::rings::Role;
use super::{Lower, Spread};
use crate::Limit;
use crate::element;
use crate::schedule::{RingId, place};
use crate::simt::{self, Binary, Compare, Convert, Space, Ty, Value as Reg};

impl<'f> Lower<'f> {
    /// The whole kernel: one block, one instance.
    pub(crate) fn kernel(&mut self) -> Result<(), Limit> {
        for param in &self.func.params {
            if let ParamKind::Scalar(dtype, value) = param.kind {
                let at = self.func.params.iter().position(|p| std::ptr::eq(p, param)).unwrap_or(0);
                let word = self.words.param(ParamId(at as u32), 0);
                let scalar = self.scalar_param(word, dtype);
                self.scope.scalars.insert(value, scalar);
            }
        }
        for (n, dim) in self.func.dims.iter().enumerate() {
            if dim.whole || dim.over.is_none() {
                let zero = self.b.i32(0);
                self.bind(pantile_ir::DimId(n as u32), zero);
            }
        }
        self.grid()?;
        self.region(&self.func.body)
    }

    /// Which instance this block is: the first axis varies fastest.
    fn grid(&mut self) -> Result<(), Limit> {
        let mut rest = self.instance;
        let axes = self.func.grid.len();
        for (n, axis) in self.func.grid.iter().enumerate() {
            let size = match axis {
                GridAxis::Walk(dim) => self.block_count(*dim),
                GridAxis::Each(axis, _) => self.axis_size(*axis),
            };
            let last = n + 1 == axes;
            let index = if last { rest } else { self.b.binary(Binary::URem, rest, size) };
            if !last {
                rest = self.b.binary(Binary::UDiv, rest, size);
            }
            match axis {
                GridAxis::Walk(dim) => self.bind(*dim, index),
                GridAxis::Each(_, value) => {
                    let wide = self.b.sign_extend(index);
                    self.scope.scalars.insert(*value, wide);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn region(&mut self, region: &'f Region) -> Result<(), Limit> {
        let insts: Vec<&Inst> = region.insts.iter().collect();
        let last = self.last_uses(&insts);
        insts.iter().zip(last).try_for_each(|(inst, last)| self.step(inst, &last))
    }

    /// For each instruction the tiles in stages that nobody reads behind it.
    pub(crate) fn last_uses(&self, insts: &[&'f Inst]) -> Vec<Vec<Value>> {
        let mut last = vec![Vec::new(); insts.len()];
        for (made, inst) in insts.iter().enumerate() {
            if let Some(view) = inst.results.first().filter(|r| self.schedule.fills.contains_key(r)) {
                last[insts.iter().rposition(|i| mentions(i, *view)).unwrap_or(made)].push(*view);
            }
        }
        last
    }

    /// One instruction, if this role runs it; then the stages are given back that nobody reads behind it.
    pub(crate) fn step(&mut self, inst: &'f Inst, last: &[Value]) -> Result<(), Limit> {
        if self.role == Role::Producer && !self.schedule.slice.contains(&place(inst)) {
            return Ok(());
        }
        self.inst(inst)?;
        if self.role == Role::Consumer {
            last.iter().for_each(|view| self.release_behind(*view));
        }
        super::limits::length(self.func, self.warps, self.b.instructions(), inst.span)
    }

    fn inst(&mut self, inst: &'f Inst) -> Result<(), Limit> {
        match &inst.op {
            Op::For(it) => self.repeat(inst, it),
            Op::If => self.branch(inst),
            Op::Load(param, index) => match inst.results.first().and_then(|r| self.schedule.fills.get(r)).cloned() {
                Some(fill) if self.role != Role::All => self.ring_load(inst, &fill),
                Some(_) | None => self.load(inst, *param, index),
            },
            Op::Store { .. } => self.store(inst),
            Op::Reduce(op, over) => self.reduce(inst, *op, over),
            Op::Dot(over) => self.dot(inst, over),
            Op::ArgReduce(..)
            | Op::Scan(..)
            | Op::Sort { .. }
            | Op::KthLargest(_)
            | Op::Gather(_)
            | Op::Split { .. }
            | Op::Merge { .. }
            | Op::MaskGet(_)
            | Op::MaskPut(..)
            | Op::Print(_)
            | Op::Assert(_) => self.row_op(inst),
            Op::Const(..)
            | Op::Extent(_)
            | Op::BlockIndex(_)
            | Op::BlockLen(_)
            | Op::Pos(_)
            | Op::At(_)
            | Op::Valid(_)
            | Op::OrderAt(_)
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Select
            | Op::Cast(_)
            | Op::Broadcast(_)
            | Op::Random => match self.func.ty(inst.results[0]) {
                Type::Scalar(_) => self.scalar_step(inst),
                Type::Tile(..) => self.tile_step(inst),
            },
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "every other op is one of its operands' elements")]
    fn scalar_step(&mut self, inst: &'f Inst) -> Result<(), Limit> {
        let reg = match &inst.op {
            Op::Const(dtype, scalar) => self.constant(*dtype, *scalar),
            Op::Extent(extent) => {
                let size = self.extent(*extent);
                self.b.sign_extend(size)
            }
            Op::BlockIndex(dim) => {
                let index = self.block(*dim)?.index;
                self.b.sign_extend(index)
            }
            Op::BlockLen(dim) => {
                let len = self.block(*dim)?.len;
                self.b.sign_extend(len)
            }
            _ => {
                let args: Vec<Reg> = inst.args.iter().map(|a| self.scalar(*a)).collect::<Result<_, _>>()?;
                if let Op::Binary(pantile_ir::BinaryOp::Div | pantile_ir::BinaryOp::Rem) = inst.op {
                    let dtype = self.dtype(inst.args[0]);
                    if !dtype.is_float() && self.b.known(args[1]).is_none_or(|bits| bits == 0) {
                        let zero = element::is_zero(&mut self.b, dtype, args[1]);
                        self.fault_if(zero, "an integer is divided by zero", inst.span);
                    }
                }
                self.one_element(inst, &args)?
            }
        };
        self.scope.scalars.insert(inst.results[0], reg);
        Ok(())
    }

    /// What a region carries in or out: scalars, and tiles in the spreads of these values.
    pub(crate) fn flatten(&mut self, values: &[Value], as_held: &[Value]) -> Result<Vec<Reg>, Limit> {
        let mut all = Vec::new();
        for (value, like) in values.iter().zip(as_held) {
            if self.is_scalar(*value) {
                all.push(self.scalar(*value)?);
            } else {
                let spread = self.carried_spread(*like)?;
                all.extend(self.at(*value, &spread)?);
            }
        }
        Ok(all)
    }

    fn carried_spread(&self, value: Value) -> Result<Spread, Limit> {
        match &self.spreads[value.index()] {
            Kind::Fixed(spread) => Ok(spread.clone()),
            Kind::Free | Kind::Unknown => Err(self.bug(format!("`%{}` is carried without a spread", value.0))),
        }
    }

    /// The values that flattened registers are; how many registers are left.
    pub(crate) fn unflatten(&mut self, values: &[Value], mut registers: &[Reg]) -> Result<usize, Limit> {
        for value in values {
            if self.is_scalar(*value) {
                self.scope.scalars.insert(*value, registers[0]);
                registers = &registers[1..];
            } else {
                let spread = self.carried_spread(*value)?;
                let (own, rest) = registers.split_at(spread.len());
                self.scope.tiles.remove(value);
                self.hold(*value, spread, own.to_vec());
                registers = rest;
            }
        }
        Ok(registers.len())
    }

    fn branch(&mut self, inst: &'f Inst) -> Result<(), Limit> {
        self.settle_here();
        let condition = self.scalar(inst.args[0])?;
        let [then, other] = &inst.regions[..] else { return Err(self.bug("a branch without two arms")) };
        let results = self.of_role(&inst.results);
        let rings = self.schedule.rings_within(inst);
        let before = self.rings.clone();
        let scope = self.scope.clone();
        let in_use = self.shared_in_use;
        let mut arms = Vec::new();
        for arm in [then, other] {
            self.b.open(Vec::new());
            self.region(arm)?;
            let yielded: Vec<Value> = results.iter().map(|(n, _)| arm.yields[*n]).collect();
            let mut yields = self.flatten(&yielded, &values(&results))?;
            self.settle_all();
            yields.extend(self.ring_registers(&rings));
            arms.push(self.b.close(yields));
            self.scope = scope.clone();
            self.rings.clone_from(&before);
            self.shared_in_use |= in_use;
        }
        let other = arms.pop().unwrap_or_default();
        let then = arms.pop().unwrap_or_default();
        let made = self.b.choose(condition, then, other);
        self.take_up(&values(&results), &rings, &made)
    }

    /// Of the results of a loop or branch, or what it carries, those that this role needs, with their numbers.
    fn of_role(&self, all: &[Value]) -> Vec<(usize, Value)> {
        let mine = |v: &Value| self.role != Role::Producer || self.is_scalar(*v) && self.schedule.known.contains(v);
        all.iter().copied().enumerate().filter(|(_, v)| mine(v)).collect()
    }

    fn repeat(&mut self, inst: &'f Inst, it: &'f Loop) -> Result<(), Limit> {
        self.settle_here();
        let Some(args) = inst.loop_args(self.func) else { return Err(self.bug("a loop without operands")) };
        let body = inst.body();
        let carried = &body.args[usize::from(it.over == Over::Range)..];
        let mine = self.of_role(carried);
        let turn = Turn {
            inst,
            it,
            carried: values(&mine),
            inits: mine.iter().map(|(n, _)| args.inits[*n]).collect(),
            yields: mine.iter().map(|(n, _)| body.yields[*n]).collect(),
            results: mine.iter().map(|(n, _)| inst.results[*n]).collect(),
            late: Vec::new(),
            rings: self.schedule.rings_within(inst),
        };
        let rounds = self.rounds(inst, it, &args)?;
        match self.schedule.rotations.get(&place(inst)).cloned() {
            Some(rotation) if self.role != Role::Producer => {
                let late = mine.iter().map(|(n, _)| rotation.carried_late[*n]).collect();
                self.rotated(&Turn { late, ..turn }, &rounds, &rotation)
            }
            Some(_) | None => match self.schedule.chains.get(&place(inst)).cloned() {
                Some(chain) if self.role == Role::Consumer => self.chained(&turn, &rounds, &chain),
                Some(_) | None => self.plain_loop(&turn, &rounds),
            },
        }
    }

    fn plain_loop(&mut self, turn: &Turn<'f>, rounds: &Rounds) -> Result<(), Limit> {
        let inits = self.flatten(&turn.inits, &turn.carried)?;
        let states = self.ring_registers(&turn.rings);
        let all: Vec<Reg> = [rounds.first].into_iter().chain(inits).chain(states).collect();
        let scope = self.scope.clone();
        let (test, at) = self.open_rounds(rounds, &all);
        let index = self.number_of(rounds, at[0]);
        let yields = self.round(turn, index, &at[1..])?;
        let next = self.b.add_const(at[0], 1);
        let yields: Vec<Reg> = [next].into_iter().chain(yields).collect();
        let body = self.b.close(yields);
        self.scope = scope;
        let made = self.b.looped(all, test, body);
        self.take_up(&turn.results, &turn.rings, &made[1..])
    }

    /// Opens the body of a loop that counts its rounds in the first of what it carries; its test, and what the body sees.
    pub(crate) fn open_rounds(&mut self, rounds: &Rounds, all: &[Reg]) -> (simt::Region, Vec<Reg>) {
        let types: Vec<Ty> = all.iter().map(|r| self.b.ty(*r)).collect();
        let test = self.b.open_with(&types);
        let goes_on = self.b.compare(Compare::Lt, test[0], rounds.end);
        let test = self.b.close(vec![goes_on]);
        // What the round before left in shared memory may still be read, and what it stored not be seen.
        (self.shared_in_use, self.stored) = (true, true);
        (test, self.b.open_with(&types))
    }

    /// Makes registers the values that they are, and behind those where rings stand.
    pub(crate) fn take_up(&mut self, values: &[Value], rings: &[RingId], registers: &[Reg]) -> Result<(), Limit> {
        let rest = self.unflatten(values, registers)?;
        self.set_rings(rings, &registers[registers.len() - rest..]);
        Ok(())
    }

    /// The block, or the number of a range, of a round.
    pub(crate) fn number_of(&mut self, rounds: &Rounds, at: Reg) -> Reg {
        match rounds.list {
            Some((list, space)) => {
                let at = self.address(list, at, 4);
                self.b.load(space, 32, 1, at, None)[0]
            }
            None => at,
        }
    }

    /// Makes a number the current one of a loop.
    pub(crate) fn enter(&mut self, turn: &Turn<'f>, index: Reg) {
        match turn.it.over {
            Over::Walk(dim) => self.bind(dim, index),
            Over::Range => {
                for region in &turn.inst.regions {
                    self.scope.scalars.insert(region.args[0], index);
                }
            }
        }
    }

    /// One round: the body, if the guard lets it; what is carried on, and where the rings stand.
    fn round(&mut self, turn: &Turn<'f>, index: Reg, carried_in: &[Reg]) -> Result<Vec<Reg>, Limit> {
        self.enter(turn, index);
        if !turn.it.guard {
            return self.body(turn, carried_in);
        }
        let guard = &turn.inst.regions[0];
        self.region(guard)?;
        let goes = self.scalar(guard.yields[0])?;
        let scope = self.scope.clone();
        self.b.open(Vec::new());
        let yields = self.body(turn, carried_in)?;
        let then = self.b.close(yields);
        self.scope = scope;
        self.b.open(Vec::new());
        let other = self.b.close(carried_in.to_vec());
        Ok(self.b.choose(goes, then, other))
    }

    fn body(&mut self, turn: &Turn<'f>, carried_in: &[Reg]) -> Result<Vec<Reg>, Limit> {
        self.take_up(&turn.carried, &turn.rings, carried_in)?;
        self.region(turn.inst.body())?;
        let mut yields = self.flatten(&turn.yields, &turn.carried)?;
        self.settle_all();
        yields.extend(self.ring_registers(&turn.rings));
        Ok(yields)
    }

    /// The rounds of a loop: bounds of a list are where it goes beyond them.
    fn rounds(&mut self, inst: &Inst, it: &Loop, args: &pantile_ir::LoopArgs<'_>) -> Result<Rounds, Limit> {
        let (lo, hi) = self.trips(it, args)?;
        let Some(mask) = it.list else { return Ok(Rounds { first: lo, end: hi, list: None }) };
        let MaskList { count, list, space } = self.mask_list(mask, args.row, (lo, hi), inst)?;
        let zero = self.b.i32(0);
        if !it.bounds {
            return Ok(Rounds { first: zero, end: count, list: Some((list, space)) });
        }
        let most = match it.over {
            Over::Walk(dim) => self.block_count(dim),
            Over::Range => hi,
        };
        let begins = self.b.compare(Compare::Le, lo, zero);
        let first = self.search((list, space), count, lo, (begins, zero));
        let ends = self.b.compare(Compare::Ge, hi, most);
        let end = self.search((list, space), count, hi, (ends, count));
        Ok(Rounds { first, end, list: Some((list, space)) })
    }

    /// How many numbers of an ascending list are below a bound; known without looking where a predicate holds.
    fn search(&mut self, (list, space): (Reg, Space), count: Reg, bound: Reg, (known, result): (Reg, Reg)) -> Reg {
        if self.b.known(known) == Some(1) {
            return result;
        }
        self.b.open(Vec::new());
        let then = self.b.close(vec![result]);
        self.b.open(Vec::new());
        let zero = self.b.i32(0);
        let types = [Ty::I32; 2];
        let test = self.b.open_with(&types);
        let more = self.b.compare(Compare::Lt, test[0], test[1]);
        let test = self.b.close(vec![more]);
        let at = self.b.open_with(&types);
        let sum = self.b.add(at[0], at[1]);
        let middle = self.b.shr_const(sum, 1);
        let address = self.address(list, middle, 4);
        let number = self.b.load(space, 32, 1, address, None)[0];
        let below = self.b.compare(Compare::Lt, number, bound);
        let next = self.b.add_const(middle, 1);
        let (low, high) = (self.b.select(below, next, at[0]), self.b.select(below, at[1], middle));
        let body = self.b.close(vec![low, high]);
        let found = self.b.looped(vec![zero, count], test, body)[0];
        let other = self.b.close(vec![found]);
        self.b.choose(known, then, other)[0]
    }

    /// The first number and the one behind the last: I64 of ranges, I32 of blocks.
    fn trips(&mut self, it: &Loop, args: &pantile_ir::LoopArgs<'_>) -> Result<(Reg, Reg), Limit> {
        let (mut lo, mut hi) = match (&it.over, args.range) {
            (Over::Range, Some((lo, hi))) => (self.scalar(lo)?, self.scalar(hi)?),
            (Over::Walk(dim), _) => (self.b.i32(0), self.block_count(*dim)),
            (Over::Range, None) => return Err(self.bug("a range without ends")),
        };
        if let Some((from, to)) = args.bounds {
            let (from, to) = (self.scalar(from)?, self.scalar(to)?);
            // Bounds may lie anywhere; what is between them and the walk fits 32 bits.
            let (lo64, hi64) = (self.b.sign_extend(lo), self.b.sign_extend(hi));
            let from = self.b.binary(Binary::Max, from, lo64);
            let from = self.b.binary(Binary::Min, from, hi64);
            let to = self.b.binary(Binary::Min, to, hi64);
            let to = self.b.binary(Binary::Max, to, lo64);
            lo = self.b.convert(Convert::Truncate, from);
            hi = self.b.convert(Convert::Truncate, to);
        }
        Ok((lo, hi))
    }

    /// The kept blocks of a mask's row. Where there is nothing to visit the row is not looked at.
    fn mask_list(
        &mut self,
        mask: ParamId,
        row: &[Value],
        (lo, hi): (Reg, Reg),
        inst: &Inst,
    ) -> Result<MaskList, Limit> {
        let out = self.func.param(mask).out;
        if out && self.stored {
            self.meet();
        }
        // A mask that the kernel writes itself is no constant.
        let space = if out { Space::Global } else { Space::Constant };
        let some = self.b.compare(Compare::Lt, lo, hi);
        let (number, width, inside) = self.mask_row(mask, row, some, inst.span)?;
        let counts = self.word(self.words.param(mask, 1));
        let lists = self.word(self.words.param(mask, 2));
        let offset = self.b.mul_const(number, 4);
        let at = self.b.add(counts, offset);
        let there = self.b.and(some, inside);
        let count = self.b.load(space, 32, 1, at, Some(there))[0];
        let first = self.b.mul(number, width);
        let first = self.b.mul_const(first, 4);
        let list = self.b.add(lists, first);
        Ok(MaskList { count, list, space })
    }

    /// The row-major number of a mask's row, the length of a row (I64), and whether there is such a row; a wrong index is
    /// a fault where `looked_at` holds.
    pub(crate) fn mask_row(
        &mut self,
        mask: ParamId,
        row: &[Value],
        looked_at: Reg,
        span: pantile_diag::Span,
    ) -> Result<(Reg, Reg, Reg), Limit> {
        let axes = self.func.axes(mask);
        let mut number = self.b.i64(0);
        let mut there = self.b.bool(true);
        for (axis, value) in axes.iter().zip(row) {
            let index = self.scalar(*value)?;
            let size = self.axis_size(*axis);
            let size = self.b.zero_extend(Ty::I64, size);
            let inside = self.b.compare(Compare::ULt, index, size);
            there = self.b.and(there, inside);
            let outside = self.b.unary(crate::simt::Unary::Not, inside);
            let outside = self.b.and(outside, looked_at);
            let (name, extent) = (&self.func.param(mask).name, &self.func.extents[axis.extent.index()].name);
            self.fault_if(outside, format!("an index into `{name}` is outside axis `{extent}`"), span);
            number = self.b.mul(number, size);
            number = self.b.add(number, index);
        }
        let width = match axes.last() {
            Some(axis) => self.axis_size(*axis),
            None => self.b.i32(0),
        };
        let width = self.b.zero_extend(Ty::I64, width);
        Ok((number, width, there))
    }

    /// The memory position of a walk position, I64; -1 where there is none.
    pub(crate) fn order_at(&mut self, extent: pantile_ir::ExtentId, position: Reg) -> Result<Reg, Limit> {
        let order = self.func.extents[extent.index()].order;
        let length = match order {
            Some(order) => self.b.i64(self.func.orders[order.index()].len),
            None => {
                let size = self.extent(extent);
                self.b.zero_extend(Ty::I64, size)
            }
        };
        let inside = self.b.compare(Compare::ULt, position, length);
        let none = self.b.i64(-1);
        let Some(order) = order else { return Ok(self.b.select(inside, position, none)) };
        let table = self.word(self.words.order(order));
        let offset = self.b.mul_const(position, 4);
        let at = self.b.add(table, offset);
        let entry = self.b.load(Space::Constant, 32, 1, at, Some(inside))[0];
        let entry = self.b.sign_extend(entry);
        Ok(self.b.select(inside, entry, none))
    }
}

/// A loop, as a role runs it.
pub(crate) struct Turn<'f> {
    pub inst: &'f Inst,
    pub it: &'f Loop,
    /// What is carried; at first, at the end of a round, and behind the loop.
    pub carried: Vec<Value>,
    pub inits: Vec<Value>,
    pub yields: Vec<Value>,
    pub results: Vec<Value>,
    /// Of a rotated loop: whether the second part of the body makes it.
    pub late: Vec<bool>,
    /// Rings that it moves on.
    pub rings: Vec<RingId>,
}

/// The rounds of a loop: from one number up to another, places of a list if there is one.
pub(crate) struct Rounds {
    pub first: Reg,
    pub end: Reg,
    /// Its address, and the memory it is in.
    pub list: Option<(Reg, Space)>,
}

fn values(numbered: &[(usize, Value)]) -> Vec<Value> {
    numbered.iter().map(|(_, v)| *v).collect()
}

/// Whether an instruction, or what is in it, reads a value.
fn mentions(inst: &Inst, value: Value) -> bool {
    let inside = |r: &Region| r.yields.contains(&value) || r.insts.iter().any(|i| mentions(i, value));
    inst.args.contains(&value) || inst.regions.iter().any(inside)
}

/// The kept blocks of a mask's row: how many (I32), and the address of their numbers.
#[derive(Clone, Copy)]
struct MaskList {
    count: Reg,
    list: Reg,
    space: Space,
}
