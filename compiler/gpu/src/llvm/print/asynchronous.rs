//! Copies that run beside the threads, the barriers that say when they are done, and fences. Their order is the
//! program's; nothing is waited for that it does not wait for.

use super::Printer;
use super::asm::{Asm, Effect, operands};
use crate::simt::{Inst, Op};

impl Printer<'_> {
    /// Ops without operands.
    #[allow(clippy::wildcard_enum_match_arm, reason = "the caller names the ops that have none")]
    pub(super) fn bare(&mut self, op: &Op) {
        let (text, effect) = match op {
            Op::CopyCommit => ("cp.async.commit_group;".into(), Effect::Memory),
            Op::CopyWait(n) => (format!("cp.async.wait_group {n};"), Effect::Memory),
            Op::WgmmaFence => ("wgmma.fence.sync.aligned;".into(), Effect::MemoryTogether),
            Op::WgmmaCommit => ("wgmma.commit_group.sync.aligned;".into(), Effect::MemoryTogether),
            Op::MbarrierFence => ("fence.mbarrier_init.release.cluster;".into(), Effect::Memory),
            Op::TensorStoreCommit => ("cp.async.bulk.commit_group;".into(), Effect::Memory),
            Op::TensorStoreWait(n) => (format!("cp.async.bulk.wait_group.read {n};"), Effect::Memory),
            Op::ProxyFence => ("fence.proxy.async.shared::cta;".into(), Effect::Memory),
            Op::SetRegisters(up, n) => {
                let way = if *up { "inc" } else { "dec" };
                (format!("setmaxnreg.{way}.sync.aligned.u32 {n};"), Effect::MemoryTogether)
            }
            _ => return,
        };
        self.assembly(Asm::new(text, effect), &[]);
    }

    /// Copies nothing and writes zeros where the predicate is false.
    pub(super) fn copy_async(&mut self, inst: &Inst) {
        let to = self.shared_address(inst.args[0]);
        let size = self.temp(&format!("select {}, i32 16, i32 0", self.typed(inst.args[2])));
        let asm = Asm::new("cp.async.cg.shared.global [$0], [$1], 16, $2;", Effect::Memory).input("r", to);
        let asm = self.input(asm, inst.args[1]).input("r", format!("i32 {size}"));
        self.assembly(asm, &[]);
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "the caller names the ops")]
    pub(super) fn mbarrier(&mut self, inst: &Inst) {
        let text = match inst.op {
            Op::MbarrierInit => "mbarrier.init.shared::cta.b64 [$0], $1;",
            Op::MbarrierArrive => "@$1 mbarrier.arrive.shared::cta.b64 _, [$0];",
            Op::MbarrierExpect => "@$2 mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], $1;",
            // Labels are local to the braces, and no kernel can be called so.
            Op::MbarrierWait => {
                "{ .reg .pred %is_done; %again: mbarrier.try_wait.parity.shared::cta.b64 %is_done, [$0], $1; \
                 @%is_done bra %over; bra %again; %over: }"
            }
            _ => return,
        };
        let barrier = self.shared_address(inst.args[0]);
        let asm = Asm::new(text, Effect::Memory).input("r", barrier);
        let asm = self.inputs(asm, &inst.args[1..]);
        self.assembly(asm, &[]);
    }

    pub(super) fn tensor_load(&mut self, rank: u32, inst: &Inst) {
        let rank = rank as usize;
        let name = "shared::cluster.global.mbarrier::complete_tx::bytes";
        let coordinates = operands(4, rank);
        let text = format!("@$3 cp.async.bulk.tensor.{rank}d.{name} [$0], [$1, {{{coordinates}}}], [$2];");
        let (to, barrier) = (self.shared_address(inst.args[0]), self.shared_address(inst.args[2]));
        let asm = self.input(Asm::new(text, Effect::Memory).input("r", to), inst.args[1]);
        let asm = self.inputs(asm.input("r", barrier), &inst.args[3..]);
        self.assembly(asm, &[]);
    }

    pub(super) fn tensor_store(&mut self, rank: u32, inst: &Inst) {
        let rank = rank as usize;
        let coordinates = operands(3, rank);
        let name = "global.shared::cta.bulk_group";
        let text = format!("@$2 cp.async.bulk.tensor.{rank}d.{name} [$0, {{{coordinates}}}], [$1];");
        let from = self.shared_address(inst.args[1]);
        let asm = self.input(Asm::new(text, Effect::Memory), inst.args[0]).input("r", from);
        let asm = self.inputs(asm, &inst.args[2..]);
        self.assembly(asm, &[]);
    }
}
