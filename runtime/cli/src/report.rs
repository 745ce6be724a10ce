//! The report of `pantile rainfusion --report`: a page with the numbers and a picture of each head's mask. It measures
//! nothing.

use std::fmt::Write;
use std::path::Path;

use pantile::write_whole;
use pantile_kernels::RainFusion;

use crate::failure::{Failure, Outcome};
use crate::picture::{LEGEND, Picture};
use crate::rainfusion::Measured;

/// Writes `index.html` and one PNG a head into `dir`, which is made if it is not there.
pub(crate) fn write(dir: &Path, config: &RainFusion, measured: &Measured, lines: &[String]) -> Outcome {
    let failed = |e: &dyn std::fmt::Display| Failure::Input(format!("argument `report`: {e}"));
    std::fs::create_dir_all(dir).map_err(|e| failed(&format!("{}: cannot be made: {e}", dir.display())))?;
    let mask = &measured.output.mask;
    let order = measured.output.order.to_vec::<i32>()?;
    let blocks = config.protection(&order);
    let keep = mask.to_bools();
    let &[batches, heads, rows, columns] = mask.shape() else { return Ok(()) };
    let mut figures = String::new();
    for batch in 0..batches {
        for head in 0..heads {
            let at = batch * heads + head;
            let keep = &keep[at * rows * columns..(at + 1) * rows * columns];
            let kept = 100.0 * keep.iter().filter(|k| **k).count() as f64 / keep.len().max(1) as f64;
            let title = format!("batch {batch}, head {head}: {kept:.1} % of {rows} x {columns} blocks kept");
            let picture = Picture { title: &title, keep, rows: &blocks, columns: &blocks };
            let name = format!("mask_b{batch}_h{head}.png");
            let bytes = picture.draw().encode().map_err(|e| failed(&e))?;
            write_whole(&dir.join(&name), &bytes).map_err(|e| failed(&e))?;
            figures += &format!("<figure><img src=\"{name}\" alt=\"{title}\"></figure>\n");
        }
    }
    let page = page(lines, &figures).map_err(|e| failed(&e))?;
    write_whole(&dir.join("index.html"), page.as_bytes()).map_err(|e| failed(&e))
}

fn page(lines: &[String], figures: &str) -> Result<String, std::fmt::Error> {
    let mut page = String::from(HEAD);
    for line in lines {
        writeln!(page, "{}", escape(&plain(line)))?;
    }
    page += "</pre>\n<p>Rows are query blocks, columns key blocks, both along the walk:";
    for ([r, g, b], what) in LEGEND {
        write!(page, " <span class=\"key\" style=\"background: rgb({r}, {g}, {b})\"></span> {what}")?;
    }
    write!(page, "</p>\n{figures}</body>\n</html>\n")?;
    Ok(page)
}

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<title>RainFusion masks</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 90rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
figure { display: inline-block; margin: 0 1.5rem 1.5rem 0; }
img { border: 1px solid #ccc; max-width: 100%; image-rendering: pixelated; }
.key { display: inline-block; width: 0.9em; height: 0.9em; margin-left: 0.8em; border: 1px solid #999; }
</style>
</head>
<body>
<h1>RainFusion masks</h1>
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
