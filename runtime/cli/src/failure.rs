//! How the command ends: which exit code means what. What is said on the way is each subcommand's business.

use std::process::ExitCode;

use crate::screen;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Source has errors, which have been shown: exit code 1.
    Source(String),
    /// A file, an option or an argument is wrong: exit code 2.
    Input(String),
    /// A kernel could not be compiled or stopped: exit code 3.
    Kernel(String),
}

/// What a subcommand returns.
pub(crate) type Outcome = Result<(), Failure>;

/// For `--help`.
pub(crate) const EXIT_CODES: &str =
    "Exit codes: 0 done; 1 the source has errors; 2 bad input or usage; 3 a kernel could not be compiled or stopped.";

impl Failure {
    /// Says what is wrong and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let (text, code) = match self {
            Failure::Source(text) => {
                screen::complain(text.trim_end());
                return ExitCode::from(1);
            }
            Failure::Input(text) => (text, 2),
            Failure::Kernel(text) => (text, 3),
        };
        screen::complain(&format!("{} {text}", screen::paint_error("error:")));
        ExitCode::from(code)
    }
}

impl From<pantile::Error> for Failure {
    fn from(error: pantile::Error) -> Self {
        if let pantile::Error::Source(source) = &error {
            return Failure::Source(source.render(screen::error_colors()));
        }
        let kernel = matches!(error, pantile::Error::Limit { .. } | pantile::Error::Fault { .. });
        if kernel { Failure::Kernel(error.to_string()) } else { Failure::Input(error.to_string()) }
    }
}

/// A wrong option or argument.
pub(crate) fn input<T>(message: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Input(message.into()))
}
