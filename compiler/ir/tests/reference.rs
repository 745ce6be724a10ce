//! `docs/src/ops.md` is written from the op table; this keeps it fresh. `BLESS=1` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

use pantile_ir::text::FORMS;
use pantile_ir::{ArgOp, BinaryOp, DType, Kind, ReduceOp, ScanOp, UnaryOp};

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn page() -> String {
    let mut out = String::from(
        "# Ops\n\nThis page is made from the op table, `compiler/ir/src/ops.rs`; `BLESS=1 cargo test -p pantile-ir` writes it \
         anew.\nHow to read IR text is said in [Tile IR](ir.md).\n\n## Dtypes\n\n| dtype | kind | bytes | sums and `dot` \
         accumulate in |\n|---|---|---|---|\n",
    );
    for d in DType::ALL {
        let accumulator = if d.kind() == Kind::Bool { "–" } else { d.accumulator().name() };
        let _ =
            writeln!(out, "| `{d}` | {} | {} | {accumulator} |", format!("{:?}", d.kind()).to_lowercase(), d.bytes());
    }
    out += "\n## Forms\n\n| op | written | |\n|---|---|---|\n";
    for form in FORMS {
        let _ = writeln!(
            out,
            "| {} | `{}` | {} |",
            cell(form.name).trim_matches(['<', '>']),
            cell(form.syntax),
            cell(form.doc)
        );
    }
    macro_rules! table {
        ($title:literal, $table:ident) => {
            let _ = write!(out, "\n## {}\n\n| op | takes | |\n|---|---|---|\n", $title);
            for op in $table::ALL {
                let _ = writeln!(out, "| `{}` | {} | {} |", op.name(), op.class().describe(), cell(op.doc()));
            }
        };
    }
    table!("Of one operand", UnaryOp);
    table!("Of two operands", BinaryOp);
    table!("Reductions", ReduceOp);
    table!("Lanes of extremes", ArgOp);
    table!("Scans", ScanOp);
    out
}

#[test]
fn the_reference_page_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/ops.md");
    let page = page();
    if std::env::var_os("BLESS").is_some_and(|v| v == "1") {
        std::fs::write(&path, &page).expect("the page can be written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == page, "docs/src/ops.md is stale; BLESS=1 writes it");
}
