//! Copies of tensors on a GPU that are not one piece of memory: by kernels written in the language, one a rank and the axes that
//! are walked in tiles, compiled at first need. What fits what has been checked by `gather.rs`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Gpu;
use crate::launch::Out;
use crate::{Device, KernelOn, Module, Result, Tensor};

/// Elements of a tile.
const TILE: i64 = 2048;

/// The most along the last axis.
const ROW: i64 = 256;

/// What the kernels are called.
pub(crate) const NAME: &str = "copy";

/// Sizes of blocks along the last axis, and along the one beside it.
pub(crate) type Blocks = (i64, i64);

/// Kernels by what they copy.
#[derive(Default)]
pub(crate) struct Copies {
    kernels: Mutex<HashMap<(Form, Blocks), KernelOn>>,
}

/// What a kernel copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Form {
    rank: usize,
    /// The axis that is walked in tiles beside the last one, if there is another.
    beside: Option<usize>,
    /// The axis along which a table says what comes from where.
    gathered: Option<usize>,
}

impl Form {
    /// The best one for a copy of this tensor. Neighbours along the last axis are neighbours in the target; those along the
    /// axis beside it, if it can be chosen, in the source.
    fn of(from: &Tensor, gathered: Option<usize>) -> Self {
        if let Some(axis) = gathered {
            return Self::gather(from.rank(), axis);
        }
        let last = from.rank().saturating_sub(1);
        let closest = (0..last).filter(|a| from.shape()[*a] > 1).min_by_key(|a| (from.strides()[*a], last - *a));
        Self { rank: from.rank(), beside: closest, gathered: None }
    }

    /// That of a copy in another order along an axis.
    pub(crate) fn gather(rank: usize, axis: usize) -> Self {
        Self { rank, beside: Some(axis).filter(|axis| axis + 1 != rank), gathered: Some(axis) }
    }

    /// The kernel, in a module of its own.
    pub(crate) fn module(self) -> Result<Module> {
        Module::from_text("copy.tile", &self.text())
    }

    /// Its constants.
    pub(crate) fn constants(self, (row, beside): Blocks) -> Vec<(&'static str, i64)> {
        let beside = self.beside.map(|_| ("R", beside));
        [("P", row)].into_iter().chain(beside).collect()
    }

    fn text(self) -> String {
        let Self { rank, beside, gathered } = self;
        let last = rank - 1;
        let block = |axis: usize| match axis {
            axis if axis == last => Some("P"),
            axis => beside.filter(|beside| *beside == axis).map(|_| "R"),
        };
        let each = |text: &dyn Fn(usize) -> String| (0..rank).map(text).collect::<Vec<_>>().join(", ");
        let of = |axes: &str, table: &str| {
            let beside = if beside.is_some() { ", R: int = 16" } else { "" };
            format!("kernel {NAME}<T: number, P: int = 64{beside}>(x: tensor<T>[{axes}]{table})")
        };
        let target = each(&|n| format!("A{n}"));
        let source = each(&|n| if gathered == Some(n) { "E".to_owned() } else { format!("A{n}") });
        let table = gathered.map_or(String::new(), |n| format!(", s: tensor<i32>[A{n}]"));
        let mut axes: Vec<usize> = (0..rank).rev().collect();
        axes.sort_by_key(|n| block(*n).is_none());
        let grid = axes.iter().map(|n| match block(*n) {
            Some(block) => format!("i{n} in A{n} by {block}"),
            None => format!("i{n} in A{n}"),
        });
        let grid = grid.collect::<Vec<_>>().join(", ");
        let places = each(&|n| format!("i{n}"));
        let from = each(&|n| if gathered == Some(n) { "from".to_owned() } else { format!("i{n}") });
        let body = match gathered {
            Some(n) => format!("let from = s[i{n}];\n    y[{places}] = where(from >= 0, x[{from}], 0 as T);"),
            None => format!("y[{places}] = x[{places}];"),
        };
        format!("{} -> (y: tensor<T>[{target}]) grid ({grid}) {{\n    {body}\n}}\n", of(&source, &table))
    }

    /// Sizes of blocks for a target of this shape.
    pub(crate) fn blocks(self, shape: &[usize]) -> Blocks {
        let size = |axis: usize| (shape[axis].max(1).next_power_of_two() as i64).min(TILE);
        match self.beside {
            None => (size(self.rank - 1), 1),
            Some(beside) => {
                let row = size(self.rank - 1).min(ROW);
                (row, size(beside).min(TILE / row))
            }
        }
    }
}

impl Copies {
    /// Writes all of `to`, which is dense and has a dim, from a tensor that differs from it along the gathered axis alone;
    /// zero where the table has a number below 0. It is queued.
    ///
    /// # Errors
    /// If the kernel cannot be compiled here, or the GPU is lost.
    pub(crate) fn copy(
        &self,
        gpu: &Arc<Gpu>,
        to: &mut Tensor,
        from: &Tensor,
        gathered: Option<(usize, &Tensor)>,
    ) -> Result<()> {
        self.copy_on(&Device::of(gpu), to, from, gathered)
    }

    fn copy_on(
        &self,
        device: &Device,
        to: &mut Tensor,
        from: &Tensor,
        gathered: Option<(usize, &Tensor)>,
    ) -> Result<()> {
        let form = Form::of(from, gathered.map(|(axis, _)| axis));
        let kernel = self.kernel(device, form, form.blocks(to.shape()))?;
        let from = from.as_bits();
        let running = to.with_bits(|to| match gathered {
            None => kernel.start_into((&from,), vec![Out::Tensor(to)]),
            Some((_, table)) => kernel.start_into((&from, table), vec![Out::Tensor(to)]),
        })?;
        // No instance of it can stop.
        running.detach();
        Ok(())
    }

    fn kernel(&self, device: &Device, form: Form, blocks: Blocks) -> Result<KernelOn> {
        let kernels = || self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = kernels().get(&(form, blocks)) {
            return Ok(kernel.clone());
        }
        let kernel = form.module()?.kernel(NAME)?;
        let kernel = form.constants(blocks).into_iter().fold(kernel, |kernel, (name, n)| kernel.with(name, n));
        Ok(kernels().entry((form, blocks)).or_insert(kernel.on(device)).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::Copies;
    use crate::{DType, Device, Tensor};

    #[test]
    fn kernels_copy_what_the_host_copies() {
        let mut state = 11u64;
        let mut random = |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };
        let copies = Copies::default();
        for case in 0..60 {
            let dtype = [DType::Bool, DType::F8E4M3, DType::BF16, DType::F32, DType::I64][random(5)];
            let rank = 1 + random(4);
            let shape: Vec<usize> = (0..rank).map(|_| 1 + random(if rank < 3 { 70 } else { 6 })).collect();
            let bytes = shape.iter().product::<usize>() * dtype.bytes();
            let data: Vec<u8> = (0..bytes).map(|_| random(if dtype == DType::Bool { 2 } else { 256 }) as u8).collect();
            let mut axes: Vec<usize> = (0..rank).collect();
            (1..rank).for_each(|n| axes.swap(n, random(n + 1)));
            let from = Tensor::from_bytes(dtype, &shape, &data).unwrap().permute(&axes).unwrap();
            let axis = random(rank);
            let size = from.shape()[axis];
            let table: Vec<i32> = (0..1 + random(2 * size)).map(|_| random(size + 1) as i32 - 1).collect();
            let table = (random(3) > 0).then(|| Tensor::from_slice(&[table.len()], &table).unwrap());
            let mut shape = from.shape().to_vec();
            shape[axis] = table.as_ref().map_or(size, Tensor::len);
            let [mut want, mut got] = [(); 2].map(|()| Tensor::zeros(dtype, &shape).unwrap());
            match &table {
                Some(table) => want.gather(&from, axis, table).unwrap(),
                None => want.copy_from(&from).unwrap(),
            }
            let table = table.as_ref().map(|table| (axis, table));
            copies.copy_on(&Device::cpu(), &mut got, &from, table).unwrap();
            assert_eq!(got.to_bytes().unwrap(), want.to_bytes().unwrap(), "case {case}: {shape:?} of {axes:?}");
        }
    }
}
