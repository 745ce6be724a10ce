//! The shipped orders against recorded tables, and as permutations of awkward grids.

#[allow(dead_code, reason = "this test runs no plans")]
mod support;

use std::collections::BTreeMap;

use pantile_compiler::Module;
use pantile_interp::order_table;
use safetensors::SafeTensors;

fn table(module: &Module, name: &str, args: &[(&str, i64)], extent: i64) -> Vec<i32> {
    let args: BTreeMap<String, i64> = args.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect();
    let order = module.order(name, &args, extent).unwrap_or_else(|why| panic!("{name} {args:?}: {why:#?}"));
    order_table(&order).unwrap_or_else(|why| panic!("{name} {args:?}: {why}"))
}

#[test]
fn recorded_walks_are_reproduced() {
    let module = support::shipped("rainfusion.tile");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("the recordings").flatten() {
        let path = entry.path();
        let bytes = std::fs::read(&path).expect("a file");
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a header");
        let meta = header.metadata().clone().expect("metadata");
        let tensors = SafeTensors::deserialize(&bytes).expect("tensors");
        let recorded = tensors.tensor("order").expect("an order").data().to_vec();
        let recorded: Vec<i32> =
            recorded.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let grid: Vec<i64> = meta["grid"].split(',').map(|n| n.parse().expect("a number")).collect();
        let text: i64 = meta["text"].parse().expect("a number");
        let name = if meta.get("dialect").is_some_and(|d| d == "paper") { "windows_paper" } else { "windows_mindie" };
        let args = [("F", grid[0]), ("Y", grid[1]), ("X", grid[2]), ("text", text)];
        let mut walk = table(&module, name, &args, recorded.len() as i64);
        walk.retain(|e| *e >= 0);
        assert!(walk == recorded, "{}: {name} differs", path.display());
        seen += 1;
    }
    assert!(seen >= 11, "only {seen} recordings found");
}

#[test]
fn walks_visit_every_token_once() {
    let module = support::shipped("rainfusion.tile");
    let grids =
        [(1, 8, 8), (1, 7, 7), (1, 32, 20), (3, 9, 17), (5, 16, 8), (3, 7, 40), (4, 9, 17), (2, 16, 16), (7, 21, 19)];
    for (f, y, x) in grids {
        for (text, last) in [(0, 0), (0, 1), (5, 0), (70, 1)] {
            let n = f * y * x + text;
            let args = [("F", f), ("Y", y), ("X", x), ("text", text), ("text_last", last)];
            let paper = table(&module, "windows_paper", &[&args[..], &[("lone_last", 1)]].concat(), n);
            assert_eq!(paper.len() as i64, n, "{args:?}");
            let mindie = table(&module, "windows_mindie", &[&args[..], &[("P", 32)]].concat(), n);
            let padding = if text > 0 { (32 - f * y * x % 32) % 32 } else { 0 };
            assert_eq!(mindie.len() as i64, n + padding, "{args:?}");
            for mut walk in [paper, mindie] {
                walk.retain(|e| *e >= 0);
                walk.sort_unstable();
                assert!(walk.iter().copied().eq(0..n as i32), "{args:?}: not a permutation");
            }
        }
    }
}

#[test]
fn pairs_of_frames_need_an_odd_number() {
    let module = support::shipped("rainfusion.tile");
    let args = [("F", 4), ("Y", 8), ("X", 8), ("text", 0)].map(|(n, v)| (n.to_owned(), v));
    let refused = module.order("windows_paper", &args.into(), 256).expect_err("F is even");
    let said: Vec<String> = refused.iter().map(|d| format!("{}: {}", d.code, d.message)).collect();
    assert!(said.iter().any(|m| m.starts_with("E0603") && m.contains("odd")), "{said:?}");
}

/// How far apart in the grid two elements are: steps along frames, rows and columns together.
fn distance(a: i32, b: i32, [_, y, x]: [i64; 3]) -> i64 {
    let place = |e: i32| (i64::from(e) / (y * x), i64::from(e) / x % y, i64::from(e) % x);
    let (p, q) = (place(a), place(b));
    (p.0 - q.0).abs() + (p.1 - q.1).abs() + (p.2 - q.2).abs()
}

#[test]
fn walks_of_grids_are_permutations_at_every_size() {
    let module = support::shipped("orders.tile");
    let mut grids = vec![[1, 1, 1], [1, 1, 9], [7, 1, 1], [1, 8, 8], [1, 15, 26], [2, 2, 2], [0, 3, 4], [8, 8, 8]];
    let mut state = 1u64;
    let mut side = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        1 + (state >> 33) as i64 % 14
    };
    grids.extend((0..30).map(|_| [side(), side(), side()]));
    for grid in grids {
        let [f, y, x] = grid;
        for name in ["raster", "zigzag", "morton", "hilbert"] {
            let walk = table(&module, name, &[("F", f), ("Y", y), ("X", x)], f * y * x);
            let mut sorted = walk.clone();
            sorted.sort_unstable();
            assert!(sorted.iter().copied().eq(0..(f * y * x) as i32), "{name} {grid:?}: not a permutation");
            let far = walk.windows(2).filter(|w| distance(w[0], w[1], grid) > 1).count();
            let allowed = match name {
                "zigzag" => 0,
                "hilbert" if grid.iter().all(|n| n % 2 == 0 || *n == 1) => 0,
                "hilbert" => walk.len() / 20 + 1,
                _ => walk.len(),
            };
            assert!(far <= allowed, "{name} {grid:?}: {far} of {} steps lead away", walk.len());
        }
    }
}

#[test]
fn bits_interleave_where_all_sides_are_one_power_of_two() {
    let module = support::shipped("orders.tile");
    let walk = table(&module, "morton", &[("F", 4), ("Y", 4), ("X", 4)], 64);
    let side = |p: i32, first: i32| (p >> first & 1) | (p >> (first + 3) & 1) << 1;
    let want = (0..64).map(|p| (side(p, 2) * 4 + side(p, 1)) * 4 + side(p, 0));
    assert!(walk.iter().copied().eq(want), "{walk:?}");
}

const COMPOSED: &str = "
order grid(p in Y * X, Y: int, X: int) -> int { p % Y * X + p / Y }
order pairs(p in 2 * len(grid(Y, X)), Y: int, X: int, swap: bool = false) -> int {
    let size = len(grid(Y, X));
    let second = p >= size;
    let inner = grid(if second { p - size } else { p }, Y, X);
    (if second != swap { size } else { 0 }) + inner
}
order framed(p in 4 * blocks(pairs(Y, X), 4) + T, Y: int, X: int, T: int) -> int {
    let size = len(pairs(Y, X));
    if p < T { 2 * Y * X + p } else if p - T < size { turned(p - T, Y, X) } else { -1 }
}
fn turned(p: int, Y: int, X: int) { pairs(p, Y, X, swap: true) }
kernel k(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) grid (i in N by 4 via framed(2, 3, 1)) { y[i] = x[i]; }
";

#[test]
fn orders_are_made_of_orders() {
    let module = support::module(COMPOSED);
    let size = [("Y", 2), ("X", 3)];
    assert_eq!(table(&module, "grid", &size, 6), [0, 3, 1, 4, 2, 5]);
    assert_eq!(table(&module, "pairs", &size, 12), [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]);
    let framed = table(&module, "framed", &[&size[..], &[("T", 1)]].concat(), 13);
    assert_eq!(framed, [12, 6, 9, 7, 10, 8, 11, 0, 3, 1, 4, 2, 5]);
    assert_eq!(table(&module, "framed", &[("Y", 1), ("X", 1), ("T", 0)], 2), [1, 0, -1, -1]);
}

#[test]
fn orders_have_an_end() {
    let refused = |text: &str| {
        let loaded = Module::load("test.tile", text, &mut |path| Err(format!("no {path}")));
        let said: Vec<String> = loaded.diagnostics.iter().map(|d| format!("{}: {}", d.code, d.message)).collect();
        said.join("; ")
    };
    for (text, want) in [
        ("order a(p) -> int { a(p) }", "E0307: `a` calls itself"),
        ("order a(p) -> int { b(p) } order b(p) -> int { a(p) }", "calls itself"),
        ("order a(p) -> int { f(p) } fn f(p) { a(p) }", "E0307: `a` calls itself"),
        ("order a(p in len(a(N)), N: int) -> int { p }", "E0502: `a` is defined by itself"),
        ("order a(p in len(b()), N: int) -> int { p } order b(p in len(a(3))) -> int { p }", "is defined by itself"),
        (
            "order a(p) -> int { let mut s = 0; for i in 12 by 4 via a() { s += len(i); } s }",
            "E0307: `a` is walked by itself",
        ),
        ("order a(p, N: int) -> int { b() + N } order b(p) -> int { p }", "E0305: `b` takes a position"),
        ("order a(p, N: int) -> int { b(p) + N } order b(p, M: int) -> int { p + M }", "E0305: `b` needs `M`"),
        (
            "order a(p, N: int) -> int { b(p, p) + N } order b(p, M: int) -> int { p + M }",
            "E0501: an order's arguments",
        ),
        (
            "order a(p) -> int { let t = iota(4); max(b(t), over t) } order b(p) -> int { p }",
            "E0301: `b` takes one position",
        ),
        ("order a(p) -> int { b(p) + 1.5 } order b(p) -> int { p }", "E0301"),
        ("order a(p) -> int { iota(4) }", "E0301: an order gives one element"),
        ("order a(p) -> int { p + len(b()) } order b(p) -> int { p }", "E0501: `b` has no length of its own"),
    ] {
        let said = refused(text);
        assert!(said.contains(want), "{text}\nsaid: {said}\nwant: {want}");
    }
}

#[test]
fn windows_of_any_size_visit_every_token_once() {
    let module = support::shipped("windows.tile");
    for (f, y, x) in [(1, 1, 1), (1, 7, 9), (3, 9, 17), (4, 8, 8), (5, 6, 4), (7, 2, 13)] {
        for (wf, wy, wx) in [(1, 1, 1), (2, 8, 8), (1, 3, 4), (3, 2, 5), (9, 9, 20)] {
            for (text, last) in [(0, 0), (5, 0), (70, 1)] {
                let n = f * y * x + text;
                let shared = [("F", f), ("Y", y), ("X", x), ("wf", wf), ("wy", wy), ("wx", wx)];
                let args = [&shared[..], &[("text", text), ("text_last", last)]].concat();
                let plain = (0..=f.min(2))
                    .map(|apart| table(&module, "windows", &[&args[..], &[("apart", apart)]].concat(), n));
                let padded = table(&module, "windows_padded", &[&args[..], &[("P", 32)]].concat(), n);
                let size = (wf * wy * wx) as usize;
                let whole = |n: i64, w: i64| ((n + w - 1) / w) as usize;
                let covered = whole(f, wf) * whole(y, wy) * whole(x, wx) * size;
                let texts = if text > 0 { covered.next_multiple_of(32) + text as usize } else { covered };
                assert_eq!(padded.len(), texts, "{args:?}");
                // A window of the padded walk is a box: no two of its tokens are further apart than its sides.
                let video = if last == 1 { 0 } else { text };
                for window in padded[..covered].chunks(size) {
                    let tokens = || window.iter().filter(|t| **t >= 0).map(|t| i64::from(*t) - video);
                    for (step, side, length) in [(y * x, wf, f), (x, wy, y), (1, wx, x)] {
                        let places = || tokens().map(|t| t / step % length);
                        let far = places().max().unwrap_or(0) - places().min().unwrap_or(0);
                        assert!(far < side, "{args:?}: {window:?}");
                    }
                }
                for mut walk in plain.chain([padded]) {
                    walk.retain(|e| *e >= 0);
                    walk.sort_unstable();
                    assert!(walk.iter().copied().eq(0..n as i32), "{args:?}");
                }
            }
        }
    }
}

/// The paper's walk is that of windows of 2×8×8 with the first frame apart.
#[test]
fn the_papers_windows_are_windows() {
    let module = support::shipped("windows.tile");
    for (f, y, x) in [(1, 9, 9), (3, 9, 17), (5, 16, 8), (13, 15, 26)] {
        let args = [("F", f), ("Y", y), ("X", x), ("text", 7)];
        let paper = table(&module, "windows_paper", &args, f * y * x + 7);
        let size = [("wf", 2), ("wy", 8), ("wx", 8), ("apart", 1)];
        assert_eq!(table(&module, "windows", &[&args[..], &size].concat(), f * y * x + 7), paper);
    }
}
