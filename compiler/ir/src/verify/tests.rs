//! Broken functions, one a rule, each with what the verifier says. The text parser reads them all.

use crate::{DType, DimId, ParamKind, Type, Value, parse, verify};

/// A kernel whose tables are right, around a body.
fn kernel(body: &str) -> String {
    format!(
        "kernel @k(%x: tensor<f32>[N, D], %keep: mask[N by 8, M by 4], %n: i64 = %0) -> (%y: tensor<f32>[N, D])
  extent N
  extent D = 16
  extent M
  dim i: N by 8
  dim D: D by 16 whole
  dim j: M by 4
  dim a: 4
  grid (i in N by 8)
{{
{body}
}}"
    )
}

/// What the verifier says, one line an error.
fn said(text: &str) -> String {
    let func = parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    verify(&func).err().unwrap_or_default().join("\n")
}

#[test]
fn each_broken_rule_of_a_body_is_named() {
    for (body, want) in [
        ("", ""),
        ("%1: i64 = add %0, %9", "`%1 = add`: %9 is not defined here"),
        ("%1: i64 = add %2, %0\n%2: i64 = const 1", "`%1 = add`: %2 is not defined here"),
        ("%1: i64 = const 1\n%1: i64 = const 2", "%1 is defined a second time"),
        ("%1: i32 = add %0, %0", "`%1 = add`: a result has another type than the op gives"),
        ("%1: i64 = add %0", "`%1 = add`: takes 2 operands, not 1"),
        ("%1: i8 = const 200", "`%1 = const`: Int(200) is not a value of i8"),
        ("%1: i64 = block_index j", "`%1 = block_index`: names dim `j`, which is not in scope here"),
        ("%1: tile<i64>{j} = pos a", "%1 has dim `j`, which is not in scope here"),
        ("%1: tile<f32>{i, D} = load %x[i, i]", "dim `i` does not walk this axis"),
        ("%1: tile<f32>{i, D} = load %x[i, D]\nstore %x[i, D] = %1", "`store`: `x` is an input"),
        ("%1: f32 = load %keep[%0, %0]", "`keep` is not a tensor"),
        ("%1: bool = mask_get %x[%0, %0]", "`x` is not a mask"),
        ("%1: tile<i64>{i} = pos i\nstore %y[%0, D] = %1", "operand 1 must be f32, not i64"),
        ("for j in M by 4 {\nfor j in M by 4 {\n}\n}", "`for`: dim `j` is in scope already"),
        ("for i in N by 8 {\n}", "`for`: dim `i` is in scope already"),
        ("for j in M by 4 {\n}\n%1: tile<i64>{j} = pos j", "names dim `j`, which is not in scope here"),
        (
            "%1: i64 = for j in M by 4 carry (%2: i64 = %0) {\n%3: tile<i64>{j} = pos j\nyield %3\n}",
            "carried value 0 changes its type between start, body and yield",
        ),
        ("for j in M by 4 where {\nyield %0\n} do {\n}", "the guard does not yield one scalar bool"),
        (
            "for j in M by 4 where {\n%1: bool = const true\nassert \"a\" %1\nyield %1\n} do {\n}",
            "the guard has an effect",
        ),
        ("for j in M by 4 {\n%1: i64 = const 1\n}\n%2: i64 = neg %1", "%1 is not defined here"),
        ("for j in M by 4 list %keep[%0, %0] {\n}", "operands, arguments and yields of the body differ in number"),
        ("%1: bool = const true\nif %1 {\nyield %0\n} else {\nyield %1\n}", "the regions yield different types"),
        ("%1: tile<i64>{a} = pos a\n%2: tile<i64>{a, i} = broadcast over {i} %1", "the dims of %2 are not ascending"),
        ("%1: bool = const true\n%2: i64 = if %1 {\nyield %0\n} else {\n}", "the regions yield different types"),
        ("%1: tile<f32>{i, D} = load %x[i, D]\n%2: f32 = reduce sum over {i, D, a} %1", "operand 0 has no dim `a`"),
    ] {
        let said = said(&kernel(body));
        assert!(said.contains(want) && said.is_empty() == want.is_empty(), "{body}\nsaid: {said}\nwant: {want}");
    }
}

#[test]
fn each_broken_rule_of_the_tables_is_named() {
    for (from, to, want) in [
        ("dim a: 4", "dim a: 0", "dim `a`: has size 0, not 1 or more"),
        ("extent D = 16", "extent D = -1", "extent `D`: is negative"),
        ("D by 16 whole", "D by 8 whole", "dim `D`: is whole, but has size 8 over length 16"),
        ("D by 16 whole", "N by 16 whole", "dim `D`: is whole, but the length of `N` is not known"),
        ("grid (i in N by 8)", "grid (i in N by 8, i in N by 8)", "the grid defines dim `i` a second time"),
        ("grid (i in N by 8)", "grid (D in D by 16)", "grid: walks `D`, which is in scope everywhere"),
        ("grid (i in N by 8)", "grid (%0: i64 in N)", "%0 is defined a second time"),
        ("grid (i in N by 8)", "grid (%1: i32 in N)", "grid: %1 is not a scalar i64"),
        ("N by 8, M by 4]", "N by 8, M by 0]", "parameter `keep`: has an axis by less than 1"),
    ] {
        let said = said(&kernel("").replace(from, to));
        assert!(said.contains(want), "{to}\nsaid: {said}\nwant: {want}");
    }
}

#[test]
fn orders_are_functions_that_fill_a_table() {
    let order =
        |fill: &str| kernel("").replace("  extent N\n", &format!("  order w \"w()\" len 3 {fill}\n  extent N\n"));
    let good = "kernel @w() -> (%table: tensor<i32>[P])\n extent P = 3\n grid (%0: i64 in P)\n{\n}";
    assert_eq!(said(&order(good)), "");
    for (from, to, want) in [
        ("P = 3", "P = 4", "is not filled by a kernel with the one output"),
        ("i32", "i64", "is not filled by a kernel with the one output"),
        ("grid (%0: i64 in P)", "grid ()", "is not filled position by position"),
        ("{\n}", "{\n%1: i64 = neg %7\n}", "order `w()`: `%1 = neg`: %7 is not defined here"),
    ] {
        let said = said(&order(&good.replace(from, to)));
        assert!(said.contains(want), "{to}\nsaid: {said}\nwant: {want}");
    }
    for (table, want) in [
        ("table [2, 0, 1]", ""),
        ("holes table [2, -1, 1]", ""),
        ("table [2, 0, 1, 3]", "order `w()`: has length 3, but its table 4"),
        ("table [2, -1, 1]", "order `w()`: has a table with holes, yet none itself"),
    ] {
        let said = said(&order(table));
        assert!(said.contains(want) && said.is_empty() == want.is_empty(), "{table}\nsaid: {said}\nwant: {want}");
    }
    assert!(parse(&order("table [1, 1, 0]")).is_err_and(|e| e.message.contains("both give element 1")));
    let unordered = order(good).replace("extent M", "extent M via w");
    assert!(said(&unordered).contains("dim `j`: has no order, but extent `M` has one"));
}

/// Text cannot express these.
#[test]
fn what_points_nowhere_is_found() {
    let func = parse(&kernel("%1: i64 = neg %0")).unwrap();
    let broken = |change: &dyn Fn(&mut crate::Func)| {
        let mut func = func.clone();
        change(&mut func);
        verify(&func).unwrap_err().join("\n")
    };
    let narrow = crate::Op::Const(DType::F32, crate::Scalar::Float(0.1));
    assert!(broken(&|f| f.body.insts[0].op = narrow.clone()).contains("Float(0.1) is not a value of f32"));
    assert!(broken(&|f| f.body.insts[0].args[0] = Value(99)).contains("%99 is not defined here"));
    assert!(broken(&|f| f.body.insts[0].results[0] = Value(99)).contains("has no type"));
    assert!(broken(&|f| f.types[1] = Type::Tile(DType::I64, vec![])).contains("%1 is a tile without dims"));
    assert!(broken(&|f| f.types[1] = Type::Tile(DType::I64, vec![DimId(99)])).contains("a dim that does not exist"));
    assert!(broken(&|f| f.params[2].kind = ParamKind::Scalar(DType::I64, Value(99))).contains("%99 is not a scalar"));
    assert!(broken(&|f| f.params.swap(0, 3)).contains("an input stands after an output"));
    assert!(broken(&|f| f.dims[0].over = Some(crate::ExtentId(9))).contains("over an extent that does not exist"));
    assert!(broken(&|f| f.body.yields.push(Value(0))).contains("neither takes nor yields"));
}
