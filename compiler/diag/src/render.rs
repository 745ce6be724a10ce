//! Diagnostics as text, for people and for programs. The only file that names ariadne; it decides how things look, never
//! what is said.

use ariadne::{Color, Config, IndexType, Label, Report, ReportKind, Source};

use crate::{Diagnostic, Diagnostics, FileId, Severity, SourceMap, Span};

/// The full form, with the source and its labels. Diagnostics are separated by an empty line.
pub fn render(diagnostics: &Diagnostics, sources: &SourceMap, color: bool) -> String {
    let mut cache = Cache::new(sources);
    diagnostics.iter().map(|d| full(d, sources, &mut cache, color)).collect::<Vec<_>>().join("\n")
}

/// One line a diagnostic: `file:line:col: error[E0101]: message`.
pub fn render_short(diagnostics: &Diagnostics, sources: &SourceMap) -> String {
    diagnostics.iter().map(|d| short(d, sources)).collect()
}

/// One JSON object a line: `code`, `severity`, `message`, `file`, `line`, `column`, `end_line`, `end_column` (one-based,
/// columns in characters, the end exclusive), `label`, `labels` (of other places, each with the same position fields
/// and `text`), `help` (a string or null).
pub fn render_json(diagnostics: &Diagnostics, sources: &SourceMap) -> String {
    diagnostics.iter().map(|d| json(d, sources)).collect()
}

fn severity(diagnostic: &Diagnostic) -> &'static str {
    match diagnostic.severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// How a diagnostic starts in the forms for people: `error[E0101]`.
fn head(diagnostic: &Diagnostic) -> String {
    format!("{}[{}]", severity(diagnostic), diagnostic.code)
}

fn short(d: &Diagnostic, sources: &SourceMap) -> String {
    let at = Place::of(d.primary.span, sources);
    format!("{}:{}:{}: {}: {}\n", at.file, at.start.0, at.start.1, head(d), d.message)
}

// --- The full form

/// A file and a range of bytes or characters of it.
type Id = (FileId, std::ops::Range<usize>);

/// Each file's text, split into lines once.
struct Cache<'a> {
    sources: &'a SourceMap,
    files: Vec<Source>,
    nowhere: Source,
}

impl<'a> Cache<'a> {
    fn new(sources: &'a SourceMap) -> Self {
        let files = sources.files().map(|file| Source::from(drawable(sources.text(file)))).collect();
        Self { sources, files, nowhere: Source::from(String::new()) }
    }
}

/// The text with nothing in it that moves a cursor or that ariadne takes for a line's end, byte for byte as long: a line
/// ends at `\n` alone, as in [`SourceMap::line_col`].
fn drawable(text: &str) -> String {
    let plain = |c: char| match (c, c.len_utf8()) {
        ('\n' | '\t', _) => c,
        _ if !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}') => c,
        (_, 1) => ' ',
        (_, 2) => '·',
        _ => '\u{fffd}',
    };
    text.chars().map(plain).collect()
}

impl ariadne::Cache<FileId> for &mut Cache<'_> {
    type Storage = String;

    fn fetch(&mut self, id: &FileId) -> Result<&Source, impl std::fmt::Debug> {
        Ok::<_, std::convert::Infallible>(self.files.get(id.0 as usize).unwrap_or(&self.nowhere))
    }

    fn display<'b>(&self, id: &'b FileId) -> Option<impl std::fmt::Display + 'b> {
        Some(name(*id, self.sources).to_string())
    }
}

/// Lines longer than this are not drawn.
const MAX_LINE: usize = 1_000;

fn full(d: &Diagnostic, sources: &SourceMap, cache: &mut Cache, color: bool) -> String {
    let spans = std::iter::once(d.primary.span).chain(d.secondary.iter().map(|l| l.span));
    if spans.map(|span| line_length(span, sources)).any(|length| length > MAX_LINE) {
        let help = d.help.iter().map(|help| format!("  help: {}\n", clean(help)));
        return std::iter::once(short(d, sources)).chain(help).collect();
    }
    let paint = if d.severity == Severity::Error { Color::Red } else { Color::Yellow };
    // Bytes would do, but ariadne takes characters for bytes where a label stands in another file.
    let config = Config::default().with_color(color).with_index_type(IndexType::Char);
    let mut labels: Vec<(Span, &str, Color)> = vec![(d.primary.span, &d.primary.text, paint)];
    labels.extend(d.secondary.iter().map(|l| (l.span, l.text.as_str(), Color::Blue)));
    // Labels of one file that go upwards would be drawn as several pieces of it.
    labels.sort_by_key(|(span, ..)| (span.file != d.primary.span.file, *span));
    let (kind, drawn) = match d.severity {
        Severity::Warning => (ReportKind::Warning, "Warning"),
        Severity::Error => (ReportKind::Error, "Error"),
    };
    let mut report = Report::build(kind, characters(d.primary.span, sources))
        .with_config(config)
        .with_code(d.code)
        .with_message(clean(&d.message));
    for (span, text, color) in labels {
        let label = Label::new(characters(span, sources)).with_message(clean(text)).with_color(color);
        report = report.with_label(label);
    }
    if let Some(help) = &d.help {
        report = report.with_help(clean(help));
    }
    let mut out = Vec::new();
    match report.finish().write(cache, &mut out) {
        // Ariadne heads a report with `[E0101] Error`.
        Ok(()) => String::from_utf8_lossy(&out).replacen(&format!("[{}] {drawn}", d.code), &head(d), 1),
        Err(_) => short(d, sources),
    }
}

/// The bytes of the lines that a span touches.
fn line_length(span: Span, sources: &SourceMap) -> usize {
    let (file, range) = clamp(span, sources);
    let text = text(file, sources);
    let start = text[..range.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[range.end..].find('\n').map_or(text.len(), |at| range.end + at);
    text[start..end].split('\n').map(str::len).max().unwrap_or(0)
}

/// Messages quote the user's text; what would move the cursor is shown escaped.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// A range of the file in characters.
fn characters(span: Span, sources: &SourceMap) -> Id {
    let (file, bytes) = clamp(span, sources);
    let text = text(file, sources);
    let start = text[..bytes.start].chars().count();
    (file, start..start + text[bytes].chars().count())
}

/// A range of the file in bytes, on character boundaries; an empty one becomes the character at or before it, to be seen.
fn clamp(span: Span, sources: &SourceMap) -> Id {
    let text = text(span.file, sources);
    let floor = |at: usize| (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let start = floor(span.start as usize);
    let end = floor(span.end as usize).max(start);
    let next = text[end..].chars().next();
    let range = match next {
        _ if start < end => start..end,
        Some(c) if c != '\n' && c != '\r' => start..end + c.len_utf8(),
        Some(_) | None => text[..start].chars().next_back().map_or(start, |c| start - c.len_utf8())..start,
    };
    (span.file, range)
}

fn text(file: FileId, sources: &SourceMap) -> &str {
    sources.files().find(|f| *f == file).map_or("", |f| sources.text(f))
}

fn name(file: FileId, sources: &SourceMap) -> &str {
    sources.files().find(|f| *f == file).map_or("<unknown>", |f| sources.name(f))
}

// --- The machine's form

/// A span as lines and columns.
struct Place<'a> {
    file: &'a str,
    start: (usize, usize),
    end: (usize, usize),
}

impl<'a> Place<'a> {
    fn of(span: Span, sources: &'a SourceMap) -> Self {
        let known = sources.files().any(|f| f == span.file);
        let line_col = |at: u32| if known { sources.line_col(Span { start: at, ..span }) } else { (1, 1) };
        Self { file: name(span.file, sources), start: line_col(span.start), end: line_col(span.end.max(span.start)) }
    }

    fn json(&self) -> String {
        let (line, column) = self.start;
        let (end_line, end_column) = self.end;
        format!(
            "\"file\":{},\"line\":{line},\"column\":{column},\"end_line\":{end_line},\"end_column\":{end_column}",
            quote(self.file)
        )
    }
}

fn json(d: &Diagnostic, sources: &SourceMap) -> String {
    let labels: Vec<String> = d
        .secondary
        .iter()
        .map(|l| format!("{{{},\"text\":{}}}", Place::of(l.span, sources).json(), quote(&l.text)))
        .collect();
    format!(
        "{{\"code\":\"{}\",\"severity\":\"{}\",\"message\":{},{},\"label\":{},\"labels\":[{}],\"help\":{}}}\n",
        d.code,
        severity(d),
        quote(&d.message),
        Place::of(d.primary.span, sources).json(),
        quote(&d.primary.text),
        labels.join(","),
        d.help.as_deref().map_or("null".into(), quote)
    )
}

/// A JSON string.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                out.push_str(&format!("\\u{:04x}", c as u32))
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
