//! Places that a command is asked to write to. That nothing can be written there is said before any work; the writing itself
//! is the runtime's.

use std::path::Path;

use pantile::{Error, can_write};

use crate::failure::{Failure, Outcome, input};

/// A file to be written, and the argument that names it.
pub(crate) struct Target<'a> {
    argument: &'a str,
    path: &'a Path,
}

impl<'a> Target<'a> {
    pub(crate) fn new(argument: &'a str, path: &'a Path) -> Self {
        Self { argument, path }
    }

    /// Refuses what cannot be written, and one of the files that the command reads.
    pub(crate) fn check<'b>(&self, read: impl IntoIterator<Item = &'b Path>) -> Outcome {
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            return input(format!("argument `{}`: there is no folder {}", self.argument, folder.display()));
        }
        let same = |other: &Path| match (self.path.canonicalize(), other.canonicalize()) {
            (Ok(a), Ok(b)) => a == b && a.is_file(),
            (Err(_), _) | (_, Err(_)) => false,
        };
        if read.into_iter().any(same) {
            let path = self.path.display();
            return input(format!("argument `{}`: {path} is read by this command; name another file", self.argument));
        }
        self.written(can_write(self.path))
    }

    /// An error of writing, with the argument's name.
    pub(crate) fn written(&self, outcome: Result<(), Error>) -> Outcome {
        outcome.map_err(|e| Failure::Input(format!("argument `{}`: {e}", self.argument)))
    }
}

/// Refuses a folder that is none, that cannot be made, or that cannot be written to.
pub(crate) fn check_folder(argument: &str, dir: &Path) -> Outcome {
    let there = dir.ancestors().find(|p| p.exists()).unwrap_or(Path::new("."));
    if !there.is_dir() {
        return input(format!("argument `{argument}`: {} is not a folder", there.display()));
    }
    // Of a folder that is not there yet, the first one to be made stands for it.
    let made = dir.strip_prefix(there).ok().and_then(|rest| rest.components().next());
    let name = made.map_or(Path::new("index.html"), |first| Path::new(first.as_os_str()));
    Target::new(argument, &there.join(name)).check([])
}
