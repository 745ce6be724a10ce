//! Launches from the host: what runs, what is refused and in which words, on both devices.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pantile::{Arg, DType, Device, Error, Mask, Module, Out, Output, Scalar, Tensor};

const SOURCE: &str = "
kernel scale<T: number, P: int = 4>(x: tensor<T>[N, M], factor: T) -> (y: tensor<T>[N, M])
grid (i in N by P, j in M by P) {
    y[i, j] = x[i, j] * factor;
}

kernel pair(x: tensor<f32>[N], y: tensor<f32>[N]) -> (z: tensor<f32>[N])
grid (i in N by 4) {
    z[i] = x[i] + y[i];
}

kernel kept_sum<P: int = 2>(x: tensor<f32>[N], keep: mask[R, N by P]) -> (s: tensor<f32>[R])
grid (r in R) {
    let mut sum = 0.0;
    for j in N by P where keep[r, j] {
        sum += sum(x[j], over j);
    }
    s[r] = sum;
}

kernel pick(x: tensor<f32>[N], at: tensor<i32>[M]) -> (y: tensor<f32>[M])
grid (m in M) {
    y[m] = x[at[m]];
}

kernel larger(x: tensor<f32>[N], bar: f32) -> (keep: mask[R, N])
grid (r in R) {
    let c = all N;
    keep[r, c] = x[c] >= bar;
}

order reversed(p in L, L: int) -> int { L - 1 - p }
order halved(p in L, L: int) -> int { p / 2 }
order beyond(p in L, L: int) -> int { p + 3 }
order gaps(p in 2 * L, L: int) -> int { if p % 2 == 0 { p / 2 } else { -1 } }

kernel blocks<P: int = 4>(x: tensor<f32>[N]) -> (y: tensor<f32>[N by P])
grid (i in N by P) {
    y[index(i)] = sum(x[i], over i);
}

pipeline walked(x: tensor<f32>[N], L: int) -> (y: tensor<f32>[N]) {
    let w = reversed(L);
    y = unpermute(pair(permute(x, N via w), permute(x, N via w)), N via w);
}

pipeline mixed(x: tensor<f32>[N], L: int) -> (y: tensor<f32>[N]) {
    y = pair(permute(x, N via reversed(L)), x);
}

pipeline twice(x: tensor<f32>[N], L: int) -> (y: tensor<f32>[N]) {
    y = pair(permute(x, N via halved(L)), x);
}
";

fn module() -> Module {
    Module::from_text("launch.tile", SOURCE).unwrap_or_else(|e| panic!("{e}"))
}

fn devices() -> [Device; 2] {
    [Device::cpu(), Device::interp()]
}

fn vector(values: &[f32]) -> Tensor {
    Tensor::from_slice(&[values.len()], values).expect("a tensor")
}

fn counting(shape: &[usize]) -> Tensor {
    let count = shape.iter().product::<usize>();
    Tensor::from_slice(shape, &(0..count).map(|n| n as f32).collect::<Vec<_>>()).expect("a tensor")
}

#[test]
fn strides_in_and_out() {
    for device in devices() {
        let scale = module().kernel("scale").unwrap().on(&device);
        let x = counting(&[5, 7]);
        let by = 2.0f32;
        let want: Vec<f32> = x.to_vec::<f32>().unwrap().iter().map(|v| v * by).collect();
        assert_eq!(scale.call((&x, by)).unwrap().single().unwrap().to_vec::<f32>().unwrap(), want);
        // Columns first in memory, read and written.
        let turned = x.permute(&[1, 0]).unwrap().copy().unwrap().permute(&[1, 0]).unwrap();
        let mut out = Tensor::zeros(DType::F32, &[7, 5]).unwrap().permute(&[1, 0]).unwrap();
        scale.call_into((&turned, by), vec![Out::Tensor(&mut out)]).unwrap();
        assert_eq!(out.to_vec::<f32>().unwrap(), want);
        // A window of a larger tensor.
        let part = counting(&[9, 9]).slice(0, 2..7).unwrap().slice(1, 1..8).unwrap();
        let got = scale.call((&part, by)).unwrap().single().unwrap().to_vec::<f32>().unwrap();
        assert_eq!((got[0], got[34]), (38.0, 122.0));
    }
}

#[test]
fn every_dtype_of_a_generic() {
    for device in devices() {
        let scale = module().kernel("scale").unwrap().on(&device);
        for dtype in [DType::F32, DType::F16, DType::BF16, DType::F64, DType::F8E4M3, DType::I8, DType::U16, DType::I64]
        {
            let x = counting(&[3, 3]).to_dtype(dtype).unwrap();
            let y = scale.call((&x, 2)).unwrap_or_else(|e| panic!("{dtype} on {}: {e}", device.name()));
            let y = y.single().unwrap();
            assert_eq!(y.dtype(), dtype);
            assert_eq!(
                y.to_f32().unwrap(),
                counting(&[3, 3]).to_f32().unwrap().iter().map(|v| v * 2.0).collect::<Vec<_>>()
            );
        }
    }
}

#[test]
fn constants_are_fixed_by_name() {
    for device in devices() {
        let x = counting(&[10]);
        for (size, want) in [(4, vec![6.0, 22.0, 17.0]), (7, vec![21.0, 24.0])] {
            let y = module().kernel("blocks").unwrap().with("P", size).on(&device).call((&x,)).unwrap();
            assert_eq!(y.tensor("y").unwrap().to_vec::<f32>().unwrap(), want);
        }
    }
}

#[test]
fn masks_select_blocks() {
    for device in devices() {
        let kernel = module().kernel("kept_sum").unwrap().on(&device);
        let keep = Mask::from_lists(&[3, 3], &[vec![0, 2], vec![], vec![0, 1, 2]]).unwrap();
        let s = kernel.call((&counting(&[5]), &keep)).unwrap().single().unwrap();
        assert_eq!(s.to_vec::<f32>().unwrap(), [5.0, 0.0, 10.0]);
        let wrong = Mask::empty(&[3, 2]).unwrap();
        let error = kernel.call((&counting(&[5]), &wrong)).unwrap_err().to_string();
        assert!(error.contains("`keep`") && error.contains("N by P") && error.contains("3 places"), "{error}");
    }
}

#[test]
fn masks_are_written() {
    for device in devices() {
        let kernel = module().kernel("larger").unwrap().on(&device);
        let x = vector(&[1.0, 5.0, 3.0, 4.0]);
        // The number of rows is not bound by an input: the caller's output says it.
        assert!(kernel.call((&x, 3.0f32)).unwrap_err().to_string().contains("`keep`"));
        let mut keep = Mask::empty(&[2, 4]).unwrap();
        kernel.call_into((&x, 3.0f32), vec![Out::Mask(&mut keep)]).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((keep.row(0), keep.row(1)), (&[1, 2, 3][..], &[1, 2, 3][..]));
        assert_eq!(keep.to_bools(), [false, true, true, true, false, true, true, true]);
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let device = Device::cpu();
    let pair = module().kernel("pair").unwrap().on(&device);
    let (x, y) = (counting(&[4]), counting(&[5]));
    let said = |result: pantile::Result<pantile::Outputs>| result.unwrap_err().to_string();
    let cases = [
        (said(pair.call((&x, &y))), "`y` has N = 5 but `x` has N = 4"),
        (said(pair.call((&x,))), "takes 2 arguments (x, y), not 1"),
        (said(pair.call((&x, 3))), "`y` must be a tensor, not a scalar"),
        (said(pair.call((&x, &Mask::empty(&[4]).unwrap()))), "`y` must be a tensor, not a mask"),
        (said(pair.call((&x, &x.to_dtype(DType::F16).unwrap()))), "`y` must be of f32, not f16"),
        (said(pair.call((&x, &counting(&[4, 1])))), "`y` must have 1 axes"),
        (said(module().kernel("pair").unwrap().with("Q", 3).on(&device).call((&x, &x))), "no constant `Q`"),
        (said(module().kernel("blocks").unwrap().with("P", 0).on(&device).call((&x,))), "`P`"),
    ];
    for (got, want) in cases {
        assert!(got.contains(want), "`{got}` does not say `{want}`");
    }
    let scale = module().kernel("scale").unwrap().on(&device);
    let bytes = counting(&[2, 2]).to_dtype(DType::U8).unwrap();
    assert!(said(scale.call((&bytes, 300))).contains("argument `factor` of `scale`: 300 does not fit in u8"));
    assert!(said(scale.call((&bytes, 1.5))).contains("must be u8"));
    assert!(module().kernel("pear").unwrap_err().to_string().contains("pair"));

    let mut short = Tensor::zeros(DType::F32, &[3]).unwrap();
    let error = pair.call_into((&x, &x), vec![Out::Tensor(&mut short)]).unwrap_err().to_string();
    assert!(error.contains("`z`") && error.contains("[4]"), "{error}");
    let mut shared = x.clone();
    let error = pair.call_into((&x, &x), vec![Out::Tensor(&mut shared)]).unwrap_err().to_string();
    assert!(error.contains("shares its memory"), "{error}");
    assert!(pair.call_into((&x, &x), Vec::new()).is_err());
}

#[test]
fn nothing_in_nothing_out() {
    for device in devices() {
        let empty = Tensor::zeros(DType::F32, &[0]).unwrap();
        let pair = module().kernel("pair").unwrap().on(&device);
        assert!(pair.call((&empty, &empty)).unwrap().single().unwrap().is_empty());
        // An enormous grid that writes nothing is no work.
        let scale = module().kernel("scale").unwrap().on(&device);
        let wide = Tensor::zeros(DType::F32, &[1 << 40, 0]).unwrap();
        assert!(scale.call((&wide, 1.0f32)).unwrap().single().unwrap().is_empty());
        let keep = Mask::empty(&[2, 0]).unwrap();
        let sums = module().kernel("kept_sum").unwrap().on(&device).call((&empty, &keep)).unwrap().single().unwrap();
        assert_eq!(sums.to_vec::<f32>().unwrap(), [0.0, 0.0]);
    }
}

#[test]
fn faults_say_where() {
    for device in devices() {
        let pick = module().kernel("pick").unwrap().on(&device);
        let at = Tensor::from_slice(&[4], &[0, 2, 1, 7]).unwrap();
        match pick.call((&counting(&[3]), &at)) {
            Err(Error::Fault { kernel, instance, line, .. }) => {
                assert_eq!((kernel.as_str(), instance, line.as_deref()), ("pick", vec![3], Some("launch.tile:23")));
            }
            other => panic!("{}: {other:?}", device.name()),
        }
        let fine = pick.call((&counting(&[3]), &Tensor::from_slice(&[2], &[2, 0]).unwrap())).unwrap();
        assert_eq!(fine.single().unwrap().to_vec::<f32>().unwrap(), [2.0, 0.0]);
    }
}

#[test]
fn pipelines_walk_orders() {
    for device in devices() {
        let module = module();
        let x = counting(&[5]);
        let call = |name: &str, x: &Tensor, l: i64| module.pipeline(name).unwrap().on(&device).call((x, l));
        let values = |result: pantile::Result<pantile::Outputs>| {
            result.unwrap_or_else(|e| panic!("{e}")).single().unwrap().to_vec::<f32>().unwrap()
        };
        assert_eq!(values(call("walked", &x, 5)), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(values(call("mixed", &x, 5)), [4.0; 5]);
        let error = call("twice", &x, 5).unwrap_err().to_string();
        assert!(error.contains("positions 0 and 1 both give element 0"), "{error}");
    }
}

#[test]
fn order_tables_are_filled_and_checked() {
    for device in devices() {
        let table = |name: &str, l: i64| module().order(name, &[("L".to_owned(), l)].into(), l, &device);
        assert_eq!(*table("reversed", 4).unwrap(), [3, 2, 1, 0]);
        assert_eq!(*table("gaps", 2).unwrap(), [0, -1, 1, -1]);
        let error = table("halved", 4).unwrap_err().to_string();
        assert!(error.contains("halved") && error.contains("positions 0 and 1"), "{error}");
        assert!(table("nothing", 4).is_err());
    }
}

#[test]
fn progress_is_told_to_the_end() {
    for device in devices() {
        let (most, total) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (seen, all) = (most.clone(), total.clone());
        let device = device.with_progress(Arc::new(move |p| {
            seen.fetch_max(p.done, Ordering::Relaxed);
            all.store(p.total, Ordering::Relaxed);
        }));
        let x = counting(&[4000]);
        module().kernel("pair").unwrap().on(&device).call((&x, &x)).unwrap();
        assert_eq!((most.load(Ordering::Relaxed), total.load(Ordering::Relaxed)), (1000, 1000), "{}", device.name());
    }
}

#[test]
fn launches_from_many_threads() {
    let device = Device::cpu();
    let kernel = module().kernel("pair").unwrap().on(&device);
    std::thread::scope(|scope| {
        for thread in 0..8usize {
            let kernel = kernel.clone();
            scope.spawn(move || {
                for n in 1..60 {
                    let x = counting(&[n * (thread + 1)]);
                    let z = kernel.call((&x, &x)).unwrap().single().unwrap().to_vec::<f32>().unwrap();
                    assert!(z.iter().enumerate().all(|(at, z)| *z == 2.0 * at as f32));
                }
            });
        }
    });
}

#[test]
fn arguments_come_in_many_forms() {
    let device = Device::cpu();
    let scale = module().kernel("scale").unwrap().on(&device);
    let x = counting(&[2, 2]);
    let list = vec![Arg::Tensor(&x), Arg::Scalar(Scalar::Int(3))];
    let outputs = scale.call(list).unwrap();
    assert_eq!(outputs.names().collect::<Vec<_>>(), ["y"]);
    assert!(matches!(outputs.iter().next(), Some(("y", Output::Tensor(_)))));
    assert!(outputs.mask("y").is_err() && outputs.tensor("x").is_err());
    assert_eq!(outputs.single().unwrap().to_vec::<f32>().unwrap(), [0.0, 3.0, 6.0, 9.0]);
}

#[test]
fn source_errors_carry_their_text() {
    let Err(Error::Source(said)) = Module::from_text("bad.tile", "kernel f(x: tensor<f32>[N]) -> (") else {
        panic!("it has errors");
    };
    assert!(said.render(false).contains("bad.tile") && said.to_string().contains("error["), "{said}");
}
