//! Which program instances are long: kernels whose loop visits the kept blocks of a mask row. Long ones start first, so
//! that no worker is left alone with one at the end. It changes the order of instances, never what they do.

use std::collections::HashMap;

use pantile_ir::{DimId, Func, GridAxis, Op, ParamId, Region, Scalar, Value};

/// Where a row's index comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum RowIndex {
    /// The coordinate along a grid axis.
    Grid(usize),
    /// A number.
    Fixed(i64),
}

/// The mask whose rows the loop of a kernel visits, and which row belongs to which instance.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Balance {
    /// The mask.
    pub(crate) mask: ParamId,
    row: Vec<RowIndex>,
}

impl Balance {
    /// Looks for a loop over the list of an input mask whose row is given by grid coordinates.
    pub(crate) fn of(func: &Func) -> Option<Self> {
        let mut defs = HashMap::new();
        definitions(&func.body, &mut defs);
        listed(func, &func.body).find_map(|(mask, row)| {
            let row = row.iter().map(|v| row_index(func, &defs, *v)).collect::<Option<Vec<_>>>()?;
            (!func.param(mask).out).then_some(Self { mask, row })
        })
    }

    /// All instances, those with many kept blocks first. Instances of about one length stay in their own order, so that
    /// neighbours still share what they read. `sizes` is the number of instances along each grid axis, `rows` the
    /// mask's shape without its last axis.
    pub(crate) fn order(&self, sizes: &[u64], rows: &[usize], counts: &[i32]) -> Vec<u64> {
        let total: u64 = sizes.iter().product();
        let weight = |cell: &u64| {
            let row = self.row_of(*cell, sizes, rows);
            let count = row.and_then(|r| counts.get(r)).copied().unwrap_or(0).max(0);
            std::cmp::Reverse((count + 1).ilog2())
        };
        let mut cells: Vec<u64> = (0..total).collect();
        cells.sort_by_cached_key(weight);
        cells
    }

    fn row_of(&self, cell: u64, sizes: &[u64], rows: &[usize]) -> Option<usize> {
        let coordinate = |axis: usize| cell / sizes[..axis].iter().product::<u64>() % sizes[axis];
        let mut at = 0;
        for (index, size) in self.row.iter().zip(rows) {
            let n = match index {
                RowIndex::Grid(axis) => usize::try_from(coordinate(*axis)).ok()?,
                RowIndex::Fixed(n) => usize::try_from(*n).ok()?,
            };
            at = at * size + n;
        }
        Some(at)
    }
}

fn definitions<'f>(region: &'f Region, defs: &mut HashMap<Value, &'f Op>) {
    for inst in &region.insts {
        defs.extend(inst.results.iter().map(|v| (*v, &inst.op)));
        inst.regions.iter().for_each(|r| definitions(r, defs));
    }
}

/// The masks that loops walk, with their rows' indices, outermost first.
fn listed<'f>(func: &'f Func, region: &'f Region) -> Box<dyn Iterator<Item = (ParamId, &'f [Value])> + 'f> {
    Box::new(region.insts.iter().flat_map(move |inst| {
        let list = if let Op::For(it) = &inst.op { it.list } else { None };
        let own = list.and_then(|mask| inst.loop_args(func).map(|args| (mask, args.row)));
        own.into_iter().chain(inst.regions.iter().flat_map(move |r| listed(func, r)))
    }))
}

fn row_index(func: &Func, defs: &HashMap<Value, &Op>, value: Value) -> Option<RowIndex> {
    let walk = |dim: DimId| func.grid.iter().position(|axis| *axis == GridAxis::Walk(dim)).map(RowIndex::Grid);
    let each = func.grid.iter().position(|axis| matches!(axis, GridAxis::Each(_, v) if *v == value));
    #[allow(clippy::wildcard_enum_match_arm, reason = "any other op is no grid coordinate")]
    match (each, defs.get(&value)) {
        (Some(axis), _) => Some(RowIndex::Grid(axis)),
        (None, Some(Op::BlockIndex(dim))) => walk(*dim),
        (None, Some(Op::Const(_, Scalar::Int(n)))) => Some(RowIndex::Fixed(*n)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Balance, RowIndex};
    use pantile_ir::ParamId;

    #[test]
    fn long_rows_come_first_and_equals_keep_their_order() {
        // Grid (i of 3, h of 2), mask rows [H, I].
        let balance = Balance { mask: ParamId(0), row: vec![RowIndex::Grid(1), RowIndex::Grid(0)] };
        let cells = balance.order(&[3, 2], &[2, 3], &[1, 9, 1, 1, 1, 40]);
        assert_eq!(cells, [5, 1, 0, 2, 3, 4]);
        assert_eq!(balance.row_of(4, &[3, 2], &[2, 3]), Some(4));
    }

    #[test]
    fn attention_has_rows_and_dense_attention_has_none() {
        let text = include_str!("../../kernels/attention.tile");
        let loaded = pantile_compiler::Module::load("attention.tile", text, &mut |_| Err(String::new()));
        let module = loaded.module.unwrap();
        let bindings = pantile_compiler::Bindings {
            dtypes: [("T".to_owned(), pantile_ir::DType::F32)].into(),
            ints: [("BQ".to_owned(), 64), ("BK".to_owned(), 64)].into(),
            extents: [("D".to_owned(), 32)].into(),
            ..Default::default()
        };
        let balance = |kernel| Balance::of(&module.specialise(kernel, &bindings).unwrap());
        assert_eq!(balance("attention").unwrap().row, [RowIndex::Grid(2), RowIndex::Grid(1), RowIndex::Grid(0)]);
        assert_eq!(balance("attention_dense"), None);
    }
}
