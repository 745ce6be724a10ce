//! What `pantile rainfusion` says: lines for a reader, an object for a program. It measures nothing.

use std::time::Duration;

use pantile::Tensor;
use pantile_kernels::{Order, Sequence};
use serde_json::{Value, json};

use super::{Config, Measured, Quality};
use crate::screen;

/// What there is to tell of.
pub(super) struct Told<'a> {
    pub(super) config: &'a Config,
    pub(super) measured: &'a Measured,
    pub(super) q: &'a Tensor,
    pub(super) k: &'a Tensor,
    pub(super) source: &'a str,
}

impl Told<'_> {
    /// For a reader, line by line.
    pub(super) fn lines(&self, device: &str) -> Vec<String> {
        let (config, measured) = (&self.config.options, self.measured);
        let (shape, mask) = (self.q.shape(), &measured.output.mask);
        let (rows, columns) = (mask.shape()[2], mask.shape()[3]);
        let mut lines = vec![
            self.source.to_owned(),
            format!(
                "tokens   {} = {}, {} × {} heads of {}, {} on {device}",
                tokens(&config.query_tokens()),
                shape[2],
                shape[0],
                shape[1],
                shape[3],
                self.q.dtype(),
            ),
        ];
        if let Some(keys) = &config.keys {
            lines.push(format!("keys     {} = {}", tokens(keys), self.k.shape()[2]));
        }
        lines.extend([
            format!("method   {}", self.method()),
            format!(
                "kept     {:.2} % of {rows}×{columns} block pairs a head ({} of {})",
                100.0 * measured.output.kept,
                mask.kept(),
                mask.bits().len()
            ),
            String::new(),
        ]);
        lines.extend(screen::table(&self.times()).into_iter().map(|line| screen::bold_first(&line)));
        if let Some(dense) = &measured.dense {
            let c = dense.comparison;
            let blocks = 1.0 / measured.output.kept.max(f64::MIN_POSITIVE);
            lines.push(String::new());
            lines.push(format!(
                "speed-up {:.2}× over dense; blocks alone would give {blocks:.2}×",
                self.speed(dense.time)
            ));
            lines.push(format!(
                "to dense cosine {:.5}, relative error {:.4} (rms), {:.4} (largest)",
                c.cosine, c.rms, c.max
            ));
        }
        lines
    }

    fn method(&self) -> String {
        let Config { options: config, order } = self.config;
        let compat = if config.compat && config.order == Order::Paper { " as in the reference" } else { "" };
        if self.measured.given_mask {
            return format!("{order} order{compat}, blocks of {}, a given mask", config.block);
        }
        let sink = match (config.sink(), config.sink) {
            (true, _) if config.first_apart => "first frame always kept, walked by itself where the order mixes it",
            (true, _) => "first frame always kept",
            (false, None) => "no sink: a single frame would keep everything",
            (false, Some(_)) => "no sink",
        };
        format!("{order} order{compat}, {}, blocks of {}, {sink}", config.budget, config.block)
    }

    fn times(&self) -> Vec<Vec<String>> {
        let row = |name: &str, time: Duration, note: &str| vec![name.to_owned(), screen::time(time), note.to_owned()];
        let mut rows = Vec::new();
        for (name, time) in &self.measured.stages {
            rows.push(row(name, *time, if *name == "order" { "once a grid" } else { "" }));
        }
        rows.push(row("sparse", self.measured.sparse, "whole operator"));
        if let Some(dense) = &self.measured.dense {
            rows.push(row("dense", dense.time, "attention over all blocks"));
        }
        rows
    }

    fn speed(&self, dense: Duration) -> f64 {
        dense.as_secs_f64() / self.measured.sparse.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// For a program. Times are in milliseconds; what is not a number is null.
    pub(super) fn json(&self, device: &str, quality: Option<&Quality>) -> Value {
        let (config, measured, mask) = (&self.config.options, self.measured, &self.measured.output.mask);
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let sequence = |s: &Sequence| json!({ "grids": s.clips, "text": s.text, "text_last": s.text_last });
        let stages: serde_json::Map<String, Value> =
            measured.stages.iter().map(|(name, time)| ((*name).to_owned(), json!(ms(*time)))).collect();
        let dense = measured.dense.as_ref().map(|dense| {
            let c = dense.comparison;
            json!({
                "ms": ms(dense.time),
                "speed_up": self.speed(dense.time),
                "cosine": c.cosine,
                "relative_l1": c.l1,
                "relative_l2": c.rms,
                "relative_max": c.max,
            })
        });
        let budget =
            if measured.given_mask { Value::Null } else { json!({ (config.budget.name()): config.budget.values() }) };
        json!({
            "source": self.source,
            "device": device,
            "dtype": self.q.dtype().to_string(),
            "q": self.q.shape(),
            "k": self.k.shape(),
            "tokens": sequence(&config.query_tokens()),
            "keys": config.keys.as_ref().map(sequence),
            "order": self.config.order,
            "budget": budget,
            "block": config.block,
            "sink": config.sink(),
            "mask": { "shape": mask.shape(), "kept": mask.kept() },
            "kept": measured.output.kept,
            "stages_ms": stages,
            "sparse_ms": ms(measured.sparse),
            "dense": dense,
            "quality": quality.map(Quality::json),
        })
    }
}

/// `13×15×26 + 4×8×8 + 77 text`.
fn tokens(sequence: &Sequence) -> String {
    let mut parts: Vec<String> = sequence.clips.iter().map(|[f, y, x]| format!("{f}×{y}×{x}")).collect();
    if sequence.text > 0 {
        parts.push(format!("{} text", sequence.text));
    }
    parts.join(" + ")
}
