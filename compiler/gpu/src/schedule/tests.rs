//! Schedules of two functions, as text, and what the verifier says of tables that are wrong.

use pantile_ir::{Func, parse};

use super::{RingId, Schedule};
use crate::kernel::Options;
use crate::lower::{Facts, Warps, spreads};
use crate::{Choices, Target};

const MATMUL: &str = "kernel @matmul(%a: tensor<bf16>[M, K], %b: tensor<bf16>[K, N]) -> (%c: tensor<f32>[M, N])
  extent M
  extent K
  extent N
  dim i: M by 128
  dim j: N by 128
  dim k: K by 64
  grid (i in M by 128, j in N by 128)
{
  %0: f32 = const 0.0
  %1: tile<f32>{i, j} = broadcast over {i, j} %0
  %2: tile<f32>{i, j} = for k in K by 64 carry (%3: tile<f32>{i, j} = %1) {
    %4: tile<bf16>{i, k} = load %a[i, k]
    %5: tile<bf16>{j, k} = load %b[k, j]
    %6: tile<f32>{i, j} = dot over {k} %4, %5
    %7: tile<f32>{i, j} = add %3, %6
    yield %7
  }
  store %c[i, j] = %2
}
";

/// Two products, of which the second needs the first.
const CHAINED: &str =
    "kernel @two(%q: tensor<bf16>[N, D], %k: tensor<bf16>[M, D], %v: tensor<bf16>[M, D]) -> (%o: tensor<f32>[N, D])
  extent N
  extent D = 64
  extent M
  dim i: N by 64
  dim D: D by 64 whole
  dim j: M by 64
  grid (i in N by 64)
{
  %0: tile<bf16>{i, D} = load %q[i, D]
  %1: f32 = const 0.0
  %2: tile<f32>{i, D} = broadcast over {i, D} %1
  %3: tile<f32>{i, D} = for j in M by 64 carry (%4: tile<f32>{i, D} = %2) {
    %5: tile<bf16>{D, j} = load %k[j, D]
    %6: tile<f32>{i, j} = dot over {D} %0, %5
    %7: tile<f32>{i, j} = exp2 %6
    %8: tile<bf16>{i, j} = cast bf16 %7
    %9: tile<bf16>{D, j} = load %v[j, D]
    %10: tile<f32>{i, D} = dot over {j} %8, %9
    %11: tile<f32>{i, D} = add %4, %10
    yield %11
  }
  store %o[i, D] = %3
}
";

fn scheduled(text: &str) -> (Func, Schedule) {
    let func = parse(text).expect("Tile IR");
    let options = Options { choices: Choices::default(), ..Options::new(Target::SM_90A) };
    let (facts, warps) = (Facts::best(&func), Warps::of(&func, &options));
    let schedule = Schedule::new(&func, &facts, &options, warps, &spreads(&func, &facts, &options, warps));
    (func, schedule)
}

fn broken(text: &str, change: impl FnOnce(&mut Schedule)) -> String {
    let (func, mut schedule) = scheduled(text);
    assert_eq!(schedule.verify(&func), Ok(()));
    change(&mut schedule);
    schedule.verify(&func).expect_err("a rule that is broken")
}

#[test]
fn schedules_are_read_as_text() {
    let (func, schedule) = scheduled(MATMUL);
    let want = "schedule @matmul sm_90a
  producer 4 warps, 24 registers
  consumers 8 warps, 240 registers
  ring 0 a: 4 stages of 16 KiB, freed by warps
  ring 1 b: 4 stages of 16 KiB, freed by warps
  for %2, each round's products under way in the next
    fill %4 ring 0
    fill %5 ring 1
";
    assert_eq!(schedule.print(&func, "sm_90a"), want);
    let (func, schedule) = scheduled(CHAINED);
    let want = "schedule @two sm_90a
  producer 4 warps
  consumers 4 warps
  ring 0 q: 1 stages of 8 KiB, freed by warps
  ring 1 k: 4 stages of 8 KiB, freed by warps
  ring 2 v: 4 stages of 8 KiB, freed by warps
  fill %0 ring 0
  for %3
    next round: %5 %6 %7 %8
    this round: %9 %10 %11 from %8
    fill %5 ring 1
    fill %9 ring 2
";
    assert_eq!(schedule.print(&func, "sm_90a"), want);
}

#[test]
fn without_a_producer_nothing_is_cut() {
    let func = parse(CHAINED).expect("Tile IR");
    let choices = Choices { specialise: false, ..Choices::default() };
    let options = Options { choices, ..Options::new(Target::SM_90A) };
    let (facts, warps) = (Facts::best(&func), Warps::of(&func, &options));
    let schedule = Schedule::new(&func, &facts, &options, warps, &spreads(&func, &facts, &options, warps));
    assert!(!schedule.specialised() && schedule.rotations.is_empty() && schedule.chains.is_empty());
}

#[test]
fn broken_schedules_are_told_apart() {
    type Change = fn(&mut Schedule);
    let cases: [(&str, Change, &str); 7] = [
        (MATMUL, |s| s.rings[0].bytes = 1024, "does not fit"),
        (MATMUL, |s| s.rings[0].stages = 0, "does not fit"),
        (MATMUL, |s| s.maps.truncate(1), "no tensor map"),
        (MATMUL, |s| s.slice.clear(), "slice"),
        (MATMUL, |s| s.fills.values_mut().for_each(|f| f.ring = RingId(0)), "filled twice"),
        (MATMUL, |s| s.rings.iter_mut().for_each(|r| r.stages = 1), "one stage"),
        (CHAINED, |s| s.rotations.values_mut().for_each(|r| r.late[1] = true), "needs %6 of the second"),
    ];
    for (text, change, word) in cases {
        let told = broken(text, change);
        assert!(told.contains(word), "{told}");
    }
}
