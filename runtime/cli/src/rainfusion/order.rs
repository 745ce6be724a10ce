//! The walk that `--order` names: one of the operator's own, or an order of a source file, whose table is made here for the
//! tokens at hand. What it does to attention is not looked at.

use std::collections::BTreeMap;
use std::path::Path;

use pantile::{Device, Error, Module};
use pantile_compiler::OrderSignature;
use pantile_kernels::{Order, RainFusion, module};

use crate::failure::{Failure, input};
use crate::orders;

/// Shipped files whose orders have names here.
const SHIPPED: [&str; 2] = ["orders.tile", "windows.tile"];

/// Parameters of an order that a clip decides: its frames, rows, columns and tokens, and the tokens a block. Text follows
/// by itself, so an order that could take it is given none.
const DECIDED: [&str; 7] = ["F", "Y", "X", "N", "P", "text", "text_last"];

/// A walk and what it is called.
pub(super) struct Named {
    pub(super) order: Order,
    pub(super) name: String,
}

/// The order that a text names, in `file` if there is one, for tokens that have been checked.
pub(super) fn parse(text: &str, file: Option<&Path>, config: &RainFusion, device: &Device) -> Result<Named, Failure> {
    let text = text.trim();
    let (name, args) = match text.split_once('(') {
        None => (text, ""),
        Some((name, rest)) => match rest.strip_suffix(')') {
            Some(args) => (name.trim(), args),
            None => return input(format!("`--order`: `{text}` lacks its closing parenthesis")),
        },
    };
    let of = |module: &Module| Ok(Named { order: written(module, name, args, config, device)?, name: text.to_owned() });
    if let Some(file) = file {
        let named = of(&Module::from_file(file).map_err(in_file)?)?;
        // A file's order may be called as the operator's own is; masks made along one do not serve along the other.
        let Order::Table(table) = &named.order else { return Ok(named) };
        let name = format!("{text} of a file, {:016x}", digest(table));
        return Ok(Named { name, ..named });
    }
    if let Some(order) = own(text)? {
        return Ok(Named { name: order.to_string(), order });
    }
    for file in SHIPPED {
        let module = module(file)?;
        if module.compiled().orders().iter().any(|o| o.name == name) {
            return of(&module);
        }
    }
    input(format!(
        "`--order`: no order `{name}`; there are paper, mindie, windows-FxYxX, padded-FxYxX, raster, zigzag, morton \
         and hilbert, and `--order-file FILE.tile` names those of a source file instead"
    ))
}

/// FNV-1a of a walk, the same on every machine.
fn digest(walk: &[i32]) -> u64 {
    let bytes = walk.iter().flat_map(|t| t.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Errors in the source are shown as such; any other names the option.
fn in_file(error: Error) -> Failure {
    if matches!(error, Error::Source(_)) {
        return error.into();
    }
    Failure::Input(format!("`--order-file`: {error}"))
}

/// Errors in the source are shown as such; any other, as a division by zero, is the fault of what the option names.
fn in_order(error: Error) -> Failure {
    if matches!(error, Error::Source(_)) {
        return error.into();
    }
    Failure::Input(format!("`--order`: {error}"))
}

/// One of the operator's own.
fn own(text: &str) -> Result<Option<Order>, Failure> {
    let windows = [("windows-", false), ("padded-", true)];
    if let Some((size, padded)) = windows.iter().find_map(|(head, padded)| Some((text.strip_prefix(head)?, *padded))) {
        let numbers: Option<Vec<usize>> = size.split(['x', '×']).map(|n| n.trim().parse().ok()).collect();
        let Some(size) = numbers.and_then(|n| <[usize; 3]>::try_from(n).ok()) else {
            return input(format!("`--order`: `{text}` is not of the form windows-FxYxX, such as windows-2x8x8"));
        };
        return Ok(Some(Order::Windows { size, padded }));
    }
    let named = [Order::Paper, Order::Mindie, Order::Raster, Order::Zigzag, Order::Morton, Order::Hilbert];
    Ok(named.into_iter().find(|order| order.to_string() == text))
}

/// The walk that a module's order gives: clip by clip, then the text.
fn written(module: &Module, name: &str, args: &str, config: &RainFusion, device: &Device) -> Result<Order, Failure> {
    if config.keys.is_some() {
        return input(format!(
            "`--order`: `{name}` walks q, k and v alike, but k and v hold other tokens; name one of paper, mindie, \
             windows-FxYxX, padded-FxYxX, raster, zigzag, morton, hilbert"
        ));
    }
    let Some(order) = module.compiled().orders().iter().find(|o| o.name == name) else {
        let known: Vec<&str> = module.compiled().orders().iter().map(|o| o.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return input(format!("`--order`: the file has no order `{name}`; it has {known}"));
    };
    let mut open = order.clone();
    open.params.retain(|p| !DECIDED.contains(&p.name.as_str()));
    let args = orders::arguments("`--order`", &open, args)?;
    if let Some(missing) = open.params.iter().find(|p| p.default.is_none() && !args.contains_key(&p.name)) {
        let missing = &missing.name;
        return input(format!("`--order`: `{name}` needs `{missing}`; give it as `{name}({missing}: …)`"));
    }
    let tokens = config.query_tokens();
    let (mut walk, mut start) = (Vec::new(), if tokens.text_last { 0 } else { tokens.text });
    for clip in &tokens.clips {
        let table = clip_walk(module, order, &args, (*clip, config.block), device)?;
        walk.extend(table.into_iter().map(|t| if t < 0 { -1 } else { t + start as i32 }));
        start += clip.iter().product::<usize>();
    }
    let first = if tokens.text_last { start } else { 0 };
    walk.extend((first..first + tokens.text).map(|t| t as i32));
    Ok(Order::Table(walk.into()))
}

/// The token of a clip at each position, each once, -1 where there is none.
fn clip_walk(
    module: &Module,
    order: &OrderSignature,
    args: &BTreeMap<String, i64>,
    (clip, block): ([usize; 3], usize),
    device: &Device,
) -> Result<Vec<i32>, Failure> {
    let (tokens, [f, y, x]) = (clip.iter().product::<usize>(), clip.map(|n| n as i64));
    let decided = DECIDED.into_iter().zip([f, y, x, tokens as i64, block as i64, 0, 0]);
    let taken = decided.filter(|(name, _)| order.params.iter().any(|p| p.name == *name));
    let mut all: BTreeMap<String, i64> = taken.map(|(name, value)| (name.to_owned(), value)).collect();
    all.extend(args.clone());
    let table = module.order(&order.name, &all, tokens as i64, device).map_err(in_order)?.to_vec();
    let (name, visited) = (&order.name, table.iter().filter(|t| **t >= 0).count());
    if let Some(far) = table.iter().find(|t| **t >= 0 && **t as usize >= tokens) {
        return input(format!("`--order`: `{name}` leads to token {far} of a clip of {tokens}"));
    }
    if visited != tokens {
        return input(format!("`--order`: `{name}` visits {visited} of {tokens} tokens; it must visit each once"));
    }
    Ok(table)
}
