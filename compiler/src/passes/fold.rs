//! Constant folding: an element-wise op of constants becomes its value, by the same rules that the interpreter keeps.
//!
//! ```text
//! %1: i64 = const 6                 %1: i64 = const 6
//! %2: i64 = const 7          →      %2: i64 = const 7
//! %3: i64 = mul %1, %2              %4: i64 = const 42
//! ```
//! Needs: nothing. Leaves: no element-wise op whose operands are all constant, but for a division by zero. Does not
//! remove the operands. Cost: linear.

use pantile_ir::{Func, Inst, Op, Scalar, eval};

use super::rewrite::{Rewriter, keep_nested, rewrite};
use super::{Changed, PassCx};

/// Runs the pass.
pub fn run(func: &mut Func, _cx: &PassCx) -> Changed {
    rewrite(func, rule, keep_nested).into()
}

fn rule(rw: &mut Rewriter, inst: &Inst) -> Option<pantile_ir::Value> {
    let constants: Vec<Scalar> = inst.args.iter().map(|v| rw.defs.constant(*v)).collect::<Option<_>>()?;
    let dtype = rw.func.ty(*inst.args.first()?).dtype();
    let x = match (&inst.op, constants.as_slice()) {
        (Op::Unary(op), [x]) => eval::unary(*op, dtype, *x),
        (Op::Binary(op), [a, b]) => eval::binary(*op, dtype, *a, *b)?,
        (Op::Cast(to), [x]) => eval::cast(dtype, *to, *x),
        (Op::Select, [c, a, b]) => {
            if c.as_bool() {
                *a
            } else {
                *b
            }
        }
        _ => return None,
    };
    let ty = rw.func.ty(inst.results[0]).clone();
    rw.constant(&ty, x)
}
