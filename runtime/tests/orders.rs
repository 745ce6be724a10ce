//! Orders as arguments of pipelines: named ones and tables, on both devices; what is refused and in which words.

use pantile::{Arg, Device, Error, Module, OrderArg, Outputs, Result, Tensor};

const SOURCE: &str = "
order back(p in N, N: int, shift: int = 0) -> int { (2 * N - 1 - p - shift) % N }
order plain(p) -> int { p }

kernel double<P: int = 4>(x: tensor<f32>[N, D]) -> (y: tensor<f32>[N, D]) grid (i in N by P) { y[i, :] = x[i, :] * 2.0; }
kernel each(x: tensor<f32>[N, D]) -> (y: tensor<f32>[N, D]) grid (n in N) { y[n, :] = x[n, :] * 2.0; }
kernel firsts<P: int = 4>(x: tensor<f32>[N, D]) -> (s: tensor<f32>[N by P, D]) grid (i in N by P) {
    s[index(i), :] = sum(x[i, :], over i);
}
kernel scaled(x: tensor<f32>[N, D], f: f32) -> (y: tensor<f32>[N, D]) grid (n in N) { y[n, :] = x[n, :] * f; }

pipeline fused(x: tensor<f32>[N, D], walk: order) -> (y: tensor<f32>[N, D]) {
    y = unpermute(double(permute(x, N via walk)), N via walk);
}
pipeline copied(x: tensor<f32>[N, D], walk: order) -> (y: tensor<f32>[N, D]) {
    y = unpermute(each(permute(x, N via walk)), N via walk);
}
pipeline moved(x: tensor<f32>[N, D], walk: order) -> (y: tensor<f32>[N, D]) { y = permute(x, N via walk); }
pipeline inner(x: tensor<f32>[N, D], walk: order) -> (s: tensor<f32>[NB, D], y: tensor<f32>[N, D]) {
    s = firsts(permute(x, N via walk));
    y = fused(x, walk);
}
pipeline outer(x: tensor<f32>[N, D]) -> (s: tensor<f32>[NB, D], y: tensor<f32>[N, D]) {
    let (s0, y0) = inner(x, walk: back(N, shift: 1));
    s = s0;
    y = y0;
}
pipeline counted(x: tensor<f32>[N, D], walk: order) -> (y: tensor<f32>[N, D]) {
    assert(len(walk) >= N, \"the walk must visit every element\");
    y = scaled(x, (len(walk) * 100 + blocks(walk, 4)) as f32);
}
pipeline chosen(x: tensor<f32>[N, D], own: bool, walk: order) -> (y: tensor<f32>[N, D]) {
    let (mut w, given) = (back(N), walk);
    if not own { w = given; }
    y = moved(x, if len(w) > 3 { w } else { plain() });
}
pipeline two(x: tensor<f32>[N, D], a: order, b: order) -> (y: tensor<f32>[N, D]) {
    let w = double(permute(x, N via a));
    y = unpermute(double(permute(unpermute(w, N via a), N via b)), N via b);
}
";

fn module() -> Module {
    Module::from_text("orders.tile", SOURCE).unwrap_or_else(|e| panic!("{e}"))
}

fn call<'a>(device: &Device, name: &str, args: &[Arg<'a>]) -> Result<Outputs> {
    module().pipeline(name).unwrap_or_else(|e| panic!("{e}")).on(device).call(args)
}

fn rows(n: usize) -> Tensor {
    let data: Vec<f32> = (0..n * 3).map(|x| x as f32).collect();
    Tensor::from_slice(&[n, 3], &data).expect("a tensor")
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_vec::<f32>().expect("f32")
}

fn only(outputs: Result<Outputs>) -> Vec<f32> {
    values(&outputs.unwrap_or_else(|e| panic!("{e}")).single().expect("one output"))
}

/// A partial walk of `n` elements: some positions without an element if `holes`.
fn walk(n: usize, holes: bool, seed: u64) -> Vec<i32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |m: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % m.max(1)
    };
    let mut table: Vec<i32> = (0..n as i32).collect();
    for at in (1..n).rev() {
        table.swap(at, below(at + 1));
    }
    if holes {
        for _ in 0..1 + below(n + 3) {
            table.insert(below(table.len() + 1), -1);
        }
    }
    table
}

#[test]
fn tables_walk_and_put_back() {
    for device in [Device::cpu(), Device::interp()] {
        for n in [0usize, 1, 3, 4, 5, 8, 13, 64, 131] {
            for seed in 0..6 {
                let elements = walk(n, seed % 2 == 1, seed + 10 * n as u64);
                let table = OrderArg::table(elements.clone()).expect("a table");
                let x = rows(n);
                let args = [Arg::Tensor(&x), Arg::Order(&table)];
                let twice: Vec<f32> = values(&x).iter().map(|v| v * 2.0).collect();
                let what = || format!("{elements:?} on {}", device.name());
                assert_eq!(only(call(&device, "fused", &args)), twice, "{}", what());
                let outs = call(&device, "inner", &args).unwrap_or_else(|e| panic!("{e}: {}", what()));
                assert_eq!(values(&outs.tensor("y").expect("y")), twice, "{}", what());
                let sums = elements.chunks(4).flat_map(|block| {
                    let sum = |d: usize| block.iter().filter(|e| **e >= 0).map(|e| (*e as usize * 3 + d) as f32).sum();
                    (0..3).map(sum).collect::<Vec<f32>>()
                });
                assert_eq!(values(&outs.tensor("s").expect("s")), sums.collect::<Vec<f32>>(), "{}", what());
                if elements.len() == n {
                    assert_eq!(only(call(&device, "copied", &args)), twice, "{}", what());
                    let moved = elements.iter().flat_map(|e| (0..3).map(move |d| (*e * 3 + d) as f32));
                    assert_eq!(only(call(&device, "moved", &args)), moved.collect::<Vec<f32>>(), "{}", what());
                }
            }
        }
    }
}

#[test]
fn named_orders_come_from_the_caller_or_from_a_pipeline() {
    for device in [Device::cpu(), Device::interp()] {
        let x = rows(6);
        let named = OrderArg::named("back", [("N", 6), ("shift", 1)]);
        let given = call(&device, "inner", &[Arg::Tensor(&x), Arg::Order(&named)]).unwrap_or_else(|e| panic!("{e}"));
        let fixed = call(&device, "outer", &[Arg::Tensor(&x)]).unwrap_or_else(|e| panic!("{e}"));
        for name in ["s", "y"] {
            assert_eq!(values(&given.tensor(name).expect(name)), values(&fixed.tensor(name).expect(name)), "{name}");
        }
        // (11 - p - 1) % 6 begins 4, 3, 2, 1.
        assert_eq!(values(&given.tensor("s").expect("s"))[..3], [30.0, 34.0, 38.0]);
        let plain = OrderArg::named("plain", []);
        assert_eq!(only(call(&device, "moved", &[Arg::Tensor(&x), Arg::Order(&plain)])), values(&x));
    }
}

#[test]
fn orders_are_chosen_among() {
    let device = Device::cpu();
    for (own, n, want) in [(true, 4, [3, 2, 1]), (false, 4, [1, 0, 3]), (false, 3, [0, 1, 2])] {
        let walk = OrderArg::table(if n == 4 { vec![1, 0, 3, 2] } else { vec![2, 1, 0] }).expect("a table");
        let x = rows(n);
        let own = Arg::Scalar(pantile::Scalar::Bool(own));
        let got = only(call(&device, "chosen", &[Arg::Tensor(&x), own, Arg::Order(&walk)]));
        assert_eq!([got[0], got[3], got[6]].map(|v| v as i32 / 3), want);
    }
}

#[test]
fn lengths_are_numbers_in_the_pipeline() {
    let device = Device::cpu();
    let x = rows(2);
    for (order, want) in [
        (OrderArg::named("back", [("N", 2)]), 201.0),
        (OrderArg::table(vec![1, -1, -1, -1, 0]).expect("a table"), 502.0),
    ] {
        let got = only(call(&device, "counted", &[Arg::Tensor(&x), Arg::Order(&order)]));
        assert_eq!(got[1], want, "{order:?}");
    }
}

#[test]
fn plans_are_told_apart_by_the_order() {
    for device in [Device::cpu(), Device::interp()] {
        let x = rows(5);
        let moved = module().pipeline("moved").expect("moved").on(&device);
        for elements in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 0, 3, 2, 4], [4, 3, 2, 1, 0]] {
            let table = OrderArg::table(elements.to_vec()).expect("a table");
            let got = values(&moved.call((&x, &table)).expect("moved").single().expect("y"));
            assert_eq!(got.chunks(3).map(|row| row[0] as i32 / 3).collect::<Vec<_>>(), elements);
        }
        for shift in [0, 2, 1] {
            let order = OrderArg::named("back", [("N", 5), ("shift", shift)]);
            let got = values(&moved.call((&x, &order)).expect("moved").single().expect("y"));
            assert_eq!(got[0] as i64 / 3, (9 - shift) % 5);
        }
    }
}

#[test]
fn equal_tables_are_one_order() {
    let [a, b] = [0, 1].map(|_| OrderArg::table(vec![2, 0, 1]).expect("a table"));
    let on = module().pipeline("two").expect("two").on(&Device::cpu());
    let plan = on.plan((&rows(3), &a, &b)).expect("a plan");
    assert_eq!(plan.steps.len(), 2, "{:?}", plan.notes);
}

#[test]
fn what_is_no_order_is_refused() {
    let device = Device::cpu();
    let x = rows(4);
    let said = |name: &str, args: &[Arg<'_>]| call(&device, name, args).expect_err("must be refused").to_string();
    let order = |order: &OrderArg| said("moved", &[Arg::Tensor(&x), Arg::Order(order)]);
    let table = |elements: &[i32]| order(&OrderArg::table(elements.to_vec()).expect("a table"));
    for (got, want) in [
        (table(&[0, 1, 2, 4]), "`table(4)` gives element 4, but the axis has 4 elements"),
        (table(&[0, 1, 2]), "`table(3)` has 3 positions, but the axis has 4 elements"),
        (table(&[0, 1, 2, 3, 5]), "`table(5)` has 5 positions, but the axis has 4 elements"),
        (order(&OrderArg::named("bakc", [("N", 4)])), "there is no order `bakc`"),
        (order(&OrderArg::named("double", [])), "there is no order `double`"),
        (order(&OrderArg::named("back", [])), "`back` needs `N`"),
        (order(&OrderArg::named("back", [("N", 4), ("M", 1)])), "`back` has no parameter `M`; it takes (N, shift)"),
        (order(&OrderArg::named("back", [("N", 9)])), "`back(9, 0)` has 9 positions"),
        (said("moved", &[Arg::Tensor(&x), Arg::Tensor(&x)]), "`walk` must be an order, not a tensor"),
        (said("moved", &[Arg::Tensor(&x)]), "takes 2 arguments (x, walk), not 1"),
        (said("outer", &[Arg::Order(&OrderArg::named("plain", []))]), "`x` must be a tensor, not an order"),
    ] {
        assert!(got.contains(want), "`{got}` does not say `{want}`");
    }
    let scalar = Arg::Scalar(pantile::Scalar::Int(3));
    assert!(said("moved", &[Arg::Tensor(&x), scalar]).contains("`walk` must be an order, not a scalar"));
    let twice: Error = OrderArg::table(vec![0, 1, 1]).expect_err("not one-to-one").into();
    assert!(twice.to_string().contains("positions 1 and 2 both give element 1"), "{twice}");
    assert!(OrderArg::table(vec![0, -7]).is_err_and(|e| e.to_string().contains("position 1 gives -7")));
}

#[test]
fn source_with_orders_in_the_wrong_place_is_refused() {
    for (text, want) in [
        ("kernel k(x: tensor<f32>[N], w: order) -> (y: tensor<f32>[N]) grid (i in N by 4) { y[i] = x[i]; }", "E0103"),
        ("pipeline p(w: order) -> (y: order) { y = w; }", "E0402"),
        (
            "order a(p) -> int { p } pipeline p(x: tensor<f32>[N], w: order = a()) -> (y: tensor<f32>[N]) { y = x; }",
            "E0502",
        ),
        ("pipeline p(x: tensor<f32>[N], w: order) -> (y: tensor<f32>[N]) { y = permute(x, N via w + 1); }", "E0103"),
        ("pipeline p(x: tensor<f32>[N], w: order) -> (y: tensor<f32>[N]) { y = w; }", "E0301"),
        (
            "kernel k(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) grid (i in N by 4) { y[i] = x[i]; }
          pipeline p(x: tensor<f32>[N], w: order) -> (y: tensor<f32>[N]) { y = k(w); }",
            "E0305",
        ),
    ] {
        let said = Module::from_text("t.tile", text).map(|_| ()).expect_err(text).to_string();
        assert!(said.contains(want) && said.lines().count() == 1, "{text}\n{said}");
    }
}
