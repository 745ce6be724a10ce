//! A specialised kernel made ready for a device: its code, the tables of its orders, and what is known of its rows. The
//! arguments of a launch come later, from `launch.rs`.

use std::sync::Arc;

use pantile_diag::{SourceMap, Span};
use pantile_ir::{BlockTable, Func, Order, OrderBody, one_to_one};

use crate::balance::Balance;
use crate::cuda::{Launcher, Started};
use crate::device::Backend;
use crate::launch::{Call, Operand};
use crate::{Device, Error, Result, cpu, interp};

/// A kernel that a device can run.
pub(crate) struct Executable {
    pub(crate) func: Arc<Func>,
    pub(crate) code: Code,
    /// One an order of the function: element by position, -1 where there is none.
    pub(crate) orders: Vec<Arc<Vec<i32>>>,
    /// One a dim of the function: its blocks' lanes, where it has an order.
    pub(crate) tables: Vec<Option<Arc<BlockTable>>>,
    /// The largest element of each order; -1 if there is none.
    largest: Vec<i64>,
    pub(crate) balance: Option<Balance>,
}

/// The form in which a back end runs it.
pub(crate) enum Code {
    /// Machine code.
    Cpu(Box<pantile_cpu::Kernel>),
    /// The function itself.
    Interp,
    /// Code for a GPU.
    Cuda(Box<Launcher>),
}

impl Device {
    /// Makes a function ready, or finds it ready. `sources` is what its spans point into.
    pub(crate) fn prepare(&self, func: &Arc<Func>, sources: &SourceMap) -> Result<Arc<Executable>> {
        let key = (self.backend, self.checks, self.tf32, self.features, func.clone());
        self.cache.executable(key, || self.make(func, sources))
    }

    fn make(&self, func: &Arc<Func>, sources: &SourceMap) -> Result<Executable> {
        let orders: Vec<Arc<Vec<i32>>> =
            func.orders.iter().map(|order| self.table(order, sources)).collect::<Result<_>>()?;
        let tables: Vec<Option<Arc<BlockTable>>> =
            func.dims.iter().map(|dim| block_table(func, dim, &orders)).collect::<Result<_>>()?;
        let code = match (self.backend, self.home()) {
            (Backend::Cuda, Some(gpu)) => {
                let options = pantile_gpu::Options {
                    checks: self.checks,
                    tf32: self.tf32,
                    ..pantile_gpu::Options::new(gpu.target)
                };
                Code::Cuda(Box::new(Launcher::new(gpu, func, &options, &orders, sources)?))
            }
            (Backend::Interp | Backend::Cuda, _) => Code::Interp,
            (Backend::Cpu, _) => {
                let options = pantile_cpu::Options {
                    checks: self.checks,
                    features: self.features,
                    ..pantile_cpu::Options::default()
                };
                let kernel = pantile_cpu::compile(func, &options);
                let kernel = kernel.map_err(|l| limited(&func.name, l.message, l.span, sources))?;
                Code::Cpu(Box::new(kernel))
            }
        };
        let largest = orders.iter().map(|o| o.iter().max().map_or(-1, |e| i64::from(*e))).collect();
        Ok(Executable { func: func.clone(), code, tables, orders, largest, balance: Balance::of(func) })
    }

    /// The table of an order: filled by its kernel on this device, checked, kept.
    ///
    /// # Errors
    /// If the kernel stops, or the order is not one-to-one.
    pub(crate) fn table(&self, order: &Order, sources: &SourceMap) -> Result<Arc<Vec<i32>>> {
        match &order.fill {
            OrderBody::Table(table) => Ok(table.elements().clone()),
            OrderBody::Kernel(fill) => {
                let key = (self.backend, self.checks, Arc::new(order.clone()));
                self.cache.table(key, || self.fill(order, fill, sources))
            }
        }
    }

    fn fill(&self, order: &Order, fill: &Func, sources: &SourceMap) -> Result<Vec<i32>> {
        let refuse = |message: String| Error::Order { order: order.name.clone(), message };
        let len = usize::try_from(order.len).ok().filter(|len| i32::try_from(*len).is_ok());
        let len = len.ok_or_else(|| refuse(format!("a walk of {} positions is too long", order.len)))?;
        let func = Arc::new(fill.clone());
        let extents: Vec<i64> = func.extents.iter().map(|e| e.known.unwrap_or(order.len)).collect();
        let mut table = crate::Tensor::zeros(pantile_ir::DType::I32, &[len])?;
        let operands = vec![Operand::Out(&mut table)];
        self.prepare(&func, sources)?.run(self, &mut [Call { extents: &extents, operands }], sources)?;
        let table = table.to_vec::<i32>()?;
        check_order(order, &table).map_err(refuse)?;
        Ok(table)
    }
}

/// The lanes of each block of a dim that is walked in an order, if they can be listed; none of one that is not.
pub(crate) fn block_table(
    func: &Func,
    dim: &pantile_ir::Dim,
    orders: &[Arc<Vec<i32>>],
) -> Result<Option<Arc<BlockTable>>> {
    let Some(order) = dim.order.map(|o| &orders[o.index()]) else { return Ok(None) };
    let size = usize::try_from(dim.size).ok().filter(|size| *size > 0);
    let lanes = size.and_then(|size| order.len().div_ceil(size).checked_mul(size)).filter(|n| *n < 1 << 31);
    match (size, lanes) {
        (Some(size), Some(_)) => Ok(Some(Arc::new(BlockTable::new(order, size)))),
        (Some(_) | None, _) => {
            let message = format!("blocks of {} positions along `{}` are too large to be listed", dim.size, dim.name);
            Err(Error::Limit { kernel: func.name.clone(), message, line: None })
        }
    }
}

/// Each element at one position only, and none where there may be none.
fn check_order(order: &Order, table: &[i32]) -> std::result::Result<(), String> {
    if let (false, Some(position)) = (order.holes, table.iter().position(|e| *e == -1)) {
        let way = "where a position has none, the order says `-1` as such";
        return Err(format!("position {position} gives -1, which is no element; {way}"));
    }
    one_to_one(table).map_err(|why| why.to_string())
}

/// That a kernel cannot be compiled, and why.
pub(crate) fn limited(kernel: &str, message: String, span: Span, sources: &SourceMap) -> Error {
    Error::Limit { kernel: kernel.to_owned(), message, line: line(sources, span) }
}

/// `file:line` of a span, if it points into a file.
pub(crate) fn line(sources: &SourceMap, span: Span) -> Option<String> {
    let known = sources.files().any(|f| f == span.file) && span != Span::default();
    known.then(|| format!("{}:{}", sources.name(span.file), sources.line_col(span).0))
}

impl Executable {
    /// Runs calls in one launch. Their operands have been checked against the function's parameters.
    pub(crate) fn run(&self, device: &Device, calls: &mut [Call<'_>], sources: &SourceMap) -> Result<()> {
        match self.start(device, calls, sources)? {
            Some(started) => started.finish(sources),
            None => Ok(()),
        }
    }

    /// Runs calls, or on a GPU starts them: what they write may be read by launches that come later, and by others when
    /// they are finished.
    pub(crate) fn start(
        &self,
        device: &Device,
        calls: &mut [Call<'_>],
        sources: &SourceMap,
    ) -> Result<Option<Started>> {
        calls.iter().try_for_each(|call| self.check_walks(call.extents))?;
        match &self.code {
            Code::Cpu(kernel) => cpu::run(self, kernel, device, calls, sources)?,
            Code::Interp => interp::run(self, device, calls, sources)?,
            Code::Cuda(launcher) => return launcher.start(calls, sources).map(Some),
        }
        Ok(None)
    }

    /// An order's elements must lie within what is walked in it.
    fn check_walks(&self, extents: &[i64]) -> Result<()> {
        let walks = |e: &pantile_ir::ExtentId| extents[e.index()];
        let of_extents = self.func.extents.iter().zip(extents).map(|(e, n)| (e.order, &e.name, *n));
        let of_dims = self.func.dims.iter().filter_map(|d| d.over.as_ref().map(|e| (d.order, &d.name, walks(e))));
        for (order, name, extent) in of_extents.chain(of_dims) {
            let Some(order) = order else { continue };
            let largest = self.largest[order.index()];
            if largest >= extent {
                let order = self.func.orders[order.index()].name.clone();
                let message = format!("gives element {largest}, but `{name}` has only {extent}");
                return Err(Error::Order { order, message });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::check_order;
    use pantile_ir::{Order, OrderBody};

    #[test]
    fn orders_are_one_to_one() {
        let order = |holes| Order { name: "o".into(), len: 3, holes, fill: OrderBody::Kernel(Box::default()) };
        assert!(check_order(&order(false), &[2, 0, 1]).is_ok());
        assert!(check_order(&order(true), &[2, -1, -1]).is_ok());
        assert!(check_order(&order(false), &[2, -1, 1]).unwrap_err().contains("position 1 gives -1"));
        assert!(check_order(&order(true), &[2, -2, 1]).unwrap_err().contains("position 1 gives -2"));
        assert!(check_order(&order(false), &[1, 0, 1]).unwrap_err().contains("positions 0 and 2"));
    }
}
