//! A pipeline's launch plan as text: its buffers, its steps, and what planning decided. Planning is the compiler's.

use pantile::{Module, SourceError};
use pantile_compiler::{BufferKind, Plan, PlanArg, Role, Step};

use crate::bind::{Bind, text_of};
use crate::failure::{Failure, Outcome};
use crate::screen;

/// Prints the plan of a pipeline for the extents and scalars on the command line.
pub(crate) fn show(module: &Module, name: &str, bind: &Bind) -> Outcome {
    let signature = module.pipeline(name)?.signature().clone();
    let (bindings, assumed) = bind.pipeline(module, &signature)?;
    if !assumed.is_empty() {
        screen::complain(&format!("assumed {}", assumed.join(", ")));
    }
    let plan = module.compiled().plan(name, &bindings).map_err(|diagnostics| {
        let error = SourceError { diagnostics, sources: module.sources().clone() };
        Failure::Source(error.render(screen::error_colors()))
    })?;
    buffers(&plan);
    steps(&plan);
    for note in &plan.notes {
        let (line, _) = module.sources().line_col(note.span);
        screen::line(&format!("note: {} ({}:{line})", note.text, module.sources().name(note.span.file)));
    }
    Ok(())
}

/// One a buffer; those that share a name are numbered.
fn names(plan: &Plan) -> Vec<String> {
    let buffers = &plan.buffers;
    let one = |n: usize| {
        let name = &buffers[n].name;
        let before = buffers[..n].iter().filter(|b| b.name == *name).count();
        let several = buffers.iter().filter(|b| b.name == *name).count() > 1;
        if several { format!("{name}.{before}") } else { name.clone() }
    };
    (0..buffers.len()).map(one).collect()
}

fn buffers(plan: &Plan) {
    screen::line(&screen::bold("buffers"));
    for (buffer, name) in plan.buffers.iter().zip(names(plan)) {
        let role = match buffer.role {
            Role::Input(_) => "input",
            Role::Output(_) => "output",
            Role::Temp => "temporary",
        };
        let what = match &buffer.what {
            BufferKind::Tensor { dtype, shape } => format!("{dtype}{shape:?}"),
            BufferKind::Mask { shape } => format!("mask{shape:?}"),
        };
        screen::line(&format!("  {name:14} {role:10} {what}"));
    }
}

fn steps(plan: &Plan) {
    screen::line(&screen::bold("steps"));
    let names = names(plan);
    for step in &plan.steps {
        match step {
            Step::Launch { func, args, label, .. } => {
                let name = |arg: &PlanArg| match arg {
                    PlanArg::Buffer(b) => names[*b].clone(),
                    PlanArg::Scalar(_, value) => text_of(*value),
                };
                let args: Vec<String> = args.iter().map(name).collect();
                let walks: Vec<&str> = func.orders.iter().map(|o| o.name.as_str()).collect();
                let via = if walks.is_empty() { String::new() } else { format!(" via {}", walks.join(", ")) };
                screen::line(&format!("  launch {label}({}){via}", args.join(", ")));
            }
            Step::Permute { from, to, order, inverse, .. } => {
                let (from, to) = (&names[*from], &names[*to]);
                let back = if *inverse { " back" } else { "" };
                screen::line(&format!("  copy {from} to {to}{back} via {}", order.name));
            }
        }
    }
}
