//! Whether a program is well formed: values are defined once and before their use, in a region that encloses it; operands
//! and results have the types that the ops ask for; regions have the shapes that their owners ask for; ops of whole warps
//! and warpgroups stand in blocks made of them. Whether all threads meet at a collective op is seen when it runs.

use super::{Const, Inst, Mma, Op, Program, Region, Space, Ty, Value};
use crate::Target;

/// The most threads of a block.
const THREADS: u32 = 1024;
/// The most registers of a thread that an assembler gives.
const REGISTERS: u32 = 255;

impl Program {
    /// Checks the program.
    ///
    /// # Errors
    /// The first thing that is wrong, with the instruction: a bug of who built it.
    pub fn verify(&self) -> Result<(), String> {
        let head = || format!("kernel `{}`", self.name);
        self.verify_head().map_err(|what| format!("{}: {what}", head()))?;
        let mut check = Check { program: self, state: vec![State::Undefined; self.types.len()] };
        check.constants(&self.body).and_then(|()| check.body()).map_err(|what| format!("{}: {what}", head()))
    }

    /// Checks that a target has all that the program uses.
    ///
    /// # Errors
    /// Names the first op that the target does not have.
    pub fn verify_for(&self, target: Target) -> Result<(), String> {
        let mut missing = None;
        self.body.visit(&mut |inst| {
            if missing.is_none() && !inst.op.is_on(target) {
                missing = Some(inst.op.to_string());
            }
        });
        missing.map_or(Ok(()), |op| Err(format!("kernel `{}`: {target} has no `{op}`", self.name)))
    }

    fn verify_head(&self) -> Result<(), String> {
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !self.name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') || !self.name.chars().all(letter) {
            return Err("the name is not one that PTX can have".into());
        }
        if !(1..=THREADS).contains(&self.threads) {
            return Err(format!("a block has 1 to {THREADS} threads, not {}", self.threads));
        }
        if self.registers > REGISTERS {
            return Err(format!("a thread has at most {REGISTERS} registers, not {}", self.registers));
        }
        if !self.body.args.is_empty() || !self.body.yields.is_empty() {
            return Err("the body takes and yields nothing".into());
        }
        Ok(())
    }
}

impl Region {
    /// Calls a function on every instruction, nested ones after the one that holds them.
    pub fn visit<'a>(&'a self, see: &mut impl FnMut(&'a Inst)) {
        for inst in &self.insts {
            see(inst);
            inst.regions.iter().for_each(|region| region.visit(see));
        }
    }
}

impl Op {
    /// Whether a target has this op.
    #[allow(clippy::wildcard_enum_match_arm, reason = "all others are on every target")]
    pub fn is_on(&self, target: Target) -> bool {
        match self {
            Op::Wgmma(_) | Op::WgmmaFence | Op::WgmmaCommit | Op::WgmmaWait(_) | Op::SetRegisters(..) => {
                target.has_wgmma()
            }
            Op::MbarrierInit
            | Op::MbarrierFence
            | Op::MbarrierArrive
            | Op::MbarrierExpect
            | Op::MbarrierWait
            | Op::TensorLoad { .. }
            | Op::TensorStore { .. }
            | Op::TensorStoreCommit
            | Op::TensorStoreWait(_)
            | Op::ProxyFence => target.has_tma(),
            Op::Mma(Mma::F8(..)) => target.has_f8(),
            _ => true,
        }
    }

    /// How many threads act as one in this op: 32 of a warp, 128 of a warpgroup, 1 where each acts alone.
    #[allow(clippy::wildcard_enum_match_arm, reason = "all others are of one thread")]
    pub fn together(&self) -> u32 {
        match self {
            Op::Wgmma(_) | Op::WgmmaFence | Op::WgmmaCommit | Op::WgmmaWait(_) | Op::SetRegisters(..) => 128,
            Op::Shuffle(_) | Op::Ballot | Op::Mma(_) | Op::LoadMatrix { .. } => 32,
            Op::Barrier { threads: Some(_), .. } | Op::BarrierArrive { .. } => 32,
            _ => 1,
        }
    }

    /// Whether it reads or writes the block's shared memory.
    #[allow(clippy::wildcard_enum_match_arm, reason = "all others leave it alone")]
    pub fn is_of_shared(&self) -> bool {
        match self {
            Op::Load { space, .. } | Op::Store { space, .. } => *space == Space::Shared,
            Op::LoadMatrix { .. }
            | Op::CopyAsync
            | Op::Wgmma(_)
            | Op::MbarrierInit
            | Op::MbarrierArrive
            | Op::MbarrierExpect
            | Op::MbarrierWait
            | Op::TensorLoad { .. }
            | Op::TensorStore { .. } => true,
            _ => false,
        }
    }
}

/// Where a value stands, seen from where the check is.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Undefined,
    Visible,
    /// Its region is left.
    Left,
    Constant,
}

struct Check<'a> {
    program: &'a Program,
    state: Vec<State>,
}

impl Check<'_> {
    /// Constants may be used anywhere, so they are known first.
    fn constants(&mut self, body: &Region) -> Result<(), String> {
        let mut wrong = None;
        body.visit(&mut |inst| {
            if let (Op::Const(c), [value]) = (&inst.op, inst.results.as_slice()) {
                match self.state.get_mut(value.index()) {
                    Some(state) if *state == State::Undefined => *state = State::Constant,
                    Some(_) => wrong = Some(format!("{value} is defined twice")),
                    None => wrong = Some(format!("{value} has no type")),
                }
                wrong = wrong.take().or(literal(*c).err());
            }
        });
        wrong.map_or(Ok(()), Err)
    }

    fn body(&mut self) -> Result<(), String> {
        let program = self.program;
        self.region(&program.body)
    }

    fn region(&mut self, region: &Region) -> Result<(), String> {
        let mut defined = region.args.clone();
        region.args.iter().try_for_each(|arg| self.define(*arg))?;
        for inst in &region.insts {
            self.inst(inst).map_err(|what| format!("`{}`: {what}", self.program.line(inst)))?;
            defined.extend(inst.results.iter().filter(|v| self.state[v.index()] == State::Visible));
        }
        region.yields.iter().try_for_each(|v| self.seen(*v))?;
        for value in defined {
            self.state[value.index()] = State::Left;
        }
        Ok(())
    }

    fn inst(&mut self, inst: &Inst) -> Result<(), String> {
        inst.args.iter().try_for_each(|arg| self.seen(*arg))?;
        let args = self.types(&inst.args);
        let given = inst.op.results(&args)?;
        self.frame(&inst.op)?;
        let given = if inst.op == Op::If {
            self.branch(inst)?
        } else if inst.op == Op::Loop {
            self.repeat(inst, &args)?
        } else if inst.regions.is_empty() {
            given
        } else {
            return Err("has no regions".into());
        };
        if matches!(inst.op, Op::Const(_)) {
            let typed = inst.results.len() == 1 && self.types(&inst.results) == given;
            return typed.then_some(()).ok_or_else(|| "gives one result of its type".into());
        }
        inst.results.iter().try_for_each(|result| self.define(*result))?;
        let has = self.types(&inst.results);
        if has == given { Ok(()) } else { Err(format!("gives {}, not {}", names(&given), names(&has))) }
    }

    /// What an op asks of the program around it.
    #[allow(clippy::wildcard_enum_match_arm, reason = "all others ask nothing")]
    fn frame(&self, op: &Op) -> Result<(), String> {
        let program = self.program;
        let together = op.together();
        if !program.threads.is_multiple_of(together) {
            return Err(format!("{} threads are not a multiple of {together}", program.threads));
        }
        if op.is_of_shared() && program.shared == 0 {
            return Err("the block has no shared memory".into());
        }
        match op {
            Op::Param(word) if *word >= program.words => Err(format!("the launch has {} words", program.words)),
            Op::Map(map) if *map >= program.maps => Err(format!("the launch has {} tensor maps", program.maps)),
            Op::Fault if program.fault_word >= program.words => Err("the fault word is none of the launch's".into()),
            Op::Barrier { threads: Some(n), .. } | Op::BarrierArrive { threads: n, .. } if *n > program.threads => {
                Err(format!("the block has {} threads", program.threads))
            }
            _ => Ok(()),
        }
    }

    fn branch(&mut self, inst: &Inst) -> Result<Vec<Ty>, String> {
        let [then, other] = inst.regions.as_slice() else { return Err("has two regions".into()) };
        if !then.args.is_empty() || !other.args.is_empty() {
            return Err("its regions take nothing".into());
        }
        self.region(then)?;
        self.region(other)?;
        let (a, b) = (self.types(&then.yields), self.types(&other.yields));
        if a == b { Ok(a) } else { Err(format!("its regions yield {} and {}", names(&a), names(&b))) }
    }

    fn repeat(&mut self, inst: &Inst, carried: &[Ty]) -> Result<Vec<Ty>, String> {
        let [test, body] = inst.regions.as_slice() else { return Err("has two regions".into()) };
        for (region, yields, what) in [(test, [Ty::Bool].as_slice(), "first"), (body, carried, "second")] {
            let args = self.known(&region.args)?;
            if args != carried {
                return Err(format!("its {what} region takes {}, not {}", names(carried), names(&args)));
            }
            self.region(region)?;
            let has = self.types(&region.yields);
            if has != yields {
                return Err(format!("its {what} region yields {}, not {}", names(yields), names(&has)));
            }
        }
        Ok(carried.to_vec())
    }

    fn define(&mut self, value: Value) -> Result<(), String> {
        match self.state.get_mut(value.index()) {
            None => Err(format!("{value} has no type")),
            Some(state) if *state == State::Undefined => {
                *state = State::Visible;
                Ok(())
            }
            Some(_) => Err(format!("{value} is defined twice")),
        }
    }

    fn seen(&self, value: Value) -> Result<(), String> {
        match self.state.get(value.index()) {
            Some(State::Visible | State::Constant) => Ok(()),
            Some(State::Left) => Err(format!("{value} is of a region that does not enclose it")),
            Some(State::Undefined) => Err(format!("{value} is not defined before")),
            None => Err(format!("{value} has no type")),
        }
    }

    fn known(&self, values: &[Value]) -> Result<Vec<Ty>, String> {
        let ty = |v: &Value| self.program.types.get(v.index()).copied().ok_or_else(|| format!("{v} has no type"));
        values.iter().map(ty).collect()
    }

    /// Of values that are known to have one.
    fn types(&self, values: &[Value]) -> Vec<Ty> {
        values.iter().map(|v| self.program.ty(*v)).collect()
    }
}

/// A constant has no bits beyond its type.
fn literal(c: Const) -> Result<(), String> {
    let fits = match c.ty {
        Ty::Bool => c.bits <= 1,
        Ty::I32 | Ty::F32 => c.bits <= u64::from(u32::MAX),
        Ty::I64 | Ty::F64 => true,
    };
    fits.then_some(()).ok_or_else(|| format!("{:#x} has more bits than {}", c.bits, c.ty))
}

fn names(types: &[Ty]) -> String {
    let names: Vec<String> = types.iter().map(Ty::to_string).collect();
    format!("({})", names.join(", "))
}
