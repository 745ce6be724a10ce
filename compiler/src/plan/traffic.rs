//! Bytes that steps move: of each tensor that a step reads or writes, its bytes, once. This is what the arguments hold, not
//! what caches or memory buses see: a tensor that is read again and again, or by several calls
//! of one launch, counts once; one that is read in part counts whole.

use super::uses::{Access, does};
use super::{Plan, PlanArg, Step};

/// What one buffer has to do with one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// The step.
    pub step: usize,
    /// The buffer.
    pub buffer: usize,
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
}

impl Plan {
    /// What every step reads and writes, in order.
    pub fn traffic(&self) -> Vec<Traffic> {
        let mut all = Vec::new();
        for (step, s) in self.steps.iter().enumerate() {
            let bytes = |buffer: usize| self.buffers[buffer].what.bytes();
            let first = all.len();
            let mut row = |buffer: usize, read: bool, written: bool| {
                let (read, written) = (u64::from(read) * bytes(buffer), u64::from(written) * bytes(buffer));
                match all[first..].iter_mut().find(|t: &&mut Traffic| t.buffer == buffer) {
                    Some(known) => (known.read, known.written) = (known.read.max(read), known.written.max(written)),
                    None => all.push(Traffic { step, buffer, read, written }),
                }
            };
            match s {
                Step::Copy { from, to, .. } | Step::Permute { from, to, .. } => {
                    row(*from, true, false);
                    row(*to, false, true);
                }
                Step::Launch { func, calls, .. } => {
                    let reads: Vec<bool> = {
                        let read = |n| does(&func.body, n, &[Access::Reads, Access::Adds]);
                        (0..func.params.len()).map(read).collect()
                    };
                    for call in calls {
                        for (n, (param, arg)) in func.params.iter().zip(&call.args).enumerate() {
                            if let PlanArg::Buffer(buffer) = arg {
                                row(*buffer, reads[n], param.out);
                            }
                        }
                    }
                }
            }
        }
        all
    }
}
