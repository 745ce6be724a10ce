//! Tests of elaboration: the shipped kernels become verified IR at many bindings, and wrong code gives the errors that
//! it should, where it should. What IR means is the interpreter's tests' business.

use std::collections::BTreeMap;

use pantile_diag::{Diagnostics, SourceMap};
use pantile_ir::{DType, Func, Order, verify};
use pantile_syntax::ast::{AxisExpr, AxisExtent, KernelItem, TypeKind};

use crate::Bindings;
use crate::check::program::{ItemRef, PRELUDE, Program};

mod accept;
mod mutate;
mod refuse;

/// A program of one file, the prelude, and the file of shipped attention kernels for imports.
pub(super) struct Source {
    pub(super) program: Program,
    pub(super) sources: SourceMap,
    pub(super) diags: Diagnostics,
    file: pantile_diag::FileId,
}

impl Source {
    pub(super) fn new(text: &str) -> Self {
        let (mut program, mut sources, mut diags) = (Program::default(), SourceMap::default(), Diagnostics::default());
        let mut add = |name: &str, text: &str| {
            let file = sources.add(name, text);
            let (ast, said) = pantile_grammar::parse(file, text);
            diags.extend(said);
            program.add(file, ast, &mut diags);
            file
        };
        let file = add("test.tile", text);
        let prelude = add("prelude.tile", PRELUDE);
        program.set_prelude(prelude);
        Self { program, sources, diags, file }
    }

    pub(super) fn kernels(&self) -> impl Iterator<Item = &KernelItem> {
        self.program.items(self.file).filter_map(|it| match it {
            ItemRef::Kernel(item) => Some(item),
            ItemRef::Const(_) | ItemRef::Fn(_) | ItemRef::Order(_) | ItemRef::Pipeline(_) => None,
        })
    }

    pub(super) fn order(&mut self, name: &str, args: &[(&str, i64)], extent: i64) -> Option<Order> {
        let Some(ItemRef::Order(item)) = self.program.lookup(self.file, name) else { panic!("no order {name}") };
        let args = args.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect();
        super::order(&self.program, item, &args, extent, &[], &mut self.diags)
    }

    /// Elaborates every kernel; what was said as `code line`.
    pub(super) fn said(mut self, bind: &Bindings) -> Vec<String> {
        let mut diags = std::mem::take(&mut self.diags);
        for item in self.kernels() {
            if let Some(func) = super::kernel(&self.program, item, &bound(item, bind), &mut diags) {
                checked(&func);
            }
        }
        diags.sort();
        diags.iter().map(|d| format!("{} {}", d.code, self.sources.line_col(d.primary.span).0)).collect()
    }

    pub(super) fn rendered(&self, diags: &Diagnostics) -> String {
        pantile_diag::render(diags, &self.sources, false)
    }
}

/// Bindings with what a kernel needs and does not say: extents that are no constants.
fn bound(item: &KernelItem, bind: &Bindings) -> Bindings {
    let mut bind = bind.clone();
    for g in &item.generics {
        let constant = bind.ints.contains_key(&g.name.node) || g.default.is_some();
        if !constant && !bind.dtypes.contains_key(&g.name.node) {
            bind.dtypes.insert(g.name.node.clone(), DType::F32);
        }
    }
    for (n, name) in extents(item).into_iter().enumerate() {
        bind.extents.entry(name).or_insert([300, 2, 32, 130, 64][n % 5]);
    }
    bind
}

fn extents(item: &KernelItem) -> Vec<String> {
    let axes = |ty: &TypeKind| -> Vec<AxisExpr> {
        match ty {
            TypeKind::Tensor { axes, .. } | TypeKind::Mask(axes) => axes.clone(),
            TypeKind::Name(_) | TypeKind::Tile { .. } => Vec::new(),
        }
    };
    let mut names = Vec::new();
    for axis in item.params.iter().chain(&item.outs).flat_map(|p| axes(&p.ty.kind)) {
        if let AxisExtent::Name(name) = axis.extent
            && !names.contains(&name.node)
        {
            names.push(name.node);
        }
    }
    names
}

pub(super) fn checked(func: &Func) {
    if let Err(broken) = verify(func) {
        panic!("{}\n{}", broken.join("\n"), pantile_ir::print(func));
    }
}

/// The one kernel of a text, elaborated without a word said.
pub(super) fn kernel(text: &str, bind: &Bindings) -> Func {
    let mut source = Source::new(text);
    let mut diags = std::mem::take(&mut source.diags);
    let item = source.kernels().next().expect("one kernel");
    let func = super::kernel(&source.program, item, &bound(item, bind), &mut diags);
    assert!(diags.is_empty(), "{}", source.rendered(&diags));
    let func = func.expect("elaborated");
    checked(&func);
    func
}

pub(super) fn dtypes(pairs: &[(&str, DType)]) -> Bindings {
    let dtypes: BTreeMap<String, DType> = pairs.iter().map(|(n, d)| ((*n).to_owned(), *d)).collect();
    Bindings { dtypes, ..Bindings::default() }
}
