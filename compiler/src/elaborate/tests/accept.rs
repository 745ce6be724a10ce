//! Code that is right: it becomes IR that verifies, and nothing is said.

use pantile_ir::{DType, Op};

use super::{Source, bound, checked, dtypes, kernel};

const FILES: &[(&str, &str)] = &[
    ("attention", include_str!("../../../../kernels/attention.tile")),
    ("elementwise", include_str!("../../../../kernels/elementwise.tile")),
    ("matmul", include_str!("../../../../kernels/matmul.tile")),
    ("norm", include_str!("../../../../kernels/norm.tile")),
    ("rainfusion", include_str!("../../../../kernels/rainfusion.tile")),
];

#[test]
fn shipped_kernels_elaborate_for_every_float() {
    for (name, text) in FILES {
        let mut source = Source::new(text);
        let mut diags = std::mem::take(&mut source.diags);
        assert!(diags.is_empty(), "{name}: {}", source.rendered(&diags));
        for dtype in DType::ALL.iter().filter(|d| d.is_float()) {
            for item in source.kernels() {
                let bind = bound(item, &dtypes(&[("T", *dtype)]));
                let func = super::super::kernel(&source.program, item, &bind, &mut diags);
                assert!(diags.is_empty(), "{name}, T = {dtype}: {}", source.rendered(&diags));
                checked(&func.expect("elaborated"));
            }
        }
    }
}
