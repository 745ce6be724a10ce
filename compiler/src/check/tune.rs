//! `tune` blocks: which constants a kernel's or pipeline's search may try. Searching is the runtime's business.

use std::collections::BTreeMap;

use pantile_diag::{Code, Diagnostic, Diagnostics, FileId, Span};
use pantile_syntax::ast::{Expr, Generic, TuneItem};

use super::constant::Const;
use super::host::{Host, HostValue};
use super::program::{ItemRef, Program, nearest, unknown_name};

/// The most candidates that a space may have.
const MAX_CANDIDATES: usize = 100_000;

/// A tuning space.
#[derive(Clone, Debug, PartialEq)]
pub struct Tune {
    /// The name of the kernel or pipeline, as the block writes it.
    pub name: String,
    /// Constants, each with what to try, in order.
    pub space: Vec<(String, Vec<i64>)>,
    /// Where the block stands.
    pub span: Span,
    /// Where the kernel or pipeline has its name.
    pub(crate) target: Span,
    require: Vec<Expr>,
    file: FileId,
}

/// Reads and checks a block; `None` after errors have been said.
pub(crate) fn read(program: &Program, item: &TuneItem, diags: &mut Diagnostics) -> Option<Tune> {
    let file = item.name.span.file;
    let (target, generics) = match program.lookup(file, &item.name.node) {
        Some(ItemRef::Kernel(it)) => (it.name.span, it.generics.as_slice()),
        Some(ItemRef::Pipeline(it)) => (it.name.span, it.generics.as_slice()),
        Some(other @ (ItemRef::Const(_) | ItemRef::Fn(_) | ItemRef::Order(_))) => {
            let message = format!("`{}` is {}: only kernels and pipelines are tuned", item.name.node, other.describe());
            diags.push(
                Diagnostic::error(Code::E0103, item.name.span, message, "cannot be tuned")
                    .with_label(other.name().span, "defined here"),
            );
            return None;
        }
        None => {
            diags.push(unknown_name(&item.name.node, item.name.span, "kernel or pipeline", program.names(file)));
            return None;
        }
    };
    let mut ok = true;
    let mut space: Vec<(String, Vec<i64>)> = Vec::new();
    for (name, values) in &item.space {
        ok &= constant_of(generics, name, diags);
        let mut host = Host::new(program, file, &|_| None);
        let values: Vec<Option<i64>> = values.iter().map(|e| host.eval_int(e, diags)).collect();
        match values.into_iter().collect::<Option<Vec<i64>>>() {
            Some(values) => space.push((name.node.clone(), values)),
            None => ok = false,
        }
    }
    let count = space.iter().try_fold(1usize, |n, (_, values)| n.checked_mul(values.len()));
    if ok && count.is_none_or(|n| n > MAX_CANDIDATES) {
        let message = format!("this space has more than {MAX_CANDIDATES} candidates");
        diags.push(Diagnostic::error(Code::E0502, item.name.span, message, "too large to search"));
        ok = false;
    }
    let span = item.span;
    let tune = Tune { name: item.name.node.clone(), space, span, target, require: item.require.clone(), file };
    if ok {
        // Any candidate will do to see whether the requirements make sense.
        let first = tune.space.iter().filter_map(|(n, v)| v.first().map(|v| (n.clone(), *v))).collect();
        let check = |ok: bool, e| holds(program, &tune, &first, &|_| 0, e, diags).is_some() && ok;
        ok = tune.require.iter().fold(ok, check);
    }
    ok.then_some(tune)
}

/// Whether a name is an int constant of the target.
fn constant_of(generics: &[Generic], name: &pantile_syntax::ast::Ident, diags: &mut Diagnostics) -> bool {
    if generics.iter().any(|g| g.name.node == name.node && g.kind.node == "int") {
        return true;
    }
    let known = || generics.iter().filter(|g| g.kind.node == "int").map(|g| g.name.node.as_str());
    let message = format!("there is no int constant `{}` to tune", name.node);
    let error = Diagnostic::error(Code::E0101, name.span, message, "unknown constant");
    diags.push(match nearest(&name.node, known()) {
        Some(close) => error.with_help(format!("did you mean `{close}`?")),
        None => error.with_help(format!("there are {}", known().collect::<Vec<_>>().join(", "))),
    });
    false
}

/// Whether a candidate meets one requirement; `None` after an error has been said.
fn holds(
    program: &Program,
    tune: &Tune,
    candidate: &BTreeMap<String, i64>,
    smem: &dyn Fn(&BTreeMap<String, i64>) -> i64,
    require: &Expr,
    diags: &mut Diagnostics,
) -> Option<bool> {
    let names = |name: &str| match name {
        "smem()" => Some(HostValue::Const(Const::Int(smem(candidate)))),
        _ => candidate.get(name).map(|n| HostValue::Const(Const::Int(*n))),
    };
    Host::new(program, tune.file, &names).eval_bool(require, diags)
}

/// All combinations that meet the requirements, the last constant varying fastest.
pub(crate) fn candidates(
    program: &Program,
    tune: &Tune,
    smem: &dyn Fn(&BTreeMap<String, i64>) -> i64,
) -> Vec<BTreeMap<String, i64>> {
    let mut all = vec![BTreeMap::new()];
    for (name, values) in &tune.space {
        let with = |candidate: &BTreeMap<String, i64>, value: i64| {
            let mut candidate = candidate.clone();
            candidate.insert(name.clone(), value);
            candidate
        };
        all = all.iter().flat_map(|c| values.iter().map(|v| with(c, *v)).collect::<Vec<_>>()).collect();
    }
    let mut quiet = Diagnostics::default();
    all.retain(|c| tune.require.iter().all(|e| holds(program, tune, c, smem, e, &mut quiet) == Some(true)));
    all
}
