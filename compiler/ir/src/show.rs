//! How `print` shows a tile: its shape by names, and no more than the first elements. Where they come from is the caller's
//! business.

use crate::{DType, Scalar};

/// The most elements that are shown.
const SHOWN: usize = 64;

/// The line of a tile whose dims have these names and lanes; `element` gives its elements, row-major.
pub fn show(label: &str, dims: &[(&str, usize)], dtype: DType, element: &dyn Fn(usize) -> Scalar) -> String {
    let text = |n: usize| match (element(n), dtype) {
        (Scalar::Bool(b), _) => b.to_string(),
        (Scalar::Int(i), DType::U64) => (i as u64).to_string(),
        (Scalar::Int(i), _) => i.to_string(),
        (Scalar::Float(f), DType::F64) => f.to_string(),
        (Scalar::Float(f), _) => (f as f32).to_string(),
    };
    let count: usize = dims.iter().map(|(_, len)| len).product();
    let elements: Vec<String> = (0..count.min(SHOWN)).map(text).collect();
    if dims.is_empty() {
        return format!("{label} = {}", elements.concat());
    }
    let dims: Vec<String> = dims.iter().map(|(name, len)| format!("{name}: {len}")).collect();
    let more = if count > SHOWN { ", …" } else { "" };
    format!("{label} = {dtype}{{{}}} [{}{more}]", dims.join(", "), elements.join(", "))
}
