//! The examples run and say what they should.

use std::process::Command;

fn output(program: &str) -> String {
    let output = Command::new(program).output().expect("the example starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The number after some words.
fn number(text: &str, words: &str) -> f64 {
    let rest = text.split(words).nth(1).unwrap_or_else(|| panic!("no `{words}` in:\n{text}"));
    rest.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no number in:\n{text}"))
}

#[test]
fn vector_add() {
    let text = output(env!("CARGO_BIN_EXE_vector_add"));
    assert!(text.contains("[0.5, 1.5, 2.5, 3.5]") && text.contains("[2, 2, 2]"), "{text}");
    assert!(text.contains("`y` has N = 3 but `x` has N = 1000"), "{text}");
}

#[test]
fn attention() {
    let text = output(env!("CARGO_BIN_EXE_attention"));
    assert!((number(&text, "kept ") - 18.0).abs() < 0.1, "{text}");
    let cosine = number(&text, "dense attention ");
    assert!(cosine > 0.3 && cosine < 0.7, "{text}");
}

#[test]
fn rainfusion() {
    let text = output(env!("CARGO_BIN_EXE_rainfusion"));
    assert!(number(&text, "kept ") < 40.0, "{text}");
    assert!(number(&text, "dense attention ") > 0.99, "{text}");
}

#[test]
fn skipping() {
    let run = Command::new(env!("CARGO_BIN_EXE_skipping")).args(["300", "1"]).output().expect("the example starts");
    let text = String::from_utf8(run.stdout).expect("text");
    assert!(
        run.status.success()
            && number(&text, "100.0 % ") > 0.0
            && number(&text, "causal ÷ full: ") > 0.0
            && number(&text, "Hilbert's curve ÷ memory order: ") > 0.0,
        "{text}"
    );
}

#[test]
fn pipelines() {
    let run = Command::new(env!("CARGO_BIN_EXE_pipelines")).args(["2", "1"]).output().expect("the example starts");
    let text = String::from_utf8(run.stdout).expect("text");
    let shown = ["16 numbers: ", "called again ", "in another size ", "as it is: ", "another order: "];
    assert!(run.status.success() && shown.iter().all(|what| number(&text, what) > 0.0), "{text}");
}

#[test]
fn rates() {
    let run = Command::new(env!("CARGO_BIN_EXE_rates")).args(["1", "1"]).output().expect("the example starts");
    let text = String::from_utf8(run.stdout).expect("text");
    assert!(run.status.success() && number(&text, "f32 64³: ") > 0.0 && number(&text, "block_means ") > 0.0, "{text}");
}
