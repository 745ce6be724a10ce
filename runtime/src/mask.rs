//! Block masks: one bool a block, kept as bytes, counts and ascending lists, so that loops visit what is kept and nothing
//! else. Which blocks to keep is the kernels' business.

use pantile_ir::DType;

use crate::storage::{Home, Storage};
use crate::{Device, Error, Result, Tensor};

/// A mask over blocks, shape `[rows…, columns]`. Its lists are valid by construction: ascending, in range, as long as
/// their count says.
#[derive(Clone, Debug)]
pub struct Mask {
    shape: Vec<usize>,
    pub(crate) bits: Tensor,
    pub(crate) count: Tensor,
    pub(crate) list: Tensor,
}

impl Mask {
    /// Nothing kept.
    ///
    /// # Errors
    /// If the shape has no axis, is too large, or its last axis has more than 2³¹ − 1 columns.
    pub fn empty(shape: &[usize]) -> Result<Self> {
        Self::empty_in(None, shape)
    }

    /// The same on a GPU, or on the host.
    pub(crate) fn empty_in(home: Home<'_>, shape: &[usize]) -> Result<Self> {
        let rows = rows(shape)?;
        Ok(Self {
            shape: shape.to_vec(),
            bits: Tensor::zeros_in(home, DType::U8, shape)?,
            count: Tensor::zeros_in(home, DType::I32, rows)?,
            list: Tensor::zeros_in(home, DType::I32, shape)?,
        })
    }

    /// The same mask, its memory copied to a device unless it is there already, as [`Tensor::to`].
    ///
    /// # Errors
    /// If the device has not enough memory, or is lost.
    pub fn to(&self, device: &Device) -> Result<Self> {
        let shape = self.shape.clone();
        Ok(Self { shape, bits: self.bits.to(device)?, count: self.count.to(device)?, list: self.list.to(device)? })
    }

    /// Nothing kept, over zeros that are enough: for bits, counts and lists.
    ///
    /// # Errors
    /// As [`Mask::empty`], or if the memory is too small.
    pub(crate) fn over(shape: &[usize], [bits, count, list]: [Storage; 3]) -> Result<Self> {
        let rows = rows(shape)?;
        Ok(Self {
            shape: shape.to_vec(),
            bits: Tensor::over(bits, DType::U8, shape)?,
            count: Tensor::over(count, DType::I32, rows)?,
            list: Tensor::over(list, DType::I32, shape)?,
        })
    }

    /// Its memory, what of it no other mask shares: bits, counts and lists.
    pub(crate) fn into_storage(self) -> [Option<Storage>; 3] {
        [self.bits, self.count, self.list].map(Tensor::into_storage)
    }

    fn clear(&mut self) -> Result<()> {
        for part in [&mut self.bits, &mut self.count, &mut self.list] {
            let bytes = part.len() * part.dtype().bytes();
            part.storage_mut("an output mask")?.fill(0, bytes)?;
        }
        Ok(())
    }

    /// Keeps what is true, in its own memory.
    ///
    /// # Errors
    /// If others share its memory, or there are not as many bools as blocks.
    pub(crate) fn fill(&mut self, keep: &[bool]) -> Result<()> {
        if keep.len() != self.bits.len() {
            let want = self.bits.len();
            let shape = &self.shape;
            return Err(Error::Mask(format!("shape {shape:?} has {want} blocks, but {} bools are given", keep.len())));
        }
        self.clear()?;
        for (row, keep) in keep.chunks_exact(self.columns().max(1)).enumerate() {
            self.set_row(row, keep.iter().enumerate().filter(|(_, k)| **k).map(|(c, _)| c));
        }
        Ok(())
    }

    /// What another mask of the same shape keeps.
    ///
    /// # Errors
    /// If the shapes differ, or others share its memory.
    pub(crate) fn copy_from(&mut self, from: &Mask) -> Result<()> {
        self.bits.copy_from(&from.bits)?;
        self.count.copy_from(&from.count)?;
        self.list.copy_from(&from.list)
    }

    /// From one bool a block, row-major.
    ///
    /// # Errors
    /// As [`Mask::empty`], or if there are not as many bools as the shape says.
    pub fn from_bools(shape: &[usize], keep: &[bool]) -> Result<Self> {
        let mut mask = Self::empty(shape)?;
        mask.fill(keep)?;
        Ok(mask)
    }

    /// From the kept columns of each row, rows row-major; `shape` ends with the number of columns.
    ///
    /// # Errors
    /// As [`Mask::empty`], if the number of rows is wrong, or if a list is not ascending or leaves the range.
    pub fn from_lists(shape: &[usize], lists: &[Vec<i32>]) -> Result<Self> {
        let mut mask = Self::empty(shape)?;
        let columns = mask.columns();
        if lists.len() != mask.count.len() {
            let want = mask.count.len();
            return Err(Error::Mask(format!("shape {shape:?} has {want} rows, but {} lists are given", lists.len())));
        }
        for (row, list) in lists.iter().enumerate() {
            if let Some(wrong) = list.iter().find(|c| usize::try_from(**c).map_or(true, |c| c >= columns)) {
                return Err(Error::Mask(format!("row {row} lists column {wrong}, but there are {columns} columns")));
            }
            if let Some(pair) = list.windows(2).find(|p| p[0] >= p[1]) {
                return Err(Error::Mask(format!("row {row} lists {} before {}: not ascending", pair[0], pair[1])));
            }
            mask.set_row(row, list.iter().map(|c| *c as usize));
        }
        Ok(mask)
    }

    fn set_row(&mut self, row: usize, kept: impl Iterator<Item = usize>) {
        let columns = self.columns();
        let at = row * columns;
        let (Some(bits), Some(list), Some(count)) =
            (self.bits.as_slice_mut::<u8>(), self.list.as_slice_mut::<i32>(), self.count.as_slice_mut::<i32>())
        else {
            return;
        };
        for column in kept {
            bits[at + column] = 1;
            list[at + count[row] as usize] = column as i32;
            count[row] += 1;
        }
    }

    /// The number of blocks along each axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of blocks along the listed axis.
    pub fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(0)
    }

    /// How many blocks are kept.
    pub fn kept(&self) -> usize {
        self.counts().iter().map(|c| *c as usize).sum()
    }

    /// The kept part of all blocks; 1 if there are none.
    pub fn density(&self) -> f64 {
        let all = self.bits.len();
        if all == 0 { 1.0 } else { self.kept() as f64 / all as f64 }
    }

    /// How many blocks each row keeps.
    pub fn counts(&self) -> &[i32] {
        self.count.as_slice().unwrap_or_default()
    }

    /// The kept columns of a row, ascending.
    pub fn row(&self, row: usize) -> &[i32] {
        let start = row * self.columns();
        let lists = self.list.as_slice::<i32>().unwrap_or_default();
        lists.get(start..start + self.counts().get(row).map_or(0, |c| *c as usize)).unwrap_or_default()
    }

    /// One byte a block, 0 or 1, row-major: u8, the mask's shape.
    pub fn bits(&self) -> &Tensor {
        &self.bits
    }

    /// One bool a block, row-major.
    pub fn to_bools(&self) -> Vec<bool> {
        self.bits.as_slice::<u8>().unwrap_or_default().iter().map(|b| *b != 0).collect()
    }
}

/// The shape without the listed axis, if it can be a mask's.
fn rows(shape: &[usize]) -> Result<&[usize]> {
    let Some((&columns, rows)) = shape.split_last() else {
        return Err(Error::Mask("it needs at least one axis".into()));
    };
    if i32::try_from(columns).is_err() {
        return Err(Error::Mask(format!("{columns} columns are too many to be listed")));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::Mask;

    #[test]
    fn bools_and_lists_say_the_same() {
        let keep = [true, false, true, false, false, false];
        let a = Mask::from_bools(&[2, 3], &keep).unwrap();
        let b = Mask::from_lists(&[2, 3], &[vec![0, 2], vec![]]).unwrap();
        for mask in [a, b] {
            assert_eq!(mask.to_bools(), keep);
            assert_eq!((mask.row(0), mask.row(1)), (&[0, 2][..], &[][..]));
            assert_eq!((mask.kept(), mask.counts()), (2, &[2, 0][..]));
        }
    }

    #[test]
    fn what_is_not_a_mask_is_refused() {
        let refused = |lists: &[Vec<i32>]| Mask::from_lists(&[1, 3], lists).unwrap_err().to_string();
        assert!(refused(&[vec![0, 3]]).contains("column 3"));
        assert!(refused(&[vec![-1]]).contains("column -1"));
        assert!(refused(&[vec![1, 1]]).contains("not ascending"));
        assert!(refused(&[]).contains("1 rows"));
        assert!(Mask::from_bools(&[2, 2], &[true; 3]).is_err());
        assert!(Mask::from_bools(&[2, 0], &[]).is_ok());
        assert!(Mask::empty(&[]).is_err());
        assert!(Mask::empty(&[0, 1 << 32]).is_err());
    }
}
