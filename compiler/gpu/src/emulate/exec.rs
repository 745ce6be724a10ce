//! One step of one warp: control flow, arithmetic, and who does the rest. Memory, barriers, copies and products have files
//! of their own.

use super::arith::{self, Lanes};
use super::block::Block;
use super::code::{Slot, Step};
use super::error::{ErrorKind, InLane, Outcome};
use super::warp::{State, lanes_of};
use crate::simt::{Op, Shuffle, Special, Ty};

/// An instruction that a warp is at.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) warp: usize,
    /// Its number.
    pub(super) at: u32,
    pub(super) args: &'a [Slot],
    pub(super) results: &'a [Slot],
}

impl Block<'_> {
    /// Takes one step.
    pub(super) fn step(&mut self, warp: usize) -> Outcome<()> {
        let code = self.code;
        let w = &mut self.warps[warp];
        let at = w.at;
        w.at += 1;
        w.steps += 1;
        match &code.steps[at as usize] {
            Step::Inst { op, args, results } => {
                self.counts[at as usize].executed += 1;
                self.inst(op, At { warp, at, args, results })
            }
            Step::Branch { condition, other, end } => {
                self.counts[at as usize].executed += 1;
                let holding = w.holding(w.read(code, *condition)?);
                let swap = self.random.once_in(2) && self.options.schedule == super::Schedule::Adversarial;
                w.branch(holding, *other, *end, swap);
                Ok(())
            }
            Step::ArmEnd => {
                w.arm_end();
                Ok(())
            }
            Step::Moves { pairs, parallel } => w.moves(code, pairs, *parallel),
            Step::Enter => {
                w.enter();
                Ok(())
            }
            Step::Test { condition, exit } => {
                let holding = w.holding(w.read(code, *condition)?);
                w.test(holding, *exit);
                Ok(())
            }
            Step::Jump(to) => {
                w.at = *to;
                Ok(())
            }
            Step::End => {
                w.state = State::Done;
                Ok(())
            }
        }
    }

    /// An operand.
    pub(super) fn read(&self, at: At, n: usize) -> Outcome<&Lanes> {
        match at.args.get(n) {
            Some(slot) => self.warps[at.warp].read(self.code, *slot),
            None => Err(ErrorKind::Program(format!("an instruction has {} operands only", at.args.len())).into()),
        }
    }

    /// Writes a result.
    pub(super) fn write(&mut self, at: At, n: usize, value: &Lanes) -> Outcome<()> {
        match at.results.get(n) {
            Some(slot) => self.warps[at.warp].write(*slot, value),
            None => {
                return Err(ErrorKind::Program(format!("an instruction has {} results only", at.results.len())).into());
            }
        }
        Ok(())
    }

    /// The type of an operand or result, by its place in the program's text.
    fn ty(&self, at: At) -> Ty {
        self.code.types[at.at as usize]
    }

    fn inst(&mut self, op: &Op, at: At) -> Outcome<()> {
        match op {
            Op::Const(_) | Op::If | Op::Loop => Ok(()),
            Op::Param(n) => {
                let word = self.words[*n as usize];
                self.write(at, 0, &[word; 32])
            }
            Op::Map(n) => {
                let address = self.words[(self.program.words + n) as usize];
                self.write(at, 0, &[address; 32])
            }
            Op::Special(what) => self.special(*what, at),
            Op::Unary(op) => {
                let value = arith::unary(*op, self.ty(at), self.read(at, 0)?);
                self.write(at, 0, &value)
            }
            Op::Binary(op) => self.binary(*op, at),
            Op::Fma => {
                let value = arith::fma(self.ty(at), self.read(at, 0)?, self.read(at, 1)?, self.read(at, 2)?);
                self.write(at, 0, &value)
            }
            Op::Compare(op) => {
                let value = arith::compare(*op, self.ty(at), self.read(at, 0)?, self.read(at, 1)?);
                self.write(at, 0, &value)
            }
            Op::Select => {
                let (c, x, y) = (self.read(at, 0)?, self.read(at, 1)?, self.read(at, 2)?);
                let value: Lanes = std::array::from_fn(|n| if c[n] & 1 == 1 { x[n] } else { y[n] });
                self.write(at, 0, &value)
            }
            Op::Convert(how) => {
                let value = arith::convert(*how, self.ty(at), self.read(at, 0)?);
                self.write(at, 0, &value)
            }
            Op::Narrow(to) => {
                let value = arith::narrow(*to, self.read(at, 0)?, self.read(at, 1)?);
                self.write(at, 0, &value)
            }
            Op::Shuffle(how) => self.shuffle(*how, at),
            Op::Ballot => {
                self.warps[at.warp].whole()?;
                let holding = self.warps[at.warp].holding(self.read(at, 0)?);
                self.write(at, 0, &[u64::from(holding); 32])
            }
            Op::Load { space, bits, count, guarded } => self.load(at, *space, *bits, *count, *guarded),
            Op::Store { space, bits, count, guarded } => self.store(at, *space, *bits, *count, *guarded),
            Op::AtomicAdd => self.atomic_add(at),
            Op::AtomicCas => self.atomic_cas(at),
            Op::AtomicFetchAdd => self.atomic_fetch_add(at),
            Op::Fault => self.fault(at),
            Op::Mma(mma) => self.mma(at, *mma),
            Op::LoadMatrix { count, transpose } => self.load_matrix(at, *count, *transpose),
            Op::Barrier { id, threads } => self.barrier(at, *id, *threads, true),
            Op::BarrierArrive { id, threads } => self.barrier(at, *id, Some(*threads), false),
            Op::MbarrierInit => self.mbarrier_init(at),
            Op::MbarrierFence => self.mbarrier_fence(at),
            Op::MbarrierArrive => self.mbarrier_arrive(at, false),
            Op::MbarrierExpect => self.mbarrier_arrive(at, true),
            Op::MbarrierWait => self.mbarrier_wait(at),
            Op::ProxyFence => self.proxy_fence(at),
            Op::SetRegisters(up, count) => self.set_registers(at, *up, *count),
            Op::CopyAsync => self.copy_async(at),
            Op::CopyCommit => self.copy_commit(at),
            Op::CopyWait(left) => self.copy_wait(at, *left),
            Op::TensorLoad { rank } => self.tensor_load(at, *rank as usize),
            Op::TensorStore { rank } => self.tensor_store(at, *rank as usize),
            Op::TensorStoreCommit => self.tensor_store_commit(at),
            Op::TensorStoreWait(left) => self.tensor_store_wait(at, *left),
            Op::WgmmaFence => self.wgmma_fence(at),
            Op::Wgmma(wgmma) => self.wgmma(at, *wgmma),
            Op::WgmmaCommit => self.wgmma_commit(at),
            Op::WgmmaWait(left) => self.wgmma_wait(at, *left),
        }
    }

    fn special(&mut self, what: Special, at: At) -> Outcome<()> {
        let first = at.warp as u64 * 32;
        let value: Lanes = match what {
            Special::Thread => std::array::from_fn(|lane| first + lane as u64),
            Special::Lane => std::array::from_fn(|lane| lane as u64),
            Special::Block => [u64::from(self.number); 32],
            Special::Blocks => [u64::from(self.blocks); 32],
        };
        self.write(at, 0, &value)
    }

    fn binary(&mut self, op: crate::simt::Binary, at: At) -> Outcome<()> {
        let ty = self.ty(at);
        let (x, y) = (self.read(at, 0)?, self.read(at, 1)?);
        if arith::may_refuse(op, ty) {
            for lane in lanes_of(self.warps[at.warp].lanes) {
                if let Some(told) = arith::refuses(op, ty, y[lane as usize]) {
                    return Err(ErrorKind::Arithmetic(told)).lane(lane);
                }
            }
        }
        let value = arith::binary(op, ty, x, y);
        self.write(at, 0, &value)
    }

    fn shuffle(&mut self, how: Shuffle, at: At) -> Outcome<()> {
        self.warps[at.warp].whole()?;
        let x = self.read(at, 0)?;
        let value: Lanes = match how {
            Shuffle::Xor(bits) => std::array::from_fn(|lane| x[(lane ^ bits as usize) & 31]),
            Shuffle::Up(by) => std::array::from_fn(|lane| x[lane.checked_sub(by as usize).unwrap_or(lane)]),
            Shuffle::Index => {
                let from = self.read(at, 1)?;
                std::array::from_fn(|lane| x[(from[lane] & 31) as usize])
            }
        };
        self.write(at, 0, &value)
    }
}
