//! The shipped kernels apart from RainFusion, as typed functions. What they compute is written in the `.tile` files.

use pantile::{Device, Mask, Outputs, Result, Tensor};

use crate::module;

/// `x + y`, element by element; vectors of one dtype.
///
/// # Errors
/// If the arguments do not fit or the kernel stops; so for all functions here.
pub fn vector_add(x: &Tensor, y: &Tensor, device: &Device) -> Result<Tensor> {
    module("elementwise.tile")?.kernel("vector_add")?.on(device).call((x, y))?.single()
}

/// `a · b + bias`, through the GELU if asked: `[M, K]`, `[K, N]`, `[N]`.
///
/// # Errors
/// As [`vector_add`].
pub fn matmul(a: &Tensor, b: &Tensor, bias: &Tensor, gelu: bool, device: &Device) -> Result<Tensor> {
    module("matmul.tile")?.kernel("matmul")?.on(device).call((a, b, bias, gelu))?.single()
}

/// Softmax along the last axis of `[N, D]`.
///
/// # Errors
/// As [`vector_add`].
pub fn softmax(x: &Tensor, device: &Device) -> Result<Tensor> {
    module("norm.tile")?.kernel("softmax_rows")?.on(device).call((x,))?.single()
}

/// Layer normalisation along the last axis of `[N, D]`.
///
/// # Errors
/// As [`vector_add`].
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32, device: &Device) -> Result<Tensor> {
    module("norm.tile")?.kernel("layer_norm")?.on(device).call((x, weight, bias, eps))?.single()
}

/// Root-mean-square normalisation along the last axis of `[N, D]`.
///
/// # Errors
/// As [`vector_add`].
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32, device: &Device) -> Result<Tensor> {
    module("norm.tile")?.kernel("rms_norm")?.on(device).call((x, weight, eps))?.single()
}

/// What attention gives.
#[derive(Clone, Debug)]
pub struct AttentionOutput {
    /// The output, as q in shape and dtype; zero where a row keeps nothing.
    pub out: Tensor,
    /// The natural logarithm of each row's sum of exp(logit), f32 `[B, H, N]`; -inf where a row keeps nothing.
    pub lse: Tensor,
}

/// Softmax attention over the block pairs that `keep` holds, blocks of `block` tokens: q `[B, H, N, D]`, k and v
/// `[B, G, M, D]`, keep `[B, H, ⌈N ÷ block⌉, ⌈M ÷ block⌉]`.
///
/// # Errors
/// As [`vector_add`].
pub fn attention(
    qkv: (&Tensor, &Tensor, &Tensor),
    keep: &Mask,
    block: usize,
    scale: f32,
    device: &Device,
) -> Result<Tensor> {
    attention_lse(qkv, keep, block, scale, device).map(|result| result.out)
}

/// The same with its log-sum-exp.
///
/// # Errors
/// As [`vector_add`].
pub fn attention_lse(
    (q, k, v): (&Tensor, &Tensor, &Tensor),
    keep: &Mask,
    block: usize,
    scale: f32,
    device: &Device,
) -> Result<AttentionOutput> {
    let kernel = module("attention.tile")?.kernel("attention")?.with("BQ", block as i64).with("BK", block as i64);
    with_lse(&kernel.on(device).call((q, k, v, keep, scale))?)
}

/// Softmax attention over all keys: q `[B, H, N, D]`, k and v `[B, G, M, D]`.
///
/// # Errors
/// As [`vector_add`].
pub fn attention_dense(q: &Tensor, k: &Tensor, v: &Tensor, scale: f32, device: &Device) -> Result<Tensor> {
    attention_dense_lse(q, k, v, scale, device).map(|result| result.out)
}

/// The same with its log-sum-exp.
///
/// # Errors
/// As [`vector_add`].
pub fn attention_dense_lse(q: &Tensor, k: &Tensor, v: &Tensor, scale: f32, device: &Device) -> Result<AttentionOutput> {
    with_lse(&module("attention.tile")?.kernel("attention_dense")?.on(device).call((q, k, v, scale))?)
}

fn with_lse(outputs: &Outputs) -> Result<AttentionOutput> {
    Ok(AttentionOutput { out: outputs.tensor("out")?, lse: outputs.tensor("lse")? })
}

/// Softmax attention of each query over the keys up to its own position, counted from the end: q `[B, H, N, D]`, k and v
/// `[B, G, M, D]`. A query before the first key gets zeros.
///
/// # Errors
/// As [`vector_add`].
pub fn attention_causal(q: &Tensor, k: &Tensor, v: &Tensor, scale: f32, device: &Device) -> Result<Tensor> {
    module("masked.tile")?.kernel("attention_causal")?.on(device).call((q, k, v, scale))?.tensor("out")
}

/// As [`attention_causal`], over the last `window` keys that a query may see, itself among them.
///
/// # Errors
/// As [`vector_add`].
pub fn attention_window(
    (q, k, v): (&Tensor, &Tensor, &Tensor),
    window: i32,
    scale: f32,
    device: &Device,
) -> Result<Tensor> {
    module("masked.tile")?.kernel("attention_window")?.on(device).call((q, k, v, window, scale))?.tensor("out")
}

/// Softmax attention of each query over the keys of its own document: `documents` holds the number of each query's and of
/// each key's, i32, `[B, N]` and `[B, M]`.
///
/// # Errors
/// As [`vector_add`].
pub fn attention_documents(
    (q, k, v): (&Tensor, &Tensor, &Tensor),
    documents: (&Tensor, &Tensor),
    scale: f32,
    device: &Device,
) -> Result<Tensor> {
    let kernel = module("masked.tile")?.kernel("attention_documents")?.on(device);
    kernel.call((q, k, v, documents.0, documents.1, scale))?.tensor("out")
}
