//! Whether the arguments of a launch fit the kernel's parameters. How extents are found from arguments is the runtime's
//! business.

use pantile_ir::{Axis, Func, Kind, Param, ParamKind, Scalar};

use crate::Arg;

/// # Errors
/// The first argument that does not fit.
pub(crate) fn check(func: &Func, extents: &[i64], orders: &[Vec<i32>], args: &[Arg]) -> Result<(), String> {
    let counts = [
        ("extents", extents.len(), func.extents.len()),
        ("orders", orders.len(), func.orders.len()),
        ("arguments", args.len(), func.params.len()),
    ];
    if let Some((what, got, want)) = counts.into_iter().find(|(_, got, want)| got != want) {
        return Err(format!("`{}` takes {want} {what}, not {got}", func.name));
    }
    for (extent, n) in func.extents.iter().zip(extents) {
        if *n < 0 || extent.known.is_some_and(|known| known != *n) {
            return Err(format!("extent `{}` is {n}, which is not what `{}` was compiled for", extent.name, func.name));
        }
    }
    for (order, table) in func.orders.iter().zip(orders) {
        if table.len() as i64 != order.len {
            return Err(format!("the table of `{}` has {} positions, not {}", order.name, table.len(), order.len));
        }
    }
    elements_fit(func, extents, orders)?;
    func.params.iter().zip(args).try_for_each(|(param, arg)| fits(func, extents, param, arg))
}

/// Every element of an order lies in each extent that is walked in it.
fn elements_fit(func: &Func, extents: &[i64], orders: &[Vec<i32>]) -> Result<(), String> {
    let of_extents = func.extents.iter().zip(extents).map(|(e, n)| (e.order, &e.name, *n));
    let of_dims = func.dims.iter().filter_map(|d| d.over.map(|e| (d.order, &d.name, extents[e.index()])));
    for (order, name, n) in of_extents.chain(of_dims) {
        let Some(order) = order else { continue };
        if let Some(element) = orders[order.index()].iter().find(|e| i64::from(**e) >= n) {
            let order = &func.orders[order.index()].name;
            return Err(format!("order `{order}` has element {element}, but `{name}` has only {n}"));
        }
    }
    Ok(())
}

fn fits(func: &Func, extents: &[i64], param: &Param, arg: &Arg) -> Result<(), String> {
    let shape = |axes: &[Axis]| axes.iter().map(|a| func.axis_size(*a, extents) as usize).collect::<Vec<_>>();
    let name = &param.name;
    match (&param.kind, arg) {
        (ParamKind::Scalar(dtype, _), Arg::Scalar(x)) => {
            let right = match x {
                Scalar::Bool(_) => dtype.kind() == Kind::Bool,
                Scalar::Int(_) => dtype.is_int(),
                Scalar::Float(_) => dtype.is_float(),
            };
            if right { Ok(()) } else { Err(format!("`{name}` is {dtype}, but the argument is {x:?}")) }
        }
        (ParamKind::Tensor(dtype, axes), Arg::Tensor(array)) => {
            if array.dtype != *dtype || !array.data.holds(*dtype) {
                return Err(format!("`{name}` is {dtype}, but the argument is {}", array.dtype));
            }
            same_shape(name, &shape(axes), &array.shape, array.data.len())
        }
        (ParamKind::Mask(axes), Arg::Mask(mask)) => same_shape(name, &shape(axes), &mask.shape, mask.bits.len()),
        (ParamKind::Scalar(..) | ParamKind::Tensor(..) | ParamKind::Mask(_), _) => {
            Err(format!("`{name}` is given an argument of another kind"))
        }
    }
}

fn same_shape(name: &str, want: &[usize], got: &[usize], elements: usize) -> Result<(), String> {
    if want != got {
        return Err(format!("`{name}` has shape {want:?}, but the argument {got:?}"));
    }
    match got.iter().try_fold(1usize, |n, s| n.checked_mul(*s)) {
        Some(count) if count == elements => Ok(()),
        Some(_) | None => Err(format!("`{name}` has shape {got:?}, but the argument holds {elements} elements")),
    }
}
