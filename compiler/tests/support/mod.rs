//! Loads sources and runs plans on the interpreter, for the tests beside it. Nothing here judges results.

use pantile_compiler::{BufferKind, Call, Loaded, Module, Plan, PlanArg, Role, Step};
use pantile_diag::render_short;
use pantile_interp::{Arg, Array, MaskArray, Options, order_table, run};
use pantile_ir::Scalar;

/// Loads a file of `kernels/`.
pub fn shipped(name: &str) -> Module {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernels/");
    let read = |path: &str| std::fs::read_to_string(format!("{folder}{path}")).map_err(|e| e.to_string());
    good(Module::load(name, &read(name).expect("a shipped file"), &mut |path| read(path)))
}

/// Loads a text that imports nothing.
pub fn module(text: &str) -> Module {
    good(Module::load("test.tile", text, &mut |path| Err(format!("no {path}"))))
}

fn good(loaded: Loaded) -> Module {
    let said = render_short(&loaded.diagnostics, &loaded.sources);
    loaded.module.unwrap_or_else(|| panic!("{said}\n{:#?}", loaded.diagnostics))
}

/// Runs a plan; `inputs` are its tensors and masks by parameter. Gives the outputs, in order.
pub fn execute(plan: &Plan, inputs: &[(usize, Arg)]) -> Vec<Arg> {
    let mut memory: Vec<Arg> = plan.buffers.iter().map(|b| start(b.role, &b.what, inputs)).collect();
    for step in &plan.steps {
        match step {
            Step::Launch { func, calls, label } => {
                let tables: Vec<Vec<i32>> = func.orders.iter().map(|o| order_table(o).expect("an order")).collect();
                for Call { extents, args, .. } in calls {
                    let take = |arg: &PlanArg| match arg {
                        PlanArg::Buffer(b) => memory[*b].clone(),
                        PlanArg::Scalar(_, x) => Arg::Scalar(*x),
                    };
                    let mut given: Vec<Arg> = args.iter().map(take).collect();
                    let options = Options { checks: true, races: true };
                    run(func, extents, &tables, &mut given, options).unwrap_or_else(|why| panic!("{label}: {why}"));
                    for ((arg, value), param) in args.iter().zip(given).zip(&func.params) {
                        if let (PlanArg::Buffer(b), true) = (arg, param.out) {
                            memory[*b] = value;
                        }
                    }
                }
            }
            Step::Copy { from, to, .. } => memory[*to] = memory[*from].clone(),
            Step::Permute { from, to, axis, order, inverse, .. } => {
                let (Arg::Tensor(from), Arg::Tensor(mut target)) = (memory[*from].clone(), memory[*to].clone()) else {
                    panic!("only tensors are permuted");
                };
                permute(&from, &mut target, *axis, &order_table(order).expect("an order"), *inverse);
                memory[*to] = Arg::Tensor(target);
            }
        }
    }
    let output = |n: usize| plan.buffers.iter().position(|b| b.role == Role::Output(n));
    (0..).map_while(output).map(|b| memory[b].clone()).collect()
}

fn start(role: Role, what: &BufferKind, inputs: &[(usize, Arg)]) -> Arg {
    let shape: Vec<usize> = what.shape().iter().map(|n| *n as usize).collect();
    match (role, what) {
        (Role::Input(n), _) => inputs.iter().find(|(p, _)| *p == n).expect("an input").1.clone(),
        (Role::Output(_) | Role::Temp, BufferKind::Tensor { dtype, .. }) => Arg::Tensor(Array::zeros(*dtype, &shape)),
        (Role::Output(_) | Role::Temp, BufferKind::Mask { .. }) => Arg::Mask(MaskArray::empty(&shape)),
    }
}

fn permute(from: &Array, to: &mut Array, axis: usize, table: &[i32], inverse: bool) {
    let inner: usize = from.shape[axis + 1..].iter().product();
    let outer: usize = from.shape[..axis].iter().product();
    for o in 0..outer {
        for (p, e) in table.iter().enumerate().filter(|(_, e)| **e >= 0) {
            let (source, target) = if inverse { (p, *e as usize) } else { (*e as usize, p) };
            for i in 0..inner {
                let x: Scalar = from.data.get((o * from.shape[axis] + source) * inner + i);
                to.data.set((o * to.shape[axis] + target) * inner + i, x);
            }
        }
    }
}
