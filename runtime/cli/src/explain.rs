//! `pantile explain`: the long form of an error code, whose texts are those of `docs/src/errors`, or the plan of a
//! pipeline.

use std::path::Path;

use pantile::Module;
use pantile_diag::{CODES, Code};

use crate::bind::Bind;
use crate::failure::{Outcome, input};
use crate::plan::{self, Format};
use crate::screen;

/// Prints the long form of an error code, or with `--plan` what a pipeline launches and what was fused.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  pantile explain E0201\n  pantile explain --list
  pantile explain kernels/rainfusion.tile rainfusion_paper --plan \\
      --shape B=1,H=2,G=2,N=5070,D=64 --const F=13 --const Y=15 --const X=26 \\
      --const text=0 --const scale=0.125")]
pub(crate) struct Options {
    /// The code, as in `error[E0201]`; with `--plan`, a source file.
    #[arg(required_unless_present = "list")]
    code: Option<String>,
    /// With `--plan`: the pipeline.
    pipeline: Option<String>,
    /// Lists all codes.
    #[arg(long)]
    list: bool,
    /// Shows the launch plan of a pipeline.
    #[arg(long, requires = "pipeline")]
    plan: bool,
    /// With `--plan`: how to print it.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    bind: Bind,
}

pub(crate) fn run(options: &Options) -> Outcome {
    let Some(text) = options.code.as_ref().filter(|_| !options.list) else {
        CODES.iter().for_each(|code| screen::line(&format!("{}  {}", code.name, code.title)));
        return Ok(());
    };
    if let (true, Some(pipeline)) = (options.plan, &options.pipeline) {
        return plan::show(&Module::from_file(Path::new(text))?, pipeline, &options.bind, options.format);
    }
    let is_source = Path::new(text).extension().is_some_and(|e| e == "tile");
    if let (false, Some(pipeline)) = (is_source, &options.pipeline) {
        return input(format!("`{pipeline}`: one code at a time; a pipeline of a source file goes with `--plan`"));
    }
    let Ok(code) = text.parse::<Code>() else {
        if is_source {
            return input(format!("{text} is a source file: give `--plan` and the name of one of its pipelines"));
        }
        return input(format!("no error code `{text}`; `pantile explain --list` lists them"));
    };
    let info = code.info();
    screen::line(&screen::bold(&format!("{}: {}", info.name, info.title)));
    // The page repeats its title as a heading.
    let body = info.long.trim();
    let body = if body.starts_with('#') { body.split_once('\n').map_or("", |(_, rest)| rest) } else { body };
    if !body.trim().is_empty() {
        screen::line(for_terminal(body).trim_end());
    }
    Ok(())
}

/// Code set in, where the page has fences around it; all else as it is.
fn for_terminal(page: &str) -> String {
    let (mut out, mut code) = (String::new(), false);
    for line in page.lines() {
        if line.starts_with("```") {
            code = !code;
            continue;
        }
        if code && !line.is_empty() {
            out += "    ";
        }
        out += line;
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::for_terminal;

    #[test]
    fn code_is_set_in() {
        assert_eq!(for_terminal("a\n\n```tile\nx\n\n  y\n```\nb\n"), "a\n\n    x\n\n      y\nb\n");
    }
}
