//! Runs program instances: the grid, the blocks in scope, regions, and one arm an op. What ops compute is in the other
//! files.

use std::rc::Rc;

use pantile_diag::Span;
use pantile_ir::{BlockTable, DType, DimId, Func, GridAxis, Inst, Loop, Op, Over, ParamKind, Region, Scalar, Value};

use crate::padding::divides;
use crate::tile::{Space, Tile};
use crate::{Arg, Data, Fault, Hooks, Options, dot, element, rowwise};

/// Regions nested deeper than this are refused, so that no program exhausts the stack.
const DEEPEST: usize = 256;

/// The state of a launch.
pub(crate) struct Machine<'a> {
    pub func: &'a Func,
    pub extents: &'a [i64],
    pub args: &'a mut [Arg],
    /// For each writable parameter, if races are looked for: by element, 1 + the instance that stored it.
    pub writers: Vec<Option<Vec<u64>>>,
    /// The number of the running instance.
    pub instance: u64,
    orders: &'a [Vec<i32>],
    options: Options,
    pub hooks: Hooks<'a>,
    /// For each dim walked in an order, its lanes.
    tables: Vec<Option<BlockTable>>,
    /// The block that defines each dim; 0 for dims that are defined everywhere.
    blocks: Vec<i64>,
    grid: Vec<i64>,
    values: Vec<Option<Rc<Tile>>>,
    depth: usize,
}

/// A fault without its instance, which only the launch knows.
type Step<T> = Result<T, (String, Span)>;

impl<'a> Machine<'a> {
    pub fn new(
        func: &'a Func,
        extents: &'a [i64],
        orders: &'a [Vec<i32>],
        args: &'a mut [Arg],
        options: Options,
        hooks: Hooks<'a>,
    ) -> Result<Self, String> {
        let table = |d: &pantile_ir::Dim| d.order.map(|o| BlockTable::new(&orders[o.index()], d.size as usize));
        let tables = func.dims.iter().map(table).collect();
        let axis = |axis: &GridAxis| match axis {
            GridAxis::Walk(dim) => func.block_count(*dim, extents),
            GridAxis::Each(axis, _) => func.axis_size(*axis, extents),
        };
        let grid = func.grid.iter().map(axis).collect();
        let writers = func.params.iter().zip(&*args).map(|(param, arg)| match arg {
            Arg::Tensor(array) if param.out && options.races => Some(vec![0; array.data.len()]),
            Arg::Mask(mask) if param.out && options.races => Some(vec![0; mask.bits.len()]),
            Arg::Tensor(_) | Arg::Mask(_) | Arg::Scalar(_) => None,
        });
        Ok(Self {
            writers: writers.collect(),
            func,
            extents,
            args,
            instance: 0,
            orders,
            options,
            hooks,
            tables,
            blocks: vec![0; func.dims.len()],
            grid,
            values: vec![None; func.types.len()],
            depth: 0,
        })
    }

    pub fn run(mut self) -> Result<(), Fault> {
        let count = self.grid.iter().try_fold(1u64, |n, axis| n.checked_mul(*axis as u64)).ok_or_else(|| Fault {
            message: "the grid has too many instances".into(),
            span: Span::default(),
            instance: Vec::new(),
        })?;
        let func = self.func;
        for (param, arg) in func.params.iter().zip(&*self.args) {
            if let (ParamKind::Scalar(_, value), Arg::Scalar(x)) = (&param.kind, arg) {
                self.values[value.index()] = Some(Rc::new(Tile::scalar(*x)));
            }
        }
        for instance in 0..count {
            self.instance = instance;
            let at = self.coordinates(instance);
            for (axis, n) in func.grid.iter().zip(&at) {
                match axis {
                    GridAxis::Walk(dim) => self.blocks[dim.index()] = *n,
                    GridAxis::Each(_, value) => self.set(*value, Tile::scalar(Scalar::Int(*n))),
                }
            }
            self.region(&func.body).map_err(|(message, span)| Fault { message, span, instance: at })?;
            if let Some(progress) = self.hooks.progress {
                progress(instance + 1, count);
            }
        }
        Ok(())
    }

    /// The place of an instance in the grid, first axis first.
    pub fn coordinates(&self, instance: u64) -> Vec<i64> {
        let mut rest = instance;
        let axis = |size: &i64| {
            let here = rest % *size as u64;
            rest /= *size as u64;
            here as i64
        };
        self.grid.iter().map(axis).collect()
    }

    /// How many lanes the current block of a dim has.
    pub fn len(&self, dim: DimId) -> usize {
        let (size, block) = (self.func.dim(dim).size, self.blocks[dim.index()]);
        match &self.tables[dim.index()] {
            Some(table) => table.len.get(block as usize).map_or(0, |n| *n as usize),
            None => (self.func.walk_length(dim, self.extents) - block * size).clamp(0, size) as usize,
        }
    }

    /// The lanes of the blocks that define these dims.
    pub fn space(&self, dims: &[DimId]) -> Space {
        Space { dims: dims.to_vec(), shape: dims.iter().map(|d| self.width(*d)).collect() }
    }

    /// The walk positions of a dim's lanes.
    fn positions(&self, dim: DimId) -> Vec<i64> {
        let valid = self.lanes(dim, |table| &table.pos);
        self.widened(dim, valid, |l| self.poison(DType::I64, l as u64).as_i64())
    }

    /// The memory positions of a dim's lanes.
    pub fn elements(&self, dim: DimId) -> Vec<i64> {
        let valid = self.lanes(dim, |table| &table.elem);
        // No element is there.
        self.widened(dim, valid, |_| -1)
    }

    fn lanes(&self, dim: DimId, column: impl Fn(&BlockTable) -> &Vec<i32>) -> Vec<i64> {
        let first = self.blocks[dim.index()] * self.func.dim(dim).size;
        let len = self.len(dim);
        match &self.tables[dim.index()] {
            Some(table) if len > 0 => column(table)[first as usize..][..len].iter().map(|p| i64::from(*p)).collect(),
            Some(_) => Vec::new(),
            None => (first..first + len as i64).collect(),
        }
    }

    fn set(&mut self, value: Value, tile: Tile) {
        self.values[value.index()] = Some(Rc::new(tile));
    }

    fn get(&self, value: Value) -> Result<Rc<Tile>, String> {
        self.values[value.index()].clone().ok_or_else(|| format!("value {} is used before it is defined", value.0))
    }

    fn int(&self, value: Value) -> Result<i64, String> {
        self.get(value).map(|x| x.first().as_i64())
    }

    fn all(&self, values: &[Value]) -> Result<Vec<Rc<Tile>>, String> {
        values.iter().map(|v| self.get(*v)).collect()
    }

    /// Runs a region whose arguments are set; what it yields.
    fn region(&mut self, region: &Region) -> Step<Vec<Rc<Tile>>> {
        self.depth += 1;
        for inst in &region.insts {
            let at = |message| (message, inst.span);
            if self.depth > DEEPEST {
                return Err(at(format!("regions are nested more than {DEEPEST} deep")));
            }
            if let Op::For(it) = &inst.op {
                self.loop_over(it, inst)?;
            } else if let Op::If = &inst.op {
                self.branch(inst)?;
            } else if let Some(tile) = self.inst(inst).map_err(at)? {
                let tile = self.say_padding(inst.results[0], &inst.op, tile).map_err(at)?;
                self.set(inst.results[0], tile);
            }
        }
        self.depth -= 1;
        self.all(&region.yields).map_err(|message| (message, Span::default()))
    }

    fn give(&mut self, values: &[Value], tiles: Vec<Rc<Tile>>) {
        values.iter().zip(tiles).for_each(|(value, tile)| self.values[value.index()] = Some(tile));
    }

    fn branch(&mut self, inst: &Inst) -> Step<()> {
        let cond = self.get(inst.args[0]).map_err(|m| (m, inst.span))?.first().as_bool();
        let results = self.region(&inst.regions[usize::from(!cond)])?;
        self.give(&inst.results, results);
        Ok(())
    }

    fn loop_over(&mut self, it: &Loop, inst: &Inst) -> Step<()> {
        let at = |message| (message, inst.span);
        let args = inst.loop_args(self.func).ok_or_else(|| at("not a loop".into()))?;
        let pair = |a, b| Ok((self.int(a)?, self.int(b)?));
        let (mut lo, mut hi) = match (&it.over, args.range) {
            (Over::Walk(dim), _) => (0, self.func.block_count(*dim, self.extents)),
            (Over::Range, Some((a, b))) => pair(a, b).map_err(at)?,
            (Over::Range, None) => (0, 0),
        };
        if let Some((a, b)) = args.bounds {
            let (first, end) = pair(a, b).map_err(at)?;
            (lo, hi) = (lo.max(first), hi.min(end));
        }
        let row = args.row.iter().map(|v| self.int(*v)).collect::<Result<Vec<_>, _>>().map_err(at)?;
        let mut carried = self.all(args.inits).map_err(at)?;
        let outer = match it.over {
            Over::Walk(dim) => self.blocks[dim.index()],
            Over::Range => 0,
        };
        for n in lo..hi {
            if let Over::Walk(dim) = it.over {
                self.blocks[dim.index()] = n;
                self.said_to_be_full(dim).map_err(at)?;
            }
            if self.visits(it, inst, &row, n)? {
                let body = inst.body();
                let mut values = self.counter(&it.over, n);
                values.append(&mut carried);
                self.give(&body.args, values);
                carried = self.region(body)?;
            }
        }
        if let Over::Walk(dim) = it.over {
            self.blocks[dim.index()] = outer;
        }
        self.give(&inst.results, carried);
        Ok(())
    }

    /// A dim that promises full blocks has one here.
    fn said_to_be_full(&self, dim: DimId) -> Result<(), String> {
        let (row, len) = (self.func.dim(dim), self.len(dim));
        if !row.full || len as i64 == row.size {
            return Ok(());
        }
        Err(format!("block {} of `{}` has {len} lanes, not all {}", self.blocks[dim.index()], row.name, row.size))
    }

    /// The argument that tells a range's regions where they are; walks have none.
    fn counter(&self, over: &Over, n: i64) -> Vec<Rc<Tile>> {
        match over {
            Over::Range => vec![Rc::new(Tile::scalar(Scalar::Int(n)))],
            Over::Walk(_) => Vec::new(),
        }
    }

    /// Whether the loop's mask row and guard admit `n`.
    fn visits(&mut self, it: &Loop, inst: &Inst, row: &[i64], n: i64) -> Step<bool> {
        if let Some(mask) = it.list {
            let at = [row, &[n]].concat();
            if !self.mask_get(mask, &at).map_err(|m| (m, inst.span))? {
                return Ok(false);
            }
        }
        if !it.guard {
            return Ok(true);
        }
        let guard = &inst.regions[0];
        let counter = self.counter(&it.over, n);
        self.give(&guard.args, counter);
        let held = self.region(guard)?;
        Ok(held.first().is_some_and(|x| x.first().as_bool()))
    }

    /// An op without regions: its result, if it has one.
    fn inst(&mut self, inst: &Inst) -> Result<Option<Tile>, String> {
        let func = self.func;
        let args = self.all(&inst.args)?;
        self.tell(inst);
        let padded = self.hooks.padding.is_some();
        let dtype = |n: usize| func.ty(inst.args[n]).dtype();
        let space = || match inst.results.first() {
            Some(value) => self.space(func.ty(*value).dims()),
            None => self.space(&[]),
        };
        let scalar = |n| Tile::scalar(Scalar::Int(n));
        let tile = match &inst.op {
            Op::Const(_, x) => Tile::scalar(*x),
            Op::Extent(extent) => scalar(self.extents[extent.index()]),
            Op::BlockIndex(dim) => scalar(self.blocks[dim.index()]),
            Op::BlockLen(dim) => scalar(self.len(*dim) as i64),
            Op::Pos(dim) => space().tile(Data::Int(self.positions(*dim))),
            Op::At(dim) => space().tile(Data::Int(self.elements(*dim))),
            Op::Valid(_) => {
                let space = space();
                let data = self.padding_of(&space).into_iter().map(|padding| !padding).collect();
                space.tile(Data::Bool(data))
            }
            Op::OrderAt(extent) => self.order_at(*extent, &args[0]),
            Op::Unary(op) => element::unary(*op, dtype(0), &args[0]),
            Op::Binary(op) if padded && divides(&inst.op, dtype(0)) => {
                let divisor = self.divisor(&space(), &args[1]);
                element::binary(*op, dtype(0), space(), &args[0], &divisor)?
            }
            Op::Binary(op) => element::binary(*op, dtype(0), space(), &args[0], &args[1])?,
            Op::Select => element::select(space(), &args[0], &args[1], &args[2])?,
            Op::Cast(to) => element::cast(dtype(0), *to, &args[0]),
            Op::Broadcast(_) => {
                let space = space();
                let data = args[0].spread(&space);
                space.tile(data)
            }
            Op::Reduce(op, dims) => rowwise::reduce(*op, dtype(0), &args[0], dims),
            Op::ArgReduce(op, dim) => rowwise::arg_reduce(*op, dtype(0), &args[0], *dim),
            Op::Scan(op, dim) => rowwise::scan(*op, dtype(0), &args[0], *dim),
            Op::Sort { dim, descending } => rowwise::sort(dtype(0), &args[0], *dim, *descending),
            Op::KthLargest(dim) if padded => {
                self.padded_kth_largest(dtype(0), &args[0], args[1].first().as_i64(), *dim)
            }
            Op::KthLargest(dim) => rowwise::kth_largest(dtype(0), &args[0], args[1].first().as_i64(), *dim),
            Op::Gather(dim) => rowwise::gather(dtype(0), space(), &args[0], &args[1], *dim),
            Op::Dot(dims) => dot::dot(dtype(0), space(), &args[0], &args[1], dims)?,
            Op::Split { .. } | Op::Merge { .. } if padded => self.reshaped(&inst.op, &args[0])?,
            Op::Split { from, into } => rowwise::reshape(&args[0], &[*from], &self.space(into))?,
            Op::Merge { from, into } => rowwise::reshape(&args[0], from, &self.space(&[*into]))?,
            Op::Random => element::random(space(), &args[0], &args[1]),
            Op::Load(param, index) => self.load(*param, index, &args)?,
            Op::Store { param, index, mode, masked } => {
                self.store(*param, index, *mode, *masked, &args)?;
                return Ok(None);
            }
            Op::MaskGet(param) => {
                let at: Vec<i64> = args.iter().map(|x| x.first().as_i64()).collect();
                Tile::scalar(Scalar::Bool(self.mask_get(*param, &at)?))
            }
            Op::MaskPut(param, index) => {
                self.mask_put(*param, index, &args)?;
                return Ok(None);
            }
            Op::Print(label) => {
                self.print(label, inst.args[0], &self.cropped(&args[0], &args[0].dims));
                return Ok(None);
            }
            Op::Assert(message) => return self.assert(message, &self.cropped(&args[0], &args[0].dims)).map(|()| None),
            Op::For(_) | Op::If => return Err("an op with regions has another way in".into()),
        };
        Ok(Some(tile))
    }

    fn order_at(&self, extent: pantile_ir::ExtentId, x: &Tile) -> Tile {
        let element = |p: i64| match self.func.extents[extent.index()].order {
            Some(order) => {
                usize::try_from(p).ok().and_then(|p| self.orders[order.index()].get(p)).map_or(-1, |e| i64::from(*e))
            }
            None if (0..self.extents[extent.index()]).contains(&p) => p,
            None => -1,
        };
        let data = (0..x.data.len()).map(|n| element(x.data.get(n).as_i64())).collect();
        Tile { data: Data::Int(data), ..x.clone() }
    }

    fn print(&self, label: &str, value: Value, x: &Tile) {
        let Some(print) = self.hooks.print.filter(|_| self.options.checks) else { return };
        let names: Vec<&str> = x.dims.iter().map(|d| self.func.dim(*d).name.as_str()).collect();
        print(&element::show(label, &names, self.func.ty(value).dtype(), x));
    }

    fn assert(&self, message: &str, x: &Tile) -> Result<(), String> {
        let holds = (0..x.data.len()).all(|n| x.data.get(n).as_bool());
        if holds || !self.options.checks { Ok(()) } else { Err(format!("assertion failed: {message}")) }
    }
}
