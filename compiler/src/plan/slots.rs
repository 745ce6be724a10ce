//! The order that walks a padded copy: position p → p where the copied order has an element, -1 elsewhere. It is the
//! copied order's own kernel with what it stores replaced; nothing is evaluated.

use pantile_ir::{BinaryOp, DType, Func, GridAxis, Inst, Op, Order, OrderBody, Region, Scalar, Table, Type, Value};

/// From the order that the copy was made in. `None` if its kernel is not of the form that orders have.
pub(crate) fn slots(order: &Order) -> Option<Order> {
    let mut fill = match &order.fill {
        OrderBody::Kernel(fill) => (**fill).clone(),
        OrderBody::Table(table) => return slots_of(table),
    };
    let [GridAxis::Each(_, position)] = fill.grid[..] else { return None };
    let mut body = std::mem::take(&mut fill.body);
    let mut replaced = false;
    rewrite(&mut fill, &mut body, position, &mut replaced);
    fill.body = body;
    fill.name = format!("slots of {}", order.name);
    let name = fill.name.clone();
    replaced.then(|| Order { name, len: order.len, holes: true, fill: OrderBody::Kernel(Box::new(fill)) })
}

/// The same for an order that is a table.
fn slots_of(table: &Table) -> Option<Order> {
    let slot = |(p, e): (usize, &i32)| if *e < 0 { -1 } else { p as i32 };
    let slots = table.elements().iter().enumerate().map(slot).collect();
    let order = Table::new(slots).ok().map(Order::of_table)?;
    Some(Order { name: format!("slots of {}", order.name), holes: true, ..order })
}

/// In front of every store, `value` becomes `where(value < 0, value, position)`.
fn rewrite(func: &mut Func, region: &mut Region, position: Value, replaced: &mut bool) {
    let mut insts = Vec::with_capacity(region.insts.len() + 4);
    for mut inst in std::mem::take(&mut region.insts) {
        inst.regions.iter_mut().for_each(|inner| rewrite(func, inner, position, replaced));
        if let Op::Store { .. } = inst.op {
            let at = inst.index_args().len();
            let mut push = |op: Op, args: &[Value], dtype: DType| {
                let result = func.new_value(Type::Scalar(dtype));
                insts.push(Inst {
                    op,
                    args: args.to_vec(),
                    results: vec![result],
                    regions: Vec::new(),
                    span: inst.span,
                });
                result
            };
            let zero = push(Op::Const(DType::I32, Scalar::Int(0)), &[], DType::I32);
            let none = push(Op::Binary(BinaryOp::Lt), &[inst.args[at], zero], DType::Bool);
            let here = push(Op::Cast(DType::I32), &[position], DType::I32);
            let slot = push(Op::Select, &[none, inst.args[at], here], DType::I32);
            inst.args[at] = slot;
            *replaced = true;
        }
        insts.push(inst);
    }
    region.insts = insts;
}
