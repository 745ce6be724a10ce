//! `pantile check`: all that the compiler has to say about source files. Nothing is run.

use std::path::PathBuf;

use pantile::{Module, SourceError};
use pantile_diag::{Label, Severity, SourceMap, render_short};
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
use crate::screen;

/// Checks source files and says all there is to say about them.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  pantile check kernels/*.tile\n  pantile check --format json my.tile\n\nExit code 1 if a file has errors."
)]
pub(crate) struct Options {
    /// The files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// How to say it.
    #[arg(long, value_enum, default_value = "full")]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Format {
    /// With source lines and labels.
    Full,
    /// One line each.
    Short,
    /// For programs: a list of objects.
    Json,
}

pub(crate) fn run(options: &Options) -> Outcome {
    let (mut errors, mut objects) = (0, Vec::new());
    for file in &options.files {
        let said = Module::check_file(file)?.said;
        errors += said.diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
        match options.format {
            Format::Full => show(&said.render(screen::colors())),
            Format::Short => show(&render_short(&said.diagnostics, &said.sources)),
            Format::Json => objects.extend(as_json(&said)),
        }
    }
    if options.format == Format::Json {
        screen::line(&Value::Array(objects).to_string());
    }
    match (errors, options.files.len()) {
        (0, 1) if options.format != Format::Json => screen::line("no errors"),
        (0, n) if options.format != Format::Json => screen::line(&format!("no errors in {n} files")),
        (0, _) => {}
        (1, _) => return Err(Failure::Source("1 error".into())),
        (n, _) => return Err(Failure::Source(format!("{n} errors"))),
    }
    Ok(())
}

fn show(text: &str) {
    if !text.trim().is_empty() {
        screen::line(text.trim_end());
    }
}

fn as_json(said: &SourceError) -> Vec<Value> {
    let place = |label: &Label| place(label, &said.sources);
    let one = |d: &pantile_diag::Diagnostic| {
        json!({
            "code": d.code.to_string(),
            "severity": match d.severity { Severity::Error => "error", Severity::Warning => "warning" },
            "message": d.message,
            "primary": place(&d.primary),
            "secondary": d.secondary.iter().map(place).collect::<Vec<_>>(),
            "help": d.help,
        })
    };
    said.diagnostics.iter().map(one).collect()
}

fn place(label: &Label, sources: &SourceMap) -> Value {
    let (line, column) = sources.line_col(label.span);
    json!({
        "file": sources.name(label.span.file),
        "line": line,
        "column": column,
        "start": label.span.start,
        "end": label.span.end,
        "text": label.text,
    })
}
