//! `pantile rainfusion` from outside: each of its options does what its help says, on small tensors, and refuses what it
//! cannot take, by its name and without a file left behind. Whether attention is right is tested with the kernels.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use pantile::{DType, Tensor, TensorFile, write_tensors};
use serde_json::Value;
use support::{Inputs, Shape, done, grid, pantile, refused, text};

const GOOD: Shape<'_> = &[1, 2, 192, 8];

/// An input of 3×8×8 tokens, two heads of 8.
fn small(inputs: &Inputs) -> String {
    inputs.file("small.safetensors", [GOOD; 3], &grid("3,8,8"))
}

/// What `--json` says.
fn json(args: &[&str]) -> Value {
    let said = done(&[&["rainfusion", "--json", "--block", "16", "--runs", "1"], args].concat());
    serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"))
}

/// A tensor's bytes and the file's metadata.
fn read(path: &str, name: &str) -> (Vec<u8>, Vec<usize>) {
    let tensor = TensorFile::open(path).and_then(|f| f.tensor(name)).unwrap_or_else(|e| panic!("{path}: {name}: {e}"));
    (tensor.to_bytes().expect("bytes"), tensor.shape().to_vec())
}

fn numbers(path: &str, name: &str) -> Vec<f32> {
    TensorFile::open(path).and_then(|f| f.tensor(name)).and_then(|t| t.to_f32()).expect("numbers")
}

fn walk(path: &str) -> Vec<i32> {
    TensorFile::open(path).and_then(|f| f.tensor("order")).and_then(|t| t.to_vec::<i32>()).expect("an order")
}

#[test]
fn every_order_has_a_name() {
    let inputs = Inputs::new();
    let shape: Shape<'_> = &[1, 1, 270, 8];
    let file = inputs.file("ragged.safetensors", [shape; 3], &grid("3,9,10"));
    let out = inputs.path("out.safetensors");
    let mut walks = BTreeSet::new();
    let orders = [
        "paper",
        "mindie",
        "raster",
        "zigzag",
        "morton",
        "hilbert",
        "windows-2x4x4",
        "padded-3x2x8",
        "windows(wf: 3, wy: 2, wx: 2, apart: 0)",
    ];
    for order in orders {
        let said = json(&["--input", &file, "--order", order, "--output", &out]);
        assert_eq!(said["order"], order);
        assert_eq!(TensorFile::open(&out).expect("a file").metadata()["order"], order);
        let mut walk = walk(&out);
        walks.insert(walk.clone());
        walk.sort_unstable();
        assert!(walk.into_iter().eq(0..270), "{order}: not every token once");
    }
    assert_eq!(walks.len(), orders.len(), "two names mean one walk");
    let dialect = json(&["--input", &file, "--dialect", "mindie"]);
    assert_eq!(dialect["order"], "mindie", "the other name of the option");
}

#[test]
fn an_order_that_faults_names_its_option() {
    let inputs = Inputs::new();
    let (file, source) = (small(&inputs), inputs.path("walks.tile"));
    fs::write(&source, "order never(p in N, N: int, step: int) -> int { p / step }").expect("written");
    refused(
        &["rainfusion", "--input", &file, "--order", "never(step: 0)", "--order-file", &source],
        2,
        &["`--order`", "zero"],
    );
}

#[test]
fn switches_without_effect_are_named() {
    let inputs = Inputs::new();
    let file = small(&inputs);
    let said = |args: &[&str]| {
        let all = [&["rainfusion", "--input", &file, "--block", "16", "--runs", "1"], args].concat();
        String::from_utf8(pantile(&all).stderr).expect("text")
    };
    let effect = |args: &[&str]| said(args).lines().filter(|l| l.contains("changes nothing")).count();
    assert_eq!(effect(&[]), 0);
    assert_eq!(effect(&["--lone-last"]), 1, "three frames are odd");
    assert_eq!(effect(&["--text-last", "--lone-last"]), 2);
    assert_eq!(effect(&["--grid", "2,8,12", "--lone-last"]), 0);
    assert_eq!(effect(&["--grid", "2,8,12", "--order", "raster", "--lone-last"]), 1);
}

#[test]
fn orders_of_a_file_walk_clips_and_text() {
    let inputs = Inputs::new();
    let source = inputs.path("walks.tile");
    let text = "
order back(p in N, N: int) -> int { N - 1 - p }
order columns(p in F * Y * X, F: int, Y: int, X: int, flip: bool) -> int {
    let x = p / (F * Y);
    p % (F * Y) * X + (if flip { X - 1 - x } else { x })
}
order half(p in N / 2, N: int) -> int { p }
order far(p in N, N: int) -> int { p + 1 }
";
    fs::write(&source, text).expect("a file");
    let shape: Shape<'_> = &[1, 1, 30, 8];
    let file = inputs.file("two.safetensors", [shape; 3], &grid("2,2,4+1,2,4"));
    let out = inputs.path("out.safetensors");
    let of = |order: &str, more: &[&str]| {
        let args = ["--input", &file, "--order-file", &source, "--order", order, "--output", &out, "--text", "6"];
        json(&[&args[..], more].concat());
        walk(&out)
    };
    let clips = |start: i32| (start..start + 16).rev().chain((start + 16..start + 24).rev());
    assert_eq!(of("back", &[]), clips(6).chain(0..6).collect::<Vec<_>>());
    assert_eq!(of("back", &["--text-last"]), clips(0).chain(24..30).collect::<Vec<_>>());
    assert_eq!(of("columns(true)", &[])[..6], [9, 13, 17, 21, 8, 12]);
    assert_eq!(of("columns(flip: false)", &["--device", "interp"])[..6], [6, 10, 14, 18, 7, 11]);

    let case = |order: &str, words: &[&str]| {
        let args = ["rainfusion", "--input", &file, "--text", "6", "--block", "16", "--order-file", &source];
        refused(&[&args[..], &["--order", order]].concat(), 2, words);
    };
    case("spiral", &["`--order`", "no order `spiral`", "back, columns, half, far"]);
    case("columns", &["`--order`", "needs `flip`"]);
    case("columns(1)", &["`--order`", "true or false"]);
    case("columns(true, flip: true)", &["`--order`", "given twice"]);
    case("columns(true, F: 3)", &["`--order`", "takes (flip)", "none of them"]);
    case("back(M: 3)", &["`--order`", "none of them"]);
    case("back(", &["`--order`", "parenthesis"]);
    case("half", &["`--order`", "visits 8 of 16 tokens"]);
    case("far", &["`--order`", "token 16 of a clip of 16"]);
    fs::write(&source, "order back(p in N, N: int) -> int { nothing }").expect("a file");
    refused(&["rainfusion", "--order-file", &source, "--order", "back"], 1, &["E0101"]);
}

#[test]
fn budgets_are_by_number_or_probability_and_by_head() {
    let inputs = Inputs::new();
    let (file, out) = (small(&inputs), inputs.path("out.safetensors"));
    let rows = |args: &[&str]| {
        let said = json(&[&["--input", &file, "--sink", "off", "--output", &out], args].concat());
        let (mask, shape) = read(&out, "mask");
        assert_eq!(shape, [1, 2, 12, 12]);
        let kept: Vec<usize> = mask.chunks(12).map(|row| row.iter().filter(|b| **b == 1).count()).collect();
        (said["budget"].clone(), kept)
    };
    let (budget, kept) = rows(&["--sparsity", "0,0.75"]);
    assert_eq!(budget, serde_json::json!({ "sparsity": [0.0, 0.75] }));
    assert_eq!(kept[..12], [12; 12]);
    assert_eq!(kept[12..], [3; 12]);
    let (budget, kept) = rows(&["--mass", "1,0.2"]);
    assert_eq!(budget, serde_json::json!({ "mass": [1.0, 0.2] }));
    assert_eq!(kept[..12], [12; 12]);
    assert!(kept[12..].iter().all(|n| (1..6).contains(n)), "{kept:?}");
    assert_eq!(rows(&["--mass", "0.2"]).1[12..], kept[12..]);
}

#[test]
fn a_first_frame_by_itself_leaves_more_out() {
    let inputs = Inputs::new();
    let file = small(&inputs);
    let kept = |args: &[&str]| {
        json(&[&["--input", &file, "--order", "hilbert", "--sparsity", "0.9"], args].concat())["kept"].as_f64()
    };
    let (mixed, apart) = (kept(&[]).expect("a number"), kept(&["--first-apart"]).expect("a number"));
    assert!(apart < mixed, "{apart} against {mixed}");
}

#[test]
fn keys_may_be_other_tokens() {
    let inputs = Inputs::new();
    let keys: Shape<'_> = &[1, 1, 150, 8];
    let file = inputs.file("keys.safetensors", [GOOD, keys, keys], &grid("3,8,8"));
    let out = inputs.path("out.safetensors");
    let said =
        json(&["--input", &file, "--keys-grid", "1,12,12", "--keys-text", "6", "--order", "mindie", "--output", &out]);
    assert_eq!(said["mask"]["shape"], serde_json::json!([1, 2, 12, 10]));
    assert_eq!(said["keys"]["grids"], serde_json::json!([[1, 12, 12]]));
    assert_eq!(read(&out, "key_order").1, [150]);
    assert_eq!(read(&out, "out").1, GOOD);
    let plain = done(&["rainfusion", "--input", &file, "--keys-grid", "1,12,12+1,2,3", "--block", "16"]);
    assert!(plain.contains("keys     1×12×12 + 1×2×3 = 150"), "{plain}");

    let case = |more: &[&str], words: &[&str]| {
        refused(&[&["rainfusion", "--input", &file, "--block", "16"], more].concat(), 2, words);
    };
    case(&[], &["`k`", "N = 150", "`--keys-grid`"]);
    case(&["--keys-grid", "1,12,11"], &["`--keys-grid`", "132 tokens", "M = 150"]);
    case(&["--keys-grid", "1,12"], &["--keys-grid", "F,Y,X"]);
    case(&["--keys-text", "6"], &["`--keys-text`", "--keys-grid F,Y,X"]);
    case(&["--keys-grid", "1,12,12", "--keys-text", "-6"], &["--keys-text", "whole number"]);
    case(&["--keys-grid", "1,15,10", "--order", "windows(wf: 1, wy: 2, wx: 2)"], &["`--order`", "hold other tokens"]);
    case(&["--keys-grid", "1,15,10", "--compat"], &["`--compat`"]);
}

#[test]
fn a_mask_that_was_written_serves_again() {
    let inputs = Inputs::new();
    let file = small(&inputs);
    let [first, again, mask] = ["first", "again", "mask"].map(|name| inputs.path(name));
    json(&["--input", &file, "--sparsity", "0.7", "--output", &first, "--mask-out", &mask]);
    for given in [&mask, &first] {
        let said = json(&["--input", &file, "--mask-in", given, "--output", &again]);
        for name in ["out", "lse", "mask"] {
            assert_eq!(read(&again, name), read(&first, name), "{name}");
        }
        let stages: Vec<&String> = said["stages_ms"].as_object().expect("stages").keys().collect();
        assert_eq!(stages, ["attention", "order"], "nothing is predicted");
        assert!(said["budget"].is_null());
        let kept_by = |path: &str| TensorFile::open(path).expect("a file").metadata().get("sparsity").cloned();
        assert_eq!((kept_by(given).as_deref(), kept_by(&again)), (Some("0.7"), None), "a given mask has no budget");
    }
    let plain = done(&["rainfusion", "--input", &file, "--mask-in", &mask, "--block", "16"]);
    assert!(plain.contains("a given mask"), "{plain}");
    for (order, compat) in [("paper", true), ("raster", false)] {
        let said = done(&["rainfusion", "--input", &file, "--order", order, "--compat", "--mass", "1e-300"]);
        assert_eq!(said.contains("as in the reference"), compat, "{said}");
        assert!(said.contains("mass 1e-300,"), "{said}");
    }

    let out = inputs.path("none");
    let case = |given: &str, more: &[&str], words: &[&str]| {
        let block = if more.contains(&"--block") { &[][..] } else { &["--block", "16"] };
        let args = [&["rainfusion", "--input", &file, "--mask-in", given, "--output", &out], block].concat();
        refused(&[&args[..], more].concat(), 2, words);
        assert!(!Path::new(&out).exists());
    };
    case(&inputs.path("missing"), &[], &["`--mask-in`", "cannot be read"]);
    case(&file, &[], &["`--mask-in`", "no tensor `mask`"]);
    case(&mask, &["--order", "raster"], &["`--mask-in`", "order paper", "--order"]);
    // A file's order is not the operator's own of the same name.
    let (source, along) = (inputs.path("own.tile"), inputs.path("along.safetensors"));
    fs::write(&source, "order paper(p in N, N: int) -> int { p }").expect("a file");
    let own = ["--order-file", &source, "--order", "paper"];
    done(&[&["rainfusion", "--input", &file, "--block", "16", "--mask-out", &along][..], &own].concat());
    case(&along, &[], &["`--mask-in`", "order paper of a file"]);
    done(&[&["rainfusion", "--input", &file, "--block", "16", "--mask-in", &along][..], &own].concat());
    case(&mask, &["--first-apart"], &["`--mask-in`", "first-apart false"]);
    case(&mask, &["--block", "32"], &["`--mask-in`", "block 16"]);
    case(&mask, &["--grid", "1,8,24"], &["`--mask-in`", "grid 3,8,8"]);
    case(&mask, &["--sparsity", "0.5"], &["--sparsity", "--mask-in"]);
    case(&mask, &["--mass", "0.5"], &["--mass", "--mask-in"]);
    case(&mask, &["--quality"], &["--quality", "--mask-in"]);
    case(&mask, &["--mask-out", &mask], &["`--mask-out`", "is read by this command"]);
    case(&mask, &["--mask-out", &out], &["`--mask-out`", "is also the output"]);
    case(&mask, &["--mask-out", &inputs.path("no/folder")], &["`--mask-out`", "there is no folder"]);
    let other = inputs.path("other");
    let write = |tensor: &Tensor| write_tensors(&other, &[("mask", tensor)], &[]).expect("a file");
    write(&Tensor::zeros(DType::U8, &[1, 2, 12, 11]).expect("a tensor"));
    case(&other, &[], &["`--mask-in`", "[1, 2, 12, 11]", "[1, 2, 12, 12]"]);
    write(&Tensor::zeros(DType::F32, &[1, 2, 12, 12]).expect("a tensor"));
    case(&other, &[], &["`--mask-in`", "f32", "must be u8"]);
    write(&Tensor::from_slice(&[1, 1, 1, 2], &[1u8, 7]).expect("a tensor"));
    case(&other, &[], &["`--mask-in`", "holds 7"]);
}

/// Without queries all logits are zero, so the log-sum-exp is the logarithm of the number of kept keys.
#[test]
fn the_log_sum_exp_is_written() {
    let inputs = Inputs::new();
    let [q, k] = [0.0f32, 0.5].map(|x| Tensor::from_slice(&[1, 1, 192, 8], &[x; 1536]).expect("a tensor"));
    let (file, out) = (inputs.path("zero"), inputs.path("out"));
    write_tensors(&file, &[("q", &q), ("k", &k), ("v", &k)], &grid("3,8,8")).expect("a file");
    json(&["--input", &file, "--sparsity", "0", "--output", &out]);
    assert_eq!(read(&out, "lse").1, [1, 1, 192]);
    assert!(numbers(&out, "lse").iter().all(|x| (x - 192f32.ln()).abs() < 1e-5));
}

#[test]
fn quality_is_measured_over_sparsities_and_orders() {
    let inputs = Inputs::new();
    let (file, report) = (small(&inputs), inputs.path("report"));
    let said = json(&["--input", &file, "--quality", "--report", &report, "--order", "padded-1x4x4"]);
    let points = said["quality"].as_array().expect("points");
    assert_eq!(points.len(), 2 * 6 * 6);
    let number = |p: &Value, name: &str| p[name].as_f64().unwrap_or_else(|| panic!("{name} of {p}"));
    for p in points {
        let (kept, cosine, worst) = (number(p, "kept"), number(p, "cosine"), number(&p["worst_token"], "cosine"));
        assert!(kept > 0.0 && kept <= 1.0 && cosine <= 1.0 + 1e-9 && worst <= cosine + 1e-9, "{p}");
        assert_eq!(p["worst_token"]["at"].as_array().map(Vec::len), Some(3));
        assert_eq!(number(p, "relative_l2") < 1e-5, kept == 1.0, "only what keeps all is dense: {p}");
        if p["sink"] == false && p["order"] != "padded-1x4x4" {
            let want = (12.0 * (1.0 - number(p, "sparsity"))).ceil() / 12.0;
            assert!(kept > want - 1e-9 && kept < want + 0.05, "ties alone add to what is asked for: {p}");
        }
    }
    for pair in points.windows(2).filter(|p| p[0]["order"] == p[1]["order"] && p[0]["sink"] == p[1]["sink"]) {
        assert!(number(&pair[0], "kept") >= number(&pair[1], "kept"), "{pair:?}");
    }
    let orders: BTreeSet<&str> = points.iter().filter_map(|p| p["order"].as_str()).collect();
    assert!(orders.into_iter().eq(["hilbert", "mindie", "padded-1x4x4", "paper", "raster", "windows-4x4x8"]));

    let page = fs::read_to_string(Path::new(&report).join("index.html")).expect("a page");
    assert_eq!(page.matches("<td>hilbert</td>").count(), 12);
    for name in ["quality_sink_off.png", "quality_sink_on.png", "mask_b0_h1.png"] {
        assert!(page.contains(name), "{name}");
        assert!(fs::read(Path::new(&report).join(name)).expect("a picture").starts_with(b"\x89PNG"));
    }
    let plain = done(&["rainfusion", "--input", &file, "--block", "16", "--quality", "--sink", "off"]);
    assert!(plain.contains("worst token") && plain.matches("\nhilbert").count() == 6, "{plain}");
    assert!(!plain.contains("first frame always kept"), "{plain}");
}

/// An image has no first frame to protect; an even number of frames is walked in the paper's order too.
#[test]
fn quality_of_images_and_even_clips() {
    let inputs = Inputs::new();
    for (file, shape, frames, sinks) in [("image", "1,12,16", 1, 1), ("even", "2,12,8", 2, 2)] {
        let file = inputs.file(file, [GOOD; 3], &grid(shape));
        let said = json(&["--input", &file, "--quality", "--order", "raster"]);
        assert_eq!(said["quality"].as_array().map(Vec::len), Some(sinks * 5 * 6), "{frames} frames");
    }
}

#[test]
fn options_that_do_not_fit_are_refused_by_name() {
    let inputs = Inputs::new();
    let (file, out) = (small(&inputs), inputs.path("out"));
    let case = |more: &[&str], words: &[&str]| {
        let args = ["rainfusion", "--input", &file, "--block", "16", "--output", &out];
        refused(&[&args[..], more].concat(), 2, words);
        assert!(!Path::new(&out).exists(), "{more:?} left an output");
    };
    case(&["--order", "spiral"], &["`--order`", "no order `spiral`", "hilbert", "--order-file"]);
    case(&["--order", "windows-2x8"], &["`--order`", "windows-2x8x8"]);
    case(&["--order", "padded-2xax8"], &["`--order`", "windows-FxYxX"]);
    case(&["--order", "windows-0x8x8"], &["`--order`", "0×8×8"]);
    case(&["--order", "windows-99x99x99"], &["`--order`", "4096"]);
    case(&["--order", "windows(wf: 2)"], &["`--order`", "needs `wy`"]);
    case(&["--order", "windows(0, 1)"], &["`--order`", "needs `wx`"]);
    case(&["--order-file", &inputs.path("missing.tile"), "--order", "back"], &["`--order-file`", "cannot be read"]);
    case(&["--order-file", "kernels/orders.tile"], &["--order"]);
    case(&["--sparsity", "0.1,0.2,0.3"], &["`--sparsity`", "3 numbers", "2 heads"]);
    case(&["--sparsity", "0.1,"], &["--sparsity", "not a number"]);
    case(&["--sparsity", "0.5,1"], &["`--sparsity`", "[0, 1)"]);
    for mass in ["0", "1.5", "-0.1", "NaN"] {
        case(&["--mass", mass], &["`--mass`", "(0, 1]"]);
    }
    case(&["--mass", "much"], &["--mass", "not a number"]);
    case(&["--mass", "0.9", "--sparsity", "0.8"], &["--mass", "--sparsity", "cannot be used"]);
    case(&["--grid", "3,8,8+"], &["--grid", "F,Y,X"]);
    case(&["--grid", "1,8,8+1,8,8"], &["`--grid`", "128 tokens", "N = 192"]);
    case(&["--grid", "2,8,12"], &["`--grid`", "even", "--lone-last"]);
    case(&["--grid", "1,8,8+2,8,8", "--compat", "--lone-last"], &["`--compat`", "one video"]);
    let closed = inputs.path("closed");
    fs::write(&closed, "a file").expect("a file");
    for path in [closed.clone(), format!("{closed}/report"), format!("{closed}/a/report")] {
        case(&["--quality", "--report", &path], &["`--report`", "is not a folder"]);
    }
    case(&["--report", "/proc/self/report"], &["`--report`", "/proc/self/report"]);
}

#[test]
fn progress_is_for_terminals() {
    let inputs = Inputs::new();
    let output = pantile(&["rainfusion", "--input", &small(&inputs), "--block", "16", "--quality"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
}
