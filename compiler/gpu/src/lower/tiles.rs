//! Tiles in registers: how a use gets one in its own spread, and element-wise ops. Reductions, dots and memory have files
//! of their own.

use pantile_ir::{BinaryOp, DType, Inst, Kind as Number, Op, Value};

use super::infer::Kind;
use super::{Held, Lower, Spread};
use crate::Limit;
use crate::element;
use crate::simt::{Binary, Value as Reg};

impl<'f> Lower<'f> {
    /// The spread that a tile is made in; tiles that are free have none.
    pub(crate) fn spread_of(&self, value: Value) -> Option<&Spread> {
        match &self.spreads[value.index()] {
            Kind::Fixed(spread) => Some(spread),
            Kind::Free | Kind::Unknown => None,
        }
    }

    /// Keeps a tile.
    pub(crate) fn hold(&mut self, value: Value, spread: Spread, registers: Vec<Reg>) {
        debug_assert_eq!(spread.len(), registers.len());
        self.scope.tiles.entry(value).or_default().push(Held { spread, registers });
    }

    /// The elements of a value that a spread's registers need. The spread may have further dims, along which a tile is the
    /// same, and a scalar everywhere.
    pub(crate) fn at(&mut self, value: Value, spread: &Spread) -> Result<Vec<Reg>, Limit> {
        if self.is_scalar(value) {
            let scalar = self.scalar(value)?;
            return Ok(vec![scalar; spread.len()]);
        }
        let dims = self.dims(value);
        let own = spread.only(dims);
        let registers = self.exactly(value, &own)?;
        Ok((0..spread.len()).map(|r| registers[spread.register_of_only(r, dims)]).collect())
    }

    /// A tile in a spread of its own dims.
    fn exactly(&mut self, value: Value, spread: &Spread) -> Result<Vec<Reg>, Limit> {
        self.settle(value);
        let held = self.scope.tiles.get(&value);
        if let Some(same) = held.and_then(|all| all.iter().find(|h| h.spread == *spread)) {
            return Ok(same.registers.clone());
        }
        if let Some(inst) = self.defs[value.index()].filter(|_| self.spreads[value.index()] == Kind::Free) {
            let registers = self.element_wise(inst, spread)?;
            self.hold(value, spread.clone(), registers.clone());
            return Ok(registers);
        }
        let all = held.cloned().unwrap_or_default();
        if let Some(view) = self.scope.views.get(&value).copied().filter(|_| all.is_empty()) {
            let registers = self.read_view(value, view, spread);
            self.hold(value, spread.clone(), registers.clone());
            return Ok(registers);
        }
        if all.is_empty() {
            return Err(self.bug(format!("`%{}` is not there", value.0)));
        }
        let (registers, moved) = self.convert(self.dtype(value), &all, spread)?;
        if moved {
            self.hold(value, spread.clone(), registers.clone());
        }
        Ok(registers)
    }

    /// What an op gives, element by element, in a spread.
    #[allow(clippy::wildcard_enum_match_arm, reason = "no other op is element-wise")]
    pub(crate) fn element_wise(&mut self, inst: &Inst, spread: &Spread) -> Result<Vec<Reg>, Limit> {
        match &inst.op {
            Op::Pos(dim) => {
                let positions = self.walk_positions(spread, *dim)?;
                return Ok(self.widen(positions));
            }
            Op::At(dim) => {
                let elements = self.elements(spread, *dim)?;
                return Ok(self.widen(elements));
            }
            Op::Valid(dim) => return self.valid(spread, *dim),
            _ => {}
        }
        let args: Vec<Vec<Reg>> = inst.args.iter().map(|a| self.at(*a, spread)).collect::<Result<_, _>>()?;
        self.check_divisors(inst, spread, &args)?;
        (0..spread.len()).map(|r| self.one_element(inst, &args.iter().map(|a| a[r]).collect::<Vec<_>>())).collect()
    }

    /// What an op gives of one element of each operand.
    #[allow(clippy::wildcard_enum_match_arm, reason = "no other op is element-wise")]
    pub(crate) fn one_element(&mut self, inst: &Inst, args: &[Reg]) -> Result<Reg, Limit> {
        let dtype = |n: usize| self.func.ty(inst.args[n]).dtype();
        Ok(match &inst.op {
            Op::Unary(op) => element::unary(&mut self.b, *op, self.func.ty(inst.args[0]).dtype(), args[0]),
            Op::Binary(op) => {
                let dtype = dtype(0);
                element::binary(&mut self.b, *op, dtype, args[0], args[1])
            }
            Op::Select => element::select(&mut self.b, args[0], args[1], args[2]),
            Op::Cast(to) => {
                let from = dtype(0);
                element::cast(&mut self.b, from, *to, args[0])
            }
            Op::Broadcast(_) => args[0],
            Op::Random => element::random(&mut self.b, args[0], args[1]),
            Op::OrderAt(extent) => self.order_at(*extent, args[0])?,
            op => return Err(self.bug(format!("{op:?} is not element-wise"))),
        })
    }

    /// Dividing an integer by zero is a fault where lanes are valid.
    fn check_divisors(&mut self, inst: &Inst, spread: &Spread, args: &[Vec<Reg>]) -> Result<(), Limit> {
        let Op::Binary(BinaryOp::Div | BinaryOp::Rem) = inst.op else { return Ok(()) };
        let dtype = self.func.ty(inst.args[0]).dtype();
        if dtype.kind() == Number::Float {
            return Ok(());
        }
        let mut any = self.b.bool(false);
        let valid = self.all_valid(inst.results[0], spread)?;
        for (divisor, valid) in args[1].iter().zip(valid) {
            if self.b.known(*divisor).is_some_and(|bits| bits != 0) {
                continue;
            }
            let zero = element::is_zero(&mut self.b, dtype, *divisor);
            let zero = self.b.and(zero, valid);
            any = self.b.binary(Binary::Or, any, zero);
        }
        self.fault_if(any, "an integer is divided by zero", inst.span);
        Ok(())
    }

    /// Whether each register's element of a tile is valid along all dims.
    pub(crate) fn all_valid(&mut self, value: Value, spread: &Spread) -> Result<Vec<Reg>, Limit> {
        let yes = self.b.bool(true);
        let mut all = vec![yes; spread.len()];
        for dim in self.dims(value) {
            if self.is_partial(*dim) {
                let valid = self.valid(spread, *dim)?;
                all = all.into_iter().zip(valid).map(|(a, v)| self.b.and(a, v)).collect();
            }
        }
        Ok(all)
    }

    /// Makes and keeps what an element-wise instruction gives, unless it is made where it is needed.
    pub(crate) fn tile_step(&mut self, inst: &'f Inst) -> Result<(), Limit> {
        let result = inst.results[0];
        // The sum of a product that began with the other operand.
        if self.schedule.added.values().any(|added| added.sum == result) {
            return Ok(());
        }
        let Some(spread) = self.spread_of(result).cloned() else { return Ok(()) };
        let registers = self.element_wise(inst, &spread)?;
        self.hold(result, spread, registers);
        Ok(())
    }

    /// A constant of a dtype.
    pub(crate) fn constant(&mut self, dtype: DType, scalar: pantile_ir::Scalar) -> Reg {
        element::constant(&mut self.b, dtype, scalar)
    }
}
