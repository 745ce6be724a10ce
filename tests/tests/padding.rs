//! Padding is not seen: what the passes for fixed tiles make of a program gives at valid lanes what the program means, with
//! poison in padding; full blocks do nothing for it; and a select that is missing, or holds another constant, is noticed.
//! `PANTILE_FUZZ=N` and `PANTILE_FUZZ_SEED=N` as for the differential test. Shipped kernels are in `kernels.rs`.

use pantile_compiler::passes::{Lanes, Options, optimise};
use pantile_compiler::{Bindings, Module};
use pantile_interp::{Arg, Array, Data};
use pantile_ir::{Func, Op, ParamKind, Region, Scalar, Value, print};
use pantile_tests::execute::{Layout, Outcome, difference, interpret, on_cpu};
use pantile_tests::generate::{Program, program};
use pantile_tests::padded::{self, LANES};

const PROGRAMS: u64 = 1000;

/// The bytes of a seed: a linear congruence, of a length that grows in steps.
fn bytes(seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0xA24B_AED4_963E_E407).wrapping_add(777);
    let mut next = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 56) as u8
    };
    (0..40 + seed % 13 * 20).map(|_| next()).collect()
}

/// What is wrong with a program on padded tiles, if anything is; how many selects it ran.
fn seen(p: &Program, seed: u64) -> Result<u64, String> {
    let Outcome::Done(reference) = interpret(&p.func, &p.extents, &p.orders, &p.args) else { return Ok(0) };
    let mut ran = 0;
    for (after, lanes) in [false, true].into_iter().flat_map(|after| LANES.map(|lanes| (after, lanes))) {
        let mut func = p.func.clone();
        if after && optimise(&mut func, &Options { lanes, ..Options::default() }).bug.is_some() {
            return Err("the passes for all targets and those for fixed tiles leave a fault".into());
        }
        let func = padded::pad(&func, lanes)?;
        let agree = |who: &str, outcome| match outcome {
            Outcome::Fault(why) => Err(format!("{who} faults: {why}\n{}", print(&func))),
            Outcome::Done(got) => match difference(&func, &reference, &got, &p.tolerance) {
                Some(what) => Err(format!("{who}: {what}\n{}", print(&func))),
                None => Ok(()),
            },
        };
        agree("without padding", interpret(&func, &p.extents, &p.orders, &p.args))?;
        agree("machine code", on_cpu(&func, &p.extents, &p.orders, &p.args, Layout::Dense)?)?;
        let (outcome, selects) = padded::interpret(&func, lanes, seed, (&p.extents, &p.orders, &p.args));
        agree("with padding", outcome)?;
        if selects.in_full_blocks > 0 {
            return Err(format!("{} selects in full blocks\n{}", selects.in_full_blocks, print(&func)));
        }
        ran += selects.in_others;
    }
    Ok(ran)
}

#[test]
fn padding_is_not_seen_in_generated_programs() {
    let number = |name| std::env::var(name).ok().and_then(|n: String| n.parse::<u64>().ok());
    let seeds = match number("PANTILE_FUZZ_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PANTILE_FUZZ").unwrap_or(PROGRAMS),
    };
    let enough = seeds.end - seeds.start >= PROGRAMS;
    let (mut failed, mut first, mut paid) = (Vec::new(), String::new(), 0);
    for seed in seeds {
        let p = program(&bytes(seed));
        match seen(&p, seed) {
            Ok(selects) => paid += u64::from(selects > 0),
            Err(why) => {
                if failed.is_empty() {
                    first = format!("seed {seed}: {why}\nbefore, extents {:?}:\n{}", p.extents, print(&p.func));
                }
                failed.push(seed);
            }
        }
    }
    assert!(failed.is_empty(), "{} programs fail: {failed:?}\n{first}", failed.len());
    assert!(!enough || paid > 100, "only {paid} programs needed a select");
}

const ATTENTION: &str =
    "kernel attention(q: tensor<f32>[N, D], k: tensor<f32>[M, D], v: tensor<f32>[M, D]) -> (out: tensor<f32>[N, D])
grid (i in N by 4) {
    let mut top = fill(-inf, over i);
    let mut den = fill(0.0, over i);
    let mut acc = fill(0.0, over (i, D));
    for j in M by 4 {
        let s = dot(q[i, :], k[j, :]);
        let new = max(top, max(s, over j));
        let p = exp2(s - new);
        let fade = exp2(top - new);
        den = den * fade + sum(p, over j);
        acc = acc * fade + dot(p, v[j, :]);
        top = new;
    }
    out[i, :] = acc / den;
}";

/// Changes each select on validity, and looks whether the interpreter with padding notices.
fn notices(change: &dyn Fn(&mut Region, Value)) {
    let loaded = Module::load("case.tile", ATTENTION, &mut |path| Err(format!("no file `{path}`")));
    let module = loaded.module.expect("a module without errors");
    let mut bind = Bindings::default();
    bind.extents.insert("D".into(), 3);
    let func = module.specialise("attention", &bind).unwrap_or_else(|d| panic!("{d:?}"));
    let extents: Vec<i64> = func
        .extents
        .iter()
        .map(|e| match (e.known, e.name.as_str()) {
            (Some(n), _) => n,
            (None, "N") => 6,
            (None, _) => 9,
        })
        .collect();
    let array = |kind: &ParamKind| {
        let ParamKind::Tensor(dtype, axes) = kind else { panic!("only tensors") };
        let shape: Vec<usize> = axes.iter().map(|a| func.axis_size(*a, &extents) as usize).collect();
        let mut array = Array::zeros(*dtype, &shape);
        let count = array.data.len();
        array.data = Data::Float((0..count).map(|n| ((n * 7 % 11) as f64 - 5.0) / 4.0).collect());
        Arg::Tensor(array)
    };
    let args: Vec<Arg> = func.params.iter().map(|p| array(&p.kind)).collect();
    let Outcome::Done(want) = interpret(&func, &extents, &[], &args) else { panic!("the interpreter faults") };
    for lanes in LANES {
        let whole = padded::pad(&func, lanes).expect("padded");
        let wrong = |func: &Func| match padded::interpret(func, lanes, 5, (&extents, &[], &args)).0 {
            Outcome::Done(got) => difference(func, &want, &got, &[1e-5; 4]),
            Outcome::Fault(why) => Some(why),
        };
        assert_eq!(wrong(&whole), None, "{}", print(&whole));
        let mut found = Vec::new();
        selects(&whole.body, &mut found);
        assert_eq!(found.len(), 1, "one select serves maximum, sum and product:\n{}", print(&whole));
        for select in found {
            let mut broken = whole.clone();
            change(&mut broken.body, select);
            assert!(wrong(&broken).is_some(), "nobody notices:\n{}", print(&broken));
        }
    }
}

fn selects(region: &Region, found: &mut Vec<Value>) {
    for inst in &region.insts {
        if inst.op == Op::Select {
            found.push(inst.results[0]);
        }
        inst.regions.iter().for_each(|r| selects(r, found));
    }
}

fn each_select(region: &mut Region, select: Value, change: &mut dyn FnMut(&mut Region, usize)) {
    if let Some(n) = region.insts.iter().position(|i| i.results.contains(&select)) {
        change(region, n);
    }
    for inst in &mut region.insts {
        inst.regions.iter_mut().for_each(|r| each_select(r, select, change));
    }
}

#[test]
fn a_select_left_out_is_noticed() {
    notices(&|body, select| {
        each_select(body, select, &mut |region, n| {
            // Where both sides are the value, nothing is chosen.
            region.insts[n].args[2] = region.insts[n].args[1];
        });
    });
}

#[test]
fn a_select_of_another_constant_is_noticed() {
    notices(&|body, select| {
        let zero = constant(body, 0.0).expect("the running sums start at 0");
        each_select(body, select, &mut |region, n| region.insts[n].args[2] = zero);
    });
}

/// The value that is a constant.
fn constant(body: &Region, x: f64) -> Option<Value> {
    let is = |inst: &&pantile_ir::Inst| matches!(inst.op, Op::Const(_, Scalar::Float(c)) if c == x);
    body.insts.iter().find(is).map(|inst| inst.results[0])
}

/// A dim of a size that is no number of lanes is padded in each block, and never split.
#[test]
fn lanes_are_at_least_as_many_as_a_dim_has() {
    for (size, sized, powers) in [(1, 1, 1), (3, 3, 4), (4, 4, 4), (65, 65, 128)] {
        assert_eq!((Lanes::Sized.of(size), Lanes::PowersOfTwo.of(size)), (sized, powers));
    }
}
