//! Loading and checking: whole modules in, diagnostics and signatures out.

use std::collections::BTreeMap;

use pantile_diag::render_short;
use pantile_ir::{DType, Scalar};

use crate::{ArgShape, Bindings, GenericKind, InferError, Loaded, Module, infer};

/// Loads a file of `kernels/`.
fn shipped(name: &str) -> Loaded {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernels/");
    let read = |path: &str| std::fs::read_to_string(format!("{folder}{path}")).map_err(|e| e.to_string());
    let text = read(name).expect("a shipped file");
    Module::load(name, &text, &mut |path| read(path))
}

/// Loads the first of some files; the others are there to be imported.
fn load(files: &[(&str, &str)]) -> Loaded {
    let files: BTreeMap<&str, &str> = files.iter().copied().collect();
    let read = |path: &str| files.get(path).map(|t| (*t).to_owned()).ok_or_else(|| "no such file".to_owned());
    Module::load("main.tile", files["main.tile"], &mut |path| read(path))
}

/// Each diagnostic as `code file:line`.
fn said(loaded: &Loaded) -> Vec<String> {
    let row = |d: &pantile_diag::Diagnostic| {
        let file = loaded.sources.name(d.primary.span.file).trim_end_matches(".tile");
        format!("{} {file}:{}", d.code, loaded.sources.line_col(d.primary.span).0)
    };
    loaded.diagnostics.iter().map(row).collect()
}

#[test]
fn shipped_files_are_clean() {
    for name in ["elementwise.tile", "norm.tile", "matmul.tile", "attention.tile", "rainfusion.tile"] {
        let loaded = shipped(name);
        let text = render_short(&loaded.diagnostics, &loaded.sources);
        assert!(loaded.module.is_some() && loaded.diagnostics.is_empty(), "{name}: {text}\n{:#?}", loaded.diagnostics);
    }
}

#[test]
fn each_error_is_said_once_and_where_it_is() {
    let kernel = "kernel k<T: float>(x: tensor<T>[N]) -> (y: tensor<T>[N]) grid (i in N by 4) { y[i] = x[i]; }\n";
    let cases: &[(&str, &str, &[&str])] = &[
        ("twice", "const A: int = 1;\nconst A: int = 2;", &["E0102 main:2"]),
        ("cycle", "const A: int = B + 1;\nconst B: int = A;", &["E0502 main:1", "E0502 main:2"]),
        ("zero", "const A: int = 1 / 0;", &["E0502 main:1"]),
        ("overflow", "const A: int = 9223372036854775807 + 1;", &["E0502 main:1"]),
        ("range", "const A: u8 = 300;", &["E0303 main:1"]),
        ("unknown constant", "const LEN: int = 1;\nconst A: int = LEM;", &["E0101 main:2"]),
        ("recursion", "fn f(x) { f(x) + f(x) }\nconst A: int = f(1);", &["E0502 main:1", "E0502 main:1"]),
        (
            "blow-up",
            "fn a(x) { b(x) + b(x) }\nfn b(x) { c(x) + c(x) }\nfn c(x) { d(x) + d(x) }\nfn d(x) { x * x }\nconst A: int = a(1);",
            &[],
        ),
        ("no file", "use \"nowhere.tile\"::{a};", &["E0104 main:1"]),
        ("no name", "use \"other.tile\"::{hepl, help};", &["E0104 main:1"]),
        ("clash", "use \"other.tile\"::{help};\nfn help(x) { x }", &["E0102 main:1"]),
        ("renamed", "use \"other.tile\"::{help as aid};\nfn help(x) { aid(x) }", &[]),
        (
            "unused function",
            "fn f(x, over d) {\n let y = sum(x, over d);\n y + z + g(y) + (y as f31)\n}",
            &["E0101 main:3", "E0101 main:3", "E0101 main:3"],
        ),
        (
            "kind",
            "kernel k<T: flaot>(x: tensor<T>[N]) -> (y: tensor<T>[N]) grid (i in N by 4) { y[i] = x[i]; }",
            &["E0101 main:1"],
        ),
        ("output", "kernel k(x: tensor<f32>[N]) -> (y: f32) grid (i in N by 4) { let a = x[i]; }", &["E0402 main:1"]),
        (
            "one dtype only",
            "kernel k<T: float>(x: tensor<T>[N]) -> (y: tensor<f32>[N]) grid (i in N by 4) {\n y[i] = x[i];\n}",
            &["E0303 main:2"],
        ),
        (
            "tuned",
            "tune k { P in [1, 2]; }\nkernel k<P: int = 4>(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) grid (i in N by P) { y[i] = x[i]; }\ntune k { Q in [1]; require P < ; }",
            &["E0101 main:3", "E0002 main:3"],
        ),
        (
            "tune requires",
            "kernel k<P: int = 4>(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) grid (i in N by P) { y[i] = x[i]; }\ntune k { P in [1]; require P + 1; require smem() <= 227 KiB; require Q < 3; }",
            &["E0304 main:2", "E0101 main:2"],
        ),
        (
            "tune what",
            "tune kk { P in [1]; }\norder o(p) -> int { p }\ntune o { P in [1]; }",
            &["E0101 main:1", "E0103 main:3"],
        ),
        ("order", "order o(p, F: f32) -> int { p }", &["E0301 main:1"]),
        ("order's body", "order o(p, F: int) -> int { p + G }", &["E0101 main:1"]),
    ];
    let mut wrong = Vec::new();
    for (name, text, want) in cases {
        let loaded = load(&[("main.tile", text), ("other.tile", "fn help(x) { x + 1 }")]);
        if said(&loaded) != *want || loaded.module.is_some() != want.is_empty() {
            wrong.push(format!("{name}: wanted {want:?}, got {:?}: {:#?}", said(&loaded), loaded.diagnostics));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(said(&load(&[("main.tile", kernel)])), [""; 0]);
}

const STEPS: &str =
    "kernel k<T: float, P: int = 4>(x: tensor<T>[N], s: f32) -> (y: tensor<T>[N]) grid (i in N by P) { y[i] = x[i]; }
order back(p in N, N: int) -> int { N - 1 - p }
const C: int = 2;
";

#[test]
fn pipelines_are_checked_without_numbers() {
    let cases: &[(&str, &[&str])] = &[
        ("y = k(x, 1);", &[]),
        ("y = k(s: 1, x: x);", &[]),
        ("y = k<P = 8, T = f32>(x, 1.5);", &[]),
        ("let walk = back(N); y = unpermute(k(permute(x, N via walk), 1), N via walk);", &[]),
        ("if N > 100000 { y = k(x, 1); } else { y = k(x, 2); }", &[]),
        ("assert(N == 3, \"three\"); y = k(x, 1);", &[]),
        ("let a = if N > 1 { 1 } else { 2 }; y = k<P = a>(x, 1);", &[]),
        ("y = kk(x, 1);", &["E0101"]),
        ("y = k(x);", &["E0305"]),
        ("y = k(x, 1, 2);", &["E0305"]),
        ("y = k(x, t: 1);", &["E0305"]),
        ("y = k(x, 1, s: 1);", &["E0305"]),
        ("y = k(1, x);", &["E0305"]),
        ("y = k<Q = 1>(x, 1);", &["E0305"]),
        ("y = k(z, 1);", &["E0101"]),
        ("let a = z; y = k(a, a);", &["E0101"]),
        ("y = k(x, true);", &["E0301"]),
        ("y = permute(x, M via back(N));", &["E0602"]),
        ("y = permute(x, N via 3);", &["E0602"]),
        ("y = permute(x, N via back(N, 2));", &["E0305"]),
        ("y = permute(x, N via back());", &["E0305"]),
        ("let y2 = k(x, 1);", &["E0403"]),
        ("y = x;", &[]),
        ("assert(C > 3, \"large\"); y = x;", &["E0603"]),
        ("let c = C + 1; assert(c == 3 and c > C, \"large\"); y = x;", &[]),
        ("let c = C + 1; assert(c > 3, \"large\"); y = x;", &["E0603"]),
        ("let c = N; if C > 1 { let c = 1; } assert(c > 3, \"large\"); y = x;", &[]),
        ("let mut c = 1; if N > 3 { c = 4; } assert(c > 3, \"large\"); y = x;", &[]),
        ("if N > 2000000 { assert(false, \"too large\"); } y = x;", &[]),
        ("if N < 2000000 { assert(false, \"too small\"); } y = x;", &[]),
        ("if C < 3 { assert(false, \"too small\"); } y = x;", &["E0603"]),
        ("let c = if N > 1 { 1 } else { 5 }; assert(c > 7, \"large\"); y = x;", &[]),
        ("y = 3;", &["E0301"]),
        ("y = k(x as f32, 1);", &["E0103"]),
        ("k(x, 1); y = k(x, 1);", &["E0602"]),
        ("y[0] = 1; y = k(x, 1);", &["E0602"]),
        ("for n in 0..3 { y = k(x, 1); } y = k(x, 2);", &["E0602"]),
        ("let (a, b) = k(x, 1); y = k(x, 1);", &["E0305"]),
        ("let n = 1; n = 2; y = k(x, n);", &["E0402"]),
        ("let n: i32 = 1; y = k(x, n as f32);", &[]),
        ("let n: i32 = 1.5; y = k(x, n);", &["E0303"]),
        ("y = p(x);", &["E0602"]),
    ];
    let mut wrong = Vec::new();
    for (body, want) in cases {
        let text = format!("{STEPS}pipeline p(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) {{ {body} }}");
        let loaded = load(&[("main.tile", &text)]);
        let codes: Vec<String> = loaded.diagnostics.iter().map(|d| d.code.to_string()).collect();
        if codes != *want {
            wrong.push(format!("{body}: wanted {want:?}, got {codes:?}: {:#?}", loaded.diagnostics));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a careless hand can do to a source: drop, double or exchange tokens. Loading says something, or nothing.
#[test]
fn mangled_files_never_panic() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernels/");
    let read = |path: &str| std::fs::read_to_string(format!("{folder}{path}")).map_err(|e| e.to_string());
    let text = read("rainfusion.tile").expect("a shipped file");
    let text = format!("{text}\ntune select {{ R in [8, 16]; require R < 32; }}\nconst A: int = 3 * 4;\n");
    let words: Vec<&str> = text.split_inclusive([' ', '\n', '(', ')', ',']).collect();
    let mut state = 7usize;
    let mut pick = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    for _ in 0..120 {
        let mut mangled = words.clone();
        for _ in 0..1 + pick(3) {
            let (a, b) = (pick(mangled.len()), pick(mangled.len()));
            match pick(3) {
                0 => drop(mangled.remove(a)),
                1 => mangled.insert(b, words[a]),
                _ => mangled.swap(a, b),
            }
        }
        let loaded = Module::load("rainfusion.tile", &mangled.concat(), &mut |path| read(path));
        assert_eq!(loaded.module.is_none(), loaded.diagnostics.has_errors());
    }
}

#[test]
fn what_would_take_for_ever_is_refused() {
    let mut text = "fn f40(x) { x }\npipeline p40(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) { y = k(x); }
kernel k(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) grid (i in N by 4) { y[i] = x[i]; }\n"
        .to_owned();
    for n in 0..40 {
        let next = n + 1;
        text += &format!("fn f{n}(x) {{ f{next}(x) + f{next}(x) }}\n");
        text += &format!("pipeline p{n}(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) {{ y = p{next}(p{next}(x)); }}\n");
    }
    text += "const A: int = f0(1);\n";
    let loaded = load(&[("main.tile", &text)]);
    let codes: Vec<String> = loaded.diagnostics.iter().map(|d| d.code.to_string()).collect();
    assert!(codes.contains(&"E0502".to_owned()) && codes.contains(&"E0602".to_owned()), "{codes:?}");
}

#[test]
fn cycles_of_imports_end() {
    let loaded = load(&[
        ("main.tile", "use \"lib/a.tile\"::{a};\nfn m(x) { a(x) }"),
        ("lib/a.tile", "use \"b.tile\"::{b};\nuse \"../main.tile\"::{m};\nfn a(x) { b(x) + m(x) }"),
        ("lib/b.tile", "use \"./a.tile\"::{a};\nfn b(x) { a(x) }"),
    ]);
    assert_eq!(loaded.sources.files().count(), 4, "three files and the prelude");
    assert!(loaded.module.is_some(), "{:#?}", loaded.diagnostics);
}

#[test]
fn signatures_tell_constants_and_kinds() {
    let module = shipped("rainfusion.tile").module.expect("a module");
    let names: Vec<&str> = module.kernels().iter().map(|s| s.name.as_str()).collect();
    assert_eq!(
        names,
        ["block_means", "block_kinds", "video_heads", "tail", "block_scores", "select", "select_mass", "attention"]
    );
    let attention = module.kernel("attention").expect("imported");
    assert_eq!(attention.constants, ["D"]);
    assert_eq!(attention.generics[1].kind, GenericKind::Int(Some(128)));
    assert_eq!(attention.params[3].ty.to_string(), "mask[B, H, N by BQ, M by BK]");
    assert!(module.pipeline("rainfusion_paper").is_some());
    assert_eq!(module.suggest("atention"), Some("attention"));
}

#[test]
fn tuning_spaces_are_filtered() {
    let text = "kernel k<P: int = 4, Q: int = 1>(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) grid (i in N by P) { y[i] = x[i] * Q; }
tune k { P in [2, 4, 8]; Q in [1, 2]; require P * Q < 16; require smem() <= 1 KiB; }";
    let loaded = load(&[("main.tile", text)]);
    let module = loaded.module.unwrap_or_else(|| panic!("{:#?}", loaded.diagnostics));
    let tune = module.tune("k").expect("a space");
    let found = module.candidates(tune, &|c| 256 * c["P"]);
    let pairs: Vec<(i64, i64)> = found.iter().map(|c| (c["P"], c["Q"])).collect();
    assert_eq!(pairs, [(2, 1), (2, 2), (4, 1), (4, 2)]);
}

#[test]
fn arguments_that_disagree_are_named() {
    let module = shipped("attention.tile").module.expect("a module");
    let signature = module.kernel("attention").expect("a kernel");
    let tensor = |dtype, shape: &[i64]| ArgShape::Tensor { dtype, shape: shape.to_vec() };
    let scalar = |dtype, x| ArgShape::Scalar { dtype, value: Scalar::Float(x) };
    let good = || {
        let f = DType::F32;
        vec![
            tensor(f, &[2, 8, 300, 64]),
            tensor(f, &[2, 4, 130, 64]),
            tensor(f, &[2, 4, 130, 64]),
            ArgShape::Mask { shape: vec![2, 8, 3, 2] },
            scalar(f, 0.125),
        ]
    };
    let fixed = Bindings::default();
    let inferred = infer(signature, &good(), &fixed).expect("they fit");
    assert_eq!(inferred.bindings.extents["M"], 130);
    assert_eq!(inferred.bindings.ints["BQ"], 128);
    assert_eq!(inferred.outs, [&[2, 8, 300, 64][..], &[2, 8, 300]].map(|shape| Some(tensor(DType::F32, shape))));
    let cases: Vec<(usize, ArgShape, &str)> = vec![
        (1, tensor(DType::F32, &[2, 4, 130, 32]), "`k` has D = 32 but `q` has D = 64"),
        (2, tensor(DType::F16, &[2, 4, 130, 64]), "`v` has T = f16 but `q` has T = f32"),
        (0, tensor(DType::I32, &[2, 8, 300, 64]), "`q` is of i32, but T must be a float"),
        (
            0,
            tensor(DType::F32, &[8, 300, 64]),
            "`q` must have 4 axes, tensor<T>[B, H, N, D], but its shape is [8, 300, 64]",
        ),
        (
            3,
            ArgShape::Mask { shape: vec![2, 8, 2, 2] },
            "`keep` must have 3 places along `N by BQ = 300 by 128`, not 2",
        ),
        (3, scalar(DType::F32, 1.0), "`keep` must be a mask, not a scalar"),
        (4, scalar(DType::F64, 1.0), "`scale` must be of f32, not f64"),
        (1, tensor(DType::F32, &[2, 4, -1, 64]), "`k` has a negative size in [2, 4, -1, 64]"),
    ];
    for (at, arg, want) in cases {
        let mut args = good();
        args[at] = arg;
        assert_eq!(infer(signature, &args, &fixed).expect_err(want).to_string(), want);
    }
    let few = infer(signature, &good()[..2], &fixed).expect_err("too few");
    assert!(matches!(few, InferError::Arity { got: 2, .. }));
    let ints = [("BX".to_owned(), 1)].into();
    let stranger = infer(signature, &good(), &Bindings { ints, ..Bindings::default() }).expect_err("no such constant");
    assert_eq!(stranger.to_string(), "`attention` has no constant `BX`; it has T, BQ, BK");
    let ints = [("BK".to_owned(), 0)].into();
    let zero = infer(signature, &good(), &Bindings { ints, ..Bindings::default() }).expect_err("no block");
    assert_eq!(zero.to_string(), "`BK` must be at least 1, not 0");
}
