//! The smallest host program: a kernel as text, two vectors, one launch. Run it with
//! `cargo run -p pantile-examples --bin vector_add`.

#![allow(clippy::print_stdout, reason = "a program talks to its user")]

use pantile::{Device, Module, Tensor};

const SOURCE: &str = "
/// Element-wise sum of two vectors, 256 elements a program instance.
kernel add<T: number, P: int = 256>(x: tensor<T>[N], y: tensor<T>[N]) -> (z: tensor<T>[N])
grid (i in N by P) {
    z[i] = x[i] + y[i];
}
";

fn main() -> pantile::Result<()> {
    let module = Module::from_text("add.tile", SOURCE)?;
    let add = module.kernel("add")?.on(&Device::cpu());

    let x = Tensor::from_slice(&[1000], &(0..1000).map(|n| n as f32).collect::<Vec<_>>())?;
    let y = Tensor::from_slice(&[1000], &[0.5f32; 1000])?;
    let z = add.call((&x, &y))?.single()?;
    println!("{:?} …", &z.to_vec::<f32>()?[..4]);

    // The same kernel for another dtype and size: compiled at this call, kept for the next.
    let ones = Tensor::from_slice(&[3], &[1i64; 3])?;
    println!("{:?}", add.call((&ones, &ones))?.single()?.to_vec::<i64>()?);

    // What does not fit is refused with both arguments' names.
    if let Err(error) = add.call((&x, &Tensor::from_slice(&[3], &[1.0f32; 3])?)) {
        println!("{error}");
    }
    Ok(())
}
