//! Round trips of text, and texts that are none.

use super::{canonical, parse, print};
use crate::{BinaryOp, Builder, DType, Dim, DimId, Extent, Func, Op, Scalar, UnaryOp};

/// Every form, name collisions, and the numbers that are hard to write.
const ALL: &str = include_str!("all.pt");

fn round_trip(func: &Func) {
    let text = print(func);
    let again = parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    // As text, because a NaN equals nothing.
    assert_eq!(format!("{:?}", canonical(again)), format!("{:?}", canonical(func.clone())), "{text}");
}

#[test]
fn text_is_what_it_reads_as() {
    let func = parse(ALL).unwrap();
    assert_eq!(print(&func), ALL);
    round_trip(&func);
    crate::verify(&func).unwrap_or_else(|e| panic!("{e:#?}"));
}

/// Fails when an op gets no place in the text above.
#[test]
fn text_has_every_op() {
    let all = super::FORMS.iter().map(|f| f.name).filter(|n| !n.starts_with('<'));
    let all = all.chain(UnaryOp::ALL.iter().map(|o| o.name())).chain(BinaryOp::ALL.iter().map(|o| o.name()));
    for word in all {
        let found = ALL.lines().any(|l| l.contains(&format!("= {word} ")) || l.trim().starts_with(&format!("{word} ")));
        assert!(found, "no `{word}` in all.pt");
    }
}

#[test]
fn any_float_and_any_name_survives() {
    let func = Func {
        name: "odd name (1)".into(),
        extents: ["3", "3", "a b", "by"].map(|n| Extent { name: n.into(), known: Some(3), order: None }).into(),
        dims: ["by", "by", "whole", "i\"\\\n"]
            .map(|n| Dim { name: n.into(), size: 4, over: None, order: None, whole: false, full: false })
            .into(),
        ..Func::default()
    };
    let mut b = Builder::new(func);
    for bits in [0, 1, 1 << 63, 0x7ff << 52, 0xfff << 52, 0x3ff << 52, 0x001f_ffff_ffff_ffff, 0x7fef_ffff_ffff_ffff] {
        b.constant(DType::F64, Scalar::Float(f64::from_bits(bits)));
    }
    for x in [1e-7, 1e22, 0.1, f64::NAN, -1.5e-300] {
        b.constant(DType::F64, Scalar::Float(x));
    }
    for n in [i64::MIN, i64::MAX, 0, -1] {
        b.int(n);
    }
    for d in 0..4 {
        b.push(Op::Pos(DimId(d)), &[]);
    }
    round_trip(&b.finish());
}

#[test]
fn what_is_no_ir_says_where() {
    let head = "kernel @f() -> ()\n  dim i: 4\n  grid ()\n{\n";
    for (body, want) in [
        ("", "line 4: a word expected"),
        ("  %1: i64 = pos k\n}", "line 5: no dim is called `k`"),
        ("  %1: tile<i64>{i} = pos i\n\n  %2: tile<i64>{i} = twist %1\n}", "line 7: there is no op `twist`"),
        ("  %1: f99 = const 1\n}", "line 5: a dtype expected"),
        ("  %1: bool = const 1\n}", "line 5: `1` is no constant of bool"),
        ("  %99999999: bool = const true\n}", "line 5: `%99999999` is not the number of a value"),
        ("  print \"a\n}", "line 5: a text does not end on its line"),
        ("  \u{1}", "line 5: unexpected `\\u{1}`"),
        ("  load %x[]\n}", "line 5: no parameter is called `x`"),
        ("}\n}", "line 6: nothing may follow the kernel"),
    ] {
        let error = parse(&format!("{head}{body}")).unwrap_err();
        assert_eq!(error.to_string(), want, "{body}");
    }
    let deep = format!("{head}{}", "%0: bool = if %0 {".repeat(100_000));
    assert!(parse(&deep).unwrap_err().message.contains("nested too deep"));
}

/// Cuts and changes of a text are refused or read, and never bring the reader down.
#[test]
fn damaged_text_does_no_harm() {
    for at in (0..ALL.len()).filter(|n| ALL.is_char_boundary(*n)) {
        let _ = parse(&ALL[..at]);
        if at % 7 == 0 {
            let _ = parse(&format!("{}{}", &ALL[..at], &ALL[(at + 3..).start.min(ALL.len())..]));
        }
    }
}
