//! A plan as text of at most 100 columns: its steps with what they move, its memory, and what was decided. Lines of notes
//! carry no place in the source; who has the source adds it.

use std::fmt::Write as _;

use pantile_ir::{Func, Scalar};

use super::memory::readable;
use super::{Buffer, BufferKind, Call, Plan, PlanArg, Role, Step};

/// The longest line.
const WIDTH: usize = 100;

impl Plan {
    /// The name of each buffer; those that would share one are numbered.
    pub fn names(&self) -> Vec<String> {
        let one = |n: usize| {
            let name = &self.buffers[n].name;
            let alike = |all: &[Buffer]| all.iter().filter(|b| b.life.is_some() && b.name == *name).count();
            let before = alike(&self.buffers[..n]);
            if alike(&self.buffers) > 1 { format!("{name}.{before}") } else { name.clone() }
        };
        (0..self.buffers.len()).map(one).collect()
    }

    /// Steps, bytes and memory. The notes are not in it.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.head(&mut out);
        self.steps(&mut out);
        self.memory(&mut out);
        out
    }

    fn head(&self, out: &mut String) {
        let launches = self.steps.iter().filter(|s| matches!(s, Step::Launch { .. })).count() as i64;
        let copies = self.steps.len() as i64 - launches;
        let (read, written) = self.traffic().iter().fold((0, 0), |(r, w), t| (r + t.read, w + t.written));
        let _ = writeln!(
            out,
            "{}: {}, {}",
            self.name,
            plural(launches, "launch", "launches"),
            if copies == 0 { "nothing copied".into() } else { plural(copies, "copy", "copies") }
        );
        let _ = writeln!(
            out,
            "moves {} ({} read, {} written): each argument of each step counted once",
            readable(read + written),
            readable(read),
            readable(written)
        );
    }

    fn steps(&self, out: &mut String) {
        let (names, traffic) = (self.names(), self.traffic());
        let _ = writeln!(out, "steps");
        for (n, step) in self.steps.iter().enumerate() {
            let _ = writeln!(out, "{:3}  {}", n + 1, title(step));
            if let Step::Launch { func, calls, .. } = step {
                wrapped(out, "grid", calls.iter().map(|call| grid(func, call)).collect(), " + ");
                wrapped(out, "via", func.orders.iter().map(|o| o.name.clone()).collect(), ", ");
                wrapped(out, "with", scalars(func, calls), ", ");
            }
            if let Step::Permute { order, inverse, axis, .. } = step {
                let back = if *inverse { "back from " } else { "" };
                wrapped(out, "via", vec![format!("{back}{} along axis {axis}", order.name)], ", ");
            }
            let mine = || traffic.iter().filter(|t| t.step == n);
            let moved = |bytes: u64, buffer: usize| format!("{} {}", names[buffer], readable(bytes));
            wrapped(out, "reads", mine().filter(|t| t.read > 0).map(|t| moved(t.read, t.buffer)).collect(), ", ");
            let written = mine().filter(|t| t.written > 0).map(|t| moved(t.written, t.buffer));
            wrapped(out, "writes", written.collect(), ", ");
        }
    }

    fn memory(&self, out: &mut String) {
        let names = self.names();
        let widest = names.iter().map(|n| n.chars().count()).max().unwrap_or(0).clamp(6, 40);
        let _ = writeln!(out, "buffers{:1$}bytes    steps    place", "", widest + 34);
        for (buffer, name) in self.buffers.iter().zip(&names).filter(|(b, _)| b.life.is_some() || b.role != Role::Temp)
        {
            let life = match buffer.life {
                Some((first, last)) if first == last => format!("{}", first + 1),
                Some((first, last)) => format!("{}–{}", first + 1, last + 1),
                None => "none".into(),
            };
            let places: Vec<String> = buffer.places.iter().map(ToString::to_string).collect();
            let (what, bytes) = (what(buffer), readable(buffer.what.bytes()));
            let line = format!(
                "  {name:widest$}  {:9}  {what:20}{bytes:>9}  {life:>7}    {}",
                role(buffer),
                places.join(", ")
            );
            let _ = writeln!(out, "{}", line.trim_end());
        }
        let f = self.footprint();
        let _ = writeln!(
            out,
            "memory: at most {} at once beside {} of inputs; temporaries {} in {} of places",
            readable(f.peak),
            readable(f.inputs),
            readable(f.temporaries),
            readable(f.places)
        );
    }
}

fn title(step: &Step) -> String {
    match step {
        Step::Launch { func, calls, label } => {
            let cells = |call: &Call| call.grid(func).into_iter().fold(1i64, i64::saturating_mul);
            let programs = calls.iter().map(cells).fold(0, i64::saturating_add);
            let together = if calls.len() > 1 { format!(" ×{} in one launch", calls.len()) } else { String::new() };
            format!("{label}{together}: {}", plural(programs, "program", "programs"))
        }
        Step::Copy { label, .. } | Step::Permute { label, .. } => label.clone(),
    }
}

fn plural(n: i64, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

/// The buffer's owner, for people.
fn role(buffer: &Buffer) -> &'static str {
    match buffer.role {
        Role::Input(_) => "input",
        Role::Output(_) => "output",
        Role::Temp => "temporary",
    }
}

fn what(buffer: &Buffer) -> String {
    let shape: Vec<String> = buffer.what.shape().iter().map(ToString::to_string).collect();
    match &buffer.what {
        BufferKind::Tensor { dtype, .. } => format!("{dtype}[{}]", shape.join(", ")),
        BufferKind::Mask { .. } => format!("mask[{}]", shape.join(", ")),
    }
}

/// `40×2×1`: program instances along the axes of a grid.
fn grid(func: &Func, call: &Call) -> String {
    let sizes: Vec<String> = call.grid(func).iter().map(ToString::to_string).collect();
    if sizes.is_empty() { "1".into() } else { sizes.join("×") }
}

/// `scale = 0.125`, where calls differ one after another.
fn scalars(func: &Func, calls: &[Call]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for call in calls {
        for (param, arg) in func.params.iter().zip(&call.args) {
            if let PlanArg::Scalar(dtype, value) = arg {
                let value = match value {
                    Scalar::Bool(x) => x.to_string(),
                    Scalar::Int(x) => x.to_string(),
                    Scalar::Float(x) if dtype.bytes() <= 4 => format!("{:?}", *x as f32),
                    Scalar::Float(x) => format!("{x:?}"),
                };
                let text = format!("{} = {value}", param.name);
                if !all.contains(&text) {
                    all.push(text);
                }
            }
        }
    }
    all
}

/// Items behind a word, on as many lines as they need; nothing if there are none.
fn wrapped(out: &mut String, word: &str, items: Vec<String>, between: &str) {
    let (indent, mut line) = (" ".repeat(14), format!("       {word:7}"));
    let count = items.len();
    for (n, item) in items.into_iter().enumerate() {
        let item = if n + 1 < count { item + between } else { item };
        if line.chars().count() + item.trim_end().chars().count() > WIDTH && line.trim_end().chars().count() > 14 {
            let _ = writeln!(out, "{}", line.trim_end());
            line.clone_from(&indent);
        }
        line += &item;
    }
    if count > 0 {
        let _ = writeln!(out, "{}", line.trim_end());
    }
}
