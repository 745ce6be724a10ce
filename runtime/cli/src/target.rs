//! Places that a command is asked to write to. That nothing can be written there is said before any work; the writing itself
//! is the runtime's.

use std::path::Path;

use pantile::{Error, can_write};

use crate::failure::{Failure, Outcome, input};

/// A file to be written, and the option that names it.
pub(crate) struct Target<'a> {
    option: &'a str,
    path: &'a Path,
}

impl<'a> Target<'a> {
    pub(crate) fn new(option: &'a str, path: &'a Path) -> Self {
        Self { option, path }
    }

    /// Refuses what cannot be written, and one of the files that the command reads.
    pub(crate) fn check<'b>(&self, read: impl IntoIterator<Item = &'b Path>) -> Outcome {
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            return input(format!("`--{}`: there is no folder {}", self.option, folder.display()));
        }
        let same = |other: &Path| match (self.path.canonicalize(), other.canonicalize()) {
            (Ok(a), Ok(b)) => a == b && a.is_file(),
            (Err(_), _) | (_, Err(_)) => false,
        };
        if read.into_iter().any(same) {
            let path = self.path.display();
            return input(format!("`--{}`: {path} is read by this command; name another file", self.option));
        }
        self.written(can_write(self.path))
    }

    /// An error of writing, with the option's name.
    pub(crate) fn written(&self, outcome: Result<(), Error>) -> Outcome {
        outcome.map_err(|e| Failure::Input(format!("`--{}`: {e}", self.option)))
    }
}

/// Refuses a folder that is none, that cannot be made, or that cannot be written to.
pub(crate) fn check_folder(option: &str, dir: &Path) -> Outcome {
    let there = dir.ancestors().find(|p| p.exists()).unwrap_or(Path::new("."));
    if !there.is_dir() {
        return input(format!("`--{option}`: {} is not a folder", there.display()));
    }
    // Of a folder that is not there yet, the first one to be made stands for it.
    let made = dir.strip_prefix(there).ok().and_then(|rest| rest.components().next());
    let name = made.map_or(Path::new("index.html"), |first| Path::new(first.as_os_str()));
    Target::new(option, &there.join(name)).check([])
}
