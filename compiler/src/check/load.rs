//! Parses a file and all that it imports. Files are read by the caller's loader, never here.

use std::collections::BTreeMap;

use pantile_diag::{Code, Diagnostic, Diagnostics, FileId, SourceMap};
use pantile_grammar::parse;
use pantile_syntax::ast::{Item, UseItem};

use super::program::{PRELUDE, Program};

/// Gives the text at a path, or why there is none.
pub(crate) type Loader<'l> = &'l mut dyn FnMut(&str) -> Result<String, String>;

/// A program under way: what has been parsed, and which path is which file.
struct Loading<'l> {
    program: Program,
    sources: SourceMap,
    diags: Diagnostics,
    paths: BTreeMap<String, FileId>,
    loader: Loader<'l>,
}

/// Parses `text`, the prelude, and all that they import. The first file of the program is `text`.
pub(crate) fn load(name: &str, text: &str, loader: Loader<'_>) -> (Program, SourceMap, Diagnostics) {
    let mut cx = Loading {
        program: Program::default(),
        sources: SourceMap::default(),
        diags: Diagnostics::default(),
        paths: BTreeMap::new(),
        loader,
    };
    let root = cx.add(name, text);
    cx.paths.insert(normalise(name), root);
    let prelude = cx.add("prelude.tile", PRELUDE);
    cx.program.set_prelude(prelude);
    cx.imports(root);
    (cx.program, cx.sources, cx.diags)
}

impl Loading<'_> {
    fn add(&mut self, name: &str, text: &str) -> FileId {
        let file = self.sources.add(name, text);
        let (ast, diags) = parse(file, text);
        self.diags.extend(diags);
        self.program.add(file, ast, &mut self.diags);
        file
    }

    /// Follows `use` items from one file to the next. A file is parsed once, so cycles end.
    fn imports(&mut self, root: FileId) {
        let mut pending = vec![root];
        while let Some(file) = pending.pop() {
            for it in self.uses(file) {
                let path = resolve(self.sources.name(file), &it.path.node);
                let from = match self.paths.get(&path) {
                    Some(known) => *known,
                    None => match (self.loader)(&path) {
                        Ok(text) => {
                            let from = self.add(&path, &text);
                            self.paths.insert(path, from);
                            pending.push(from);
                            from
                        }
                        Err(why) => {
                            let message = format!("cannot import \"{}\": {why}", it.path.node);
                            let error = Diagnostic::error(Code::E0104, it.path.span, message, "imported here");
                            self.diags.push(error.with_help(format!("the path looked for is {path}")));
                            continue;
                        }
                    },
                };
                self.program.import(file, &it, from, &mut self.diags);
            }
        }
    }

    fn uses(&self, file: FileId) -> Vec<UseItem> {
        let items = self.program.files().filter(|(f, _)| *f == file).flat_map(|(_, ast)| &ast.items);
        items
            .filter_map(|item| match item {
                Item::Use(it) => Some(it.clone()),
                Item::Const(_) | Item::Fn(_) | Item::Order(_) | Item::Kernel(_) | Item::Pipeline(_) | Item::Tune(_) => {
                    None
                }
            })
            .collect()
    }
}

/// `path` as seen from the file `from`.
fn resolve(from: &str, path: &str) -> String {
    let absolute = path.starts_with('/');
    match from.rsplit_once('/') {
        Some((folder, _)) if !absolute => normalise(&format!("{folder}/{path}")),
        Some(_) | None => normalise(path),
    }
}

/// Without `.` and, where that can be told, without `..`.
fn normalise(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match (part, parts.last()) {
            (".", _) => {}
            ("", Some(_)) => {}
            ("..", Some(last)) if !matches!(*last, ".." | "") => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn paths_are_relative_to_the_importing_file() {
        let cases = [
            ("a.tile", "b.tile", "b.tile"),
            ("kernels/a.tile", "b.tile", "kernels/b.tile"),
            ("kernels/a.tile", "../b.tile", "b.tile"),
            ("kernels/a.tile", "./x/../b.tile", "kernels/b.tile"),
            ("/abs/a.tile", "b.tile", "/abs/b.tile"),
            ("kernels/a.tile", "/abs/b.tile", "/abs/b.tile"),
            ("../a.tile", "../b.tile", "../../b.tile"),
        ];
        for (from, path, want) in cases {
            assert_eq!(resolve(from, path), want, "{path} from {from}");
        }
    }
}
