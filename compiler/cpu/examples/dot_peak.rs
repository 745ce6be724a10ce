//! Measures, in one run, how fast this core does 128-bit multiply-adds and how near the compiled `dot` and its packing
//! come to that. It checks no result; tests do.

use cranelift_codegen::ir::{InstBuilder, types};
use pantile_cpu::dot::{self, Init};
use pantile_cpu::pack::{self, Along, Pack};
use pantile_cpu::{Entry, Features, Jit, Limit};
use pantile_ir::DType;

mod peak;

use peak::{best, call, fma_peak};

fn main() -> Result<(), Limit> {
    let peak = fma_peak()?;
    report("FMA peak, 128 bits", peak, peak);
    for features in Features::ALL.iter().copied().filter(|f| *f <= Features::host()) {
        for (m, n, k) in [(128, 128, 128), (64, 128, 128), (128, 64, 64), (127, 125, 126), (128, 128, 64)] {
            for init in [Init::Zero, Init::Scaled] {
                let rate = dot_rate(features, init, m, n, k)?;
                report(&format!("dot {features} {m}×{n}×{k} {init:?}"), rate, peak);
            }
        }
        for bytes in [1 << 20, 4 << 20] {
            let rate = far_rate(features, bytes)?;
            report(&format!("dot {features} 128³, B of {} MiB in turn", bytes >> 20), rate, peak);
        }
    }
    for (dtype, along) in
        [(DType::F32, Along::N), (DType::F32, Along::K), (DType::BF16, Along::N), (DType::BF16, Along::K)]
    {
        let seconds = pack_time(dtype, along, 128, 128)?;
        #[allow(clippy::print_stdout, reason = "a program for people")]
        {
            println!("{:<32} {:8.3} ns an element", format!("pack {dtype} along {along:?}"), seconds / 16384.0 * 1e9);
        }
    }
    Ok(())
}

fn report(what: &str, rate: f64, peak: f64) {
    #[allow(clippy::print_stdout, reason = "a program for people")]
    {
        println!("{what:<36} {:8.2} GF/s  {:5.1} % of peak", rate / 1e9, 100.0 * rate / peak);
    }
}

fn dot_rate(features: Features, init: Init, m: i64, n: i64, k: i64) -> Result<f64, Limit> {
    let (mut a, mut b) = (vec![1f32; (m * k) as usize], vec![1f32; (dot::packed_bytes(k, n) / 4) as usize]);
    let row = (n + 15) / 16 * 16;
    let (mut c, mut scale) = (vec![0f32; (m * row) as usize], vec![0.5f32; m as usize]);
    let mut words = [
        a.as_mut_ptr() as u64,
        (k * 4) as u64,
        b.as_mut_ptr() as u64,
        c.as_mut_ptr() as u64,
        (row * 4) as u64,
        scale.as_mut_ptr() as u64,
        m as u64,
        n as u64,
        k as u64,
    ];
    let mut jit = Jit::new(false, features)?;
    let inner = dot::piece(&mut jit, init)?;
    let entry = repeated(jit, inner, words.len())?;
    let rounds = 20;
    let seconds = best(|| call(&entry, &mut words, rounds));
    Ok((2 * m * n * k * rounds as i64) as f64 / seconds)
}

/// With another block of B in each call, out of so many bytes of them: they come from a farther cache.
fn far_rate(features: Features, bytes: usize) -> Result<f64, Limit> {
    let (m, n, k) = (128, 128, 128);
    let (block, row) = (dot::packed_bytes(k, n) as usize, n + 16);
    let (mut a, mut c) = (vec![1f32; (m * k) as usize], vec![0f32; (m * row) as usize]);
    let mut b = vec![1f32; bytes / 4];
    let mut jit = Jit::new(false, features)?;
    let inner = dot::piece(&mut jit, Init::Accumulate)?;
    let entry = repeated(jit, inner, 9)?;
    let blocks = bytes / block;
    let seconds = best(|| {
        for at in 0..blocks {
            let from = b.as_mut_ptr().wrapping_byte_add(at * block) as u64;
            let (a, c) = (a.as_mut_ptr() as u64, c.as_mut_ptr() as u64);
            let mut words = [a, (k * 4) as u64, from, c, (row * 4) as u64, 0, m as u64, n as u64, k as u64];
            call(&entry, &mut words, 1);
        }
    });
    Ok((2 * m * n * k * blocks as i64) as f64 / seconds)
}

fn pack_time(dtype: DType, along: Along, rows: i64, columns: i64) -> Result<f64, Limit> {
    let mut from = vec![1f32; (rows * columns) as usize];
    let mut into = vec![0f32; (rows * (columns + 16)) as usize];
    let mut words = [
        from.as_mut_ptr() as u64,
        (columns * dtype.bytes() as i64) as u64,
        0,
        into.as_mut_ptr() as u64,
        rows as u64,
        columns as u64,
    ];
    let mut jit = Jit::new(false, Features::host())?;
    let inner = pack::piece(&mut jit, Pack { dtype, along, gather: false })?;
    let entry = repeated(jit, inner, words.len())?;
    let rounds = 50;
    Ok(best(|| call(&entry, &mut words, rounds)) / rounds as f64)
}

/// A function that calls `inner` with the first `params` words, as often as its last argument says.
fn repeated(mut jit: Jit, inner: cranelift_module::FuncId, params: usize) -> Result<Entry, Limit> {
    let signature = jit.signature(&[types::I64; 4], &[types::I64]);
    let mut func = cranelift_codegen::ir::Function::with_name_signature(Default::default(), signature);
    let mut context = cranelift_frontend::FunctionBuilderContext::new();
    let mut e = pantile_cpu::Emit::new(&mut func, &mut context);
    let inner = jit.reference(inner, &mut e);
    let (lo, hi, words) = (e.int(0), e.param(3), e.param(0));
    let args: Vec<_> =
        (0..params).map(|n| e.ins().load(types::I64, pantile_cpu::vector::ACCESS, words, 8 * n as i32)).collect();
    let it = e.open(lo, hi, &[]);
    e.ins().call(inner, &args);
    e.close(it, 1, &[]);
    let zero = e.int(0);
    e.ins().return_(&[zero]);
    e.finish(jit.frontend_config());
    let id = jit.define("repeated", func)?;
    Ok(Entry::new(jit.finish()?, id))
}
