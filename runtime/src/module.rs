//! A module of Pantile source on the host: read from a file or given as text, parsed and checked once. The only place
//! where source files are read.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use pantile_compiler::{Bindings, Signature};
use pantile_diag::SourceMap;
use pantile_ir::Order;

use crate::kernel::Kernel;
use crate::pipeline::Pipeline;
use crate::{Error, Result, SourceError, io_words};

/// A checked module and its text.
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) module: pantile_compiler::Module,
    pub(crate) sources: SourceMap,
}

/// A module: kernels, pipelines and orders of one source file and its imports.
#[derive(Clone)]
pub struct Module {
    loaded: Arc<Loaded>,
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("name", &self.loaded.name).finish_non_exhaustive()
    }
}

/// What a source file turned out to be: perhaps a module, and all that is to be said about it.
#[derive(Debug)]
pub struct Checked {
    /// There is one if there are no errors.
    pub module: Option<Module>,
    /// Errors and warnings, with their text.
    pub said: SourceError,
}

impl Module {
    /// Reads, parses and checks a file; imports are read from beside it.
    ///
    /// # Errors
    /// If it cannot be read or has errors.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        Self::check_file(path)?.into_module()
    }

    /// Parses and checks text; imports are read as from a file `name`.
    ///
    /// # Errors
    /// If it has errors.
    pub fn from_text(name: &str, text: &str) -> Result<Self> {
        Self::check_text(name, text, &mut read).into_module()
    }

    /// As [`Module::from_text`], where imports are looked up among `files`: pairs of path and text.
    ///
    /// # Errors
    /// If it has errors.
    pub fn from_texts(name: &str, text: &str, files: &[(&str, &str)]) -> Result<Self> {
        let mut find = |path: &str| {
            let found = files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned());
            found.ok_or_else(|| "there is no such file".to_owned())
        };
        Self::check_text(name, text, &mut find).into_module()
    }

    /// Reads a file and says all there is to say about it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn check_file(path: impl AsRef<Path>) -> Result<Checked> {
        let path = path.as_ref();
        let text = read_text(path).map_err(|why| Error::file(path, why))?;
        Ok(Self::check_text(&path.to_string_lossy(), &text, &mut read))
    }

    fn check_text(
        name: &str,
        text: &str,
        loader: &mut dyn FnMut(&str) -> std::result::Result<String, String>,
    ) -> Checked {
        let loaded = pantile_compiler::Module::load(name, text, loader);
        let said = SourceError { diagnostics: loaded.diagnostics, sources: loaded.sources.clone() };
        let sources = loaded.sources;
        let module =
            loaded.module.map(|module| Module { loaded: Arc::new(Loaded { name: name.to_owned(), module, sources }) });
        Checked { module, said }
    }

    /// The compiler's view of it.
    pub fn compiled(&self) -> &pantile_compiler::Module {
        &self.loaded.module
    }

    /// Its text and that of its imports.
    pub fn sources(&self) -> &SourceMap {
        &self.loaded.sources
    }

    /// A kernel.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn kernel(&self, name: &str) -> Result<Kernel> {
        let signature = self.loaded.module.kernel(name);
        let signature = signature.ok_or_else(|| self.missing("kernel", name, self.loaded.module.kernels()))?;
        let (loaded, signature) = (self.loaded.clone(), Arc::new(signature.clone()));
        Ok(Kernel { loaded, signature, fixed: Bindings::default() })
    }

    /// A pipeline.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn pipeline(&self, name: &str) -> Result<Pipeline> {
        let signature = self.loaded.module.pipeline(name);
        let signature = signature.ok_or_else(|| self.missing("pipeline", name, self.loaded.module.pipelines()))?;
        let (loaded, signature) = (self.loaded.clone(), Arc::new(signature.clone()));
        Ok(Pipeline { loaded, signature, fixed: Bindings::default() })
    }

    /// The table of an order over `extent` elements: the element at each position, -1 where there is none. Arguments are
    /// given by name, a bool as 0 or 1.
    ///
    /// # Errors
    /// If there is no such order, its arguments do not fit, or it is not one-to-one.
    pub fn order(
        &self,
        name: &str,
        args: &BTreeMap<String, i64>,
        extent: i64,
        device: &crate::Device,
    ) -> Result<Arc<Vec<i32>>> {
        let Loaded { module, sources, .. } = &*self.loaded;
        let order = module.order(name, args, extent).map_err(|d| Error::source(d, sources))?;
        device.table(&order, sources)
    }

    /// The table of an order of a plan: the element at each position, -1 where there is none.
    ///
    /// # Errors
    /// If its kernel stops, or it is not one-to-one.
    pub fn table(&self, order: &Order, device: &crate::Device) -> Result<Arc<Vec<i32>>> {
        device.table(order, &self.loaded.sources)
    }

    fn missing(&self, kind: &'static str, name: &str, known: &[Signature]) -> Error {
        let known = known.iter().map(|s| s.name.clone()).collect();
        Error::NoSuchItem { kind, name: name.into(), module: self.loaded.name.clone(), known }
    }
}

impl Checked {
    /// The module.
    ///
    /// # Errors
    /// The errors, if there are any.
    pub fn into_module(self) -> Result<Module> {
        let said = self.said;
        self.module.ok_or_else(|| Error::Source(Box::new(said)))
    }
}

fn read(path: &str) -> std::result::Result<String, String> {
    read_text(Path::new(path))
}

fn read_text(path: &Path) -> std::result::Result<String, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("cannot be read: {}", io_words(&e)))?;
    String::from_utf8(bytes).map_err(|e| format!("is not UTF-8 text: {e}"))
}
