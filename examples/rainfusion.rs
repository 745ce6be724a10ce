//! RainFusion2.0 from Rust, on the sample clip's tokens. Run it with `cargo run -p pantile-examples --bin rainfusion`.

#![allow(clippy::print_stdout, reason = "a program talks to its user")]

use std::path::Path;

use pantile::{Device, TensorFile};
use pantile_kernels::{Budget, RainFusion, RainFusionOn, attention_dense, compare};

fn main() -> pantile::Result<()> {
    // Tokens of the clip "Big Buck Bunny", (c) Blender Foundation, CC BY 3.0: 13 frames of 15×26.
    let file = TensorFile::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/bunny_240p.safetensors"))?;
    let (q, k, v) = (file.tensor("q")?, file.tensor("k")?, file.tensor("v")?);

    let device = Device::cpu();
    let options = RainFusion { budget: Budget::sparsity(0.8), ..RainFusion::new([13, 15, 26]) };
    let operator = RainFusionOn::new(&options, &device)?;
    let result = operator.call(&q, &k, &v)?;
    println!("kept {:.1} % of the blocks", 100.0 * result.kept);
    for stage in &result.stages {
        println!("{:10} {:?}", stage.name, stage.time);
    }

    let dense = attention_dense(&q, &k, &v, options.scale(q.shape()[3]), &device)?;
    println!("cosine to dense attention {:.4}", compare(&result.out, &dense)?.cosine);
    Ok(())
}
