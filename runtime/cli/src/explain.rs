//! `pantile explain`: the long form of an error code. The texts are those of `docs/src/errors`.

use pantile_diag::{CODES, Code};

use crate::failure::{Outcome, input};
use crate::screen;

/// Prints the long form of an error code.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  pantile explain E0201\n  pantile explain --list")]
pub(crate) struct Options {
    /// The code, as in `error[E0201]`.
    #[arg(required_unless_present = "list")]
    code: Option<String>,
    /// Lists all codes.
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(options: &Options) -> Outcome {
    let Some(text) = options.code.as_ref().filter(|_| !options.list) else {
        CODES.iter().for_each(|code| screen::line(&format!("{}  {}", code.name, code.title)));
        return Ok(());
    };
    let Ok(code) = text.parse::<Code>() else {
        return input(format!("no error code `{text}`; `pantile explain --list` lists them"));
    };
    let info = code.info();
    screen::line(&screen::bold(&format!("{}: {}", info.name, info.title)));
    // The page repeats its title as a heading.
    let body = info.long.trim();
    let body = if body.starts_with('#') { body.split_once('\n').map_or("", |(_, rest)| rest) } else { body };
    screen::line(body.trim_end());
    Ok(())
}
