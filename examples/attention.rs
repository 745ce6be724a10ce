//! Block-sparse attention from Rust: a mask made on the host, tensors in the layout that models use, outputs in place.
//! Run it with `cargo run -p pantile-examples --bin attention`.

#![allow(clippy::print_stdout, reason = "a program talks to its user")]

use pantile::{DType, Device, Mask, Out, Tensor};
use pantile_kernels::{attention_dense, compare, module};

/// Tokens, heads, size of a head, tokens a block.
const TOKENS: usize = 1000;
const HEADS: usize = 4;
const DIM: usize = 64;
const BLOCK: usize = 64;

fn main() -> pantile::Result<()> {
    let device = Device::cpu();
    // Models keep tokens first: [B, N, H, D]. A view with the axes swapped is what the kernel takes; nothing is copied.
    let tokens_first = |seed| noise(seed, &[1, TOKENS, HEADS, DIM]);
    let heads_first = |t: &Tensor| t.permute(&[0, 2, 1, 3]);
    let (q, k, v) = (tokens_first(1)?, tokens_first(2)?, tokens_first(3)?);
    let (q, k, v) = (heads_first(&q)?, heads_first(&k)?, heads_first(&v)?);

    // Each block of queries sees its own block of keys and the two beside it.
    let blocks = TOKENS.div_ceil(BLOCK);
    let near: Vec<bool> =
        (0..HEADS * blocks * blocks).map(|n| (n / blocks % blocks).abs_diff(n % blocks) <= 1).collect();
    let keep = Mask::from_bools(&[1, HEADS, blocks, blocks], &near)?;

    let scale = 1.0 / (DIM as f32).sqrt();
    let attend = module("attention.tile")?.kernel("attention")?.with("BQ", BLOCK as i64).with("BK", BLOCK as i64);
    let mut out = Tensor::zeros(DType::F32, &[1, TOKENS, HEADS, DIM])?.permute(&[0, 2, 1, 3])?;
    let mut lse = Tensor::zeros(DType::F32, &[1, HEADS, TOKENS])?;
    let outputs = vec![Out::Tensor(&mut out), Out::Tensor(&mut lse)];
    attend.on(&device).call_into((&q, &k, &v, &keep, scale), outputs)?;

    let all = attention_dense(&q, &k, &v, scale, &device)?;
    println!("kept {:.1} % of the blocks", 100.0 * keep.density());
    println!("cosine to dense attention {:.4}", compare(&out, &all)?.cosine);
    Ok(())
}

/// Repeatable numbers in [-1, 1).
fn noise(seed: u64, shape: &[usize]) -> pantile::Result<Tensor> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let data: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
    Tensor::from_slice(shape, &data)
}
