//! The peak that the programs of this folder measure against: 128-bit multiply-adds on one core. It knows no kernels.

use std::time::Instant;

use cranelift_codegen::ir::{InstBuilder, types};
use pantile_cpu::{Entry, Features, Jit, Limit};

/// Independent sums: a multiple of the latency times the ports, and few enough for 16 registers.
const CHAINS: usize = 10;

/// In operations a second; a multiply-add is two of each lane.
pub fn fma_peak() -> Result<f64, Limit> {
    let rounds = 100_000;
    let mut jit = Jit::new(false, Features::host())?;
    let signature = jit.signature(&[types::I64; 4], &[types::I64]);
    let id = jit.piece("peak", signature, |e| {
        let (lo, hi, data) = (e.int(0), e.param(3), e.param(0));
        let load = |e: &mut pantile_cpu::Emit<'_>| e.ins().load(types::F32X4, pantile_cpu::vector::ACCESS, data, 0);
        let start: Vec<_> = (0..CHAINS).map(|_| load(e)).collect();
        let (x, y) = (load(e), load(e));
        let it = e.open(lo, hi, &start);
        let mut next = it.carried.clone();
        for _ in 0..4 {
            next = next.iter().map(|s| e.ins().fma(*s, x, y)).collect();
        }
        let end = e.close(it, 1, &next);
        for (n, v) in (0..).zip(end) {
            e.ins().store(pantile_cpu::vector::ACCESS, v, data, 16 * n);
        }
        let zero = e.int(0);
        e.ins().return_(&[zero]);
    })?;
    let entry = Entry::new(jit.finish()?, id);
    let mut data = vec![0u64; 64];
    let seconds = best(|| call(&entry, &mut data, rounds));
    Ok((rounds as usize * 4 * CHAINS * 8) as f64 / seconds)
}

/// Calls a function as often as `rounds` says.
pub fn call(entry: &Entry, words: &mut [u64], rounds: u64) {
    // SAFETY: the words are what the function reads: addresses and lengths of the live vectors of the caller.
    #[allow(unsafe_code, reason = "machine code is called")]
    unsafe {
        entry.call(words.as_mut_ptr(), std::ptr::null_mut(), 0, rounds);
    }
}

/// The shortest of many runs: the others were disturbed.
pub fn best(mut run: impl FnMut()) -> f64 {
    let once = |run: &mut dyn FnMut()| {
        let started = Instant::now();
        run();
        started.elapsed().as_secs_f64()
    };
    (0..200).map(|_| once(&mut run)).fold(f64::INFINITY, f64::min)
}
