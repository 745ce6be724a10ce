//! What is too large for a GPU is refused before the time is spent, with the numbers and what to make smaller; what is written
//! with sizes that people use is not. How long compiling takes is not tested.

use pantile_compiler::passes::Lanes;
use pantile_compiler::{Bindings, GenericKind, Module};
use pantile_gpu::{Arg, Launch, Options, Target, compile};
use pantile_ir::DType;
use pantile_tests::cases::{bindings, dtypes, files, load};
use pantile_tests::padded;

/// What `pantile emit` takes an extent to be that it is not told.
const STAND_IN: i64 = 128;

/// A file, a kernel of it, sizes, and what is to be said.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, i64)], &'a [&'a str]);

fn limit(module: &Module, kernel: &str, bind: &Bindings, target: Target) -> Option<String> {
    let func = module.specialise(kernel, bind).unwrap_or_else(|d| panic!("{kernel}: {d:?}"));
    let func = padded::pad(&func, Lanes::PowersOfTwo).unwrap_or_else(|e| panic!("{kernel}: {e}"));
    compile(&func, &Options::new(target)).err().map(|limit| limit.message)
}

#[test]
fn what_is_too_large_is_refused_with_a_way_out() {
    let cases: &[Case] = &[
        (
            "attention.tile",
            "attention_dense",
            &[("BQ", 1024), ("BK", 1024), ("D", 128)],
            &[
                "{i, j} of 1024 × 1024 elements leaves 4096 of them to each of 256 threads",
                "make `BQ` and `BK` smaller (`--const BQ=128 --const BK=128`)",
            ],
        ),
        (
            "attention.tile",
            "attention_dense",
            &[("BQ", 4096), ("BK", 64), ("D", 128)],
            &["4096 × 128", "make `BQ` smaller (`--const BQ=128`)"],
        ),
        (
            "norm.tile",
            "softmax_rows",
            &[("D", 1 << 20)],
            &["of 4 × 1048576 elements", "walk `D` in blocks instead of taking it whole"],
        ),
        (
            "matmul.tile",
            "matmul",
            &[("BM", 8192), ("BN", 8192), ("BK", 16)],
            &["of them to each of 256 threads", "make `BM` and `BN` smaller (`--const BM=128 --const BN=128`)"],
        ),
    ];
    for (file, kernel, sizes, words) in cases {
        let path = files().into_iter().find(|f| f.ends_with(format!("kernels/{file}"))).expect("a shipped file");
        let module = load(&path);
        let signature = module.kernel(kernel).expect("a kernel");
        let mut bind = bindings(signature, DType::F32, STAND_IN, STAND_IN);
        for (name, size) in *sizes {
            let table = if signature.generic(name).is_some() { &mut bind.ints } else { &mut bind.extents };
            table.insert((*name).to_owned(), *size);
        }
        let why =
            limit(&module, kernel, &bind, Target::SM_90A).unwrap_or_else(|| panic!("{kernel} {sizes:?} compiles"));
        words.iter().for_each(|w| assert!(why.contains(w), "{kernel} {sizes:?} does not say `{w}`: {why}"));
    }
}

/// A product of many steps, each of them cheap: no tile is too large, and what threads do is.
#[test]
fn programs_that_grow_too_long_are_refused() {
    let mut body = String::from("let a = x[i, :];\n");
    for n in 0..400 {
        body += &format!("let a = exp(a * {n}.5) + sin(a);\n");
    }
    let source = format!(
        "kernel long(x: tensor<f32>[N, 4096]) -> (y: tensor<f32>[N, 4096])\ngrid (i in N by 8) {{\n{body}y[i, :] = a;\n}}"
    );
    let loaded = Module::load("long.tile", &source, &mut |_| Err("no imports".into()));
    let module = loaded.module.expect("a module");
    let why = limit(&module, "long", &Bindings::default(), Target::SM_90A).expect("a limit");
    assert!(why.contains("instructions") && why.contains("8 × 4096"), "{why}");
}

/// What a launch asks for that no grid and no index has; nothing is launched.
#[test]
fn launches_that_are_too_large_are_told() {
    let text = "kernel @fills(%x: f32 = %0) -> (%y: tensor<f32>[A, B, C])
  extent A
  extent B
  extent C
  dim a: A by 1
  dim b: B by 1
  dim c: C by 1
  grid (a in A by 1, b in B by 1, c in C by 1)
{
  %1: tile<f32>{a, b, c} = broadcast over {a, b, c} %0
  store %y[a, b, c] = %1
}";
    let func = pantile_ir::parse(text).expect("IR");
    let kernel = compile(&func, &Options::new(Target::SM_90A)).expect("a kernel");
    let args = [Arg::Scalar(0), Arg::Tensor { data: 256, strides: vec![0, 0, 1] }];
    let pack = |extents: [i64; 3]| {
        let launch =
            Launch { args: &args, extents: &extents, tables: &[None, None, None], orders: &[], fault: 256, print: 0 };
        kernel.pack(&launch).map(|packed| packed.blocks).map_err(|limit| limit.message)
    };
    let most = i64::from(i32::MAX);
    assert_eq!(pack([3, 4, 5]), Ok(60));
    assert_eq!(pack([0, 4, most]), Ok(0));
    assert_eq!(pack([most, most, most]), Ok(u64::MAX), "as many as can be counted, and too many for a grid");
    let why = pack([1, most + 1, 1]).expect_err("an index has 31 bits");
    assert!(why.contains("extent `B` is 2147483648: a GPU kernel's extents are below 2^31"), "{why}");
}

/// All kernels in the sizes that they are written with, and extents of 128.
#[test]
fn what_people_write_is_not_refused() {
    let mut refused = Vec::new();
    for file in files() {
        let module = load(&file);
        for kernel in module.kernels() {
            for dtype in dtypes(kernel) {
                let mut bind = bindings(kernel, dtype, STAND_IN, STAND_IN);
                for generic in &kernel.generics {
                    if let GenericKind::Int(Some(default)) = generic.kind {
                        bind.ints.insert(generic.name.clone(), default);
                    }
                }
                if module.specialise(&kernel.name, &bind).is_err() {
                    continue;
                }
                if let Some(why) = limit(&module, &kernel.name, &bind, Target::SM_90A) {
                    refused.push(format!("{} of {dtype}: {why}", kernel.name));
                }
            }
        }
    }
    // It takes two axes of 128 whole, beside a third.
    let (known, others): (Vec<_>, Vec<_>) = refused.into_iter().partition(|r| r.starts_with("contract of"));
    assert!(others.is_empty(), "{}", others.join("\n"));
    assert!(!known.is_empty() && known.iter().all(|r| r.contains("walk `K` or `L` or `J`")), "{known:?}");
}
