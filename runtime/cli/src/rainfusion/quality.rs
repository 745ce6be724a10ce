//! How far RainFusion is from dense attention on given tokens: over sparsities, over orders, with and without the first
//! frame always kept. Dense attention is computed once. Nothing is timed.

use indicatif::{ProgressBar, ProgressStyle};
use pantile::{Device, Tensor};
use pantile_kernels::{Budget, Comparison, RainFusion, RainFusionOn, RainFusionOutput, Row, compare, worst_row};
use serde_json::{Value, json};

use super::order::{self, Named};
use super::{Config, Qkv};
use crate::failure::Failure;
use crate::screen;

/// Sparsities that are tried.
const SPARSITIES: [f64; 6] = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95];

/// One measurement.
pub(crate) struct Point {
    /// Whether the first frame was always kept.
    pub(crate) sink: bool,
    pub(crate) order: String,
    pub(crate) sparsity: f64,
    /// The kept part of all block pairs.
    pub(crate) kept: f64,
    pub(crate) comparison: Comparison,
    pub(crate) worst: Row,
}

/// All measurements: by sink, then by order, then by sparsity.
pub(crate) struct Quality {
    pub(crate) points: Vec<Point>,
}

/// The orders that are tried, with their names: the authors' two, what they are to be better than, larger windows, a curve;
/// and the given one.
fn orders(config: &Config, device: &Device) -> Result<Vec<Named>, Failure> {
    let names = ["raster", "paper", "mindie", "windows-4x4x8", "hilbert"];
    let parse = |name: &&str| order::parse(name, None, &config.options, device);
    let mut orders = names.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let given = &config.options.order;
    if !orders.iter().any(|o| o.order == *given) {
        let taken = names.contains(&config.order.as_str());
        let name = if taken { format!("{} (given)", config.order) } else { config.order.clone() };
        orders.push(Named { order: given.clone(), name });
    }
    Ok(orders)
}

/// Runs them all.
pub(super) fn sweep(
    config: &Config,
    device: &Device,
    Qkv { q, k, v }: &Qkv,
    reference: Option<&Tensor>,
) -> Result<Quality, Failure> {
    let orders = orders(config, device)?;
    let config = &config.options;
    let sinks = match config.sink {
        Some(sink) => vec![sink],
        None if config.sink() => vec![false, true],
        None => vec![false],
    };
    let bar = ProgressBar::new((sinks.len() * orders.len() * SPARSITIES.len()) as u64);
    if let Ok(style) = ProgressStyle::with_template("{msg:32!} {bar:40} {pos:>3} of {len} {elapsed_precise}") {
        bar.set_style(style);
    }
    bar.set_message("dense attention");
    bar.tick();
    let reference = match reference {
        Some(reference) => reference.clone(),
        None => RainFusionOn::new(config, device)?.dense(q, k, v)?.out,
    };
    let mut points = Vec::new();
    for sink in sinks {
        for order in &orders {
            for sparsity in SPARSITIES {
                bar.set_message(format!("{}, sparsity {sparsity}", order.name));
                let options = RainFusion {
                    order: order.order.clone(),
                    budget: Budget::sparsity(sparsity),
                    sink: Some(sink),
                    // Else orders that spread the protected frame over many blocks could hardly leave anything out.
                    first_apart: sink || config.first_apart,
                    // An even number of frames is no reason to leave the paper's order out.
                    lone_last: true,
                    ..config.clone()
                };
                let output = RainFusionOn::new(&options, device)?.call(q, k, v)?;
                points.push(point((order.name.clone(), sparsity, sink), &output, &reference)?);
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    Ok(Quality { points })
}

fn point(
    (order, sparsity, sink): (String, f64, bool),
    output: &RainFusionOutput,
    reference: &Tensor,
) -> Result<Point, Failure> {
    let comparison = compare(&output.out, reference)?;
    let worst = worst_row(&output.out, reference)?.unwrap_or(Row { at: vec![0; 3], cosine: 1.0 });
    Ok(Point { sink, order, sparsity, kept: output.kept, comparison, worst })
}

impl Point {
    /// As cells of a table, under [`Quality::HEAD`].
    pub(crate) fn cells(&self) -> Vec<String> {
        let place: Vec<String> = self.worst.at.iter().map(usize::to_string).collect();
        vec![
            self.order.clone(),
            self.sparsity.to_string(),
            format!("{:.2} %", 100.0 * self.kept),
            format!("{:.5}", self.comparison.cosine),
            format!("{:.4}", self.comparison.l1),
            format!("{:.4}", self.comparison.rms),
            format!("{:.4}", self.worst.cosine),
            place.join(", "),
        ]
    }
}

impl Quality {
    /// What the columns hold.
    pub(crate) const HEAD: [&str; 8] =
        ["order", "sparsity", "kept", "cosine", "relative L1", "relative L2", "worst token", "at (b, h, n)"];

    /// The measurements with and without the first frame always kept, each with its heading.
    pub(crate) fn parts(&self) -> Vec<(bool, &'static str, Vec<&Point>)> {
        let of = |sink: bool| self.points.iter().filter(|p| p.sink == sink).collect::<Vec<_>>();
        let parts = [
            (false, "first frame not protected", of(false)),
            (true, "first frame always kept, walked by itself", of(true)),
        ];
        parts.into_iter().filter(|(_, _, points)| !points.is_empty()).collect()
    }

    /// For a reader, line by line.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (_, title, points) in self.parts() {
            lines.extend([String::new(), screen::bold(&format!("quality against dense attention, {title}"))]);
            let head = Self::HEAD.map(str::to_owned).to_vec();
            let rows: Vec<Vec<String>> = std::iter::once(head).chain(points.iter().map(|p| p.cells())).collect();
            lines.extend(screen::numbers(&rows));
        }
        lines
    }

    /// For a program.
    pub(crate) fn json(&self) -> Value {
        let one = |p: &Point| {
            json!({
                "order": p.order,
                "sparsity": p.sparsity,
                "sink": p.sink,
                "kept": p.kept,
                "cosine": p.comparison.cosine,
                "relative_l1": p.comparison.l1,
                "relative_l2": p.comparison.rms,
                "worst_token": { "cosine": p.worst.cosine, "at": p.worst.at },
            })
        };
        self.points.iter().map(one).collect()
    }
}
