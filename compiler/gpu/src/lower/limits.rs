//! What is too large for a block of threads: tiles of which a thread would hold more than it ever could, and programs that
//! an assembler does not come to an end with. It says so before the time is spent, with the constants to make smaller; what
//! a block has of shared memory is seen elsewhere.

use pantile_diag::Span;
use pantile_ir::{DimId, Func, Region, Value};

use super::infer::Warps;
use super::{LANE_BITS, lane_bits};
use crate::Limit;

/// The most elements of one tile that a thread holds. It has 255 registers, and what they do not hold lies in slow memory;
/// at twice as many the driver's assembler takes minutes.
const ELEMENTS: u64 = 512;

/// The most instructions of a thread.
const INSTRUCTIONS: usize = 1 << 16;

/// Elements of a tile for each thread that would be worth running.
const GOOD: u64 = 64;

/// Refuses tiles that are too large to be held.
pub(super) fn tiles(func: &Func, warps: Warps) -> Result<(), Limit> {
    let Some((value, dims)) = largest(func) else { return Ok(()) };
    let each = per_thread(func, warps, dims);
    if each <= ELEMENTS {
        return Ok(());
    }
    let message = format!(
        "a tile of {} elements leaves {each} of them to each of {} threads, and {ELEMENTS} are the most; {}",
        shape(func, dims),
        warps.threads(),
        way_out(func, warps)
    );
    Err(Limit { message, span: place(&func.body, value).unwrap_or_default() })
}

/// Refuses a program that has grown too long.
pub(super) fn length(func: &Func, warps: Warps, instructions: usize, span: Span) -> Result<(), Limit> {
    if instructions <= INSTRUCTIONS {
        return Ok(());
    }
    let dims = largest(func).map_or(String::new(), |(_, dims)| shape(func, dims));
    let message = format!(
        "each thread has more than {INSTRUCTIONS} instructions to go through, for its tiles have up to {dims} elements; {}",
        way_out(func, warps)
    );
    Err(Limit { message, span })
}

/// How to get smaller tiles: one half of a sentence.
pub(super) fn way_out(func: &Func, warps: Warps) -> String {
    let Some((_, dims)) = largest(func) else { return "use smaller blocks".into() };
    let constants = smaller(func, warps, dims);
    if !constants.is_empty() {
        let names: Vec<String> = constants.iter().map(|(name, _)| format!("`{name}`")).collect();
        let how: Vec<String> = constants.iter().map(|(name, size)| format!("--const {name}={size}")).collect();
        return format!("make {} smaller (`{}`)", names.join(" and "), how.join(" "));
    }
    let most = dims.iter().map(|d| func.dim(*d).size).max().unwrap_or(1);
    let large = dims.iter().map(|d| func.dim(*d)).filter(|d| d.size == most);
    let names: Vec<String> = large.clone().map(|d| format!("`{}`", d.name)).collect();
    let whole = large.clone().any(|d| d.whole);
    let names = names.join(" or ");
    if whole { format!("walk {names} in blocks instead of taking it whole") } else { format!("make {names} smaller") }
}

/// The first of the tiles with the most elements.
fn largest(func: &Func) -> Option<(Value, &[DimId])> {
    let tiles = func.types.iter().enumerate().filter(|(_, ty)| !ty.dims().is_empty());
    let (n, ty) = tiles.max_by_key(|(n, ty)| (bits(func, ty.dims()), std::cmp::Reverse(*n)))?;
    Some((Value(n as u32), ty.dims()))
}

fn bits(func: &Func, dims: &[DimId]) -> u32 {
    dims.iter().map(|d| lane_bits(func, *d)).sum()
}

fn per_thread(func: &Func, warps: Warps, dims: &[DimId]) -> u64 {
    1 << bits(func, dims).saturating_sub(LANE_BITS as u32 + warps.bits).min(62)
}

/// `{i, j} of 1024 × 1024`.
fn shape(func: &Func, dims: &[DimId]) -> String {
    let all: Vec<String> = dims.iter().map(|d| func.dim(*d).name.clone()).collect();
    let sizes: Vec<String> = dims.iter().map(|d| func.dim(*d).size.to_string()).collect();
    format!("{{{}}} of {}", all.join(", "), sizes.join(" × "))
}

/// The constants that dims take their sizes from, as they would have to be for tiles of a good size.
fn smaller(func: &Func, warps: Warps, dims: &[DimId]) -> Vec<(String, i64)> {
    /// No block is better smaller than this.
    const LEAST: i64 = 16;
    let blocks = dims.iter().map(|d| func.dim(*d)).filter(|d| !d.whole && d.size > LEAST);
    let sizes: Vec<i64> = blocks.map(|d| d.size).collect();
    let number = |(name, text): &(String, String)| Some((name.clone(), text.parse::<i64>().ok()?));
    let mut constants: Vec<(String, i64)> = func.consts.iter().filter_map(number).collect();
    constants.retain(|(_, size)| sizes.contains(size));
    let before = constants.clone();
    let mut each = per_thread(func, warps, dims);
    while each > GOOD {
        let Some((_, size)) = constants.iter_mut().filter(|c| c.1 > LEAST).max_by_key(|c| c.1) else { break };
        // A power of two, as tiles are rounded up to one.
        *size = (*size as u64).next_power_of_two() as i64 / 2;
        each /= 2;
    }
    constants.into_iter().zip(before).filter(|(now, before)| now != before).map(|(now, _)| now).collect()
}

/// Where a value is made.
fn place(region: &Region, value: Value) -> Option<Span> {
    region.insts.iter().find_map(|inst| {
        let own = inst.results.contains(&value) || inst.regions.iter().any(|r| r.args.contains(&value));
        if own { Some(inst.span) } else { inst.regions.iter().find_map(|r| place(r, value)) }
    })
}
