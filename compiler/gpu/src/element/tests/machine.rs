//! Runs what element arithmetic is made of for one thread, values in and values out. Memory and other threads it does
//! not know. Approximate instructions are off by as much as they may be, in the direction that a test chooses.

use crate::simt::{Binary, Compare, Convert, Inst, Op, Program, Region, Small, Ty, Unary, Value};
use pantile_ir::{DType, Scalar, eval};

/// One thread.
pub(super) struct Machine<'p> {
    program: &'p Program,
    words: Vec<u64>,
    registers: Vec<u64>,
    /// Units in the last place, as multiples of what is documented: -1, 0 or 1.
    bias: f64,
}

impl<'p> Machine<'p> {
    pub(super) fn new(program: &'p Program, bias: f64) -> Self {
        Self { program, words: Vec::new(), registers: vec![0; program.types.len()], bias }
    }

    /// Runs the program on these words.
    pub(super) fn run(&mut self, words: &[u64]) {
        words.clone_into(&mut self.words);
        let program = self.program;
        self.region(&program.body);
    }

    /// The bits of a register.
    pub(super) fn bits(&self, value: Value) -> u64 {
        self.registers[value.index()]
    }

    fn region(&mut self, region: &'p Region) {
        for inst in &region.insts {
            self.inst(inst);
        }
    }

    fn copy(&mut self, from: &[Value], to: &[Value]) {
        let bits: Vec<u64> = from.iter().map(|v| self.bits(*v)).collect();
        for (to, bits) in to.iter().zip(bits) {
            self.registers[to.index()] = bits;
        }
    }

    fn inst(&mut self, inst: &'p Inst) {
        match &inst.op {
            Op::If => {
                let region = &inst.regions[usize::from(self.bits(inst.args[0]) == 0)];
                self.region(region);
                self.copy(&region.yields, &inst.results);
            }
            Op::Loop => {
                let (test, body) = (&inst.regions[0], &inst.regions[1]);
                self.copy(&inst.args, &test.args);
                loop {
                    self.region(test);
                    if self.bits(test.yields[0]) == 0 {
                        break;
                    }
                    self.copy(&test.args, &body.args);
                    self.region(body);
                    self.copy(&body.yields, &test.args);
                }
                self.copy(&test.args, &inst.results);
            }
            _ => {
                let bits = self.simple(inst);
                self.registers[inst.results[0].index()] = bits;
            }
        }
    }

    fn simple(&self, inst: &Inst) -> u64 {
        let arg = |n: usize| self.bits(inst.args[n]);
        let ty = inst.args.first().map_or(Ty::I64, |v| self.program.ty(*v));
        match &inst.op {
            Op::Const(c) => c.bits,
            Op::Param(n) => self.words[*n as usize],
            Op::Unary(op) => self.unary(*op, ty, arg(0)),
            Op::Binary(op) => binary(*op, ty, arg(0), arg(1)),
            Op::Fma if ty == Ty::F32 => single(f32_of(arg(0)).mul_add(f32_of(arg(1)), f32_of(arg(2)))),
            Op::Fma => f64_of(arg(0)).mul_add(f64_of(arg(1)), f64_of(arg(2))).to_bits(),
            Op::Compare(op) => u64::from(compare(*op, ty, arg(0), arg(1))),
            Op::Select => arg(if arg(0) == 1 { 1 } else { 2 }),
            Op::Convert(how) => convert(*how, ty, arg(0)),
            Op::Narrow(small) => {
                let part = |n| narrow(*small, f32_of(arg(n)));
                let width = if matches!(small, Small::F16 | Small::BF16) { 16 } else { 8 };
                part(0) << width | part(1)
            }
            op => panic!("no element arithmetic: {op:?}"),
        }
    }

    fn unary(&self, op: Unary, ty: Ty, x: u64) -> u64 {
        match ty {
            Ty::Bool => x ^ 1,
            Ty::I32 => match op {
                Unary::PopCount => u64::from((x as u32).count_ones()),
                Unary::LeadingZeros => u64::from((x as u32).leading_zeros()),
                _ => u64::from(!x as u32),
            },
            Ty::I64 => !x,
            Ty::F64 => exact(op, f64_of(x)).unwrap_or(f64::NAN).to_bits(),
            Ty::F32 => {
                let x = f32_of(x);
                single(exact(op, f64::from(x)).map_or_else(|| self.approximate(op, x), |y| y as f32))
            }
        }
    }

    /// As PTX documents them, at the edge of what it allows.
    fn approximate(&self, op: Unary, x: f32) -> f32 {
        let flush = |x: f32| if x.is_subnormal() { 0f32.copysign(x) } else { x };
        let ulp = f64::from(f32::EPSILON);
        let relative = |y: f64, units: f64| y * (1.0 + self.bias * units * ulp);
        let x = if op == Unary::Lg2 { x } else { flush(x) };
        let wide = f64::from(x);
        match op {
            Unary::Ex2 if x.fract() == 0.0 => flush(wide.exp2() as f32),
            Unary::Ex2 => flush(relative(wide.exp2(), 1.5) as f32),
            Unary::Rcp => flush(relative(1.0 / wide, 0.5) as f32),
            Unary::Rsqrt => flush(relative(1.0 / wide.sqrt(), 1.5) as f32),
            Unary::Lg2 if (0.5..=2.0).contains(&x) => (wide.log2() + self.bias * 2f64.powi(-23)) as f32,
            Unary::Lg2 => relative(wide.log2(), 2.0) as f32,
            Unary::TanhApprox => relative(wide.tanh(), 4090.0) as f32,
            _ => panic!("no f32 op: {op:?}"),
        }
    }
}

fn f32_of(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

fn f64_of(bits: u64) -> f64 {
    f64::from_bits(bits)
}

fn single(x: f32) -> u64 {
    u64::from(x.to_bits())
}

/// Correct to the last bit, also when rounded to f32.
fn exact(op: Unary, x: f64) -> Option<f64> {
    Some(match op {
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Sqrt => x.sqrt(),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round_ties_even(),
        _ => return None,
    })
}

fn binary(op: Binary, ty: Ty, x: u64, y: u64) -> u64 {
    match ty {
        Ty::F32 => single(float(op, f64::from(f32_of(x)), f64::from(f32_of(y))) as f32),
        Ty::F64 => float(op, f64_of(x), f64_of(y)).to_bits(),
        Ty::Bool => integer(op, 1, x, y),
        Ty::I32 => integer(op, 32, x, y),
        Ty::I64 => integer(op, 64, x, y),
    }
}

fn float(op: Binary, x: f64, y: f64) -> f64 {
    match op {
        Binary::Add => x + y,
        Binary::Sub => x - y,
        Binary::Mul => x * y,
        Binary::Div => x / y,
        Binary::Min | Binary::Max if x.is_nan() || y.is_nan() => f64::NAN,
        Binary::Min => x.min(y),
        Binary::Max => x.max(y),
        _ => panic!("no float op: {op:?}"),
    }
}

fn signed(width: u32, x: u64) -> i64 {
    (x as i64) << (64 - width) >> (64 - width)
}

fn integer(op: Binary, width: u32, x: u64, y: u64) -> u64 {
    let (a, b) = (signed(width, x), signed(width, y));
    let shift = || {
        assert!(y < u64::from(width), "a shift by {y}");
        y as u32
    };
    let bits = match op {
        Binary::Add => x.wrapping_add(y),
        Binary::Sub => x.wrapping_sub(y),
        Binary::Mul => x.wrapping_mul(y),
        Binary::MulHigh => ((u128::from(x) * u128::from(y)) >> width) as u64,
        // Out of range at the type's width, as the instruction is.
        Binary::Div | Binary::Rem => {
            assert!(y != 0 && !(b == -1 && a == signed(width, 1 << (width - 1))), "{a} over {b}");
            (if op == Binary::Div { a / b } else { a % b }) as u64
        }
        Binary::UDiv => x / y,
        Binary::URem => x % y,
        Binary::Min => a.min(b) as u64,
        Binary::Max => a.max(b) as u64,
        Binary::UMin => x.min(y),
        Binary::UMax => x.max(y),
        Binary::And => x & y,
        Binary::Or => x | y,
        Binary::Xor => x ^ y,
        Binary::Shl => x << shift(),
        Binary::Shr => (a >> shift()) as u64,
        Binary::UShr => x >> shift(),
    };
    bits & (u64::MAX >> (64 - width))
}

fn compare(op: Compare, ty: Ty, x: u64, y: u64) -> bool {
    fn holds<T: PartialOrd>(op: Compare, x: T, y: T) -> bool {
        match op {
            Compare::Eq => x == y,
            Compare::Ne => x != y,
            Compare::Lt | Compare::ULt => x < y,
            Compare::Le | Compare::ULe => x <= y,
            Compare::Gt | Compare::UGt => x > y,
            Compare::Ge | Compare::UGe => x >= y,
        }
    }
    let unsigned = matches!(op, Compare::ULt | Compare::ULe | Compare::UGt | Compare::UGe);
    match ty {
        Ty::F32 => holds(op, f32_of(x), f32_of(y)),
        Ty::F64 => holds(op, f64_of(x), f64_of(y)),
        Ty::I32 if !unsigned => holds(op, x as i32, y as i32),
        Ty::I64 if !unsigned => holds(op, x as i64, y as i64),
        Ty::I32 | Ty::I64 => holds(op, x, y),
        Ty::Bool => panic!("comparison of predicates"),
    }
}

fn convert(how: Convert, ty: Ty, x: u64) -> u64 {
    let float = if ty == Ty::F32 { f64::from(f32_of(x)) } else { f64_of(x) };
    let whole = signed(if ty == Ty::I32 { 32 } else { 64 }, x);
    match how {
        Convert::ZeroExtend(_) | Convert::Bits(_) => x,
        Convert::SignExtend => whole as u64,
        Convert::Truncate => x & 0xffff_ffff,
        Convert::SignFrom(bits) => u64::from(signed(u32::from(bits), x) as u32),
        Convert::FromSigned(Ty::F32) => single(whole as f32),
        Convert::FromSigned(_) => (whole as f64).to_bits(),
        Convert::FromUnsigned(Ty::F32) => single(x as f32),
        Convert::FromUnsigned(_) => (x as f64).to_bits(),
        Convert::ToSigned(Ty::I32) => u64::from(float as i32 as u32),
        Convert::ToSigned(_) => float as i64 as u64,
        Convert::ToUnsigned(Ty::I32) => u64::from(float as u32),
        Convert::ToUnsigned(_) => float as u64,
        Convert::Float(Ty::F32) => single(float as f32),
        Convert::Float(_) => float.to_bits(),
        Convert::Tf32 => panic!("no element is a tf32"),
        Convert::Widen(small) => single(eval::from_bits(dtype(small), x).as_f64() as f32),
    }
}

fn dtype(small: Small) -> DType {
    match small {
        Small::F16 => DType::F16,
        Small::BF16 => DType::BF16,
        Small::F8E4M3 => DType::F8E4M3,
        Small::F8E5M2 => DType::F8E5M2,
    }
}

fn narrow(small: Small, x: f32) -> u64 {
    let greatest = match small {
        Small::F16 | Small::BF16 => f64::INFINITY,
        Small::F8E4M3 => 448.0,
        Small::F8E5M2 => 57344.0,
    };
    let x = f64::from(x);
    let x = if x.is_nan() { x } else { x.clamp(-greatest, greatest) };
    eval::to_bits(dtype(small), Scalar::Float(eval::round(dtype(small), x)))
}
