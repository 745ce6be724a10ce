//! The report of `pantile rainfusion --report`: a page with the numbers, a picture of each head's mask, and charts of the
//! quality. It measures nothing.

use std::fmt::Write;
use std::path::Path;

use pantile::{io_words, write_whole};
use pantile_kernels::RainFusion;

use crate::canvas::Canvas;
use crate::chart::{Chart, Line};
use crate::failure::{Failure, Outcome};
use crate::picture::{LEGEND, Picture};
use crate::rainfusion::{Measured, Point, Quality};

/// A file of the report.
struct File {
    name: String,
    bytes: Vec<u8>,
}

/// Writes `index.html`, one PNG a head and one for each chart into `dir`, which is made if it is not there.
pub(crate) fn write(
    dir: &Path,
    config: &RainFusion,
    measured: &Measured,
    lines: &[String],
    quality: Option<&Quality>,
) -> Outcome {
    let failed = |e: &dyn std::fmt::Display| Failure::Input(format!("`--report`: {e}"));
    let mut files = Vec::new();
    let masks = masks(config, measured, &mut files)?;
    let charts = match quality {
        Some(quality) => charts(quality, &mut files)?,
        None => String::new(),
    };
    let page = page(lines, &charts, &masks).map_err(|e| failed(&e))?;
    files.push(File { name: "index.html".into(), bytes: page.into_bytes() });
    std::fs::create_dir_all(dir)
        .map_err(|e| failed(&format!("{}: cannot be made: {}", dir.display(), io_words(&e))))?;
    files.iter().try_for_each(|file| write_whole(&dir.join(&file.name), &file.bytes).map_err(|e| failed(&e)))
}

/// A picture a head, and what the page says of them.
fn masks(config: &RainFusion, measured: &Measured, files: &mut Vec<File>) -> Result<String, Failure> {
    let output = &measured.output;
    let row_blocks = config.protection(&output.order.to_vec::<i32>()?);
    let column_blocks = config.key_protection(&output.key_order.to_vec::<i32>()?);
    let keep = output.mask.to_bools();
    let mut figures = String::new();
    let &[batches, heads, rows, columns] = output.mask.shape() else { return Ok(figures) };
    for batch in 0..batches {
        for head in 0..heads {
            let at = batch * heads + head;
            let keep = &keep[at * rows * columns..(at + 1) * rows * columns];
            let kept = 100.0 * keep.iter().filter(|k| **k).count() as f64 / keep.len().max(1) as f64;
            let title = format!("batch {batch}, head {head}: {kept:.1} % of {rows} x {columns} blocks kept");
            let picture = Picture { title: &title, keep, rows: &row_blocks, columns: &column_blocks };
            figures += &figure(format!("mask_b{batch}_h{head}.png"), &title, &picture.draw(), files)?;
        }
    }
    Ok(figures)
}

/// A picture's file, and the page's mention of it.
fn figure(name: String, title: &str, canvas: &Canvas, files: &mut Vec<File>) -> Result<String, Failure> {
    let bytes = canvas.encode().map_err(|e| Failure::Input(format!("`--report`: {name}: {e}")))?;
    let mention = format!("<figure><img src=\"{name}\" alt=\"{title}\"></figure>\n");
    files.push(File { name, bytes });
    Ok(mention)
}

/// Charts and tables of the quality.
fn charts(quality: &Quality, files: &mut Vec<File>) -> Result<String, Failure> {
    let mut html = String::from(
        "<h2>Quality against dense attention</h2>\n<p>Each line is an order, each of its points a sparsity. Kept is the \
         measured part of all block pairs, so orders compare fairly at equal kept, not at equal sparsity.</p>\n",
    );
    for (sink, title, points) in quality.parts() {
        let lines = lines(&points);
        let full = format!("error against dense attention, {title}");
        let chart = Chart {
            title: &full,
            x_name: "kept block pairs, %",
            y_name: "relative L2 error, log scale",
            lines: &lines,
        };
        let name = format!("quality_sink_{}.png", if sink { "on" } else { "off" });
        html += &format!("<h3>{}</h3>\n", escape(title));
        html += &figure(name, &full, &chart.draw(), files)?;
        html += &table(&points);
    }
    Ok(html)
}

/// A line for each order.
fn lines(points: &[&Point]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for p in points {
        let at = (100.0 * p.kept, p.comparison.rms);
        match lines.iter_mut().find(|line| line.name == p.order) {
            Some(line) => line.points.push(at),
            None => lines.push(Line { name: p.order.clone(), points: vec![at] }),
        }
    }
    lines
}

fn table(points: &[&Point]) -> String {
    let row = |cell: &str, cells: &[String]| {
        let cells: String = cells.iter().map(|c| format!("<{cell}>{}</{cell}>", escape(c))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let head = row("th", &Quality::HEAD.map(str::to_owned));
    let rows: String = points.iter().map(|p| row("td", &p.cells())).collect();
    format!("<table>\n{head}{rows}</table>\n")
}

fn page(lines: &[String], charts: &str, masks: &str) -> Result<String, std::fmt::Error> {
    let mut page = String::from(HEAD);
    for line in lines {
        writeln!(page, "{}", escape(&plain(line)))?;
    }
    write!(page, "</pre>\n{charts}<h2>Masks</h2>\n<p>Rows are query blocks, columns key blocks, both along the walk:")?;
    for ([r, g, b], what) in LEGEND {
        write!(page, " <span class=\"key\" style=\"background: rgb({r}, {g}, {b})\"></span> {what}")?;
    }
    write!(page, "</p>\n{masks}</body>\n</html>\n")?;
    Ok(page)
}

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<title>RainFusion2.0</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 90rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
figure { display: inline-block; margin: 0 1.5rem 1.5rem 0; }
img { border: 1px solid #ccc; max-width: 100%; }
table { border-collapse: collapse; margin-bottom: 1.5rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.15rem 0.8rem; text-align: right; border-bottom: 1px solid #e4e6ea; }
th:first-child, td:first-child { text-align: left; }
.key { display: inline-block; width: 0.9em; height: 0.9em; margin-left: 0.8em; border: 1px solid #999; }
</style>
</head>
<body>
<h1>RainFusion2.0</h1>
<pre>
";

/// Without the escape sequences of a terminal.
fn plain(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\x1b') {
        out += before;
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    out + rest
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::{escape, plain};

    #[test]
    fn text_is_made_safe_for_html() {
        assert_eq!(escape(&plain("\x1b[1ma\x1b[0m < b")), "a &lt; b");
    }
}
