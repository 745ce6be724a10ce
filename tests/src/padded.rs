//! Runs a kernel as a target with padding would: after the passes for fixed tiles, on tiles with all lanes, poison in padding,
//! and each claim of the fill analysis checked. Which kernels to run is not decided here.

use std::cell::Cell;
use std::collections::HashMap;

use pantile_compiler::passes::{Lanes, PassCx, fills, unmet};
use pantile_compiler::pipeline::FIXED_TILES;
use pantile_interp::{self as interp, Hooks, Padding};
use pantile_ir::{BinaryOp, DimId, Func, Inst, Op, Region, Value, print, verify};

use crate::execute::Outcome;

/// How tiles may be padded.
pub const LANES: [Lanes; 2] = [Lanes::Sized, Lanes::PowersOfTwo];

/// How often selects on validity ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selects {
    /// Where the block of a dim that they are about has no padding.
    pub in_full_blocks: u64,
    /// Elsewhere.
    pub in_others: u64,
}

/// A function, which has been through the passes for all targets or not, after those for targets with such tiles.
///
/// # Errors
/// A fault of the compiler.
pub fn pad(func: &Func, lanes: Lanes) -> Result<Func, String> {
    let mut func = func.clone();
    for pass in FIXED_TILES {
        let _ = (pass.run)(&mut func, &PassCx { lanes });
        verify(&func).map_err(|e| format!("{} breaks rules: {}\n{}", pass.name, e.join("; "), print(&func)))?;
    }
    match unmet(&func, lanes).first() {
        Some(u) => Err(format!("%{} sees padding along `{}`\n{}", u.site.0, func.dim(u.dim).name, print(&func))),
        None => Ok(func),
    }
}

/// Runs a padded function with poison of a seed.
pub fn interpret(
    func: &Func,
    lanes: Lanes,
    seed: u64,
    (extents, orders, args): (&[i64], &[Vec<i32>], &[interp::Arg]),
) -> (Outcome, Selects) {
    let found = fills(func, lanes);
    let mut about = HashMap::new();
    selects(&func.body, &mut about);
    let (full, other) = (Cell::new(0), Cell::new(0));
    let seen = |inst: &Inst, is_full: &dyn Fn(DimId) -> bool| {
        let Some(dims) = inst.args.first().and_then(|c| about.get(c)).filter(|_| inst.op == Op::Select) else { return };
        let count = if dims.iter().any(|d| is_full(*d)) { &full } else { &other };
        count.set(count.get() + 1);
    };
    let padding = Padding { seed, lanes: &|size| lanes.of(size), fill: &|v, d| found.get(v, d), seen: &seen };
    let mut args = args.to_vec();
    let options = interp::Options { checks: true, races: true };
    let hooks = Hooks { padding: Some(&padding), ..Hooks::default() };
    let outcome = match interp::run_with(func, extents, orders, &mut args, options, hooks) {
        Ok(()) => Outcome::Done(args),
        Err(fault) => Outcome::Fault(fault.message),
    };
    (outcome, Selects { in_full_blocks: full.get(), in_others: other.get() })
}

/// The values that say which lanes are valid, each with the dims it speaks of.
fn selects(region: &Region, about: &mut HashMap<Value, Vec<DimId>>) {
    for inst in &region.insts {
        if let Op::Valid(d) = inst.op {
            about.insert(inst.results[0], vec![d]);
        }
        if inst.op == Op::Binary(BinaryOp::And)
            && let (Some(a), Some(b)) = (about.get(&inst.args[0]), about.get(&inst.args[1]))
        {
            let both = a.iter().chain(b).copied().collect();
            about.insert(inst.results[0], both);
        }
        inst.regions.iter().for_each(|r| selects(r, about));
    }
}
