//! Names, constants and signatures of a program, and the check of everything in it. Kernel bodies are typed by elaborating
//! them, in `elaborate`; here is decided for which bindings.

pub(crate) mod constant;
pub(crate) mod host;
mod instance;
pub(crate) mod load;
pub(crate) mod orders;
pub(crate) mod program;
pub(crate) mod signature;
#[cfg(test)]
mod tests;
pub(crate) mod tune;
mod unused;

use std::collections::BTreeMap;

use pantile_diag::{Diagnostics, Span};
use pantile_ir::{DType, Func};
use pantile_syntax::ast::{Item, KernelItem, OrderItem, PipelineItem, TypeKind};

use crate::signature::Signature;
use crate::{Bindings, elaborate, plan};
use instance::{CHOICES, Findings, Numbers, believed, is_numeric};
use program::Program;

/// Checks everything. Gives, for each kernel by its span, the extents that it needs as numbers.
pub(crate) fn program(program: &Program, diags: &mut Diagnostics) -> BTreeMap<Span, Vec<String>> {
    let mut constants = BTreeMap::new();
    for item in program.files().flat_map(|(_, ast)| &ast.items) {
        let mut findings = Findings::default();
        match item {
            Item::Const(it) => {
                let mut said = Diagnostics::default();
                host::constant_item(program, it, &mut said);
                findings.take(&said, None);
            }
            Item::Kernel(it) => {
                let needed = kernel(program, it, &mut findings);
                constants.insert(it.span, needed);
            }
            Item::Order(it) => order(program, it, &mut findings),
            Item::Pipeline(it) => pipeline(program, it, &mut findings),
            Item::Tune(it) => {
                let mut said = Diagnostics::default();
                tune::read(program, it, &mut said);
                findings.take(&said, None);
            }
            Item::Fn(_) | Item::Use(_) => {}
        }
        diags.extend(findings.into_diagnostics());
    }
    unused::check(program, diags);
    constants
}

/// Elaborates a kernel for each dtype of each generic.
fn kernel(program: &Program, item: &KernelItem, findings: &mut Findings) -> Vec<String> {
    let mut said = Diagnostics::default();
    let signature = signature::kernel(program, item, &mut said);
    findings.take(&said, None);
    let Some(signature) = signature else {
        // The body may have more to say, as far as its constants can be guessed.
        let mut found = Diagnostics::default();
        elaborate::kernel(program, item, &guessed(item), &mut found);
        findings.take(&believed(&found, &Diagnostics::default()), None);
        return Vec::new();
    };
    let mut needed = Vec::new();
    for (n, dtypes) in instance::dtypes(&signature).iter().enumerate() {
        let run = |numbers: Numbers| {
            let mut found = Diagnostics::default();
            let bindings = instance::bindings(&signature, dtypes, numbers);
            let func = elaborate::kernel(program, item, &bindings, &mut found);
            (func, found)
        };
        let (func, mut found) = run(CHOICES[0]);
        if found.iter().any(|d| is_numeric(d.code)) {
            found = believed(&found, &run(CHOICES[1]).1);
        }
        if let (0, Some(func)) = (n, &func) {
            needed = known_extents(&signature, func);
        }
        findings.take(&found, Some(bound_to(&signature, dtypes)).filter(|_| n > 0).flatten());
    }
    needed
}

/// "with `T` = f64", at the generic that has not its usual dtype.
fn bound_to(signature: &Signature, dtypes: &[(String, DType)]) -> Option<(Span, String)> {
    let usual = instance::dtypes(signature);
    let (name, dtype) = dtypes.iter().find(|d| !usual[0].contains(d))?;
    Some((signature.generic(name)?.span, format!("with {name} = {dtype}")))
}

fn known_extents(signature: &Signature, func: &Func) -> Vec<String> {
    let named = signature.extents();
    let known = func.extents.iter().filter(|e| e.known.is_some() && named.contains(&e.name.as_str()));
    known.map(|e| e.name.clone()).collect()
}

/// Bindings for a kernel whose signature has errors.
fn guessed(item: &KernelItem) -> Bindings {
    let mut bindings = Bindings::default();
    for generic in &item.generics {
        if generic.kind.node == "int" {
            bindings.ints.insert(generic.name.node.clone(), CHOICES[0].int);
        } else {
            bindings.dtypes.insert(generic.name.node.clone(), DType::F32);
        }
    }
    for param in item.params.iter().filter(|p| matches!(&p.ty.kind, TypeKind::Name(ty) if ty == "int")) {
        bindings.ints.insert(param.name.node.clone(), CHOICES[0].int);
    }
    bindings
}

/// Elaborates an order with made-up arguments.
fn order(program: &Program, item: &OrderItem, findings: &mut Findings) {
    let mut said = Diagnostics::default();
    let signature = signature::order(program, item, &mut said);
    findings.take(&said, None);
    let Some(signature) = signature else { return };
    let run = |numbers: Numbers| {
        let value = |is_bool: bool| if is_bool { i64::from(numbers.truth) } else { numbers.int };
        let args = signature.params.iter().map(|p| (p.name.clone(), value(p.is_bool))).collect();
        let mut found = Diagnostics::default();
        elaborate::order(program, item, &args, numbers.extent, &[], &mut found);
        found
    };
    let [first, second] = CHOICES.map(run);
    findings.take(&believed(&first, &second), None);
    findings.take(&believed(&second, &first), None);
}

/// Plans a pipeline with made-up arguments; kernels are not elaborated, and numbers that do not agree are let pass.
fn pipeline(program: &Program, item: &PipelineItem, findings: &mut Findings) {
    let mut said = Diagnostics::default();
    let signature = signature::pipeline(program, item, &mut said);
    findings.take(&said, None);
    let Some(signature) = signature else { return };
    for (n, dtypes) in instance::dtypes(&signature).iter().enumerate() {
        let run = |numbers: Numbers| {
            let bindings = instance::bindings(&signature, dtypes, numbers);
            let args = instance::arguments(&signature, &bindings, numbers);
            let mut found = Diagnostics::default();
            plan::check(program, item, &signature, &args, bindings, &mut found);
            found
        };
        let [first, second] = CHOICES.map(run);
        let bound = || Some(bound_to(&signature, dtypes)).filter(|_| n > 0).flatten();
        findings.take(&believed(&first, &second), bound());
        findings.take(&believed(&second, &first), bound());
    }
}
