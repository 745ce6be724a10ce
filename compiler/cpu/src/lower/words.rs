//! The words of a launch: which number stands where. Both the packing and the code that reads them ask here.

use pantile_ir::{DimId, ExtentId, Func, OrderId, ParamId, ParamKind};

use crate::features::last_cache;
use crate::kernel::{Arg, Launch};

/// Where each number of a launch stands, in words. Word 0 is the variant of the code, word 1 whether outputs go around the
/// caches.
#[derive(Clone, Debug)]
pub struct Words {
    params: Vec<usize>,
    extents: usize,
    dims: Vec<Option<usize>>,
    orders: usize,
    len: usize,
}

impl Words {
    /// The byte offset of whether outputs that are not read go around the caches.
    pub const STREAMED: i32 = 8;

    /// The layout for a function.
    pub fn new(func: &Func) -> Self {
        let mut len = 2;
        let mut take = |n: usize| {
            len += n;
            len - n
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
        Self { params, extents, dims, orders, len }
    }

    /// The byte offset of a parameter's words: the scalar; data pointer, then strides in elements; bits, count, list.
    pub fn param(&self, param: ParamId, n: usize) -> i32 {
        8 * (self.params[param.index()] + n) as i32
    }

    /// The byte offset of an extent.
    pub fn extent(&self, extent: ExtentId) -> i32 {
        8 * (self.extents + extent.index()) as i32
    }

    /// The byte offset of an ordered dim's tables: elements, positions, lengths.
    pub fn table(&self, dim: DimId, n: usize) -> i32 {
        8 * (self.dims[dim.index()].unwrap_or(0) + n) as i32
    }

    /// The byte offset of an order's elements by position.
    pub fn order(&self, order: OrderId) -> i32 {
        8 * (self.orders + order.index()) as i32
    }

    /// The byte offset of a cache's address, in words that have those too.
    pub fn cache(&self, site: usize) -> i32 {
        8 * (self.len + site) as i32
    }

    /// The number of words without the caches.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The words of a launch, without caches.
    pub fn pack(&self, func: &Func, launch: &Launch<'_>, variant: u64) -> Vec<u64> {
        let mut words = vec![0; self.len];
        words[0] = variant;
        words[1] = u64::from(streamed(func, launch.extents));
        for (at, arg) in self.params.iter().zip(launch.args) {
            match arg {
                Arg::Scalar(bits) => words[*at] = *bits,
                Arg::Tensor { data, strides } => {
                    words[*at] = data.expose_provenance() as u64;
                    for (word, stride) in words[at + 1..].iter_mut().zip(strides) {
                        *word = *stride as u64;
                    }
                }
                Arg::Mask { bits, count, list } => {
                    words[*at] = bits.expose_provenance() as u64;
                    words[at + 1] = count.expose_provenance() as u64;
                    words[at + 2] = list.expose_provenance() as u64;
                }
            }
        }
        for (word, extent) in words[self.extents..].iter_mut().zip(launch.extents) {
            *word = *extent as u64;
        }
        for (at, table) in self.dims.iter().zip(launch.tables) {
            if let (Some(at), Some(table)) = (at, table) {
                words[*at] = table.elem.as_ptr().expose_provenance() as u64;
                words[at + 1] = table.pos.as_ptr().expose_provenance() as u64;
                words[at + 2] = table.len.as_ptr().expose_provenance() as u64;
            }
        }
        for (n, order) in launch.orders.iter().enumerate().take(func.orders.len()) {
            words[self.orders + n] = order.as_ptr().expose_provenance() as u64;
        }
        words
    }
}

/// Whether all tensors together fill more than the last cache: what is written then is gone from it before anyone reads
/// it, and space for it is better left to what is read.
fn streamed(func: &Func, extents: &[i64]) -> bool {
    let bytes = func.params.iter().map(|param| match &param.kind {
        ParamKind::Tensor(dtype, axes) => {
            let elements = axes.iter().map(|axis| func.axis_size(*axis, extents));
            elements.fold(dtype.bytes() as i64, i64::saturating_mul)
        }
        ParamKind::Scalar(..) | ParamKind::Mask(_) => 0,
    });
    bytes.fold(0, i64::saturating_add) > last_cache()
}
