//! Loads, stores and mask rows: from indices to elements of an array, with every bound checked. Nothing is computed here.

use std::rc::Rc;

use pantile_ir::{Axis, BinaryOp, DType, Func, Index, ParamId, Scalar, StoreMode, eval};

use crate::machine::Machine;
use crate::tile::{Space, Tile};
use crate::{Arg, Array, Data, MaskArray};

/// The elements that an index names, one a lane of `space`.
pub(crate) struct Places {
    pub space: Space,
    /// Offset into the dense array; `None` outside it.
    pub offsets: Vec<Option<usize>>,
}

impl Machine<'_> {
    /// Where `index` of a tensor or mask points; `args` are the operands of its [`Index::Value`]s.
    fn places(&self, param: ParamId, index: &[Index], args: &[Rc<Tile>]) -> Result<Places, String> {
        let axes = self.func.axes(param);
        let sizes: Vec<i64> = axes.iter().map(|axis| self.func.axis_size(*axis, self.extents)).collect();
        let mut args = args.iter();
        let mut coords: Vec<Rc<Tile>> = Vec::with_capacity(axes.len());
        for (n, index) in index.iter().enumerate() {
            coords.push(match index {
                Index::Dim(d) => {
                    let space = self.space(&[*d]);
                    Rc::new(space.tile(Data::Int(self.elements(*d))))
                }
                Index::Value => {
                    let at = args.next().ok_or("an index operand is missing")?;
                    if at.dims.is_empty() {
                        in_range(self.func, param, &axes[n], at.first().as_i64(), sizes[n])?;
                    }
                    Rc::clone(at)
                }
            });
        }
        let mut dims: Vec<_> = coords.iter().flat_map(|c| c.dims.iter().copied()).collect();
        dims.sort();
        dims.dedup();
        let space = self.space(&dims);
        let mut offsets = offsets(&space, &coords, &sizes);
        if self.hooks.padding.is_some() {
            let padding = self.padding_of(&space);
            offsets.iter_mut().zip(padding).filter(|(_, p)| *p).for_each(|(o, _)| *o = None);
        }
        Ok(Places { space, offsets })
    }

    pub(crate) fn load(&self, param: ParamId, index: &[Index], args: &[Rc<Tile>]) -> Result<Tile, String> {
        let places = self.places(param, index, args)?;
        let array = self.array(param)?;
        fn read<T: Copy + Default>(v: &[T], offsets: &[Option<usize>]) -> Vec<T> {
            offsets.iter().map(|o| o.map_or(T::default(), |o| v[o])).collect()
        }
        let data = match &array.data {
            Data::Float(v) => Data::Float(read(v, &places.offsets)),
            Data::Int(v) => Data::Int(read(v, &places.offsets)),
            Data::Bool(v) => Data::Bool(read(v, &places.offsets)),
        };
        Ok(places.space.tile(data))
    }

    /// `args`: the index operands, the value, and if `masked` which lanes are stored.
    pub(crate) fn store(
        &mut self,
        param: ParamId,
        index: &[Index],
        mode: StoreMode,
        masked: bool,
        args: &[Rc<Tile>],
    ) -> Result<(), String> {
        let used = index.iter().filter(|i| **i == Index::Value).count();
        let places = self.places(param, index, &args[..used])?;
        let value = args[used].spread(&places.space);
        let mask = if masked { Some(args[used + 1].spread(&places.space)) } else { None };
        let stored = |n: &usize| mask.as_ref().is_none_or(|m| m.get(*n).as_bool());
        for n in (0..places.offsets.len()).filter(stored) {
            let Some(offset) = places.offsets[n] else { continue };
            if mode != StoreMode::AtomicAdd {
                self.claim(param, offset)?;
            }
            let array = self.array_mut(param)?;
            let x = match mode {
                StoreMode::Set => value.get(n),
                StoreMode::Add | StoreMode::AtomicAdd => add(array.dtype, array.data.get(offset), value.get(n)),
            };
            array.data.set(offset, x);
        }
        Ok(())
    }

    pub(crate) fn mask_put(&mut self, param: ParamId, index: &[Index], args: &[Rc<Tile>]) -> Result<(), String> {
        let (value, at) = args.split_last().ok_or("an operand is missing")?;
        let places = self.places(param, index, at)?;
        let value = value.spread(&places.space);
        for (n, offset) in places.offsets.iter().enumerate() {
            let Some(offset) = *offset else { continue };
            self.claim(param, offset)?;
            self.mask_mut(param)?.bits[offset] = value.get(n).as_bool();
        }
        Ok(())
    }

    /// One bool of a mask, at a block number for each axis.
    pub(crate) fn mask_get(&self, param: ParamId, at: &[i64]) -> Result<bool, String> {
        let mask = self.mask(param)?;
        let mut offset = 0;
        for ((n, axis), size) in at.iter().zip(self.func.axes(param)).zip(&mask.shape) {
            in_range(self.func, param, axis, *n, *size as i64)?;
            offset = offset * size + *n as usize;
        }
        Ok(mask.bits[offset])
    }

    /// Notes that this instance stores an element, which no other may.
    fn claim(&mut self, param: ParamId, offset: usize) -> Result<(), String> {
        let me = self.instance + 1;
        let Some(writers) = &mut self.writers[param.index()] else { return Ok(()) };
        let before = std::mem::replace(&mut writers[offset], me);
        if before == 0 || before == me {
            return Ok(());
        }
        let name = &self.func.param(param).name;
        let (first, second) = (self.coordinates(before - 1), self.coordinates(me - 1));
        let place = coordinates_in(offset, &self.shape(param));
        Err(format!("instances {first:?} and {second:?} both store element {place:?} of `{name}`"))
    }

    fn array(&self, param: ParamId) -> Result<&Array, String> {
        match &self.args[param.index()] {
            Arg::Tensor(array) => Ok(array),
            Arg::Scalar(_) | Arg::Mask(_) => Err(format!("`{}` is not a tensor", self.func.param(param).name)),
        }
    }

    fn array_mut(&mut self, param: ParamId) -> Result<&mut Array, String> {
        match &mut self.args[param.index()] {
            Arg::Tensor(array) => Ok(array),
            Arg::Scalar(_) | Arg::Mask(_) => Err(format!("`{}` is not a tensor", self.func.param(param).name)),
        }
    }

    fn mask(&self, param: ParamId) -> Result<&MaskArray, String> {
        match &self.args[param.index()] {
            Arg::Mask(mask) => Ok(mask),
            Arg::Scalar(_) | Arg::Tensor(_) => Err(format!("`{}` is not a mask", self.func.param(param).name)),
        }
    }

    fn mask_mut(&mut self, param: ParamId) -> Result<&mut MaskArray, String> {
        match &mut self.args[param.index()] {
            Arg::Mask(mask) => Ok(mask),
            Arg::Scalar(_) | Arg::Tensor(_) => Err(format!("`{}` is not a mask", self.func.param(param).name)),
        }
    }

    fn shape(&self, param: ParamId) -> Vec<usize> {
        match &self.args[param.index()] {
            Arg::Tensor(array) => array.shape.clone(),
            Arg::Mask(mask) => mask.shape.clone(),
            Arg::Scalar(_) => Vec::new(),
        }
    }
}

fn add(dtype: DType, a: Scalar, b: Scalar) -> Scalar {
    // Addition never divides, so there always is a result.
    eval::binary(BinaryOp::Add, dtype, a, b).unwrap_or(a)
}

fn in_range(func: &Func, param: ParamId, axis: &Axis, at: i64, size: i64) -> Result<(), String> {
    if (0..size).contains(&at) {
        return Ok(());
    }
    let (name, extent) = (&func.param(param).name, &func.extents[axis.extent.index()].name);
    Err(format!("index {at} of `{name}` is outside 0..{size} (along `{extent}`)"))
}

fn offsets(space: &Space, coords: &[Rc<Tile>], sizes: &[i64]) -> Vec<Option<usize>> {
    let strides: Vec<Vec<usize>> = coords.iter().map(|c| space.strides(c)).collect();
    let slices: Vec<&[usize]> = strides.iter().map(Vec::as_slice).collect();
    let axes: Vec<(&[i64], usize, i64)> = coords
        .iter()
        .zip(&strides)
        .zip(sizes)
        .filter_map(|((c, s), size)| match &c.data {
            Data::Int(v) => Some((v.as_slice(), s.last().copied().unwrap_or(0), *size)),
            Data::Float(_) | Data::Bool(_) => None,
        })
        .collect();
    let mut out = Vec::with_capacity(space.count());
    space.rows(&slices, |start, n| {
        for l in 0..n {
            let mut offset = Some(0);
            for ((v, step, size), start) in axes.iter().zip(start) {
                let at = v[start + l * step];
                offset = offset.filter(|_| (0..*size).contains(&at)).map(|o| o * *size as usize + at as usize);
            }
            out.push(offset);
        }
    });
    out
}

fn coordinates_in(offset: usize, shape: &[usize]) -> Vec<usize> {
    let mut rest = offset;
    let mut at: Vec<usize> = shape
        .iter()
        .rev()
        .map(|size| {
            let here = rest % size;
            rest /= size;
            here
        })
        .collect();
    at.reverse();
    at
}
