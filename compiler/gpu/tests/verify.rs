//! The verifier says what is wrong with programs that are broken one way each, and their text reads as meant.

use pantile_gpu::Target;
use pantile_gpu::simt::{
    Binary, Builder, Compare, Inst, Mma, Op, Program, Region, Shuffle, Small, Space, Special, Ty, Value, Wgmma,
    WgmmaLeft,
};

/// A sum over a loop, doubled where it is odd, stored.
fn sound() -> Program {
    let mut b = Builder::new("sound", 64);
    let (out, n) = (b.param(0), b.special(Special::Block));
    let zero = b.i32(0);
    let sum = b.count(n, &[zero], |b, i, sum| vec![b.add(i, sum[0])]);
    let odd = b.and_const(sum[0], 1);
    let odd = b.compare(Compare::Ne, odd, zero);
    let sum = b.branch(odd, |b| vec![b.mul_const(sum[0], 2)], |_| vec![sum[0]]);
    b.store(Space::Global, 32, out, &sum, Some(odd));
    b.finish()
}

#[test]
fn a_program_reads_as_meant() {
    sound().verify().expect("a sound program");
    assert_eq!(sound().to_string(), TEXT);
}

/// The first instruction whose op is one.
fn find<'a>(region: &'a mut Region, is: &dyn Fn(&Op) -> bool) -> Option<&'a mut Inst> {
    let at = region.insts.iter().position(|inst| is(&inst.op));
    if let Some(at) = at {
        return region.insts.get_mut(at);
    }
    region.insts.iter_mut().flat_map(|inst| inst.regions.iter_mut()).find_map(|region| find(region, is))
}

#[test]
fn what_is_broken_is_named() {
    type Break = fn(&mut Program);
    let cases: &[(&str, Break)] = &[
        ("takes two numbers of one type, not (i32, i64)", |p| {
            find(&mut p.body, &|op| *op == Op::Binary(Binary::Add)).expect("a sum").args[1] = Value(0);
        }),
        ("is not defined before", |p| p.body.insts.rotate_left(1)),
        ("of a region that does not enclose it", |p| {
            let inner = p.body.insts.iter().find(|i| i.op == Op::Loop).expect("a loop").regions[1].args[0];
            let store = find(&mut p.body, &|op| matches!(op, Op::Store { .. })).expect("a store");
            store.args[1] = inner;
        }),
        ("is defined twice", |p| {
            let again = p.body.insts[1].clone();
            p.body.insts.push(again);
        }),
        ("has no type", |p| p.types.truncate(p.types.len() - 1)),
        ("second region yields (i32, i32), not (i32)", |p| {
            find(&mut p.body, &|op| *op == Op::Loop).expect("a loop").regions[1].yields.truncate(1);
        }),
        ("first region yields (bool), not ()", |p| {
            find(&mut p.body, &|op| *op == Op::Loop).expect("a loop").regions[0].yields.clear();
        }),
        ("second region takes (i32, i32), not (i32)", |p| {
            find(&mut p.body, &|op| *op == Op::Loop).expect("a loop").regions[1].args.truncate(1);
        }),
        ("its regions yield (i32) and ()", |p| {
            find(&mut p.body, &|op| *op == Op::If).expect("a branch").regions[1].yields.clear();
        }),
        ("has two regions", |p| find(&mut p.body, &|op| *op == Op::If).expect("a branch").regions.truncate(1)),
        ("has no regions", |p| p.body.insts[0].regions.push(Region::default())),
        ("gives (i32), not (i64)", |p| p.types[1] = Ty::I64),
        ("the launch has 0 words", |p| p.words = 0),
        ("the launch has 0 tensor maps", |p| {
            find(&mut p.body, &|op| *op == Op::Param(0)).expect("a word").op = Op::Map(0);
        }),
        ("not one that PTX can have", |p| p.name = "a b".into()),
        ("1 to 1024 threads, not 0", |p| p.threads = 0),
        ("at most 255 registers, not 256", |p| p.registers = 256),
        ("takes and yields nothing", |p| p.body.yields.push(Value(0))),
    ];
    for (said, break_it) in cases {
        let mut program = sound();
        break_it(&mut program);
        let why = program.verify().expect_err(said);
        assert!(why.contains(said), "wanted `{said}`, got `{why}`");
    }
}

#[test]
fn ops_refuse_what_they_do_not_take() {
    let form = Wgmma {
        n: 64,
        dtype: Some(Small::F8E4M3),
        left: WgmmaLeft::Shared,
        transpose_left: false,
        transpose_right: false,
        accumulate: true,
    };
    let store = |space, bits, count| Op::Store { space, bits, count, guarded: false };
    let cases = [
        (Op::Fma, vec![Ty::I32; 3], "takes floats"),
        (Op::Select, vec![Ty::I32, Ty::F32, Ty::F32], "a predicate and two values"),
        (Op::Select, vec![Ty::Bool, Ty::F32, Ty::F64], "a predicate and two values"),
        (Op::Binary(Binary::Shl), vec![Ty::F32; 2], "two integers"),
        (Op::Compare(Compare::ULt), vec![Ty::F32; 2], "two integers"),
        (Op::Shuffle(Shuffle::Xor(32)), vec![Ty::I32], "0 to 31, not 32"),
        (store(Space::Constant, 32, 1), vec![Ty::I64, Ty::I32], "not written"),
        (store(Space::Global, 32, 1), vec![Ty::I32, Ty::I32], "takes (i64, i32)"),
        (store(Space::Shared, 16, 2), vec![Ty::I32; 3], "2 units of 16 bits"),
        (store(Space::Global, 64, 4), vec![Ty::I64; 5], "4 units of 64 bits"),
        (store(Space::Global, 32, 3), vec![Ty::I64], "1, 2 or 4, not 3"),
        (Op::Barrier { id: 16, threads: None }, vec![], "0 to 15, not 16"),
        (Op::Barrier { id: 1, threads: Some(33) }, vec![], "33 threads are not whole warps"),
        (Op::SetRegisters(true, 100), vec![], "not a multiple of 8"),
        (Op::TensorLoad { rank: 6 }, vec![], "1 to 5, not 6"),
        (Op::Mma(Mma::F8(Small::F16, Small::F8E4M3)), vec![], "8-bit floats"),
        (Op::Wgmma(Wgmma { n: 12, ..form }), vec![], "12 columns"),
        (Op::Wgmma(Wgmma { transpose_right: true, ..form }), vec![], "may be transposed"),
        (Op::Wgmma(form), vec![Ty::I64; 2], "takes (i64, i64, f32"),
        (Op::WgmmaWait(0), vec![Ty::I32], "which are f32"),
    ];
    for (op, args, said) in cases {
        let why = op.results(&args).expect_err(said);
        assert!(why.contains(said), "{op}: wanted `{said}`, got `{why}`");
    }
}

#[test]
fn what_a_target_lacks_is_named() {
    let mut b = Builder::new("k", 128);
    b.emit(Op::WgmmaFence, &[], &[]);
    let program = b.finish();
    assert_eq!(program.verify_for(Target::SM_90A), Ok(()));
    for target in [Target::SM_80, Target::SM_100A, Target::SM_120A] {
        let why = program.verify_for(target).expect_err("no wgmma");
        assert_eq!(why, format!("kernel `k`: {target} has no `wgmma_fence`"));
    }
}

#[test]
fn blocks_are_whole_warpgroups_where_an_op_wants_them() {
    for (op, args, threads) in [(Op::WgmmaFence, vec![], 96), (Op::Ballot, vec![true], 48)] {
        let mut b = Builder::new("k", threads);
        let args: Vec<Value> = args.into_iter().map(|x| b.bool(x)).collect();
        let types = vec![Ty::Bool; args.len()];
        let results = op.results(&types).expect("operands that fit");
        b.emit(op, &args, &results);
        let why = b.finish().verify().expect_err("a block of too few");
        assert!(why.contains(&format!("{threads} threads are not a multiple of")), "{why}");
    }
}

const TEXT: &str = "\
kernel sound words 1 fault 0 threads 64 shared 0 registers 0 {
  %0: i64 = param 0
  %1: i32 = block
  %2: i32 = const 0
  %3: i32 = const 0
  %12: i32, %13: i32 = loop %3, %2 while (%4: i32, %5: i32) {
    %6: bool = compare.lt %4, %1
    yield %6
  } do (%7: i32, %8: i32) {
    %9: i32 = const 1
    %10: i32 = add %7, %9
    %11: i32 = add %7, %8
    yield %10, %11
  }
  %14: i32 = const 1
  %15: i32 = and %13, %14
  %16: bool = compare.ne %15, %2
  %19: i32 = if %16 then {
    %17: i32 = const 1
    %18: i32 = shl %13, %17
    yield %18
  } else {
    yield %13
  }
  store.global.32x1 %0, %19 if %16
}
";
