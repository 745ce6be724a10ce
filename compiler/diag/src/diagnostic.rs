//! A diagnostic as data: code, message, labelled spans, and a way out. How it looks is `render.rs`'s business.

use crate::{Code, Span};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something legal that is probably not meant.
    Warning,
    /// The program is refused.
    Error,
}

/// A span with words beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What is to be seen there.
    pub text: String,
}

/// One thing to say about a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// Which entry of the error table.
    pub code: Code,
    /// Warning or error.
    pub severity: Severity,
    /// One sentence in the user's own names, no full stop.
    pub message: String,
    /// Where the trouble is.
    pub primary: Label,
    /// Where its causes are: "this dimension came from here".
    pub secondary: Vec<Label>,
    /// A way out, if one is known.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at `span`; `label` is what the underlined text is.
    pub fn error(code: Code, span: Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            primary: Label { span, text: label.into() },
            secondary: Vec::new(),
            help: None,
        }
    }

    /// A warning at `span`.
    pub fn warning(code: Code, span: Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message, label) }
    }

    /// Adds a place that explains the trouble.
    #[must_use]
    pub fn with_label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.secondary.push(Label { span, text: text.into() });
        self
    }

    /// Adds a way out.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// All that was said, in the order it was found; an identical diagnostic is kept once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Says one more thing.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if !self.list.contains(&diagnostic) {
            self.list.push(diagnostic);
        }
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: Diagnostics) {
        other.list.into_iter().for_each(|d| self.push(d));
    }

    /// Whether the program is refused.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How much was said.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// What was said.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// Orders by file and position, for output.
    pub fn sort(&mut self) {
        self.list.sort_by_key(|d| (d.primary.span, d.code));
    }
}
