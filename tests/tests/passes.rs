//! Each pass keeps what a kernel means: the interpreter judges after each pass that changed something, on generated
//! programs. `PANTILE_FUZZ=N` and `PANTILE_FUZZ_SEED=N` as for the differential test.
//! What the passes achieve is the suite's business.

use std::collections::BTreeMap;

use pantile_compiler::passes::Options;
use pantile_compiler::pipeline::{SEQUENCE, optimise_with};
use pantile_ir::text::canonical;
use pantile_ir::{Func, parse, print};
use pantile_tests::execute::{Outcome, difference, interpret};
use pantile_tests::generate::{Program, program};

const PROGRAMS: u64 = 1500;

/// The bytes of a seed: a linear congruence, of a length that grows in steps.
fn bytes(seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(12_345);
    let mut next = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 56) as u8
    };
    (0..40 + seed % 13 * 20).map(|_| next()).collect()
}

/// What a pass breaks, if one does.
fn broken(p: &Program, changes: &mut BTreeMap<&'static str, usize>) -> Option<String> {
    let Outcome::Done(reference) = interpret(&p.func, &p.extents, &p.orders, &p.args) else { return None };
    let mut why = None;
    let mut func = p.func.clone();
    let options = Options { verify: true, ..Options::default() };
    let report = optimise_with(&mut func, &options, &mut |pass, func| {
        *changes.entry(pass).or_default() += 1;
        if why.is_some() {
            return;
        }
        let wrong = match interpret(func, &p.extents, &p.orders, &p.args) {
            Outcome::Fault(fault) => Some(format!("faults: {fault}")),
            Outcome::Done(got) => difference(func, &reference, &got, &p.tolerance),
        };
        why = wrong.map(|w| format!("after `{pass}`: {w}\n{}", print(func)));
    });
    let bug = report.bug.map(|b| format!("`{}` breaks rules: {}\n{}", b.pass, b.rules.join("; "), b.text));
    bug.or(why).or_else(|| round_trip(&func))
}

fn round_trip(func: &Func) -> Option<String> {
    let text = print(func);
    let back = match parse(&text) {
        Ok(back) => back,
        Err(e) => return Some(format!("does not parse: {e}\n{text}")),
    };
    // As text, because a NaN equals nothing.
    let same = format!("{:?}", canonical(back)) == format!("{:?}", canonical(func.clone()));
    (!same).then(|| format!("reads as another function than it was printed from:\n{text}"))
}

#[test]
fn passes_keep_the_meaning_of_generated_programs() {
    let number = |name| std::env::var(name).ok().and_then(|n: String| n.parse::<u64>().ok());
    let seeds = match number("PANTILE_FUZZ_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PANTILE_FUZZ").unwrap_or(PROGRAMS),
    };
    let mut failed = Vec::new();
    let mut first = String::new();
    let mut changes = BTreeMap::new();
    let enough = seeds.end - seeds.start >= PROGRAMS;
    for seed in seeds {
        let p = program(&bytes(seed));
        if let Some(why) = broken(&p, &mut changes) {
            if failed.is_empty() {
                first = format!("seed {seed}: {why}\nbefore:\n{}", print(&p.func));
            }
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "{} programs fail: {failed:?}\n{first}", failed.len());
    // Programs that a pass has nothing to do on say nothing about it.
    for pass in SEQUENCE {
        let count = changes.get(pass.name).copied().unwrap_or(0);
        assert!(!enough || count >= 30, "`{}` changed only {count} programs", pass.name);
    }
}
