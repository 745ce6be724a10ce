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
