//! What the walks of a plan are in memory, block by block: boxes of a grid or gathered lanes. How that is found out is the
//! IR's business.

use pantile::{Device, Module};
use pantile_compiler::{Plan, Step};
use pantile_ir::{BlockTable, BoxShape, Order, Structure};
use serde_json::{Value, json};

/// Longer walks are not looked at: their tables would be the largest thing about a plan.
const LONGEST: i64 = 1 << 26;

/// An order in blocks of one size.
pub(crate) struct Walk {
    pub(crate) order: String,
    pub(crate) block: i64,
    /// `Err`: why it cannot be said.
    pub(crate) structure: Result<Structure, String>,
}

/// Every order of every launch, each block size once.
pub(crate) fn of(module: &Module, plan: &Plan) -> Vec<Walk> {
    let device = Device::cpu();
    let mut seen: Vec<(&Order, i64)> = Vec::new();
    for step in &plan.steps {
        if let Step::Launch { func, .. } = step {
            for dim in &func.dims {
                let walk = dim.order.map(|order| (&func.orders[order.index()], dim.size));
                seen.extend(walk.filter(|walk| !seen.contains(walk)));
            }
        }
    }
    let walk = |(order, block): (&Order, i64)| {
        let structure = structure(module, order, block, &device);
        Walk { order: order.name.clone(), block, structure }
    };
    seen.into_iter().map(walk).collect()
}

fn structure(module: &Module, order: &Order, block: i64, device: &Device) -> Result<Structure, String> {
    let size = usize::try_from(block).ok().filter(|size| *size > 0 && order.len <= LONGEST);
    let Some(size) = size else { return Err(format!("{} positions, too many to be looked at", order.len)) };
    let table = module.table(order, device).map_err(|e| e.to_string())?;
    Ok(Structure::new(&BlockTable::new(&table, size)))
}

impl Walk {
    /// For programs: blocks by shape.
    pub(crate) fn as_json(&self) -> Value {
        let shape = |(shape, count): &(BoxShape, usize)| json!({"sides": shape.sides, "strides": shape.strides, "blocks": count});
        match &self.structure {
            Ok(s) => json!({
                "order": self.order,
                "block": self.block,
                "blocks": s.shapes.len(),
                "boxes": s.boxes.iter().map(shape).collect::<Vec<_>>(),
                "gathered": s.gathers,
                "longest_run": s.longest_run,
            }),
            Err(why) => json!({"order": self.order, "block": self.block, "error": why}),
        }
    }

    /// One sentence.
    pub(crate) fn text(&self) -> String {
        let what = match &self.structure {
            Ok(structure) => structure.to_string(),
            Err(why) => why.clone(),
        };
        format!("{} by {}: {what}", self.order, self.block)
    }
}
