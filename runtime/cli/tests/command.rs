//! The `pantile` command from outside: what it says, what it writes, how it ends. Bad input is refused before any work,
//! with the argument's name, and leaves no file.

mod support;

use std::fs;
use std::path::Path;

use pantile::{DType, Tensor, TensorFile, write_tensors};
use support::{Inputs, Shape, done, grid, pantile, refused, text};

#[test]
fn orders_are_arguments() {
    let inputs = Inputs::new();
    let source = inputs.path("walked.tile");
    let code = "order back(p in N, N: int, on: bool = true) -> int { if on { N - 1 - p } else { p } }
kernel double(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) grid (i in N by 4) { y[i] = x[i] * 2.0; }
pipeline walked(x: tensor<f32>[N], walk: order) -> (y: tensor<f32>[N]) { y = permute(double(x), N via walk); }
pipeline fused(x: tensor<f32>[N], walk: order) -> (y: tensor<f32>[N]) { y = unpermute(double(permute(x, N via walk)), N via walk); }";
    fs::write(&source, code).expect("a file");
    let data = inputs.path("data.safetensors");
    let (x, table) = (Tensor::from_slice(&[3], &[1.0f32, 2.0, 3.0]), Tensor::from_slice(&[3], &[1i64, 2, 0]));
    let (x, table) = (x.expect("x"), table.expect("table"));
    let far = Tensor::from_slice(&[1], &[1i64 << 40]).expect("a table");
    write_tensors(&data, &[("x", &x), ("table", &table), ("far", &far)], &[]).expect("a file");
    let (x, table) = (format!("x={data}:x"), format!("walk={data}:table"));
    let run = |walk: &'static str| ["run", &source, "walked", "--arg", &x, "--arg", walk].map(str::to_owned);
    let ran = |args: &[String]| done(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(ran(&run("walk=back(3)")).contains("= 6, 4, 2"));
    assert!(ran(&run("walk=back(N: 3, on: false)")).contains("= 2, 4, 6"));
    assert!(done(&["run", &source, "walked", "--arg", &x, "--arg", &table]).contains("= 4, 6, 2"));
    for (walk, words) in [
        ("walk=back(3, maybe)", "`on` of `back` is true or false, not `maybe`"),
        ("walk=back(3, N: 3)", "`N` of `back` is given twice"),
        ("walk=back()", "`back` needs `N`; it takes (N, on)"),
        ("walk=back(3, true, 4)", "`back` takes (N, on), so `4` is none of them"),
        ("walk=forth(3)", "no order `forth`; it has back"),
        ("walk=7", "`7` is no order"),
        ("walk=back(4)", "`back(4, 1)` has 4 positions, but the axis has 3 elements"),
    ] {
        let args = run(walk);
        let code = if walk == "walk=back(4)" { 1 } else { 2 };
        refused(&args.iter().map(String::as_str).collect::<Vec<_>>(), code, &[words]);
    }
    for (tensor, words) in [("x", ["i32 or i64", "f32[3]"]), ("far", ["position 0", "1099511627776"])] {
        refused(&["run", &source, "walked", "--arg", &x, "--arg", &format!("walk={data}:{tensor}")], 2, &words);
    }
    let plan = ["explain", &source, "walked", "--plan", "--shape", "N=3"];
    assert!(done(&[&plan[..], &["--arg", "walk=back(3)"]].concat()).contains("via    back(3, 1)"));
    let fused = ["explain", &source, "fused", "--plan", "--shape", "N=11", "--arg", "walk=back(11)"];
    let walks = "back(11, 1) by 4: 2 of 3 blocks are lines of 4 (stride -1), 1 line of 3 (stride -1)";
    assert!(done(&fused).contains(walks));
    refused(&plan, 2, &["order `walk` is missing; give `--arg walk=ORDER(…)`"]);
    refused(&[&plan[..], &["--arg", "wolk=back(3)"]].concat(), 2, &["takes no order `wolk`; it takes walk"]);
}

#[test]
fn the_sample_runs_and_is_written() {
    let inputs = Inputs::new();
    let (out, report) = (inputs.path("out.safetensors"), inputs.path("report"));
    let said = done(&["rainfusion", "--runs", "1", "--output", &out, "--report", &report]);
    for words in
        ["Big Buck Bunny", "CC BY 3.0", "35.47 %", "order", "means", "scores", "select", "attention", "speed-up"]
    {
        assert!(said.contains(words), "no `{words}` in\n{said}");
    }
    assert!(!said.contains('\x1b'), "colours only on a terminal");
    let file = TensorFile::open(&out).expect("the output");
    let shape =
        |name| (file.tensor(name).expect("a tensor").dtype(), file.tensor(name).expect("a tensor").shape().to_vec());
    assert_eq!(shape("out"), (DType::BF16, vec![1, 2, 5070, 64]));
    assert_eq!(shape("mask"), (DType::U8, vec![1, 2, 40, 40]));
    assert_eq!(shape("order"), (DType::I32, vec![5070]));
    let page = fs::read_to_string(Path::new(&report).join("index.html")).expect("a page");
    assert!(page.contains("mask_b0_h1.png") && page.contains("35.47 %"));
    assert!(fs::read(Path::new(&report).join("mask_b0_h1.png")).expect("a picture").starts_with(b"\x89PNG"));
}

#[test]
fn layouts_text_and_grouped_heads() {
    let inputs = Inputs::new();
    let (a, b) = (inputs.path("a.safetensors"), inputs.path("b.safetensors"));
    let shapes: [Shape<'_>; 3] = [&[2, 4, 202, 8], &[2, 2, 202, 8], &[2, 2, 202, 8]];
    let metadata = [("grid", "3,8,8".to_owned()), ("text", "10".to_owned())];
    let file = inputs.file("bnsd.safetensors", shapes, &metadata);
    let common = ["--block", "32", "--sparsity", "0.5", "--dialect", "mindie"];
    done(&[&["rainfusion", "--input", &file, "--output", &a, "--compare-dense"], &common[..]].concat());

    let source = TensorFile::open(&file).expect("the file");
    let swapped = ["q", "k", "v"].map(|n| source.tensor(n).and_then(|t| t.permute(&[0, 2, 1, 3])).expect("a tensor"));
    let other = inputs.path("bsnd.safetensors");
    let named = [("q", &swapped[0]), ("k", &swapped[1]), ("v", &swapped[2])];
    write_tensors(&other, &named, &[&metadata[..], &[("layout", "BSND".to_owned())]].concat()).expect("a file");
    done(&[&["rainfusion", "--input", &other, "--output", &b], &common[..]].concat());

    let (a, b) = (TensorFile::open(&a).expect("a"), TensorFile::open(&b).expect("b"));
    let out = b.tensor("out").and_then(|t| t.permute(&[0, 2, 1, 3])).expect("an output");
    let far = pantile_kernels::compare(&out, &a.tensor("out").expect("an output")).expect("one shape");
    assert!(far.max < 1e-5, "{far:?}");
    // 192 video tokens fill six blocks of 32 exactly: no padding, so no `walk`.
    assert_eq!(a.names().expect("names"), ["lse", "mask", "order", "out"]);
    let padded: Shape<'_> = &[1, 1, 82, 8];
    let file =
        inputs.file("padded.safetensors", [padded; 3], &[("grid", "1,9,8".to_owned()), ("text", "10".to_owned())]);
    let c = inputs.path("c.safetensors");
    done(&[&["rainfusion", "--input", &file, "--output", &c], &common[..]].concat());
    let c = TensorFile::open(&c).expect("c");
    let lengths = ["order", "walk"].map(|n| c.tensor(n).expect("a tensor").len());
    assert_eq!(lengths, [82, 96 + 10]);
    for name in ["mask", "order"] {
        let bytes = |file: &TensorFile| file.tensor(name).and_then(|t| t.to_bytes()).expect("a tensor");
        assert_eq!(bytes(&a), bytes(&b), "{name}");
    }
}

#[test]
fn one_frame_has_no_sink_and_says_so() {
    let inputs = Inputs::new();
    let shape: Shape<'_> = &[1, 1, 256, 8];
    let file = inputs.file("image.safetensors", [shape; 3], &grid("1,16,16"));
    let said = done(&["rainfusion", "--input", &file, "--block", "32", "--sparsity", "0.75"]);
    assert!(said.contains("single frame") && said.contains("kept     25.00 %"), "{said}");
}

#[test]
fn values_that_are_not_finite_are_reported() {
    let inputs = Inputs::new();
    let mut data = vec![0.5f32; 192 * 8];
    (data[3], data[70], data[900]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
    let (bad, good) =
        (Tensor::from_slice(&[1, 1, 192, 8], &data), Tensor::from_slice(&[1, 1, 192, 8], &[0.5f32; 1536]));
    let (bad, good) = (bad.expect("a tensor"), good.expect("a tensor"));
    let path = inputs.path("nan.safetensors");
    write_tensors(&path, &[("q", &bad), ("k", &bad), ("v", &good)], &grid("3,8,8")).expect("a file");
    for device in ["cpu", "interp"] {
        let output = pantile(&["rainfusion", "--input", &path, "--block", "32", "--device", device, "--compare-dense"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("`q` holds 1 NaN and 2 infinite"), "{}", text(&output.stderr));
    }
}

#[test]
fn bad_input_is_refused_and_leaves_nothing() {
    let inputs = Inputs::new();
    let good: Shape<'_> = &[1, 2, 192, 8];
    let file = |name: &str, shapes: [Shape<'_>; 3]| inputs.file(name, shapes, &grid("3,8,8"));
    let fine = file("fine.safetensors", [good; 3]);
    let out = inputs.path("out.safetensors");
    let case = |input: &str, more: &[&str], words: &[&str]| {
        refused(&[&["rainfusion", "--input", input, "--output", &out, "--block", "32"], more].concat(), 2, words);
        assert!(!Path::new(&out).exists(), "{more:?} left an output");
    };
    case(&inputs.path("missing"), &[], &["`--input`", "cannot be read"]);
    case("Cargo.toml", &[], &["`--input`", "not a whole safetensors file"]);
    let whole = fs::read(&fine).expect("bytes");
    fs::write(inputs.path("cut"), &whole[..whole.len() - 5]).expect("a file");
    case(&inputs.path("cut"), &[], &["`--input`", "not a whole safetensors file"]);

    case(&file("rank", [&[2, 192, 8], good, good]), &[], &["`q`", "3 axes"]);
    case(&file("batch", [good, &[2, 2, 192, 8], good]), &[], &["`k`", "B = 2", "q has B = 1"]);
    case(&file("depth", [good, good, &[1, 2, 192, 4]]), &[], &["`v`", "D = 4", "q has D = 8"]);
    case(&file("heads", [&[1, 3, 192, 8], good, good]), &[], &["`k`", "2 heads", "q's 3"]);
    case(&file("kv", [good, good, &[1, 1, 192, 8]]), &[], &["`v`", "1 heads", "k has 2"]);
    case(&file("zero", [&[1, 0, 192, 8], good, good]), &[], &["`q`", "H must not be zero"]);
    case(&file("tokens", [&[1, 2, 190, 8]; 3]), &[], &["`--grid`", "3·8·8 = 192 tokens", "N = 190"]);

    let doubles = Tensor::zeros(DType::F64, good).expect("a tensor");
    let mixed = Tensor::zeros(DType::F16, good).expect("a tensor");
    let floats = Tensor::zeros(DType::F32, good).expect("a tensor");
    let typed = |name: &str, q: &Tensor, k: &Tensor| {
        write_tensors(inputs.path(name), &[("q", q), ("k", k), ("v", q)], &grid("3,8,8")).expect("a file");
        inputs.path(name)
    };
    case(&typed("f64", &doubles, &doubles), &[], &["`q`", "f64", "f32, f16 or bf16"]);
    case(&typed("mixed", &floats, &mixed), &[], &["`k`", "f16", "q holds f32"]);
    write_tensors(inputs.path("two"), &[("q", &floats)], &grid("3,8,8")).expect("a file");
    case(&inputs.path("two"), &[], &["`k`", "no tensor `k`"]);
    let plain = inputs.file("plain", [good; 3], &[]);
    case(&plain, &[], &["`--grid`", "give `--grid F,Y,X`"]);
    case(&inputs.file("sly", [good; 3], &grid("3,8")), &[], &["`--grid`", "F,Y,X"]);

    case(&fine, &["--grid", "3,8,9"], &["`--grid`", "216 tokens", "N = 192"]);
    case(&fine, &["--grid", "0,8,8"], &["`--grid`", "zero"]);
    case(&fine, &["--grid", "3,8"], &["--grid", "F,Y,X"]);
    case(&fine, &["--grid", "4294967296,4294967296,8"], &["`--grid`", "2^31"]);
    case(&fine, &["--text", "5"], &["`--grid`", "5 text tokens", "197"]);
    case(&fine, &["--grid", "2,8,12"], &["`--grid`", "even number of frames", "mindie"]);
    for sparsity in ["1", "-0.1", "NaN", "inf", "1.5"] {
        case(&fine, &["--sparsity", sparsity], &["`--sparsity`", "[0, 1)"]);
    }
    case(&fine, &["--block", "0"], &["--block"]);
    case(&fine, &["--scale", "NaN"], &["`--scale`", "finite"]);
    case(&fine, &["--dtype", "i8"], &["--dtype", "`i8` is not one of f32, f16, bf16"]);
    case(&fine, &["--device", "cuda:99"], &["device `cuda:99`", "GPU"]);
    case(&fine, &["--device", "cuda:x"], &["no device `cuda:x`", "cuda:N"]);
    case(&fine, &["--device", "tpu"], &["no device `tpu`"]);
    case(&fine, &["--runs", "0"], &["`--runs`"]);
    case(&fine, &["--sparsity", "most"], &["--sparsity", "`most` is not a number"]);
    for option in ["--text", "--runs"] {
        case(&fine, &[option, "-1"], &[option, "`-1` is not a whole number"]);
    }
    case(&fine, &["--report", &fine], &["`--report`", "is not a folder"]);
}

#[test]
fn what_cannot_be_written_is_said_before_any_work() {
    let inputs = Inputs::new();
    let good: Shape<'_> = &[1, 1, 192, 8];
    let fine = inputs.file("fine.safetensors", [good; 3], &grid("3,8,8"));
    let whole = fs::read(&fine).expect("bytes");
    let (nowhere, folder) = (inputs.path("no/such/folder/out"), inputs.path(""));
    let (sparse, add) = (["rainfusion", "--input", &fine], ["run", "kernels/attention.tile", "attention_dense"]);
    let tensors = ["q", "k", "v"].map(|name| format!("--arg={name}={fine}:{name}"));
    let add = [&add[..], &tensors.each_ref().map(String::as_str), &["--arg=scale=1"]].concat();
    for (command, option) in [(&sparse[..], "output"), (&add, "output"), (&add, "out")] {
        let to = |path: &str| match option {
            "out" => format!("--out=out={path}"),
            _ => format!("--{option}={path}"),
        };
        let argument = format!("`--{option}`");
        let case = |path: &str, words| refused(&[command, &[&to(path)]].concat(), 2, &[&argument, words]);
        case(&nowhere, "there is no folder");
        case(&folder, "is a folder; name a file");
        case(&fine, "is read by this command; name another file");
    }
    assert_eq!(fs::read(&fine).expect("bytes"), whole);
    assert_eq!(fs::read_dir(inputs.dir.path()).expect("a folder").count(), 1);
}

#[test]
fn kernels_run_on_files() {
    let inputs = Inputs::new();
    let (x, y) = (inputs.path("x.safetensors"), inputs.path("y.safetensors"));
    let tensor = Tensor::from_slice(&[3], &[1.0f32, 2.0, 3.0]).expect("a tensor");
    write_tensors(&x, &[("x", &tensor)], &[]).expect("a file");
    let arg = |name: &str| format!("{name}={x}:x");
    let add = ["run", "kernels/elementwise.tile", "vector_add"];
    for device in ["cpu", "interp"] {
        let said =
            done(&[&add[..], &["--arg", &arg("x"), "--arg", &arg("y"), "--device", device, "--output", &y]].concat());
        assert!(said.contains("z: f32[3] = 2, 4, 6"), "{said}");
        let z = TensorFile::open(&y).and_then(|f| f.tensor("z")).and_then(|t| t.to_vec::<f32>()).expect("z");
        assert_eq!(z, [2.0, 4.0, 6.0]);
    }
    refused(&[&add[..], &["--arg", &arg("x")]].concat(), 2, &["`y` is missing"]);
    refused(&[&add[..], &["--arg", &arg("x"), "--arg", "y=3"]].concat(), 2, &["`y` must be a tensor"]);
    refused(&[&add[..], &["--arg", &arg("w")]].concat(), 2, &["no parameter `w`", "x: tensor<T>[N]"]);
    let both = ["--arg", &arg("x"), "--arg", &arg("y")];
    refused(&[&add[..], &both, &["--const", "Q=3"]].concat(), 2, &["no constant `Q`"]);
    refused(&[&add[..], &both, &["--const", "T=3"]].concat(), 2, &["`T`", "`3` is not a dtype"]);
    refused(&[&add[..], &both, &["--const", "P=f32"]].concat(), 2, &["`P`", "`f32` is not a whole number"]);
    refused(&[&add[..], &both, &["--const", "P=8", "--const", "P=8"]].concat(), 2, &["`P` is given twice"]);
    refused(&[&add[..], &["--arg", "x=in.safetensors"]].concat(), 2, &["`x`", "FILE.safetensors:TENSOR"]);
    refused(&["run", "kernels/elementwise.tile", "add"], 2, &["no kernel `add`", "vector_add"]);
    refused(&["run", "nowhere.tile", "add"], 2, &["nowhere.tile: cannot be read: there is no such file"]);
}

#[test]
fn sources_are_checked() {
    let inputs = Inputs::new();
    let good = done(&["check", "kernels/attention.tile", "kernels/rainfusion.tile"]);
    assert!(good.contains("no errors in 2 files"), "{good}");
    let bad = inputs.path("bad.tile");
    let source = "kernel f(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) grid (i in N by 8) { y[i] = x[i] + nothing; }\n";
    fs::write(&bad, source).expect("a file");
    refused(&["check", &bad], 1, &["1 error"]);
    let short = pantile(&["check", "--format", "short", &bad]);
    assert!(
        text(&short.stdout).contains("bad.tile:1:") && text(&short.stdout).contains("E0101"),
        "{}",
        text(&short.stdout)
    );
    let json = pantile(&["check", "--format", "json", &bad]);
    let said: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!((said[0]["code"].as_str(), said[0]["primary"]["line"].as_i64()), (Some("E0101"), Some(1)));
    refused(&["run", &bad, "f"], 1, &["E0101"]);
    fs::write(&bad, b"\xff\xfe kernel").expect("a file");
    refused(&["check", &bad], 2, &["UTF-8"]);
}

#[test]
fn every_stage_is_shown() {
    let emit = |more: &[&str]| done(&[&["emit", "kernels/attention.tile", "attention"], more].concat());
    assert!(emit(&["--stage", "ast"]).contains("KernelItem"));
    assert!(done(&["emit", "kernels/rainfusion.tile", "rainfusion_paper", "--stage", "ast"]).contains("PipelineItem"));
    assert!(emit(&["--stage", "ir"]).contains("kernel @attention("));
    assert!(emit(&["--stage", "passes", "--shape", "D=64"]).contains("kernel @attention("));
    assert!(emit(&["--diff"]).lines().any(|l| l.starts_with('+')));
    assert!(emit(&["--stage", "tiles", "--shape", "D=48"]).contains("valid j"));
    assert!(emit(&["--stage", "clif"]).contains("function"));
    let timings = emit(&["--timings"]);
    assert!(
        ["parse", "check", "passes", "machine code", "total"].iter().all(|part| timings.contains(part)),
        "{timings}"
    );
    let shown = pantile(&["emit", "kernels/attention.tile", "attention", "--timings", "--stage", "ptx"]);
    if shown.status.success() {
        let (timings, said) = (text(&shown.stdout), text(&shown.stderr));
        for part in ["parse", "passes", "lower", "LLVM IR", "open LLVM", "LLVM's passes", "PTX", "total"] {
            assert!(timings.contains(part), "{timings}");
        }
        assert!(timings.contains("assemble") || said.contains("no GPU of sm_90a"), "{timings}{said}");
    } else {
        assert!(text(&shown.stderr).contains("LLVM"), "{}", text(&shown.stderr));
    }
    refused(&["emit", "kernels/attention.tile", "attention", "--timings", "--stage", "ir"], 2, &["--stage clif"]);
    refused(&["emit", "kernels/rainfusion.tile", "rainfusion_paper"], 2, &["is a pipeline", "--stage plan"]);
    refused(&["emit", "kernels/attention.tile", "attention", "--stage", "plan"], 2, &["is a kernel"]);
    refused(&["emit", "kernels/attention.tile", "attention", "--shape", "Z=3"], 2, &["no extent `Z`"]);
    refused(&["emit", "kernels/attention.tile", "attention", "--dtype", "T=f7"], 2, &["no dtype `f7`"]);
    let pipeline = ["explain", "kernels/rainfusion.tile", "rainfusion_paper", "--plan"];
    for (twice, words) in [
        (["--const", "F=3", "--const", "F=5"], "constant `F` is given twice"),
        (["--const", "T=f16", "--dtype", "T=f32"], "constant `T` is given twice"),
        (["--shape", "N=3,D=4", "--shape", "D=4"], "extent `D` is given twice"),
        (["--const", "F=3", "--const", "Z=5"], "no constant `Z`; it has T, P, F, Y, X"),
    ] {
        refused(&[&pipeline[..], &twice].concat(), 2, &[words]);
    }
}

#[test]
fn vector_instructions_are_chosen() {
    let said = done(&["rainfusion", "--cpu-features", "baseline", "--json"]);
    assert!(said.contains("\"kept\""), "{said}");
    refused(&["rainfusion", "--cpu-features", "mmx"], 2, &["mmx", "baseline", "avx2"]);
    refused(&["rainfusion", "--device", "interp", "--cpu-features", "avx2"], 2, &["--cpu-features", "interp"]);
}

#[test]
fn devices_are_held_to_the_interpreter() {
    let inputs = Inputs::new();
    let shown = done(&["selftest", "--only", "softmax"]);
    assert!(shown.contains("softmax_rows") && shown.ends_with("cpu agrees with the interpreter\n"), "{shown}");
    let source = inputs.path("own.tile");
    let code = "kernel own<T: number>(x: tensor<T>[N], i: tensor<i32>[N]) -> (y: tensor<T>[N]) grid (n in N by 4) { y[n] = x[i[n]]; }
order back(p in F * Y * X, F: int, Y: int, X: int) -> int { F * Y * X - 1 - p }";
    fs::write(&source, code).expect("a file");
    let shown = done(&["selftest", &source]);
    // Indices of -1 stop both devices.
    assert!(shown.contains("own") && shown.contains("back"), "{shown}");
    for (part, words) in [("sofmax", "did you mean `softmax`?"), ("nonsense", "there are attention, attention_causal")]
    {
        let output = pantile(&["selftest", "--only", part]);
        assert!(output.stdout.is_empty(), "a table head for nothing: {}", text(&output.stdout));
        refused(&["selftest", "--only", part], 2, &["`--only`: nothing is called", words]);
    }
}

#[test]
fn code_for_gpus_is_shown_and_bundled_without_one() {
    let inputs = Inputs::new();
    let softmax = |more: &[&str]| {
        let args = ["emit", "kernels/norm.tile", "softmax_rows", "--shape", "D=64"];
        pantile(&[&args[..], more].concat())
    };
    let simt = text(&softmax(&["--stage", "simt"]).stdout);
    assert!(simt.contains("shuffle") && simt.contains("store"), "{simt}");
    assert!(text(&softmax(&["--stage", "llvm"]).stdout).contains("define ptx_kernel void @softmax_rows("));
    let args = |target: &'static str, file: &str| {
        let head = ["build", "kernels/norm.tile", "softmax_rows", "--shape", "D=64", "--target", target, "-o"];
        head.map(str::to_owned).into_iter().chain([file.to_owned()]).collect::<Vec<String>>()
    };
    let file = inputs.path("norm.bundle");
    let built = args("sm_80", &file);
    let output = pantile(&built.iter().map(String::as_str).collect::<Vec<_>>());
    let said = text(&output.stderr);
    if output.status.success() {
        assert!(text(&softmax(&["--stage", "ptx", "--target", "sm_80"]).stdout).contains(".target sm_80"));
        let bundle = pantile::Bundle::read(&file).expect("a bundle");
        let built = text(&output.stdout);
        for variant in
            ["softmax_rows, any strides", "softmax_rows, dense  ", "softmax_rows, dense, aligned to 16 bytes"]
        {
            assert!(built.contains(variant), "{built}");
        }
        assert!(bundle.codes().count() > 1 && bundle.codes().all(|code| code.ptx.contains(".entry softmax_rows(")));
        let run = ["run", "kernels/norm.tile", "softmax_rows", "--device", "interp", "--bundle", &file];
        refused(&run, 2, &["a bundle holds code for GPUs", "`interp`", "`cuda:0`"]);
        fs::write(&file, &fs::read(&file).expect("a file")[1..]).expect("a file");
        // The file is looked at before the device.
        for device in ["interp", "cuda:99"] {
            refused(
                &["run", "kernels/norm.tile", "softmax_rows", "--device", device, "--bundle", &file],
                2,
                &["is no bundle"],
            );
        }
    } else {
        // Without LLVM there is no PTX, and the command says what to install.
        assert!(said.contains("LLVM") && said.contains("install"), "{said}");
    }
    for (target, words) in [("sm_75", "`sm_75` is too old; `sm_80` is the least"), ("sm_90", "which is `sm_90a`")] {
        let wrong = args(target, &file);
        refused(&wrong.iter().map(String::as_str).collect::<Vec<_>>(), 2, &[words, "sm_86|sm_87|sm_89"]);
        let emit = ["emit", "kernels/norm.tile", "softmax_rows", "--stage", "ptx", "--target", target];
        refused(&emit, 2, &[words, "sm_86|sm_87|sm_89"]);
    }
    let large =
        ["emit", "kernels/attention.tile", "attention", "--const", "BQ=1024", "--const", "BK=1024", "--stage", "ptx"];
    refused(&large, 3, &["leaves 4096 of them to each of 256 threads", "`--const BQ=128 --const BK=128`"]);
}

#[test]
fn speed_is_measured_and_written() {
    let scratch = Inputs::new();
    let file = scratch.path("ratios.json");
    let said = done(&["bench", "cpu", "--only", "compile", "--rounds", "1", "--json", &file]);
    assert!(said.contains("text to callable") && said.contains("figures: 1"), "{said}");
    let written: serde_json::Value = serde_json::from_slice(&fs::read(&file).expect("a file")).expect("JSON");
    assert!(written["figures"][0]["ratio"].as_f64().is_some_and(|x| x > 0.0), "{written}");
    refused(&["bench", "cpu", "--torch", "/no/such/python"], 2, &["--torch", "does not start"]);
    refused(&["bench", "cpu", "--torch", "false"], 2, &["--torch", "no torch", "pip"]);
    refused(&["bench", "cpu", "--only", "everything"], 2, &["everything", "dense"]);
    refused(&["bench", "cpu", "--rounds", "0"], 2, &["1..=1000"]);
    for device in ["cpu", "gpu"] {
        refused(&["bench", device, "--rounds", "-1"], 2, &["`-1` is not a whole number"]);
    }
    // Where there is no GPU, what would be measured there is known all the same.
    let planned = done(&["bench", "gpu", "--dry-run", "--only", "dense", "--only", "gemm"]);
    for words in ["N75600 D128 (720p)", "FlashAttention-3", "matmul 8192³", "cuBLAS"] {
        assert!(planned.contains(words), "{words} in\n{planned}");
    }
    refused(&["bench", "gpu", "--only", "everything"], 2, &["everything", "rainfusion, sparse"]);
    refused(&["bench", "gpu", "--peer", "fa9", "--torch", "python3"], 2, &["fa9", "torch, triton, fa3, fa4"]);
    refused(&["bench", "gpu", "--peer", "fa3"], 2, &["--torch PYTHON"]);
}

#[test]
fn codes_and_plans_are_explained() {
    assert!(done(&["explain", "e0102"]).contains("name defined twice"));
    assert!(done(&["explain", "--list"]).contains("E0603"));
    refused(&["explain", "E9999"], 2, &["no error code `E9999`"]);
    refused(&["explain", "E0201", "E0202"], 2, &["`E0202`", "one code at a time"]);
    refused(&["explain", "kernels/rainfusion.tile", "rainfusion_paper"], 2, &["source file", "--plan"]);
    let numbers = ["F=13", "Y=15", "X=26", "text=0", "scale=0.125"].map(|n| format!("--const={n}"));
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let plan =
        ["explain", "kernels/rainfusion.tile", "rainfusion_paper", "--plan", "--shape", "B=1,H=2,G=2,N=5070,D=64"];
    let said = done(&[&plan[..], &numbers].concat());
    assert!(said.contains("6 launches, nothing copied") && said.contains("via    windows_paper(13"), "{said}");
    assert!(said.contains("block_means ×2 in one launch") && said.contains("notes"), "{said}");
    assert!(said.contains("18 of 40 blocks are boxes 2×8×8 (strides 390, 26, 1)"), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 100), "{said}");
    let object = done(&[&plan[..], &numbers, &["--format=json"]].concat());
    let object: serde_json::Value = serde_json::from_str(&object).expect("JSON");
    assert_eq!(object["steps"].as_array().map(Vec::len), Some(6), "{object}");
    assert_eq!(object["walks"][0]["boxes"][0]["strides"], serde_json::json!([390, 26, 1]), "{object}");
    assert_eq!(object["buffers"][0]["bytes"], 2 * 5070 * 64 * 4, "{object}");
    assert!(done(&["devices"]).contains("interp"));
}

#[test]
fn every_command_has_help_with_examples_that_fit_a_terminal() {
    for command in ["rainfusion", "run", "check", "emit", "explain", "devices", "selftest", "build"] {
        let said = done(&[command, "--help"]);
        let notes = said.lines().skip_while(|line| !line.starts_with("Every ")).take_while(|line| !line.is_empty());
        let broken = notes.clone().zip(notes.skip(1)).find(|(line, _)| line.chars().count() < 60);
        assert_eq!(broken, None, "{command} --help breaks a line twice");
        let examples = said.split("Examples:").nth(1).unwrap_or_else(|| panic!("{command} --help has no examples"));
        assert!(examples.contains(&format!("pantile {command}")), "{examples}");
        // A line that the terminal wraps is no longer a command to copy.
        examples.lines().for_each(|line| assert!(line.chars().count() <= 80, "{line}"));
    }
}
