//! Attention in a sampler: which calls are dense, fresh or by an earlier mask, and that each is what it says. What a sparse
//! call computes is tested elsewhere.

#[allow(dead_code, reason = "this test needs a part of it")]
mod support;

use pantile::Device;
use pantile_kernels::{
    Order, RainFusion, RainFusionOn, Schedule, Scheduled, Step, attention_dense_lse, compare, rainfusion,
};
use support::Qkv;

fn options() -> RainFusion {
    RainFusion { block: 16, order: Order::Mindie, ..RainFusion::new([3, 6, 8]) }
}

fn qkv(seed: usize) -> Qkv {
    Qkv::new(seed as u64, [1, 2, 2], 144, 144, 8)
}

/// The steps of two layers, each call with tensors of its own.
fn taken(schedule: Schedule, steps: &[usize]) -> Vec<[Step; 2]> {
    let mut attention = Scheduled::new(&options(), schedule, &Device::cpu()).expect("a schedule");
    let mut call = |step: usize, layer| {
        let x = qkv(10 * step + layer);
        attention.call(step, layer, &x.q, &x.k, &x.v).expect("a result").step
    };
    steps.iter().map(|step| [call(*step, 0), call(*step, 1)]).collect()
}

#[test]
fn steps_and_layers_follow_the_schedule() {
    use Step::{Dense, Fresh, Reused};
    let plain = Schedule::default();
    assert_eq!(taken(plain, &[0, 1]), [[Fresh; 2]; 2]);
    assert_eq!(taken(Schedule { dense_steps: 2, ..plain }, &[0, 1, 2]), [[Dense; 2], [Dense; 2], [Fresh; 2]]);
    assert_eq!(taken(Schedule { dense_layers: 1, refresh: 9, ..plain }, &[0, 1]), [[Dense, Fresh], [Dense, Reused]]);
    let third = Schedule { refresh: 3, ..plain };
    assert_eq!(taken(third, &[0, 1, 2, 3, 4]), [[Fresh; 2], [Reused; 2], [Reused; 2], [Fresh; 2], [Reused; 2]]);
    assert_eq!(taken(third, &[5, 7, 8, 0, 2]), [[Fresh; 2], [Reused; 2], [Fresh; 2], [Fresh; 2], [Reused; 2]]);
}

#[test]
fn each_call_is_what_it_says() {
    for device in [Device::cpu(), Device::interp()] {
        let schedule = Schedule { dense_steps: 1, refresh: 2, ..Schedule::default() };
        let mut attention = Scheduled::new(&options(), schedule, &device).expect("a schedule");
        let [first, second, third] = [1, 2, 3].map(qkv);

        let dense = attention.call(0, 0, &first.q, &first.k, &first.v).expect("dense");
        let want = attention_dense_lse(&first.q, &first.k, &first.v, options().scale(8), &device).expect("dense");
        assert_eq!((dense.step, dense.kept), (Step::Dense, 1.0));
        assert_eq!(dense.out.to_bytes().expect("bytes"), want.out.to_bytes().expect("bytes"));
        assert_eq!(dense.lse.to_bytes().expect("bytes"), want.lse.to_bytes().expect("bytes"));
        assert!(attention.mask(0).is_none(), "a dense call makes no mask");

        let fresh = attention.call(1, 0, &second.q, &second.k, &second.v).expect("fresh");
        let want = rainfusion(&second.q, &second.k, &second.v, &options(), &device).expect("sparse");
        assert_eq!((fresh.step, fresh.kept), (Step::Fresh, want.kept));
        assert_eq!(fresh.out.to_bytes().expect("bytes"), want.out.to_bytes().expect("bytes"));
        assert_eq!(attention.mask(0).expect("a mask").to_bools(), want.mask.to_bools());

        let reused = attention.call(2, 0, &third.q, &third.k, &third.v).expect("reused");
        let operator = RainFusionOn::new(&options(), &device).expect("an operator");
        let want = operator.call_masked(&third.q, &third.k, &third.v, &want.mask).expect("sparse");
        assert_eq!((reused.step, reused.kept), (Step::Reused, want.kept));
        assert_eq!(reused.out.to_bytes().expect("bytes"), want.out.to_bytes().expect("bytes"));
        let own = operator.call(&third.q, &third.k, &third.v).expect("sparse");
        assert!(compare(&reused.out, &own.out).expect("one shape").max > 1e-3, "the mask was not the earlier one");

        attention.reset();
        assert_eq!(attention.call(2, 0, &third.q, &third.k, &third.v).expect("fresh").step, Step::Fresh);
    }
}

#[test]
fn a_mask_of_other_shapes_is_made_afresh_and_errors_change_nothing() {
    let schedule = Schedule { refresh: 8, ..Schedule::default() };
    let mut attention = Scheduled::new(&options(), schedule, &Device::cpu()).expect("a schedule");
    let (one, two) = (qkv(1), Qkv::new(2, [2, 2, 2], 144, 144, 8));
    let mut call = |step, x: &Qkv| attention.call(step, 0, &x.q, &x.k, &x.v).map(|result| result.step);
    assert_eq!(call(0, &one).expect("a result"), Step::Fresh);
    let error = call(1, &Qkv::new(3, [1, 2, 2], 140, 140, 8)).expect_err("too few tokens").to_string();
    assert!(error.contains("`grid`") && error.contains("N = 140"), "{error}");
    assert_eq!(call(2, &one).expect("a result"), Step::Reused);
    assert_eq!(call(3, &two).expect("a result"), Step::Fresh);
    let error = Scheduled::new(&options(), Schedule { refresh: 0, ..schedule }, &Device::cpu()).err().expect("refused");
    assert!(error.to_string().contains("`refresh`"), "{error}");
}
