//! The words of a launch: which number stands where. Both the packing and the code that reads them ask here.

use pantile_ir::{DimId, ExtentId, Func, OrderId, ParamId, ParamKind};

use crate::kernel::{Arg, Launch};

/// Where each number of a launch stands, in words. Word 0 is the address of the fault.
#[derive(Clone, Debug)]
pub struct Words {
    params: Vec<u32>,
    extents: u32,
    dims: Vec<Option<u32>>,
    orders: u32,
    print: Option<u32>,
    len: u32,
}

impl Words {
    /// For a function, whose prints take effect or not.
    pub fn new(func: &Func, prints: bool) -> Self {
        let mut len = 1;
        let mut take = |n: usize| {
            len += n as u32;
            len - n as u32
        };
        let params = func
            .params
            .iter()
            .map(|p| match &p.kind {
                ParamKind::Scalar(..) => take(1),
                ParamKind::Tensor(_, axes) => take(1 + axes.len()),
                ParamKind::Mask(_) => take(3),
            })
            .collect();
        let extents = take(func.extents.len());
        let dims = func.dims.iter().map(|d| d.order.map(|_| take(3))).collect();
        let orders = take(func.orders.len());
        let print = prints.then(|| take(1));
        Self { params, extents, dims, orders, print, len }
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// The word of a parameter: the scalar; address, then strides in elements; bits, counts, lists.
    pub fn param(&self, param: ParamId, n: usize) -> u32 {
        self.params[param.index()] + n as u32
    }

    /// The word of the address where prints go, if they go anywhere.
    pub fn print(&self) -> Option<u32> {
        self.print
    }

    /// The word of an extent.
    pub fn extent(&self, extent: ExtentId) -> u32 {
        self.extents + extent.0
    }

    /// The word of an ordered dim's tables: elements, positions, lengths.
    pub fn table(&self, dim: DimId, n: u32) -> u32 {
        self.dims[dim.index()].unwrap_or(0) + n
    }

    /// The word of an order's elements by position.
    pub fn order(&self, order: OrderId) -> u32 {
        self.orders + order.0
    }

    /// The words of a launch.
    pub fn pack(&self, launch: &Launch<'_>) -> Vec<u64> {
        let mut words = vec![0; self.len as usize];
        words[0] = launch.fault;
        if let Some(print) = self.print {
            words[print as usize] = launch.print;
        }
        for (at, arg) in self.params.iter().zip(launch.args) {
            let to = &mut words[*at as usize..];
            match arg {
                Arg::Scalar(bits) => to[0] = *bits,
                Arg::Tensor { data, strides } => {
                    to[0] = *data;
                    for (word, stride) in to[1..].iter_mut().zip(strides) {
                        *word = *stride as u64;
                    }
                }
                Arg::Mask { bits, count, list } => to[..3].copy_from_slice(&[*bits, *count, *list]),
            }
        }
        for (word, extent) in words[self.extents as usize..].iter_mut().zip(launch.extents) {
            *word = *extent as u64;
        }
        for (at, table) in self.dims.iter().zip(launch.tables) {
            if let (Some(at), Some(table)) = (at, table) {
                words[*at as usize..][..3].copy_from_slice(table);
            }
        }
        for (word, order) in words[self.orders as usize..].iter_mut().zip(launch.orders) {
            *word = *order;
        }
        words
    }
}
