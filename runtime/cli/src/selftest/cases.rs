//! What is run: items, dtypes and sizes, and what comes of one such case on two devices. In which order cases run, and how
//! they are shown, is not known here.

use std::collections::{BTreeMap, BTreeSet};

use pantile::{Arg, Backend, Constant, DType, Device, Module, Outputs};
use pantile_compiler::{GenericKind, OrderSignature, Signature};

use super::compare::{Verdict, judge};
use super::draw::{Draw, SIZES, Sizes, draw};
use crate::values::Owned;

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All dtypes and sizes.
    Whole,
    /// One dtype of each kind, and the sizes at which most code runs.
    Quick,
}

/// The sizes of a quick run.
const QUICK_SIZES: [&str; 2] = ["ragged", "video"];

/// The dtypes of a quick run; all of an item that takes none of them.
const QUICK_DTYPES: [DType; 3] = [DType::BF16, DType::F32, DType::I32];

/// An item at one dtype, or an order: a row of the results.
pub(super) struct Row<'a> {
    module: &'a Module,
    item: Item<'a>,
    /// What its dtype generics stand for.
    pub(super) dtype: Option<DType>,
    pub(super) cases: Vec<Case>,
}

#[derive(Clone, Copy)]
enum Item<'a> {
    Kernel(&'a Signature),
    Order(&'a OrderSignature),
}

/// One set of sizes.
pub(super) struct Case(&'static Sizes);

impl Case {
    pub(super) fn name(&self) -> &'static str {
        self.0.name
    }
}

/// All items of some modules, each once: imports show in several.
pub(super) fn rows<'a>(modules: &'a [Module], only: Option<&str>, extent: Extent) -> Vec<Row<'a>> {
    let mut known = BTreeSet::new();
    let mut takes = |name: &'a str| only.is_none_or(|part| name.contains(part)) && known.insert(name);
    let mut rows = Vec::new();
    for module in modules {
        let compiled = module.compiled();
        let row = |item, dtype| Row { module, item, dtype, cases: sizes(extent) };
        for signature in compiled.kernels().iter().chain(compiled.pipelines()).filter(|s| takes(&s.name)) {
            rows.extend(dtypes(signature, extent).into_iter().map(|dtype| row(Item::Kernel(signature), dtype)));
        }
        let orders = compiled.orders().iter().filter(|o| takes(&o.name));
        rows.extend(orders.map(|order| row(Item::Order(order), None)));
    }
    rows
}

fn sizes(extent: Extent) -> Vec<Case> {
    let takes = |sizes: &&Sizes| extent == Extent::Whole || QUICK_SIZES.contains(&sizes.name);
    SIZES.iter().filter(takes).map(Case).collect()
}

/// The dtypes that an item's dtype generics may all stand for; one without is run once.
fn dtypes(signature: &Signature, extent: Extent) -> Vec<Option<DType>> {
    let class = |kind| match kind {
        GenericKind::DType(class) => Some(class),
        GenericKind::Int(_) => None,
    };
    let classes: Vec<_> = signature.generics.iter().filter_map(|g| class(g.kind)).collect();
    if classes.is_empty() {
        return vec![None];
    }
    let all: Vec<DType> = DType::ALL.iter().copied().filter(|d| classes.iter().all(|class| class.admits(*d))).collect();
    let few: Vec<DType> = all.iter().copied().filter(|d| QUICK_DTYPES.contains(d)).collect();
    let chosen = if extent == Extent::Whole || few.is_empty() { all } else { few };
    chosen.into_iter().map(Some).collect()
}

impl Row<'_> {
    pub(super) fn name(&self) -> &str {
        match self.item {
            Item::Kernel(signature) => &signature.name,
            Item::Order(order) => &order.name,
        }
    }

    pub(super) fn is_order(&self) -> bool {
        match self.item {
            Item::Kernel(_) => false,
            Item::Order(_) => true,
        }
    }

    /// What comes of a case on a device and on the reference.
    pub(super) fn verdict(&self, case: &Case, [device, reference]: [&Device; 2]) -> Verdict {
        match self.item {
            Item::Kernel(signature) => {
                let on = |device: &Device| {
                    let draw = draw(signature, self.dtype, case.0)?;
                    call(self.module, signature, &draw, device)
                };
                judge(on(device), on(reference))
            }
            Item::Order(order) => compare_orders(self.module, order, case.0, [device, reference]),
        }
    }
}

/// One order over a grid.
fn compare_orders(
    module: &Module,
    order: &OrderSignature,
    sizes: &Sizes,
    [device, reference]: [&Device; 2],
) -> Verdict {
    let args: BTreeMap<String, i64> =
        order.params.iter().map(|p| (p.name.clone(), p.default.unwrap_or_else(|| sizes.of(&p.name)))).collect();
    let text = args.get("text").copied().unwrap_or(0);
    let extent = ["F", "Y", "X"].iter().map(|n| sizes.of(n)).product::<i64>() + text;
    let on = |device: &Device| module.order(&order.name, &args, extent, device);
    match (on(device), on(reference)) {
        (Ok(got), Ok(want)) if got == want => Verdict::Distance(0.0),
        (Ok(_), Ok(_)) => Verdict::Wrong("the tables differ".into()),
        (Err(_), Err(_)) => Verdict::BothRefuse,
        (Err(error), Ok(_)) => Verdict::Wrong(format!("fails: {error}")),
        (Ok(_), Err(error)) => Verdict::Wrong(format!("works, but the interpreter says: {error}")),
    }
}

fn call(module: &Module, signature: &Signature, draw: &Draw, device: &Device) -> pantile::Result<Outputs> {
    let args: Vec<Arg<'_>> = draw.args.iter().map(Owned::as_arg).collect();
    let Draw { bindings, .. } = draw;
    let generics = bindings.ints.iter().filter(|(name, _)| signature.generic(name).is_some());
    let ints = generics.chain(&bindings.extents).map(|(name, n)| (name, Constant::Int(*n)));
    let dtypes = bindings.dtypes.iter().map(|(name, d)| (name, Constant::DType(*d)));
    let fixed: Vec<_> = ints.chain(dtypes).collect();
    match module.compiled().pipeline(&signature.name) {
        Some(_) => {
            let pipeline = module.pipeline(&signature.name)?;
            let pipeline = fixed.into_iter().fold(pipeline, |p, (name, value)| p.with(name, value)).on(device);
            // A GPU takes the calls behind the first otherwise than that; results that are kept lie elsewhere each time.
            let more = if device.backend() == Backend::Cuda { 2 } else { 0 };
            let kept = (0..more).map(|_| pipeline.call(&args[..])).collect::<pantile::Result<Vec<_>>>()?;
            let last = pipeline.call(args);
            drop(kept);
            last
        }
        None => {
            let kernel = module.kernel(&signature.name)?;
            fixed.into_iter().fold(kernel, |k, (name, value)| k.with(name, value)).on(device).call(args)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Extent, rows};

    #[test]
    fn a_quick_run_has_every_item_and_fewer_cases() {
        let modules: Vec<_> =
            pantile_kernels::FILES.iter().map(|(name, _)| pantile_kernels::module(name).expect("a module")).collect();
        let of = |extent| {
            let rows = rows(&modules, None, extent);
            let mut names: Vec<String> = rows.iter().map(|r| r.name().to_owned()).collect();
            names.dedup();
            (names, rows.iter().map(|r| r.cases.len()).sum::<usize>())
        };
        let ((all, whole), (same, quick)) = (of(Extent::Whole), of(Extent::Quick));
        assert_eq!(all, same);
        assert!(5 * quick < 2 * whole, "{quick} of {whole} cases");
        let only = rows(&modules, Some("softmax"), Extent::Whole);
        assert!(!only.is_empty() && only.iter().all(|row| row.name().contains("softmax")));
    }
}
