//! When outputs go around the caches: by the bytes of a launch, and with a fence behind them. That they arrive is what every
//! case of the harness holds.

use pantile_compiler::Bindings;
use pantile_cpu::{Arg, Features, Kernel, Launch, Options, compile};
use pantile_ir::{DType, Func};

use crate::harness::shipped;

const D: i64 = 1024;

/// Softmax over rows, of which any number may come.
fn softmax() -> Func {
    let bindings = Bindings {
        dtypes: [("T".to_owned(), DType::F32)].into(),
        extents: [("D".to_owned(), D)].into(),
        ..Bindings::default()
    };
    shipped("norm.tile").specialise("softmax_rows", &bindings).expect("it specialises")
}

/// What the launch over `rows` says of its outputs; nothing is run.
fn streamed(kernel: &Kernel, func: &Func, rows: i64) -> u64 {
    let tensor = || Arg::Tensor { data: std::ptr::null_mut(), strides: vec![D, 1] };
    let extents: Vec<i64> = func.extents.iter().map(|e| if e.name == "D" { D } else { rows }).collect();
    let launch = Launch { args: &[tensor(), tensor()], extents: &extents, tables: &[const { None }; 8], orders: &[] };
    kernel.words(&launch).expect("a variant")[1]
}

#[test]
fn launches_larger_than_the_last_cache_store_around_it() {
    let func = softmax();
    let kernel = compile(&func, &Options::default()).expect("it compiles");
    // 64 KB in all, and 32 GB: no cache is so small, and none so large.
    assert_eq!([8, 1 << 22].map(|rows| streamed(&kernel, &func, rows)), [0, 1]);
}

#[test]
fn what_may_be_stored_around_the_caches_is_fenced() {
    let func = softmax();
    for features in Features::ALL.iter().copied().filter(|f| *f <= Features::host()) {
        let options = Options { features, keep_clif: true, ..Options::default() };
        let kernel = compile(&func, &options).expect("it compiles");
        let fenced = kernel.clif().is_some_and(|text| text.lines().any(|line| line.trim() == "fence"));
        assert_eq!(fenced, features > Features::Baseline, "{features}");
    }
}
