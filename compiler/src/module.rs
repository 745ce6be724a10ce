//! A loaded and checked program: what it defines, and its kernels, orders and pipelines for given numbers. Nothing is
//! executed here, and files come from the caller.

use std::collections::BTreeMap;

use pantile_diag::{Code, Diagnostic, Diagnostics, FileId, SourceMap, Span};
use pantile_ir::{Func, Order};
use pantile_syntax::ast::KernelItem;

use crate::check::load::load;
use crate::check::program::{ItemRef, Program, nearest, unknown_name};
use crate::check::tune::{self, Tune};
use crate::check::{self, orders, signature};
use crate::passes::{Options, optimise};
use crate::plan::{self, Plan, PlanBindings};
use crate::signature::{OrderSignature, Signature};
use crate::{Bindings, elaborate};

/// A file and all that it imports, parsed and checked.
pub struct Module {
    program: Program,
    root: FileId,
    kernels: Vec<Signature>,
    pipelines: Vec<Signature>,
    orders: Vec<OrderSignature>,
    tunes: Vec<Tune>,
}

/// What loading gives.
pub struct Loaded {
    /// The module, if it has no errors.
    pub module: Option<Module>,
    /// All files that were read, for rendering diagnostics.
    pub sources: SourceMap,
    /// What was said about them.
    pub diagnostics: Diagnostics,
}

impl Module {
    /// Parses and checks `text`, which diagnostics call `name`. `loader` gives the text of imported files; their paths are
    /// relative to the file that names them.
    pub fn load(name: &str, text: &str, loader: &mut dyn FnMut(&str) -> Result<String, String>) -> Loaded {
        let (program, sources, mut diagnostics) = load(name, text, loader);
        let Some(root) = sources.files().next() else { return Loaded { module: None, sources, diagnostics } };
        let constants = check::program(&program, &mut diagnostics);
        let module = Module::read(program, root, &constants);
        diagnostics.sort();
        let module = Some(module).filter(|_| !diagnostics.has_errors());
        Loaded { module, sources, diagnostics }
    }

    /// Reads the signatures of all that the root file sees, in the order of source. Their errors have been said.
    fn read(program: Program, root: FileId, constants: &BTreeMap<Span, Vec<String>>) -> Module {
        let mut quiet = Diagnostics::default();
        let (mut kernels, mut pipelines, mut orders) = (Vec::new(), Vec::new(), Vec::new());
        for (name, item) in program.visible(root) {
            match item {
                ItemRef::Kernel(it) => kernels.extend(signature::kernel(&program, it, &mut quiet).map(|s| {
                    let constants = constants.get(&it.span).cloned().unwrap_or_default();
                    Signature { name: name.to_owned(), constants, ..s }
                })),
                ItemRef::Pipeline(it) => {
                    let read = signature::pipeline(&program, it, &mut quiet);
                    pipelines.extend(read.map(|s| Signature { name: name.to_owned(), ..s }));
                }
                ItemRef::Order(it) => {
                    let read = signature::order(&program, it, &mut quiet);
                    orders.extend(read.map(|s| OrderSignature { name: name.to_owned(), ..s }));
                }
                ItemRef::Const(_) | ItemRef::Fn(_) => {}
            }
        }
        kernels.sort_by_key(|s| s.span);
        pipelines.sort_by_key(|s| s.span);
        orders.sort_by_key(|s| s.span);
        let tunes = program.files().flat_map(|(file, _)| program.tunes(file));
        let tunes = tunes.filter_map(|it| tune::read(&program, it, &mut quiet)).collect();
        Module { program, root, kernels, pipelines, orders, tunes }
    }

    /// The kernels that the file defines or imports, in the order of source.
    pub fn kernels(&self) -> &[Signature] {
        &self.kernels
    }

    /// The pipelines that the file defines or imports, in the order of source.
    pub fn pipelines(&self) -> &[Signature] {
        &self.pipelines
    }

    /// The orders that the file defines or imports, in the order of source.
    pub fn orders(&self) -> &[OrderSignature] {
        &self.orders
    }

    /// The kernel of that name.
    pub fn kernel(&self, name: &str) -> Option<&Signature> {
        self.kernels.iter().find(|s| s.name == name)
    }

    /// The pipeline of that name.
    pub fn pipeline(&self, name: &str) -> Option<&Signature> {
        self.pipelines.iter().find(|s| s.name == name)
    }

    /// The tuning space of a kernel or pipeline, by the name it has here.
    pub fn tune(&self, name: &str) -> Option<&Tune> {
        let target = self.program.lookup(self.root, name)?.name().span;
        self.tunes.iter().find(|t| t.target == target)
    }

    /// Every constant's value that a kernel's or pipeline's tuning space allows; `smem` is what a candidate needs of
    /// shared memory, in bytes.
    pub fn candidates(&self, tune: &Tune, smem: &dyn Fn(&BTreeMap<String, i64>) -> i64) -> Vec<BTreeMap<String, i64>> {
        tune::candidates(&self.program, tune, smem)
    }

    /// The name that `name` is most likely a slip of, among kernels, pipelines and orders.
    pub fn suggest(&self, name: &str) -> Option<&str> {
        let signatures = self.kernels.iter().chain(&self.pipelines).map(|s| s.name.as_str());
        nearest(name, signatures.chain(self.orders.iter().map(|s| s.name.as_str())))
    }

    /// The kernel as optimised IR.
    ///
    /// # Errors
    /// What these bindings make impossible.
    pub fn specialise(&self, kernel: &str, bindings: &Bindings) -> Result<Func, Diagnostics> {
        let mut func = self.elaborate_only(kernel, bindings)?;
        let mut diags = Diagnostics::default();
        let name = self.kernel(kernel).map_or(Span::new(self.root, 0, 0), |s| s.span);
        optimised(&mut func, name, &mut diags);
        if diags.has_errors() { Err(diags) } else { Ok(func) }
    }

    /// The kernel as IR, straight from source.
    ///
    /// # Errors
    /// What these bindings make impossible.
    pub fn elaborate_only(&self, kernel: &str, bindings: &Bindings) -> Result<Func, Diagnostics> {
        let item = match self.program.lookup(self.root, kernel) {
            Some(ItemRef::Kernel(item)) => item,
            Some(ItemRef::Const(_) | ItemRef::Fn(_) | ItemRef::Order(_) | ItemRef::Pipeline(_)) | None => {
                return Err(self.unknown(kernel, "kernel"));
            }
        };
        let mut diags = Diagnostics::default();
        elaborate::kernel(&self.program, item, bindings, &mut diags).ok_or(diags)
    }

    /// An order with its arguments, walking `extent` elements. Parameters with defaults may be missing; a bool is 0 or 1.
    ///
    /// # Errors
    /// Unknown names, missing arguments, and what the order's own code refuses.
    pub fn order(&self, name: &str, args: &BTreeMap<String, i64>, extent: i64) -> Result<Order, Diagnostics> {
        let (item, known) = match self.program.lookup(self.root, name) {
            Some(ItemRef::Order(item)) => (item, self.orders.iter().find(|o| o.name == name)),
            Some(ItemRef::Const(_) | ItemRef::Fn(_) | ItemRef::Kernel(_) | ItemRef::Pipeline(_)) | None => {
                return Err(self.unknown(name, "order"));
            }
        };
        let mut diags = Diagnostics::default();
        let args = known.and_then(|order| orders::complete(order, args.clone(), item.name.span, &mut diags));
        args.and_then(|args| plan::order(&self.program, item, &args, extent, &mut diags)).ok_or(diags)
    }

    /// The plan of a pipeline for these arguments.
    ///
    /// # Errors
    /// Arguments that do not fit, requirements that are not met, steps that are impossible.
    pub fn plan(&self, pipeline: &str, bindings: &PlanBindings) -> Result<Plan, Diagnostics> {
        let (item, signature) = match (self.program.lookup(self.root, pipeline), self.pipeline(pipeline)) {
            (Some(ItemRef::Pipeline(item)), Some(signature)) => (item, signature),
            _ => return Err(self.unknown(pipeline, "pipeline")),
        };
        let mut diags = Diagnostics::default();
        let mut specialise = |item: &KernelItem, bindings: &Bindings, diags: &mut Diagnostics| {
            let mut func = elaborate::kernel(&self.program, item, bindings, diags)?;
            optimised(&mut func, item.name.span, diags).then_some(func)
        };
        plan::plan((&self.program, self.root), item, signature, bindings, &mut specialise, &mut diags).ok_or(diags)
    }

    fn unknown(&self, name: &str, what: &str) -> Diagnostics {
        let mut diags = Diagnostics::default();
        diags.push(unknown_name(name, Span::new(self.root, 0, 0), what, self.program.names(self.root)));
        diags
    }
}

/// Runs the passes over a kernel; whether they left it whole.
pub(crate) fn optimised(func: &mut Func, name: Span, diags: &mut Diagnostics) -> bool {
    let report = optimise(func, &Options::default());
    let Some(bug) = &report.bug else { return true };
    let message = format!("pass `{}` broke kernel `{}`: {}", bug.pass, func.name, bug.rules.join("; "));
    let error = Diagnostic::error(Code::E0701, name, message, "while compiling this");
    diags
        .push(error.with_help("this is a fault of the compiler, not of the program; please report it with the source"));
    false
}
