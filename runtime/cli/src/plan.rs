//! A pipeline's launch plan on the terminal or as JSON: its steps, memory, and what planning decided and where. Planning is
//! the compiler's, and so is the text.

use pantile::{Module, SourceError};
use pantile_compiler::{Note, Plan, Role, Step};
use serde_json::{Value, json};

use crate::bind::Bind;
use crate::failure::{Failure, Outcome};
use crate::{screen, walks};

/// How to print a plan.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Tables of at most 100 columns.
    Text,
    /// One object, for programs; steps and buffers are numbered from 0.
    Json,
}

/// The longest line of a note or walk.
const WIDTH: usize = 100;

/// Prints the plan of a pipeline for the extents and scalars on the command line.
pub(crate) fn show(module: &Module, name: &str, bind: &Bind, format: Format) -> Outcome {
    let signature = module.pipeline(name)?.signature().clone();
    let (bindings, assumed) = bind.pipeline(module, &signature)?;
    if !assumed.is_empty() {
        screen::complain(&format!("assumed {}", assumed.join(", ")));
    }
    let plan = module.compiled().plan(name, &bindings).map_err(|diagnostics| {
        let error = SourceError { diagnostics, sources: module.sources().clone() };
        Failure::Source(error.render(screen::error_colors()))
    })?;
    match format {
        Format::Text => text(module, &plan),
        Format::Json => screen::line(&as_json(module, &plan).to_string()),
    }
    Ok(())
}

fn text(module: &Module, plan: &Plan) {
    for line in plan.text().lines() {
        // Headings stand at the margin.
        screen::line(&if line.starts_with(' ') { line.to_owned() } else { screen::bold(line) });
    }
    let walks = walks::of(module, plan);
    if !walks.is_empty() {
        screen::line(&screen::bold("walks"));
    }
    walks.iter().for_each(|walk| wrapped(&walk.text()));
    if !plan.notes.is_empty() {
        screen::line(&screen::bold("notes"));
    }
    let mut said: Vec<String> = Vec::new();
    for note in &plan.notes {
        let (file, line) = place(module, note);
        let text = format!("{} ({file}:{line})", note.text);
        if !said.contains(&text) {
            wrapped(&text);
            said.push(text);
        }
    }
}

/// A sentence, set in; its further lines more so.
fn wrapped(text: &str) {
    let mut row = String::from("  ");
    for word in text.split(' ') {
        if row.chars().count() + word.chars().count() >= WIDTH && !row.trim().is_empty() {
            screen::line(row.trim_end());
            row = String::from("    ");
        }
        row += word;
        row.push(' ');
    }
    screen::line(row.trim_end());
}

fn place(module: &Module, note: &Note) -> (String, usize) {
    let sources = module.sources();
    (sources.name(note.span.file).to_owned(), sources.line_col(note.span).0)
}

fn as_json(module: &Module, plan: &Plan) -> Value {
    let (names, traffic, footprint) = (plan.names(), plan.traffic(), plan.footprint());
    let step = |(n, step): (usize, &Step)| {
        let mine = || traffic.iter().filter(|t| t.step == n);
        let (kind, grids, orders) = match step {
            Step::Launch { func, calls, .. } => {
                let grids: Vec<Vec<i64>> = calls.iter().map(|call| call.grid(func)).collect();
                ("launch", grids, func.orders.iter().map(|o| o.name.clone()).collect())
            }
            Step::Permute { order, .. } => ("permute", Vec::new(), vec![order.name.clone()]),
            Step::Copy { .. } => ("copy", Vec::new(), Vec::new()),
        };
        json!({
            "kind": kind,
            "label": step.label(),
            "grids": grids,
            "orders": orders,
            "reads": mine().filter(|t| t.read > 0).map(|t| json!({"buffer": t.buffer, "bytes": t.read})).collect::<Vec<_>>(),
            "writes": mine().filter(|t| t.written > 0).map(|t| json!({"buffer": t.buffer, "bytes": t.written})).collect::<Vec<_>>(),
        })
    };
    let buffer = |(buffer, name): (&pantile_compiler::Buffer, &String)| {
        let role = match buffer.role {
            Role::Input(_) => "input",
            Role::Output(_) => "output",
            Role::Temp => "temporary",
        };
        json!({
            "name": name,
            "role": role,
            "shape": buffer.what.shape(),
            "bytes": buffer.what.bytes(),
            "steps": buffer.life.map(|(first, last)| [first, last]),
            "places": buffer.places,
        })
    };
    let note = |note: &Note| {
        let (file, line) = place(module, note);
        json!({"text": note.text, "file": file, "line": line})
    };
    json!({
        "pipeline": plan.name,
        "steps": plan.steps.iter().enumerate().map(step).collect::<Vec<_>>(),
        "buffers": plan.buffers.iter().zip(&names).map(buffer).collect::<Vec<_>>(),
        "places": plan.places,
        "bytes": {
            "read": traffic.iter().map(|t| t.read).sum::<u64>(),
            "written": traffic.iter().map(|t| t.written).sum::<u64>(),
            "inputs": footprint.inputs,
            "outputs": footprint.outputs,
            "temporaries": footprint.temporaries,
            "places": footprint.places,
            "peak": footprint.peak,
        },
        "walks": walks::of(module, plan).iter().map(walks::Walk::as_json).collect::<Vec<_>>(),
        "notes": plan.notes.iter().map(note).collect::<Vec<_>>(),
    })
}
