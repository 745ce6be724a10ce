//! Products of warpgroups that are added to something that is there before them, and used for nothing else: they begin with
//! that instead of zeros.

use std::collections::HashMap;

use pantile_ir::{BinaryOp, DType, Func, Inst, Op, Region, Value};

/// What a product is added to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AddedTo {
    /// What the sums begin with.
    pub addend: Value,
    /// The sum.
    pub sum: Value,
}

/// All of them, by the product's result.
pub(super) fn find(func: &Func, is_product: impl Fn(&Inst) -> bool) -> HashMap<Value, AddedTo> {
    let mut uses: HashMap<Value, u32> = HashMap::new();
    count(&func.body, &mut uses);
    let mut all = HashMap::new();
    region(func, &func.body, &uses, &is_product, &mut all);
    all
}

fn count(region: &Region, uses: &mut HashMap<Value, u32>) {
    region.yields.iter().for_each(|v| *uses.entry(*v).or_default() += 1);
    for inst in &region.insts {
        inst.args.iter().for_each(|v| *uses.entry(*v).or_default() += 1);
        inst.regions.iter().for_each(|r| count(r, uses));
    }
}

fn region(
    func: &Func,
    region_: &Region,
    uses: &HashMap<Value, u32>,
    is_product: &impl Fn(&Inst) -> bool,
    all: &mut HashMap<Value, AddedTo>,
) {
    for (n, inst) in region_.insts.iter().enumerate() {
        inst.regions.iter().for_each(|r| region(func, r, uses, is_product, all));
        let (Op::Binary(BinaryOp::Add), [x, y]) = (&inst.op, &inst.args[..]) else { continue };
        let sum = inst.results[0];
        if func.ty(sum).dtype() != DType::F32 {
            continue;
        }
        for (product, addend) in [(*x, *y), (*y, *x)] {
            let made = region_.insts[..n].iter().position(|i| i.results.first() == Some(&product));
            let Some(made) = made.filter(|at| is_product(&region_.insts[*at])) else { continue };
            let there = !region_.insts[made..].iter().any(|i| i.results.contains(&addend));
            let alike = func.ty(addend) == func.ty(product) && func.ty(sum) == func.ty(product);
            if there && alike && uses.get(&product) == Some(&1) {
                all.insert(product, AddedTo { addend, sum });
                break;
            }
        }
    }
}
