//! The Rust of the README is code that runs: it stands here line by line, and nothing in the README differs from it.

use std::path::Path;

use pantile::{Device, Module, Tensor};

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_snippet_runs() -> pantile::Result<()> {
    // The snippet names the file as seen from the project's root.
    std::env::set_current_dir(root()).expect("the project's root");
    let tensor = || Tensor::from_slice(&[1, 1, 5, 64], &[0.5f32; 320]);
    let (q, k, v) = (tensor()?, tensor()?, tensor()?);

    let device = Device::cpu();
    let module = Module::from_file("kernels/attention.tile")?;
    let attend = module.kernel("attention_dense")?.on(&device);
    let out = attend.call((&q, &k, &v, 0.125f32))?;

    let out = out.tensor("out")?;
    assert_eq!(out.shape(), [1, 1, 5, 64]);
    assert!(out.to_vec::<f32>()?.iter().all(|x| (x - 0.5).abs() < 1e-6));
    Ok(())
}

#[test]
fn the_readme_shows_the_code_above() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    let snippet = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a Rust snippet");
    for line in snippet.lines().filter(|line| !line.is_empty() && !line.starts_with("use ")) {
        assert!(include_str!("readme.rs").contains(&format!("    {line}\n")), "`{line}` is not in {}", file!());
    }
}
