//! Layouts of shared memory: rows one after another, and the swizzles that TMA writes and wgmma reads. The swizzle that an
//! exchange between two register layouts wants is computed in `exchange.rs`, not chosen from these.

use super::{Axes, Layout, LayoutError, Memory, Name, Offset};
use crate::Swizzle;

/// Bytes after which every swizzle repeats.
const PERIOD: u64 = 1024;

/// Where a swizzle puts the byte that would be at `byte`.
fn permuted(swizzle: Swizzle, byte: u64) -> u64 {
    byte / PERIOD * PERIOD + u64::from(swizzle.apply((byte % PERIOD) as u32))
}

impl<D: Name> Memory<D> {
    /// Elements one after another, the first listed dim fastest.
    ///
    /// # Errors
    /// A size that is no power of two, a dim listed twice.
    pub fn rows(dims: &[(D, u64)]) -> Result<Memory<D>, LayoutError> {
        Axes::new(dims.iter().copied())?;
        let empty = Layout::copies(Offset, 1)?;
        dims.iter().try_fold(empty, |rows, (d, size)| rows.product(&Layout::line(Offset, *d, *size)?))
    }

    /// A tile as TMA writes it and wgmma reads it: boxes as wide as the swizzle says along the dim that is contiguous, one
    /// after another; in a box, rows one after another, their 16-byte units permuted. Elements have `bytes` bytes. The base
    /// address must be a multiple of 1024. Without a swizzle it is one box of plain rows.
    ///
    /// # Errors
    /// A size that is no power of two; fewer contiguous elements than a box has.
    pub fn boxes(swizzle: Swizzle, contiguous: (D, u64), rows: (D, u64), bytes: u32) -> Result<Memory<D>, LayoutError> {
        let Some(span) = swizzle.span() else { return Memory::rows(&[contiguous, rows]) };
        if !matches!(bytes, 1 | 2 | 4 | 8) || contiguous.1 < u64::from(span / bytes) {
            let has = contiguous.1;
            let what =
                format!("a row of {has} elements of {bytes} bytes is no {span}-byte box; use a narrower swizzle");
            return Err(LayoutError::Instruction { what });
        }
        let width = u64::from(span / bytes);
        let plain = Memory::rows(&[(contiguous.0, width), rows])?;
        let scale = bytes.ilog2();
        let at = |b: u32| plain.matrix().apply(permuted(swizzle, 1 << (b + scale)) >> scale);
        let columns = (0..plain.ins().total()).map(at).collect();
        let one = Layout::of_columns(plain.outs().clone(), vec![(Offset, columns)])?;
        one.product(&Layout::line(Offset, contiguous.0, contiguous.1 / width)?)
    }
}
