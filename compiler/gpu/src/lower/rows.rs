//! Placeholder.
use super::Lower;
use crate::Limit;
use pantile_ir::Inst;
impl<'f> Lower<'f> {
    /// An op along one dim.
    pub(crate) fn row_op(&mut self, inst: &'f Inst) -> Result<(), Limit> {
        Err(self.bug(format!("{:?}", inst.op)))
    }
}
