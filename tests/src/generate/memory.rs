//! Loads, stores and masks, with indices that cannot be out of range unless they are lanes.

use pantile_ir::{Axis, BinaryOp, DType, DimId, Index, Kind, Op, ParamId, StoreMode, Type, Value};

use super::bounds::Bounds;
use super::{Generator, OutAxis};

impl Generator<'_> {
    pub(super) fn load(&mut self) -> Option<()> {
        let n = self.source.below(self.tensors.len());
        let (param, bounds) = (self.tensors[n].param, self.tensors[n].bounds);
        let axes = self.build.func.axes(param).to_vec();
        let (mut index, mut args) = (Vec::new(), Vec::new());
        for axis in axes {
            let (i, arg) = self.index(axis);
            index.push(i);
            args.extend(arg);
        }
        let mut dims = index_dims(&index);
        dims.extend(args.iter().flat_map(|v| self.ty(*v).dims()));
        dims.sort();
        dims.dedup();
        if self.lanes(&dims) > 1200 {
            return None;
        }
        self.push(Op::Load(param, index), &args, bounds);
        Some(())
    }

    fn dims_over(&self, axis: Axis) -> Vec<DimId> {
        let over = |d: &DimId| self.build.func.dim(*d).over == Some(axis.extent) && axis.by.is_none();
        self.dims.iter().rev().copied().filter(over).collect()
    }

    /// Some index of an axis.
    fn index(&mut self, axis: Axis) -> (Index, Option<Value>) {
        let dims = self.dims_over(axis);
        if !dims.is_empty() && !self.source.chance(25) {
            return (Index::Dim(self.source.pick(&dims)), None);
        }
        let tiles = self.source.chance(50);
        if let Some(place) = if tiles { None } else { self.place(axis) } {
            return (Index::Value, Some(place));
        }
        (Index::Value, Some(self.index_tile()))
    }

    /// An i64 tile, whatever its values.
    fn index_tile(&mut self) -> Value {
        let found = self.pick(|g, v| g.ty(v).dtype() == DType::I64 && !g.ty(v).dims().is_empty());
        found.unwrap_or_else(|| {
            let size = 1 + self.source.below(6) as i64;
            let name = format!("d{}", self.build.func.dims.len());
            let dim = self.add_dim(pantile_ir::Dim { name, size, over: None, order: None, whole: false, full: false });
            self.push(Op::Pos(dim), &[], Bounds::exact(8.0))
        })
    }

    /// A scalar that is a valid place along an axis, if there is one.
    pub(super) fn place(&mut self, axis: Axis) -> Option<Value> {
        let mut found: Vec<Value> = self.places.iter().rev().filter(|(_, a)| *a == axis).map(|(v, _)| *v).collect();
        let blocks: Vec<DimId> = self.dims.iter().copied().filter(|d| self.counted_by(*d) == Some(axis)).collect();
        if !blocks.is_empty() && !self.build.func.dim(blocks[0]).whole {
            let dim = self.source.pick(&blocks);
            found.push(self.push(Op::BlockIndex(dim), &[], Bounds::exact(32.0)));
        }
        if self.source.chance(1) {
            self.may_fault = true;
            found = self.pool.iter().copied().filter(|v| *self.ty(*v) == Type::Scalar(DType::I64)).collect();
        }
        if !found.is_empty() {
            return Some(self.source.pick(&found));
        }
        let size = self.build.func.axis_size(axis, &self.extents);
        if size == 0 {
            return None;
        }
        let at = self.source.below(size as usize) as i64;
        Some(self.int(at))
    }

    pub(super) fn store(&mut self) -> Option<()> {
        let n = self.source.below(self.outputs.len());
        self.store_to(n)
    }

    /// Stores something into output `n`.
    pub(super) fn store_to(&mut self, n: usize) -> Option<()> {
        let (index, args, lanes) = self.out_index(n)?;
        let mut dims = index_dims(&index);
        dims.extend(args.iter().flat_map(|v| self.ty(*v).dims()));
        let fits = |g: &Self, v: Value| g.ty(v).dims().iter().all(|d| dims.contains(d));
        let dtype = self.outputs[n].dtype;
        let number = dtype.kind() != Kind::Bool;
        let mode = match self.outputs[n].atomic {
            true => StoreMode::AtomicAdd,
            false if number && self.source.chance(20) => StoreMode::Add,
            false => StoreMode::Set,
        };
        let kept = |g: &Self, v: Value| fits(g, v) && g.ty(v).dtype() == dtype;
        let own = if self.source.chance(70) { self.pick(kept) } else { None };
        let found = own
            .or_else(|| self.pick(fits))
            .and_then(|v| self.coerce(v, dtype))
            .filter(|v| self.account(n, mode, *v, lanes));
        let value = match found {
            Some(value) => value,
            None => {
                let one = self.constant(dtype, 1);
                self.account(n, mode, one, lanes).then_some(one)?
            }
        };
        let mask =
            if self.source.chance(25) { self.pick(|g, v| g.ty(v).dtype() == DType::Bool && fits(g, v)) } else { None };
        let mut operands = args;
        operands.push(value);
        operands.extend(mask);
        let op = Op::Store { param: self.outputs[n].param, index, mode, masked: mask.is_some() };
        self.build.try_push(op, &operands).ok().map(|_| ())
    }

    /// Where this instance may store, the operands of that, and how many lanes may meet in one element.
    fn out_index(&mut self, n: usize) -> Option<(Vec<Index>, Vec<Value>, f64)> {
        let (axes, atomic) = (self.outputs[n].axes.clone(), self.outputs[n].atomic);
        let (mut index, mut args, mut lanes) = (Vec::new(), Vec::new(), 1.0);
        for axis in axes {
            let (i, arg) = match axis {
                OutAxis::Dim(d) => (Index::Dim(d), None),
                OutAxis::Each(value) => (Index::Value, Some(value)),
                OutAxis::Block(d) => (Index::Value, Some(self.push(Op::BlockIndex(d), &[], Bounds::exact(32.0)))),
                OutAxis::Free(axis) if atomic => self.index(axis),
                OutAxis::Free(axis) => self.distinct_index(axis)?,
            };
            lanes *= arg.map_or(1, |v| self.lanes(self.ty(v).dims())) as f64;
            index.push(i);
            args.extend(arg);
        }
        let mut dims = index_dims(&index);
        dims.extend(args.iter().flat_map(|v| self.ty(*v).dims()));
        dims.sort();
        dims.dedup();
        (self.lanes(&dims) <= 1200).then_some((index, args, lanes))
    }

    /// An index whose lanes are different places.
    fn distinct_index(&mut self, axis: Axis) -> Option<(Index, Option<Value>)> {
        let dims = self.dims_over(axis);
        if !dims.is_empty() && !self.source.chance(20) {
            return Some((Index::Dim(self.source.pick(&dims)), None));
        }
        if self.source.chance(50) {
            return self.place(axis).map(|v| (Index::Value, Some(v)));
        }
        let dim = self.any_dim()?;
        let lanes = self.push(Op::Pos(dim), &[], Bounds::exact(32.0));
        let by = self.scalar_int();
        Some((Index::Value, Some(self.push(Op::Binary(BinaryOp::Sub), &[lanes, by], Bounds::exact(40.0)))))
    }

    /// Adds what is stored to what is known of the output; false if it could then not be compared.
    fn account(&mut self, n: usize, mode: StoreMode, value: Value, lanes: f64) -> bool {
        let known = self.known(value);
        let times = self.trips * lanes * if mode == StoreMode::AtomicAdd { self.instances } else { 1.0 };
        let out = &mut self.outputs[n];
        let (mut set, mut added, mut adds) = (out.set, out.added, out.adds);
        match mode {
            StoreMode::Set => set = set.max(known),
            StoreMode::Add | StoreMode::AtomicAdd => {
                added = Bounds { size: added.size + times * known.size, error: added.error + times * known.error };
                adds += times;
            }
        }
        let total = set.size + added.size;
        let arithmetic = adds > 0.0 || !set.is_exact();
        if out.dtype.is_float() && arithmetic && total > super::bounds::limit(out.dtype) {
            return false;
        }
        (out.set, out.added, out.adds) = (set, added, adds);
        true
    }

    /// The value of a row of a mask, in scope or at hand.
    pub(super) fn mask_get(&mut self) -> Option<()> {
        if self.masks.is_empty() {
            return None;
        }
        let param = self.masks[self.source.below(self.masks.len())].param;
        let axes = self.build.func.axes(param).to_vec();
        let at = axes.into_iter().map(|axis| self.place(axis)).collect::<Option<Vec<_>>>()?;
        self.push(Op::MaskGet(param), &at, Bounds::exact(1.0));
        Some(())
    }

    /// The indices of a mask's row: places along all axes but the last.
    pub(super) fn mask_row(&mut self, param: ParamId) -> Option<Vec<Value>> {
        let axes = self.build.func.axes(param).to_vec();
        axes[..axes.len() - 1].iter().map(|axis| self.place(*axis)).collect()
    }

    pub(super) fn mask_put(&mut self, n: usize) -> Option<()> {
        let (param, index, mut args) = self.mask_outputs[n].clone();
        let dims = index_dims(&index);
        let fits = |g: &Self, v: Value| g.ty(v).dims().iter().all(|d| dims.contains(d));
        let found = self.pick(|g, v| g.ty(v).dtype() == DType::Bool && fits(g, v));
        let value = match found {
            Some(value) => value,
            None => {
                let last = self.push(Op::Pos(*dims.last()?), &[], Bounds::exact(32.0));
                let two = self.int(2);
                let left = self.push(Op::Binary(BinaryOp::Rem), &[last, two], Bounds::exact(1.0));
                self.coerce(left, DType::Bool)?
            }
        };
        args.push(value);
        self.build.try_push(Op::MaskPut(param, index), &args).ok().map(|_| ())
    }
}

fn index_dims(index: &[Index]) -> Vec<DimId> {
    let dim = |i: &Index| match i {
        Index::Dim(d) => Some(*d),
        Index::Value => None,
    };
    index.iter().filter_map(dim).collect()
}
