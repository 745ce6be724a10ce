//! Plans: what is fused and what is copied, and that both give what the pipeline says. Values come from the interpreter.

mod support;

use pantile_compiler::{ArgShape, Bindings, Module, Plan, PlanBindings, Role, Step};
use pantile_interp::{Arg, Array, Data};
use pantile_ir::{DType, Scalar};

fn numbers(shape: &[usize], seed: u64) -> Array {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(((state >> 40) as f32) / 8_388_608.0 - 1.0)
    };
    let data = (0..shape.iter().product::<usize>()).map(|_| next()).collect();
    Array { dtype: DType::F32, shape: shape.to_vec(), data: Data::Float(data) }
}

fn shape_of(array: &Array) -> ArgShape {
    ArgShape::Tensor { dtype: array.dtype, shape: array.shape.iter().map(|n| *n as i64).collect() }
}

fn int(n: i64) -> ArgShape {
    ArgShape::Scalar { dtype: DType::I64, value: Scalar::Int(n) }
}

fn truth(x: bool) -> ArgShape {
    ArgShape::Scalar { dtype: DType::Bool, value: Scalar::Bool(x) }
}

fn real(dtype: DType, x: f64) -> ArgShape {
    ArgShape::Scalar { dtype, value: Scalar::Float(x) }
}

fn planned(module: &Module, name: &str, args: Vec<ArgShape>, ints: &[(&str, i64)]) -> Plan {
    let ints = ints.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect();
    let bind = PlanBindings { args, fixed: Bindings { ints, ..Bindings::default() } };
    module.plan(name, &bind).unwrap_or_else(|why| panic!("{name}: {why:#?}"))
}

fn refused(module: &Module, name: &str, args: Vec<ArgShape>) -> Vec<String> {
    let bind = PlanBindings { args, fixed: Bindings::default() };
    let said = module.plan(name, &bind).expect_err("this must be refused");
    said.iter().map(|d| format!("{}: {}", d.code, d.message)).collect()
}

/// The kernel of each launch, `×2` behind it where two calls share it, and what other steps are.
fn labels(plan: &Plan) -> Vec<String> {
    let label = |s: &Step| match s {
        Step::Launch { label, calls, .. } if calls.len() == 1 => label.clone(),
        Step::Launch { label, calls, .. } => format!("{label} ×{}", calls.len()),
        Step::Copy { .. } => "copy".into(),
        Step::Permute { inverse: false, .. } => "permute".into(),
        Step::Permute { inverse: true, .. } => "unpermute".into(),
    };
    plan.steps.iter().map(label).collect()
}

fn floats(arg: &Arg) -> &[f64] {
    match arg {
        Arg::Tensor(Array { data: Data::Float(x), .. }) => x,
        Arg::Tensor(_) | Arg::Mask(_) | Arg::Scalar(_) => panic!("not a float tensor"),
    }
}

/// Softmax attention, straight from its definition; heads of q share those of k and v.
fn attention(q: &Array, k: &Array, v: &Array, scale: f64) -> Vec<f64> {
    let &[b, h, n, d] = &q.shape[..] else { panic!("four axes") };
    let (g, m) = (k.shape[1], k.shape[2]);
    let at = |x: &Array, i: usize| x.data.get(i).as_f64();
    let mut out = vec![0.0; b * h * n * d];
    for row in 0..b * h * n {
        let (bi, hi) = (row / (h * n), row / n % h);
        let base = (bi * g + hi / (h / g)) * m;
        let score = |j: usize| (0..d).map(|c| at(q, row * d + c) * at(k, (base + j) * d + c)).sum::<f64>() * scale;
        let scores: Vec<f64> = (0..m).map(score).collect();
        let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
        let total: f64 = weights.iter().sum();
        for c in 0..d {
            out[row * d + c] = (0..m).map(|j| weights[j] / total * at(v, (base + j) * d + c)).sum();
        }
    }
    out
}

#[test]
fn rainfusion_copies_nothing_and_is_attention_where_all_is_kept() {
    let module = support::shipped("rainfusion.tile");
    let (f, y, x) = (3, 9, 10);
    for (dialect, text, last) in
        [("paper", 0, false), ("paper", 7, true), ("mindie", 0, false), ("mindie", 7, false), ("mindie", 7, true)]
    {
        let n = f * y * x + text;
        let (q, k, v) = (numbers(&[1, 4, n, 8], 1), numbers(&[1, 2, n, 8], 2), numbers(&[1, 2, n, 8], 3));
        let sparsity = Array::zeros(DType::F64, &[4]);
        let mut args = vec![shape_of(&q), shape_of(&k), shape_of(&v), shape_of(&sparsity)];
        args.extend([f, y, x, text].map(|n| int(n as i64)));
        args.extend([real(DType::F32, 0.5), truth(false), truth(true)]);
        args.extend((dialect == "paper").then(|| truth(false)));
        args.push(truth(last));
        let plan = planned(&module, &format!("rainfusion_{dialect}"), args, &[("P", 16)]);
        let flags = ["video_heads", "block_kinds"];
        let method = ["block_means ×2", "block_scores", "select", "attention"];
        assert_eq!(labels(&plan), [&flags[..], &method].concat());
        let temporary = plan.buffers.iter().filter(|b| b.role == Role::Temp && b.life.is_some());
        assert_eq!(temporary.count(), 5, "only flags, means and logits are temporary");
        let outs = support::execute(
            &plan,
            &[q.clone(), k.clone(), v.clone(), sparsity].map(Arg::Tensor).into_iter().enumerate().collect::<Vec<_>>(),
        );
        let want = attention(&q, &k, &v, 0.5);
        let worst = floats(&outs[0]).iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-5, "{dialect} with {text} text tokens: off by {worst}");
    }
}

/// `BLESS=1` rewrites the text.
#[test]
fn the_plan_of_rainfusion_is_as_pinned() {
    let module = support::shipped("rainfusion.tile");
    let mut said = String::new();
    for (dialect, text) in [("paper", 0), ("mindie", 77)] {
        let (f, y, x) = (13, 15, 26);
        let n = f * y * x + text;
        let tensor = |dtype, shape: &[i64]| ArgShape::Tensor { dtype, shape: shape.to_vec() };
        let mut args = vec![tensor(DType::F32, &[1, 4, n, 64]), tensor(DType::F32, &[1, 2, n, 64])];
        args.extend([tensor(DType::F32, &[1, 2, n, 64]), tensor(DType::F64, &[4])]);
        args.extend([f, y, x, text].map(int));
        args.push(real(DType::F32, 0.125));
        let plan = planned(&module, &format!("rainfusion_{dialect}"), args, &[]);
        said += &plan.text();
        plan.notes.iter().for_each(|note| said += &format!("note: {}\n", note.text));
        said += "\n";
        let large = plan.buffers.iter().filter(|b| b.role == Role::Temp).map(|b| b.what.bytes()).max();
        assert!(large < Some(1 << 17), "{dialect}: no temporary is nearly as large as k");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rainfusion.plan");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &said).expect("the text can be written");
    }
    assert!(
        said == std::fs::read_to_string(path).unwrap_or_default(),
        "differs from {path}; BLESS=1 rewrites it\n{said}"
    );
}

const WALKS: &str = r#"
order back(p in N, N: int) -> int { N - 1 - p }
order gaps(p in 2 * N, N: int) -> int { if p % 2 == 0 { p / 2 } else { -1 } }

kernel double<P: int = 4>(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) grid (i in N by P) { y[i] = x[i] * 2.0; }
kernel add<P: int = 4>(a: tensor<f32>[N], b: tensor<f32>[N]) -> (y: tensor<f32>[N]) grid (i in N by P) { y[i] = a[i] + b[i]; }
kernel each(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) grid (n in N) { y[n] = x[n] * 2.0; }
kernel sums<P: int = 4>(x: tensor<f32>[N]) -> (s: tensor<f32>[N by P]) grid (i in N by P) { s[index(i)] = sum(x[i], over i); }

pipeline fused(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) {
    y = unpermute(double(permute(x, N via back(N))), N via back(N));
}
pipeline computed(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) {
    let walk = back(N);
    y = unpermute(each(permute(x, N via walk)), N via walk);
}
pipeline still(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) { y = permute(x, N via back(N)); }
pipeline mixed(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) { y = add(x, permute(x, N via back(N))); }
pipeline twice(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) {
    y = permute(permute(x, N via back(N)), N via back(N));
}
pipeline holes(x: tensor<f32>[N]) -> (s: tensor<f32>[NB], y: tensor<f32>[N]) {
    let walk = gaps(N);
    let w = permute(x, N via walk);
    s = sums(w);
    y = unpermute(double(w), N via walk);
}
pipeline nested(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) {
    let (s, d) = holes(x);
    if N > 3 { y = add(d, fused(x)); } else { y = d; }
}
kernel table<P: int = 4>(a: tensor<f32>[N], b: tensor<f32>[M]) -> (y: tensor<f32>[N, M]) grid (i in N by P, j in M by P) {
    y[i, j] = outer(a[i], b[j]);
}
order turned(p in N, N: int) -> int { (p + 3) % N }
pipeline cross(x: tensor<f32>[N]) -> (y: tensor<f32>[N, N]) {
    let t = table(permute(x, N via back(N)), permute(x, N via turned(N)));
    y = unpermute(unpermute(t, N via back(N)), N via turned(N));
}
pipeline lines(x: tensor<f32>[A]) -> (y: tensor<f32>[A]) { y = unpermute(double(permute(x, A via back(A))), A via back(A)); }
pipeline lent(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) { y = unpermute(lines(permute(x, N via turned(N))), N via turned(N)); }
pipeline named(x: tensor<f32>[N], scale: f32 = 2.0) -> (y: tensor<f32>[N]) {
    let mut n = 1;
    if scale > 1.0 { n = 2; }
    y = double<P = n * 2>(x: x);
}
"#;

#[test]
fn what_cannot_be_fused_is_copied_and_stays_right() {
    let module = support::module(WALKS);
    let x: Vec<f64> = (1..=7).map(f64::from).collect();
    let array = Array { dtype: DType::F32, shape: vec![7], data: Data::Float(x.clone()) };
    let map = |f: &dyn Fn(usize) -> f64| (0..7).map(f).collect::<Vec<f64>>();
    let double = map(&|i| 2.0 * x[i]);
    type Case<'a> = (&'a str, &'a [&'a str], Vec<Vec<f64>>);
    let products = (0..49).map(|n| x[n / 7] * x[n % 7]).collect();
    let cases: [Case<'_>; 10] = [
        ("cross", &["table"], vec![products]),
        ("fused", &["double"], vec![double.clone()]),
        ("computed", &["permute", "each", "unpermute"], vec![double.clone()]),
        ("still", &["permute"], vec![map(&|i| x[6 - i])]),
        ("mixed", &["permute", "add"], vec![map(&|i| x[i] + x[6 - i])]),
        ("twice", &["permute", "permute"], vec![x.clone()]),
        ("holes", &["sums", "double"], vec![vec![3.0, 7.0, 11.0, 7.0], double.clone()]),
        ("nested", &["double", "double", "add"], vec![map(&|i| 4.0 * x[i])]),
        ("lent", &["permute", "double", "unpermute"], vec![double.clone()]),
        ("named", &["double"], vec![double.clone()]),
    ];
    for (name, steps, want) in cases {
        let plan = planned(&module, name, vec![shape_of(&array)], &[]);
        assert_eq!(labels(&plan), steps, "{name}: {:?}", plan.notes);
        let outs = support::execute(&plan, &[(0, Arg::Tensor(array.clone()))]);
        let got: Vec<Vec<f64>> = outs.iter().map(|o| floats(o).to_vec()).collect();
        assert_eq!(got, want, "{name}");
        let copies = plan.steps.iter().filter(|s| matches!(s, Step::Permute { .. })).count();
        let reasons = plan.notes.iter().filter(|n| n.text.contains("copied")).count();
        assert!(reasons >= copies, "{name}: every copy has a reason: {:?}", plan.notes);
    }
}

const SHARING: &str = r#"
kernel twice<P: int = 4>(x: tensor<f32>[H, N]) -> (y: tensor<f32>[H, N]) grid (i in N by P, h in H) { y[h, i] = x[h, i] * 2.0; }
kernel add<P: int = 4>(a: tensor<f32>[N], b: tensor<f32>[N]) -> (y: tensor<f32>[N]) grid (i in N by P) { y[i] = a[i] + b[i]; }
kernel moments<P: int = 4>(x: tensor<f32>[N], w: tensor<f32>[M]) -> (mean: tensor<f32>[N by P], other: tensor<f32>[N by P])
grid (i in N by P) {
    let m = all M;
    mean[index(i)] = sum(x[i], over i) / (len(i) as f32);
    other[index(i)] = sum(x[i] * x[i], over i) * sum(w[m], over m);
}
kernel loud<P: int = 4>(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) grid (i in N by P) {
    print("sum", sum(x[i], over i));
    y[i] = x[i];
}
order back(p in N, N: int) -> int { N - 1 - p }

pipeline pair(a: tensor<f32>[H, N], b: tensor<f32>[G, M]) -> (x: tensor<f32>[H, N], y: tensor<f32>[G, M]) {
    x = twice(twice(a));
    y = twice(twice(b));
}
pipeline dependent(a: tensor<f32>[H, N]) -> (y: tensor<f32>[H, N]) { y = twice(twice(a)); }
pipeline late(a: tensor<f32>[H, N], b: tensor<f32>[N]) -> (x: tensor<f32>[H, N], y: tensor<f32>[N], z: tensor<f32>[H, N]) {
    x = twice(a);
    y = add(b, b);
    z = unpermute(twice(permute(a, N via back(N))), N via back(N));
}
pipeline taken(x: tensor<f32>[N]) -> (m: tensor<f32>[NB]) {
    let doubled = add(x, x);
    let (mean, _) = moments(x, doubled);
    m = mean;
}
pipeline none(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) {
    let unused = add(add(x, x), x);
    let heard = loud(x);
    y = add(x, x);
}
pipeline again(x: tensor<f32>[N]) -> (y: tensor<f32>[N], z: tensor<f32>[N]) {
    let (a, b) = (add(x, x), add(x, x));
    y = add(a, b);
    z = add(b, a);
}
pipeline handed(x: tensor<f32>[N], keep: mask[R, C]) -> (y: tensor<f32>[N], z: tensor<f32>[N], k: mask[R, C]) {
    y = x;
    z = y;
    k = keep;
}
"#;

#[test]
fn calls_are_joined_shared_and_left_out() {
    let module = support::module(SHARING);
    let tensor = |shape: &[i64]| ArgShape::Tensor { dtype: DType::F32, shape: shape.to_vec() };
    let vector = || vec![tensor(&[9])];
    type Case<'a> = (&'a str, Vec<ArgShape>, &'a [&'a str], &'a str);
    let cases: [Case<'_>; 7] = [
        ("pair", vec![tensor(&[4, 9]), tensor(&[2, 30])], &["twice ×2", "twice ×2"], "`twice` ×2 in one launch"),
        ("dependent", vec![tensor(&[4, 9])], &["twice", "twice"], ""),
        ("late", vec![tensor(&[4, 9]), tensor(&[9])], &["twice", "add", "twice"], ""),
        ("taken", vector(), &["moments"], "`moments` does not make `other`: nothing takes it"),
        ("none", vector(), &["loud", "add"], "`add` is not launched: nothing takes what it makes"),
        ("again", vector(), &["add", "add ×2"], "`add` is launched once"),
        (
            "handed",
            vec![tensor(&[9]), ArgShape::Mask { shape: vec![2, 3] }],
            &["copy", "copy", "copy"],
            "output `z` is a copy of `x`",
        ),
    ];
    for (name, args, want, note) in cases {
        let plan = planned(&module, name, args, &[]);
        let steps = labels(&plan);
        assert_eq!(steps, want, "{name}: {:?}", plan.notes);
        let notes: Vec<&str> = plan.notes.iter().map(|n| n.text.as_str()).collect();
        assert!(notes.iter().any(|n| n.contains(note)) || note.is_empty(), "{name}: {notes:?}");
    }
    let plan = planned(&module, "taken", vector(), &[]);
    let Step::Launch { func, calls, .. } = &plan.steps[0] else { panic!("a launch") };
    let left: Vec<&str> = func.params.iter().map(|p| p.name.as_str()).collect();
    assert_eq!((left, calls[0].args.len()), (vec!["x", "mean"], 2), "`w` and what makes it are gone too");
}

#[test]
fn joining_calls_may_not_cost_much_memory() {
    let module = support::module(
        "
kernel grow<P: int = 4>(x: tensor<f32>[N], w: tensor<f32>[M]) -> (y: tensor<f32>[N, M]) grid (i in N by P) {
    let m = all M;
    y[i, m] = outer(x[i], w[m]);
}
kernel shrink<P: int = 4>(y: tensor<f32>[N, M]) -> (s: tensor<f32>[N]) grid (i in N by P) {
    let m = all M;
    s[i] = sum(y[i, m], over m);
}
pipeline p(a: tensor<f32>[N], b: tensor<f32>[N], w: tensor<f32>[M]) -> (x: tensor<f32>[N], y: tensor<f32>[N]) {
    x = shrink(grow(a, w));
    y = shrink(grow(b, w));
}
",
    );
    let args = |m: i64| [64, 64, m].map(|n| ArgShape::Tensor { dtype: DType::F32, shape: vec![n] }).to_vec();
    let large = planned(&module, "p", args(20_000), &[]);
    assert_eq!(labels(&large), ["grow", "shrink", "grow", "shrink"], "{:?}", large.notes);
    assert_eq!(large.places, [64 * 20_000 * 4], "one place for both");
    assert!(large.notes.iter().any(|n| n.text.contains("launched by itself")), "{:?}", large.notes);
    assert_eq!(labels(&planned(&module, "p", args(500), &[])), ["grow ×2", "shrink ×2"]);
}

#[test]
fn padded_copies_are_walked_without_their_holes() {
    let module = support::module(
        r#"
order gaps(p in 2 * N, N: int) -> int { if p % 2 == 0 { N - 1 - p / 2 } else { -1 } }
kernel shift<P: int = 4>(x: tensor<f32>[M, N]) -> (y: tensor<f32>[M, N]) grid (i in N by P, m in M by P) {
    y[m, i] = x[m, i] + 1.0;
}
pipeline p(x: tensor<f32>[M, N]) -> (y: tensor<f32>[M, N]) {
    let w = permute(permute(x, N via gaps(N)), M via gaps(M));
    y = unpermute(unpermute(shift(w), M via gaps(M)), N via gaps(N));
}
"#,
    );
    let x = numbers(&[3, 5], 9);
    let plan = planned(&module, "p", vec![shape_of(&x)], &[]);
    let outs = support::execute(&plan, &[(0, Arg::Tensor(x.clone()))]);
    let want: Vec<f64> = (0..15).map(|i| f64::from((x.data.get(i).as_f64() + 1.0) as f32)).collect();
    assert_eq!(floats(&outs[0]), want, "{:?}", labels(&plan));
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let module = support::shipped("rainfusion.tile");
    let (q, k) = (numbers(&[1, 2, 64, 8], 1), numbers(&[1, 2, 64, 8], 2));
    let args = |f: i64, heads: usize, k: &Array| {
        let mut args = vec![shape_of(&q), shape_of(k), shape_of(&q), shape_of(&Array::zeros(DType::F64, &[heads]))];
        args.extend([f, 8, 8, 0].map(int));
        args.push(real(DType::F32, 0.5));
        args
    };
    let said = |args| refused(&module, "rainfusion_paper", args).join("; ");
    assert_eq!(said(args(1, 3, &k)), "E0503: `budget` has H = 3 but `q` has H = 2");
    assert!(said(args(2, 2, &k)).contains("E0603: requirement not met: F * Y * X + text"));
    let short = numbers(&[1, 2, 63, 8], 2);
    assert_eq!(said(args(1, 2, &short)), "E0503: `k` has N = 63 but `q` has N = 64");
    let narrow = numbers(&[1, 2, 64, 4], 2);
    assert_eq!(said(args(1, 2, &narrow)), "E0503: `k` has D = 4 but `q` has D = 8");
    let missing = args(1, 2, &k)[..5].to_vec();
    assert!(said(missing).contains("takes 14 arguments (q, k, v, budget, F, Y, X, text"));
}
