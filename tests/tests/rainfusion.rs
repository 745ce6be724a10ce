//! RainFusion2.0 on every device against its definition, over options, shapes, dtypes and layouts drawn together; also its
//! masks used again, its dense form and its schedule. The authors' own numbers are `golden.rs`'s business.
//!
//! `PANTILE_CASES=N` runs N cases instead of the usual number, `PANTILE_CASE=N` the case of one seed alone.

use std::collections::{BTreeMap, BTreeSet};

use pantile::{Arg, Device, Mask, Tensor, ToArg};
use pantile_kernels::{Budget, Order, RainFusionOn, Schedule, Scheduled, Step, module};
use pantile_tests::draw::Draw;
use pantile_tests::reference::{Case, FEATURES, Selection, Side, Tokens, Walked, attention, chosen, far, mismatch};

/// Cases on the CPU, and the products in one dot of attention that each may have.
const CPU: (u64, usize) = (240, 6_000_000);
/// The same on the interpreter.
const INTERP: (u64, usize) = (120, 1_000_000);
/// Of how many entries of all masks one may be in doubt.
const DOUBT: usize = 1000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|n| n.parse().ok())
}

fn seeds(count: u64) -> std::ops::Range<u64> {
    match number("PANTILE_CASE") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PANTILE_CASES").unwrap_or(count),
    }
}

/// A case with what the reference says of it.
struct Judged {
    case: Case,
    queries: Walked,
    keys: Walked,
}

impl Judged {
    fn new(case: Case) -> Self {
        let queries = Walked::of(&case.options, Side::Queries);
        let keys = Walked::of(&case.options, Side::Keys);
        Self { case, queries, keys }
    }

    fn selection(&self, inputs: &[Tensor; 3]) -> Selection {
        let [q, k] = [0, 1].map(|n| Tokens::of(&inputs[n]));
        chosen(&self.case.options, &q, &k, &self.queries, &self.keys)
    }

    /// Whether an output and its log-sum-exp are those under this mask.
    fn attention(&self, inputs: &[Tensor; 3], mask: &[bool], out: &Tensor, lse: &Tensor) -> Result<(), String> {
        let [q, k, v] = inputs.each_ref().map(Tokens::of);
        if (out.shape(), out.dtype()) != (inputs[0].shape(), inputs[0].dtype()) {
            return Err(format!("out is {} {:?}", out.dtype(), out.shape()));
        }
        let walks = (&self.queries, &self.keys);
        let (want_out, want_lse) = attention([&q, &k, &v], walks, mask, q.scale(&self.case.options));
        let (far_out, far_lse) = (far(out, &want_out), far(lse, &want_lse));
        if far_out > self.case.tolerance(v.largest()) {
            return Err(format!("out is off by {far_out:e}"));
        }
        if far_lse > self.case.tolerance_lse() { Err(format!("lse is off by {far_lse:e}")) } else { Ok(()) }
    }

    /// A mask with about a third of the pairs, every fourth row empty.
    fn any_mask(&self) -> Mask {
        let mut draw = Draw::new(self.case.seed ^ 0xA5);
        let [batch, heads, _] = self.case.heads;
        let shape = [batch, heads, self.queries.blocks(), self.keys.blocks()];
        let mut bits = Vec::new();
        for _ in 0..shape[..3].iter().product() {
            let empty = draw.percent(25);
            bits.extend((0..shape[3]).map(|_| !empty && draw.percent(33)));
        }
        Mask::from_bools(&shape, &bits).expect("a mask")
    }

    /// Runs the case on a device, and after it one of the other calls; how many entries of the mask there are, and how many
    /// were in doubt.
    fn check(&self, device: &Device) -> Result<(usize, usize), String> {
        let case = &self.case;
        let inputs = case.inputs(0);
        let operator = RainFusionOn::new(&case.options, device).map_err(|e| e.to_string())?;
        let result = operator.call(&inputs[0], &inputs[1], &inputs[2]).map_err(|e| e.to_string())?;
        for (what, got, want) in [("queries", &result.order, &self.queries), ("keys", &result.key_order, &self.keys)] {
            let got = got.to_vec::<i32>().map_err(|e| e.to_string())?;
            if let Some(p) = (0..got.len().max(want.walk.len())).find(|p| got.get(*p) != want.walk.get(*p)) {
                let (got, want) = (got.get(p), want.walk.get(p));
                return Err(format!("the walk of the {what} has {got:?} at {p}, not {want:?}"));
            }
        }
        let mask = result.mask.to_bools();
        let shape = [case.heads[0], case.heads[1], self.queries.blocks(), self.keys.blocks()];
        if result.mask.shape() != shape {
            return Err(format!("the mask has shape {:?}, not {shape:?}", result.mask.shape()));
        }
        let doubtful = mismatch(&self.selection(&inputs), &mask)?;
        self.attention(&inputs, &mask, &result.out, &result.lse)?;
        self.further(&operator, &result.mask)?;
        Ok((mask.len(), doubtful))
    }

    /// Other calls on other data: the mask used again, any mask, dense.
    fn further(&self, operator: &RainFusionOn, made: &Mask) -> Result<(), String> {
        let inputs = self.case.inputs(1);
        let [q, k, v] = &inputs;
        if self.case.seed.is_multiple_of(3) {
            let dense = operator.dense(q, k, v).map_err(|e| e.to_string())?;
            let all = vec![true; made.bits().len()];
            return self.attention(&inputs, &all, &dense.out, &dense.lse).map_err(|e| format!("dense: {e}"));
        }
        let mask = if self.case.seed % 3 == 1 { made.clone() } else { self.any_mask() };
        let result = operator.call_masked(q, k, v, &mask).map_err(|e| e.to_string())?;
        let told = result.mask.to_bools() == mask.to_bools() && result.kept == mask.density();
        let same = if told { Ok(()) } else { Err("the mask that came out is not the one that went in".to_owned()) };
        same.and_then(|()| self.attention(&inputs, &mask.to_bools(), &result.out, &result.lse))
            .map_err(|e| format!("by a mask: {e}"))
    }
}

/// A failure, with what is needed to see it again.
fn report(case: &Case, device: &Device, why: &str) -> String {
    format!("PANTILE_CASE={} on {}: {why}\n{case:?}", case.seed, device.name())
}

fn run(device: &Device, (count, most): (u64, usize)) {
    let (mut wrong, mut entries, mut doubtful) = (Vec::new(), 0, 0);
    let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in seeds(count) {
        let judged = Judged::new(Case::draw(seed, most));
        judged.case.features().into_iter().for_each(|f| *shown.entry(f).or_default() += 1);
        match judged.check(device) {
            Ok((all, doubt)) => (entries, doubtful) = (entries + all, doubtful + doubt),
            Err(why) => wrong.push(report(&judged.case, device, &why)),
        }
    }
    eprintln!("{}: {entries} entries of masks, {doubtful} in doubt", device.name());
    assert!(wrong.is_empty(), "{} cases fail\n{}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
    assert!(doubtful * DOUBT <= entries, "{doubtful} of {entries} entries are in doubt");
    if number("PANTILE_CASE").is_none() {
        let rare: Vec<&&str> = FEATURES.iter().filter(|f| shown.get(**f).is_none_or(|n| *n < 3)).collect();
        assert!(rare.is_empty(), "drawn fewer than three times: {rare:?}");
        let known: BTreeSet<&str> = FEATURES.iter().copied().collect();
        assert!(shown.keys().all(|f| known.contains(f)), "a feature is not in the list: {shown:?}");
    }
}

#[test]
fn cases_on_the_cpu() {
    run(&Device::cpu(), CPU);
}

#[test]
fn cases_on_the_interpreter() {
    run(&Device::interp(), INTERP);
}

/// What the pipeline of a dialect gives beyond the typed call: every pair's score.
fn dialect(judged: &Judged, name: &str, device: &Device) -> Result<(), String> {
    let case = &judged.case;
    let options = &case.options;
    let inputs = case.inputs(0);
    let mut budget = options.budget.values().to_vec();
    budget.resize(case.heads[1], budget[0]);
    let budget = Tensor::from_slice(&[budget.len()], &budget).expect("a tensor");
    let grid = options.grid.map(|n| n as i64);
    let (text, scale) = (options.text as i64, options.scale(case.dim));
    let (by_mass, sink) = (matches!(options.budget, Budget::Mass(_)), options.sink());
    let mut args: Vec<Arg<'_>> = inputs.iter().map(ToArg::to_arg).collect();
    args.extend([budget.to_arg(), grid[0].to_arg(), grid[1].to_arg(), grid[2].to_arg()]);
    args.extend([text.to_arg(), scale.to_arg(), by_mass.to_arg(), sink.to_arg()]);
    if options.order == Order::Paper {
        args.push(options.compat.to_arg());
    }
    args.push(options.text_last.to_arg());
    if options.order == Order::Paper {
        args.push(options.lone_last.to_arg());
    }
    let pipeline = module("rainfusion.tile").and_then(|m| m.pipeline(name)).expect("a dialect");
    let outputs = pipeline.with("P", options.block as i64).on(device).call(&args[..]).map_err(|e| e.to_string())?;
    let tensor = |name: &str| outputs.tensor(name).map_err(|e| e.to_string());
    let mask = outputs.mask("keep").map_err(|e| e.to_string())?.to_bools();
    let selection = judged.selection(&inputs);
    mismatch(&selection, &mask)?;
    let far_score = far(&tensor("score")?, &selection.score);
    if far_score > 1e-5 {
        return Err(format!("scores are off by {far_score:e}"));
    }
    judged.attention(&inputs, &mask, &tensor("out")?, &tensor("lse")?)
}

#[test]
fn the_pipelines_of_the_dialects() {
    let mut wrong = Vec::new();
    let (mut paper, mut mindie) = (0, 0);
    for seed in seeds(200) {
        let mut case = Case::draw(seed, 1_000_000);
        let plain = case.options.further.is_empty() && case.options.keys.is_none();
        let name = match case.options.order {
            Order::Paper if plain && paper < 20 => "rainfusion_paper",
            Order::Mindie if plain && mindie < 20 => "rainfusion_mindie",
            Order::Paper
            | Order::Mindie
            | Order::Windows { .. }
            | Order::Raster
            | Order::Zigzag
            | Order::Morton
            | Order::Hilbert
            | Order::Table(_) => continue,
        };
        if name == "rainfusion_paper" {
            paper += 1
        } else {
            mindie += 1
        }
        // A pipeline is told whether there is a sink; it does not look at the grid to choose.
        case.options.sink = Some(case.options.sink());
        let device = if seed % 2 == 0 { Device::cpu() } else { Device::interp() };
        let judged = Judged::new(case);
        if let Err(why) = dialect(&judged, name, &device) {
            wrong.push(report(&judged.case, &device, &format!("{name}: {why}")));
        }
    }
    assert!(wrong.is_empty(), "{} cases fail\n{}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
    assert!(number("PANTILE_CASE").is_some() || paper.min(mindie) >= 5, "{paper} and {mindie} cases");
}

/// What a schedule says of a call, by its definition: a layer's mask is that of the last step at which one was made.
fn expected_step(schedule: &Schedule, made: Option<usize>, step: usize, layer: usize) -> Step {
    if step < schedule.dense_steps || layer < schedule.dense_layers {
        return Step::Dense;
    }
    match made {
        Some(made) if made <= step && step < made + schedule.refresh => Step::Reused,
        Some(_) | None => Step::Fresh,
    }
}

/// Layers over the steps of a sampler, some steps left out, and a second run that begins at step 0 again.
fn sampler(judged: &Judged, device: &Device) -> Result<(), String> {
    let mut draw = Draw::new(judged.case.seed ^ 0x5A);
    let schedule =
        Schedule { dense_steps: draw.number(0..=2), dense_layers: draw.number(0..=1), refresh: draw.number(1..=3) };
    let mut attention = Scheduled::new(&judged.case.options, schedule, device).map_err(|e| e.to_string())?;
    let mut made: BTreeMap<usize, (usize, Vec<bool>)> = BTreeMap::new();
    let steps: Vec<usize> = [0, 1].into_iter().flat_map(|_| 0..5).filter(|_| draw.percent(80)).collect();
    for (round, step) in steps.into_iter().enumerate() {
        for layer in 0..2 {
            let inputs = judged.case.inputs((round * 2 + layer) as u64);
            let [q, k, v] = &inputs;
            let got = attention.call(step, layer, q, k, v).map_err(|e| e.to_string())?;
            let want = expected_step(&schedule, made.get(&layer).map(|(made, _)| *made), step, layer);
            let place = format!("step {step}, layer {layer} of {schedule:?}");
            if got.step != want {
                return Err(format!("{place} is {:?}, not {want:?}", got.step));
            }
            if got.step == Step::Fresh {
                let mask = attention.mask(layer).ok_or("no mask is kept")?.to_bools();
                mismatch(&judged.selection(&inputs), &mask).map_err(|e| format!("{place}: {e}"))?;
                made.insert(layer, (step, mask));
            }
            let all = vec![true; judged.any_mask().bits().len()];
            let mask = if got.step == Step::Dense { &all } else { &made[&layer].1 };
            judged.attention(&inputs, mask, &got.out, &got.lse).map_err(|e| format!("{place}: {e}"))?;
        }
    }
    Ok(())
}

#[test]
fn masks_serve_as_the_schedule_says() {
    let mut wrong = Vec::new();
    for seed in seeds(24) {
        let judged = Judged::new(Case::draw(seed, 300_000));
        let device = if seed % 4 == 0 { Device::interp() } else { Device::cpu() };
        if let Err(why) = sampler(&judged, &device) {
            wrong.push(report(&judged.case, &device, &why));
        }
    }
    assert!(wrong.is_empty(), "{} cases fail\n{}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
}
