//! Parsed files and what each name means in each of them: its own items, its imports, the prelude. Nothing is typed here.

use std::collections::BTreeMap;

use pantile_diag::{Code, Diagnostic, Diagnostics, FileId, Span};
use pantile_syntax::ast::{
    ConstItem, File, FnItem, Ident, Item, KernelItem, OrderItem, PipelineItem, TuneItem, UseItem,
};

/// The text of the prelude, which every file sees.
pub(crate) const PRELUDE: &str = include_str!("../prelude.tile");

/// A top-level definition that a name can mean. Its span tells the file whose names its body sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ItemRef<'p> {
    /// A constant.
    Const(&'p ConstItem),
    /// A function.
    Fn(&'p FnItem),
    /// An order.
    Order(&'p OrderItem),
    /// A kernel.
    Kernel(&'p KernelItem),
    /// A pipeline.
    Pipeline(&'p PipelineItem),
}

impl<'p> ItemRef<'p> {
    /// The definition, if a name can mean it: `use` and `tune` define none.
    fn of(item: &'p Item) -> Option<Self> {
        match item {
            Item::Const(it) => Some(Self::Const(it)),
            Item::Fn(it) => Some(Self::Fn(it)),
            Item::Order(it) => Some(Self::Order(it)),
            Item::Kernel(it) => Some(Self::Kernel(it)),
            Item::Pipeline(it) => Some(Self::Pipeline(it)),
            Item::Tune(_) | Item::Use(_) => None,
        }
    }

    /// Its name where it is defined.
    pub(crate) fn name(self) -> &'p Ident {
        match self {
            Self::Const(it) => &it.name,
            Self::Fn(it) => &it.name,
            Self::Order(it) => &it.name,
            Self::Kernel(it) => &it.name,
            Self::Pipeline(it) => &it.name,
        }
    }

    /// For messages: "a kernel".
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Const(_) => "a constant",
            Self::Fn(_) => "a function",
            Self::Order(_) => "an order",
            Self::Kernel(_) => "a kernel",
            Self::Pipeline(_) => "a pipeline",
        }
    }
}

/// Where an item stands: a file and a place in its list.
type Place = (FileId, usize);

/// One parsed file and its names.
struct Scope {
    file: FileId,
    ast: File,
    names: BTreeMap<String, Place>,
}

/// Parsed files with their names.
#[derive(Default)]
pub(crate) struct Program {
    scopes: Vec<Scope>,
    prelude: Option<FileId>,
}

impl Program {
    /// Adds a file and its own names. A name defined twice keeps its first meaning.
    pub(crate) fn add(&mut self, file: FileId, ast: File, diags: &mut Diagnostics) {
        let mut names: BTreeMap<String, Place> = BTreeMap::new();
        for (place, item) in ast.items.iter().enumerate() {
            let Some(it) = ItemRef::of(item) else { continue };
            let name = it.name();
            match names.get(&name.node).and_then(|(_, first)| ItemRef::of(&ast.items[*first])) {
                Some(first) => diags.push(defined_twice(name, first.name().span)),
                None => {
                    names.insert(name.node.clone(), (file, place));
                }
            }
        }
        self.scopes.push(Scope { file, ast, names });
    }

    /// Makes a file that was added the one whose names every other file sees.
    pub(crate) fn set_prelude(&mut self, file: FileId) {
        self.prelude = Some(file);
    }

    /// Resolves one `use` of `file`: `from` is the file it names. The names must be that file's own.
    pub(crate) fn import(&mut self, file: FileId, it: &UseItem, from: FileId, diags: &mut Diagnostics) {
        for (name, renamed) in &it.names {
            let here = renamed.as_ref().unwrap_or(name);
            let Some(place) = self.scope(from).and_then(|s| s.names.get(&name.node)).copied().filter(|p| p.0 == from)
            else {
                let known: Vec<&str> = self.own_names(from).collect();
                diags.push(missing_import(name, &it.path.node, &known));
                continue;
            };
            let first = self.scope(file).and_then(|s| s.names.get(&here.node)).copied();
            match first {
                Some(first) if first == place => {}
                Some(first) => {
                    let before = self.item(first).map_or(name.span, |i| i.name().span);
                    diags.push(defined_twice(here, before));
                }
                None => {
                    if let Some(scope) = self.scopes.iter_mut().find(|s| s.file == file) {
                        scope.names.insert(here.node.clone(), place);
                    }
                }
            }
        }
    }

    /// What `name` means in `file`.
    pub(crate) fn lookup(&self, file: FileId, name: &str) -> Option<ItemRef<'_>> {
        let own = self.scope(file).and_then(|s| s.names.get(name));
        let place = own.or_else(|| self.scope(self.prelude?)?.names.get(name))?;
        self.item(*place)
    }

    /// Every name that means something in `file`: own, imported, and the prelude's; for "did you mean".
    pub(crate) fn names(&self, file: FileId) -> impl Iterator<Item = &str> {
        let files = [Some(file), self.prelude.filter(|p| *p != file)];
        files.into_iter().flatten().filter_map(|f| self.scope(f)).flat_map(|s| s.names.keys().map(String::as_str))
    }

    /// The syntax trees, in the order they were added.
    pub(crate) fn files(&self) -> impl Iterator<Item = (FileId, &File)> {
        self.scopes.iter().map(|s| (s.file, &s.ast))
    }

    /// Every definition of a file.
    pub(crate) fn items(&self, file: FileId) -> impl Iterator<Item = ItemRef<'_>> {
        self.scope(file).into_iter().flat_map(|s| s.ast.items.iter().filter_map(ItemRef::of))
    }

    /// Every definition that a file sees by a name of its own or by import, with that name.
    pub(crate) fn visible(&self, file: FileId) -> impl Iterator<Item = (&str, ItemRef<'_>)> {
        self.scope(file)
            .into_iter()
            .flat_map(|s| &s.names)
            .filter_map(|(name, place)| self.item(*place).map(|it| (name.as_str(), it)))
    }

    /// Every `tune` block of a file.
    pub(crate) fn tunes(&self, file: FileId) -> impl Iterator<Item = &TuneItem> {
        let items = self.scope(file).into_iter().flat_map(|s| &s.ast.items);
        items.filter_map(|item| match item {
            Item::Tune(it) => Some(it),
            Item::Const(_) | Item::Fn(_) | Item::Order(_) | Item::Kernel(_) | Item::Pipeline(_) | Item::Use(_) => None,
        })
    }

    fn own_names(&self, file: FileId) -> impl Iterator<Item = &str> {
        self.items(file).map(|it| it.name().node.as_str())
    }

    fn scope(&self, file: FileId) -> Option<&Scope> {
        self.scopes.iter().find(|s| s.file == file)
    }

    fn item(&self, place: Place) -> Option<ItemRef<'_>> {
        ItemRef::of(self.scope(place.0)?.ast.items.get(place.1)?)
    }
}

/// The candidate that `name` is most likely a slip of, if one is close: at most a third of its letters differ, or one. A
/// single letter is close to all others, so of it only the case may differ.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = name.chars().count();
    let mut candidates = candidates.into_iter();
    if letters < 2 {
        return candidates.find(|c| *c != name && c.to_lowercase() == name.to_lowercase());
    }
    let budget = (letters / 3).max(1);
    candidates.map(|c| (distance(name, c), c)).filter(|(d, _)| *d > 0 && *d <= budget).min().map(|(_, c)| c)
}

/// Edit distance: insertions, deletions, substitutions.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// E0101, with "did you mean" if a candidate is close.
pub(crate) fn unknown_name<'a>(
    name: &str,
    span: Span,
    what: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Diagnostic {
    let error = Diagnostic::error(Code::E0101, span, format!("there is no {what} `{name}` here"), "unknown name");
    match nearest(name, candidates) {
        Some(close) => error.with_help(format!("did you mean `{close}`?")),
        None => error,
    }
}

/// E0102.
pub(crate) fn defined_twice(name: &Ident, first: Span) -> Diagnostic {
    let message = format!("`{}` is defined twice", name.node);
    Diagnostic::error(Code::E0102, name.span, message, "defined again here")
        .with_label(first, "first defined here")
        .with_help("rename one of them; an import can be renamed with `as`")
}

fn missing_import(name: &Ident, path: &str, known: &[&str]) -> Diagnostic {
    let message = format!("\"{path}\" defines no `{}`", name.node);
    let error = Diagnostic::error(Code::E0104, name.span, message, "not defined there");
    match (nearest(&name.node, known.iter().copied()), known.is_empty()) {
        (Some(close), _) => error.with_help(format!("did you mean `{close}`?")),
        (None, true) => error.with_help("that file defines nothing"),
        (None, false) => error.with_help(format!("it defines {}", known.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let names = ["softmax", "sigmoid", "scale"];
        assert_eq!(nearest("sofmax", names), Some("softmax"));
        assert_eq!(nearest("scael", names), None);
        assert_eq!(nearest("scal", names), Some("scale"));
        assert_eq!(nearest("softmax", names), None);
        assert_eq!(nearest("q", names), None);
        assert_eq!(nearest("q", ["k", "v", "qs"]), None, "any letter is a letter away from any other");
        assert_eq!(nearest("n", ["k", "N"]), Some("N"));
    }
}
