//! The shape of machine code, for tests: its loops, found by their back edges, and how many instructions of which kind
//! they have. Nothing is run, and it is all the same who wrote the code. It knows x86-64 and direct jumps only.

mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

/// A loop that holds neither another loop nor a call.
pub(crate) struct Loop {
    /// By address.
    pub(crate) instructions: Vec<Instruction>,
    /// Whether `rbp` is the frame's register, not one for addresses like others.
    framed: bool,
}

/// What bounds a loop's speed. Two shapes are compared as text: `2 fma, 5 loads, …`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Fused multiply-adds.
    pub(crate) fma: usize,
    /// Instructions that read memory.
    pub(crate) loads: usize,
    /// Loads that spread one element over a register.
    pub(crate) broadcasts: usize,
    /// Instructions that write memory.
    pub(crate) stores: usize,
    /// Instructions that read or write the stack.
    pub(crate) stack: usize,
    /// Those of them that write: what the loop makes finds no register. A read alone may be a constant's.
    pub(crate) spills: usize,
    /// Instructions.
    pub(crate) all: usize,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape { fma, loads, broadcasts, stores, stack, spills: _, all } = self;
        write!(f, "{fma} fma, {loads} loads ({broadcasts} broadcast), {stores} stores, {stack} stack, {all} in all")
    }
}

impl Loop {
    /// Counted.
    pub(crate) fn shape(&self) -> Shape {
        let mut shape = Shape { all: self.instructions.len(), ..Shape::default() };
        for one in &self.instructions {
            let memory = (0..one.op_count()).find(|n| one.op_kind(*n) == OpKind::Memory);
            // A comparison with memory is written with it in front, as a store is. What is fetched early is neither.
            let fetches = matches!(one.mnemonic(), Mnemonic::Prefetcht0 | Mnemonic::Prefetcht1);
            let writes = memory == Some(0) && !fetches && !matches!(one.mnemonic(), Mnemonic::Cmp | Mnemonic::Test);
            let reads = memory.is_some() && !writes && !fetches && one.mnemonic() != Mnemonic::Lea;
            shape.fma += usize::from(is_fma(one.mnemonic()));
            shape.loads += usize::from(reads);
            shape.broadcasts += usize::from(reads && (one.mnemonic() == Mnemonic::Vbroadcastss || one.is_broadcast()));
            shape.stores += usize::from(writes);
            let stack = one.is_stack_instruction() || ((reads || writes) && self.on_stack(one));
            shape.stack += usize::from(stack);
            shape.spills += usize::from(stack && writes);
        }
        shape
    }

    /// Whether it works on several elements at a time: it reads or writes 16 bytes or more at once.
    pub(crate) fn is_vector(&self) -> bool {
        self.instructions.iter().any(|one| {
            let memory = (0..one.op_count()).any(|n| one.op_kind(n) == OpKind::Memory);
            memory && one.memory_size().size() >= 16 && !self.on_stack(one)
        })
    }

    fn on_stack(&self, one: &Instruction) -> bool {
        [one.memory_base(), one.memory_index()]
            .into_iter()
            .any(|register| register == Register::RSP || (self.framed && register == Register::RBP))
    }

    /// Its instructions, one a line.
    pub(crate) fn text(&self) -> String {
        self.instructions.iter().map(|one| format!("{:6x}  {one}\n", one.ip())).collect()
    }
}

fn is_fma(mnemonic: Mnemonic) -> bool {
    matches!(mnemonic, Mnemonic::Vfmadd132ps | Mnemonic::Vfmadd213ps | Mnemonic::Vfmadd231ps)
}

/// The innermost loops of a function that starts where `code` does, by address. Only what can be reached is looked at:
/// constants may stand behind the code.
pub(crate) fn innermost(code: &[u8]) -> Vec<Loop> {
    let all = reachable(code);
    let loops = natural_loops(&all);
    let heads: BTreeSet<u64> = loops.keys().copied().collect();
    let framed = all.values().nth(1).is_some_and(|i| {
        i.mnemonic() == Mnemonic::Mov && i.op0_register() == Register::RBP && i.op1_register() == Register::RSP
    });
    let mut found = Vec::new();
    for (head, body) in loops {
        let instructions: Vec<Instruction> = body.iter().map(|ip| all[ip]).collect();
        let calls =
            instructions.iter().any(|i| matches!(i.flow_control(), FlowControl::Call | FlowControl::IndirectCall));
        if body.intersection(&heads).eq([&head]) && !calls {
            found.push(Loop { instructions, framed });
        }
    }
    found
}

fn reachable(code: &[u8]) -> BTreeMap<u64, Instruction> {
    let mut all = BTreeMap::new();
    let mut left = vec![0];
    while let Some(ip) = left.pop() {
        if all.contains_key(&ip) {
            continue;
        }
        let one = Decoder::with_ip(64, &code[ip as usize..], ip, DecoderOptions::NONE).decode();
        assert!(!one.is_invalid(), "no instruction at {ip:#x}");
        all.insert(ip, one);
        left.extend(after(&one));
    }
    all
}

/// Where control goes after an instruction.
fn after(one: &Instruction) -> Vec<u64> {
    match one.flow_control() {
        FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => vec![one.next_ip()],
        FlowControl::ConditionalBranch => vec![one.near_branch_target(), one.next_ip()],
        FlowControl::UnconditionalBranch => vec![one.near_branch_target()],
        FlowControl::Return | FlowControl::Exception => vec![],
        FlowControl::IndirectBranch | FlowControl::Interrupt | FlowControl::XbeginXabortXend => {
            panic!("{one} at {:#x} leads who knows where", one.ip())
        }
    }
}

/// For each head of a loop the loop's instructions: all that lead to a jump back to the head without passing it.
fn natural_loops(all: &BTreeMap<u64, Instruction>) -> BTreeMap<u64, BTreeSet<u64>> {
    let mut before: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (ip, one) in all {
        for next in after(one) {
            before.entry(next).or_default().push(*ip);
        }
    }
    let mut loops: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for (tail, head) in back_edges(all) {
        let body = loops.entry(head).or_default();
        body.insert(head);
        let mut left = vec![tail];
        while let Some(ip) = left.pop() {
            if body.insert(ip) {
                left.extend(before.get(&ip).into_iter().flatten());
            }
        }
    }
    loops
}

/// The jumps to what a walk from the entry is still inside of, with their targets.
fn back_edges(all: &BTreeMap<u64, Instruction>) -> Vec<(u64, u64)> {
    let (mut seen, mut inside, mut found) = (BTreeSet::from([0]), BTreeSet::from([0]), Vec::new());
    let mut path = vec![(0, after(&all[&0]))];
    while let Some((ip, left)) = path.last_mut() {
        let ip = *ip;
        let Some(next) = left.pop() else {
            inside.remove(&ip);
            path.pop();
            continue;
        };
        if inside.contains(&next) {
            found.push((ip, next));
        } else if seen.insert(next) {
            inside.insert(next);
            path.push((next, after(&all[&next])));
        }
    }
    found
}
