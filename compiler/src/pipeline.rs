//! THE PASS LIST, and the driver that runs it: it alone verifies, times and dumps. What a pass does is said in its file.

use std::time::{Duration, Instant};

use pantile_ir::{Func, verify};

use crate::analysis::fill::{Lanes, unmet};
use crate::passes::{Changed, PassCx, canonicalise, cse, dce, fold, licm, pad, shorten, skip, split};

/// A pass.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Its name, by which it can be disabled.
    pub name: &'static str,
    /// One line of documentation.
    pub doc: &'static str,
    /// Changes a function and says whether it did.
    pub run: fn(&mut Func, &PassCx) -> Changed,
}

const CANONICALISE: Pass =
    Pass { name: "canonicalise", doc: "Bring each computation into its simplest form.", run: canonicalise };
const FOLD: Pass = Pass { name: "fold", doc: "Compute what is constant.", run: fold };
const CSE: Pass = Pass { name: "cse", doc: "Use again what has been computed already.", run: cse };
const LICM: Pass = Pass { name: "licm", doc: "Move what does not change out of loops.", run: licm };
const SKIP: Pass = Pass { name: "skip", doc: "Turn loop guards into bounds and mask lists.", run: skip };
const SHORTEN: Pass =
    Pass { name: "shorten", doc: "Leave out blocks of which an element mask keeps nothing.", run: shorten };
const SPLIT: Pass = Pass { name: "split", doc: "Part the blocks that an element mask keeps whole.", run: split };
const PAD: Pass = Pass { name: "pad", doc: "Say what padding lanes hold, where it is seen.", run: pad };
const DCE: Pass = Pass { name: "dce", doc: "Remove what nothing asks for.", run: dce };

/// Every pass, by name.
pub const PASSES: &[Pass] = &[CANONICALISE, FOLD, CSE, LICM, SKIP, SHORTEN, SPLIT, PAD, DCE];

/// The order in which a kernel goes through them. The second half cleans up after
/// those that restrict and divide loops.
pub const SEQUENCE: &[Pass] =
    &[FOLD, CANONICALISE, FOLD, CSE, LICM, SKIP, SHORTEN, SPLIT, CANONICALISE, FOLD, CSE, LICM, DCE];

/// What targets with fixed tile shapes run after it. Nothing here may touch what `pad` made of padding.
pub const FIXED_TILES: &[Pass] = &[PAD, FOLD, CANONICALISE, FOLD, CSE, DCE];

/// How to run the passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Verify the function before the first and after each pass.
    pub verify: bool,
    /// Keep the text after each pass that changed something.
    pub dump: bool,
    /// Names of passes to leave out.
    pub disable: Vec<String>,
    /// How many lanes the target's tiles have: [`FIXED_TILES`] is for all but the valid ones.
    pub lanes: Lanes,
}

impl Default for Options {
    fn default() -> Self {
        Self { verify: cfg!(debug_assertions), dump: false, disable: Vec::new(), lanes: Lanes::Valid }
    }
}

/// What one pass did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassReport {
    /// Its name.
    pub name: &'static str,
    /// How long it took, without verifying and printing.
    pub time: Duration,
    /// Whether it changed the function.
    pub changed: bool,
    /// The function after it, if asked for and changed.
    pub text: Option<String>,
}

/// A pass left a function that breaks the rules: a fault of this compiler, never of its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bug {
    /// The pass; `input` if the function was broken before the first.
    pub pass: &'static str,
    /// The rules broken.
    pub rules: Vec<String>,
    /// The function as the pass left it.
    pub text: String,
}

/// What was done, pass by pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Report {
    /// In the order they ran.
    pub passes: Vec<PassReport>,
    /// The first fault found; no pass runs after it.
    pub bug: Option<Bug>,
}

/// Runs all passes over a function and the kernels of its orders.
pub fn optimise(func: &mut Func, options: &Options) -> Report {
    optimise_with(func, options, &mut |_, _| {})
}

/// As [`optimise`], and shows the function after each pass that changed it.
pub fn optimise_with(func: &mut Func, options: &Options, after: &mut dyn FnMut(&'static str, &Func)) -> Report {
    let mut report = Report::default();
    let orders: Vec<&mut Func> = func.orders.iter_mut().filter_map(|o| o.kernel_mut()).collect();
    for fill in orders {
        let inner = optimise(fill, options);
        if inner.bug.is_some() {
            return inner;
        }
    }
    report.bug = check(func, "input", options);
    run(SEQUENCE, func, options, after, &mut report);
    if options.lanes != Lanes::Valid {
        run_fixed(func, options, after, &mut report);
    }
    report
}

/// What [`optimise`] leaves made ready for a target with fixed tiles: [`FIXED_TILES`] alone.
pub fn fix_tiles(func: &mut Func, options: &Options) -> Report {
    let mut report = Report { bug: check(func, "input", options), ..Report::default() };
    run_fixed(func, options, &mut |_, _| {}, &mut report);
    report
}

fn run_fixed(func: &mut Func, options: &Options, after: &mut dyn FnMut(&'static str, &Func), report: &mut Report) {
    run(FIXED_TILES, func, options, after, report);
    if report.bug.is_none() && !options.disable.iter().any(|name| name == PAD.name) {
        report.bug = padding_is_seen(func, options);
    }
}

/// Runs passes until one leaves a broken function.
fn run(
    passes: &[Pass],
    func: &mut Func,
    options: &Options,
    after: &mut dyn FnMut(&'static str, &Func),
    report: &mut Report,
) {
    for pass in passes.iter().filter(|p| !options.disable.iter().any(|name| name == p.name)) {
        if report.bug.is_some() {
            return;
        }
        let start = Instant::now();
        let changed = (pass.run)(func, &PassCx { lanes: options.lanes }) == Changed::Yes;
        let time = start.elapsed();
        let text = (changed && options.dump).then(|| pantile_ir::print(func));
        report.passes.push(PassReport { name: pass.name, time, changed, text });
        if changed {
            report.bug = check(func, pass.name, options);
            after(pass.name, func);
        }
    }
}

/// After all passes, no use sees padding of the target's tiles.
fn padding_is_seen(func: &Func, options: &Options) -> Option<Bug> {
    let name = |u: &crate::passes::Unmet| {
        format!("`%{}` sees what stands in padding along `{}`", u.site.0, func.dim(u.dim).name)
    };
    let rules: Vec<String> =
        if options.verify { unmet(func, options.lanes).iter().map(name).collect() } else { vec![] };
    (!rules.is_empty()).then(|| Bug { pass: PAD.name, rules, text: pantile_ir::print(func) })
}

fn check(func: &Func, pass: &'static str, options: &Options) -> Option<Bug> {
    let rules = if options.verify { verify(func).err()? } else { return None };
    Some(Bug { pass, rules, text: pantile_ir::print(func) })
}
