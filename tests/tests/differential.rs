//! Interpreter and machine code agree on generated programs, before and after passes; what the interpreter says after each
//! single pass is `passes.rs`'s business.
//!
//! `PANTILE_FUZZ=N` runs N programs instead of the usual number, `PANTILE_FUZZ_SEED=N` the program of one seed alone,
//! `PANTILE_FUZZ_BYTES=hex` the program of those bytes. A program that fails is made smaller before it is shown; one that
//! kills the process cannot be.

use std::fmt::Write as _;

use pantile_compiler::passes::{Options, optimise};
use pantile_ir::{Func, parse, print, verify};
use pantile_tests::execute::{Layout, Outcome, difference, interpret, on_cpu};
use pantile_tests::generate::{Program, program};

const PROGRAMS: u64 = 3000;

/// The bytes of a seed: xorshift64*, of a length that grows in steps.
fn bytes(seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        (x.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40) as u8
    };
    (0..40 + seed % 11 * 20).map(|_| next()).collect()
}

/// What is wrong with a program, if anything is.
fn check(p: &Program) -> Result<(), String> {
    verify(&p.func).map_err(|errors| format!("not valid: {}", errors.join("; ")))?;
    round_trip(&p.func)?;
    let reference = match interpret(&p.func, &p.extents, &p.orders, &p.args) {
        Outcome::Done(args) => args,
        Outcome::Fault(_) if p.may_fault => return Ok(()),
        Outcome::Fault(why) => return Err(format!("the interpreter faults: {why}")),
    };
    let agree = |who: &str, outcome| match outcome {
        Outcome::Fault(why) => Err(format!("{who} faults: {why}")),
        Outcome::Done(got) => match difference(&p.func, &reference, &got, &p.tolerance) {
            Some(what) => Err(format!("{who}: {what}")),
            None => Ok(()),
        },
    };
    let compiled = |who: &str, func: &Func, layout| {
        let outcome = on_cpu(func, &p.extents, &p.orders, &p.args, layout);
        agree(who, outcome.map_err(|why| format!("{who}: {why}"))?)
    };
    compiled("machine code", &p.func, Layout::Dense)?;
    let mut func = p.func.clone();
    if let Some(bug) = optimise(&mut func, &Options::default()).bug {
        return Err(format!("{} breaks rules: {}\n{}", bug.pass, bug.rules.join("; "), bug.text));
    }
    compiled("machine code after passes, tensors reversed", &func, Layout::Reversed)?;
    compiled("machine code after passes, tensors spread", &func, Layout::Spread)
}

fn round_trip(func: &Func) -> Result<(), String> {
    let text = print(func);
    match parse(&text) {
        Ok(back) if back == *func => Ok(()),
        Ok(back) => Err(format!("printed and parsed it is another program:\n{}", print(&back))),
        Err(why) => Err(format!("printed, it does not parse: line {}: {}", why.line, why.message)),
    }
}

/// Panics are failures too, so that their programs can be made smaller.
fn failure(bytes: &[u8]) -> Option<String> {
    let outcome = std::panic::catch_unwind(|| check(&program(bytes)));
    match outcome {
        Ok(outcome) => outcome.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Some(format!("panics: {}", text.unwrap_or("?")))
        }
    }
}

/// Fewer bytes, then smaller ones, as long as the program fails.
fn smaller(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut budget = 1500;
    let mut fails = |bytes: &[u8]| {
        budget -= 1;
        budget > 0 && failure(bytes).is_some()
    };
    let mut size = bytes.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < bytes.len() {
            let end = (at + size).min(bytes.len());
            let without = [&bytes[..at], &bytes[end..]].concat();
            let mut zeroed = bytes.clone();
            zeroed[at..end].fill(0);
            if fails(&without) {
                bytes = without;
            } else {
                if zeroed != bytes && fails(&zeroed) {
                    bytes = zeroed;
                }
                at = end;
            }
        }
        size /= 2;
    }
    bytes
}

fn report(who: &str, bytes: Vec<u8>) -> String {
    let small = smaller(bytes);
    let p = program(&small);
    let why = failure(&small).unwrap_or_else(|| "fails no more when run again".into());
    let hex: String = small.iter().map(|b| format!("{b:02x}")).collect();
    let (extents, orders) = (&p.extents, &p.orders);
    format!("{who}: {why}\nbytes {hex}\nextents {extents:?}\norders {orders:?}\n{}", print(&p.func))
}

/// The programs that were asked for, with a name each.
fn asked() -> Vec<(String, Vec<u8>)> {
    let number = |name| std::env::var(name).ok().and_then(|n: String| n.parse::<u64>().ok());
    if let Ok(hex) = std::env::var("PANTILE_FUZZ_BYTES") {
        let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
        return vec![("bytes".into(), digits.chunks(2).map(|d| d[0] << 4 | d[d.len() - 1]).collect())];
    }
    let seeds = match number("PANTILE_FUZZ_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PANTILE_FUZZ").unwrap_or(PROGRAMS),
    };
    seeds.map(|seed| (format!("seed {seed}"), bytes(seed))).collect()
}

#[test]
fn generated_programs_agree() {
    let failed: Vec<(String, Vec<u8>)> = asked().into_iter().filter(|(_, bytes)| failure(bytes).is_some()).collect();
    let names: Vec<&str> = failed.iter().map(|(who, _)| who.as_str()).collect();
    let mut text = format!("{} programs fail: {}\n", failed.len(), names.join(", "));
    for (who, bytes) in failed.iter().take(3) {
        let _ = writeln!(text, "{}", report(who, bytes.clone()));
    }
    assert!(failed.is_empty(), "{text}");
}

#[test]
fn no_bytes_make_a_program_too() {
    assert_eq!(failure(&[]), None);
    assert_eq!(failure(&[0; 64]), None);
}
