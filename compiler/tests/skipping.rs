//! Which walks are shortened by the masks in their bodies: bodies for which a round without kept lanes is idle, and bodies
//! of which one detail makes that untrue. That results stay as they were is tested on generated programs.

use pantile_compiler::passes::{Options, optimise};
use pantile_compiler::{Bindings, Module};
use pantile_ir::{Func, Inst, Op, Over};

/// Softmax attention by running maximum; `{}` are replaced in turn.
fn attention(start: [&str; 3], base: &str, mask: &str, extra: [&str; 2]) -> String {
    format!(
        "let mut top = fill({}, over i);
    let mut den = fill({}, over i);
    let mut acc = fill({}, over i);
    {}
    for j in N by P {{
        let s = where({mask}, x[j], -inf);
        let new = max(top, max(s, over j));
        let base = {base};
        let p = exp2(s - base);
        let fade = exp2(top - base);
        den = den * fade + sum(p, over j);
        acc = acc * fade + sum(p * v[j], over j);
        top = new;
        {}
    }}
    y[i] = acc / den;",
        start[0], start[1], start[2], extra[0], extra[1]
    )
}

const SAFE: &str = "where(new > -inf, new, 0.0)";
const CAUSAL: &str = "pos(j) <= pos(i)";

/// The walks of a kernel with this body: whether they are bounded, and whether they are guarded.
fn walks(body: &str) -> Vec<(bool, bool)> {
    let text = format!(
        "kernel k<P: int = 4>(x: tensor<f32>[N], v: tensor<f32>[N], id: tensor<i32>[N], w: i32, few: tensor<i32>[N], long: i64)
    -> (y: tensor<f32>[N], z: tensor<f32>[N]) grid (i in N by P) {{\n    {body}\n    z[i] = 0.0;\n}}"
    );
    let loaded = Module::load("test.tile", &text, &mut |path| Err(path.to_owned()));
    let said = pantile_diag::render(&loaded.diagnostics, &loaded.sources, false);
    let module = loaded.module.unwrap_or_else(|| panic!("{said}"));
    let mut func = module.elaborate_only("k", &Bindings::default()).unwrap_or_else(|e| panic!("{e:?}"));
    // Splitting bounds loops as well.
    let options = Options { disable: vec!["split".into()], ..Options::default() };
    assert_eq!(optimise(&mut func, &options).bug, None);
    found(&func)
}

fn found(func: &Func) -> Vec<(bool, bool)> {
    let walk = |inst: &Inst| {
        let Op::For(it) = &inst.op else { return None };
        (it.over != Over::Range).then_some((it.bounds, it.guard))
    };
    func.body.insts.iter().filter_map(walk).collect()
}

const BOUNDS: (bool, bool) = (true, false);
const GUARD: (bool, bool) = (false, true);
const NEITHER: (bool, bool) = (false, false);

#[test]
fn rounds_that_a_mask_makes_idle_are_left_out() {
    let usual = ["-inf", "0.0", "0.0"];
    let none = ["", ""];
    let cases = [
        ("by running maximum", attention(usual, "new", CAUSAL, none), BOUNDS),
        ("safe where nothing was seen", attention(usual, SAFE, CAUSAL, none), BOUNDS),
        ("safe, asked the other way", attention(usual, "where(new == -inf, 0.0, new)", CAUSAL, none), BOUNDS),
        ("from a finite start", attention(["-1e30", "0.0", "0.0"], "new", CAUSAL, none), BOUNDS),
        ("a denominator with a head start", attention(["-inf", "5.0", "0.0"], SAFE, CAUSAL, none), NEITHER),
        ("rounds are counted", attention(usual, SAFE, CAUSAL, ["let mut n = 0;", "n += 1;"]), NEITHER),
        ("rounds are counted, unused", attention(usual, SAFE, CAUSAL, ["let mut n = 0;", "n = n;"]), BOUNDS),
        ("a sum of what is kept", "let mut a = x[i]; for j in N by P { a += sum(where(pos(j) < pos(i), x[j], 0.0), over j); } y[i] = a;".into(), BOUNDS),
        ("a sum of what is not zero", "let mut a = x[i]; for j in N by P { a += sum(where(pos(j) < pos(i), x[j], 1.0), over j); } y[i] = a;".into(), NEITHER),
        ("a product", "let mut a = x[i]; for j in N by P { a *= prod(where(pos(j) < pos(i), x[j], 1.0), over j); } y[i] = a;".into(), BOUNDS),
        ("the arms the other way", "let mut a = x[i]; for j in N by P { a += sum(where(pos(j) < pos(i), 0.0, x[j]), over j); } y[i] = a;".into(), BOUNDS),
        ("any", "let mut a = fill(false, over i); for j in N by P { a = a or any(pos(j) == pos(i) + w and x[j] > 0.0, over j); } y[i] = where(a, 1.0, 0.0);".into(), BOUNDS),
        ("the last that was seen", "let mut a = fill(0, over i); for j in N by P { a = where(any(pos(j) <= pos(i), over j), index(j), a); } y[i] = x[i] * (a as f32);".into(), BOUNDS),
        ("a mean over all", "let mut a = x[i]; for j in N by P { a += mean(where(pos(j) < pos(i), x[j], 0.0), over j); } y[i] = a;".into(), BOUNDS),
        ("something is stored", "let mut a = x[i]; for j in N by P { a += sum(where(pos(j) < pos(i), x[j], 0.0), over j); z[i] = a; } y[i] = a;".into(), NEITHER),
        ("an equality of numbers", attention(usual, SAFE, "id[i] == id[j]", none), GUARD),
        ("numbers that must differ", attention(usual, SAFE, "id[i] != id[j]", none), NEITHER),
        ("numbers in a range", attention(usual, SAFE, "id[j] >= few[i] and id[j] < few[i] + w", none), GUARD),
        ("causal within documents", attention(usual, SAFE, "id[i] == id[j] and pos(j) <= pos(i)", none), (true, true)),
        ("a prefix for all", attention(usual, SAFE, "pos(j) <= pos(i) or pos(j) < w", none), GUARD),
        ("a sink and a window", attention(usual, SAFE, "pos(j) <= pos(i) and (pos(j) < 4 or pos(i) - pos(j) < w)", none), (true, true)),
        ("a window both ways", attention(usual, SAFE, "abs(pos(i) - pos(j)) < w", none), BOUNDS),
        ("all but a window", attention(usual, SAFE, "abs(pos(i) - pos(j)) >= w", none), NEITHER),
        ("within limits", attention(usual, SAFE, "pos(j) <= min(pos(i), 9) and max(pos(i) - w, 1) <= pos(j)", none), BOUNDS),
        ("a window of a grid", attention(usual, SAFE, "abs(pos(i) / 8 - pos(j) / 8) <= w and abs(pos(i) % 8 - pos(j) % 8) <= w", none), GUARD),
        ("a distance of numbers in no one's order", attention(usual, SAFE, "abs((id[i] as int) - (id[j] as int)) < w", none), GUARD),
        ("a length of 64 bits", attention(usual, SAFE, "pos(j) < long and x[i] > 0.0", none), BOUNDS),
        ("positions of 32 bits", attention(usual, SAFE, "(pos(j) as i32) < w and x[i] > 0.0", none), GUARD),
        ("one side is not known", attention(usual, SAFE, "pos(j) <= pos(i) or x[j] > 0.5", none), NEITHER),
    ];
    let wrong = |(what, body, expected): &(&str, String, (bool, bool))| {
        let got = walks(body);
        (got != [*expected]).then(|| format!("{what}: {got:?}, not {expected:?}\n    {body}"))
    };
    let wrong: Vec<String> = cases.iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "(bounds, guard)\n{}", wrong.join("\n"));
}
