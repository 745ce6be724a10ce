//! What can go wrong between a caller and a device: one sentence each, naming the argument. Diagnostics of Pantile source
//! are the compiler's; they are carried here whole.

use std::path::PathBuf;

use pantile_diag::{Diagnostics, SourceMap, render, render_short};

/// The result of everything that can fail here.
pub type Result<T> = std::result::Result<T, Error>;

/// Source code that was refused, with the text that the diagnostics point into.
#[derive(Clone, Debug)]
pub struct SourceError {
    /// What was said.
    pub diagnostics: Diagnostics,
    /// The text.
    pub sources: SourceMap,
}

impl SourceError {
    /// The full form: source lines, labels, ways out.
    pub fn render(&self, color: bool) -> String {
        render(&self.diagnostics, &self.sources, color)
    }
}

impl std::fmt::Display for SourceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(render_short(&self.diagnostics, &self.sources).trim_end())
    }
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Pantile source has errors.
    #[error("{0}")]
    Source(Box<SourceError>),
    /// A module has no item of this name.
    #[error("no {kind} `{name}` in {module}{}", known_items(.known))]
    NoSuchItem {
        /// "kernel", "pipeline" or "order".
        kind: &'static str,
        /// What was asked for.
        name: String,
        /// Where.
        module: String,
        /// What there is.
        known: Vec<String>,
    },
    /// One argument does not fit.
    #[error("argument `{argument}` of `{item}`: {message}")]
    Argument {
        /// The kernel or pipeline.
        item: String,
        /// The argument.
        argument: String,
        /// What is wrong with it.
        message: String,
    },
    /// The arguments do not fit together, or their number is wrong.
    #[error("`{item}`: {message}")]
    Launch {
        /// The kernel or pipeline.
        item: String,
        /// What is wrong.
        message: String,
    },
    /// A tensor cannot be made or seen like that.
    #[error("{0}")]
    Tensor(String),
    /// A mask is not valid.
    #[error("mask: {0}")]
    Mask(String),
    /// Not enough memory.
    #[error("{what} needs {bytes} bytes, which the system does not have")]
    Memory {
        /// What it was for.
        what: String,
        /// How much it needs.
        bytes: usize,
    },
    /// Not enough memory on a GPU.
    #[error(
        "{what} needs {bytes} bytes, but {device} has {free} of its {total} bytes free; drop tensors that lie there, or use smaller ones"
    )]
    DeviceMemory {
        /// What it was for.
        what: String,
        /// How much it needs.
        bytes: usize,
        /// The GPU.
        device: String,
        /// Free bytes.
        free: usize,
        /// All bytes.
        total: usize,
    },
    /// There is no such device.
    #[error("{0}")]
    Device(String),
    /// A back end cannot compile a kernel at these sizes.
    #[error("`{kernel}` cannot be compiled for this device: {message}{}", at(.line))]
    Limit {
        /// The kernel.
        kernel: String,
        /// Why, with the numbers.
        message: String,
        /// `file:line` of the source.
        line: Option<String>,
    },
    /// A kernel stopped.
    #[error("`{kernel}` stopped{}: {message}{}", at_instance(.instance), at(.line))]
    Fault {
        /// The kernel.
        kernel: String,
        /// The program instance, one number a grid axis, if it is known.
        instance: Vec<i64>,
        /// Why.
        message: String,
        /// `file:line` of the source.
        line: Option<String>,
    },
    /// A walk order is not usable.
    #[error("order `{order}`: {message}")]
    Order {
        /// The order, with its arguments.
        order: String,
        /// What is wrong.
        message: String,
    },
    /// A file cannot be read or written, or does not hold what it should.
    #[error("{}: {message}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

/// What the system says of a file, as half a sentence and without its number.
pub fn io_words(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    #[allow(clippy::wildcard_enum_match_arm, reason = "the system has many more, and words for them")]
    let words = match error.kind() {
        ErrorKind::NotFound => "there is no such file",
        ErrorKind::PermissionDenied => "this user may not",
        ErrorKind::IsADirectory => "it is a folder",
        ErrorKind::NotADirectory => "its path leads through a file",
        ErrorKind::StorageFull => "the disk is full",
        ErrorKind::ReadOnlyFilesystem => "the disk is read-only",
        _ => {
            let text = error.to_string();
            return text.split(" (os error").next().unwrap_or_default().to_lowercase();
        }
    };
    words.into()
}

fn known_items(known: &[String]) -> String {
    if known.is_empty() { String::new() } else { format!("; it has {}", known.join(", ")) }
}

fn at(line: &Option<String>) -> String {
    line.as_ref().map_or(String::new(), |l| format!(" ({l})"))
}

fn at_instance(instance: &[i64]) -> String {
    if instance.is_empty() { String::new() } else { format!(" at program instance {instance:?}") }
}

impl From<pantile_ir::TableError> for Error {
    fn from(why: pantile_ir::TableError) -> Self {
        Error::Order { order: "table".into(), message: why.to_string() }
    }
}

impl Error {
    pub(crate) fn source(diagnostics: Diagnostics, sources: &SourceMap) -> Self {
        Error::Source(Box::new(SourceError { diagnostics, sources: sources.clone() }))
    }

    pub(crate) fn argument(item: &str, argument: &str, message: impl Into<String>) -> Self {
        Error::Argument { item: item.into(), argument: argument.into(), message: message.into() }
    }

    pub(crate) fn launch(item: &str, message: impl Into<String>) -> Self {
        Error::Launch { item: item.into(), message: message.into() }
    }

    /// Says what memory was wanted for, if that is what is lacking.
    pub(crate) fn about(mut self, purpose: &str) -> Self {
        if let Error::DeviceMemory { what, .. } = &mut self {
            what.clear();
            what.push_str(purpose);
        }
        self
    }

    pub(crate) fn file(path: &std::path::Path, message: impl Into<String>) -> Self {
        Error::File { path: path.to_path_buf(), message: message.into() }
    }
}
