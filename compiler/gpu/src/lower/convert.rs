//! Moves a tile from one spread to another through shared memory. Permutations of registers never come here.

use pantile_ir::DimId;

use super::staged::Staged;
use super::{Held, Lower, Spread};
use crate::Limit;
use crate::simt::Value as Reg;

impl Lower<'_> {
    /// The tile in another spread.
    pub(crate) fn convert(&mut self, dims: &[DimId], from: &Held, to: &Spread) -> Result<Vec<Reg>, Limit> {
        let Some(first) = from.registers.first() else { return Err(self.bug("a tile without registers")) };
        let ty = self.b.ty(*first);
        let staged = Staged::plain(self.bits_of(dims), Self::unit_bytes(ty));
        let base = self.scratch(staged.bytes);
        self.stage(&staged, base, from);
        self.meet();
        Ok(self.unstage(&staged, base, to, ty))
    }
}
