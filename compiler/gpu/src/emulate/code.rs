//! A program made flat: steps with jumps, values in as few slots as are alive at once. Nested regions become a stack of
//! lane sets, which is the warp's business.
//!
//! What a loop carries has one slot for its condition, its body and its results: a lane that leaves keeps what it has,
//! for writes touch running lanes only.

use crate::simt::{Inst, Op, Program, Region, Space, Ty, Value};

/// Where a value is: a register slot, or, with the top bit, a constant.
pub(super) type Slot = u32;

/// Marks constants.
pub(super) const CONSTANT: Slot = 1 << 31;

/// What a warp does at one place.
#[derive(Debug)]
pub(super) enum Step {
    /// An instruction without regions.
    Inst { op: Op, args: Box<[Slot]>, results: Box<[Slot]> },
    /// Parts the lanes by a predicate: the first arm follows, the second is at `other`, both lead to `end`.
    Branch { condition: Slot, other: u32, end: u32 },
    /// The end of an arm.
    ArmEnd,
    /// Copies, all at once where `parallel`, else in order.
    Moves { pairs: Box<[(Slot, Slot)]>, parallel: bool },
    /// Lanes enter a loop.
    Enter,
    /// Lanes stay where the predicate holds; with none left all go on at `exit`.
    Test { condition: Slot, exit: u32 },
    /// Goes to a step.
    Jump(u32),
    /// The warp is done.
    End,
}

/// A flat program.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) steps: Vec<Step>,
    /// The text of each step, for messages.
    pub(super) texts: Vec<String>,
    /// The type of each step's first operand.
    pub(super) types: Vec<Ty>,
    /// The type of each step's second operand.
    pub(super) second_types: Vec<Ty>,
    /// The op of each step.
    pub(super) ops: Vec<Option<Op>>,
    /// Registers of a warp.
    pub(super) slots: u32,
    pub(super) constants: Vec<[u64; 32]>,
    /// Bytes of the smallest access to shared memory.
    pub(super) granule: u32,
}

/// Slots of values while the program is made flat.
struct Flatten<'a> {
    program: &'a Program,
    slot: Vec<Slot>,
    free: Vec<Slot>,
    code: Code,
}

const UNPLACED: Slot = u32::MAX;

impl Code {
    pub(super) fn new(program: &Program) -> Result<Self, String> {
        let code = Code {
            steps: Vec::new(),
            texts: Vec::new(),
            types: Vec::new(),
            second_types: Vec::new(),
            ops: Vec::new(),
            slots: 0,
            constants: Vec::new(),
            granule: 16,
        };
        let mut flatten = Flatten { program, slot: vec![UNPLACED; program.types.len()], free: Vec::new(), code };
        flatten.constants(&program.body);
        flatten.region(&program.body)?;
        flatten.step(Step::End, "end");
        Ok(flatten.code)
    }
}

/// Calls a function for each value that an instruction uses, nested ones included.
fn each_use(inst: &Inst, found: &mut impl FnMut(Value)) {
    inst.args.iter().copied().for_each(&mut *found);
    for region in &inst.regions {
        region.insts.iter().for_each(|inst| each_use(inst, found));
        region.yields.iter().copied().for_each(&mut *found);
    }
}

/// An instruction as messages show it.
pub(super) fn text(program: &Program, inst: &Inst) -> String {
    let name = |v: &Value| format!("%{}", v.0);
    let list = |values: &[Value]| values.iter().take(8).map(name).collect::<Vec<_>>().join(", ");
    let more = |values: &[Value]| if values.len() > 8 { ", …" } else { "" };
    let (args, results) = (&inst.args, &inst.results);
    let ty = results.first().map(|v| format!("{:?} ", program.ty(*v))).unwrap_or_default();
    let gives = if results.is_empty() { String::new() } else { format!("{}{} = {ty}", list(results), more(results)) };
    format!("{gives}{:?} {}{}", inst.op, list(args), more(args)).trim_end().to_owned()
}

impl Flatten<'_> {
    fn constants(&mut self, region: &Region) {
        for inst in &region.insts {
            if let Op::Const(constant) = inst.op {
                for result in &inst.results {
                    self.slot[result.index()] = CONSTANT | self.code.constants.len() as u32;
                    self.code.constants.push([constant.bits; 32]);
                }
            }
            let bytes = |bits: u8, count: u8| u32::from(bits) / 8 * u32::from(count);
            #[allow(clippy::wildcard_enum_match_arm, reason = "only what touches less than 16 bytes counts")]
            let touched = match inst.op {
                Op::Load { space: Space::Shared, bits, count, .. }
                | Op::Store { space: Space::Shared, bits, count, .. } => bytes(bits, count),
                Op::MbarrierInit => 8,
                _ => 16,
            };
            self.code.granule = self.code.granule.min(touched.max(1));
            inst.regions.iter().for_each(|r| self.constants(r));
        }
    }

    /// Appends a step that is no instruction.
    fn step(&mut self, step: Step, text: &str) -> usize {
        self.code.steps.push(step);
        self.code.texts.push(text.into());
        self.code.types.push(Ty::I32);
        self.code.second_types.push(Ty::I32);
        self.code.ops.push(None);
        self.code.steps.len() - 1
    }

    /// Appends the step of an instruction.
    fn inst_step(&mut self, step: Step, inst: &Inst) -> usize {
        let at = self.step(step, &text(self.program, inst));
        self.code.types[at] = inst.args.first().map_or(Ty::I32, |v| self.program.ty(*v));
        self.code.second_types[at] = inst.args.get(1).map_or(Ty::I32, |v| self.program.ty(*v));
        self.code.ops[at] = Some(inst.op.clone());
        at
    }

    fn here(&self) -> u32 {
        self.code.steps.len() as u32
    }

    fn place(&mut self, value: Value) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.code.slots += 1;
            self.code.slots - 1
        });
        self.slot[value.index()] = slot;
        slot
    }

    fn slots(&self, values: &[Value]) -> Result<Box<[Slot]>, String> {
        let slot = |v: &Value| match self.slot.get(v.index()) {
            None | Some(&UNPLACED) => Err(format!("%{} is used before it is defined, or out of its region", v.0)),
            Some(slot) => Ok(*slot),
        };
        values.iter().map(slot).collect()
    }

    /// Lays out a region. Its own values' slots are free again after it, those of its arguments are the owner's.
    fn region(&mut self, region: &Region) -> Result<(), String> {
        let mut defined = std::collections::HashSet::new();
        for inst in &region.insts {
            if !matches!(inst.op, Op::Const(_)) {
                defined.extend(inst.results.iter().copied());
            }
        }
        let mut dying: Vec<Vec<Value>> = vec![Vec::new(); region.insts.len()];
        let mut seen: std::collections::HashSet<Value> = region.yields.iter().copied().collect();
        for (n, inst) in region.insts.iter().enumerate().rev() {
            let mut used = |v: Value| {
                if defined.contains(&v) && seen.insert(v) {
                    dying[n].push(v);
                }
            };
            inst.results.iter().copied().for_each(&mut used);
            each_use(inst, &mut used);
        }
        for (inst, dying) in region.insts.iter().zip(dying) {
            self.inst(inst)?;
            self.free.extend(dying.iter().map(|v| self.slot[v.index()]));
        }
        Ok(())
    }

    /// Frees what a region yields, once it has been copied.
    fn leave(&mut self, region: &Region) {
        let own: std::collections::BTreeSet<Value> = region.insts.iter().flat_map(|i| i.results.clone()).collect();
        let yields: std::collections::BTreeSet<Value> = region.yields.iter().copied().collect();
        let slots = own.intersection(&yields).map(|v| self.slot[v.index()]).filter(|s| s & CONSTANT == 0);
        self.free.extend(slots);
    }

    fn inst(&mut self, inst: &Inst) -> Result<(), String> {
        #[allow(clippy::wildcard_enum_match_arm, reason = "all others are single steps")]
        match (&inst.op, inst.regions.as_slice()) {
            (Op::Const(_), []) => Ok(()),
            (Op::If, [then, other]) => self.branch(inst, then, other),
            (Op::Loop, [test, body]) => self.repeat(inst, test, body),
            (_, []) => {
                let args = self.slots(&inst.args)?;
                let results = inst.results.iter().map(|v| self.place(*v)).collect();
                self.inst_step(Step::Inst { op: inst.op.clone(), args, results }, inst);
                Ok(())
            }
            (op, regions) => Err(format!("{op:?} with {} regions", regions.len())),
        }
    }

    /// Copies values to slots.
    fn moves(&mut self, from: &[Value], to: &[Slot]) -> Result<(), String> {
        let from = self.slots(from)?;
        if from.len() != to.len() {
            return Err(format!("a region yields {} values where {} are needed", from.len(), to.len()));
        }
        let pairs: Box<[(Slot, Slot)]> = from.iter().copied().zip(to.iter().copied()).filter(|(a, b)| a != b).collect();
        let parallel = pairs.iter().any(|(from, _)| to.contains(from));
        if !pairs.is_empty() {
            self.step(Step::Moves { pairs, parallel }, "yields");
        }
        Ok(())
    }

    fn branch(&mut self, inst: &Inst, then: &Region, other: &Region) -> Result<(), String> {
        let [condition] = *self.slots(&inst.args)? else { return Err("a branch needs one predicate".into()) };
        let results: Vec<Slot> = inst.results.iter().map(|v| self.place(*v)).collect();
        let at = self.inst_step(Step::Branch { condition, other: 0, end: 0 }, inst);
        self.region(then)?;
        self.moves(&then.yields, &results)?;
        self.leave(then);
        self.step(Step::ArmEnd, "end of an arm");
        let second = self.here();
        self.region(other)?;
        self.moves(&other.yields, &results)?;
        self.leave(other);
        self.step(Step::ArmEnd, "end of an arm");
        self.code.steps[at] = Step::Branch { condition, other: second, end: self.here() };
        Ok(())
    }

    fn repeat(&mut self, inst: &Inst, test: &Region, body: &Region) -> Result<(), String> {
        let carried: Vec<Slot> = inst.results.iter().map(|v| self.place(*v)).collect();
        for args in [&test.args, &body.args] {
            if args.len() != carried.len() {
                return Err(format!("a region takes {} values where {} are carried", args.len(), carried.len()));
            }
            for (arg, slot) in args.iter().zip(&carried) {
                self.slot[arg.index()] = *slot;
            }
        }
        self.moves(&inst.args, &carried)?;
        self.inst_step(Step::Enter, inst);
        let start = self.here();
        self.region(test)?;
        let [condition] = *self.slots(&test.yields)? else {
            return Err("a loop's condition yields one predicate".into());
        };
        let at = self.step(Step::Test { condition, exit: 0 }, "loop");
        self.leave(test);
        self.region(body)?;
        self.moves(&body.yields, &carried)?;
        self.leave(body);
        self.step(Step::Jump(start), "loop");
        self.code.steps[at] = Step::Test { condition, exit: self.here() };
        Ok(())
    }
}
