//! Representative bindings: a kernel is checked by elaborating it for each dtype that each generic admits, with made-up
//! numbers. What only the made-up numbers cause is not said.

use pantile_diag::{Code, Diagnostic, Diagnostics, Span};
use pantile_ir::{Class, DType, Kind, Scalar};

use crate::infer::{ArgShape, representative};
use crate::signature::{GenericKind, ParamType, Signature};
use crate::{Bindings, OrderArg};

/// A choice of made-up numbers. An error that numbers cause is believed if two choices agree on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Numbers {
    /// The size of every extent: whole multiples of common block sizes, for `split`.
    pub(crate) extent: i64,
    /// The value of every int without a default.
    pub(crate) int: i64,
    /// The value of every bool that must be known.
    pub(crate) truth: bool,
}

/// The choices.
pub(crate) const CHOICES: [Numbers; 2] =
    [Numbers { extent: 128, int: 16, truth: true }, Numbers { extent: 256, int: 8, truth: false }];

/// The dtypes to check a signature's generics with: the representative one for all, then each other one in turn.
pub(crate) fn dtypes(signature: &Signature) -> Vec<Vec<(String, DType)>> {
    let classes: Vec<(&str, Class)> = signature
        .generics
        .iter()
        .filter_map(|g| match g.kind {
            GenericKind::DType(class) => Some((g.name.as_str(), class)),
            GenericKind::Int(_) => None,
        })
        .collect();
    let usual: Vec<(String, DType)> = classes.iter().map(|(n, c)| ((*n).to_owned(), representative(*c))).collect();
    let mut all = vec![usual.clone()];
    for (at, (_, class)) in classes.iter().enumerate() {
        for dtype in DType::ALL.iter().filter(|d| class.admits(**d) && **d != usual[at].1) {
            let mut choice = usual.clone();
            choice[at].1 = *dtype;
            all.push(choice);
        }
    }
    all
}

/// Bindings for a kernel.
pub(crate) fn bindings(signature: &Signature, dtypes: &[(String, DType)], numbers: Numbers) -> Bindings {
    let mut bindings = Bindings { dtypes: dtypes.iter().cloned().collect(), ..Bindings::default() };
    for generic in &signature.generics {
        if let GenericKind::Int(default) = generic.kind {
            bindings.ints.insert(generic.name.clone(), default.unwrap_or(numbers.int));
        }
    }
    for param in signature.params.iter().filter(|p| p.ty == ParamType::Int) {
        bindings.ints.insert(param.name.clone(), numbers.int);
    }
    for extent in signature.extents() {
        bindings.extents.insert(extent.to_owned(), numbers.extent);
    }
    bindings
}

/// Arguments for a pipeline.
pub(crate) fn arguments(signature: &Signature, bindings: &Bindings, numbers: Numbers) -> Vec<ArgShape> {
    let shape = |ty: &ParamType| ty.axes().iter().map(|a| a.size(bindings).unwrap_or(numbers.extent)).collect();
    let argument = |ty: &ParamType| match ty {
        ParamType::Tensor(element, _) => {
            ArgShape::Tensor { dtype: element.resolve(bindings).unwrap_or(DType::F32), shape: shape(ty) }
        }
        ParamType::Mask(_) => ArgShape::Mask { shape: shape(ty) },
        ParamType::Int => ArgShape::Scalar { dtype: DType::I64, value: Scalar::Int(numbers.int) },
        ParamType::Order => {
            let table = OrderArg::table((0..numbers.extent as i32).collect());
            ArgShape::Order(table.unwrap_or_else(|_| OrderArg::named("", [])))
        }
        ParamType::Scalar(element) => {
            let dtype = element.resolve(bindings).unwrap_or(DType::F32);
            let value = match dtype.kind() {
                Kind::Bool => Scalar::Bool(numbers.truth),
                Kind::Float => Scalar::Float(0.5),
                Kind::Signed | Kind::Unsigned => Scalar::Int(numbers.int),
            };
            ArgShape::Scalar { dtype, value }
        }
    };
    signature.params.iter().map(|p| argument(&p.ty)).collect()
}

/// Whether numbers alone can cause an error of this code.
pub(crate) fn is_numeric(code: Code) -> bool {
    matches!(code, Code::E0502 | Code::E0503 | Code::E0601 | Code::E0602 | Code::E0603)
}

/// What checking an item with several bindings has said, each place once for each code.
#[derive(Default)]
pub(crate) struct Findings {
    said: Diagnostics,
    places: Vec<(Code, Span)>,
}

impl Findings {
    /// Takes what is new in one place or code; `bound` tells for which dtypes, if these are not the usual ones.
    pub(crate) fn take(&mut self, found: &Diagnostics, bound: Option<(Span, String)>) {
        for diagnostic in found.iter() {
            let place = (diagnostic.code, diagnostic.primary.span);
            if !self.places.contains(&place) {
                self.places.push(place);
                let diagnostic = diagnostic.clone();
                self.said.push(match &bound {
                    Some((span, text)) => diagnostic.with_label(*span, text.clone()),
                    None => diagnostic,
                });
            }
        }
    }

    /// All of it.
    pub(crate) fn into_diagnostics(self) -> Diagnostics {
        self.said
    }
}

/// Without the numeric errors that `other`, found with other numbers, does not have.
pub(crate) fn believed(found: &Diagnostics, other: &Diagnostics) -> Diagnostics {
    let also = |d: &Diagnostic| other.iter().any(|o| o.code == d.code && o.primary.span == d.primary.span);
    let mut kept = Diagnostics::default();
    found.iter().filter(|d| !is_numeric(d.code) || also(d)).for_each(|d| kept.push(d.clone()));
    kept
}
