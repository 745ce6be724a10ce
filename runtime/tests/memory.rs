//! What pipelines allocate, counted by an allocator of this test's own: temporaries share memory, and fused permutations
//! are no copies. Values are compared with what the same steps give one by one.

#![allow(unsafe_code, clippy::unwrap_used, reason = "an allocator that counts; a test may panic")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use pantile::{Device, Mask, Module, Tensor, Trace};

/// Counts what this thread allocates; tensors are allocated by the thread that calls.
struct Counting;

thread_local! {
    static LEAST: Cell<usize> = const { Cell::new(usize::MAX) };
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

fn note(bytes: usize, sign: i64) {
    let least = LEAST.try_with(Cell::get).unwrap_or(usize::MAX);
    if bytes < least {
        return;
    }
    if sign > 0 {
        COUNT.set(COUNT.get() + 1);
    }
    HELD.set(HELD.get() + sign * bytes as i64);
    PEAK.set(PEAK.get().max(HELD.get()));
}

// SAFETY: everything is handed to the system's allocator; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        note(layout.size(), -1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Blocks of at least `least` bytes: how many were allocated, and the most bytes in them at once.
fn counted<T>(least: usize, work: impl FnOnce() -> T) -> (T, usize, usize) {
    [&COUNT].iter().for_each(|c| c.set(0));
    [&HELD, &PEAK].iter().for_each(|c| c.set(0));
    LEAST.set(least);
    let result = work();
    LEAST.set(usize::MAX);
    (result, COUNT.get(), PEAK.get() as usize)
}

fn numbers(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32) / 8_388_608.0 - 1.0
    };
    let data: Vec<f32> = (0..shape.iter().product::<usize>()).map(|_| next()).collect();
    Tensor::from_slice(shape, &data).unwrap()
}

const CHAIN: &str = r#"
kernel plus<P: int = 64>(x: tensor<f32>[N], c: f32) -> (y: tensor<f32>[N]) grid (i in N by P) { y[i] = x[i] + c; }
kernel both<P: int = 64>(a: tensor<f32>[N], b: tensor<f32>[N]) -> (y: tensor<f32>[N]) grid (i in N by P) {
    y[i] = a[i] * b[i];
}
// Stores only where x is positive: the rest must be zero whatever the memory held before.
kernel positive(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) grid (n in N) {
    if x[n] > 0.0 { y[n] = x[n]; }
}
order back(p in N, N: int) -> int { N - 1 - p }

pipeline chain(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) {
    y = plus(plus(plus(plus(plus(x, 1.0), 2.0), 3.0), 4.0), 5.0);
}
pipeline holes(x: tensor<f32>[N]) -> (y: tensor<f32>[N]) {
    let a = plus(plus(x, 1.0), -1.0);
    let b = positive(plus(a, 0.0));
    y = plus(positive(plus(b, -0.25)), 0.5);
}
pipeline copies(x: tensor<f32>[N]) -> (y: tensor<f32>[N], same: tensor<f32>[N], twice: tensor<f32>[N]) {
    y = both(plus(x, 1.0), permute(plus(x, 2.0), N via back(N)));
    same = x;
    twice = y;
}
"#;

fn traced(module: &Module, name: &str, x: &Tensor) -> (Vec<Vec<f32>>, Trace, pantile_compiler::Footprint) {
    let pipeline = module.pipeline(name).unwrap().on(&Device::cpu());
    let footprint = pipeline.plan((x,)).unwrap().footprint();
    pipeline.call((x,)).unwrap();
    let ((outputs, trace), count, peak) = counted(x.len() * 4, || pipeline.call_traced((x,)).unwrap());
    assert_eq!(trace.memory.allocations, count, "{name}: counted by the allocator");
    assert_eq!((trace.memory.peak, footprint.peak), (peak as u64, peak as u64), "{name}: planned, told and counted");
    let names: Vec<String> = outputs.names().map(str::to_owned).collect();
    let values = names.iter().map(|n| outputs.tensor(n).unwrap().to_vec::<f32>().unwrap()).collect();
    (values, trace, footprint)
}

#[test]
fn temporaries_share_memory_and_stay_right() {
    let module = Module::from_text("chain.tile", CHAIN).unwrap();
    let x = numbers(&[10_000], 5);
    let bytes = 40_000;
    let data = x.to_vec::<f32>().unwrap();
    let each = |f: &dyn Fn(f32) -> f32| data.iter().map(|x| f(*x)).collect::<Vec<f32>>();

    let (values, trace, footprint) = traced(&module, "chain", &x);
    assert_eq!(values, [each(&|x| x + 1.0 + 2.0 + 3.0 + 4.0 + 5.0)]);
    assert_eq!((footprint.temporaries, footprint.places), (4 * bytes, 2 * bytes));
    assert_eq!(trace.memory.allocations, 3, "two places and the output");

    let (values, ..) = traced(&module, "holes", &x);
    let positive = |x: f32| if x > 0.0 { x } else { 0.0 };
    assert_eq!(values, [each(&|x| positive(positive(x + 1.0 - 1.0) - 0.25) + 0.5)]);

    let (values, ..) = traced(&module, "copies", &x);
    let y: Vec<f32> = (0..data.len()).map(|n| (data[n] + 1.0) * (data[data.len() - 1 - n] + 2.0)).collect();
    assert_eq!(values, [y.clone(), data.clone(), y]);
}

#[test]
fn rainfusion_allocates_no_copy_of_q_k_v_or_out() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernels/rainfusion.tile");
    let module = Module::from_file(file).unwrap();
    let (f, y, x, text) = (3, 17, 19, 5);
    let n = (f * y * x + text) as usize;
    let (q, k, v) = (numbers(&[1, 4, n, 32], 1), numbers(&[1, 2, n, 32], 2), numbers(&[1, 2, n, 32], 3));
    let budget = Tensor::from_slice(&[4], &[0.5f64; 4]).unwrap();
    let least = k.len() * 4;
    for device in [Device::cpu(), Device::interp()] {
        for name in ["rainfusion_paper", "rainfusion_mindie"] {
            let pipeline = module.pipeline(name).unwrap().with("P", 32).on(&device);
            let args = (&q, &k, &v, &budget, f, y, x, text, 0.125f32);
            let plan = pipeline.plan(args).unwrap();
            let temporaries: u64 = plan.places.iter().sum();
            assert!(temporaries * 5 < least as u64, "{name}: {temporaries} bytes of temporaries");
            if device.name() == "interp" {
                continue; // It copies every argument into arrays of its own.
            }
            // The room that operands are packed into is kept from one launch to the next.
            drop(pipeline.call(args).unwrap());
            let (outputs, count, peak) = counted(least, || pipeline.call(args).unwrap());
            let out = outputs.tensor("out").unwrap();
            assert_eq!((count, peak), (1, out.len() * 4), "{name}: only `out` is as large as k");
        }
    }
}

#[test]
fn a_mask_can_be_handed_through() {
    let module = Module::from_text(
        "mask.tile",
        "pipeline p(m: mask[R, C], n: mask[R, C]) -> (a: mask[R, C], b: mask[R, C]) { a = m; b = if R > 2 { n } else { m }; }",
    )
    .unwrap();
    for rows in [2usize, 3] {
        let bits = |seed: usize| (0..rows * 5).map(|n| (n * 7 + seed).is_multiple_of(3)).collect::<Vec<bool>>();
        let (m, n) = (Mask::from_bools(&[rows, 5], &bits(0)).unwrap(), Mask::from_bools(&[rows, 5], &bits(1)).unwrap());
        for device in [Device::cpu(), Device::interp()] {
            let outputs = module.pipeline("p").unwrap().on(&device).call((&m, &n)).unwrap();
            let (a, b) = (outputs.mask("a").unwrap(), outputs.mask("b").unwrap());
            assert_eq!(a.to_bools(), m.to_bools());
            assert_eq!(b.to_bools(), if rows > 2 { n.to_bools() } else { m.to_bools() });
            assert_eq!((a.counts(), a.row(1)), (m.counts(), m.row(1)));
        }
    }
}
