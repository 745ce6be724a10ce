//! The table of a walk order: its fill kernel, run once. Whether the order is one-to-one is not checked here.

use pantile_diag::Span;
use pantile_ir::{DType, Order, OrderBody};

use crate::{Arg, Array, Data, Fault, Options, run};

/// The element at each position of an order, -1 where there is none.
///
/// # Errors
/// What its fill kernel faults on, and elements that are none.
pub fn order_table(order: &Order) -> Result<Vec<i32>, Fault> {
    let refuse = |message| Fault { message, span: Span::default(), instance: Vec::new() };
    let len = usize::try_from(order.len).map_err(|_| refuse(format!("order `{}` has no length", order.name)))?;
    let fill = match &order.fill {
        OrderBody::Kernel(fill) => fill,
        OrderBody::Table(table) => return Ok(table.elements().to_vec()),
    };
    let extents: Vec<i64> = fill.extents.iter().map(|e| e.known.unwrap_or(order.len)).collect();
    let inner = fill.orders.iter().map(order_table).collect::<Result<Vec<_>, _>>()?;
    let mut args = [Arg::Tensor(Array::zeros(DType::I32, &[len]))];
    run(fill, &extents, &inner, &mut args, Options { checks: true, races: false })?;
    let [Arg::Tensor(Array { data: Data::Int(table), .. })] = args else {
        return Err(refuse(format!("order `{}` fills no table", order.name)));
    };
    match table.iter().position(|e| *e < -1 || *e == -1 && !order.holes) {
        Some(p) => Err(refuse(format!("order `{}` gives {} at position {p}", order.name, table[p]))),
        None => Ok(table.into_iter().map(|e| e as i32).collect()),
    }
}
