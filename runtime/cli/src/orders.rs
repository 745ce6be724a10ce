//! Orders on the command line: one of the module's, `hilbert(13, 15, 26)`, or a table in a file. What they do is not
//! looked at.

use std::collections::BTreeMap;
use std::path::Path;

use pantile::{DType, Module, OrderArg, TensorFile};
use pantile_compiler::OrderSignature;

use crate::failure::{Failure, input};
use crate::options::Named;

/// The order that an argument means.
pub(crate) fn parse(arg: &Named, module: &Module) -> Result<OrderArg, Failure> {
    let Named { name, value } = arg;
    if let Some((order, rest)) = value.split_once('(')
        && let Some(args) = rest.strip_suffix(')')
    {
        return named(name, order.trim(), args, module);
    }
    if let Some((file, tensor)) = value.rsplit_once(':') {
        return table(name, Path::new(file), tensor);
    }
    if module.compiled().orders().iter().any(|o| o.name == *value) {
        return named(name, value, "", module);
    }
    input(format!(
        "argument `{name}`: `{value}` is no order; give one of the file's with its arguments, such as `walk(4, 8)`, or a \
         table in a file, `FILE.safetensors:TENSOR`"
    ))
}

/// `hilbert(13, Y: 15, X: 26)`.
fn named(argument: &str, order: &str, args: &str, module: &Module) -> Result<OrderArg, Failure> {
    let orders = module.compiled().orders();
    let Some(signature) = orders.iter().find(|o| o.name == order) else {
        let known: Vec<&str> = orders.iter().map(|o| o.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return input(format!("argument `{argument}`: the file has no order `{order}`; it has {known}"));
    };
    let bound = arguments(&format!("argument `{argument}`"), signature, args)?;
    match signature.params.iter().find(|p| p.default.is_none() && !bound.contains_key(&p.name)) {
        Some(missing) => {
            let takes = takes(signature);
            input(format!("argument `{argument}`: `{order}` needs `{}`; it takes ({takes})", missing.name))
        }
        None => Ok(OrderArg::Named { name: order.into(), args: bound }),
    }
}

/// What stands between an order's parentheses, by parameter; some may be missing. Errors begin with `of`.
pub(crate) fn arguments(of: &str, order: &OrderSignature, args: &str) -> Result<BTreeMap<String, i64>, Failure> {
    let wrong = |why: String| Failure::Input(format!("{of}: {why}"));
    let mut bound = BTreeMap::new();
    for (n, text) in args.split(',').map(str::trim).enumerate().filter(|(_, text)| !text.is_empty()) {
        let (name, value) = one(order, n, text).map_err(&wrong)?;
        if bound.insert(name.clone(), value).is_some() {
            return Err(wrong(format!("`{name}` of `{}` is given twice", order.name)));
        }
    }
    Ok(bound)
}

/// An argument of an order: the n-th, or one with its name in front.
fn one(order: &OrderSignature, n: usize, text: &str) -> Result<(String, i64), String> {
    let (name, text) = match text.split_once([':', '=']) {
        Some((name, text)) => (Some(name.trim()), text.trim()),
        None => (None, text),
    };
    let param = match name {
        Some(name) => order.params.iter().find(|p| p.name == name),
        None => order.params.get(n),
    };
    let param =
        param.ok_or_else(|| format!("`{}` takes ({}), so `{text}` is none of them", order.name, takes(order)))?;
    let value = match text {
        "true" if param.is_bool => Some(1),
        "false" if param.is_bool => Some(0),
        number if !param.is_bool => number.parse().ok(),
        _ => None,
    };
    let kind = if param.is_bool { "true or false" } else { "a whole number" };
    let value = value.ok_or_else(|| format!("`{}` of `{}` is {kind}, not `{text}`", param.name, order.name))?;
    Ok((param.name.clone(), value))
}

fn takes(order: &OrderSignature) -> String {
    order.params.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn table(argument: &str, file: &Path, tensor: &str) -> Result<OrderArg, Failure> {
    let wrong = |e: pantile::Error| Failure::Input(format!("argument `{argument}`: {e}"));
    let tensor = TensorFile::open(file).and_then(|f| f.tensor(tensor)).map_err(wrong)?;
    if tensor.shape().len() != 1 || !matches!(tensor.dtype(), DType::I32 | DType::I64) {
        let found = format!("{}{:?}", tensor.dtype(), tensor.shape());
        return input(format!("argument `{argument}`: a table is i32 or i64 along one axis, not {found}"));
    }
    let elements = if tensor.dtype() == DType::I32 {
        tensor.to_vec::<i32>().map_err(wrong)?
    } else {
        let wide = tensor.to_vec::<i64>().map_err(wrong)?;
        let narrow = wide.iter().enumerate().map(|(n, e)| i32::try_from(*e).map_err(|_| (n, *e)));
        narrow.collect::<Result<_, _>>().map_err(|(n, e)| {
            Failure::Input(format!("argument `{argument}`: position {n} gives {e}, which is no element of any tensor"))
        })?
    };
    OrderArg::table(elements).map_err(|why| wrong(why.into()))
}
