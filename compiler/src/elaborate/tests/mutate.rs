//! Shipped kernels with words exchanged, dropped and repeated: elaboration says errors or gives IR that verifies, and
//! never panics.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Source, bound, checked, dtypes};
use crate::Bindings;
use pantile_ir::DType;

/// xorshift64*: the same words every time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n.max(1)
    }
}

fn words(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for c in text.chars() {
        let joins = |last: &String| {
            let kind = |c: char| {
                if c.is_alphanumeric() || c == '_' || c == '.' {
                    0
                } else if c.is_whitespace() {
                    1
                } else {
                    2
                }
            };
            last.chars().last().is_some_and(|l| kind(l) == kind(c) && kind(c) < 2)
        };
        match out.last_mut() {
            Some(last) if joins(last) => last.push(c),
            _ => out.push(c.to_string()),
        }
    }
    out
}

fn run(text: &str) -> usize {
    let mut source = Source::new(text);
    let mut diags = std::mem::take(&mut source.diags);
    let mut done = 0;
    for item in source.kernels() {
        let bind = bound(item, &Bindings { ints: [("F".into(), 4)].into(), ..dtypes(&[("T", DType::F16)]) });
        if let Some(func) = super::super::kernel(&source.program, item, &bind, &mut diags) {
            checked(&func);
            done += 1;
        }
    }
    let _ = source.rendered(&diags);
    done
}

#[test]
fn mutated_kernels_never_panic() {
    let texts = [
        include_str!("../../../../kernels/attention.tile"),
        include_str!("../../../../kernels/matmul.tile"),
        include_str!("../../../../kernels/norm.tile"),
        include_str!("mutate.tile"),
    ];
    assert_eq!(run(texts[3]), 1, "what is mutated is right before");
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let rounds = std::env::var("PANTILE_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(400);
    let mut done = 0;
    for round in 0..rounds {
        let mut words = words(texts[round % texts.len()]);
        for _ in 0..1 + random.below(3) {
            let (a, b) = (random.below(words.len()), random.below(words.len()));
            match random.below(4) {
                0 => words.swap(a, b),
                1 => drop(words.remove(a)),
                2 => words.insert(a, words[b].clone()),
                _ => words[a] = words[b].clone(),
            }
        }
        let text = words.concat();
        match catch_unwind(AssertUnwindSafe(|| run(&text))) {
            Ok(n) => done += n,
            Err(_) => panic!("round {round}:\n{text}"),
        }
    }
    assert!(done > rounds / 4, "only {done} of {rounds} kernels survived: the mutations are too wild to test much");
}
