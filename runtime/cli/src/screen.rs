//! What the terminal shows: lines, tables, colours, progress. Colours and bars only on a terminal.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use pantile::{Device, Progress};

/// A line on standard output. A reader that has gone away is no error.
pub(crate) fn line(text: &str) {
    drop(writeln!(stdout().lock(), "{text}"));
}

/// A line on standard error.
pub(crate) fn complain(text: &str) {
    drop(writeln!(stderr().lock(), "{text}"));
}

fn wants_color() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Whether standard output takes colours.
pub(crate) fn colors() -> bool {
    stdout().is_terminal() && wants_color()
}

/// Whether standard error takes colours.
pub(crate) fn error_colors() -> bool {
    stderr().is_terminal() && wants_color()
}

/// Bold, on standard output.
pub(crate) fn bold(text: &str) -> String {
    if colors() { format!("\x1b[1m{text}\x1b[0m") } else { text.into() }
}

/// Red and bold, on standard error.
pub(crate) fn paint_error(text: &str) -> String {
    if error_colors() { format!("\x1b[1;31m{text}\x1b[0m") } else { text.into() }
}

/// A warning on standard error.
pub(crate) fn warn(text: &str) {
    let head = if error_colors() { "\x1b[1;33mwarning:\x1b[0m" } else { "warning:" };
    complain(&format!("{head} {text}"));
}

/// Rows of a table: the second column, numbers, to the right, all others to the left.
pub(crate) fn table(rows: &[Vec<String>]) -> Vec<String> {
    aligned(rows, |column| column == 1)
}

/// Rows of a table of numbers: the first column, names, to the left, all others to the right.
pub(crate) fn numbers(rows: &[Vec<String>]) -> Vec<String> {
    aligned(rows, |column| column > 0)
}

fn aligned(rows: &[Vec<String>], right: impl Fn(usize) -> bool) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let cell = |(c, text): (usize, &String)| {
        let pad = " ".repeat(widths[c] - text.chars().count());
        if right(c) { format!("{pad}{text}") } else { format!("{text}{pad}") }
    };
    rows.iter()
        .map(|row| row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned())
        .collect()
}

/// The first word bold.
pub(crate) fn bold_first(text: &str) -> String {
    match text.split_once(' ') {
        Some((first, rest)) => format!("{} {rest}", bold(first)),
        None => bold(text),
    }
}

/// A duration in three or four digits.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds >= 1.0 {
        format!("{seconds:.2} s")
    } else if seconds >= 1e-3 {
        format!("{:.2} ms", seconds * 1e3)
    } else {
        format!("{:.1} µs", seconds * 1e6)
    }
}

/// A device that shows a bar on a terminal while it works, and the bar, to be cleared.
pub(crate) fn with_bar(device: &Device) -> (Device, ProgressBar) {
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{msg:24!} {bar:40} {percent:>3} % {elapsed_precise}") {
        bar.set_style(style);
    }
    let shown = bar.clone();
    let hook = move |p: Progress<'_>| {
        if shown.length() != Some(p.total) || shown.message() != p.kernel {
            shown.set_length(p.total);
            shown.set_message(p.kernel.to_owned());
        }
        shown.set_position(p.done);
    };
    // Without a terminal nobody looks, and the launches need not tell.
    let device = if stderr().is_terminal() { device.clone().with_progress(Arc::new(hook)) } else { device.clone() };
    (device, bar)
}

#[cfg(test)]
mod tests {
    use super::{numbers, table, time};
    use std::time::Duration;

    #[test]
    fn tables_line_up() {
        let rows = [vec!["a".to_owned(), "10 µs".to_owned()], vec!["long".to_owned(), "1 ms".to_owned()]];
        assert_eq!(table(&rows), ["a     10 µs", "long   1 ms"]);
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        assert_eq!(numbers(&[row(["a", "10", "2"]), row(["b", "1", "20"])]), ["a  10   2", "b   1  20"]);
    }

    #[test]
    fn times_have_units() {
        assert_eq!(time(Duration::from_micros(15)), "15.0 µs");
        assert_eq!(time(Duration::from_millis(250)), "250.00 ms");
        assert_eq!(time(Duration::from_secs(3)), "3.00 s");
    }
}
