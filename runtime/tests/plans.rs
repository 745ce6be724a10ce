//! Generated pipelines: whatever planning reorders, joins, leaves out and lets share memory, both devices give what the
//! statements say one by one. Values are exact in f32 by construction; speed is not looked at.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use pantile::{Device, Error, Module, Progress, Tensor};
use pantile_compiler::{Plan, Role, Step};

const KERNELS: &str = "
kernel add<P: int = 4>(a: tensor<f32>[N], b: tensor<f32>[N]) -> (y: tensor<f32>[N]) grid (i in N by P) { y[i] = a[i] + b[i]; }
kernel scale<P: int = 4>(x: tensor<f32>[N], c: f32) -> (y: tensor<f32>[N]) grid (i in N by P) { y[i] = x[i] * c; }
kernel positive(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) grid (n in N) { if x[n] > 0.0 { y[n] = x[n]; } }
kernel sides<P: int = 4>(x: tensor<f32>[N]) -> (up: tensor<f32>[N], down: tensor<f32>[N]) grid (i in N by P) {
    up[i] = x[i] + 1.0;
    down[i] = x[i] - 1.0;
}
kernel added<P: int = 4>(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) grid (i in N by P) { y[i] += x[i]; }
order back(p in N, N: int) -> int { N - 1 - p }
order turned(p in N, N: int) -> int { (p + 2) % N }
";

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// A pipeline's text, and what its outputs are for an input.
struct Made {
    text: String,
    wanted: Vec<Vec<f32>>,
}

type Vars = Vec<(String, Vec<f32>)>;

fn made(random: &mut Random, x: &[f32]) -> Made {
    let n = x.len();
    let mut vars: Vars = vec![("x".into(), x.to_vec())];
    let mut body = String::new();
    for step in 0..2 + random.below(12) {
        // Mostly what was made last, so that chains grow; sometimes anything.
        let mut pick = |vars: &Vars| {
            let at = if random.below(2) == 0 { vars.len() - 1 } else { random.below(vars.len()) };
            vars[at].clone()
        };
        let ((a, x), (b, y)) = (pick(&vars), pick(&vars));
        let name = format!("v{step}");
        let map = |f: &dyn Fn(usize) -> f32| (0..n).map(f).collect::<Vec<f32>>();
        let (call, value) = match random.below(9) {
            0 => (format!("add({a}, {b})"), map(&|i| x[i] + y[i])),
            1 => (format!("scale({a}, 2.0)"), map(&|i| x[i] * 2.0)),
            2 => (format!("scale({a}, -1.0)"), map(&|i| -x[i])),
            3 => (format!("positive({a})"), map(&|i| x[i].max(0.0))),
            4 => (format!("added({a})"), x.clone()),
            5 => (format!("permute({a}, N via back(N))"), map(&|i| x[n - 1 - i])),
            6 => (
                format!(
                    "unpermute(add(permute({a}, N via turned(N)), permute({b}, N via turned(N))), N via turned(N))"
                ),
                map(&|i| x[i] + y[i]),
            ),
            _ => {
                let (up, down) = (map(&|i| x[i] + 1.0), map(&|i| x[i] - 1.0));
                let names = match random.below(4) {
                    0 => [format!("{name}u"), "_".into()],
                    1 => ["_".into(), format!("{name}d")],
                    _ => [format!("{name}u"), format!("{name}d")],
                };
                let _ = writeln!(body, "    let ({}, {}) = sides({a});", names[0], names[1]);
                vars.extend(names.into_iter().zip([up, down]).filter(|(name, _)| name != "_"));
                continue;
            }
        };
        let _ = writeln!(body, "    let {name} = {call};");
        vars.push((name, value));
    }
    let count = 1 + random.below(3);
    let mut wanted = Vec::new();
    for n in 0..count {
        let (name, value) = vars[vars.len() - 1 - random.below(vars.len().min(5))].clone();
        let _ = writeln!(body, "    o{n} = {name};");
        wanted.push(value);
    }
    let outs: Vec<String> = (0..count).map(|n| format!("o{n}: tensor<f32>[N]")).collect();
    let text = format!("{KERNELS}pipeline p(x: tensor<f32>[N]) -> ({}) {{\n{body}}}\n", outs.join(", "));
    Made { text, wanted }
}

/// What must hold for any plan.
fn lawful(plan: &Plan, text: &str) {
    let mut written = vec![false; plan.buffers.len()];
    for step in &plan.steps {
        for buffer in step.reads() {
            let input = matches!(plan.buffers[buffer].role, Role::Input(_));
            assert!(input || written[buffer], "read before it is written: {text}");
        }
        for buffer in step.writes() {
            assert!(!std::mem::replace(&mut written[buffer], true), "written twice: {text}");
        }
    }
    for (n, a) in plan.buffers.iter().enumerate() {
        for b in &plan.buffers[n + 1..] {
            let (Some(one), Some(other)) = (a.life, b.life) else { continue };
            let apart = one.1 < other.0 || other.1 < one.0;
            let shared = a.places.iter().any(|p| b.places.contains(p));
            assert!(!shared || apart, "`{}` and `{}` share memory while both live: {text}", a.name, b.name);
        }
    }
}

#[test]
fn generated_pipelines_are_what_their_statements_say() {
    let mut random = Random(11);
    let devices = [Device::cpu(), Device::interp()];
    let (mut joined, mut reused, mut elided, mut once) = (0, 0, 0, 0);
    for case in 0..240 {
        let n = [1, 5, 8, 13][random.below(4)];
        let x: Vec<f32> = (0..n).map(|_| random.below(9) as f32 - 4.0).collect();
        let Made { text, wanted } = made(&mut random, &x);
        let module = Module::from_text("p.tile", &text).unwrap_or_else(|why| panic!("{why}\n{text}"));
        let input = Tensor::from_slice(&[n], &x).unwrap();
        for device in &devices {
            let pipeline = module.pipeline("p").unwrap().on(device);
            let plan = pipeline.plan((&input,)).unwrap_or_else(|why| panic!("case {case}: {why}\n{text}"));
            lawful(&plan, &text);
            let (outputs, trace) = pipeline.call_traced((&input,)).unwrap();
            for (n, wanted) in wanted.iter().enumerate() {
                let got = outputs.tensor(&format!("o{n}")).unwrap().to_vec::<f32>().unwrap();
                assert_eq!(got, *wanted, "case {case}, output {n} on {}:\n{text}\n{}", device.name(), plan.text());
            }
            assert_eq!(trace.memory.peak, plan.footprint().peak, "{text}");
            assert!(plan.text().lines().all(|line| line.chars().count() <= 100), "{}", plan.text());
            joined += plan.steps.iter().filter(|s| matches!(s, Step::Launch { calls, .. } if calls.len() > 1)).count();
            reused += usize::from(plan.footprint().places < plan.footprint().temporaries);
            elided += plan.notes.iter().filter(|n| n.text.contains("nothing takes")).count();
            once += plan.notes.iter().filter(|n| n.text.contains("launched once")).count();
        }
    }
    assert!(joined > 20 && reused > 20 && elided > 20 && once > 20, "{joined} {reused} {elided} {once}: too tame");
}

const PAIRS: &str = "
kernel pick(x: tensor<f32>[N], at: tensor<i32>[M]) -> (y: tensor<f32>[M]) grid (m in M) { y[m] = x[at[m]]; }
pipeline pair(x: tensor<f32>[N], a: tensor<i32>[K], b: tensor<i32>[L]) -> (y: tensor<f32>[K], z: tensor<f32>[L]) {
    y = pick(x, a);
    z = pick(x, b);
}
";

#[test]
fn joined_calls_are_one_dispatch() {
    let module = Module::from_text("pairs.tile", PAIRS).unwrap();
    let x = Tensor::from_slice(&[4], &[10.0f32, 11.0, 12.0, 13.0]).unwrap();
    let (a, b) =
        (Tensor::from_slice(&[3], &[3i32, 0, 1]).unwrap(), Tensor::from_slice(&[1500], &[2i32; 1500]).unwrap());
    for device in [Device::cpu(), Device::interp()] {
        let told: Arc<Mutex<Vec<(u64, u64)>>> = Arc::default();
        let list = told.clone();
        let device =
            device.with_progress(Arc::new(move |p: Progress<'_>| list.lock().unwrap().push((p.done, p.total))));
        let outputs = module.pipeline("pair").unwrap().on(&device).call((&x, &a, &b)).unwrap();
        assert_eq!(outputs.tensor("y").unwrap().to_vec::<f32>().unwrap(), [13.0, 10.0, 11.0]);
        assert_eq!(outputs.tensor("z").unwrap().to_vec::<f32>().unwrap(), [12.0; 1500]);
        let told = told.lock().unwrap().clone();
        assert!(told.iter().all(|(_, total)| *total == 1503), "one launch of all programs: {told:?}");
        assert_eq!(told.iter().map(|(done, _)| *done).max(), Some(1503));
        let none = Tensor::from_slice(&[0], &[0i32; 0]).unwrap();
        let outputs = module.pipeline("pair").unwrap().on(&device).call((&x, &none, &b)).unwrap();
        assert_eq!(outputs.tensor("z").unwrap().to_vec::<f32>().unwrap(), [12.0; 1500], "beside a call of nothing");
    }
}

#[test]
fn a_fault_in_a_joined_call_names_its_own_program() {
    let module = Module::from_text("pairs.tile", PAIRS).unwrap();
    let x = Tensor::from_slice(&[4], &[10.0f32; 4]).unwrap();
    let good = Tensor::from_slice(&[700], &[1i32; 700]).unwrap();
    let mut wrong = [1i32; 900];
    wrong[613] = 4;
    let bad = Tensor::from_slice(&[900], &wrong).unwrap();
    for device in [Device::cpu(), Device::interp()] {
        for (a, b) in [(&good, &bad), (&bad, &good)] {
            let error = module.pipeline("pair").unwrap().on(&device).call((&x, a, b)).unwrap_err();
            let Error::Fault { kernel, instance, .. } = &error else { panic!("{error}") };
            assert_eq!((kernel.as_str(), &instance[..]), ("pick", &[613][..]), "{error}");
        }
    }
}
